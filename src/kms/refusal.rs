//! Management actions that were refused: who, what, when and why, in the audit trail.
//!
//! Uses of keys have their own way there (`usage.rs`), as `[audit] crypto` says. Who did not prove to be a caller (a wrong
//! PIN, an unknown access key) has no row: wrong PINs are counted at their slot, which locks.

use std::fmt::Display;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::store::Audit;

impl Kms {
    /// Hands on how a management action ended, and writes down a refusal.
    pub fn manages<T>(
        &self,
        caller: &Caller,
        action: &str,
        resource: impl Display,
        work: impl FnOnce(&Caller) -> Result<T>,
    ) -> Result<T> {
        let caller = caller.within(caller.request());
        work(&caller).inspect_err(|error| self.note_refusal(&caller, action, resource, error))
    }

    /// Nothing is answered but the refusal, so that one that cannot be written down is refused all the same.
    pub fn note_refusal(&self, caller: &Caller, action: &str, resource: impl Display, error: &Error) {
        // Faults of ours are no refusals; and a store that cannot be used takes no row.
        if matches!(error, Error::HostMemory | Error::Internal(_) | Error::Locked | Error::Store(_)) {
            return;
        }
        let resource = match error {
            Error::AccessDenied { resource, .. } => resource.clone(),
            _ => resource.to_string(),
        };
        let audit = Audit { outcome: error.kind().to_owned(), ..self.audit(caller, action, resource) };
        if let Err(error) = self.open().and_then(|opened| self.store.refuse(&opened.realm, &audit)) {
            tracing::warn!(action, %error, "a refusal could not be written into the audit trail");
        }
    }

    /// Tells of refusals that have no row: those of hours that are over, or `all`.
    pub(super) fn settle_refusals(&self, all: bool) -> Result<()> {
        let like = self.audit(&Caller::account(), "", "");
        self.store.settle_refusals(&self.open()?.realm, &like, all)
    }
}
