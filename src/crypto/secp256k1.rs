//! secp256k1, on libsecp256k1.
//!
//! Each private key keeps a context of its own, blinded with random bytes when the key is prepared: no lock, no
//! thread-local (the safe functions of crate `secp256k1` keep one with a destructor), nothing that a fork could break.

use std::ffi::{c_int, c_uchar, c_void};

use secp256k1::{Secp256k1, SignOnly, ffi};
use zeroize::Zeroizing;

use super::ec::{bad_point, bad_scalar, from_random_scalar};
use super::random;
use crate::error::{Error, Result};
use crate::model::Bytes;

// Crate `secp256k1-sys` marks four functions #[no_mangle], which makes rustc export them. What is hidden in one object
// file is hidden in the library (System V ABI, symbol visibility); `tests/elf.rs` watches over the names.
#[cfg(target_os = "linux")]
std::arch::global_asm!(
    ".hidden rustsecp256k1_v0_14_context_create",
    ".hidden rustsecp256k1_v0_14_context_destroy",
    ".hidden rustsecp256k1_v0_14_default_error_callback_fn",
    ".hidden rustsecp256k1_v0_14_default_illegal_callback_fn",
);

/// Length of scalars and coordinates, in bytes.
const LEN: usize = 32;

/// A private key. Its context is only read after [`blinded`], so threads may share it (`Secp256k1` is `Sync`).
pub(super) struct Private {
    context: Secp256k1<SignOnly>,
    scalar: Zeroizing<[u8; LEN]>,
    point: ffi::PublicKey,
}

/// A public key.
pub(super) struct Public(ffi::PublicKey);

impl Private {
    pub(super) fn generate() -> Result<Self> {
        from_random_scalar(Self::from_scalar)
    }

    /// `scalar` has 32 bytes.
    pub(super) fn from_scalar(scalar: &[u8]) -> Result<Self> {
        let scalar = Zeroizing::new(<[u8; LEN]>::try_from(scalar).map_err(|_| bad_scalar())?);
        let context = blinded();
        // SAFETY: the type is plain bytes with this function to make an unusable value.
        let mut point = unsafe { ffi::PublicKey::new() };
        // SAFETY: the context may sign, the buffers have the lengths that the function takes. Zero, and what is not
        // less than the order, are refused.
        let answer =
            unsafe { ffi::secp256k1_ec_pubkey_create(context.ctx().as_ptr(), &raw mut point, scalar.as_ptr()) };
        if answer == 1 { Ok(Self { context, scalar, point }) } else { Err(bad_scalar()) }
    }

    pub(super) fn scalar(&self) -> Bytes {
        Bytes::new(self.scalar.to_vec())
    }

    pub(super) fn point(&self) -> Vec<u8> {
        let mut out = vec![0; 1 + 2 * LEN];
        let (mut len, form) = (out.len(), ffi::SECP256K1_SER_UNCOMPRESSED);
        // SAFETY: the output has room for the 65 bytes of this form; the point is valid. The answer is always 1.
        unsafe {
            let context = ffi::secp256k1_context_static;
            ffi::secp256k1_ec_pubkey_serialize(context, out.as_mut_ptr(), &raw mut len, &raw const self.point, form);
        }
        out
    }

    /// The nonce is RFC 6979's with random bytes mixed in, which protects deterministic nonces from fault attacks.
    pub(super) fn sign(&self, digest: &[u8]) -> Result<Vec<u8>> {
        let (message, hedge) = (leftmost(digest), random::bytes::<LEN>());
        // SAFETY: plain bytes, as for the point in `from_scalar`.
        let mut signature = unsafe { ffi::Signature::new() };
        let mut out = vec![0; 2 * LEN];
        // SAFETY: the context may sign and is not changed; message, scalar and hedge have 32 bytes, the output 64.
        let answer = unsafe {
            let signed = ffi::secp256k1_ecdsa_sign(
                self.context.ctx().as_ptr(),
                &raw mut signature,
                message.as_ptr(),
                self.scalar.as_ptr(),
                ffi::secp256k1_nonce_function_rfc6979,
                hedge.as_ptr().cast(),
            );
            let context = ffi::secp256k1_context_static;
            signed & ffi::secp256k1_ecdsa_signature_serialize_compact(context, out.as_mut_ptr(), &raw const signature)
        };
        if answer == 1 { Ok(out) } else { Err(Error::Internal("secp256k1_ecdsa_sign failed".into())) }
    }

