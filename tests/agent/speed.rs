//! How much slower a signature is through the agent: `cargo test --release --test agent -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::bed::{Bed, children};
use crate::support::*;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);

/// What one side did.
struct Speed {
    /// Signatures a second.
    rate: f64,
    /// Processor time for each of them, in microseconds, the agent's included: it says the same on a busy machine.
    cost: f64,
}

/// By this many processes, and by the agent if there is one.
fn measure(c: Client, key: CK_OBJECT_HANDLE, mechanism: CK_MECHANISM_TYPE, processes: u64, bed: Option<&Bed>) -> Speed {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u64| folder.path().join(number.to_string());
    let before = children_time() + bed.map_or(0.0, worker_time);
    assert!(children(processes, |number| {
        c.sign(mechanism, key, &[1; 32]).unwrap();
        let (begun, mut count) = (Instant::now(), 0u64);
        while begun.elapsed() < TIME {
            c.sign(mechanism, key, &[2; 32]).unwrap();
            count += 1;
        }
        std::fs::write(path(number), count.to_string()).is_ok()
    }));
    let spent = children_time() + bed.map_or(0.0, worker_time) - before;
    let count = |number| std::fs::read_to_string(path(number)).unwrap().parse::<f64>().unwrap();
    let count = (0..processes).map(count).sum::<f64>();
    Speed { rate: count / TIME.as_secs_f64(), cost: spent * 1e6 / count }
}

/// Processor time of the children that have ended, in seconds.
fn children_time() -> f64 {
    time_of(libc::RUSAGE_CHILDREN)
}

fn time_of(whose: libc::c_int) -> f64 {
    // SAFETY: plain data, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: writes to `usage` only.
    assert_eq!(unsafe { libc::getrusage(whose, &raw mut usage) }, 0);
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn worker_time(bed: &Bed) -> f64 {
    process_time(bed.worker().unwrap())
}

/// Processor time of another process, in seconds: fields 14 and 15 of proc(5)'s stat.
fn process_time(process: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // SAFETY: takes a number.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as f64;
    fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum::<f64>() / ticks
}

#[test]
#[ignore = "a measurement, not a test"]
fn speed() {
    let bed = Bed::new(10);
    let alone = Installation::with_device();
    for (name, mechanism, rsa) in [("ECDSA P-256", CKM_ECDSA, false), ("RSA 2048", CKM_RSA_PKCS, true)] {
        let key = |c: Client| {
            let token = [b(CKA_TOKEN, true), s(CKA_LABEL, name)];
            if rsa { c.rsa_pair(2048, &token, &token).unwrap().1 } else { c.ec_pair(P256, &token).unwrap().1 }
        };
        let (here, there) = (alone.client(), bed.installation.client());
        let (key_here, key_there) = (key(here), key(there));
        for processes in [1, 2, 8, 32] {
            let within = measure(here, key_here, mechanism, processes, None);
            let agent = measure(there, key_there, mechanism, processes, Some(&bed));
            println!(
                "{name}, {processes:2} processes: {:6.0}/s in process, {:6.0}/s by the agent, {:.2}; processor {:5.0} us and {:5.0} us, {:.2}",
                within.rate,
                agent.rate,
                agent.rate / within.rate,
                within.cost,
                agent.cost,
                within.cost / agent.cost,
            );
        }
    }
}

/// C_SignInit and C_Sign with a P-256 key: `cargo test --release --test agent -- --ignored --nocapture speed_of_tokens`.
#[test]
#[ignore = "a measurement, not a test"]
fn speed_of_tokens() {
    const TIMES: u32 = 20_000;
    let whole = crate::whole::Whole::new(false, 10, "");
    let alone = Installation::software();
    let here = alone.client();
    let key = here.ec_pair(P256, &[b(CKA_TOKEN, true)]).unwrap().1;
    let (there, pair) = whole.client();
    let host = whole.hosts()[0];
    // By the clock, and processor time of both processes, in microseconds for each signature.
    let measure = |c: Client, key| {
        let mut signature = [0u8; 64];
        let spent = || time_of(libc::RUSAGE_SELF) + process_time(host);
        let (begun, before) = (Instant::now(), spent());
        for _ in 0..TIMES {
            c.sign_init(CKM_ECDSA, key).unwrap();
            let mut len = 64;
            let (data, out) = ([1u8; 32].as_mut_ptr(), signature.as_mut_ptr());
            assert_eq!(crate::call!(c.m, C_Sign(c.h, data, 32, out, &raw mut len)), CKR_OK);
        }
        [begun.elapsed().as_secs_f64(), spent() - before].map(|time| time * 1e6 / f64::from(TIMES))
    };
    for _ in 0..3 {
        let ([clock, cost], [far_clock, far_cost]) = (measure(here, key), measure(there, pair.private));
        println!(
            "clock {clock:4.0} us in process, {far_clock:4.0} us by the agent; processor {cost:4.0} us, {far_cost:4.0} us"
        );
    }
}
