//! Public-key work: needs no protection and is done in process for both levels.

use crate::crypto::ec::{self, EcPublic};
use crate::crypto::rsa::RsaPublic;
use crate::crypto::sm2;
use crate::error::{Error, Result};
use crate::model::algorithm::{Cipher, Signing};
use crate::model::curve::Curve;
use crate::model::public::PublicKey;

/// A public key, parsed and prepared. Shared by any number of threads; a fork leaves it usable.
pub enum Prepared {
    Ec(EcPublic),
    Rsa(RsaPublic),
}

impl Prepared {
    /// `InvalidParameter` for a point that is not on its curve, and for RSA numbers that make no key.
    pub fn new(key: &PublicKey) -> Result<Self> {
        Ok(match key {
            PublicKey::Ec { curve, point } => Self::Ec(EcPublic::new(*curve, point)?),
            PublicKey::Rsa { modulus, exponent } => Self::Rsa(RsaPublic::new(modulus, exponent)?),
        })
    }

    /// `Error::SignatureInvalid` or `Error::SignatureLength` if it is wrong. `input` as for [`Signing`]; `DataLength` if
    /// nothing of that length can have been signed. `Unsupported` for a scheme of another family.
    pub fn verify(&self, scheme: &Signing, input: &[u8], signature: &[u8]) -> Result<()> {
        match (self, scheme) {
            (Self::Ec(key), Signing::Ecdsa) => key.verify(input, signature),
            (Self::Ec(key), Signing::Eddsa { prehash, context }) => {
                key.verify_message(*prehash, context, input, signature)
            }
            (Self::Ec(key), Signing::Sm2) => sm2(key)?.verify(input, signature),
            (Self::Ec(key), Signing::Sm2Der) => sm2(key)?.verify(input, &ec::from_der(Curve::Sm2, signature)?),
            (Self::Rsa(key), Signing::RsaPkcs1) => match input.len() + 11 <= key.size() {
                true => key.verify_pkcs1(input, signature),
                false => Err(Error::DataLength),
            },
            (Self::Rsa(key), Signing::RsaPss { hash, mgf, salt }) => {
                key.verify_pss(*hash, *mgf, *salt, input, signature)
            }
            (Self::Rsa(key), Signing::RsaRaw) => {
                if input.len() > key.size() {
                    return Err(Error::DataLength);
                }
                if signature.len() != key.size() {
                    return Err(Error::SignatureLength);
                }
                let found = key.raw(signature).map_err(|_| Error::SignatureInvalid)?;
                let (zeros, found) = found.split_at(found.len() - input.len());
                let same = found == input && zeros.iter().all(|byte| *byte == 0);
                if same { Ok(()) } else { Err(Error::SignatureInvalid) }
            }
            _ => Err(unfit()),
        }
    }

    /// RSA (OAEP, PKCS#1 v1.5 or raw) and SM2. `DataLength` for a plaintext that is too long.
    pub fn encrypt(&self, cipher: &Cipher, plaintext: &[u8]) -> Result<Vec<u8>> {
        match (self, cipher) {
            (Self::Rsa(key), Cipher::RsaOaep { hash, mgf, label }) => key.encrypt_oaep(*hash, *mgf, label, plaintext),
            (Self::Rsa(key), Cipher::RsaPkcs1) => key.encrypt_pkcs1(plaintext),
            (Self::Rsa(key), Cipher::RsaRaw) => key.raw(plaintext),
            (Self::Ec(key), Cipher::Sm2(layout)) => sm2(key)?.encrypt(*layout, plaintext),
            _ => Err(unfit()),
        }
    }

    /// Raw RSA (C_VerifyRecover and CKM_RSA_X_509): up to the modulus length in, the modulus length out.
    pub fn raw(&self, block: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Rsa(key) => key.raw(block),
            Self::Ec(_) => Err(unfit()),
        }
    }

    /// What was signed with PKCS#1 v1.5 (C_VerifyRecover and CKM_RSA_PKCS). Errors as for `verify`.
    pub fn recover(&self, signature: &[u8]) -> Result<Vec<u8>> {
        match self {
            Self::Rsa(key) => key.recover_pkcs1(signature),
            Self::Ec(_) => Err(unfit()),
        }
    }
}

fn sm2(key: &EcPublic) -> Result<&sm2::Public> {
    key.sm2().ok_or_else(unfit)
}

fn unfit() -> Error {
    Error::Unsupported("this mechanism with a public key of this type".into())
}
