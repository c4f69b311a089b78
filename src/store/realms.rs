//! Tokens and their slots. Read before any key is open, so nothing here is authenticated but what the slots themselves wrap.

use super::database::{Mode, Row, Transaction, Value, columns};
use super::{OpenRealm, RealmRow, Records, SlotRow, Store};
use crate::error::{Error, Result, StoreFault};
use crate::model::time::Moment;
use crate::seal::slot::{Slot, SlotKind};

const REALM: &str = "SELECT id, uuid, label, account, region, created FROM realms";
/// Everything that belongs to a realm.
const TABLES: &[&str] = &[
    "slots",
    "keys",
    "versions",
    "aliases",
    "objects",
    "certificates",
    "intents",
    "replications",
    "users",
    "policies",
    "audit",
    "audit_heads",
    "uses",
    "refusals",
];

impl Store {
    pub fn realms(&self) -> Result<Vec<RealmRow>> {
        let mut transaction = self.0.begin(Mode::Read)?;
        let rows = realms(transaction.as_mut())?;
        transaction.commit()?;
        Ok(rows)
    }

    /// `Error::InvalidParameter` if the label or the UUID is taken. All slots hold the same key-encryption key.
    pub fn create_realm(&self, row: &RealmRow /* id ignored */, slots: &[Slot]) -> Result<RealmRow> {
        let proof = common_proof(slots)?;
        self.change(Mode::Write, |transaction| {
            free(transaction, "label", row.label.as_str().into(), None)?;
            free(transaction, "uuid", (&row.uuid).into(), None)?;
            let made = transaction.run(
                "INSERT INTO realms (uuid, label, account, region, created, proof, revision)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0) RETURNING id",
                &[
                    (&row.uuid).into(),
                    row.label.as_str().into(),
                    row.account.as_str().into(),
                    row.region.as_str().into(),
                    row.created.0.into(),
                    proof.into(),
                ],
            )?;
            let id = made.first().and_then(|row| row.first()).ok_or_else(gone)?.int()?;
            slots.iter().try_for_each(|slot| put(transaction, id, slot))?;
            Ok(RealmRow { id, ..row.clone() })
        })
    }

    /// C_InitToken: forgets every record of the realm, and replaces its slots. Whoever has the former key-encryption key
    /// open gets `Error::Locked` from now on.
    pub fn reset_realm(&self, realm: i64, label: &str, slots: &[Slot]) -> Result<()> {
        let proof = common_proof(slots)?;
        self.change(Mode::Write, |transaction| {
            free(transaction, "label", label.into(), Some(realm))?;
            for table in TABLES {
                transaction.run(&format!("DELETE FROM {table} WHERE realm = ?1"), &[realm.into()])?;
            }
            let sql = "UPDATE realms SET label = ?2, proof = ?3 WHERE id = ?1 RETURNING id";
            let found = transaction.run(sql, &[realm.into(), label.into(), proof.into()])?;
            found.first().ok_or_else(gone)?;
            slots.iter().try_for_each(|slot| put(transaction, realm, slot))
        })
    }

    pub fn slot(&self, realm: i64, kind: SlotKind) -> Result<Option<SlotRow>> {
        let mut transaction = self.0.begin(Mode::Read)?;
        let found = slot(transaction.as_mut(), realm, kind)?;
        transaction.commit()?;
        Ok(found)
    }

    /// Inserts or replaces; failures become 0. `Error::Internal` for a slot of another key-encryption key than the token's.
    pub fn set_slot(&self, realm: i64, slot: &Slot) -> Result<()> {
        self.change(Mode::Write, |transaction| {
            let sql = "UPDATE realms SET proof = coalesce(proof, ?2) WHERE id = ?1 RETURNING proof";
            let row =
                transaction.run(sql, &[realm.into(), slot.proof().into()])?.into_iter().next().ok_or_else(gone)?;
            let [proof] = columns(row)?;
            if proof.blob()? != slot.proof() {
                return Err(Error::Internal("a slot must hold the key-encryption key of its token".into()));
            }
            put(transaction, realm, slot)
        })
    }

    /// No error if there is none.
    pub fn remove_slot(&self, realm: i64, kind: SlotKind) -> Result<()> {
        self.change(Mode::Write, |transaction| {
            let sql = "DELETE FROM slots WHERE realm = ?1 AND kind = ?2";
            transaction.run(sql, &[realm.into(), kind.name().as_str().into()]).map(drop)
        })
    }

