//! Public-key work: needs no protection and is done in process for both levels.
use crate::error::Result;
use crate::model::algorithm::{Cipher, Signing};
use crate::model::public::PublicKey;

/// A public key, parsed and prepared.
pub enum Prepared {
    Todo,
}
impl Prepared {
    pub fn new(_key: &PublicKey) -> Result<Self> {
        todo!()
    }
    /// `Error::SignatureInvalid` or `Error::SignatureLength` if it is wrong.
    pub fn verify(&self, _scheme: &Signing, _input: &[u8], _signature: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn encrypt(&self, _cipher: &Cipher, _plaintext: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
    /// Raw RSA (C_VerifyRecover and CKM_RSA_X_509).
    pub fn raw(&self, _block: &[u8]) -> Result<Vec<u8>> {
        todo!()
    }
}
