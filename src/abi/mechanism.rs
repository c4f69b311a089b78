//! `CK_MECHANISM` read into `token::Mechanism`: which structure each mechanism takes as its parameter.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{Arg, In, Out, Plain};
use crate::error::{Error, Result};
use crate::model::{Bytes, Iv};
use crate::token::parameter::{GcmMessage, Made};
use crate::token::{Mechanism, Parameter, ck};

/// Bytes of an IV, a label, a point, or a parameter that is passed on as it is.
const MAX_BYTES: CK_ULONG = 1024 * 1024;
/// Bytes of additional authenticated data.
const MAX_AAD: CK_ULONG = 16 * 1024 * 1024;

/// Numbers of ours (`include/alikms_pkcs11.h`) whose parameters are structures.
const CKM_ALIKMS_SM2_SM3: CK_MECHANISM_TYPE = 0xC14C_4904;
const CKM_ALIKMS_SM2_SM3_DER: CK_MECHANISM_TYPE = 0xC14C_4905;
const CKM_ALIKMS_SM4_CTR: CK_MECHANISM_TYPE = 0xC14C_4924;
const CKM_ALIKMS_SM4_GCM: CK_MECHANISM_TYPE = 0xC14C_4925;
const CKM_ALIKMS_SM4_ECB_ENCRYPT_DATA: CK_MECHANISM_TYPE = 0xC14C_4926;
const CKM_ALIKMS_SM4_CBC_ENCRYPT_DATA: CK_MECHANISM_TYPE = 0xC14C_4927;
const CKM_ALIKMS_ENVELOPE: CK_MECHANISM_TYPE = 0xC14C_4930;

/// `None` for NULL, which cancels an operation (PKCS#11 3.x).
pub(super) fn read(mechanism: In<CK_MECHANISM>) -> Result<Option<Mechanism>> {
    mechanism.optional().map(|ck| Ok(Mechanism { kind: ck.mechanism, parameter: parameter(&ck)? })).transpose()
}

/// CKR_ARGUMENTS_BAD for NULL.
pub(super) fn needed(mechanism: In<CK_MECHANISM>) -> Result<Mechanism> {
    read(mechanism)?.ok_or_else(|| ck(CKR_ARGUMENTS_BAD))
}

/// As [`read`], for operations by message: the parameter of GCM comes with each message.
pub(super) fn by_message(mechanism: In<CK_MECHANISM>) -> Result<Option<Mechanism>> {
    match mechanism.optional() {
        Some(CK_MECHANISM { mechanism: CKM_AES_GCM, .. }) => {
            Ok(Some(Mechanism { kind: CKM_AES_GCM, parameter: Parameter::None }))
        }
        _ => read(mechanism),
    }
}

fn invalid() -> Error {
    ck(CKR_MECHANISM_PARAM_INVALID)
}

