//! A session that is only its handle, and says who uses it.

use crate::error::Error;

pub fn ck(rv: u64) -> Error {
    Error::Cryptoki(rv)
}

pub struct Session {
    handle: u64,
    /// How often it was used.
    pub uses: u32,
}

impl Session {
    pub fn new(handle: u64) -> Self {
        Self { handle, uses: 0 }
    }

    pub fn handle(&self) -> u64 {
        self.handle
    }
}
