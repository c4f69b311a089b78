//! Aliases: names of keys that are resources of their own.

use crate::bed::{Bed, fields, is_guid, text, unique};
use crate::common::ACCOUNT;

at_both_levels! {
    s004_012_014_027_a_key_has_any_number_of_aliases
    s004_013_an_alias_is_unique_in_account_and_region
    s004_015_031_update_alias_rebinds_and_leaves_the_keys_alone
    s004_016_033_deleting_an_alias_leaves_the_key
    s004_017_an_alias_is_renamed_by_making_another
    s004_019_020_where_an_alias_is_accepted
    s004_021_an_arn_is_accepted_where_an_alias_is
    s004_023_024_025_how_an_alias_is_written
    s004_172_to_174_manual_rotation_by_alias
}

fn bind(bed: &Bed, alias: &str, key: &str) {
    assert_eq!(fields(&bed.ok("CreateAlias", &[("AliasName", alias), ("KeyId", key)])), "RequestId");
}

fn s004_012_014_027_a_key_has_any_number_of_aliases(bed: &Bed) {
    let key = bed.secret();
    assert!(bed.aliases(&key).is_empty());
    let names: Vec<String> = ["z", "a", "m"].iter().map(|name| unique(name)).collect();
    for name in &names {
        bind(bed, name, &key);
    }
    // The order in which they were bound.
    assert_eq!(bed.aliases(&key), names);
    assert!(names.iter().all(|name| bed.describe(name)["KeyId"] == key));
}

fn s004_013_an_alias_is_unique_in_account_and_region(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.secret());
    let alias = unique("once");
    bind(bed, &alias, &one);
    for key in [&one, &two] {
        assert_eq!(bed.refused("CreateAlias", &[("AliasName", &alias), ("KeyId", key)]), (400, "AliasAlreadyExists"));
    }
    assert_eq!(bed.describe(&alias)["KeyId"], one);
    for token in ["beijing", "other"] {
        let elsewhere = bed.token(token);
        let key = elsewhere.secret();
        bind(&elsewhere, &alias, &key);
        assert_eq!(elsewhere.describe(&alias)["KeyId"], key);
    }
    assert_eq!(bed.describe(&alias)["KeyId"], one);
}

fn s004_015_031_update_alias_rebinds_and_leaves_the_keys_alone(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.secret());
    let alias = unique("moves");
    bind(bed, &alias, &one);
    let before = (bed.describe(&one), bed.describe(&two));
    assert_eq!(fields(&bed.ok("UpdateAlias", &[("AliasName", &alias), ("KeyId", &two)])), "RequestId");
    assert_eq!((bed.describe(&one), bed.describe(&two)), before);
    assert_eq!(bed.describe(&alias)["KeyId"], two);
    assert!(bed.aliases(&one).is_empty());
    // Again the same, and a name that there is not.
    bed.ok("UpdateAlias", &[("AliasName", &alias), ("KeyId", &two)]);
    let missing = unique("missing");
    let refused = bed.refused("UpdateAlias", &[("AliasName", &missing), ("KeyId", &two)]);
    assert_eq!(refused, (404, "Forbidden.AliasNotFound"));
    let nobody = uuid::Uuid::new_v4().to_string();
    let refused = bed.refused("UpdateAlias", &[("AliasName", &alias), ("KeyId", &nobody)]);
    assert_eq!(refused, (404, "Forbidden.KeyNotFound"));
}

fn s004_016_033_deleting_an_alias_leaves_the_key(bed: &Bed) {
    let key = bed.secret();
    let alias = unique("goes");
    bind(bed, &alias, &key);
    assert_eq!(fields(&bed.ok("DeleteAlias", &[("AliasName", &alias)])), "RequestId");
    assert_eq!(bed.state(&key), "Enabled");
    assert_eq!(bed.refused("DescribeKey", &[("KeyId", &alias)]), (404, "Forbidden.AliasNotFound"));
    assert_eq!(bed.refused("DeleteAlias", &[("AliasName", &alias)]), (404, "Forbidden.AliasNotFound"));
}

fn s004_017_an_alias_is_renamed_by_making_another(bed: &Bed) {
    let key = bed.secret();
    let (old, new) = (unique("old"), unique("new"));
    bind(bed, &old, &key);
    bed.ok("DeleteAlias", &[("AliasName", &old)]);
    bind(bed, &new, &key);
    assert_eq!(bed.aliases(&key), [new]);
    // The old name is free for another key.
    bind(bed, &old, &bed.secret());
}

