//! C arguments as Rust values: `In` to read from, `Out` to write to. Every pointer and length is checked here.
//!
//! Nothing here makes a `&mut` to the caller's memory, and only bytes are borrowed (`&[u8]`); everything wider is copied
//! with unaligned reads, since callers pack structures as they like.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

use cryptoki_sys::*;
use zeroize::Zeroize;

use crate::error::{Error, Result};
use crate::token::{Answer, Room, ck};

/// A Rust argument made of one C argument.
pub(super) trait Arg: Sized {
    type C;
    /// # Safety
    /// `c` came from the caller of a `C_*` function, who vouches for it as PKCS#11 says, for as long as the call lasts.
    unsafe fn from_c(c: Self::C) -> Self;
}

/// Null, one, or many to read.
pub(super) struct In<T>(*mut T);

/// Null, one, or many to write; of a `CK_ULONG` also one to read first.
pub(super) struct Out<T>(*mut T);

/// An `Out` that was found not to be null.
pub(super) struct Place<T>(NonNull<T>);

/// Types of which any bits are a value.
///
/// # Safety
/// The type has no niche and no padding that matters: reading it from any memory of its size is sound.
pub(super) unsafe trait Plain: Copy {}

macro_rules! plain {
    ($($ty:ty)*) => {
        // SAFETY: integers, raw pointers and optional function pointers, in C layout.
        $(unsafe impl Plain for $ty {})*
    };
}

plain! {
    u8 CK_ULONG CK_VERSION CK_ATTRIBUTE CK_MECHANISM CK_C_INITIALIZE_ARGS CK_AES_CTR_PARAMS CK_ECDH1_DERIVE_PARAMS CK_GCM_PARAMS
    CK_GCM_MESSAGE_PARAMS CK_GCM_WRAP_PARAMS CK_RSA_AES_KEY_WRAP_PARAMS CK_RSA_PKCS_OAEP_PARAMS CK_RSA_PKCS_PSS_PARAMS
    CK_EDDSA_PARAMS CK_HKDF_PARAMS CK_KEY_DERIVATION_STRING_DATA
    CK_AES_CBC_ENCRYPT_DATA_PARAMS
}

macro_rules! by_value {
    ($($ty:ty)*) => {
        $(impl Arg for $ty {
            type C = $ty;
            unsafe fn from_c(c: $ty) -> Self {
                c
            }
        })*
    };
}

by_value! { CK_ULONG CK_BBOOL CK_NOTIFY }

