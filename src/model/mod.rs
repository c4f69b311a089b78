//! The nouns: plain data and tables, no I/O and no rules.

pub mod algorithm;
pub mod blob;
mod bytes;
pub mod caller;
pub mod certificate;
pub mod context;
pub mod curve;
pub mod hash;
mod iv;
pub mod key;
pub mod key_policy;
pub mod map;
pub mod names;
pub mod object;
pub mod policy;
pub mod public;
pub mod spec;
pub mod time;

pub use bytes::{Bytes, wiped};
pub use iv::Iv;
