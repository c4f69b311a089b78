//! Of `src/model/`, bytes that are wiped.

#[path = "../../src/model/bytes.rs"]
mod bytes;

pub use bytes::{Bytes, wiped};
