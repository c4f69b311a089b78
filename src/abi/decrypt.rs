//! Decryption functions (PKCS#11 3.2 §5.10).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::output;
use crate::abi::mechanism;

cryptoki! {
    fn C_DecryptInit(session: CK_SESSION_HANDLE, mechanism: In<CK_MECHANISM>, key: CK_OBJECT_HANDLE) |p| {
        p.session(session, |s| s.decrypt_init(mechanism::read(mechanism)?, key))
    }

    fn C_Decrypt(
        session: CK_SESSION_HANDLE,
        input: In<u8>,
        input_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DECRYPT, out, out_len, &mut |s, room| s.decrypt(input.bytes(input_len)?, room))
    }

    fn C_DecryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_DECRYPT, out, out_len, &mut |s, room| s.decrypt_update(part.bytes(part_len)?, room))
    }

    fn C_DecryptFinal(session: CK_SESSION_HANDLE, out: Out<u8>, out_len: Out<CK_ULONG>) |p| {
        output(p, session, CKF_DECRYPT, out, out_len, &mut |s, room| s.decrypt_final(room))
    }
}
