//! A connection: the library initialised in this process, the right token found, logged in and proven by a real
//! operation. Every step of the recovery ladder ends in a new one, with a new number.

use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Instant;

use cryptoki_sys::*;

use super::calls::{Answer, Failed};
use super::device::{self, Module, Refusal};
use super::pin::Verdict;
use super::pool::Device;
use super::profile::{Class, NAMES, Profile};
use super::token::{Token, choose, is_among_others};
use super::turns::Turnstile;
use crate::config::Isolate;
use crate::error::{Error, Result};

/// How many instances of a library a process loads at most: each stays in memory for ever.
const INSTANCES: u32 = 4;

/// How often a library that found no token is initialised once more. SoftHSM empties the token's file and writes it anew
/// at every login: who reads it just then, as when workers start together, sees none.
const TRIES: u32 = 6;
/// And one that found others: more likely the name is wrong.
const TRIES_AMONG_OTHERS: u32 = 2;

pub struct Connection {
    pub module: &'static Module,
    pub slot: CK_SLOT_ID,
    pub token: Token,
    /// For each mechanism that goes by another number here: the standard's, and that.
    instead: Vec<(CK_MECHANISM_TYPE, CK_MECHANISM_TYPE)>,
    /// Numbers in ascending order, with the flags where they were asked for and answered.
    pub mechanisms: Vec<(CK_MECHANISM_TYPE, Option<CK_MECHANISM_INFO>)>,
    /// Differs between all connections that a process or its parents ever had. Handles of keys are good for one only.
    pub generation: u64,
    /// Kept open and unused, because a token logs everybody out when the last session is closed.
    pub anchor: CK_SESSION_HANDLE,
    /// How many sessions may be open beside the anchor.
    pub capacity: usize,
    pub since: Instant,
    /// An object that was on the token: while it still is, another one that is not found is really gone.
    witness: Mutex<Option<Witness>>,
    /// Of a shy device: held for writing while objects are made or destroyed, for reading while they are looked for.
    pub objects: Option<RwLock<()>>,
    /// Of a shy device: see [`super::turns`].
    pub turnstile: Option<Turnstile>,
    /// Held while a session is opened; true once the device was seen to have forgotten the anchor.
    forgot: Mutex<bool>,
}

/// An object that was found, and the CKA_ID that it has.
#[derive(Clone)]
pub struct Witness {
    pub object: CK_OBJECT_HANDLE,
    pub id: Vec<u8>,
}

/// The library in this process.
#[derive(Default)]
pub struct Library {
    module: Option<&'static Module>,
    is_initialised: bool,
    instances: u32,
    /// Why the file with this identity is of no use, so that it is not loaded again and again.
    useless: Option<(Identity, String)>,
}

/// Device, inode, size and time of change of a file: another one may serve where this one did not.
type Identity = (u64, u64, u64, i64);

impl Connection {
    /// From nothing, or from a library in any state: loads, initialises (again, where that is ours to do), attaches.
    pub fn start(device: &Device, library: &mut Library, deadline: Instant) -> Result<Self> {
        if device.pins.is_refused(&device.config.pin.read()?) {
            return Err(device.pin_refused());
        }
        let tries = if device.isolate()?.is_ours() { TRIES } else { 0 };
        for attempt in 0..tries {
            let turn = device.alone_at_login();
            let module = library.initialise(device)?;
            match Self::attach(device, module, deadline) {
                Err(error) if attempt >= TRIES_AMONG_OTHERS && is_among_others(device, module) => return Err(error),
                Err(error) if !matches!(error, Error::DevicePin { .. }) => {
                    tracing::debug!(device = device.config.name, %error, "not there yet");
                    drop(turn);
                    std::thread::sleep(device.pause(attempt));
                }
                outcome => return outcome,
            }
        }
        let _turn = device.alone_at_login();
        Self::attach(device, library.initialise(device)?, deadline)
    }

