//! AES on aws-lc: ECB, CBC, CBC with padding, CTR, GCM, key wrap.

use std::mem::MaybeUninit;
use std::ptr;

use aws_lc_sys as lc;

use super::evp::Evp;
use super::ffi::{Owned, accept, filled_secret};
use super::{append, key_wrap};
use crate::error::{Error, Result};
use crate::model::algorithm::Cipher;
use crate::model::{Bytes, Iv};

/// The tag length of the GCM context that is kept prepared.
const TAG: usize = 16;

/// A prepared AES key; GCM with 16-byte tags is prepared once.
pub struct AesKey {
    bytes: Bytes,
    gcm: Owned<lc::EVP_AEAD_CTX>,
}

// SAFETY: the context is only passed to EVP_AEAD_CTX_seal and _open, which take it const and which aead.h declares safe
// to call concurrently for these AEADs ("Concurrency"). No lock is involved, so a fork leaves it usable.
unsafe impl Sync for AesKey {}

impl AesKey {
    /// 16, 24 or 32 bytes, else `InvalidParameter`.
    pub fn new(key: &[u8]) -> Result<Self> {
        Ok(Self { gcm: aead(key, TAG)?, bytes: Bytes::new(key.to_vec()) })
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Any `Aes…` cipher on a whole plaintext; `DataLength` if its length does not fit.
    pub fn encrypt(&self, cipher: &Cipher, input: &[u8]) -> Result<Bytes> {
        match cipher {
            Cipher::AesGcm { iv, aad, tag } => self.seal(iv, aad, *tag, input),
            Cipher::AesKeyWrap { iv } => key_wrap::wrap(&self.bytes, iv.as_ref(), input),
            Cipher::AesKeyWrapPad => key_wrap::wrap_padded(&self.bytes, input),
            _ => Evp::new(&self.bytes, cipher, true)?.whole(input),
        }
    }

    /// Any `Aes…` cipher on a whole ciphertext: `CiphertextLength` if its length does not fit, `Ciphertext` if it is not genuine.
    pub fn decrypt(&self, cipher: &Cipher, input: &[u8]) -> Result<Bytes> {
        match cipher {
            Cipher::AesGcm { iv, aad, tag } if *tag == TAG => {
                check_gcm(iv, *tag)?;
                open(&self.gcm, iv, aad, *tag, input)
            }
            Cipher::AesGcm { iv, aad, tag } => {
                check_gcm(iv, *tag)?;
                open(&aead(&self.bytes, *tag)?, iv, aad, *tag, input)
            }
            Cipher::AesKeyWrap { iv } => key_wrap::unwrap(&self.bytes, iv.as_ref(), input),
            Cipher::AesKeyWrapPad => key_wrap::unwrap_padded(&self.bytes, input),
            _ => Evp::new(&self.bytes, cipher, false)?.whole(input),
        }
    }

    pub fn stream(&self, cipher: &Cipher, encrypt: bool) -> Result<AesStream> {
        AesStream::new(&self.bytes, cipher, encrypt)
    }

    fn seal(&self, iv: &[u8], aad: &[u8], tag: usize, input: &[u8]) -> Result<Bytes> {
        let room = input.len().checked_add(tag).ok_or(Error::DataLength)?;
        let mut out = Bytes::with_room(room)?;
        let written = self.seal_to(iv, aad, tag, input, out.spare_capacity_mut())?;
        // SAFETY: so many bytes are initialised.
        unsafe { out.set_len(written) };
        Ok(out)
    }

    /// GCM to the front of `out`: the ciphertext and a tag of `tag` bytes behind it, whose number it answers.
    /// `DataLength` if there is not so much room. After an error nothing of the input is there.
    pub fn seal_to(
        &self,
        iv: &[u8],
        aad: &[u8],
        tag: usize,
        input: &[u8],
        out: &mut [MaybeUninit<u8>],
    ) -> Result<usize> {
        check_gcm(iv, tag)?;
        let (sealed, rest) = out.split_at_mut_checked(input.len()).ok_or(Error::DataLength)?;
        let place = rest.get_mut(..tag).ok_or(Error::DataLength)?;
        let (mut whole, mut written) = ([0; TAG], 0);
        // SAFETY: the context is valid and not changed; every buffer is passed with its length, `sealed` has that of the input,
        // and borrowed as they are, no two of them overlap.
        let answer = unsafe {
            lc::EVP_AEAD_CTX_seal_scatter(
                self.gcm.as_ptr(),
                sealed.as_mut_ptr().cast(),
                whole.as_mut_ptr(),
                &raw mut written,
                whole.len(),
                iv.as_ptr(),
                iv.len(),
                input.as_ptr(),
                input.len(),
                ptr::null(),
                0,
                aad.as_ptr(),
                aad.len(),
            )
        };
        accept(answer, || Error::DataLength)?;
        // A shorter tag is the start of the whole one (NIST SP 800-38D §7.1).
        place.write_copy_of_slice(&whole[..tag]);
        Ok(input.len() + tag)
    }
}

/// Encryption or decryption in progress. GCM decryption releases nothing before `finish`.
pub struct AesStream(State);

enum State {
    Evp(Evp),
    /// The ciphertext is collected: nothing of it may be released before the tag behind it was checked.
    GcmOpen {
        gcm: Owned<lc::EVP_AEAD_CTX>,
        iv: Iv,
        aad: Vec<u8>,
        tag: usize,
        parts: Bytes,
    },
}

impl AesStream {
    /// Only the `Aes…` variants of [`Cipher`] that stream: key wrap needs its input whole and is `Unsupported`.
    pub fn new(key: &[u8], cipher: &Cipher, encrypt: bool) -> Result<Self> {
        Ok(Self(match cipher {
            Cipher::AesGcm { iv, aad, tag } if !encrypt => {
                check_gcm(iv, *tag)?;
                let (iv, aad) = (iv.clone(), aad.clone());
                State::GcmOpen { gcm: aead(key, *tag)?, iv, aad, tag: *tag, parts: Bytes::default() }
            }
            _ => State::Evp(Evp::new(key, cipher, encrypt)?),
        }))
    }

