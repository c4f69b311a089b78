//! Certificates that come from elsewhere with their keys, and those that leave with theirs: ImportCertificate,
//! ImportEncryptionCertificate, ExportCertificate, and the uploads of S002.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::{fill, state_change};
use crate::crypto::sm4::Sm4Key;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::refresh_certificate;
use crate::kms::container::{Private, read_pkcs12, write_pkcs12};
use crate::kms::lifecycle::Making;
use crate::kms::subject;
use crate::kms::tags::check_count;
use crate::kms::x509::{self, Leaf};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job, Sm2Layout};
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus, Source};
use crate::model::curve::Curve;
use crate::model::key::{Door, KeyUsage, Level, Origin, Version};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::Usages;
use crate::store::Records;

/// S002-017: the longest name, in characters.
const LONGEST_NAME: usize = 128;
/// A certificate has at most so many tags.
pub(super) const MAX_TAGS: usize = 20;

/// What an upload says about a certificate beside itself (S002-017, 027, 028).
#[derive(Debug, Clone, Default)]
pub struct Particulars {
    pub name: String,
    pub resource_group: String,
    /// Checked with `tags::check_tag`.
    pub tags: BTreeMap<String, String>,
}

/// PEM texts of a certificate and its key. Without a key it belongs to one that is here (S002-023).
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub certificate: &'a str,
    pub chain: Option<&'a str>,
    pub key: Option<&'a str>,
}

/// What leaves with ExportCertificate.
pub struct Exported {
    pub certificate: Certificate,
    pub key: Private,
}

/// How a certificate with its key is taken over.
struct Taking<'a> {
    action: &'static str,
    exportable: bool,
    particulars: &'a Particulars,
    beside: Option<Uuid>,
}

fn no_match(reason: &str) -> Error {
    Error::invalid("Key", format!("Certificate and private key do not match: {reason}"))
}

impl Kms {
    /// A PKCS#12 file becomes a certificate of its own, ACTIVE, whose key works at level SOFTWARE and can be exported.
    pub fn import_certificate(&self, caller: &Caller, blob: &[u8], passphrase: &str) -> Result<Certificate> {
        const ACTION: &str = "ImportCertificate";
        let _allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
        let (key, leaf, chain) = read_pkcs12(blob, passphrase)?;
        x509::check_chain(&leaf, &chain, self.now())?;
        let particulars = &Particulars::default();
        self.adopt(caller, &key, &leaf, &chain, Taking { action: ACTION, exportable: true, particulars, beside: None })
    }

    /// S002-016 to 028: a certificate with its key, or for a key that is here. What was uploaded is never exported
    /// again.
    pub fn upload_pair(&self, caller: &Caller, pair: Pair<'_>, particulars: &Particulars) -> Result<Certificate> {
        const ACTION: &str = "UploadUserCertificate";
        let _allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
        let (leaf, chain) = x509::check_upload(pair.certificate, pair.chain, self.now())?;
        let Some(key) = pair.key else { return self.upload_for_known_key(caller, &leaf, &chain, particulars) };
        let key = matching_key(&leaf, key)?;
        let taking = Taking { action: ACTION, exportable: false, particulars, beside: None };
        self.adopt(caller, &key, &leaf, &chain, taking)
    }

    /// S002-029 to 034: SM2 signing and encryption certificates with their keys. Answers the signing one, then the
    /// other.
    pub fn upload_dual(
        &self,
        caller: &Caller,
        sign: Pair<'_>,
        encrypt: Pair<'_>,
        particulars: &Particulars,
    ) -> Result<(Certificate, Certificate)> {
        const ACTION: &str = "UploadUserCertificate";
        let _allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
        let mut read = Vec::new();
        for (pair, encrypts) in [(sign, false), (encrypt, true)] {
            let (leaf, chain) = x509::check_upload(pair.certificate, pair.chain, self.now())?;
            check_sm2(&leaf, encrypts)?;
            let key = matching_key(&leaf, pair.key.unwrap_or_default())?;
            read.push((key, leaf, chain));
        }
        let [(sign_key, sign, sign_chain), (encrypt_key, encrypt, encrypt_chain)] = &read[..] else {
            return Err(Error::Internal("two certificates are two".to_owned()));
        };
        let twice = sign.der == encrypt.der || sign.public()? == encrypt.public()?;
        if twice {
            return Err(Error::invalid("EncryptCert", "it has the key of the signing certificate"));
        }
        self.store.read(&self.open()?.realm, |r| self.check_new(r, encrypt, None))?;
        let mut taking = Taking { action: ACTION, exportable: false, particulars, beside: None };
        let first = self.adopt(caller, sign_key, sign, sign_chain, taking)?;
        let unnamed = Particulars { name: String::new(), ..particulars.clone() };
        taking = Taking { action: ACTION, exportable: false, particulars: &unnamed, beside: Some(first.id) };
        let second = self.adopt(caller, encrypt_key, encrypt, encrypt_chain, taking)?;
        Ok((first, second))
    }

