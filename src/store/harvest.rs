//! Carries what `uses.rs` wrote down into the audit trail: once, whatever dies in between.
//!
//! How much of each row was carried over is a record, written in the transaction that writes the trail. After the commit,
//! the file of a living process is told (its rows may be bound anew), and that of a finished one removed. Whatever happens
//! in between, the record decides the next time. The files are read, not mapped: whoever can write them can put anything
//! there, and shorten them at any moment.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::database::Value;
use super::files;
use super::row::Record;
use super::uses::*;
use super::{Audit, OpenRealm, Records, Store};
use crate::error::{Error, Result};
use crate::fork;
use crate::model::map::map;
use crate::model::time::Moment;

/// The action of the row that tells of a file that was lost.
pub const LOST_USES: &str = "CarryUses";
/// A draft this old belongs to nobody who is still at it.
const STALE: Duration = Duration::from_secs(60);

/// How much of a file is in the trail.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Carried {
    file: Uuid,
    /// The states of its rows; what is missing at the end is 0.
    rows: Vec<u64>,
    /// Nothing will be added: the file goes, or went.
    ended: bool,
}

impl Record for Carried {
    const TABLE: &'static str = "uses";
    const COLUMNS: &'static [&'static str] = &["id"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![(&self.file).into()])
    }

    fn missing(&self) -> Error {
        Error::Internal(format!("nothing was carried over of file {}", self.file))
    }
}

impl Records<'_> {
    fn carried(&mut self) -> Result<Vec<Carried>> {
        self.many("position > 0 ORDER BY position", Vec::new())
    }

    fn set_carried(&mut self, carried: &Carried, is_new: bool) -> Result<()> {
        if is_new { self.insert(carried) } else { self.update(carried) }
    }
}

/// What one look at a file found.
enum Found {
    /// Not a file of ours, or cut short.
    Damaged,
    Rows {
        pid: u32,
        uid: u32,
        program: String,
        rows: Vec<[u64; ROW]>,
    },
}

impl Uses {
    /// Makes the store expect this file: should it disappear before it was carried over, the trail says so.
    pub(super) fn register(store: &Store, realm: &OpenRealm, file: Uuid) -> Result<()> {
        let is_known = |records: &mut Records<'_>| Ok(records.one::<Carried>((&file).into())?.is_some());
        if store.read(realm, is_known)? {
            return Ok(());
        }
        store.note_down(realm, |records| {
            if !is_known(records)? {
                records.set_carried(&Carried { file, rows: Vec::new(), ended: false }, true)?;
            }
            Ok(Vec::new())
        })
    }

    /// Carries over the files of all processes. `ending`: this process uses no key any more.
    pub fn harvest(&self, store: &Store, realm: &OpenRealm, now: Moment, ending: bool) -> Result<()> {
        for draft in self.drafts(realm)? {
            let age = fs::symlink_metadata(&draft).and_then(|found| found.modified()).ok();
            if age.and_then(|made| made.elapsed().ok()).is_some_and(|age| age > STALE) {
                let _ = fs::remove_file(&draft);
            }
        }
        if self.listed(realm)?.is_empty() && store.read(realm, |records| records.carried())?.is_empty() {
            return Ok(());
        }
        self.carry(store, realm, now, None, self.own_file().filter(|_| ending))
    }

    /// Carries over one file, or all of them. `over`: a file whose process adds nothing any more.
    pub(super) fn carry(
        &self,
        store: &Store,
        realm: &OpenRealm,
        now: Moment,
        only: Option<Uuid>,
        over: Option<Uuid>,
    ) -> Result<()> {
        let (mut gone, mut going_on) = (Vec::new(), Vec::new());
        store.note_down(realm, |records| {
            (gone, going_on) = (Vec::new(), Vec::new());
            let mut known = map(records.carried()?.into_iter().map(|carried| (carried.file, carried)));
            let mut lines = Vec::new();
            // Listed within the transaction: a record without a file is then one whose file is gone.
            for (path, id) in self.listed(realm)? {
                let before = known.remove(&id);
                if only.is_some_and(|only| only != id) {
                    continue;
                }
                let Some(file) = open(&path) else { continue };
                // Held until the file is gone.
                let ended = over == Some(id) || file.try_lock().is_ok();
                let is_new = before.is_none();
                let before = before.unwrap_or(Carried { file: id, rows: Vec::new(), ended: false });
                if before.ended {
                    gone.push((path, file));
                    continue;
                }
                let mut rows = before.rows.clone();
                match look(&file) {
                    Found::Rows { pid, uid, program, rows: found } => {
                        lines.extend(uses(&found, &before.rows, pid, uid, &program));
                        rows = found.iter().map(|row| row[STATE]).collect();
                    }
                    Found::Damaged if ended => lines.push(lost(now, &id, "damaged")),
                    Found::Damaged => continue,
                }
                rows.truncate(rows.iter().rposition(|state| *state != 0).map_or(0, |last| last + 1));
                let carried = Carried { file: id, rows, ended };
                if ended || carried.rows != before.rows {
                    records.set_carried(&carried, is_new)?;
                }
                if ended { gone.push((path, file)) } else { going_on.push((file, carried.rows)) }
            }
            if only.is_none() {
                for carried in known.values() {
                    if !carried.ended {
                        lines.push(lost(now, &carried.file, "missing"));
                    }
                    records.delete::<Carried>((&carried.file).into())?;
                }
            }
            Ok(lines)
        })?;
        for (path, _locked) in &gone {
            let _ = fs::remove_file(path);
        }
        for (file, rows) in &going_on {
            for (at, state) in rows.iter().enumerate().filter(|(_, state)| **state != 0) {
                let place = (HEADER + at * ROW + CARRIED) * 8;
                // Failing, it only leaves the row in use: a file that this process may read and not write.
                let _ = file.write_all_at(&state.to_ne_bytes(), place as u64);
            }
        }
        Ok(())
    }
}

