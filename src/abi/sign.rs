//! Signing and MACing functions (PKCS#11 3.2 §5.13).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::{output, step};
use crate::abi::mechanism;

/// Why nothing is recovered from signatures, here and in `verify`.
pub(super) const NO_RECOVERY: &str = "no mechanism of the token lets data be recovered from a signature";

cryptoki! {
    fn C_SignInit(session: CK_SESSION_HANDLE, mechanism: In<CK_MECHANISM>, key: CK_OBJECT_HANDLE) |p| {
        p.session(session, |s| s.sign_init(mechanism::read(mechanism)?, key))
    }

    fn C_Sign(
        session: CK_SESSION_HANDLE,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_SIGN, signature, signature_len, &mut |s, room| s.sign(data.bytes(data_len)?, room))
    }

    fn C_SignUpdate(session: CK_SESSION_HANDLE, part: In<u8>, part_len: CK_ULONG) |p| {
        step(p, session, CKF_SIGN, |s| s.sign_update(part.bytes(part_len)?))
    }

    fn C_SignFinal(session: CK_SESSION_HANDLE, signature: Out<u8>, signature_len: Out<CK_ULONG>) |p| {
        output(p, session, CKF_SIGN, signature, signature_len, &mut |s, room| s.sign_final(room))
    }

    fn C_SignRecoverInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NO_RECOVERY);

    fn C_SignRecover(
        session: CK_SESSION_HANDLE,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) = not_supported(NO_RECOVERY);
}
