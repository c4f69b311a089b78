//! The mechanisms: the exact list with flags and sizes, and every flag proved by doing the operation.

use std::collections::BTreeSet;

use cryptoki_sys::*;

use crate::support::{Attr, Client, ED25519, Installation, Mech, P256, P521, X25519, b, u, v};

const SIGN: CK_FLAGS = CKF_SIGN | CKF_VERIFY;
const CRYPT: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
const WRAPS: CK_FLAGS = CKF_WRAP | CKF_UNWRAP;
const EC: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
const CURVE25519: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME;

/// Mechanism, smallest and largest key, flags: a change detector on purpose.
#[rustfmt::skip]
const GOLDEN: &[(CK_MECHANISM_TYPE, CK_ULONG, CK_ULONG, CK_FLAGS)] = &[
    (CKM_RSA_PKCS_KEY_PAIR_GEN, 1024, 4096, CKF_GENERATE_KEY_PAIR),
    (CKM_RSA_PKCS, 1024, 4096, SIGN | CRYPT | WRAPS),
    (CKM_RSA_X_509, 1024, 4096, SIGN | CRYPT),
    (CKM_RSA_AES_KEY_WRAP, 1024, 4096, WRAPS),
    (CKM_RSA_PKCS_OAEP, 1024, 4096, CRYPT | WRAPS),
    (CKM_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA1_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA224_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA256_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA384_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA512_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA3_224_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA3_256_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA3_384_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA3_512_RSA_PKCS, 1024, 4096, SIGN),
    (CKM_SHA1_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA224_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA256_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA384_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA512_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA3_224_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA3_256_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA3_384_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_SHA3_512_RSA_PKCS_PSS, 1024, 4096, SIGN),
    (CKM_EC_KEY_PAIR_GEN, 256, 521, CKF_GENERATE_KEY_PAIR | EC),
    (CKM_ECDSA, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA1, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA224, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA256, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA384, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA512, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA3_224, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA3_256, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA3_384, 256, 521, SIGN | EC),
    (CKM_ECDSA_SHA3_512, 256, 521, SIGN | EC),
    (CKM_ECDH1_DERIVE, 255, 521, CKF_DERIVE | EC),
    (CKM_ECDH1_COFACTOR_DERIVE, 256, 521, CKF_DERIVE | EC),
    (CKM_EC_EDWARDS_KEY_PAIR_GEN, 255, 255, CKF_GENERATE_KEY_PAIR | CURVE25519),
    (CKM_EDDSA, 255, 255, SIGN | CURVE25519),
    (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, 255, 255, CKF_GENERATE_KEY_PAIR | CURVE25519),
    (CKM_AES_KEY_GEN, 16, 32, CKF_GENERATE),
    (CKM_AES_ECB, 16, 32, CRYPT),
    (CKM_AES_CBC, 16, 32, CRYPT | WRAPS),
    (CKM_AES_CBC_PAD, 16, 32, CRYPT | WRAPS),
    (CKM_AES_CTR, 16, 32, CRYPT),
    (CKM_AES_GCM, 16, 32, CRYPT | WRAPS | CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT),
    (CKM_AES_CMAC, 16, 32, SIGN),
    (CKM_AES_CMAC_GENERAL, 16, 32, SIGN),
    (CKM_AES_ECB_ENCRYPT_DATA, 16, 32, CKF_DERIVE),
    (CKM_AES_CBC_ENCRYPT_DATA, 16, 32, CKF_DERIVE),
    (CKM_AES_KEY_WRAP, 16, 32, CRYPT | WRAPS),
    (CKM_AES_KEY_WRAP_PAD, 16, 32, CRYPT | WRAPS),
    (CKM_AES_KEY_WRAP_KWP, 16, 32, CRYPT | WRAPS),
    (CKM_GENERIC_SECRET_KEY_GEN, 8, 4096, CKF_GENERATE),
    (CKM_SHA_1_HMAC, 1, 512, SIGN),
    (CKM_SHA_1_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA224_HMAC, 1, 512, SIGN),
    (CKM_SHA224_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA256_HMAC, 1, 512, SIGN),
    (CKM_SHA256_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA384_HMAC, 1, 512, SIGN),
    (CKM_SHA384_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA512_HMAC, 1, 512, SIGN),
    (CKM_SHA512_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA512_224_HMAC, 1, 512, SIGN),
    (CKM_SHA512_224_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA512_256_HMAC, 1, 512, SIGN),
    (CKM_SHA512_256_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA3_224_HMAC, 1, 512, SIGN),
    (CKM_SHA3_224_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA3_256_HMAC, 1, 512, SIGN),
    (CKM_SHA3_256_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA3_384_HMAC, 1, 512, SIGN),
    (CKM_SHA3_384_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_SHA3_512_HMAC, 1, 512, SIGN),
    (CKM_SHA3_512_HMAC_GENERAL, 1, 512, SIGN),
    (CKM_HKDF_KEY_GEN, 1, 512, CKF_GENERATE),
    (CKM_HKDF_DERIVE, 1, 512, CKF_DERIVE),
    (CKM_HKDF_DATA, 1, 512, CKF_DERIVE),
    (CKM_SHA_1, 0, 0, CKF_DIGEST),
    (CKM_SHA224, 0, 0, CKF_DIGEST),
    (CKM_SHA256, 0, 0, CKF_DIGEST),
    (CKM_SHA384, 0, 0, CKF_DIGEST),
    (CKM_SHA512, 0, 0, CKF_DIGEST),
    (CKM_SHA512_224, 0, 0, CKF_DIGEST),
    (CKM_SHA512_256, 0, 0, CKF_DIGEST),
    (CKM_SHA3_224, 0, 0, CKF_DIGEST),
    (CKM_SHA3_256, 0, 0, CKF_DIGEST),
    (CKM_SHA3_384, 0, 0, CKF_DIGEST),
    (CKM_SHA3_512, 0, 0, CKF_DIGEST),
];

