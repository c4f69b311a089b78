//! RSA private keys, on aws-lc.

use std::cmp::Ordering;
use std::ffi::c_int;
use std::ptr::{null, null_mut};

use aws_lc_sys as lc;
use der::asn1::OctetStringRef;
use der::{Decode, Encode};
use pkcs8::PrivateKeyInfoRef;
use spki::AlgorithmIdentifierRef;
use zeroize::Zeroizing;

use super::bignum::{Number, primes, public_bytes, secret_bytes};
use super::ffi::{Owned, check, failed, filled, filled_secret, md, must};
use super::{digest, gate, implicit_rejection, padded};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::hash::Hash;
use crate::model::public::RSA_ENCRYPTION;

pub use super::oaep::unpad_oaep;
pub use super::rsa_public::RsaPublic;

/// A private key, parsed and prepared; blinding and the check against faults are aws-lc's.
///
/// Shared by threads: aws-lc guards the blinding values with a lock inside the key, which [`gate`] keeps forks away
/// from, so that a child can go on with the keys it inherited.
pub struct RsaKey {
    rsa: Owned<lc::RSA>,
    /// Big-endian, without leading zeros.
    modulus: Vec<u8>,
    /// From which made-up plaintexts derive, see [`implicit_rejection`].
    secret: Zeroizing<[u8; 32]>,
}

// SAFETY: rsa.h: the functions used here are "non-mutating" and may run concurrently on one key (aws-lc fills in its
// prepared numbers and takes blinding values under the key's own lock); the numbers are never set again.
unsafe impl Sync for RsaKey {}

impl RsaKey {
    /// `bits`: 1024 to 8192, a multiple of 128 (aws-lc makes no others). `exponent` big-endian, usually 01 00 01: odd, 3 to 2^32 - 1.
    pub fn generate(bits: usize, exponent: &[u8]) -> Result<Self> {
        let size = c_int::try_from(bits).ok().filter(|size| SIZES.contains(size) && size % 128 == 0);
        let size = size.ok_or_else(|| Error::invalid("bits", "1024 to 8192, in steps of 128"))?;
        let e = padded(exponent, 4).and_then(|e| e.as_slice().try_into().ok()).map(u32::from_be_bytes);
        if !e.is_some_and(|e| e % 2 == 1 && e > 1) {
            return Err(Error::invalid("exponent", "an odd number from 3 to 2^32 - 1"));
        }
        let e = Number::from_bytes(exponent)?;
        let _inside = gate::enter();
        // SAFETY: makes a new object, then fills it; no progress callback.
        let rsa = unsafe {
            let rsa = Owned::new(lc::RSA_new(), "RSA_new")?;
            check(lc::RSA_generate_key_ex(rsa.as_ptr(), size, e.as_ptr(), null_mut()), "RSA_generate_key_ex")?;
            rsa
        };
        Self::adopt(rsa)
    }

