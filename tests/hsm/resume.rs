//! How soon signing goes on by itself when the device is back:
//! `cargo test --release --test hsm -- --ignored --nocapture resume`.

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use alikms_pkcs11::config::{DeviceConfig, Isolate};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::protection::hsm::{Hsm, Turnstile};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};

use crate::processes::in_child_for;
use crate::support::*;

const THREADS: u64 = 8;
const WORKERS: usize = 32;
const TURNS: u64 = 25;
/// How long a thread may take to sign again: far more than it does.
const PATIENCE: Duration = Duration::from_secs(20);
const NEVER: u64 = u64::MAX;

/// Threads that sign without a pause, and the moment of the return of what they lost.
struct Signers<'a> {
    made: &'a Made,
    begun: Instant,
    /// In microseconds since `begun`.
    back: AtomicU64,
    /// For each thread: when its first right signature after that was done.
    again: [AtomicU64; THREADS as usize],
    stop: AtomicBool,
    refused: AtomicU64,
}

/// In milliseconds, of each turn: until one thread signed, and until each had.
type Measured = Vec<(f64, f64)>;

impl Signers<'_> {
    fn now(&self) -> u64 {
        self.begun.elapsed().as_micros() as u64
    }

    fn sign(&self, thread: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            match self.made.sign(&digest(Hash::Sha256)) {
                Err(_) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                Ok(()) if self.back.load(Ordering::SeqCst) != NEVER => {
                    let _ = self.again[thread].compare_exchange(NEVER, self.now(), Ordering::SeqCst, Ordering::SeqCst);
                }
                Ok(()) => {}
            }
        }
    }

    /// `restore` is what brings it back, and has ended when it is there.
    fn turn(&self, away: Duration, lose: impl FnOnce(), restore: impl FnOnce()) -> (f64, f64) {
        self.back.store(NEVER, Ordering::SeqCst);
        lose();
        std::thread::sleep(away);
        restore();
        self.again.iter().for_each(|place| place.store(NEVER, Ordering::SeqCst));
        let back = self.now();
        self.back.store(back, Ordering::SeqCst);
        assert!(within(PATIENCE.as_secs(), || self.again.iter().all(|place| place.load(Ordering::SeqCst) != NEVER)));
        let mut all: Vec<u64> = self.again.iter().map(|place| place.load(Ordering::SeqCst) - back).collect();
        all.sort_unstable();
        (all[0] as f64 / 1000.0, all[all.len() - 1] as f64 / 1000.0)
    }
}

