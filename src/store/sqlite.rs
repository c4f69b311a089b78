//! The SQLite engine: connections, transactions, what its errors mean, and what a fork does to it. No statement of a noun.
//!
//! Every call of SQLite is made with the gate of [`crate::fork`] held, so that no fork finds it at work: a child inherits
//! idle connections only, all of them in [`HERE`], and lets go of them at once ([`fork::at_birth`]). SQLite keeps its idea of the
//! locks it has in process memory, which the fork copied, while the kernel's locks stayed with the parent.

use std::path::{Path, PathBuf};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::{Connection, FileControl, OpenFlags, ffi};

use super::attempts::AttemptLock;
use super::connect;
use super::counter::{Counter, NOT_CLEAN};
use super::database::{Database, Mode, Row, Transaction, Value};
use super::files::{self, Identity, beside};
use super::gate::Gate;
use super::schema;
use super::statement::{ask, fault, run};
use crate::error::{Error, Result, StoreFault};
use crate::fork::{self, PerProcess};

/// How long a transaction waits for others before it is `Busy`.
const WAIT: Duration = Duration::from_secs(10);
/// Idle connections kept of each role.
const IDLE: usize = 8;

/// What this process has open. One for all stores: SQLite's own list of open files is one for the process too.
static HERE: PerProcess<Here> = PerProcess::new(Here::default);
static LAST_STORE: AtomicU64 = AtomicU64::new(0);

#[derive(Default)]
struct Here {
    /// Locked with the gate held only, hence never while the process forks.
    idle: Mutex<Vec<Link>>,
    /// Is a thread of this process writing, or waiting for other processes to let it?
    writing: Mutex<bool>,
    written: Condvar,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Reader,
    /// Asks for `data_version` and nothing else, for that tells what *other* connections changed.
    Watcher,
    Writer,
}

/// A connection.
struct Link {
    connection: Connection,
    store: u64,
    role: Role,
    /// Which file it is: another one may have taken its name.
    file: Identity,
    /// Watchers: the `data_version` last seen.
    seen: Option<i64>,
}

/// One store file.
pub(super) struct Sqlite {
    number: u64,
    path: PathBuf,
    /// The path without symbolic links, once there is a file.
    real: OnceLock<PathBuf>,
    counter: Counter,
    /// Part of the generations given out while the counter is not clean. A child goes on from the parent's.
    looks: AtomicU64,
}

