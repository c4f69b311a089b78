//! Keys and versions: creation, state, deletion.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::{Allowed, not_found};
use crate::kms::catalogue::refresh_key;
use crate::kms::objects::objects_of;
use crate::kms::use_key::key_state;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::key::*;
use crate::model::key_policy::KeyPolicy;
use crate::model::names::KeyRef;
use crate::model::object::Class;
use crate::model::spec::Spec;
use crate::model::time::Moment;
use crate::protection::{Generated, Usages};
use crate::store::{Listed, Page, Records};

/// Ruling 1: the deletion window in days.
const WINDOW: std::ops::RangeInclusive<i64> = 7..=30;
const DEFAULT_WINDOW: i64 = 30;
/// S004: at most so many characters of description.
const MAX_DESCRIPTION: usize = 8192;

/// Changes that name a key by its ID or ARN alone (ruling 2): of its state, and of several keys at once.
const NO_ALIAS: &[&str] = &["DisableKey", "EnableKey", "ScheduleKeyDeletion", "TagResources", "UntagResources"];

/// What CreateKey asks for. None: the rule's default.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub spec: Option<Spec>,
    pub usage: Option<KeyUsage>,
    /// The token's default level is for generic tools only; here None is SOFTWARE.
    pub level: Option<Level>,
    pub origin: Option<Origin>,
    pub description: String,
    /// Automatic rotation, in seconds.
    pub rotation_interval: Option<i64>,
    pub tags: BTreeMap<String, String>,
    pub policy: Option<KeyPolicy>,
}

/// A key as seen now, with its aliases' and versions' particulars that DescribeKey answers.
#[derive(Debug, Clone)]
pub struct KeyView {
    pub key: Key,
    /// State at this moment.
    pub state: KeyState,
    /// Creation of the newest version (`LastRotationDate`); symmetric keys.
    pub last_rotation: Option<Moment>,
}

/// How key material comes into being.
#[derive(Clone, Copy)]
pub(super) struct Making<'a> {
    pub usages: Usages,
    /// Imported instead of generated.
    pub value: Option<&'a Bytes>,
    pub allowed: &'a Allowed,
}

/// The state at a moment: what is stored, and what time made of it. None: the key is gone.
pub fn state_at(key: &Key, now: Moment) -> Option<KeyState> {
    match key.state {
        KeyState::PendingDeletion if key.delete_at.is_some_and(|at| at <= now) => None,
        KeyState::Enabled | KeyState::Disabled if key.material_expires.is_some_and(|at| at <= now) => {
            Some(KeyState::PendingImport)
        }
        state => Some(state),
    }
}

/// The state as far as work in progress goes: the key of a deleted certificate goes on until its window ends, for what is
/// deployed already (ruling 17).
pub(super) fn working_state(key: &Key, now: Moment) -> Option<KeyState> {
    match state_at(key, now) {
        Some(KeyState::PendingDeletion) if key.certificate.is_some() => Some(KeyState::Enabled),
        state => state,
    }
}

impl Kms {
    /// A key that the caller named, as long as it is not gone; a certificate's key is not found like this.
    pub(super) fn find_key(&self, records: &mut Records<'_>, text: &str) -> Result<(Key, KeyState)> {
        let name = self.realm.key_ref(text)?;
        let id = match &name {
            KeyRef::Alias(alias) => records.alias(alias)?,
            KeyRef::Id(id) => Some(*id),
            KeyRef::Foreign(_) => None,
        };
        let key = match id {
            Some(id) => records.key(id)?.filter(|key| key.certificate.is_none()),
            None => None,
        };
        let found = key.and_then(|key| state_at(&key, self.now()).map(|state| (key, state)));
        if let Some((key, _)) = &found {
            records.about(key.id);
        }
        found.ok_or_else(|| not_found(&name, text))
    }

    /// For operations that refuse aliases (ruling 2).
    pub(super) fn find_key_by_id(&self, records: &mut Records<'_>, text: &str) -> Result<(Key, KeyState)> {
        if matches!(self.realm.key_ref(text)?, KeyRef::Alias(_)) {
            return Err(Error::UnsupportedAlias);
        }
        self.find_key(records, text)
    }

