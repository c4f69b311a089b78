//! What is done when a call fails: what its code means, the ladder of recovery, and when to give up.
//!
//! The ladder: look again with the same session, take a new session, log in again, close all sessions and log in,
//! reinitialise the library. Each rung counts only if a real operation works on it. Then the work is done again, which
//! is why only work that may be done twice is given to [`Device::run`]; the rest says so with [`Fault::Stop`].

use std::time::{Duration, Instant};

use cryptoki_sys::*;

use super::calls::Failed;
use super::connection::Connection;
use super::pool::{Device, Lent, Seized, WAIT};
use super::profile::Class;
use super::session::Session;
use crate::config::Isolate;
use crate::error::{Error, Result};

/// Why some work with a session did not succeed.
#[derive(Debug)]
pub enum Fault {
    Call(Failed),
    /// Not to be tried again, nor is the session: something that must not stay may be in it.
    End(Error),
    /// The device does not show the key with this CKA_ID.
    Missing(Vec<u8>),
    /// Not to be tried again.
    Stop(Error),
}

impl Fault {
    /// The same, and the session ends where it would go on.
    pub fn ending(self) -> Self {
        match self {
            Self::Stop(error) => Self::End(error),
            other => other,
        }
    }
}

impl From<Failed> for Fault {
    fn from(failed: Failed) -> Self {
        Self::Call(failed)
    }
}

/// How far recovery has to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rung {
    /// The same session may do.
    Same,
    NewSession,
    LogIn,
    CloseAll,
    /// Only where the library is ours alone (`isolate = "copy"`).
    Reinitialise,
}

/// How often work that fails although the device is proven to work is tried in all.
const TRIES: usize = 3;
/// How often at most a library is initialised anew because a key is missing.
const FRESH: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

impl Device {
    /// Does `work` in a session, after recovery again if need be. `check` proves that the device works, for example by
    /// finding the key anew; beside it the device's own random generator is asked.
    pub fn run<T>(
        &self,
        check: &dyn Fn(&Session) -> Result<(), Fault>,
        mut work: impl FnMut(&Session) -> Result<T, Fault>,
    ) -> Result<T> {
        let begun = Instant::now();
        let mut lent = self.borrow(begun + WAIT)?;
        let mut climb = Climb { device: self, begun, rung: Rung::Same, tries: 1 };
        loop {
            match work(&lent) {
                Ok(done) => return Ok(done),
                Err(fault) => lent = climb.mend(lent, fault, check)?,
            }
        }
    }

    /// Climbs the ladder from `rung` on, alone with the device. Nothing is done if somebody else has repaired since
    /// `generation`.
    pub fn repair(
        &self,
        generation: u64,
        from: Rung,
        deadline: Instant,
        check: &dyn Fn(&Session) -> Result<(), Fault>,
    ) -> Result<()> {
        let Some(Seized { connection: old, idle, mut library, repair }) = self.seize(generation, deadline)? else {
            return Ok(());
        };
        let mut outcome = Err(self.unavailable("no way to recover it is left"));
        let mut kept = Vec::new();
        for rung in self.ladder(from)? {
            tracing::debug!(device = self.config.name, ?rung, "recovering");
            let connection = match rung {
                Rung::LogIn => Connection::log_in_again(self, &old, deadline),
                Rung::CloseAll => Connection::reopen(self, &old, &idle, deadline),
                _ => Connection::start(self, &mut library, deadline),
            };
            outcome = connection.and_then(|connection| self.check(connection, rung, check));
            match &outcome {
                Ok(_) if rung == Rung::LogIn => kept = idle,
                Err(Error::DevicePin { .. }) | Ok(_) => {}
                Err(_) => continue,
            }
            break;
        }
        repair.end(outcome, kept)
    }

    fn ladder(&self, from: Rung) -> Result<impl Iterator<Item = Rung>> {
        let top = self.top()?;
        let from = from.min(top);
        Ok([Rung::LogIn, Rung::CloseAll, Rung::Reinitialise]
            .into_iter()
            .filter(move |rung| (from..=top).contains(rung)))
    }

    fn top(&self) -> Result<Rung> {
        Ok(match self.isolate()? {
            Isolate::Alone | Isolate::Copy => Rung::Reinitialise,
            Isolate::Share => Rung::CloseAll,
        })
    }

    fn check(
        &self,
        connection: Connection,
        rung: Rung,
        check: &dyn Fn(&Session) -> Result<(), Fault>,
    ) -> Result<Connection> {
        let session = Session { handle: connection.anchor, connection: std::sync::Arc::new(connection) };
        let answer = check(&session);
        let connection = std::sync::Arc::into_inner(session.connection)
            .ok_or_else(|| Error::Internal("a check kept its connection".to_owned()))?;
        match answer {
            Ok(()) => Ok(connection),
            // More cannot be done: if the key is not there now, the key is missing and not the device.
            Err(Fault::End(_) | Fault::Missing(_) | Fault::Stop(_)) if Ok(rung) == self.top() => Ok(connection),
            Err(Fault::Call(failed)) => Err(self.error(failed)),
            Err(Fault::Missing(_)) => Err(self.unavailable("its keys are not to be seen")),
            Err(Fault::End(error) | Fault::Stop(error)) => Err(error),
        }
    }

