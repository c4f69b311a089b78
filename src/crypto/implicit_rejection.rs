//! PKCS#1 v1.5 unpadding with implicit rejection. One of two places with code of our own near a primitive (DESIGN §7).
//!
//! A block with wrong padding yields a made-up message that depends on the key and the ciphertext only, so that who
//! sends ciphertexts cannot tell it from a real one and Bleichenbacher's attack learns nothing
//! (draft-irtf-cfrg-rsa-guidance §7; the same messages as OpenSSL 3.2 makes).

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};

use super::mac::Hmac;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::hash::Hash;

/// 00 02, eight bytes or more of padding, 00.
const OVERHEAD: usize = 11;
/// How many lengths are drawn; the chance that none of them fits is at most 2^-128.
const LENGTHS: usize = 128;

/// The message inside `block`, which is what RSA made of `ciphertext`; both as long as the modulus, else `CiphertextLength`.
///
/// `secret` belongs to the key: SHA-256 of the private exponent (as long as the modulus) for a key in process, 32 bytes
/// that nobody else knows and that stay the same for a key in a device. No other error; apart from the length of the
/// answer nothing, not even the time it takes, depends on the block.
pub fn unpad(secret: &[u8; 32], ciphertext: &[u8], block: &[u8]) -> Result<Bytes> {
    let size = block.len();
    if ciphertext.len() != size || size < OVERHEAD || size > usize::from(u16::MAX) / 8 {
        return Err(Error::CiphertextLength);
    }
    let key = key_of(secret, ciphertext);
    let made_up = expand(&key, b"message", size);
    let made_up_start = size as u32 - made_up_len(&key, size);

    let (mut good, mut end) = (Choice::from(1), 0u32);
    let mut padding = Choice::from(1);
    for (position, byte) in (0u32..).zip(block) {
        match position {
            0 => good &= byte.ct_eq(&0),
            1 => good &= byte.ct_eq(&2),
            _ => {
                let zero = byte.ct_eq(&0);
                end.conditional_assign(&position, zero & padding);
                padding &= !zero;
            }
        }
    }
    good &= !padding & end.ct_gt(&(OVERHEAD as u32 - 2));

    let start = u32::conditional_select(&made_up_start, &(end + 1), good);
    let mut chosen = made_up;
    for (byte, real) in chosen.iter_mut().zip(block) {
        byte.conditional_assign(real, good);
    }
    Ok(Bytes::new(chosen.get(start as usize..).unwrap_or_default().to_vec()))
}

/// The key that everything made up for this ciphertext derives from.
fn key_of(secret: &[u8; 32], ciphertext: &[u8]) -> Bytes {
    let mut hmac = Hmac::new(Hash::Sha256, secret);
    hmac.update(ciphertext);
    Bytes::new(hmac.finish())
}

/// The last of the drawn lengths that leaves room for the padding.
fn made_up_len(key: &[u8], size: usize) -> u32 {
    let limit = (size - OVERHEAD + 1) as u32;
    // All ones up to the highest bit of the limit, so that a fair share of what is drawn fits.
    let mask = u32::MAX >> limit.leading_zeros();
    let mut len = 0u32;
    for drawn in expand(key, b"length", 2 * LENGTHS).chunks_exact(2) {
        let candidate = drawn.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)) & mask;
        len.conditional_assign(&candidate, candidate.ct_lt(&limit));
    }
    len
}

/// The draft's pseudo-random function: HMAC-SHA-256 of a counter, the label and the length in bits.
fn expand(key: &[u8], label: &[u8], len: usize) -> Bytes {
    let keyed = Hmac::new(Hash::Sha256, key);
    let mut out = Bytes::new(vec![0; len]);
    for (counter, part) in (0u16..).zip(out.chunks_mut(Hash::Sha256.len())) {
        let mut hmac = keyed.clone();
        hmac.update(&counter.to_be_bytes());
        hmac.update(label);
        hmac.update(&((len * 8) as u16).to_be_bytes());
        part.copy_from_slice(&Bytes::new(hmac.finish())[..part.len()]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_an_error_and_always_the_same() {
        let secret = [7; 32];
        let mut block = vec![0xff; 256];
        let made_up = unpad(&secret, &[1; 256], &block).unwrap();
        assert_eq!(made_up, unpad(&secret, &[1; 256], &block).unwrap());
        assert_ne!(made_up, unpad(&secret, &[2; 256], &block).unwrap());
        assert_ne!(made_up, unpad(&[8; 32], &[1; 256], &block).unwrap());
        block[..2].copy_from_slice(&[0, 2]);
        assert_eq!(made_up, unpad(&secret, &[1; 256], &block).unwrap(), "no end of padding");
        block[9] = 0;
        assert_eq!(made_up, unpad(&secret, &[1; 256], &block).unwrap(), "seven bytes of padding");
        (block[9], block[10]) = (1, 0);
        assert_eq!(unpad(&secret, &[1; 256], &block).unwrap().as_slice(), &block[11..], "eight bytes of padding");
        (block[10], block[255]) = (1, 0);
        assert_eq!(unpad(&secret, &[1; 256], &block).unwrap().len(), 0, "an empty message");
        (block[254], block[255]) = (0, 0);
        assert_eq!(unpad(&secret, &[1; 256], &block).unwrap().as_slice(), [0], "the first zero ends the padding");
        block[0] = 1;
        assert_eq!(made_up, unpad(&secret, &[1; 256], &block).unwrap(), "a wrong first byte");
        assert!(unpad(&secret, &[1; 255], &block).is_err());
    }
}
