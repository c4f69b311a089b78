//! A slot with its token: who is logged in, how many sessions there are, and the objects as this process knows them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use cryptoki_sys::*;

use crate::crypto::digest::hash;
use crate::error::{Error, Result, StoreFault};
use crate::fork::{Lock, PerProcess};
use crate::kms::Kms;
use crate::kms::objects::Search;
use crate::kms::realm::MAX_FAILURES;
use crate::model::caller::Caller;
use crate::model::hash::Hash;
use crate::model::names::hex_bytes::to_hex;
use crate::model::object::Class;
use crate::seal::slot::SlotKind;
use crate::token::ck;
use crate::token::object::{Item, token_item};
use crate::token::profile;
use crate::token::sessions::HOMES;
use crate::token::state::Saved;

/// Handles of session objects have this bit, handles of other names of a token object that one; the rest are store rows.
const SESSION_OBJECT: u64 = 1 << 62;
pub const OTHER_NAME: u64 = 1 << 61;
/// So many token objects are kept worked out, and so many answers to searches.
const KEPT: usize = 4096;
/// Longer answers to searches are not kept.
const FEW: usize = 16;

/// Who is logged in; the same for all sessions of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Nobody = 0,
    SecurityOfficer = 1,
    User = 2,
}

pub struct Slot {
    pub id: u64,
    serial: String,
    pub kms: Arc<Kms>,
    login: AtomicU8,
    /// The RAM user that is logged in, and the generation of the store at which its policies were read.
    user: Lock<Option<(u64, Caller)>>,
    is_user: AtomicBool,
    /// Held while the login changes.
    turn: Lock<()>,
    counts: [Share; HOMES],
    objects: Lock<Objects>,
    /// How many session objects there are.
    owned: AtomicUsize,
    /// Grows with every session object that goes or changes: what sessions remember of objects holds only for one value.
    changes: AtomicU64,
    /// How often somebody logged in or out.
    logins: AtomicU64,
    names: Lock<Vec<(u64, Vec<u8>)>>,
    kept: PerProcess<Mutex<Kept>>,
    /// What C_GetOperationState saved.
    pub saved: Saved,
}

/// Open sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub all: u64,
    pub read_write: u64,
}

/// The sessions that threads of one home opened, on cache lines of their own: those open in the lower half, those of
/// them that may write in the upper one.
#[repr(align(128))]
#[derive(Default)]
struct Share(AtomicU64);

fn one(read_write: bool) -> u64 {
    1 | u64::from(read_write) << 32
}

#[derive(Default)]
struct Objects {
    items: HashMap<u64, Owned>,
    last: u64,
}

struct Owned {
    session: u64,
    item: Arc<Item>,
}

/// What is true of one generation of the store, for whoever is logged in.
#[derive(Default)]
struct Kept {
    generation: u64,
    logins: u64,
    items: HashMap<u64, Arc<Item>>,
    /// What searches found, by [`Asked`].
    found: HashMap<Asked, Vec<u64>>,
}

/// A search whose answer may be kept: what is searched for, and for whom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    search: Search,
    user: Option<String>,
}

