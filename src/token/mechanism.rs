//! The mechanisms: one row each. What `C_GetMechanismInfo` says is derived from the row, and every flag is tested by doing it.

use cryptoki_sys::*;

use crate::error::Result;
use crate::model::algorithm::Sm2Layout;
use crate::model::hash::Hash;
use crate::token::ck;
use crate::token::sm::SM4_KEY;
use crate::token::vendor::*;

/// What a mechanism does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    AesCbc,
    AesCbcPad,
    AesCmac {
        general: bool,
    },
    AesCtr,
    AesEcb,
    AesGcm,
    AesKeyWrap,
    AesKeyWrapPad,
    Digest(Hash),
    Ecdh {
        cofactor: bool,
    },
    /// None: the input is the digest.
    Ecdsa(Option<Hash>),
    Eddsa,
    /// Derives what it encrypts data to, with AES or SM4 by the key.
    EncryptData {
        cbc: bool,
    },
    /// The KMS ciphertext blob.
    Envelope,
    Generate(Keys),
    /// `data`: makes an object that can be read.
    Hkdf {
        data: bool,
    },
    Hmac {
        hash: Hash,
        general: bool,
    },
    /// OAEP of an AES key made for it, and that key's AES key wrap with padding of the key.
    RsaAesKeyWrap,
    RsaOaep,
    /// None: the input is what is padded.
    RsaPkcs(Option<Hash>),
    /// None: the input is the digest.
    RsaPss(Option<Hash>),
    RsaX509,
    /// `hash`: the input is the message, else the digest of Z_A and the message.
    Sm2 {
        hash: bool,
        der: bool,
    },
    Sm2Encrypt(Sm2Layout),
    Sm4Cbc,
    Sm4CbcPad,
    Sm4Ctr,
    Sm4Ecb,
    Sm4Gcm,
}

/// Which keys a mechanism works with; decides the unit and range of `CK_MECHANISM_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    Aes,
    Ec,
    /// Ed25519.
    Edwards,
    /// Symmetric keys whose ciphertexts are blobs.
    Envelope,
    /// Generic secrets of 1 to 512 bytes.
    Generic,
    /// Secrets that say by their type that they are for HKDF; so long as generic ones.
    Hkdf,
    /// X25519.
    Montgomery,
    None,
    Rsa,
    /// EC keys on the curve SM2, which fit no mechanism of `Ec` but the one that makes both.
    Sm2,
    Sm4,
}

impl Keys {
    /// `ulMinKeySize` and `ulMaxKeySize`: bits for RSA, EC and generic secrets being generated, else bytes.
    fn sizes(self, does: Does) -> (u64, u64) {
        match self {
            Self::Aes | Self::Envelope => (16, 32),
            // X25519 too.
            Self::Ec if does == (Does::Ecdh { cofactor: false }) => (255, 521),
            Self::Ec => (256, 521),
            Self::Edwards | Self::Montgomery => (255, 255),
            Self::Generic if matches!(does, Does::Generate(_)) => (8, 4096),
            Self::Generic | Self::Hkdf => (1, 512),
            Self::None => (0, 0),
            // Larger ones take minutes to make; those of others may be used.
            Self::Rsa if matches!(does, Does::Generate(_)) => (1024, 4096),
            Self::Rsa => (1024, 8192),
            Self::Sm2 => (256, 256),
            Self::Sm4 => (SM4_KEY, SM4_KEY),
        }
    }

    /// The key type that it is about.
    pub fn key_type(self) -> Option<CK_KEY_TYPE> {
        match self {
            Self::Aes => Some(CKK_AES),
            Self::Ec => Some(CKK_EC),
            Self::Edwards => Some(CKK_EC_EDWARDS),
            Self::Generic => Some(CKK_GENERIC_SECRET),
            Self::Hkdf => Some(CKK_HKDF),
            Self::Montgomery => Some(CKK_EC_MONTGOMERY),
            Self::Envelope | Self::None => None,
            Self::Rsa => Some(CKK_RSA),
            Self::Sm2 => Some(CKK_EC),
            Self::Sm4 => Some(CKK_ALIKMS_SM4),
        }
    }
}

/// A row of [`MECHANISMS`].
#[derive(Debug)]
pub struct MechanismRow {
    pub kind: CK_MECHANISM_TYPE,
    pub name: &'static str,
    pub keys: Keys,
    pub flags: CK_FLAGS,
    pub does: Does,
}