fn parameter(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    match mechanism.mechanism {
        CKM_AES_CTR | CKM_ALIKMS_SM4_CTR => {
            let CK_AES_CTR_PARAMS { ulCounterBits, cb } = structure(mechanism)?;
            Ok(Parameter::Ctr { bits: ulCounterBits, block: cb })
        }
        CKM_AES_GCM | CKM_ALIKMS_SM4_GCM => gcm(mechanism),
        CKM_AES_ECB_ENCRYPT_DATA | CKM_ALIKMS_SM4_ECB_ENCRYPT_DATA => {
            let p: CK_KEY_DERIVATION_STRING_DATA = structure(mechanism)?;
            Ok(Parameter::Data { iv: None, data: bytes(p.pData, p.ulLen, MAX_BYTES)? })
        }
        CKM_AES_CBC_ENCRYPT_DATA | CKM_ALIKMS_SM4_CBC_ENCRYPT_DATA => {
            let p: CK_AES_CBC_ENCRYPT_DATA_PARAMS = structure(mechanism)?;
            Ok(Parameter::Data { iv: Some(p.iv), data: bytes(p.pData, p.length, MAX_BYTES)? })
        }
        CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => {
            let p: CK_ECDH1_DERIVE_PARAMS = structure(mechanism)?;
            Ok(Parameter::Ecdh {
                kdf: p.kdf,
                shared: bytes(p.pSharedData, p.ulSharedDataLen, MAX_BYTES)?,
                public: bytes(p.pPublicData, p.ulPublicDataLen, MAX_BYTES)?,
            })
        }
        CKM_EDDSA if mechanism.ulParameterLen != 0 => {
            let p: CK_EDDSA_PARAMS = structure(mechanism)?;
            let context = bytes(p.pContextData, p.ulContextDataLen, MAX_BYTES)?;
            Ok(Parameter::Eddsa { prehash: p.phFlag, context })
        }
        CKM_HKDF_DATA | CKM_HKDF_DERIVE => hkdf(mechanism),
        CKM_RSA_PKCS_OAEP => oaep(structure(mechanism)?),
        CKM_RSA_AES_KEY_WRAP => {
            let p: CK_RSA_AES_KEY_WRAP_PARAMS = structure(mechanism)?;
            let inner = inside::<CK_RSA_PKCS_OAEP_PARAMS>(p.pOAEPParams.cast()).optional().ok_or_else(invalid)?;
            Ok(Parameter::RsaAes { bits: p.ulAESKeyBits, oaep: Box::new(oaep(inner)?) })
        }
        CKM_RSA_PKCS_PSS
        | CKM_SHA1_RSA_PKCS_PSS
        | CKM_SHA224_RSA_PKCS_PSS
        | CKM_SHA256_RSA_PKCS_PSS
        | CKM_SHA384_RSA_PKCS_PSS
        | CKM_SHA512_RSA_PKCS_PSS
        | CKM_SHA3_224_RSA_PKCS_PSS
        | CKM_SHA3_256_RSA_PKCS_PSS
        | CKM_SHA3_384_RSA_PKCS_PSS
        | CKM_SHA3_512_RSA_PKCS_PSS => {
            let CK_RSA_PKCS_PSS_PARAMS { hashAlg, mgf, sLen } = structure(mechanism)?;
            Ok(Parameter::Pss { hash: hashAlg, mgf, salt: sLen })
        }
        // The signer's ID and the EncryptionContext, defaults if there is no parameter; what follows Raw is then the
        // thing itself.
        CKM_ALIKMS_SM2_SM3 | CKM_ALIKMS_SM2_SM3_DER | CKM_ALIKMS_ENVELOPE if mechanism.ulParameterLen != 0 => {
            let Buffer { start, len } = structure(mechanism)?;
            Ok(Parameter::Raw(Bytes::new(bytes(start, len, MAX_BYTES)?)))
        }
        _ if mechanism.ulParameterLen == 0 => Ok(Parameter::None),
        _ => bytes(mechanism.pParameter.cast(), mechanism.ulParameterLen, MAX_BYTES)
            .map(|raw| Parameter::Raw(Bytes::new(raw))),
    }
}

/// A place and its length, as structures of ours hold it.
#[repr(C)]
#[derive(Clone, Copy)]
struct Buffer {
    start: CK_BYTE_PTR,
    len: CK_ULONG,
}

/// CK_GCM_PARAMS of PKCS#11 2.20, which Java tries first: without `ulIvBits`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Gcm220 {
    iv: Buffer,
    aad: Buffer,
    tag_bits: CK_ULONG,
}

// SAFETY: a pointer and a number, in C layout.
unsafe impl Plain for Buffer {}
// SAFETY: pointers and numbers, in C layout.
unsafe impl Plain for Gcm220 {}

fn oaep(p: CK_RSA_PKCS_OAEP_PARAMS) -> Result<Parameter> {
    let label = bytes(p.pSourceData.cast(), p.ulSourceDataLen, MAX_BYTES)?;
    Ok(Parameter::Oaep { hash: p.hashAlg, mgf: p.mgf, source: p.source, label })
}

/// The mechanism of C_WrapKey, and where an IV that the token made goes: `pIv` of CK_GCM_WRAP_PARAMS.
pub(super) fn wrapping(mechanism: In<CK_MECHANISM>) -> Result<(Mechanism, Option<Room>)> {
    let given = mechanism.optional().ok_or_else(|| ck(CKR_ARGUMENTS_BAD))?;
    let parameter = parameter(&given)?;
    let room = match &parameter {
        Parameter::GcmWrap { iv, .. } => Some(Room::new(structure::<CK_GCM_WRAP_PARAMS>(&given)?.pIv, iv)),
        _ => None,
    };
    Ok((Mechanism { kind: given.mechanism, parameter }, room))
}

/// Room in a parameter of the caller's.
#[derive(Clone, Copy)]
pub(super) struct Room {
    start: Out<u8>,
    len: usize,
}

