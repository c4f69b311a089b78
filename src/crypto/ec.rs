//! Elliptic curves: P-256, P-384, P-521 on aws-lc, secp256k1 on libsecp256k1, SM2 on RustCrypto's `sm2`.

use der::asn1::UintRef;
use der::{Decode, Encode, Sequence};
use pkcs8::{PrivateKeyInfoRef, der::asn1::ObjectIdentifier};
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use super::{nist, padded, random, secp256k1, sm2};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::curve::Curve;

/// A private key, prepared. Shared by threads; a fork leaves it usable.
pub struct EcKey {
    curve: Curve,
    half: Half<nist::Private, secp256k1::Private, sm2::Private>,
}

/// A public key, prepared. Shared by threads; a fork leaves it usable.
pub struct EcPublic {
    curve: Curve,
    half: Half<nist::Public, secp256k1::Public, sm2::Public>,
}

/// What a key is on the library that works its curve.
enum Half<N, S, M> {
    Nist(N),
    Secp256k1(S),
    /// Boxed: its prepared form is large.
    Sm2(Box<M>),
}

impl EcKey {
    pub fn generate(curve: Curve) -> Result<Self> {
        let half = match curve {
            Curve::Secp256k1 => Half::Secp256k1(secp256k1::Private::generate()?),
            Curve::Sm2 => Half::Sm2(Box::new(sm2::Private::generate()?)),
            _ => Half::Nist(nist::Private::generate(curve)?),
        };
        Ok(Self { curve, half })
    }

    /// Big-endian scalar; leading zeros may be missing. `InvalidParameter` for 0 and for what is not less than the order.
    pub fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self> {
        let scalar = padded(scalar, curve.field_len()).ok_or_else(bad_scalar)?;
        let half = match curve {
            Curve::Secp256k1 => Half::Secp256k1(secp256k1::Private::from_scalar(&scalar)?),
            Curve::Sm2 => Half::Sm2(Box::new(sm2::Private::from_scalar(&scalar)?)),
            _ => Half::Nist(nist::Private::from_scalar(curve, &scalar)?),
        };
        Ok(Self { curve, half })
    }

    /// From PKCS#8 or SEC 1 DER that names its curve. A public key in it has to be the right one.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let (oid, key) = match PrivateKeyInfoRef::from_der(der) {
            Ok(info) if info.algorithm.oid == EC_PUBLIC_KEY => {
                let oid = info.algorithm.parameters_oid().map_err(bad_der)?;
                (Some(oid), EcPrivateKey::from_der(info.private_key.as_bytes()).map_err(bad_der)?)
            }
            Ok(info) => return Err(bad_der(format!("algorithm {}", info.algorithm.oid))),
            Err(_) => (None, EcPrivateKey::from_der(der).map_err(bad_der)?),
        };
        let named = key.parameters.as_ref().and_then(|parameters| parameters.named_curve());
        let oid = oid.or(named).ok_or_else(|| bad_der("no named curve"))?;
        let curve = Curve::by_oid(oid).ok_or_else(|| bad_der(format!("unknown curve {oid}")))?;
        let made = Self::from_scalar(curve, key.private_key)?;
        match key.public_key {
            Some(point) if point.len() == 1 + 2 * curve.field_len() && point != made.point() => {
                Err(bad_der("the public key is another one's"))
            }
            _ => Ok(made),
        }
    }

    /// PKCS#8 DER with the public key in it.
    pub fn to_der(&self) -> Result<Bytes> {
        let (scalar, point, oid) = (self.scalar(), self.point(), self.curve.oid());
        let key = EcPrivateKey { private_key: &scalar, parameters: None, public_key: Some(&point) };
        let key = Zeroizing::new(key.to_der().map_err(bad_der)?);
        let algorithm = spki::AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&oid).into()) };
        let octets = der::asn1::OctetStringRef::new(&key).map_err(bad_der)?;
        Ok(Bytes::new(PrivateKeyInfoRef::new(algorithm, octets).to_der().map_err(bad_der)?))
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The scalar, `field_len` bytes.
    pub fn scalar(&self) -> Bytes {
        match &self.half {
            Half::Nist(key) => super::ffi::must(key.scalar()),
            Half::Secp256k1(key) => key.scalar(),
            Half::Sm2(key) => key.scalar(),
        }
    }

    /// 04 ‖ x ‖ y.
    pub fn point(&self) -> Vec<u8> {
        match &self.half {
            Half::Nist(key) => super::ffi::must(key.point()),
            Half::Secp256k1(key) => key.point(),
            Half::Sm2(key) => key.point(),
        }
    }

    /// ECDSA: r‖s, each `field_len` bytes. `Unsupported` with an SM2 key. Of a digest longer than the order the leftmost bits count; a shorter one is a small number.
    pub fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        match &self.half {
            Half::Nist(key) => key.sign(digest),
            Half::Secp256k1(key) => key.sign(digest),
            Half::Sm2(_) => Err(not_ecdsa()),
        }
    }

    /// The same key for what only SM2 has; nothing if its curve is another.
    pub fn sm2(&self) -> Option<&sm2::Private> {
        if let Half::Sm2(key) = &self.half { Some(key) } else { None }
    }

    /// x-coordinate shared with an uncompressed point, `field_len` bytes. `InvalidParameter` if it is not on the curve.
    pub fn derive(&self, peer: &[u8]) -> Result<Bytes> {
        check_form(self.curve, peer)?;
        match &self.half {
            Half::Nist(key) => key.derive(peer),
            Half::Secp256k1(key) => key.derive(peer),
            Half::Sm2(_) => Err(not_ecdsa()),
        }
    }
}

