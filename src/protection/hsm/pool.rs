//! The sessions of one device in one process: a bounded number, lent one at a time, under a small lock that is never
//! held during a call of the device.

use std::collections::VecDeque;
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
#[cfg(not(loom))]
use std::{
    sync::{Condvar, Mutex, MutexGuard},
    time::Instant,
};

use cryptoki_sys::{CK_SESSION_HANDLE, CKR_SESSION_HANDLE_INVALID};

use super::calls::{Answer, Failed};
use super::connection::{Connection, Library};
use super::pin::Pins;
use super::profile::{Class, Profile};
use super::recover::Rung;
use super::session::Session;
use super::turns::Turnstile;
use crate::config::{DeviceConfig, Isolate};
use crate::error::{Error, Result};
use crate::fork::{Latest, PerProcess};
// `models/` tries every order of events in this file.
#[cfg(loom)]
use crate::time::{Condvar, Instant, Mutex, MutexGuard};

/// How long a caller waits for a session, and recovery for those that are lent.
pub const WAIT: Duration = Duration::from_secs(10);
/// The first pause after a device was lost; it doubles up to the profile's.
const FIRST_PAUSE: Duration = Duration::from_millis(25);

/// One configured device. Nothing of it is loaded before a session is borrowed.
pub struct Device {
    pub config: DeviceConfig,
    /// Where processes wait for each other, if the device is shy.
    pub turnstile: Option<Turnstile>,
    pub pins: Pins,
    /// The number of the last connection; a forked child goes on counting, so that no number ever comes twice to it.
    pub generations: AtomicU64,
    /// Read when it is first asked for: C_Initialize has no use for it.
    profile: Latest<std::result::Result<Profile, String>>,
    process: PerProcess<Process>,
}

/// What a process has of a device. A forked child begins with a new one and never touches what it inherited.
#[derive(Default)]
pub struct Process {
    state: Mutex<State>,
    /// Signalled when a session comes back while somebody waits for all of them.
    drained: Condvar,
    /// Touched only by the one thread that connects or repairs.
    library: Mutex<Library>,
}

#[derive(Default)]
struct State {
    phase: Phase,
    idle: Vec<CK_SESSION_HANDLE>,
    /// By handle, to notice a device that gives one out a second time because it has forgotten the first.
    lent: Vec<CK_SESSION_HANDLE>,
    opening: usize,
    capacity: usize,
    /// When a capacity that the device cut down is tried again.
    grow_at: Option<Instant>,
    /// Failures to connect in a row.
    failures: u32,
    /// Those who wait, first come first served; each has a condition variable of its own, so that one is woken, not all.
    queue: VecDeque<Arc<Condvar>>,
}

#[derive(Default)]
enum Phase {
    Down {
        until: Instant,
        error: Error,
    },
    #[default]
    New,
    Ready(Arc<Connection>),
    /// One thread connects or repairs. With an error: the device was down before, and nobody waits for it.
    Repairing(Option<Error>),
}

/// A session on loan; it goes back when dropped.
pub struct Lent<'a> {
    process: &'a Process,
    session: Session,
    /// The handle, as long as it is known to be a session of ours.
    lent: Option<CK_SESSION_HANDLE>,
}

/// What somebody who waits can do now.
enum Turn {
    Connect(Option<Error>),
    Fail(Error),
    Open(Arc<Connection>),
    Take(Session),
    Wait,
}

impl Device {
    /// `note`: where a refused PIN is noted for other processes than those forked from this one.
    pub fn new(config: DeviceConfig, turnstile: Option<Turnstile>, note: Option<PathBuf>) -> Self {
        Self {
            config,
            turnstile,
            pins: Pins::new(note),
            generations: AtomicU64::new(0),
            profile: Latest::new(),
            process: PerProcess::new(Process::default),
        }
    }

