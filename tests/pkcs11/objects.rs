//! Searching and reading objects; the exact attributes of each kind.

use std::collections::BTreeMap;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Attr, Client, Installation, P256, b, number, raw, s, u, v};

#[test]
fn empty_tokens() {
    let installation = Installation::software();
    let c = installation.client();
    assert_eq!(c.find(&[]).len(), 0);
    for class in [CKO_DOMAIN_PARAMETERS, CKO_MECHANISM, CKO_VENDOR_DEFINED, 0xce53_4351, 10, CK_ULONG::MAX] {
        assert_eq!(c.find(&[u(CKA_CLASS, class)]).len(), 0, "NSS asks for its own classes");
    }
}

#[test]
fn searches() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web"), v(CKA_ID, [1, 2, 3])]).unwrap();
    let session = c.secret(CKK_AES, &[1; 16]);
    let mut all = c.find(&[]);
    all.sort_unstable();
    let mut expected = [public, private, session];
    expected.sort_unstable();
    assert_eq!(all, expected);
    let found = |template: &[Attr]| c.find(template);
    assert_eq!(found(&[b(CKA_TOKEN, false)]), [session]);
    assert_eq!(found(&[b(CKA_TOKEN, true)]).len(), 2);
    assert_eq!(found(&[v(CKA_ID, [1, 2, 3])]).len(), 2);
    assert_eq!(found(&[v(CKA_ID, [1, 2, 3]), u(CKA_CLASS, CKO_PRIVATE_KEY)]), [private]);
    assert_eq!(found(&[v(CKA_ID, [1, 2])]).len(), 0);
    assert_eq!(found(&[s(CKA_LABEL, "web"), u(CKA_CLASS, CKO_PUBLIC_KEY)]), [public]);
    assert_eq!(found(&[b(CKA_SIGN, true), u(CKA_KEY_TYPE, CKK_EC)]), [private]);
    assert_eq!(found(&[b(CKA_SIGN, true), u(CKA_KEY_TYPE, CKK_RSA)]).len(), 0);
    assert_eq!(
        found(&[Attr(CKA_EC_POINT, c.get(public, CKA_EC_POINT).unwrap()), u(CKA_CLASS, CKO_PUBLIC_KEY)]),
        [public]
    );
    assert_eq!(found(&[Attr(CKA_UNIQUE_ID, c.get(private, CKA_UNIQUE_ID).unwrap())]), [private]);
    assert_eq!(found(&[s(CKA_UNIQUE_ID, "no GUID")]).len(), 0);
    // Unknown attributes, absurd lengths and contradictions find nothing and are no errors.
    assert_eq!(found(&[u(0x8765_4321, 1)]).len(), 0);
    assert_eq!(found(&[v(CKA_CLASS, [1])]).len(), 0);
    assert_eq!(found(&[u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_CLASS, CKO_PRIVATE_KEY)]).len(), 0);
    assert_eq!(found(&[s(CKA_LABEL, "web"), s(CKA_LABEL, "other")]).len(), 0);
    // A secret's value is no search criterion for a key that hides it.
    let hidden = c
        .create(&[
            u(CKA_CLASS, CKO_SECRET_KEY),
            u(CKA_KEY_TYPE, CKK_AES),
            v(CKA_VALUE, [9; 16]),
            b(CKA_SENSITIVE, true),
        ])
        .unwrap();
    assert_eq!(found(&[v(CKA_VALUE, [9; 16])]).len(), 0);
    assert_eq!(found(&[v(CKA_VALUE, [1; 16])]), [session]);
    c.destroy(hidden).unwrap();
}

/// More objects than a page of the store, fetched in portions of any size; each exactly once.
#[test]
fn pages() {
    let installation = Installation::software();
    let c = installation.client();
    let template = |i: usize| [u(CKA_CLASS, CKO_DATA), b(CKA_TOKEN, true), s(CKA_LABEL, &format!("object {i}"))];
    let mut made: Vec<_> = (0..530).map(|i| c.create(&template(i)).unwrap()).collect();
    made.sort_unstable();
    for portion in [1, 255, 256, 257, 1000] {
        assert_eq!(call!(c.m, C_FindObjectsInit(c.h, std::ptr::null_mut(), 0)), CKR_OK);
        let (mut found, mut room, mut count) = (Vec::new(), vec![0; portion], 0);
        loop {
            assert_eq!(call!(c.m, C_FindObjects(c.h, room.as_mut_ptr(), portion as CK_ULONG, &raw mut count)), CKR_OK);
            if count == 0 {
                break;
            }
            found.extend_from_slice(&room[..count as usize]);
        }
        assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);
        found.sort_unstable();
        assert_eq!(found, made, "portions of {portion}");
    }
}

