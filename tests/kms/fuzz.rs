//! Every parameter of every action, made wrong in every way that its description allows to think of: always a published
//! error with its HTTP status (kms-api.md §1.3, §1.4; RAM's own), never a panic, never a change of the store.

use std::panic::{AssertUnwindSafe, catch_unwind};

use alikms_pkcs11::api::{self, ACTIONS, Entry, Fault};
use alikms_pkcs11::model::key::Level;

use super::{World, text};
use crate::common::ACCOUNT;

/// HTTP status and code of all that a wrong parameter may be answered with.
const PUBLISHED: &[(u16, &str)] = &[
    (400, "AliasAlreadyExists"),
    (400, "ExpiredImportToken"),
    (400, "InvalidImportToken"),
    (400, "InvalidKeyMaterial"),
    (400, "InvalidParameter"),
    (400, "InvalidParameter.TagKey"),
    (400, "InvalidParameter.TagValue"),
    (400, "MissingParameter"),
    (400, "Rejected.LimitExceeded"),
    (400, "Rejected.UnsupportedOperation"),
    (400, "Unsupported.Alias"),
    (400, "Unsupported.Origin"),
    (400, "Unsupported.ProtectionLevel"),
    (400, "UnsupportedOperation"),
    (403, "Forbidden.NoPermission"),
    (404, "Certificate.NotFound"),
    (404, "EntityNotExist.Policy"),
    (404, "EntityNotExist.User"),
    (404, "EntityNotExist.User.AccessKey"),
    (404, "Forbidden.AliasNotFound"),
    (404, "Forbidden.KeyNotFound"),
    (404, "Forbidden.KeyVersionNotFound"),
    (404, "Forbidden.ResourceNotFound"),
    (409, "DeleteConflict"),
    (409, "EntityAlreadyExists.Policy"),
    (409, "EntityAlreadyExists.User"),
    (409, "Rejected.Disabled"),
    (409, "Rejected.Enabled"),
    (409, "Rejected.PendingDeletion"),
    (409, "Rejected.PendingImport"),
    (409, "Rejected.StateModifiedFailed"),
];

/// Text in which anything may stand.
const FREE: &[&str] =
    &["Description", "DeletionProtectionDescription", "Comments", "Subject", "SubjectAlternativeNames", "ClientToken"];

/// Not needed for a blob of the KMS, which names its key itself, and not looked at then.
const UNREAD: &[(&str, &str)] = &[("ReEncrypt", "SourceKeyId"), ("ReEncrypt", "SourceKeyVersionId")];

/// What there is to name: made anew whenever an action was accepted after all.
struct Things {
    secret: String,
    external: String,
    signer: (String, String),
    opener: (String, String),
    blob: String,
    sealed: String,
    public: String,
    certificate: String,
    alias: String,
    name: String,
}

