//! The one way in which an authenticated record is written and read.
//!
//! A record is a row: the noun as JSON (`body`), an HMAC under the token's key-encryption key (`tag`) over table, realm,
//! ID, revision and body, and columns beside it that searches need. Whoever can write the file can change all of them;
//! so a row that is read must authenticate, and its columns must say what the body says.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::{Row, Value};
use super::{Listed, OpenRealm, Page, Records};
use crate::error::{Error, Result};

/// Longer than any statement that reads a record, in bytes.
const STATEMENT: usize = 256;

/// A noun that is kept in rows of its own.
pub(super) trait Record: Serialize + DeserializeOwned {
    /// Part of the tag: never renamed.
    const TABLE: &'static str;
    /// The columns beside `realm`, `revision`, `body` and `tag`. The first one is the ID, unique in the realm.
    const COLUMNS: &'static [&'static str];
    /// How an ID is given out by the database is no part of the body: it is taken over here.
    fn identify(&mut self, _id: &Value<'_>) {}
    /// What [`Record::COLUMNS`] hold, as the body has it.
    fn columns(&self) -> Result<Vec<Value<'_>>>;
    /// The error for one that should be there.
    fn missing(&self) -> Error;
}

/// A statement over records of one kind, as [`Records::select`] expects it, in one allocation: it is made for every read.
pub(super) fn reading<R: Record>(rest: &[&str]) -> String {
    let mut sql = String::with_capacity(STATEMENT);
    sql += "SELECT revision, body, tag";
    for column in R::COLUMNS {
        sql += ", ";
        sql += column;
    }
    sql += " FROM ";
    sql += R::TABLE;
    sql += " WHERE realm = ?1 AND ";
    for part in rest {
        sql += part;
    }
    sql
}

impl Records<'_> {
    pub(super) fn insert<R: Record>(&mut self, record: &R) -> Result<()> {
        let columns = record.columns()?;
        let sql = inserting(R::TABLE, R::COLUMNS);
        self.store(&sql, 1, record, columns).map(drop)
    }

    /// Rewrites a record that is there; else [`Record::missing`].
    pub(super) fn update<R: Record>(&mut self, record: &R) -> Result<()> {
        let columns = record.columns()?;
        let [id, ..] = &columns[..] else { return Err(Error::Internal("a record without an ID".into())) };
        let sql = format!("SELECT revision FROM {} WHERE realm = ?1 AND {} = ?2", R::TABLE, R::COLUMNS[0]);
        let found = self.number(&sql, &[self.realm.row.id.into(), id.clone()])?.ok_or_else(|| record.missing())?;
        let sql = updating(R::TABLE, R::COLUMNS);
        self.store(&sql, found.saturating_add(1), record, columns).map(drop)
    }

    /// Runs a statement with realm, revision, body, tag and columns as `?1` … in this order.
    pub(super) fn store<R: Record>(
        &mut self,
        sql: &str,
        revision: i64,
        record: &R,
        columns: Vec<Value<'_>>,
    ) -> Result<Vec<Row>> {
        let body = serde_json::to_string(record).map_err(|error| Error::Internal(format!("{}: {error}", R::TABLE)))?;
        self.put(sql, R::TABLE, revision, &body, columns)
    }

    /// The same, of a record's body: compiled once, not for each kind of record.
    fn put(&mut self, sql: &str, table: &str, revision: i64, body: &str, columns: Vec<Value<'_>>) -> Result<Vec<Row>> {
        let tag = match columns.first() {
            Some(id) => covered(self.realm, table, id, revision, body, |parts| self.realm.kek.tag(parts)),
            None => return Err(Error::Internal("a record without an ID".into())),
        };
        let mut args = vec![self.realm.row.id.into(), revision.into(), body.into(), (&tag[..]).into()];
        args.extend(columns);
        self.transaction.run(sql, &args)
    }

    /// No error if there is none.
    pub(super) fn delete<R: Record>(&mut self, id: Value<'_>) -> Result<()> {
        let sql = format!("DELETE FROM {} WHERE realm = ?1 AND {} = ?2", R::TABLE, R::COLUMNS[0]);
        self.transaction.run(&sql, &[self.realm.row.id.into(), id]).map(drop)
    }

    /// By its ID.
    pub(super) fn one<R: Record>(&mut self, id: Value<'_>) -> Result<Option<R>> {
        Ok(self.select(&reading::<R>(&[R::COLUMNS[0], " = ?2"]), vec![id])?.pop())
    }

    /// Those of this realm for which `rest` holds, a condition (and an order) with its arguments from `?2` on.
    pub(super) fn many<R: Record>(&mut self, rest: &str, args: Vec<Value<'_>>) -> Result<Vec<R>> {
        self.select(&reading::<R>(&[rest]), args)
    }

    /// A page of those for which the condition holds, and how many there are.
    pub(super) fn page<R: Record>(
        &mut self,
        condition: &str,
        order: &str,
        id: Option<Value<'_>>,
        page: Page,
    ) -> Result<Listed<R>> {
        let mut args = vec![self.realm.row.id.into()];
        args.extend(id.clone());
        let sql = format!("SELECT count(*) FROM {} WHERE realm = ?1 AND {condition}", R::TABLE);
        let total = self.number(&sql, &args)?.and_then(|total| u64::try_from(total).ok()).unwrap_or_default();
        let mut args: Vec<Value<'_>> = id.into_iter().collect();
        args.extend([page.limit.into(), page.offset.into()]);
        let (limit, offset) = (args.len(), args.len() + 1);
        let items = self.many(&format!("{condition} ORDER BY {order} LIMIT ?{limit} OFFSET ?{offset}"), args)?;
        Ok(Listed { items, total })
    }

    /// Runs a statement whose columns are those of [`reading`] and whose `?1` is the realm, and checks what it answers.
    pub(super) fn select<R: Record>(&mut self, sql: &str, mut args: Vec<Value<'_>>) -> Result<Vec<R>> {
        args.insert(0, self.realm.row.id.into());
        let rows = self.transaction.run(sql, &args)?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    /// The first column of the first row.
    pub(super) fn number(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Option<i64>> {
        let rows = self.transaction.run(sql, args)?;
        rows.first().and_then(|row| row.first()).filter(|value| **value != Value::Null).map(Value::int).transpose()
    }

    /// A record from its row, if nobody has touched it.
    fn read<R: Record>(&self, mut row: Row) -> Result<R> {
        let columns = row.split_off(row.len().min(3));
        let id = columns.first().unwrap_or(&Value::Null);
        self.authentic(&row, &columns, id).ok_or_else(|| Error::corrupt(format!("{} {}", R::TABLE, name(id))))
    }

    fn authentic<R: Record>(&self, row: &[Value<'_>], columns: &[Value<'_>], id: &Value<'_>) -> Option<R> {
        let mut record: R = serde_json::from_str(self.genuine(R::TABLE, row, id)?).ok()?;
        record.identify(id);
        let agrees = record.columns().ok()? == columns;
        agrees.then_some(record)
    }

    /// The body of a record whose tag is right.
    fn genuine<'r>(&self, table: &str, row: &'r [Value<'_>], id: &Value<'_>) -> Option<&'r str> {
        let [Value::Int(revision), Value::Text(body), Value::Blob(tag)] = row else { return None };
        let right = covered(self.realm, table, id, *revision, body, |parts| self.realm.kek.check(parts, tag));
        right.then_some(&**body)
    }
}

