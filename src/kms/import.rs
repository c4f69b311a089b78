//! Imported key material: GetParametersForImport, ImportKeyMaterial, DeleteKeyMaterial (S004-077 to S004-110).

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::crypto::rsa::RsaKey;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::refresh_key;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::hash::Hash;
use crate::model::key::{Key, KeyState, Level, Origin, Version};
use crate::model::public::PublicKey;
use crate::model::time::{DAY, Moment};
use crate::protection::{Protection, Usages};

/// S004-098.
const TOKEN_LIFETIME: i64 = DAY;
/// S004-090: the wrapping key is RSA of 2048 bits.
const WRAPPING_BITS: usize = 2048;
const F4: &[u8] = &[1, 0, 1];
const PURPOSE: &str = "import token";

/// How key material is wrapped for its way here (S004-089).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Wrapping {
    RsaesOaepSha1,
    RsaesOaepSha256,
    RsaesPkcs1V15,
}

impl Wrapping {
    fn by_name(name: &str) -> Result<Self> {
        Ok(match name {
            "RSAES_OAEP_SHA_1" => Self::RsaesOaepSha1,
            "RSAES_OAEP_SHA_256" => Self::RsaesOaepSha256,
            "RSAES_PKCS1_V1_5" => Self::RsaesPkcs1V15,
            _ => {
                let choice = "RSAES_PKCS1_V1_5, RSAES_OAEP_SHA_1 or RSAES_OAEP_SHA_256";
                return Err(Error::invalid("WrappingAlgorithm", choice));
            }
        })
    }

    /// With v1.5 a wrong padding yields made-up bytes, which then have the wrong length or digest.
    fn unwrap(self, key: &RsaKey, wrapped: &[u8]) -> Result<Bytes> {
        let hash = match self {
            Self::RsaesOaepSha1 => Hash::Sha1,
            Self::RsaesOaepSha256 => Hash::Sha256,
            Self::RsaesPkcs1V15 => return key.decrypt_pkcs1(wrapped),
        };
        key.decrypt_oaep(hash, hash, &[], wrapped)
    }
}

/// What an import token carries, sealed under the key-encryption key: nothing of it is stored here.
#[derive(Serialize, Deserialize)]
struct Ticket {
    key: Uuid,
    expires: Moment,
    wrapping: Wrapping,
    #[serde(with = "crate::model::names::base64_bytes")]
    private_key: Vec<u8>,
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
            let _allowed = self.authorize(caller, action, &self.realm.key_arn(key.id))?;
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
        if key_spec != "RSA_2048" {
            return Err(Error::invalid("WrappingKeySpec", "RSA_2048"));
        }
        let (key, _) = self.external(caller, "GetParametersForImport", name)?;
        check_level(&key)?;
        let wrapper = RsaKey::generate(WRAPPING_BITS, F4)?;
        let (modulus, exponent) = wrapper.public();
        let expires = Moment(self.now().0.saturating_add(TOKEN_LIFETIME));
        let ticket = Ticket { key: key.id, expires, wrapping, private_key: wrapper.to_der()?.to_vec() };
        let plain = serde_json::to_vec(&ticket).map(Bytes::new);
        let plain = plain.map_err(|error| Error::Internal(error.to_string()))?;
        let token = self.open()?.realm.kek.seal(PURPOSE, key.id.as_bytes(), &[], &plain);
        let public_key = PublicKey::Rsa { modulus, exponent }.to_spki()?;
        Ok(ImportParameters { key: key.id, token, public_key, expires })
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
        check_level(&key)?;
        let expires = match expires.unwrap_or(0) {
            0 => None,
            at if Moment(at) > self.now() => Some(Moment(at)),
            _ => return Err(Error::invalid("KeyMaterialExpireUnix", "it lies in the past")),
        };
        let value = self.unwrap_material(&key, wrapped, token)?;
        let digest = self.open()?.realm.kek.tag(&[b"imported material", key.id.as_bytes(), &value]).to_vec();
        let other = || Error::InvalidKeyMaterial("this key takes only the material that it was given first".to_owned());
        if !key.material_digest.is_empty() && key.material_digest != digest {
            return Err(other());
        }
        let allowed = self.authorize(caller, ACTION, &self.realm.key_arn(key.id))?;
        let protection: &dyn Protection = self.protection(key.level, &allowed)?;
        let id = key.primary.unwrap_or_else(Uuid::new_v4);
        let made = protection.import(id, key.spec, Usages::of(key.usage, false), &value)?;
        let audit = self.audit(caller, ACTION, key.id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, state) = self.find_key_by_id(r, name)?;
            if state == KeyState::PendingDeletion {
                return Err(Error::StateChange { resource: key.id.to_string(), reason: format!("it is {state}") });
            }
            if !key.material_digest.is_empty() && key.material_digest != digest {
                return Err(other());
            }
            let material = Some(made.material.clone());
            match r.version(id)? {
                Some(version) => r.update_version(&Version { material, ..version })?,
                None => {
                    let created = self.now();
                    let version = Version { id, key: key.id, created, material, public: None, retired: false };
                    r.insert_version(&version)?;
                }
            }
            key.primary = Some(id);
            key.material_digest = digest.clone();
            key.material_expires = expires;
            if state == KeyState::PendingImport {
                key.state = KeyState::Enabled;
            }
            r.update_key(&key)?;
            refresh_key(r, &key, self.now())
        })?;
        self.cache.forget(id);
        Ok(())
    }

    /// The token must be of this key and in time; what it wraps must be 32 bytes.
    fn unwrap_material(&self, key: &Key, wrapped: &[u8], token: &[u8]) -> Result<Bytes> {
        let kek = &self.open()?.realm.kek;
        let plain = kek.unseal(PURPOSE, key.id.as_bytes(), &[], token).map_err(|_| Error::InvalidImportToken)?;
        let ticket: Ticket = serde_json::from_slice(&plain).map_err(|_| Error::InvalidImportToken)?;
        if ticket.key != key.id {
            return Err(Error::InvalidImportToken);
        }
        if ticket.expires <= self.now() {
            return Err(Error::ExpiredImportToken);
        }
        let fault = || Error::InvalidKeyMaterial(format!("wrap {} bytes as the token says", key.spec.bits / 8));
        let wrapper = RsaKey::from_der(&ticket.private_key)?;
        let value = ticket.wrapping.unwrap(&wrapper, wrapped).map_err(|_| fault())?;
        if value.len() * 8 == key.spec.bits { Ok(value) } else { Err(fault()) }
    }

    /// The material goes, the key stays and waits for the same material again (S004-107, S004-109).
    pub fn delete_key_material(&self, caller: &Caller, name: &str) -> Result<()> {
        const ACTION: &str = "DeleteKeyMaterial";
        let (key, _) = self.external(caller, ACTION, name)?;
        let audit = self.audit(caller, ACTION, key.id);
        let gone = self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, state) = self.find_key_by_id(r, name)?;
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
            Ok(version)
        })?;
        let Some(Version { id, material: Some(material), .. }) = gone else { return Ok(()) };
        self.cache.forget(id);
        let allowed = self.authorize(caller, ACTION, &self.realm.key_arn(key.id))?;
        self.protection(key.level, &allowed)?.destroy(id, &material)
    }
}

/// S004-148 asks for the wrapping key in the device and unwrapping there; until the devices room can do that, refuse.
fn check_level(key: &Key) -> Result<()> {
    match key.level {
        Level::Software => Ok(()),
        Level::Hsm => Err(Error::UnsupportedProtectionLevel {
            level: "HSM",
            reason: "import into a device is not supported by this version".to_owned(),
        }),
    }
}
