//! Every family through `dyn Key`; sealing is the business of `seal`.

use super::*;
use crate::model::algorithm::{Cipher, Derivation, Mac, Signing, Sm2Layout};
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::protection::public::Prepared;

fn made(family: Family, bits: usize) -> (Arc<dyn Key>, Bytes, Option<PublicKey>) {
    let (value, public) = generate_value(family, bits, None).unwrap();
    assert_eq!(public_of(family, &value).unwrap(), public);
    (key(family, &value).unwrap(), value, public)
}

fn in_parts(key: &Arc<dyn Key>, job: &Job, input: &[u8]) -> Result<Vec<u8>> {
    let mut stream = key.clone().start(job.clone())?;
    let mut out = Vec::new();
    for part in input.chunks(11) {
        out.extend_from_slice(&stream.update(part)?);
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(out)
}

fn ciphers() -> Vec<Cipher> {
    let (iv, hash) = ([1; 16], Hash::Sha256);
    vec![
        Cipher::AesCbc { iv },
        Cipher::AesCbcPad { iv },
        Cipher::AesCtr { block: iv, bits: 32 },
        Cipher::AesEcb,
        Cipher::AesGcm { iv: vec![1; 12].into(), aad: vec![2], tag: 16 },
        Cipher::AesKeyWrap { iv: None },
        Cipher::AesKeyWrapPad,
        Cipher::RsaOaep { hash, mgf: hash, label: vec![] },
        Cipher::RsaPkcs1,
        Cipher::RsaRaw,
        Cipher::Sm2(Sm2Layout::Der),
        Cipher::Sm2(Sm2Layout::C1C2C3),
        Cipher::Sm2(Sm2Layout::C1C3C2),
        Cipher::Sm4Cbc { iv },
        Cipher::Sm4CbcPad { iv },
        Cipher::Sm4Ctr { block: iv, bits: 32 },
        Cipher::Sm4Ecb,
        Cipher::Sm4Gcm { iv: vec![1; 12].into(), aad: vec![2], tag: 16 },
    ]
}

/// What a cipher works with.
fn family_of(cipher: &Cipher) -> Family {
    match cipher {
        Cipher::RsaOaep { .. } | Cipher::RsaPkcs1 | Cipher::RsaRaw => Family::Rsa,
        Cipher::Sm2(_) => Family::Ec(Curve::Sm2),
        Cipher::Sm4Cbc { .. }
        | Cipher::Sm4CbcPad { .. }
        | Cipher::Sm4Ctr { .. }
        | Cipher::Sm4Ecb
        | Cipher::Sm4Gcm { .. } => Family::Sm4,
        _ => Family::Aes,
    }
}

fn signings() -> [Signing; 6] {
    let pss = Signing::RsaPss { hash: Hash::Sha256, mgf: Hash::Sha256, salt: 32 };
    [Signing::Ecdsa, Signing::RsaPkcs1, pss, Signing::RsaRaw, Signing::Sm2, Signing::Sm2Der]
}

#[test]
fn whole_or_in_parts_and_nothing_that_does_not_fit() {
    let input = [7; 32];
    let sm2 = Family::Ec(Curve::Sm2);
    let mut keys = vec![(Family::Aes, 192), (Family::Generic, 8), (Family::Rsa, 1024), (Family::Ec(Curve::P384), 0)];
    keys.extend([(sm2, 0), (Family::Sm4, 128)]);
    for (family, bits) in keys {
        let (key, _, public) = made(family, bits);
        let prepared = public.as_ref().map(|public| Prepared::new(public).unwrap());
        for cipher in ciphers() {
            let fits = family_of(&cipher) == family;
            let (seal, open) = (Job::Encrypt(cipher.clone()), Job::Decrypt(cipher.clone()));
            let sealed = match family {
                Family::Aes | Family::Sm4 if fits => {
                    let sealed = key.once(&seal, &input).unwrap();
                    assert_eq!(in_parts(&key, &seal, &input).unwrap(), sealed.as_slice(), "{cipher:?}");
                    sealed.to_vec()
                }
                _ if fits => prepared.as_ref().unwrap().encrypt(&cipher, &input).unwrap(),
                _ => {
                    for job in [seal, open] {
                        assert!(matches!(key.once(&job, &input), Err(Error::Unsupported(_))), "{family:?} {job:?}");
                        assert!(matches!(in_parts(&key, &job, &input), Err(Error::Unsupported(_))));
                    }
                    continue;
                }
            };
            let found = key.once(&open, &sealed).unwrap();
            assert!(found.ends_with(&input), "{cipher:?}");
            assert_eq!(in_parts(&key, &open, &sealed).unwrap(), found.as_slice(), "{cipher:?}");
        }
        for scheme in signings() {
            let job = Job::Sign(scheme.clone());
            match (&prepared, family, &scheme) {
                (Some(prepared), Family::Ec(Curve::P384), Signing::Ecdsa)
                | (Some(prepared), Family::Ec(Curve::Sm2), Signing::Sm2)
                | (Some(prepared), Family::Rsa, Signing::RsaPkcs1 | Signing::RsaPss { .. } | Signing::RsaRaw) => {
                    prepared.verify(&scheme, &input, &key.once(&job, &input).unwrap()).unwrap();
                    prepared.verify(&scheme, &input, &in_parts(&key, &job, &input).unwrap()).unwrap();
                    let wrong = vec![1; in_parts(&key, &job, &input).unwrap().len()];
                    assert_eq!(prepared.verify(&scheme, &input, &wrong), Err(Error::SignatureInvalid), "{scheme:?}");
                    assert_eq!(prepared.verify(&scheme, &input, &wrong[1..]), Err(Error::SignatureLength));
                }
                (Some(prepared), Family::Ec(Curve::Sm2), Signing::Sm2Der) => {
                    let signature = key.once(&job, &input).unwrap();
                    prepared.verify(&scheme, &input, &signature).unwrap();
                    for len in 0..signature.len() {
                        assert_eq!(prepared.verify(&scheme, &input, &signature[..len]), Err(Error::SignatureInvalid));
                    }
                }
                _ => {
                    assert!(matches!(key.once(&job, &input), Err(Error::Unsupported(_))), "{family:?} {job:?}");
                    let refused = prepared.as_ref().map(|prepared| prepared.verify(&scheme, &input, &[1; 64]));
                    assert!(matches!(refused, None | Some(Err(Error::Unsupported(_)))), "{family:?} {scheme:?}");
                }
            }
        }
        for mac in [Mac::AesCmac, Mac::Hmac(Hash::Sha3_256)] {
            let (job, fits) = (Job::Mac(mac), (family == Family::Aes) == (mac == Mac::AesCmac));
            match key.once(&job, &input) {
                Ok(tag) if fits => assert_eq!(in_parts(&key, &job, &input).unwrap(), tag.as_slice()),
                other => assert!(matches!(other, Err(Error::Unsupported(_))), "{family:?} {job:?}"),
            }
        }
        let peer = Job::Derive(Derivation::Agree { peer: key_point() });
        assert_eq!(key.once(&peer, &[]).is_ok(), family == Family::Ec(Curve::P384));
    }
}

fn key_point() -> Vec<u8> {
    EcKey::from_scalar(Curve::P384, &[5]).unwrap().point()
}

#[test]
fn imported_values_become_canonical() {
    let spec = |name| Spec::by_name(name).unwrap();
    let ec = EcKey::from_scalar(Curve::P256, &[0x30]).unwrap();
    for value in [Bytes::new(vec![0x30]), ec.scalar(), ec.to_der().unwrap()] {
        let (kept, public) = canonical(spec("EC_P256"), &value).unwrap();
        assert_eq!((kept, public), (ec.scalar(), Some(ec_public(&ec))));
    }
    assert!(canonical(spec("EC_P384"), &ec.to_der().unwrap()).is_err());
    let (value, public) = generate_value(Family::Rsa, 2048, Some(&[3])).unwrap();
    assert_eq!(canonical(spec("RSA_2048"), &value).unwrap(), (value.clone(), public));
    assert!(canonical(spec("RSA_3072"), &value).is_err());
    assert!(canonical(spec("Aliyun_AES_256"), &Bytes::new(vec![1; 32])).is_ok());
    assert!(canonical(spec("Aliyun_AES_256"), &Bytes::new(vec![1; 16])).is_err());
    assert!(canonical(spec("HMAC_SHA_384"), &Bytes::new(vec![1; 47])).is_err());
    for (family, bits) in
        [(Family::Aes, 64), (Family::Generic, 0), (Family::Generic, 9), (Family::Rsa, 1000), (Family::Sm4, 256)]
    {
        assert!(generate_value(family, bits, None).is_err());
    }
    assert!(key(Family::Generic, &Bytes::default()).is_err());
}