/// SM2, SM3, SM4 (`include/alikms_pkcs11.h`); what they do is proved in `tests/sm.rs`, of the last one in
/// `envelope.rs`.
#[rustfmt::skip]
const SM: &[(CK_MECHANISM_TYPE, CK_ULONG, CK_ULONG, CK_FLAGS)] = &[
    (0xC14C_4901, 256, 256, CKF_GENERATE_KEY_PAIR | EC),
    (0xC14C_4902, 256, 256, SIGN | EC),
    (0xC14C_4903, 256, 256, SIGN | EC),
    (0xC14C_4904, 256, 256, SIGN | EC),
    (0xC14C_4905, 256, 256, SIGN | EC),
    (0xC14C_4906, 256, 256, CRYPT | EC),
    (0xC14C_4907, 256, 256, CRYPT | EC),
    (0xC14C_4908, 256, 256, CRYPT | EC),
    (0xC14C_4910, 0, 0, CKF_DIGEST),
    (0xC14C_4911, 1, 512, SIGN),
    (0xC14C_4912, 1, 512, SIGN),
    (0xC14C_4920, 16, 16, CKF_GENERATE),
    (0xC14C_4921, 16, 16, CRYPT),
    (0xC14C_4922, 16, 16, CRYPT),
    (0xC14C_4923, 16, 16, CRYPT),
    (0xC14C_4924, 16, 16, CRYPT),
    (0xC14C_4925, 16, 16, CRYPT),
    (0xC14C_4926, 16, 16, CKF_DERIVE),
    (0xC14C_4927, 16, 16, CKF_DERIVE),
    (0xC14C_4930, 16, 32, CRYPT),
];

/// What signs and verifies does so by message too.
fn by_message(flags: CK_FLAGS) -> CK_FLAGS {
    let also = |flag, more| if flags & flag == 0 { 0 } else { more };
    flags | also(CKF_SIGN, CKF_MESSAGE_SIGN) | also(CKF_VERIFY, CKF_MESSAGE_VERIFY)
}

