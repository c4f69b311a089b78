//! The sessions of a run: a table of seats, each with its own lock, so that sessions share nothing while they work.
//! Threads take seats in rows of their own as far as there are such, so that opening and closing share nothing either.

use std::sync::{OnceLock, PoisonError, TryLockError};
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
}

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
                match &mut *seat.take()? {
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
        let (row, place) = self.seat(handle)?;
        let mut seat = row.seats[place].take()?;
        match seat.as_mut().filter(|session| session.handle() == handle) {
            Some(session) => work(session),
            None => Err(ck(CKR_SESSION_HANDLE_INVALID)),
        }
    }

    /// Closes a session; the caller lets go of what belongs to it.
    pub fn close(&self, handle: u64) -> Result<Closed> {
        let (row, place) = self.seat(handle)?;
        let closed = self.with(handle, |session| Ok(session.close()))?;
        row.taken.fetch_and(!(1 << place), Ordering::Release);
        Ok(closed)
    }

    /// The handles of the sessions that `which` chooses, of those that are open now.
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
            let seat = seat.take().ok()?;
            seat.as_ref().filter(|session| which(session)).map(Session::handle)
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
    fn take(&self) -> Result<MutexGuard<'_, Option<Session>>> {
        let guard = match self.session.try_lock() {
            Ok(guard) => guard,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => self.wait()?,
        };
        self.holder.store(epoch(), Ordering::Relaxed);
        Ok(guard)
    }

    #[cold]
    fn wait(&self) -> Result<MutexGuard<'_, Option<Session>>> {
        // A thread that has just taken the lock may not have signed it yet.
        for _ in 0..100 {
            if self.holder.load(Ordering::Relaxed) == epoch() {
                return Ok(self.session.lock().unwrap_or_else(PoisonError::into_inner));
            }
            yield_now();
            match self.session.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        Err(ck(CKR_SESSION_HANDLE_INVALID))
    }
}
