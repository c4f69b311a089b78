//! Message digesting functions (PKCS#11 3.2 §5.12).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::{output, step};
use crate::abi::mechanism;

cryptoki! {
    fn C_DigestInit(session: CK_SESSION_HANDLE, mechanism: In<CK_MECHANISM>) |p| {
        p.session(session, |s| s.digest_init(mechanism::read(mechanism)?.as_ref()))
    }

    fn C_Digest(
        session: CK_SESSION_HANDLE,
        data: In<u8>,
        data_len: CK_ULONG,
        digest: Out<u8>,
        digest_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DIGEST, digest, digest_len, &mut |s, room| s.digest(data.bytes(data_len)?, room))
    }

    fn C_DigestUpdate(session: CK_SESSION_HANDLE, part: In<u8>, part_len: CK_ULONG) |p| {
        step(p, session, CKF_DIGEST, |s| s.digest_update(part.bytes(part_len)?))
    }

    fn C_DigestKey(session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) |p| {
        step(p, session, CKF_DIGEST, |s| s.digest_key(key))
    }

    fn C_DigestFinal(session: CK_SESSION_HANDLE, digest: Out<u8>, digest_len: Out<CK_ULONG>) |p| {
        output(p, session, CKF_DIGEST, digest, digest_len, &mut |s, room| s.digest_final(room))
    }
}
