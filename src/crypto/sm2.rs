//! SM2 (GB/T 32918) on RustCrypto's `sm2`: signatures of a digest, encryption in three layouts, the signer's Z_A.
//!
//! Scalar arithmetic and multiplications are that crate's constant-time ones; nonces are RFC 6979 with random bytes
//! mixed in, so neither a weak generator nor a fork repeats one.

use std::convert::Infallible;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, Ordering};

use der::asn1::{OctetStringRef, UintRef};
use der::{Decode, Encode, Sequence};
use sm2::dsa::signature::hazmat::{PrehashVerifier, RandomizedPrehashSigner};
use sm2::dsa::{Signature, SigningKey, VerifyingKey};
use sm2::elliptic_curve::group::Group;
use sm2::elliptic_curve::rand_core::{TryCryptoRng, TryRng};
use sm2::elliptic_curve::sec1::ToSec1Point;
use sm2::pke::{Cipher, DecryptingKey, EncryptingKey, Mode};
use sm2::{NonZeroScalar, ProjectivePoint, PublicKey, Scalar, Sm2};
use zeroize::Zeroizing;

use super::ec::{bad_point, bad_scalar, from_random_scalar};
use super::{digest, gate, padded, random};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{SM2_OVERHEAD, Sm2Layout};
use crate::model::hash::Hash;

/// The signer's ID where nobody names another (GM/T 0009 §10).
pub const DEFAULT_ID: &[u8] = b"1234567812345678";
/// Length of scalars, coordinates and digests, in bytes.
const LEN: usize = 32;
/// Length of 04 ‖ x ‖ y.
const POINT: usize = 1 + 2 * LEN;
/// The longest message in bytes: what encrypts keys copies it some times over, and need not take more.
pub const MAX_MESSAGE: usize = 1 << 20;
/// More than any layout is longer than its message.
const MAX_OVERHEAD: usize = 256;
/// The longest ID in bytes: its length in bits has two bytes.
const MAX_ID: usize = u16::MAX as usize / 8;

/// a ‖ b ‖ x_G ‖ y_G of the recommended curve (GB/T 32918.5).
const PARAMETERS: [u8; 4 * LEN] = [
    0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, //
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfc, //
    0x28, 0xe9, 0xfa, 0x9e, 0x9d, 0x9f, 0x5e, 0x34, 0x4d, 0x5a, 0x9e, 0x4b, 0xcf, 0x65, 0x09, 0xa7, //
    0xf3, 0x97, 0x89, 0xf5, 0x15, 0xab, 0x8f, 0x92, 0xdd, 0xbc, 0xbd, 0x41, 0x4d, 0x94, 0x0e, 0x93, //
    0x32, 0xc4, 0xae, 0x2c, 0x1f, 0x19, 0x81, 0x19, 0x5f, 0x99, 0x04, 0x46, 0x6a, 0x39, 0xc9, 0x94, //
    0x8f, 0xe3, 0x0b, 0xbf, 0xf2, 0x66, 0x0b, 0xe1, 0x71, 0x5a, 0x45, 0x89, 0x33, 0x4c, 0x74, 0xc7, //
    0xbc, 0x37, 0x36, 0xa2, 0xf4, 0xf6, 0x77, 0x9c, 0x59, 0xbd, 0xce, 0xe3, 0x6b, 0x69, 0x21, 0x53, //
    0xd0, 0xa9, 0x87, 0x7c, 0xc6, 0x2a, 0x47, 0x40, 0x02, 0xdf, 0x32, 0xe5, 0x21, 0x39, 0xf0, 0xa0,
];

/// Z_A = SM3(length of the ID in bits ‖ ID ‖ a ‖ b ‖ G ‖ public key), GB/T 32918.2 §5.5. What is signed of a message M is
/// SM3(Z_A ‖ M). `point` is 04 ‖ x ‖ y; `InvalidParameter` if it is not, and for an ID of more than 8191 bytes.
pub fn identity(point: &[u8], id: &[u8]) -> Result<Vec<u8>> {
    let coordinates = match point {
        [4, coordinates @ ..] if point.len() == POINT => coordinates,
        _ => return Err(bad_point()),
    };
    if id.len() > MAX_ID {
        return Err(Error::invalid("ID", "the ID of an SM2 signer has at most 8191 bytes"));
    }
    let bits = (id.len() * 8) as u16;
    Ok(digest::hash(Hash::Sm3, &[&bits.to_be_bytes(), id, &PARAMETERS, coordinates].concat()))
}

