//! The pool of a device's sessions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alikms_models::config::DeviceConfig;
use alikms_models::every_order;
use alikms_models::hsm::pool::{Device, Seized};
use alikms_models::hsm::recover::Rung;
use alikms_models::time::{self, Instant};
use loom::thread;

/// A device, and how many sessions of it are in somebody's hands.
struct Bed {
    device: Device,
    lent: AtomicUsize,
    most: usize,
}

fn bed(profile: &str, flies: bool) -> Arc<Bed> {
    time::start(flies);
    let config =
        DeviceConfig { name: "d".into(), profile: profile.into(), library: String::new(), isolate: None, changes: () };
    let most = if profile == "two" { 2 } else { 1 };
    Arc::new(Bed { device: Device::new(config, None, None), lent: AtomicUsize::new(0), most })
}

impl Bed {
    /// Borrows, works and gives back; `false`: told that there is none.
    fn work(&self, seconds: u64) -> bool {
        let Ok(lent) = self.device.borrow(Instant::now() + Duration::from_secs(seconds)) else { return false };
        assert!(self.lent.fetch_add(1, Ordering::Relaxed) < self.most, "two in one session");
        thread::yield_now();
        assert!(lent.handle != 0);
        self.lent.fetch_sub(1, Ordering::Relaxed);
        true
    }
}

/// `count` threads, this one among them, each with a piece of work.
fn threads(bed: &Arc<Bed>, count: usize, work: impl Fn(&Bed) + Clone + Send + 'static) {
    let others: Vec<_> = (1..count)
        .map(|_| {
            let (bed, work) = (bed.clone(), work.clone());
            thread::spawn(move || work(&bed))
        })
        .collect();
    work(bed);
    others.into_iter().for_each(|other| other.join().unwrap());
}

/// Nobody is forgotten: time stands still, so that a wake-up that is lost is a deadlock.
#[test]
fn each_who_waits_gets_the_only_session() {
    every_order(2, || {
        let bed = bed("one", false);
        threads(&bed, 3, |bed| assert!(bed.work(10)));
    });
}

#[test]
fn two_sessions_for_three() {
    every_order(2, || {
        let bed = bed("two", false);
        threads(&bed, 3, |bed| assert!(bed.work(10)));
    });
}

/// A device that has fewer sessions than it says: those who wait share what there is.
#[test]
fn a_device_that_boasts() {
    every_order(2, || {
        let bed = bed("boasts", false);
        threads(&bed, 2, |bed| assert!(bed.work(10)));
    });
}

/// The connection is lost: one repairs, alone with the device, the others wait and go on with the new one.
#[test]
fn a_repair_is_alone_with_the_device() {
    every_order(2, || {
        let bed = bed("one", false);
        assert!(bed.work(10));
        let other = {
            let bed = bed.clone();
            // Told that the device is down, or not.
            thread::spawn(move || bed.work(10))
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        if let Some(Seized { library, repair, .. }) = bed.device.seize(1, deadline).unwrap() {
            assert_eq!(bed.lent.load(Ordering::Relaxed), 0, "somebody works while the device is repaired");
            drop((library, repair));
        }
        // Given up by dropping: the device is down, and nobody waits for it.
        other.join().unwrap();
    });
}

#[test]
fn two_who_repair_make_one_connection() {
    every_order(2, || {
        let bed = bed("one", false);
        assert!(bed.work(10));
        threads(&bed, 2, |bed| {
            let deadline = Instant::now() + Duration::from_secs(10);
            bed.device.repair(1, Rung::CloseAll, deadline, &|_| Ok(())).unwrap();
            assert!(bed.work(10));
        });
        assert_eq!(bed.device.generations.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_device_that_is_not_there_is_told_to_all() {
    every_order(2, || {
        let bed = bed("broken", false);
        threads(&bed, 2, |bed| assert!(!bed.work(10)));
    });
}

/// The deadline: who waits for a session that does not come back gives up, and leaves nothing behind in the queue.
#[test]
fn who_waits_in_vain_gives_up_in_time() {
    every_order(2, || {
        let bed = bed("one", true);
        let held = bed.device.borrow(Instant::now() + Duration::from_secs(100)).unwrap();
        let other = {
            let bed = bed.clone();
            thread::spawn(move || assert!(!bed.work(2)))
        };
        assert!(bed.device.borrow(Instant::now() + Duration::from_secs(2)).is_err());
        assert!(bed.device.seize(1, Instant::now() + Duration::from_secs(2)).is_err());
        other.join().unwrap();
        drop(held);
        assert!(bed.work(100));
    });
}
