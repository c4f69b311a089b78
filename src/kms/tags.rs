//! Tags of keys and certificates.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::key::{Key, KeyState};
use crate::store::{Listed, Page};

/// CreateKey takes so many tags, a resource has at most that many later (kms-api §1.2).
pub const MAX_AT_CREATION: usize = 20;
const MAX_TAGS: usize = 10;
const MAX_LENGTH: usize = 128;

/// Up to 128 letters, digits and `/ \ _ - . + = : @`; a key is not empty and not one of the cloud's own.
pub fn check_tag_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() {
        return Err("TagKey has 1 to 128 characters");
    }
    if key.starts_with("aliyun") || key.starts_with("acs:") {
        return Err("TagKey must not begin with aliyun or acs:");
    }
    check_tag_value(key)
}

pub fn check_tag_value(value: &str) -> Result<(), &'static str> {
    if value.chars().count() > MAX_LENGTH {
        return Err("TagKey and TagValue have up to 128 characters");
    }
    match value.chars().all(|letter| letter.is_alphanumeric() || "/\\_-.+=:@".contains(letter)) {
        true => Ok(()),
        false => Err("only letters, digits and / \\ _ - . + = : @ are allowed"),
    }
}

pub(super) fn check_count(count: usize, most: usize) -> Result<()> {
    if count > most { Err(Error::invalid("Tags", format!("at most {most} tags"))) } else { Ok(()) }
}

fn add(key: &mut Key, state: KeyState, tags: &BTreeMap<String, String>, most: usize) -> Result<()> {
    if state == KeyState::PendingDeletion {
        return Err(key_state(key, state));
    }
    let before = key.tags.len();
    key.tags.extend(tags.iter().map(|(name, value)| (name.clone(), value.clone())));
    check_count(key.tags.len(), most.max(before))
}

fn remove(key: &mut Key, state: KeyState, names: Option<&[String]>) -> Result<()> {
    if state == KeyState::PendingDeletion {
        return Err(key_state(key, state));
    }
    key.tags.retain(|name, _| names.is_some_and(|names| !names.contains(name)));
    Ok(())
}

/// Where several resources are named, one that is not there has another code.
fn no_resource(error: Error) -> Error {
    match error {
        Error::KeyNotFound(name) => Error::EntityNotFound { kind: "Resource", name },
        Error::InvalidParameter { name, reason } if name == "KeyId" => Error::invalid("ResourceId", reason),
        other => other,
    }
}

impl Kms {
    /// Adds tags or changes their values; all were checked with [`check_tag_key`] and [`check_tag_value`].
    pub fn tag_key(&self, caller: &Caller, key: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        self.change_key(caller, "TagResource", key, |key, state| add(key, state, tags, MAX_TAGS))
    }

    /// The same of several keys, all or none; each has at most 20 then.
    pub fn tag_keys(&self, caller: &Caller, keys: &[&str], tags: &BTreeMap<String, String>) -> Result<()> {
        let change = |key: &mut Key, state| add(key, state, tags, MAX_AT_CREATION);
        self.change_keys(caller, "TagResources", keys, change).map_err(no_resource)
    }

    /// Removes tags; those that are not there are no error.
    pub fn untag_key(&self, caller: &Caller, key: &str, names: &[String]) -> Result<()> {
        self.change_key(caller, "UntagResource", key, |key, state| remove(key, state, Some(names)))
    }

    /// The same of several keys, all or none. Without names every tag goes.
    pub fn untag_keys(&self, caller: &Caller, keys: &[&str], names: Option<&[String]>) -> Result<()> {
        let change = |key: &mut Key, state| remove(key, state, names);
        self.change_keys(caller, "UntagResources", keys, change).map_err(no_resource)
    }

    /// A page of tags, each with its key: of these keys or of all, as far as a key has every tag of `having` (name and
    /// value; without value any).
    pub fn tagged_keys(
        &self,
        caller: &Caller,
        keys: &[&str],
        having: &[(String, Option<String>)],
        page: Page,
    ) -> Result<Listed<(Uuid, String, String)>> {
        const ACTION: &str = "ListTagResources";
        let mut rows = Vec::new();
        let mut take = |key: Key| {
            let has = |(name, value): &(String, Option<String>)| {
                key.tags.get(name).is_some_and(|found| value.as_ref().is_none_or(|value| value == found))
            };
            if having.iter().all(has) {
                rows.extend(key.tags.into_iter().map(|(name, value)| (key.id, name, value)));
            }
        };
        if keys.is_empty() {
            let _allowed = self.authorize(caller, ACTION, &self.realm.container("key"))?;
            self.each_key(|key| {
                take(key);
                Ok(())
            })?;
        }
        for name in keys {
            let key = self.store.read(&self.open()?.realm, |r| {
                let (key, _) = self.find_key_by_id(r, name).map_err(no_resource)?;
                let _allowed = self.authorize_key(caller, ACTION, &key)?;
                Ok(key)
            })?;
            take(key);
        }
        let total = rows.len() as u64;
        let offset = usize::try_from(page.offset).unwrap_or(usize::MAX);
        let items = rows.into_iter().skip(offset).take(usize::try_from(page.limit).unwrap_or(usize::MAX)).collect();
        Ok(Listed { items, total })
    }

    pub fn key_tags(&self, caller: &Caller, key: &str) -> Result<(Uuid, BTreeMap<String, String>)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "ListResourceTags", &key)?;
            Ok((key.id, key.tags))
        })
    }
}
