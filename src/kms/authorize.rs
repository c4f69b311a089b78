//! Permission: nothing reaches a key without the proof that this file hands out.

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::model::caller::{Caller, Identity};
use crate::model::names::KeyRef;
use crate::store::Audit;

/// The proof that a caller may do what it asked for; only [`Kms::authorize`] makes one.
#[must_use]
pub struct Allowed(());

impl Allowed {
    /// For undoing what failed: it was allowed to be begun.
    pub(super) fn to_undo() -> Self {
        Self(())
    }
}

impl Kms {
    /// May `caller` do `action` (the API's name, `ram:…` for RAM's own) on `resource` (an ARN)? The account itself may do everything.
    pub fn authorize(&self, caller: &Caller, action: &'static str, resource: &str) -> Result<Allowed> {
        let allowed = match caller.identity() {
            Identity::Account => true,
            Identity::User(_) if action.contains(':') => caller.may(action, resource),
            Identity::User(_) => caller.may(&format!("kms:{action}"), resource),
        };
        match allowed {
            true => Ok(Allowed(())),
            false => Err(Error::AccessDenied { action, resource: resource.to_owned() }),
        }
    }

    /// The audit row of a change.
    pub(super) fn audit(&self, caller: &Caller, action: &str, resource: impl std::fmt::Display) -> Audit {
        Audit {
            at: self.now(),
            caller: caller.name(),
            action: action.to_owned(),
            resource: resource.to_string(),
            request: caller.request(),
            pid: std::process::id(),
            uid: crate::fork::uid(),
        }
    }
}

/// What "not found" is called for the way in which the caller named the key.
pub(super) fn not_found(name: &KeyRef, text: &str) -> Error {
    match name {
        KeyRef::Alias(alias) => Error::AliasNotFound(alias.clone()),
        KeyRef::Id(_) | KeyRef::Foreign(_) => Error::KeyNotFound(text.to_owned()),
    }
}
