//! Level HSM: keys live in a device behind its own PKCS#11 library and never leave it.
//!
//! From the device upwards: `device` loads the library, `calls` are its functions, `arguments` what they are given, `profile` says what is particular to
//! its family, `token` which one is meant, `connection` is the library initialised and logged in, `session` one of its
//! sessions, `pool` lends them, `turns` keeps other processes out, `recover` mends what broke, `templates` and `jobs` say
//! what is asked, `key` is a key at work, `wrapping` its work on other keys, `parts` its work on input in parts. `agent` is another process that has the
//! device. `group` is the devices of a token, `rota` who of them is asked, `copies` how one key comes to several of them by what is in `replication`. `unsafe` is in `device` and `calls` only.

pub mod agent;
mod arguments;
mod calls;
mod connection;
pub mod copies;
mod device;
pub mod examine;
mod group;
pub mod import;
mod jobs;
mod key;
mod length;
mod parts;
mod pin;
mod pool;
mod profile;
mod recover;
pub mod replication;
mod rota;
mod session;
mod templates;
mod token;
mod turns;
mod wrapping;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::calls::Failed;
use self::connection::Connection;
use self::copies::Copies;
pub use self::group::Group;
use self::key::DeviceKey;
use self::pool::Device;
use self::profile::mechanism_name;
use self::recover::Fault;
use self::session::Session;
use self::templates::New;
pub use self::turns::{Turn, Turnstile};
use self::wrapping::KeyWrap;
use crate::config::DeviceConfig;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Job;
use crate::model::curve::Curve;
use crate::model::key::{Level, Material};
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::{Generated, Key, Protection, Usages};

/// One configured device. Nothing is loaded before first use; one value per process and device, shared by its tokens.
/// A forked child goes on with it: it loads or initialises the library for itself when it first needs it.
pub struct Hsm {
    device: Arc<Device>,
    /// Who has the device, if not this process.
    agent: Option<Arc<agent::Client>>,
}

/// What `alikms status` tells of a device.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceReport {
    pub name: String,
    pub profile: String,
    pub library: String,
    pub token: String,
    pub serial: String,
    pub model: String,
    pub firmware: String,
    /// Numbers of the mechanisms that it offers, ascending.
    pub mechanisms: Vec<u64>,
}

/// The classes of object that a key of ours consists of, the private one first: what it can do goes first.
const CLASSES: [CK_OBJECT_CLASS; 3] = [CKO_PRIVATE_KEY, CKO_SECRET_KEY, CKO_PUBLIC_KEY];
/// Mechanisms of which an AES key in a device needs at least one to be of use.
const AES_MODES: &[CK_MECHANISM_TYPE] = &[CKM_AES_GCM, CKM_AES_CBC_PAD, CKM_AES_CBC, CKM_AES_CTR, CKM_AES_ECB];
/// What an SM2 key in a device needs one of, and what an SM4 key does, by our names.
const SM2_SIGNATURES: [&str; 2] = ["CKM_ALIKMS_SM2", "CKM_ALIKMS_SM2_DER"];
const SM4_MODES: [&str; 5] =
    ["CKM_ALIKMS_SM4_GCM", "CKM_ALIKMS_SM4_CBC_PAD", "CKM_ALIKMS_SM4_CBC", "CKM_ALIKMS_SM4_CTR", "CKM_ALIKMS_SM4_ECB"];
/// Answers that say nothing about why.
const VAGUE: &[CK_RV] = &[CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED, CKR_DEVICE_ERROR];
/// More objects than any device of ours keeps.
const ALL: usize = 10_000_000;

impl Hsm {
    pub fn new(config: DeviceConfig) -> Self {
        Self::with(config, None)
    }

    /// The same for a device that other processes use too: one at a time makes or destroys objects on it if it is shy.
    pub fn in_turns(config: DeviceConfig, turnstile: Turnstile) -> Self {
        Self::with(config, Some(turnstile))
    }

    fn with(config: DeviceConfig, turnstile: Option<Turnstile>) -> Self {
        let agent = config.agent.clone().map(|agent| Arc::new(agent::Client::new(&config, agent)));
        Self { device: Arc::new(Device::new(config, turnstile, None)), agent }
    }

