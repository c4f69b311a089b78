//! Certificates: CreateCertificate, UploadCertificate, status, CSRs and certificates of CMKs. What their keys do is in
//! `work`, import and export in `carry`, list and deletion in `list`.

pub mod authority;
pub mod carry;
pub mod deploy;
pub mod list;
pub mod share;
pub mod tasks;
pub mod work;

use uuid::Uuid;

use crate::crypto::ec;
use crate::error::{Error, Result};
use crate::kms::catalogue::{refresh_certificate, refresh_key};
use crate::kms::lifecycle::Making;
use crate::kms::subject;
use crate::kms::x509::{self, Leaf};
use crate::kms::{Kms, authorize::Allowed};
use crate::model::algorithm::{Job, Signing};
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus, Der, Source};
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::key::{Door, Key, KeyUsage, Level, Version};
use crate::model::names::parse_id;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::{self, Protection, Usages};
use crate::store::Records;

/// What CreateCertificate asks for.
#[derive(Debug, Clone)]
pub struct NewCertificate {
    pub spec: String,
    /// RFC 2253.
    pub subject: String,
    pub alternative_names: Vec<String>,
    pub exportable: Option<bool>,
    pub level: Option<Level>,
}

/// What DescribeCertificate answers beside the stored record, read from the leaf; empty while PENDING.
#[derive(Debug, Clone, Default)]
pub struct LeafView {
    /// RFC 2253.
    pub issuer: String,
    pub subject: String,
    /// Decimal.
    pub serial: String,
    /// RSA-SHA256, ECDSA-SHA256 …
    pub signature_algorithm: String,
    /// Hex bytes separated by spaces.
    pub subject_key_identifier: String,
    pub alternative_names: Vec<String>,
}

impl LeafView {
    fn of(leaf: &Leaf) -> Self {
        let hex: Vec<String> = leaf.key_identifier().iter().map(|byte| format!("{byte:02x}")).collect();
        Self {
            issuer: leaf.issuer().to_string(),
            subject: leaf.subject().to_string(),
            serial: decimal(leaf.serial()),
            signature_algorithm: leaf.signature_name(),
            subject_key_identifier: hex.join(" "),
            alternative_names: leaf.alternative_names(),
        }
    }
}

