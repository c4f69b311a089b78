//! Each call of a device's library, with Rust's types and nothing else: no policy, no retry.

use std::ffi::CString;
use std::ptr::null_mut;

use cryptoki_sys::*;

use super::device::Module;
use super::mechanism::Mechanism;
use crate::fork;
use crate::model::Bytes;

/// A call that the device did not answer with CKR_OK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    pub call: &'static str,
    pub rv: CK_RV,
}

pub type Answer<T> = Result<T, Failed>;

/// One attribute of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub id: CK_ATTRIBUTE_TYPE,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Bytes(Vec<u8>),
    Ulong(CK_ULONG),
}

impl Value {
    /// As it lies in memory (PKCS#11 3.2 §3.5).
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Bool(value) => vec![u8::from(*value)],
            Self::Bytes(value) => value.clone(),
            Self::Ulong(value) => value.to_ne_bytes().to_vec(),
        }
    }
}

/// What a key does with one input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Decrypt,
    Encrypt,
    Sign,
}

/// Calls one function of the list; a function that is missing answers as the specification says.
macro_rules! call {
    ($module:expr, $name:ident($($argument:expr),* $(,)?)) => {
        match $module.list.$name {
            None => Err(Failed { call: stringify!($name), rv: CKR_FUNCTION_NOT_SUPPORTED }),
            Some(function) => {
                let _marked = Marked::new($module);
                let leaving = fork::is_leaving();
                // SAFETY: the function comes from the list of a library that is never unloaded; every pointer below
                // points to memory of the length that goes with it, which lives until the call returns and which
                // no reference of ours looks at meanwhile.
                match if leaving { CKR_CRYPTOKI_NOT_INITIALIZED } else { unsafe { function($($argument),*) } } {
                    CKR_OK => Ok(()),
                    rv => Err(Failed { call: stringify!($name), rv }),
                }
            }
        }
    };
}

/// For a library that works with the process's libcrypto. Takes back, at its end, what the device left in the thread's
/// OpenSSL error queue. Keeps forks out until then: a child would find libcrypto's locks taken by threads that it has not.
struct Marked<'a>(&'a Module, #[expect(dead_code)] Option<fork::Hold>);

impl<'a> Marked<'a> {
    fn new(module: &'a Module) -> Self {
        let hold = module.queue.is_some().then(fork::hold);
        if let Some(queue) = module.queue {
            // SAFETY: a function of the libcrypto that the device is linked to, without arguments.
            unsafe { (queue.mark)() };
        }
        Self(module, hold)
    }
}

impl Drop for Marked<'_> {
    fn drop(&mut self) {
        if let Some(queue) = self.0.queue {
            // SAFETY: as above.
            unsafe { (queue.pop)() };
        }
    }
}

impl Module {
    /// `reserved` goes into `pReserved`. The library may lock by the operating system's means and start threads.
    pub fn initialize(&self, reserved: Option<&str>) -> Answer<()> {
        let reserved = reserved.and_then(|text| CString::new(text).ok());
        let mut args = CK_C_INITIALIZE_ARGS {
            flags: CKF_OS_LOCKING_OK,
            pReserved: reserved.as_ref().map_or(null_mut(), |text| text.as_ptr().cast_mut().cast()),
            ..Default::default()
        };
        call!(self, C_Initialize((&raw mut args).cast()))
    }

    pub fn finalize(&self) -> Answer<()> {
        call!(self, C_Finalize(null_mut()))
    }

    /// The slots with a token in them.
    pub fn slots(&self) -> Answer<Vec<CK_SLOT_ID>> {
        self.list_of(|list, count| call!(self, C_GetSlotList(CK_TRUE, list, count)))
    }

    pub fn mechanisms(&self, slot: CK_SLOT_ID) -> Answer<Vec<CK_MECHANISM_TYPE>> {
        self.list_of(|list, count| call!(self, C_GetMechanismList(slot, list, count)))
    }

