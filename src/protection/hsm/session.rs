//! A session at work: each call with the numbers by which this device knows mechanisms, and with what its objects need.

use std::sync::Arc;

use cryptoki_sys::*;

use super::arguments::{Attribute, Mechanism};
use super::calls::{Act, Answer, Failed};
use super::connection::Connection;
use super::device::Module;
use super::templates::{New, of_class, on_token, passing_wrapper};
use super::turns::Alone;
use crate::model::Bytes;

/// A session of the device, with the connection that it belongs to.
pub struct Session {
    pub handle: CK_SESSION_HANDLE,
    pub connection: Arc<Connection>,
}

impl Session {
    fn module(&self) -> &'static Module {
        self.connection.module
    }

    fn own<'a>(&self, mechanism: &Mechanism<'a>) -> Mechanism<'a> {
        Mechanism { id: self.connection.number(mechanism.id), parameter: mechanism.parameter.clone() }
    }

    pub fn act(
        &self,
        act: Act,
        mechanism: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
        out: Bytes,
    ) -> Answer<Bytes> {
        self.module().act(self.handle, act, &self.own(mechanism), key, input, out)
    }

    pub fn attributes(
        &self,
        object: CK_OBJECT_HANDLE,
        wanted: &[(CK_ATTRIBUTE_TYPE, usize)],
    ) -> Answer<Vec<Option<Bytes>>> {
        self.module().attributes(self.handle, object, wanted)
    }

    pub fn has_id(&self, object: CK_OBJECT_HANDLE, id: &[u8]) -> Answer<bool> {
        let values = self.attributes(object, &[(CKA_ID, id.len())])?;
        Ok(values.first().is_some_and(|own| own.as_ref().is_some_and(|own| own.as_slice() == id)))
    }

    pub fn derive(
        &self,
        mechanism: &Mechanism<'_>,
        base: CK_OBJECT_HANDLE,
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.module().derive(self.handle, &self.own(mechanism), base, template)
    }

    /// In a turn of its own if it makes an object on the token.
    pub fn unwrap(
        &self,
        mechanism: &Mechanism<'_>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        self.module().unwrap(self.handle, &self.own(mechanism), unwrapping, wrapped, template)
    }

    /// For this session only.
    pub fn unwrap_here(
        &self,
        mechanism: &Mechanism<'_>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        let _alone = self.alone();
        self.unwrap(mechanism, unwrapping, wrapped, template)
    }

    /// A secret of this session that wraps others: gone with it at the latest.
    pub fn passing_wrapper(&self) -> Answer<CK_OBJECT_HANDLE> {
        let _alone = self.alone();
        self.module().generate_key(self.handle, self.connection.number(CKM_AES_KEY_GEN), &passing_wrapper())
    }

    /// `room`: for the longest answer, in bytes.
    pub fn wrap(
        &self,
        mechanism: &Mechanism<'_>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        room: usize,
    ) -> Answer<Vec<u8>> {
        self.module().wrap(self.handle, &self.own(mechanism), wrapping, key, room)
    }

    /// An object on the token.
    pub fn create(&self, _turn: &Alone<'_>, template: &[Attribute]) -> Answer<CK_OBJECT_HANDLE> {
        self.module().create(self.handle, template)
    }

    /// For this session only.
    pub fn create_here(&self, template: &[Attribute]) -> Answer<CK_OBJECT_HANDLE> {
        let _alone = self.alone();
        self.module().create(self.handle, template)
    }

    /// Whether another key than the one with this CKA_ID is to be seen on the token at this moment.
    pub fn shows_others(&self, id: &[u8]) -> bool {
        let known = self.connection.lock_witness().clone().filter(|witness| witness.id != id);
        if known.is_some_and(|known| self.has_id(known.object, &known.id) == Ok(true)) {
            return true;
        }
        [CKO_PRIVATE_KEY, CKO_SECRET_KEY]
            .into_iter()
            .any(|class| self.find(of_class(class), 1).is_ok_and(|found| !found.is_empty()))
    }

    /// The public half of a pair, if it is one, and the private or secret key; on the token.
    pub fn generate(&self, _turn: &Alone<'_>, new: &New) -> Answer<(Option<CK_OBJECT_HANDLE>, CK_OBJECT_HANDLE)> {
        self.make(new)
    }

    /// The same for this session only.
    pub fn generate_here(&self, new: &New) -> Answer<(Option<CK_OBJECT_HANDLE>, CK_OBJECT_HANDLE)> {
        let _alone = self.alone();
        self.make(new)
    }

    fn make(&self, new: &New) -> Answer<(Option<CK_OBJECT_HANDLE>, CK_OBJECT_HANDLE)> {
        let module = self.module();
        let mechanism = self.connection.number(new.mechanism);
        match &new.public {
            Some(public) => {
                let (public, private) = module.generate_pair(self.handle, mechanism, public, &new.private)?;
                Ok((Some(public), private))
            }
            None => Ok((None, module.generate_key(self.handle, mechanism, &new.private)?)),
        }
    }

    /// Nothing found means something only while we are logged in: without a login a device shows no private objects and
    /// calls that no error. A key whose public half alone was destroyed would be left behind.
    pub fn find(&self, mut template: Vec<Attribute>, max: usize) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        let _company = self.in_company();
        // See `turns`.
        template.extend(self.connection.objects.is_some().then(on_token));
        let found = self.module().find(self.handle, &template, max)?;
        if found.is_empty() && !self.connection.is_logged_in(self.handle) {
            return Err(Failed { call: "C_FindObjects", rv: CKR_USER_NOT_LOGGED_IN });
        }
        Ok(found)
    }
}
