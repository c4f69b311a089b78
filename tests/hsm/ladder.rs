//! The recovery ladder, code by code, with a device that errs as told (`faulty.c`). Each story runs in a child, because
//! the SoftHSM behind the device is one for the process.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use alikms_pkcs11::Error;
use alikms_pkcs11::config::Isolate;
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::key::Material;
use alikms_pkcs11::protection::Protection;
use cryptoki_sys::*;
use uuid::Uuid;

use crate::faulty::{Call, story};
use crate::processes::in_child;
use crate::support::*;

#[test]
fn each_loss_is_mended_by_the_lowest_rung_that_does() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        let sign = || made.sign(&digest(Hash::Sha256)).unwrap();
        let (logins, finals) = (|| faulty.calls(Call::Login), || faulty.calls(Call::Finalize));
        sign();
        assert_eq!((logins(), finals()), (1, 0));
        for (call, rv, new_logins) in [
            (Call::SignInit, CKR_SESSION_HANDLE_INVALID, 0),
            (Call::SignInit, CKR_SESSION_CLOSED, 0),
            (Call::SignInit, CKR_OPERATION_ACTIVE, 0),
            (Call::SignInit, CKR_DEVICE_REMOVED, 0),
            (Call::SignInit, CKR_KEY_HANDLE_INVALID, 0),
            (Call::Sign, CKR_DEVICE_ERROR, 0),
            (Call::Sign, CKR_GENERAL_ERROR, 0),
            (Call::Sign, CKR_DEVICE_MEMORY, 0),
            (Call::SignInit, CKR_USER_NOT_LOGGED_IN, 1),
        ] {
            let before = logins();
            faulty.order(call, rv, 1);
            sign();
            assert_eq!((logins() - before, finals()), (new_logins, 0), "{rv:x}");
            sign();
        }
        // The random generator answers each rung's proof: the new session's, that after the login, that after closing all.
        faulty.order(Call::Random, CKR_DEVICE_REMOVED, 2);
        faulty.order(Call::SignInit, CKR_DEVICE_REMOVED, 1);
        sign();
        assert_eq!(finals(), 0);
        faulty.order(Call::Random, CKR_DEVICE_REMOVED, 3);
        faulty.order(Call::SignInit, CKR_DEVICE_REMOVED, 1);
        sign();
        assert_eq!(finals(), 1);
        sign();
        assert_eq!(hsm.ids().unwrap(), [made.id]);
    });
}

#[test]
fn an_error_that_stays_is_answered_and_hurts_nobody() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        for rv in
            [CKR_GENERAL_ERROR, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_KEY_FUNCTION_NOT_PERMITTED, 0x8000_1234]
        {
            let (before, closed) = (faulty.calls(Call::Sign), faulty.calls(Call::CloseAll));
            faulty.order(Call::Sign, rv, 1000);
            let answer = made.sign(&digest(Hash::Sha256));
            assert_eq!(answer, Err(Error::Device { device: "soft".to_owned(), call: "C_Sign", rv }));
            assert!(faulty.calls(Call::Sign) - before <= 2);
            assert_eq!(faulty.calls(Call::CloseAll) - closed, 0, "{rv:x}");
            faulty.order(Call::Sign, rv, 0);
            made.sign(&digest(Hash::Sha256)).unwrap();
        }
        // Codes that say that the device is lost, although it answers everything else.
        for rv in [CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID, CKR_USER_NOT_LOGGED_IN] {
            let before = faulty.calls(Call::Sign);
            faulty.order(Call::Sign, rv, 1000);
            assert!(matches!(made.sign(&digest(Hash::Sha256)), Err(Error::DeviceUnavailable { .. })));
            // With those that prove the key found anew.
            assert!(faulty.calls(Call::Sign) - before <= 10, "{rv:x}");
            faulty.order(Call::Sign, rv, 0);
            assert!(within(1, || made.sign(&digest(Hash::Sha256)).is_ok()), "{rv:x}");
        }
    });
}

