//! Forks, as nginx (goes on), libp11 (C_Initialize again) and pkcs11-provider (C_Finalize first) do them, at both levels.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, KEY_ID, P256, agent, b, s};

/// Runs `work` in a forked child and answers whether it came to its end; whatever panics or hangs is the child's alone.
pub fn in_child(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child calls only the module (what is tested) and `_exit`.
    match unsafe { libc::fork() } {
        0 => {
            // SAFETY: ends the child if it hangs.
            unsafe { libc::alarm(60) };
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
            // SAFETY: nothing of the test harness runs in the child.
            unsafe { libc::_exit(i32::from(!good)) }
        }
        child => {
            assert!(child > 0);
            let mut status = 0;
            // SAFETY: our own child.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

fn signs(c: Client, key: CK_OBJECT_HANDLE) -> bool {
    (0..5).all(|_| c.sign(CKM_ECDSA, key, &[1; 32]).is_ok())
}

/// A session, a login and the key found anew.
fn afresh(c: Client) -> bool {
    let own = Client::open(c.m);
    own.login_as(CKU_USER, crate::support::PIN) == CKR_OK && signs(own, own.one(CKO_PRIVATE_KEY, "web"))
}

fn children(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let (public, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
    assert!(signs(c, key));
    let conf = installation.conf();
    assert!(in_child(|| signs(c, key)), "goes on with what it inherited");
    assert!(
        in_child(|| {
            c.m.try_initialize(&conf) == CKR_OK
                && c.m.try_initialize(&conf) == CKR_CRYPTOKI_ALREADY_INITIALIZED
                && call!(c.m, C_CloseSession(c.h)) == CKR_SESSION_HANDLE_INVALID
                && afresh(c)
        }),
        "C_Initialize again, as libp11"
    );
    assert!(
        in_child(|| {
            c.m.finalize() == CKR_OK && c.m.try_initialize(&conf) == CKR_OK && afresh(c) && c.m.finalize() == CKR_OK
        }),
        "C_Finalize first, as pkcs11-provider"
    );
    // An operation that the parent began goes on in both.
    c.sign_init(CKM_ECDSA_SHA256, key).unwrap();
    c.sign_update(b"before ").unwrap();
    assert!(in_child(|| {
        c.sign_update(b"the child").unwrap();
        let signature = c.sign_final().unwrap();
        c.verify(CKM_ECDSA_SHA256, public, b"before the child", &signature).is_ok()
    }));
    c.sign_update(b"the parent").unwrap();
    let signature = c.sign_final().unwrap();
    c.verify(CKM_ECDSA_SHA256, public, b"before the parent", &signature).unwrap();
    // A child's child.
    assert!(in_child(|| in_child(|| signs(c, key)) && signs(c, key)));
    // What the child makes, the parent sees.
    assert!(in_child(|| c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "child")]).is_ok()));
    assert!(signs(c, c.one(CKO_PRIVATE_KEY, "child")));
    // A key that was ready at the fork is disabled for the child too.
    c.sign_init(CKM_ECDSA, key).unwrap();
    let id = String::from_utf8(c.get(key, KEY_ID).unwrap()).unwrap();
    installation.print(&["DisableKey", "--KeyId", &id]);
    assert!(in_child(|| {
        c.sign_data(&[1; 32]) == Err(CKR_FUNCTION_REJECTED)
            && c.sign_init(CKM_ECDSA, key) == Err(CKR_KEY_FUNCTION_NOT_PERMITTED)
    }));
    assert_eq!(c.sign_data(&[1; 32]), Err(CKR_FUNCTION_REJECTED));
    assert_eq!(c.sign_init(CKM_ECDSA, key), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
}

#[test]
fn in_software() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    children("SOFTWARE");
}

#[test]
fn in_a_device() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    children("HSM");
}

/// Session objects and their keys are inherited too.
#[test]
fn session_keys() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    let installation = Installation::software();
    let c = installation.client();
    let (_, key) = c.session_pair();
    assert!(signs(c, key));
    assert!(in_child(|| signs(c, key)));
    assert!(signs(c, key));
}

/// A daemon forks, closes every descriptor, and opens its own. A child that let go of the store's connections only when it
/// came to use the store closed descriptors that had become the daemon's log and sockets.
fn a_child_that_begins_anew(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
    assert!(signs(c, key));
    let path = |number: usize| installation.path(&format!("own-{number}"));
    assert!(in_child(|| {
        // SAFETY: the child's own descriptors, none of which it uses again.
        assert_eq!(unsafe { libc::close_range(3, libc::c_uint::MAX, 0) }, 0);
        let files: Vec<_> = (0..40).map(|number| std::fs::File::create_new(path(number)).unwrap()).collect();
        let good = signs(c, key) && c.ec_pair(P256, &[b(CKA_TOKEN, true)]).is_ok();
        let own = |(number, mut file): (usize, &std::fs::File)| {
            let there = std::fs::metadata(path(number)).unwrap();
            let same = file.metadata().is_ok_and(|found| (found.dev(), found.ino()) == (there.dev(), there.ino()));
            same && there.len() == 0 && file.write_all(b"mine").is_ok()
        };
        good && files.iter().enumerate().all(own)
    }));
    assert!(signs(c, key));
    assert_eq!(installation.print(&["check"]), "everything is in order\n");
}

#[test]
fn a_child_keeps_the_descriptors_that_it_opens() {
    a_child_that_begins_anew("SOFTWARE");
}

#[test]
fn a_child_keeps_its_descriptors_with_a_device() {
    a_child_that_begins_anew("HSM");
}
