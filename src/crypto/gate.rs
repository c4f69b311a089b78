//! Keeps forks out of the moments in which aws-lc holds a lock.
//!
//! aws-lc asks on every random number, and on every RSA private operation, whether the process was forked, under locks
//! of the whole library; RSA keys have a lock of their own besides. A lock that another thread holds at the fork stays
//! closed for ever in the child, whose first signature would then hang (seen in 1 of 200 forks under load). aws-lc offers
//! no way to take these locks, so each such call is counted in and out here, and a fork waits until nobody is inside.

use std::sync::Once;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::fork::thread_number;

/// Calls in progress, spread over cache lines so that threads do not slow each other down.
static INSIDE: [Line; 16] = [const { Line(AtomicIsize::new(0)) }; 16];
/// Forks in progress.
static FORKING: AtomicUsize = AtomicUsize::new(0);
static REGISTERED: Once = Once::new();
/// How long a fork waits for the calls in progress, and a call for a fork. Only making a large RSA key takes so long;
/// going on then risks what the gate is for, waiting without end would risk more.
const PATIENCE: Duration = Duration::from_secs(1);

#[repr(align(128))]
struct Line(AtomicIsize);

/// A call in progress, until dropped. To be held around every call that draws random numbers or uses an RSA private key.
pub(super) struct Inside(&'static Line);

pub(super) fn enter() -> Inside {
    // SAFETY: registers functions that live as long as the library, which is never unloaded (-z nodelete).
    REGISTERED.call_once(|| unsafe {
        libc::pthread_atfork(Some(close), Some(open), Some(renew));
    });
    let inside = Inside::new();
    // Either this sees the fork, or the fork sees this: both write before they read.
    if FORKING.load(Ordering::SeqCst) == 0 { inside } else { inside.wait() }
}

impl Inside {
    fn new() -> Self {
        // Sixteen threads never meet here; whoever leaves a call leaves it where it entered.
        let line = &INSIDE[thread_number() % INSIDE.len()];
        line.0.fetch_add(1, Ordering::SeqCst);
        Self(line)
    }

    #[cold]
    fn wait(mut self) -> Self {
        let start = Instant::now();
        // Anew each time: another fork may have begun since the last look.
        while FORKING.load(Ordering::SeqCst) != 0 && start.elapsed() < PATIENCE {
            drop(self);
            patiently(|| FORKING.load(Ordering::SeqCst) == 0);
            self = Self::new();
        }
        self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

extern "C" fn close() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    patiently(|| INSIDE.iter().all(|line| line.0.load(Ordering::SeqCst) <= 0));
}

extern "C" fn open() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

/// In the child, which has one thread. (If that one forked from a signal handler inside a call, its leaving makes a
/// count negative, which `close` takes for nobody.)
extern "C" fn renew() {
    INSIDE.iter().for_each(|line| line.0.store(0, Ordering::SeqCst));
    FORKING.store(0, Ordering::SeqCst);
}

fn patiently(done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() && start.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_micros(20));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use crate::crypto::{ec::EcKey, rsa::RsaKey};
    use crate::model::curve::Curve;

    #[test]
    fn a_child_of_a_busy_process_signs() {
        let (rsa, ec) = (RsaKey::generate(1024, &[3]).unwrap(), EcKey::generate(Curve::P256).unwrap());
        let work = || rsa.sign_pkcs1(b"block").is_ok() && ec.sign(&[1; 32]).is_ok();
        let done = AtomicBool::new(false);
        let children = std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(super::Ordering::Relaxed) {
                        assert!(work());
                    }
                });
            }
            let children: Vec<i32> = (0..100)
                .map(|_| {
                    // SAFETY: the child does our own work, which is what is tested, and ends without going back; a
                    // hanging one is killed by its alarm.
                    unsafe {
                        let child = libc::fork();
                        if child == 0 {
                            libc::alarm(5);
                            libc::_exit(i32::from(!work()));
                        }
                        let mut status = -1;
                        libc::waitpid(child, &raw mut status, 0);
                        status
                    }
                })
                .collect();
            done.store(true, super::Ordering::Relaxed);
            children
        });
        assert_eq!(children, vec![0; 100]);
    }
}
