//! Elliptic-curve private keys at work.

use std::sync::Arc;

use crate::crypto::ec::EcKey;
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::{Job, Signing};
use crate::protection::software::unfit;
use crate::protection::{Key, Stream, stream};

pub(super) struct Ec(pub(super) EcKey);

impl Key for Ec {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        match job {
            Job::Sign(Signing::Ecdsa) => Ok(Bytes::new(self.0.sign(input)?)),
            Job::Derive { peer } => self.0.derive(peer),
            _ => Err(unfit(job, "EC")),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        match job {
            Job::Sign(Signing::Ecdsa) | Job::Derive { .. } => Ok(stream::collect(self, job)),
            _ => Err(unfit(&job, "EC")),
        }
    }
}
