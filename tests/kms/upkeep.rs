//! What time leaves to be done: deletion windows, `maintain`, `check`, the audit trail.

use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::model::time::Moment;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use alikms_pkcs11::kms::Service;

use super::common::Home;
use super::{START, World};

#[test]
fn s004_008_to_011_a_deletion_is_called_off_until_its_window_ends() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let blob = world.encrypt(&key);
    world.done("ScheduleKeyDeletion", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "DeleteDate"), "2026-01-31T00:00:00Z", "30 days if nothing is said");
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingDeletion"));
    world.pass_days(29);
    world.done("CancelKeyDeletion", &[("KeyId", &key)]);
    world.decrypts(&blob).unwrap();
    world.done("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
    world.pass_days(7);
    assert_eq!(world.refused("CancelKeyDeletion", &[("KeyId", &key)]), "Forbidden.KeyNotFound", "S004-006");
    assert_eq!(world.decrypts(&blob), Err("Forbidden.KeyNotFound"));
    for outside in ["6", "31", "0", "-7"] {
        let key = world.key(&[]);
        let given = [("KeyId", key.as_str()), ("PendingWindowInDays", outside)];
        assert_eq!(world.refused("ScheduleKeyDeletion", &given), "InvalidParameter", "{outside}");
    }
}

#[test]
fn maintain_makes_physical_what_is_due() {
    for level in [Level::Software, Level::Hsm] {
        let world = World::new(level);
        let kms = world.kms();
        let at = ("ProtectionLevel", level.name());
        let (doomed, kept) = (world.key(&[at]), world.key(&[at]));
        let rotating = world.key(&[at, ("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")]);
        world.done("CreateAlias", &[("KeyId", &doomed), ("AliasName", "alias/doomed")]);
        world.done("ScheduleKeyDeletion", &[("KeyId", &doomed), ("PendingWindowInDays", "7")]);
        assert_eq!(kms.maintain(&Caller::account()).unwrap(), [""; 0]);
        let devices = || kms.device().map_or(0, |device| device.ids().unwrap().len());
        let before = devices();
        world.pass_days(7);
        assert_eq!(
            kms.maintain(&Caller::account()).unwrap(),
            [format!("deleted key {doomed}, whose deletion window ended"), format!("rotated key {rotating}")]
        );
        // One gone, one new.
        assert_eq!(devices(), before);
        world.decrypts(&world.encrypt(&kept)).unwrap();
        world.done("CreateAlias", &[("KeyId", &kept), ("AliasName", "alias/doomed")]);
        assert_eq!(kms.maintain(&Caller::account()).unwrap(), [""; 0]);
        assert_eq!(kms.check(&Caller::account()).unwrap(), []);
    }
}

#[test]
fn check_misses_a_key_that_is_gone_from_the_device() {
    let world = World::new(Level::Hsm);
    let kms = world.kms();
    world.key(&[("ProtectionLevel", "HSM")]);
    assert_eq!(kms.check(&Caller::account()).unwrap(), []);
    let conf = world._home.path("softhsm2.conf");
    let object = format!("--id {}", kms.device().unwrap().ids().unwrap()[0].simple());
    let mut tool = std::process::Command::new("pkcs11-tool");
    tool.args([
        "--module",
        super::common::softhsm(),
        "--token-label",
        "alikms-hsm",
        "--login",
        "--pin",
        "device-pin-1",
    ]);
    tool.args(["--delete-object", "--type", "secrkey"]).args(object.split(' ')).env("SOFTHSM2_CONF", conf);
    let run = tool.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let findings = World { service: world._home.service(), ..world };
    let found = findings.kms().check(&Caller::account()).unwrap();
    assert_eq!(found.len(), 1);
    assert!(found[0].what.contains("is not on device softhsm") && !found[0].repaired, "{found:?}");
}

