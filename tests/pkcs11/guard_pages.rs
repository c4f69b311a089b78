//! Nothing is read or written outside what the caller gave: every buffer lies against a page that may not be touched.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Attr, Installation, Mech, P256, b, raw, s, u, v};

const PAGE: usize = 4096;

/// Three pages of which only the one in the middle may be touched.
pub struct Fence(*mut u8);

/// Against which of the two forbidden pages something lies.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    Before,
    Behind,
}

impl Fence {
    pub fn new() -> Self {
        // SAFETY: a fresh mapping, checked; the middle page lies within.
        unsafe {
            let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, std::ptr::null_mut());
            let start = libc::mmap(none, 3 * PAGE, libc::PROT_NONE, flags, -1, 0).cast::<u8>();
            assert_ne!(start.cast(), libc::MAP_FAILED);
            let middle = start.add(PAGE);
            assert_eq!(libc::mprotect(middle.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE), 0);
            Self(middle)
        }
    }

    /// Room for `len` bytes against one of the forbidden pages, aligned or not as it comes.
    pub fn room(&self, len: usize, side: Side) -> *mut u8 {
        assert!(len <= PAGE);
        match side {
            Side::Before => self.0,
            Side::Behind => self.0.wrapping_add(PAGE - len),
        }
    }

    /// A copy of these bytes there.
    pub fn put(&self, bytes: &[u8], side: Side) -> *mut u8 {
        let room = self.room(bytes.len(), side);
        // SAFETY: within the middle page.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), room, bytes.len()) };
        room
    }

    /// A copy of plain data there.
    fn copy<T>(&self, value: &T, side: Side) -> *mut T {
        // SAFETY: plain data of the C interface, read as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) };
        self.put(bytes, side).cast()
    }

    fn read(&self, len: usize, side: Side) -> Vec<u8> {
        // SAFETY: within the middle page.
        unsafe { std::slice::from_raw_parts(self.room(len, side), len) }.to_vec()
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, which nobody uses any more.
        unsafe { libc::munmap(self.0.wrapping_sub(PAGE).cast(), 3 * PAGE) };
    }
}

/// A template whose array and whose every value lie against forbidden pages.
struct Fenced {
    list: Fence,
    values: Vec<Fence>,
    count: usize,
}

impl Fenced {
    fn new(template: &[Attr], side: Side) -> Self {
        let mut list = raw(template);
        let values: Vec<Fence> = template.iter().map(|_| Fence::new()).collect();
        for ((attribute, fence), attr) in list.iter_mut().zip(&values).zip(template) {
            attribute.pValue = fence.put(&attr.1, side).cast();
        }
        let bytes: Vec<u8> = list.iter().flat_map(|attribute| bytes_of(attribute).to_vec()).collect();
        let fence = Fence::new();
        fence.put(&bytes, side);
        Self { list: fence, values, count: template.len() }
    }

    fn at(&self, side: Side) -> *mut CK_ATTRIBUTE {
        self.list.room(self.count * size_of::<CK_ATTRIBUTE>(), side).cast()
    }
}

pub fn bytes_of<T>(value: &T) -> &[u8] {
    // SAFETY: plain data of the C interface.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast::<u8>(), size_of::<T>()) }
}

