//! Every function of PKCS#11 3.2 with every argument against a page that may not be touched, before it or behind it: data,
//! templates with their values, mechanisms with their parameters and what those point to, places for answers. Inputs and
//! outputs share their place now and then, wholly or in part; none is aligned unless it happens to be.

use std::ffi::{CString, c_void};

use cryptoki_sys::*;

use crate::call;
use crate::guard_pages::{Fence, Side, bytes_of};
use crate::robust::{Dice, GENTLE, Mode, SLOTS, functions, maker};
use crate::support::{Attr, Client, Installation, Mech, P256, b, raw, s, u, v};

/// Where the arguments of one call lie, and what the next ones are to be.
pub struct Fences {
    side: Side,
    held: Vec<Fence>,
    /// The length of what the last pointer leads to, for the argument behind it.
    length: Option<CK_ULONG>,
    /// The last bytes, for others that overlap them.
    bytes: Option<(*mut u8, usize)>,
    /// Keys and other objects, now and then named.
    objects: Vec<CK_OBJECT_HANDLE>,
    /// Bytes are a name that ends with NUL.
    named: bool,
}

impl Default for Fences {
    fn default() -> Self {
        let (held, objects) = (Vec::new(), Vec::new());
        Self { side: Side::Behind, held, length: None, bytes: None, objects, named: false }
    }
}

impl Fences {
    fn put(&mut self, bytes: &[u8]) -> *mut u8 {
        let fence = Fence::new();
        let place = fence.put(bytes, self.side);
        self.held.push(fence);
        place
    }

    /// A number by value: a length that was made with the pointer before it, else an object, flags, or nothing.
    pub fn number(&mut self, dice: &mut Dice) -> CK_ULONG {
        if let Some(length) = self.length.take() {
            return length;
        }
        let some = self.objects.len() as u64;
        match dice.roll(some + 3) {
            at if at < some => self.objects[at as usize],
            at => [0, 1, CKF_SERIAL_SESSION | CKF_RW_SESSION][(at - some) as usize],
        }
    }
}

/// What a C function's pointer may lead to.
pub trait Pointee: Sized {
    fn fenced(fences: &mut Fences, _: &mut Dice) -> *mut Self {
        fences.put(&vec![0; size_of::<Self>()]).cast()
    }
}

macro_rules! plain {
    ($($kind:ty)*) => { $(impl Pointee for $kind {})* };
}

plain! { CK_INFO CK_SLOT_INFO CK_TOKEN_INFO CK_MECHANISM_INFO CK_SESSION_INFO CK_VERSION CK_INTERFACE CK_ASYNC_DATA }

impl<T> Pointee for *mut T {}

impl Pointee for u8 {
    fn fenced(fences: &mut Fences, dice: &mut Dice) -> *mut u8 {
        if fences.named {
            return fences.put([&b"PKCS 11\0"[..], b"PKCS 11 and more\0", b"\0"][dice.roll(3) as usize]);
        }
        let len = [0, 1, 12, 15, 16, 32, 64, 65, 256][dice.roll(9) as usize];
        let (place, len) = match (fences.bytes, dice.roll(4)) {
            (_, 0) if dice.roll(4) == 0 => (std::ptr::null_mut(), len),
            // In place, or shifted.
            (Some(whole), 1) => whole,
            (Some((start, len)), 2) => {
                let shift = dice.roll(len as u64 + 1) as usize;
                (start.wrapping_add(shift), len - shift)
            }
            _ => (fences.put(&vec![7; len]), len),
        };
        if !place.is_null() {
            fences.bytes = Some((place, len));
        }
        fences.length = Some(len as CK_ULONG);
        place
    }
}

impl Pointee for CK_ULONG {
    fn fenced(fences: &mut Fences, _: &mut Dice) -> *mut CK_ULONG {
        // A length, else a place for one number whose count follows.
        let value = match fences.length.take() {
            Some(length) => length,
            None => *fences.length.insert(1),
        };
        fences.put(&value.to_ne_bytes()).cast()
    }
}

impl Pointee for CK_ATTRIBUTE {
    fn fenced(fences: &mut Fences, dice: &mut Dice) -> *mut CK_ATTRIBUTE {
        let inner = [u(CKA_KEY_TYPE, CKK_AES), b(CKA_SENSITIVE, true)];
        let inner = list(fences, &inner);
        // SAFETY: two attributes were just put there.
        let inner = unsafe { std::slice::from_raw_parts(inner.cast::<u8>(), 2 * size_of::<CK_ATTRIBUTE>()) }.to_vec();
        let secret = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES), v(CKA_VALUE, [7; 32])];
        let template: Vec<Attr> = match dice.roll(6) {
            0 => secret.to_vec(),
            1 => vec![s(CKA_LABEL, "fence"), v(CKA_ID, [1; 3]), v(CKA_UNWRAP_TEMPLATE, inner)],
            2 => vec![u(CKA_VALUE_LEN, 32), b(CKA_ENCRYPT, true)],
            3 => vec![v(CKA_EC_PARAMS, P256), v(CKA_CLASS, [0; 7])],
            4 => vec![u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_GENERIC_SECRET), u(CKA_VALUE_LEN, 16)],
            _ => vec![u(CKA_CLASS, CKO_DATA), v(CKA_VALUE, [1; 100]), s(CKA_APPLICATION, "")],
        };
        fences.length = Some(template.len() as CK_ULONG);
        list(fences, &template)
    }
}

