//! What the door costs: operations through the C functions of the module, beside the same ones through SoftHSM and beside
//! the bare primitive in the library that we use. `ci/bench.sh`, or `cargo bench --bench door -- [--rounds N] [OPERATION …]`.
//!
//! The contenders take turns, so that what else the machine does hits all alike; a ratio is the median over the rounds. Times
//! are those on the CPU: nothing here waits, and what other programs take of it is not ours.

// What the macros call is C: the arguments are pointers and numbers, made before.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "door/door.rs"]
#[allow(dead_code)]
mod door;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;

use alikms_pkcs11::crypto::cipher::AesKey;
use alikms_pkcs11::crypto::digest::hash;
use alikms_pkcs11::crypto::ec::{EcKey, EcPublic};
use alikms_pkcs11::crypto::rsa::{RsaKey, RsaPublic};
use alikms_pkcs11::model::curve::Curve;
use alikms_pkcs11::model::hash::Hash;
use cryptoki_sys::*;

use crate::door::Door;
use crate::support::{Installation, K256, Mech, P256, P384, PIN, u, v};

/// How long a contender works on an operation in one round.
const TURN: Duration = Duration::from_millis(60);

type Work = Box<dyn FnMut() + Send>;

struct Row {
    name: String,
    /// By contender; the first one is the module with keys in software.
    works: Vec<(&'static str, Work)>,
}

fn main() {
    let mut rounds = 7;
    let mut wanted = Vec::new();
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--rounds" => rounds = words.next().and_then(|n| n.parse().ok()).expect("--rounds takes a number"),
            _ => wanted.push(word),
        }
    }
    let (software, device) = (Installation::software(), Installation::with_device());
    let library = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
    // SAFETY: no other thread runs yet.
    unsafe { std::env::set_var("SOFTHSM2_CONF", device.path("softhsm2.conf")) };
    let conf = |installation: &Installation| format!("conf={}", installation.conf().display());
    let copy = |installation: &Installation| {
        let path = installation.path("module.so");
        std::fs::copy(&library, &path).unwrap();
        path
    };
    let ours = Door::open("software", &copy(&software), Some(&conf(&software)), PIN);
    let hsm = Door::open("hsm", &copy(&device), Some(&conf(&device)), PIN);
    let softhsm = Door::open("softhsm", Path::new("/usr/lib/softhsm/libsofthsm2.so"), None, "device-pin");
    let mut rows = rows(&[ours, hsm, softhsm]);
    rows.retain(|row| wanted.is_empty() || wanted.iter().any(|word| row.name.contains(word)));
    println!(
        "{:<22}{:>12}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}",
        "ns per operation", "software", "bare", "hsm", "softhsm", "sw/bare", "soft/sw", "hsm/soft"
    );
    for mut row in rows {
        let times = measure(&mut row, rounds);
        let of = |name: &str| row.works.iter().position(|(contender, _)| *contender == name).map(|at| &times[at]);
        let ns = |name: &str| of(name).map_or("-".to_owned(), |times| format!("{:.0}", median(times.clone())));
        let ratio = |above: &str, below: &str| match (of(above), of(below)) {
            (Some(above), Some(below)) => {
                format!("{:.3}", median(above.iter().zip(below).map(|(above, below)| above / below).collect()))
            }
            _ => "-".to_owned(),
        };
        println!(
            "{:<22}{:>12}{:>12}{:>12}{:>12}{:>10}{:>10}{:>10}",
            row.name,
            ns("software"),
            ns("bare"),
            ns("hsm"),
            ns("softhsm"),
            ratio("software", "bare"),
            ratio("softhsm", "software"),
            ratio("hsm", "softhsm")
        );
    }
}

/// Nanoseconds for each operation: by contender and round.
fn measure(row: &mut Row, rounds: usize) -> Vec<Vec<f64>> {
    let mut times = vec![Vec::new(); row.works.len()];
    for round in 0..=rounds {
        for ((_, work), times) in row.works.iter_mut().zip(&mut times) {
            let time = one_turn(work);
            // The first round warms up.
            if round > 0 {
                times.push(time);
            }
        }
    }
    times
}

