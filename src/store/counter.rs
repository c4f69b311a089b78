//! The change counter: a page that every process maps, so that knowing "nothing has changed" costs two loads.
//!
//! A writer holds the database's write lock and does `begun += 1` just before COMMIT, then `ended = max(ended, its number)`
//! after it and before the change is answered. While both are equal the counter is clean, and their value tells which
//! changes there are: whoever keeps records under that number may use them until it moves. While they differ (a commit is
//! under way, or its process died) readers ask the database; the next commit heals it, for its `ended` passes by.
//!
//! - A commit that fails after `begun += 1` ends its number like one that worked: a number without a change is harmless.
//! - Two processes: the write lock orders their `begun`; `max` keeps a slow first from undoing a quick second.
//! - A file that was replaced: whoever notices (writers look before each commit, readers whenever they connect or find it
//!   dirty) dirties the old page, so that all who still map it look again. A new file starts at a random number.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use uuid::Uuid;

use super::files::{self, Identity};
use crate::error::{Error, Result, StoreFault};

/// Set in every number that does not come from a clean counter.
pub(super) const NOT_CLEAN: u64 = 1 << 63;
const LEN: usize = 4096;
const MAGIC: u64 = u64::from_be_bytes(*b"alikms-1");

/// The file's content, in the byte order of the machine: it is shared by processes of one machine only.
#[repr(C)]
struct Page {
    magic: AtomicU64,
    begun: AtomicU64,
    ended: AtomicU64,
}

struct Mapped {
    map: MmapRaw,
    file: Identity,
    writable: bool,
}

/// The number of a change that is being committed, and where it was begun.
pub(super) struct Begun<'a> {
    page: &'a Page,
    number: u64,
}

impl Begun<'_> {
    /// Just after COMMIT, or after what became of it was undone; before the change is answered.
    pub(super) fn end(self) {
        self.page.ended.fetch_max(self.number, Ordering::AcqRel);
    }
}

/// The counter of one store. Inherited over fork as it is: the page is shared, and nothing here is locked.
pub(super) struct Counter(AtomicPtr<Mapped>);

impl Counter {
    pub(super) const fn new() -> Self {
        Self(AtomicPtr::new(null_mut()))
    }

    /// The number of the last change, if the counter is clean.
    pub(super) fn clean(&self) -> Option<u64> {
        let page = self.mapped()?.page();
        // In this order: `begun` is then seen at a moment when all up to `ended` is done.
        let ended = page.ended.load(Ordering::Acquire);
        let begun = page.begun.load(Ordering::Acquire);
        (begun == ended && begun < NOT_CLEAN).then_some(begun)
    }

    /// Maps the file that has the name now, if it is not mapped already. An error if that one cannot be mapped.
    pub(super) fn refresh(&self, path: &Path) -> io::Result<()> {
        let old = self.0.load(Ordering::Acquire);
        // SAFETY: as in `mapped`.
        let known = unsafe { old.as_ref() };
        let opened = match files::identity(path) {
            Ok(found) if known.is_some_and(|known| known.file == found) => return Ok(()),
            Ok(_) => Mapped::open(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
            Err(error) => return Err(error),
        };
        let (fresh, outcome) = match opened {
            Ok(fresh) => (Box::into_raw(Box::new(fresh)), Ok(())),
            Err(error) => (null_mut(), Err(error)),
        };
        if self.0.compare_exchange(old, fresh, Ordering::AcqRel, Ordering::Acquire).is_err() {
            if !fresh.is_null() {
                // SAFETY: made by `Box::into_raw` above and seen by nobody else.
                drop(unsafe { Box::from_raw(fresh) });
            }
        } else if let Some(known) = known
            && known.writable
        {
            // Dirty for good. It stays mapped: another thread may be reading it at this moment.
            known.page().begun.fetch_add(1, Ordering::AcqRel);
        }
        outcome
    }

    /// Makes sure that a commit can be counted; the caller holds the write lock. Makes the file if it is missing, short or
    /// not ours; where it is missing and cannot be made there is none for anybody, and readers ask the database.
    /// A counter that is there but cannot be written is an error: readers would not learn of the change.
    pub(super) fn ready(&self, path: &Path, store: &Path) -> Result<()> {
        let outcome = self.refresh(path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => make(path, store).and_then(|()| self.refresh(path)),
            _ => Err(error),
        });
        match (outcome, self.mapped()) {
            (Ok(()), Some(mapped)) if mapped.writable => Ok(()),
            (Err(_), None) if fs::symlink_metadata(path).is_err() => Ok(()),
            _ => {
                let reason = format!("its change counter {} cannot be written", path.display());
                Err(Error::Store(StoreFault::ReadOnly(reason)))
            }
        }
    }

    /// Just before COMMIT, with the write lock.
    pub(super) fn begin(&self) -> Option<Begun<'_>> {
        let page = self.mapped().filter(|mapped| mapped.writable)?.page();
        Some(Begun { page, number: page.begun.fetch_add(1, Ordering::AcqRel) + 1 })
    }

    fn mapped(&self) -> Option<&Mapped> {
        // SAFETY: null or from `Box::into_raw` in `refresh`; freed only when the counter, which `self` borrows, is dropped.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        let mapped = *self.0.get_mut();
        if !mapped.is_null() {
            // SAFETY: made by `Box::into_raw` in `refresh`; nobody borrows the counter any more.
            drop(unsafe { Box::from_raw(mapped) });
        }
    }
}

