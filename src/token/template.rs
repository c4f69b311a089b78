//! Attribute templates as the caller gave them.
use crate::model::Bytes;

/// Pairs in the caller's order. A length of CK_UNAVAILABLE_INFORMATION or a NULL value with a length was refused at the door.
/// Values are raw bytes; array attributes (CKA_WRAP_TEMPLATE …) are nested templates.
#[derive(Debug, Clone, Default)]
pub struct Template(pub Vec<Entry>);

#[derive(Debug, Clone)]
pub struct Entry {
    pub kind: u64,
    pub value: EntryValue,
}

#[derive(Debug, Clone)]
pub enum EntryValue {
    Bytes(Bytes),
    Nested(Template),
}

/// One attribute asked for by C_GetAttributeValue: what becomes of it.
#[derive(Debug, Clone)]
pub enum Value {
    Bytes(Bytes),
    Nested(Vec<(u64, Value)>),
    /// CKR_ATTRIBUTE_SENSITIVE, length CK_UNAVAILABLE_INFORMATION.
    Sensitive,
    /// CKR_ATTRIBUTE_TYPE_INVALID, length CK_UNAVAILABLE_INFORMATION.
    Unknown,
}
