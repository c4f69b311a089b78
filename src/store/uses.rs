//! What keys are used for, written down where it outlives the process: a file for each process and token, mapped into
//! memory (`[audit] crypto`). Writing a use down costs no system call, no lock, and no cache line that two threads share;
//! `harvest.rs` carries the files into the audit trail.
//!
//! A file has a header and rows. A row's first word tells its phase, its generation (how often it was bound to something
//! to count) and its count. Whoever binds a row moves it from empty (or carried over, see below) to `FILLING`, writes the
//! fields, and makes it `LIVE` with a count of 1; whoever finds the same use again adds 1 by compare-and-swap, so that a row
//! that was bound anew meanwhile is never counted up. A row may be bound anew only when its second word, which a harvest
//! writes after its transaction is committed, says that all of the count has been carried over.
//!
//! - The file is locked (`flock`) by the mapping alone: its descriptor is closed at once, forked children do not inherit
//!   the mapping, and the kernel lets go when the process ends, however it ends. A file that can be locked is finished.
//! - Each process has a file of its own; a forked child makes one when it first uses a key.
//! - All blocks are written before the file is mapped: a full disk is an error then, and never a fault later.

use std::fs::{self, File};
use std::io::{self, Write};
use std::mem::offset_of;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use memmap2::{Advice, MmapOptions, MmapRaw};
use uuid::Uuid;

use super::files::{self, beside};
use super::{OpenRealm, Store};
use crate::error::{Error, Result};
use crate::fork::{self, Latest, PerProcess, thread_number};
use crate::model::time::Moment;

pub(super) const MAGIC: u64 = u64::from_be_bytes(*b"alikuse1");
/// Rows of a file, and how many of them one thread uses before it looks at those of others.
pub(super) const ROWS: usize = 1024;
const SHARD: usize = 64;
/// Words of 8 bytes in the header and in a row; they are in the byte order of the machine.
pub(super) const HEADER: usize = 512;
pub(super) const ROW: usize = 40;
pub(super) const LEN: usize = (HEADER + ROWS * ROW) * 8;

/// Places in the header.
pub(super) const PROCESS: usize = 1;
pub(super) const PROGRAM: std::ops::Range<usize> = 2..34;
/// Places in a row.
pub(super) const STATE: usize = 0;
pub(super) const CARRIED: usize = 1;
pub(super) const FIRST: usize = 2;
pub(super) const LAST: usize = 3;
pub(super) const REQUEST: std::ops::Range<usize> = 4..6;
pub(super) const KEY: std::ops::Range<usize> = 6..8;
pub(super) const VERSION: std::ops::Range<usize> = 8..10;
pub(super) const CALLER: std::ops::Range<usize> = 10..20;
pub(super) const ACTION: std::ops::Range<usize> = 20..26;
pub(super) const MECHANISM: std::ops::Range<usize> = 26..30;
pub(super) const OUTCOME: std::ops::Range<usize> = 30..34;
/// What makes two uses the same.
const SAME: std::ops::Range<usize> = KEY.start..OUTCOME.end;

/// Phases of a row, in the top bits of its state; an empty one has the state 0. Below: 30 bits generation, 32 bits count.
const PHASE: u64 = 3 << 62;
const FILLING: u64 = 1 << 62;
pub(super) const LIVE: u64 = 2 << 62;
const GENERATION: u64 = (1 << 62) - (1 << 32);
const COUNT: u64 = (1 << 32) - 1;

/// Follows the name of a file that is being made.
const DRAFT: &str = ".new";
/// So many files of finished processes may lie about before a new process carries them over, and so many at most.
const MANY: usize = 16;
const TOO_MANY: usize = 1024;
/// So often a full file is emptied for one use, while other threads fill it again.
const ROUNDS: usize = 100;

/// The phase and generation of a state.
pub(super) fn binding(state: u64) -> u64 {
    state & (PHASE | GENERATION)
}

pub(super) fn count(state: u64) -> u64 {
    state & COUNT
}

