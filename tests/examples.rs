//! The example of `alikms help ACTION` runs: word for word, but for the IDs and files that it names, which are made before.

#[path = "examples/answers.rs"]
mod answers;
mod common;

#[path = "examples/certificates.rs"]
mod certificates;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use alikms_pkcs11::api::{self, ACTIONS, Params};
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use answers::Seen;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::ca::Ca;
use common::{Home, Run, openssl, run};
use serde_json::Value;
use uuid::Uuid;

const DIGEST: &str = "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=";

/// What the examples name.
struct Scene {
    home: Home,
    service: Arc<Service>,
    ca: Ca,
    /// RSA keys with their versions: for signatures (`alias/web`), for encryption (`alias/mail`).
    web: (String, String),
    mail: (String, String),
}

impl Scene {
    fn new() -> Self {
        let home = Home::new(Level::Hsm);
        let service = home.service();
        let empty = || (String::new(), String::new());
        let mut scene = Self { home, service, ca: Ca::new(), web: empty(), mail: empty() };
        scene.web = scene.pair("SIGN/VERIFY");
        scene.mail = scene.pair("ENCRYPT/DECRYPT");
        scene
    }

    /// An action; what is refused is None.
    fn try_run(&self, action: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let mut params = Params::default();
        parameters.iter().for_each(|(name, value)| params.push(*name, *value));
        let kms = self.service.token(None).unwrap();
        api::find(action).unwrap().run(kms, &Caller::account(), &params, Uuid::new_v4()).ok()
    }

