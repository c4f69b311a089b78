//! The model of an operation: what each step answers and what is left of it (PKCS#11 3.2 §5.2 and the text of each function).

use cryptoki_sys::*;

/// What the caller offers for an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// No place for the length.
    NoLength,
    Ask,
    Bytes(usize),
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Ecb,
    CbcPad,
    Ctr,
    Gcm,
    Hmac,
    Cmac,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Fresh,
    /// The length was asked for by the one-shot function.
    Asked,
    /// So many bytes went in and came out.
    Fed(usize, usize),
}

#[derive(Clone, Copy, Debug)]
pub struct Work {
    pub does: Does,
    pub encrypts: bool,
    pub stage: Stage,
}

#[derive(Clone, Copy, Debug)]
pub struct Digest {
    pub size: usize,
    pub stage: Stage,
}

/// The code, the length that is told where one is, and the operation, if it goes on.
pub type Reply<T> = (CK_RV, Option<usize>, Option<T>);

/// The rule of two calls: `need` bytes go out. None: there is room for them.
fn room<T>(need: usize, offer: Offer, kept: T) -> Option<Reply<T>> {
    match offer {
        Offer::Ask => Some((CKR_OK, Some(need), Some(kept))),
        Offer::Bytes(room) if room < need => Some((CKR_BUFFER_TOO_SMALL, Some(need), Some(kept))),
        Offer::Bytes(_) => None,
        Offer::NoLength => Some((CKR_ARGUMENTS_BAD, None, None)),
    }
}

impl Work {
    /// What comes out of so much input at most.
    fn bound(&self, input: usize) -> usize {
        match (self.does, self.encrypts) {
            (Does::Hmac, _) => 32,
            (Does::Cmac, _) => 16,
            (Does::CbcPad, _) => (input / 16 + 1) * 16,
            (Does::Gcm, true) => input + 16,
            (Does::Gcm, false) => input.saturating_sub(16),
            (Does::Ecb | Does::Ctr, _) => input,
        }
    }

    /// What Updates have put out of so much input.
    fn put_out(&self, fed: usize) -> usize {
        match (self.does, self.encrypts) {
            (Does::Gcm, false) => 0,
            (Does::Ecb | Does::CbcPad, _) => fed / 16 * 16,
            _ => fed,
        }
    }

    /// What is wrong with so much input as a whole. Nothing that is decrypted here is genuine.
    fn fault(&self, input: usize) -> Option<CK_RV> {
        match (self.does, self.encrypts) {
            (Does::Ecb, true) if !input.is_multiple_of(16) => Some(CKR_DATA_LEN_RANGE),
            (Does::Ecb, false) if !input.is_multiple_of(16) => Some(CKR_ENCRYPTED_DATA_LEN_RANGE),
            (Does::Gcm, false) if input < 16 => Some(CKR_ENCRYPTED_DATA_LEN_RANGE),
            (Does::Gcm, false) => Some(CKR_ENCRYPTED_DATA_INVALID),
            _ => None,
        }
    }

    /// C_Encrypt, C_Decrypt, C_Sign.
    pub fn single(mut self, input: usize, offer: Offer) -> Reply<Self> {
        if matches!(self.stage, Stage::Fed(..)) {
            return (CKR_OPERATION_ACTIVE, None, None);
        }
        self.stage = Stage::Asked;
        let bound = self.bound(input);
        room(bound, offer, self).unwrap_or_else(|| match self.fault(input) {
            Some(fault) => (fault, None, None),
            None => (CKR_OK, Some(bound), None),
        })
    }

    /// C_EncryptUpdate, C_DecryptUpdate.
    pub fn update(mut self, part: usize, offer: Offer) -> Reply<Self> {
        let (fed, out) = match self.stage {
            Stage::Asked => return (CKR_OPERATION_ACTIVE, None, None),
            Stage::Fresh => (0, 0),
            Stage::Fed(fed, out) => (fed, out),
        };
        let made = self.put_out(fed + part) - self.put_out(fed);
        self.stage = Stage::Fed(fed, out);
        if let Some((code, size, rest)) = room(made, offer, self) {
            // To a question alone, never 0 for something: the asker might take it that no buffer is wanted.
            let size = if code == CKR_OK { size.map(|size| size.max(part.min(1))) } else { size };
            return (code, size, rest);
        }
        self.stage = Stage::Fed(fed + part, out + made);
        (CKR_OK, Some(made), Some(self))
    }

    /// C_SignUpdate, C_VerifyUpdate.
    pub fn absorb(mut self, part: usize) -> Reply<Self> {
        match self.stage {
            Stage::Asked => return (CKR_OPERATION_ACTIVE, None, None),
            Stage::Fresh => self.stage = Stage::Fed(part, 0),
            Stage::Fed(fed, _) => self.stage = Stage::Fed(fed + part, 0),
        }
        (CKR_OK, None, Some(self))
    }

    /// C_EncryptFinal, C_DecryptFinal, C_SignFinal.
    pub fn last(mut self, offer: Offer) -> Reply<Self> {
        let (fed, out) = match self.stage {
            Stage::Asked => return (CKR_OPERATION_ACTIVE, None, None),
            Stage::Fresh => (0, 0),
            Stage::Fed(fed, out) => (fed, out),
        };
        self.stage = Stage::Fed(fed, out);
        let need = self.bound(fed).saturating_sub(out);
        room(need, offer, self).unwrap_or_else(|| match self.fault(fed) {
            Some(fault) => (fault, None, None),
            None => (CKR_OK, Some(need), None),
        })
    }

    /// C_Verify and C_VerifyFinal, of a signature that is none.
    pub fn verify(self, signature: usize, whole: bool) -> CK_RV {
        match self.stage {
            Stage::Asked => CKR_OPERATION_ACTIVE,
            Stage::Fed(..) if whole => CKR_OPERATION_ACTIVE,
            _ if signature != self.bound(0) => CKR_SIGNATURE_LEN_RANGE,
            _ => CKR_SIGNATURE_INVALID,
        }
    }
}

impl Digest {
    pub fn single(mut self, offer: Offer) -> Reply<Self> {
        if matches!(self.stage, Stage::Fed(..)) {
            return (CKR_OPERATION_ACTIVE, None, None);
        }
        self.stage = Stage::Asked;
        room(self.size, offer, self).unwrap_or((CKR_OK, Some(self.size), None))
    }

    pub fn update(mut self) -> Reply<Self> {
        if self.stage == Stage::Asked {
            return (CKR_OPERATION_ACTIVE, None, None);
        }
        self.stage = Stage::Fed(0, 0);
        (CKR_OK, None, Some(self))
    }

    pub fn last(mut self, offer: Offer) -> Reply<Self> {
        if self.stage == Stage::Asked {
            return (CKR_OPERATION_ACTIVE, None, None);
        }
        self.stage = Stage::Fed(0, 0);
        room(self.size, offer, self).unwrap_or((CKR_OK, Some(self.size), None))
    }
}
