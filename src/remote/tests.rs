//! The messages between a client and its host: what comes back is what was sent, and nonsense is none.

use std::borrow::Cow;

use cryptoki_sys::*;
use serde_bytes::Bytes as Raw;

use super::calls::Ask;
use super::host::{Question, reply};
use super::hosted::{Broken, answer, question};
use super::info::{SlotInfo, TokenInfo};
use crate::error::Error;
use crate::link::{HEAD, decode};
use crate::model::Bytes;
use crate::token::slot::padded;
use crate::token::template::{Entry, EntryValue};
use crate::token::{Answer, Mechanism, Parameter, Room, Template, ck};

fn entry(kind: u64, value: &[u8]) -> Entry {
    Entry { kind, value: EntryValue::Bytes(Bytes::new(value.to_vec())) }
}

fn template() -> Template {
    let innermost = Template(vec![entry(CKA_ID, &[1; 20]), entry(CKA_LABEL, b"in")]);
    let inner = Template(vec![
        entry(CKA_TOKEN, &[1]),
        Entry { kind: CKA_WRAP_TEMPLATE, value: EntryValue::Nested(innermost) },
        entry(CKA_SIGN, &[0]),
    ]);
    Template(vec![
        entry(CKA_LABEL, b""),
        Entry { kind: CKA_UNWRAP_TEMPLATE, value: EntryValue::Nested(inner) },
        Entry { kind: CKA_DERIVE_TEMPLATE, value: EntryValue::Nested(Template::default()) },
        entry(CKA_PRIVATE, &[1]),
    ])
}

fn mechanism() -> Mechanism {
    let oaep = Parameter::Oaep { hash: 1, mgf: 2, source: 3, label: vec![4; 5] };
    Mechanism { kind: CKM_RSA_AES_KEY_WRAP, parameter: Parameter::RsaAes { bits: 256, oaep: Box::new(oaep) } }
}

#[test]
fn messages_come_back_as_they_were_and_nothing_else_does() {
    let (mechanism, template) = (mechanism(), template());
    let ask = Ask::UnwrapKey {
        mechanism: Cow::Borrowed(&mechanism),
        unwrapping: 1 << 62,
        wrapped: Raw::new(&[9; 300]),
        template: Cow::Borrowed(&template),
        aad: Some(Raw::new(b"aad")),
    };
    let sent = question(77, &ask).unwrap();
    let body = &sent[HEAD..];
    let (session, Ask::UnwrapKey { mechanism: kind, unwrapping, wrapped, template: read, aad }) =
        decode::<Question<'_>>(body).unwrap()
    else {
        panic!()
    };
    assert_eq!(
        (session, unwrapping, &wrapped[..], &aad.unwrap()[..]),
        (77u64.to_le_bytes(), 1 << 62, &[9; 300][..], &b"aad"[..])
    );
    assert_eq!((format!("{kind:?}"), format!("{read:?}")), (format!("{mechanism:?}"), format!("{template:?}")));
    for end in 0..body.len() {
        assert!(decode::<Question<'_>>(&body[..end]).is_none());
    }
    assert!(decode::<Question<'_>>(&[body, &[0]].concat()).is_none());
    // Whatever a bit turns it into: a question or none, and never a panic.
    for bit in 0..body.len() * 8 {
        let mut wrong = body.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        let _ = decode::<Question<'_>>(&wrong);
    }
}

/// A message of a few bytes for each level must not ask for more stack than there is.
#[test]
fn templates_are_no_deeper_than_they_may_be() {
    let mut deep = Template::default();
    for _ in 0..200 {
        deep = Template(vec![Entry { kind: CKA_WRAP_TEMPLATE, value: EntryValue::Nested(deep) }]);
    }
    let ask = Ask::CreateObject { template: Cow::Borrowed(&deep) };
    let sent = question(1, &ask).unwrap();
    assert!(decode::<Question<'_>>(&sent[HEAD..]).is_none());
}

#[test]
fn answers_come_back_as_they_were() {
    let there = |outcome| reply::<Answer>(outcome).map(|sent| answer::<Answer>(&sent[HEAD..])).unwrap();
    for given in [Answer::Bytes(Bytes::new(vec![7; 70])), Answer::Size(3), Answer::TooSmall(1 << 40)] {
        assert!(matches!(there(Ok(given.clone())), Ok(back) if back == given));
    }
    let refused = |error| matches!(there(Err(error)), Err(Broken::Failed(Error::Cryptoki(CKR_PIN_LOCKED))));
    assert!(refused(ck(CKR_PIN_LOCKED)) && refused(Error::PinLocked));
    assert!(matches!(answer::<Answer>(b"\x05"), Err(Broken::Failed(Error::Internal(_)))));
    let room = |room: Room| matches!(postcard::to_slice(&room, &mut [0; 16]).map(|sent| postcard::from_bytes(sent)), Ok(Ok(back)) if room == back);
    assert!(room(Room::Ask) && room(Room::Bytes(usize::MAX)));
}

#[test]
fn structures_come_back_as_they_were() {
    let version = |major| CK_VERSION { major, minor: 9 };
    let slot = CK_SLOT_INFO {
        slotDescription: std::array::from_fn(|at| at as u8),
        manufacturerID: padded("maker"),
        flags: 5,
        hardwareVersion: version(1),
        firmwareVersion: version(2),
    };
    let back = CK_SLOT_INFO::from(SlotInfo::from(slot));
    assert_eq!(format!("{back:?}"), format!("{slot:?}"));
    let token = CK_TOKEN_INFO {
        label: padded("label"),
        manufacturerID: padded("maker"),
        model: padded("model"),
        serialNumber: padded("serial"),
        flags: 1,
        ulMaxSessionCount: 2,
        ulSessionCount: 3,
        ulMaxRwSessionCount: 4,
        ulRwSessionCount: 5,
        ulMaxPinLen: 6,
        ulMinPinLen: 7,
        ulTotalPublicMemory: 8,
        ulFreePublicMemory: 9,
        ulTotalPrivateMemory: 10,
        ulFreePrivateMemory: 11,
        hardwareVersion: version(12),
        firmwareVersion: version(13),
        utcTime: *b"1234567890123456",
    };
    let back = CK_TOKEN_INFO::from(TokenInfo::from(token));
    assert_eq!(format!("{back:?}"), format!("{token:?}"));
}