const SIGN: CK_FLAGS = CKF_SIGN | CKF_VERIFY;
const CRYPT: CK_FLAGS = CKF_ENCRYPT | CKF_DECRYPT;
const WRAPS: CK_FLAGS = CKF_WRAP | CKF_UNWRAP;
const EC: CK_FLAGS = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_UNCOMPRESS;
/// Ed25519 and X25519 are named by their OID or by their name.
const CURVE25519: CK_FLAGS = CKF_EC_F_P | CKF_EC_NAMEDCURVE | CKF_EC_CURVENAME;

/// What signs and verifies does so message by message too, and whatever does takes each message in parts as well
/// (CKF_MULTI_MESSAGE).
const fn by_message(flags: CK_FLAGS) -> CK_FLAGS {
    let sign = if flags & CKF_SIGN == 0 { 0 } else { CKF_MESSAGE_SIGN };
    let verify = if flags & CKF_VERIFY == 0 { 0 } else { CKF_MESSAGE_VERIFY };
    let all = flags | sign | verify;
    let parts = if all & (CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_SIGN) == 0 { 0 } else { CKF_MULTI_MESSAGE };
    all | parts
}

macro_rules! rows {
    ($($kind:ident $keys:ident $flags:expr => $does:expr;)*) => {
        &[$(MechanismRow { kind: $kind, name: stringify!($kind), keys: Keys::$keys, flags: by_message($flags), does: $does }),*]
    };
}

