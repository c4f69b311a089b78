//! The token as the C door sees it: in this process, or in a host of the agent's that this process asks (`[client]` in
//! `alikms.toml`). Both have the same methods, so that the door does not know which it is.
//!
//! `calls` is the table of what can be asked, `forms`, `info` and `show` are how it travels; `tokens` is what the door sees; `client`
//! (sessions), `about` (tokens), `login`, `seat` (one session), `hosted` (a connection) and `tries` are the asking side, `host` the
//! answering one. `act` is the command's part.

mod about;
mod act;
mod calls;
mod client;
mod forms;
mod host;
mod hosted;
mod info;
mod login;
mod seat;
mod show;
mod tokens;
mod tries;

pub use act::{Act, Acted, Who};
pub use calls::{Ask, Session};
pub use client::Client;
pub use host::{Host, VERSION};
pub use show::Shown;
pub use tokens::Tokens;

#[cfg(test)]
mod tests;
