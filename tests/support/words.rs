//! Attributes and mechanisms in few words.

use std::ffi::c_void;

use cryptoki_sys::*;

/// An attribute of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attr(pub CK_ATTRIBUTE_TYPE, pub Vec<u8>);

/// A CK_BBOOL.
pub fn b(kind: CK_ATTRIBUTE_TYPE, value: bool) -> Attr {
    Attr(kind, vec![u8::from(value)])
}

/// A CK_ULONG.
pub fn u(kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Attr {
    Attr(kind, value.to_ne_bytes().to_vec())
}

/// Text.
pub fn s(kind: CK_ATTRIBUTE_TYPE, value: &str) -> Attr {
    Attr(kind, value.as_bytes().to_vec())
}

/// Bytes.
pub fn v(kind: CK_ATTRIBUTE_TYPE, value: impl AsRef<[u8]>) -> Attr {
    Attr(kind, value.as_ref().to_vec())
}

/// `CK_ATTRIBUTE[]` that points into `attrs`.
pub fn raw(attrs: &[Attr]) -> Vec<CK_ATTRIBUTE> {
    let one = |attr: &Attr| CK_ATTRIBUTE {
        type_: attr.0,
        pValue: if attr.1.is_empty() { std::ptr::null_mut() } else { attr.1.as_ptr().cast_mut().cast() },
        ulValueLen: attr.1.len() as CK_ULONG,
    };
    attrs.iter().map(one).collect()
}

/// DER of the curves' OIDs.
pub const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub const P521: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];
/// RFC 8410's.
pub const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
pub const X25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];
pub const K256: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a];

/// A mechanism with its parameter, and what the parameter points to.
#[derive(Clone, Debug)]
pub struct Mech {
    pub kind: CK_MECHANISM_TYPE,
    pub parameter: Vec<u8>,
    /// Keeps alive what `parameter` points to; buffers do not move when the vector of them does.
    _held: Vec<Box<[u8]>>,
}

// SAFETY: the pointers in `parameter` lead into `_held`.
unsafe impl Send for Mech {}

impl Mech {
    pub fn new(kind: CK_MECHANISM_TYPE) -> Self {
        Self { kind, parameter: Vec::new(), _held: Vec::new() }
    }

    pub fn with(kind: CK_MECHANISM_TYPE, parameter: impl AsRef<[u8]>) -> Self {
        Self { parameter: parameter.as_ref().to_vec(), ..Self::new(kind) }
    }

    fn of<T: Copy>(kind: CK_MECHANISM_TYPE, parameter: T, held: Vec<Box<[u8]>>) -> Self {
        // SAFETY: plain data, read as bytes; every field is set and there is no padding that matters.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const parameter).cast::<u8>(), size_of::<T>()) };
        Self { kind, parameter: bytes.to_vec(), _held: held }
    }

    pub fn gcm(iv: &[u8], aad: &[u8], tag_bits: CK_ULONG) -> Self {
        let held: Vec<Box<[u8]>> = vec![iv.into(), aad.into()];
        let parameter = CK_GCM_PARAMS {
            pIv: held[0].as_ptr().cast_mut(),
            ulIvLen: iv.len() as CK_ULONG,
            ulIvBits: iv.len() as CK_ULONG * 8,
            pAAD: held[1].as_ptr().cast_mut(),
            ulAADLen: aad.len() as CK_ULONG,
            ulTagBits: tag_bits,
        };
        Self::of(CKM_AES_GCM, parameter, held)
    }

    /// CK_GCM_PARAMS of PKCS#11 2.20, without ulIvBits.
    pub fn gcm_40(iv: &[u8], aad: &[u8], tag_bits: CK_ULONG) -> Self {
        let held: Vec<Box<[u8]>> = vec![iv.into(), aad.into()];
        let words = [held[0].as_ptr() as u64, iv.len() as u64, held[1].as_ptr() as u64, aad.len() as u64, tag_bits];
        Self::of(CKM_AES_GCM, words, held)
    }

    pub fn ctr(block: [u8; 16], bits: CK_ULONG) -> Self {
        Self::of(CKM_AES_CTR, CK_AES_CTR_PARAMS { ulCounterBits: bits, cb: block }, Vec::new())
    }

