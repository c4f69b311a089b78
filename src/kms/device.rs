//! Intents: what is begun on a device is written down before, and cleared away after a crash.

use uuid::Uuid;

use crate::error::Result;
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::model::caller::Caller;
use crate::model::key::{Level, Material};
use crate::store::{Intent, IntentKind};

impl Kms {
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
        let id = Uuid::new_v4();
        let intent = Intent { id, kind: IntentKind::Create, version, material: None, at: self.now() };
        let audit = self.audit(caller, &format!("{action}:begin"), version);
        self.store.write(&self.open()?.realm, &audit, |r| r.insert_intent(&intent))?;
        Ok(Some(id))
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
