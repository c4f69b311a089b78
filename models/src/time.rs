//! Locks that can be waited on, and time, which stands still or flies: see the crate.

use std::cell::Cell;
use std::ops::{Add, Deref, DerefMut};
use std::sync::{LockResult, PoisonError};
use std::time::Duration;

// Loom runs the threads of a model in one thread of the system, and models beside each other in several.
thread_local! {
    static FLIES: Cell<bool> = const { Cell::new(false) };
    static NOW: Cell<u64> = const { Cell::new(0) };
}

/// At the beginning of each run of a model.
pub fn start(flies: bool) {
    FLIES.set(flies);
    NOW.set(1);
}

/// In seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    pub fn now() -> Self {
        Self(NOW.replace(NOW.get() + u64::from(FLIES.get())))
    }

    pub fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_secs)
    }
}

impl Add<Duration> for Instant {
    type Output = Self;
    fn add(self, more: Duration) -> Self {
        Self(self.0 + more.as_secs().max(1))
    }
}

#[derive(Default)]
pub struct Mutex<T>(loom::sync::Mutex<T>);

pub struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
    inner: loom::sync::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(MutexGuard { of: self, inner })
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[derive(Default)]
pub struct Condvar(loom::sync::Condvar);

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn notify_all(&self) {
        self.0.notify_all();
    }

    /// Answers the lock again when it was signalled, and where time flies at any moment (POSIX allows that too).
    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, _: Duration) -> LockResult<(MutexGuard<'a, T>, ())> {
        let MutexGuard { of, inner } = guard;
        if FLIES.get() {
            drop(inner);
            loom::thread::yield_now();
            return of.lock().map(|guard| (guard, ())).map_err(|_| unreachable!("never poisoned"));
        }
        let inner = self.0.wait(inner).unwrap_or_else(PoisonError::into_inner);
        Ok((MutexGuard { of, inner }, ()))
    }
}
