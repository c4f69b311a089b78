//! The model's sessions, logins and objects: C_OpenSession to C_FindObjectsFinal, C_WrapKey and C_UnwrapKey.

use cryptoki_sys::*;

use super::work::Offer;
use super::{Login, Model, Object, Session};
use crate::call;
use crate::support::{Attr, Mech, PIN, SO_PIN, b, raw, u, v};

const USES: [CK_ATTRIBUTE_TYPE; 6] = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP];
const UNKNOWN: CK_ULONG = CK_UNAVAILABLE_INFORMATION;

impl Model {
    pub(super) fn step_session(&mut self) {
        match self.dice.roll(if self.sessions.is_empty() { 2 } else { 30 }) {
            0..=8 if self.sessions.len() < 8 => self.open(),
            0..=12 => self.close(),
            13 if self.dice.rarely(4) => self.close_all(),
            13..=18 => self.info(),
            19..=25 => self.log_in(),
            _ => self.log_out(),
        }
    }

    fn open(&mut self) {
        let serial = if self.dice.rarely(30) { 0 } else { CKF_SERIAL_SESSION };
        let read_write = !self.dice.rarely(3);
        let slot = if self.dice.rarely(40) { self.slot ^ 1 } else { self.slot };
        let expected = match () {
            () if slot != self.slot => CKR_SLOT_ID_INVALID,
            () if serial == 0 => CKR_SESSION_PARALLEL_NOT_SUPPORTED,
            () if !read_write && self.login == Login::Officer => CKR_SESSION_READ_WRITE_SO_EXISTS,
            () => CKR_OK,
        };
        let flags = serial | if read_write { CKF_RW_SESSION } else { 0 };
        let mut handle = 0;
        let rv = call!(self.m, C_OpenSession(slot, flags, std::ptr::null_mut(), None, &raw mut handle));
        self.same(format!("C_OpenSession({flags:#x})"), expected, rv);
        if rv == CKR_OK {
            assert!(!self.sessions.contains_key(&handle) && !self.closed.contains(&handle), "a handle came twice");
            self.sessions.insert(handle, Session { read_write, ..Session::default() });
        }
    }

    fn closed_session(&mut self, handle: CK_SESSION_HANDLE) {
        self.sessions.remove(&handle);
        self.closed.push(handle);
        let extra = self.closed.len().saturating_sub(50);
        self.closed.drain(..extra);
        self.forget(|object| object.session == Some(handle));
        if self.sessions.is_empty() {
            self.login = Login::Nobody;
        }
    }

    fn close(&mut self) {
        let handle = self.some_session();
        let expected = if self.sessions.contains_key(&handle) { CKR_OK } else { CKR_SESSION_HANDLE_INVALID };
        let rv = call!(self.m, C_CloseSession(handle));
        self.same(format!("C_CloseSession({handle:#x})"), expected, rv);
        if expected == CKR_OK {
            self.closed_session(handle);
        }
    }

