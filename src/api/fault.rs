//! Errors as the API words them: HTTP status, code, message.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::error::{Error, StoreFault};
use crate::model::key::KeyState;

/// Parts of a parameter that have codes of their own where several resources are tagged.
pub(super) const TAG_KEY_OF_MANY: &str = "Tag.Key";
pub(super) const TAG_VALUE_OF_MANY: &str = "Tag.Value";

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
                status: MISSING.0,
                code: MISSING.1,
                message: format!("The parameter \"{name}\" is needed but not provided."),
            },
            RejectedUnsupported(reason) => REJECTED_UNSUPPORTED.fault(Some(reason.clone())),
            ServiceOpen => plain(&OPENED),
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
    match name {
        TAG_KEY_OF_MANY => return TAG_KEY.fault(Some(reason)),
        TAG_VALUE_OF_MANY => return TAG_VALUE.fault(Some(reason)),
        _ => {}
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
pub struct Code(pub u16, pub &'static str, pub &'static str);

impl Code {
    fn fault(&self, reason: Option<String>) -> Fault {
        let message = sentence(self.2.to_owned(), reason.as_deref().unwrap_or_default());
        Fault { status: self.0, code: self.1, message }
    }
}

macro_rules! codes {
    ($($name:ident = $status:literal $code:literal $text:literal;)+) => {
        $(const $name: Code = Code($status, $code, $text);)+
        /// Every code that an action may answer.
        pub static CODES: &[Code] = &[$($name),+];
    };
}

codes! {
    ACCESS_KEY_ID_NOT_FOUND = 404 "InvalidAccessKeyId.NotFound" "The AccessKey ID provided does not exist in our records.";
    ACCESS_KEY_INACTIVE = 403 "Forbidden.AccessKey" "This AccessKey is not enabled.";
    ACTION_NOT_FOUND = 404 "InvalidAction.NotFound" "Specified api is not found, please check your url and method.";
    ALIAS_EXISTS = 400 "AliasAlreadyExists" "AliasName Already Exists.";
    ALIAS_NOT_FOUND = 404 "Forbidden.AliasNotFound" "The specified Alias is not found.";
    CERTIFICATE_NOT_FOUND = 404 "Certificate.NotFound" "The specified certificate is not found.";
    DISABLED = 409 "Rejected.Disabled" "The request was rejected because the key state is Disabled.";
    DRY_RUN = 400 "DryRunOperationError" "The request would have succeeded, but DryRun is set.";
    DRY_RUN_DENIED = 403 "AccessDeniedError" "The request would be forbidden by permission system.";
    DRY_RUN_INVALID = 400 "ValidationError" "The request would have failed.";
    DUPLICATE_TAG = 400 "Duplicate.TagKey" "The specified tagKey is duplicate.";
    ENABLED = 409 "Rejected.Enabled" "The request was rejected because the key state is Enabled.";
    EXPIRED_IMPORT_TOKEN = 400 "ExpiredImportToken" "import token is expired.";
    INTERNAL = 500 "InternalFailure" "Internal Failure.";
    INVALID = 400 "InvalidParameter" "The specified parameter is not valid.";
    INVALID_IMPORT_TOKEN = 400 "InvalidImportToken" "import token is invalid.";
    INVALID_KEY_MATERIAL = 400 "InvalidKeyMaterial" "key material is invalid.";
    KEY_NOT_FOUND = 404 "Forbidden.KeyNotFound" "The specified Key is not found.";
    KEY_POLICY_NOT_FOUND = 404 "Forbidden.ResourceNotFound" "Policy not found.";
    LIMIT = 400 "Rejected.LimitExceeded" "The request was rejected because user create resource limit was exceeded.";
    MISSING = 400 "MissingParameter" "The parameter is needed but not provided.";
    NO_PERMISSION = 403 "Forbidden.NoPermission" "This operation is forbidden by permission system.";
    OPENED = 400 "Forbidden.Opened" "Your kms service has been opened.";
    PENDING_DELETION = 409 "Rejected.PendingDeletion" "The request was rejected because the key state is PendingDeletion.";
    PENDING_IMPORT = 409 "Rejected.PendingImport" "The request was rejected because the key state is PendingImport.";
    REJECTED_UNSUPPORTED = 400 "Rejected.UnsupportedOperation" "Unsupported operation.";
    RESOURCE_NOT_FOUND = 404 "InvalidResourceId.NotFound" "The specified ResourceId is not found.";
    STATE_CHANGE = 409 "Rejected.StateModifiedFailed" "Keystate modified failed.";
    TAG_KEY = 400 "InvalidParameter.TagKey" "The specified parameter is not valid.";
    TAG_VALUE = 400 "InvalidParameter.TagValue" "The specified parameter is not valid.";
    UNAVAILABLE = 503 "ServiceUnavailableTemporary" "Service Unavailable Temporary.";
    UNSUPPORTED = 400 "UnsupportedOperation" "This action is not supported.";
    UNSUPPORTED_ALIAS = 400 "Unsupported.Alias" "Alias is not valid for this api.";
    UNSUPPORTED_LEVEL = 400 "Unsupported.ProtectionLevel" "This protection level is not valid for this region";
    UNSUPPORTED_ORIGIN = 400 "Unsupported.Origin" "This key origin is not valid for this api.";
    VERSION_NOT_FOUND = 404 "Forbidden.KeyVersionNotFound" "The specified Key version is not found.";
    // RAM's own (API 2015-05-01).
    ACCESS_KEY_NOT_FOUND = 404 "EntityNotExist.User.AccessKey" "The access key does not exist.";
    DELETE_CONFLICT = 409 "DeleteConflict" "The entity is still attached or has attachments.";
    POLICY_EXISTS = 409 "EntityAlreadyExists.Policy" "The policy already exists.";
    POLICY_NOT_FOUND = 404 "EntityNotExist.Policy" "The policy does not exist.";
    USER_EXISTS = 409 "EntityAlreadyExists.User" "The user already exists.";
    USER_NOT_FOUND = 404 "EntityNotExist.User" "The user does not exist.";
}

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