    /// Closes every session of ours, then attaches again. `idle`: those beside the anchor.
    pub fn reopen(device: &Device, old: &Self, idle: &[CK_SESSION_HANDLE], deadline: Instant) -> Result<Self> {
        match device.isolate()? {
            Isolate::Alone | Isolate::Copy => {
                let _ = old.module.close_all(old.slot);
            }
            Isolate::Share => {
                for session in idle.iter().chain([&old.anchor]) {
                    let _ = old.module.close_session(*session);
                }
            }
        }
        let _turn = device.alone_at_login();
        Self::attach(device, old.module, deadline)
    }

    /// Logs in again; the sessions stay.
    pub fn log_in_again(device: &Device, old: &Self, deadline: Instant) -> Result<Self> {
        if device.isolate()?.is_ours() {
            let _ = old.module.logout(old.anchor);
        }
        let _turn = device.alone_at_login();
        log_in(device, old.module, old.anchor, deadline)?;
        Ok(Self {
            module: old.module,
            slot: old.slot,
            token: old.token.clone(),
            instead: old.instead.clone(),
            mechanisms: old.mechanisms.clone(),
            generation: device.generations.fetch_add(1, Ordering::Relaxed) + 1,
            anchor: old.anchor,
            capacity: old.capacity,
            // Logging in does not make the device look at its objects again.
            since: old.since,
            witness: Mutex::default(),
            objects: device.profile()?.shy.then(RwLock::default),
            turnstile: device.shy_turnstile().cloned(),
            forgot: Mutex::default(),
        })
    }

    fn attach(device: &Device, module: &'static Module, deadline: Instant) -> Result<Self> {
        let (slot, token) = choose(device, module)?;
        let anchor = module.open_session(slot).map_err(|failed| device.cannot("open a session", failed))?;
        let connection = Self::prove(device, module, slot, token, anchor, deadline);
        if connection.is_err() {
            let _ = module.close_session(anchor);
        }
        connection
    }

    fn prove(
        device: &Device,
        module: &'static Module,
        slot: CK_SLOT_ID,
        token: Token,
        anchor: CK_SESSION_HANDLE,
        deadline: Instant,
    ) -> Result<Self> {
        let profile = device.profile()?;
        if token.flags & CKF_LOGIN_REQUIRED != 0 {
            log_in(device, module, anchor, deadline)?;
        }
        let mut mechanisms: Vec<_> = module
            .mechanisms(slot)
            .map_err(|failed| device.cannot("list its mechanisms", failed))?
            .into_iter()
            .filter(|id| profile.believes(*id))
            .map(|id| (id, if profile.knows(id) { module.mechanism_info(slot, id).ok() } else { None }))
            .collect();
        mechanisms.sort_unstable_by_key(|(id, _)| *id);
        let limit = match token.max_sessions {
            0 | CK_ULONG::MAX => usize::MAX,
            limit => usize::try_from(limit).unwrap_or(usize::MAX),
        };
        let connection = Self {
            module,
            slot,
            token,
            instead: instead(profile, &mechanisms),
            mechanisms,
            generation: device.generations.fetch_add(1, Ordering::Relaxed) + 1,
            anchor,
            capacity: profile.sessions.min(limit).saturating_sub(1).max(1),
            since: Instant::now(),
            witness: Mutex::default(),
            objects: profile.shy.then(RwLock::default),
            turnstile: device.shy_turnstile().cloned(),
            forgot: Mutex::default(),
        };
        connection.touch_device(anchor).map_err(|failed| device.cannot("work", failed))?;
        Ok(connection)
    }

    /// One more session, of the same life of the device as the anchor. A device that has begun anew has forgotten its
    /// sessions, may give their numbers out again, and may call another key by the handle of one that it had: with what
    /// is known from before, the new session would sign with the wrong key.
    pub fn open(&self) -> Answer<CK_SESSION_HANDLE> {
        let began_anew = Failed { call: "C_OpenSession", rv: CKR_SESSION_HANDLE_INVALID };
        let mut forgot = self.forgot.lock().unwrap_or_else(PoisonError::into_inner);
        if *forgot {
            return Err(began_anew);
        }
        let handle = self.module.open_session(self.slot)?;
        let answer = self.module.is_logged_in(self.anchor).map(|_| ());
        if handle != self.anchor && answer.is_ok() {
            return Ok(handle);
        }
        let _ = self.module.close_session(handle);
        *forgot = handle == self.anchor
            || answer.is_err_and(|failed| matches!(failed.rv, CKR_SESSION_HANDLE_INVALID | CKR_SESSION_CLOSED));
        answer.and(Err(began_anew))
    }

