//! CreateKey, DescribeKey, ScheduleKeyDeletion and what a key is.

use serde_json::json;

use crate::bed::{Bed, DIGEST, fields, is_date, is_guid, text, unique};
use crate::common::ACCOUNT;

at_both_levels! {
    s003_002_to_006_key_pairs_for_signing
    s004_003_id_state_and_level_can_be_viewed
    s004_004_a_new_key_is_enabled
    s004_007_008_009_deletion_is_scheduled
    s004_010_011_a_scheduled_deletion_stops_the_key_and_can_be_cancelled
    s004_040_to_043_113_what_each_kind_can_do
    s004_046_without_a_spec_the_key_is_symmetric
    s004_052_078_079_142_to_146_describe_key
    s004_112_a_key_has_one_usage
    description_has_up_to_8192_characters
    impossible_combinations_are_refused
    s004_077_102_an_external_key_waits_for_its_material
}

/// S003-003 to S003-005 in the documents' words; the level is the bed's.
fn s003_002_to_006_key_pairs_for_signing(bed: &Bed) {
    for spec in ["RSA_2048", "EC_P256", "EC_P256K"] {
        let key = bed.create(&[("KeySpec", spec), ("KeyUsage", "SIGN/VERIFY")]);
        assert_eq!((&key["KeySpec"], &key["KeyUsage"]), (&json!(spec), &json!("SIGN/VERIFY")));
        assert_eq!(key["ProtectionLevel"], bed.level.name());
        assert_eq!(bed.versions(&text(&key["KeyId"])).len(), 1);
    }
}

fn s004_003_id_state_and_level_can_be_viewed(bed: &Bed) {
    let key = bed.secret();
    let seen = bed.describe(&key);
    assert_eq!((seen["KeyId"].as_str(), seen["KeyState"].as_str()), (Some(key.as_str()), Some("Enabled")));
    assert_eq!(seen["ProtectionLevel"], bed.level.name());
}

fn s004_004_a_new_key_is_enabled(bed: &Bed) {
    assert_eq!(bed.create(&[])["KeyState"], "Enabled");
    assert_eq!(bed.create(&[("KeySpec", "EC_P256")])["KeyState"], "Enabled");
}

fn s004_007_008_009_deletion_is_scheduled(bed: &Bed) {
    for days in ["-1", "0", "6", "31", "366"] {
        let key = bed.secret();
        let fault = bed.fault("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", days)]);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
        assert!(
            fault.message.starts_with("The specified parameter \"PendingWindowInDays\" is not valid."),
            "{fault:?}"
        );
        assert_eq!(bed.state(&key), "Enabled");
    }
    for (given, expected) in [(None, 30), (Some("7"), 7), (Some("30"), 30)] {
        let key = bed.secret();
        let mut parameters = vec![("KeyId", key.as_str())];
        parameters.extend(given.map(|days| ("PendingWindowInDays", days)));
        assert_eq!(fields(&bed.ok("ScheduleKeyDeletion", &parameters)), "RequestId");
        let seen = bed.describe(&key);
        assert_eq!(seen["KeyState"], "PendingDeletion");
        let until = seconds(&text(&seen["DeleteDate"])) - seconds(&now());
        assert!((until - expected * 86_400).abs() < 60, "{until} seconds for {expected} days");
    }
}

fn s004_010_011_a_scheduled_deletion_stops_the_key_and_can_be_cancelled(bed: &Bed) {
    let key = bed.secret();
    let blob = bed.encrypt(&key, b"data");
    bed.ok("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
    let rejected = (409, "Rejected.PendingDeletion");
    assert_eq!(bed.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "ZGF0YQ==")]), rejected);
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &blob)]), rejected);
    assert_eq!(bed.refused("GenerateDataKey", &[("KeyId", &key)]), rejected);
    assert_eq!(fields(&bed.ok("CancelKeyDeletion", &[("KeyId", &key)])), "RequestId");
    assert_eq!((bed.state(&key).as_str(), &bed.describe(&key)["DeleteDate"]), ("Enabled", &json!("")));
    assert_eq!(bed.decrypt(&blob), b"data");
}

fn s004_040_to_043_113_what_each_kind_can_do(bed: &Bed) {
    let can = |spec, usage| {
        let parameters = [("KeySpec", spec), ("KeyUsage", usage), ("ProtectionLevel", bed.level.name())];
        bed.run("CreateKey", &parameters).map(|_| ()).map_err(|fault| (fault.status, fault.code))
    };
    let refused = Err((400, "UnsupportedOperation"));
    for (spec, encrypts, signs) in [
        ("Aliyun_AES_256", Ok(()), refused),
        ("RSA_2048", Ok(()), Ok(())),
        ("EC_P256", refused, Ok(())),
        ("EC_P256K", refused, Ok(())),
        ("EC_P384", refused, Ok(())),
    ] {
        assert_eq!((can(spec, "ENCRYPT/DECRYPT"), can(spec, "SIGN/VERIFY")), (encrypts, signs), "{spec}");
    }
}

fn s004_046_without_a_spec_the_key_is_symmetric(bed: &Bed) {
    let key = bed.create(&[]);
    assert_eq!((&key["KeySpec"], &key["KeyUsage"]), (&json!("Aliyun_AES_256"), &json!("ENCRYPT/DECRYPT")));
    // Ruling 6.
    assert_eq!(bed.create(&[("KeySpec", "EC_P256")])["KeyUsage"], "SIGN/VERIFY");
    assert_eq!(bed.create(&[("KeySpec", "RSA_2048")])["KeyUsage"], "ENCRYPT/DECRYPT");
}

