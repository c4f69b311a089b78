//! Keys at rest: one key-encryption key per token, the slots that open it, and what is sealed and authenticated under it.

pub mod slot;

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{constant_time, hkdf, hmac, rand};
use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::model::Bytes;

/// Length of a key-encryption key, of the keys derived from it and of an unlock file's secret, in bytes.
pub const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const KEK_SALT: &[u8] = b"alikms kek 1";

/// The key-encryption key of a token: 32 random bytes, from which every other key is derived (HKDF-SHA-256). Zeroized on drop.
pub struct Kek {
    /// Boxed, so that moving a `Kek` leaves no copy behind.
    bytes: Box<Zeroizing<[u8; KEY_LEN]>>,
    /// Authenticates records; derived once because every record that is read needs it.
    records: hmac::Key,
    proof: [u8; 32],
}

impl Kek {
    /// A fresh one.
    pub fn generate() -> Self {
        Self::boxed(Box::new(random()))
    }

    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut own = Box::new(Zeroizing::new([0; KEY_LEN]));
        own.copy_from_slice(bytes);
        Self::boxed(own)
    }

    fn boxed(bytes: Box<Zeroizing<[u8; KEY_LEN]>>) -> Self {
        let records = hmac::Key::new(hmac::HMAC_SHA256, &derive(KEK_SALT, &**bytes, &[b"record tag"])[..]);
        let proof = *derive(KEK_SALT, &**bytes, &[b"proof"]);
        Self { bytes, records, proof }
    }

    /// AES-256-GCM under a key derived for `purpose` and `id`, with `aad` authenticated. Result: nonce (12) ‖ ciphertext ‖ tag (16).
    pub fn seal(&self, purpose: &str, id: &[u8], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        seal_with(&self.key_for(purpose, id), aad, plaintext)
    }

    /// Undoes [`Kek::seal`]; `StoreFault::Corrupt` if anything about it is not as it was sealed.
    pub fn unseal(&self, purpose: &str, id: &[u8], aad: &[u8], sealed: &[u8]) -> Result<Bytes> {
        unseal_with(&self.key_for(purpose, id), aad, sealed)
            .ok_or_else(|| Error::corrupt(format!("what is sealed as {purpose} does not authenticate")))
    }

    /// HMAC-SHA-256 over a stored record; parts are length-prefixed.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.records);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// In constant time.
    pub fn check(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        constant_time::verify_slices_are_equal(&self.tag(parts), tag).is_ok()
    }

    /// Tells key-encryption keys apart without telling anything about them: what a slot and its token's row show
    /// to prove that they belong together.
    pub fn proof(&self) -> &[u8; 32] {
        &self.proof
    }

    fn key_for(&self, purpose: &str, id: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
        derive(KEK_SALT, &**self.bytes, &[b"seal", purpose.as_bytes(), id])
    }
}

impl fmt::Debug for Kek {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kek")
    }
}

/// HKDF-SHA-256. The info is the parts, each behind its length.
fn derive(salt: &[u8], secret: &[u8], info: &[&[u8]]) -> Zeroizing<[u8; KEY_LEN]> {
    struct Len;
    impl hkdf::KeyType for Len {
        fn len(&self) -> usize {
            KEY_LEN
        }
    }
    let lengths: Vec<[u8; 8]> = info.iter().map(|part| (part.len() as u64).to_be_bytes()).collect();
    let info: Vec<&[u8]> = lengths.iter().zip(info).flat_map(|(length, part)| [&length[..], part]).collect();
    let mut key = Zeroizing::new([0; KEY_LEN]);
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&info, Len)
        .and_then(|okm| okm.fill(&mut key[..]))
        .expect("HKDF-SHA-256 yields up to 8,160 bytes, whatever its input");
    key
}

/// AES-256-GCM with a random nonce. Result: nonce ‖ ciphertext ‖ tag.
fn seal_with(key: &[u8; KEY_LEN], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let nonce: Zeroizing<[u8; NONCE_LEN]> = random();
    // With room for all of it from the start: growing would leave a copy of the plaintext behind.
    let mut out = Vec::with_capacity(NONCE_LEN + plaintext.len() + TAG_LEN);
    out.extend_from_slice(&nonce[..]);
    out.extend_from_slice(plaintext);
    let tag = cipher(key)
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut out[NONCE_LEN..])
        .expect("AES-GCM seals anything of less than 64 GiB");
    out.extend_from_slice(tag.as_ref());
    out
}

fn unseal_with(key: &[u8; KEY_LEN], aad: &[u8], sealed: &[u8]) -> Option<Bytes> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let mut out = Bytes::new(rest.to_vec());
    let len = cipher(key).open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), &mut out).ok()?.len();
    out.truncate(len);
    Some(out)
}

fn cipher(key: &[u8; KEY_LEN]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key has the length of an AES-256 key"))
}

fn random<const N: usize>() -> Zeroizing<[u8; N]> {
    let mut out = Zeroizing::new([0; N]);
    rand::fill(&mut out[..]).expect("aws-lc's generator ends the process rather than fail");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseals_only_what_was_sealed_for_the_same_purpose_id_and_aad() {
        let kek = Kek::from_bytes(&[7; 32]);
        let sealed = kek.seal("key", b"id", b"aad", b"secret");
        assert_eq!(sealed.len(), 12 + 6 + 16);
        assert_eq!(&kek.unseal("key", b"id", b"aad", &sealed).unwrap()[..], b"secret");
        assert_ne!(sealed, kek.seal("key", b"id", b"aad", b"secret"));
        for wrong in [
            kek.unseal("keyi", b"d", b"aad", &sealed),
            kek.unseal("key", b"id", b"", &sealed),
            kek.unseal("key", b"id", b"aad", &sealed[..11]),
            kek.unseal("key", b"id", b"aad", &[]),
            Kek::generate().unseal("key", b"id", b"aad", &sealed),
        ] {
            assert!(matches!(wrong, Err(Error::Store(_))));
        }
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(kek.unseal("key", b"id", b"aad", &bent).is_err());
        }
    }

    #[test]
    fn parts_of_a_tag_cannot_be_shifted() {
        let kek = Kek::generate();
        let tag = kek.tag(&[b"ab", b"c"]);
        assert!(kek.check(&[b"ab", b"c"], &tag));
        assert!(!kek.check(&[b"a", b"bc"], &tag));
        assert!(!kek.check(&[b"ab", b"c"], &tag[..31]));
        assert_eq!(format!("{kek:?}"), "Kek");
    }

    /// What is sealed today must be readable by every later version.
    #[test]
    fn derivation_never_changes() {
        let kek = Kek::from_bytes(&[1; 32]);
        let hex = crate::model::names::hex_bytes::to_hex;
        assert_eq!(hex(&kek.key_for("key", b"id")[..]), GOLDEN[0]);
        assert_eq!(hex(&kek.tag(&[b"keys", b"id"])), GOLDEN[1]);
    }
    /// Computed with another implementation of RFC 5869.
    const GOLDEN: [&str; 2] = [
        "a09e383f244d3d3c3d02429b1f4869050042486c4657f003441902e285e9b1a7",
        "0705aae5bfeef51320e2702fb44f052ffea108aaf73e9c92e7763dba0cc0e5f7",
    ];
}
