//! A device that errs at random while threads work with it: more than 100,000 operations a run, and never a wrong result,
//! a key that is lost or there twice, a second attempt with a PIN that was refused, or a wedge.
//!
//! `ALIKMS_SEED=n` repeats a storm, `ALIKMS_STORM=n` makes it n times as long. Threads make the order of calls another one
//! each time, so that the same seed is the same weather but not the same accident.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use alikms_pkcs11::config::Isolate;
use alikms_pkcs11::model::algorithm::{Cipher, Job, Mac, Signing};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::key::Material;
use alikms_pkcs11::protection::Protection;
use alikms_pkcs11::protection::hsm::Hsm;
use alikms_pkcs11::{Error, Result};
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::UserType;
use cryptoki::types::AuthPin;
use uuid::Uuid;

use crate::faulty::{FAULTS, Faulty, library};
use crate::processes::{in_child, in_child_for};
use crate::support::*;

/// Longer than anybody waits, for a session and then for those that are lent: whoever waits longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(25);
const WORKERS: u64 = 4;
/// How many keys the one that makes and destroys keeps.
const KEPT: usize = 6;

struct Weather<'a> {
    name: &'static str,
    kinds: &'a [&'static str],
    /// One call of the device in so many is struck.
    every: u64,
    operations: u64,
    isolate: Isolate,
    /// Whether keys are made and destroyed meanwhile.
    churn: bool,
}

#[test]
fn sessions_and_logins_are_forgotten() {
    let kinds = &["before", "after", "slow", "sessions", "logged out", "restart", "shrink", "wrong PIN"];
    weather(&Weather { name: "sessions", kinds, every: 80, operations: 30_000, isolate: Isolate::Copy, churn: true });
}

#[test]
fn anything_may_happen() {
    let kinds: Vec<_> = FAULTS[1..].iter().copied().filter(|kind| *kind != "pretend").collect();
    weather(&Weather {
        name: "anything",
        kinds: &kinds,
        every: 120,
        operations: 30_000,
        isolate: Isolate::Copy,
        churn: true,
    });
}

#[test]
fn the_library_is_shared_and_the_device_forgets() {
    let kinds =
        &["before", "after", "code", "slow", "sessions", "logged out", "handles", "restart", "length", "blackout"];
    weather(&Weather { name: "shared", kinds, every: 120, operations: 25_000, isolate: Isolate::Share, churn: true });
}

