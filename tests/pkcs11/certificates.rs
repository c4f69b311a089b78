//! Certificates: a CSR by `alikms csr`, signed by openssl, attached with its chain, seen as programs look for it.

use std::path::Path;

use cryptoki_sys::*;

use crate::support::{CERTIFICATE_ID, Client, Installation, KEY_ID, P256, Setup, b, number, openssl, s, u, v};

/// A root and an intermediate authority in `dir`.
fn authorities(dir: &Path) {
    std::fs::write(dir.join("ca.ext"), "basicConstraints=critical,CA:TRUE\n").unwrap();
    let run = |words: &[&str]| openssl(dir, words).unwrap();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let root = ["req", "-x509", "-days", "30", "-subj", "/CN=Test Root", "-keyout", "root.key", "-out", "root.pem"];
    run(&[&root[..], &curve].concat());
    run(&[&["req", "-subj", "/CN=Test Issuing CA", "-keyout", "ca.key", "-out", "ca.csr"][..], &curve].concat());
    let signed =
        ["x509", "-req", "-in", "ca.csr", "-CA", "root.pem", "-CAkey", "root.key", "-set_serial", "2", "-days", "30"];
    run(&[&signed[..], &["-extfile", "ca.ext", "-out", "ca.pem"]].concat());
    let chain = [std::fs::read(dir.join("ca.pem")).unwrap(), std::fs::read(dir.join("root.pem")).unwrap()].concat();
    std::fs::write(dir.join("chain.pem"), chain).unwrap();
}

/// Lets the authority sign `csr`; answers the DER.
fn issue(dir: &Path, csr: &str, serial: &str) -> Vec<u8> {
    std::fs::write(dir.join("leaf.csr"), csr).unwrap();
    let words = ["x509", "-req", "-in", "leaf.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", serial];
    openssl(dir, &[&words[..], &["-days", "20", "-copy_extensions", "copy", "-out", "leaf.pem"]].concat()).unwrap();
    openssl(dir, &["x509", "-in", "leaf.pem", "-outform", "DER"]).unwrap()
}

fn der(dir: &Path, pem: &str) -> Vec<u8> {
    openssl(dir, &["x509", "-in", pem, "-outform", "DER"]).unwrap()
}

fn certificate(c: &Client, label: &str) -> CK_OBJECT_HANDLE {
    c.one(CKO_CERTIFICATE, label)
}

/// The certificate path of a CMK, at a level.
fn attached(level: &str) {
    let installation = Installation::at(level);
    let dir = installation.path(".");
    authorities(&dir);
    for (spec, usage) in [("EC_P256", "SIGN/VERIFY"), ("RSA_2048", "SIGN/VERIFY")] {
        let name = format!("web-{spec}");
        let id = installation.create_key(
            &name,
            &[&format!("--KeySpec={spec}"), &format!("--KeyUsage={usage}"), &format!("--ProtectionLevel={level}")],
        );
        let subject = format!("CN=www.example.com,O={spec}");
        let csr = installation.print(&[
            "csr",
            "--KeyId",
            &format!("alias/{name}"),
            "--Subject",
            &subject,
            "--SubjectAlternativeNames",
            "[\"www.example.com\"]",
        ]);
        std::fs::write(installation.path("check.csr"), &csr).unwrap();
        openssl(&dir, &["req", "-in", "check.csr", "-verify", "-noout"]).unwrap();
        let leaf_der = issue(&dir, &csr, if spec == "EC_P256" { "0x1234" } else { "0x1235" });
        let c = installation.client();
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_CERTIFICATE), s(CKA_LABEL, &name)]).len(), 0);
        let (leaf_pem, chain_pem) = (installation.path("leaf.pem"), installation.path("chain.pem"));
        installation.print(&[
            "attach-certificate",
            "--KeyId",
            &id,
            "--Certificate-FILE",
            leaf_pem.to_str().unwrap(),
            "--CertificateChain-FILE",
            chain_pem.to_str().unwrap(),
        ]);
        let leaf = certificate(&c, &name);
        let key = c.one(CKO_PRIVATE_KEY, &name);
        assert_eq!(c.get(leaf, CKA_VALUE).unwrap(), leaf_der);
        assert_eq!(c.get(leaf, CKA_ID), c.get(key, CKA_ID), "certificate and key belong together by CKA_ID");
        assert_eq!(c.get(leaf, CKA_PUBLIC_KEY_INFO), c.get(key, CKA_PUBLIC_KEY_INFO));
        assert_eq!(number(&c.get(leaf, CKA_CERTIFICATE_TYPE).unwrap()), CKC_X_509);
        assert_eq!(c.get(leaf, CKA_SERIAL_NUMBER).unwrap()[..3], [2, 2, 0x12], "DER INTEGER");
        assert!(!c.is(leaf, CKA_PRIVATE) && !c.is(leaf, CKA_TRUSTED));
        // The chain: one object for each certificate, found by following the issuer as Java does.
        let issuer = c.get(leaf, CKA_ISSUER).unwrap();
        let above = c.find(&[u(CKA_CLASS, CKO_CERTIFICATE), v(CKA_SUBJECT, &issuer)]);
        assert_eq!(above.len(), 1);
        assert_eq!(c.get(above[0], CKA_VALUE).unwrap(), der(&dir, "ca.pem"));
        let root = c.find(&[u(CKA_CLASS, CKO_CERTIFICATE), v(CKA_SUBJECT, c.get(above[0], CKA_ISSUER).unwrap())]);
        assert_eq!(c.get(root[0], CKA_VALUE).unwrap(), der(&dir, "root.pem"));
        assert_eq!(c.get(root[0], CKA_SUBJECT), c.get(root[0], CKA_ISSUER));
        assert!(c.label(above[0]).starts_with("Test Issuing CA@"), "{}", c.label(above[0]));
        assert_eq!(number(&c.get(above[0], CKA_CERTIFICATE_CATEGORY).unwrap()), 2, "an authority");
        // NSS asks by issuer and serial number.
        let wanted = [v(CKA_ISSUER, &issuer), v(CKA_SERIAL_NUMBER, c.get(leaf, CKA_SERIAL_NUMBER).unwrap())];
        assert_eq!(c.find(&wanted), [leaf]);
        // Without a login too.
        let public = Client::open(installation.start());
        assert_eq!(public.find(&[u(CKA_CLASS, CKO_CERTIFICATE), s(CKA_LABEL, &name)]).len(), 1);
    }
    // Shared by both keys, each authority stands there once; no two certificates share a label.
    let c = installation.client();
    let all = c.find(&[u(CKA_CLASS, CKO_CERTIFICATE)]);
    let mut labels: Vec<_> = all.iter().map(|object| c.label(*object)).collect();
    labels.sort();
    labels.dedup();
    assert_eq!((all.len(), labels.len()), (4, 4), "{labels:?}");
}

