//! How a store is made: the directory, the files, their group and modes (DESIGN §5), whatever the umask.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};

use super::attempts::AttemptLock;
use super::counter;
use super::database::{Database, Mode};
use super::files::{self, beside};
use super::sqlite::{self, Sqlite};
use crate::error::{Error, Result};

/// New files of the group's members get the directory's group.
const DIRECTORY_MODE: u32 = 0o2770;

/// See [`super::Store::create`]. The database appears under its name when it is complete: what a crash leaves behind is
/// taken away by the next attempt.
pub(super) fn create(path: &Path, group: Option<u32>) -> Result<bool> {
    make(path, group, &sqlite::format)
}

/// See [`super::Store::restore`].
pub(super) fn restore(path: &Path, group: Option<u32>, image: &[u8]) -> Result<bool> {
    make(path, group, &|draft| {
        let written = File::options().write(true).open(draft).and_then(|mut file| {
            file.write_all(image)?;
            file.sync_all()
        });
        written.map_err(|error| files::fault(draft, &error))
    })
}

/// `fill` makes an empty file into a store.
fn make(path: &Path, group: Option<u32>, fill: &dyn Fn(&Path) -> Result<()>) -> Result<bool> {
    let path = std::path::absolute(path).map_err(|error| files::fault(path, &error))?;
    let fault = |error: io::Error| files::fault(&path, &error);
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(false);
    }
    let directory = path.parent().map(PathBuf::from).unwrap_or_default();
    make_directory(&directory, group)?;

    let attempts = beside(&path, "-attempts");
    // One at a time: two that are making the same store would take each other's drafts away.
    let _lock = AttemptLock::take(&attempts, &directory)?;
    if fs::symlink_metadata(&path).is_ok() {
        return Ok(false);
    }
    own(&attempts, group).map_err(fault)?;
    let draft = beside(&path, "-new");
    for leftover in ["", "-journal", "-wal", "-shm"] {
        match fs::remove_file(beside(&draft, leftover)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(fault(error)),
            _ => {}
        }
    }
    // Closed again before SQLite opens it.
    files::new(&draft).and_then(|file| files::share(&file, group)).map_err(fault)?;
    fill(&draft)?;
    counter::make(&beside(&path, "-counter"), &draft).map_err(fault)?;
    fs::rename(&draft, &path).and_then(|()| File::open(&directory)?.sync_all()).map_err(fault)?;

    // Connecting makes -wal and -shm, which stay: who may write the files but not the directory needs them.
    Sqlite::new(&path).begin(Mode::Read)?.commit()?;
    for suffix in ["-wal", "-shm"] {
        own(&beside(&path, suffix), group).map_err(fault)?;
    }
    Ok(true)
}

/// Group and mode of a file that exists; never those of what a symbolic link in its place points to.
fn own(path: &Path, group: Option<u32>) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if !found.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("{} is not a file", path.display())));
    }
    if group.is_some_and(|group| group != found.gid()) {
        lchown(path, None, group)?;
    }
    fs::set_permissions(path, Permissions::from_mode(files::FILE_MODE))
}

/// A directory that exists is left as it is, for it may hold other things, unless it is empty and a group was named.
fn make_directory(directory: &Path, group: Option<u32>) -> Result<()> {
    let fault = |error: io::Error| files::fault(directory, &error);
    if let Some(parent) = directory.parent() {
        fs::create_dir_all(parent).map_err(fault)?;
    }
    let made = match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(fault(error)),
    };
    let empty = || fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
    if made || (group.is_some() && empty()) {
        if group.is_some() {
            chown(directory, None, group).map_err(fault)?;
        }
        return fs::set_permissions(directory, Permissions::from_mode(DIRECTORY_MODE)).map_err(fault);
    }
    let found = fs::metadata(directory).map_err(fault)?;
    let enters = |group| found.mode() & 0o001 != 0 || (found.gid() == group && found.mode() & 0o010 != 0);
    match group {
        Some(group) if !enters(group) => Err(Error::Config {
            place: directory.display().to_string(),
            reason: format!(
                "the group {group} cannot enter this directory, which is left as it is because it holds other files: \
                 chgrp it and chmod 2770 it, or give the store a directory of its own"
            ),
        }),
        _ => Ok(()),
    }
}