/// Every mechanism of every token.
pub static MECHANISMS: &[MechanismRow] = rows! {
    CKM_RSA_PKCS_KEY_PAIR_GEN Rsa CKF_GENERATE_KEY_PAIR => Does::Generate(Keys::Rsa);
    CKM_RSA_PKCS Rsa SIGN | CRYPT | WRAPS => Does::RsaPkcs(None);
    CKM_RSA_X_509 Rsa SIGN | CRYPT => Does::RsaX509;
    CKM_RSA_AES_KEY_WRAP Rsa WRAPS => Does::RsaAesKeyWrap;
    CKM_RSA_PKCS_OAEP Rsa CRYPT | WRAPS => Does::RsaOaep;
    CKM_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(None);
    CKM_SHA1_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha1));
    CKM_SHA224_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha224));
    CKM_SHA256_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha256));
    CKM_SHA384_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha384));
    CKM_SHA512_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha512));
    CKM_SHA3_224_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha3_224));
    CKM_SHA3_256_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha3_256));
    CKM_SHA3_384_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha3_384));
    CKM_SHA3_512_RSA_PKCS Rsa SIGN => Does::RsaPkcs(Some(Hash::Sha3_512));
    CKM_SHA1_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha1));
    CKM_SHA224_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha224));
    CKM_SHA256_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha256));
    CKM_SHA384_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha384));
    CKM_SHA512_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha512));
    CKM_SHA3_224_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha3_224));
    CKM_SHA3_256_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha3_256));
    CKM_SHA3_384_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha3_384));
    CKM_SHA3_512_RSA_PKCS_PSS Rsa SIGN => Does::RsaPss(Some(Hash::Sha3_512));
    CKM_EC_KEY_PAIR_GEN Ec CKF_GENERATE_KEY_PAIR | EC => Does::Generate(Keys::Ec);
    CKM_ECDSA Ec SIGN | EC => Does::Ecdsa(None);
    CKM_ECDSA_SHA1 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha1));
    CKM_ECDSA_SHA224 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha224));
    CKM_ECDSA_SHA256 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha256));
    CKM_ECDSA_SHA384 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha384));
    CKM_ECDSA_SHA512 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha512));
    CKM_ECDSA_SHA3_224 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha3_224));
    CKM_ECDSA_SHA3_256 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha3_256));
    CKM_ECDSA_SHA3_384 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha3_384));
    CKM_ECDSA_SHA3_512 Ec SIGN | EC => Does::Ecdsa(Some(Hash::Sha3_512));
    CKM_ECDH1_DERIVE Ec CKF_DERIVE | EC => Does::Ecdh { cofactor: false };
    CKM_ECDH1_COFACTOR_DERIVE Ec CKF_DERIVE | EC => Does::Ecdh { cofactor: true };
    CKM_EC_EDWARDS_KEY_PAIR_GEN Edwards CKF_GENERATE_KEY_PAIR | CURVE25519 => Does::Generate(Keys::Edwards);
    CKM_EDDSA Edwards SIGN | CURVE25519 => Does::Eddsa;
    CKM_EC_MONTGOMERY_KEY_PAIR_GEN Montgomery CKF_GENERATE_KEY_PAIR | CURVE25519 => Does::Generate(Keys::Montgomery);
    CKM_AES_KEY_GEN Aes CKF_GENERATE => Does::Generate(Keys::Aes);
    CKM_AES_ECB Aes CRYPT => Does::AesEcb;
    CKM_AES_CBC Aes CRYPT | WRAPS => Does::AesCbc;
    CKM_AES_CBC_PAD Aes CRYPT | WRAPS => Does::AesCbcPad;
    CKM_AES_CTR Aes CRYPT => Does::AesCtr;
    CKM_AES_GCM Aes CRYPT | WRAPS | CKF_MESSAGE_ENCRYPT | CKF_MESSAGE_DECRYPT => Does::AesGcm;
    CKM_AES_CMAC Aes SIGN => Does::AesCmac { general: false };
    CKM_AES_CMAC_GENERAL Aes SIGN => Does::AesCmac { general: true };
    CKM_AES_ECB_ENCRYPT_DATA Aes CKF_DERIVE => Does::EncryptData { cbc: false };
    CKM_AES_CBC_ENCRYPT_DATA Aes CKF_DERIVE => Does::EncryptData { cbc: true };
    CKM_AES_KEY_WRAP Aes CRYPT | WRAPS => Does::AesKeyWrap;
    // Another number for the same: PKCS#11 2.40 left open which padding it means, RFC 5649 is what others make of it.
    CKM_AES_KEY_WRAP_PAD Aes CRYPT | WRAPS => Does::AesKeyWrapPad;
    CKM_AES_KEY_WRAP_KWP Aes CRYPT | WRAPS => Does::AesKeyWrapPad;
    CKM_GENERIC_SECRET_KEY_GEN Generic CKF_GENERATE => Does::Generate(Keys::Generic);
    CKM_SHA_1_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha1, general: false };
    CKM_SHA_1_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha1, general: true };
    CKM_SHA224_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha224, general: false };
    CKM_SHA224_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha224, general: true };
    CKM_SHA256_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha256, general: false };
    CKM_SHA256_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha256, general: true };
    CKM_SHA384_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha384, general: false };
    CKM_SHA384_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha384, general: true };
    CKM_SHA512_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha512, general: false };
    CKM_SHA512_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha512, general: true };
    CKM_SHA512_224_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha512_224, general: false };
    CKM_SHA512_224_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha512_224, general: true };
    CKM_SHA512_256_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha512_256, general: false };
    CKM_SHA512_256_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha512_256, general: true };
    CKM_SHA3_224_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha3_224, general: false };
    CKM_SHA3_224_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha3_224, general: true };
    CKM_SHA3_256_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha3_256, general: false };
    CKM_SHA3_256_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha3_256, general: true };
    CKM_SHA3_384_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha3_384, general: false };
    CKM_SHA3_384_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha3_384, general: true };
    CKM_SHA3_512_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sha3_512, general: false };
    CKM_SHA3_512_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sha3_512, general: true };
    CKM_HKDF_KEY_GEN Hkdf CKF_GENERATE => Does::Generate(Keys::Hkdf);
    CKM_HKDF_DERIVE Generic CKF_DERIVE => Does::Hkdf { data: false };
    CKM_HKDF_DATA Generic CKF_DERIVE => Does::Hkdf { data: true };
    CKM_SHA_1 None CKF_DIGEST => Does::Digest(Hash::Sha1);
    CKM_SHA224 None CKF_DIGEST => Does::Digest(Hash::Sha224);
    CKM_SHA256 None CKF_DIGEST => Does::Digest(Hash::Sha256);
    CKM_SHA384 None CKF_DIGEST => Does::Digest(Hash::Sha384);
    CKM_SHA512 None CKF_DIGEST => Does::Digest(Hash::Sha512);
    CKM_SHA512_224 None CKF_DIGEST => Does::Digest(Hash::Sha512_224);
    CKM_SHA512_256 None CKF_DIGEST => Does::Digest(Hash::Sha512_256);
    CKM_SHA3_224 None CKF_DIGEST => Does::Digest(Hash::Sha3_224);
    CKM_SHA3_256 None CKF_DIGEST => Does::Digest(Hash::Sha3_256);
    CKM_SHA3_384 None CKF_DIGEST => Does::Digest(Hash::Sha3_384);
    CKM_SHA3_512 None CKF_DIGEST => Does::Digest(Hash::Sha3_512);
    CKM_ALIKMS_SM2_KEY_PAIR_GEN Sm2 CKF_GENERATE_KEY_PAIR | EC => Does::Generate(Keys::Sm2);
    CKM_ALIKMS_SM2 Sm2 SIGN | EC => Does::Sm2 { hash: false, der: false };
    CKM_ALIKMS_SM2_DER Sm2 SIGN | EC => Does::Sm2 { hash: false, der: true };
    CKM_ALIKMS_SM2_SM3 Sm2 SIGN | EC => Does::Sm2 { hash: true, der: false };
    CKM_ALIKMS_SM2_SM3_DER Sm2 SIGN | EC => Does::Sm2 { hash: true, der: true };
    CKM_ALIKMS_SM2_ENCRYPT Sm2 CRYPT | EC => Does::Sm2Encrypt(Sm2Layout::Der);
    CKM_ALIKMS_SM2_ENCRYPT_C1C3C2 Sm2 CRYPT | EC => Does::Sm2Encrypt(Sm2Layout::C1C3C2);
    CKM_ALIKMS_SM2_ENCRYPT_C1C2C3 Sm2 CRYPT | EC => Does::Sm2Encrypt(Sm2Layout::C1C2C3);
    CKM_ALIKMS_SM3 None CKF_DIGEST => Does::Digest(Hash::Sm3);
    CKM_ALIKMS_SM3_HMAC Generic SIGN => Does::Hmac { hash: Hash::Sm3, general: false };
    CKM_ALIKMS_SM3_HMAC_GENERAL Generic SIGN => Does::Hmac { hash: Hash::Sm3, general: true };
    CKM_ALIKMS_SM4_KEY_GEN Sm4 CKF_GENERATE => Does::Generate(Keys::Sm4);
    CKM_ALIKMS_SM4_ECB Sm4 CRYPT => Does::Sm4Ecb;
    CKM_ALIKMS_SM4_CBC Sm4 CRYPT => Does::Sm4Cbc;
    CKM_ALIKMS_SM4_CBC_PAD Sm4 CRYPT => Does::Sm4CbcPad;
    CKM_ALIKMS_SM4_CTR Sm4 CRYPT => Does::Sm4Ctr;
    CKM_ALIKMS_SM4_GCM Sm4 CRYPT => Does::Sm4Gcm;
    CKM_ALIKMS_SM4_ECB_ENCRYPT_DATA Sm4 CKF_DERIVE => Does::EncryptData { cbc: false };
    CKM_ALIKMS_SM4_CBC_ENCRYPT_DATA Sm4 CKF_DERIVE => Does::EncryptData { cbc: true };
    CKM_ALIKMS_ENVELOPE Envelope CRYPT => Does::Envelope;
};

