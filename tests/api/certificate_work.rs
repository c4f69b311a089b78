//! What the key of a certificate does: sign, verify, encrypt, decrypt. OpenSSL is the other side.

use alikms_pkcs11::model::caller::Caller;

use crate::bed::{Bed, fields, from_base64, text, to_base64};
use crate::certificates::request;
use crate::common::{ca::Ca, openssl, pipe};

at_both_levels! {
    s000_025_028_030_031_032_the_key_signs_and_the_certificate_verifies
    s000_026_033_a_message_has_up_to_4_kb
    s000_027_a_message_is_raw_if_nothing_is_said
    s000_024_only_an_active_certificate_signs_and_a_revoked_one_verifies
    what_the_certificate_encrypts_the_key_decrypts
    algorithm_and_key_must_fit
    the_key_of_a_cmk_works_through_its_certificate
}

const MESSAGE: &[u8] = b"this is message\n";

/// An ACTIVE certificate and its leaf.
pub fn active(bed: &Bed, spec: &str) -> (String, String) {
    let ca = Ca::new();
    let (id, csr) = request(bed, &[("KeySpec", spec)]);
    let leaf = ca.sign(&csr);
    bed.ok("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf), ("CertificateChain", &ca.chain())]);
    (id, leaf)
}

fn sign(bed: &Bed, id: &str, algorithm: &str, message: &[u8], more: &[(&str, &str)]) -> Vec<u8> {
    let message = to_base64(message);
    let mut all = vec![("CertificateId", id), ("Algorithm", algorithm), ("Message", &message)];
    all.extend(more);
    let answer = bed.ok("CertificatePrivateKeySign", &all);
    assert_eq!(fields(&answer), "CertificateId RequestId SignatureValue");
    assert_eq!(answer["CertificateId"], id);
    from_base64(&answer["SignatureValue"])
}

fn verify(bed: &Bed, id: &str, algorithm: &str, message: &[u8], signature: &[u8], more: &[(&str, &str)]) -> bool {
    let (message, signature) = (to_base64(message), to_base64(signature));
    let mut all =
        vec![("CertificateId", id), ("Algorithm", algorithm), ("Message", &message), ("SignatureValue", &signature)];
    all.extend(more);
    let answer = bed.ok("CertificatePublicKeyVerify", &all);
    assert_eq!(fields(&answer), "CertificateId RequestId SignatureValid");
    answer["SignatureValid"].as_bool().unwrap()
}

fn s000_025_028_030_031_032_the_key_signs_and_the_certificate_verifies(bed: &Bed) {
    for (spec, algorithm, options) in [
        ("RSA_2048", "RSA_PKCS1_SHA_256", ""),
        ("RSA_2048", "RSA_PSS_SHA_256", "-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:32"),
        ("EC_P256", "ECDSA_SHA_256", ""),
    ] {
        let (id, leaf) = active(bed, spec);
        let signature = sign(bed, &id, algorithm, MESSAGE, &[]);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("public"), pipe("openssl", &["x509", "-noout", "-pubkey"], leaf.as_bytes())).unwrap();
        std::fs::write(path("signature"), &signature).unwrap();
        let words = format!("dgst -sha256 -verify {} -signature {} {options}", path("public"), path("signature"));
        openssl(&words, MESSAGE);

        assert!(verify(bed, &id, algorithm, MESSAGE, &signature, &[]));
        assert!(!verify(bed, &id, algorithm, b"another message\n", &signature, &[]));
        let mut damaged = signature.clone();
        *damaged.last_mut().unwrap() ^= 1;
        for wrong in [damaged.as_slice(), &signature[1..], b"", b"x"] {
            assert!(!verify(bed, &id, algorithm, MESSAGE, wrong, &[]), "{algorithm} {}", wrong.len());
        }
        let (stranger, _) = active(bed, spec);
        assert!(!verify(bed, &stranger, algorithm, MESSAGE, &signature, &[]));
    }
}

