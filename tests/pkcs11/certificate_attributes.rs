//! What a certificate object says of itself (PKCS#11 3.2 §4.6), judged by openssl, and which certificates are seen.

use cryptoki_sys::*;
use der::{Decode, Encode};
use x509_cert::Certificate;

use crate::support::{Client, Installation, P256, b, number, openssl, s, u, v};

/// A self-signed certificate of openssl's with these options.
fn made(home: &Installation, more: &[&str]) -> Vec<u8> {
    let dir = home.path(".");
    let words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "x.key"];
    openssl(&dir, &[&words[..], &["-out", "x.pem"], more].concat()).unwrap();
    openssl(&dir, &["x509", "-in", "x.pem", "-outform", "DER"]).unwrap()
}

fn template(der: &[u8], token: bool) -> Vec<crate::support::Attr> {
    vec![u(CKA_CLASS, CKO_CERTIFICATE), u(CKA_CERTIFICATE_TYPE, CKC_X_509), v(CKA_VALUE, der), b(CKA_TOKEN, token)]
}

const LEAF: &[&str] =
    &["-subj", "/C=CN/O=Example/CN=leaf", "-days", "40", "-addext", "basicConstraints=critical,CA:FALSE"];
const CA: &[&str] = &["-subj", "/CN=authority", "-days", "40"];