#[test]
fn attached_in_software() {
    attached("SOFTWARE");
}

#[test]
fn attached_in_a_device() {
    attached("HSM");
}

/// What generic tools do: C_CreateObject of a certificate, beside a key or on its own; C_DestroyObject detaches it.
#[test]
fn created_by_tools() {
    let installation = Installation::new(&Setup::default());
    let dir = installation.path(".");
    authorities(&dir);
    let c = installation.client();
    let foreign = der(&dir, "root.pem");
    for token in [false, true] {
        let template = [
            u(CKA_CLASS, CKO_CERTIFICATE),
            u(CKA_CERTIFICATE_TYPE, CKC_X_509),
            v(CKA_VALUE, &foreign),
            b(CKA_TOKEN, token),
            s(CKA_LABEL, "my root"),
            v(CKA_ID, [9, 9]),
        ];
        let object = c.create(&template).unwrap();
        assert_eq!((c.label(object), c.get(object, CKA_ID).unwrap()), ("my root".to_owned(), vec![9, 9]));
        assert_eq!(c.get(object, CKA_VALUE).unwrap(), foreign);
        assert_eq!(c.find(&[s(CKA_LABEL, "my root")]), [object]);
        assert_eq!(c.create(&template[..2]), Err(CKR_TEMPLATE_INCOMPLETE));
        assert_eq!(c.create(&[template[0].clone(), template[2].clone()]), Err(CKR_TEMPLATE_INCOMPLETE));
        let garbage = [&template[..2], &[v(CKA_VALUE, [0x30, 3, 1, 1, 1]), b(CKA_TOKEN, token)]].concat();
        assert_eq!(c.create(&garbage), Err(CKR_ATTRIBUTE_VALUE_INVALID));
        let trusted = [&template[..], &[b(CKA_TRUSTED, true)]].concat();
        assert_eq!(c.create(&trusted), Err(CKR_ATTRIBUTE_READ_ONLY));
        c.destroy(object).unwrap();
        assert_eq!(c.find(&[s(CKA_LABEL, "my root")]).len(), 0);
    }
    // Beside a key that a tool made.
    let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
    let id = String::from_utf8(c.get(key, KEY_ID).unwrap()).unwrap();
    let leaf = issue(&dir, &installation.print(&["csr", "--KeyId", &id, "--Subject", "CN=web"]), "7");
    let template =
        [u(CKA_CLASS, CKO_CERTIFICATE), u(CKA_CERTIFICATE_TYPE, CKC_X_509), v(CKA_VALUE, &leaf), b(CKA_TOKEN, true)];
    let object = c.create(&template).unwrap();
    assert_eq!(c.get(object, CKA_ID), c.get(key, CKA_ID));
    assert_eq!(c.label(object), "web");
    assert_eq!(c.get(object, CERTIFICATE_ID).unwrap().len(), 36);
    c.destroy(object).unwrap();
    assert_eq!(c.find(&[u(CKA_CLASS, CKO_CERTIFICATE)]).len(), 0);
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
}

/// Ruling 17: what is deployed goes on with the handle that it has, a new search finds nothing.
#[test]
fn s002_037_a_deletion_leaves_what_is_deployed() {
    for level in ["SOFTWARE", "HSM"] {
        let installation = Installation::at(level);
        let dir = installation.path(".");
        authorities(&dir);
        let made = installation.alikms(&[
            "CreateCertificate",
            "--KeySpec=EC_P256",
            "--Subject=CN=web,OU=o,O=o,C=CN",
            "--ProtectionLevel",
            level,
        ]);
        let id = made["CertificateId"].as_str().unwrap();
        issue(&dir, made["Csr"].as_str().unwrap(), "9");
        let leaf = installation.path("leaf.pem");
        installation.print(&["UploadCertificate", "--CertificateId", id, "--Certificate-FILE", leaf.to_str().unwrap()]);
        let c = installation.client();
        let guid = uuid::Uuid::parse_str(id).unwrap();
        let search = [u(CKA_CLASS, CKO_PRIVATE_KEY), v(CKA_ID, guid.as_bytes())];
        let key = c.find(&search)[0];
        c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
        installation.print(&["DeleteCertificate", "--CertificateId", id]);
        assert_eq!(c.find(&search).len(), 0, "{level}");
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_CERTIFICATE)]).len(), 0, "{level}");
        c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
        // INACTIVE acts at once, and so did it before.
        let made = installation.alikms(&["ListCertificates"]);
        assert_eq!(made["TotalSize"], 0);
    }
}
