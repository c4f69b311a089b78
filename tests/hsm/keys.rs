//! Every spec in the device: made, read back, used, found again, destroyed.

use alikms_pkcs11::Error;
use alikms_pkcs11::crypto::cipher::AesKey;
use alikms_pkcs11::model::algorithm::{Cipher, Derivation, Job, Mac, Signing};
use alikms_pkcs11::model::curve::Curve;
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::key::{Level, Material};
use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::model::spec::{Family, SPECS, Spec};
use alikms_pkcs11::protection::{Protection, Usages};
use uuid::Uuid;

use crate::support::*;

#[test]
fn a_device_is_probed_and_supports_every_spec() {
    let token = Token::new();
    let hsm = token.hsm();
    let report = hsm.probe().unwrap();
    assert_eq!((report.name.as_str(), report.token.as_str()), ("soft", LABEL));
    assert_eq!(report.serial.len(), 16);
    assert!(report.mechanisms.contains(&cryptoki_sys::CKM_ECDSA) && report.mechanisms.is_sorted());
    for spec in SPECS {
        let supported = hsm.supports(Spec(spec));
        match spec.family {
            // Until a profile names its mechanisms for them.
            Family::Ec(Curve::Ed25519 | Curve::Sm2) | Family::Sm4 => {
                assert!(matches!(supported, Err(Error::DeviceLacks { .. })), "{}", spec.name);
            }
            _ => supported.unwrap(),
        }
    }
    assert_eq!(hsm.level(), Level::Hsm);
    assert!(hsm.ids().unwrap().is_empty());
}

#[test]
fn elliptic_curves_sign_digests_of_every_length() {
    let token = Token::new();
    let hsm = token.hsm();
    for (name, curve) in
        [("EC_P256", Curve::P256), ("EC_P384", Curve::P384), ("EC_P521", Curve::P521), ("EC_P256K", Curve::Secp256k1)]
    {
        let made = make(&hsm, name, SIGN);
        assert!(matches!(&made.public, Some(PublicKey::Ec { curve: own, point })
            if *own == curve && point.len() == 1 + 2 * curve.field_len()));
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            made.sign(&digest(hash)).unwrap_or_else(|error| panic!("{name} {hash:?}: {error}"));
        }
        assert_eq!(made.key.once(&Job::Sign(Signing::Ecdsa), &[]), Err(Error::DataLength));
        let other = made.key.once(&Job::Sign(Signing::RsaPkcs1), &[1]);
        assert!(matches!(other, Err(Error::Unsupported(_))), "{other:?}");
    }
}

#[test]
fn elliptic_curves_agree_on_secrets() {
    let token = Token::new();
    let hsm = token.hsm();
    let usages = Usages { derive: true, ..SIGN };
    for name in ["EC_P256", "EC_P384", "EC_P521"] {
        let (one, other) = (make(&hsm, name, usages), make(&hsm, name, usages));
        let point = |made: &Made| match &made.public {
            Some(PublicKey::Ec { point, .. }) => point.clone(),
            _ => panic!("no point"),
        };
        let shared = one.key.once(&Job::Derive(Derivation::Agree { peer: point(&other) }), &[]).unwrap();
        assert_eq!(shared, other.key.once(&Job::Derive(Derivation::Agree { peer: point(&one) }), &[]).unwrap());
        assert_eq!(shared.len(), one.spec.bits.div_ceil(8));
        assert!(one.key.once(&Job::Derive(Derivation::Agree { peer: vec![4, 1, 2] }), &[]).is_err());
    }
}

