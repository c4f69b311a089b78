//! How things are written: identifiers, ARNs, alias names, and binary fields in stored records.

use uuid::Uuid;

use crate::error::{Error, Result};

/// How a caller named a key: by ID, by alias, or by the ARN of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRef {
    /// With the prefix `alias/`.
    Alias(String),
    Id(Uuid),
    /// Well formed as an ARN, but of another account or region, or no key at all: never found.
    Foreign(String),
}

/// The account and region of a token; part of every ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    pub account: String,
    pub region: String,
}

impl Realm {
    /// `acs:kms:<region>:<account>:<kind>/<name>`.
    pub fn arn(&self, kind: &str, name: &str) -> String {
        format!("acs:kms:{}:{}:{kind}/{name}", self.region, self.account)
    }

    /// All of a kind: `acs:kms:<region>:<account>:<kind>` (S004-035).
    pub fn container(&self, kind: &str) -> String {
        format!("acs:kms:{}:{}:{kind}", self.region, self.account)
    }

    /// RAM has no regions: `acs:ram::<account>:<kind>/<name>`.
    pub fn ram_arn(&self, kind: &str, name: &str) -> String {
        format!("acs:ram::{}:{kind}/{name}", self.account)
    }

    pub fn key_arn(&self, id: Uuid) -> String {
        self.arn("key", &id.to_string())
    }

    pub fn certificate_arn(&self, id: Uuid) -> String {
        self.arn("certificate", &id.to_string())
    }

    /// `alias/example` → `acs:kms:<region>:<account>:alias/example`.
    pub fn alias_arn(&self, alias: &str) -> String {
        format!("acs:kms:{}:{}:{alias}", self.region, self.account)
    }

    /// What the caller's `KeyId` names.
    pub fn key_ref(&self, text: &str) -> Result<KeyRef> {
        if text.starts_with("alias/") {
            return Ok(KeyRef::Alias(text.to_owned()));
        }
        // As the user guide writes the alias of a service's key (S004-053).
        if text.starts_with("acs/") {
            return Ok(KeyRef::Alias(format!("alias/{text}")));
        }
        if let Ok(id) = parse_id(text) {
            return Ok(KeyRef::Id(id));
        }
        let Some(rest) = text.strip_prefix("acs:kms:") else {
            return Err(Error::invalid(
                "KeyId",
                "give a key ID, an alias with the prefix alias/, or the ARN of either",
            ));
        };
        let own = format!("{}:{}:", self.region, self.account);
        let Some(name) = rest.strip_prefix(&own) else { return Ok(KeyRef::Foreign(text.to_owned())) };
        match name.strip_prefix("key/").map(parse_id) {
            Some(Ok(id)) => Ok(KeyRef::Id(id)),
            _ if name.starts_with("alias/") => Ok(KeyRef::Alias(name.to_owned())),
            _ => Err(Error::invalid("KeyId", "not the ARN of a key or an alias")),
        }
    }
}

/// A GUID in its usual form of 36 characters; nothing else that the uuid crate would accept.
pub fn parse_id(text: &str) -> Result<Uuid> {
    match Uuid::try_parse(text) {
        Ok(id) if text.len() == 36 => Ok(id),
        _ => Err(Error::invalid("Id", "not a GUID")),
    }
}

/// Ruling 3: the prefix `alias/`, then 1 to 255 of `[A-Za-z0-9_/-]`, and not `alias/acs/…`, which is reserved.
pub fn check_alias(name: &str) -> Result<()> {
    let fault = |reason: &str| Err(Error::invalid("AliasName", reason));
    let Some(rest) = name.strip_prefix("alias/") else { return fault("it begins with alias/") };
    if rest.is_empty() || rest.len() > 255 {
        return fault("1 to 255 characters follow alias/");
    }
    if !rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/-".contains(&byte)) {
        return fault("only letters, digits, underscore, hyphen and slash are allowed");
    }
    if rest == "acs" || rest.starts_with("acs/") {
        return fault("alias/acs is reserved");
    }
    Ok(())
}

/// The explicit name of one version: `name@<first 8 of KeyVersionId>`.
pub fn version_name(name: &str, version: Uuid) -> String {
    format!("{name}@{}", &version.to_string()[..8])
}

/// Bytes as lower-case hex in a stored record, as they are in a message to the agent.
pub mod hex_bytes {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(bytes);
        }
        serializer.serialize_str(&to_hex(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            return serde_bytes::deserialize(deserializer);
        }
        from_hex(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("not hex"))
    }

    pub fn to_hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    pub fn from_hex(text: &str) -> Option<Vec<u8>> {
        if !text.len().is_multiple_of(2) || !text.is_ascii() {
            return None;
        }
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
    }
}

/// Bytes as Base64 in a stored record.
pub mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}
