//! Chapter "certificate": a key with its CSR, and the certificate that a CA made of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use super::certificate_list::*;
pub use super::certificate_work::*;
use super::{Action, later};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::certificate::NewCertificate;
use crate::kms::x509;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::key::Level;
use crate::model::time::Moment;

/// Creates a key with a certificate signing request for a CA. What the CA answers is brought by UploadCertificate.
///
/// Example: `alikms CreateCertificate --KeySpec=RSA_2048 --Subject=CN=userName,OU=kms,O=aliyun,C=CN --query Csr`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateCertificate {
    /// Makes a repeated request the same one: not supported yet.
    client_token: Option<String>,
    /// May the private key be exported with its certificate; if not given `true` at level SOFTWARE. Never at level HSM.
    exportable_private_key: Option<bool>,
    /// `RSA_2048`, `EC_P256` or `EC_SM2`. `EC_P256` is the stronger; `RSA_2048` is understood by more programs, but no
    /// longer supported by some systems after December 31, 2030; `EC_SM2` is for systems of the Chinese national standards.
    key_spec: String,
    /// Where the key works: `SOFTWARE` (the default) or `HSM`.
    protection_level: Option<Level>,
    /// The owner as RFC 2253 writes it, for example `CN=www.example.com,OU=web,O=Example,C=CN`: CN, OU, O and C are
    /// needed, ST, L and E possible.
    subject: String,
    /// JSON list of up to 10 domain names, for example `["example.com","www.example.com"]`; meant for domain-validated (DV)
    /// certificates.
    subject_alternative_names: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Created {
    arn: String,
    certificate_id: String,
    csr: String,
}

impl Action for CreateCertificate {
    type Response = Created;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Created> {
        later(&[("ClientToken", self.client_token.is_some())])?;
        let new = NewCertificate {
            spec: self.key_spec,
            subject: self.subject,
            alternative_names: self.subject_alternative_names.as_deref().map(names).transpose()?.unwrap_or_default(),
            exportable: self.exportable_private_key,
            level: self.protection_level,
        };
        let certificate = kms.create_certificate(caller, new)?;
        Ok(Created {
            arn: kms.realm().certificate_arn(certificate.id),
            certificate_id: certificate.id.to_string(),
            csr: certificate.csr.unwrap_or_default(),
        })
    }
}

/// Describes a certificate: its status, its key and what the CA wrote into it.
///
/// Example: `alikms DescribeCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --query Status`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeCertificate {
    /// ID of the certificate.
    certificate_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Description {
    arn: String,
    certificate_id: String,
    created_at: String,
    exportable_private_key: bool,
    issuer: String,
    key_spec: &'static str,
    not_after: String,
    not_before: String,
    protection_level: Level,
    serial: String,
    signature_algorithm: String,
    status: CertificateStatus,
    subject: String,
    subject_alternative_names: Vec<String>,
    subject_key_identifier: String,
    subject_public_key: String,
    tags: Map<String, Value>,
    updated_at: String,
}

impl Action for DescribeCertificate {
    type Response = Description;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Description> {
        let (certificate, leaf, public, level) = kms.describe_certificate(caller, &self.certificate_id)?;
        let date = |moment: Option<Moment>| moment.map(|moment| moment.to_string()).unwrap_or_default();
        // While there is no leaf, the request tells what will be in it.
        let (subject, names) = if certificate.leaf.is_empty() {
            (certificate.subject, certificate.alternative_names)
        } else {
            (leaf.subject, leaf.alternative_names)
        };
        Ok(Description {
            arn: kms.realm().certificate_arn(certificate.id),
            certificate_id: certificate.id.to_string(),
            created_at: certificate.created.to_string(),
            exportable_private_key: certificate.exportable,
            issuer: leaf.issuer,
            key_spec: certificate.spec.map(|spec| spec.0.name).unwrap_or_default(),
            not_after: date(certificate.not_after),
            not_before: date(certificate.not_before),
            protection_level: level,
            serial: leaf.serial,
            signature_algorithm: leaf.signature_algorithm,
            status: certificate.status,
            subject,
            subject_alternative_names: names,
            subject_key_identifier: leaf.subject_key_identifier,
            subject_public_key: public.to_pem()?,
            tags: certificate.tags.into_iter().map(|(name, value)| (name, Value::String(value))).collect(),
            updated_at: certificate.updated.to_string(),
        })
    }
}

/// Gives a certificate, its chain and its signing request as PEM.
///
/// Example: `alikms GetCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --query Certificate`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetCertificate {
    /// ID of the certificate.
    certificate_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Pem {
    certificate: String,
    certificate_chain: String,
    certificate_id: String,
    csr: String,
}

impl Action for GetCertificate {
    type Response = Pem;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Pem> {
        let Certificate { id, leaf, chain, csr, .. } = kms.certificate(caller, &self.certificate_id)?;
        Ok(Pem {
            certificate: if leaf.is_empty() { String::new() } else { x509::to_pem(&leaf) },
            certificate_chain: chain.iter().map(|der| x509::to_pem(&der.0)).collect(),
            certificate_id: id.to_string(),
            csr: csr.unwrap_or_default(),
        })
    }
}

/// Takes a certificate out of use, back into it, or revokes it for ever.
///
/// Example: `alikms UpdateCertificateStatus --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Status INACTIVE`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateCertificateStatus {
    /// ID of the certificate.
    certificate_id: String,
    /// What it shall be. `REVOKED` cannot be undone.
    status: NewStatus,
}

/// INACTIVE had two other names in earlier documents.
#[derive(Deserialize, JsonSchema)]
enum NewStatus {
    #[serde(rename = "ACTIVE")]
    Active,
    #[serde(rename = "INACTIVE", alias = "DISABLE", alias = "DISABLED")]
    Inactive,
    #[serde(rename = "REVOKED")]
    Revoked,
}

impl Action for UpdateCertificateStatus {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let status = match self.status {
            NewStatus::Active => CertificateStatus::Active,
            NewStatus::Inactive => CertificateStatus::Inactive,
            NewStatus::Revoked => CertificateStatus::Revoked,
        };
        kms.update_certificate_status(caller, &self.certificate_id, status)
    }
}

/// Brings the certificate that a CA issued for CreateCertificate's request; it becomes ACTIVE.
///
/// Example: `alikms UploadCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Certificate-FILE web.pem --CertificateChain-FILE chain.pem`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UploadCertificate {
    /// The certificate as PEM.
    certificate: String,
    /// The certificates above it as PEM, the issuer first.
    certificate_chain: Option<String>,
    /// ID of the certificate, from CreateCertificate.
    certificate_id: String,
}

impl Action for UploadCertificate {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.upload_certificate(caller, &self.certificate_id, &self.certificate, self.certificate_chain.as_deref())
    }
}

/// A JSON list of names (S001-012), or what some SDKs make of it: an object with the names as values.
pub fn names(text: &str) -> Result<Vec<String>> {
    let wrong =
        || Error::invalid("SubjectAlternativeNames", "it is a JSON list of names: [\"a.example\",\"b.example\"]");
    let values: Vec<Value> = match serde_json::from_str(text).map_err(|_| wrong())? {
        Value::Array(values) => values,
        Value::Object(fields) => fields.into_iter().map(|(_, value)| value).collect(),
        _ => return Err(wrong()),
    };
    values.into_iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}
