//! Operations that do one message after the other: AES-GCM with IVs of the caller's and of the token's, and signatures.

use std::collections::BTreeSet;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, agent, two_calls};

/// CK_GCM_MESSAGE_PARAMS with what it points to.
struct Gcm {
    iv: Vec<u8>,
    tag: Vec<u8>,
    fixed_bits: CK_ULONG,
    generator: CK_GENERATOR_FUNCTION,
    tag_bits: CK_ULONG,
}

const SIZE: CK_ULONG = size_of::<CK_GCM_MESSAGE_PARAMS>() as CK_ULONG;

impl Gcm {
    fn new(iv: &[u8], fixed_bits: CK_ULONG, generator: CK_GENERATOR_FUNCTION) -> Self {
        Self { iv: iv.to_vec(), tag: vec![0; 16], fixed_bits, generator, tag_bits: 128 }
    }

    fn raw(&mut self) -> CK_GCM_MESSAGE_PARAMS {
        CK_GCM_MESSAGE_PARAMS {
            pIv: self.iv.as_mut_ptr(),
            ulIvLen: self.iv.len() as CK_ULONG,
            ulIvFixedBits: self.fixed_bits,
            ivGenerator: self.generator,
            pTag: self.tag.as_mut_ptr(),
            ulTagBits: self.tag_bits,
        }
    }
}

fn init(c: &Client, key: CK_OBJECT_HANDLE) {
    let mechanism = Mech::new(CKM_AES_GCM);
    let mut raw = mechanism.raw();
    assert_eq!(call!(c.m, C_MessageEncryptInit(c.h, &raw mut raw, key)), CKR_OK);
    assert_eq!(call!(c.m, C_MessageEncryptInit(c.h, &raw mut raw, key)), CKR_OPERATION_ACTIVE);
    assert_eq!(call!(c.m, C_MessageDecryptInit(c.h, &raw mut raw, key)), CKR_OK);
}

