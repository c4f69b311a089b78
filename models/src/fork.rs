//! One process, whose epoch a model may change: then it is its own forked child.

use std::sync::atomic::{AtomicU64, Ordering};

static EPOCH: AtomicU64 = AtomicU64::new(1);

pub fn epoch() -> u64 {
    EPOCH.load(Ordering::Relaxed)
}

/// Each run of a model begins with 1.
pub fn set_epoch(epoch: u64) {
    EPOCH.store(epoch, Ordering::Relaxed);
}

/// All threads meet in the same row of seats.
pub fn thread_number() -> usize {
    0
}

pub struct PerProcess<T>(T);

impl<T> PerProcess<T> {
    pub fn new(make: fn() -> T) -> Self {
        Self(make())
    }

    pub fn get(&self) -> &T {
        &self.0
    }
}
