//! The one error of the house. `token/rv.rs` maps it to a `CK_RV`, `api/fault.rs` to an HTTP status and a KMS code;
//! both maps are exhaustive, so a new variant does not compile until both doors know it.

use crate::model::key::KeyState;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the vocabulary of the caller. No variant carries a PIN, key bytes or plaintext.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the access key is not active")]
    AccessKeyInactive,
    #[error("{action} on {resource} is not permitted")]
    AccessDenied { action: &'static str, resource: String },
    #[error("the alias {0} exists already")]
    AliasExists(String),
    #[error("no alias {0}")]
    AliasNotFound(String),
    #[error("no certificate {0}")]
    CertificateNotFound(String),
    /// A ciphertext that does not decrypt: one error for every cause, so that nothing can be learned from it.
    #[error("the ciphertext is not valid for this key and context")]
    Ciphertext,
    #[error("the ciphertext has a length that this key and mechanism cannot have made")]
    CiphertextLength,
    /// Something in `alikms.toml`; `place` is `file:line`.
    #[error("{place}: {reason}")]
    Config { place: String, reason: String },
    /// A PKCS#11 fault by its own number; raised in `abi` and `token` only.
    #[error("PKCS#11 error 0x{0:08x}")]
    Cryptoki(u64),
    #[error("the input has a length that this key and mechanism do not take")]
    DataLength,
    /// The device answered a call with an error that recovery could not mend.
    #[error("device {device}: {call} answered 0x{rv:08x}")]
    Device { device: String, call: &'static str, rv: u64 },
    #[error("device {device} lacks {what}")]
    DeviceLacks { device: String, what: String },
    /// The device refused our PIN; it is not tried again in this process until the configuration is read anew.
    #[error("device {device} refused the PIN of alikms.toml; it was tried once and is not tried again")]
    DevicePin { device: String },
    #[error("device {device} cannot be reached: {reason}")]
    DeviceUnavailable { device: String, reason: String },
    /// The end of a rehearsal (`DryRun`): it would have succeeded, or failed like this.
    #[error("a rehearsal: {}", .0.as_ref().map_or_else(|| "it would have succeeded".to_owned(), |error| error.to_string()))]
    DryRun(Option<Box<Error>>),
    /// A RAM user or policy that cannot go while something depends on it.
    #[error("{0}")]
    DeleteConflict(String),
    #[error("the tag {0} stands there twice")]
    DuplicateTag(String),
    /// A RAM entity or the like; `kind` is `User`, `Policy`, `AccessKey`, `KeyPolicy` or `Resource`.
    #[error("the {kind} {name} exists already")]
    EntityExists { kind: &'static str, name: String },
    #[error("no {kind} {name}")]
    EntityNotFound { kind: &'static str, name: String },
    #[error("the import token has expired: ask for a new one with GetParametersForImport")]
    ExpiredImportToken,
    /// A length that the caller gave asks for more memory than there is: an allocation that fails aborts the host.
    #[error("there is not enough memory for an input of this length")]
    HostMemory,
    #[error("internal error: {0}")]
    Internal(String),
    #[error("the import token is not of this key")]
    InvalidImportToken,
    #[error("the key material is not usable: {0}")]
    InvalidKeyMaterial(String),
    #[error("the parameter {name} is not valid: {reason}")]
    InvalidParameter { name: String, reason: String },
    #[error("no key {0}")]
    KeyNotFound(String),
    #[error("the key {key} is {state}")]
    KeyState { key: String, state: KeyState },
    #[error("no version {0} of this key")]
    KeyVersionNotFound(String),
    #[error("limit exceeded: {0}")]
    LimitExceeded(String),
    #[error("the token is locked: log in, or set [unlock] method = \"file\"")]
    Locked,
    #[error("the parameter {0} is needed but not given")]
    MissingParameter(String),
    #[error("the PIN is not correct")]
    PinIncorrect,
    #[error("the PIN is not usable: {0}")]
    PinInvalid(String),
    #[error("the PIN is locked after too many wrong attempts")]
    PinLocked,
    #[error("no PIN has been set")]
    PinNotSet,
    /// Well formed, but this key, certificate or configuration cannot do it (KMS code `Rejected.UnsupportedOperation`).
    #[error("not supported: {0}")]
    RejectedUnsupported(String),
    /// The service is open for the account from the beginning.
    #[error("the service is open")]
    ServiceOpen,
    #[error("the signature is not valid")]
    SignatureInvalid,
    #[error("the signature has a length that this key cannot have made")]
    SignatureLength,
    /// A change of state that the present state does not allow (KMS code `Rejected.StateModifiedFailed`).
    #[error("{resource} cannot be changed like this: {reason}")]
    StateChange { resource: String, reason: String },
    #[error("{0}")]
    Store(StoreFault),
    #[error("no action {0}")]
    UnknownAction(String),
    #[error("unknown parameter {0}")]
    UnknownParameter(String),
    #[error("not supported: {0}")]
    Unsupported(String),
    #[error("an alias is not accepted here: give the key's ID")]
    UnsupportedAlias,
    #[error("the origin of this key does not allow it")]
    UnsupportedOrigin,
    #[error("protection level {level} is not available: {reason}")]
    UnsupportedProtectionLevel { level: &'static str, reason: String },
}

/// What can be wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreFault {
    #[error("the store is busy: another process holds its write lock")]
    Busy,
    /// A record that does not authenticate, or a file that is not a store.
    #[error("the store is damaged or was tampered with: {0}")]
    Corrupt(String),
    #[error("the disk that holds the store is full")]
    Full,
    #[error("there is no store at {0}: run `alikms init`")]
    Missing(String),
    #[error("the store has schema version {found}, this program knows up to {known}: use a newer alikms")]
    Newer { found: u32, known: u32 },
    #[error("the store cannot be used: {0}")]
    Other(String),
    #[error("the store is read-only for this user: {0}")]
    ReadOnly(String),
}

impl Error {
    pub fn invalid(name: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::InvalidParameter { name: name.into(), reason: reason.into() }
    }

    pub fn corrupt(what: impl Into<String>) -> Self {
        Self::Store(StoreFault::Corrupt(what.into()))
    }

    /// What it is called in the audit trail: its kind, nothing of its text.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AccessDenied { .. } => "AccessDenied",
            Self::AccessKeyInactive => "AccessKeyInactive",
            Self::AliasExists(_) => "AliasExists",
            Self::AliasNotFound(_) => "AliasNotFound",
            Self::CertificateNotFound(_) => "CertificateNotFound",
            Self::Ciphertext | Self::CiphertextLength => "Ciphertext",
            Self::Config { .. } => "Config",
            Self::DataLength => "DataLength",
            Self::DeleteConflict(_) => "DeleteConflict",
            Self::Device { .. } | Self::DevicePin { .. } | Self::DeviceUnavailable { .. } => "Device",
            Self::DeviceLacks { .. } => "DeviceLacks",
            Self::DryRun(_) => "DryRun",
            Self::DuplicateTag(_) => "DuplicateTag",
            Self::EntityExists { .. } => "EntityExists",
            Self::EntityNotFound { .. } => "EntityNotFound",
            Self::ExpiredImportToken => "ExpiredImportToken",
            Self::HostMemory => "HostMemory",
            Self::Internal(_) => "Internal",
            Self::InvalidImportToken => "InvalidImportToken",
            Self::InvalidKeyMaterial(_) => "InvalidKeyMaterial",
            Self::InvalidParameter { .. } => "InvalidParameter",
            Self::KeyNotFound(_) => "KeyNotFound",
            Self::KeyState { .. } => "KeyState",
            Self::KeyVersionNotFound(_) => "KeyVersionNotFound",
            Self::LimitExceeded(_) => "LimitExceeded",
            Self::Locked => "Locked",
            Self::MissingParameter(_) => "MissingParameter",
            Self::PinIncorrect => "PinIncorrect",
            Self::PinInvalid(_) => "PinInvalid",
            Self::PinLocked => "PinLocked",
            Self::PinNotSet => "PinNotSet",
            Self::UnsupportedProtectionLevel { .. } => "ProtectionLevel",
            Self::Cryptoki(_) => "Refused",
            Self::ServiceOpen => "ServiceOpen",
            Self::SignatureInvalid | Self::SignatureLength => "Signature",
            Self::StateChange { .. } => "StateChange",
            Self::Store(_) => "Store",
            Self::UnknownAction(_) => "UnknownAction",
            Self::UnknownParameter(_) => "UnknownParameter",
            Self::RejectedUnsupported(_) | Self::Unsupported(_) => "Unsupported",
            Self::UnsupportedAlias => "UnsupportedAlias",
            Self::UnsupportedOrigin => "UnsupportedOrigin",
        }
    }
}
