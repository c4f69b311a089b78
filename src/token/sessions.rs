//! The sessions of a run: a table of seats, each with its own lock, so that sessions share nothing while they work.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};

use cryptoki_sys::*;

use crate::error::Result;
use crate::fork::{Lock, epoch};
use crate::token::{Session, ck};

/// Seats are made in blocks as they are needed: the first has this many, each further one twice as many as the last.
const FIRST: usize = 64;
const BLOCKS: usize = 10;
const SEATS: usize = FIRST * ((1 << BLOCKS) - 1);
/// A handle is the seat's number and how often the seat was taken: a closed session's handle is never valid again.
const SEAT_BITS: u32 = 16;

/// The table. At most 65,472 sessions at a time. Small, because a run that C_Finalize ended is never freed.
pub struct Sessions {
    blocks: [OnceLock<Box<[Seat]>>; BLOCKS],
    free: Lock<Free>,
}

#[derive(Default)]
struct Free {
    seats: Vec<usize>,
    /// Seats that were never taken begin here.
    fresh: usize,
    taken: u64,
}

/// Its own cache lines, so that two sessions at work do not disturb each other.
#[repr(align(128))]
#[derive(Default)]
struct Seat {
    session: Mutex<Option<Session>>,
    /// The process whose thread last took the lock: a lock that a thread of the parent held at the fork is never released.
    holder: AtomicU64,
}

impl Sessions {
    pub fn new() -> Self {
        Self { blocks: [const { OnceLock::new() }; BLOCKS], free: Lock::new(Free::default()) }
    }

    /// Seats a session; `make` is told its handle.
    pub fn open(&self, make: impl FnOnce(u64) -> Session) -> Result<u64> {
        let (index, handle) = {
            let mut free = self.free.lock();
            let index = match free.seats.pop() {
                Some(index) => index,
                None if free.fresh < SEATS => {
                    free.fresh += 1;
                    free.fresh - 1
                }
                None => return Err(ck(CKR_SESSION_COUNT)),
            };
            free.taken += 1;
            (index, (free.taken << SEAT_BITS) | index as u64)
        };
        let (block, place) = locate(index);
        let seats = self.blocks[block].get_or_init(|| (0..FIRST << block).map(|_| Seat::default()).collect());
        let mut seat = seats[place].take()?;
        *seat = Some(make(handle));
        Ok(handle)
    }

    fn seat(&self, handle: u64) -> Result<&Seat> {
        let (block, place) = locate((handle & ((1 << SEAT_BITS) - 1)) as usize);
        let seats = self.blocks.get(block).and_then(OnceLock::get);
        seats.and_then(|seats| seats.get(place)).ok_or(ck(CKR_SESSION_HANDLE_INVALID))
    }

    /// Runs `work` with the session to itself; waits for what another thread does with the same session.
    pub fn with<T>(&self, handle: u64, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        let mut seat = self.seat(handle)?.take()?;
        match seat.as_mut().filter(|session| session.handle() == handle) {
            Some(session) => work(session),
            None => Err(ck(CKR_SESSION_HANDLE_INVALID)),
        }
    }

    /// Takes a session out; the caller lets go of what belongs to it.
    pub fn close(&self, handle: u64) -> Result<Session> {
        let session = {
            let mut seat = self.seat(handle)?.take()?;
            match seat.take() {
                Some(session) if session.handle() == handle => session,
                other => {
                    *seat = other;
                    return Err(ck(CKR_SESSION_HANDLE_INVALID));
                }
            }
        };
        self.free.lock().seats.push((handle & ((1 << SEAT_BITS) - 1)) as usize);
        Ok(session)
    }

    /// The handles of the sessions that `which` chooses.
    pub fn handles(&self, which: impl Fn(&Session) -> bool) -> Vec<u64> {
        let seats = self.blocks.iter().filter_map(|block| block.get()).flat_map(|block| block.iter());
        seats
            .filter_map(|seat| {
                let seat = seat.take().ok()?;
                seat.as_ref().filter(|session| which(session)).map(Session::handle)
            })
            .collect()
    }
}

/// The block of a seat, and its place there.
fn locate(index: usize) -> (usize, usize) {
    let block = (index / FIRST + 1).ilog2() as usize;
    (block, index - FIRST * ((1 << block) - 1))
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
            std::thread::yield_now();
            match self.session.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        Err(ck(CKR_SESSION_HANDLE_INVALID))
    }
}
