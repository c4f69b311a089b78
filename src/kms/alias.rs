//! Aliases.
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::store::{Listed, Page};
use uuid::Uuid;
impl Kms {
    pub fn create_alias(&self, _caller: &Caller, _alias: &str, _key: &str) -> Result<()> {
        todo!()
    }
    pub fn update_alias(&self, _caller: &Caller, _alias: &str, _key: &str) -> Result<()> {
        todo!()
    }
    pub fn delete_alias(&self, _caller: &Caller, _alias: &str) -> Result<()> {
        todo!()
    }
    /// Alias name (with prefix) and key, oldest first.
    pub fn list_aliases(&self, _caller: &Caller, _page: Page) -> Result<Listed<(String, Uuid)>> {
        todo!()
    }
    pub fn list_aliases_by_key(&self, _caller: &Caller, _key: &str, _page: Page) -> Result<Listed<(String, Uuid)>> {
        todo!()
    }
}
