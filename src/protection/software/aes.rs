//! AES keys at work.

use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::crypto::cipher::{AesKey, AesStream};
use crate::crypto::mac::Cmac;
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Derivation, Job, Mac};
use crate::protection::software::{mac, unfit};
use crate::protection::{Key, Stream, stream};

pub(super) struct Aes(pub(super) AesKey);

impl Key for Aes {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Encrypt(cipher) if is_aes(cipher) => self.0.encrypt(cipher, input),
            Job::Decrypt(cipher) if is_aes(cipher) => self.0.decrypt(cipher, input),
            Job::Derive(Derivation::Encrypt { cipher, data }) if is_aes(cipher) => self.0.encrypt(cipher, data),
            Job::Mac(Mac::AesCmac) => {
                let mut cmac = Cmac::new(self.0.bytes())?;
                cmac.update(input);
                Ok(Bytes::new(cmac.finish()))
            }
            _ => Err(unfit(job, "AES")),
        }
    }

    fn once_to(&self, job: &Job, input: &[u8], out: &mut [MaybeUninit<u8>]) -> Result<Option<usize>> {
        match job {
            Job::Encrypt(Cipher::AesGcm { iv, aad, tag }) => self.0.seal_to(iv, aad, *tag, input, out).map(Some),
            _ => Ok(None),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match &job {
            Job::Encrypt(cipher) | Job::Decrypt(cipher) if is_wrap(cipher) => Ok(stream::collect(self, job)),
            Job::Encrypt(cipher) if is_aes(cipher) => Ok(Box::new(self.0.stream(cipher, true)?)),
            Job::Decrypt(cipher) if is_aes(cipher) => Ok(Box::new(self.0.stream(cipher, false)?)),
            Job::Mac(Mac::AesCmac) => Ok(mac::cmac(Cmac::new(self.0.bytes())?)),
            _ => Err(unfit(&job, "AES")),
        }
    }
}

impl Stream for AesStream {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        Self::update(self, input)
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        Self::finish(*self)
    }
}

fn is_aes(cipher: &Cipher) -> bool {
    matches!(
        cipher,
        Cipher::AesCbc { .. }
            | Cipher::AesCbcPad { .. }
            | Cipher::AesCtr { .. }
            | Cipher::AesEcb
            | Cipher::AesGcm { .. }
            | Cipher::AesKeyWrap { .. }
            | Cipher::AesKeyWrapPad
    )
}

/// Key wrap goes over its input several times and needs it whole.
fn is_wrap(cipher: &Cipher) -> bool {
    matches!(cipher, Cipher::AesKeyWrap { .. } | Cipher::AesKeyWrapPad)
}
