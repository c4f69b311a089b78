//! HMAC and AES-CMAC, on aws-lc. Clone copies the state: a keyed MAC can be kept and cloned for each message.

use aws_lc_rs::cmac;
use aws_lc_sys as lc;

use super::ffi::{Owned, check, filled, md, must};
use crate::error::{Error, Result};
use crate::model::hash::Hash;

/// An HMAC in progress (RFC 2104), with any hash.
pub struct Hmac {
    context: Owned<lc::HMAC_CTX>,
    hash: Hash,
}

impl Hmac {
    /// A key of any length.
    pub fn new(hash: Hash, key: &[u8]) -> Self {
        let hmac = Self::empty(hash);
        let (context, engine) = (hmac.context.as_ptr(), std::ptr::null_mut());
        // SAFETY: the context is valid and ours; the key is read within its length, and its pointer is never null,
        // which would mean "keep the former key".
        let answer = unsafe { lc::HMAC_Init_ex(context, key.as_ptr().cast(), key.len(), md(hash), engine) };
        must(check(answer, "HMAC_Init_ex"));
        hmac
    }

    pub fn update(&mut self, part: &[u8]) {
        // SAFETY: the context is initialised and ours alone; `part` is read within its length.
        let answer = unsafe { lc::HMAC_Update(self.context.as_ptr(), part.as_ptr(), part.len()) };
        must(check(answer, "HMAC_Update"));
    }

    /// The whole tag, `hash.len()` bytes.
    pub fn finish(self) -> Vec<u8> {
        let len = self.hash.len();
        // SAFETY: the context is initialised; exactly `len` bytes, the size of this hash, are written.
        must(unsafe {
            filled(len, |out| {
                let answer = lc::HMAC_Final(self.context.as_ptr(), out, std::ptr::null_mut());
                check(answer, "HMAC_Final").map(|()| len)
            })
        })
    }

    fn empty(hash: Hash) -> Self {
        // SAFETY: makes a new object.
        Self { context: must(unsafe { Owned::new(lc::HMAC_CTX_new(), "HMAC_CTX_new") }), hash }
    }
}

impl Clone for Hmac {
    fn clone(&self) -> Self {
        let copy = Self::empty(self.hash);
        // SAFETY: both contexts are valid; the source is only read.
        let answer = unsafe { lc::HMAC_CTX_copy_ex(copy.context.as_ptr(), self.context.as_ptr()) };
        must(check(answer, "HMAC_CTX_copy_ex"));
        copy
    }
}

/// An AES-CMAC in progress (NIST SP 800-38B).
#[derive(Clone)]
pub struct Cmac(cmac::Context);

impl Cmac {
    /// An AES key of 16, 24 or 32 bytes.
    pub fn new(key: &[u8]) -> Result<Self> {
        let algorithm = match key.len() {
            16 => cmac::AES_128,
            24 => cmac::AES_192,
            32 => cmac::AES_256,
            _ => return Err(super::cipher::bad_key()),
        };
        let key = cmac::Key::new(algorithm, key).map_err(|_| Error::Internal("CMAC_Init".into()))?;
        Ok(Self(cmac::Context::with_key(&key)))
    }

    pub fn update(&mut self, part: &[u8]) {
        must(self.0.update(part).map_err(|_| Error::Internal("CMAC_Update".into())));
    }

    /// The whole tag, 16 bytes.
    pub fn finish(self) -> Vec<u8> {
        must(self.0.sign().map_err(|_| Error::Internal("CMAC_Final".into()))).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_of_every_hash_in_parts() {
        // RFC 4231 test case 2; RFC 2202 for SHA-1; NIST's examples (csrc, HMAC-SHA3) have other keys, so SHA-3 is
        // checked against the definition.
        let mac = |hash: Hash, key: &[u8], parts: &[&[u8]]| {
            let keyed = Hmac::new(hash, key);
            let mut hmac = keyed.clone();
            parts.iter().for_each(|part| hmac.update(part));
            hmac.finish()
        };
        let message: [&[u8]; 3] = [b"what do ya want ", b"", b"for nothing?"];
        assert_eq!(mac(Hash::Sha256, b"Jefe", &message)[..6], [0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60]);
        assert_eq!(mac(Hash::Sha512, b"Jefe", &message)[..6], [0x16, 0x4b, 0x7a, 0x7b, 0xfc, 0xf8]);
        assert_eq!(mac(Hash::Sha1, b"Jefe", &message)[..6], [0xef, 0xfc, 0xdf, 0x6a, 0xe5, 0xeb]);
        for (hash, block) in [(Hash::Sha3_224, 144), (Hash::Sha3_256, 136), (Hash::Sha3_384, 104), (Hash::Sha3_512, 72)]
        {
            let pad = |byte: u8| (0..block).map(|i| byte ^ b"Jefe".get(i).copied().unwrap_or(0)).collect::<Vec<u8>>();
            let inner = super::super::digest::hash(hash, &[pad(0x36), message.concat()].concat());
            let outer = super::super::digest::hash(hash, &[pad(0x5c), inner].concat());
            assert_eq!(mac(hash, b"Jefe", &message), outer, "{hash:?}");
        }
    }

    #[test]
    fn cmac_of_sp_800_38b() {
        // RFC 4493 §4, examples 1 and 2.
        let key = [0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c];
        let message = [0x6b, 0xc1, 0xbe, 0xe2, 0x2e, 0x40, 0x9f, 0x96, 0xe9, 0x3d, 0x7e, 0x11, 0x73, 0x93, 0x17, 0x2a];
        let empty = Cmac::new(&key).unwrap();
        let mut one = empty.clone();
        one.update(&message[..5]);
        one.update(&message[5..]);
        assert_eq!(empty.finish()[..4], [0xbb, 0x1d, 0x69, 0x29]);
        assert_eq!(one.finish()[..4], [0x07, 0x0a, 0x16, 0xb4]);
        assert!(Cmac::new(&[0; 20]).is_err());
    }
}
