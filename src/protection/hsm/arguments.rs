//! Templates, mechanisms and their parameters: Rust's form of them, and how they lie in memory for C.

use std::ffi::c_void;
use std::ptr::null_mut;

use cryptoki_sys::*;

use crate::model::Bytes;

/// One attribute of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub id: CK_ATTRIBUTE_TYPE,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Bytes(Vec<u8>),
    /// A template of flags: CKA_UNWRAP_TEMPLATE.
    Flags(Vec<(CK_ATTRIBUTE_TYPE, bool)>),
    Secret(Bytes),
    Ulong(CK_ULONG),
}

impl Value {
    /// As it lies in memory (PKCS#11 3.2 §3.5).
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bool(value) => vec![u8::from(*value)],
            Self::Bytes(value) => value.clone(),
            Self::Flags(flags) => flags.iter().map(|(_, value)| u8::from(*value)).collect(),
            Self::Secret(value) => value.to_vec(),
            Self::Ulong(value) => value.to_ne_bytes().to_vec(),
        }
    }
}

/// A mechanism and its parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mechanism<'a> {
    pub id: CK_MECHANISM_TYPE,
    pub parameter: Parameter<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter<'a> {
    Bytes(&'a [u8]),
    Ctr {
        bits: usize,
        block: [u8; 16],
    },
    Data {
        iv: Option<[u8; 16]>,
        data: &'a [u8],
    },
    Ecdh {
        peer: &'a [u8],
    },
    Gcm {
        iv: &'a [u8],
        aad: &'a [u8],
        tag_bits: usize,
    },
    None,
    Oaep {
        hash: CK_MECHANISM_TYPE,
        mgf: CK_RSA_PKCS_MGF_TYPE,
        label: &'a [u8],
    },
    Pss {
        hash: CK_MECHANISM_TYPE,
        mgf: CK_RSA_PKCS_MGF_TYPE,
        salt: usize,
    },
    /// `bits`: of the AES key in between.
    RsaAes {
        bits: usize,
        hash: CK_MECHANISM_TYPE,
        mgf: CK_RSA_PKCS_MGF_TYPE,
    },
}

/// Gives `work` the template in C's form: pointers into copies that the device may even write to.
pub fn with_template<T>(template: &[Attribute], work: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> T) -> T {
    let mut values: Vec<Bytes> = template.iter().map(|attribute| Bytes::new(attribute.value.bytes())).collect();
    // A template within the template: its values are the bytes above, one for each flag.
    let mut nested: Vec<Vec<CK_ATTRIBUTE>> = template
        .iter()
        .zip(&mut values)
        .map(|(attribute, value)| match &attribute.value {
            Value::Flags(flags) => flags
                .iter()
                .zip(value.iter_mut())
                .map(|((id, _), byte)| CK_ATTRIBUTE {
                    type_: *id,
                    pValue: std::ptr::from_mut(byte).cast(),
                    ulValueLen: 1,
                })
                .collect(),
            _ => Vec::new(),
        })
        .collect();
    let mut list: Vec<CK_ATTRIBUTE> = template
        .iter()
        .zip(&mut values)
        .zip(&mut nested)
        .map(|((attribute, value), nested)| {
            let (start, len) = match attribute.value {
                Value::Flags(_) => (nested.as_mut_ptr().cast(), size_of_val(nested.as_slice())),
                _ => (value.as_mut_ptr().cast(), value.len()),
            };
            CK_ATTRIBUTE { type_: attribute.id, pValue: start, ulValueLen: len as CK_ULONG }
        })
        .collect();
    work(list.as_mut_ptr(), list.len() as CK_ULONG)
}

/// Gives `work` the mechanism in C's form.
pub fn with_mechanism<T>(mechanism: &Mechanism<'_>, work: impl FnOnce(*mut CK_MECHANISM) -> T) -> T {
    let run = |parameter: *mut c_void, len: usize| {
        let mut raw = CK_MECHANISM { mechanism: mechanism.id, pParameter: parameter, ulParameterLen: len as CK_ULONG };
        work(&raw mut raw)
    };
    // Copies, because devices with an IV of their own write to it.
    let or_null = |bytes: &mut Vec<u8>| if bytes.is_empty() { null_mut() } else { bytes.as_mut_ptr() };
    match mechanism.parameter {
        Parameter::Bytes(bytes) => {
            let mut bytes = bytes.to_vec();
            run(or_null(&mut bytes).cast(), bytes.len())
        }
        Parameter::Ctr { bits, block } => {
            let mut raw = CK_AES_CTR_PARAMS { ulCounterBits: bits as CK_ULONG, cb: block };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::Data { iv, data } => {
            let mut data = data.to_vec();
            let (start, length) = (or_null(&mut data), data.len() as CK_ULONG);
            if let Some(iv) = iv {
                let mut raw = CK_AES_CBC_ENCRYPT_DATA_PARAMS { iv, pData: start, length };
                return run((&raw mut raw).cast(), size_of_val(&raw));
            }
            let mut raw = CK_KEY_DERIVATION_STRING_DATA { pData: start, ulLen: length };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::Ecdh { peer } => {
            let mut peer = peer.to_vec();
            let mut raw = CK_ECDH1_DERIVE_PARAMS {
                kdf: CKD_NULL,
                ulSharedDataLen: 0,
                pSharedData: null_mut(),
                ulPublicDataLen: peer.len() as CK_ULONG,
                pPublicData: or_null(&mut peer),
            };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::Gcm { iv, aad, tag_bits } => {
            let (mut iv, mut aad) = (iv.to_vec(), aad.to_vec());
            let mut raw = CK_GCM_PARAMS {
                pIv: or_null(&mut iv),
                ulIvLen: iv.len() as CK_ULONG,
                ulIvBits: iv.len() as CK_ULONG * 8,
                pAAD: or_null(&mut aad),
                ulAADLen: aad.len() as CK_ULONG,
                ulTagBits: tag_bits as CK_ULONG,
            };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::None => run(null_mut(), 0),
        Parameter::Oaep { hash, mgf, label } => {
            let mut label = label.to_vec();
            let mut raw = CK_RSA_PKCS_OAEP_PARAMS {
                hashAlg: hash,
                mgf,
                source: CKZ_DATA_SPECIFIED,
                pSourceData: or_null(&mut label).cast(),
                ulSourceDataLen: label.len() as CK_ULONG,
            };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::Pss { hash, mgf, salt } => {
            let mut raw = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt as CK_ULONG };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
        Parameter::RsaAes { bits, hash, mgf } => {
            let mut inner = CK_RSA_PKCS_OAEP_PARAMS {
                hashAlg: hash,
                mgf,
                source: CKZ_DATA_SPECIFIED,
                pSourceData: null_mut(),
                ulSourceDataLen: 0,
            };
            let mut raw = CK_RSA_AES_KEY_WRAP_PARAMS { ulAESKeyBits: bits as CK_ULONG, pOAEPParams: &raw mut inner };
            run((&raw mut raw).cast(), size_of_val(&raw))
        }
    }
}