    /// PKCS#8 or PKCS#1 DER. Inconsistent numbers are refused.
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let inner = inside_pkcs8(der).unwrap_or(der);
        // SAFETY: `inner` is read within its length; null or a new object.
        let rsa = unsafe { Owned::new(lc::RSA_private_key_from_bytes(inner.as_ptr(), inner.len()), "RSA") };
        Self::adopt(rsa.map_err(|_| bad_key("neither PKCS#8 nor PKCS#1 DER of a consistent RSA private key"))?)
    }

    /// From big-endian numbers. Without the primes and exponents (p, q, dp, dq, qi) they are computed from n, e, d.
    pub fn from_numbers(n: &[u8], e: &[u8], d: &[u8], crt: Option<[&[u8]; 5]>) -> Result<Self> {
        check_size(n)?;
        let (n, e, d) = (Number::from_bytes(n)?, Number::from_bytes(e)?, Number::from_bytes(d)?);
        // SAFETY: valid numbers of our own. Neither a larger d nor an even n can be RSA, and both would upset the search for primes.
        let plausible = unsafe { lc::BN_is_odd(n.as_ptr()) == 1 && lc::BN_cmp(d.as_ptr(), n.as_ptr()) < 0 };
        if !plausible {
            return Err(inconsistent());
        }
        let crt = match crt {
            Some([p, q, dp, dq, qi]) => [
                Number::from_bytes(p)?,
                Number::from_bytes(q)?,
                Number::from_bytes(dp)?,
                Number::from_bytes(dq)?,
                Number::from_bytes(qi)?,
            ],
            None => primes(&n, &e, &d)?.ok_or_else(inconsistent)?,
        };
        let [p, q, dp, dq, qi] = crt.each_ref().map(Number::as_ptr);
        // SAFETY: valid numbers, which are copied; null (inconsistent) or a new object.
        let made = unsafe { lc::RSA_new_private_key(n.as_ptr(), e.as_ptr(), d.as_ptr(), p, q, dp, dq, qi) };
        // SAFETY: as above.
        Self::adopt(unsafe { Owned::new(made, "RSA_new_private_key").map_err(|_| inconsistent())? })
    }

    /// Tries the key: with a p or q that is not prime the private operation does not undo the public one, which aws-lc notices.
    pub fn check(&self) -> Result<()> {
        self.raw(&[2]).map(drop).map_err(|_| inconsistent())
    }

    /// PKCS#8 DER.
    pub fn to_der(&self) -> Result<Bytes> {
        let room = 8 * self.size() + 256;
        let mut len = 0;
        // SAFETY: the builder is set up on `room` bytes of ours before use, writes nothing beyond them and is cleaned
        // up in every case; the key is valid and only its numbers are read.
        let inner = unsafe {
            filled_secret(room, |out| {
                let mut builder = std::mem::zeroed::<lc::CBB>();
                let whole = lc::CBB_init_fixed(&raw mut builder, out, room) == 1
                    && lc::RSA_marshal_private_key(&raw mut builder, self.rsa.as_ptr()) == 1
                    && lc::CBB_finish(&raw mut builder, null_mut(), &raw mut len) == 1;
                lc::CBB_cleanup(&raw mut builder);
                if whole { Ok(len) } else { Err(failed("RSA_marshal_private_key")) }
            })?
        };
        let algorithm = AlgorithmIdentifierRef { oid: RSA_ENCRYPTION, parameters: Some(der::AnyRef::NULL) };
        let whole = OctetStringRef::new(&inner).and_then(|inner| PrivateKeyInfoRef::new(algorithm, inner).to_der());
        Ok(Bytes::new(whole.map_err(|error| Error::Internal(error.to_string()))?))
    }

    /// Modulus and public exponent.
    pub fn public(&self) -> (Vec<u8>, Vec<u8>) {
        let [_, e, ..] = self.pointers();
        // SAFETY: the number is valid and never changes.
        (self.modulus.clone(), must(unsafe { public_bytes(e) }))
    }

    /// n, e, d, p, q, dp, dq, qi: for CKA_ values of an extractable key. Without leading zeros.
    pub fn numbers(&self) -> [Bytes; 8] {
        // SAFETY: the numbers are valid and never change.
        self.pointers().map(|number| unsafe { must(secret_bytes(number, lc::BN_num_bytes(number) as usize)) })
    }

    /// Length of the modulus, of a signature and of a ciphertext, in bytes.
    pub fn size(&self) -> usize {
        self.modulus.len()
    }

    /// PKCS#1 v1.5 (RFC 8017 §9.2) around `block`, usually a DigestInfo; `DataLength` if it exceeds the modulus length - 11.
    pub fn sign_pkcs1(&self, block: &[u8]) -> Result<Vec<u8>> {
        if block.len() + 11 > self.size() {
            return Err(Error::DataLength);
        }
        self.output("RSA_sign_raw", |len, out, room| {
            // SAFETY: the key is valid; `block` is read and `out` written within the lengths given.
            unsafe {
                let padding = lc::RSA_PKCS1_PADDING;
                lc::RSA_sign_raw(self.rsa.as_ptr(), len, out, room, block.as_ptr(), block.len(), padding)
            }
        })
    }

    /// RSASSA-PSS (RFC 8017 §8.1) of a digest made with `hash`; `DataLength` if it is not of that length.
    /// `InvalidParameter` if the key is too short for hash and salt.
    pub fn sign_pss(&self, hash: Hash, mgf: Hash, salt: usize, digest: &[u8]) -> Result<Vec<u8>> {
        let salt = check_pss(&self.modulus, hash, salt, digest)?;
        let (hash, mgf) = (md(hash)?, md(mgf)?);
        self.output("RSA_sign_pss_mgf1", |len, out, room| {
            // SAFETY: the key is valid; `digest` is read and `out` written within the lengths given; descriptions are static.
            unsafe {
                let (key, data) = (self.rsa.as_ptr(), digest.as_ptr());
                lc::RSA_sign_pss_mgf1(key, len, out, room, data, digest.len(), hash, mgf, salt)
            }
        })
    }

    /// The bare private operation on up to the modulus length of bytes, left-padded with zeros; also serves raw
    /// decryption. `DataLength` for a number that RSA does not change (0, 1, n - 1: RSADP of NIST SP 800-56B) or not below n.
    pub fn raw(&self, block: &[u8]) -> Result<Bytes> {
        if block.len() > self.size() {
            return Err(Error::DataLength);
        }
        let block = padded(block, self.size()).filter(|block| self.changes(block)).ok_or(Error::DataLength)?;
        let (room, mut len) = (self.size(), 0);
        let _inside = gate::enter();
        // SAFETY: the key is valid; both buffers have `room` bytes; `len` bytes are written.
        unsafe {
            filled_secret(room, |out| {
                let (key, padding) = (self.rsa.as_ptr(), lc::RSA_NO_PADDING);
                let answer = lc::RSA_decrypt(key, &raw mut len, out, room, block.as_ptr(), room, padding);
                check(answer, "RSA_decrypt").map(|()| len)
            })
        }
    }

    /// RSAES-OAEP (RFC 8017 §7.1). `CiphertextLength` if it is not as long as the modulus; `Ciphertext` for everything else.
    pub fn decrypt_oaep(&self, hash: Hash, mgf: Hash, label: &[u8], ciphertext: &[u8]) -> Result<Bytes> {
        if ciphertext.len() != self.size() {
            return Err(Error::CiphertextLength);
        }
        // What RSA would not change is as public as the ciphertext.
        if !self.changes(ciphertext) {
            return Err(Error::Ciphertext);
        }
        unpad_oaep(hash, mgf, label, &self.raw(ciphertext)?)
    }

    /// RSAES-PKCS1-v1_5 with implicit rejection: a ciphertext that is not genuine yields a made-up plaintext.
    /// `CiphertextLength`, the only error that depends on the input, if it is not as long as the modulus.
    pub fn decrypt_pkcs1(&self, ciphertext: &[u8]) -> Result<Bytes> {
        if ciphertext.len() != self.size() {
            return Err(Error::CiphertextLength);
        }
        // What RSA cannot decrypt or would not change is no valid block either; all zeros stands for it.
        let block = match self.changes(ciphertext) {
            true => self.raw(ciphertext)?,
            false => Bytes::new(vec![0; self.size()]),
        };
        implicit_rejection::unpad(&self.secret, ciphertext, &block)
    }

    /// Takes over a key that aws-lc found consistent, if it is complete and of a size that we use.
    fn adopt(rsa: Owned<lc::RSA>) -> Result<Self> {
        let (mut n, mut e, mut d) = (null(), null(), null());
        // SAFETY: the key is valid, its numbers live as long as it does.
        unsafe { lc::RSA_get0_key(rsa.as_ptr(), &raw mut n, &raw mut e, &raw mut d) };
        // Without e there would be neither blinding nor a check against faults (keys of the Java kind).
        if n.is_null() || e.is_null() || d.is_null() {
            return Err(bad_key("modulus, public or private exponent is missing"));
        }
        // SAFETY: the numbers are valid and do not change.
        let (modulus, d) = unsafe { (public_bytes(n)?, secret_bytes(d, lc::RSA_size(rsa.as_ptr()) as usize)?) };
        check_size(&modulus)?;
        let mut secret = Zeroizing::new([0; 32]);
        let derived = Zeroizing::new(digest::hash(Hash::Sha256, &d));
        secret.copy_from_slice(&derived);
        let key = Self { rsa, modulus, secret };
        if key.pointers().iter().any(|number| number.is_null()) {
            return Err(bad_key("the primes are missing"));
        }
        Ok(key)
    }

    /// n, e, d, p, q, dp, dq, qi, which live as long as the key.
    fn pointers(&self) -> [*const lc::BIGNUM; 8] {
        let mut numbers = [null(); 8];
        let [n, e, d, p, q, dp, dq, qi] = &mut numbers;
        // SAFETY: the key is valid; each call writes the pointers given.
        unsafe {
            lc::RSA_get0_key(self.rsa.as_ptr(), n, e, d);
            lc::RSA_get0_factors(self.rsa.as_ptr(), p, q);
            lc::RSA_get0_crt_params(self.rsa.as_ptr(), dp, dq, qi);
        }
        numbers
    }

    /// Whether a block as long as the modulus is a number that the private operation takes: from 2 to n - 2.
    fn changes(&self, block: &[u8]) -> bool {
        let (Some((last, high)), Some((n_last, n_high))) = (block.split_last(), self.modulus.split_last()) else {
            return false;
        };
        let below = match high.cmp(n_high) {
            Ordering::Less => true,
            Ordering::Equal => *last < *n_last & !1,
            Ordering::Greater => false,
        };
        below && (*last > 1 || high.iter().any(|byte| *byte != 0))
    }

    fn output(&self, name: &'static str, call: impl FnOnce(*mut usize, *mut u8, usize) -> c_int) -> Result<Vec<u8>> {
        let (room, mut len) = (self.size(), 0);
        let _inside = gate::enter();
        // SAFETY: `call` writes as many bytes as it says, at most `room`.
        unsafe { filled(room, |out| check(call(&raw mut len, out, room), name).map(|()| len)) }
    }
}

