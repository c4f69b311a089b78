//! The sessions of a run: a table of seats, each with its own lock, so that sessions share nothing while they work.
//! Threads take seats in rows of their own as far as there are such, so that opening and closing share nothing either.

use std::sync::{OnceLock, PoisonError, TryLockError};
use std::thread::sleep;
use std::time::Duration;
#[cfg(not(loom))]
use std::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};

use cryptoki_sys::*;
// `models/` tries every order of events in this file.
#[cfg(loom)]
use loom::{
    sync::atomic::{AtomicU64, Ordering},
    sync::{Mutex, MutexGuard},
    thread::yield_now,
};

use crate::error::Result;
use crate::fork::{epoch, thread_number};
use crate::token::ck;
use crate::token::session::{Closed, Session};
use crate::token::slot::Slot;

/// Seats in a row.
const ROW: usize = 8;
/// Rows are made in blocks as they are needed: the first has this many, each further one twice as many as the last.
const FIRST: usize = 8;
const BLOCKS: usize = 10;
const ROWS: usize = FIRST * ((1 << BLOCKS) - 1);
/// A handle is the seat's number and how often the seat was taken: a closed session's handle is never valid again.
const SEAT_BITS: u32 = 16;
/// Each seat counts from elsewhere, so that a handle that is wrong by a little is nobody's.
const SPREAD: u64 = 997;
/// So many threads share nothing when they open and close sessions; more begin to meet.
pub const HOMES: usize = 32;

/// The place of this thread among [`HOMES`].
pub fn home() -> usize {
    thread_number() % HOMES
}

/// The table. At most 65,472 sessions at a time. Small, because a run that C_Finalize ended is never freed.
pub struct Sessions {
    blocks: [OnceLock<Box<[Row]>>; BLOCKS],
}

/// Its own cache lines, so that two threads that open and close do not disturb each other.
#[repr(align(128))]
#[derive(Default)]
struct Row {
    /// One bit for each seat. No lock: a fork finds it right at every moment.
    taken: AtomicU64,
    seats: [Seat; ROW],
}

/// Its own cache lines, so that two sessions at work do not disturb each other.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    /// Once it was taken, a session stays in it, closed or not.
    session: Mutex<Option<Session>>,
    /// How often it was taken.
    uses: AtomicU64,
    /// The process whose thread last took the lock: a lock that a thread of the parent held at the fork is never released.
    holder: AtomicU64,
    /// How many threads wait for the lock to end what goes on, with the process that they are of above [`WAITING_BITS`].
    waiting: AtomicU64,
    /// How often one of them got it.
    served: AtomicU64,
}

type Guard<'a> = MutexGuard<'a, Option<Session>>;

/// What holds a session for one call. It stays where it is made: to hand it on costs a call more than the lock does.
#[derive(Default)]
pub struct Entry<'a> {
    // The lock goes first.
    guard: Option<Guard<'a>>,
    leaving: Option<Leaving<'a>>,
}

/// Lets those go first who wait to end something. The standard library's locks are not fair: a thread that comes back at
/// once takes the lock again before anybody whom it woke is there. Of equals that is right, for handing over costs a hundred
/// times what a small call does; but C_CloseAllSessions, C_Logout and C_Finalize want to come to an end.
struct Leaving<'a>(&'a Seat);

const WAITING_BITS: u32 = 24;
const LOW: u64 = (1 << WAITING_BITS) - 1;
/// How often whoever leaves a session looks whether they were served: for a few milliseconds, in which a thread wakes up even
/// if all processors are taken.
const PATIENCE: u32 = if cfg!(loom) { 1 } else { 100 };

impl Default for Sessions {
    fn default() -> Self {
        Self { blocks: [const { OnceLock::new() }; BLOCKS] }
    }
}

impl Sessions {
    /// Seats a session of a thread of this home; answers its handle.
    pub fn open(&self, slot: &'static Slot, home: usize, read_write: bool) -> Result<u64> {
        for index in (home..ROWS).chain(0..home) {
            let row = self.row(index);
            if let Some(place) = row.reserve() {
                let seat = &row.seats[place];
                let number = (index * ROW + place) as u64;
                let uses = seat.uses.fetch_add(1, Ordering::Relaxed) + 1;
                let handle = ((uses + number * SPREAD) << SEAT_BITS) | number;
                match seat.enter(false, &mut Entry::default())? {
                    Some(closed) => closed.renew(handle, slot, home, read_write),
                    none => *none = Some(Session::new(handle, slot, home, read_write)),
                }
                return Ok(handle);
            }
        }
        Err(ck(CKR_SESSION_COUNT))
    }

    fn row(&self, index: usize) -> &Row {
        let (block, place) = locate(index);
        &self.blocks[block].get_or_init(|| (0..FIRST << block).map(|_| Row::default()).collect())[place]
    }

    /// The seat that a handle speaks of, and its place in its row.
    fn seat(&self, handle: u64) -> Result<(&Row, usize)> {
        let index = (handle & ((1 << SEAT_BITS) - 1)) as usize;
        let (block, place) = locate(index / ROW);
        let rows = self.blocks.get(block).and_then(OnceLock::get);
        let row = rows.and_then(|rows| rows.get(place)).ok_or(ck(CKR_SESSION_HANDLE_INVALID))?;
        Ok((row, index % ROW))
    }

