//! Lengths that are true but too long for this process: every function answers, none takes the host along. An allocation
//! that fails aborts a process, so each is tried in a child that may have little memory beside the input itself.

use cryptoki_sys::*;

use crate::call;
use crate::fork::in_child;
use crate::support::{Attr, Client, Installation, Mech, PIN, SO_PIN, agent, b, u};

/// What the input has, what an output may be longer than that, and what the child may still have, in bytes.
const LONG: usize = 256 << 20;
const MORE: usize = 64 << 10;
const SPARE: u64 = 96 << 20;

/// Numbers of ours (`include/alikms_pkcs11.h`).
const SM2_PAIR_GEN: CK_MECHANISM_TYPE = 0xC14C_4901;
const SM2: CK_MECHANISM_TYPE = 0xC14C_4906;
const SM4_KEY_GEN: CK_MECHANISM_TYPE = 0xC14C_4920;

/// Zeros that may be read and written, and that cost nothing as long as nobody writes.
fn long() -> *mut u8 {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a fresh mapping, checked.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), LONG + MORE, access, flags | libc::MAP_NORESERVE, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED);
    start.cast()
}

/// From now on this process gets [`SPARE`] more and no more.
fn starve() {
    let used = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
    let most = pages * 4096 + SPARE;
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: plain data.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// What may be said of an input that is too long: that there is no memory for it, or that the mechanism never takes so much.
fn told(name: &str, rv: CK_RV) -> bool {
    let said = matches!(
        rv,
        CKR_HOST_MEMORY
            | CKR_DATA_LEN_RANGE
            | CKR_ENCRYPTED_DATA_LEN_RANGE
            | CKR_SIGNATURE_LEN_RANGE
            | CKR_WRAPPED_KEY_LEN_RANGE
            | CKR_PIN_LEN_RANGE
            | CKR_PIN_INCORRECT
            | CKR_ATTRIBUTE_VALUE_INVALID
            | CKR_MECHANISM_PARAM_INVALID
            | CKR_SAVED_STATE_INVALID
            | CKR_FUNCTION_NOT_SUPPORTED
    );
    if !said {
        eprintln!("{name}: {rv:#x}");
    }
    said
}

/// One-shot and in parts, both ways; whatever is left over is cancelled.
fn ciphers(c: Client, name: &str, mechanism: &Mech, [to, from]: [CK_OBJECT_HANDLE; 2], input: *mut u8) -> bool {
    let long = LONG as CK_ULONG;
    let mut good = true;
    let mut step = |what: &str, run: &dyn Fn(*mut CK_ULONG) -> CK_RV| {
        let mut room = (LONG + MORE) as CK_ULONG;
        good &= told(&format!("{what} {name}"), run(&raw mut room));
        call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
    };
    c.encrypt_init(mechanism.clone(), to).unwrap();
    step("C_Encrypt", &|room| call!(c.m, C_Encrypt(c.h, input, long, input, room)));
    c.encrypt_init(mechanism.clone(), to).unwrap();
    step("C_EncryptUpdate", &|room| parts(c, input, room, true));
    c.decrypt_init(mechanism.clone(), from).unwrap();
    step("C_Decrypt", &|room| call!(c.m, C_Decrypt(c.h, input, long, input, room)));
    c.decrypt_init(mechanism.clone(), from).unwrap();
    step("C_DecryptUpdate", &|room| parts(c, input, room, false));
    good
}

/// Parts until the first error where they are collected; a mechanism that puts out what it gets makes one by a long part.
fn parts(c: Client, input: *mut u8, room: *mut CK_ULONG, encrypt: bool) -> CK_RV {
    let update = |len: CK_ULONG, room: *mut CK_ULONG| match encrypt {
        true => call!(c.m, C_EncryptUpdate(c.h, input, len, input, room)),
        false => call!(c.m, C_DecryptUpdate(c.h, input, len, input, room)),
    };
    for part in std::iter::once(4096).chain(std::iter::repeat_n(16 << 20, LONG >> 24)) {
        let mut some = (LONG + MORE) as CK_ULONG;
        let rv = update(part, &raw mut some);
        if rv != CKR_OK {
            return rv;
        }
        if some != 0 {
            break;
        }
    }
    update(LONG as CK_ULONG, room)
}

fn long_inputs(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let token = b(CKA_TOKEN, level == "HSM");
    let aes = c.aes(32, std::slice::from_ref(&token));
    let input = long();
    let mut modes = vec![
        ("ECB", Mech::new(CKM_AES_ECB)),
        ("CBC", Mech::with(CKM_AES_CBC, [1; 16])),
        ("CBC_PAD", Mech::with(CKM_AES_CBC_PAD, [1; 16])),
        ("GCM", Mech::gcm(&[1; 12], b"aad", 128)),
    ];
    if level != "HSM" {
        modes.push(("CTR", Mech::ctr([0; 16], 128)));
        modes.push(("GCM with a short tag", Mech::gcm(&[1; 12], b"", 64)));
    }
    assert!(in_child(|| {
        starve();
        let mut good = true;
        for (name, mechanism) in &modes {
            good &= ciphers(c, name, mechanism, [aes, aes], input);
        }
        // All memory came back, and the session works as before.
        good && c.encrypt(Mech::with(CKM_AES_CBC, [1; 16]), aes, &[7; 64]).is_ok()
    }));
}

#[test]
fn long_inputs_of_ciphers() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    long_inputs("SOFTWARE");
}