/// A crash, or a device that is away, between the record and the device: what is left there is found and destroyed.
#[test]
fn material_that_could_not_be_destroyed_is_destroyed_later() {
    let world = World::new(Level::Hsm);
    let ids = || world.kms().device().unwrap().ids().unwrap().len();
    let key = world.key(&[("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")]);
    super::import::import(&world, &key, "RSAES_OAEP_SHA_1", &[7; 32]).unwrap();
    assert_eq!(ids(), 2, "the material and the pair that wrapped it");
    let (here, away) = (world._home.path("tokens"), world._home.path("away"));
    std::fs::rename(&here, &away).unwrap();
    assert_eq!(world.refused("DeleteKeyMaterial", &[("KeyId", &key)]), "ServiceUnavailableTemporary");
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
    std::fs::rename(&away, &here).unwrap();
    world.pass_days(2);
    let found = super::settled(|| world.kms().check(&Caller::account()));
    assert!(found.len() == 2 && found.iter().all(|finding| finding.repaired), "{found:?}");
    assert_eq!(ids(), 0);
    assert_eq!(world.kms().check(&Caller::account()).unwrap(), []);
}

/// A process that stands still for longer than its intent is believed (a suspended machine) must not answer with a key
/// that `alikms check` of another one took for abandoned and destroyed.
#[test]
fn a_creation_that_was_taken_for_abandoned_is_refused() {
    for action in ["CreateKey", "CreateKeyVersion", "ImportKeyMaterial"] {
        let home = Home::new(Level::Hsm);
        let at = |seconds| -> alikms_pkcs11::kms::realm::Clock { Arc::new(move || Moment(START + seconds)) };
        let config = || alikms_pkcs11::config::Config::read(&home.config()).unwrap();
        let other = Service::with_clock(config(), at(700));
        let (checker, armed) = (other.clone(), Arc::new(AtomicI64::new(i64::MAX)));
        let least = armed.clone();
        // The clock is read once more when the device has made the key: then the other process comes.
        let clock = move || {
            let kms = checker.token(None).unwrap();
            let here = kms.device().unwrap().ids().map_or(0, |ids| ids.len() as i64);
            if here > least.load(Ordering::SeqCst) {
                least.store(i64::MAX, Ordering::SeqCst);
                assert!(kms.check(&Caller::account()).unwrap().iter().all(|finding| finding.repaired));
            }
            Moment(START)
        };
        let service = Service::with_clock(config(), Arc::new(clock));
        let world = World { _home: home, service, now: Arc::default(), level: Level::Hsm };
        let made = world.key(&[("ProtectionLevel", "HSM")]);
        let outer = world.key(&[("ProtectionLevel", "HSM"), ("Origin", "EXTERNAL")]);
        let (token, wrapped) = super::import::wrapped(&world, &outer, "RSAES_OAEP_SHA_1", &[7; 32]);
        armed.store(world.kms().device().unwrap().ids().unwrap().len() as i64, Ordering::SeqCst);
        let answer = match action {
            "CreateKey" => world.run(action, &[("ProtectionLevel", "HSM")]),
            "CreateKeyVersion" => world.run(action, &[("KeyId", &made)]),
            _ => world.run(action, &[("KeyId", &outer), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)]),
        };
        assert_eq!(armed.load(Ordering::SeqCst), i64::MAX, "{action}: the other process never came");
        assert_eq!(answer.map_err(|fault| fault.code), Err("ServiceUnavailableTemporary"), "{action}");
        assert_eq!(other.token(None).unwrap().check(&Caller::account()).unwrap(), [], "{action}");
        world.decrypts(&world.encrypt(&made)).unwrap();
    }
}