#[test]
fn every_attribute_is_what_the_certificate_says() {
    let home = Installation::software();
    let c = home.client();
    for (options, authority) in [(LEAF, false), (CA, true)] {
        let der = made(&home, options);
        let read = Certificate::from_der(&der).unwrap();
        let tbs = read.tbs_certificate();
        let sha1 = openssl(&home.path("."), &["x509", "-in", "x.pem", "-noout", "-fingerprint", "-sha1"]).unwrap();
        let sha1 = String::from_utf8(sha1).unwrap();
        let print: String = sha1.trim().rsplit('=').next().unwrap().split(':').take(3).collect();
        let day = |option: &str| {
            let said =
                openssl(&home.path("."), &["x509", "-in", "x.pem", "-noout", option, "-dateopt", "iso_8601"]).unwrap();
            let said = String::from_utf8(said).unwrap();
            said.chars().filter(char::is_ascii_digit).take(8).collect::<String>().into_bytes()
        };
        for token in [false, true] {
            let object = c.create(&template(&der, token)).unwrap();
            let get = |kind| c.get(object, kind).unwrap();
            for (kind, expected) in [
                (CKA_VALUE, der.clone()),
                (CKA_SUBJECT, tbs.subject().to_der().unwrap()),
                (CKA_ISSUER, tbs.issuer().to_der().unwrap()),
                (CKA_SERIAL_NUMBER, tbs.serial_number().to_der().unwrap()),
                (CKA_PUBLIC_KEY_INFO, tbs.subject_public_key_info().to_der().unwrap()),
                (CKA_START_DATE, day("-startdate")),
                (CKA_END_DATE, day("-enddate")),
                (CKA_URL, Vec::new()),
                (CKA_HASH_OF_SUBJECT_PUBLIC_KEY, Vec::new()),
                (CKA_HASH_OF_ISSUER_PUBLIC_KEY, Vec::new()),
            ] {
                assert_eq!(get(kind), expected, "{kind:#x}");
            }
            let check: String = get(CKA_CHECK_VALUE).iter().map(|byte| format!("{byte:02X}")).collect();
            assert_eq!(check, print);
            // Without its key it is another's; of a session nothing is known.
            let category = if authority {
                2
            } else if token {
                3
            } else {
                0
            };
            for (kind, expected) in [
                (CKA_CERTIFICATE_TYPE, CKC_X_509),
                (CKA_CERTIFICATE_CATEGORY, category),
                (CKA_JAVA_MIDP_SECURITY_DOMAIN, 0),
                (CKA_NAME_HASH_ALGORITHM, CKM_SHA_1),
            ] {
                assert_eq!(number(&get(kind)), expected, "{kind:#x}");
            }
            assert!(!c.is(object, CKA_TRUSTED) && !c.is(object, CKA_PRIVATE));
            // None of it is changed afterwards; a label is.
            for kind in [CKA_SUBJECT, CKA_ISSUER, CKA_SERIAL_NUMBER, CKA_CHECK_VALUE, CKA_START_DATE, CKA_VALUE] {
                let value = get(kind);
                assert_eq!(c.set(object, &[v(kind, value)]), Err(CKR_ATTRIBUTE_READ_ONLY), "{kind:#x}");
            }
            assert_eq!(c.set(object, &[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
            c.set(object, &[s(CKA_LABEL, "named")]).unwrap();
            c.destroy(object).unwrap();
        }
    }
}

#[test]
fn a_template_says_what_the_certificate_says() {
    let home = Installation::software();
    let c = home.client();
    let der = made(&home, LEAF);
    let read = Certificate::from_der(&der).unwrap();
    let tbs = read.tbs_certificate();
    let (subject, serial) = (tbs.subject().to_der().unwrap(), tbs.serial_number().to_der().unwrap());
    for token in [false, true] {
        let with = |more: crate::support::Attr| c.create(&[template(&der, token), vec![more]].concat());
        for (kind, wrong, code) in [
            (CKA_SUBJECT, vec![0x30, 0], CKR_TEMPLATE_INCONSISTENT),
            (CKA_ISSUER, vec![0x30, 0], CKR_TEMPLATE_INCONSISTENT),
            (CKA_SERIAL_NUMBER, vec![2, 1, 1], CKR_TEMPLATE_INCONSISTENT),
            (CKA_PUBLIC_KEY_INFO, vec![0x30, 0], CKR_TEMPLATE_INCONSISTENT),
            (CKA_START_DATE, b"19990101".to_vec(), CKR_TEMPLATE_INCONSISTENT),
            (CKA_END_DATE, b"tomorrow".to_vec(), CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_CHECK_VALUE, vec![1, 2, 3], CKR_ATTRIBUTE_VALUE_INVALID),
            (CKA_MODULUS, vec![1], CKR_ATTRIBUTE_TYPE_INVALID),
        ] {
            assert_eq!(with(v(kind, wrong)), Err(code), "{kind:#x}");
        }
        for kind in [CKA_CERTIFICATE_CATEGORY, CKA_JAVA_MIDP_SECURITY_DOMAIN] {
            assert_eq!(with(u(kind, 4)), Err(CKR_ATTRIBUTE_VALUE_INVALID), "{kind:#x}");
        }
        // As pkcs11-tool gives the serial number, as Java does, and what stands for "I do not say".
        for good in [
            v(CKA_SUBJECT, subject.clone()),
            v(CKA_SUBJECT, []),
            v(CKA_SERIAL_NUMBER, serial.clone()),
            v(CKA_SERIAL_NUMBER, &serial[2..]),
            v(CKA_CHECK_VALUE, []),
            u(CKA_CERTIFICATE_CATEGORY, 3),
        ] {
            let object = with(good).unwrap();
            assert_eq!(c.get(object, CKA_SUBJECT).unwrap(), subject);
            assert_eq!(c.get(object, CKA_SERIAL_NUMBER).unwrap(), serial);
            assert_eq!(c.get(object, CKA_CHECK_VALUE).unwrap().len(), 3);
            c.destroy(object).unwrap();
        }
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_CERTIFICATE)]).len(), 0, "what was refused left nothing behind");
    }
}

/// The security officer says which certificates are trusted; what PKCS#11 means by that is the application's to know.
#[test]
fn the_security_officer_trusts() {
    let home = Installation::software();
    let (user, der) = (home.client(), made(&home, CA));
    let object = user.create(&template(&der, true)).unwrap();
    assert_eq!(user.logout(), CKR_OK);
    user.login_so();
    user.set(object, &[b(CKA_TRUSTED, true)]).unwrap();
    assert_eq!(user.set(object, &[s(CKA_LABEL, "x")]), Err(CKR_USER_NOT_LOGGED_IN), "and does nothing else");
    assert_eq!(user.logout(), CKR_OK);
    user.login();
    assert!(user.is(object, CKA_TRUSTED));
    user.set(object, &[b(CKA_TRUSTED, false)]).unwrap();
    assert_eq!(user.set(object, &[b(CKA_TRUSTED, true)]), Err(CKR_ATTRIBUTE_READ_ONLY));
}

