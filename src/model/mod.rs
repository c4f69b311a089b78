//! The nouns: plain data and tables, no I/O and no rules.

pub mod algorithm;
pub mod blob;
pub mod caller;
pub mod certificate;
pub mod context;
pub mod curve;
pub mod hash;
pub mod key;
pub mod names;
pub mod object;
pub mod policy;
pub mod public;
pub mod spec;
pub mod time;

use zeroize::Zeroizing;

/// Bytes that are wiped when dropped: key bytes, plaintext, PINs, and whatever may be one of them.
pub type Bytes = Zeroizing<Vec<u8>>;
