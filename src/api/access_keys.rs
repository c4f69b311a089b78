//! RAM, second part: access keys of users.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::policy::AccessKey;

/// Makes an access key for a user, who may have two. The secret is shown this once.
///
/// Example: `alikms CreateAccessKey --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAccessKey {
    /// Name of the user; if not given, the user who asks.
    user_name: Option<String>,
}

impl Action for CreateAccessKey {
    type Response = One;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<One> {
        let (key, secret) = kms.create_access_key(caller, user(&self.user_name, caller)?)?;
        let secret = String::from_utf8_lossy(&secret).into_owned();
        Ok(One { access_key: Shown { access_key_secret: Some(secret), ..Shown::from(key) } })
    }
}

/// Deletes an access key.
///
/// Example: `alikms DeleteAccessKey --UserName alice --UserAccessKeyId ALIKMSq3v5m1Zt7Yb2Rk9LxE`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAccessKey {
    /// ID of the access key.
    user_access_key_id: String,
    /// Name of the user; if not given, the user who asks.
    user_name: Option<String>,
}

impl Action for DeleteAccessKey {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_access_key(caller, user(&self.user_name, caller)?, &self.user_access_key_id)
    }
}

/// Lists the access keys of a user, without their secrets.
///
/// Example: `alikms ListAccessKeys --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAccessKeys {
    /// Name of the user; if not given, the user who asks.
    user_name: Option<String>,
}

impl Action for ListAccessKeys {
    type Response = All;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<All> {
        let keys = kms.access_keys(caller, user(&self.user_name, caller)?)?;
        Ok(All { access_keys: List { access_key: keys.into_iter().map(Shown::from).collect() } })
    }
}

/// Switches an access key off, or on again.
///
/// Example: `alikms UpdateAccessKey --UserName alice --UserAccessKeyId ALIKMSq3v5m1Zt7Yb2Rk9LxE --Status Inactive`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAccessKey {
    /// What it is from now on.
    status: Status,
    /// ID of the access key.
    user_access_key_id: String,
    /// Name of the user; if not given, the user who asks.
    user_name: Option<String>,
}

impl Action for UpdateAccessKey {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let active = self.status == Status::Active;
        kms.update_access_key(caller, user(&self.user_name, caller)?, &self.user_access_key_id, active)
    }
}

#[derive(Deserialize, Serialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Inactive,
}

/// The account itself has no access keys: it must name a user.
fn user<'a>(given: &'a Option<String>, caller: &'a Caller) -> Result<&'a str> {
    let missing = || Error::MissingParameter("UserName".to_owned());
    given.as_deref().or_else(|| caller.user_name()).ok_or_else(missing)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct One {
    access_key: Shown,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct All {
    access_keys: List,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct List {
    access_key: Vec<Shown>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown {
    access_key_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_key_secret: Option<String>,
    create_date: String,
    status: Status,
}

impl From<AccessKey> for Shown {
    fn from(key: AccessKey) -> Self {
        Self {
            access_key_id: key.id,
            access_key_secret: None,
            create_date: key.created.to_string(),
            status: if key.active { Status::Active } else { Status::Inactive },
        }
    }
}
