//! Threads: each with its session, all on one session, and sessions that are closed under a signature.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, P256, b, s};

/// Sixty-four threads with their own sessions, at each level.
fn parallel(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let (public, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "shared")]).unwrap();
    std::thread::scope(|scope| {
        for i in 0..64u8 {
            scope.spawn(move || {
                let own = c.another();
                for j in 0..8 {
                    let data = [i, j];
                    let signature = own.sign(CKM_ECDSA_SHA256, key, &data).unwrap();
                    own.verify(CKM_ECDSA_SHA256, public, &data, &signature).unwrap();
                }
                own.close();
            });
        }
    });
    assert_eq!(c.m.token_info().ulSessionCount, 1);
}

#[test]
fn parallel_in_software() {
    parallel("SOFTWARE");
}

#[test]
fn parallel_in_a_device() {
    parallel("HSM");
}

/// Ten threads on one session: each call is whole; results are right or the codes of a state machine that others use too.
#[test]
fn one_session() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    let expected = c.encrypt(Mech::with(CKM_AES_CBC, [1; 16]), key, &[7; 64]).unwrap();
    std::thread::scope(|scope| {
        for i in 0..10 {
            let expected = &expected;
            scope.spawn(move || {
                for _ in 0..300 {
                    let mechanism = Mech::with(CKM_AES_CBC, [1; 16]);
                    let mut raw = mechanism.raw();
                    let init = call!(c.m, C_EncryptInit(c.h, &raw mut raw, key));
                    assert!(matches!(init, CKR_OK | CKR_OPERATION_ACTIVE), "{i}: {init:#x}");
                    let (mut out, mut len) = ([0u8; 64], 64);
                    let input = [7u8; 64];
                    let rv = call!(c.m, C_Encrypt(c.h, input.as_ptr().cast_mut(), 64, out.as_mut_ptr(), &raw mut len));
                    match rv {
                        CKR_OK => assert_eq!(out.as_slice(), expected),
                        rv => assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED, "{i}"),
                    }
                }
            });
        }
    });
}

/// What another thread does to everybody's sessions while these sign.
fn under_fire(level: &str, disturb: fn(&Installation, Client)) {
    let installation = Installation::at(level);
    let c = installation.client();
    let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "shared")]).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut signed = 0;
                while !stop.load(Ordering::Relaxed) {
                    let Ok(own) = Client::try_open(c.m, c_slot(&installation), CKF_SERIAL_SESSION) else { continue };
                    own.login_as(CKU_USER, crate::support::PIN);
                    for _ in 0..10 {
                        let mut raw = Mech::new(CKM_ECDSA).raw();
                        let rv = call!(c.m, C_SignInit(own.h, &raw mut raw, key));
                        assert!(allowed(rv), "C_SignInit: {rv:#x}");
                        let (mut out, mut len) = ([0u8; 64], 64);
                        let rv = call!(c.m, C_Sign(own.h, [1u8; 32].as_mut_ptr(), 32, out.as_mut_ptr(), &raw mut len));
                        assert!(allowed(rv), "C_Sign: {rv:#x}");
                        signed += u32::from(rv == CKR_OK);
                    }
                    // Somebody else may have closed it; sessions do not pile up all the same.
                    let rv = call!(own.m, C_CloseSession(own.h));
                    assert!(allowed(rv), "C_CloseSession: {rv:#x}");
                }
                signed
            });
        }
        for _ in 0..25 {
            std::thread::sleep(Duration::from_millis(4));
            disturb(&installation, c);
        }
        stop.store(true, Ordering::Relaxed);
    });
    if c.m.try_initialize(&installation.conf()) != CKR_OK {
        assert_eq!(call!(c.m, C_CloseAllSessions(c_slot(&installation))), CKR_OK);
    }
    let c = Client::open(c.m);
    c.login();
    c.sign(CKM_ECDSA, c.one(CKO_PRIVATE_KEY, "shared"), &[1; 32]).unwrap();
}

/// The slot's ID follows from the configuration alone.
fn c_slot(_: &Installation) -> CK_SLOT_ID {
    static SLOT: std::sync::OnceLock<CK_SLOT_ID> = std::sync::OnceLock::new();
    *SLOT.get_or_init(|| Installation::software().start().slot())
}

