//! RSA public keys, on aws-lc.

use aws_lc_sys as lc;
use zeroize::Zeroizing;

use super::bignum::Number;
use super::ffi::{Owned, accept, check, filled, md};
use super::rsa::{check_pss, check_size};
use super::{gate, padded};
use crate::error::{Error, Result};
use crate::model::hash::Hash;

/// A public key, prepared. Shared by threads.
///
/// aws-lc prepares the modulus on first use under a lock inside the key; `new` lets it do so at once, so that the lock
/// is only ever taken for reading afterwards and a fork in another thread cannot leave it closed.
pub struct RsaPublic {
    rsa: Owned<lc::RSA>,
    /// Big-endian, without leading zeros.
    modulus: Vec<u8>,
}

// SAFETY: rsa.h: the functions used here are "non-mutating" and may run concurrently on one key.
unsafe impl Sync for RsaPublic {}

impl RsaPublic {
    /// Big-endian numbers. `InvalidParameter` unless the modulus is odd and has 1024 to 8192 bits and the exponent is
    /// odd and has 2 to 33 bits (longer ones serve only to make verifying slow).
    pub fn new(modulus: &[u8], exponent: &[u8]) -> Result<Self> {
        check_size(modulus)?;
        let (n, e) = (Number::from_bytes(modulus)?, Number::from_bytes(exponent)?);
        // SAFETY: valid numbers, which are copied; null or a new object.
        let made = unsafe { Owned::new(lc::RSA_new_public_key(n.as_ptr(), e.as_ptr()), "RSA_new_public_key") };
        let refuse = |_| Error::invalid("public key", "modulus and exponent are odd, the exponent has 2 to 33 bits");
        let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
        let key = Self { rsa: made.map_err(refuse)?, modulus: modulus.get(zeros..).unwrap_or_default().to_vec() };
        key.raw(&[2])?;
        Ok(key)
    }

    /// Length of the modulus, of a signature and of a ciphertext, in bytes.
    pub fn size(&self) -> usize {
        self.modulus.len()
    }

    /// PKCS#1 v1.5 around `block`, usually a DigestInfo. `SignatureLength` or `SignatureInvalid` if it is wrong.
    pub fn verify_pkcs1(&self, block: &[u8], signature: &[u8]) -> Result<()> {
        if signature.len() != self.size() {
            return Err(Error::SignatureLength);
        }
        let recovered = self.open(signature, lc::RSA_PKCS1_PADDING)?;
        if recovered == block { Ok(()) } else { Err(Error::SignatureInvalid) }
    }

    /// What is inside the PKCS#1 v1.5 padding of a signature (C_VerifyRecover with CKM_RSA_PKCS).
    pub fn recover_pkcs1(&self, signature: &[u8]) -> Result<Vec<u8>> {
        if signature.len() != self.size() {
            return Err(Error::SignatureLength);
        }
        self.open(signature, lc::RSA_PKCS1_PADDING)
    }

    /// PSS with exactly this salt length, of a digest made with `hash`. Errors as for [`RsaPublic::verify_pkcs1`];
    /// `DataLength` for a digest of another length, `InvalidParameter` for a key that is too short for hash and salt.
    pub fn verify_pss(&self, hash: Hash, mgf: Hash, salt: usize, digest: &[u8], signature: &[u8]) -> Result<()> {
        let salt = check_pss(&self.modulus, hash, salt, digest)?;
        if signature.len() != self.size() {
            return Err(Error::SignatureLength);
        }
        // SAFETY: the key is valid; digest and signature are read within their lengths; descriptions are static.
        let answer = unsafe {
            let (hash, mgf) = (md(hash)?, md(mgf)?);
            let (key, data, proof) = (self.rsa.as_ptr(), digest.as_ptr(), signature.as_ptr());
            lc::RSA_verify_pss_mgf1(key, data, digest.len(), hash, mgf, salt, proof, signature.len())
        };
        accept(answer, || Error::SignatureInvalid)
    }

    /// The bare public operation on up to the modulus length of bytes, left-padded with zeros; `DataLength` if the
    /// number is not less than the modulus. The output is as long as the modulus.
    pub fn raw(&self, block: &[u8]) -> Result<Vec<u8>> {
        if block.len() > self.size() {
            return Err(Error::DataLength);
        }
        let block = padded(block, self.size()).filter(|block| **block < self.modulus).ok_or(Error::DataLength)?;
        self.open(&block, lc::RSA_NO_PADDING)
    }

    /// RSAES-OAEP (RFC 8017 §7.1); `DataLength` if the plaintext exceeds the modulus length - 2 hash lengths - 2.
    pub fn encrypt_oaep(&self, hash: Hash, mgf: Hash, label: &[u8], plaintext: &[u8]) -> Result<Vec<u8>> {
        let room = self.size();
        if plaintext.len() + 2 * hash.len() + 2 > room {
            return Err(Error::DataLength);
        }
        let mut block = Zeroizing::new(vec![0; room]);
        let _inside = gate::enter();
        // SAFETY: all buffers are passed with their lengths; descriptions are static.
        let answer = unsafe {
            let (hash, mgf) = (md(hash)?, md(mgf)?);
            let (out, data) = (block.as_mut_ptr(), plaintext.as_ptr());
            lc::RSA_padding_add_PKCS1_OAEP_mgf1(
                out,
                room,
                data,
                plaintext.len(),
                label.as_ptr(),
                label.len(),
                hash,
                mgf,
            )
        };
        check(answer, "RSA_padding_add_PKCS1_OAEP_mgf1")?;
        self.seal(&block, lc::RSA_NO_PADDING)
    }

    /// RSAES-PKCS1-v1_5; `DataLength` if the plaintext exceeds the modulus length - 11.
    pub fn encrypt_pkcs1(&self, plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.len() + 11 > self.size() {
            return Err(Error::DataLength);
        }
        let _inside = gate::enter();
        self.seal(plaintext, lc::RSA_PKCS1_PADDING)
    }

    /// `block` is as long as the modulus. A failure is a wrong padding or too large a number.
    fn open(&self, block: &[u8], padding: i32) -> Result<Vec<u8>> {
        let (room, mut len) = (self.size(), 0);
        // SAFETY: the key is valid; both buffers are passed with their lengths; `len` bytes are written.
        unsafe {
            filled(room, |out| {
                let (key, data) = (self.rsa.as_ptr(), block.as_ptr());
                let answer = lc::RSA_verify_raw(key, &raw mut len, out, room, data, block.len(), padding);
                accept(answer, || Error::SignatureInvalid).map(|()| len)
            })
        }
    }

    /// `plaintext` fits the padding.
    fn seal(&self, plaintext: &[u8], padding: i32) -> Result<Vec<u8>> {
        let (room, mut len) = (self.size(), 0);
        // SAFETY: the key is valid; both buffers are passed with their lengths; `len` bytes are written.
        unsafe {
            filled(room, |out| {
                let (key, data) = (self.rsa.as_ptr(), plaintext.as_ptr());
                let answer = lc::RSA_encrypt(key, &raw mut len, out, room, data, plaintext.len(), padding);
                check(answer, "RSA_encrypt").map(|()| len)
            })
        }
    }
}
