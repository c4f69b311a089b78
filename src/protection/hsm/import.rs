//! Import in the device: a wrapping pair that is made there, and key material that is unwrapped there. What is imported is
//! never in this process (S004-148).
//!
//! RSA around an AES key around the material is CKM_RSA_AES_KEY_WRAP (PKCS#11 3.2 §6.1.25). A device that lacks it does it
//! in two steps: RSA's part becomes an AES key of the session that can unwrap and nothing else, and that unwraps the rest
//! (RFC 5649). Who imports knows that AES key, since he made it; it is gone from the device whatever came of the import.

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Hsm;
use super::arguments::{Attribute, Mechanism, Parameter};
use super::calls::{Answer, Failed};
use super::connection::Connection;
use super::healthy;
use super::profile::{Class, hash_numbers, mechanism_name};
use super::recover::Fault;
use super::session::Session;
use super::templates;
use crate::error::{Error, Result};
use crate::model::hash::Hash;
use crate::model::key::Material;
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::{Generated, Protection, Usages};

/// How the material was wrapped with the public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unwrapping {
    Oaep(Hash),
    /// Off in devices but for this: a wrong padding is told apart by what the device answers (DESIGN §7).
    Pkcs1,
    /// OAEP around an AES key of [`RSA_AES_BITS`] around the material.
    RsaAes(Hash),
}

/// How long the AES key between RSA and the material is.
pub const RSA_AES_BITS: usize = 256;
/// RFC 5649 fills up to whole ones of these, in bytes, and puts one before them.
const SEMIBLOCK: usize = 8;

impl Unwrapping {
    /// What the API calls those that it knows (S004-089; the last two are AWS KMS' words for what is our extension).
    pub const NAMES: [(Self, &'static str); 5] = [
        (Self::Pkcs1, "RSAES_PKCS1_V1_5"),
        (Self::Oaep(Hash::Sha1), "RSAES_OAEP_SHA_1"),
        (Self::Oaep(Hash::Sha256), "RSAES_OAEP_SHA_256"),
        (Self::RsaAes(Hash::Sha1), "RSA_AES_KEY_WRAP_SHA_1"),
        (Self::RsaAes(Hash::Sha256), "RSA_AES_KEY_WRAP_SHA_256"),
    ];

    pub(super) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Pkcs1 => Mechanism { id: CKM_RSA_PKCS, parameter: Parameter::None },
            Self::Oaep(hash) => {
                let (digest, mgf, _) = hash_numbers(hash);
                Mechanism { id: CKM_RSA_PKCS_OAEP, parameter: Parameter::Oaep { hash: digest, mgf, label: &[] } }
            }
            Self::RsaAes(hash) => {
                let (hash, mgf, _) = hash_numbers(hash);
                Mechanism { id: CKM_RSA_AES_KEY_WRAP, parameter: Parameter::RsaAes { bits: RSA_AES_BITS, hash, mgf } }
            }
        }
    }
}

/// How a device undoes a wrapping.
pub(super) enum Way {
    /// By one call.
    One(Mechanism<'static>),
    /// The outer one makes a key of the session, by which the inner one makes the key.
    Two { outer: Mechanism<'static>, inner: Mechanism<'static> },
}

impl Way {
    /// Whether it undoes nothing but what has the length of a key of this spec, to a semiblock: enough among keys of 16, 24
    /// and 32 bytes, of which no other works.
    pub(super) fn proves_length(&self, spec: Spec) -> bool {
        matches!(self, Self::Two { .. }) && matches!(spec.family, Family::Aes | Family::Sm4)
    }
}

/// RSA's part of what was wrapped in two, and that of the AES key in it, which is as long as a key of this spec makes it.
fn parts(wrapped: &[u8], spec: Spec) -> Option<(&[u8], &[u8])> {
    let inner = (spec.bits / 8).next_multiple_of(SEMIBLOCK) + SEMIBLOCK;
    wrapped.split_at_checked(wrapped.len().checked_sub(inner)?)
}

/// A pair in one device, or in each of several, that can do nothing but unwrap.
pub(super) fn wrapping_pair(protection: &impl Protection, id: Uuid, spec: Spec) -> Result<(Material, PublicKey)> {
    let usages = Usages { unwrap: true, ..Usages::default() };
    let Generated { material, public } = protection.generate(id, spec, usages)?;
    let public = public.ok_or_else(|| Error::Internal("a wrapping pair without public key".to_owned()))?;
    Ok((material, public))
}

impl Hsm {
    /// Refuses, naming what is missing, an import of this kind.
    pub fn takes_over(&self, spec: Spec, unwrapping: Unwrapping) -> Result<()> {
        if let Some(agent) = &self.agent {
            return agent.takes_over(spec, unwrapping);
        }
        self.supports(spec)?;
        self.device.run(&healthy, |session| self.way(&session.connection, unwrapping).map(drop).map_err(Fault::Stop))
    }