/// A big-endian number in decimal.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0u8];
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = (value % 10) as u8;
            carry = value / 10;
        }
        while carry > 0 {
            digits.push((carry % 10) as u8);
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

impl Kms {
    /// One that is not deleted.
    fn find_certificate(&self, records: &mut Records<'_>, text: &str) -> Result<Certificate> {
        let id = parse_id(text).map_err(|_| Error::invalid("CertificateId", "not a GUID"))?;
        let found = records.certificate(id)?.filter(|certificate| certificate.delete_at.is_none());
        records.about(id);
        let mut found = found.ok_or_else(|| Error::CertificateNotFound(text.to_owned()))?;
        self.see_share(records, &mut found)?;
        Ok(found)
    }

    /// Makes a key pair and its CSR (S001-001); rulings 7 and 12.
    pub fn create_certificate(&self, caller: &Caller, new: NewCertificate) -> Result<Certificate> {
        const ACTION: &str = "CreateCertificate";
        let allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
        let spec = Spec::by_name(&new.spec).filter(|spec| spec.certificate);
        let spec = spec.ok_or_else(|| Error::invalid("KeySpec", "RSA_2048, EC_P256 or EC_SM2"))?;
        let subject = subject::parse_subject(&new.subject, true)?;
        let level = new.level.unwrap_or(Level::Software);
        let exportable = match (level, new.exportable) {
            (Level::Hsm, Some(true)) => {
                return Err(Error::Unsupported("ExportablePrivateKey=true at ProtectionLevel HSM".to_owned()));
            }
            (Level::Hsm, _) => false,
            (Level::Software, exportable) => exportable.unwrap_or(true),
        };
        let mut key = self.blank(spec, KeyUsage::SignVerify, level, Door::Kms);
        let mut certificate = Certificate {
            key: Some(key.id),
            spec: Some(spec),
            exportable,
            subject: new.subject.clone(),
            alternative_names: new.alternative_names.clone(),
            ..Certificate::new(Source::Created, self.now())
        };
        key.certificate = Some(certificate.id);
        let decrypt = spec.usages.contains(&KeyUsage::EncryptDecrypt);
        let usages = Usages { sign: true, decrypt, ..Usages::default() };
        let making = Making { usages, value: None, allowed: &allowed };
        let request = |version: &Version| self.sign_csr(&key, version, &allowed, subject, &new.alternative_names);
        self.create_with_material(caller, ACTION, &key, making, request, |r, _, version, csr| {
            certificate.version = Some(version.id);
            certificate.csr = Some(csr.clone());
            r.insert_certificate(&certificate)
        })?;
        Ok(certificate)
    }

    fn sign_csr(
        &self,
        key: &Key,
        version: &Version,
        allowed: &Allowed,
        subject: x509_cert::name::Name,
        names: &[String],
    ) -> Result<String> {
        let protection: &dyn Protection = self.protection(key.level, allowed)?;
        let missing = || Error::Internal("a new key pair without material".to_owned());
        let material = version.material.as_ref().ok_or_else(missing)?;
        let public = version.public.as_ref().ok_or_else(missing)?;
        let work = protection.open(version.id, key.spec, material, Some(public))?;
        x509::csr(subject, names, public, |hash, digest| sign_digest(work.as_ref(), public, hash, digest))
    }

    /// S000-021: into the existing entry, PEM texts. The key pair must match; the chain is checked link by link.
    pub fn upload_certificate(&self, caller: &Caller, id: &str, leaf: &str, chain: Option<&str>) -> Result<()> {
        const ACTION: &str = "UploadCertificate";
        let (leaf, chain) = x509::check_upload(leaf, chain, self.now())?;
        let public = leaf.public()?;
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            if !certificate.owns_key() || certificate.status == CertificateStatus::Revoked {
                return Err(state_change(&certificate));
            }
            let own = match certificate.version {
                Some(version) => r.version(version)?.and_then(|version| version.public),
                None => None,
            };
            if own.as_ref() != Some(&public) {
                return Err(Error::invalid("Certificate", "Certificate and private key do not match"));
            }
            if certificate.leaf != leaf.der && certificate.shared_with.as_ref().is_some_and(|share| !share.withdrawn) {
                return Err(Error::StateChange {
                    resource: id.to_owned(),
                    reason: "it is shared: withdraw it first, or renew with a new certificate and share that"
                        .to_owned(),
                });
            }
            unlist(r, &mut certificate, self.now())?;
            if certificate.leaf != leaf.der {
                certificate.shared_with = None;
            }
            fill(&mut certificate, &leaf, &chain);
            certificate.status = CertificateStatus::Active;
            certificate.updated = self.now();
            refresh_certificate(r, &mut certificate, self.now())
        })
    }

    pub fn describe_certificate(&self, caller: &Caller, id: &str) -> Result<(Certificate, LeafView, PublicKey, Level)> {
        self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed =
                self.authorize(caller, "DescribeCertificate", &self.realm.certificate_arn(certificate.id))?;
            let leaf = if certificate.leaf.is_empty() { None } else { Some(Leaf::from_der(&certificate.leaf)?) };
            let key = certificate.key.map(|key| r.key(key)).transpose()?.flatten();
            let version = certificate.version.map(|version| r.version(version)).transpose()?.flatten();
            let public = match (version.and_then(|version| version.public), &leaf) {
                (Some(public), _) => public,
                (None, Some(leaf)) => leaf.public()?,
                (None, None) => return Err(Error::CertificateNotFound(id.to_owned())),
            };
            let lent = self.original(r, &certificate)?.map(|original| original.key);
            let level = key.or(lent).map_or(Level::Software, |key| key.level);
            let view = leaf.as_ref().map(LeafView::of).unwrap_or_default();
            Ok((certificate, view, public, level))
        })
    }

    /// The record; `x509::to_pem` makes PEM of its leaf and chain.
    pub fn certificate(&self, caller: &Caller, id: &str) -> Result<Certificate> {
        self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, "GetCertificate", &self.realm.certificate_arn(certificate.id))?;
            Ok(certificate)
        })
    }

    /// ACTIVE ↔ INACTIVE → REVOKED, which is final; PENDING has no certificate to change.
    pub fn update_certificate_status(&self, caller: &Caller, id: &str, status: CertificateStatus) -> Result<()> {
        const ACTION: &str = "UpdateCertificateStatus";
        if status == CertificateStatus::Pending {
            return Err(Error::invalid("Status", "ACTIVE, INACTIVE or REVOKED"));
        }
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            if matches!(certificate.status, CertificateStatus::Pending | CertificateStatus::Revoked) {
                return Err(state_change(&certificate));
            }
            if let Some(share) = &certificate.shared_by {
                let reason = format!("it belongs to the account {}", share.account);
                return Err(Error::StateChange { resource: id.to_owned(), reason });
            }
            if status == CertificateStatus::Revoked {
                return self.revoke(r, &certificate);
            }
            certificate.status = status;
            certificate.updated = self.now();
            refresh_certificate(r, &mut certificate, self.now())
        })
    }

    /// For ever, wherever it stands: a CA's record of what it issued, and the certificate in service.
    fn revoke(&self, records: &mut Records<'_>, certificate: &Certificate) -> Result<()> {
        let same = |it: &Certificate| it.leaf == certificate.leaf && it.status != CertificateStatus::Revoked;
        for mut it in self.all_certificates(records)?.into_iter().filter(same) {
            it.status = CertificateStatus::Revoked;
            it.revoked_at = Some(self.now());
            it.updated = self.now();
            refresh_certificate(records, &mut it, self.now())?;
        }
        Ok(())
    }

    /// `alikms csr`: PEM CSR of the version in service, or the one named. Ruling 18: only CN is required.
    pub fn csr(
        &self,
        caller: &Caller,
        key: &str,
        version: Option<&str>,
        subject: &str,
        names: &[String],
    ) -> Result<String> {
        const ACTION: &str = "AsymmetricSign";
        let subject = subject::parse_subject(subject, false)?;
        let (key, version) = self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            match version {
                Some(version) => self.version_of(r, &key, version).map(|version| (key, version)),
                None => self.service_of(r, key),
            }
        })?;
        let Some(public) = &version.public else {
            return Err(Error::Unsupported("a symmetric key has no CSR".to_owned()));
        };
        if key.usage != KeyUsage::SignVerify {
            return Err(Error::Unsupported("a CSR is signed: the key needs KeyUsage SIGN/VERIFY".to_owned()));
        }
        let ready = self.ready(caller, ACTION, version.id)?;
        let work = self.work(caller, ACTION, &ready)?;
        x509::csr(subject, names, public, |hash, digest| sign_digest(work.as_ref(), public, hash, digest))
    }

    /// `alikms attach-certificate`: finds the version by its public key and puts certificate and chain beside it.
    pub fn attach_certificate(&self, caller: &Caller, key: &str, leaf: &str, chain: Option<&str>) -> Result<Uuid> {
        const ACTION: &str = "AttachCertificate";
        let (leaf, chain) = x509::check_upload(leaf, chain, self.now())?;
        let public = leaf.public()?;
        let audit = self.audit(caller, ACTION, key);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, ACTION, &key)?;
            let version = r.versions(key.id)?.into_iter().find(|version| version.public.as_ref() == Some(&public));
            let Some(version) = version else {
                return Err(Error::invalid("Certificate", "Certificate and private key do not match"));
            };
            self.attach(r, &version, &leaf, &chain)?;
            Ok(version.id)
        })
    }

    /// Puts a certificate beside a key version; the same certificate again renews its chain.
    pub(super) fn attach(
        &self,
        records: &mut Records<'_>,
        version: &Version,
        leaf: &Leaf,
        chain: &[Leaf],
    ) -> Result<Certificate> {
        let known = records.certificates_of_key(version.key)?.into_iter().find(|known| known.leaf == leaf.der);
        let mut certificate = match known {
            Some(known) => known,
            None => {
                let fresh = self.uploaded(leaf, Some(version));
                records.insert_certificate(&fresh)?;
                fresh
            }
        };
        unlist(records, &mut certificate, self.now())?;
        fill(&mut certificate, leaf, chain);
        certificate.status = CertificateStatus::Active;
        certificate.updated = self.now();
        refresh_certificate(records, &mut certificate, self.now())?;
        Ok(certificate)
    }

    /// The record of a certificate that came from elsewhere.
    pub(super) fn uploaded(&self, leaf: &Leaf, version: Option<&Version>) -> Certificate {
        let source = if version.is_some() { Source::Attached } else { Source::Uploaded };
        Certificate {
            status: CertificateStatus::Active,
            key: version.map(|version| version.key),
            version: version.map(|version| version.id),
            subject: leaf.subject().to_string(),
            alternative_names: leaf.alternative_names(),
            leaf: leaf.der.clone(),
            not_before: Some(leaf.not_before()),
            not_after: Some(leaf.not_after()),
            ..Certificate::new(source, self.now())
        }
    }

    /// Takes a certificate away from the token (C_DestroyObject); its key stays.
    pub(super) fn detach(&self, records: &mut Records<'_>, id: Uuid) -> Result<()> {
        let Some(certificate) = records.certificate(id)? else { return Ok(()) };
        if certificate.owns_key() {
            return Err(Error::StateChange {
                resource: id.to_string(),
                reason: "it belongs to the certificate manager: use UpdateCertificateStatus or DeleteCertificate"
                    .to_owned(),
            });
        }
        self.let_go(records, certificate)
    }

    /// Takes a certificate out of sight for ever, whose key is not its own. Of what a CA here issued the record stays until
    /// the certificate expires: a CRL must go on naming it.
    fn let_go(&self, records: &mut Records<'_>, mut certificate: Certificate) -> Result<()> {
        if certificate.issued_by.is_none() {
            return self.forget_certificate(records, certificate);
        }
        unlist(records, &mut certificate, self.now())?;
        let key = certificate.key.take();
        certificate.version = None;
        certificate.delete_at = Some(certificate.not_after.unwrap_or(self.now()));
        certificate.updated = self.now();
        records.update_certificate(&certificate)?;
        match key.map(|key| records.key(key)).transpose()?.flatten() {
            Some(key) => refresh_key(records, &key, self.now()),
            None => Ok(()),
        }
    }

    /// Takes a certificate out of the records with everything that is seen of it; of its key nothing.
    fn forget_certificate(&self, records: &mut Records<'_>, mut certificate: Certificate) -> Result<()> {
        unlist(records, &mut certificate, self.now())?;
        records.delete_certificate(certificate.id)?;
        match certificate.key {
            Some(key) => match records.key(key)? {
                Some(key) => refresh_key(records, &key, self.now()),
                None => Ok(()),
            },
            None => {
                let query = crate::store::Query { certificate: Some(certificate.id), ..Default::default() };
                let objects = records.find_objects(&query, 0, 16)?;
                objects.iter().try_for_each(|object| records.delete_object(object.handle))
            }
        }
    }
}

