//! Certificates that two accounts of an installation have (S002-004, 042 to 048): the private key stays with its owner and
//! works for the receiver too, as long as the owner lets it. Nothing of the key is copied: each use by the receiver asks
//! the owner's records as they are then.

use std::sync::{Arc, Weak};

use uuid::Uuid;

use super::state_change;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::catalogue::{is_shown, refresh_certificate};
use crate::kms::objects::ObjectView;
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, CertificateStatus, Share, Source};
use crate::model::key::{Key, KeyState, Version};
use crate::model::key_policy::Said;
use crate::model::object::{Class, Object};
use crate::store::{Audit, OpenRealm, Query, Records};

/// By which right the key of another account is at work here.
#[derive(Clone)]
pub(in crate::kms) struct Lent {
    /// Our side of the shared certificate.
    pub certificate: Uuid,
    owner: Weak<Kms>,
}

impl Lent {
    pub fn owner(&self) -> Result<Arc<Kms>> {
        self.owner.upgrade().ok_or_else(|| Error::CertificateNotFound(self.certificate.to_string()))
    }
}

/// The owner's side of a shared certificate, as it is now.
pub(in crate::kms) struct Original {
    owner: Arc<Kms>,
    realm: &'static OpenRealm,
    certificate: Certificate,
    pub key: Key,
    pub version: Version,
    /// May the receiver use it now?
    pub usable: bool,
}

