//! AsymmetricSign, -Verify, -Encrypt, -Decrypt, GetPublicKey.

use uuid::Uuid;

use crate::crypto::ec;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::usage::Meter;
use crate::kms::use_key::key_state;
use crate::model::Bytes;
use crate::model::algorithm::{Algorithm, Cipher, Job, Signing};
use crate::model::caller::Caller;
use crate::model::key::{Key, KeyState, KeyUsage, Version};
use crate::model::public::PublicKey;
use crate::protection::{self, public::Prepared};

/// What an operation works with, and that it may.
struct Chosen {
    key: Key,
    version: Version,
    algorithm: Algorithm,
    allowed: Allowed,
}

impl Chosen {
    fn done(&self) -> Done {
        Done { key: self.key.id, version: self.version.id }
    }

    fn cipher(&self) -> Result<Cipher> {
        self.algorithm.sealing().ok_or_else(|| unfit(&self.key, self.algorithm))
    }
}

/// Which key and version did it.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub key: Uuid,
    pub version: Uuid,
}

impl Kms {
    /// A key and version that may do what `algorithm` says; any state but Enabled refuses.
    fn asymmetric(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        version: &str,
        algorithm: &str,
        (usage, meter): (KeyUsage, &Meter),
    ) -> Result<Chosen> {
        let algorithm =
            Algorithm::by_name(algorithm).ok_or_else(|| Error::invalid("Algorithm", "no such algorithm"))?;
        self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key(r, key)?;
            meter.key(key.id);
            let allowed = self.authorize_key(caller, action, &key)?;
            let version = self.version_of(r, &key, version)?;
            meter.version(version.id);
            if state != KeyState::Enabled {
                return Err(key_state(&key, state));
            }
            check_algorithm(&key, algorithm, usage)?;
            Ok(Chosen { key, version, algorithm, allowed })
        })
    }

    /// Signs a digest; for SM2DSA that of Z_A and the message (ruling 14). ECDSA and SM2 signatures are DER (ruling 15).
    pub fn asymmetric_sign(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        algorithm: &str,
        digest: &[u8],
    ) -> Result<(Done, Vec<u8>)> {
        const ACTION: &str = "AsymmetricSign";
        self.metered(caller, ACTION, |meter| {
            let chosen = self.asymmetric(caller, ACTION, key, version, algorithm, (KeyUsage::SignVerify, meter))?;
            let (scheme, input) = signing_input(chosen.algorithm, digest)?;
            meter.job(&Job::Sign(scheme.clone()));
            let done = chosen.done();
            let ready = self.ready_if(done.version, |_, _| Ok(chosen.allowed))?;
            Ok((done, make_signature(ready.work.as_ref(), scheme, &input)?))
        })
    }

    /// A wrong signature is `false`, not an error.
    pub fn asymmetric_verify(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        algorithm: &str,
        digest: &[u8],
        signature: &[u8],
    ) -> Result<(Done, bool)> {
        const ACTION: &str = "AsymmetricVerify";
        self.metered(caller, ACTION, |meter| {
            let chosen = self.asymmetric(caller, ACTION, key, version, algorithm, (KeyUsage::SignVerify, meter))?;
            let (scheme, input) = signing_input(chosen.algorithm, digest)?;
            meter.job(&Job::Sign(scheme.clone()));
            let is_right = check_signature(public_key_of(&chosen.version)?, &scheme, &input, signature)?;
            Ok((chosen.done(), is_right))
        })
    }

    pub fn asymmetric_encrypt(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        algorithm: &str,
        plaintext: &[u8],
    ) -> Result<(Done, Vec<u8>)> {
        const ACTION: &str = "AsymmetricEncrypt";
        let bad_length = || Error::invalid("Plaintext", "empty, or too long for this key and algorithm");
        self.metered(caller, ACTION, |meter| {
            let chosen = self.asymmetric(caller, ACTION, key, version, algorithm, (KeyUsage::EncryptDecrypt, meter))?;
            let cipher = chosen.cipher()?;
            meter.job(&Job::Encrypt(cipher.clone()));
            if plaintext.len() > chosen.algorithm.longest_plaintext() {
                return Err(bad_length());
            }
            let ciphertext = public_of(&chosen.version)?.encrypt(&cipher, plaintext).map_err(|error| match error {
                Error::DataLength => bad_length(),
                other => other,
            })?;
            Ok((chosen.done(), ciphertext))
        })
    }

    pub fn asymmetric_decrypt(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        algorithm: &str,
        ciphertext: &[u8],
    ) -> Result<(Done, Bytes)> {
        const ACTION: &str = "AsymmetricDecrypt";
        self.metered(caller, ACTION, |meter| {
            let chosen = self.asymmetric(caller, ACTION, key, version, algorithm, (KeyUsage::EncryptDecrypt, meter))?;
            let (done, job) = (chosen.done(), Job::Decrypt(chosen.cipher()?));
            meter.job(&job);
            let ready = self.ready_if(done.version, |_, _| Ok(chosen.allowed))?;
            Ok((done, ready.work.once(&job, ciphertext)?))
        })
    }

    /// In every state of the key (kms-api §1.2).
    pub fn public_key(&self, caller: &Caller, key: &str, version: &str) -> Result<(Done, PublicKey)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "GetPublicKey", &key)?;
            if !key.spec.family.is_asymmetric() {
                return Err(Error::Unsupported("a symmetric key has no public key".to_owned()));
            }
            let version = self.version_of(r, &key, version)?;
            let done = Done { key: key.id, version: version.id };
            let public = version.public.ok_or_else(|| Error::Internal("a key pair without public key".to_owned()))?;
            Ok((done, public))
        })
    }
}

