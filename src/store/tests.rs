//! What no door reaches: tampering, counters, limits, the planner's choices.

use std::fs;
use std::path::PathBuf;

use rusqlite::Connection;

use super::database::Value;
use super::files::beside;
use super::*;
use crate::model::certificate::{Certificate, CertificateStatus, Source};
use crate::model::curve::Curve;
use crate::model::key::{Door, Key, KeyState, KeyUsage, Level, Origin, Style, Version};
use crate::model::object::Object;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::seal::slot::{Cost, SlotKind};

pub(super) struct Fixture {
    pub(super) store: Store,
    pub(super) realm: OpenRealm,
    pub(super) path: PathBuf,
    _directory: tempfile::TempDir,
}

impl Fixture {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store").join("alikms.db");
        assert!(Store::create(&path, None).unwrap());
        let store = Store::new(&path);
        let kek = Arc::new(Kek::generate());
        let row = store.create_realm(&realm("token"), &[slot(SlotKind::UserPin, &kek)]).unwrap();
        Self { store, realm: OpenRealm { row, kek }, path, _directory: directory }
    }

    /// The file as an attacker or `sqlite3` sees it.
    pub(super) fn raw(&self) -> Raw {
        let hold = crate::fork::hold();
        Raw { connection: Connection::open(&self.path).unwrap(), _hold: hold }
    }

    pub(super) fn write<T>(&self, work: impl FnMut(&mut Records<'_>) -> Result<T>) -> T {
        self.store.write(&self.realm, &audit(), work).unwrap()
    }

    fn read<T>(&self, work: impl FnOnce(&mut Records<'_>) -> Result<T>) -> Result<T> {
        self.store.read(&self.realm, work)
    }
}

/// A connection beside the store's. No test forks while it lives: a child would inherit SQLite's own locks as they are.
pub(super) struct Raw {
    connection: Connection,
    _hold: crate::fork::Hold,
}

impl std::ops::Deref for Raw {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

pub(super) fn realm(label: &str) -> RealmRow {
    let (account, region) = ("1".into(), "cn".into());
    RealmRow { id: 0, uuid: Uuid::new_v4(), label: label.into(), account, region, created: Moment(1) }
}

fn slot(kind: SlotKind, kek: &Kek) -> Slot {
    Slot::with_pin_cost(kind, "realm", b"1234", kek, Cost { memory_kib: 8, passes: 1 }).unwrap()
}

pub(super) fn audit() -> Audit {
    let (caller, action) = ("account".into(), "CreateKey".into());
    Audit {
        at: Moment(1),
        caller,
        action,
        resource: "key".into(),
        version: None,
        mechanism: String::new(),
        outcome: "ok".into(),
        count: None,
        since: None,
        request: Uuid::new_v4(),
        pid: 1,
        uid: 2,
        program: "/usr/bin/alikms".into(),
    }
}

pub(super) fn key(number: u8) -> Key {
    Key {
        id: Uuid::from_bytes([number; 16]),
        spec: Spec::default_spec(),
        usage: KeyUsage::EncryptDecrypt,
        origin: Origin::AliyunKms,
        level: Level::Software,
        state: KeyState::Enabled,
        description: String::new(),
        creator: "1".into(),
        created: Moment(1),
        delete_at: None,
        material_expires: None,
        primary: None,
        promoted: None,
        style: Style::Envelope,
        door: Door::Kms,
        certificate: None,
        former_names: Vec::new(),
        deletion_protection: false,
        deletion_protection_description: String::new(),
        rotation_interval: None,
        tags: Default::default(),
        policy: None,
        material_digest: Vec::new(),
    }
}

fn version(number: u8, key: u8) -> Version {
    let public = PublicKey::Ec { curve: Curve::P256, point: [&[4][..], &[number; 64]].concat() };
    let id = Uuid::from_bytes([number; 16]);
    Version {
        id,
        key: Uuid::from_bytes([key; 16]),
        created: Moment(1),
        material: None,
        public: Some(public),
        retired: false,
    }
}

fn certificate(number: u8, key: Option<u8>) -> Certificate {
    Certificate {
        id: Uuid::from_bytes([number; 16]),
        status: CertificateStatus::Active,
        key: key.map(|key| Uuid::from_bytes([key; 16])),
        exportable: true,
        subject: "CN=a".into(),
        leaf: vec![1],
        ..Certificate::new(Source::Uploaded, Moment(1))
    }
}

fn object(class: Class, label: &str, key: u8) -> Object {
    Object {
        handle: 0,
        unique: Uuid::new_v4(),
        class,
        label: label.into(),
        id: vec![key],
        key: Some(Uuid::from_bytes([key; 16])),
        version: None,
        certificate: None,
        value: Vec::new(),
        hidden: false,
        users: 0,
        shown: true,
        labelled: false,
        identified: false,
        attributes: Default::default(),
        created: Moment(1),
    }
}

const ALL: Page = Page { offset: 0, limit: 100 };

pub(super) fn is_corrupt<T>(outcome: Result<T>, names: &str) -> bool {
    matches!(outcome, Err(Error::Store(StoreFault::Corrupt(what))) if what.contains(names))
}

#[test]
fn every_noun_comes_back_as_it_went_in() {
    let fixture = Fixture::new();
    let (mut one, two, hidden) = (key(1), key(2), Key { certificate: Some(Uuid::nil()), ..key(3) });
    let (ids, names) = ([one.id, two.id], ["alias/a", "alias/b"]);
    let intent =
        Intent { id: Uuid::new_v4(), kind: IntentKind::Create, version: one.id, material: None, at: Moment(1) };
    fixture.write(|records| {
        [&one, &two, &hidden].into_iter().try_for_each(|key| records.insert_key(key))?;
        (1..4).try_for_each(|number| records.insert_version(&version(number, 1)))?;
        names.iter().try_for_each(|name| records.insert_alias(name, ids[0]))?;
        assert_eq!(records.insert_alias("alias/a", ids[1]), Err(Error::AliasExists("alias/a".into())));
        records.insert_certificate(&certificate(7, Some(1)))?;
        records.insert_certificate(&certificate(8, None))?;
        records.insert_intent(&intent)
    });
    one.description = "changed".into();
    fixture.write(|records| records.update_key(&one));
    fixture
        .read(|records| {
            assert_eq!(records.key(one.id)?.as_ref(), Some(&one));
            assert_eq!(records.keys(ALL)?, Listed { items: vec![one.clone(), two.clone()], total: 2 });
            assert_eq!(records.keys(Page { offset: 1, limit: 1 })?, Listed { items: vec![two.clone()], total: 2 });
            assert_eq!(records.versions(one.id)?, [version(1, 1), version(2, 1), version(3, 1)]);
            assert_eq!(records.versions_page(one.id, Page { offset: 2, limit: 5 })?.items, [version(3, 1)]);
            assert_eq!(records.version_by_public(version(2, 1).public.as_ref().unwrap())?, Some(version(2, 1)));
            assert_eq!(records.aliases(one.id)?, names);
            assert_eq!(records.certificates(ALL)?.items, [certificate(7, Some(1)), certificate(8, None)]);
            assert_eq!(records.certificates_of_key(one.id)?, [certificate(7, Some(1))]);
            assert_eq!(records.intents()?, std::slice::from_ref(&intent));
            assert!(matches!(records.insert_key(&key(9)), Err(Error::Internal(_))));
            Ok(())
        })
        .unwrap();
    fixture.write(|records| {
        records.update_alias("alias/a", ids[1])?;
        records.insert_alias("alias/c", ids[1])?;
        records.update_alias("alias/a", ids[0])?;
        assert_eq!(records.aliases(ids[0])?, ["alias/b", "alias/a"]);
        assert_eq!(records.aliases_page(None, ALL)?.total, 3);
        assert_eq!(records.update_alias("alias/x", ids[0]), Err(Error::AliasNotFound("alias/x".into())));
        records.delete_alias("alias/b")?;
        assert_eq!(records.aliases_page(Some(ids[0]), ALL)?.items, [("alias/a".to_owned(), ids[0])]);
        assert_eq!(records.update_key(&key(5)), Err(Error::KeyNotFound(key(5).id.to_string())));
        records.delete_intent(intent.id)
    });
    // Nothing is left of a change that failed, its audit row neither.
    let lines = fixture.store.audit(&fixture.realm, ALL).unwrap();
    let failed: Result<()> = fixture.store.write(&fixture.realm, &audit(), |records| {
        records.delete_key(one.id)?;
        Err(Error::Locked)
    });
    assert_eq!(failed, Err(Error::Locked));
    assert!(fixture.read(|records| records.key(one.id)).unwrap().is_some());
    assert_eq!((lines.total, fixture.store.audit(&fixture.realm, ALL).unwrap()), (3, lines));
}

#[test]
fn searches_page_by_handle_and_each_one_is_a_look_up() {
    let fixture = Fixture::new();
    let mut objects: Vec<Object> = (0..40u8)
        .map(|at| Object {
            shown: at % 3 != 0,
            ..object(Class::ALL[at as usize % 5], ["a", "b"][at as usize % 2], at % 7)
        })
        .collect();
    fixture.write(|records| objects.iter_mut().try_for_each(|object| records.insert_object(object)));
    let choices = |on: bool| if on { vec![false, true] } else { vec![false] };
    let mut plans = Vec::new();
    for bits in 0..32u32 {
        for shown_only in choices(true) {
            let model = &objects[17];
            let query = Query {
                class: (bits & 1 != 0).then_some(model.class),
                label: (bits & 2 != 0).then(|| model.label.clone()),
                id: (bits & 4 != 0).then(|| model.id.clone()),
                unique: (bits & 8 != 0).then_some(model.unique),
                key: (bits & 16 != 0).then_some(model.key).flatten(),
                shown_only,
                ..Query::default()
            };
            let wanted = |object: &&Object| {
                query.class.is_none_or(|class| class == object.class)
                    && query.label.as_ref().is_none_or(|label| *label == object.label)
                    && query.id.as_ref().is_none_or(|id| *id == object.id)
                    && query.unique.is_none_or(|unique| unique == object.unique)
                    && query.key.is_none_or(|key| Some(key) == object.key)
                    && (object.shown || !shown_only)
            };
            let expected: Vec<Object> = objects.iter().filter(wanted).cloned().collect();
            let (mut found, mut after) = (Vec::new(), 0);
            while let Ok(page) = fixture.read(|records| records.find_objects(&query, after, 3)) {
                let Some(last) = page.last() else { break };
                after = last.handle;
                found.extend(page);
            }
            assert_eq!(found, expected, "{query:?}");
            let lead = ["unique_id", "ckid", "label", "key_id", "shown"];
            let given = [query.unique.is_some(), query.id.is_some(), query.label.is_some(), query.key.is_some(), true];
            let lead = lead.into_iter().zip(given).find_map(|(column, given)| given.then_some(column)).unwrap();
            plans.push((objects::search(&query).0, lead));
        }
    }
    let version = Query { version: Some(Uuid::nil()), key: Some(Uuid::nil()), ..Query::default() };
    plans.push((objects::search(&version).0, "version_id"));
    let certificate = Query { certificate: Some(Uuid::nil()), shown_only: true, ..Query::default() };
    plans.push((objects::search(&certificate).0, "certificate_id"));
    let lists = [
        "FROM keys WHERE realm = ?1 AND certificate_id IS NULL ORDER BY position LIMIT ?2 OFFSET ?3",
        "FROM versions WHERE realm = ?1 AND key_id = ?2 ORDER BY position",
        "FROM versions WHERE realm = ?1 AND public = ?2 ORDER BY position LIMIT 1",
        "FROM aliases WHERE realm = ?1 AND key_id = ?2 ORDER BY bound",
        "FROM aliases WHERE realm = ?1 AND bound > 0 ORDER BY bound LIMIT ?2",
        "FROM certificates WHERE realm = ?1 AND position > 0 ORDER BY position LIMIT ?2",
        "FROM certificates WHERE realm = ?1 AND key_id = ?2 ORDER BY position",
        "FROM audit WHERE realm = ?1 AND number >= ?2 AND number <= ?3 ORDER BY number",
    ];
    plans.extend(lists.map(|list| (format!("SELECT body {list}"), "realm")));
    plans.push(("SELECT max(bound) FROM aliases WHERE realm = ?1".into(), "realm"));
    let mut transaction = fixture.store.0.begin(Mode::Read).unwrap();
    for (sql, lead) in plans {
        let args = vec![Value::Int(1); (1..10).filter(|number| sql.contains(&format!("?{number}"))).count()];
        for row in transaction.run(&format!("EXPLAIN QUERY PLAN {sql}"), &args).unwrap() {
            let Some(Value::Text(step)) = row.last() else { panic!("no plan") };
            assert!(!step.contains("SCAN") && !step.contains("TEMP B-TREE"), "{sql}: {step}");
            let search = step.contains("SEARCH");
            assert!(!search || step.contains(&format!("{lead}=?")), "{sql}: {step}");
        }
    }
}

#[test]
fn a_row_that_was_touched_is_not_believed() {
    let fixture = Fixture::new();
    let mut shown = object(Class::PrivateKey, "a", 1);
    fixture.write(|records| {
        records.insert_key(&key(1))?;
        records.insert_version(&version(1, 1))?;
        records.insert_alias("alias/a", key(1).id)?;
        records.insert_certificate(&certificate(1, Some(1)))?;
        records.insert_object(&mut shown)
    });
    let raw = fixture.raw();
    let before = fs::read(&fixture.path).unwrap().len();
    for (table, change) in [
        ("keys", "body = replace(body, 'Enabled', 'Disabled')"),
        ("keys", "tag = zeroblob(32)"),
        ("keys", "tag = x''"),
        ("keys", "revision = revision + 1"),
        ("keys", "certificate_id = x'00'"),
        ("versions", "key_id = zeroblob(16)"),
        ("versions", "public = NULL"),
        ("versions", "body = replace(body, 'false', 'true')"),
        ("aliases", "key_id = zeroblob(16)"),
        ("aliases", "bound = 77"),
        ("aliases", "name = 'alias/b'"),
        ("certificates", "key_id = NULL"),
        ("objects", "label = x'62'"),
        ("objects", "class = 2"),
        ("objects", "shown = 0"),
        ("objects", "handle = handle + 1"),
        ("objects", "body = '{}'"),
    ] {
        raw.execute_batch(&format!("SAVEPOINT s; CREATE TEMP TABLE old AS SELECT rowid AS r, * FROM {table}")).unwrap();
        raw.execute(&format!("UPDATE {table} SET {change}"), []).unwrap();
        raw.execute_batch("RELEASE s").unwrap();
        let outcome = fixture.read(|records| {
            records.key(key(1).id)?;
            records.version(version(1, 1).id)?;
            records.aliases_page(None, ALL)?;
            records.certificates(ALL)?;
            records.find_objects(&Query::default(), 0, 10)
        });
        assert!(is_corrupt(outcome, table), "{table} {change}");
        let names: Vec<String> = {
            let mut statement = raw.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).unwrap();
            statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let names = names.join(", ");
        raw.execute_batch(&format!(
            "DELETE FROM {table}; INSERT INTO {table} ({names}) SELECT {names} FROM old; DROP TABLE old"
        ))
        .unwrap();
    }
    assert!(fixture.read(|records| records.key(key(1).id)).unwrap().is_some());
    assert!(before > 0);
    // A record of another token, and one sealed under another key.
    let other = OpenRealm { kek: Arc::new(Kek::generate()), ..fixture.realm.clone() };
    assert_eq!(fixture.store.read(&other, |records| records.key(key(1).id)), Err(Error::Locked));
    raw.execute("UPDATE realms SET proof = NULL", []).unwrap();
    assert!(is_corrupt(fixture.store.read(&other, |records| records.key(key(1).id)), "keys"));
}

#[test]
fn writers_of_two_stores_lose_nothing() {
    let fixture = Fixture::new();
    let other = Store::new(&fixture.path);
    std::thread::scope(|scope| {
        for number in 0..4u8 {
            let (store, realm) = (if number % 2 == 0 { &fixture.store } else { &other }, &fixture.realm);
            scope.spawn(move || {
                for at in 0..10 {
                    store.write(realm, &audit(), |records| records.insert_key(&key(number * 10 + at))).unwrap();
                    assert!(store.read(realm, |records| records.key(key(number * 10 + at).id)).unwrap().is_some());
                }
            });
        }
    });
    assert_eq!(fixture.read(|records| records.keys(ALL)).unwrap().total, 40);
    assert_eq!(fixture.store.audit(&fixture.realm, ALL).unwrap().items.len(), 40);
    assert_eq!(other.generation() >> 63, 0);
    let nested = fixture.read(|_| other.realms());
    assert!(matches!(nested, Err(Error::Internal(_))));
}

#[test]
fn slots_and_a_token_made_anew() {
    let fixture = Fixture::new();
    let (store, id) = (&fixture.store, fixture.realm.row.id);
    fixture.write(|records| records.insert_key(&key(1)));
    let first = store.slot(id, SlotKind::UserPin).unwrap().unwrap();
    store.set_failures(id, SlotKind::UserPin, 2).unwrap();
    assert_eq!(store.slot(id, SlotKind::UserPin).unwrap(), Some(SlotRow { failures: 2, ..first.clone() }));
    store.remove_slot(id, SlotKind::UserPin).unwrap();
    assert_eq!(store.set_failures(id, SlotKind::UserPin, 0), Err(Error::PinNotSet));
    assert!(matches!(store.set_slot(id, &slot(SlotKind::UserPin, &Kek::generate())), Err(Error::Internal(_))));
    store.set_slot(id, &slot(SlotKind::UserPin, &fixture.realm.kek)).unwrap();
    assert!(store.slot(id, SlotKind::UserPin).unwrap().unwrap().revision > first.revision);
    assert!(matches!(store.create_realm(&realm("token"), &[]), Err(Error::InvalidParameter { .. })));

    let kek = Arc::new(Kek::generate());
    store.reset_realm(id, "new", &[slot(SlotKind::SoPin, &kek)]).unwrap();
    assert_eq!(fixture.read(|records| records.key(key(1).id)), Err(Error::Locked));
    let anew = OpenRealm { kek, ..fixture.realm.clone() };
    assert_eq!(store.read(&anew, |records| records.keys(ALL)).unwrap().total, 0);
    assert_eq!((store.slot(id, SlotKind::UserPin).unwrap(), &store.realms().unwrap()[0].label[..]), (None, "new"));

    let lock = store.attempt_lock(id).unwrap();
    let waiting = std::thread::scope(|scope| {
        let second = scope.spawn(|| store.attempt_lock(id).is_ok());
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!second.is_finished());
        drop(lock);
        second.join().unwrap()
    });
    assert!(waiting);
}

#[test]
fn faults_are_called_by_their_names() {
    let fixture = Fixture::new();
    let mut transaction = fixture.store.0.begin(Mode::Write).unwrap();
    let pages = transaction.run("PRAGMA page_count", &[]).unwrap()[0][0].int().unwrap();
    transaction.run(&format!("PRAGMA max_page_count = {}", pages + 2), &[]).unwrap();
    transaction.commit().unwrap();
    let before = fixture.store.generation();
    let large = Key { description: "x".repeat(100_000), ..key(1) };
    let full = fixture.store.write(&fixture.realm, &audit(), |records| records.insert_key(&large));
    assert_eq!(full, Err(Error::Store(StoreFault::Full)));
    assert_eq!(fixture.store.generation(), before);
    fixture.write(|records| records.insert_key(&large));

    fixture.raw().pragma_update(None, "user_version", 99).unwrap();
    let newer = Err(Error::Store(StoreFault::Newer { found: 99, known: 3 }));
    assert_eq!(fixture.store.realms(), newer);
    fixture.raw().pragma_update(None, "user_version", 3).unwrap();
    assert_eq!(fixture.store.realms().unwrap().len(), 1);

    // Another file under the name: the open connections are not used on.
    fs::rename(&fixture.path, beside(&fixture.path, "-away")).unwrap();
    assert!(matches!(fixture.store.realms(), Err(Error::Store(StoreFault::Missing(_)))));
    for content in
        [&b""[..], b"not a database, but long enough to be looked at as if it were one. ".repeat(20).as_slice()]
    {
        fs::write(&fixture.path, content).unwrap();
        assert!(is_corrupt(fixture.store.realms(), "alikms.db"));
    }
    assert!(!Store::create(&fixture.path, None).unwrap());
}

/// A store of schema version 1, from before the uses of keys were written down.
#[test]
fn an_older_store_is_brought_up_to_date() {
    let fixture = Fixture::new();
    fixture.write(|records| records.insert_key(&key(1)));
    let old = r#"{"at":1,"caller":"account","action":"CreateKey","resource":"key","request":"00000000-0000-0000-0000-000000000000","pid":1,"uid":2}"#;
    let line: Audit = serde_json::from_str(old).unwrap();
    assert_eq!((line.outcome.as_str(), line.program.as_str(), line.count), ("", "", None));
    fixture
        .raw()
        .execute_batch("DROP TABLE replications; DROP TABLE refusals; DROP TABLE uses; PRAGMA user_version = 1")
        .unwrap();
    let store = Store::new(&fixture.path);
    assert!(store.read(&fixture.realm, |records| records.key(key(1).id)).unwrap().is_some());
    let uses = Uses::new(&fixture.path);
    let used = Use {
        at: Moment(7),
        caller: "user/ü",
        action: "Decrypt",
        key: key(1).id,
        version: version(1, 1).id,
        mechanism: "AES_GCM",
        outcome: "ok",
        request: None,
    };
    (0..3).for_each(|_| uses.note(&store, &fixture.realm, &used).unwrap());
    uses.harvest(&store, &fixture.realm, Moment(8), true).unwrap();
    uses.harvest(&store, &fixture.realm, Moment(9), true).unwrap();
    let lines = store.audit(&fixture.realm, ALL).unwrap().items;
    let last = lines.last().unwrap();
    assert_eq!((lines.len(), last.count, last.since, last.at), (2, Some(3), Some(Moment(7)), Moment(7)));
    assert_eq!((last.caller.as_str(), last.resource.clone()), ("user/ü", key(1).id.to_string()));
}
