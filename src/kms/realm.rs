//! A store with its realms: how one is set up, opened and logged in to.
use crate::config::Config;
use crate::error::Result;
use crate::model::Bytes;
use std::sync::Arc;

/// Everything behind one `alikms.toml`: the store, the devices, one [`Kms`] per `[[token]]`. Makes nothing and opens nothing.
pub struct Service;
impl Service {
    pub fn new(_config: Config) -> Arc<Self> {
        todo!()
    }
    pub fn config(&self) -> &Config {
        todo!()
    }
    /// In the order of `alikms.toml`.
    pub fn tokens(&self) -> &[Arc<Kms>] {
        todo!()
    }
    /// The token with this label; without a label the first one.
    pub fn token(&self, _label: Option<&str>) -> Result<&Arc<Kms>> {
        todo!()
    }
    /// `alikms init`: store, unlock key, realms and their slots; leaves alone what is there. Says what it did, a line each.
    pub fn init(&self, _pin: &Bytes, _so_pin: &Bytes, _group: Option<u32>) -> Result<Vec<String>> {
        todo!()
    }
}

/// One realm's key management service.
pub struct Kms;
impl Kms {
    pub fn label(&self) -> &str {
        todo!()
    }
    /// Opens the key-encryption key with the unlock file, if that is the method and it was not done yet.
    pub fn unlock(&self) -> Result<()> {
        todo!()
    }
    /// As the holder of the token's user PIN, which also opens the key-encryption key (`alikms --pin file:PATH` in method "pin").
    pub fn login_user(&self, _pin: &[u8]) -> Result<()> {
        todo!()
    }
}
