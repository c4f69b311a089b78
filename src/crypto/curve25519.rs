//! Ed25519 (RFC 8032) and X25519 (RFC 7748), on aws-lc. Keys are byte strings: no object, no lock, nothing for a fork
//! to break.

use aws_lc_sys as lc;

use super::ec::bad_point;
use super::ffi::{accept, check, filled, filled_secret};
use super::random;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::curve::Curve;

const LEN: usize = 32;
const SIGNATURE: usize = 64;
/// The point of X25519 that public keys are multiples of (RFC 7748 §6.1). aws-lc has a function for it alone, which takes
/// a third of the time and 60 KB of the module (docs/decisions.md).
const BASE: [u8; LEN] = {
    let mut base = [0; LEN];
    base[0] = 9;
    base
};
/// The longest context (RFC 8032 §2), in bytes.
const MAX_CONTEXT: usize = 255;

/// A private key: of Ed25519 the seed, of X25519 the scalar before it is clamped.
pub(super) struct Private {
    curve: Curve,
    secret: Bytes,
    public: [u8; LEN],
    /// Ed25519: seed and public key together, as aws-lc signs with.
    pair: Bytes,
}

/// A public key. Whether it is a point is found out when it is used.
pub(super) struct Public {
    curve: Curve,
    bytes: [u8; LEN],
}

impl Private {
    pub(super) fn generate(curve: Curve) -> Result<Self> {
        let mut secret = Bytes::new(vec![0; LEN]);
        random::fill(&mut secret);
        Self::from_secret(curve, &secret)
    }

    /// Exactly 32 bytes.
    pub(super) fn from_secret(curve: Curve, secret: &[u8]) -> Result<Self> {
        if secret.len() != LEN {
            return Err(Error::invalid("private key", "of Ed25519 and X25519 it has 32 bytes"));
        }
        let mut public = [0; LEN];
        let pair = if curve == Curve::Ed25519 {
            // SAFETY: 32 bytes are read, 32 and 64 bytes written, to buffers of these lengths.
            unsafe {
                filled_secret(SIGNATURE, |pair| {
                    lc::ED25519_keypair_from_seed(public.as_mut_ptr(), pair, secret.as_ptr());
                    Ok(SIGNATURE)
                })?
            }
        } else {
            // SAFETY: 32 bytes each are read, 32 written.
            let made = unsafe { lc::X25519(public.as_mut_ptr(), secret.as_ptr(), BASE.as_ptr()) };
            check(made, "X25519")?;
            Bytes::default()
        };
        Ok(Self { curve, secret: Bytes::new(secret.to_vec()), public, pair })
    }

    pub(super) fn secret(&self) -> Bytes {
        self.secret.clone()
    }

    pub(super) fn point(&self) -> Vec<u8> {
        self.public.to_vec()
    }

    /// 64 bytes. `InvalidParameter` for a context that is too long, `Unsupported` with an X25519 key.
    pub(super) fn sign(&self, prehash: bool, context: &[u8], message: &[u8]) -> Result<Vec<u8>> {
        only(self.curve, Curve::Ed25519)?;
        check_context(context)?;
        let (key, text, len) = (self.pair.as_ptr(), message.as_ptr(), message.len());
        let (extra, extra_len) = (context.as_ptr(), context.len());
        // SAFETY: the key has 64 bytes; message and context are read within their lengths; 64 bytes are written.
        unsafe {
            filled(SIGNATURE, |out| {
                let answer = match (prehash, context) {
                    (true, _) => lc::ED25519ph_sign(out, text, len, key, extra, extra_len),
                    (false, []) => lc::ED25519_sign(out, text, len, key),
                    (false, _) => lc::ED25519ctx_sign(out, text, len, key, extra, extra_len),
                };
                check(answer, "ED25519_sign").map(|()| SIGNATURE)
            })
        }
    }

    /// 32 bytes. `InvalidParameter` for a peer of small order, whose shared secret anybody knows (RFC 7748 §6.1).
    pub(super) fn derive(&self, peer: &[u8]) -> Result<Bytes> {
        only(self.curve, Curve::X25519)?;
        let peer = Public::new(Curve::X25519, peer)?;
        // SAFETY: 32 bytes are read of each key, 32 written.
        unsafe {
            filled_secret(LEN, |out| {
                accept(lc::X25519(out, self.secret.as_ptr(), peer.bytes.as_ptr()), bad_point).map(|()| LEN)
            })
        }
    }
}

