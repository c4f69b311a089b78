//! Service keys: made for a service under its code, which is their creator, with the alias `alias/acs/<code>` (S004-053).

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::lifecycle::{KeyView, Making};
use crate::model::caller::Caller;
use crate::model::key::{Door, Key, KeyUsage, Level, Style};
use crate::model::spec::Spec;
use crate::protection::Usages;

impl Kms {
    /// A symmetric key of a service; each service has one.
    pub fn create_service_key(&self, caller: &Caller, code: &str, level: Option<Level>) -> Result<KeyView> {
        const ACTION: &str = "CreateKey";
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let starts = code.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic());
        if !starts || code.len() > 64 || !code.bytes().all(letter) {
            return Err(Error::invalid("ServiceCode", "a letter, then up to 63 letters, digits and hyphens"));
        }
        let alias = format!("alias/acs/{}", code.to_ascii_lowercase());
        let allowed = self.authorize(caller, ACTION, &self.realm.container("key"))?;
        let spec = Spec::default_spec();
        let mut key = self.blank(spec, KeyUsage::EncryptDecrypt, level.unwrap_or(Level::Software), Door::Kms);
        key.style = Style::Envelope;
        key.creator = code.to_owned();
        let making = Making { usages: Usages::of(key.usage, false), value: None, allowed: &allowed };
        let (key, version) = self.create_with_material(
            caller,
            ACTION,
            &key,
            making,
            |_| Ok(()),
            |r, key, _, ()| r.insert_alias(&alias, key.id),
        )?;
        Ok(KeyView { state: key.state, key, last_rotation: Some(version.created) })
    }

    /// Was the key made for a service, and not by a user?
    pub fn is_service_key(&self, key: &Key) -> bool {
        key.creator != self.realm.account
    }
}
