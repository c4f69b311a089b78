//! Rows of the store that somebody changed: nothing that is read of them panics, and what does not authenticate is not used.

use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::context::Context;
use alikms_pkcs11::model::{certificate, key};
use arbitrary::{Result, Unstructured};
use rusqlite::types::Value;
use rusqlite::{Connection, params};

use super::world::world;

/// Tables with the columns that name a row there, and the others.
const TABLES: &[(&str, &[&str])] = &[
    ("keys", &["revision", "body", "tag", "id"]),
    ("versions", &["revision", "body", "tag", "key_id", "public"]),
    ("aliases", &["revision", "body", "tag", "key_id", "name"]),
    ("objects", &["revision", "body", "tag", "class", "label", "ckid", "unique_id", "key_id", "shown"]),
    ("certificates", &["revision", "body", "tag", "key_id"]),
    ("users", &["revision", "body", "tag", "name"]),
    ("slots", &["revision", "failures", "body"]),
    ("realms", &["revision", "proof", "account", "region"]),
];

pub fn run(data: &[u8]) {
    // Bodies are JSON, which is read when the tag was found to be right.
    let (_, _) = (serde_json::from_slice::<key::Key>(data), serde_json::from_slice::<key::Version>(data));
    let _ = serde_json::from_slice::<certificate::Certificate>(data);

    let mut data = Unstructured::new(data);
    let Ok((table, columns)) = data.choose(TABLES) else { return };
    let (Ok(column), Ok(row)) = (data.choose(columns), data.arbitrary::<u8>()) else { return };
    let world = world();
    let db = Connection::open(&world.store).unwrap();
    db.busy_timeout(std::time::Duration::from_secs(10)).unwrap();
    let count: i64 = db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap();
    if count == 0 {
        return;
    }
    // Slots have no rowid: they are found by their kind.
    let key = if *table == "slots" { "kind" } else { "rowid" };
    let sql = format!("SELECT {key}, {column} FROM {table} LIMIT 1 OFFSET ?1");
    let at = i64::from(row) % count;
    let (id, old): (Value, Value) = db.query_row(&sql, [at], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let Ok(new) = change(&mut data, &old) else { return };
    // STRICT tables and unique indices refuse some.
    let set = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
    if db.execute(&set, params![new, id]).is_err() {
        return;
    }
    look();
    db.execute(&set, params![old, id]).unwrap();
}

/// Another value, or what stands there cut off behind or with a byte changed.
fn change(data: &mut Unstructured<'_>, old: &Value) -> Result<Value> {
    Ok(match (data.int_in_range(0..=5)?, old) {
        (0, _) => Value::Integer(data.arbitrary()?),
        (1, _) => Value::Text(data.arbitrary::<&str>()?.to_owned()),
        (2, _) => Value::Blob(data.arbitrary::<&[u8]>()?.to_vec()),
        (3, _) => Value::Null,
        (4, Value::Text(text)) => Value::Text(text.chars().take(data.arbitrary::<u8>()?.into()).collect()),
        (4, Value::Blob(blob)) => Value::Blob(blob.iter().copied().take(data.arbitrary::<u8>()?.into()).collect()),
        (_, Value::Blob(blob)) => Value::Blob(flip(blob, data.arbitrary()?, data.arbitrary()?)),
        (_, Value::Text(text)) => {
            let flipped = flip(text.as_bytes(), data.arbitrary()?, data.arbitrary()?);
            String::from_utf8(flipped).map_or(Value::Null, Value::Text)
        }
        (_, old) => old.clone(),
    })
}

fn flip(bytes: &[u8], at: u16, with: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let len = bytes.len().max(1);
    if let Some(byte) = bytes.get_mut(usize::from(at) % len) {
        *byte ^= with;
    }
    bytes
}

/// Everything that reads rows.
fn look() {
    let world = world();
    for action in ["ListKeys", "ListAliases", "ListCertificates", "ListUsers", "ListPolicies"] {
        let _ = world.act(action, &[]);
    }
    for name in &world.names {
        let _ = world.act("DescribeKey", &[("KeyId", name)]);
        let _ = world.act("ListKeyVersions", &[("KeyId", name)]);
        let _ = world.act("GetCertificate", &[("CertificateId", name)]);
    }
    let _ = world.act("Decrypt", &[("CiphertextBlob", &world.names[3])]);
    let digest = "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=";
    let named = [("KeyId", world.names[1].as_str()), ("KeyVersionId", &world.names[4])];
    let _ = world.act("AsymmetricSign", &[named[0], named[1], ("Algorithm", "ECDSA_SHA_256"), ("Digest", digest)]);
    // A second service, which has nothing of it in memory.
    if let Ok(config) = alikms_pkcs11::config::Config::read(&world.conf) {
        let service = alikms_pkcs11::kms::Service::new(config);
        if let Ok(kms) = service.token(None) {
            let _ = kms.unlock();
            let _ = kms.decrypt(&Caller::account(), &[0; 80], &Context::default());
        }
    }
}
