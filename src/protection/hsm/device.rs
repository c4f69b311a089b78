//! The loader of device libraries, and the two pieces of process-wide state that go with it: the environment that
//! vendor libraries read, and a page of numbers that a process shares with the processes it forks.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::{CK_FUNCTION_LIST, CK_RV, CKR_OK};
use libc::{c_int, c_void};
use libloading::os::unix::Library;

use crate::config::Isolate;
use crate::fork::{self, PerProcess};

/// Keeps threads of this process from changing the environment while a library initialises itself by it.
static ENVIRONMENT: PerProcess<Mutex<()>> = PerProcess::new(|| Mutex::new(()));

/// A loaded device library. It is never unloaded, and never called from a destructor or at exit: vendor libraries do
/// not survive either.
pub struct Module {
    pub(super) list: CK_FUNCTION_LIST,
    pub(super) queue: Option<ErrorQueue>,
}

/// What keeps a device's OpenSSL errors apart from its host's. A library that uses the process's libcrypto leaves its
/// errors in the thread's queue, where nginx takes them for its own.
#[derive(Clone, Copy)]
pub(super) struct ErrorQueue {
    pub mark: unsafe extern "C" fn() -> c_int,
    pub pop: unsafe extern "C" fn() -> c_int,
}

type ListFunction = unsafe extern "C" fn(*mut *mut CK_FUNCTION_LIST) -> CK_RV;

/// Why a library was not loaded, as a sentence.
pub enum Refusal {
    /// Nothing was loaded.
    Absent(String),
    /// It was loaded, for ever, and is of no use: not to be tried again.
    Useless(String),
}

impl Module {
    /// Loads the library at `path`. Every call that gets that far leaves one instance in memory for ever.
    pub fn load(path: &Path, isolate: Isolate) -> Result<&'static Self, Refusal> {
        if !path.is_file() {
            return Err(Refusal::Absent(format!("there is no library at {}", path.display())));
        }
        // A child that is born in the middle of this inherits the loader's tables half written.
        let held = fork::hold();
        if fork::is_leaving() {
            return Err(Refusal::Absent("the process is about to end".to_owned()));
        }
        let library = match isolate {
            Isolate::Copy => open_copy(path),
            Isolate::Alone | Isolate::Share => open(path.as_os_str()),
        }
        .map_err(Refusal::Absent)?;
        fork::leave_in_order();
        drop(held);
        let module = Self::from_library(&library, path);
        // Whether it serves or not: its destructors are not to be trusted.
        std::mem::forget(library);
        Ok(Box::leak(Box::new(module.map_err(Refusal::Useless)?)))
    }

    fn from_library(library: &Library, path: &Path) -> Result<Self, String> {
        let refuse = |what: &str| Err(format!("{} is not a PKCS#11 library: {what}", path.display()));
        // SAFETY: the symbol of this name has this type in every PKCS#11 library (PKCS#11 3.2 §5.4.4).
        let Ok(function) = (unsafe { library.get::<ListFunction>(b"C_GetFunctionList\0") }) else {
            return refuse("it has no C_GetFunctionList");
        };
        let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
        // SAFETY: as above; `list` is a valid place for the answer.
        let rv = unsafe { (*function)(&raw mut list) };
        if rv != CKR_OK || list.is_null() {
            return refuse(&format!("C_GetFunctionList answered 0x{rv:08x}"));
        }
        // SAFETY: the library answers with a list that lives as long as itself, which is for ever; newer lists begin with this one.
        let list = unsafe { *list };
        if !(2..=3).contains(&list.version.major) {
            return refuse(&format!("its interface has version {}.{}", list.version.major, list.version.minor));
        }
        let Some(initialize) = list.C_Initialize else { return refuse("its list lacks C_Initialize") };
        let theirs = object_of(*function as *const c_void);
        match object_of(initialize as *const c_void) {
            Some(object) if Some(object) == object_of(Self::load as *const c_void) => Err(format!(
                "{}: its functions resolve to this module's own: it cannot be a device of itself",
                path.display()
            )),
            // Functions made at run time, as p11-kit's are, lie in no object.
            Some(object) if Some(object) != theirs => Err(format!(
                "{}: its functions resolve to those of another library in this process; load it with isolate = \"copy\"",
                path.display()
            )),
            _ => Ok(Self { list, queue: error_queue(library) }),
        }
    }
}

