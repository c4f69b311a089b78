//! Who uses which key for what: every operation with a key of the KMS is written down when it ends, as `[audit] crypto`
//! says, through whichever door it came.
//!
//! One rule for `summary` and `all`: what cannot be written down is not answered. A result is withheld until its use is in
//! the process's file (`store/uses.rs`), which survives the process; `alikms` carries it into the audit trail.

use std::borrow::Cow;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use crate::config::CryptoAudit;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::realm::Clock;
use crate::kms::use_key::Ready;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::model::caller::Caller;
use crate::protection::{self, Stream};
use crate::store::{OpenRealm, Store, Use, Uses};

/// An operation in parts is written down when it begins as well: what it puts out before its end is out.
const STARTED: &str = "started";
/// What came of a rehearsal (`DryRun`), which nobody got.
const REHEARSED: &str = "DryRun";

/// Where the uses of a token's keys are written down.
pub(super) struct Ledger {
    crypto: CryptoAudit,
    uses: Uses,
    store: Arc<Store>,
    clock: Clock,
}

impl Ledger {
    pub fn new(crypto: CryptoAudit, path: &Path, store: Arc<Store>, clock: Clock) -> Self {
        Self { crypto, uses: Uses::new(path), store, clock }
    }

    fn is_kept(&self) -> bool {
        self.crypto != CryptoAudit::None
    }

    fn note(&self, realm: &OpenRealm, subject: &Subject<'_>, mechanism: &str, outcome: &str) -> Result<()> {
        let outcome = match (subject.caller.is_rehearsing(), outcome) {
            (false, outcome) => Cow::Borrowed(outcome),
            (true, "ok") => Cow::Borrowed(REHEARSED),
            (true, outcome) => Cow::Owned(format!("{REHEARSED} {outcome}")),
        };
        let used = Use {
            at: (self.clock)(),
            caller: &subject.caller.name(),
            action: subject.action,
            key: subject.key,
            version: subject.version.unwrap_or_default(),
            mechanism,
            outcome: &outcome,
            request: (self.crypto == CryptoAudit::All).then(|| subject.caller.request()),
        };
        self.uses.note(&self.store, realm, &used)
    }

    /// Writes down how it ended, and hands the result on if that could be done.
    fn settle<T>(&self, realm: &OpenRealm, subject: &Subject<'_>, mechanism: &str, result: Result<T>) -> Result<T> {
        let noted = self.note(realm, subject, mechanism, result.as_ref().map_or_else(Error::kind, |_| "ok"));
        let answer = result?;
        noted.map(|()| answer)
    }
}

/// Who used which key by which action.
struct Subject<'a> {
    caller: &'a Caller,
    action: &'static str,
    key: Uuid,
    version: Option<Uuid>,
}

/// Work with the public half of a key of the KMS: whoever has one can use it anywhere, so that nobody is asked.
#[derive(Debug, Clone)]
pub struct PublicUse {
    action: &'static str,
    key: Uuid,
    version: Uuid,
}

/// What an operation of the API finds out about itself on its way.
#[derive(Default)]
pub(super) struct Meter {
    key: Cell<Option<Uuid>>,
    version: Cell<Option<Uuid>>,
    mechanism: Cell<&'static str>,
}

impl Meter {
    pub fn key(&self, key: Uuid) {
        self.key.set(Some(key));
    }

    pub fn version(&self, version: Uuid) {
        self.version.set(Some(version));
    }

    pub fn job(&self, job: &Job) {
        self.mechanism.set(mechanism(job));
    }
}

impl Kms {
    /// An operation of the API with a key. It counts once it is known which key was meant: a refusal as well.
    pub(super) fn metered<T>(
        &self,
        caller: &Caller,
        action: &'static str,
        work: impl FnOnce(&Meter) -> Result<T>,
    ) -> Result<T> {
        let meter = Meter::default();
        let result = work(&meter);
        match meter.key.get() {
            Some(key) if self.ledger.is_kept() => {
                let subject = Subject { caller, action, key, version: meter.version.get() };
                self.ledger.settle(&self.open()?.realm, &subject, meter.mechanism.get(), result)
            }
            _ => result,
        }
    }

