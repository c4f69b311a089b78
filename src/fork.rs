//! What a fork changes: a number that is new in every child, values that a child makes anew, and a gate that keeps
//! forks and database statements apart.
//!
//! nginx, httpd and sshd initialise the module and then fork. The child goes on with what it inherited (sessions,
//! logins, opened keys), but must never use the parent's database connections and device sessions.

use std::cell::{Cell, UnsafeCell};
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

/// The epoch last given out; a child inherits the value and takes the next one.
static LAST: AtomicU64 = AtomicU64::new(0);
/// One page that the kernel fills with zeros in a forked child (`MADV_WIPEONFORK`): holds this process's epoch.
static PAGE: OnceLock<&'static AtomicU64> = OnceLock::new();
/// Held shared while a database statement runs, exclusively while the process forks.
static GATE: RwLock<()> = RwLock::new(());
/// The process has begun to exit.
static LEAVING: AtomicBool = AtomicBool::new(false);
/// How long an exit waits for those who hold the gate: one of them may be the reason for it.
const PATIENCE: Duration = Duration::from_secs(1);
static FORKING: Forking = Forking(UnsafeCell::new(None));
/// See [`at_birth`].
static AT_BIRTH: [OnceLock<fn()>; 2] = [OnceLock::new(), OnceLock::new()];

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

/// New memory of `size` zero bytes, aligned to a page, never freed: `libc::MAP_SHARED` with the processes forked from this
/// one afterwards, or `libc::MAP_PRIVATE`. None if the system has no more.
pub fn zeros(size: usize, sharing: c_int) -> Option<NonNull<c_void>> {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new anonymous mapping touches no memory that is in use; the result is checked.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), size, access, sharing | libc::MAP_ANONYMOUS, -1, 0) };
    if page == libc::MAP_FAILED { None } else { NonNull::new(page) }
}

fn map_page() -> &'static AtomicU64 {
    let size = 4096;
    let Some(page) = zeros(size, libc::MAP_PRIVATE) else { return Box::leak(Box::new(AtomicU64::new(0))) };
    // SAFETY: the range is the mapping made above. Without the advice (kernels before 4.14) the child handler below still renews the epoch.
    unsafe { libc::madvise(page.as_ptr(), size, libc::MADV_WIPEONFORK) };
    // SAFETY: registering functions that live as long as the library, which is never unloaded (-z nodelete).
    unsafe { libc::pthread_atfork(Some(prepare), Some(release), Some(renew)) };
    // SAFETY: `zeros` promises memory that is valid, aligned and zeroed, for ever.
    unsafe { page.cast::<AtomicU64>().as_ref() }
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
    for work in AT_BIRTH.iter().filter_map(OnceLock::get) {
        // A panic must not leave a function of C.
        let _ = std::panic::catch_unwind(work);
    }
    release();
}

/// What every forked child does before anything else runs in it, alone and with the gate held: letting go of descriptors
/// while their numbers are certainly still those of the parent's files. A daemon that forks closes them itself soon, and
/// then the numbers stand for files of its own. Of each room, the first function that is given stays.
pub fn at_birth(whose: Birth, work: fn()) {
    epoch();
    let _ = AT_BIRTH[whose as usize].set(work);
}

/// Who has something to let go of.
#[derive(Debug, Clone, Copy)]
pub enum Birth {
    Remote,
    Store,
}

/// Numbers, zero at first, that the processes forked from this one share with it. None if the system has no more memory.
pub fn shared_words() -> Option<&'static [AtomicU64; 512]> {
    let page = zeros(size_of::<[AtomicU64; 512]>(), libc::MAP_SHARED)?;
    // SAFETY: `zeros` promises memory of this size that is valid, aligned and zeroed, for ever.
    Some(unsafe { page.cast::<[AtomicU64; 512]>().as_ref() })
}