    /// How the device undoes this wrapping; what it lacks, if it cannot.
    pub(super) fn way(&self, connection: &Connection, unwrapping: Unwrapping) -> Result<Way> {
        let profile = self.device.profile()?;
        let unwraps = |id: &CK_MECHANISM_TYPE| connection.does(*id, CKF_UNWRAP);
        let mechanism = unwrapping.mechanism();
        if let Unwrapping::Oaep(hash) | Unwrapping::RsaAes(hash) = unwrapping
            && !profile.takes_oaep(hash, hash, &[])
        {
            return Err(self.device.lacks(format!("{} with {hash:?}", mechanism_name(CKM_RSA_PKCS_OAEP))));
        }
        if unwraps(&mechanism.id) {
            return Ok(Way::One(mechanism));
        }
        let lacks = format!("C_UnwrapKey with {}", mechanism_name(mechanism.id));
        let Unwrapping::RsaAes(hash) = unwrapping else { return Err(self.device.lacks(lacks)) };
        let outer = Unwrapping::Oaep(hash).mechanism();
        // Two numbers, the same RFC 5649 in practice.
        let inner = [CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD].into_iter().find(unwraps);
        let missing = match inner {
            _ if !unwraps(&outer.id) => mechanism_name(outer.id),
            None => mechanism_name(CKM_AES_KEY_WRAP_KWP),
            Some(_) if !profile.session_objects => "objects of a session".to_owned(),
            Some(id) => return Ok(Way::Two { outer, inner: Mechanism { id, parameter: Parameter::None } }),
        };
        Err(self.device.lacks(format!("{lacks}, and for two steps in its place {missing}")))
    }

