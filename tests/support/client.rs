//! A session and what one does with it. Every function answers the CK_RV as its error.

use cryptoki_sys::*;

use super::{Attr, Mech, Module, P256, PIN, SO_PIN, b, raw, u, v};
use crate::call;

type Outcome<T> = Result<T, CK_RV>;

/// A session of a module.
#[derive(Clone, Copy)]
pub struct Client {
    pub m: &'static Module,
    pub h: CK_SESSION_HANDLE,
    /// Does an Update put out what it announced? Devices may keep it all for Final.
    pub exact: bool,
}

fn outcome(rv: CK_RV) -> Outcome<()> {
    if rv == CKR_OK { Ok(()) } else { Err(rv) }
}

/// The convention of PKCS#11 3.2 §5.2, checked on the way: the length by NULL, one byte too few (nothing is written), then
/// the answer. `exact`: the first length must be the last.
pub fn two_calls(exact: bool, mut call: impl FnMut(CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV) -> Outcome<Vec<u8>> {
    let mut asked = 0xdead;
    outcome(call(std::ptr::null_mut(), &raw mut asked))?;
    let size = asked as usize;
    // An Update that holds everything back announces a byte, so that nobody comes back with NULL for a buffer of none.
    let exact = exact && size != 1;
    // Guard bytes behind the room.
    let mut buffer = vec![0xa5u8; size + 16];
    if exact && size > 0 {
        let mut small = asked - 1;
        assert_eq!(call(buffer.as_mut_ptr(), &raw mut small), CKR_BUFFER_TOO_SMALL);
        assert_eq!(small, asked, "the size that CKR_BUFFER_TOO_SMALL tells");
        assert!(buffer.iter().all(|byte| *byte == 0xa5), "a buffer that is too small was written to");
    }
    let mut len = asked;
    outcome(call(buffer.as_mut_ptr(), &raw mut len))?;
    let len = len as usize;
    assert!(if exact { len == size } else { len <= size }, "{len} bytes after {size} were announced");
    assert!(buffer[size..].iter().all(|byte| *byte == 0xa5), "more was written than there is room for");
    buffer.truncate(len);
    Ok(buffer)
}

macro_rules! operation {
    ($($init:ident $C_Init:ident;)*) => {
        $(pub fn $init(&self, mechanism: impl Into<Mech>, key: CK_OBJECT_HANDLE) -> Outcome<()> {
            let mechanism = mechanism.into();
            let mut raw = mechanism.raw();
            outcome(call!(self.m, $C_Init(self.h, &raw mut raw, key)))
        })*
    };
}

macro_rules! one_shot {
    ($($name:ident $C_Name:ident $exact:expr;)*) => {
        $(/// With both calls of the convention.
        pub fn $name(&self, input: &[u8]) -> Outcome<Vec<u8>> {
            let (start, len) = (input.as_ptr().cast_mut(), input.len() as CK_ULONG);
            two_calls($exact, |out, out_len| call!(self.m, $C_Name(self.h, start, len, out, out_len)))
        })*
    };
}

macro_rules! feed {
    ($($name:ident $C_Name:ident;)*) => {
        $(pub fn $name(&self, part: &[u8]) -> Outcome<()> {
            outcome(call!(self.m, $C_Name(self.h, part.as_ptr().cast_mut(), part.len() as CK_ULONG)))
        })*
    };
}

macro_rules! last {
    ($($name:ident $C_Name:ident $exact:expr;)*) => {
        $(pub fn $name(&self) -> Outcome<Vec<u8>> {
            two_calls($exact, |out, len| call!(self.m, $C_Name(self.h, out, len)))
        })*
    };
}

impl Client {
    pub fn try_open(m: &'static Module, slot: CK_SLOT_ID, flags: CK_FLAGS) -> Outcome<Self> {
        let mut h = 0;
        outcome(call!(m, C_OpenSession(slot, flags, std::ptr::null_mut(), None, &raw mut h)))?;
        Ok(Self { m, h, exact: true })
    }

    /// A read-write session.
    pub fn open(m: &'static Module) -> Self {
        Self::try_open(m, m.slot(), CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap()
    }

    pub fn open_read_only(m: &'static Module) -> Self {
        Self::try_open(m, m.slot(), CKF_SERIAL_SESSION).unwrap()
    }

    /// Another read-write session of the same token.
    pub fn another(&self) -> Self {
        Self::open(self.m)
    }

    pub fn close(&self) {
        assert_eq!(call!(self.m, C_CloseSession(self.h)), CKR_OK);
    }

    pub fn login_as(&self, user: CK_USER_TYPE, pin: &str) -> CK_RV {
        call!(self.m, C_Login(self.h, user, pin.as_ptr().cast_mut(), pin.len() as CK_ULONG))
    }

    pub fn login(&self) {
        assert_eq!(self.login_as(CKU_USER, PIN), CKR_OK, "C_Login");
    }

    pub fn login_so(&self) {
        assert_eq!(self.login_as(CKU_SO, SO_PIN), CKR_OK, "C_Login");
    }

    pub fn logout(&self) -> CK_RV {
        call!(self.m, C_Logout(self.h))
    }

    pub fn state(&self) -> CK_STATE {
        // SAFETY: plain data.
        let mut info: CK_SESSION_INFO = unsafe { std::mem::zeroed() };
        assert_eq!(call!(self.m, C_GetSessionInfo(self.h, &raw mut info)), CKR_OK);
        info.state
    }

    pub fn create(&self, template: &[Attr]) -> Outcome<CK_OBJECT_HANDLE> {
        let (mut list, mut object) = (raw(template), 0);
        outcome(call!(self.m, C_CreateObject(self.h, list.as_mut_ptr(), list.len() as CK_ULONG, &raw mut object)))?;
        Ok(object)
    }

    pub fn copy(&self, object: CK_OBJECT_HANDLE, template: &[Attr]) -> Outcome<CK_OBJECT_HANDLE> {
        let (mut list, mut copy) = (raw(template), 0);
        outcome(call!(self.m, C_CopyObject(self.h, object, list.as_mut_ptr(), list.len() as CK_ULONG, &raw mut copy)))?;
        Ok(copy)
    }

    pub fn destroy(&self, object: CK_OBJECT_HANDLE) -> Outcome<()> {
        outcome(call!(self.m, C_DestroyObject(self.h, object)))
    }

    pub fn set(&self, object: CK_OBJECT_HANDLE, template: &[Attr]) -> Outcome<()> {
        let mut list = raw(template);
        outcome(call!(self.m, C_SetAttributeValue(self.h, object, list.as_mut_ptr(), list.len() as CK_ULONG)))
    }

    /// The value of one attribute.
    pub fn get(&self, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> Outcome<Vec<u8>> {
        let mut one = CK_ATTRIBUTE { type_: kind, pValue: std::ptr::null_mut(), ulValueLen: 0 };
        outcome(call!(self.m, C_GetAttributeValue(self.h, object, &raw mut one, 1)))?;
        let mut value = vec![0; one.ulValueLen as usize];
        one.pValue = value.as_mut_ptr().cast();
        outcome(call!(self.m, C_GetAttributeValue(self.h, object, &raw mut one, 1)))?;
        value.truncate(one.ulValueLen as usize);
        Ok(value)
    }

    pub fn is(&self, object: CK_OBJECT_HANDLE, kind: CK_ATTRIBUTE_TYPE) -> bool {
        self.get(object, kind).unwrap() == [1]
    }

    pub fn label(&self, object: CK_OBJECT_HANDLE) -> String {
        String::from_utf8(self.get(object, CKA_LABEL).unwrap()).unwrap()
    }

    pub fn find(&self, template: &[Attr]) -> Vec<CK_OBJECT_HANDLE> {
        self.try_find(template).unwrap()
    }

    pub fn try_find(&self, template: &[Attr]) -> Outcome<Vec<CK_OBJECT_HANDLE>> {
        let mut list = raw(template);
        outcome(call!(self.m, C_FindObjectsInit(self.h, list.as_mut_ptr(), list.len() as CK_ULONG)))?;
        let (mut all, mut page, mut count) = (Vec::new(), [0; 7], 0);
        loop {
            outcome(call!(self.m, C_FindObjects(self.h, page.as_mut_ptr(), 7, &raw mut count)))?;
            all.extend_from_slice(&page[..count as usize]);
            if count == 0 {
                break;
            }
        }
        outcome(call!(self.m, C_FindObjectsFinal(self.h)))?;
        Ok(all)
    }

    /// The only object of this class and label.
    pub fn one(&self, class: CK_OBJECT_CLASS, label: &str) -> CK_OBJECT_HANDLE {
        let found = self.find(&[u(CKA_CLASS, class), v(CKA_LABEL, label)]);
        assert_eq!(found.len(), 1, "objects of class {class} labelled {label}");
        found[0]
    }

    pub fn generate(&self, mechanism: impl Into<Mech>, template: &[Attr]) -> Outcome<CK_OBJECT_HANDLE> {
        let (mechanism, mut list, mut key) = (mechanism.into(), raw(template), 0);
        let mut raw = mechanism.raw();
        let count = list.len() as CK_ULONG;
        outcome(call!(self.m, C_GenerateKey(self.h, &raw mut raw, list.as_mut_ptr(), count, &raw mut key)))?;
        Ok(key)
    }

    /// Answers the public and the private key.
    pub fn generate_pair(
        &self,
        mechanism: impl Into<Mech>,
        public: &[Attr],
        private: &[Attr],
    ) -> Outcome<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let (mechanism, mut outer, mut inner) = (mechanism.into(), raw(public), raw(private));
        let (mut raw, mut keys) = (mechanism.raw(), (0, 0));
        outcome(call!(
            self.m,
            C_GenerateKeyPair(
                self.h,
                &raw mut raw,
                outer.as_mut_ptr(),
                outer.len() as CK_ULONG,
                inner.as_mut_ptr(),
                inner.len() as CK_ULONG,
                &raw mut keys.0,
                &raw mut keys.1,
            )
        ))?;
        Ok(keys)
    }

    /// `both`: attributes of both halves.
    pub fn ec_pair(&self, curve: &[u8], both: &[Attr]) -> Outcome<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let public = [&[v(CKA_EC_PARAMS, curve)], both].concat();
        self.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, both)
    }

    /// A session key pair on P-256.
    pub fn session_pair(&self) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        self.ec_pair(P256, &[]).unwrap()
    }

    pub fn rsa_pair(
        &self,
        bits: CK_ULONG,
        public: &[Attr],
        private: &[Attr],
    ) -> Outcome<(CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)> {
        let public = [&[u(CKA_MODULUS_BITS, bits)], public].concat();
        self.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &public, private)
    }

    /// An AES key that may encrypt, decrypt, sign and verify.
    pub fn aes(&self, bytes: CK_ULONG, more: &[Attr]) -> CK_OBJECT_HANDLE {
        let uses = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY].map(|kind| b(kind, true));
        self.generate(CKM_AES_KEY_GEN, &[&[u(CKA_VALUE_LEN, bytes)], &uses[..], more].concat()).unwrap()
    }

    /// A session secret key with this value and every use.
    pub fn secret(&self, key_type: CK_KEY_TYPE, value: &[u8]) -> CK_OBJECT_HANDLE {
        self.create(&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, key_type), v(CKA_VALUE, value)]).unwrap()
    }

    operation! {
        sign_init C_SignInit;
        verify_init C_VerifyInit;
        encrypt_init C_EncryptInit;
        decrypt_init C_DecryptInit;
    }

    one_shot! {
        sign_data C_Sign true;
        encrypt_data C_Encrypt true;
        decrypt_data C_Decrypt false;
        digest_data C_Digest true;
    }

    feed! {
        sign_update C_SignUpdate;
        verify_update C_VerifyUpdate;
        digest_update C_DigestUpdate;
    }

    last! {
        sign_final C_SignFinal true;
        digest_final C_DigestFinal true;
        encrypt_final C_EncryptFinal true;
        decrypt_final C_DecryptFinal false;
    }

    pub fn sign(&self, mechanism: impl Into<Mech>, key: CK_OBJECT_HANDLE, data: &[u8]) -> Outcome<Vec<u8>> {
        self.sign_init(mechanism, key)?;
        self.sign_data(data)
    }

    pub fn verify_data(&self, data: &[u8], signature: &[u8]) -> Outcome<()> {
        let (data, len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        let (signature, size) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
        outcome(call!(self.m, C_Verify(self.h, data, len, signature, size)))
    }

    pub fn verify_final(&self, signature: &[u8]) -> Outcome<()> {
        let (signature, size) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
        outcome(call!(self.m, C_VerifyFinal(self.h, signature, size)))
    }

    pub fn verify(
        &self,
        mechanism: impl Into<Mech>,
        key: CK_OBJECT_HANDLE,
        data: &[u8],
        signature: &[u8],
    ) -> Outcome<()> {
        self.verify_init(mechanism, key)?;
        self.verify_data(data, signature)
    }

    pub fn encrypt(&self, mechanism: impl Into<Mech>, key: CK_OBJECT_HANDLE, data: &[u8]) -> Outcome<Vec<u8>> {
        self.encrypt_init(mechanism, key)?;
        self.encrypt_data(data)
    }

    pub fn decrypt(&self, mechanism: impl Into<Mech>, key: CK_OBJECT_HANDLE, data: &[u8]) -> Outcome<Vec<u8>> {
        self.decrypt_init(mechanism, key)?;
        self.decrypt_data(data)
    }

    pub fn digest_init(&self, mechanism: impl Into<Mech>) -> Outcome<()> {
        let mechanism = mechanism.into();
        let mut raw = mechanism.raw();
        outcome(call!(self.m, C_DigestInit(self.h, &raw mut raw)))
    }

    pub fn digest(&self, kind: impl Into<Mech>, data: &[u8]) -> Outcome<Vec<u8>> {
        self.digest_init(kind)?;
        self.digest_data(data)
    }

    pub fn encrypt_update(&self, part: &[u8]) -> Outcome<Vec<u8>> {
        let (start, size) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        two_calls(self.exact, |out, len| call!(self.m, C_EncryptUpdate(self.h, start, size, out, len)))
    }

    pub fn decrypt_update(&self, part: &[u8]) -> Outcome<Vec<u8>> {
        let (start, size) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        two_calls(self.exact, |out, len| call!(self.m, C_DecryptUpdate(self.h, start, size, out, len)))
    }

    /// With both calls of the convention; what the token put into the mechanism's parameter is there afterwards.
    pub fn wrap(
        &self,
        mechanism: impl Into<Mech>,
        wrapping: CK_OBJECT_HANDLE,
        key: CK_OBJECT_HANDLE,
    ) -> Outcome<Vec<u8>> {
        let mechanism = mechanism.into();
        let mut raw = mechanism.raw();
        two_calls(true, |out, len| call!(self.m, C_WrapKey(self.h, &raw mut raw, wrapping, key, out, len)))
    }

    pub fn unwrap(
        &self,
        mechanism: impl Into<Mech>,
        unwrapping: CK_OBJECT_HANDLE,
        wrapped: &[u8],
        template: &[Attr],
    ) -> Outcome<CK_OBJECT_HANDLE> {
        let (mechanism, mut list, mut key) = (mechanism.into(), raw(template), 0);
        let (mut raw, count) = (mechanism.raw(), list.len() as CK_ULONG);
        let (start, len, list) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG, list.as_mut_ptr());
        outcome(call!(self.m, C_UnwrapKey(self.h, &raw mut raw, unwrapping, start, len, list, count, &raw mut key)))?;
        Ok(key)
    }

    pub fn derive(&self, mechanism: &Mech, key: CK_OBJECT_HANDLE, template: &[Attr]) -> Outcome<CK_OBJECT_HANDLE> {
        let (mut raw_mechanism, mut list, mut derived) = (mechanism.raw(), raw(template), 0);
        let count = list.len() as CK_ULONG;
        outcome(call!(
            self.m,
            C_DeriveKey(self.h, &raw mut raw_mechanism, key, list.as_mut_ptr(), count, &raw mut derived)
        ))?;
        Ok(derived)
    }
}
