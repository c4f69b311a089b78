//! The state machine of operations: the two-call rule, every order of Init, Update, Final, one-shot and length query, and
//! what ends an operation.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, Module, b, u};

/// One kind of operation, as far as all are alike.
struct Kind {
    name: &'static str,
    init: fn(&Client, CK_OBJECT_HANDLE) -> CK_RV,
    cancel: fn(&Client) -> CK_RV,
    flag: CK_FLAGS,
    single: Run,
    update: Update,
    last: Option<Last>,
    input: &'static [u8],
    output: usize,
    /// Which key: AES or the private one of a pair.
    symmetric: bool,
}

type Run = unsafe extern "C" fn(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG, CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV;
type Last = unsafe extern "C" fn(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV;

#[derive(Clone, Copy)]
enum Update {
    /// Without output.
    Absorb(unsafe extern "C" fn(CK_SESSION_HANDLE, CK_BYTE_PTR, CK_ULONG) -> CK_RV),
    Transform(Run),
}

fn begin(c: &Client, mechanism: &Mech, init: CK_C_SignInit, key: CK_OBJECT_HANDLE) -> CK_RV {
    let mut raw = mechanism.raw();
    // SAFETY: the function is of the module's table, the mechanism lives.
    unsafe { init.unwrap()(c.h, &raw mut raw, key) }
}

fn cbc() -> Mech {
    Mech::with(CKM_AES_CBC, [1; 16])
}

fn kinds(m: &Module) -> Vec<Kind> {
    let t = m.table();
    vec![
        Kind {
            name: "digest",
            init: |c, _| {
                let mut raw = Mech::new(CKM_SHA256).raw();
                call!(c.m, C_DigestInit(c.h, &raw mut raw))
            },
            cancel: |c| call!(c.m, C_DigestInit(c.h, std::ptr::null_mut())),
            flag: CKF_DIGEST,
            single: t.C_Digest.unwrap(),
            update: Update::Absorb(t.C_DigestUpdate.unwrap()),
            last: t.C_DigestFinal,
            input: &[7; 32],
            output: 32,
            symmetric: true,
        },
        Kind {
            name: "sign, ECDSA-SHA-256",
            init: |c, key| begin(c, &Mech::new(CKM_ECDSA_SHA256), c.m.table().C_SignInit, key),
            cancel: |c| call!(c.m, C_SignInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_SIGN,
            single: t.C_Sign.unwrap(),
            update: Update::Absorb(t.C_SignUpdate.unwrap()),
            last: t.C_SignFinal,
            input: &[7; 32],
            output: 64,
            symmetric: false,
        },
        Kind {
            name: "sign, ECDSA",
            init: |c, key| begin(c, &Mech::new(CKM_ECDSA), c.m.table().C_SignInit, key),
            cancel: |c| call!(c.m, C_SignInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_SIGN,
            single: t.C_Sign.unwrap(),
            update: Update::Absorb(t.C_SignUpdate.unwrap()),
            last: t.C_SignFinal,
            input: &[7; 32],
            output: 64,
            symmetric: false,
        },
        Kind {
            name: "sign, CMAC",
            init: |c, key| begin(c, &Mech::new(CKM_AES_CMAC), c.m.table().C_SignInit, key),
            cancel: |c| call!(c.m, C_SignInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_SIGN,
            single: t.C_Sign.unwrap(),
            update: Update::Absorb(t.C_SignUpdate.unwrap()),
            last: t.C_SignFinal,
            input: &[7; 32],
            output: 16,
            symmetric: true,
        },
        Kind {
            name: "encrypt, CBC",
            init: |c, key| begin(c, &cbc(), c.m.table().C_EncryptInit, key),
            cancel: |c| call!(c.m, C_EncryptInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_ENCRYPT,
            single: t.C_Encrypt.unwrap(),
            update: Update::Transform(t.C_EncryptUpdate.unwrap()),
            last: t.C_EncryptFinal,
            input: &[7; 32],
            output: 32,
            symmetric: true,
        },
        Kind {
            name: "encrypt, GCM",
            init: |c, key| begin(c, &Mech::gcm(&[1; 12], b"", 128), c.m.table().C_EncryptInit, key),
            cancel: |c| call!(c.m, C_EncryptInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_ENCRYPT,
            single: t.C_Encrypt.unwrap(),
            update: Update::Transform(t.C_EncryptUpdate.unwrap()),
            last: t.C_EncryptFinal,
            input: &[7; 32],
            output: 48,
            symmetric: true,
        },
        Kind {
            name: "decrypt, CBC",
            init: |c, key| begin(c, &cbc(), c.m.table().C_DecryptInit, key),
            cancel: |c| call!(c.m, C_DecryptInit(c.h, std::ptr::null_mut(), 0)),
            flag: CKF_DECRYPT,
            single: t.C_Decrypt.unwrap(),
            update: Update::Transform(t.C_DecryptUpdate.unwrap()),
            last: t.C_DecryptFinal,
            input: &[7; 32],
            output: 32,
            symmetric: true,
        },
    ]
}

/// What one does in a session, and what it answers.
struct Bench {
    c: Client,
    aes: CK_OBJECT_HANDLE,
    private: CK_OBJECT_HANDLE,
    buffer: Vec<u8>,
}

impl Bench {
    fn init(&self, kind: &Kind) -> CK_RV {
        (kind.init)(&self.c, if kind.symmetric { self.aes } else { self.private })
    }

    /// With so much room, or a length query. Answers the code and the length.
    fn single(&mut self, kind: &Kind, room: Option<usize>) -> (CK_RV, usize) {
        self.buffer.fill(0xa5);
        let mut len = room.unwrap_or(0xdead) as CK_ULONG;
        let out = if room.is_some() { self.buffer.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: the buffer has room for every length that is used here.
        let rv = unsafe {
            (kind.single)(self.c.h, kind.input.as_ptr().cast_mut(), kind.input.len() as CK_ULONG, out, &raw mut len)
        };
        (rv, len as usize)
    }

    fn update(&mut self, kind: &Kind, room: Option<usize>) -> (CK_RV, usize) {
        let (input, size) = (kind.input.as_ptr().cast_mut(), kind.input.len() as CK_ULONG);
        let mut len = room.unwrap_or(0xdead) as CK_ULONG;
        let out = if room.is_some() { self.buffer.as_mut_ptr() } else { std::ptr::null_mut() };
        match kind.update {
            // SAFETY: as in `single`.
            Update::Absorb(update) => (unsafe { update(self.c.h, input, size) }, 0),
            // SAFETY: as in `single`.
            Update::Transform(update) => (unsafe { update(self.c.h, input, size, out, &raw mut len) }, len as usize),
        }
    }

    fn last(&mut self, kind: &Kind, room: Option<usize>) -> (CK_RV, usize) {
        let mut len = room.unwrap_or(0xdead) as CK_ULONG;
        let out = if room.is_some() { self.buffer.as_mut_ptr() } else { std::ptr::null_mut() };
        // SAFETY: as in `single`.
        (unsafe { kind.last.unwrap()(self.c.h, out, &raw mut len) }, len as usize)
    }

    /// Is the operation gone? (A Final without one says so; with one, it ends it.)
    fn ended(&mut self, kind: &Kind, why: &str) {
        assert_eq!(self.last(kind, Some(512)).0, CKR_OPERATION_NOT_INITIALIZED, "{}: {why}", kind.name);
    }
}

fn bench(installation: &Installation) -> Bench {
    let c = installation.client();
    let (_, private) = c.session_pair();
    Bench { c, aes: c.aes(32, &[]), private, buffer: vec![0; 1024] }
}

#[test]
fn every_order() {
    let installation = Installation::software();
    let mut t = bench(&installation);
    for kind in &kinds(t.c.m) {
        let name = kind.name;
        // Without Init.
        t.ended(kind, "nothing was begun");
        assert_eq!(t.single(kind, Some(512)).0, CKR_OPERATION_NOT_INITIALIZED, "{name}");
        assert_eq!(t.single(kind, None).0, CKR_OPERATION_NOT_INITIALIZED, "{name}");
        assert_eq!(t.update(kind, Some(512)).0, CKR_OPERATION_NOT_INITIALIZED, "{name}");

        // One-shot: a length query and a small buffer keep it, the answer ends it.
        assert_eq!(t.init(kind), CKR_OK, "{name}");
        assert_eq!(t.init(kind), CKR_OPERATION_ACTIVE, "{name}");
        assert_eq!(t.single(kind, None), (CKR_OK, kind.output), "{name}");
        for room in [0, 1, kind.output - 1] {
            assert_eq!(t.single(kind, Some(room)), (CKR_BUFFER_TOO_SMALL, kind.output), "{name}");
            assert!(t.buffer.iter().all(|byte| *byte == 0xa5), "{name}: a small buffer is left alone");
        }
        assert_eq!(t.single(kind, Some(kind.output)), (CKR_OK, kind.output), "{name}");
        assert!(t.buffer[kind.output..].iter().all(|byte| *byte == 0xa5), "{name}: guard bytes");
        t.ended(kind, "the one-shot call succeeded");

        // Parts.
        assert_eq!(t.init(kind), CKR_OK, "{name}");
        let mut total = 0;
        for _ in 0..3 {
            let (rv, len) = t.update(kind, Some(512));
            assert_eq!(rv, CKR_OK, "{name}");
            total += len;
        }
        let (rv, rest) = t.last(kind, None);
        assert_eq!(rv, CKR_OK, "{name}");
        if rest > 0 {
            assert_eq!(t.last(kind, Some(rest - 1)), (CKR_BUFFER_TOO_SMALL, rest), "{name}");
        }
        assert_eq!(t.last(kind, Some(512)), (CKR_OK, rest), "{name}");
        if !matches!(kind.update, Update::Absorb(_)) {
            assert_eq!(total + rest, kind.output + 64, "{name}");
        }
        t.ended(kind, "Final ends");

        // A Final right after Init.
        assert_eq!(t.init(kind), CKR_OK, "{name}");
        let (rv, len) = t.last(kind, Some(512));
        let empty = match kind.update {
            Update::Absorb(_) => kind.output,
            Update::Transform(_) => kind.output - 32,
        };
        if name == "sign, ECDSA" {
            assert_eq!(rv, CKR_DATA_LEN_RANGE, "an empty digest");
        } else {
            assert_eq!((rv, len), (CKR_OK, empty), "{name}: Final after Init");
        }

        // Mixed.
        for first in ["update", "length of final"] {
            assert_eq!(t.init(kind), CKR_OK, "{name}");
            let begun = if first == "update" { t.update(kind, Some(512)) } else { t.last(kind, None) };
            assert_eq!(begun.0, CKR_OK, "{name}: {first}");
            assert_eq!(t.single(kind, Some(512)).0, CKR_OPERATION_ACTIVE, "{name}: one-shot after {first}");
            t.ended(kind, "a mixed call");
        }
        for room in [None, Some(0)] {
            assert_eq!(t.init(kind), CKR_OK, "{name}");
            t.single(kind, room);
            assert_eq!(t.update(kind, Some(512)).0, CKR_OPERATION_ACTIVE, "{name}: update after a length query");
            t.ended(kind, "a mixed call");
            assert_eq!(t.init(kind), CKR_OK, "{name}");
            t.single(kind, room);
            assert_eq!(t.last(kind, Some(512)).0, CKR_OPERATION_ACTIVE, "{name}: final after a length query");
            t.ended(kind, "a mixed call");
        }
    }
}

#[test]
fn errors_end_operations() {
    let installation = Installation::software();
    let mut t = bench(&installation);
    for kind in &kinds(t.c.m) {
        let (h, mut len) = (t.c.h, 512);
        let (input, out) = (kind.input.as_ptr().cast_mut(), t.buffer.as_mut_ptr());
        let null = std::ptr::null_mut();
        // SAFETY: `out` has room for 512 bytes.
        let single = |input, input_len, out, len: CK_ULONG_PTR| unsafe { (kind.single)(h, input, input_len, out, len) };
        let bad: [(&str, &dyn Fn(CK_ULONG_PTR) -> CK_RV); 4] = [
            ("no input", &|len| single(std::ptr::null_mut(), 32, out, len)),
            ("no length", &|_| single(input, 32, out, std::ptr::null_mut())),
            ("a length beyond memory", &|len| single(input, CK_ULONG::MAX, out, len)),
            ("no length for a query", &|_| single(input, 32, std::ptr::null_mut(), std::ptr::null_mut())),
        ];
        for (what, run) in bad {
            assert_eq!(t.init(kind), CKR_OK);
            assert_eq!(run(&raw mut len), CKR_ARGUMENTS_BAD, "{}: {what}", kind.name);
            t.ended(kind, what);
        }
        assert_eq!(t.init(kind), CKR_OK);
        let rv = match kind.update {
            // SAFETY: a null pointer with a length must be refused.
            Update::Absorb(update) => unsafe { update(h, null, 5) },
            // SAFETY: likewise.
            Update::Transform(update) => unsafe { update(h, null, 5, out, &raw mut len) },
        };
        assert_eq!(rv, CKR_ARGUMENTS_BAD, "{}", kind.name);
        t.ended(kind, "bad arguments of Update");
        assert_eq!(t.init(kind), CKR_OK);
        // SAFETY: a null pointer in place of the length must be refused.
        assert_eq!(unsafe { kind.last.unwrap()(h, out, null.cast()) }, CKR_ARGUMENTS_BAD);
        t.ended(kind, "bad arguments of Final");
        // A wrong session is another matter.
        assert_eq!(t.init(kind), CKR_OK);
        // SAFETY: `out` has room for 512 bytes.
        let rv = unsafe { (kind.single)(h + 1, input, 32, out, &raw mut len) };
        assert_eq!(rv, CKR_SESSION_HANDLE_INVALID);
        assert_eq!(t.single(kind, Some(512)).0, CKR_OK, "{}: the operation of a good session goes on", kind.name);

        // Cancelled by NULL, by C_SessionCancel; a new one may begin.
        for cancelled in [kind.cancel, |c: &Client| call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX))] {
            assert_eq!(t.init(kind), CKR_OK);
            assert_eq!(cancelled(&t.c), CKR_OK, "{}", kind.name);
            t.ended(kind, "cancelled");
        }
        assert_eq!(t.init(kind), CKR_OK);
        assert_eq!(call!(t.c.m, C_SessionCancel(t.c.h, kind.flag)), CKR_OK);
        t.ended(kind, "cancelled by its flag");
        assert_eq!(t.init(kind), CKR_OK);
        assert_eq!(call!(t.c.m, C_SessionCancel(t.c.h, !kind.flag)), CKR_OK);
        assert_eq!(t.single(kind, Some(512)).0, CKR_OK, "{}: others are cancelled, not this", kind.name);
        // An Init that fails begins nothing.
        assert_ne!((kind.init)(&t.c, if kind.flag == CKF_DIGEST { t.aes } else { 999 }), CKR_SESSION_HANDLE_INVALID);
        (kind.cancel)(&t.c);
        t.ended(kind, "never begun");
    }
    assert_eq!(call!(t.c.m, C_SessionCancel(t.c.h + 1, 0)), CKR_SESSION_HANDLE_INVALID);
}

/// Wrong lengths end encryption and decryption.
#[test]
fn wrong_lengths() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    c.encrypt_init(cbc(), key).unwrap();
    assert_eq!(c.encrypt_data(&[0; 15]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(c.encrypt_data(&[0; 16]), Err(CKR_OPERATION_NOT_INITIALIZED));
    c.encrypt_init(cbc(), key).unwrap();
    assert_eq!(c.encrypt_update(&[0; 15]).unwrap(), b"");
    assert_eq!(c.encrypt_final(), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(c.encrypt_final(), Err(CKR_OPERATION_NOT_INITIALIZED));
    c.decrypt_init(cbc(), key).unwrap();
    assert_eq!(c.decrypt_update(&[0; 15]).unwrap(), b"");
    assert_eq!(c.decrypt_final(), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
    let padded = Mech::with(CKM_AES_CBC_PAD, [1; 16]);
    let text = c.encrypt(padded.clone(), key, &[9; 20]).unwrap();
    // A small buffer keeps the plaintext that is known now; it fits at last.
    c.decrypt_init(padded.clone(), key).unwrap();
    let (mut out, mut len) = ([0xa5u8; 64], 19);
    let size = text.len() as CK_ULONG;
    let run = |out: &mut [u8; 64], len: &mut CK_ULONG| {
        call!(c.m, C_Decrypt(c.h, text.as_ptr().cast_mut(), size, out.as_mut_ptr(), &raw mut *len))
    };
    assert_eq!(run(&mut out, &mut len), CKR_BUFFER_TOO_SMALL);
    assert_eq!((len, out), (20, [0xa5; 64]));
    assert_eq!(run(&mut out, &mut len), CKR_OK);
    assert_eq!((len, &out[..20]), (20, &[9; 20][..]));
    let mut wrong = text.clone();
    wrong[31] ^= 1;
    assert!(c.decrypt(padded, key, &wrong).is_err());
    assert_eq!(c.decrypt_final(), Err(CKR_OPERATION_NOT_INITIALIZED));
}

#[test]
fn verification() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.session_pair();
    let signature = c.sign(CKM_ECDSA_SHA256, private, b"data").unwrap();
    let fresh = || c.verify_init(CKM_ECDSA_SHA256, public).unwrap();
    let gone = || assert_eq!(c.verify_final(&signature), Err(CKR_OPERATION_NOT_INITIALIZED));
    fresh();
    assert_eq!(c.verify_init(CKM_ECDSA_SHA256, public), Err(CKR_OPERATION_ACTIVE));
    c.verify_data(b"data", &signature).unwrap();
    gone();
    fresh();
    c.verify_update(b"da").unwrap();
    c.verify_update(b"ta").unwrap();
    c.verify_final(&signature).unwrap();
    gone();
    for (wrong, code) in [
        ([&signature[..63], &[signature[63] ^ 1]].concat(), CKR_SIGNATURE_INVALID),
        (signature[..63].to_vec(), CKR_SIGNATURE_LEN_RANGE),
        ([&signature[..], &[0]].concat(), CKR_SIGNATURE_LEN_RANGE),
        (vec![], CKR_SIGNATURE_LEN_RANGE),
        (vec![0; 64], CKR_SIGNATURE_INVALID),
        (vec![0xff; 64], CKR_SIGNATURE_INVALID),
    ] {
        fresh();
        assert_eq!(c.verify_data(b"data", &wrong), Err(code));
        gone();
        fresh();
        c.verify_update(b"data").unwrap();
        assert_eq!(c.verify_final(&wrong), Err(code));
        gone();
    }
    fresh();
    c.verify_update(b"data").unwrap();
    assert_eq!(c.verify_data(b"data", &signature), Err(CKR_OPERATION_ACTIVE));
    gone();
    fresh();
    let null = std::ptr::null_mut();
    assert_eq!(call!(c.m, C_Verify(c.h, null, 4, null, 64)), CKR_ARGUMENTS_BAD);
    gone();
}

/// Operations of different kinds do not disturb each other in one session (Java and GnuTLS digest while they sign).
#[test]
fn different_kinds_side_by_side() {
    let installation = Installation::software();
    let c = installation.client();
    let (_, private) = c.session_pair();
    let key = c.aes(32, &[]);
    c.sign_init(CKM_ECDSA_SHA256, private).unwrap();
    c.digest_init(CKM_SHA256).unwrap();
    c.encrypt_init(cbc(), key).unwrap();
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_SECRET_KEY), b(CKA_TOKEN, false)]), [key]);
    c.sign_update(b"x").unwrap();
    c.digest_update(b"x").unwrap();
    assert_eq!(c.encrypt_update(&[0; 16]).unwrap().len(), 16);
    assert_eq!(c.sign_final().unwrap().len(), 64);
    assert_eq!(c.digest_final().unwrap().len(), 32);
    assert_eq!(c.encrypt_final().unwrap(), b"");
}
