//! What time and crashes leave to be done: due rotations, deletions and expiries made physical, unfinished work on a device
//! finished, and the store compared with itself and with the device.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use crate::error::Result;
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::lifecycle::state_at;
use crate::kms::replicate::placed;
use crate::model::caller::Caller;
use crate::model::key::{Key, KeyState, Level, Version};
use crate::model::time::Moment;
use crate::protection::hsm::Group;
use crate::store::{Audit, Intent, IntentKind, Listed, Page, Query, Records};

/// Keys are read in pages of this many.
const PAGE: u64 = 100;
/// An intent this old belongs to nobody who is still at work: creating the slowest key takes seconds.
const STALE: i64 = 600;
const ALL: usize = 100_000;

/// One thing that `alikms check` found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub what: String,
    pub repaired: bool,
}

impl Kms {
    /// Every key that is not a certificate's, oldest first.
    pub(super) fn each_key(&self, mut visit: impl FnMut(Key) -> Result<()>) -> Result<()> {
        let mut ids = Vec::new();
        loop {
            let page = Page { offset: ids.len() as u64, limit: PAGE };
            let Listed { items, .. } = self.store.read(&self.open()?.realm, |r| r.keys(page))?;
            if items.is_empty() {
                break;
            }
            ids.extend(items.iter().map(|key| key.id));
        }
        for id in ids {
            if let Some(key) = self.store.read(&self.open()?.realm, |r| r.key(id))? {
                visit(key)?;
            }
        }
        Ok(())
    }

    /// `alikms maintain`: what is due becomes physical. Says what was done, a line each.
    pub fn maintain(&self, caller: &Caller) -> Result<Vec<String>> {
        let _allowed = self.authorize(caller, "Maintain", &self.realm.container("key"))?;
        self.harvest(false)?;
        let mut said = Vec::new();
        self.each_key(|key| {
            let id = key.id.to_string();
            let now = self.now();
            if state_at(&key, now).is_none() {
                self.delete_now(caller, &key)?;
                said.push(format!("deleted key {id}, whose deletion window ended"));
            } else if key.material_expires.is_some_and(|at| at <= now) {
                self.drop_material(caller, "DeleteKeyMaterial", key.id, &Allowed::by_time())?;
                said.push(format!("deleted the expired material of key {id}"));
            } else {
                let before = key.primary;
                self.rotate_if_due(caller, &id)?;
                let after = self.store.read(&self.open()?.realm, |r| r.key(key.id))?.and_then(|key| key.primary);
                if before != after {
                    said.push(format!("rotated key {id}"));
                }
            }
            Ok(())
        })?;
        self.forget_deleted_certificates(caller, &mut said)?;
        said.extend(self.work_off_intents(caller, STALE)?.into_iter().map(|finding| finding.what));
        Ok(said)
    }

    /// A key whose window has ended: its records, and its material wherever that is.
    fn delete_now(&self, caller: &Caller, key: &Key) -> Result<()> {
        const ACTION: &str = "DeleteKey";
        let allowed = Allowed::by_time();
        let audit = self.audit(caller, ACTION, key.id);
        let gone = self.store.write(&self.open()?.realm, &audit, |r| {
            let Some(key) = r.key(key.id)? else { return Ok(Vec::new()) };
            match state_at(&key, self.now()) {
                None => self.forget_key(r, &key),
                Some(_) => Ok(Vec::new()),
            }
        })?;
        self.destroy_material(caller, ACTION, key.level, gone, &allowed)
    }

    /// Takes a key with all that belongs to it out of the records. Answers its versions with the intents under which their
    /// material is to be destroyed: in a device that happens after the records are gone, and survives a crash in between.
    pub(super) fn forget_key(&self, records: &mut Records<'_>, key: &Key) -> Result<Vec<(Version, Option<Uuid>)>> {
        for alias in records.aliases(key.id)? {
            records.delete_alias(&alias)?;
        }
        for certificate in records.certificates_of_key(key.id)? {
            self.detach(records, certificate.id)?;
        }
        for object in records.find_objects(&Query { key: Some(key.id), ..Query::default() }, 0, ALL)? {
            records.delete_object(object.handle)?;
        }
        let versions = records.versions(key.id)?;
        records.delete_key(key.id)?;
        versions.into_iter().map(|version| self.forget_version(records, version)).collect()
    }

