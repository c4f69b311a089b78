//! One installation for a process: a store with a key of each kind, opened by the library's own functions.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use alikms_pkcs11::api::{self, Fault, Params};
use alikms_pkcs11::config::Config;
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::Bytes;
use alikms_pkcs11::model::caller::Caller;
use serde_json::Value;
use tempfile::TempDir;
use uuid::Uuid;

pub const PIN: &str = "user-pin-1";

/// What the targets work with.
pub struct World {
    pub conf: PathBuf,
    pub store: PathBuf,
    pub service: Arc<Service>,
    /// IDs of keys, a blob, a certificate: what a parameter may name.
    pub names: Vec<String>,
}

static FOLDER: Mutex<Option<TempDir>> = Mutex::new(None);

/// Made when first asked for.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

/// Takes the files away again; for tests, whose process goes on.
pub fn sweep() {
    FOLDER.lock().unwrap_or_else(PoisonError::into_inner).take();
}

impl World {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("alikms-fuzz-").tempdir().unwrap();
        let place = |name: &str| folder.path().join(name);
        let (conf, store) = (place("alikms.toml"), place("store/kms.db"));
        let text = format!(
            "[store]\nurl = \"sqlite:{}\"\n[unlock]\nmethod = \"file\"\npath = \"{}\"\n\
             [[token]]\nlabel = \"alikms\"\naccount = \"1000000000000001\"\nregion = \"cn-hangzhou\"\n",
            store.display(),
            place("unlock.key").display()
        );
        std::fs::write(&conf, text).unwrap();
        let service = Service::new(Config::read(&conf).unwrap());
        let pin = Bytes::new(PIN.as_bytes().to_vec());
        service.init(&pin, &Bytes::new(b"officer-pin-1".to_vec()), None).unwrap();
        *FOLDER.lock().unwrap_or_else(PoisonError::into_inner) = Some(folder);
        let mut world = Self { conf, store, service, names: Vec::new() };
        world.kms().unlock().unwrap();
        world.fill();
        world
    }

    pub fn kms(&self) -> &Kms {
        self.service.token(None).unwrap()
    }

    pub fn act(&self, action: &str, parameters: &[(&str, &str)]) -> Result<Value, Fault> {
        let mut params = Params::default();
        parameters.iter().for_each(|(name, value)| params.push(*name, *value));
        let entry = api::find(action).map_err(|error| Fault::from(&error))?;
        entry.run(self.kms(), &Caller::account(), &params, Uuid::nil()).map_err(|error| Fault::from(&error))
    }

    fn done(&self, action: &str, parameters: &[(&str, &str)], pointer: &str) -> String {
        let answer = self.act(action, parameters).unwrap_or_else(|fault| panic!("{action}: {fault:?}"));
        answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn fill(&mut self) {
        let key = |spec: &str, usage: &str| {
            self.done("CreateKey", &[("KeySpec", spec), ("KeyUsage", usage)], "/KeyMetadata/KeyId")
        };
        let secret = key("Aliyun_AES_256", "ENCRYPT/DECRYPT");
        let signer = key("EC_P256", "SIGN/VERIFY");
        let external = self.done("CreateKey", &[("Origin", "EXTERNAL")], "/KeyMetadata/KeyId");
        let blob = self.done("Encrypt", &[("KeyId", &secret), ("Plaintext", "aGVsbG8=")], "/CiphertextBlob");
        let version = self.done("ListKeyVersions", &[("KeyId", &signer)], "/KeyVersions/KeyVersion/0/KeyVersionId");
        let subject = [("KeySpec", "EC_P256"), ("Subject", "CN=example,C=CN,O=Example,OU=Test")];
        let certificate = self.done("CreateCertificate", &subject, "/CertificateId");
        self.done("CreateAlias", &[("KeyId", &secret), ("AliasName", "alias/fuzz")], "/none");
        self.done("CreateUser", &[("UserName", "fuzz")], "/none");
        let authority = [("Algorithm", "EC_P256"), ("Subject", "CN=fuzz CA"), ("Years", "10")];
        let authority = self.done("CreateRootCACertificate", &authority, "/Identifier");
        self.names =
            vec![secret, signer, external, blob, version, certificate, "alias/fuzz".into(), "fuzz".into(), authority];
    }
}
