//! AsymmetricSign, -Verify, -Encrypt, -Decrypt, GetPublicKey.
use crate::error::Result;
use crate::kms::Kms;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::public::PublicKey;
use uuid::Uuid;

/// Which key and version did it.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub key: Uuid,
    pub version: Uuid,
}

impl Kms {
    /// ECDSA signatures are DER (ruling 15).
    pub fn asymmetric_sign(
        &self,
        _caller: &Caller,
        _key: &str,
        _version: &str,
        _algorithm: &str,
        _digest: &[u8],
    ) -> Result<(Done, Vec<u8>)> {
        todo!()
    }
    pub fn asymmetric_verify(
        &self,
        _caller: &Caller,
        _key: &str,
        _version: &str,
        _algorithm: &str,
        _digest: &[u8],
        _signature: &[u8],
    ) -> Result<(Done, bool)> {
        todo!()
    }
    pub fn asymmetric_encrypt(
        &self,
        _caller: &Caller,
        _key: &str,
        _version: &str,
        _algorithm: &str,
        _plaintext: &[u8],
    ) -> Result<(Done, Vec<u8>)> {
        todo!()
    }
    pub fn asymmetric_decrypt(
        &self,
        _caller: &Caller,
        _key: &str,
        _version: &str,
        _algorithm: &str,
        _ciphertext: &[u8],
    ) -> Result<(Done, Bytes)> {
        todo!()
    }
    pub fn public_key(&self, _caller: &Caller, _key: &str, _version: &str) -> Result<(Done, PublicKey)> {
        todo!()
    }
}
