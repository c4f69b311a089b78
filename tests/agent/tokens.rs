//! `[agent] tokens = true`: the token is in a host of the agent's, and the module is its client. That a client gets the same
//! answers as a module in its own process is shown by the tests of the C door, which `ci/test.sh` runs in this way, too.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use serde_json::Value;

use crate::bed::{children, within};
use crate::call;
use crate::support::*;
use crate::whole::{Whole, signal};

pub fn is_root() -> bool {
    // SAFETY: takes nothing.
    unsafe { libc::geteuid() == 0 }
}

/// Keys at both levels, and nothing of the store or of a device in the client's process.
fn everything_is_there(device: bool) {
    let whole = Whole::new(device, 30, "");
    let (c, pair) = whole.client();
    pair.sign(c, 1).unwrap();
    let level = whole.installation.alikms(&["ListKeys"]);
    assert_eq!(level["TotalCount"], 1, "{level}");
    let open = || fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    assert!(!open().any(|path| path.starts_with(whole.installation.path("store"))), "the store is open here");
    assert_eq!(whole.hosts().len(), 1);
    assert_eq!(c.m.finalize(), CKR_OK);
    assert!(whole.no_host(), "the host outlives its client");
}

#[test]
fn software_keys_of_a_client() {
    everything_is_there(false);
}

/// The host in turn is a client of the agent's device side.
#[test]
fn device_keys_of_a_client() {
    everything_is_there(true);
}

/// What a host had alone is lost with it, and said to be; nothing else is, and never is a wrong answer given.
#[test]
fn what_is_lost_with_a_host() {
    let whole = Whole::new(false, 30, "");
    let (c, pair) = whole.client();
    let lost = || {
        let hosts = whole.hosts();
        assert_eq!(hosts.len(), 1);
        signal(hosts[0], libc::SIGKILL);
        assert!(within(10, || !whole.hosts().contains(&hosts[0])));
    };
    lost();
    pair.sign(c, 1).unwrap();
    // Between Init and the work.
    c.sign_init(CKM_ECDSA, pair.private).unwrap();
    lost();
    let signature = c.sign_data(&[1; 32]).unwrap();
    c.verify(CKM_ECDSA, pair.public, &[1; 32], &signature).unwrap();
    assert_eq!(c.sign_data(&[1; 32]), Err(CKR_OPERATION_NOT_INITIALIZED), "it was done");
    // The length is asked for first.
    c.sign_init(CKM_ECDSA, pair.private).unwrap();
    let mut len = 0;
    let n = std::ptr::null_mut;
    assert_eq!(call!(c.m, C_Sign(c.h, [1; 32].as_mut_ptr(), 32, n(), &raw mut len)), CKR_OK);
    lost();
    assert!(c.sign_data(&[1; 32]).is_ok());
    // An operation that was begun and is over is not begun anew.
    lost();
    assert_eq!(c.sign_data(&[1; 32]), Err(CKR_OPERATION_NOT_INITIALIZED));
    // Half of the data is never signed.
    c.sign_init(CKM_ECDSA_SHA256, pair.private).unwrap();
    c.sign_update(b"one half").unwrap();
    lost();
    assert_eq!(c.sign_update(b"and the other"), Err(CKR_OPERATION_NOT_INITIALIZED));
    // A key that was in the host alone; its handle is never that of another.
    let (_, session_key) = c.session_pair();
    c.sign_init(CKM_ECDSA, session_key).unwrap();
    lost();
    assert_eq!(c.sign_data(&[1; 32]), Err(CKR_KEY_HANDLE_INVALID));
    let again: Vec<_> = (0..20).flat_map(|_| <[_; 2]>::from(c.session_pair())).collect();
    assert!(!again.contains(&session_key));
    // A search is begun anew as long as nothing of it was fetched.
    let label = [s(CKA_LABEL, "web")];
    let mut template = raw(&label);
    assert_eq!(call!(c.m, C_FindObjectsInit(c.h, template.as_mut_ptr(), 1)), CKR_OK);
    lost();
    let (mut found, mut count) = ([0; 8], 0);
    assert_eq!(call!(c.m, C_FindObjects(c.h, found.as_mut_ptr(), 8, &raw mut count)), CKR_OK);
    assert_eq!(count, 2);
    lost();
    assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);
    // A session of another kind, and that it is closed.
    let reader = Client::open_read_only(c.m);
    lost();
    assert_eq!(reader.state(), CKS_RO_USER_FUNCTIONS);
    reader.close();
    lost();
    assert_eq!(call!(c.m, C_CloseSession(reader.h)), CKR_SESSION_HANDLE_INVALID);
    assert_eq!(c.state(), CKS_RW_USER_FUNCTIONS);
    assert_eq!(c.m.token_info().ulSessionCount, 1);
    // Logged out is logged out.
    assert_eq!(c.logout(), CKR_OK);
    lost();
    assert_eq!(c.state(), CKS_RW_PUBLIC_SESSION);
    assert!(pair.sign(c, 1).is_err());
}

