//! Versions of keys.

use crate::bed::{Bed, DIGEST, fields, is_date, is_guid, text};

at_both_levels! {
    s004_116_118_asymmetric_keys_get_new_pairs_and_have_no_primary
    s004_117_each_version_has_its_own_public_key
    s004_060_061_063_152_to_157_symmetric_keys_rotate_now
    versions_of_strangers_are_not_found
    list_and_describe_versions
}

fn s004_116_118_asymmetric_keys_get_new_pairs_and_have_no_primary(bed: &Bed) {
    let (key, first) = bed.pair("EC_P256", "SIGN/VERIFY");
    let answer = bed.ok("CreateKeyVersion", &[("KeyId", &key)]);
    assert_eq!(fields(&answer), "KeyVersion RequestId");
    let version = &answer["KeyVersion"];
    assert_eq!(fields(version), "CreationDate KeyId KeyVersionId");
    assert!(version["KeyId"] == key && is_guid(&version["KeyVersionId"]) && is_date(&version["CreationDate"]));
    assert_eq!(bed.versions(&key), [first.clone(), text(&version["KeyVersionId"])]);
    assert!(bed.describe(&key).get("PrimaryKeyVersion").is_none());
    // The version is always named (S003-021, S004-118).
    let parameters = [("KeyId", key.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Digest", DIGEST)];
    assert_eq!(bed.refused("AsymmetricSign", &parameters), (400, "MissingParameter"));
    for version in bed.versions(&key) {
        let all = [&parameters[..], &[("KeyVersionId", version.as_str())]].concat();
        assert_eq!(bed.ok("AsymmetricSign", &all)["KeyVersionId"], version);
    }
}

fn s004_117_each_version_has_its_own_public_key(bed: &Bed) {
    let (key, _) = bed.pair("EC_P256", "SIGN/VERIFY");
    bed.ok("CreateKeyVersion", &[("KeyId", &key)]);
    let public =
        |version: &String| text(&bed.ok("GetPublicKey", &[("KeyId", &key), ("KeyVersionId", version)])["PublicKey"]);
    let versions = bed.versions(&key);
    assert_ne!(public(&versions[0]), public(&versions[1]));
    assert_eq!(public(&versions[0]), public(&versions[0]));
}

/// Ruling 4.
fn s004_060_061_063_152_to_157_symmetric_keys_rotate_now(bed: &Bed) {
    let key = bed.secret();
    let primary = |bed: &Bed| text(&bed.describe(&key)["PrimaryKeyVersion"]);
    let first = primary(bed);
    assert_eq!(bed.versions(&key), [first.as_str()]); // S004-157
    let old = bed.encrypt(&key, b"old");
    let answer = bed.ok("CreateKeyVersion", &[("KeyId", &key)]);
    let second = text(&answer["KeyVersion"]["KeyVersionId"]);
    assert_eq!(primary(bed), second);
    assert_eq!(bed.versions(&key), [first.as_str(), second.as_str()]);
    let new = bed.ok("Encrypt", &[("KeyId", &key), ("Plaintext", "bmV3")]);
    assert_eq!(new["KeyVersionId"], second);
    for action in ["GenerateDataKey", "GenerateDataKeyWithoutPlaintext"] {
        assert_eq!(bed.ok(action, &[("KeyId", &key)])["KeyVersionId"], second, "{action}");
    }
    // S004-156: each ciphertext names the version that it needs.
    let opened = bed.ok("Decrypt", &[("CiphertextBlob", &old)]);
    assert_eq!((text(&opened["KeyVersionId"]), bed.decrypt(&old)), (first, b"old".to_vec()));
    assert_eq!(bed.decrypt(&text(&new["CiphertextBlob"])), b"new");
    // S004-155: any number of them stays, in the order of their making, and there is one primary version.
    let all: Vec<String> =
        (0..4).map(|_| text(&bed.ok("CreateKeyVersion", &[("KeyId", &key)])["KeyVersion"]["KeyVersionId"])).collect();
    assert_eq!(bed.versions(&key)[2..], all);
    assert_eq!(primary(bed), all[3]);
    assert_eq!((bed.decrypt(&old), bed.decrypt(&text(&new["CiphertextBlob"]))), (b"old".to_vec(), b"new".to_vec()));
}

fn versions_of_strangers_are_not_found(bed: &Bed) {
    let (key, version) = bed.pair("EC_P256", "SIGN/VERIFY");
    let (other, _) = bed.pair("EC_P256", "SIGN/VERIFY");
    let nobody = uuid::Uuid::new_v4().to_string();
    for action in ["GetPublicKey", "DescribeKeyVersion"] {
        let refused = |key: &str, version: &str| bed.refused(action, &[("KeyId", key), ("KeyVersionId", version)]);
        assert_eq!(refused(&other, &version), (404, "Forbidden.KeyVersionNotFound"));
        assert_eq!(refused(&key, &nobody), (404, "Forbidden.KeyVersionNotFound"));
        assert_eq!(refused(&nobody, &version), (404, "Forbidden.KeyNotFound"));
        assert_eq!(refused(&key, "1"), (400, "InvalidParameter"));
    }
}

fn list_and_describe_versions(bed: &Bed) {
    let (key, version) = bed.pair("EC_P256", "SIGN/VERIFY");
    let answer = bed.ok("ListKeyVersions", &[("KeyId", &key)]);
    assert_eq!(fields(&answer), "KeyVersions PageNumber PageSize RequestId TotalCount");
    assert_eq!(fields(&answer["KeyVersions"]), "KeyVersion");
    let one = &answer["KeyVersions"]["KeyVersion"][0];
    assert_eq!(fields(one), "CreationDate KeyId KeyVersionId");
    let described = bed.ok("DescribeKeyVersion", &[("KeyId", &key), ("KeyVersionId", &version)]);
    assert_eq!(&described["KeyVersion"], one);
}