#[test]
fn long_inputs_of_ciphers_in_a_device() {
    long_inputs("HSM");
}

#[test]
fn long_inputs_of_chinese_ciphers() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    let installation = Installation::software();
    let c = installation.client();
    let uses = [CKA_ENCRYPT, CKA_DECRYPT].map(|kind| b(kind, true));
    let sm4 = c.generate(SM4_KEY_GEN, &uses).unwrap();
    let pair = c.generate_pair(SM2_PAIR_GEN, &uses[..1], &uses[1..]).unwrap();
    let input = long();
    let (mut gcm, mut ctr) = (Mech::gcm(&[1; 12], b"aad", 128), Mech::ctr([0; 16], 128));
    (gcm.kind, ctr.kind) = (0xC14C_4925, 0xC14C_4924);
    assert!(in_child(|| {
        starve();
        let mut good = true;
        for (name, mechanism) in [
            ("SM4_ECB", Mech::new(0xC14C_4921)),
            ("SM4_CBC", Mech::with(0xC14C_4922, [1; 16])),
            ("SM4_CBC_PAD", Mech::with(0xC14C_4923, [1; 16])),
            ("SM4_CTR", ctr),
            ("SM4_GCM", gcm),
        ] {
            good &= ciphers(c, name, &mechanism, [sm4, sm4], input);
        }
        good && ciphers(c, "SM2", &Mech::new(SM2), [pair.0, pair.1], input)
    }));
}

