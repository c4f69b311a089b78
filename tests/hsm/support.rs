//! A throw-away SoftHSM token, and short words for what tests do with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use alikms_pkcs11::Result;
use alikms_pkcs11::config::{DeviceConfig, PinSource};
use alikms_pkcs11::crypto::cipher::AesKey;
use alikms_pkcs11::model::algorithm::{Cipher, Job, Signing};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::key::Material;
use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::model::spec::Spec;
use alikms_pkcs11::protection::hsm::Hsm;
use alikms_pkcs11::protection::hsm::import::Unwrapping;
use alikms_pkcs11::protection::public::Prepared;
use alikms_pkcs11::protection::{Key, Protection, Usages};
use tempfile::TempDir;
use uuid::Uuid;

pub const LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub const PIN: &str = "1234";
pub const LABEL: &str = "alikms test";
pub const SIGN: Usages =
    Usages { decrypt: false, derive: false, encrypt: false, sign: true, unwrap: false, verify: false, wrap: false };
pub const DECRYPT: Usages = Usages { decrypt: true, sign: false, ..SIGN };
pub const CRYPT: Usages = Usages { encrypt: true, ..DECRYPT };
pub const MAC: Usages = Usages { verify: true, ..SIGN };

pub struct Token {
    pub directory: TempDir,
}

impl Token {
    pub fn new() -> Self {
        let token = Self { directory: TempDir::new().unwrap() };
        fs::create_dir(token.objects()).unwrap();
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n",
            token.objects().display()
        );
        fs::write(token.conf(), text).unwrap();
        token.set_pin(PIN);
        token.add(LABEL);
        token
    }

    /// One more token beside the first.
    pub fn add(&self, label: &str) {
        let made = Command::new("softhsm2-util")
            .args(["--init-token", "--free", "--label", label, "--so-pin", "87654321", "--pin", PIN])
            .env("SOFTHSM2_CONF", self.conf())
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
    }

    pub fn conf(&self) -> PathBuf {
        self.directory.path().join("softhsm2.conf")
    }

    pub fn objects(&self) -> PathBuf {
        self.directory.path().join("tokens")
    }

    pub fn set_pin(&self, pin: &str) {
        // In one step: somebody may be reading it.
        let (new, file) = (self.directory.path().join("pin.new"), self.directory.path().join("pin"));
        fs::write(&new, format!("{pin}\n")).unwrap();
        fs::rename(new, file).unwrap();
    }

    pub fn config(&self) -> DeviceConfig {
        DeviceConfig {
            name: "soft".to_owned(),
            profile: "softhsm2".to_owned(),
            library: LIBRARY.into(),
            token: Some(LABEL.to_owned()),
            slot: None,
            serial: None,
            pin: PinSource::File(self.directory.path().join("pin")),
            init_args: None,
            env: BTreeMap::from([("SOFTHSM2_CONF".to_owned(), self.conf().display().to_string())]),
            isolate: None,
            changes: toml::Table::new(),
            agent: None,
        }
    }

    pub fn hsm(&self) -> Hsm {
        Hsm::new(self.config())
    }
}

/// A key in the device, open.
pub struct Made {
    pub id: Uuid,
    pub spec: Spec,
    pub material: Material,
    pub public: Option<PublicKey>,
    pub key: Arc<dyn Key>,
}

pub fn spec(name: &str) -> Spec {
    Spec::by_name(name).unwrap()
}

pub fn make(hsm: &Hsm, name: &str, usages: Usages) -> Made {
    let (id, spec) = (Uuid::new_v4(), spec(name));
    let made = hsm.generate(id, spec, usages).unwrap_or_else(|error| panic!("{name}: {error}"));
    let key = hsm.open(id, spec, &made.material, made.public.as_ref()).unwrap();
    Made { id, spec, material: made.material, public: made.public, key }
}

impl Made {
    pub fn prepared(&self) -> Prepared {
        Prepared::new(self.public.as_ref().unwrap()).unwrap()
    }

    /// Signs with ECDSA and verifies in process.
    pub fn sign(&self, digest: &[u8]) -> Result<()> {
        let signature = self.key.once(&Job::Sign(Signing::Ecdsa), digest)?;
        self.prepared().verify(&Signing::Ecdsa, digest, &signature).expect("a wrong signature is worse than none");
        Ok(())
    }
}

/// The digest of something.
pub fn digest(hash: Hash) -> Vec<u8> {
    alikms_pkcs11::crypto::digest::hash(hash, b"this is message\n")
}

/// Whether `work` succeeds before `seconds` are over.
pub fn within(seconds: u64, mut work: impl FnMut() -> bool) -> bool {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(seconds);
    while std::time::Instant::now() < end {
        if work() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    work()
}

/// As whoever imports key material does it.
pub fn wrap(public: &PublicKey, kind: Unwrapping, value: &[u8]) -> Vec<u8> {
    let public = Prepared::new(public).unwrap();
    let oaep = |hash| Cipher::RsaOaep { hash, mgf: hash, label: vec![] };
    match kind {
        Unwrapping::Pkcs1 => public.encrypt(&Cipher::RsaPkcs1, value).unwrap(),
        Unwrapping::Oaep(hash) => public.encrypt(&oaep(hash), value).unwrap(),
        Unwrapping::RsaAes(hash) => {
            let inner = AesKey::new(&[6; 32]).unwrap().encrypt(&Cipher::AesKeyWrapPad, value).unwrap();
            [public.encrypt(&oaep(hash), &[6; 32]).unwrap(), inner.to_vec()].concat()
        }
    }
}