fn allowed(rv: CK_RV) -> bool {
    matches!(
        rv,
        CKR_OK
            | CKR_SESSION_HANDLE_INVALID
            | CKR_USER_NOT_LOGGED_IN
            | CKR_KEY_HANDLE_INVALID
            | CKR_OPERATION_NOT_INITIALIZED
            | CKR_CRYPTOKI_NOT_INITIALIZED
    )
}

#[test]
fn sessions_closed_under_signatures() {
    under_fire("SOFTWARE", |installation, c| {
        call!(c.m, C_CloseAllSessions(c_slot(installation)));
    });
}

#[test]
fn sessions_closed_under_signatures_in_a_device() {
    under_fire("HSM", |installation, c| {
        call!(c.m, C_CloseAllSessions(c_slot(installation)));
    });
}

#[test]
fn finalised_under_signatures() {
    under_fire("SOFTWARE", |installation, c| {
        c.m.finalize();
        c.m.try_initialize(&installation.conf());
    });
}

#[test]
fn finalised_under_signatures_in_a_device() {
    under_fire("HSM", |installation, c| {
        c.m.finalize();
        c.m.try_initialize(&installation.conf());
    });
}

/// Threads that all log in at once: one does it, the others hear that it is done; a right PIN is never locked out.
#[test]
fn logins_at_once() {
    let installation = Installation::software();
    let m = installation.start();
    let keep = Client::open(m);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let rv = Client::open(m).login_as(CKU_USER, crate::support::PIN);
                assert!(matches!(rv, CKR_OK | CKR_USER_ALREADY_LOGGED_IN), "{rv:#x}");
            });
        }
    });
    assert_eq!(keep.state(), CKS_RW_USER_FUNCTIONS);
    assert_eq!(m.token_info().flags & CKF_USER_PIN_COUNT_LOW, 0);
}

/// Four threads hammer one session with calls that keep it busy nearly all the time. The locks of the standard library are
/// not fair: whoever had a session could take it again before anybody who waited woke up, and a hundred calls went before
/// a C_CloseAllSessions. Counted in calls, because time is other programs' as well.
fn in_good_time(end: fn(Client) -> CK_RV, again: fn(&Installation, Client) -> CK_SESSION_HANDLE) {
    let installation = Installation::software();
    let c = installation.client();
    let data = vec![7u8; 1 << 20];
    let (stop, handle, calls) = (AtomicBool::new(false), AtomicU64::new(c.h), AtomicU64::new(0));
    let mut most = 0;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mechanism = Mech::new(CKM_SHA256);
                while !stop.load(Ordering::Relaxed) {
                    let (mut raw, mut out, mut len) = (mechanism.raw(), [0u8; 32], 32);
                    let h = handle.load(Ordering::Relaxed);
                    call!(c.m, C_DigestInit(h, &raw mut raw));
                    let (from, size) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
                    let rv = call!(c.m, C_Digest(h, from, size, out.as_mut_ptr(), &raw mut len));
                    calls.fetch_add(u64::from(rv == CKR_OK), Ordering::Relaxed);
                }
            });
        }
        // Many rounds, for a lucky moment is not fairness; again, if this thread had no processor when it was its turn.
        for _ in 0..3 {
            most = 0;
            for _ in 0..20 {
                let own = Client { h: handle.load(Ordering::Relaxed), ..c };
                std::thread::sleep(Duration::from_millis(20));
                let before = calls.load(Ordering::Relaxed);
                let rv = end(own);
                most = most.max(calls.load(Ordering::Relaxed) - before);
                assert_eq!(rv, CKR_OK);
                handle.store(again(&installation, own), Ordering::Relaxed);
            }
            if most <= 12 {
                break;
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(most <= 12, "{most} calls went before");
}

#[test]
fn a_hammered_session_is_logged_out_in_good_time() {
    in_good_time(
        |c| c.logout(),
        |_, c| {
            c.login();
            c.h
        },
    );
}

#[test]
fn a_hammered_session_is_closed_in_good_time() {
    in_good_time(|c| call!(c.m, C_CloseAllSessions(c.m.slot())), |_, c| c.another().h);
}

#[test]
fn a_hammered_session_is_finalised_in_good_time() {
    in_good_time(
        |c| c.m.finalize(),
        |installation, c| {
            c.m.initialize(&installation.conf());
            c.another().h
        },
    );
}