/// S000-023 and 024: key, leaf and chain of a certificate are seen while it is ACTIVE.
#[test]
fn s000_023_024_only_active_certificates_are_objects() {
    let home = Installation::software();
    let c = home.client();
    let seen = |c: &Client| {
        [CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, CKO_CERTIFICATE].map(|class| c.find(&[u(CKA_CLASS, class)]).len())
    };
    let made = home.alikms(&["CreateCertificate", "--KeySpec=EC_P256", "--Subject=CN=web,OU=o,O=o,C=CN"]);
    let id = made["CertificateId"].as_str().unwrap();
    assert_eq!(seen(&c), [0, 0, 0], "PENDING");
    made_by(&home, made["Csr"].as_str().unwrap());
    let path = |name: &str| home.path(name).display().to_string();
    let (leaf, ca) = (path("leaf.pem"), path("x.pem"));
    home.print(&[
        "UploadCertificate",
        "--CertificateId",
        id,
        "--Certificate-FILE",
        &leaf,
        "--CertificateChain-FILE",
        &ca,
    ]);
    assert_eq!(seen(&c), [1, 1, 2], "ACTIVE");
    let leaf = c.find(&[u(CKA_CLASS, CKO_CERTIFICATE), u(CKA_CERTIFICATE_CATEGORY, 1)]);
    assert_eq!(leaf.len(), 1, "the token user's own");
    for (status, expected) in [("INACTIVE", [0, 0, 0]), ("ACTIVE", [1, 1, 2]), ("REVOKED", [0, 0, 0])] {
        home.print(&["UpdateCertificateStatus", "--CertificateId", id, "--Status", status]);
        assert_eq!(seen(&c), expected, "{status}");
    }
}

/// leaf.pem of x.pem, an authority.
fn made_by(home: &Installation, csr: &str) {
    made(home, CA);
    std::fs::write(home.path("leaf.csr"), csr).unwrap();
    let words =
        ["x509", "-req", "-in", "leaf.csr", "-CA", "x.pem", "-CAkey", "x.key", "-days", "9", "-out", "leaf.pem"];
    openssl(&home.path("."), &words).unwrap();
}

/// C_CreateObject of a certificate whose key is here is an upload: it stands beside the key, and the list shows it.
#[test]
fn a_created_certificate_finds_its_key_and_the_list() {
    let home = Installation::software();
    let c = home.client();
    let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
    let id = String::from_utf8(c.get(key, crate::support::KEY_ID).unwrap()).unwrap();
    made_by(&home, &home.print(&["csr", "--KeyId", &id, "--Subject", "CN=web"]));
    let der = openssl(&home.path("."), &["x509", "-in", "leaf.pem", "-outform", "DER"]).unwrap();
    let object = c.create(&template(&der, true)).unwrap();
    assert_eq!((c.get(object, CKA_ID), c.label(object)), (c.get(key, CKA_ID), "web".to_owned()));
    assert_eq!(number(&c.get(object, CKA_CERTIFICATE_CATEGORY).unwrap()), 1);
    let listed = home.alikms(&["ListCertificates"]);
    let of = |name: &str| listed["CertificateSummaryList"][0][name].as_str().unwrap().to_owned();
    assert_eq!(
        (listed["TotalSize"].as_u64(), of("Source"), of("Subject")),
        (Some(1), "ATTACHED".into(), "CN=web".into())
    );
    let pem = home.print(&["GetCertificate", "--CertificateId", &of("CertificateId"), "--query", "Certificate"]);
    assert_eq!(pem.trim_end(), std::fs::read_to_string(home.path("leaf.pem")).unwrap().trim_end());
    // Another one, of nobody's key, stands alone.
    let foreign = c.create(&template(&made(&home, LEAF), true)).unwrap();
    assert_ne!(c.get(foreign, CKA_ID), c.get(key, CKA_ID));
    assert_eq!(home.alikms(&["ListCertificates"])["TotalSize"], 2);
}
