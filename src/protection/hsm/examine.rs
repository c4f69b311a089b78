//! What `alikms doctor` tells of a device: what it can and cannot do for the key specs that there are.

use cryptoki_sys::{CKF_ENCRYPT, CKF_WRAP};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::import::{RSA_AES_BITS, Unwrapping};
use super::profile::{GcmIv, Oaep};
use super::recover::Fault;
use super::{DeviceReport, Hsm, healthy, templates};
use crate::config::Isolate;
use crate::crypto::cipher::AesKey;
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::model::algorithm::{Cipher, Job};
use crate::model::public::PublicKey;
use crate::model::spec::{SPECS, Spec};
use crate::protection::public::Prepared;
use crate::protection::{Protection, Usages};

/// Of the key and of the pair in [`Hsm::rehearse_import`].
const IMPORTED: &str = "Aliyun_AES_256";
const WRAPPING: &str = "RSA_2048";

/// A device as it answered, and its profile.
#[derive(Debug, Clone)]
pub struct Examination {
    pub report: DeviceReport,
    /// What the profile was learnt from.
    pub source: String,
    pub isolate: Isolate,
    /// How many sessions a process may have at most, the anchor session included.
    pub sessions: usize,
    /// Each spec by its name; what is missing for it, if something is.
    pub specs: Vec<(&'static str, Option<String>)>,
    /// The same of each wrapping by which key material may come.
    pub imports: Vec<(Unwrapping, &'static str, Option<String>)>,
    /// What keys in it cannot do, as sentences.
    pub notes: Vec<String>,
}

impl Hsm {
    /// Loads and asks the device. Nothing is made in it.
    pub fn examine(&self) -> Result<Examination> {
        let report = self.probe()?;
        let profile = self.device.profile()?;
        let mut specs = Vec::new();
        for spec in SPECS.iter().map(Spec) {
            specs.push((spec.name, missing(self.supports(spec))?));
        }
        let mut imports = Vec::new();
        for (unwrapping, name) in Unwrapping::NAMES {
            imports.push((unwrapping, name, missing(self.takes_over(spec(IMPORTED)?, unwrapping))?));
        }
        let mut notes = Vec::new();
        let has = |id| report.mechanisms.contains(&id);
        if profile.gcm_iv != GcmIv::Caller || !has(cryptoki_sys::CKM_AES_GCM) {
            notes
                .push("AES keys in it cannot be used by Encrypt and Decrypt of the API: no GCM with our IV".to_owned());
        }
        if profile.oaep == Oaep::Sha1 && has(cryptoki_sys::CKM_RSA_X_509) {
            notes.push("OAEP with other hashes than SHA-1 is unpadded in the process that asks".to_owned());
        }
        if !profile.session_objects {
            notes.push("no key agreement (ECDH): it has no session objects".to_owned());
        }
        let wraps = [cryptoki_sys::CKM_AES_KEY_WRAP_PAD, cryptoki_sys::CKM_AES_KEY_WRAP_KWP];
        if !profile.replicates && !wraps.into_iter().any(has) {
            notes.push(
                "it cannot share keys with other devices (`devices = [...]`): no CKM_AES_KEY_WRAP_PAD".to_owned(),
            );
        }
        if profile.lacks.is_empty() && profile.name == "generic" {
            notes.push("no profile fits it: what it refuses is found out when a key is made".to_owned());
        }
        let isolate = self.device.isolate()?;
        let (sessions, wraps_keys_only) = self.device.run(&healthy, |session| {
            let connection = &session.connection;
            let does = |flag| wraps.into_iter().any(|id| connection.does(id, flag));
            Ok::<_, Fault>((connection.capacity.saturating_add(1), does(CKF_WRAP) && !does(CKF_ENCRYPT)))
        })?;
        if wraps_keys_only {
            notes.push(
                "it has AES key wrap for keys only: C_WrapKey with a key in it wraps keys of whole 8 bytes".to_owned(),
            );
        }
        Ok(Examination { report, source: profile.source.clone(), isolate, sessions, specs, imports, notes })
    }

    /// Makes a key of this spec in the device and destroys it.
    pub fn rehearse(&self, spec: Spec) -> Result<()> {
        let usages = Usages {
            sign: spec.family.is_asymmetric() || templates::is_mac(spec),
            encrypt: !spec.family.is_asymmetric() && !templates::is_mac(spec),
            decrypt: !spec.family.is_asymmetric() && !templates::is_mac(spec),
            ..Usages::default()
        };
        let id = Uuid::new_v4();
        let made = self.generate(id, spec, usages)?;
        self.destroy(id, &made.material)
    }

    /// Wraps key material made for the purpose, has the device take it over, compares what it does, and destroys it.
    pub fn rehearse_import(&self, unwrapping: Unwrapping) -> Result<()> {
        let value = Zeroizing::new(random::bytes::<32>());
        let (pair, id) = (Uuid::new_v4(), Uuid::new_v4());
        let (wrapper, public) = self.wrapping_pair(pair, spec(WRAPPING)?)?;
        let outcome = (|| {
            let usages = Usages { encrypt: true, ..Usages::default() };
            let wrapped = wrapped(&public, unwrapping, value.as_slice())?;
            let material = self.unwrap(pair, unwrapping, &wrapped, (id, spec(IMPORTED)?, usages))?;
            let key = self.open(id, spec(IMPORTED)?, &material, None);
            let answer = key.and_then(|key| key.once(&Job::Encrypt(Cipher::AesEcb), &[0; 16]));
            self.destroy(id, &material)?;
            match answer? == AesKey::new(value.as_slice())?.encrypt(&Cipher::AesEcb, &[0; 16])? {
                true => Ok(()),
                false => Err(self.device.lacks("taking over key material as it is: it made another key of it")),
            }
        })();
        self.destroy(pair, &wrapper)?;
        outcome
    }
}

fn missing(asked: Result<()>) -> Result<Option<String>> {
    match asked {
        Ok(()) => Ok(None),
        Err(Error::DeviceLacks { what, .. }) => Ok(Some(what)),
        Err(error) => Err(error),
    }
}

fn spec(name: &str) -> Result<Spec> {
    Spec::by_name(name).ok_or_else(|| Error::Internal(format!("no spec {name}")))
}

/// As whoever imports key material does it.
fn wrapped(public: &PublicKey, unwrapping: Unwrapping, value: &[u8]) -> Result<Vec<u8>> {
    let public = Prepared::new(public)?;
    let oaep = |hash, value: &[u8]| public.encrypt(&Cipher::RsaOaep { hash, mgf: hash, label: Vec::new() }, value);
    match unwrapping {
        Unwrapping::Oaep(hash) => oaep(hash, value),
        Unwrapping::Pkcs1 => public.encrypt(&Cipher::RsaPkcs1, value),
        Unwrapping::RsaAes(hash) => {
            let between = Zeroizing::new(random::bytes::<{ RSA_AES_BITS / 8 }>());
            let inside = AesKey::new(between.as_slice())?.encrypt(&Cipher::AesKeyWrapPad, value)?;
            Ok([oaep(hash, between.as_slice())?.as_slice(), &inside].concat())
        }
    }
}
