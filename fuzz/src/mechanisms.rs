//! Mechanism parameters, at every function that takes a mechanism, with each kind of key; what begins is carried through.

use arbitrary::{Result, Unstructured};
use cryptoki_sys::*;

use super::door::{call, door, in_a_session};
use super::make::{Arena, mechanism, template};
use super::templates::check;

pub fn run(data: &[u8]) {
    in_a_session(data, work);
}

fn work(data: &mut Unstructured<'_>, session: CK_SESSION_HANDLE) -> Result<()> {
    let (door, mut arena) = (door(), Arena::default());
    let mut given = mechanism(data, &mut arena, &door.keys)?;
    let (given, key) = (&raw mut given, *data.choose(&door.keys)?);
    let (input, len) = arena.bytes(data, 300)?;
    let mut room = 4096;
    let (out, room) = (arena.room(4096), &raw mut room);
    let choice = data.int_in_range(0..=9)?;
    let rv = match choice {
        0 => call!(door, C_EncryptInit(session, given, key)),
        1 => call!(door, C_DecryptInit(session, given, key)),
        2 => call!(door, C_SignInit(session, given, key)),
        3 => call!(door, C_VerifyInit(session, given, key)),
        4 => call!(door, C_DigestInit(session, given)),
        5 => call!(door, C_WrapKey(session, given, key, *data.choose(&door.keys)?, out, room)),
        6 | 7 => {
            let (list, count) = template(data, &mut arena, 0)?;
            let mut made = 0;
            match choice {
                6 => call!(door, C_UnwrapKey(session, given, key, input, len, list, count, &raw mut made)),
                _ => call!(door, C_DeriveKey(session, given, key, list, count, &raw mut made)),
            }
        }
        8 => call!(door, C_VerifySignatureInit(session, given, key, input, len)),
        _ => call!(door, C_MessageEncryptInit(session, given, key)),
    };
    check(rv);
    if rv != CKR_OK {
        return Ok(());
    }
    check(match choice {
        0 => call!(door, C_Encrypt(session, input, len, out, room)),
        1 => call!(door, C_Decrypt(session, input, len, out, room)),
        2 => call!(door, C_Sign(session, input, len, out, room)),
        3 => call!(door, C_Verify(session, input, len, out, 64)),
        4 => call!(door, C_Digest(session, input, len, out, room)),
        8 => call!(door, C_VerifySignature(session, input, len)),
        _ => CKR_OK,
    });
    Ok(())
}
