//! RAM: users, policies, and what a user may see.

use std::sync::Arc;

use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::model::caller::{Caller, Identity, Permissions};
use crate::model::hash::Hash;
use crate::model::object::{Class, Object};
use crate::model::policy::{Document, Policy, User, check_name};
use crate::seal::slot::SlotKind;
use crate::store::{Listed, Page, Records};

/// The policies that are there without being made: name and document. Named as the cloud names them.
const SYSTEM: &[(&str, &str)] = &[
    (
        "AliyunKMSCryptoUserAccess",
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*","Action":["kms:Encrypt","kms:Decrypt",
        "kms:GenerateDataKey","kms:GenerateDataKeyWithoutPlaintext","kms:GenerateAndExportDataKey","kms:ExportDataKey",
        "kms:ReEncrypt","kms:AsymmetricEncrypt","kms:AsymmetricDecrypt","kms:AsymmetricSign","kms:AsymmetricVerify",
        "kms:GenerateMac","kms:VerifyMac",
        "kms:GetPublicKey","kms:CertificatePrivateKeySign","kms:CertificatePrivateKeyDecrypt",
        "kms:CertificatePublicKeyEncrypt","kms:CertificatePublicKeyVerify","kms:GetCertificate"]}]}"#,
    ),
    ("AliyunKMSFullAccess", r#"{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*","Action":"kms:*"}]}"#),
    (
        "AliyunKMSReadOnlyAccess",
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Resource":"*",
        "Action":["kms:Describe*","kms:List*","kms:GetPublicKey","kms:GetCertificate","kms:GetKeyPolicy"]}]}"#,
    ),
];

fn system(name: &str) -> Option<&'static str> {
    SYSTEM.iter().find(|(known, _)| *known == name).map(|(_, document)| *document)
}

/// Is this the name of a policy that is there without being made?
pub fn is_system(name: &str) -> bool {
    system(name).is_some()
}

