//! AES key wrap, on aws-lc: RFC 3394 (NIST SP 800-38F KW) and RFC 5649 (KWP).

use std::ffi::c_int;
use std::ptr::null;

use aws_lc_sys as lc;

use super::cipher::bad_key;
use super::ffi::{accept, check, filled_secret, refused};
use crate::error::{Error, Result};
use crate::model::Bytes;

/// An expanded AES key, wiped when dropped.
struct Schedule(lc::AES_KEY);

impl Schedule {
    fn new(key: &[u8], encrypt: bool) -> Result<Self> {
        let bits = match key.len() {
            16 | 24 | 32 => (key.len() * 8) as u32,
            _ => return Err(bad_key()),
        };
        // SAFETY: AES_KEY is plain integers, for which zero is a value.
        let mut schedule = Self(unsafe { std::mem::zeroed() });
        let expand = if encrypt { lc::AES_set_encrypt_key } else { lc::AES_set_decrypt_key };
        // SAFETY: the key has `bits` bits, the schedule is ours. These two answer 0 for success.
        let answer = unsafe { expand(key.as_ptr(), bits, &raw mut schedule.0) };
        check(c_int::from(answer == 0), "AES_set_key").map(|()| schedule)
    }
}

impl Drop for Schedule {
    fn drop(&mut self) {
        // SAFETY: the whole of our own value is overwritten.
        unsafe { lc::OPENSSL_cleanse((&raw mut self.0).cast(), size_of::<lc::AES_KEY>()) }
    }
}

/// RFC 3394, by default with its own IV; `DataLength` unless the input is 16 bytes or more, in whole 8 bytes.
pub(super) fn wrap(key: &[u8], iv: Option<&[u8; 8]>, input: &[u8]) -> Result<Bytes> {
    if input.len() < 16 || !input.len().is_multiple_of(8) {
        return Err(Error::DataLength);
    }
    let schedule = Schedule::new(key, true)?;
    let iv = iv.map_or(null(), |iv| iv.as_ptr());
    // SAFETY: the output has room for the input and 8 bytes, which is what is written; the IV is null or 8 bytes.
    unsafe {
        filled_secret(input.len() + 8, |out| {
            let answer = lc::AES_wrap_key(&raw const schedule.0, iv, out, input.as_ptr(), input.len());
            usize::try_from(answer).map_err(|_| refused(Error::DataLength))
        })
    }
}

/// The reverse; `Ciphertext` if it was not made with this key and IV.
pub(super) fn unwrap(key: &[u8], iv: Option<&[u8; 8]>, input: &[u8]) -> Result<Bytes> {
    if input.len() < 24 || !input.len().is_multiple_of(8) {
        return Err(Error::CiphertextLength);
    }
    let schedule = Schedule::new(key, false)?;
    let iv = iv.map_or(null(), |iv| iv.as_ptr());
    // SAFETY: the output has room for the input without its first 8 bytes, which is what is written; the IV as above.
    unsafe {
        filled_secret(input.len() - 8, |out| {
            let answer = lc::AES_unwrap_key(&raw const schedule.0, iv, out, input.as_ptr(), input.len());
            usize::try_from(answer).map_err(|_| refused(Error::Ciphertext))
        })
    }
}

/// RFC 5649: any length from 1 byte.
pub(super) fn wrap_padded(key: &[u8], input: &[u8]) -> Result<Bytes> {
    let room = input.len().checked_next_multiple_of(8).and_then(|len| len.checked_add(8)).ok_or(Error::DataLength)?;
    let schedule = Schedule::new(key, true)?;
    let mut written = 0;
    // SAFETY: at most `room` bytes are written, as many as `written` says.
    unsafe {
        filled_secret(room, |out| {
            let (key, length) = (&raw const schedule.0, &raw mut written);
            let answer = lc::AES_wrap_key_padded(key, out, length, room, input.as_ptr(), input.len());
            accept(answer, || Error::DataLength).map(|()| written)
        })
    }
}

/// The reverse; `Ciphertext` if it was not made with this key.
pub(super) fn unwrap_padded(key: &[u8], input: &[u8]) -> Result<Bytes> {
    if input.len() < 16 || !input.len().is_multiple_of(8) {
        return Err(Error::CiphertextLength);
    }
    let schedule = Schedule::new(key, false)?;
    let (room, mut written) = (input.len(), 0);
    // SAFETY: at most `room` bytes are written, of which the first `written` are the result.
    unsafe {
        filled_secret(room, |out| {
            let (key, length) = (&raw const schedule.0, &raw mut written);
            let answer = lc::AES_unwrap_key_padded(key, out, length, room, input.as_ptr(), input.len());
            accept(answer, || Error::Ciphertext).map(|()| written)
        })
    }
}
