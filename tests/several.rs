//! Several devices behind one token: every key in each of them, work spread over those that are there, one lost without
//! an error, one that comes back brought up to date and proven.

#[path = "several/bed.rs"]
mod bed;
#[path = "several/keys.rs"]
mod keys;
#[path = "several/kills.rs"]
mod kills;
#[path = "several/loss.rs"]
mod loss;
mod support;
