//! One key in several devices: how it comes to each of them, and is known there.
//!
//! A replication key is in each of the devices: AES, never extractable, good for nothing but wrapping and unwrapping, and
//! bound by its CKA_UNWRAP_TEMPLATE to make only keys that are sensitive and not extractable. A new key is born in one of
//! the devices as an object of a session, wrapped there, and gone; all that is ever on a token was unwrapped from that and
//! cannot be extracted. The wrapped key is kept, so that a device that was away can be given it later.

use std::cell::Cell;
use std::sync::Arc;

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use super::arguments::{Mechanism, Parameter};
use super::calls::Failed;
use super::import::Unwrapping;
use super::jobs::{Plan, Subject};
use super::key::{DeviceKey, place};
use super::length::{is_of_no_length, is_wrapped_length};
use super::pool::Device;
use super::profile::{Class, mechanism_name};
use super::recover::Fault;
use super::replication::Under;
use super::session::Session;
use super::templates::{self, New};
use super::{Hsm, VAGUE, healthy};
use crate::crypto::digest;
use crate::error::{Error, Result};
use crate::model::algorithm::{Cipher, Job, Mac};
use crate::model::hash::Hash;
use crate::model::key::Material;
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::Usages;

/// What a secret is asked for, to be known again.
const CHALLENGE: &[u8] = b"alikms-pkcs11 copy of a key 1";
/// A wrapped key is shorter: that of RSA with 4,096 bits has 2,400 bytes.
pub(super) const LONGEST: usize = 8192;

/// How a key comes to a device that lacks it, and is known in one that has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copies {
    pub(super) usages: Usages,
    /// SHA-256 of what a secret makes of a fixed block; a pair is known by its public key.
    answer: Option<[u8; 32]>,
    /// None: the devices replicate by themselves.
    pub(super) wrapped: Option<Wrapped>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wrapped {
    /// CKA_ID of the replication key.
    under: Uuid,
    pub(super) bytes: Vec<u8>,
}

/// As it is stored. A form that was released is never changed: what comes next is a new one.
#[derive(Serialize, Deserialize)]
enum Form {
    First(Copies),
}

impl Copies {
    /// Of a key that devices replicate by themselves. `work`: does a job with it.
    pub(super) fn replicated(
        id: Uuid,
        spec: Spec,
        usages: Usages,
        work: impl FnOnce(&Job, &[u8]) -> Result<crate::model::Bytes>,
    ) -> Result<Self> {
        let answer = match question(spec, usages) {
            Some(job) => Some(digested(&work(&job, &challenge(id.as_bytes()))?)),
            None => None,
        };
        Ok(Self { usages, answer, wrapped: None })
    }

    /// None for a key that is in one device only.
    pub(super) fn of(material: &Material) -> Result<Option<Self>> {
        let Material::Copies { how, .. } = material else { return Ok(None) };
        Self::decode(how).map(Some)
    }

    pub(super) fn decode(how: &[u8]) -> Result<Self> {
        match postcard::from_bytes(how) {
            Ok(Form::First(copies)) => Ok(copies),
            Err(_) => Err(Error::corrupt("how a key is copied cannot be read")),
        }
    }

    pub(super) fn encode(self) -> Result<Vec<u8>> {
        postcard::to_allocvec(&Form::First(self)).map_err(|error| Error::Internal(error.to_string()))
    }

    pub(super) fn material(self, id: Uuid) -> Result<Material> {
        Ok(Material::Copies { id: id.as_bytes().to_vec(), how: self.encode()? })
    }

    /// That a secret is the recorded one. None: there is nothing to compare.
    pub(super) fn knows(
        &self,
        device: &Device,
        session: &Session,
        key: CK_OBJECT_HANDLE,
        (id, spec): (&[u8], Spec),
    ) -> Result<Option<bool>, Fault> {
        let Some(recorded) = &self.answer else { return Ok(None) };
        let own = answer(device, session, key, (id, spec, self.usages))?;
        Ok(Some(own.is_some_and(|own| own.ct_eq(recorded).into())))
    }
}