impl MechanismRow {
    pub fn find(kind: CK_MECHANISM_TYPE) -> Result<&'static Self> {
        MECHANISMS.iter().find(|row| row.kind == kind).ok_or(ck(CKR_MECHANISM_INVALID))
    }

    /// The row, if it serves this kind of operation (a `CKF_` flag).
    pub fn serving(kind: CK_MECHANISM_TYPE, flag: CK_FLAGS) -> Result<&'static Self> {
        let row = Self::find(kind)?;
        if row.flags & flag == 0 { Err(ck(CKR_MECHANISM_INVALID)) } else { Ok(row) }
    }

    pub fn info(&self) -> CK_MECHANISM_INFO {
        let (min, max) = self.keys.sizes(self.does);
        CK_MECHANISM_INFO { ulMinKeySize: min, ulMaxKeySize: max, flags: self.flags }
    }
}

/// The hash that a digest mechanism number names in a parameter of RSA; no scheme of RSA here has SM3.
pub fn hash_of(kind: CK_MECHANISM_TYPE) -> Option<Hash> {
    MECHANISMS.iter().find(|row| row.kind == kind).and_then(|row| match row.does {
        Does::Digest(hash) if hash != Hash::Sm3 => Some(hash),
        _ => None,
    })
}

/// The hash of a mask generation function.
pub fn mgf_of(kind: CK_RSA_PKCS_MGF_TYPE) -> Option<Hash> {
    Some(match kind {
        CKG_MGF1_SHA1 => Hash::Sha1,
        CKG_MGF1_SHA224 => Hash::Sha224,
        CKG_MGF1_SHA256 => Hash::Sha256,
        CKG_MGF1_SHA384 => Hash::Sha384,
        CKG_MGF1_SHA512 => Hash::Sha512,
        CKG_MGF1_SHA3_224 => Hash::Sha3_224,
        CKG_MGF1_SHA3_256 => Hash::Sha3_256,
        CKG_MGF1_SHA3_384 => Hash::Sha3_384,
        CKG_MGF1_SHA3_512 => Hash::Sha3_512,
        _ => return None,
    })
}