#[test]
fn a_dead_device_is_asked_rarely_and_noticed_when_it_is_back() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        let all = [Call::Sign, Call::SignInit, Call::Random, Call::Open, Call::Login, Call::FindInit];
        all.iter().for_each(|call| faulty.order(*call, CKR_DEVICE_REMOVED, u64::MAX));
        let begun = Instant::now();
        let (before, mut asked) = (faulty.calls(Call::Initialize), 0);
        while begun.elapsed() < Duration::from_secs(3) {
            assert!(matches!(made.sign(&digest(Hash::Sha256)), Err(Error::DeviceUnavailable { .. })));
            asked += 1;
        }
        // Thousands on a quiet machine.
        assert!(asked > 100, "{asked}");
        let tries = faulty.calls(Call::Initialize) - before;
        // Each attempt to connect initialises the library up to seven times (`Connection::start`).
        assert!((2..=80).contains(&tries), "{tries}");
        all.iter().for_each(|call| faulty.order(*call, CKR_OK, 0));
        let begun = Instant::now();
        assert!(within(5, || made.sign(&digest(Hash::Sha256)).is_ok()));
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    });
}

#[test]
fn a_pin_that_is_refused_later_is_never_tried_again() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        assert_eq!(faulty.calls(Call::Login), 1);
        faulty.order(Call::SignInit, CKR_USER_NOT_LOGGED_IN, 1);
        faulty.order(Call::Login, CKR_PIN_INCORRECT, 1);
        let refused = Err(Error::DevicePin { device: "soft".to_owned() });
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            assert_eq!(made.sign(&digest(Hash::Sha256)), refused);
        }
        assert_eq!(faulty.calls(Call::Login), 2);
        // Nor by the children.
        assert!(in_child(|| made.sign(&digest(Hash::Sha256)) == refused));
        assert_eq!(faulty.calls(Call::Login), 2);
    });
}

#[test]
fn few_sessions_are_shared_and_their_number_is_no_error() {
    for limit in [1, 2, 4] {
        story(|faulty| {
            faulty.orders[Call::Open as usize].limit.store(limit, Ordering::SeqCst);
            let hsm = faulty.hsm(Isolate::Copy);
            let made = make(&hsm, "EC_P256", SIGN);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| (0..50).for_each(|_| made.sign(&digest(Hash::Sha256)).unwrap()));
                }
            });
        });
    }
}

#[test]
fn a_generation_that_fails_half_way_leaves_nothing_behind() {
    for isolate in [Isolate::Copy, Isolate::Share] {
        story(|faulty| {
            let hsm = faulty.hsm(isolate);
            hsm.probe().unwrap();
            let make = || hsm.generate(Uuid::new_v4(), spec("EC_P256"), SIGN);
            // Made, but the answer says otherwise.
            for rv in [CKR_DEVICE_ERROR, CKR_DEVICE_REMOVED, CKR_GENERAL_ERROR, CKR_FUNCTION_FAILED] {
                let before = faulty.calls(Call::GeneratePair);
                faulty.order_after(Call::GeneratePair, rv, 2, 1);
                assert!(make().is_err());
                // Twice at most, and then not before the first was looked for and taken away.
                assert!(faulty.calls(Call::GeneratePair) - before <= 2);
                faulty.order(Call::GeneratePair, rv, 0);
                assert!(hsm.ids().unwrap().is_empty(), "{rv:x}");
            }
            // Made otherwise than asked for.
            for attribute in [CKA_EXTRACTABLE, CKA_SENSITIVE, CKA_SIGN, CKA_NEVER_EXTRACTABLE, CKA_LOCAL] {
                faulty.order_after(Call::Get, attribute, 2, 2);
                assert!(matches!(make(), Err(Error::DeviceLacks { .. })), "{attribute:x}");
                assert!(hsm.ids().unwrap().is_empty(), "{attribute:x}");
            }
            // SoftHSM shows a whole new object as if it had no attributes, CKA_TOKEN false among them, when other processes
            // make and destroy objects at the same moment (tests/durability.rs): that is no lack of the device's.
            for attribute in [CKA_TOKEN, CKA_ID] {
                faulty.order_after(Call::Get, attribute, 1, 2);
                let made = make().unwrap();
                assert_eq!(hsm.ids().unwrap().len(), 1);
                let Material::Device { id, .. } = &made.material else { panic!("{made:?}") };
                hsm.destroy(Uuid::from_slice(id).unwrap(), &made.material).unwrap();
            }
            // It forgets one that it has just made, at such a moment: another is made.
            faulty.order(Call::Get, CKR_OBJECT_HANDLE_INVALID, 1);
            let made = make().unwrap();
            let [left] = hsm.ids().unwrap()[..] else { panic!("one is there") };
            hsm.destroy(left, &made.material).unwrap();
            // What is found by its CKA_ID and then says that it has another one may be anybody's: it is not destroyed.
            faulty.order_after(Call::Get, CKA_ID, 2, 2);
            assert!(make().is_err());
            let [left] = hsm.ids().unwrap()[..] else { panic!("one is left") };
            let material =
                Material::Device { device: "soft".into(), serial: String::new(), id: left.as_bytes().into() };
            hsm.destroy(left, &material).unwrap();
            assert!(hsm.ids().unwrap().is_empty());
            // A session that has died in the pool is no reason to refuse.
            faulty.order(Call::Random, CKR_SESSION_HANDLE_INVALID, 1);
            make().unwrap();
            assert_eq!(hsm.ids().unwrap().len(), 1);
        });
    }
}

