//! What the number of keys, of threads and of processes does to the module: `ci/bench.sh scale`.
//!
//!     scale keys [--keys N,N…] [--peer-keys N,N…] [--rounds N]   start, search and memory by the number of keys
//!     scale threads [--threads N,N…] [--rounds N] [--turn MS]    work by the number of threads, and of processes
//!     scale writers [--rounds N] [--turn MS]                     durable creation by the number of processes
//!
//! A table of tab-separated lines on standard output. The module is `target/release/libalikms_pkcs11.so`, or that of
//! `--module`. Each measurement of a start is a process of its own (`scale fresh …`), and what is compared takes turns.

// What the macros call is C: the arguments are pointers and numbers, made before.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "scale/contender.rs"]
mod contender;
#[path = "door/door.rs"]
#[allow(dead_code)]
mod door;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::contender::Contender;
use crate::door::{Door, Loaded};
use crate::support::{Installation, Mech, P256, PIN, v};

/// What `--keys` and the like are by default.
const KEYS: &str = "10,1000,100000,1000000";
const PEER_KEYS: &str = "10,1000,10000";
/// `--turn` by default: for so many milliseconds the threads of a measurement work, and the writers of one.
const TURN: usize = 300;
const WRITERS_TURN: usize = 1000;
/// For so long one thing is measured in a fresh process.
const ENOUGH: Duration = Duration::from_millis(500);

/// `--name value` on the command line.
struct Options(BTreeMap<String, String>);

impl Options {
    fn text(&self, name: &str, default: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| default.to_owned())
    }

    fn numbers(&self, name: &str, default: &str) -> Vec<usize> {
        self.text(name, default).split(',').map(|number| number.parse().expect("numbers with commas")).collect()
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.numbers(name, &default.to_string())[0]
    }

    fn turn(&self, default: usize) -> Duration {
        Duration::from_millis(self.number("turn", default) as u64)
    }
}

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    // `cargo test` runs every benchmark without a word.
    let Some(what) = words.next() else { return };
    let mut options = BTreeMap::new();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--").expect("options begin with --").to_owned();
        options.insert(name, words.next().expect("every option has a value"));
    }
    let options = Options(options);
    match what.as_str() {
        "keys" => keys(&options),
        "threads" => threads(&options),
        "writers" => writers(&options),
        "fill" => fill(&options),
        "fresh" => fresh(&options),
        "work" => work(&options),
        other => panic!("scale does not know {other}"),
    }
}

