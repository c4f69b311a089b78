//! Session management functions (PKCS#11 3.2 §5.6).

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::{after_session, session_exists};

cryptoki! {
    /// The callback is never called: nothing happens to a session that its owner would not know.
    fn C_OpenSession(
        slot: CK_SLOT_ID,
        flags: CK_FLAGS,
        application: In<c_void>,
        notify: CK_NOTIFY,
        session: Out<CK_SESSION_HANDLE>,
    ) |p| {
        let _ = (application, notify);
        let session = session.needed()?;
        session.put(p.open_session(slot, flags)?);
        Ok(())
    }

    fn C_CloseSession(session: CK_SESSION_HANDLE) |p| {
        p.close_session(session)
    }

    fn C_CloseAllSessions(slot: CK_SLOT_ID) |p| {
        p.close_all_sessions(slot)
    }

    fn C_GetSessionInfo(session: CK_SESSION_HANDLE, info: Out<CK_SESSION_INFO>) |p| {
        info.put(p.session_info(session)?)
    }

    fn C_SessionCancel(session: CK_SESSION_HANDLE, flags: CK_FLAGS) |p| {
        p.session(session, |s| s.cancel(flags))
    }

    /// Digests only.
    fn C_GetOperationState(session: CK_SESSION_HANDLE, state: Out<u8>, state_len: Out<CK_ULONG>) |p| {
        let (room, answer) = p.session(session, |s| {
            let room = state.room(state_len)?;
            Ok((room, s.operation_state(room)?))
        })?;
        state.give(state_len, room, answer)
    }

    fn C_SetOperationState(
        session: CK_SESSION_HANDLE,
        state: In<u8>,
        state_len: CK_ULONG,
        encryption_key: CK_OBJECT_HANDLE,
        authentication_key: CK_OBJECT_HANDLE,
    ) |p| {
        p.session(session, |s| s.set_operation_state(state.bytes(state_len)?, [encryption_key, authentication_key]))
    }

    fn C_Login(session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: In<u8>, pin_len: CK_ULONG) |p| {
        p.login(session, user, after_session(p, session, pin.bytes_if_any(pin_len))?, None)
    }

    fn C_LoginUser(
        session: CK_SESSION_HANDLE,
        user: CK_USER_TYPE,
        pin: In<u8>,
        pin_len: CK_ULONG,
        name: In<u8>,
        name_len: CK_ULONG,
    ) |p| {
        let pin = after_session(p, session, pin.bytes_if_any(pin_len))?;
        let name = after_session(p, session, name.bytes_if_any(name_len))?;
        p.login(session, user, pin, name)
    }

    fn C_Logout(session: CK_SESSION_HANDLE) |p| {
        p.logout(session)
    }

    /// No validation is claimed, so no flag of any kind is set.
    fn C_GetSessionValidationFlags(
        session: CK_SESSION_HANDLE,
        kind: CK_SESSION_VALIDATION_FLAGS_TYPE,
        flags: Out<CK_FLAGS>,
    ) |p| {
        let _ = kind;
        session_exists(p, session)?;
        flags.put(0)
    }
}
