//! C_WrapKey and C_UnwrapKey: every mechanism, what comes out, codes, templates, and what others make of it.

use cryptoki_sys::*;

use crate::call;
use crate::support::{
    Attr, Client, ED25519, Installation, LEVEL, Mech, P256, P384, WRAPS_ONLY, X25519, b, hex, nested, number, openssl,
    raw, s, u, unhex, v,
};

fn secret(key_type: CK_KEY_TYPE) -> Vec<Attr> {
    vec![u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, key_type)]
}

/// An AES key that wraps and unwraps whatever may be read anyway.
fn wrapper(c: &Client, value: &[u8]) -> CK_OBJECT_HANDLE {
    c.create(&[secret(CKK_AES), vec![v(CKA_VALUE, value), b(CKA_WRAP, true), b(CKA_UNWRAP, true)]].concat()).unwrap()
}

/// RFC 3394 §4.6, RFC 5649 §6, and openssl for CBC: the numbers, both ways.
#[test]
fn known_answers() {
    let installation = Installation::software();
    let c = installation.client();
    let kek = wrapper(&c, &unhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"));
    let key = c.secret(CKK_AES, &unhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"));
    let wrapped = c.wrap(CKM_AES_KEY_WRAP, kek, key).unwrap();
    assert_eq!(hex(&wrapped), "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
    let again = c.unwrap(CKM_AES_KEY_WRAP, kek, &wrapped, &secret(CKK_AES)).unwrap();
    assert_eq!(c.get(again, CKA_VALUE), c.get(key, CKA_VALUE));
    let kek = wrapper(&c, &unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"));
    let key = c.secret(CKK_GENERIC_SECRET, &unhex("c37b7e6492584340bed12207808941155068f738"));
    for mechanism in [CKM_AES_KEY_WRAP_KWP, CKM_AES_KEY_WRAP_PAD] {
        let wrapped = c.wrap(mechanism, kek, key).unwrap();
        assert_eq!(hex(&wrapped), "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
        let again = c.unwrap(mechanism, kek, &wrapped, &secret(CKK_GENERIC_SECRET)).unwrap();
        assert_eq!(c.get(again, CKA_VALUE), c.get(key, CKA_VALUE));
    }
    let kek = wrapper(&c, &[7; 16]);
    let data = c.secret(CKK_AES, &[9; 24]);
    let wrapped = c.wrap(Mech::with(CKM_AES_CBC_PAD, [3; 16]), kek, data).unwrap();
    std::fs::write(installation.path("key"), [9; 24]).unwrap();
    let words = ["enc", "-aes-128-cbc", "-K", &hex(&[7; 16]), "-iv", &hex(&[3; 16]), "-in", "key"];
    assert_eq!(openssl(&installation.path(""), &words).unwrap(), wrapped);
}

/// Every type of key that C_CreateObject takes goes out and comes in again as what it was.
#[test]
fn every_type_comes_back() {
    let installation = Installation::software();
    let c = installation.client();
    let aes = wrapper(&c, &[7; 32]);
    let secrets = [
        CKK_AES,
        CKK_GENERIC_SECRET,
        CKK_HKDF,
        CKK_SHA_1_HMAC,
        CKK_SHA224_HMAC,
        CKK_SHA256_HMAC,
        CKK_SHA384_HMAC,
        CKK_SHA512_HMAC,
        CKK_SHA512_224_HMAC,
        CKK_SHA512_256_HMAC,
        CKK_SHA3_224_HMAC,
        CKK_SHA3_256_HMAC,
        CKK_SHA3_384_HMAC,
        CKK_SHA3_512_HMAC,
    ];
    for key_type in secrets {
        let key = c.secret(key_type, &[5; 32]);
        let wrapped = c.wrap(CKM_AES_KEY_WRAP_KWP, aes, key).unwrap();
        let again = c.unwrap(CKM_AES_KEY_WRAP_KWP, aes, &wrapped, &secret(key_type)).unwrap();
        assert_eq!(number(&c.get(again, CKA_KEY_TYPE).unwrap()), key_type, "{key_type:#x}");
        assert_eq!(c.get(again, CKA_VALUE).unwrap(), [5; 32], "{key_type:#x}");
    }
    let open = [b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
    let pairs = [
        (CKM_EC_KEY_PAIR_GEN, P256, CKK_EC),
        (CKM_EC_EDWARDS_KEY_PAIR_GEN, ED25519, CKK_EC_EDWARDS),
        (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, X25519, CKK_EC_MONTGOMERY),
    ];
    for (mechanism, curve, key_type) in pairs {
        let (_, key) = c.generate_pair(mechanism, &[v(CKA_EC_PARAMS, curve)], &open).unwrap();
        let wrapped = c.wrap(CKM_AES_KEY_WRAP_KWP, aes, key).unwrap();
        let template = |key_type, more: &[Attr]| {
            [&[u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, key_type)][..], &open, more].concat()
        };
        let again = c.unwrap(CKM_AES_KEY_WRAP_KWP, aes, &wrapped, &template(key_type, &[v(CKA_EC_PARAMS, curve)]));
        let again = again.unwrap();
        for kind in [CKA_VALUE, CKA_EC_PARAMS, CKA_EC_POINT, CKA_KEY_TYPE] {
            assert_eq!(c.get(again, kind), c.get(key, kind), "{key_type:#x} {kind:#x}");
        }
        // As another type it is not taken, whatever its bytes are.
        for (_, _, other) in pairs.iter().filter(|(_, _, other)| *other != key_type) {
            let made = c.unwrap(CKM_AES_KEY_WRAP_KWP, aes, &wrapped, &template(*other, &[]));
            assert_eq!(made, Err(CKR_WRAPPED_KEY_INVALID), "{key_type:#x} as {other:#x}");
        }
    }
}

/// Each mechanism with each kind of key that it takes: out, in again, and the same key.
#[test]
fn there_and_back() {
    let installation = Installation::software();
    let c = installation.client();
    let aes = wrapper(&c, &[7; 32]);
    let (public, private) = c.rsa_pair(2048, &[b(CKA_WRAP, true)], &[b(CKA_UNWRAP, true)]).unwrap();
    let open = [b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
    let (_, ec) = c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P384)], &open).unwrap();
    let (_, rsa) = c.rsa_pair(2048, &[], &open).unwrap();
    let generic = c.secret(CKK_GENERIC_SECRET, &[1; 21]);
    let aes_key = c.secret(CKK_AES, &[2; 32]);
    let oaep = Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"label");
    let with_aes = [
        Mech::new(CKM_AES_KEY_WRAP_KWP),
        Mech::new(CKM_AES_KEY_WRAP_PAD),
        Mech::with(CKM_AES_CBC_PAD, [3; 16]),
        Mech::gcm(&[4; 12], b"aad", 128),
        Mech::gcm_wrap(&[4; 12], 0, CKG_NO_GENERATE, b"aad"),
    ];
    let of_anything = with_aes.into_iter().map(|mechanism| (mechanism, aes, aes));
    let hybrid = Mech::rsa_aes(256, &oaep);
    for (mechanism, outer, inner) in of_anything.chain([(hybrid, public, private)]) {
        for (key, template) in [
            (generic, [secret(CKK_GENERIC_SECRET), vec![u(CKA_VALUE_LEN, 21)]].concat()),
            (aes_key, secret(CKK_AES)),
            (
                ec,
                vec![
                    u(CKA_CLASS, CKO_PRIVATE_KEY),
                    u(CKA_KEY_TYPE, CKK_EC),
                    b(CKA_SENSITIVE, false),
                    b(CKA_EXTRACTABLE, true),
                ],
            ),
            (
                rsa,
                vec![
                    u(CKA_CLASS, CKO_PRIVATE_KEY),
                    u(CKA_KEY_TYPE, CKK_RSA),
                    b(CKA_SENSITIVE, false),
                    b(CKA_EXTRACTABLE, true),
                ],
            ),
        ] {
            let wrapped = c.wrap(mechanism.clone(), outer, key).unwrap();
            let again = c.unwrap(mechanism.clone(), inner, &wrapped, &template).unwrap();
            let value = if key == rsa { CKA_PRIVATE_EXPONENT } else { CKA_VALUE };
            assert_eq!(c.get(again, value), c.get(key, value), "{:#x}", mechanism.kind);
            assert!(![CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE].iter().any(|kind| c.is(again, *kind)));
            if key == ec {
                assert_eq!(c.get(again, CKA_EC_POINT), c.get(ec, CKA_EC_POINT));
            }
            c.destroy(again).unwrap();
        }
    }
    for (mechanism, outer, inner) in [
        (Mech::new(CKM_AES_KEY_WRAP), aes, aes),
        (Mech::with(CKM_AES_CBC, [3; 16]), aes, aes),
        (Mech::new(CKM_RSA_PKCS), public, private),
        (oaep, public, private),
    ] {
        let wrapped = c.wrap(mechanism.clone(), outer, aes_key).unwrap();
        let again = c.unwrap(mechanism, inner, &wrapped, &secret(CKK_AES)).unwrap();
        assert_eq!(c.get(again, CKA_VALUE).unwrap(), [2; 32]);
    }
    // CBC pads with zeros: the length must be said.
    let cbc = Mech::with(CKM_AES_CBC, [3; 16]);
    let wrapped = c.wrap(cbc.clone(), aes, generic).unwrap();
    let template = [secret(CKK_GENERIC_SECRET), vec![u(CKA_VALUE_LEN, 21)]].concat();
    assert_eq!(c.get(c.unwrap(cbc, aes, &wrapped, &template).unwrap(), CKA_VALUE).unwrap(), [1; 21]);
    // Keys of the KMS wrap and unwrap as well, and keys are unwrapped into the KMS.
    let kms = c.aes(32, &[b(CKA_TOKEN, true), b(CKA_WRAP, true), b(CKA_UNWRAP, true)]);
    let wrapped = c.wrap(CKM_AES_KEY_WRAP_KWP, kms, aes_key).unwrap();
    let more = [b(CKA_TOKEN, true), s(CKA_LABEL, "came wrapped")];
    let key = c.unwrap(CKM_AES_KEY_WRAP_KWP, kms, &wrapped, &[secret(CKK_AES), more.to_vec()].concat()).unwrap();
    assert_eq!(c.one(CKO_SECRET_KEY, "came wrapped"), key);
    assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert_eq!(c.encrypt(CKM_AES_ECB, key, &[1; 16]), c.encrypt(CKM_AES_ECB, aes_key, &[1; 16]));
    let private = vec![u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_EC), b(CKA_TOKEN, true)];
    let wrapped = c.wrap(CKM_AES_KEY_WRAP_KWP, kms, ec).unwrap();
    let key = c.unwrap(CKM_AES_KEY_WRAP_KWP, kms, &wrapped, &private).unwrap();
    assert_eq!(c.get(key, CKA_EC_POINT), c.get(ec, CKA_EC_POINT));
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
    // What leaves the KMS does not leave like this.
    assert_eq!(c.wrap(CKM_AES_KEY_WRAP_KWP, aes, key), Err(CKR_KEY_UNEXTRACTABLE));
    let copied = [&private[..], &[b(CKA_EXTRACTABLE, true)]].concat();
    assert_eq!(c.unwrap(CKM_AES_KEY_WRAP_KWP, kms, &wrapped, &copied), Err(CKR_TEMPLATE_INCONSISTENT));
}

/// What openssl encrypted for the public key comes in, and openssl decrypts what goes out.
#[test]
fn others_wrap_and_unwrap() {
    let installation = Installation::software();
    let c = installation.client();
    let open = [b(CKA_UNWRAP, true), b(CKA_DECRYPT, true)];
    let (public, private) = c.rsa_pair(2048, &[b(CKA_WRAP, true)], &open).unwrap();
    std::fs::write(installation.path("pub.der"), c.get(public, CKA_PUBLIC_KEY_INFO).unwrap()).unwrap();
    std::fs::write(installation.path("key"), [5; 32]).unwrap();
    let words = ["pkeyutl", "-encrypt", "-pubin", "-inkey", "pub.der", "-keyform", "DER", "-in", "key"];
    let oaep = ["-pkeyopt", "rsa_padding_mode:oaep", "-pkeyopt", "rsa_oaep_md:sha256"];
    for (more, mechanism) in
        [(&[][..], Mech::new(CKM_RSA_PKCS)), (&oaep[..], Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""))]
    {
        let wrapped = openssl(&installation.path(""), &[&words[..], more].concat()).unwrap();
        let key = c.unwrap(mechanism.clone(), private, &wrapped, &secret(CKK_AES)).unwrap();
        assert_eq!(c.get(key, CKA_VALUE).unwrap(), [5; 32]);
        // And what we wrap is what C_Decrypt undoes.
        let wrapped = c.wrap(mechanism.clone(), public, key).unwrap();
        assert_eq!(c.decrypt(mechanism, private, &wrapped).unwrap(), [5; 32]);
    }
}