impl Sqlite {
    /// Touches nothing.
    pub(super) fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self {
            number: LAST_STORE.fetch_add(1, Ordering::Relaxed),
            path,
            real: OnceLock::new(),
            counter: Counter::new(),
            looks: AtomicU64::new(0),
        }
    }

    /// Where the file really is: the counter stands beside it, under whatever name a process knows the store.
    fn real(&self) -> &Path {
        match self.real.get() {
            Some(real) => real,
            None => match self.path.canonicalize() {
                Ok(real) => self.real.get_or_init(|| real),
                Err(_) => &self.path,
            },
        }
    }

    /// A connection for this role; one that was used before, if there is one.
    fn link(&self, role: Role) -> Result<Link> {
        let path = self.real();
        let file = files::identity(path).map_err(|error| files::fault(path, &error))?;
        let here = here();
        loop {
            let mut idle = lock(&here.idle);
            let Some(at) = idle.iter().position(|link| link.store == self.number && link.role == role) else { break };
            let link = idle.swap_remove(at);
            drop(idle);
            if link.file == file {
                return Ok(link);
            }
        }
        fork::at_birth(fork::Birth::Store, let_go);
        let _ = self.counter.refresh(&beside(path, "-counter"));
        let flags =
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| fault(None, path, error))?;
        let said = |error| fault(Some(&connection), path, error);
        connect::configure(&connection).map_err(said)?;
        let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(said)?;
        if application != schema::APPLICATION {
            return Err(Error::corrupt(format!("{} is not a store", path.display())));
        }
        // The -wal and -shm files stay when the last process goes: the next one may not be allowed to make them.
        connection.file_control(Some(c"main"), FileControl::PersistWal(&mut 1)).map_err(said)?;
        Ok(Link { connection, store: self.number, role, file, seen: None })
    }

    /// Begins on a connection, bringing the schema up to date if need be.
    fn start(&self, link: &Link, mode: Mode) -> Result<()> {
        let version = || -> Result<u32> {
            let found = ask(&link.connection, self.real(), "PRAGMA user_version")?;
            let (found, known) = (u32::try_from(found).unwrap_or(u32::MAX), schema::known());
            if found > known { Err(Error::Store(StoreFault::Newer { found, known })) } else { Ok(found) }
        };
        let begin = if mode == Mode::Read { "BEGIN" } else { "BEGIN IMMEDIATE" };
        run(&link.connection, self.real(), begin, &[])?;
        if version()? < schema::known() {
            run(&link.connection, self.real(), "ROLLBACK", &[])?;
            run(&link.connection, self.real(), "BEGIN IMMEDIATE", &[])?;
            connect::upgrade(&link.connection, version()?)
                .map_err(|error| fault(Some(&link.connection), self.real(), error))?;
            run(&link.connection, self.real(), "COMMIT", &[])?;
            run(&link.connection, self.real(), begin, &[])?;
            version()?;
        }
        if mode == Mode::Write {
            self.counter.ready(&beside(self.real(), "-counter"), self.real())?;
        }
        Ok(())
    }

    fn attempt(&self, mode: Mode) -> Result<(Link, Gate)> {
        let gate = Gate::enter();
        let link = self.link(if mode == Mode::Read { Role::Reader } else { Role::Writer })?;
        match self.start(&link, mode) {
            Ok(()) => Ok((link, gate)),
            Err(error) => {
                self.end(link, matches!(error, Error::Store(StoreFault::Busy)));
                Err(error)
            }
        }
    }

    /// Ends whatever is open on a connection, and keeps it if it is sound and wanted.
    fn end(&self, link: Link, sound: bool) {
        let ended = link.connection.is_autocommit() || run(&link.connection, self.real(), "ROLLBACK", &[]).is_ok();
        let mut idle = lock(&here().idle);
        if sound
            && ended
            && idle.iter().filter(|idle| idle.store == self.number && idle.role == link.role).count() < IDLE
        {
            idle.push(link);
        }
    }

    /// Has nothing changed since somebody last looked? If in doubt, no.
    fn unchanged(&self) -> bool {
        let Ok(mut link) = self.link(Role::Watcher) else { return false };
        let Ok(version) = ask(&link.connection, self.real(), "PRAGMA data_version") else { return false };
        let same = link.seen.replace(version) == Some(version);
        self.end(link, true);
        same
    }

    #[cold]
    fn look(&self) -> u64 {
        let _gate = Gate::enter();
        let _ = self.counter.refresh(&beside(self.real(), "-counter"));
        if let Some(clean) = self.counter.clean() {
            return clean;
        }
        if !self.unchanged() {
            self.looks.fetch_add(1, Ordering::AcqRel);
        }
        NOT_CLEAN | self.looks.load(Ordering::Acquire)
    }
}

impl Database for Sqlite {
    fn begin(&self, mode: Mode) -> Result<Box<dyn Transaction + '_>> {
        if Gate::is_held() {
            return Err(Error::Internal("a transaction was begun within a transaction".into()));
        }
        let deadline = Instant::now() + WAIT;
        let turn = if mode == Mode::Read { None } else { Some(Turn::take(deadline)?) };
        let mut pause = Duration::from_micros(250);
        loop {
            match self.attempt(mode) {
                Ok((link, gate)) => {
                    return Ok(Box::new(Work {
                        owner: self,
                        link: Some(link),
                        mode,
                        sound: true,
                        _turn: turn,
                        _gate: gate,
                    }));
                }
                // Without the gate: those who want to fork do not wait for other processes.
                Err(Error::Store(StoreFault::Busy)) if Instant::now() < deadline => sleep(pause),
                Err(error) => return Err(error),
            }
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }

    fn generation(&self) -> u64 {
        self.counter.clean().unwrap_or_else(|| self.look())
    }

    fn file_lock(&self, suffix: &str) -> Result<AttemptLock> {
        AttemptLock::take(&beside(self.real(), suffix), self.real())
    }

    fn shared_file_lock(&self, suffix: &str) -> Result<AttemptLock> {
        AttemptLock::share(&beside(self.real(), suffix), self.real())
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _gate = Gate::enter();
        let mine: Vec<Link> = lock(&here().idle).extract_if(.., |link| link.store == self.number).collect();
        drop(mine);
    }
}

/// A transaction at work. The link goes back before the turn and the gate end.
struct Work<'a> {
    owner: &'a Sqlite,
    link: Option<Link>,
    mode: Mode,
    /// Nothing has gone wrong that a new connection might mend.
    sound: bool,
    _turn: Option<Turn>,
    _gate: Gate,
}

