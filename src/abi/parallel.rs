//! Parallel function management (PKCS#11 3.2 §5.20), which is history, and asynchronous functions, which are not offered.

use cryptoki_sys::*;

use crate::abi::args::{In, Out};
use crate::abi::guard::session_exists;
use crate::token::ck;

/// The token reports CKF_ASYNC_SESSION_SUPPORTED as absent.
const NO_ASYNC: &str = "no call is left unfinished: sessions are never asynchronous";

cryptoki! {
    /// Legacy: no function runs in parallel.
    fn C_GetFunctionStatus(session: CK_SESSION_HANDLE) |p| {
        session_exists(p, session)?;
        Err(ck(CKR_FUNCTION_NOT_PARALLEL))
    }

    /// Legacy: no function runs in parallel.
    fn C_CancelFunction(session: CK_SESSION_HANDLE) |p| {
        session_exists(p, session)?;
        Err(ck(CKR_FUNCTION_NOT_PARALLEL))
    }

    fn C_AsyncComplete(session: CK_SESSION_HANDLE, function: In<u8>, result: Out<CK_ASYNC_DATA>) = not_supported(NO_ASYNC);

    fn C_AsyncGetID(session: CK_SESSION_HANDLE, function: In<u8>, id: Out<CK_ULONG>) = not_supported(NO_ASYNC);

    fn C_AsyncJoin(
        session: CK_SESSION_HANDLE,
        function: In<u8>,
        id: CK_ULONG,
        data: Out<u8>,
        data_len: CK_ULONG,
    ) = not_supported(NO_ASYNC);
}