    /// In the agent, whose worker may be started again and again: a PIN that was refused is noted in this file, and not tried again.
    fn noting(config: DeviceConfig, note: PathBuf) -> Self {
        Self { device: Arc::new(Device::new(config, None, Some(note))), agent: None }
    }

    /// Of the configuration's `[[device]]`.
    pub fn name(&self) -> &str {
        &self.device.config.name
    }

    /// Whether what is made in it comes to others by itself.
    fn is_replicating(&self) -> Result<bool> {
        Ok(self.device.profile()?.replicates)
    }

    /// Loads, logs in and asks the device what it is; does a real operation.
    pub fn probe(&self) -> Result<DeviceReport> {
        if let Some(agent) = &self.agent {
            return agent.probe();
        }
        let config = &self.device.config;
        self.device.run(&healthy, |session| {
            let connection = &session.connection;
            connection.touch_device(session.handle)?;
            let token = &connection.token;
            Ok(DeviceReport {
                name: config.name.clone(),
                profile: self.device.profile().map_err(Fault::Stop)?.name.to_owned(),
                library: config.library.display().to_string(),
                token: token.label.clone(),
                serial: token.serial.clone(),
                model: token.model.clone(),
                firmware: token.firmware.clone(),
                mechanisms: connection.mechanisms.iter().map(|(id, _)| *id).collect(),
            })
        })
    }

    /// Refuses, naming the missing mechanism, a spec that the device cannot do.
    pub fn supports(&self, spec: Spec) -> Result<()> {
        if let Some(agent) = &self.agent {
            return agent.supports(spec);
        }
        self.device.run(&healthy, |session| self.can(&session.connection, spec).map_err(Fault::Stop))
    }

    /// Refuses, naming the missing mechanism, a job that keys of this spec cannot do in the device. `len`: of an input
    /// such as the job would have.
    pub fn does(&self, spec: Spec, job: &Job, len: usize) -> Result<()> {
        if let Some(agent) = &self.agent {
            return agent.does(spec, job, len);
        }
        self.device.run(&healthy, |session| {
            let subject = jobs::Subject { spec, public: None };
            let input = vec![0; len];
            match jobs::Plan::new(&self.device, &session.connection, subject, job, &input) {
                Err(Error::DeviceLacks { .. }) if KeyWrap::of(&self.device, &session.connection, job).is_some() => {
                    Ok(())
                }
                plan => plan.map(drop).map_err(Fault::Stop),
            }
        })
    }

    /// The CKA_IDs of private and secret keys on the token that have the length of ours. Not all need be ours.
    pub fn ids(&self) -> Result<Vec<Uuid>> {
        if let Some(agent) = &self.agent {
            return agent.ids();
        }
        self.device.run(&healthy, |session| {
            let mut ids = Vec::new();
            for class in [CKO_PRIVATE_KEY, CKO_SECRET_KEY] {
                for object in session.find(templates::of_class(class), ALL)? {
                    // Somebody may have destroyed it meanwhile.
                    let Ok(values) = session.attributes(object, &[(CKA_ID, 64)]) else { continue };
                    ids.extend(values.iter().flatten().filter_map(|id| Uuid::from_slice(id).ok()));
                }
            }
            ids.sort_unstable();
            ids.dedup();
            Ok(ids)
        })
    }

