//! A session that is only its handle, and says who uses it.

use crate::error::Error;

pub fn ck(rv: u64) -> Error {
    Error::Cryptoki(rv)
}

pub mod slot {
    pub struct Slot;
}

pub mod session {
    use super::slot::Slot;

    pub struct Session {
        handle: u64,
        /// How often it was used.
        pub uses: u32,
    }

    /// The handle that the session had.
    #[derive(Debug, PartialEq, Eq)]
    pub struct Closed(pub u64);

    impl Session {
        pub fn new(handle: u64, _: &'static Slot, _: usize, _: bool) -> Self {
            Self { handle, uses: 0 }
        }

        pub fn renew(&mut self, handle: u64, _: &'static Slot, _: usize, _: bool) {
            *self = Self { handle, uses: 0 };
        }

        pub fn close(&mut self) -> Closed {
            Closed(std::mem::replace(&mut self.handle, u64::MAX))
        }

        pub fn handle(&self) -> u64 {
            self.handle
        }
    }
}
