//! Ed25519: CKM_EDDSA with OpenSSL and RFC 8032 as the other side, for session keys, token keys, and the API's
//! EC_ED25519.

use cryptoki_sys::*;

use crate::support::{Attr, Client, ED25519, Installation, Mech, P256, b, number, openssl, s, u, unhex, v};

const DATA: &[u8] = b"this is message\n";

fn private_key(seed: &[u8], token: bool) -> Vec<Attr> {
    vec![
        u(CKA_CLASS, CKO_PRIVATE_KEY),
        u(CKA_KEY_TYPE, CKK_EC_EDWARDS),
        v(CKA_EC_PARAMS, ED25519),
        v(CKA_VALUE, seed),
        b(CKA_TOKEN, token),
    ]
}

fn public_key(point: &[u8]) -> Vec<Attr> {
    vec![
        u(CKA_CLASS, CKO_PUBLIC_KEY),
        u(CKA_KEY_TYPE, CKK_EC_EDWARDS),
        v(CKA_EC_PARAMS, ED25519),
        v(CKA_EC_POINT, point),
    ]
}

/// Does openssl verify it with the public key that the object shows?
fn openssl_verifies(home: &Installation, c: &Client, public: CK_OBJECT_HANDLE, signature: &[u8]) {
    std::fs::write(home.path("public.der"), c.get(public, CKA_PUBLIC_KEY_INFO).unwrap()).unwrap();
    std::fs::write(home.path("message"), DATA).unwrap();
    std::fs::write(home.path("signature"), signature).unwrap();
    let words = "pkeyutl -verify -rawin -in message -sigfile signature -pubin -keyform DER -inkey public.der";
    openssl(&home.path("."), &words.split(' ').collect::<Vec<_>>()).unwrap();
}

#[test]
fn signatures() {
    let home = Installation::software();
    let c = home.client();
    let names: [&[u8]; 3] = [ED25519, b"\x13\x0cedwards25519", &[0x06, 0x09, 0x2b, 6, 1, 4, 1, 0xda, 0x47, 0x0f, 1]];
    for (token, name) in names.iter().flat_map(|name| [(false, *name), (true, *name)]) {
        let public = [v(CKA_EC_PARAMS, name), b(CKA_TOKEN, token)];
        let (public, private) = c.generate_pair(CKM_EC_EDWARDS_KEY_PAIR_GEN, &public, &[b(CKA_TOKEN, token)]).unwrap();
        for half in [public, private] {
            assert_eq!(number(&c.get(half, CKA_KEY_TYPE).unwrap()), CKK_EC_EDWARDS);
            assert_eq!(number(&c.get(half, CKA_KEY_GEN_MECHANISM).unwrap()), CKM_EC_EDWARDS_KEY_PAIR_GEN);
            assert_eq!(c.get(half, CKA_EC_PARAMS).unwrap(), ED25519);
            assert_eq!(c.get(half, CKA_EC_POINT).unwrap()[..2], [4, 32]);
        }
        let signature = c.sign(CKM_EDDSA, private, DATA).unwrap();
        openssl_verifies(&home, &c, public, &signature);
        c.verify(CKM_EDDSA, public, DATA, &signature).unwrap();
        // In parts, long and short, and nothing at all.
        for message in [vec![7; 100_000], Vec::new()] {
            c.sign_init(CKM_EDDSA, private).unwrap();
            message.chunks(999).for_each(|part| c.sign_update(part).unwrap());
            c.sign_update(b"").unwrap();
            let signature = c.sign_final().unwrap();
            assert_eq!(signature, c.sign(CKM_EDDSA, private, &message).unwrap());
            c.verify_init(CKM_EDDSA, public).unwrap();
            message.chunks(1000).for_each(|part| c.verify_update(part).unwrap());
            c.verify_update(b"").unwrap();
            c.verify_final(&signature).unwrap();
        }
        // The other two forms, none of which is another.
        let forms =
            [Mech::new(CKM_EDDSA), Mech::eddsa(false, b"context"), Mech::eddsa(true, b""), Mech::eddsa(true, b"x")];
        for (at, form) in forms.iter().enumerate() {
            let signature = c.sign(form.clone(), private, DATA).unwrap();
            for (other, verifying) in forms.iter().enumerate() {
                let expected = if at == other { Ok(()) } else { Err(CKR_SIGNATURE_INVALID) };
                assert_eq!(c.verify(verifying.clone(), public, DATA, &signature), expected, "{at} {other}");
            }
        }
        // Without a context and a hash it is what it is without a parameter.
        c.verify(Mech::eddsa(false, b""), public, DATA, &signature).unwrap();
        assert_eq!(c.verify(CKM_EDDSA, public, b"other", &signature), Err(CKR_SIGNATURE_INVALID));
        assert_eq!(c.verify(CKM_EDDSA, public, DATA, &signature[1..]), Err(CKR_SIGNATURE_LEN_RANGE));
        assert_eq!(c.sign_init(Mech::eddsa(false, &[0; 256]), private), Err(CKR_MECHANISM_PARAM_INVALID));
        let mut odd = Mech::eddsa(true, b"");
        odd.parameter[0] = 2;
        assert_eq!(c.sign_init(odd, private), Err(CKR_MECHANISM_PARAM_INVALID));
        for mechanism in [CKM_ECDSA, CKM_ECDSA_SHA512, CKM_RSA_PKCS] {
            assert_eq!(c.sign_init(mechanism, private), Err(CKR_KEY_TYPE_INCONSISTENT));
        }
    }
    assert_eq!(c.sign_init(CKM_EDDSA, c.session_pair().1), Err(CKR_KEY_TYPE_INCONSISTENT));
    for (kind, curve) in [(CKM_EC_KEY_PAIR_GEN, ED25519), (CKM_EC_EDWARDS_KEY_PAIR_GEN, P256)] {
        assert_eq!(c.generate_pair(kind, &[v(CKA_EC_PARAMS, curve)], &[]), Err(CKR_CURVE_NOT_SUPPORTED));
    }
}

