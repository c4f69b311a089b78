//! `alikms backup` and `alikms restore`, of a store in use; and what they say of keys in a device.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicBool, Ordering};

use alikms_pkcs11::model::key::Level;

use super::common::Home;

fn ok(home: &Home, words: &[&str]) -> String {
    let run = home.alikms(words);
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{words:?}: {run:?}");
    run.stdout
}

/// Another place for the store, with the same unlock key and device.
fn elsewhere(home: &Home, name: &str) -> String {
    let text = fs::read_to_string(home.config()).unwrap().replace("/store/kms.db", &format!("/{name}/kms.db"));
    home.write(&format!("{name}.toml"), text).display().to_string()
}

#[test]
fn a_store_in_use_is_backed_up_and_restored() {
    let home = Home::new(Level::Software);
    let key = home.query(&["CreateKey"], "KeyMetadata.KeyId");
    let blob = home.query(&["Encrypt", "--KeyId", &key, "--Plaintext", "cGxhaW4="], "CiphertextBlob");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Others write all the time.
        for worker in 0..2 {
            let (home, key, stop) = (&home, &key, &stop);
            scope.spawn(move || {
                for turn in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let alias = format!("alias/w{worker}-{turn}");
                    ok(home, &["CreateAlias", "--KeyId", key, "--AliasName", &alias]);
                }
            });
        }
        for turn in 0..8 {
            let file = format!("backup-{turn}");
            let said = ok(&home, &["backup", &file]);
            assert!(said.contains("the unlock key"), "{said}");
            assert_eq!(fs::metadata(home.path(&file)).unwrap().permissions().mode() & 0o777, 0o600);
        }
        stop.store(true, Ordering::Relaxed);
    });
    for turn in 0..8 {
        let conf = elsewhere(&home, &format!("other-{turn}"));
        ok(&home, &["restore", &format!("backup-{turn}"), "--config", &conf]);
        assert_eq!(ok(&home, &["check", "--config", &conf]), "everything is in order\n");
        ok(&home, &["audit", "--verify", "--config", &conf]);
        let plain = ok(&home, &["Decrypt", "--CiphertextBlob", &blob, "--query", "Plaintext", "--config", &conf]);
        assert_eq!(plain, "cGxhaW4=\n");
        // It can be written to, and the PIN is the same.
        let pin = format!("file:{}", home.path("pin").display());
        ok(&home, &["CreateKey", "--config", &conf, "--pin", &pin]);
    }
    assert!(
        fs::read_dir(home.folder())
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().contains("restore") })
    );
    // Nothing is written over.
    for words in [["restore", "backup-0"], ["backup", "backup-0"]] {
        let run = home.alikms(words);
        assert_eq!(run.status, 1, "{run:?}");
    }
}

#[test]
fn a_backup_that_was_changed_is_not_restored() {
    let home = Home::new(Level::Software);
    home.query(&["CreateKey"], "KeyMetadata.KeyId");
    ok(&home, &["backup", "backup"]);
    let good = fs::read(home.path("backup")).unwrap();
    let conf = elsewhere(&home, "other");
    let refused = |bytes: &[u8], why: &str| {
        home.write("changed", bytes);
        let run = home.alikms(["restore", "changed", "--config", &conf]);
        assert_eq!(run.status, 1, "{why}: {run:?}");
        assert!(run.stderr.contains("damaged") && !home.path("other/kms.db").exists(), "{why}: {run:?}");
    };
    // Any byte of it: the head, the tags, the database.
    for at in (0..600).step_by(7).chain((600..good.len()).step_by(4999)) {
        let mut changed = good.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("byte {at}"));
    }
    for len in [0, 10, 100, 500, good.len() - 1] {
        refused(&good[..len], &format!("{len} bytes"));
    }
    // Another store with the right sum but nobody's tag, and an older backup's tag in front of a newer store.
    home.query(&["CreateKey"], "KeyMetadata.KeyId");
    ok(&home, &["backup", "newer"]);
    let newer = fs::read(home.path("newer")).unwrap();
    let tag = |bytes: &[u8]| bytes.windows(5).position(|part| part == b"\ntag ").unwrap();
    let end = |bytes: &[u8]| bytes.windows(2).position(|part| part == b"\n\n").unwrap();
    refused(&[&newer[..tag(&newer)], &good[tag(&good)..end(&good)], &newer[end(&newer)..]].concat(), "another's tag");
    refused(&[&newer[..=tag(&newer)], &newer[end(&newer)..]].concat(), "no tag");
    // Without the unlock key it is nobody's.
    fs::rename(home.path("unlock.key"), home.path("away")).unwrap();
    let run = home.alikms(["restore", "newer", "--config", &conf]);
    assert!(run.status == 1 && !home.path("other/kms.db").exists(), "{run:?}");
    fs::rename(home.path("away"), home.path("unlock.key")).unwrap();
    ok(&home, &["restore", "newer", "--config", &conf]);
}

#[test]
fn what_is_in_a_device_is_told_and_missed_if_it_is_gone() {
    let home = Home::new(Level::Hsm);
    let words = ["CreateKey", "--KeySpec", "EC_P256", "--KeyUsage", "SIGN/VERIFY", "--ProtectionLevel", "HSM"];
    let (kept, lost) = (home.query(&words, "KeyMetadata.KeyId"), home.query(&words, "KeyMetadata.KeyId"));
    let said = ok(&home, &["backup", "backup"]);
    for key in [&kept, &lost] {
        assert!(said.contains(&format!("the material of key {key}")) && said.contains("device softhsm"), "{said}");
    }
    let conf = elsewhere(&home, "other");
    let said = ok(&home, &["restore", "backup", "--config", &conf]);
    assert!(said.contains(&kept) && said.contains("alikms check"), "{said}");
    assert_eq!(ok(&home, &["check", "--config", &conf]), "everything is in order\n");
    // The device has lost a key since.
    ok(&home, &["ScheduleKeyDeletion", "--KeyId", &lost, "--PendingWindowInDays", "7"]);
    let kms = home.service();
    let kms = kms.token(None).unwrap();
    kms.unlock().unwrap();
    let device = kms.device().unwrap();
    let before = device.ids().unwrap();
    assert_eq!(before.len(), 2);
    let version = home.query(&["ListKeyVersions", "--KeyId", &lost], "KeyVersions.KeyVersion.0.KeyVersionId");
    let id: uuid::Uuid = version.parse().unwrap();
    let material = alikms_pkcs11::model::key::Material::Device {
        device: "softhsm".into(),
        serial: String::new(),
        id: id.as_bytes().to_vec(),
    };
    alikms_pkcs11::protection::Protection::destroy(device, id, &material).unwrap();
    let run = home.alikms(["check", "--config", &conf]);
    assert_eq!(run.status, 1, "{run:?}");
    assert_eq!(run.stdout, format!("wrong: key version {version} is not on device softhsm\n"));
}
