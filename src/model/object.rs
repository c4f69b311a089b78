//! What a token shows of the KMS: one record for each PKCS#11 object that is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::model::time::Moment;

/// The class of an object, without PKCS#11's numbers: those belong to `token`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    Certificate,
    Data,
    PrivateKey,
    PublicKey,
    SecretKey,
}

impl Class {
    pub const ALL: &[Self] = &[Self::Certificate, Self::Data, Self::PrivateKey, Self::PublicKey, Self::SecretKey];

    /// How the store writes it.
    pub fn code(self) -> i64 {
        match self {
            Self::Data => 0,
            Self::Certificate => 1,
            Self::PublicKey => 2,
            Self::PrivateKey => 3,
            Self::SecretKey => 4,
        }
    }
}

/// One object of a token. Everything that can be computed from the key, its version or the certificate is not in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// The row in the store, and with it the handle: never given out twice. 0 until inserted.
    #[serde(skip)]
    pub handle: u64,
    /// `CKA_UNIQUE_ID`.
    pub unique: Uuid,
    pub class: Class,
    /// The primary label.
    #[serde(with = "crate::model::names::hex_bytes")]
    pub label: Vec<u8>,
    /// `CKA_ID`; empty for data objects.
    #[serde(with = "crate::model::names::hex_bytes")]
    pub id: Vec<u8>,
    pub key: Option<Uuid>,
    pub version: Option<Uuid>,
    pub certificate: Option<Uuid>,
    /// A certificate's DER, a data object's value.
    #[serde(with = "crate::model::names::base64_bytes", default)]
    pub value: Vec<u8>,
    /// Is it found by searches as far as stored state tells: a disabled key's objects are not.
    pub shown: bool,
    /// Destroyed by a caller that may not destroy the key: stays out of sight.
    #[serde(default)]
    pub hidden: bool,
    /// How many certificates have this one in their chain; 0 for every other object.
    #[serde(default)]
    pub users: u64,
    /// The label was given by a caller and is kept as it is; otherwise it follows the key's names.
    pub labelled: bool,
    /// The ID was given by a caller and is kept as it is.
    pub identified: bool,
    /// What callers set of the attributes that nothing else determines: usage flags, dates, application …
    /// By attribute number, in the byte order of this machine, as PKCS#11 passes them.
    #[serde(with = "attribute_map", default)]
    pub attributes: BTreeMap<u64, Vec<u8>>,
    pub created: Moment,
}

mod attribute_map {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use crate::model::map;
    use crate::model::names::hex_bytes::{from_hex, to_hex};

    pub fn serialize<S: Serializer>(values: &BTreeMap<u64, Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        map::map(values.iter().map(|(id, value)| (format!("{id:x}"), to_hex(value)))).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u64, Vec<u8>>, D::Error> {
        let text = BTreeMap::<String, String>::deserialize(deserializer)?;
        let entry = |(id, value): (String, String)| {
            u64::from_str_radix(&id, 16)
                .ok()
                .zip(from_hex(&value))
                .ok_or_else(|| D::Error::custom("not an attribute map"))
        };
        map::try_map(text.into_iter().map(entry))
    }
}
