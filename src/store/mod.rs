//! Records that last: what is kept, statement by statement, and a counter that tells every process when something changed.
//! `docs/store.md` describes the files, the tables and what is protected.

mod aliases;
mod attempts;
mod audit;
mod certificates;
mod connect;
mod counter;
mod create;
mod database;
mod files;
mod gate;
mod harvest;
mod intents;
mod keys;
mod objects;
mod ram;
mod realms;
pub mod refusals;
mod replications;
mod row;
mod schema;
mod sqlite;
mod statement;
#[cfg(test)]
mod tests;
mod uses;
mod versions;

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result, StoreFault};
use crate::model::key::Material;
use crate::model::object::Class;
use crate::model::time::Moment;
use crate::seal::Kek;
use crate::seal::slot::Slot;
pub use attempts::AttemptLock;
use database::{Database, Mode, Transaction};
pub use harvest::LOST_USES;
use sqlite::Sqlite;
pub use uses::{Use, Uses};

/// How often a transaction that met a conflict is run.
const RUNS: usize = 5;

/// One store file. Cheap to make; connections are opened when needed, anew in a forked child.
pub struct Store(Box<dyn Database>);

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
    /// Of the key, where the line tells of its use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Uuid>,
    /// How the key was used.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub mechanism: String,
    /// `ok`, or what went wrong. A change is written down if it was made; lines before schema version 2 lack it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
    /// So many uses, from `since` to `at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Moment>,
    pub request: Uuid,
    pub pid: u32,
    pub uid: u32,
    /// By its path.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub program: String,
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