impl Room {
    /// As much as was read there.
    fn new(start: CK_BYTE_PTR, read: &[u8]) -> Self {
        // SAFETY: the pointer stands in a parameter of the caller's, who vouches for so much room there.
        Self { start: unsafe { Out::from_c(start) }, len: read.len() }
    }

    pub(super) fn fill(self, bytes: &[u8]) -> Result<()> {
        if bytes.len() > self.len {
            return Err(Error::Internal("more output than there is room for".into()));
        }
        self.start.fill(bytes);
        Ok(())
    }
}

/// Where the results of a message go: `pIv` and `pTag` of CK_GCM_MESSAGE_PARAMS.
#[derive(Clone, Copy)]
pub(super) struct MessagePlaces {
    iv: Room,
    tag: Room,
}

impl MessagePlaces {
    pub(super) fn fill(self, made: &Made) -> Result<()> {
        made.iv.as_deref().map_or(Ok(()), |iv| self.iv.fill(iv))?;
        made.tag.as_deref().map_or(Ok(()), |tag| self.tag.fill(tag))
    }
}

/// CK_GCM_MESSAGE_PARAMS.
pub(super) fn message(start: In<c_void>, len: CK_ULONG) -> Result<(GcmMessage, MessagePlaces)> {
    if len != size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG {
        return Err(invalid());
    }
    let p = start.cast::<CK_GCM_MESSAGE_PARAMS>().optional().ok_or_else(invalid)?;
    let message = GcmMessage {
        iv: bytes(p.pIv, p.ulIvLen, MAX_BYTES)?,
        fixed_bits: p.ulIvFixedBits,
        generator: p.ivGenerator,
        tag: bytes(p.pTag, p.ulTagBits.div_ceil(8), MAX_BYTES)?,
        tag_bits: p.ulTagBits,
    };
    let places = MessagePlaces { iv: Room::new(p.pIv, &message.iv), tag: Room::new(p.pTag, &message.tag) };
    Ok((message, places))
}

/// The parameter of a message whose mechanism takes none.
pub(super) fn no_message(start: In<c_void>, len: CK_ULONG) -> Result<()> {
    if len == 0 || start.is_null() { Ok(()) } else { Err(invalid()) }
}

fn gcm(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    if mechanism.ulParameterLen == size_of::<CK_GCM_WRAP_PARAMS>() as CK_ULONG {
        let p: CK_GCM_WRAP_PARAMS = structure(mechanism)?;
        return Ok(Parameter::GcmWrap {
            iv: bytes(p.pIv, p.ulIvLen, MAX_BYTES)?,
            fixed_bits: p.ulIvFixedBits,
            generator: p.ivGenerator,
            aad: bytes(p.pAAD, p.ulAADLen, MAX_AAD)?,
            tag_bits: p.ulTagBits,
        });
    }
    let (iv, iv_bits, aad, tag_bits) = if mechanism.ulParameterLen == size_of::<Gcm220>() as CK_ULONG {
        let Gcm220 { iv, aad, tag_bits } = structure(mechanism)?;
        (iv, None, aad, tag_bits)
    } else {
        let p: CK_GCM_PARAMS = structure(mechanism)?;
        let aad = Buffer { start: p.pAAD, len: p.ulAADLen };
        (Buffer { start: p.pIv, len: p.ulIvLen }, Some(p.ulIvBits), aad, p.ulTagBits)
    };
    let (iv, aad) = (slice(iv.start, iv.len, MAX_BYTES, Iv::from_slice)?, bytes(aad.start, aad.len, MAX_AAD)?);
    Ok(Parameter::Gcm { iv_bits: iv_bits.unwrap_or(iv.len() as u64 * 8), iv, aad, tag_bits })
}

fn hkdf(mechanism: &CK_MECHANISM) -> Result<Parameter> {
    let p: CK_HKDF_PARAMS = structure(mechanism)?;
    // The other fields of the salt say nothing where its kind is another.
    let salt = if p.ulSaltType == CKF_HKDF_SALT_DATA { bytes(p.pSalt, p.ulSaltLen, MAX_BYTES)? } else { Vec::new() };
    Ok(Parameter::Hkdf {
        extract: p.bExtract,
        expand: p.bExpand,
        hash: p.prfHashMechanism,
        salt_kind: p.ulSaltType,
        salt: Bytes::new(salt),
        salt_key: p.hSaltKey,
        info: bytes(p.pInfo, p.ulInfoLen, MAX_BYTES)?,
    })
}

