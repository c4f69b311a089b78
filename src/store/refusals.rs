//! Refusals in the audit trail. Whoever is refused costs the store a row, so rows are rationed: each caller has
//! [`ROWS`] of [`PIECE`] bytes and little more in an hour. What comes after is counted, in a record that is rewritten in
//! place, and told in one row when the hour is over or an auditor looks.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Audit, OpenRealm, Store};
use crate::error::{Error, Result};
use crate::model::time::Moment;

/// So many refusals of one caller have a row of their own in an hour.
pub const ROWS: u32 = 100;
/// In seconds.
const HOUR: i64 = 3600;
/// So many letters of what a caller wrote, and of a program's path, are kept.
const PIECE: usize = 256;
/// The action of the row that tells of the refusals without one.
pub const MORE: &str = "MoreRefusals";

/// How a caller stands within its hour.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    caller: String,
    begun: Moment,
    /// Rows in this hour.
    rows: u32,
    /// Refusals that were not told yet, from and to.
    more: u64,
    first: Moment,
    last: Moment,
}

impl Record for Refused {
    const TABLE: &'static str = "refusals";
    const COLUMNS: &'static [&'static str] = &["caller"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![self.caller.as_str().into()])
    }

    fn missing(&self) -> Error {
        Error::Internal(format!("{} was not refused before", self.caller))
    }
}

impl Refused {
    fn new(caller: &str, now: Moment) -> Self {
        Self { caller: caller.to_owned(), begun: now, rows: 0, more: 0, first: now, last: now }
    }

    fn is_over(&self, now: Moment) -> bool {
        !(0..HOUR).contains(&now.0.saturating_sub(self.begun.0))
    }

    /// The row that tells of those without one, if there are any.
    fn told(&mut self, like: &Audit) -> Option<Audit> {
        let more = std::mem::take(&mut self.more);
        (more > 0).then(|| Audit {
            at: self.last,
            caller: self.caller.clone(),
            action: MORE.to_owned(),
            resource: String::new(),
            outcome: "Counted".to_owned(),
            count: Some(more),
            since: Some(self.first),
            request: Uuid::new_v4(),
            ..like.clone()
        })
    }
}

impl Store {
    /// Writes down that `audit.caller` was refused, in a transaction of its own: what was refused left nothing.
    pub fn refuse(&self, realm: &OpenRealm, audit: &Audit) -> Result<()> {
        let now = audit.at;
        let clipped = |text: &str| text.chars().take(PIECE).collect::<String>();
        let line = Audit { resource: clipped(&audit.resource), program: clipped(&audit.program), ..audit.clone() };
        self.note_down(realm, |records| {
            let before: Option<Refused> = records.one(line.caller.as_str().into())?;
            let is_new = before.is_none();
            let mut refused = before.unwrap_or_else(|| Refused::new(&line.caller, now));
            let mut lines = Vec::new();
            if refused.is_over(now) {
                lines.extend(refused.told(&line));
                refused = Refused::new(&line.caller, now);
            }
            if refused.rows < ROWS {
                refused.rows += 1;
                lines.push(line.clone());
            } else {
                refused.first = if refused.more == 0 { now } else { refused.first };
                refused.more = refused.more.saturating_add(1);
                refused.last = now;
            }
            if is_new { records.insert(&refused) } else { records.update(&refused) }?;
            Ok(lines)
        })
    }

    /// Tells of refusals without a row: those whose hour is over, or all of them. `like`: who tells, and when.
    pub fn settle_refusals(&self, realm: &OpenRealm, like: &Audit, all: bool) -> Result<()> {
        let is_due = |refused: &Refused| refused.is_over(like.at) || (all && refused.more > 0);
        const ALL: &str = "position > 0 ORDER BY position";
        if !self.read(realm, |records| records.many(ALL, Vec::new()))?.iter().any(is_due) {
            return Ok(());
        }
        self.note_down(realm, |records| {
            let mut lines = Vec::new();
            for mut refused in records.many::<Refused>(ALL, Vec::new())?.into_iter().filter(is_due) {
                lines.extend(refused.told(like));
                match refused.is_over(like.at) {
                    true => records.delete::<Refused>(refused.caller.as_str().into())?,
                    false => records.update(&refused)?,
                }
            }
            Ok(lines)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Page;
    use super::super::tests::Fixture;
    use super::*;

    fn line(caller: &str, at: i64) -> Audit {
        Audit {
            at: Moment(at),
            caller: caller.to_owned(),
            action: "DisableKey".to_owned(),
            resource: "x".repeat(10_000),
            version: None,
            mechanism: String::new(),
            outcome: "AccessDenied".to_owned(),
            count: None,
            since: None,
            request: Uuid::new_v4(),
            pid: 1,
            uid: 2,
            program: "/".repeat(5_000),
        }
    }

    #[test]
    fn refusals_are_rationed_and_none_is_lost() {
        let fixture = Fixture::new();
        let (store, realm) = (&fixture.store, &fixture.realm);
        let refuse = |caller: &str, at: i64| store.refuse(realm, &line(caller, at)).unwrap();
        let lines = || store.audit(realm, Page { offset: 0, limit: 9999 }).unwrap().items;
        let counts = || lines().iter().filter_map(|line| line.count).collect::<Vec<_>>();
        let ration = ROWS as usize;
        (0..250).for_each(|at| refuse("user/eve", at));
        assert_eq!((lines().len(), counts()), (ration, Vec::<u64>::new()));
        assert!(lines().iter().all(|line| line.resource.len() == PIECE && line.program.len() == PIECE));
        refuse("user/bob", 250);
        assert_eq!(lines().last().unwrap().caller, "user/bob", "each caller has rows of its own");
        // An auditor hears of all of them, and does not give the caller new rows.
        store.settle_refusals(realm, &line("account", 300), false).unwrap();
        assert!(counts().is_empty());
        store.settle_refusals(realm, &line("account", 300), true).unwrap();
        let told = lines().pop().unwrap();
        assert_eq!((told.caller.as_str(), told.action.as_str(), told.count), ("user/eve", MORE, Some(150)));
        assert_eq!((told.since, told.at), (Some(Moment(100)), Moment(249)));
        (301..311).for_each(|at| refuse("user/eve", at));
        assert_eq!((lines().len(), counts()), (ration + 2, vec![150]));
        // The next hour begins with what the last one left.
        refuse("user/eve", HOUR);
        let (told, own) = (lines()[ration + 2].clone(), lines()[ration + 3].clone());
        assert_eq!((told.count, told.since, own.outcome.as_str()), (Some(10), Some(Moment(301)), "AccessDenied"));
        // What is over leaves nothing behind.
        store.settle_refusals(realm, &line("account", 3 * HOUR), false).unwrap();
        let left = fixture.raw().query_row("SELECT count(*) FROM refusals", [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!((left, lines().len()), (0, ration + 4));
    }
}
