//! Messages between processes of one machine, over Unix sockets: what `protection` (one device behind the agent) and `remote`
//! (a whole token behind it) have in common.

mod line;
mod message;
mod peer;
mod reach;

pub use line::{Line, Lost};
pub use message::{Greeting, HEAD, Hello, LONGEST, Wants, decode, encode};
pub use peer::Peer;
pub use reach::reach;
