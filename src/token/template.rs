//! Attribute templates as the caller gave them, and typed looks at them.

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Bytes;
use crate::token::ck;

/// Pairs in the caller's order. A length of CK_UNAVAILABLE_INFORMATION or a NULL value with a length was refused at the door.
/// Values are raw bytes; array attributes (CKA_WRAP_TEMPLATE …) are nested templates.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(into = "Flat", try_from = "Flat")]
pub struct Template(pub Vec<Entry>);

#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: u64,
    pub value: EntryValue,
}

impl Entry {
    /// CK_TRUE.
    pub fn is_true(&self) -> bool {
        matches!(&self.value, EntryValue::Bytes(bytes) if bytes.as_slice() == [1])
    }
}

#[derive(Debug, Clone)]
pub enum EntryValue {
    Bytes(Bytes),
    Nested(Template),
}

/// One attribute asked for by C_GetAttributeValue: what becomes of it.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    Bytes(&'a [u8]),
    Nested(Vec<(u64, Value<'a>)>),
    /// CKR_ATTRIBUTE_SENSITIVE, length CK_UNAVAILABLE_INFORMATION.
    Sensitive,
    /// CKR_ATTRIBUTE_TYPE_INVALID, length CK_UNAVAILABLE_INFORMATION.
    Unknown,
}

impl Template {
    /// The bytes of an attribute; the last one counts if it stands there twice.
    pub fn bytes(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.iter().rev().find(|entry| entry.kind == kind).and_then(|entry| match &entry.value {
            EntryValue::Bytes(bytes) => Some(bytes.as_slice()),
            EntryValue::Nested(_) => None,
        })
    }

    /// A CK_BBOOL.
    pub fn bool(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<bool>> {
        match self.bytes(kind) {
            None => Ok(None),
            Some([0]) => Ok(Some(false)),
            Some([1]) => Ok(Some(true)),
            Some(_) => Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
        }
    }

    /// A CK_ULONG.
    pub fn ulong(&self, kind: CK_ATTRIBUTE_TYPE) -> Result<Option<u64>> {
        match self.bytes(kind) {
            None => Ok(None),
            Some(bytes) => ulong_of(bytes).map(Some).ok_or(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
        }
    }

    pub fn has(&self, kind: CK_ATTRIBUTE_TYPE) -> bool {
        self.0.iter().any(|entry| entry.kind == kind)
    }

    /// Does it speak of CKA_TRUSTED and of nothing else? Only the security officer may set that.
    pub fn trusts_only(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|entry| entry.kind == CKA_TRUSTED)
    }

    /// The template as the value of an attribute, as objects keep it: number, length and value of each entry.
    pub fn encode(&self) -> Bytes {
        let mut all = Bytes::default();
        for entry in &self.0 {
            if let EntryValue::Bytes(value) = &entry.value {
                all.extend_from_slice(&entry.kind.to_le_bytes());
                all.extend_from_slice(&(value.len() as u64).to_le_bytes());
                all.extend_from_slice(value);
            }
        }
        all
    }

    /// What [`Self::encode`] made.
    pub fn decode(bytes: &[u8]) -> Self {
        let value = |value: &[u8]| EntryValue::Bytes(Bytes::new(value.to_vec()));
        Self(encoded(bytes).map(|(kind, bytes)| Entry { kind, value: value(bytes) }).collect())
    }

    /// What C_GetAttributeValue shows of what [`Template::decode`] reads.
    pub fn shown(bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
        encoded(bytes).map(|(kind, value)| (kind, Value::Bytes(value))).collect()
    }
}

/// A template in a message: what is within an entry follows it, one level deeper, so that no message can be deeper than this
/// program's stack.
#[derive(Serialize, Deserialize)]
struct Flat(Vec<FlatEntry>);

#[derive(Serialize, Deserialize)]
struct FlatEntry {
    depth: u8,
    kind: u64,
    is_nested: bool,
    #[serde(with = "crate::model::wiped")]
    value: Bytes,
}

/// Templates within templates; what comes through the door has fewer.
const DEEPEST: u8 = 8;

impl From<Template> for Flat {
    fn from(template: Template) -> Self {
        fn add(flat: &mut Vec<FlatEntry>, template: Template, depth: u8) {
            for Entry { kind, value } in template.0 {
                match value {
                    EntryValue::Bytes(value) => flat.push(FlatEntry { depth, kind, is_nested: false, value }),
                    EntryValue::Nested(inner) => {
                        flat.push(FlatEntry { depth, kind, is_nested: true, value: Bytes::default() });
                        add(flat, inner, depth.saturating_add(1));
                    }
                }
            }
        }
        let mut flat = Vec::new();
        add(&mut flat, template, 0);
        Self(flat)
    }
}

impl TryFrom<Flat> for Template {
    type Error = &'static str;

    fn try_from(flat: Flat) -> Result<Self, Self::Error> {
        /// Takes the entries of this depth, and with each what is within it.
        fn take(rest: &mut std::iter::Peekable<std::vec::IntoIter<FlatEntry>>, depth: u8) -> Template {
            let mut entries = Vec::new();
            while let Some(FlatEntry { kind, is_nested, value, .. }) = rest.next_if(|entry| entry.depth == depth) {
                let value = match is_nested && depth < DEEPEST {
                    true => EntryValue::Nested(take(rest, depth + 1)),
                    false => EntryValue::Bytes(value),
                };
                entries.push(Entry { kind, value });
            }
            Template(entries)
        }
        let mut rest = flat.0.into_iter().peekable();
        let template = take(&mut rest, 0);
        if rest.peek().is_some() { Err("a template that does not fit together") } else { Ok(template) }
    }
}

fn encoded(mut bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let (kind, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        bytes = rest;
        Some((u64::from_le_bytes(*kind), value))
    })
}

pub fn ulong_of(bytes: &[u8]) -> Option<u64> {
    <[u8; size_of::<CK_ULONG>()]>::try_from(bytes).ok().map(CK_ULONG::from_ne_bytes)
}