/// Keys that were found by an alias have handles that a new host must be told of.
#[test]
fn another_name_outlives_its_host() {
    let whole = Whole::new(false, 30, "");
    let key = whole.installation.create_key("web", &["--KeySpec=EC_P256", "--KeyUsage=SIGN/VERIFY"]);
    for alias in ["alias/blog", "alias/shop"] {
        whole.installation.print(&["CreateAlias", "--KeyId", &key, "--AliasName", alias]);
    }
    let c = Client::open(whole.module());
    c.login();
    let names = ["blog", "shop", "web"].map(|name| (name, c.one(CKO_PRIVATE_KEY, name)));
    signal(whole.hosts()[0], libc::SIGKILL);
    let works = || {
        names.iter().all(|(name, key)| {
            c.sign(CKM_ECDSA, *key, &[1; 32]).is_ok() && c.get(*key, CKA_LABEL).unwrap() == name.as_bytes()
        })
    };
    assert!(works());
    assert!(children(2, |_| works()));
    assert_eq!(names, names.map(|(name, _)| (name, c.one(CKO_PRIVATE_KEY, name))));
}

/// Hosts, workers and the whole agent die while threads sign: each call is answered, and rightly.
#[test]
fn killed_under_load() {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    let mut whole = Whole::new(false, 60, "");
    let (c, pair) = whole.client();
    let (stop, signed) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 4]);
    std::thread::scope(|scope| {
        for (thread, signed) in signed.iter().enumerate() {
            let (own, stop) = (Client::open(c.m), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = signed.load(Ordering::Relaxed);
                    assert_eq!(pair.sign(own, number), Ok(()), "thread {thread}, signature {number}");
                    signed.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        let working = || {
            let before = signed.each_ref().map(|signed| signed.load(Ordering::Relaxed));
            let goes_on = |(signed, before): (&AtomicU64, &u64)| signed.load(Ordering::Relaxed) > before + 5;
            within(60, || signed.iter().zip(&before).all(goes_on))
        };
        let blows = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..10 {
                assert!(working(), "somebody does not sign any more");
                whole.hosts().into_iter().for_each(|host| signal(host, libc::SIGKILL));
            }
            for _ in 0..3 {
                assert!(working(), "somebody does not sign any more");
                signal(whole.worker().unwrap(), libc::SIGKILL);
            }
            for _ in 0..3 {
                assert!(working(), "somebody does not sign any more");
                whole.kill();
                whole.start();
            }
            assert!(working(), "somebody does not sign any more");
        }));
        stop.store(true, Ordering::Relaxed);
        blows.unwrap();
    });
    assert_eq!(c.m.finalize(), CKR_OK);
    assert!(whole.no_host());
}

