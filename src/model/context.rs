//! EncryptionContext: the JSON map that is bound to a ciphertext without being in it (S004-065 to S004-076).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};

use crate::error::{Error, Result};

/// At most this many characters of JSON (S004-069).
pub const MAX_CONTEXT: usize = 8192;

/// String pairs; two are equal if their pairs are, whatever their order and spelling in JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Context(BTreeMap<String, String>);

impl Context {
    pub fn from_json(text: &str) -> Result<Self> {
        let fault = |reason: &str| Error::invalid("EncryptionContext", reason);
        if text.chars().count() > MAX_CONTEXT {
            return Err(fault("longer than 8192 characters"));
        }
        serde_json::from_str(text).map_err(|_| fault("not a JSON object of strings with distinct names"))
    }

    /// The one byte string for all JSON texts that mean the same: sorted by name, each part behind its length.
    pub fn canonical(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for part in self.0.iter().flat_map(|(name, value)| [name, value]) {
            out.extend_from_slice(&(part.len() as u64).to_be_bytes());
            out.extend_from_slice(part.as_bytes());
        }
        out
    }
}

impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Context;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Context, A::Error> {
                let mut pairs = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, String>()? {
                    if pairs.insert(name, value).is_some() {
                        return Err(A::Error::custom("a name appears twice"));
                    }
                }
                Ok(Context(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s004_076_order_and_spelling_do_not_matter() {
        let one = Context::from_json(r#"{"Key1":"Value1","Key2":"Value2"}"#).unwrap();
        let two = Context::from_json(" {\"Key2\" : \"Value2\", \"Key\\u0031\":\"Value1\"} ").unwrap();
        assert_eq!(one.canonical(), two.canonical());
        assert_ne!(one.canonical(), Context::default().canonical());
    }

    #[test]
    fn parts_cannot_be_shifted_between_name_and_value() {
        let one = Context::from_json(r#"{"ab":"c"}"#).unwrap();
        let two = Context::from_json(r#"{"a":"bc"}"#).unwrap();
        assert_ne!(one.canonical(), two.canonical());
    }
}
