//! Nulls, absurd lengths, wild handles and random templates at every function: answered, never a crash.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::fenced::{Fences, Pointee};
use crate::support::{Client, Installation, Mech, P256, Setup, b, u, v};

/// Numbers from a seed, the same each time.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What arguments are made of.
pub struct Maker {
    pub dice: Dice,
    /// For the first argument: a session or slot that is there.
    pub handle: CK_ULONG,
    pub first: bool,
    pub mode: Mode,
    /// Zeros that anything may be read from and written to.
    scratch: Vec<u64>,
    /// For [`Mode::Fenced`].
    pub fences: Fences,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Mode {
    Zero,
    Most,
    Random,
    /// Every pointer leads to exactly as much as there is, against a page that may not be touched.
    Fenced,
}

/// An argument of a C function.
pub trait Made {
    fn made(maker: &mut Maker) -> Self;
}

impl Made for CK_ULONG {
    fn made(maker: &mut Maker) -> Self {
        let first = std::mem::replace(&mut maker.first, false);
        match maker.mode {
            Mode::Random if first && maker.dice.roll(8) != 0 => maker.handle,
            Mode::Zero => 0,
            Mode::Most if first => maker.handle,
            Mode::Most => CK_ULONG::MAX,
            Mode::Fenced if first => maker.handle,
            Mode::Fenced => maker.fences.number(&mut maker.dice),
            Mode::Random => [0, 1, 2, CK_ULONG::MAX, CK_ULONG::MAX / 2 + 1][maker.dice.roll(5) as usize],
        }
    }
}

impl Made for u8 {
    fn made(maker: &mut Maker) -> Self {
        maker.dice.roll(256) as u8
    }
}

impl<T: Pointee> Made for *mut T {
    fn made(maker: &mut Maker) -> Self {
        if maker.mode == Mode::Fenced {
            return T::fenced(&mut maker.fences, &mut maker.dice);
        }
        let null = maker.mode == Mode::Zero || maker.dice.roll(3) == 0;
        // Not aligned, half of the time.
        let shift = maker.dice.roll(2) as usize * 3;
        if null { std::ptr::null_mut() } else { maker.scratch.as_mut_ptr().cast::<u8>().wrapping_add(shift).cast() }
    }
}

impl<T> Made for Option<T> {
    fn made(_: &mut Maker) -> Self {
        None
    }
}

/// A function of the table, called with whatever `Maker` makes.
pub trait Callable {
    fn call(&self, maker: &mut Maker) -> CK_RV;
}

macro_rules! callable {
    ($($arg:ident)*) => {
        impl<$($arg: Made),*> Callable for unsafe extern "C" fn($($arg),*) -> CK_RV {
            #[allow(unused_variables)]
            fn call(&self, maker: &mut Maker) -> CK_RV {
                // SAFETY: pointers are null or lead to more room than a valid length here asks for.
                unsafe { self($($arg::made(maker)),*) }
            }
        }
    };
}

callable! { A }
callable! { A B }
callable! { A B C }
callable! { A B C D }
callable! { A B C D E }
callable! { A B C D E F }
callable! { A B C D E F G }
callable! { A B C D E F G H }
callable! { A B C D E F G H I }
callable! { A B C D E F G H I J }

macro_rules! functions {
    ($($name:ident)*) => {
        pub fn functions(m: &crate::support::Module) -> Vec<(&'static str, Box<dyn Callable>)> {
            let table = m.table();
            vec![$((stringify!($name), Box::new(table.$name.unwrap()) as Box<dyn Callable>)),*]
        }
    };
}

// All of PKCS#11 3.2 but C_Initialize and C_Finalize.
functions! {
    C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo C_InitToken
    C_InitPIN C_SetPIN C_OpenSession C_GetSessionInfo C_GetOperationState C_SetOperationState C_Login C_CreateObject
    C_CopyObject C_DestroyObject C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects
    C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit C_Decrypt C_DecryptUpdate
    C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey C_DigestFinal C_SignInit C_Sign C_SignUpdate
    C_SignFinal C_SignRecoverInit C_SignRecover C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit
    C_VerifyRecover C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate C_GenerateKey
    C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey C_SeedRandom C_GenerateRandom C_GetFunctionStatus
    C_CancelFunction C_WaitForSlotEvent C_GetInterfaceList C_GetInterface C_LoginUser C_SessionCancel
    C_MessageEncryptInit C_EncryptMessage C_EncryptMessageBegin C_EncryptMessageNext C_MessageEncryptFinal
    C_MessageDecryptInit C_DecryptMessage C_DecryptMessageBegin C_DecryptMessageNext C_MessageDecryptFinal
    C_MessageSignInit C_SignMessage C_SignMessageBegin C_SignMessageNext C_MessageSignFinal C_MessageVerifyInit
    C_VerifyMessage C_VerifyMessageBegin C_VerifyMessageNext C_MessageVerifyFinal C_EncapsulateKey C_DecapsulateKey
    C_VerifySignatureInit C_VerifySignature C_VerifySignatureUpdate C_VerifySignatureFinal C_GetSessionValidationFlags
    C_AsyncComplete C_AsyncGetID C_AsyncJoin C_WrapKeyAuthenticated C_UnwrapKeyAuthenticated C_CloseSession
    C_CloseAllSessions C_Logout
}

/// These work without C_Initialize.
const ALWAYS: &[&str] = &["C_GetFunctionList", "C_GetInterfaceList", "C_GetInterface"];
/// These begin with a slot.
pub const SLOTS: &[&str] =
    &["C_GetSlotInfo", "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_InitToken", "C_OpenSession"];
/// These would end what the others need, or count wrong PINs (each costs Argon2id); nulls are enough for them.
pub const GENTLE: &[&str] = &["C_CloseSession", "C_CloseAllSessions", "C_Logout", "C_SetPIN", "C_InitToken"];

pub fn maker(handle: CK_ULONG) -> Maker {
    let (mode, fences) = (Mode::Zero, Fences::default());
    Maker { dice: Dice(42), handle, first: true, mode, scratch: vec![0; 8192], fences }
}

#[test]
fn before_initialize() {
    let installation = Installation::software();
    let m = installation.load();
    let mut maker = maker(1);
    let all = functions(m);
    // None is left out: the library's own list is held against the header's structure by the compiler.
    let ours = alikms_pkcs11::abi::FUNCTIONS.iter().map(|(name, _)| *name);
    let mut names: Vec<_> = all.iter().map(|(name, _)| *name).chain(["C_Initialize", "C_Finalize"]).collect();
    let mut ours: Vec<_> = ours.collect();
    names.sort_unstable();
    ours.sort_unstable();
    assert_eq!(names, ours);
    for (name, function) in all {
        for mode in [Mode::Zero, Mode::Most, Mode::Random] {
            (maker.mode, maker.first) = (mode, true);
            maker.scratch.fill(0);
            let rv = function.call(&mut maker);
            assert!(rv == CKR_CRYPTOKI_NOT_INITIALIZED || ALWAYS.contains(&name), "{name}: {rv:#x}");
        }
    }
    assert_eq!(m.finalize(), CKR_CRYPTOKI_NOT_INITIALIZED);
}

/// With nothing, with the most, and with what dice give, with every kind of operation going on.
#[test]
fn every_function() {
    let installation = Installation::software();
    let c = installation.client();
    let slot = c.m.slot();
    let (public, private) = c.session_pair();
    let aes = c.aes(32, &[]);
    let mut maker = maker(c.h);
    for (name, function) in functions(c.m) {
        maker.handle = if SLOTS.contains(&name) { slot } else { c.h };
        let rounds = if GENTLE.contains(&name) { 1 } else { 400 };
        for round in 0..rounds {
            if round % 8 == 0 && !GENTLE.contains(&name) {
                let _ = c.sign_init(CKM_ECDSA_SHA256, private);
                let _ = c.verify_init(CKM_ECDSA, public);
                let _ = c.encrypt_init(Mech::gcm(&[1; 12], b"", 128), aes);
                let _ = c.decrypt_init(Mech::with(CKM_AES_CBC_PAD, [1; 16]), aes);
                let _ = c.digest_init(CKM_SHA256);
            }
            maker.mode = match round {
                0 => Mode::Zero,
                1 => Mode::Most,
                _ => Mode::Random,
            };
            maker.first = true;
            maker.scratch.fill(0);
            let rv = function.call(&mut maker);
            assert_ne!(rv, CKR_GENERAL_ERROR, "{name}, round {round}: a panic or a fault inside");
            assert_ne!(rv, CKR_DEVICE_ERROR, "{name}, round {round}");
        }
    }
    // All is as before.
    let c = Client::open(c.m);
    c.login_as(CKU_USER, crate::support::PIN);
    let (_, key) = c.session_pair();
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
}

/// Templates made of real types with values of every length, some of them right.
#[test]
fn random_templates() {
    let installation = Installation::new(&Setup { token: "destroy = \"immediate\"", ..Setup::default() });
    let c = installation.client();
    let mut dice = Dice(7);
    let kinds: Vec<CK_ATTRIBUTE_TYPE> = (0..0x18)
        .chain(0x80..0x95)
        .chain(0x100..0x140)
        .chain(0x160..0x190)
        .chain([CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_ALLOWED_MECHANISMS, CK_ULONG::MAX])
        .chain(0xC14C_4900..0xC14C_4909)
        .collect();
    let value = |dice: &mut Dice| match dice.roll(6) {
        0 => vec![],
        1 => vec![dice.roll(3) as u8],
        2 => dice.roll(9).to_ne_bytes().to_vec(),
        3 => P256.to_vec(),
        4 => vec![dice.roll(256) as u8; dice.roll(40) as usize],
        _ => CK_ULONG::MAX.to_ne_bytes().to_vec(),
    };
    for _ in 0..1500 {
        let count = dice.roll(6);
        let mut template =
            vec![u(CKA_CLASS, dice.roll(6)), u(CKA_KEY_TYPE, [CKK_AES, CKK_EC, CKK_RSA, 16][dice.roll(4) as usize])];
        for _ in 0..count {
            let kind = kinds[dice.roll(kinds.len() as u64) as usize];
            template.push(v(kind, value(&mut dice)));
        }
        template.push(b(CKA_TOKEN, dice.roll(4) == 0));
        let public = [&[v(CKA_EC_PARAMS, P256)], &template[2..]].concat();
        let results = [
            c.create(&template),
            c.generate(CKM_AES_KEY_GEN, &[&[u(CKA_VALUE_LEN, 16)], &template[2..]].concat()),
            c.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &template[2..]).map(|keys| keys.1),
            c.try_find(&template).map(|_| 0),
        ];
        for result in results {
            assert!(!matches!(result, Err(CKR_GENERAL_ERROR | CKR_DEVICE_ERROR)), "{template:?}: {result:?}");
            if let Ok(key @ 1..) = result {
                let _ = c.set(key, &template[2..]);
                let _ = c.copy(key, &template[2..]);
                for kind in &kinds {
                    let _ = c.get(key, *kind);
                }
                let _ = c.destroy(key);
            }
        }
    }
}