thread_local! {
    /// How often this thread holds the gate: it takes the lock only once, so that it never waits for itself.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// See [`thread_number`]; 0 as long as nobody asked.
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// A number of this thread's own, from 1 on: for tables in which threads keep out of each other's way.
pub fn thread_number() -> usize {
    static LAST: AtomicUsize = AtomicUsize::new(0);
    if NUMBER.get() == 0 {
        NUMBER.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
    }
    NUMBER.get()
}

/// Keeps the process from forking while it lives. Hold it for database statements, brief locks and calls of a device
/// library that shares the host's libcrypto; never across other device calls, which may hang. A thread may hold it
/// several times.
pub struct Hold(Option<RwLockReadGuard<'static, ()>>);

pub fn hold() -> Hold {
    epoch();
    let depth = DEPTH.get();
    let guard = (depth == 0).then(|| GATE.read().unwrap_or_else(PoisonError::into_inner));
    DEPTH.set(depth + 1);
    Hold(guard)
}

impl Drop for Hold {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        self.0 = None;
    }
}

/// To be called when a library was loaded whose destructors do not care who is inside of it: `exit` runs them while other
/// threads go on. What was registered last runs first, so that from now on an exit waits for the gate before it does that.
pub fn leave_in_order() {
    // SAFETY: registers a function that lives as long as this library, which is never unloaded (-z nodelete).
    unsafe { libc::atexit(leave) };
}

/// Is the process about to end, so that nothing may be called any more that was loaded after this library? To be asked
/// under the gate.
pub fn is_leaving() -> bool {
    LEAVING.load(Ordering::SeqCst)
}

extern "C" fn leave() {
    LEAVING.store(true, Ordering::SeqCst);
    let begun = Instant::now();
    // Nobody is kept out afterwards: whoever joins threads at exit must not wait for one that waits for the gate.
    while DEPTH.get() == 0 && GATE.try_write().is_err() && begun.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A mutex that no fork finds locked: for short changes of tables that a child inherits.
pub struct Lock<T>(Mutex<T>);

/// The value of a [`Lock`], as long as it lives.
pub struct LockGuard<'a, T> {
    value: MutexGuard<'a, T>,
    _hold: Hold,
}

impl<T> Lock<T> {
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub fn lock(&self) -> LockGuard<'_, T> {
        let hold = hold();
        LockGuard { value: self.0.lock().unwrap_or_else(PoisonError::into_inner), _hold: hold }
    }
}

impl<T> std::ops::Deref for LockGuard<'_, T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> std::ops::DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

/// A value that is read without a lock, inherited over a fork and replaced rarely: what was replaced is never freed.
pub struct Latest<T: 'static>(AtomicPtr<T>);

impl<T: Send + Sync + 'static> Latest<T> {
    pub const fn new() -> Self {
        Self(AtomicPtr::new(std::ptr::null_mut()))
    }

    pub fn get(&self) -> Option<&'static T> {
        // SAFETY: a non-null pointer was leaked by `set` and is never freed.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    pub fn set(&self, value: T) -> &'static T {
        let fresh = Box::leak(Box::new(value));
        self.0.store(fresh, Ordering::Release);
        fresh
    }

    /// Forgets the value; who got it goes on using it.
    pub fn clear(&self) {
        self.0.store(std::ptr::null_mut(), Ordering::Release);
    }
}

impl<T: Send + Sync + 'static> Default for Latest<T> {
    fn default() -> Self {
        Self::new()
    }
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

/// Whether the program runs with more rights than its caller has (set-user-ID, file capabilities): then the environment is
/// the caller's, and what it names is not to be followed (secure_getenv(3)).
pub fn is_elevated() -> bool {
    // SAFETY: reads the process's auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Who is behind what this process does, for the audit trail: itself, unless it works for another ([`work_for`]).
pub struct Actor {
    pub user: u32,
    /// 0 if its number is not known here.
    pub process: u32,
    /// Its path; empty if the system does not tell.
    pub program: String,
}

static CLIENT: OnceLock<Actor> = OnceLock::new();

/// From now on this process does what this client asks. The first one that is given stays.
pub fn work_for(client: Actor) {
    let _ = CLIENT.set(client);
}

/// The user that this process runs as, or works for.
pub fn uid() -> u32 {
    // SAFETY: getuid takes nothing and always succeeds.
    CLIENT.get().map_or_else(|| unsafe { libc::getuid() }, |client| client.user)
}

/// The number of this process, or of the one that it works for.
pub fn pid() -> u32 {
    CLIENT.get().map_or_else(std::process::id, |client| client.process)
}

/// The program that this process runs, or that it works for, by its path; empty if the system does not tell.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    let own = || std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
    CLIENT.get().map_or_else(|| PROGRAM.get_or_init(own), |client| &client.program)
}