    pub fn profile(&self) -> Result<&Profile> {
        let (config, known) = (&self.config, self.profile.get());
        known
            .unwrap_or_else(|| self.profile.set(Profile::of(&config.profile, &config.library, &config.changes)))
            .as_ref()
            .map_err(|wrong| self.unavailable(wrong))
    }

    pub fn class(&self, failed: Failed) -> Class {
        self.profile().map_or(Class::Permanent, |profile| profile.class(failed))
    }

    pub fn isolate(&self) -> Result<Isolate> {
        Ok(self.config.isolate.unwrap_or(self.profile()?.isolate))
    }

    /// A logged-in session. Connects if need be; waits until `deadline` if all are lent.
    pub fn borrow(&self, deadline: Instant) -> Result<Lent<'_>> {
        let process = self.process.get();
        let mut state = process.lock();
        if state.queue.is_empty()
            && let Turn::Take(session) = state.take()
        {
            return Ok(Lent::new(process, session));
        }
        drop(state);
        self.wait(process, deadline)
    }

    #[cold]
    fn wait<'a>(&'a self, process: &'a Process, deadline: Instant) -> Result<Lent<'a>> {
        let me = Arc::new(Condvar::new());
        let mut mended = false;
        let mut state = process.lock();
        state.queue.push_back(Arc::clone(&me));
        loop {
            match state.turn(&me) {
                Turn::Take(session) => {
                    state.leave(&me);
                    return Ok(Lent::new(process, session));
                }
                Turn::Fail(error) => {
                    state.leave(&me);
                    return Err(error);
                }
                Turn::Connect(before) => {
                    state.phase = Phase::Repairing(before);
                    drop(state);
                    let outcome = self.connect(process, deadline);
                    state = process.lock();
                    if let Err(error) = outcome {
                        state.leave(&me);
                        return Err(error);
                    }
                }
                Turn::Open(connection) => {
                    state.opening += 1;
                    state.leave(&me);
                    drop(state);
                    let opened = connection.open();
                    state = process.lock();
                    let failed = match opened.and_then(|handle| state.lend(handle)) {
                        Ok(handle) => return Ok(Lent::new(process, Session { handle, connection })),
                        Err(failed) => failed,
                    };
                    state.opening -= 1;
                    process.tell_drained(&state);
                    if self.class(failed) == Class::Busy {
                        // So many sessions and no more; if none at all, the anchor has to do.
                        if state.open() == 0 {
                            state.idle.push(connection.anchor);
                        }
                        state.capacity = state.open();
                        state.grow_at = Some(Instant::now() + WAIT);
                    } else {
                        state.wake();
                        drop(state);
                        if mended {
                            return Err(self.error(failed));
                        }
                        mended = true;
                        self.repair(connection.generation, Rung::CloseAll, deadline, &|_| Ok(()))?;
                        state = process.lock();
                    }
                    state.queue.push_front(Arc::clone(&me));
                }
                Turn::Wait => {
                    let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
                    else {
                        state.leave(&me);
                        let sessions = state.capacity;
                        return Err(self.unavailable(format!(
                            "none of its {sessions} sessions became free within {} s",
                            WAIT.as_secs()
                        )));
                    };
                    state = me.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        }
    }

    fn connect(&self, process: &Process, deadline: Instant) -> Result<()> {
        let repair = Repair { process, device: self };
        let outcome = Connection::start(self, &mut process.lock_library(), deadline);
        repair.end(outcome, Vec::new())
    }

    /// Makes the one who calls the one who repairs, and waits until every session is back. None: somebody has repaired
    /// since `generation`.
    pub fn seize(&self, generation: u64, deadline: Instant) -> Result<Option<Seized<'_>>> {
        let process = self.process.get();
        let mut state = process.lock();
        let connection = loop {
            match &state.phase {
                Phase::Ready(connection) if connection.generation == generation => break Arc::clone(connection),
                Phase::Ready(_) | Phase::New => return Ok(None),
                Phase::Down { error, .. } | Phase::Repairing(Some(error)) => return Err(error.clone()),
                Phase::Repairing(None) => state = self.until(&process.drained, state, deadline)?,
            }
        };
        state.phase = Phase::Repairing(None);
        while !state.is_drained() {
            state = match self.until(&process.drained, state, deadline) {
                Ok(state) => state,
                Err(error) => {
                    // A call hangs in the device. Whoever can still work with what there is, may.
                    let mut state = process.lock();
                    state.phase = Phase::Ready(connection);
                    state.wake_all();
                    process.drained.notify_all();
                    return Err(error);
                }
            };
        }
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        Ok(Some(Seized { connection, idle, library: process.lock_library(), repair: Repair { process, device: self } }))
    }

    fn until<'a>(
        &self,
        signal: &Condvar,
        state: MutexGuard<'a, State>,
        deadline: Instant,
    ) -> Result<MutexGuard<'a, State>> {
        match deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            Some(left) => Ok(signal.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0),
            None => Err(self.unavailable("a call to it does not come back")),
        }
    }
}

