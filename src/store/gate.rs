//! The gate of [`crate::fork`] as one thread passes through it.

use std::cell::Cell;

use crate::fork;

thread_local! {
    static GATE_HELD: Cell<bool> = const { Cell::new(false) };
}

/// Keeps the process from forking, once for each thread: waiting for the gate while holding it could wait for ever.
pub(super) struct Gate(Option<fork::Hold>);

impl Gate {
    /// Holds the gate until dropped, unless this thread does already.
    pub(super) fn enter() -> Self {
        Self((!GATE_HELD.replace(true)).then(fork::hold))
    }

    /// Is this thread within a transaction, or about to be?
    pub(super) fn is_held() -> bool {
        GATE_HELD.get()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        if self.0.is_some() {
            GATE_HELD.set(false);
        }
    }
}
