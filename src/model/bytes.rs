//! Bytes that are wiped.

use std::fmt;
use std::hint::black_box;
use std::ops::{Deref, DerefMut};

use crate::error::{Error, Result};

/// Bytes that are wiped when dropped, spare room included: key bytes, plaintext, PINs, and whatever may be one of them.
/// `zeroize`'s own wrapper writes byte by byte, which took longer than encrypting the same bytes (docs/decisions.md).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

impl Bytes {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// None yet, with room for `len` of them. For lengths that a caller of the C door gave: `HostMemory` where there is
    /// not so much memory, because an allocation that fails otherwise aborts the host.
    pub fn with_room(len: usize) -> Result<Self> {
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).map_err(|_| Error::HostMemory)?;
        Ok(Self(bytes))
    }

    /// A copy, made as [`Bytes::with_room`] is.
    pub fn copy_of(bytes: &[u8]) -> Result<Self> {
        let mut copy = Self::with_room(bytes.len())?;
        copy.extend_from_slice(bytes);
        Ok(copy)
    }

    /// Zeros, made as [`Bytes::with_room`] is.
    pub fn zeros(len: usize) -> Result<Self> {
        let mut bytes = Self::with_room(len)?;
        bytes.resize(len, 0);
        Ok(bytes)
    }

    /// What is not secret, wiped no more.
    pub fn into_vec(mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        self.0.clear();
        // Within the capacity: no byte moves elsewhere.
        self.0.resize(self.0.capacity(), 0);
        black_box(self.0.as_ptr());
        black_box(&mut self.0);
    }
}

impl Deref for Bytes {
    type Target = Vec<u8>;
    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

/// The length only.
impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({})", self.0.len())
    }
}

/// [`Bytes`] in a message between our own processes (`#[serde(with = "…")]`): no copy of them is made that is not wiped. They
/// have no such form by themselves, so that none gets into a message by mistake.
pub mod wiped {
    use std::fmt;

    use serde::de::{Deserializer, Error, Visitor};
    use serde::ser::Serializer;

    use super::Bytes;

    pub fn serialize<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        struct Raw;
        impl Visitor<'_> for Raw {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::new(bytes.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Raw)
    }
}
