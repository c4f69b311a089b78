//! Import in the device: a wrapping pair that is made there, and key material that is unwrapped there. What is imported is
//! never in this process (S004-148).

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Hsm;
use super::arguments::{Attribute, Mechanism, Parameter};
use super::calls::Failed;
use super::healthy;
use super::profile::{hash_numbers, mechanism_name};
use super::recover::Fault;
use super::session::Session;
use super::templates;
use crate::error::{Error, Result};
use crate::model::hash::Hash;
use crate::model::key::Material;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::{Generated, Protection, Usages};

/// How the material was wrapped with the public half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unwrapping {
    Oaep(Hash),
    /// Off in devices but for this: a wrong padding is told apart by what the device answers (DESIGN §7).
    Pkcs1,
}

impl Unwrapping {
    pub(super) fn mechanism(self) -> Mechanism<'static> {
        match self {
            Self::Pkcs1 => Mechanism { id: CKM_RSA_PKCS, parameter: Parameter::None },
            Self::Oaep(hash) => {
                let (digest, mgf, _) = hash_numbers(hash);
                Mechanism { id: CKM_RSA_PKCS_OAEP, parameter: Parameter::Oaep { hash: digest, mgf, label: &[] } }
            }
        }
    }
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
        let profile = self.device.profile()?;
        let mechanism = unwrapping.mechanism().id;
        if let Unwrapping::Oaep(hash) = unwrapping
            && !profile.takes_oaep(hash, hash, &[])
        {
            return Err(self.device.lacks(format!("{} with {hash:?}", mechanism_name(mechanism))));
        }
        self.device.run(&healthy, |session| match session.connection.does(mechanism, CKF_UNWRAP) {
            true => Ok(()),
            false => Err(Fault::Stop(self.device.lacks(format!("C_UnwrapKey with {}", mechanism_name(mechanism))))),
        })
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
            let pair = self.wrapper(session, wrapper)?;
            if !session.find(&templates::search(CKO_SECRET_KEY, id.as_bytes()), 1)?.is_empty() {
                return Err(Fault::Stop(Error::Internal(format!("the token has an object with the CKA_ID {id}"))));
            }
            let turn = session.alone_on_token().map_err(Fault::Stop)?;
            let key = session
                .unwrap(&unwrapping.mechanism(), pair, wrapped, template)
                .map_err(|failed| Fault::Stop(self.not_unwrapped(failed)))?;
            drop(turn);
            let facts: Vec<Attribute> =
                template.iter().filter(|attribute| attribute.id != CKA_UNWRAP_TEMPLATE).cloned().collect();
            self.compare(session, key, &facts).map_err(Fault::Stop)?;
            let again = |template: &[_]| session.unwrap_here(&unwrapping.mechanism(), pair, wrapped, template);
            self.check_length(session, key, (spec, template), &again)?;
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

    pub(super) fn wrapper(&self, session: &Session, id: Uuid) -> Result<CK_OBJECT_HANDLE, Fault> {
        match session.find(&templates::search(CKO_PRIVATE_KEY, id.as_bytes()), 2)?[..] {
            [pair] => Ok(pair),
            _ => Err(Fault::Stop(Error::KeyNotFound(format!("{id} on device {}", self.name())))),
        }
    }

    pub(super) fn not_unwrapped(&self, failed: Failed) -> Error {
        match failed.rv {
            // That it can unwrap in this way was asked before: other errors are about what there is to unwrap.
            CKR_MECHANISM_INVALID | CKR_FUNCTION_NOT_SUPPORTED | CKR_MECHANISM_PARAM_INVALID => {
                self.device.lacks("C_UnwrapKey of this kind")
            }
            CKR_DEVICE_REMOVED | CKR_TOKEN_NOT_PRESENT | CKR_SESSION_HANDLE_INVALID | CKR_DEVICE_MEMORY => {
                self.device.error(failed)
            }
            _ => Error::Ciphertext,
        }
    }
}
