//! Errors as the API words them: HTTP status, code, message.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, StoreFault};
use crate::model::key::KeyState;

/// An error on the wire. `Message` is the published text of the code; our reason stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// HTTP status.
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Fault {
    /// The JSON body of the answer.
    pub fn to_json(&self, request: Uuid) -> Value {
        json!({
            "Code": self.code,
            "HttpStatus": self.status,
            "Message": self.message,
            "RequestId": request.to_string(),
        })
    }
}

impl From<&Error> for Fault {
    fn from(error: &Error) -> Self {
        use Error::*;
        let plain = |code: &Code| code.fault(None);
        match error {
            AccessKeyInactive => plain(&ACCESS_KEY_INACTIVE),
            AccessDenied { .. } => plain(&NO_PERMISSION),
            AliasExists(_) => plain(&ALIAS_EXISTS),
            AliasNotFound(_) => plain(&ALIAS_NOT_FOUND),
            CertificateNotFound(_) => plain(&CERTIFICATE_NOT_FOUND),
            Ciphertext | CiphertextLength => parameter("CiphertextBlob", Ciphertext.to_string()),
            Config { .. } | Cryptoki(_) | DevicePin { .. } => INTERNAL.fault(Some(error.to_string())),
            DataLength => INVALID.fault(Some(error.to_string())),
            Device { .. } | DeviceUnavailable { .. } => UNAVAILABLE.fault(Some(error.to_string())),
            DryRun(outcome) => rehearsed(outcome.as_deref()),
            DuplicateTag(_) => plain(&DUPLICATE_TAG),
            DeleteConflict(reason) => DELETE_CONFLICT.fault(Some(reason.clone())),
            EntityExists { kind, .. } => match *kind {
                "User" => plain(&USER_EXISTS),
                _ => plain(&POLICY_EXISTS),
            },
            EntityNotFound { kind, .. } => match *kind {
                "AccessKeyId" => plain(&ACCESS_KEY_ID_NOT_FOUND),
                "AccessKey" => plain(&ACCESS_KEY_NOT_FOUND),
                "KeyPolicy" => plain(&KEY_POLICY_NOT_FOUND),
                "Resource" => plain(&RESOURCE_NOT_FOUND),
                "User" => plain(&USER_NOT_FOUND),
                _ => plain(&POLICY_NOT_FOUND),
            },
            ExpiredImportToken => plain(&EXPIRED_IMPORT_TOKEN),
            InvalidImportToken => plain(&INVALID_IMPORT_TOKEN),
            InvalidKeyMaterial(reason) => INVALID_KEY_MATERIAL.fault(Some(reason.clone())),
            DeviceLacks { .. } => UNSUPPORTED.fault(Some(error.to_string())),
            Internal(reason) => INTERNAL.fault(Some(reason.clone())),
            InvalidParameter { name, reason } => parameter(name, reason.clone()),
            KeyNotFound(_) => plain(&KEY_NOT_FOUND),
            KeyState { state, .. } => plain(rejected(*state)),
            KeyVersionNotFound(_) => plain(&VERSION_NOT_FOUND),
            LimitExceeded(reason) => LIMIT.fault(Some(reason.clone())),
            Locked | PinIncorrect | PinInvalid(_) | PinLocked | PinNotSet => {
                NO_PERMISSION.fault(Some(error.to_string()))
            }
            MissingParameter(name) => Fault {
                status: 400,
                code: "MissingParameter",
                message: format!("The parameter \"{name}\" is needed but not provided."),
            },
            RejectedUnsupported(reason) => REJECTED_UNSUPPORTED.fault(Some(reason.clone())),
            SignatureInvalid | SignatureLength => parameter("Value", SignatureInvalid.to_string()),
            StateChange { reason, .. } => STATE_CHANGE.fault(Some(reason.clone())),
            HostMemory | Store(StoreFault::Busy | StoreFault::Full) => UNAVAILABLE.fault(Some(error.to_string())),
            Store(
                StoreFault::Corrupt(_)
                | StoreFault::Missing(_)
                | StoreFault::Newer { .. }
                | StoreFault::Other(_)
                | StoreFault::ReadOnly(_),
            ) => INTERNAL.fault(Some(error.to_string())),
            UnknownAction(_) => plain(&ACTION_NOT_FOUND),
            UnknownParameter(name) => parameter(name, "the action has no such parameter".into()),
            Unsupported(reason) => UNSUPPORTED.fault(Some(reason.clone())),
            UnsupportedAlias => plain(&UNSUPPORTED_ALIAS),
            UnsupportedOrigin => plain(&UNSUPPORTED_ORIGIN),
            UnsupportedProtectionLevel { reason, .. } => UNSUPPORTED_LEVEL.fault(Some(reason.clone())),
        }
    }
}

