//! The algorithms of the API's asymmetric operations, and the schemes that keys work by.

use serde::{Deserialize, Serialize};

use crate::model::context::Context;
use crate::model::hash::Hash;
use crate::model::{Bytes, Iv};

/// `Algorithm` of AsymmetricSign, AsymmetricVerify, AsymmetricEncrypt, AsymmetricDecrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    EcdsaSha256,
    /// Extension, for EC_P384.
    EcdsaSha384,
    /// Extension, for EC_P521.
    EcdsaSha512,
    RsaPkcs1Sha256,
    RsaPssSha256,
    RsaesOaepSha1,
    RsaesOaepSha256,
    /// The digest is SM3(Z_A ‖ M), 32 bytes (ruling 14).
    Sm2Dsa,
    Sm2Pke,
}

impl Algorithm {
    pub const ALL: &[Self] = &[
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::RsaPkcs1Sha256,
        Self::RsaPssSha256,
        Self::RsaesOaepSha1,
        Self::RsaesOaepSha256,
        Self::Sm2Dsa,
        Self::Sm2Pke,
    ];

    /// The API's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::EcdsaSha256 => "ECDSA_SHA_256",
            Self::EcdsaSha384 => "ECDSA_SHA_384",
            Self::EcdsaSha512 => "ECDSA_SHA_512",
            Self::RsaPkcs1Sha256 => "RSA_PKCS1_SHA_256",
            Self::RsaPssSha256 => "RSA_PSS_SHA_256",
            Self::RsaesOaepSha1 => "RSAES_OAEP_SHA_1",
            Self::RsaesOaepSha256 => "RSAES_OAEP_SHA_256",
            Self::Sm2Dsa => "SM2DSA",
            Self::Sm2Pke => "SM2PKE",
        }
    }

    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }

    /// What signs a digest, and the digest's hash; nothing for an algorithm that encrypts.
    pub fn signing(self) -> Option<(Signing, Hash)> {
        let hash = match self {
            Self::EcdsaSha256 | Self::RsaPkcs1Sha256 | Self::RsaPssSha256 => Hash::Sha256,
            Self::EcdsaSha384 => Hash::Sha384,
            Self::EcdsaSha512 => Hash::Sha512,
            Self::Sm2Dsa => Hash::Sm3,
            Self::RsaesOaepSha1 | Self::RsaesOaepSha256 | Self::Sm2Pke => return None,
        };
        let signing = match self {
            Self::RsaPkcs1Sha256 => Signing::RsaPkcs1,
            Self::RsaPssSha256 => Signing::RsaPss { hash, mgf: hash, salt: hash.len() },
            Self::Sm2Dsa => Signing::Sm2Der,
            _ => Signing::Ecdsa,
        };
        Some((signing, hash))
    }

    /// What encrypts to the public key; nothing for an algorithm that signs.
    pub fn sealing(self) -> Option<Cipher> {
        let hash = match self {
            Self::RsaesOaepSha1 => Hash::Sha1,
            Self::RsaesOaepSha256 => Hash::Sha256,
            Self::Sm2Pke => return Some(Cipher::Sm2(Sm2Layout::C1C3C2)),
            _ => return None,
        };
        Some(Cipher::RsaOaep { hash, mgf: hash, label: Vec::new() })
    }

    /// The longest plaintext that the API lets it encrypt, where that is less than the key could, in bytes.
    /// SM2PKE: what makes 6144 bytes of ciphertext (kms-api §2.2).
    pub fn longest_plaintext(self) -> usize {
        if self == Self::Sm2Pke { 6144 - SM2_OVERHEAD } else { usize::MAX }
    }
}