impl Slot {
    /// `first_object`: from where on session objects are numbered, below 2^60.
    pub fn new(kms: Arc<Kms>, taken: &[u64], first_object: u64) -> Self {
        let identity = kms.realm().key_arn(uuid::Uuid::nil());
        let digest = hash(Hash::Sha256, identity.as_bytes());
        let mut id = u64::from(u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]) & 0x7fff_ffff);
        while id == 0 || taken.contains(&id) {
            id = (id + 1) & 0x7fff_ffff;
        }
        Self {
            id,
            serial: to_hex(&digest[..8]),
            kms,
            login: AtomicU8::new(Login::Nobody as u8),
            user: Lock::new(None),
            is_user: AtomicBool::new(false),
            turn: Lock::new(()),
            counts: Default::default(),
            objects: Lock::new(Objects { last: first_object, ..Objects::default() }),
            owned: AtomicUsize::new(0),
            logins: AtomicU64::default(),
            changes: AtomicU64::new(0),
            names: Lock::new(Vec::new()),
            kept: PerProcess::new(Mutex::default),
            saved: Saved::default(),
        }
    }

    pub fn login(&self) -> Login {
        match self.login.load(Ordering::SeqCst) {
            1 => Login::SecurityOfficer,
            2 => Login::User,
            _ => Login::Nobody,
        }
    }

    /// Who acts: the account, or the RAM user that is logged in with its policies as they are now. Of a user that is gone
    /// nothing is left but the name.
    pub fn caller(&self) -> Caller {
        if !self.is_user() {
            return Caller::account();
        }
        let generation = self.kms.generation();
        let mut user = self.user.lock();
        match user.as_mut() {
            None => Caller::account(),
            Some((read_at, caller)) => {
                if *read_at != generation {
                    let name = caller.user_name().unwrap_or_default().to_owned();
                    *caller = self.kms.as_user(&name).unwrap_or_else(|_| Caller::nobody(&name));
                    *read_at = generation;
                }
                caller.clone()
            }
        }
    }

    /// Is it a RAM user that is logged in, and not the account itself?
    pub fn is_user(&self) -> bool {
        self.is_user.load(Ordering::Acquire)
    }

    /// Logs a RAM user in, or the account itself.
    pub fn set_user(&self, caller: Caller) {
        let is_user = caller.user_name().is_some();
        *self.user.lock() = is_user.then_some((self.kms.generation(), caller));
        self.is_user.store(is_user, Ordering::Release);
        self.set_login(Login::User);
        self.forget_views();
    }

    fn set_login(&self, login: Login) {
        let _turn = self.turn.lock();
        self.login.store(login as u8, Ordering::SeqCst);
    }

    /// Logs the security officer in, unless there are sessions that may not write.
    pub fn set_security_officer(&self) -> Result<()> {
        let _turn = self.turn.lock();
        let before = self.login.swap(Login::SecurityOfficer as u8, Ordering::SeqCst);
        // A session that opens meanwhile is seen here, or sees the login (`opened`).
        if self.has_readers() {
            self.login.store(before, Ordering::SeqCst);
            return Err(ck(CKR_SESSION_READ_ONLY_EXISTS));
        }
        Ok(())
    }

    pub fn counts(&self) -> Counts {
        let shares = self.counts.iter().map(|share| share.0.load(Ordering::SeqCst));
        shares.fold(Counts::default(), |sum, share| Counts {
            all: sum.all + (share & u64::from(u32::MAX)),
            read_write: sum.read_write + (share >> 32),
        })
    }

    /// Are there sessions that may not write?
    pub fn has_readers(&self) -> bool {
        let counts = self.counts();
        counts.all > counts.read_write
    }

    /// Counts a session that opens, if the security officer's login allows it.
    pub fn opened(&self, home: usize, read_write: bool) -> Result<()> {
        self.counts[home].0.fetch_add(one(read_write), Ordering::SeqCst);
        if !read_write && self.login() == Login::SecurityOfficer {
            self.counts[home].0.fetch_sub(one(read_write), Ordering::SeqCst);
            return Err(ck(CKR_SESSION_READ_WRITE_SO_EXISTS));
        }
        Ok(())
    }

    /// Uncounts a session that closed; with the last one the login ends (PKCS#11 3.2 §5.6.4). `session`: which one, if it
    /// made objects, which go with it.
    pub fn closed(&self, session: Option<u64>, home: usize, read_write: bool) {
        let before = self.counts[home].0.fetch_sub(one(read_write), Ordering::SeqCst);
        if let Some(session) = session {
            self.forget_objects(|owned| owned.session == session);
        }
        if before & u64::from(u32::MAX) == 1 {
            // Whoever opens a session after this look logs in after it, too.
            let _turn = self.turn.lock();
            if self.counts().all == 0 {
                self.login.store(Login::Nobody as u8, Ordering::SeqCst);
                self.forget_views();
            }
        }
    }

    /// Ends the login; private session objects go with it.
    pub fn logged_out(&self) {
        self.set_login(Login::Nobody);
        self.is_user.store(false, Ordering::Release);
        *self.user.lock() = None;
        self.forget_objects(|owned| owned.item.is_private());
        self.forget_views();
    }

    /// What one login saw is not for the next.
    fn forget_views(&self) {
        self.logins.fetch_add(1, Ordering::Release);
        self.changes.fetch_add(1, Ordering::Release);
    }

    fn forget_objects(&self, which: impl Fn(&Owned) -> bool) {
        if self.owned.load(Ordering::Acquire) == 0 {
            return;
        }
        let gone: Vec<_> = self.change_objects(|items| items.extract_if(|_, owned| which(owned)).collect());
        if !gone.is_empty() {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Adds or removes session objects. What goes is dropped by the caller, after the lock.
    fn change_objects<T>(&self, change: impl FnOnce(&mut HashMap<u64, Owned>) -> T) -> T {
        let mut objects = self.objects.lock();
        let changed = change(&mut objects.items);
        self.owned.store(objects.items.len(), Ordering::Release);
        changed
    }

    /// A number that changes whenever an object of this token may have: with it, what a session remembers is still right.
    pub fn generation(&self) -> (u64, u64) {
        (self.kms.generation(), self.changes.load(Ordering::Acquire))
    }

    /// Is an object of this kind within sight of whoever is logged in?
    pub fn sees(&self, private: bool) -> bool {
        !private || self.login() == Login::User
    }

    /// Adds a session object; `make` is told its handle.
    pub fn add(&self, session: u64, make: impl FnOnce(u64) -> Item) -> u64 {
        let handle = {
            let mut objects = self.objects.lock();
            objects.last += 1;
            SESSION_OBJECT | objects.last
        };
        let item = Arc::new(make(handle));
        self.change_objects(|items| items.insert(handle, Owned { session, item }));
        handle
    }

    /// Replaces a session object after a change of its attributes.
    pub fn replace(&self, handle: u64, item: Item) {
        if let Some(owned) = self.objects.lock().items.get_mut(&handle) {
            owned.item = Arc::new(item);
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    pub fn remove(&self, handle: u64) {
        drop(self.change_objects(|items| items.remove(&handle)));
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Session objects in the order in which they were made.
    pub fn session_items(&self) -> Vec<Arc<Item>> {
        if self.owned.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        let objects = self.objects.lock();
        let mut items: Vec<_> = objects.items.values().map(|owned| owned.item.clone()).collect();
        items.sort_unstable_by_key(|item| item.handle);
        items
    }

    pub fn is_session_object(handle: u64) -> bool {
        handle & SESSION_OBJECT != 0
    }

    /// The handle of a token object that was asked for by another of its names.
    pub fn named(&self, handle: u64, label: &[u8]) -> u64 {
        let mut names = self.names.lock();
        let known = names.iter().position(|(object, name)| *object == handle && name == label);
        let index = known.unwrap_or_else(|| {
            names.push((handle, label.to_vec()));
            names.len() - 1
        });
        OTHER_NAME | index as u64
    }

    pub fn other_names(&self) -> Vec<(u64, Vec<u8>)> {
        self.names.lock().clone()
    }

    /// The row behind a handle, and the other name that it stands for.
    pub fn row_of(&self, handle: u64) -> Option<(u64, Option<Vec<u8>>)> {
        if handle & OTHER_NAME == 0 {
            return Some((handle, None));
        }
        let index = usize::try_from(handle & !OTHER_NAME).ok()?;
        self.names.lock().get(index).map(|(row, label)| (*row, Some(label.clone())))
    }

    /// The object behind a handle, if it exists and whoever is logged in may see it.
    pub fn item(&self, handle: u64) -> Result<Option<Arc<Item>>> {
        let item = if Self::is_session_object(handle) {
            self.objects.lock().items.get(&handle).map(|owned| owned.item.clone())
        } else if let Some(profile) = profile::item(handle) {
            Some(Arc::new(profile))
        } else {
            self.token_object(handle)?
        };
        Ok(item.filter(|item| self.sees(item.is_private())))
    }

    fn token_object(&self, handle: u64) -> Result<Option<Arc<Item>>> {
        // Before the caller is asked for: what an earlier one sees is not kept for a later one.
        let generation = (self.kms.generation(), self.logins.load(Ordering::Acquire));
        if let Some(item) = self.kept(generation, |kept| kept.items.get(&handle).cloned()) {
            return Ok(Some(item));
        }
        let Some((row, label)) = self.row_of(handle) else { return Ok(None) };
        let view = match self.kms.object(&self.caller(), row) {
            Ok(Some(view)) => view,
            Ok(None) | Err(Error::Locked) => return Ok(None),
            Err(error) => return Err(error),
        };
        let item = Arc::new(token_item(&view, handle, label.as_deref(), self.kms.realm())?);
        self.kept(generation, |kept| {
            if kept.items.len() >= KEPT {
                kept.items.clear();
            }
            kept.items.insert(handle, item.clone());
        });
        Ok(Some(item))
    }

    /// What the answer to a search is kept by; none before the login, and for a search that may have a long answer.
    pub fn asked(&self, search: &Search, caller: &Caller) -> Option<Asked> {
        let selective = search.label.is_some() || search.id.is_some() || search.unique.is_some();
        (selective && self.sees(true))
            .then(|| Asked { search: search.clone(), user: caller.user_name().map(str::to_owned) })
    }

    /// The token objects that a search found before, if none may have changed since.
    pub fn known(&self, asked: &Asked) -> Option<Vec<u64>> {
        let generation = (self.kms.generation(), self.logins.load(Ordering::Acquire));
        self.kept(generation, |kept| kept.found.get(asked).cloned())
    }

    /// Keeps what a search found that began when the store had this generation.
    pub fn keep_found(&self, generation: u64, asked: Asked, found: Vec<u64>) {
        if found.len() > FEW || generation != self.kms.generation() {
            return;
        }
        self.kept((generation, self.logins.load(Ordering::Acquire)), |kept| {
            if kept.found.len() >= KEPT {
                kept.found.clear();
            }
            kept.found.insert(asked, found);
        });
    }

    fn kept<T>(&self, generation: (u64, u64), work: impl FnOnce(&mut Kept) -> T) -> T {
        let mut kept = self.kept.get().lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.generation, kept.logins) != generation {
            kept.items.clear();
            kept.found.clear();
            (kept.generation, kept.logins) = generation;
        }
        work(&mut kept)
    }

    /// Does a class need a login to be seen, unless its objects say otherwise?
    pub fn is_private_class(class: Class) -> bool {
        matches!(class, Class::PrivateKey | Class::SecretKey)
    }

    /// What C_GetTokenInfo tells. Works with the store out of reach: then the configuration speaks.
    pub fn token_info(&self) -> CK_TOKEN_INFO {
        let counts = self.counts();
        let mut flags = CKF_RNG | CKF_LOGIN_REQUIRED | CKF_DUAL_CRYPTO_OPERATIONS;
        let mut label = self.kms.label().to_owned();
        match self.kms.row() {
            Ok(Some(row)) => {
                label = row.label;
                flags |= CKF_TOKEN_INITIALIZED;
                flags |= self.pin_flags();
            }
            Ok(None) | Err(Error::Store(StoreFault::Missing(_))) => {}
            Err(_) => flags |= CKF_TOKEN_INITIALIZED | CKF_USER_PIN_INITIALIZED,
        }
        CK_TOKEN_INFO {
            label: padded(&label),
            manufacturerID: padded("alikms"),
            model: padded("alikms-pkcs11"),
            serialNumber: padded(&self.serial),
            flags,
            ulMaxSessionCount: CK_EFFECTIVELY_INFINITE,
            ulSessionCount: counts.all,
            ulMaxRwSessionCount: CK_EFFECTIVELY_INFINITE,
            ulRwSessionCount: counts.read_write,
            ulMaxPinLen: 255,
            ulMinPinLen: 4,
            ulTotalPublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePublicMemory: CK_UNAVAILABLE_INFORMATION,
            ulTotalPrivateMemory: CK_UNAVAILABLE_INFORMATION,
            ulFreePrivateMemory: CK_UNAVAILABLE_INFORMATION,
            hardwareVersion: CK_VERSION { major: 0, minor: 0 },
            firmwareVersion: own_version(),
            utcTime: [b'0'; 16],
        }
    }

    fn pin_flags(&self) -> CK_FLAGS {
        let mut flags = 0;
        if let Ok(Some(failures)) = self.kms.pin_state(SlotKind::UserPin) {
            flags |= CKF_USER_PIN_INITIALIZED;
            flags |= count_flags(failures, CKF_USER_PIN_COUNT_LOW, CKF_USER_PIN_FINAL_TRY, CKF_USER_PIN_LOCKED);
        }
        if let Ok(Some(failures)) = self.kms.pin_state(SlotKind::SoPin) {
            flags |= count_flags(failures, CKF_SO_PIN_COUNT_LOW, CKF_SO_PIN_FINAL_TRY, CKF_SO_PIN_LOCKED);
        }
        flags
    }
}

fn count_flags(failures: u32, low: CK_FLAGS, last: CK_FLAGS, locked: CK_FLAGS) -> CK_FLAGS {
    match failures {
        0 => 0,
        failures if failures >= MAX_FAILURES => locked,
        failures if failures == MAX_FAILURES - 1 => low | last,
        _ => low,
    }
}

pub fn own_version() -> CK_VERSION {
    let number = |text: &str| text.parse().unwrap_or(0);
    CK_VERSION { major: number(env!("CARGO_PKG_VERSION_MAJOR")), minor: number(env!("CARGO_PKG_VERSION_MINOR")) }
}

/// Text as PKCS#11 wants it: padded with spaces, cut at a character boundary.
pub fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [b' '; N];
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    out[..end].copy_from_slice(&text.as_bytes()[..end]);
    out
}
