//! The store's files beside the database: their names, modes, group and identity, and what an I/O error about them means.
//! The database itself is never opened here: closing a descriptor of it would drop SQLite's locks in this process.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use crate::error::{Error, StoreFault};

/// Of every file of the store: the group shares it, nobody else sees it.
pub(super) const FILE_MODE: u32 = 0o660;

/// Device and inode: two names with the same one are the same file.
pub(super) type Identity = (u64, u64);

/// `store.db` and `-counter` → `store.db-counter`.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Which file the path names now, symbolic links followed.
pub(super) fn identity(path: &Path) -> io::Result<Identity> {
    fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Opens a file of the store for reading and writing, else for reading only; makes it (empty) if there is none.
/// A symbolic link in its place is an error: members of the group could make a more mighty user write elsewhere.
pub(super) fn open_shared(path: &Path, like: &Path) -> io::Result<File> {
    match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => match new(path) {
            Ok(file) => share(&file, fs::metadata(like).ok().map(|found| found.gid())).map(|()| file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(path),
            Err(error) => Err(error),
        },
        opened => opened,
    }
}

/// As [`open_shared`], but only if there is one.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let open = |write| OpenOptions::new().read(true).write(write).custom_flags(libc::O_NOFOLLOW).open(path);
    match open(true) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            open(false)
        }
        opened => opened,
    }
}

/// Makes a file that only its owner sees until it is shared.
pub(super) fn new(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Gives a file its group and mode, whatever the umask. Without a group: as the directory gave it.
pub(super) fn share(file: &File, group: Option<u32>) -> io::Result<()> {
    if let Some(group) = group
        && file.metadata()?.gid() != group
    {
        fchown(file, None, Some(group))?;
    }
    file.set_permissions(Permissions::from_mode(FILE_MODE))
}

/// An I/O error about a file of the store, in the store's words.
pub(super) fn fault(path: &Path, error: &io::Error) -> Error {
    let said = || format!("{}: {error}", path.display());
    Error::Store(match error.kind() {
        ErrorKind::NotFound => StoreFault::Missing(path.display().to_string()),
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StoreFault::ReadOnly(said()),
        ErrorKind::QuotaExceeded | ErrorKind::StorageFull => StoreFault::Full,
        _ => StoreFault::Other(said()),
    })
}