fn one_turn(work: &mut Work) -> f64 {
    let (begun, mut done, mut batch) = (busy(), 0u32, 1u32);
    loop {
        (0..batch).for_each(|_| work());
        done += batch;
        let elapsed = busy() - begun;
        if elapsed >= TURN {
            return elapsed.as_nanos() as f64 / f64::from(done);
        }
        // So rarely that looking at the clock does not count.
        if elapsed < TURN / 32 {
            batch *= 2;
        }
    }
}

/// How long this thread has been on a CPU.
fn busy() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the clock is every thread's own, and the place is of its type.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) }, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn rows(doors: &[Door]) -> Vec<Row> {
    let mut rows = Vec::new();
    for bits in [2048, 3072, 4096] {
        rsa(doors, bits, &mut rows);
    }
    for (curve, name, oid, size) in
        [(Curve::P256, "p256", P256, 32), (Curve::P384, "p384", P384, 48), (Curve::Secp256k1, "secp256k1", K256, 32)]
    {
        ec(doors, curve, name, oid, size, &mut rows);
    }
    for size in [1024, 16384] {
        gcm(doors, size, &mut rows);
    }
    small(doors, &mut rows);
    rows
}

/// The contenders of one operation.
fn row(name: String, doors: &[Door], work: impl Fn(Door) -> Work, bare: Option<Work>) -> Row {
    let mut works: Vec<_> = doors.iter().map(|door| (door.name, work(*door))).collect();
    works.extend(bare.map(|bare| ("bare", bare)));
    Row { name, works }
}

fn rsa(doors: &[Door], bits: usize, rows: &mut Vec<Row>) {
    let label = format!("rsa{bits}");
    let of = [u(CKA_MODULUS_BITS, bits as CK_ULONG), v(CKA_PUBLIC_EXPONENT, [1, 0, 1])];
    let pairs: Vec<_> = doors.iter().map(|door| door.pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &of, &label)).collect();
    let at = |door: Door| pairs[doors.iter().position(|other| other.name == door.name).unwrap()];
    let info = [Hash::Sha256.digest_info_prefix(), &[7; 32][..]].concat();
    let bare = RsaKey::generate(bits, &[1, 0, 1]).unwrap();
    let (n, e) = bare.public();
    let public = RsaPublic::new(&n, &e).unwrap();
    let (signature, hidden) =
        (bare.sign_pkcs1(&info).unwrap(), public.encrypt_oaep(Hash::Sha256, Hash::Sha256, &[], &[5; 32]).unwrap());
    let bare = std::sync::Arc::new(bare);

    let (key, input) = (bare.clone(), info.clone());
    let work = |door: Door| -> Work {
        let (key, mechanism, input) = (at(door).private, Mech::new(CKM_RSA_PKCS), info.clone());
        let mut out = [0; 512];
        Box::new(move || _ = door.sign(&mechanism, key, &input, &mut out))
    };
    rows.push(row(format!("{label} sign"), doors, work, Some(Box::new(move || drop(key.sign_pkcs1(&input).unwrap())))));

    let input = info.clone();
    let work = |door: Door| -> Work {
        let (mechanism, input, mut out) = (Mech::new(CKM_RSA_PKCS), info.clone(), [0; 512]);
        let len = door.sign(&mechanism, at(door).private, &input, &mut out);
        let key = at(door).public;
        Box::new(move || door.verify(&mechanism, key, &input, &out[..len]))
    };
    let verify = move || public.verify_pkcs1(&input, &signature).unwrap();
    rows.push(row(format!("{label} verify"), doors, work, Some(Box::new(verify))));

    // SoftHSM's OAEP knows SHA-1 only.
    let work = |door: Door| -> Work {
        let mechanism = Mech::oaep(CKM_SHA_1, CKG_MGF1_SHA1, &[]);
        let (mut hidden, mut out) = ([0; 512], [0; 512]);
        let len = door.encrypt(&mechanism, at(door).public, &[5; 32], &mut hidden);
        let key = at(door).private;
        Box::new(move || _ = door.decrypt(&mechanism, key, &hidden[..len], &mut out))
    };
    let open = move || drop(bare.decrypt_oaep(Hash::Sha256, Hash::Sha256, &[], &hidden).unwrap());
    rows.push(row(format!("{label} oaep decrypt"), doors, work, Some(Box::new(open))));
}

