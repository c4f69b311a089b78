//! Level SOFTWARE: keys are sealed under the token's key-encryption key and work in process.
//!
//! A key's *value* is PKCS#8 DER for RSA, the scalar for EC (as long as the field), the bytes of a secret.

mod aes;
mod ec;
mod mac;
mod rsa;
mod sm;

use std::sync::Arc;

use uuid::Uuid;

use crate::crypto::cipher::AesKey;
use crate::crypto::ec::EcKey;
use crate::crypto::random;
use crate::crypto::rsa::RsaKey;
use crate::crypto::sm4::Sm4Key;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Job;
use crate::model::curve::Curve;
use crate::model::key::{Level, Material};
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::{Generated, Key, Protection, Usages};
use crate::seal::Kek;

/// What a value is sealed for; with the KeyVersionId and the spec it binds the value to its place.
const PURPOSE: &str = "material";
/// The public exponent of RSA keys unless another one is asked for: 65537.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];
/// The longest generic secret, in bits.
const MAX_SECRET_BITS: usize = 1 << 20;

/// The level SOFTWARE of one token.
pub struct Software {
    kek: Arc<Kek>,
}

impl Software {
    pub fn new(kek: Arc<Kek>) -> Self {
        Self { kek }
    }

    /// The plain value of a key, to export one that may be exported (C_WrapKey). Whether it may was decided above.
    pub fn reveal(&self, id: Uuid, spec: Spec, material: &Material) -> Result<Bytes> {
        match material {
            Material::Sealed(sealed) => self.kek.unseal(PURPOSE, id.as_bytes(), spec.name.as_bytes(), sealed),
            Material::Copies { .. } => {
                Err(Error::corrupt(format!("the key version {id} of level SOFTWARE lies in several devices")))
            }
            Material::Device { device, .. } => {
                Err(Error::corrupt(format!("the key version {id} of level SOFTWARE lies in device {device}")))
            }
        }
    }

    fn seal(&self, id: Uuid, spec: Spec, (value, public): (Bytes, Option<PublicKey>)) -> Generated {
        let sealed = self.kek.seal(PURPOSE, id.as_bytes(), spec.name.as_bytes(), &value);
        Generated { material: Material::Sealed(sealed), public }
    }
}

/// What a key may do is no concern of this level: `kms` decides before a key is asked, and nothing but `kms` can reach one.
impl Protection for Software {
    fn level(&self) -> Level {
        Level::Software
    }

    fn generate(&self, id: Uuid, spec: Spec, _usages: Usages) -> Result<Generated> {
        Ok(self.seal(id, spec, generate_value(spec.family, spec.bits, None)?))
    }

    fn import(&self, id: Uuid, spec: Spec, _usages: Usages, value: &Bytes) -> Result<Generated> {
        Ok(self.seal(id, spec, canonical(spec, value)?))
    }

    fn open(&self, id: Uuid, spec: Spec, material: &Material, public: Option<&PublicKey>) -> Result<Arc<dyn Key>> {
        let value = self.reveal(id, spec, material)?;
        let (key, own) = prepare(spec.family, &value)?;
        match public {
            Some(public) if own.as_ref() != Some(public) => {
                Err(Error::corrupt(format!("the public key of key version {id} is not the one of its private key")))
            }
            _ => Ok(key),
        }
    }

    /// The sealed value goes with its record; there is nothing else.
    fn destroy(&self, _id: Uuid, _material: &Material) -> Result<()> {
        Ok(())
    }
}

/// A key made from its plain value, of any size that the primitives take: for session objects, which are never stored.
/// RSA also as PKCS#1 DER, EC scalars also without their leading zeros.
pub fn key(family: Family, value: &Bytes) -> Result<Arc<dyn Key>> {
    Ok(prepare(family, value)?.0)
}

/// A new value and its public key. `bits`: RSA modulus or length of a secret; a curve has its own.
/// `rsa_exponent` big-endian, by default 65537.
pub fn generate_value(family: Family, bits: usize, rsa_exponent: Option<&[u8]>) -> Result<(Bytes, Option<PublicKey>)> {
    match family {
        Family::Aes => match bits {
            128 | 192 | 256 => Ok((random_bytes(bits / 8), None)),
            _ => Err(Error::invalid("bits", "an AES key has 128, 192 or 256 bits")),
        },
        Family::Ec(curve) => {
            let key = EcKey::generate(curve)?;
            Ok((key.scalar(), Some(ec_public(&key))))
        }
        Family::Generic => match bits {
            1..=MAX_SECRET_BITS if bits.is_multiple_of(8) => Ok((random_bytes(bits / 8), None)),
            _ => Err(Error::invalid("bits", "a secret has 1 byte to 128 KiB, whole bytes")),
        },
        Family::Rsa => {
            let key = RsaKey::generate(bits, rsa_exponent.unwrap_or(RSA_EXPONENT))?;
            Ok((key.to_der()?, Some(rsa_public(&key))))
        }
        Family::Sm4 => match bits {
            128 => Ok((random_bytes(bits / 8), None)),
            _ => Err(Error::invalid("bits", "an SM4 key has 128 bits")),
        },
    }
}