    /// A real operation, because what tokens say of themselves they say when they are gone, too.
    pub fn touch_device(&self, session: CK_SESSION_HANDLE) -> Answer<()> {
        if self.token.flags & CKF_RNG == 0 {
            return Ok(());
        }
        self.module.random(session, &mut [0; 8])
    }

    /// Whether this session shows private objects: it lives, and nobody has logged us out.
    pub fn is_logged_in(&self, session: CK_SESSION_HANDLE) -> bool {
        self.token.flags & CKF_LOGIN_REQUIRED == 0 || self.module.is_logged_in(session) == Ok(true)
    }

    /// Whether the device has this mechanism for this use (a CKF_ flag); a device that tells no flags is believed.
    pub fn does(&self, id: CK_MECHANISM_TYPE, flag: CK_FLAGS) -> bool {
        self.info(id).is_some_and(|info| info.is_none_or(|info| info.flags & flag != 0))
    }

    /// The number by which this device knows a mechanism.
    pub fn number(&self, id: CK_MECHANISM_TYPE) -> CK_MECHANISM_TYPE {
        self.instead.iter().find(|(standard, _)| *standard == id).map_or(id, |(_, own)| *own)
    }

    pub fn info(&self, id: CK_MECHANISM_TYPE) -> Option<Option<&CK_MECHANISM_INFO>> {
        let id = self.number(id);
        let at = self.mechanisms.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        self.mechanisms.get(at).map(|(_, info)| info.as_ref())
    }

    /// Remembers an object that was just found.
    pub fn witness(&self, object: CK_OBJECT_HANDLE, id: &[u8]) {
        *self.lock_witness() = Some(Witness { object, id: id.to_vec() });
    }

    pub fn lock_witness(&self) -> std::sync::MutexGuard<'_, Option<Witness>> {
        self.witness.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Library {
    fn initialise(&mut self, device: &Device) -> Result<&'static Module> {
        let isolate = device.isolate()?;
        let module = match self.module {
            Some(module) => module,
            None => self.load(device, isolate)?,
        };
        let begin = |module: &Module| {
            device::with_environment(device.config.env.iter(), isolate == Isolate::Copy, || {
                module.initialize(device.config.init_args.as_deref())
            })
        };
        let (module, answer) = match isolate {
            // An application's own sessions would end with C_Finalize.
            Isolate::Share if self.is_initialised => (module, Ok(())),
            Isolate::Share => (module, accept(begin(module), CKR_CRYPTOKI_ALREADY_INITIALIZED)),
            Isolate::Alone | Isolate::Copy => {
                if self.is_initialised {
                    let _ = module.finalize();
                    self.is_initialised = false;
                }
                match begin(module) {
                    // It cannot be ended: another instance takes its place, so many times.
                    Err(Failed { rv: CKR_CRYPTOKI_ALREADY_INITIALIZED, .. }) if self.instances < INSTANCES => {
                        let module = self.load(device, isolate)?;
                        (module, begin(module))
                    }
                    Err(Failed { rv: CKR_CRYPTOKI_ALREADY_INITIALIZED, .. }) => {
                        let _ = module.finalize();
                        (module, begin(module))
                    }
                    answer => (module, answer),
                }
            }
        };
        answer.map_err(|failed| device.cannot("initialise", failed))?;
        self.is_initialised = true;
        Ok(module)
    }