    pub fn oaep(hash: CK_MECHANISM_TYPE, mgf: CK_RSA_PKCS_MGF_TYPE, label: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![label.into()];
        let parameter = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: hash,
            mgf,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: if label.is_empty() { std::ptr::null_mut() } else { held[0].as_ptr().cast_mut().cast() },
            ulSourceDataLen: label.len() as CK_ULONG,
        };
        Self::of(CKM_RSA_PKCS_OAEP, parameter, held)
    }

    /// CK_GCM_WRAP_PARAMS; the token writes an IV that it makes to [`Self::held`] 0.
    pub fn gcm_wrap(iv: &[u8], fixed_bits: CK_ULONG, generator: CK_GENERATOR_FUNCTION, aad: &[u8]) -> Self {
        let mut held: Vec<Box<[u8]>> = vec![iv.into(), aad.into()];
        let parameter = CK_GCM_WRAP_PARAMS {
            pIv: held[0].as_mut_ptr(),
            ulIvLen: iv.len() as CK_ULONG,
            ulIvFixedBits: fixed_bits,
            ivGenerator: generator,
            pAAD: held[1].as_mut_ptr(),
            ulAADLen: aad.len() as CK_ULONG,
            ulTagBits: 128,
        };
        Self::of(CKM_AES_GCM, parameter, held)
    }

    /// CK_RSA_AES_KEY_WRAP_PARAMS.
    pub fn rsa_aes(bits: CK_ULONG, oaep: &Self) -> Self {
        let mut held = oaep._held.clone();
        // The OAEP parameters are copied; the label that they point to is kept too.
        let mut inner: Vec<u8> = oaep.parameter.clone();
        let label = held.first().map_or(std::ptr::null(), |label| label.as_ptr());
        if held.first().is_some_and(|label| !label.is_empty()) {
            inner[24..32].copy_from_slice(&(label as u64).to_ne_bytes());
        }
        held.push(inner.into());
        let place = held[held.len() - 1].as_ptr() as u64;
        Self::of(CKM_RSA_AES_KEY_WRAP, [bits, place], held)
    }

    /// What the parameter points to, as it is now.
    pub fn held(&self, index: usize) -> Vec<u8> {
        self._held[index].to_vec()
    }

    pub fn pss(kind: CK_MECHANISM_TYPE, hash: CK_MECHANISM_TYPE, mgf: CK_RSA_PKCS_MGF_TYPE, salt: CK_ULONG) -> Self {
        Self::of(kind, CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash, mgf, sLen: salt }, Vec::new())
    }

    pub fn ecdh(kind: CK_MECHANISM_TYPE, peer: &[u8]) -> Self {
        Self::ecdh_kdf(kind, CKD_NULL, &[], peer)
    }

    pub fn ecdh_kdf(kind: CK_MECHANISM_TYPE, kdf: CK_EC_KDF_TYPE, shared: &[u8], peer: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![peer.into(), shared.into()];
        let parameter = CK_ECDH1_DERIVE_PARAMS {
            kdf,
            ulSharedDataLen: shared.len() as CK_ULONG,
            pSharedData: if shared.is_empty() { std::ptr::null_mut() } else { held[1].as_ptr().cast_mut() },
            ulPublicDataLen: peer.len() as CK_ULONG,
            pPublicData: held[0].as_ptr().cast_mut(),
        };
        Self::of(kind, parameter, held)
    }

    pub fn eddsa(prehash: bool, context: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![context.into()];
        // With padding behind the flag, so word by word.
        let words = [u64::from(prehash), context.len() as u64, held[0].as_ptr() as u64];
        Self::of(CKM_EDDSA, words, held)
    }

    /// CK_KEY_DERIVATION_STRING_DATA.
    pub fn ecb_data(kind: CK_MECHANISM_TYPE, data: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![data.into()];
        let parameter =
            CK_KEY_DERIVATION_STRING_DATA { pData: held[0].as_ptr().cast_mut(), ulLen: data.len() as CK_ULONG };
        Self::of(kind, parameter, held)
    }

    pub fn cbc_data(kind: CK_MECHANISM_TYPE, iv: [u8; 16], data: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![data.into()];
        let (start, length) = (held[0].as_ptr().cast_mut(), data.len() as CK_ULONG);
        Self::of(kind, CK_AES_CBC_ENCRYPT_DATA_PARAMS { iv, pData: start, length }, held)
    }

    /// CK_HKDF_PARAMS with bytes as salt, or none.
    pub fn hkdf(
        kind: CK_MECHANISM_TYPE,
        extract: bool,
        expand: bool,
        hash: CK_MECHANISM_TYPE,
        salt: Option<&[u8]>,
        info: &[u8],
    ) -> Self {
        let kind_of_salt = if salt.is_some() { CKF_HKDF_SALT_DATA } else { CKF_HKDF_SALT_NULL };
        Self::hkdf_with(kind, [extract, expand], hash, kind_of_salt, salt.unwrap_or_default(), 0, info)
    }

    /// CK_HKDF_PARAMS; two flags and padding share its first word.
    pub fn hkdf_with(
        kind: CK_MECHANISM_TYPE,
        [extract, expand]: [bool; 2],
        hash: CK_MECHANISM_TYPE,
        kind_of_salt: CK_ULONG,
        salt: &[u8],
        salt_key: CK_OBJECT_HANDLE,
        info: &[u8],
    ) -> Self {
        let held: Vec<Box<[u8]>> = vec![salt.into(), info.into()];
        let flags = u64::from_ne_bytes([u8::from(extract), u8::from(expand), 0, 0, 0, 0, 0, 0]);
        let (salt_start, info_start) = (held[0].as_ptr() as u64, held[1].as_ptr() as u64);
        let (salt_len, info_len) = (salt.len() as u64, info.len() as u64);
        let words = [flags, hash, kind_of_salt, salt_start, salt_len, salt_key, info_start, info_len];
        Self::of(kind, words, held)
    }

    /// A place and its length: CK_ALIKMS_ENVELOPE_PARAMS, CK_ALIKMS_SM2_PARAMS.
    pub fn buffer(kind: CK_MECHANISM_TYPE, bytes: &[u8]) -> Self {
        let held: Vec<Box<[u8]>> = vec![bytes.into()];
        let words = [held[0].as_ptr() as u64, bytes.len() as u64];
        Self::of(kind, words, held)
    }

    pub fn raw(&self) -> CK_MECHANISM {
        CK_MECHANISM {
            mechanism: self.kind,
            pParameter: if self.parameter.is_empty() {
                std::ptr::null_mut()
            } else {
                self.parameter.as_ptr().cast_mut().cast::<c_void>()
            },
            ulParameterLen: self.parameter.len() as CK_ULONG,
        }
    }
}

