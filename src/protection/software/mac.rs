//! Generic secrets at work (HMAC, HKDF), and MACs that come in parts.

use std::sync::Arc;

use crate::crypto::hkdf;
use crate::crypto::mac::{Cmac, Hmac};
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::{Derivation, Job, Mac};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream};

pub(super) struct Secret(pub(super) Bytes);

impl Key for Secret {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Mac(Mac::Hmac(hash)) => {
                let mut hmac = Hmac::new(*hash, &self.0);
                hmac.update(input);
                Ok(Bytes::new(hmac.finish()))
            }
            Job::Derive(Derivation::Hkdf(hkdf)) => hkdf::derive(&self.0, hkdf),
            _ => Err(unfit(job, "generic secret")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        let Job::Mac(Mac::Hmac(hash)) = job else { return Err(unfit(&job, "generic secret")) };
        Ok(Box::new(Running::Hmac(Hmac::new(hash, &self.0))))
    }
}

/// A CMAC as a stream.
pub(super) fn cmac(cmac: Cmac) -> Box<dyn Stream> {
    Box::new(Running::Cmac(cmac))
}

enum Running {
    Cmac(Cmac),
    Hmac(Hmac),
}

impl Stream for Running {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        match self {
            Self::Cmac(cmac) => cmac.update(input),
            Self::Hmac(hmac) => hmac.update(input),
        }
        Ok(Bytes::default())
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        Ok(Bytes::new(match *self {
            Self::Cmac(cmac) => cmac.finish(),
            Self::Hmac(hmac) => hmac.finish(),
        }))
    }
}
