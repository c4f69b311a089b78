//! AES key wrap by C_WrapKey and C_UnwrapKey: of devices that have it for keys only (SoftHSM), and with keys that may wrap and
//! not encrypt. What is wrapped is in this process, and what is unwrapped comes here, which whoever asks has been allowed;
//! for that moment it is an object of a session of the device, as much in reach as it is in this process anyway.
//!
//! What is no whole number of 8 bytes is not given to C_WrapKey: SoftHSM 2.6 fills it up with zeros before it wraps it, so that
//! a longer key would come out again (RFC 5649 has the length inside). It unwraps what others wrapped as it should.

use cryptoki_sys::*;

use super::arguments::{Mechanism, Parameter};
use super::calls::Failed;
use super::connection::Connection;
use super::key::DeviceKey;
use super::pool::Device;
use super::profile::{Class, mechanism_name};
use super::recover::Fault;
use super::session::Session;
use super::templates;
use crate::error::Error;
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};

/// What wrapping adds, and what a padding fills up to; in bytes.
const SEMIBLOCK: usize = 8;

/// A job that the device does for keys.
pub struct KeyWrap<'a> {
    mechanism: Mechanism<'a>,
    pads: bool,
    wraps: bool,
}

impl<'a> KeyWrap<'a> {
    /// None: it is no key wrapping, or the device does not do it for keys.
    pub fn of(device: &Device, connection: &Connection, job: &'a Job) -> Option<Self> {
        let (cipher, flag) = match job {
            Job::Decrypt(cipher) => (cipher, CKF_UNWRAP),
            Job::Encrypt(cipher) => (cipher, CKF_WRAP),
            _ => return None,
        };
        let (ids, parameter): (&[CK_MECHANISM_TYPE], _) = match cipher {
            Cipher::AesKeyWrap { iv } => {
                (&[CKM_AES_KEY_WRAP], iv.as_ref().map_or(Parameter::None, |iv| Parameter::Bytes(iv)))
            }
            // Two numbers, the same RFC 5649 in practice.
            Cipher::AesKeyWrapPad => (&[CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP], Parameter::None),
            _ => return None,
        };
        let id = ids.iter().copied().find(|id| connection.does(*id, flag));
        let id = id.filter(|_| device.profile().is_ok_and(|profile| profile.session_objects));
        let (pads, wraps) = (*cipher == Cipher::AesKeyWrapPad, flag == CKF_WRAP);
        id.map(|id| Self { mechanism: Mechanism { id, parameter }, pads, wraps })
    }

    /// Whether `long` bytes are what `short` bytes become when they are wrapped.
    fn fits(&self, short: usize, long: usize) -> bool {
        let filled = if self.pads { short.next_multiple_of(SEMIBLOCK) } else { short };
        short > 0 && filled + SEMIBLOCK == long
    }
}

impl DeviceKey {
    /// `input` has a length that this wrapping takes.
    pub(super) fn by_object(
        &self,
        session: &Session,
        handle: CK_OBJECT_HANDLE,
        by: &KeyWrap<'_>,
        input: &[u8],
    ) -> Result<Bytes, Fault> {
        if by.wraps { self.wrap(session, handle, by, input) } else { self.unwrap(session, handle, by, input) }
    }

    fn wrap(
        &self,
        session: &Session,
        wrapping: CK_OBJECT_HANDLE,
        by: &KeyWrap<'_>,
        value: &[u8],
    ) -> Result<Bytes, Fault> {
        if !value.len().is_multiple_of(SEMIBLOCK) {
            let name = mechanism_name(by.mechanism.id);
            return Err(Fault::Stop(self.device.lacks(format!("{name} of what is no multiple of 8 bytes"))));
        }
        let key = session.create_here(&templates::passing_secret(value)).map_err(|failed| {
            match self.device.class(failed) {
                Class::Permanent => Fault::End(self.device.lacks("C_CreateObject of a secret that it is to wrap")),
                _ => self.device.not_gone(failed),
            }
        })?;
        let wrapped = session.wrap(&by.mechanism, wrapping, key, value.len() + 2 * SEMIBLOCK);
        session.destroy(key).map_err(|failed| self.device.not_gone(failed))?;
        let wrapped = wrapped.map_err(|failed| self.cannot_wrap(failed, by))?;
        match by.fits(value.len(), wrapped.len()) {
            true => Ok(Bytes::new(wrapped)),
            false => Err(Failed { call: "C_WrapKey", rv: CKR_DEVICE_ERROR }.into()),
        }
    }

    fn unwrap(
        &self,
        session: &Session,
        unwrapping: CK_OBJECT_HANDLE,
        by: &KeyWrap<'_>,
        wrapped: &[u8],
    ) -> Result<Bytes, Fault> {
        let template = templates::readable_secret();
        // What was made and answered as failed has no handle: it goes with the session.
        let made = session.unwrap_here(&by.mechanism, unwrapping, wrapped, &template);
        let key = made.map_err(|failed| self.not_unwrapped(session, failed, by).ending())?;
        let value = session.attributes(key, &[(CKA_VALUE, wrapped.len())]);
        session.destroy(key).map_err(|failed| self.device.not_gone(failed))?;
        let value = value?.pop().flatten().filter(|value| by.fits(value.len(), wrapped.len()));
        value.ok_or_else(|| Fault::Stop(self.device.lacks("reading what it unwrapped (CKA_VALUE)")))
    }

    fn not_unwrapped(&self, session: &Session, failed: Failed, by: &KeyWrap<'_>) -> Fault {
        match (failed.rv, self.device.class(failed)) {
            (CKR_WRAPPED_KEY_INVALID | CKR_WRAPPED_KEY_LEN_RANGE | CKR_ENCRYPTED_DATA_INVALID, _) => {
                Fault::Stop(Error::Ciphertext)
            }
            // Many devices have no code for what is not genuine; one that is out of order says so at once.
            (_, Class::Suspect) => match session.connection.touch_device(session.handle) {
                Ok(()) => Fault::Stop(Error::Ciphertext),
                Err(failed) => failed.into(),
            },
            _ => self.cannot_wrap(failed, by),
        }
    }

    /// A key that may encrypt and not wrap is asked for what the device has for keys only.
    fn cannot_wrap(&self, failed: Failed, by: &KeyWrap<'_>) -> Fault {
        match failed.rv {
            CKR_KEY_FUNCTION_NOT_PERMITTED => Fault::Stop(self.device.lacks(mechanism_name(by.mechanism.id))),
            _ => self.cannot(failed, by.mechanism.id),
        }
    }
}
