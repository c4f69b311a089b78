//! Several devices behind one token: the replication key by which new keys come to each of them, and what brings a device
//! that was away up to date (`alikms devices sync`).

use std::collections::BTreeSet;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::maintain::Finding;
use crate::model::caller::Caller;
use crate::model::key::{Level, Material, Version};
use crate::model::spec::Spec;
use crate::protection::Protection;
use crate::protection::hsm::replication::Under;
use crate::protection::hsm::{Group, Hsm};
use crate::store::{Intent, IntentKind, Page, Records, Replication};

/// Versions are read in pages of this many.
const PAGE: u64 = 200;

/// One of the devices of a token, as `alikms doctor` tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberState {
    pub device: String,
    pub found: Result<MemberKeys>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberKeys {
    /// How many keys it should have.
    pub wanted: usize,
    /// How many of these it has not.
    pub missing: usize,
    /// Whether it has the replication key for new keys; None where none is needed, or none has been made yet.
    pub replication: Option<bool>,
}

impl Kms {
    /// Before a key is made: sees to it that it can be brought to every device of the token. The first time, and after a
    /// device was added, all of them must be there.
    pub(super) fn replication(&self, caller: &Caller) -> Result<()> {
        let Some(group) = &self.device else { return Ok(()) };
        if !group.is_wrapping()? {
            return Ok(());
        }
        match self.present_replication(group)? {
            Some(one) => {
                group.set_replication(Under::new(one.id, &one.proof)?);
                Ok(())
            }
            None => self.plant(caller, group, None),
        }
    }

    /// The newest replication key that every device of the token was given.
    fn present_replication(&self, group: &Group) -> Result<Option<Replication>> {
        let all = self.store.read(&self.open()?.realm, |r| r.replications())?;
        let fits =
            |one: &&Replication| group.members().all(|member| one.devices.iter().any(|had| had == member.name()));
        Ok(all.iter().rev().find(fits).cloned())
    }

    /// Makes a replication key, unless another process did. `lost`: one that is of no use any more.
    fn plant(&self, caller: &Caller, group: &Group, lost: Option<Uuid>) -> Result<()> {
        const ACTION: &str = "MakeReplicationKey";
        let _turn = self.store.sync_lock()?;
        if let Some(one) = self.present_replication(group)?.filter(|one| Some(one.id) != lost) {
            group.set_replication(Under::new(one.id, &one.proof)?);
            return Ok(());
        }
        let now = self.now();
        let intent = |kind, version| Intent { id: Uuid::new_v4(), kind, version, material: None, at: now };
        let new = intent(IntentKind::Create, Uuid::new_v4());
        // What it is sent by goes again at once, and after a crash by `alikms check`.
        let pairs: Vec<Intent> = group.members().map(|_| intent(IntentKind::Destroy, Uuid::new_v4())).collect();
        let opened = self.open()?;
        self.store.write(&opened.realm, &self.audit(caller, &format!("{ACTION}:begin"), new.version), |r| {
            pairs.iter().chain([&new]).try_for_each(|intent| r.insert_intent(intent))
        })?;
        let ids: Vec<Uuid> = pairs.iter().map(|pair| pair.version).collect();
        let planted = group.plant(new.version, &ids);
        let gone: Vec<Uuid> = pairs
            .iter()
            .filter(|pair| group.destroy(pair.version, &group.material(pair.version)).is_ok())
            .map(|pair| pair.id)
            .collect();
        let devices: Vec<String> = group.members().map(|member| member.name().to_owned()).collect();
        let stored = planted.and_then(|proof| {
            let under = Under::new(new.version, &proof)?;
            let one = Replication { id: new.version, devices: devices.clone(), proof, created: now };
            self.store.write(&opened.realm, &self.audit(caller, ACTION, new.version), |r| {
                self.finish_creation(r, Some(new.id))?;
                gone.iter().try_for_each(|id| r.delete_intent(*id))?;
                r.insert_replication(&one)
            })?;
            Ok(under)
        });
        match stored {
            Ok(under) => {
                group.set_replication(under);
                Ok(())
            }
            Err(error) => {
                let material = group.material(new.version);
                self.abandon_creation(caller, ACTION, Level::Hsm, Some(new.id), new.version, Some(&material));
                let audit = self.audit(caller, &format!("{ACTION}:abandon"), new.version);
                self.store.write(&opened.realm, &audit, |r| gone.iter().try_for_each(|id| r.delete_intent(*id)))?;
                Err(error)
            }
        }
    }

