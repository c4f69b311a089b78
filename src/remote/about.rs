//! What is asked about tokens and about no session.

use cryptoki_sys::*;
use serde::de::DeserializeOwned;
use serde_bytes::Bytes as Raw;

use super::act::{Act, Acted};
use super::calls::{Ask, Does};
use super::client::{Client, Needs};
use super::info::{MechanismInfo, SlotInfo, TokenInfo};
use crate::error::Result;

impl Client {
    /// Asks about no session.
    pub(super) fn ask<T: DeserializeOwned>(&self, does: Does, needs: Option<Needs>, ask: &Ask<'_>) -> Result<T> {
        self.insist(does, needs, |hosted, deadline| hosted.ask(0, ask, deadline))
    }

    /// An action of the API.
    pub fn act(&self, act: Act<'_>) -> Result<Acted> {
        self.ask(Does::Changes, None, &Ask::Act(act))
    }

    #[cold]
    #[inline(never)]
    pub fn slots(&self) -> Result<Vec<u64>> {
        self.ask(Does::Looks, None, &Ask::Slots)
    }

    #[cold]
    #[inline(never)]
    pub fn slot_info(&self, slot: u64) -> Result<CK_SLOT_INFO> {
        self.ask::<SlotInfo>(Does::Looks, None, &Ask::SlotInfo { slot }).map(CK_SLOT_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn token_info(&self, slot: u64) -> Result<CK_TOKEN_INFO> {
        self.ask::<TokenInfo>(Does::Looks, Needs::slot(slot), &Ask::TokenInfo { slot }).map(CK_TOKEN_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn mechanisms(&self, slot: u64) -> Result<Vec<u64>> {
        self.ask(Does::Looks, None, &Ask::Mechanisms { slot })
    }

    #[cold]
    #[inline(never)]
    pub fn mechanism_info(&self, slot: u64, kind: u64) -> Result<CK_MECHANISM_INFO> {
        self.ask::<MechanismInfo>(Does::Looks, None, &Ask::MechanismInfo { slot, kind }).map(CK_MECHANISM_INFO::from)
    }

    #[cold]
    #[inline(never)]
    pub fn init_token(&self, slot: u64, pin: Option<&[u8]>, label: &[u8]) -> Result<()> {
        let ask = Ask::InitToken { slot, pin: pin.map(Raw::new), label: Raw::new(label) };
        self.ask(Does::Changes, Needs::slot(slot), &ask)
    }
}
