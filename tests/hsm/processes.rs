//! Threads, forks, and an application that uses the same library.

use std::sync::Arc;
use std::time::Duration;

use alikms_pkcs11::config::{DeviceConfig, Isolate};
use alikms_pkcs11::model::algorithm::{Cipher, Job};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::protection::Protection;
use alikms_pkcs11::protection::hsm::Hsm;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::support::*;

#[test]
fn eight_threads_share_a_pool_of_fewer_sessions() {
    let token = Token::new();
    let hsm = Arc::new(token.hsm());
    let keys: Vec<_> = (0..4).map(|_| make(&hsm, "EC_P256", SIGN)).collect();
    std::thread::scope(|scope| {
        for turn in 0..40 {
            let made = &keys[turn % keys.len()];
            scope.spawn(move || {
                for _ in 0..50 {
                    made.sign(&digest(Hash::Sha256)).unwrap();
                }
            });
        }
    });
}

/// Runs `work` in a forked child and tells whether it succeeded there.
pub fn in_child(work: impl FnOnce() -> bool) -> bool {
    in_child_for(60, work)
}

/// The same, for work that takes up to so many seconds.
pub fn in_child_for(seconds: u32, work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `work` and leaves without running destructors or the harness's exit handlers.
    let child = unsafe { libc::fork() };
    assert!(child >= 0);
    if child == 0 {
        // SAFETY: a child that waits for a lock that nobody will give back shall fail, not hang.
        unsafe { libc::alarm(seconds) };
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: as above.
        unsafe { libc::_exit(if good { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: waits for the child made above.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
}

#[test]
fn a_forked_child_signs_and_so_does_the_parent_afterwards() {
    for isolate in [Isolate::Copy, Isolate::Share] {
        let token = Token::new();
        let mut config = token.config();
        config.isolate = Some(isolate);
        // One process-wide SoftHSM cannot serve two tests: where it is shared, all happens in a child.
        let story = || {
            let hsm = Hsm::new(config);
            let made = make(&hsm, "EC_P256", SIGN);
            for _ in 0..3 {
                made.sign(&digest(Hash::Sha256)).unwrap();
                assert!(in_child(|| {
                    let grandchild = || in_child(|| made.sign(&digest(Hash::Sha256)).is_ok());
                    (0..10).all(|_| made.sign(&digest(Hash::Sha256)).is_ok()) && grandchild()
                }));
                made.sign(&digest(Hash::Sha256)).unwrap();
            }
            // Forked before first use, as nginx does it.
            let fresh = token.hsm();
            assert!(in_child(|| fresh.open(made.id, made.spec, &made.material, made.public.as_ref()).is_ok()));
            assert_eq!(hsm.ids().unwrap(), [made.id]);
            true
        };
        assert!(in_child(story), "{isolate:?}");
    }
}

/// SoftHSM uses the process's libcrypto. A child that was forked while another thread was in it inherited the lock of
/// its random generator and hung in its own C_Initialize, once in a hundred forks.
#[test]
fn threads_sign_while_others_fork() {
    let token = Token::new();
    let hsm = token.hsm();
    let made = make(&hsm, "EC_P256", SIGN);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    made.sign(&digest(Hash::Sha256)).unwrap();
                }
            });
        }
        for _ in 0..100 {
            assert!(in_child(|| made.sign(&digest(Hash::Sha256)).is_ok()));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// A wrong PIN in the file and many workers: one attempt in all, or the device would be locked.
#[test]
fn workers_share_the_knowledge_of_a_wrong_pin() {
    let token = Token::new();
    token.set_pin("9999");
    let hsm = token.hsm();
    assert!(in_child(|| matches!(hsm.probe(), Err(alikms_pkcs11::Error::DevicePin { .. }))));
    assert!(token.has_wrong_pins());
    token.log_in_rightly();
    for _ in 0..4 {
        assert!(in_child(|| matches!(hsm.probe(), Err(alikms_pkcs11::Error::DevicePin { .. }))));
    }
    assert!(!token.has_wrong_pins());
}

/// What the application does with its own SoftHSM is nothing to ours; and what is on the token is what we asked for.
#[test]
fn an_application_may_log_out_close_and_finalise_its_own_instance() {
    let token = Token::new();
    assert!(in_child(|| {
        let hsm = token.hsm();
        let made = make(&hsm, "EC_P256", SIGN);
        let pkcs11 = token.application();
        let slot = pkcs11
            .get_slots_with_initialized_token()
            .unwrap()
            .into_iter()
            .find(|slot| pkcs11.get_token_info(*slot).unwrap().label() == LABEL)
            .unwrap();
        let session = pkcs11.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        made.sign(&digest(Hash::Sha256)).unwrap();

        let id = Attribute::Id(made.id.as_bytes().to_vec());
        let private = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), id.clone()]).unwrap();
        let public = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), id.clone()]).unwrap();
        assert_eq!((private.len(), public.len()), (1, 1));
        let wanted = [
            (AttributeType::Sensitive, Attribute::Sensitive(true)),
            (AttributeType::Extractable, Attribute::Extractable(false)),
            (AttributeType::AlwaysSensitive, Attribute::AlwaysSensitive(true)),
            (AttributeType::NeverExtractable, Attribute::NeverExtractable(true)),
            (AttributeType::Private, Attribute::Private(true)),
            (AttributeType::Sign, Attribute::Sign(true)),
            (AttributeType::Decrypt, Attribute::Decrypt(false)),
            (AttributeType::Derive, Attribute::Derive(false)),
            (AttributeType::Unwrap, Attribute::Unwrap(false)),
            (AttributeType::Label, Attribute::Label(made.id.to_string().as_bytes()[..32].to_vec())),
        ];
        for (name, value) in wanted {
            assert_eq!(session.get_attributes(private[0], &[name]).unwrap(), [value]);
        }
        session.logout().unwrap();
        made.sign(&digest(Hash::Sha256)).unwrap();
        close_all(slot.id());
        made.sign(&digest(Hash::Sha256)).unwrap();
        drop(session);
        pkcs11.finalize().unwrap();
        made.sign(&digest(Hash::Sha256)).unwrap();
        assert!(std::env::var_os("SOFTHSM2_CONF").is_some_and(|conf| conf == *token.conf()));
        true
    }));
}

