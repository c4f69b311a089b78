//! Operations: one encryption, decryption, signature, verification or digest from its Init to its end.
//!
//! The two-call rule (PKCS#11 3.2 §5.2) has its home here: a length query or a buffer that is too small keeps the operation,
//! everything else ends it, because the operation is taken out of the session first.

use std::mem::MaybeUninit;
use std::sync::Arc;

use cryptoki_sys::*;

use crate::crypto::append;
use crate::crypto::digest::Hasher;
use crate::error::{Error, Result};
use crate::kms::use_key::Ready;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job, SM2_OVERHEAD, Signing, Sm2Layout};
use crate::model::blob::OVERHEAD;
use crate::model::hash::Hash;
use crate::protection::{Key, Stream};
use crate::token::engine::Engine;
use crate::token::uses::settle;
use crate::token::{Answer, Room, Session, ck};

/// What DER adds at most to an SM2 ciphertext: a SEQUENCE, two INTEGERs with their zeros, two OCTET STRINGs.
const SM2_DER: usize = 6 + 2 * 3 + 2 + 6;
/// The longest SM2 signature in DER.
const SM2_DER_SIGNATURE: usize = 72;

/// The longest message that EdDSA, which goes over it twice, takes in parts.
const MAX_MESSAGE: usize = 64 << 20;

/// One operation with a key.
pub struct Work {
    engine: Engine,
    task: Task,
    stage: Stage,
    /// Bytes that came in parts so far, and that went out.
    fed: usize,
    out: usize,
    /// The engine keeps its output for Final, as devices do.
    collects: bool,
    /// CKA_ALWAYS_AUTHENTICATE: nothing happens before C_Login with CKU_CONTEXT_SPECIFIC.
    pub locked: bool,
}

/// What is to be done, and how big its result is.
#[derive(Clone)]
pub struct Task {
    pub job: Job,
    /// The input is hashed first.
    pub hash: Option<Hash>,
    /// What is hashed before the input: Z_A of SM2.
    pub prefix: Vec<u8>,
    /// Wrap the digest into a DigestInfo (PKCS#1 v1.5 with a hash).
    pub info: bool,
    /// Exact length of a signature; of a MAC after truncation.
    pub size: Option<usize>,
    /// Block length of a cipher that wants whole blocks or pads to them; modulus length of RSA; 0 for a stream.
    pub block: usize,
}

impl Task {
    fn hasher(&self, hash: Hash) -> Hasher {
        let mut hasher = Hasher::new(hash);
        hasher.update(&self.prefix);
        hasher
    }

    fn digest(&self, hash: Hash, input: &[u8]) -> Vec<u8> {
        let mut hasher = self.hasher(hash);
        hasher.update(input);
        hasher.finish()
    }
}

enum Stage {
    Fresh,
    /// A length was asked for by the one-shot function: only that one may go on.
    Asked,
    Fed(Feed),
    /// Worked out already; the buffer was too small. `single`: by the one-shot function.
    Ready {
        output: Bytes,
        single: bool,
    },
}

enum Feed {
    Collect(Bytes),
    Hash(Hasher),
    Stream(Box<dyn Stream>),
}

/// How an operation ended or goes on.
pub type Step = (Answer, Option<Work>);

impl Work {
    #[inline(always)]
    pub fn new(engine: Engine, task: Task, locked: bool) -> Self {
        Self { engine, task, stage: Stage::Fresh, fed: 0, out: 0, collects: false, locked }
    }

    /// The same work from its beginning, or another job with the same key.
    pub fn anew(&self, job: Option<Job>) -> Self {
        let task = Task { job: job.unwrap_or_else(|| self.task.job.clone()), ..self.task.clone() };
        Self::new(self.engine.clone(), task, self.locked)
    }

    #[inline(always)]
    pub fn is_by(&self, engine: &Engine) -> bool {
        self.engine.is(engine)
    }

    /// Lets go of what the last cipher had of the caller's, which may be much.
    pub fn rest(&mut self) {
        if let Job::Encrypt(Cipher::AesGcm { aad, .. }) = &mut self.task.job {
            *aad = Vec::new();
        }
    }

