//! Attribute templates: `CK_ATTRIBUTE[]` read into owned pairs, and the answers of C_GetAttributeValue written back.

use std::ffi::c_void;

use cryptoki_sys::*;

use crate::abi::args::{Arg, In, Out};
use crate::error::Result;
use crate::model::Bytes;
use crate::token::ck;
use crate::token::template::{Entry, EntryValue, Template, Value};

/// Attributes of one template, those of nested templates included.
const MAX_ATTRIBUTES: usize = 1024;
/// Bytes of all values of one template.
const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Templates within templates.
const MAX_DEPTH: usize = 4;

/// Attributes whose values are templates. CKA_ALLOWED_MECHANISMS has the array bit too, but holds mechanism numbers.
const NESTED: &[CK_ATTRIBUTE_TYPE] =
    &[CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE, CKA_ENCAPSULATE_TEMPLATE, CKA_DECAPSULATE_TEMPLATE];

/// A template that the caller gives. Nothing of it is looked at twice.
///
/// CKR_ARGUMENTS_BAD for null with a count and for absurd counts, CKR_ATTRIBUTE_VALUE_INVALID for a value that cannot be read.
#[inline(never)]
pub(super) fn read(attributes: In<CK_ATTRIBUTE>, count: CK_ULONG) -> Result<Template> {
    let mut left = Left { attributes: MAX_ATTRIBUTES, bytes: MAX_BYTES };
    left.level(attributes, count, 0)
}

/// What one template may still use, so that a few bytes that point at each other cannot ask for all memory.
struct Left {
    attributes: usize,
    bytes: usize,
}

impl Left {
    fn level(&mut self, attributes: In<CK_ATTRIBUTE>, count: CK_ULONG, depth: usize) -> Result<Template> {
        let list = attributes.each(count)?;
        self.attributes = self.attributes.checked_sub(list.len()).ok_or_else(|| ck(CKR_ARGUMENTS_BAD))?;
        let mut entries = Vec::with_capacity(list.len());
        for attribute in list {
            entries.push(Entry { kind: attribute.type_, value: self.value(attribute, depth)? });
        }
        Ok(Template(entries))
    }

    fn value(&mut self, attribute: CK_ATTRIBUTE, depth: usize) -> Result<EntryValue> {
        let CK_ATTRIBUTE { type_, pValue, ulValueLen } = attribute;
        let invalid = || ck(CKR_ATTRIBUTE_VALUE_INVALID);
        let len = usize::try_from(ulValueLen).map_err(|_| invalid())?;
        self.bytes = self.bytes.checked_sub(len).ok_or_else(invalid)?;
        if pValue.is_null() && len != 0 {
            return Err(invalid());
        }
        if !NESTED.contains(&type_) {
            let value = inside::<u8>(pValue);
            return Ok(EntryValue::Bytes(Bytes::new(value.bytes(ulValueLen).map_err(|_| invalid())?.to_vec())));
        }
        if depth == MAX_DEPTH || len % size_of::<CK_ATTRIBUTE>() != 0 {
            return Err(invalid());
        }
        let count = (len / size_of::<CK_ATTRIBUTE>()) as CK_ULONG;
        self.level(inside(pValue), count, depth + 1).map(EntryValue::Nested).map_err(|_| invalid())
    }
}

/// What an attribute of the caller's points to.
fn inside<T>(value: *mut c_void) -> In<T> {
    // SAFETY: the pointer stands in a CK_ATTRIBUTE of the caller's, who vouches for it as for the attribute.
    unsafe { In::from_c(value.cast()) }
}

/// What C_GetAttributeValue asks for: types, lengths and places.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    place: Out<CK_ATTRIBUTE>,
    count: CK_ULONG,
}

impl Asked {
    /// CKR_ARGUMENTS_BAD for null with a count and for absurd counts.
    pub(super) fn read(place: Out<CK_ATTRIBUTE>, count: CK_ULONG) -> Result<Self> {
        if place.input().each(count)?.len() > MAX_ATTRIBUTES {
            return Err(ck(CKR_ARGUMENTS_BAD));
        }
        Ok(Self { place, count })
    }

    /// The types alone.
    pub(super) fn kinds(&self) -> Result<Vec<CK_ATTRIBUTE_TYPE>> {
        Ok(self.place.input().each(self.count)?.map(|asked| asked.type_).collect())
    }