#[test]
fn keys_are_swapped_behind_their_ids() {
    let kinds = &["swap", "pretend", "handles", "restart", "logged out"];
    weather(&Weather { name: "swaps", kinds, every: 40, operations: 25_000, isolate: Isolate::Copy, churn: false });
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn weather(weather: &Weather) {
    library();
    let faulty = Faulty::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let seed = number("ALIKMS_SEED").unwrap_or(now as u64 % 1_000_000);
    eprintln!("{}: repeat with ALIKMS_SEED={seed}", weather.name);
    faulty.storm.seed.store(seed, Ordering::SeqCst);
    assert!(in_child_for(600, || {
        live_through(weather, &faulty);
        true
    }));
    // What is really on the token, asked of SoftHSM itself: one private key and its public half for each that should be there.
    let told = std::fs::read_to_string(faulty.token.directory.path().join("live")).unwrap();
    let live: BTreeSet<Uuid> = told.lines().map(|line| line.parse().unwrap()).collect();
    assert!(in_child(|| {
        let pkcs11 = faulty.token.application();
        let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
        let session = pkcs11.open_rw_session(slot).unwrap();
        session.login(UserType::User, Some(&AuthPin::new(PIN.into()))).unwrap();
        let ids = |class| -> Vec<Uuid> {
            let objects = session.find_objects(&[Attribute::Class(class)]).unwrap();
            let id = |object| match &session.get_attributes(object, &[AttributeType::Id]).unwrap()[..] {
                [Attribute::Id(id)] => Uuid::from_slice(id).unwrap(),
                other => panic!("{other:?}"),
            };
            objects.into_iter().map(id).collect()
        };
        let (private, public) = (ids(ObjectClass::PRIVATE_KEY), ids(ObjectClass::PUBLIC_KEY));
        let secret = ids(ObjectClass::SECRET_KEY);
        assert_eq!(private.len() + secret.len(), live.len(), "a key is lost, or there twice");
        assert_eq!(private.iter().chain(&secret).copied().collect::<BTreeSet<_>>(), live);
        assert_eq!(public.iter().copied().collect::<BTreeSet<_>>(), private.iter().copied().collect());
        assert_eq!(public.len(), private.len());
        true
    }));
}

/// A key, and what the right answers are.
struct Known {
    made: Made,
    answer: Option<(Job, Vec<u8>)>,
}

impl Known {
    fn new(hsm: &Hsm, name: &str) -> Self {
        let secret = |usages, job: Job| {
            let made = make(hsm, name, usages);
            let answer = made.key.once(&job, &[7; 64]).unwrap().to_vec();
            Self { made, answer: Some((job, answer)) }
        };
        match name {
            "Aliyun_AES_256" => secret(CRYPT, Job::Encrypt(Cipher::AesCbc { iv: [3; 16] })),
            "HMAC_SHA_256" => secret(MAC, Job::Mac(Mac::Hmac(Hash::Sha256))),
            "RSA_2048" => secret(SIGN, Job::Sign(Signing::RsaPkcs1)),
            _ => Self { made: make(hsm, name, SIGN), answer: None },
        }
    }

    /// One operation; panics over a wrong answer.
    fn work(&self) -> Result<()> {
        match &self.answer {
            Some((job, right)) => {
                let answer = self.made.key.once(job, &[7; 64])?;
                assert_eq!(answer.as_slice(), right, "a wrong answer is worse than none");
                Ok(())
            }
            None => self.made.sign(&digest(Hash::Sha256)),
        }
    }
}

struct Log {
    good: AtomicU64,
    bad: AtomicU64,
    pins: Mutex<u64>,
}

impl Log {
    /// What may be answered in a storm: that the device does not work, never that the key is not there.
    fn judge(&self, faulty: &Faulty, answer: Result<()>, begun: Instant) {
        assert!(begun.elapsed() < PATIENCE, "wedged: {answer:?} took {:?}", begun.elapsed());
        match answer {
            Ok(()) => {
                self.good.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(Error::DevicePin { .. }) => {
                // The administrator comes and puts the right one into the file.
                let mut pins = self.pins.lock().unwrap();
                *pins += 1;
                faulty.token.set_pin(&format!("{PIN}-{pins}"));
            }
            // A code of any kind, and it may be the one for a wrong ciphertext or a mechanism that is missing.
            Err(Error::DeviceUnavailable { .. } | Error::Device { .. } | Error::DeviceLacks { .. }) => {}
            Err(Error::Ciphertext | Error::CiphertextLength | Error::DataLength) => {}
            Err(other) => panic!("{other}"),
        }
        self.bad.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn live_through(weather: &Weather, faulty: &Faulty) {
    let operations = weather.operations * number("ALIKMS_STORM").unwrap_or(1);
    let hsm = faulty.hsm(weather.isolate);
    faulty.token.set_pin(&format!("{PIN}-0"));
    let names = ["EC_P256", "EC_P256", "EC_P256", "RSA_2048", "Aliyun_AES_256", "HMAC_SHA_256"];
    // What pretends to be a secret key cannot be told from it.
    let names = if weather.kinds.contains(&"pretend") { &names[..4] } else { &names[..] };
    let keys: Vec<Known> = names.iter().map(|name| Known::new(&hsm, name)).collect();
    let log = Log { good: AtomicU64::new(0), bad: AtomicU64::new(0), pins: Mutex::new(0) };
    let kinds = weather.kinds.iter().map(|kind| FAULTS.iter().position(|known| known == kind).unwrap());
    faulty.storm.kinds.store(kinds.map(|kind| 1 << kind).sum(), Ordering::SeqCst);
    faulty.storm.every.store(weather.every, Ordering::SeqCst);
    let begun = Instant::now();
    let mut churned = Churn::default();
    std::thread::scope(|scope| {
        let (log, keys) = (&log, &keys);
        for worker in 0..WORKERS {
            scope.spawn(move || {
                let mut turn = worker as usize;
                while log.good.load(Ordering::Relaxed) < operations {
                    turn += 1;
                    let begun = Instant::now();
                    let answer = keys[turn % keys.len()].work();
                    log.judge(faulty, answer, begun);
                }
            });
        }
        if weather.churn {
            let (churned, hsm) = (&mut churned, &hsm);
            scope.spawn(move || {
                while log.good.load(Ordering::Relaxed) < operations {
                    churned.turn(hsm, faulty, log);
                }
            });
        }
    });
    let took = begun.elapsed();
    let pin = *log.pins.lock().unwrap() + 1;
    faulty.token.set_pin(&format!("{PIN}-{pin}"));
    faulty.storm.every.store(0, Ordering::SeqCst);
    let calm = Instant::now();
    for known in &keys {
        assert!(within(5, || known.work().is_ok()), "it does not come back by itself");
    }
    let back = calm.elapsed();
    assert!(back < Duration::from_millis(2500), "{back:?} until everything worked again");
    churned.settle(&hsm);
    let mut live: Vec<Uuid> =
        keys.iter().map(|known| known.made.id).chain(churned.live.iter().map(|(id, _)| *id)).collect();
    live.sort_unstable();
    assert_eq!(hsm.ids().unwrap(), live);
    let text: String = live.iter().map(|id| format!("{id}\n")).collect();
    std::fs::write(faulty.token.directory.path().join("live"), text).unwrap();
    assert_eq!(faulty.storm.again.load(Ordering::SeqCst), 0, "a PIN that was refused was tried again");
    let strikes: Vec<String> = FAULTS
        .iter()
        .zip(&faulty.storm.strikes)
        .map(|(name, count)| (name, count.load(Ordering::SeqCst)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    eprintln!(
        "{}: {} right answers, {} refusals, {} keys made, {} destroyed, in {took:?}; back in {back:?}; {}",
        weather.name,
        log.good.load(Ordering::Relaxed),
        log.bad.load(Ordering::Relaxed),
        churned.made,
        churned.destroyed,
        strikes.join(", ")
    );
    // Searches are rare; where swaps are the point there are enough of them.
    for kind in weather.kinds.iter().filter(|kind| !weather.churn || **kind != "swap") {
        let at = FAULTS.iter().position(|known| known == kind).unwrap();
        assert!(faulty.storm.strikes[at].load(Ordering::SeqCst) > 0, "{kind} never happened");
    }
}

/// Keys that come and go.
#[derive(Default)]
struct Churn {
    live: Vec<(Uuid, Material)>,
    /// What must go, and is not known to be gone.
    doomed: Vec<(Uuid, Material)>,
    made: u64,
    destroyed: u64,
}

impl Churn {
    fn turn(&mut self, hsm: &Hsm, faulty: &Faulty, log: &Log) {
        let id = Uuid::new_v4();
        let begun = Instant::now();
        match hsm.generate(id, spec("EC_P256"), SIGN) {
            Ok(made) => {
                self.live.push((id, made.material));
                self.made += 1;
            }
            Err(error) => {
                // As a store does with its intent: what there may be of it goes before anything else.
                let material =
                    Material::Device { device: "soft".into(), serial: String::new(), id: id.as_bytes().to_vec() };
                self.doomed.push((id, material));
                if !matches!(error, Error::Internal(_)) {
                    log.judge(faulty, Err(error), begun);
                }
            }
        }
        if self.live.len() > KEPT {
            let oldest = self.live.remove(0);
            self.doomed.push(oldest);
        }
        self.doomed.retain(|(id, material)| {
            let begun = Instant::now();
            let answer = hsm.destroy(*id, material);
            let gone = answer.is_ok();
            self.destroyed += u64::from(gone);
            if !gone {
                log.judge(faulty, answer, begun);
            }
            !gone
        });
        std::thread::sleep(Duration::from_millis(5));
    }

    fn settle(&mut self, hsm: &Hsm) {
        for (id, material) in self.doomed.drain(..) {
            hsm.destroy(id, &material).unwrap();
        }
    }
}
