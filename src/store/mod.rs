//! Records that last: what is kept, statement by statement, and a counter that tells every process when something changed.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Result;
use crate::model::certificate::Certificate;
use crate::model::key::{Key, Material, Version};
use crate::model::object::{Class, Object};
use crate::model::time::Moment;
use crate::seal::Kek;
use crate::seal::slot::{Slot, SlotKind};

/// One store file. Cheap to make; connections are opened when needed, anew in a forked child.
pub struct Store;

/// A token's part of the store: an account in a region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealmRow {
    pub id: i64,
    pub uuid: Uuid,
    /// Token label; unique in the store.
    pub label: String,
    pub account: String,
    pub region: String,
    pub created: Moment,
}

/// A realm with its key-encryption key: whoever has one can read and write its records.
#[derive(Clone)]
pub struct OpenRealm {
    pub row: RealmRow,
    pub kek: Arc<Kek>,
}

/// A slot with what is counted about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotRow {
    pub slot: Slot,
    /// Changes whenever the slot is rewritten.
    pub revision: i64,
    /// Wrong attempts since the last right one; an attempt under way is counted as wrong until it proves right.
    pub failures: u32,
}

/// One line of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audit {
    pub at: Moment,
    pub caller: String,
    /// The API's name of the action, or the `C_` function's KMS verb.
    pub action: String,
    /// Key, certificate or alias.
    pub resource: String,
    pub request: Uuid,
    pub pid: u32,
    pub uid: u32,
}

/// Something begun on a device that is not finished: found after a crash, it is cleaned up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    pub id: Uuid,
    pub kind: IntentKind,
    pub version: Uuid,
    pub material: Option<Material>,
    pub at: Moment,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum IntentKind {
    Create,
    Destroy,
}

/// What a search asks for; everything given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    pub class: Option<Class>,
    pub label: Option<Vec<u8>>,
    pub id: Option<Vec<u8>>,
    pub unique: Option<Uuid>,
    pub key: Option<Uuid>,
    pub version: Option<Uuid>,
    pub certificate: Option<Uuid>,
    /// Only objects with `shown`.
    pub shown_only: bool,
}

/// What a page of a list asks for. Oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    pub offset: u64,
    pub limit: u64,
}

/// A page and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed<T> {
    pub items: Vec<T>,
    pub total: u64,
}

impl Store {
    /// Makes the file with its directory (2770), group and modes (DESIGN §5); leaves an existing store as it is. True if it was made.
    pub fn create(_path: &Path, _group: Option<u32>) -> Result<bool> {
        todo!()
    }
    /// Does not touch the file yet.
    pub fn new(_path: &Path) -> Self {
        todo!()
    }
    /// A number that is another one whenever any process may have changed a record since. Costs nanoseconds while the counter is clean.
    pub fn generation(&self) -> u64 {
        todo!()
    }

    pub fn realms(&self) -> Result<Vec<RealmRow>> {
        todo!()
    }
    pub fn create_realm(&self, _row: &RealmRow /* id ignored */, _slots: &[Slot]) -> Result<RealmRow> {
        todo!()
    }
    /// C_InitToken: forgets every record of the realm, and replaces its slots.
    pub fn reset_realm(&self, _realm: i64, _label: &str, _slots: &[Slot]) -> Result<()> {
        todo!()
    }
    pub fn slot(&self, _realm: i64, _kind: SlotKind) -> Result<Option<SlotRow>> {
        todo!()
    }
    /// Inserts or replaces; failures become 0.
    pub fn set_slot(&self, _realm: i64, _slot: &Slot) -> Result<()> {
        todo!()
    }
    pub fn remove_slot(&self, _realm: i64, _kind: SlotKind) -> Result<()> {
        todo!()
    }
    pub fn set_failures(&self, _realm: i64, _kind: SlotKind, _failures: u32) -> Result<()> {
        todo!()
    }
    /// One attempt at a PIN at a time over all processes: an advisory lock that dies with its holder.
    pub fn attempt_lock(&self, _realm: i64) -> Result<AttemptLock> {
        todo!()
    }

