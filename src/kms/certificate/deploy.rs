//! What is needed to put a certificate into service, and where it was put.

use uuid::Uuid;

use super::state_change;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::is_shown;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, Deployment};
use crate::model::object::Class;
use crate::store::{Query, Records};

/// A certificate with the name by which programs find its private key.
#[derive(Debug, Clone)]
pub struct Deployable {
    pub certificate: Certificate,
    /// `CKA_ID` of the private key.
    pub key_id: Vec<u8>,
}

impl Kms {
    /// The certificate of a key's version in service, the longest lived if there are several.
    pub fn deployable_of_key(&self, caller: &Caller, key: &str) -> Result<Deployable> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let (key, version) = self.service_of(r, key)?;
            let of_version = |it: &Certificate| is_shown(it) && it.version == Some(version.id);
            let all = r.certificates_of_key(key.id)?.into_iter().filter(of_version);
            let certificate = all.max_by_key(|it| (it.not_after, it.created)).ok_or_else(|| Error::StateChange {
                resource: key.id.to_string(),
                reason: format!("its version in service, {}, has no certificate: attach one", version.id),
            })?;
            self.deployable(r, caller, certificate)
        })
    }

    /// An ACTIVE certificate whose key is here.
    pub fn deployable_certificate(&self, caller: &Caller, id: &str) -> Result<Deployable> {
        self.store.read(&self.open()?.realm, |r| {
            let certificate = self.find_certificate(r, id)?;
            if !is_shown(&certificate) {
                return Err(state_change(&certificate));
            }
            if certificate.key.is_none() && certificate.shared_by.is_none() {
                return Err(Error::Unsupported("the private key of this certificate is not here".to_owned()));
            }
            self.deployable(r, caller, certificate)
        })
    }

    fn deployable(&self, records: &mut Records<'_>, caller: &Caller, certificate: Certificate) -> Result<Deployable> {
        let _allowed = self.authorize(caller, "DeployCertificate", &self.realm.certificate_arn(certificate.id))?;
        let shared = certificate.shared_by.as_ref();
        let query = Query {
            key: certificate.key,
            version: shared.map_or(certificate.version, |share| Some(share.version)),
            certificate: shared.map(|_| certificate.id),
            class: Some(Class::PrivateKey),
            shown_only: true,
            ..Query::default()
        };
        let own = records.find_objects(&query, 0, 1)?.pop();
        let hidden = || Error::StateChange {
            resource: certificate.id.to_string(),
            reason: "programs do not see its private key: it is disabled, deleted or retired".to_owned(),
        };
        let key_id = own.ok_or_else(hidden)?.id;
        Ok(Deployable { certificate, key_id })
    }

    /// Remembers that a certificate is in service at a place, and no other one is there any more (S002-005).
    pub fn record_deployment(&self, caller: &Caller, id: Uuid, place: &str) -> Result<()> {
        const ACTION: &str = "DeployCertificate";
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(id))?;
            for mut certificate in self.all_certificates(r)? {
                let before = certificate.deployments.clone();
                certificate.deployments.retain(|deployment| deployment.place != place);
                if certificate.id == id {
                    certificate.deployments.push(Deployment { place: place.to_owned(), at: self.now() });
                }
                if certificate.deployments != before {
                    r.update_certificate(&certificate)?;
                }
            }
            Ok(())
        })
    }
}