fn s004_052_078_079_142_to_146_describe_key(bed: &Bed) {
    let created = bed.create(&[("Description", "Key1 in Managed HSM")]);
    let key = text(&created["KeyId"]);
    let answer = bed.ok("DescribeKey", &[("KeyId", &key)]);
    assert_eq!(fields(&answer), "KeyMetadata RequestId");
    assert!(is_guid(&answer["RequestId"]) && is_guid(&created["KeyId"]));
    let seen = &answer["KeyMetadata"];
    let symmetric = "Arn AutomaticRotation CreationDate Creator DeleteDate DeletionProtection Description KeyId KeySpec \
                     KeyState KeyUsage LastRotationDate MaterialExpireTime Origin PrimaryKeyVersion ProtectionLevel";
    assert_eq!(fields(seen), symmetric);
    assert_eq!(fields(&created), symmetric.replace("DeletionProtection ", ""));
    assert_eq!(seen["Arn"], format!("acs:kms:cn-hangzhou:{ACCOUNT}:key/{key}"));
    assert!(is_date(&seen["CreationDate"]) && is_date(&seen["LastRotationDate"]), "{seen}");
    assert!((seconds(&text(&seen["CreationDate"])) - seconds(&now())).abs() < 120);
    for (name, value) in [
        ("Creator", ACCOUNT),
        ("DeleteDate", ""),
        ("Description", "Key1 in Managed HSM"),
        ("KeySpec", "Aliyun_AES_256"),
        ("KeyState", "Enabled"),
        ("KeyUsage", "ENCRYPT/DECRYPT"),
        ("MaterialExpireTime", ""),
        ("Origin", "Aliyun_KMS"),
        ("ProtectionLevel", bed.level.name()),
        ("AutomaticRotation", "Disabled"),
        ("DeletionProtection", "Disabled"),
        ("PrimaryKeyVersion", &bed.versions(&key)[0]),
    ] {
        assert_eq!(seen[name], value, "{name}");
    }
    // An asymmetric key neither rotates nor has a primary version (S004-115, S004-118).
    let asymmetric = "Arn CreationDate Creator DeleteDate DeletionProtection Description KeyId KeySpec KeyState KeyUsage \
                      MaterialExpireTime Origin ProtectionLevel";
    assert_eq!(fields(&bed.describe(&bed.key("EC_P256", "SIGN/VERIFY"))), asymmetric);
}

fn s004_112_a_key_has_one_usage(bed: &Bed) {
    let refused = (400, "UnsupportedOperation");
    let (key, version) = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    let of = [("KeyId", key.as_str()), ("KeyVersionId", version.as_str())];
    let sign = [of[0], of[1], ("Algorithm", "RSA_PSS_SHA_256"), ("Digest", DIGEST)];
    assert_eq!(bed.refused("AsymmetricSign", &sign), refused);
    let (key, version) = bed.pair("RSA_2048", "SIGN/VERIFY");
    let of = [("KeyId", key.as_str()), ("KeyVersionId", version.as_str())];
    let encrypt = [of[0], of[1], ("Algorithm", "RSAES_OAEP_SHA_256"), ("Plaintext", "YQ==")];
    assert_eq!(bed.refused("AsymmetricEncrypt", &encrypt), (400, "Rejected.UnsupportedOperation"));
}

fn description_has_up_to_8192_characters(bed: &Bed) {
    let longest = "ü".repeat(8192);
    assert_eq!(bed.create(&[("Description", &longest)])["Description"], longest);
    let longer = "ü".repeat(8193);
    let fault = bed.fault("CreateKey", &[("Description", &longer)]);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
    assert!(fault.message.starts_with("The specified parameter \"Description\" is not valid."), "{}", fault.message);
}

fn impossible_combinations_are_refused(bed: &Bed) {
    for (parameters, code) in [
        (&[("KeySpec", "RSA_1024")][..], "InvalidParameter"),
        (&[("KeySpec", "rsa_2048")], "InvalidParameter"),
        (&[("KeySpec", "")], "InvalidParameter"),
        (&[("KeyUsage", "SIGN")], "InvalidParameter"),
        (&[("ProtectionLevel", "hsm")], "InvalidParameter"),
        (&[("Origin", "aliyun_kms")], "InvalidParameter"),
        (&[("KeySpec", "EC_SM2"), ("Origin", "EXTERNAL")], "UnsupportedOperation"),
        (&[("KeySpec", "Aliyun_SM4"), ("KeyUsage", "SIGN/VERIFY")], "UnsupportedOperation"),
        (&[("KeySpec", "RSA_2048"), ("Origin", "EXTERNAL")], "UnsupportedOperation"),
        (&[("DKMSInstanceId", "kst-1")], "UnsupportedOperation"),
    ] {
        assert_eq!(bed.refused("CreateKey", parameters), (400, code), "{parameters:?}");
    }
}

fn s004_077_102_an_external_key_waits_for_its_material(bed: &Bed) {
    let level = bed.level.name();
    let answer = bed.ok("CreateKey", &[("Origin", "EXTERNAL"), ("ProtectionLevel", level)]);
    let seen = &answer["KeyMetadata"];
    assert_eq!((seen["KeyState"].as_str(), seen["Origin"].as_str()), (Some("PendingImport"), Some("EXTERNAL")));
    let key = text(&seen["KeyId"]);
    assert_eq!(bed.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "YQ==")]), (409, "Rejected.PendingImport"));
    assert!(bed.versions(&key).is_empty());
    bed.ok("CreateAlias", &[("KeyId", &key), ("AliasName", &unique("external"))]);
}

/// Seconds since 1970 of a date as the API writes it.
fn seconds(date: &str) -> i64 {
    let parsed = time::OffsetDateTime::parse(date, &time::format_description::well_known::Rfc3339);
    parsed.unwrap().unix_timestamp()
}

fn now() -> String {
    time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339).unwrap()
}
