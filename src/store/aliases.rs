//! Aliases: names of keys, in the order in which they were bound.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};

#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    /// With the prefix `alias/`.
    name: String,
    key: Uuid,
    /// Larger than that of every alias bound before.
    bound: i64,
}

impl Record for Alias {
    const TABLE: &'static str = "aliases";
    const COLUMNS: &'static [&'static str] = &["name", "key_id", "bound"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![self.name.as_str().into(), (&self.key).into(), self.bound.into()])
    }

    fn missing(&self) -> Error {
        Error::AliasNotFound(self.name.clone())
    }
}

impl Records<'_> {
    /// `Error::AliasExists` if the name is taken.
    pub fn insert_alias(&mut self, name: &str, key: Uuid) -> Result<()> {
        if self.alias(name)?.is_some() {
            return Err(Error::AliasExists(name.to_owned()));
        }
        let bound = self.next_bound()?;
        self.insert(&Alias { name: name.to_owned(), key, bound })
    }

    /// Binds an existing alias to another key; it becomes that key's youngest alias. `Error::AliasNotFound` if there is none.
    pub fn update_alias(&mut self, name: &str, key: Uuid) -> Result<()> {
        let bound = self.next_bound()?;
        self.update(&Alias { name: name.to_owned(), key, bound })
    }

    /// `Error::AliasNotFound` if there is none.
    pub fn delete_alias(&mut self, name: &str) -> Result<()> {
        self.alias(name)?.ok_or_else(|| Error::AliasNotFound(name.to_owned()))?;
        self.delete::<Alias>(name.into())
    }

    /// The key that the name stands for.
    pub fn alias(&mut self, name: &str) -> Result<Option<Uuid>> {
        Ok(self.one::<Alias>(name.into())?.map(|alias| alias.key))
    }

    /// Names in the order in which they were bound.
    pub fn aliases(&mut self, key: Uuid) -> Result<Vec<String>> {
        let found = self.many::<Alias>("key_id = ?2 ORDER BY bound", vec![(&key).into()])?;
        Ok(found.into_iter().map(|alias| alias.name).collect())
    }

    /// Of one key or all, in the order in which they were bound.
    pub fn aliases_page(&mut self, key: Option<Uuid>, page: Page) -> Result<Listed<(String, Uuid)>> {
        let listed = match &key {
            Some(key) => self.page::<Alias>("key_id = ?2", "bound", Some(key.into()), page)?,
            None => self.page::<Alias>("bound > 0", "bound", None, page)?,
        };
        let items = listed.items.into_iter().map(|alias| (alias.name, alias.key)).collect();
        Ok(Listed { items, total: listed.total })
    }

    fn next_bound(&mut self) -> Result<i64> {
        let last = self.number("SELECT max(bound) FROM aliases WHERE realm = ?1", &[self.realm.row.id.into()])?;
        Ok(last.unwrap_or_default().saturating_add(1).max(1))
    }
}
