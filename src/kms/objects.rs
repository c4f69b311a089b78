//! What generic tools do to objects, as verbs of the KMS: find, create, change, destroy (DESIGN §3).

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::catalogue::{find_by_name, is_name_of, refresh_certificate, refresh_key};
use crate::kms::certificate::share::is_borrowed;
use crate::kms::lifecycle::{Making, state_at};
use crate::kms::x509::Leaf;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, Source};
use crate::model::key::{Door, Key, KeyState, KeyUsage, Level, Origin, Version};
use crate::model::names::check_alias;
use crate::model::object::{Class, Object};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::model::time::Moment;
use crate::protection::Usages;
use crate::store::{Query, Records};

/// Days until a key that a generic tool destroyed is gone for good.
const DESTROY_WINDOW: i64 = 30;
/// Objects of one key or certificate, at most.
const ALL: usize = 100_000;

/// A key that is gone from the records, with the versions whose material is still to be destroyed.
type Destroyed = (Key, Vec<(Version, Option<Uuid>)>);

/// What a search can use an index for; everything else is compared by the token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Search {
    pub class: Option<Class>,
    pub label: Option<Vec<u8>>,
    pub id: Option<Vec<u8>>,
    pub unique: Option<Uuid>,
}

/// An object that was found. `view`: it was asked for by another name of its key and reports exactly that one.
#[derive(Debug, Clone)]
pub struct Found {
    pub object: Object,
    pub view: Option<Vec<u8>>,
}

/// A part of what a search finds.
#[derive(Debug, Clone)]
pub struct Page {
    pub found: Vec<Found>,
    /// The handle after which to go on.
    pub next: Option<u64>,
}

/// An object with what its attributes are computed from.
#[derive(Debug, Clone)]
pub struct ObjectView {
    pub object: Object,
    pub key: Option<Key>,
    /// Of a secret key: the primary version.
    pub version: Option<Version>,
    pub certificate: Option<Certificate>,
    pub aliases: Vec<String>,
    /// Is it still seen? An object that is not may only be asked for its attributes.
    pub usable: bool,
}

/// What a caller said about one object that is to be.
#[derive(Debug, Clone, Default)]
pub struct Seed {
    pub label: Option<Vec<u8>>,
    pub id: Option<Vec<u8>>,
    /// Of a data object.
    pub value: Option<Vec<u8>>,
    pub attributes: BTreeMap<u64, Vec<u8>>,
}

/// A key as C_GenerateKey, C_GenerateKeyPair and C_CreateObject make it.
#[derive(Debug, Clone)]
pub struct NewObjectKey {
    pub spec: Spec,
    pub usage: KeyUsage,
    pub usages: Usages,
    /// None: the token's default.
    pub level: Option<Level>,
    /// Of the private or secret key.
    pub private: Seed,
    /// Of the public key.
    pub public: Seed,
    /// Imported instead of generated.
    pub value: Option<Bytes>,
}

impl Kms {
    /// Objects that the caller may see, by handle ascending, after `after`, out of at most `limit` that fit; and where to go
    /// on, if there may be more.
    pub fn find_objects(&self, caller: &Caller, search: &Search, after: u64, limit: usize) -> Result<Page> {
        let query = Query {
            class: search.class,
            label: if search.id.is_some() { None } else { search.label.clone() },
            id: search.id.clone(),
            unique: search.unique,
            shown_only: true,
            ..Query::default()
        };
        self.store.read(&self.open()?.realm, |r| {
            let objects = r.find_objects(&query, after, limit)?;
            let next = objects.last().filter(|_| objects.len() >= limit).map(|object| object.handle);
            let found = self.with_views(r, search, objects, after)?;
            let mut kept = Vec::with_capacity(found.len());
            for object in found {
                if self.sees(r, caller, &object.object)? && self.is_lent(r, &object.object)? {
                    kept.push(object);
                }
            }
            let found = kept;
            Ok(Page { found, next })
        })
    }

