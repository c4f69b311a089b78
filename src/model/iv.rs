//! Initialisation vectors.

use smallvec::SmallVec;

/// An IV of any length. Those that are in use need no memory of their own.
pub type Iv = SmallVec<[u8; 16]>;
