//! Message-based encryption, decryption, signing and verifying (PKCS#11 3.2 §5.9, §5.11, §5.14, §5.16).

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{In, Out};

const NOT_YET: &str = "message-based operations are not implemented";

cryptoki! {
    fn C_MessageEncryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NOT_YET);

    fn C_EncryptMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
        plaintext: In<u8>,
        plaintext_len: CK_ULONG,
        ciphertext: Out<u8>,
        ciphertext_len: Out<CK_ULONG>,
    ) = not_supported(NOT_YET);

    fn C_EncryptMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_EncryptMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        plaintext_part: In<u8>,
        plaintext_part_len: CK_ULONG,
        ciphertext_part: Out<u8>,
        ciphertext_part_len: Out<CK_ULONG>,
        flags: CK_FLAGS,
    ) = not_supported(NOT_YET);

    fn C_MessageEncryptFinal(session: CK_SESSION_HANDLE) = not_supported(NOT_YET);

    fn C_MessageDecryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NOT_YET);

    fn C_DecryptMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
        ciphertext: In<u8>,
        ciphertext_len: CK_ULONG,
        plaintext: Out<u8>,
        plaintext_len: Out<CK_ULONG>,
    ) = not_supported(NOT_YET);

    fn C_DecryptMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_DecryptMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        ciphertext_part: In<u8>,
        ciphertext_part_len: CK_ULONG,
        plaintext_part: Out<u8>,
        plaintext_part_len: Out<CK_ULONG>,
        flags: CK_FLAGS,
    ) = not_supported(NOT_YET);

    fn C_MessageDecryptFinal(session: CK_SESSION_HANDLE) = not_supported(NOT_YET);

    fn C_MessageSignInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NOT_YET);

    fn C_SignMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) = not_supported(NOT_YET);

    fn C_SignMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_SignMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) = not_supported(NOT_YET);

    fn C_MessageSignFinal(session: CK_SESSION_HANDLE) = not_supported(NOT_YET);

    fn C_MessageVerifyInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) = not_supported(NOT_YET);

    fn C_VerifyMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_VerifyMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_VerifyMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) = not_supported(NOT_YET);

    fn C_MessageVerifyFinal(session: CK_SESSION_HANDLE) = not_supported(NOT_YET);
}
