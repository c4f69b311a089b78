//! Keys at rest: one key-encryption key per token, the slots that open it, and what is sealed and authenticated under it.

pub mod slot;

use crate::error::Result;
use crate::model::Bytes;

/// The key-encryption key of a token: 32 random bytes, from which every other key is derived (HKDF-SHA-256). Zeroized on drop.
pub struct Kek;

impl Kek {
    pub fn generate() -> Self {
        todo!()
    }
    pub fn from_bytes(_bytes: &[u8; 32]) -> Self {
        todo!()
    }
    /// AES-256-GCM under a key derived for `purpose` and `id`, with `aad` authenticated. Result: nonce ‖ ciphertext ‖ tag.
    pub fn seal(&self, _purpose: &str, _id: &[u8], _aad: &[u8], _plaintext: &[u8]) -> Vec<u8> {
        todo!()
    }
    pub fn unseal(&self, _purpose: &str, _id: &[u8], _aad: &[u8], _sealed: &[u8]) -> Result<Bytes> {
        todo!()
    }
    /// HMAC-SHA-256 over a stored record; parts are length-prefixed.
    pub fn tag(&self, _parts: &[&[u8]]) -> [u8; 32] {
        todo!()
    }
    /// In constant time.
    pub fn check(&self, _parts: &[&[u8]], _tag: &[u8]) -> bool {
        todo!()
    }
}
