//! What the token shows of each key and certificate: the objects, their labels and IDs (DESIGN §3), kept in the store
//! beside what they are derived from and renewed in the same transaction as any change of it.

use uuid::Uuid;

use crate::crypto::digest::hash;
use crate::error::Result;
use crate::kms::lifecycle::state_at;
use crate::kms::objects::blank_object;
use crate::kms::subject;
use crate::model::certificate::{Certificate, CertificateStatus, Der, Source};
use crate::model::hash::Hash;
use crate::model::key::{Key, KeyState, Version};
use crate::model::map::map;
use crate::model::names::{parse_id, version_name};
use crate::model::object::{Class, Object};
use crate::model::time::Moment;
use crate::store::{Query, Records};

/// More objects than this no key has in practice: a page for reading all of one key's.
const ALL: usize = 100_000;
/// So many former names of a key are remembered.
const FORMER_NAMES: usize = 64;

/// The version in service of a key: of a symmetric one the primary; of an asymmetric one the promoted one, else the one
/// with a valid leaf certificate (the longest lived), else the oldest that is not retired. A new version never moves it.
pub(super) fn in_service(key: &Key, versions: &[Version], certificates: &[Certificate], now: Moment) -> Option<Uuid> {
    if !key.spec.family.is_asymmetric() {
        return key.primary;
    }
    let usable = |id: Uuid| versions.iter().any(|version| version.id == id && !version.retired);
    let valid = |certificate: &&Certificate| {
        is_shown(certificate)
            && certificate.not_before.is_some_and(|from| from <= now)
            && certificate.not_after.is_some_and(|until| now < until)
    };
    key.promoted
        .filter(|id| usable(*id))
        .or_else(|| {
            let valid = certificates.iter().filter(valid).filter(|certificate| certificate.version.is_some_and(usable));
            valid.max_by_key(|certificate| certificate.not_after).and_then(|certificate| certificate.version)
        })
        .or_else(|| versions.iter().find(|version| !version.retired).map(|version| version.id))
}

/// Has it a leaf that searches may find?
pub(super) fn is_shown(certificate: &Certificate) -> bool {
    certificate.status == CertificateStatus::Active && !certificate.leaf.is_empty() && certificate.delete_at.is_none()
}

/// The names of a key without `alias/`, the primary one first: its aliases in the order in which they were bound, then its KeyId.
fn names(records: &mut Records<'_>, key: &Key) -> Result<Vec<String>> {
    let aliases = records.aliases(key.id)?;
    let mut names: Vec<String> =
        aliases.iter().map(|alias| alias.strip_prefix("alias/").unwrap_or(alias).to_owned()).collect();
    names.push(key.id.to_string());
    Ok(names)
}

/// Remembers that `name` (without `alias/`) once named the key.
pub(super) fn remember_name(key: &mut Key, name: &str) {
    key.former_names.retain(|former| former != name);
    key.former_names.push(name.to_owned());
    if key.former_names.len() > FORMER_NAMES {
        key.former_names.remove(0);
    }
}

/// One object as it should be; what callers set of it is kept from the stored one.
struct Wanted {
    class: Class,
    label: String,
    id: Vec<u8>,
    version: Option<Uuid>,
    certificate: Option<Uuid>,
    value: Vec<u8>,
    shown: bool,
}

/// Renews the objects of a key: call it in every transaction that changes the key, its versions, aliases or certificates.
pub(super) fn refresh_key(records: &mut Records<'_>, key: &Key, now: Moment) -> Result<()> {
    let wanted = wanted_of_key(records, key, now)?;
    let stored = records.find_objects(&Query { key: Some(key.id), ..Query::default() }, 0, ALL)?;
    let mut stored = map(stored.into_iter().map(|object| ((object.class, object.version), object)));
    for want in wanted {
        match stored.remove(&(want.class, want.version)) {
            Some(old) => renew(records, old, want)?,
            None => {
                let mut object = new_object(want, now);
                object.key = Some(key.id);
                records.insert_object(&mut object)?;
            }
        }
    }
    stored.into_values().try_for_each(|object| records.delete_object(object.handle))
}

