//! `alikms.toml`: where it is found, what it may say, and how a mistake in it is answered.
use crate::error::Result;
use crate::model::Bytes;
use crate::model::key::Level;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The SQLite file of `[store] url = "sqlite:/path"`.
    pub store: PathBuf,
    pub unlock: Unlock,
    pub devices: Vec<DeviceConfig>,
    pub tokens: Vec<TokenConfig>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlock {
    File(PathBuf),
    Pin,
}

#[derive(Debug, Clone)]
pub struct DeviceConfig {
    pub name: String,
    pub profile: String,
    pub library: PathBuf,
    /// At least one of token, slot, serial is given.
    pub token: Option<String>,
    pub slot: Option<u64>,
    pub serial: Option<String>,
    pub pin: PinSource,
    /// Passed to the library's C_Initialize as pReserved, for libraries that read it.
    pub init_args: Option<String>,
    /// Environment variables set before the library is initialised.
    pub env: BTreeMap<String, String>,
    /// None: as the profile says.
    pub isolate: Option<Isolate>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolate {
    /// The library is loaded from a private copy, so that nothing of it is shared with the application.
    Copy,
    /// The library is shared with an application that uses it too.
    Share,
}

/// `file:PATH`, `env:NAME`, `credential:NAME` (of systemd). Read when needed, never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    Credential(String),
    Env(String),
    File(PathBuf),
}

impl PinSource {
    /// Without the newline at the end of a file.
    pub fn read(&self) -> Result<Bytes> {
        todo!()
    }
    pub fn parse(_text: &str) -> Result<Self> {
        todo!()
    }
}

#[derive(Debug, Clone)]
pub struct TokenConfig {
    pub label: String,
    pub account: String,
    pub region: String,
    /// `name` of a `[[device]]`.
    pub device: Option<String>,
    /// For keys that generic tools create.
    pub protection_level: Level,
    /// `destroy = "immediate"`.
    pub destroy_immediate: bool,
}

impl Config {
    /// `ALIKMS_CONF`, else `$XDG_CONFIG_HOME/alikms/alikms.toml`, `$HOME/.config/alikms/alikms.toml`, `/etc/alikms/alikms.toml`.
    pub fn find() -> Result<Self> {
        todo!()
    }
    pub fn read(_path: &Path) -> Result<Self> {
        todo!()
    }
    pub fn device(&self, name: &str) -> Option<&DeviceConfig> {
        self.devices.iter().find(|device| device.name == name)
    }
}