    /// ImportEncryptionCertificate: the encryption certificate beside a signing one, its key under an SM4 key that the
    /// signing key's public half encrypted (SM2PKE). What comes out is the scalar, or 32 zeros and the scalar (GM/T
    /// 0016).
    pub fn import_encryption_certificate(
        &self,
        caller: &Caller,
        id: &str,
        leaf: &str,
        chain: Option<&str>,
        wrapped_key: &[u8],
        sealed: &[u8],
    ) -> Result<Certificate> {
        const ACTION: &str = "ImportEncryptionCertificate";
        let (leaf, chain) = x509::check_upload(leaf, chain, self.now())?;
        check_sm2(&leaf, true)?;
        let signing = self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            self.check_new(r, &leaf, None)?;
            Ok(certificate)
        })?;
        let version = match signing.version {
            Some(version) if signing.spec.is_some_and(|spec| spec.name == "EC_SM2") => version,
            _ => return Err(Error::invalid("CertificateId", "not an SM2 certificate whose key is here")),
        };
        if signing.status != CertificateStatus::Active {
            return Err(state_change(&signing));
        }
        let arn = self.realm.certificate_arn(signing.id);
        let ready = self.ready_if(version, |_, _| self.authorize(caller, ACTION, &arn))?;
        let bad_key = |_| Error::invalid("EncryptedSymmetricKey", "the signing key does not decrypt it to an SM4 key");
        let work = self.work(caller, ACTION, &ready)?;
        let symmetric = work.once(&Job::Decrypt(Cipher::Sm2(Sm2Layout::C1C3C2)), wrapped_key).map_err(bad_key)?;
        let symmetric = Sm4Key::new(&symmetric).map_err(bad_key)?;
        let bad = || Error::invalid("EncryptedPrivateKey", "Certificate and private key do not match");
        let value = symmetric.decrypt(&Cipher::Sm4Ecb, sealed).map_err(|_| bad())?;
        let scalar = match value.len() {
            32 => value.as_slice(),
            64 if value[..32] == [0; 32] => &value[32..],
            _ => return Err(bad()),
        };
        let key = crate::crypto::ec::EcKey::from_scalar(Curve::Sm2, scalar).map_err(|_| bad())?;
        let key = Private { der: key.to_der()?, public: PublicKey::Ec { curve: Curve::Sm2, point: key.point() } };
        if key.public != leaf.public()? {
            return Err(bad());
        }
        let particulars = &Particulars::default();
        let taking = Taking { action: ACTION, exportable: signing.exportable, particulars, beside: Some(signing.id) };
        self.adopt(caller, &key, &leaf, &chain, taking)
    }

    /// Is it neither here already, nor its key? `own`: the version that is being made for it. Deleted ones do not
    /// count, nor does what a CA here only remembers to have issued.
    fn check_new(&self, records: &mut Records<'_>, leaf: &Leaf, own: Option<Uuid>) -> Result<()> {
        let known = |certificate: &Certificate| {
            certificate.leaf == leaf.der && certificate.delete_at.is_none() && !certificate.unlisted
        };
        if let Some(known) = self.all_certificates(records)?.into_iter().find(known) {
            return Err(Error::invalid("Certificate", format!("it is here already: {}", known.id)));
        }
        let version = records.version_by_public(&leaf.public()?)?.filter(|version| Some(version.id) != own);
        let Some(version) = version else { return Ok(()) };
        let owner = records.key(version.key)?.and_then(|key| key.certificate);
        let owner = owner.map(|id| records.certificate(id)).transpose()?.flatten();
        let whose = match owner {
            Some(owner) if owner.delete_at.is_some() => return Ok(()),
            Some(owner) => format!("its key is here already, with certificate {}: use UploadCertificate", owner.id),
            None => format!("its key is here already, key {}: upload the certificate without a key", version.key),
        };
        Err(Error::invalid("Certificate", whose))
    }

    /// Is the name free and not too long?
    fn check_particulars(&self, records: &mut Records<'_>, particulars: &Particulars) -> Result<()> {
        let Particulars { name, resource_group, tags } = particulars;
        check_count(tags.len(), MAX_TAGS)?;
        let written = |text: &str| text.chars().count() <= LONGEST_NAME && !text.chars().any(char::is_control);
        if !written(name) {
            return Err(Error::invalid("Name", "at most 128 characters, without line breaks"));
        }
        if !written(resource_group) {
            return Err(Error::invalid("ResourceGroupId", "at most 128 characters, without line breaks"));
        }
        let taken = |other: &Certificate| other.delete_at.is_none() && other.name == *name;
        match !name.is_empty() && self.all_certificates(records)?.iter().any(taken) {
            true => Err(Error::invalid("Name", "another certificate has this name")),
            false => Ok(()),
        }
    }

    /// A certificate with its key becomes an ACTIVE entry whose key works at level SOFTWARE. Everything was checked but
    /// whether it is new.
    fn adopt(
        &self,
        caller: &Caller,
        private: &Private,
        leaf: &Leaf,
        chain: &[Leaf],
        taking: Taking<'_>,
    ) -> Result<Certificate> {
        let allowed = self.authorize(caller, taking.action, &self.realm.container("certificate"))?;
        let spec = Spec::of_public(&private.public)
            .ok_or_else(|| Error::invalid("Certificate", "its key is of no KeySpec that there is here"))?;
        let mut certificate = self.uploaded(leaf, None);
        let mut key = self.blank(spec, KeyUsage::SignVerify, Level::Software, Door::Kms);
        key.origin = Origin::External;
        key.certificate = Some(certificate.id);
        certificate.source = if taking.action == "UploadUserCertificate" { Source::Uploaded } else { Source::Imported };
        certificate.key = Some(key.id);
        certificate.spec = Some(spec);
        certificate.exportable = taking.exportable;
        certificate.beside = taking.beside;
        describe(&mut certificate, taking.particulars);
        let decrypt = spec.usages.contains(&KeyUsage::EncryptDecrypt);
        let usages = Usages { sign: true, decrypt, ..Usages::default() };
        let making = Making { usages, value: Some(&private.der), allowed: &allowed };
        self.create_with_material(
            caller,
            taking.action,
            &key,
            making,
            |_| Ok(()),
            |r, _, version, ()| {
                self.check_new(r, leaf, Some(version.id))?;
                self.check_particulars(r, taking.particulars)?;
                certificate.version = Some(version.id);
                certificate.listed = false;
                fill(&mut certificate, leaf, chain);
                r.insert_certificate(&certificate)?;
                refresh_certificate(r, &mut certificate, self.now())
            },
        )?;
        Ok(certificate)
    }

    /// S002-023: the certificate of a CSR or of a CMK, found by its public key.
    fn upload_for_known_key(
        &self,
        caller: &Caller,
        leaf: &Leaf,
        chain: &[Leaf],
        particulars: &Particulars,
    ) -> Result<Certificate> {
        const ACTION: &str = "UploadUserCertificate";
        let public = leaf.public()?;
        let audit = self.audit(caller, ACTION, leaf.subject());
        self.store.write(&self.open()?.realm, &audit, |r| {
            self.check_particulars(r, particulars)?;
            let version: Version = r
                .version_by_public(&public)?
                .ok_or_else(|| no_match("no key or CSR that is here has the certificate's public key"))?;
            let own = r.key(version.key)?.and_then(|key| key.certificate);
            let mut certificate = match own.map(|id| r.certificate(id)).transpose()?.flatten() {
                None => self.attach(r, &version, leaf, chain)?,
                Some(mut certificate) if certificate.status == CertificateStatus::Pending => {
                    fill(&mut certificate, leaf, chain);
                    certificate.status = CertificateStatus::Active;
                    certificate
                }
                Some(other) => {
                    let reason = format!("its key is that of certificate {}: use UploadCertificate", other.id);
                    return Err(Error::invalid("Certificate", reason));
                }
            };
            r.about(certificate.id);
            describe(&mut certificate, particulars);
            certificate.updated = self.now();
            refresh_certificate(r, &mut certificate, self.now())?;
            Ok(certificate)
        })
    }

    /// The private key of a certificate that may be exported, which never is one of level HSM. Each export is audited.
    pub fn export_certificate(&self, caller: &Caller, id: &str) -> Result<Exported> {
        const ACTION: &str = "ExportCertificate";
        let audit = self.audit(caller, ACTION, id);
        let opened = self.open()?;
        let (certificate, key, version) = self.store.write(&opened.realm, &audit, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            if let Some(share) = &certificate.shared_by {
                return Err(Error::Unsupported(format!("exporting a certificate of the account {}", share.account)));
            }
            let key = certificate.key.map(|key| r.key(key)).transpose()?.flatten();
            let version = certificate.version.map(|version| r.version(version)).transpose()?.flatten();
            let (Some(key), Some(version)) = (key, version) else {
                return Err(Error::Unsupported("the private key of this certificate is not here".to_owned()));
            };
            if !certificate.exportable || !certificate.owns_key() || key.level != Level::Software {
                return Err(Error::Unsupported("the private key of this certificate cannot be exported".to_owned()));
            }
            if matches!(certificate.status, CertificateStatus::Pending | CertificateStatus::Revoked) {
                return Err(state_change(&certificate));
            }
            Ok((certificate, key, version))
        })?;
        let none = || Error::Internal("a key pair without material".to_owned());
        let value = opened.software.reveal(version.id, key.spec, version.material.as_ref().ok_or_else(none)?)?;
        let der = match key.spec.family {
            crate::model::spec::Family::Ec(curve) => crate::crypto::ec::EcKey::from_scalar(curve, &value)?.to_der()?,
            _ => value,
        };
        Ok(Exported { certificate, key: Private { der, public: version.public.ok_or_else(none)? } })
    }
}