    /// `alikms devices sync`: destroys what was to be destroyed in devices that were away, gives each device the keys that
    /// it lacks, and proves those that it has.
    pub fn sync_devices(&self, caller: &Caller) -> Result<Vec<Finding>> {
        let _allowed = self.authorize(caller, "SyncDevices", &self.realm.container("key"))?;
        let Some(group) = self.device.as_ref().filter(|group| group.is_several()) else { return Ok(Vec::new()) };
        let mut findings = self.work_off_intents(caller, 0)?;
        let mut there = Vec::new();
        for member in group.members() {
            match member.ids() {
                Ok(ids) => there.push((member, ids.into_iter().collect::<BTreeSet<Uuid>>())),
                Err(error) => findings.push(wrong(format!("device {} cannot be reached: {error}", member.name()))),
            }
        }
        if group.is_wrapping()? {
            self.renew_replication(caller, group, &there, &mut findings)?;
        }
        let _turn = self.store.sync_lock()?;
        let mut offset = 0;
        loop {
            let page = Page { offset, limit: PAGE };
            let versions = self.store.read(&self.open()?.realm, |r| r.all_versions(page))?.items;
            offset += versions.len() as u64;
            if versions.is_empty() {
                return Ok(findings);
            }
            for version in &versions {
                for (member, _) in &there {
                    findings.extend(self.sync_version(caller, member, version)?);
                }
            }
        }
    }

    /// Makes a replication key if there is none that every device has.
    fn renew_replication(
        &self,
        caller: &Caller,
        group: &Group,
        there: &[(&Hsm, BTreeSet<Uuid>)],
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        let present = self.present_replication(group)?;
        let mut lacking = Vec::new();
        if let Some(one) = &present {
            let under = Under::new(one.id, &one.proof)?;
            for (member, _) in there {
                match member.has_replication_key(&under) {
                    Ok(()) => {}
                    Err(Error::KeyNotFound(_)) => lacking.push(member.name()),
                    Err(error) => findings.push(wrong(format!("no new keys by device {}: {error}", member.name()))),
                }
            }
            if lacking.is_empty() {
                return Ok(());
            }
        }
        match self.plant(caller, group, present.map(|one| one.id)) {
            Ok(()) if lacking.is_empty() => findings.push(done("made the replication key".to_owned())),
            Ok(()) => findings.push(done(format!(
                "made a new replication key, because device {} lost the former one",
                lacking.join(", ")
            ))),
            Err(error) => findings.push(wrong(format!("no replication key can be made: {error}"))),
        }
        Ok(())
    }

    fn sync_version(&self, caller: &Caller, member: &Hsm, version: &Version) -> Result<Option<Finding>> {
        let Some(material @ Material::Copies { .. }) = &version.material else { return Ok(None) };
        let Some(id) = material.device_id() else { return Ok(None) };
        let key = self.store.read(&self.open()?.realm, |r| r.key(version.key))?;
        let Some(spec) = key.map(|key| key.spec) else { return Ok(None) };
        let device = member.name();
        Ok(match member.open(id, spec, material, version.public.as_ref()) {
            Ok(_) => None,
            Err(Error::KeyNotFound(_)) => match self.catch_up(caller, member, version, (id, spec, material)) {
                Ok(true) => Some(done(format!("gave key version {} to device {device}", version.id))),
                Ok(false) => None,
                Err(error) => {
                    Some(wrong(format!("key version {} cannot be brought to device {device}: {error}", version.id)))
                }
            },
            Err(error) => Some(wrong(format!("key version {} is not used in device {device}: {error}", version.id))),
        })
    }