fn s000_026_033_a_message_has_up_to_4_kb(bed: &Bed) {
    let (id, _) = active(bed, "EC_P256");
    let longest = [7; 4096];
    let signature = sign(bed, &id, "ECDSA_SHA_256", &longest, &[]);
    assert!(verify(bed, &id, "ECDSA_SHA_256", &longest, &signature, &[]));
    let (long, value) = (to_base64(&[7; 4097]), to_base64(&signature));
    let mut all = vec![("CertificateId", id.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Message", &long)];
    assert_eq!(bed.refused("CertificatePrivateKeySign", &all), (400, "InvalidParameter"));
    all.push(("SignatureValue", &value));
    let fault = bed.fault("CertificatePublicKeyVerify", &all);
    assert_eq!(fault.code, "InvalidParameter");
    assert!(fault.message.contains("\"Message\"") && fault.message.contains("4 KB"), "{fault:?}");
    all[2] = ("Message", "!");
    assert_eq!(bed.refused("CertificatePublicKeyVerify", &all), (400, "InvalidParameter"));
    // What is longer is signed by its digest, which has one length.
    let digest = openssl("dgst -sha256 -binary", &[7; 5000]);
    let signature = sign(bed, &id, "ECDSA_SHA_256", &digest, &[("MessageType", "DIGEST")]);
    assert!(verify(bed, &id, "ECDSA_SHA_256", &digest, &signature, &[("MessageType", "DIGEST")]));
    assert!(!verify(bed, &id, "ECDSA_SHA_256", &digest, &signature, &[]));
    for wrong in [31, 33, 0, 5000] {
        let digest = to_base64(&vec![7; wrong]);
        let all = [
            ("CertificateId", id.as_str()),
            ("Algorithm", "ECDSA_SHA_256"),
            ("Message", &digest),
            ("MessageType", "DIGEST"),
        ];
        assert_eq!(bed.refused("CertificatePrivateKeySign", &all), (400, "InvalidParameter"), "{wrong}");
    }
}

fn s000_027_a_message_is_raw_if_nothing_is_said(bed: &Bed) {
    let (id, _) = active(bed, "RSA_2048");
    let unsaid = sign(bed, &id, "RSA_PKCS1_SHA_256", MESSAGE, &[]);
    assert_eq!(unsaid, sign(bed, &id, "RSA_PKCS1_SHA_256", MESSAGE, &[("MessageType", "RAW")]));
    let digest = openssl("dgst -sha256 -binary", MESSAGE);
    assert_eq!(unsaid, sign(bed, &id, "RSA_PKCS1_SHA_256", &digest, &[("MessageType", "DIGEST")]));
    let message = to_base64(MESSAGE);
    let all = [
        ("CertificateId", id.as_str()),
        ("Algorithm", "RSA_PKCS1_SHA_256"),
        ("Message", &message),
        ("MessageType", "raw"),
    ];
    assert_eq!(bed.refused("CertificatePrivateKeySign", &all), (400, "InvalidParameter"));
}

fn s000_024_only_an_active_certificate_signs_and_a_revoked_one_verifies(bed: &Bed) {
    let (id, _) = active(bed, "RSA_2048");
    let (pending, _) = request(bed, &[("KeySpec", "RSA_2048")]);
    let message = to_base64(MESSAGE);
    let signature = sign(bed, &id, "RSA_PSS_SHA_256", MESSAGE, &[]);
    let value = to_base64(&signature);
    let state = |to| bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
    let refuses = |id: &str, action: &str, algorithm: &str, input: &str| {
        let mut all = vec![("CertificateId", id), ("Algorithm", algorithm), (input, message.as_str())];
        all.extend((action == "CertificatePublicKeyVerify").then_some(("SignatureValue", value.as_str())));
        assert_eq!(bed.refused(action, &all), (409, "Rejected.StateModifiedFailed"), "{action}");
    };
    let works = |id: &str| {
        refuses(id, "CertificatePrivateKeySign", "RSA_PSS_SHA_256", "Message");
        refuses(id, "CertificatePublicKeyEncrypt", "RSAES_OAEP_SHA_256", "Plaintext");
        refuses(id, "CertificatePrivateKeyDecrypt", "RSAES_OAEP_SHA_256", "CiphertextBlob");
    };
    works(&pending);
    refuses(&pending, "CertificatePublicKeyVerify", "RSA_PSS_SHA_256", "Message");
    state("INACTIVE");
    works(&id);
    refuses(&id, "CertificatePublicKeyVerify", "RSA_PSS_SHA_256", "Message");
    state("ACTIVE");
    sign(bed, &id, "RSA_PSS_SHA_256", MESSAGE, &[]);
    state("REVOKED");
    works(&id);
    assert!(verify(bed, &id, "RSA_PSS_SHA_256", MESSAGE, &signature, &[]));
}

fn what_the_certificate_encrypts_the_key_decrypts(bed: &Bed) {
    let (id, leaf) = active(bed, "RSA_2048");
    for (algorithm, most) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        let plaintext = to_base64(&vec![5; most]);
        let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("Plaintext", &plaintext)];
        let answer = bed.ok("CertificatePublicKeyEncrypt", &all);
        assert_eq!(fields(&answer), "CertificateId CiphertextBlob RequestId");
        let blob = text(&answer["CiphertextBlob"]);
        let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("CiphertextBlob", &blob)];
        let answer = bed.ok("CertificatePrivateKeyDecrypt", &all);
        assert_eq!(fields(&answer), "CertificateId Plaintext RequestId");
        assert_eq!(text(&answer["Plaintext"]), plaintext);
        let longer = to_base64(&vec![5; most + 1]);
        let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("Plaintext", &longer)];
        assert_eq!(bed.refused("CertificatePublicKeyEncrypt", &all), (400, "InvalidParameter"));
        let damaged = to_base64(&[9; 256]);
        let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("CiphertextBlob", &damaged)];
        assert_eq!(bed.refused("CertificatePrivateKeyDecrypt", &all).0, 400);
    }
    // Of openssl's making.
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public").display().to_string();
    std::fs::write(&public, pipe("openssl", &["x509", "-noout", "-pubkey"], leaf.as_bytes())).unwrap();
    let words = format!(
        "pkeyutl -encrypt -pubin -inkey {public} -pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256"
    );
    let blob = to_base64(&openssl(&words, MESSAGE));
    let all = [("CertificateId", id.as_str()), ("Algorithm", "RSAES_OAEP_SHA_256"), ("CiphertextBlob", &blob)];
    assert_eq!(from_base64(&bed.ok("CertificatePrivateKeyDecrypt", &all)["Plaintext"]), MESSAGE);
}

