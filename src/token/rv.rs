//! The error of the house as a `CK_RV`. No wildcard: a new error does not compile until it has a number here.
//!
//! The numbers are ones that the specification allows in the functions where the error can arise; where none of the
//! particular ones is allowed everywhere, one of the general ones (PKCS#11 3.2 §5.1.1, §5.1.6).

use cryptoki_sys::*;

use crate::error::{Error, StoreFault};

impl Error {
    /// What a `C_*` function answers for this error.
    pub fn rv(&self) -> CK_RV {
        match self {
            // `token` answers CKR_FUNCTION_REJECTED itself where the operation had begun before (DESIGN.md §3).
            Self::AccessDenied { .. }
            | Self::KeyState { .. }
            | Self::RejectedUnsupported(_)
            | Self::UnsupportedOrigin => CKR_KEY_FUNCTION_NOT_PERMITTED,
            Self::AccessKeyInactive => CKR_USER_NOT_LOGGED_IN,
            Self::AliasExists(_) => CKR_ATTRIBUTE_VALUE_INVALID,
            Self::AliasNotFound(_) | Self::CertificateNotFound(_) => CKR_OBJECT_HANDLE_INVALID,
            Self::Ciphertext => CKR_ENCRYPTED_DATA_INVALID,
            Self::CiphertextLength => CKR_ENCRYPTED_DATA_LEN_RANGE,
            Self::Config { .. } | Self::Internal(_) => CKR_GENERAL_ERROR,
            // An error that says OK would be an answer with nothing in it.
            Self::Cryptoki(CKR_OK) => CKR_GENERAL_ERROR,
            Self::Cryptoki(rv) => *rv,
            Self::DataLength => CKR_DATA_LEN_RANGE,
            // Not CKR_DEVICE_REMOVED, which tells a client that its sessions are gone and the token is no longer there
            // (PKCS#11 3.2 §5.1.3): here both go on, and the next call may find the device recovered. Nor the PIN errors:
            // the PIN that the device refused is not the one that the caller gave.
            Self::Device { .. } | Self::DevicePin { .. } | Self::DeviceUnavailable { .. } => CKR_DEVICE_ERROR,
            Self::DeviceLacks { .. } => CKR_MECHANISM_INVALID,
            Self::DeleteConflict(_)
            | Self::DryRun(_)
            | Self::DuplicateTag(_)
            | Self::EntityExists { .. }
            | Self::EntityNotFound { .. }
            | Self::ExpiredImportToken
            | Self::InvalidImportToken
            | Self::InvalidKeyMaterial(_)
            | Self::InvalidParameter { .. }
            | Self::ServiceOpen
            | Self::UnknownParameter(_)
            | Self::UnsupportedAlias => CKR_ARGUMENTS_BAD,
            Self::HostMemory => CKR_HOST_MEMORY,
            Self::KeyNotFound(_) | Self::KeyVersionNotFound(_) => CKR_KEY_HANDLE_INVALID,
            Self::LimitExceeded(_) => CKR_DEVICE_MEMORY,
            Self::Locked => CKR_USER_NOT_LOGGED_IN,
            Self::MissingParameter(_) => CKR_TEMPLATE_INCOMPLETE,
            Self::PinIncorrect => CKR_PIN_INCORRECT,
            Self::PinInvalid(_) => CKR_PIN_INVALID,
            Self::PinLocked => CKR_PIN_LOCKED,
            Self::PinNotSet => CKR_USER_PIN_NOT_INITIALIZED,
            Self::SignatureInvalid => CKR_SIGNATURE_INVALID,
            Self::SignatureLength => CKR_SIGNATURE_LEN_RANGE,
            Self::StateChange { .. } => CKR_ACTION_PROHIBITED,
            Self::Store(fault) => fault.rv(),
            Self::UnknownAction(_) | Self::Unsupported(_) => CKR_FUNCTION_NOT_SUPPORTED,
            Self::UnsupportedProtectionLevel { .. } => CKR_TEMPLATE_INCONSISTENT,
        }
    }
}

impl StoreFault {
    fn rv(&self) -> CK_RV {
        match self {
            Self::Busy | Self::Corrupt(_) | Self::Missing(_) | Self::Newer { .. } | Self::Other(_) => CKR_DEVICE_ERROR,
            Self::Full => CKR_DEVICE_MEMORY,
            Self::ReadOnly(_) => CKR_TOKEN_WRITE_PROTECTED,
        }
    }
}
