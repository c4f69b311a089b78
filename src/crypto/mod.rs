//! Primitives: safe and small wrappers over aws-lc, libsecp256k1 and RustCrypto's SM crates. No rules of the KMS or of PKCS#11 in here.
//!
//! Everything that calls C stands in `crypto/` with a SAFETY line; keys are prepared once and then used from many threads.

mod bignum;
pub mod cipher;
mod curve25519;
pub mod digest;
pub mod ec;
mod evp;
mod ffi;
mod gate;
pub mod hkdf;
pub mod implicit_rejection;
mod key_wrap;
pub mod mac;
mod nist;
mod oaep;
pub mod random;
pub mod rsa;
mod rsa_public;
mod secp256k1;
pub mod sm2;
pub mod sm4;
pub mod unwrapping;
pub mod x963;

use crate::error::Result;
use crate::model::Bytes;

/// Adds `part` to `buffer`. Grows by moving to a larger allocation and wiping the old one, which `Vec` would not do.
/// `HostMemory` if there is none: `buffer` is as it was.
pub fn append(buffer: &mut Bytes, part: &[u8]) -> Result<()> {
    let needed = buffer.len().saturating_add(part.len());
    if needed > buffer.capacity() {
        let twice = Bytes::with_room(needed.max(buffer.capacity().saturating_mul(2)));
        let mut larger = twice.or_else(|_| Bytes::with_room(needed))?;
        larger.extend_from_slice(buffer);
        *buffer = larger;
    }
    buffer.extend_from_slice(part);
    Ok(())
}

/// A big-endian number in exactly `len` bytes: zeros are added or taken away in front. Nothing if it does not fit.
fn padded(number: &[u8], len: usize) -> Option<Bytes> {
    let (extra, number) = number.split_at(number.len().saturating_sub(len));
    if extra.iter().fold(0, |all, byte| all | byte) != 0 {
        return None;
    }
    let mut out = Bytes::new(vec![0; len]);
    let start = len - number.len();
    out[start..].copy_from_slice(number);
    Some(out)
}

/// Bytes from hexadecimal digits, for vectors in tests.
#[cfg(test)]
fn hex(digits: &str) -> Vec<u8> {
    let digits: Vec<u32> = digits.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
}
