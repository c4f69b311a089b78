//! A store with its realms: how one is set up, opened and logged in to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use subtle::ConstantTimeEq;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::config::{Config, DeviceConfig, TokenConfig, Unlock};
use crate::crypto::mac::Hmac;
use crate::crypto::random;
use crate::error::{Error, Result, StoreFault};
use crate::fork::{Latest, Lock};
use crate::kms::authorize::Allowed;
use crate::kms::device::turnstile;
use crate::kms::usage::Ledger;
use crate::kms::use_key::Cache;
use crate::model::Bytes;
use crate::model::hash::Hash;
use crate::model::key::Level;
use crate::model::map::map;
use crate::model::names::Realm;
use crate::model::time::Moment;
use crate::protection::Protection;
use crate::protection::hsm::{Group, Hsm};
use crate::protection::software::Software;
use crate::seal::Kek;
use crate::seal::slot::{Slot, SlotKind, create_unlock_file_for, read_unlock_file};
use crate::store::{OpenRealm, RealmRow, Records, SlotRow, Store};

/// So many wrong PINs in a row lock the slot.
pub const MAX_FAILURES: u32 = 10;

/// Tells what time it is.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// Everything behind one `alikms.toml`: the store, the devices, one [`Kms`] per `[[token]]`. Makes nothing and opens nothing.
pub struct Service {
    config: Config,
    tokens: Vec<Arc<Kms>>,
    devices: BTreeMap<String, Arc<Hsm>>,
}

/// One realm's key management service.
pub struct Kms {
    pub(super) config: TokenConfig,
    pub(super) realm: Realm,
    pub(super) store: Arc<Store>,
    store_path: PathBuf,
    pub(super) device: Option<Group>,
    pub(super) cache: Cache,
    pub(super) ledger: Arc<Ledger>,
    unlock: Unlock,
    clock: Clock,
    opened: Latest<Opened>,
    /// One for each slot kind that a PIN opened in this process or in the one that it was forked from.
    verifiers: Lock<Vec<Verifier>>,
    /// Keys the verifiers; random, never leaves the process and its children.
    verifier_key: Zeroizing<[u8; 32]>,
    /// Every token of the same `alikms.toml`; the service keeps them.
    tokens: OnceLock<Vec<Weak<Kms>>>,
}

/// A realm whose key-encryption key is open.
pub(super) struct Opened {
    pub realm: OpenRealm,
    pub software: Software,
}

/// Knows a PIN again without Argon2id: HMAC over the PIN and the slot's revision.
struct Verifier {
    kind: SlotKind,
    revision: i64,
    mac: Zeroizing<Vec<u8>>,
    kek: Arc<Kek>,
}

impl Service {
    pub fn new(config: Config) -> Arc<Self> {
        Self::with_clock(config, Arc::new(Moment::now))
    }