    pub fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        match &mut self.0 {
            State::Evp(evp) => {
                let mut out = Bytes::with_room(input.len().saturating_add(Evp::SLACK))?;
                evp.feed(input, &mut out)?;
                Ok(out)
            }
            State::GcmOpen { parts, .. } => {
                append(parts, input)?;
                Ok(Bytes::default())
            }
        }
    }

    pub fn finish(self) -> Result<Bytes> {
        match self.0 {
            State::Evp(evp) => {
                let mut out = Bytes::new(Vec::with_capacity(Evp::SLACK));
                evp.end(&mut out)?;
                Ok(out)
            }
            State::GcmOpen { gcm, iv, aad, tag, parts } => open(&gcm, &iv, &aad, tag, &parts),
        }
    }
}

pub(super) fn check_gcm(iv: &[u8], tag: usize) -> Result<()> {
    if iv.is_empty() || iv.len() > 256 {
        return Err(bad_iv());
    }
    match tag {
        4 | 8 | 12..=16 => Ok(()),
        _ => Err(Error::invalid("tag", "a GCM tag has 4, 8 or 12 to 16 bytes")),
    }
}

/// A GCM context for any IV and tags of `tag` bytes.
fn aead(key: &[u8], tag: usize) -> Result<Owned<lc::EVP_AEAD_CTX>> {
    // SAFETY: the descriptions are static; the key has the length that the description names; a new object is made.
    unsafe {
        let description = match key.len() {
            16 => lc::EVP_aead_aes_128_gcm(),
            24 => lc::EVP_aead_aes_192_gcm(),
            32 => lc::EVP_aead_aes_256_gcm(),
            _ => return Err(bad_key()),
        };
        Owned::new(lc::EVP_AEAD_CTX_new(description, key.as_ptr(), key.len(), tag), "EVP_AEAD_CTX_new")
    }
}

fn open(gcm: &Owned<lc::EVP_AEAD_CTX>, iv: &[u8], aad: &[u8], tag: usize, input: &[u8]) -> Result<Bytes> {
    let room = input.len();
    if room < tag {
        return Err(Error::CiphertextLength);
    }
    let mut written = 0;
    // SAFETY: the context is valid and not changed; every buffer is passed with its length; `written` bytes are initialised.
    unsafe {
        filled_secret(room, |out| {
            let answer = lc::EVP_AEAD_CTX_open(
                gcm.as_ptr(),
                out,
                &raw mut written,
                room,
                iv.as_ptr(),
                iv.len(),
                input.as_ptr(),
                input.len(),
                aad.as_ptr(),
                aad.len(),
            );
            accept(answer, || Error::Ciphertext).map(|()| written)
        })
    }
}

pub(super) fn bad_key() -> Error {
    Error::invalid("key", "an AES key has 16, 24 or 32 bytes")
}

pub(super) fn bad_iv() -> Error {
    Error::invalid("iv", "a GCM IV has 1 to 256 bytes")
}

#[cfg(test)]
mod tests;
