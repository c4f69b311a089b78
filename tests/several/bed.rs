//! A token with several SoftHSM devices, each in a directory of its own that can be taken away.

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use alikms_pkcs11::api::{self, Fault, Params};
use alikms_pkcs11::config::Config;
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::time::Moment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use uuid::Uuid;

use crate::support::{DEVICE_LIBRARY, Installation, Setup};

const PIN: &str = "device-pin";

pub struct Bed {
    pub installation: Installation,
}

impl Bed {
    pub fn new(members: usize) -> Self {
        Self::with(&Setup { members, ..Setup::default() })
    }

    pub fn with(setup: &Setup) -> Self {
        let setup = Setup {
            device: true,
            members: setup.members,
            same_token: setup.same_token,
            device_lines: setup.device_lines.clone(),
            tables: setup.tables.clone(),
            token: setup.token,
            ..Setup::default()
        };
        Self { installation: Installation::new(&setup) }
    }

    fn away(&self, member: usize) -> PathBuf {
        self.installation.path(&format!("away-{member}"))
    }

    /// The device is lost.
    pub fn take_away(&self, member: usize) {
        std::fs::rename(self.installation.device_tokens(member), self.away(member)).unwrap();
    }

    /// Under another name than the one from which it comes back.
    pub fn take_away_to(&self, member: usize, name: &str) {
        std::fs::rename(self.installation.device_tokens(member), self.installation.path(name)).unwrap();
    }

    pub fn bring_back(&self, member: usize) {
        std::fs::rename(self.away(member), self.installation.device_tokens(member)).unwrap();
    }

    /// The installation in this process, as it is configured now.
    pub fn service(&self) -> Arc<Service> {
        self.service_in(0)
    }

    /// The same so many seconds later.
    pub fn service_in(&self, seconds: i64) -> Arc<Service> {
        let config = Config::read(&self.installation.conf()).unwrap();
        Service::with_clock(config, Arc::new(move || Moment(Moment::now().0 + seconds)))
    }

    /// What `check` says ten minutes and more later, when nobody is still at work.
    pub fn check(&self) -> Vec<String> {
        let service = self.service_in(700);
        let findings = token(&service).check(&Caller::account()).unwrap();
        findings.into_iter().map(|finding| format!("{} {}", finding.repaired, finding.what)).collect()
    }

    pub fn sync(&self) -> Vec<String> {
        let service = self.service();
        let findings = token(&service).sync_devices(&Caller::account()).unwrap();
        findings.into_iter().map(|finding| format!("{} {}", finding.repaired, finding.what)).collect()
    }

    /// OpenSC's pkcs11-tool at one of the devices, logged in.
    pub fn tool(&self, member: usize, words: &[&str]) -> Output {
        let mut tool = Command::new("pkcs11-tool");
        tool.args(["--module", DEVICE_LIBRARY, "--token-label", "device", "--login", "--pin", PIN]).args(words);
        tool.env("SOFTHSM2_CONF", self.installation.device_conf(member)).output().unwrap()
    }

    pub fn tool_done(&self, member: usize, words: &[&str]) -> String {
        let output = self.tool(member, words);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The IDs of private and secret keys, asked of SoftHSM itself.
    pub fn ids(&self, member: usize) -> Vec<Uuid> {
        let mut ids: Vec<Uuid> = Vec::new();
        for kind in ["privkey", "secrkey"] {
            let listed = self.tool_done(member, &["--list-objects", "--type", kind]);
            let id = |line: &str| Some(line.trim().strip_prefix("ID:")?.trim().parse::<Uuid>().unwrap());
            ids.extend(listed.lines().filter_map(id));
        }
        ids.sort_unstable();
        ids
    }
}

pub fn token(service: &Service) -> &Kms {
    let kms = service.token(None).unwrap();
    kms.unlock().unwrap();
    kms
}

/// Runs an action of the API.
pub fn act(kms: &Kms, action: &str, given: &[(&str, &str)]) -> Result<Value, Fault> {
    let mut params = Params::default();
    given.iter().for_each(|(name, value)| params.push(*name, *value));
    let entry = api::find(action).unwrap();
    entry.run(kms, &Caller::account(), &params, Uuid::new_v4()).map_err(|error| Fault::from(&error))
}

pub fn done(kms: &Kms, action: &str, given: &[(&str, &str)]) -> Value {
    act(kms, action, given).unwrap_or_else(|fault| panic!("{action} {given:?}: {fault:?}"))
}

/// A key at level HSM: its ID.
pub fn create(kms: &Kms, spec: &str) -> Result<String, Fault> {
    let usage = if spec.contains("AES") { "ENCRYPT/DECRYPT" } else { "SIGN/VERIFY" };
    let given = [("KeySpec", spec), ("KeyUsage", usage), ("ProtectionLevel", "HSM")];
    let made = act(kms, "CreateKey", &given)?;
    Ok(made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned())
}

pub fn version(kms: &Kms, key: &str) -> String {
    let versions = done(kms, "ListKeyVersions", &[("KeyId", key)]);
    versions["KeyVersions"]["KeyVersion"][0]["KeyVersionId"].as_str().unwrap().to_owned()
}

/// Signs with P-256 and has the signature verified with the public key.
pub fn signs(kms: &Kms, key: &str) -> Result<(), Fault> {
    let version = version(kms, key);
    let digest = STANDARD.encode([7; 32]);
    let given =
        [("KeyId", key), ("KeyVersionId", version.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Digest", &digest)];
    let signed = act(kms, "AsymmetricSign", &given)?;
    let value = signed["Value"].as_str().unwrap().to_owned();
    let verified = done(kms, "AsymmetricVerify", &[&given[..], &[("Value", value.as_str())]].concat());
    assert_eq!(verified["Value"], true, "a wrong signature is worse than none");
    Ok(())
}

/// Encrypts, and decrypts as often as there could be devices.
pub fn crypts(kms: &Kms, key: &str) -> Result<(), Fault> {
    let plain = STANDARD.encode(b"this is plain");
    for _ in 0..4 {
        let blob = act(kms, "Encrypt", &[("KeyId", key), ("Plaintext", &plain)])?;
        let blob = blob["CiphertextBlob"].as_str().unwrap().to_owned();
        for _ in 0..4 {
            let back = act(kms, "Decrypt", &[("CiphertextBlob", blob.as_str())])?;
            assert_eq!(back["Plaintext"], plain.as_str(), "a wrong plaintext is worse than none");
        }
    }
    Ok(())
}