/// None for what is no file, or none that this process may read.
fn open(path: &Path) -> Option<File> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file)?;
    files::open(path).ok()
}

/// All of a file, three times: what a row says holds if it was bound to the same before and after.
fn look(file: &File) -> Found {
    let is_whole = file.metadata().is_ok_and(|found| found.is_file() && found.len() == LEN as u64);
    let (Some(first), Some(second), Some(third)) = (read(file, is_whole), read(file, is_whole), read(file, is_whole))
    else {
        return Found::Damaged;
    };
    if second[0] != MAGIC {
        return Found::Damaged;
    }
    let row = |all: &[u64], at: usize| {
        let mut row = [0; ROW];
        row.copy_from_slice(&all[HEADER + at * ROW..][..ROW]);
        row
    };
    let steady = |at: usize| {
        let (before, found, after) = (row(&first, at), row(&second, at), row(&third, at));
        let same = binding(before[STATE]) == binding(after[STATE]) && binding(before[STATE]) & LIVE != 0;
        let mut found = if same { found } else { [0; ROW] };
        found[STATE] = if same { before[STATE] } else { 0 };
        found
    };
    Found::Rows {
        pid: second[PROCESS] as u32,
        uid: (second[PROCESS] >> 32) as u32,
        program: text(&second[PROGRAM]),
        rows: (0..ROWS).map(steady).collect(),
    }
}

fn read(file: &File, is_whole: bool) -> Option<Vec<u64>> {
    let mut bytes = vec![0; LEN];
    if !is_whole || file.read_exact_at(&mut bytes, 0).is_err() {
        return None;
    }
    let words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    Some(words.collect())
}

/// The lines for what is new in these rows; uses that are the same, of several threads, in one.
fn uses(rows: &[[u64; ROW]], before: &[u64], pid: u32, uid: u32, program: &str) -> Vec<Audit> {
    let mut lines: Vec<Audit> = Vec::new();
    let mut at: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
    for (number, row) in rows.iter().enumerate() {
        let state = row[STATE];
        let old = before.get(number).filter(|old| binding(**old) == binding(state)).map_or(0, |old| count(*old));
        let new = count(state).saturating_sub(old);
        if new == 0 {
            continue;
        }
        let request = id(row, REQUEST);
        let (first, last) = (Moment(row[FIRST].cast_signed()), Moment(row[LAST].cast_signed()));
        if request.is_nil()
            && let Some(line) = at.get(&row[KEY.start..OUTCOME.end]).and_then(|at| lines.get_mut(*at))
        {
            line.count = line.count.map(|count| count.saturating_add(new));
            line.since = line.since.min(Some(first));
            line.at = line.at.max(last);
            continue;
        }
        at.insert(row[KEY.start..OUTCOME.end].to_vec(), lines.len());
        let version = Some(id(row, VERSION)).filter(|version| !version.is_nil());
        lines.push(Audit {
            at: last,
            caller: text(&row[CALLER]),
            action: text(&row[ACTION]),
            resource: id(row, KEY).to_string(),
            version,
            mechanism: text(&row[MECHANISM]),
            outcome: text(&row[OUTCOME]),
            count: request.is_nil().then_some(new),
            since: request.is_nil().then_some(first),
            request: if request.is_nil() { Uuid::new_v4() } else { request },
            pid,
            uid,
            program: program.to_owned(),
        });
    }
    lines
}

/// Uses that somebody took away before they were carried over.
fn lost(now: Moment, file: &Uuid, outcome: &str) -> Audit {
    Audit {
        at: now,
        caller: "account".to_owned(),
        action: LOST_USES.to_owned(),
        resource: format!("uses of keys in file {file}"),
        version: None,
        mechanism: String::new(),
        outcome: outcome.to_owned(),
        count: None,
        since: None,
        request: Uuid::new_v4(),
        pid: fork::pid(),
        uid: fork::uid(),
        program: fork::program().to_owned(),
    }
}

fn id(row: &[u64; ROW], place: Range<usize>) -> Uuid {
    Uuid::from_u64_pair(row[place.start], row[place.start + 1])
}

/// Up to the first zero; what nobody should see is left out.
fn text(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).chars().filter(|letter| !letter.is_control()).collect()
}