    /// Runs `work` with the session to itself; waits for what another thread does with the same session.
    pub fn with<T>(&self, handle: u64, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        self.take(handle, false, work)
    }

    /// The same for what ends something: the others who want the session step aside.
    pub fn end<T>(&self, handle: u64, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        self.take(handle, true, work)
    }

    #[inline(always)]
    fn take<T>(&self, handle: u64, ends: bool, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut entry = Entry::default();
        work(self.enter(handle, ends, &mut entry)?)
    }

    /// The session to itself, until `entry` is dropped. `ends`: for what ends something. Not in each function of the door anew:
    /// that would be 0.1 MB.
    #[inline(never)]
    pub fn enter<'a, 'e>(&'a self, handle: u64, ends: bool, entry: &'e mut Entry<'a>) -> Result<&'e mut Session> {
        let (row, place) = self.seat(handle)?;
        let session = row.seats[place].enter(ends, entry)?;
        match session {
            Some(session) if session.handle() == handle => Ok(session),
            _ => Err(ck(CKR_SESSION_HANDLE_INVALID)),
        }
    }

    /// Closes a session; the caller lets go of what belongs to it.
    pub fn close(&self, handle: u64) -> Result<Closed> {
        let (row, place) = self.seat(handle)?;
        let closed = self.end(handle, |session| Ok(session.close()))?;
        row.taken.fetch_and(!(1 << place), Ordering::Release);
        Ok(closed)
    }

    /// The handles of the sessions that `which` chooses, of those that are open now, for who wants to end something in them.
    pub fn handles(&self, which: impl Fn(&Session) -> bool) -> Vec<u64> {
        let rows = self.blocks.iter().filter_map(|block| block.get()).flat_map(|block| block.iter());
        // Listed before any is waited for: whoever goes on opening sessions would else never be caught up with.
        let seats: Vec<&Seat> = rows
            .flat_map(|row| {
                let taken = row.taken.load(Ordering::Acquire);
                row.seats.iter().enumerate().filter(move |(place, _)| taken & (1 << place) != 0).map(|(_, seat)| seat)
            })
            .collect();
        let chosen = seats.into_iter().filter_map(|seat| {
            let mut entry = Entry::default();
            let session = seat.enter(true, &mut entry).ok()?;
            session.as_ref().filter(|session| which(session)).map(Session::handle)
        });
        chosen.collect()
    }
}

/// The block of a row, and its place there.
fn locate(index: usize) -> (usize, usize) {
    let block = (index / FIRST + 1).ilog2() as usize;
    (block, index - FIRST * ((1 << block) - 1))
}

impl Row {
    /// A seat that nobody else has.
    fn reserve(&self) -> Option<usize> {
        loop {
            let place = (!self.taken.load(Ordering::Relaxed)).trailing_zeros() as usize;
            if place >= ROW {
                return None;
            }
            if self.taken.fetch_or(1 << place, Ordering::Acquire) & (1 << place) == 0 {
                return Some(place);
            }
        }
    }
}

impl Seat {
    #[inline(always)]
    fn enter<'a, 'e>(&'a self, ends: bool, entry: &'e mut Entry<'a>) -> Result<&'e mut Option<Session>> {
        match self.session.try_lock() {
            Ok(free) => entry.guard = Some(free),
            Err(TryLockError::Poisoned(poisoned)) => entry.guard = Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.wait(ends, &mut entry.guard)?,
        }
        entry.leaving = Some(Leaving(self));
        self.holder.store(epoch(), Ordering::Relaxed);
        entry.guard.as_deref_mut().ok_or(ck(CKR_SESSION_HANDLE_INVALID))
    }

    #[cold]
    fn wait<'a>(&'a self, ends: bool, guard: &mut Option<Guard<'a>>) -> Result<()> {
        // A thread that has just taken the lock may not have signed it yet.
        for _ in 0..100 {
            if self.holder.load(Ordering::Relaxed) == epoch() {
                if ends {
                    self.count_waiting(|waiting| waiting + 1);
                }
                *guard = Some(self.session.lock().unwrap_or_else(PoisonError::into_inner));
                if ends {
                    self.served.fetch_add(1, Ordering::Relaxed);
                    self.count_waiting(|waiting| waiting.saturating_sub(1));
                }
                return Ok(());
            }
            yield_now();
            *guard = match self.session.try_lock() {
                Ok(free) => Some(free),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => continue,
            };
            return Ok(());
        }
        Err(ck(CKR_SESSION_HANDLE_INVALID))
    }

    /// Counts those who wait in this process: threads of the parent do not.
    fn count_waiting(&self, count: impl Fn(u64) -> u64) {
        let own = epoch() << WAITING_BITS;
        let next = |word: u64| match count(if word & !LOW == own { word & LOW } else { 0 }) {
            0 => Some(0),
            waiting => Some(own | waiting),
        };
        let _ = self.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// Until one of those who wait has been served.
    #[cold]
    fn step_aside(&self) {
        let served = self.served.load(Ordering::Relaxed);
        for round in 0..PATIENCE {
            self.count_waiting(|waiting| waiting);
            if self.waiting.load(Ordering::Relaxed) == 0 || self.served.load(Ordering::Relaxed) != served {
                return;
            }
            if cfg!(loom) || round < PATIENCE / 2 { yield_now() } else { sleep(Duration::from_micros(50)) }
        }
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if self.0.waiting.load(Ordering::Relaxed) != 0 {
            self.0.step_aside();
        }
    }
}
