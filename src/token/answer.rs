//! What a call is offered for its output, and what goes back.

use serde::{Deserialize, Serialize};

use crate::model::Bytes;

/// What the caller offers for an output: asks for its size, or so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Room {
    Ask,
    Bytes(usize),
}

/// What goes back: the output, its size (`Ask`), the size that is needed (CKR_BUFFER_TOO_SMALL), or how many bytes lie already
/// where the caller wants them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    Bytes(#[serde(with = "crate::model::wiped")] Bytes),
    Size(usize),
    TooSmall(usize),
    Written(usize),
}

/// A PKCS#11 fault by its number.
pub fn ck(rv: cryptoki_sys::CK_RV) -> crate::error::Error {
    crate::error::Error::Cryptoki(rv)
}