    /// A key at work for `caller`, each piece of whose work is written down.
    pub fn work(&self, caller: &Caller, action: &'static str, ready: &Ready) -> Result<Arc<dyn protection::Key>> {
        Ok(self.counted(caller, action, ready)?.unwrap_or_else(|| ready.work.clone()))
    }

    /// One piece of such work, which takes and drops no reference to the key if nothing is written down.
    pub fn once(&self, caller: &Caller, action: &'static str, ready: &Ready, job: &Job, input: &[u8]) -> Result<Bytes> {
        match self.counted(caller, action, ready)? {
            None => ready.work.once(job, input),
            Some(counted) => counted.once(job, input),
        }
    }

    /// As [`protection::Key::once_to`]; not for work that is written down, whose result is withheld until that is done.
    pub fn once_to(
        &self,
        ready: &Ready,
        job: &Job,
        input: &[u8],
        out: &mut [MaybeUninit<u8>],
    ) -> Result<Option<usize>> {
        if self.ledger.is_kept() { Ok(None) } else { ready.work.once_to(job, input, out) }
    }

    fn counted(
        &self,
        caller: &Caller,
        action: &'static str,
        ready: &Ready,
    ) -> Result<Option<Arc<dyn protection::Key>>> {
        if !self.ledger.is_kept() {
            return Ok(None);
        }
        Ok(Some(Arc::new(Counted {
            ledger: self.ledger.clone(),
            realm: &self.open()?.realm,
            caller: caller.clone(),
            action,
            key: ready.key.id,
            version: ready.version.id,
            work: ready.work.clone(),
        })))
    }

    /// Work that is to be done with the public half of a key, if that is written down.
    pub fn public_use(
        &self,
        action: &'static str,
        key: impl FnOnce() -> Option<Uuid>,
        version: Uuid,
    ) -> Option<PublicUse> {
        let key = if self.ledger.is_kept() { key() } else { None };
        key.map(|key| PublicUse { action, key, version })
    }

    /// Hands on what a public half did, and writes it down.
    pub fn used_public<T>(&self, caller: &Caller, used: &PublicUse, job: &Job, result: Result<T>) -> Result<T> {
        let subject = Subject { caller, action: used.action, key: used.key, version: Some(used.version) };
        self.ledger.settle(&self.open()?.realm, &subject, mechanism(job), result)
    }

    /// A key was asked for and refused, before it was told how it should work. Hands on the refusal.
    pub fn refused(&self, caller: &Caller, action: &'static str, version: Uuid, error: Error) -> Error {
        if let Some(key) = self.key_of(version)
            && let Ok(opened) = self.open()
        {
            let subject = Subject { caller, action, key, version: Some(version) };
            // Nothing is answered but the refusal.
            let _ = self.ledger.note(&opened.realm, &subject, "", error.kind());
        }
        error
    }

    /// The key of a version, if uses are written down.
    fn key_of(&self, version: Uuid) -> Option<Uuid> {
        if !self.ledger.is_kept() {
            return None;
        }
        let found = self.store.read(&self.open().ok()?.realm, |r| r.version(version)).ok()?;
        found.map(|version| version.key)
    }

    /// Carries what all processes have written down into the audit trail. `ending`: this one uses no key any more.
    pub fn harvest(&self, ending: bool) -> Result<()> {
        self.settle_refusals(false)?;
        self.ledger.uses.harvest(&self.store, &self.open()?.realm, self.now(), ending)
    }
}

/// A key whose work is written down.
struct Counted {
    ledger: Arc<Ledger>,
    realm: &'static OpenRealm,
    caller: Caller,
    action: &'static str,
    key: Uuid,
    version: Uuid,
    work: Arc<dyn protection::Key>,
}