/// The device in the hands of the one thread that repairs it: no session is lent.
pub struct Seized<'a> {
    pub connection: Arc<Connection>,
    pub idle: Vec<CK_SESSION_HANDLE>,
    pub library: MutexGuard<'a, Library>,
    pub repair: Repair<'a>,
}

/// Owed by whoever put the phase to `Repairing`: an outcome. Without one (a panic) the device counts as down.
pub struct Repair<'a> {
    process: &'a Process,
    device: &'a Device,
}

impl Repair<'_> {
    /// `idle`: the sessions beside the anchor that are good.
    pub fn end(self, outcome: Result<Connection>, idle: Vec<CK_SESSION_HANDLE>) -> Result<()> {
        let answer = self.settle(outcome, idle);
        std::mem::forget(self);
        answer
    }

    fn settle(&self, outcome: Result<Connection>, idle: Vec<CK_SESSION_HANDLE>) -> Result<()> {
        let mut state = self.process.lock();
        let answer = match outcome {
            Ok(connection) => {
                state.failures = 0;
                state.capacity = connection.capacity;
                state.idle = idle;
                state.phase = Phase::Ready(Arc::new(connection));
                Ok(())
            }
            Err(error) => {
                tracing::warn!(device = self.device.config.name, %error, "device lost");
                let pause = self.device.pause(state.failures);
                state.failures = state.failures.saturating_add(1);
                state.idle.clear();
                state.phase = Phase::Down { until: Instant::now() + pause, error: error.clone() };
                Err(error)
            }
        };
        state.wake_all();
        self.process.drained.notify_all();
        answer
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        let _ = self.settle(Err(self.device.unavailable("its recovery was interrupted")), Vec::new());
    }
}

impl Device {
    /// Doubling, capped by the profile, and up to half of it less, so that processes do not come back in step.
    pub fn pause(&self, failures: u32) -> Duration {
        let cap = self.profile().map_or(FIRST_PAUSE, Profile::backoff);
        let full = FIRST_PAUSE.saturating_mul(1 << failures.min(16)).min(cap);
        let [dice] = crate::crypto::random::bytes::<1>();
        full - full.mul_f64(f64::from(dice) / 512.0)
    }
}

impl Process {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only a thread that repairs waits for this; a signal costs a system call.
    fn tell_drained(&self, state: &State) {
        if matches!(state.phase, Phase::Repairing(_)) && state.is_drained() {
            self.drained.notify_all();
        }
    }

    fn lock_library(&self) -> MutexGuard<'_, Library> {
        self.library.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn turn(&mut self, me: &Arc<Condvar>) -> Turn {
        if let Phase::Repairing(Some(error)) = &self.phase {
            return Turn::Fail(error.clone());
        }
        if let Phase::Down { until, error } = &self.phase {
            return if Instant::now() < *until {
                Turn::Fail(error.clone())
            } else {
                Turn::Connect(Some(error.clone()))
            };
        }
        match self.queue.front() {
            Some(front) if Arc::ptr_eq(front, me) => self.take(),
            _ => Turn::Wait,
        }
    }

