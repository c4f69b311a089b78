//! The places that a session has for what goes on in it.

use cryptoki_sys::{CKR_OPERATION_ACTIVE, CKR_OPERATION_NOT_INITIALIZED};

use crate::error::Result;
use crate::model::algorithm::Cipher;
use crate::token::engine::Engine;
use crate::token::operation::{Step, Work};
use crate::token::{Answer, ck};

/// Where a session has its operation of one kind. One that has ended may stay, out of sight: the next is often the same with
/// another IV, and to put it together anew takes longer than all else that its Init does.
#[derive(Default)]
pub struct Place {
    work: Option<Work>,
    has_ended: bool,
}

impl Place {
    pub fn current(&self) -> Option<&Work> {
        self.work.as_ref().filter(|_| !self.has_ended)
    }

    pub fn current_mut(&mut self) -> Option<&mut Work> {
        self.work.as_mut().filter(|_| !self.has_ended)
    }

    pub fn take(&mut self) -> Option<Work> {
        self.work.take().filter(|_| !self.has_ended)
    }

    pub fn put(&mut self, work: Option<Work>) {
        self.work = work;
        self.has_ended = false;
    }

    /// What a step left of the operation stays.
    pub fn keep(&mut self, (answer, rest): Step) -> Answer {
        self.put(rest);
        answer
    }

    /// The work stays, as no operation.
    pub fn end(&mut self) {
        if let Some(work) = &mut self.work {
            work.rest();
        }
        self.has_ended = true;
    }

    /// Has work ended here that this engine did?
    #[inline(always)]
    pub fn had(&self, engine: &Engine) -> bool {
        self.has_ended && self.work.as_ref().is_some_and(|work| work.is_by(engine))
    }

    /// What ended here begins anew with another cipher of the same kind, by another engine if that was renewed.
    #[inline(always)]
    pub fn again(&mut self, cipher: Cipher, locked: bool, renewed: Option<Engine>) {
        if let Some(work) = &mut self.work {
            work.again(cipher, locked, renewed);
            self.has_ended = false;
        }
    }
}

/// A NULL mechanism cancels what is going on (PKCS#11 3.x); anything else must not find something going on.
pub(super) fn begin<M, T>(mechanism: &Option<M>, current: &mut Option<T>) -> Result<()> {
    if mechanism.is_some() && current.is_some() {
        return Err(ck(CKR_OPERATION_ACTIVE));
    }
    if mechanism.is_none() {
        *current = None;
    }
    Ok(())
}

pub(super) fn taken<T>(work: Option<T>) -> Result<T> {
    work.ok_or(ck(CKR_OPERATION_NOT_INITIALIZED))
}