#[test]
fn codes() {
    let installation = Installation::software();
    let c = installation.client();
    let kek = wrapper(&c, &[7; 32]);
    let key = c.secret(CKK_AES, &[2; 32]);
    let kw = CKM_AES_KEY_WRAP;
    let wrapped = c.wrap(kw, kek, key).unwrap();
    let (public, private) = c.session_pair();
    let data = c.create(&[u(CKA_CLASS, CKO_DATA)]).unwrap();
    for handle in [0, 999, CK_ULONG::MAX] {
        assert_eq!(c.wrap(kw, handle, key), Err(CKR_WRAPPING_KEY_HANDLE_INVALID));
        assert_eq!(c.wrap(kw, kek, handle), Err(CKR_KEY_HANDLE_INVALID));
        assert_eq!(c.unwrap(kw, handle, &wrapped, &secret(CKK_AES)), Err(CKR_UNWRAPPING_KEY_HANDLE_INVALID));
    }
    assert_eq!(c.wrap(kw, kek, data), Err(CKR_KEY_HANDLE_INVALID));
    assert_eq!(c.wrap(kw, kek, public), Err(CKR_KEY_NOT_WRAPPABLE));
    assert_eq!(c.wrap(kw, kek, private), Err(CKR_KEY_UNEXTRACTABLE));
    assert_eq!(c.wrap(Mech::ctr([0; 16], 128), kek, key), Err(CKR_MECHANISM_INVALID));
    assert_eq!(c.wrap(CKM_RSA_PKCS, kek, key), Err(CKR_WRAPPING_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.wrap(kw, public, key), Err(CKR_WRAPPING_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.unwrap(kw, private, &wrapped, &secret(CKK_AES)), Err(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.wrap(kw, c.aes(32, &[]), key), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert_eq!(c.unwrap(kw, c.aes(32, &[]), &wrapped, &secret(CKK_AES)), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert_eq!(c.wrap(Mech::with(CKM_AES_CBC_PAD, [1; 15]), kek, key), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(c.wrap(kw, kek, c.secret(CKK_GENERIC_SECRET, &[1; 21])), Err(CKR_KEY_SIZE_RANGE));
    assert_eq!(c.wrap(kw, kek, c.secret(CKK_GENERIC_SECRET, &[1; 8])), Err(CKR_KEY_SIZE_RANGE));
    // The wrapped key.
    let unwrap = |wrapped: &[u8], template: &[Attr]| c.unwrap(kw, kek, wrapped, template);
    let mut wrong = wrapped.clone();
    wrong[3] ^= 1;
    assert_eq!(unwrap(&wrong, &secret(CKK_AES)), Err(CKR_WRAPPED_KEY_INVALID));
    assert_eq!(unwrap(&wrapped[..39], &secret(CKK_AES)), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    assert_eq!(unwrap(&[], &secret(CKK_AES)), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    assert_eq!(unwrap(&wrapped, &[secret(CKK_AES), vec![u(CKA_VALUE_LEN, 16)]].concat()), Err(CKR_WRAPPED_KEY_INVALID));
    assert_eq!(unwrap(&wrapped, &[]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(unwrap(&wrapped, &secret(CKK_AES)[..1]), Err(CKR_TEMPLATE_INCOMPLETE));
    assert_eq!(unwrap(&wrapped, &secret(CKK_RSA)), Err(CKR_TEMPLATE_INCONSISTENT));
    assert_eq!(unwrap(&wrapped, &[u(CKA_CLASS, CKO_DATA), u(CKA_KEY_TYPE, CKK_AES)]), Err(CKR_TEMPLATE_INCONSISTENT));
    let private = [u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_EC)];
    assert_eq!(unwrap(&wrapped, &private), Err(CKR_WRAPPED_KEY_INVALID));
    for attr in [v(CKA_VALUE, [1; 32]), b(CKA_LOCAL, true), b(CKA_ALWAYS_SENSITIVE, true), b(WRAPS_ONLY, true)] {
        assert!(unwrap(&wrapped, &[secret(CKK_AES), vec![attr]].concat()).is_err());
    }
    // Room: the size is told, nothing is written, and the call is made again.
    let mechanism = Mech::new(kw);
    let (mut raw_mechanism, mut room, mut len) = (mechanism.raw(), [0u8; 40], 39);
    let rv = call!(c.m, C_WrapKey(c.h, &raw mut raw_mechanism, kek, key, room.as_mut_ptr(), &raw mut len));
    assert_eq!((rv, len, room), (CKR_BUFFER_TOO_SMALL, 40, [0; 40]));
    let null = std::ptr::null_mut();
    assert_eq!(call!(c.m, C_WrapKey(c.h, &raw mut raw_mechanism, kek, key, null, null.cast())), CKR_ARGUMENTS_BAD);
    assert_eq!(call!(c.m, C_WrapKey(c.h, null.cast(), kek, key, null, &raw mut len)), CKR_ARGUMENTS_BAD);
    // A read-only session makes session keys, and no token keys.
    let reader = Client::open_read_only(c.m);
    reader.unwrap(kw, kek, &wrapped, &secret(CKK_AES)).unwrap();
    let stored = [secret(CKK_AES), vec![b(CKA_TOKEN, true)]].concat();
    assert_eq!(reader.unwrap(kw, kek, &wrapped, &stored), Err(CKR_SESSION_READ_ONLY));
}

/// CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE and CKA_DERIVE_TEMPLATE hold, of session keys and of keys of the KMS.
#[test]
fn templates_of_keys() {
    let installation = Installation::software();
    let c = installation.client();
    let only = [s(CKA_LABEL, "out"), b(CKA_SENSITIVE, false)];
    let demands = [b(CKA_SENSITIVE, true), b(CKA_DECRYPT, false), s(CKA_LABEL, "in")];
    let (only, demands) = (raw(&only), raw(&demands));
    for token in [false, true] {
        let kek = c.aes(
            32,
            &[
                b(CKA_TOKEN, token),
                b(CKA_WRAP, true),
                b(CKA_UNWRAP, true),
                nested(CKA_WRAP_TEMPLATE, &only),
                nested(CKA_UNWRAP_TEMPLATE, &demands),
            ],
        );
        let named = |label| c.create(&[secret(CKK_AES), vec![v(CKA_VALUE, [2; 32]), s(CKA_LABEL, label)]].concat());
        assert_eq!(c.wrap(CKM_AES_KEY_WRAP, kek, named("other").unwrap()), Err(CKR_KEY_HANDLE_INVALID));
        let wrapped = c.wrap(CKM_AES_KEY_WRAP, kek, named("out").unwrap()).unwrap();
        let unwrap = |more: &[Attr]| c.unwrap(CKM_AES_KEY_WRAP, kek, &wrapped, &[&secret(CKK_AES), more].concat());
        let key = unwrap(&[b(CKA_ENCRYPT, true)]).unwrap();
        assert_eq!(c.label(key), "in");
        assert!(c.is(key, CKA_SENSITIVE) && !c.is(key, CKA_DECRYPT) && c.is(key, CKA_ENCRYPT));
        assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        unwrap(&[b(CKA_SENSITIVE, true)]).unwrap();
        for contradiction in [b(CKA_SENSITIVE, false), b(CKA_DECRYPT, true), s(CKA_LABEL, "mine")] {
            assert_eq!(unwrap(&[contradiction]), Err(CKR_TEMPLATE_INCONSISTENT), "token {token}");
        }
        // It can be read as it was given, and never be changed.
        let mut inner = [CK_ATTRIBUTE { type_: 0, pValue: std::ptr::null_mut(), ulValueLen: 0 }; 3];
        let mut outer = CK_ATTRIBUTE { type_: CKA_UNWRAP_TEMPLATE, pValue: inner.as_mut_ptr().cast(), ulValueLen: 72 };
        assert_eq!(call!(c.m, C_GetAttributeValue(c.h, kek, &raw mut outer, 1)), CKR_OK);
        assert_eq!(
            inner.map(|one| (one.type_, one.ulValueLen)),
            [(CKA_SENSITIVE, 1), (CKA_DECRYPT, 1), (CKA_LABEL, 2)]
        );
        assert_eq!(c.set(kek, &[nested(CKA_UNWRAP_TEMPLATE, &only)]), Err(CKR_ATTRIBUTE_READ_ONLY));
        let (public, private) = c
            .ec_pair(P256, &[])
            .map(|(public, _)| public)
            .and_then(|public| {
                let own = [b(CKA_TOKEN, token), b(CKA_DERIVE, true), nested(CKA_DERIVE_TEMPLATE, &demands)];
                c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256), b(CKA_TOKEN, token)], &own)
                    .map(|(_, private)| (public, private))
            })
            .unwrap();
        let derivation = Mech::ecdh(CKM_ECDH1_DERIVE, &c.get(public, CKA_EC_POINT).unwrap());
        let derived = c.derive(&derivation, private, &secret(CKK_AES)).unwrap();
        assert!(c.is(derived, CKA_SENSITIVE));
        let loose = [secret(CKK_AES), vec![b(CKA_SENSITIVE, false)]].concat();
        assert_eq!(c.derive(&derivation, private, &loose), Err(CKR_TEMPLATE_INCONSISTENT));
    }
    // Templates of things that are no attributes, of wrong shape, or that hold templates.
    let (unknown, short, deep) =
        (raw(&[u(0x8765_4321, 1)]), raw(&[v(CKA_SENSITIVE, [2])]), raw(&[nested(CKA_WRAP_TEMPLATE, &only)]));
    for inner in [&unknown, &short, &deep] {
        let made = c.generate(CKM_AES_KEY_GEN, &[u(CKA_VALUE_LEN, 16), nested(CKA_UNWRAP_TEMPLATE, inner)]);
        assert_eq!(made, Err(CKR_ATTRIBUTE_VALUE_INVALID));
    }
}

/// C_WrapKeyAuthenticated: the associated data is bound, and an IV that the token made comes back.
#[test]
fn authenticated() {
    let installation = Installation::software();
    let c = installation.client();
    let kek = wrapper(&c, &[7; 32]);
    let key = c.secret(CKK_AES, &[2; 32]);
    let wrap = |mechanism: &Mech, aad: &[u8]| {
        let mut raw = mechanism.raw();
        let (start, len) = (aad.as_ptr().cast_mut(), aad.len() as CK_ULONG);
        crate::support::two_calls(true, |out, out_len| {
            call!(c.m, C_WrapKeyAuthenticated(c.h, &raw mut raw, kek, key, start, len, out, out_len))
        })
    };
    let unwrap = |mechanism: &Mech, aad: &[u8], wrapped: &[u8]| {
        let (mut raw_mechanism, template) = (mechanism.raw(), secret(CKK_AES));
        let (mut list, mut made) = (raw(&template), 0);
        let (from, len) = (wrapped.as_ptr().cast_mut(), wrapped.len() as CK_ULONG);
        let (start, aad_len) = (aad.as_ptr().cast_mut(), aad.len() as CK_ULONG);
        let (mechanism, list) = (&raw mut raw_mechanism, list.as_mut_ptr());
        let rv = call!(
            c.m,
            C_UnwrapKeyAuthenticated(c.h, mechanism, kek, from, len, list, 2, start, aad_len, &raw mut made)
        );
        if rv == CKR_OK { Ok(made) } else { Err(rv) }
    };
    let mut ivs = std::collections::BTreeSet::new();
    for generator in [CKG_GENERATE, CKG_GENERATE_RANDOM, CKG_GENERATE_COUNTER] {
        let mechanism = Mech::gcm_wrap(&[9; 12], 32, generator, b"");
        let wrapped = wrap(&mechanism, b"context").unwrap();
        let iv = mechanism.held(0);
        assert_eq!((wrapped.len(), &iv[..4]), (48, &[9; 4][..]));
        assert!(ivs.insert(iv.clone()));
        for reading in [Mech::gcm_wrap(&iv, 32, generator, b""), Mech::gcm(&iv, b"", 128)] {
            let again = unwrap(&reading, b"context", &wrapped).unwrap();
            assert_eq!(c.get(again, CKA_VALUE).unwrap(), [2; 32]);
            assert_eq!(unwrap(&reading, b"other", &wrapped), Err(CKR_WRAPPED_KEY_INVALID));
            assert_eq!(unwrap(&reading, b"context", &wrapped[..15]), Err(CKR_WRAPPED_KEY_LEN_RANGE));
        }
    }
    // Too little that is made, a generator that is none, a mechanism without associated data.
    for mechanism in [
        Mech::gcm_wrap(&[9; 12], 33, CKG_GENERATE, b""),
        Mech::gcm_wrap(&[9; 12], 97, CKG_GENERATE, b""),
        Mech::gcm_wrap(&[], 0, CKG_GENERATE, b""),
        Mech::gcm_wrap(&[9; 12], 0, 77, b""),
        Mech::gcm_wrap(&[9; 12], 0, CKG_NO_GENERATE, b"another one"),
    ] {
        assert_eq!(wrap(&mechanism, b"context"), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    assert_eq!(wrap(&Mech::new(CKM_AES_KEY_WRAP), b"context"), Err(CKR_MECHANISM_INVALID));
    assert_eq!(wrap(&Mech::gcm(&[1; 12], b"", 128), b"context").unwrap().len(), 48);
}

/// A key in a device gives nothing to this process unless it is told to; keys that wrap in a device are not asked for more
/// than the device can.
#[test]
fn keys_in_a_device() {
    let installation = Installation::with_device();
    let c = installation.client();
    let uses = [b(CKA_TOKEN, true), b(CKA_UNWRAP, true), b(CKA_DECRYPT, true)];
    let (public, private) = c.rsa_pair(2048, &[b(CKA_TOKEN, true), b(CKA_WRAP, true)], &uses).unwrap();
    assert_eq!(c.get(private, LEVEL).unwrap(), b"HSM");
    let key = c.secret(CKK_AES, &[2; 32]);
    for mechanism in [Mech::new(CKM_RSA_PKCS), Mech::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"")] {
        let wrapped = c.wrap(mechanism.clone(), public, key).unwrap();
        let unwrap = |more: &[Attr]| c.unwrap(mechanism.clone(), private, &wrapped, &[&secret(CKK_AES), more].concat());
        assert_eq!(unwrap(&[]), Err(CKR_TEMPLATE_INCONSISTENT));
        assert_eq!(unwrap(&[b(CKA_TOKEN, true)]), Err(CKR_TEMPLATE_INCONSISTENT));
        assert_eq!(unwrap(&[s(LEVEL, "HSM")]), Err(CKR_TEMPLATE_INCONSISTENT));
        let here = unwrap(&[s(LEVEL, "SOFTWARE")]).unwrap();
        assert_eq!(c.get(here, CKA_VALUE).unwrap(), [2; 32]);
        let stored = unwrap(&[s(LEVEL, "SOFTWARE"), b(CKA_TOKEN, true)]).unwrap();
        assert_eq!(c.get(stored, LEVEL).unwrap(), b"SOFTWARE");
        assert_eq!(number(&c.get(stored, CKA_VALUE_LEN).unwrap()), 32);
        // A wrong padding is a key that nobody knows, the same each time.
        if mechanism.kind == CKM_RSA_PKCS {
            let mut wrong = wrapped.clone();
            wrong[20] ^= 1;
            let made_up: Vec<_> = (0..2)
                .map(|_| {
                    let template = [secret(CKK_AES), vec![s(LEVEL, "SOFTWARE"), u(CKA_VALUE_LEN, 32)]].concat();
                    c.get(c.unwrap(mechanism.clone(), private, &wrong, &template).unwrap(), CKA_VALUE).unwrap()
                })
                .collect();
            assert_eq!(made_up[0], made_up[1]);
            assert_ne!(made_up[0], [2; 32]);
        }
    }
}

/// SoftHSM has key wrapping for keys only: no C_Encrypt with it. What is wrapped is a key of this process.
#[test]
fn a_secret_in_a_device_wraps_keys_of_this_process() {
    let installation = Installation::with_device();
    let c = installation.client();
    let only =
        [b(CKA_TOKEN, true), b(CKA_ENCRYPT, false), b(CKA_DECRYPT, false), b(CKA_WRAP, true), b(CKA_UNWRAP, true)];
    let kek = c.generate(CKM_AES_KEY_GEN, &[&only[..], &[u(CKA_VALUE_LEN, 32)]].concat()).unwrap();
    assert_eq!(c.get(kek, LEVEL).unwrap(), b"HSM");
    let objects = || c.find(&[u(CKA_CLASS, CKO_SECRET_KEY)]).len();
    let before = objects();
    for (kind, length, wrapped_length) in [
        (CKM_AES_KEY_WRAP, 32, 40),
        (CKM_AES_KEY_WRAP, 16, 24),
        (CKM_AES_KEY_WRAP_PAD, 32, 40),
        (CKM_AES_KEY_WRAP_KWP, 8, 16),
    ] {
        let kind_of = if length == 8 { CKK_GENERIC_SECRET } else { CKK_AES };
        let value: Vec<u8> = (1..=length).collect();
        let key = c.secret(kind_of, &value);
        let wrapped = c.wrap(Mech::new(kind), kek, key).unwrap();
        assert_eq!(wrapped.len(), wrapped_length);
        assert_eq!(c.wrap(Mech::new(kind), kek, key).unwrap(), wrapped, "it is the same each time");
        // It is sensitive again: the key has done nothing but wrap.
        let template = |more: &[Attr]| [&secret(kind_of)[..], &[b(CKA_SENSITIVE, true)], more].concat();
        let unwrap = |wrapped: &[u8], more: &[Attr]| c.unwrap(Mech::new(kind), kek, wrapped, &template(more));
        assert_eq!(unwrap(&wrapped, &[]), Err(CKR_TEMPLATE_INCONSISTENT), "the device gives nothing away unasked");
        let here = unwrap(&wrapped, &[s(LEVEL, "SOFTWARE"), b(CKA_EXTRACTABLE, true)]).unwrap();
        assert_eq!(c.get(here, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
        assert_eq!(c.wrap(Mech::new(kind), kek, here).unwrap(), wrapped, "it is the same key");
        for at in [0, 8, wrapped_length - 1] {
            let mut wrong = wrapped.clone();
            wrong[at] ^= 1;
            assert_eq!(unwrap(&wrong, &[s(LEVEL, "SOFTWARE")]), Err(CKR_WRAPPED_KEY_INVALID), "{kind:#x} {at}");
        }
        assert!(unwrap(&wrapped[..wrapped_length - 8], &[s(LEVEL, "SOFTWARE")]).is_err());
        assert_eq!(unwrap(&wrapped[1..], &[s(LEVEL, "SOFTWARE")]), Err(CKR_WRAPPED_KEY_LEN_RANGE));
        [key, here].iter().for_each(|object| c.destroy(*object).unwrap());
    }
    assert_eq!(objects(), before);
    // Odd lengths are refused as in this process.
    let odd = c.secret(CKK_GENERIC_SECRET, &[7; 13]);
    assert_eq!(c.wrap(Mech::new(CKM_AES_KEY_WRAP), kek, odd), Err(CKR_KEY_SIZE_RANGE));
    // SoftHSM 2.6 would fill up what is no multiple of 8 bytes, and a longer key would come out again.
    assert_eq!(c.wrap(Mech::new(CKM_AES_KEY_WRAP_PAD), kek, odd), Err(CKR_MECHANISM_INVALID));
    let own = [b(CKA_EXTRACTABLE, true), b(CKA_SENSITIVE, false)];
    let (_, private) = c.generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &own).unwrap();
    assert_eq!(c.wrap(Mech::new(CKM_AES_KEY_WRAP_PAD), kek, private), Err(CKR_MECHANISM_INVALID));
}
