//! At the C door: every mechanism, both ways with OpenSSL, and what is refused.

use cryptoki_sys::*;

use crate::support::{Attr, Client, Installation, Mech, P256, b, number, two_calls, u, unhex, v};
use crate::*;

/// CK_ALIKMS_SM2_PARAMS. Leaks the ID: this is a test.
fn with_id(kind: CK_MECHANISM_TYPE, id: &[u8]) -> Mech {
    let id: &'static [u8] = Box::leak(id.to_vec().into_boxed_slice());
    Mech::with(kind, [(id.as_ptr() as u64).to_ne_bytes(), (id.len() as u64).to_ne_bytes()].concat())
}

/// C_Encrypt or C_Sign where the announced size is only the most that it can be.
pub fn at_most(c: &Client, init: Result<(), CK_RV>, data: &[u8], encrypt: bool) -> Result<Vec<u8>, CK_RV> {
    init?;
    let (start, len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    match encrypt {
        true => two_calls(false, |out, size| call!(c.m, C_Encrypt(c.h, start, len, out, size))),
        false => two_calls(false, |out, size| call!(c.m, C_Sign(c.h, start, len, out, size))),
    }
}

/// A session pair that may do everything: (public, private).
fn pair(c: &Client) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let on = |kinds: [CK_ATTRIBUTE_TYPE; 2]| kinds.map(|kind| b(kind, true));
    c.generate_pair(SM2_PAIR_GEN, &on([CKA_VERIFY, CKA_ENCRYPT]), &on([CKA_SIGN, CKA_DECRYPT])).unwrap()
}

fn point(c: &Client, public: CK_OBJECT_HANDLE) -> Vec<u8> {
    c.get(public, CKA_EC_POINT).unwrap()[2..].to_vec()
}

/// The public key as a file that openssl reads.
fn public_file(home: &Installation, c: &Client, public: CK_OBJECT_HANDLE, name: &str) {
    file(home, "spki.der", c.get(public, CKA_PUBLIC_KEY_INFO).unwrap());
    ssl(home, &format!("pkey -pubin -inform DER -in spki.der -pubout -out {name}"));
}