/// What the tag of a record covers, for one use of it.
fn covered<T>(
    realm: &OpenRealm,
    table: &str,
    id: &Value<'_>,
    revision: i64,
    body: &str,
    use_it: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let (table, realm) = (table.as_bytes(), realm.row.uuid.as_bytes());
    use_it(&[table, realm, &id.bytes(), &revision.to_be_bytes(), body.as_bytes()])
}

/// The statement for a new record: realm, revision, body and tag are `?1` to `?4`, the columns follow.
fn inserting(table: &str, columns: &[&str]) -> String {
    let places: Vec<String> = (5..columns.len() + 5).map(|at| format!("?{at}")).collect();
    let (names, places) = (columns.join(", "), places.join(", "));
    format!("INSERT INTO {table} (realm, revision, body, tag, {names}) VALUES (?1, ?2, ?3, ?4, {places})")
}

/// The same for one that is there, found by the first of its columns.
fn updating(table: &str, columns: &[&str]) -> String {
    let sets: Vec<String> = columns.iter().zip(5..).skip(1).map(|(name, at)| format!(", {name} = ?{at}")).collect();
    let (sets, id) = (sets.concat(), columns.first().unwrap_or(&"rowid"));
    format!("UPDATE {table} SET revision = ?2, body = ?3, tag = ?4{sets} WHERE realm = ?1 AND {id} = ?5")
}

/// An ID for a person to read.
fn name(id: &Value<'_>) -> String {
    match id {
        Value::Blob(bytes) => {
            uuid::Uuid::from_slice(bytes).map_or_else(|_| "with an ID that is none".into(), |id| id.to_string())
        }
        Value::Int(number) => number.to_string(),
        Value::Null => "without an ID".into(),
        Value::Text(text) => text.chars().filter(|char| !char.is_control()).take(300).collect(),
    }
}