/// The parameter as the structure that the mechanism takes: exactly its size.
fn structure<T: Plain>(mechanism: &CK_MECHANISM) -> Result<T> {
    if mechanism.ulParameterLen != size_of::<T>() as CK_ULONG {
        return Err(invalid());
    }
    inside::<T>(mechanism.pParameter).optional().ok_or_else(invalid)
}

/// Bytes that a parameter points to.
fn bytes(start: CK_BYTE_PTR, len: CK_ULONG, max: CK_ULONG) -> Result<Vec<u8>> {
    slice(start, len, max, <[u8]>::to_vec)
}

fn slice<T>(start: CK_BYTE_PTR, len: CK_ULONG, max: CK_ULONG, copy: impl FnOnce(&[u8]) -> T) -> Result<T> {
    if len > max {
        return Err(invalid());
    }
    inside::<u8>(start.cast()).bytes(len).map(copy).map_err(|_| invalid())
}

/// What a mechanism of the caller's points to.
fn inside<T>(start: *mut c_void) -> In<T> {
    // SAFETY: the pointer stands in a CK_MECHANISM or a parameter of the caller's, who vouches for it as for that.
    unsafe { In::from_c(start.cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T>(kind: CK_MECHANISM_TYPE, parameter: &T, len: usize) -> Result<Parameter> {
        let mut mechanism = CK_MECHANISM {
            mechanism: kind,
            pParameter: std::ptr::from_ref(parameter).cast_mut().cast(),
            ulParameterLen: len as CK_ULONG,
        };
        // SAFETY: `mechanism` outlives the call.
        needed(unsafe { In::from_c(&raw mut mechanism) }).map(|mechanism| mechanism.parameter)
    }

    #[test]
    fn gcm_in_both_forms() {
        let nonce = [9u8; 12];
        let iv = Buffer { start: nonce.as_ptr().cast_mut(), len: 12 };
        let aad = Buffer { start: std::ptr::null_mut(), len: 0 };
        let old = Gcm220 { iv, aad, tag_bits: 128 };
        let new =
            CK_GCM_PARAMS { pIv: iv.start, ulIvLen: 12, ulIvBits: 96, pAAD: aad.start, ulAADLen: 0, ulTagBits: 128 };
        for parameter in [parsed(CKM_AES_GCM, &old, 40), parsed(CKM_ALIKMS_SM4_GCM, &new, 48)] {
            let Ok(Parameter::Gcm { iv, iv_bits: 96, aad, tag_bits: 128 }) = parameter else { panic!("{parameter:?}") };
            assert_eq!((iv.to_vec(), aad), (vec![9; 12], vec![]));
        }
        for len in [0, 39, 41, 47, 49] {
            assert_eq!(parsed(CKM_AES_GCM, &new, len).unwrap_err(), invalid());
        }
        for (start, len) in [(std::ptr::null_mut(), 12), (iv.start, MAX_BYTES + 1), (iv.start, CK_ULONG::MAX)] {
            let wrong = CK_GCM_PARAMS { pIv: start, ulIvLen: len, ..new };
            assert_eq!(parsed(CKM_AES_GCM, &wrong, 48).unwrap_err(), invalid());
        }
    }

    #[test]
    fn raw_and_none() {
        assert!(matches!(parsed(CKM_AES_CBC, &[1u8; 16], 16), Ok(Parameter::Raw(iv)) if **iv == [1; 16]));
        assert!(matches!(parsed(CKM_ECDSA, &0u8, 0), Ok(Parameter::None)));
        assert_eq!(parsed(CKM_RSA_PKCS_PSS, &0u8, 0).unwrap_err(), invalid());
        let mut null = CK_MECHANISM { mechanism: CKM_AES_CBC, pParameter: std::ptr::null_mut(), ulParameterLen: 16 };
        // SAFETY: `null` outlives the call.
        assert_eq!(read(unsafe { In::from_c(&raw mut null) }).unwrap_err(), invalid());
        assert!(read(inside(std::ptr::null_mut())).unwrap().is_none());
        let id = Buffer { start: b"alice".as_ptr().cast_mut(), len: 5 };
        assert!(matches!(parsed(CKM_ALIKMS_SM2_SM3, &id, 16), Ok(Parameter::Raw(id)) if **id == *b"alice"));
    }
}