    fn load(&mut self, device: &Device, isolate: Isolate) -> Result<&'static Module> {
        let path = &device.config.library;
        let identity = std::fs::metadata(path).map(|file| (file.dev(), file.ino(), file.size(), file.mtime())).ok();
        if let Some((known, reason)) = &self.useless
            && Some(*known) == identity
        {
            return Err(device.unavailable(reason));
        }
        match Module::load(path, isolate) {
            Ok(module) => {
                tracing::debug!(device = device.config.name, ?isolate, "device library loaded");
                self.module = Some(module);
                self.instances += 1;
                Ok(module)
            }
            Err(Refusal::Absent(reason)) => Err(device.unavailable(reason)),
            Err(Refusal::Useless(reason)) => {
                self.useless = identity.map(|identity| (identity, reason.clone()));
                Err(device.unavailable(reason))
            }
        }
    }
}

/// The vendors' numbers that stand in for the standard's, where a device lists the one and not the other.
fn instead(
    profile: &Profile,
    listed: &[(CK_MECHANISM_TYPE, Option<CK_MECHANISM_INFO>)],
) -> Vec<(CK_MECHANISM_TYPE, CK_MECHANISM_TYPE)> {
    let has = |id: CK_MECHANISM_TYPE| listed.iter().any(|(listed, _)| *listed == id);
    let own = |id| profile.alternatives(id).iter().copied().find(|other| has(*other));
    NAMES.iter().filter(|(id, _)| !has(*id)).filter_map(|(id, _)| Some((*id, own(*id)?))).collect()
}

fn accept(answer: Answer<()>, also: CK_RV) -> Answer<()> {
    match answer {
        Err(failed) if failed.rv == also => Ok(()),
        other => other,
    }
}

fn log_in(device: &Device, module: &Module, session: CK_SESSION_HANDLE, deadline: Instant) -> Result<()> {
    let pin = device.config.pin.read()?;
    let profile = device.profile()?;
    profile.check_pin(&pin).map_err(|form| device.unavailable(format!("its PIN is not tried: it must be {form}")))?;
    let outcome = device.pins.attempt(&pin, deadline, || {
        let answer = module.login(session, profile.user, &pin);
        let verdict = match answer {
            Ok(()) => Verdict::Accepted,
            Err(failed) if device.class(failed) == Class::Pin => Verdict::Refused,
            Err(_) => Verdict::Unknown,
        };
        // The application, or a process before the fork, may have logged in already; that says nothing of our PIN.
        (verdict, accept(answer, CKR_USER_ALREADY_LOGGED_IN))
    });
    match outcome {
        Err(_) => Err(device.unavailable("another process is still trying the device PIN")),
        Ok(None) => Err(device.pin_refused()),
        Ok(Some(Ok(()))) => Ok(()),
        Ok(Some(Err(failed))) if device.class(failed) == Class::Pin => {
            tracing::warn!(device = device.config.name, rv = failed.rv, "device PIN refused");
            Err(device.pin_refused())
        }
        Ok(Some(Err(Failed { rv: CKR_USER_PIN_NOT_INITIALIZED, .. }))) => {
            Err(device.unavailable("the token's user PIN has not been set"))
        }
        Ok(Some(Err(Failed { rv: CKR_USER_ANOTHER_ALREADY_LOGGED_IN, .. }))) => {
            Err(device
                .unavailable("the application is logged in to the token as another user; isolate = \"copy\" helps"))
        }
        Ok(Some(Err(failed))) => Err(device.cannot("log in", failed)),
    }
}

impl Device {
    pub fn unavailable(&self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable { device: self.config.name.clone(), reason: reason.into() }
    }

    pub fn pin_refused(&self) -> Error {
        Error::DevicePin { device: self.config.name.clone() }
    }

    pub fn lacks(&self, what: impl Into<String>) -> Error {
        Error::DeviceLacks { device: self.config.name.clone(), what: what.into() }
    }

    pub fn cannot(&self, what: &str, failed: Failed) -> Error {
        if failed.rv == CKR_CRYPTOKI_NOT_INITIALIZED {
            return self.unavailable(
                "the application has finalised the device's library, which it shares with this module; isolate = \"copy\" keeps them apart",
            );
        }
        self.unavailable(format!("it cannot {what}: {} answered 0x{:08x}", failed.call, failed.rv))
    }
}
