//! A PKCS#11 module as an application sees it: loaded, initialised, logged in, and driven by its function list alone.

use std::path::Path;
use std::ptr::null_mut;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::support::{Attr, Mech, b, raw, s, u, v};

/// Calls a function of the list; anything but CKR_OK ends the run.
macro_rules! ck {
    ($door:expr, $name:ident ( $($arg:expr),* $(,)? )) => {{
        // SAFETY: the list is the module's, which stays loaded; the arguments live as long as the call.
        let rv = unsafe { ($door.list.$name.expect(stringify!($name)))($($arg),*) };
        assert_eq!(rv, CKR_OK, "{} of {}", stringify!($name), $door.name);
    }};
}

#[derive(Clone, Copy)]
pub struct Door {
    pub name: &'static str,
    library: &'static Library,
    list: &'static CK_FUNCTION_LIST,
    slot: CK_SLOT_ID,
    session: CK_SESSION_HANDLE,
}

/// A door with a session of its own, which is closed with it.
pub struct Own(Door);

impl std::ops::Deref for Own {
    type Target = Door;
    fn deref(&self) -> &Door {
        &self.0
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.close_session(self.session);
    }
}

/// Handles of a pair.
#[derive(Clone, Copy)]
pub struct Pair {
    pub public: CK_OBJECT_HANDLE,
    pub private: CK_OBJECT_HANDLE,
}

/// A module that is loaded, and not used yet.
#[derive(Clone, Copy)]
pub struct Loaded(Door, usize);

impl Loaded {
    pub fn open(name: &'static str, library: &Path) -> Self {
        // SAFETY: a PKCS#11 library; it stays loaded.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }.expect("the module loads");
        let library: &'static Library = Box::leak(Box::new(library));
        let mut list: CK_FUNCTION_LIST_PTR = null_mut();
        // SAFETY: the symbol has the type that PKCS#11 gives it.
        unsafe {
            let get = library.get::<unsafe extern "C" fn(CK_FUNCTION_LIST_PTR_PTR) -> CK_RV>(b"C_GetFunctionList");
            assert_eq!(get.expect("C_GetFunctionList")(&raw mut list), CKR_OK);
        }
        // SAFETY: C_GetFunctionList answered with a list, which is never freed.
        Self(Door { name, library, list: unsafe { &*list }, slot: 0, session: 0 }, 0)
    }

    /// `reserved`: pReserved of C_Initialize.
    pub fn initialise(&self, reserved: Option<&str>) {
        let reserved = reserved.map(|text| std::ffi::CString::new(text).expect("no NUL"));
        // NSS reads a member more, behind those of the standard: its own pReserved.
        #[repr(C)]
        struct Args(CK_C_INITIALIZE_ARGS, CK_VOID_PTR);
        let mut args = Args(
            CK_C_INITIALIZE_ARGS {
                CreateMutex: None,
                DestroyMutex: None,
                LockMutex: None,
                UnlockMutex: None,
                flags: CKF_OS_LOCKING_OK,
                pReserved: reserved.as_ref().map_or(null_mut(), |text| text.as_ptr().cast_mut().cast()),
            },
            null_mut(),
        );
        ck!(self.0, C_Initialize((&raw mut args).cast()));
    }

    /// Not the first slot with a token but the one of this number.
    pub fn at(self, number: usize) -> Self {
        Self(self.0, number)
    }

    fn with_slot(&self) -> Door {
        let (mut slots, mut count) = ([0; 8], 8);
        ck!(self.0, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count));
        Door { slot: slots[self.1], ..self.0 }.with_session()
    }

    /// C_GenerateRandom, in a session for it alone.
    pub fn random(&self, out: &mut [u8]) {
        let door = self.with_slot();
        ck!(door, C_GenerateRandom(door.session, out.as_mut_ptr(), out.len() as CK_ULONG));
        door.close_session(door.session);
    }

    /// Logs in to the first token.
    pub fn user(&self, pin: &str) -> Door {
        let door = self.with_slot();
        ck!(door, C_Login(door.session, CKU_USER, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG));
        door
    }

    pub fn log_in(&self, reserved: Option<&str>, pin: &str) -> Door {
        self.initialise(reserved);
        self.user(pin)
    }
}

impl Door {
    /// See [`Loaded`].
    pub fn open(name: &'static str, library: &Path, reserved: Option<&str>, pin: &str) -> Self {
        Loaded::open(name, library).log_in(reserved, pin)
    }

    /// The same token by a session of its own.
    pub fn own_session(&self) -> Own {
        Own(self.with_session())
    }

    /// Nobody closes it.
    fn with_session(&self) -> Self {
        Self { session: self.open_session(), ..*self }
    }

