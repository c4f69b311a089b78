//! A key in the device at work: found once, proven to be the recorded one, then used by its handle until recovery
//! makes the handle worthless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cryptoki_sys::*;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::arguments::{Mechanism, Parameter};
use super::calls::{Act, Failed};
use super::copies::Copies;
use super::jobs::{Plan, Subject};
use super::parts;
use super::pool::Device;
use super::profile::mechanism_name;
use super::recover::Fault;
use super::session::Session;
use super::templates;
use super::wrapping::KeyWrap;
use crate::crypto::{digest, random};
use crate::error::{Error, Result};
use crate::fork;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Derivation, Job, Signing};
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::public::Prepared;
use crate::protection::{Key, Stream};

/// A private or secret key in a device.
pub struct DeviceKey {
    pub(super) device: Arc<Device>,
    /// The CKA_ID.
    id: Vec<u8>,
    spec: Spec,
    public: Option<PublicKey>,
    /// Of a key that is in other devices, too: how it is known.
    copies: Option<Copies>,
    found: Found,
    rejection: Rejection,
}

impl DeviceKey {
    pub fn new(
        device: Arc<Device>,
        id: Vec<u8>,
        spec: Spec,
        public: Option<PublicKey>,
        copies: Option<Copies>,
    ) -> Self {
        Self { device, id, spec, public, copies, found: Found::default(), rejection: Rejection::default() }
    }

    /// Finds the key and proves that it is the recorded one.
    pub fn look(&self) -> Result<()> {
        self.device.run(&|session| self.check(session), |session| self.locate(session).map(|_| ()))
    }

    /// The handle of the key in this connection.
    fn locate(&self, session: &Session) -> Result<CK_OBJECT_HANDLE, Fault> {
        match self.found.at(session.connection.generation) {
            Some(handle) => Ok(handle),
            None => self.find(session),
        }
    }

    /// Proves that the device still has the key: the handle is that of an object with our ID, or the key is found anew.
    fn check(&self, session: &Session) -> Result<(), Fault> {
        if let Some(handle) = self.found.at(session.connection.generation)
            && session.has_id(handle, &self.id) == Ok(true)
        {
            return Ok(());
        }
        self.find(session).map(|_| ())
    }

    #[cold]
    pub(super) fn find(&self, session: &Session) -> Result<CK_OBJECT_HANDLE, Fault> {
        let class = if self.spec.family.is_asymmetric() { CKO_PRIVATE_KEY } else { CKO_SECRET_KEY };
        let found = session.find(templates::search(class, &self.id), 2)?;
        let handle = match found[..] {
            [] => return Err(Fault::Missing(self.id.clone())),
            [handle] => handle,
            _ => return Err(self.refuse("there is more than one of them on the token")),
        };
        if !session.has_id(handle, &self.id)? {
            return Err(self.refuse("what the device finds by its CKA_ID has another one"));
        }
        if let Some(public) = &self.public {
            self.prove(session, handle, public)?;
        }
        if let Some(copies) = &self.copies
            && copies.knows(&self.device, session, handle, (&self.id, self.spec))? == Some(false)
        {
            return Err(self.refuse("it is not the recorded one: it makes another answer"));
        }
        session.connection.witness(handle, &self.id);
        self.found.set(session.connection.generation, handle);
        Ok(handle)
    }