    /// With a clock of the caller's, so that tests can let years pass.
    pub fn with_clock(config: Config, clock: Clock) -> Arc<Self> {
        let store = Arc::new(Store::new(&config.store));
        let turnstile = turnstile(store.clone());
        let device = |device: &DeviceConfig| Arc::new(Hsm::in_turns(device.clone(), turnstile.clone()));
        let devices = map(config.devices.iter().map(|config| (config.name.clone(), device(config))));
        let tokens: Vec<Arc<Kms>> = config
            .tokens
            .iter()
            .map(|token| {
                let device = Group::of(&token.devices, token.quorum, &devices);
                Arc::new(Kms::new(token.clone(), &config, store.clone(), device, clock.clone()))
            })
            .collect();
        for token in &tokens {
            token.tokens.get_or_init(|| tokens.iter().map(Arc::downgrade).collect());
        }
        Arc::new(Self { config, tokens, devices })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn devices(&self) -> impl Iterator<Item = &Arc<Hsm>> {
        self.devices.values()
    }

    /// In the order of `alikms.toml`.
    pub fn tokens(&self) -> &[Arc<Kms>] {
        &self.tokens
    }

    /// The token with this label; without a label the first one.
    pub fn token(&self, label: Option<&str>) -> Result<&Arc<Kms>> {
        let found = match label {
            None => self.tokens.first(),
            Some(label) => self.tokens.iter().find(|token| token.config.label == label),
        };
        found.ok_or_else(|| Error::Config {
            place: self.config.path.display().to_string(),
            reason: match label {
                Some(label) => format!("there is no [[token]] with label = \"{label}\""),
                None => "there is no [[token]]: add one".to_owned(),
            },
        })
    }

    /// `alikms init`: store, unlock key, realms and their slots; leaves alone what is there. Says what it did, a line each.
    pub fn init(&self, pin: &Bytes, so_pin: &Bytes, group: Option<u32>) -> Result<Vec<String>> {
        let mut said = Vec::new();
        let mut say = |made: bool, what: String| {
            said.push(format!("{} {what}", if made { "made" } else { "kept" }));
        };
        if let Unlock::File(path) = &self.config.unlock {
            let store = Store::new(&self.config.store);
            say(make_unlock_key(&store, path, group)?, format!("unlock key {}", path.display()));
        }
        let made = Store::create(&self.config.store, group)?;
        say(made, format!("store {}", self.config.store.display()));
        for token in &self.tokens {
            let made = token.row()?.is_none() && token.create_unless_made(pin, so_pin)?;
            say(made, format!("token {}", token.config.label));
        }
        Ok(said)
    }
}

impl Kms {
    fn new(token: TokenConfig, config: &Config, store: Arc<Store>, device: Option<Group>, clock: Clock) -> Self {
        let realm = Realm { account: token.account.clone(), region: token.region.clone() };
        Self {
            config: token,
            realm,
            ledger: Arc::new(Ledger::new(config.crypto_audit, &config.store, store.clone(), clock.clone())),
            store,
            store_path: config.store.clone(),
            device,
            cache: Cache::new(),
            unlock: config.unlock.clone(),
            clock,
            opened: Latest::new(),
            verifiers: Lock::new(Vec::new()),
            verifier_key: Zeroizing::new(random::bytes()),
            tokens: OnceLock::new(),
        }
    }

    pub fn label(&self) -> &str {
        &self.config.label
    }

    pub fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Account and region, for ARNs.
    pub fn realm(&self) -> &Realm {
        &self.realm
    }

    pub fn device(&self) -> Option<&Group> {
        self.device.as_ref()
    }

    /// See [`Self::now`].
    pub fn moment(&self) -> Moment {
        self.now()
    }

    /// The moment that every rule goes by.
    pub(super) fn now(&self) -> Moment {
        (self.clock)()
    }

    /// See [`Store::generation`].
    pub fn generation(&self) -> u64 {
        self.store.generation()
    }

    /// The realm in the store; none before `alikms init` or C_InitToken. Account and region decide, the label is only shown.
    pub fn row(&self) -> Result<Option<RealmRow>> {
        let rows = match self.store.realms() {
            Err(Error::Store(StoreFault::Missing(_))) => return Ok(None),
            rows => rows?,
        };
        Ok(self.own(rows))
    }

    fn own(&self, rows: Vec<RealmRow>) -> Option<RealmRow> {
        rows.into_iter().find(|row| row.account == self.realm.account && row.region == self.realm.region)
    }

    fn expect_row(&self) -> Result<RealmRow> {
        self.row()?.ok_or_else(|| self.not_made())
    }

    fn not_made(&self) -> Error {
        Error::Config {
            place: format!("token {}", self.config.label),
            reason: "it is not in the store yet: run `alikms init`".to_owned(),
        }
    }