impl Things {
    /// With the costly ones of `before`, which nothing here changes for good.
    fn new(world: &World, number: usize, before: Option<Self>) -> Self {
        let pair = |usage| {
            let key = world
                .key(&[("KeySpec", if usage == "SIGN/VERIFY" { "EC_P256" } else { "RSA_2048" }), ("KeyUsage", usage)]);
            let versions = world.done("ListKeyVersions", &[("KeyId", &key)]);
            let version = text(&versions, "/KeyVersions/KeyVersion/0/KeyVersionId");
            (key, version)
        };
        let (opener, public, sealed) = match before {
            Some(Self { opener, public, sealed, .. }) if world.described(&opener.0, "KeyState") == "Enabled" => {
                (opener, public, sealed)
            }
            _ => {
                let opener = pair("ENCRYPT/DECRYPT");
                let named = [("KeyId", opener.0.as_str()), ("KeyVersionId", &opener.1)];
                let pem = text(&world.done("GetPublicKey", &named), "/PublicKey");
                let given = [named[0], named[1], ("Algorithm", "RSAES_OAEP_SHA_256"), ("Plaintext", "aGVsbG8=")];
                let sealed = text(&world.done("AsymmetricEncrypt", &given), "/CiphertextBlob");
                (opener, pem.lines().filter(|line| !line.starts_with('-')).collect(), sealed)
            }
        };
        let secret = world.key(&[]);
        let (alias, name) = (format!("alias/fuzz-{number}"), format!("fuzz-{number}"));
        world.done("CreateAlias", &[("KeyId", &secret), ("AliasName", &alias)]);
        world.done("CreateUser", &[("UserName", &name)]);
        world.done("CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", DOCUMENT)]);
        let subject = [("KeySpec", "EC_P256"), ("Subject", SUBJECT)];
        let certificate = text(&world.done("CreateCertificate", &subject), "/CertificateId");
        Self {
            external: world.key(&[("Origin", "EXTERNAL")]),
            blob: world.encrypt(&secret),
            public,
            secret,
            signer: pair("SIGN/VERIFY"),
            opener,
            sealed,
            certificate,
            alias,
            name,
        }
    }

    /// A good value of a parameter; "" if the action goes without.
    fn value(&self, action: &str, parameter: &str) -> &str {
        let signs = matches!(action, "AsymmetricSign" | "AsymmetricVerify");
        let opens = matches!(action, "AsymmetricEncrypt" | "AsymmetricDecrypt");
        let imports = matches!(action, "DeleteKeyMaterial" | "GetParametersForImport" | "ImportKeyMaterial");
        match parameter {
            "KeyId" if opens => &self.opener.0,
            "KeyId" if imports => &self.external,
            "KeyId" if signs || action.contains("Version") || action == "GetPublicKey" => &self.signer.0,
            "KeyId" | "DestinationKeyId" => &self.secret,
            "KeyVersionId" if opens => &self.opener.1,
            "KeyVersionId" => &self.signer.1,
            "ProtectedResourceArn" => "acs:kms:cn-hangzhou:1000000000000001:key/none",
            "Algorithm" if signs => "ECDSA_SHA_256",
            "Algorithm" => "RSAES_OAEP_SHA_256",
            "Digest" => "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=",
            "CiphertextBlob" if opens => &self.sealed,
            "CiphertextBlob" => &self.blob,
            "Plaintext" | "Value" | "EncryptedKeyMaterial" | "ImportToken" => "aGVsbG8=",
            "PublicKeyBlob" => &self.public,
            "WrappingAlgorithm" => "RSAES_OAEP_SHA_256",
            "WrappingKeySpec" => "RSA_2048",
            "AliasName" if action == "CreateAlias" => "alias/fuzz-new",
            "AliasName" => &self.alias,
            "UserName" | "PolicyName" if action.starts_with("Create") => "fuzz-new",
            "UserName" | "PolicyName" => &self.name,
            "PolicyDocument" => DOCUMENT,
            "CertificateId" if action == "TagResource" || action == "UntagResource" => "",
            "CertificateId" => &self.certificate,
            "Status" => "INACTIVE",
            "Certificate" => "none",
            "Description" => "text",
            "EnableAutomaticRotation" | "EnableDeletionProtection" if action != "CreateKey" => "false",
            "Tags" if action == "TagResource" => r#"[{"TagKey":"a","TagValue":"b"}]"#,
            "TagKeys" => r#"["a"]"#,
            "KeySpec" if action == "CreateCertificate" => "EC_P256",
            "Subject" => SUBJECT,
            _ => "",
        }
    }
}

const DOCUMENT: &str = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:*"],"Resource":["*"]}]}"#;
const SUBJECT: &str = "CN=example,C=CN,O=Example,OU=Test";

/// What a parameter is made to be.
fn wrong_values(things: &Things) -> Vec<String> {
    let mut all: Vec<String> = [
        "",
        " ",
        "\0",
        "a\u{1}b\r\n\u{1b}[31m",
        "\u{202e}\u{feff}",
        "-1",
        "0",
        "1.5",
        "1e9",
        "0x10",
        "true ",
        "TRUE",
        "yes",
        "9223372036854775807",
        "99999999999999999999999999",
        "-9223372036854775808",
        "NaN",
        "null",
        "[]",
        "{}",
        "{\"a\":",
        "[{\"TagKey\":1}]",
        "{\"a\":{\"b\":[1]}}",
        "[[[[[[[[[[",
        "%00",
        "../../etc/passwd",
        "alias/",
        "alias/none",
        "alias/acs/x",
        "acs:kms:",
        "acs:kms:::key/",
        "ÄÖ漢字🔑",
        "====",
        "aGVsbG8",
        "aGVsbG8=\n",
        "%%%%",
        "A",
        "'; DROP TABLE keys; --",
        "RSA_2048",
        "SYMMETRIC_DEFAULT",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        "1d",
        "99999999999999999999d",
        "00000000-0000-0000-0000-000000000000",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "{00000000-0000-0000-0000-000000000000}",
    ]
    .map(str::to_owned)
    .into();
    all.push("x".repeat(70_000));
    all.push("漢".repeat(9_000));
    all.push("A".repeat(400_000));
    all.push(format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000)));
    all.push(format!("acs:kms:cn-hangzhou:2000000000000002:key/{}", things.secret));
    all.push(format!("acs:kms:cn-beijing:{ACCOUNT}:key/{}", things.secret));
    all.push(format!("acs:kms:cn-hangzhou:2000000000000002:{}", things.alias));
    all.push(format!("{}\0", things.secret));
    all.push(things.secret.to_uppercase() + "0");
    all
}