    /// That the private key is the one whose public key is recorded. The private object's own numbers prove it; a public
    /// object beside it proves only itself, so there a signature must do, where the key may sign.
    fn prove(&self, session: &Session, handle: CK_OBJECT_HANDLE, public: &PublicKey) -> Result<(), Fault> {
        match self.public_at(session, handle)? {
            Some(own) if own == *public => return Ok(()),
            Some(_) => return Err(self.refuse("it is not the recorded one: its public key differs")),
            None => {}
        }
        let mut is_known = false;
        for other in session.find(templates::search(CKO_PUBLIC_KEY, &self.id), 2)? {
            match self.public_at(session, other)? {
                Some(key) if key == *public => is_known = true,
                Some(_) => return Err(self.refuse("it is not the recorded one: its public key differs")),
                None => {}
            }
        }
        match self.test_signature(session, handle, public)? {
            Some(true) => Ok(()),
            Some(false) => Err(self.refuse("it is not the recorded one: its signature does not verify")),
            // In several devices the public object was put there by us, whatever is beside it.
            None if is_known && self.copies.is_none() => Ok(()),
            None => Err(self.refuse("it cannot be told from another one: the device shows no public key of it")),
        }
    }

    fn public_at(&self, session: &Session, object: CK_OBJECT_HANDLE) -> Result<Option<PublicKey>, Fault> {
        let parts = session.attributes(object, &templates::public_parts(self.spec.family))?;
        templates::public_key(self.spec.family, &parts)
            .map_err(|()| self.refuse("its public key is not of the recorded kind"))
    }

    /// None: the key may not sign.
    fn test_signature(
        &self,
        session: &Session,
        handle: CK_OBJECT_HANDLE,
        public: &PublicKey,
    ) -> Result<Option<bool>, Fault> {
        let challenge = random::bytes::<32>();
        let signing = match self.spec.family {
            Family::Ec(Curve::Sm2) => Signing::Sm2,
            Family::Ec(_) => Signing::Ecdsa,
            _ => Signing::RsaPkcs1,
        };
        let job = Job::Sign(signing.clone());
        let subject = Subject { spec: self.spec, public: Some(public) };
        let Ok(plan) = Plan::new(&self.device, &session.connection, subject, &job, &challenge) else { return Ok(None) };
        match session.act(plan.act, &plan.mechanism, handle, &plan.input, place(plan.room)?) {
            Ok(signature) => {
                let Ok(signature) = plan.finish(&self.device, signature, &[0; 32]) else { return Ok(Some(false)) };
                let prepared = Prepared::new(public).map_err(Fault::Stop)?;
                Ok(Some(prepared.verify(&signing, &challenge, &signature).is_ok()))
            }
            Err(Failed { rv: CKR_KEY_FUNCTION_NOT_PERMITTED | CKR_KEY_TYPE_INCONSISTENT, .. }) => Ok(None),
            Err(failed) => Err(failed.into()),
        }
    }

    fn refuse(&self, why: &str) -> Fault {
        let name = Uuid::from_slice(&self.id).map_or_else(|_| "with this CKA_ID".to_owned(), |id| id.to_string());
        Fault::Stop(self.device.unavailable(format!("the key {name} is not used: {why}")))
    }

    fn work(&self, session: &Session, job: &Job, input: &[u8]) -> Result<Bytes, Fault> {
        let handle = self.locate(session)?;
        match job {
            Job::Derive(Derivation::Agree { peer }) => return self.agree(session, handle, peer),
            Job::Derive(Derivation::Encrypt { cipher, data }) => {
                return self.derive_by_encrypting(session, handle, cipher, data);
            }
            _ => {}
        }
        let subject = Subject { spec: self.spec, public: self.public.as_ref() };
        let for_keys = KeyWrap::of(&self.device, &session.connection, job);
        let plan = match (Plan::new(&self.device, &session.connection, subject, job, input), &for_keys) {
            (Err(Error::DeviceLacks { .. }), Some(by)) => return self.by_object(session, handle, by, input),
            (plan, _) => plan.map_err(Fault::Stop)?,
        };
        let secret =
            if plan.needs_secret() { self.rejection_secret(session, handle)? } else { Zeroizing::new([0; 32]) };
        let answer = match (session.act(plan.act, &plan.mechanism, handle, &plan.input, place(plan.room)?), &for_keys) {
            // It may wrap, and does not encrypt.
            (Err(Failed { rv: CKR_KEY_FUNCTION_NOT_PERMITTED, .. }), Some(by)) => {
                return self.by_object(session, handle, by, input);
            }
            (answer, _) => answer.map_err(|failed| self.cannot(failed, plan.mechanism.id))?,
        };
        plan.finish(&self.device, answer, &secret).map_err(Fault::Stop)
    }

