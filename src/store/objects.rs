//! Objects of a token, and the searches for them: every one is an index look-up, however many objects there are.

use super::database::Value;
use super::row::{Record, reading};
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
/// One index leads, the one of the most telling thing that was asked for; what else was asked for is written so that no
/// other index fits it, for the planner does not know how many objects share a class or a label. Within an entry of the
/// leading index objects are in the order of handles. Where the class (or `shown`) comes before the handle and is not
/// asked for, there is one branch for each, and the branches, each in order, are merged.
pub(super) fn search(query: &Query) -> (String, Vec<Value<'_>>) {
    let asked = [
        ("unique_id", false, query.unique.as_ref().map(Value::from)),
        ("ckid", true, query.id.as_deref().map(Value::from)),
        ("label", true, query.label.as_deref().map(Value::from)),
        ("version_id", false, query.version.as_ref().map(Value::from)),
        ("certificate_id", false, query.certificate.as_ref().map(Value::from)),
        ("key_id", false, query.key.as_ref().map(Value::from)),
    ];
    let beside = |column: &str, value: &str| format!(" AND coalesce({column}, {column}) = {value}");
    let mut select = reading::<Object>(&["handle > ?2"]);
    let mut args = Vec::new();
    let mut with_class = true;
    for (column, has_class, value) in asked {
        let Some(value) = value else { continue };
        let place = format!("?{}", args.len() + 4);
        if args.is_empty() {
            select += &format!(" AND {column} = {place}");
            with_class = has_class;
        } else {
            select += &beside(column, &place);
        }
        args.push(value);
    }
    let classes = query.class.map_or_else(|| Class::ALL.to_vec(), |class| vec![class]);
    let shown: &[i64] = if query.shown_only { &[1] } else { &[0, 1] };
    let branches: Vec<String> = if args.is_empty() {
        let pairs = classes.iter().flat_map(|class| shown.iter().map(move |shown| (class.code(), shown)));
        pairs.map(|(class, shown)| format!(" AND class = {class} AND shown = {shown}")).collect()
    } else {
        let shown = if query.shown_only { beside("shown", "1") } else { String::new() };
        match query.class {
            _ if with_class => classes.iter().map(|class| format!(" AND class = {}{shown}", class.code())).collect(),
            Some(class) => vec![beside("class", &class.code().to_string()) + &shown],
            None => vec![shown],
        }
    };
    let branches: Vec<String> = branches.iter().map(|branch| format!("{select}{branch}")).collect();
    (format!("{} ORDER BY handle LIMIT ?3", branches.join(" UNION ALL ")), args)
}
