//! Names (DESIGN §3): which label and ID an object has, by which other names it is found, and that it then bears them.

use cryptoki_sys::*;

use crate::support::{ALIASES, ARN, Client, Installation, KEY_ID, KEY_VERSION_ID, P256, b, s, u, v};

fn private(c: &Client, label: &str) -> Vec<CK_OBJECT_HANDLE> {
    c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, label)])
}

fn text(c: &Client, key: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> String {
    String::from_utf8(c.get(key, kind).unwrap()).unwrap()
}

#[test]
fn of_keys_of_the_kms() {
    let installation = Installation::software();
    let answer = installation.alikms(&["CreateKey", "--KeySpec=EC_P256"]);
    let id = answer["KeyMetadata"]["KeyId"].as_str().unwrap();
    let c = installation.client();
    // Without an alias the KeyId is the label.
    let key = c.one(CKO_PRIVATE_KEY, id);
    assert_eq!((c.label(key), text(&c, key, KEY_ID)), (id.to_owned(), id.to_owned()));
    assert_eq!(text(&c, key, ARN), answer["KeyMetadata"]["Arn"].as_str().unwrap());
    let version = text(&c, key, KEY_VERSION_ID);
    let bytes: String = version.chars().filter(|c| *c != '-').collect();
    let ck_id = crate::support::unhex(&bytes);
    assert_eq!(c.get(key, CKA_ID).unwrap(), ck_id, "CKA_ID is the KeyVersionId");
    for class in [CKO_PUBLIC_KEY, CKO_PRIVATE_KEY] {
        assert_eq!(c.find(&[u(CKA_CLASS, class), v(CKA_ID, &ck_id)]).len(), 1);
    }

    // The first alias becomes the label; further ones are names.
    installation.print(&["CreateAlias", "--KeyId", id, "--AliasName", "alias/web"]);
    installation.print(&["CreateAlias", "--KeyId", id, "--AliasName", "alias/shop"]);
    assert_eq!(c.label(c.one(CKO_PRIVATE_KEY, "web")), "web");
    let mut aliases: Vec<_> = text(&c, c.one(CKO_PRIVATE_KEY, "web"), ALIASES).lines().map(str::to_owned).collect();
    aliases.sort();
    assert_eq!(aliases, ["alias/shop", "alias/web"]);
    let at = format!("web@{}", &version[..8]);
    for name in [id, "shop", "alias/web", "alias/shop", &at] {
        let found = private(&c, name);
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(c.label(found[0]), name, "the object bears the label that was asked for");
        c.sign(CKM_ECDSA, found[0], &[1; 32]).unwrap();
        assert_eq!(private(&c, name), found, "the same handle again");
        let public = c.find(&[u(CKA_CLASS, CKO_PUBLIC_KEY), s(CKA_LABEL, name)]);
        assert_eq!(public.len(), 1);
        // ID and label together: the ID decides, the label may be any name.
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, name), v(CKA_ID, &ck_id)]), found);
    }
    for name in ["", "WEB", "web ", "alias/", "web@00000000", "nothing"] {
        assert_eq!(private(&c, name).len(), 0, "{name}");
    }
    assert_eq!(c.find(&[s(CKA_LABEL, "nothing"), v(CKA_ID, &ck_id)]).len(), 0);
    // Enumerating shows each object once, with its plain label.
    let mut labels: Vec<_> = c.find(&[]).into_iter().map(|object| c.label(object)).collect();
    labels.sort();
    assert_eq!(labels, ["web", "web"]);

    // A former name still leads there beside the ID (libp11 finds its key again by both after a fork).
    installation.print(&["DeleteAlias", "--AliasName", "alias/web"]);
    assert_eq!(private(&c, "web").len(), 0);
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, "web"), v(CKA_ID, &ck_id)]).len(), 1);
    c.one(CKO_PRIVATE_KEY, "shop");
}

