//! Imported key material: GetParametersForImport, ImportKeyMaterial, DeleteKeyMaterial (S004-077 to S004-110).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::rsa::RsaKey;
use crate::crypto::unwrapping;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::catalogue::refresh_key;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::model::caller::Caller;
use crate::model::hash::Hash;
use crate::model::key::{Key, KeyState, Level, Material, Origin, Version};
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::model::time::{DAY, Moment};
use crate::protection::hsm::Group;
use crate::protection::hsm::import::{RSA_AES_BITS, Unwrapping};
use crate::protection::{Protection, Usages};
use crate::store::{Intent, IntentKind};

/// S004-098.
const TOKEN_LIFETIME: i64 = DAY;
/// S004-090: the wrapping key is RSA of 2048 bits.
const WRAPPING_BITS: usize = 2048;
const WRAPPING_SPEC: &str = "RSA_2048";
const F4: &[u8] = &[1, 0, 1];
const PURPOSE: &str = "import token";

/// How key material is wrapped for its way here (S004-089).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Wrapping {
    RsaAesKeyWrapSha1,
    RsaAesKeyWrapSha256,
    RsaesOaepSha1,
    RsaesOaepSha256,
    RsaesPkcs1V15,
}

impl Wrapping {
    const ALL: [Self; 5] = [
        Self::RsaesPkcs1V15,
        Self::RsaesOaepSha1,
        Self::RsaesOaepSha256,
        Self::RsaAesKeyWrapSha1,
        Self::RsaAesKeyWrapSha256,
    ];

    fn by_name(name: &str) -> Result<Self> {
        let known = Self::ALL.into_iter().find(|wrapping| wrapping.name() == name);
        known.ok_or_else(|| Error::invalid("WrappingAlgorithm", choice(Self::ALL.map(Self::name))))
    }

    fn name(self) -> &'static str {
        let known = Unwrapping::NAMES.iter().find(|(unwrapping, _)| *unwrapping == self.in_device());
        known.map_or("", |(_, name)| name)
    }

    fn in_device(self) -> Unwrapping {
        match self {
            Self::RsaAesKeyWrapSha1 => Unwrapping::RsaAes(Hash::Sha1),
            Self::RsaAesKeyWrapSha256 => Unwrapping::RsaAes(Hash::Sha256),
            Self::RsaesOaepSha1 => Unwrapping::Oaep(Hash::Sha1),
            Self::RsaesOaepSha256 => Unwrapping::Oaep(Hash::Sha256),
            Self::RsaesPkcs1V15 => Unwrapping::Pkcs1,
        }
    }

    /// With v1.5 a wrong padding yields made-up bytes, which then have the wrong length or digest.
    fn unwrap(self, key: &RsaKey, wrapped: &[u8]) -> Result<Bytes> {
        match self.in_device() {
            Unwrapping::Oaep(hash) => key.decrypt_oaep(hash, hash, &[], wrapped),
            Unwrapping::Pkcs1 => key.decrypt_pkcs1(wrapped),
            Unwrapping::RsaAes(hash) => {
                let open = |outside: &[u8]| key.decrypt_oaep(hash, hash, &[], outside);
                unwrapping::rsa_aes(wrapped, WRAPPING_BITS / 8, RSA_AES_BITS / 8, open)
            }
        }
    }
}

/// What an import token carries, sealed under the key-encryption key: nothing of it is stored here.
#[derive(Serialize, Deserialize)]
struct Ticket {
    key: Uuid,
    expires: Moment,
    wrapping: Wrapping,
    /// At level SOFTWARE: the wrapping key itself.
    #[serde(with = "crate::model::names::base64_bytes")]
    private_key: Vec<u8>,
    /// At level HSM: what the wrapping pair is called in the device.
    pair: Option<Uuid>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.private_key);
    }
}

/// What GetParametersForImport answers.
#[derive(Debug, Clone)]
pub struct ImportParameters {
    pub key: Uuid,
    pub token: Vec<u8>,
    /// DER SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub expires: Moment,
}

