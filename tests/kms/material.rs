//! What becomes of keys and of imported material: lost for good, brought back, kept in the device (S004 chapters 1, 4, 7, 8).

use std::sync::atomic::Ordering;

use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::common::{self, Home, openssl};
use super::import::{external, import, parameters, wrap, wrapping};
use super::{START, World, text};

at_both_levels! {
    s004_006_082_a_deleted_key_is_gone_with_its_material
    s004_059_175_data_keys_make_two_levels
    s004_080_107_the_key_remains_without_its_material
    s004_085_an_external_key_is_rotated_by_another_key
    s004_090_the_wrapping_key_is_rsa_2048
    s004_096_100_when_material_can_be_imported
    s004_158_159_161_162_164_rotation_as_describe_key_tells_it
    s004_169_a_policy_sleeps_in_the_deletion_window_too
}

fn s004_006_082_a_deleted_key_is_gone_with_its_material(level: Level) {
    let world = World::new(level);
    let kms = world.kms();
    let account = Caller::account();
    for origin in ["Aliyun_KMS", "EXTERNAL"] {
        let key = world.key(&[("Origin", origin)]);
        if origin == "EXTERNAL" {
            import(&world, &key, "RSAES_PKCS1_V1_5", &[1; 32]).unwrap();
        }
        let (blob, other) = (world.encrypt(&key), world.key(&[]));
        let data_key = text(&world.done("GenerateDataKey", &[("KeyId", &key)]), "/CiphertextBlob");
        world.done("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
        world.pass_days(7);
        let gone = |when: &str| {
            for blob in [&blob, &data_key] {
                let decrypt = world.refused("Decrypt", &[("CiphertextBlob", blob)]);
                assert_eq!(decrypt, "Forbidden.KeyNotFound", "{when}");
                let again = [("CiphertextBlob", blob.as_str()), ("DestinationKeyId", &other)];
                assert_eq!(world.refused("ReEncrypt", &again), "Forbidden.KeyNotFound", "{when}");
            }
            for action in ["CancelKeyDeletion", "EnableKey", "DescribeKey", "ListKeyVersions"] {
                assert_eq!(world.refused(action, &[("KeyId", &key)]), "Forbidden.KeyNotFound", "{when}: {action}");
            }
            let ask =
                [("KeyId", key.as_str()), ("WrappingAlgorithm", "RSAES_OAEP_SHA_1"), ("WrappingKeySpec", "RSA_2048")];
            assert_eq!(world.refused("GetParametersForImport", &ask), "Forbidden.KeyNotFound", "{when}");
        };
        gone("when the window ends");
        let before = kms.device().map(|device| device.ids().unwrap().len());
        kms.maintain(&account).unwrap();
        gone("after maintain");
        let after = kms.device().map(|device| device.ids().unwrap().len());
        // The key's own object; with it the wrapping pair, whose token has long expired.
        assert!(before.zip(after).is_none_or(|(before, after)| after < before), "{before:?} {after:?}");
        world.decrypts(&world.encrypt(&other)).unwrap();
    }
    assert_eq!(kms.check(&account).unwrap(), []);
}

/// S004-059, S004-175: the KMS holds the key of data keys; a data key encrypts the data, outside.
fn s004_059_175_data_keys_make_two_levels(level: Level) {
    let world = World::new(level);
    let key = world.key(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")]);
    let cipher = |direction: &str, data_key: &str, data: &[u8]| {
        let hex: String = STANDARD.decode(data_key).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        openssl(&format!("enc -aes-256-ctr {direction} -K {hex} -iv {}", "0".repeat(32)), data)
    };
    let made = world.done("GenerateDataKey", &[("KeyId", &key)]);
    let (plain, kept) = (text(&made, "/Plaintext"), text(&made, "/CiphertextBlob"));
    let stored = cipher("-e", &plain, b"the data itself");
    let without = world.done("GenerateDataKeyWithoutPlaintext", &[("KeyId", &key)]);
    assert!(without.get("Plaintext").is_none());
    let later = text(&without, "/CiphertextBlob");
    let open = |blob: &str| text(&world.done("Decrypt", &[("CiphertextBlob", blob)]), "/Plaintext");
    assert_ne!(open(&later), plain);
    let stored_later = cipher("-e", &open(&later), b"more data");

    world.pass_days(31);
    // Whoever asks again follows the rotation; whoever keeps a data key goes on with it.
    let again = world.done("GenerateDataKey", &[("KeyId", &key)]);
    assert_ne!(again["KeyVersionId"], made["KeyVersionId"]);
    assert_eq!(text(&again, "/KeyVersionId"), world.described(&key, "PrimaryKeyVersion"));
    assert_eq!(cipher("-d", &open(&kept), &stored), b"the data itself");
    assert_eq!(cipher("-d", &open(&later), &stored_later), b"more data");
    assert_eq!(open(&kept), plain);
}

fn s004_080_107_the_key_remains_without_its_material(level: Level) {
    let world = World::new(level);
    for by_time in [false, true] {
        let key = world.key(&[("Origin", "EXTERNAL"), ("Description", "External key")]);
        let alias = format!("alias/remains-{by_time}");
        world.done("CreateAlias", &[("KeyId", &key), ("AliasName", &alias)]);
        let (token, public) = parameters(&world, &key, wrapping(level));
        let wrapped = wrap(&public, wrapping(level), &[9; 32]);
        let expires = (world.now.load(Ordering::SeqCst) + 60).to_string();
        let mut give = vec![("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        give.extend(by_time.then_some(("KeyMaterialExpireUnix", expires.as_str())));
        world.done("ImportKeyMaterial", &give);
        let blob = world.encrypt(&alias);
        world.decrypts(&blob).unwrap();
        let version = world.described(&key, "PrimaryKeyVersion");
        if by_time {
            world.now.fetch_add(60, Ordering::SeqCst);
        } else {
            world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
        }
        let use_it = [("KeyId", key.as_str()), ("Plaintext", "aGVsbG8=")];
        assert_eq!(world.refused("Encrypt", &use_it), "Rejected.PendingImport");
        assert_eq!(world.refused("GenerateDataKey", &use_it[..1]), "Rejected.PendingImport");
        assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"));
        // What else there is of it is as before, and is managed like any other key.
        for (field, expected) in
            [("KeyState", "PendingImport"), ("Description", "External key"), ("PrimaryKeyVersion", &version)]
        {
            assert_eq!(world.described(&alias, field), *expected, "{field}");
        }
        world.done("UpdateKeyDescription", &[("KeyId", &key), ("Description", "still here")]);
        assert_eq!(world.described(&key, "Description"), "still here");
        import(&world, &key, wrapping(level), &[9; 32]).unwrap();
        world.decrypts(&blob).unwrap();
        world.done("DisableKey", &[("KeyId", &key)]);
        assert_eq!(world.decrypts(&blob), Err("Rejected.Disabled"));
        world.done("EnableKey", &[("KeyId", &key)]);
        world.decrypts(&blob).unwrap();
    }
}

fn s004_085_an_external_key_is_rotated_by_another_key(level: Level) {
    let world = World::new(level);
    let (old, new) = (external(&world), external(&world));
    let alias = ("AliasName", "alias/rotates");
    import(&world, &old, wrapping(level), &[1; 32]).unwrap();
    world.done("CreateAlias", &[alias, ("KeyId", &old)]);
    let before = world.encrypt("alias/rotates");
    assert_eq!(world.refused("CreateKeyVersion", &[("KeyId", &old)]), "Rejected.UnsupportedOperation");
    assert_eq!(import(&world, &old, wrapping(level), &[2; 32]), Err("InvalidKeyMaterial"));
    import(&world, &new, wrapping(level), &[2; 32]).unwrap();
    world.done("UpdateAlias", &[alias, ("KeyId", &new)]);
    let after = world.encrypt("alias/rotates");
    assert_ne!(before[..48], after[..48], "by another key");
    world.decrypts(&before).unwrap();
    world.decrypts(&after).unwrap();
}

fn s004_090_the_wrapping_key_is_rsa_2048(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let (first, public) = parameters(&world, &key, wrapping(level));
    let told = openssl("pkey -pubin -inform DER -noout -text", &public);
    let told = String::from_utf8(told).unwrap();
    assert!(told.starts_with("Public-Key: (2048 bit)") && told.contains("Exponent: 65537"), "{told}");
    // A new pair and a new token each time.
    let (second, other) = parameters(&world, &key, wrapping(level));
    assert!(first != second && public != other);
    for (algorithm, spec) in [("RSAES_OAEP_SHA_1", "RSA_3072"), ("RSAES_OAEP_SHA_1", "EC_SM2"), ("SM2PKE", "RSA_2048")]
    {
        let ask = [("KeyId", key.as_str()), ("WrappingAlgorithm", algorithm), ("WrappingKeySpec", spec)];
        assert_eq!(world.refused("GetParametersForImport", &ask), "InvalidParameter", "{algorithm} {spec}");
    }
}

fn s004_096_100_when_material_can_be_imported(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let (token, public) = parameters(&world, &key, wrapping(level));
    let wrapped = wrap(&public, wrapping(level), &[5; 32]);
    let give = |expires: Option<i64>| {
        let expires = expires.map(|at| at.to_string());
        let mut all = vec![("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        all.extend(expires.as_deref().map(|at| ("KeyMaterialExpireUnix", at)));
        world.run("ImportKeyMaterial", &all).map(drop).map_err(|fault| fault.code)
    };
    let expiry = || world.described(&key, "MaterialExpireTime");
    // It never had material.
    give(Some(START + 3600)).unwrap();
    assert_eq!(expiry(), "2026-01-01T01:00:00Z");
    let blob = world.encrypt(&key);
    // The expiration is set anew, forward and away.
    give(Some(START + 7200)).unwrap();
    assert_eq!(expiry(), "2026-01-01T02:00:00Z");
    give(Some(0)).unwrap();
    assert_eq!(expiry(), "");
    give(None).unwrap();
    assert_eq!(expiry(), "");
    world.decrypts(&blob).unwrap();
    // It was deleted; it expired.
    world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
    give(Some(START + 60)).unwrap();
    world.decrypts(&blob).unwrap();
    world.now.fetch_add(60, Ordering::SeqCst);
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"));
    give(None).unwrap();
    world.decrypts(&blob).unwrap();
    // A moment that has passed, or is none.
    for past in [1, START, START + 60, -1] {
        assert_eq!(give(Some(past)), Err("InvalidParameter"), "{past}");
    }
}

fn s004_158_159_161_162_164_rotation_as_describe_key_tells_it(level: Level) {
    let world = World::new(level);
    let key = world.key(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")]);
    let told = || {
        ["AutomaticRotation", "RotationInterval", "LastRotationDate", "NextRotationDate"]
            .map(|field| world.described(&key, field))
    };
    let change = |more: &[(&str, &str)]| {
        world.done("UpdateRotationPolicy", &[&[("KeyId", key.as_str())], more].concat());
    };
    assert_eq!(told(), ["Enabled", "31536000s", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"]);
    change(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "604800s")]);
    assert_eq!(told(), ["Enabled", "604800s", "2026-01-01T00:00:00Z", "2026-01-08T00:00:00Z"]);
    // Regularly, and the date of the newest version is the last one.
    for (last, next) in [("08", "15"), ("15", "22")] {
        world.pass_days(7);
        assert_eq!(told()[2..], [format!("2026-01-{last}T00:00:00Z"), format!("2026-01-{next}T00:00:00Z")]);
        let version = ("KeyVersionId", world.described(&key, "PrimaryKeyVersion"));
        let newest = world.done("DescribeKeyVersion", &[("KeyId", &key), (version.0, &version.1)]);
        assert_eq!(text(&newest, "/KeyVersion/CreationDate"), told()[2]);
    }
    world.done("DisableKey", &[("KeyId", &key)]);
    assert_eq!(told(), ["Suspended", "604800s", "2026-01-15T00:00:00Z", ""]);
    world.done("EnableKey", &[("KeyId", &key)]);
    change(&[("EnableAutomaticRotation", "false")]);
    assert_eq!(told(), ["Disabled", "", "2026-01-15T00:00:00Z", ""]);
    world.pass_days(700);
    assert_eq!(told(), ["Disabled", "", "2026-01-15T00:00:00Z", ""]);
}

fn s004_169_a_policy_sleeps_in_the_deletion_window_too(level: Level) {
    let world = World::new(level);
    let key = world.key(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")]);
    let version = world.described(&key, "PrimaryKeyVersion");
    world.done("ScheduleKeyDeletion", &[("KeyId", &key)]);
    world.pass_days(20);
    world.kms().maintain(&Caller::account()).unwrap();
    assert_eq!(world.described(&key, "AutomaticRotation"), "Suspended");
    assert_eq!(world.described(&key, "PrimaryKeyVersion"), version);
    world.done("CancelKeyDeletion", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "AutomaticRotation"), "Enabled");
    assert_ne!(world.described(&key, "PrimaryKeyVersion"), version, "it was due long since");
}

/// S004-064, S004-138, S004-140: what is in the device was made or unwrapped there and does not leave it, and nothing of it
/// is here.
#[test]
fn s004_064_138_140_key_material_stays_in_the_device() {
    let world = World::new(Level::Hsm);
    let made = world.key(&[]);
    let imported = external(&world);
    import(&world, &imported, "RSAES_OAEP_SHA_1", &[0x5a; 32]).unwrap();
    for key in [&made, &imported] {
        world.decrypts(&world.encrypt(key)).unwrap();
    }
    let tool = |more: &str| {
        let mut tool = std::process::Command::new("pkcs11-tool");
        tool.args(["--module", common::softhsm(), "--token-label", "alikms-hsm", "--login", "--pin", "device-pin-1"]);
        tool.args(more.split(' ')).env("SOFTHSM2_CONF", world._home.path("softhsm2.conf"));
        let run = tool.output().unwrap();
        (run.status.success(), String::from_utf8_lossy(&run.stdout).into_owned())
    };
    let (_, listed) = tool("--list-objects --type secrkey");
    let access: Vec<&str> =
        listed.lines().filter_map(|line| line.trim().strip_prefix("Access:")).map(str::trim).collect();
    assert_eq!(access.len(), 2, "{listed}");
    for words in &access {
        let words: Vec<&str> = words.split(", ").collect();
        assert!(words.contains(&"sensitive") && !words.contains(&"extractable"), "{listed}");
    }
    let generated = access.iter().filter(|words| words.contains("always sensitive") && words.contains("local")).count();
    assert_eq!(generated, 1, "one was generated there: {listed}");
    for line in listed.lines().filter_map(|line| line.trim().strip_prefix("ID:")) {
        let (read, out) = tool(&format!("--read-object --type secrkey --id {}", line.trim()));
        assert!(!read && out.is_empty(), "{out}");
    }
    // Nor does the store have the bytes, sealed or not: the record says where the key is.
    let store = std::fs::read_dir(world._home.path("store")).unwrap();
    let mut bytes = Vec::new();
    for file in store {
        bytes.extend(std::fs::read(file.unwrap().path()).unwrap_or_default());
    }
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(br#""Device":{"device":"softhsm""#) && !has(br#""Sealed""#));
    assert!(!has(&[0x5a; 32]) && !has("5a".repeat(32).as_bytes()) && !has(STANDARD.encode([0x5a; 32]).as_bytes()));
}

/// The regions of the cloud that have HSMs are regions like any other here, and each can have a device.
#[test]
fn s004_137_managed_hsm_in_every_region_of_the_document() {
    let regions = "cn-beijing cn-zhangjiakou cn-hangzhou cn-shanghai cn-shenzhen cn-hongkong ap-southeast-1 \
                   ap-southeast-2 ap-southeast-3 ap-southeast-5 us-east-1";
    let home = Home::bare(Level::Hsm);
    let mut conf = home.config_head() + &home.device_table();
    for region in regions.split_whitespace() {
        conf += &Home::token_table(region, common::ACCOUNT, region, Level::Hsm);
    }
    home.write("alikms.toml", conf);
    home.init();
    for region in regions.split_whitespace() {
        let made = home.answer(&["CreateKey", "--ProtectionLevel=HSM", "--KeySpec=EC_P256", "--token", region]);
        let id = text(&made, "/KeyMetadata/KeyId");
        assert_eq!(text(&made, "/KeyMetadata/ProtectionLevel"), "HSM");
        assert_eq!(text(&made, "/KeyMetadata/Arn"), format!("acs:kms:{region}:{}:key/{id}", common::ACCOUNT));
        let here = home.query(&["DescribeRegions", "--token", region], "Regions.Region.0.RegionId");
        assert_eq!(here, region);
    }
}
