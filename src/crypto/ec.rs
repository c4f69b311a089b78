//! Elliptic curves: P-256, P-384, P-521 on aws-lc, secp256k1 on libsecp256k1.
use crate::error::Result;
use crate::model::Bytes;
use crate::model::curve::Curve;

/// A private key, prepared.
pub struct EcKey;
impl EcKey {
    pub fn generate(_curve: Curve) -> Result<Self> {
        todo!()
    }
    /// Big-endian scalar; leading zeros may be missing.
    pub fn from_scalar(_curve: Curve, _scalar: &[u8]) -> Result<Self> {
        todo!()
    }
    /// The scalar, `field_len` bytes.
    pub fn scalar(&self) -> Bytes {
        todo!()
    }
    /// 04 ‖ x ‖ y.
    pub fn point(&self) -> Vec<u8> {
        todo!()
    }
    /// r‖s.
    pub fn sign(&self, _digest: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    /// x-coordinate shared with an uncompressed point.
    pub fn derive(&self, _peer: &[u8]) -> Result<Bytes> {
        todo!()
    }
}

/// A public key, prepared.
pub struct EcPublic;
impl EcPublic {
    pub fn new(_curve: Curve, _point: &[u8]) -> Result<Self> {
        todo!()
    }
    pub fn verify(&self, _digest: &[u8], _signature: &[u8]) -> Result<()> {
        todo!()
    }
}

/// r‖s to DER (ECDSA-Sig-Value), and back.
pub fn to_der(_signature: &[u8]) -> Result<Vec<u8>> {
    todo!()
}
pub fn from_der(_curve: Curve, _der: &[u8]) -> Result<Vec<u8>> {
    todo!()
}
