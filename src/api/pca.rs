//! Chapter "pca": the private CA (its API is 2020-06-30): authorities, what they issue and revoke, and its way into the
//! list.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::certificate::authority::{NewAuthority, NewLeaf};
use crate::kms::certificate::tasks::is_leakage_risk;
use crate::kms::x509;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::key::Level;
use crate::model::spec::Spec;

/// Issues a certificate for a client that asks with a CSR. It is in the list once UploadPcaCertToCas has brought it
/// there.
///
/// Example: `alikms CreateClientCertificateWithCsr --ParentIdentifier 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Csr-FILE client.csr --Days 90`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateClientCertificateWithCsr {
    /// The request as PEM, signed by its own key.
    csr: String,
    /// For how many days it is valid, 365 if not given; not longer than the CA.
    days: Option<i64>,
    /// Domain names and IP addresses, with commas between them, in place of the CSR's.
    domain: Option<String>,
    /// ID of the CA's certificate.
    parent_identifier: String,
    /// Of an SM2 key, `ENCRYPT` for the encryption certificate of two; else `SIGN` (the default).
    usage: Option<Usage>,
}

/// Issues a certificate for a server that asks with a CSR. It is in the list once UploadPcaCertToCas has brought it
/// there.
///
/// Example: `alikms CreateServerCertificateWithCsr --ParentIdentifier 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Csr-FILE web.csr --Domain www.example.com --Days 90`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateServerCertificateWithCsr {
    /// The request as PEM, signed by its own key.
    csr: String,
    /// For how many days it is valid, 365 if not given; not longer than the CA.
    days: Option<i64>,
    /// Domain names and IP addresses, with commas between them, in place of the CSR's; one is needed.
    domain: Option<String>,
    /// ID of the CA's certificate.
    parent_identifier: String,
    /// Of an SM2 key, `ENCRYPT` for the encryption certificate of two; else `SIGN` (the default).
    usage: Option<Usage>,
}

#[derive(Deserialize, JsonSchema, PartialEq, Eq)]
enum Usage {
    #[serde(rename = "ENCRYPT")]
    Encrypt,
    #[serde(rename = "SIGN")]
    Sign,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Issued {
    arn: String,
    certificate_chain: String,
    identifier: Uuid,
    x509_certificate: String,
}

impl Issued {
    fn new(kms: &Kms, certificate: &Certificate) -> Self {
        Self {
            arn: kms.realm().certificate_arn(certificate.id),
            certificate_chain: certificate.chain.iter().map(|der| x509::to_pem(&der.0)).collect(),
            identifier: certificate.id,
            x509_certificate: x509::to_pem(&certificate.leaf),
        }
    }
}

/// A year: what is longer bears the mark of a risk (S002-056, 057).
const DAYS: i64 = 365;

fn issue(
    kms: &Kms,
    caller: &Caller,
    (server, usage): (bool, Option<Usage>),
    (parent, csr): (String, String),
    days: Option<i64>,
    domain: Option<&str>,
) -> Result<Issued> {
    let names = domain.map(|list| list.split(',').map(|name| name.trim().to_owned()).collect()).unwrap_or_default();
    let encrypts = usage == Some(Usage::Encrypt);
    let new = NewLeaf { parent, csr, server, encrypts, days: days.unwrap_or(DAYS), names };
    Ok(Issued::new(kms, &kms.issue_certificate(caller, &new)?))
}

impl Action for CreateClientCertificateWithCsr {
    type Response = Issued;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Issued> {
        issue(kms, caller, (false, self.usage), (self.parent_identifier, self.csr), self.days, self.domain.as_deref())
    }
}

impl Action for CreateServerCertificateWithCsr {
    type Response = Issued;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Issued> {
        issue(kms, caller, (true, self.usage), (self.parent_identifier, self.csr), self.days, self.domain.as_deref())
    }
}

/// Revokes what a CA here issued, for ever. `alikms crl` prints the list for those who ask.
///
/// Example: `alikms CreateRevokeClientCertificate --Identifier 9a28de48-8d8b-484d-a766-dec4a6a3b2c1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRevokeClientCertificate {
    /// ID of the certificate.
    identifier: String,
}

impl Action for CreateRevokeClientCertificate {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.revoke_certificate(caller, &self.identifier)
    }
}

/// Creates a root CA: a key, and a certificate that it signs itself.
///
/// Example: `alikms CreateRootCACertificate --Subject CN=Example-Root,O=Example,C=CN --Algorithm EC_P256 --Years 10 --ProtectionLevel HSM`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateRootCACertificate {
    /// KeySpec of the key: `RSA_2048` to `RSA_4096`, `EC_P256`, `EC_P384`, `EC_P521` or `EC_SM2`.
    algorithm: String,
    /// For how many days a CRL is valid: 1 to 365, 7 if not given.
    crl_day: Option<i64>,
    /// How many authorities may follow below it; any number if not given.
    path_len_constraint: Option<i64>,
    /// Where the key works: `SOFTWARE` (the default) or `HSM`.
    protection_level: Option<Level>,
    /// May what it issues be shared with other accounts of this installation (`alikms share-certificate`); if not given `false`.
    shareable: Option<bool>,
    /// Its name as RFC 2253 writes it.
    subject: String,
    /// For how many years it is valid: 1 to 30.
    years: i64,
}