    fn view(&self, records: &mut Records<'_>, key: Key, state: KeyState) -> Result<KeyView> {
        let newest = match key.primary {
            Some(primary) => records.version(primary)?.map(|version| version.created),
            None => None,
        };
        Ok(KeyView { key, state, last_rotation: newest })
    }

    pub fn create_key(&self, caller: &Caller, new: NewKey) -> Result<KeyView> {
        let allowed = self.authorize(caller, "CreateKey", &self.realm.container("key"))?;
        check_description(&new.description)?;
        let spec = new.spec.unwrap_or_else(Spec::default_spec);
        let usage = new.usage.unwrap_or(spec.default_usage);
        if !spec.usages.contains(&usage) {
            return Err(Error::Unsupported(format!("KeySpec {} with this KeyUsage", spec.name)));
        }
        let mut key = self.blank(spec, usage, new.level.unwrap_or(Level::Software), Door::Kms);
        key.description = new.description;
        key.style = if spec.family.is_asymmetric() { Style::Raw } else { Style::Envelope };
        key.rotation_interval = new.rotation_interval;
        key.tags = new.tags;
        key.policy = new.policy;
        crate::kms::tags::check_count(key.tags.len(), crate::kms::tags::MAX_AT_CREATION)?;
        if key.rotation_interval.is_some() && (!spec.family.rotates() || new.origin == Some(Origin::External)) {
            return Err(Error::Unsupported("automatic rotation of this key".to_owned()));
        }
        if new.origin == Some(Origin::External) {
            return self.create_external(caller, key, &allowed);
        }
        let usages = Usages::of(usage, spec.family.is_asymmetric());
        let making = Making { usages, value: None, allowed: &allowed };
        let (key, version) =
            self.create_with_material(caller, "CreateKey", &key, making, |_| Ok(()), |_, _, _, ()| Ok(()))?;
        let last_rotation = key.primary.map(|_| version.created);
        Ok(KeyView { state: key.state, key, last_rotation })
    }

    /// A key record before anything is decided about it.
    pub(super) fn blank(&self, spec: Spec, usage: KeyUsage, level: Level, door: Door) -> Key {
        Key {
            id: Uuid::new_v4(),
            spec,
            usage,
            origin: Origin::AliyunKms,
            level,
            state: KeyState::Enabled,
            description: String::new(),
            creator: self.realm.account.clone(),
            created: self.now(),
            delete_at: None,
            material_expires: None,
            primary: None,
            promoted: None,
            style: Style::Raw,
            door,
            certificate: None,
            former_names: Vec::new(),
            deletion_protection: false,
            deletion_protection_description: String::new(),
            rotation_interval: None,
            tags: BTreeMap::new(),
            policy: None,
            material_digest: Vec::new(),
        }
    }

    /// S004-077: no material until it is imported.
    fn create_external(&self, caller: &Caller, mut key: Key, _: &Allowed) -> Result<KeyView> {
        if !key.spec.external {
            return Err(Error::Unsupported(format!("Origin=EXTERNAL with KeySpec {}", key.spec.name)));
        }
        key.origin = Origin::External;
        key.state = KeyState::PendingImport;
        let audit = self.audit(caller, "CreateKey", key.id);
        self.store.write(&self.open()?.realm, &audit, |r| r.insert_key(&key))?;
        Ok(KeyView { state: key.state, key, last_rotation: None })
    }

