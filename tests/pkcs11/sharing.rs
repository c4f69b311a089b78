//! Certificates of another account at the receiver's token (S002-004, 046 to 048).

use cryptoki_sys::*;

use crate::support::{CERTIFICATE_ID, Client, Installation, KEY_ID, PIN, Setup, b, openssl, s, u, v};

const OTHER: &str = "[[token]]\nlabel = \"other\"\naccount = \"2000000000000002\"\nregion = \"cn-hangzhou\"\n";

/// A shareable CA, and an ACTIVE certificate of it. Its ID.
fn issued(home: &Installation, level: &str, spec: &str, subject: &str) -> String {
    let level = format!("--ProtectionLevel={level}");
    let field = |answer: &serde_json::Value, name: &str| answer[name].as_str().unwrap().to_owned();
    let root = ["CreateRootCACertificate", "--Subject=CN=Root", "--Algorithm=EC_P256", "--Years=5", &level];
    let ca = field(&home.alikms(&[&root[..], &["--Shareable=true"]].concat()), "Identifier");
    let spec = format!("--KeySpec={spec}");
    let made = home.alikms(&["CreateCertificate", &spec, "--Subject", subject, &level]);
    let (id, csr) = (field(&made, "CertificateId"), field(&made, "Csr"));
    let ask = ["CreateServerCertificateWithCsr", "--ParentIdentifier", &ca, "--Domain=a.example", "--Csr", &csr];
    let made = home.alikms(&ask);
    let (leaf, chain) = (field(&made, "X509Certificate"), field(&made, "CertificateChain"));
    let give = ["UploadCertificate", "--CertificateId", &id, "--Certificate", &leaf, "--CertificateChain", &chain];
    home.print(&give);
    std::fs::write(home.path("leaf.pem"), leaf).unwrap();
    id
}

