//! Keys.

use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};
use crate::model::key::Key;

impl Record for Key {
    const TABLE: &'static str = "keys";
    const COLUMNS: &'static [&'static str] = &["id", "certificate_id"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![(&self.id).into(), self.certificate.as_ref().into()])
    }

    fn missing(&self) -> Error {
        Error::KeyNotFound(self.id.to_string())
    }
}

impl Records<'_> {
    pub fn insert_key(&mut self, key: &Key) -> Result<()> {
        self.insert(key)
    }

    /// `Error::KeyNotFound` if there is none.
    pub fn update_key(&mut self, key: &Key) -> Result<()> {
        self.update(key)
    }

    /// The key alone: what belongs to it is deleted by who knows. No error if there is none.
    pub fn delete_key(&mut self, id: Uuid) -> Result<()> {
        self.delete::<Key>((&id).into())
    }

    pub fn key(&mut self, id: Uuid) -> Result<Option<Key>> {
        self.one((&id).into())
    }

    /// Keys that are no certificate's, oldest first.
    pub fn keys(&mut self, page: Page) -> Result<Listed<Key>> {
        self.page("certificate_id IS NULL", "position", None, page)
    }
}