#[test]
fn templates_mechanisms_inputs_and_outputs_lie_against_forbidden_pages() {
    let installation = Installation::software();
    let c = installation.client();
    for side in [Side::Before, Side::Behind] {
        // Templates, nested ones too.
        let inner = Fenced::new(&[u(CKA_KEY_TYPE, CKK_AES), b(CKA_SENSITIVE, true)], side);
        // SAFETY: the two attributes in the middle page.
        let nested = unsafe { std::slice::from_raw_parts(inner.at(side).cast::<u8>(), 2 * size_of::<CK_ATTRIBUTE>()) };
        let secret = [
            u(CKA_CLASS, CKO_SECRET_KEY),
            u(CKA_KEY_TYPE, CKK_AES),
            v(CKA_VALUE, [7; 32]),
            b(CKA_WRAP, true),
            s(CKA_LABEL, "fence"),
        ];
        let template = Fenced::new(&secret, side);
        let handle = Fence::new();
        let place = handle.room(8, side).cast::<CK_ULONG>();
        assert_eq!(call!(c.m, C_CreateObject(c.h, template.at(side), 5, place)), CKR_OK, "{side:?}");
        let aes = CK_ULONG::from_ne_bytes(handle.read(8, side).try_into().unwrap());

        // Attributes come back: exactly as much room as there is need, then one byte less.
        for (kind, expected) in [(CKA_LABEL, b"fence".to_vec()), (CKA_CLASS, CKO_SECRET_KEY.to_ne_bytes().to_vec())] {
            for room in [expected.len(), expected.len() - 1] {
                let asked = Fenced::new(&[v(kind, vec![0xa5; room])], side);
                let rv = call!(c.m, C_GetAttributeValue(c.h, aes, asked.at(side), 1));
                let fits = room == expected.len();
                assert_eq!(rv, if fits { CKR_OK } else { CKR_BUFFER_TOO_SMALL });
                let now = asked.values[0].read(room, side);
                assert_eq!(now, if fits { expected.clone() } else { vec![0xa5; room] });
            }
        }

        // Searches, with a template within the template too: no key has it.
        let search = Fenced::new(&[v(CKA_WRAP_TEMPLATE, nested)], side);
        assert_eq!(call!(c.m, C_FindObjectsInit(c.h, search.at(side), 1)), CKR_OK);
        assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);
        let search = Fenced::new(&[s(CKA_LABEL, "fence")], side);
        assert_eq!(call!(c.m, C_FindObjectsInit(c.h, search.at(side), 1)), CKR_OK);
        let (found, count) = (Fence::new(), Fence::new());
        let (list, number) = (found.room(8, side).cast(), count.room(8, side).cast());
        assert_eq!(call!(c.m, C_FindObjects(c.h, list, 1, number)), CKR_OK);
        assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);

        // Mechanism, parameter and what it points to; input; output of the exact size, with its length.
        let (iv, aad) = (Fence::new(), Fence::new());
        let parameter = CK_GCM_PARAMS {
            pIv: iv.put(&[9; 12], side),
            ulIvLen: 12,
            ulIvBits: 96,
            pAAD: aad.put(b"aad", side),
            ulAADLen: 3,
            ulTagBits: 128,
        };
        let (parameter_fence, mechanism_fence) = (Fence::new(), Fence::new());
        let mechanism = CK_MECHANISM {
            mechanism: CKM_AES_GCM,
            pParameter: parameter_fence.copy(&parameter, side).cast::<c_void>(),
            ulParameterLen: size_of::<CK_GCM_PARAMS>() as CK_ULONG,
        };
        let key = c.aes(32, &[]);
        for room in [21u64, 20, 0] {
            let mechanism = mechanism_fence.copy(&mechanism, side);
            assert_eq!(call!(c.m, C_EncryptInit(c.h, mechanism, key)), CKR_OK);
            let (input, output, len) = (Fence::new(), Fence::new(), Fence::new());
            let data = input.put(b"hello", side);
            let (out, out_len) = (output.room(room as usize, side), len.copy(&room, side));
            let rv = call!(c.m, C_Encrypt(c.h, data, 5, out, out_len));
            assert_eq!(rv, if room == 21 { CKR_OK } else { CKR_BUFFER_TOO_SMALL }, "{room}");
            assert_eq!(len.read(8, side), 21u64.to_ne_bytes());
            call!(c.m, C_SessionCancel(c.h, CKF_ENCRYPT));
        }

        // Digests, signatures, random numbers, in one call and in parts.
        let (_, private) = c.session_pair();
        for (kind, size) in [(CKM_ECDSA_SHA256, 64u64), (CKM_ECDSA_SHA384, 64)] {
            c.sign_init(kind, private).unwrap();
            let (input, output, len) = (Fence::new(), Fence::new(), Fence::new());
            let data = input.put(&[3; 100], side);
            assert_eq!(call!(c.m, C_SignUpdate(c.h, data, 100)), CKR_OK);
            let (out, out_len) = (output.room(size as usize, side), len.copy(&size, side));
            assert_eq!(call!(c.m, C_SignFinal(c.h, out, out_len)), CKR_OK);
        }
        c.digest_init(CKM_SHA512).unwrap();
        let (input, output, len) = (Fence::new(), Fence::new(), Fence::new());
        let data = input.put(&[1; 63], side);
        let (out, out_len) = (output.room(64, side), len.copy(&64u64, side));
        assert_eq!(call!(c.m, C_Digest(c.h, data, 63, out, out_len)), CKR_OK);
        assert_eq!(output.read(64, side), c.digest(CKM_SHA512, &[1; 63]).unwrap());
        let random = Fence::new();
        assert_eq!(call!(c.m, C_GenerateRandom(c.h, random.room(33, side), 33)), CKR_OK);

        // Lists and structures.
        let (slots, count) = (Fence::new(), Fence::new());
        let number = count.copy(&1u64, side);
        assert_eq!(call!(c.m, C_GetSlotList(CK_TRUE, slots.room(8, side).cast(), number)), CKR_OK);
        let all = c.m.mechanisms().len();
        let (list, count) = (Fence::new(), Fence::new());
        let number = count.copy(&(all as CK_ULONG), side);
        let place = list.room(all * 8, side).cast();
        assert_eq!(call!(c.m, C_GetMechanismList(c.m.slot(), place, number)), CKR_OK);
        let info = Fence::new();
        let place = info.room(size_of::<CK_TOKEN_INFO>(), side).cast();
        assert_eq!(call!(c.m, C_GetTokenInfo(c.m.slot(), place)), CKR_OK);
        let info = Fence::new();
        let place = info.room(size_of::<CK_SLOT_INFO>(), side).cast();
        assert_eq!(call!(c.m, C_GetSlotInfo(c.m.slot(), place)), CKR_OK);
        let info = Fence::new();
        assert_eq!(call!(c.m, C_GetInfo(info.room(size_of::<CK_INFO>(), side).cast())), CKR_OK);
        let info = Fence::new();
        let place = info.room(size_of::<CK_SESSION_INFO>(), side).cast();
        assert_eq!(call!(c.m, C_GetSessionInfo(c.h, place)), CKR_OK);
    }
}

