//! Outputs that lie where the input lies, or overlap it: the result is the one of separate buffers, at every function that
//! has both (PKCS#11 3.2 §5.8: plaintext and ciphertext may be in the same place). `tests/c/inplace.c` does it for whole
//! inputs of ciphers at both levels.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, b};

/// Before and behind the input, and room around both.
const SHIFTS: [isize; 5] = [-16, -1, 0, 1, 16];
const AREA: usize = 512;
const AT: usize = 64;

type Through = unsafe extern "C" fn(CK_SESSION_HANDLE, *mut u8, CK_ULONG, *mut u8, *mut CK_ULONG) -> CK_RV;

/// What comes out with the output so far from the input; `None`: elsewhere.
fn output(c: Client, function: Option<Through>, input: &[u8], shift: Option<isize>) -> Vec<u8> {
    let (mut area, mut elsewhere) = ([0xee_u8; AREA], [0xee_u8; AREA]);
    area[AT..AT + input.len()].copy_from_slice(input);
    let from = area[AT..].as_mut_ptr();
    let to = match shift {
        Some(shift) => from.wrapping_offset(shift),
        None => elsewhere.as_mut_ptr(),
    };
    let mut len = 256;
    // SAFETY: of the table; both lie within their arrays.
    let rv = unsafe { function.unwrap()(c.h, from, input.len() as CK_ULONG, to, &raw mut len) };
    assert_eq!(rv, CKR_OK);
    // SAFETY: within the array that it points into.
    unsafe { std::slice::from_raw_parts(to, len as usize) }.to_vec()
}

/// All ways give the same; `begin` begins each anew.
fn same(c: Client, name: &str, function: Option<Through>, input: &[u8], begin: impl Fn()) -> Vec<u8> {
    begin();
    let expected = output(c, function, input, None);
    for shift in SHIFTS {
        call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
        begin();
        assert_eq!(output(c, function, input, Some(shift)), expected, "{name}, shifted by {shift}");
    }
    call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
    expected
}

#[test]
fn outputs_over_their_inputs() {
    let installation = Installation::software();
    let c = installation.client();
    let table = c.m.table();
    let aes = c.aes(32, &[]);
    let (_, rsa) = c.rsa_pair(2048, &[b(CKA_VERIFY, true)], &[b(CKA_SIGN, true)]).unwrap();
    let data: Vec<u8> = (0..96).collect();

    same(c, "C_Digest", table.C_Digest, &data, || c.digest_init(CKM_SHA384).unwrap());
    for (name, mechanism, key) in [
        ("C_Sign RSA", Mech::new(CKM_SHA256_RSA_PKCS), rsa),
        ("C_Sign raw RSA", Mech::new(CKM_RSA_PKCS), rsa),
        ("C_Sign CMAC", Mech::new(CKM_AES_CMAC), aes),
    ] {
        same(c, name, table.C_Sign, &data, || c.sign_init(mechanism.clone(), key).unwrap());
    }
    for (name, mechanism) in [
        ("ECB", Mech::new(CKM_AES_ECB)),
        ("CBC", Mech::with(CKM_AES_CBC, [1; 16])),
        ("CBC_PAD", Mech::with(CKM_AES_CBC_PAD, [1; 16])),
        ("CTR", Mech::ctr([1; 16], 128)),
        ("GCM", Mech::gcm(&[1; 12], b"aad", 128)),
    ] {
        let encrypt = || c.encrypt_init(mechanism.clone(), aes).unwrap();
        let decrypt = || c.decrypt_init(mechanism.clone(), aes).unwrap();
        let sealed = same(c, name, table.C_Encrypt, &data, encrypt);
        assert_eq!(same(c, name, table.C_Decrypt, &sealed, decrypt), data);
        let part = same(c, name, table.C_EncryptUpdate, &data, encrypt);
        same(c, name, table.C_DecryptUpdate, &part, decrypt);
        let digests = || c.digest_init(CKM_SHA256).unwrap();
        let signs = || c.sign_init(CKM_SHA256_RSA_PKCS, rsa).unwrap();
        let both = |one: &dyn Fn(), other: &dyn Fn()| {
            one();
            other();
        };
        let part = same(c, name, table.C_DigestEncryptUpdate, &data, || both(&digests, &encrypt));
        same(c, name, table.C_DecryptDigestUpdate, &part, || both(&digests, &decrypt));
        same(c, name, table.C_SignEncryptUpdate, &data, || both(&signs, &encrypt));
    }
}

/// A signature that the key makes another each time, over its data; and what is verified in one place with its signature.
#[test]
fn signatures_over_their_data() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.session_pair();
    for shift in SHIFTS {
        c.sign_init(CKM_ECDSA_SHA256, private).unwrap();
        let data: Vec<u8> = (0..96).collect();
        let signature = output(c, c.m.table().C_Sign, &data, Some(shift));
        c.verify(CKM_ECDSA_SHA256, public, &data, &signature).unwrap();
        // Data that is itself the signature of other data is not verified by it.
        assert_eq!(c.verify(CKM_ECDSA_SHA256, public, &signature, &signature), Err(CKR_SIGNATURE_INVALID));
    }
}

/// Text, tag and IV of a message in one place: the text is read before anything is written.
#[test]
fn messages_over_their_texts() {
    let installation = Installation::software();
    let c = installation.client();
    let aes = c.aes(32, &[]);
    let data: Vec<u8> = (0..80).collect();
    let expected = c.encrypt(Mech::gcm(&[5; 12], b"", 128), aes, &data).unwrap();
    let mut mechanism = Mech::new(CKM_AES_GCM).raw();
    for shift in SHIFTS {
        let mut area = [0xee_u8; AREA];
        area[AT..AT + data.len()].copy_from_slice(&data);
        let (mut iv, from) = ([5u8; 12], area[AT..].as_mut_ptr());
        // The tag comes where the text ended.
        let to = from.wrapping_offset(shift);
        let mut parameter = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_NO_GENERATE,
            pTag: to.wrapping_add(data.len()),
            ulTagBits: 128,
        };
        let (place, size) = ((&raw mut parameter).cast(), size_of_val(&parameter) as CK_ULONG);
        let (len, mut room, none) = (data.len() as CK_ULONG, data.len() as CK_ULONG, std::ptr::null_mut());
        assert_eq!(call!(c.m, C_MessageEncryptInit(c.h, &raw mut mechanism, aes)), CKR_OK);
        let rv = call!(c.m, C_EncryptMessage(c.h, place, size, none, 0, from, len, to, &raw mut room));
        assert_eq!(rv, CKR_OK);
        assert_eq!(call!(c.m, C_MessageEncryptFinal(c.h)), CKR_OK);
        let start = AT.wrapping_add_signed(shift);
        assert_eq!(area[start..start + 96], expected[..], "{shift}");

        assert_eq!(call!(c.m, C_MessageDecryptInit(c.h, &raw mut mechanism, aes)), CKR_OK);
        let rv = call!(c.m, C_DecryptMessage(c.h, place, size, none, 0, to, room, from, &raw mut room));
        assert_eq!(rv, CKR_OK, "{shift}");
        assert_eq!(call!(c.m, C_MessageDecryptFinal(c.h)), CKR_OK);
        assert_eq!(area[AT..AT + data.len()], data[..], "{shift}");
    }
}