/// A logged-in session of the receiver's token.
fn receiver(owner: &Client) -> Client {
    let mut slots = [0; 8];
    let mut count = 8;
    assert_eq!(crate::call!(owner.m, C_GetSlotList(CK_TRUE, slots.as_mut_ptr(), &raw mut count)), CKR_OK);
    let slot = slots[..count as usize].iter().find(|slot| **slot != owner.m.slot()).unwrap();
    let client = Client::try_open(owner.m, *slot, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
    assert_eq!(client.login_as(CKU_USER, PIN), CKR_OK);
    client
}

fn shared(level: &str) {
    let home = Installation::new(&Setup { device: level == "HSM", token: OTHER, ..Setup::default() });
    let id = issued(&home, level, "EC_P256", "CN=shared,OU=o,O=o,C=CN");
    let owner = home.client();
    let c = receiver(&owner);
    let everything = |class| c.find(&[u(CKA_CLASS, class)]);
    assert_eq!(everything(CKO_PRIVATE_KEY).len(), 0);
    let share = ["share-certificate", "--CertificateId", &id, "--AccountId=2000000000000002"];
    let answer = home.alikms(&share);
    let theirs = uuid::Uuid::parse_str(answer["CertificateId"].as_str().unwrap()).unwrap();

    // Key and leaf belong together by CKA_ID; the chain is there; nothing of the key may be read.
    let of = |class| c.find(&[u(CKA_CLASS, class), v(CKA_ID, theirs.as_bytes())]);
    let (key, leaf, public) = (of(CKO_PRIVATE_KEY)[0], of(CKO_CERTIFICATE)[0], of(CKO_PUBLIC_KEY)[0]);
    assert_eq!(everything(CKO_CERTIFICATE).len(), 2);
    let label = c.label(leaf);
    assert!(label.starts_with("shared@") && c.label(key) == label, "{label}");
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, &label)]), [key]);
    let der = openssl(&home.path("."), &["x509", "-in", "leaf.pem", "-outform", "DER"]).unwrap();
    assert_eq!(c.get(leaf, CKA_VALUE).unwrap(), der);
    assert_eq!(c.get(leaf, CKA_PUBLIC_KEY_INFO), c.get(key, CKA_PUBLIC_KEY_INFO));
    assert_eq!(c.get(key, CKA_VALUE), Err(CKR_ATTRIBUTE_SENSITIVE));
    assert!(!c.is(key, CKA_EXTRACTABLE) && c.is(key, CKA_SENSITIVE));
    assert_eq!(c.get(key, CERTIFICATE_ID).unwrap(), theirs.to_string().as_bytes());
    assert_eq!(c.get(key, KEY_ID), Err(CKR_ATTRIBUTE_TYPE_INVALID));

    // It works like a key of one's own, and can be neither destroyed nor given other uses.
    let signature = c.sign(CKM_ECDSA, key, &[7; 32]).unwrap();
    c.verify(CKM_ECDSA, public, &[7; 32], &signature).unwrap();
    let theirs_key =
        owner.find(&[u(CKA_CLASS, CKO_PUBLIC_KEY), v(CKA_ID, uuid::Uuid::parse_str(&id).unwrap().as_bytes())]);
    owner.verify(CKM_ECDSA, theirs_key[0], &[7; 32], &signature).unwrap();
    assert_eq!(c.destroy(key), Err(CKR_ACTION_PROHIBITED));
    assert_eq!(c.destroy(public), Err(CKR_ACTION_PROHIBITED));
    assert_eq!(c.set(key, &[b(CKA_DERIVE, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
    assert_eq!(c.set(key, &[s(CKA_START_DATE, "20260101")]), Err(CKR_ACTION_PROHIBITED));
    c.set(key, &[s(CKA_LABEL, "ours")]).unwrap();
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, "ours")]), [key]);

    // What the owner does acts on an operation that has begun, on the next one, and on searches.
    let status = |status: &str| {
        home.print(&["UpdateCertificateStatus", "--CertificateId", &id, "--Status", status]);
    };
    c.sign_init(CKM_ECDSA, key).unwrap();
    status("INACTIVE");
    assert_eq!(c.sign_data(&[7; 32]), Err(CKR_FUNCTION_REJECTED));
    assert_eq!(c.sign(CKM_ECDSA, key, &[7; 32]), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert_eq!((of(CKO_PRIVATE_KEY).len(), of(CKO_CERTIFICATE).len()), (0, 0));
    status("ACTIVE");
    assert_eq!(of(CKO_PRIVATE_KEY), [key]);
    c.sign_init(CKM_ECDSA, key).unwrap();
    home.print(&["withdraw-certificate", "--CertificateId", &id]);
    assert_eq!(c.sign_data(&[7; 32]), Err(CKR_FUNCTION_REJECTED));
    assert_eq!(c.sign(CKM_ECDSA, key, &[7; 32]), Err(CKR_KEY_HANDLE_INVALID));
    assert_eq!((everything(CKO_PRIVATE_KEY).len(), everything(CKO_CERTIFICATE).len()), (0, 0));
    owner.sign(CKM_ECDSA, owner.one(CKO_PRIVATE_KEY, &format!("shared@{}", &id[..8])), &[7; 32]).unwrap();
}

#[test]
fn shared_in_software() {
    shared("SOFTWARE");
}

#[test]
fn shared_in_a_device() {
    shared("HSM");
}

/// RSA, by the name that `alikms deploy` of the receiver writes.
#[test]
fn a_shared_rsa_certificate_is_deployed_by_its_receiver() {
    let home = Installation::new(&Setup { token: OTHER, ..Setup::default() });
    let id = issued(&home, "SOFTWARE", "RSA_2048", "CN=shared,OU=o,O=o,C=CN");
    let answer = home.alikms(&["share-certificate", "--CertificateId", &id, "--AccountId=2000000000000002"]);
    let theirs = answer["CertificateId"].as_str().unwrap();
    let dir = home.path("web").display().to_string();
    home.print(&[
        "deploy",
        &dir,
        "--token=other",
        "--CertificateId",
        theirs,
        "--pin",
        &format!("file:{}", home.path("user.pin").display()),
    ]);
    let uri = std::fs::read_to_string(home.path("web/current/uri")).unwrap();
    assert!(uri.starts_with("pkcs11:token=other;id="), "{uri}");
    let c = receiver(&home.client());
    let key = c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY)])[0];
    let signature = c.sign(CKM_SHA256_RSA_PKCS, key, b"message").unwrap();
    std::fs::write(home.path("signature"), signature).unwrap();
    std::fs::write(home.path("message"), "message").unwrap();
    let dir = home.path(".");
    let public = openssl(&dir, &["x509", "-in", "leaf.pem", "-noout", "-pubkey"]).unwrap();
    std::fs::write(home.path("public.pem"), public).unwrap();
    openssl(&dir, &["dgst", "-sha256", "-verify", "public.pem", "-signature", "signature", "message"]).unwrap();
}