    /// How long `work` takes in a forked child, in which it must not panic. The fork itself is not counted.
    pub fn in_child(&self, work: &mut dyn FnMut()) -> Duration {
        let (mut pipe, mut answer) = ([0; 2], [0; 8]);
        // SAFETY: the child does what is measured, says how long it took, and ends; this process has one thread.
        unsafe {
            assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
            let child = libc::fork();
            if child == 0 {
                let begun = Instant::now();
                work();
                let took = (begun.elapsed().as_nanos() as u64).to_ne_bytes();
                libc::write(pipe[1], took.as_ptr().cast(), took.len());
                libc::_exit(0);
            }
            libc::close(pipe[1]);
            assert_eq!(libc::read(pipe[0], answer.as_mut_ptr().cast(), answer.len()), 8, "the child");
            libc::close(pipe[0]);
            libc::waitpid(child, null_mut(), 0);
        }
        Duration::from_nanos(u64::from_ne_bytes(answer))
    }

    pub fn open_session(&self) -> CK_SESSION_HANDLE {
        let mut session = 0;
        ck!(self, C_OpenSession(self.slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, null_mut(), None, &raw mut session));
        session
    }

    pub fn close_session(&self, session: CK_SESSION_HANDLE) {
        ck!(self, C_CloseSession(session));
    }

    /// The same session, with its functions found by their names (`dlsym`) and not in the list, as some programs do it.
    pub fn exported(&self) -> Self {
        let mut list = *self.list;
        macro_rules! take {
            ($($name:ident)*) => {$(
                // SAFETY: the symbol has the type that PKCS#11 gives the function of this name.
                list.$name = Some(unsafe {
                    *self.library.get(stringify!($name).as_bytes()).expect(stringify!($name))
                });
            )*};
        }
        take! {
            C_SignInit C_Sign C_VerifyInit C_Verify C_EncryptInit C_Encrypt C_FindObjectsInit C_FindObjects
            C_FindObjectsFinal C_GetAttributeValue C_GetSessionInfo C_OpenSession C_CloseSession
        }
        Self { list: Box::leak(Box::new(list)), ..*self }
    }

    /// A pair on the token.
    pub fn pair(&self, mechanism: CK_MECHANISM_TYPE, of: &[Attr], label: &str) -> Pair {
        self.pair_with(mechanism, of, &[s(CKA_LABEL, label)])
    }

    /// `both`: what both halves get.
    pub fn pair_with(&self, mechanism: CK_MECHANISM_TYPE, of: &[Attr], both: &[Attr]) -> Pair {
        let both = [both, &[b(CKA_TOKEN, true)]].concat();
        let public =
            [of, &both, &[b(CKA_VERIFY, true), b(CKA_ENCRYPT, mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN)]].concat();
        let rsa = mechanism == CKM_RSA_PKCS_KEY_PAIR_GEN;
        let private = [&both[..], &[b(CKA_PRIVATE, true), b(CKA_SIGN, true), b(CKA_DECRYPT, rsa)]].concat();
        let mut mechanism = CK_MECHANISM { mechanism, pParameter: null_mut(), ulParameterLen: 0 };
        let (mut public, mut private) = (raw(&public), raw(&private));
        let mut made = Pair { public: 0, private: 0 };
        ck!(
            self,
            C_GenerateKeyPair(
                self.session,
                &raw mut mechanism,
                public.as_mut_ptr(),
                public.len() as CK_ULONG,
                private.as_mut_ptr(),
                private.len() as CK_ULONG,
                &raw mut made.public,
                &raw mut made.private,
            )
        );
        made
    }

    /// An AES-256 key that stays.
    pub fn stored_aes(&self, label: &str) -> CK_OBJECT_HANDLE {
        let template = [u(CKA_VALUE_LEN, 32), b(CKA_TOKEN, true), b(CKA_ENCRYPT, true), s(CKA_LABEL, label)];
        let mut mechanism = CK_MECHANISM { mechanism: CKM_AES_KEY_GEN, pParameter: null_mut(), ulParameterLen: 0 };
        let (mut template, mut key) = (raw(&template), 0);
        let count = template.len() as CK_ULONG;
        ck!(self, C_GenerateKey(self.session, &raw mut mechanism, template.as_mut_ptr(), count, &raw mut key));
        key
    }

    /// An AES-256 key of these bytes, in the session.
    pub fn aes(&self, value: &[u8]) -> CK_OBJECT_HANDLE {
        let template = [
            u(CKA_CLASS, CKO_SECRET_KEY),
            u(CKA_KEY_TYPE, CKK_AES),
            b(CKA_TOKEN, false),
            b(CKA_ENCRYPT, true),
            v(CKA_VALUE, value),
        ];
        let (mut template, mut key) = (raw(&template), 0);
        ck!(self, C_CreateObject(self.session, template.as_mut_ptr(), template.len() as CK_ULONG, &raw mut key));
        key
    }