impl From<CK_MECHANISM_TYPE> for Mech {
    fn from(kind: CK_MECHANISM_TYPE) -> Self {
        Self::new(kind)
    }
}

/// What a CK_ULONG attribute says.
pub fn number(bytes: &[u8]) -> CK_ULONG {
    CK_ULONG::from_ne_bytes(bytes.try_into().expect("eight bytes"))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    let text: String = text.split_whitespace().collect();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// CKA_ALIKMS_PROTECTION_LEVEL and other attributes of ours (`include/alikms_pkcs11.h`).
pub const ARN: CK_ATTRIBUTE_TYPE = 0xC14C_4901;
pub const KEY_ID: CK_ATTRIBUTE_TYPE = 0xC14C_4902;
pub const KEY_VERSION_ID: CK_ATTRIBUTE_TYPE = 0xC14C_4903;
pub const CERTIFICATE_ID: CK_ATTRIBUTE_TYPE = 0xC14C_4904;
pub const KEY_STATE: CK_ATTRIBUTE_TYPE = 0xC14C_4905;
pub const LEVEL: CK_ATTRIBUTE_TYPE = 0xC14C_4906;
pub const ALIASES: CK_ATTRIBUTE_TYPE = 0xC14C_4907;
pub const CREATION_DATE: CK_ATTRIBUTE_TYPE = 0xC14C_4908;
/// CKA_ALIKMS_WRAPS_ONLY.
pub const WRAPS_ONLY: CK_ATTRIBUTE_TYPE = 0xC14C_4909;

/// An attribute whose value is a template. `list` must outlive its use.
pub fn nested(kind: CK_ATTRIBUTE_TYPE, list: &[CK_ATTRIBUTE]) -> Attr {
    // SAFETY: plain data, read as bytes.
    let bytes = unsafe { std::slice::from_raw_parts(list.as_ptr().cast::<u8>(), size_of_val(list)) };
    Attr(kind, bytes.to_vec())
}
