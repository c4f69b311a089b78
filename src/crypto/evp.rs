//! AES through aws-lc's EVP interface: the modes that work part by part.

use std::ffi::c_int;
use std::ptr::{null, null_mut};

use aws_lc_sys as lc;

use super::cipher::{bad_iv, bad_key, check_gcm};
use super::ffi::{Owned, accept, check};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Cipher;

/// AES's block, which is also GCM's longest tag, in bytes.
const BLOCK: usize = 16;

/// A cipher of aws-lc's EVP interface in progress.
pub(super) struct Evp {
    context: Owned<lc::EVP_CIPHER_CTX>,
    encrypt: bool,
    /// What remains to be done about the last block.
    end: End,
    /// Input so far, in bytes.
    fed: u128,
    /// Input that is possible in all, in bytes.
    limit: u128,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Whole blocks only.
    Blocks,
    /// PKCS#7 padding.
    Padding,
    /// Any length.
    Plain,
    /// Any length, and a tag of so many bytes behind it.
    Tag(usize),
}

impl Evp {
    /// What an output may be longer than its input: a block held back, a block of padding or a tag.
    pub(super) const SLACK: usize = 2 * BLOCK;
    /// aws-lc counts in `int`.
    const STEP: usize = 1 << 30;

    pub(super) fn new(key: &[u8], cipher: &Cipher, encrypt: bool) -> Result<Self> {
        let (kind, iv, end): (_, &[u8], _) = match cipher {
            Cipher::AesCbc { iv } => (Kind::Cbc, iv, End::Blocks),
            Cipher::AesCbcPad { iv } => (Kind::Cbc, iv, End::Padding),
            Cipher::AesCtr { block, .. } => (Kind::Ctr, block, End::Plain),
            Cipher::AesEcb => (Kind::Ecb, &[], End::Blocks),
            Cipher::AesGcm { iv, tag, .. } => (Kind::Gcm, iv, End::Tag(*tag)),
            _ => return Err(Error::Unsupported("this cipher with an AES key, in parts".into())),
        };
        let limit = match cipher {
            Cipher::AesCtr { block, bits } => counter_room(block, *bits)?,
            _ => u128::MAX,
        };
        // SAFETY: makes a new object.
        let context = unsafe { Owned::new(lc::EVP_CIPHER_CTX_new(), "EVP_CIPHER_CTX_new")? };
        let evp = Self { context, encrypt, end, fed: 0, limit };
        evp.init(kind.description(key.len())?, key, iv)?;
        if let Cipher::AesGcm { iv, aad, tag } = cipher {
            check_gcm(iv, *tag)?;
            evp.authenticate(aad)?;
        }
        Ok(evp)
    }

    fn init(&self, description: *const lc::EVP_CIPHER, key: &[u8], iv: &[u8]) -> Result<()> {
        let (context, encrypt) = (self.context.as_ptr(), c_int::from(self.encrypt));
        // SAFETY: the context is valid and ours; the key has the length that the description names; the IV has the
        // block's length, or (GCM) the length that was set before, or is not read (ECB).
        unsafe {
            check(
                lc::EVP_CipherInit_ex(context, description, null_mut(), null(), null(), encrypt),
                "EVP_CipherInit_ex",
            )?;
            if let End::Tag(_) = self.end {
                let len = c_int::try_from(iv.len()).map_err(|_| bad_iv())?;
                let answer = lc::EVP_CIPHER_CTX_ctrl(context, lc::EVP_CTRL_AEAD_SET_IVLEN, len, null_mut());
                accept(answer, bad_iv)?;
            }
            check(
                lc::EVP_CipherInit_ex(context, null(), null_mut(), key.as_ptr(), iv.as_ptr(), encrypt),
                "EVP_CipherInit_ex",
            )?;
            let padding = c_int::from(self.end == End::Padding);
            check(lc::EVP_CIPHER_CTX_set_padding(context, padding), "EVP_CIPHER_CTX_set_padding")
        }
    }

    /// Feeds GCM's additional data.
    fn authenticate(&self, aad: &[u8]) -> Result<()> {
        for part in aad.chunks(Self::STEP) {
            let mut none = 0;
            // SAFETY: the context is set up; `part` is read within its length (at most STEP); null output marks additional data.
            let answer = unsafe {
                lc::EVP_CipherUpdate(
                    self.context.as_ptr(),
                    null_mut(),
                    &raw mut none,
                    part.as_ptr(),
                    part.len() as c_int,
                )
            };
            check(answer, "EVP_CipherUpdate")?;
        }
        Ok(())
    }