/// Templates that contain themselves (p11-kit CVE-2026-13757), and mechanism parameters that lead nowhere.
#[test]
fn loops_and_null_parameters() {
    let installation = Installation::software();
    let c = installation.client();
    let mut list = [CK_ATTRIBUTE { type_: CKA_WRAP_TEMPLATE, pValue: std::ptr::null_mut(), ulValueLen: 24 }];
    list[0].pValue = list.as_mut_ptr().cast::<c_void>();
    let mut object = 0;
    let rv = crate::call!(c.m, C_CreateObject(c.h, list.as_mut_ptr(), 1, &raw mut object));
    assert_eq!(rv, CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(crate::call!(c.m, C_FindObjectsInit(c.h, list.as_mut_ptr(), 1)), CKR_ATTRIBUTE_VALUE_INVALID);
    let (aes, private) = (c.aes(16, &[]), c.session_pair().1);
    for row in c.m.mechanisms() {
        for len in [0, 1, 8, 16, 24, 40, 48, CK_ULONG::MAX] {
            let mut raw = CK_MECHANISM { mechanism: row, pParameter: std::ptr::null_mut(), ulParameterLen: len };
            for key in [aes, private] {
                let raw = &raw mut raw;
                let rvs = [
                    crate::call!(c.m, C_EncryptInit(c.h, raw, key)),
                    crate::call!(c.m, C_DecryptInit(c.h, raw, key)),
                    crate::call!(c.m, C_SignInit(c.h, raw, key)),
                    crate::call!(c.m, C_DeriveKey(c.h, raw, key, std::ptr::null_mut(), 0, &raw mut object)),
                ];
                assert!(len == 0 || rvs.iter().all(|rv| *rv != CKR_OK), "{row:#x}, {len}: {rvs:x?}");
                crate::call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
            }
        }
    }
}