    /// Answers every attribute, also when one of them makes the call an error (PKCS#11 3.2 §5.7.5). Each is read once, and
    /// some of those that follow with it: what is written for one does not change what was asked of its neighbours.
    pub(super) fn answer<'a>(self, mut value: impl FnMut(CK_ATTRIBUTE_TYPE) -> Value<'a>) -> Result<()> {
        let mut verdict = Verdict::Given;
        let mut list = self.place.input().each(self.count)?;
        let mut some = [CK_ATTRIBUTE { type_: 0, pValue: std::ptr::null_mut(), ulValueLen: 0 }; 8];
        let mut at = self.place.pointer();
        loop {
            let read = some.iter_mut().zip(list.by_ref()).map(|(to, asked)| *to = asked).count();
            if read == 0 {
                return verdict.result();
            }
            for asked in &some[..read] {
                verdict = verdict.max(give(at, asked, &value(asked.type_)));
                at = at.wrapping_add(1);
            }
        }
    }
}

/// What became of an attribute. Of several the greatest is the answer of the call: a missing value can be had with more
/// room, but not one that is not there or not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Given,
    TooSmall,
    Unknown,
    Sensitive,
}

impl Verdict {
    fn result(self) -> Result<()> {
        match self {
            Self::Given => Ok(()),
            Self::TooSmall => Err(ck(CKR_BUFFER_TOO_SMALL)),
            Self::Unknown => Err(ck(CKR_ATTRIBUTE_TYPE_INVALID)),
            Self::Sensitive => Err(ck(CKR_ATTRIBUTE_SENSITIVE)),
        }
    }
}

/// Writes one value and its length. `at` lies in the caller's memory, `asked` is what stood there.
fn give(at: *mut CK_ATTRIBUTE, asked: &CK_ATTRIBUTE, value: &Value<'_>) -> Verdict {
    let (len, verdict) = match value {
        Value::Sensitive => (None, Verdict::Sensitive),
        Value::Unknown => (None, Verdict::Unknown),
        Value::Bytes(bytes) => place(asked, bytes.len(), |to| {
            // SAFETY: `place` found a pointer that is not null with room for so many bytes, by the caller's word.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to.cast::<u8>(), bytes.len()) };
            Verdict::Given
        }),
        Value::Nested(list) => place(asked, list.len() * size_of::<CK_ATTRIBUTE>(), |to| give_nested(to.cast(), list)),
    };
    // SAFETY: `at` is one of the elements that `Asked::read` or `give_nested` read from, perhaps not aligned.
    unsafe { (&raw mut (*at).ulValueLen).write_unaligned(len.unwrap_or(CK_UNAVAILABLE_INFORMATION)) };
    verdict
}

/// The length to report, after writing with `write` where the caller gave a place that is large enough.
fn place(asked: &CK_ATTRIBUTE, size: usize, write: impl FnOnce(*mut c_void) -> Verdict) -> (Option<CK_ULONG>, Verdict) {
    // CK_UNAVAILABLE_INFORMATION and the like are no lengths: what an earlier call left there is not room.
    let room = isize::try_from(asked.ulValueLen).unwrap_or(0).unsigned_abs();
    if asked.pValue.is_null() {
        (Some(size as CK_ULONG), Verdict::Given)
    } else if room < size {
        (None, Verdict::TooSmall)
    } else {
        (Some(size as CK_ULONG), write(asked.pValue))
    }
}

