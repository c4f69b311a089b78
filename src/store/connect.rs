//! How a SQLite connection is set up, a schema brought up to date, and an empty file made into a store.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::schema;

/// Nothing waits within SQLite, nothing in the file is run as code, what is deleted is overwritten, what is answered lasts.
pub(super) fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_prepared_statement_cache_capacity(64);
    for (config, value) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_DQS_DDL, false),
        (DbConfig::SQLITE_DBCONFIG_DQS_DML, false),
        // Else a search is planned anew for each new argument, because a partial index might suit that one.
        (DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
    ] {
        connection.set_db_config(config, value)?;
    }
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY; PRAGMA secure_delete = ON; PRAGMA cell_size_check = ON;
         PRAGMA journal_size_limit = 16777216;",
    )
}

/// Runs the steps from this version on, within the caller's transaction.
pub(super) fn upgrade(connection: &Connection, from: u32) -> rusqlite::Result<()> {
    for step in schema::STEPS.iter().skip(from as usize) {
        connection.execute_batch(step)?;
    }
    connection.pragma_update(None, "user_version", schema::known())
}

/// Gives an empty file the schema. The caller holds the gate.
pub(super) fn format(path: &Path) -> rusqlite::Result<()> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    configure(&connection)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.pragma_update(None, "application_id", schema::APPLICATION)?;
    upgrade(&connection, 0)?;
    connection.execute_batch("COMMIT")?;
    connection.close().map_err(|(_, error)| error)
}