impl Kms {
    fn external(&self, caller: &Caller, action: &'static str, name: &str) -> Result<(Key, KeyState)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key_by_id(r, name)?;
            let _allowed = self.authorize_key(caller, action, &key)?;
            if key.origin == Origin::External && key.spec.external {
                Ok((key, state))
            } else {
                Err(Error::UnsupportedOrigin)
            }
        })
    }

    /// A new wrapping key and a token that binds it to this key for 24 hours.
    pub fn parameters_for_import(
        &self,
        caller: &Caller,
        name: &str,
        algorithm: &str,
        key_spec: &str,
    ) -> Result<ImportParameters> {
        let wrapping = Wrapping::by_name(algorithm)?;
        if key_spec != WRAPPING_SPEC {
            return Err(Error::invalid("WrappingKeySpec", WRAPPING_SPEC));
        }
        let (key, _) = self.external(caller, "GetParametersForImport", name)?;
        let expires = Moment(self.now().0.saturating_add(TOKEN_LIFETIME));
        let (private_key, pair, public) = match key.level {
            Level::Software => {
                let wrapper = RsaKey::generate(WRAPPING_BITS, F4)?;
                let (modulus, exponent) = wrapper.public();
                (wrapper.to_der()?.to_vec(), None, PublicKey::Rsa { modulus, exponent })
            }
            Level::Hsm => {
                let (id, public) = self.wrapping_pair(caller, &key, wrapping, expires)?;
                (Vec::new(), Some(id), public)
            }
        };
        let ticket = Ticket { key: key.id, expires, wrapping, private_key, pair };
        let plain = serde_json::to_vec(&ticket).map(Bytes::new);
        let plain = plain.map_err(|error| Error::Internal(error.to_string()))?;
        let token = self.open()?.realm.kek.seal(PURPOSE, key.id.as_bytes(), &[], &plain);
        Ok(ImportParameters { key: key.id, token, public_key: public.to_spki()?, expires })
    }

    /// S004-148: made in the device, where an intent sees to it that it goes when the token has expired.
    fn wrapping_pair(
        &self,
        caller: &Caller,
        key: &Key,
        wrapping: Wrapping,
        expires: Moment,
    ) -> Result<(Uuid, PublicKey)> {
        const ACTION: &str = "GetParametersForImport";
        self.replication(caller)?;
        let device = self.device_of(key)?;
        device.takes_over(key.spec, wrapping.in_device()).map_err(|error| with_choice(device, key.spec, error))?;
        let spec = Spec::by_name(WRAPPING_SPEC).ok_or_else(|| Error::Internal("no wrapping spec".to_owned()))?;
        let id = Uuid::new_v4();
        let intent = Intent { id: Uuid::new_v4(), kind: IntentKind::Destroy, version: id, material: None, at: expires };
        let audit = self.audit(caller, ACTION, key.id);
        self.store.write(&self.open()?.realm, &audit, |r| r.insert_intent(&intent))?;
        device.wrapping_pair(id, spec).map(|(_, public)| (id, public))
    }

    fn device_of(&self, key: &Key) -> Result<&Group> {
        self.device.as_ref().ok_or_else(|| Error::UnsupportedProtectionLevel {
            level: "HSM",
            reason: format!("key {} is in a device, and this token has none in alikms.toml", key.id),
        })
    }

    /// Takes the material over. `expires` in seconds since 1970; None or 0 is never.
    pub fn import_key_material(
        &self,
        caller: &Caller,
        name: &str,
        wrapped: &[u8],
        token: &[u8],
        expires: Option<i64>,
    ) -> Result<()> {
        const ACTION: &str = "ImportKeyMaterial";
        let (key, state) = self.external(caller, ACTION, name)?;
        if state == KeyState::PendingDeletion {
            return Err(Error::StateChange { resource: key.id.to_string(), reason: format!("it is {state}") });
        }
        let expires = match expires.unwrap_or(0) {
            0 => None,
            at if Moment(at) > self.now() => Some(Moment(at)),
            _ => return Err(Error::invalid("KeyMaterialExpireUnix", "it lies in the past")),
        };
        let allowed = self.authorize_key(caller, ACTION, &key)?;
        let ticket = self.ticket(&key, token)?;
        let id = key.primary.unwrap_or_else(Uuid::new_v4);
        let taken = self.take_over(caller, &key, id, &ticket, wrapped, &allowed)?;
        let stored = self.store_material(caller, key.id, id, &taken, expires);
        match stored {
            // The same material was there already: the new copy of it in the device goes.
            Ok(false) | Err(_) => {
                self.abandon_creation(caller, ACTION, key.level, taken.intent, taken.id, Some(&taken.material))
            }
            Ok(true) => {}
        }
        self.cache.forget(id);
        stored.map(drop)
    }

    /// Did the key take this copy of the material? Not if it has one: then only the expiration is new.
    fn store_material(
        &self,
        caller: &Caller,
        key: Uuid,
        id: Uuid,
        taken: &Taken,
        expires: Option<Moment>,
    ) -> Result<bool> {
        const ACTION: &str = "ImportKeyMaterial";
        let audit = self.audit(caller, ACTION, key);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, state) = self.find_key_by_id(r, &key.to_string())?;
            if state == KeyState::PendingDeletion {
                return Err(Error::StateChange { resource: key.id.to_string(), reason: format!("it is {state}") });
            }
            if !key.material_digest.is_empty() && key.material_digest != taken.digest {
                let only = "this key takes only the material that it was given first";
                return Err(Error::InvalidKeyMaterial(only.to_owned()));
            }
            let present = r.version(id)?;
            let is_new = present.as_ref().is_none_or(|version| version.material.is_none());
            let material = Some(taken.material.clone());
            match present {
                Some(version) if is_new => r.update_version(&Version { material, ..version })?,
                Some(_) => {}
                None => {
                    let created = self.now();
                    let version = Version { id, key: key.id, created, material, public: None, retired: false };
                    r.insert_version(&version)?;
                }
            }
            if is_new {
                self.finish_creation(r, taken.intent)?;
            }
            key.primary = Some(id);
            key.material_digest = taken.digest.clone();
            key.material_expires = expires;
            if state == KeyState::PendingImport {
                key.state = KeyState::Enabled;
            }
            r.update_key(&key)?;
            refresh_key(r, &key, self.now())?;
            Ok(is_new)
        })
    }

    /// Unwraps the material where the key works, and makes its digest.
    fn take_over(
        &self,
        caller: &Caller,
        key: &Key,
        id: Uuid,
        ticket: &Ticket,
        wrapped: &[u8],
        allowed: &Allowed,
    ) -> Result<Taken> {
        const ACTION: &str = "ImportKeyMaterial";
        let kek = &self.open()?.realm.kek;
        let usages = Usages::of(key.usage, false);
        let Some(pair) = ticket.pair else {
            let value = unwrap_here(key, ticket, wrapped)?;
            let digest = kek.tag(&[b"imported material", key.id.as_bytes(), &value]).to_vec();
            let material = self.protection(key.level, allowed)?.import(id, key.spec, usages, &value)?.material;
            return Ok(Taken { id, material, digest, intent: None });
        };
        let device = self.device_of(key)?;
        let copy = Uuid::new_v4();
        let intent = self.begin_creation(caller, ACTION, key.level, copy)?;
        let unwrapped = device.unwrap(pair, ticket.wrapping.in_device(), wrapped, (copy, key.spec, usages));
        let taken = unwrapped.and_then(|material| {
            // Whether it is the material of before is asked of the device: what it makes of two fixed blocks.
            let blocks = kek.tag(&[b"probe of imported material", key.id.as_bytes()]);
            let work = device.open(copy, key.spec, &material, None)?;
            let cipher = if key.spec.family == Family::Sm4 { Cipher::Sm4Ecb } else { Cipher::AesEcb };
            let answer = work.once(&Job::Encrypt(cipher), &blocks).map_err(|error| match error {
                // It took over what is no key of this family: 31 bytes for AES.
                Error::DeviceLacks { .. } => Error::Ciphertext,
                other => other,
            })?;
            let digest = kek.tag(&[b"imported material in a device", key.id.as_bytes(), &answer]).to_vec();
            Ok(Taken { id: copy, material, digest, intent })
        });
        taken.map_err(|error| {
            self.abandon_creation(caller, ACTION, key.level, intent, copy, self.made_by_us(copy).as_ref());
            match error {
                Error::Ciphertext => unusable(key),
                // A token whose pair the device has no more opens nothing.
                Error::KeyNotFound(missing) if missing == pair.to_string() => Error::InvalidImportToken,
                other => other,
            }
        })
    }

    /// The token must be of this key and in time.
    fn ticket(&self, key: &Key, token: &[u8]) -> Result<Ticket> {
        let kek = &self.open()?.realm.kek;
        let plain = kek.unseal(PURPOSE, key.id.as_bytes(), &[], token).map_err(|_| Error::InvalidImportToken)?;
        let ticket: Ticket = serde_json::from_slice(&plain).map_err(|_| Error::InvalidImportToken)?;
        if ticket.key != key.id || ticket.pair.is_some() != (key.level == Level::Hsm) {
            return Err(Error::InvalidImportToken);
        }
        if ticket.expires <= self.now() {
            return Err(Error::ExpiredImportToken);
        }
        Ok(ticket)
    }

    /// The material goes, the key stays and waits for the same material again (S004-107, S004-109).
    pub fn delete_key_material(&self, caller: &Caller, name: &str) -> Result<()> {
        const ACTION: &str = "DeleteKeyMaterial";
        let (key, _) = self.external(caller, ACTION, name)?;
        let allowed = self.authorize_key(caller, ACTION, &key)?;
        self.drop_material(caller, ACTION, key.id, &allowed)
    }

    /// Takes the material of an imported key out of the records, then out of the device.
    pub(super) fn drop_material(
        &self,
        caller: &Caller,
        action: &'static str,
        key: Uuid,
        allowed: &Allowed,
    ) -> Result<()> {
        let audit = self.audit(caller, action, key);
        let (level, gone) = self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, state) = self.find_key_by_id(r, &key.to_string())?;
            let version = key.primary.map(|id| r.version(id)).transpose()?.flatten();
            if let Some(version) = &version {
                r.update_version(&Version { material: None, ..version.clone() })?;
            }
            if state != KeyState::PendingDeletion {
                key.state = KeyState::PendingImport;
            }
            key.material_expires = None;
            r.update_key(&key)?;
            refresh_key(r, &key, self.now())?;
            let Some(version) = version else { return Ok((key.level, Vec::new())) };
            let intent = self.begin_destruction(r, &version)?;
            Ok((key.level, vec![(version, intent)]))
        })?;
        self.destroy_material(caller, action, level, gone, allowed)
    }
}