#[test]
fn the_list_is_exactly_this() {
    let golden: Vec<_> =
        [GOLDEN, SM].concat().into_iter().map(|(kind, min, max, flags)| (kind, min, max, by_message(flags))).collect();
    let installation = Installation::software();
    let m = installation.start();
    let found: Vec<_> = m
        .mechanisms()
        .into_iter()
        .map(|kind| {
            let info = m.mechanism_info(kind).unwrap();
            assert!(info.ulMinKeySize <= info.ulMaxKeySize);
            (kind, info.ulMinKeySize, info.ulMaxKeySize, info.flags)
        })
        .collect();
    assert_eq!(found, golden);
    let distinct: BTreeSet<_> = found.iter().map(|row| row.0).collect();
    assert_eq!(distinct.len(), golden.len());
    for unknown in [CKM_DES3_CBC, CKM_MD5, CKM_DH_PKCS_DERIVE, CKM_VENDOR_DEFINED, CK_ULONG::MAX] {
        assert_eq!(m.mechanism_info(unknown).map(|info| info.flags), Err(CKR_MECHANISM_INVALID));
    }
    // The list, by the rules of lists.
    let (mut count, mut room) = (3, [0; 3]);
    assert_eq!(crate::call!(m, C_GetMechanismList(m.slot(), room.as_mut_ptr(), &raw mut count)), CKR_BUFFER_TOO_SMALL);
    assert_eq!((count as usize, room), (golden.len(), [0; 3]));
}

struct Keys {
    rsa: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    ec: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    edwards: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    montgomery: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
    aes: CK_OBJECT_HANDLE,
    generic: CK_OBJECT_HANDLE,
}

/// Session keys that may do everything.
fn keys(c: &Client) -> Keys {
    let on = |kinds: &[CK_ATTRIBUTE_TYPE]| kinds.iter().map(|kind| b(*kind, true)).collect::<Vec<_>>();
    Keys {
        rsa: c
            .rsa_pair(2048, &on(&[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP]), &on(&[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP]))
            .unwrap(),
        ec: c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &on(&[CKA_SIGN, CKA_DERIVE])).unwrap(),
        edwards: c.generate_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, ED25519)], &[]).unwrap(),
        montgomery: c.generate_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, X25519)], &[]).unwrap(),
        aes: c.aes(32, &on(&[CKA_WRAP, CKA_UNWRAP, CKA_DERIVE])),
        generic: {
            let key = c.secret(CKK_GENERIC_SECRET, &[9; 40]);
            c.set(key, &on(&[CKA_DERIVE])).unwrap();
            key
        },
    }
}