    /// The two-call rule for lists that may grow in between.
    fn list_of(&self, ask: impl Fn(*mut CK_ULONG, *mut CK_ULONG) -> Answer<()>) -> Answer<Vec<CK_ULONG>> {
        let mut tries = 0;
        loop {
            let mut count: CK_ULONG = 0;
            ask(null_mut(), &raw mut count)?;
            let room = count.saturating_add(4).min(65_536);
            let mut list = vec![0; room as usize];
            count = room;
            match ask(list.as_mut_ptr(), &raw mut count) {
                Err(failed) if failed.rv == CKR_BUFFER_TOO_SMALL && tries < 3 => tries += 1,
                Err(failed) => return Err(failed),
                Ok(()) => {
                    list.truncate(count as usize);
                    return Ok(list);
                }
            }
        }
    }

    pub fn mechanism_info(&self, slot: CK_SLOT_ID, id: CK_MECHANISM_TYPE) -> Answer<CK_MECHANISM_INFO> {
        let mut info = CK_MECHANISM_INFO::default();
        call!(self, C_GetMechanismInfo(slot, id, &raw mut info)).map(|()| info)
    }

    pub fn token_info(&self, slot: CK_SLOT_ID) -> Answer<CK_TOKEN_INFO> {
        let mut info = CK_TOKEN_INFO::default();
        call!(self, C_GetTokenInfo(slot, &raw mut info)).map(|()| info)
    }

    /// A read-write session.
    pub fn open_session(&self, slot: CK_SLOT_ID) -> Answer<CK_SESSION_HANDLE> {
        let mut session = 0;
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        call!(self, C_OpenSession(slot, flags, null_mut(), None, &raw mut session)).map(|()| session)
    }

    pub fn close_session(&self, session: CK_SESSION_HANDLE) -> Answer<()> {
        call!(self, C_CloseSession(session))
    }

    pub fn close_all(&self, slot: CK_SLOT_ID) -> Answer<()> {
        call!(self, C_CloseAllSessions(slot))
    }

    pub fn login(&self, session: CK_SESSION_HANDLE, user: CK_USER_TYPE, pin: &[u8]) -> Answer<()> {
        // The library gets a copy of its own, because nothing says that it only reads.
        let mut pin: Bytes = Bytes::new(pin.to_vec());
        call!(self, C_Login(session, user, pin.as_mut_ptr(), pin.len() as CK_ULONG))
    }

    pub fn logout(&self, session: CK_SESSION_HANDLE) -> Answer<()> {
        call!(self, C_Logout(session))
    }

    /// Whether the user is logged in, as far as this session shows.
    pub fn is_logged_in(&self, session: CK_SESSION_HANDLE) -> Answer<bool> {
        let mut info = CK_SESSION_INFO::default();
        call!(self, C_GetSessionInfo(session, &raw mut info)).map(|()| info.state == CKS_RW_USER_FUNCTIONS)
    }

    pub fn random(&self, session: CK_SESSION_HANDLE, out: &mut [u8]) -> Answer<()> {
        call!(self, C_GenerateRandom(session, out.as_mut_ptr(), out.len() as CK_ULONG))
    }

    /// The objects that match, at most `max`.
    pub fn find(
        &self,
        session: CK_SESSION_HANDLE,
        template: &[Attribute],
        max: usize,
    ) -> Answer<Vec<CK_OBJECT_HANDLE>> {
        with_template(template, |list, count| call!(self, C_FindObjectsInit(session, list, count)))?;
        let mut found = Vec::new();
        let outcome = loop {
            let mut batch: [CK_OBJECT_HANDLE; 64] = [0; 64];
            let mut count: CK_ULONG = 0;
            let ask = call!(self, C_FindObjects(session, batch.as_mut_ptr(), batch.len() as CK_ULONG, &raw mut count));
            if ask.is_err() || count == 0 || found.len() >= max {
                break ask;
            }
            found.extend(batch.iter().take(count as usize));
        };
        let end = call!(self, C_FindObjectsFinal(session));
        outcome.and(end)?;
        found.truncate(max);
        Ok(found)
    }

