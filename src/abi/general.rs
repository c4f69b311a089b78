//! General-purpose functions (PKCS#11 3.2 §5.4): initialise, finalise, information, function lists and interfaces.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{Arg, In, Out};
use crate::abi::{guard, list, run};
use crate::error::Result;
use crate::token::{Provider, ck};

cryptoki! {
    fn C_Initialize(args: In<c_void>) {
        run::start(configuration(args.cast())?)
    }

    fn C_Finalize(reserved: In<c_void>) |p| {
        if !reserved.is_null() {
            return Err(ck(CKR_ARGUMENTS_BAD));
        }
        let _ = p;
        run::stop()
    }

    /// Of the interface that C_GetFunctionList gives; the newer tables hold `info_3_0` and `info_3_2`.
    fn C_GetInfo(info: Out<CK_INFO>) |p| {
        let _ = p;
        info.put(Provider::info(list::V2_40))
    }

    fn C_GetFunctionList(functions: Out<*mut CK_FUNCTION_LIST>) {
        functions.put(list::function_list())
    }

    fn C_GetInterfaceList(interfaces: Out<CK_INTERFACE>, count: Out<CK_ULONG>) {
        interfaces.list(count, list::interfaces())
    }

    /// NULL for the name or the version: any. The answer has at least the flags asked for.
    fn C_GetInterface(name: In<u8>, version: In<CK_VERSION>, interface: Out<*mut CK_INTERFACE>, flags: CK_FLAGS) {
        let bad = || ck(CKR_ARGUMENTS_BAD);
        if !name.is_null() && name.c_string(list::NAME.len()).ok().as_deref() != Some(list::NAME) {
            return Err(bad());
        }
        interface.put(list::interface(version.optional(), flags).ok_or_else(bad)?)
    }
}

/// C_GetInfo of the 3.0 interface.
pub(super) unsafe extern "C" fn info_3_0(info: CK_INFO_PTR) -> CK_RV {
    // SAFETY: the caller's promise is passed on.
    unsafe { info_of(info, list::V3_0) }
}

/// C_GetInfo of the 3.2 interface.
pub(super) unsafe extern "C" fn info_3_2(info: CK_INFO_PTR) -> CK_RV {
    // SAFETY: the caller's promise is passed on.
    unsafe { info_of(info, list::V3_2) }
}

unsafe fn info_of(info: CK_INFO_PTR, version: CK_VERSION) -> CK_RV {
    // SAFETY: the argument is the C caller's, who vouches for it while the call lasts.
    let info = unsafe { Out::from_c(info) };
    guard::with("C_GetInfo", move |_| info.put(Provider::info(version)))
}

/// The longest path that C_Initialize takes, in bytes (PATH_MAX).
const MAX_PATH: usize = 4096;

/// What C_Initialize's argument says: the path of the configuration, if `pReserved` is `"conf=PATH"`.
///
/// Locking: the module always uses the system's locks and makes no threads, so every way of asking is fine; the mutex
/// functions are not used, but some without the others are CKR_ARGUMENTS_BAD (PKCS#11 3.2 §5.4.1). Unknown flags are
/// left alone.
fn configuration(args: In<CK_C_INITIALIZE_ARGS>) -> Result<Option<String>> {
    let Some(args) = args.optional() else { return Ok(None) };
    let functions =
        [args.CreateMutex.is_some(), args.DestroyMutex.is_some(), args.LockMutex.is_some(), args.UnlockMutex.is_some()];
    if functions.iter().any(|given| *given != functions[0]) {
        return Err(ck(CKR_ARGUMENTS_BAD));
    }
    if args.pReserved.is_null() {
        return Ok(None);
    }
    // SAFETY: the pointer stands in the caller's arguments; as documented it is a string that ends with NUL.
    let text = unsafe { In::<u8>::from_c(args.pReserved.cast()) }.c_string("conf=".len() + MAX_PATH)?;
    let path = text.strip_prefix(b"conf=").filter(|path| !path.is_empty());
    let path = path.and_then(|path| std::str::from_utf8(path).ok()).ok_or_else(|| ck(CKR_ARGUMENTS_BAD))?;
    Ok(Some(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn lock(_: *mut c_void) -> CK_RV {
        CKR_OK
    }

    fn read(args: CK_C_INITIALIZE_ARGS) -> Result<Option<String>> {
        // SAFETY: `args` lives longer than the call.
        configuration(unsafe { In::from_c((&raw const args).cast_mut()) })
    }

    #[test]
    fn every_way_of_asking() {
        let none = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: 0,
            pReserved: std::ptr::null_mut(),
        };
        for flags in 0..4 {
            assert_eq!(read(CK_C_INITIALIZE_ARGS { flags, ..none }), Ok(None));
        }
        assert_eq!(read(CK_C_INITIALIZE_ARGS { LockMutex: Some(lock), ..none }), Err(ck(CKR_ARGUMENTS_BAD)));
        let with =
            |text: &std::ffi::CStr| read(CK_C_INITIALIZE_ARGS { pReserved: text.as_ptr().cast_mut().cast(), ..none });
        assert_eq!(with(c"conf=/etc/alikms.toml"), Ok(Some("/etc/alikms.toml".into())));
        for text in [c"", c"conf=", c"configdir='x'", c"conf=\xff"] {
            assert_eq!(with(text), Err(ck(CKR_ARGUMENTS_BAD)));
        }
    }
}