fn algorithm_and_key_must_fit(bed: &Bed) {
    let message = to_base64(MESSAGE);
    for (spec, wrong) in [
        ("RSA_2048", ["ECDSA_SHA_256", "SM2DSA", "RSAES_OAEP_SHA_256", "", "RSA_PSS_SHA_384"]),
        ("EC_P256", ["RSA_PSS_SHA_256", "RSA_PKCS1_SHA_256", "SM2DSA", "SM2PKE", "ECDSA_SHA_384"]),
    ] {
        let (id, _) = active(bed, spec);
        for algorithm in wrong {
            let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("Message", &message)];
            let fault = bed.fault("CertificatePrivateKeySign", &all);
            assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{spec} {algorithm}");
            assert!(fault.message.contains("\"Algorithm\""), "{fault:?}");
        }
        let all = [("CertificateId", id.as_str()), ("Algorithm", "SM2PKE"), ("Plaintext", &message)];
        assert_eq!(bed.refused("CertificatePublicKeyEncrypt", &all), (400, "InvalidParameter"));
    }
    let nobody = uuid::Uuid::new_v4().to_string();
    for (id, refused) in [(nobody.as_str(), (404, "Certificate.NotFound")), ("1", (400, "InvalidParameter"))] {
        let all = [("CertificateId", id), ("Algorithm", "ECDSA_SHA_256"), ("Message", message.as_str())];
        assert_eq!(bed.refused("CertificatePrivateKeySign", &all), refused);
    }
}

/// An attached certificate is in the list, and its key signs as the CMK does: not if that is disabled.
fn the_key_of_a_cmk_works_through_its_certificate(bed: &Bed) {
    let (ca, caller) = (Ca::new(), Caller::account());
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&caller, &key, None, "CN=cmk", &[]).unwrap();
    let leaf = ca.sign(&csr);
    bed.kms().attach_certificate(&caller, &key, &leaf, Some(&ca.chain())).unwrap();
    let list = bed.ok("ListCertificates", &[("Subject", "CN=cmk"), ("PageSize", "100")]);
    let mine = list["CertificateSummaryList"].as_array().unwrap().iter();
    let ids: Vec<String> = mine.map(|it| text(&it["CertificateId"])).collect();
    let same = |id: &&String| text(&bed.ok("GetCertificate", &[("CertificateId", id)])["Certificate"]) == leaf;
    let id = ids.iter().find(same).unwrap();
    let signature = sign(bed, id, "ECDSA_SHA_256", MESSAGE, &[]);
    let version = bed.versions(&key).swap_remove(0);
    let digest = to_base64(&openssl("dgst -sha256 -binary", MESSAGE));
    let value = to_base64(&signature);
    let all = [
        ("KeyId", key.as_str()),
        ("KeyVersionId", &version),
        ("Algorithm", "ECDSA_SHA_256"),
        ("Digest", &digest),
        ("Value", &value),
    ];
    assert_eq!(bed.ok("AsymmetricVerify", &all)["Value"], true);
    bed.ok("DisableKey", &[("KeyId", &key)]);
    let message = to_base64(MESSAGE);
    let all = [("CertificateId", id.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Message", &message)];
    assert_eq!(bed.refused("CertificatePrivateKeySign", &all), (409, "Rejected.Disabled"));
    bed.ok("EnableKey", &[("KeyId", &key)]);
    // Deleting the certificate leaves the key as it is.
    bed.ok("DeleteCertificate", &[("CertificateId", id)]);
    assert_eq!(bed.state(&key), "Enabled");
    assert_eq!(bed.refused("CertificatePrivateKeySign", &all), (404, "Certificate.NotFound"));
}
