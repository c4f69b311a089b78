//! Every order of events, tried by loom, in the two places where threads of the library meet: the table of sessions
//! (`src/token/sessions.rs`) and the pool of a device's sessions (`src/protection/hsm/pool.rs`). The very files are
//! compiled here, against stand-ins for what they use.
//!
//! Modelled: opening, using and closing sessions by several threads, also with handles that are not valid any more; closing
//! all; a seat that a thread of the parent held at a fork; borrowing and returning a device's sessions, waiting for one,
//! waiting for all to repair the connection, and giving up at the deadline. Two or three threads, with up to the number of
//! preemptions that each model says: beyond that loom would take days.
//!
//! Not modelled: fork itself, which has one thread in the child (a new epoch stands for it); the run of C_Initialize and
//! C_Finalize, whose providers are never freed; a device that hangs in a call; `std::sync::OnceLock`, which makes the table's
//! rows; poisoned locks, because loom's never are. Time passes in one of two ways: not at all, so that whoever waits in vain
//! waits for ever and loom tells so (lost wake-ups); or by a second whenever somebody looks, while every waiting ends at any
//! moment (deadlines). `tests/pkcs11/threads.rs` and `tests/hsm/` have real threads, forks and devices.

#![allow(dead_code)] // The stand-ins are as the library's own.

pub mod config;
pub mod crypto;
pub mod error;
pub mod fork;
pub mod hsm;
pub mod time;
pub mod token;

#[path = "../../src/token/sessions.rs"]
pub mod sessions;

/// Tries every order of events in `work`, with at most so many preemptions.
pub fn every_order(preemptions: usize, work: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 20_000;
    builder.check(work);
}