/// One use of a key.
#[derive(Debug)]
pub struct Use<'a> {
    pub at: Moment,
    /// `account` or `user/NAME`.
    pub caller: &'a str,
    pub action: &'a str,
    pub key: Uuid,
    pub version: Uuid,
    pub mechanism: &'a str,
    pub outcome: &'a str,
    /// Given, the use gets a row of its own; else it is counted with those that are the same.
    pub request: Option<Uuid>,
}

/// The files of one store, and this process's own.
pub struct Uses {
    pub(super) store: PathBuf,
    own: PerProcess<Own>,
}

#[derive(Default)]
struct Own {
    live: Latest<&'static Live>,
    /// Held while a file is made or emptied.
    changing: Mutex<()>,
}

/// The files that this process has. They outlive C_Finalize: a program that goes on to C_Initialize again, however often,
/// goes on with the same ones.
static KNOWN: PerProcess<Mutex<Vec<&'static Live>>> = PerProcess::new(|| Mutex::new(Vec::new()));

/// The file of this process.
struct Live {
    map: MmapRaw,
    path: PathBuf,
    id: Uuid,
    realm: Uuid,
    /// Where to look for a free row next, for each shard.
    next: [Place; ROWS / SHARD],
}

/// In a cache line of its own.
#[repr(align(128))]
#[derive(Default)]
struct Place(AtomicUsize);

#[repr(C)]
struct Content {
    header: [AtomicU64; HEADER],
    rows: [Row; ROWS],
}

/// Whole cache lines, so that two threads that count in different rows do not disturb each other.
#[repr(C, align(64))]
struct Row([AtomicU64; ROW]);

const _: () = assert!(size_of::<Content>() == LEN && size_of::<Row>() == ROW * 8);
const _: () = assert!(offset_of!(Content, rows) == HEADER * 8);

impl Uses {
    /// Touches nothing.
    pub fn new(store: &Path) -> Self {
        Self { store: store.to_owned(), own: PerProcess::new(Own::default) }
    }

    /// Writes a use down. On an error it is not written down, and nothing that came of it may be answered.
    pub fn note(&self, store: &Store, realm: &OpenRealm, used: &Use<'_>) -> Result<()> {
        let row = encode(used);
        for _ in 0..ROUNDS {
            let live = self.live(store, realm, used.at)?;
            if live.note(&row, used.request.is_none()) {
                return Ok(());
            }
            self.empty(store, realm, used.at, live)?;
        }
        Err(Error::Internal("the uses of keys cannot be written down fast enough".to_owned()))
    }

    /// The identity of this process's file, if it has one.
    pub(super) fn own_file(&self) -> Option<Uuid> {
        self.own.get().live.get().map(|live| live.id)
    }

