//! Dual-function cryptographic functions (PKCS#11 3.2 §5.17).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};

/// The token reports CKF_DUAL_CRYPTO_OPERATIONS as absent.
const ONE_AT_A_TIME: &str = "a session does one operation at a time";

cryptoki! {
    fn C_DigestEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        encrypted: Out<u8>,
        encrypted_len: Out<CK_ULONG>,
    ) = not_supported(ONE_AT_A_TIME);

    fn C_DecryptDigestUpdate(
        session: CK_SESSION_HANDLE,
        encrypted: In<u8>,
        encrypted_len: CK_ULONG,
        part: Out<u8>,
        part_len: Out<CK_ULONG>,
    ) = not_supported(ONE_AT_A_TIME);

    fn C_SignEncryptUpdate(
        session: CK_SESSION_HANDLE,
        part: In<u8>,
        part_len: CK_ULONG,
        encrypted: Out<u8>,
        encrypted_len: Out<CK_ULONG>,
    ) = not_supported(ONE_AT_A_TIME);

    fn C_DecryptVerifyUpdate(
        session: CK_SESSION_HANDLE,
        encrypted: In<u8>,
        encrypted_len: CK_ULONG,
        part: Out<u8>,
        part_len: Out<CK_ULONG>,
    ) = not_supported(ONE_AT_A_TIME);
}