/// A key that brings others from one device of a token to the next; only the devices have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replication {
    /// Its CKA_ID.
    pub id: Uuid,
    /// Names of the devices that were given it.
    pub devices: Vec<String>,
    /// By which it is known from another one in its place.
    #[serde(with = "crate::model::names::base64_bytes")]
    pub proof: Vec<u8>,
    pub created: Moment,
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
    /// A directory that is there already is left as it is, unless it is empty and a group is given: `Error::Config` if the
    /// group cannot enter it.
    pub fn create(path: &Path, group: Option<u32>) -> Result<bool> {
        create::create(path, group)
    }

    /// Makes a store, as [`Self::create`] does, of what [`Self::image`] answered. False, and nothing is touched, if there
    /// is a store already.
    pub fn restore(path: &Path, group: Option<u32>, image: &[u8]) -> Result<bool> {
        create::restore(path, group, image)
    }

    /// Does not touch the file yet.
    pub fn new(path: &Path) -> Self {
        Self(Box::new(Sqlite::new(path)))
    }

    /// A number that is another one whenever any process may have changed a record, a token or a slot since. Costs
    /// nanoseconds while the counter is clean. Whoever keeps what was read asks for it *before* reading.
    /// Failure counts do not move it. Never fails: of a store that cannot be asked it is a new number each time.
    pub fn generation(&self) -> u64 {
        self.0.generation()
    }

    /// One attempt at a PIN at a time over all processes: an advisory lock that dies with its holder. One for all tokens.
    /// Waits for up to 30 seconds, then `StoreFault::Busy`.
    pub fn attempt_lock(&self, _realm: i64) -> Result<AttemptLock> {
        self.0.file_lock("-attempts")
    }

    /// The same for a device at which only one process at a time may make or destroy objects.
    pub fn device_lock(&self) -> Result<AttemptLock> {
        self.0.file_lock("-devices")
    }

    /// While nobody does that, together with others. Waits for up to a second.
    pub fn device_look_lock(&self) -> Result<AttemptLock> {
        self.0.shared_file_lock("-devices")
    }

    /// The same for a device that only one process at a time may log in to.
    pub fn login_lock(&self) -> Result<AttemptLock> {
        self.0.file_lock("-logins")
    }

    /// The same for a pass over all devices of a token.
    pub fn sync_lock(&self) -> Result<AttemptLock> {
        self.0.file_lock("-sync")
    }

    /// Reads at one moment: everything that `work` sees belongs together. `work` is short: the process cannot fork
    /// meanwhile; and it begins no other transaction (`Error::Internal`).
    /// `Error::Locked` if the token was initialised anew, so that this key-encryption key is no longer its own.
    pub fn read<T>(&self, realm: &OpenRealm, work: impl FnOnce(&mut Records<'_>) -> Result<T>) -> Result<T> {
        let mut transaction = self.0.begin(Mode::Read)?;
        let answer = work(&mut Records::open(transaction.as_mut(), realm)?)?;
        transaction.commit()?;
        Ok(answer)
    }

    /// One transaction, with its audit row, whose resource is what `work` found it is about, if it says so. `work` may run again after a conflict, so it has no side effect beside its records.
    /// If it answers an error nothing is changed and no audit row is written. What was said of `work` at [`Store::read`] holds.
    pub fn write<T>(
        &self,
        realm: &OpenRealm,
        audit: &Audit,
        mut work: impl FnMut(&mut Records<'_>) -> Result<T>,
    ) -> Result<T> {
        self.change(Mode::Write, |transaction| {
            let mut records = Records::open(transaction, realm)?;
            let head = records.audit_head()?;
            let answer = work(&mut records)?;
            let mut line = audit.clone();
            if !records.about.is_empty() {
                line.resource = records.about.join(" ");
            }
            records.audit_append(head, &[line])?;
            Ok(answer)
        })
    }

    /// Writes down what happened meanwhile, in one transaction with the records about it: the lines that `work` answers.
    fn note_down(&self, realm: &OpenRealm, mut work: impl FnMut(&mut Records<'_>) -> Result<Vec<Audit>>) -> Result<()> {
        self.change(Mode::Quiet, |transaction| {
            let mut records = Records::open(transaction, realm)?;
            let head = records.audit_head()?;
            let lines = work(&mut records)?;
            records.audit_append(head, &lines)
        })
    }

    /// The whole store, every token's part of it, at one moment, as the bytes of an SQLite file.
    pub fn image(&self) -> Result<Vec<u8>> {
        let mut transaction = self.0.begin(Mode::Read)?;
        let image = transaction.image()?;
        transaction.commit()?;
        Ok(image)
    }

    /// The audit trail, oldest first, hash-chained; a broken chain is `StoreFault::Corrupt`.
    /// Only the rows of the page and the trail's end are checked: read all pages to check all of it.
    pub fn audit(&self, realm: &OpenRealm, page: Page) -> Result<Listed<Audit>> {
        self.read(realm, |records| records.audit_page(page))
    }

    /// A transaction that writes, run again if it met a conflict.
    fn change<T>(&self, mode: Mode, mut work: impl FnMut(&mut dyn Transaction) -> Result<T>) -> Result<T> {
        let mut run = 1;
        loop {
            let mut transaction = self.0.begin(mode)?;
            let outcome = work(transaction.as_mut()).and_then(|answer| transaction.commit().map(|()| answer));
            match outcome {
                Err(Error::Store(StoreFault::Busy)) if run < RUNS => run += 1,
                other => return other,
            }
        }
    }
}

impl<'a> Records<'a> {
    /// Reads what belongs to another realm at the same moment.
    pub fn elsewhere<T>(&mut self, realm: &OpenRealm, work: impl FnOnce(&mut Records<'_>) -> Result<T>) -> Result<T> {
        work(&mut Records::open(&mut *self.transaction, realm)?)
    }

    /// Changes another realm in the same transaction, with an audit row there.
    pub fn change_elsewhere<T>(
        &mut self,
        realm: &OpenRealm,
        audit: &Audit,
        work: impl FnOnce(&mut Records<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut records = Records::open(&mut *self.transaction, realm)?;
        let head = records.audit_head()?;
        let answer = work(&mut records)?;
        records.audit_append(head, std::slice::from_ref(audit))?;
        Ok(answer)
    }
}

/// The records of one realm within one transaction. Every record read is checked against its tag; one that fails is `StoreFault::Corrupt`.
pub struct Records<'a> {
    transaction: &'a mut dyn Transaction,
    realm: &'a OpenRealm,
    /// See [`Records::about`].
    about: Vec<String>,
}