macro_rules! pointer {
    ($($name:ident)*) => {
        $(impl<T> Arg for $name<T> {
            type C = *mut T;
            unsafe fn from_c(c: *mut T) -> Self {
                Self(c)
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }

        impl<T> Copy for $name<T> {})*
    };
}

pointer! { In Out }

fn bad() -> Error {
    ck(CKR_ARGUMENTS_BAD)
}

/// No process has memory at or above this address (x86-64 with five levels of page tables, aarch64 with 56 bits): what is
/// said to reach there is a mistake, and copying it would end in an allocation that aborts the host.
const MEMORY_END: usize = 1 << 56;

/// `count` as a number of elements at `start`, if so many can exist there: their bytes end below [`MEMORY_END`].
fn extent<T>(start: *const T, count: CK_ULONG) -> Result<usize> {
    let count = usize::try_from(count).map_err(|_| bad())?;
    let size = count.checked_mul(size_of::<T>()).filter(|size| isize::try_from(*size).is_ok()).ok_or_else(bad)?;
    start.addr().checked_add(size).filter(|end| *end <= MEMORY_END).ok_or_else(bad)?;
    Ok(count)
}

impl<T> In<T> {
    pub(super) fn is_null(self) -> bool {
        self.0.is_null()
    }
}

impl In<c_void> {
    pub(super) fn cast<U>(self) -> In<U> {
        In(self.0.cast())
    }
}

impl<T: Plain> In<T> {
    /// Null is CKR_ARGUMENTS_BAD.
    pub(super) fn one(self) -> Result<T> {
        self.optional().ok_or_else(bad)
    }

    pub(super) fn optional(self) -> Option<T> {
        // SAFETY: not null, so it points to one T (`from_c`), perhaps not aligned; any bits are a T (`Plain`).
        (!self.is_null()).then(|| unsafe { self.0.read_unaligned() })
    }

    /// Copies of `count` elements, one after the other. Null is fine for none.
    pub(super) fn each(self, count: CK_ULONG) -> Result<impl ExactSizeIterator<Item = T>> {
        if self.is_null() && count != 0 {
            return Err(bad());
        }
        // SAFETY: not null unless the range is empty; `count` elements lie there (`from_c`), within one object (`extent`).
        Ok((0..extent(self.0, count)?).map(move |i| unsafe { self.0.add(i).read_unaligned() }))
    }
}

impl In<u8> {
    /// `len` bytes. Null is fine for none.
    pub(super) fn bytes(&self, len: CK_ULONG) -> Result<&[u8]> {
        match self.bytes_if_any(len)? {
            Some(bytes) => Ok(bytes),
            None if len == 0 => Ok(&[]),
            None => Err(bad()),
        }
    }

    /// `len` bytes, or `None` for null whatever the length.
    pub(super) fn bytes_if_any(&self, len: CK_ULONG) -> Result<Option<&[u8]>> {
        if self.is_null() {
            return Ok(None);
        }
        let len = extent(self.0, len)?;
        // SAFETY: not null; the caller vouches for `len` readable bytes (`from_c`), which `extent` found possible. The
        // slice is not used any more when output is written: `guard::output`.
        Ok(Some(unsafe { std::slice::from_raw_parts(self.0, len) }))
    }

    /// A string that ends with NUL, without it. CKR_ARGUMENTS_BAD for null or if it is longer than `max` bytes.
    pub(super) fn c_string(self, max: usize) -> Result<Vec<u8>> {
        let text = self.text(max + 1)?;
        if text.len() > max { Err(bad()) } else { Ok(text) }
    }

    /// `len` bytes, or fewer if a NUL comes before. CKR_ARGUMENTS_BAD for null.
    pub(super) fn text(self, len: usize) -> Result<Vec<u8>> {
        if self.is_null() {
            return Err(bad());
        }
        let mut text = Vec::new();
        while text.len() < len {
            // SAFETY: not null, and no NUL was found before this byte, so it belongs to the text.
            match unsafe { self.0.add(text.len()).read() } {
                0 => break,
                byte => text.push(byte),
            }
        }
        Ok(text)
    }
}

impl<T> Out<T> {
    /// To be called before the work whose result goes there. Null is CKR_ARGUMENTS_BAD.
    pub(super) fn needed(self) -> Result<Place<T>> {
        NonNull::new(self.0).map(Place).ok_or_else(bad)
    }

    /// Null is CKR_ARGUMENTS_BAD.
    pub(super) fn put(self, value: T) -> Result<()> {
        self.needed()?.put(value);
        Ok(())
    }

    pub(super) fn pointer(self) -> *mut T {
        self.0
    }

    /// The same place, to be read.
    pub(super) fn input(self) -> In<T> {
        In(self.0)
    }
}

impl<T> Place<T> {
    pub(super) fn put(self, value: T) {
        // SAFETY: not null, so it points to room for one T (`from_c`), perhaps not aligned. What was there is plain data.
        unsafe { self.0.write_unaligned(value) }
    }
}

impl<T: Copy> Out<T> {
    /// Copies all of `items`. The caller of this function knows that there is room.
    fn copy(self, items: &[T]) {
        if !items.is_empty() && !self.0.is_null() {
            // SAFETY: bytes of ours to memory of the caller's, who vouches for room for `items.len()` elements (`from_c`,
            // and the count that was compared); as bytes there is no alignment to respect.
            unsafe {
                std::ptr::copy_nonoverlapping(items.as_ptr().cast::<u8>(), self.0.cast::<u8>(), size_of_val(items));
            }
        }
    }

    /// A whole list, after PKCS#11 3.2 §5.2: null asks for the count; too little room is CKR_BUFFER_TOO_SMALL and the count.
    pub(super) fn list(self, count: Out<CK_ULONG>, items: &[T]) -> Result<()> {
        let room = count.input().one()?;
        let fits = self.0.is_null() || extent(self.0, room)? >= items.len();
        if fits {
            self.copy(items);
        }
        count.put(items.len() as CK_ULONG)?;
        if fits { Ok(()) } else { Err(ck(CKR_BUFFER_TOO_SMALL)) }
    }

    /// As many as there are, at most `max`: C_FindObjects.
    pub(super) fn up_to(
        self,
        max: CK_ULONG,
        count: Out<CK_ULONG>,
        take: impl FnOnce(usize) -> Result<Vec<T>>,
    ) -> Result<()> {
        let count = count.needed()?;
        if self.0.is_null() && max != 0 {
            return Err(bad());
        }
        let max = extent(self.0, max)?;
        let items = take(max)?;
        if items.len() > max {
            return Err(Error::Internal("more items than were asked for".into()));
        }
        self.copy(&items);
        count.put(items.len() as CK_ULONG);
        Ok(())
    }
}

impl Out<u8> {
    /// Copies all of `bytes` to where as many were read before.
    pub(super) fn fill(self, bytes: &[u8]) {
        self.copy(bytes);
    }

    /// What the caller offers: null asks for the size.
    pub(super) fn room(self, len: Out<CK_ULONG>) -> Result<Room> {
        let offered = len.input().one()?;
        // A null pointer often comes with a length that was never set.
        if self.0.is_null() { Ok(Room::Ask) } else { Ok(Room::Bytes(extent(self.0, offered)?)) }
    }

    /// The room that [`Out::room`] found, of which a cipher fills no more than this, to be written to while `input` is still
    /// read. None if the two have memory in common, which PKCS#11 allows.
    pub(super) fn apart(&mut self, room: Room, input: &[u8]) -> Option<&mut [MaybeUninit<u8>]> {
        /// What a cipher adds: its tag.
        const MORE: usize = 16;
        let Room::Bytes(len) = room else { return None };
        let len = len.min(input.len().saturating_add(MORE));
        let (out, read) = (self.0.addr(), input.as_ptr().addr());
        let apart = out + len <= read || read + input.len() <= out;
        // SAFETY: not null, or there would be no room; the caller vouches for it (`from_c`), as for its being nobody else's
        // while the call lasts; both ranges end below `MEMORY_END`, and nothing that is read lies in this one.
        apart.then(|| unsafe { std::slice::from_raw_parts_mut(self.0.cast(), len) })
    }

    /// Hands `answer` back; `room` is what `room` found before.
    pub(super) fn give(self, len: Out<CK_ULONG>, room: Room, answer: Answer) -> Result<()> {
        let (size, outcome) = match answer {
            Answer::Bytes(bytes) => match room {
                Room::Bytes(max) if bytes.len() > max => {
                    return Err(Error::Internal("more output than there is room for".into()));
                }
                Room::Bytes(_) => {
                    self.copy(&bytes);
                    (bytes.len(), Ok(()))
                }
                Room::Ask => (bytes.len(), Ok(())),
            },
            Answer::Written(size) if !matches!(room, Room::Bytes(max) if size <= max) => {
                return Err(Error::Internal("more output than there is room for".into()));
            }
            Answer::Size(size) | Answer::Written(size) => (size, Ok(())),
            Answer::TooSmall(size) => (size, Err(ck(CKR_BUFFER_TOO_SMALL))),
        };
        len.put(size as CK_ULONG)?;
        outcome
    }

    /// `len` bytes made in pieces, so that no length asks for more memory than there is.
    pub(super) fn stream(self, len: CK_ULONG, mut make: impl FnMut(usize) -> Result<Vec<u8>>) -> Result<()> {
        const PIECE: usize = 64 * 1024;
        if self.0.is_null() && len != 0 {
            return Err(bad());
        }
        let len = extent(self.0, len)?;
        let mut done = 0;
        while done < len {
            let want = PIECE.min(len - done);
            let mut piece = make(want)?;
            if piece.len() != want {
                return Err(Error::Internal("a piece of the wrong size".into()));
            }
            // SAFETY: `done < len`, and the caller vouches for `len` bytes (`from_c`).
            Out(unsafe { self.0.add(done) }).copy(&piece);
            piece.zeroize();
            done += want;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input<T>(place: &T) -> In<T> {
        In(std::ptr::from_ref(place).cast_mut())
    }

    #[test]
    fn lengths_that_cannot_be() {
        let byte = 7u8;
        assert_eq!(input(&byte).bytes(1), Ok(&[7u8][..]));
        for len in [CK_ULONG::MAX, CK_ULONG::MAX / 2 + 1] {
            assert_eq!(input(&byte).bytes(len), Err(bad()));
            assert_eq!(In::<u8>(std::ptr::null_mut()).bytes(len), Err(bad()));
        }
        assert_eq!(In::<u8>(std::ptr::null_mut()).bytes(0), Ok(&[][..]));
        assert_eq!(In::<u8>(std::ptr::null_mut()).bytes_if_any(9), Ok(None));
        assert!(input::<CK_ULONG>(&0).each(CK_ULONG::MAX / 8 + 1).is_err());
        // The last bytes of the address space and beyond.
        assert_eq!(In::<u8>(std::ptr::without_provenance_mut(usize::MAX - 3)).bytes(16), Err(bad()));
    }

    #[test]
    fn unaligned_is_fine() {
        let bytes: [u8; 17] = std::array::from_fn(|i| i as u8);
        let one = In::<CK_ULONG>(bytes[1..].as_ptr().cast_mut().cast());
        assert_eq!(one.one(), Ok(CK_ULONG::from_ne_bytes([1, 2, 3, 4, 5, 6, 7, 8])));
        assert_eq!(one.each(2).unwrap().last(), Some(CK_ULONG::from_ne_bytes([9, 10, 11, 12, 13, 14, 15, 16])));
    }

    #[test]
    fn the_convention_of_two_calls() {
        let (mut buffer, mut len) = ([0u8; 4], 4 as CK_ULONG);
        let (out, size) = (Out(buffer.as_mut_ptr()), Out(&raw mut len));
        let answer = |n: usize| Answer::Bytes(vec![1u8; n].into());
        assert_eq!(out.room(size), Ok(Room::Bytes(4)));
        assert_eq!(out.give(size, Room::Bytes(4), answer(3)), Ok(()));
        assert_eq!(size.input().one(), Ok(3));
        assert!(matches!(out.give(size, Room::Bytes(2), answer(3)), Err(Error::Internal(_))));
        assert_eq!(out.give(size, Room::Bytes(2), Answer::TooSmall(9)), Err(ck(CKR_BUFFER_TOO_SMALL)));
        assert_eq!(size.input().one(), Ok(9));
        assert_eq!(Out(std::ptr::null_mut()).room(Out(&raw mut len)), Ok(Room::Ask));
        assert_eq!(out.room(Out(std::ptr::null_mut())), Err(bad()));
        assert_eq!(buffer, [1, 1, 1, 0]);
    }
}
