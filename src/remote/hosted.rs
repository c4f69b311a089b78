//! A connection to a host: the control line, on which the ends of further lines are handed over, and those lines, each of
//! which carries one call at a time. The host ends with the control line.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::Ask;
use crate::error::{Error, Result};
use crate::fork::{self, Birth};
use crate::link::{self, Line, Lost};

/// The control lines of this process, by their number. Only touched while the process cannot fork, so that a child finds it
/// free, and closes at once what would keep the parent's hosts alive.
static CONTROLS: Mutex<Vec<(u64, Line)>> = Mutex::new(Vec::new());
static LAST: AtomicU64 = AtomicU64::new(0);
/// How many lines are kept that nobody uses.
const KEPT: usize = 16;

/// How a call failed.
pub enum Broken {
    /// It never reached the host.
    Unsent,
    /// The host went away: the call may have been done or not.
    Away,
    /// The host does not answer.
    Late,
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

pub struct Hosted {
    /// Of its control line; no other host of this process has had it.
    pub number: u64,
    idle: Mutex<Vec<Line>>,
    /// The host's handles of our sessions, by ours.
    sessions: Mutex<HashMap<u64, u64>>,
    is_lost: AtomicBool,
}

impl Hosted {
    pub fn new(control: Line) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| fork::at_birth(Birth::Remote, || controls().clear()));
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let _hold = fork::hold();
        controls().push((number, control));
        Self { number, idle: Mutex::default(), sessions: Mutex::default(), is_lost: AtomicBool::new(false) }
    }

    /// Nobody is to use it any more.
    pub fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        lock(&self.idle).clear();
        let _hold = fork::hold();
        controls().retain(|(number, _)| *number != self.number);
    }

    pub fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }

    /// The host's handle of a session.
    pub fn theirs(&self, ours: u64) -> Option<u64> {
        lock(&self.sessions).get(&ours).copied()
    }

    pub fn opened(&self, ours: u64, theirs: u64) {
        lock(&self.sessions).insert(ours, theirs);
    }

    pub fn closed(&self, ours: u64) {
        lock(&self.sessions).remove(&ours);
    }

    /// One question about no session of ours, or about the host's session `theirs`.
    pub fn ask<T: DeserializeOwned>(&self, theirs: u64, ask: &Ask<'_>, deadline: Instant) -> Result<T, Broken> {
        let message = question(theirs, ask)?;
        answer(&self.exchange(&message, deadline)?)
    }

    /// Sends a whole message and waits for its answer.
    pub fn exchange(&self, message: &[u8], deadline: Instant) -> Result<crate::model::Bytes, Broken> {
        let line = self.line()?;
        line.send(message, deadline).map_err(|lost| if lost == Lost::Late { Broken::Late } else { Broken::Unsent })?;
        match line.receive(Some(deadline)) {
            Ok(body) => {
                let mut idle = lock(&self.idle);
                if idle.len() < KEPT && !self.is_lost() {
                    idle.push(line);
                }
                Ok(body)
            }
            Err(Lost::Late) => Err(Broken::Late),
            Err(Lost::Closed) => Err(Broken::Away),
            Err(Lost::Garbage) => Err(nonsense().into()),
        }
    }

    /// A line on which nothing is going on.
    fn line(&self) -> Result<Line, Broken> {
        let kept = || lock(&self.idle).pop();
        while let Some(line) = kept() {
            if line.is_quiet() {
                return Ok(line);
            }
        }
        let (ours, theirs) = Line::pair().ok_or(Error::HostMemory)?;
        let _hold = fork::hold();
        let controls = controls();
        let control = controls.iter().find(|(number, _)| *number == self.number);
        let is_sent = control.is_some_and(|(_, control)| control.is_ours() && control.send_end(&theirs));
        if is_sent { Ok(ours) } else { Err(Broken::Unsent) }
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.lose();
    }
}

fn controls() -> MutexGuard<'static, Vec<(u64, Line)>> {
    lock(&CONTROLS)
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A whole message, with its length before it. `HostMemory` if it would be longer than messages are.
pub fn question(session: u64, ask: &impl Serialize) -> Result<crate::model::Bytes> {
    link::encode(&(session.to_le_bytes(), ask)).ok_or(Error::HostMemory)
}

pub fn answer<T: DeserializeOwned>(body: &[u8]) -> Result<T, Broken> {
    let outcome: Result<T, u64> = link::decode(body).ok_or_else(nonsense)?;
    Ok(outcome.map_err(Error::Cryptoki)?)
}

fn nonsense() -> Error {
    Error::Internal("the host's answer is not one".to_owned())
}