/// What is measured.
fn module(options: &Options) -> PathBuf {
    options.text("module", concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/libalikms_pkcs11.so")).into()
}

/// The module of a process that was made by [`Contender::run`], loaded and not yet initialised.
fn loaded(options: &Options) -> Loaded {
    Loaded::open("module", Path::new(&options.text("library", ""))).at(options.number("slot", 0))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

/// The label of a key.
fn label(number: usize) -> String {
    format!("key-{number:07}")
}

/// pReserved of C_Initialize.
fn reserved(options: &Options) -> Option<String> {
    Some(options.text("reserved", "")).filter(|text| !text.is_empty())
}

/// `fill --to N`: pairs on P-256 with the labels 0 to N-1. Goes on where it was interrupted.
fn fill(options: &Options) {
    let door = loaded(options).log_in(reserved(options).as_deref(), &options.text("pin", PIN));
    for number in 0..options.number("to", 0) {
        // kryoptic gives keys no CKA_ID of its own.
        let both = [support::s(CKA_LABEL, &label(number)), support::s(CKA_ID, &label(number))];
        door.pair_with(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &both);
    }
}

/// Resident memory of this process in KiB: what it is now, or at most was.
fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find(|found| found.starts_with(line)).expect("a line of /proc/self/status");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number of KiB")
}

/// `fresh --keys N`: one start of a process, measured. Lines of a name and a number.
fn fresh(options: &Options) {
    let (count, all) = (options.number("keys", 10), options.number("enumerate", 0) > 0);
    let mut said = Vec::new();
    // So many times, or less often where that takes long: SoftHSM searches 10,000 keys for a tenth of a second.
    let mut timed = |name: &'static str, most: usize, work: &mut dyn FnMut(usize)| {
        let (begun, mut times) = (Instant::now(), 0);
        while times < most && (times < 3 || !times.is_power_of_two() || begun.elapsed() < ENOUGH) {
            work(times);
            times += 1;
        }
        said.push((name, begun.elapsed().as_nanos() as f64 / times as f64 / 1000.0));
    };
    let before = memory("VmRSS");
    let module = loaded(options);
    let loaded_at = memory("VmRSS");
    let whole = Instant::now();
    let mut door = None;
    timed("initialise and random, us", 1, &mut |_| {
        module.initialise(reserved(options).as_deref());
        module.random(&mut [0; 32]);
    });
    let initialised_at = memory("VmRSS");
    timed("log in, us", 1, &mut |_| door = Some(module.user(&options.text("pin", PIN))));
    let door = door.expect("logged in");
    let ecdsa = Mech::new(CKM_ECDSA);
    // Spread over all keys, and always the same.
    let some = |i: usize| label((i * 7919 + 3) % count);
    let mut key = 0;
    timed("first find, us", 1, &mut |_| key = door.find(CKO_PRIVATE_KEY, &some(0)));
    timed("first sign, us", 1, &mut |_| _ = door.sign(&ecdsa, key, &[7; 32], &mut [0; 64]));
    let usable = whole.elapsed();
    let used_at = memory("VmRSS");
    let cold = count.min(1000);
    timed("find by label, cold, us", cold, &mut |i| _ = door.find(CKO_PRIVATE_KEY, &some(i + 1)));
    let id = door.bytes(key, CKA_ID);
    timed("find by label and class, warm, us", 2000, &mut |_| _ = door.find(CKO_PRIVATE_KEY, &some(0)));
    timed("find by label, warm, us", 2000, &mut |_| _ = door.search(&[support::s(CKA_LABEL, &some(0))], 4));
    timed("find by ID, warm, us", 2000, &mut |_| _ = door.search(&[v(CKA_ID, &id)], 4));
    timed("3 attributes, warm, us", 2000, &mut |_| door.attributes(key));
    if all {
        let begun = Instant::now();
        let found = door.search(&[support::u(CKA_CLASS, CKO_PRIVATE_KEY)], 1000).len();
        said.push(("enumerated, objects", found as f64));
        said.push(("enumerated, objects/s", found as f64 / begun.elapsed().as_secs_f64()));
    }
    if options.number("forks", 1) > 0 {
        let forked = door.in_child(&mut || _ = door.sign(&ecdsa, key, &[7; 32], &mut [0; 64]));
        said.push(("first sign after fork, us", forked.as_nanos() as f64 / 1000.0));
    }
    said.push(("usable after, ms", usable.as_secs_f64() * 1000.0));
    said.push(("memory of the library, KiB", loaded_at - before));
    said.push(("memory after initialise, KiB", initialised_at - before));
    said.push(("memory when used, KiB", used_at - before));
    said.push(("memory at most, KiB", memory("VmHWM") - before));
    said.iter().for_each(|(name, number)| println!("{name}\t{number:.2}"));
}

/// Lines of a name and a number.
fn numbers(text: &str) -> BTreeMap<String, f64> {
    let line =
        |line: &str| line.split_once('\t').and_then(|(name, number)| Some((name.to_owned(), number.parse().ok()?)));
    text.lines().filter_map(line).collect()
}

