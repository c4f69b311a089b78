//! Elliptic curves by name.

use der::asn1::ObjectIdentifier;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Curve {
    /// edwards25519 (RFC 8032): EdDSA, never ECDSA or ECDH.
    Ed25519,
    P256,
    P384,
    P521,
    Secp256k1,
    /// GB/T 32918.5, recommended parameters: SM2, never ECDSA or ECDH.
    Sm2,
    /// curve25519 (RFC 7748): key agreement only.
    X25519,
}
impl Curve {
    pub const ALL: &[Self] =
        &[Self::Ed25519, Self::P256, Self::P384, Self::P521, Self::Secp256k1, Self::Sm2, Self::X25519];
    pub const fn bits(self) -> usize {
        match self {
            Self::Ed25519 | Self::X25519 => 255,
            Self::P256 | Self::Secp256k1 | Self::Sm2 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
        }
    }
    /// Length of a coordinate in bytes; of a signature it is twice that.
    pub const fn field_len(self) -> usize {
        self.bits().div_ceil(8)
    }
    /// One of RFC 7748's curves: keys are 32 bytes, little-endian, and the algorithm is the curve (RFC 8410).
    pub const fn is_25519(self) -> bool {
        matches!(self, Self::Ed25519 | Self::X25519)
    }
    /// Length of a public key in bytes: 04 ‖ x ‖ y, or only one coordinate.
    pub const fn point_len(self) -> usize {
        if self.is_25519() { 32 } else { 1 + 2 * self.field_len() }
    }
    pub const fn oid(self) -> ObjectIdentifier {
        ObjectIdentifier::new_unwrap(match self {
            Self::Ed25519 => "1.3.101.112",
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
            Self::Secp256k1 => "1.3.132.0.10",
            Self::Sm2 => "1.2.156.10197.1.301",
            Self::X25519 => "1.3.101.110",
        })
    }
    pub fn by_oid(oid: ObjectIdentifier) -> Option<Self> {
        Self::ALL.iter().copied().find(|curve| curve.oid() == oid)
    }
}
