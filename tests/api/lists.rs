//! Lists: their shape, order and pages. They have a token of their own, which no other test grows.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::bed::{Bed, fields, text};

at_both_levels! {
    s004_034_036_list_aliases
    s004_037_039_list_aliases_by_key_id
    list_keys
    page_numbers_and_sizes
}

/// One list at a time: they share a token at each level.
static TURN: Mutex<()> = Mutex::new(());

fn items<'a>(answer: &'a Value, outer: &str, inner: &str) -> Vec<&'a Value> {
    answer[outer][inner].as_array().unwrap().iter().collect()
}

fn s004_034_036_list_aliases(bed: &Bed) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bed = bed.token("lists");
    let before = bed.ok("ListAliases", &[])["TotalCount"].as_u64().unwrap();
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let alias = crate::bed::unique("listed");
    bed.ok("CreateAlias", &[("AliasName", &alias), ("KeyId", &key)]);
    let last = (before + 1).to_string();
    let answer = bed.ok("ListAliases", &[("PageNumber", &last), ("PageSize", "1")]);
    assert_eq!(fields(&answer), "Aliases PageNumber PageSize RequestId TotalCount");
    assert_eq!((&answer["PageNumber"], &answer["PageSize"]), (&json!(before + 1), &json!(1)));
    assert_eq!(answer["TotalCount"], before + 1);
    assert_eq!(fields(&answer["Aliases"]), "Alias");
    let expected = json!({
        "AliasArn": format!("acs:kms:cn-hangzhou:3000000000000003:{alias}"), "AliasName": alias, "KeyId": key,
    });
    assert_eq!(items(&answer, "Aliases", "Alias"), [&expected]);
    // All of this account and region, and none of another.
    let elsewhere = bed.token("beijing");
    let foreign = crate::bed::unique("foreign");
    let key = elsewhere.key("EC_P256", "SIGN/VERIFY");
    elsewhere.ok("CreateAlias", &[("AliasName", &foreign), ("KeyId", &key)]);
    let mut seen = Vec::new();
    for number in 1..=(before + 1) / 100 + 1 {
        let answer = bed.ok("ListAliases", &[("PageNumber", &number.to_string()), ("PageSize", "100")]);
        seen.extend(items(&answer, "Aliases", "Alias").iter().map(|alias| text(&alias["AliasName"])));
    }
    assert_eq!(seen.len() as u64, before + 1);
    assert!(seen.contains(&alias) && !seen.contains(&foreign));
}

fn s004_037_039_list_aliases_by_key_id(bed: &Bed) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bed = bed.token("lists");
    let (key, other) = (bed.key("EC_P256", "SIGN/VERIFY"), bed.key("EC_P256", "SIGN/VERIFY"));
    let names: Vec<String> = (0..12).map(|at| crate::bed::unique(&format!("n{at}"))).collect();
    for name in &names {
        bed.ok("CreateAlias", &[("AliasName", name), ("KeyId", &key)]);
    }
    bed.ok("CreateAlias", &[("AliasName", &crate::bed::unique("else")), ("KeyId", &other)]);
    let page = |number: &str| {
        let answer = bed.ok("ListAliasesByKeyId", &[("KeyId", &key), ("PageNumber", number)]);
        assert_eq!((&answer["TotalCount"], &answer["PageSize"]), (&json!(12), &json!(10)));
        items(&answer, "Aliases", "Alias").iter().map(|alias| text(&alias["AliasName"])).collect::<Vec<_>>()
    };
    assert_eq!((page("1"), page("2"), page("3")), (names[..10].to_vec(), names[10..].to_vec(), vec![]));
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(bed.refused("ListAliasesByKeyId", &[("KeyId", &nobody)]), (404, "Forbidden.KeyNotFound"));
}

fn list_keys(bed: &Bed) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let bed = bed.token("lists");
    let count = |filters: &str| {
        let parameters = [("Filters", filters), ("PageSize", "100")];
        bed.ok("ListKeys", if filters.is_empty() { &parameters[1..] } else { &parameters })["TotalCount"]
            .as_u64()
            .unwrap()
    };
    let state = |values: &str| format!("[{{\"Key\":\"KeyState\",\"Values\":[{values}]}}]");
    let (all, disabled) = (count(""), count(&state("\"Disabled\"")));
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    bed.ok("DisableKey", &[("KeyId", &key)]);
    assert_eq!((count(""), count(&state("\"Disabled\""))), (all + 1, disabled + 1));
    assert_eq!(count(&state("\"Disabled\",\"Enabled\",\"PendingDeletion\"")), all + 1);
    assert_eq!(count("[{\"Key\":\"KeySpec\",\"Values\":[\"RSA_4096\"]}]"), 0);
    let level = format!("[{{\"Key\":\"ProtectionLevel\",\"Values\":[\"{}\"]}}]", bed.level.name());
    assert_eq!(count(&level), all + 1);

    let answer = bed.ok("ListKeys", &[("PageSize", "100")]);
    assert_eq!(fields(&answer), "Keys PageNumber PageSize RequestId TotalCount");
    // Oldest first.
    let arn = format!("acs:kms:cn-hangzhou:3000000000000003:key/{key}");
    assert_eq!(items(&answer, "Keys", "Key").last(), Some(&&json!({ "KeyArn": arn, "KeyId": key })));
    for filters in ["{}", "[{\"Key\":\"Colour\",\"Values\":[\"red\"]}]", "[{\"Key\":\"KeyState\"}]", "KeyState"] {
        assert_eq!(bed.refused("ListKeys", &[("Filters", filters)]), (400, "InvalidParameter"), "{filters}");
    }
    // The key of a certificate is no CMK.
    let subject = "CN=userName,OU=kms,O=aliyun,C=CN";
    bed.ok("CreateCertificate", &[("KeySpec", "EC_P256"), ("Subject", subject), ("ProtectionLevel", bed.level.name())]);
    assert_eq!(count(""), all + 1);
}

fn page_numbers_and_sizes(bed: &Bed) {
    for action in ["ListKeys", "ListAliases"] {
        for (name, value) in [
            ("PageNumber", "0"),
            ("PageNumber", "-1"),
            ("PageNumber", "x"),
            ("PageNumber", "99999999999999999999"),
            ("PageSize", "0"),
            ("PageSize", "101"),
            ("PageSize", "1.5"),
        ] {
            let fault = bed.fault(action, &[(name, value)]);
            assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{action} {name}={value}");
            assert!(fault.message.contains(&format!("\"{name}\"")), "{}", fault.message);
        }
        let answer = bed.ok(action, &[("PageNumber", "1000000"), ("PageSize", "100")]);
        let list = answer.as_object().unwrap().values().find(|value| value.is_object()).unwrap();
        assert!(list.as_object().unwrap().values().all(|list| list.as_array().unwrap().is_empty()), "{answer}");
    }
}
