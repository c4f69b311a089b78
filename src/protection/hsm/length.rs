//! How long a secret is that the device unwrapped (S004-087).
//!
//! Most devices tell. SoftHSM 2.6 answers 0 for every secret that it unwrapped, and AES works with a shorter key as well;
//! what the key encrypts does not tell its length. So the device is made to prove it: it unwraps the material once more,
//! for this session, and wraps that copy under a key that it makes for the purpose and forgets. How long the wrapped copy is
//! tells how long the material is, and what comes out is of no use to anybody, since that key never leaves the device.

use cryptoki_sys::*;

use super::Hsm;
use super::arguments::{Attribute, Mechanism, Parameter};
use super::calls::Failed;
use super::recover::Fault;
use super::session::Session;
use super::templates;
use crate::error::Error;
use crate::model::spec::{Family, Spec};

/// In bytes; a wrapping adds one (RFC 3394, RFC 5649).
const BLOCK: usize = 8;
/// More than any secret has bytes that is wrapped here.
const ROOM: usize = 65_536;

/// Unwraps the material again, by this template.
pub type Again<'a> = &'a dyn Fn(&[Attribute]) -> Result<CK_OBJECT_HANDLE, Fault>;

impl Hsm {
    /// `Error::Ciphertext` if the secret `key`, made by `template`, is not as long as its spec says; `Error::DeviceLacks`
    /// if the device can neither tell nor prove it.
    pub(super) fn check_length(
        &self,
        session: &Session,
        key: CK_OBJECT_HANDLE,
        (spec, template): (Spec, &[Attribute]),
        again: Again<'_>,
    ) -> Result<(), Fault> {
        if self.check_told_length(session, key, spec)? || self.has_length(session, spec, template, again)? {
            return Ok(());
        }
        Err(Fault::Stop(Error::Ciphertext))
    }

    /// The same if the device tells, which is what is answered.
    pub(super) fn check_told_length(
        &self,
        session: &Session,
        key: CK_OBJECT_HANDLE,
        spec: Spec,
    ) -> Result<bool, Fault> {
        match self.told_length(session, key)? {
            None => Ok(false),
            Some(length) if length * 8 == spec.bits => Ok(true),
            Some(_) => Err(Fault::Stop(Error::Ciphertext)),
        }
    }

    /// In bytes. None: the device does not know.
    fn told_length(&self, session: &Session, key: CK_OBJECT_HANDLE) -> Result<Option<usize>, Fault> {
        let width = size_of::<CK_ULONG>();
        let read = session.attributes(key, &[(CKA_VALUE_LEN, width)]).map_err(|failed| self.stop(failed))?;
        let length = read.into_iter().next().flatten();
        let length = length.and_then(|bytes| <[u8; size_of::<CK_ULONG>()]>::try_from(bytes.as_slice()).ok());
        let length = length.map(CK_ULONG::from_ne_bytes).filter(|length| *length > 0);
        Ok(length.map(|length| usize::try_from(length).unwrap_or(usize::MAX / 8)))
    }

    /// Whether a copy of the secret, wrapped in the device, is as long as that of a secret of this spec.
    fn has_length(
        &self,
        session: &Session,
        spec: Spec,
        template: &[Attribute],
        again: Again<'_>,
    ) -> Result<bool, Fault> {
        let is_enough = matches!(spec.family, Family::Aes | Family::Sm4);
        let wrap = [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP]
            .into_iter()
            .find(|id| is_enough && session.connection.does(*id, CKF_WRAP));
        let has_objects = self.device.profile().map_err(Fault::Stop)?.session_objects;
        let Some(id) = wrap.filter(|_| has_objects) else {
            return Err(Fault::Stop(
                self.device.lacks("telling how long a secret is that it unwrapped (CKA_VALUE_LEN)"),
            ));
        };
        let wrapper = session.passing_wrapper().map_err(|failed| self.stop(failed))?;
        let copy = again(&templates::passing(template));
        let wrapped = copy.map(|copy| {
            let mechanism = Mechanism { id, parameter: Parameter::None };
            let wrapped = session.wrap(&mechanism, wrapper, copy, ROOM);
            (wrapped, session.destroy(copy))
        });
        let gone = session.destroy(wrapper);
        let (wrapped, copy_gone) = wrapped.map_err(|fault| self.stopped(fault))?;
        copy_gone.map_err(|failed| Fault::End(self.device.error(failed)))?;
        let length = match wrapped {
            Ok(wrapped) => wrapped.len(),
            Err(failed) if is_of_no_length(failed) => 0,
            Err(failed) => return Err(self.stop(failed)),
        };
        gone.map_err(|failed| self.stop(failed))?;
        Ok(is_wrapped_length(length, spec))
    }

    /// The import ends: done again, it would find what it made before.
    fn stop(&self, failed: Failed) -> Fault {
        Fault::Stop(self.device.error(failed))
    }

    fn stopped(&self, fault: Fault) -> Fault {
        match fault {
            Fault::Call(failed) => self.stop(failed),
            Fault::Missing(_) => Fault::Stop(self.device.unavailable("its keys are not to be seen")),
            told => told,
        }
    }
}

/// Whether a secret is as long as its spec says whose wrapped form has `length` bytes. All wrappings fill up the last block
/// (PKCS#11 3.2, AES Key Wrap), so that the length is told to 8 bytes: enough among keys of 16, 24 and 32 bytes, of which no
/// other works.
pub fn is_wrapped_length(length: usize, spec: Spec) -> bool {
    matches!(spec.family, Family::Aes | Family::Sm4) && length == spec.bits / 8 + BLOCK
}

/// Too short to be wrapped, or no whole number of blocks.
pub fn is_of_no_length(failed: Failed) -> bool {
    matches!(failed.rv, CKR_DATA_LEN_RANGE | CKR_KEY_NOT_WRAPPABLE | CKR_KEY_SIZE_RANGE)
}
