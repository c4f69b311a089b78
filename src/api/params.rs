//! Requests as they arrive, pairs of strings, read as what the actions ask for: the same for command line and HTTP.

use std::collections::BTreeMap;

use serde::de::value::{MapDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// Parameters that name what an action is about; none is a secret.
const SUBJECTS: &[&str] = &[
    "KeyId",
    "AliasName",
    "CertificateId",
    "ProtectedResourceArn",
    "UserAccessKeyId",
    "UserName",
    "PolicyName",
    "Identifier",
    "ParentIdentifier",
    "ResourceId",
    "ResourceId.1",
];

/// The parameters of one request, in the order in which they came. Values are wiped when dropped: some are plaintext.
#[derive(Clone, Default)]
pub struct Params(Vec<(String, Zeroizing<String>)>);

impl Params {
    pub fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), Zeroizing::new(value.into())));
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// What the request is about, as the caller called it; empty if it names nothing.
    pub fn subject(&self) -> &str {
        let named = |subject: &&str| self.0.iter().find(|(name, _)| name == subject);
        SUBJECTS.iter().find_map(named).map_or("", |(_, value)| value.as_str())
    }

    /// Lists as the wire writes them (`ResourceId.1`, `Tag.1.Key`) as the JSON that the actions read, at the end.
    fn folded(&self) -> Result<Vec<(&str, Zeroizing<String>)>> {
        let mut plain = Vec::new();
        let mut lists: BTreeMap<&str, BTreeMap<u32, Value>> = BTreeMap::new();
        for (name, value) in &self.0 {
            let Some((list, rest)) = name.split_once('.') else {
                plain.push((name.as_str(), value.clone()));
                continue;
            };
            let (number, field) = rest.split_once('.').map_or((rest, None), |(number, field)| (number, Some(field)));
            let number = number.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| Error::UnknownParameter(name.clone()))?;
            let text = Value::from(value.as_str());
            let items = lists.entry(list).or_default();
            let twice = match field {
                None => items.insert(number, text).is_some(),
                Some(field) => match items.entry(number).or_insert_with(|| Value::Object(Map::new())) {
                    Value::Object(fields) => fields.insert(field.to_owned(), text).is_some(),
                    _ => true,
                },
            };
            if twice {
                return Err(Error::invalid(name, "it is given more than once"));
            }
        }
        for (name, items) in lists {
            let json = Value::from_iter(items.into_values()).to_string();
            plain.push((name, Zeroizing::new(json)));
        }
        Ok(plain)
    }

    /// A request. Unknown names are `Error::UnknownParameter`, absent ones `Error::MissingParameter`, and whatever else is
    /// wrong with a parameter `Error::InvalidParameter` with its name.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let pairs = self.folded()?;
        let pairs = pairs.iter().map(|(name, value)| (*name, Text { name, value }));
        T::deserialize(MapDeserializer::new(pairs)).map_err(|Wrong(error)| error)
    }
}

/// A value: reads itself as bool, number, enum or string, as it is asked.
struct Text<'a> {
    name: &'a str,
    value: &'a str,
}

impl<'a> Text<'a> {
    /// serde does not tell which value an error is about.
    fn named<T>(&self, result: Result<T, Wrong>) -> Result<T, Wrong> {
        result.map_err(|Wrong(error)| match error {
            Error::InvalidParameter { name, reason } if name.is_empty() => Wrong(Error::invalid(self.name, reason)),
            other => Wrong(other),
        })
    }

    fn invalid(&self, reason: &str) -> Wrong {
        Wrong(Error::invalid(self.name, reason))
    }
}

impl<'de> IntoDeserializer<'de, Wrong> for Text<'de> {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Text<'de> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        self.named(visitor.visit_str(self.value))
    }

    /// Python writes booleans with a capital.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match self.value {
            "true" | "True" => self.named(visitor.visit_bool(true)),
            "false" | "False" => self.named(visitor.visit_bool(false)),
            _ => Err(self.invalid("true or false is expected")),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let number = self.value.parse().map_err(|_| self.invalid("a whole number is expected"))?;
        self.named(visitor.visit_i64(number))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let text: StrDeserializer<'_, Wrong> = self.value.into_deserializer();
        self.named(text.deserialize_enum(name, variants, visitor))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}

/// serde's complaints, as the house's errors.
#[derive(Debug)]
struct Wrong(Error);

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Wrong {}

impl serde::de::Error for Wrong {
    fn custom<T: std::fmt::Display>(reason: T) -> Self {
        Self(Error::invalid("", reason.to_string()))
    }

    fn duplicate_field(name: &'static str) -> Self {
        Self(Error::invalid(name, "it is given more than once"))
    }

    fn missing_field(name: &'static str) -> Self {
        Self(Error::MissingParameter(name.to_owned()))
    }

    fn unknown_field(name: &str, _: &'static [&'static str]) -> Self {
        Self(Error::UnknownParameter(name.to_owned()))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format!("{} is expected", expected.join(" or ")))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::model::key::{KeyUsage, Level};

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Request {
        key_id: String,
        page_size: Option<i64>,
        enable: Option<bool>,
        protection_level: Option<Level>,
        key_usage: Option<KeyUsage>,
    }

    fn read(pairs: &[(&str, &str)]) -> Result<Request> {
        let mut params = Params::default();
        pairs.iter().for_each(|(name, value)| params.push(*name, *value));
        params.read()
    }

    #[test]
    fn values_read_themselves() {
        let pairs = [
            ("ProtectionLevel", "HSM"),
            ("Enable", "True"),
            ("KeyUsage", "SIGN/VERIFY"),
            ("PageSize", "7"),
            ("KeyId", "5"),
        ];
        let request = read(&pairs).unwrap();
        assert_eq!((request.key_id.as_str(), request.page_size, request.enable), ("5", Some(7), Some(true)));
        assert_eq!((request.protection_level, request.key_usage), (Some(Level::Hsm), Some(KeyUsage::SignVerify)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (pairs, expected) in [
            (&[("KeyId", "a"), ("KeyID", "b")][..], Error::UnknownParameter("KeyID".into())),
            (&[("Enable", "true")][..], Error::MissingParameter("KeyId".into())),
            (&[("KeyId", "a"), ("KeyId", "a")][..], Error::invalid("KeyId", "it is given more than once")),
            (&[("PageSize", "1.5")][..], Error::invalid("PageSize", "a whole number is expected")),
            (&[("Enable", "yes")][..], Error::invalid("Enable", "true or false is expected")),
            (&[("ProtectionLevel", "hsm")][..], Error::invalid("ProtectionLevel", "HSM or SOFTWARE is expected")),
        ] {
            assert_eq!(read(pairs).unwrap_err(), expected);
        }
    }
}
