//! Certificates: those of the certificate manager, those attached to a CMK, those that came from elsewhere, and those of
//! the private CA.

use std::collections::BTreeMap;

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
    /// ImportCertificate: came with its key.
    Imported,
    /// Issued here by a private CA, without a key of ours; in the list once it was synchronised.
    PrivateCa,
    /// Of another account, which keeps the private key for us (S002-004).
    Shared,
    /// C_CreateObject of a certificate, or an upload of S002.
    Uploaded,
}

impl Source {
    /// As the list shows it (S002-001).
    pub fn name(self) -> &'static str {
        match self {
            Self::Attached => "ATTACHED",
            Self::Created => "CREATED",
            Self::Imported => "IMPORTED",
            Self::PrivateCa => "PRIVATE_CA",
            Self::Shared => "SHARED",
            Self::Uploaded => "UPLOADED",
        }
    }
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
    /// What the list calls it (S002-017); empty if nobody gave it a name.
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub resource_group: String,
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Deleted: out of sight since, and gone with its key at this moment (ruling 17).
    #[serde(default)]
    pub delete_at: Option<Moment>,
    /// Where `alikms deploy` put it.
    #[serde(default)]
    pub deployments: Vec<Deployment>,
    /// Is somebody to be told before it expires?
    #[serde(default)]
    pub notify: bool,
    /// When somebody was told last.
    #[serde(default)]
    pub reminded: Option<Moment>,
    /// Its tasks are not shown until then.
    #[serde(default)]
    pub snoozed_until: Option<Moment>,
    /// The CA here that issued it.
    #[serde(default)]
    pub issued_by: Option<Uuid>,
    /// Issued here and not in the list: that is so until it is synchronised (S002-038).
    #[serde(default)]
    pub unlisted: bool,
    #[serde(default)]
    pub revoked_at: Option<Moment>,
    /// What it is as a CA of ours.
    #[serde(default)]
    pub authority: Option<Authority>,
    /// The signing certificate that this encryption certificate stands beside (SM2 dual certificates).
    #[serde(default)]
    pub beside: Option<Uuid>,
    /// The account that may use it too; once given, it is never given again (S002-044).
    #[serde(default)]
    pub shared_with: Option<Share>,
    /// The account whose certificate it is.
    #[serde(default)]
    pub shared_by: Option<Share>,
    pub created: Moment,
    pub updated: Moment,
}

impl Certificate {
    /// An empty one that is PENDING.
    pub fn new(source: Source, now: Moment) -> Self {
        Self {
            id: Uuid::new_v4(),
            source,
            status: CertificateStatus::Pending,
            key: None,
            version: None,
            spec: None,
            exportable: false,
            subject: String::new(),
            alternative_names: Vec::new(),
            csr: None,
            leaf: Vec::new(),
            chain: Vec::new(),
            not_before: None,
            not_after: None,
            listed: false,
            name: String::new(),
            resource_group: String::new(),
            tags: BTreeMap::new(),
            delete_at: None,
            deployments: Vec::new(),
            notify: false,
            reminded: None,
            snoozed_until: None,
            issued_by: None,
            unlisted: false,
            revoked_at: None,
            authority: None,
            beside: None,
            shared_with: None,
            shared_by: None,
            created: now,
            updated: now,
        }
    }

    /// Belongs its key to it alone? A CMK's does not.
    pub fn owns_key(&self) -> bool {
        let with_key = [Source::Created, Source::Imported, Source::Uploaded];
        self.key.is_some() && with_key.contains(&self.source)
    }
}

/// A CA whose key is a CMK of ours (S002-040).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// How many authorities may follow below it; None: any number.
    pub path_length: Option<u8>,
    /// Number of the last CRL.
    pub crl_number: u64,
    /// For how many days a CRL is valid.
    pub crl_days: i64,
    /// May what it issues be shared with other accounts?
    #[serde(default)]
    pub shareable: bool,
}

/// One side of a certificate that two accounts have. The key stays with its owner (S002-004).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The other account.
    pub account: String,
    /// The certificate over there.
    pub certificate: Uuid,
    /// Of the owner's key.
    pub version: Uuid,
    pub at: Moment,
    #[serde(default)]
    pub withdrawn: bool,
}

/// A directory that a certificate was put into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub place: String,
    pub at: Moment,
}

/// One DER-encoded certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Der(#[serde(with = "crate::model::names::base64_bytes")] pub Vec<u8>);
