//! Every structure that a caller hands over, at every length up to its own and a little more, at even and odd addresses, in
//! memory that ends where it says: whatever is read or written beside it ends the test.

use std::ffi::c_void;

use cryptoki_sys::*;

use super::args::{Arg, In, Out};
use super::{mechanism, template};
use crate::token::template::{EntryValue, Value};
use crate::token::{Answer, Parameter, Room};

/// Words, of which some are pointers, in memory of exactly `len` bytes that begins `skew` bytes behind a whole word.
struct Memory {
    start: *mut u8,
    /// As it was allocated.
    whole: *mut [u8],
}

#[derive(Clone, Copy)]
enum Word {
    Number(u64),
    Pointer(*mut u8),
}

use Word::{Number, Pointer};

impl Memory {
    fn new(words: &[Word], len: usize, skew: usize) -> Self {
        let whole = Box::into_raw(vec![0x5au8; skew + len].into_boxed_slice());
        let start = whole.cast::<u8>().wrapping_add(skew);
        for (index, word) in words.iter().enumerate() {
            let at = start.wrapping_add(8 * index);
            if 8 * (index + 1) > len {
                break;
            }
            // SAFETY: eight bytes within the memory, as was just found.
            match word {
                Number(number) => unsafe { at.cast::<u64>().write_unaligned(*number) },
                Pointer(pointer) => unsafe { at.cast::<*mut u8>().write_unaligned(*pointer) },
            }
        }
        Self { start, whole }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: as it came from the box.
        drop(unsafe { Box::from_raw(self.whole) });
    }
}

/// Bytes behind a whole word: none, an odd number, half of one.
const SKEWS: [usize; 3] = [0, 1, 4];

/// The caller's word for a pointer.
fn given<T: Arg>(c: T::C) -> T {
    // SAFETY: each test hands over memory that outlives the call.
    unsafe { T::from_c(c) }
}

/// Each mechanism with a structure, its words, and which of them count bytes.
fn structures(bytes: *mut u8, inner: *mut u8) -> Vec<(CK_MECHANISM_TYPE, Vec<Word>)> {
    let (three, place) = (Number(3), Pointer(bytes));
    vec![
        (CKM_AES_CTR, vec![Number(128), Number(1), Number(2)]),
        // Of three sizes; at the size of a shorter one, each says nothing that leads elsewhere.
        (CKM_AES_GCM, vec![place, three, place, three, Number(128)]),
        (CKM_AES_GCM, vec![place, three, Number(24), place, three, Number(128)]),
        (CKM_AES_GCM, vec![place, three, Number(0), Number(0), place, three, Number(128)]),
        (CKM_AES_ECB_ENCRYPT_DATA, vec![place, three]),
        (CKM_AES_CBC_ENCRYPT_DATA, vec![Number(1), Number(2), place, three]),
        (CKM_ECDH1_DERIVE, vec![Number(1), three, place, three, place]),
        (CKM_EDDSA, vec![Number(0), three, place]),
        (
            CKM_HKDF_DERIVE,
            vec![Number(0x101), Number(CKM_SHA256), Number(CKF_HKDF_SALT_DATA), place, three, Number(0), place, three],
        ),
        (CKM_RSA_PKCS_OAEP, vec![Number(CKM_SHA256), Number(1), Number(1), place, three]),
        (CKM_RSA_AES_KEY_WRAP, vec![Number(256), Pointer(inner)]),
        (CKM_RSA_PKCS_PSS, vec![Number(CKM_SHA256), Number(1), Number(32)]),
        (0xC14C_4904, vec![place, three]),
        (0xC14C_4930, vec![place, three]),
        (CKM_AES_CBC, vec![Number(1), Number(2)]),
    ]
}

#[test]
fn parameters() {
    for skew in SKEWS {
        let three = Memory::new(&[], 3, skew);
        let oaep = [Number(CKM_SHA256), Number(1), Number(1), Pointer(three.start), Number(3)];
        let oaep = Memory::new(&oaep, 40, (skew + 3) % 8);
        let mut read = 0;
        for (kind, all) in structures(three.start, oaep.start) {
            for len in 0..=8 * all.len() + 1 {
                let memory = Memory::new(&all, len, skew);
                let words = [Number(kind), Pointer(memory.start), Number(len as u64)];
                let outer = Memory::new(&words, size_of::<CK_MECHANISM>(), (skew + 5) % 8);
                let place = || given::<In<CK_MECHANISM>>(outer.start.cast());
                let found = mechanism::read(place());
                read += usize::from(matches!(found, Ok(Some(found)) if !is_raw(&found.parameter)));
                let _ = mechanism::by_message(place());
                if let Ok((found, iv)) = mechanism::wrapping(place()) {
                    assert_eq!(iv.is_some(), matches!(found.parameter, Parameter::GcmWrap { .. }));
                    if let Some(iv) = iv {
                        iv.fill(b"new");
                        // SAFETY: three bytes that the mechanism named.
                        assert_eq!(unsafe { std::slice::from_raw_parts(three.start, 3) }, b"new");
                    }
                }
            }
        }
        // Thirteen structures, the middle one of GCM's sizes being no beginning of the largest.
        assert_eq!(read, 13);
    }
}

fn is_raw(parameter: &Parameter) -> bool {
    matches!(parameter, Parameter::None | Parameter::Raw(_))
}