#[test]
fn rsa_signs_and_decrypts_at_every_size() {
    let token = Token::new();
    let hsm = token.hsm();
    for name in ["RSA_2048", "RSA_3072", "RSA_4096"] {
        let made = make(&hsm, name, Usages { decrypt: true, ..SIGN });
        let public = made.prepared();
        let size = made.spec.bits / 8;
        for hash in [Hash::Sha1, Hash::Sha256, Hash::Sha384, Hash::Sha512] {
            let info = [hash.digest_info_prefix(), &digest(hash)].concat();
            let signature = made.key.once(&Job::Sign(Signing::RsaPkcs1), &info).unwrap();
            public.verify(&Signing::RsaPkcs1, &info, &signature).unwrap();
            let pss = Signing::RsaPss { hash, mgf: hash, salt: hash.len() };
            let signature = made.key.once(&Job::Sign(pss.clone()), &digest(hash)).unwrap();
            public.verify(&pss, &digest(hash), &signature).unwrap();
        }
        let signature = made.key.once(&Job::Sign(Signing::RsaRaw), b"\x01short").unwrap();
        public.verify(&Signing::RsaRaw, b"\x01short", &signature).unwrap();
        assert_eq!(made.key.once(&Job::Sign(Signing::RsaPkcs1), &vec![1; size - 10]), Err(Error::DataLength));
        assert_eq!(made.key.once(&Job::Sign(Signing::RsaRaw), &vec![0xff; size]), Err(Error::DataLength));

        // The first in the device's own mechanism, the others raw in the device and unpadded in process.
        for (hash, mgf, label) in [
            (Hash::Sha1, Hash::Sha1, ""),
            (Hash::Sha256, Hash::Sha256, ""),
            (Hash::Sha256, Hash::Sha1, ""),
            (Hash::Sha384, Hash::Sha384, "a label"),
        ] {
            let cipher = Cipher::RsaOaep { hash, mgf, label: label.into() };
            let mut ciphertext = public.encrypt(&cipher, b"plain").unwrap();
            assert_eq!(made.key.once(&Job::Decrypt(cipher.clone()), &ciphertext).unwrap().as_slice(), b"plain");
            ciphertext[size - 1] ^= 1;
            let answer = made.key.once(&Job::Decrypt(cipher.clone()), &ciphertext);
            assert_eq!(answer, Err(Error::Ciphertext), "{hash:?}");
            assert_eq!(made.key.once(&Job::Decrypt(cipher), &ciphertext[1..]), Err(Error::CiphertextLength));
        }
    }
}

#[test]
fn pkcs1_decryption_never_tells_a_wrong_padding() {
    let token = Token::new();
    let (hsm, other) = (token.hsm(), token.hsm());
    let made = make(&hsm, "RSA_2048", DECRYPT);
    let job = Job::Decrypt(Cipher::RsaPkcs1);
    let ciphertext = made.prepared().encrypt(&Cipher::RsaPkcs1, b"plain").unwrap();
    assert_eq!(made.key.once(&job, &ciphertext).unwrap().as_slice(), b"plain");
    // Another process with the same key makes up the same plaintext: the difference would tell it from a real one.
    let elsewhere = other.open(made.id, made.spec, &made.material, made.public.as_ref()).unwrap();
    for byte in 0..20 {
        let mut wrong = ciphertext.clone();
        wrong[100] ^= byte + 1;
        let answer = made.key.once(&job, &wrong).unwrap();
        assert_ne!(answer.as_slice(), b"plain");
        assert_eq!(answer, elsewhere.once(&job, &wrong).unwrap());
    }
}

#[test]
fn aes_agrees_with_software_in_every_mode() {
    let token = Token::new();
    let hsm = token.hsm();
    for name in ["Aliyun_AES_128", "Aliyun_AES_192", "Aliyun_AES_256"] {
        let made = make(&hsm, name, CRYPT);
        assert_eq!(made.public, None);
        let gcm = Cipher::AesGcm { iv: vec![7; 12].into(), aad: b"context".to_vec(), tag: 16 };
        for (cipher, whole) in [
            (gcm.clone(), false),
            (Cipher::AesGcm { iv: vec![7; 12].into(), aad: vec![], tag: 12 }, false),
            (Cipher::AesCbc { iv: [3; 16] }, true),
            (Cipher::AesCbcPad { iv: [3; 16] }, false),
            (Cipher::AesCtr { block: [3; 16], bits: 128 }, false),
            (Cipher::AesEcb, true),
        ] {
            for len in [16, 32, 64, 4096, 1, 17, 0] {
                let plain = vec![5; len];
                let sealed = made.key.once(&Job::Encrypt(cipher.clone()), &plain);
                if whole && len % 16 != 0 {
                    assert_eq!(sealed, Err(Error::DataLength), "{cipher:?} {len}");
                    continue;
                }
                let sealed = sealed.unwrap_or_else(|error| panic!("{name} {cipher:?} {len}: {error}"));
                assert_eq!(made.key.once(&Job::Decrypt(cipher.clone()), &sealed).unwrap().as_slice(), plain);
            }
        }
        let sealed = made.key.once(&Job::Encrypt(gcm.clone()), b"plain").unwrap();
        let mut wrong = sealed.to_vec();
        wrong[0] ^= 1;
        assert_eq!(made.key.once(&Job::Decrypt(gcm.clone()), &wrong), Err(Error::Ciphertext));
        assert_eq!(made.key.once(&Job::Decrypt(gcm), &[1; 15]), Err(Error::CiphertextLength));
        let wrap = made.key.once(&Job::Encrypt(Cipher::AesKeyWrap { iv: None }), &[1; 16]);
        assert!(matches!(&wrap, Err(Error::DeviceLacks { what, .. }) if what.contains("CKM_AES_KEY_WRAP")), "{wrap:?}");
    }
    // CTR of a known block counter is the block cipher: the same as AES in process only if key and mode agree, which
    // needs the key; what can be compared is ECB against CBC and CTR of one block.
    let made = make(&hsm, "Aliyun_AES_256", CRYPT);
    let ecb = made.key.once(&Job::Encrypt(Cipher::AesEcb), &[9; 16]).unwrap();
    let ctr = made.key.once(&Job::Encrypt(Cipher::AesCtr { block: [9; 16], bits: 128 }), &[0; 16]).unwrap();
    let cbc = made.key.once(&Job::Encrypt(Cipher::AesCbc { iv: [9; 16] }), &[0; 16]).unwrap();
    assert!(ecb == ctr && ecb == cbc);
    let _ = AesKey::new(&[0; 32]).unwrap();
}