/// Where stores of many keys are made: in memory if there is room, for the time that filling them takes.
fn keys(options: &Options) {
    let rounds = options.number("rounds", 7);
    let mut contenders = Vec::new();
    for count in options.numbers("keys", KEYS) {
        contenders.push((Contender::ours(&module(options), &Arc::new(Installation::software())), count));
    }
    for peer in [Contender::softhsm, Contender::kryoptic, Contender::nss] {
        contenders.extend(options.numbers("peer-keys", PEER_KEYS).into_iter().map(|count| (peer(), count)));
    }
    println!("module\tkeys\twhat\tvalue");
    for (contender, count) in &contenders {
        let begun = Instant::now();
        contender.run("fill", &[("to", &count.to_string())]);
        let rate = *count as f64 / begun.elapsed().as_secs_f64();
        println!("{}\t{count}\tfilled, keys/s\t{rate:.0}", contender.name);
    }
    let mut all: Vec<BTreeMap<String, Vec<f64>>> = vec![BTreeMap::new(); contenders.len()];
    for round in 0..=rounds {
        for (at, (contender, count)) in contenders.iter().enumerate() {
            let enumerate = if round == rounds { "1" } else { "0" };
            let found = contender.run("fresh", &[("keys", &count.to_string()), ("enumerate", enumerate)]);
            let begun = Instant::now();
            let created = contender.installation.as_deref().is_some_and(create_one);
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            // The first round warms up.
            for (name, number) in numbers(&found).into_iter().filter(|_| round > 0) {
                all[at].entry(name).or_default().push(number);
            }
            if created && round > 0 {
                all[at].entry("alikms CreateKey, ms".to_owned()).or_default().push(took);
            }
        }
    }
    for ((contender, count), measured) in contenders.iter().zip(all) {
        for (name, values) in measured {
            println!("{}\t{count}\t{name}\t{:.2}", contender.name, median(values));
        }
    }
}

/// `alikms CreateKey` in a process of its own: the release build.
fn create_one(installation: &Installation) -> bool {
    let alikms = concat!(env!("CARGO_MANIFEST_DIR"), "/target/release/alikms");
    let mut command = installation.command(alikms);
    command.args(["CreateKey", "--KeySpec=EC_P256"]).stdout(Stdio::null()).status().is_ok_and(|s| s.success())
}

/// What is done again and again by the threads of [`threads`].
const WORKS: &[&str] =
    &["sign p256", "sign rsa2048", "aes-gcm 1024", "3 attributes", "open, close session", "session info"];

/// The work of [`writers`].
const CREATION: &str = "P-256 pairs";

/// One thread's share of a work: a function that does it once.
fn share(door: Door, name: &str) -> Box<dyn FnMut() + Send> {
    let own = door.own_session();
    match name {
        "sign p256" | "sign rsa2048" => {
            let rsa = name.ends_with("2048");
            let key = own.find(CKO_PRIVATE_KEY, if rsa { "rsa" } else { "p256" });
            let mechanism = Mech::new(if rsa { CKM_RSA_PKCS } else { CKM_ECDSA });
            let mut out = [0; 256];
            Box::new(move || _ = own.sign(&mechanism, key, &[7; 32], &mut out))
        }
        "aes-gcm 1024" => {
            let (key, mechanism) = (own.find(CKO_SECRET_KEY, "aes"), Mech::gcm(&[1; 12], &[], 128));
            let mut out = vec![0; 1040];
            Box::new(move || _ = own.encrypt(&mechanism, key, &[3; 1024], &mut out))
        }
        "3 attributes" => {
            let key = own.find(CKO_PRIVATE_KEY, "p256");
            Box::new(move || own.attributes(key))
        }
        "open, close session" => Box::new(move || own.close_session(own.open_session())),
        "session info" => Box::new(move || own.session_info()),
        CREATION => {
            let (process, mut number) = (std::process::id(), 0);
            Box::new(move || {
                number += 1;
                own.pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &format!("key-{process}-{number}"));
            })
        }
        other => panic!("no such work: {other}"),
    }
}

