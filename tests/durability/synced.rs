//! What a power failure would leave, which no kill shows: the log of the store as it was when the last sync of it began.
//!
//! This program has an `fsync` and an `fdatasync` of its own. SQLite calls them, linked into this program or into the module
//! that it loads, for the executable's symbols come first. They look into the log just before they have it synced.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_long};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

static WATCHING: AtomicBool = AtomicBool::new(false);
static SYNCED: Mutex<BTreeMap<PathBuf, Vec<u8>>> = Mutex::new(BTreeMap::new());

// SAFETY: the names of the C library's functions, with its types, doing what those do.
#[unsafe(no_mangle)]
pub extern "C" fn fsync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fsync)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
pub extern "C" fn fdatasync(fd: c_int) -> c_int {
    sync(fd, libc::SYS_fdatasync)
}

fn sync(fd: c_int, call: c_long) -> c_int {
    let watched = WATCHING.load(Ordering::Relaxed).then(|| fs::read_link(format!("/proc/self/fd/{fd}")).ok()).flatten();
    let log = watched.filter(|path| path.as_os_str().as_encoded_bytes().ends_with(b"-wal"));
    let seen = log.map(|path| (fs::read(&path).unwrap_or_default(), path));
    // SAFETY: takes a descriptor and touches no memory of ours.
    let answer = unsafe { libc::syscall(call, fd) } as c_int;
    if let (0, Some((content, path))) = (answer, seen) {
        SYNCED.lock().unwrap_or_else(PoisonError::into_inner).insert(path, content);
    }
    answer
}

/// A log that is watched, and what it was when somebody last looked.
pub struct Log {
    path: PathBuf,
    before: Vec<u8>,
}

impl Log {
    pub fn of(store: &Path) -> Self {
        WATCHING.store(true, Ordering::Relaxed);
        let mut path = store.canonicalize().unwrap().into_os_string();
        path.push("-wal");
        let path = PathBuf::from(path);
        Self { before: fs::read(&path).unwrap(), path }
    }

    /// Something was answered that changed the store: it was written, and nothing was written after the last sync began.
    pub fn is_safe(&mut self, what: &str) {
        let now = fs::read(&self.path).unwrap();
        assert!(now != self.before, "{what}: nothing was written");
        let synced = SYNCED.lock().unwrap_or_else(PoisonError::into_inner);
        let synced = synced.get(&self.path).unwrap_or_else(|| panic!("{what}: nothing was ever synced"));
        assert!(*synced == now, "{what} was answered before it was on the disk");
        self.before = now;
    }
}
