//! AsymmetricSign, -Verify, -Encrypt, -Decrypt and GetPublicKey, checked with the openssl command.

use serde_json::json;

use crate::bed::{Bed, DIGEST, fields, from_base64, is_guid, text, to_base64, unique};
use crate::common::{ca, openssl, pipe};

at_both_levels! {
    s003_001_007_009_to_011_013_to_019_s004_135_signatures_verify_with_openssl
    s003_008_s004_133_a_digest_of_another_length_is_refused
    s003_012_the_digest_is_base64
    s003_014_to_020_verify_answers_true_or_false
    s003_020_algorithm_and_key_must_fit
    s003_021_key_and_version_by_every_name
    s003_022_s004_049_get_public_key
    s004_119_to_131_encryption
    s004_134_the_digest_of_the_user_guide
    s004_128_base64_with_line_breaks
    oaep_takes_plaintext_up_to_its_limit
    a_wrong_ciphertext_is_refused
    extension_specs_sign_with_their_own_hash
}

/// Key, version, algorithm: what most actions of this chapter begin with.
fn of<'a>(key: &'a (String, String), algorithm: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("KeyId", &key.0), ("KeyVersionId", &key.1), ("Algorithm", algorithm)]
}

fn with<'a>(mut list: Vec<(&'a str, &'a str)>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    list.extend(more);
    list
}

fn public_pem(bed: &Bed, key: &(String, String)) -> String {
    text(&bed.ok("GetPublicKey", &[("KeyId", &key.0), ("KeyVersionId", &key.1)])["PublicKey"])
}

/// S003-007, S003-009 to S003-011: the digest is made outside, as the documents make it.
fn s003_001_007_009_to_011_013_to_019_s004_135_signatures_verify_with_openssl(bed: &Bed) {
    let digest = openssl("dgst -sha256 -binary", b"this is message\n");
    assert_eq!(to_base64(&digest), DIGEST);
    let pss: &[&str] = &["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:-1"];
    for (spec, algorithm, options) in [
        ("RSA_2048", "RSA_PSS_SHA_256", pss),
        ("RSA_2048", "RSA_PKCS1_SHA_256", &[]),
        ("RSA_3072", "RSA_PSS_SHA_256", pss),
        ("RSA_4096", "RSA_PKCS1_SHA_256", &[]),
        ("EC_P256", "ECDSA_SHA_256", &[]),
        ("EC_P256K", "ECDSA_SHA_256", &[]),
    ] {
        let key = bed.pair(spec, "SIGN/VERIFY");
        let answer = bed.ok("AsymmetricSign", &with(of(&key, algorithm), &[("Digest", DIGEST)]));
        // S003-014: exactly these fields; S003-015: one line.
        assert_eq!(fields(&answer), "KeyId KeyVersionId RequestId Value");
        assert_eq!((&answer["KeyId"], &answer["KeyVersionId"]), (&json!(key.0), &json!(key.1)));
        assert!(is_guid(&answer["RequestId"]) && !text(&answer["Value"]).contains('\n'));
        let signature = from_base64(&answer["Value"]);
        if spec.starts_with("EC") {
            // S003-019: SEQUENCE of two INTEGERs.
            assert_eq!((signature[0], usize::from(signature[1]), signature[2]), (0x30, signature.len() - 2, 0x02));
        } else {
            assert_eq!(signature.len() * 8, spec[4..].parse::<usize>().unwrap());
        }
        let folder = tempfile::tempdir().unwrap();
        let public = folder.path().join("public.pem");
        std::fs::write(&public, public_pem(bed, &key)).unwrap();
        assert!(ca::verifies(&public, &digest, &signature, options), "{spec} {algorithm}");
        let other = openssl("dgst -sha256 -binary", b"this is another message\n");
        assert!(!ca::verifies(&public, &other, &signature, options), "{spec} {algorithm}");
    }
}

fn s003_008_s004_133_a_digest_of_another_length_is_refused(bed: &Bed) {
    let sha384 = to_base64(&[7; 48]);
    for (spec, algorithm) in [
        ("RSA_2048", "RSA_PSS_SHA_256"),
        ("RSA_2048", "RSA_PKCS1_SHA_256"),
        ("EC_P256", "ECDSA_SHA_256"),
        ("EC_P256K", "ECDSA_SHA_256"),
    ] {
        let key = bed.pair(spec, "SIGN/VERIFY");
        for digest in [sha384.as_str(), &to_base64(&[7; 20]), &to_base64(&[7; 31]), &to_base64(&[7; 33])] {
            let parameters = with(of(&key, algorithm), &[("Digest", digest)]);
            let fault = bed.fault("AsymmetricSign", &parameters);
            assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{spec} {algorithm}");
            assert!(fault.message.starts_with("The specified parameter \"Digest\" is not valid."), "{fault:?}");
            let parameters = with(parameters, &[("Value", "MAYCAQECAQE=")]);
            assert_eq!(bed.refused("AsymmetricVerify", &parameters), (400, "InvalidParameter"));
        }
    }
}