impl Mapped {
    /// An error if it is short or not a counter: touching a page beyond the end of a file is fatal.
    fn open(path: &Path) -> io::Result<Self> {
        let file = files::open(path)?;
        let found = file.metadata()?;
        if !found.is_file() || found.len() < LEN as u64 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let options = MmapOptions::new().len(LEN).to_owned();
        let (map, writable) = match options.map_raw(&file) {
            Ok(map) => (map, true),
            Err(_) => (options.map_raw_read_only(&file)?, false),
        };
        let mapped = Self { map, file: (found.dev(), found.ino()), writable };
        let page = mapped.page();
        let ended = page.ended.load(Ordering::Acquire);
        let begun = page.begun.load(Ordering::Acquire);
        if page.magic.load(Ordering::Acquire) != MAGIC || ended > begun || begun >= NOT_CLEAN {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(mapped)
    }

    fn page(&self) -> &Page {
        // SAFETY: a mapping of LEN bytes, aligned to a page, that lives as long as `self`. Every process touches it through
        // atomics only. Nobody shortens the file (docs/store.md), which SQLite asks of its own -shm file as well.
        unsafe { &*self.map.as_ptr().cast::<Page>() }
    }
}

/// Puts a fresh counter in place at once. All of it is written: a page without a block on a full disk could not be.
pub(super) fn make(path: &Path, store: &Path) -> io::Result<()> {
    let draft = files::beside(path, "-new");
    let _ = fs::remove_file(&draft);
    let mut file = files::new(&draft)?;
    let outcome = (|| {
        let start = Uuid::new_v4().as_u64_pair().0 >> 2;
        let mut content = vec![0; LEN];
        for (place, number) in content.chunks_exact_mut(8).zip([MAGIC, start, start]) {
            place.copy_from_slice(&number.to_ne_bytes());
        }
        file.write_all(&content)?;
        files::share(&file, Some(fs::metadata(store)?.gid()))?;
        fs::rename(&draft, path)
    })();
    if outcome.is_err() {
        let _ = fs::remove_file(&draft);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::FileExt;

    use super::super::Store;
    use super::super::files::beside;
    use super::super::tests::{Fixture, audit, key};
    use super::*;
    use crate::seal::slot::SlotKind;

    #[test]
    fn every_change_moves_the_generation_of_every_store() {
        let fixture = Fixture::new();
        let other = Store::new(&fixture.path);
        let same = fixture.store.generation();
        assert_eq!((same, other.generation(), same >> 63), (fixture.store.generation(), same, 0));
        fixture.write(|records| records.insert_key(&key(1)));
        let after = other.generation();
        assert_ne!(after, same);
        // A change that fails does not spoil the counter, nor do counts of failures move it.
        let _ = fixture.store.write(&fixture.realm, &audit(), |records| records.insert_key(&key(1)));
        fixture.store.set_failures(fixture.realm.row.id, SlotKind::UserPin, 3).unwrap();
        assert_eq!(other.generation(), after);

        // A writer that died between its steps: the database is asked, and the next change heals it.
        let begun = |file: &File| {
            let mut bytes = [0; 8];
            file.read_exact_at(&mut bytes, 8).unwrap();
            u64::from_ne_bytes(bytes)
        };
        let file = OpenOptions::new().read(true).write(true).open(beside(&fixture.path, "-counter")).unwrap();
        file.write_all_at(&(begun(&file) + 1).to_ne_bytes(), 8).unwrap();
        let dirty = other.generation();
        assert_eq!((dirty >> 63, other.generation()), (1, dirty));
        fixture.raw().execute("UPDATE keys SET revision = 9", []).unwrap();
        let moved = other.generation();
        assert!(moved >> 63 == 1 && moved != dirty);
        fixture.write(|records| records.insert_key(&key(2)));
        let healed = other.generation();
        assert_eq!((healed >> 63, healed), (0, fixture.store.generation()));

        // Taken away, replaced by nonsense, cut short: never trusted, and put right by the next writer.
        let counter = beside(&fixture.path, "-counter");
        for nonsense in [None, Some(vec![]), Some(vec![0; 4096]), Some(vec![255; 4096])] {
            let before = other.generation();
            fs::remove_file(&counter).unwrap();
            if let Some(bytes) = nonsense {
                fs::write(&counter, bytes).unwrap();
            }
            fixture.write(|records| records.delete_key(key(2).id));
            assert!(other.generation() >> 63 == 0 && other.generation() != before);
        }
        // No store at all.
        let none = Store::new(&fixture.path.with_file_name("none.db"));
        assert!(none.generation() >> 63 == 1 && none.generation() != none.generation());
        assert!(matches!(none.realms(), Err(Error::Store(StoreFault::Missing(_)))));
    }
}