    fn can(&self, connection: &Connection, spec: Spec) -> Result<()> {
        let device = &self.device;
        let profile = device.profile()?;
        if profile.lacks.iter().any(|name| name == spec.name) {
            return Err(device.lacks(format!("keys of {}", spec.name)));
        }
        // Some devices make a key on SM2's curve and then sign with ECDSA on it: that is not SM2.
        let (generation, _) = self.generation(spec)?;
        let made_by = if spec.family.is_asymmetric() { CKF_GENERATE_KEY_PAIR } else { CKF_GENERATE };
        if !connection.does(generation, made_by) {
            return Err(device.lacks(mechanism_name(generation)));
        }
        if let Some(Some(info)) = connection.info(generation) {
            // Devices count the length of secrets in bytes or in bits.
            let bits = spec.bits as CK_ULONG;
            let fits = |size: CK_ULONG| (info.ulMinKeySize..=info.ulMaxKeySize).contains(&size);
            let is_known = info.ulMaxKeySize != 0 && info.ulMaxKeySize >= info.ulMinKeySize;
            if is_known && !fits(bits) && (spec.family.is_asymmetric() || !fits(bits / 8)) {
                return Err(device.lacks(format!("{} with {bits} bits", mechanism_name(generation))));
            }
        }
        let need = |choices: &[(CK_MECHANISM_TYPE, CK_FLAGS)]| match choices {
            [(first, _), ..] if !choices.iter().any(|(id, flag)| connection.does(*id, *flag)) => {
                Err(device.lacks(mechanism_name(*first)))
            }
            _ => Ok(()),
        };
        match spec.family {
            Family::Sm4 => self.needs_sm(connection, spec, CKF_ENCRYPT, &SM4_MODES),
            Family::Ec(Curve::Sm2) => self.needs_sm(connection, spec, CKF_SIGN, &SM2_SIGNATURES),
            Family::Aes => need(&AES_MODES.iter().map(|id| (*id, CKF_ENCRYPT)).collect::<Vec<_>>()),
            Family::Ec(_) => need(&[(CKM_ECDSA, CKF_SIGN)]),
            Family::Generic => {
                let (_, _, mac) = profile::hash_numbers(templates::mac_hash(spec));
                need(&[(mac, CKF_SIGN)])
            }
            Family::Rsa => need(&[(CKM_RSA_PKCS, CKF_SIGN)])
                .or_else(|_| need(&[(CKM_RSA_PKCS_OAEP, CKF_DECRYPT), (CKM_RSA_X_509, CKF_DECRYPT)])),
        }
    }

    fn generation(&self, spec: Spec) -> Result<(CK_MECHANISM_TYPE, CK_KEY_TYPE)> {
        let known = templates::generation(spec.family, self.device.profile()?);
        known.ok_or_else(|| self.device.lacks(format!("the mechanisms of {}: its profile names none", spec.name)))
    }

    fn needs_sm(&self, connection: &Connection, spec: Spec, flag: CK_FLAGS, names: &[&str]) -> Result<()> {
        let profile = self.device.profile()?;
        match names.iter().filter_map(|name| profile.sm(name)).any(|id| connection.does(id, flag)) {
            true => Ok(()),
            false => Err(self.device.lacks(format!("the mechanisms of {}", spec.name))),
        }
    }

    /// What this usage needs beyond what [`Self::can`] asks.
    fn can_be_used(&self, connection: &Connection, spec: Spec, usages: Usages) -> Result<()> {
        let needs: &[(bool, CK_MECHANISM_TYPE, CK_FLAGS)] = match spec.family {
            Family::Rsa => {
                let oaep = if connection.does(CKM_RSA_X_509, CKF_DECRYPT) { CKM_RSA_X_509 } else { CKM_RSA_PKCS_OAEP };
                &[
                    (usages.sign, CKM_RSA_PKCS, CKF_SIGN),
                    (usages.sign, CKM_RSA_PKCS_PSS, CKF_SIGN),
                    (usages.decrypt, oaep, CKF_DECRYPT),
                ]
            }
            Family::Ec(Curve::Sm2) => &[],
            Family::Ec(_) => &[(usages.sign, CKM_ECDSA, CKF_SIGN), (usages.derive, CKM_ECDH1_DERIVE, CKF_DERIVE)],
            Family::Aes | Family::Generic | Family::Sm4 => &[],
        };
        match needs.iter().find(|(is_needed, id, flag)| *is_needed && !connection.does(*id, *flag)) {
            Some((_, id, _)) => Err(self.device.lacks(mechanism_name(*id))),
            None => Ok(()),
        }
    }