fn wanted_of_key(records: &mut Records<'_>, key: &Key, now: Moment) -> Result<Vec<Wanted>> {
    let Some(state) = state_at(key, now) else { return Ok(Vec::new()) };
    let versions = records.versions(key.id)?;
    let certificates = records.certificates_of_key(key.id)?;
    let service = in_service(key, &versions, &certificates, now);
    let name = match key.certificate {
        Some(id) => certificate_name(certificates.iter().find(|certificate| certificate.id == id), id),
        None => names(records, key)?.swap_remove(0),
    };
    let owner_shown = key
        .certificate
        .is_none_or(|id| certificates.iter().any(|certificate| certificate.id == id && is_shown(certificate)));
    let mut wanted = Vec::new();
    for version in versions.iter().filter(|version| version.material.is_some()) {
        let serving = service == Some(version.id);
        let asymmetric = key.spec.family.is_asymmetric();
        if !asymmetric && !serving {
            continue;
        }
        let label = if serving { name.clone() } else { version_name(&name, version.id) };
        let id = match key.certificate {
            Some(id) => id,
            None if asymmetric => version.id,
            None => key.id,
        };
        let shown = state == KeyState::Enabled && !version.retired && owner_shown;
        let object = |class| Wanted {
            class,
            label: label.clone(),
            id: id.as_bytes().to_vec(),
            version: Some(version.id),
            certificate: None,
            value: Vec::new(),
            shown,
        };
        if !asymmetric {
            wanted.push(Wanted { version: None, ..object(Class::SecretKey) });
            continue;
        }
        wanted.push(object(Class::PrivateKey));
        wanted.push(object(Class::PublicKey));
        let leaves = certificates.iter().filter(|leaf| is_shown(leaf) && leaf.version == Some(version.id));
        if let Some(leaf) = leaves.max_by_key(|leaf| (leaf.not_after, leaf.created)) {
            let value = leaf.leaf.clone();
            wanted.push(Wanted { certificate: Some(leaf.id), value, ..object(Class::Certificate) });
        }
    }
    Ok(wanted)
}

fn renew(records: &mut Records<'_>, old: Object, want: Wanted) -> Result<()> {
    let mut object = old.clone();
    if !object.labelled {
        object.label = want.label.into_bytes();
    }
    if !object.identified {
        object.id = want.id;
    }
    object.certificate = want.certificate;
    object.value = want.value;
    object.shown = want.shown && !object.hidden;
    if object == old { Ok(()) } else { records.update_object(&object) }
}

fn new_object(want: Wanted, now: Moment) -> Object {
    Object {
        label: want.label.into_bytes(),
        id: want.id,
        version: want.version,
        certificate: want.certificate,
        shown: want.shown,
        ..blank_object(want.class, want.value, now)
    }
}

/// `CN@<first 8 of CertificateId>`.
fn certificate_name(certificate: Option<&Certificate>, id: Uuid) -> String {
    let common_name = certificate.and_then(|certificate| subject::common_name_of(&certificate.subject));
    version_name(common_name.as_deref().unwrap_or("certificate"), id)
}

/// Renews what is seen of a certificate and stores it: call it instead of `update_certificate` after every change.
pub(super) fn refresh_certificate(records: &mut Records<'_>, certificate: &mut Certificate, now: Moment) -> Result<()> {
    let shown = is_shown(certificate);
    if shown != certificate.listed {
        for der in &certificate.chain {
            count_chain(records, der, shown, now)?;
        }
        certificate.listed = shown;
    }
    records.update_certificate(certificate)?;
    match certificate.key {
        Some(key) => match records.key(key)? {
            Some(key) => refresh_key(records, &key, now),
            None => Ok(()),
        },
        None => refresh_foreign(records, certificate, now),
    }
}