fn measure(made: &Made, work: impl FnOnce(&Signers<'_>) -> Measured) -> Measured {
    let signers = Signers {
        made,
        begun: Instant::now(),
        back: AtomicU64::new(NEVER),
        again: std::array::from_fn(|_| AtomicU64::new(NEVER)),
        stop: AtomicBool::new(false),
        refused: AtomicU64::new(0),
    };
    std::thread::scope(|scope| {
        for thread in 0..signers.again.len() {
            let signers = &signers;
            scope.spawn(move || signers.sign(thread));
        }
        std::thread::sleep(Duration::from_millis(100));
        let measured = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&signers)));
        signers.stop.store(true, Ordering::SeqCst);
        measured.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn print(what: &str, mut measured: Measured) {
    let mut row = |pick: fn(&(f64, f64)) -> f64| {
        measured.sort_by(|one, other| pick(one).total_cmp(&pick(other)));
        (pick(&measured[measured.len() / 2]), pick(&measured[measured.len() - 1]))
    };
    let (first, all) = (row(|turn| turn.0), row(|turn| turn.1));
    println!(
        "| {what} | {} | {:.0} ms | {:.0} ms | {:.0} ms | {:.0} ms |",
        measured.len(),
        first.0,
        first.1,
        all.0,
        all.1
    );
}

/// From a moment to several seconds, so that the pauses between two attempts are as long as they become.
fn away(turn: u64) -> Duration {
    Duration::from_millis(20 + turn * turn * 5)
}

fn directory(token: &Token) -> Measured {
    let hsm = token.hsm();
    let made = make(&hsm, "EC_P256", SIGN);
    let elsewhere = token.directory.path().join("away");
    measure(&made, |signers| {
        let lose = || fs::rename(token.objects(), &elsewhere).unwrap();
        let restore = || fs::rename(&elsewhere, token.objects()).unwrap();
        (0..TURNS).map(|turn| signers.turn(away(turn), lose, restore)).collect()
    })
}

/// The token comes back with another PIN; it is there again when the file has that one.
fn pin(token: &Token) -> Measured {
    let hsm = token.hsm();
    let made = make(&hsm, "EC_P256", SIGN);
    let elsewhere = token.directory.path().join("away");
    let mut pins = (PIN.to_owned(), String::new());
    measure(&made, |signers| {
        let turns = (0..TURNS).map(|turn| {
            pins.1 = format!("{:04}", 2000 + turn);
            let lose = || {
                let mut tool = Command::new("pkcs11-tool");
                tool.args(["--module", LIBRARY, "--token-label", LABEL, "--login", "--pin", &pins.0]);
                tool.args(["--change-pin", "--new-pin", &pins.1]).env("SOFTHSM2_CONF", token.conf());
                let changed = tool.output().unwrap();
                assert!(changed.status.success(), "{changed:?}");
                fs::rename(token.objects(), &elsewhere).unwrap();
                std::thread::sleep(Duration::from_millis(50));
                fs::rename(&elsewhere, token.objects()).unwrap();
            };
            let measured = signers.turn(away(turn) / 2, lose, || token.set_pin(&pins.1));
            pins.0.clone_from(&pins.1);
            measured
        });
        turns.collect()
    })
}

/// Many processes, as a server's workers are: each connects anew, and they log in one after the other (`turns.rs`).
fn workers(token: &Token) -> Measured {
    let lock = token.directory.path().join("lock");
    let turnstile: Turnstile = Arc::new(move |_| {
        let file = fs::File::options().create(true).append(true).open(&lock).unwrap();
        file.lock().unwrap();
        Ok(Box::new(file))
    });
    let hsm = Hsm::in_turns(token.config(), turnstile);
    let made = make(&hsm, "EC_P256", SIGN);
    let elsewhere = token.directory.path().join("away");
    // The moment of the return, then for each worker that of its first signature after it; in microseconds of the clock.
    let file = fs::File::options().read(true).write(true).create_new(true).open(token.directory.path().join("times"));
    let file = file.unwrap();
    file.set_len(4096).unwrap();
    // SAFETY: the file is this test's own, and is used by atomic operations only; a page, mapped for ever, is longer than
    // the numbers, and zeros are valid for them.
    let times: &'static [AtomicU64; 1 + WORKERS] =
        unsafe { &*Box::leak(Box::new(memmap2::MmapMut::map_mut(&file).unwrap())).as_ptr().cast() };
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64;
    let (back, again) = times.split_first().unwrap();
    let work = |place: &AtomicU64| {
        while back.load(Ordering::SeqCst) != NEVER {
            let signed = made.sign(&digest(Hash::Sha256)).is_ok();
            if signed && back.load(Ordering::SeqCst) != 0 {
                let _ = place.compare_exchange(0, now(), Ordering::SeqCst, Ordering::SeqCst);
            }
            // A client that is refused tries again.
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    };
    std::thread::scope(|scope| {
        again.iter().for_each(|place| drop(scope.spawn(move || assert!(in_child_for(600, || work(place))))));
        std::thread::sleep(Duration::from_millis(500));
        let turns = (0..TURNS).map(|turn| {
            back.store(0, Ordering::SeqCst);
            fs::rename(token.objects(), &elsewhere).unwrap();
            std::thread::sleep(away(turn));
            again.iter().for_each(|place| place.store(0, Ordering::SeqCst));
            fs::rename(&elsewhere, token.objects()).unwrap();
            back.store(now(), Ordering::SeqCst);
            assert!(within(PATIENCE.as_secs(), || again.iter().all(|place| place.load(Ordering::SeqCst) != 0)));
            let back = back.load(Ordering::SeqCst);
            let took = again.iter().map(|place| place.load(Ordering::SeqCst).saturating_sub(back) as f64 / 1000.0);
            took.fold((f64::MAX, 0.0), |(first, last): (f64, f64), one| (first.min(one), last.max(one)))
        });
        let measured = turns.collect();
        back.store(NEVER, Ordering::SeqCst);
        measured
    })
}

/// `isolate = "copy"`: the application ends its own instance while we sign, and nothing is lost.
fn finalised(token: &Token) -> Measured {
    let hsm = token.hsm();
    let mut application = Some(token.application());
    let made = make(&hsm, "EC_P256", SIGN);
    measure(&made, |signers| {
        let turns = (0..TURNS).map(|_| {
            let ours = application.take().unwrap();
            let measured = signers.turn(Duration::ZERO, || (), || ours.finalize().unwrap());
            application = Some(begin_again());
            measured
        });
        turns.collect()
    })
}

/// `"share"`: it ends ours with it. By one thread, because SoftHSM does not survive that its calls are overtaken by its end.
fn finalised_for_all(token: &Token) -> Measured {
    let mut application = Some(token.application());
    let hsm = Hsm::new(DeviceConfig { isolate: Some(Isolate::Share), ..token.config() });
    let made = make(&hsm, "EC_P256", SIGN);
    let turns = (0..TURNS).map(|turn| {
        application.take().unwrap().finalize().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < away(turn) {
            made.sign(&digest(Hash::Sha256)).unwrap_err();
        }
        application = Some(begin_again());
        let back = Instant::now();
        assert!(within(PATIENCE.as_secs(), || made.sign(&digest(Hash::Sha256)).is_ok()));
        let took = back.elapsed().as_secs_f64() * 1000.0;
        (took, took)
    });
    turns.collect()
}

/// The application's own instance once more.
fn begin_again() -> Pkcs11 {
    let application = Pkcs11::new(LIBRARY).unwrap();
    application.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    application
}

#[test]
#[ignore = "a measurement, not a test"]
fn resume() {
    println!("| what was away | times | first signature, median | longest | every one, median | longest |");
    println!("|---|---|---|---|---|---|");
    // Each in a child: the application's SoftHSM is one for the process.
    let story = |what: &str, work: &dyn Fn(&Token) -> Measured| {
        assert!(in_child_for(600, || {
            print(what, work(&Token::new()));
            true
        }));
    };
    story("the token's directory; 8 threads", &directory);
    story("the token's directory; 32 processes", &workers);
    story("the PIN, changed in the token and later in the file; 8 threads", &pin);
    story("nothing: the application finalised its own copy; 8 threads", &finalised);
    story("the library, which the application finalised (`share`); 1 thread", &finalised_for_all);
}
