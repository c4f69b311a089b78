//! Slot and token management functions (PKCS#11 3.2 §5.5).

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::after_session;
use crate::token::ck;

cryptoki! {
    fn C_GetSlotList(token_present: CK_BBOOL, slots: Out<CK_SLOT_ID>, count: Out<CK_ULONG>) |p| {
        // Every token is always present.
        let _ = token_present;
        slots.list(count, &p.slots()?)
    }

    fn C_GetSlotInfo(slot: CK_SLOT_ID, info: Out<CK_SLOT_INFO>) |p| {
        info.put(p.slot_info(slot)?)
    }

    fn C_GetTokenInfo(slot: CK_SLOT_ID, info: Out<CK_TOKEN_INFO>) |p| {
        info.put(p.token_info(slot)?)
    }

    /// There is no slot whose token comes or goes.
    fn C_WaitForSlotEvent(flags: CK_FLAGS, slot: Out<CK_SLOT_ID>, reserved: In<c_void>) |p| {
        let _ = p;
        slot.needed()?;
        if !reserved.is_null() {
            return Err(ck(CKR_ARGUMENTS_BAD));
        }
        // One that may block would block for ever.
        Err(ck(if flags & CKF_DONT_BLOCK == 0 { CKR_FUNCTION_NOT_SUPPORTED } else { CKR_NO_EVENT }))
    }

    fn C_GetMechanismList(slot: CK_SLOT_ID, mechanisms: Out<CK_MECHANISM_TYPE>, count: Out<CK_ULONG>) |p| {
        mechanisms.list(count, &p.mechanisms(slot)?)
    }

    fn C_GetMechanismInfo(slot: CK_SLOT_ID, kind: CK_MECHANISM_TYPE, info: Out<CK_MECHANISM_INFO>) |p| {
        info.put(p.mechanism_info(slot, kind)?)
    }

    /// The label has 32 bytes, padded with blanks; what comes as a C string (PyKCS11) ends at its NUL.
    fn C_InitToken(slot: CK_SLOT_ID, pin: In<u8>, pin_len: CK_ULONG, label: In<u8>) |p| {
        let label = label.text(32)?;
        p.init_token(slot, pin.bytes_if_any(pin_len)?, &label)
    }

    fn C_InitPIN(session: CK_SESSION_HANDLE, pin: In<u8>, pin_len: CK_ULONG) |p| {
        p.init_pin(session, after_session(p, session, pin.bytes_if_any(pin_len))?)
    }

    fn C_SetPIN(session: CK_SESSION_HANDLE, old: In<u8>, old_len: CK_ULONG, new: In<u8>, new_len: CK_ULONG) |p| {
        let old = after_session(p, session, old.bytes_if_any(old_len))?;
        let new = after_session(p, session, new.bytes_if_any(new_len))?;
        p.set_pin(session, old, new)
    }
}
