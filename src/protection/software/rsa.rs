//! RSA private keys at work, in this process and in those forked from it.

use std::sync::{Arc, OnceLock};

use zeroize::Zeroizing;

use crate::crypto::rsa::RsaKey;
use crate::error::{Error, Result};
use crate::fork;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job, Signing};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream, stream};

/// The key that was prepared, and the copies that forked processes made of it: the lock inside a prepared key may have
/// been held by another thread at the fork and would then never open in the child.
pub(super) struct Rsa(Copy);

struct Copy {
    /// Which process it belongs to.
    epoch: u64,
    key: RsaKey,
    child: OnceLock<Box<Copy>>,
}

impl Rsa {
    pub(super) fn new(key: RsaKey) -> Self {
        Self(Copy { epoch: fork::epoch(), key, child: OnceLock::new() })
    }

    /// The copy of this process.
    fn key(&self) -> Result<&RsaKey> {
        let epoch = fork::epoch();
        if self.0.epoch == epoch { Ok(&self.0.key) } else { self.0.descend(epoch) }
    }
}

impl Copy {
    #[cold]
    fn descend(&self, epoch: u64) -> Result<&RsaKey> {
        let mut copy = self;
        while copy.epoch != epoch {
            if copy.child.get().is_none() {
                let fresh = Self { epoch, key: copy.key.duplicate()?, child: OnceLock::new() };
                // Another thread of this process may have been first; then its copy serves.
                let _ = copy.child.set(Box::new(fresh));
            }
            copy = copy.child.get().ok_or_else(|| Error::Internal("a key was not copied after a fork".into()))?;
        }
        Ok(&copy.key)
    }
}

impl Key for Rsa {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        let key = self.key()?;
        match job {
            Job::Sign(Signing::RsaPkcs1) => key.sign_pkcs1(input).map(Zeroizing::new),
            Job::Sign(Signing::RsaPss { hash, mgf, salt }) => {
                key.sign_pss(*hash, *mgf, *salt, input).map(Zeroizing::new)
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_did_not_prepare_the_key_works_with_a_copy() {
        let mut rsa = Rsa::new(RsaKey::generate(1024, &[1, 0, 1]).unwrap());
        let job = Job::Sign(Signing::RsaPkcs1);
        let signature = rsa.once(&job, b"digest").unwrap();
        // As a child sees it: prepared in another process.
        rsa.0.epoch += 1000;
        assert!(!std::ptr::eq(rsa.key().unwrap(), &rsa.0.key));
        assert!(std::ptr::eq(rsa.key().unwrap(), rsa.key().unwrap()));
        assert_eq!(rsa.once(&job, b"digest").unwrap(), signature);
    }
}
