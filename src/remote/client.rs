//! The asking side: what a process knows of its sessions and logins, so that it can go on in another host when one is lost, and
//! after a fork.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Instant;

use cryptoki_sys::*;
use serde_bytes::Bytes as Raw;

use super::calls::{Ask, Does, Op};
use super::host::VERSION;
use super::hosted::{Broken, Hosted, agree, lock, unless_final};
use super::info::SessionInfo;
use super::login::Login;
use super::seat::{Seat, Seated, Work};
use super::tries::Tries;
use crate::config::{AgentConfig, ClientConfig};
use crate::error::{Error, Result};
use crate::fork::{self, Lock, PerProcess};
use crate::link::{self, Wants};
use crate::token::ck;
use crate::token::slot::OTHER_NAME;

/// How often a host is sought that lives long enough to be told of the sessions.
const HOSTS: usize = 3;
/// Between two handles, so that one that is wrong by a little is nobody's.
const SPREAD: u64 = 997;

pub struct Client {
    config: ClientConfig,
    state: PerProcess<State>,
    tries: Tries,
}

struct State {
    is_heir: Once,
    known: Lock<Known>,
    current: Mutex<Option<Arc<Hosted>>>,
    /// Held while a host is sought. When none was found last, and why: true for whoever waited for it.
    failed: Mutex<Option<(Instant, Error)>>,
    is_absent: AtomicBool,
}

impl State {
    /// The host that is asked at the moment.
    fn live(&self) -> Option<Arc<Hosted>> {
        lock(&self.current).clone().filter(|hosted| !hosted.is_lost())
    }
}

#[derive(Default)]
struct Known {
    opened: u64,
    sessions: HashMap<u64, Arc<Seat>>,
    /// By slot.
    logins: HashMap<u64, Arc<Login>>,
    /// By slot: see [`Ask::Names`].
    names: HashMap<u64, Vec<(u64, Vec<u8>)>>,
}

/// What a host must have been told before it is asked: what this process knows of a slot. One host is known to know it.
#[derive(Clone, Copy)]
pub(super) struct Needs {
    pub slot: u64,
    pub told: u64,
}

impl Needs {
    pub(super) fn slot(slot: u64) -> Option<Self> {
        Some(Self { slot, told: 0 })
    }
}

impl Client {
    /// Touches nothing outside.
    pub fn new(config: ClientConfig) -> Self {
        let state = || State {
            is_heir: Once::new(),
            known: Lock::new(Known::default()),
            current: Mutex::default(),
            failed: Mutex::default(),
            is_absent: AtomicBool::new(false),
        };
        Self { config, state: PerProcess::new(state), tries: Tries::default() }
    }

    /// This process's own; a forked child begins with what its parent knew.
    fn state(&self) -> &State {
        let _hold = fork::hold();
        let state = self.state.get();
        state.is_heir.call_once(|| {
            let Some(parent) = self.state.inherited() else { return };
            let mut known = state.known.lock();
            // Nothing is left in this process's copy of what the parent knew: a PIN that is forgotten is in no other place.
            *known = std::mem::take(&mut *parent.known.lock());
            let inherited = std::mem::take(&mut known.sessions).into_iter();
            let heirs = inherited.filter_map(|(handle, seat)| Some((handle, Arc::new(seat.heir()?))));
            known.sessions = heirs.collect();
            if let Ok(mut current) = parent.current.try_lock() {
                *current = None;
            }
        });
        state
    }

    fn deadline(&self, does: Does) -> Instant {
        let slow = if does == Does::Changes { AgentConfig::SLOW } else { 1 };
        Instant::now() + self.config.deadline * slow
    }

    fn unavailable(&self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable { device: self.config.socket.display().to_string(), reason: reason.into() }
    }

