//! The tokens of a run: here or there. The few methods that are not like in both stand here.

use std::mem::MaybeUninit;

use cryptoki_sys::*;

use super::calls::Session;
use super::client::Client;
use super::seat::Seated;
use super::show::Shown;
use crate::config::Found;
use crate::error::Result;
use crate::token::provider::Provider;
use crate::token::sessions::Entry;
use crate::token::{Answer, Room, Template};

#[derive(Clone, Copy)]
pub enum Tokens {
    Here(&'static Provider),
    There(&'static Client),
}

macro_rules! both {
    ($($name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        $(#[inline]
        pub fn $name(self, $($arg: $ty),*) -> Result<$out> {
            match self {
                Self::Here(provider) => provider.$name($($arg),*),
                Self::There(client) => client.$name($($arg),*),
            }
        })*
    };
}

impl Tokens {
    /// C_Initialize: reads the configuration and nothing else. `conf`: a path given through pReserved ("conf=PATH").
    pub fn start(conf: Option<&str>) -> Result<Self> {
        let found = match conf {
            Some(path) => Found::read(path.as_ref())?,
            None => Found::find()?,
        };
        Ok(match found {
            Found::Own(config) => Self::Here(Box::leak(Box::new(Provider::new(*config)))),
            Found::Client(config) => Self::There(Box::leak(Box::new(Client::new(config)))),
        })
    }

    /// C_Finalize: every session is closed; what another thread is doing in one is waited for.
    pub fn stop(self) {
        match self {
            Self::Here(provider) => provider.stop(),
            Self::There(client) => client.stop(),
        }
    }

    /// C_Initialize or C_Finalize in a forked child: no sessions, nobody logged in; what was opened stays open.
    pub fn fresh_in_child(self) {
        match self {
            Self::Here(provider) => provider.fresh_in_child(),
            Self::There(client) => client.stop(),
        }
    }

    pub fn slots(self) -> Result<Vec<u64>> {
        match self {
            Self::Here(provider) => Ok(provider.slots()),
            Self::There(client) => client.slots(),
        }
    }

    both! {
        slot_info(slot: u64) -> CK_SLOT_INFO;
        token_info(slot: u64) -> CK_TOKEN_INFO;
        mechanisms(slot: u64) -> Vec<u64>;
        mechanism_info(slot: u64, kind: u64) -> CK_MECHANISM_INFO;
        init_token(slot: u64, pin: Option<&[u8]>, label: &[u8]) -> ();
        init_pin(session: u64, pin: Option<&[u8]>) -> ();
        set_pin(session: u64, old: Option<&[u8]>, new: Option<&[u8]>) -> ();
        open_session(slot: u64, flags: CK_FLAGS) -> u64;
        close_session(session: u64) -> ();
        close_all_sessions(slot: u64) -> ();
        session_info(session: u64) -> CK_SESSION_INFO;
        login(session: u64, user: u64, pin: Option<&[u8]>, name: Option<&[u8]>) -> ();
        logout(session: u64) -> ();
    }

    /// Checks the handle, then runs `work` with the session to itself. One call of `work`, so that it is compiled once.
    #[inline]
    pub fn session<T>(self, handle: u64, work: impl FnOnce(&mut Session<'_>) -> Result<T>) -> Result<T> {
        let (mut here, seat, mut there);
        here = Entry::default();
        let mut session = match self {
            Self::Here(provider) => Session::Here(provider.enter(handle, &mut here)?),
            Self::There(client) => {
                seat = client.seat(handle)?;
                there = seat.enter()?;
                Session::There(Seated { client, seat: &seat, work: &mut there })
            }
        };
        work(&mut session)
    }
}

impl Session<'_> {
    /// `out`: the room itself, if nothing of the data lies there.
    #[inline]
    pub fn encrypt(&mut self, data: &[u8], room: Room, out: Option<&mut [MaybeUninit<u8>]>) -> Result<Answer> {
        match self {
            Self::Here(session) => session.encrypt(data, room, out),
            Self::There(seated) => seated.encrypt(data, room),
        }
    }

    /// Ends operations without more ado: the door calls it when an argument is bad after the handle was good.
    #[inline]
    pub fn abort(&mut self, flags: CK_FLAGS) {
        match self {
            Self::Here(session) => session.abort(flags),
            Self::There(seated) => seated.abort(flags),
        }
    }

    #[inline]
    pub fn cancel(&mut self, flags: CK_FLAGS) -> Result<()> {
        match self {
            Self::Here(session) => session.cancel(flags),
            Self::There(seated) => seated.cancel(flags),
        }
    }

    #[inline]
    pub fn find_init(&mut self, template: &Template) -> Result<()> {
        match self {
            Self::Here(session) => session.find_init(template),
            Self::There(seated) => seated.find_init(template),
        }
    }

    #[inline]
    pub fn find(&mut self, max: usize) -> Result<Vec<u64>> {
        match self {
            Self::Here(session) => session.find(max),
            Self::There(seated) => seated.find(max),
        }
    }

    #[inline]
    pub fn find_final(&mut self) -> Result<()> {
        match self {
            Self::Here(session) => session.find_final(),
            Self::There(seated) => seated.find_final(),
        }
    }

    /// Shows an object, for C_GetAttributeValue; `kinds` says which attributes are of interest.
    #[inline]
    pub fn show<T>(
        &mut self,
        object: u64,
        kinds: impl FnOnce() -> Result<Vec<u64>>,
        look: impl FnOnce(Shown<'_>) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Here(session) => session.show(object, |item| look(Shown::Here(item))),
            Self::There(seated) => {
                let told = seated.show(object, kinds()?)?;
                look(Shown::There(&told))
            }
        }
    }
}