fn s003_012_the_digest_is_base64(bed: &Bed) {
    let key = bed.pair("EC_P256", "SIGN/VERIFY");
    for digest in ["!", "uCx5YpLfBrqoYMP8Hf9H7j9_1zT-PPxq1qJRW6uQbos=", &DIGEST[1..]] {
        let fault = bed.fault("AsymmetricSign", &with(of(&key, "ECDSA_SHA_256"), &[("Digest", digest)]));
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{digest}");
        assert!(fault.message.contains("\"Digest\""), "{}", fault.message);
    }
}

fn s003_014_to_020_verify_answers_true_or_false(bed: &Bed) {
    for (spec, algorithm) in
        [("RSA_2048", "RSA_PSS_SHA_256"), ("RSA_2048", "RSA_PKCS1_SHA_256"), ("EC_P256K", "ECDSA_SHA_256")]
    {
        let key = bed.pair(spec, "SIGN/VERIFY");
        let signed = bed.ok("AsymmetricSign", &with(of(&key, algorithm), &[("Digest", DIGEST)]));
        let value = text(&signed["Value"]);
        let verify = |digest: &str, value: &str| {
            let answer =
                bed.ok("AsymmetricVerify", &with(of(&key, algorithm), &[("Digest", digest), ("Value", value)]));
            assert_eq!(fields(&answer), "KeyId KeyVersionId RequestId Value");
            answer["Value"].as_bool().unwrap()
        };
        assert!(verify(DIGEST, &value), "{algorithm}");
        assert!(!verify(&to_base64(&[1; 32]), &value), "{algorithm}");
        let mut bytes = from_base64(&signed["Value"]);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        for wrong in [to_base64(&bytes), to_base64(&bytes[..last]), "AA==".into()] {
            assert!(!verify(DIGEST, &wrong), "{algorithm}");
        }
    }
}

fn s003_020_algorithm_and_key_must_fit(bed: &Bed) {
    for (spec, usage, algorithm) in [
        ("RSA_2048", "SIGN/VERIFY", "ECDSA_SHA_256"),
        ("EC_P256", "SIGN/VERIFY", "RSA_PSS_SHA_256"),
        ("EC_P256", "SIGN/VERIFY", "SM2DSA"),
        ("EC_P256K", "SIGN/VERIFY", "ECDSA_SHA_384"),
        ("RSA_2048", "SIGN/VERIFY", "RSAES_OAEP_SHA_256"),
        ("Aliyun_AES_256", "ENCRYPT/DECRYPT", "RSA_PSS_SHA_256"),
    ] {
        let key = bed.pair(spec, usage);
        let parameters = with(of(&key, algorithm), &[("Digest", DIGEST)]);
        assert_eq!(bed.refused("AsymmetricSign", &parameters), (400, "UnsupportedOperation"), "{spec} {algorithm}");
        let parameters = with(parameters, &[("Value", "AA==")]);
        assert_eq!(bed.refused("AsymmetricVerify", &parameters), (400, "UnsupportedOperation"), "{spec} {algorithm}");
    }
    let key = bed.pair("EC_P256", "SIGN/VERIFY");
    for algorithm in ["SM2", "ECDSA", "", "ecdsa_sha_256"] {
        let fault = bed.fault("AsymmetricSign", &with(of(&key, algorithm), &[("Digest", DIGEST)]));
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{algorithm}");
        assert!(fault.message.contains("\"Algorithm\""), "{}", fault.message);
    }
    let rejected = (400, "Rejected.UnsupportedOperation");
    for (spec, usage, algorithm) in [
        ("EC_P256", "SIGN/VERIFY", "RSAES_OAEP_SHA_256"),
        ("RSA_2048", "ENCRYPT/DECRYPT", "RSA_PSS_SHA_256"),
        ("Aliyun_AES_256", "ENCRYPT/DECRYPT", "RSAES_OAEP_SHA_1"),
    ] {
        let key = bed.pair(spec, usage);
        let encrypt = with(of(&key, algorithm), &[("Plaintext", "YQ==")]);
        assert_eq!(bed.refused("AsymmetricEncrypt", &encrypt), rejected, "{spec}");
        let decrypt = with(of(&key, algorithm), &[("CiphertextBlob", "YQ==")]);
        assert_eq!(bed.refused("AsymmetricDecrypt", &decrypt), rejected, "{spec}");
    }
}