    /// False if the key is gone meanwhile. Under an intent: whoever destroys the key now does not see this copy of it.
    fn catch_up(
        &self,
        caller: &Caller,
        member: &Hsm,
        version: &Version,
        (id, spec, material): (Uuid, Spec, &Material),
    ) -> Result<bool> {
        const ACTION: &str = "SyncDevices";
        let opened = self.open()?;
        let is_there = |r: &mut Records<'_>| -> Result<bool> {
            Ok(r.version(version.id)?.is_some_and(|now| now.material.as_ref() == Some(material)))
        };
        let (kind, at) = (IntentKind::Create, self.now());
        let intent = Intent { id: Uuid::new_v4(), kind, version: version.id, material: Some(material.clone()), at };
        let begun =
            self.store.write(&opened.realm, &self.audit(caller, &format!("{ACTION}:begin"), version.id), |r| {
                let is_there = is_there(r)?;
                if is_there {
                    r.insert_intent(&intent)?;
                }
                Ok(is_there)
            })?;
        if !begun {
            return Ok(false);
        }
        let taken = member.catch_up(id, spec, material, version.public.as_ref());
        let audit = self.audit(caller, ACTION, version.id);
        let still = self.store.write(&opened.realm, &audit, |r| {
            let is_there = is_there(r)?;
            if is_there {
                r.delete_intent(intent.id)?;
            }
            Ok(is_there)
        })?;
        if still {
            return taken.map(|()| true);
        }
        member.destroy(id, material)?;
        self.store.write(&opened.realm, &audit, |r| r.delete_intent(intent.id))?;
        Ok(false)
    }

    /// What each device of the token has of its keys; empty for a token with one device.
    pub fn members(&self, caller: &Caller) -> Result<Vec<MemberState>> {
        let _allowed = self.authorize(caller, "SyncDevices", &self.realm.container("key"))?;
        let Some(group) = self.device.as_ref().filter(|group| group.is_several()) else { return Ok(Vec::new()) };
        let mut wanted: Vec<(Uuid, Option<String>)> = Vec::new();
        let mut offset = 0;
        loop {
            let page = Page { offset, limit: PAGE };
            let versions = self.store.read(&self.open()?.realm, |r| r.all_versions(page))?.items;
            offset += versions.len() as u64;
            wanted.extend(versions.iter().filter_map(|version| placed(version.material.as_ref()?)));
            if versions.is_empty() {
                break;
            }
        }
        let replication = if group.is_wrapping()? { self.present_replication(group)? } else { None };
        let state = |member: &Hsm| {
            let found = member.ids().map(|ids| {
                let ids: BTreeSet<Uuid> = ids.into_iter().collect();
                let is_its = |on: &Option<String>| on.as_ref().is_none_or(|on| on == member.name());
                let its: Vec<_> = wanted.iter().filter(|(_, on)| is_its(on)).collect();
                let missing = its.iter().filter(|(id, _)| !ids.contains(id)).count();
                MemberKeys {
                    wanted: its.len(),
                    missing,
                    replication: replication.as_ref().map(|one| ids.contains(&one.id)),
                }
            });
            MemberState { device: member.name().to_owned(), found }
        };
        Ok(group.members().map(state).collect())
    }
}

/// What devices know the key by, and in which one it is; None: in each of the token's.
pub(super) fn placed(material: &Material) -> Option<(Uuid, Option<String>)> {
    let on = match material {
        Material::Device { device, .. } => Some(device.clone()),
        Material::Copies { .. } | Material::Sealed(_) => None,
    };
    Some((material.device_id()?, on))
}

fn done(what: String) -> Finding {
    Finding { what, repaired: true }
}

fn wrong(what: String) -> Finding {
    Finding { what, repaired: false }
}
