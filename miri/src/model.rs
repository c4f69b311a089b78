//! Of `src/model/`, bytes that are wiped.

#[path = "../../src/model/bytes.rs"]
mod bytes;
#[path = "../../src/model/iv.rs"]
mod iv;

pub use bytes::{Bytes, wiped};
pub use iv::Iv;