impl Public {
    pub(super) fn new(curve: Curve, bytes: &[u8]) -> Result<Self> {
        let wrong = |_| Error::invalid("point", "a public key of Ed25519 and X25519 has 32 bytes");
        Ok(Self { curve, bytes: bytes.try_into().map_err(wrong)? })
    }

    /// `SignatureInvalid` also for a key that is no point.
    pub(super) fn verify(&self, prehash: bool, context: &[u8], message: &[u8], signature: &[u8]) -> Result<()> {
        only(self.curve, Curve::Ed25519)?;
        check_context(context)?;
        if signature.len() != SIGNATURE {
            return Err(Error::SignatureLength);
        }
        let (key, text, len) = (self.bytes.as_ptr(), message.as_ptr(), message.len());
        let (extra, extra_len, signature) = (context.as_ptr(), context.len(), signature.as_ptr());
        // SAFETY: the key has 32 bytes and the signature 64; message and context are read within their lengths.
        let answer = unsafe {
            match (prehash, context) {
                (true, _) => lc::ED25519ph_verify(text, len, signature, key, extra, extra_len),
                (false, []) => lc::ED25519_verify(text, len, signature, key),
                (false, _) => lc::ED25519ctx_verify(text, len, signature, key, extra, extra_len),
            }
        };
        accept(answer, || Error::SignatureInvalid)
    }
}

fn check_context(context: &[u8]) -> Result<()> {
    match context.len() {
        ..=MAX_CONTEXT => Ok(()),
        _ => Err(Error::invalid("context", "a context of EdDSA has at most 255 bytes")),
    }
}

fn only(curve: Curve, wanted: Curve) -> Result<()> {
    if curve == wanted { Ok(()) } else { Err(Error::Unsupported(format!("{wanted:?} with a key of {curve:?}"))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::hex;

    /// RFC 8032 §7.1 test 2, §7.2 test 1, §7.3 test abc: the front of each signature.
    #[test]
    fn ed25519_in_its_three_forms() {
        let known = [
            ("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", false, "", "72", "92a009a9f0d4cab8"),
            (
                "0305334e381af78f141cb666f6199f57bc3495335a256a95bd2a55bf546663f6",
                false,
                "666f6f",
                "f726936d19c800494e3fdaff20b276a8",
                "55a4cc2f70a54e04",
            ),
            (
                "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
                true,
                "",
                "616263",
                "98a70222f0b8121a",
            ),
        ];
        for (seed, prehash, context, message, front) in known {
            let key = Private::from_secret(Curve::Ed25519, &hex(seed)).unwrap();
            let public = Public::new(Curve::Ed25519, &key.point()).unwrap();
            let (context, message) = (hex(context), hex(message));
            let signature = key.sign(prehash, &context, &message).unwrap();
            assert_eq!(signature[..8], hex(front));
            public.verify(prehash, &context, &message, &signature).unwrap();
            assert_eq!(public.verify(!prehash, &context, &message, &signature), Err(Error::SignatureInvalid));
            assert_eq!(public.verify(prehash, b"other", &message, &signature), Err(Error::SignatureInvalid));
            assert_eq!(public.verify(prehash, &context, &message, &signature[1..]), Err(Error::SignatureLength));
            assert!(key.sign(prehash, &[0; 256], &message).is_err());
            assert!(key.derive(&[9; 32]).is_err());
        }
    }

    #[test]
    fn x25519_agrees() {
        let (one, other) = (Private::generate(Curve::X25519).unwrap(), Private::generate(Curve::X25519).unwrap());
        assert_eq!(*one.derive(&other.point()).unwrap(), *other.derive(&one.point()).unwrap());
        // The base point, once: RFC 7748 §5.2.
        let mut nine = [0; 32];
        nine[0] = 9;
        let key = Private::from_secret(Curve::X25519, &nine).unwrap();
        assert_eq!(key.point(), hex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079"));
        assert!(key.derive(&[0; 32]).is_err() && key.derive(&[9; 31]).is_err());
        assert!(key.sign(false, b"", b"x").is_err());
    }
}