/// What a secret that may do this is asked, to be known by its answer.
fn question(spec: Spec, usages: Usages) -> Option<Job> {
    match spec.family {
        Family::Aes if usages.encrypt => Some(Job::Encrypt(Cipher::AesEcb)),
        Family::Aes if usages.decrypt => Some(Job::Decrypt(Cipher::AesEcb)),
        Family::Aes if usages.sign => Some(Job::Mac(Mac::AesCmac)),
        Family::Generic if usages.sign => Some(Job::Mac(Mac::Hmac(templates::mac_hash(spec)))),
        Family::Sm4 if usages.encrypt => Some(Job::Encrypt(Cipher::Sm4Ecb)),
        Family::Sm4 if usages.decrypt => Some(Job::Decrypt(Cipher::Sm4Ecb)),
        _ => None,
    }
}

/// One block, another one for each key.
fn challenge(id: &[u8]) -> Vec<u8> {
    let mut block = digest::hash(Hash::Sha256, &[CHALLENGE, id].concat());
    block.truncate(16);
    block
}

fn digested(answer: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.iter_mut().zip(digest::hash(Hash::Sha256, answer)).for_each(|(place, byte)| *place = byte);
    out
}

fn answer(
    device: &Device,
    session: &Session,
    key: CK_OBJECT_HANDLE,
    (id, spec, usages): (&[u8], Spec, Usages),
) -> Result<Option<[u8; 32]>, Fault> {
    let Some(job) = question(spec, usages) else { return Ok(None) };
    let block = challenge(id);
    let subject = Subject { spec, public: None };
    let plan = Plan::new(device, &session.connection, subject, &job, &block).map_err(Fault::Stop)?;
    let made = session.act(plan.act, &plan.mechanism, key, &plan.input, place(plan.room)?)?;
    let made = plan.finish(device, made, &[0; 32]).map_err(Fault::Stop)?;
    Ok(Some(digested(&made)))
}

/// What was made to be copied, and its public key.
type Newborn = (Copies, Option<PublicKey>);

impl Hsm {
    /// Refuses a key that could not be told from another one in its place.
    pub(super) fn can_be_known(&self, spec: Spec, usages: Usages) -> Result<()> {
        let known = match spec.family {
            Family::Aes | Family::Generic | Family::Sm4 => question(spec, usages).is_some(),
            Family::Ec(_) => usages.sign,
            Family::Rsa => true,
        };
        if known {
            return Ok(());
        }
        let lacking = "a way to know this key again in several devices: it would have to sign, encrypt or decrypt";
        Err(self.device.lacks(lacking))
    }

    /// Makes a key that is only wrapped: nothing of it stays in the device.
    pub fn make_wrapped(&self, id: Uuid, spec: Spec, usages: Usages, under: &Under) -> Result<Newborn> {
        if let Some(agent) = &self.agent {
            return agent.make_wrapped(id, spec, usages, under);
        }
        self.can_be_known(spec, usages)?;
        self.device.run(&healthy, |session| {
            let connection = &session.connection;
            self.can(connection, spec)
                .and_then(|()| self.can_be_used(connection, spec, usages))
                .map_err(Fault::Stop)?;
            let wrapping = self.proven(session, under)?;
            let new = self.template(id, spec, usages).map_err(Fault::Stop)?.passing();
            let (public, private) = self.make_here(session, spec, &new)?;
            let wrapped = self.wrap_up(session, wrapping, private, (id, spec, usages), under.id()).and_then(|copies| {
                let parts = match public {
                    Some(public) => session.attributes(public, &templates::public_parts(spec.family))?,
                    None => return Ok((copies, None)),
                };
                match templates::public_key(spec.family, &parts) {
                    Ok(Some(key)) if key.bits() == spec.bits => Ok((copies, Some(key))),
                    _ => Err(Fault::Stop(self.device.lacks(format!("a public key for a new {}", spec.name)))),
                }
            });
            let gone = [Some(private), public].into_iter().flatten().map(|object| session.destroy(object));
            let gone: Result<Vec<()>, Failed> = gone.collect();
            gone.map_err(|failed| self.device.not_gone(failed))?;
            wrapped
        })
    }

    /// In this session only.
    pub(super) fn make_here(
        &self,
        session: &Session,
        spec: Spec,
        new: &New,
    ) -> Result<(Option<CK_OBJECT_HANDLE>, CK_OBJECT_HANDLE), Fault> {
        let made = match session.generate_here(new) {
            Err(Failed { rv: CKR_ATTRIBUTE_TYPE_INVALID, .. }) => {
                session.generate_here(&new.without(&self.device.profile().map_err(Fault::Stop)?.optional))
            }
            made => made,
        };
        // Nothing was made, or it goes with the session: it may be tried again.
        made.map_err(|failed| match VAGUE.contains(&failed.rv) {
            true => Fault::Call(failed),
            false => Fault::Stop(self.refusal(failed, spec, new.mechanism)),
        })
    }

