//! The private CA: root and intermediate authorities whose keys are CMKs, what they issue, revoke, and bring into the
//! list.

use uuid::Uuid;

use super::{sign_digest, state_change};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::{is_shown, refresh_certificate};
use crate::kms::issue::{self, Draft, Purpose, Request};
use crate::kms::lifecycle::NewKey;
use crate::kms::subject;
use crate::kms::x509::Leaf;
use crate::model::caller::Caller;
use crate::model::certificate::{Authority, Certificate, CertificateStatus, Der, Source};
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::key::{KeyUsage, Level};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::model::time::Moment;
use crate::store::Records;

/// The longest life of an authority, in years.
const MAX_YEARS: i64 = 30;
/// For how many days a CRL is valid, if nobody says.
const CRL_DAYS: i64 = 7;

/// An authority that is to be.
#[derive(Debug, Clone)]
pub struct NewAuthority {
    /// The CA above it; None: a root.
    pub parent: Option<String>,
    /// RFC 2253.
    pub subject: String,
    pub spec: Spec,
    pub level: Level,
    pub years: i64,
    /// How many authorities may follow below it; of an intermediate one 0 if nobody says, of a root any number.
    pub path_length: Option<u8>,
    /// 1 to 365.
    pub crl_days: Option<i64>,
    /// May what it issues be shared with other accounts (S002-042)?
    pub shareable: bool,
}

/// What a CSR is answered with.
#[derive(Debug, Clone)]
pub struct NewLeaf {
    /// The CA.
    pub parent: String,
    /// PEM.
    pub csr: String,
    pub server: bool,
    /// For a key that decrypts and does not sign, of SM2 only.
    pub encrypts: bool,
    pub days: i64,
    /// In place of those that the CSR asks for.
    pub names: Vec<String>,
}

