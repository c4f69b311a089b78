//! RSA, on aws-lc.
use crate::error::Result;
use crate::model::Bytes;
use crate::model::hash::Hash;

/// A private key, parsed and prepared; blinding is aws-lc's.
pub struct RsaKey;
impl RsaKey {
    /// `exponent` big-endian, usually 01 00 01.
    pub fn generate(_bits: usize, _exponent: &[u8]) -> Result<Self> {
        todo!()
    }
    /// PKCS#8 or PKCS#1 DER. Inconsistent numbers are refused.
    pub fn from_der(_der: &[u8]) -> Result<Self> {
        todo!()
    }
    /// From big-endian numbers. Without the primes and exponents (p, q, dp, dq, qi) they are computed from n, e, d.
    pub fn from_numbers(_n: &[u8], _e: &[u8], _d: &[u8], _crt: Option<[&[u8]; 5]>) -> Result<Self> {
        todo!()
    }
    /// PKCS#8 DER.
    pub fn to_der(&self) -> Result<Bytes> {
        todo!()
    }
    /// Modulus and public exponent.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        todo!()
    }
    /// n, e, d, p, q, dp, dq, qi: for CKA_ values of an extractable key.
    pub fn numbers(&self) -> [Bytes; 8] {
        todo!()
    }
    pub fn sign_pkcs1(&self, _block: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn sign_pss(&self, _hash: Hash, _mgf: Hash, _salt: usize, _digest: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    /// Input of up to the modulus length, left-padded with zeros; also serves raw decryption.
    pub fn raw(&self, _block: &[u8]) -> Result<Bytes> {
        todo!()
    }
    pub fn decrypt_oaep(&self, _hash: Hash, _mgf: Hash, _label: &[u8], _ciphertext: &[u8]) -> Result<Bytes> {
        todo!()
    }
    /// With implicit rejection.
    pub fn decrypt_pkcs1(&self, _ciphertext: &[u8]) -> Result<Bytes> {
        todo!()
    }
}

/// A public key, prepared.
pub struct RsaPublic;
impl RsaPublic {
    pub fn new(_modulus: &[u8], _exponent: &[u8]) -> Result<Self> {
        todo!()
    }
    pub fn verify_pkcs1(&self, _block: &[u8], _signature: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn verify_pss(&self, _hash: Hash, _mgf: Hash, _salt: usize, _digest: &[u8], _signature: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn raw(&self, _block: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn encrypt_oaep(&self, _hash: Hash, _mgf: Hash, _label: &[u8], _plaintext: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    pub fn encrypt_pkcs1(&self, _plaintext: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
}

/// OAEP unpadding, in constant time, of a block that a device decrypted raw.
pub fn unpad_oaep(_hash: Hash, _mgf: Hash, _label: &[u8], _block: &[u8]) -> Result<Bytes> {
    todo!()
}