impl Transaction for Work<'_> {
    fn run(&mut self, sql: &str, args: &[Value<'_>]) -> Result<Vec<Row>> {
        let Some(link) = &self.link else { return Err(Error::Internal("the transaction has ended".into())) };
        if self.mode == Mode::Read && !sql.starts_with("SELECT") && !sql.starts_with("EXPLAIN") {
            return Err(Error::Internal("a transaction that reads was asked to write".into()));
        }
        let outcome = run(&link.connection, self.owner.real(), sql, args);
        self.sound &= !matches!(outcome, Err(Error::Store(_)));
        outcome
    }

    fn image(&mut self) -> Result<Vec<u8>> {
        let Some(link) = &mut self.link else { return Err(Error::Internal("the transaction has ended".into())) };
        let image = link.connection.serialize("main");
        image.map(|image| image.to_vec()).map_err(|error| fault(Some(&link.connection), self.owner.real(), error))
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        let Some(link) = self.link.take() else { return Err(Error::Internal("the transaction has ended".into())) };
        let begun = if self.mode == Mode::Write { self.owner.counter.begin() } else { None };
        let outcome = run(&link.connection, self.owner.real(), "COMMIT", &[]);
        self.owner.end(link, self.sound && outcome.is_ok());
        if let Some(begun) = begun {
            begun.end();
        }
        outcome.map(drop)
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Some(link) = self.link.take() {
            self.owner.end(link, self.sound);
        }
    }
}

/// The right to be this process's writer. Threads wait for it here rather than for SQLite's lock, which knows no queue.
struct Turn(&'static Here);

impl Turn {
    fn take(deadline: Instant) -> Result<Self> {
        let here = {
            let _gate = Gate::enter();
            here()
        };
        let mut writing = lock(&here.writing);
        while *writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::Store(StoreFault::Busy));
            }
            writing = here.written.wait_timeout(writing, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *writing = true;
        Ok(Self(here))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *lock(&self.0.writing) = false;
        self.0.written.notify_one();
    }
}

/// This process's connections; the caller holds the gate. In a forked child, lets go of the parent's first.
fn here() -> &'static Here {
    if let Some(parents) = HERE.inherited() {
        let mut idle = lock(&parents.idle);
        for link in idle.drain(..) {
            // SAFETY: the handle of a connection that nobody else uses. NULL_IO takes no argument; it closes this process's
            // copy of the descriptor, so that closing the connection cannot touch the file or anybody's locks on it.
            unsafe {
                let handle = link.connection.handle();
                ffi::sqlite3_file_control(handle, c"main".as_ptr(), ffi::SQLITE_FCNTL_NULL_IO, null_mut());
            }
        }
    }
    HERE.get()
}