    /// The whole work on a whole input.
    pub(super) fn whole(mut self, input: &[u8]) -> Result<Bytes> {
        let mut out = Bytes::with_room(input.len().saturating_add(Self::SLACK))?;
        self.feed(input, &mut out)?;
        self.end(&mut out)?;
        Ok(out)
    }

    /// Appends to `out`, which has room for the input and SLACK.
    pub(super) fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.fed += input.len() as u128;
        if self.fed > self.limit {
            return Err(self.bad_length());
        }
        for part in input.chunks(Self::STEP) {
            out.try_reserve(part.len() + Self::SLACK).map_err(|_| Error::HostMemory)?;
            let mut written = 0;
            // SAFETY: the context is set up; `part` is read within its length; the output has room for it and a block more.
            let answer = unsafe {
                let end = out.as_mut_ptr().add(out.len());
                lc::EVP_CipherUpdate(self.context.as_ptr(), end, &raw mut written, part.as_ptr(), part.len() as c_int)
            };
            accept(answer, || self.bad_length())?;
            // SAFETY: so many bytes were just written behind the former end.
            unsafe { out.set_len(out.len() + written as usize) };
        }
        Ok(())
    }

    /// Appends the last block and the tag to `out`.
    pub(super) fn end(self, out: &mut Vec<u8>) -> Result<()> {
        let whole_blocks = self.fed.is_multiple_of(BLOCK as u128);
        match self.end {
            End::Blocks if !whole_blocks => return Err(self.bad_length()),
            End::Padding if !self.encrypt && (!whole_blocks || self.fed == 0) => return Err(self.bad_length()),
            _ => {}
        }
        out.reserve(Self::SLACK);
        let mut written = 0;
        // SAFETY: the context is set up; the output has room for a block.
        let answer =
            unsafe { lc::EVP_CipherFinal_ex(self.context.as_ptr(), out.as_mut_ptr().add(out.len()), &raw mut written) };
        accept(answer, || if self.encrypt { Error::DataLength } else { Error::Ciphertext })?;
        // SAFETY: so many bytes, at most a block, were just written behind the former end.
        unsafe { out.set_len(out.len() + written as usize) };
        let End::Tag(len) = self.end else { return Ok(()) };
        let mut tag = [0; BLOCK];
        // SAFETY: `tag` has room for the longest tag, and `len` is at most that (`check_gcm`).
        let answer = unsafe {
            let (command, room) = (lc::EVP_CTRL_AEAD_GET_TAG, tag.as_mut_ptr().cast());
            lc::EVP_CIPHER_CTX_ctrl(self.context.as_ptr(), command, len as c_int, room)
        };
        check(answer, "EVP_CTRL_AEAD_GET_TAG")?;
        out.extend_from_slice(tag.get(..len).unwrap_or(&tag));
        Ok(())
    }

    fn bad_length(&self) -> Error {
        if self.encrypt { Error::DataLength } else { Error::CiphertextLength }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Cbc,
    Ctr,
    Ecb,
    Gcm,
}

impl Kind {
    fn description(self, key_len: usize) -> Result<*const lc::EVP_CIPHER> {
        // SAFETY: each answers a pointer to a static table.
        Ok(unsafe {
            match (self, key_len) {
                (Self::Cbc, 16) => lc::EVP_aes_128_cbc(),
                (Self::Cbc, 24) => lc::EVP_aes_192_cbc(),
                (Self::Cbc, 32) => lc::EVP_aes_256_cbc(),
                (Self::Ctr, 16) => lc::EVP_aes_128_ctr(),
                (Self::Ctr, 24) => lc::EVP_aes_192_ctr(),
                (Self::Ctr, 32) => lc::EVP_aes_256_ctr(),
                (Self::Ecb, 16) => lc::EVP_aes_128_ecb(),
                (Self::Ecb, 24) => lc::EVP_aes_192_ecb(),
                (Self::Ecb, 32) => lc::EVP_aes_256_ecb(),
                (Self::Gcm, 16) => lc::EVP_aes_128_gcm(),
                (Self::Gcm, 24) => lc::EVP_aes_192_gcm(),
                (Self::Gcm, 32) => lc::EVP_aes_256_gcm(),
                _ => return Err(bad_key()),
            }
        })
    }
}

/// How many bytes CTR can take before the counting bits would overflow (PKCS#11 3.2 §6.13.6: refuse, do not wrap).
pub(super) fn counter_room(block: &[u8; BLOCK], bits: usize) -> Result<u128> {
    let low = match bits {
        1..128 => (1u128 << bits) - 1,
        128 => u128::MAX,
        _ => return Err(Error::invalid("counter bits", "1 to 128 bits of the block can count")),
    };
    let blocks = (low - (u128::from_be_bytes(*block) & low)).saturating_add(1);
    Ok(blocks.saturating_mul(BLOCK as u128))
}
