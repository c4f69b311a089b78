//! Intents: what is begun on a device is written down before, and cleared away after a crash.

use std::any::Any;
use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::model::caller::Caller;
use crate::model::key::{Level, Material, Version};
use crate::model::spec::Spec;
use crate::protection::hsm::{Group, Turn, Turnstile};
use crate::store::{Intent, IntentKind, Records, Store};

/// Processes with the same store wait for each other beside it.
pub(super) fn turnstile(store: Arc<Store>) -> Turnstile {
    Arc::new(move |turn| {
        let lock = match turn {
            Turn::Look => store.device_look_lock(),
            Turn::Objects => store.device_lock(),
            Turn::LogIn => store.login_lock(),
        };
        lock.map(|lock| -> Box<dyn Any> { Box::new(lock) })
    })
}

impl Kms {
    /// Where keys of a spec can be made: in this process always, in the token's device if it can.
    pub fn levels_of(&self, spec: Spec) -> Result<Vec<Level>> {
        match self.device.as_ref().map(|device| device.supports(spec)) {
            Some(Ok(())) => Ok(vec![Level::Hsm, Level::Software]),
            None | Some(Err(Error::DeviceLacks { .. } | Error::Unsupported(_))) => Ok(vec![Level::Software]),
            Some(Err(error)) => Err(error),
        }
    }

    /// Writes down that a key is about to be made on the device; nothing at level SOFTWARE.
    pub(super) fn begin_creation(
        &self,
        caller: &Caller,
        action: &str,
        level: Level,
        version: Uuid,
    ) -> Result<Option<Uuid>> {
        if level == Level::Software {
            return Ok(None);
        }
        self.replication(caller)?;
        let id = Uuid::new_v4();
        let intent = Intent { id, kind: IntentKind::Create, version, material: None, at: self.now() };
        let audit = self.audit(caller, &format!("{action}:begin"), version);
        self.store.write(&self.open()?.realm, &audit, |r| r.insert_intent(&intent))?;
        Ok(Some(id))
    }

    /// In the transaction that makes a creation count. An intent that is not there any more was taken for abandoned, and what
    /// was made is destroyed: this process stood still for too long.
    pub(super) fn finish_creation(&self, records: &mut Records<'_>, intent: Option<Uuid>) -> Result<()> {
        let Some(intent) = intent else { return Ok(()) };
        if records.take_intent(intent)? {
            return Ok(());
        }
        let device = self.device.as_ref().map_or_else(String::new, Group::name);
        let reason = "making the key took so long that it was taken for abandoned: try again".to_owned();
        Err(Error::DeviceUnavailable { device, reason })
    }

    /// Writes down, in the transaction that takes the records away, that material in a device is to be destroyed: a
    /// process that dies before it did so leaves the intent to `alikms check`. `None` at level SOFTWARE.
    pub(super) fn begin_destruction(&self, records: &mut Records<'_>, version: &Version) -> Result<Option<Uuid>> {
        // The device's name of it: imported material has another one than its version.
        let Some(version_id) = version.material.as_ref().and_then(Material::device_id) else { return Ok(None) };
        let material = version.material.clone();
        let id = Uuid::new_v4();
        records.insert_intent(&Intent {
            id,
            kind: IntentKind::Destroy,
            version: version_id,
            material,
            at: self.now(),
        })?;
        Ok(Some(id))
    }

    /// The material that a device holds under an ID that we gave.
    pub(super) fn made_by_us(&self, id: Uuid) -> Option<Material> {
        Some(self.device.as_ref()?.material(id))
    }

    /// After a failed creation: what was made is destroyed and the intent crossed out. What cannot be done now is left to
    /// the intent, which `alikms check` works off.
    pub(super) fn abandon_creation(
        &self,
        caller: &Caller,
        action: &str,
        level: Level,
        intent: Option<Uuid>,
        version: Uuid,
        made: Option<&Material>,
    ) {
        let destroyed = match made {
            Some(material) => self
                .protection(level, &Allowed::to_undo())
                .and_then(|protection| protection.destroy(version, material))
                .is_ok(),
            None => true,
        };
        if let (Some(intent), true, Ok(opened)) = (intent, destroyed, self.open()) {
            let audit = self.audit(caller, &format!("{action}:abandon"), version);
            if let Err(error) = self.store.write(&opened.realm, &audit, |r| r.delete_intent(intent)) {
                tracing::warn!(%error, "an intent is left for `alikms check`");
            }
        }
    }
}
