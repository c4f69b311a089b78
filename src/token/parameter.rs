//! Mechanisms as the caller gave them, with the parameter read into plain data, and the parameters of messages.

use serde::{Deserialize, Serialize};

use crate::model::{Bytes, Iv};

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mechanism {
    pub kind: u64,
    pub parameter: Parameter,
}

/// Numbers (`hash`, `mgf`, `kdf` …) are PKCS#11's, unchecked: `token` decides what they mean.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Parameter {
    /// No parameter: NULL or length 0.
    None,
    /// CK_AES_CTR_PARAMS.
    Ctr { bits: u64, block: [u8; 16] },
    /// What is encrypted to derive a key: CK_KEY_DERIVATION_STRING_DATA, or with an IV CK_AES_CBC_ENCRYPT_DATA_PARAMS.
    Data { iv: Option<[u8; 16]>, data: Vec<u8> },
    /// CK_ECDH1_DERIVE_PARAMS.
    Ecdh { kdf: u64, shared: Vec<u8>, public: Vec<u8> },
    /// CK_EDDSA_PARAMS.
    Eddsa { prehash: u8, context: Vec<u8> },
    /// CK_GCM_PARAMS of 40 (v2.20, without ulIvBits) or 48 bytes. `tag_bits` as given.
    Gcm { iv: Iv, iv_bits: u64, aad: Vec<u8>, tag_bits: u64 },
    /// CK_GCM_WRAP_PARAMS. `iv` as given: with a generator, only its first `fixed_bits` count.
    GcmWrap { iv: Vec<u8>, fixed_bits: u64, generator: u64, aad: Vec<u8>, tag_bits: u64 },
    /// CK_HKDF_PARAMS; `salt_kind` says which of `salt` and `salt_key` counts.
    Hkdf {
        extract: u8,
        expand: u8,
        hash: u64,
        salt_kind: u64,
        #[serde(with = "crate::model::wiped")]
        salt: Bytes,
        salt_key: u64,
        info: Vec<u8>,
    },
    /// CK_RSA_PKCS_OAEP_PARAMS.
    Oaep { hash: u64, mgf: u64, source: u64, label: Vec<u8> },
    /// CK_RSA_AES_KEY_WRAP_PARAMS: the length of the AES key between, and how that one is wrapped.
    RsaAes {
        bits: u64,
        #[serde(with = "inner")]
        oaep: Box<Parameter>,
    },
    /// CK_RSA_PKCS_PSS_PARAMS.
    Pss { hash: u64, mgf: u64, salt: u64 },
    /// Any other: the bytes behind pParameter (an IV, a CK_ULONG …).
    Raw(#[serde(with = "crate::model::wiped")] Bytes),
}

/// The parameter within a parameter in a message: OAEP's, and no further level.
mod inner {
    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Parameter;

    pub fn serialize<S: Serializer>(parameter: &Parameter, serializer: S) -> Result<S::Ok, S::Error> {
        match parameter {
            Parameter::Oaep { hash, mgf, source, label } => (hash, mgf, source, label).serialize(serializer),
            _ => Err(S::Error::custom("not OAEP")),
        }
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<Parameter>, D::Error> {
        let (hash, mgf, source, label) = Deserialize::deserialize(deserializer).map_err(D::Error::custom)?;
        Ok(Box::new(Parameter::Oaep { hash, mgf, source, label }))
    }
}

/// CK_GCM_MESSAGE_PARAMS of one message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GcmMessage {
    pub iv: Vec<u8>,
    pub fixed_bits: u64,
    pub generator: u64,
    /// As it lies there; counts for decryption only.
    pub tag: Vec<u8>,
    pub tag_bits: u64,
}

/// What goes back into CK_GCM_MESSAGE_PARAMS.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Made {
    pub iv: Option<Vec<u8>>,
    pub tag: Option<Vec<u8>>,
}