impl Kms {
    /// S002-046: gives another account of this installation the use of a certificate that a shareable CA here issued. Its
    /// certificate over there.
    pub fn share_certificate(&self, caller: &Caller, id: &str, account: &str) -> Result<Uuid> {
        const ACTION: &str = "ShareCertificate";
        let bad = |reason: &str| Error::invalid("AccountId", reason);
        if account == self.realm.account {
            return Err(bad("it is the account that has the certificate"));
        }
        let receiver = self.neighbour(account).ok_or_else(|| {
            bad("no [[token]] of alikms.toml is of this account in this region: only accounts of this installation can share")
        })?;
        let locked = |_| Error::Unsupported("sharing with [unlock] method = \"pin\"".to_owned());
        let theirs = &receiver.open().map_err(locked)?.realm;
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            let (key, version) = self.check_shareable(r, &certificate)?;
            let share = |account: &str, certificate| Share {
                account: account.to_owned(),
                certificate,
                version: version.id,
                at: self.now(),
                withdrawn: false,
            };
            let mut given = Certificate {
                status: CertificateStatus::Active,
                spec: Some(key.spec),
                subject: certificate.subject.clone(),
                alternative_names: certificate.alternative_names.clone(),
                leaf: certificate.leaf.clone(),
                chain: certificate.chain.clone(),
                not_before: certificate.not_before,
                not_after: certificate.not_after,
                shared_by: Some(share(&self.realm.account, certificate.id)),
                ..Certificate::new(Source::Shared, self.now())
            };
            certificate.shared_with = Some(share(account, given.id));
            certificate.updated = self.now();
            r.update_certificate(&certificate)?;
            r.change_elsewhere(theirs, &self.audit_there(&audit, given.id), |there| {
                there.insert_certificate(&given)?;
                refresh_certificate(there, &mut given, self.now())
            })?;
            Ok(given.id)
        })
    }

    /// Takes it back for ever: the receiver's next operation fails.
    pub fn withdraw_certificate(&self, caller: &Caller, id: &str) -> Result<()> {
        const ACTION: &str = "WithdrawCertificate";
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            let Some(share) = certificate.shared_with.as_mut().filter(|share| !share.withdrawn) else {
                return Err(Error::StateChange { resource: id.to_owned(), reason: "it is not shared".to_owned() });
            };
            share.withdrawn = true;
            let share = share.clone();
            certificate.updated = self.now();
            r.update_certificate(&certificate)?;
            // The receiver's side goes too, where it can be reached; what counts is ours.
            let Some(receiver) = self.neighbour(&share.account) else { return Ok(()) };
            let Some(theirs) = reachable(receiver.open_within(r))? else { return Ok(()) };
            r.change_elsewhere(&theirs.realm, &self.audit_there(&audit, share.certificate), |there| {
                match there.certificate(share.certificate)? {
                    Some(given) => receiver.forget_certificate(there, given),
                    None => Ok(()),
                }
            })
        })
    }

    /// The row in the other account's trail.
    fn audit_there(&self, audit: &Audit, certificate: Uuid) -> Audit {
        let caller = format!("{}/{}", self.realm.account, audit.caller);
        Audit { caller, resource: certificate.to_string(), ..audit.clone() }
    }

    /// S002-042, 044, 048, 064. Its key.
    fn check_shareable(&self, records: &mut Records<'_>, certificate: &Certificate) -> Result<(Key, Version)> {
        let unfit = |reason: &str| Error::Unsupported(reason.to_owned());
        match certificate.source {
            Source::Attached | Source::Created => {}
            Source::Shared => {
                return Err(unfit("sharing a certificate that another account shares: only its owner can"));
            }
            Source::Imported | Source::PrivateCa | Source::Uploaded => {
                return Err(unfit("sharing a certificate that was uploaded, imported or synchronised"));
            }
        }
        if let Some(share) = &certificate.shared_with {
            let reason = format!("it was shared with {} already, and can be shared only once", share.account);
            return Err(Error::StateChange { resource: certificate.id.to_string(), reason });
        }
        if !is_shown(certificate) {
            return Err(state_change(certificate));
        }
        let all = self.all_certificates(records)?;
        let issuer = all.iter().filter(|it| it.leaf == certificate.leaf).find_map(|it| it.issued_by);
        let issuer = issuer.and_then(|id| all.iter().find(|it| it.id == id)).and_then(|it| it.authority.as_ref());
        if !issuer.is_some_and(|authority| authority.shareable) {
            return Err(unfit("sharing a certificate that no shareable CA here issued"));
        }
        let version =
            certificate.version.ok_or_else(|| unfit("sharing a certificate whose private key is not here"))?;
        self.usable(records, version)
    }

    /// The owner's side of a certificate that was shared with this account. None if there is no such thing any more, or it
    /// cannot be reached: its token is no longer in `alikms.toml`, or waits for a PIN.
    pub(in crate::kms) fn original(
        &self,
        records: &mut Records<'_>,
        certificate: &Certificate,
    ) -> Result<Option<Original>> {
        let Some(share) = &certificate.shared_by else { return Ok(None) };
        let Some(owner) = self.neighbour(&share.account) else { return Ok(None) };
        let Some(opened) = reachable(owner.open_within(records))? else { return Ok(None) };
        let realm = &opened.realm;
        records.elsewhere(realm, |there| {
            let original = there.certificate(share.certificate)?.filter(|original| {
                let given = original.shared_with.as_ref().filter(|given| !given.withdrawn);
                given.is_some_and(|given| given.certificate == certificate.id && given.account == self.realm.account)
            });
            let (Some(original), Some(version)) = (original, there.version(share.version)?) else { return Ok(None) };
            let Some(key) = there.key(version.key)? else { return Ok(None) };
            let same = original.version == Some(version.id) && original.leaf == certificate.leaf;
            let usable = is_shown(&original)
                && same
                && match owner.usable(there, version.id) {
                    Ok(_) => true,
                    Err(Error::KeyState { .. } | Error::KeyNotFound(_) | Error::KeyVersionNotFound(_)) => false,
                    Err(other) => return Err(other),
                };
            Ok(Some(Original { owner: owner.clone(), realm, certificate: original, key, version, usable }))
        })
    }

    /// A shared certificate has the status that its owner gave it.
    pub(super) fn see_share(&self, records: &mut Records<'_>, certificate: &mut Certificate) -> Result<()> {
        if certificate.shared_by.is_some() {
            certificate.status = match self.original(records, certificate)? {
                Some(original) if original.usable => CertificateStatus::Active,
                Some(original) if original.certificate.status == CertificateStatus::Revoked => {
                    CertificateStatus::Revoked
                }
                _ => CertificateStatus::Inactive,
            };
        }
        Ok(())
    }

    /// The version of another account's key that a shared certificate lets this one use.
    pub(in crate::kms) fn lent_version(
        &self,
        records: &mut Records<'_>,
        version: Uuid,
    ) -> Result<(Key, Version, Option<Lent>)> {
        let mut refusal = Error::KeyVersionNotFound(version.to_string());
        let query = Query { version: Some(version), class: Some(Class::PrivateKey), ..Query::default() };
        for object in records.find_objects(&query, 0, 16)?.iter().filter(|object| is_borrowed(object)) {
            let certificate = object.certificate.map(|id| records.certificate(id)).transpose()?.flatten();
            let Some(certificate) = certificate else { continue };
            match self.original(records, &certificate)? {
                Some(Original { key, version, owner, usable: true, .. }) => {
                    let lent = Lent { certificate: certificate.id, owner: Arc::downgrade(&owner) };
                    return Ok((key, version, Some(lent)));
                }
                Some(original) => refusal = key_state(&original.key, KeyState::Disabled),
                None => {}
            }
        }
        Err(refusal)
    }

    /// What the receiver may do with a lent key: what its own RAM allows on its certificate, unless the key's policy denies
    /// it to the receiver or to the owner.
    pub(in crate::kms) fn authorize_lent(
        &self,
        caller: &Caller,
        action: &'static str,
        key: &Key,
        lent: &Lent,
    ) -> Result<Allowed> {
        let resource = self.realm.certificate_arn(lent.certificate);
        if let Some(policy) = &key.policy {
            let (owner, name) = (lent.owner()?, format!("kms:{action}"));
            let denies = |account: &str, user| policy.says(account, user, &name) == Said::Denied;
            if denies(&owner.realm.account, None) || denies(&self.realm.account, caller.user_name()) {
                return Err(Error::AccessDenied { action, resource });
            }
        }
        self.authorize(caller, action, &resource)
    }

    /// Is this object of a shared certificate one that may be seen? True for every other object.
    pub(in crate::kms) fn is_lent(&self, records: &mut Records<'_>, object: &Object) -> Result<bool> {
        if !is_borrowed(object) {
            return Ok(true);
        }
        let certificate = object.certificate.map(|id| records.certificate(id)).transpose()?.flatten();
        let original = certificate.map(|certificate| self.original(records, &certificate)).transpose()?.flatten();
        Ok(original.is_some_and(|original| original.usable))
    }

    /// An object of a shared certificate; a key has the owner's attributes.
    pub(in crate::kms) fn borrowed_view(
        &self,
        records: &mut Records<'_>,
        mut object: Object,
    ) -> Result<Option<ObjectView>> {
        let certificate = object.certificate.map(|id| records.certificate(id)).transpose()?.flatten();
        let Some(certificate) = certificate else { return Ok(None) };
        let Some(original) = self.original(records, &certificate)? else { return Ok(None) };
        let Original { realm, key, version, usable, .. } = original;
        let usable = usable && object.shown;
        let (key, version) = if object.class == Class::Certificate {
            (None, None)
        } else {
            let query = Query { version: Some(version.id), class: Some(object.class), ..Query::default() };
            let theirs = records.elsewhere(realm, |there| there.find_objects(&query, 0, 1))?.pop();
            object.attributes = theirs.map(|theirs| theirs.attributes).unwrap_or_default();
            (Some(key), Some(version))
        };
        Ok(Some(ObjectView { object, key, version, certificate: Some(certificate), aliases: Vec::new(), usable }))
    }
}

/// Does it stand for a shared certificate or its key? Only such an object has a version and no key of this account.
pub(in crate::kms) fn is_borrowed(object: &Object) -> bool {
    object.key.is_none() && object.version.is_some() && object.certificate.is_some()
}

/// None for a token that is not there or waits for a PIN.
fn reachable<T>(opened: Result<T>) -> Result<Option<T>> {
    match opened {
        Err(Error::Locked | Error::Config { .. }) => Ok(None),
        other => other.map(Some),
    }
}