    fn close_all(&mut self) {
        let rv = call!(self.m, C_CloseAllSessions(self.slot));
        self.same("C_CloseAllSessions".to_owned(), CKR_OK, rv);
        for handle in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.closed_session(handle);
        }
    }

    fn info(&mut self) {
        let handle = self.some_session();
        // SAFETY: plain data.
        let mut info: CK_SESSION_INFO = unsafe { std::mem::zeroed() };
        let rv = call!(self.m, C_GetSessionInfo(handle, &raw mut info));
        let expected = self.sessions.get(&handle).map(|session| match (self.login, session.read_write) {
            (Login::Nobody, false) => CKS_RO_PUBLIC_SESSION,
            (Login::Nobody, true) => CKS_RW_PUBLIC_SESSION,
            (Login::User, false) => CKS_RO_USER_FUNCTIONS,
            (Login::User, true) => CKS_RW_USER_FUNCTIONS,
            (Login::Officer, _) => CKS_RW_SO_FUNCTIONS,
        });
        let code = if expected.is_some() { CKR_OK } else { CKR_SESSION_HANDLE_INVALID };
        self.same(format!("C_GetSessionInfo({handle:#x})"), (code, expected.unwrap_or(0)), (rv, info.state));
    }

    fn log_in(&mut self) {
        let handle = self.some_session();
        let user = match self.dice.roll(20) {
            0 => CKU_CONTEXT_SPECIFIC,
            1 => 77,
            2 => CKU_SO,
            _ => CKU_USER,
        };
        let pin = if user == CKU_SO { SO_PIN } else { PIN };
        let no_pin = self.dice.rarely(20);
        let readers = self.sessions.values().any(|session| !session.read_write);
        let expected = match (self.login, user) {
            _ if !self.sessions.contains_key(&handle) => CKR_SESSION_HANDLE_INVALID,
            (_, CKU_CONTEXT_SPECIFIC) if no_pin => CKR_ARGUMENTS_BAD,
            (_, CKU_CONTEXT_SPECIFIC) => CKR_OPERATION_NOT_INITIALIZED,
            (_, 77) => CKR_USER_TYPE_INVALID,
            _ if no_pin => CKR_ARGUMENTS_BAD,
            (Login::User, CKU_USER) | (Login::Officer, CKU_SO) => CKR_USER_ALREADY_LOGGED_IN,
            (Login::User | Login::Officer, _) => CKR_USER_ANOTHER_ALREADY_LOGGED_IN,
            (Login::Nobody, CKU_SO) if readers => CKR_SESSION_READ_ONLY_EXISTS,
            _ => CKR_OK,
        };
        let place = if no_pin { std::ptr::null_mut() } else { pin.as_ptr().cast_mut() };
        let rv = call!(self.m, C_Login(handle, user, place, pin.len() as CK_ULONG));
        self.same(format!("C_Login({handle:#x}, {user}, no pin: {no_pin})"), expected, rv);
        if expected == CKR_OK {
            self.login = if user == CKU_SO { Login::Officer } else { Login::User };
        }
    }

    fn log_out(&mut self) {
        let handle = self.some_session();
        // An officer's login is of no further use here.
        if self.login == Login::User && !self.dice.rarely(3) {
            return self.info();
        }
        let expected = match self.login {
            _ if !self.sessions.contains_key(&handle) => CKR_SESSION_HANDLE_INVALID,
            Login::Nobody => CKR_USER_NOT_LOGGED_IN,
            _ => CKR_OK,
        };
        let rv = call!(self.m, C_Logout(handle));
        self.same(format!("C_Logout({handle:#x})"), expected, rv);
        if expected == CKR_OK {
            self.login = Login::Nobody;
            for session in self.sessions.values_mut() {
                // What needs the login ends; a digest needs none.
                *session =
                    Session { read_write: session.read_write, digest: session.digest.take(), ..Session::default() };
            }
            self.forget(|object| object.session.is_some() && object.private);
        }
    }

    /// May the session make or change such an object?
    fn may_write(&self, session: CK_SESSION_HANDLE, token: bool, private: bool) -> CK_RV {
        match self.sessions.get(&session) {
            None => CKR_SESSION_HANDLE_INVALID,
            Some(session) if token && !session.read_write => CKR_SESSION_READ_ONLY,
            Some(_) if !self.sees(private) || (token && self.login != Login::User) => CKR_USER_NOT_LOGGED_IN,
            Some(_) => CKR_OK,
        }
    }

    fn some_key(&mut self) -> (Object, Vec<Attr>) {
        let (key_type, length) = self.dice.of(&[(CKK_AES, 16), (CKK_AES, 16), (CKK_GENERIC_SECRET, 20)]);
        let uses: Vec<_> = USES.into_iter().filter(|_| !self.dice.rarely(4)).collect();
        let object = Object {
            session: None,
            class: CKO_SECRET_KEY,
            length,
            key_type,
            private: self.dice.rarely(2),
            sensitive: self.dice.rarely(3),
            extractable: !self.dice.rarely(3),
            copyable: !self.dice.rarely(10),
            label: self.dice.roll(9),
            uses,
        };
        let mut template = vec![
            u(CKA_CLASS, CKO_SECRET_KEY),
            u(CKA_KEY_TYPE, key_type),
            v(CKA_LABEL, vec![b'x'; object.label]),
            b(CKA_PRIVATE, object.private),
            b(CKA_SENSITIVE, object.sensitive),
            b(CKA_EXTRACTABLE, object.extractable),
            b(CKA_COPYABLE, object.copyable),
        ];
        template.extend(USES.map(|kind| b(kind, object.uses.contains(&kind))));
        (object, template)
    }

    pub(super) fn create(&mut self) {
        let session = self.some_session();
        // What is stored is written through to the disk.
        let token = self.dice.rarely(300);
        let data = token || self.dice.rarely(8);
        let (mut object, mut template) = self.some_key();
        if data {
            object =
                Object { class: CKO_DATA, length: 30, key_type: UNKNOWN, sensitive: false, uses: Vec::new(), ..object };
            object.copyable = !token;
            template = vec![u(CKA_CLASS, CKO_DATA), b(CKA_TOKEN, token), b(CKA_PRIVATE, object.private)];
            template.push(v(CKA_LABEL, vec![b'x'; object.label]));
        }
        template.push(v(CKA_VALUE, vec![7; object.length]));
        let expected = self.may_write(session, token, object.private);
        let (mut list, mut handle) = (raw(&template), 0);
        let count = list.len() as CK_ULONG;
        let rv = call!(self.m, C_CreateObject(session, list.as_mut_ptr(), count, &raw mut handle));
        self.same(format!("C_CreateObject({session:#x}, {object:?})"), expected, rv);
        if rv == CKR_OK {
            object.session = (!token).then_some(session);
            self.objects.insert(handle, object);
        }
    }

    /// What a call with this object answers before it looks at anything else, where it must be there.
    fn reach(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE, missing: CK_RV) -> Result<Object, CK_RV> {
        if !self.sessions.contains_key(&session) {
            return Err(CKR_SESSION_HANDLE_INVALID);
        }
        let hidden = self.objects.get(&object).is_some_and(|object| object.session.is_none());
        match self.item(object) {
            Some(object) => Ok(object.clone()),
            // A stored object that is out of sight: the code says what would help.
            None if hidden => Err(CKR_USER_NOT_LOGGED_IN),
            None => Err(missing),
        }
    }

    pub(super) fn destroy(&mut self) {
        let session = self.some_session();
        let stored = self.dice.rarely(8);
        let object = self.some_object(|object| object.session.is_none() == stored);
        let expected = match self.reach(session, object, CKR_OBJECT_HANDLE_INVALID) {
            Ok(found) => self.may_write(session, found.session.is_none(), found.private),
            Err(rv) => rv,
        };
        let rv = call!(self.m, C_DestroyObject(session, object));
        self.same(format!("C_DestroyObject({session:#x}, {object:#x})"), expected, rv);
        if rv == CKR_OK {
            self.objects.remove(&object);
            self.gone.push(object);
        }
    }

    pub(super) fn copy(&mut self) {
        let session = self.some_session();
        let object = self.some_object(|object| object.copyable);
        let (label, loosen) = (self.dice.roll(9), self.dice.rarely(5));
        let found = self.reach(session, object, CKR_OBJECT_HANDLE_INVALID);
        let expected = match &found {
            Err(rv) => *rv,
            Ok(found) if !found.copyable => CKR_ACTION_PROHIBITED,
            Ok(found) if loosen && !found.is_key() => CKR_ATTRIBUTE_TYPE_INVALID,
            Ok(found) if loosen && found.sensitive => CKR_ATTRIBUTE_READ_ONLY,
            Ok(_) => CKR_OK,
        };
        let mut template = vec![v(CKA_LABEL, vec![b'y'; label])];
        if loosen {
            template.push(b(CKA_SENSITIVE, false));
        }
        let (mut list, mut handle) = (raw(&template), 0);
        let count = list.len() as CK_ULONG;
        let rv = call!(self.m, C_CopyObject(session, object, list.as_mut_ptr(), count, &raw mut handle));
        self.same(format!("C_CopyObject({session:#x}, {object:#x}, loosen: {loosen})"), expected, rv);
        if let (CKR_OK, Ok(found)) = (rv, found) {
            self.objects.insert(handle, Object { session: Some(session), label, ..found });
        }
    }

    /// C_GetAttributeValue of the value, the label or something that is not there.
    pub(super) fn read(&mut self) {
        let session = self.some_session();
        let object = self.some_object(|_| true);
        let kind = self.dice.of(&[CKA_VALUE, CKA_LABEL, CKA_VALUE_LEN, CKA_CLASS, CKA_MODULUS]);
        let room = self.dice.of(&[None, Some(0), Some(7), Some(15), Some(40)]);
        let expected = match self.reach(session, object, CKR_OBJECT_HANDLE_INVALID) {
            Err(rv) => (rv, 99),
            Ok(found) => {
                let guarded = found.is_key() && (found.sensitive || !found.extractable);
                let length = match kind {
                    CKA_VALUE if guarded => Err(CKR_ATTRIBUTE_SENSITIVE),
                    CKA_VALUE => Ok(found.length),
                    CKA_LABEL => Ok(found.label),
                    CKA_CLASS => Ok(8),
                    CKA_VALUE_LEN if found.is_key() => Ok(8),
                    _ => Err(CKR_ATTRIBUTE_TYPE_INVALID),
                };
                match (length, room) {
                    (Err(rv), _) => (rv, UNKNOWN),
                    (Ok(length), Some(room)) if room < length => (CKR_BUFFER_TOO_SMALL, UNKNOWN),
                    (Ok(length), _) => (CKR_OK, length as CK_ULONG),
                }
            }
        };
        let mut buffer = [0u8; 40];
        let place = if room.is_some() { buffer.as_mut_ptr().cast() } else { std::ptr::null_mut() };
        let mut one = CK_ATTRIBUTE { type_: kind, pValue: place, ulValueLen: room.unwrap_or(99) as CK_ULONG };
        let rv = call!(self.m, C_GetAttributeValue(session, object, &raw mut one, 1));
        let found = if expected.1 == 99 { 99 } else { one.ulValueLen };
        self.same(
            format!("C_GetAttributeValue({session:#x}, {object:#x}, {kind:#x}, {room:?})"),
            expected,
            (rv, found),
        );
    }

    /// C_SetAttributeValue: a label, or secrecy in both directions.
    pub(super) fn change(&mut self) {
        let session = self.some_session();
        let object = self.some_object(|object| object.session.is_some());
        // A change of a stored object is written through to the disk.
        let is_stored = self.objects.get(&object).is_some_and(|object| object.session.is_none());
        if is_stored && !self.dice.rarely(20) {
            return self.read();
        }
        let label = self.dice.roll(9);
        let (name, attr) = match self.dice.roll(6) {
            0 => ("sensitive", b(CKA_SENSITIVE, true)),
            1 => ("not sensitive", b(CKA_SENSITIVE, false)),
            2 => ("not extractable", b(CKA_EXTRACTABLE, false)),
            3 => ("extractable", b(CKA_EXTRACTABLE, true)),
            4 => ("no boolean", v(CKA_SENSITIVE, [2])),
            _ => ("label", v(CKA_LABEL, vec![b'z'; label])),
        };
        let found = self.reach(session, object, CKR_OBJECT_HANDLE_INVALID);
        let expected = found.as_ref().map_or_else(
            |rv| *rv,
            |found| match (self.may_write(session, found.session.is_none(), found.private), name) {
                (CKR_OK, "label") => CKR_OK,
                (CKR_OK, _) if !found.is_key() => CKR_ATTRIBUTE_TYPE_INVALID,
                (CKR_OK, "no boolean") => CKR_ATTRIBUTE_VALUE_INVALID,
                (CKR_OK, "not sensitive") if found.sensitive => CKR_ATTRIBUTE_READ_ONLY,
                (CKR_OK, "extractable") if !found.extractable => CKR_ATTRIBUTE_READ_ONLY,
                (rv, _) => rv,
            },
        );
        let mut list = raw(std::slice::from_ref(&attr));
        let rv = call!(self.m, C_SetAttributeValue(session, object, list.as_mut_ptr(), 1));
        self.same(format!("C_SetAttributeValue({session:#x}, {object:#x}, {name})"), expected, rv);
        if let (CKR_OK, Some(object)) = (rv, self.objects.get_mut(&object)) {
            match name {
                "sensitive" => object.sensitive = true,
                "not extractable" => object.extractable = false,
                "label" => object.label = label,
                _ => {}
            }
        }
    }

    /// Session objects only: those are found as they were when the search began.
    pub(super) fn search(&mut self) {
        let handle = self.some_session();
        let label = self.dice.roll(9);
        let by_label = self.dice.rarely(2);
        let seen: Vec<_> = self
            .objects
            .iter()
            .filter(|(_, object)| object.session.is_some() && self.sees(object.private))
            .map(|(handle, object)| (*handle, object.label))
            .collect();
        let max = self.dice.of(&[0, 1, 5, 50]);
        let step = self.dice.roll(4);
        let session = self.sessions.get_mut(&handle);
        let missing = session.is_none();
        let find = session.map(|session| &mut session.find);
        match step {
            0 | 1 => {
                // A label of some length in the letter that keys are made with; copies and changes have another.
                let mut template = vec![b(CKA_TOKEN, false)];
                if by_label {
                    template.push(u(CKA_CLASS, CKO_CERTIFICATE + 100));
                }
                let expected = match find {
                    None => CKR_SESSION_HANDLE_INVALID,
                    Some(Some(_)) => CKR_OPERATION_ACTIVE,
                    Some(place) => {
                        let found = seen.iter().filter(|_| !by_label).map(|(handle, _)| *handle);
                        *place = Some(found.collect());
                        CKR_OK
                    }
                };
                let mut list = raw(&template);
                let rv = call!(self.m, C_FindObjectsInit(handle, list.as_mut_ptr(), list.len() as CK_ULONG));
                self.same(format!("C_FindObjectsInit({handle:#x}, {label})"), expected, rv);
            }
            2 => {
                let (mut room, mut count) = ([0; 50], 77);
                let expected = match find {
                    None => (CKR_SESSION_HANDLE_INVALID, Vec::new()),
                    Some(None) => (CKR_OPERATION_NOT_INITIALIZED, Vec::new()),
                    Some(Some(rest)) => (CKR_OK, rest.drain(..max.min(rest.len())).collect()),
                };
                let rv = call!(self.m, C_FindObjects(handle, room.as_mut_ptr(), max as CK_ULONG, &raw mut count));
                let found = if rv == CKR_OK { room[..count as usize].to_vec() } else { Vec::new() };
                self.same(format!("C_FindObjects({handle:#x}, {max})"), expected, (rv, found));
            }
            _ => {
                let was = find.and_then(Option::take);
                let expected = match was {
                    _ if missing => CKR_SESSION_HANDLE_INVALID,
                    None => CKR_OPERATION_NOT_INITIALIZED,
                    Some(_) => CKR_OK,
                };
                let rv = call!(self.m, C_FindObjectsFinal(handle));
                self.same(format!("C_FindObjectsFinal({handle:#x})"), expected, rv);
            }
        }
    }

    /// Every AES key of the model has the same value, so that each unwraps what another wrapped.
    pub(super) fn wrap(&mut self) {
        let session = self.some_session();
        let wrapping = self.some_object(|object| object.key_type == CKK_AES && object.uses.contains(&CKA_WRAP));
        let key = self.some_object(|object| object.is_key() && object.extractable && !object.sensitive);
        let offer = self.some_offer(&[0, 23, 24, 40]);
        let wrapper = self.reach(session, wrapping, CKR_WRAPPING_KEY_HANDLE_INVALID);
        let expected = match (offer, wrapper, self.reach(session, key, CKR_KEY_HANDLE_INVALID)) {
            (_, Err(CKR_SESSION_HANDLE_INVALID), _) => (CKR_SESSION_HANDLE_INVALID, None),
            (Offer::NoLength, ..) => (CKR_ARGUMENTS_BAD, None),
            (_, Err(rv), _) => (rv, None),
            (_, Ok(wrapper), _) if wrapper.key_type != CKK_AES => (CKR_WRAPPING_KEY_TYPE_INCONSISTENT, None),
            (_, Ok(wrapper), _) if !wrapper.uses.contains(&CKA_WRAP) => (CKR_KEY_FUNCTION_NOT_PERMITTED, None),
            (_, _, Err(rv)) => (rv, None),
            (_, _, Ok(key)) if !key.is_key() => (CKR_KEY_HANDLE_INVALID, None),
            (_, _, Ok(key)) if !key.extractable => (CKR_KEY_UNEXTRACTABLE, None),
            // None of these keys was made to wrap only.
            (_, _, Ok(key)) if key.sensitive => (CKR_KEY_NOT_WRAPPABLE, None),
            (_, _, Ok(key)) if key.length % 8 != 0 => (CKR_KEY_SIZE_RANGE, None),
            (Offer::Ask, ..) => (CKR_OK, Some(24)),
            (Offer::Bytes(room), ..) if room < 24 => (CKR_BUFFER_TOO_SMALL, Some(24)),
            _ => (CKR_OK, Some(24)),
        };
        let mechanism = Mech::new(CKM_AES_KEY_WRAP);
        let (mut raw, m) = (mechanism.raw(), self.m);
        let (found, out) = super::calls::offered(offer, |out, len| {
            call!(m, C_WrapKey(session, &raw mut raw, wrapping, key, out, len))
        });
        self.same(format!("C_WrapKey({session:#x}, {wrapping:#x}, {key:#x}, {offer:?})"), expected, found);
        if found == (CKR_OK, Some(24)) && matches!(offer, Offer::Bytes(_)) {
            self.wrapped = Some((out, 16));
        }
    }

    pub(super) fn unwrap(&mut self) {
        let session = self.some_session();
        let unwrapping = self.some_object(|object| object.key_type == CKK_AES && object.uses.contains(&CKA_UNWRAP));
        let (mut object, template) = self.some_key();
        let Some((mut wrapped, length)) = self.wrapped.clone() else { return self.wrap() };
        let spoiled = self.dice.rarely(6);
        if spoiled {
            wrapped[3] ^= 1;
        }
        let cut = self.dice.rarely(12);
        wrapped.truncate(if cut { 20 } else { 24 });
        object.length = length;
        let expected = match self.reach(session, unwrapping, CKR_UNWRAPPING_KEY_HANDLE_INVALID) {
            Err(rv) => rv,
            Ok(key) if key.key_type != CKK_AES => CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT,
            Ok(key) if !key.uses.contains(&CKA_UNWRAP) => CKR_KEY_FUNCTION_NOT_PERMITTED,
            Ok(_) => match self.may_write(session, false, object.private) {
                CKR_OK if cut => CKR_WRAPPED_KEY_LEN_RANGE,
                CKR_OK if spoiled => CKR_WRAPPED_KEY_INVALID,
                rv => rv,
            },
        };
        let mechanism = Mech::new(CKM_AES_KEY_WRAP);
        let (mut raw_mechanism, mut list, mut handle) = (mechanism.raw(), raw(&template), 0);
        let (count, from, len) = (list.len() as CK_ULONG, wrapped.as_mut_ptr(), wrapped.len() as CK_ULONG);
        let (mechanism, list) = (&raw mut raw_mechanism, list.as_mut_ptr());
        let rv = call!(self.m, C_UnwrapKey(session, mechanism, unwrapping, from, len, list, count, &raw mut handle));
        self.same(format!("C_UnwrapKey({session:#x}, {unwrapping:#x}, {object:?})"), expected, rv);
        if rv == CKR_OK {
            self.objects.insert(handle, Object { session: Some(session), ..object });
        }
    }
}