/// Where the object that holds this address begins.
fn object_of(address: *const c_void) -> Option<usize> {
    // SAFETY: Dl_info is plain data, for which zeros are valid.
    let mut info: libc::Dl_info = unsafe { std::mem::zeroed() };
    // SAFETY: dladdr takes any address and writes to `info` only.
    (unsafe { libc::dladdr(address, &raw mut info) } != 0).then_some(info.dli_fbase as usize)
}

/// The queue of the libcrypto that this library uses, if it uses one.
fn error_queue(library: &Library) -> Option<ErrorQueue> {
    // SAFETY: OpenSSL 1.0 and later and LibreSSL declare both `int f(void)`.
    let (mark, pop) = unsafe {
        (
            *library.get::<unsafe extern "C" fn() -> c_int>(b"ERR_set_mark\0").ok()?,
            *library.get::<unsafe extern "C" fn() -> c_int>(b"ERR_pop_to_mark\0").ok()?,
        )
    };
    Some(ErrorQueue { mark, pop })
}

fn open(path: &OsStr) -> Result<Library, String> {
    let deep = if std::env::var_os("ALIKMS_NO_DEEPBIND").is_some() { 0 } else { libc::RTLD_DEEPBIND };
    // SAFETY: the administrator vouches for what the library's constructors do.
    unsafe { Library::open(Some(path), libc::RTLD_NOW | libc::RTLD_LOCAL | deep) }.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        format!("cannot be loaded: {error}{cause}")
    })
}

/// Loads a private copy: the dynamic loader knows an object by its inode, so a copy is an instance of its own.
fn open_copy(path: &Path) -> Result<Library, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut fault = match open_memory(&bytes) {
        Ok(library) => return Ok(library),
        Err(fault) => fault,
    };
    // No memfd, no /proc, or no execution from it: a file that is gone as soon as it is loaded.
    let named = ["TMPDIR", "XDG_RUNTIME_DIR"].into_iter().filter(|_| !fork::is_elevated()).filter_map(std::env::var_os);
    for directory in named.map(PathBuf::from).chain(["/tmp", "/dev/shm", "/var/tmp"].map(PathBuf::from)) {
        match open_file(&directory, &bytes) {
            Ok(library) => return Ok(library),
            Err(next) => fault = format!("{fault}; {next}"),
        }
    }
    Err(format!("a private copy of {} cannot be loaded ({fault}); isolate = \"share\" needs none", path.display()))
}

fn open_memory(bytes: &[u8]) -> Result<Library, String> {
    const MFD_EXEC: libc::c_uint = 0x10;
    let create = |flags| {
        // SAFETY: a constant name; the answer is checked.
        unsafe { libc::memfd_create(c"alikms-device".as_ptr(), flags) }
    };
    // Kernels before 6.3 do not know MFD_EXEC, later ones may be told to insist on it.
    let raw = match create(libc::MFD_CLOEXEC | MFD_EXEC) {
        -1 => create(libc::MFD_CLOEXEC),
        raw => raw,
    };
    if raw < 0 {
        return Err(format!("memfd_create: {}", std::io::Error::last_os_error()));
    }
    // SAFETY: `raw` was just opened and belongs to nobody else.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(raw) });
    file.write_all(bytes).map_err(|error| error.to_string())?;
    open(&unused_name(file.as_raw_fd())?)
}

