//! Certificates: those of the certificate manager, those attached to a CMK, and those uploaded through PKCS#11.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::spec::Spec;
use crate::model::time::Moment;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub enum CertificateStatus {
    #[serde(rename = "ACTIVE")]
    Active,
    #[serde(rename = "INACTIVE")]
    Inactive,
    #[serde(rename = "PENDING")]
    Pending,
    #[serde(rename = "REVOKED")]
    Revoked,
}

impl std::fmt::Display for CertificateStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Active => "ACTIVE",
            Self::Inactive => "INACTIVE",
            Self::Pending => "PENDING",
            Self::Revoked => "REVOKED",
        })
    }
}

/// Where a certificate came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// `alikms attach-certificate`: belongs to a version of a CMK.
    Attached,
    /// CreateCertificate: has a key of its own.
    Created,
    /// C_CreateObject of a certificate.
    Uploaded,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    pub id: Uuid,
    pub source: Source,
    pub status: CertificateStatus,
    /// The key that it belongs to, with the version; none for a certificate of somebody else.
    pub key: Option<Uuid>,
    pub version: Option<Uuid>,
    pub spec: Option<Spec>,
    pub exportable: bool,
    /// RFC 2253, as given to CreateCertificate.
    pub subject: String,
    pub alternative_names: Vec<String>,
    /// PEM.
    pub csr: Option<String>,
    /// DER of the leaf, once there is one.
    #[serde(with = "crate::model::names::base64_bytes", default)]
    pub leaf: Vec<u8>,
    /// DER of the issuers, nearest first.
    #[serde(default)]
    pub chain: Vec<Der>,
    pub not_before: Option<Moment>,
    pub not_after: Option<Moment>,
    /// Its chain is counted in the chain objects of the token.
    #[serde(default)]
    pub listed: bool,
    pub created: Moment,
    pub updated: Moment,
}

/// One DER-encoded certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Der(#[serde(with = "crate::model::names::base64_bytes")] pub Vec<u8>);