    pub(super) fn derive(&self, peer: &[u8]) -> Result<Bytes> {
        let peer = Public::new(peer)?;
        let mut out = Bytes::new(vec![0; LEN]);
        // SAFETY: the point is valid, the scalar has 32 bytes; `x_only` writes 32 bytes to the output, which has them.
        let answer = unsafe {
            ffi::secp256k1_ecdh(
                self.context.ctx().as_ptr(),
                out.as_mut_ptr(),
                &raw const peer.0,
                self.scalar.as_ptr(),
                Some(x_only),
                std::ptr::null_mut(),
            )
        };
        if answer == 1 { Ok(out) } else { Err(Error::Internal("secp256k1_ecdh failed".into())) }
    }
}

impl Public {
    /// `point` is 04 ‖ x ‖ y; that it lies on the curve is checked here.
    pub(super) fn new(point: &[u8]) -> Result<Self> {
        // SAFETY: as in `from_scalar`.
        let mut parsed = unsafe { ffi::PublicKey::new() };
        // SAFETY: `point` is read within its length.
        let answer = unsafe {
            let context = ffi::secp256k1_context_static;
            ffi::secp256k1_ec_pubkey_parse(context, &raw mut parsed, point.as_ptr(), point.len())
        };
        if answer == 1 { Ok(Self(parsed)) } else { Err(bad_point()) }
    }

    /// `signature` has 64 bytes. Both of s and n - s are valid ECDSA; the library takes only the lower, so it is made first.
    pub(super) fn verify(&self, digest: &[u8], signature: &[u8]) -> Result<()> {
        if signature.len() != 2 * LEN {
            return Err(Error::SignatureLength);
        }
        let message = leftmost(digest);
        // SAFETY: plain bytes, as for the point in `from_scalar`.
        let mut parsed = unsafe { ffi::Signature::new() };
        // SAFETY: the signature has 64 bytes, the message 32; the static context may parse and verify; parsing leaves a
        // usable value also when it fails.
        let answer = unsafe {
            let (context, pointer) = (ffi::secp256k1_context_static, &raw mut parsed);
            let whole = ffi::secp256k1_ecdsa_signature_parse_compact(context, pointer, signature.as_ptr());
            ffi::secp256k1_ecdsa_signature_normalize(context, pointer, pointer);
            whole & ffi::secp256k1_ecdsa_verify(context, pointer, message.as_ptr(), &raw const self.0)
        };
        if answer == 1 { Ok(()) } else { Err(Error::SignatureInvalid) }
    }
}

fn blinded() -> Secp256k1<SignOnly> {
    let mut context = Secp256k1::signing_only();
    let mut seed = Zeroizing::new([0; LEN]);
    random::fill(seed.as_mut_slice());
    context.seeded_randomize(&seed);
    context
}

/// The number that ECDSA makes of a digest: its leftmost 256 bits (FIPS 186-5 §6.4.1).
fn leftmost(digest: &[u8]) -> [u8; LEN] {
    let mut out = [0; LEN];
    let used = digest.get(..LEN).unwrap_or(digest);
    out[LEN - used.len()..].copy_from_slice(used);
    out
}

/// Leaves the x-coordinate as it is, where the library would hash the point.
unsafe extern "C" fn x_only(out: *mut c_uchar, x: *const c_uchar, _y: *const c_uchar, _data: *mut c_void) -> c_int {
    // SAFETY: the library passes 32 bytes of x; the output is the 32 bytes given in `derive`.
    unsafe { std::ptr::copy_nonoverlapping(x, out, LEN) };
    1
}