/// A certificate without a key of ours: one object; a shared one shows its owner's key too, under an ID of our own.
fn refresh_foreign(records: &mut Records<'_>, certificate: &Certificate, now: Moment) -> Result<()> {
    let shared = certificate.shared_by.as_ref();
    let classes: &[Class] = match shared {
        None => &[Class::Certificate],
        Some(_) => &[Class::PrivateKey, Class::PublicKey, Class::Certificate],
    };
    for class in classes {
        let want = Wanted {
            class: *class,
            label: certificate_name(Some(certificate), certificate.id),
            id: shared.map_or_else(|| chain_id(&certificate.leaf), |_| certificate.id.as_bytes().to_vec()),
            version: shared.map(|share| share.version),
            certificate: Some(certificate.id),
            value: if *class == Class::Certificate { certificate.leaf.clone() } else { Vec::new() },
            shown: is_shown(certificate) && matches!(certificate.source, Source::Uploaded | Source::Shared),
        };
        let query = Query { certificate: Some(certificate.id), class: Some(*class), ..Query::default() };
        match records.find_objects(&query, 0, 1)?.pop() {
            Some(old) => renew(records, old, want)?,
            None => records.insert_object(&mut new_object(want, now))?,
        }
    }
    Ok(())
}

/// One object for each distinct chain certificate, for as long as a shown certificate has it in its chain.
fn count_chain(records: &mut Records<'_>, der: &Der, more: bool, now: Moment) -> Result<()> {
    let id = chain_id(&der.0);
    let query = Query { class: Some(Class::Certificate), id: Some(id.clone()), ..Query::default() };
    let known = records.find_objects(&query, 0, ALL)?.into_iter().find(|object| object.users > 0);
    match (known, more) {
        (Some(mut object), true) => {
            object.users += 1;
            records.update_object(&object)
        }
        (Some(object), false) if object.users <= 1 => records.delete_object(object.handle),
        (Some(mut object), false) => {
            object.users -= 1;
            records.update_object(&object)
        }
        (None, false) => Ok(()),
        (None, true) => {
            let name = subject::common_name(&der.0).unwrap_or_else(|| "certificate".to_owned());
            let tail = crate::model::names::hex_bytes::to_hex(&id[..4]);
            let want = Wanted {
                class: Class::Certificate,
                label: format!("{name}@{tail}"),
                id,
                version: None,
                certificate: None,
                value: der.0.clone(),
                shown: true,
            };
            let mut object = new_object(want, now);
            object.users = 1;
            records.insert_object(&mut object)
        }
    }
}

/// The first 20 bytes of SHA-256 over the DER.
pub(super) fn chain_id(der: &[u8]) -> Vec<u8> {
    let mut id = hash(Hash::Sha256, der);
    id.truncate(20);
    id
}

/// The objects that `name` stands for beside those that are labelled so: KeyId, every alias, `alias/name`, `name@…`.
/// Only shown ones; the version in service unless `name` names another.
pub(super) fn find_by_name(
    records: &mut Records<'_>,
    name: &str,
    class: Option<Class>,
    now: Moment,
) -> Result<Vec<Object>> {
    let name = name.strip_prefix("alias/").unwrap_or(name);
    let (base, suffix) = match name.rsplit_once('@') {
        Some((base, suffix)) if suffix.len() == 8 => (base, Some(suffix)),
        _ => (name, None),
    };
    let id = match parse_id(base) {
        Ok(id) => Some(id),
        Err(_) => records.alias(&format!("alias/{base}"))?,
    };
    let key = match id {
        Some(id) => records.key(id)?,
        None => None,
    };
    let Some(key) = key else { return Ok(Vec::new()) };
    let versions = records.versions(key.id)?;
    let version = match suffix {
        Some(suffix) => {
            versions.iter().find(|version| version.id.to_string().starts_with(suffix)).map(|version| version.id)
        }
        None => in_service(&key, &versions, &records.certificates_of_key(key.id)?, now),
    };
    let query = Query { key: Some(key.id), class, shown_only: true, ..Query::default() };
    let mut objects = records.find_objects(&query, 0, ALL)?;
    objects.retain(|object| object.class == Class::SecretKey || object.version == version);
    Ok(objects)
}

/// Is `name` a present or former name of the object's key? Then a client that remembers it finds the object by its ID.
pub(super) fn is_name_of(records: &mut Records<'_>, object: &Object, name: &str) -> Result<bool> {
    let base = name.strip_prefix("alias/").unwrap_or(name);
    let base = match base.rsplit_once('@') {
        Some((base, suffix)) if suffix.len() == 8 => base,
        _ => base,
    };
    let Some(id) = object.key else { return Ok(false) };
    let Some(key) = records.key(id)? else { return Ok(false) };
    Ok(key.former_names.iter().any(|former| former == base) || names(records, &key)?.iter().any(|known| known == base))
}
