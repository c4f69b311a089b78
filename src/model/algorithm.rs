//! The algorithms of the API's asymmetric operations, and the schemes that keys work by.

use crate::model::hash::Hash;

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
            Self::RsaesOaepSha1 | Self::RsaesOaepSha256 => return None,
        };
        let signing = match self {
            Self::RsaPkcs1Sha256 => Signing::RsaPkcs1,
            Self::RsaPssSha256 => Signing::RsaPss { hash, mgf: hash, salt: hash.len() },
            _ => Signing::Ecdsa,
        };
        Some((signing, hash))
    }

    /// What encrypts to the public key; nothing for an algorithm that signs.
    pub fn sealing(self) -> Option<Cipher> {
        let hash = match self {
            Self::RsaesOaepSha1 => Hash::Sha1,
            Self::RsaesOaepSha256 => Hash::Sha256,
            _ => return None,
        };
        Some(Cipher::RsaOaep { hash, mgf: hash, label: Vec::new() })
    }
}

/// How a private key signs what it is given. The input is never hashed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// Input: a digest, of which the leftmost bits count. Output: r‖s, each of the length of the group order.
    Ecdsa,
    /// Input: what is padded, usually a DigestInfo; at most modulus − 11 bytes.
    RsaPkcs1,
    /// Input: a digest made with `hash`. `salt` in bytes.
    RsaPss { hash: Hash, mgf: Hash, salt: usize },
    /// Input: up to the modulus length, left-padded with zeros, less than the modulus.
    RsaRaw,
}

/// How a key encrypts and decrypts.
#[derive(Debug, Clone, PartialEq, Eq)]
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
        iv: Vec<u8>,
        aad: Vec<u8>,
        tag: usize,
    },
    /// RFC 3394, input a multiple of 8 bytes and at least 16.
    AesKeyWrap {
        iv: Option<[u8; 8]>,
    },
    /// RFC 5649.
    AesKeyWrapPad,
    RsaOaep {
        hash: Hash,
        mgf: Hash,
        label: Vec<u8>,
    },
    /// Decryption uses implicit rejection: a wrong padding yields a made-up plaintext, never an error.
    RsaPkcs1,
    RsaRaw,
}

/// How a secret key authenticates a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mac {
    AesCmac,
    Hmac(Hash),
}

/// One piece of work for a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    Decrypt(Cipher),
    /// The x-coordinate shared with this peer: an uncompressed point on the key's curve.
    Derive {
        peer: Vec<u8>,
    },
    Encrypt(Cipher),
    Mac(Mac),
    Sign(Signing),
}
