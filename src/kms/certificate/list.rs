//! The list of certificates, and how one leaves it.

use super::state_change;
use crate::error::Result;
use crate::kms::Kms;
use crate::kms::catalogue::{refresh_certificate, refresh_key};
use crate::kms::x509::Leaf;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::key::KeyState;
use crate::store::{Listed, Page, Records};

/// Certificates are read in pages of this many.
const PAGE: u64 = 200;
/// Days until a deleted certificate and its key are gone for good (ruling 17).
const WINDOW: i64 = 30;

/// What ListCertificates is limited to; a text is contained in the name, whatever its capitals.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    pub status: Option<CertificateStatus>,
    pub subject: Option<String>,
    pub issuer: Option<String>,
}

impl Filter {
    fn keeps(&self, certificate: &Certificate) -> Result<bool> {
        if self.status.is_some_and(|status| status != certificate.status) {
            return Ok(false);
        }
        let contains = |part: &Option<String>, text: &str| {
            part.as_ref().is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
        };
        if certificate.leaf.is_empty() {
            return Ok(self.issuer.is_none() && contains(&self.subject, &certificate.subject));
        }
        if self.subject.is_none() && self.issuer.is_none() {
            return Ok(true);
        }
        let leaf = Leaf::from_der(&certificate.leaf)?;
        Ok(contains(&self.subject, &leaf.subject().to_string()) && contains(&self.issuer, &leaf.issuer().to_string()))
    }
}

impl Kms {
    /// Every certificate, oldest first, deleted ones too.
    pub(super) fn all_certificates(&self, records: &mut Records<'_>) -> Result<Vec<Certificate>> {
        let mut all = Vec::new();
        loop {
            let page = Page { offset: all.len() as u64, limit: PAGE };
            let Listed { items, .. } = records.certificates(page)?;
            if items.is_empty() {
                return Ok(all);
            }
            for mut certificate in items {
                self.see_share(records, &mut certificate)?;
                all.push(certificate);
            }
        }
    }

    /// S000-034, S002-005. Oldest first.
    pub fn list_certificates(&self, caller: &Caller, filter: &Filter, page: Page) -> Result<Listed<Certificate>> {
        let _allowed = self.authorize(caller, "ListCertificates", &self.realm.container("certificate"))?;
        let all = self.store.read(&self.open()?.realm, |r| self.all_certificates(r))?;
        let mut found = Vec::new();
        for certificate in all.into_iter().filter(|it| it.delete_at.is_none() && !it.unlisted) {
            if filter.keeps(&certificate)? {
                found.push(certificate);
            }
        }
        let total = found.len() as u64;
        let (offset, limit) = (usize::try_from(page.offset), usize::try_from(page.limit));
        let items = match (offset, limit) {
            (Ok(offset), Ok(limit)) => found.into_iter().skip(offset).take(limit).collect(),
            _ => Vec::new(),
        };
        Ok(Listed { items, total })
    }

    /// Ruling 17. It cannot be taken back (S002-036): out of the list and of new searches at once. A key of its own
    /// goes on for handles that are open until the window ends (S002-037); the key of a CMK is untouched.
    pub fn delete_certificate(&self, caller: &Caller, id: &str) -> Result<()> {
        const ACTION: &str = "DeleteCertificate";
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            if !certificate.owns_key() {
                return self.let_go(r, certificate);
            }
            let end = self.now().plus_days(WINDOW);
            certificate.delete_at = Some(end);
            certificate.updated = self.now();
            let key = certificate.key.map(|key| r.key(key)).transpose()?.flatten();
            let Some(mut key) = key else { return Err(state_change(&certificate)) };
            key.state = KeyState::PendingDeletion;
            key.delete_at = Some(end);
            r.update_key(&key)?;
            refresh_certificate(r, &mut certificate, self.now())?;
            refresh_key(r, &key, self.now())
        })
    }

    /// What is left of certificates whose window has ended: the record, the key, and its material wherever that is.
    pub(in crate::kms) fn forget_deleted_certificates(&self, caller: &Caller, said: &mut Vec<String>) -> Result<()> {
        const ACTION: &str = "DeleteCertificate";
        let all = self.store.read(&self.open()?.realm, |r| self.all_certificates(r))?;
        for due in all.iter().filter(|certificate| certificate.delete_at.is_some_and(|at| at <= self.now())) {
            let allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(due.id))?;
            let audit = self.audit(caller, ACTION, due.id);
            let gone = self.store.write(&self.open()?.realm, &audit, |r| {
                let Some(certificate) = r.certificate(due.id)? else { return Ok(None) };
                let own = certificate.key.filter(|_| certificate.owns_key());
                let key = own.map(|key| r.key(key)).transpose()?.flatten();
                self.forget_certificate(r, certificate)?;
                key.map(|key| self.forget_key(r, &key).map(|versions| (key.level, versions))).transpose()
            })?;
            said.push(match gone {
                Some((level, versions)) => {
                    self.destroy_material(caller, ACTION, level, versions, &allowed)?;
                    format!("deleted certificate {} with its key, whose deletion window ended", due.id)
                }
                None => format!("deleted certificate {}, which was deleted before and has expired", due.id),
            });
        }
        Ok(())
    }
}
