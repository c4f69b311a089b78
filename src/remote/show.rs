//! An object that C_GetAttributeValue looks at: itself, or what a host told of it.

use serde::{Deserialize, Serialize};

use crate::model::Bytes;
use crate::token::object::Item;
use crate::token::template::Value;

pub enum Shown<'a> {
    Here(&'a Item),
    There(&'a [(u64, Told)]),
}

impl Shown<'_> {
    #[inline]
    pub fn value(&self, kind: u64) -> Value<'_> {
        match self {
            Self::Here(item) => item.value(kind),
            Self::There(told) => {
                told.iter().find(|(known, _)| *known == kind).map_or(Value::Unknown, |(_, told)| told.value())
            }
        }
    }
}

/// One attribute, as a host tells it.
#[derive(Serialize, Deserialize)]
pub enum Told {
    Bytes(#[serde(with = "crate::model::wiped")] Bytes),
    /// A template, whose attributes are plain.
    Nested(Vec<(u64, Vec<u8>)>),
    Sensitive,
    Unknown,
}

impl Told {
    pub(super) fn all(item: &Item, kinds: &[u64]) -> Vec<(u64, Self)> {
        kinds.iter().map(|kind| (*kind, Self::of(&item.value(*kind)))).collect()
    }

    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::Bytes(bytes) => Self::Bytes(Bytes::new(bytes.to_vec())),
            Value::Nested(list) => {
                let plain = |(kind, value): &(u64, Value<'_>)| match value {
                    Value::Bytes(bytes) => Some((*kind, bytes.to_vec())),
                    _ => None,
                };
                Self::Nested(list.iter().filter_map(plain).collect())
            }
            Value::Sensitive => Self::Sensitive,
            Value::Unknown => Self::Unknown,
        }
    }

    fn value(&self) -> Value<'_> {
        match self {
            Self::Bytes(bytes) => Value::Bytes(bytes),
            Self::Nested(list) => {
                Value::Nested(list.iter().map(|(kind, bytes)| (*kind, Value::Bytes(bytes))).collect())
            }
            Self::Sensitive => Value::Sensitive,
            Self::Unknown => Value::Unknown,
        }
    }
}