#[test]
fn messages() {
    for skew in SKEWS {
        let (iv, tag) = (Memory::new(&[], 12, skew), Memory::new(&[], 16, skew));
        let words = [Pointer(iv.start), Number(12), Number(32), Number(CKG_GENERATE), Pointer(tag.start), Number(128)];
        for len in 0..=49 {
            let memory = Memory::new(&words, len, skew);
            let found = mechanism::message(given::<In<c_void>>(memory.start.cast()), len as CK_ULONG);
            assert_eq!(found.is_ok(), len == 48);
            let Ok((message, places)) = found else { continue };
            assert_eq!((message.iv.len(), message.tag.len()), (12, 16));
            let made = crate::token::parameter::Made { iv: Some(vec![1; 12]), tag: Some(vec![2; 16]) };
            places.fill(&made);
            // SAFETY: the places that were just filled.
            let filled = unsafe { (iv.start.read(), tag.start.add(15).read()) };
            assert_eq!(filled, (1, 2));
        }
    }
}

#[test]
fn templates() {
    for skew in SKEWS {
        let value = Memory::new(&[Number(7)], 9, skew);
        let inner = [Number(CKA_ID), Pointer(value.start), Number(9)];
        let inner = Memory::new(&inner, 24, (skew + 1) % 8);
        let words = [
            [Number(CKA_LABEL), Pointer(value.start), Number(9)],
            [Number(CKA_UNWRAP_TEMPLATE), Pointer(inner.start), Number(24)],
            [Number(CKA_CLASS), Pointer(value.start), Number(8)],
        ]
        .concat();
        for count in 0..=3 {
            let list = Memory::new(&words, 24 * count, skew);
            let read = template::read(given::<In<CK_ATTRIBUTE>>(list.start.cast()), count as CK_ULONG).unwrap();
            assert_eq!(read.0.len(), count);
            let nested = read.0.iter().filter(|entry| matches!(entry.value, EntryValue::Nested(_))).count();
            assert_eq!(nested, usize::from(count > 1));
        }
        // Lengths that no template has.
        for len in [1, 23, 25] {
            let words = [Number(CKA_UNWRAP_TEMPLATE), Pointer(inner.start), Number(len)];
            let list = Memory::new(&words, 24, skew);
            assert!(template::read(given::<In<CK_ATTRIBUTE>>(list.start.cast()), 1).is_err());
        }
    }
}

/// Values of every length into rooms of every length, beside each other and one in the other's list.
#[test]
fn answers() {
    for skew in SKEWS {
        for room in 0..=9usize {
            for size in 0..=9usize {
                let (one, other) = (Memory::new(&[], room, skew), Memory::new(&[], 8, (skew + 3) % 8));
                let inner = Memory::new(&[Number(0), Pointer(other.start), Number(8)], 24, (skew + 1) % 8);
                let words = [
                    [Number(CKA_ID), Pointer(one.start), Number(room as u64)],
                    [Number(CKA_WRAP_TEMPLATE), Pointer(inner.start), Number(24)],
                    [Number(CKA_LABEL), Pointer(std::ptr::null_mut()), Number(77)],
                ];
                let list = Memory::new(&words.concat(), 72, skew);
                let asked = template::Asked::read(given::<Out<CK_ATTRIBUTE>>(list.start.cast()), 3).unwrap();
                let bytes = [9u8; 9];
                let answered = asked.answer(|kind| match kind {
                    CKA_WRAP_TEMPLATE => Value::Nested(vec![(CKA_CLASS, Value::Bytes(&bytes[..8]))]),
                    _ => Value::Bytes(&bytes[..size]),
                });
                assert_eq!(answered.is_ok(), room >= size);
                // SAFETY: the bytes of the places, which are initialised.
                let (first, second) = unsafe {
                    (std::slice::from_raw_parts(one.start, room), std::slice::from_raw_parts(other.start, 8))
                };
                assert!(second.iter().all(|byte| *byte == 9));
                let written = if room < size { 0 } else { size };
                assert!(first.iter().enumerate().all(|(at, byte)| (*byte == 9) == (at < written)));
            }
        }
    }
}

/// The two calls of PKCS#11 3.2 §5.2 and lists of handles, into memory of exactly that size.
#[test]
fn outputs() {
    for skew in SKEWS {
        for room in 0..=4usize {
            let buffer = Memory::new(&[], room, skew);
            let count = Memory::new(&[Number(room as u64)], 8, (skew + 3) % 8);
            let (out, len) = (given::<Out<u8>>(buffer.start), given::<Out<CK_ULONG>>(count.start.cast()));
            let offered = out.room(len).unwrap();
            assert_eq!(offered, Room::Bytes(room));
            assert!(out.give(len, offered, Answer::Bytes(vec![3; room].into())).is_ok());
            assert!(out.give(len, offered, Answer::Bytes(vec![3; room + 1].into())).is_err());
            assert!(out.stream(room as CK_ULONG, |want| Ok(vec![4; want])).is_ok());
            let handles = Memory::new(&[], 8 * room, skew);
            let list = given::<Out<CK_ULONG>>(handles.start.cast());
            assert!(list.up_to(room as CK_ULONG, len, |max| Ok(vec![5; max])).is_ok());
            len.put(room as CK_ULONG).unwrap();
            assert_eq!(list.list(len, &[6; 3]).is_ok(), room >= 3);
            assert_eq!(len.input().one().unwrap(), 3);
            let text = Memory::new(&[], room, skew);
            assert_eq!(given::<In<u8>>(text.start).text(room).unwrap().len(), room);
            assert_eq!(given::<In<u8>>(text.start).bytes(room as CK_ULONG).unwrap().len(), room);
        }
    }
}
