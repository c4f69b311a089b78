//! Public keys as plain data, and their DER and PEM forms.

use der::asn1::{BitString, ObjectIdentifier, UintRef};
use der::pem::LineEnding;
use der::{Any, Decode, Encode, EncodePem, Sequence};
use serde::{Deserialize, Serialize};
use spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};

use crate::error::{Error, Result};
use crate::model::curve::Curve;

/// rsaEncryption (RFC 8017 §A.1).
pub const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// A public key. Numbers are big-endian without leading zeros.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PublicKey {
    Ec {
        curve: Curve,
        /// Uncompressed: 04 ‖ x ‖ y; of Ed25519 and X25519 the 32 bytes of RFC 8032 and RFC 7748.
        #[serde(with = "crate::model::names::hex_bytes")]
        point: Vec<u8>,
    },
    Rsa {
        #[serde(with = "crate::model::names::hex_bytes")]
        modulus: Vec<u8>,
        #[serde(with = "crate::model::names::hex_bytes")]
        exponent: Vec<u8>,
    },
}

#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

fn bad(error: impl std::fmt::Display) -> Error {
    Error::invalid("PublicKey", error.to_string())
}

impl PublicKey {
    /// DER SubjectPublicKeyInfo.
    pub fn to_spki(&self) -> Result<Vec<u8>> {
        self.spki()?.to_der().map_err(bad)
    }

    /// PEM SubjectPublicKeyInfo with a newline at the end.
    pub fn to_pem(&self) -> Result<String> {
        self.spki()?.to_pem(LineEnding::LF).map_err(bad)
    }

    pub fn spki(&self) -> Result<SubjectPublicKeyInfoOwned> {
        let (oid, parameters, bits) = match self {
            Self::Rsa { modulus, exponent } => {
                let key = RsaPublicKey {
                    modulus: UintRef::new(modulus).map_err(bad)?,
                    exponent: UintRef::new(exponent).map_err(bad)?,
                };
                (RSA_ENCRYPTION, Some(Any::null()), key.to_der().map_err(bad)?)
            }
            Self::Ec { curve, point } if curve.is_25519() => (curve.oid(), None, point.clone()),
            Self::Ec { curve, point } => (EC_PUBLIC_KEY, Some(Any::from(curve.oid())), point.clone()),
        };
        Ok(SubjectPublicKeyInfoOwned {
            algorithm: AlgorithmIdentifierOwned { oid, parameters },
            subject_public_key: BitString::from_bytes(&bits).map_err(bad)?,
        })
    }

    /// From DER SubjectPublicKeyInfo. Whether the point lies on the curve is checked when the key is first used.
    pub fn from_spki(der: &[u8]) -> Result<Self> {
        Self::from_info(&SubjectPublicKeyInfoOwned::from_der(der).map_err(bad)?)
    }

    pub fn from_info(info: &SubjectPublicKeyInfoOwned) -> Result<Self> {
        let bits = info.subject_public_key.as_bytes().ok_or_else(|| bad("odd number of bits"))?;
        match info.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKey::from_der(bits).map_err(bad)?;
                Ok(Self::Rsa { modulus: key.modulus.as_bytes().to_vec(), exponent: key.exponent.as_bytes().to_vec() })
            }
            EC_PUBLIC_KEY => {
                let oid = info
                    .algorithm
                    .parameters
                    .as_ref()
                    .and_then(|parameters| parameters.decode_as::<ObjectIdentifier>().ok())
                    .ok_or_else(|| bad("no named curve"))?;
                let curve = Curve::by_oid(oid).filter(|curve| !curve.is_25519());
                let curve = curve.ok_or_else(|| bad(format!("unknown curve {oid}")))?;
                if bits.len() != 1 + 2 * curve.field_len() || bits[0] != 4 {
                    return Err(bad("not an uncompressed point of this curve"));
                }
                Ok(Self::Ec { curve, point: bits.to_vec() })
            }
            other => match Curve::by_oid(other).filter(|curve| curve.is_25519()) {
                Some(curve) if bits.len() == curve.point_len() && info.algorithm.parameters.is_none() => {
                    Ok(Self::Ec { curve, point: bits.to_vec() })
                }
                Some(_) => Err(bad("not a public key of RFC 8410")),
                None => Err(bad(format!("unknown algorithm {other}"))),
            },
        }
    }

    /// Length of the modulus or the field, in bits.
    pub fn bits(&self) -> usize {
        match self {
            Self::Ec { curve, .. } => curve.bits(),
            Self::Rsa { modulus, .. } => {
                modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize)
            }
        }
    }
}
