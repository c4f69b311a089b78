//! What is missing, refused or lost.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use alikms_pkcs11::Error;
use alikms_pkcs11::config::Isolate;
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::protection::Protection;

use crate::support::*;

/// The sentence of `DeviceUnavailable`.
fn reason<T>(answer: alikms_pkcs11::Result<T>) -> String {
    match answer {
        Err(Error::DeviceUnavailable { device, reason }) if device == "soft" => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it worked"),
    }
}

#[test]
fn what_is_missing_is_named() {
    let token = Token::new();
    let with = |change: &dyn Fn(&mut alikms_pkcs11::config::DeviceConfig)| {
        let mut config = token.config();
        change(&mut config);
        reason(alikms_pkcs11::protection::hsm::Hsm::new(config).probe())
    };
    let said = with(&|config| config.library = "/nowhere/lib.so".into());
    assert_eq!(said, "there is no library at /nowhere/lib.so");
    let said = with(&|config| config.library = "/etc/hostname".into());
    assert!(said.contains("/etc/hostname"), "{said}");
    for isolate in [Isolate::Copy, Isolate::Share] {
        let said = with(&|config| {
            // A library, but not of this kind; SoftHSM is linked to it.
            config.library = format!("/usr/lib/{}-linux-gnu/libcrypto.so.3", std::env::consts::ARCH).into();
            config.isolate = Some(isolate);
        });
        assert!(said.contains("is not a PKCS#11 library"), "{said}");
    }
    let begun = Instant::now();
    let said = with(&|config| config.token = Some("another".to_owned()));
    // A mistake in the name is told at once: no waiting for a token that is being written just now.
    assert!(begun.elapsed() < Duration::from_millis(700), "{:?}", begun.elapsed());
    assert!(said.starts_with("there is no token with label \"another\"; present: \"alikms test\" (serial "), "{said}");
    let said = with(&|config| config.serial = Some("0000".to_owned()));
    assert!(said.contains("serial \"0000\""), "{said}");
    let said = with(&|config| config.profile = "unheard of".to_owned());
    assert!(said.contains("\"unheard of\""), "{said}");
    // SoftHSM shows one more slot with a token that is not initialised.
    let said = with(&|config| {
        config.token = None;
        config.slot = Some(1);
    });
    assert!(said.contains("not initialised"), "{said}");
}

#[test]
fn a_token_is_chosen_by_all_that_is_given() {
    let token = Token::new();
    token.add("another");
    let mut config = token.config();
    config.token = Some("another".to_owned());
    let report = alikms_pkcs11::protection::hsm::Hsm::new(config.clone()).probe().unwrap();
    assert_eq!(report.token, "another");
    config.token = None;
    config.serial = Some(report.serial.clone());
    assert_eq!(alikms_pkcs11::protection::hsm::Hsm::new(config.clone()).probe().unwrap().token, "another");
    config.token = Some(LABEL.to_owned());
    assert!(reason(alikms_pkcs11::protection::hsm::Hsm::new(config).probe()).contains(&report.serial));
    token.add(LABEL);
    assert!(reason(token.hsm().probe()).contains("more than one"));
}

/// The count of wrong attempts is the device's own: SoftHSM shows by a flag that there was one, and takes it back after
/// a right one.
#[test]
fn a_wrong_pin_is_tried_once_and_a_new_one_without_restart() {
    let token = Token::new();
    token.set_pin("9999");
    let hsm = token.hsm();
    let refused = Err(Error::DevicePin { device: "soft".to_owned() });
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(hsm.probe().map(|_| ()), refused));
        }
    });
    assert!(token.has_wrong_pins(), "it was tried");
    token.log_in_rightly();
    assert!(!token.has_wrong_pins());
    let end = Instant::now() + Duration::from_secs(2);
    while Instant::now() < end {
        assert_eq!(hsm.probe().map(|_| ()), refused);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!token.has_wrong_pins(), "it was tried again");
    token.set_pin(PIN);
    assert!(within(1, || hsm.probe().is_ok()));
}

#[test]
fn a_dead_device_answers_fast() {
    let token = Token::new();
    let hsm = token.hsm();
    fs::rename(token.objects(), token.directory.path().join("away")).unwrap();
    let first = reason(hsm.probe());
    let begun = Instant::now();
    for _ in 0..1000 {
        reason(hsm.probe());
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(!first.is_empty());
    fs::rename(token.directory.path().join("away"), token.objects()).unwrap();
    assert!(within(1, || hsm.probe().is_ok()));
}

/// SoftHSM forgets its objects when its directory goes, and only C_Finalize and C_Initialize bring them back.
#[test]
fn a_token_moved_away_and_back_works_again_by_itself() {
    let token = Token::new();
    let hsm = token.hsm();
    let made = make(&hsm, "EC_P256", SIGN);
    let other = make(&hsm, "Aliyun_AES_256", CRYPT);
    let away = token.directory.path().join("away");
    for turn in 0..3 {
        made.sign(&digest(Hash::Sha256)).unwrap();
        fs::rename(token.objects(), &away).unwrap();
        for _ in 0..20 {
            let said = reason(made.sign(&digest(Hash::Sha256)));
            assert!(!said.is_empty());
            // Never taken for a deleted key: a caller would forget it.
            let said = reason(hsm.open(made.id, made.spec, &made.material, made.public.as_ref()));
            assert!(!said.is_empty());
            let said = reason(hsm.destroy(made.id, &made.material));
            assert!(!said.is_empty());
            std::thread::sleep(Duration::from_millis(10 * turn));
        }
        fs::rename(&away, token.objects()).unwrap();
        let begun = Instant::now();
        assert!(within(2, || made.sign(&digest(Hash::Sha256)).is_ok()), "turn {turn}");
        assert!(begun.elapsed() < Duration::from_millis(1200), "{:?}", begun.elapsed());
    }
    assert_eq!(hsm.ids().unwrap().len(), 2);
    hsm.destroy(made.id, &made.material).unwrap();
    assert_eq!(hsm.ids().unwrap(), [other.id]);
}

#[test]
fn a_token_moved_away_under_load_costs_no_wrong_signature_and_no_restart() {
    let token = Token::new();
    let hsm = token.hsm();
    let keys = [make(&hsm, "EC_P256", SIGN), make(&hsm, "EC_P256", SIGN)];
    let (stop, good, bad) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let away = token.directory.path().join("away");
    std::thread::scope(|scope| {
        for turn in 0..8 {
            let (keys, stop, good, bad) = (&keys, &stop, &good, &bad);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    match keys[turn % 2].sign(&digest(Hash::Sha256)) {
                        Ok(()) => good.fetch_add(1, Ordering::Relaxed),
                        Err(Error::DeviceUnavailable { .. }) => bad.fetch_add(1, Ordering::Relaxed),
                        Err(other) => panic!("{other}"),
                    };
                }
            });
        }
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(200));
            fs::rename(token.objects(), &away).unwrap();
            std::thread::sleep(Duration::from_millis(100));
            fs::rename(&away, token.objects()).unwrap();
            let before = good.load(Ordering::Relaxed);
            assert!(within(2, || good.load(Ordering::Relaxed) > before + 10), "it did not come back");
        }
        stop.store(true, Ordering::Relaxed);
    });
    // It may even be none: who waits for recovery does not notice.
    println!("{good:?} signatures, {bad:?} refusals");
}