/// How a private key signs what it is given. The input is never hashed here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Signing {
    /// Input: a digest, of which the leftmost bits count. Output: r‖s, each of the length of the group order.
    Ecdsa,
    /// Input: the message, whole. Output: 64 bytes (RFC 8032). With `prehash` Ed25519ph, with a context and no
    /// `prehash`
    /// Ed25519ctx, else Ed25519.
    Eddsa { prehash: bool, context: Vec<u8> },
    /// Input: what is padded, usually a DigestInfo; at most modulus − 11 bytes.
    RsaPkcs1,
    /// Input: a digest made with `hash`. `salt` in bytes.
    RsaPss { hash: Hash, mgf: Hash, salt: usize },
    /// Input: up to the modulus length, left-padded with zeros, less than the modulus.
    RsaRaw,
    /// Input: e = SM3(Z_A ‖ M), 32 bytes. Output: r‖s, 64 bytes (GB/T 32918.2).
    Sm2,
    /// The same with the output in DER, at most 72 bytes (GM/T 0009).
    Sm2Der,
}

impl Signing {
    /// Ed25519 of RFC 8032 without variations, as certificates have it (RFC 8410).
    pub const ED25519: Self = Self::Eddsa { prehash: false, context: Vec::new() };
}

/// What an SM2 ciphertext is longer than its plaintext, in bytes: a point 04 ‖ x ‖ y and an SM3 digest.
pub const SM2_OVERHEAD: usize = 65 + 32;

/// How an SM2 ciphertext is put together of point (C1), encrypted message (C2) and digest (C3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sm2Layout {
    /// As older devices and GM/T 0003 before 2012 have it.
    C1C2C3,
    /// As GB/T 32918.4 has it now.
    C1C3C2,
    /// SEQUENCE of x, y, C3, C2 (GM/T 0009), as OpenSSL has it.
    Der,
}

/// How a key encrypts and decrypts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cipher {
    AesCbc {
        iv: [u8; 16],
    },
    AesCbcPad {
        iv: [u8; 16],
    },
    /// `bits`: how many low bits of the block count.
    AesCtr {
        block: [u8; 16],
        bits: usize,
    },
    AesEcb,
    /// The tag follows the ciphertext. `tag` in bytes.
    AesGcm {
        iv: Iv,
        aad: Vec<u8>,
        tag: usize,
    },
    /// RFC 3394, input a multiple of 8 bytes and at least 16.
    AesKeyWrap {
        iv: Option<[u8; 8]>,
    },
    /// RFC 5649.
    AesKeyWrapPad,
    /// From and to the KMS ciphertext blob, with its EncryptionContext.
    Envelope {
        context: Context,
    },
    RsaOaep {
        hash: Hash,
        mgf: Hash,
        label: Vec<u8>,
    },
    /// Decryption uses implicit rejection: a wrong padding yields a made-up plaintext, never an error.
    RsaPkcs1,
    RsaRaw,
    /// GB/T 32918.4; any plaintext but an empty one.
    Sm2(Sm2Layout),
    Sm4Cbc {
        iv: [u8; 16],
    },
    Sm4CbcPad {
        iv: [u8; 16],
    },
    /// As [`Cipher::AesCtr`].
    Sm4Ctr {
        block: [u8; 16],
        bits: usize,
    },
    Sm4Ecb,
    /// RFC 8998. The tag follows the ciphertext. `tag` in bytes; the IV has 1 to 16.
    Sm4Gcm {
        iv: Iv,
        aad: Vec<u8>,
        tag: usize,
    },
}

/// How a secret key authenticates a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mac {
    AesCmac,
    Hmac(Hash),
}

/// How a key makes another secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Derivation {
    /// The x-coordinate shared with this peer: an uncompressed point on the key's curve, or 32 bytes for X25519.
    Agree { peer: Vec<u8> },
    /// What a secret key encrypts this data to.
    Encrypt { cipher: Cipher, data: Vec<u8> },
    /// Never of a key in a device, so that it is not written for an agent.
    #[serde(skip)]
    Hkdf(Hkdf),
}

/// HKDF (RFC 5869) with a secret as input, or as the pseudo-random key if nothing is extracted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hkdf {
    pub hash: Hash,
    /// The salt to extract with; empty for none.
    pub extract: Option<Bytes>,
    /// The info to expand with, and the length to expand to in bytes.
    pub expand: Option<(Vec<u8>, usize)>,
}

/// One piece of work for a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Job {
    Decrypt(Cipher),
    Derive(Derivation),
    Encrypt(Cipher),
    Mac(Mac),
    Sign(Signing),
}