    /// Another account of this installation, in the same region.
    pub(super) fn neighbour(&self, account: &str) -> Option<Arc<Kms>> {
        let all = self.tokens.get().into_iter().flatten().filter_map(Weak::upgrade);
        let there = Realm { account: account.to_owned(), region: self.realm.region.clone() };
        all.into_iter().find(|token| token.realm == there && token.realm != self.realm)
    }

    /// Makes the realm. Without a user PIN it is set later (C_InitPIN).
    fn create(&self, pin: Option<&Bytes>, so_pin: &Bytes) -> Result<()> {
        let kek = Kek::generate();
        let uuid = Uuid::new_v4();
        let slots = self.slots(&uuid.to_string(), pin, so_pin, &kek)?;
        let row = RealmRow {
            id: 0,
            uuid,
            label: self.config.label.clone(),
            account: self.realm.account.clone(),
            region: self.realm.region.clone(),
            created: self.now(),
        };
        self.store.create_realm(&row, &slots)?;
        Ok(())
    }

    /// True unless another process was quicker.
    fn create_unless_made(&self, pin: &Bytes, so_pin: &Bytes) -> Result<bool> {
        match self.create(Some(pin), so_pin) {
            Err(_) if self.row()?.is_some() => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn slots(&self, realm: &str, pin: Option<&Bytes>, so_pin: &Bytes, kek: &Kek) -> Result<Vec<Slot>> {
        let mut slots = vec![Slot::with_pin(SlotKind::SoPin, realm, so_pin, kek)?];
        if let Some(pin) = pin {
            slots.push(Slot::with_pin(SlotKind::UserPin, realm, pin, kek)?);
        }
        if let Unlock::File(path) = &self.unlock {
            slots.push(Slot::with_file(realm, &read_unlock_file(path)?, kek)?);
        }
        Ok(slots)
    }

    /// C_InitToken: a new realm, or an existing one emptied after its SO PIN proved right.
    pub fn init_token(&self, so_pin: &Bytes, label: &str) -> Result<()> {
        if let Unlock::File(path) = &self.unlock {
            make_unlock_key(&self.store, path, None)?;
        }
        Store::create(&self.store_path, None)?;
        let Some(row) = self.row()? else { return self.create(None, so_pin) };
        self.login_slot(SlotKind::SoPin, so_pin)?;
        let kek = Kek::generate();
        let slots = self.slots(&row.uuid.to_string(), None, so_pin, &kek)?;
        self.store.reset_realm(row.id, label, &slots)?;
        self.opened.clear();
        self.verifiers.lock().clear();
        Ok(())
    }

    /// Does the realm hold a key?
    pub fn has_keys(&self) -> Result<bool> {
        let (software, hsm) = self.count_keys()?;
        Ok(software + hsm > 0)
    }

    /// Opens the key-encryption key with the unlock file, if that is the method and it was not done yet.
    pub fn unlock(&self) -> Result<()> {
        self.open().map(|_| ())
    }

    /// The opened realm; `Error::Locked` while method "pin" waits for a login.
    pub(super) fn open(&self) -> Result<&'static Opened> {
        match self.opened.get() {
            Some(opened) => Ok(opened),
            None => self.open_with_file(),
        }
    }

    #[cold]
    fn open_with_file(&self) -> Result<&'static Opened> {
        let Unlock::File(path) = &self.unlock else { return Err(Error::Locked) };
        let row = self.expect_row()?;
        let slot = self.store.slot(row.id, SlotKind::File)?;
        self.open_slot(path, row, slot)
    }