    /// On an error also whether it is certain that nothing was left behind.
    fn try_to_generate(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated, (Error, bool)> {
        let began = Cell::new(false);
        let made = self.device.run(&healthy, |session| {
            let connection = &session.connection;
            self.can(connection, spec)
                .and_then(|()| self.can_be_used(connection, spec, usages))
                .map_err(Fault::Stop)?;
            // Up to here all may be done again, so a session that has died meanwhile is noticed here.
            connection.touch_device(session.handle)?;
            for class in CLASSES {
                if !session.find(templates::search(class, id.as_bytes()), 1)?.is_empty() {
                    return Err(Fault::Stop(Error::Internal(format!("the token has an object with the CKA_ID {id}"))));
                }
            }
            began.set(true);
            let new = self.template(id, spec, usages).map_err(Fault::Stop)?;
            let public = self.make(session, spec, &new).map_err(Fault::Stop)?;
            Ok((public, connection.token.serial.clone()))
        });
        match made {
            Ok((public, serial)) => {
                let device = self.name().to_owned();
                Ok(Generated { material: Material::Device { device, serial, id: id.as_bytes().to_vec() }, public })
            }
            Err(error) if !began.get() => Err((error, true)),
            Err(error) => match self.device.run(&healthy, |session| self.erase(session, id.as_bytes())) {
                Ok(_) => Err((error, true)),
                Err(left) => {
                    tracing::warn!(device = self.name(), %id, error = %left, "a key that failed half way may be left behind");
                    Err((error, false))
                }
            },
        }
    }

    fn template(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<New> {
        let new = New::key(id, spec, usages, self.device.profile()?);
        new.ok_or_else(|| self.device.lacks(format!("the mechanisms of {}: its profile names none", spec.name)))
    }

    /// Makes the key in this session, reads it back and compares.
    fn make(&self, session: &Session, spec: Spec, new: &New) -> Result<Option<PublicKey>> {
        let turn = session.alone_on_token()?;
        let made = match session.generate(&turn, new) {
            // What a device has no attribute for it cannot be asked to switch off; a template that it refused made nothing.
            Err(Failed { rv: CKR_ATTRIBUTE_TYPE_INVALID, .. }) => {
                session.generate(&turn, &new.without(&self.device.profile()?.optional))
            }
            made => made,
        };
        drop(turn);
        let (public, private) = made.map_err(|failed| self.refusal(failed, spec, new.mechanism))?;
        self.compare(session, private, &new.private_facts())?;
        let Some(public) = public else { return Ok(None) };
        self.compare(session, public, &new.public_facts())?;
        let parts = session
            .attributes(public, &templates::public_parts(spec.family))
            .map_err(|failed| self.device.error(failed))?;
        match templates::public_key(spec.family, &parts) {
            Ok(Some(key)) if key.bits() == spec.bits => Ok(Some(key)),
            _ => Err(self.device.lacks(format!("a public key of {} bits for a new {}", spec.bits, spec.name))),
        }
    }

    fn compare(&self, session: &Session, object: CK_OBJECT_HANDLE, facts: &[arguments::Attribute]) -> Result<()> {
        let read =
            session.attributes(object, &templates::to_read(facts)).map_err(|failed| self.device.error(failed))?;
        match templates::contradiction(facts, &read) {
            Some(id) => {
                Err(self.device.lacks(format!("new keys as asked for: attribute 0x{id:08x} reads back differently")))
            }
            None => Ok(()),
        }
    }

    fn refusal(&self, failed: Failed, spec: Spec, mechanism: CK_MECHANISM_TYPE) -> Error {
        match failed.rv {
            CKR_MECHANISM_INVALID | CKR_FUNCTION_NOT_SUPPORTED | CKR_MECHANISM_PARAM_INVALID => {
                self.device.lacks(mechanism_name(mechanism))
            }
            CKR_CURVE_NOT_SUPPORTED | CKR_DOMAIN_PARAMS_INVALID | CKR_KEY_SIZE_RANGE => {
                self.device.lacks(format!("{} for {}", mechanism_name(mechanism), spec.name))
            }
            _ => self.device.error(failed),
        }
    }

    /// Destroys whatever has this CKA_ID; whether there was anything.
    fn erase(&self, session: &Session, id: &[u8]) -> Result<bool, Fault> {
        let mut was_there = false;
        for class in CLASSES {
            for object in session.find(templates::search(class, id), 64)? {
                was_there = true;
                // What a device finds by mistake is somebody else's key.
                if !session.has_id(object, id)? {
                    return Err(Fault::Stop(self.device.lacks("finding a key by its CKA_ID: it found another one")));
                }
                let turn = session.alone_on_token().map_err(Fault::Stop)?;
                match session.destroy_on_token(&turn, object) {
                    // The halves of a pair may be one object to the device.
                    Ok(()) | Err(Failed { rv: CKR_OBJECT_HANDLE_INVALID, .. }) => {}
                    Err(failed) => return Err(Fault::Stop(self.device.error(failed))),
                }
            }
        }
        for class in CLASSES {
            if was_there && !session.find(templates::search(class, id), 1)?.is_empty() {
                return Err(Fault::Stop(self.device.lacks("destroying a key: C_DestroyObject left it there")));
            }
        }
        Ok(was_there)
    }

    fn locator<'a>(&self, id: Uuid, material: &'a Material) -> Result<&'a [u8]> {
        match material {
            Material::Device { device, id, .. } if device == self.name() => Ok(id),
            Material::Copies { id, .. } => Ok(id),
            Material::Device { device, .. } => Err(Error::Internal(format!("key {id} is in device {device}"))),
            Material::Sealed(_) => Err(Error::Internal(format!("key {id} is not in a device"))),
        }
    }
}

