//! CiphertextBlob: KeyVersionId (36 ASCII bytes) ‖ IV (12) ‖ ciphertext ‖ tag (16), ruling 13.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::context::Context;
use crate::model::names::parse_id;

pub const IV_LEN: usize = 12;
pub const TAG_LEN: usize = 16;
const ID_LEN: usize = 36;
/// What a blob is longer than its plaintext.
pub const OVERHEAD: usize = ID_LEN + IV_LEN + TAG_LEN;

/// The parts of a ciphertext blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub version: Uuid,
    pub iv: [u8; IV_LEN],
    /// Ciphertext with the tag behind it.
    pub sealed: Vec<u8>,
}

impl Blob {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.version.to_string().into_bytes();
        out.extend_from_slice(&self.iv);
        out.extend_from_slice(&self.sealed);
        out
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() < OVERHEAD {
            return Err(Error::Ciphertext);
        }
        let (id, rest) = bytes.split_at(ID_LEN);
        let (iv, sealed) = rest.split_at(IV_LEN);
        let text = std::str::from_utf8(id).map_err(|_| Error::Ciphertext)?;
        let version = parse_id(text).map_err(|_| Error::Ciphertext)?;
        if version.to_string() != text {
            return Err(Error::Ciphertext);
        }
        Ok(Self { version, iv: iv.try_into().map_err(|_| Error::Ciphertext)?, sealed: sealed.to_vec() })
    }

    /// What the tag authenticates beside the ciphertext: format, key, version and context.
    pub fn aad(key: Uuid, version: Uuid, context: &Context) -> Vec<u8> {
        let mut out = b"alikms blob 1".to_vec();
        out.extend_from_slice(key.as_bytes());
        out.extend_from_slice(version.as_bytes());
        out.extend_from_slice(&context.canonical());
        out
    }
}