#[test]
fn long_inputs_of_everything_else() {
    if agent::is_client() {
        return; // What a fork loses there is in tests/agent/whole.rs.
    }
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.rsa_pair(2048, &[b(CKA_ENCRYPT, true)], &[b(CKA_DECRYPT, true)]).unwrap();
    let (_, signer) = c.session_pair();
    let (verifier, rsa_signer) = c.rsa_pair(2048, &[b(CKA_VERIFY, true)], &[b(CKA_SIGN, true)]).unwrap();
    let wraps = [b(CKA_WRAP, true), b(CKA_UNWRAP, true)];
    let aes = c.aes(32, &wraps);
    let mut input = long();
    let len = LONG as CK_ULONG;
    let oaep = Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"");
    assert!(in_child(|| {
        starve();
        let mut good = true;
        for (name, mechanism) in [("RSA", Mech::new(CKM_RSA_PKCS)), ("X_509", Mech::new(CKM_RSA_X_509)), ("OAEP", oaep)]
        {
            good &= ciphers(c, name, &mechanism, [public, private], input);
        }
        for mechanism in [CKM_RSA_PKCS, CKM_RSA_X_509, CKM_RSA_PKCS_PSS] {
            let mechanism = match mechanism {
                CKM_RSA_PKCS_PSS => Mech::pss(mechanism, CKM_SHA256, CKG_MGF1_SHA256, 32),
                other => Mech::new(other),
            };
            let mut room = len;
            c.sign_init(mechanism.clone(), rsa_signer).unwrap();
            good &= told("C_Sign", call!(c.m, C_Sign(c.h, input, len, input, &raw mut room)));
            c.sign_init(mechanism.clone(), rsa_signer).unwrap();
            good &= told("C_SignUpdate", call!(c.m, C_SignUpdate(c.h, input, len)));
            c.verify_init(mechanism.clone(), verifier).unwrap();
            good &= told("C_Verify", call!(c.m, C_Verify(c.h, [1; 32].as_mut_ptr(), 32, input, len)));
            let mut raw = mechanism.raw();
            let rv = call!(c.m, C_VerifySignatureInit(c.h, &raw mut raw, verifier, input, len));
            good &= told("C_VerifySignatureInit", rv);
        }
        c.sign_init(CKM_ECDSA, signer).unwrap();
        good &= told("C_SignUpdate", call!(c.m, C_SignUpdate(c.h, input, len)));

        // Messages: the text, and the additional data.
        let (mut iv, mut tag) = ([1u8; 12], [0u8; 16]);
        let mut message = CK_GCM_MESSAGE_PARAMS {
            pIv: iv.as_mut_ptr(),
            ulIvLen: 12,
            ulIvFixedBits: 0,
            ivGenerator: CKG_NO_GENERATE,
            pTag: tag.as_mut_ptr(),
            ulTagBits: 128,
        };
        let (place, size) = ((&raw mut message).cast(), size_of_val(&message) as CK_ULONG);
        let mut raw = Mech::new(CKM_AES_GCM).raw();
        for (aad, text) in [(len, 16), (16, len)] {
            let mut room = len;
            good &= call!(c.m, C_MessageEncryptInit(c.h, &raw mut raw, aes)) == CKR_OK;
            let rv = call!(c.m, C_EncryptMessage(c.h, place, size, input, aad, input, text, input, &raw mut room));
            good &= told("C_EncryptMessage", rv);
            good &= call!(c.m, C_MessageEncryptFinal(c.h)) == CKR_OK;
            good &= call!(c.m, C_MessageDecryptInit(c.h, &raw mut raw, aes)) == CKR_OK;
            let rv = call!(c.m, C_DecryptMessage(c.h, place, size, input, aad, input, text, input, &raw mut room));
            good &= told("C_DecryptMessage", rv);
            good &= call!(c.m, C_MessageDecryptFinal(c.h)) == CKR_OK;
        }

        // Wrapped keys and what is authenticated with them.
        let template = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES)];
        let mut list = crate::support::raw(&template);
        let mut key = 0;
        for mechanism in
            [Mech::new(CKM_AES_KEY_WRAP), Mech::with(CKM_AES_CBC_PAD, [1; 16]), Mech::gcm(&[1; 12], b"", 128)]
        {
            let (mut raw, list) = (mechanism.raw(), list.as_mut_ptr());
            let rv = call!(c.m, C_UnwrapKey(c.h, &raw mut raw, aes, input, len, list, 2, &raw mut key));
            good &= told("C_UnwrapKey", rv);
        }
        let mut raw = Mech::gcm(&[1; 12], b"", 128).raw();
        let list = list.as_mut_ptr();
        let rv =
            call!(c.m, C_UnwrapKeyAuthenticated(c.h, &raw mut raw, aes, input, 40, list, 2, input, len, &raw mut key));
        good &= told("C_UnwrapKeyAuthenticated", rv);

        // Values, PINs, saved states.
        let mut value = [CK_ATTRIBUTE { type_: CKA_VALUE, pValue: input.cast(), ulValueLen: len }];
        good &= told("C_CreateObject", call!(c.m, C_CreateObject(c.h, value.as_mut_ptr(), 1, &raw mut key)));
        good &= told("C_FindObjectsInit", call!(c.m, C_FindObjectsInit(c.h, value.as_mut_ptr(), 1)));
        good &= told("C_SetOperationState", call!(c.m, C_SetOperationState(c.h, input, len, 0, 0)));
        let pin = PIN.as_ptr().cast_mut();
        good &= told("C_SetPIN", call!(c.m, C_SetPIN(c.h, input, len, pin, PIN.len() as CK_ULONG)));
        good &= told("C_SetPIN", call!(c.m, C_SetPIN(c.h, pin, PIN.len() as CK_ULONG, input, len)));
        c.logout();
        good &= told("C_Login", call!(c.m, C_Login(c.h, CKU_USER, input, len)));
        let rv = call!(c.m, C_LoginUser(c.h, CKU_USER, pin, PIN.len() as CK_ULONG, input, len));
        good &= told("C_LoginUser", rv);
        good &= c.login_as(CKU_SO, SO_PIN) == CKR_OK;
        good &= told("C_InitPIN", call!(c.m, C_InitPIN(c.h, input, len)));
        call!(c.m, C_CloseAllSessions(c.m.slot()));
        let rv = call!(c.m, C_InitToken(c.m.slot(), input, len, (&raw mut input).cast()));
        good &= rv != CKR_OK;
        good
    }));
}

/// A wrong padding is answered with a key that is made up, as long as the template says: that length has to be one of a
/// key. 2^60 bytes aborted the host.
#[test]
fn the_length_of_a_key_that_is_made_up() {
    let installation = Installation::software();
    let c = installation.client();
    let aes = c.aes(32, &[b(CKA_UNWRAP, true)]);
    let (_, rsa) = c.rsa_pair(2048, &[], &[b(CKA_UNWRAP, true)]).unwrap();
    let template = |length: CK_ULONG| -> Vec<Attr> {
        vec![u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_GENERIC_SECRET), u(CKA_VALUE_LEN, length)]
    };
    for length in [0, 513, 1 << 32, 1 << 46, 1 << 60, CK_ULONG::MAX >> 1, CK_ULONG::MAX] {
        let refused = c.unwrap(Mech::with(CKM_AES_CBC_PAD, [1; 16]), aes, &[7; 32], &template(length));
        assert_eq!(refused, Err(CKR_KEY_SIZE_RANGE), "{length:#x}");
        assert_eq!(c.unwrap(CKM_RSA_PKCS, rsa, &[7; 256], &template(length)), Err(CKR_KEY_SIZE_RANGE), "{length:#x}");
        let derived = c.derive(&Mech::ecb_data(CKM_AES_ECB_ENCRYPT_DATA, &[1; 32]), aes, &template(length));
        assert!(derived.is_err(), "{length:#x}");
        let made = c.generate(CKM_GENERIC_SECRET_KEY_GEN, &template(length)[2..]);
        assert_eq!(made, Err(CKR_KEY_SIZE_RANGE), "{length:#x}");
    }
    assert!(c.unwrap(Mech::with(CKM_AES_CBC_PAD, [1; 16]), aes, &[7; 32], &template(16)).is_ok());
}
