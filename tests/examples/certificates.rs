//! What the examples of the certificate actions name.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::Scene;
use crate::common::openssl;

/// GM/T 0009.
const DISTID: &str = "distid:1234567812345678";
const MESSAGE: (&str, &str) = ("Message", "dGhpcyBpcyBtZXNzYWdlCg==");

impl Scene {
    /// The files and certificates of an example, with the names that there really are.
    pub fn prepare_certificates(&self, action: &str, example: &str) -> String {
        const CERTIFICATE: &str = "9a28de48-8d8b-484d-a766-dec4a6a3b2c1";
        if ["UploadUserCertificate", "ImportCertificate"].contains(&action) {
            self.write_pair();
        }
        self.home.write("passphrase.txt", "correct horse\n");
        for name in ["client", "web"].iter().filter(|name| example.contains(&format!("{name}.csr"))) {
            let csr = self.foreign_csr("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", name, "-sha256");
            self.home.write(&format!("{name}.csr"), csr);
        }
        let id = match action {
            _ if !example.contains(CERTIFICATE) => return example.to_owned(),
            "CertificatePrivateKeyDecrypt" | "CertificatePublicKeyEncrypt" => self.certificate("RSA_2048", true),
            "ImportEncryptionCertificate" => self.dual(),
            "CreateRevokeClientCertificate" | "UploadPcaCertToCas" => self.issued(),
            _ if example.contains("--ParentIdentifier") || action == "ListClientCertificate" => self.authority(),
            _ => self.certificate("EC_P256", action != "UploadCertificate"),
        };
        let of = ("CertificateId", id.as_str());
        if action == "CertificatePrivateKeyDecrypt" {
            let how = [of, ("Algorithm", "RSAES_OAEP_SHA_256"), ("Plaintext", "eA==")];
            self.home.write("ciphertext.b64", self.run("CertificatePublicKeyEncrypt", &how, "/CiphertextBlob"));
        }
        if action == "CertificatePublicKeyVerify" {
            let how = [of, ("Algorithm", "ECDSA_SHA_256"), MESSAGE];
            self.home.write("signature.b64", self.run("CertificatePrivateKeySign", &how, "/SignatureValue"));
        }
        let text = example.replace(CERTIFICATE, &id);
        match action {
            "UploadPcaCertToCas" => text.replace("1339cb7d-54d3-47e0-b595-c7d3dba8d1e0", &self.issued()),
            _ => text,
        }
    }

    /// One of the certificate manager's; brought back from a CA, or still PENDING.
    fn certificate(&self, spec: &str, uploaded: bool) -> String {
        let ask = [("KeySpec", spec), ("Subject", "CN=userName,OU=kms,O=aliyun,C=CN")];
        let made = self.try_run("CreateCertificate", &ask).unwrap();
        let id = made["CertificateId"].as_str().unwrap().to_owned();
        let options: &[&str] = if spec == "EC_SM2" { &["-vfyopt", DISTID] } else { &[] };
        let leaf = self.ca.sign_with(made["Csr"].as_str().unwrap(), options);
        let chain = self.ca.chain();
        if uploaded {
            let give = [("CertificateId", id.as_str()), ("Certificate", &leaf), ("CertificateChain", &chain)];
            self.run("UploadCertificate", &give, "");
        }
        self.home.write("web.pem", leaf);
        self.home.write("chain.pem", chain);
        id
    }

    fn path(&self, name: &str) -> String {
        self.home.path(name).display().to_string()
    }

    /// The CSR of a fresh key of openssl's, which is in `private.pem`.
    fn foreign_csr(&self, spec: &str, name: &str, how: &str) -> String {
        let key = self.path("private.pem");
        openssl(&format!("genpkey {spec} -out {key}"), b"");
        String::from_utf8(openssl(&format!("req -new -key {key} -subj /CN={name} {how}"), b"")).unwrap()
    }

    /// A certificate with its key, as PEM and as PKCS#12.
    fn write_pair(&self) {
        let csr = self.foreign_csr("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "example.com", "-sha256");
        self.home.write("fullchain.pem", self.ca.sign(&csr) + &self.ca.chain());
        let (key, all) = (self.path("private.pem"), self.path("fullchain.pem"));
        let words = ["pkcs12", "-export", "-inkey", &key, "-in", &all, "-passout", "pass:correct horse"];
        self.home.write("web.p12.b64", STANDARD.encode(crate::common::pipe("openssl", &words, b"")));
    }

    /// A CA.
    fn authority(&self) -> String {
        let ask = [("Subject", "CN=Example-Root,O=Example,C=CN"), ("Algorithm", "EC_P256"), ("Years", "10")];
        self.run("CreateRootCACertificate", &[&ask[..], &[("PathLenConstraint", "1")]].concat(), "/Identifier")
    }

    /// What a CA here issued.
    fn issued(&self) -> String {
        let authority = self.authority();
        let csr = self.foreign_csr("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "alice", "-sha256");
        let ask = [("ParentIdentifier", authority.as_str()), ("Csr", &csr)];
        self.run("CreateClientCertificateWithCsr", &ask, "/Identifier")
    }

    /// An SM2 signing certificate, and in files the encryption certificate that comes beside it with its enveloped key.
    fn dual(&self) -> String {
        let id = self.certificate("EC_SM2", true);
        let csr = self.foreign_csr("-algorithm SM2", "encryption", &format!("-sm3 -sigopt {DISTID}"));
        self.home.write("encryption.pem", self.ca.sign_with(&csr, &["-vfyopt", DISTID]));
        let der = openssl(&format!("pkey -in {} -outform DER", self.path("private.pem")), b"");
        let at = der.windows(5).position(|window| window == [2, 1, 1, 4, 32]).unwrap() + 5;
        let sealed = openssl(&format!("enc -sm4-ecb -nopad -K {}", "42".repeat(16)), &der[at..at + 32]);
        self.home.write("private.b64", STANDARD.encode(sealed));
        let symmetric = STANDARD.encode([0x42; 16]);
        let how = [("CertificateId", id.as_str()), ("Algorithm", "SM2PKE"), ("Plaintext", &symmetric)];
        self.home.write("key.b64", self.run("CertificatePublicKeyEncrypt", &how, "/CiphertextBlob"));
        id
    }
}
