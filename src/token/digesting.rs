//! A digest from its Init to its end. The two-call rule is that of [`crate::token::operation`].

use cryptoki_sys::CKR_OPERATION_ACTIVE;

use crate::crypto::digest::Hasher;
use crate::error::Result;
use crate::model::Bytes;
use crate::model::hash::Hash;
use crate::token::{Answer, Room, ck};

/// A digest in progress.
#[derive(Clone)]
pub struct Digesting {
    pub hash: Hash,
    pub stage: DigestStage,
}

#[derive(Clone)]
pub enum DigestStage {
    Fresh,
    Asked,
    Fed(Hasher),
}

impl Digesting {
    pub fn single(mut self, input: &[u8], room: Room) -> Result<(Answer, Option<Self>)> {
        if matches!(self.stage, DigestStage::Fed(_)) {
            return Err(ck(CKR_OPERATION_ACTIVE));
        }
        let size = self.hash.len();
        match room {
            Room::Bytes(room) if room >= size => {
                Ok((Answer::Bytes(Bytes::new(crate::crypto::digest::hash(self.hash, input))), None))
            }
            room => {
                self.stage = DigestStage::Asked;
                let answer = if room == Room::Ask { Answer::Size(size) } else { Answer::TooSmall(size) };
                Ok((answer, Some(self)))
            }
        }
    }

    pub fn update(mut self, part: &[u8]) -> Result<Self> {
        let mut hasher = self.hasher()?;
        hasher.update(part);
        self.stage = DigestStage::Fed(hasher);
        Ok(self)
    }

    fn hasher(&mut self) -> Result<Hasher> {
        match std::mem::replace(&mut self.stage, DigestStage::Fresh) {
            DigestStage::Fresh => Ok(Hasher::new(self.hash)),
            DigestStage::Fed(hasher) => Ok(hasher),
            DigestStage::Asked => Err(ck(CKR_OPERATION_ACTIVE)),
        }
    }

    pub fn last(mut self, room: Room) -> Result<(Answer, Option<Self>)> {
        let hasher = self.hasher()?;
        let size = self.hash.len();
        match room {
            Room::Bytes(room) if room >= size => Ok((Answer::Bytes(Bytes::new(hasher.finish())), None)),
            room => {
                self.stage = DigestStage::Fed(hasher);
                let answer = if room == Room::Ask { Answer::Size(size) } else { Answer::TooSmall(size) };
                Ok((answer, Some(self)))
            }
        }
    }
}