/// Shared with an application, the library's end is the application's decision; it is told, and signing goes on when
/// the application begins again.
#[test]
fn a_shared_library_that_the_application_finalises_is_told_and_survived() {
    let token = Token::new();
    assert!(in_child(|| {
        let pkcs11 = token.application();
        let mut config = token.config();
        config.isolate = Some(Isolate::Share);
        let hsm = Hsm::new(config);
        let made = make(&hsm, "EC_P256", SIGN);
        let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
        pkcs11.open_rw_session(slot).unwrap().logout().unwrap();
        made.sign(&digest(Hash::Sha256)).unwrap();
        close_all(slot.id());
        made.sign(&digest(Hash::Sha256)).unwrap();
        pkcs11.finalize().unwrap();
        let said = made.sign(&digest(Hash::Sha256)).unwrap_err().to_string();
        assert!(said.contains("finalised"), "{said}");
        let _again = token.application();
        assert!(within(10, || made.sign(&digest(Hash::Sha256)).is_ok()));
        true
    }));
}

/// Does it in a child with a private copy of the library, and in one that shares it.
fn in_a_child_of_each_kind(work: impl Fn(DeviceConfig) -> bool) {
    let token = Token::new();
    for isolate in [Isolate::Copy, Isolate::Share] {
        let mut config = token.config();
        config.isolate = Some(isolate);
        assert!(in_child(|| work(config)), "{isolate:?}");
    }
}

/// A program that is linked with this module, or loads it for everybody, has our C_ functions under the names by which a
/// device's library fills its own table: it would call us, and we it, round in circles.
#[test]
fn a_device_is_not_led_to_our_functions_when_everybody_sees_them() {
    in_a_child_of_each_kind(|config| {
        let module = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
        let path = std::ffi::CString::new(module.display().to_string()).unwrap();
        // SAFETY: a library of ours, which has no constructors.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
        assert!(!handle.is_null());
        // SAFETY: looks a name up and calls nothing.
        assert!(!unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"C_Initialize".as_ptr()) }.is_null());
        let hsm = Hsm::new(config);
        let made = make(&hsm, "EC_P256", SIGN);
        made.sign(&digest(Hash::Sha256)).unwrap();
        hsm.destroy(made.id, &made.material).unwrap();
        true
    });
}

