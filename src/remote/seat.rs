//! A session of this process and what a new host must be told of it, and the call that has it to itself.

use std::borrow::Cow;
use std::sync::{Mutex, MutexGuard};

use cryptoki_sys::*;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes as Raw;

use super::calls::{Ask, Does, Op};
use super::client::{Client, Needs};
use super::host::MOST;
use super::hosted::{Broken, answer, lock, question};
use super::info::SessionInfo;
use super::show::Told;
use crate::error::Result;
use crate::link::HEAD;
use crate::model::Bytes;
use crate::token::parameter::Made;
use crate::token::wrap::Wrapped;
use crate::token::{Answer, Room, Template, ck};

pub struct Seat {
    pub handle: u64,
    pub slot: u64,
    pub flags: u64,
    pub work: Mutex<Work>,
}

impl Seat {
    /// In a forked child. What another thread of the parent was doing with it is going on nowhere here: None.
    pub fn heir(&self) -> Option<Self> {
        let work = Mutex::new(self.work.try_lock().ok()?.inherited());
        Some(Self { handle: self.handle, slot: self.slot, flags: self.flags, work })
    }

    #[cold]
    #[inline(never)]
    pub fn enter(&self) -> Result<MutexGuard<'_, Work>> {
        let work = lock(&self.work);
        if work.is_closed { Err(ck(CKR_SESSION_HANDLE_INVALID)) } else { Ok(work) }
    }
}

/// What goes on in a session.
#[derive(Default)]
pub struct Work {
    pub is_closed: bool,
    /// The host that knows of it.
    pub host: u64,
    /// The messages that began what goes on and has not been fed anything since.
    begun: [Option<Bytes>; Op::ALL.len()],
    is_searching: bool,
}

impl Work {
    pub fn at(host: u64) -> Self {
        Self { host, ..Self::default() }
    }

    /// What another process like this one goes on with; this copy is left without it.
    pub fn inherited(&mut self) -> Self {
        Self { host: 0, ..std::mem::take(self) }
    }

    pub fn forget(&mut self, ops: &[Op]) {
        ops.iter().for_each(|op| self.begun[*op as usize] = None);
    }

    /// Those that CKF_* name.
    fn forget_flags(&mut self, flags: u64) {
        let ops = [
            (CKF_DECRYPT, Op::Decrypt),
            (CKF_DIGEST, Op::Digest),
            (CKF_ENCRYPT, Op::Encrypt),
            (CKF_FIND_OBJECTS, Op::Find),
            (CKF_SIGN, Op::Sign),
            (CKF_VERIFY, Op::Verify),
            (CKF_VERIFY, Op::VerifySignature),
        ];
        let named = ops.into_iter().filter(|(flag, _)| flags & flag != 0);
        named.for_each(|(_, op)| self.forget(&[op]));
        self.is_searching &= flags & CKF_FIND_OBJECTS == 0;
    }

    /// A logout ends all but digests.
    pub fn logged_out(&mut self) {
        self.forget_flags(!CKF_DIGEST);
    }
}

/// A session, for as long as one call has it to itself.
pub struct Seated<'a> {
    pub client: &'a Client,
    pub seat: &'a Seat,
    pub work: &'a mut Work,
}

/// What a host answers.
pub trait Given: DeserializeOwned {
    /// Whether the operation has come to its end with it.
    fn ends(&self) -> bool {
        true
    }
}

macro_rules! given {
    ($($ty:ty),*) => {
        $(impl Given for $ty {})*
    };
}

given! { (), u64, (u64, u64), Option<String>, Vec<u8>, Vec<u64>, Vec<(u64, Vec<u8>)>, Made, (Answer, Made), Wrapped, SessionInfo, Vec<(u64, Told)> }

impl Given for Answer {
    fn ends(&self) -> bool {
        matches!(self, Self::Bytes(_) | Self::Written(_))
    }
}

