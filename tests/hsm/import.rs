//! Key material that takes two steps into the device, keys that are wrapped there, and a device that errs before, between and
//! after the steps. Each story runs in a child, because the SoftHSM behind the device is one for the process.

use alikms_pkcs11::Error;
use alikms_pkcs11::config::Isolate;
use alikms_pkcs11::model::algorithm::{Cipher, Job};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::protection::hsm::import::Unwrapping;
use alikms_pkcs11::protection::{Protection, Usages};
use cryptoki::context::Pkcs11;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki_sys::*;
use uuid::Uuid;

use crate::faulty::{Call, Faulty, story};
use crate::support::*;

const KIND: Unwrapping = Unwrapping::RsaAes(Hash::Sha1);

/// Every secret key that the SoftHSM of this process has, of the token and of any session.
fn secrets(client: &Pkcs11) -> usize {
    let session = client.open_ro_session(client.get_slots_with_token().unwrap()[0]).unwrap();
    session.find_objects(&[Attribute::Class(ObjectClass::SECRET_KEY)]).unwrap().len()
}

/// Fails the call of this number, or, with `after`, answers that it failed although it did not.
fn fail(faulty: &Faulty, call: Call, rv: CK_RV, skip: u64, after: bool) {
    faulty.skips[call as usize].store(skip, std::sync::atomic::Ordering::SeqCst);
    faulty.order_after(call, rv, 1, u64::from(after));
}

#[test]
fn an_import_that_fails_between_its_steps_leaves_nothing_behind() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let (wrapper, aes) = (Uuid::new_v4(), spec("Aliyun_AES_256"));
        let (_, public) = hsm.wrapping_pair(wrapper, spec("RSA_2048")).unwrap();
        let wrapped = wrap(&public, KIND, &[7; 32]);
        let client = Pkcs11::new(LIBRARY).unwrap();
        let import = || {
            let id = Uuid::new_v4();
            hsm.unwrap(wrapper, KIND, &wrapped, (id, aes, CRYPT)).map(|material| (id, material))
        };
        let works = || {
            let (id, material) = import().unwrap();
            assert_eq!(secrets(&client), 1, "the key in between is gone");
            let key = hsm.open(id, aes, &material, None).unwrap();
            key.once(&Job::Encrypt(Cipher::AesEcb), &[0; 16]).unwrap();
            hsm.destroy(id, &material).unwrap();
        };
        works();
        for (step, after) in [(0, false), (0, true), (1, false), (1, true)] {
            for rv in [
                CKR_GENERAL_ERROR,
                CKR_DEVICE_ERROR,
                CKR_WRAPPED_KEY_INVALID,
                CKR_DEVICE_REMOVED,
                CKR_SESSION_HANDLE_INVALID,
                CKR_USER_NOT_LOGGED_IN,
                CKR_DEVICE_MEMORY,
                CKR_FUNCTION_NOT_SUPPORTED,
            ] {
                let before = faulty.calls(Call::Unwrap);
                fail(&faulty, Call::Unwrap, rv, step, after);
                let error = import().unwrap_err();
                // Never blindly again.
                assert_eq!(faulty.calls(Call::Unwrap) - before, step + 1, "{rv:x} {step} {after}: {error}");
                assert_eq!((secrets(&client), hsm.ids().unwrap()), (0, vec![wrapper]), "{rv:x} {step} {after}");
                match rv {
                    CKR_GENERAL_ERROR | CKR_DEVICE_ERROR | CKR_WRAPPED_KEY_INVALID => {
                        assert_eq!(error, Error::Ciphertext, "{step} {after}");
                    }
                    CKR_FUNCTION_NOT_SUPPORTED => assert!(matches!(error, Error::DeviceLacks { .. }), "{error}"),
                    _ => {
                        let is_lost = matches!(error, Error::Device { .. } | Error::DeviceUnavailable { .. });
                        assert!(is_lost, "{rv:x} {step} {after}: {error}");
                    }
                }
                works();
            }
        }
        // The key in between is made, does its work, and is said not to go.
        for after in [false, true] {
            fail(&faulty, Call::Destroy, CKR_FUNCTION_FAILED, 0, after);
            import().unwrap_err();
            assert_eq!((secrets(&client), hsm.ids().unwrap()), (0, vec![wrapper]));
            works();
        }
        std::mem::forget(client);
    });
}

