//! A small reference model of sessions, login, operations and objects, and random sequences of calls that are made to both:
//! every CK_RV and every length must be the same. `ALIKMS_MODEL_SEED` sets the seed, which a failure prints;
//! `ALIKMS_MODEL_CALLS` the number of calls, 200,000 otherwise.

#[path = "model/calls.rs"]
mod calls;
#[path = "model/objects.rs"]
mod objects;
#[path = "model/work.rs"]
mod work;

use std::collections::BTreeMap;

use cryptoki_sys::*;

use crate::support::{Installation, Module};
use work::{Digest, Work};

/// Each thread has a module, an installation and a model of its own.
const THREADS: u64 = 2;
/// So many names of calls there are; each step of an operation is one.
const CALLS: usize = 38;

/// Numbers from a seed, the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % sides
    }

    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.roll(list.len())]
    }

    /// Once in so many times.
    pub fn rarely(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Login {
    Nobody,
    Officer,
    User,
}

/// The code in an answer.
trait Answer: PartialEq + std::fmt::Debug {
    fn code(&self) -> CK_RV;
}

impl Answer for CK_RV {
    fn code(&self) -> CK_RV {
        *self
    }
}

impl<T: PartialEq + std::fmt::Debug> Answer for (CK_RV, T) {
    fn code(&self) -> CK_RV {
        self.0
    }
}

/// How often which call was answered by which code.
type Tally = BTreeMap<(String, CK_RV), u64>;

/// An object as the model knows it.
#[derive(Clone, Debug)]
struct Object {
    /// None: a token object.
    session: Option<CK_SESSION_HANDLE>,
    class: CK_OBJECT_CLASS,
    /// Of the value, in bytes.
    length: usize,
    key_type: CK_KEY_TYPE,
    private: bool,
    sensitive: bool,
    extractable: bool,
    copyable: bool,
    label: usize,
    uses: Vec<CK_ATTRIBUTE_TYPE>,
}

impl Object {
    fn is_key(&self) -> bool {
        self.class == CKO_SECRET_KEY
    }
}

#[derive(Default, Debug)]
struct Session {
    read_write: bool,
    /// What a search has still to give out.
    find: Option<Vec<CK_OBJECT_HANDLE>>,
    digest: Option<Digest>,
    encrypt: Option<Work>,
    decrypt: Option<Work>,
    sign: Option<Work>,
    verify: Option<Work>,
}

struct Model {
    m: &'static Module,
    slot: CK_SLOT_ID,
    dice: Dice,
    login: Login,
    sessions: BTreeMap<CK_SESSION_HANDLE, Session>,
    /// Handles of sessions that are closed: never valid again.
    closed: Vec<CK_SESSION_HANDLE>,
    objects: BTreeMap<CK_OBJECT_HANDLE, Object>,
    gone: Vec<CK_OBJECT_HANDLE>,
    /// A wrapped key, and its length unwrapped.
    wrapped: Option<(Vec<u8>, usize)>,
    /// What was called, for the message of a failure.
    log: Vec<String>,
    tally: Tally,
    calls: u64,
    seed: u64,
}

impl Model {
    fn new(m: &'static Module, seed: u64) -> Self {
        Self {
            m,
            slot: m.slot(),
            dice: Dice(seed),
            login: Login::Nobody,
            sessions: BTreeMap::new(),
            closed: Vec::new(),
            objects: BTreeMap::new(),
            gone: Vec::new(),
            wrapped: None,
            log: Vec::new(),
            tally: Tally::new(),
            calls: 0,
            seed,
        }
    }

    /// Compares what the module answered with what the model expects.
    fn same<T: Answer>(&mut self, call: String, expected: T, found: T) {
        self.calls += 1;
        let name = call.split('(').next().unwrap_or_default().to_owned();
        *self.tally.entry((name, found.code())).or_default() += 1;
        let is_same = expected == found;
        self.log.push(format!("{call} -> {found:x?}"));
        if self.log.len() > 60 && is_same {
            self.log.drain(..30);
        }
        assert!(
            is_same,
            "ALIKMS_MODEL_SEED={} after {} calls: {call} answered {found:x?}, the model says {expected:x?}\n{}",
            self.seed,
            self.calls,
            self.log.join("\n")
        );
    }

    /// A session: nearly always one that is open.
    fn some_session(&mut self) -> CK_SESSION_HANDLE {
        if self.dice.rarely(200) {
            return self.dice.of(&[0, 1, CK_ULONG::MAX, 1 << 40]);
        }
        if !self.closed.is_empty() && self.dice.rarely(100) {
            let closed = self.closed.clone();
            return self.dice.of(&closed);
        }
        let open: Vec<_> = self.sessions.keys().copied().collect();
        if open.is_empty() { 0 } else { self.dice.of(&open) }
    }

    /// Is an object of this kind seen by whoever is logged in?
    fn sees(&self, private: bool) -> bool {
        !private || self.login == Login::User
    }

    /// The object behind a handle, if it may be seen.
    fn item(&self, handle: CK_OBJECT_HANDLE) -> Option<&Object> {
        self.objects.get(&handle).filter(|object| self.sees(object.private))
    }

    /// An object: mostly one that is there, if possible one that fits.
    fn some_object(&mut self, fits: impl Fn(&Object) -> bool) -> CK_OBJECT_HANDLE {
        let gone = self.gone.clone();
        if self.dice.rarely(50) {
            return if gone.is_empty() { 999_999 } else { self.dice.of(&gone) };
        }
        let good: Vec<_> = self.objects.iter().filter(|(_, object)| fits(object)).map(|(handle, _)| *handle).collect();
        let all: Vec<_> = self.objects.keys().copied().collect();
        match (good.is_empty() || self.dice.rarely(10), all.is_empty()) {
            (_, true) => 0,
            (true, false) => self.dice.of(&all),
            (false, false) => self.dice.of(&good),
        }
    }

    fn forget(&mut self, which: impl Fn(&Object) -> bool) {
        let gone: Vec<_> = self.objects.iter().filter(|(_, object)| which(object)).map(|(handle, _)| *handle).collect();
        for handle in gone {
            self.objects.remove(&handle);
            self.gone.push(handle);
        }
        let extra = self.gone.len().saturating_sub(100);
        self.gone.drain(..extra);
    }

    /// One call, of those that are made often or seldom.
    fn step(&mut self) {
        if self.sessions.is_empty() || self.dice.rarely(60) {
            return self.step_session();
        }
        let limit = 60;
        match self.dice.roll(100) {
            0..=3 => self.step_session(),
            4..=11 if self.objects.len() < limit => self.create(),
            4..=11 => self.destroy(),
            12..=13 => self.destroy(),
            14..=15 if self.objects.len() < limit => self.copy(),
            16..=19 => self.read(),
            20..=22 => self.change(),
            23..=28 => self.search(),
            29..=40 => self.digest_call(),
            41..=58 => self.cipher_call(true),
            59..=73 => self.cipher_call(false),
            74..=84 => self.sign_call(),
            85..=93 => self.verify_call(),
            94..=95 => self.cancel(),
            96..=97 => self.wrap(),
            98 if self.dice.rarely(2) => self.dual_call(),
            _ if self.objects.len() < limit => self.unwrap(),
            _ => self.destroy(),
        }
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(seed: u64, calls: u64) -> Tally {
    let installation = Installation::software();
    let module = installation.start();
    let mut model = Model::new(module, seed);
    while model.calls < calls {
        model.step();
    }
    model.tally
}

#[test]
fn random_calls_are_answered_as_the_model_says() {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let seed = number("ALIKMS_MODEL_SEED", clock.as_nanos() as u64 % 1_000_000_000);
    let calls = number("ALIKMS_MODEL_CALLS", 200_000);
    println!("ALIKMS_MODEL_SEED={seed}: {calls} calls");
    let started = std::time::Instant::now();
    let mut tally = Tally::new();
    std::thread::scope(|scope| {
        let runs: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || run(seed + thread, calls.div_ceil(THREADS)))).collect();
        for run in runs {
            let found = run.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            for (answer, count) in found {
                *tally.entry(answer).or_default() += count;
            }
        }
    });
    println!("{:.1} s", started.elapsed().as_secs_f64());
    for ((call, code), count) in &tally {
        println!("{count:8} {call} -> {code:#x}");
    }
    // The dice reached every call, and mostly with success; what is verified here is never right.
    if calls >= 100_000 {
        let names: std::collections::BTreeSet<_> = tally.keys().map(|(name, _)| name.clone()).collect();
        assert_eq!(names.len(), CALLS, "{names:?}");
        for name in names {
            let good =
                if ["verify Whole", "verify Last"].contains(&name.as_str()) { CKR_SIGNATURE_INVALID } else { CKR_OK };
            let count = tally.get(&(name.clone(), good)).copied().unwrap_or(0);
            assert!(count >= 20, "{name} succeeded {count} times");
        }
    }
}
