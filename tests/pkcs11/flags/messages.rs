//! The flags of operations by message, performed.

use cryptoki_sys::*;

use super::DATA;
use super::bed::{Bed, Pair};
use crate::call;
use crate::support::{Client, Mech, two_calls};

impl Bed {
    /// Two messages, and one in parts where CKF_MULTI_MESSAGE says so. Answers their signatures.
    pub fn sign_messages(
        &self,
        mechanism: &Mech,
        key: CK_OBJECT_HANDLE,
        info: &CK_MECHANISM_INFO,
    ) -> Result<Vec<Vec<u8>>, CK_RV> {
        let (c, mut raw) = (&self.c, mechanism.raw());
        good(call!(c.m, C_MessageSignInit(c.h, &raw mut raw, key)))?;
        let (null, from) = (std::ptr::null_mut(), DATA.as_ptr().cast_mut());
        let whole = || two_calls(false, |out, len| call!(c.m, C_SignMessage(c.h, null, 0, from, 32, out, len)));
        let mut made = whole().and_then(|first| Ok(vec![first, whole()?]));
        if let Ok(made) = &mut made {
            assert!(info.flags & CKF_MULTI_MESSAGE != 0, "C_SignMessageBegin of {:#x}", mechanism.kind);
            good(call!(c.m, C_SignMessageBegin(c.h, null, 0))).unwrap();
            let next = |part: &[u8], out, len| {
                let (start, size) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
                call!(c.m, C_SignMessageNext(c.h, null, 0, start, size, out, len))
            };
            good(next(&DATA[..5], std::ptr::null_mut(), std::ptr::null_mut())).unwrap();
            made.push(two_calls(false, |out, len| next(&DATA[5..], out, len)).unwrap());
        }
        good(call!(c.m, C_MessageSignFinal(c.h))).unwrap();
        made
    }

    pub fn verify_messages(&self, mechanism: &Mech, keys: Pair, info: &CK_MECHANISM_INFO) -> Result<(), CK_RV> {
        let (c, mut raw) = (&self.c, mechanism.raw());
        good(call!(c.m, C_MessageVerifyInit(c.h, &raw mut raw, keys.0)))?;
        let (null, from) = (std::ptr::null_mut(), DATA.as_ptr().cast_mut());
        let verify = |signature: &[u8]| {
            let (start, len) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
            call!(c.m, C_VerifyMessage(c.h, null, 0, from, 32, start, len))
        };
        let checked = self.sign_messages(mechanism, keys.1, info).map(|signatures| {
            for signature in &signatures {
                assert_eq!(verify(signature), CKR_OK);
                let longer = verify(&[&signature[..], &[0]].concat());
                assert!(matches!(longer, CKR_SIGNATURE_LEN_RANGE | CKR_SIGNATURE_INVALID), "{longer:#x}");
                let (start, len) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
                let next = |part: &[u8], signature, len| {
                    let (start, size) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
                    call!(c.m, C_VerifyMessageNext(c.h, null, 0, start, size, signature, len))
                };
                assert_eq!(call!(c.m, C_VerifyMessageBegin(c.h, null, 0)), CKR_OK);
                assert_eq!(next(&DATA[..7], std::ptr::null_mut(), 0), CKR_OK);
                assert_eq!(next(&DATA[7..], start, len), CKR_OK);
            }
        });
        good(call!(c.m, C_MessageVerifyFinal(c.h))).unwrap();
        checked
    }

    /// One message with an IV of the token's, and one in parts; decrypted the other way round.
    pub fn crypt_messages(
        &self,
        flag: CK_FLAGS,
        mechanism: &Mech,
        key: CK_OBJECT_HANDLE,
        info: &CK_MECHANISM_INFO,
    ) -> Result<(), CK_RV> {
        let c = &self.c;
        let mut raw = mechanism.raw();
        if flag == CKF_MESSAGE_DECRYPT {
            good(call!(c.m, C_MessageDecryptInit(c.h, &raw mut raw, key)))?;
        }
        let encrypts = call!(c.m, C_MessageEncryptInit(c.h, &raw mut raw, key));
        if encrypts != CKR_OK {
            call!(c.m, C_SessionCancel(c.h, CKF_MESSAGE_DECRYPT));
            return Err(encrypts);
        }
        assert!(info.flags & CKF_MULTI_MESSAGE != 0, "C_EncryptMessageBegin of {:#x}", mechanism.kind);
        let (mut iv, mut tag) = ([0u8; 12], [0u8; 16]);
        let mut gcm = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_GENERATE,
            pTag: tag.as_mut_ptr(),
            ulTagBits: 128,
        };
        const SIZE: CK_ULONG = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
        let (place, aad) = ((&raw mut gcm).cast::<std::ffi::c_void>(), b"aad".as_ptr().cast_mut());
        let (mut out, mut len) = ([0u8; 64], 64);
        let (from, to) = (DATA.as_ptr().cast_mut(), out.as_mut_ptr());
        let sealed = call!(c.m, C_EncryptMessage(c.h, place, SIZE, aad, 3, from, 32, to, &raw mut len));
        if sealed != CKR_OK {
            call!(c.m, C_SessionCancel(c.h, CKF_MESSAGE_DECRYPT | CKF_MESSAGE_ENCRYPT));
            return Err(sealed);
        }
        assert_eq!(len, 32);
        if flag == CKF_MESSAGE_DECRYPT {
            gcm_next(c, place, &mut out, CKF_MESSAGE_DECRYPT);
            assert_eq!(out[..32], DATA);
            call!(c.m, C_MessageDecryptFinal(c.h));
        } else {
            // Its own parameter again, in parts: another IV.
            out[..32].copy_from_slice(&DATA);
            gcm_next(c, place, &mut out, CKF_MESSAGE_ENCRYPT);
            assert_ne!(out[..32], DATA);
        }
        good(call!(c.m, C_MessageEncryptFinal(c.h)))
    }
}

/// C_EncryptMessageBegin and …Next, or their reverse, in place.
fn gcm_next(c: &Client, place: *mut std::ffi::c_void, data: &mut [u8; 64], flag: CK_FLAGS) {
    let size = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;
    let aad = b"aad".as_ptr().cast_mut();
    let (start, mut at) = (data.as_mut_ptr(), 0usize);
    let begun = match flag {
        CKF_MESSAGE_ENCRYPT => call!(c.m, C_EncryptMessageBegin(c.h, place, size, aad, 3)),
        _ => call!(c.m, C_DecryptMessageBegin(c.h, place, size, aad, 3)),
    };
    assert_eq!(begun, CKR_OK);
    let input = *data;
    for (part, last) in [(&input[..20], 0), (&input[20..32], CKF_END_OF_MESSAGE)] {
        let (from, len, mut room) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG, 64 - at as CK_ULONG);
        let to = start.wrapping_add(at);
        let rv = match flag {
            CKF_MESSAGE_ENCRYPT => {
                call!(c.m, C_EncryptMessageNext(c.h, place, size, from, len, to, &raw mut room, last))
            }
            _ => call!(c.m, C_DecryptMessageNext(c.h, place, size, from, len, to, &raw mut room, last)),
        };
        assert_eq!(rv, CKR_OK);
        at += room as usize;
    }
    assert_eq!(at, 32);
}

fn good(rv: CK_RV) -> Result<(), CK_RV> {
    if rv == CKR_OK { Ok(()) } else { Err(rv) }
}