/// The same of others whose tables are filled by name (`reference/devices.md` §0 item 1); there is no token behind them here.
#[test]
fn no_device_of_another_maker_is_led_to_our_functions_either() {
    let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    for library in [format!("{folder}/opensc-pkcs11.so"), format!("{folder}/libtpm2_pkcs11.so.1")] {
        assert!(std::path::Path::new(&library).exists(), "{library}: ci/install.sh test");
        in_a_child_of_each_kind(|mut config| {
            let module = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
            let path = std::ffi::CString::new(module.display().to_string()).unwrap();
            // SAFETY: a library of ours, which has no constructors.
            assert!(!unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) }.is_null());
            config.library.clone_from(&library.clone().into());
            config.profile = "generic".to_owned();
            let said = Hsm::new(config).probe().map(|_| ()).unwrap_err().to_string();
            !said.contains("resolve to") && (said.contains("there is no token") || said.contains("it cannot"))
        });
    }
}

/// SoftHSM crashes when it is called in an exit handler: whoever ends without C_Finalize ends all the same.
#[test]
fn a_process_ends_without_touching_the_device() {
    in_a_child_of_each_kind(|config| {
        let hsm = Hsm::new(config);
        make(&hsm, "EC_P256", SIGN).sign(&digest(Hash::Sha256)).unwrap();
        std::mem::forget(hsm);
        // SAFETY: a child with one thread, which ends with every handler that anybody registered.
        unsafe { libc::exit(0) }
    });
}

/// SoftHSM uses the process's libcrypto and leaves its errors in the thread's queue, where nginx finds them after its next
/// SSL_do_handshake and takes them for its own.
#[test]
fn the_error_queue_of_the_host_is_left_as_it_was() {
    let token = Token::new();
    let hsm = token.hsm();
    let made = make(&hsm, "RSA_2048", DECRYPT);
    // SAFETY: the libcrypto that SoftHSM is linked to, and its functions' own types.
    let (peek, clear) = unsafe {
        let library = std::mem::ManuallyDrop::new(libloading::Library::new("libcrypto.so.3").unwrap());
        let peek = *library.get::<unsafe extern "C" fn() -> libc::c_ulong>(b"ERR_peek_last_error").unwrap();
        let clear = *library.get::<unsafe extern "C" fn()>(b"ERR_clear_error").unwrap();
        (peek, clear)
    };
    let oaep = Cipher::RsaOaep { hash: Hash::Sha1, mgf: Hash::Sha1, label: vec![] };
    // SAFETY: as above.
    unsafe { clear() };
    for _ in 0..20 {
        assert!(made.key.once(&Job::Decrypt(oaep.clone()), &[1; 256]).is_err());
        // SAFETY: as above.
        assert_eq!(unsafe { peek() }, 0);
    }
}

/// What `cryptoki` does not offer: C_CloseAllSessions of the application's instance.
fn close_all(slot: u64) {
    // SAFETY: the same library that the application has loaded, and the function's own type.
    unsafe {
        let library = libloading::Library::new(LIBRARY).unwrap();
        let function: libloading::Symbol<unsafe extern "C" fn(u64) -> u64> =
            library.get(b"C_CloseAllSessions").unwrap();
        assert_eq!(function(slot), 0);
    }
}

impl Token {
    /// The application's own instance. Only one a process: use it in a child.
    pub fn application(&self) -> Pkcs11 {
        // SAFETY: a child has one thread.
        unsafe { std::env::set_var("SOFTHSM2_CONF", self.conf()) };
        let pkcs11 = Pkcs11::new(LIBRARY).unwrap();
        pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
        pkcs11
    }

    /// Whether the token tells of wrong PINs since the last right one.
    pub fn has_wrong_pins(&self) -> bool {
        !in_child(|| {
            let pkcs11 = self.application();
            let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
            !pkcs11.get_token_info(slot).unwrap().user_pin_count_low()
        })
    }

    pub fn log_in_rightly(&self) {
        assert!(in_child(|| {
            let pkcs11 = self.application();
            let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
            let session = pkcs11.open_rw_session(slot).unwrap();
            session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).is_ok()
        }));
        std::thread::sleep(Duration::from_millis(10));
    }
}