/// The mechanism with a parameter that fits, and its key: (for the public side, for the private side).
fn usual(keys: &Keys, kind: CK_MECHANISM_TYPE) -> (Mech, (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) {
    let pss = |hash, mgf| Mech::pss(kind, hash, mgf, 20);
    let mechanism = match kind {
        CKM_RSA_PKCS_OAEP => Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""),
        CKM_RSA_AES_KEY_WRAP => Mech::rsa_aes(256, &Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"label")),
        CKM_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS_PSS => pss(CKM_SHA256, CKG_MGF1_SHA256),
        CKM_SHA1_RSA_PKCS_PSS => pss(CKM_SHA_1, CKG_MGF1_SHA1),
        CKM_SHA224_RSA_PKCS_PSS => pss(CKM_SHA224, CKG_MGF1_SHA224),
        CKM_SHA384_RSA_PKCS_PSS => pss(CKM_SHA384, CKG_MGF1_SHA384),
        CKM_SHA512_RSA_PKCS_PSS => pss(CKM_SHA512, CKG_MGF1_SHA512),
        CKM_SHA3_224_RSA_PKCS_PSS => pss(CKM_SHA3_224, CKG_MGF1_SHA3_224),
        CKM_SHA3_256_RSA_PKCS_PSS => pss(CKM_SHA3_256, CKG_MGF1_SHA3_256),
        CKM_SHA3_384_RSA_PKCS_PSS => pss(CKM_SHA3_384, CKG_MGF1_SHA3_384),
        CKM_SHA3_512_RSA_PKCS_PSS => pss(CKM_SHA3_512, CKG_MGF1_SHA3_512),
        CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => Mech::ecdh(kind, &[4; 65]),
        CKM_AES_ECB_ENCRYPT_DATA => Mech::ecb_data(kind, &[6; 32]),
        CKM_AES_CBC_ENCRYPT_DATA => Mech::cbc_data(kind, [3; 16], &[6; 32]),
        CKM_HKDF_DERIVE | CKM_HKDF_DATA => Mech::hkdf(kind, true, true, CKM_SHA256, Some(b"salt"), b"info"),
        CKM_AES_CBC | CKM_AES_CBC_PAD => Mech::with(kind, [3; 16]),
        CKM_AES_CTR => Mech::ctr([3; 16], 128),
        CKM_AES_GCM => Mech::gcm(&[3; 12], b"aad", 128),
        CKM_AES_CMAC_GENERAL
        | CKM_SHA_1_HMAC_GENERAL
        | CKM_SHA224_HMAC_GENERAL
        | CKM_SHA256_HMAC_GENERAL
        | CKM_SHA384_HMAC_GENERAL
        | CKM_SHA512_224_HMAC_GENERAL
        | CKM_SHA512_256_HMAC_GENERAL
        | CKM_SHA3_224_HMAC_GENERAL
        | CKM_SHA3_256_HMAC_GENERAL
        | CKM_SHA3_384_HMAC_GENERAL
        | CKM_SHA3_512_HMAC_GENERAL
        | CKM_SHA512_HMAC_GENERAL => Mech::with(kind, 10u64.to_ne_bytes()),
        _ => Mech::new(kind),
    };
    let name = kind;
    let keys = match name {
        CKM_ECDSA..=CKM_ECDSA_SHA512 | CKM_ECDSA_SHA3_224..=CKM_ECDSA_SHA3_512 => keys.ec,
        CKM_EDDSA => keys.edwards,
        CKM_AES_ECB_ENCRYPT_DATA | CKM_AES_CBC_ENCRYPT_DATA => (keys.aes, keys.aes),
        CKM_AES_KEY_GEN..=CKM_AES_CMAC_GENERAL | CKM_AES_KEY_WRAP..=CKM_AES_KEY_WRAP_KWP => (keys.aes, keys.aes),
        CKM_RSA_PKCS_KEY_PAIR_GEN..=CKM_SHA1_RSA_PKCS_PSS | CKM_SHA256_RSA_PKCS..=CKM_SHA512_RSA_PKCS_PSS => keys.rsa,
        CKM_SHA224_RSA_PKCS | CKM_SHA224_RSA_PKCS_PSS | CKM_RSA_AES_KEY_WRAP => keys.rsa,
        CKM_SHA3_256_RSA_PKCS..=CKM_SHA3_224_RSA_PKCS_PSS => keys.rsa,
        _ => (keys.generic, keys.generic),
    };
    (mechanism, keys)
}

