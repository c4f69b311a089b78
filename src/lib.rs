//! alikms-pkcs11: a key management service whose front door is a PKCS#11 module.
//!
//! The rooms, from the ground up; a room uses only rooms below it (`tests/house.rs` is the wall):
//! `error`, `fork`, `crypto` < `model` < `link`, `config`, `seal` < `store`, `protection` < `kms` < `token`, `api` < `remote` < `abi`.

#![deny(unsafe_op_in_unsafe_fn, unused_must_use)]
#![warn(clippy::undocumented_unsafe_blocks)]

pub mod abi;
pub mod api;
pub mod config;
pub mod crypto;
pub mod error;
pub mod fork;
pub mod kms;
pub mod link;
pub mod model;
pub mod protection;
pub mod remote;
pub mod seal;
pub mod store;
pub mod token;
pub mod trace;

pub use error::{Error, Result};