    pub fn sign(&self, mechanism: &Mech, key: CK_OBJECT_HANDLE, data: &[u8], signature: &mut [u8]) -> usize {
        let (mut mechanism, mut len) = (mechanism.raw(), signature.len() as CK_ULONG);
        ck!(self, C_SignInit(self.session, &raw mut mechanism, key));
        let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ck!(self, C_Sign(self.session, input, input_len, signature.as_mut_ptr(), &raw mut len));
        len as usize
    }

    pub fn verify(&self, mechanism: &Mech, key: CK_OBJECT_HANDLE, data: &[u8], signature: &[u8]) {
        let mut mechanism = mechanism.raw();
        ck!(self, C_VerifyInit(self.session, &raw mut mechanism, key));
        let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ck!(self, C_Verify(self.session, input, input_len, signature.as_ptr().cast_mut(), signature.len() as CK_ULONG));
    }

    pub fn encrypt(&self, mechanism: &Mech, key: CK_OBJECT_HANDLE, data: &[u8], out: &mut [u8]) -> usize {
        let (mut mechanism, mut len) = (mechanism.raw(), out.len() as CK_ULONG);
        ck!(self, C_EncryptInit(self.session, &raw mut mechanism, key));
        let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ck!(self, C_Encrypt(self.session, input, input_len, out.as_mut_ptr(), &raw mut len));
        len as usize
    }

    pub fn decrypt(&self, mechanism: &Mech, key: CK_OBJECT_HANDLE, data: &[u8], out: &mut [u8]) -> usize {
        let (mut mechanism, mut len) = (mechanism.raw(), out.len() as CK_ULONG);
        ck!(self, C_DecryptInit(self.session, &raw mut mechanism, key));
        let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ck!(self, C_Decrypt(self.session, input, input_len, out.as_mut_ptr(), &raw mut len));
        len as usize
    }

    pub fn digest(&self, kind: CK_MECHANISM_TYPE, data: &[u8], out: &mut [u8]) {
        let mut mechanism = CK_MECHANISM { mechanism: kind, pParameter: null_mut(), ulParameterLen: 0 };
        let mut len = out.len() as CK_ULONG;
        ck!(self, C_DigestInit(self.session, &raw mut mechanism));
        let (input, input_len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        ck!(self, C_Digest(self.session, input, input_len, out.as_mut_ptr(), &raw mut len));
    }

    /// CKA_CLASS, CKA_KEY_TYPE and CKA_ID.
    pub fn attributes(&self, object: CK_OBJECT_HANDLE) {
        let (mut class, mut key_type, mut id) = ([0u8; 8], [0u8; 8], [0u8; 64]);
        let mut asked =
            [(CKA_CLASS, &mut class[..]), (CKA_KEY_TYPE, &mut key_type), (CKA_ID, &mut id)].map(|(type_, place)| {
                CK_ATTRIBUTE { type_, pValue: place.as_mut_ptr().cast(), ulValueLen: place.len() as CK_ULONG }
            });
        ck!(self, C_GetAttributeValue(self.session, object, asked.as_mut_ptr(), 3));
    }

    pub fn session_info(&self) {
        let mut info = CK_SESSION_INFO::default();
        ck!(self, C_GetSessionInfo(self.session, &raw mut info));
    }

    /// The value of an attribute of at most 256 bytes.
    pub fn bytes(&self, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Vec<u8> {
        let mut value = vec![0; 256];
        let mut asked = CK_ATTRIBUTE { type_: kind, pValue: value.as_mut_ptr().cast(), ulValueLen: 256 };
        ck!(self, C_GetAttributeValue(self.session, object, &raw mut asked, 1));
        value.truncate(asked.ulValueLen as usize);
        value
    }

    /// All that matches, fetched so many at a time.
    pub fn search(&self, wanted: &[Attr], at_once: usize) -> Vec<CK_OBJECT_HANDLE> {
        let (mut template, mut all, mut page) = (raw(wanted), Vec::new(), vec![0; at_once]);
        ck!(self, C_FindObjectsInit(self.session, template.as_mut_ptr(), template.len() as CK_ULONG));
        loop {
            let mut count = 0;
            ck!(self, C_FindObjects(self.session, page.as_mut_ptr(), at_once as CK_ULONG, &raw mut count));
            all.extend_from_slice(&page[..count as usize]);
            if (count as usize) < at_once {
                break;
            }
        }
        ck!(self, C_FindObjectsFinal(self.session));
        all
    }

    /// The objects with this class and label; there must be one.
    pub fn find(&self, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
        let wanted = [u(CKA_CLASS, class), s(CKA_LABEL, label)];
        let (mut template, mut found, mut count) = (raw(&wanted), [0; 4], 0);
        ck!(self, C_FindObjectsInit(self.session, template.as_mut_ptr(), template.len() as CK_ULONG));
        ck!(self, C_FindObjects(self.session, found.as_mut_ptr(), 4, &raw mut count));
        ck!(self, C_FindObjectsFinal(self.session));
        assert_eq!(count, 1, "{label}");
        found[0]
    }
}
