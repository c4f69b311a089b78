//! Replication keys: what is known of them outside the devices.

use super::database::Value;
use super::row::Record;
use super::{Records, Replication};
use crate::error::{Error, Result};

impl Record for Replication {
    const TABLE: &'static str = "replications";
    const COLUMNS: &'static [&'static str] = &["id"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![(&self.id).into()])
    }

    fn missing(&self) -> Error {
        Error::Internal(format!("no replication key {}", self.id))
    }
}

impl Records<'_> {
    pub fn insert_replication(&mut self, replication: &Replication) -> Result<()> {
        self.insert(replication)
    }

    /// Oldest first.
    pub fn replications(&mut self) -> Result<Vec<Replication>> {
        self.many("position > 0 ORDER BY position", Vec::new())
    }
}