/// What is wrapped is an object of a session there, and what is unwrapped is one that can be read: neither stays.
#[test]
fn a_wrapping_that_fails_half_way_leaves_no_secret_in_the_device() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let (wrapper, id, aes) = (Uuid::new_v4(), Uuid::new_v4(), spec("Aliyun_AES_256"));
        let (_, public) = hsm.wrapping_pair(wrapper, spec("RSA_2048")).unwrap();
        let usages = Usages { wrap: true, unwrap: true, ..Usages::default() };
        let material = hsm.unwrap(wrapper, KIND, &wrap(&public, KIND, &[7; 32]), (id, aes, usages)).unwrap();
        let key = hsm.open(id, aes, &material, None).unwrap();
        let client = Pkcs11::new(LIBRARY).unwrap();
        let cipher = || Cipher::AesKeyWrap { iv: None };
        let wrapped = key.once(&Job::Encrypt(cipher()), &[5; 32]).unwrap();
        let works = || {
            assert_eq!(key.once(&Job::Encrypt(cipher()), &[5; 32]), Ok(wrapped.clone()));
            assert_eq!(key.once(&Job::Decrypt(cipher()), &wrapped).unwrap().as_slice(), [5; 32]);
            assert_eq!(secrets(&client), 1, "the wrapping key itself");
        };
        works();
        let (encrypt, decrypt) = (Job::Encrypt(cipher()), Job::Decrypt(cipher()));
        for (call, job, input) in [
            (Call::Create, &encrypt, &[5; 32][..]),
            (Call::Wrap, &encrypt, &[5; 32]),
            (Call::Destroy, &encrypt, &[5; 32]),
            (Call::Unwrap, &decrypt, &wrapped),
            (Call::Get, &decrypt, &wrapped),
            (Call::Destroy, &decrypt, &wrapped),
        ] {
            for rv in [CKR_GENERAL_ERROR, CKR_DEVICE_REMOVED, CKR_SESSION_HANDLE_INVALID, CKR_FUNCTION_NOT_SUPPORTED] {
                for after in [false, true] {
                    fail(&faulty, call, rv, 0, after);
                    // Recovery may have made it good.
                    if let Ok(answer) = key.once(job, input) {
                        assert_eq!(answer.len(), 72 - input.len(), "{rv:x}");
                    }
                    faulty.order(call, CKR_OK, 0);
                    assert!(secrets(&client) <= 1, "{} {rv:x} {after}", call as usize);
                    works();
                }
            }
        }
        std::mem::forget(client);
    });
}

/// A vague answer is the material's fault only if the device still has what it should unwrap by.
#[test]
fn a_device_that_is_lost_is_not_the_materials_fault() {
    story(|faulty| {
        let hsm = faulty.hsm(Isolate::Copy);
        let (wrapper, aes) = (Uuid::new_v4(), spec("Aliyun_AES_256"));
        let (_, public) = hsm.wrapping_pair(wrapper, spec("RSA_2048")).unwrap();
        for kind in [KIND, Unwrapping::Oaep(Hash::Sha1), Unwrapping::Pkcs1] {
            let wrapped = wrap(&public, kind, &[7; 32]);
            faulty.order(Call::Unwrap, CKR_GENERAL_ERROR, 1);
            // The first is asked before anything is unwrapped.
            fail(&faulty, Call::Random, CKR_DEVICE_REMOVED, 1, false);
            let error = hsm.unwrap(wrapper, kind, &wrapped, (Uuid::new_v4(), aes, CRYPT)).map(drop).unwrap_err();
            assert!(matches!(error, Error::DeviceUnavailable { .. }), "{kind:?}: {error}");
            assert_eq!(hsm.ids().unwrap(), [wrapper]);
        }
    });
}
