//! Making objects: templates, defaults, what is refused; imports; copies.

use cryptoki_sys::*;

use crate::support::{Client, Installation, LEVEL, P256, b, number, s, u, unhex, v};

fn flags(c: &Client, key: CK_OBJECT_HANDLE, kinds: &[CK_ATTRIBUTE_TYPE]) -> Vec<bool> {
    kinds.iter().map(|kind| c.is(key, *kind)).collect()
}

#[test]
fn defaults_of_generated_keys() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let place = [b(CKA_TOKEN, token)];
        let (public, private) = c.ec_pair(P256, &place).unwrap();
        assert_eq!(flags(&c, private, &[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE]), [true, false, false, false]);
        assert_eq!(flags(&c, public, &[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP]), [true, false, false]);
        let secrecy = [CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL];
        assert_eq!(flags(&c, private, &secrecy), [true, false, true, true, true], "token {token}");
        assert_eq!(flags(&c, private, &[CKA_PRIVATE, CKA_TOKEN]), [true, token]);
        assert_eq!(flags(&c, public, &[CKA_PRIVATE, CKA_TOKEN, CKA_LOCAL]), [false, token, true]);
        for key in [public, private] {
            assert_eq!(number(&c.get(key, CKA_KEY_GEN_MECHANISM).unwrap()), CKM_EC_KEY_PAIR_GEN);
            assert_eq!(number(&c.get(key, CKA_KEY_TYPE).unwrap()), CKK_EC);
            assert_eq!(c.get(key, CKA_EC_PARAMS).unwrap(), P256);
        }
        let key = c.generate(CKM_AES_KEY_GEN, &[u(CKA_VALUE_LEN, 32), place[0].clone()]).unwrap();
        assert_eq!(flags(&c, key, &[CKA_EXTRACTABLE, CKA_NEVER_EXTRACTABLE, CKA_LOCAL]), [false, true, true]);
        assert_eq!(number(&c.get(key, CKA_KEY_GEN_MECHANISM).unwrap()), CKM_AES_KEY_GEN);
        assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE), "not extractable");
        if !token {
            assert_eq!(c.get(key, CKA_LABEL).unwrap(), b"");
            assert_eq!(c.get(key, CKA_ID).unwrap(), b"");
        }
    }
    // Exactly the flags of the template.
    let inner = [b(CKA_SIGN, true), b(CKA_DECRYPT, true), b(CKA_TOKEN, true)];
    let (public, private) = c.rsa_pair(2048, &[b(CKA_TOKEN, true)], &inner).unwrap();
    assert_eq!(flags(&c, private, &[CKA_SIGN, CKA_DECRYPT, CKA_UNWRAP]), [true, true, false]);
    assert_eq!(flags(&c, public, &[CKA_VERIFY, CKA_ENCRYPT, CKA_WRAP]), [true, true, false]);
    let (_, private) = c.rsa_pair(2048, &[b(CKA_TOKEN, true)], &[b(CKA_DECRYPT, true), b(CKA_TOKEN, true)]).unwrap();
    assert_eq!(flags(&c, private, &[CKA_SIGN, CKA_DECRYPT]), [false, true]);
}

