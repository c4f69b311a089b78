//! The asking side: what a process knows of its sessions and logins, so that it can go on in another host when one is lost, and
//! after a fork.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::Instant;

use cryptoki_sys::*;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes as Raw;
use subtle::ConstantTimeEq;

use super::act::{Act, Acted};
use super::calls::{Ask, Does, Op};
use super::host::VERSION;
use super::hosted::{Broken, Hosted, lock};
use super::info::{MechanismInfo, SessionInfo, SlotInfo, TokenInfo};
use super::seat::{Seat, Seated, Work};
use super::tries::Tries;
use crate::config::{AgentConfig, ClientConfig};
use crate::error::{Error, Result};
use crate::fork::{self, Lock, PerProcess};
use crate::link::{self, Wants};
use crate::model::Bytes;
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
    is_absent: AtomicBool,
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

struct Login {
    number: u64,
    user: u64,
    pin: Bytes,
    name: Option<Vec<u8>>,
}

impl Client {
    /// Touches nothing outside.
    pub fn new(config: ClientConfig) -> Self {
        let state = || State {
            is_heir: Once::new(),
            known: Lock::new(Known::default()),
            current: Mutex::default(),
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
            let theirs = parent.known.lock();
            known.opened = theirs.opened;
            known.logins = theirs.logins.clone();
            known.names = theirs.names.clone();
            for (handle, seat) in &theirs.sessions {
                // What another thread of the parent was doing in a session is going on nowhere here.
                let Ok(work) = seat.work.try_lock() else { continue };
                let Seat { handle: own, slot, flags, .. } = **seat;
                let seat = Seat { handle: own, slot, flags, work: Mutex::new(work.inherited()) };
                known.sessions.insert(*handle, Arc::new(seat));
            }
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
        mut call: impl FnMut(&Hosted, Instant) -> Result<T, Broken>,
    ) -> Result<T> {
        let deadline = self.deadline(does);
        let mut is_last = false;
        loop {
            let hosted = self.hosted(deadline)?;
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

    /// The host of this process, which knows its sessions and logins.
    fn hosted(&self, deadline: Instant) -> Result<Arc<Hosted>> {
        let state = self.state();
        let mut current = lock(&state.current);
        if let Some(hosted) = current.as_ref().filter(|hosted| !hosted.is_lost()) {
            return Ok(Arc::clone(hosted));
        }
        *current = None;
        for _ in 0..HOSTS {
            let reached = link::reach(&self.config.socket, Wants::Tokens, VERSION, deadline, &state.is_absent);
            let hosted = Hosted::new(reached.map_err(|reason| self.unavailable(reason))?);
            match self.brief(state, &hosted, deadline) {
                Ok(()) => return Ok(Arc::clone(current.insert(Arc::new(hosted)))),
                Err(Broken::Failed(error)) => return Err(error),
                Err(Broken::Late) => break,
                Err(Broken::Away | Broken::Unsent) => {}
            }
        }
        Err(self.unavailable("no host lasts"))
    }

    /// Tells a new host of the names, sessions and logins of this process.
    fn brief(&self, state: &State, hosted: &Hosted, deadline: Instant) -> Result<(), Broken> {
        let (mut seats, logins, names) = {
            let known = state.known.lock();
            let seats: Vec<_> = known.sessions.values().cloned().collect();
            (seats, known.logins.clone(), known.names.clone())
        };
        for (slot, names) in names {
            hosted.ask::<()>(0, &Ask::SetNames { slot, names }, deadline)?;
        }
        seats.sort_by_key(|seat| seat.handle);
        for Seat { handle, slot, flags, .. } in seats.iter().map(|seat| &**seat) {
            let theirs = hosted.ask(0, &Ask::Open { slot: *slot, flags: *flags }, deadline)?;
            hosted.opened(*handle, theirs);
        }
        for (slot, login) in logins {
            let Some(seat) = seats.iter().find(|seat| seat.slot == slot) else { continue };
            if let Some(turn) = self.tries.turn(login.number) {
                let theirs = hosted.theirs(seat.handle).unwrap_or_default();
                match hosted.ask::<()>(theirs, &login.ask(), self.deadline(Does::Changes)) {
                    Ok(()) => continue,
                    Err(Broken::Failed(Error::Cryptoki(
                        CKR_PIN_INCORRECT | CKR_PIN_LOCKED | CKR_PIN_EXPIRED | CKR_USER_PIN_NOT_INITIALIZED,
                    ))) => turn.refused(),
                    Err(broken) => return Err(broken),
                }
            }
            // The PIN is another one by now: whoever knows it must say it.
            let mut known = state.known.lock();
            if known.logins.get(&slot).is_some_and(|current| current.number == login.number) {
                known.logins.remove(&slot);
            }
        }
        Ok(())
    }

    /// Asks about no session.
    fn ask<T: DeserializeOwned>(&self, does: Does, ask: &Ask<'_>) -> Result<T> {
        self.insist(does, |hosted, deadline| hosted.ask(0, ask, deadline))
    }

    /// An action of the API.
    pub fn act(&self, act: Act<'_>) -> Result<Acted> {
        self.ask(Does::Changes, &Ask::Act(act))
    }

    #[cold]
    #[inline(never)]
    pub fn slots(&self) -> Result<Vec<u64>> {
        self.ask(Does::Looks, &Ask::Slots)
    }

    #[cold]
    #[inline(never)]
    pub fn slot_info(&self, slot: u64) -> Result<CK_SLOT_INFO> {
        self.ask::<SlotInfo>(Does::Looks, &Ask::SlotInfo { slot }).map(CK_SLOT_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn token_info(&self, slot: u64) -> Result<CK_TOKEN_INFO> {
        self.ask::<TokenInfo>(Does::Looks, &Ask::TokenInfo { slot }).map(CK_TOKEN_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn mechanisms(&self, slot: u64) -> Result<Vec<u64>> {
        self.ask(Does::Looks, &Ask::Mechanisms { slot })
    }

    #[cold]
    #[inline(never)]
    pub fn mechanism_info(&self, slot: u64, kind: u64) -> Result<CK_MECHANISM_INFO> {
        self.ask::<MechanismInfo>(Does::Looks, &Ask::MechanismInfo { slot, kind }).map(CK_MECHANISM_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn init_token(&self, slot: u64, pin: Option<&[u8]>, label: &[u8]) -> Result<()> {
        self.ask(Does::Changes, &Ask::InitToken { slot, pin: pin.map(Raw::new), label: Raw::new(label) })
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
        self.insist(Does::Looks, |hosted, deadline| {
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
        let hosted = lock(&state.current).clone().filter(|hosted| !hosted.is_lost());
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
        self.slot_info(slot)?;
        for seat in self.seats(state, |seat| seat.slot == slot) {
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
        *lock(&state.current) = None;
        state.is_absent.store(false, Ordering::Relaxed);
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
            s.ask::<()>(Does::Changes, &ask)?;
            if user == CKU_CONTEXT_SPECIFIC {
                // Another host would wait for the PIN again: the operation is begun anew by who knows it.
                s.work.forget(&[Op::Decrypt, Op::Sign]);
                return Ok(());
            }
            let pin = Bytes::copy_of(pin.unwrap_or_default())?;
            let number = Tries::number();
            let login = Login { number, user, pin, name: name.map(<[u8]>::to_vec) };
            let state = self.state();
            state.known.lock().logins.insert(s.seat.slot, Arc::new(login));
            self.brought_up(state, &s);
            Ok(())
        })
    }

    /// A host that was briefed before the login was known here does not know it.
    fn brought_up(&self, state: &State, seated: &Seated<'_>) {
        if let Some(hosted) = lock(&state.current).as_ref().filter(|hosted| hosted.number != seated.work.host) {
            hosted.lose();
        }
    }

    #[cold]
    #[inline(never)]
    pub fn logout(&self, handle: u64) -> Result<()> {
        let state = self.state();
        let slot = self.seated(handle, |mut s| {
            s.ask::<()>(Does::Looks, &Ask::Logout)?;
            state.known.lock().logins.remove(&s.seat.slot);
            self.brought_up(state, &s);
            Ok(s.seat.slot)
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

    /// Objects that were found by other names than their own: their handles are the places of these names in a list.
    pub(super) fn learn_names(&self, seated: &mut Seated<'_>, found: &[u64]) -> Result<()> {
        let slot = seated.seat.slot;
        let last = found.iter().filter(|handle| *handle & OTHER_NAME != 0).max().map(|handle| handle & !OTHER_NAME);
        let state = self.state();
        let is_known = |last: u64| state.known.lock().names.get(&slot).is_some_and(|names| names.len() as u64 > last);
        let Some(_) = last.filter(|last| *last < OTHER_NAME && !is_known(*last)) else { return Ok(()) };
        let names: Vec<(u64, Vec<u8>)> = seated.ask(Does::Looks, &Ask::Names { slot })?;
        let mut known = state.known.lock();
        let kept = known.names.entry(slot).or_default();
        if names.len() > kept.len() {
            *kept = names;
        }
        Ok(())
    }
}

impl Login {
    fn ask(&self) -> Ask<'_> {
        Ask::Login { user: self.user, pin: Some(Raw::new(&self.pin)), name: self.name.as_deref().map(Raw::new) }
    }

    /// With another PIN, if it was this one; behind a user's name, if it was there.
    fn with_pin(&self, old: &[u8], new: &[u8]) -> Result<Option<Self>> {
        let Some(start) = self.pin.len().checked_sub(old.len()) else { return Ok(None) };
        let (name, pin) = self.pin.split_at(start);
        if !bool::from(pin.ct_eq(old)) || !(name.is_empty() || name.ends_with(b":")) {
            return Ok(None);
        }
        let mut pin = Bytes::with_room(name.len() + new.len())?;
        pin.extend_from_slice(name);
        pin.extend_from_slice(new);
        Ok(Some(Self { number: Tries::number(), user: self.user, pin, name: self.name.clone() }))
    }
}
