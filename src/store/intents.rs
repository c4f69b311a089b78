//! Intents: what was begun on a device and is not finished.

use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Intent, Records};
use crate::error::{Error, Result};

impl Record for Intent {
    const TABLE: &'static str = "intents";
    const COLUMNS: &'static [&'static str] = &["id"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![(&self.id).into()])
    }

    fn missing(&self) -> Error {
        Error::Internal(format!("no intent {}", self.id))
    }
}

impl Records<'_> {
    pub fn insert_intent(&mut self, intent: &Intent) -> Result<()> {
        self.insert(intent)
    }

    /// No error if there is none.
    pub fn delete_intent(&mut self, id: Uuid) -> Result<()> {
        self.delete::<Intent>((&id).into())
    }

    /// Crosses an intent out; false if somebody else did.
    pub fn take_intent(&mut self, id: Uuid) -> Result<bool> {
        let is_there = self.one::<Intent>((&id).into())?;
        self.delete_intent(id)?;
        Ok(is_there.is_some())
    }

    /// Oldest first.
    pub fn intents(&mut self) -> Result<Vec<Intent>> {
        self.many("position > 0 ORDER BY position", Vec::new())
    }
}