fn list(fences: &mut Fences, template: &[Attr]) -> *mut CK_ATTRIBUTE {
    let mut list = raw(template);
    for (attribute, attr) in list.iter_mut().zip(template) {
        attribute.pValue = fences.put(&attr.1).cast();
    }
    let bytes: Vec<u8> = list.iter().flat_map(|attribute| bytes_of(attribute).to_vec()).collect();
    fences.put(&bytes).cast()
}

impl Pointee for CK_MECHANISM {
    fn fenced(fences: &mut Fences, dice: &mut Dice) -> *mut CK_MECHANISM {
        let (iv, aad) = (fences.put(&[9; 12]), fences.put(b"aad"));
        let gcm = CK_GCM_PARAMS { pIv: iv, ulIvLen: 12, ulIvBits: 96, pAAD: aad, ulAADLen: 3, ulTagBits: 128 };
        let mut wrap = Mech::gcm_wrap(&[0; 12], 32, CKG_GENERATE, b"").parameter;
        wrap[..8].copy_from_slice(&(iv as u64).to_ne_bytes());
        wrap[32..40].copy_from_slice(&(aad as u64).to_ne_bytes());
        let label = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: aad.cast(),
            ulSourceDataLen: 3,
        };
        let data = [iv as u64, 12].map(u64::to_ne_bytes).concat();
        let (kind, parameter) = match dice.roll(12) {
            0 => (CKM_AES_GCM, bytes_of(&gcm).to_vec()),
            1 => (CKM_AES_CBC_PAD, vec![3; 16]),
            2 => (CKM_AES_CTR, Mech::ctr([1; 16], 64).parameter),
            3 => (CKM_RSA_PKCS_OAEP, bytes_of(&label).to_vec()),
            4 => (CKM_SHA256_RSA_PKCS_PSS, Mech::pss(0, CKM_SHA256, CKG_MGF1_SHA256, 32).parameter),
            5 => (CKM_AES_GCM, wrap),
            6 => (CKM_AES_ECB_ENCRYPT_DATA, data),
            7 => (CKM_ECDSA_SHA256, Vec::new()),
            8 => (CKM_SHA256, Vec::new()),
            9 => (CKM_AES_KEY_GEN, Vec::new()),
            10 => (CKM_EC_KEY_PAIR_GEN, Vec::new()),
            _ => (CKM_AES_KEY_WRAP, Vec::new()),
        };
        let mechanism = CK_MECHANISM {
            mechanism: kind,
            pParameter: if parameter.is_empty() { std::ptr::null_mut() } else { fences.put(&parameter).cast() },
            ulParameterLen: parameter.len() as CK_ULONG,
        };
        fences.put(bytes_of(&mechanism)).cast()
    }
}

/// The parameter of a message; reserved pointers are null most of the time.
impl Pointee for c_void {
    fn fenced(fences: &mut Fences, dice: &mut Dice) -> *mut c_void {
        fences.length = Some(0);
        if dice.roll(2) == 0 {
            return std::ptr::null_mut();
        }
        let message = CK_GCM_MESSAGE_PARAMS {
            pIv: fences.put(&[4; 12]),
            ulIvLen: 12,
            ulIvFixedBits: 32,
            ivGenerator: [CKG_NO_GENERATE, CKG_GENERATE, CKG_GENERATE_COUNTER][dice.roll(3) as usize],
            pTag: fences.put(&[0; 16]),
            ulTagBits: 128,
        };
        fences.length = Some(size_of_val(&message) as CK_ULONG);
        fences.put(bytes_of(&message)).cast()
    }
}

/// What is going on in the session when a function is called.
fn begin(c: Client, [aes, public, private]: [CK_OBJECT_HANDLE; 3]) {
    let _ = c.sign_init(CKM_ECDSA_SHA256, private);
    let _ = c.verify_init(CKM_ECDSA, public);
    let _ = c.encrypt_init(Mech::gcm(&[1; 12], b"", 128), aes);
    let _ = c.decrypt_init(Mech::with(CKM_AES_CBC_PAD, [1; 16]), aes);
    let _ = c.digest_init(CKM_SHA256);
    for init in [c.m.table().C_MessageEncryptInit, c.m.table().C_MessageDecryptInit] {
        let mut mechanism = Mech::new(CKM_AES_GCM).raw();
        // SAFETY: of the table; the mechanism outlives the call.
        unsafe { init.unwrap()(c.h, &raw mut mechanism, aes) };
    }
}

