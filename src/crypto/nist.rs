//! P-256, P-384 and P-521, on aws-lc.
//!
//! An EC_KEY is not changed once it is set up here and holds no lock, so it may be shared by threads and survives a fork.

use std::ptr::{null, null_mut};

use aws_lc_sys as lc;

use super::bignum::{Number, secret_bytes};
use super::ec::{bad_point, bad_scalar};
use super::ffi::{Owned, accept, check, failed, filled, filled_secret};
use super::gate;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::curve::Curve;

/// A private key.
pub(super) struct Private {
    key: Owned<lc::EC_KEY>,
    curve: Curve,
}

// SAFETY: after set-up the key is only read (ECDSA_do_sign, ECDH_compute_key and the get0 functions take it const and
// ec_key.h lets non-mutating functions run concurrently).
unsafe impl Sync for Private {}

/// A public key.
pub(super) struct Public {
    key: Owned<lc::EC_KEY>,
    curve: Curve,
}

// SAFETY: as for `Private`.
unsafe impl Sync for Public {}

impl Private {
    pub(super) fn generate(curve: Curve) -> Result<Self> {
        let key = empty(curve)?;
        let _inside = gate::enter();
        // SAFETY: a valid key of our own.
        check(unsafe { lc::EC_KEY_generate_key(key.as_ptr()) }, "EC_KEY_generate_key")?;
        Ok(Self { key, curve })
    }

    /// `scalar` has `field_len` bytes.
    pub(super) fn from_scalar(curve: Curve, scalar: &[u8]) -> Result<Self> {
        let (key, number) = (empty(curve)?, Number::from_bytes(scalar)?);
        // SAFETY: valid objects of our own; the scalar is copied. Zero, and what is not less than the order, are refused.
        accept(unsafe { lc::EC_KEY_set_private_key(key.as_ptr(), number.as_ptr()) }, bad_scalar)?;
        // SAFETY: valid objects of our own; the group belongs to the key; the multiplication of the generator is in
        // constant time; the point is copied into the key.
        unsafe {
            let group = lc::EC_KEY_get0_group(key.as_ptr());
            let point = Owned::new(lc::EC_POINT_new(group), "EC_POINT_new")?;
            let answer = lc::EC_POINT_mul(group, point.as_ptr(), number.as_ptr(), null(), null(), null_mut());
            check(answer, "EC_POINT_mul")?;
            check(lc::EC_KEY_set_public_key(key.as_ptr(), point.as_ptr()), "EC_KEY_set_public_key")?;
        }
        Ok(Self { key, curve })
    }

    pub(super) fn scalar(&self) -> Result<Bytes> {
        // SAFETY: the key has a private number, which does not change.
        unsafe { secret_bytes(lc::EC_KEY_get0_private_key(self.key.as_ptr()), self.curve.field_len()) }
    }

    pub(super) fn point(&self) -> Result<Vec<u8>> {
        let room = 1 + 2 * self.curve.field_len();
        // SAFETY: the key has a group and a public point, which do not change; at most `room` bytes are written, the
        // answer says how many (0: failure).
        unsafe {
            filled(room, |out| {
                let key = self.key.as_ptr();
                let (group, point) = (lc::EC_KEY_get0_group(key), lc::EC_KEY_get0_public_key(key));
                let form = lc::point_conversion_form_t::POINT_CONVERSION_UNCOMPRESSED;
                match lc::EC_POINT_point2oct(group, point, form, out, room, null_mut()) {
                    0 => Err(failed("EC_POINT_point2oct")),
                    written => Ok(written),
                }
            })
        }
    }

