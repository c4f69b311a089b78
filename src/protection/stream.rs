//! Work in progress: bytes in, bytes out, end.

use std::sync::Arc;

use crate::crypto;
use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::Job;
use crate::protection::Key;

/// Bytes in, bytes out, end. `finish` consumes it, so it cannot be fed again.
pub trait Stream: Send {
    fn update(&mut self, input: &[u8]) -> Result<Bytes>;
    fn finish(self: Box<Self>) -> Result<Bytes>;
}

/// A stream that holds what it is fed and does the whole job at the end: for every job that needs its input whole.
/// `Key::start` of such a key is `Ok(stream::collect(self, job))`.
pub fn collect(key: Arc<dyn Key>, job: Job) -> Box<dyn Stream> {
    Box::new(Collected { key, job, parts: Bytes::default() })
}

struct Collected {
    key: Arc<dyn Key>,
    job: Job,
    parts: Bytes,
}

impl Stream for Collected {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        crypto::append(&mut self.parts, input)?;
        Ok(Bytes::default())
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        self.key.once(&self.job, &self.parts)
    }
}