    /// A secret of a session was not destroyed. A session that lives on is ended, and the secret with it.
    pub fn not_gone(&self, failed: Failed) -> Fault {
        match self.class(failed) {
            Class::Login | Class::Lost | Class::Session => Fault::Call(failed),
            _ => Fault::End(self.error(failed)),
        }
    }

    /// What a code means to the caller, once recovery has nothing more to do.
    pub fn error(&self, failed: Failed) -> Error {
        let Failed { call, rv } = failed;
        match rv {
            CKR_AEAD_DECRYPT_FAILED | CKR_ENCRYPTED_DATA_INVALID => Error::Ciphertext,
            CKR_ENCRYPTED_DATA_LEN_RANGE => Error::CiphertextLength,
            CKR_DATA_INVALID | CKR_DATA_LEN_RANGE => Error::DataLength,
            // Wrong paddings and tags have no code of their own on many devices.
            _ if call == "C_Decrypt" && self.class(failed) == Class::Suspect => Error::Ciphertext,
            _ => match self.class(failed) {
                Class::Pin => self.pin_refused(),
                Class::Lost | Class::Login | Class::Session => self.unavailable(format!("{call} answered 0x{rv:08x}")),
                Class::Busy | Class::Object | Class::Permanent | Class::Suspect => {
                    Error::Device { device: self.config.name.clone(), call, rv }
                }
            },
        }
    }
}

/// The way up the ladder during one request.
struct Climb<'a> {
    device: &'a Device,
    begun: Instant,
    /// The lowest rung that has not been tried.
    rung: Rung,
    tries: usize,
}

impl<'a> Climb<'a> {
    /// A session with which the work may be tried again, else why not.
    #[cold]
    fn mend(
        &mut self,
        mut lent: Lent<'a>,
        fault: Fault,
        check: &dyn Fn(&Session) -> Result<(), Fault>,
    ) -> Result<Lent<'a>> {
        let (error, first) = match fault {
            Fault::Stop(error) => return Err(error),
            Fault::End(error) => {
                lent.end();
                return Err(error);
            }
            Fault::Missing(id) => return self.look_for(lent, &id, check),
            Fault::Call(failed) => {
                let first = match self.device.class(failed) {
                    Class::Permanent | Class::Pin => return Err(self.device.error(failed)),
                    Class::Busy | Class::Object | Class::Suspect => Rung::Same,
                    Class::Lost | Class::Session => Rung::NewSession,
                    Class::Login => Rung::LogIn,
                };
                if self.device.class(failed) == Class::Busy {
                    std::thread::sleep(PAUSE);
                }
                tracing::debug!(device = self.device.config.name, failed.call, failed.rv, "device call failed");
                (self.device.error(failed), first)
            }
        };
        let check = |session: &Session| {
            session.connection.touch_device(session.handle)?;
            check(session)
        };
        self.tries += 1;
        if first == Rung::Same {
            match check(&lent) {
                // The device works: it means what it answered, if it answers so again.
                Ok(()) if self.tries < TRIES => return Ok(lent),
                Ok(()) => return Err(error),
                Err(Fault::Missing(id)) => return self.look_for(lent, &id, &check),
                Err(Fault::End(error) | Fault::Stop(error)) => return Err(error),
                Err(Fault::Call(_)) => {}
            }
        }
        if self.tries > TRIES {
            return Err(error);
        }
        if self.rung.max(first) <= Rung::NewSession {
            self.rung = Rung::LogIn;
            if lent.renew().is_ok() && check(&lent).is_ok() {
                return Ok(lent);
            }
        }
        let generation = lent.connection.generation;
        drop(lent);
        self.repair(generation, self.rung.max(first), &check)
    }

    /// The caller's own session must be back, because recovery waits for all.
    fn repair(
        &mut self,
        generation: u64,
        from: Rung,
        check: &dyn Fn(&Session) -> Result<(), Fault>,
    ) -> Result<Lent<'a>> {
        let deadline = Instant::now() + WAIT;
        self.device.repair(generation, from, deadline, check)?;
        self.rung = Rung::CloseAll;
        self.device.borrow(deadline)
    }

    /// A key was not found. That it is gone is proven by another that is there, or by a library that has just been
    /// initialised; short of that the device may have lost sight of all of them (SoftHSM without its directory).
    fn look_for(
        &mut self,
        lent: Lent<'a>,
        id: &[u8],
        check: &dyn Fn(&Session) -> Result<(), Fault>,
    ) -> Result<Lent<'a>> {
        self.tries += 1;
        if !lent.connection.is_logged_in(lent.handle) {
            if self.tries > TRIES {
                return Err(self.device.unavailable("its keys are not to be seen"));
            }
            let generation = lent.connection.generation;
            drop(lent);
            return self.repair(generation, Rung::LogIn, check);
        }
        let name = uuid::Uuid::from_slice(id).map_or_else(|_| "without an ID".to_owned(), |id| id.to_string());
        if lent.connection.since >= self.begun || lent.shows_others(id) {
            return Err(Error::KeyNotFound(name));
        }
        // On an empty token each question of this kind means reinitialising: not too often.
        let (generation, since) = (lent.connection.generation, lent.connection.since);
        drop(lent);
        std::thread::sleep(FRESH.saturating_sub(since.elapsed()));
        self.repair(generation, Rung::Reinitialise, &|_| Ok(()))
    }
}
