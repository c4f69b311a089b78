//! Versions of keys.

use aws_lc_rs::digest::{SHA256, digest};
use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};
use crate::model::key::Version;
use crate::model::public::PublicKey;

impl Record for Version {
    const TABLE: &'static str = "versions";
    const COLUMNS: &'static [&'static str] = &["id", "key_id", "public"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        let public = self.public.as_ref().map(fingerprint).transpose()?;
        Ok(vec![(&self.id).into(), (&self.key).into(), public.unwrap_or(Value::Null)])
    }

    fn missing(&self) -> Error {
        Error::KeyVersionNotFound(self.id.to_string())
    }
}

/// SHA-256 of the SubjectPublicKeyInfo.
fn fingerprint(public: &PublicKey) -> Result<Value<'static>> {
    Ok(Value::Blob(digest(&SHA256, &public.to_spki()?).as_ref().to_vec().into()))
}

impl Records<'_> {
    pub fn insert_version(&mut self, version: &Version) -> Result<()> {
        self.insert(version)
    }

    /// `Error::KeyVersionNotFound` if there is none.
    pub fn update_version(&mut self, version: &Version) -> Result<()> {
        self.update(version)
    }

    /// No error if there is none.
    pub fn delete_version(&mut self, id: Uuid) -> Result<()> {
        self.delete::<Version>((&id).into())
    }

    pub fn version(&mut self, id: Uuid) -> Result<Option<Version>> {
        self.one((&id).into())
    }

    /// Oldest first.
    pub fn versions(&mut self, key: Uuid) -> Result<Vec<Version>> {
        self.many("key_id = ?2 ORDER BY position", vec![(&key).into()])
    }

    /// Of every key. Oldest first.
    pub fn all_versions(&mut self, page: Page) -> Result<Listed<Version>> {
        self.page("position > 0", "position", None, page)
    }

    /// Oldest first.
    pub fn versions_page(&mut self, key: Uuid, page: Page) -> Result<Listed<Version>> {
        self.page("key_id = ?2", "position", Some((&key).into()), page)
    }

    /// The version with this public key, by SHA-256 of its SubjectPublicKeyInfo. The oldest, if a key was imported twice.
    pub fn version_by_public(&mut self, public: &PublicKey) -> Result<Option<Version>> {
        Ok(self.many("public = ?2 ORDER BY position LIMIT 1", vec![fingerprint(public)?])?.pop())
    }
}