/// Takes the chain out of the count before it is replaced.
fn unlist(records: &mut Records<'_>, certificate: &mut Certificate, now: crate::model::time::Moment) -> Result<()> {
    if !certificate.listed {
        return Ok(());
    }
    let status = std::mem::replace(&mut certificate.status, CertificateStatus::Inactive);
    refresh_certificate(records, certificate, now)?;
    certificate.status = status;
    Ok(())
}

fn fill(certificate: &mut Certificate, leaf: &Leaf, chain: &[Leaf]) {
    certificate.leaf = leaf.der.clone();
    certificate.chain = chain.iter().map(|issuer| Der(issuer.der.clone())).collect();
    certificate.not_before = Some(leaf.not_before());
    certificate.not_after = Some(leaf.not_after());
}

fn state_change(certificate: &Certificate) -> Error {
    Error::StateChange { resource: certificate.id.to_string(), reason: format!("it is {}", certificate.status) }
}

/// Signs a digest, with Ed25519 a message, the way X.509 writes signatures.
fn sign_digest(work: &dyn protection::Key, public: &PublicKey, hash: Hash, digest: &[u8]) -> Result<Vec<u8>> {
    match public {
        PublicKey::Rsa { .. } => {
            let info = [hash.digest_info_prefix(), digest].concat();
            Ok(work.once(&Job::Sign(Signing::RsaPkcs1), &info)?.to_vec())
        }
        PublicKey::Ec { curve: Curve::Sm2, .. } => Ok(work.once(&Job::Sign(Signing::Sm2Der), digest)?.to_vec()),
        PublicKey::Ec { curve: Curve::Ed25519, .. } => Ok(work.once(&Job::Sign(Signing::ED25519), digest)?.to_vec()),
        PublicKey::Ec { .. } => ec::to_der(&work.once(&Job::Sign(Signing::Ecdsa), digest)?),
    }
}
