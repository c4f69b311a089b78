//! Elliptic curves: P-256, P-384, P-521, Ed25519, X25519 on aws-lc, secp256k1 on libsecp256k1, SM2 on RustCrypto's
//! `sm2`.

use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, Encode, Sequence};
use pkcs8::{PrivateKeyInfoRef, der::asn1::ObjectIdentifier};
use sec1::EcPrivateKey;
use zeroize::Zeroizing;

use super::{curve25519, nist, padded, random, secp256k1, sm2};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::curve::Curve;

/// A private key, prepared. Shared by threads; a fork leaves it usable.
pub struct EcKey {
    curve: Curve,
    half: Half<nist::Private, secp256k1::Private, sm2::Private, curve25519::Private>,
}

/// A public key, prepared. Shared by threads; a fork leaves it usable.
pub struct EcPublic {
    curve: Curve,
    half: Half<nist::Public, secp256k1::Public, sm2::Public, curve25519::Public>,
}

/// What a key is on the library that works its curve.
enum Half<N, S, M, E> {
    Curve25519(E),
    Nist(N),
    Secp256k1(S),
    /// Boxed: its prepared form is large.
    Sm2(Box<M>),
}

impl EcKey {
    pub fn generate(curve: Curve) -> Result<Self> {
        let half = match curve {
            Curve::Ed25519 | Curve::X25519 => Half::Curve25519(curve25519::Private::generate(curve)?),
            Curve::Secp256k1 => Half::Secp256k1(secp256k1::Private::generate()?),
            Curve::Sm2 => Half::Sm2(Box::new(sm2::Private::generate()?)),
            _ => Half::Nist(nist::Private::generate(curve)?),
        };
        Ok(Self { curve, half })
    }

    /// Big-endian scalar; leading zeros may be missing. `InvalidParameter` for 0 and for what is not less than the order.
    /// Of Ed25519 and X25519 the 32 bytes that their RFCs call the private key.
    pub fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self> {
        if curve.is_25519() {
            return Ok(Self { curve, half: Half::Curve25519(curve25519::Private::from_secret(curve, scalar)?) });
        }
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
            Ok(info) => {
                let curve = Curve::by_oid(info.algorithm.oid).filter(|curve| curve.is_25519());
                let curve = curve.ok_or_else(|| bad_der(format!("algorithm {}", info.algorithm.oid)))?;
                // RFC 8410 §7: an OCTET STRING inside the OCTET STRING.
                let inner = <&OctetStringRef>::from_der(info.private_key.as_bytes()).map_err(bad_der)?;
                return Self::from_scalar(curve, inner.as_bytes());
            }
            Err(_) => (None, EcPrivateKey::from_der(der).map_err(bad_der)?),
        };
        let named = key.parameters.as_ref().and_then(|parameters| parameters.named_curve());
        let oid = oid.or(named).ok_or_else(|| bad_der("no named curve"))?;
        let curve = Curve::by_oid(oid).filter(|curve| !curve.is_25519());
        let curve = curve.ok_or_else(|| bad_der(format!("unknown curve {oid}")))?;
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
        if self.curve.is_25519() {
            let inner = Zeroizing::new(OctetStringRef::new(&scalar).and_then(|inner| inner.to_der()).map_err(bad_der)?);
            let algorithm = spki::AlgorithmIdentifierRef { oid, parameters: None };
            let octets = OctetStringRef::new(&inner).map_err(bad_der)?;
            return Ok(Bytes::new(PrivateKeyInfoRef::new(algorithm, octets).to_der().map_err(bad_der)?));
        }
        let key = EcPrivateKey { private_key: &scalar, parameters: None, public_key: Some(&point) };
        let key = Zeroizing::new(key.to_der().map_err(bad_der)?);
        let algorithm = spki::AlgorithmIdentifierRef { oid: EC_PUBLIC_KEY, parameters: Some((&oid).into()) };
        let octets = OctetStringRef::new(&key).map_err(bad_der)?;
        Ok(Bytes::new(PrivateKeyInfoRef::new(algorithm, octets).to_der().map_err(bad_der)?))
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// The scalar, `field_len` bytes.
    pub fn scalar(&self) -> Bytes {
        match &self.half {
            Half::Curve25519(key) => key.secret(),
            Half::Nist(key) => super::ffi::must(key.scalar()),
            Half::Secp256k1(key) => key.scalar(),
            Half::Sm2(key) => key.scalar(),
        }
    }

    /// 04 ‖ x ‖ y; of Ed25519 and X25519 32 bytes.
    pub fn point(&self) -> Vec<u8> {
        match &self.half {
            Half::Curve25519(key) => key.point(),
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
            Half::Curve25519(_) | Half::Sm2(_) => Err(not_ecdsa()),
        }
    }

    /// EdDSA of a whole message, 64 bytes. `Unsupported` with another curve.
    pub fn sign_message(&self, prehash: bool, context: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        match &self.half {
            Half::Curve25519(key) => key.sign(prehash, context, message),
            _ => Err(not_eddsa()),
        }
    }

    /// The same key for what only SM2 has; nothing if its curve is another.
    pub fn sm2(&self) -> Option<&sm2::Private> {
        if let Half::Sm2(key) = &self.half { Some(key) } else { None }
    }

    /// x-coordinate shared with an uncompressed point or X25519 key, `field_len` bytes. `InvalidParameter` if it is
    /// not on the curve.
    pub fn derive(&self, peer: &[u8]) -> Result<Bytes> {
        check_form(self.curve, peer)?;
        match &self.half {
            Half::Curve25519(key) => key.derive(peer),
            Half::Nist(key) => key.derive(peer),
            Half::Secp256k1(key) => key.derive(peer),
            Half::Sm2(_) => Err(not_ecdsa()),
        }
    }
}

impl EcPublic {
    /// `point` is 04 ‖ x ‖ y, of Ed25519 and X25519 32 bytes; `InvalidParameter` if it is of another form or not on
    /// the curve.
    pub fn new(curve: Curve, point: &[u8]) -> Result<Self> {
        check_form(curve, point)?;
        let half = match curve {
            Curve::Ed25519 | Curve::X25519 => Half::Curve25519(curve25519::Public::new(curve, point)?),
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
            Half::Curve25519(_) | Half::Sm2(_) => Err(not_ecdsa()),
        }
    }

    /// EdDSA of a whole message. `Unsupported` with another curve.
    pub fn verify_message(&self, prehash: bool, context: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
        match &self.half {
            Half::Curve25519(key) => key.verify(prehash, context, message, signature),
            _ => Err(not_eddsa()),
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
    let whole = point.len() == curve.point_len() && (curve.is_25519() || point.first() == Some(&4));
    if whole { Ok(()) } else { Err(bad_point()) }
}

pub(super) fn bad_point() -> Error {
    Error::invalid("point", "not an uncompressed point on this curve, or one of small order")
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
    Error::Unsupported("ECDSA and ECDH with a key of SM2, Ed25519 or X25519".into())
}

fn not_eddsa() -> Error {
    Error::Unsupported("EdDSA with a key of another curve".into())
}

fn bad_der(reason: impl ToString) -> Error {
    Error::invalid("private key", reason.to_string())
}

#[cfg(test)]
mod tests;