impl Counted {
    fn subject(&self) -> Subject<'_> {
        Subject { caller: &self.caller, action: self.action, key: self.key, version: Some(self.version) }
    }

    fn settle<T>(&self, mechanism: &str, result: Result<T>) -> Result<T> {
        self.ledger.settle(self.realm, &self.subject(), mechanism, result)
    }
}

impl protection::Key for Counted {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        self.settle(mechanism(job), self.work.once(job, input))
    }

    fn wrap(&self, cipher: &Cipher, value: &Bytes) -> Result<Bytes> {
        self.settle(cipher_name(cipher), self.work.wrap(cipher, value))
    }

    fn unwrap(&self, cipher: &Cipher, wrapped: &[u8]) -> Result<Bytes> {
        self.settle(cipher_name(cipher), self.work.unwrap(cipher, wrapped))
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        let mechanism = mechanism(&job);
        self.ledger.note(self.realm, &self.subject(), mechanism, STARTED)?;
        match self.work.clone().start(job) {
            Ok(work) => Ok(Box::new(CountedStream { key: self, mechanism, work })),
            Err(error) => self.settle(mechanism, Err(error)),
        }
    }
}

/// What it puts out before its end was told of when it began; how it ends is told too.
struct CountedStream {
    key: Arc<Counted>,
    mechanism: &'static str,
    work: Box<dyn Stream>,
}

impl Stream for CountedStream {
    fn update(&mut self, input: &[u8]) -> Result<Bytes> {
        match self.work.update(input) {
            Err(error) => self.key.settle(self.mechanism, Err(error)),
            output => output,
        }
    }

    fn finish(self: Box<Self>) -> Result<Bytes> {
        self.key.settle(self.mechanism, self.work.finish())
    }
}

/// The name of a piece of work in the audit trail.
fn mechanism(job: &Job) -> &'static str {
    use crate::model::algorithm::{Derivation, Mac, Signing};
    match job {
        Job::Decrypt(cipher) | Job::Encrypt(cipher) => cipher_name(cipher),
        Job::Derive(Derivation::Agree { .. }) => "ECDH",
        Job::Derive(Derivation::Encrypt { cipher, .. }) => cipher_name(cipher),
        Job::Derive(Derivation::Hkdf(_)) => "HKDF",
        Job::Mac(Mac::AesCmac) => "AES_CMAC",
        Job::Mac(Mac::Hmac(_)) => "HMAC",
        Job::Sign(Signing::Ecdsa) => "ECDSA",
        Job::Sign(Signing::Eddsa { .. }) => "EDDSA",
        Job::Sign(Signing::RsaPkcs1) => "RSA_PKCS1",
        Job::Sign(Signing::RsaPss { .. }) => "RSA_PSS",
        Job::Sign(Signing::RsaRaw) => "RSA_RAW",
        Job::Sign(Signing::Sm2 | Signing::Sm2Der) => "SM2DSA",
    }
}

fn cipher_name(cipher: &Cipher) -> &'static str {
    match cipher {
        Cipher::AesCbc { .. } => "AES_CBC",
        Cipher::AesCbcPad { .. } => "AES_CBC_PAD",
        Cipher::AesCtr { .. } => "AES_CTR",
        Cipher::AesEcb => "AES_ECB",
        Cipher::AesGcm { .. } => "AES_GCM",
        Cipher::AesKeyWrap { .. } => "AES_KEY_WRAP",
        Cipher::AesKeyWrapPad => "AES_KEY_WRAP_PAD",
        Cipher::Envelope { .. } => "ENVELOPE",
        Cipher::RsaOaep { .. } => "RSAES_OAEP",
        Cipher::RsaPkcs1 => "RSAES_PKCS1",
        Cipher::RsaRaw => "RSA_RAW",
        Cipher::Sm2(_) => "SM2PKE",
        Cipher::Sm4Cbc { .. } => "SM4_CBC",
        Cipher::Sm4CbcPad { .. } => "SM4_CBC_PAD",
        Cipher::Sm4Ctr { .. } => "SM4_CTR",
        Cipher::Sm4Ecb => "SM4_ECB",
        Cipher::Sm4Gcm { .. } => "SM4_GCM",
    }
}
