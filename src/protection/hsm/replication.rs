//! Replication keys: how one comes to each device of a token, and proves each time that it is the one that came.
//! What they are for: `copies`.

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::calls::Failed;
use super::copies::{Copies, LONGEST, Wrapped};
use super::import::Unwrapping;
use super::profile::Class;
use super::recover::Fault;
use super::session::Session;
use super::templates;
use super::{Hsm, healthy};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::Usages;

/// A replication key: it does nothing else.
const REPLICATION: Usages =
    Usages { decrypt: false, derive: false, encrypt: false, sign: false, unwrap: true, verify: false, wrap: true };
const REPLICATION_SPEC: &str = "Aliyun_AES_256";

/// A replication key, and what proves that it is the one that was made: another one in its place might be somebody's who
/// waits for what is wrapped under it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Under {
    /// Its CKA_ID.
    id: Uuid,
    /// A secret that was wrapped under it when it was new. None: it is new.
    proof: Option<Copies>,
}

impl Under {
    /// `proof`: what [`Group::plant`](super::Group::plant) answered.
    pub fn new(id: Uuid, proof: &[u8]) -> Result<Self> {
        Ok(Self { id, proof: Some(Copies::decode(proof)?) })
    }

    /// Its CKA_ID.
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    pub(super) fn fresh(id: Uuid) -> Self {
        Self { id, proof: None }
    }
}

impl Hsm {
    pub(super) fn replication_key(&self, session: &Session, id: Uuid) -> Result<CK_OBJECT_HANDLE, Fault> {
        match session.find(templates::search(CKO_SECRET_KEY, id.as_bytes()), 2)?[..] {
            [] => Err(Fault::Missing(id.as_bytes().to_vec())),
            [key] if session.has_id(key, id.as_bytes())? => Ok(key),
            _ => Err(Fault::Stop(self.device.unavailable("there is more than one of its replication key"))),
        }
    }

    /// The replication key, if it can do what only the recorded one can.
    pub(super) fn proven(&self, session: &Session, under: &Under) -> Result<CK_OBJECT_HANDLE, Fault> {
        let wrapping = self.replication_key(session, under.id)?;
        let Some(proof) = &under.proof else { return Ok(wrapping) };
        let wrong = || Fault::Stop(self.device.unavailable("its replication key is not the recorded one"));
        let Some(Wrapped { bytes, .. }) = &proof.wrapped else { return Err(wrong()) };
        let spec = replication_spec().map_err(Fault::Stop)?;
        let template = self.template(under.id, spec, proof.usages).map_err(Fault::Stop)?.in_session().unwrapping();
        let mechanism = self.key_wrap(session).map_err(Fault::Stop)?;
        let probe = match session.unwrap_here(&mechanism, wrapping, bytes, &template) {
            Ok(probe) => probe,
            Err(failed) if matches!(self.device.class(failed), Class::Permanent | Class::Suspect) => {
                // A device that is out of order says so at once.
                session.connection.touch_device(session.handle)?;
                return Err(wrong());
            }
            Err(failed) => return Err(failed.into()),
        };
        let known = proof.knows(&self.device, session, probe, (under.id.as_bytes(), spec));
        session.destroy(probe)?;
        match known? {
            Some(true) => Ok(wrapping),
            _ => Err(wrong()),
        }
    }

    /// Makes what proves a replication key from now on.
    pub(super) fn proof_of(&self, replication: Uuid) -> Result<Copies> {
        let usages = Usages { encrypt: true, ..Usages::default() };
        let under = Under::fresh(replication);
        self.make_wrapped(replication, replication_spec()?, usages, &under).map(|(copies, _)| copies)
    }

    /// Whether the device has this replication key, and not another one in its place. Error::KeyNotFound if it has none.
    pub fn has_replication_key(&self, under: &Under) -> Result<()> {
        let usages = Usages { encrypt: true, ..Usages::default() };
        self.make_wrapped(Uuid::new_v4(), replication_spec()?, usages, under).map(drop)
    }

