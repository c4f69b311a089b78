//! Chapter "tag", second part: tags of several keys at once. Lists are JSON (`--ResourceId '["…"]'`) or numbered
//! (`--ResourceId.1 …`, `--Tag.1.Key …`), as the wire has them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::fault::{TAG_KEY_OF_MANY, TAG_VALUE_OF_MANY};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::tags::{check_tag_key, check_tag_value};
use crate::model::caller::Caller;
use crate::store::Page;

/// So many rows are answered at once.
const ROWS: u64 = 200;
const MAX_RESOURCES: usize = 50;
const MAX_TAGS: usize = 20;

/// Lists the tags of several keys, or the keys that have certain tags.
///
/// Example: `alikms ListTagResources --RegionId cn-hangzhou --ResourceType key --Tag '[{"Key":"project","Value":"shop"}]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListTagResources {
    /// Where to go on: what the last answer said. 200 rows are answered at once.
    next_token: Option<String>,
    /// The region of this token.
    region_id: String,
    /// IDs of up to 50 keys: `["id1","id2"]`; if not given, all keys.
    resource_id: Option<String>,
    /// What is tagged: `key`.
    resource_type: ResourceType,
    /// Only keys that have all of these, up to 20: `[{"Key":"k","Value":"v"}]`; without Value any value.
    tag: Option<String>,
}

impl Action for ListTagResources {
    type Response = Tagged;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Tagged> {
        own_region(kms, &self.region_id)?;
        self.resource_type.check()?;
        let keys = self.resource_id.as_deref().map(resources).transpose()?.unwrap_or_default();
        let having = self.tag.as_deref().map(tags).transpose()?.unwrap_or_default();
        let offset = match self.next_token.as_deref() {
            None | Some("") => 0,
            Some(text) => text.parse().map_err(|_| Error::invalid("NextToken", "it is not of an answer before"))?,
        };
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let having: Vec<_> = having.into_iter().map(|tag| (tag.key, tag.value)).collect();
        let listed = kms.tagged_keys(caller, &keys, &having, Page { offset, limit: ROWS })?;
        let next = offset.saturating_add(listed.items.len() as u64);
        let row = |(id, tag_key, tag_value): (uuid::Uuid, String, String)| TagRow {
            resource_id: id.to_string(),
            resource_type: "key",
            tag_key,
            tag_value,
        };
        Ok(Tagged {
            next_token: if next < listed.total { next.to_string() } else { String::new() },
            tag_resources: TagRows { tag_resource: listed.items.into_iter().map(row).collect() },
        })
    }
}

/// Adds tags to several keys, to all or none, or changes their values. Then a key has at most 20.
///
/// Example: `alikms TagResources --RegionId cn-hangzhou --ResourceType key --ResourceId '["08ec3bb9-034f-485b-b1cd-3459baa8c8e1"]' --Tag '[{"Key":"project","Value":"shop"}]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagResources {
    /// The region of this token.
    region_id: String,
    /// IDs of up to 50 keys: `["id1","id2"]`.
    resource_id: String,
    /// What is tagged: `key`.
    resource_type: ResourceType,
    /// Up to 20: `[{"Key":"k","Value":"v"}]`; each up to 128 letters, digits and `/ \\ _ - . + = : @`.
    tag: String,
}

impl Action for TagResources {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        own_region(kms, &self.region_id)?;
        self.resource_type.check()?;
        let keys = resources(&self.resource_id)?;
        let mut wanted = BTreeMap::new();
        for Tag { key, value } in tags(&self.tag)? {
            let value = value.unwrap_or_default();
            check_tag_key(&key).map_err(|reason| Error::invalid(TAG_KEY_OF_MANY, reason))?;
            check_tag_value(&value).map_err(|reason| Error::invalid(TAG_VALUE_OF_MANY, reason))?;
            if wanted.insert(key.clone(), value).is_some() {
                return Err(Error::DuplicateTag(key));
            }
        }
        kms.tag_keys(caller, &keys.iter().map(String::as_str).collect::<Vec<_>>(), &wanted)
    }
}

/// Removes tags from several keys, from all or none.
///
/// Example: `alikms UntagResources --RegionId cn-hangzhou --ResourceType key --ResourceId '["08ec3bb9-034f-485b-b1cd-3459baa8c8e1"]' --TagKey '["project"]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagResources {
    /// `true` removes every tag; counts only without `TagKey`.
    all: Option<bool>,
    /// The region of this token.
    region_id: String,
    /// IDs of up to 50 keys: `["id1","id2"]`.
    resource_id: String,
    /// What is tagged: `key`.
    resource_type: ResourceType,
    /// The names of up to 20 tags: `["k1","k2"]`.
    tag_key: Option<String>,
}

impl Action for UntagResources {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        own_region(kms, &self.region_id)?;
        self.resource_type.check()?;
        let keys = resources(&self.resource_id)?;
        let names = self.tag_key.as_deref().map(|text| list::<String>("TagKey", text, MAX_TAGS)).transpose()?;
        if names.is_none() && self.all != Some(true) {
            return Err(Error::MissingParameter("TagKey".to_owned()));
        }
        kms.untag_keys(caller, &keys.iter().map(String::as_str).collect::<Vec<_>>(), names.as_deref())
    }
}

/// What can have tags.
#[derive(Deserialize, JsonSchema, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ResourceType {
    Key,
    Secret,
}

impl ResourceType {
    fn check(self) -> Result<()> {
        super::later(&[("ResourceType=secret", self == Self::Secret)])
    }
}

/// One tag as these actions write it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    key: String,
    value: Option<String>,
}

fn own_region(kms: &Kms, region: &str) -> Result<()> {
    let own = &kms.realm().region;
    if region == own { Ok(()) } else { Err(Error::invalid("RegionId", format!("this token is in {own}"))) }
}

fn resources(text: &str) -> Result<Vec<String>> {
    list("ResourceId", text, MAX_RESOURCES)
}

fn tags(text: &str) -> Result<Vec<Tag>> {
    list("Tag", text, MAX_TAGS)
}

fn list<T: serde::de::DeserializeOwned>(name: &str, text: &str, most: usize) -> Result<Vec<T>> {
    let items: Vec<T> = serde_json::from_str(text).map_err(|error| Error::invalid(name, error.to_string()))?;
    match items.len() {
        0 => Err(Error::invalid(name, "give at least one")),
        count if count > most => Err(Error::invalid(name, format!("at most {most}"))),
        _ => Ok(items),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tagged {
    next_token: String,
    tag_resources: TagRows,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagRows {
    tag_resource: Vec<TagRow>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagRow {
    resource_id: String,
    resource_type: &'static str,
    tag_key: String,
    tag_value: String,
}
