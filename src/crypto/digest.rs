//! Hash functions, on aws-lc; SM3 on RustCrypto's `sm3`.

use aws_lc_sys as lc;
use sm3::{Digest, Sm3};

use super::ffi::{Owned, check, filled, md, must};
use crate::model::hash::Hash;

/// A hash in progress; Clone copies its state (C_GetOperationState will need it).
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Evp(Evp),
    /// Boxed: large, and a session has room for several hashes.
    Sm3(Box<Sm3>),
}

impl Hasher {
    pub fn new(hash: Hash) -> Self {
        Self(if hash == Hash::Sm3 { State::Sm3(Box::default()) } else { State::Evp(Evp::new(hash)) })
    }

    pub fn update(&mut self, part: &[u8]) {
        match &mut self.0 {
            State::Evp(evp) => evp.update(part),
            State::Sm3(sm3) => sm3.update(part),
        }
    }

    /// The digest, `hash.len()` bytes.
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            State::Evp(evp) => evp.finish(),
            State::Sm3(sm3) => sm3.finalize().to_vec(),
        }
    }
}

/// A hash of aws-lc in progress.
struct Evp {
    context: Owned<lc::EVP_MD_CTX>,
    hash: Hash,
}

impl Evp {
    fn new(hash: Hash) -> Self {
        let evp = Self::empty(hash);
        // SAFETY: the context is valid and ours, the description static.
        let answer = unsafe { lc::EVP_DigestInit_ex(evp.context.as_ptr(), must(md(hash)), std::ptr::null_mut()) };
        must(check(answer, "EVP_DigestInit_ex"));
        evp
    }

    fn update(&mut self, part: &[u8]) {
        // SAFETY: the context is initialised and ours alone; `part` is read within its length.
        let answer = unsafe { lc::EVP_DigestUpdate(self.context.as_ptr(), part.as_ptr().cast(), part.len()) };
        must(check(answer, "EVP_DigestUpdate"));
    }

    fn finish(self) -> Vec<u8> {
        let len = self.hash.len();
        // SAFETY: the context is initialised; exactly `len` bytes, the size of this hash, are written.
        must(unsafe {
            filled(len, |out| {
                let answer = lc::EVP_DigestFinal_ex(self.context.as_ptr(), out, std::ptr::null_mut());
                check(answer, "EVP_DigestFinal_ex").map(|()| len)
            })
        })
    }

    fn empty(hash: Hash) -> Self {
        // SAFETY: makes a new object.
        Self { context: must(unsafe { Owned::new(lc::EVP_MD_CTX_new(), "EVP_MD_CTX_new") }), hash }
    }
}

impl Clone for Evp {
    fn clone(&self) -> Self {
        let copy = Self::empty(self.hash);
        // SAFETY: both contexts are valid; the source is only read.
        let answer = unsafe { lc::EVP_MD_CTX_copy_ex(copy.context.as_ptr(), self.context.as_ptr()) };
        must(check(answer, "EVP_MD_CTX_copy_ex"));
        copy
    }
}

/// The digest of `data`, `hash.len()` bytes.
pub fn hash(hash: Hash, data: &[u8]) -> Vec<u8> {
    if hash == Hash::Sm3 {
        return Sm3::digest(data).to_vec();
    }
    let len = hash.len();
    // SAFETY: `data` is read within its length; exactly `len` bytes, the size of this hash, are written.
    must(unsafe {
        filled(len, |out| {
            let (none, engine) = (std::ptr::null_mut(), std::ptr::null_mut());
            let answer = lc::EVP_Digest(data.as_ptr().cast(), data.len(), out, none, md(hash)?, engine);
            check(answer, "EVP_Digest").map(|()| len)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digests_whole_and_in_parts() {
        // FIPS 180-4, FIPS 202 and GB/T 32905, message "abc": first four bytes.
        let known: [(Hash, [u8; 4]); 12] = [
            (Hash::Sha1, [0xa9, 0x99, 0x3e, 0x36]),
            (Hash::Sha224, [0x23, 0x09, 0x7d, 0x22]),
            (Hash::Sha256, [0xba, 0x78, 0x16, 0xbf]),
            (Hash::Sha384, [0xcb, 0x00, 0x75, 0x3f]),
            (Hash::Sha3_224, [0xe6, 0x42, 0x82, 0x4c]),
            (Hash::Sha3_256, [0x3a, 0x98, 0x5d, 0xa7]),
            (Hash::Sha3_384, [0xec, 0x01, 0x49, 0x82]),
            (Hash::Sha3_512, [0xb7, 0x51, 0x85, 0x0b]),
            (Hash::Sha512, [0xdd, 0xaf, 0x35, 0xa1]),
            (Hash::Sha512_224, [0x46, 0x34, 0x27, 0x0f]),
            (Hash::Sha512_256, [0x53, 0x04, 0x8e, 0x26]),
            (Hash::Sm3, [0x66, 0xc7, 0xf0, 0xf4]),
        ];
        for (kind, start) in known {
            let whole = hash(kind, b"abc");
            assert_eq!((whole.len(), &whole[..4]), (kind.len(), &start[..]), "{kind:?}");
            let mut parts = Hasher::new(kind);
            parts.update(b"a");
            let mut copy = parts.clone();
            parts.update(b"x");
            copy.update(b"bc");
            assert_eq!(copy.finish(), whole);
            assert_ne!(parts.finish(), whole);
        }
    }
}