    fn run(&self, action: &str, parameters: &[(&str, &str)], pointer: &str) -> String {
        let answer = self.try_run(action, parameters).unwrap_or_else(|| panic!("{action} {parameters:?}"));
        answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn key(&self, parameters: &[(&str, &str)]) -> String {
        self.run("CreateKey", parameters, "/KeyMetadata/KeyId")
    }

    fn pair(&self, usage: &str) -> (String, String) {
        let key = self.key(&[("KeySpec", "RSA_2048"), ("KeyUsage", usage)]);
        let version = self.run("ListKeyVersions", &[("KeyId", &key)], "/KeyVersions/KeyVersion/0/KeyVersionId");
        (key, version)
    }

    /// The alias is there, bound to this key.
    fn bind(&self, alias: &str, key: &str) {
        self.try_run("DeleteAlias", &[("AliasName", alias)]);
        self.run("CreateAlias", &[("AliasName", alias), ("KeyId", key)], "");
    }

    /// Makes what the example names and answers it with the names that there really are.
    fn prepare(&self, action: &str, example: &str) -> String {
        let key = self.key(&[("Tags", r#"[{"TagKey":"project","TagValue":"shop"}]"#)]);
        for (alias, key) in [
            ("alias/web", self.web.0.as_str()),
            ("alias/mail", &self.mail.0),
            ("alias/app", &key),
            ("alias/data", &key),
        ] {
            self.bind(alias, key);
        }
        if example.contains("alias/mac") {
            let mac = self.key(&[("KeySpec", "HMAC_SHA_256")]);
            self.bind("alias/mac", &mac);
            let how = [("KeyId", mac.as_str()), ("Algorithm", "HMAC_SHA_256"), ("Message", "dGhpcyBpcyBhIG1lc3NhZ2UK")];
            self.home.write("mac.b64", self.run("GenerateMac", &how, "/Mac"));
        }
        let id = [("KeyId", key.as_str())];
        match action {
            "CancelKeyDeletion" => drop(self.run("ScheduleKeyDeletion", &id, "")),
            "CreateAlias" => drop(self.run("DeleteAlias", &[("AliasName", "alias/web")], "")),
            _ => {}
        }
        let mut text = example.replace("08ec3bb9-034f-485b-b1cd-3459baa8c8e1", &key);
        text = text.replace("127d2f84-ee5f-4f4d-9d41-dbc1aca2c2d3", &self.key(&[]));
        let version = if example.contains("alias/mail") { &self.mail.1 } else { &self.web.1 };
        text = text.replace("c0a3d5dc-0b47-4199-a050-b289349a0000", version);
        self.write_files(&text, &key);
        text = self.prepare_certificates(action, &text);
        if text.contains("1339cb7d-54d3-47e0-b595-c7d3dba8d1e0") {
            text = text.replace("1339cb7d-54d3-47e0-b595-c7d3dba8d1e0", &self.external());
        }
        self.prepare_users(action, text)
    }

    /// Runs an example, after what it names was made.
    fn shell(&self, action: &str, example: &str) -> Run {
        let bin = Path::new(env!("CARGO_BIN_EXE_alikms")).parent().unwrap();
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let mut sh = Command::new("sh");
        sh.args(["-c", &self.prepare(action, example)]).current_dir(self.home.folder());
        run(sh.env("PATH", &path).env("ALIKMS_CONF", self.home.config()))
    }

    fn write_files(&self, example: &str, key: &str) {
        let plain = ("Plaintext", "dGhpcyBpcyBwbGFpbnRleHQK");
        for name in ["secret.b64", "old.b64", "datakey.b64"].iter().filter(|name| example.contains(*name)) {
            self.home.write(name, self.run("Encrypt", &[("KeyId", key), plain], "/CiphertextBlob"));
        }
        let of = |pair: &(String, String)| [("KeyId", pair.0.clone()), ("KeyVersionId", pair.1.clone())];
        let run = |action, pair: &(String, String), more: &[(&str, &str)], pointer| {
            let own = of(pair);
            let all: Vec<_> =
                own.iter().map(|(name, value)| (*name, value.as_str())).chain(more.iter().copied()).collect();
            self.run(action, &all, pointer)
        };
        if example.contains("public.b64") {
            let pem = run("GetPublicKey", &self.mail, &[], "/PublicKey");
            let blob: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
            self.home.write("public.b64", blob);
        }
        if example.contains("signature.b64") {
            let how = [("Algorithm", "RSA_PSS_SHA_256"), ("Digest", DIGEST)];
            self.home.write("signature.b64", run("AsymmetricSign", &self.web, &how, "/Value"));
        }
        if example.contains("ciphertext.b64") {
            let how = [("Algorithm", "RSAES_OAEP_SHA_256"), plain];
            self.home.write("ciphertext.b64", run("AsymmetricEncrypt", &self.mail, &how, "/CiphertextBlob"));
        }
    }

    /// A key with imported material, and the files with which it is imported again.
    fn external(&self) -> String {
        let key = self.key(&[("Origin", "EXTERNAL")]);
        let ask = [("KeyId", key.as_str()), ("WrappingAlgorithm", "RSAES_OAEP_SHA_1"), ("WrappingKeySpec", "RSA_2048")];
        let made = self.try_run("GetParametersForImport", &ask).unwrap();
        let field = |name: &str| made[name].as_str().unwrap().to_owned();
        let public = self.home.write("PublicKey.bin", STANDARD.decode(field("PublicKey")).unwrap());
        let words =
            format!("pkeyutl -encrypt -pubin -keyform DER -inkey {} -pkeyopt rsa_padding_mode:oaep", public.display());
        let wrapped = STANDARD.encode(openssl(&words, &[7; 32]));
        self.home.write("EncryptedKeyMaterial_base64.txt", &wrapped);
        self.home.write("token.txt", field("ImportToken"));
        let token = field("ImportToken");
        let give = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        self.run("ImportKeyMaterial", &give, "");
        key
    }

    /// The user alice with the policy sign-web, as far as the example does not make them itself.
    fn prepare_users(&self, action: &str, text: String) -> String {
        let (user, policy) = ([("UserName", "alice")], [("PolicyName", "sign-web")]);
        let both = [user[0], policy[0]];
        self.try_run("DetachPolicyFromUser", &both);
        self.try_run("DeletePolicy", &policy);
        if let Some(keys) = self.try_run("ListAccessKeys", &user) {
            for key in keys["AccessKeys"]["AccessKey"].as_array().unwrap() {
                let id = key["AccessKeyId"].as_str().unwrap();
                self.run("DeleteAccessKey", &[user[0], ("UserAccessKeyId", id)], "");
            }
        }
        self.try_run("DeleteUser", &user);
        if action == "CreateUser" || action == "CreatePolicy" {
            return text;
        }
        let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"}]}"#;
        self.run("CreateUser", &user, "");
        self.run("CreatePolicy", &[policy[0], ("PolicyDocument", document)], "");
        if !["AttachPolicyToUser", "DeletePolicy", "DeleteUser"].contains(&action) {
            self.run("AttachPolicyToUser", &both, "");
        }
        if action == "DeleteUser" {
            return text;
        }
        let id = self.run("CreateAccessKey", &user, "/AccessKey/AccessKeyId");
        text.replace("ALIKMSq3v5m1Zt7Yb2Rk9LxE", &id)
    }
}

impl Scene {
    /// Answers with the fields that there are under a condition only.
    fn answer_in_full(&self, seen: &mut Seen) {
        let mut run = |action: &'static str, parameters: &[(&str, &str)]| {
            let answer = self.try_run(action, parameters).unwrap_or_else(|| panic!("{action} {parameters:?}"));
            seen.add(action, &answer);
            answer
        };
        let text = |answer: &Value, pointer: &str| answer.pointer(pointer).unwrap().as_str().unwrap().to_owned();
        let key = run("CreateKey", &[("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")]);
        let (arn, key) = (text(&key, "/KeyMetadata/Arn"), text(&key, "/KeyMetadata/KeyId"));
        let on = [("EnableDeletionProtection", "true"), ("DeletionProtectionDescription", "in use")];
        run("SetDeletionProtection", &[&[("ProtectedResourceArn", arn.as_str())][..], &on].concat());
        run("DescribeKey", &[("KeyId", &key)]);
        let subject = ("Subject", "CN=www.example.com,OU=Web,O=Example,C=CN");
        let names = ("SubjectAlternativeNames", r#"["www.example.com"]"#);
        let certificate = text(&run("CreateCertificate", &[("KeySpec", "EC_P256"), subject, names]), "/CertificateId");
        run("DescribeCertificate", &[("CertificateId", &certificate)]);
        run("ListCertificates", &[]);
    }
}

#[test]
fn the_example_of_every_action_runs() {
    let scene = Scene::new();
    let mut seen = Seen::default();
    for entry in ACTIONS {
        let help = scene.home.alikms(["help", entry.name]).stdout;
        let (_, example) = help.split_once("\nExample:\n  ").unwrap_or_else(|| panic!("{}", entry.name));
        assert!(example.starts_with(&format!("alikms {} ", entry.name).trim_end().to_owned()), "{example}");
        let done = scene.shell(entry.name, example.trim_end());
        if entry.name == "OpenKmsService" {
            // It is open already, which is an error in the cloud as well.
            assert!(done.status == 1 && done.stderr.contains("\nErrorCode: Forbidden.Opened\n"), "{done:?}");
            continue;
        }
        assert_eq!((done.status, done.stderr.as_str()), (0, ""), "{example}: {done:?}");
        assert!(!done.stdout.is_empty(), "{example}");
        // The whole answer, where the example asks for a part of it.
        let whole = example.split_once(" --query ").map(|(command, _)| scene.shell(entry.name, command));
        let answer: Value = serde_json::from_str(&whole.unwrap_or(done).stdout).unwrap();
        seen.add(entry.name, &answer);
    }
    scene.answer_in_full(&mut seen);
    assert_eq!(seen.faults(), Vec::<String>::new());
}

/// What S000 says of the choice stands where the choice is made.
#[test]
fn s000_015_017_the_help_tells_what_to_choose() {
    let help = Home::bare(Level::Software).alikms(["help", "CreateCertificate"]).stdout;
    let dense = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in ["EC_P256 is the stronger", "after December 31, 2030", "EC_SM2 is for", "domain-validated (DV)"] {
        assert!(dense.contains(part), "{part}: {help}");
    }
}

/// Every parameter is told with what is to be written, whether it is needed, and what it means.
#[test]
fn the_help_of_every_action_tells_its_parameters() {
    let home = Home::bare(Level::Software);
    for entry in ACTIONS {
        let help = home.alikms(["help", entry.name]).stdout;
        for parameter in api::help::parameters(entry) {
            let needed = if parameter.required { " (needed)" } else { "" };
            let line = format!("\n  --{} {}{needed}\n      ", parameter.name, parameter.kind);
            assert!(help.contains(&line), "{}: {line}\n{help}", entry.name);
            let listed = !parameter.values.is_empty();
            assert_eq!(parameter.kind == "NAME", listed, "{} {}", entry.name, parameter.name);
            let values = format!("Values: {}.", parameter.values.join(", "));
            let dense = help.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(!listed || dense.contains(&values), "{}: {values}", entry.name);
        }
    }
    let help = home.alikms(["help", "GenerateDataKey"]).stdout;
    for part in ["--NumberOfBytes NUMBER", "1 to 1024 bytes", "[--DryRun true|false]", "--KeyId TEXT (needed)"] {
        assert!(help.contains(part), "{part}: {help}");
    }
}