    fn forget_version(&self, records: &mut Records<'_>, version: Version) -> Result<(Version, Option<Uuid>)> {
        records.delete_version(version.id)?;
        let intent = self.begin_destruction(records, &version)?;
        Ok((version, intent))
    }

    /// Destroys what [`Self::forget_key`] answered.
    pub(super) fn destroy_material(
        &self,
        caller: &Caller,
        action: &'static str,
        level: Level,
        versions: Vec<(Version, Option<Uuid>)>,
        allowed: &Allowed,
    ) -> Result<()> {
        for (version, intent) in versions {
            self.cache.forget(version.id);
            let Some(material) = &version.material else { continue };
            match self.protection(level, allowed)?.destroy(version.id, material) {
                Err(error) if intent.is_some() && self.is_some_device_there() => {
                    tracing::warn!(version = %version.id, %error, "left to `alikms devices sync`");
                    continue;
                }
                destroyed => destroyed?,
            }
            if let Some(intent) = intent {
                let audit = self.audit(caller, &format!("{action}:done"), version.id);
                self.store.write(&self.open()?.realm, &audit, |r| r.delete_intent(intent))?;
            }
        }
        Ok(())
    }

    /// Of several devices: the others have destroyed what they had.
    fn is_some_device_there(&self) -> bool {
        let group = self.device.as_ref().filter(|group| group.is_several());
        group.is_some_and(|group| group.members().any(|member| member.probe().is_ok()))
    }

