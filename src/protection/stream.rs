//! Work in progress: bytes in, bytes out, end.
use crate::error::Result;
use crate::model::Bytes;

/// Bytes in, bytes out, end. `finish` consumes it, so it cannot be fed again.
pub trait Stream: Send {
    fn update(&mut self, input: &[u8]) -> Result<Bytes>;
    fn finish(self: Box<Self>) -> Result<Bytes>;
}
