//! A device behind the agent (`device_mode = "agent"`): one process a host has the device's library and its sessions, and
//! the modules ask it over a Unix socket. What is asked are whole pieces of work, one message there and one back, so
//! that sessions, recovery and the PIN stay in the agent.
//!
//! `wire` says what the messages are, `client` asks and `server` answers; `link` carries them.

mod client;
mod server;
mod wire;

pub(super) use client::Client;
pub(super) use wire::Which;

pub use server::{Server, Visitor, forget_refused_pins};
