//! Turns at a shy device: one process at a time makes or destroys objects on its token, while nobody looks what is there;
//! and one at a time logs in.
//!
//! SoftHSM 2.6 counts the changes of a token in the file `generation`. Whoever makes an object adds one to what is in the
//! file and takes the sum for what it has seen, so that it never looks for what another process made since its own last
//! look (`Generation::commit`): two processes that make keys at the same moment do not see each other's until a third
//! changes something. So a turn begins with a search, which makes the library read the count, and nobody else changes it
//! before the turn ends.
//!
//! It writes a new object some 25 times, each time emptied first and with one attribute more. Whoever has read it half
//! (at C_Initialize and C_Login, in searches) and asks for an attribute of it has it write default values over all that
//! was not read: the key is gone. So nobody looks while somebody makes; and because other programs do not wait, searches
//! ask for CKA_TOKEN, which comes to the file in one write with all that was in the template, after the default values.
//!
//! It also empties `token.object` at every C_Login and writes it anew. Whoever begins just then sees no token, and when
//! many processes begin together, as a server's workers do, looking again a few times is not enough.

use std::any::Any;
use std::sync::{Arc, PoisonError, RwLockReadGuard, RwLockWriteGuard};

use cryptoki_sys::*;

use super::calls::Answer;
use super::pool::Device;
use super::session::Session;
use super::templates;
use crate::error::Result;
use crate::fork::{self, Hold};

/// What for. `LogIn` and the others do not wait for each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    LogIn,
    /// Together with others who look.
    Look,
    Objects,
}

/// Waits for this process's turn; the turn lasts as long as what is answered, and ends with the process at the latest.
pub type Turnstile = Arc<dyn Fn(Turn) -> Result<Box<dyn Any>> + Send + Sync>;

/// The time in which nobody else makes or destroys objects. A device that is not shy needs none.
pub struct Alone<'a> {
    // In this order: the turn ends before the other threads and a fork go on.
    _turn: Option<Box<dyn Any>>,
    _objects: Option<RwLockWriteGuard<'a, ()>>,
    /// A child would have the turn as well.
    _hold: Option<Hold>,
}

/// The time in which no other process makes or destroys objects, together with others who look.
pub struct Company<'a> {
    _turn: Option<Box<dyn Any>>,
    _objects: Option<RwLockReadGuard<'a, ()>>,
    /// As with `Alone`.
    _hold: Option<Hold>,
}

impl Device {
    /// The time in which no other process logs in, and none makes or destroys objects. Who does not get it goes on
    /// without: what it prevents is rare, and the store may be one that this process cannot write beside.
    pub fn alone_at_login(&self) -> [Option<Box<dyn Any>>; 2] {
        let turnstile = self.shy_turnstile();
        [Turn::LogIn, Turn::Look].map(|turn| turnstile.and_then(|turnstile| turnstile(turn).ok()))
    }

    /// Where processes wait for each other, if this device needs it.
    pub fn shy_turnstile(&self) -> Option<&Turnstile> {
        self.turnstile.as_ref().filter(|_| self.profile().is_ok_and(|profile| profile.shy))
    }
}

impl Session {
    /// For objects of this process: threads only.
    pub fn alone(&self) -> Option<RwLockWriteGuard<'_, ()>> {
        self.connection.objects.as_ref().map(|lock| lock.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// For objects on the token.
    pub fn alone_on_token(&self) -> Result<Alone<'_>> {
        // The turn first: who waits for other processes holds up nobody in this one, and with the turn only searches are
        // waited for.
        let turn = self.connection.turnstile.as_ref().map(|turnstile| turnstile(Turn::Objects)).transpose()?;
        let objects = self.alone();
        let hold = turn.is_some().then(fork::hold);
        if turn.is_some() {
            // What it finds does not matter.
            let _ = self.connection.module.find(self.handle, &templates::search(CKO_DATA, &[]), 1);
        }
        Ok(Alone { _turn: turn, _objects: objects, _hold: hold })
    }

    /// For looking. Who does not get the turn in time looks without it.
    pub fn in_company(&self) -> Company<'_> {
        let turn = self.connection.turnstile.as_ref().and_then(|turnstile| turnstile(Turn::Look).ok());
        let hold = turn.is_some().then(fork::hold);
        let objects = self.connection.objects.as_ref().map(|lock| lock.read().unwrap_or_else(PoisonError::into_inner));
        Company { _turn: turn, _objects: objects, _hold: hold }
    }

    /// An object of this process.
    pub fn destroy(&self, object: CK_OBJECT_HANDLE) -> Answer<()> {
        let _alone = self.alone();
        self.connection.module.destroy(self.handle, object)
    }

    /// An object on the token.
    pub fn destroy_on_token(&self, _turn: &Alone<'_>, object: CK_OBJECT_HANDLE) -> Answer<()> {
        self.connection.module.destroy(self.handle, object)
    }
}
