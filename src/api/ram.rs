//! RAM: users, policies and what is attached to whom, under the names of RAM's own API (2015-05-01).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::ram::is_system;
use crate::model::caller::Caller;
use crate::model::policy;
use crate::store::Page;

/// More than any account has: RAM's lists are not paged here.
const ALL: Page = Page { offset: 0, limit: 1_000_000 };

/// Lets a user do what a policy allows.
///
/// Example: `alikms AttachPolicyToUser --PolicyType Custom --PolicyName sign-web --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AttachPolicyToUser {
    /// Name of the policy: one of yours, AliyunKMSFullAccess, AliyunKMSReadOnlyAccess or AliyunKMSCryptoUserAccess.
    policy_name: String,
    /// `Custom` or `System`; not needed.
    policy_type: Option<PolicyType>,
    /// Name of the user.
    user_name: String,
}

impl Action for AttachPolicyToUser {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        expect(self.policy_type, &self.policy_name)?;
        kms.attach_policy(caller, &self.policy_name, &self.user_name)
    }
}

/// Makes a policy.
///
/// Example: `alikms CreatePolicy --PolicyName sign-web --PolicyDocument '{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:AsymmetricSign"],"Resource":["*"]}]}'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreatePolicy {
    /// What it is for.
    description: Option<String>,
    /// JSON: `Version` "1" and `Statement`s of `Effect`, `Action` and `Resource`; up to 32768 bytes.
    policy_document: String,
    /// 1 to 64 letters, digits, dots, underscores, hyphens.
    policy_name: String,
}

impl Action for CreatePolicy {
    type Response = OnePolicy;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<OnePolicy> {
        let description = self.description.unwrap_or_default();
        let made = kms.create_policy(caller, &self.policy_name, &self.policy_document, &description)?;
        Ok(OnePolicy { policy: made.into(), default_policy_version: None })
    }
}

/// Makes a RAM user, who may do nothing until a policy is attached. `alikms set-user-pin` gives it a PIN.
///
/// Example: `alikms CreateUser --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateUser {
    /// What is to be known about it.
    comments: Option<String>,
    /// 1 to 64 letters, digits, dots, underscores, hyphens.
    user_name: String,
}

impl Action for CreateUser {
    type Response = OneUser;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<OneUser> {
        let user = kms.create_user(caller, &self.user_name, &self.comments.unwrap_or_default())?;
        Ok(OneUser { user: user.into() })
    }
}

/// Deletes a policy that is attached to nobody.
///
/// Example: `alikms DeletePolicy --PolicyName sign-web`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeletePolicy {
    /// Name of the policy.
    policy_name: String,
}

impl Action for DeletePolicy {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_policy(caller, &self.policy_name)
    }
}

/// Deletes a user to whom no policy is attached.
///
/// Example: `alikms DeleteUser --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteUser {
    /// Name of the user.
    user_name: String,
}

impl Action for DeleteUser {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_user(caller, &self.user_name)
    }
}

/// Takes back what a policy allowed a user.
///
/// Example: `alikms DetachPolicyFromUser --PolicyType Custom --PolicyName sign-web --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DetachPolicyFromUser {
    /// Name of the policy.
    policy_name: String,
    /// `Custom` or `System`; not needed.
    policy_type: Option<PolicyType>,
    /// Name of the user.
    user_name: String,
}

impl Action for DetachPolicyFromUser {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        expect(self.policy_type, &self.policy_name)?;
        kms.detach_policy(caller, &self.policy_name, &self.user_name)
    }
}

/// Shows a policy with its document.
///
/// Example: `alikms GetPolicy --PolicyType Custom --PolicyName sign-web`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPolicy {
    /// Name of the policy.
    policy_name: String,
    /// `Custom`; not needed.
    policy_type: Option<PolicyType>,
}

impl Action for GetPolicy {
    type Response = OnePolicy;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<OnePolicy> {
        expect(self.policy_type, &self.policy_name)?;
        let policy = kms.policy(caller, &self.policy_name)?;
        let version = PolicyVersion { is_default_version: true, policy_document: policy.document.clone() };
        Ok(OnePolicy { policy: policy.into(), default_policy_version: Some(version) })
    }
}

/// Shows a user.
///
/// Example: `alikms GetUser --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetUser {
    /// Name of the user.
    user_name: String,
}

impl Action for GetUser {
    type Response = OneUser;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<OneUser> {
        kms.user(caller, &self.user_name).map(|user| OneUser { user: user.into() })
    }
}

/// Lists the policies that were made here.
///
/// Example: `alikms ListPolicies`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPolicies {}

impl Action for ListPolicies {
    type Response = Policies;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Policies> {
        let listed = kms.policies(caller, ALL)?;
        let policy = listed.items.into_iter().map(Policy::from).collect();
        Ok(Policies { is_truncated: false, policies: PolicyList { policy } })
    }
}

/// Lists the policies attached to a user.
///
/// Example: `alikms ListPoliciesForUser --UserName alice`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListPoliciesForUser {
    /// Name of the user.
    user_name: String,
}

impl Action for ListPoliciesForUser {
    type Response = Attached;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Attached> {
        let user = kms.user(caller, &self.user_name)?;
        let policy = user.policies.into_iter().map(|policy_name| PolicyName { policy_name }).collect();
        Ok(Attached { policies: AttachedList { policy } })
    }
}

/// Lists the users.
///
/// Example: `alikms ListUsers`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListUsers {}

impl Action for ListUsers {
    type Response = Users;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Users> {
        let user = kms.users(caller, ALL)?.items.into_iter().map(User::from).collect();
        Ok(Users { is_truncated: false, users: UserList { user } })
    }
}

/// Where a policy comes from.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
enum PolicyType {
    Custom,
    System,
}

/// A policy of the other type is not there.
fn expect(given: Option<PolicyType>, name: &str) -> Result<()> {
    match given {
        Some(given) if (given == PolicyType::System) != is_system(name) => {
            Err(Error::EntityNotFound { kind: "Policy", name: name.to_owned() })
        }
        _ => Ok(()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OneUser {
    user: User,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct User {
    comments: String,
    create_date: String,
    user_id: String,
    user_name: String,
}

impl From<policy::User> for User {
    fn from(user: policy::User) -> Self {
        Self {
            comments: user.comments,
            create_date: user.created.to_string(),
            user_id: user.id.to_string(),
            user_name: user.name,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Users {
    is_truncated: bool,
    users: UserList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct UserList {
    user: Vec<User>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct OnePolicy {
    #[serde(skip_serializing_if = "Option::is_none")]
    default_policy_version: Option<PolicyVersion>,
    policy: Policy,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyVersion {
    is_default_version: bool,
    policy_document: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    create_date: String,
    description: String,
    policy_name: String,
    policy_type: &'static str,
}

impl From<policy::Policy> for Policy {
    fn from(policy: policy::Policy) -> Self {
        Self {
            create_date: policy.created.to_string(),
            description: policy.description,
            policy_name: policy.name,
            policy_type: "Custom",
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policies {
    is_truncated: bool,
    policies: PolicyList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyList {
    policy: Vec<Policy>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Attached {
    policies: AttachedList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AttachedList {
    policy: Vec<PolicyName>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyName {
    policy_name: String,
}