/// Is it worth asking once more?
fn may_pass(error: &Error) -> bool {
    match error {
        // SoftHSM forgets an object that it has just made when another process changes the token: its files are being read.
        Error::Device { rv, .. } => VAGUE.contains(rv) || *rv == CKR_OBJECT_HANDLE_INVALID,
        Error::DeviceLacks { .. } => true,
        _ => false,
    }
}

/// For work without a key: that the device works at all is asked by recovery itself.
fn healthy(_: &Session) -> Result<(), Fault> {
    Ok(())
}

impl Protection for Hsm {
    fn level(&self) -> Level {
        Level::Hsm
    }

    fn generate(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated> {
        if let Some(agent) = &self.agent {
            return agent.generate(id, spec, usages);
        }
        match self.try_to_generate(id, spec, usages) {
            // Never blindly: what there may be of the first attempt was looked for by its CKA_ID and is gone. SoftHSM
            // answers so now and then when several threads create objects at the same moment, and shows new objects without
            // their attributes when several processes do.
            Err((error, true)) if may_pass(&error) => {
                self.try_to_generate(id, spec, usages).map_err(|(error, _)| error)
            }
            made => made.map_err(|(error, _)| error),
        }
    }

    fn import(&self, _id: Uuid, _spec: Spec, _usages: Usages, _value: &Bytes) -> Result<Generated> {
        // Key bytes must not pass through a template; unwrapping inside the device is to come.
        Err(self.device.lacks("import of key material (by C_UnwrapKey inside the device)"))
    }

    fn open(&self, id: Uuid, spec: Spec, material: &Material, public: Option<&PublicKey>) -> Result<Arc<dyn Key>> {
        let locator = self.locator(id, material)?.to_vec();
        if let Some(agent) = &self.agent {
            return agent.open(agent::Which { id, spec, material: material.clone(), public: public.cloned() });
        }
        let copies = Copies::of(material)?;
        let key = DeviceKey::new(Arc::clone(&self.device), locator, spec, public.cloned(), copies);
        key.look()?;
        Ok(Arc::new(key))
    }

    fn destroy(&self, id: Uuid, material: &Material) -> Result<()> {
        let locator = self.locator(id, material)?;
        if let Some(agent) = &self.agent {
            return agent.destroy(id, material);
        }
        let erased = self.device.run(&healthy, |session| match self.erase(session, locator)? {
            true => Ok(()),
            false => Err(Fault::Missing(locator.to_vec())),
        });
        match erased {
            // Proven to be gone: see `recover`.
            Err(Error::KeyNotFound(_)) => Ok(()),
            other => other,
        }
    }
}
