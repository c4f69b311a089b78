//! What the key of a certificate does: CertificatePrivateKeySign, -PublicKeyVerify, -PublicKeyEncrypt,
//! -PrivateKeyDecrypt.

use uuid::Uuid;

use super::state_change;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::asymmetric::{check_signature, make_signature, signing_input};
use crate::kms::usage::Meter;
use crate::kms::x509::{Leaf, signed_digest};
use crate::model::Bytes;
use crate::model::algorithm::{Algorithm, Job};
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::key::{Key, KeyUsage, Version};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::public::Prepared;

/// S000-026: a longer message is signed by its digest.
const LONGEST_MESSAGE: usize = 4096;

const ACTIVE: &[CertificateStatus] = &[CertificateStatus::Active];
/// A revoked certificate still verifies (kms-api §2.2).
const VERIFIES: &[CertificateStatus] = &[CertificateStatus::Active, CertificateStatus::Revoked];

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Message<'a> {
    /// Made with the hash that the algorithm names; of SM2 SM3 of Z_A and the message.
    Digest(&'a [u8]),
    Raw(&'a [u8]),
}

/// A certificate with the key that is behind it, as far as it is here.
struct Holder {
    certificate: Certificate,
    key: Option<(Key, Version)>,
    public: PublicKey,
    algorithm: Algorithm,
}

impl Holder {
    /// What the key signs, or its signature was made of.
    fn input(&self, message: Message<'_>) -> Result<(crate::model::algorithm::Signing, Vec<u8>)> {
        let (_, hash) = self.algorithm.signing().ok_or_else(|| self.unfit())?;
        let digest = match message {
            Message::Raw(message) if message.len() > LONGEST_MESSAGE => {
                return Err(Error::invalid("Message", "longer than 4 KB: give its digest, with MessageType DIGEST"));
            }
            Message::Raw(message) => signed_digest(&self.public, hash, message)?,
            Message::Digest(digest) if digest.len() != hash.len() => {
                let reason = format!("{} takes a digest of {} bytes", self.algorithm.name(), hash.len());
                return Err(Error::invalid("Message", reason));
            }
            Message::Digest(digest) => digest.to_vec(),
        };
        signing_input(self.algorithm, &digest)
    }

    fn unfit(&self) -> Error {
        let spec = self.key.as_ref().map_or("", |(key, _)| key.spec.name);
        let reason = format!("{} does not fit the key of this certificate {spec}", self.algorithm.name());
        Error::invalid("Algorithm", reason.trim_end())
    }

    fn version(&self) -> Result<&Version> {
        let none = || Error::Unsupported("the private key of this certificate is not here".to_owned());
        self.key.as_ref().map(|(_, version)| version).ok_or_else(none)
    }
}

impl Kms {
    fn holder(
        &self,
        caller: &Caller,
        action: &'static str,
        id: &str,
        algorithm: &str,
        (states, meter): (&[CertificateStatus], &Meter),
    ) -> Result<Holder> {
        let algorithm =
            Algorithm::by_name(algorithm).ok_or_else(|| Error::invalid("Algorithm", "no such algorithm"))?;
        let holder = self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            // A certificate whose key is elsewhere counts as well.
            meter.key(certificate.key.unwrap_or(certificate.id));
            if let Some(version) = certificate.version {
                meter.version(version);
            }
            let _allowed = self.authorize(caller, action, &self.realm.certificate_arn(certificate.id))?;
            if !states.contains(&certificate.status) {
                return Err(state_change(&certificate));
            }
            let version = certificate.version.map(|version| r.version(version)).transpose()?.flatten();
            let key = match version {
                Some(version) => r.key(version.key)?.map(|key| (key, version)),
                None => self.original(r, &certificate)?.map(|original| (original.key, original.version)),
            };
            let public = Leaf::from_der(&certificate.leaf)?.public()?;
            Ok(Holder { certificate, key, public, algorithm })
        })?;
        let signs = algorithm.signing().is_some();
        let spec = match &holder.key {
            Some((key, _)) => Some(key.spec),
            None => Spec::of_public(&holder.public),
        };
        // The key of a certificate does both; that of a CMK what its KeyUsage says.
        let usage = if signs { KeyUsage::SignVerify } else { KeyUsage::EncryptDecrypt };
        let bound = holder.key.as_ref().filter(|(key, _)| key.certificate.is_none());
        let fits = spec.is_some_and(|spec| spec.algorithms.contains(&algorithm));
        match fits && bound.is_none_or(|(key, _)| key.usage == usage) {
            true => Ok(holder),
            false => Err(holder.unfit()),
        }
    }

    /// The key at work: allowed by its certificate, or of a CMK by that.
    fn at_work(
        &self,
        caller: &Caller,
        action: &'static str,
        holder: &Holder,
    ) -> Result<std::sync::Arc<crate::kms::use_key::Ready>> {
        self.ready_if(holder.version()?.id, |key, lent| match (lent, key.certificate) {
            (Some(lent), _) => self.authorize_lent(caller, action, key, lent),
            (None, Some(certificate)) => self.authorize(caller, action, &self.realm.certificate_arn(certificate)),
            (None, None) => self.authorize_key(caller, action, key),
        })
    }

    /// S000-025. ECDSA and SM2 signatures are DER (ruling 15).
    pub fn certificate_sign(
        &self,
        caller: &Caller,
        id: &str,
        algorithm: &str,
        message: Message<'_>,
    ) -> Result<(Uuid, Vec<u8>)> {
        const ACTION: &str = "CertificatePrivateKeySign";
        self.metered(caller, ACTION, |meter| {
            let holder = self.holder(caller, ACTION, id, algorithm, (ACTIVE, meter))?;
            let (scheme, input) = holder.input(message)?;
            meter.job(&Job::Sign(scheme.clone()));
            let ready = self.at_work(caller, ACTION, &holder)?;
            Ok((holder.certificate.id, make_signature(ready.work.as_ref(), scheme, &input)?))
        })
    }

    /// S000-030 to 032: a wrong signature is `false`, not an error.
    pub fn certificate_verify(
        &self,
        caller: &Caller,
        id: &str,
        algorithm: &str,
        message: Message<'_>,
        signature: &[u8],
    ) -> Result<(Uuid, bool)> {
        const ACTION: &str = "CertificatePublicKeyVerify";
        self.metered(caller, ACTION, |meter| {
            let holder = self.holder(caller, ACTION, id, algorithm, (VERIFIES, meter))?;
            let (scheme, input) = holder.input(message)?;
            meter.job(&Job::Sign(scheme.clone()));
            Ok((holder.certificate.id, check_signature(&holder.public, &scheme, &input, signature)?))
        })
    }

    pub fn certificate_encrypt(
        &self,
        caller: &Caller,
        id: &str,
        algorithm: &str,
        plaintext: &[u8],
    ) -> Result<(Uuid, Vec<u8>)> {
        const ACTION: &str = "CertificatePublicKeyEncrypt";
        let bad_length = || Error::invalid("Plaintext", "empty, or too long for this key and algorithm");
        self.metered(caller, ACTION, |meter| {
            let holder = self.holder(caller, ACTION, id, algorithm, (ACTIVE, meter))?;
            let cipher = holder.algorithm.sealing().ok_or_else(|| holder.unfit())?;
            meter.job(&Job::Encrypt(cipher.clone()));
            if plaintext.len() > holder.algorithm.longest_plaintext() {
                return Err(bad_length());
            }
            let ciphertext =
                Prepared::new(&holder.public)?.encrypt(&cipher, plaintext).map_err(|error| match error {
                    Error::DataLength => bad_length(),
                    other => other,
                })?;
            Ok((holder.certificate.id, ciphertext))
        })
    }

    pub fn certificate_decrypt(
        &self,
        caller: &Caller,
        id: &str,
        algorithm: &str,
        ciphertext: &[u8],
    ) -> Result<(Uuid, Bytes)> {
        const ACTION: &str = "CertificatePrivateKeyDecrypt";
        self.metered(caller, ACTION, |meter| {
            let holder = self.holder(caller, ACTION, id, algorithm, (ACTIVE, meter))?;
            let job = Job::Decrypt(holder.algorithm.sealing().ok_or_else(|| holder.unfit())?);
            meter.job(&job);
            let ready = self.at_work(caller, ACTION, &holder)?;
            Ok((holder.certificate.id, ready.work.once(&job, ciphertext)?))
        })
    }
}
