//! Dual-function cryptographic functions (PKCS#11 3.2 §5.17).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::output;

cryptoki! {
    fn C_DigestEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DIGEST | CKF_ENCRYPT, out, out_len, &mut |s, room| {
            s.digest_encrypt_update(part.bytes(part_len)?, room)
        })
    }

    fn C_DecryptDigestUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DECRYPT | CKF_DIGEST, out, out_len, &mut |s, room| {
            s.decrypt_digest_update(part.bytes(part_len)?, room)
        })
    }

    fn C_SignEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_SIGN | CKF_ENCRYPT, out, out_len, &mut |s, room| {
            s.sign_encrypt_update(part.bytes(part_len)?, room)
        })
    }

    fn C_DecryptVerifyUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DECRYPT | CKF_VERIFY, out, out_len, &mut |s, room| {
            s.decrypt_verify_update(part.bytes(part_len)?, room)
        })
    }
}
