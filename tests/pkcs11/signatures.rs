//! Signatures with keys of the token at both levels, checked by independent crates and by openssl.

use cryptoki_sys::*;
use rsa::pkcs8::DecodePublicKey;
use rsa::sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use rsa::{Pkcs1v15Sign, Pss, RsaPublicKey};

use crate::support::{Attr, Client, Installation, K256, Mech, P256, P384, P521, b, number, openssl, s, u, unhex, v};

const DATA: &[u8] = b"this is message\n";

/// A key of the token made by `CreateKey`: (public, private).
fn kms_key(installation: &Installation, c: &Client, spec: &str, level: &str) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let label = format!("{}-{level}", spec.replace(':', "_"));
    let level = format!("--ProtectionLevel={level}");
    installation.create_key(&label, &[&format!("--KeySpec={spec}"), "--KeyUsage=SIGN/VERIFY", &level]);
    (c.one(CKO_PUBLIC_KEY, &label), c.one(CKO_PRIVATE_KEY, &label))
}

fn spki(c: &Client, key: CK_OBJECT_HANDLE) -> Vec<u8> {
    c.get(key, CKA_PUBLIC_KEY_INFO).unwrap()
}

/// Signs in one part and in many; our own verification agrees each time.
fn sign(c: &Client, mechanism: &Mech, keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), data: &[u8]) -> Vec<u8> {
    c.sign_init(mechanism.clone(), keys.1).unwrap();
    for part in data.chunks(5) {
        c.sign_update(part).unwrap();
    }
    let parts = c.sign_final().unwrap();
    let signature = c.sign(mechanism.clone(), keys.1, data).unwrap();
    for signature in [&parts, &signature] {
        c.verify(mechanism.clone(), keys.0, data, signature).unwrap();
        c.verify_init(mechanism.clone(), keys.0).unwrap();
        for part in data.chunks(3) {
            c.verify_update(part).unwrap();
        }
        c.verify_final(signature).unwrap();
        let mut wrong = signature.clone();
        *wrong.last_mut().unwrap() ^= 0x20;
        assert_eq!(c.verify(mechanism.clone(), keys.0, data, &wrong), Err(CKR_SIGNATURE_INVALID));
    }
    signature
}

macro_rules! with_hash {
    ($hash:expr, $scheme:path, $digest:ident => $work:expr) => {
        match $hash {
            CKM_SHA224 => {
                let $digest = Sha224::digest(DATA).to_vec();
                $work
            }
            CKM_SHA256 => {
                let $digest = Sha256::digest(DATA).to_vec();
                $work
            }
            CKM_SHA384 => {
                let $digest = Sha384::digest(DATA).to_vec();
                $work
            }
            _ => {
                let $digest = Sha512::digest(DATA).to_vec();
                $work
            }
        }
    };
}

fn pkcs1(hash: CK_MECHANISM_TYPE) -> Pkcs1v15Sign {
    match hash {
        CKM_SHA224 => Pkcs1v15Sign::new::<Sha224>(),
        CKM_SHA256 => Pkcs1v15Sign::new::<Sha256>(),
        CKM_SHA384 => Pkcs1v15Sign::new::<Sha384>(),
        _ => Pkcs1v15Sign::new::<Sha512>(),
    }
}

fn pss(hash: CK_MECHANISM_TYPE, salt: usize) -> Pss {
    match hash {
        CKM_SHA224 => Pss::new_with_salt::<Sha224>(salt),
        CKM_SHA256 => Pss::new_with_salt::<Sha256>(salt),
        CKM_SHA384 => Pss::new_with_salt::<Sha384>(salt),
        _ => Pss::new_with_salt::<Sha512>(salt),
    }
}