#[test]
fn the_state_of_a_search() {
    let installation = Installation::software();
    let c = installation.client();
    let mut count = 0;
    let null = std::ptr::null_mut();
    assert_eq!(call!(c.m, C_FindObjects(c.h, [0; 4].as_mut_ptr(), 4, &raw mut count)), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
    assert_eq!(call!(c.m, C_FindObjectsInit(c.h, null, 1)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(c.m, C_FindObjectsInit(c.h, null, 0)), CKR_OK);
    assert_eq!(call!(c.m, C_FindObjectsInit(c.h, null, 0)), CKR_OPERATION_ACTIVE);
    assert_eq!(call!(c.m, C_FindObjects(c.h, std::ptr::null_mut(), 4, &raw mut count)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(c.m, C_FindObjects(c.h, std::ptr::null_mut(), 0, &raw mut count)), CKR_OK);
    assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);
    // An object that appears or goes while a search is on does not harm it.
    let keys: Vec<_> = (0..5).map(|i| c.secret(CKK_AES, &[i; 16])).collect();
    assert_eq!(call!(c.m, C_FindObjectsInit(c.h, null, 0)), CKR_OK);
    c.destroy(keys[4]).unwrap();
    let mut found = [0; 8];
    assert_eq!(call!(c.m, C_FindObjects(c.h, found.as_mut_ptr(), 8, &raw mut count)), CKR_OK);
    assert!(count >= 4);
    assert_eq!(call!(c.m, C_FindObjectsFinal(c.h)), CKR_OK);
    assert_eq!(call!(c.m, C_SessionCancel(c.h, CKF_FIND_OBJECTS)), CKR_OK);
}

/// Cosmian's module overran buffers here: every length from none to one too many, with guard bytes, in mixed templates.
#[test]
fn reading_attributes() {
    let installation = Installation::software();
    let c = installation.client();
    let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "a label"), v(CKA_ID, [1, 2, 3])]).unwrap();
    for room in 0..=9usize {
        let (mut label, mut id, mut value) = ([0xa5u8; 16], [0xa5u8; 16], [0xa5u8; 32]);
        let (mut odd, mut class) = ([0xa5u8; 8], [0xa5u8; 16]);
        let one = |kind, place: *mut u8, len: usize| CK_ATTRIBUTE {
            type_: kind,
            pValue: place.cast(),
            ulValueLen: len as CK_ULONG,
        };
        let mut list = [
            one(CKA_LABEL, label.as_mut_ptr(), room),
            one(CKA_VALUE, value.as_mut_ptr(), 32),
            one(CKA_ID, id.as_mut_ptr(), 3),
            one(0x8765_4321, odd.as_mut_ptr(), 8),
            one(CKA_CLASS, class.as_mut_ptr(), 8),
            one(CKA_EC_POINT, std::ptr::null_mut(), 0),
        ];
        let rv = |list: &mut [CK_ATTRIBUTE]| {
            call!(c.m, C_GetAttributeValue(c.h, key, list.as_mut_ptr(), list.len() as CK_ULONG))
        };
        assert_eq!(rv(&mut list), CKR_ATTRIBUTE_SENSITIVE);
        let lengths = list.map(|attribute| attribute.ulValueLen);
        let none = CK_UNAVAILABLE_INFORMATION;
        assert_eq!(lengths, [if room < 7 { none } else { 7 }, none, 3, none, 8, 67], "room {room}");
        assert_eq!(&label[..7], if room < 7 { &[0xa5; 7][..] } else { b"a label" });
        assert!(
            label[7..].iter().chain(&id[3..]).chain(&value).chain(&odd).chain(&class[8..]).all(|byte| *byte == 0xa5)
        );
        assert_eq!((&id[..3], number(&class[..8])), (&[1, 2, 3][..], CKO_PRIVATE_KEY));
        // One fault at a time.
        let mut list = [one(CKA_LABEL, label.as_mut_ptr(), room)];
        assert_eq!(rv(&mut list), if room < 7 { CKR_BUFFER_TOO_SMALL } else { CKR_OK });
        let mut list = [one(0x8765_4321, odd.as_mut_ptr(), 8), one(CKA_ID, id.as_mut_ptr(), 3)];
        assert_eq!(rv(&mut list), CKR_ATTRIBUTE_TYPE_INVALID);
        assert_eq!(list[1].ulValueLen, 3);
    }
    let mut list = raw(&[u(CKA_CLASS, 0)]);
    assert_eq!(call!(c.m, C_GetAttributeValue(c.h, 999, list.as_mut_ptr(), 1)), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(call!(c.m, C_GetAttributeValue(c.h, key, std::ptr::null_mut(), 1)), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(c.m, C_GetAttributeValue(c.h, key, std::ptr::null_mut(), 0)), CKR_OK);
    let mut size = 0;
    assert_eq!(call!(c.m, C_GetObjectSize(c.h, key, &raw mut size)), CKR_OK);
    assert!(size > 100);
    assert_eq!(call!(c.m, C_GetObjectSize(c.h, 999, &raw mut size)), CKR_OBJECT_HANDLE_INVALID);
    assert_eq!(call!(c.m, C_GetObjectSize(c.h, key, std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

#[test]
fn changing_attributes() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let (public, key) = c.ec_pair(P256, &[b(CKA_TOKEN, token)]).unwrap();
        c.set(key, &[s(CKA_LABEL, "new"), v(CKA_ID, [7, 7]), v(CKA_SUBJECT, [0x30, 0])]).unwrap();
        assert_eq!((c.get(key, CKA_LABEL).unwrap(), c.get(key, CKA_ID).unwrap()), (b"new".to_vec(), vec![7, 7]));
        assert_eq!(c.get(key, CKA_SUBJECT).unwrap(), [0x30, 0]);
        assert_eq!(c.find(&[s(CKA_LABEL, "new"), u(CKA_CLASS, CKO_PRIVATE_KEY)]), [key]);
        assert_eq!(c.find(&[v(CKA_ID, [7, 7])]), [key]);
        c.set(key, &[s(CKA_LABEL, ""), v(CKA_ID, [])]).unwrap();
        assert_eq!((c.get(key, CKA_LABEL).unwrap(), c.get(key, CKA_ID).unwrap()), (vec![], vec![]));
        for (attr, code) in [
            (u(CKA_CLASS, CKO_PUBLIC_KEY), CKR_ATTRIBUTE_READ_ONLY),
            (u(CKA_KEY_TYPE, CKK_RSA), CKR_ATTRIBUTE_READ_ONLY),
            (b(CKA_TOKEN, !token), CKR_ATTRIBUTE_READ_ONLY),
            (b(CKA_LOCAL, false), CKR_ATTRIBUTE_READ_ONLY),
            (b(CKA_SENSITIVE, false), CKR_ATTRIBUTE_READ_ONLY),
            (b(CKA_EXTRACTABLE, true), CKR_ATTRIBUTE_READ_ONLY),
            (v(CKA_EC_POINT, [4, 1, 4]), CKR_ATTRIBUTE_READ_ONLY),
            (s(CKA_UNIQUE_ID, "x"), CKR_ATTRIBUTE_READ_ONLY),
            (s(crate::support::LEVEL, "HSM"), CKR_ATTRIBUTE_READ_ONLY),
            (u(CKA_MODULUS_BITS, 1), CKR_ATTRIBUTE_TYPE_INVALID),
            (u(0x8765_4321, 1), CKR_ATTRIBUTE_TYPE_INVALID),
            (v(CKA_SIGN, [1, 1]), CKR_ATTRIBUTE_VALUE_INVALID),
        ] {
            assert_eq!(c.set(key, &[s(CKA_LABEL, "half"), attr.clone()]), Err(code), "{attr:?}");
            assert_eq!(c.get(key, CKA_LABEL).unwrap(), b"", "all or nothing");
        }
        c.set(public, &[b(CKA_TRUSTED, false)]).unwrap();
        assert_eq!(c.set(public, &[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
        let ro = Client::open_read_only(c.m);
        let allowed = if token { Err(CKR_SESSION_READ_ONLY) } else { Ok(()) };
        assert_eq!(ro.set(key, &[s(CKA_LABEL, "ro")]), allowed);
        ro.close();
    }
    assert_eq!(c.set(999, &[s(CKA_LABEL, "x")]), Err(CKR_OBJECT_HANDLE_INVALID));
    // CKA_ALLOWED_MECHANISMS holds.
    let only = v(CKA_ALLOWED_MECHANISMS, CKM_AES_ECB.to_ne_bytes());
    let key = c.aes(16, &[only]);
    c.encrypt(CKM_AES_ECB, key, &[0; 16]).unwrap();
    assert_eq!(c.sign_init(CKM_AES_CMAC, key), Err(CKR_MECHANISM_INVALID));
}

/// Every attribute of a type that an object answers.
fn attributes(c: &Client, object: CK_OBJECT_HANDLE) -> BTreeMap<CK_ATTRIBUTE_TYPE, Result<Vec<u8>, CK_RV>> {
    let standard = 0..0x700;
    let arrays = [CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE, CKA_DERIVE_TEMPLATE, CKA_ALLOWED_MECHANISMS];
    let ours = 0xC14C_4900..0xC14C_4910;
    standard
        .chain(arrays)
        .chain(ours)
        .map(|kind| (kind, c.get(object, kind)))
        .filter(|(_, value)| *value != Err(CKR_ATTRIBUTE_TYPE_INVALID))
        .collect()
}

const KEY: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_CLASS,
    CKA_TOKEN,
    CKA_PRIVATE,
    CKA_LABEL,
    CKA_UNIQUE_ID,
    CKA_KEY_TYPE,
    CKA_ID,
    CKA_DERIVE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_LOCAL,
    CKA_KEY_GEN_MECHANISM,
    CKA_MODIFIABLE,
    CKA_COPYABLE,
    CKA_DESTROYABLE,
    CKA_ALLOWED_MECHANISMS,
];
const HELD: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_SENSITIVE,
    CKA_EXTRACTABLE,
    CKA_ALWAYS_SENSITIVE,
    CKA_NEVER_EXTRACTABLE,
    CKA_WRAP_WITH_TRUSTED,
    CKA_DECRYPT,
    CKA_SIGN,
    CKA_UNWRAP,
];
const PRIVATE: &[CK_ATTRIBUTE_TYPE] = &[CKA_SIGN_RECOVER, CKA_ALWAYS_AUTHENTICATE, CKA_SUBJECT, CKA_PUBLIC_KEY_INFO];
const PUBLIC: &[CK_ATTRIBUTE_TYPE] =
    &[CKA_ENCRYPT, CKA_VERIFY, CKA_VERIFY_RECOVER, CKA_WRAP, CKA_TRUSTED, CKA_SUBJECT, CKA_PUBLIC_KEY_INFO];
const SECRET: &[CK_ATTRIBUTE_TYPE] = &[CKA_ENCRYPT, CKA_VERIFY, CKA_WRAP, CKA_TRUSTED, CKA_VALUE_LEN];
const EC: &[CK_ATTRIBUTE_TYPE] = &[CKA_EC_PARAMS, CKA_EC_POINT];
const RSA: &[CK_ATTRIBUTE_TYPE] = &[CKA_MODULUS, CKA_PUBLIC_EXPONENT];
const NUMBERS: &[CK_ATTRIBUTE_TYPE] =
    &[CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT];
const OURS: &[CK_ATTRIBUTE_TYPE] = &[
    crate::support::ARN,
    crate::support::KEY_ID,
    crate::support::KEY_VERSION_ID,
    crate::support::KEY_STATE,
    crate::support::LEVEL,
    crate::support::ALIASES,
    crate::support::CREATION_DATE,
];

/// Which attributes each kind of object has: a change detector on purpose.
#[test]
fn golden_attributes() {
    let installation = Installation::software();
    let c = installation.client();
    let check = |what: &str, object, lists: &[&[CK_ATTRIBUTE_TYPE]], hidden: &[CK_ATTRIBUTE_TYPE]| {
        let found = attributes(&c, object);
        let mut expected: Vec<_> = lists.concat().into_iter().chain(hidden.iter().copied()).collect();
        expected.sort_unstable();
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), expected, "{what}");
        for (kind, value) in found {
            assert_eq!(value.is_err(), hidden.contains(&kind), "{what}: {kind:#x}");
        }
    };
    for token in [true, false] {
        let place = [b(CKA_TOKEN, token)];
        let ours: &[_] = if token { OURS } else { &[] };
        let (public, private) = c.ec_pair(P256, &place).unwrap();
        check("EC public", public, &[KEY, PUBLIC, EC, ours], &[]);
        check("EC private", private, &[KEY, HELD, PRIVATE, EC, ours], &[CKA_VALUE]);
        let (public, private) = c.rsa_pair(2048, &place, &place).unwrap();
        check("RSA public", public, &[KEY, PUBLIC, RSA, &[CKA_MODULUS_BITS], ours], &[]);
        check("RSA private", private, &[KEY, HELD, PRIVATE, RSA, ours], NUMBERS);
        check("AES", c.aes(32, &place), &[KEY, HELD, SECRET, ours], &[CKA_VALUE]);
        let data = c.create(&[u(CKA_CLASS, CKO_DATA), place[0].clone()]).unwrap();
        let storage = [CKA_CLASS, CKA_TOKEN, CKA_PRIVATE, CKA_LABEL, CKA_UNIQUE_ID, CKA_MODIFIABLE, CKA_COPYABLE];
        check("data", data, &[&storage, &[CKA_DESTROYABLE, CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE]], &[]);
    }
}