    /// ECDH without a derivation function: a session object that can be read, read and destroyed.
    fn agree(&self, session: &Session, base: CK_OBJECT_HANDLE, peer: &[u8]) -> Result<Bytes, Fault> {
        let Family::Ec(curve) = self.spec.family else {
            return Err(Fault::Stop(Error::Unsupported("key agreement with a key that is not EC".to_owned())));
        };
        let len = curve.field_len();
        if peer.len() != 1 + 2 * len || peer.first() != Some(&4) {
            return Err(Fault::Stop(Error::invalid("PublicData", "not an uncompressed point of this curve")));
        }
        let mechanism = Mechanism { id: CKM_ECDH1_DERIVE, parameter: Parameter::Ecdh { peer } };
        self.derive(session, base, &mechanism, len)
    }

    /// What an AES key encrypts data to, as a key.
    fn derive_by_encrypting(
        &self,
        session: &Session,
        base: CK_OBJECT_HANDLE,
        cipher: &Cipher,
        data: &[u8],
    ) -> Result<Bytes, Fault> {
        let (id, parameter) = match cipher {
            Cipher::AesEcb => (CKM_AES_ECB_ENCRYPT_DATA, Parameter::Data { iv: None, data }),
            Cipher::AesCbc { iv } => (CKM_AES_CBC_ENCRYPT_DATA, Parameter::Data { iv: Some(*iv), data }),
            _ => return Err(Fault::Stop(Error::Unsupported("deriving with this cipher".to_owned()))),
        };
        self.derive(session, base, &Mechanism { id, parameter }, data.len())
    }

    fn derive(
        &self,
        session: &Session,
        base: CK_OBJECT_HANDLE,
        mechanism: &Mechanism<'_>,
        len: usize,
    ) -> Result<Bytes, Fault> {
        if !self.device.profile().map_err(Fault::Stop)?.session_objects {
            return Err(Fault::Stop(self.device.lacks("session objects, which hold what is agreed on")));
        }
        if !session.connection.does(mechanism.id, CKF_DERIVE) {
            return Err(Fault::Stop(self.device.lacks(mechanism_name(mechanism.id))));
        }
        let shared = session
            .derive(mechanism, base, &templates::shared_secret(len))
            .map_err(|failed| self.cannot(failed, mechanism.id))?;
        let value = session.attributes(shared, &[(CKA_VALUE, len)]);
        session.destroy(shared).map_err(|failed| self.device.not_gone(failed))?;
        let value = value?.pop().flatten().filter(|value| value.len() == len);
        value.ok_or_else(|| Fault::Stop(self.device.lacks("reading a derived secret (CKA_VALUE)")))
    }

    /// What implicit rejection makes its messages of. It must belong to the key and be the same in every process that
    /// uses it, or whoever asks two of them could tell made-up messages from real ones; so the device makes it: what
    /// the private key makes of a fixed block, which is not the padding of any scheme.
    fn rejection_secret(&self, session: &Session, handle: CK_OBJECT_HANDLE) -> Result<Zeroizing<[u8; 32]>, Fault> {
        if let Some(secret) = self.rejection.secret() {
            return Ok(secret);
        }
        let size = self.spec.bits / 8;
        let mut block = vec![0x55; size];
        for (place, byte) in block.iter_mut().zip([0, 0x33].iter().chain(b"alikms-pkcs11 implicit rejection 1")) {
            *place = *byte;
        }
        let mechanism = Mechanism { id: CKM_RSA_X_509, parameter: Parameter::None };
        let answer = session
            .act(Act::Decrypt, &mechanism, handle, &block, place(size)?)
            .map_err(|failed| self.cannot(failed, CKM_RSA_X_509))?;
        // Devices that strip zeros and those that do not shall agree.
        let number: Bytes = Bytes::new(answer.iter().copied().skip_while(|byte| *byte == 0).collect());
        let hash = Zeroizing::new(digest::hash(Hash::Sha256, &number));
        let mut secret = Zeroizing::new([0; 32]);
        secret.iter_mut().zip(hash.iter()).for_each(|(place, byte)| *place = *byte);
        self.rejection.keep(&secret);
        Ok(secret)
    }

