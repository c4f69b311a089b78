//! The form of messages, as postcard writes them, and the greeting with which every connection to the agent begins. Both
//! sides are of the same version or do not talk.

use serde::{Deserialize, Serialize};

use crate::model::Bytes;

/// The longest message, in bytes.
pub const LONGEST: usize = 64 << 20;
/// The length before a message, in bytes.
pub const HEAD: usize = size_of::<u32>();

/// What the caller says first. Its form never changes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    magic: [u8; 6],
    pub version: u16,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// The agent's devices.
    Devices,
    /// Whole tokens.
    Tokens,
}

impl Wants {
    fn magic(self) -> [u8; 6] {
        match self {
            Self::Devices => *b"ALIKMS",
            Self::Tokens => *b"ALITOK",
        }
    }
}

impl Hello {
    pub fn new(wants: Wants, version: u16) -> Self {
        Self { magic: wants.magic(), version }
    }

    /// None if it is nothing of ours.
    pub fn wants(&self) -> Option<Wants> {
        [Wants::Devices, Wants::Tokens].into_iter().find(|wants| wants.magic() == self.magic)
    }
}

/// What the agent answers. The form of these three never changes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Greeting {
    Welcome,
    /// Not at the moment.
    Busy,
    Refused(String),
}

impl Greeting {
    /// Welcome, if the caller speaks the same version as this program.
    pub fn of_version(ours: u16, theirs: u16) -> Self {
        if ours == theirs {
            return Self::Welcome;
        }
        Self::Refused(format!("it speaks version {ours}, this program version {theirs}: restart the older of the two"))
    }
}

/// A message in memory that is wiped, with its length before it; None if it is too long or has no form here.
pub fn encode(message: &impl Serialize) -> Option<Bytes> {
    let size = postcard::serialize_with_flavor(message, postcard::ser_flavors::Size::default()).ok()?;
    let length = u32::try_from(size).ok().filter(|_| size <= LONGEST)?;
    // One buffer from the start: a growing one would leave copies of plaintext behind.
    let mut bytes = Bytes::new(vec![0; size + HEAD]);
    let (head, body) = bytes.split_at_mut(HEAD);
    head.copy_from_slice(&length.to_le_bytes());
    postcard::to_slice(message, body).ok()?;
    Some(bytes)
}

/// A message without its length; None for anything else.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}
