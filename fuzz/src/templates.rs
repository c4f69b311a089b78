//! Templates, at every function that takes one: written, read back, searched for, and answers of exactly the room asked for.

use arbitrary::{Result, Unstructured};
use cryptoki_sys::*;

use super::door::{call, door, in_a_session};
use super::make::{Arena, mechanism, template};

pub fn run(data: &[u8]) {
    in_a_session(data, work);
}

fn work(data: &mut Unstructured<'_>, session: CK_SESSION_HANDLE) -> Result<()> {
    let (door, mut arena) = (door(), Arena::default());
    let mut objects = door.keys.clone();
    for _ in 0..6 {
        let (list, count) = template(data, &mut arena, 0)?;
        let count = if data.ratio(1, 32)? { data.int_in_range(0..=count)? } else { count };
        let object = *data.choose(&objects)?;
        let mut made = 0;
        let rv = match data.int_in_range(0..=7)? {
            0 | 1 => call!(door, C_CreateObject(session, list, count, &raw mut made)),
            2 => call!(door, C_CopyObject(session, object, list, count, &raw mut made)),
            3 => call!(door, C_SetAttributeValue(session, object, list, count)),
            4 => {
                let rv = call!(door, C_FindObjectsInit(session, list, count));
                let mut found = 0;
                call!(door, C_FindObjects(session, &raw mut made, 1, &raw mut found));
                call!(door, C_FindObjectsFinal(session));
                rv
            }
            5 => call!(door, C_GetAttributeValue(session, object, list, count)),
            6 => {
                let mut mechanism = mechanism(data, &mut arena, &door.keys)?;
                call!(door, C_GenerateKey(session, &raw mut mechanism, list, count, &raw mut made))
            }
            _ => {
                let mut mechanism = mechanism(data, &mut arena, &door.keys)?;
                call!(door, C_DeriveKey(session, &raw mut mechanism, object, list, count, &raw mut made))
            }
        };
        check(rv);
        if rv == CKR_OK && made != 0 {
            objects.push(made);
        }
    }
    Ok(())
}

/// No fault of ours: whatever was asked, there is a better answer.
pub fn check(rv: CK_RV) {
    assert!(!matches!(rv, CKR_GENERAL_ERROR | CKR_DEVICE_ERROR | CKR_HOST_MEMORY), "{rv:#x}");
}
