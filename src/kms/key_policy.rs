//! SetKeyPolicy and GetKeyPolicy; what a policy means is decided in `authorize`.

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::key::KeyState;
use crate::model::key_policy::KeyPolicy;

impl Kms {
    /// As it was written; that of a key which was given none leaves everything to RAM.
    pub fn key_policy(&self, caller: &Caller, key: &str, name: Option<&str>) -> Result<String> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "GetKeyPolicy", &key)?;
            check_name(name)?;
            let text = key.policy.map(|policy| policy.text().to_owned());
            Ok(text.unwrap_or_else(|| KeyPolicy::default_text(&self.realm.account)))
        })
    }

    pub fn set_key_policy(&self, caller: &Caller, key: &str, name: Option<&str>, text: &str) -> Result<()> {
        let policy = KeyPolicy::parse(text)?;
        self.change_key(caller, "SetKeyPolicy", key, |key, state| {
            check_name(name)?;
            if state == KeyState::PendingDeletion {
                return Err(key_state(key, state));
            }
            key.policy = Some(policy.clone());
            Ok(())
        })
    }
}

/// A key has one policy.
fn check_name(name: Option<&str>) -> Result<()> {
    match name {
        None | Some("default") => Ok(()),
        Some(other) => Err(Error::EntityNotFound { kind: "KeyPolicy", name: other.to_owned() }),
    }
}
