//! Aliases: names of keys, resources of their own.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::catalogue::{refresh_key, remember_name};
use crate::model::caller::Caller;
use crate::model::key::KeyState;
use crate::model::names::check_alias;
use crate::store::{Listed, Page, Records};

impl Kms {
    /// S004-026: permission on the alias and on the key.
    pub fn create_alias(&self, caller: &Caller, alias: &str, key: &str) -> Result<()> {
        const ACTION: &str = "CreateAlias";
        check_alias(alias)?;
        let audit = self.audit(caller, ACTION, alias);
        self.store.write(&self.open()?.realm, &audit, |r| {
            r.about(alias);
            let (key, state) = self.find_key_by_id(r, key)?;
            let _alias = self.authorize(caller, ACTION, &self.realm.alias_arn(alias))?;
            let _key = self.authorize_key(caller, ACTION, &key)?;
            if state == KeyState::PendingDeletion {
                return Err(Error::StateChange { resource: key.id.to_string(), reason: format!("it is {state}") });
            }
            r.insert_alias(alias, key.id)?;
            refresh_key(r, &key, self.now())
        })
    }

    /// Rebinds an alias; the keys themselves are not changed (S004-015). Permission on the alias and both keys (S004-030).
    pub fn update_alias(&self, caller: &Caller, alias: &str, key: &str) -> Result<()> {
        const ACTION: &str = "UpdateAlias";
        check_alias(alias)?;
        let audit = self.audit(caller, ACTION, alias);
        self.store.write(&self.open()?.realm, &audit, |r| {
            r.about(alias);
            let old = r.alias(alias)?.ok_or_else(|| Error::AliasNotFound(alias.to_owned()))?;
            r.about(old);
            let (key, state) = self.find_key_by_id(r, key)?;
            let _alias = self.authorize(caller, ACTION, &self.realm.alias_arn(alias))?;
            let _keys = (self.authorize_bound(r, caller, ACTION, old)?, self.authorize_key(caller, ACTION, &key)?);
            if state == KeyState::PendingDeletion {
                return Err(Error::KeyState { key: key.id.to_string(), state });
            }
            if old == key.id {
                return Ok(());
            }
            r.update_alias(alias, key.id)?;
            self.unname(r, old, alias)?;
            refresh_key(r, &key, self.now())
        })
    }

    /// S004-032: permission on the alias and its key.
    pub fn delete_alias(&self, caller: &Caller, alias: &str) -> Result<()> {
        const ACTION: &str = "DeleteAlias";
        check_alias(alias)?;
        let audit = self.audit(caller, ACTION, alias);
        self.store.write(&self.open()?.realm, &audit, |r| {
            r.about(alias);
            let key = r.alias(alias)?.ok_or_else(|| Error::AliasNotFound(alias.to_owned()))?;
            r.about(key);
            let _alias = self.authorize(caller, ACTION, &self.realm.alias_arn(alias))?;
            let _key = self.authorize_bound(r, caller, ACTION, key)?;
            r.delete_alias(alias)?;
            self.unname(r, key, alias)
        })
    }

    /// Permission on the key that an alias is bound to.
    fn authorize_bound(
        &self,
        r: &mut Records<'_>,
        caller: &Caller,
        action: &'static str,
        key: Uuid,
    ) -> Result<Allowed> {
        match r.key(key)? {
            Some(key) => self.authorize_key(caller, action, &key),
            None => self.authorize(caller, action, &self.realm.key_arn(key)),
        }
    }

    /// A key lost an alias: its objects get another label, and the old name is remembered.
    fn unname(&self, records: &mut Records<'_>, key: Uuid, alias: &str) -> Result<()> {
        let Some(mut key) = records.key(key)? else { return Ok(()) };
        remember_name(&mut key, alias.strip_prefix("alias/").unwrap_or(alias));
        records.update_key(&key)?;
        refresh_key(records, &key, self.now())
    }

    /// Alias name (with prefix) and key, oldest first. S004-035: permission on the alias container.
    pub fn list_aliases(&self, caller: &Caller, page: Page) -> Result<Listed<(String, Uuid)>> {
        let _allowed = self.authorize(caller, "ListAliases", &self.realm.container("alias"))?;
        self.store.read(&self.open()?.realm, |r| r.aliases_page(None, page))
    }

    /// S004-038: permission on the key.
    pub fn list_aliases_by_key(&self, caller: &Caller, key: &str, page: Page) -> Result<Listed<(String, Uuid)>> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "ListAliasesByKeyId", &key)?;
            r.aliases_page(Some(key.id), page)
        })
    }
}