/// What a rehearsal answers: always an error, and what the action itself would have answered behind it.
fn rehearsed(outcome: Option<&Error>) -> Fault {
    match outcome {
        None => DRY_RUN.fault(None),
        Some(Error::AccessDenied { .. }) => DRY_RUN_DENIED.fault(None),
        Some(error) => {
            let fault = Fault::from(error);
            DRY_RUN_INVALID.fault(Some(format!("{}: {}", fault.code, fault.message)))
        }
    }
}

fn parameter(name: &str, reason: String) -> Fault {
    if name.is_empty() {
        return INVALID.fault(Some(reason));
    }
    let message = format!("The specified parameter \"{name}\" is not valid.");
    Fault { status: INVALID.0, code: INVALID.1, message: sentence(message, &reason) }
}

fn rejected(state: KeyState) -> &'static Code {
    match state {
        KeyState::Disabled => &DISABLED,
        KeyState::Enabled => &ENABLED,
        KeyState::PendingDeletion => &PENDING_DELETION,
        KeyState::PendingImport => &PENDING_IMPORT,
    }
}

/// `text`, and behind it the reason as a sentence of its own.
fn sentence(mut text: String, reason: &str) -> String {
    if let Some(first) = reason.chars().next() {
        text.push_str(if text.ends_with('.') { " " } else { ". " });
        // A name stays as it is.
        let is_word = reason.split([' ', ',']).next().is_some_and(|word| word.chars().all(char::is_lowercase));
        let (head, tail) = reason.split_at(if is_word { first.len_utf8() } else { 0 });
        text.extend(head.chars().flat_map(char::to_uppercase));
        text.push_str(tail);
        if !text.ends_with(['.', '?', '!']) {
            text.push('.');
        }
    }
    text
}

/// HTTP status, code and published text (kms-api.md §1.3).
struct Code(u16, &'static str, &'static str);

impl Code {
    fn fault(&self, reason: Option<String>) -> Fault {
        let message = sentence(self.2.to_owned(), reason.as_deref().unwrap_or_default());
        Fault { status: self.0, code: self.1, message }
    }
}

// RAM's own codes (API 2015-05-01).
const ACCESS_KEY_ID_NOT_FOUND: Code =
    Code(404, "InvalidAccessKeyId.NotFound", "The AccessKey ID provided does not exist in our records.");
