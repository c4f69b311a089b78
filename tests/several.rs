//! Several devices behind one token: every key in each of them, work spread over those that are there, one lost without
//! an error, one that comes back brought up to date and proven.

// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "several/bed.rs"]
mod bed;
#[path = "several/keys.rs"]
mod keys;
#[path = "several/kills.rs"]
mod kills;
#[path = "several/loss.rs"]
mod loss;
mod support;
