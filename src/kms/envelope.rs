//! Encrypt and Decrypt of symmetric keys: the ciphertext blob.

use crate::crypto::random;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::asymmetric::Done;
use crate::kms::authorize::Allowed;
use crate::kms::usage::Meter;
use crate::kms::use_key::key_state;
use crate::model::algorithm::{Cipher, Job};
use crate::model::blob::{Blob, IV_LEN, TAG_LEN};
use crate::model::caller::Caller;
use crate::model::context::Context;
use crate::model::key::{KeyState, KeyUsage, Style};
use crate::model::spec::Family;
use crate::model::{Bytes, Iv};
use uuid::Uuid;

/// Encrypt takes at most so many bytes (6 KB).
pub const MAX_PLAINTEXT: usize = 6144;

impl Kms {
    /// Encrypts under the primary version. The result is the binary blob.
    pub fn encrypt(&self, caller: &Caller, key: &str, plaintext: &[u8], context: &Context) -> Result<(Done, Vec<u8>)> {
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(Error::invalid("Plaintext", "longer than 6144 bytes"));
        }
        self.seal_under(caller, "Encrypt", key, plaintext, context)
    }

    /// Encrypts for `action` under the primary version, which is made anew first if rotation is due.
    pub(super) fn seal_under(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        plaintext: &[u8],
        context: &Context,
    ) -> Result<(Done, Vec<u8>)> {
        self.rotate_if_due(caller, key)?;
        self.metered(caller, action, |meter| {
            let (key, version, allowed) = self.sealing_key(caller, action, key, meter)?;
            let ready = self.ready_if(version, |_, _| Ok(allowed))?;
            let iv = random::bytes::<IV_LEN>();
            let job = Job::Encrypt(gcm(ready.key.spec.family, iv, key, version, context));
            meter.job(&job);
            let sealed = ready.work.once(&job, plaintext)?.to_vec();
            Ok((Done { key, version }, Blob { version, iv, sealed }.to_bytes()))
        })
    }

    /// The key and the version that encrypt now.
    fn sealing_key(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        meter: &Meter,
    ) -> Result<(Uuid, Uuid, Allowed)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key(r, key)?;
            meter.key(key.id);
            let allowed = self.authorize_key(caller, action, &key)?;
            if !wraps(key.spec.family) || key.usage != KeyUsage::EncryptDecrypt {
                return Err(Error::Unsupported(format!("encryption with a key of KeySpec {}", key.spec.name)));
            }
            if key.style == Style::Raw {
                return Err(Error::Unsupported("a ciphertext blob of a key that was made through PKCS#11".to_owned()));
            }
            if state != KeyState::Enabled {
                return Err(key_state(&key, state));
            }
            let version = key.primary.ok_or_else(|| key_state(&key, KeyState::PendingImport))?;
            meter.version(version);
            Ok((key.id, version, allowed))
        })
    }

    /// Needs no key: the blob names the version that encrypted (S004-062).
    pub fn decrypt(&self, caller: &Caller, blob: &[u8], context: &Context) -> Result<(Done, Bytes)> {
        self.open_blob(caller, "Decrypt", blob, context)
    }

    /// Decrypts for `action`.
    pub(super) fn open_blob(
        &self,
        caller: &Caller,
        action: &'static str,
        blob: &[u8],
        context: &Context,
    ) -> Result<(Done, Bytes)> {
        let blob = Blob::from_bytes(blob)?;
        let ready = self.ready(caller, action, blob.version).map_err(|error| match error {
            Error::KeyVersionNotFound(_) => Error::KeyNotFound(blob.version.to_string()),
            other => other,
        })?;
        let key = ready.key.id;
        self.metered(caller, action, |meter| {
            meter.key(key);
            meter.version(blob.version);
            if !wraps(ready.key.spec.family) || ready.key.style == Style::Raw {
                return Err(Error::Ciphertext);
            }
            let job = Job::Decrypt(gcm(ready.key.spec.family, blob.iv, key, blob.version, context));
            meter.job(&job);
            let plaintext = ready.work.once(&job, &blob.sealed)?;
            Ok((Done { key, version: blob.version }, plaintext))
        })
    }
}

/// Do keys of this family make blobs?
fn wraps(family: Family) -> bool {
    matches!(family, Family::Aes | Family::Sm4)
}

fn gcm(family: Family, iv: [u8; IV_LEN], key: Uuid, version: Uuid, context: &Context) -> Cipher {
    let (iv, aad, tag) = (Iv::from_slice(&iv), Blob::aad(key, version, context), TAG_LEN);
    if family == Family::Sm4 { Cipher::Sm4Gcm { iv, aad, tag } } else { Cipher::AesGcm { iv, aad, tag } }
}