    /// The values of these attributes; None where the object has none or does not tell. Each comes with the length
    /// that suffices in the usual case, which saves asking for it.
    pub fn attributes(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        wanted: &[(CK_ATTRIBUTE_TYPE, usize)],
    ) -> Answer<Vec<Option<Bytes>>> {
        match self.read(session, object, wanted) {
            // Not every device fills in the others when one is missing, and not every one has the usual lengths.
            Err(failed)
                if matches!(failed.rv, CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID | CKR_BUFFER_TOO_SMALL) =>
            {
                wanted.iter().map(|&(id, _)| self.attribute(session, object, id)).collect()
            }
            other => other,
        }
    }

    fn attribute(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        id: CK_ATTRIBUTE_TYPE,
    ) -> Answer<Option<Bytes>> {
        let mut entry = CK_ATTRIBUTE { type_: id, pValue: null_mut(), ulValueLen: 0 };
        match call!(self, C_GetAttributeValue(session, object, &raw mut entry, 1)) {
            Err(Failed { rv: CKR_ATTRIBUTE_SENSITIVE | CKR_ATTRIBUTE_TYPE_INVALID, .. }) => return Ok(None),
            other => other?,
        }
        // CK_UNAVAILABLE_INFORMATION, and lengths that no attribute has.
        if entry.ulValueLen > 1 << 20 {
            return Ok(None);
        }
        Ok(self.read(session, object, &[(id, entry.ulValueLen as usize)])?.pop().flatten())
    }

    fn read(
        &self,
        session: CK_SESSION_HANDLE,
        object: CK_OBJECT_HANDLE,
        wanted: &[(CK_ATTRIBUTE_TYPE, usize)],
    ) -> Answer<Vec<Option<Bytes>>> {
        let mut values: Vec<Bytes> = wanted.iter().map(|&(_, len)| Bytes::new(vec![0; len])).collect();
        let mut entries: Vec<CK_ATTRIBUTE> = wanted
            .iter()
            .zip(&mut values)
            .map(|(&(type_, len), value)| CK_ATTRIBUTE {
                type_,
                pValue: value.as_mut_ptr().cast(),
                ulValueLen: len as CK_ULONG,
            })
            .collect();
        let count = entries.len() as CK_ULONG;
        call!(self, C_GetAttributeValue(session, object, entries.as_mut_ptr(), count))?;
        let lengths = entries.iter().map(|entry| entry.ulValueLen as usize);
        Ok(values
            .into_iter()
            .zip(lengths)
            .map(|(mut value, len)| {
                let told = len <= value.len();
                value.truncate(len);
                told.then_some(value)
            })
            .collect())
    }