/// The attributes of a nested template: the caller's array says where each value goes; its types are set, not read.
fn give_nested(list: *mut CK_ATTRIBUTE, values: &[(u64, Value<'_>)]) -> Verdict {
    let mut verdict = Verdict::Given;
    for (i, (kind, value)) in values.iter().enumerate() {
        let at = list.wrapping_add(i);
        // SAFETY: `place` found room for `values.len()` attributes at `list`, by the caller's word; perhaps not aligned.
        let asked = unsafe {
            (&raw mut (*at).type_).write_unaligned(*kind);
            at.read_unaligned()
        };
        verdict = verdict.max(give(at, &asked, value));
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute<T>(type_: CK_ATTRIBUTE_TYPE, values: &[T], len: CK_ULONG) -> CK_ATTRIBUTE {
        CK_ATTRIBUTE { type_, pValue: values.as_ptr().cast_mut().cast(), ulValueLen: len }
    }

    fn read_all(list: &[CK_ATTRIBUTE]) -> Result<Template> {
        read(inside(list.as_ptr().cast_mut().cast()), list.len() as CK_ULONG)
    }

    #[test]
    fn values_that_cannot_be_read() {
        let null = CK_ATTRIBUTE { type_: CKA_ID, pValue: std::ptr::null_mut(), ulValueLen: 0 };
        assert_eq!(read_all(&[null]).unwrap().0.len(), 1);
        assert_eq!(read(inside(std::ptr::null_mut()), 1).unwrap_err(), ck(CKR_ARGUMENTS_BAD));
        let bad = [
            CK_ATTRIBUTE { ulValueLen: 1, ..null },
            attribute(CKA_ID, b"x", CK_UNAVAILABLE_INFORMATION),
            attribute(CKA_ID, b"x", MAX_BYTES as CK_ULONG + 1),
            attribute(CKA_WRAP_TEMPLATE, &[null], 23),
        ];
        for attribute in bad {
            assert_eq!(read_all(&[attribute]).unwrap_err(), ck(CKR_ATTRIBUTE_VALUE_INVALID));
        }
        assert_eq!(read_all(&[null; MAX_ATTRIBUTES + 1]).unwrap_err(), ck(CKR_ARGUMENTS_BAD));
    }

    #[test]
    fn templates_within_templates() {
        let mut levels = vec![vec![attribute(CKA_LABEL, b"x", 1)]];
        for depth in 1..=MAX_DEPTH + 1 {
            let inner = attribute(CKA_UNWRAP_TEMPLATE, levels.last().unwrap(), 24);
            levels.push(vec![inner]);
            assert_eq!(read_all(levels.last().unwrap()).is_ok(), depth <= MAX_DEPTH, "depth {depth}");
        }
        let numbers: [CK_ULONG; 2] = [1, 2];
        let read = read_all(&[attribute(CKA_ALLOWED_MECHANISMS, &numbers, 16)]).unwrap();
        assert!(matches!(&read.0[0].value, EntryValue::Bytes(bytes) if bytes.len() == 16));
    }

    #[test]
    fn answers() {
        let (mut short, mut inner_value) = ([0u8; 2], [0u8; 8]);
        let mut inner = [attribute(0, &[0u8; 0], 8)];
        inner[0].pValue = inner_value.as_mut_ptr().cast();
        let mut list = [
            CK_ATTRIBUTE { type_: CKA_LABEL, pValue: std::ptr::null_mut(), ulValueLen: 99 },
            CK_ATTRIBUTE { type_: CKA_ID, pValue: short.as_mut_ptr().cast(), ulValueLen: 2 },
            CK_ATTRIBUTE { type_: CKA_VALUE, pValue: short.as_mut_ptr().cast(), ulValueLen: 2 },
            CK_ATTRIBUTE { type_: CKA_WRAP_TEMPLATE, pValue: inner.as_mut_ptr().cast(), ulValueLen: 24 },
        ];
        let bytes = |n: usize| Value::Bytes(&[7; 8][..n]);
        // SAFETY: `list` outlives the calls.
        let place: Out<CK_ATTRIBUTE> = unsafe { Out::from_c(list.as_mut_ptr()) };
        let nested = Value::Nested(vec![(CKA_CLASS, bytes(8))]);
        let value = |kind| match kind {
            CKA_LABEL => bytes(5),
            CKA_ID => bytes(3),
            CKA_VALUE => Value::Sensitive,
            _ => nested.clone(),
        };
        let rv = Asked::read(place, 4).unwrap().answer(value).unwrap_err();
        assert_eq!(rv, ck(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(list.map(|a| a.ulValueLen), [5, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, 24]);
        assert_eq!((inner[0].type_, inner[0].ulValueLen, inner_value, short), (CKA_CLASS, 8, [7; 8], [0; 2]));
        // What is left of the first call is not room.
        // SAFETY: `list` outlives the calls.
        let place: Out<CK_ATTRIBUTE> = unsafe { Out::from_c(&raw mut list[1]) };
        assert_eq!(Asked::read(place, 1).unwrap().answer(|_| bytes(3)), Err(ck(CKR_BUFFER_TOO_SMALL)));
    }
}
