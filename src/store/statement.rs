//! One statement on a SQLite connection: its arguments, its rows, and what its errors mean to the house.

use std::path::Path;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode};

use super::database::{Row, Value};
use super::sqlite::no_space;
use crate::error::{Error, Result, StoreFault};

/// Runs a statement, prepared before if it was run before. `path` is for errors.
pub(super) fn run(connection: &Connection, path: &Path, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>> {
    let work = || {
        let mut statement = connection.prepare_cached(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query(rusqlite::params_from_iter(args))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next()? {
            out.push((0..width).map(|at| row.get_ref(at).map(own)).collect::<Result<Row, _>>()?);
        }
        Ok(out)
    };
    work().map_err(|error| fault(Some(connection), path, error))
}

/// The one number that a statement answers.
pub(super) fn ask(connection: &Connection, path: &Path, sql: &str) -> Result<i64> {
    let rows = run(connection, path, sql, &[])?;
    rows.first().and_then(|row| row.first()).map_or_else(|| Err(Error::corrupt("a pragma has no answer")), Value::int)
}

/// What an error of SQLite means.
pub(super) fn fault(connection: Option<&Connection>, path: &Path, error: rusqlite::Error) -> Error {
    let at = path.display();
    let rusqlite::Error::SqliteFailure(failure, _) = &error else {
        return Error::Store(StoreFault::Other(format!("{at}: {error}")));
    };
    Error::Store(match failure.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreFault::Busy,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreFault::Corrupt(format!("{at}: {error}")),
        ErrorCode::DiskFull => StoreFault::Full,
        ErrorCode::ReadOnly => StoreFault::ReadOnly(at.to_string()),
        ErrorCode::CannotOpen if !path.exists() => StoreFault::Missing(at.to_string()),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => StoreFault::Other(format!(
            "{at}: {error}; its users belong to the store's group, which may write the file and its directory"
        )),
        ErrorCode::ConstraintViolation => return Error::Internal(format!("a record is there already: {error}")),
        ErrorCode::SystemIoFailure if connection.is_some_and(no_space) => StoreFault::Full,
        _ => StoreFault::Other(format!("{at}: {error}")),
    })
}

fn own(value: ValueRef<'_>) -> Value<'static> {
    match value {
        ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec().into()),
        ValueRef::Integer(number) => Value::Int(number),
        ValueRef::Text(text) => match String::from_utf8(text.to_vec()) {
            Ok(text) => Value::Text(text.into()),
            Err(bytes) => Value::Blob(bytes.into_bytes().into()),
        },
        // No column of ours holds fractions: as NULL it is refused where a value is needed.
        ValueRef::Null | ValueRef::Real(_) => Value::Null,
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Blob(bytes) => ValueRef::Blob(bytes),
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Null => ValueRef::Null,
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}