#[test]
fn refused_templates() {
    let installation = Installation::software();
    let c = installation.client();
    let aes = |more: &[crate::support::Attr]| c.generate(CKM_AES_KEY_GEN, &[&[u(CKA_VALUE_LEN, 16)], more].concat());
    assert_eq!(c.generate(CKM_AES_KEY_GEN, &[]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(aes(&[u(CKA_CLASS, CKO_PUBLIC_KEY)]), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(aes(&[u(CKA_KEY_TYPE, CKK_DES3)]), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(aes(&[v(CKA_VALUE, [1; 16])]), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(aes(&[b(CKA_LOCAL, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(aes(&[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(aes(&[u(CKA_UNIQUE_ID, 1)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(aes(&[u(CKA_MODULUS_BITS, 1)]), Err(CKR_ATTRIBUTE_TYPE_INVALID));
    assert_eq!(aes(&[u(0x8765_4321, 1)]), Err(CKR_ATTRIBUTE_TYPE_INVALID));
    for value in [&[][..], &[2], &[1, 0], &[1, 0, 0, 0]] {
        assert_eq!(aes(&[v(CKA_ENCRYPT, value)]), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{value:?}");
    }
    assert_eq!(aes(&[v(CKA_START_DATE, b"2026-1-1")]), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(c.generate(CKM_AES_KEY_GEN, &[v(CKA_VALUE_LEN, [16])]), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    aes(&[v(CKA_UNWRAP_TEMPLATE, [])]).unwrap();
    // Twice the same is fine, twice otherwise is not.
    aes(&[b(CKA_ENCRYPT, true), b(CKA_ENCRYPT, true)]).unwrap();
    assert_eq!(aes(&[b(CKA_ENCRYPT, true), b(CKA_ENCRYPT, false)]), Err(CKR_TEMPLATE_INCONSISTENT));
    // A key of the KMS never leaves it: who wants to wrap it later learns it now.
    assert_eq!(aes(&[b(CKA_TOKEN, true), b(CKA_EXTRACTABLE, true)]), Err(CKR_TEMPLATE_INCONSISTENT));

    assert_eq!(c.create(&[]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(c.create(&[u(CKA_CLASS, CKO_VENDOR_DEFINED)]), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(c.create(&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES)]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(c.create(&[u(CKA_CLASS, CKO_SECRET_KEY), v(CKA_VALUE, [1; 16])]), Err(CKR_TEMPLATE_INCOMPLETE));
    let short = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES), v(CKA_VALUE, [1; 15])];
    assert_eq!(c.create(&short), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[], &[]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(c.generate_pair(CKM_RSA_PKCS_KEY_PAIR_GEN, &[], &[]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert!(c.rsa_pair(2048, &[v(CKA_PUBLIC_EXPONENT, [2])], &[]).is_err());
}

/// libp11's four-byte exponent, and another prime one for session keys.
#[test]
fn public_exponents() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let (public, _) = c
            .rsa_pair(2048, &[v(CKA_PUBLIC_EXPONENT, [0, 1, 0, 1]), b(CKA_TOKEN, token)], &[b(CKA_TOKEN, token)])
            .unwrap();
        assert_eq!(c.get(public, CKA_PUBLIC_EXPONENT).unwrap(), [1, 0, 1]);
    }
    let (public, private) = c.rsa_pair(2048, &[v(CKA_PUBLIC_EXPONENT, [3])], &[]).unwrap();
    for key in [public, private] {
        assert_eq!(c.get(key, CKA_PUBLIC_EXPONENT).unwrap(), [3]);
    }
}

/// CKA_ALIKMS_PROTECTION_LEVEL chooses the level; the token's default is HSM here.
#[test]
fn the_level() {
    let installation = Installation::with_device();
    let c = installation.client();
    let token = b(CKA_TOKEN, true);
    for (named, expected) in [(None, "HSM"), (Some("SOFTWARE"), "SOFTWARE"), (Some("HSM"), "HSM")] {
        let more: Vec<_> = named.map(|level| s(LEVEL, level)).into_iter().chain([token.clone()]).collect();
        let (public, private) = c.ec_pair(P256, &more).unwrap();
        for key in [public, private] {
            assert_eq!(c.get(key, LEVEL).unwrap(), expected.as_bytes());
        }
        let key = c.aes(32, &more);
        assert_eq!(c.get(key, LEVEL).unwrap(), expected.as_bytes());
        assert!(c.find(&[s(LEVEL, expected), u(CKA_CLASS, CKO_SECRET_KEY)]).contains(&key));
    }
    assert_eq!(c.ec_pair(P256, &[token.clone(), s(LEVEL, "NONE")]).unwrap_err(), CKR_ATTRIBUTE_VALUE_INVALID);
    assert_eq!(c.ec_pair(P256, &[s(LEVEL, "HSM")]).unwrap_err(), CKR_TEMPLATE_INCONSISTENT, "a session key");
    let software = Installation::software();
    let c = software.client();
    assert_eq!(c.ec_pair(P256, &[token, s(LEVEL, "HSM")]).unwrap_err(), CKR_TEMPLATE_INCONSISTENT, "no device");
}

/// Generic tools import without naming uses: all are on; nothing is claimed about the key's past.
#[test]
fn imported_keys() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let secret = [
            u(CKA_CLASS, CKO_SECRET_KEY),
            u(CKA_KEY_TYPE, CKK_AES),
            v(CKA_VALUE, [5; 32]),
            b(CKA_TOKEN, token),
            s(CKA_LABEL, "imported"),
        ];
        let key = c.create(&secret).unwrap();
        assert_eq!(flags(&c, key, &[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY]), [true; 4]);
        assert_eq!(flags(&c, key, &[CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE]), [false; 3]);
        assert_eq!(number(&c.get(key, CKA_KEY_GEN_MECHANISM).unwrap()), CK_UNAVAILABLE_INFORMATION);
        assert_eq!(
            c.encrypt(CKM_AES_ECB, key, &[0; 16]),
            c.encrypt(CKM_AES_ECB, c.secret(CKK_AES, &[5; 32]), &[0; 16])
        );
        if token {
            assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        } else {
            assert_eq!(c.get(key, CKA_VALUE).unwrap(), [5; 32]);
        }
        // RFC 6979 §A.2.5.
        let scalar = unhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
        let private = [
            u(CKA_CLASS, CKO_PRIVATE_KEY),
            u(CKA_KEY_TYPE, CKK_EC),
            v(CKA_EC_PARAMS, P256),
            v(CKA_VALUE, &scalar),
            b(CKA_TOKEN, token),
        ];
        let key = c.create(&private).unwrap();
        assert!(c.is(key, CKA_SIGN) && !c.is(key, CKA_LOCAL));
        let signature = c.sign(CKM_ECDSA_SHA256, key, b"sample").unwrap();
        let point = c.get(key, CKA_EC_POINT).unwrap();
        assert_eq!(point[3..35], unhex("60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"));
        let public =
            [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, P256), v(CKA_EC_POINT, &point)];
        let public = c.create(&public).unwrap();
        c.verify(CKM_ECDSA_SHA256, public, b"sample", &signature).unwrap();
    }
    for scalar in [vec![0; 32], vec![0xff; 32], vec![1; 33], vec![]] {
        let wrong =
            [u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, P256), v(CKA_VALUE, &scalar)];
        assert_eq!(c.create(&wrong), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{} bytes", scalar.len());
    }
}

/// An RSA key goes out as numbers and comes in again: from a session that may read it to another key.
#[test]
fn rsa_numbers() {
    let installation = Installation::software();
    let c = installation.client();
    let open = [b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
    let (public, private) = c.rsa_pair(2048, &[], &open).unwrap();
    let numbers = [
        CKA_MODULUS,
        CKA_PUBLIC_EXPONENT,
        CKA_PRIVATE_EXPONENT,
        CKA_PRIME_1,
        CKA_PRIME_2,
        CKA_EXPONENT_1,
        CKA_EXPONENT_2,
        CKA_COEFFICIENT,
    ];
    let mut template = vec![u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_RSA)];
    template.extend(numbers.iter().map(|kind| v(*kind, c.get(private, *kind).unwrap())));
    let signature = c.sign(CKM_SHA256_RSA_PKCS, private, b"x").unwrap();
    for token in [false, true] {
        for count in [10, 5] {
            let key = c.create(&[&template[..count], &[b(CKA_TOKEN, token)]].concat()).unwrap();
            assert_eq!(c.sign(CKM_SHA256_RSA_PKCS, key, b"x").unwrap(), signature);
            assert_eq!(c.get(key, CKA_MODULUS), c.get(public, CKA_MODULUS));
        }
    }
    // Closed, the numbers are not shown; the public ones are.
    c.set(private, &[b(CKA_SENSITIVE, true)]).unwrap();
    for kind in &numbers[2..] {
        assert_eq!(c.get(private, *kind), Err(CKR_ATTRIBUTE_SENSITIVE));
    }
    c.get(private, CKA_MODULUS).unwrap();
    let mut wrong = template.clone();
    wrong[3].1 = vec![1, 0, 3];
    assert_eq!(c.create(&wrong), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    template.remove(2);
    assert_eq!(c.create(&template), Err(CKR_TEMPLATE_INCOMPLETE));
}

#[test]
fn copies() {
    let installation = Installation::software();
    let c = installation.client();
    let template = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES), v(CKA_VALUE, [5; 16]), s(CKA_LABEL, "one")];
    let key = c.create(&template).unwrap();
    let copy = c.copy(key, &[s(CKA_LABEL, "two"), b(CKA_SENSITIVE, true)]).unwrap();
    assert_ne!(copy, key);
    assert_eq!((c.label(key), c.label(copy)), ("one".to_owned(), "two".to_owned()));
    assert_eq!(c.get(copy, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(c.get(key, CKA_VALUE).unwrap(), [5; 16]);
    assert_ne!(c.get(key, CKA_UNIQUE_ID), c.get(copy, CKA_UNIQUE_ID));
    assert_eq!(c.encrypt(CKM_AES_ECB, key, &[0; 16]), c.encrypt(CKM_AES_ECB, copy, &[0; 16]));
    assert_eq!(c.copy(copy, &[b(CKA_SENSITIVE, false)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(c.copy(copy, &[b(CKA_PRIVATE, false)]), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(c.copy(copy, &[v(CKA_PRIVATE, [3])]), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    assert_eq!(c.copy(copy, &[u(CKA_KEY_TYPE, CKK_GENERIC_SECRET)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    c.destroy(key).unwrap();
    c.encrypt(CKM_AES_ECB, copy, &[0; 16]).unwrap();
    c.copy(copy, &[]).unwrap();
    c.set(copy, &[b(CKA_COPYABLE, false)]).unwrap();
    assert_eq!(c.copy(copy, &[]), Err(CKR_ACTION_PROHIBITED));
    assert_eq!(c.set(copy, &[b(CKA_COPYABLE, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(c.copy(999, &[]), Err(CKR_OBJECT_HANDLE_INVALID));
    // Keys of the KMS are not copied (libp11 and NSS then use the key itself).
    let (_, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true)]).unwrap();
    assert!(!c.is(private, CKA_COPYABLE));
    assert_eq!(c.copy(private, &[]), Err(CKR_ACTION_PROHIBITED));
}

#[test]
fn data_objects() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let template = [
            u(CKA_CLASS, CKO_DATA),
            b(CKA_TOKEN, token),
            s(CKA_LABEL, "note"),
            s(CKA_APPLICATION, "test"),
            v(CKA_OBJECT_ID, [6, 1, 42]),
            v(CKA_VALUE, b"some data"),
        ];
        let object = c.create(&template).unwrap();
        for (kind, value) in [(CKA_LABEL, &b"note"[..]), (CKA_APPLICATION, b"test"), (CKA_VALUE, b"some data")] {
            assert_eq!(c.get(object, kind).unwrap(), value);
        }
        assert_eq!(c.find(&template), [object]);
        c.set(object, &[s(CKA_LABEL, "renamed")]).unwrap();
        assert_eq!(c.find(&[s(CKA_LABEL, "renamed")]), [object]);
        assert_eq!(c.find(&[s(CKA_LABEL, "note")]).len(), 0);
        let empty = c.create(&template[..2]).unwrap();
        for kind in [CKA_LABEL, CKA_APPLICATION, CKA_OBJECT_ID, CKA_VALUE] {
            assert_eq!(c.get(empty, kind).unwrap(), b"");
        }
        // Labels of others are kept, duplicates included.
        let twin = c.create(&[&template[..2], &[s(CKA_LABEL, "renamed")]].concat()).unwrap();
        assert_eq!(c.find(&[s(CKA_LABEL, "renamed")]), [object, twin]);
        let fixed =
            c.create(&[&template[..2], &[b(CKA_MODIFIABLE, false), b(CKA_DESTROYABLE, false)]].concat()).unwrap();
        assert_eq!(c.set(fixed, &[s(CKA_LABEL, "x")]), Err(CKR_ACTION_PROHIBITED));
        assert_eq!(c.destroy(fixed), Err(CKR_ACTION_PROHIBITED));
        for object in [object, twin, empty] {
            c.destroy(object).unwrap();
            assert_eq!(c.get(object, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
            assert_eq!(c.destroy(object), Err(CKR_OBJECT_HANDLE_INVALID));
        }
    }
}
