//! The audit trail of the command's own work with keys (`[audit] crypto`), and what its lines are about.

use alikms_pkcs11::model::key::Level;
use serde_json::Value;

use crate::common::Home;

struct Trail(Home);

impl Trail {
    fn new(level: Level, crypto: &str) -> Self {
        let home = Home::bare(level);
        let text = std::fs::read_to_string(home.config()).unwrap();
        home.write("alikms.toml", text + &format!("[audit]\ncrypto = \"{crypto}\"\n"));
        home.init();
        Self(home)
    }

    fn lines(&self) -> Vec<Value> {
        let run = self.0.alikms(["audit"]);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""));
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn files(&self) -> usize {
        let all = std::fs::read_dir(self.0.path("store")).unwrap();
        all.filter(|entry| entry.as_ref().unwrap().file_name().to_str().unwrap().contains("-uses-")).count()
    }
}

fn each_operation_stands_under_its_request(level: Level) {
    let trail = Trail::new(level, "all");
    let home = &trail.0;
    let key = home.query(&["CreateKey", "--ProtectionLevel", level.name()], "KeyMetadata.KeyId");
    home.answer(&["CreateAlias", "--KeyId", &key, "--AliasName", "alias/data"]);
    let sealed = home.answer(&["Encrypt", "--KeyId", "alias/data", "--Plaintext", "aGVsbG8="]);
    let blob = sealed["CiphertextBlob"].as_str().unwrap();
    let opened = home.answer(&["Decrypt", "--CiphertextBlob", blob]);
    home.answer(&["CreateUser", "--UserName", "bob"]);
    assert_eq!(home.alikms(["--as", "bob", "Decrypt", "--CiphertextBlob", blob]).status, 1);
    assert_eq!(home.alikms(["Decrypt", "--CiphertextBlob", blob, "--EncryptionContext", "{\"a\":\"b\"}"]).status, 1);
    home.answer(&["DisableKey", "--KeyId", &key]);
    assert_eq!(home.alikms(["Encrypt", "--KeyId", "alias/data", "--Plaintext", "aGVsbG8="]).status, 1);
    let uses: Vec<Value> =
        trail.lines().into_iter().filter(|line| line["outcome"] != "ok" || !line["mechanism"].is_null()).collect();
    let told: Vec<[&str; 4]> = uses
        .iter()
        .map(|line| ["caller", "action", "mechanism", "outcome"].map(|name| line[name].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ["account", "Encrypt", "AES_GCM", "ok"],
            ["account", "Decrypt", "AES_GCM", "ok"],
            ["user/bob", "Decrypt", "", "AccessDenied"],
            ["account", "Decrypt", "AES_GCM", "Ciphertext"],
            ["account", "Encrypt", "", "KeyState"],
        ]
    );
    assert!(uses.iter().all(|line| line["resource"] == key.as_str()), "{uses:?}");
    assert_eq!((&uses[0]["request"], &uses[1]["request"]), (&sealed["RequestId"], &opened["RequestId"]));
    assert_eq!(uses[0]["version"], sealed["KeyVersionId"]);
    assert_eq!(uses[0]["program"], env!("CARGO_BIN_EXE_alikms"));
}

/// Commands come and go: none leaves more behind than the next one takes away.
fn a_summary_counts_over_many_commands(level: Level) {
    let trail = Trail::new(level, "summary");
    let home = &trail.0;
    let key = home.query(&["CreateKey", "--ProtectionLevel", level.name()], "KeyMetadata.KeyId");
    for _ in 0..5 {
        home.answer(&["GenerateDataKey", "--KeyId", &key]);
        assert!(trail.files() <= 1);
    }
    let lines: Vec<Value> = trail.lines().into_iter().filter(|line| line["action"] == "GenerateDataKey").collect();
    let counted: u64 = lines.iter().map(|line| line["count"].as_u64().unwrap()).sum();
    assert_eq!((counted, lines.len()), (5, 5));
    assert_eq!(trail.lines().iter().filter(|line| line["outcome"] == "ok" && !line["mechanism"].is_null()).count(), 5);
}

