//! Access keys of RAM users: an ID and a secret, by which a program proves whose requests it makes.

use subtle::ConstantTimeEq;

use crate::crypto::random;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::ram::no_user;
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::model::policy::{AccessKey, User};
use crate::store::Page;

/// RAM's own limit.
const MOST: usize = 2;
/// What an ID begins with, so that it is told from the cloud's.
const PREFIX: &str = "ALIKMS";
const ID_LENGTH: usize = 24;
const SECRET_LENGTH: usize = 30;
const PURPOSE: &str = "access key secret";
const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

impl Kms {
    /// A new access key, with its secret: nobody sees it again.
    pub fn create_access_key(&self, caller: &Caller, user: &str) -> Result<(AccessKey, Bytes)> {
        let id = format!("{PREFIX}{}", String::from_utf8_lossy(&letters(ID_LENGTH - PREFIX.len())));
        let secret = letters(SECRET_LENGTH);
        let sealed = self.open()?.realm.kek.seal(PURPOSE, id.as_bytes(), &[], &secret);
        let key = AccessKey { id, created: self.now(), active: true, sealed };
        self.change_user(caller, "ram:CreateAccessKey", user, |_, user| {
            if user.access_keys.len() >= MOST {
                return Err(Error::LimitExceeded(format!("{} has {MOST} access keys", user.name)));
            }
            user.access_keys.push(key.clone());
            Ok(())
        })?;
        Ok((key, secret))
    }

    pub fn update_access_key(&self, caller: &Caller, user: &str, id: &str, active: bool) -> Result<()> {
        self.change_user(caller, "ram:UpdateAccessKey", user, |_, user| {
            let key = user.access_keys.iter_mut().find(|key| key.id == id).ok_or_else(|| no_key(id))?;
            key.active = active;
            Ok(())
        })
    }

    pub fn delete_access_key(&self, caller: &Caller, user: &str, id: &str) -> Result<()> {
        self.change_user(caller, "ram:DeleteAccessKey", user, |_, user| {
            let before = user.access_keys.len();
            user.access_keys.retain(|key| key.id != id);
            if user.access_keys.len() == before { Err(no_key(id)) } else { Ok(()) }
        })
    }

    pub fn access_keys(&self, caller: &Caller, user: &str) -> Result<Vec<AccessKey>> {
        let _allowed = self.authorize(caller, "ram:ListAccessKeys", &self.realm.ram_arn("user", user))?;
        let found = self.store.read(&self.open()?.realm, |r| r.user(user))?;
        Ok(found.ok_or_else(|| no_user(user))?.access_keys)
    }

    /// Whose access key this is, and its secret. `Error::AccessKeyInactive` if it was switched off.
    pub fn access_key_secret(&self, id: &str) -> Result<(String, Bytes)> {
        let missing = || Error::EntityNotFound { kind: "AccessKeyId", name: id.to_owned() };
        let opened = self.open()?;
        let all = Page { offset: 0, limit: u64::from(u32::MAX) };
        let users: Vec<User> = self.store.read(&opened.realm, |r| r.users(all))?.items;
        let mut keys =
            users.into_iter().flat_map(|user| user.access_keys.into_iter().map(move |key| (user.name.clone(), key)));
        let (user, key) = keys.find(|(_, key)| key.id == id).ok_or_else(missing)?;
        if !key.active {
            return Err(Error::AccessKeyInactive);
        }
        let secret = opened.realm.kek.unseal(PURPOSE, key.id.as_bytes(), &[], &key.sealed)?;
        Ok((user, secret))
    }

    /// The holder of an access key. A wrong secret is answered like a wrong PIN.
    pub fn login_with_access_key(&self, id: &str, secret: &[u8]) -> Result<Caller> {
        let (user, known) = self.access_key_secret(id)?;
        if bool::from(known.as_slice().ct_eq(secret)) { self.as_user(&user) } else { Err(Error::PinIncorrect) }
    }
}

fn no_key(id: &str) -> Error {
    Error::EntityNotFound { kind: "AccessKey", name: id.to_owned() }
}

/// `count` random letters and digits, all equally likely.
fn letters(count: usize) -> Bytes {
    let mut out = Vec::with_capacity(count);
    while out.len() < count {
        let [byte] = random::bytes::<1>();
        let index = usize::from(byte);
        if index < LETTERS.len() * 4 {
            out.push(LETTERS[index % LETTERS.len()]);
        }
    }
    Bytes::new(out)
}
