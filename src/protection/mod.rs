//! Protection levels: where keys work. Key bytes never leave this room; the KMS keeps only `Material`.

pub mod hsm;
pub mod public;
pub mod software;
pub mod stream;

use std::mem::MaybeUninit;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::Result;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::model::key::{KeyUsage, Level, Material};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
pub use stream::Stream;

/// A protection level. Methods may be called from any thread and block for as long as the work takes.
pub trait Protection: Send + Sync {
    fn level(&self) -> Level;

    /// Makes key material. `id` is the KeyVersionId; it is bound to the material and, in a device, is the `CKA_ID`.
    /// On an error nothing is left behind. `usages` tells what the key may do, as strictly as the device can hold it.
    fn generate(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated>;

    /// Takes over key material: PKCS#8 DER for RSA, the scalar for EC, the bytes of a secret.
    fn import(&self, id: Uuid, spec: Spec, usages: Usages, value: &Bytes) -> Result<Generated>;

    /// A key that is ready to work. Costly (parsing, look-up in the device): the caller keeps it.
    fn open(&self, id: Uuid, spec: Spec, material: &Material, public: Option<&PublicKey>) -> Result<Arc<dyn Key>>;

    /// Destroys the material; no error if it is gone already.
    fn destroy(&self, id: Uuid, material: &Material) -> Result<()>;
}

/// What was made.
#[derive(Debug)]
pub struct Generated {
    pub material: Material,
    /// None for a secret.
    pub public: Option<PublicKey>,
}

/// What the private or secret half may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usages {
    pub decrypt: bool,
    pub derive: bool,
    pub encrypt: bool,
    pub sign: bool,
    pub unwrap: bool,
    pub verify: bool,
    pub wrap: bool,
}

impl Usages {
    /// What `KeyUsage` of the API stands for.
    pub fn of(usage: KeyUsage, asymmetric: bool) -> Self {
        match usage {
            KeyUsage::EncryptDecrypt => Self { decrypt: true, encrypt: !asymmetric, ..Self::default() },
            KeyUsage::SignVerify => Self { sign: true, verify: !asymmetric, ..Self::default() },
        }
    }
}

/// A key at work: a private key or a secret. Shared by any number of threads.
pub trait Key: Send + Sync {
    /// Does the whole job on one input. Whether the key may do it was decided above.
    /// A job that does not fit the key's family is `Error::Unsupported`.
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes>;

    /// The same, with the result put at once where the caller wants it: for what may lie there before it is known whether the
    /// job ends well, a ciphertext. How many bytes there are; None if nothing was done, because the key does not do so.
    fn once_to(&self, _job: &Job, _input: &[u8], _out: &mut [MaybeUninit<u8>]) -> Result<Option<usize>> {
        Ok(None)
    }

    /// Wraps key bytes that are in this process. A device does it without the key being one that encrypts.
    fn wrap(&self, cipher: &Cipher, value: &Bytes) -> Result<Bytes> {
        self.once(&Job::Encrypt(cipher.clone()), value)
    }

    /// Unwraps into this process, which the caller of this has to have been allowed. Errors as of decryption.
    fn unwrap(&self, cipher: &Cipher, wrapped: &[u8]) -> Result<Bytes> {
        self.once(&Job::Decrypt(cipher.clone()), wrapped)
    }

    /// Starts a job whose input comes in parts. By default the parts are collected and [`Key::once`] does the work.
    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>>;
}