/// Every flag is true and every absent one is absent: CKR_MECHANISM_INVALID. Sizes are limits that hold.
#[test]
fn every_flag_is_true() {
    let installation = Installation::software();
    let c = installation.client();
    let keys = keys(&c);
    let data = [5u8; 32];
    for (kind, _, _, flags) in GOLDEN {
        let (mechanism, (public, private)) = usual(&keys, *kind);
        let has = |flag| flags & flag != 0;
        let started = |init: Result<(), CK_RV>, flag: CK_FLAGS, what: &str| {
            let expected = if has(flag) { Ok(()) } else { Err(CKR_MECHANISM_INVALID) };
            assert_eq!(init, expected, "{what} with {kind:#x}");
            has(flag)
        };
        by_message_as_said(&c, *flags, &mechanism, (public, private));
        let signed = started(c.sign_init(mechanism.clone(), private), CKF_SIGN, "C_SignInit")
            .then(|| c.sign_data(&data).unwrap());
        if started(c.verify_init(mechanism.clone(), public), CKF_VERIFY, "C_VerifyInit") {
            match signed {
                Some(signature) => c.verify_data(&data, &signature).unwrap(),
                None => assert!(c.verify_data(&data, &[0; 64]).is_err()),
            }
        }
        let encrypted = started(c.encrypt_init(mechanism.clone(), public), CKF_ENCRYPT, "C_EncryptInit")
            .then(|| c.encrypt_data(&data).unwrap());
        if started(c.decrypt_init(mechanism.clone(), private), CKF_DECRYPT, "C_DecryptInit") {
            let found = c.decrypt_data(&encrypted.unwrap()).unwrap();
            assert!(found.ends_with(&data), "{kind:#x}");
        }
        if started(c.digest_init(mechanism.clone()), CKF_DIGEST, "C_DigestInit") {
            c.digest_data(&data).unwrap();
        }
        let made = c.generate(mechanism.clone(), &[u(CKA_VALUE_LEN, 32)]);
        assert_eq!(made.err(), (!has(CKF_GENERATE)).then_some(CKR_MECHANISM_INVALID), "C_GenerateKey {kind:#x}");
        let template = match *kind {
            CKM_EC_KEY_PAIR_GEN => v(CKA_EC_PARAMS, P256),
            CKM_EC_EDWARDS_KEY_PAIR_GEN => v(CKA_EC_PARAMS, ED25519),
            CKM_EC_MONTGOMERY_KEY_PAIR_GEN => v(CKA_EC_PARAMS, X25519),
            _ => u(CKA_MODULUS_BITS, 1024),
        };
        let made = c.generate_pair(mechanism.clone(), &[template], &[]);
        assert_eq!(
            made.err(),
            (!has(CKF_GENERATE_KEY_PAIR)).then_some(CKR_MECHANISM_INVALID),
            "C_GenerateKeyPair {kind:#x}"
        );
        let session_key = c.secret(CKK_AES, &[6; 32]);
        let wrapped = c.wrap(mechanism.clone(), public, session_key);
        assert_eq!(wrapped.as_ref().err(), (!has(CKF_WRAP)).then_some(&CKR_MECHANISM_INVALID), "C_WrapKey {kind:#x}");
        let template = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES)];
        let key = c.unwrap(mechanism.clone(), private, &wrapped.unwrap_or_default(), &template);
        assert_eq!(key.err(), (!has(CKF_UNWRAP)).then_some(CKR_MECHANISM_INVALID), "C_UnwrapKey {kind:#x}");
        assert!(key.is_err() || c.get(key.unwrap(), CKA_VALUE).unwrap() == [6; 32], "{kind:#x}");
        let peer = c.get(keys.ec.0, CKA_EC_POINT).unwrap();
        let (mechanism, base) = match *kind {
            CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => (Mech::ecdh(*kind, &peer), keys.ec.1),
            _ => (mechanism, private),
        };
        let key_type: &[Attr] = if *kind == CKM_HKDF_DATA { &[] } else { &[u(CKA_KEY_TYPE, CKK_AES)] };
        let derived = c.derive(&mechanism, base, &[key_type, &[u(CKA_VALUE_LEN, 32)]].concat());
        if has(CKF_DERIVE) {
            derived.unwrap();
        } else {
            assert_eq!(derived, Err(CKR_MECHANISM_INVALID), "C_DeriveKey {kind:#x}");
        }
    }
    // The one flag that two types of key serve.
    let peer = c.get(keys.montgomery.0, CKA_EC_POINT).unwrap();
    c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &peer), keys.montgomery.1, &[]).unwrap();
}

