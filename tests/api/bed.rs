//! One installation for each level, made once and shared by all tests of this program.

use std::fs;
use std::sync::{Arc, OnceLock};

use alikms_pkcs11::api::{self, Fault, Params};
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::model::time::Moment;
use alikms_pkcs11::store::Audit;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use crate::common::{ACCOUNT, Home, REGION};

/// The digest of "this is message\n" (S003-011).
pub const DIGEST: &str = "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=";

/// A token and the level at which its keys are made.
pub struct Bed {
    pub level: Level,
    kms: Arc<Kms>,
    service: Arc<Service>,
}

pub fn software() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::new(Level::Software))
}

pub fn hsm() -> &'static Bed {
    static BED: OnceLock<Bed> = OnceLock::new();
    BED.get_or_init(|| Bed::new(Level::Hsm))
}

impl Bed {
    /// With other tokens beside `alikms`: another region, another account, and one for lists that no other test grows.
    fn new(level: Level) -> Self {
        let home = Home::bare(level);
        let config = home.config();
        let mut text = fs::read_to_string(&config).unwrap();
        for (label, account, region) in [
            ("beijing", ACCOUNT, "cn-beijing"),
            ("other", "2000000000000002", REGION),
            ("lists", "3000000000000003", REGION),
        ] {
            text += &Home::token_table(label, account, region, level);
        }
        fs::write(&config, text).unwrap();
        home.init();
        let service = home.service();
        let kms = service.token(None).unwrap().clone();
        kms.unlock().unwrap();
        // Statics are not dropped: the directory goes away when the process has it open no more.
        crate::common::sweep(home);
        Self { level, kms, service }
    }

    /// The same installation through another of its tokens.
    pub fn token(&self, label: &str) -> Self {
        let kms = self.service.token(Some(label)).unwrap().clone();
        kms.unlock().unwrap();
        Self { level: self.level, kms, service: self.service.clone() }
    }

    pub fn kms(&self) -> &Kms {
        &self.kms
    }

    pub fn run(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Fault> {
        self.run_as(&Caller::account(), action, parameters)
    }

    pub fn run_as(&self, caller: &Caller, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Fault> {
        let mut params = Params::default();
        parameters.iter().for_each(|(name, value)| params.push(*name, *value));
        let entry = api::find(action).map_err(|error| Fault::from(&error))?;
        entry.run(&self.kms, caller, &params, Uuid::new_v4()).map_err(|error| Fault::from(&error))
    }

    /// The answer of an action that is expected to work.
    pub fn ok(&self, action: &str, parameters: &[(&str, &str)]) -> Value {
        self.run(action, parameters).unwrap_or_else(|fault| panic!("{action} {parameters:?}: {fault:?}"))
    }

    /// HTTP status and code of one that is expected to be refused.
    pub fn refused(&self, action: &str, parameters: &[(&str, &str)]) -> (u16, &'static str) {
        let fault = self.fault(action, parameters);
        (fault.status, fault.code)
    }

    pub fn fault(&self, action: &str, parameters: &[(&str, &str)]) -> Fault {
        match self.run(action, parameters) {
            Ok(answer) => panic!("{action} {parameters:?} answered {answer}"),
            Err(fault) => fault,
        }
    }

    /// CreateKey at this level. The KeyMetadata.
    pub fn create(&self, parameters: &[(&str, &str)]) -> Value {
        let mut all = vec![("ProtectionLevel", self.level.name())];
        all.extend(parameters);
        self.ok("CreateKey", &all)["KeyMetadata"].clone()
    }

    /// The ID of a new key.
    pub fn key(&self, spec: &str, usage: &str) -> String {
        text(&self.create(&[("KeySpec", spec), ("KeyUsage", usage)])["KeyId"])
    }

    /// A new key pair with its version.
    pub fn pair(&self, spec: &str, usage: &str) -> (String, String) {
        let key = self.key(spec, usage);
        let version = self.versions(&key).swap_remove(0);
        (key, version)
    }

    /// A new symmetric key.
    pub fn secret(&self) -> String {
        self.key("Aliyun_AES_256", "ENCRYPT/DECRYPT")
    }

    pub fn describe(&self, key: &str) -> Value {
        self.ok("DescribeKey", &[("KeyId", key)])["KeyMetadata"].clone()
    }

    pub fn state(&self, key: &str) -> String {
        text(&self.describe(key)["KeyState"])
    }

    /// The IDs of a key's versions, oldest first.
    pub fn versions(&self, key: &str) -> Vec<String> {
        let answer = self.ok("ListKeyVersions", &[("KeyId", key), ("PageSize", "100")]);
        answer["KeyVersions"]["KeyVersion"].as_array().unwrap().iter().map(|it| text(&it["KeyVersionId"])).collect()
    }

    /// The names of a key's aliases.
    pub fn aliases(&self, key: &str) -> Vec<String> {
        let answer = self.ok("ListAliasesByKeyId", &[("KeyId", key), ("PageSize", "100")]);
        answer["Aliases"]["Alias"].as_array().unwrap().iter().map(|it| text(&it["AliasName"])).collect()
    }

    /// The rows of the audit trail that belong to a request.
    pub fn audit_of(&self, request: Uuid) -> Vec<Audit> {
        let mut rows = Vec::new();
        let mut keep = |row: &Audit| {
            rows.extend((row.request == request).then(|| row.clone()));
            Ok(())
        };
        let recently = Moment(Moment::now().0 - 60);
        self.kms.audit_trail(&Caller::account(), recently, &mut keep).unwrap();
        rows
    }

    /// Encrypts; the ciphertext blob in Base64.
    pub fn encrypt(&self, key: &str, plaintext: &[u8]) -> String {
        let answer = self.ok("Encrypt", &[("KeyId", key), ("Plaintext", &to_base64(plaintext))]);
        text(&answer["CiphertextBlob"])
    }

    pub fn decrypt(&self, blob: &str) -> Vec<u8> {
        from_base64(&self.ok("Decrypt", &[("CiphertextBlob", blob)])["Plaintext"])
    }
}

/// A name that no other test uses.
pub fn unique(name: &str) -> String {
    format!("alias/{name}-{}", Uuid::new_v4())
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// The names of an object's fields, with blanks between them.
pub fn fields(value: &Value) -> String {
    value.as_object().unwrap_or_else(|| panic!("{value} is no object")).keys().cloned().collect::<Vec<_>>().join(" ")
}

pub fn is_guid(value: &Value) -> bool {
    let text = text(value);
    text.len() == 36 && Uuid::try_parse(&text).is_ok_and(|id| id.to_string() == text)
}

/// yyyy-MM-ddTHH:mm:ssZ (S004-143).
pub fn is_date(value: &Value) -> bool {
    let shape = |c: char| if c.is_ascii_digit() { '9' } else { c };
    text(value).chars().map(shape).collect::<String>() == "9999-99-99T99:99:99Z"
}

pub fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub fn from_base64(value: &Value) -> Vec<u8> {
    STANDARD.decode(text(value)).unwrap()
}
