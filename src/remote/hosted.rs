//! A connection to a host: the control line, on which the ends of further lines are handed over, and those lines, each of
//! which carries one call at a time. The host ends with the control line.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::calls::Ask;
use super::host::LINES;
use crate::error::{Error, Result};
use crate::fork::{self, Birth};
use crate::link::{self, Line, Lost};
use crate::token::ck;

/// The control lines of this process, by their number. Only touched while the process cannot fork, so that a child finds it
/// free, and closes at once what would keep the parent's hosts alive.
static CONTROLS: Mutex<Vec<(u64, Line)>> = Mutex::new(Vec::new());
static LAST: AtomicU64 = AtomicU64::new(0);
/// Between two attempts to hand a line over.
const PAUSE: Duration = Duration::from_millis(1);

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
    lines: Mutex<Lines>,
    /// A line or the place of one has become free, or the host is lost.
    freed: Condvar,
    /// The host's handles of our sessions, by ours.
    sessions: Mutex<HashMap<u64, u64>>,
    /// By slot.
    briefed: Mutex<HashMap<u64, Arc<Mutex<Briefed>>>>,
    is_lost: AtomicBool,
}

#[derive(Default)]
struct Lines {
    idle: Vec<Line>,
    /// With those on which a call is going on; never more than a host takes.
    open: usize,
}

/// What a host has been told of a slot; held while it is told.
#[derive(Default)]
pub struct Briefed {
    /// Sessions and login.
    pub is_done: bool,
    /// So many of its other names are those that this process knows, too.
    pub names: usize,
}

impl Hosted {
    pub fn new(control: Line) -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| fork::at_birth(Birth::Remote, || controls().clear()));
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let _hold = fork::hold();
        controls().push((number, control));
        Self {
            number,
            lines: Mutex::default(),
            freed: Condvar::new(),
            sessions: Mutex::default(),
            briefed: Mutex::default(),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Nobody is to use it any more.
    pub fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
        lock(&self.lines).idle.clear();
        self.freed.notify_all();
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

    pub fn briefed(&self, slot: u64) -> Arc<Mutex<Briefed>> {
        Arc::clone(lock(&self.briefed).entry(slot).or_default())
    }

    /// One question about no session of ours, or about the host's session `theirs`.
    pub fn ask<T: DeserializeOwned>(&self, theirs: u64, ask: &Ask<'_>, deadline: Instant) -> Result<T, Broken> {
        let message = question(theirs, ask)?;
        answer(&self.exchange(&message, deadline)?)
    }

    /// Sends a whole message and waits for its answer.
    pub fn exchange(&self, message: &[u8], deadline: Instant) -> Result<crate::model::Bytes, Broken> {
        let begun = Instant::now();
        let line = self.line(deadline)?;
        // A host is not lost because others were in the way before it was asked.
        let deadline = deadline + begun.elapsed();
        let sent = line.send(message, deadline);
        let sent = sent.map_err(|lost| if lost == Lost::Late { Broken::Late } else { Broken::Unsent });
        let outcome = sent.and_then(|()| {
            line.receive(Some(deadline)).map_err(|lost| match lost {
                Lost::Late => Broken::Late,
                Lost::Closed => Broken::Away,
                Lost::Garbage => nonsense().into(),
            })
        });
        self.put_back(outcome.is_ok().then_some(line));
        outcome
    }

    /// A line, or its place, for the next one.
    fn put_back(&self, line: Option<Line>) {
        let mut lines = lock(&self.lines);
        match line.filter(|_| !self.is_lost()) {
            Some(line) => lines.idle.push(line),
            None => lines.open -= 1,
        }
        drop(lines);
        self.freed.notify_one();
    }

    /// A line on which nothing is going on. Waits for one where there are as many as a host takes.
    fn line(&self, deadline: Instant) -> Result<Line, Broken> {
        while let Some(line) = self.idle(deadline)? {
            if line.is_quiet() {
                return Ok(line);
            }
            drop(line);
            self.put_back(None);
        }
        let opened = self.open(deadline);
        if opened.is_err() {
            self.put_back(None);
        }
        opened
    }

    /// None: there is room for another one, which has its place already.
    fn idle(&self, deadline: Instant) -> Result<Option<Line>, Broken> {
        let mut lines = lock(&self.lines);
        loop {
            if self.is_lost() {
                return Err(Broken::Unsent);
            }
            if let Some(line) = lines.idle.pop() {
                return Ok(Some(line));
            }
            if lines.open < LINES {
                lines.open += 1;
                return Ok(None);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(crowded());
            }
            lines = self.freed.wait_timeout(lines, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn open(&self, deadline: Instant) -> Result<Line, Broken> {
        let (ours, theirs) = Line::pair().ok_or(Error::HostMemory)?;
        loop {
            match self.hand_over(&theirs) {
                Ok(()) => return Ok(ours),
                Err(Lost::Late) if Instant::now() < deadline => std::thread::sleep(PAUSE),
                Err(Lost::Late) => return Err(crowded()),
                Err(_) => return Err(Broken::Unsent),
            }
        }
    }

    fn hand_over(&self, end: &OwnedFd) -> Result<(), Lost> {
        let _hold = fork::hold();
        let controls = controls();
        let control = controls.iter().find(|(number, control)| *number == self.number && control.is_ours());
        control.ok_or(Lost::Closed)?.1.send_end(end)
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

/// The host is well, but has no time for this call: it is not lost for that.
fn crowded() -> Broken {
    Broken::Failed(ck(CKR_DEVICE_ERROR))
}

/// Whether a host would answer the same another time.
fn is_final(error: &Error) -> bool {
    let passing = [
        CKR_DEVICE_ERROR,
        CKR_DEVICE_MEMORY,
        CKR_FUNCTION_FAILED,
        CKR_GENERAL_ERROR,
        CKR_HOST_MEMORY,
        CKR_TOKEN_WRITE_PROTECTED,
    ];
    matches!(error, Error::Cryptoki(rv) if !passing.contains(rv))
}

/// None for what a host refuses for good.
pub fn unless_final<T>(outcome: Result<T, Broken>) -> Result<Option<T>, Broken> {
    match outcome {
        Err(Broken::Failed(error)) if is_final(&error) => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Takes the names over that are new. False if others stand in the same places: two hosts were asked at the same time.
pub fn agree(kept: &mut Vec<(u64, Vec<u8>)>, names: Vec<(u64, Vec<u8>)>) -> bool {
    let is_same = kept.iter().zip(&names).all(|(kept, name)| kept == name);
    if is_same && names.len() > kept.len() {
        *kept = names;
    }
    is_same
}

fn nonsense() -> Error {
    Error::Internal("the host's answer is not one".to_owned())
}