    /// The label by which each was asked for, where it is another than its own.
    fn with_views(
        &self,
        records: &mut Records<'_>,
        search: &Search,
        objects: Vec<Object>,
        after: u64,
    ) -> Result<Vec<Found>> {
        let Some(label) = &search.label else {
            return Ok(objects.into_iter().map(|object| Found { object, view: None }).collect());
        };
        let name = std::str::from_utf8(label).ok();
        if search.id.is_some() {
            return self.known_by(records, objects, label, name);
        }
        match name {
            Some(name) if objects.is_empty() && after == 0 && search.unique.is_none() => {
                let named = find_by_name(records, name, search.class, self.now())?;
                Ok(named.into_iter().map(|object| Found { object, view: Some(label.clone()) }).collect())
            }
            _ => Ok(objects.into_iter().map(|object| Found { object, view: None }).collect()),
        }
    }

    /// ID and label both given: the ID decides; the label may be any present or former name.
    fn known_by(
        &self,
        records: &mut Records<'_>,
        objects: Vec<Object>,
        label: &[u8],
        name: Option<&str>,
    ) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for object in objects {
            if object.label == label {
                found.push(Found { object, view: None });
            } else if let Some(name) = name
                && is_name_of(records, &object, name)?
            {
                found.push(Found { object, view: Some(label.to_vec()) });
            }
        }
        Ok(found)
    }

    /// An object by its handle; also one that is no longer shown, as long as its record exists.
    pub fn object(&self, caller: &Caller, handle: u64) -> Result<Option<ObjectView>> {
        self.store.read(&self.open()?.realm, |r| {
            let Some(object) = r.object(handle)? else { return Ok(None) };
            if !self.sees(r, caller, &object)? {
                return Ok(None);
            }
            if is_borrowed(&object) {
                return self.borrowed_view(r, object);
            }
            let key = object.key.map(|id| r.key(id)).transpose()?.flatten();
            let version_id = object.version.or_else(|| key.as_ref().and_then(|key| key.primary));
            let version = version_id.map(|id| r.version(id)).transpose()?.flatten();
            let certificate = object.certificate.map(|id| r.certificate(id)).transpose()?.flatten();
            let aliases = object.key.map(|id| r.aliases(id)).transpose()?.unwrap_or_default();
            let usable = match &key {
                None => object.shown,
                Some(key) if key.certificate.is_some() && key.state == KeyState::PendingDeletion => {
                    // Out of sight, but what is deployed goes on (ruling 17).
                    version_id.is_some_and(|version| self.usable(r, version).is_ok())
                }
                Some(key) => object.shown && state_at(key, self.now()) == Some(KeyState::Enabled),
            };
            Ok(Some(ObjectView { object, key, version, certificate, aliases, usable }))
        })
    }

    /// CreateKey as generic tools mean it: raw, with exactly the template's usages, label and ID. Answers its objects.
    pub fn create_object_key(&self, caller: &Caller, new: NewObjectKey) -> Result<Vec<Object>> {
        const ACTION: &str = "CreateKey";
        let allowed = self.authorize(caller, ACTION, &self.realm.container("key"))?;
        let level = new.level.unwrap_or(self.config.protection_level);
        let mut key = self.blank(new.spec, new.usage, level, Door::Cryptoki);
        if new.value.is_some() {
            key.origin = Origin::External;
        }
        let making = Making { usages: new.usages, value: new.value.as_ref(), allowed: &allowed };
        let (key, _) = self.create_with_material(
            caller,
            ACTION,
            &key,
            making,
            |_| Ok(()),
            |r, key, version, ()| self.seed_objects(r, key, version, &new),
        )?;
        self.store.read(&self.open()?.realm, |r| objects_of(r, &key))
    }

    /// Writes the objects with what the template said; the catalogue completes them.
    fn seed_objects(&self, records: &mut Records<'_>, key: &Key, version: &Version, new: &NewObjectKey) -> Result<()> {
        let alias = match &new.private.label {
            Some(label) => self.free_alias(records, label)?,
            None => None,
        };
        if let Some(alias) = &alias {
            records.insert_alias(alias, key.id)?;
        }
        let halves: &[(Class, &Seed)] = if key.spec.family.is_asymmetric() {
            &[(Class::PrivateKey, &new.private), (Class::PublicKey, &new.public)]
        } else {
            &[(Class::SecretKey, &new.private)]
        };
        for (class, seed) in halves {
            let asymmetric = key.spec.family.is_asymmetric();
            let follows_alias = alias.is_some() && seed.label == new.private.label;
            let mut object = Object {
                label: seed.label.clone().unwrap_or_default(),
                id: seed.id.clone().unwrap_or_default(),
                key: Some(key.id),
                version: asymmetric.then_some(version.id),
                labelled: seed.label.is_some() && !follows_alias,
                identified: seed.id.is_some(),
                attributes: seed.attributes.clone(),
                ..blank_object(*class, Vec::new(), self.now())
            };
            records.insert_object(&mut object)?;
        }
        Ok(())
    }

    /// A label becomes an alias where it is a valid name that is not taken.
    fn free_alias(&self, records: &mut Records<'_>, label: &[u8]) -> Result<Option<String>> {
        let Ok(label) = std::str::from_utf8(label) else { return Ok(None) };
        let alias = format!("alias/{label}");
        let free = check_alias(&alias).is_ok() && records.alias(&alias)?.is_none();
        Ok(free.then_some(alias))
    }

    /// C_CreateObject of a public key whose private half is here already: the template describes the object that there is.
    /// None if there is no such key.
    pub fn adopt_public_key(&self, caller: &Caller, public: &PublicKey, seed: &Seed) -> Result<Option<Object>> {
        let opened = self.open()?;
        let Some(version) = self.store.read(&opened.realm, |r| r.version_by_public(public))? else { return Ok(None) };
        let _allowed = self.authorize(caller, "CreateKey", &self.realm.key_arn(version.key))?;
        let audit = self.audit(caller, "CreatePublicKeyObject", version.id);
        self.store.write(&opened.realm, &audit, |r| {
            let query = Query { class: Some(Class::PublicKey), version: Some(version.id), ..Query::default() };
            let Some(mut object) = r.find_objects(&query, 0, 1)?.pop() else { return Ok(None) };
            object.hidden = false;
            apply(&mut object, seed);
            r.update_object(&object)?;
            self.refresh_owner(r, &object)?;
            r.object(object.handle)
        })
    }

    /// C_CreateObject of somebody else's public key.
    pub fn create_public_object(&self, caller: &Caller, public: &PublicKey, seed: &Seed) -> Result<Object> {
        self.create_plain(caller, "CreatePublicKeyObject", Class::PublicKey, public.to_spki()?, seed)
    }

    /// C_CreateObject of a data object.
    pub fn create_data_object(&self, caller: &Caller, value: &[u8], seed: &Seed) -> Result<Object> {
        self.create_plain(caller, "CreateDataObject", Class::Data, value.to_vec(), seed)
    }

    /// An object that is nothing but its record.
    fn create_plain(&self, caller: &Caller, action: &str, class: Class, value: Vec<u8>, seed: &Seed) -> Result<Object> {
        let _allowed = self.authorize(caller, "CreateKey", &self.realm.container("key"))?;
        let mut object = blank_object(class, value, self.now());
        object.labelled = true;
        object.identified = true;
        apply(&mut object, seed);
        let audit = self.audit(caller, action, object.unique);
        self.store.write(&self.open()?.realm, &audit, |r| {
            r.insert_object(&mut object)?;
            Ok(object.clone())
        })
    }

    /// C_CreateObject of a certificate: beside the key that it certifies, if we hold that one, else on its own.
    pub fn create_certificate_object(&self, caller: &Caller, der: &[u8], seed: &Seed) -> Result<Object> {
        const ACTION: &str = "UploadCertificate";
        let _allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
        let leaf = Leaf::from_der(der)?;
        let public = leaf.public().ok();
        let audit = self.audit(caller, ACTION, "certificate object");
        self.store.write(&self.open()?.realm, &audit, |r| {
            let version = public.as_ref().map(|public| r.version_by_public(public)).transpose()?.flatten();
            let attached = match &version {
                Some(version) => self.attached_object(r, version, &leaf)?,
                None => None,
            };
            let mut object = match attached {
                Some(object) => object,
                None => self.foreign_object(r, &leaf)?,
            };
            tell(r, &object);
            apply(&mut object, seed);
            r.update_object(&object)?;
            Ok(object)
        })
    }

    /// Attaches the leaf; None if the version shows a longer-lived one, beside which this one would have no object.
    fn attached_object(&self, records: &mut Records<'_>, version: &Version, leaf: &Leaf) -> Result<Option<Object>> {
        let certificate = self.attach(records, version, leaf, &[])?;
        let query = Query { certificate: Some(certificate.id), ..Query::default() };
        let object = records.find_objects(&query, 0, 1)?.pop();
        if object.is_none() {
            self.detach(records, certificate.id)?;
        }
        Ok(object)
    }

    fn foreign_object(&self, records: &mut Records<'_>, leaf: &Leaf) -> Result<Object> {
        let mut certificate = self.uploaded(leaf, None);
        debug_assert_eq!(certificate.source, Source::Uploaded);
        records.insert_certificate(&certificate)?;
        refresh_certificate(records, &mut certificate, self.now())?;
        let query = Query { certificate: Some(certificate.id), ..Query::default() };
        let found = records.find_objects(&query, 0, 1)?.pop();
        found.ok_or_else(|| Error::Internal("a certificate without an object".to_owned()))
    }

    /// C_SetAttributeValue on a stored object; which changes are legal was decided by the token.
    pub fn change_object(&self, caller: &Caller, handle: u64, seed: &Seed) -> Result<()> {
        let audit = self.audit(caller, "SetAttributeValue", handle);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut object = r.object(handle)?.ok_or_else(|| Error::KeyNotFound(handle.to_string()))?;
            tell(r, &object);
            let _allowed = self.authorize_object(r, caller, "UpdateKeyDescription", &object)?;
            if is_borrowed(&object) && !seed.attributes.is_empty() {
                return Err(in_use(&object));
            }
            apply(&mut object, seed);
            r.update_object(&object)
        })
    }

    /// C_DestroyObject (DESIGN §3): a private or secret key goes into its deletion window if it is the key's only version,
    /// a public key is hidden (until a deletion of its key is cancelled), a certificate detached, a data object deleted.
    pub fn destroy_object(&self, caller: &Caller, handle: u64) -> Result<()> {
        let opened = self.open()?;
        let missing = || Error::KeyNotFound(handle.to_string());
        let object = self.store.read(&opened.realm, |r| r.object(handle))?.ok_or_else(missing)?;
        let is_key = matches!(object.class, Class::PrivateKey | Class::SecretKey);
        let action = if is_key { "ScheduleKeyDeletion" } else { "DestroyObject" };
        let audit = self.audit(caller, action, handle);
        let gone = self.store.write(&opened.realm, &audit, |r| {
            let mut object = r.object(handle)?.ok_or_else(missing)?;
            tell(r, &object);
            let _allowed = self.authorize_object(r, caller, "ScheduleKeyDeletion", &object)?;
            match object.class {
                Class::PrivateKey | Class::PublicKey if is_borrowed(&object) => return Err(in_use(&object)),
                Class::PrivateKey | Class::SecretKey => return self.destroy_key(caller, r, &object),
                Class::PublicKey if object.key.is_none() => r.delete_object(handle)?,
                Class::PublicKey => {
                    let key = object.key.map(|id| r.key(id)).transpose()?.flatten();
                    let pending = key.is_some_and(|key| key.state == KeyState::PendingDeletion);
                    // Its private half may have gone first; what is out of sight for another reason is not there.
                    if object.hidden || !(object.shown || pending) {
                        return Err(missing());
                    }
                    object.hidden = true;
                    object.shown = false;
                    r.update_object(&object)?;
                }
                Class::Certificate => match object.certificate {
                    Some(id) => self.detach(r, id)?,
                    None => return Err(in_use(&object)),
                },
                Class::Data => r.delete_object(handle)?,
            }
            Ok(None)
        })?;
        let Some((key, versions)) = gone else { return Ok(()) };
        let allowed = Allowed::by_time();
        self.destroy_material(caller, action, key.level, versions, &allowed)
    }

    /// Answers the key and its versions if their material is to be destroyed now.
    fn destroy_key(&self, caller: &Caller, records: &mut Records<'_>, object: &Object) -> Result<Option<Destroyed>> {
        let id = object.key.ok_or_else(|| Error::Internal("a key object without a key".to_owned()))?;
        let mut key = records.key(id)?.ok_or_else(|| Error::KeyNotFound(id.to_string()))?;
        let _allowed = self.authorize_key(caller, "ScheduleKeyDeletion", &key)?;
        let versions = records.versions(id)?;
        if versions.len() > 1 || key.certificate.is_some() {
            return Err(in_use(object));
        }
        let state = state_at(&key, self.now()).ok_or_else(|| Error::KeyNotFound(id.to_string()))?;
        self.schedule(&mut key, state, DESTROY_WINDOW)?;
        if !(self.config.destroy_immediate && key.door == Door::Cryptoki) {
            records.update_key(&key)?;
            refresh_key(records, &key, self.now())?;
            return Ok(None);
        }
        let versions = self.forget_key(records, &key)?;
        Ok(Some((key, versions)))
    }

    fn refresh_owner(&self, records: &mut Records<'_>, object: &Object) -> Result<()> {
        match object.key.map(|id| records.key(id)).transpose()?.flatten() {
            Some(key) => refresh_key(records, &key, self.now()),
            None => Ok(()),
        }
    }
}

