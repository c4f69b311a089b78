//! The schema, one step for each version. A step that has been released is never changed: what comes next is a new one.

/// Marks a SQLite file as a store of ours (`PRAGMA application_id`): "ALIK".
pub(super) const APPLICATION: i64 = 0x414C_494B;

/// The version that this program knows (`PRAGMA user_version`).
pub(super) fn known() -> u32 {
    STEPS.len() as u32
}

/// What leads from version `n` to `n + 1`.
///
/// Records (`keys` … `intents`): `body` is the noun as JSON, `tag` authenticates it (`row.rs`), the columns beside them
/// serve searches and must agree with the body. `position` counts insertions: oldest first, pages without a sort.
/// The indexes of `objects` are those that `objects.rs` relies on: `(realm, label, class)` serves a search by label with
/// a class directly, and one without as a merge of one look-up for each class.
pub(super) const STEPS: &[&str] = &[
    "
CREATE TABLE realms (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uuid BLOB NOT NULL UNIQUE,
    label TEXT NOT NULL UNIQUE,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    created INTEGER NOT NULL,
    proof BLOB,
    revision INTEGER NOT NULL
) STRICT;
CREATE TABLE slots (
    realm INTEGER NOT NULL,
    kind TEXT NOT NULL,
    revision INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (realm, kind)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    certificate_id BLOB,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX keys_id ON keys (realm, id);
CREATE INDEX keys_listed ON keys (realm) WHERE certificate_id IS NULL;

CREATE TABLE versions (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    key_id BLOB NOT NULL,
    public BLOB,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX versions_id ON versions (realm, id);
CREATE INDEX versions_key ON versions (realm, key_id);
CREATE INDEX versions_public ON versions (realm, public) WHERE public IS NOT NULL;

CREATE TABLE aliases (
    name TEXT NOT NULL,
    realm INTEGER NOT NULL,
    key_id BLOB NOT NULL,
    bound INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX aliases_name ON aliases (realm, name);
CREATE INDEX aliases_key ON aliases (realm, key_id, bound);
CREATE UNIQUE INDEX aliases_bound ON aliases (realm, bound);

CREATE TABLE objects (
    handle INTEGER PRIMARY KEY AUTOINCREMENT,
    realm INTEGER NOT NULL,
    class INTEGER NOT NULL,
    label BLOB NOT NULL,
    ckid BLOB NOT NULL,
    unique_id BLOB NOT NULL,
    key_id BLOB,
    version_id BLOB,
    certificate_id BLOB,
    shown INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX objects_unique ON objects (realm, unique_id);
CREATE INDEX objects_label ON objects (realm, label, class);
CREATE INDEX objects_ckid ON objects (realm, ckid, class);
CREATE INDEX objects_class ON objects (realm, class, shown);
CREATE INDEX objects_key ON objects (realm, key_id) WHERE key_id IS NOT NULL;
CREATE INDEX objects_version ON objects (realm, version_id) WHERE version_id IS NOT NULL;
CREATE INDEX objects_certificate ON objects (realm, certificate_id) WHERE certificate_id IS NOT NULL;

CREATE TABLE certificates (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    key_id BLOB,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX certificates_id ON certificates (realm, id);
CREATE INDEX certificates_listed ON certificates (realm);
CREATE INDEX certificates_key ON certificates (realm, key_id) WHERE key_id IS NOT NULL;

CREATE TABLE intents (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX intents_id ON intents (realm, id);

CREATE TABLE users (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX users_name ON users (realm, name);

CREATE TABLE policies (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX policies_name ON policies (realm, name);

CREATE TABLE audit (
    realm INTEGER NOT NULL,
    number INTEGER NOT NULL,
    body TEXT NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (realm, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE audit_heads (
    realm INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    hash BLOB NOT NULL,
    tag BLOB NOT NULL
) STRICT;
",
    "
CREATE TABLE uses (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX uses_id ON uses (realm, id);
",
    "
CREATE TABLE replications (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    id BLOB NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX replications_id ON replications (realm, id);
CREATE TABLE refusals (
    position INTEGER PRIMARY KEY,
    realm INTEGER NOT NULL,
    caller TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    tag BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX refusals_caller ON refusals (realm, caller);
",
];
