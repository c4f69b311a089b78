//! Automatic rotation (S004 chapter 8).

use std::collections::BTreeSet;

use alikms_pkcs11::api::Params;
use alikms_pkcs11::kms::Kms;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;

use super::{World, text};

at_both_levels! {
    s004_063_old_versions_decrypt_through_years_of_rotation
    s004_163_next_rotation_is_the_last_one_plus_the_interval
    s004_165_an_interval_that_has_passed_rotates_at_once
    s004_167_and_169_a_policy_sleeps_while_the_key_does
    s004_168_the_policy_of_a_key_out_of_use_is_not_changed
    s004_115_and_171_neither_pairs_nor_imported_material_rotate
    s004_160_intervals_are_written_in_four_units
    s004_152_when_many_look_at_once_one_version_is_made
    s004_166_re_encryption_brings_old_ciphertexts_to_the_current_version
}

const ROTATING: &[(&str, &str)] = &[("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")];

fn versions(world: &World, key: &str) -> Vec<String> {
    let answer = world.done("ListKeyVersions", &[("KeyId", key), ("PageSize", "100")]);
    let list = answer["KeyVersions"]["KeyVersion"].as_array().unwrap();
    list.iter().map(|version| text(version, "/KeyVersionId")).collect()
}

fn s004_063_old_versions_decrypt_through_years_of_rotation(level: Level) {
    let world = World::new(level);
    let key = world.key(ROTATING);
    let mut blobs = Vec::new();
    for _ in 0..40 {
        blobs.push(world.encrypt(&key));
        world.pass_days(31);
    }
    assert_eq!(blobs.iter().map(|blob| &blob[..48]).collect::<BTreeSet<_>>().len(), 40, "each by a version of its own");
    assert!(blobs.iter().all(|blob| world.decrypts(blob).is_ok()));
    assert_eq!(versions(&world, &key).len(), 41);
}

fn s004_163_next_rotation_is_the_last_one_plus_the_interval(level: Level) {
    let world = World::new(level);
    let key = world.key(ROTATING);
    assert_eq!(world.described(&key, "AutomaticRotation"), "Enabled");
    assert_eq!(world.described(&key, "RotationInterval"), "2592000s");
    assert_eq!(world.described(&key, "LastRotationDate"), "2026-01-01T00:00:00Z");
    assert_eq!(world.described(&key, "NextRotationDate"), "2026-01-31T00:00:00Z");
    world.pass_days(29);
    assert_eq!(versions(&world, &key).len(), 1);
    world.pass_days(1);
    assert_eq!(world.described(&key, "LastRotationDate"), "2026-01-31T00:00:00Z");
    assert_eq!(world.described(&key, "NextRotationDate"), "2026-03-02T00:00:00Z");
}

fn s004_165_an_interval_that_has_passed_rotates_at_once(level: Level) {
    let world = World::new(level);
    let key = world.key(&[]);
    world.pass_days(100);
    assert_eq!(versions(&world, &key).len(), 1);
    world.done(
        "UpdateRotationPolicy",
        &[("KeyId", &key), ("EnableAutomaticRotation", "true"), ("RotationInterval", "90d")],
    );
    assert_eq!(versions(&world, &key).len(), 2);
}

fn s004_167_and_169_a_policy_sleeps_while_the_key_does(level: Level) {
    let world = World::new(level);
    let key = world.key(ROTATING);
    world.done("DisableKey", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "AutomaticRotation"), "Suspended");
    world.pass_days(60);
    assert_eq!(versions(&world, &key).len(), 1);
    world.done("EnableKey", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "AutomaticRotation"), "Enabled");
    assert_eq!(versions(&world, &key).len(), 2);
}