#[test]
fn every_change_stands_in_the_audit_trail_with_its_request() {
    let world = World::new(Level::Software);
    let created = world.done("CreateKey", &[]);
    let key = super::text(&created, "/KeyMetadata/KeyId");
    world.pass_days(1);
    world.done("DisableKey", &[("KeyId", &key)]);
    assert_eq!(world.refused("DisableKey", &[("KeyId", "alias/none")]), "Unsupported.Alias");
    let mut lines = Vec::new();
    let read = |since, lines: &mut Vec<(String, String)>| {
        world.kms().audit_trail(&Caller::account(), since, |line| {
            lines.push((line.action.clone(), line.caller.clone()));
            Ok(())
        })
    };
    assert_eq!(read(Moment(START), &mut lines).unwrap(), 3);
    let told = ["CreateKey", "DisableKey", "DisableKey"].map(|action| (action.to_owned(), "account".to_owned()));
    assert_eq!(lines, told, "a refusal too");
    lines.clear();
    read(Moment(START + 1), &mut lines).unwrap();
    assert_eq!(lines, told[1..], "--since");
}

/// A trail may be larger than the memory: it is printed while it is read, also when it turns out to be broken further on.
#[test]
fn the_audit_trail_is_printed_while_it_is_read() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    (0..1200).for_each(|turn| drop(world.done(["DisableKey", "EnableKey"][turn % 2], &[("KeyId", &key)])));
    let home = &world._home;
    let whole = home.alikms(["audit"]);
    assert_eq!((whole.status, whole.stdout.lines().count()), (0, 1201));
    assert_eq!(home.alikms(["audit", "--verify"]).stdout, "the audit trail is whole: 1201 lines\n");
    let store = rusqlite::Connection::open(home.path("store/kms.db")).unwrap();
    store.execute("UPDATE audit SET body = replace(body, 'EnableKey', 'DisableKey') WHERE number = 1201", []).unwrap();
    let broken = home.alikms(["audit"]);
    assert_eq!((broken.status, broken.stdout.lines().count()), (1, 1000), "{}", broken.stderr);
    assert!(whole.stdout.starts_with(&broken.stdout));
    assert_eq!(home.alikms(["audit", "--verify"]).status, 1);
}

#[test]
fn deletion_protection_holds_until_it_is_taken_away() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let arn = world.described(&key, "Arn");
    let on = [
        ("ProtectedResourceArn", arn.as_str()),
        ("EnableDeletionProtection", "true"),
        ("DeletionProtectionDescription", "the shop lives on it"),
    ];
    world.done("SetDeletionProtection", &on);
    assert_eq!(world.described(&key, "DeletionProtection"), "Enabled");
    assert_eq!(world.described(&key, "DeletionProtectionDescription"), "the shop lives on it");
    assert_eq!(world.refused("ScheduleKeyDeletion", &[("KeyId", &key)]), "Rejected.StateModifiedFailed");
    world.done("SetDeletionProtection", &[on[0], ("EnableDeletionProtection", "false")]);
    assert_eq!(world.described(&key, "DeletionProtectionDescription"), "");
    world.done("ScheduleKeyDeletion", &[("KeyId", &key)]);
}