impl Seated<'_> {
    #[cold]
    #[inline(never)]
    pub fn ask<T: Given>(&mut self, does: Does, ask: &Ask<'_>) -> Result<T> {
        let (message, body) = self.put(does, ask);
        let outcome = body.and_then(|body| match answer::<T>(&body) {
            Ok(given) => Ok(given),
            Err(Broken::Failed(error)) => Err(error),
            Err(_) => Err(ck(CKR_GENERAL_ERROR)),
        });
        let is_over = outcome.as_ref().map_or(true, T::ends);
        self.remember(does, message, outcome.is_ok(), is_over);
        outcome
    }

    /// Sends the question; answers it, and what came back.
    fn put(&mut self, does: Does, ask: &Ask<'_>) -> (Bytes, Result<Bytes>) {
        if let Does::Feeds(ops) = does {
            self.work.forget(ops);
        }
        match question(0, ask) {
            Ok(mut message) => {
                let body = self.exchange(&mut message, does);
                (message, body)
            }
            Err(error) => (Bytes::default(), Err(error)),
        }
    }

    fn remember(&mut self, does: Does, message: Bytes, is_done: bool, is_over: bool) {
        match does {
            Does::Begins(op) if is_done => self.work.begun[op as usize] = Some(message),
            Does::Ends(op) if is_over => self.work.forget(&[op]),
            _ => {}
        }
    }

    #[cold]
    #[inline(never)]
    pub fn encrypt(&mut self, data: &[u8], room: Room) -> Result<Answer> {
        self.ask(Does::Ends(Op::Encrypt), &Ask::Encrypt { data: Raw::new(data), room })
    }

    /// What is told of an object.
    #[cold]
    #[inline(never)]
    pub fn show(&mut self, object: u64, kinds: Vec<u64>) -> Result<Vec<(u64, Told)>> {
        self.ask(Does::Looks, &Ask::Show { object, kinds })
    }

    /// The answer to a message about this session.
    fn exchange(&mut self, message: &mut Bytes, does: Does) -> Result<Bytes> {
        let needs = Needs { slot: self.seat.slot, told: self.work.host };
        self.client.insist(does, Some(needs), |hosted, deadline| {
            let theirs = match hosted.theirs(self.seat.handle) {
                Some(theirs) => theirs,
                None if !self.client.knows(self.seat.handle) => return Err(ck(CKR_SESSION_HANDLE_INVALID).into()),
                // Opened when this host had been told of the others already.
                None => {
                    let ask = Ask::Open { slot: self.seat.slot, flags: self.seat.flags };
                    let theirs = hosted.ask(0, &ask, deadline)?;
                    hosted.opened(self.seat.handle, theirs);
                    theirs
                }
            };
            if self.work.host != hosted.number {
                // What was begun at another host is begun anew; what had gone further is lost.
                let mut refusal = None;
                for (op, begun) in Op::ALL.into_iter().zip(&mut self.work.begun) {
                    let Some(message) = begun.as_mut() else { continue };
                    address(message, theirs);
                    match hosted.exchange(message, deadline).and_then(|body| answer::<()>(&body)) {
                        Ok(()) => {}
                        Err(Broken::Failed(error)) => {
                            *begun = None;
                            refusal = refusal.or((does == Does::Ends(op)).then_some(error));
                        }
                        Err(broken) => return Err(broken),
                    }
                }
                self.work.host = hosted.number;
                // Of interest only to who wants the operation ended.
                if let Some(error) = refusal {
                    return Err(error.into());
                }
            }
            address(message, theirs);
            hosted.exchange(message, deadline)
        })
    }

    /// As `abort` of a session here, which cannot fail. A host that is gone has nothing that could be ended.
    #[cold]
    #[inline(never)]
    pub fn abort(&mut self, flags: u64) {
        self.work.forget_flags(flags);
        if self.client.at(self.work.host).is_some() {
            let _ = self.cancel(flags);
        }
    }

    #[cold]
    #[inline(never)]
    pub fn cancel(&mut self, flags: u64) -> Result<()> {
        self.work.forget_flags(flags);
        self.ask(Does::Looks, &Ask::Cancel { flags })
    }

    #[cold]
    #[inline(never)]
    pub fn find_init(&mut self, template: &Template) -> Result<()> {
        self.ask::<()>(Does::Begins(Op::Find), &Ask::FindInit { template: Cow::Borrowed(template) })?;
        self.work.is_searching = true;
        Ok(())
    }

    #[cold]
    #[inline(never)]
    pub fn find(&mut self, max: usize) -> Result<Vec<u64>> {
        let max = max.min(MOST);
        let found: Vec<u64> = self.ask(Does::Ends(Op::Find), &Ask::Find { max })?;
        self.client.learn_names(self, &found)?;
        Ok(found)
    }

    /// A search that was lost with its host is over, too.
    #[cold]
    #[inline(never)]
    pub fn find_final(&mut self) -> Result<()> {
        let was_searching = std::mem::take(&mut self.work.is_searching);
        match self.ask(Does::Feeds(&[Op::Find]), &Ask::FindFinal) {
            Err(error) if was_searching && error == ck(CKR_OPERATION_NOT_INITIALIZED) => Ok(()),
            outcome => outcome,
        }
    }
}

/// Writes the host's handle of the session into a message that begins with its length.
fn address(message: &mut Bytes, session: u64) {
    if let Some(place) = message.get_mut(HEAD..).and_then(|rest| rest.first_chunk_mut()) {
        *place = session.to_le_bytes();
    }
}
