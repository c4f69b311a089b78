//! CSRs and certificates with SM2: openssl checks our requests and issues what we take over.

use crate::support::Installation;
use crate::{DISTID, MESSAGE, base64, file, refused, ssl, ssl_fails, unbase64};

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

/// An ACTIVE SM2 certificate, and its CA in ca.pem.
fn active(home: &Installation) -> String {
    let made = home.alikms(&["CreateCertificate", "--KeySpec=EC_SM2", "--Subject", SUBJECT]);
    file(home, "csr.pem", made["Csr"].as_str().unwrap());
    authority(home, "ca");
    let leaf = issue(home, "ca", DISTID, "leaf.pem");
    let id = made["CertificateId"].as_str().unwrap().to_owned();
    home.print(&["UploadCertificate", "--CertificateId", &id, "--Certificate-FILE", &leaf]);
    id
}

/// RAW: Z_A of the default ID and the message are hashed here. DIGEST: e as GB/T 32918.2 has it.
#[test]
fn s000_025_030_sm2_signatures_verify_with_openssl() {
    let home = Installation::software();
    let id = active(&home);
    let message = base64(MESSAGE);
    let sign = |more: &[&str]| {
        let all = [&["CertificatePrivateKeySign", "--CertificateId", &id, "--Algorithm=SM2DSA"][..], more].concat();
        home.alikms(&all)["SignatureValue"].as_str().unwrap().to_owned()
    };
    let verified = |message: &str, signature: &str| {
        let all = ["CertificatePublicKeyVerify", "--CertificateId", &id, "--Algorithm=SM2DSA", "--Message", message];
        home.alikms(&[&all[..], &["--SignatureValue", signature]].concat())["SignatureValid"].as_bool().unwrap()
    };
    let signature = sign(&["--Message", &message]);
    file(&home, "message", MESSAGE);
    file(&home, "signature", unbase64(&signature));
    file(&home, "public.pem", ssl(&home, "x509 -in leaf.pem -noout -pubkey"));
    let check = "pkeyutl -verify -pubin -inkey public.pem -in message -sigfile signature -rawin -digest sm3 -pkeyopt";
    ssl(&home, &format!("{check} {DISTID}"));
    ssl_fails(&home, &format!("{check} distid:other"));
    assert!(verified(&message, &signature) && !verified("eA==", &signature));
    // Of openssl's hand with our key it cannot be; with another key it is not ours.
    ssl(&home, "genpkey -algorithm SM2 -out other.key");
    ssl(
        &home,
        &format!("pkeyutl -sign -inkey other.key -in message -out foreign -rawin -digest sm3 -pkeyopt {DISTID}"),
    );
    let foreign = base64(std::fs::read(home.path("foreign")).unwrap());
    assert!(!verified(&message, &foreign));
    let said = refused(
        &home,
        &["CertificatePrivateKeySign", "--CertificateId", &id, "--Algorithm=ECDSA_SHA_256", "--Message", &message],
    );
    assert!(said.contains("InvalidParameter"), "{said}");
    let e = base64([7; 32]);
    let signature = sign(&["--Message", &e, "--MessageType=DIGEST"]);
    let all = ["CertificatePublicKeyVerify", "--CertificateId", &id, "--Algorithm=SM2DSA", "--Message", &e];
    let answer = home.alikms(&[&all[..], &["--MessageType=DIGEST", "--SignatureValue", &signature]].concat());
    assert_eq!(answer["SignatureValid"], true);
}

/// An SM2 certificate for a key of openssl's, `NAME.key`, in `NAME.pem`, with this key usage.
fn pair(home: &Installation, name: &str, usage: &str) {
    ssl(home, &format!("genpkey -algorithm SM2 -out {name}.key"));
    ssl(home, &format!("req -new -key {name}.key -sm3 -sigopt {DISTID} -subj /CN={name} -out csr.pem"));
    file(home, "usage.ext", format!("keyUsage=critical,{usage}\n"));
    ssl(
        home,
        &format!(
            "x509 -req -in csr.pem -CA ca.pem -CAkey ca.key -CAcreateserial -sm3 -sigopt {DISTID} -vfyopt {DISTID} -days 20 -extfile usage.ext -out {name}.pem"
        ),
    );
}