fn encrypt(c: &Client, gcm: &mut Gcm, aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, CK_RV> {
    let mut raw = gcm.raw();
    let (parameter, aad_len, len) = ((&raw mut raw).cast(), aad.len() as CK_ULONG, plain.len() as CK_ULONG);
    let (aad, plain) = (aad.as_ptr().cast_mut(), plain.as_ptr().cast_mut());
    two_calls(true, |out, out_len| {
        call!(c.m, C_EncryptMessage(c.h, parameter, SIZE, aad, aad_len, plain, len, out, out_len))
    })
}

fn decrypt(c: &Client, gcm: &mut Gcm, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, CK_RV> {
    let mut raw = gcm.raw();
    let (parameter, aad_len, len) = ((&raw mut raw).cast(), aad.len() as CK_ULONG, sealed.len() as CK_ULONG);
    let (aad, sealed) = (aad.as_ptr().cast_mut(), sealed.as_ptr().cast_mut());
    two_calls(true, |out, out_len| {
        call!(c.m, C_DecryptMessage(c.h, parameter, SIZE, aad, aad_len, sealed, len, out, out_len))
    })
}

fn gcm_messages(level: &str) {
    let installation = Installation::at(level);
    // A device gives out all that it encrypted at the end.
    let c = Client { exact: level == "SOFTWARE", ..installation.client() };
    let key = match level {
        "HSM" => c.aes(32, &[crate::support::b(CKA_TOKEN, true)]),
        _ => c.aes(32, &[]),
    };
    init(&c, key);
    let plain = [7u8; 40];
    // The caller's IV: what C_Encrypt makes.
    let mut gcm = Gcm::new(&[1; 12], 0, CKG_NO_GENERATE);
    let sealed = encrypt(&c, &mut gcm, b"aad", &plain).unwrap();
    let whole = c.encrypt(Mech::gcm(&[1; 12], b"aad", 128), key, &plain).unwrap();
    assert_eq!([&sealed[..], &gcm.tag].concat(), whole);
    assert_eq!(decrypt(&c, &mut gcm, b"aad", &sealed).unwrap(), plain);
    // Whatever is wrong is one code, and the operation goes on.
    assert_eq!(decrypt(&c, &mut gcm, b"other", &sealed), Err(CKR_AEAD_DECRYPT_FAILED));
    gcm.tag[3] ^= 1;
    assert_eq!(decrypt(&c, &mut gcm, b"aad", &sealed), Err(CKR_AEAD_DECRYPT_FAILED));
    gcm.tag[3] ^= 1;
    assert_eq!(decrypt(&c, &mut gcm, b"aad", &sealed).unwrap(), plain);
    // The token's IVs: the fixed part stays, and none comes twice.
    let mut ivs = BTreeSet::new();
    for generator in [CKG_GENERATE, CKG_GENERATE_RANDOM, CKG_GENERATE_COUNTER] {
        let mut last = None;
        for _ in 0..20 {
            let mut gcm = Gcm::new(&[9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0], 32, generator);
            let sealed = encrypt(&c, &mut gcm, b"", &plain).unwrap();
            assert_eq!(&gcm.iv[..4], [9; 4]);
            assert!(ivs.insert(gcm.iv.clone()), "an IV came twice");
            let number = u64::from_be_bytes(gcm.iv[4..].try_into().unwrap());
            if generator == CKG_GENERATE_COUNTER {
                assert!(last.is_none_or(|last: u64| number == last.wrapping_add(1)));
                last = Some(number);
            }
            gcm.generator = CKG_NO_GENERATE;
            assert_eq!(decrypt(&c, &mut gcm, b"", &sealed).unwrap(), plain);
        }
    }
    for (iv, fixed, generator) in [(12, 33, CKG_GENERATE), (12, 97, CKG_GENERATE), (0, 0, CKG_GENERATE), (12, 0, 77)] {
        let mut gcm = Gcm::new(&vec![0; iv], fixed, generator);
        assert_eq!(encrypt(&c, &mut gcm, b"", &plain), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    in_parts(&c, &plain, &whole);
    assert_eq!(call!(c.m, C_MessageEncryptFinal(c.h)), CKR_OK);
    assert_eq!(call!(c.m, C_MessageEncryptFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(call!(c.m, C_SessionCancel(c.h, CKF_MESSAGE_DECRYPT)), CKR_OK);
    assert_eq!(call!(c.m, C_MessageDecryptFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
}

/// C_EncryptMessageBegin, …Next and their reverse.
fn in_parts(c: &Client, plain: &[u8], whole: &[u8]) {
    let (m, h) = (c.m, c.h);
    let mut gcm = Gcm::new(&[1; 12], 0, CKG_NO_GENERATE);
    let mut raw = gcm.raw();
    let parameter = (&raw mut raw).cast();
    let aad = b"aad".as_ptr().cast_mut();
    assert_eq!(
        call!(m, C_EncryptMessageNext(h, parameter, SIZE, aad, 1, aad, &mut 1, 0)),
        CKR_OPERATION_NOT_INITIALIZED
    );
    assert_eq!(call!(m, C_EncryptMessageBegin(h, parameter, SIZE, aad, 3)), CKR_OK);
    assert_eq!(call!(m, C_EncryptMessageBegin(h, parameter, SIZE, aad, 3)), CKR_OPERATION_ACTIVE);
    let mut sealed = Vec::new();
    for (part, flags) in [(&plain[..5], 0), (&plain[5..21], 0), (&plain[21..], CKF_END_OF_MESSAGE)] {
        let (start, len) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        sealed.extend(
            two_calls(c.exact, |out, out_len| {
                call!(m, C_EncryptMessageNext(h, parameter, SIZE, start, len, out, out_len, flags))
            })
            .unwrap(),
        );
    }
    assert_eq!([&sealed[..], &gcm.tag].concat(), whole);
    assert_eq!(call!(m, C_DecryptMessageBegin(h, parameter, SIZE, aad, 3)), CKR_OK);
    let mut opened = Vec::new();
    for (part, flags) in [(&sealed[..17], 0), (&sealed[17..], CKF_END_OF_MESSAGE)] {
        let (start, len) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
        let out = two_calls(true, |out, out_len| {
            call!(m, C_DecryptMessageNext(h, parameter, SIZE, start, len, out, out_len, flags))
        });
        opened.extend(out.unwrap());
        // Nothing is released before the tag.
        assert_eq!(opened.is_empty(), flags == 0);
    }
    assert_eq!(opened, plain);
    // A wrong tag ends the message and releases nothing.
    assert_eq!(call!(m, C_DecryptMessageBegin(h, parameter, SIZE, aad, 3)), CKR_OK);
    gcm.tag[0] ^= 1;
    let mut raw = gcm.raw();
    let parameter = (&raw mut raw).cast();
    let (mut room, mut len) = ([0xa5u8; 64], 64);
    let (start, size, out) = (sealed.as_ptr().cast_mut(), sealed.len() as CK_ULONG, room.as_mut_ptr());
    let last = CKF_END_OF_MESSAGE;
    let rv = call!(m, C_DecryptMessageNext(h, parameter, SIZE, start, size, out, &raw mut len, last));
    assert_eq!((rv, room), (CKR_AEAD_DECRYPT_FAILED, [0xa5; 64]));
    let rv = call!(m, C_DecryptMessageNext(h, parameter, SIZE, start, size, out, &raw mut len, last));
    assert_eq!(rv, CKR_OPERATION_NOT_INITIALIZED);
}

#[test]
fn gcm_in_software() {
    gcm_messages("SOFTWARE");
}

#[test]
fn gcm_in_a_device() {
    gcm_messages("HSM");
}

#[test]
fn gcm_messages_need_a_key_that_may() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, _) = c.session_pair();
    let mechanism = Mech::new(CKM_AES_GCM);
    let mut raw = mechanism.raw();
    let init = |raw: *mut CK_MECHANISM, key| call!(c.m, C_MessageEncryptInit(c.h, raw, key));
    assert_eq!(init(&raw mut raw, 999), CKR_KEY_HANDLE_INVALID);
    assert_eq!(init(&raw mut raw, public), CKR_KEY_TYPE_INCONSISTENT);
    let never = [crate::support::u(CKA_VALUE_LEN, 16), crate::support::b(CKA_DECRYPT, true)];
    let never = c.generate(CKM_AES_KEY_GEN, &never).unwrap();
    assert_eq!(init(&raw mut raw, never), CKR_KEY_FUNCTION_NOT_PERMITTED);
    raw.mechanism = CKM_AES_CBC_PAD;
    raw.pParameter = [0u8; 16].as_mut_ptr().cast();
    raw.ulParameterLen = 16;
    assert_eq!(init(&raw mut raw, c.aes(16, &[])), CKR_MECHANISM_INVALID);
    let mut aes = Gcm::new(&[1; 12], 0, CKG_NO_GENERATE);
    assert_eq!(encrypt(&c, &mut aes, b"", b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
    // Parameters that lead nowhere.
    let key = c.aes(16, &[]);
    self::init(&c, key);
    let null = std::ptr::null_mut();
    let mut len = 5;
    for (parameter, size) in [(null, SIZE), (null, 0), ((&raw mut len).cast(), 8)] {
        let rv = call!(
            c.m,
            C_EncryptMessage(c.h, parameter, size, null.cast(), 0, null.cast(), 0, null.cast(), &raw mut len)
        );
        assert_eq!(rv, CKR_MECHANISM_PARAM_INVALID);
    }
}

/// One signature after the other, whole and in parts.
#[test]
fn signatures() {
    let installation = Installation::software();
    let c = installation.client();
    let (m, h) = (c.m, c.h);
    let (public, private) = c.session_pair();
    let mechanism = Mech::new(CKM_ECDSA_SHA256);
    let mut raw = mechanism.raw();
    let null = std::ptr::null_mut();
    assert_eq!(call!(m, C_MessageSignInit(h, &raw mut raw, private)), CKR_OK);
    assert_eq!(call!(m, C_MessageVerifyInit(h, &raw mut raw, public)), CKR_OK);
    assert_eq!(call!(m, C_MessageSignInit(h, &raw mut raw, private)), CKR_OPERATION_ACTIVE);
    for round in 0..3u8 {
        let data = [round; 50];
        let (start, len) = (data.as_ptr().cast_mut(), 50);
        let one =
            two_calls(true, |out, out_len| call!(m, C_SignMessage(h, null, 0, start, len, out, out_len))).unwrap();
        c.verify(CKM_ECDSA_SHA256, public, &data, &one).unwrap();
        assert_eq!(call!(m, C_SignMessageBegin(h, null, 0)), CKR_OK);
        assert_eq!(call!(m, C_SignMessageBegin(h, null, 0)), CKR_OPERATION_ACTIVE);
        assert_eq!(call!(m, C_SignMessage(h, null, 0, start, len, null.cast(), &mut 0)), CKR_OPERATION_ACTIVE);
        assert_eq!(call!(m, C_SignMessageNext(h, null, 0, start, 20, null.cast(), null.cast())), CKR_OK);
        let rest = start.wrapping_add(20);
        let two =
            two_calls(true, |out, out_len| call!(m, C_SignMessageNext(h, null, 0, rest, 30, out, out_len))).unwrap();
        assert_eq!(
            call!(m, C_SignMessageNext(h, null, 0, rest, 30, null.cast(), null.cast())),
            CKR_OPERATION_NOT_INITIALIZED
        );
        c.verify(CKM_ECDSA_SHA256, public, &data, &two).unwrap();
        let verify = |signature: &[u8]| {
            let (place, size) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
            call!(m, C_VerifyMessage(h, null, 0, start, len, place, size))
        };
        assert_eq!(verify(&one), CKR_OK);
        let mut wrong = one.clone();
        wrong[9] ^= 1;
        assert_eq!(
            (verify(&wrong), verify(&one[1..]), verify(&two)),
            (CKR_SIGNATURE_INVALID, CKR_SIGNATURE_LEN_RANGE, CKR_OK)
        );
        for (signature, answer) in [(&two, CKR_OK), (&wrong, CKR_SIGNATURE_INVALID)] {
            assert_eq!(call!(m, C_VerifyMessageBegin(h, null, 0)), CKR_OK);
            assert_eq!(call!(m, C_VerifyMessageNext(h, null, 0, start, 20, null.cast(), 0)), CKR_OK);
            let place = signature.as_ptr().cast_mut();
            assert_eq!(call!(m, C_VerifyMessageNext(h, null, 0, rest, 30, place, 64)), answer);
        }
    }
    assert_eq!(call!(m, C_MessageSignFinal(h)), CKR_OK);
    assert_eq!(call!(m, C_MessageVerifyFinal(h)), CKR_OK);
    assert_eq!(call!(m, C_SignMessageBegin(h, null, 0)), CKR_OPERATION_NOT_INITIALIZED);
    // The end of the login ends them.
    assert_eq!(call!(m, C_MessageSignInit(h, &raw mut raw, private)), CKR_OK);
    c.logout();
    assert_eq!(call!(m, C_MessageSignFinal(h)), CKR_OPERATION_NOT_INITIALIZED);
}

/// A child that counted on where its parent was would encrypt with the IVs that its parent uses next.
#[test]
fn a_forked_child_makes_ivs_of_its_own() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    let installation = Installation::software();
    let c = installation.client();
    init(&c, c.aes(32, &[]));
    let next = || {
        let mut gcm = Gcm::new(&[0; 12], 32, CKG_GENERATE_COUNTER);
        encrypt(&c, &mut gcm, b"", b"plain").unwrap();
        u64::from_be_bytes(gcm.iv[4..].try_into().unwrap())
    };
    let first = next();
    assert_eq!(next(), first.wrapping_add(1));
    assert!(crate::fork::in_child(|| next() != first.wrapping_add(2)));
    assert_eq!(next(), first.wrapping_add(2));
}
