//! Keys at work: opened once, kept, and checked against the store's generation before every use.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::fork::{PerProcess, epoch};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::certificate::share::Lent;
use crate::kms::lifecycle::working_state;
use crate::model::caller::Caller;
use crate::model::certificate::CertificateStatus;
use crate::model::key::{Key, KeyState, Version};
use crate::model::time::Moment;
use crate::protection::{self, Protection};
use crate::store::Records;

/// So many opened keys are kept (an RSA-2048 key takes about 6 kB).
const KEPT: usize = 1024;

/// A key version that is ready to work.
pub struct Ready {
    pub key: Key,
    pub version: Version,
    /// Its work is not written down by itself: see [`Kms::work`].
    pub(super) work: Arc<dyn protection::Key>,
    /// The store's generation at which the records were last found unchanged.
    checked: AtomicU64,
    /// The process that opened it: a forked child opens it anew, since another thread may have been using it at the fork.
    epoch: u64,
    /// When something stored runs out by itself.
    valid_until: Option<Moment>,
    /// The key is another account's.
    lent: Option<Lent>,
}

/// The opened keys of a realm; each process has its own.
pub(super) struct Cache(PerProcess<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    keys: HashMap<Uuid, (Arc<Ready>, u64)>,
    clock: u64,
}

impl Cache {
    pub fn new() -> Self {
        Self(PerProcess::new(Mutex::default))
    }

    fn find(&self, version: Uuid) -> Option<Arc<Ready>> {
        let mut kept = self.0.get().lock().unwrap_or_else(PoisonError::into_inner);
        kept.clock += 1;
        let now = kept.clock;
        kept.keys.get_mut(&version).map(|(ready, used)| {
            *used = now;
            ready.clone()
        })
    }

    fn keep(&self, ready: &Arc<Ready>) {
        let mut kept = self.0.get().lock().unwrap_or_else(PoisonError::into_inner);
        if kept.keys.len() >= KEPT
            && let Some(oldest) = kept.keys.iter().min_by_key(|(_, (_, used))| *used).map(|(id, _)| *id)
        {
            kept.keys.remove(&oldest);
        }
        kept.clock += 1;
        let now = kept.clock;
        kept.keys.insert(ready.version.id, (ready.clone(), now));
    }

    pub(super) fn forget(&self, version: Uuid) {
        self.0.get().lock().unwrap_or_else(PoisonError::into_inner).keys.remove(&version);
    }
}

impl Kms {
    /// Opens a version for work that `caller` may do. `Error::KeyState` unless the key is usable now.
    pub fn ready(&self, caller: &Caller, action: &'static str, version: Uuid) -> Result<Arc<Ready>> {
        self.ready_if(version, |key, lent| self.authorize_use(caller, action, key, lent))
            .map_err(|error| self.refused(caller, action, version, error))
    }

    fn authorize_use(&self, caller: &Caller, action: &'static str, key: &Key, lent: Option<&Lent>) -> Result<Allowed> {
        match lent {
            None => self.authorize_key(caller, action, key),
            Some(lent) => self.authorize_lent(caller, action, key, lent),
        }
    }

    /// The same for what is allowed on other grounds than a permission on the key: on its certificate.
    pub(super) fn ready_if(
        &self,
        version: Uuid,
        may: impl FnOnce(&Key, Option<&Lent>) -> Result<Allowed>,
    ) -> Result<Arc<Ready>> {
        if let Some(ready) = self.cache.find(version)
            && ready.epoch == epoch()
            && self.unchanged(&ready)?
        {
            let _allowed = may(&ready.key, ready.lent.as_ref())?;
            return Ok(ready);
        }
        self.open_version(version, may)
    }

