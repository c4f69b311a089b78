//! Every flag of every mechanism is true, and what is not flagged is refused. What is walked over is what
//! C_GetMechanismList and C_GetMechanismInfo say, so that a flag without a test that performs it fails here: with session
//! keys of the smallest and of the largest size, with keys of the KMS at both levels, and by other vendors' numbers.

#[path = "flags/bed.rs"]
mod bed;
#[path = "flags/messages.rs"]
mod messages;

use cryptoki_sys::*;

use bed::{Bed, Place};

use crate::call;
use crate::support::{ED25519, Installation, LEVEL, Mech, P256, Setup, X25519, u, v};

/// Every flag that names an operation (PKCS#11 3.2 §5.5.6): performed where it is set, refused where it is not.
const OPERATIONS: &[(CK_FLAGS, &str)] = &[
    (CKF_DECRYPT, "C_Decrypt"),
    (CKF_DERIVE, "C_DeriveKey"),
    (CKF_DIGEST, "C_Digest"),
    (CKF_ENCRYPT, "C_Encrypt"),
    (CKF_GENERATE, "C_GenerateKey"),
    (CKF_GENERATE_KEY_PAIR, "C_GenerateKeyPair"),
    (CKF_MESSAGE_DECRYPT, "C_DecryptMessage"),
    (CKF_MESSAGE_ENCRYPT, "C_EncryptMessage"),
    (CKF_MESSAGE_SIGN, "C_SignMessage"),
    (CKF_MESSAGE_VERIFY, "C_VerifyMessage"),
    (CKF_SIGN, "C_Sign"),
    (CKF_UNWRAP, "C_UnwrapKey"),
    (CKF_VERIFY, "C_Verify"),
    (CKF_WRAP, "C_WrapKey"),
];

/// Flags that say how, not what. CKF_HW is none of them: hashing, public and session keys are never in a device, and a
/// token's other keys may be at either level, so that no mechanism is always the device's.
const MANNERS: CK_FLAGS = CKF_MULTI_MESSAGE | CKF_EC_F_P | CKF_EC_OID | CKF_EC_UNCOMPRESS | CKF_EC_CURVENAME;

const DATA: [u8; 32] = [5; 32];
const SECRET: [u8; 32] = [6; 32];

const SM2_PAIR_GEN: CK_MECHANISM_TYPE = 0xC14C_4901;
const SM3_HMAC_GENERAL: CK_MECHANISM_TYPE = 0xC14C_4912;
const SM4_GEN: CK_MECHANISM_TYPE = 0xC14C_4920;
const SM4_CBC: CK_MECHANISM_TYPE = 0xC14C_4922;
const SM4_CBC_PAD: CK_MECHANISM_TYPE = 0xC14C_4923;
const SM4_CTR: CK_MECHANISM_TYPE = 0xC14C_4924;
const SM4_GCM: CK_MECHANISM_TYPE = 0xC14C_4925;
const SM4_ECB_DATA: CK_MECHANISM_TYPE = 0xC14C_4926;
const SM4_CBC_DATA: CK_MECHANISM_TYPE = 0xC14C_4927;
const ENVELOPE: CK_MECHANISM_TYPE = 0xC14C_4930;