/// S004-118: CMK ID or alias, and the version; ruling 2 adds ARNs.
fn s003_021_key_and_version_by_every_name(bed: &Bed) {
    let key = bed.pair("EC_P256", "SIGN/VERIFY");
    let alias = unique("signer");
    bed.ok("CreateAlias", &[("AliasName", &alias), ("KeyId", &key.0)]);
    let arn = text(&bed.describe(&key.0)["Arn"]);
    for name in [&key.0, &alias, &arn, &key.0.to_uppercase()] {
        let parameters =
            [("KeyId", name.as_str()), ("KeyVersionId", &key.1), ("Algorithm", "ECDSA_SHA_256"), ("Digest", DIGEST)];
        assert_eq!(bed.ok("AsymmetricSign", &parameters)["KeyId"], key.0, "{name}");
    }
}

/// S004-049: anyone with the public key can verify: it is a PEM SubjectPublicKeyInfo that OpenSSL reads.
fn s003_022_s004_049_get_public_key(bed: &Bed) {
    for (spec, line) in [
        ("RSA_2048", "Public-Key: (2048 bit)"),
        ("RSA_3072", "Public-Key: (3072 bit)"),
        ("EC_P256", "ASN1 OID: prime256v1"),
        ("EC_P384", "ASN1 OID: secp384r1"),
        ("EC_P256K", "ASN1 OID: secp256k1"),
    ] {
        let key = bed.pair(spec, "SIGN/VERIFY");
        let answer = bed.ok("GetPublicKey", &[("KeyId", &key.0), ("KeyVersionId", &key.1)]);
        assert_eq!(fields(&answer), "KeyId KeyVersionId PublicKey RequestId"); // S004-124
        let pem = text(&answer["PublicKey"]);
        assert!(
            pem.starts_with("-----BEGIN PUBLIC KEY-----\n") && pem.ends_with("-----END PUBLIC KEY-----\n"),
            "{pem}"
        );
        let read = pipe("openssl", &["pkey", "-pubin", "-noout", "-text"], pem.as_bytes());
        assert!(String::from_utf8(read).unwrap().contains(line), "{spec}");
    }
    let (key, version) = (bed.secret(), uuid::Uuid::new_v4().to_string());
    let refused = bed.refused("GetPublicKey", &[("KeyId", &key), ("KeyVersionId", &version)]);
    assert_eq!(refused, (400, "UnsupportedOperation"));
}

/// S004-122 to S004-131; what OpenSSL encrypts is decrypted, and what AsymmetricEncrypt made.
fn s004_119_to_131_encryption(bed: &Bed) {
    let key = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("rsa_publickey.pub");
    std::fs::write(&public, public_pem(bed, &key)).unwrap();
    let message = b"this is plaintext\n";
    for (algorithm, digest) in [("RSAES_OAEP_SHA_256", "sha256"), ("RSAES_OAEP_SHA_1", "sha1")] {
        let words = format!(
            "pkeyutl -encrypt -inkey {} -pubin -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:{digest} -pkeyopt \
             rsa_mgf1_md:{digest}",
            public.display()
        );
        let foreign = to_base64(&openssl(&words, message));
        let own = bed.ok("AsymmetricEncrypt", &with(of(&key, algorithm), &[("Plaintext", &to_base64(message))]));
        assert_eq!(fields(&own), "CiphertextBlob KeyId KeyVersionId RequestId");
        assert_eq!(from_base64(&own["CiphertextBlob"]).len(), 256);
        for blob in [foreign, text(&own["CiphertextBlob"])] {
            let answer = bed.ok("AsymmetricDecrypt", &with(of(&key, algorithm), &[("CiphertextBlob", &blob)]));
            assert_eq!(fields(&answer), "KeyId KeyVersionId Plaintext RequestId"); // S004-130
            assert_eq!(text(&answer["Plaintext"]), "dGhpcyBpcyBwbGFpbnRleHQK"); // S004-131
        }
    }
}

fn s004_128_base64_with_line_breaks(bed: &Bed) {
    let key = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    let algorithm = "RSAES_OAEP_SHA_256";
    let answer = bed.ok("AsymmetricEncrypt", &with(of(&key, algorithm), &[("Plaintext", "YQ==")]));
    let lines = String::from_utf8(openssl("base64", &from_base64(&answer["CiphertextBlob"]))).unwrap();
    assert_eq!(lines.lines().count(), 6);
    for blob in [lines.clone(), lines.replace('\n', "\r\n"), format!(" {lines}\t")] {
        let answer = bed.ok("AsymmetricDecrypt", &with(of(&key, algorithm), &[("CiphertextBlob", &blob)]));
        assert_eq!(answer["Plaintext"], "YQ==");
    }
}