    /// Back to the beginning with another cipher of the same kind, by another engine if that was renewed.
    #[inline(always)]
    pub fn again(&mut self, cipher: Cipher, locked: bool, renewed: Option<Engine>) {
        self.task.job =
            if matches!(self.task.job, Job::Decrypt(_)) { Job::Decrypt(cipher) } else { Job::Encrypt(cipher) };
        (self.stage, self.fed, self.out, self.collects, self.locked) = (Stage::Fresh, 0, 0, false, locked);
        if let Some(engine) = renewed {
            self.engine = engine;
        }
    }

    /// The room that Final asks for.
    pub fn most(&self) -> usize {
        self.bound(self.fed).saturating_sub(self.out)
    }

    fn check_unlocked(&self) -> Result<()> {
        if self.locked { Err(ck(CKR_USER_NOT_LOGGED_IN)) } else { Ok(()) }
    }

    /// The most that the output can be for so much input.
    fn bound(&self, input: usize) -> usize {
        if let Some(size) = self.task.size {
            return size;
        }
        let block = self.task.block;
        match &self.task.job {
            Job::Encrypt(Cipher::AesCbcPad { .. } | Cipher::Sm4CbcPad { .. }) => (input / block + 1) * block,
            Job::Encrypt(Cipher::AesGcm { tag, .. } | Cipher::Sm4Gcm { tag, .. }) => input + tag,
            Job::Decrypt(Cipher::AesGcm { tag, .. } | Cipher::Sm4Gcm { tag, .. }) => input.saturating_sub(*tag),
            Job::Encrypt(Cipher::Envelope { .. }) => input + OVERHEAD,
            Job::Decrypt(Cipher::Envelope { .. }) => input.saturating_sub(OVERHEAD),
            Job::Encrypt(Cipher::AesKeyWrap { .. }) => input + 8,
            Job::Encrypt(Cipher::AesKeyWrapPad) => input.div_ceil(8) * 8 + 8,
            Job::Decrypt(Cipher::AesKeyWrap { .. } | Cipher::AesKeyWrapPad) => input.saturating_sub(8),
            Job::Encrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw)
            | Job::Decrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw) => block,
            Job::Encrypt(Cipher::Sm2(Sm2Layout::Der)) => input + SM2_OVERHEAD + SM2_DER,
            Job::Encrypt(Cipher::Sm2(_)) => input + SM2_OVERHEAD,
            Job::Decrypt(Cipher::Sm2(Sm2Layout::Der)) => input.saturating_sub(SM2_OVERHEAD - SM2_DER),
            Job::Decrypt(Cipher::Sm2(_)) => input.saturating_sub(SM2_OVERHEAD),
            Job::Sign(Signing::Sm2Der) => SM2_DER_SIGNATURE,
            _ => input,
        }
    }

    /// How much Updates have put out after so much input: whole blocks, of padded ones all but the last.
    fn put_out(&self, fed: usize) -> usize {
        match &self.task.job {
            Job::Decrypt(Cipher::AesGcm { .. })
            | Job::Encrypt(Cipher::Sm4Gcm { .. })
            | Job::Decrypt(Cipher::Sm4Gcm { .. })
            | Job::Encrypt(Cipher::AesKeyWrap { .. } | Cipher::AesKeyWrapPad)
            | Job::Decrypt(Cipher::AesKeyWrap { .. } | Cipher::AesKeyWrapPad)
            | Job::Encrypt(Cipher::Envelope { .. })
            | Job::Decrypt(Cipher::Envelope { .. }) => 0,
            Job::Decrypt(Cipher::AesCbcPad { .. } | Cipher::Sm4CbcPad { .. }) => {
                fed.saturating_sub(1) / self.task.block * self.task.block
            }
            _ if self.task.block > 1 => fed / self.task.block * self.task.block,
            _ => fed,
        }
    }

    /// Is the bound the exact length, so that a small buffer can be refused before the work is done?
    fn exact(&self) -> bool {
        !matches!(
            self.task.job,
            Job::Decrypt(Cipher::AesCbcPad { .. } | Cipher::AesKeyWrapPad | Cipher::RsaOaep { .. } | Cipher::RsaPkcs1)
                | Job::Decrypt(Cipher::Sm4CbcPad { .. } | Cipher::Sm2(Sm2Layout::Der))
                | Job::Encrypt(Cipher::Sm2(Sm2Layout::Der))
                | Job::Sign(Signing::Sm2Der)
        )
    }

    /// The one-shot function.
    pub fn single(mut self, session: &mut Session, input: &[u8], room: Room) -> Result<Step> {
        self.check_unlocked()?;
        match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Fresh | Stage::Asked => {}
            Stage::Ready { output, single: true } => return Ok(self.deliver(output, room, true)),
            Stage::Fed(_) | Stage::Ready { .. } => return Err(ck(CKR_OPERATION_ACTIVE)),
        }
        let bound = self.bound(input.len());
        match room {
            Room::Ask => {
                self.stage = Stage::Asked;
                return Ok((Answer::Size(bound), Some(self)));
            }
            Room::Bytes(room) if room < bound && self.exact() => {
                self.stage = Stage::Asked;
                return Ok((Answer::TooSmall(bound), Some(self)));
            }
            Room::Bytes(_) => {}
        }
        let output = self.once(session, input)?;
        Ok(self.deliver(output, room, true))
    }

    /// The same at once where the caller wants the output, if it is a ciphertext and there is room: no memory in between has to
    /// be found, copied from and wiped. How many bytes; None if nothing was done. The operation ends otherwise.
    pub fn single_to(&self, session: &Session, input: &[u8], out: &mut [MaybeUninit<u8>]) -> Result<Option<usize>> {
        let seals = matches!(self.task.job, Job::Encrypt(Cipher::AesGcm { .. }));
        if !seals || !matches!(self.stage, Stage::Fresh | Stage::Asked) || out.len() < self.bound(input.len()) {
            return Ok(None);
        }
        self.check_unlocked()?;
        match &self.engine {
            Engine::Kms { ready, .. } => {
                let new = self.changed(session)?;
                session.slot().kms.once_to(new.as_deref().unwrap_or(ready), &self.task.job, input, out)
            }
            Engine::Session(key) => key.once_to(&self.task.job, input, out),
            Engine::Public(..) => Ok(None),
        }
    }

    fn deliver(mut self, output: Bytes, room: Room, single: bool) -> Step {
        let length = output.len();
        match room {
            Room::Bytes(room) if room >= length => (Answer::Bytes(output), None),
            room => {
                self.stage = Stage::Ready { output, single };
                let answer = if room == Room::Ask { Answer::Size(length) } else { Answer::TooSmall(length) };
                (answer, Some(self))
            }
        }
    }

    /// The whole job on one input.
    fn once(&mut self, session: &mut Session, input: &[u8]) -> Result<Bytes> {
        match self.task.hash {
            Some(hash) => {
                let digest = self.task.digest(hash, input);
                self.run(session, &self.hashed(hash, digest))
            }
            None => self.run(session, input),
        }
    }

    /// What is signed of a digest.
    fn hashed(&self, hash: Hash, digest: Vec<u8>) -> Vec<u8> {
        if self.task.info { [hash.digest_info_prefix(), &digest].concat() } else { digest }
    }

    fn run(&self, session: &mut Session, input: &[u8]) -> Result<Bytes> {
        // What the levels and the devices take differently is decided here.
        match &self.task.job {
            Job::Decrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw)
                if input.len() != self.task.block =>
            {
                return Err(Error::CiphertextLength);
            }
            Job::Sign(Signing::Ecdsa) if input.is_empty() => return Err(Error::DataLength),
            _ => {}
        }
        let output = match &self.engine {
            Engine::Kms { ready, action } => {
                let new = self.changed(session)?;
                let ready = new.as_deref().unwrap_or(ready);
                session.slot().kms.once(&session.caller(), action, ready, &self.task.job, input)?
            }
            Engine::Session(key) => key.once(&self.task.job, input)?,
            Engine::Public(key, used) => match &self.task.job {
                Job::Encrypt(cipher) => Bytes::new(settle(session, used, &self.task.job, key.encrypt(cipher, input))?),
                _ => return Err(Error::Internal("a public key cannot do this".to_owned())),
            },
        };
        Ok(self.cut(output))
    }

    /// A MAC of general length is the front of the whole one.
    fn cut(&self, mut output: Bytes) -> Bytes {
        if let (Job::Mac(_), Some(size)) = (&self.task.job, self.task.size) {
            output.truncate(size);
        }
        output
    }

    /// An error if a key of the KMS may not be used any more: a change made by any process acts on the very next call.
    /// The key opened anew, if it changed otherwise.
    fn changed(&self, session: &Session) -> Result<Option<Arc<Ready>>> {
        match &self.engine {
            Engine::Kms { ready, action } => {
                session.slot().kms.refresh(&session.caller(), action, ready).map_err(rejected)
            }
            Engine::Public(..) | Engine::Session(_) => Ok(None),
        }
    }

    /// The key, if it may still be used.
    fn key(&self, session: &Session) -> Result<Arc<dyn Key>> {
        match &self.engine {
            Engine::Kms { ready, action } => {
                let new = self.changed(session)?;
                let ready = new.as_deref().unwrap_or(ready);
                session.slot().kms.work(&session.caller(), action, ready)
            }
            engine => engine.at_work(session),
        }
    }

    /// Begins to take input in parts.
    fn feed(&mut self, session: &Session) -> Result<Feed> {
        match std::mem::replace(&mut self.stage, Stage::Fresh) {
            Stage::Fed(feed) => Ok(feed),
            Stage::Fresh => {
                if !self.takes_parts() {
                    return Err(ck(CKR_FUNCTION_NOT_SUPPORTED));
                }
                Ok(match (self.task.hash, &self.task.job) {
                    (Some(hash), _) => Feed::Hash(self.task.hasher(hash)),
                    (None, Job::Sign(_)) => Feed::Collect(Bytes::default()),
                    (None, job) => Feed::Stream(self.key(session)?.start(job.clone())?),
                })
            }
            Stage::Asked | Stage::Ready { .. } => Err(ck(CKR_OPERATION_ACTIVE)),
        }
    }

    /// RSA encrypts and wraps in one part (PKCS#11 3.2 §6.1, table 31), SM2 likewise; everything else may come in pieces.
    fn takes_parts(&self) -> bool {
        !matches!(
            self.task.job,
            Job::Encrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw | Cipher::Sm2(_))
                | Job::Decrypt(Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw | Cipher::Sm2(_))
        )
    }

    /// An Update without output: signatures, MACs.
    pub fn absorb(mut self, session: &mut Session, part: &[u8]) -> Result<Self> {
        self.check_unlocked()?;
        let mut feed = self.feed(session)?;
        match &mut feed {
            Feed::Hash(hasher) => hasher.update(part),
            Feed::Collect(all) => {
                let is_message = matches!(self.task.job, Job::Sign(Signing::Eddsa { .. }));
                let limit = if is_message { MAX_MESSAGE } else { self.task.block.max(1024) };
                if all.len() + part.len() > limit {
                    return Err(Error::DataLength);
                }
                append(all, part)?;
            }
            Feed::Stream(stream) => stream.update(part).map(|_| ())?,
        }
        self.stage = Stage::Fed(feed);
        Ok(self)
    }

    /// An Update with output: ciphers. The caller's room must hold what this part can yield.
    pub fn transform(mut self, session: &mut Session, part: &[u8], room: Room) -> Result<Step> {
        self.check_unlocked()?;
        let mut feed = self.feed(session)?;
        let bound =
            if self.collects { 0 } else { self.put_out(self.fed + part.len()).saturating_sub(self.put_out(self.fed)) };
        let enough = match room {
            Room::Ask => false,
            Room::Bytes(room) => room >= bound,
        };
        if !enough {
            self.stage = Stage::Fed(feed);
            // A client that gets 0 may have no buffer to pass, asks again with NULL in its place and never gives its data
            // away (PyKCS11): a byte more than is needed is within the rule (PKCS#11 3.2 §5.2).
            let asked = bound.max(usize::from(!part.is_empty()));
            let answer = if room == Room::Ask { Answer::Size(asked) } else { Answer::TooSmall(bound) };
            return Ok((answer, Some(self)));
        }
        let Feed::Stream(stream) = &mut feed else { return Err(Error::Internal("not a stream".to_owned())) };
        let output = stream.update(part)?;
        self.fed += part.len();
        self.out += output.len();
        self.collects |= bound > 0 && output.is_empty();
        self.stage = Stage::Fed(feed);
        Ok((Answer::Bytes(output), Some(self)))
    }

    /// Final.
    pub fn last(mut self, session: &mut Session, room: Room) -> Result<Step> {
        self.check_unlocked()?;
        if matches!(self.stage, Stage::Ready { single: false, .. })
            && let Stage::Ready { output, .. } = std::mem::replace(&mut self.stage, Stage::Fresh)
        {
            return Ok(self.deliver(output, room, false));
        }
        let feed = self.feed(session)?;
        let bound = self.most();
        let short = match room {
            Room::Ask => Some(Answer::Size(bound)),
            Room::Bytes(room) if room < bound && self.exact() => Some(Answer::TooSmall(bound)),
            Room::Bytes(_) => None,
        };
        if let Some(answer) = short {
            self.stage = Stage::Fed(feed);
            return Ok((answer, Some(self)));
        }
        let output = match feed {
            Feed::Hash(hasher) => {
                let hash = self.task.hash.unwrap_or(Hash::Sha256);
                self.run(session, &self.hashed(hash, hasher.finish()))?
            }
            Feed::Collect(all) => self.run(session, &all)?,
            Feed::Stream(stream) => {
                self.key(session)?;
                self.cut(stream.finish()?)
            }
        };
        Ok(self.deliver(output, room, false))
    }

    /// C_Verify: the whole input and the signature.
    pub fn verify(mut self, session: &mut Session, input: &[u8], signature: &[u8]) -> Result<()> {
        match self.stage {
            Stage::Fresh => {}
            _ => return Err(ck(CKR_OPERATION_ACTIVE)),
        }
        self.check_length(signature)?;
        match (&self.engine, &self.task.job) {
            (Engine::Public(key, used), Job::Sign(scheme)) => {
                let verified = match self.task.hash {
                    Some(hash) => {
                        let digest = self.task.digest(hash, input);
                        key.verify(scheme, &self.hashed(hash, digest), signature)
                    }
                    None => key.verify(scheme, input, signature),
                };
                settle(session, used, &self.task.job, verified)
            }
            _ => compare(&self.once(session, input)?, signature),
        }
    }

    /// C_VerifyFinal.
    pub fn verify_last(mut self, session: &mut Session, signature: &[u8]) -> Result<()> {
        let feed = self.feed(session)?;
        self.check_length(signature)?;
        let input = match feed {
            Feed::Hash(hasher) => {
                let hash = self.task.hash.unwrap_or(Hash::Sha256);
                Bytes::new(self.hashed(hash, hasher.finish()))
            }
            Feed::Collect(all) => all,
            Feed::Stream(stream) => {
                self.key(session)?;
                return compare(&self.cut(stream.finish()?), signature);
            }
        };
        match (&self.engine, &self.task.job) {
            (Engine::Public(key, used), Job::Sign(scheme)) => {
                settle(session, used, &self.task.job, key.verify(scheme, &input, signature))
            }
            _ => Err(Error::Internal("verification without a public key".to_owned())),
        }
    }

    pub fn check_length(&self, signature: &[u8]) -> Result<()> {
        match self.task.size {
            Some(size) if size != signature.len() => Err(Error::SignatureLength),
            _ => Ok(()),
        }
    }
}

fn compare(made: &[u8], given: &[u8]) -> Result<()> {
    use subtle::ConstantTimeEq;
    if bool::from(made.ct_eq(given)) { Ok(()) } else { Err(Error::SignatureInvalid) }
}

/// A key that was usable at Init and is not any more (DESIGN §3).
pub(super) fn rejected(error: Error) -> Error {
    match error {
        Error::AccessDenied { .. } | Error::KeyState { .. } | Error::KeyNotFound(_) | Error::KeyVersionNotFound(_) => {
            ck(CKR_FUNCTION_REJECTED)
        }
        other => other,
    }
}