/// The enveloped key: SM4 under SM2PKE, the scalar under SM4-ECB.
#[test]
fn the_encryption_certificate_beside_a_signing_one() {
    let home = Installation::software();
    let id = active(&home);
    pair(&home, "encryption", "keyEncipherment,dataEncipherment");
    let der = ssl(&home, "pkey -in encryption.key -outform DER");
    let at = der.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
    let scalar = &der[at..at + 32];
    let symmetric = [0x42; 16];
    let wrapped = home.alikms(&[
        "CertificatePublicKeyEncrypt",
        "--CertificateId",
        &id,
        "--Algorithm=SM2PKE",
        "--Plaintext",
        &base64(symmetric),
    ]);
    let wrapped = wrapped["CiphertextBlob"].as_str().unwrap().to_owned();
    let import = |certificate: &str, plain: &[u8], wrapped: &str| {
        file(&home, "plain", plain);
        let sealed = base64(ssl(&home, &format!("enc -sm4-ecb -nopad -K {} -in plain", "42".repeat(16))));
        let path = home.path(certificate).display().to_string();
        [
            "ImportEncryptionCertificate",
            "--CertificateId",
            &id,
            "--Certificate-FILE",
            &path,
            "--AsymmetricAlgorithm=SM2PKE",
            "--SymmetricAlgorithm=SM4",
            "--EncryptedSymmetricKey",
            wrapped,
            "--EncryptedPrivateKey",
            &sealed,
        ]
        .map(str::to_owned)
    };
    let words = |all: &[String]| all.iter().map(String::clone).collect::<Vec<_>>();
    let fails = |all: [String; 11]| {
        let all = words(&all);
        let said = refused(&home, &all.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains("InvalidParameter"), "{said}");
    };
    fails(import("encryption.pem", &[1; 32], &wrapped));
    fails(import("encryption.pem", &scalar[..16], &wrapped));
    fails(import("encryption.pem", scalar, &base64([4; 113])));
    // A certificate that may only sign is no encryption certificate.
    pair(&home, "signing", "digitalSignature");
    fails(import("signing.pem", scalar, &wrapped));
    let good = import("encryption.pem", &[&[0; 32], scalar].concat(), &wrapped);
    let answer = home.alikms(&good.each_ref().map(String::as_str));
    fails(good);
    let second = answer["CertificateId"].as_str().unwrap();
    assert_ne!(second, id);
    let all = ["CertificatePublicKeyEncrypt", "--CertificateId", second, "--Algorithm=SM2PKE", "--Plaintext", "eHl6"];
    let blob = home.alikms(&all)["CiphertextBlob"].as_str().unwrap().to_owned();
    let all =
        ["CertificatePrivateKeyDecrypt", "--CertificateId", second, "--Algorithm=SM2PKE", "--CiphertextBlob", &blob];
    assert_eq!(home.alikms(&all)["Plaintext"], "eHl6");
}

