//! Functions for verifying signatures and MACs (PKCS#11 3.2 §5.15).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::step;
use crate::abi::mechanism;
use crate::abi::sign::NO_RECOVERY;

cryptoki! {
    fn C_VerifyInit(session: CK_SESSION_HANDLE, mechanism: In<CK_MECHANISM>, key: CK_OBJECT_HANDLE) |p| {
        p.session(session, |s| s.verify_init(mechanism::read(mechanism)?, key))
    }

    fn C_Verify(
        session: CK_SESSION_HANDLE,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) |p| {
        step(p, session, CKF_VERIFY, |s| s.verify(data.bytes(data_len)?, signature.bytes(signature_len)?))
    }

    fn C_VerifyUpdate(session: CK_SESSION_HANDLE, part: In<u8>, part_len: CK_ULONG) |p| {
        step(p, session, CKF_VERIFY, |s| s.verify_update(part.bytes(part_len)?))
    }

    fn C_VerifyFinal(session: CK_SESSION_HANDLE, signature: In<u8>, signature_len: CK_ULONG) |p| {
        step(p, session, CKF_VERIFY, |s| s.verify_final(signature.bytes(signature_len)?))
    }

    fn C_VerifyRecoverInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NO_RECOVERY);

    fn C_VerifyRecover(
        session: CK_SESSION_HANDLE,
        signature: In<u8>,
        signature_len: CK_ULONG,
        data: Out<u8>,
        data_len: Out<CK_ULONG>,
    ) = not_supported(NO_RECOVERY);

    fn C_VerifySignatureInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            let mechanism = mechanism::read(mechanism)?;
            s.verify_signature_init(mechanism, key, signature.bytes(signature_len)?)
        })
    }

    fn C_VerifySignature(session: CK_SESSION_HANDLE, data: In<u8>, data_len: CK_ULONG) |p| {
        p.session(session, |s| s.verify_signature(data.bytes(data_len)))
    }

    fn C_VerifySignatureUpdate(session: CK_SESSION_HANDLE, part: In<u8>, part_len: CK_ULONG) |p| {
        p.session(session, |s| s.verify_signature_update(part.bytes(part_len)))
    }

    fn C_VerifySignatureFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.verify_signature_final())
    }
}