    /// Calls a host, and once more if it went away meanwhile and nothing was changed that would be changed twice.
    pub(super) fn insist<T>(
        &self,
        does: Does,
        needs: Option<Needs>,
        mut call: impl FnMut(&Hosted, Instant) -> Result<T, Broken>,
    ) -> Result<T> {
        let mut is_last = false;
        loop {
            let hosted = self.prepared(needs)?;
            // From now on: what a new host had to be told first is not the call's.
            let deadline = self.deadline(does);
            let reason = match call(&hosted, deadline) {
                Ok(answer) => return Ok(answer),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Late) => {
                    is_last = true;
                    "it did not answer in time"
                }
                Err(Broken::Away) => {
                    is_last |= does == Does::Changes;
                    "it went away during the call"
                }
                Err(Broken::Unsent) => "it went away",
            };
            hosted.lose();
            if is_last {
                return Err(self.unavailable(reason));
            }
            is_last = true;
        }
    }

    /// The host of this process, which has been told what it needs.
    fn prepared(&self, needs: Option<Needs>) -> Result<Arc<Hosted>> {
        let mut until = None;
        for _ in 0..HOSTS {
            let hosted = self.hosted()?;
            let Some(needs) = needs.filter(|needs| needs.told != hosted.number) else { return Ok(hosted) };
            // Logins take their time, and those of other processes are waited for.
            let until = *until.get_or_insert_with(|| self.deadline(Does::Changes));
            if Instant::now() >= until {
                break;
            }
            match self.brief(&hosted, needs.slot, until) {
                Ok(()) => return Ok(hosted),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Late) => {
                    hosted.lose();
                    break;
                }
                Err(Broken::Away | Broken::Unsent) => hosted.lose(),
            }
        }
        Err(self.unavailable("no host lasts"))
    }

    fn hosted(&self) -> Result<Arc<Hosted>> {
        let state = self.state();
        if let Some(hosted) = state.live() {
            return Ok(hosted);
        }
        let came = Instant::now();
        let mut failed = lock(&state.failed);
        if let Some(hosted) = state.live() {
            return Ok(hosted);
        }
        if let Some((_, error)) = failed.as_ref().filter(|(at, _)| *at >= came) {
            return Err(error.clone());
        }
        let deadline = self.deadline(Does::Looks);
        let reached = link::reach(&self.config.socket, Wants::Tokens, VERSION, deadline, &state.is_absent);
        match reached {
            Ok(control) => {
                let hosted = Arc::new(Hosted::new(control));
                *lock(&state.current) = Some(Arc::clone(&hosted));
                Ok(hosted)
            }
            Err(reason) => {
                let error = self.unavailable(reason);
                *failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// This host, if it is still the one that is asked.
    pub(super) fn at(&self, number: u64) -> Option<Arc<Hosted>> {
        self.state().live().filter(|hosted| hosted.number == number)
    }

    /// Tells a new host of a slot's names, sessions and login, once. What it refuses for good is forgotten.
    fn brief(&self, hosted: &Hosted, slot: u64, until: Instant) -> Result<(), Broken> {
        let state = self.state();
        let briefed = hosted.briefed(slot);
        let mut briefed = lock(&briefed);
        if hosted.is_lost() {
            return Err(Broken::Unsent);
        }
        if briefed.is_done {
            return Ok(());
        }
        let soon = || self.deadline(Does::Looks).min(until);
        let names = state.known.lock().names.get(&slot).cloned().unwrap_or_default();
        if !names.is_empty() {
            let count = names.len();
            if unless_final(hosted.ask::<()>(0, &Ask::SetNames { slot, names }, soon()))?.is_some() {
                briefed.names = count;
            } else {
                state.known.lock().names.remove(&slot);
            }
        }
        let mut seats = self.seats(state, |seat| seat.slot == slot);
        seats.sort_by_key(|seat| seat.handle);
        for seat in seats.iter().filter(|seat| hosted.theirs(seat.handle).is_none()) {
            match unless_final(hosted.ask(0, &Ask::Open { slot, flags: seat.flags }, soon()))? {
                Some(theirs) => hosted.opened(seat.handle, theirs),
                None => drop(state.known.lock().sessions.remove(&seat.handle)),
            }
        }
        self.forget_logins(state);
        let login = state.known.lock().logins.get(&slot).cloned();
        if let (Some(login), Some(theirs)) = (login, seats.iter().find_map(|seat| hosted.theirs(seat.handle)))
            && !self.replay(hosted, theirs, &login, until)?
        {
            // Whoever knows the right PIN must say it.
            let mut known = state.known.lock();
            if known.logins.get(&slot).is_some_and(|current| current.number == login.number) {
                known.logins.remove(&slot);
            }
        }
        briefed.is_done = true;
        Ok(())
    }

    /// Logs in again; false if that will not succeed another time either.
    fn replay(&self, hosted: &Hosted, theirs: u64, login: &Login, until: Instant) -> Result<bool, Broken> {
        let Some(turn) = self.tries.turn(login.number, until)? else { return Ok(false) };
        match hosted.ask::<Option<String>>(theirs, &login.ask(), until) {
            Err(Broken::Failed(Error::Cryptoki(
                CKR_PIN_INCORRECT | CKR_PIN_LOCKED | CKR_PIN_EXPIRED | CKR_USER_PIN_NOT_INITIALIZED,
            ))) => {
                turn.refused();
                Ok(false)
            }
            outcome => Ok(unless_final(outcome)?.is_some()),
        }
    }

    #[cold]
    #[inline(never)]
    pub fn open_session(&self, slot: u64, flags: u64) -> Result<u64> {
        let state = self.state();
        let handle = {
            let mut known = state.known.lock();
            known.opened += 1;
            known.opened * SPREAD
        };
        // Known before the next host is told of the sessions, and only if this one opened it.
        self.insist(Does::Looks, Needs::slot(slot), |hosted, deadline| {
            hosted.opened(handle, hosted.ask(0, &Ask::Open { slot, flags }, deadline)?);
            let work = Mutex::new(Work::at(hosted.number));
            let seat = Arc::new(Seat { handle, slot, flags, work });
            state.known.lock().sessions.insert(handle, seat);
            Ok(())
        })?;
        Ok(handle)
    }

    #[cold]
    #[inline(never)]
    pub fn close_session(&self, handle: u64) -> Result<()> {
        let state = self.state();
        let seat = state.known.lock().sessions.remove(&handle).ok_or(ck(CKR_SESSION_HANDLE_INVALID))?;
        lock(&seat.work).is_closed = true;
        let hosted = state.live();
        // A host that is gone has no session of ours.
        if let Some(hosted) = hosted
            && let Some(theirs) = hosted.theirs(handle)
        {
            hosted.closed(handle);
            if let Err(Broken::Away | Broken::Late | Broken::Unsent) =
                hosted.ask::<()>(theirs, &Ask::Close, self.deadline(Does::Looks))
            {
                hosted.lose();
            }
        }
        self.forget_logins(state);
        Ok(())
    }

    /// With the last session of a token its login ends (PKCS#11 3.2 §5.6.4).
    fn forget_logins(&self, state: &State) {
        let mut known = state.known.lock();
        let Known { sessions, logins, .. } = &mut *known;
        logins.retain(|slot, _| sessions.values().any(|seat| seat.slot == *slot));
    }

    #[cold]
    #[inline(never)]
    pub fn close_all_sessions(&self, slot: u64) -> Result<()> {
        let state = self.state();
        let seats = self.seats(state, |seat| seat.slot == slot);
        // A host that cannot be asked has none either.
        if seats.is_empty() && self.slot_info(slot).is_err_and(|error| error == ck(CKR_SLOT_ID_INVALID)) {
            return Err(ck(CKR_SLOT_ID_INVALID));
        }
        for seat in seats {
            let _ = self.close_session(seat.handle);
        }
        Ok(())
    }

    fn seats(&self, state: &State, which: impl Fn(&Seat) -> bool) -> Vec<Arc<Seat>> {
        state.known.lock().sessions.values().filter(|seat| which(seat)).cloned().collect()
    }

    /// Ends everything: sessions, logins, and the host.
    #[cold]
    #[inline(never)]
    pub fn stop(&self) {
        let state = self.state();
        let known = std::mem::take(&mut *state.known.lock());
        state.known.lock().opened = known.opened;
        for seat in known.sessions.values() {
            lock(&seat.work).is_closed = true;
        }
        // Who seeks a host meanwhile is waited for.
        let mut failed = lock(&state.failed);
        *failed = None;
        *lock(&state.current) = None;
        state.is_absent.store(false, Ordering::Relaxed);
    }

    pub(super) fn knows(&self, handle: u64) -> bool {
        self.state().known.lock().sessions.contains_key(&handle)
    }

    #[cold]
    #[inline(never)]
    pub fn seat(&self, handle: u64) -> Result<Arc<Seat>> {
        self.state().known.lock().sessions.get(&handle).cloned().ok_or(ck(CKR_SESSION_HANDLE_INVALID))
    }

    /// Runs `work` with the session to itself; waits for what another thread does with it.
    fn seated<T>(&self, handle: u64, work: impl FnOnce(Seated<'_>) -> Result<T>) -> Result<T> {
        let seat = self.seat(handle)?;
        let mut taken = seat.enter()?;
        work(Seated { client: self, seat: &seat, work: &mut taken })
    }

    #[cold]
    #[inline(never)]
    pub fn session_info(&self, handle: u64) -> Result<CK_SESSION_INFO> {
        self.seated(handle, |mut s| s.ask::<SessionInfo>(Does::Looks, &Ask::Info)).map(CK_SESSION_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn login(&self, handle: u64, user: u64, pin: Option<&[u8]>, name: Option<&[u8]>) -> Result<()> {
        let ask = Ask::Login { user, pin: pin.map(Raw::new), name: name.map(Raw::new) };
        self.seated(handle, |mut s| {
            let is = s.ask::<Option<String>>(Does::Changes, &ask)?;
            if user == CKU_CONTEXT_SPECIFIC {
                // Another host would wait for the PIN again: the operation is begun anew by who knows it.
                s.work.forget(&[Op::Decrypt, Op::Sign]);
                return Ok(());
            }
            let login = Login::new(user, pin.unwrap_or_default(), name, is)?;
            let state = self.state();
            state.known.lock().logins.insert(s.seat.slot, Arc::new(login));
            self.brought_up(state, &s);
            Ok(())
        })
    }

    /// A host that was briefed before the login was known here does not know it.
    fn brought_up(&self, state: &State, seated: &Seated<'_>) {
        if let Some(hosted) = state.live().filter(|hosted| hosted.number != seated.work.host) {
            hosted.lose();
        }
    }

    #[cold]
    #[inline(never)]
    pub fn logout(&self, handle: u64) -> Result<()> {
        let state = self.state();
        let slot = self.seated(handle, |mut s| {
            let slot = s.seat.slot;
            // Whatever becomes of the host, nobody says this PIN again.
            let was_in = state.known.lock().logins.remove(&slot).is_some();
            if was_in && state.live().is_none() {
                return Ok(slot);
            }
            match s.ask::<()>(Does::Looks, &Ask::Logout) {
                Err(error) if !was_in => return Err(error),
                // A new host knows of no login.
                Ok(()) | Err(Error::Cryptoki(CKR_USER_NOT_LOGGED_IN)) => self.brought_up(state, &s),
                Err(_) => state.live().into_iter().for_each(|hosted| hosted.lose()),
            }
            Ok(slot)
        })?;
        for seat in self.seats(state, |seat| seat.slot == slot) {
            lock(&seat.work).logged_out();
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    pub fn init_pin(&self, handle: u64, pin: Option<&[u8]>) -> Result<()> {
        self.seated(handle, |mut s| s.ask(Does::Changes, &Ask::InitPin { pin: pin.map(Raw::new) }))
    }

    #[cold]
    #[inline(never)]
    pub fn set_pin(&self, handle: u64, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<()> {
        self.seated(handle, |mut s| {
            s.ask::<()>(Does::Changes, &Ask::SetPin { old: old.map(Raw::new), new: new.map(Raw::new) })?;
            let mut known = self.state().known.lock();
            if let (Some(login), Some(old), Some(new)) = (known.logins.get(&s.seat.slot), old, new)
                && let Some(changed) = login.with_pin(old, new)?
            {
                known.logins.insert(s.seat.slot, Arc::new(changed));
            }
            Ok(())
        })
    }

    /// Objects that were found by other names than their own: their handles are the places of these names in a list, which every
    /// host must have in the same order.
    pub(super) fn learn_names(&self, seated: &mut Seated<'_>, found: &[u64]) -> Result<()> {
        let places = found.iter().filter(|handle| *handle & OTHER_NAME != 0).map(|handle| handle & !OTHER_NAME);
        let Some(last) = places.filter(|place| *place < OTHER_NAME).max() else { return Ok(()) };
        let (slot, host) = (seated.seat.slot, seated.work.host);
        // Nobody knows any more what the host that found them called them.
        let Some(hosted) = self.at(host) else { return Err(ck(CKR_DEVICE_ERROR)) };
        let briefed = hosted.briefed(slot);
        if lock(&briefed).names as u64 > last {
            return Ok(());
        }
        let names: Vec<(u64, Vec<u8>)> = seated.ask(Does::Looks, &Ask::Names { slot })?;
        if seated.work.host != host || names.len() as u64 <= last {
            return Err(ck(CKR_DEVICE_ERROR));
        }
        let count = names.len();
        if !agree(self.state().known.lock().names.entry(slot).or_default(), names) {
            hosted.lose();
            return Err(ck(CKR_DEVICE_ERROR));
        }
        let mut briefed = lock(&briefed);
        briefed.names = briefed.names.max(count);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