/// Ruling 2 widens S004-019 to everything but aliases themselves and changes of state.
fn s004_019_020_where_an_alias_is_accepted(bed: &Bed) {
    let key = bed.secret();
    let alias = unique("everywhere");
    bind(bed, &alias, &key);
    assert_eq!(bed.describe(&alias)["KeyId"], key);
    assert_eq!(bed.decrypt(&bed.encrypt(&alias, b"x")), b"x");
    assert_eq!(bed.aliases(&alias), [alias.as_str()]);
    assert_eq!(bed.versions(&alias), bed.versions(&key));
    bed.ok("CreateKeyVersion", &[("KeyId", &alias)]);
    let unsupported = (400, "Unsupported.Alias");
    for action in ["EnableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion"] {
        let fault = bed.fault(action, &[("KeyId", &alias)]);
        assert_eq!((fault.status, fault.code), unsupported, "{action}");
        assert_eq!(fault.message, "Alias is not valid for this api.");
    }
    let other = unique("other");
    assert_eq!(bed.refused("CreateAlias", &[("AliasName", &other), ("KeyId", &alias)]), unsupported);
    bind(bed, &other, &key);
    assert_eq!(bed.refused("UpdateAlias", &[("AliasName", &other), ("KeyId", &alias)]), unsupported);
}

fn s004_021_an_arn_is_accepted_where_an_alias_is(bed: &Bed) {
    let key = bed.secret();
    let alias = unique("arn");
    bind(bed, &alias, &key);
    let own = format!("acs:kms:cn-hangzhou:{ACCOUNT}:");
    for name in [format!("{own}key/{key}"), format!("{own}{alias}")] {
        assert_eq!(bed.describe(&name)["KeyId"], key, "{name}");
    }
    // S004-013: what is somebody else's is not found.
    for name in [format!("acs:kms:cn-beijing:{ACCOUNT}:key/{key}"), format!("acs:kms:cn-hangzhou:1:key/{key}")] {
        assert_eq!(bed.refused("DescribeKey", &[("KeyId", &name)]), (404, "Forbidden.KeyNotFound"), "{name}");
    }
    assert_eq!(bed.token("other").refused("DescribeKey", &[("KeyId", &key)]), (404, "Forbidden.KeyNotFound"));
    for name in [format!("{own}secret/x"), "KeyId".into(), key[1..].to_owned(), key.replace('-', "")] {
        assert_eq!(bed.refused("DescribeKey", &[("KeyId", &name)]), (400, "InvalidParameter"), "{name}");
    }
}

fn s004_023_024_025_how_an_alias_is_written(bed: &Bed) {
    let key = bed.secret();
    let tail = uuid::Uuid::new_v4().simple().to_string();
    let longest = format!("alias/{}{tail}", "x".repeat(255 - tail.len()));
    for alias in [format!("alias/a_Z-9/{tail}"), longest.clone()] {
        bind(bed, &alias, &key);
    }
    for alias in [
        "example",
        "alias/",
        "ALIAS/example",
        "alias/ex ample",
        "alias/exämple",
        "alias/ex.ample",
        "alias/ex:ample",
        "alias/acs/oss",
        &format!("{longest}x"),
    ] {
        for action in ["CreateAlias", "UpdateAlias"] {
            let fault = bed.fault(action, &[("AliasName", alias), ("KeyId", &key)]);
            assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{action} {alias}");
            assert!(fault.message.starts_with("The specified parameter \"AliasName\" is not valid."), "{fault:?}");
        }
        assert_eq!(bed.refused("DeleteAlias", &[("AliasName", alias)]), (400, "InvalidParameter"), "{alias}");
    }
}

fn s004_172_to_174_manual_rotation_by_alias(bed: &Bed) {
    let (old, new) = (bed.secret(), bed.secret());
    let alias = unique("MyAppKey");
    bind(bed, &alias, &old);
    let before = bed.encrypt(&alias, b"before");
    bed.ok("UpdateAlias", &[("AliasName", &alias), ("KeyId", &new)]);
    let after = bed.encrypt(&alias, b"after");
    for (blob, key, plaintext) in [(&before, &old, "before"), (&after, &new, "after")] {
        let answer = bed.ok("Decrypt", &[("CiphertextBlob", blob)]);
        assert_eq!(answer["KeyId"], **key);
        assert!(is_guid(&answer["KeyVersionId"]));
        assert_eq!(text(&answer["Plaintext"]), crate::bed::to_base64(plaintext.as_bytes()));
    }
}