    fn live(&self, store: &Store, realm: &OpenRealm, now: Moment) -> Result<&'static Live> {
        match self.own.get().live.get() {
            Some(live) if live.realm == realm.row.uuid => Ok(*live),
            _ => self.begin(store, realm, now),
        }
    }

    #[cold]
    fn begin(&self, store: &Store, realm: &OpenRealm, now: Moment) -> Result<&'static Live> {
        let own = self.own.get();
        let _changing = own.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = own.live.get()
            && live.realm == realm.row.uuid
        {
            return Ok(live);
        }
        let lying = self.listed(realm)?.len();
        if lying >= MANY {
            let harvested = self.harvest(store, realm, now, false);
            if lying >= TOO_MANY {
                harvested?;
            }
        }
        let live = self.map(realm)?;
        // Before its first use: a file that is not there any more is then missed.
        Self::register(store, realm, live.id)?;
        own.live.set(live);
        Ok(live)
    }

    /// A file of this process for this token, made if there is none yet.
    fn map(&self, realm: &OpenRealm) -> Result<&'static Live> {
        // A child that inherited the descriptor would keep the file locked.
        let _hold = fork::hold();
        let mut known = KNOWN.get().lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = |live: &&&Live| live.path == self.file(realm.row.uuid, live.id) && live.path.exists();
        if let Some(live) = known.iter().find(is_ours) {
            return Ok(live);
        }
        let path = self.file(realm.row.uuid, Uuid::new_v4());
        let live: &'static Live = Box::leak(Box::new(Live::make(&path, &self.real(), realm.row.uuid)?));
        known.push(live);
        Ok(live)
    }

    /// Makes room in this process's file by carrying it over, unless another thread just did.
    #[cold]
    fn empty(&self, store: &Store, realm: &OpenRealm, now: Moment, live: &Live) -> Result<()> {
        let own = self.own.get();
        let _changing = own.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if live.has_room() {
            return Ok(());
        }
        if fs::symlink_metadata(&live.path).is_err() {
            // Somebody took the file away; what was in it is lost, and the next harvest says so.
            own.live.clear();
            return Ok(());
        }
        self.carry(store, realm, now, Some(live.id), None)
    }

    fn real(&self) -> PathBuf {
        self.store.canonicalize().unwrap_or_else(|_| self.store.clone())
    }

    /// `kms.db-uses-REALM-FILE`.
    pub(super) fn file(&self, realm: Uuid, id: Uuid) -> PathBuf {
        beside(&self.real(), &format!("{}{}", prefix(realm), id.simple()))
    }

    /// The files of a token that lie beside the store.
    pub(super) fn listed(&self, realm: &OpenRealm) -> Result<Vec<(PathBuf, Uuid)>> {
        let complete = |rest: &[u8]| (rest.len() == 32).then(|| Uuid::try_parse_ascii(rest).ok()).flatten();
        Ok(self.names(realm)?.into_iter().filter_map(|(path, rest)| Some((path, complete(&rest)?))).collect())
    }

    /// What a process that was killed while it made its file left behind.
    pub(super) fn drafts(&self, realm: &OpenRealm) -> Result<Vec<PathBuf>> {
        Ok(self
            .names(realm)?
            .into_iter()
            .filter(|(_, rest)| rest.ends_with(DRAFT.as_bytes()))
            .map(|(path, _)| path)
            .collect())
    }

    /// The files whose names begin like those of a token, and how they go on.
    fn names(&self, realm: &OpenRealm) -> Result<Vec<(PathBuf, Vec<u8>)>> {
        let real = self.real();
        let fault = |error: io::Error| files::fault(&real, &error);
        let (Some(directory), Some(name)) = (real.parent(), real.file_name()) else { return Ok(Vec::new()) };
        let prefix = beside(Path::new(name), &prefix(realm.row.uuid)).into_os_string().into_encoded_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir(directory).map_err(fault)? {
            let entry = entry.map_err(fault)?;
            if let Some(rest) = entry.file_name().as_encoded_bytes().strip_prefix(prefix.as_slice()) {
                found.push((entry.path(), rest.to_vec()));
            }
        }
        Ok(found)
    }
}

fn prefix(realm: Uuid) -> String {
    format!("-uses-{}-", realm.simple())
}

impl Live {
    /// The file appears under its name when it is complete and locked.
    fn make(path: &Path, store: &Path, realm: Uuid) -> Result<Self> {
        let fault = |error: io::Error| files::fault(path, &error);
        let draft = beside(path, DRAFT);
        let file = files::new(&draft).map_err(fault)?;
        let made = Self::fill(&file, store, realm, path).and_then(|live| fs::rename(&draft, path).map(|()| live));
        if made.is_err() {
            let _ = fs::remove_file(&draft);
        }
        made.map_err(fault)
    }