/// A private key. Shared by threads; a fork leaves it usable.
pub struct Private {
    signing: Wiped<SigningKey>,
    decrypting: Wiped<DecryptingKey>,
}

/// A public key. Shared by threads; a fork leaves it usable.
pub struct Public {
    verifying: VerifyingKey,
    encrypting: EncryptingKey,
}

impl Private {
    pub(super) fn generate() -> Result<Self> {
        from_random_scalar(Self::from_scalar)
    }

    /// `scalar` has 32 bytes; from 1 to the order minus 2 (GB/T 32918.1 §6.1): signing divides by 1 + d.
    pub(super) fn from_scalar(scalar: &[u8]) -> Result<Self> {
        prepare_table();
        let mut scalar = Zeroizing::new(NonZeroScalar::try_from(scalar).map_err(|_| bad_scalar())?);
        if bool::from((**scalar + Scalar::ONE).is_zero()) {
            return Err(bad_scalar());
        }
        let signing = SigningKey::from_nonzero_scalar(default_id(), *scalar).map_err(|_| bad_scalar())?;
        let decrypting = DecryptingKey::new_with_mode(*scalar, Mode::C1C3C2);
        zeroize::Zeroize::zeroize(&mut *scalar);
        Ok(Self { signing: Wiped::new(signing), decrypting: Wiped::new(decrypting) })
    }

    pub(super) fn scalar(&self) -> Bytes {
        let scalar = Zeroizing::new(self.signing.to_bytes());
        Bytes::new(scalar.to_vec())
    }

    pub(super) fn point(&self) -> Vec<u8> {
        self.signing.verifying_key().as_affine().to_sec1_point(false).as_bytes().to_vec()
    }

    /// r ‖ s of e = SM3(Z_A ‖ M); `DataLength` unless it has 32 bytes.
    pub fn sign(&self, e: &[u8]) -> Result<Vec<u8>> {
        if e.len() != LEN {
            return Err(Error::DataLength);
        }
        let signature: Signature = self
            .signing
            .sign_prehash_with_rng(&mut Random, e)
            .map_err(|_| Error::Internal("SM2 made no signature".into()))?;
        Ok(signature.to_bytes().to_vec())
    }

    /// `CiphertextLength` for what is too short or too long to be one, `Ciphertext` for everything else that is wrong.
    pub fn decrypt(&self, layout: Sm2Layout, ciphertext: &[u8]) -> Result<Bytes> {
        if ciphertext.len() > MAX_MESSAGE + MAX_OVERHEAD {
            return Err(Error::CiphertextLength);
        }
        let standard = to_standard(layout, ciphertext)?;
        let parsed = Cipher::<Sm2, sm3::Sm3>::from_slice(&standard, Mode::C1C3C2).map_err(|_| Error::Ciphertext)?;
        let mut out = Bytes::new(vec![0; standard.len() - SM2_OVERHEAD]);
        self.decrypting.decrypt_cipher_with_buf(&parsed, &mut out).map_err(|_| Error::Ciphertext)?;
        Ok(out)
    }
}

impl Public {
    /// `point` has the right length and form; that it lies on the curve is checked here.
    pub(super) fn new(point: &[u8]) -> Result<Self> {
        prepare_table();
        let key = PublicKey::from_sec1_bytes(point).map_err(|_| bad_point())?;
        let verifying = VerifyingKey::new(default_id(), key).map_err(|_| bad_point())?;
        Ok(Self { verifying, encrypting: EncryptingKey::new_with_mode(key, Mode::C1C3C2) })
    }

    /// `signature` is r ‖ s: `SignatureLength` if it has not 64 bytes, `SignatureInvalid` if it is wrong.
    pub fn verify(&self, e: &[u8], signature: &[u8]) -> Result<()> {
        if e.len() != LEN {
            return Err(Error::DataLength);
        }
        if signature.len() != 2 * LEN {
            return Err(Error::SignatureLength);
        }
        let signature = Signature::from_slice(signature).map_err(|_| Error::SignatureInvalid)?;
        self.verifying.verify_prehash(e, &signature).map_err(|_| Error::SignatureInvalid)
    }

    /// `DataLength` for an empty plaintext, which SM2 cannot encrypt, and for one of more than [`MAX_MESSAGE`].
    pub fn encrypt(&self, layout: Sm2Layout, plaintext: &[u8]) -> Result<Vec<u8>> {
        if plaintext.is_empty() || plaintext.len() > MAX_MESSAGE {
            return Err(Error::DataLength);
        }
        let standard = self.encrypting.encrypt(&mut Random, plaintext).map_err(|_| Error::DataLength)?;
        from_standard(layout, standard)
    }
}

