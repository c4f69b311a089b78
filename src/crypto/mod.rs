//! Primitives: safe and small wrappers over aws-lc and libsecp256k1. No rules of the KMS or of PKCS#11 in here.
//!
//! Everything that calls C stands in `crypto/` with a SAFETY line; keys are prepared once and then used from many threads.

pub mod cipher;
pub mod digest;
pub mod ec;
mod ffi;
pub mod implicit_rejection;
pub mod mac;
pub mod random;
pub mod rsa;