    /// Reads at one moment: everything that `work` sees belongs together.
    pub fn read<T>(&self, _realm: &OpenRealm, _work: impl FnOnce(&mut Records<'_>) -> Result<T>) -> Result<T> {
        todo!()
    }
    /// One transaction, with its audit row. `work` may run again after a conflict, so it has no side effect beside its records.
    /// If it answers an error nothing is changed and no audit row is written.
    pub fn write<T>(
        &self,
        _realm: &OpenRealm,
        _audit: &Audit,
        _work: impl FnMut(&mut Records<'_>) -> Result<T>,
    ) -> Result<T> {
        todo!()
    }
    /// The audit trail, oldest first, hash-chained; a broken chain is `StoreFault::Corrupt`.
    pub fn audit(&self, _realm: &OpenRealm, _page: Page) -> Result<Listed<Audit>> {
        todo!()
    }
}

/// Released when dropped.
pub struct AttemptLock;

/// The records of one realm within one transaction. Every record read is checked against its tag; one that fails is `StoreFault::Corrupt`.
pub struct Records<'a>(std::marker::PhantomData<&'a ()>);

impl Records<'_> {
    pub fn insert_key(&mut self, _key: &Key) -> Result<()> {
        todo!()
    }
    pub fn update_key(&mut self, _key: &Key) -> Result<()> {
        todo!()
    }
    pub fn delete_key(&mut self, _id: Uuid) -> Result<()> {
        todo!()
    }
    pub fn key(&mut self, _id: Uuid) -> Result<Option<Key>> {
        todo!()
    }
    /// Keys that are no certificate's.
    pub fn keys(&mut self, _page: Page) -> Result<Listed<Key>> {
        todo!()
    }

    pub fn insert_version(&mut self, _version: &Version) -> Result<()> {
        todo!()
    }
    pub fn update_version(&mut self, _version: &Version) -> Result<()> {
        todo!()
    }
    pub fn delete_version(&mut self, _id: Uuid) -> Result<()> {
        todo!()
    }
    pub fn version(&mut self, _id: Uuid) -> Result<Option<Version>> {
        todo!()
    }
    /// Oldest first.
    pub fn versions(&mut self, _key: Uuid) -> Result<Vec<Version>> {
        todo!()
    }
    pub fn versions_page(&mut self, _key: Uuid, _page: Page) -> Result<Listed<Version>> {
        todo!()
    }
    /// The version with this public key, by SHA-256 of its SubjectPublicKeyInfo.
    pub fn version_by_public(&mut self, _public: &crate::model::public::PublicKey) -> Result<Option<Version>> {
        todo!()
    }

    /// `Error::AliasExists` if the name is taken.
    pub fn insert_alias(&mut self, _name: &str, _key: Uuid) -> Result<()> {
        todo!()
    }
    /// Binds an existing alias to another key; it becomes that key's youngest alias.
    pub fn update_alias(&mut self, _name: &str, _key: Uuid) -> Result<()> {
        todo!()
    }
    pub fn delete_alias(&mut self, _name: &str) -> Result<()> {
        todo!()
    }
    pub fn alias(&mut self, _name: &str) -> Result<Option<Uuid>> {
        todo!()
    }
    /// Names in the order in which they were bound.
    pub fn aliases(&mut self, _key: Uuid) -> Result<Vec<String>> {
        todo!()
    }
    /// Of one key or all.
    pub fn aliases_page(&mut self, _key: Option<Uuid>, _page: Page) -> Result<Listed<(String, Uuid)>> {
        todo!()
    }

    /// Gives the object its handle.
    pub fn insert_object(&mut self, _object: &mut Object) -> Result<()> {
        todo!()
    }
    pub fn update_object(&mut self, _object: &Object) -> Result<()> {
        todo!()
    }
    pub fn delete_object(&mut self, _handle: u64) -> Result<()> {
        todo!()
    }
    pub fn object(&mut self, _handle: u64) -> Result<Option<Object>> {
        todo!()
    }
    /// By handle, ascending, beginning after `after`, at most `limit`; uses an index for label, id, unique, key and their combination with class.
    pub fn find_objects(&mut self, _query: &Query, _after: u64, _limit: usize) -> Result<Vec<Object>> {
        todo!()
    }

    pub fn insert_certificate(&mut self, _certificate: &Certificate) -> Result<()> {
        todo!()
    }
    pub fn update_certificate(&mut self, _certificate: &Certificate) -> Result<()> {
        todo!()
    }
    pub fn delete_certificate(&mut self, _id: Uuid) -> Result<()> {
        todo!()
    }
    pub fn certificate(&mut self, _id: Uuid) -> Result<Option<Certificate>> {
        todo!()
    }
    pub fn certificates(&mut self, _page: Page) -> Result<Listed<Certificate>> {
        todo!()
    }
    pub fn certificates_of_key(&mut self, _key: Uuid) -> Result<Vec<Certificate>> {
        todo!()
    }

    pub fn insert_intent(&mut self, _intent: &Intent) -> Result<()> {
        todo!()
    }
    pub fn delete_intent(&mut self, _id: Uuid) -> Result<()> {
        todo!()
    }
    pub fn intents(&mut self) -> Result<Vec<Intent>> {
        todo!()
    }
}