/// kms-api.md §2.1.
fn oaep_takes_plaintext_up_to_its_limit(bed: &Bed) {
    let key = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    for (algorithm, most) in [("RSAES_OAEP_SHA_256", 190), ("RSAES_OAEP_SHA_1", 214)] {
        for length in [0, most] {
            let plaintext = to_base64(&vec![0xa5; length]);
            let answer = bed.ok("AsymmetricEncrypt", &with(of(&key, algorithm), &[("Plaintext", &plaintext)]));
            let blob = text(&answer["CiphertextBlob"]);
            let answer = bed.ok("AsymmetricDecrypt", &with(of(&key, algorithm), &[("CiphertextBlob", &blob)]));
            assert_eq!(text(&answer["Plaintext"]), plaintext, "{algorithm} {length}");
        }
        let longer = to_base64(&vec![0xa5; most + 1]);
        let fault = bed.fault("AsymmetricEncrypt", &with(of(&key, algorithm), &[("Plaintext", &longer)]));
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{algorithm}");
        assert!(fault.message.starts_with("The specified parameter \"Plaintext\" is not valid."), "{fault:?}");
    }
}

fn a_wrong_ciphertext_is_refused(bed: &Bed) {
    let (key, other) = (bed.pair("RSA_2048", "ENCRYPT/DECRYPT"), bed.pair("RSA_2048", "ENCRYPT/DECRYPT"));
    let answer = bed.ok("AsymmetricEncrypt", &with(of(&other, "RSAES_OAEP_SHA_256"), &[("Plaintext", "YQ==")]));
    let foreign = text(&answer["CiphertextBlob"]);
    for blob in [foreign, to_base64(&[0xff; 256]), to_base64(&[1; 255]), to_base64(&[1; 257]), "AA==".into()] {
        for algorithm in ["RSAES_OAEP_SHA_256", "RSAES_OAEP_SHA_1"] {
            let fault = bed.fault("AsymmetricDecrypt", &with(of(&key, algorithm), &[("CiphertextBlob", &blob)]));
            assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{blob}");
            assert!(fault.message.contains("\"CiphertextBlob\""), "{}", fault.message);
        }
    }
}

fn extension_specs_sign_with_their_own_hash(bed: &Bed) {
    let key = bed.pair("EC_P384", "SIGN/VERIFY");
    let digest = to_base64(&openssl("dgst -sha384 -binary", b"this is message\n"));
    let answer = bed.ok("AsymmetricSign", &with(of(&key, "ECDSA_SHA_384"), &[("Digest", &digest)]));
    let folder = tempfile::tempdir().unwrap();
    let (public, signature) = (folder.path().join("public"), folder.path().join("signature"));
    std::fs::write(&public, public_pem(bed, &key)).unwrap();
    std::fs::write(&signature, from_base64(&answer["Value"])).unwrap();
    let words = format!("dgst -sha384 -verify {} -signature {}", public.display(), signature.display());
    assert_eq!(openssl(&words, b"this is message\n"), b"Verified OK\n");
}

/// The document's digest is that of a message with Windows' line end, and misprinted: an I for an l.
fn s004_134_the_digest_of_the_user_guide(bed: &Bed) {
    let digest = "hRP2cuRFSlfEoUXCGuPyi7kZr18VCTZeVOTw0jbUB6w=";
    let message = b"this is message \r\n";
    assert_eq!(to_base64(&openssl("dgst -sha256 -binary", message)), digest);
    for (spec, algorithm) in
        [("RSA_2048", "RSA_PSS_SHA_256"), ("RSA_2048", "RSA_PKCS1_SHA_256"), ("EC_P256", "ECDSA_SHA_256")]
    {
        let (key, version) = bed.pair(spec, "SIGN/VERIFY");
        let with = |digest: &'static str| {
            vec![("KeyId", key.as_str()), ("KeyVersionId", &version), ("Algorithm", algorithm), ("Digest", digest)]
        };
        let value = text(&bed.ok("AsymmetricSign", &with(digest))["Value"]);
        // As it is printed: 32 bytes too, but of nothing that was signed.
        let printed = "hRP2cuRFSIfEoUXCGuPyi7kZr18VCTZeVOTw0jbUB6w=";
        for (digest, expected) in [(digest, true), (printed, false)] {
            let verify = [with(digest), vec![("Value", &value)]].concat();
            assert_eq!(bed.ok("AsymmetricVerify", &verify)["Value"], expected, "{algorithm} {digest}");
        }
    }
}
