//! C_DeriveKey: key agreement with and without a derivation function, HKDF, keys made by encrypting data. OpenSSL and
//! the
//! specifications' vectors are the other side.

use cryptoki_sys::*;

use crate::support::{Attr, Client, Installation, Mech, P256, P384, X25519, b, hex, number, openssl, u, unhex, v};

/// A secret that may be read.
fn open(more: &[Attr]) -> Vec<Attr> {
    [&[b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)], more].concat()
}

fn value(c: &Client, derived: Result<CK_OBJECT_HANDLE, CK_RV>) -> Vec<u8> {
    c.get(derived.unwrap(), CKA_VALUE).unwrap()
}

/// A generic secret that may derive.
fn base(c: &Client, kind: CK_KEY_TYPE, bytes: &[u8]) -> CK_OBJECT_HANDLE {
    c.create(&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, kind), v(CKA_VALUE, bytes), b(CKA_DERIVE, true)]).unwrap()
}

#[test]
fn agreement_with_x963() {
    let home = Installation::software();
    let c = home.client();
    let dir = home.path(".");
    let hashes = [
        (CKD_SHA1_KDF, "SHA1"),
        (CKD_SHA224_KDF, "SHA2-224"),
        (CKD_SHA256_KDF, "SHA2-256"),
        (CKD_SHA384_KDF, "SHA2-384"),
        (CKD_SHA512_KDF, "SHA2-512"),
        (CKD_SHA3_224_KDF, "SHA3-224"),
        (CKD_SHA3_256_KDF, "SHA3-256"),
        (CKD_SHA3_384_KDF, "SHA3-384"),
        (CKD_SHA3_512_KDF, "SHA3-512"),
    ];
    for curve in [P256, P384] {
        let ((_, private), (peer, _)) =
            (c.ec_pair(curve, &[b(CKA_DERIVE, true)]).unwrap(), c.ec_pair(curve, &[]).unwrap());
        let peer = c.get(peer, CKA_EC_POINT).unwrap();
        let bare = value(&c, c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &peer), private, &open(&[])));
        for (kdf, name) in hashes {
            for (shared, len) in [(&b""[..], 32), (b"shared info", 100), (b"x", 1)] {
                let mut words = vec!["kdf".to_owned(), "-keylen".to_owned(), len.to_string(), "-binary".to_owned()];
                for option in [format!("digest:{name}"), format!("hexsecret:{}", hex(&bare))] {
                    words.extend(["-kdfopt".to_owned(), option]);
                }
                if !shared.is_empty() {
                    words.extend(["-kdfopt".to_owned(), format!("hexinfo:{}", hex(shared))]);
                }
                words.push("X963KDF".to_owned());
                let expected = openssl(&dir, &words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
                for kind in [CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE] {
                    let mechanism = Mech::ecdh_kdf(kind, kdf, shared, &peer);
                    let made = c.derive(&mechanism, private, &open(&[u(CKA_VALUE_LEN, len)]));
                    assert_eq!(value(&c, made), expected, "{name} {len}");
                }
            }
        }
        let kdf = |kdf, shared: &[u8]| Mech::ecdh_kdf(CKM_ECDH1_DERIVE, kdf, shared, &peer);
        // How long the key is must be told, by the template or by the type.
        assert_eq!(c.derive(&kdf(CKD_SHA256_KDF, b""), private, &[]), Err(CKR_TEMPLATE_INCOMPLETE));
        let typed = [u(CKA_KEY_TYPE, 0xC14C_4901)];
        assert_eq!(value(&c, c.derive(&kdf(CKD_SHA256_KDF, b""), private, &open(&typed))).len(), 16);
        let wrong = [u(CKA_KEY_TYPE, CKK_AES), u(CKA_VALUE_LEN, 17)];
        assert_eq!(c.derive(&kdf(CKD_SHA256_KDF, b""), private, &wrong), Err(CKR_KEY_SIZE_RANGE));
        // No shared data without a function, and no function that is not there.
        assert_eq!(c.derive(&kdf(CKD_NULL, b"x"), private, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
        for unknown in [0, CKD_SHA1_KDF_ASN1, CKD_SHA1_KDF_CONCATENATE, CKD_CPDIVERSIFY_KDF, CK_ULONG::MAX] {
            let length = [u(CKA_VALUE_LEN, 16)];
            assert_eq!(c.derive(&kdf(unknown, b""), private, &length), Err(CKR_MECHANISM_PARAM_INVALID), "{unknown}");
        }
    }
}

#[test]
fn x25519() {
    let home = Installation::software();
    let c = home.client();
    let dir = home.path(".");
    openssl(&dir, &["genpkey", "-algorithm", "X25519", "-out", "peer.pem"]).unwrap();
    let spki = openssl(&dir, &["pkey", "-in", "peer.pem", "-pubout", "-outform", "DER"]).unwrap();
    let peer = spki[spki.len() - 32..].to_vec();
    let wrapped = [&[4, 32], &peer[..]].concat();
    let names: [&[u8]; 3] = [X25519, b"\x13\x0acurve25519", &[0x06, 0x0a, 0x2b, 6, 1, 4, 1, 0x97, 0x55, 1, 5, 1]];
    for name in names {
        let (public, private) =
            c.generate_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, name)], &[]).unwrap();
        for half in [public, private] {
            assert_eq!(number(&c.get(half, CKA_KEY_TYPE).unwrap()), CKK_EC_MONTGOMERY);
            assert_eq!(c.get(half, CKA_EC_PARAMS).unwrap(), X25519);
            assert_eq!(c.get(half, CKA_EC_POINT).unwrap()[..2], [4, 32]);
            assert!(!c.is(half, if half == public { CKA_VERIFY } else { CKA_SIGN }));
        }
        std::fs::write(home.path("own.der"), c.get(public, CKA_PUBLIC_KEY_INFO).unwrap()).unwrap();
        let words = ["pkeyutl", "-derive", "-inkey", "peer.pem", "-peerform", "DER", "-peerkey", "own.der"];
        let expected = openssl(&dir, &words).unwrap();
        for peer in [&peer, &wrapped] {
            assert_eq!(value(&c, c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, peer), private, &open(&[]))), expected);
        }
        let cofactor = Mech::ecdh(CKM_ECDH1_COFACTOR_DERIVE, &peer);
        assert_eq!(c.derive(&cofactor, private, &[]), Err(CKR_KEY_TYPE_INCONSISTENT));
        // Points of small order (RFC 7748 §6.1), and what is no key.
        for wrong in [vec![0; 32], [&[1][..], &[0; 31]].concat(), vec![9; 31], vec![9; 33], Vec::new()] {
            let derived = c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &wrong), private, &[]);
            assert_eq!(derived, Err(CKR_MECHANISM_PARAM_INVALID), "{wrong:?}");
        }
        assert_eq!(c.sign_init(CKM_EDDSA, private), Err(CKR_KEY_TYPE_INCONSISTENT));
    }
    // There is no spec for it: no key of the KMS.
    let token = [b(CKA_TOKEN, true)];
    let made = c.generate_pair(CKM_EC_MONTGOMERY_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, X25519)], &token);
    assert_eq!(made, Err(CKR_CURVE_NOT_SUPPORTED));
    for (kind, curve) in [(CKM_EC_KEY_PAIR_GEN, X25519), (CKM_EC_MONTGOMERY_KEY_PAIR_GEN, P256)] {
        assert_eq!(c.generate_pair(kind, &[v(CKA_EC_PARAMS, curve)], &[]), Err(CKR_CURVE_NOT_SUPPORTED));
    }
}

