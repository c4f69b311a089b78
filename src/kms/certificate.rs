//! Certificates: CreateCertificate, UploadCertificate, status, CSRs and certificates of CMKs.
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus};
use crate::model::key::Level;
use crate::model::public::PublicKey;

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
    /// RSA2048-SHA256, ECDSA-SHA256 …
    pub signature_algorithm: String,
    /// Hex bytes separated by spaces.
    pub subject_key_identifier: String,
    pub alternative_names: Vec<String>,
}

impl Kms {
    pub fn create_certificate(&self, _caller: &Caller, _new: NewCertificate) -> Result<Certificate> {
        todo!()
    }
    /// PEM texts.
    pub fn upload_certificate(&self, _caller: &Caller, _id: &str, _leaf: &str, _chain: Option<&str>) -> Result<()> {
        todo!()
    }
    pub fn describe_certificate(
        &self,
        _caller: &Caller,
        _id: &str,
    ) -> Result<(Certificate, LeafView, PublicKey, Level)> {
        todo!()
    }
    /// The record, with PEM of leaf and chain made by `x509::to_pem`.
    pub fn certificate(&self, _caller: &Caller, _id: &str) -> Result<Certificate> {
        todo!()
    }
    pub fn update_certificate_status(&self, _caller: &Caller, _id: &str, _status: CertificateStatus) -> Result<()> {
        todo!()
    }
    /// `alikms csr`: PEM CSR of the version in service (or the one named). The subject need not have O and OU (ruling 18).
    pub fn csr(
        &self,
        _caller: &Caller,
        _key: &str,
        _version: Option<&str>,
        _subject: &str,
        _names: &[String],
    ) -> Result<String> {
        todo!()
    }
    /// `alikms attach-certificate`: finds the version by its public key. Answers the version.
    pub fn attach_certificate(
        &self,
        _caller: &Caller,
        _key: &str,
        _leaf: &str,
        _chain: Option<&str>,
    ) -> Result<uuid::Uuid> {
        todo!()
    }
}