/// Several versions: the plain label stays on the version in service, wherever new ones come from.
#[test]
fn of_versions() {
    let installation = Installation::software();
    let id = installation.create_key("web", &["--KeySpec=EC_P256"]);
    let c = installation.client();
    let first = c.one(CKO_PRIVATE_KEY, "web");
    let first_version = text(&c, first, KEY_VERSION_ID);
    let answer = installation.alikms(&["CreateKeyVersion", "--KeyId", &id]);
    let second_version = answer["KeyVersion"]["KeyVersionId"].as_str().unwrap().to_owned();
    assert_eq!(c.one(CKO_PRIVATE_KEY, "web"), first);
    let second = c.one(CKO_PRIVATE_KEY, &format!("web@{}", &second_version[..8]));
    assert_eq!(text(&c, second, KEY_VERSION_ID), second_version);
    assert_ne!(c.get(first, CKA_ID), c.get(second, CKA_ID));
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY)]).len(), 2);

    installation.print(&["promote", "--KeyId", &id, "--KeyVersionId", &second_version]);
    assert_eq!(text(&c, c.one(CKO_PRIVATE_KEY, "web"), KEY_VERSION_ID), second_version);
    let old = c.one(CKO_PRIVATE_KEY, &format!("web@{}", &first_version[..8]));
    assert_eq!(text(&c, old, KEY_VERSION_ID), first_version);
    // Old handles go on: a server that is not reloaded signs with what matches its certificate.
    c.sign(CKM_ECDSA, first, &[1; 32]).unwrap();
    assert_eq!(text(&c, first, KEY_VERSION_ID), first_version);
    installation.print(&["retire", "--KeyId", &id, "--KeyVersionId", &first_version]);
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY)]).len(), 1);
}

/// What generic tools name is kept: a valid free label becomes an alias, others are stored; duplicates included.
#[test]
fn of_keys_that_tools_make() {
    let installation = Installation::software();
    let c = installation.client();
    let make =
        |label: &str, id: &[u8]| c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, label), v(CKA_ID, id)]).unwrap();
    let (public, key) = make("tool", &[1]);
    assert_eq!(text(&c, key, ALIASES), "alias/tool");
    for object in [public, key] {
        assert_eq!((c.label(object), c.get(object, CKA_ID).unwrap()), ("tool".to_owned(), vec![1]));
    }
    let answer = installation.alikms(&["DescribeKey", "--KeyId", "alias/tool"]);
    assert_eq!(answer["KeyMetadata"]["KeyId"].as_str().unwrap(), text(&c, key, KEY_ID));
    let (_, twin) = make("tool", &[2]);
    let mut both = private(&c, "tool");
    both.sort_unstable();
    assert_eq!(both, [key, twin]);
    assert_eq!(text(&c, twin, ALIASES), "");
    let (_, odd) = make("ein Schlüssel, mit Leerzeichen", &[3]);
    assert_eq!(text(&c, odd, ALIASES), "");
    assert_eq!(private(&c, "ein Schlüssel, mit Leerzeichen"), [odd]);
    // Without a name: KeyId and KeyVersionId.
    let (_, bare) = c.ec_pair(P256, &[b(CKA_TOKEN, true)]).unwrap();
    assert_eq!(c.label(bare), text(&c, bare, KEY_ID));
    assert_eq!(c.get(bare, CKA_ID).unwrap().len(), 16);
    // The two halves may be named apart.
    let (public, key) = c
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &[v(CKA_EC_PARAMS, P256), b(CKA_TOKEN, true), s(CKA_LABEL, "outer")],
            &[b(CKA_TOKEN, true), s(CKA_LABEL, "inner")],
        )
        .unwrap();
    assert_eq!((c.label(public), c.label(key)), ("outer".to_owned(), "inner".to_owned()));
    assert_eq!(c.get(public, CKA_ID), c.get(key, CKA_ID));
}

#[test]
fn of_secret_keys() {
    let installation = Installation::software();
    let id = installation.create_key("env", &["--KeySpec=Aliyun_AES_256"]);
    let c = installation.client();
    let key = c.one(CKO_SECRET_KEY, "env");
    let bytes: String = id.chars().filter(|c| *c != '-').collect();
    assert_eq!(c.get(key, CKA_ID).unwrap(), crate::support::unhex(&bytes), "CKA_ID is the KeyId");
    assert_eq!(c.find(&[]), [key], "one object for all versions");
}

/// What one process makes, another sees at once.
#[test]
fn between_processes() {
    let installation = Installation::software();
    let (a, b_) = (installation.client(), installation.client());
    assert_eq!(private(&a, "new").len(), 0);
    let (_, key) = b_.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "new")]).unwrap();
    assert_eq!(private(&a, "new"), [key]);
    a.set(key, &[s(CKA_LABEL, "renamed")]).unwrap();
    assert_eq!(b_.label(key), "renamed");
    assert_eq!(private(&b_, "renamed"), [key]);
    b_.destroy(key).unwrap();
    assert_eq!(private(&a, "renamed").len(), 0);
}