    /// The nonce is random, hedged with the key and the digest.
    pub(super) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let len = self.curve.field_len();
        let _inside = gate::enter();
        // SAFETY: the key is valid and only read; the signature made is ours, its two numbers live as long as it does;
        // `len` bytes are written for each.
        unsafe {
            let made = lc::ECDSA_do_sign(digest.as_ptr(), digest.len(), self.key.as_ptr());
            let signature = Owned::new(made, "ECDSA_do_sign")?;
            let (mut r, mut s) = (null(), null());
            lc::ECDSA_SIG_get0(signature.as_ptr(), &raw mut r, &raw mut s);
            filled(2 * len, |out| {
                check(lc::BN_bn2bin_padded(out, len, r), "BN_bn2bin_padded")?;
                check(lc::BN_bn2bin_padded(out.add(len), len, s), "BN_bn2bin_padded")?;
                Ok(2 * len)
            })
        }
    }

    pub(super) fn derive(&self, peer: &[u8]) -> Result<Bytes> {
        let (peer, len) = (Public::new(self.curve, peer)?, self.curve.field_len());
        // SAFETY: both keys are valid and only read, the point belongs to the peer's key; at most `len` bytes are
        // written, as many as the answer says; without a function to derive with they are the x-coordinate.
        unsafe {
            filled_secret(len, |out| {
                let point = lc::EC_KEY_get0_public_key(peer.key.as_ptr());
                let written = lc::ECDH_compute_key(out.cast(), len, point, self.key.as_ptr(), None);
                if written == len as i32 { Ok(len) } else { Err(failed("ECDH_compute_key")) }
            })
        }
    }
}

impl Public {
    /// `point` has the right length and form; that it lies on the curve is checked here.
    pub(super) fn new(curve: Curve, point: &[u8]) -> Result<Self> {
        let key = empty(curve)?;
        // SAFETY: valid objects of our own; the group belongs to the key; `point` is read within its length; the point
        // is copied into the key.
        unsafe {
            let group = lc::EC_KEY_get0_group(key.as_ptr());
            let parsed = Owned::new(lc::EC_POINT_new(group), "EC_POINT_new")?;
            let answer = lc::EC_POINT_oct2point(group, parsed.as_ptr(), point.as_ptr(), point.len(), null_mut());
            accept(answer, bad_point)?;
            accept(lc::EC_KEY_set_public_key(key.as_ptr(), parsed.as_ptr()), bad_point)?;
        }
        Ok(Self { key, curve })
    }

    /// `signature` has twice `field_len` bytes.
    pub(super) fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        let (r, s) = signature.split_at(signature.len().min(self.curve.field_len()));
        // SAFETY: all objects are valid; the signature takes over both numbers, which happens together or not at all,
        // and only if neither is null.
        unsafe {
            let parsed = Owned::new(lc::ECDSA_SIG_new(), "ECDSA_SIG_new")?;
            let (r, s) = (Number::from_bytes(r)?, Number::from_bytes(s)?);
            let answer = lc::ECDSA_SIG_set0(parsed.as_ptr(), r.into_ptr(), s.into_ptr());
            check(answer, "ECDSA_SIG_set0")?;
            let answer = lc::ECDSA_do_verify(digest.as_ptr(), digest.len(), parsed.as_ptr(), self.key.as_ptr());
            accept(answer, || Error::SignatureInvalid)
        }
    }
}

fn empty(curve: Curve) -> Result<Owned<lc::EC_KEY>> {
    // SAFETY: the groups are static. Named by their functions and not by number, which would bring in P-224 as well.
    let group = unsafe {
        match curve {
            Curve::P256 => lc::EC_group_p256(),
            Curve::P384 => lc::EC_group_p384(),
            Curve::P521 => lc::EC_group_p521(),
            Curve::Ed25519 | Curve::Secp256k1 | Curve::Sm2 | Curve::X25519 => {
                return Err(Error::Internal("this curve is not aws-lc's".into()));
            }
        }
    };
    // SAFETY: makes a new object and gives it the group.
    unsafe {
        let key = Owned::new(lc::EC_KEY_new(), "EC_KEY_new")?;
        check(lc::EC_KEY_set_group(key.as_ptr(), group), "EC_KEY_set_group").map(|()| key)
    }
}