impl Bed {
    /// Walks over every mechanism that `which` chooses. `missing`: what these keys do not do, and what is said then.
    fn walk(&self, which: impl Fn(CK_MECHANISM_TYPE) -> bool, missing: &[(CK_MECHANISM_TYPE, CK_FLAGS, CK_RV)]) {
        let all: CK_FLAGS = OPERATIONS.iter().map(|(flag, _)| flag).sum();
        let mut wrong = Vec::new();
        for (kind, info) in self.kinds().into_iter().filter(|(kind, _)| which(*kind)) {
            assert_eq!(info.flags & !(all | MANNERS), 0, "no test performs all flags of {kind:#x}");
            assert!(info.flags & CKF_MULTI_MESSAGE == 0 || info.flags & (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_SIGN) != 0);
            for (flag, name) in OPERATIONS {
                let missing = missing.iter().find(|(row, flags, _)| *row == kind && flags & flag != 0);
                let expected = match missing {
                    _ if info.flags & flag == 0 => Err(CKR_MECHANISM_INVALID),
                    Some((_, _, rv)) => Err(*rv),
                    None => Ok(()),
                };
                let found = self.perform(*flag, kind, &info);
                call!(self.c.m, C_SessionCancel(self.c.h, CK_FLAGS::MAX));
                if found != expected {
                    wrong.push(format!("{name} by {kind:#x}: {found:x?}, expected {expected:x?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

/// The mechanism with a parameter that fits.
fn usual(kind: CK_MECHANISM_TYPE, ours: CK_MECHANISM_TYPE) -> Mech {
    let pss = |hash, mgf| Mech::pss(kind, hash, mgf, 20);
    let mut mechanism = match ours {
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
        CKM_AES_ECB_ENCRYPT_DATA | SM4_ECB_DATA => Mech::ecb_data(kind, &SECRET),
        CKM_AES_CBC_ENCRYPT_DATA | SM4_CBC_DATA => Mech::cbc_data(kind, [3; 16], &SECRET),
        CKM_HKDF_DERIVE | CKM_HKDF_DATA => Mech::hkdf(kind, true, true, CKM_SHA256, Some(b"salt"), b"info"),
        CKM_AES_CBC | CKM_AES_CBC_PAD | SM4_CBC | SM4_CBC_PAD => Mech::with(kind, [3; 16]),
        CKM_AES_CTR | SM4_CTR => Mech::ctr([3; 16], 128),
        CKM_AES_GCM | SM4_GCM => Mech::gcm(&[3; 12], b"aad", 128),
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
        | CKM_SHA512_HMAC_GENERAL
        | SM3_HMAC_GENERAL => Mech::with(kind, 10u64.to_ne_bytes()),
        _ => Mech::new(kind),
    };
    mechanism.kind = kind;
    mechanism
}

/// Session keys do not seal envelopes; [`TOKEN`] do.
const SESSION: &[(CK_MECHANISM_TYPE, CK_FLAGS, CK_RV)] =
    &[(ENVELOPE, CKF_ENCRYPT | CKF_DECRYPT, CKR_KEY_FUNCTION_NOT_PERMITTED)];

/// Which have no spec: they live in sessions.
const TOKEN: &[(CK_MECHANISM_TYPE, CK_FLAGS, CK_RV)] = &[
    (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKF_GENERATE_KEY_PAIR, CKR_CURVE_NOT_SUPPORTED),
    (CKM_HKDF_KEY_GEN, CKF_GENERATE, CKR_TEMPLATE_INCONSISTENT),
];

const SIGNS: CK_FLAGS = CKF_SIGN | CKF_VERIFY | CKF_MESSAGE_SIGN | CKF_MESSAGE_VERIFY;

/// What SoftHSM 2.6 has not, which is never done elsewhere instead: PSS and HMAC with the younger hashes, HKDF.
const SOFTHSM_LACKS: &[(CK_FLAGS, &[CK_MECHANISM_TYPE])] = &[
    (SIGNS, &[CKM_SHA3_224_RSA_PKCS_PSS, CKM_SHA3_256_RSA_PKCS_PSS]),
    (SIGNS, &[CKM_SHA3_384_RSA_PKCS_PSS, CKM_SHA3_512_RSA_PKCS_PSS]),
    (SIGNS, &[CKM_SHA512_224_HMAC, CKM_SHA512_224_HMAC_GENERAL, CKM_SHA512_256_HMAC, CKM_SHA512_256_HMAC_GENERAL]),
    (SIGNS, &[CKM_SHA3_224_HMAC, CKM_SHA3_224_HMAC_GENERAL, CKM_SHA3_256_HMAC, CKM_SHA3_256_HMAC_GENERAL]),
    (SIGNS, &[CKM_SHA3_384_HMAC, CKM_SHA3_384_HMAC_GENERAL, CKM_SHA3_512_HMAC, CKM_SHA3_512_HMAC_GENERAL]),
    (SIGNS, &[SM3_HMAC_GENERAL - 1, SM3_HMAC_GENERAL]),
    (CKF_DERIVE, &[CKM_HKDF_DERIVE, CKM_HKDF_DATA]),
];

/// A flag that no keys perform would be true of nothing.
#[test]
fn what_session_keys_do_not_do_token_keys_do() {
    for (kind, flags, _) in SESSION {
        assert!(TOKEN.iter().all(|(other, more, _)| other != kind || flags & more == 0), "{kind:#x}");
    }
}

#[test]
fn with_the_smallest_session_keys() {
    Bed::new(Installation::software(), Place::Smallest).walk(|_| true, SESSION);
}

#[test]
fn with_the_largest_session_keys() {
    Bed::new(Installation::software(), Place::Largest).walk(|_| true, SESSION);
}

#[test]
fn with_token_keys() {
    Bed::new(Installation::software(), Place::Token).walk(|_| true, TOKEN);
}

#[test]
fn with_keys_in_a_device() {
    let lacks = SOFTHSM_LACKS.iter().flat_map(|(flags, kinds)| kinds.iter().map(|kind| (*kind, *flags)));
    let lacks = lacks.map(|(kind, flags)| (kind, flags, CKR_MECHANISM_INVALID));
    let missing: Vec<_> = TOKEN.iter().copied().chain(lacks).collect();
    let bed = Bed::new(Installation::with_device(), Place::Token);
    for key in [bed.keys.rsa.1, bed.keys.ec.1, bed.keys.aes.0, bed.keys.generic.0] {
        assert_eq!(bed.c.get(key, LEVEL).unwrap(), b"HSM");
    }
    bed.walk(|_| true, &missing);
}

/// Every number of `sm_alias` does what ours of the same name does.
#[test]
fn by_other_vendors_numbers() {
    for vendor in ["ibm", "itrus", "luna", "sansec"] {
        let token: &'static str = Box::leak(format!("sm_alias = \"{vendor}\"").into_boxed_str());
        let home = Installation::new(&Setup { token, ..Setup::default() });
        let config = alikms_pkcs11::config::Config::read(&home.conf()).unwrap();
        let number = |name: &str| alikms_pkcs11::token::vendor::VENDOR.iter().find(|(ours, _)| *ours == name);
        let mut bed = Bed::new(home, Place::Smallest);
        let aliases = config.tokens[0].sm_alias.iter().filter(|(name, _)| name.starts_with("CKM_"));
        bed.aliases = aliases.map(|(name, theirs)| (*theirs, number(name).unwrap().1)).collect();
        let theirs: Vec<_> = bed.aliases.iter().map(|(theirs, _)| *theirs).collect();
        let listed = bed.kinds().iter().filter(|(kind, _)| theirs.contains(kind)).count();
        assert_eq!(listed, theirs.len(), "{vendor}");
        bed.walk(|kind| theirs.contains(&kind), &[]);
    }
}

/// What the flags of elliptic curves say of the rows that make pairs, and the other rows say as they do.
#[test]
fn curves_are_named_as_the_flags_say() {
    let installation = Installation::software();
    let c = installation.client();
    let info = |kind| c.m.mechanism_info(kind).unwrap().flags;
    let curves = CKF_EC_F_P | CKF_EC_F_2M | CKF_EC_ECPARAMETERS | CKF_EC_OID | CKF_EC_UNCOMPRESS | CKF_EC_COMPRESS;
    let curves = curves | CKF_EC_CURVENAME;
    // sect163k1; ECParameters in full; a name; all of a binary field, or not an OID.
    let sect163 = [6, 5, 0x2b, 0x81, 4, 0, 1];
    let explicit = [&[0x30, 3][..], &[2, 1, 1]].concat();
    let point = |key| c.get(key, CKA_EC_POINT).unwrap();
    for (kind, named, by_oid, by_name) in [
        (CKM_EC_KEY_PAIR_GEN, CKF_EC_OID | CKF_EC_UNCOMPRESS, P256, &b"\x13\x09secp256r1"[..]),
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, CKF_EC_OID | CKF_EC_CURVENAME, ED25519, b"\x13\x0cedwards25519"),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, CKF_EC_OID | CKF_EC_CURVENAME, X25519, b"\x13\x0acurve25519"),
    ] {
        assert_eq!(info(kind) & curves, named | CKF_EC_F_P, "{kind:#x}");
        let make = |curve: &[u8]| c.generate_pair(kind, &[v(CKA_EC_PARAMS, curve)], &[]);
        assert!(make(by_oid).is_ok());
        let is_named = named & CKF_EC_CURVENAME != 0;
        assert_eq!(make(by_name).err(), (!is_named).then_some(CKR_CURVE_NOT_SUPPORTED), "{kind:#x}");
        assert_eq!(make(&sect163), Err(CKR_CURVE_NOT_SUPPORTED));
        assert_eq!(make(&explicit), Err(CKR_DOMAIN_PARAMS_INVALID));
    }
    let whole = point(c.session_pair().0);
    assert_eq!((whole.len(), &whole[..3]), (67, &[4, 65, 4][..]));
    let short = [&[4, 33, 2 + (whole[66] & 1)][..], &whole[3..35]].concat();
    for bytes in [&short[..], &short[2..]] {
        let template = [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, P256)];
        let made = c.create(&[&template[..], &[v(CKA_EC_POINT, bytes)]].concat());
        assert_eq!(made, Err(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    for kind in c.m.mechanisms() {
        let says = info(kind) & curves;
        let usual = [0, info(CKM_EC_KEY_PAIR_GEN) & curves, info(CKM_EC_EDWARDS_KEY_PAIR_GEN) & curves];
        assert!(usual.contains(&says), "{kind:#x}");
    }
}
