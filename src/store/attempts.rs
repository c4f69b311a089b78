//! One attempt at a PIN at a time, over all processes; and one at a time at a device that needs it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::files;
use crate::error::{Error, Result, StoreFault};
use crate::fork;

/// An attempt takes a tenth of a second; this is for some hundred of them before ours.
const WAIT: Duration = Duration::from_secs(30);
/// Making an object takes some 15 ms; what takes longer is the search for an RSA key, before there is an object.
const SHARED_WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(3);

/// Released when dropped, and by the system if the process dies.
#[derive(Debug)]
pub struct AttemptLock {
    file: File,
    epoch: u64,
}

impl AttemptLock {
    /// Locks the file, making it if need be. `StoreFault::Busy` if somebody holds it for longer than any attempts take:
    /// a stopped process must not hold up every login for ever.
    pub(super) fn take(path: &Path, store: &Path) -> Result<Self> {
        Self::wait(path, store, WAIT, File::try_lock)
    }

    /// Together with others who share it, while nobody has taken it.
    pub(super) fn share(path: &Path, store: &Path) -> Result<Self> {
        Self::wait(path, store, SHARED_WAIT, File::try_lock_shared)
    }

    fn wait(
        path: &Path,
        store: &Path,
        wait: Duration,
        attempt: impl Fn(&File) -> Result<(), TryLockError>,
    ) -> Result<Self> {
        let file = files::open_shared(path, store).map_err(|error| files::fault(path, &error))?;
        let deadline = Instant::now() + wait;
        loop {
            match attempt(&file) {
                Ok(()) => return Ok(Self { file, epoch: fork::epoch() }),
                Err(TryLockError::Error(error)) => return Err(files::fault(path, &error)),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                    return Err(Error::Store(StoreFault::Busy));
                }
                Err(TryLockError::WouldBlock) => sleep(PAUSE),
            }
        }
    }
}

impl Drop for AttemptLock {
    /// Unlocks in so many words: a process forked meanwhile holds the lock's descriptor too. Such a process itself only
    /// closes its copy, for the lock is its parent's.
    fn drop(&mut self) {
        if self.epoch == fork::epoch() {
            let _ = self.file.unlock();
        }
    }
}