impl EcPublic {
    /// `point` is 04 ‖ x ‖ y; `InvalidParameter` if it is of another form or not on the curve.
    pub fn new(curve: Curve, point: &[u8]) -> Result<Self> {
        check_form(curve, point)?;
        let half = match curve {
            Curve::Secp256k1 => Half::Secp256k1(secp256k1::Public::new(point)?),
            Curve::Sm2 => Half::Sm2(Box::new(sm2::Public::new(point)?)),
            _ => Half::Nist(nist::Public::new(curve, point)?),
        };
        Ok(Self { curve, half })
    }

    /// `signature` is r‖s: `SignatureLength` if it is not twice `field_len` bytes, `SignatureInvalid` if it is wrong.
    pub fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        if signature.len() != 2 * self.curve.field_len() {
            return Err(Error::SignatureLength);
        }
        match &self.half {
            Half::Nist(key) => key.verify(digest, signature),
            Half::Secp256k1(key) => key.verify(digest, signature),
            Half::Sm2(_) => Err(not_ecdsa()),
        }
    }

    /// The same key for what only SM2 has; nothing if its curve is another.
    pub fn sm2(&self) -> Option<&sm2::Public> {
        if let Half::Sm2(key) = &self.half { Some(key) } else { None }
    }
}

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");

/// ECDSA-Sig-Value (RFC 3279 §2.2.3).
#[derive(Sequence)]
struct Signature<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

/// r‖s to DER (ECDSA-Sig-Value).
pub fn to_der(signature: &[u8]) -> Result<Vec<u8>> {
    if signature.is_empty() || !signature.len().is_multiple_of(2) {
        return Err(Error::SignatureLength);
    }
    let (r, s) = signature.split_at(signature.len() / 2);
    let encode = || Signature { r: UintRef::new(r)?, s: UintRef::new(s)? }.to_der();
    encode().map_err(|_| Error::SignatureLength)
}

/// DER to r‖s. What is not DER, or too large for the curve, is `SignatureInvalid`.
pub fn from_der(curve: Curve, der: &[u8]) -> Result<Vec<u8>> {
    let parsed = Signature::from_der(der).map_err(|_| Error::SignatureInvalid)?;
    let part = |number: UintRef<'_>| padded(number.as_bytes(), curve.field_len()).ok_or(Error::SignatureInvalid);
    Ok([part(parsed.r)?.as_slice(), part(parsed.s)?.as_slice()].concat())
}

fn check_form(curve: Curve, point: &[u8]) -> Result<()> {
    if point.len() == 1 + 2 * curve.field_len() && point.first() == Some(&4) { Ok(()) } else { Err(bad_point()) }
}

pub(super) fn bad_point() -> Error {
    Error::invalid("point", "not an uncompressed point on this curve")
}

pub(super) fn bad_scalar() -> Error {
    Error::invalid("private key", "not a number from 1 to the order of this curve minus 1")
}

/// A new key on a curve of 256 bits, of the first random number that is a scalar: all but 2^-32 of them or fewer are.
pub(super) fn from_random_scalar<K>(make: impl Fn(&[u8]) -> Result<K>) -> Result<K> {
    for _ in 0..16 {
        let scalar = Zeroizing::new(random::bytes::<32>());
        if let Ok(key) = make(scalar.as_slice()) {
            return Ok(key);
        }
    }
    Err(Error::Internal("no scalar among sixteen random numbers".into()))
}

/// One key in two schemes could give itself away.
fn not_ecdsa() -> Error {
    Error::Unsupported("ECDSA and ECDH with an SM2 key".into())
}

fn bad_der(reason: impl ToString) -> Error {
    Error::invalid("private key", reason.to_string())
}

#[cfg(test)]
mod tests;
