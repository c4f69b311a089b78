//! One process, whose epoch a model may change: then it is its own forked child.

use std::cell::Cell;
use std::sync::OnceLock;

thread_local! {
    static EPOCH: Cell<u64> = const { Cell::new(1) };
}

pub fn epoch() -> u64 {
    EPOCH.get()
}

/// Each run of a model begins with 1.
pub fn set_epoch(epoch: u64) {
    EPOCH.set(epoch);
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

/// Set once in a model.
pub struct Latest<T>(OnceLock<T>);

impl<T> Latest<T> {
    pub fn new() -> Self {
        Self(OnceLock::new())
    }

    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }

    pub fn set(&self, value: T) -> &T {
        self.0.get_or_init(|| value)
    }
}
