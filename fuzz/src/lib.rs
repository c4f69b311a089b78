//! The targets of the fuzzers: each takes any bytes and must neither panic, nor touch memory that is not its own, nor hang.
//! `fuzz_targets/` hands libFuzzer's bytes to them, `tests/fuzz.rs` of the workspace above the corpora that are kept.

#![allow(clippy::missing_panics_doc)] // What panics here is found by the fuzzer.

pub mod actions;
pub mod blobs;
pub mod calls;
pub mod certificates;
pub mod config;
pub mod door;
pub mod keys;
pub mod make;
pub mod mechanisms;
pub mod policies;
pub mod store;
pub mod templates;
pub mod world;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("actions", actions::run),
    ("blobs", blobs::run),
    ("calls", calls::run),
    ("certificates", certificates::run),
    ("config", config::run),
    ("keys", keys::run),
    ("mechanisms", mechanisms::run),
    ("policies", policies::run),
    ("store", store::run),
    ("templates", templates::run),
];
