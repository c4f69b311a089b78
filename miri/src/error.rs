//! What `src/error.rs` has of use here.

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    Cryptoki(u64),
    HostMemory,
    Internal(String),
}
