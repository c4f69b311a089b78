//! Objects of a token, and the searches for them: every one is an index look-up, however many objects there are.

use super::database::Value;
use super::row::{Record, selected};
use super::{Query, Records};
use crate::error::{Error, Result};
use crate::model::object::{Class, Object};

impl Record for Object {
    const TABLE: &'static str = "objects";
    const COLUMNS: &'static [&'static str] =
        &["handle", "class", "label", "ckid", "unique_id", "key_id", "version_id", "certificate_id", "shown"];

    fn identify(&mut self, id: &Value<'_>) {
        if let Value::Int(handle) = id {
            self.handle = u64::try_from(*handle).unwrap_or_default();
        }
    }

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![
            self.handle.into(),
            self.class.code().into(),
            self.label.as_slice().into(),
            self.id.as_slice().into(),
            (&self.unique).into(),
            self.key.as_ref().into(),
            self.version.as_ref().into(),
            self.certificate.as_ref().into(),
            i64::from(self.shown).into(),
        ])
    }

    fn missing(&self) -> Error {
        Error::Internal(format!("no object {}", self.handle))
    }
}

impl Records<'_> {
    /// Gives the object its handle, which no other object ever had or gets.
    pub fn insert_object(&mut self, object: &mut Object) -> Result<()> {
        // The tag covers the handle, which is known once the row is there.
        let mut args = vec![self.realm.row.id.into()];
        args.extend(object.columns()?.into_iter().skip(1));
        let handle = self.number(
            "INSERT INTO objects
             (realm, class, label, ckid, unique_id, key_id, version_id, certificate_id, shown, revision, body, tag)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 0, '', x'') RETURNING handle",
            &args,
        )?;
        object.identify(&handle.into());
        let id = vec![object.handle.into()];
        let sql = "UPDATE objects SET revision = ?2, body = ?3, tag = ?4 WHERE realm = ?1 AND handle = ?5";
        self.store(sql, 1, object, id).map(drop)
    }

    /// `Error::Internal` if there is none: its caller read it in this transaction.
    pub fn update_object(&mut self, object: &Object) -> Result<()> {
        self.update(object)
    }

    /// No error if there is none.
    pub fn delete_object(&mut self, handle: u64) -> Result<()> {
        self.delete::<Object>(handle.into())
    }

    pub fn object(&mut self, handle: u64) -> Result<Option<Object>> {
        self.one(handle.into())
    }

    /// By handle, ascending, beginning after `after`, at most `limit`; uses an index for label, id, unique, key and their combination with class.
    pub fn find_objects(&mut self, query: &Query, after: u64, limit: usize) -> Result<Vec<Object>> {
        let (sql, mut args) = search(query);
        args.insert(0, after.into());
        args.insert(1, (limit as u64).into());
        self.select(&sql, args)
    }
}

/// The statement of a search and its arguments from `?4` on; `?1` is the realm, `?2` the handle to begin after, `?3` how many.
///
/// Conditions that one index serves in the order of handles make one branch. An index in which the class (or `shown`)
/// comes before the handle is asked once for each class instead, and the branches, each in order, are merged.
pub(super) fn search(query: &Query) -> (String, Vec<Value<'_>>) {
    let mut common = String::from("realm = ?1 AND handle > ?2");
    let mut args = Vec::new();
    let conditions: [(&str, Option<Value<'_>>); 6] = [
        ("unique_id", query.unique.as_ref().map(Value::from)),
        ("ckid", query.id.as_deref().map(Value::from)),
        ("label", query.label.as_deref().map(Value::from)),
        ("version_id", query.version.as_ref().map(Value::from)),
        ("certificate_id", query.certificate.as_ref().map(Value::from)),
        ("key_id", query.key.as_ref().map(Value::from)),
    ];
    for (column, value) in conditions {
        if let Some(value) = value {
            args.push(value);
            common += &format!(" AND {column} = ?{}", args.len() + 3);
        }
    }
    let classes: Vec<Class> = match query.class {
        Some(class) => vec![class],
        None => Class::ALL.to_vec(),
    };
    let by_name = query.unique.is_none() && (query.id.is_some() || query.label.is_some());
    let any = args.is_empty();
    let branches: Vec<String> = if any && !query.shown_only {
        classes
            .iter()
            .flat_map(|class| [0, 1].map(|shown| format!("class = {} AND shown = {shown}", class.code())))
            .collect()
    } else if any || by_name || query.class.is_some() {
        let shown = if query.shown_only { " AND shown = 1" } else { "" };
        classes.iter().map(|class| format!("class = {}{shown}", class.code())).collect()
    } else if query.shown_only {
        vec!["shown = 1".into()]
    } else {
        Vec::new()
    };
    let select = format!("SELECT {} FROM objects WHERE {common}", selected::<Object>());
    let branches = if branches.is_empty() {
        select
    } else {
        let all: Vec<String> = branches.iter().map(|branch| format!("{select} AND {branch}")).collect();
        all.join(" UNION ALL ")
    };
    (format!("{branches} ORDER BY handle LIMIT ?3"), args)
}