/// A path to this descriptor by which no object has been loaded yet: the loader compares paths before inodes, and
/// descriptors are numbered again after they are closed.
fn unused_name(descriptor: c_int) -> Result<std::ffi::OsString, String> {
    (0..64)
        .map(|turn| format!("/proc/self/fd/{}{descriptor}", "./".repeat(turn)))
        .find(|path| CString::new(path.as_str()).is_ok_and(|path| !is_loaded(&path)))
        .map(Into::into)
        .ok_or_else(|| "too many copies are loaded already".to_owned())
}

fn is_loaded(path: &CStr) -> bool {
    // SAFETY: RTLD_NOLOAD loads nothing and runs no code.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOLOAD | libc::RTLD_LAZY) };
    if handle.is_null() {
        // SAFETY: takes the message that dlopen may have left.
        unsafe { libc::dlerror() };
        return false;
    }
    // SAFETY: gives back the reference that dlopen has just counted.
    unsafe { libc::dlclose(handle) };
    true
}

fn open_file(directory: &Path, bytes: &[u8]) -> Result<Library, String> {
    let path = directory.join(format!(".alikms-{}.so", uuid::Uuid::new_v4()));
    let say = |error: std::io::Error| format!("{}: {error}", directory.display());
    let mut file = File::options().write(true).create_new(true).mode(0o700).open(&path).map_err(say)?;
    let library = file.write_all(bytes).map_err(say).and_then(|()| {
        drop(file);
        open(OsStr::from_bytes(path.as_os_str().as_bytes()))
    });
    let _ = std::fs::remove_file(&path);
    library
}

/// Runs `work`, usually C_Initialize, with these variables set. `restore`: afterwards they are as before, because the
/// application may use the same library with settings of its own.
pub(super) fn with_environment<'a, T>(
    variables: impl Iterator<Item = (&'a String, &'a String)>,
    restore: bool,
    work: impl FnOnce() -> T,
) -> T {
    let _held = ENVIRONMENT.get().lock().unwrap_or_else(PoisonError::into_inner);
    let mut before = Vec::new();
    for (name, value) in variables {
        let old = std::env::var_os(name);
        if old.as_deref() == Some(OsStr::new(value)) || !is_settable(name, value) {
            continue;
        }
        set_variable(name, Some(OsStr::new(value)));
        before.push((name, old));
    }
    let done = work();
    for (name, old) in before.into_iter().filter(|_| restore) {
        set_variable(name, old.as_deref());
    }
    done
}

/// Sets or removes a variable, by the C library: `std::env::set_var` waits for a lock that a forked child inherits
/// closed when another thread was reading a variable, and then waits for ever.
fn set_variable(name: &str, value: Option<&OsStr>) {
    let Ok(name) = CString::new(name) else { return };
    let Some(value) = value.map(|value| CString::new(value.as_bytes())).transpose().ok() else { return };
    // The C library has such a lock, too, for writers only: none of ours writes while the process forks.
    let _held = fork::hold();
    // SAFETY: strings that end in zero; the C library copies them. Threads of ours that write are kept out by the
    // caller's lock. One that reads the environment in this moment is the risk that the configuration takes by `env`;
    // nothing is written if nothing differs.
    unsafe {
        match value {
            Some(value) => libc::setenv(name.as_ptr(), value.as_ptr(), 1),
            None => libc::unsetenv(name.as_ptr()),
        };
    }
}

/// What is no variable.
fn is_settable(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// Numbers that this process shares with every process forked from it afterwards. All zero at first, never freed.
pub(super) fn shared_words() -> &'static [AtomicU64; 4] {
    let Some(words) = fork::zeros(size_of::<[AtomicU64; 4]>(), libc::MAP_SHARED) else {
        return Box::leak(Box::default());
    };
    // SAFETY: `zeros` promises memory that is valid, aligned and zeroed, for ever; processes touch it by atomic operations only.
    unsafe { words.cast::<[AtomicU64; 4]>().as_ref() }
}