/// The public key that belongs to a value; None for a secret.
pub fn public_of(family: Family, value: &Bytes) -> Result<Option<PublicKey>> {
    Ok(match family {
        Family::Aes | Family::Generic | Family::Sm4 => None,
        Family::Ec(curve) => Some(ec_public(&EcKey::from_scalar(curve, value)?)),
        Family::Rsa => Some(rsa_public(&RsaKey::from_der(value)?)),
    })
}

/// An imported value in the one form that is kept, with its public key. Refused if it is not of this spec.
/// RSA: PKCS#8 or PKCS#1 DER; EC: the scalar, or PKCS#8 or SEC 1 DER.
fn canonical(spec: Spec, value: &Bytes) -> Result<(Bytes, Option<PublicKey>)> {
    match spec.family {
        Family::Aes | Family::Generic | Family::Sm4 if value.len() * 8 == spec.bits => Ok((value.clone(), None)),
        Family::Aes | Family::Generic | Family::Sm4 => Err(other_size(spec)),
        Family::Ec(curve) => {
            // A scalar is never so long, nor does it matter if a short one happens to look like DER.
            let der = value.len() > curve.field_len() && value.first() == Some(&0x30);
            let key = if der { EcKey::from_der(value)? } else { EcKey::from_scalar(curve, value)? };
            match key.curve() == curve {
                true => Ok((key.scalar(), Some(ec_public(&key)))),
                false => Err(other_size(spec)),
            }
        }
        Family::Rsa => {
            let key = RsaKey::from_der(value)?;
            let public = rsa_public(&key);
            if public.bits() != spec.bits {
                return Err(other_size(spec));
            }
            key.check()?;
            Ok((key.to_der()?, Some(public)))
        }
    }
}

fn prepare(family: Family, value: &Bytes) -> Result<(Arc<dyn Key>, Option<PublicKey>)> {
    Ok(match family {
        Family::Aes => (Arc::new(aes::Aes(AesKey::new(value)?)), None),
        Family::Ec(curve) => {
            let key = EcKey::from_scalar(curve, value)?;
            let public = ec_public(&key);
            let key: Arc<dyn Key> = match curve {
                Curve::Sm2 => Arc::new(sm::Sm2(key)),
                _ => Arc::new(ec::Ec(key)),
            };
            (key, Some(public))
        }
        Family::Generic if value.is_empty() => return Err(Error::invalid("key", "a secret has 1 byte or more")),
        Family::Generic => (Arc::new(mac::Secret(value.clone())), None),
        Family::Rsa => {
            let key = RsaKey::from_der(value)?;
            let public = rsa_public(&key);
            (Arc::new(rsa::Rsa(key)), Some(public))
        }
        Family::Sm4 => (Arc::new(sm::Sm4(Sm4Key::new(value)?)), None),
    })
}

fn ec_public(key: &EcKey) -> PublicKey {
    PublicKey::Ec { curve: key.curve(), point: key.point() }
}

fn rsa_public(key: &RsaKey) -> PublicKey {
    let (modulus, exponent) = key.public();
    PublicKey::Rsa { modulus, exponent }
}

fn random_bytes(len: usize) -> Bytes {
    let mut out = Bytes::new(vec![0; len]);
    random::fill(&mut out);
    out
}

fn other_size(spec: Spec) -> Error {
    Error::invalid("key material", format!("not a key of spec {}", spec.name))
}

/// The answer to a job that does not fit the key's family.
fn unfit(job: &Job, family: &str) -> Error {
    let job = match job {
        Job::Decrypt(_) => "decrypting",
        Job::Derive(_) => "deriving",
        Job::Encrypt(_) => "encrypting",
        Job::Mac(_) => "authenticating",
        Job::Sign(_) => "signing",
    };
    Error::Unsupported(format!("{job} by this mechanism with a key of type {family}"))
}

#[cfg(test)]
mod tests;