    /// As [`Self::open`], while a transaction of another realm is under way.
    pub(super) fn open_within(&self, records: &mut Records<'_>) -> Result<&'static Opened> {
        if let Some(opened) = self.opened.get() {
            return Ok(opened);
        }
        let Unlock::File(path) = &self.unlock else { return Err(Error::Locked) };
        let row = self.own(records.realms()?).ok_or_else(|| self.not_made())?;
        let slot = records.slot(row.id, SlotKind::File)?;
        self.open_slot(path, row, slot)
    }

    fn open_slot(&self, path: &Path, row: RealmRow, slot: Option<SlotRow>) -> Result<&'static Opened> {
        let slot = slot.ok_or(Error::Locked)?;
        let secret = read_unlock_file(path)?;
        let kek = slot.slot.open(&row.uuid.to_string(), &secret).map_err(|error| match error {
            Error::PinIncorrect => Error::Config {
                place: path.display().to_string(),
                reason: "this is not the unlock key that the store was made with".to_owned(),
            },
            other => other,
        })?;
        Ok(self.install(row, Arc::new(kek)))
    }

    fn install(&self, row: RealmRow, kek: Arc<Kek>) -> &'static Opened {
        match self.opened.get() {
            Some(opened) => opened,
            None => {
                let software = Software::new(kek.clone());
                self.opened.set(Opened { realm: OpenRealm { row, kek }, software })
            }
        }
    }

    /// The level's protection. Whoever asks has proved that it may.
    pub(super) fn protection(&self, level: Level, _: &Allowed) -> Result<&dyn Protection> {
        match level {
            Level::Software => Ok(&self.open()?.software),
            Level::Hsm => match &self.device {
                Some(device) => Ok(device),
                None => Err(Error::UnsupportedProtectionLevel {
                    level: "HSM",
                    reason: format!("token {} has no device in alikms.toml", self.config.label),
                }),
            },
        }
    }

    /// As the holder of the token's user PIN, which also opens the key-encryption key.
    pub fn login_user(&self, pin: &[u8]) -> Result<()> {
        self.login_slot(SlotKind::UserPin, pin).map(|_| ())
    }

    /// As the security officer, who may set the user PIN and use no key.
    pub fn login_so(&self, pin: &[u8]) -> Result<()> {
        self.login_slot(SlotKind::SoPin, pin).map(|_| ())
    }

    fn slot_row(&self, row: &RealmRow, kind: SlotKind) -> Result<SlotRow> {
        self.store.slot(row.id, kind)?.ok_or(Error::PinNotSet)
    }

    /// Checks a PIN: known again without Argon2id if it was right before and the slot is the same, else tried, one attempt
    /// at a time over all processes, so that attempts in flight neither lock a right PIN out nor slip past the counter.
    pub(super) fn login_slot(&self, kind: SlotKind, pin: &[u8]) -> Result<Arc<Kek>> {
        let row = self.expect_row()?;
        let slot = self.slot_row(&row, kind)?;
        if slot.failures == 0
            && let Some(kek) = self.remembered(kind, slot.revision, pin)
        {
            return Ok(self.logged_in(kind, row, kek));
        }
        let _turn = self.store.attempt_lock(row.id)?;
        let slot = self.slot_row(&row, kind)?;
        if slot.failures >= MAX_FAILURES {
            return Err(Error::PinLocked);
        }
        let opened = match self.remembered(kind, slot.revision, pin) {
            Some(kek) => Ok(kek),
            None => slot.slot.open(&row.uuid.to_string(), pin).map(Arc::new),
        };
        // A process that is killed over the right PIN leaves no wrong attempt behind; nobody hears that a PIN is wrong
        // before it was counted.
        let failures = match &opened {
            Ok(_) => 0,
            Err(Error::PinIncorrect) => slot.failures + 1,
            Err(_) => slot.failures,
        };
        if failures != slot.failures {
            self.count(row.id, kind, failures)?;
        }
        let kek = opened?;
        self.remember(kind, slot.revision, pin, kek.clone());
        Ok(self.logged_in(kind, row, kek))
    }

    /// A store that cannot be written does not keep the holder of the right PIN out: whoever can make it so
    /// can read the store anyway (docs/threat-model.md).
    fn count(&self, realm: i64, kind: SlotKind, failures: u32) -> Result<()> {
        match self.store.set_failures(realm, kind, failures) {
            Err(Error::Store(StoreFault::Full | StoreFault::ReadOnly(_))) => Ok(()),
            answer => answer,
        }
    }