fn s004_120_public_key_operations_are_logged(level: Level) {
    let trail = Trail::new(level, "all");
    let home = &trail.0;
    let pair = |usage: &str| {
        let words = ["CreateKey", "--KeySpec", "RSA_2048", "--KeyUsage", usage, "--ProtectionLevel", level.name()];
        let key = home.query(&words, "KeyMetadata.KeyId");
        let version = home.query(&["ListKeyVersions", "--KeyId", &key], "KeyVersions.KeyVersion.0.KeyVersionId");
        (key, version)
    };
    let run = |action: &str, (key, version): &(String, String), more: &[&str]| {
        let own = [action, "--KeyId", key.as_str(), "--KeyVersionId", version.as_str()];
        home.answer(&[&own[..], more].concat())
    };
    let (signer, opener) = (pair("SIGN/VERIFY"), pair("ENCRYPT/DECRYPT"));
    let how = ["--Algorithm", "RSA_PSS_SHA_256", "--Digest", "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos="];
    let value = run("AsymmetricSign", &signer, &how)["Value"].as_str().unwrap().to_owned();
    run("AsymmetricVerify", &signer, &[&how[..], &["--Value", &value]].concat());
    let how = ["--Algorithm", "RSAES_OAEP_SHA_1"];
    let blob = run("AsymmetricEncrypt", &opener, &[&how[..], &["--Plaintext", "aGVsbG8="]].concat());
    let blob = blob["CiphertextBlob"].as_str().unwrap();
    run("AsymmetricDecrypt", &opener, &[&how[..], &["--CiphertextBlob", blob]].concat());
    let told: Vec<_> = trail
        .lines()
        .into_iter()
        .filter(|line| !line["mechanism"].is_null())
        .map(|line| ["action", "mechanism", "resource", "version"].map(|name| line[name].as_str().unwrap().to_owned()))
        .collect();
    let row = |action: &str, mechanism: &str, pair: &(String, String)| {
        [action.to_owned(), mechanism.to_owned(), pair.0.clone(), pair.1.clone()]
    };
    assert_eq!(
        told,
        [
            row("AsymmetricSign", "RSA_PSS", &signer),
            row("AsymmetricVerify", "RSA_PSS", &signer),
            row("AsymmetricEncrypt", "RSAES_OAEP", &opener),
            row("AsymmetricDecrypt", "RSAES_OAEP", &opener),
        ]
    );
}

at_both_levels! {
    s004_120_public_key_operations_are_logged
    each_operation_stands_under_its_request
    a_summary_counts_over_many_commands
}

/// Whatever name was given: the line names the key.
#[test]
fn a_line_names_the_key_and_not_what_the_caller_called_it() {
    let trail = Trail::new(Level::Software, "none");
    let home = &trail.0;
    let made = home.answer(&["CreateKey", "--KeySpec", "EC_P256"]);
    let (key, arn) = (made["KeyMetadata"]["KeyId"].as_str().unwrap(), made["KeyMetadata"]["Arn"].as_str().unwrap());
    let version = made["KeyMetadata"]["PrimaryKeyVersion"].as_str().unwrap_or_default().to_owned();
    home.answer(&["CreateAlias", "--KeyId", key, "--AliasName", "alias/web"]);
    home.answer(&["DisableKey", "--KeyId", arn]);
    home.answer(&["EnableKey", "--KeyId", arn]);
    home.answer(&["UpdateKeyDescription", "--KeyId", arn, "--Description", "x"]);
    home.answer(&["CreateKeyVersion", "--KeyId", "alias/web"]);
    home.answer(&["TagResource", "--KeyId", arn, "--Tags", "[{\"TagKey\":\"a\",\"TagValue\":\"b\"}]"]);
    home.answer(&["ScheduleKeyDeletion", "--KeyId", arn]);
    home.answer(&["CancelKeyDeletion", "--KeyId", arn]);
    home.answer(&["DeleteAlias", "--AliasName", "alias/web"]);
    for line in trail.lines() {
        let resource = line["resource"].as_str().unwrap();
        let expected = match line["action"].as_str().unwrap() {
            "CreateAlias" | "DeleteAlias" => format!("alias/web {key}"),
            _ => key.to_owned(),
        };
        assert_eq!(resource, expected, "{line} {version}");
        assert!(line["outcome"] == "ok" && line["program"].is_string(), "{line}");
    }
}
