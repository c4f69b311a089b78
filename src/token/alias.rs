//! Numbers of other vendors for SM2, SM3 and SM4 (`sm_alias` of a `[[token]]`): a program that was compiled with their
//! header
//! runs as it is. They stand beside ours, in mechanism lists too; what objects say of themselves is said in ours.

use std::borrow::Cow;

use cryptoki_sys::*;

use crate::config::TokenConfig;
use crate::error::Result;
use crate::model::Bytes;
use crate::token::mechanism::{MECHANISMS, MechanismRow};
use crate::token::template::{Entry, EntryValue};
use crate::token::vendor::CKK_ALIKMS_SM4;
use crate::token::{Session, Template, ck};

/// The row of a mechanism by its own number or another vendor's.
pub fn row(config: &TokenConfig, kind: CK_MECHANISM_TYPE) -> Result<&'static MechanismRow> {
    MechanismRow::find(kind).or_else(|missing| aliased(config, kind).ok_or(missing))
}

fn aliased(config: &TokenConfig, kind: CK_MECHANISM_TYPE) -> Option<&'static MechanismRow> {
    // A name may be that of a key type with the same number.
    let names = config.sm_alias.iter().filter(|(_, theirs)| *theirs == kind).map(|(ours, _)| ours);
    names.into_iter().find_map(|ours| MECHANISMS.iter().find(|row| row.name == *ours))
}

/// The numbers of other vendors that this token knows, each once.
pub fn kinds(config: &TokenConfig) -> impl Iterator<Item = CK_MECHANISM_TYPE> {
    let is_mechanism = |name: &str| MECHANISMS.iter().any(|row| row.name == name);
    config.sm_alias.iter().filter(move |(ours, _)| is_mechanism(ours)).map(|(_, theirs)| *theirs)
}

fn key_type(config: &TokenConfig, theirs: CK_KEY_TYPE) -> Option<CK_KEY_TYPE> {
    let of = |name: &str| match name {
        "CKK_ALIKMS_SM4" => Some(CKK_ALIKMS_SM4),
        "CKK_EC" => Some(CKK_EC),
        _ => None,
    };
    config.sm_alias.iter().filter(|(_, number)| *number == theirs).find_map(|(ours, _)| of(ours))
}

impl Session {
    /// The row of a mechanism, if it serves this kind of operation (a `CKF_` flag).
    pub(super) fn row(&self, kind: CK_MECHANISM_TYPE, flag: CK_FLAGS) -> Result<&'static MechanismRow> {
        let row = row(self.slot().kms.config(), kind)?;
        if row.flags & flag == 0 { Err(ck(CKR_MECHANISM_INVALID)) } else { Ok(row) }
    }

    /// The template with CKA_KEY_TYPE in our numbers.
    pub(super) fn in_our_words<'a>(&self, template: &'a Template) -> Cow<'a, Template> {
        let config = self.slot().kms.config();
        let ours = match template.ulong(CKA_KEY_TYPE) {
            Ok(Some(theirs)) => key_type(config, theirs),
            _ => None,
        };
        let Some(ours) = ours else { return Cow::Borrowed(template) };
        let translated = |entry: &Entry| match entry.kind {
            CKA_KEY_TYPE => {
                Entry { kind: CKA_KEY_TYPE, value: EntryValue::Bytes(Bytes::new(ours.to_ne_bytes().to_vec())) }
            }
            _ => entry.clone(),
        };
        Cow::Owned(Template(template.0.iter().map(translated).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SM_NAMES;

    #[test]
    fn every_name_that_may_be_aliased_is_one_of_ours() {
        for name in SM_NAMES {
            let known = MECHANISMS.iter().any(|row| row.name == *name) || ["CKK_ALIKMS_SM4", "CKK_EC"].contains(name);
            assert!(known, "{name}");
        }
    }
}
