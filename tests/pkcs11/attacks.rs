//! The published attacks on PKCS#11 by sequences of legal calls, each as it was published, and that none of them gets a key:
//! Clulow, "On the Security of PKCS#11" (CHES 2003); Delaune, Kremer, Steel (2008); Bortolozzo, Centenaro, Focardi, Steel,
//! "Attacking and Fixing PKCS#11 Security Tokens" (CCS 2010), whose Tookan names them a1 to a5; Bardou and others,
//! "Efficient Padding Oracle Attacks on Cryptographic Hardware" (Crypto 2012). Whoever attacks is logged in.

use std::collections::BTreeSet;

use cryptoki_sys::*;

use crate::support::{Attr, Client, Installation, Mech, WRAPS_ONLY, b, nested, raw, u, v};

/// The key that is attacked: sensitive and extractable, made here. Nobody but this process knows its value.
fn victim(c: &Client, bytes: CK_ULONG) -> CK_OBJECT_HANDLE {
    c.aes(bytes, &[b(CKA_SENSITIVE, true), b(CKA_EXTRACTABLE, true)])
}

fn secret(key_type: CK_KEY_TYPE) -> Vec<Attr> {
    vec![u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, key_type)]
}

/// A key that may wrap sensitive keys.
fn guardian(c: &Client, token: bool, more: &[Attr]) -> CK_OBJECT_HANDLE {
    let own = [
        u(CKA_VALUE_LEN, 32),
        b(CKA_TOKEN, token),
        b(CKA_SENSITIVE, true),
        b(CKA_EXTRACTABLE, false),
        b(CKA_WRAP, true),
        b(CKA_UNWRAP, true),
    ];
    c.generate(CKM_AES_KEY_GEN, &[&own, more].concat()).unwrap()
}

/// Every mechanism that wraps with AES.
fn mechanisms() -> Vec<Mech> {
    vec![
        Mech::new(CKM_AES_KEY_WRAP),
        Mech::new(CKM_AES_KEY_WRAP_PAD),
        Mech::new(CKM_AES_KEY_WRAP_KWP),
        Mech::with(CKM_AES_CBC, [0; 16]),
        Mech::with(CKM_AES_CBC_PAD, [0; 16]),
        Mech::gcm(&[0; 12], b"", 128),
        Mech::gcm_wrap(&[0; 12], 0, CKG_GENERATE_RANDOM, b""),
    ]
}

/// The way that is allowed: into a key that only wraps and out again, sensitive all the way.
#[test]
fn what_is_allowed() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let (kek, key) = (guardian(&c, token, &[]), victim(&c, 32));
        assert!(c.is(kek, WRAPS_ONLY) && c.get(key, WRAPS_ONLY).is_err());
        for mechanism in [CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_AES_KEY_WRAP_KWP] {
            let wrapped = c.wrap(mechanism, kek, key).unwrap();
            let again = c.unwrap(mechanism, kek, &wrapped, &secret(CKK_AES)).unwrap();
            assert!(c.is(again, CKA_SENSITIVE));
            assert_eq!(c.encrypt(CKM_AES_ECB, again, &[1; 16]), c.encrypt(CKM_AES_ECB, key, &[1; 16]));
        }
        let gcm = Mech::gcm_wrap(&[0; 12], 0, CKG_GENERATE, b"");
        let wrapped = c.wrap(gcm.clone(), kek, key).unwrap();
        c.unwrap(Mech::gcm(&gcm.held(0), b"", 128), kek, &wrapped, &secret(CKK_AES)).unwrap();
    }
}

