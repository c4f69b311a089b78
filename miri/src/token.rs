//! As `src/token/mod.rs`.

#[path = "../../src/token/parameter.rs"]
pub mod parameter;
#[path = "../../src/token/template.rs"]
pub mod template;

use crate::model::Bytes;
pub use parameter::{Mechanism, Parameter};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    Ask,
    Bytes(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Bytes(Bytes),
    Size(usize),
    TooSmall(usize),
    Written(usize),
}

pub fn ck(rv: u64) -> crate::error::Error {
    crate::error::Error::Cryptoki(rv)
}
