//! Chapter "alias".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Action;
use super::page::{Paged, Paging};
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::store::Listed;

/// Gives a key a name.
///
/// Example: `alikms CreateAlias --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --AliasName alias/web`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateAlias {
    /// `alias/` and 1 to 255 letters, digits, `_`, `-` or `/`.
    alias_name: String,
    /// ID or ARN of the key; no alias.
    key_id: String,
}

impl Action for CreateAlias {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.create_alias(caller, &self.alias_name, &self.key_id)
    }
}

/// Takes a name away from its key; the key itself stays.
///
/// Example: `alikms DeleteAlias --AliasName alias/web`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteAlias {
    /// The alias, with `alias/`.
    alias_name: String,
}

impl Action for DeleteAlias {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_alias(caller, &self.alias_name)
    }
}

/// Lists all aliases, oldest first.
///
/// Example: `alikms ListAliases --PageSize 100`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAliases {
    /// Which page, from 1; 1 if not given.
    page_number: Option<i64>,
    /// How many on a page, 1 to 100; 10 if not given.
    page_size: Option<i64>,
}

impl Action for ListAliases {
    type Response = Paged<Aliases>;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Self::Response> {
        let paging = Paging::new(self.page_number, self.page_size)?;
        Ok(answer(kms, paging, kms.list_aliases(caller, paging.page())?))
    }
}

/// Lists the aliases of one key, oldest first.
///
/// Example: `alikms ListAliasesByKeyId --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListAliasesByKeyId {
    /// ID, alias or ARN of the key.
    key_id: String,
    /// Which page, from 1; 1 if not given.
    page_number: Option<i64>,
    /// How many on a page, 1 to 100; 10 if not given.
    page_size: Option<i64>,
}

impl Action for ListAliasesByKeyId {
    type Response = Paged<Aliases>;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Self::Response> {
        let paging = Paging::new(self.page_number, self.page_size)?;
        Ok(answer(kms, paging, kms.list_aliases_by_key(caller, &self.key_id, paging.page())?))
    }
}

/// Binds an existing alias to another key.
///
/// Example: `alikms UpdateAlias --AliasName alias/web --KeyId 127d2f84-ee5f-4f4d-9d41-dbc1aca2c2d3`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateAlias {
    /// The alias, with `alias/`.
    alias_name: String,
    /// ID or ARN of the key; no alias.
    key_id: String,
}

impl Action for UpdateAlias {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.update_alias(caller, &self.alias_name, &self.key_id)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Aliases {
    aliases: AliasList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AliasList {
    alias: Vec<Alias>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Alias {
    alias_arn: String,
    alias_name: String,
    key_id: String,
}

fn answer(kms: &Kms, paging: Paging, listed: Listed<(String, Uuid)>) -> Paged<Aliases> {
    let alias = |(name, key): (String, Uuid)| Alias {
        alias_arn: kms.realm().alias_arn(&name),
        alias_name: name,
        key_id: key.to_string(),
    };
    paging.answer(listed, |names| Aliases { aliases: AliasList { alias: names.into_iter().map(alias).collect() } })
}