#[test]
fn signatures_in_every_form() {
    let home = Installation::software();
    let c = home.client();
    let (public, private) = pair(&c);
    public_file(&home, &c, public, "key.pub");
    file(&home, "message", MESSAGE);
    for (mechanism, id) in [
        (Mech::new(SM2_SM3_DER), DISTID.to_owned()),
        (with_id(SM2_SM3_DER, b"1234567812345678"), DISTID.to_owned()),
        (with_id(SM2_SM3_DER, b"TLSv1.3+GM+Cipher+Suite"), "distid:TLSv1.3+GM+Cipher+Suite".to_owned()),
        // One byte less than the longest: that openssl refuses.
        (with_id(SM2_SM3_DER, &[b'a'; 8190]), format!("distid:{}", "a".repeat(8190))),
    ] {
        let signature = at_most(&c, c.sign_init(mechanism.clone(), private), MESSAGE, false).unwrap();
        file(&home, "signature", &signature);
        ssl(&home, &format!("dgst -sm3 -verify key.pub -sigopt {id} -signature signature message"));
        c.verify(mechanism.clone(), public, MESSAGE, &signature).unwrap();
        assert_eq!(c.verify(mechanism.clone(), public, b"other", &signature), Err(CKR_SIGNATURE_INVALID));
        assert_eq!(c.verify(with_id(SM2_SM3_DER, b"x"), public, MESSAGE, &signature), Err(CKR_SIGNATURE_INVALID));
        for len in [0, 1, 9, signature.len() - 1] {
            let answer = c.verify(mechanism.clone(), public, MESSAGE, &signature[..len]);
            assert!(matches!(answer, Err(CKR_SIGNATURE_INVALID | CKR_SIGNATURE_LEN_RANGE)), "{answer:?}");
        }
        // In parts.
        c.sign_init(mechanism.clone(), private).unwrap();
        MESSAGE.chunks(5).for_each(|part| c.sign_update(part).unwrap());
        let signature = two_calls(false, |out, len| call!(c.m, C_SignFinal(c.h, out, len))).unwrap();
        c.verify_init(mechanism, public).unwrap();
        MESSAGE.chunks(3).for_each(|part| c.verify_update(part).unwrap());
        c.verify_final(&signature).unwrap();
    }
    // The message, or e = SM3(Z_A ‖ M), with r ‖ s: the same signature.
    let raw = c.sign(SM2_SM3, private, MESSAGE).unwrap();
    assert_eq!(raw.len(), 64);
    c.verify(SM2_SM3, public, MESSAGE, &raw).unwrap();
    let identity = alikms_pkcs11::crypto::sm2::identity(&point(&c, public), b"1234567812345678").unwrap();
    let e = c.digest(SM3, &[&identity, MESSAGE].concat()).unwrap();
    c.verify(SM2, public, &e, &raw).unwrap();
    let own = c.sign(SM2, private, &e).unwrap();
    c.verify(SM2_SM3, public, MESSAGE, &own).unwrap();
    let der = at_most(&c, c.sign_init(SM2_DER, private), &e, false).unwrap();
    c.verify(SM2_SM3_DER, public, MESSAGE, &der).unwrap();
    assert_eq!(c.sign(with_id(SM2_SM3, &[0; 8191]), private, MESSAGE).map(|signature| signature.len()), Ok(64));
    for len in [0, 31, 33] {
        assert_eq!(c.sign(SM2, private, &vec![1; len]), Err(CKR_DATA_LEN_RANGE), "{len}");
    }
    assert_eq!(c.verify(SM2, public, &e, &raw[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
    for wrong in [with_id(SM2_SM3, &[0; 8192]), Mech::with(SM2_SM3, [0; 8]), Mech::with(SM2, [0; 16])] {
        assert_eq!(c.sign_init(wrong, private), Err(CKR_MECHANISM_PARAM_INVALID));
    }
}

#[test]
fn openssl_signs_and_we_verify() {
    let home = Installation::software();
    let (scalar, point) = openssl_pair(&home, "pair");
    let c = home.client();
    file(&home, "message", MESSAGE);
    let signature = ssl(&home, &format!("dgst -sm3 -sign pair.pem -sigopt {DISTID} message"));
    let octets = [&[4, 65][..], &point].concat();
    for form in [&octets, &point] {
        let template = [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, SM2_OID)];
        let public = c.create(&[&template[..], &[v(CKA_EC_POINT, form)]].concat()).unwrap();
        c.verify(SM2_SM3_DER, public, MESSAGE, &signature).unwrap();
    }
    // The private half, as a token key: signs what openssl verifies, decrypts what it encrypts.
    let private = import(&c, &scalar, "both", &[CKA_SIGN, CKA_DECRYPT]);
    let made = at_most(&c, c.sign_init(SM2_SM3_DER, private), MESSAGE, false).unwrap();
    file(&home, "signature", made);
    ssl(&home, &format!("dgst -sm3 -verify pair.pub -sigopt {DISTID} -signature signature message"));
    let sealed = ssl(&home, "pkeyutl -encrypt -pubin -inkey pair.pub -in message");
    assert_eq!(c.decrypt(SM2_ENCRYPT, private, &sealed).unwrap(), MESSAGE);
    let public = c.one(CKO_PUBLIC_KEY, "both");
    let made = at_most(&c, c.encrypt_init(SM2_ENCRYPT, public), MESSAGE, true).unwrap();
    file(&home, "sealed", made);
    assert_eq!(ssl(&home, "pkeyutl -decrypt -inkey pair.pem -in sealed"), MESSAGE);
    // A point that is not on the curve, and scalars out of range.
    let mut off = point.clone();
    off[64] ^= 1;
    let template = [u(CKA_CLASS, CKO_PUBLIC_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, SM2_OID)];
    assert_eq!(c.create(&[&template[..], &[v(CKA_EC_POINT, off)]].concat()), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    let order_less_1 = unhex("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54122");
    for wrong in [vec![0; 32], vec![0xff; 32], order_less_1, vec![1; 33]] {
        let template = [u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, SM2_OID)];
        assert_eq!(c.create(&[&template[..], &[v(CKA_VALUE, wrong)]].concat()), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    }
}

#[test]
fn encryption_in_three_layouts() {
    let home = Installation::software();
    let c = home.client();
    let (public, private) = pair(&c);
    for len in [1, 19, 32, 5000] {
        let plain = vec![0x33; len];
        let der = at_most(&c, c.encrypt_init(SM2_ENCRYPT, public), &plain, true).unwrap();
        let new = c.encrypt(SM2_C1C3C2, public, &plain).unwrap();
        let old = c.encrypt(SM2_C1C2C3, public, &plain).unwrap();
        assert_eq!((new.len(), old.len()), (len + 97, len + 97));
        for (kind, sealed) in [(SM2_ENCRYPT, &der), (SM2_C1C3C2, &new), (SM2_C1C2C3, &old)] {
            assert_eq!(c.decrypt(kind, private, sealed).unwrap(), plain);
        }
        assert_eq!(c.decrypt(SM2_C1C3C2, private, &raw_of(&der)).unwrap(), plain);
        let turned = [&old[..65], &old[old.len() - 32..], &old[65..old.len() - 32]].concat();
        assert_eq!(c.decrypt(SM2_ENCRYPT, private, &der_of(&turned)).unwrap(), plain);
        assert_eq!(c.decrypt(SM2_C1C2C3, private, &new), Err(CKR_ENCRYPTED_DATA_INVALID));
    }
    assert_eq!(c.encrypt(SM2_C1C3C2, public, b""), Err(CKR_DATA_LEN_RANGE));
    for len in [0, 1, 65, 96, 97] {
        assert_eq!(c.decrypt(SM2_C1C3C2, private, &vec![4; len]), Err(CKR_ENCRYPTED_DATA_LEN_RANGE), "{len}");
        assert!(c.decrypt(SM2_ENCRYPT, private, &vec![0x30; len]).is_err());
    }
    // One part only, like RSA.
    c.encrypt_init(SM2_C1C3C2, public).unwrap();
    assert!(c.encrypt_update(b"part").is_err());
}

/// One key, one scheme: SM2 keys do not do ECDSA or ECDH, other keys do not do SM2 (DESIGN §7).
#[test]
fn curves_are_not_mixed() {
    let home = Installation::software();
    let c = home.client();
    let (public, private) = pair(&c);
    let (other_public, other) = c
        .generate_pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &[b(CKA_SIGN, true), b(CKA_DERIVE, true)])
        .unwrap();
    for kind in [CKM_ECDSA, CKM_ECDSA_SHA224, CKM_ECDSA_SHA256, CKM_ECDSA_SHA384, CKM_ECDSA_SHA512] {
        assert_eq!(c.sign_init(kind, private), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(c.verify_init(kind, public), Err(CKR_KEY_TYPE_INCONSISTENT));
    }
    for kind in [SM2, SM2_DER, SM2_SM3, SM2_SM3_DER] {
        assert_eq!(c.sign_init(kind, other), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(c.verify_init(kind, other_public), Err(CKR_KEY_TYPE_INCONSISTENT));
    }
    for kind in [SM2_ENCRYPT, SM2_C1C3C2, SM2_C1C2C3] {
        assert_eq!(c.encrypt_init(kind, other_public), Err(CKR_KEY_TYPE_INCONSISTENT));
        assert_eq!(c.decrypt_init(kind, other), Err(CKR_KEY_TYPE_INCONSISTENT));
    }
    // A template's wish for ECDH or a list of mechanisms does not change it.
    let (_, wish) = c
        .generate_pair(
            CKM_EC_KEY_PAIR_GEN,
            &[v(CKA_EC_PARAMS, SM2_OID)],
            &[b(CKA_DERIVE, true), b(CKA_SIGN, true), u(CKA_ALLOWED_MECHANISMS, CKM_ECDSA)],
        )
        .unwrap();
    let secret = [u(CKA_KEY_TYPE, CKK_AES), u(CKA_VALUE_LEN, 16)];
    let ecdh = Mech::ecdh(CKM_ECDH1_DERIVE, &point(&c, public));
    assert_eq!(c.derive(&ecdh, wish, &secret), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(CKM_ECDSA, wish), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(SM2, wish), Err(CKR_MECHANISM_INVALID), "its own list has only ECDSA");
    // An AES key does no SM4, an SM4 key no AES.
    let (aes, sm4) = (c.aes(16, &[]), sm4(&c));
    assert_eq!(c.encrypt_init(SM4_ECB, aes), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.encrypt_init(CKM_AES_ECB, sm4), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(CKM_AES_CMAC, sm4), Err(CKR_KEY_TYPE_INCONSISTENT));
    // SM3 is no hash of RSA schemes here.
    let (rsa, _) = c.rsa_pair(2048, &[b(CKA_ENCRYPT, true)], &[]).unwrap();
    assert_eq!(c.encrypt_init(Mech::oaep(SM3, CKG_MGF1_SHA256, b""), rsa), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(
        c.verify_init(Mech::pss(CKM_RSA_PKCS_PSS, SM3, CKG_MGF1_SHA256, 32), rsa),
        Err(CKR_MECHANISM_PARAM_INVALID)
    );
}

fn allowed(c: &Client, object: CK_OBJECT_HANDLE) -> Vec<CK_ULONG> {
    c.get(object, CKA_ALLOWED_MECHANISMS).unwrap().chunks(8).map(number).collect()
}

#[test]
fn what_keys_say_of_themselves() {
    let home = Installation::software();
    let c = home.client();
    let id = home.create_key("api", &["--KeySpec=EC_SM2", "--KeyUsage=SIGN/VERIFY"]);
    let signs = [SM2, SM2_DER, SM2_SM3, SM2_SM3_DER];
    let crypts = [SM2_ENCRYPT, SM2_C1C3C2, SM2_C1C2C3];
    let both = [&signs[..], &crypts[..]].concat();
    // By the mechanism of all curves and by our own, as session and token objects, and by the API.
    let on = |token: bool, label: &str| [b(CKA_TOKEN, token), v(CKA_LABEL, label)];
    for (token, kind) in
        [(false, CKM_EC_KEY_PAIR_GEN), (true, CKM_EC_KEY_PAIR_GEN), (false, SM2_PAIR_GEN), (true, SM2_PAIR_GEN)]
    {
        let (label, parameters) = (format!("{token} {kind:x}"), [v(CKA_EC_PARAMS, SM2_OID)]);
        let common = on(token, &label);
        let (public, private) = c.generate_pair(kind, &[&common[..], &parameters].concat(), &common).unwrap();
        described(&c, public, private, &both);
        let signature = c.sign(SM2_SM3, private, MESSAGE).unwrap();
        c.verify(SM2_SM3, public, MESSAGE, &signature).unwrap();
        assert_eq!(c.decrypt_init(SM2_C1C3C2, private), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    let (public, private) = (c.one(CKO_PUBLIC_KEY, "api"), c.one(CKO_PRIVATE_KEY, "api"));
    described(&c, public, private, &both);
    assert!(c.is(private, CKA_SIGN) && !c.is(private, CKA_DECRYPT) && c.is(private, CKA_SENSITIVE));
    assert_eq!(c.get(private, support::KEY_ID).unwrap(), id.as_bytes());
    let signature = c.sign(SM2_SM3, private, MESSAGE).unwrap();
    c.verify(SM2_SM3, public, MESSAGE, &signature).unwrap();
    // Our mechanism makes nothing else.
    assert_eq!(c.generate_pair(SM2_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], &[]), Err(CKR_CURVE_NOT_SUPPORTED));
    let rsa = [u(CKA_KEY_TYPE, CKK_RSA)];
    assert_eq!(c.generate_pair(SM2_PAIR_GEN, &rsa, &[]), Err(CKR_TEMPLATE_INCONSISTENT));
    // A pair for decryption.
    let (public, private) = c
        .generate_pair(SM2_PAIR_GEN, &on(true, "crypt"), &[&on(true, "crypt")[..], &[b(CKA_DECRYPT, true)]].concat())
        .unwrap();
    assert!(c.is(public, CKA_ENCRYPT) && !c.is(private, CKA_SIGN));
    let sealed = c.encrypt(SM2_C1C3C2, public, MESSAGE).unwrap();
    assert_eq!(c.decrypt(SM2_C1C3C2, private, &sealed).unwrap(), MESSAGE);
    // An SM4 key of the API is an envelope key: raw mechanisms would go past its context.
    home.create_key("envelope", &["--KeySpec=Aliyun_SM4"]);
    let key = c.one(CKO_SECRET_KEY, "envelope");
    assert_eq!(number(&c.get(key, CKA_KEY_TYPE).unwrap()), CKK_SM4);
    assert_eq!(number(&c.get(key, CKA_VALUE_LEN).unwrap()), 16);
    assert!(c.encrypt_init(SM4_ECB, key).is_err());
}

fn described(c: &Client, public: CK_OBJECT_HANDLE, private: CK_OBJECT_HANDLE, both: &[CK_ULONG]) {
    for object in [public, private] {
        assert_eq!(number(&c.get(object, CKA_KEY_TYPE).unwrap()), CKK_EC);
        assert_eq!(c.get(object, CKA_EC_PARAMS).unwrap(), SM2_OID);
        assert_eq!(allowed(c, object), both);
    }
    assert_eq!(c.get(public, CKA_EC_POINT), c.get(private, CKA_EC_POINT));
}

#[test]
fn digest_and_hmac() {
    let home = Installation::software();
    let c = home.client();
    // GB/T 32905, both examples.
    let known = "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0";
    assert_eq!(c.digest(SM3, b"abc").unwrap(), unhex(known));
    let known = "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732";
    c.digest_init(SM3).unwrap();
    for part in b"abcd".repeat(16).chunks(7) {
        c.digest_update(part).unwrap();
    }
    assert_eq!(c.digest_final().unwrap(), unhex(known));
    file(&home, "message", MESSAGE);
    for len in [1, 32, 64, 65, 200] {
        let value = vec![0x0b; len];
        let key = c.secret(CKK_GENERIC_SECRET, &value);
        let tag = c.sign(SM3_HMAC, key, MESSAGE).unwrap();
        let theirs =
            ssl(&home, &format!("mac -digest SM3 -macopt hexkey:{} -binary -in message HMAC", support::hex(&value)));
        assert_eq!(tag, theirs, "{len}");
        c.verify(SM3_HMAC, key, MESSAGE, &tag).unwrap();
        assert_eq!(c.verify(SM3_HMAC, key, b"other", &tag), Err(CKR_SIGNATURE_INVALID));
        for short in [1, 10, 32] {
            let mechanism = Mech::with(SM3_HMAC_GENERAL, (short as CK_ULONG).to_ne_bytes());
            assert_eq!(c.sign(mechanism.clone(), key, MESSAGE).unwrap(), tag[..short]);
            c.verify(mechanism, key, MESSAGE, &tag[..short]).unwrap();
        }
        for wrong in [0u64, 33] {
            let mechanism = Mech::with(SM3_HMAC_GENERAL, wrong.to_ne_bytes());
            assert_eq!(c.sign_init(mechanism, key), Err(CKR_MECHANISM_PARAM_INVALID));
        }
    }
}

const SM4_KEY: &str = "0123456789abcdeffedcba9876543210";

fn sm4(c: &Client) -> CK_OBJECT_HANDLE {
    c.secret(CKK_SM4, &unhex(SM4_KEY))
}

fn like(mut mechanism: Mech, kind: CK_MECHANISM_TYPE) -> Mech {
    mechanism.kind = kind;
    mechanism
}

#[test]
fn sm4_in_every_mode() {
    let home = Installation::software();
    let c = home.client();
    let (key, iv) = (sm4(&c), [7; 16]);
    let iv_hex = support::hex(&iv);
    for len in [0, 1, 15, 16, 17, 64, 1000] {
        let plain: Vec<u8> = (0..len).map(|at| at as u8).collect();
        file(&home, "plain", &plain);
        for (mechanism, name, options) in [
            (Mech::new(SM4_ECB), "sm4-ecb", "-nopad"),
            (Mech::with(SM4_CBC, iv), "sm4-cbc", "-nopad"),
            (Mech::with(SM4_CBC_PAD, iv), "sm4-cbc", ""),
            (like(Mech::ctr(iv, 128), SM4_CTR), "sm4-ctr", ""),
        ] {
            if options == "-nopad" && len % 16 != 0 {
                assert_eq!(c.encrypt(mechanism, key, &plain), Err(CKR_DATA_LEN_RANGE));
                continue;
            }
            let with_iv = if name == "sm4-ecb" { String::new() } else { format!("-iv {iv_hex}") };
            let theirs = ssl(&home, &format!("enc -{name} -K {SM4_KEY} {with_iv} {options} -in plain"));
            assert_eq!(c.encrypt(mechanism.clone(), key, &plain).unwrap(), theirs, "{name} {len}");
            assert_eq!(c.decrypt(mechanism.clone(), key, &theirs).unwrap(), plain, "{name} {len}");
            in_parts(&c, &mechanism, key, &plain, &theirs);
        }
        let gcm = like(Mech::gcm(&[1; 12], b"aad", 128), SM4_GCM);
        let sealed = c.encrypt(gcm.clone(), key, &plain).unwrap();
        assert_eq!(sealed.len(), len + 16);
        assert_eq!(c.decrypt(gcm.clone(), key, &sealed).unwrap(), plain);
        in_parts(&c, &gcm, key, &plain, &sealed);
        let mut changed = sealed.clone();
        changed[len] ^= 1;
        assert_eq!(c.decrypt(gcm, key, &changed), Err(CKR_ENCRYPTED_DATA_INVALID));
    }
    // GB/T 32907, example 2: a million rounds by CBC with a zero IV would be another thing; example 1 here.
    assert_eq!(c.encrypt(SM4_ECB, key, &unhex(SM4_KEY)).unwrap(), unhex("681edf34d206965e86b3e94f536e4246"));
    // RFC 8998 §A.1.
    let gcm = Mech::gcm(&unhex("00001234567800000000abcd"), &unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2"), 128);
    let plain = unhex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
    );
    let sealed = unhex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d83de3541e4c2b58177e065a9bf7b62ec",
    );
    assert_eq!(c.encrypt(like(gcm, SM4_GCM), key, &plain).unwrap(), sealed);
    for wrong in [
        Mech::with(SM4_CBC, [0; 15]),
        Mech::new(SM4_CBC_PAD),
        Mech::with(SM4_ECB, [0; 16]),
        like(Mech::ctr(iv, 0), SM4_CTR),
        like(Mech::ctr(iv, 129), SM4_CTR),
        like(Mech::gcm(&[], b"", 128), SM4_GCM),
        like(Mech::gcm(&[1; 17], b"", 128), SM4_GCM),
        like(Mech::gcm(&[1; 12], b"", 127), SM4_GCM),
    ] {
        assert_eq!(c.encrypt_init(wrong.clone(), key), Err(CKR_MECHANISM_PARAM_INVALID), "{wrong:?}");
    }
}

fn in_parts(c: &Client, mechanism: &Mech, key: CK_OBJECT_HANDLE, plain: &[u8], sealed: &[u8]) {
    for step in [1, 16, 33] {
        let mut out = Vec::new();
        c.encrypt_init(mechanism.clone(), key).unwrap();
        for part in plain.chunks(step) {
            out.extend(c.encrypt_update(part).unwrap());
        }
        out.extend(c.encrypt_final().unwrap());
        assert_eq!(out, sealed, "{mechanism:?} by {step}");
        let mut out = Vec::new();
        c.decrypt_init(mechanism.clone(), key).unwrap();
        for part in sealed.chunks(step) {
            out.extend(c.decrypt_update(part).unwrap());
        }
        out.extend(c.decrypt_final().unwrap());
        assert_eq!(out, plain, "{mechanism:?} by {step}");
    }
}

#[test]
fn sm4_keys() {
    let home = Installation::software();
    let c = home.client();
    for (token, length) in [(false, None), (false, Some(16)), (true, None), (true, Some(16))] {
        let mut template: Vec<Attr> = vec![b(CKA_TOKEN, token)];
        template.extend(length.map(|length| u(CKA_VALUE_LEN, length)));
        let key = c.generate(SM4_GEN, &template).unwrap();
        assert_eq!(number(&c.get(key, CKA_KEY_TYPE).unwrap()), CKK_SM4);
        assert_eq!(number(&c.get(key, CKA_VALUE_LEN).unwrap()), 16);
        assert!(c.is(key, CKA_ENCRYPT) && c.is(key, CKA_DECRYPT) && !c.is(key, CKA_SIGN));
        assert_eq!(allowed(&c, key), [SM4_ECB, SM4_CBC, SM4_CBC_PAD, SM4_CTR, SM4_GCM, SM4_ECB_DATA, SM4_CBC_DATA]);
        let gcm = like(Mech::gcm(&[1; 12], b"", 128), SM4_GCM);
        let sealed = c.encrypt(gcm.clone(), key, MESSAGE).unwrap();
        assert_eq!(c.decrypt(gcm, key, &sealed).unwrap(), MESSAGE);
    }
    // What it encrypts data to is another key.
    for token in [false, true] {
        let key = c.generate(SM4_GEN, &[b(CKA_TOKEN, token), b(CKA_DERIVE, true), b(CKA_ENCRYPT, true)]).unwrap();
        let open = [b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
        let ecb = c.derive(&Mech::ecb_data(SM4_ECB_DATA, &[5; 32]), key, &open).unwrap();
        assert_eq!(c.get(ecb, CKA_VALUE).unwrap(), c.encrypt(SM4_ECB, key, &[5; 32]).unwrap());
        let cbc = c.derive(&Mech::cbc_data(SM4_CBC_DATA, [3; 16], &[5; 32]), key, &open).unwrap();
        assert_eq!(c.get(cbc, CKA_VALUE).unwrap(), c.encrypt(Mech::with(SM4_CBC, [3; 16]), key, &[5; 32]).unwrap());
        for aes in [Mech::ecb_data(CKM_AES_ECB_ENCRYPT_DATA, &[5; 32]), Mech::ecb_data(SM4_ECB_DATA, &[5; 31])] {
            assert!(c.derive(&aes, key, &open).is_err());
        }
    }
    for length in [0, 15, 17, 32, CK_ULONG::MAX] {
        assert_eq!(c.generate(SM4_GEN, &[u(CKA_VALUE_LEN, length)]), Err(CKR_KEY_SIZE_RANGE), "{length}");
    }
    for length in [0, 15, 24] {
        let template = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_SM4), v(CKA_VALUE, vec![1; length])];
        assert!(c.create(&template).is_err(), "{length}");
    }
    // Imported as a token key.
    let template =
        [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_SM4), v(CKA_VALUE, unhex(SM4_KEY)), b(CKA_TOKEN, true)];
    let key = c.create(&template).unwrap();
    assert_eq!(c.encrypt(SM4_ECB, key, &unhex(SM4_KEY)).unwrap(), unhex("681edf34d206965e86b3e94f536e4246"));
}