/// At the birth of a child; one that was made without `fork` does it when it first comes here.
fn let_go() {
    here();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an empty file into a store. Nobody else knows of the file yet.
pub(super) fn format(path: &Path) -> Result<()> {
    let _gate = Gate::enter();
    here();
    connect::format(path).map_err(|error| fault(None, path, error))
}

/// Was it the disk that the last operation failed for?
pub(super) fn no_space(connection: &Connection) -> bool {
    // SAFETY: the handle of an open connection; the call only reads the error number that it remembers.
    let number = unsafe { ffi::sqlite3_system_errno(connection.handle()) };
    matches!(number, libc::ENOSPC | libc::EDQUOT)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::super::tests::{Fixture, audit, key};
    use super::*;

    /// Runs `work` in a forked process; did it answer true?
    fn in_child(work: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `work`, which takes no lock that another thread of the tests may hold, and exits.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_default();
            // SAFETY: ends the process without running what belongs to the parent.
            unsafe { libc::_exit(i32::from(!good)) };
        }
        let mut status = -1;
        // SAFETY: our own child, and a place for its status.
        unsafe { libc::waitpid(child, &mut status, 0) };
        status == 0
    }

    /// "5: POSIX  ADVISORY  READ 1234 fe:00:5678 128 128": the lock on the file, and the one that keeps -shm in use.
    /// Asked several times: the list is read in pieces, and leaves lines out while others lock and unlock.
    fn holds_locks(path: &Path) -> bool {
        let pid = std::process::id().to_string();
        ["", "-shm"].iter().all(|suffix| {
            let inode = format!(":{}", fs::metadata(beside(path, suffix)).unwrap().ino());
            (0..50).any(|_| {
                let locks = fs::read_to_string("/proc/locks").unwrap();
                locks.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).any(|line| {
                    line.get(3..5) == Some(&["READ", &pid]) && line.get(5).is_some_and(|at| at.ends_with(&inode))
                })
            })
        })
    }

    /// nginx opens the store, then forks its workers. A worker that kept the master's connections would read happily and
    /// hold no lock at all, for the kernel's locks are not inherited: two writers at once, a damaged store.
    #[test]
    fn a_forked_child_has_connections_and_locks_of_its_own() {
        let fixture = Fixture::new();
        let (store, realm) = (&fixture.store, &fixture.realm);
        let (first, second, third) = (key(1), key(2), key(3));
        store.write(realm, &audit(), |records| records.insert_key(&first)).unwrap();
        assert!(store.read(realm, |records| records.key(first.id)).unwrap().is_some());
        let before = store.generation();
        assert!(in_child(|| {
            let kept = store.generation() == before;
            let found = store.read(realm, |records| records.key(first.id)).unwrap().is_some();
            let locked = holds_locks(&fixture.path);
            let written = store.write(realm, &audit(), |records| records.insert_key(&second));
            // A grandchild from a child that is at work, and one from a process that let everything go.
            let deeper = in_child(|| store.read(realm, |records| records.key(second.id)).unwrap().is_some());
            let moved = store.generation() != before;
            let outcome = (kept, found, locked, written.is_ok(), deeper, moved);
            assert_eq!(outcome, (true, true, true, true, true, true));
            true
        }));
        assert!(holds_locks(&fixture.path));
        assert_ne!(store.generation(), before);
        assert!(store.read(realm, |records| records.key(second.id)).unwrap().is_some());
        store.write(realm, &audit(), |records| records.insert_key(&third)).unwrap();
        // A child that never used the store hands the connections down; a second Store on the file is no way around them.
        assert!(in_child(|| in_child(|| {
            let other = super::super::Store::new(&fixture.path);
            other.write(realm, &audit(), |records| records.delete_key(third.id)).is_ok()
        })));
        assert!(store.read(realm, |records| records.key(third.id)).unwrap().is_none());
        assert_eq!(fixture.raw().query_row("PRAGMA integrity_check", [], |row| row.get(0)), Ok("ok".to_owned()));
    }

    #[test]
    fn files_belong_to_the_group_whatever_the_umask() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let path = directory.path().join("store").join("alikms.db");
        // SAFETY: asks for a number.
        let root = unsafe { libc::geteuid() } == 0;
        let group = root.then_some(33);
        assert!(in_child(|| {
            // SAFETY: changes the child only.
            unsafe { libc::umask(0o077) };
            let made = super::super::Store::create(&path, group).unwrap();
            made && !super::super::Store::create(&path, group).unwrap()
        }));
        let looks =
            |path: &Path| fs::metadata(path).map(|found| (found.mode() & 0o7777, group.map(|_| found.gid()))).unwrap();
        assert_eq!(looks(path.parent().unwrap()), (0o2770, group));
        for suffix in ["", "-wal", "-shm", "-counter", "-attempts"] {
            assert_eq!(looks(&beside(&path, suffix)), (0o660, group), "{suffix}");
        }
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 5);
        let as_member = |group: u32, user: u32, work: &dyn Fn(&super::super::Store) -> bool| {
            in_child(|| {
                // SAFETY: changes the child only.
                unsafe {
                    (libc::umask(0o077), libc::setgroups(0, std::ptr::null()), libc::setgid(group), libc::setuid(user))
                };
                work(&super::super::Store::new(&path))
            })
        };
        let writes = |store: &super::super::Store| {
            let made = store.create_realm(&super::super::tests::realm("worker"), &[]);
            made.is_ok() && store.attempt_lock(1).is_ok()
        };
        if root {
            // Also when the files that SQLite makes are gone, and the counter.
            for suffix in ["-wal", "-shm", "-counter"] {
                fs::remove_file(beside(&path, suffix)).unwrap();
            }
            assert!(as_member(33, 33, &writes));
            for suffix in ["-wal", "-shm", "-counter"] {
                assert_eq!(looks(&beside(&path, suffix)), (0o660, group), "{suffix}");
            }
            assert!(!as_member(65534, 65534, &|store| store.realms().is_ok()));
            // Read-only: what can be read is read, and a change says why not.
            for (suffix, mode) in [("", 0o440), ("-wal", 0o440), ("-shm", 0o440), ("-counter", 0o440)] {
                fs::set_permissions(beside(&path, suffix), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            }
            assert!(as_member(33, 33333, &|store| {
                let refused = store.create_realm(&super::super::tests::realm("other"), &[]);
                let known = store.generation() >> 63 == 0 && store.realms().is_ok_and(|realms| realms.len() == 1);
                known && matches!(refused, Err(Error::Store(StoreFault::ReadOnly(_))))
            }));
        }
    }
}
