//! The audit trail: a chain of rows, each authenticated together with the one before it, and a head that tells where it ends.
//!
//! `hash` of a row = HMAC under the token's key-encryption key over realm, number, the hash before and the body. The head
//! (number and hash of the last row, authenticated too) shows that rows were cut off at the end.

use super::database::{Value, columns};
use super::{Audit, Listed, Page, Records};
use crate::error::{Error, Result};

/// Where the chain ends.
pub(super) struct Head {
    number: i64,
    hash: Vec<u8>,
}

fn broken() -> Error {
    Error::corrupt("the audit trail")
}

impl Records<'_> {
    /// A head may be missing only while the token is empty: whoever takes the whole trail away leaves its records behind.
    pub(super) fn audit_head(&mut self) -> Result<Head> {
        let realm = self.realm.row.id;
        let rows =
            self.transaction.run("SELECT number, hash, tag FROM audit_heads WHERE realm = ?1", &[realm.into()])?;
        let Some(row) = rows.into_iter().next() else {
            for table in ["audit", "keys", "objects", "certificates"] {
                let sql = format!("SELECT 1 FROM {table} WHERE realm = ?1 LIMIT 1");
                if self.number(&sql, &[realm.into()])?.is_some() {
                    return Err(broken());
                }
            }
            return Ok(Head { number: 0, hash: Vec::new() });
        };
        let [number, hash, tag] = columns(row)?;
        let head = Head { number: number.int()?, hash: hash.blob()? };
        if !self.realm.kek.check(&self.head_parts(&head.number.to_be_bytes(), &head.hash), &tag.blob()?) {
            return Err(broken());
        }
        Ok(head)
    }

    /// What the change is about, whatever the caller called it: the audit row names it. Several things stand side by side.
    pub fn about(&mut self, what: impl std::fmt::Display) {
        let what = what.to_string();
        if !self.about.contains(&what) {
            self.about.push(what);
        }
    }

    /// Writes the next rows behind this head.
    pub(super) fn audit_append(&mut self, mut head: Head, lines: &[Audit]) -> Result<()> {
        let realm = self.realm.row.id;
        for audit in lines {
            let body = serde_json::to_string(audit).map_err(|error| Error::Internal(format!("audit: {error}")))?;
            let number = head.number.saturating_add(1);
            let hash = self.realm.kek.tag(&self.line_parts(&number.to_be_bytes(), &head.hash, &body)).to_vec();
            self.transaction.run(
                "INSERT INTO audit (realm, number, body, hash) VALUES (?1, ?2, ?3, ?4)",
                &[realm.into(), number.into(), body.as_str().into(), hash.as_slice().into()],
            )?;
            head = Head { number, hash };
        }
        if lines.is_empty() {
            return Ok(());
        }
        let tag = self.realm.kek.tag(&self.head_parts(&head.number.to_be_bytes(), &head.hash));
        self.transaction.run(
            "INSERT INTO audit_heads (realm, number, hash, tag) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (realm) DO UPDATE SET number = excluded.number, hash = excluded.hash, tag = excluded.tag",
            &[realm.into(), head.number.into(), head.hash.as_slice().into(), (&tag[..]).into()],
        )?;
        Ok(())
    }

    /// The lines of a page, each checked against the one before it.
    pub(super) fn audit_page(&mut self, page: Page) -> Result<Listed<Audit>> {
        let head = self.audit_head()?;
        let first = i64::try_from(page.offset).unwrap_or(i64::MAX).min(head.number);
        let last = first.saturating_add(i64::try_from(page.limit).unwrap_or(i64::MAX)).min(head.number);
        // From the row before the page, whose hash begins the chain.
        let rows = self.transaction.run(
            "SELECT number, body, hash FROM audit WHERE realm = ?1 AND number >= ?2 AND number <= ?3 ORDER BY number",
            &[self.realm.row.id.into(), first.into(), last.into()],
        )?;
        let mut before = Vec::new();
        let mut expected = first.max(1);
        let mut items = Vec::new();
        for row in rows {
            let [number, body, hash] = columns(row)?;
            let (body, hash) = (body.text()?, hash.blob()?);
            let chained = self.realm.kek.check(&self.line_parts(&expected.to_be_bytes(), &before, &body), &hash);
            if number != Value::Int(expected) || (expected == head.number && hash != head.hash) {
                return Err(broken());
            }
            if expected > first {
                if !chained {
                    return Err(broken());
                }
                items.push(serde_json::from_str(&body).map_err(|_| broken())?);
            }
            before = hash;
            expected += 1;
        }
        if expected != last + 1 && last > 0 {
            return Err(broken());
        }
        Ok(Listed { items, total: head.number.unsigned_abs() })
    }

    fn head_parts<'h>(&'h self, number: &'h [u8], hash: &'h [u8]) -> [&'h [u8]; 4] {
        [b"audit head", self.realm.row.uuid.as_bytes(), number, hash]
    }

    fn line_parts<'l>(&'l self, number: &'l [u8], before: &'l [u8], body: &'l str) -> [&'l [u8]; 5] {
        [b"audit", self.realm.row.uuid.as_bytes(), number, before, body.as_bytes()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Fixture, is_corrupt, key};
    use super::*;

    #[test]
    fn the_audit_trail_cannot_be_cut_or_changed() {
        let fixture = Fixture::new();
        (1..6).for_each(|number| fixture.write(|records| records.insert_key(&key(number))));
        let page = |offset, limit| fixture.store.audit(&fixture.realm, Page { offset, limit });
        assert_eq!(
            (page(0, 2).unwrap().items.len(), page(4, 9).unwrap().items.len(), page(9, 9).unwrap().total),
            (2, 1, 5)
        );
        let raw = fixture.raw();
        for change in [
            "UPDATE audit SET body = replace(body, 'CreateKey', 'Encrypt') WHERE number = 3",
            "DELETE FROM audit WHERE number = 3",
            "DELETE FROM audit WHERE number = 5",
            "UPDATE audit_heads SET number = 4",
            "DELETE FROM audit_heads",
            "DELETE FROM audit; DELETE FROM audit_heads",
            "UPDATE audit SET number = number + 1 WHERE number = 5",
        ] {
            raw.execute_batch(
                "CREATE TEMP TABLE a AS SELECT * FROM audit; CREATE TEMP TABLE h AS SELECT * FROM audit_heads",
            )
            .unwrap();
            raw.execute_batch(change).unwrap();
            assert!(is_corrupt(page(0, 9), "audit"), "{change}");
            raw.execute_batch(
                "DELETE FROM audit; INSERT INTO audit SELECT * FROM a; DELETE FROM audit_heads;
                 INSERT INTO audit_heads SELECT * FROM h; DROP TABLE a; DROP TABLE h",
            )
            .unwrap();
        }
        assert_eq!(page(0, 9).unwrap().items.len(), 5);
    }
}
