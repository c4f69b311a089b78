//! What the pool costs: a signature through it against the same one made with the library directly.

use std::time::{Duration, Instant};

use alikms_pkcs11::model::algorithm::{Job, Signing};
use alikms_pkcs11::model::hash::Hash;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;

use crate::support::*;

/// Measured, not asserted: other tests run beside it. `cargo test --release --test hsm -- --ignored --nocapture speed`.
#[test]
#[ignore = "a measurement"]
fn speed_of_a_signature_through_the_pool() {
    let token = Token::new();
    let hsm = token.hsm();
    for (name, signing, turns) in [("EC_P256", Signing::Ecdsa, 2000), ("RSA_2048", Signing::RsaPkcs1, 200)] {
        let made = make(&hsm, name, SIGN);
        let pkcs11 = token.application();
        let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
        let session = pkcs11.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        let id = Attribute::Id(made.id.as_bytes().to_vec());
        let key = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), id]).unwrap()[0];
        let mechanism = if name == "EC_P256" { Mechanism::Ecdsa } else { Mechanism::RsaPkcs };
        let (input, job) = (digest(Hash::Sha256), Job::Sign(signing));
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..10 {
            let begun = Instant::now();
            (0..turns).for_each(|_| drop(session.sign(&mechanism, key, &input).unwrap()));
            theirs.push(begun.elapsed() / turns);
            let begun = Instant::now();
            (0..turns).for_each(|_| drop(made.key.once(&job, &input).unwrap()));
            ours.push(begun.elapsed() / turns);
        }
        let median = |times: &mut Vec<Duration>| {
            times.sort_unstable();
            times[times.len() / 2]
        };
        println!("{name}: pool {:?}, cryptoki {:?}", median(&mut ours), median(&mut theirs));
        drop(session);
        pkcs11.finalize().unwrap();
    }
}
