//! Helpers around aws-lc's C types: owned pointers, its yes-or-no answers, its table of hash functions.

use std::ffi::c_int;
use std::ptr::NonNull;

use aws_lc_sys as lc;

use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::hash::Hash;

/// A C type that has a function of its own to free it.
pub(super) trait Free {
    /// # Safety
    /// `pointer` was made by aws-lc for this type and is not used afterwards.
    unsafe fn free(pointer: *mut Self);
}

macro_rules! freed {
    ($($name:ident by $free:ident;)*) => {$(
        impl Free for lc::$name {
            unsafe fn free(pointer: *mut Self) {
                // SAFETY: the caller's promise, see the trait. aws-lc wipes memory as it frees it.
                unsafe { lc::$free(pointer) }
            }
        }
    )*};
}

freed! {
    BIGNUM by BN_free;
    BN_CTX by BN_CTX_free;
    ECDSA_SIG by ECDSA_SIG_free;
    EC_KEY by EC_KEY_free;
    EC_POINT by EC_POINT_free;
    EVP_AEAD_CTX by EVP_AEAD_CTX_free;
    EVP_CIPHER_CTX by EVP_CIPHER_CTX_free;
    EVP_MD_CTX by EVP_MD_CTX_free;
    EVP_PKEY by EVP_PKEY_free;
    EVP_PKEY_CTX by EVP_PKEY_CTX_free;
    HMAC_CTX by HMAC_CTX_free;
    RSA by RSA_free;
}

/// A C object that is ours to free.
pub(super) struct Owned<T: Free>(NonNull<T>);

// SAFETY: aws-lc's objects are plain memory without ties to the thread that made them. `Sync` is promised by each
// type that holds one, with its reason.
unsafe impl<T: Free> Send for Owned<T> {}

impl<T: Free> Owned<T> {
    /// Takes over what `call` answered; null is an error.
    ///
    /// # Safety
    /// `pointer` is null, or valid, made for this type and owned by nobody else (or by a reference count).
    pub(super) unsafe fn new(pointer: *mut T, call: &'static str) -> Result<Self> {
        NonNull::new(pointer).map(Self).ok_or_else(|| failed(call))
    }

    pub(super) fn as_ptr(&self) -> *mut T {
        self.0.as_ptr()
    }

    /// Gives it away to a C function that takes ownership.
    pub(super) fn into_ptr(self) -> *mut T {
        let pointer = self.as_ptr();
        std::mem::forget(self);
        pointer
    }
}

impl<T: Free> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that the object is ours; nobody can use it after this.
        unsafe { T::free(self.as_ptr()) }
    }
}

/// An answer other than 1 becomes an internal error that names the call.
pub(super) fn check(answer: c_int, call: &'static str) -> Result<()> {
    if answer == 1 { Ok(()) } else { Err(failed(call)) }
}

/// An answer other than 1 becomes the caller's error.
pub(super) fn accept(answer: c_int, error: impl FnOnce() -> Error) -> Result<()> {
    if answer == 1 { Ok(()) } else { Err(refused(error())) }
}

/// For calls that fail only when memory is exhausted, where Rust itself would give up; the guard at the door catches it.
pub(super) fn must<T>(result: Result<T>) -> T {
    result.unwrap_or_else(|error| panic!("{error}"))
}

/// What went wrong in `call`, by aws-lc's number (library, reason: `err.h`; its words would be 20 KB of every process);
/// empties its error queue.
#[cold]
pub(super) fn failed(call: &'static str) -> Error {
    // SAFETY: reads a number from this thread's queue.
    let number = unsafe { lc::ERR_peek_error() };
    refused(Error::Internal(format!("{call}: aws-lc's error {number:#010x}")))
}

/// Empties aws-lc's error queue and hands on `error`.
#[cold]
pub(super) fn refused(error: Error) -> Error {
    // SAFETY: empties this thread's queue.
    unsafe { lc::ERR_clear_error() };
    error
}

/// Up to `room` bytes that `write` fills through a pointer; `write` answers how many it wrote.
///
/// # Safety
/// `write` initialises as many bytes as it answers, never more than `room`.
pub(super) unsafe fn filled(room: usize, write: impl FnOnce(*mut u8) -> Result<usize>) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(room);
    let written = write(out.as_mut_ptr())?;
    // SAFETY: the caller's promise.
    unsafe { out.set_len(written.min(room)) };
    Ok(out)
}

/// As [`filled`], for what is secret: also what was written before a failure is wiped.
///
/// # Safety
/// As for [`filled`].
pub(super) unsafe fn filled_secret(room: usize, write: impl FnOnce(*mut u8) -> Result<usize>) -> Result<Bytes> {
    let mut out = Bytes::with_room(room)?;
    let written = write(out.as_mut_ptr())?;
    // SAFETY: the caller's promise.
    unsafe { out.set_len(written.min(room)) };
    Ok(out)
}

/// aws-lc's description of a hash function; it has no SM3.
pub(super) fn md(hash: Hash) -> Result<*const lc::EVP_MD> {
    // SAFETY: each answers a pointer to a static table.
    Ok(unsafe {
        match hash {
            Hash::Sha1 => lc::EVP_sha1(),
            Hash::Sha224 => lc::EVP_sha224(),
            Hash::Sha256 => lc::EVP_sha256(),
            Hash::Sha384 => lc::EVP_sha384(),
            Hash::Sha3_224 => lc::EVP_sha3_224(),
            Hash::Sha3_256 => lc::EVP_sha3_256(),
            Hash::Sha3_384 => lc::EVP_sha3_384(),
            Hash::Sha3_512 => lc::EVP_sha3_512(),
            Hash::Sha512 => lc::EVP_sha512(),
            Hash::Sha512_224 => lc::EVP_sha512_224(),
            Hash::Sha512_256 => lc::EVP_sha512_256(),
            Hash::Sm3 => return Err(Error::Unsupported("SM3 with this scheme".into())),
        }
    })
}
