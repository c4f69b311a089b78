//! Logins that are said again to a new host, by this process and by those forked from it: a PIN that was changed meanwhile is
//! tried once by all of them together, or they would lock it.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cryptoki_sys::CKR_DEVICE_ERROR;

use crate::error::Result;
use crate::fork;
use crate::token::ck;

const TRYING: u64 = 1;
const REFUSED: u64 = 2;
/// Above the state, the login's number.
const BITS: u32 = 2;
/// Whoever tries and does not come to an end in this time is dead.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// In memory that the processes share: for each login its state, and how often that has changed.
pub struct Tries(&'static [AtomicU64]);

/// The right to try a login. Dropped without a word, it is the next one's turn.
pub struct Turn<'a> {
    state: &'a AtomicU64,
    changes: &'a AtomicU64,
    number: u64,
}

impl Default for Tries {
    fn default() -> Self {
        static NONE: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
        // One page is enough for every run of a process, and is never freed.
        static WORDS: OnceLock<Option<&'static [AtomicU64; 512]>> = OnceLock::new();
        Self(WORDS.get_or_init(fork::shared_words).map_or(&NONE, |words| words))
    }
}

impl Tries {
    /// A number for a login, which no other one has.
    pub fn number() -> u64 {
        uuid::Uuid::new_v4().as_u64_pair().1 << BITS
    }

    /// Waits for the others; None if the PIN was refused to one of them. CKR_DEVICE_ERROR if that takes too long.
    pub fn turn(&self, number: u64, deadline: Instant) -> Result<Option<Turn<'_>>> {
        let place = (number >> BITS) as usize % (self.0.len() / 2) * 2;
        let (state, changes) = (&self.0[place], &self.0[place + 1]);
        let mut since = (Instant::now(), changes.load(Ordering::Relaxed));
        loop {
            let seen = state.load(Ordering::Acquire);
            let now = changes.load(Ordering::Relaxed);
            if now != since.1 {
                since = (Instant::now(), now);
            }
            if seen == number | REFUSED {
                return Ok(None);
            }
            if seen == number | TRYING && since.0.elapsed() < PATIENCE {
                if Instant::now() >= deadline {
                    return Err(ck(CKR_DEVICE_ERROR));
                }
                std::thread::sleep(PAUSE);
                continue;
            }
            if state.compare_exchange(seen, number | TRYING, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                changes.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(Turn { state, changes, number }));
            }
        }
    }
}

impl Turn<'_> {
    pub fn refused(self) {
        self.state.store(self.number | REFUSED, Ordering::Release);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let tried = self.number | TRYING;
        let _ = self.state.compare_exchange(tried, 0, Ordering::Release, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_after_the_other_until_one_is_refused() {
        let tries = Tries::default();
        let number = Tries::number();
        let soon = || Instant::now() + Duration::from_secs(60);
        let tried = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    if let Some(turn) = tries.turn(number, soon()).unwrap() {
                        // The third one is refused.
                        if tried.fetch_add(1, Ordering::Relaxed) == 2 {
                            turn.refused();
                        }
                    }
                });
            }
        });
        assert_eq!(tried.into_inner(), 3);
        assert!(tries.turn(number, soon()).unwrap().is_none());
        assert!(tries.turn(Tries::number(), soon()).unwrap().is_some());
    }

    #[test]
    fn another_one_is_not_waited_for_longer_than_allowed_and_all_share_a_page() {
        let (tries, number) = (Tries::default(), Tries::number());
        let begun = Instant::now();
        let soon = || Instant::now() + Duration::from_millis(100);
        let turn = tries.turn(number, soon()).unwrap().unwrap();
        // Another run of the same process.
        assert!(Tries::default().turn(number, soon()).is_err());
        assert!(begun.elapsed() < PATIENCE);
        turn.refused();
        assert!(Tries::default().turn(number, soon()).unwrap().is_none());
    }
}