    fn logged_in(&self, kind: SlotKind, row: RealmRow, kek: Arc<Kek>) -> Arc<Kek> {
        if matches!(kind, SlotKind::UserPin | SlotKind::RamUser(_)) {
            self.install(row, kek.clone());
        }
        kek
    }

    fn verifier_mac(&self, kind: SlotKind, revision: i64, pin: &[u8]) -> Zeroizing<Vec<u8>> {
        let mut mac = Hmac::new(Hash::Sha256, self.verifier_key.as_slice());
        mac.update(kind.name().as_bytes());
        mac.update(&revision.to_be_bytes());
        mac.update(pin);
        Zeroizing::new(mac.finish())
    }

    fn remembered(&self, kind: SlotKind, revision: i64, pin: &[u8]) -> Option<Arc<Kek>> {
        let mac = self.verifier_mac(kind, revision, pin);
        let verifiers = self.verifiers.lock();
        verifiers
            .iter()
            .find(|known| {
                known.kind == kind && known.revision == revision && bool::from(known.mac.as_slice().ct_eq(&mac))
            })
            .map(|known| known.kek.clone())
    }

    fn remember(&self, kind: SlotKind, revision: i64, pin: &[u8], kek: Arc<Kek>) {
        let mac = self.verifier_mac(kind, revision, pin);
        let mut verifiers = self.verifiers.lock();
        verifiers.retain(|known| known.kind != kind);
        verifiers.push(Verifier { kind, revision, mac, kek });
    }

    /// C_SetPIN.
    pub fn set_pin(&self, kind: SlotKind, old: &[u8], new: &[u8]) -> Result<()> {
        let kek = self.login_slot(kind, old)?;
        self.replace_pin(kind, new, &kek)
    }

    /// C_InitPIN: the SO PIN that was given at login opens the key-encryption key for it.
    pub fn init_pin(&self, new: &[u8]) -> Result<()> {
        let row = self.expect_row()?;
        let revision = self.slot_row(&row, SlotKind::SoPin)?.revision;
        let kek = {
            let verifiers = self.verifiers.lock();
            let known = verifiers.iter().find(|known| known.kind == SlotKind::SoPin && known.revision == revision);
            known.map(|known| known.kek.clone()).ok_or(Error::PinIncorrect)?
        };
        self.replace_pin(SlotKind::UserPin, new, &kek)
    }

    pub(super) fn replace_pin(&self, kind: SlotKind, new: &[u8], kek: &Kek) -> Result<()> {
        let row = self.expect_row()?;
        self.store.set_slot(row.id, &Slot::with_pin(kind, &row.uuid.to_string(), new, kek)?)
    }

    /// Wrong attempts in a row, and whether the slot exists: for the token's flags.
    pub fn pin_state(&self, kind: SlotKind) -> Result<Option<u32>> {
        let Some(row) = self.row()? else { return Ok(None) };
        Ok(self.store.slot(row.id, kind)?.map(|slot| slot.failures))
    }
}

/// Makes the unlock key if there is none, and if the store does not need the one that was there: another opens nothing.
fn make_unlock_key(store: &Store, path: &Path, group: Option<u32>) -> Result<bool> {
    let rows = match store.realms() {
        Err(Error::Store(StoreFault::Missing(_))) => Vec::new(),
        rows => rows?,
    };
    for row in rows {
        // In this order: whoever makes a slot has made the key before.
        if store.slot(row.id, SlotKind::File)?.is_some() && !path.exists() {
            return Err(Error::Config {
                place: path.display().to_string(),
                reason: "the store was made with an unlock key that is no longer here: bring it back".to_owned(),
            });
        }
    }
    create_unlock_file_for(path, group)
}
