//! A device that gives out numbers as sessions, some at most, and what the pool needs beside it.

#[path = "../../src/protection/hsm/pool.rs"]
pub mod pool;

pub mod calls {
    #[derive(Debug, Clone, Copy)]
    pub struct Failed {
        pub call: &'static str,
        pub rv: u64,
    }

    pub type Answer<T> = Result<T, Failed>;
}

pub mod connection {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::calls::{Answer, Failed};
    use super::pool::Device;
    use crate::error::{Error, Result};
    use crate::time::Instant;

    #[derive(Default)]
    pub struct Library;

    /// The device: plain numbers, because calls into it are no part of the model.
    pub struct Module {
        last: AtomicU64,
        open: AtomicU64,
        most: u64,
    }

    impl Module {
        pub fn open_session(&self, _: u64) -> Answer<u64> {
            if self.open.load(Ordering::Relaxed) == self.most {
                return Err(Failed { call: "C_OpenSession", rv: cryptoki_sys::CKR_SESSION_COUNT });
            }
            self.open.fetch_add(1, Ordering::Relaxed);
            Ok(self.last.fetch_add(1, Ordering::Relaxed) + 1)
        }

        pub fn close_session(&self, _: u64) -> Answer<()> {
            self.open.fetch_sub(1, Ordering::Relaxed);
            Ok(())
        }
    }

    pub struct Connection {
        pub module: Arc<Module>,
        pub slot: u64,
        pub generation: u64,
        pub anchor: u64,
        pub capacity: usize,
    }

    impl Connection {
        pub fn start(device: &Device, _: &mut Library, _: Instant) -> Result<Self> {
            let generation = device.generations.fetch_add(1, Ordering::Relaxed) + 1;
            // The profile's name says what the device is like.
            let (capacity, most) = match device.config.profile.as_str() {
                "broken" => return Err(Error::Unavailable("broken".into())),
                // Says that it has two sessions, and has one.
                "boasts" => (2, 1),
                "two" => (2, 2),
                _ => (1, 1),
            };
            let module = Module { last: AtomicU64::new(100), open: AtomicU64::new(0), most };
            Ok(Self { module: Arc::new(module), slot: 0, generation, anchor: 99, capacity })
        }

        pub fn open(&self) -> Answer<u64> {
            self.module.open_session(self.slot)
        }
    }
}

pub mod session {
    use std::sync::Arc;

    use super::connection::Connection;

    pub struct Session {
        pub handle: u64,
        pub connection: Arc<Connection>,
    }
}

pub mod turns {
    #[derive(Clone)]
    pub struct Turnstile;
}

pub mod pin {
    use std::path::PathBuf;

    pub struct Pins;

    impl Pins {
        pub fn new(_: Option<PathBuf>) -> Self {
            Self
        }
    }
}

pub mod profile {
    use std::time::Duration;

    use super::calls::Failed;
    use crate::config::Isolate;

    #[derive(PartialEq, Eq)]
    pub enum Class {
        Busy,
        Permanent,
    }

    pub struct Profile {
        pub isolate: Isolate,
    }

    impl Profile {
        pub fn of(_: &str, _: &str, _: &()) -> Result<Self, String> {
            Ok(Self { isolate: Isolate::Share })
        }

        pub fn backoff(&self) -> Duration {
            Duration::from_secs(1)
        }

        pub fn class(&self, failed: Failed) -> Class {
            if failed.rv == cryptoki_sys::CKR_SESSION_COUNT { Class::Busy } else { Class::Permanent }
        }
    }
}

pub mod recover {
    use super::calls::Failed;
    use super::connection::Connection;
    use super::pool::{Device, Seized};
    use super::session::Session;
    use crate::error::{Error, Result};
    use crate::time::Instant;

    pub enum Rung {
        CloseAll,
    }

    impl Device {
        pub fn unavailable(&self, reason: impl Into<String>) -> Error {
            Error::Unavailable(reason.into())
        }

        pub fn error(&self, failed: Failed) -> Error {
            Error::Cryptoki(failed.rv)
        }

        /// A new connection in the place of this one.
        pub fn repair(
            &self,
            generation: u64,
            _: Rung,
            deadline: Instant,
            _: &dyn Fn(&Session) -> Result<(), Error>,
        ) -> Result<()> {
            let Some(Seized { mut library, repair, .. }) = self.seize(generation, deadline)? else { return Ok(()) };
            let made = Connection::start(self, &mut library, deadline);
            drop(library);
            repair.end(made, Vec::new())
        }
    }
}
