//! Unwrapping a key without answering questions about its padding: what is wrong becomes a key that nobody knows, instead
//! of an error that an attacker could ask for thousands of times (Vaudenay 2002; Bardou and others 2012). And what RSA and
//! AES wrapped together.

use subtle::{Choice, ConditionallySelectable, ConstantTimeEq, ConstantTimeGreater, ConstantTimeLess};

use super::cipher::AesKey;
use super::mac::Hmac;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Cipher;
use crate::model::hash::Hash;

/// What CKM_RSA_AES_KEY_WRAP wrapped (PKCS#11 3.2 §6.1.25): RSA's part, `modulus` bytes, in which there is an AES key of
/// `length` bytes, and what that wrapped (RFC 5649). `open` undoes RSA's.
pub fn rsa_aes(
    wrapped: &[u8],
    modulus: usize,
    length: usize,
    open: impl FnOnce(&[u8]) -> Result<Bytes>,
) -> Result<Bytes> {
    let (outside, inside) = wrapped.split_at_checked(modulus).ok_or(Error::CiphertextLength)?;
    let between = open(outside)?;
    if between.len() != length {
        return Err(Error::Ciphertext);
    }
    AesKey::new(&between)?.decrypt(&Cipher::AesKeyWrapPad, inside)
}

/// What PKCS#7 padding (RFC 5652 §6.3) to `block` bytes was put around; all of it, where the padding is none. `padded` has
/// one whole block or more. The time it takes depends on its length only.
pub fn unpad(padded: &Bytes, block: usize) -> Bytes {
    let Some(last) = padded.last().copied() else { return Bytes::default() };
    let mut good = !last.ct_eq(&0) & !last.ct_gt(&(block as u8));
    for (back, byte) in padded.iter().rev().take(block).enumerate() {
        let inside = (back as u8).ct_lt(&last);
        good &= !inside | byte.ct_eq(&last);
    }
    let cut = u8::conditional_select(&0, &last, good);
    let mut out = padded.clone();
    out.truncate(padded.len() - usize::from(cut));
    out
}

/// `found`, which was in `wrapped`, if it has `length` bytes, else so many bytes that depend on both.
pub fn fitted(found: &Bytes, wrapped: &[u8], length: usize) -> Bytes {
    let mut made_up = Bytes::new(vec![0; length]);
    for (counter, part) in (0u32..).zip(made_up.chunks_mut(Hash::Sha256.len())) {
        let mut hmac = Hmac::new(Hash::Sha256, found);
        hmac.update(b"alikms-pkcs11 unwrapped key of another length");
        hmac.update(&counter.to_be_bytes());
        hmac.update(wrapped);
        part.copy_from_slice(&Bytes::new(hmac.finish())[..part.len()]);
    }
    let same = Choice::from(u8::from(found.len() == length));
    for (place, byte) in made_up.iter_mut().zip(found.iter()) {
        place.conditional_assign(byte, same);
    }
    made_up
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paddings() {
        let of = |bytes: &[u8]| unpad(&Bytes::new(bytes.to_vec()), 16).len();
        for pad in 1..=16u8 {
            let mut block = vec![0xaa; 16 - usize::from(pad)];
            block.resize(16, pad);
            assert_eq!(of(&block), 16 - usize::from(pad));
            block[15] ^= 0x40;
            assert_eq!(of(&block), 16);
            block[15] ^= 0x40;
            if pad > 1 {
                block[16 - usize::from(pad)] ^= 1;
                assert_eq!(of(&block), 16, "{pad}");
            }
        }
        assert_eq!((of(&[0; 16]), of(&[17; 16]), of(&[16; 32])), (16, 16, 16));
    }

    #[test]
    fn another_length_is_another_key() {
        let found = Bytes::new(vec![7; 32]);
        assert_eq!(fitted(&found, b"", 32), found);
        let short = fitted(&found, b"", 16);
        assert_eq!((short.len(), fitted(&found, b"", 16) == short), (16, true));
        assert_ne!(short.as_slice(), &found[..16]);
        assert_ne!(fitted(&Bytes::new(vec![8; 32]), b"", 16), short);
        assert_ne!(fitted(&Bytes::default(), b"1", 100), fitted(&Bytes::default(), b"2", 100));
    }
}