fn ec(doors: &[Door], curve: Curve, label: &str, oid: &[u8], size: usize, rows: &mut Vec<Row>) {
    let pairs: Vec<_> =
        doors.iter().map(|door| door.pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, oid)], label)).collect();
    let at = |door: Door| pairs[doors.iter().position(|other| other.name == door.name).unwrap()];
    let digest = vec![7; size];
    let bare = EcKey::generate(curve).unwrap();
    let public = EcPublic::new(curve, &bare.point()).unwrap();
    let signature = bare.sign(&digest).unwrap();

    let input = digest.clone();
    let work = |door: Door| -> Work {
        let (key, mechanism, input) = (at(door).private, Mech::new(CKM_ECDSA), digest.clone());
        let mut out = [0; 96];
        Box::new(move || _ = door.sign(&mechanism, key, &input, &mut out))
    };
    rows.push(row(format!("{label} sign"), doors, work, Some(Box::new(move || drop(bare.sign(&input).unwrap())))));

    let input = digest.clone();
    let work = |door: Door| -> Work {
        let (mechanism, input, mut out) = (Mech::new(CKM_ECDSA), digest.clone(), [0; 96]);
        let len = door.sign(&mechanism, at(door).private, &input, &mut out);
        let key = at(door).public;
        Box::new(move || door.verify(&mechanism, key, &input, &out[..len]))
    };
    let verify = move || public.verify(&input, &signature).unwrap();
    rows.push(row(format!("{label} verify"), doors, work, Some(Box::new(verify))));
}

fn gcm(doors: &[Door], size: usize, rows: &mut Vec<Row>) {
    let data = vec![3; size];
    let work = |door: Door| -> Work {
        let (key, mechanism) = (door.aes(&[9; 32]), Mech::gcm(&[1; 12], &[], 128));
        let (data, mut out) = (data.clone(), vec![0; size + 16]);
        Box::new(move || _ = door.encrypt(&mechanism, key, &data, &mut out))
    };
    let (key, input, mut out) = (AesKey::new(&[9; 32]).unwrap(), data.clone(), Box::new_uninit_slice(size + 16));
    let bare = move || _ = key.seal_to(&[1; 12], &[], 16, &input, &mut out).unwrap();
    rows.push(row(format!("aes-gcm {size}"), doors, work, Some(Box::new(bare))));
}

fn small(doors: &[Door], rows: &mut Vec<Row>) {
    let work = |door: Door| -> Work {
        let mut out = [0; 32];
        Box::new(move || door.digest(CKM_SHA256, &[1; 64], &mut out))
    };
    rows.push(row("sha256 64".into(), doors, work, Some(Box::new(|| drop(hash(Hash::Sha256, &[1; 64]))))));
    let work = |door: Door| -> Work { Box::new(move || _ = door.find(CKO_PRIVATE_KEY, "p256")) };
    rows.push(row("find class, label".into(), doors, work, None));
    let work = |door: Door| -> Work {
        let key = door.find(CKO_PRIVATE_KEY, "p256");
        Box::new(move || door.attributes(key))
    };
    rows.push(row("3 attributes".into(), doors, work, None));
    let work = |door: Door| -> Work { Box::new(move || door.close_session(door.open_session())) };
    rows.push(row("open, close session".into(), doors, work, None));
    let work = |door: Door| -> Work { Box::new(move || door.session_info()) };
    rows.push(row("session info".into(), doors, work, None));
}
