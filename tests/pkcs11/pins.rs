//! PINs: wrong ones, locks, C_InitPIN, C_SetPIN, C_InitToken.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, PIN, SO_PIN, Setup, b, s, u};

const LOW: CK_FLAGS = CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED;

fn set_pin(c: Client, old: &str, new: &str) -> CK_RV {
    let (old, new) = (old.as_bytes(), new.as_bytes());
    let (a, b) = (old.as_ptr().cast_mut(), new.as_ptr().cast_mut());
    call!(c.m, C_SetPIN(c.h, a, old.len() as CK_ULONG, b, new.len() as CK_ULONG))
}

fn init_pin(c: Client, pin: &str) -> CK_RV {
    call!(c.m, C_InitPIN(c.h, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG))
}

fn init_token(c: &'static crate::support::Module, pin: &str, label: &str) -> CK_RV {
    let mut padded = [b' '; 32];
    padded[..label.len()].copy_from_slice(label.as_bytes());
    call!(c, C_InitToken(c.slot(), pin.as_ptr().cast_mut(), pin.len() as CK_ULONG, padded.as_mut_ptr()))
}

/// A wrong PIN shows, a right one clears it; the ninth says that one try is left, the tenth locks.
#[test]
fn wrong_pins() {
    let installation = Installation::software();
    let m = installation.start();
    let c = Client::open(m);
    assert_eq!(m.token_info().flags & LOW, 0);
    assert_eq!(c.login_as(CKU_USER, "wrong"), CKR_PIN_INCORRECT);
    assert_eq!(m.token_info().flags & LOW, CKF_USER_PIN_COUNT_LOW);
    // Seen by every process.
    assert_eq!(installation.start().token_info().flags & LOW, CKF_USER_PIN_COUNT_LOW);
    c.login();
    assert_eq!(m.token_info().flags & LOW, 0);
    assert_eq!(c.logout(), CKR_OK);
    for _ in 0..9 {
        assert_eq!(c.login_as(CKU_USER, "wrong"), CKR_PIN_INCORRECT);
    }
    assert_eq!(m.token_info().flags & LOW, CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
    assert_eq!(c.login_as(CKU_USER, "wrong"), CKR_PIN_INCORRECT);
    assert_eq!(m.token_info().flags & LOW, CKF_USER_PIN_LOCKED);
    assert_eq!(c.login_as(CKU_USER, PIN), CKR_PIN_LOCKED);
    assert_eq!(c.state(), CKS_RW_PUBLIC_SESSION);
    // The security officer helps.
    c.login_so();
    assert_eq!(init_pin(c, "a new pin"), CKR_OK);
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(m.token_info().flags & LOW, 0);
    assert_eq!(c.login_as(CKU_USER, PIN), CKR_PIN_INCORRECT);
    assert_eq!(c.login_as(CKU_USER, "a new pin"), CKR_OK);
}

#[test]
fn the_officers_pin_counts_too() {
    let installation = Installation::software();
    let m = installation.start();
    let c = Client::open(m);
    assert_eq!(c.login_as(CKU_SO, "wrong"), CKR_PIN_INCORRECT);
    assert_eq!(m.token_info().flags & (CKF_SO_PIN_COUNT_LOW | LOW), CKF_SO_PIN_COUNT_LOW);
    c.login_so();
    assert_eq!(m.token_info().flags & CKF_SO_PIN_COUNT_LOW, 0);
}

#[test]
fn changing_pins() {
    let installation = Installation::software();
    let m = installation.start();
    let (c, ro) = (Client::open(m), Client::open_read_only(m));
    assert_eq!(set_pin(ro, PIN, "new pin"), CKR_SESSION_READ_ONLY);
    let null = std::ptr::null_mut();
    assert_eq!(call!(m, C_SetPIN(c.h, null, 0, null, 0)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(m, C_SetPIN(c.h + 1, null, 0, null, 0)), CKR_SESSION_HANDLE_INVALID);
    ro.close();
    for new in ["", "abc", &"x".repeat(256)] {
        assert_eq!(set_pin(c, PIN, new), CKR_PIN_LEN_RANGE);
    }
    for old in ["wrong", "x", ""] {
        assert_eq!(set_pin(c, old, "new pin"), CKR_PIN_INCORRECT);
    }
    // Not logged in: the user's PIN; again and again.
    assert_eq!(set_pin(c, PIN, "second pin"), CKR_OK);
    assert_eq!(set_pin(c, "second pin", "drittes Schlüsselwort"), CKR_OK);
    assert_eq!(c.login_as(CKU_USER, PIN), CKR_PIN_INCORRECT);
    assert_eq!(c.login_as(CKU_USER, "drittes Schlüsselwort"), CKR_OK);
    assert_eq!(set_pin(c, "drittes Schlüsselwort", PIN), CKR_OK);
    assert_eq!(c.state(), CKS_RW_USER_FUNCTIONS);
    assert_eq!(c.logout(), CKR_OK);
    // Logged in as security officer: that one's.
    c.login_so();
    assert_eq!(set_pin(c, SO_PIN, "officer two"), CKR_OK);
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(c.login_as(CKU_SO, SO_PIN), CKR_PIN_INCORRECT);
    assert_eq!(c.login_as(CKU_SO, "officer two"), CKR_OK);
}

#[test]
fn c_init_pin() {
    let installation = Installation::software();
    let m = installation.start();
    let c = Client::open(m);
    assert_eq!(init_pin(c, "new pin"), CKR_USER_NOT_LOGGED_IN);
    c.login();
    assert_eq!(init_pin(c, "new pin"), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(c.logout(), CKR_OK);
    c.login_so();
    assert_eq!(call!(m, C_InitPIN(c.h, std::ptr::null_mut(), 0)), CKR_ARGUMENTS_BAD);
    assert_eq!(init_pin(c, "abc"), CKR_PIN_LEN_RANGE);
    for pin in ["new pin", "newer pin"] {
        assert_eq!(init_pin(c, pin), CKR_OK);
    }
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(c.login_as(CKU_USER, "newer pin"), CKR_OK);
}

/// The keys are the same after a PIN change, and another process that is logged in goes on.
#[test]
fn a_new_pin_opens_the_same_keys() {
    let installation =
        Installation::new(&Setup { unlock_by_pin: true, token: "destroy = \"immediate\"", ..Setup::default() });
    let c = installation.client();
    let (_, key) = c.ec_pair(crate::support::P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
    assert_eq!(set_pin(c, PIN, "second pin"), CKR_OK);
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
    let other = Client::open(installation.start());
    assert_eq!(other.login_as(CKU_USER, "second pin"), CKR_OK);
    let key = other.one(CKO_PRIVATE_KEY, "web");
    other.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
}

/// From nothing, by PKCS#11 alone: C_InitToken, C_InitPIN, login, a key; then again.
#[test]
fn c_init_token() {
    let installation = Installation::new(&Setup { bare: true, token: "destroy = \"immediate\"", ..Setup::default() });
    let m = installation.start();
    assert_eq!(m.token_info().flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), 0);
    assert_eq!(init_token(m, "officer", "alikms"), CKR_OK);
    assert_eq!(m.token_info().flags & (CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED), CKF_TOKEN_INITIALIZED);
    for round in 0..2 {
        let c = Client::open(m);
        assert_eq!(c.login_as(CKU_USER, PIN), CKR_USER_PIN_NOT_INITIALIZED);
        assert_eq!(c.login_as(CKU_SO, "officer"), CKR_OK);
        assert_eq!(init_pin(c, PIN), CKR_OK);
        assert_eq!(c.logout(), CKR_OK);
        c.login();
        assert_eq!(c.find(&[]).len(), 0, "round {round}");
        c.aes(32, &[b(CKA_TOKEN, true), s(CKA_LABEL, "k")]);
        assert_eq!(init_token(m, "officer", "alikms"), CKR_SESSION_EXISTS);
        c.close();
        assert_eq!(init_token(m, "wrong pin", "alikms"), CKR_PIN_INCORRECT);
        assert_eq!(init_token(m, "officer", "Schlüssel für alle"), CKR_OK);
        let info = m.token_info();
        assert_eq!(std::str::from_utf8(&info.label).unwrap().trim_end(), "Schlüssel für alle");
    }
    // A C string (PyKCS11): nothing behind its NUL is read as label, or read at all.
    let mut short = *b"my label\0\xff\xff";
    assert_eq!(call!(m, C_InitToken(m.slot(), b"officer".as_ptr().cast_mut(), 7, short.as_mut_ptr())), CKR_OK);
    assert_eq!(std::str::from_utf8(&m.token_info().label).unwrap().trim_end(), "my label");
    assert_eq!(call!(m, C_InitToken(m.slot(), std::ptr::null_mut(), 0, [b' '; 32].as_mut_ptr())), CKR_ARGUMENTS_BAD);
    let pin = b"officer".as_ptr().cast_mut();
    assert_eq!(call!(m, C_InitToken(m.slot(), pin, 7, std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

/// Keys are not thrown away by a tool's button (DESIGN §3).
#[test]
fn a_token_with_keys_is_protected() {
    let installation = Installation::software();
    let m = installation.start();
    assert_eq!(init_token(m, SO_PIN, "alikms"), CKR_OK, "without keys it may be");
    let installation = Installation::software();
    installation.create_key("web", &["--KeySpec=EC_P256"]);
    let m = installation.start();
    assert_eq!(init_token(m, SO_PIN, "alikms"), CKR_TOKEN_WRITE_PROTECTED);
    let c = Client::open(m);
    c.login();
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY)]).len(), 1);
}
