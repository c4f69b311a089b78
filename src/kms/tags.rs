//! Tags of keys and certificates.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::key::KeyState;

/// CreateKey takes so many tags, a resource has at most that many later (kms-api §1.2).
pub const MAX_AT_CREATION: usize = 20;
const MAX_TAGS: usize = 10;
const MAX_LENGTH: usize = 128;

/// Key and value: up to 128 letters, digits and `/ \ _ - . + = : @`; the key is not empty and not one of the cloud's own.
pub fn check_tag(key: &str, value: &str) -> Result<()> {
    let fault = |reason: &str| Err(Error::invalid("Tags", reason));
    let letters = |text: &str| text.chars().all(|letter| letter.is_alphanumeric() || "/\\_-.+=:@".contains(letter));
    if key.is_empty() || key.chars().count() > MAX_LENGTH || value.chars().count() > MAX_LENGTH {
        return fault("TagKey has 1 to 128 characters, TagValue up to 128");
    }
    if !letters(key) || !letters(value) {
        return fault("only letters, digits and / \\ _ - . + = : @ are allowed");
    }
    if key.starts_with("aliyun") || key.starts_with("acs:") {
        return fault("TagKey must not begin with aliyun or acs:");
    }
    Ok(())
}

pub(super) fn check_count(count: usize, most: usize) -> Result<()> {
    if count > most { Err(Error::invalid("Tags", format!("at most {most} tags"))) } else { Ok(()) }
}

impl Kms {
    /// Adds tags or changes their values; all were checked with [`check_tag`].
    pub fn tag_key(&self, caller: &Caller, key: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        self.change_key(caller, "TagResource", key, |key, state| {
            if state == KeyState::PendingDeletion {
                return Err(key_state(key, state));
            }
            let before = key.tags.len();
            key.tags.extend(tags.iter().map(|(name, value)| (name.clone(), value.clone())));
            check_count(key.tags.len(), MAX_TAGS.max(before))
        })
    }

    /// Removes tags; those that are not there are no error.
    pub fn untag_key(&self, caller: &Caller, key: &str, names: &[String]) -> Result<()> {
        self.change_key(caller, "UntagResource", key, |key, state| {
            if state == KeyState::PendingDeletion {
                return Err(key_state(key, state));
            }
            key.tags.retain(|name, _| !names.contains(name));
            Ok(())
        })
    }

    pub fn key_tags(&self, caller: &Caller, key: &str) -> Result<(uuid::Uuid, BTreeMap<String, String>)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key_by_id(r, key)?;
            let _allowed = self.authorize(caller, "ListResourceTags", &self.realm.key_arn(key.id))?;
            Ok((key.id, key.tags))
        })
    }
}
