//! The token: PKCS#11's view of the KMS. Numbers are PKCS#11's (`cryptoki-sys`), pointers stay in `abi`.

mod alias;
pub mod attribute;
pub mod certificate;
mod derive;
mod digesting;
pub mod dual;
mod engine;
mod envelope;
pub mod iv;
pub mod keys;
pub mod make;
pub mod mechanism;
pub mod message;
pub mod object;
pub mod operate;
pub mod operation;
mod own;
pub mod parameter;
mod profile;
pub mod provider;
pub mod separation;
pub mod session;
pub mod sessions;
pub mod slot;
pub mod sm;
pub mod state;
pub mod template;
pub mod unwrap;
mod uses;
pub mod vendor;
mod words;
pub mod wrap;

pub use parameter::{Mechanism, Parameter};
pub use provider::Provider;
pub use session::Session;
pub use template::Template;

use crate::model::Bytes;

/// What the caller offers for an output: asks for its size, or so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Ask,
    Bytes(usize),
}

/// What goes back: the output, its size (`Ask`), the size that is needed (CKR_BUFFER_TOO_SMALL), or how many bytes lie already
/// where the caller wants them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Bytes(Bytes),
    Size(usize),
    TooSmall(usize),
    Written(usize),
}

/// A PKCS#11 fault by its number.
pub fn ck(rv: cryptoki_sys::CK_RV) -> crate::Error {
    crate::Error::Cryptoki(rv)
}
