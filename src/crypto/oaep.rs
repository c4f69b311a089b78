//! OAEP unpadding of a block that was decrypted raw, in process or by a device (RFC 8017 §7.1.2 step 3), in constant time.
//!
//! aws-lc has such a function but offers it only behind its EVP interface, which brings every kind of key that aws-lc
//! knows into the library, a twentieth of its size (docs/decisions.md). In tests aws-lc is the judge of this file.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use super::digest::{self, Hasher};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::hash::Hash;

/// The message inside `block`, which is as long as the modulus. `Ciphertext` for every fault alike.
pub fn unpad_oaep(hash: Hash, mgf: Hash, label: &[u8], block: &[u8]) -> Result<Bytes> {
    let len = hash.len();
    // Lengths are no secret: block and hash are the caller's.
    let (Some(lead), true) = (block.first(), block.len() >= 2 * len + 2) else { return Err(Error::Ciphertext) };
    let (masked_seed, masked_data) = block.split_at(1 + len);
    let seed = unmask(mgf, masked_data, masked_seed.get(1..).unwrap_or_default());
    let data = unmask(mgf, &seed, masked_data);
    let (label_hash, rest) = data.split_at(len);

    let mut good = lead.ct_eq(&0) & label_hash.ct_eq(&digest::hash(hash, label));
    // Behind the label's hash: zeros, a one, the message.
    let mut seen = Choice::from(0);
    let mut start = 0u32;
    for (position, byte) in (1u32..).zip(rest) {
        let one = byte.ct_eq(&1);
        start.conditional_assign(&position, one & !seen);
        good &= seen | one | byte.ct_eq(&0);
        seen |= one;
    }
    // From here on it is known whether the block was good, and if so where the message starts.
    match rest.get(start as usize..) {
        Some(message) if bool::from(good & seen) => Ok(Bytes::new(message.to_vec())),
        _ => Err(Error::Ciphertext),
    }
}

/// `masked` with MGF1 of `seed` (RFC 8017 §B.2.1) taken off.
fn unmask(mgf: Hash, seed: &[u8], masked: &[u8]) -> Bytes {
    let mut out = Bytes::new(masked.to_vec());
    let mut hasher = Hasher::new(mgf);
    hasher.update(seed);
    for (counter, part) in (0u32..).zip(out.chunks_mut(mgf.len())) {
        let mut hasher = hasher.clone();
        hasher.update(&counter.to_be_bytes());
        let mask = Bytes::new(hasher.finish());
        part.iter_mut().zip(mask.iter()).for_each(|(byte, mask)| *byte ^= mask);
    }
    out
}