    /// A refusal of the mechanism itself is told by its name.
    pub(super) fn cannot(&self, failed: Failed, mechanism: CK_MECHANISM_TYPE) -> Fault {
        match failed.rv {
            CKR_MECHANISM_INVALID | CKR_FUNCTION_NOT_SUPPORTED => {
                Fault::Stop(self.device.lacks(mechanism_name(mechanism)))
            }
            CKR_MECHANISM_PARAM_INVALID | CKR_ARGUMENTS_BAD if failed.call.ends_with("Init") => {
                Fault::Stop(self.device.lacks(format!("{} with these parameters", mechanism_name(mechanism))))
            }
            CKR_KEY_SIZE_RANGE => {
                Fault::Stop(self.device.lacks(format!("{} with a key of this length", mechanism_name(mechanism))))
            }
            _ => Fault::Call(failed),
        }
    }
}

/// Where an answer of at most `room` bytes goes: [`super::calls::Module::act`].
pub(super) fn place(room: usize) -> Result<Bytes, Fault> {
    Bytes::zeros(room.saturating_add(1)).map_err(Fault::Stop)
}

impl Key for DeviceKey {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        self.device.run(&|session| self.check(session), |session| self.work(session, job, input))
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        // A device session is lent for one call at a time.
        Ok(parts::start(self, job))
    }
}

/// The handle of a key, good for one connection. Without a lock, because a fork copies locks that are held.
#[derive(Default)]
struct Found {
    /// The connection's number, 0 for none, [`WRITING`] and the writing process's epoch meanwhile.
    generation: AtomicU64,
    handle: AtomicU64,
}

const WRITING: u64 = 1 << 63;

impl Found {
    fn at(&self, generation: u64) -> Option<CK_OBJECT_HANDLE> {
        if self.generation.load(Ordering::Acquire) != generation {
            return None;
        }
        let handle = self.handle.load(Ordering::Acquire);
        // Numbers never come twice: if it is still this one, the handle between is its own.
        (self.generation.load(Ordering::Relaxed) == generation).then_some(handle)
    }

    fn set(&self, generation: u64, handle: CK_OBJECT_HANDLE) {
        let writing = WRITING | fork::epoch();
        let before = self.generation.load(Ordering::Acquire);
        // Somebody of this process is writing, and will have found the same.
        if before == writing {
            return;
        }
        if self.generation.compare_exchange(before, writing, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            self.handle.store(handle, Ordering::Release);
            self.generation.store(generation, Ordering::Release);
        }
    }
}

/// The secret of implicit rejection, once known. Without a lock, as above: it is the same whoever computes it.
#[derive(Default)]
struct Rejection {
    words: [AtomicU64; 4],
    is_known: AtomicBool,
}

impl Rejection {
    fn secret(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.is_known.load(Ordering::Acquire).then(|| {
            let mut secret = Zeroizing::new([0; 32]);
            for (place, word) in secret.chunks_exact_mut(8).zip(&self.words) {
                place.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
            }
            secret
        })
    }

    fn keep(&self, secret: &[u8; 32]) {
        for (word, part) in self.words.iter().zip(secret.chunks_exact(8)) {
            word.store(part.try_into().map_or(0, u64::from_ne_bytes), Ordering::Relaxed);
        }
        self.is_known.store(true, Ordering::Release);
    }
}

impl Drop for Rejection {
    fn drop(&mut self) {
        self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }
}