#[test]
fn a_destruction_that_fails_is_told_and_can_be_repeated() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        faulty.order(Call::Destroy, CKR_FUNCTION_FAILED, 1);
        assert!(hsm.destroy(made.id, &made.material).is_err());
        assert_eq!(faulty.calls(Call::Destroy), 1);
        hsm.destroy(made.id, &made.material).unwrap();
        assert!(hsm.ids().unwrap().is_empty());
        // On an empty token only a new beginning proves that it is gone; with another key on it that one does.
        hsm.destroy(made.id, &made.material).unwrap();
        assert_eq!(faulty.calls(Call::Finalize), 1);
        make(&hsm, "EC_P256", SIGN);
        hsm.destroy(made.id, &made.material).unwrap();
        assert_eq!(faulty.calls(Call::Finalize), 1);
    });
}

#[test]
fn an_answer_of_the_wrong_length_is_no_signature() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        for len in [0, 10, 63] {
            faulty.order_after(Call::Sign, len, 1, 2);
            let answer = made.sign(&digest(Hash::Sha256));
            assert!(matches!(answer, Err(Error::Device { rv: CKR_DEVICE_ERROR, .. })), "{len}: {answer:?}");
        }
        // Longer than the room for it: the device is out of its mind, once; the next answer is a signature.
        for len in [65, 1 << 40] {
            faulty.order_after(Call::Sign, len, 1, 2);
            made.sign(&digest(Hash::Sha256)).unwrap();
            faulty.order_after(Call::Sign, len, 3, 2);
            assert!(made.sign(&digest(Hash::Sha256)).is_err());
            faulty.order(Call::Sign, len, 0);
        }
        made.sign(&digest(Hash::Sha256)).unwrap();
    });
}

#[test]
fn those_who_wait_while_a_call_hangs_are_told_in_time_and_others_go_on() {
    story(|faulty| {
        faulty.orders[Call::Open as usize].limit.store(2, Ordering::SeqCst);
        let hsm = faulty.hsm(Isolate::Copy);
        let made = make(&hsm, "EC_P256", SIGN);
        made.sign(&digest(Hash::Sha256)).unwrap();
        faulty.orders[Call::Sign as usize].delay.store(12_000, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let hanging = scope.spawn(|| made.sign(&digest(Hash::Sha256)));
            std::thread::sleep(Duration::from_millis(300));
            faulty.orders[Call::Sign as usize].delay.store(0, Ordering::SeqCst);
            let begun = Instant::now();
            let answer = made.sign(&digest(Hash::Sha256));
            assert!(matches!(answer, Err(Error::DeviceUnavailable { .. })), "{answer:?}");
            assert!((9..11).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
            assert_eq!(hanging.join().unwrap(), Ok(()));
        });
        made.sign(&digest(Hash::Sha256)).unwrap();
        assert_eq!(faulty.calls(Call::Close), 0);
    });
}

#[test]
fn a_shared_library_is_never_finalised_and_its_other_sessions_never_closed() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Share);
        let made = make(&hsm, "EC_P256", SIGN);
        for call in [Call::Random, Call::SignInit, Call::Login] {
            faulty.order(call, CKR_DEVICE_REMOVED, 20);
            for _ in 0..50 {
                let _ = made.sign(&digest(Hash::Sha256));
                std::thread::sleep(Duration::from_millis(5));
            }
            faulty.order(call, CKR_OK, 0);
            assert!(within(6, || made.sign(&digest(Hash::Sha256)).is_ok()));
        }
        assert_eq!((faulty.calls(Call::Finalize), faulty.calls(Call::CloseAll)), (0, 0));
        assert_eq!(faulty.calls(Call::Initialize), 1);
    });
}