    /// Is what was opened still good? The same, or opened anew; `Error::KeyState` if the key may not be used any more.
    pub fn refresh(&self, caller: &Caller, action: &'static str, ready: &Ready) -> Result<Option<Arc<Ready>>> {
        let current = ready.epoch == epoch()
            && ready.checked.load(Ordering::Relaxed) == self.store.generation()
            && ready.valid_until.is_none_or(|until| self.now() < until);
        // One action is not another: what was opened to sign may not decrypt for that reason.
        if current {
            let _allowed = self
                .authorize_use(caller, action, &ready.key, ready.lent.as_ref())
                .map_err(|error| self.refused(caller, action, ready.version.id, error))?;
        }
        if current { Ok(None) } else { self.ready(caller, action, ready.version.id).map(Some) }
    }

    /// Compares with the records, if the generation says that something changed.
    fn unchanged(&self, ready: &Ready) -> Result<bool> {
        let generation = self.store.generation();
        let expired = ready.valid_until.is_some_and(|until| self.now() >= until);
        if ready.checked.load(Ordering::Relaxed) == generation && !expired {
            return Ok(true);
        }
        let (key, version, lent) = self.usable_here(ready.version.id)?;
        let by = |lent: &Option<Lent>| lent.as_ref().map(|lent| lent.certificate);
        let same = key == ready.key && version == ready.version && by(&lent) == by(&ready.lent);
        if same {
            ready.checked.store(generation, Ordering::Relaxed);
        }
        Ok(same)
    }

    /// The records of a version of ours, or of one that another account lends us, that may be used now.
    fn usable_here(&self, version: Uuid) -> Result<(Key, Version, Option<Lent>)> {
        self.store.read(&self.open()?.realm, |r| match self.usable(r, version) {
            Err(Error::KeyVersionNotFound(_)) => self.lent_version(r, version),
            own => own.map(|(key, version)| (key, version, None)),
        })
    }

    fn open_version(
        &self,
        version: Uuid,
        may: impl FnOnce(&Key, Option<&Lent>) -> Result<Allowed>,
    ) -> Result<Arc<Ready>> {
        let generation = self.store.generation();
        let (key, version, lent) = self.usable_here(version)?;
        let allowed = may(&key, lent.as_ref())?;
        let work = match &lent {
            None => self.open_work(&key, &version, &allowed)?,
            Some(lent) => lent.owner()?.open_work(&key, &version, &allowed)?,
        };
        let valid_until = [key.material_expires, key.delete_at].into_iter().flatten().min();
        let checked = AtomicU64::new(generation);
        let ready = Arc::new(Ready { key, version, work, checked, epoch: epoch(), valid_until, lent });
        self.cache.keep(&ready);
        Ok(ready)
    }

    fn open_work(&self, key: &Key, version: &Version, allowed: &Allowed) -> Result<Arc<dyn protection::Key>> {
        let protection: &dyn Protection = self.protection(key.level, allowed)?;
        let material = version.material.as_ref().ok_or_else(|| key_state(key, KeyState::PendingImport))?;
        protection.open(version.id, key.spec, material, version.public.as_ref())
    }

    /// The records of a version that may be used now.
    pub(super) fn usable(&self, records: &mut Records<'_>, version: Uuid) -> Result<(Key, Version)> {
        let missing = || Error::KeyVersionNotFound(version.to_string());
        let version = records.version(version)?.ok_or_else(missing)?;
        let key = records.key(version.key)?.ok_or_else(missing)?;
        match working_state(&key, self.now()) {
            Some(KeyState::Enabled) => {}
            Some(other) => return Err(key_state(&key, other)),
            None => return Err(Error::KeyNotFound(key.id.to_string())),
        }
        if let Some(id) = key.certificate {
            let certificate = records.certificate(id)?;
            if certificate.is_none_or(|certificate| certificate.status != CertificateStatus::Active) {
                return Err(key_state(&key, KeyState::Disabled));
            }
        }
        Ok((key, version))
    }
}

pub(super) fn key_state(key: &Key, state: KeyState) -> Error {
    Error::KeyState { key: key.id.to_string(), state }
}
