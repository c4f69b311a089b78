//! HKDF (RFC 5869), on aws-lc.

use aws_lc_sys as lc;

use super::ffi::{check, filled_secret, md};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::Hkdf;

/// What `secret` becomes. `InvalidParameter` for more than 255 times the hash's length, or for nothing to do.
pub fn derive(secret: &[u8], hkdf: &Hkdf) -> Result<Bytes> {
    let (hash, description) = (hkdf.hash, md(hkdf.hash)?);
    let extracted = match &hkdf.extract {
        None => None,
        Some(salt) => {
            let mut written = 0;
            // SAFETY: secret and salt are read within their lengths; the hash's length is what is written, `written`
            // says so.
            Some(unsafe {
                filled_secret(hash.len(), |out| {
                    let (length, salt_start) = (&raw mut written, salt.as_ptr());
                    let (start, len) = (secret.as_ptr(), secret.len());
                    let answer = lc::HKDF_extract(out, length, description, start, len, salt_start, salt.len());
                    check(answer, "HKDF_extract").map(|()| written)
                })?
            })
        }
    };
    match (&hkdf.expand, extracted) {
        (None, Some(key)) => Ok(key),
        (None, None) => Err(Error::invalid("HKDF", "neither extracts nor expands")),
        (Some((info, len)), key) => {
            if *len == 0 || *len > 255 * hash.len() {
                return Err(Error::invalid("HKDF", "the length is 1 to 255 times that of the hash"));
            }
            let key = key.as_deref().map_or(secret, Vec::as_slice);
            // SAFETY: key and info are read within their lengths; exactly `len` bytes are written.
            unsafe {
                filled_secret(*len, |out| {
                    let (start, key_len) = (key.as_ptr(), key.len());
                    let answer = lc::HKDF_expand(out, *len, description, start, key_len, info.as_ptr(), info.len());
                    check(answer, "HKDF_expand").map(|()| *len)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;
    use crate::model::hash::Hash;

    /// RFC 5869 A.1, whole and in two halves.
    #[test]
    fn extract_and_expand() {
        let (salt, info) = (hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"));
        let key = "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5";
        let output = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865";
        let hash = Hash::Sha256;
        let (extract, expand) = (Some(Bytes::new(salt)), Some((info, 42)));
        let whole = Hkdf { hash, extract: extract.clone(), expand: expand.clone() };
        assert_eq!(*derive(&[0x0b; 22], &whole).unwrap(), hex(output));
        let first = derive(&[0x0b; 22], &Hkdf { hash, extract, expand: None }).unwrap();
        assert_eq!(*first, hex(key));
        assert_eq!(*derive(&first, &Hkdf { hash, extract: None, expand }).unwrap(), hex(output));
        for len in [0, 255 * 32 + 1] {
            assert!(derive(&first, &Hkdf { hash, extract: None, expand: Some((Vec::new(), len)) }).is_err());
        }
        assert!(derive(&first, &Hkdf { hash, extract: None, expand: None }).is_err());
    }
}