/// Tells whether anything in the store has changed but the audit trail, which tells of refusals as well.
struct Watch {
    store: rusqlite::Connection,
    /// One statement for each table: the tags of its records, or what it has for them.
    contents: Vec<String>,
}

impl Watch {
    fn new(world: &World) -> Self {
        let path = world._home.path("store/kms.db");
        let store = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut asked = store.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names = asked.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap);
        let contents =
            names.filter(|name| !["audit", "audit_heads", "refusals"].contains(&name.as_str())).map(|name| {
                let what = match name.as_str() {
                    "realms" => "hex(uuid) || label || coalesce(hex(proof), '')",
                    "slots" => "kind || revision || failures || body",
                    "sqlite_sequence" => "name || seq",
                    _ => "hex(tag)",
                };
                format!("SELECT coalesce(group_concat({what}), '') FROM {name}")
            });
        let contents: Vec<String> = contents.collect();
        assert!(contents.len() > 10, "{contents:?}");
        drop(asked);
        Self { store, contents }
    }

    fn look(&self) -> Vec<String> {
        let content = |sql: &String| self.store.query_row(sql, [], |row| row.get(0)).unwrap();
        self.contents.iter().map(content).collect()
    }
}

fn given<'a>(things: &'a Things, entry: &Entry, names: &'a [String]) -> Vec<(&'a str, &'a str)> {
    let values = names.iter().map(|name| (name.as_str(), things.value(entry.name, name)));
    values.filter(|(_, value)| !value.is_empty()).collect()
}

/// May this value be taken? Numbers, switches and lists of words are what their descriptions say; what names a thing of this
/// account names no other.
fn must_refuse(schema: &serde_json::Value, name: &str, value: &str) -> bool {
    let kind = format!("{} {}", schema["type"], schema["anyOf"]);
    if kind.contains("boolean") {
        return value != "true" && value != "false";
    }
    if kind.contains("integer") {
        return value.parse::<i64>().is_err();
    }
    let names_thing = name.ends_with("KeyId") || name.ends_with("VersionId") || name == "CertificateId";
    let named = names_thing || matches!(name, "AliasName" | "UserName" | "PolicyName" | "Status" | "Algorithm");
    named
        && (value.contains(|c: char| c.is_control() || c == ' ')
            || value.len() > 1000
            || value.contains("2000000000000002"))
}

#[test]
fn every_parameter_of_every_action_is_refused_in_published_words_and_changes_nothing() {
    let world = World::new(Level::Software);
    let (mut made, mut runs, mut problems) = (0, 0, Vec::new());
    let watch = Watch::new(&world);
    let mut things = Things::new(&world, made, None);
    let seen = watch.look();
    world.key(&[]);
    assert_ne!(watch.look(), seen, "the watch sees changes");
    let mut before = watch.look();
    for entry in ACTIONS {
        let names: Vec<String> = api::help::parameters(entry).into_iter().map(|parameter| parameter.name).collect();
        let schema = serde_json::to_value(entry.schema()).unwrap();
        for name in &names {
            let missing = [None].into_iter();
            for value in missing.chain(wrong_values(&things).into_iter().map(Some)) {
                let mut all = given(&things, entry, &names);
                all.retain(|(known, _)| known != name);
                all.extend(value.as_deref().map(|value| (name.as_str(), value)));
                let answer = catch_unwind(AssertUnwindSafe(|| world.run(entry.name, &all)));
                runs += 1;
                let shown = value.as_ref().map(|value| value.chars().take(60).collect::<String>());
                let mut tell = |what: String| problems.push(format!("{} {name}={shown:?}: {what}", entry.name));
                match answer {
                    Err(_) => tell("a panic".to_owned()),
                    Ok(Err(Fault { status, code, message })) => {
                        if !PUBLISHED.contains(&(status, code)) {
                            tell(format!("{status} {code} {message}"));
                        }
                        if watch.look() != before {
                            tell(format!("{code}, and the store has changed"));
                            before = watch.look();
                        }
                    }
                    Ok(Ok(_)) => {
                        let refuse = |value: &String| must_refuse(&schema["properties"][name], name, value);
                        let unread = UNREAD.contains(&(entry.name, name.as_str()));
                        if !unread && !FREE.contains(&name.as_str()) && value.as_ref().is_some_and(refuse) {
                            tell("was accepted".to_owned());
                        }
                        // What was accepted may have used a thing up, or taken a name.
                        if watch.look() != before && !entry.name.starts_with("Update") {
                            made += 1;
                            things = Things::new(&world, made, Some(things));
                        }
                        before = watch.look();
                    }
                }
            }
        }
    }
    problems.dedup();
    assert!(problems.is_empty(), "{} of {runs}:\n{}", problems.len(), problems.join("\n"));
    assert!(runs > 50 * ACTIONS.len(), "{runs}");
}
