//! C_Initialize and C_Finalize: every form of the argument, every order of calls.

use std::ffi::CString;
use std::path::Path;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Module, Setup};

unsafe extern "C" fn create(_: CK_VOID_PTR_PTR) -> CK_RV {
    CKR_OK
}

unsafe extern "C" fn with(_: CK_VOID_PTR) -> CK_RV {
    CKR_OK
}

fn args(conf: &std::ffi::CStr) -> CK_C_INITIALIZE_ARGS {
    CK_C_INITIALIZE_ARGS {
        CreateMutex: None,
        DestroyMutex: None,
        LockMutex: None,
        UnlockMutex: None,
        flags: 0,
        pReserved: conf.as_ptr().cast_mut().cast(),
    }
}

fn conf(path: &Path) -> CString {
    CString::new(format!("conf={}", path.display())).unwrap()
}

fn initialize(m: &Module, mut args: CK_C_INITIALIZE_ARGS) -> CK_RV {
    call!(m, C_Initialize((&raw mut args).cast()))
}

#[test]
fn every_form_of_locking() {
    let installation = Installation::software();
    let m = installation.load();
    let text = conf(&installation.conf());
    let none = args(&text);
    let all = CK_C_INITIALIZE_ARGS {
        CreateMutex: Some(create),
        DestroyMutex: Some(with),
        LockMutex: Some(with),
        UnlockMutex: Some(with),
        ..none
    };
    for form in [none, all] {
        for flags in [0, CKF_OS_LOCKING_OK, CKF_LIBRARY_CANT_CREATE_OS_THREADS, 3] {
            assert_eq!(initialize(m, CK_C_INITIALIZE_ARGS { flags, ..form }), CKR_OK);
            assert_eq!(m.slots().len(), 1);
            assert_eq!(m.finalize(), CKR_OK);
        }
    }
    let some = CK_C_INITIALIZE_ARGS { UnlockMutex: None, ..all };
    assert_eq!(initialize(m, some), CKR_ARGUMENTS_BAD);
    for text in [c"", c"conf=", c"configdir='/tmp'", c"conf"] {
        assert_eq!(initialize(m, args(text)), CKR_ARGUMENTS_BAD);
        assert_eq!(call!(m, C_GetInfo(std::ptr::null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}

#[test]
fn twice_and_again() {
    let installation = Installation::software();
    let m = installation.load();
    assert_eq!(m.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
    for _ in 0..3 {
        m.initialize(&installation.conf());
        assert_eq!(m.try_initialize(&installation.conf()), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        assert_eq!(call!(m, C_Initialize(std::ptr::null_mut())), CKR_CRYPTOKI_ALREADY_INITIALIZED);
        let c = Client::open(m);
        c.login();
        let mut reserved = 0u8;
        assert_eq!(call!(m, C_Finalize((&raw mut reserved).cast())), CKR_ARGUMENTS_BAD);
        assert_eq!(c.state(), CKS_RW_USER_FUNCTIONS, "a refused C_Finalize changes nothing");
        assert_eq!(m.finalize(), CKR_OK);
        assert_eq!(m.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
        assert_eq!(call!(m, C_CloseSession(c.h)), CKR_CRYPTOKI_NOT_INITIALIZED);
        // Neither sessions nor logins outlive it.
        m.initialize(&installation.conf());
        assert_eq!(call!(m, C_CloseSession(c.h)), CKR_SESSION_HANDLE_INVALID);
        let c = Client::open(m);
        assert_eq!(c.state(), CKS_RW_PUBLIC_SESSION);
        assert_eq!(m.finalize(), CKR_OK);
    }
}

/// The same library under two paths: two modules that know nothing of each other.
#[test]
fn two_copies() {
    let installation = Installation::software();
    let (one, other) = (installation.start(), installation.load());
    assert_eq!(call!(other, C_GetInfo(std::ptr::null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    other.initialize(&installation.conf());
    let (a, b) = (Client::open(one), Client::open(other));
    a.login();
    assert_eq!((a.state(), b.state()), (CKS_RW_USER_FUNCTIONS, CKS_RW_PUBLIC_SESSION));
    assert_eq!(one.finalize(), CKR_OK);
    assert_eq!(b.state(), CKS_RW_PUBLIC_SESSION);
}

#[test]
fn unusable_configurations() {
    let installation = Installation::new(&Setup { bare: true, ..Setup::default() });
    let m = installation.load();
    assert_eq!(m.try_initialize(&installation.path("nothing.toml")), CKR_GENERAL_ERROR);
    std::fs::write(installation.path("wrong.toml"), "[store\n").unwrap();
    assert_eq!(m.try_initialize(&installation.path("wrong.toml")), CKR_GENERAL_ERROR);
    std::fs::write(installation.path("misspelt.toml"), "[store]\nurll = \"sqlite:/nowhere\"\n").unwrap();
    assert_eq!(m.try_initialize(&installation.path("misspelt.toml")), CKR_GENERAL_ERROR);
    assert_eq!(call!(m, C_GetInfo(std::ptr::null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    // A later try with a right one is not spoilt.
    m.initialize(&installation.conf());
}