/// Operations in a second by so many threads at once, from the first's beginning to the last's end: of more threads than
/// processors some begin late. `batch`: between two looks at the clock.
fn throughput(threads: usize, turn: Duration, batch: u64, make: &(dyn Fn() -> Box<dyn FnMut() + Send> + Sync)) -> f64 {
    let start = Barrier::new(threads);
    let done: Vec<(u64, Instant, Instant)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                scope.spawn(|| {
                    let mut work = make();
                    work();
                    start.wait();
                    let (begun, mut count) = (Instant::now(), 0);
                    while begun.elapsed() < turn {
                        (0..batch).for_each(|_| work());
                        count += batch;
                    }
                    (count, begun, Instant::now())
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().expect("a worker ends well")).collect()
    });
    let count: u64 = done.iter().map(|(count, ..)| count).sum();
    let begun = done.iter().map(|(_, begun, _)| *begun).min();
    let ended = done.iter().map(|(.., ended)| *ended).max();
    let seconds = begun.zip(ended).map_or(turn, |(begun, ended)| ended - begun).as_secs_f64();
    count as f64 / seconds
}

/// A loop over the primitive that a work stands on, in the library that we use; none for what has no primitive.
fn bare(name: &str) -> Option<Box<dyn FnMut() + Send>> {
    use alikms_pkcs11::crypto::{cipher::AesKey, ec::EcKey, rsa::RsaKey};
    use alikms_pkcs11::model::curve::Curve;
    use std::sync::{Arc, LazyLock};
    static EC: LazyLock<Arc<EcKey>> = LazyLock::new(|| Arc::new(EcKey::generate(Curve::P256).expect("a key")));
    static RSA: LazyLock<Arc<RsaKey>> = LazyLock::new(|| Arc::new(RsaKey::generate(2048, &[1, 0, 1]).expect("a key")));
    static AES: LazyLock<Arc<AesKey>> = LazyLock::new(|| Arc::new(AesKey::new(&[9; 32]).expect("a key")));
    Some(match name {
        "sign p256" => Box::new(|| drop(EC.sign(&[7; 32]))),
        "sign rsa2048" => Box::new(|| drop(RSA.sign_pkcs1(&[7; 32]))),
        "aes-gcm 1024" => {
            let mut out = Box::new_uninit_slice(1040);
            Box::new(move || _ = AES.seal_to(&[1; 12], &[], 16, &[3; 1024], &mut out))
        }
        _ => return None,
    })
}

/// Of works that take microseconds, so many are done between two looks at the clock.
const BATCH: u64 = 16;

/// Says that this process is ready, and waits until whoever started it has heard so of all.
fn wait() {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).expect("a line");
}

/// A process of several that work at the same time: `work --name W [--bare 1]` answers its throughput.
fn work(options: &Options) {
    let name = options.text("name", WORKS[0]);
    let (turn, batch) = (options.turn(TURN), if name == CREATION { 1 } else { BATCH });
    let throughput = if options.number("bare", 0) > 0 {
        wait();
        throughput(1, turn, batch, &|| bare(&name).expect("a primitive"))
    } else {
        let door = loaded(options).log_in(None, &options.text("pin", PIN));
        wait();
        throughput(1, turn, batch, &|| share(door, &name))
    };
    println!("{throughput:.1}");
}

/// The sum of what so many processes do in a second, with the module or with the bare primitive.
fn by_processes(contender: &Contender, is_bare: bool, name: &str, processes: usize, turn: Duration) -> f64 {
    let (turn, is_bare) = (turn.as_millis().to_string(), u8::from(is_bare).to_string());
    let mut children: Vec<_> = (0..processes)
        .map(|_| {
            let mut command = contender.command("work", &[("name", name), ("turn", &turn), ("bare", &is_bare)]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs")
        })
        .collect();
    let mut outputs: Vec<_> =
        children.iter_mut().map(|child| BufReader::new(child.stdout.take().expect("piped"))).collect();
    let mut line = String::new();
    outputs.iter_mut().for_each(|output| _ = output.read_line(&mut line).expect("ready"));
    children.iter_mut().for_each(|child| child.stdin.take().expect("piped").write_all(b"go\n").expect("it waits"));
    let sum = outputs
        .iter_mut()
        .map(|output| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a number");
            line.trim().parse::<f64>().expect("a number")
        })
        .sum();
    children.iter_mut().for_each(|child| assert!(child.wait().expect("it ends").success()));
    sum
}