#[test]
fn secrets_authenticate() {
    let token = Token::new();
    let hsm = token.hsm();
    for (name, hash) in [("HMAC_SHA_256", Hash::Sha256), ("HMAC_SHA_384", Hash::Sha384), ("HMAC_SHA_512", Hash::Sha512)]
    {
        let made = make(&hsm, name, MAC);
        let job = Job::Mac(Mac::Hmac(hash));
        let tag = made.key.once(&job, b"message").unwrap();
        assert_eq!(tag.len(), hash.len());
        let mut stream = made.key.clone().start(job).unwrap();
        stream.update(b"mess").unwrap();
        stream.update(b"age").unwrap();
        assert_eq!(stream.finish().unwrap(), tag);
    }
    let aes = make(&hsm, "Aliyun_AES_256", Usages { sign: true, ..CRYPT });
    assert_eq!(aes.key.once(&Job::Mac(Mac::AesCmac), b"message").unwrap().len(), 16);
}

#[test]
fn keys_are_found_again_listed_and_destroyed() {
    let token = Token::new();
    let hsm = token.hsm();
    let one = make(&hsm, "EC_P256", SIGN);
    let other = make(&hsm, "Aliyun_AES_256", CRYPT);
    assert!(matches!(&one.material, Material::Device { device, serial, id }
        if device == "soft" && serial.len() == 16 && id == one.id.as_bytes()));
    let mut ids = vec![one.id, other.id];
    ids.sort_unstable();
    assert_eq!(hsm.ids().unwrap(), ids);

    // Another process, as it were.
    let again = token.hsm();
    let key = again.open(one.id, one.spec, &one.material, one.public.as_ref()).unwrap();
    key.once(&Job::Sign(Signing::Ecdsa), &digest(Hash::Sha256)).unwrap();

    hsm.destroy(one.id, &one.material).unwrap();
    hsm.destroy(one.id, &one.material).unwrap();
    assert_eq!(hsm.ids().unwrap(), [other.id]);
    let gone = Err(Error::KeyNotFound(one.id.to_string()));
    assert_eq!(one.key.once(&Job::Sign(Signing::Ecdsa), &[1; 32]).map(|_| ()), gone);
    assert_eq!(hsm.open(one.id, one.spec, &one.material, None).map(|_| ()), gone);
    // The rest of the token is not hurt by it.
    other.key.once(&Job::Encrypt(Cipher::AesEcb), &[0; 16]).unwrap();
}

#[test]
fn a_key_behind_the_wrong_id_is_not_used() {
    let token = Token::new();
    let hsm = token.hsm();
    for (name, usages) in [("EC_P256", SIGN), ("RSA_2048", DECRYPT)] {
        let (one, other) = (make(&hsm, name, usages), make(&hsm, name, usages));
        let answer = hsm.open(one.id, one.spec, &one.material, other.public.as_ref()).map(|_| ());
        assert!(matches!(&answer, Err(Error::DeviceUnavailable { reason, .. }) if reason.contains("not the recorded")));
    }
}

#[test]
fn what_a_device_must_not_do_is_refused() {
    let token = Token::new();
    let hsm = token.hsm();
    let (id, spec) = (Uuid::new_v4(), spec("Aliyun_AES_256"));
    let import = hsm.import(id, spec, CRYPT, &alikms_pkcs11::model::Bytes::new(vec![1; 32]));
    assert!(matches!(import, Err(Error::DeviceLacks { .. })));
    // The same ID twice would make two keys that nobody can tell apart.
    hsm.generate(id, spec, CRYPT).unwrap();
    assert!(hsm.generate(id, spec, CRYPT).is_err());
    assert_eq!(hsm.ids().unwrap(), [id]);
    // A size that SoftHSM does not make: refused before anything is made.
    let small = Box::leak(Box::new(alikms_pkcs11::model::spec::KeySpec { bits: 128, name: "RSA_128", ..*rsa() }));
    assert!(matches!(hsm.supports(Spec(small)), Err(Error::DeviceLacks { .. })));
}

fn rsa() -> &'static alikms_pkcs11::model::spec::KeySpec {
    SPECS.iter().find(|spec| spec.family == Family::Rsa).unwrap()
}
