//! Encryption functions (PKCS#11 3.2 §5.8).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::output;
use crate::abi::mechanism;

cryptoki! {
    fn C_EncryptInit(session: CK_SESSION_HANDLE, mechanism: In<CK_MECHANISM>, key: CK_OBJECT_HANDLE) |p| {
        p.session(session, |s| s.encrypt_init(mechanism::read(mechanism)?, key))
    }

    fn C_Encrypt(
        session: CK_SESSION_HANDLE,
        input: In<u8>,
        input_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_ENCRYPT, out, out_len, &mut |s, room| {
            let (input, mut out) = (input.bytes(input_len)?, out);
            s.encrypt(input, room, out.apart(room, input))
        })
    }

    fn C_EncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        out: Out<u8>,
        out_len: Out<CK_ULONG>,
    ) |p| {
        output(p, session, CKF_ENCRYPT, out, out_len, &mut |s, room| s.encrypt_update(part.bytes(part_len)?, room))
    }

    fn C_EncryptFinal(session: CK_SESSION_HANDLE, out: Out<u8>, out_len: Out<CK_ULONG>) |p| {
        output(p, session, CKF_ENCRYPT, out, out_len, &mut |s, room| s.encrypt_final(room))
    }
}
