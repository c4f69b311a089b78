//! Functions that feed two operations at once (PKCS#11 3.2 §5.17). Each takes what the one puts out, or puts in, to the other;
//! a length query or too little room feeds neither.

use crate::error::Result;
use crate::token::place::taken;
use crate::token::{Answer, Room, Session};

impl Session {
    pub fn digest_encrypt_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        taken(self.digest.as_ref())?;
        let answer = self.encrypt_update(part, room)?;
        if matches!(answer, Answer::Bytes(_)) {
            self.digest_update(part)?;
        }
        Ok(answer)
    }

    pub fn decrypt_digest_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        taken(self.digest.as_ref())?;
        let answer = self.decrypt_update(part, room)?;
        if let Answer::Bytes(plain) = &answer {
            self.digest_update(plain)?;
        }
        Ok(answer)
    }

    pub fn sign_encrypt_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        taken(self.sign.current())?;
        let answer = self.encrypt_update(part, room)?;
        if matches!(answer, Answer::Bytes(_)) {
            self.sign_update(part)?;
        }
        Ok(answer)
    }

    pub fn decrypt_verify_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        taken(self.verify.current())?;
        let answer = self.decrypt_update(part, room)?;
        if let Answer::Bytes(plain) = &answer {
            self.verify_update(plain)?;
        }
        Ok(answer)
    }
}