/// Modulus sizes that we work with, in bits. What may be created is decided above, by spec and policy.
const SIZES: std::ops::RangeInclusive<c_int> = 1024..=8192;

/// `modulus` big-endian.
pub(super) fn check_size(modulus: &[u8]) -> Result<()> {
    match c_int::try_from(bits(modulus)) {
        Ok(size) if SIZES.contains(&size) => Ok(()),
        _ => Err(Error::invalid("modulus", "an RSA modulus has 1024 to 8192 bits")),
    }
}

fn bits(modulus: &[u8]) -> usize {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let rest = modulus.get(zeros..).unwrap_or_default();
    rest.len() * 8 - rest.first().map_or(0, |byte| byte.leading_zeros() as usize)
}

/// The salt length as aws-lc takes it, if digest, salt and key fit together (RFC 8017 §9.1.1).
pub(super) fn check_pss(modulus: &[u8], hash: Hash, salt: usize, digest: &[u8]) -> Result<c_int> {
    if digest.len() != hash.len() {
        return Err(Error::DataLength);
    }
    let room = (bits(modulus) - 1).div_ceil(8);
    let fits = hash.len().checked_add(salt).and_then(|len| len.checked_add(2)).is_some_and(|len| len <= room);
    let salt = c_int::try_from(salt).ok().filter(|_| fits);
    salt.ok_or_else(|| Error::invalid("salt", "hash and salt are too long for this modulus"))
}

/// The PKCS#1 DER inside PKCS#8 DER of an RSA key (RFC 5208 §5, RFC 8017 §A.1).
fn inside_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let info = PrivateKeyInfoRef::from_der(der).ok()?;
    let plain = info.algorithm.parameters.is_none_or(|parameters| parameters.is_null());
    (info.algorithm.oid == RSA_ENCRYPTION && plain).then(|| info.private_key.as_bytes())
}

fn inconsistent() -> Error {
    bad_key("the numbers do not make an RSA key")
}

fn bad_key(reason: &'static str) -> Error {
    Error::invalid("private key", reason)
}

#[cfg(test)]
mod tests;