/// SM2Cipher (GM/T 0009 §7.2).
#[derive(Sequence)]
struct Sealed<'a> {
    x: UintRef<'a>,
    y: UintRef<'a>,
    digest: &'a OctetStringRef,
    message: &'a OctetStringRef,
}

/// A ciphertext of one layout in another.
pub fn rearrange(from: Sm2Layout, to: Sm2Layout, ciphertext: &[u8]) -> Result<Vec<u8>> {
    from_standard(to, to_standard(from, ciphertext)?)
}

/// Any layout as C1 ‖ C3 ‖ C2 with an uncompressed point.
fn to_standard(layout: Sm2Layout, ciphertext: &[u8]) -> Result<Vec<u8>> {
    let standard = match layout {
        Sm2Layout::Der => {
            let sealed = Sealed::from_der(ciphertext).map_err(|_| Error::Ciphertext)?;
            let x = padded(sealed.x.as_bytes(), LEN).ok_or(Error::Ciphertext)?;
            let y = padded(sealed.y.as_bytes(), LEN).ok_or(Error::Ciphertext)?;
            if sealed.digest.as_bytes().len() != LEN {
                return Err(Error::Ciphertext);
            }
            [&[4][..], &x, &y, sealed.digest.as_bytes(), sealed.message.as_bytes()].concat()
        }
        Sm2Layout::C1C3C2 => ciphertext.to_vec(),
        Sm2Layout::C1C2C3 if ciphertext.len() > SM2_OVERHEAD => {
            let (point, rest) = ciphertext.split_at(POINT);
            let (message, digest) = rest.split_at(rest.len() - LEN);
            [point, digest, message].concat()
        }
        Sm2Layout::C1C2C3 => return Err(Error::CiphertextLength),
    };
    match standard.first() {
        _ if standard.len() <= SM2_OVERHEAD => Err(Error::CiphertextLength),
        Some(4) => Ok(standard),
        _ => Err(Error::Ciphertext),
    }
}

fn from_standard(layout: Sm2Layout, standard: Vec<u8>) -> Result<Vec<u8>> {
    let fault = |error: der::Error| Error::Internal(format!("SM2 ciphertext: {error}"));
    if standard.len() <= SM2_OVERHEAD {
        return Err(Error::Internal("SM2 made too short a ciphertext".into()));
    }
    let (point, rest) = standard.split_at(POINT);
    let (digest, message) = rest.split_at(LEN);
    match layout {
        Sm2Layout::C1C3C2 => Ok(standard),
        Sm2Layout::C1C2C3 => Ok([point, message, digest].concat()),
        Sm2Layout::Der => {
            let (x, y) = point[1..].split_at(LEN);
            let sealed = Sealed {
                x: UintRef::new(x).map_err(fault)?,
                y: UintRef::new(y).map_err(fault)?,
                digest: OctetStringRef::new(digest).map_err(fault)?,
                message: OctetStringRef::new(message).map_err(fault)?,
            };
            sealed.to_der().map_err(fault)
        }
    }
}

fn default_id() -> &'static str {
    std::str::from_utf8(DEFAULT_ID).unwrap_or_default()
}

/// The crate computes its table of multiples of the generator under a lock when it is first used. Done here once, where
/// no fork can fall into it, so that no child inherits that lock closed.
fn prepare_table() {
    static PREPARED: AtomicBool = AtomicBool::new(false);
    if !PREPARED.load(Ordering::Acquire) {
        let _inside = gate::enter();
        std::hint::black_box(ProjectivePoint::mul_by_generator(&Scalar::ONE));
        PREPARED.store(true, Ordering::Release);
    }
}

/// aws-lc's generator as the crate wants it.
struct Random;

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_ne_bytes(random::bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_ne_bytes(random::bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        random::fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Random {}

/// A key of the crate, which does not wipe its keys itself: zeros are left behind where it stood.
struct Wiped<T>(Box<ManuallyDrop<T>>);

impl<T> Wiped<T> {
    fn new(key: T) -> Self {
        Self(Box::new(ManuallyDrop::new(key)))
    }
}

impl<T> std::ops::Deref for Wiped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        let place: *mut T = &raw mut **self.0;
        // SAFETY: the value is dropped once, here, and nothing looks at its place afterwards but the allocator; the
        // place is ours, aligned, and size_of::<T> bytes long.
        unsafe {
            ManuallyDrop::drop(&mut self.0);
            zeroize::zeroize_flat_type(place.cast::<ManuallyDrop<T>>());
        }
    }
}

#[cfg(test)]
mod tests;