/// A user's slot is found by its name before anything is opened.
fn slot_of(name: &str) -> SlotKind {
    let digest = crate::crypto::digest::hash(Hash::Sha256, name.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    SlotKind::RamUser(Uuid::from_bytes(id))
}

pub(super) fn no_user(name: &str) -> Error {
    Error::EntityNotFound { kind: "User", name: name.to_owned() }
}

fn no_policy(name: &str) -> Error {
    Error::EntityNotFound { kind: "Policy", name: name.to_owned() }
}

impl Kms {
    /// The caller that a RAM user is, with its policies as they are now.
    pub fn as_user(&self, name: &str) -> Result<Caller> {
        let documents = self.store.read(&self.open()?.realm, |r| {
            let user = r.user(name)?.ok_or_else(|| no_user(name))?;
            let text = |policy: &String| match system(policy) {
                Some(document) => Ok(document.to_owned()),
                None => r.policy(policy)?.map(|policy| policy.document).ok_or_else(|| no_policy(policy)),
            };
            user.policies.iter().map(text).collect::<Result<Vec<_>>>()
        })?;
        let documents = documents.iter().map(|text| Document::parse(text)).collect::<Result<_>>()?;
        Ok(Caller::user(Arc::new(Permissions { user: name.to_owned(), documents })))
    }

    /// The holder of a user's PIN, which also opens the key-encryption key. A user without PIN, or that does not exist,
    /// is answered like a wrong PIN.
    pub fn login_as(&self, name: &str, pin: &[u8]) -> Result<Caller> {
        self.login_slot(slot_of(name), pin).map_err(|error| match error {
            Error::PinNotSet => Error::PinIncorrect,
            other => other,
        })?;
        self.as_user(name)
    }

    /// Has this user a PIN? Told without opening anything, so that `name:pin` can be told from a PIN with a colon.
    pub fn has_user_pin(&self, name: &str) -> Result<bool> {
        self.pin_state(slot_of(name)).map(|state| state.is_some())
    }

    /// C_SetPIN of a RAM user.
    pub fn change_user_pin(&self, name: &str, old: &[u8], new: &[u8]) -> Result<()> {
        self.set_pin(slot_of(name), old, new)
    }

    pub fn set_user_pin(&self, caller: &Caller, name: &str, pin: &[u8]) -> Result<()> {
        let _allowed = self.authorize(caller, "ram:UpdateLoginProfile", &self.realm.ram_arn("user", name))?;
        let opened = self.open()?;
        self.store.read(&opened.realm, |r| r.user(name))?.ok_or_else(|| no_user(name))?;
        self.replace_pin(slot_of(name), pin, &opened.realm.kek)
    }

    pub fn create_user(&self, caller: &Caller, name: &str, comments: &str) -> Result<User> {
        check_name("UserName", name)?;
        let _allowed = self.authorize(caller, "ram:CreateUser", &self.realm.ram_arn("user", "*"))?;
        let user = User {
            name: name.to_owned(),
            id: Uuid::new_v4(),
            comments: comments.to_owned(),
            created: self.now(),
            policies: Vec::new(),
            access_keys: Vec::new(),
        };
        let audit = self.audit(caller, "CreateUser", name);
        self.store.write(&self.open()?.realm, &audit, |r| {
            if r.user(name)?.is_some() {
                return Err(Error::EntityExists { kind: "User", name: name.to_owned() });
            }
            r.insert_user(&user)
        })?;
        Ok(user)
    }

    pub fn user(&self, caller: &Caller, name: &str) -> Result<User> {
        let _allowed = self.authorize(caller, "ram:GetUser", &self.realm.ram_arn("user", name))?;
        self.store.read(&self.open()?.realm, |r| r.user(name))?.ok_or_else(|| no_user(name))
    }

    pub fn users(&self, caller: &Caller, page: Page) -> Result<Listed<User>> {
        let _allowed = self.authorize(caller, "ram:ListUsers", &self.realm.ram_arn("user", "*"))?;
        self.store.read(&self.open()?.realm, |r| r.users(page))
    }

    /// Refused while policies are attached, as RAM does.
    pub fn delete_user(&self, caller: &Caller, name: &str) -> Result<()> {
        let _allowed = self.authorize(caller, "ram:DeleteUser", &self.realm.ram_arn("user", name))?;
        let opened = self.open()?;
        let audit = self.audit(caller, "DeleteUser", name);
        self.store.write(&opened.realm, &audit, |r| {
            let user = r.user(name)?.ok_or_else(|| no_user(name))?;
            if !user.policies.is_empty() {
                return Err(Error::DeleteConflict("detach the user's policies first".to_owned()));
            }
            if !user.access_keys.is_empty() {
                return Err(Error::DeleteConflict("delete the user's access keys first".to_owned()));
            }
            r.delete_user(name)
        })?;
        self.store.remove_slot(opened.realm.row.id, slot_of(name))
    }

    pub fn create_policy(&self, caller: &Caller, name: &str, document: &str, description: &str) -> Result<Policy> {
        check_name("PolicyName", name)?;
        Document::parse(document)?;
        let _allowed = self.authorize(caller, "ram:CreatePolicy", &self.realm.ram_arn("policy", "*"))?;
        let policy = Policy {
            name: name.to_owned(),
            description: description.to_owned(),
            document: document.to_owned(),
            created: self.now(),
        };
        let audit = self.audit(caller, "CreatePolicy", name);
        self.store.write(&self.open()?.realm, &audit, |r| {
            if system(name).is_some() || r.policy(name)?.is_some() {
                return Err(Error::EntityExists { kind: "Policy", name: name.to_owned() });
            }
            r.insert_policy(&policy)
        })?;
        Ok(policy)
    }

    pub fn policy(&self, caller: &Caller, name: &str) -> Result<Policy> {
        let _allowed = self.authorize(caller, "ram:GetPolicy", &self.realm.ram_arn("policy", name))?;
        self.store.read(&self.open()?.realm, |r| r.policy(name))?.ok_or_else(|| no_policy(name))
    }

    pub fn policies(&self, caller: &Caller, page: Page) -> Result<Listed<Policy>> {
        let _allowed = self.authorize(caller, "ram:ListPolicies", &self.realm.ram_arn("policy", "*"))?;
        self.store.read(&self.open()?.realm, |r| r.policies(page))
    }

    /// Refused while it is attached.
    pub fn delete_policy(&self, caller: &Caller, name: &str) -> Result<()> {
        let _allowed = self.authorize(caller, "ram:DeletePolicy", &self.realm.ram_arn("policy", name))?;
        let audit = self.audit(caller, "DeletePolicy", name);
        self.store.write(&self.open()?.realm, &audit, |r| {
            r.policy(name)?.ok_or_else(|| no_policy(name))?;
            let users = r.users(Page { offset: 0, limit: u64::from(u32::MAX) })?.items;
            if let Some(user) = users.iter().find(|user| user.policies.iter().any(|policy| policy == name)) {
                return Err(Error::DeleteConflict(format!("the policy is attached to the user {}", user.name)));
            }
            r.delete_policy(name)
        })
    }

    pub fn attach_policy(&self, caller: &Caller, policy: &str, user: &str) -> Result<()> {
        self.change_user(caller, "ram:AttachPolicyToUser", user, |r, user| {
            if system(policy).is_none() && r.policy(policy)?.is_none() {
                return Err(no_policy(policy));
            }
            if user.policies.iter().any(|attached| attached == policy) {
                return Err(Error::EntityExists { kind: "Policy", name: policy.to_owned() });
            }
            user.policies.push(policy.to_owned());
            Ok(())
        })
    }

    pub fn detach_policy(&self, caller: &Caller, policy: &str, user: &str) -> Result<()> {
        self.change_user(caller, "ram:DetachPolicyFromUser", user, |_, user| {
            let before = user.policies.len();
            user.policies.retain(|attached| attached != policy);
            if user.policies.len() == before { Err(no_policy(policy)) } else { Ok(()) }
        })
    }

    pub(super) fn change_user(
        &self,
        caller: &Caller,
        action: &'static str,
        name: &str,
        mut change: impl FnMut(&mut crate::store::Records<'_>, &mut User) -> Result<()>,
    ) -> Result<()> {
        let _allowed = self.authorize(caller, action, &self.realm.ram_arn("user", name))?;
        let audit = self.audit(caller, action.strip_prefix("ram:").unwrap_or(action), name);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut user = r.user(name)?.ok_or_else(|| no_user(name))?;
            change(r, &mut user)?;
            r.update_user(&user)
        })
    }

    /// May the caller use this object in any way? If not it is not there for it.
    pub(super) fn sees(&self, records: &mut Records<'_>, caller: &Caller, object: &Object) -> Result<bool> {
        // Chain certificates, data and public keys of others belong to the token as a whole.
        if *caller.identity() == Identity::Account || (object.key, object.certificate) == (None, None) {
            return Ok(true);
        }
        let actions: &[&'static str] = match object.class {
            Class::Certificate => &["GetCertificate", "DescribeCertificate", "AsymmetricSign"],
            Class::Data => &[],
            Class::PrivateKey => &["AsymmetricSign", "AsymmetricDecrypt"],
            Class::PublicKey => &["GetPublicKey", "AsymmetricVerify", "AsymmetricEncrypt"],
            Class::SecretKey => &["Encrypt", "Decrypt"],
        };
        for action in actions {
            match self.authorize_object(records, caller, action, object) {
                Err(Error::AccessDenied { .. }) => {}
                other => return other.map(|_| true),
            }
        }
        Ok(actions.is_empty())
    }

    /// Permission on what an object belongs to: its key, its certificate, or the token's keys as a whole.
    pub(super) fn authorize_object(
        &self,
        records: &mut Records<'_>,
        caller: &Caller,
        action: &'static str,
        object: &Object,
    ) -> Result<Allowed> {
        match (object.key.map(|id| records.key(id)).transpose()?.flatten(), object.certificate) {
            (Some(key), _) => self.authorize_key(caller, action, &key),
            (None, Some(certificate)) => self.authorize(caller, action, &self.realm.certificate_arn(certificate)),
            (None, None) => self.authorize(caller, action, &self.realm.container("key")),
        }
    }
}
