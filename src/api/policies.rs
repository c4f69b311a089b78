//! Chapter "key", second part: the policy of a key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;

/// Shows the policy of a key: who may do what with it.
///
/// Example: `alikms GetKeyPolicy --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --query Policy`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetKeyPolicy {
    /// ID, alias or ARN of the key.
    key_id: String,
    /// `default`, the only one that a key has.
    policy_name: Option<String>,
}

impl Action for GetKeyPolicy {
    type Response = Policy;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Policy> {
        let policy = kms.key_policy(caller, &self.key_id, self.policy_name.as_deref())?;
        Ok(Policy { policy })
    }
}

/// Replaces the policy of a key. It counts together with RAM's policies: a Deny of either wins; a user whom it names needs
/// no other policy; what it allows to the account (`acs:ram::ACCOUNT:*`) is left to RAM; what it allows to nobody is denied to
/// every user.
///
/// Example: `alikms SetKeyPolicy --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --Policy '{"Version":"1","Statement":[{"Effect":"Allow","Principal":{"RAM":["acs:ram::1000000000000001:*"]},"Action":["kms:*"],"Resource":["*"]}]}'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetKeyPolicy {
    /// ID, alias or ARN of the key.
    key_id: String,
    /// JSON of up to 32768 bytes: `Version` "1" and `Statement`s of `Sid`, `Effect`, `Principal`, `Action` and `Resource`
    /// "*". A principal is `acs:ram::ACCOUNT:*` or `acs:ram::ACCOUNT:user/NAME`.
    policy: String,
    /// `default`, the only one that a key has.
    policy_name: Option<String>,
}

impl Action for SetKeyPolicy {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.set_key_policy(caller, &self.key_id, self.policy_name.as_deref(), &self.policy)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Policy {
    policy: String,
}
