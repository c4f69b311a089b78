//! Encrypt and Decrypt of symmetric keys: the ciphertext blob.
use crate::error::Result;
use crate::kms::Kms;
use crate::kms::asymmetric::Done;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::context::Context;
impl Kms {
    /// Plaintext up to 6,144 bytes. The result is the binary blob.
    pub fn encrypt(
        &self,
        _caller: &Caller,
        _key: &str,
        _plaintext: &[u8],
        _context: &Context,
    ) -> Result<(Done, Vec<u8>)> {
        todo!()
    }
    pub fn decrypt(&self, _caller: &Caller, _blob: &[u8], _context: &Context) -> Result<(Done, Bytes)> {
        todo!()
    }
}
