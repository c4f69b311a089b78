//! SM4 (GB/T 32907) on RustCrypto's `sm4`: ECB, CBC, CBC with padding, CTR, GCM (RFC 8998).
//!
//! That crate looks bytes up in an S-box of 256 bytes: unlike everything else in `crypto/` it is not constant-time
//! against somebody who shares the processor's cache. No kept crate has a better one: docs/decisions.md.

use aes_gcm::{AeadInOut, AesGcm};
use cbc::cipher::array::{Array, ArraySize};
use cbc::cipher::block_padding::{Padding, Pkcs7};
use cbc::cipher::consts::*;
use cbc::cipher::{Block, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit, KeyInit, StreamCipher, common::InnerInit};
use sm4::Sm4;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::append;
use super::cipher::check_gcm;
use super::evp::counter_room;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Cipher;

/// Length of a block and of GCM's whole tag, in bytes.
const BLOCK: usize = 16;

/// A prepared SM4 key; wiped when dropped.
#[derive(Clone)]
pub struct Sm4Key(Sm4);

impl Sm4Key {
    /// 16 bytes, else `InvalidParameter`.
    pub fn new(key: &[u8]) -> Result<Self> {
        let bad = |_| Error::invalid("key", "an SM4 key has 16 bytes");
        Ok(Self(Sm4::new_from_slice(key).map_err(bad)?))
    }

    /// Any `Sm4…` cipher on a whole plaintext; `DataLength` if its length does not fit.
    pub fn encrypt(&self, cipher: &Cipher, input: &[u8]) -> Result<Bytes> {
        self.whole(cipher, input, true)
    }

    /// Any `Sm4…` cipher on a whole ciphertext: `CiphertextLength` if its length does not fit, `Ciphertext` if it is not
    /// genuine.
    pub fn decrypt(&self, cipher: &Cipher, input: &[u8]) -> Result<Bytes> {
        self.whole(cipher, input, false)
    }

    fn whole(&self, cipher: &Cipher, input: &[u8], encrypt: bool) -> Result<Bytes> {
        if let Cipher::Sm4Gcm { iv, aad, tag } = cipher {
            return gcm(&self.0, iv, aad, *tag, input, encrypt);
        }
        let mut stream = self.stream(cipher, encrypt)?;
        let mut out = stream.update(input)?;
        append(&mut out, &stream.finish()?)?;
        Ok(out)
    }

    /// GCM releases nothing before `finish`, in either direction.
    pub fn stream(&self, cipher: &Cipher, encrypt: bool) -> Result<Sm4Stream> {
        Ok(Sm4Stream(match cipher {
            Cipher::Sm4Gcm { iv, tag, .. } => {
                check(iv, *tag)?;
                let (key, cipher) = (self.clone(), cipher.clone());
                State::Gcm { key, cipher, encrypt, parts: Bytes::default() }
            }
            _ => State::Blocks(Blocks::new(&self.0, cipher, encrypt)?),
        }))
    }
}

/// Encryption or decryption in progress.
pub struct Sm4Stream(State);

enum State {
    Blocks(Blocks),
    Gcm { key: Sm4Key, cipher: Cipher, encrypt: bool, parts: Bytes },
}

impl Sm4Stream {
    pub fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        match &mut self.0 {
            State::Blocks(blocks) => blocks.feed(input),
            State::Gcm { parts, .. } => {
                append(parts, input)?;
                Ok(Bytes::default())
            }
        }
    }

    pub fn finish(self) -> Result<Bytes> {
        match self.0 {
            State::Blocks(blocks) => blocks.end(),
            State::Gcm { key, cipher, encrypt, parts } => key.whole(&cipher, &parts, encrypt),
        }
    }
}

/// ECB, CBC and CTR: whole blocks as they become whole.
struct Blocks {
    mode: Mode,
    encrypt: bool,
    padding: bool,
    /// What does not make a whole block yet; the last block of what is to be unpadded.
    held: Bytes,
    /// Input so far, in bytes.
    fed: u128,
    /// Input that is possible in all, in bytes.
    limit: u128,
}

enum Mode {
    CbcDecrypt(cbc::Decryptor<Sm4>),
    CbcEncrypt(cbc::Encryptor<Sm4>),
    Ctr(Box<ctr::Ctr128BE<Sm4>>),
    EcbDecrypt(ecb::Decryptor<Sm4>),
    EcbEncrypt(ecb::Encryptor<Sm4>),
}

