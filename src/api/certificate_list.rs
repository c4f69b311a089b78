//! Chapter "certificate", third part: the list, deletion, import and export.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Action;
use super::base64::{Base64, encode};
use super::page::Paging;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::certificate::list::Filter;
use crate::kms::certificate::tasks::{Expiry, is_leakage_risk};
use crate::kms::x509;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus, Der, Share};
use crate::model::time::Moment;
use crate::store::Listed;

/// The cloud's own limit (kms-api.md).
const LAST_PAGE: i64 = 200;

/// Deletes a certificate for ever. What is deployed with its key goes on for 30 days; the key of a CMK is untouched.
///
/// Example: `alikms DeleteCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteCertificate {
    /// ID of the certificate.
    certificate_id: String,
}

impl Action for DeleteCertificate {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_certificate(caller, &self.certificate_id)
    }
}

/// Exports a certificate with its chain and its private key, if it was made exportable and works at level SOFTWARE.
///
/// Example: `alikms ExportCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Passphrase-FILE passphrase.txt --query PKCS12Blob`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ExportCertificate {
    /// ID of the certificate.
    certificate_id: String,
    /// `PKCS12` (the default), or `PEM`, whose key is encrypted PKCS#8.
    export_format: Option<Format>,
    /// What protects the private key: 1 to 1024 printable ASCII characters; a line break at its end does not count.
    passphrase: String,
}

#[derive(Deserialize, JsonSchema)]
enum Format {
    #[serde(rename = "PEM")]
    Pem,
    #[serde(rename = "PKCS12")]
    Pkcs12,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exported {
    certificate_id: Uuid,
    certificate: String,
    certificate_chain: String,
    private_key: String,
    #[serde(rename = "PKCS12Blob")]
    pkcs12_blob: String,
}

impl Action for ExportCertificate {
    type Response = Exported;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Exported> {
        let passphrase = zeroize::Zeroizing::new(self.passphrase);
        let passphrase = without_line_end(&passphrase);
        let exported = kms.export_certificate(caller, &self.certificate_id)?;
        let Certificate { id, leaf, chain, .. } = &exported.certificate;
        let mut answer = Exported {
            certificate_id: *id,
            certificate: x509::to_pem(leaf),
            certificate_chain: chain.iter().map(|Der(der)| x509::to_pem(der)).collect(),
            private_key: String::new(),
            pkcs12_blob: String::new(),
        };
        match self.export_format {
            Some(Format::Pem) => {
                answer.private_key = String::from_utf8_lossy(&exported.key.to_encrypted_pem(passphrase)?).into_owned();
            }
            None | Some(Format::Pkcs12) => answer.pkcs12_blob = encode(&exported.to_pkcs12(passphrase)?),
        }
        Ok(answer)
    }
}

/// Imports a certificate with its private key from a PKCS#12 file. The key works at level SOFTWARE and can be exported.
///
/// Example: `alikms ImportCertificate --PKCS12Blob-FILE web.p12.b64 --Passphrase-FILE passphrase.txt --query CertificateId`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ImportCertificate {
    /// The PKCS#12 file in Base64: one private key, its certificate, and those above it.
    #[serde(rename = "PKCS12Blob")]
    pkcs12_blob: Base64,
    /// The password of the file; a line break at its end does not count.
    passphrase: String,
}

/// A certificate that came to be.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Taken {
    arn: String,
    certificate_id: Uuid,
}

impl Taken {
    pub(super) fn new(kms: &Kms, certificate: &Certificate) -> Self {
        Self { arn: kms.realm().certificate_arn(certificate.id), certificate_id: certificate.id }
    }
}

impl Action for ImportCertificate {
    type Response = Taken;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Taken> {
        let passphrase = zeroize::Zeroizing::new(self.passphrase);
        let certificate = kms.import_certificate(caller, &self.pkcs12_blob, without_line_end(&passphrase))?;
        Ok(Taken::new(kms, &certificate))
    }
}

/// Imports the encryption certificate that belongs beside an SM2 signing certificate, with its enveloped private key.
///
/// Example: `alikms ImportEncryptionCertificate --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Certificate-FILE encryption.pem --AsymmetricAlgorithm SM2PKE --SymmetricAlgorithm SM4 --EncryptedSymmetricKey-FILE key.b64 --EncryptedPrivateKey-FILE private.b64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ImportEncryptionCertificate {
    /// How the symmetric key was encrypted to the signing certificate's public key: `SM2PKE`.
    asymmetric_algorithm: String,
    /// The encryption certificate as PEM.
    certificate: String,
    /// The certificates above it as PEM, the issuer first.
    certificate_chain: Option<String>,
    /// ID of the signing certificate, which is ACTIVE.
    certificate_id: String,
    /// The private key (32 bytes, or 64 with zeros in front) under the symmetric key, in Base64.
    encrypted_private_key: Base64,
    /// The symmetric key, encrypted to the signing certificate's public key, in Base64.
    encrypted_symmetric_key: Base64,
    /// How the private key was encrypted: `SM4`, in ECB mode (GM/T 0009).
    symmetric_algorithm: String,
}

