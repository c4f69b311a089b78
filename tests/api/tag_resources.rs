//! Tags of several keys at once: TagResources, ListTagResources, UntagResources.

use serde_json::Value;
use uuid::Uuid;

use crate::bed::{Bed, text};

at_both_levels! {
    tags_of_several_keys
    tags_of_several_keys_are_changed_all_or_none
    lists_are_json_or_numbered
}

const KEY: [(&str, &str); 2] = [("RegionId", "cn-hangzhou"), ("ResourceType", "key")];

fn with<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&KEY[..], more].concat()
}

fn ids(keys: &[&str]) -> String {
    format!("{keys:?}")
}

/// `id name=value`, in order.
fn rows(answer: &Value) -> Vec<String> {
    let mut rows: Vec<String> = answer["TagResources"]["TagResource"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            assert_eq!(row["ResourceType"], "key");
            format!("{} {}={}", text(&row["ResourceId"]), text(&row["TagKey"]), text(&row["TagValue"]))
        })
        .collect();
    rows.sort();
    rows
}

fn tags_of_several_keys(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.key("EC_P256", "SIGN/VERIFY"));
    let project = format!("project-{}", Uuid::new_v4());
    let both = ids(&[&one, &two]);
    let tags = format!(r#"[{{"Key":"{project}","Value":"shop"}},{{"Key":"stage"}}]"#);
    bed.ok("TagResources", &with(&[("ResourceId", &both), ("Tag", &tags)]));
    let of = |key: &str| bed.ok("ListResourceTags", &[("KeyId", key)])["Tags"]["Tag"].as_array().unwrap().len();
    assert_eq!((of(&one), of(&two)), (2, 2));
    bed.ok("TagResource", &[("KeyId", &two), ("Tags", r#"[{"TagKey":"stage","TagValue":"test"}]"#)]);

    let list = |more: &[(&str, &str)]| rows(&bed.ok("ListTagResources", &with(more)));
    let mut all = vec![
        format!("{one} {project}=shop"),
        format!("{one} stage="),
        format!("{two} {project}=shop"),
        format!("{two} stage=test"),
    ];
    all.sort();
    assert_eq!(list(&[("ResourceId", &both)]), all);
    let having = format!(r#"[{{"Key":"{project}"}}]"#);
    assert_eq!(list(&[("Tag", &having)]), all, "of all keys");
    let test = format!(r#"[{{"Key":"{project}"}},{{"Key":"stage","Value":"test"}}]"#);
    assert_eq!(list(&[("Tag", &test)]), all.iter().filter(|row| row.starts_with(&two)).cloned().collect::<Vec<_>>());
    assert_eq!(list(&[("ResourceId", &ids(&[&one])), ("Tag", &test)]), [""; 0]);

    bed.ok("UntagResources", &with(&[("ResourceId", &both), ("TagKey", r#"["stage","not there"]"#)]));
    assert_eq!((of(&one), of(&two)), (1, 1));
    assert_eq!(bed.refused("UntagResources", &with(&[("ResourceId", &both)])), (400, "MissingParameter"));
    bed.ok("UntagResources", &with(&[("ResourceId", &both), ("All", "true")]));
    assert_eq!((of(&one), of(&two)), (0, 0));
}

fn tags_of_several_keys_are_changed_all_or_none(bed: &Bed) {
    let (key, going) = (bed.secret(), bed.secret());
    bed.ok("ScheduleKeyDeletion", &[("KeyId", &going)]);
    let nobody = Uuid::new_v4().to_string();
    let tag = r#"[{"Key":"k","Value":"v"}]"#;
    let empty = || bed.ok("ListResourceTags", &[("KeyId", &key)])["Tags"]["Tag"].as_array().unwrap().is_empty();
    for (other, expected) in [
        (nobody.as_str(), (404, "InvalidResourceId.NotFound")),
        (&going, (409, "Rejected.PendingDeletion")),
        ("alias/none", (400, "Unsupported.Alias")),
        ("no key", (400, "InvalidParameter")),
    ] {
        let pair = ids(&[&key, other]);
        assert_eq!(bed.refused("TagResources", &with(&[("ResourceId", &pair), ("Tag", tag)])), expected, "{other}");
        assert!(empty(), "{other}");
    }
    let own = ids(&[&key]);
    let many: Vec<String> = (0..21).map(|n| format!(r#"{{"Key":"k{n}","Value":"v"}}"#)).collect();
    let list = |count: usize| format!("[{}]", many[..count].join(","));
    for (wrong, code) in [
        ("", "InvalidParameter"),
        ("[]", "InvalidParameter"),
        (r#"["k"]"#, "InvalidParameter"),
        (r#"[{"Key":"aliyun","Value":"v"}]"#, "InvalidParameter.TagKey"),
        (r#"[{"Key":"a b","Value":"v"}]"#, "InvalidParameter.TagKey"),
        (r#"[{"Key":"","Value":"v"}]"#, "InvalidParameter.TagKey"),
        (r#"[{"Key":"k","Value":"a b"}]"#, "InvalidParameter.TagValue"),
        (r#"[{"Key":"k","Value":"1"},{"Key":"k","Value":"2"}]"#, "Duplicate.TagKey"),
        (&list(21), "InvalidParameter"),
    ] {
        assert_eq!(bed.refused("TagResources", &with(&[("ResourceId", &own), ("Tag", wrong)])), (400, code), "{wrong}");
    }
    assert!(empty());
    bed.ok("TagResources", &with(&[("ResourceId", &own), ("Tag", &list(20))]));
    let more = with(&[("ResourceId", &own), ("Tag", tag)]);
    assert_eq!(bed.refused("TagResources", &more), (400, "InvalidParameter"), "21 of 20");
    let fifty_one = ids(&vec![key.as_str(); 51]);
    assert_eq!(bed.refused("TagResources", &with(&[("ResourceId", &fifty_one), ("Tag", tag)])).1, "InvalidParameter");
    for (name, value, code) in [
        ("RegionId", "cn-beijing", "InvalidParameter"),
        ("ResourceType", "secret", "UnsupportedOperation"),
        ("ResourceType", "cow", "InvalidParameter"),
    ] {
        let mut given = with(&[("ResourceId", &own), ("Tag", tag)]);
        given.iter_mut().filter(|pair| pair.0 == name).for_each(|pair| pair.1 = value);
        assert_eq!(bed.refused("TagResources", &given), (400, code), "{name}={value}");
    }
}

fn lists_are_json_or_numbered(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.secret());
    let numbered = [
        ("ResourceId.1", one.as_str()),
        ("ResourceId.2", &two),
        ("Tag.1.Key", "a"),
        ("Tag.1.Value", "1"),
        ("Tag.2.Key", "b"),
        ("Tag.2.Value", "2"),
    ];
    bed.ok("TagResources", &with(&numbered));
    let answer = bed.ok("ListTagResources", &with(&[("ResourceId.1", &two)]));
    assert_eq!(rows(&answer), [format!("{two} a=1"), format!("{two} b=2")]);
    assert_eq!(answer["NextToken"], "");
    bed.ok("UntagResources", &with(&[("ResourceId.1", &one), ("TagKey.1", "a")]));
    assert_eq!(rows(&bed.ok("ListTagResources", &with(&[("ResourceId.1", &one)]))), [format!("{one} b=2")]);
    for wrong in [
        &[("ResourceId.x", one.as_str())][..],
        &[("ResourceId.0", &one)],
        &[("ResourceId.1", &one), ("ResourceId.1", &two)],
        &[("ResourceId.1", &one), ("ResourceId", "[]")],
        &[("Nothing.1", "x"), ("ResourceId.1", &one)],
    ] {
        let code = bed.refused("ListTagResources", &with(wrong));
        assert_eq!(code, (400, "InvalidParameter"), "{wrong:?}");
    }
    // More rows than a page has: the token leads on.
    let here = bed.token("other");
    let tags: Vec<String> = (0..20).map(|n| format!(r#"{{"Key":"k{n:02}","Value":"v"}}"#)).collect();
    let tags = format!("[{}]", tags.join(","));
    let keys: Vec<String> = (0..11).map(|_| text(&here.ok("CreateKey", &[])["KeyMetadata"]["KeyId"])).collect();
    let listed = ids(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    here.ok("TagResources", &with(&[("ResourceId", &listed), ("Tag", &tags)]));
    let first = here.ok("ListTagResources", &with(&[("ResourceId", &listed)]));
    let token = text(&first["NextToken"]);
    let second = here.ok("ListTagResources", &with(&[("ResourceId", &listed), ("NextToken", &token)]));
    assert_eq!((rows(&first).len(), rows(&second).len(), text(&second["NextToken"])), (200, 20, String::new()));
    assert_eq!(here.refused("ListTagResources", &with(&[("NextToken", "x")])), (400, "InvalidParameter"));
}