/// Key material that has arrived where the key works.
struct Taken {
    /// What it is called there.
    id: Uuid,
    material: Material,
    digest: Vec<u8>,
    intent: Option<Uuid>,
}

/// What is unwrapped must have the length of the key.
fn unwrap_here(key: &Key, ticket: &Ticket, wrapped: &[u8]) -> Result<Bytes> {
    let wrapper = RsaKey::from_der(&ticket.private_key)?;
    let value = ticket.wrapping.unwrap(&wrapper, wrapped).map_err(|_| unusable(key))?;
    if value.len() * 8 == key.spec.bits { Ok(value) } else { Err(unusable(key)) }
}

/// A device that cannot undo one wrapping may be able to undo another: which, is said.
fn with_choice(device: &Group, spec: Spec, error: Error) -> Error {
    let Error::DeviceLacks { device: name, what } = error else { return error };
    let others = Wrapping::ALL.into_iter().filter(|wrapping| device.takes_over(spec, wrapping.in_device()).is_ok());
    let others: Vec<&str> = others.map(Wrapping::name).collect();
    let instead = match others[..] {
        [] => "it takes over no key material of any WrappingAlgorithm".to_owned(),
        _ => format!("it takes over key material with WrappingAlgorithm {}", choice(others)),
    };
    Error::DeviceLacks { device: name, what: format!("{what}; {instead}") }
}

/// "a, b or c".
fn choice(names: impl IntoIterator<Item = &'static str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.concat(),
    }
}

fn unusable(key: &Key) -> Error {
    Error::InvalidKeyMaterial(format!("wrap {} bytes as the token says", key.spec.bits / 8))
}
