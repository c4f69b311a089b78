//! Keys.

use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};
use crate::model::key::{Key, Level};

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

    /// How many keys that are no certificate's there are at level SOFTWARE and at level HSM. Reads them all.
    pub fn count_keys(&mut self) -> Result<(u64, u64)> {
        // In JSON a quotation mark inside a text has a backslash before it: the pattern is found in the field alone.
        let sql = "SELECT COUNT(*) FROM keys WHERE realm = ?1 AND certificate_id IS NULL AND body LIKE ?2";
        let realm = self.realm.row.id;
        let mut count = |level: Level| -> Result<u64> {
            let pattern = format!("%\"level\":\"{}\"%", level.name());
            let found = self.number(sql, &[realm.into(), pattern.as_str().into()])?;
            Ok(found.and_then(|number| u64::try_from(number).ok()).unwrap_or(0))
        };
        Ok((count(Level::Software)?, count(Level::Hsm)?))
    }
}