impl Exported {
    /// A PKCS#12 file with leaf and chain, named as the list names it.
    pub fn to_pkcs12(&self, passphrase: &str) -> Result<Bytes> {
        let chain: Vec<&[u8]> = std::iter::once(self.certificate.leaf.as_slice())
            .chain(self.certificate.chain.iter().map(|der| der.0.as_slice()))
            .collect();
        let common_name = subject::common_name(&self.certificate.leaf);
        let name = match self.certificate.name.as_str() {
            "" => common_name.unwrap_or_else(|| self.certificate.id.to_string()),
            name => name.to_owned(),
        };
        write_pkcs12(&self.key, &chain, &name, passphrase)
    }
}

/// Name, resource group and tags, where given.
fn describe(certificate: &mut Certificate, particulars: &Particulars) {
    let Particulars { name, resource_group, tags } = particulars;
    if !name.is_empty() {
        certificate.name.clone_from(name);
    }
    if !resource_group.is_empty() {
        certificate.resource_group.clone_from(resource_group);
    }
    certificate.tags.extend(tags.iter().map(|(tag, value)| (tag.clone(), value.clone())));
}

/// S002-010, 012, 022, 061: the key in PEM, if it is the certificate's.
fn matching_key(leaf: &Leaf, pem: &str) -> Result<Private> {
    let key = Private::from_pem(pem, None).map_err(no_match)?;
    match key.public == leaf.public()? {
        true => Ok(key),
        false => Err(no_match("the key belongs to another certificate")),
    }
}

/// S002-033: an SM2 certificate for what it is to do.
fn check_sm2(leaf: &Leaf, encrypts: bool) -> Result<()> {
    let parameter = if encrypts { "EncryptCert" } else { "SignCert" };
    if !matches!(leaf.public()?, PublicKey::Ec { curve: Curve::Sm2, .. }) {
        return Err(Error::invalid(parameter, "its key is no SM2 key"));
    }
    match leaf.may(encrypts) {
        true => Ok(()),
        false if encrypts => {
            Err(Error::invalid(parameter, "its key usage has neither keyEncipherment nor dataEncipherment"))
        }
        false => Err(Error::invalid(parameter, "its key usage has no digitalSignature")),
    }
}