    /// Durable when it returns; `Error::PinNotSet` if there is no such slot. Does not move [`Store::generation`].
    pub fn set_failures(&self, realm: i64, kind: SlotKind, failures: u32) -> Result<()> {
        self.change(Mode::Quiet, |transaction| {
            let sql = "UPDATE slots SET failures = ?3 WHERE realm = ?1 AND kind = ?2 RETURNING failures";
            let found =
                transaction.run(sql, &[realm.into(), kind.name().as_str().into(), i64::from(failures).into()])?;
            found.first().map(drop).ok_or(Error::PinNotSet)
        })
    }
}

impl<'a> Records<'a> {
    /// `Error::Locked` unless the realm is still the one that the key-encryption key belongs to.
    pub(super) fn open(transaction: &'a mut dyn Transaction, realm: &'a OpenRealm) -> Result<Self> {
        let rows = transaction.run("SELECT uuid, proof FROM realms WHERE id = ?1", &[realm.row.id.into()])?;
        let [uuid, proof] = columns(rows.into_iter().next().ok_or_else(gone)?)?;
        if uuid.uuid()? != realm.row.uuid {
            return Err(gone());
        }
        if proof != Value::Null && proof.blob()? != realm.kek.proof() {
            return Err(Error::Locked);
        }
        Ok(Self { transaction, realm, about: Vec::new() })
    }
}

impl Records<'_> {
    /// As [`Store::realms`], at the moment of this transaction.
    pub fn realms(&mut self) -> Result<Vec<RealmRow>> {
        realms(self.transaction)
    }

    /// As [`Store::slot`], at the moment of this transaction.
    pub fn slot(&mut self, realm: i64, kind: SlotKind) -> Result<Option<SlotRow>> {
        slot(self.transaction, realm, kind)
    }
}

fn realms(transaction: &mut dyn Transaction) -> Result<Vec<RealmRow>> {
    transaction.run(&format!("{REALM} ORDER BY id"), &[])?.into_iter().map(realm).collect()
}

fn slot(transaction: &mut dyn Transaction, realm: i64, kind: SlotKind) -> Result<Option<SlotRow>> {
    let sql = "SELECT body, revision, failures FROM slots WHERE realm = ?1 AND kind = ?2";
    let rows = transaction.run(sql, &[realm.into(), kind.name().as_str().into()])?;
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let [body, revision, failures] = columns(row)?;
    let broken = || Error::corrupt(format!("slots {}", kind.name()));
    let slot: Slot = serde_json::from_str(&body.text()?).map_err(|_| broken())?;
    if slot.kind != kind {
        return Err(broken());
    }
    // A count that is none counts as the worst.
    let failures = u32::try_from(failures.int()?).unwrap_or(u32::MAX);
    Ok(Some(SlotRow { slot, revision: revision.int()?, failures }))
}

fn gone() -> Error {
    Error::Store(StoreFault::Other("the token is no longer in it".into()))
}

fn realm(row: Row) -> Result<RealmRow> {
    let [id, uuid, label, account, region, created] = columns(row)?;
    Ok(RealmRow {
        id: id.int()?,
        uuid: uuid.uuid()?,
        label: label.text()?,
        account: account.text()?,
        region: region.text()?,
        created: Moment(created.int()?),
    })
}

/// What all these slots prove; none if there are none.
fn common_proof(slots: &[Slot]) -> Result<Option<&[u8]>> {
    let first = slots.first().map(Slot::proof);
    if slots.iter().any(|slot| Some(slot.proof()) != first) {
        return Err(Error::Internal("the slots of a token must hold the same key-encryption key".into()));
    }
    Ok(first)
}

/// Is this value of a unique column not that of another realm?
fn free(transaction: &mut dyn Transaction, column: &'static str, value: Value<'_>, own: Option<i64>) -> Result<()> {
    let sql = format!("SELECT id FROM realms WHERE {column} = ?1 AND id <> ?2");
    match transaction.run(&sql, &[value, own.unwrap_or_default().into()])?.is_empty() {
        true => Ok(()),
        false => Err(Error::invalid(column, "another token of the store has it")),
    }
}

/// Puts a slot in place under a revision that the realm never gave to another.
fn put(transaction: &mut dyn Transaction, realm: i64, slot: &Slot) -> Result<()> {
    let body = serde_json::to_string(slot).map_err(|error| Error::Internal(format!("slots: {error}")))?;
    let sql = "UPDATE realms SET revision = revision + 1 WHERE id = ?1 RETURNING revision";
    let row = transaction.run(sql, &[realm.into()])?.into_iter().next().ok_or_else(gone)?;
    let [revision] = columns(row)?;
    transaction.run(
        "INSERT INTO slots (realm, kind, revision, failures, body) VALUES (?1, ?2, ?3, 0, ?4)
         ON CONFLICT (realm, kind) DO UPDATE SET revision = excluded.revision, failures = 0, body = excluded.body",
        &[realm.into(), slot.kind.name().as_str().into(), revision, body.as_str().into()],
    )?;
    Ok(())
}
