//! Interfaces, function tables, slots and tokens: what a client learns before it opens a session.

use std::ffi::CStr;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Module, Setup};

fn text(field: &[u8]) -> &str {
    let text = std::str::from_utf8(field).expect("UTF-8");
    assert!(!text.contains('\0'), "{text:?} holds NUL");
    text.trim_end_matches(' ')
}

fn interface(
    m: &Module,
    name: Option<&CStr>,
    version: Option<(u8, u8)>,
    flags: CK_FLAGS,
) -> Result<CK_INTERFACE, CK_RV> {
    let mut version = version.map(|(major, minor)| CK_VERSION { major, minor });
    let version = version.as_mut().map_or(std::ptr::null_mut(), |version| &raw mut *version);
    let name = name.map_or(std::ptr::null_mut(), |name| name.as_ptr().cast_mut().cast());
    let mut found = std::ptr::null_mut();
    match call!(m, C_GetInterface(name, version, &raw mut found, flags)) {
        // SAFETY: the answer is an interface of the module's.
        CKR_OK => Ok(unsafe { *found }),
        rv => Err(rv),
    }
}

fn version_of(interface: &CK_INTERFACE) -> (u8, u8) {
    // SAFETY: every function table begins with its version.
    let version = unsafe { *interface.pFunctionList.cast::<CK_VERSION>() };
    (version.major, version.minor)
}

#[test]
fn interfaces() {
    let installation = Installation::software();
    let m = installation.load();
    let standard = Some(c"PKCS 11");
    // Before C_Initialize, as NSS and pkcs11-provider ask; the default is the newest.
    for name in [None, standard] {
        assert_eq!(version_of(&interface(m, name, None, 0).unwrap()), (3, 2));
        for version in [(3, 2), (3, 0), (2, 40)] {
            for flags in [0, CKF_INTERFACE_FORK_SAFE] {
                let found = interface(m, name, Some(version), flags).unwrap();
                assert_eq!(version_of(&found), version);
                assert_eq!(found.flags, CKF_INTERFACE_FORK_SAFE);
                // SAFETY: a C string of the module's.
                assert_eq!(unsafe { CStr::from_ptr(found.pInterfaceName.cast()) }, c"PKCS 11");
            }
        }
    }
    for version in [(3, 1), (2, 20), (4, 0), (0, 0)] {
        assert_eq!(interface(m, standard, Some(version), 0).unwrap_err(), CKR_ARGUMENTS_BAD);
    }
    for name in [c"", c"PKCS 1", c"PKCS 111", c"pkcs 11", c"Vendor NSS FIPS Interface"] {
        assert_eq!(interface(m, Some(name), None, 0).unwrap_err(), CKR_ARGUMENTS_BAD);
    }
    assert_eq!(interface(m, standard, None, 2).unwrap_err(), CKR_ARGUMENTS_BAD);
    let null = std::ptr::null_mut();
    assert_eq!(call!(m, C_GetInterface(null, std::ptr::null_mut(), std::ptr::null_mut(), 0)), CKR_ARGUMENTS_BAD);
}

