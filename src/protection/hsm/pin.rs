//! The device PIN, and the promise that a wrong one is tried once: not once a thread and not once a worker, because
//! 32 nginx workers with a typing error in the PIN file would otherwise lock the device for everybody.

use std::fs::File;
use std::hash::{BuildHasher, RandomState};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use subtle::ConstantTimeEq;

use super::device;
use crate::crypto::mac::Hmac;
use crate::crypto::random;
use crate::model::hash::Hash;

/// How long another process may take for its attempt before it counts as dead.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);
/// In bytes.
const SALT: usize = 32;

/// What is known of PINs, shared by this process and those forked from it. PINs are remembered by a keyed hash only.
pub struct Pins {
    key: RandomState,
    words: &'static [AtomicU64; 4],
    /// A file of the agent's, for the worker that comes after this process: the PIN that was refused, by a keyed hash.
    note: Option<PathBuf>,
}

const ACCEPTED: usize = 0;
const REFUSED: usize = 1;
/// Until when somebody is trying a PIN of which nothing is known yet; 0 if nobody is. In milliseconds since 1970.
const TRYING: usize = 2;

/// What came of trying a PIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Refused,
    /// Something else went wrong, and the PIN may be right or not.
    Unknown,
}

impl Pins {
    /// `note`: where what is known outlives this process, if anywhere.
    pub fn new(note: Option<PathBuf>) -> Self {
        Self { key: RandomState::new(), words: device::shared_words(), note }
    }

    /// Whether the device refused this PIN before.
    pub fn is_refused(&self, pin: &[u8]) -> bool {
        let hash = self.hash(pin);
        if self.words[REFUSED].load(Ordering::Acquire) != hash && self.is_noted(pin) {
            self.words[REFUSED].store(hash, Ordering::Release);
        }
        self.words[REFUSED].load(Ordering::Acquire) == hash
    }

    /// Tries the PIN unless it was refused before, in which case None comes back. A PIN of which nothing is known is
    /// tried by one thread of one process at a time; the others wait for what becomes of it, until `deadline`.
    pub fn attempt<T>(
        &self,
        pin: &[u8],
        deadline: Instant,
        attempt: impl FnOnce() -> (Verdict, T),
    ) -> Result<Option<T>, Late> {
        let hash = self.hash(pin);
        let mut mine = false;
        while self.words[ACCEPTED].load(Ordering::Acquire) != hash {
            if self.words[REFUSED].load(Ordering::Acquire) == hash {
                if mine {
                    self.words[TRYING].store(0, Ordering::Release);
                }
                return Ok(None);
            }
            if mine {
                break;
            }
            if self.claim() {
                // Once more round the loop: what is known may have changed just before the claim.
                mine = true;
            } else if Instant::now() >= deadline {
                return Err(Late);
            } else {
                std::thread::sleep(PAUSE);
            }
        }
        let (verdict, answer) = attempt();
        match verdict {
            Verdict::Accepted => self.words[ACCEPTED].store(hash, Ordering::Release),
            Verdict::Refused => {
                let _ = self.words[ACCEPTED].compare_exchange(hash, 0, Ordering::AcqRel, Ordering::Acquire);
                self.words[REFUSED].store(hash, Ordering::Release);
                self.note(pin);
            }
            Verdict::Unknown => {}
        }
        if mine {
            self.words[TRYING].store(0, Ordering::Release);
        }
        Ok(Some(answer))
    }

    fn is_noted(&self, pin: &[u8]) -> bool {
        let Some(noted) = self.note.as_ref().and_then(|path| std::fs::read(path).ok()) else { return false };
        noted.split_at_checked(SALT).is_some_and(|(salt, mac)| keyed(salt, pin).ct_eq(mac).into())
    }

    /// Without the note the next worker tries the PIN once more, which is all that can be lost.
    fn note(&self, pin: &[u8]) {
        let Some(path) = &self.note else { return };
        let salt = random::bytes::<SALT>();
        let text = [&salt[..], &keyed(&salt, pin)].concat();
        let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(&text)) {
            tracing::warn!(%error, "a refused PIN cannot be noted");
        }
    }

    fn claim(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let millis = |moment: Duration| u64::try_from(moment.as_millis()).unwrap_or(u64::MAX);
        let until = self.words[TRYING].load(Ordering::Acquire);
        // A claim far in the future is one made before the clock was set back.
        let is_free = until <= millis(now) || until > millis(now + PATIENCE);
        is_free
            && self.words[TRYING]
                .compare_exchange(until, millis(now + PATIENCE), Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }

    /// Never 0, which stands for nothing.
    fn hash(&self, pin: &[u8]) -> u64 {
        self.key.hash_one(pin).max(1)
    }
}

fn keyed(salt: &[u8], pin: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::new(Hash::Sha256, salt);
    mac.update(pin);
    mac.finish()
}

/// Another process was still trying the PIN when the time was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_wrong_pin_is_tried_once_by_many_threads_and_the_right_one_works_afterwards() {
        let pins = Pins::new(None);
        let tries = AtomicUsize::new(0);
        let later = Instant::now() + Duration::from_secs(10);
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| {
                    pins.attempt(b"wrong", later, || {
                        tries.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(20));
                        (Verdict::Refused, ())
                    })
                    .unwrap()
                });
            }
        });
        assert_eq!(tries.load(Ordering::Relaxed), 1);
        assert!(pins.is_refused(b"wrong"));
        assert_eq!(pins.attempt(b"right", later, || (Verdict::Accepted, 1)), Ok(Some(1)));
        assert_eq!(pins.attempt(b"right", later, || (Verdict::Unknown, 2)), Ok(Some(2)));
        assert_eq!(pins.attempt(b"right", later, || (Verdict::Refused, 3)), Ok(Some(3)));
        assert_eq!(pins.attempt(b"right", later, || (Verdict::Accepted, 4)), Ok(None));
    }
}
