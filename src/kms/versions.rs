//! Versions of keys: new ones, the one in service, and those that are out of sight.

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::{in_service, refresh_key};
use crate::kms::lifecycle::Making;
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::key::{Key, KeyState, Origin, Style, Version};
use crate::model::names::parse_id;
use crate::model::spec::Family;
use crate::protection::Usages;
use crate::store::{Listed, Page, Records};

impl Kms {
    /// Ruling 4: asymmetric keys, and symmetric ones as "rotate now".
    pub fn create_key_version(&self, caller: &Caller, name: &str) -> Result<Version> {
        const ACTION: &str = "CreateKeyVersion";
        let (key, allowed) = self.store.read(&self.open()?.realm, |r| {
            let (key, state) = self.find_key(r, name)?;
            let allowed = self.authorize_key(caller, ACTION, &key)?;
            if state != KeyState::Enabled { Err(key_state(&key, state)) } else { Ok((key, allowed)) }
        })?;
        if key.origin == Origin::External {
            return Err(Error::RejectedUnsupported("a key with imported material has one version".to_owned()));
        }
        if self.is_service_key(&key) || key.spec.family == Family::Generic {
            return Err(Error::RejectedUnsupported("a key of this kind has one version".to_owned()));
        }
        let asymmetric = key.spec.family.is_asymmetric();
        if !asymmetric && key.style == Style::Raw {
            return Err(Error::RejectedUnsupported("a secret key made through PKCS#11 is never rotated".to_owned()));
        }
        let usages = Usages::of(key.usage, asymmetric);
        let making = Making { usages, value: None, allowed: &allowed };
        let (_, version) = self.make_version(
            caller,
            ACTION,
            &key,
            making,
            |_| Ok(()),
            |r, version, ()| {
                let (mut key, state) = self.find_key_by_id(r, &key.id.to_string())?;
                if state != KeyState::Enabled {
                    return Err(key_state(&key, state));
                }
                if !asymmetric {
                    key.primary = Some(version.id);
                    r.update_key(&key)?;
                }
                r.insert_version(version)?;
                refresh_key(r, &key, self.now())
            },
        )?;
        Ok(version)
    }

    pub fn list_key_versions(&self, caller: &Caller, key: &str, page: Page) -> Result<Listed<Version>> {
        self.rotate_if_due(caller, key)?;
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "ListKeyVersions", &key)?;
            r.versions_page(key.id, page)
        })
    }

    pub fn describe_key_version(&self, caller: &Caller, key: &str, version: &str) -> Result<Version> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "DescribeKeyVersion", &key)?;
            self.version_of(r, &key, version)
        })
    }

    /// A version that the caller named, if it is this key's.
    pub(super) fn version_of(&self, records: &mut Records<'_>, key: &Key, text: &str) -> Result<Version> {
        let id = parse_version(text)?;
        let found = records.version(id)?.filter(|version| version.key == key.id);
        found.ok_or_else(|| Error::KeyVersionNotFound(text.to_owned()))
    }

    /// The version in service of a key (DESIGN §3); of a symmetric key the primary one.
    pub fn version_in_service(&self, caller: &Caller, key: &str) -> Result<(Key, Version)> {
        self.store.read(&self.open()?.realm, |r| {
            let (key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, "DescribeKeyVersion", &key)?;
            self.service_of(r, key)
        })
    }

    pub(super) fn service_of(&self, records: &mut Records<'_>, key: Key) -> Result<(Key, Version)> {
        let versions = records.versions(key.id)?;
        let certificates = records.certificates_of_key(key.id)?;
        let id = in_service(&key, &versions, &certificates, self.now());
        let found = versions.into_iter().find(|version| Some(version.id) == id);
        let version = found.ok_or_else(|| key_state(&key, KeyState::PendingImport))?;
        Ok((key, version))
    }

    /// Changes a version that the caller named together with its key.
    fn change_version(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &str,
        version: &str,
        mut change: impl FnMut(&mut Records<'_>, &mut Key, Version) -> Result<()>,
    ) -> Result<()> {
        let audit = self.audit(caller, action, version);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let (mut key, _) = self.find_key(r, key)?;
            let _allowed = self.authorize_key(caller, action, &key)?;
            if !key.spec.family.is_asymmetric() {
                return Err(Error::RejectedUnsupported("a symmetric key has its primary version".to_owned()));
            }
            let version = self.version_of(r, &key, version)?;
            r.about(version.id);
            change(r, &mut key, version)?;
            refresh_key(r, &key, self.now())
        })
    }

    /// `alikms promote`: chooses the version in service.
    pub fn promote(&self, caller: &Caller, key: &str, version: &str) -> Result<()> {
        self.change_version(caller, "PromoteKeyVersion", key, version, |r, key, mut version| {
            if version.retired {
                version.retired = false;
                r.update_version(&version)?;
            }
            key.promoted = Some(version.id);
            r.update_key(key)
        })
    }

    /// `alikms retire`: hides an old version from searches; refused for the version in service.
    pub fn retire(&self, caller: &Caller, key: &str, version: &str) -> Result<()> {
        self.change_version(caller, "RetireKeyVersion", key, version, |r, key, mut version| {
            let (_, service) = self.service_of(r, key.clone())?;
            if service.id == version.id {
                return Err(Error::StateChange {
                    resource: version.id.to_string(),
                    reason: "it is the version in service: promote another one first".to_owned(),
                });
            }
            version.retired = true;
            r.update_version(&version)
        })
    }
}

fn parse_version(text: &str) -> Result<Uuid> {
    parse_id(text).map_err(|_| Error::invalid("KeyVersionId", "not a GUID"))
}