/// C_MessageSign… and C_MessageVerify… go with C_Sign and C_Verify, and make the same signatures.
fn by_message_as_said(c: &Client, flags: CK_FLAGS, mechanism: &Mech, keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) {
    let (mut raw, data) = (mechanism.raw(), [5u8; 32]);
    let expected = |flag| if flags & flag == 0 { CKR_MECHANISM_INVALID } else { CKR_OK };
    let (null, from) = (std::ptr::null_mut(), data.as_ptr().cast_mut());
    let signs = crate::call!(c.m, C_MessageSignInit(c.h, &raw mut raw, keys.1));
    assert_eq!(signs, expected(CKF_SIGN), "C_MessageSignInit {:#x}", mechanism.kind);
    let verifies = crate::call!(c.m, C_MessageVerifyInit(c.h, &raw mut raw, keys.0));
    assert_eq!(verifies, expected(CKF_VERIFY), "C_MessageVerifyInit {:#x}", mechanism.kind);
    if signs == CKR_OK {
        let signature = crate::support::two_calls(true, |out, len| {
            crate::call!(c.m, C_SignMessage(c.h, null, 0, from, 32, out, len))
        });
        let signature = signature.unwrap();
        let verify = |signature: &[u8]| {
            let (start, len) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
            crate::call!(c.m, C_VerifyMessage(c.h, null, 0, from, 32, start, len))
        };
        assert_eq!(verify(&[&signature[..], &[0]].concat()), CKR_SIGNATURE_LEN_RANGE);
        assert_eq!(verify(&signature), CKR_OK);
        assert_eq!(crate::call!(c.m, C_MessageSignFinal(c.h)), CKR_OK);
    }
    if verifies == CKR_OK {
        assert_eq!(crate::call!(c.m, C_MessageVerifyFinal(c.h)), CKR_OK);
    }
    for (init, flag) in [
        (crate::call!(c.m, C_MessageEncryptInit(c.h, &raw mut raw, keys.0)), CKF_MESSAGE_ENCRYPT),
        (crate::call!(c.m, C_MessageDecryptInit(c.h, &raw mut raw, keys.1)), CKF_MESSAGE_DECRYPT),
    ] {
        assert_eq!(init, expected(flag), "{:#x}", mechanism.kind);
    }
    crate::call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
}

#[test]
fn sizes_are_limits() {
    let installation = Installation::software();
    let c = installation.client();
    for bits in [1024, 2048] {
        c.rsa_pair(bits, &[], &[]).unwrap();
    }
    for bits in [0, 512, 1023, 4097, 8192, CK_ULONG::MAX] {
        assert_eq!(c.rsa_pair(bits, &[], &[]), Err(CKR_KEY_SIZE_RANGE), "{bits}");
    }
    c.ec_pair(P521, &[]).unwrap();
    // secp192r1 and no curve at all.
    let p192 = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x01];
    assert_eq!(c.ec_pair(&p192, &[]), Err(CKR_CURVE_NOT_SUPPORTED));
    assert_eq!(c.ec_pair(b"\x04\x01\x00", &[]), Err(CKR_DOMAIN_PARAMS_INVALID));
    for (kind, good, bad) in [
        (CKM_AES_KEY_GEN, &[16, 24, 32][..], &[0, 1, 15, 17, 33, CK_ULONG::MAX][..]),
        (CKM_GENERIC_SECRET_KEY_GEN, &[1, 20, 512], &[0, 513, CK_ULONG::MAX]),
    ] {
        for length in good {
            let key = c.generate(kind, &[u(CKA_VALUE_LEN, *length)]).unwrap();
            assert_eq!(c.get(key, CKA_VALUE_LEN).unwrap(), length.to_ne_bytes());
        }
        for length in bad {
            assert_eq!(c.generate(kind, &[u(CKA_VALUE_LEN, *length)]), Err(CKR_KEY_SIZE_RANGE), "{length}");
        }
    }
}
