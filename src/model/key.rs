//! Customer master keys and their versions.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::key_policy::KeyPolicy;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::model::time::Moment;

/// Where a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Level {
    #[serde(rename = "HSM")]
    Hsm,
    #[serde(rename = "SOFTWARE")]
    Software,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hsm => "HSM",
            Self::Software => "SOFTWARE",
        }
    }
}

/// `KeyUsage` of the API, fixed at creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum KeyUsage {
    #[serde(rename = "ENCRYPT/DECRYPT")]
    EncryptDecrypt,
    #[serde(rename = "SIGN/VERIFY")]
    SignVerify,
}

/// Where the key material comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Origin {
    #[serde(rename = "Aliyun_KMS")]
    AliyunKms,
    #[serde(rename = "EXTERNAL")]
    External,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum KeyState {
    Disabled,
    Enabled,
    PendingDeletion,
    PendingImport,
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a symmetric key is for (DESIGN §3): `Envelope` keys work through the API's ciphertext blob only,
/// `Raw` keys through PKCS#11's raw mechanisms only. Asymmetric keys are `Raw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Style {
    Envelope,
    Raw,
}

/// Which door a key was made through; only `Cryptoki` keys can be destroyed at once (`destroy = "immediate"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Door {
    Cryptoki,
    Kms,
}

/// A customer master key (CMK), as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    pub id: Uuid,
    pub spec: Spec,
    pub usage: KeyUsage,
    pub origin: Origin,
    pub level: Level,
    /// As last set. Time may have moved on: ask `kms::lifecycle`.
    pub state: KeyState,
    pub description: String,
    pub creator: String,
    pub created: Moment,
    /// When PendingDeletion ends.
    pub delete_at: Option<Moment>,
    pub material_expires: Option<Moment>,
    /// The version that encrypts; symmetric keys only.
    pub primary: Option<Uuid>,
    /// The version in service as chosen by `alikms promote`; asymmetric keys only.
    pub promoted: Option<Uuid>,
    pub style: Style,
    pub door: Door,
    /// The certificate whose key this is: such a key is no CMK and is not listed with them.
    pub certificate: Option<Uuid>,
    /// Names that resolved to this key once: clients re-find a key by ID and a label that they remember.
    pub former_names: Vec<String>,
    pub deletion_protection: bool,
    #[serde(default)]
    pub deletion_protection_description: String,
    /// Automatic rotation, in seconds; symmetric keys whose material was made here.
    #[serde(default)]
    pub rotation_interval: Option<i64>,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Who may do what with it (SetKeyPolicy); None leaves that to RAM.
    #[serde(default)]
    pub policy: Option<KeyPolicy>,
    /// Keyed digest of the material that was imported first: no other one is ever accepted (S004-084).
    #[serde(default, with = "crate::model::names::hex_bytes")]
    pub material_digest: Vec<u8>,
}

impl Key {
    /// When the next version is due, counted from the newest one (S004-163).
    pub fn next_rotation(&self, last: Moment) -> Option<Moment> {
        self.rotation_interval.map(|interval| Moment(last.0.saturating_add(interval)))
    }
}

/// One version of a key: one key pair or one secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub id: Uuid,
    pub key: Uuid,
    pub created: Moment,
    /// None while the material is to be imported.
    pub material: Option<Material>,
    pub public: Option<PublicKey>,
    /// Hidden by `alikms retire`.
    pub retired: bool,
}

/// What a protection level needs to find the key bytes again. Opaque to everyone else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Material {
    /// The same key in each of several devices: found by the `CKA_ID` that we chose.
    Copies {
        #[serde(with = "crate::model::names::hex_bytes")]
        id: Vec<u8>,
        /// How a device that lacks it is given it, and how one that has it proves that.
        #[serde(with = "crate::model::names::base64_bytes")]
        how: Vec<u8>,
    },
    /// In a device: found by the `CKA_ID` that we chose.
    Device {
        /// `name` of the `[[device]]`.
        device: String,
        /// Serial number of the device's token.
        serial: String,
        #[serde(with = "crate::model::names::hex_bytes")]
        id: Vec<u8>,
    },
    /// The private value, sealed under the token's key-encryption key.
    Sealed(#[serde(with = "crate::model::names::base64_bytes")] Vec<u8>),
}

impl Material {
    /// What devices know the key by; None for one that is in no device.
    pub fn device_id(&self) -> Option<Uuid> {
        match self {
            Self::Copies { id, .. } | Self::Device { id, .. } => Uuid::from_slice(id).ok(),
            Self::Sealed(_) => None,
        }
    }
}
