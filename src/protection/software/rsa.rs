//! RSA private keys at work.

use std::sync::Arc;

use crate::crypto::rsa::RsaKey;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job, Signing};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream, stream};

pub(super) struct Rsa(pub(super) RsaKey);

impl Key for Rsa {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        let key = &self.0;
        match job {
            Job::Sign(Signing::RsaPkcs1) => key.sign_pkcs1(input).map(Bytes::new),
            Job::Sign(Signing::RsaPss { hash, mgf, salt }) => key.sign_pss(*hash, *mgf, *salt, input).map(Bytes::new),
            Job::Sign(Signing::RsaRaw) => key.raw(input),
            Job::Decrypt(Cipher::RsaOaep { hash, mgf, label }) => key.decrypt_oaep(*hash, *mgf, label, input),
            Job::Decrypt(Cipher::RsaPkcs1) => key.decrypt_pkcs1(input),
            Job::Decrypt(Cipher::RsaRaw) if input.len() != key.size() => Err(Error::CiphertextLength),
            Job::Decrypt(Cipher::RsaRaw) => key.raw(input).map_err(|error| match error {
                Error::DataLength => Error::Ciphertext,
                other => other,
            }),
            _ => Err(unfit(job, "RSA")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match job {
            Job::Sign(Signing::RsaPkcs1 | Signing::RsaPss { .. } | Signing::RsaRaw)
            | Job::Decrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw) => {
                Ok(stream::collect(self, job))
            }
            _ => Err(unfit(&job, "RSA")),
        }
    }
}
