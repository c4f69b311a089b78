//! Sessions and logins: states, flags and codes.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, PIN, SO_PIN, b, s, u};

const RO: CK_FLAGS = CKF_SERIAL_SESSION;

#[test]
fn sessions() {
    let installation = Installation::software();
    let m = installation.start();
    let slot = m.slot();
    let open = |flags| Client::try_open(m, slot, flags).map(|_| ());
    assert_eq!(open(0), Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
    assert_eq!(open(CKF_RW_SESSION), Err(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
    let null = std::ptr::null_mut();
    assert_eq!(call!(m, C_OpenSession(slot, RO, null, None, std::ptr::null_mut())), CKR_ARGUMENTS_BAD);

    let (ro, rw) = (Client::open_read_only(m), Client::open(m));
    assert_ne!(ro.h, rw.h);
    for (c, flags) in [(ro, RO), (rw, RO | CKF_RW_SESSION)] {
        // SAFETY: plain data.
        let mut info: CK_SESSION_INFO = unsafe { std::mem::zeroed() };
        assert_eq!(call!(m, C_GetSessionInfo(c.h, &raw mut info)), CKR_OK);
        assert_eq!((info.slotID, info.flags, info.ulDeviceError), (slot, flags, 0));
        assert_eq!(call!(m, C_GetSessionInfo(c.h, std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
    }
    ro.close();
    assert_eq!(call!(m, C_CloseSession(ro.h)), CKR_SESSION_HANDLE_INVALID);
    for wrong in [0, ro.h, rw.h ^ 1, CK_ULONG::MAX] {
        assert_eq!(call!(m, C_GetSessionInfo(wrong, std::ptr::null_mut())), CKR_SESSION_HANDLE_INVALID);
    }
    // A handle never comes back.
    let next = Client::open_read_only(m);
    assert_ne!(next.h, ro.h);
    assert_eq!(call!(m, C_CloseAllSessions(slot)), CKR_OK);
    assert_eq!(call!(m, C_CloseAllSessions(slot)), CKR_OK);
    assert_eq!(call!(m, C_CloseSession(next.h)), CKR_SESSION_HANDLE_INVALID);
    assert_eq!(m.token_info().ulSessionCount, 0);
}

#[test]
fn many_sessions() {
    let installation = Installation::software();
    let m = installation.start();
    let all: Vec<_> = (0..2000).map(|_| Client::open_read_only(m)).collect();
    assert_eq!(m.token_info().ulSessionCount, 2000);
    for c in all.iter().step_by(2) {
        c.close();
    }
    assert_eq!(m.token_info().ulSessionCount, 1000);
    assert_eq!(all[1].state(), CKS_RO_PUBLIC_SESSION);
}

/// The states of all sessions follow the login.
#[test]
fn states_follow_the_login() {
    let installation = Installation::software();
    let m = installation.start();
    let (ro, rw) = (Client::open_read_only(m), Client::open(m));
    assert_eq!((ro.state(), rw.state()), (CKS_RO_PUBLIC_SESSION, CKS_RW_PUBLIC_SESSION));
    assert_eq!(ro.logout(), CKR_USER_NOT_LOGGED_IN);
    ro.login();
    assert_eq!((ro.state(), rw.state()), (CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS));
    assert_eq!(rw.login_as(CKU_USER, PIN), CKR_USER_ALREADY_LOGGED_IN);
    assert_eq!(rw.login_as(CKU_SO, SO_PIN), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    let late = Client::open_read_only(m);
    assert_eq!(late.state(), CKS_RO_USER_FUNCTIONS);
    assert_eq!(rw.logout(), CKR_OK);
    assert_eq!((ro.state(), rw.state()), (CKS_RO_PUBLIC_SESSION, CKS_RW_PUBLIC_SESSION));
    assert_eq!(rw.logout(), CKR_USER_NOT_LOGGED_IN);
}

#[test]
fn the_security_officer() {
    let installation = Installation::software();
    let m = installation.start();
    let ro = Client::open_read_only(m);
    let rw = Client::open(m);
    assert_eq!(rw.login_as(CKU_SO, SO_PIN), CKR_SESSION_READ_ONLY_EXISTS);
    ro.close();
    rw.login_so();
    assert_eq!(rw.state(), CKS_RW_SO_FUNCTIONS);
    assert_eq!(Client::try_open(m, m.slot(), RO).map(|_| ()), Err(CKR_SESSION_READ_WRITE_SO_EXISTS));
    assert_eq!(rw.another().state(), CKS_RW_SO_FUNCTIONS);
    assert_eq!(rw.login_as(CKU_SO, SO_PIN), CKR_USER_ALREADY_LOGGED_IN);
    assert_eq!(rw.login_as(CKU_USER, PIN), CKR_USER_ANOTHER_ALREADY_LOGGED_IN);
    // No key is used or made.
    let private = rw.ec_pair(crate::support::P256, &[]);
    assert_eq!(private.unwrap_err(), CKR_USER_NOT_LOGGED_IN);
    let data = [u(CKA_CLASS, CKO_DATA), b(CKA_TOKEN, true), s(CKA_LABEL, "x"), b(CKA_PRIVATE, false)];
    assert_eq!(rw.create(&data).unwrap_err(), CKR_USER_NOT_LOGGED_IN);
    assert_eq!(rw.logout(), CKR_OK);
    rw.login();
}

#[test]
fn arguments_of_login() {
    let installation = Installation::software();
    let m = installation.start();
    let c = Client::open(m);
    assert_eq!(call!(m, C_Login(c.h + 1, CKU_USER, std::ptr::null_mut(), 0)), CKR_SESSION_HANDLE_INVALID);
    assert_eq!(call!(m, C_Login(c.h, CKU_USER, std::ptr::null_mut(), 0)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(m, C_Login(c.h, CKU_USER, std::ptr::null_mut(), 4)), CKR_ARGUMENTS_BAD);
    for user in [3, 99, CK_ULONG::MAX] {
        assert_eq!(c.login_as(user, PIN), CKR_USER_TYPE_INVALID);
    }
    assert_eq!(c.login_as(CKU_CONTEXT_SPECIFIC, PIN), CKR_OPERATION_NOT_INITIALIZED);
    // Not a PIN at all: not the right one, and no attempt is lost.
    for pin in ["", "abc", &"x".repeat(256)] {
        assert_eq!(c.login_as(CKU_USER, pin), CKR_PIN_INCORRECT);
    }
    let name = |name: &str| {
        let (pin, text) = (PIN.as_ptr().cast_mut(), name.as_ptr().cast_mut());
        call!(m, C_LoginUser(c.h, CKU_USER, pin, PIN.len() as CK_ULONG, text, name.len() as CK_ULONG))
    };
    assert_eq!(name("nobody"), CKR_PIN_INCORRECT);
    assert_eq!(name(""), CKR_OK);
    assert_eq!(c.state(), CKS_RW_USER_FUNCTIONS);
}

/// With the last session the login ends (nethsm: a login per session; libkmsp11: one that survives).
#[test]
fn the_last_session_takes_the_login_along() {
    let installation = Installation::software();
    let m = installation.start();
    let (one, other) = (Client::open(m), Client::open(m));
    one.login();
    one.close();
    assert_eq!(other.state(), CKS_RW_USER_FUNCTIONS);
    other.close();
    let c = Client::open(m);
    assert_eq!(c.state(), CKS_RW_PUBLIC_SESSION);
    c.login();
    assert_eq!(call!(m, C_CloseAllSessions(m.slot())), CKR_OK);
    assert_eq!(Client::open(m).state(), CKS_RW_PUBLIC_SESSION);
}

/// Session objects go with the session that made them, private ones also with the login.
#[test]
fn session_objects_end() {
    let installation = Installation::software();
    let m = installation.start();
    let (one, other) = (Client::open(m), Client::open(m));
    one.login();
    let data = |private: bool| [u(CKA_CLASS, CKO_DATA), b(CKA_PRIVATE, private), s(CKA_LABEL, "mine")];
    let (public, private) = (one.create(&data(false)).unwrap(), one.create(&data(true)).unwrap());
    let kept = other.create(&data(false)).unwrap();
    assert_eq!(other.find(&[s(CKA_LABEL, "mine")]).len(), 3, "session objects are seen by all sessions");
    assert_eq!(one.logout(), CKR_OK);
    assert_eq!(other.find(&[]).len(), 2);
    assert_eq!(one.get(private, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    one.login();
    assert_eq!(one.get(private, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID), "it does not come back");
    one.close();
    assert_eq!(other.get(public, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(other.find(&[]), [kept]);
}

/// An operation with a private key ends with the login.
#[test]
fn logout_ends_operations() {
    let installation = Installation::software();
    let c = installation.client();
    let (_, key) = c.session_pair();
    c.sign_init(CKM_ECDSA, key).unwrap();
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(c.sign_data(&[0; 32]), Err(CKR_OPERATION_NOT_INITIALIZED));
}

/// Public sessions may make and use public session objects, read-only ones too; nothing else.
#[test]
fn without_login() {
    let installation = Installation::software();
    installation.create_key("web", &["--KeySpec=EC_P256"]);
    let m = installation.start();
    for c in [Client::open(m), Client::open_read_only(m)] {
        let key = c.aes(16, &[b(CKA_PRIVATE, false)]);
        let text = c.encrypt(CKM_AES_ECB, key, &[7; 16]).unwrap();
        assert_eq!(c.decrypt(CKM_AES_ECB, key, &text).unwrap(), [7; 16]);
        let private = [u(CKA_VALUE_LEN, 16), b(CKA_PRIVATE, true)];
        assert_eq!(c.generate(CKM_AES_KEY_GEN, &private), Err(CKR_USER_NOT_LOGGED_IN));
        c.destroy(key).unwrap();
        // Public keys and certificates are seen (ssh-keygen -D, NSS), private keys are not.
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_PUBLIC_KEY)]).len(), 1);
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY)]).len(), 0);
        let token = [u(CKA_VALUE_LEN, 16), b(CKA_TOKEN, true), b(CKA_PRIVATE, false)];
        let expected = if c.state() == CKS_RO_PUBLIC_SESSION { CKR_SESSION_READ_ONLY } else { CKR_USER_NOT_LOGGED_IN };
        assert_eq!(c.generate(CKM_AES_KEY_GEN, &token), Err(expected));
    }
    // A handle from before the logout says what would help.
    let c = Client::open(m);
    c.login();
    let key = c.one(CKO_PRIVATE_KEY, "web");
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(c.sign_init(CKM_ECDSA, key), Err(CKR_USER_NOT_LOGGED_IN));
}

/// `[unlock] method = "pin"`: nothing is opened before C_Login, and nothing fails for it.
#[test]
fn unlocked_by_pin() {
    let installation =
        Installation::new(&crate::support::Setup { unlock_by_pin: true, ..crate::support::Setup::default() });
    let pin = format!("file:{}", installation.path("user.pin").display());
    installation.alikms(&["CreateKey", "--KeySpec=EC_P256", "--pin", &pin]);
    let m = installation.start();
    let c = Client::open(m);
    assert_eq!(c.find(&[]).len(), 0);
    c.login();
    assert_eq!(c.find(&[]).len(), 2);
    assert_eq!(c.logout(), CKR_OK);
    assert_eq!(c.find(&[]).len(), 1);
}

/// CKA_ALWAYS_AUTHENTICATE: each operation waits for its own C_Login (PKCS#11 3.2 §5.6.8).
#[test]
fn context_specific_login() {
    let installation = Installation::software();
    let c = installation.client();
    let (_, key) = c
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &[crate::support::v(CKA_EC_PARAMS, crate::support::P256)],
            &[b(CKA_ALWAYS_AUTHENTICATE, true)],
        )
        .unwrap();
    assert!(c.is(key, CKA_ALWAYS_AUTHENTICATE));
    for _ in 0..2 {
        c.sign_init(CKM_ECDSA, key).unwrap();
        assert_eq!(c.login_as(CKU_CONTEXT_SPECIFIC, PIN), CKR_OK);
        assert_eq!(c.sign_data(&[1; 32]).unwrap().len(), 64);
    }
    c.sign_init(CKM_ECDSA, key).unwrap();
    assert_eq!(c.sign_data(&[1; 32]), Err(CKR_USER_NOT_LOGGED_IN));
    c.sign_init(CKM_ECDSA, key).unwrap();
    assert_eq!(c.login_as(CKU_CONTEXT_SPECIFIC, "wrong"), CKR_PIN_INCORRECT);
    assert_eq!(c.login_as(CKU_CONTEXT_SPECIFIC, "x"), CKR_PIN_INCORRECT);
    assert_eq!(c.login_as(CKU_CONTEXT_SPECIFIC, PIN), CKR_OK);
    c.sign_data(&[1; 32]).unwrap();
}