/// S002-029 to 034: two certificates with two keys.
#[test]
fn s002_029_to_034_signing_and_encryption_certificate_with_their_keys() {
    let home = Installation::software();
    authority(&home, "ca");
    pair(&home, "sign", "digitalSignature");
    pair(&home, "encrypt", "keyEncipherment,dataEncipherment");
    let path = |name: &str| home.path(name).display().to_string();
    let upload = |sign: &str, sign_key: &str, encrypt: &str, encrypt_key: &str, name: &str| {
        [
            "UploadUserCertificate".to_owned(),
            "--SignCert-FILE".to_owned(),
            path(sign),
            "--SignPrivateKey-FILE".to_owned(),
            path(sign_key),
            "--EncryptCert-FILE".to_owned(),
            path(encrypt),
            "--EncryptPrivateKey-FILE".to_owned(),
            path(encrypt_key),
            format!("--Name={name}"),
            "--ResourceGroupId=rg".to_owned(),
        ]
    };
    let fails = |all: [String; 11]| {
        let said = refused(&home, &all.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(said.contains("InvalidParameter"), "{said}");
    };
    fails(upload("sign.pem", "encrypt.key", "encrypt.pem", "encrypt.key", "a"));
    fails(upload("sign.pem", "sign.key", "encrypt.pem", "sign.key", "a"));
    fails(upload("encrypt.pem", "encrypt.key", "encrypt.pem", "encrypt.key", "a"));
    fails(upload("encrypt.pem", "encrypt.key", "sign.pem", "sign.key", "a"));
    ssl(&home, "req -new -x509 -newkey rsa:2048 -nodes -keyout rsa.key -subj /CN=rsa -days 30 -out rsa.pem");
    fails(upload("rsa.pem", "rsa.key", "encrypt.pem", "encrypt.key", "a"));
    let missing = &upload("sign.pem", "sign.key", "encrypt.pem", "encrypt.key", "a")[..7];
    let said = refused(&home, &missing.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("MissingParameter"), "{said}");
    assert_eq!(home.alikms(&["ListCertificates"])["TotalSize"], 0, "nothing was left behind");
    let good = upload("sign.pem", "sign.key", "encrypt.pem", "encrypt.key", "example.com-2026-sm2");
    let answer = home.alikms(&good.each_ref().map(String::as_str));
    let (sign, encrypt) = (answer["CertId"].as_str().unwrap(), answer["EncryptCertId"].as_str().unwrap());
    let listed = home.alikms(&["ListCertificates"]);
    assert_eq!(listed["CertificateSummaryList"][0]["Name"], "example.com-2026-sm2");
    assert_eq!((&listed["TotalSize"], &listed["CertificateSummaryList"][1]["Name"]), (&2.into(), &"".into()));
    home.alikms(&["CertificatePrivateKeySign", "--CertificateId", sign, "--Algorithm=SM2DSA", "--Message=eA=="]);
    // Encrypted by openssl, in its ASN.1 form, it is for the token; ours is C1, C3, C2.
    let all = ["CertificatePublicKeyEncrypt", "--CertificateId", encrypt, "--Algorithm=SM2PKE", "--Plaintext=eHl6"];
    let blob = home.alikms(&all)["CiphertextBlob"].as_str().unwrap().to_owned();
    let all =
        ["CertificatePrivateKeyDecrypt", "--CertificateId", encrypt, "--Algorithm=SM2PKE", "--CiphertextBlob", &blob];
    assert_eq!(home.alikms(&all)["Plaintext"], "eHl6");
}

/// Root, intermediate and server certificate, all of them SM2, and openssl agrees.
#[test]
fn a_private_ca_of_sm2() {
    let home = Installation::software();
    let subject = |name: &str| format!("--Subject=CN={name},O=Example,C=CN");
    let made = home.alikms(&["CreateRootCACertificate", "--Algorithm=EC_SM2", "--Years=10", &subject("Root")]);
    let root = made["Identifier"].as_str().unwrap().to_owned();
    file(&home, "root.pem", made["X509Certificate"].as_str().unwrap());
    let all =
        ["CreateSubCACertificate", "--ParentIdentifier", &root, "--Algorithm=EC_SM2", "--Years=5", &subject("Issuer")];
    let made = home.alikms(&all);
    let issuer = made["Identifier"].as_str().unwrap().to_owned();
    file(&home, "issuer.pem", made["X509Certificate"].as_str().unwrap());
    ssl(&home, "genpkey -algorithm SM2 -out web.key");
    ssl(
        &home,
        &format!(
            "req -new -key web.key -sm3 -sigopt {DISTID} -subj /CN=web -addext subjectAltName=DNS:web.example -out web.csr"
        ),
    );
    let csr = home.path("web.csr").display().to_string();
    let all = ["CreateServerCertificateWithCsr", "--ParentIdentifier", &issuer, "--Csr-FILE", &csr, "--Days=30"];
    file(&home, "web.pem", home.alikms(&all)["X509Certificate"].as_str().unwrap());
    // openssl verify gives the ID to the last certificate alone: link by link.
    ssl(&home, &format!("verify -vfyopt {DISTID} -CAfile root.pem issuer.pem"));
    let link = "-partial_chain -CAfile issuer.pem -purpose sslserver -verify_hostname web.example web.pem";
    ssl(&home, &format!("verify -vfyopt {DISTID} {link}"));
    ssl_fails(&home, &format!("verify -vfyopt distid:other {link}"));
    file(&home, "crl.pem", home.print(&["crl", "--CertificateId", &issuer]));
    let said = String::from_utf8(ssl(&home, "crl -in crl.pem -noout -text")).unwrap();
    assert!(said.contains("SM2-with-SM3") && said.contains("No Revoked Certificates"), "{said}");
}

/// Both certificates of a pair from our own CA: openssl reads and verifies them, and they go into the list with their keys.
#[test]
fn dual_certificates_of_a_private_ca() {
    let home = Installation::software();
    let all = ["CreateRootCACertificate", "--Algorithm=EC_SM2", "--Years=10", "--Subject=CN=Root,O=Example,C=CN"];
    let made = home.alikms(&all);
    let root = made["Identifier"].as_str().unwrap().to_owned();
    file(&home, "root.pem", made["X509Certificate"].as_str().unwrap());
    for (name, usage, shown) in [
        ("sign", "SIGN", "Digital Signature\n"),
        ("encrypt", "ENCRYPT", "Key Encipherment, Data Encipherment, Key Agreement\n"),
    ] {
        ssl(&home, &format!("genpkey -algorithm SM2 -out {name}.key"));
        let subject = "-subj /CN=dual -addext subjectAltName=DNS:dual.example";
        ssl(&home, &format!("req -new -key {name}.key -sm3 -sigopt {DISTID} {subject} -out {name}.csr"));
        let csr = home.path(&format!("{name}.csr")).display().to_string();
        let usage = format!("--Usage={usage}");
        let ask =
            ["CreateServerCertificateWithCsr", "--ParentIdentifier", &root, "--Csr-FILE", &csr, "--Days=30", &usage];
        file(&home, &format!("{name}.pem"), home.alikms(&ask)["X509Certificate"].as_str().unwrap());
        ssl(&home, &format!("verify -vfyopt {DISTID} -CAfile root.pem {name}.pem"));
        let said = String::from_utf8(ssl(&home, &format!("x509 -in {name}.pem -noout -text"))).unwrap();
        assert!(said.contains(shown) && said.contains("SM2-with-SM3"), "{said}");
    }
    let path = |name: &str| home.path(name).display().to_string();
    let [sign, sign_key, encrypt, encrypt_key] = ["sign.pem", "sign.key", "encrypt.pem", "encrypt.key"].map(path);
    let upload = |sign: &str, sign_key: &str, encrypt: &str, encrypt_key: &str| {
        [
            "UploadUserCertificate",
            "--SignCert-FILE",
            sign,
            "--SignPrivateKey-FILE",
            sign_key,
            "--EncryptCert-FILE",
            encrypt,
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(["--EncryptPrivateKey-FILE".to_owned(), encrypt_key.to_owned()])
        .collect::<Vec<_>>()
    };
    let swapped = upload(&encrypt, &encrypt_key, &sign, &sign_key);
    let said = refused(&home, &swapped.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("key usage"), "{said}");
    let good = upload(&sign, &sign_key, &encrypt, &encrypt_key);
    let answer = home.alikms(&good.iter().map(String::as_str).collect::<Vec<_>>());
    let second = answer["EncryptCertId"].as_str().unwrap();
    let all = ["CertificatePublicKeyEncrypt", "--CertificateId", second, "--Algorithm=SM2PKE", "--Plaintext=eHl6"];
    let blob = home.alikms(&all)["CiphertextBlob"].as_str().unwrap().to_owned();
    let all =
        ["CertificatePrivateKeyDecrypt", "--CertificateId", second, "--Algorithm=SM2PKE", "--CiphertextBlob", &blob];
    assert_eq!(home.alikms(&all)["Plaintext"], "eHl6");
    // Of other keys there are no two.
    ssl(&home, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec.key");
    ssl(&home, "req -new -key ec.key -subj /CN=ec -out ec.csr");
    let csr = path("ec.csr");
    let ask = ["CreateClientCertificateWithCsr", "--ParentIdentifier", &root, "--Csr-FILE", &csr, "--Usage=ENCRYPT"];
    assert!(refused(&home, &ask).contains("InvalidParameter"));
}
