//! Chapter "key version".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::keys::interval;
use super::page::{Paged, Paging};
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::key::Version;

/// Gives a key a new version with new key material. An asymmetric key goes on working by the version in service until
/// `alikms promote`; a symmetric key encrypts by the new version from now on.
///
/// Example: `alikms CreateKeyVersion --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateKeyVersion {
    /// ID, alias or ARN of the key.
    key_id: String,
}

impl Action for CreateKeyVersion {
    type Response = One;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<One> {
        let version = kms.create_key_version(caller, &self.key_id)?;
        Ok(One { key_version: (&version).into() })
    }
}

/// Describes one version of a key.
///
/// Example: `alikms DescribeKeyVersion --KeyId alias/web --KeyVersionId c0a3d5dc-0b47-4199-a050-b289349a0000`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeKeyVersion {
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
}

impl Action for DescribeKeyVersion {
    type Response = One;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<One> {
        let version = kms.describe_key_version(caller, &self.key_id, &self.key_version_id)?;
        Ok(One { key_version: (&version).into() })
    }
}

/// Lists the versions of a key, oldest first.
///
/// Example: `alikms ListKeyVersions --KeyId alias/web --query KeyVersions.KeyVersion.0.KeyVersionId`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListKeyVersions {
    /// ID, alias or ARN of the key.
    key_id: String,
    /// Which page, from 1; 1 if not given.
    page_number: Option<i64>,
    /// How many on a page, 1 to 100; 10 if not given.
    page_size: Option<i64>,
}

/// Changes the automatic rotation of a symmetric key. If the next rotation is then in the past, it happens now.
///
/// Example: `alikms UpdateRotationPolicy --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --EnableAutomaticRotation true --RotationInterval 365d`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateRotationPolicy {
    /// `true` or `false`.
    enable_automatic_rotation: bool,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// The time between two rotations: a number with the unit d, h, m or s, of 7 to 730 days.
    rotation_interval: Option<String>,
}

impl Action for UpdateRotationPolicy {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let interval = interval(Some(self.enable_automatic_rotation), self.rotation_interval.as_deref())?;
        kms.update_rotation_policy(caller, &self.key_id, interval)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Versions {
    key_versions: VersionList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct VersionList {
    key_version: Vec<KeyVersion>,
}

impl Action for ListKeyVersions {
    type Response = Paged<Versions>;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Self::Response> {
        let paging = Paging::new(self.page_number, self.page_size)?;
        let listed = kms.list_key_versions(caller, &self.key_id, paging.page())?;
        let list =
            |versions: Vec<Version>| VersionList { key_version: versions.iter().map(KeyVersion::from).collect() };
        Ok(paging.answer(listed, |versions| Versions { key_versions: list(versions) }))
    }
}

/// The answer of CreateKeyVersion and DescribeKeyVersion.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct One {
    key_version: KeyVersion,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyVersion {
    creation_date: String,
    key_id: String,
    key_version_id: String,
}

impl From<&Version> for KeyVersion {
    fn from(version: &Version) -> Self {
        Self {
            creation_date: version.created.to_string(),
            key_id: version.key.to_string(),
            key_version_id: version.id.to_string(),
        }
    }
}