    fn fill(mut file: &File, store: &Path, realm: Uuid, path: &Path) -> io::Result<Self> {
        let mut header = [0; HEADER];
        header[0] = MAGIC;
        header[PROCESS] = u64::from(fork::pid()) | u64::from(fork::uid()) << 32;
        write_text(&mut header[PROGRAM], fork::program());
        let mut content: Vec<u8> = header.iter().flat_map(|word: &u64| word.to_ne_bytes()).collect();
        content.resize(LEN, 0);
        file.write_all(&content)?;
        files::share(file, Some(fs::metadata(store)?.gid()))?;
        file.try_lock()?;
        let map = MmapOptions::new().len(LEN).map_raw(file)?;
        map.advise(Advice::DontFork)?;
        let name = path.file_name().map(|name| name.as_encoded_bytes()).unwrap_or_default();
        let id = name.get(name.len().saturating_sub(32)..).and_then(|id| Uuid::try_parse_ascii(id).ok());
        let id = id.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { map, path: path.to_owned(), id, realm, next: Default::default() })
    }

    fn content(&self) -> &Content {
        // SAFETY: a mapping of LEN bytes, aligned to a page, that lives as long as `self`; any bytes are a `Content`. All
        // touch it through atomics or system calls only. Nobody shortens the file (docs/store.md). A forked child, which
        // does not have the mapping, does not get here: it has an `Own` of its own.
        unsafe { &*self.map.as_ptr().cast::<Content>() }
    }

    /// The rows of the calling thread, then all others.
    fn rows(&self) -> (usize, impl Iterator<Item = &Row>) {
        let rows = &self.content().rows;
        let home = thread_number() % (ROWS / SHARD);
        let start = home * SHARD + self.next[home].0.load(Ordering::Relaxed) % SHARD;
        let own = (start..(home + 1) * SHARD).chain(home * SHARD..start);
        let others = (0..home * SHARD).chain((home + 1) * SHARD..ROWS);
        (home, own.chain(others).map(move |at| &rows[at]))
    }

    /// False if there is no room.
    fn note(&self, row: &[u64; ROW], alike: bool) -> bool {
        let (home, rows) = self.rows();
        let rows_of_home = &self.content().rows[home * SHARD..(home + 1) * SHARD];
        // A shard is filled from its front: what comes after an empty row is empty as well.
        let mut used = rows_of_home.iter().take_while(|row| row.0[STATE].load(Ordering::Acquire) != 0);
        if alike && used.any(|place| place.count(row)) {
            return true;
        }
        for place in rows {
            if place.bind(row) {
                self.next[home].0.fetch_add(1, Ordering::Relaxed);
                return true;
            }
        }
        false
    }

    fn has_room(&self) -> bool {
        self.content().rows.iter().any(|row| row.is_free(row.0[STATE].load(Ordering::Acquire)))
    }
}

impl Row {
    /// Counts this use if the row is bound to it.
    fn count(&self, row: &[u64; ROW]) -> bool {
        loop {
            let state = self.0[STATE].load(Ordering::Acquire);
            let is_same = || SAME.zip(&self.0[SAME]).all(|(at, word)| word.load(Ordering::Relaxed) == row[at]);
            if state & PHASE != LIVE || count(state) == COUNT || !is_same() {
                return false;
            }
            self.0[LAST].store(row[LAST], Ordering::Relaxed);
            if self.0[STATE].compare_exchange(state, state + 1, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }

    /// Never used, or carried over to the last use.
    fn is_free(&self, state: u64) -> bool {
        state == 0 || (state & PHASE == LIVE && self.0[CARRIED].load(Ordering::Acquire) == state)
    }

    /// Binds the row to this use, if it is free.
    fn bind(&self, row: &[u64; ROW]) -> bool {
        let state = self.0[STATE].load(Ordering::Acquire);
        let generation = ((state & GENERATION) + (1 << 32)) & GENERATION;
        if !self.is_free(state)
            || self.0[STATE].compare_exchange(state, FILLING | generation, Ordering::AcqRel, Ordering::Relaxed).is_err()
        {
            return false;
        }
        for (place, word) in self.0.iter().zip(row).skip(FIRST) {
            place.store(*word, Ordering::Relaxed);
        }
        self.0[STATE].store(LIVE | generation | 1, Ordering::Release);
        true
    }
}

fn encode(used: &Use<'_>) -> [u64; ROW] {
    let mut row = [0; ROW];
    row[FIRST] = used.at.0.cast_unsigned();
    row[LAST] = row[FIRST];
    for (place, id) in [(REQUEST, used.request.unwrap_or_default()), (KEY, used.key), (VERSION, used.version)] {
        (row[place.start], row[place.start + 1]) = id.as_u64_pair();
    }
    write_text(&mut row[CALLER], used.caller);
    write_text(&mut row[ACTION], used.action);
    write_text(&mut row[MECHANISM], used.mechanism);
    write_text(&mut row[OUTCOME], used.outcome);
    row
}

/// As many bytes as there is room for; zeros follow.
fn write_text(words: &mut [u64], text: &str) {
    for (word, bytes) in words.iter_mut().zip(text.as_bytes().chunks(8)) {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        *word = u64::from_ne_bytes(eight);
    }
}
