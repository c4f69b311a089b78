//! What a fork changes: a number that is new in every child, values that a child makes anew, and a gate that keeps
//! forks and database statements apart.
//!
//! nginx, httpd and sshd initialise the module and then fork. The child goes on with what it inherited (sessions,
//! logins, opened keys), but must never use the parent's database connections and device sessions.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The epoch last given out; a child inherits the value and takes the next one.
static LAST: AtomicU64 = AtomicU64::new(0);
/// One page that the kernel fills with zeros in a forked child (`MADV_WIPEONFORK`): holds this process's epoch.
static PAGE: OnceLock<&'static AtomicU64> = OnceLock::new();
/// Held shared while a database statement runs, exclusively while the process forks.
static GATE: RwLock<()> = RwLock::new(());
static FORKING: Forking = Forking(UnsafeCell::new(None));

struct Forking(UnsafeCell<Option<RwLockWriteGuard<'static, ()>>>);

// SAFETY: the cell is touched only by the handlers below, which run in the forking thread; whoever stored a guard
// holds GATE exclusively, so no second thread can be between `prepare` and `release`.
unsafe impl Sync for Forking {}

/// A number that differs between a process and every process forked from it. No system call.
pub fn epoch() -> u64 {
    let page = PAGE.get_or_init(map_page);
    match page.load(Ordering::Relaxed) {
        0 => first_look(page),
        epoch => epoch,
    }
}

#[cold]
fn first_look(page: &AtomicU64) -> u64 {
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    page.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed).map_or_else(|now| now, |_| next)
}

fn map_page() -> &'static AtomicU64 {
    let size = 4096;
    // SAFETY: an anonymous private mapping of one page; the result is checked, aligned to a page, zeroed and never unmapped.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    if page == libc::MAP_FAILED {
        return Box::leak(Box::new(AtomicU64::new(0)));
    }
    // SAFETY: the range is the mapping made above. Without the advice (kernels before 4.14) the child handler below still renews the epoch.
    unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) };
    // SAFETY: registering functions that live as long as the library, which is never unloaded (-z nodelete).
    unsafe { libc::pthread_atfork(Some(prepare), Some(release), Some(renew)) };
    // SAFETY: see the first block: valid, aligned, zeroed, for ever.
    unsafe { &*page.cast::<AtomicU64>() }
}

extern "C" fn prepare() {
    let guard = GATE.write().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: this thread holds GATE exclusively, see `Forking`.
    unsafe { *FORKING.0.get() = Some(guard) };
}

extern "C" fn release() {
    // SAFETY: runs in the thread that ran `prepare` (in the child: its copy, the only thread), which holds GATE exclusively.
    drop(unsafe { (*FORKING.0.get()).take() });
}

extern "C" fn renew() {
    if let Some(page) = PAGE.get() {
        page.store(0, Ordering::Relaxed);
    }
    release();
}

/// Keeps the process from forking while it lives. Hold it for database statements only, never across crypto or a device call.
pub fn hold() -> RwLockReadGuard<'static, ()> {
    epoch();
    GATE.read().unwrap_or_else(PoisonError::into_inner)
}

/// A value of which each process has its own: a forked child makes a new one on first use and leaves the inherited one
/// untouched, with whatever locks other threads of the parent held on it.
pub struct PerProcess<T: 'static> {
    current: AtomicPtr<Node<T>>,
    make: fn() -> T,
}

struct Node<T: 'static> {
    epoch: u64,
    value: T,
    /// What the parent had: kept so that a child can let go of it properly (database connections).
    inherited: Option<&'static Node<T>>,
}

impl<T: Send + Sync + 'static> PerProcess<T> {
    pub const fn new(make: fn() -> T) -> Self {
        Self { current: AtomicPtr::new(std::ptr::null_mut()), make }
    }

    /// This process's value.
    pub fn get(&self) -> &T {
        let epoch = epoch();
        let node = self.current.load(Ordering::Acquire);
        // SAFETY: a non-null pointer was leaked by `renew` below and is never freed.
        match unsafe { node.as_ref() } {
            Some(found) if found.epoch == epoch => &found.value,
            found => self.renew(epoch, node, found),
        }
    }

    #[cold]
    fn renew(&self, epoch: u64, old: *mut Node<T>, inherited: Option<&'static Node<T>>) -> &T {
        let fresh = Box::into_raw(Box::new(Node { epoch, value: (self.make)(), inherited }));
        match self.current.compare_exchange(old, fresh, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: just leaked, never freed.
            Ok(_) => unsafe { &(*fresh).value },
            Err(_) => {
                // SAFETY: nobody else has seen `fresh`.
                drop(unsafe { Box::from_raw(fresh) });
                self.get()
            }
        }
    }

    /// The value that the parent process had, if this process made its own after a fork.
    pub fn inherited(&self) -> Option<&T> {
        self.get();
        // SAFETY: as in `get`.
        let node = unsafe { self.current.load(Ordering::Acquire).as_ref() }?;
        node.inherited.map(|node| &node.value)
    }
}
