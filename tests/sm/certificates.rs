//! CSRs and certificates with SM2: openssl checks our requests and issues what we take over.

use crate::support::Installation;
use crate::{DISTID, file, refused, ssl};

const SUBJECT: &str = "CN=sm.example.com,OU=web,O=Example,C=CN";

/// A CA of openssl's: ca.pem and ca.key, which signs with SM3 and this ID.
fn authority(home: &Installation, name: &str) {
    ssl(home, &format!("genpkey -algorithm SM2 -out {name}.key"));
    ssl(
        home,
        &format!(
            "req -new -x509 -key {name}.key -sm3 -sigopt {DISTID} -subj /CN={name} -days 30 -out {name}.pem -addext basicConstraints=critical,CA:TRUE"
        ),
    );
}

/// Signs csr.pem of the installation.
fn issue(home: &Installation, ca: &str, id: &str, name: &str) -> String {
    ssl(
        home,
        &format!(
            "x509 -req -in csr.pem -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -sm3 -sigopt {id} -vfyopt {DISTID} -days 20 -out {name}"
        ),
    );
    home.path(name).display().to_string()
}

/// Does openssl find csr.pem signed by its own key, with this ID? (It says so; its exit status is 0 in both cases.)
fn is_genuine(home: &Installation, id: &str) -> bool {
    let words = ["req", "-verify", "-noout", "-vfyopt", id, "-in"];
    let said = home.command("openssl").args(words).arg(home.path("csr.pem")).output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("verify OK") || said.contains("verify failure"), "{said}");
    said.contains("verify OK")
}

#[test]
fn csr_of_a_key_and_its_certificate() {
    let home = Installation::software();
    let key = home.create_key("web", &["--KeySpec=EC_SM2", "--KeyUsage=SIGN/VERIFY"]);
    let csr =
        home.print(&["csr", "--KeyId", &key, "--Subject=CN=sm.example.com", "--SubjectAlternativeNames=a.example"]);
    file(&home, "csr.pem", csr);
    assert!(is_genuine(&home, DISTID) && !is_genuine(&home, "distid:other"));
    let text = String::from_utf8(ssl(&home, "req -in csr.pem -noout -text")).unwrap();
    assert!(text.contains("Signature Algorithm: SM2-with-SM3") && text.contains("DNS:a.example"), "{text}");

    authority(&home, "ca");
    let (leaf, chain) = (issue(&home, "ca", DISTID, "leaf.pem"), home.path("ca.pem").display().to_string());
    home.print(&[
        "attach-certificate",
        "--KeyId",
        &key,
        "--Certificate-FILE",
        &leaf,
        "--CertificateChain-FILE",
        &chain,
    ]);
    let c = home.client();
    let label = "web";
    let certificate = c.one(cryptoki_sys::CKO_CERTIFICATE, label);
    let private = c.one(cryptoki_sys::CKO_PRIVATE_KEY, label);
    assert_eq!(c.get(certificate, cryptoki_sys::CKA_ID), c.get(private, cryptoki_sys::CKA_ID));
}

/// S001-004 and S000-016: EC_SM2 is one of the three.
#[test]
fn s001_004_certificate_of_an_sm2_key() {
    let home = Installation::software();
    let made = home.alikms(&["CreateCertificate", "--KeySpec=EC_SM2", "--Subject", SUBJECT]);
    let id = made["CertificateId"].as_str().unwrap();
    file(&home, "csr.pem", made["Csr"].as_str().unwrap());
    assert!(is_genuine(&home, DISTID));
    for name in ["ca", "other"] {
        authority(&home, name);
    }
    let ca = home.path("ca.pem").display().to_string();
    let other = home.path("other.pem").display().to_string();
    let good = issue(&home, "ca", DISTID, "good.pem");
    let upload = |leaf: &str, chain: &str| {
        ["UploadCertificate", "--CertificateId", id, "--Certificate-FILE", leaf, "--CertificateChain-FILE", chain]
            .map(str::to_owned)
    };
    // Another issuer of the same name, and a signature made with another ID, do not pass.
    let foreign = issue(&home, "ca", "distid:somebody", "foreign.pem");
    for (leaf, chain) in [(&good, &other), (&foreign, &ca)] {
        let said = refused(&home, &upload(leaf, chain).each_ref().map(String::as_str));
        assert!(said.contains("InvalidParameter"), "{said}");
    }
    home.print(&upload(&good, &ca).each_ref().map(String::as_str));
    let described = home.alikms(&["DescribeCertificate", "--CertificateId", id]);
    assert_eq!(described["SignatureAlgorithm"].as_str(), Some("SM2-SM3"), "{described}");
    assert_eq!(described["Status"].as_str(), Some("ACTIVE"), "{described}");
}

/// A chain that goes from one algorithm to the other.
#[test]
fn an_sm2_key_under_an_rsa_authority() {
    let home = Installation::software();
    let made = home.alikms(&["CreateCertificate", "--KeySpec=EC_SM2", "--Subject", SUBJECT]);
    file(&home, "csr.pem", made["Csr"].as_str().unwrap());
    ssl(
        &home,
        "req -new -x509 -newkey rsa:2048 -nodes -keyout ca.key -subj /CN=ca -days 30 -out ca.pem -addext basicConstraints=critical,CA:TRUE",
    );
    ssl(
        &home,
        &format!(
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -vfyopt {DISTID} -days 20 -out leaf.pem"
        ),
    );
    let (leaf, ca) = (home.path("leaf.pem").display().to_string(), home.path("ca.pem").display().to_string());
    let id = made["CertificateId"].as_str().unwrap();
    home.print(&[
        "UploadCertificate",
        "--CertificateId",
        id,
        "--Certificate-FILE",
        &leaf,
        "--CertificateChain-FILE",
        &ca,
    ]);
}