/// As nginx (goes on), libp11 (C_Initialize again) and pkcs11-provider (C_Finalize first) do it.
#[test]
fn forked_children_have_hosts_of_their_own() {
    let whole = Whole::new(false, 30, "");
    let (c, pair) = whole.client();
    let conf = whole.conf();
    let afresh = || {
        let own = Client::open(c.m);
        own.login_as(CKU_USER, PIN) == CKR_OK && own.sign(CKM_ECDSA, own.one(CKO_PRIVATE_KEY, "web"), &[1; 32]).is_ok()
    };
    for number in 0..2 {
        pair.sign(c, number).unwrap();
        assert!(children(4, |number| {
            let grandchild = || children(1, |number| pair.sign(c, number).is_ok());
            pair.sign(c, number).is_ok() && grandchild() && pair.sign(c, number).is_ok()
        }));
        let closed = || call!(c.m, C_CloseSession(c.h)) == CKR_SESSION_HANDLE_INVALID;
        let again = || c.m.try_initialize(&conf) == CKR_OK;
        assert!(children(1, |_| again() && closed() && afresh()));
        assert!(children(1, |_| c.m.finalize() == CKR_OK && again() && afresh() && c.m.finalize() == CKR_OK));
    }
    // Between Init and the work; what was fed before is lost, and session objects are.
    c.sign_init(CKM_ECDSA, pair.private).unwrap();
    assert!(children(1, |_| c.sign_data(&[1; 32]).is_ok()));
    c.sign_data(&[1; 32]).unwrap();
    c.sign_init(CKM_ECDSA_SHA256, pair.private).unwrap();
    c.sign_update(b"half").unwrap();
    assert!(children(1, |_| c.sign_update(b"half") == Err(CKR_OPERATION_NOT_INITIALIZED)));
    c.sign_final().unwrap();
    let (_, key) = c.session_pair();
    assert!(children(1, |_| c.sign(CKM_ECDSA, key, &[1; 32]) == Err(CKR_KEY_HANDLE_INVALID)));
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
    // Threads at work while the process forks.
    std::thread::scope(|scope| {
        let own = Client::open(c.m);
        let signer = scope.spawn(move || (0..300).for_each(|number| pair.sign(own, number).unwrap()));
        while !signer.is_finished() {
            assert!(children(1, |number| pair.sign(c, number).is_ok()));
        }
    });
    assert!(within(10, || whole.hosts().len() == 1), "the children's are gone");
}

/// The worker waits ten seconds for a greeting; the host that got the connection from it did so for a call, and ended.
#[test]
fn a_host_waits_for_its_client_for_ever() {
    let whole = Whole::new(false, 30, "");
    let (c, _) = whole.client();
    let (_, key) = c.session_pair();
    let hosts = whole.hosts();
    std::thread::sleep(Duration::from_secs(11));
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
    assert_eq!(whole.hosts(), hosts);
}

/// A child that never uses the module does not keep its parent's host alive.
#[test]
fn a_host_ends_with_its_client_however_that_ends() {
    let whole = Whole::new(false, 30, "");
    let (c, pair) = whole.client();
    // SAFETY: the child waits and does nothing else.
    let sleeper = unsafe {
        match libc::fork() {
            0 => {
                libc::sleep(60);
                libc::_exit(0)
            }
            child => child,
        }
    };
    assert!(children(3, |_| {
        assert!(pair.sign(c, 1).is_ok());
        true // It ends without a word to its host.
    }));
    assert!(within(10, || whole.hosts().len() == 1));
    assert_eq!(c.m.finalize(), CKR_OK);
    assert!(whole.no_host());
    signal(sleeper, libc::SIGKILL);
    // SAFETY: our own child.
    unsafe { libc::waitpid(sleeper, std::ptr::null_mut(), 0) };
}

/// The PIN is changed while a process that knew the old one has lost its host: nobody tries it again and again.
#[test]
fn a_pin_that_was_changed_meanwhile_is_tried_once() {
    let whole = Whole::new(false, 30, "");
    let (c, pair) = whole.client();
    let other = Client::open(whole.module());
    other.login();
    let set = |c: Client, old: &str, new: &str| {
        let (a, b) = (old.as_ptr().cast_mut(), new.as_ptr().cast_mut());
        call!(c.m, C_SetPIN(c.h, a, old.len() as CK_ULONG, b, new.len() as CK_ULONG))
    };
    assert_eq!(set(other, PIN, "another-pin"), CKR_OK);
    // Who changed it goes on.
    let hosts = whole.hosts();
    hosts.iter().for_each(|host| signal(*host, libc::SIGKILL));
    assert!(within(10, || !whole.hosts().iter().any(|host| hosts.contains(host))));
    assert_eq!(other.state(), CKS_RW_USER_FUNCTIONS);
    // The others do not, and twelve processes would have locked it.
    assert!(children(12, |number| pair.sign(c, number) == Err(CKR_USER_NOT_LOGGED_IN)));
    assert_eq!(pair.sign(c, 1), Err(CKR_USER_NOT_LOGGED_IN));
    assert_eq!(c.login_as(CKU_USER, "another-pin"), CKR_OK);
    pair.sign(c, 2).unwrap();
}