impl Action for ImportEncryptionCertificate {
    type Response = Taken;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Taken> {
        for (name, given, one) in [
            ("AsymmetricAlgorithm", &self.asymmetric_algorithm, "SM2PKE"),
            ("SymmetricAlgorithm", &self.symmetric_algorithm, "SM4"),
        ] {
            if given != one {
                return Err(Error::invalid(name, one));
            }
        }
        let certificate = kms.import_encryption_certificate(
            caller,
            &self.certificate_id,
            &self.certificate,
            self.certificate_chain.as_deref(),
            &self.encrypted_symmetric_key,
            &self.encrypted_private_key,
        )?;
        Ok(Taken::new(kms, &certificate))
    }
}

/// Lists the certificates with their state, oldest first.
///
/// Example: `alikms ListCertificates --Status ACTIVE --Subject www.example.com`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListCertificates {
    /// Only those in whose issuer this stands.
    issuer: Option<String>,
    /// Which page: 1 (the default) to 200.
    page_number: Option<i64>,
    /// How many certificates a page has: 1 to 100, 10 if not given.
    page_size: Option<i64>,
    /// Only those in this state: `PENDING`, `ACTIVE`, `INACTIVE` or `REVOKED`.
    status: Option<CertificateStatus>,
    /// Only those in whose subject this stands.
    subject: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct List {
    certificate_summary_list: Vec<Summary>,
    certificates: Vec<Id>,
    page_number: i64,
    page_size: i64,
    total_size: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Id {
    certificate_id: Uuid,
}

/// One line of the list. What the API does not publish is an addition (S002-001, 005, 017, 041).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    certificate_id: Uuid,
    deployments: Vec<String>,
    /// `ISSUED`, `WILLEXPIRED` within 30 days, `EXPIRED`; empty while PENDING.
    expiry: &'static str,
    key_spec: &'static str,
    leakage_risk: bool,
    name: String,
    not_after: String,
    not_before: String,
    notification: bool,
    resource_group_id: String,
    /// The account whose certificate it is; empty if it is our own (S002-047).
    shared_by: String,
    /// The account that may use it too; empty if there is none.
    shared_with: String,
    source: &'static str,
    status: CertificateStatus,
    subject: String,
    subject_alternative_names: Vec<String>,
    tags: std::collections::BTreeMap<String, String>,
}

impl Summary {
    fn new(certificate: Certificate, now: Moment) -> Self {
        let date = |moment: Option<Moment>| moment.map(|at| at.to_string()).unwrap_or_default();
        let account = |share: Option<Share>| share.filter(|share| !share.withdrawn).map(|share| share.account);
        Self {
            certificate_id: certificate.id,
            expiry: Expiry::of(&certificate, now).map_or("", Expiry::name),
            leakage_risk: is_leakage_risk(&certificate),
            notification: certificate.notify,
            deployments: certificate.deployments.into_iter().map(|deployment| deployment.place).collect(),
            key_spec: certificate.spec.map(|spec| spec.0.name).unwrap_or_default(),
            not_after: date(certificate.not_after),
            not_before: date(certificate.not_before),
            name: certificate.name,
            resource_group_id: certificate.resource_group,
            shared_by: account(certificate.shared_by).unwrap_or_default(),
            shared_with: account(certificate.shared_with).unwrap_or_default(),
            source: certificate.source.name(),
            status: certificate.status,
            subject: certificate.subject,
            subject_alternative_names: certificate.alternative_names,
            tags: certificate.tags,
        }
    }
}

impl Action for ListCertificates {
    type Response = List;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<List> {
        if self.page_number.is_some_and(|number| number > LAST_PAGE) {
            return Err(Error::invalid("PageNumber", "1 to 200 is possible"));
        }
        let paging = Paging::new(self.page_number, self.page_size)?;
        let filter = Filter { status: self.status, subject: self.subject, issuer: self.issuer };
        let Listed { items, total } = kms.list_certificates(caller, &filter, paging.page())?;
        Ok(List {
            certificates: items.iter().map(|certificate| Id { certificate_id: certificate.id }).collect(),
            certificate_summary_list: items.into_iter().map(|one| Summary::new(one, kms.moment())).collect(),
            page_number: self.page_number.unwrap_or(1),
            page_size: self.page_size.unwrap_or(10),
            total_size: total,
        })
    }
}

/// Of a passphrase that came from a file.
fn without_line_end(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}
