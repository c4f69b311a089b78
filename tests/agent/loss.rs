//! What is lost when the agent or the device's library dies or hangs: nothing, or one answer and in time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::bed::{Bed, CRASH_AFTER, CRASH_BEFORE, Call, children, within};
use crate::support::*;

/// How often the worker, and the whole agent, are killed under load.
const KILLS: usize = 12;
const RESTARTS: usize = 4;

#[test]
fn killing_the_agent_under_load_costs_nobody_an_answer() {
    let mut bed = Bed::new(30);
    let (c, pair) = bed.client();
    let (stop, signed) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 6]);
    std::thread::scope(|scope| {
        for (thread, signed) in signed.iter().enumerate() {
            let (own, stop) = (Client::open(c.m), &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let number = signed.load(Ordering::Relaxed);
                    assert_eq!(pair.sign(own, number), Ok(()), "thread {thread}, signature {number}");
                    signed.store(number + 1, Ordering::Relaxed);
                }
            });
        }
        // Or a failed assertion below would wait for them for ever.
        let _stopped = StopOnDrop(&stop);
        // The next blow falls when each of them is at work again: one retry is promised, not two.
        let working = || {
            let before = signed.each_ref().map(|signed| signed.load(Ordering::Relaxed));
            let goes_on = |(signed, before): (&AtomicU64, &u64)| signed.load(Ordering::Relaxed) > before + 5;
            assert!(within(30, || signed.iter().zip(&before).all(goes_on)), "somebody does not sign any more");
        };
        for _ in 0..KILLS {
            working();
            bed.replaced(bed.kill_worker());
        }
        for _ in 0..RESTARTS {
            working();
            bed.kill();
            std::thread::sleep(Duration::from_millis(200));
            bed.start();
        }
        working();
    });
    // And processes that were there before, and were forked since.
    assert!(children(4, |number| pair.sign(c, number).is_ok()));
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_crash_of_the_library_takes_no_caller_down() {
    let bed = Bed::new(30);
    let (c, pair) = bed.client();
    for number in 0..8 {
        let (worker, calls) = (bed.worker().unwrap(), bed.calls(Call::Sign));
        bed.order(Call::Sign, 0, 1, CRASH_BEFORE);
        pair.sign(c, number).unwrap();
        // The one that crashed, the one that proves the key to the new worker, and the repetition.
        assert_eq!(bed.calls(Call::Sign) - calls, 3);
        bed.replaced(worker);
    }
    // A request that crashes it every time is tried twice, and then the answer is an error; others go on.
    let calls = bed.calls(Call::Sign);
    bed.order(Call::Sign, 0, 2, CRASH_BEFORE);
    assert_eq!(pair.sign(c, 1), Err(CKR_DEVICE_ERROR));
    assert_eq!(bed.calls(Call::Sign) - calls, 2);
    pair.sign(c, 2).unwrap();
}

/// Killed before or after the device made a key: made once, answered, and nothing is left over.
#[test]
fn a_key_is_made_once_although_the_agent_dies_over_it() {
    let bed = Bed::new(30);
    let (c, pair) = bed.client();
    for (number, after) in [CRASH_BEFORE, CRASH_AFTER, CRASH_BEFORE, CRASH_AFTER].into_iter().enumerate() {
        let (worker, label) = (bed.worker().unwrap(), format!("made {number}"));
        bed.order(Call::GeneratePair, 0, 1, after);
        let (public, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, &label)]).unwrap();
        crate::bed::Pair { public, private }.sign(c, 5).unwrap();
        bed.replaced(worker);
    }
    pair.sign(c, 1).unwrap();
    // Orphans and rows without a key would be told, with exit status 1.
    let said = bed.installation.print(&["check"]);
    assert!(!said.contains("orphan") && !said.contains("lost"), "{said}");
    assert_eq!(bed.calls(Call::GeneratePair), 2 + 4 * 2, "{said}");
}

#[test]
fn a_device_that_hangs_is_answered_for_in_time_and_cut_off() {
    let bed = Bed::new(1);
    let (c, pair) = bed.client();
    let worker = bed.worker().unwrap();
    bed.delay(Call::Sign, Duration::from_secs(60));
    let begun = Instant::now();
    assert_eq!(pair.sign(c, 1), Err(CKR_DEVICE_ERROR));
    let taken = begun.elapsed();
    assert!((Duration::from_millis(900)..Duration::from_secs(3)).contains(&taken), "{taken:?}");
    bed.delay(Call::Sign, Duration::ZERO);
    // The call that hangs would hold its session for a minute: the worker is replaced.
    bed.replaced(worker);
    assert!(within(5, || pair.sign(c, 2).is_ok()));
}

/// An agent that stands still as a whole is no different.
#[test]
fn an_agent_that_stands_still_is_not_waited_for_longer_than_the_deadline() {
    let bed = Bed::new(1);
    let (c, pair) = bed.client();
    let worker = bed.worker().unwrap();
    // SAFETY: the child of our own child.
    unsafe { libc::kill(worker, libc::SIGSTOP) };
    for number in 0..3 {
        let begun = Instant::now();
        assert_eq!(pair.sign(c, number), Err(CKR_DEVICE_ERROR));
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    // SAFETY: as above.
    unsafe { libc::kill(worker, libc::SIGCONT) };
    assert!(within(5, || pair.sign(c, 9).is_ok()));
}

/// Workers come and go; a wrong PIN is tried once by all of them together, and the right one when it is there.
#[test]
fn a_refused_pin_is_not_tried_again_by_the_next_worker() {
    let mut bed = Bed::new(10);
    let (c, pair) = bed.client();
    let pin = bed.installation.path("device.pin");
    bed.kill();
    std::fs::write(&pin, "wrong-pin").unwrap();
    let logins = bed.calls(Call::Login);
    bed.start();
    assert_eq!(pair.sign(c, 0), Err(CKR_DEVICE_ERROR));
    for number in 0..5 {
        bed.replaced(bed.kill_worker());
        assert_eq!(pair.sign(c, number), Err(CKR_DEVICE_ERROR));
    }
    assert_eq!(bed.calls(Call::Login) - logins, 1);
    std::fs::write(&pin, "device-pin").unwrap();
    // A device that could not be reached is asked again after a pause.
    assert!(within(5, || pair.sign(c, 6).is_ok()));
    bed.replaced(bed.kill_worker());
    pair.sign(c, 7).unwrap();
}

#[test]
fn an_agent_that_is_not_there_is_waited_for_once() {
    let mut bed = Bed::new(3);
    let (c, pair) = bed.client();
    bed.kill();
    let begun = Instant::now();
    assert_eq!(pair.sign(c, 1), Err(CKR_DEVICE_ERROR));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let begun = Instant::now();
    for number in 0..20 {
        assert_eq!(pair.sign(c, number), Err(CKR_DEVICE_ERROR));
    }
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    bed.start();
    pair.sign(c, 2).unwrap();
}