/// A shown object with no label, no ID and no owner.
pub(super) fn blank_object(class: Class, value: Vec<u8>, now: Moment) -> Object {
    Object {
        handle: 0,
        unique: Uuid::new_v4(),
        class,
        label: Vec::new(),
        id: Vec::new(),
        key: None,
        version: None,
        certificate: None,
        value,
        shown: true,
        hidden: false,
        users: 0,
        labelled: false,
        identified: false,
        attributes: BTreeMap::new(),
        created: now,
    }
}

pub(super) fn objects_of(records: &mut Records<'_>, key: &Key) -> Result<Vec<Object>> {
    records.find_objects(&Query { key: Some(key.id), ..Query::default() }, 0, ALL)
}

fn in_use(object: &Object) -> Error {
    Error::StateChange {
        resource: object.unique.to_string(),
        reason: "it is managed by the KMS: use `alikms`".to_owned(),
    }
}

fn apply(object: &mut Object, seed: &Seed) {
    if let Some(label) = &seed.label {
        object.label = label.clone();
        object.labelled = true;
    }
    if let Some(id) = &seed.id {
        object.id = id.clone();
        object.identified = true;
    }
    if let (Class::Data, Some(value)) = (object.class, &seed.value) {
        object.value = value.clone();
    }
    object.attributes.extend(seed.attributes.iter().map(|(kind, value)| (*kind, value.clone())));
}

/// What a change of an object is about: the key or certificate that it belongs to, with the version, else itself.
fn tell(records: &mut Records<'_>, object: &Object) {
    match object.key.or(object.certificate) {
        Some(owner) => records.about(owner),
        None => records.about(object.unique),
    }
    if let Some(version) = object.version {
        records.about(version);
    }
}