fn public_key_of(version: &Version) -> Result<&PublicKey> {
    version.public.as_ref().ok_or_else(|| Error::Internal("a key pair without public key".to_owned()))
}

fn public_of(version: &Version) -> Result<Prepared> {
    Prepared::new(public_key_of(version)?)
}

/// Signs what [`signing_input`] made. ECDSA signatures become DER (ruling 15).
pub(super) fn make_signature(work: &dyn protection::Key, scheme: Signing, input: &[u8]) -> Result<Vec<u8>> {
    let der = scheme == Signing::Ecdsa;
    let signature = work.once(&Job::Sign(scheme), input)?;
    if der { ec::to_der(&signature) } else { Ok(signature.to_vec()) }
}

/// The other direction of [`make_signature`]. Whatever is no signature of this key is `false`.
pub(super) fn check_signature(public: &PublicKey, scheme: &Signing, input: &[u8], signature: &[u8]) -> Result<bool> {
    let raw = match (scheme, public) {
        (Signing::Ecdsa, PublicKey::Ec { curve, .. }) => match ec::from_der(*curve, signature) {
            Ok(raw) => raw,
            Err(_) => return Ok(false),
        },
        _ => signature.to_vec(),
    };
    match Prepared::new(public)?.verify(scheme, input, &raw) {
        Ok(()) => Ok(true),
        Err(Error::SignatureInvalid | Error::SignatureLength) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Usage and algorithm must both fit (S003-020).
fn check_algorithm(key: &Key, algorithm: Algorithm, usage: KeyUsage) -> Result<()> {
    let signs = algorithm.signing().is_some();
    if key.usage != usage || !key.spec.algorithms.contains(&algorithm) || signs != (usage == KeyUsage::SignVerify) {
        return Err(unfit(key, algorithm));
    }
    Ok(())
}

fn unfit(key: &Key, algorithm: Algorithm) -> Error {
    Error::Unsupported(format!("{} with a key of KeySpec {} and this KeyUsage", algorithm.name(), key.spec.name))
}

/// What the key signs: the digest itself, or for PKCS#1 v1.5 the DigestInfo around it. S003-008: the length must fit.
pub(super) fn signing_input(algorithm: Algorithm, digest: &[u8]) -> Result<(Signing, Vec<u8>)> {
    let (scheme, hash) =
        algorithm.signing().ok_or_else(|| Error::Unsupported(format!("{} does not sign", algorithm.name())))?;
    if digest.len() != hash.len() {
        return Err(Error::invalid("Digest", format!("{} takes a digest of {} bytes", algorithm.name(), hash.len())));
    }
    let input = match scheme {
        Signing::RsaPkcs1 => [hash.digest_info_prefix(), digest].concat(),
        _ => digest.to_vec(),
    };
    Ok((scheme, input))
}