impl Blocks {
    fn new(key: &Sm4, cipher: &Cipher, encrypt: bool) -> Result<Self> {
        let (key, mut limit) = (key.clone(), u128::MAX);
        let mode = match cipher {
            Cipher::Sm4Cbc { iv } | Cipher::Sm4CbcPad { iv } if encrypt => {
                Mode::CbcEncrypt(cbc::Encryptor::inner_iv_init(key, &Array(*iv)))
            }
            Cipher::Sm4Cbc { iv } | Cipher::Sm4CbcPad { iv } => {
                Mode::CbcDecrypt(cbc::Decryptor::inner_iv_init(key, &Array(*iv)))
            }
            Cipher::Sm4Ctr { block, bits } => {
                // Fewer counting bits than 128 differ only where they would overflow, which is refused.
                limit = counter_room(block, *bits)?;
                let core = ctr::CtrCore::inner_iv_init(key, &Array(*block));
                Mode::Ctr(Box::new(ctr::Ctr128BE::from_core(core)))
            }
            Cipher::Sm4Ecb if encrypt => Mode::EcbEncrypt(ecb::Encryptor::inner_init(key)),
            Cipher::Sm4Ecb => Mode::EcbDecrypt(ecb::Decryptor::inner_init(key)),
            _ => return Err(Error::Unsupported("this cipher with an SM4 key".into())),
        };
        let padding = matches!(cipher, Cipher::Sm4CbcPad { .. });
        Ok(Self { mode, encrypt, padding, held: Bytes::default(), fed: 0, limit })
    }

    fn feed(&mut self, input: &[u8]) -> Result<Bytes> {
        self.fed += input.len() as u128;
        if self.fed > self.limit {
            return Err(self.bad_length());
        }
        let mut out = Bytes::with_room(self.held.len().saturating_add(input.len()))?;
        out.extend_from_slice(&self.held);
        out.extend_from_slice(input);
        let keep = match &self.mode {
            Mode::Ctr(_) => 0,
            _ if self.padding && !self.encrypt && !out.is_empty() => (out.len() - 1) % BLOCK + 1,
            _ => out.len() % BLOCK,
        };
        let whole = out.len() - keep;
        self.held = Bytes::copy_of(out.get(whole..).unwrap_or_default())?;
        out.truncate(whole);
        self.work(&mut out)?;
        Ok(out)
    }

    /// Whole blocks, in place.
    fn work(&mut self, data: &mut [u8]) -> Result<()> {
        if let Mode::Ctr(ctr) = &mut self.mode {
            return ctr.try_apply_keystream(data).map_err(|_| self.bad_length());
        }
        let (blocks, _) = Block::<Sm4>::slice_as_chunks_mut(data);
        match &mut self.mode {
            Mode::CbcDecrypt(cbc) => cbc.decrypt_blocks(blocks),
            Mode::CbcEncrypt(cbc) => cbc.encrypt_blocks(blocks),
            Mode::EcbDecrypt(ecb) => ecb.decrypt_blocks(blocks),
            Mode::EcbEncrypt(ecb) => ecb.encrypt_blocks(blocks),
            Mode::Ctr(_) => {}
        }
        Ok(())
    }

    fn end(mut self) -> Result<Bytes> {
        let mut last = std::mem::take(&mut self.held);
        match (self.padding, self.encrypt) {
            (false, _) if last.is_empty() => Ok(last),
            (true, true) if last.len() < BLOCK => {
                let mut block = Zeroizing::new([0; BLOCK]);
                let len = last.len();
                block[..len].copy_from_slice(&last);
                Pkcs7::raw_pad(block.as_mut_slice(), len);
                let mut out = Bytes::new(block.to_vec());
                self.work(&mut out)?;
                Ok(out)
            }
            (true, false) if last.len() == BLOCK => {
                self.work(&mut last)?;
                let len = Pkcs7::raw_unpad(&last).map_err(|_| Error::Ciphertext)?.len();
                last.truncate(len);
                Ok(last)
            }
            _ => Err(self.bad_length()),
        }
    }

    fn bad_length(&self) -> Error {
        if self.encrypt { Error::DataLength } else { Error::CiphertextLength }
    }
}