impl Kms {
    /// S002-040: a key at the level, and the certificate that makes an authority of it, ACTIVE and beside the key.
    pub fn create_authority(&self, caller: &Caller, new: NewAuthority) -> Result<Certificate> {
        let action = if new.parent.is_some() { "CreateSubCACertificate" } else { "CreateRootCACertificate" };
        let _allowed = self.authorize(caller, action, &self.realm.container("certificate"))?;
        let subject = subject::parse_subject(&new.subject, false)?;
        if !(1..=MAX_YEARS).contains(&new.years) {
            return Err(Error::invalid("Years", "1 to 30"));
        }
        let crl_days = new.crl_days.unwrap_or(CRL_DAYS);
        if !(1..=365).contains(&crl_days) {
            return Err(Error::invalid("CrlDay", "1 to 365"));
        }
        if !new.spec.usages.contains(&KeyUsage::SignVerify) || !new.spec.family.is_asymmetric() {
            return Err(Error::invalid("Algorithm", "a key that signs is needed"));
        }
        let from = self.now();
        let asked = from.plus_days(new.years * 365);
        let parent = new.parent.as_deref().map(|parent| self.authority(caller, action, parent)).transpose()?;
        let path_length = match &parent {
            None => new.path_length,
            Some((_, authority)) => {
                let below = new.path_length.unwrap_or(0);
                if authority.path_length.is_some_and(|most| below >= most) {
                    let reason = "the CA above it allows no further one below, or not so many: see its path length";
                    return Err(Error::invalid("PathLenConstraint", reason));
                }
                Some(below)
            }
        };
        let end = parent.as_ref().and_then(|(parent, _)| parent.not_after);
        let longer = || Error::invalid("Years", "longer than the CA above it is valid");
        let until = within(asked, end).ok_or_else(longer)?;
        let key = self.create_key(
            caller,
            NewKey {
                spec: Some(new.spec),
                usage: Some(KeyUsage::SignVerify),
                level: Some(new.level),
                description: format!("key of the CA {}", new.subject),
                ..NewKey::default()
            },
        )?;
        let (_, version) = self.version_in_service(caller, &key.key.id.to_string())?;
        let none = || Error::Internal("a key pair without public key".to_owned());
        let public = version.public.as_ref().ok_or_else(none)?;
        let above = parent.as_ref().map(|(parent, _)| Leaf::from_der(&parent.leaf)).transpose()?;
        let purpose = Purpose::Authority { path_length };
        let draft =
            Draft { issuer: above.as_ref(), subject, public, names: None, from, until, purpose, encrypts: false };
        let (signer, signing) = match &parent {
            Some((parent, _)) => (above.as_ref().map_or_else(|| Err(none()), Leaf::public)?, signing_version(parent)?),
            None => (public.clone(), version.id),
        };
        let der = issue::certificate(&draft, &signer, self.signer(caller, signing, &signer)?)?;
        let (leaf, chain) = (Leaf::from_der(&der)?, chain_above(parent.as_ref().map(|(parent, _)| parent))?);
        let audit = self.audit(caller, action, key.key.id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.attach(r, &version, &leaf, &chain)?;
            certificate.spec = Some(new.spec);
            certificate.authority = Some(Authority { path_length, crl_number: 0, crl_days, shareable: new.shareable });
            certificate.issued_by = parent.as_ref().map(|(parent, _)| parent.id);
            r.update_certificate(&certificate)?;
            Ok(certificate)
        })
    }

    /// A CA that issues, and its key is here.
    fn authority(&self, caller: &Caller, action: &'static str, id: &str) -> Result<(Certificate, Authority)> {
        self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, action, &self.realm.certificate_arn(certificate.id))?;
            let Some(authority) = certificate.authority.clone() else {
                return Err(Error::invalid("ParentIdentifier", "this certificate is none of a CA here"));
            };
            match is_shown(&certificate) && certificate.not_after.is_some_and(|end| self.now() < end) {
                true => Ok((certificate, authority)),
                false => Err(state_change(&certificate)),
            }
        })
    }

    /// Signs with a version of a CMK, whose state and permissions count as in AsymmetricSign.
    fn signer(
        &self,
        caller: &Caller,
        version: Uuid,
        public: &PublicKey,
    ) -> Result<impl FnOnce(Hash, &[u8]) -> Result<Vec<u8>> + use<>> {
        const ACTION: &str = "AsymmetricSign";
        let ready = self.ready(caller, ACTION, version)?;
        let (work, public) = (self.work(caller, ACTION, &ready)?, public.clone());
        Ok(move |hash: Hash, digest: &[u8]| sign_digest(work.as_ref(), &public, hash, digest))
    }

    /// Issues a server or client certificate for a CSR; not in the list until it is synchronised.
    pub fn issue_certificate(&self, caller: &Caller, new: &NewLeaf) -> Result<Certificate> {
        let action = if new.server { "CreateServerCertificateWithCsr" } else { "CreateClientCertificateWithCsr" };
        let (parent, _) = self.authority(caller, action, &new.parent)?;
        let request = Request::from_pem(&new.csr)?;
        if new.days < 1 || new.days > MAX_YEARS * 366 {
            return Err(Error::invalid("Days", "1 to 10980"));
        }
        let from = self.now();
        let longer = || Error::invalid("Days", "longer than the CA is valid");
        let until = within(from.plus_days(new.days), parent.not_after).ok_or_else(longer)?;
        let names = match (&new.names[..], request.names) {
            ([], asked) => {
                asked.as_ref().map_or(Ok(()), subject::check_asked)?;
                asked
            }
            (given, _) => Some(subject::general_names(given)?),
        };
        if new.server && names.as_ref().is_none_or(|names| names.0.is_empty()) {
            return Err(Error::invalid(
                "Domain",
                "a server has a name: in the CSR's subject alternative names, or here",
            ));
        }
        subject::check_name("Csr", &request.subject)?;
        let issuer = Leaf::from_der(&parent.leaf)?;
        let signer = issuer.public()?;
        let purpose = if new.server { Purpose::Server } else { Purpose::Client };
        let (subject, public) = (request.subject, &request.public);
        let encrypts = new.encrypts;
        if encrypts && !matches!(public, PublicKey::Ec { curve: Curve::Sm2, .. }) {
            return Err(Error::invalid("Usage", "ENCRYPT is for the second certificate of two SM2 ones"));
        }
        let draft = Draft { issuer: Some(&issuer), subject, public, names, from, until, purpose, encrypts };
        let der = issue::certificate(&draft, &signer, self.signer(caller, signing_version(&parent)?, &signer)?)?;
        let leaf = Leaf::from_der(&der)?;
        let certificate = Certificate {
            source: Source::PrivateCa,
            spec: Spec::of_public(public),
            chain: chain_above(Some(&parent))?.into_iter().map(|issuer| Der(issuer.der)).collect(),
            csr: Some(new.csr.clone()),
            issued_by: Some(parent.id),
            unlisted: true,
            ..self.uploaded(&leaf, None)
        };
        let audit = self.audit(caller, action, certificate.id);
        self.store.write(&self.open()?.realm, &audit, |r| r.insert_certificate(&certificate))?;
        Ok(certificate)
    }

    /// What a CA has issued, oldest first.
    pub fn issued_certificates(&self, caller: &Caller, authority: &str) -> Result<Vec<Certificate>> {
        let (authority, all) = self.store.read(&self.open()?.realm, |r| {
            let authority = self.find_certificate(r, authority)?;
            let arn = self.realm.certificate_arn(authority.id);
            let _allowed = self.authorize(caller, "ListClientCertificate", &arn)?;
            Ok((authority, self.all_certificates(r)?))
        })?;
        Ok(all.into_iter().filter(|it| it.issued_by == Some(authority.id) && it.delete_at.is_none()).collect())
    }

    /// Revokes what a CA here issued, for ever; the next CRL says so.
    pub fn revoke_certificate(&self, caller: &Caller, id: &str) -> Result<()> {
        const ACTION: &str = "CreateRevokeClientCertificate";
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            if certificate.issued_by.is_none() {
                return Err(Error::invalid("Identifier", "no CA here issued this certificate"));
            }
            if certificate.status == CertificateStatus::Revoked {
                return Err(state_change(&certificate));
            }
            self.revoke(r, &certificate)
        })
    }

    /// The CRL of a CA at this moment, in PEM. Its number grows with each.
    pub fn revocation_list(&self, caller: &Caller, id: &str) -> Result<String> {
        const ACTION: &str = "GetRevocationList";
        let (mut authority, settings) = self.authority(caller, ACTION, id)?;
        let issuer = Leaf::from_der(&authority.leaf)?;
        let signer = self.signer(caller, signing_version(&authority)?, &issuer.public()?)?;
        let number = settings.crl_number + 1;
        let audit = self.audit(caller, ACTION, id);
        let revoked = self.store.write(&self.open()?.realm, &audit, |r| {
            let current = self.find_certificate(r, id)?;
            if current.authority.as_ref() != Some(&settings) {
                return Err(state_change(&current));
            }
            authority = current;
            authority.authority = Some(Authority { crl_number: number, ..settings.clone() });
            r.update_certificate(&authority)?;
            self.revoked_by(r, authority.id)
        })?;
        let validity = (self.now(), self.now().plus_days(settings.crl_days));
        issue::revocations(&issuer, number, &revoked, validity, signer)
    }

    fn revoked_by(&self, records: &mut Records<'_>, authority: Uuid) -> Result<Vec<(Vec<u8>, Moment)>> {
        let mut revoked = Vec::new();
        for it in self.all_certificates(records)?.iter().filter(|it| it.issued_by == Some(authority)) {
            if let Some(at) = it.revoked_at {
                revoked.push((Leaf::from_der(&it.leaf)?.serial().to_vec(), at));
            }
        }
        Ok(revoked)
    }

    /// S002-038: brings certificates that were issued here into the list, all or none. Where the key is a CMK of ours
    /// the
    /// certificate is seen beside it from now on. How many were not in it before.
    pub fn synchronise(&self, caller: &Caller, ids: &[&str]) -> Result<usize> {
        const ACTION: &str = "UploadPcaCertToCas";
        let audit = self.audit(caller, ACTION, ids.join(","));
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut count = 0;
            for id in ids {
                let mut certificate = self.find_certificate(r, id)?;
                let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
                if certificate.source != Source::PrivateCa {
                    return Err(Error::invalid("Ids", format!("no CA here issued {id}")));
                }
                if !certificate.unlisted {
                    continue;
                }
                count += 1;
                certificate.unlisted = false;
                certificate.updated = self.now();
                let version = r.version_by_public(&Leaf::from_der(&certificate.leaf)?.public()?)?;
                if let Some(version) = version
                    && r.key(version.key)?.is_some_and(|key| key.certificate.is_none())
                {
                    certificate.key = Some(version.key);
                    certificate.version = Some(version.id);
                }
                refresh_certificate(r, &mut certificate, self.now())?;
            }
            Ok(count)
        })
    }
}

/// Not longer than the CA: who asks for as many years as a CA has that was made a moment ago gets what is left of them. None
/// if it is a day or more too long.
fn within(asked: Moment, end: Option<Moment>) -> Option<Moment> {
    match end {
        Some(end) if asked > end => (asked < end.plus_days(1)).then_some(end),
        _ => Some(asked),
    }
}

fn signing_version(authority: &Certificate) -> Result<Uuid> {
    authority.version.ok_or_else(|| Error::Internal("a CA without a key".to_owned()))
}

/// An authority and those above it.
fn chain_above(authority: Option<&Certificate>) -> Result<Vec<Leaf>> {
    let Some(authority) = authority else { return Ok(Vec::new()) };
    std::iter::once(authority.leaf.as_slice())
        .chain(authority.chain.iter().map(|der| der.0.as_slice()))
        .map(Leaf::from_der)
        .collect()
}