const ACCESS_KEY_INACTIVE: Code = Code(403, "Forbidden.AccessKey", "This AccessKey is not enabled.");
const ACCESS_KEY_NOT_FOUND: Code = Code(404, "EntityNotExist.User.AccessKey", "The access key does not exist.");
const DELETE_CONFLICT: Code = Code(409, "DeleteConflict", "The entity is still attached or has attachments.");
const POLICY_EXISTS: Code = Code(409, "EntityAlreadyExists.Policy", "The policy already exists.");
const POLICY_NOT_FOUND: Code = Code(404, "EntityNotExist.Policy", "The policy does not exist.");
const USER_EXISTS: Code = Code(409, "EntityAlreadyExists.User", "The user already exists.");
const USER_NOT_FOUND: Code = Code(404, "EntityNotExist.User", "The user does not exist.");
const EXPIRED_IMPORT_TOKEN: Code = Code(400, "ExpiredImportToken", "import token is expired.");
const INVALID_IMPORT_TOKEN: Code = Code(400, "InvalidImportToken", "import token is invalid.");
const INVALID_KEY_MATERIAL: Code = Code(400, "InvalidKeyMaterial", "key material is invalid.");
const ACTION_NOT_FOUND: Code =
    Code(404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method.");
const ALIAS_EXISTS: Code = Code(400, "AliasAlreadyExists", "AliasName Already Exists.");
const ALIAS_NOT_FOUND: Code = Code(404, "Forbidden.AliasNotFound", "The specified Alias is not found.");
const CERTIFICATE_NOT_FOUND: Code = Code(404, "Certificate.NotFound", "The specified certificate is not found.");
const DRY_RUN: Code = Code(400, "DryRunOperationError", "The request would have succeeded, but DryRun is set.");
const DRY_RUN_DENIED: Code = Code(403, "AccessDeniedError", "The request would be forbidden by permission system.");
const DRY_RUN_INVALID: Code = Code(400, "ValidationError", "The request would have failed.");
const DUPLICATE_TAG: Code = Code(400, "Duplicate.TagKey", "The specified tagKey is duplicate.");
const DISABLED: Code = Code(409, "Rejected.Disabled", "The request was rejected because the key state is Disabled.");
const ENABLED: Code = Code(409, "Rejected.Enabled", "The request was rejected because the key state is Enabled.");
const INTERNAL: Code = Code(500, "InternalFailure", "Internal Failure.");
const INVALID: Code = Code(400, "InvalidParameter", "The specified parameter is not valid.");
const KEY_NOT_FOUND: Code = Code(404, "Forbidden.KeyNotFound", "The specified Key is not found.");
const LIMIT: Code =
    Code(400, "Rejected.LimitExceeded", "The request was rejected because user create resource limit was exceeded.");
const NO_PERMISSION: Code = Code(403, "Forbidden.NoPermission", "This operation is forbidden by permission system.");
const PENDING_DELETION: Code =
    Code(409, "Rejected.PendingDeletion", "The request was rejected because the key state is PendingDeletion.");
const PENDING_IMPORT: Code =
    Code(409, "Rejected.PendingImport", "The request was rejected because the key state is PendingImport.");
const REJECTED_UNSUPPORTED: Code = Code(400, "Rejected.UnsupportedOperation", "Unsupported operation.");
const STATE_CHANGE: Code = Code(409, "Rejected.StateModifiedFailed", "Keystate modified failed.");
const KEY_POLICY_NOT_FOUND: Code = Code(404, "Forbidden.ResourceNotFound", "Policy not found.");
const RESOURCE_NOT_FOUND: Code = Code(404, "InvalidResourceId.NotFound", "The specified ResourceId is not found.");
const UNAVAILABLE: Code = Code(503, "ServiceUnavailableTemporary", "Service Unavailable Temporary.");
const UNSUPPORTED: Code = Code(400, "UnsupportedOperation", "This action is not supported.");
const UNSUPPORTED_ALIAS: Code = Code(400, "Unsupported.Alias", "Alias is not valid for this api.");
const UNSUPPORTED_LEVEL: Code =
    Code(400, "Unsupported.ProtectionLevel", "This protection level is not valid for this region");
const UNSUPPORTED_ORIGIN: Code = Code(400, "Unsupported.Origin", "This key origin is not valid for this api.");
const VERSION_NOT_FOUND: Code = Code(404, "Forbidden.KeyVersionNotFound", "The specified Key version is not found.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_text_comes_first() {
        for (error, status, code, message) in [
            (
                Error::invalid("Digest", "32 bytes are needed"),
                400,
                "InvalidParameter",
                "The specified parameter \"Digest\" is not valid. 32 bytes are needed.",
            ),
            (Error::KeyNotFound("x".into()), 404, "Forbidden.KeyNotFound", "The specified Key is not found."),
            (
                Error::UnsupportedProtectionLevel { level: "HSM", reason: "the token has no device".into() },
                400,
                "Unsupported.ProtectionLevel",
                "This protection level is not valid for this region. The token has no device.",
            ),
            (
                Error::KeyState { key: "x".into(), state: KeyState::Disabled },
                409,
                "Rejected.Disabled",
                "The request was rejected because the key state is Disabled.",
            ),
        ] {
            assert_eq!(Fault::from(&error), Fault { status, code, message: message.into() });
        }
    }
}
