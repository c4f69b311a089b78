//! The answering side: one provider for one client, in a process of its own that `alikms agent` starts. It starts no threads
//! itself: each line gets one from there.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use serde::Serialize;

use super::act::Acted;
use super::calls::{self, Ask};
use super::info::{MechanismInfo, SlotInfo, TokenInfo};
use crate::config::Config;
use crate::error::Result;
use crate::link::{self, Line, Lost};
use crate::model::Bytes;
use crate::token::{Provider, ck};

/// To be raised with every change of what is sent.
pub const VERSION: u16 = 1;
/// So many calls of one client at a time.
pub const LINES: usize = 64;
/// How long an answer may take to be read.
const READING: Duration = Duration::from_secs(60);
/// So much random a time, and so many handles, whatever is asked for.
pub const MOST: usize = 1 << 20;

/// So many attributes of one object a time: more than the door asks for.
const ATTRIBUTES: usize = 4096;

/// A session's handle, 0 where none is meant, and what is asked of it.
pub type Question<'a> = ([u8; 8], Ask<'a>);

pub struct Host {
    provider: Provider,
    /// Held alone while somebody logs in or out, so that no call finds one half of who is logged in and not the other: nobody
    /// yet is not the account.
    login: RwLock<()>,
    lines: AtomicUsize,
}

/// A line that is let in; its place is free again when this is dropped.
pub struct Visitor {
    host: Arc<Host>,
    line: Line,
}

impl Host {
    pub fn new(config: Config) -> Self {
        Self { provider: Provider::hosted(config), login: RwLock::default(), lines: AtomicUsize::new(0) }
    }

    /// None if there are too many.
    pub fn admit(self: &Arc<Self>, line: Line) -> Option<Visitor> {
        let visitor = Visitor { host: Arc::clone(self), line };
        (self.lines.fetch_add(1, Ordering::Relaxed) < LINES).then_some(visitor)
    }

    /// Ends all sessions; what goes on in one is waited for.
    pub fn stop(&self) {
        self.provider.stop();
    }

    /// The answer to one call; None if it is none.
    fn answer(&self, message: &[u8]) -> Option<Bytes> {
        let (session, ask): Question<'_> = link::decode(message)?;
        let session = u64::from_le_bytes(session);
        // As at the door of a module: a panic is an answer.
        catch_unwind(AssertUnwindSafe(|| self.work(session, &ask))).unwrap_or_else(|payload| {
            // Not dropped: a payload is free to panic again when it is.
            std::mem::forget(payload);
            reply::<()>(Err(ck(CKR_GENERAL_ERROR)))
        })
    }

    fn work(&self, session: u64, ask: &Ask<'_>) -> Option<Bytes> {
        let p = &self.provider;
        let changes_login = match ask {
            Ask::InitToken { .. } | Ask::Logout => true,
            Ask::Login { user, .. } => *user != CKU_CONTEXT_SPECIFIC,
            _ => false,
        };
        let _alone = changes_login.then(|| self.login.write().unwrap_or_else(PoisonError::into_inner));
        let _together = (!changes_login).then(|| self.login.read().unwrap_or_else(PoisonError::into_inner));
        match ask {
            Ask::Find { max } | Ask::GenerateRandom { length: max } if *max > MOST => None,
            Ask::Show { kinds, .. } if kinds.len() > ATTRIBUTES => None,
            Ask::Act(act) => reply(Ok(match p.kms(act.token) {
                Some(kms) => act.run(kms),
                None => Acted::Failed(format!("the agent has no token '{}'", act.token.unwrap_or_default())),
            })),
            Ask::Close => reply(p.close_session(session)),
            Ask::CloseAll { slot } => reply(p.close_all_sessions(*slot)),
            Ask::InitPin { pin } => reply(p.init_pin(session, pin.map(|pin| &**pin))),
            Ask::InitToken { slot, pin, label } => reply(p.init_token(*slot, pin.map(|pin| &**pin), label)),
            Ask::Login { user, pin, name } => {
                let outcome = p.login(session, *user, pin.map(|pin| &**pin), name.map(|name| &**name));
                let user = || p.session(session, |session| Ok(session.slot().caller().user_name().map(str::to_owned)));
                reply(outcome.and_then(|()| user()))
            }
            Ask::Logout => reply(p.logout(session)),
            Ask::MechanismInfo { slot, kind } => reply(p.mechanism_info(*slot, *kind).map(MechanismInfo::from)),
            Ask::Mechanisms { slot } => reply(p.mechanisms(*slot)),
            Ask::Names { slot } => reply(p.other_names(*slot)),
            Ask::Open { slot, flags } => reply(p.open_session(*slot, *flags)),
            Ask::SetNames { slot, names } => reply(p.set_other_names(*slot, names)),
            Ask::SetPin { old, new } => reply(p.set_pin(session, old.map(|pin| &**pin), new.map(|pin| &**pin))),
            Ask::SlotInfo { slot } => reply(p.slot_info(*slot).map(SlotInfo::from)),
            Ask::Slots => reply(Ok(p.slots())),
            Ask::TokenInfo { slot } => reply(p.token_info(*slot).map(TokenInfo::from)),
            ask => match p.session(session, |session| Ok(calls::answer(session, ask))) {
                Ok(answer) => answer,
                Err(error) => reply::<()>(Err(error)),
            },
        }
    }
}

impl Visitor {
    /// Answers until the other side goes away or talks nonsense.
    pub fn serve(self) {
        loop {
            let message = match self.line.receive(None) {
                Ok(message) => message,
                Err(Lost::Closed) => return,
                Err(lost) => return tracing::debug!(?lost, "a line is closed"),
            };
            let Some(answer) = self.host.answer(&message) else { return };
            drop(message);
            if self.line.send(&answer, Instant::now() + READING).is_err() {
                return;
            }
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.host.lines.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An outcome as it is sent: an error is its number.
pub fn reply<T: Serialize>(outcome: Result<T>) -> Option<Bytes> {
    let outcome = outcome.map_err(|error| {
        tracing::debug!(%error, "answered with an error");
        error.rv()
    });
    link::encode(&outcome).or_else(|| link::encode(&Err::<(), u64>(CKR_HOST_MEMORY)))
}