    fn wrap_up(
        &self,
        session: &Session,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        (id, spec, usages): (Uuid, Spec, Usages),
        under: Uuid,
    ) -> Result<Copies, Fault> {
        let answer = answer(&self.device, session, key, (id.as_bytes(), spec, usages))?;
        let bytes = self.wrap_key(session, wrapping, key)?;
        Ok(Copies { usages, answer, wrapped: Some(Wrapped { under, bytes }) })
    }

    fn wrap_key(&self, session: &Session, wrapping: CK_OBJECT_HANDLE, key: CK_OBJECT_HANDLE) -> Result<Vec<u8>, Fault> {
        let mechanism = self.key_wrap(session).map_err(Fault::Stop)?;
        let wrapped = session.wrap(&mechanism, wrapping, key, LONGEST);
        wrapped.map_err(|failed| self.not_wrapped(failed, mechanism.id))
    }

    /// RFC 5649, which has two numbers.
    pub(super) fn key_wrap(&self, session: &Session) -> Result<Mechanism<'static>> {
        let does =
            |id: &CK_MECHANISM_TYPE| session.connection.does(*id, CKF_WRAP) && session.connection.does(*id, CKF_UNWRAP);
        match [CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP].into_iter().find(does) {
            Some(id) => Ok(Mechanism { id, parameter: Parameter::None }),
            None => Err(self.device.lacks("CKM_AES_KEY_WRAP_PAD with C_WrapKey, to share keys with other devices")),
        }
    }

    /// What a device does not wrap at all it is not asked for again.
    pub(super) fn not_wrapped(&self, failed: Failed, mechanism: CK_MECHANISM_TYPE) -> Fault {
        match failed.rv {
            CKR_FUNCTION_NOT_SUPPORTED
            | CKR_KEY_NOT_WRAPPABLE
            | CKR_KEY_UNEXTRACTABLE
            | CKR_MECHANISM_INVALID
            | CKR_MECHANISM_PARAM_INVALID
            | CKR_WRAPPING_KEY_SIZE_RANGE
            | CKR_WRAPPING_KEY_TYPE_INCONSISTENT => {
                let name = mechanism_name(mechanism);
                Fault::Stop(self.device.lacks(format!("C_WrapKey of a sensitive key with {name}")))
            }
            _ => Fault::Call(failed),
        }
    }

    /// Gives the device its copy of a key, or finishes what was begun of that, and proves it. No error if it has one.
    pub fn take_copy(&self, id: Uuid, spec: Spec, public: Option<&PublicKey>, copies: &Copies) -> Result<()> {
        if let Some(agent) = &self.agent {
            return agent.take_copy(id, spec, public, copies);
        }
        let Some(Wrapped { under, bytes }) = &copies.wrapped else {
            return Err(self.device.unavailable(format!("key {id} has not been replicated to it")));
        };
        let new = self.template(id, spec, copies.usages)?;
        let key = DeviceKey::new(
            Arc::clone(&self.device),
            id.as_bytes().to_vec(),
            spec,
            public.cloned(),
            Some(copies.clone()),
        );
        let class = if spec.family.is_asymmetric() { CKO_PRIVATE_KEY } else { CKO_SECRET_KEY };
        let began = Cell::new(false);
        let taken = self.device.run(&healthy, |session| {
            session.connection.touch_device(session.handle)?;
            if session.find(templates::search(class, id.as_bytes()), 1)?.is_empty() {
                let wrapping = self.replication_key(session, *under)?;
                began.set(true);
                self.unwrap_copy(session, wrapping, bytes, spec, &new)?;
            }
            if let (Some(public), Some(half)) = (public, public.and_then(|public| new.public_half(public))) {
                self.show_public(session, id, public, spec, &half)?;
            }
            key.find(session).map(|_| ())
        });
        taken.map_err(|error| {
            if began.get() {
                let left = self.device.run(&healthy, |session| self.erase(session, id.as_bytes()));
                if let Err(left) = left {
                    tracing::warn!(device = self.name(), %id, error = %left, "a copy that failed may be left behind");
                }
            }
            match error {
                Error::KeyNotFound(key) if key == under.to_string() => {
                    self.device.unavailable(format!("it lacks the replication key {under}"))
                }
                error => error,
            }
        })
    }

    /// The same by what is stored of the key.
    pub fn catch_up(&self, id: Uuid, spec: Spec, material: &Material, public: Option<&PublicKey>) -> Result<()> {
        match Copies::of(material)? {
            Some(copies) => self.take_copy(id, spec, public, &copies),
            None => Err(Error::Internal(format!("key {id} is in one device only"))),
        }
    }

    fn unwrap_copy(
        &self,
        session: &Session,
        wrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        spec: Spec,
        new: &New,
    ) -> Result<(), Fault> {
        let mechanism = self.key_wrap(session).map_err(Fault::Stop)?;
        let turn = session.alone_on_token().map_err(Fault::Stop)?;
        let template = new.unwrapping();
        let object = match session.unwrap(&mechanism, wrapping, wrapped, &template) {
            Err(Failed { rv: CKR_ATTRIBUTE_TYPE_INVALID, .. }) => {
                let fewer = new.without(&self.device.profile().map_err(Fault::Stop)?.optional);
                session.unwrap(&mechanism, wrapping, wrapped, &fewer.unwrapping())
            }
            unwrapped => unwrapped,
        }?;
        drop(turn);
        self.compare(session, object, &template).map_err(Fault::Stop)?;
        match spec.family.is_asymmetric() {
            true => Ok(()),
            // That it had the right length when it was wrapped is known.
            false => self.check_told_length(session, object, spec).map(drop),
        }
    }

    /// The public half beside the private one, if it is not there.
    fn show_public(
        &self,
        session: &Session,
        id: Uuid,
        public: &PublicKey,
        spec: Spec,
        half: &[super::arguments::Attribute],
    ) -> Result<(), Fault> {
        if !session.find(templates::search(CKO_PUBLIC_KEY, id.as_bytes()), 1)?.is_empty() {
            return Ok(());
        }
        let turn = session.alone_on_token().map_err(Fault::Stop)?;
        let object = session.create(&turn, half)?;
        drop(turn);
        let parts = session.attributes(object, &templates::public_parts(spec.family))?;
        match templates::public_key(spec.family, &parts) {
            Ok(Some(own)) if own == *public => Ok(()),
            _ => Err(Fault::Stop(self.device.lacks("a public key as it was given to it"))),
        }
    }

    /// Takes over imported material to be copied: it is unwrapped for this session only and wrapped again.
    /// `Error::Ciphertext` for whatever the device cannot unwrap.
    pub fn rewrap(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        new: (Uuid, Spec, Usages),
        under: &Under,
    ) -> Result<Copies> {
        if let Some(agent) = &self.agent {
            return agent.rewrap(wrapper, unwrapping, wrapped, new, under);
        }
        let (id, spec, usages) = new;
        self.can_be_known(spec, usages)?;
        let template = self.template(id, spec, usages)?.passing().unwrapping();
        self.device.run(&healthy, |session| {
            let wrapping = self.proven(session, under)?;
            let way = self.way(&session.connection, unwrapping).map_err(Fault::Stop)?;
            let key = self.undo_here(session, (wrapper, &way), (wrapped, spec), &template)?;
            let made = self.wrap_material(session, wrapping, key, new, under.id());
            session.destroy(key).map_err(|failed| self.device.not_gone(failed))?;
            made
        })
    }

    /// What is wrong with the material shows here: where the device does not tell its length, how long it is when it is
    /// wrapped does, which is by a key that stays in the device.
    fn wrap_material(
        &self,
        session: &Session,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        new: (Uuid, Spec, Usages),
        under: Uuid,
    ) -> Result<Copies, Fault> {
        let (id, spec, usages) = new;
        let is_told = self.check_told_length(session, key, spec)?;
        let wrapped = match self.wrap_key(session, wrapping, key) {
            Err(Fault::Call(failed)) if !is_told && is_of_no_length(failed) => Err(Fault::Stop(Error::Ciphertext)),
            Ok(wrapped) if !is_told && !is_wrapped_length(wrapped.len(), spec) => Err(Fault::Stop(Error::Ciphertext)),
            wrapped => wrapped,
        };
        let bytes = wrapped?;
        let answer = match answer(&self.device, session, key, (id.as_bytes(), spec, usages)) {
            // It is no key of this family: 31 bytes for AES.
            Err(Fault::Call(failed)) if self.device.class(failed) == Class::Permanent => {
                Err(Fault::Stop(Error::Ciphertext))
            }
            answer => answer,
        };
        Ok(Copies { usages, answer: answer?, wrapped: Some(Wrapped { under, bytes }) })
    }
}
