//! GenerateMac and VerifyMac: authentication codes of HMAC keys.

use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::usage::Meter;
use crate::kms::use_key::key_state;
use crate::model::Bytes;
use crate::model::algorithm::{Job, Mac};
use crate::model::caller::Caller;
use crate::model::hash::Hash;
use crate::model::key::{KeyState, Style};
use crate::model::spec::Family;

impl Kms {
    /// The code of a message. The algorithm is the one that the key is named after.
    pub fn generate_mac(&self, caller: &Caller, key: &str, algorithm: &str, message: &[u8]) -> Result<(Uuid, Bytes)> {
        self.mac(caller, "GenerateMac", key, algorithm, message)
    }

    /// A wrong code is `false`, not an error.
    pub fn verify_mac(
        &self,
        caller: &Caller,
        key: &str,
        algorithm: &str,
        message: &[u8],
        mac: &[u8],
    ) -> Result<(Uuid, bool)> {
        let (key, right) = self.mac(caller, "VerifyMac", key, algorithm, message)?;
        Ok((key, bool::from(right.as_slice().ct_eq(mac))))
    }

    fn mac(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        algorithm: &str,
        message: &[u8],
    ) -> Result<(Uuid, Bytes)> {
        let hash = hash_of(algorithm).ok_or_else(|| Error::invalid("Algorithm", "no such algorithm"))?;
        let job = Job::Mac(Mac::Hmac(hash));
        self.metered(caller, action, |meter| {
            meter.job(&job);
            let (key, version, allowed) = self.hmac_key(caller, action, key, algorithm, meter)?;
            let ready = self.ready_if(version, |_, _| Ok(allowed))?;
            Ok((key, ready.work.once(&job, message)?))
        })
    }

    fn hmac_key(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        algorithm: &str,
        meter: &Meter,
    ) -> Result<(Uuid, Uuid, Allowed)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key(r, key)?;
            meter.key(key.id);
            let allowed = self.authorize_key(caller, action, &key)?;
            if key.spec.family != Family::Generic || key.spec.name != algorithm || key.style == Style::Raw {
                return Err(Error::Unsupported(format!("{algorithm} with a key of KeySpec {}", key.spec.name)));
            }
            match (state, key.primary) {
                (KeyState::Enabled, Some(version)) => {
                    meter.version(version);
                    Ok((key.id, version, allowed))
                }
                (KeyState::Enabled, None) => Err(key_state(&key, KeyState::PendingImport)),
                (state, _) => Err(key_state(&key, state)),
            }
        })
    }
}

fn hash_of(algorithm: &str) -> Option<Hash> {
    match algorithm {
        "HMAC_SHA_256" => Some(Hash::Sha256),
        "HMAC_SHA_384" => Some(Hash::Sha384),
        "HMAC_SHA_512" => Some(Hash::Sha512),
        _ => None,
    }
}
