//! A login that is kept, to be said again to the next host.

use serde_bytes::Bytes as Raw;
use subtle::ConstantTimeEq;

use super::calls::Ask;
use super::tries::Tries;
use crate::error::Result;
use crate::model::Bytes;

pub struct Login {
    /// See [`Tries`].
    pub number: u64,
    user: u64,
    pin: Bytes,
    name: Option<Vec<u8>>,
}

impl Login {
    /// `is`: the RAM user that it was. A PIN with his name before it is kept without, as another host that knows no such
    /// user would take it for the account's.
    pub fn new(user: u64, pin: &[u8], name: Option<&[u8]>, is: Option<String>) -> Result<Self> {
        let given = name.filter(|name| !name.is_empty());
        let bare = is.as_ref().filter(|_| given.is_none()).and_then(|is| pin.get(is.len() + 1..));
        let name = is.map(String::into_bytes).or_else(|| given.map(<[u8]>::to_vec));
        Ok(Self { number: Tries::number(), user, pin: Bytes::copy_of(bare.unwrap_or(pin))?, name })
    }

    pub fn ask(&self) -> Ask<'_> {
        Ask::Login { user: self.user, pin: Some(Raw::new(&self.pin)), name: self.name.as_deref().map(Raw::new) }
    }

    /// With another PIN, if it was this one.
    pub fn with_pin(&self, old: &[u8], new: &[u8]) -> Result<Option<Self>> {
        if !bool::from(self.pin.ct_eq(old)) {
            return Ok(None);
        }
        let pin = Bytes::copy_of(new)?;
        Ok(Some(Self { number: Tries::number(), user: self.user, pin, name: self.name.clone() }))
    }
}
