//! The form of messages, as postcard writes them, and the greeting with which every connection to the agent begins. Both
//! sides are of the same version or do not talk.

use postcard::ser_flavors::Flavor;
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
    let mut bytes = postcard::serialize_with_flavor(message, Wiped::new()?).ok()?;
    let length = u32::try_from(bytes.len().checked_sub(HEAD)?).ok()?;
    bytes.first_chunk_mut::<HEAD>()?.copy_from_slice(&length.to_le_bytes());
    Some(bytes)
}

/// Where postcard writes to, behind room for the length: what it grows out of is wiped.
struct Wiped(Bytes);

/// Most messages are shorter.
const USUAL: usize = 512;

impl Wiped {
    fn new() -> Option<Self> {
        let mut bytes = Bytes::with_room(USUAL).ok()?;
        bytes.extend_from_slice(&[0; HEAD]);
        Some(Self(bytes))
    }

    #[cold]
    fn grow(&mut self, more: usize) -> postcard::Result<()> {
        let len = self.0.len() + more;
        if len > LONGEST + HEAD {
            return Err(postcard::Error::SerializeBufferFull);
        }
        let mut larger =
            Bytes::with_room(len.max(2 * self.0.len())).map_err(|_| postcard::Error::SerializeBufferFull)?;
        larger.extend_from_slice(&self.0);
        self.0 = larger;
        Ok(())
    }
}

impl Flavor for Wiped {
    type Output = Bytes;

    // Called from everywhere that something is serialized: small rather than fast, as each message is a system call.
    #[inline(never)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    #[inline(never)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if self.0.capacity() - self.0.len() < bytes.len() {
            self.grow(bytes.len())?;
        }
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Bytes> {
        Ok(self.0)
    }
}

/// A message without its length; None for anything else.
pub fn decode<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_length_before_it_and_is_no_longer_than_allowed() {
        for len in [0, 1, USUAL - HEAD - 2, USUAL, 3 * USUAL + 1, LONGEST - 5] {
            let sent = encode(&serde_bytes::Bytes::new(&vec![7; len])).unwrap();
            assert_eq!(sent[..HEAD], ((sent.len() - HEAD) as u32).to_le_bytes());
            assert!(decode::<&serde_bytes::Bytes>(&sent[HEAD..]).unwrap().iter().eq(std::iter::repeat_n(&7, len)));
        }
        assert!(encode(&serde_bytes::Bytes::new(&vec![7; LONGEST])).is_none());
    }
}