fn threads(options: &Options) {
    let (rounds, turn) = (options.number("rounds", 7), options.turn(TURN));
    let wanted = options.numbers("threads", "1,2,8,64");
    let installation = Arc::new(Installation::software());
    let contender = Contender::ours(&module(options), &installation);
    let conf = format!("conf={}", installation.conf().display());
    let door = Loaded::open("alikms", &contender.library).log_in(Some(&conf), PIN);
    door.pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], "p256");
    let bits = [support::u(CKA_MODULUS_BITS, 2048), v(CKA_PUBLIC_EXPONENT, [1, 0, 1])];
    door.pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &bits, "rsa");
    door.stored_aes("aes");
    println!("work\tcontender\tthreads\tper second\ttimes one thread");
    for name in WORKS {
        let mut series: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
        for round in 0..=rounds {
            for &count in &wanted {
                let ours = throughput(count, turn, BATCH, &|| share(door, name));
                let theirs = bare(name).map(|_| throughput(count, turn, BATCH, &|| bare(name).expect("it was there")));
                let processes = (count <= 2).then(|| by_processes(&contender, false, name, count, turn));
                let is_bare = count <= 2 && bare(name).is_some();
                let bare_processes = is_bare.then(|| by_processes(&contender, true, name, count, turn));
                for (who, value) in [
                    ("alikms", Some(ours)),
                    ("bare", theirs),
                    ("alikms, processes", processes),
                    ("bare, processes", bare_processes),
                ] {
                    if let Some(value) = value.filter(|_| round > 0) {
                        series.entry((who, count)).or_default().push(value);
                    }
                }
            }
        }
        for ((who, count), values) in &series {
            let one = &series[&(*who, wanted[0])];
            // Of the same round, for the machine may be slower in another.
            let scaling = median(values.iter().zip(one).map(|(many, one)| many / one).collect());
            println!("{name}\t{who}\t{count}\t{:.0}\t{scaling:.2}", median(values.clone()));
        }
    }
}

/// Durable creation: pairs on P-256 by one and more processes, beside SQLite's own rows of the same size.
fn writers(options: &Options) {
    let (rounds, turn) = (options.number("rounds", 7), options.turn(WRITERS_TURN));
    let installation = Arc::new(Installation::software());
    let contender = Contender::ours(&module(options), &installation);
    println!("what\tprocesses\tper second");
    let mut series: BTreeMap<(&str, usize), Vec<f64>> = BTreeMap::new();
    for _ in 0..rounds {
        let rows = throughput(1, turn, 1, &|| rows());
        series.entry(("a row of 1.5 kB, fsynced, by SQLite alone", 1)).or_default().push(rows);
        for processes in [1, 2, 8] {
            let pairs = by_processes(&contender, false, CREATION, processes, turn);
            series.entry((CREATION, processes)).or_default().push(pairs);
        }
    }
    for ((what, processes), values) in series {
        println!("{what}\t{processes}\t{:.0}", median(values));
    }
}

/// What SQLite does alone with the store's settings: one row a transaction, on the disk where stores of this run lie.
fn rows() -> Box<dyn FnMut() + Send> {
    let directory = tempfile::tempdir().expect("a directory");
    let connection = rusqlite::Connection::open(directory.path().join("bare.db")).expect("a file");
    let setup = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)";
    connection.execute_batch(setup).expect("a table");
    Box::new(move || {
        // The directory goes with the connection.
        let _kept = &directory;
        connection.execute("INSERT INTO t (v) VALUES (?1)", [vec![7u8; 1500]]).expect("a row");
    })
}
