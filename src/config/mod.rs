//! `alikms.toml`: where it is found, what it may say, and how a mistake in it is answered.

mod file;
mod nearest;
mod pin;
mod sm_alias;

pub use nearest::nearest;
pub use pin::PinSource;
pub use sm_alias::SM_NAMES;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::fork;
use crate::model::key::Level;

/// What one `alikms.toml` says, checked. Whether a library, a device or the store is there is not looked at:
/// C_Initialize works with all of them out of reach.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it was read from.
    pub path: PathBuf,
    /// The SQLite file of `[store] url = "sqlite:/path"`.
    pub store: PathBuf,
    pub unlock: Unlock,
    pub agent: AgentConfig,
    pub crypto_audit: CryptoAudit,
    pub devices: Vec<DeviceConfig>,
    /// At least one.
    pub tokens: Vec<TokenConfig>,
}

/// How the key-encryption keys are opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlock {
    /// With this file, without a person.
    File(PathBuf),
    /// By C_Login.
    Pin,
}

/// `[audit] crypto`: which operations with keys are in the audit trail. Changes always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CryptoAudit {
    /// Each one, with its time and request.
    All,
    #[default]
    None,
    /// How many, by key version, caller, action, mechanism and outcome.
    Summary,
}

/// `[agent]`: where `alikms agent` listens, whom it serves, and how long anybody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentConfig {
    pub socket: PathBuf,
    /// None: the owner of the store.
    pub allow: Option<Vec<User>>,
    /// How long a call may take, but for those that make keys: these have [`AgentConfig::SLOW`] times as long.
    pub deadline: Duration,
    /// Serve whole tokens, too: store, keys, policies and audit trail are the agent's then.
    pub tokens: bool,
    /// So many processes may use the tokens at a time.
    pub clients: usize,
}

/// `[client]`: the tokens are those of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientConfig {
    /// The file that it was read from.
    pub path: PathBuf,
    pub socket: PathBuf,
    /// As [`AgentConfig::deadline`].
    pub deadline: Duration,
}

/// What an `alikms.toml` can be.
#[derive(Debug)]
pub enum Found {
    /// Store and tokens are this process's own.
    Own(Box<Config>),
    Client(ClientConfig),
}

impl AgentConfig {
    pub const SLOW: u32 = 12;
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            socket: "/run/alikms/agent.sock".into(),
            allow: None,
            deadline: Duration::from_secs(10),
            tokens: false,
            clients: 256,
        }
    }
}

/// A user of the operating system.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(untagged, expecting = "allow is a list of users' names and numbers: allow = [\"www-data\", 1000]")]
pub enum User {
    Id(u32),
    Name(String),
}

/// One `[[device]]`.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    pub name: String,
    /// Which family of devices; `auto`, by the library's name, if not given.
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
    /// `[device.override]`: entries of the profile that are otherwise for this device. Looked at when it is used.
    pub changes: toml::Table,
    /// `device_mode = "agent"`: the agent has the device, and this process asks it.
    pub agent: Option<AgentConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolate {
    /// As `Share`, in a process that has the library to itself: the agent.
    #[serde(skip)]
    Alone,
    /// The library is loaded from a private copy, so that nothing of it is shared with the application.
    Copy,
    /// The library is shared with an application that uses it too.
    Share,
}

/// One `[[token]]`: an account in a region.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// 1 to 32 bytes.
    pub label: String,
    pub account: String,
    pub region: String,
    /// Names of `[[device]]`s, each of which has every key of level HSM.
    pub devices: Vec<String>,
    /// In so many of them a new key must be before it is answered.
    pub quorum: usize,
    /// For keys that generic tools create. Not given: HSM for a token with a device, else SOFTWARE.
    pub protection_level: Level,
    /// `destroy = "immediate"`.
    pub destroy_immediate: bool,
    /// `notifications`: of so many certificates at most somebody is told when they expire. Not given: of all.
    pub notifications: Option<u32>,
    /// `sm_alias`: our names, each with a number of another vendor by which it goes too.
    pub sm_alias: Vec<(String, u64)>,
}

impl Isolate {
    /// Whether the library may be ended and begun again: nobody else in the process uses it.
    pub fn is_ours(self) -> bool {
        self != Self::Share
    }
}

impl Found {
    fn own(self) -> Result<Config> {
        match self {
            Self::Own(config) => Ok(*config),
            Self::Client(ClientConfig { path, socket, .. }) => Err(Error::Config {
                place: path.display().to_string(),
                reason: format!(
                    "this alikms.toml is a client's: the store is the agent's at {}. Run this where the store is, with the \
                     agent's alikms.toml",
                    socket.display()
                ),
            }),
        }
    }

    /// `ALIKMS_CONF`, else `$XDG_CONFIG_HOME/alikms/alikms.toml`, `$HOME/.config/alikms/alikms.toml`, `/etc/alikms/alikms.toml`.
    /// A set-user-ID program looks at the last only: the environment is its caller's.
    pub fn find() -> Result<Self> {
        let is_ours = !fork::is_elevated();
        let set = |name: &str| std::env::var_os(name).filter(|value| is_ours && !value.is_empty()).map(PathBuf::from);
        if let Some(path) = set("ALIKMS_CONF") {
            return Self::read(&path);
        }
        let mut places: Vec<PathBuf> =
            [set("XDG_CONFIG_HOME"), set("HOME").map(|home| home.join(".config")), Some("/etc".into())]
                .into_iter()
                .flatten()
                .map(|place| place.join("alikms/alikms.toml"))
                .collect();
        places.dedup();
        // A place that may not even be looked at, such as root's home in an nginx worker, is passed over.
        match places.iter().find(|place| fs::metadata(place).is_ok()) {
            Some(path) => Self::read(path),
            None => {
                let looked: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
                Err(Error::Config {
                    place: "alikms.toml".into(),
                    reason: format!(
                        "not found. Looked at {}. Write one there, or set ALIKMS_CONF to its path",
                        looked.join(", ")
                    ),
                })
            }
        }
    }

    /// Reads this file. Every mistake is `Error::Config` with its file and line.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| Error::Config {
            place: path.display().to_string(),
            reason: match error.kind() {
                ErrorKind::NotFound => "there is no such file: write it, or point ALIKMS_CONF elsewhere".into(),
                ErrorKind::PermissionDenied => "this user may not read it: give its group read permission".into(),
                ErrorKind::InvalidData => "it is not UTF-8 text".into(),
                _ => format!("it cannot be read: {error}"),
            },
        })?;
        file::read(path, &text)
    }
}

impl Config {
    /// As [`Found::find`], for who needs the store itself.
    pub fn find() -> Result<Self> {
        Found::find()?.own()
    }

    /// As [`Found::read`], for who needs the store itself.
    pub fn read(path: &Path) -> Result<Self> {
        Found::read(path)?.own()
    }

    /// The device of this name.
    pub fn device(&self, name: &str) -> Option<&DeviceConfig> {
        self.devices.iter().find(|device| device.name == name)
    }
}