#[test]
fn the_list_of_interfaces() {
    let installation = Installation::software();
    let m = installation.load();
    let mut count = 77;
    assert_eq!(call!(m, C_GetInterfaceList(std::ptr::null_mut(), &raw mut count)), CKR_OK);
    assert_eq!(count, 3);
    let blank = CK_INTERFACE { pInterfaceName: std::ptr::null_mut(), pFunctionList: std::ptr::null_mut(), flags: 0 };
    let mut list = [blank; 5];
    count = 2;
    assert_eq!(call!(m, C_GetInterfaceList(list.as_mut_ptr(), &raw mut count)), CKR_BUFFER_TOO_SMALL);
    assert_eq!((count, list[0].pFunctionList), (3, std::ptr::null_mut()));
    count = 5;
    assert_eq!(call!(m, C_GetInterfaceList(list.as_mut_ptr(), &raw mut count)), CKR_OK);
    assert_eq!(count, 3);
    assert_eq!(list[..3].iter().map(version_of).collect::<Vec<_>>(), [(3, 2), (3, 0), (2, 40)]);
    assert_eq!(call!(m, C_GetInterfaceList(list.as_mut_ptr(), std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

/// Each table tells its own version, by its own C_GetInfo too.
#[test]
fn tables_tell_the_truth() {
    let installation = Installation::software();
    let m = installation.start();
    for version in [(2, 40), (3, 0), (3, 2)] {
        let table = interface(m, None, Some(version), 0).unwrap().pFunctionList.cast::<CK_FUNCTION_LIST>();
        // SAFETY: plain data.
        let mut info: CK_INFO = unsafe { std::mem::zeroed() };
        // SAFETY: each table begins with the functions of 2.40, and none of them is missing.
        assert_eq!(unsafe { ((*table).C_GetInfo.unwrap())(&raw mut info) }, CKR_OK);
        assert_eq!((info.cryptokiVersion.major, info.cryptokiVersion.minor), version);
        assert_eq!(text(&info.manufacturerID), "alikms");
        assert_eq!(text(&info.libraryDescription), "alikms-pkcs11");
        assert_eq!(info.flags, 0);
        let own = (env!("CARGO_PKG_VERSION_MAJOR").parse().unwrap(), env!("CARGO_PKG_VERSION_MINOR").parse().unwrap());
        assert_eq!((info.libraryVersion.major, info.libraryVersion.minor), own);
        let words = match version {
            (2, 40) => size_of::<CK_FUNCTION_LIST>(),
            (3, 0) => size_of::<CK_FUNCTION_LIST_3_0>(),
            _ => size_of::<CK_FUNCTION_LIST_3_2>(),
        } / size_of::<usize>();
        // SAFETY: the table is as long as its version says; behind the version there are only pointers.
        let entries = unsafe { std::slice::from_raw_parts(table.cast::<usize>(), words) };
        assert!(entries[1..].iter().all(|entry| *entry != 0), "a function is missing in {version:?}");
    }
    assert_eq!(call!(m, C_GetInfo(std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

#[test]
fn the_function_list_is_always_the_same() {
    let installation = Installation::software();
    let m = installation.load();
    let list = || {
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        assert_eq!(call!(m, C_GetFunctionList(&raw mut list)), CKR_OK);
        // SAFETY: the answer is a table of 2.40, which is as long as the type.
        let words = unsafe {
            std::slice::from_raw_parts(list.cast::<usize>(), size_of::<CK_FUNCTION_LIST>() / size_of::<usize>())
        };
        (list, words.to_vec())
    };
    let before = list();
    m.initialize(&installation.conf());
    assert_eq!(list(), before);
    assert_eq!(m.finalize(), CKR_OK);
    assert_eq!(list(), before);
    assert_eq!(call!(m, C_GetFunctionList(std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

#[test]
fn slots_and_tokens() {
    let installation = Installation::new(&Setup {
        token: "[[token]]\nlabel = \"zweites Schlüsselbrett\"\naccount = \"1000000000000002\"\nregion = \"cn-hangzhou\"\n",
        ..Setup::default()
    });
    let m = installation.start();
    let slots = m.slots();
    assert_eq!(slots.len(), 2);
    for present in [CK_FALSE, CK_TRUE] {
        let (mut room, mut count) = ([0; 4], 1);
        assert_eq!(call!(m, C_GetSlotList(present, room.as_mut_ptr(), &raw mut count)), CKR_BUFFER_TOO_SMALL);
        assert_eq!((count, room), (2, [0; 4]));
        count = 4;
        assert_eq!(call!(m, C_GetSlotList(present, room.as_mut_ptr(), &raw mut count)), CKR_OK);
        assert_eq!((count, &room[..2]), (2, &slots[..]));
        assert_eq!(call!(m, C_GetSlotList(present, room.as_mut_ptr(), std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
    }
    for (slot, label) in slots.iter().zip(["alikms", "zweites Schlüsselbrett"]) {
        assert!(*slot > 0 && *slot <= 0x7fff_ffff, "slot ID {slot}");
        // SAFETY: plain data.
        let (mut info, mut token): (CK_SLOT_INFO, CK_TOKEN_INFO) = unsafe { std::mem::zeroed() };
        assert_eq!(call!(m, C_GetSlotInfo(*slot, &raw mut info)), CKR_OK);
        assert_eq!(text(&info.slotDescription), format!("alikms {label}"));
        assert_eq!(text(&info.manufacturerID), "alikms");
        assert_eq!(info.flags, CKF_TOKEN_PRESENT);
        assert_eq!(call!(m, C_GetTokenInfo(*slot, &raw mut token)), CKR_OK);
        assert_eq!(text(&token.label), label);
        assert_eq!(text(&token.model), "alikms-pkcs11");
        assert_eq!(text(&token.serialNumber).len(), 16);
        let flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_USER_PIN_INITIALIZED | CKF_TOKEN_INITIALIZED;
        assert_eq!(token.flags, flags | CKF_DUAL_CRYPTO_OPERATIONS);
        assert_eq!(
            (token.ulMaxSessionCount, token.ulMaxRwSessionCount),
            (CK_EFFECTIVELY_INFINITE, CK_EFFECTIVELY_INFINITE)
        );
        assert_eq!((token.ulMinPinLen, token.ulMaxPinLen), (4, 255));
    }
    // The same in every process: identity decides, not order.
    assert_eq!(installation.start().slots(), slots);

    let one = Client::open(m);
    let other = Client::open_read_only(m);
    let info = m.token_info();
    assert_eq!((info.ulSessionCount, info.ulRwSessionCount), (2, 1));
    one.close();
    other.close();
    assert_eq!(m.token_info().ulSessionCount, 0);
}

#[test]
fn unknown_slots() {
    let installation = Installation::software();
    let m = installation.start();
    for slot in [0, m.slot() + 1, CK_ULONG::MAX] {
        // SAFETY: plain data.
        let (mut info, mut token): (CK_SLOT_INFO, CK_TOKEN_INFO) = unsafe { std::mem::zeroed() };
        // SAFETY: plain data.
        let mut mechanism: CK_MECHANISM_INFO = unsafe { std::mem::zeroed() };
        let (mut count, mut session) = (0, 0);
        let null = std::ptr::null_mut();
        assert_eq!(call!(m, C_GetSlotInfo(slot, &raw mut info)), CKR_SLOT_ID_INVALID);
        assert_eq!(call!(m, C_GetTokenInfo(slot, &raw mut token)), CKR_SLOT_ID_INVALID);
        assert_eq!(call!(m, C_GetMechanismList(slot, std::ptr::null_mut(), &raw mut count)), CKR_SLOT_ID_INVALID);
        assert_eq!(call!(m, C_GetMechanismInfo(slot, CKM_RSA_PKCS, &raw mut mechanism)), CKR_SLOT_ID_INVALID);
        let flags = CKF_SERIAL_SESSION;
        assert_eq!(call!(m, C_OpenSession(slot, flags, null, None, &raw mut session)), CKR_SLOT_ID_INVALID);
        assert_eq!(call!(m, C_CloseAllSessions(slot)), CKR_SLOT_ID_INVALID);
        let (pin, label) = (b"1234".as_ptr().cast_mut(), [b' '; 32].as_mut_ptr());
        assert_eq!(call!(m, C_InitToken(slot, pin, 4, label)), CKR_SLOT_ID_INVALID);
    }
}

#[test]
fn slot_events() {
    let installation = Installation::software();
    let m = installation.start();
    let mut slot = 0;
    let null = std::ptr::null_mut();
    assert_eq!(call!(m, C_WaitForSlotEvent(CKF_DONT_BLOCK, &raw mut slot, null)), CKR_NO_EVENT);
    assert_eq!(call!(m, C_WaitForSlotEvent(0, &raw mut slot, null)), CKR_FUNCTION_NOT_SUPPORTED);
    assert_eq!(call!(m, C_WaitForSlotEvent(CKF_DONT_BLOCK, std::ptr::null_mut(), null)), CKR_ARGUMENTS_BAD);
    let reserved = (&raw mut slot).cast();
    assert_eq!(call!(m, C_WaitForSlotEvent(CKF_DONT_BLOCK, &raw mut slot, reserved)), CKR_ARGUMENTS_BAD);
}

#[test]
fn random_numbers() {
    let installation = Installation::software();
    let c = Client::open(installation.start());
    let mut bytes = [0u8; 4096 + 16];
    bytes[4096..].fill(0xa5);
    assert_eq!(call!(c.m, C_GenerateRandom(c.h, bytes.as_mut_ptr(), 4096)), CKR_OK);
    assert!(bytes[..4096].chunks(16).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
    assert_eq!(bytes[4096..], [0xa5; 16]);
    assert_eq!(call!(c.m, C_GenerateRandom(c.h, bytes.as_mut_ptr(), 0)), CKR_OK);
    assert_eq!(call!(c.m, C_GenerateRandom(c.h, std::ptr::null_mut(), 0)), CKR_OK);
    assert_eq!(call!(c.m, C_GenerateRandom(c.h, std::ptr::null_mut(), 1)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(c.m, C_SeedRandom(c.h, bytes.as_mut_ptr(), 4)), CKR_RANDOM_SEED_NOT_SUPPORTED);
    assert_eq!(call!(c.m, C_GenerateRandom(c.h + 1, bytes.as_mut_ptr(), 1)), CKR_SESSION_HANDLE_INVALID);
}

/// C_Initialize and everything that is only information work with device and store out of reach (DESIGN §7).
#[test]
fn offline() {
    let installation = Installation::new(&Setup { device: true, bare: true, ..Setup::default() });
    std::fs::remove_dir_all(installation.path("tokens")).unwrap();
    let m = installation.load();
    m.initialize(&installation.conf());
    let info = m.token_info();
    assert_eq!(text(&info.label), "alikms");
    assert_eq!(info.flags, CKF_RNG | CKF_LOGIN_REQUIRED | CKF_DUAL_CRYPTO_OPERATIONS);
    assert!(m.mechanisms().len() > 40);
    let c = Client::open(m);
    assert_eq!(c.login_as(CKU_USER, "1234"), CKR_USER_PIN_NOT_INITIALIZED);
    assert_eq!(m.finalize(), CKR_OK);
}
