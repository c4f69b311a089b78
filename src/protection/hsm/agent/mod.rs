//! A device behind the agent (`device_mode = "agent"`): one process a host has the device's library and its sessions, and
//! the modules ask it over a Unix socket. What is asked are whole pieces of work, one message there and one back, so
//! that sessions, recovery and the PIN stay in the agent.
//!
//! From the socket upwards: `wire` says what the messages are, `line` carries them, `peer` says who may be at the other
//! end, `client` asks and `server` answers.

mod client;
mod line;
mod peer;
mod server;
mod wire;

pub(super) use client::Client;
pub(super) use wire::Which;

pub use server::{Server, Visitor, forget_refused_pins};
