//! AES: ECB, CBC, CBC with padding, CTR, GCM, key wrap.
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::Cipher;

/// Encryption or decryption in progress. GCM decryption releases nothing before `finish`.
pub struct AesStream;
impl AesStream {
    /// Only the `Aes…` variants of [`Cipher`] that stream: not key wrap.
    pub fn new(_key: &[u8], _cipher: &Cipher, _encrypt: bool) -> Result<Self> {
        todo!()
    }
    pub fn update(&mut self, _input: &[u8]) -> Result<Bytes> {
        todo!()
    }
    pub fn finish(self) -> Result<Bytes> {
        todo!()
    }
}
/// A prepared AES key: GCM with 12-byte IVs is prepared once.
pub struct AesKey;
impl AesKey {
    pub fn new(_key: &[u8]) -> Result<Self> {
        todo!()
    }
    pub fn encrypt(&self, _cipher: &Cipher, _input: &[u8]) -> Result<Bytes> {
        todo!()
    }
    pub fn decrypt(&self, _cipher: &Cipher, _input: &[u8]) -> Result<Bytes> {
        todo!()
    }
    pub fn stream(&self, _cipher: &Cipher, _encrypt: bool) -> Result<AesStream> {
        todo!()
    }
}