    /// Undoes a wrapping: `make` makes the key by this mechanism and this key of the device. What is in between, if
    /// anything is, is gone afterwards.
    pub(super) fn undo(
        &self,
        session: &Session,
        (pair, way): (Uuid, &Way),
        (wrapped, spec): (&[u8], Spec),
        make: impl FnOnce(&Mechanism<'_>, CK_OBJECT_HANDLE, &[u8]) -> Result<Answer<CK_OBJECT_HANDLE>, Fault>,
    ) -> Result<CK_OBJECT_HANDLE, Fault> {
        let private = self.wrapper(session, pair)?;
        let wrong = |failed| self.not_unwrapped(session, pair, failed);
        let (outer, inner) = match way {
            Way::One(mechanism) => {
                return make(mechanism, private, wrapped)?.map_err(|failed| Fault::Stop(wrong(failed)));
            }
            Way::Two { outer, inner } => (outer, inner),
        };
        let Some((outside, inside)) = parts(wrapped, spec) else { return Err(Fault::Stop(Error::Ciphertext)) };
        let unsent = &self.device.profile().map_err(Fault::Stop)?.unsent;
        // What was made and answered as failed has no handle: it goes with the session.
        let between = session
            .unwrap_here(outer, private, outside, &templates::passing_unwrapper(unsent))
            .map_err(|failed| Fault::End(wrong(failed)))?;
        let made = make(inner, between, inside).and_then(|made| made.map_err(|failed| Fault::Stop(wrong(failed))));
        match (made, session.destroy(between)) {
            (made, Ok(())) => made,
            (Err(Fault::Stop(error)), Err(_)) => Err(Fault::End(error)),
            (_, Err(failed)) => Err(Fault::End(self.device.error(failed))),
        }
    }

    /// A pair in the device that can do nothing but unwrap.
    pub fn wrapping_pair(&self, id: Uuid, spec: Spec) -> Result<(Material, PublicKey)> {
        wrapping_pair(self, id, spec)
    }

    /// Unwraps in the device what was wrapped for the pair `wrapper`, as a new secret with the CKA_ID of `id`.
    /// `Error::Ciphertext` for whatever the device cannot unwrap. On an error nothing is left behind.
    pub fn unwrap(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        (id, spec, usages): (Uuid, Spec, Usages),
    ) -> Result<Material> {
        if let Some(agent) = &self.agent {
            return agent.unwrap(wrapper, unwrapping, wrapped, (id, spec, usages));
        }
        let template = self.template(id, spec, usages)?.unwrapping();
        let serial = self.take_in(wrapper, unwrapping, wrapped, (id, spec), &template, |_, _| Ok(()))?;
        Ok(Material::Device { device: self.name().to_owned(), serial, id: id.as_bytes().to_vec() })
    }

    /// The same for this session only. What the device made and answered as failed goes with the session.
    pub(super) fn undo_here(
        &self,
        session: &Session,
        from: (Uuid, &Way),
        what: (&[u8], Spec),
        template: &[Attribute],
    ) -> Result<CK_OBJECT_HANDLE, Fault> {
        let made = self.undo(session, from, what, |mechanism, unwrapping, wrapped| {
            Ok(session.unwrap_here(mechanism, unwrapping, wrapped, template))
        });
        made.map_err(Fault::ending)
    }

    /// Unwraps by this template. `prove` looks at what was made. Answers the token's serial number.
    pub(super) fn take_in(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        (id, spec): (Uuid, Spec),
        template: &[Attribute],
        prove: impl Fn(&Session, CK_OBJECT_HANDLE) -> Result<(), Fault>,
    ) -> Result<String> {
        let made = self.device.run(&healthy, |session| {
            session.connection.touch_device(session.handle)?;
            let way = self.way(&session.connection, unwrapping).map_err(Fault::Stop)?;
            if !session.find(templates::search(CKO_SECRET_KEY, id.as_bytes()), 1)?.is_empty() {
                return Err(Fault::Stop(Error::Internal(format!("the token has an object with the CKA_ID {id}"))));
            }
            let key = self.undo(session, (wrapper, &way), (wrapped, spec), |mechanism, unwrapping, wrapped| {
                let _turn = session.alone_on_token().map_err(Fault::Stop)?;
                Ok(session.unwrap(mechanism, unwrapping, wrapped, template))
            })?;
            let facts: Vec<Attribute> =
                template.iter().filter(|attribute| attribute.id != CKA_UNWRAP_TEMPLATE).cloned().collect();
            self.compare(session, key, &facts).map_err(Fault::Stop)?;
            if way.proves_length(spec) {
                self.check_told_length(session, key, spec)?;
            } else {
                let again = |template: &[_]| self.undo_here(session, (wrapper, &way), (wrapped, spec), template);
                self.check_length(session, key, (spec, template), &again)?;
            }
            prove(session, key)?;
            Ok(session.connection.token.serial.clone())
        });
        made.inspect_err(|_| {
            let left = self.device.run(&healthy, |session| self.erase(session, id.as_bytes()));
            if let Err(left) = left {
                tracing::warn!(device = self.name(), %id, error = %left, "an import that failed may be left behind");
            }
        })
    }

    fn wrapper(&self, session: &Session, id: Uuid) -> Result<CK_OBJECT_HANDLE, Fault> {
        match session.find(templates::search(CKO_PRIVATE_KEY, id.as_bytes()), 2)?[..] {
            [] => Err(Fault::Missing(id.as_bytes().to_vec())),
            [pair] => Ok(pair),
            _ => Err(Fault::Stop(self.device.unavailable("there is more than one of a wrapping pair"))),
        }
    }

    /// One error for all that is wrong with what there is to unwrap, whichever step it was: no question about a padding is
    /// answered. It is the material's fault only if the device still has the pair.
    fn not_unwrapped(&self, session: &Session, pair: Uuid, failed: Failed) -> Error {
        tracing::debug!(device = self.name(), failed.rv, "key material was not unwrapped");
        match (failed.rv, self.device.class(failed)) {
            (CKR_MECHANISM_INVALID | CKR_FUNCTION_NOT_SUPPORTED | CKR_MECHANISM_PARAM_INVALID, _) => {
                self.device.lacks("C_UnwrapKey of this kind")
            }
            (_, Class::Permanent | Class::Suspect) => {
                let is_there = session.connection.touch_device(session.handle).map_err(Fault::from);
                match is_there.and_then(|()| self.wrapper(session, pair)) {
                    Ok(_) => Error::Ciphertext,
                    Err(_) => self.device.unavailable(format!("{} answered 0x{:08x}", failed.call, failed.rv)),
                }
            }
            _ => self.device.error(failed),
        }
    }
}
