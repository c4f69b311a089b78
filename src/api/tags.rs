//! Chapter "tag".

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::tags::{check_tag_key, check_tag_value};
use crate::model::caller::Caller;

/// Lists the tags of a key.
///
/// Example: `alikms ListResourceTags --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListResourceTags {
    /// ID, alias or ARN of the key.
    key_id: String,
}

impl Action for ListResourceTags {
    type Response = Tagged;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Tagged> {
        let (key, tags) = kms.key_tags(caller, &self.key_id)?;
        let tag = |(tag_key, tag_value)| KeyTag { key_id: key.to_string(), tag_key, tag_value };
        Ok(Tagged { tags: TagList { tag: tags.into_iter().map(tag).collect() } })
    }
}

/// Adds tags to a key or a certificate, or changes their values. A key has at most 10, a certificate 20.
///
/// Example: `alikms TagResource --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --Tags '[{"TagKey":"project","TagValue":"shop"}]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct TagResource {
    /// ID of the certificate, instead of a key.
    certificate_id: Option<String>,
    /// ID, alias or ARN of the key.
    key_id: Option<String>,
    /// A secret of the cloud: not supported here.
    secret_name: Option<String>,
    /// `[{"TagKey":"k","TagValue":"v"}]`; each up to 128 letters, digits and `/ \ _ - . + = : @`.
    tags: String,
}

impl Action for TagResource {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let resource = resource(self.key_id, self.certificate_id, self.secret_name)?;
        let tags = parse(&self.tags)?;
        if tags.is_empty() {
            return Err(Error::invalid("Tags", "give at least one"));
        }
        match resource {
            Resource::Certificate(id) => kms.tag_certificate(caller, "TagResource", &id, &tags, &[]),
            Resource::Key(key) => kms.tag_key(caller, &key, &tags),
        }
    }
}

/// Removes tags from a key or a certificate.
///
/// Example: `alikms UntagResource --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --TagKeys '["project"]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UntagResource {
    /// ID of the certificate, instead of a key.
    certificate_id: Option<String>,
    /// ID, alias or ARN of the key.
    key_id: Option<String>,
    /// A secret of the cloud: not supported here.
    secret_name: Option<String>,
    /// The names of the tags: `["k1","k2"]`.
    tag_keys: String,
}

impl Action for UntagResource {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let resource = resource(self.key_id, self.certificate_id, self.secret_name)?;
        let names: Vec<String> = serde_json::from_str(&self.tag_keys)
            .map_err(|_| Error::invalid("TagKeys", "a JSON array of strings: [\"k1\",\"k2\"]"))?;
        match resource {
            Resource::Certificate(id) => kms.tag_certificate(caller, "UntagResource", &id, &BTreeMap::new(), &names),
            Resource::Key(key) => kms.untag_key(caller, &key, &names),
        }
    }
}

/// What bears tags.
enum Resource {
    Certificate(String),
    Key(String),
}

/// Exactly one is named.
fn resource(key: Option<String>, certificate: Option<String>, secret: Option<String>) -> Result<Resource> {
    super::later(&[("SecretName", secret.is_some())])?;
    match (key, certificate) {
        (Some(key), None) => Ok(Resource::Key(key)),
        (None, Some(certificate)) => Ok(Resource::Certificate(certificate)),
        (Some(_), Some(_)) => Err(Error::invalid("CertificateId", "give either a KeyId or a CertificateId")),
        (None, None) => Err(Error::MissingParameter("KeyId".to_owned())),
    }
}

/// One tag as the API writes it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Tag {
    tag_key: String,
    #[serde(default)]
    tag_value: String,
}

/// Tags by name; a name that stands there twice is refused.
pub(super) fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let form = || Error::invalid("Tags", "a JSON array: [{\"TagKey\":\"k\",\"TagValue\":\"v\"}]");
    let tags: Vec<Tag> = serde_json::from_str(text).map_err(|_| form())?;
    let mut parsed = BTreeMap::new();
    for Tag { tag_key, tag_value } in tags {
        let checked = check_tag_key(&tag_key).and_then(|()| check_tag_value(&tag_value));
        checked.map_err(|reason| Error::invalid("Tags", reason))?;
        if parsed.insert(tag_key, tag_value).is_some() {
            return Err(Error::invalid("Tags", "a TagKey stands there twice"));
        }
    }
    Ok(parsed)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tagged {
    tags: TagList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TagList {
    tag: Vec<KeyTag>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyTag {
    key_id: String,
    tag_key: String,
    tag_value: String,
}
