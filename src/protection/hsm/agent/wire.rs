//! The messages between module and agent, as postcard writes them: first a greeting, then calls and their answers, one
//! after the other. Both sides are of the same version or do not talk.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Error;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Derivation, Job, Signing};
use crate::model::key::Material;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::hsm::DeviceReport;
use crate::protection::hsm::copies::Copies;
use crate::protection::hsm::import::Unwrapping;
use crate::protection::hsm::replication::Under;
use crate::protection::{Generated, Usages};

/// To be raised with every change of what is below.
pub const VERSION: u16 = 3;
/// `A` is [`Ask`] where it is read, `&Ask` where it is written.
#[derive(Debug, Serialize, Deserialize)]
pub struct Call<'a, A> {
    /// `name` of the `[[device]]`.
    pub device: &'a str,
    pub ask: A,
}

/// The methods of [`Hsm`](crate::protection::hsm::Hsm) and of the keys in it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Ask<'a> {
    Destroy(Uuid, Cow<'a, Material>),
    Does(Spec, Cow<'a, Job>, u64),
    Generate(Uuid, Spec, Usages),
    Ids,
    MakeWrapped(Uuid, Spec, Usages, Cow<'a, Under>),
    Once {
        which: Cow<'a, Which>,
        job: Cow<'a, Job>,
        #[serde(with = "serde_bytes")]
        input: &'a [u8],
    },
    Open(Cow<'a, Which>),
    Probe,
    Receive {
        wrapper: Uuid,
        unwrapping: Unwrapping,
        #[serde(with = "serde_bytes")]
        wrapped: &'a [u8],
        id: Uuid,
    },
    Rewrap {
        wrapper: Uuid,
        unwrapping: Unwrapping,
        #[serde(with = "serde_bytes")]
        wrapped: &'a [u8],
        new: (Uuid, Spec, Usages),
        under: Cow<'a, Under>,
    },
    Seed(Cow<'a, [PublicKey]>, Unwrapping),
    Supports(Spec),
    TakeCopy(Uuid, Spec, Option<Cow<'a, PublicKey>>, Cow<'a, Copies>),
    TakesOver(Spec, Unwrapping),
    Unwrap {
        wrapper: Uuid,
        unwrapping: Unwrapping,
        #[serde(with = "serde_bytes")]
        wrapped: &'a [u8],
        new: (Uuid, Spec, Usages),
    },
}

impl Ask<'_> {
    /// The key that it makes. Such a call must not be made twice, and what it made must not be left behind.
    pub fn makes(&self) -> Option<Uuid> {
        match self {
            Self::Generate(id, ..) | Self::Receive { id, .. } | Self::Unwrap { new: (id, ..), .. } => Some(*id),
            _ => None,
        }
    }

    /// Making a key takes longer than using one.
    pub fn is_slow(&self) -> bool {
        self.makes().is_some() || matches!(self, Self::MakeWrapped(..) | Self::Seed(..) | Self::TakeCopy(..))
    }
}

/// Whether the numbers of a job are such as a module sends them: a peer that has gone astray must not make the agent ask
/// the system for a terabyte, or the device for nonsense.
pub fn is_sane(job: &Job) -> bool {
    let cipher = |cipher: &Cipher| match cipher {
        Cipher::AesCtr { bits, .. } | Cipher::Sm4Ctr { bits, .. } => *bits <= 128,
        Cipher::AesGcm { tag, .. } | Cipher::Sm4Gcm { tag, .. } => *tag <= 16,
        _ => true,
    };
    match job {
        Job::Decrypt(with) | Job::Encrypt(with) => cipher(with),
        Job::Derive(Derivation::Encrypt { cipher: with, .. }) => cipher(with),
        // A salt is shorter than its modulus (RFC 8017 §9.1.1).
        Job::Sign(Signing::RsaPss { salt, .. }) => *salt <= 2048,
        Job::Derive(_) | Job::Mac(_) | Job::Sign(_) => true,
    }
}

/// A key as the caller's store knows it, so that no call depends on one before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Which {
    pub id: Uuid,
    pub spec: Spec,
    pub material: Material,
    pub public: Option<PublicKey>,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Told {
    Blobs(Vec<Vec<u8>>),
    Bytes(#[serde(with = "crate::model::wiped")] Bytes),
    Copies(Copies, Option<PublicKey>),
    Done,
    Failed(Fault),
    Generated(Material, Option<PublicKey>),
    Ids(Vec<Uuid>),
    Material(Material),
    Report(DeviceReport),
}

impl From<Generated> for Told {
    fn from(made: Generated) -> Self {
        Self::Generated(made.material, made.public)
    }
}

/// The errors that a device raises, with their words.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    Ciphertext,
    CiphertextLength,
    Config { place: String, reason: String },
    DataLength,
    Device { device: String, call: String, rv: u64 },
    DeviceLacks { device: String, what: String },
    DevicePin { device: String },
    DeviceUnavailable { device: String, reason: String },
    Internal(String),
    InvalidParameter { name: String, reason: String },
    KeyNotFound(String),
    Unsupported(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Ciphertext => Self::Ciphertext,
            Error::CiphertextLength => Self::CiphertextLength,
            Error::Config { place, reason } => Self::Config { place, reason },
            Error::DataLength => Self::DataLength,
            Error::Device { device, call, rv } => Self::Device { device, call: call.to_owned(), rv },
            Error::DeviceLacks { device, what } => Self::DeviceLacks { device, what },
            Error::DevicePin { device } => Self::DevicePin { device },
            Error::DeviceUnavailable { device, reason } => Self::DeviceUnavailable { device, reason },
            Error::Internal(reason) => Self::Internal(reason),
            Error::InvalidParameter { name, reason } => Self::InvalidParameter { name, reason },
            Error::KeyNotFound(name) => Self::KeyNotFound(name),
            Error::Unsupported(what) => Self::Unsupported(what),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Ciphertext => Self::Ciphertext,
            Fault::CiphertextLength => Self::CiphertextLength,
            Fault::Config { place, reason } => Self::Config { place, reason },
            Fault::DataLength => Self::DataLength,
            Fault::Device { device, call, rv } => {
                let known = CALLS.iter().find(|known| **known == call);
                Self::Device { device, call: known.unwrap_or(&"a function"), rv }
            }
            Fault::DeviceLacks { device, what } => Self::DeviceLacks { device, what },
            Fault::DevicePin { device } => Self::DevicePin { device },
            Fault::DeviceUnavailable { device, reason } => Self::DeviceUnavailable { device, reason },
            Fault::Internal(reason) => Self::Internal(reason),
            Fault::InvalidParameter { name, reason } => Self::InvalidParameter { name, reason },
            Fault::KeyNotFound(name) => Self::KeyNotFound(name),
            Fault::Unsupported(what) => Self::Unsupported(what),
        }
    }
}

/// The functions of a device's library by name, because an error names one that lives as long as the program.
const CALLS: &[&str] = &[
    "C_CloseAllSessions",
    "C_CloseSession",
    "C_CreateObject",
    "C_Decrypt",
    "C_DecryptInit",
    "C_DeriveKey",
    "C_DestroyObject",
    "C_Encrypt",
    "C_EncryptInit",
    "C_Finalize",
    "C_FindObjects",
    "C_FindObjectsFinal",
    "C_FindObjectsInit",
    "C_GenerateKey",
    "C_GenerateKeyPair",
    "C_GenerateRandom",
    "C_GetAttributeValue",
    "C_GetMechanismInfo",
    "C_GetMechanismList",
    "C_GetSessionInfo",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_Initialize",
    "C_Login",
    "C_Logout",
    "C_OpenSession",
    "C_Sign",
    "C_Sign, C_Encrypt or C_Decrypt with a wrong length",
    "C_SignInit",
    "C_UnwrapKey",
    "C_WrapKey",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::{HEAD, decode, encode};
    use crate::model::hash::Hash;

    #[test]
    fn every_function_that_is_called_has_its_name_here() {
        let calls = include_str!("../calls.rs");
        for name in calls.split("call!(self, ").skip(1).filter_map(|rest| rest.split('(').next()) {
            assert!(CALLS.contains(&name.trim()), "{name}");
        }
        assert!(CALLS.is_sorted());
    }

    #[test]
    fn messages_come_back_as_they_were_and_nothing_else_does() {
        let which = Which {
            id: Uuid::from_u128(7),
            spec: Spec::by_name("RSA_2048").unwrap(),
            material: Material::Device { device: "soft".into(), serial: "1".into(), id: vec![1; 16] },
            public: Some(PublicKey::Rsa { modulus: vec![3; 256], exponent: vec![1, 0, 1] }),
        };
        let job = Job::Decrypt(Cipher::RsaOaep { hash: Hash::Sha1, mgf: Hash::Sha256, label: vec![1, 2] });
        let ask = Ask::Once { which: Cow::Borrowed(&which), job: Cow::Borrowed(&job), input: &[9; 300] };
        let sent = encode(&Call { device: "soft", ask }).unwrap();
        let body = &sent[HEAD..];
        assert_eq!(sent[..HEAD], (body.len() as u32).to_le_bytes());
        let call: Call<'_, Ask<'_>> = decode(body).unwrap();
        let Ask::Once { which: got, job: work, input } = call.ask else { panic!() };
        assert_eq!((got.as_ref(), work.as_ref(), input), (&which, &job, [9; 300].as_slice()));
        for end in 0..body.len() {
            assert!(decode::<Call<'_, Ask<'_>>>(&body[..end]).is_none());
        }
        assert!(decode::<Call<'_, Ask<'_>>>(&[body, &[0]].concat()).is_none());
        // Whatever a bit turns it into: an answer or none, and never a panic.
        for bit in 0..body.len() * 8 {
            let mut wrong = body.to_vec();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let _ = decode::<Call<'_, Ask<'_>>>(&wrong);
        }
    }

    #[test]
    fn faults_keep_their_words() {
        for error in [
            Error::Device { device: "soft".into(), call: "C_Sign", rv: 5 },
            Error::DeviceUnavailable { device: "soft".into(), reason: "away".into() },
            Error::DevicePin { device: "soft".into() },
            Error::Ciphertext,
            Error::KeyNotFound("x".into()),
        ] {
            assert_eq!(Error::from(Fault::from(error.clone())), error);
        }
        assert_eq!(Error::from(Fault::from(Error::PinLocked)), Error::Internal(Error::PinLocked.to_string()));
    }

    #[test]
    fn absurd_numbers_are_not_worked_on() {
        let gcm = |tag| Job::Decrypt(Cipher::AesGcm { iv: vec![0; 12].into(), aad: vec![], tag });
        let pss = |salt| Job::Sign(Signing::RsaPss { hash: Hash::Sha1, mgf: Hash::Sha1, salt });
        let ctr = |bits| Cipher::AesCtr { block: [0; 16], bits };
        let derive = |bits| Job::Derive(Derivation::Encrypt { cipher: ctr(bits), data: vec![] });
        assert!([gcm(16), pss(64), Job::Encrypt(ctr(128)), derive(1)].iter().all(is_sane));
        for huge in [129, 1 << 40, usize::MAX] {
            let jobs = [gcm(huge), pss(huge << 8 | 1 << 12), Job::Encrypt(ctr(huge)), derive(huge)];
            assert!(!jobs.iter().any(is_sane), "{huge}");
        }
    }

    #[test]
    fn a_key_that_only_software_has_is_not_sent() {
        let hkdf = crate::model::algorithm::Hkdf { hash: Hash::Sha256, extract: None, expand: None };
        let job = Job::Derive(crate::model::algorithm::Derivation::Hkdf(hkdf));
        assert!(encode(&Ask::Does(Spec::by_name("HMAC_SHA_256").unwrap(), Cow::Owned(job), 1)).is_none());
        assert!(
            encode(&Ask::Does(Spec::by_name("EC_P256").unwrap(), Cow::Owned(Job::Sign(Signing::Ecdsa)), 1)).is_some()
        );
    }
}
