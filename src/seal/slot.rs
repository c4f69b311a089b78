//! Slots: each holds the key-encryption key wrapped for one way of opening it. Changing a PIN rewrites one slot.
use crate::error::Result;
use crate::model::Bytes;
use crate::seal::Kek;
use serde::{Deserialize, Serialize};

/// Which slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SlotKind {
    File,
    SoPin,
    UserPin,
}

/// A slot as stored (JSON). Contains nothing that is secret without the PIN or the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    pub kind: SlotKind, /* + wrapped KEK, salt, Argon2id cost … */
}

impl Slot {
    /// `pin` 4 to 255 bytes. Argon2id v1.3.
    pub fn with_pin(_kind: SlotKind, _realm: &str, _pin: &[u8], _kek: &Kek) -> Result<Self> {
        todo!()
    }
    /// `secret`: the 32 bytes of the unlock file.
    pub fn with_file(_realm: &str, _secret: &[u8], _kek: &Kek) -> Result<Self> {
        todo!()
    }
    /// `Error::PinIncorrect` if the PIN (or file) is not the one.
    pub fn open(&self, _realm: &str, _secret: &[u8]) -> Result<Kek> {
        todo!()
    }
}
/// Reads `unlock.key` (made by [`create_unlock_file`]), refusing one that others than owner and group may read.
pub fn read_unlock_file(_path: &std::path::Path) -> Result<Bytes> {
    todo!()
}
/// Makes it (0640, 32 random bytes as one line of Base64) unless it exists.
pub fn create_unlock_file(_path: &std::path::Path) -> Result<bool> {
    todo!()
}