    /// Finishes what was begun on the device and not finished: a creation is undone, a destruction done. `age`: of a
    /// destruction in seconds; nobody else is at work on a creation that is older than [`STALE`]. Of several devices one
    /// that is away keeps nothing else from being done.
    pub(super) fn work_off_intents(&self, caller: &Caller, age: i64) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let intents = self.store.read(&self.open()?.realm, |r| r.intents())?;
        for intent in intents {
            let is_known = intent.kind == IntentKind::Destroy && intent.material.is_some();
            let age = if is_known { age } else { STALE };
            if intent.at.0.saturating_add(age) > self.now().0 {
                continue;
            }
            let version = intent.version;
            match self.work_off(caller, intent) {
                Ok(said) => findings.extend(said.map(|what| Finding { what, repaired: true })),
                Err(error) if self.is_some_device_there() => findings.push(Finding {
                    what: format!("the work on key version {version} cannot be finished: {error}"),
                    repaired: false,
                }),
                Err(error) => return Err(error),
            }
        }
        Ok(findings)
    }

    fn work_off(&self, caller: &Caller, intent: Intent) -> Result<Option<String>> {
        const ACTION: &str = "WorkOffIntent";
        let kind = intent.kind;
        let allowed = self.authorize(caller, ACTION, &self.realm.container("key"))?;
        let Some(device) = &self.device else { return Ok(None) };
        let Some(intent) = self.claim(caller, ACTION, intent)? else { return Ok(None) };
        let Some(material) = intent.material.clone().or_else(|| self.made_by_us(intent.version)) else {
            return Ok(None);
        };
        self.protection(Level::Hsm, &allowed)?.destroy(intent.version, &material)?;
        let audit = self.audit(caller, ACTION, intent.version);
        self.store.write(&self.open()?.realm, &audit, |r| r.delete_intent(intent.id))?;
        let what = match kind {
            IntentKind::Create => "undid the unfinished creation",
            IntentKind::Destroy => "finished the destruction",
        };
        Ok(Some(format!("{what} of key version {} on device {}", intent.version, device.name())))
    }

    /// Makes an unfinished creation a destruction before the device is touched: should its process come back to life, it finds
    /// its intent gone. `None` if that one was quicker.
    fn claim(&self, caller: &Caller, action: &str, intent: Intent) -> Result<Option<Intent>> {
        if intent.kind == IntentKind::Destroy {
            let stored = self.store.read(&self.open()?.realm, |r| r.version(intent.version))?;
            return Ok(Some(intent).filter(|_| stored.is_none_or(|version| version.material.is_none())));
        }
        let claimed = Intent { id: Uuid::new_v4(), kind: IntentKind::Destroy, ..intent.clone() };
        let audit = self.audit(caller, &format!("{action}:begin"), intent.version);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let stored = r.version(intent.version)?;
            // A copy that a device was given of a key that is in use is as good as any.
            let counts = stored.is_some_and(|version| intent.material.is_none() || version.material == intent.material);
            if !r.take_intent(intent.id)? || counts {
                return Ok(None);
            }
            r.insert_intent(&claimed)?;
            Ok(Some(claimed.clone()))
        })
    }

    /// `alikms check`: reads every record and compares the store with itself and with the device. Unfinished work on the
    /// device is finished; everything else is only told.
    pub fn check(&self, caller: &Caller) -> Result<Vec<Finding>> {
        let mut findings = self.work_off_intents(caller, STALE)?;
        let mut tell = |what: String| findings.push(Finding { what, repaired: false });
        let mut in_device = BTreeMap::new();
        self.each_key(|key| {
            let (versions, objects) = self.store.read(&self.open()?.realm, |r| {
                let query = Query { key: Some(key.id), ..Query::default() };
                Ok((r.versions(key.id)?, r.find_objects(&query, 0, ALL)?))
            })?;
            let id = key.id;
            if versions.is_empty() && key.state != KeyState::PendingImport {
                tell(format!("key {id} has no version"));
            }
            if key.primary.is_some_and(|primary| !versions.iter().any(|version| version.id == primary)) {
                tell(format!("the primary version of key {id} is missing"));
            }
            for object in &objects {
                if object.version.is_some_and(|of| !versions.iter().any(|version| version.id == of)) {
                    tell(format!("an object of key {id} belongs to a version that is missing"));
                }
            }
            in_device.extend(versions.iter().filter_map(|version| placed(version.material.as_ref()?)));
            Ok(())
        })?;
        for member in self.device.iter().flat_map(Group::members) {
            let several = self.device.as_ref().is_some_and(Group::is_several);
            let there: BTreeSet<Uuid> = match member.ids() {
                Ok(ids) => ids.into_iter().collect(),
                Err(error) if several => {
                    tell(format!("device {} cannot be asked: {error}", member.name()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            for (id, on) in &in_device {
                let is_its = !several || on.as_ref().is_none_or(|on| on == member.name());
                if is_its && !there.contains(id) {
                    let help = if several && on.is_none() { ": run `alikms devices sync`" } else { "" };
                    tell(format!("key version {id} is not on device {}{help}", member.name()));
                }
            }
        }
        self.audit_trail(caller, Moment(i64::MIN), |_| Ok(()))?;
        Ok(findings)
    }

    /// Reads the audit trail, oldest first, from `since`; the whole chain is verified on the way.
    pub fn audit_trail(
        &self,
        caller: &Caller,
        since: Moment,
        mut visit: impl FnMut(&Audit) -> Result<()>,
    ) -> Result<u64> {
        let _allowed = self.authorize(caller, "ReadAudit", &self.realm.container("audit"))?;
        self.settle_refusals(true)?;
        self.harvest(false)?;
        let mut offset = 0;
        loop {
            let page = Page { offset, limit: 1000 };
            let Listed { items, total } = self.store.audit(&self.open()?.realm, page)?;
            for line in items.iter().filter(|line| line.at >= since) {
                visit(line)?;
            }
            offset += items.len() as u64;
            if items.is_empty() || offset >= total {
                return Ok(offset);
            }
        }
    }
}
