//! Elliptic-curve private keys at work.

use std::sync::Arc;

use crate::crypto::ec::EcKey;
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::{Derivation, Job, Signing};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream, stream};

pub(super) struct Ec(pub(super) EcKey);

impl Key for Ec {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Sign(Signing::Ecdsa) => Ok(Bytes::new(self.0.sign(input)?)),
            Job::Sign(Signing::Eddsa { prehash, context }) => {
                self.0.sign_message(*prehash, context, input).map(Bytes::new)
            }
            Job::Derive(Derivation::Agree { peer }) => self.0.derive(peer),
            _ => Err(unfit(job, "EC")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match job {
            Job::Sign(Signing::Ecdsa | Signing::Eddsa { .. }) | Job::Derive(Derivation::Agree { .. }) => {
                Ok(stream::collect(self, job))
            }
            _ => Err(unfit(&job, "EC")),
        }
    }
}