/// Lengths that no process has memory for are refused before anything is copied or allocated: an allocation that fails
/// aborts the host.
#[test]
fn absurd_lengths_are_refused() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    let (public, private) = c.session_pair();
    let mut byte = [1u8; 64];
    let data = byte.as_mut_ptr();
    for len in [1 << 56, 1 << 62, CK_ULONG::MAX >> 1, CK_ULONG::MAX - 1, CK_ULONG::MAX] {
        let mut out_len = 64;
        let told = |name: &str, rv: CK_RV| {
            assert_eq!(rv, CKR_ARGUMENTS_BAD, "{name}, {len:#x}: {rv:#x}");
            call!(c.m, C_SessionCancel(c.h, CK_FLAGS::MAX));
        };
        c.digest_init(CKM_SHA256).unwrap();
        told("C_Digest", call!(c.m, C_Digest(c.h, data, len, data, &raw mut out_len)));
        c.digest_init(CKM_SHA256).unwrap();
        told("C_DigestUpdate", call!(c.m, C_DigestUpdate(c.h, data, len)));
        c.sign_init(CKM_ECDSA, private).unwrap();
        told("C_Sign", call!(c.m, C_Sign(c.h, data, len, data, &raw mut out_len)));
        c.sign_init(CKM_ECDSA_SHA256, private).unwrap();
        told("C_SignUpdate", call!(c.m, C_SignUpdate(c.h, data, len)));
        c.verify_init(CKM_ECDSA, public).unwrap();
        told("C_Verify", call!(c.m, C_Verify(c.h, data, 32, data, len)));
        c.verify_init(CKM_ECDSA_SHA256, public).unwrap();
        told("C_VerifyUpdate", call!(c.m, C_VerifyUpdate(c.h, data, len)));
        for mechanism in [Mech::gcm(&[1; 12], b"", 128), Mech::with(CKM_AES_CBC_PAD, [1; 16]), Mech::new(CKM_AES_ECB)] {
            c.encrypt_init(mechanism.clone(), key).unwrap();
            told("C_Encrypt", call!(c.m, C_Encrypt(c.h, data, len, data, &raw mut out_len)));
            c.encrypt_init(mechanism.clone(), key).unwrap();
            told("C_EncryptUpdate", call!(c.m, C_EncryptUpdate(c.h, data, len, data, &raw mut out_len)));
            c.decrypt_init(mechanism.clone(), key).unwrap();
            told("C_Decrypt", call!(c.m, C_Decrypt(c.h, data, len, data, &raw mut out_len)));
            c.decrypt_init(mechanism, key).unwrap();
            told("C_DecryptUpdate", call!(c.m, C_DecryptUpdate(c.h, data, len, data, &raw mut out_len)));
        }
        told("C_GenerateRandom", call!(c.m, C_GenerateRandom(c.h, data, len)));
        told("C_SeedRandom", call!(c.m, C_SeedRandom(c.h, data, len)));
        let mut found = 0;
        assert_eq!(call!(c.m, C_FindObjectsInit(c.h, std::ptr::null_mut(), 0)), CKR_OK);
        told("C_FindObjects", call!(c.m, C_FindObjects(c.h, data.cast(), len, &raw mut found)));
        call!(c.m, C_FindObjectsFinal(c.h));
        told("C_CreateObject", call!(c.m, C_CreateObject(c.h, data.cast(), len, &raw mut found)));
    }
    // All is as before.
    let (_, private) = c.ec_pair(P256, &[]).unwrap();
    c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();
}
