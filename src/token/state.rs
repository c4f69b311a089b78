//! C_GetOperationState and C_SetOperationState, for digests (PKCS#11 3.2 §5.6.9): the state itself stays here, since it may be
//! of a secret (C_DigestKey); what the caller gets is a ticket, authenticated under a random key of this process.

use std::collections::VecDeque;

use cryptoki_sys::*;
use subtle::ConstantTimeEq;

use crate::crypto::mac::Hmac;
use crate::crypto::random;
use crate::error::Result;
use crate::fork::Lock;
use crate::model::Bytes;
use crate::model::hash::Hash;
use crate::token::digesting::Digesting;
use crate::token::place::taken;
use crate::token::{Answer, Room, Session, ck};

/// So many states of a token are kept; the oldest go.
const KEPT: usize = 1024;
/// A number of 8 bytes and what authenticates it.
const TICKET: usize = 8 + 32;

/// The states that were saved in this run.
pub struct Saved {
    key: [u8; 32],
    states: Lock<States>,
}

#[derive(Default)]
struct States {
    last: u64,
    kept: VecDeque<(u64, Digesting)>,
}

impl Default for Saved {
    fn default() -> Self {
        Self { key: random::bytes(), states: Lock::new(States::default()) }
    }
}

impl Saved {
    fn ticket(&self, number: u64) -> Vec<u8> {
        let mut hmac = Hmac::new(Hash::Sha256, &self.key);
        hmac.update(b"operation state");
        hmac.update(&number.to_be_bytes());
        [&number.to_be_bytes()[..], &hmac.finish()].concat()
    }

    fn keep(&self, state: Digesting) -> Vec<u8> {
        let mut states = self.states.lock();
        states.last += 1;
        let number = states.last;
        if states.kept.len() >= KEPT {
            states.kept.pop_front();
        }
        states.kept.push_back((number, state));
        self.ticket(number)
    }

    fn find(&self, ticket: &[u8]) -> Option<Digesting> {
        let number = u64::from_be_bytes(*ticket.first_chunk()?);
        if !bool::from(self.ticket(number).ct_eq(ticket)) {
            return None;
        }
        let states = self.states.lock();
        states.kept.iter().find(|(kept, _)| *kept == number).map(|(_, state)| state.clone())
    }
}

impl Session {
    pub fn operation_state(&mut self, room: Room) -> Result<Answer> {
        let others = [&self.encrypt, &self.decrypt, &self.sign, &self.verify];
        let busy = others.iter().any(|work| work.current().is_some())
            || self.verify_signature.is_some()
            || self.messages.is_busy();
        if busy {
            // A key may be at work inside a device, whose state cannot be saved.
            return Err(ck(CKR_STATE_UNSAVEABLE));
        }
        let digest = taken(self.digest.as_ref())?;
        Ok(match room {
            Room::Ask => Answer::Size(TICKET),
            Room::Bytes(room) if room < TICKET => Answer::TooSmall(TICKET),
            Room::Bytes(_) => Answer::Bytes(Bytes::new(self.slot().saved.keep(digest.clone()))),
        })
    }

    /// Whatever was going on in the session ends.
    pub fn set_operation_state(&mut self, state: &[u8], keys: [u64; 2]) -> Result<()> {
        let state = self.slot().saved.find(state).ok_or(ck(CKR_SAVED_STATE_INVALID))?;
        if keys.iter().any(|key| *key != 0) {
            return Err(ck(CKR_KEY_NOT_NEEDED));
        }
        self.abort(CK_FLAGS::MAX);
        self.digest = Some(state);
        Ok(())
    }
}