    pub fn generate_key(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        let mut key = 0;
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 };
        with_template(template, |list, count| {
            call!(self, C_GenerateKey(session, &raw mut mechanism, list, count, &raw mut key))
        })
        .map(|()| key)
    }

    /// The handles of the public and the private half.
    pub fn generate_pair(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: CK_MECHANISM_TYPE,
        public: &[Attribute],
        private: &[Attribute],
    ) -> Answer<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let (mut one, mut other) = (0, 0);
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 };
        with_template(public, |publics, publics_len| {
            with_template(private, |privates, privates_len| {
                call!(
                    self,
                    C_GenerateKeyPair(
                        session,
                        &raw mut mechanism,
                        publics,
                        publics_len,
                        privates,
                        privates_len,
                        &raw mut one,
                        &raw mut other,
                    )
                )
            })
        })
        .map(|()| (one, other))
    }

    pub fn destroy(&self, session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> Answer<()> {
        call!(self, C_DestroyObject(session, object))
    }

    /// Init and the single-part call, without asking for the length. `out` is where the answer goes: zeros, one more
    /// than the longest answer has bytes.
    pub fn act(
        &self,
        session: CK_SESSION_HANDLE,
        act: Act,
        mechanism: &Mechanism<'_>,
        key: CK_OBJECT_HANDLE,
        input: &[u8],
        mut out: Bytes,
    ) -> Answer<Bytes> {
        let room = out.len().saturating_sub(1);
        mechanism.with(|mechanism| match act {
            Act::Decrypt => call!(self, C_DecryptInit(session, mechanism, key)),
            Act::Encrypt => call!(self, C_EncryptInit(session, mechanism, key)),
            Act::Sign => call!(self, C_SignInit(session, mechanism, key)),
        })?;
        // An address even where there is nothing to read or to write: devices take null for a mistake or a question.
        let mut nothing = [0; 1];
        let from = if input.is_empty() { nothing.as_mut_ptr() } else { input.as_ptr().cast_mut() };
        let mut len = room as CK_ULONG;
        let (from_len, to) = (input.len() as CK_ULONG, out.as_mut_ptr());
        match act {
            Act::Decrypt => call!(self, C_Decrypt(session, from, from_len, to, &raw mut len)),
            Act::Encrypt => call!(self, C_Encrypt(session, from, from_len, to, &raw mut len)),
            Act::Sign => call!(self, C_Sign(session, from, from_len, to, &raw mut len)),
        }?;
        if len > room as CK_ULONG {
            return Err(Failed { call: "C_Sign, C_Encrypt or C_Decrypt with a wrong length", rv: CKR_DEVICE_ERROR });
        }
        out.truncate(len as usize);
        Ok(out)
    }

    /// `room`: more than the wrapped key has bytes.
    pub fn wrap(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism<'_>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
        room: usize,
    ) -> Answer<Bytes> {
        let mut out = Bytes::new(vec![0; room]);
        let (to, mut len) = (out.as_mut_ptr(), room as CK_ULONG);
        mechanism.with(|mechanism| call!(self, C_WrapKey(session, mechanism, wrapping, key, to, &raw mut len)))?;
        if len > room as CK_ULONG {
            return Err(Failed { call: "C_WrapKey with a wrong length", rv: CKR_DEVICE_ERROR });
        }
        out.truncate(len as usize);
        Ok(out)
    }

    pub fn unwrap(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism<'_>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        let mut key = 0;
        let (from, len) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG);
        mechanism
            .with(|mechanism| {
                with_template(template, |list, count| {
                    call!(self, C_UnwrapKey(session, mechanism, unwrapping, from, len, list, count, &raw mut key))
                })
            })
            .map(|()| key)
    }

    pub fn derive(
        &self,
        session: CK_SESSION_HANDLE,
        mechanism: &Mechanism<'_>,
        base: CK_OBJECT_HANDLE,
        template: &[Attribute],
    ) -> Answer<CK_OBJECT_HANDLE> {
        let mut key = 0;
        mechanism
            .with(|mechanism| {
                with_template(template, |list, count| {
                    call!(self, C_DeriveKey(session, mechanism, base, list, count, &raw mut key))
                })
            })
            .map(|()| key)
    }
}

/// Gives `work` the template in C's form: pointers into copies that the device may even write to.
fn with_template<T>(template: &[Attribute], work: impl FnOnce(*mut CK_ATTRIBUTE, CK_ULONG) -> T) -> T {
    let mut values: Vec<Vec<u8>> = template.iter().map(|attribute| attribute.value.bytes()).collect();
    let mut list: Vec<CK_ATTRIBUTE> = template
        .iter()
        .zip(&mut values)
        .map(|(attribute, value)| CK_ATTRIBUTE {
            type_: attribute.id,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        })
        .collect();
    work(list.as_mut_ptr(), list.len() as CK_ULONG)
}
