//! What an engine owes the store: transactions that run the statements of the nouns, a lock, and a change number.
//! Statements are written once, by noun, with `?1`, `?2` … for their arguments; an engine only runs them.

use std::borrow::Cow;

use uuid::Uuid;

use super::attempts::AttemptLock;
use crate::error::{Error, Result};

/// What a transaction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Writes that nobody keeps a copy of (failure counts): they do not move [`Database::generation`].
    Quiet,
    /// Sees one moment of the store, from the first statement on, and writes nothing.
    Read,
    /// The only writer of the store until it ends.
    Write,
}

/// A database. Any number of threads and processes use one at the same time. A thread has one transaction at a time:
/// beginning a second one within it is `Error::Internal`.
pub(super) trait Database: Send + Sync {
    /// `StoreFault::Busy` after ten seconds behind other writers.
    fn begin(&self, mode: Mode) -> Result<Box<dyn Transaction + '_>>;
    /// See [`super::Store::generation`]. Never fails: what cannot be found out has changed.
    fn generation(&self) -> u64;
    /// A lock over all processes, on the file beside the store whose name ends like this. See [`super::Store::attempt_lock`].
    fn file_lock(&self, suffix: &str) -> Result<AttemptLock>;
    /// The same, shared with others who share it.
    fn shared_file_lock(&self, suffix: &str) -> Result<AttemptLock>;
}

/// A transaction; dropping it without `commit` rolls back. The process cannot fork while it lives, so it must be short.
pub(super) trait Transaction {
    /// Runs one statement; the rows that it answers, if it does.
    fn run(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>>;
    /// The whole database as it is to this transaction, as the bytes of a file.
    fn image(&mut self) -> Result<Vec<u8>>;
    /// After this the change is on the disk, and every process's `generation` is another one.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Blob(Cow<'a, [u8]>),
    Int(i64),
    Null,
    Text(Cow<'a, str>),
}

pub(super) type Row = Vec<Value<'static>>;

/// The columns of a row, when there are as many as the statement asks for.
pub(super) fn columns<const N: usize>(row: Row) -> Result<[Value<'static>; N]> {
    row.try_into().map_err(|_| Error::Internal("a statement answered another number of columns".into()))
}

impl Value<'_> {
    pub(super) fn int(&self) -> Result<i64> {
        if let Self::Int(value) = self { Ok(*value) } else { Err(mistyped()) }
    }

    pub(super) fn text(self) -> Result<String> {
        if let Self::Text(value) = self { Ok(value.into_owned()) } else { Err(mistyped()) }
    }

    pub(super) fn blob(self) -> Result<Vec<u8>> {
        if let Self::Blob(value) = self { Ok(value.into_owned()) } else { Err(mistyped()) }
    }

    pub(super) fn uuid(self) -> Result<Uuid> {
        Uuid::from_slice(&self.blob()?).map_err(|_| mistyped())
    }

    /// What a record's tag covers.
    pub(super) fn bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Blob(value) => Cow::Borrowed(value),
            Self::Int(value) => Cow::Owned(value.to_be_bytes().to_vec()),
            Self::Null => Cow::Borrowed(&[]),
            Self::Text(value) => Cow::Borrowed(value.as_bytes()),
        }
    }
}

fn mistyped() -> Error {
    Error::corrupt("a column holds a value of another type")
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

/// Beyond what a column holds: as large as it can be. Handles, counts and limits never get there.
impl From<u64> for Value<'_> {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(Cow::Borrowed(value))
    }
}

impl<'a> From<&'a Uuid> for Value<'a> {
    fn from(value: &'a Uuid) -> Self {
        Self::Blob(Cow::Borrowed(value.as_bytes()))
    }
}

impl<'a, T> From<Option<T>> for Value<'a>
where
    Self: From<T>,
{
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Self::from)
    }
}