impl Action for CreateRootCACertificate {
    type Response = Issued;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Issued> {
        let new = NewAuthority {
            parent: None,
            subject: self.subject,
            spec: spec(&self.algorithm)?,
            level: self.protection_level.unwrap_or(Level::Software),
            years: self.years,
            path_length: path_length(self.path_len_constraint)?,
            crl_days: self.crl_day,
            shareable: self.shareable.unwrap_or(false),
        };
        Ok(Issued::new(kms, &kms.create_authority(caller, new)?))
    }
}

/// Creates an intermediate CA below another CA here.
///
/// Example: `alikms CreateSubCACertificate --ParentIdentifier 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Subject CN=Example-Servers,O=Example,C=CN --Algorithm EC_P256 --Years 5`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateSubCACertificate {
    /// KeySpec of the key: `RSA_2048` to `RSA_4096`, `EC_P256`, `EC_P384`, `EC_P521` or `EC_SM2`.
    algorithm: String,
    /// For how many days a CRL is valid: 1 to 365, 7 if not given.
    crl_day: Option<i64>,
    /// ID of the certificate of the CA above it.
    parent_identifier: String,
    /// How many authorities may follow below it; none if not given.
    path_len_constraint: Option<i64>,
    /// Where the key works: `SOFTWARE` (the default) or `HSM`.
    protection_level: Option<Level>,
    /// May what it issues be shared with other accounts of this installation (`alikms share-certificate`); if not given `false`.
    shareable: Option<bool>,
    /// Its name as RFC 2253 writes it.
    subject: String,
    /// For how many years it is valid: 1 to 30, not longer than the CA above it.
    years: i64,
}

impl Action for CreateSubCACertificate {
    type Response = Issued;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Issued> {
        let new = NewAuthority {
            parent: Some(self.parent_identifier),
            subject: self.subject,
            spec: spec(&self.algorithm)?,
            level: self.protection_level.unwrap_or(Level::Software),
            years: self.years,
            path_length: path_length(self.path_len_constraint)?,
            crl_days: self.crl_day,
            shareable: self.shareable.unwrap_or(false),
        };
        Ok(Issued::new(kms, &kms.create_authority(caller, new)?))
    }
}

fn spec(name: &str) -> Result<Spec> {
    Spec::by_name(name).ok_or_else(|| Error::invalid("Algorithm", "no such KeySpec"))
}

fn path_length(given: Option<i64>) -> Result<Option<u8>> {
    let read = |length| u8::try_from(length).map_err(|_| Error::invalid("PathLenConstraint", "0 to 255"));
    given.map(read).transpose()
}

/// Lists what a CA here has issued, oldest first.
///
/// Example: `alikms ListClientCertificate --Identifier 9a28de48-8d8b-484d-a766-dec4a6a3b2c1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListClientCertificate {
    /// ID of the CA's certificate.
    identifier: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IssuedList {
    certificate_list: Vec<Line>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    identifier: Uuid,
    leakage_risk: bool,
    not_after: String,
    not_before: String,
    /// `ISSUE` or `REVOKE`.
    status: &'static str,
    subject_dn: String,
    /// `Uploaded` once it is in the list (S002-039).
    synchronisation: &'static str,
}

impl Action for ListClientCertificate {
    type Response = IssuedList;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<IssuedList> {
        let line = |certificate: Certificate| Line {
            identifier: certificate.id,
            leakage_risk: is_leakage_risk(&certificate),
            not_after: certificate.not_after.map(|at| at.to_string()).unwrap_or_default(),
            not_before: certificate.not_before.map(|at| at.to_string()).unwrap_or_default(),
            status: if certificate.status == CertificateStatus::Revoked { "REVOKE" } else { "ISSUE" },
            synchronisation: if certificate.unlisted { "" } else { "Uploaded" },
            subject_dn: certificate.subject,
        };
        let issued = kms.issued_certificates(caller, &self.identifier)?;
        Ok(IssuedList { certificate_list: issued.into_iter().map(line).collect() })
    }
}

/// Brings certificates that a CA here issued into the list, all or none.
///
/// Example: `alikms UploadPcaCertToCas --Ids 9a28de48-8d8b-484d-a766-dec4a6a3b2c1,1339cb7d-54d3-47e0-b595-c7d3dba8d1e0`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UploadPcaCertToCas {
    /// IDs of the certificates, with commas between them.
    ids: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Synchronised {
    count: usize,
}

impl Action for UploadPcaCertToCas {
    type Response = Synchronised;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Synchronised> {
        let ids: Vec<&str> = self.ids.split(',').map(str::trim).collect();
        Ok(Synchronised { count: kms.synchronise(caller, &ids)? })
    }
}
