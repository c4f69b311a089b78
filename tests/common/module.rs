//! The module as a program sees it: a file with C functions. Each test loads a copy, which has statics of its own.

use std::ffi::{CString, c_void};
use std::path::{Path, PathBuf};

use cryptoki_sys::*;
use libloading::Library;
use tempfile::TempDir;

/// `cargo test` refreshes only the copy in `deps/`, where the tests lie too; the one above it may be yesterday's.
pub fn module() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
    assert!(path.exists(), "no {}: the cdylib was not built", path.display());
    path
}

/// The module, loaded and initialised with one configuration.
pub struct Module {
    pub list: &'static CK_FUNCTION_LIST,
    library: &'static Library,
    _folder: TempDir,
}

/// Any function of the header: callers on these machines may give more arguments than it takes.
type Any = unsafe extern "C" fn(u64, u64, u64, u64, u64, u64, u64, u64, u64, u64) -> CK_RV;

impl Module {
    pub fn new(config: &Path) -> Self {
        let module = Self::load();
        assert_eq!(module.initialize(config), CKR_OK);
        module
    }

    /// Loaded only.
    pub fn load() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("libalikms_pkcs11.so");
        std::fs::copy(module(), &path).unwrap();
        // SAFETY: what the library does when it is loaded is ours.
        let library: &'static Library = Box::leak(Box::new(unsafe { Library::new(path) }.unwrap()));
        let mut list = std::ptr::null_mut();
        // SAFETY: the function is of this type, and the list it gives is a static of a library that stays.
        let list = unsafe {
            let get: libloading::Symbol<unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV> =
                library.get(b"C_GetFunctionList").unwrap();
            assert_eq!(get(&mut list), CKR_OK);
            &*list
        };
        Self { list, library, _folder: folder }
    }

    pub fn initialize(&self, config: &Path) -> CK_RV {
        let conf = CString::new(format!("conf={}", config.display())).unwrap();
        let mut arguments = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: conf.as_ptr().cast_mut().cast(),
        };
        // SAFETY: the arguments live through the call.
        unsafe { self.list.C_Initialize.unwrap()((&raw mut arguments).cast::<c_void>()) }
    }

    /// Calls a function by name. The arguments must be such that the function may look at all that they point to.
    pub fn call(&self, name: &str, arguments: &[u64]) -> CK_RV {
        let mut all = [0; 10];
        all[..arguments.len()].copy_from_slice(arguments);
        let [a, b, c, d, e, f, g, h, i, j] = all;
        // SAFETY: see above; all arguments of the header are words.
        unsafe { self.library.get::<Any>(name.as_bytes()).unwrap()(a, b, c, d, e, f, g, h, i, j) }
    }

    pub fn slots(&self) -> Vec<CK_SLOT_ID> {
        let mut slots = [0u64; 16];
        let mut count = slots.len() as CK_ULONG;
        assert_eq!(self.call("C_GetSlotList", &[1, slots.as_mut_ptr() as u64, (&raw mut count) as u64]), CKR_OK);
        slots[..count as usize].to_vec()
    }

    /// A session for reading and writing.
    pub fn session(&self) -> CK_SESSION_HANDLE {
        let mut session: CK_SESSION_HANDLE = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let arguments = [self.slots()[0], flags, 0, 0, (&raw mut session) as u64];
        assert_eq!(self.call("C_OpenSession", &arguments), CKR_OK);
        session
    }

    pub fn login(&self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &str) -> CK_RV {
        self.call("C_Login", &[session, user, pin.as_ptr() as u64, pin.len() as u64])
    }
}
