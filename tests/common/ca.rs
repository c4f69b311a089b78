//! A throw-away certificate authority, made with the openssl command: a root and an intermediate.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

pub struct Ca {
    folder: TempDir,
}

impl Ca {
    pub fn new() -> Self {
        let ca = Self { folder: tempfile::tempdir().unwrap() };
        ca.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-days",
            "30",
            "-subj",
            "/CN=Test Root",
        ]);
        ca.openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "ca.key",
            "-out",
            "ca.csr",
            "-subj",
            "/CN=Test CA",
        ]);
        std::fs::write(ca.path("ca.ext"), "basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n").unwrap();
        ca.issue("ca.csr", "root", "ca", &["-days", "20", "-extfile", "ca.ext"]);
        ca
    }

    /// The certificate for a CSR, in PEM, valid for some days from now.
    pub fn sign(&self, csr: &str) -> String {
        self.sign_with(csr, &[])
    }

    /// The same, with more options of `openssl x509`.
    pub fn sign_with(&self, csr: &str, options: &[&str]) -> String {
        std::fs::write(self.path("leaf.csr"), csr).unwrap();
        self.issue("leaf.csr", "ca", "leaf", &[&["-copy_extensions", "copy", "-days", "10"], options].concat());
        self.read("leaf.pem")
    }

    /// The same, valid between two dates of the form 20300101000000Z.
    pub fn sign_between(&self, csr: &str, from: &str, until: &str) -> String {
        let path = |name| self.path(name).display().to_string();
        let config = format!(
            "[ca]\ndefault_ca=x\n[x]\ndatabase={}\nnew_certs_dir={}\ndefault_md=sha256\nrand_serial=yes\n\
             policy=p\nunique_subject=no\n[p]\ncommonName=supplied\n",
            path("index"),
            path("")
        );
        for (name, text) in [("leaf.csr", csr), ("ca.cnf", &config), ("index", "")] {
            std::fs::write(self.path(name), text).unwrap();
        }
        self.openssl(&[
            "ca",
            "-batch",
            "-notext",
            "-config",
            "ca.cnf",
            "-cert",
            "ca.pem",
            "-keyfile",
            "ca.key",
            "-in",
            "leaf.csr",
            "-out",
            "leaf.pem",
            "-startdate",
            from,
            "-enddate",
            until,
        ]);
        self.read("leaf.pem")
    }

    /// The certificate that signs.
    pub fn intermediate(&self) -> String {
        self.read("ca.pem")
    }

    pub fn root(&self) -> String {
        self.read("root.pem")
    }

    /// Intermediate and root, in this order.
    pub fn chain(&self) -> String {
        self.intermediate() + &self.root()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    fn issue(&self, csr: &str, by: &str, name: &str, options: &[&str]) {
        let (cert, key, out) = (format!("{by}.pem"), format!("{by}.key"), format!("{name}.pem"));
        let mut arguments = vec!["x509", "-req", "-in", csr, "-CA", &cert, "-CAkey", &key, "-out", &out];
        arguments.extend(["-CAcreateserial"]);
        arguments.extend(options);
        self.openssl(&arguments);
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl").args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// What `openssl req -verify -noout -text` says of a CSR; it must be in order.
pub fn read_csr(csr: &str) -> String {
    let output = super::pipe("openssl", &["req", "-verify", "-noout", "-text", "-nameopt", "RFC2253"], csr.as_bytes());
    String::from_utf8(output).unwrap()
}

/// Whether OpenSSL accepts the signature of a digest with the public key in this file.
pub fn verifies(public: &Path, digest: &[u8], signature: &[u8], options: &[&str]) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let (input, file) = (folder.path().join("digest"), folder.path().join("signature"));
    std::fs::write(&input, digest).unwrap();
    std::fs::write(&file, signature).unwrap();
    let mut command = Command::new("openssl");
    command.args(["pkeyutl", "-verify", "-pubin", "-inkey"]).arg(public).arg("-in").arg(input);
    command.arg("-sigfile").arg(file).args(["-pkeyopt", "digest:sha256"]).args(options);
    let output = command.output().unwrap();
    output.status.success() && String::from_utf8_lossy(&output.stdout).contains("Signature Verified Successfully")
}