/// RFC 8032 §7.1 test 3, imported; the public key bare and in an OCTET STRING.
#[test]
fn imported() {
    let home = Installation::software();
    let c = home.client();
    let seed = unhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7");
    let point = unhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
    let signature = unhex(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    );
    for token in [false, true] {
        let private = c.create(&private_key(&seed, token)).unwrap();
        assert_eq!(c.get(private, CKA_EC_POINT).unwrap()[2..], point);
        assert_eq!(c.sign(CKM_EDDSA, private, &[0xaf, 0x82]).unwrap(), signature);
    }
    for point in [point.clone(), [&[4, 32], &point[..]].concat()] {
        let public = c.create(&public_key(&point)).unwrap();
        c.verify(CKM_EDDSA, public, &[0xaf, 0x82], &signature).unwrap();
    }
    for wrong in [&point[1..], &[], &[&point[..], &[0]].concat()] {
        assert_eq!(c.create(&public_key(wrong)), Err(CKR_ATTRIBUTE_VALUE_INVALID));
        assert_eq!(c.create(&private_key(wrong, false)), Err(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    let mut other = private_key(&seed, false);
    other[1] = u(CKA_KEY_TYPE, CKK_EC);
    assert_eq!(c.create(&other), Err(CKR_CURVE_NOT_SUPPORTED));
}

/// A key of the API signs at the door, and its CSR and certificate are openssl's to read. A device has none.
#[test]
fn of_the_api() {
    let home = Installation::software();
    let id = home.create_key("ed", &["--KeySpec=EC_ED25519"]);
    let c = home.client();
    let (public, private) = (c.one(CKO_PUBLIC_KEY, "ed"), c.one(CKO_PRIVATE_KEY, "ed"));
    let signature = c.sign(CKM_EDDSA, private, DATA).unwrap();
    openssl_verifies(&home, &c, public, &signature);
    let pem = home.public_pem(&id);
    let words = ["pkey", "-pubin", "-in", pem.to_str().unwrap(), "-outform", "DER"];
    assert_eq!(openssl(&home.path("."), &words).unwrap(), c.get(public, CKA_PUBLIC_KEY_INFO).unwrap());
    let csr = home.print(&["csr", "--KeyId", "alias/ed", "--Subject", "CN=ed.example"]);
    std::fs::write(home.path("ed.csr"), csr).unwrap();
    openssl(&home.path("."), &["req", "-in", "ed.csr", "-verify", "-noout"]).unwrap();
    // A chain signed with Ed25519 is checked when it is attached.
    for words in [
        "genpkey -algorithm ED25519 -out ca.key",
        "req -x509 -key ca.key -subj /CN=ca -days 30 -out ca.pem",
        "x509 -req -in ed.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 7 -out ed.pem",
    ] {
        openssl(&home.path("."), &words.split(' ').collect::<Vec<_>>()).unwrap();
    }
    let (leaf, chain) = (home.path("ed.pem"), home.path("ca.pem"));
    let (leaf, chain) = (leaf.to_str().unwrap(), chain.to_str().unwrap());
    let attach = ["attach-certificate", "--KeyId", "alias/ed", "--Certificate-FILE", leaf];
    home.print(&[&attach[..], &["--CertificateChain-FILE", chain]].concat());
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_CERTIFICATE), s(CKA_LABEL, "ed")]).len(), 1);
    // No profile of a device names such keys.
    let device = Installation::with_device();
    let output = device
        .command(env!("CARGO_BIN_EXE_alikms"))
        .args(["CreateKey", "--KeySpec=EC_ED25519", "--ProtectionLevel=HSM"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("EC_ED25519"), "{said}");
}
