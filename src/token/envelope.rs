//! `CKM_ALIKMS_ENVELOPE`: Encrypt and Decrypt of the KMS at the C door, with the very blob that the API makes (DESIGN
//! §3).

use std::sync::Arc;

use cryptoki_sys::CKR_KEY_HANDLE_INVALID;

use crate::error::{Error, Result};
use crate::kms::envelope::MAX_PLAINTEXT;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::model::blob::OVERHEAD;
use crate::protection::{Key, Stream, stream};
use crate::token::object::Item;
use crate::token::operation::rejected;
use crate::token::slot::Slot;
use crate::token::vendor::{CKA_ALIKMS_ARN, CKA_ALIKMS_KEY_ID};
use crate::token::{Session, ck};

/// A key of the KMS as the verbs of the API take it: each call finds the version that works now and asks anew whether
/// it may.
struct Envelope {
    slot: &'static Slot,
    /// The KeyId.
    key: String,
}

impl Session {
    /// The key behind an item; `action` is what its caller must be allowed already at Init.
    pub(super) fn envelope(&self, item: &Item, action: &'static str) -> Result<Arc<dyn Key>> {
        let text = |kind| item.bytes(kind).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let (Some(arn), Some(key)) = (text(CKA_ALIKMS_ARN), text(CKA_ALIKMS_KEY_ID)) else {
            return Err(ck(CKR_KEY_HANDLE_INVALID));
        };
        let _allowed = self.slot().kms.authorize_owner(&self.caller(), action, arn)?;
        Ok(Arc::new(Envelope { slot: self.slot(), key: key.to_owned() }))
    }
}

impl Key for Envelope {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        let (kms, caller) = (&self.slot.kms, self.slot.caller());
        match job {
            Job::Encrypt(Cipher::Envelope { .. }) if input.len() > MAX_PLAINTEXT => Err(Error::DataLength),
            Job::Encrypt(Cipher::Envelope { context }) => {
                let (_, blob) = kms.encrypt(&caller, &self.key, input, context).map_err(rejected)?;
                Ok(Bytes::new(blob))
            }
            Job::Decrypt(Cipher::Envelope { .. }) if input.len() > MAX_PLAINTEXT + OVERHEAD => {
                Err(Error::CiphertextLength)
            }
            Job::Decrypt(Cipher::Envelope { context }) => match kms.decrypt(&caller, input, context) {
                Ok((done, plaintext)) if done.key.to_string() == self.key => Ok(plaintext),
                // The blob of another key, or of none.
                Ok(_) | Err(Error::KeyNotFound(_)) => Err(Error::Ciphertext),
                Err(error) => Err(rejected(error)),
            },
            _ => Err(Error::Unsupported("another mechanism with an envelope key".to_owned())),
        }
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        Ok(stream::collect(self, job))
    }
}
