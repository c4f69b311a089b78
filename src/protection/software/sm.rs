//! SM2 private keys and SM4 keys at work.

use std::sync::Arc;

use crate::crypto::ec::{self, EcKey};
use crate::crypto::sm2::Private;
use crate::crypto::sm4::{Sm4Key, Sm4Stream};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Derivation, Job, Signing};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream, stream};

/// A key on the curve SM2, which signs and decrypts by SM2 only.
pub(super) struct Sm2(pub(super) EcKey);

impl Sm2 {
    fn key(&self) -> Result<&Private> {
        self.0.sm2().ok_or_else(|| Error::Internal("not an SM2 key".to_owned()))
    }
}

impl Key for Sm2 {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Sign(Signing::Sm2) => Ok(Bytes::new(self.key()?.sign(input)?)),
            Job::Sign(Signing::Sm2Der) => Ok(Bytes::new(ec::to_der(&self.key()?.sign(input)?)?)),
            Job::Decrypt(Cipher::Sm2(layout)) => self.key()?.decrypt(*layout, input),
            _ => Err(unfit(job, "SM2")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match job {
            Job::Sign(Signing::Sm2 | Signing::Sm2Der) | Job::Decrypt(Cipher::Sm2(_)) => Ok(stream::collect(self, job)),
            _ => Err(unfit(&job, "SM2")),
        }
    }
}

pub(super) struct Sm4(pub(super) Sm4Key);

impl Key for Sm4 {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Encrypt(cipher) if is_sm4(cipher) => self.0.encrypt(cipher, input),
            Job::Decrypt(cipher) if is_sm4(cipher) => self.0.decrypt(cipher, input),
            Job::Derive(Derivation::Encrypt { cipher, data }) if is_sm4(cipher) => self.0.encrypt(cipher, data),
            _ => Err(unfit(job, "SM4")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match &job {
            Job::Encrypt(cipher) if is_sm4(cipher) => Ok(Box::new(self.0.stream(cipher, true)?)),
            Job::Decrypt(cipher) if is_sm4(cipher) => Ok(Box::new(self.0.stream(cipher, false)?)),
            _ => Err(unfit(&job, "SM4")),
        }
    }
}

impl Stream for Sm4Stream {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        Self::update(self, input)
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        Self::finish(*self)
    }
}

fn is_sm4(cipher: &Cipher) -> bool {
    matches!(
        cipher,
        Cipher::Sm4Cbc { .. }
            | Cipher::Sm4CbcPad { .. }
            | Cipher::Sm4Ctr { .. }
            | Cipher::Sm4Ecb
            | Cipher::Sm4Gcm { .. }
    )
}
