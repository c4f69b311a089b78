//! Key specs: every kind of key that can be created, one row each.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::model::algorithm::Algorithm;
use crate::model::curve::Curve;
use crate::model::key::KeyUsage;
use crate::model::public::PublicKey;

/// What a key is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Aes,
    Ec(Curve),
    /// A generic secret: HMAC.
    Generic,
    Rsa,
    Sm4,
}

impl Family {
    pub fn is_asymmetric(self) -> bool {
        matches!(self, Self::Rsa | Self::Ec(_))
    }

    /// Do keys of this family rotate? A new version of a MAC key would make wrong what the old one made.
    pub fn rotates(self) -> bool {
        matches!(self, Self::Aes | Self::Sm4)
    }

    /// SM2 or SM4, for which PKCS#11 has no numbers and each device its own, if any.
    pub fn is_sm(self) -> bool {
        matches!(self, Self::Sm4 | Self::Ec(Curve::Sm2))
    }
}

/// One kind of key. `name` is the API's `KeySpec`.
#[derive(Debug, PartialEq, Eq)]
pub struct KeySpec {
    pub name: &'static str,
    pub family: Family,
    /// RSA: modulus; EC: field; symmetric: key length. In bits.
    pub bits: usize,
    pub usages: &'static [KeyUsage],
    /// The usage of `CreateKey` without `KeyUsage` (ruling 6).
    pub default_usage: KeyUsage,
    /// The algorithms of the asymmetric operations of the API.
    pub algorithms: &'static [Algorithm],
    /// Accepts `Origin=EXTERNAL` (imported key material).
    pub external: bool,
    /// Not in the KMS API: what PKCS#11 needs beyond it. `CreateKey` accepts it all the same.
    pub extension: bool,
    /// May a certificate be created on it (`CreateCertificate`).
    pub certificate: bool,
}

/// A row of [`SPECS`]; two are equal if they are the same row.
#[derive(Clone, Copy)]
pub struct Spec(pub &'static KeySpec);

const BOTH: &[KeyUsage] = &[KeyUsage::EncryptDecrypt, KeyUsage::SignVerify];
const SIGN: &[KeyUsage] = &[KeyUsage::SignVerify];
const ENCRYPT: &[KeyUsage] = &[KeyUsage::EncryptDecrypt];
const RSA: &[Algorithm] =
    &[Algorithm::RsaesOaepSha1, Algorithm::RsaesOaepSha256, Algorithm::RsaPkcs1Sha256, Algorithm::RsaPssSha256];

const SM2: &[Algorithm] = &[Algorithm::Sm2Dsa, Algorithm::Sm2Pke];

const fn rsa(name: &'static str, bits: usize, extension: bool, certificate: bool) -> KeySpec {
    KeySpec {
        name,
        family: Family::Rsa,
        bits,
        usages: BOTH,
        default_usage: KeyUsage::EncryptDecrypt,
        algorithms: RSA,
        external: false,
        extension,
        certificate,
    }
}

const fn ec(
    name: &'static str,
    curve: Curve,
    algorithms: &'static [Algorithm],
    extension: bool,
    certificate: bool,
) -> KeySpec {
    KeySpec {
        name,
        family: Family::Ec(curve),
        bits: curve.bits(),
        usages: SIGN,
        default_usage: KeyUsage::SignVerify,
        algorithms,
        external: false,
        extension,
        certificate,
    }
}

const fn secret(name: &'static str, family: Family, bits: usize, external: bool, extension: bool) -> KeySpec {
    let (usages, default_usage) = match family {
        Family::Generic => (SIGN, KeyUsage::SignVerify),
        _ => (ENCRYPT, KeyUsage::EncryptDecrypt),
    };
    KeySpec { name, family, bits, usages, default_usage, algorithms: &[], external, extension, certificate: false }
}

/// SM2 both signs and encrypts.
const fn sm2(name: &'static str) -> KeySpec {
    let default_usage = KeyUsage::EncryptDecrypt;
    KeySpec { usages: BOTH, default_usage, ..ec(name, Curve::Sm2, SM2, false, true) }
}

/// Every key spec. The first row is the default of `CreateKey`.
pub static SPECS: &[KeySpec] = &[
    secret("Aliyun_AES_256", Family::Aes, 256, true, false),
    rsa("RSA_2048", 2048, false, true),
    rsa("RSA_3072", 3072, false, false),
    rsa("RSA_4096", 4096, false, false),
    ec("EC_P256", Curve::P256, &[Algorithm::EcdsaSha256], false, true),
    ec("EC_P256K", Curve::Secp256k1, &[Algorithm::EcdsaSha256], false, false),
    sm2("EC_SM2"),
    secret("Aliyun_SM4", Family::Sm4, 128, true, false),
    ec("EC_P384", Curve::P384, &[Algorithm::EcdsaSha384], true, false),
    ec("EC_P521", Curve::P521, &[Algorithm::EcdsaSha512], true, false),
    // The API signs digests, which Ed25519 does not take.
    ec("EC_ED25519", Curve::Ed25519, &[], true, false),
    secret("Aliyun_AES_192", Family::Aes, 192, false, true),
    secret("Aliyun_AES_128", Family::Aes, 128, false, true),
    secret("HMAC_SHA_256", Family::Generic, 256, false, true),
    secret("HMAC_SHA_384", Family::Generic, 384, false, true),
    secret("HMAC_SHA_512", Family::Generic, 512, false, true),
];

impl Spec {
    pub fn by_name(name: &str) -> Option<Self> {
        SPECS.iter().find(|spec| spec.name == name).map(Self)
    }

    /// The spec of a key of this family and size, which generic tools name by type and length.
    pub fn by_shape(family: Family, bits: usize) -> Option<Self> {
        SPECS.iter().find(|spec| spec.family == family && spec.bits == bits).map(Self)
    }

    /// The spec of the key pair that this is the public half of.
    pub fn of_public(public: &PublicKey) -> Option<Self> {
        match public {
            PublicKey::Ec { curve, .. } => Self::by_shape(Family::Ec(*curve), curve.bits()),
            PublicKey::Rsa { .. } => Self::by_shape(Family::Rsa, public.bits()),
        }
    }

    pub fn default_spec() -> Self {
        Self(&SPECS[0])
    }
}

impl std::ops::Deref for Spec {
    type Target = KeySpec;
    fn deref(&self) -> &KeySpec {
        self.0
    }
}

impl PartialEq for Spec {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Spec {}

impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Spec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

impl<'de> Deserialize<'de> for Spec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::by_name(&name).ok_or_else(|| serde::de::Error::custom(format!("unknown key spec {name}")))
    }
}
