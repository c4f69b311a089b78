//! Permission: nothing reaches a key without the proof that this file hands out.

use crate::error::{Error, Result};
use crate::fork;
use crate::kms::Kms;
use crate::model::caller::{Caller, Identity};
use crate::model::key::Key;
use crate::model::key_policy::Said;
use crate::model::names::KeyRef;
use crate::store::Audit;

/// The proof that a caller may do what it asked for; only [`Kms::authorize`] makes one.
#[must_use]
pub struct Allowed(());

impl Allowed {
    /// For undoing what failed: it was allowed to be begun.
    pub(super) fn to_undo() -> Self {
        Self(())
    }

    /// For what the KMS does by itself when its time has come, whoever happens to look: rotation, deletion, expiry.
    pub(super) fn by_time() -> Self {
        Self(())
    }
}

impl Kms {
    /// May `caller` do `action` (the API's name, `ram:…` for RAM's own) on `resource` (an ARN)? The account itself may do everything.
    pub fn authorize(&self, caller: &Caller, action: &'static str, resource: &str) -> Result<Allowed> {
        let allowed = match caller.identity() {
            Identity::Account => true,
            Identity::User(_) if action.contains(':') => caller.may(action, resource),
            Identity::User(_) => caller.may(&format!("kms:{action}"), resource),
        };
        match allowed {
            true => Ok(Allowed(())),
            false => Err(Error::AccessDenied { action, resource: resource.to_owned() }),
        }
    }

    /// The same of a key, whose own policy counts too. A Deny of either policy wins. A user whom the key's policy names
    /// needs no other; else RAM decides, as far as the key's policy leaves it to the account. The account itself is bound
    /// by a Deny alone, and can always see and mend the policy.
    pub fn authorize_key(&self, caller: &Caller, action: &'static str, key: &Key) -> Result<Allowed> {
        let Some(policy) = &key.policy else {
            return match caller.identity() {
                Identity::Account => Ok(Allowed(())),
                Identity::User(_) => self.authorize(caller, action, &self.realm.key_arn(key.id)),
            };
        };
        let resource = self.realm.key_arn(key.id);
        let name = format!("kms:{action}");
        let said = policy.says(&self.realm.account, caller.user_name(), &name);
        let allowed = match (caller.identity(), said) {
            (Identity::Account, Said::Denied) => ["DescribeKey", "GetKeyPolicy", "SetKeyPolicy"].contains(&action),
            (Identity::Account, _) => true,
            (Identity::User(_), Said::Denied | Said::Nothing) => false,
            (Identity::User(_), Said::LeftToRam) => caller.may(&name, &resource),
            (Identity::User(user), Said::Granted) => !user.denies(&name, &resource),
        };
        if allowed { Ok(Allowed(())) } else { Err(Error::AccessDenied { action, resource }) }
    }

    /// The same of what an object at the token belongs to, by its ARN. The account needs no look: only public halves are
    /// asked for like this, and whoever has one can use it anyway.
    pub fn authorize_owner(&self, caller: &Caller, action: &'static str, arn: &str) -> Result<Allowed> {
        let key = match (caller.identity(), self.realm.key_ref(arn)) {
            (Identity::User(_), Ok(KeyRef::Id(id))) => self.store.read(&self.open()?.realm, |r| r.key(id))?,
            _ => None,
        };
        match key {
            Some(key) => self.authorize_key(caller, action, &key),
            None => self.authorize(caller, action, arn),
        }
    }

    /// The audit row of a change.
    pub(super) fn audit(&self, caller: &Caller, action: &str, resource: impl std::fmt::Display) -> Audit {
        Audit {
            at: self.now(),
            caller: caller.name(),
            action: action.to_owned(),
            resource: resource.to_string(),
            version: None,
            mechanism: String::new(),
            outcome: "ok".to_owned(),
            count: None,
            since: None,
            request: caller.request(),
            pid: fork::pid(),
            uid: fork::uid(),
            program: fork::program().to_owned(),
        }
    }
}

/// What "not found" is called for the way in which the caller named the key.
pub(super) fn not_found(name: &KeyRef, text: &str) -> Error {
    match name {
        KeyRef::Alias(alias) => Error::AliasNotFound(alias.clone()),
        KeyRef::Id(_) | KeyRef::Foreign(_) => Error::KeyNotFound(text.to_owned()),
    }
}
