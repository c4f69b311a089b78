//! A loaded copy of the library.

use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use cryptoki_sys::*;
use libloading::os::unix::Library;

/// A copy of `libalikms_pkcs11.so` with statics of its own. It is never unloaded (`-z nodelete`).
pub struct Module {
    pub path: PathBuf,
    list: *const CK_FUNCTION_LIST_3_2,
}

// SAFETY: the table is never written to.
unsafe impl Send for Module {}
// SAFETY: the table is never written to.
unsafe impl Sync for Module {}

/// `cargo test` refreshes only the library in `deps/`, beside the test itself. Without debug information it is half as big.
fn stripped() -> &'static Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    BYTES.get_or_init(|| {
        // Another build of it, as it is: ci/sanitize.sh.
        if let Some(given) = std::env::var_os("ALIKMS_TEST_MODULE") {
            return std::fs::read(given).unwrap();
        }
        let fresh = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
        let dir = tempfile::tempdir().unwrap();
        let small = dir.path().join("small.so");
        let done = Command::new("strip").arg("-g").arg("-o").arg(&small).arg(&fresh).status();
        let file = if done.is_ok_and(|status| status.success()) { small } else { fresh };
        std::fs::read(file).unwrap()
    })
}

impl Module {
    /// Writes a copy to `path`.
    pub fn write(path: &Path) {
        std::fs::write(path, stripped()).unwrap();
    }

    /// Writes a copy to `path` and loads it.
    pub fn load(path: &Path) -> &'static Self {
        Self::write(path);
        Self::open(path)
    }

    /// Loads a copy that is there already.
    pub fn open(path: &Path) -> &'static Self {
        // SAFETY: our library; its initialisers do nothing but register a finaliser.
        let library = unsafe { Library::open(Some(path), libc::RTLD_NOW | libc::RTLD_LOCAL) }.unwrap();
        let mut interface: *mut CK_INTERFACE = std::ptr::null_mut();
        let mut version = CK_VERSION { major: 3, minor: 2 };
        // SAFETY: the symbol has the type that PKCS#11 gives it.
        let rv = unsafe {
            let get = library.get::<unsafe extern "C" fn(
                CK_UTF8CHAR_PTR,
                CK_VERSION_PTR,
                CK_INTERFACE_PTR_PTR,
                CK_FLAGS,
            ) -> CK_RV>(b"C_GetInterface");
            get.unwrap()(std::ptr::null_mut(), &raw mut version, &raw mut interface, 0)
        };
        assert_eq!(rv, CKR_OK);
        std::mem::forget(library);
        // SAFETY: C_GetInterface answered with an interface of version 3.2.
        let list = unsafe { (*interface).pFunctionList }.cast_const().cast();
        Box::leak(Box::new(Self { path: path.to_owned(), list }))
    }

    pub fn table(&self) -> &CK_FUNCTION_LIST_3_2 {
        // SAFETY: see `load`; the library stays.
        unsafe { &*self.list }
    }

    /// C_Initialize with `pReserved = "conf=PATH"`.
    pub fn try_initialize(&self, conf: &Path) -> CK_RV {
        let conf = super::agent::seen_by_clients(conf);
        let text = CString::new(format!("conf={}", conf.display())).unwrap();
        let mut args = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: text.as_ptr().cast_mut().cast(),
        };
        crate::call!(self, C_Initialize((&raw mut args).cast()))
    }

    pub fn initialize(&self, conf: &Path) {
        assert_eq!(self.try_initialize(conf), CKR_OK, "C_Initialize");
    }

    pub fn finalize(&self) -> CK_RV {
        crate::call!(self, C_Finalize(std::ptr::null_mut()))
    }

    /// The slots, all of them.
    pub fn slots(&self) -> Vec<CK_SLOT_ID> {
        let mut count = 0;
        assert_eq!(crate::call!(self, C_GetSlotList(CK_TRUE, std::ptr::null_mut(), &raw mut count)), CKR_OK);
        let mut slots = vec![0; count as usize];
        assert_eq!(crate::call!(self, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)), CKR_OK);
        slots
    }

    pub fn slot(&self) -> CK_SLOT_ID {
        self.slots()[0]
    }

    pub fn token_info(&self) -> CK_TOKEN_INFO {
        // SAFETY: plain data.
        let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
        assert_eq!(crate::call!(self, C_GetTokenInfo(self.slot(), &raw mut info)), CKR_OK);
        info
    }

    pub fn mechanisms(&self) -> Vec<CK_MECHANISM_TYPE> {
        let (slot, mut count) = (self.slot(), 0);
        assert_eq!(crate::call!(self, C_GetMechanismList(slot, std::ptr::null_mut(), &raw mut count)), CKR_OK);
        let mut list = vec![0; count as usize];
        assert_eq!(crate::call!(self, C_GetMechanismList(slot, list.as_mut_ptr(), &raw mut count)), CKR_OK);
        list
    }

    pub fn mechanism_info(&self, kind: CK_MECHANISM_TYPE) -> Result<CK_MECHANISM_INFO, CK_RV> {
        let mut info = CK_MECHANISM_INFO { ulMinKeySize: 99, ulMaxKeySize: 99, flags: CK_ULONG::MAX };
        match crate::call!(self, C_GetMechanismInfo(self.slot(), kind, &raw mut info)) {
            CKR_OK => Ok(info),
            rv => Err(rv),
        }
    }
}

/// For messages.
pub fn rv_name(rv: CK_RV) -> String {
    format!("{rv:#x}")
}