fn s004_168_the_policy_of_a_key_out_of_use_is_not_changed(level: Level) {
    let world = World::new(level);
    let key = world.key(&[]);
    let change = [("KeyId", key.as_str()), ("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")];
    world.done("DisableKey", &[("KeyId", &key)]);
    assert_eq!(world.refused("UpdateRotationPolicy", &change), "Rejected.Disabled");
    world.done("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
    assert_eq!(world.refused("UpdateRotationPolicy", &change), "Rejected.PendingDeletion");
}

fn s004_115_and_171_neither_pairs_nor_imported_material_rotate(level: Level) {
    let world = World::new(level);
    for more in [("KeySpec", "RSA_2048"), ("KeySpec", "EC_P256"), ("Origin", "EXTERNAL")] {
        let key = world.key(&[more]);
        let change = [("KeyId", key.as_str()), ("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")];
        if more.0 == "Origin" {
            // While there is none, the state is told.
            assert_eq!(world.refused("UpdateRotationPolicy", &change), "Rejected.PendingImport");
            super::import::import(&world, &key, super::import::wrapping(level), &[1; 32]).unwrap();
            assert_eq!(world.refused("CreateKeyVersion", &change[..1]), "Rejected.UnsupportedOperation");
        }
        assert_eq!(world.refused("UpdateRotationPolicy", &change), "Rejected.UnsupportedOperation", "{more:?}");
        world.pass_days(800);
        world.kms().maintain(&Caller::account()).unwrap();
        assert_eq!(versions(&world, &key).len(), 1, "{more:?}");
        let new = [more, ("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")];
        assert_eq!(world.refused("CreateKey", &new), "UnsupportedOperation", "{more:?}");
    }
}

fn s004_160_intervals_are_written_in_four_units(level: Level) {
    let world = World::new(level);
    for (text, seconds) in [("7d", "604800s"), ("168h", "604800s"), ("10080m", "604800s"), ("63072000s", "63072000s")] {
        let key = world.key(&[("EnableAutomaticRotation", "true"), ("RotationInterval", text)]);
        assert_eq!(world.described(&key, "RotationInterval"), seconds);
    }
    for wrong in ["6d", "731d", "7", "d", "-7d", "7.5d", "7w", "", "99999999999999999999d"] {
        let new = [("EnableAutomaticRotation", "true"), ("RotationInterval", wrong)];
        assert_eq!(world.refused("CreateKey", &new), "InvalidParameter", "{wrong:?}");
    }
    assert_eq!(world.refused("CreateKey", &[("EnableAutomaticRotation", "true")]), "MissingParameter");
    assert_eq!(world.refused("CreateKey", &[("RotationInterval", "7d")]), "InvalidParameter");
}

fn s004_152_when_many_look_at_once_one_version_is_made(level: Level) {
    let world = World::new(level);
    let key = world.key(ROTATING);
    world.pass_days(30);
    // Each with connections and memories of its own, as processes have them.
    let others: Vec<_> = (0..4).map(|_| world.again()).collect();
    let entry = alikms_pkcs11::api::find("Encrypt").unwrap();
    let encrypt = |kms: &Kms| {
        let mut params = Params::default();
        params.push("KeyId", key.as_str());
        params.push("Plaintext", "aGVsbG8=");
        text(&entry.run(kms, &Caller::account(), &params, uuid::Uuid::new_v4()).unwrap(), "/KeyVersionId")
    };
    let used: BTreeSet<String> = std::thread::scope(|scope| {
        let kms = others.iter().map(|service| &**service.token(None).unwrap()).chain([world.kms()]);
        let running: Vec<_> = kms.flat_map(|kms| [kms, kms]).map(|kms| scope.spawn(|| encrypt(kms))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let all = versions(&world, &key);
    assert_eq!(all.len(), 2);
    assert_eq!(used, BTreeSet::from([all[1].clone()]), "whoever looks when it is due has the new one");
}

fn s004_166_re_encryption_brings_old_ciphertexts_to_the_current_version(level: Level) {
    let world = World::new(level);
    let key = world.key(&[]);
    let old = world.encrypt(&key);
    world.done("CreateKeyVersion", &[("KeyId", &key)]);
    let answer = world.done("ReEncrypt", &[("CiphertextBlob", &old), ("DestinationKeyId", &key)]);
    assert_eq!(text(&answer, "/KeyVersionId"), world.described(&key, "PrimaryKeyVersion"));
    world.decrypts(&text(&answer, "/CiphertextBlob")).unwrap();
}

#[test]
fn s004_139_keys_in_a_device_rotate_alike() {
    let world = World::new(Level::Hsm);
    let key = world.key(&[ROTATING[0], ROTATING[1], ("ProtectionLevel", "HSM")]);
    let before = world.encrypt(&key);
    world.pass_days(30);
    let after = world.encrypt(&key);
    assert_ne!(before[..48], after[..48]);
    world.decrypts(&before).unwrap();
    world.decrypts(&after).unwrap();
    // Versions, tags and permissions too.
    let asked = world.done("CreateKeyVersion", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "PrimaryKeyVersion"), text(&asked, "/KeyVersion/KeyVersionId"));
    world.done("TagResource", &[("KeyId", &key), ("Tags", r#"[{"TagKey":"team","TagValue":"web"}]"#)]);
    let tags = world.done("ListResourceTags", &[("KeyId", &key)]);
    assert_eq!(text(&tags, "/Tags/Tag/0/TagValue"), "web");
    let other = world.key(&[("ProtectionLevel", "HSM")]);
    let user = world.user("bob", &super::ram::allow("Encrypt", &[super::ram::arn(&format!("key/{key}"))]));
    let encrypt = |key: &str| world.code(&user, "Encrypt", &[("KeyId", key), ("Plaintext", "aGVsbG8=")]);
    assert_eq!((encrypt(&key), encrypt(&other)), ("ok", super::ram::NO));
    assert_eq!(world.code(&user, "Decrypt", &[("CiphertextBlob", &after)]), super::ram::NO);
}