    /// Makes the first version of `key` and stores both; `between` works with the new version before anything is stored
    /// (a CSR is signed), `more` adds what else belongs into the same transaction.
    pub(super) fn create_with_material<P>(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &Key,
        making: Making<'_>,
        between: impl FnOnce(&Version) -> Result<P>,
        mut more: impl FnMut(&mut Records<'_>, &Key, &Version, &P) -> Result<()>,
    ) -> Result<(Key, Version)> {
        self.make_version(caller, action, key, making, between, |records, version, prepared| {
            let mut key = key.clone();
            if !key.spec.family.is_asymmetric() {
                key.primary = Some(version.id);
            }
            records.insert_key(&key)?;
            records.insert_version(version)?;
            more(records, &key, version, prepared)?;
            refresh_key(records, &key, self.now())?;
            Ok(key)
        })
    }

    /// Makes key material and runs `store` in the transaction that makes it count. At level HSM an intent goes before,
    /// so that a crash leaves neither an orphan on the device nor a row without a key. On an error nothing is left.
    pub(super) fn make_version<P, T>(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &Key,
        making: Making<'_>,
        between: impl FnOnce(&Version) -> Result<P>,
        mut store: impl FnMut(&mut Records<'_>, &Version, &P) -> Result<T>,
    ) -> Result<(T, Version)> {
        let id = Uuid::new_v4();
        let intent = self.begin_creation(caller, action, key.level, id)?;
        let made = self.protection(key.level, making.allowed).and_then(|protection| match making.value {
            None => protection.generate(id, key.spec, making.usages),
            Some(value) => protection.import(id, key.spec, making.usages, value),
        });
        let Generated { material, public } = match made {
            Ok(made) => made,
            Err(error) => {
                // Only a refusal is known to have left nothing behind.
                let left = self.made_by_us(id).filter(|_| !matches!(error, Error::DeviceLacks { .. }));
                self.abandon_creation(
                    caller,
                    action,
                    key.level,
                    intent,
                    id,
                    left.filter(|_| intent.is_some()).as_ref(),
                );
                return Err(error);
            }
        };
        let version =
            Version { id, key: key.id, created: self.now(), material: Some(material), public, retired: false };
        let stored = between(&version).and_then(|prepared| {
            let audit = self.audit(caller, action, key.id);
            self.store.write(&self.open()?.realm, &audit, |records| {
                self.finish_creation(records, intent)?;
                store(records, &version, &prepared)
            })
        });
        match stored {
            Ok(value) => Ok((value, version)),
            Err(error) => {
                self.abandon_creation(caller, action, key.level, intent, id, version.material.as_ref());
                Err(error)
            }
        }
    }

    pub fn describe_key(&self, caller: &Caller, key: &str) -> Result<KeyView> {
        self.rotate_if_due(caller, key)?;
        self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "DescribeKey", &key)?;
            self.view(r, key, state)
        })
    }

    pub fn list_keys(&self, caller: &Caller, page: Page) -> Result<Listed<KeyView>> {
        let _allowed = self.authorize(caller, "ListKeys", &self.realm.container("key"))?;
        self.store.read(&self.open()?.realm, |r| {
            let Listed { items, total } = r.keys(page)?;
            let now = self.now();
            let items = items
                .into_iter()
                .filter_map(|key| state_at(&key, now).map(|state| (key, state)))
                .map(|(key, state)| Ok(KeyView { key, state, last_rotation: None }))
                .collect::<Result<_>>()?;
            Ok(Listed { items, total })
        })
    }

    /// Changes a key, if `change` agrees, and everything that is seen of it.
    pub(super) fn change_key(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &str,
        change: impl FnMut(&mut Key, KeyState) -> Result<()>,
    ) -> Result<()> {
        self.change_keys(caller, action, &[name], change)
    }

    /// The same of several keys: all or none.
    pub(super) fn change_keys(
        &self,
        caller: &Caller,
        action: &'static str,
        names: &[&str],
        mut change: impl FnMut(&mut Key, KeyState) -> Result<()>,
    ) -> Result<()> {
        let audit = self.audit(caller, action, names.join(" "));
        self.store.write(&self.open()?.realm, &audit, |r| {
            for name in names {
                let found =
                    if NO_ALIAS.contains(&action) { self.find_key_by_id(r, name) } else { self.find_key(r, name) };
                let (mut key, state) = found?;
                let _allowed = self.authorize_key(caller, action, &key)?;
                change(&mut key, state)?;
                r.update_key(&key)?;
                refresh_key(r, &key, self.now())?;
            }
            Ok(())
        })
    }

    pub fn enable_key(&self, caller: &Caller, key: &str) -> Result<()> {
        self.change_key(caller, "EnableKey", key, |key, state| switch(key, state, KeyState::Enabled))
    }

    pub fn disable_key(&self, caller: &Caller, key: &str) -> Result<()> {
        self.change_key(caller, "DisableKey", key, |key, state| switch(key, state, KeyState::Disabled))
    }

    /// Days: 7 to 30; None is 30 (ruling 1).
    pub fn schedule_key_deletion(&self, caller: &Caller, key: &str, days: Option<i64>) -> Result<()> {
        let days = days.unwrap_or(DEFAULT_WINDOW);
        if !WINDOW.contains(&days) {
            return Err(Error::invalid("PendingWindowInDays", "7 to 30 days"));
        }
        self.change_key(caller, "ScheduleKeyDeletion", key, |key, state| self.schedule(key, state, days))
    }

    pub(super) fn schedule(&self, key: &mut Key, state: KeyState, days: i64) -> Result<()> {
        if state == KeyState::PendingDeletion {
            return Err(state_change(key, state));
        }
        if key.deletion_protection {
            return Err(Error::StateChange {
                resource: key.id.to_string(),
                reason: "it is protected from deletion".to_owned(),
            });
        }
        key.state = KeyState::PendingDeletion;
        key.delete_at = Some(self.now().plus_days(days));
        Ok(())
    }

    pub fn cancel_key_deletion(&self, caller: &Caller, key: &str) -> Result<()> {
        const ACTION: &str = "CancelKeyDeletion";
        let audit = self.audit(caller, ACTION, key);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, state) = self.find_key_by_id(r, key)?;
            let _allowed = self.authorize_key(caller, ACTION, &key)?;
            if state != KeyState::PendingDeletion {
                return Err(state_change(&key, state));
            }
            key.delete_at = None;
            // Imported material may be missing: it never came, or was deleted meanwhile.
            let has_material = match key.primary {
                Some(primary) => r.version(primary)?.is_some_and(|version| version.material.is_some()),
                None => key.spec.family.is_asymmetric(),
            };
            key.state = if has_material { KeyState::Enabled } else { KeyState::PendingImport };
            r.update_key(&key)?;
            // A tool that destroyed the pair destroyed its public half, too.
            for mut object in objects_of(r, &key)?.into_iter().filter(|object| object.hidden) {
                object.hidden = false;
                r.update_object(&object)?;
            }
            refresh_key(r, &key, self.now())
        })
    }

    /// At most 8,192 characters.
    pub fn update_key_description(&self, caller: &Caller, key: &str, description: &str) -> Result<()> {
        check_description(description)?;
        self.change_key(caller, "UpdateKeyDescription", key, |key, state| {
            key.description = description.to_owned();
            if state == KeyState::PendingDeletion { Err(key_state(key, state)) } else { Ok(()) }
        })
    }

    /// `description` counts only while the protection is on.
    pub fn set_deletion_protection(&self, caller: &Caller, key: &str, on: bool, description: &str) -> Result<()> {
        check_description(description)?;
        self.change_key(caller, "SetDeletionProtection", key, |key, state| {
            key.deletion_protection = on;
            key.deletion_protection_description = if on { description.to_owned() } else { String::new() };
            if state == KeyState::PendingDeletion { Err(key_state(key, state)) } else { Ok(()) }
        })
    }

    /// How many keys there are by level (SOFTWARE, HSM), for `alikms status`.
    pub fn count_keys(&self) -> Result<(u64, u64)> {
        self.store.read(&self.open()?.realm, |r| r.count_keys())
    }

    /// The primary label and CKA_ID of the private (or secret) key object in service.
    pub fn display_name(&self, caller: &Caller, key: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "DescribeKey", &key)?;
            let (key, version) = self.service_of(r, key)?;
            let objects = r.find_objects(&crate::store::Query { key: Some(key.id), ..Default::default() }, 0, 4096)?;
            // A secret key has one object, whatever its version.
            let object = objects.into_iter().find(|object| match object.class {
                Class::PrivateKey => object.version == Some(version.id),
                class => class == Class::SecretKey,
            });
            object.map(|object| (object.label, object.id)).ok_or_else(|| Error::KeyNotFound(key.id.to_string()))
        })
    }
}

fn check_description(text: &str) -> Result<()> {
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(Error::invalid("Description", "longer than 8192 characters"));
    }
    Ok(())
}

/// Enabled ↔ Disabled; any other state refuses (kms-api §2.5).
fn switch(key: &mut Key, state: KeyState, to: KeyState) -> Result<()> {
    match state {
        KeyState::Enabled | KeyState::Disabled => {
            key.state = to;
            Ok(())
        }
        KeyState::PendingDeletion | KeyState::PendingImport => Err(state_change(key, state)),
    }
}

fn state_change(key: &Key, state: KeyState) -> Error {
    Error::StateChange { resource: key.id.to_string(), reason: format!("it is {state}") }
}