    fn take(&mut self) -> Turn {
        match &self.phase {
            Phase::Ready(connection) => match self.idle.pop() {
                Some(handle) => {
                    self.lent.push(handle);
                    Turn::Take(Session { handle, connection: Arc::clone(connection) })
                }
                None if self.open() < self.capacity => Turn::Open(Arc::clone(connection)),
                None if self.capacity < connection.capacity && self.grow_at.is_some_and(|at| at <= Instant::now()) => {
                    self.capacity += 1;
                    Turn::Open(Arc::clone(connection))
                }
                None => Turn::Wait,
            },
            Phase::New => Turn::Connect(None),
            Phase::Down { .. } | Phase::Repairing(_) => Turn::Wait,
        }
    }

    /// How many sessions there are beside the anchor, or will be.
    fn open(&self) -> usize {
        self.idle.len() + self.lent.len() + self.opening
    }

    fn is_drained(&self) -> bool {
        self.lent.is_empty() && self.opening == 0
    }

    /// Counts a session that was just opened. A number that is lent already means that the device has forgotten the
    /// session of whoever has it; until that one is back, two would work in one session.
    fn lend(&mut self, handle: CK_SESSION_HANDLE) -> Answer<CK_SESSION_HANDLE> {
        self.idle.retain(|idle| *idle != handle);
        if self.lent.contains(&handle) {
            return Err(Failed { call: "C_OpenSession", rv: CKR_SESSION_HANDLE_INVALID });
        }
        self.lent.push(handle);
        self.opening = self.opening.saturating_sub(1);
        Ok(handle)
    }

    fn forget(&mut self, handle: CK_SESSION_HANDLE) {
        if let Some(at) = self.lent.iter().position(|lent| *lent == handle) {
            self.lent.swap_remove(at);
        }
    }

    /// Leaves the queue and lets the next one look.
    fn leave(&mut self, me: &Arc<Condvar>) {
        self.queue.retain(|waiting| !Arc::ptr_eq(waiting, me));
        self.wake();
    }

    fn wake(&self) {
        if let Some(front) = self.queue.front() {
            front.notify_one();
        }
    }

    fn wake_all(&self) {
        self.queue.iter().for_each(|waiting| waiting.notify_one());
    }
}

impl Deref for Lent<'_> {
    type Target = Session;
    fn deref(&self) -> &Session {
        &self.session
    }
}

impl<'a> Lent<'a> {
    fn new(process: &'a Process, session: Session) -> Self {
        Self { process, lent: Some(session.handle), session }
    }

    /// Puts a new session in the place of this one.
    pub fn renew(&mut self) -> Answer<()> {
        self.close();
        let Session { handle, connection } = &mut self.session;
        *handle = connection.open()?;
        self.lent = Some(self.process.lock().lend(*handle)?);
        Ok(())
    }

    /// Gives back the place alone: with the session all goes that it made for itself.
    pub fn end(mut self) {
        self.close();
    }

    /// The place stays taken.
    fn close(&mut self) {
        let _ = self.session.connection.module.close_session(self.session.handle);
        if let Some(old) = self.lent.take() {
            let mut state = self.process.lock();
            state.forget(old);
            state.opening += 1;
        }
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        // After a panic an operation may still be active in it.
        let broken = std::thread::panicking();
        if broken && self.lent.is_some() {
            let _ = self.connection.module.close_session(self.handle);
        }
        let mut state = self.process.lock();
        match self.lent {
            Some(handle) => {
                state.forget(handle);
                if !broken {
                    state.idle.push(handle);
                }
            }
            None => state.opening = state.opening.saturating_sub(1),
        }
        state.wake();
        self.process.tell_drained(&state);
    }
}