/// Somebody else on this machine, who can read neither the store nor the unlock key.
#[test]
fn another_user_uses_keys_and_policies_and_audit_bind_him() {
    if !is_root() {
        return; // Only root can be somebody else.
    }
    let tables = "allow = [65534]\n[audit]\ncrypto = \"all\"\n";
    let whole = Whole::new(false, 30, tables);
    let (c, _) = whole.client();
    let print = |args: &[&str]| whole.installation.print(args);
    let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:AsymmetricSign","Resource":"*"}]}"#;
    let (user, policy) = (["--UserName", "bob"], ["--PolicyName", "sign"]);
    print(&[&["CreateUser"][..], &user].concat());
    print(&[&["CreatePolicy"][..], &policy, &["--PolicyDocument", document]].concat());
    print(&[&["AttachPolicyToUser"][..], &policy, &user].concat());
    fs::write(whole.installation.path("bob.pin"), "bobs-pin").unwrap();
    let source = format!("file:{}", whole.installation.path("bob.pin").display());
    print(&[&["set-user-pin"][..], &user, &["--user-pin", &source]].concat());
    fs::set_permissions(whole.installation.path(""), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(whole.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(whole.conf(), Permissions::from_mode(0o644)).unwrap();
    let (module, conf, own) = (whole.installation.load(), whole.conf(), whole.installation.conf());
    let as_user = |user: u32, work: &dyn Fn() -> bool| {
        children(1, |_| {
            // SAFETY: this child only.
            assert!(unsafe { libc::setgid(user) == 0 && libc::setuid(user) == 0 });
            work()
        })
    };
    assert!(as_user(65_534, &|| {
        assert!(fs::read(&own).is_err(), "the installation is closed to him");
        module.initialize(&conf);
        let c = Client::open(module);
        assert_eq!(c.login_as(CKU_USER, "bob:bobs-pin"), CKR_OK);
        let key = c.one(CKO_PRIVATE_KEY, "web");
        assert!(c.sign(CKM_ECDSA, key, &[1; 32]).is_ok());
        assert!(call!(c.m, C_DestroyObject(c.h, key)) != CKR_OK);
        assert!(c.ec_pair(P256, &[b(CKA_TOKEN, true)]).is_err());
        assert_eq!(c.logout(), CKR_OK);
        // With the owner's PIN he is the owner, as in process.
        c.login();
        c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "owned")]).is_ok()
    }));
    let audit = whole.audit();
    let told = |action: &str, outcome: &str| {
        let is = |line: &&Value| line["action"] == action && line["outcome"] == outcome && line["uid"] == 65_534;
        let line = audit.iter().find(is).unwrap_or_else(|| panic!("{action} {outcome}: {audit:?}"));
        assert_ne!(line["pid"], std::process::id(), "{line}");
        assert_eq!(line["program"], std::env::current_exe().unwrap().to_str().unwrap(), "{line}");
        line["caller"].as_str().unwrap().to_owned()
    };
    assert_eq!(told("AsymmetricSign", "ok"), "user/bob");
    assert_eq!(told("ScheduleKeyDeletion", "AccessDenied"), "user/bob");
    assert_eq!(told("CreateKey", "AccessDenied"), "user/bob");
    assert_eq!(told("CreateKey", "ok"), "account");
    // A third one is not let in at all.
    assert!(as_user(65_533, &|| {
        module.initialize(&conf);
        let mut count = 0;
        call!(module, C_GetSlotList(CK_TRUE, std::ptr::null_mut(), &raw mut count)) == CKR_DEVICE_ERROR
    }));
    assert_eq!(c.state(), CKS_RW_USER_FUNCTIONS);
}

#[test]
fn there_is_a_limit_of_clients() {
    let whole = Whole::new(false, 1, "clients = 2\n");
    let (one, pair) = whole.client();
    let two = Client::open(whole.module());
    let third = whole.module();
    let slots = || {
        let mut count = 0;
        call!(third, C_GetSlotList(CK_TRUE, std::ptr::null_mut(), &raw mut count))
    };
    let begun = Instant::now();
    assert_eq!(slots(), CKR_DEVICE_ERROR);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    pair.sign(one, 1).unwrap();
    assert_eq!(two.m.finalize(), CKR_OK);
    assert!(within(10, || slots() == CKR_OK), "the place is free again");
}