    /// Makes a replication key, which does not stay, and wraps it for each of these keys.
    pub fn seed(&self, publics: &[PublicKey], unwrapping: Unwrapping) -> Result<Vec<Vec<u8>>> {
        if let Some(agent) = &self.agent {
            return agent.seed(publics, unwrapping);
        }
        let (id, spec) = (Uuid::new_v4(), replication_spec()?);
        let new = self.template(id, spec, REPLICATION)?.passing();
        self.device.run(&healthy, |session| {
            self.key_wrap(session).map_err(Fault::Stop)?;
            let (_, key) = self.make_here(session, spec, &new)?;
            let wrap = |public: &PublicKey| {
                let template = templates::wrapping_half(public)
                    .ok_or_else(|| Fault::Stop(Error::Internal("a wrapping key that is not RSA".to_owned())))?;
                let other = session.create_here(&template)?;
                let wrapped = session.wrap(&unwrapping.mechanism(), other, key, LONGEST);
                session.destroy(other)?;
                wrapped.map_err(|failed| self.not_wrapped(failed, unwrapping.mechanism().id))
            };
            let wrapped: Result<Vec<Vec<u8>>, Fault> = publics.iter().map(wrap).collect();
            session.destroy(key).map_err(|failed| self.device.not_gone(failed))?;
            wrapped
        })
    }

    /// Takes over a replication key that was wrapped for the pair `wrapper`.
    pub fn receive(&self, wrapper: Uuid, unwrapping: Unwrapping, wrapped: &[u8], id: Uuid) -> Result<()> {
        if let Some(agent) = &self.agent {
            return agent.receive(wrapper, unwrapping, wrapped, id);
        }
        let spec = replication_spec()?;
        let mut template = self.template(id, spec, REPLICATION)?.unwrapping();
        template.push(templates::only_sensitive());
        self.take_in(wrapper, unwrapping, wrapped, (id, spec), &template, |session, key| {
            self.try_to_extract(session, key)
        })
        .map(drop)
    }

    /// A device that takes CKA_UNWRAP_TEMPLATE and does not heed it would give away every key that is copied.
    fn try_to_extract(&self, session: &Session, replication: CK_OBJECT_HANDLE) -> Result<(), Fault> {
        let (id, spec) = (Uuid::new_v4(), replication_spec().map_err(Fault::Stop)?);
        let usages = Usages { encrypt: true, ..Usages::default() };
        let new = self.template(id, spec, usages).map_err(Fault::Stop)?.passing();
        let mechanism = self.key_wrap(session).map_err(Fault::Stop)?;
        let (_, probe) = self.make_here(session, spec, &new)?;
        let wrapped = session.wrap(&mechanism, replication, probe, LONGEST);
        session.destroy(probe)?;
        match session.unwrap_here(&mechanism, replication, &wrapped?, &new.unwrapping()) {
            Err(Failed {
                rv: CKR_TEMPLATE_INCONSISTENT | CKR_ATTRIBUTE_VALUE_INVALID | CKR_ATTRIBUTE_READ_ONLY,
                ..
            }) => Ok(()),
            Err(failed) => Err(failed.into()),
            Ok(key) => {
                let read = session.attributes(key, &[(CKA_EXTRACTABLE, 1), (CKA_SENSITIVE, 1)]);
                session.destroy(key)?;
                let kept = |at: usize, wanted: u8, read: &[Option<Bytes>]| {
                    read.get(at).is_some_and(|byte| byte.as_ref().is_some_and(|byte| byte.as_slice() == [wanted]))
                };
                match read? {
                    read if kept(0, 0, &read) && kept(1, 1, &read) => Ok(()),
                    _ => Err(Fault::Stop(
                        self.device.lacks("CKA_UNWRAP_TEMPLATE, without which copied keys could be extracted"),
                    )),
                }
            }
        }
    }
}

pub(super) fn replication_spec() -> Result<Spec> {
    Spec::by_name(REPLICATION_SPEC).ok_or_else(|| Error::Internal("no spec for replication keys".to_owned()))
}