/// RFC 5869 A.1 and A.3, through every kind of base, salt and half.
#[test]
fn hkdf() {
    let home = Installation::software();
    let c = home.client();
    let (salt, info) = (unhex("000102030405060708090a0b0c"), unhex("f0f1f2f3f4f5f6f7f8f9"));
    let prk = unhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5");
    let okm = unhex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
    let secret = [u(CKA_VALUE_LEN, 42)];
    let hkdf = |kind, halves: [bool; 2], salt: Option<&[u8]>, info: &[u8]| {
        Mech::hkdf(kind, halves[0], halves[1], CKM_SHA256, salt, info)
    };
    let both = hkdf(CKM_HKDF_DERIVE, [true, true], Some(&salt), &info);
    let extract = hkdf(CKM_HKDF_DERIVE, [true, false], Some(&salt), b"");
    let expand = hkdf(CKM_HKDF_DERIVE, [false, true], None, &info);
    for kind in [CKK_GENERIC_SECRET, CKK_HKDF] {
        let ikm = base(&c, kind, &[0x0b; 22]);
        assert_eq!(value(&c, c.derive(&both, ikm, &open(&secret))), okm);
        let typed = [u(CKA_KEY_TYPE, CKK_HKDF), b(CKA_DERIVE, true)];
        let middle = c.derive(&extract, ikm, &open(&typed)).unwrap();
        assert_eq!(c.get(middle, CKA_VALUE).unwrap(), prk);
        assert_eq!(number(&c.get(middle, CKA_KEY_TYPE).unwrap()), CKK_HKDF);
        assert_eq!(value(&c, c.derive(&expand, middle, &open(&secret))), okm);
        // A.3: without salt and info.
        let bare = hkdf(CKM_HKDF_DERIVE, [true, true], None, b"");
        let expected = unhex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
        assert_eq!(value(&c, c.derive(&bare, ikm, &open(&secret))), expected);
        // The salt is a key.
        let key = base(&c, CKK_GENERIC_SECRET, &salt);
        let with = |key| Mech::hkdf_with(CKM_HKDF_DERIVE, [true, true], CKM_SHA256, CKF_HKDF_SALT_KEY, b"", key, &info);
        assert_eq!(value(&c, c.derive(&with(key), ikm, &open(&secret))), okm);
        assert_eq!(c.derive(&with(0), ikm, &secret), Err(CKR_KEY_HANDLE_INVALID));
        let other = c.secret(CKK_GENERIC_SECRET, &salt);
        assert_eq!(c.derive(&with(other), ikm, &secret), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        // As data, which may be read.
        let data = hkdf(CKM_HKDF_DATA, [true, true], Some(&salt), &info);
        let object = c.derive(&data, ikm, &[u(CKA_CLASS, CKO_DATA), u(CKA_VALUE_LEN, 42)]).unwrap();
        assert_eq!(c.get(object, CKA_VALUE).unwrap(), okm);
        assert_eq!(number(&c.get(object, CKA_CLASS).unwrap()), CKO_DATA);
        assert_eq!(c.derive(&data, ikm, &[u(CKA_CLASS, CKO_SECRET_KEY)]), Err(CKR_TEMPLATE_INCONSISTENT));
        // Lengths: told where something is expanded, the hash's where not.
        assert_eq!(c.derive(&both, ikm, &[]), Err(CKR_TEMPLATE_INCOMPLETE));
        assert_eq!(c.derive(&both, ikm, &[u(CKA_VALUE_LEN, 0)]), Err(CKR_KEY_SIZE_RANGE));
        assert_eq!(c.derive(&data, ikm, &[u(CKA_VALUE_LEN, 255 * 32 + 1)]), Err(CKR_KEY_SIZE_RANGE));
        assert_eq!(c.get(c.derive(&data, ikm, &[u(CKA_VALUE_LEN, 255 * 32)]).unwrap(), CKA_VALUE).unwrap().len(), 8160);
        assert_eq!(c.derive(&extract, ikm, &[u(CKA_VALUE_LEN, 31)]), Err(CKR_KEY_SIZE_RANGE));
        let neither = hkdf(CKM_HKDF_DERIVE, [false, false], None, b"");
        assert_eq!(c.derive(&neither, ikm, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
        for (hash, salt_kind) in [(CKM_SHA256_HMAC, 1), (CKM_SHA256, 0), (CKM_SHA256, 3), (0xC14C_4910, 1)] {
            let wrong = Mech::hkdf_with(CKM_HKDF_DERIVE, [true, true], hash, salt_kind, b"", 0, b"");
            assert_eq!(c.derive(&wrong, ikm, &secret), Err(CKR_MECHANISM_PARAM_INVALID), "{hash:x} {salt_kind}");
        }
        // A flag that is neither false nor true.
        let mut odd = both.clone();
        odd.parameter[0] = 2;
        assert_eq!(c.derive(&odd, ikm, &secret), Err(CKR_MECHANISM_PARAM_INVALID));
        assert_eq!(c.derive(&both, c.aes(32, &[b(CKA_DERIVE, true)]), &secret), Err(CKR_KEY_TYPE_INCONSISTENT));
        let idle = c.secret(kind, &[0x0b; 22]);
        assert_eq!(c.derive(&both, idle, &secret), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    // A key for it, and one of the KMS.
    let made = c.generate(CKM_HKDF_KEY_GEN, &[u(CKA_VALUE_LEN, 32)]).unwrap();
    assert_eq!(number(&c.get(made, CKA_KEY_TYPE).unwrap()), CKK_HKDF);
    c.derive(&both, made, &secret).unwrap();
    assert_eq!(c.sign_init(CKM_SHA256_HMAC, made), Err(CKR_KEY_TYPE_INCONSISTENT));
    let stored = [b(CKA_TOKEN, true), b(CKA_DERIVE, true), u(CKA_VALUE_LEN, 32)];
    let key = c.generate(CKM_GENERIC_SECRET_KEY_GEN, &stored).unwrap();
    let copy = c.another();
    assert_eq!(value(&c, c.derive(&both, key, &open(&secret))), value(&c, copy.derive(&both, key, &open(&secret))));
    assert_eq!(c.generate(CKM_HKDF_KEY_GEN, &stored), Err(CKR_TEMPLATE_INCONSISTENT));
}

/// What the same key encrypts the data to, cut behind.
fn encrypting(level: &str) {
    let home = Installation::at(level);
    let c = home.client();
    let uses = [b(CKA_DERIVE, true), b(CKA_TOKEN, true)];
    let key = c.aes(32, &uses);
    let data: Vec<u8> = (0..64).collect();
    for (kind, mode) in [
        (CKM_AES_ECB_ENCRYPT_DATA, Mech::new(CKM_AES_ECB)),
        (CKM_AES_CBC_ENCRYPT_DATA, Mech::with(CKM_AES_CBC, [7; 16])),
    ] {
        let with = |data: &[u8]| match kind {
            CKM_AES_ECB_ENCRYPT_DATA => Mech::ecb_data(kind, data),
            _ => Mech::cbc_data(kind, [7; 16], data),
        };
        let whole = c.encrypt(mode.clone(), key, &data).unwrap();
        assert_eq!(value(&c, c.derive(&with(&data), key, &open(&[]))), whole, "{level}");
        let aes = [u(CKA_KEY_TYPE, CKK_AES), u(CKA_VALUE_LEN, 24)];
        assert_eq!(value(&c, c.derive(&with(&data), key, &open(&aes))), whole[..24]);
        let sm4 = c.derive(&with(&data), key, &open(&[u(CKA_KEY_TYPE, 0xC14C_4901)]));
        assert_eq!(value(&c, sm4), whole[..16]);
        assert_eq!(c.derive(&with(&data), key, &aes[..1]), Err(CKR_TEMPLATE_INCOMPLETE));
        assert_eq!(c.derive(&with(&data[..16]), key, &aes), Err(CKR_DATA_LEN_RANGE));
        for wrong in [&data[..0], &data[..15], &data[..63]] {
            assert_eq!(c.derive(&with(wrong), key, &[]), Err(CKR_MECHANISM_PARAM_INVALID));
        }
        let stored = [b(CKA_TOKEN, true)];
        assert_eq!(c.derive(&with(&data), key, &stored), Err(CKR_TEMPLATE_INCONSISTENT));
    }
    let idle = c.aes(32, &[b(CKA_TOKEN, true)]);
    let mechanism = Mech::ecb_data(CKM_AES_ECB_ENCRYPT_DATA, &data);
    assert_eq!(c.derive(&mechanism, idle, &[]), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    // A key of the API keeps to its blobs.
    home.create_key("env", &["--KeySpec=Aliyun_AES_256"]);
    let envelope = c.one(CKO_SECRET_KEY, "env");
    let _ = c.set(envelope, &[b(CKA_DERIVE, true)]);
    let refused = c.derive(&mechanism, envelope, &[]);
    assert!(matches!(refused, Err(CKR_KEY_FUNCTION_NOT_PERMITTED | CKR_MECHANISM_INVALID)), "{refused:?}");
}

#[test]
fn by_encrypting_data() {
    encrypting("SOFTWARE");
}

#[test]
fn by_encrypting_data_in_a_device() {
    encrypting("HSM");
}

/// Structures with places that are none, lengths that are absurd, and too little or too much of them.
#[test]
fn parameters_that_lead_nowhere() {
    let home = Installation::software();
    let c = home.client();
    let generic = base(&c, CKK_GENERIC_SECRET, &[1; 32]);
    let aes = c.aes(16, &[b(CKA_DERIVE, true)]);
    let (_, edwards) =
        c.generate_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, crate::support::ED25519)], &[]).unwrap();
    // Which word is a place, and which its length.
    let cases = [
        (Mech::hkdf(CKM_HKDF_DERIVE, true, true, CKM_SHA256, Some(b"salt"), b"info"), generic, vec![(3, 4), (6, 7)]),
        (Mech::ecb_data(CKM_AES_ECB_ENCRYPT_DATA, &[2; 16]), aes, vec![(0, 1)]),
        (Mech::cbc_data(CKM_AES_CBC_ENCRYPT_DATA, [0; 16], &[2; 16]), aes, vec![(2, 3)]),
        (Mech::eddsa(false, b"context"), edwards, vec![(2, 1)]),
    ];
    for (good, key, places) in cases {
        let try_it = |mechanism: &Mech| match mechanism.kind {
            CKM_EDDSA => c.sign(mechanism.clone(), key, b"x").map(|_| ()),
            _ => c.derive(mechanism, key, &[u(CKA_VALUE_LEN, 16)]).map(|_| ()),
        };
        try_it(&good).unwrap();
        let with = |word: usize, value: u64| {
            let mut changed = good.clone();
            changed.parameter[8 * word..8 * word + 8].copy_from_slice(&value.to_ne_bytes());
            changed
        };
        for (place, length) in places {
            assert_eq!(try_it(&with(place, 0)), Err(CKR_MECHANISM_PARAM_INVALID), "{:#x}", good.kind);
            for absurd in [1 << 30, u64::from(u32::MAX), u64::MAX, u64::MAX - 15] {
                assert_eq!(try_it(&with(length, absurd)), Err(CKR_MECHANISM_PARAM_INVALID), "{:#x}", good.kind);
            }
        }
        for len in [1, 8, good.parameter.len() - 1, good.parameter.len() + 1] {
            let mut changed = good.clone();
            changed.parameter.resize(len, 0);
            assert_eq!(try_it(&changed), Err(CKR_MECHANISM_PARAM_INVALID), "{:#x} {len}", good.kind);
        }
    }
}
