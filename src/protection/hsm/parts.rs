//! AES modes in parts, without a device session of their own: each part is a whole job that goes on where the last one
//! ended. Nothing is held in the device between two calls, so nothing is lost with a session, over a fork or a reconnect.

use std::sync::Arc;

use crate::crypto;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::protection::{Key, Stream, stream};

const BLOCK: usize = 16;

/// A stream of `job`: part by part where the mode chains, else collected (GCM's tag and key wrap need the whole input).
pub fn start(key: Arc<dyn Key>, job: Job) -> Box<dyn Stream> {
    match job {
        Job::Encrypt(cipher) if chains(&cipher) => Box::new(Parts::new(key, cipher, true)),
        Job::Decrypt(cipher) if chains(&cipher) => Box::new(Parts::new(key, cipher, false)),
        job => stream::collect(key, job),
    }
}

fn chains(cipher: &Cipher) -> bool {
    matches!(cipher, Cipher::AesCbc { .. } | Cipher::AesCbcPad { .. } | Cipher::AesCtr { .. } | Cipher::AesEcb)
}

struct Parts {
    key: Arc<dyn Key>,
    /// With the IV or counter block of what comes next.
    cipher: Cipher,
    encrypt: bool,
    /// Less than a block; with padding to be taken off up to a whole one.
    held: Bytes,
    /// CTR: how many bytes of the counter block are used up.
    used: usize,
    /// CTR: how many counter blocks there are before the counter would overflow (PKCS#11 3.2 §6.13.6: refuse).
    left: u128,
}

impl Parts {
    fn new(key: Arc<dyn Key>, cipher: Cipher, encrypt: bool) -> Self {
        let left = match &cipher {
            Cipher::AesCtr { block, bits } => {
                let low = counting(*bits);
                (low - (u128::from_be_bytes(*block) & low)).saturating_add(1)
            }
            _ => 0,
        };
        Self { key, cipher, encrypt, held: Bytes::default(), used: 0, left }
    }

    fn work(&self, cipher: Cipher, input: &[u8]) -> Result<Bytes> {
        self.key.once(&if self.encrypt { Job::Encrypt(cipher) } else { Job::Decrypt(cipher) }, input)
    }

    fn wrong_length(&self) -> Error {
        if self.encrypt { Error::DataLength } else { Error::CiphertextLength }
    }

    /// A block that is used in part is asked for again from its beginning, with zeros before the input.
    fn count(&mut self, block: [u8; BLOCK], bits: usize, input: &[u8]) -> Result<Bytes> {
        if input.is_empty() {
            return Ok(Bytes::default());
        }
        let mut whole = Bytes::new(vec![0; self.used]);
        crypto::append(&mut whole, input)?;
        if whole.len().div_ceil(BLOCK) as u128 > self.left {
            return Err(self.wrong_length());
        }
        let mut out = self.work(self.cipher.clone(), &whole)?;
        let before = self.used.min(out.len());
        out.drain(..before);

        let blocks = (whole.len() / BLOCK) as u128;
        let (low, value) = (counting(bits), u128::from_be_bytes(block));
        let next = (value & !low) | (value.wrapping_add(blocks) & low);
        self.cipher = Cipher::AesCtr { block: next.to_be_bytes(), bits };
        self.left -= blocks;
        self.used = whole.len() % BLOCK;
        Ok(out)
    }
}

impl Stream for Parts {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        let (iv, padded) = match self.cipher {
            Cipher::AesCtr { block, bits } => return self.count(block, bits, input),
            Cipher::AesCbc { iv } => (Some(iv), false),
            Cipher::AesCbcPad { iv } => (Some(iv), true),
            _ => (None, false),
        };
        crypto::append(&mut self.held, input)?;
        // The last block of a padded ciphertext is for the end.
        let kept = usize::from(padded && !self.encrypt);
        let ready = self.held.len().saturating_sub(kept) / BLOCK * BLOCK;
        let rest = Bytes::copy_of(self.held.get(ready..).unwrap_or_default())?;
        let mut part = std::mem::replace(&mut self.held, rest);
        part.truncate(ready);
        if part.is_empty() {
            return Ok(Bytes::default());
        }
        let Some(iv) = iv else { return self.work(Cipher::AesEcb, &part) };
        let out = self.work(Cipher::AesCbc { iv }, &part)?;
        let last = if self.encrypt { out.last_chunk() } else { part.last_chunk() };
        let iv = *last.ok_or_else(|| Error::Internal("CBC without a last block".to_owned()))?;
        self.cipher = if padded { Cipher::AesCbcPad { iv } } else { Cipher::AesCbc { iv } };
        Ok(out)
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        match self.cipher {
            Cipher::AesCbcPad { .. } => self.work(self.cipher.clone(), &self.held),
            _ if self.held.is_empty() => Ok(Bytes::default()),
            _ => Err(self.wrong_length()),
        }
    }
}

/// The bits that count, as a mask.
fn counting(bits: usize) -> u128 {
    match bits {
        0..128 => (1 << bits) - 1,
        _ => u128::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::cipher::AesKey;

    struct Fake(AesKey);

    impl Key for Fake {
        fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
            match job {
                Job::Encrypt(cipher) => self.0.encrypt(cipher, input),
                Job::Decrypt(cipher) => self.0.decrypt(cipher, input),
                _ => unreachable!(),
            }
        }

        fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
            Ok(super::start(self, job))
        }
    }

    fn in_parts(key: &Arc<Fake>, job: Job, input: &[u8], size: usize) -> Result<Vec<u8>> {
        let mut stream = key.clone().start(job)?;
        let mut out = Vec::new();
        for part in input.chunks(size) {
            out.extend_from_slice(&stream.update(part)?);
        }
        out.extend_from_slice(&stream.finish()?);
        Ok(out)
    }

    #[test]
    fn parts_of_any_size_make_the_whole() {
        let key = Arc::new(Fake(AesKey::new(&[7; 32]).unwrap()));
        let iv = [0xfe; 16];
        let modes =
            [Cipher::AesCbcPad { iv }, Cipher::AesCtr { block: iv, bits: 64 }, Cipher::AesCbc { iv }, Cipher::AesEcb];
        for (index, cipher) in modes.into_iter().enumerate() {
            for len in [0, 1, 15, 16, 17, 32, 100, 160] {
                let plain: Vec<u8> = (0..len as u8).collect();
                let whole = key.once(&Job::Encrypt(cipher.clone()), &plain);
                for size in [1, 3, 15, 16, 17, 33, 200] {
                    let parts = in_parts(&key, Job::Encrypt(cipher.clone()), &plain, size);
                    let Ok(whole) = &whole else {
                        assert!(index > 1 && parts.is_err(), "{cipher:?} {len} {size}");
                        continue;
                    };
                    assert_eq!(parts.unwrap(), **whole, "{cipher:?} {len} {size}");
                    let back = in_parts(&key, Job::Decrypt(cipher.clone()), whole, size);
                    assert_eq!(back.unwrap(), plain, "{cipher:?} {len} {size}");
                }
            }
        }
    }

    #[test]
    fn a_counter_never_overflows() {
        let key = Arc::new(Fake(AesKey::new(&[7; 32]).unwrap()));
        let mut block = [0; 16];
        block[15] = 0xfe;
        let job = || Job::Encrypt(Cipher::AesCtr { block, bits: 8 });
        assert_eq!(in_parts(&key, job(), &[0; 32], 5).unwrap().len(), 32);
        assert!(in_parts(&key, job(), &[0; 33], 5).is_err());
    }
}