#[test]
fn tags_have_their_limits() {
    let world = World::new(Level::Software);
    let key = world.key(&[("Tags", r#"[{"TagKey":"project","TagValue":"shop"}]"#)]);
    let tag = |tags: &str| world.run("TagResource", &[("KeyId", &key), ("Tags", tags)]).map_err(|fault| fault.code);
    tag(r#"[{"TagKey":"project","TagValue":"other"},{"TagKey":"stage","TagValue":"test"}]"#).unwrap();
    let list = world.done("ListResourceTags", &[("KeyId", &key)]);
    let pairs = |list: &serde_json::Value| {
        let tags = list["Tags"]["Tag"].as_array().unwrap().clone();
        tags.iter().map(|tag| format!("{}={}", tag["TagKey"], tag["TagValue"]).replace('"', "")).collect::<Vec<_>>()
    };
    assert_eq!(pairs(&list), ["project=other", "stage=test"]);
    for wrong in [
        "",
        "{}",
        "[]",
        r#"[{"TagKey":"","TagValue":"v"}]"#,
        r#"[{"TagKey":"aliyun-x","TagValue":"v"}]"#,
        r#"[{"TagKey":"acs:x","TagValue":"v"}]"#,
        r#"[{"TagKey":"a b","TagValue":"v"}]"#,
        r#"[{"TagKey":"a","TagValue":"1"},{"TagKey":"a","TagValue":"2"}]"#,
    ] {
        assert_eq!(tag(wrong), Err("InvalidParameter"), "{wrong}");
    }
    let many: Vec<String> = (0..9).map(|n| format!(r#"{{"TagKey":"k{n}","TagValue":"v"}}"#)).collect();
    assert_eq!(tag(&format!("[{}]", many.join(","))), Err("InvalidParameter"), "11 of 10");
    tag(&format!("[{}]", many[..8].join(","))).unwrap();
    world.done("UntagResource", &[("KeyId", &key), ("TagKeys", r#"["stage","not there"]"#)]);
    assert_eq!(pairs(&world.done("ListResourceTags", &[("KeyId", &key)])).len(), 9);
}

#[test]
fn data_keys_come_in_every_form() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let length = |answer: &serde_json::Value| {
        use base64::Engine;
        let plain = super::text(answer, "/Plaintext");
        base64::engine::general_purpose::STANDARD.decode(plain).unwrap().len()
    };
    for (more, expected) in [
        (vec![], 32),
        (vec![("KeySpec", "AES_256")], 32),
        (vec![("KeySpec", "AES_128")], 16),
        (vec![("NumberOfBytes", "1")], 1),
        (vec![("NumberOfBytes", "1024"), ("KeySpec", "AES_128")], 1024),
    ] {
        let given: Vec<_> = [("KeyId", key.as_str())].into_iter().chain(more).collect();
        let answer = world.done("GenerateDataKey", &given);
        assert_eq!(length(&answer), expected);
        let blob = super::text(&answer, "/CiphertextBlob");
        assert_eq!(world.done("Decrypt", &[("CiphertextBlob", &blob)])["Plaintext"], answer["Plaintext"]);
    }
    for wrong in [("NumberOfBytes", "0"), ("NumberOfBytes", "1025"), ("NumberOfBytes", "x"), ("KeySpec", "AES_512")] {
        assert_eq!(world.refused("GenerateDataKey", &[("KeyId", &key), wrong]), "InvalidParameter", "{wrong:?}");
    }
    let sealed = world.done("GenerateDataKeyWithoutPlaintext", &[("KeyId", &key)]);
    assert!(sealed.get("Plaintext").is_none());

    // Exported to the holder of an asymmetric key of ours, who decrypts what Decrypt answers.
    let holder = world.key(&[("KeySpec", "RSA_2048"), ("KeyUsage", "ENCRYPT/DECRYPT")]);
    let versions = world.done("ListKeyVersions", &[("KeyId", &holder)]);
    let version = super::text(&versions, "/KeyVersions/KeyVersion/0/KeyVersionId");
    let pem = world.done("GetPublicKey", &[("KeyId", &holder), ("KeyVersionId", &version)]);
    let blob: String = super::text(&pem, "/PublicKey").lines().filter(|line| !line.starts_with('-')).collect();
    let to = [
        ("PublicKeyBlob", blob.as_str()),
        ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"),
        ("WrappingKeySpec", "RSA_2048"),
    ];
    let open = |exported: &serde_json::Value| {
        let wrapped = super::text(exported, "/ExportedDataKey");
        let given = [
            ("KeyId", holder.as_str()),
            ("KeyVersionId", &version),
            ("Algorithm", "RSAES_OAEP_SHA_256"),
            ("CiphertextBlob", &wrapped),
        ];
        super::text(&world.done("AsymmetricDecrypt", &given), "/Plaintext")
    };
    let both = world.done("GenerateAndExportDataKey", &[("KeyId", &key), to[0], to[1], to[2]]);
    let blob = super::text(&both, "/CiphertextBlob");
    assert_eq!(super::text(&world.done("Decrypt", &[("CiphertextBlob", &blob)]), "/Plaintext"), open(&both));
    let exported = world.done("ExportDataKey", &[("CiphertextBlob", &blob), to[0], to[1], to[2]]);
    assert_eq!(open(&exported), open(&both));
}