/// A host that does not answer is given up in time, and another one takes its place.
#[test]
fn a_host_that_stands_still_is_not_waited_for_longer_than_the_deadline() {
    let whole = Whole::new(false, 2, "");
    let (c, pair) = whole.client();
    let host = whole.hosts()[0];
    signal(host, libc::SIGSTOP);
    // A thread of it may be faster than the signal.
    assert!(within(10, || {
        let threads = fs::read_dir(format!("/proc/{host}/task")).unwrap().flatten();
        threads.map(|thread| fs::read_to_string(thread.path().join("stat")).unwrap()).all(|stat| stat.contains(") T "))
    }));
    let begun = Instant::now();
    assert_eq!(c.sign_init(CKM_ECDSA, pair.private), Err(CKR_DEVICE_ERROR));
    let taken = begun.elapsed();
    assert!((Duration::from_millis(1900)..Duration::from_secs(4)).contains(&taken), "{taken:?}");
    assert!(within(10, || pair.sign(c, 1).is_ok()));
    signal(host, libc::SIGCONT);
    assert!(within(10, || !whole.hosts().contains(&host)), "the one that was given up ends when it can");
}

/// Whatever a client sends to its host: it is answered or cut off, and concerns nobody else.
#[test]
fn nonsense_at_the_lines_of_a_host() {
    use alikms_pkcs11::link::{Greeting, Hello, Line, Wants, decode, encode};
    let whole = Whole::new(false, 30, "");
    let (c, pair) = whole.client();
    let soon = || Instant::now() + Duration::from_secs(20);
    let connect = |version| {
        let socket = whole.folder.path().join("s");
        let line = Line::connect(&socket, soon()).unwrap();
        line.send(&encode(&Hello::new(Wants::Tokens, version)).unwrap(), soon()).unwrap();
        let said = line.receive(Some(soon())).unwrap();
        (line, decode::<Greeting>(&said).unwrap())
    };
    let (_, greeting) = connect(99);
    assert!(matches!(greeting, Greeting::Refused(reason) if reason.contains("program version 99")));
    let mut dice = Dice::thrown();
    for round in 0..12 {
        let (control, greeting) = connect(alikms_pkcs11::remote::VERSION);
        assert_eq!(greeting, Greeting::Welcome);
        for _ in 0..60 {
            let (line, end) = Line::pair().unwrap();
            control.send_end(&end).unwrap();
            drop(end);
            let len = dice.roll(120) as usize;
            let mut noise: Vec<u8> = (0..len).map(|_| dice.roll(256) as u8).collect();
            // A session and a call that exist nearly always, so that much of it is understood.
            noise.splice(..0, [0, 0, 0, 0, 0, 0, 0, 0, dice.roll(90) as u8]);
            let length = if dice.roll(10) == 0 { u32::MAX } else { noise.len() as u32 };
            noise.splice(..0, length.to_le_bytes());
            line.send(&noise, soon()).unwrap();
            // An answer, or the end of the line.
            assert_ne!(line.receive(Some(soon())).err(), Some(alikms_pkcs11::link::Lost::Late));
        }
        // What is no end of a line ends the host.
        if round % 2 == 0 {
            control.send(b"noise", soon()).unwrap();
            assert!(control.receive(Some(soon())).is_err());
        }
        pair.sign(c, round).unwrap();
    }
    assert!(within(10, || whole.hosts().len() == 1), "{:?}", whole.hosts());
    pair.sign(c, 1).unwrap();
}

#[test]
fn what_a_client_is_told_that_is_none() {
    let whole = Whole::new(false, 1, "");
    let mut command = Command::new(env!("CARGO_BIN_EXE_alikms"));
    let said = command.args(["check", "--config"]).arg(whole.conf()).output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("this alikms.toml is a client's: the store is the agent's at"), "{said}");
    // An agent for devices only has no tokens for anybody.
    let bed = crate::bed::Bed::new(1);
    let conf = bed.installation.path("client.toml");
    fs::write(&conf, format!("[client]\nsocket = \"{}\"\ndeadline = 1\n", bed.socket().display())).unwrap();
    let module = bed.installation.load();
    module.initialize(&conf);
    let mut count = 0;
    assert_eq!(call!(module, C_GetSlotList(CK_TRUE, std::ptr::null_mut(), &raw mut count)), CKR_DEVICE_ERROR);
}