const HASHES: &[(CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE, CK_MECHANISM_TYPE, CK_MECHANISM_TYPE, &str)] = &[
    (
        CKM_SHA224,
        CKG_MGF1_SHA224,
        CKM_SHA224_RSA_PKCS,
        CKM_SHA224_RSA_PKCS_PSS,
        "302d300d06096086480165030402040500041c",
    ),
    (
        CKM_SHA256,
        CKG_MGF1_SHA256,
        CKM_SHA256_RSA_PKCS,
        CKM_SHA256_RSA_PKCS_PSS,
        "3031300d060960864801650304020105000420",
    ),
    (
        CKM_SHA384,
        CKG_MGF1_SHA384,
        CKM_SHA384_RSA_PKCS,
        CKM_SHA384_RSA_PKCS_PSS,
        "3041300d060960864801650304020205000430",
    ),
    (
        CKM_SHA512,
        CKG_MGF1_SHA512,
        CKM_SHA512_RSA_PKCS,
        CKM_SHA512_RSA_PKCS_PSS,
        "3051300d060960864801650304020305000440",
    ),
];

/// PKCS#1 v1.5 and PSS, raw and with every hash.
fn rsa(c: &Client, keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) {
    let public = RsaPublicKey::from_public_key_der(&spki(c, keys.1)).unwrap();
    for (hash, mgf, hashed_pkcs1, hashed_pss, prefix) in HASHES {
        let digest = with_hash!(*hash, Pkcs1v15Sign, digest => digest);
        let info = [unhex(prefix), digest.clone()].concat();
        let raw = sign(c, &Mech::new(CKM_RSA_PKCS), keys, &info);
        let hashed = sign(c, &Mech::new(*hashed_pkcs1), keys, DATA);
        assert_eq!(raw, hashed, "v1.5 is deterministic");
        public.verify(pkcs1(*hash), &digest, &raw).unwrap();
        for salt in [0, 20, digest.len()] {
            let raw = sign(c, &Mech::pss(CKM_RSA_PKCS_PSS, *hash, *mgf, salt as CK_ULONG), keys, &digest);
            public.verify(pss(*hash, salt), &digest, &raw).unwrap();
            let hashed = sign(c, &Mech::pss(*hashed_pss, *hash, *mgf, salt as CK_ULONG), keys, DATA);
            public.verify(pss(*hash, salt), &digest, &hashed).unwrap();
        }
        let wrong_length = Mech::pss(CKM_RSA_PKCS_PSS, *hash, *mgf, 20);
        assert_eq!(c.sign(wrong_length, keys.1, &digest[1..]), Err(CKR_DATA_LEN_RANGE));
    }
    let size = number(&c.get(keys.0, CKA_MODULUS_BITS).unwrap()) as usize / 8;
    assert_eq!(c.sign(CKM_RSA_PKCS, keys.1, b"no DigestInfo at all").unwrap().len(), size, "TLS 1.1, p11tool");
    assert_eq!(c.sign(CKM_RSA_PKCS, keys.1, &vec![1; size - 10]), Err(CKR_DATA_LEN_RANGE));
    // openssl cms asks for the longest salt that there is.
    let longest = Mech::pss(CKM_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, (size - 34 + 1) as CK_ULONG);
    assert_eq!(c.sign_init(longest, keys.1), Err(CKR_MECHANISM_PARAM_INVALID));
    for (hash, mgf) in [(CKM_SHA256, 99), (CKM_RSA_PKCS, CKG_MGF1_SHA256), (CKM_SHA384, CKG_MGF1_SHA256)] {
        let wrong = Mech::pss(CKM_SHA256_RSA_PKCS_PSS, hash, mgf, 32);
        assert_eq!(c.sign_init(wrong, keys.1), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    assert_eq!(c.sign_init(CKM_RSA_PKCS_PSS, keys.1), Err(CKR_MECHANISM_PARAM_INVALID), "no parameter");
    // Raw: short input is padded with zeros at the left.
    let raw = c.sign(CKM_RSA_X_509, keys.1, &[7; 40]).unwrap();
    let padded = [vec![0; size - 40], vec![7; 40]].concat();
    assert_eq!(c.sign(CKM_RSA_X_509, keys.1, &padded).unwrap(), raw);
    c.verify(CKM_RSA_X_509, keys.0, &padded, &raw).unwrap();
    assert_eq!(c.sign(CKM_RSA_X_509, keys.1, &vec![0xff; size]), Err(CKR_DATA_LEN_RANGE), "not less than the modulus");
    // SHA-1 is what CKM_RSA_PKCS makes of its DigestInfo.
    let info = [unhex("3021300906052b0e03021a05000414"), c.digest(CKM_SHA_1, DATA).unwrap()].concat();
    let old = c.sign(CKM_RSA_PKCS, keys.1, &info).unwrap();
    c.verify(CKM_SHA1_RSA_PKCS, keys.0, DATA, &old).unwrap();
    assert_eq!(c.sign(CKM_SHA1_RSA_PKCS, keys.1, DATA).unwrap(), old);
}

macro_rules! check_ecdsa {
    ($crate_name:ident, $spki:expr, $digest:expr, $signature:expr) => {{
        use $crate_name::ecdsa::signature::hazmat::PrehashVerifier;
        let point = &$spki[$spki.len() - (1 + 2 * ($signature.len() / 2))..];
        let key = $crate_name::ecdsa::VerifyingKey::from_sec1_bytes(point).unwrap();
        let signature = $crate_name::ecdsa::Signature::from_slice($signature).unwrap();
        // k256 takes low s only; both are signatures.
        let signature = signature.normalize_s();
        key.verify_prehash($digest, &signature).unwrap();
    }};
}

/// ECDSA raw and with every hash; r and s as long as the field each.
fn ec(c: &Client, keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE), curve: &[u8]) {
    let field = [(P256, 32), (K256, 32), (P384, 48), (P521, 66)].iter().find(|row| row.0 == curve).unwrap().1;
    let public = spki(c, keys.1);
    assert_eq!(c.get(keys.1, CKA_EC_PARAMS).unwrap(), curve);
    let point = c.get(keys.0, CKA_EC_POINT).unwrap();
    assert!(point.ends_with(&public[public.len() - 2 * field - 1..]) && point[0] == 4, "DER OCTET STRING");
    for (hash, hashed) in [
        (CKM_SHA224, CKM_ECDSA_SHA224),
        (CKM_SHA256, CKM_ECDSA_SHA256),
        (CKM_SHA384, CKM_ECDSA_SHA384),
        (CKM_SHA512, CKM_ECDSA_SHA512),
    ] {
        let digest = with_hash!(hash, Pkcs1v15Sign, digest => digest);
        let raw = sign(c, &Mech::new(CKM_ECDSA), keys, &digest);
        let long = sign(c, &Mech::new(hashed), keys, DATA);
        for signature in [&raw, &long] {
            assert_eq!(signature.len(), 2 * field);
            // The crates want digests of at least half a field.
            match curve {
                P256 => check_ecdsa!(p256, public, &digest, signature),
                P384 => check_ecdsa!(p384, public, &digest, signature),
                K256 => check_ecdsa!(k256, public, &digest, signature),
                _ => {}
            }
        }
    }
    // Short and empty digests.
    c.verify(CKM_ECDSA, keys.0, &[1; 20], &c.sign(CKM_ECDSA, keys.1, &[1; 20]).unwrap()).unwrap();
    assert_eq!(c.sign(CKM_ECDSA, keys.1, &[]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(c.sign_init(Mech::with(CKM_ECDSA, [1]), keys.1), Err(CKR_MECHANISM_PARAM_INVALID));
}

fn every_spec(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    for (spec, curve) in [("EC_P256", P256), ("EC_P384", P384), ("EC_P256K", K256)] {
        ec(&c, kms_key(&installation, &c, spec, level), curve);
    }
    rsa(&c, kms_key(&installation, &c, "RSA_2048", level));
}

#[test]
fn in_software() {
    every_spec("SOFTWARE");
}

#[test]
fn in_a_device() {
    every_spec("HSM");
}

/// The large ones once, with SHA-256 only.
fn large(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    for (spec, size) in [("RSA_3072", 384), ("RSA_4096", 512)] {
        let keys = kms_key(&installation, &c, spec, level);
        let signature = sign(&c, &Mech::new(CKM_SHA256_RSA_PKCS), keys, DATA);
        assert_eq!(signature.len(), size);
        let public = RsaPublicKey::from_public_key_der(&spki(&c, keys.0)).unwrap();
        public.verify(pkcs1(CKM_SHA256), &Sha256::digest(DATA), &signature).unwrap();
    }
}

#[test]
fn large_in_software() {
    large("SOFTWARE");
}

#[test]
fn large_in_a_device() {
    large("HSM");
}

/// Session keys, and keys that PKCS#11 itself made in the token.
#[test]
fn generated_through_pkcs11() {
    let installation = Installation::with_device();
    let c = installation.client();
    let token = [b(CKA_TOKEN, true)];
    for curve in [P256, P384, K256, P521] {
        ec(&c, c.ec_pair(curve, &[]).unwrap(), curve);
        if curve != P521 {
            ec(&c, c.ec_pair(curve, &token).unwrap(), curve);
        }
    }
    rsa(&c, c.rsa_pair(2048, &[], &[]).unwrap());
    rsa(&c, c.rsa_pair(2048, &token, &token).unwrap());
}

/// The signature as the world verifies it: openssl, with the public key as the KMS gives it.
#[test]
fn openssl_agrees() {
    let installation = Installation::with_device();
    let c = installation.client();
    std::fs::write(installation.path("data"), DATA).unwrap();
    for level in ["SOFTWARE", "HSM"] {
        let label = format!("rsa-{level}");
        let id = installation.create_key(
            &label,
            &["--KeySpec=RSA_2048", "--KeyUsage=SIGN/VERIFY", &format!("--ProtectionLevel={level}")],
        );
        let pem = installation.public_pem(&id);
        let key = c.one(CKO_PRIVATE_KEY, &label);
        std::fs::write(installation.path("sig"), c.sign(CKM_SHA256_RSA_PKCS, key, DATA).unwrap()).unwrap();
        let words = ["dgst", "-sha256", "-verify", pem.to_str().unwrap(), "-signature", "sig", "data"];
        assert_eq!(openssl(&installation.path("."), &words).unwrap(), b"Verified OK\n");
    }
}

/// FIPS 198 / RFC 4231 test case 2, RFC 4493 example 2; general lengths; typed HMAC keys.
#[test]
fn macs() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.secret(CKK_GENERIC_SECRET, b"Jefe");
    let data = b"what do ya want for nothing?";
    let mac = unhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_eq!(sign(&c, &Mech::new(CKM_SHA256_HMAC), (key, key), data), mac);
    for length in [1u64, 4, 16, 32] {
        let general = Mech::with(CKM_SHA256_HMAC_GENERAL, length.to_ne_bytes());
        assert_eq!(sign(&c, &general, (key, key), data).as_slice(), &mac[..length as usize]);
    }
    for parameter in [&0u64.to_ne_bytes()[..], &33u64.to_ne_bytes(), &[1, 2, 3], &[]] {
        let wrong = Mech::with(CKM_SHA256_HMAC_GENERAL, parameter);
        assert_eq!(c.sign_init(wrong, key), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    let aes = c.secret(CKK_AES, &unhex("2b7e151628aed2a6abf7158809cf4f3c"));
    let block = unhex("6bc1bee22e409f96e93d7e117393172a");
    let cmac = unhex("070a16b46b4d4144f79bdd9dd04a287c");
    assert_eq!(sign(&c, &Mech::new(CKM_AES_CMAC), (aes, aes), &block), cmac);
    let general = Mech::with(CKM_AES_CMAC_GENERAL, 8u64.to_ne_bytes());
    assert_eq!(sign(&c, &general, (aes, aes), &block), &cmac[..8]);
    assert_eq!(c.verify(CKM_AES_CMAC, aes, &block, &cmac[..15]), Err(CKR_SIGNATURE_LEN_RANGE));
    // A key that says for which HMAC it is.
    let typed = c.secret(CKK_SHA256_HMAC, b"Jefe");
    assert_eq!(c.sign(CKM_SHA256_HMAC, typed, data).unwrap(), mac);
    assert_eq!(c.sign_init(CKM_SHA512_HMAC, typed), Err(CKR_KEY_TYPE_INCONSISTENT));
    for length in [1usize, 63, 64, 65, 128, 129, 512] {
        let key = c.secret(CKK_GENERIC_SECRET, &vec![3; length]);
        sign(&c, &Mech::new(CKM_SHA384_HMAC), (key, key), data);
    }
}

/// ECDH against openssl, the peer's point raw and in DER.
#[test]
fn ecdh() {
    let installation = Installation::software();
    let c = installation.client();
    for (curve, name, len) in [(P256, "prime256v1", 32), (P384, "secp384r1", 48), (P521, "secp521r1", 66)] {
        let (public, private) = c.ec_pair(curve, &[b(CKA_DERIVE, true)]).unwrap();
        let dir = installation.path(".");
        openssl(&dir, &["ecparam", "-name", name, "-genkey", "-noout", "-out", "peer.pem"]).unwrap();
        let der = openssl(&dir, &["pkey", "-in", "peer.pem", "-pubout", "-outform", "DER"]).unwrap();
        let point = der[der.len() - 2 * len - 1..].to_vec();
        std::fs::write(installation.path("own.der"), spki(&c, public)).unwrap();
        let words = ["pkeyutl", "-derive", "-inkey", "peer.pem", "-peerform", "DER", "-peerkey", "own.der"];
        let expected = openssl(&dir, &words).unwrap();
        let header = if point.len() < 128 { vec![4, point.len() as u8] } else { vec![4, 0x81, point.len() as u8] };
        let wrapped = [header, point.clone()].concat();
        let template = [u(CKA_KEY_TYPE, CKK_GENERIC_SECRET), b(CKA_SENSITIVE, false), b(CKA_EXTRACTABLE, true)];
        for peer in [&point, &wrapped] {
            for kind in [CKM_ECDH1_DERIVE, CKM_ECDH1_COFACTOR_DERIVE] {
                let secret = c.derive(&Mech::ecdh(kind, peer), private, &template).unwrap();
                assert_eq!(c.get(secret, CKA_VALUE).unwrap(), expected);
                assert!(!c.is(secret, CKA_LOCAL) && !c.is(secret, CKA_ALWAYS_SENSITIVE));
            }
        }
        // Shorter: the leading bytes go (PKCS#11 3.2 §6.3.20).
        let short = [&template[1..], &[u(CKA_KEY_TYPE, CKK_AES), u(CKA_VALUE_LEN, 16)]].concat();
        let secret = c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &point), private, &short).unwrap();
        assert_eq!(c.get(secret, CKA_VALUE).unwrap(), expected[len - 16..]);
        let long = [&template[..], &[u(CKA_VALUE_LEN, len as CK_ULONG + 1)]].concat();
        assert_eq!(c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &point), private, &long), Err(CKR_KEY_SIZE_RANGE));
        let mut off = point.clone();
        *off.last_mut().unwrap() ^= 1;
        for wrong in [&off[..], &point[1..], &[], &[0]] {
            let mechanism = Mech::ecdh(CKM_ECDH1_DERIVE, wrong);
            assert_eq!(c.derive(&mechanism, private, &template), Err(CKR_MECHANISM_PARAM_INVALID));
        }
    }
    let (_, signing) = c.session_pair();
    let peer = c.get(c.session_pair().0, CKA_EC_POINT).unwrap();
    let derived = c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &peer), signing, &[]);
    assert_eq!(derived, Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
}

/// Foreign public keys verify (Java), in the token and in the session.
#[test]
fn foreign_public_keys() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.session_pair();
    let signature = c.sign(CKM_ECDSA_SHA256, private, DATA).unwrap();
    let point = c.get(public, CKA_EC_POINT).unwrap();
    for token in [false, true] {
        let template: Vec<Attr> = vec![
            u(CKA_CLASS, CKO_PUBLIC_KEY),
            u(CKA_KEY_TYPE, CKK_EC),
            v(CKA_EC_PARAMS, P256),
            v(CKA_EC_POINT, &point),
            b(CKA_TOKEN, token),
            s(CKA_LABEL, "foreign"),
        ];
        let key = c.create(&template).unwrap();
        c.verify(CKM_ECDSA_SHA256, key, DATA, &signature).unwrap();
        c.destroy(key).unwrap();
        assert_eq!(c.verify_init(CKM_ECDSA_SHA256, key), Err(CKR_KEY_HANDLE_INVALID));
        let broken = [&template[..3], &[v(CKA_EC_POINT, [4, 3, 4, 1, 2])]].concat();
        assert_eq!(c.create(&broken), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    }
}