fn check(iv: &[u8], tag: usize) -> Result<()> {
    check_gcm(iv, tag)?;
    if iv.len() > BLOCK {
        return Err(Error::invalid("iv", "the IV of SM4-GCM has 1 to 16 bytes, best 12"));
    }
    Ok(())
}

/// The crate has the length of the IV in its type.
fn gcm(key: &Sm4, iv: &[u8], aad: &[u8], tag: usize, input: &[u8], encrypt: bool) -> Result<Bytes> {
    check(iv, tag)?;
    macro_rules! by_length {
        ($($len:literal $size:ident),*) => {
            match iv.len() {
                $($len => run(&AesGcm::<Sm4, $size>::from(key.clone()), iv, aad, tag, input, encrypt),)*
                _ => Err(bad_iv()),
            }
        };
    }
    by_length!(
        1 U1, 2 U2, 3 U3, 4 U4, 5 U5, 6 U6, 7 U7, 8 U8, 9 U9, 10 U10, 11 U11, 12 U12, 13 U13, 14 U14, 15 U15, 16 U16
    )
}

fn run(gcm: &dyn Gcm, iv: &[u8], aad: &[u8], tag: usize, input: &[u8], encrypt: bool) -> Result<Bytes> {
    if encrypt { seal(gcm, iv, aad, tag, input) } else { open(gcm, iv, aad, tag, input) }
}

/// GCM for IVs of one length. What is not in here is compiled once, not for each length.
trait Gcm {
    /// Encrypts in place; the whole tag.
    fn apply(&self, iv: &[u8], aad: &[u8], data: &mut [u8]) -> Result<[u8; BLOCK]>;
    /// Checks the whole tag and decrypts in place.
    fn undo(&self, iv: &[u8], aad: &[u8], data: &mut [u8], tag: &[u8; BLOCK]) -> Result<()>;
}

impl<N: ArraySize> Gcm for AesGcm<Sm4, N> {
    fn apply(&self, iv: &[u8], aad: &[u8], data: &mut [u8]) -> Result<[u8; BLOCK]> {
        let iv = Array::try_from(iv).map_err(|_| bad_iv())?;
        let tag = self.encrypt_inout_detached(&iv, aad, data.into()).map_err(|_| Error::DataLength)?;
        Ok(tag.into())
    }

    fn undo(&self, iv: &[u8], aad: &[u8], data: &mut [u8], tag: &[u8; BLOCK]) -> Result<()> {
        let iv = Array::try_from(iv).map_err(|_| bad_iv())?;
        self.decrypt_inout_detached(&iv, aad, data.into(), &Array(*tag)).map_err(|_| Error::Ciphertext)
    }
}

fn bad_iv() -> Error {
    Error::invalid("iv", "its length")
}

fn seal(gcm: &dyn Gcm, iv: &[u8], aad: &[u8], tag: usize, input: &[u8]) -> Result<Bytes> {
    let mut out = Bytes::with_room(input.len().saturating_add(BLOCK))?;
    out.extend_from_slice(input);
    let whole = gcm.apply(iv, aad, &mut out)?;
    // A shorter tag is the start of the whole one (NIST SP 800-38D §7.1).
    out.extend_from_slice(whole.get(..tag).unwrap_or(&whole));
    Ok(out)
}

fn open(gcm: &dyn Gcm, iv: &[u8], aad: &[u8], tag: usize, input: &[u8]) -> Result<Bytes> {
    let (sealed, given) = input.split_at_checked(input.len().wrapping_sub(tag)).ok_or(Error::CiphertextLength)?;
    let mut out = Bytes::copy_of(sealed)?;
    if let Ok(given) = given.try_into() {
        return gcm.undo(iv, aad, &mut out, given).map(|()| out);
    }
    // The crate checks whole tags only. Encrypting twice gives the plaintext, then the tag that it should have.
    gcm.apply(iv, aad, &mut out)?;
    let mut again = Bytes::copy_of(&out)?;
    let whole = gcm.apply(iv, aad, &mut again)?;
    let same = whole.get(..tag).is_some_and(|whole| whole.ct_eq(given).into());
    if same { Ok(out) } else { Err(Error::Ciphertext) }
}

#[cfg(test)]
mod tests;