#[test]
fn every_argument_of_every_function_lies_against_a_forbidden_page() {
    let installation = Installation::software();
    let c = installation.client();
    let slot = c.m.slot();
    let (public, private) = c.ec_pair(P256, &[b(CKA_DESTROYABLE, false)]).unwrap();
    let aes = c.aes(32, &[b(CKA_WRAP, true), b(CKA_UNWRAP, true), b(CKA_DERIVE, true), b(CKA_DESTROYABLE, false)]);
    let mut maker = maker(c.h);
    (maker.mode, maker.fences.objects) = (Mode::Fenced, vec![aes, public, private]);
    let mut worked = Vec::new();
    for side in [Side::Before, Side::Behind] {
        for (name, function) in functions(c.m) {
            // Sessions are closed at the end only, and PINs are not guessed.
            if GENTLE.contains(&name) {
                continue;
            }
            maker.handle = if SLOTS.contains(&name) { slot } else { c.h };
            for round in 0..100 {
                if round % 4 == 0 {
                    begin(c, [aes, public, private]);
                }
                let (objects, named) = (std::mem::take(&mut maker.fences.objects), name == "C_GetInterface");
                maker.fences = Fences { side, objects, named, ..Fences::default() };
                maker.first = true;
                let rv = function.call(&mut maker);
                assert!(!matches!(rv, CKR_GENERAL_ERROR | CKR_DEVICE_ERROR | CKR_HOST_MEMORY), "{name}: {rv:#x}");
                if rv == CKR_OK && worked.last() != Some(&name) {
                    worked.push(name);
                }
                call!(c.m, C_SessionCancel(c.h, CKF_FIND_OBJECTS));
            }
        }
    }
    // It is no test of refusals alone.
    worked.sort_unstable();
    worked.dedup();
    assert!(worked.len() > 45, "{worked:?}");
    Client::open(c.m).sign(CKM_ECDSA, c.session_pair().1, &[1; 32]).unwrap();
}

/// The functions that were left out: C_Initialize with its text, and PINs.
#[test]
fn arguments_of_initialize_and_pins_lie_against_a_forbidden_page() {
    let installation = Installation::software();
    let m = installation.load();
    for side in [Side::Before, Side::Behind] {
        let mut fences = Fences { side, ..Fences::default() };
        let text = CString::new(format!("conf={}", installation.conf().display())).unwrap();
        let args = CK_C_INITIALIZE_ARGS {
            CreateMutex: None,
            DestroyMutex: None,
            LockMutex: None,
            UnlockMutex: None,
            flags: CKF_OS_LOCKING_OK,
            pReserved: fences.put(text.as_bytes_with_nul()).cast(),
        };
        let place = fences.put(bytes_of(&args)).cast();
        assert_eq!(call!(m, C_Initialize(place)), CKR_OK);
        let c = Client::open(m);
        let (pin, new) = (fences.put(crate::support::PIN.as_bytes()), fences.put(b"another-pin"));
        let (len, new_len) = (crate::support::PIN.len() as CK_ULONG, 11);
        assert_eq!(call!(m, C_LoginUser(c.h, CKU_USER, pin, len, new, 0)), CKR_OK);
        assert_eq!(call!(m, C_SetPIN(c.h, pin, len, new, new_len)), CKR_OK);
        assert_eq!(c.logout(), CKR_OK);
        assert_eq!(call!(m, C_Login(c.h, CKU_USER, new, new_len)), CKR_OK);
        assert_eq!(call!(m, C_SetPIN(c.h, new, new_len, pin, len)), CKR_OK);
        assert_eq!(c.logout(), CKR_OK);
        c.login_so();
        assert_eq!(call!(m, C_InitPIN(c.h, pin, len)), CKR_OK);
        assert_eq!(call!(m, C_CloseAllSessions(m.slot())), CKR_OK);
        let so = fences.put(crate::support::SO_PIN.as_bytes());
        let label = fences.put(&[b'x'; 32]);
        let rv = call!(m, C_InitToken(m.slot(), so, crate::support::SO_PIN.len() as CK_ULONG, label));
        assert!(matches!(rv, CKR_OK | CKR_TOKEN_WRITE_PROTECTED | CKR_ACTION_PROHIBITED), "{rv:#x}");
        if rv == CKR_OK {
            let c = Client::open(m);
            c.login_so();
            assert_eq!(call!(m, C_InitPIN(c.h, pin, len)), CKR_OK);
        }
        assert_eq!(m.finalize(), CKR_OK);
    }
}
