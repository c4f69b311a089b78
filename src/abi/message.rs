//! Message-based encryption, decryption, signing and verifying (PKCS#11 3.2 §5.9, §5.11, §5.14, §5.16).

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::mechanism::{self, MessagePlaces};
use crate::error::Result;
use crate::token::Room;
use crate::token::parameter::GcmMessage;

/// CK_GCM_MESSAGE_PARAMS, the parameter of every message that is encrypted or decrypted, and where its results go.
fn gcm(parameter: Out<c_void>, len: CK_ULONG) -> Result<(GcmMessage, MessagePlaces)> {
    mechanism::message(parameter.input(), len)
}

cryptoki! {
    fn C_MessageEncryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) |p| {
        p.session(session, |s| s.message_encrypt_init(mechanism::by_message(mechanism)?, key))
    }

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
    ) |p| {
        let (room, answer, made, places) = p.session(session, |s| {
            let (parameter, places) = gcm(parameter, parameter_len)?;
            let room = ciphertext.room(ciphertext_len)?;
            let associated = associated.bytes(associated_len)?;
            let (answer, made) = s.encrypt_message(&parameter, associated, plaintext.bytes(plaintext_len)?, room)?;
            Ok((room, answer, made, places))
        })?;
        places.fill(&made)?;
        ciphertext.give(ciphertext_len, room, answer)
    }

    fn C_EncryptMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
    ) |p| {
        let (made, places) = p.session(session, |s| {
            let (parameter, places) = gcm(parameter, parameter_len)?;
            Ok((s.encrypt_message_begin(&parameter, associated.bytes(associated_len)?)?, places))
        })?;
        places.fill(&made)
    }

    fn C_EncryptMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        plaintext_part: In<u8>,
        plaintext_part_len: CK_ULONG,
        ciphertext_part: Out<u8>,
        ciphertext_part_len: Out<CK_ULONG>,
        flags: CK_FLAGS,
    ) |p| {
        let (room, answer, made, places) = p.session(session, |s| {
            let (_, places) = gcm(parameter, parameter_len)?;
            let room = ciphertext_part.room(ciphertext_part_len)?;
            let last = flags & CKF_END_OF_MESSAGE != 0;
            let (answer, made) = s.encrypt_message_next(plaintext_part.bytes(plaintext_part_len)?, room, last)?;
            Ok((room, answer, made, places))
        })?;
        places.fill(&made)?;
        ciphertext_part.give(ciphertext_part_len, room, answer)
    }

    fn C_MessageEncryptFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.message_final(CKF_MESSAGE_ENCRYPT))
    }

    fn C_MessageDecryptInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) |p| {
        p.session(session, |s| s.message_decrypt_init(mechanism::by_message(mechanism)?, key))
    }

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
    ) |p| {
        let (room, answer) = p.session(session, |s| {
            let (parameter, _) = gcm(parameter, parameter_len)?;
            let room = plaintext.room(plaintext_len)?;
            let associated = associated.bytes(associated_len)?;
            Ok((room, s.decrypt_message(&parameter, associated, ciphertext.bytes(ciphertext_len)?, room)?))
        })?;
        plaintext.give(plaintext_len, room, answer)
    }

    fn C_DecryptMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        associated: In<u8>,
        associated_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            let (parameter, _) = gcm(parameter, parameter_len)?;
            s.decrypt_message_begin(&parameter, associated.bytes(associated_len)?)
        })
    }

    fn C_DecryptMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        ciphertext_part: In<u8>,
        ciphertext_part_len: CK_ULONG,
        plaintext_part: Out<u8>,
        plaintext_part_len: Out<CK_ULONG>,
        flags: CK_FLAGS,
    ) |p| {
        let (room, answer) = p.session(session, |s| {
            let (parameter, _) = gcm(parameter, parameter_len)?;
            let room = plaintext_part.room(plaintext_part_len)?;
            let last = flags & CKF_END_OF_MESSAGE != 0;
            let part = ciphertext_part.bytes(ciphertext_part_len)?;
            Ok((room, s.decrypt_message_next(&parameter, part, room, last)?))
        })?;
        plaintext_part.give(plaintext_part_len, room, answer)
    }

    fn C_MessageDecryptFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.message_final(CKF_MESSAGE_DECRYPT))
    }

    fn C_MessageSignInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) |p| {
        p.session(session, |s| s.message_sign_init(mechanism::by_message(mechanism)?, key))
    }

    fn C_SignMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) |p| {
        let (room, answer) = p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            let room = signature.room(signature_len)?;
            Ok((room, s.sign_message(data.bytes(data_len)?, room)?))
        })?;
        signature.give(signature_len, room, answer)
    }

    fn C_SignMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            s.sign_message_begin()
        })
    }

    fn C_SignMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: Out<u8>,
        signature_len: Out<CK_ULONG>,
    ) |p| {
        let (room, answer) = p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            // Without a place for the length there is more to come.
            let room: Option<Room> = match signature_len.input().is_null() {
                true => None,
                false => Some(signature.room(signature_len)?),
            };
            Ok((room, s.sign_message_next(data.bytes(data_len)?, room)?))
        })?;
        room.map_or(Ok(()), |room| signature.give(signature_len, room, answer))
    }

    fn C_MessageSignFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.message_final(CKF_MESSAGE_SIGN))
    }

    fn C_MessageVerifyInit(
        session: CK_SESSION_HANDLE,
        mechanism: In<CK_MECHANISM>,
        key: CK_OBJECT_HANDLE,
    ) |p| {
        p.session(session, |s| s.message_verify_init(mechanism::by_message(mechanism)?, key))
    }

    fn C_VerifyMessage(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            s.verify_message(data.bytes(data_len)?, signature.bytes(signature_len)?)
        })
    }

    fn C_VerifyMessageBegin(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            s.verify_message_begin()
        })
    }

    fn C_VerifyMessageNext(
        session: CK_SESSION_HANDLE,
        parameter: Out<c_void>,
        parameter_len: CK_ULONG,
        data: In<u8>,
        data_len: CK_ULONG,
        signature: In<u8>,
        signature_len: CK_ULONG,
    ) |p| {
        p.session(session, |s| {
            mechanism::no_message(parameter.input(), parameter_len)?;
            s.verify_message_next(data.bytes(data_len)?, signature.bytes_if_any(signature_len)?)
        })
    }

    fn C_MessageVerifyFinal(session: CK_SESSION_HANDLE) |p| {
        p.session(session, |s| s.message_final(CKF_MESSAGE_VERIFY))
    }
}
