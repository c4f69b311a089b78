//! What `alikms doctor` tells of a device: what it can and cannot do for the key specs that there are.

use super::profile::{GcmIv, Oaep};
use super::recover::Fault;
use super::{DeviceReport, Hsm, healthy, templates};
use crate::config::Isolate;
use crate::error::{Error, Result};
use crate::model::spec::{SPECS, Spec};
use crate::protection::Usages;

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
            let missing = match self.supports(spec) {
                Ok(()) => None,
                Err(Error::DeviceLacks { what, .. }) => Some(what),
                Err(error) => return Err(error),
            };
            specs.push((spec.name, missing));
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
        let sessions =
            self.device.run(&healthy, |session| Ok::<_, Fault>(session.connection.capacity.saturating_add(1)))?;
        Ok(Examination { report, source: profile.source.clone(), isolate, sessions, specs, notes })
    }

    /// Makes a key of this spec in the device and destroys it.
    pub fn rehearse(&self, spec: Spec) -> Result<()> {
        use crate::protection::Protection;
        let usages = Usages {
            sign: spec.family.is_asymmetric() || templates::is_mac(spec),
            encrypt: !spec.family.is_asymmetric() && !templates::is_mac(spec),
            decrypt: !spec.family.is_asymmetric() && !templates::is_mac(spec),
            ..Usages::default()
        };
        let id = uuid::Uuid::new_v4();
        let made = self.generate(id, spec, usages)?;
        self.destroy(id, &made.material)
    }
}
