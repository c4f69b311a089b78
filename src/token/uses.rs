//! What the KMS is told of the use of its keys where it is not asked: work with public halves, and what PKCS#11 itself refuses.

use crate::error::{Error, Result};
use crate::kms::usage::PublicUse;
use crate::model::algorithm::Job;
use crate::token::Session;
use crate::token::object::{Item, Source};
use crate::token::operate::Kind;

impl Session {
    /// A use that the key itself does not allow is written down if it is a key of the KMS.
    pub(super) fn refused(&self, item: &Item, kind: Kind, error: Error) -> Error {
        match &item.source {
            Source::Kms { version, .. } => self.slot().kms.refused(&self.caller(), kind.action(item), *version, error),
            _ => error,
        }
    }
}

/// Hands on what a public key did, and writes it down if it is half of a key of the KMS.
pub(super) fn settle<T>(session: &Session, used: &Option<PublicUse>, job: &Job, result: Result<T>) -> Result<T> {
    match used {
        Some(used) => session.slot().kms.used_public(&session.caller(), used, job, result),
        None => result,
    }
}
