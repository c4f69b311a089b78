//! The mechanisms: the exact list with flags and sizes, and that the sizes are limits. The flags are performed in `flags.rs`.

use std::collections::BTreeSet;

use cryptoki_sys::*;

use crate::support::{Installation, P521, u, v};

const SIGN: CK_FLAGS = CKF_SIGN | CKF_VERIFY;
const CRYPT: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
const WRAPS: CK_FLAGS = CKF_WRAP | CKF_UNWRAP;
const EC: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS;
const CURVE25519: CK_FLAGS = CKF_EC_F_P | CKF_EC_OID | CKF_EC_CURVENAME;

/// Mechanism, smallest and largest key, flags: a change detector on purpose.
#[rustfmt::skip]
const GOLDEN: &[(CK_MECHANISM_TYPE, CK_ULONG, CK_ULONG, CK_FLAGS)] = &[
    (CKM_RSA_PKCS_KEY_PAIR_GEN, 1024, 4096, CKF_GENERATE_KEY_PAIR),
    (CKM_RSA_PKCS, 1024, 8192, SIGN | CRYPT | WRAPS),
    (CKM_RSA_X_509, 1024, 8192, SIGN | CRYPT),
    (CKM_RSA_AES_KEY_WRAP, 1024, 8192, WRAPS),
    (CKM_RSA_PKCS_OAEP, 1024, 8192, CRYPT | WRAPS),
    (CKM_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA1_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA224_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA256_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA384_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA512_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA3_224_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA3_256_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA3_384_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA3_512_RSA_PKCS, 1024, 8192, SIGN),
    (CKM_SHA1_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA224_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA256_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA384_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA512_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA3_224_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA3_256_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA3_384_RSA_PKCS_PSS, 1024, 8192, SIGN),
    (CKM_SHA3_512_RSA_PKCS_PSS, 1024, 8192, SIGN),
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

/// SM2, SM3, SM4 and the envelope (`include/alikms_pkcs11.h`).
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

/// What signs and verifies does so by message too, and each message may come in parts.
fn by_message(flags: CK_FLAGS) -> CK_FLAGS {
    let also = |flag, more| if flags & flag == 0 { 0 } else { more };
    let parts = also(CKF_SIGN | CKF_MESSAGE_ENCRYPT, CKF_MULTI_MESSAGE);
    flags | also(CKF_SIGN, CKF_MESSAGE_SIGN) | also(CKF_VERIFY, CKF_MESSAGE_VERIFY) | parts
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
    // What is brought in is within them too.
    let secret = |kind, length: usize| {
        c.create(&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, kind), v(CKA_VALUE, vec![7; length])]).map(drop)
    };
    const SM4: CK_KEY_TYPE = 0xC14C_4901;
    for (kind, good, bad) in [
        (CKK_AES, &[16, 32][..], &[0, 15, 17, 33][..]),
        (CKK_GENERIC_SECRET, &[1, 512], &[0, 513]),
        (CKK_HKDF, &[1, 512], &[0, 513]),
        (CKK_SHA256_HMAC, &[1, 512], &[0, 513]),
        (SM4, &[16], &[0, 15, 17, 32]),
    ] {
        assert!(good.iter().all(|length| secret(kind, *length).is_ok()), "{kind:#x}");
        for length in bad {
            assert_eq!(secret(kind, *length), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{kind:#x} {length}");
        }
    }
    for (bytes, fits) in [(127, false), (128, true), (1024, true), (1025, false)] {
        let mut modulus = vec![0xff; bytes];
        modulus[bytes - 1] = 0xfd;
        let numbers = [v(CKA_MODULUS, modulus), v(CKA_PUBLIC_EXPONENT, [1, 0, 1])];
        let made = c.create(&[&[u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_RSA)], &numbers[..]].concat());
        assert_eq!(made.err(), (!fits).then_some(CKR_ATTRIBUTE_VALUE_INVALID), "{bytes}");
    }
}
