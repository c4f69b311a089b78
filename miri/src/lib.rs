//! The marshalling code under Miri (ci/miri.sh): what reads the pointers of a caller and writes to them. The very files of the
//! library are compiled here, with their own unit tests and those of `door`, against stand-ins for what they use; nothing
//! of it calls C, so that every access to memory is checked by Rust's own rules: bounds, alignment, aliasing, uninitialised
//! bytes, memory that is not given back.

#![allow(dead_code)] // The files are as the library's own.

mod abi;
pub mod error;
pub mod model;
pub mod token;