/// Tookan a1 (Clulow's wrap and decrypt): one key that wraps and decrypts. Also with the uses given one after the other, by
/// a copy that has the other use, and by a decryption that was begun before the use was given up.
#[test]
fn a1_wrap_and_decrypt() {
    let installation = Installation::software();
    let c = installation.client();
    let key = victim(&c, 32);
    for token in [false, true] {
        for extra in [CKA_DECRYPT, CKA_ENCRYPT, CKA_SIGN, CKA_DERIVE] {
            let kek = guardian(&c, token, &[b(extra, true)]);
            for mechanism in mechanisms() {
                assert_eq!(c.wrap(mechanism, kek, key), Err(CKR_KEY_NOT_WRAPPABLE), "{extra:#x}");
            }
            // Given up, it has been able to: a copy or an operation may have been kept.
            if extra == CKA_DECRYPT {
                c.decrypt_init(Mech::with(CKM_AES_CBC, [0; 16]), kek).unwrap();
            }
            c.set(kek, &[b(extra, false)]).unwrap();
            assert_eq!(c.wrap(CKM_AES_KEY_WRAP, kek, key), Err(CKR_KEY_NOT_WRAPPABLE), "{extra:#x}");
            crate::call!(c.m, C_SessionCancel(c.h, CKF_DECRYPT));
        }
        // The other way round: a key that only wraps never gains anything, nor does its copy.
        let kek = guardian(&c, token, &[]);
        c.wrap(CKM_AES_KEY_WRAP, kek, key).unwrap();
        for use_ in [CKA_DECRYPT, CKA_ENCRYPT, CKA_SIGN, CKA_VERIFY, CKA_DERIVE] {
            assert_eq!(c.set(kek, &[b(use_, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
            assert!(c.copy(kek, &[b(use_, true)]).is_err());
        }
        assert_eq!(c.decrypt_init(Mech::with(CKM_AES_CBC, [0; 16]), kek), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        assert_eq!(c.encrypt_init(CKM_AES_ECB, kek), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    let copy = c.copy(guardian(&c, false, &[]), &[]).unwrap();
    assert_eq!(c.set(copy, &[b(CKA_DECRYPT, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    // RSA, the same: whoever wraps for a pair whose private half decrypts.
    let (public, _) = c.rsa_pair(2048, &[b(CKA_WRAP, true)], &[b(CKA_DECRYPT, true), b(CKA_UNWRAP, true)]).unwrap();
    for mechanism in [Mech::new(CKM_RSA_PKCS), Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"")] {
        assert_eq!(c.wrap(mechanism, public, key), Err(CKR_KEY_NOT_WRAPPABLE));
    }
}

/// Tookan a2 and a3: a known key is encrypted and unwrapped, or simply imported, and then wraps.
#[test]
fn a2_a3_a_known_key_wraps() {
    let installation = Installation::software();
    let c = installation.client();
    let key = victim(&c, 32);
    let more = [b(CKA_WRAP, true), b(CKA_UNWRAP, true), b(CKA_SENSITIVE, true), b(CKA_EXTRACTABLE, false)];
    for token in [false, true] {
        let place = [b(CKA_TOKEN, token)];
        let only = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY].map(|kind| b(kind, false));
        let imported =
            c.create(&[&secret(CKK_AES)[..], &[v(CKA_VALUE, [7; 32])], &more, &place, &only].concat()).unwrap();
        let kek = c.aes(32, &[b(CKA_UNWRAP, true), place[0].clone()]);
        let known = c.encrypt(CKM_AES_KEY_WRAP, kek, &[7; 32]).unwrap();
        let template = [&secret(CKK_AES)[..], &more, &place, &only].concat();
        let unwrapped = c.unwrap(CKM_AES_KEY_WRAP, kek, &known, &template).unwrap();
        for known in [imported, unwrapped] {
            assert!(c.get(known, WRAPS_ONLY).is_err());
            assert!(
                !c.is(known, CKA_LOCAL) && !c.is(known, CKA_ALWAYS_SENSITIVE) && !c.is(known, CKA_NEVER_EXTRACTABLE)
            );
            for mechanism in mechanisms() {
                assert_eq!(c.wrap(mechanism, known, key), Err(CKR_KEY_NOT_WRAPPABLE));
            }
            assert!(c.set(known, &[b(CKA_TRUSTED, true)]).is_err());
            assert!(c.set(known, &[b(CKA_ALWAYS_SENSITIVE, true)]).is_err());
            assert!(c.set(known, &[b(WRAPS_ONLY, true)]).is_err());
        }
    }
    // A public key whose private half the attacker has (Clulow's trojan public key).
    let (public, _) = c.rsa_pair(2048, &[], &[]).unwrap();
    let template = [
        u(CKA_CLASS, CKO_PUBLIC_KEY),
        u(CKA_KEY_TYPE, CKK_RSA),
        v(CKA_MODULUS, c.get(public, CKA_MODULUS).unwrap()),
        v(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
        b(CKA_WRAP, true),
    ];
    let trojan = c.create(&template).unwrap();
    assert_eq!(c.wrap(Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b""), trojan, key), Err(CKR_KEY_NOT_WRAPPABLE));
    assert_eq!(c.create(&[&template[..], &[b(CKA_TRUSTED, true)]].concat()), Err(CKR_ATTRIBUTE_READ_ONLY));
}

/// Tookan a4: re-import by unwrapping with looser attributes; also by conflicting uses, and another type.
#[test]
fn a4_unwrapped_again_with_other_attributes() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let (kek, key) = (guardian(&c, token, &[]), victim(&c, 32));
        let wrapped = c.wrap(CKM_AES_KEY_WRAP_KWP, kek, key).unwrap();
        let unwrap = |template: &[Attr]| c.unwrap(CKM_AES_KEY_WRAP_KWP, kek, &wrapped, template);
        let loose = [secret(CKK_AES), vec![b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)]].concat();
        assert_eq!(unwrap(&loose), Err(CKR_TEMPLATE_INCONSISTENT));
        let twice = [secret(CKK_AES), vec![b(CKA_SENSITIVE, true), b(CKA_SENSITIVE, false)]].concat();
        assert_eq!(unwrap(&twice), Err(CKR_TEMPLATE_INCONSISTENT));
        // Whatever type it is given and whatever it may then do: nobody reads it, and it wraps nobody else.
        for key_type in [CKK_AES, CKK_GENERIC_SECRET] {
            let every = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE];
            let uses: Vec<Attr> = every.map(|kind| b(kind, true)).to_vec();
            let again = unwrap(&[secret(key_type), uses].concat()).unwrap();
            assert_eq!(c.get(again, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
            assert!(c.wrap(CKM_AES_KEY_WRAP, again, victim(&c, 32)).is_err());
            assert!(c.set(again, &[b(CKA_SENSITIVE, false)]).is_err());
            assert_eq!(c.copy(again, &[b(CKA_SENSITIVE, false)]), Err(CKR_ATTRIBUTE_READ_ONLY));
            c.digest_init(CKM_SHA256).unwrap();
            assert_eq!(crate::call!(c.m, C_DigestKey(c.h, again)), CKR_KEY_INDIGESTIBLE);
            crate::call!(c.m, C_SessionCancel(c.h, CKF_DIGEST));
        }
        // No shorter key is cut out of it, whose value could be tried out.
        for length in [1, 8, 16, 31, 33] {
            let short = [secret(CKK_GENERIC_SECRET), vec![u(CKA_VALUE_LEN, length)]].concat();
            assert_eq!(unwrap(&short), Err(CKR_WRAPPED_KEY_INVALID), "{length}");
        }
    }
}

/// Tookan a5 and Clulow: attributes of the victim itself, downgraded by whatever makes or changes objects.
#[test]
fn a5_attributes_only_tighten() {
    let installation = Installation::software();
    let c = installation.client();
    let key = victim(&c, 32);
    for attr in [b(CKA_SENSITIVE, false), v(CKA_SENSITIVE, [2]), v(CKA_SENSITIVE, []), v(CKA_SENSITIVE, [0; 8])] {
        assert!(c.set(key, std::slice::from_ref(&attr)).is_err());
        assert!(c.copy(key, &[attr]).is_err());
    }
    assert!(c.set(key, &[b(CKA_SENSITIVE, true), b(CKA_SENSITIVE, false)]).is_err());
    assert!(c.set(key, &[u(CKA_KEY_TYPE, CKK_GENERIC_SECRET)]).is_err());
    assert!(c.set(key, &[u(CKA_CLASS, CKO_DATA)]).is_err());
    assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    c.set(key, &[b(CKA_EXTRACTABLE, false)]).unwrap();
    assert_eq!(c.set(key, &[b(CKA_EXTRACTABLE, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert!(c.copy(key, &[b(CKA_EXTRACTABLE, true)]).is_err());
    assert_eq!(c.wrap(CKM_AES_KEY_WRAP, guardian(&c, false, &[]), key), Err(CKR_KEY_UNEXTRACTABLE));
    // WRAP_WITH_TRUSTED, once on, stays on and holds.
    let key = c.aes(32, &[b(CKA_EXTRACTABLE, true), b(CKA_WRAP_WITH_TRUSTED, true)]);
    assert_eq!(c.set(key, &[b(CKA_WRAP_WITH_TRUSTED, false)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert!(c.copy(key, &[b(CKA_WRAP_WITH_TRUSTED, false)]).is_err());
    assert_eq!(c.wrap(CKM_AES_KEY_WRAP, guardian(&c, false, &[]), key), Err(CKR_KEY_NOT_WRAPPABLE));
}

/// Clulow: wrapping with a weaker key, whose value could be found.
#[test]
fn weaker_wrapping_keys() {
    let installation = Installation::software();
    let c = installation.client();
    let weak = c
        .generate(
            CKM_AES_KEY_GEN,
            &[u(CKA_VALUE_LEN, 16), b(CKA_SENSITIVE, true), b(CKA_EXTRACTABLE, false), b(CKA_WRAP, true)],
        )
        .unwrap();
    assert!(c.is(weak, WRAPS_ONLY));
    assert_eq!(c.wrap(CKM_AES_KEY_WRAP, weak, victim(&c, 32)), Err(CKR_WRAPPING_KEY_SIZE_RANGE));
    c.wrap(CKM_AES_KEY_WRAP, weak, victim(&c, 16)).unwrap();
}

/// Clulow: ECB wraps halves of a key one by one; and mechanisms that can be taken for one another: what one made is fed to
/// another, as a decryption oracle for the key that wraps.
#[test]
fn half_keys_and_confused_mechanisms() {
    let installation = Installation::software();
    let c = installation.client();
    for token in [false, true] {
        let (kek, key) = (guardian(&c, token, &[]), victim(&c, 32));
        assert_eq!(c.wrap(CKM_AES_ECB, kek, key), Err(CKR_MECHANISM_INVALID));
        assert_eq!(c.unwrap(CKM_AES_ECB, kek, &[0; 32], &secret(CKK_AES)), Err(CKR_MECHANISM_INVALID));
        assert_eq!(c.wrap(Mech::ctr([0; 16], 128), kek, key), Err(CKR_MECHANISM_INVALID));
        // CBC exchanges and cuts blocks, GCM with the attacker's IV encrypts twice with one stream: not with this key, be the
        // other key as open as it may.
        let open = c.secret(CKK_AES, &[1; 32]);
        for mechanism in
            [Mech::with(CKM_AES_CBC, [0; 16]), Mech::with(CKM_AES_CBC_PAD, [0; 16]), Mech::gcm(&[0; 12], b"", 128)]
        {
            for key in [key, open] {
                assert_eq!(c.wrap(mechanism.clone(), kek, key), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
            }
            if mechanism.kind != CKM_AES_GCM {
                let unwrapped = c.unwrap(mechanism, kek, &[0; 32], &secret(CKK_AES));
                assert_eq!(unwrapped, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
            }
        }
        assert!(c.wrap(Mech::gcm_wrap(&[0; 12], 0, CKG_NO_GENERATE, b""), kek, open).is_err());
        // Made by one, read by another.
        let wrapped = c.wrap(CKM_AES_KEY_WRAP, kek, key).unwrap();
        let read = c.unwrap(CKM_AES_KEY_WRAP_KWP, kek, &wrapped, &secret(CKK_GENERIC_SECRET));
        assert_eq!(read, Err(CKR_WRAPPED_KEY_INVALID));
        let read = c.unwrap(Mech::gcm(&wrapped[..12], b"", 128), kek, &wrapped[12..], &secret(CKK_AES));
        assert_eq!(read, Err(CKR_WRAPPED_KEY_INVALID));
        for iv in [[0xa6; 8], [0x5a; 8]] {
            let parts = &wrapped[8..40];
            assert!(c.unwrap(Mech::with(CKM_AES_KEY_WRAP, iv), kek, parts, &secret(CKK_AES)).is_err());
        }
        // The IVs that the token makes never come twice.
        let mut ivs = BTreeSet::new();
        for _ in 0..100 {
            let gcm = Mech::gcm_wrap(&[0; 12], 0, CKG_GENERATE, b"");
            c.wrap(gcm.clone(), kek, open).unwrap();
            assert!(ivs.insert(gcm.held(0)));
        }
    }
}

/// CBC without authentication cuts and shifts keys: a piece of a wrapped key does not become a short key of its own.
#[test]
fn no_key_is_cut_out_of_another() {
    let installation = Installation::software();
    let c = installation.client();
    let kek = c.aes(32, &[b(CKA_WRAP, true), b(CKA_UNWRAP, true)]);
    let cbc = Mech::with(CKM_AES_CBC, [0; 16]);
    assert_eq!(c.wrap(cbc.clone(), kek, victim(&c, 32)), Err(CKR_KEY_NOT_WRAPPABLE));
    let wrapped = c.wrap(cbc.clone(), kek, c.secret(CKK_AES, &[1; 32])).unwrap();
    for (cut, length) in [(32, 1), (32, 16), (16, 32), (32, 33)] {
        let short = [secret(CKK_GENERIC_SECRET), vec![u(CKA_VALUE_LEN, length)]].concat();
        assert_eq!(c.unwrap(cbc.clone(), kek, &wrapped[..cut], &short), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    }
}

/// Bleichenbacher and Manger through C_UnwrapKey: nothing tells a good padding from a bad one.
#[test]
fn padding_oracles_of_rsa() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.rsa_pair(2048, &[b(CKA_WRAP, true)], &[b(CKA_UNWRAP, true)]).unwrap();
    let key = c.secret(CKK_AES, &[1; 16]);
    let good = c.wrap(CKM_RSA_PKCS, public, key).unwrap();
    let template = [secret(CKK_AES), vec![u(CKA_VALUE_LEN, 16)]].concat();
    let value = |wrapped: &[u8], template: &[Attr]| {
        c.unwrap(CKM_RSA_PKCS, private, wrapped, template).map(|key| c.get(key, CKA_VALUE).unwrap())
    };
    assert_eq!(value(&good, &template).unwrap(), [1; 16]);
    let mut seen = BTreeSet::new();
    for number in 1..=40u8 {
        // Textbook multiples of the block are no longer padded, but for one in tens of thousands.
        let mut bad = good.clone();
        bad[200] ^= number;
        let made_up = value(&bad, &template).expect("no error, whatever the padding is");
        assert_eq!(made_up.len(), 16);
        assert_eq!(value(&bad, &template).unwrap(), made_up, "asked again");
        assert!(seen.insert(made_up));
        // A template without a length is answered as well, by some length that could have been.
        assert!([16, 24, 32].contains(&value(&bad, &secret(CKK_AES)).unwrap().len()));
    }
    // A message of another length than the template says is no error either.
    let long = [secret(CKK_AES), vec![u(CKA_VALUE_LEN, 32)]].concat();
    assert_eq!(value(&good, &long).unwrap().len(), 32);
    for wrong in [&good[..255], &[], &[0xff; 257]] {
        assert_eq!(value(wrong, &template), Err(CKR_WRAPPED_KEY_LEN_RANGE));
    }
    // OAEP: one code for every cause.
    let oaep = Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"");
    let good = c.wrap(oaep.clone(), public, key).unwrap();
    for number in 1..=40u8 {
        let mut bad = good.clone();
        bad[usize::from(number)] ^= number;
        assert_eq!(c.unwrap(oaep.clone(), private, &bad, &template), Err(CKR_WRAPPED_KEY_INVALID));
    }
    let other = Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"another label");
    assert_eq!(c.unwrap(other, private, &good, &template), Err(CKR_WRAPPED_KEY_INVALID));
    let short = [secret(CKK_AES), vec![u(CKA_VALUE_LEN, 32)]].concat();
    assert_eq!(c.unwrap(oaep, private, &good, &short), Err(CKR_WRAPPED_KEY_INVALID));
}

/// Vaudenay through C_UnwrapKey with CBC_PAD: every last byte is answered by a key.
#[test]
fn padding_oracle_of_cbc() {
    let installation = Installation::software();
    let c = installation.client();
    let kek = c.aes(32, &[b(CKA_WRAP, true), b(CKA_UNWRAP, true)]);
    let wrapped = c.wrap(Mech::with(CKM_AES_CBC_PAD, [0; 16]), kek, c.secret(CKK_AES, &[1; 16])).unwrap();
    for (key_type, length) in [(CKK_AES, Some(16)), (CKK_GENERIC_SECRET, Some(20)), (CKK_AES, None)] {
        let template = [secret(key_type), length.map(|length| u(CKA_VALUE_LEN, length)).into_iter().collect()].concat();
        let mut answers = BTreeSet::new();
        for last in 0..=255u8 {
            let mut changed = wrapped.clone();
            changed[15] = last;
            let key = c.unwrap(Mech::with(CKM_AES_CBC_PAD, [0; 16]), kek, &changed, &template);
            answers.insert((key.is_ok(), c.get(key.unwrap(), CKA_VALUE_LEN).unwrap()));
        }
        // Of keys without a length, 16 bytes of padding are told from none: that is 16 bytes to guess, not one.
        assert!(answers.len() <= if length.is_some() { 1 } else { 2 }, "{answers:?}");
    }
    let any = c.unwrap(Mech::with(CKM_AES_CBC_PAD, [0; 16]), kek, &wrapped, &secret(CKK_GENERIC_SECRET));
    assert_eq!(any, Err(CKR_TEMPLATE_INCOMPLETE), "of any length, it would tell the padding byte by byte");
}

/// The security officer trusts a public key; only then does it wrap sensitive keys, and only if its private half is nowhere
/// or was made to unwrap and do nothing else.
#[test]
fn what_the_officer_trusts() {
    let installation = Installation::software();
    let c = installation.client();
    let place = [b(CKA_TOKEN, true), b(CKA_WRAP, true)];
    let pair = |uses: &[Attr]| c.rsa_pair(2048, &place, &[&[b(CKA_TOKEN, true)], uses].concat()).unwrap();
    let (decrypts, _) = pair(&[b(CKA_UNWRAP, true), b(CKA_DECRYPT, true)]);
    let (unwraps, private) = pair(&[b(CKA_UNWRAP, true), b(CKA_SIGN, false)]);
    assert!(c.is(unwraps, WRAPS_ONLY) && c.is(private, WRAPS_ONLY) && c.get(decrypts, WRAPS_ONLY).is_err());
    assert_eq!(c.set(unwraps, &[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    c.logout();
    c.login_so();
    for key in [decrypts, unwraps] {
        assert_eq!(c.set(key, &[b(CKA_LABEL, true)]), Err(CKR_USER_NOT_LOGGED_IN));
        assert!(c.set(key, &[b(CKA_TRUSTED, true), b(CKA_ENCRYPT, true)]).is_err());
        c.set(key, &[b(CKA_TRUSTED, true)]).unwrap();
    }
    c.logout();
    c.login();
    let oaep = Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"");
    let key = c.aes(32, &[b(CKA_SENSITIVE, true), b(CKA_EXTRACTABLE, true), b(CKA_WRAP_WITH_TRUSTED, true)]);
    assert_eq!(c.wrap(oaep.clone(), decrypts, key), Err(CKR_KEY_NOT_WRAPPABLE));
    assert!(c.wrap(CKM_RSA_PKCS, unwraps, key).is_err(), "a padding that can be asked about");
    for mechanism in [oaep.clone(), Mech::rsa_aes(256, &oaep)] {
        let wrapped = c.wrap(mechanism.clone(), unwraps, key).unwrap();
        let again = c.unwrap(mechanism.clone(), private, &wrapped, &secret(CKK_AES)).unwrap();
        assert!(c.is(again, CKA_SENSITIVE));
        assert_eq!(c.encrypt(CKM_AES_ECB, again, &[1; 16]), c.encrypt(CKM_AES_ECB, key, &[1; 16]));
        let loose = [secret(CKK_AES), vec![b(CKA_SENSITIVE, false)]].concat();
        assert_eq!(c.unwrap(mechanism, private, &wrapped, &loose), Err(CKR_TEMPLATE_INCONSISTENT));
    }
    // Trust may be taken back by the user, not given.
    c.set(unwraps, &[b(CKA_TRUSTED, false)]).unwrap();
    assert_eq!(c.wrap(oaep, unwraps, key), Err(CKR_KEY_NOT_WRAPPABLE));
    assert_eq!(c.set(unwraps, &[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
}

/// A template that a key carries cannot be worked around by saying nothing, nor by a copy without it.
#[test]
fn templates_hold_in_copies() {
    let installation = Installation::software();
    let c = installation.client();
    let demands = raw(&[]);
    let sensitive = [b(CKA_SENSITIVE, true)];
    let list = raw(&sensitive);
    let kek = c.aes(32, &[b(CKA_WRAP, true), b(CKA_UNWRAP, true), nested(CKA_UNWRAP_TEMPLATE, &list)]);
    assert!(c.copy(kek, &[nested(CKA_UNWRAP_TEMPLATE, &demands)]).is_err());
    let copy = c.copy(kek, &[]).unwrap();
    let wrapped = c.wrap(CKM_AES_KEY_WRAP, copy, c.secret(CKK_AES, &[1; 32])).unwrap();
    let key = c.unwrap(CKM_AES_KEY_WRAP, copy, &wrapped, &secret(CKK_AES)).unwrap();
    assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
}
