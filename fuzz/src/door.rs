//! The C door of this process: its function table, a login that stays, and a session key of each kind.

use std::ffi::CString;
use std::sync::OnceLock;

use arbitrary::Unstructured;
use cryptoki_sys::*;

use super::world::{PIN, world};

unsafe extern "C" {
    fn C_GetInterface(
        name: CK_UTF8CHAR_PTR,
        version: CK_VERSION_PTR,
        interface: CK_INTERFACE_PTR_PTR,
        flags: CK_FLAGS,
    ) -> CK_RV;
}

/// What the targets at the door work with.
pub struct Door {
    pub list: &'static CK_FUNCTION_LIST_3_2,
    pub slot: CK_SLOT_ID,
    /// Keys that nobody can change or destroy: AES, a secret, SM4, then pairs of RSA, P-256, Ed25519, X25519, SM2.
    pub keys: Vec<CK_OBJECT_HANDLE>,
}

/// Calls a function through the table: `call!(door, C_Sign(session, …))`.
#[macro_export]
macro_rules! door_call {
    ($door:expr, $name:ident ( $($arg:expr),* $(,)? )) => {
        // SAFETY: the table is the library's; the arguments are as PKCS#11 wants them, or what the door must notice.
        unsafe { ($door.list.$name.expect(stringify!($name)))($($arg),*) }
    };
}
pub use door_call as call;

const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const X25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x6e];

/// Works on the input in a session of its own.
pub fn in_a_session(data: &[u8], work: fn(&mut Unstructured<'_>, CK_SESSION_HANDLE) -> arbitrary::Result<()>) {
    let session = door().session();
    let _ = work(&mut Unstructured::new(data), session);
    assert_eq!(call!(door(), C_CloseSession(session)), CKR_OK);
}

pub fn door() -> &'static Door {
    static DOOR: OnceLock<Door> = OnceLock::new();
    DOOR.get_or_init(Door::new)
}

fn attribute<T>(kind: CK_ATTRIBUTE_TYPE, value: &T) -> CK_ATTRIBUTE {
    let size = size_of::<T>() as CK_ULONG;
    CK_ATTRIBUTE { type_: kind, pValue: std::ptr::from_ref(value).cast_mut().cast(), ulValueLen: size }
}

impl Door {
    fn new() -> Self {
        let conf = CString::new(format!("conf={}", world().conf.display())).unwrap();
        let mut version = CK_VERSION { major: 3, minor: 2 };
        let mut interface = std::ptr::null_mut();
        // SAFETY: as PKCS#11 has it; the table of version 3.2 is of that type and static.
        let list = unsafe {
            assert_eq!(C_GetInterface(std::ptr::null_mut(), &raw mut version, &raw mut interface, 0), CKR_OK);
            &*(*interface).pFunctionList.cast::<CK_FUNCTION_LIST_3_2>()
        };
        let mut door = Self { list, slot: 0, keys: Vec::new() };
        let mut args = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: conf.as_ptr().cast_mut().cast(),
        };
        assert_eq!(call!(door, C_Initialize((&raw mut args).cast())), CKR_OK);
        let mut count = 1;
        assert_eq!(call!(door, C_GetSlotList(CK_TRUE, &raw mut door.slot, &raw mut count)), CKR_OK);
        let session = door.session();
        let rv = call!(door, C_Login(session, CKU_USER, PIN.as_ptr().cast_mut(), PIN.len() as CK_ULONG));
        assert_eq!(rv, CKR_OK);
        door.make_keys(session);
        door
    }

    /// A session that writes nothing to the store.
    pub fn session(&self) -> CK_SESSION_HANDLE {
        let mut session = 0;
        let place = &raw mut session;
        assert_eq!(
            call!(self, C_OpenSession(self.slot, CKF_SERIAL_SESSION, std::ptr::null_mut(), None, place)),
            CKR_OK
        );
        session
    }

    fn make_keys(&mut self, session: CK_SESSION_HANDLE) {
        let (no, yes) = (CK_FALSE, CK_TRUE);
        let fixed = [attribute(CKA_DESTROYABLE, &no), attribute(CKA_MODIFIABLE, &no)];
        let on = |kinds: &[CK_ATTRIBUTE_TYPE]| kinds.iter().map(|kind| attribute(*kind, &yes)).collect::<Vec<_>>();
        let uses = on(&[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE]);
        for (kind, length) in [(CKM_AES_KEY_GEN, 32), (CKM_GENERIC_SECRET_KEY_GEN, 32), (0xC14C_4920, 16)] {
            let mut mechanism = CK_MECHANISM { mechanism: kind, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
            let length: CK_ULONG = length;
            let mut template = [&fixed[..], &uses[if length == 16 { 0..2 } else { 0..7 }]].concat();
            if kind == CKM_GENERIC_SECRET_KEY_GEN {
                template = [&fixed[..], &uses[2..4], &uses[6..]].concat();
            }
            if length != 16 {
                template.push(attribute(CKA_VALUE_LEN, &length));
            }
            let (list, count) = (template.as_mut_ptr(), template.len() as CK_ULONG);
            let mut key = 0;
            let rv = call!(self, C_GenerateKey(session, &raw mut mechanism, list, count, &raw mut key));
            assert_eq!(rv, CKR_OK, "{kind:#x}");
            self.keys.push(key);
        }
        let bits: CK_ULONG = 2048;
        let curve = |der: &'static [u8]| CK_ATTRIBUTE {
            type_: CKA_EC_PARAMS,
            pValue: der.as_ptr().cast_mut().cast(),
            ulValueLen: der.len() as CK_ULONG,
        };
        let seals = (on(&[CKA_VERIFY, CKA_ENCRYPT]), on(&[CKA_SIGN, CKA_DECRYPT]));
        for (kind, own, (public, private)) in [
            (CKM_RSA_PKCS_KEY_PAIR_GEN, Some(attribute(CKA_MODULUS_BITS, &bits)), seals.clone()),
            (CKM_EC_KEY_PAIR_GEN, Some(curve(P256)), (on(&[CKA_VERIFY]), on(&[CKA_SIGN, CKA_DERIVE]))),
            (CKM_EC_EDWARDS_KEY_PAIR_GEN, Some(curve(ED25519)), (on(&[CKA_VERIFY]), on(&[CKA_SIGN]))),
            (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, Some(curve(X25519)), (Vec::new(), on(&[CKA_DERIVE]))),
            (0xC14C_4901, None, seals.clone()),
        ] {
            let mut mechanism = CK_MECHANISM { mechanism: kind, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
            let mut outer: Vec<_> = fixed.iter().copied().chain(own).chain(public).collect();
            let mut inner = [&fixed[..], &private].concat();
            let (outer_count, inner_count) = (outer.len() as CK_ULONG, inner.len() as CK_ULONG);
            let mut keys = [0; 2];
            let [one, other] = &mut keys;
            let (outer, inner, mechanism) = (outer.as_mut_ptr(), inner.as_mut_ptr(), &raw mut mechanism);
            let rv =
                call!(self, C_GenerateKeyPair(session, mechanism, outer, outer_count, inner, inner_count, one, other));
            assert_eq!(rv, CKR_OK, "{kind:#x}");
            self.keys.extend(keys);
        }
    }
}
