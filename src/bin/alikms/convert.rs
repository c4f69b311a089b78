//! `alikms convert`: certificates and keys from one file format into another. Needs no store.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use alikms_pkcs11::config::PinSource;
use alikms_pkcs11::crypto::random;
use alikms_pkcs11::kms::container::{Private, in_order, read_pkcs12, write_pkcs12};
use alikms_pkcs11::kms::subject;
use alikms_pkcs11::kms::x509::{self, Leaf};
use alikms_pkcs11::model::Bytes;
use alikms_pkcs11::model::names::hex_bytes::to_hex;

use crate::args::Line;
use crate::output::Stop;

/// A file that is larger is none of these.
const LARGEST: u64 = 1 << 20;
/// How a Java keystore of the old kind begins.
const JKS: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];

/// What was in a file, or in two.
#[derive(Default)]
struct Found {
    key: Option<Private>,
    certificates: Vec<Leaf>,
}

pub fn run(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let passphrase = |name: &str| -> Result<Option<Bytes>, Stop> {
        line.option(name).map(|source| Ok(PinSource::parse(source)?.read()?)).transpose()
    };
    let (opens, seals) = (passphrase("passphrase")?, passphrase("new-passphrase")?);
    let (opens, seals) = (text(opens.as_ref())?, text(seals.as_ref())?);
    let mut found = Found::default();
    let files = words.first().copied().into_iter().chain(line.option("key-file"));
    for file in files {
        found.take(Path::new(file), opens)?;
    }
    let made = found.write(line.option("to").unwrap_or_default(), seals)?;
    emit(&made, line.option("out")).map(|()| ExitCode::SUCCESS)
}

fn text(bytes: Option<&Bytes>) -> Result<Option<&str>, Stop> {
    let read = |bytes| std::str::from_utf8(bytes).map_err(|_| Stop::usage("a passphrase is not UTF-8"));
    bytes.map(|bytes: &Bytes| read(bytes)).transpose()
}

/// To a new file that only its owner reads, or to stdout.
fn emit(bytes: &[u8], path: Option<&str>) -> Result<(), Stop> {
    let written = match path {
        Some(path) => {
            let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            made.and_then(|mut out| out.write_all(bytes).and_then(|()| out.sync_all()))
                .map_err(|error| format!("{path}: {error}"))
        }
        None => {
            let mut out = std::io::stdout().lock();
            out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| format!("stdout: {error}"))
        }
    };
    written.map_err(Stop::Failed)
}

impl Found {
    fn take(&mut self, path: &Path, passphrase: Option<&str>) -> Result<(), Stop> {
        let place = path.display();
        let failed = |reason: &str| Stop::Failed(format!("{place}: {reason}"));
        let size = std::fs::metadata(path).map_err(|error| failed(&error.to_string()))?.len();
        if size > LARGEST {
            return Err(failed("larger than 1 MiB"));
        }
        let bytes = Bytes::new(std::fs::read(path).map_err(|error| failed(&error.to_string()))?);
        let head = bytes.iter().position(|byte| !byte.is_ascii_whitespace()).map_or(&[][..], |at| &bytes[at..]);
        if head.starts_with(b"-----BEGIN ") {
            let text = std::str::from_utf8(&bytes).map_err(|_| failed("not PEM: it is no text"))?;
            return self.take_pem(text, passphrase).map_err(|reason| failed(&reason));
        }
        if bytes.starts_with(&JKS) {
            let passphrase = passphrase.ok_or_else(|| failed("a Java keystore needs --passphrase"))?;
            let blob = from_jks(path, passphrase).map_err(|reason| failed(&reason))?;
            return self.take_pkcs12(&blob.0, &blob.1).map_err(|reason| failed(&reason));
        }
        if let Ok(leaf) = Leaf::from_der(&bytes) {
            self.certificates.push(leaf);
            return Ok(());
        }
        if let Ok(key) = Private::from_der(&bytes) {
            return self.set_key(key).map_err(|reason| failed(&reason));
        }
        let passphrase = passphrase.ok_or_else(|| {
            failed(
                "neither PEM nor a plain certificate or key in DER: for PKCS#12 and encrypted PKCS#8 give --passphrase",
            )
        })?;
        match Private::from_encrypted(&bytes, passphrase) {
            Ok(key) => self.set_key(key).map_err(|reason| failed(&reason)),
            Err(_) => self.take_pkcs12(&bytes, passphrase).map_err(|reason| failed(&reason)),
        }
    }

    fn set_key(&mut self, key: Private) -> Result<(), String> {
        match self.key.replace(key) {
            Some(_) => Err("there is more than one private key".to_owned()),
            None => Ok(()),
        }
    }

    /// Certificates and at most one key, in any order.
    fn take_pem(&mut self, text: &str, passphrase: Option<&str>) -> Result<(), String> {
        let mut rest = text.trim();
        while !rest.is_empty() {
            let broken = || "broken PEM: every -----BEGIN has its -----END, and nothing is in between".to_owned();
            let label =
                rest.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")).ok_or_else(broken)?.0;
            let end = format!("-----END {label}-----");
            let end = rest.find(&end).ok_or_else(broken)? + end.len();
            let (block, tail) = rest.split_at(end);
            match label {
                "CERTIFICATE" => {
                    let read = x509::from_pem("Certificate", block).map_err(|error| error.to_string())?;
                    self.certificates.extend(read);
                }
                "EC PARAMETERS" => {}
                _ => self.set_key(Private::from_pem(block, passphrase)?)?,
            }
            rest = tail.trim_start();
        }
        Ok(())
    }

    fn take_pkcs12(&mut self, blob: &[u8], passphrase: &str) -> Result<(), String> {
        let (key, leaf, chain) = read_pkcs12(blob, passphrase).map_err(|error| error.to_string())?;
        self.set_key(key)?;
        self.certificates.push(leaf);
        self.certificates.extend(chain);
        Ok(())
    }

    fn write(mut self, format: &str, passphrase: Option<&str>) -> Result<Bytes, Stop> {
        let none = |what: &str| Stop::Failed(format!("there is no {what} in there"));
        match format {
            "pem" => {
                let mut out = Bytes::new(Vec::new());
                for leaf in &self.certificates {
                    out.extend_from_slice(x509::to_pem(&leaf.der).as_bytes());
                }
                if let Some(key) = &self.key {
                    let key = match passphrase {
                        Some(passphrase) => key.to_encrypted_pem(passphrase)?,
                        None => key.to_pem()?,
                    };
                    // Grown in a new place: nothing of the key stays behind.
                    out = Bytes::new([out.as_slice(), key.as_slice()].concat());
                }
                if out.is_empty() { Err(none("certificate or private key")) } else { Ok(out) }
            }
            "der" => match (&self.key, &self.certificates[..]) {
                (None, [leaf]) => Ok(Bytes::new(leaf.der.clone())),
                (Some(key), []) => Ok(key.der.clone()),
                _ => Err(Stop::Failed("DER holds one certificate or one private key".to_owned())),
            },
            "pkcs8" => {
                let key = self.key.as_ref().ok_or_else(|| none("private key"))?;
                match passphrase {
                    Some(passphrase) => Ok(key.to_encrypted_pem(passphrase)?),
                    None => Ok(key.to_pem()?),
                }
            }
            "pkcs12" => {
                let key = self.key.take().ok_or_else(|| none("private key"))?;
                let passphrase = passphrase.ok_or_else(|| Stop::usage("a PKCS#12 file needs --new-passphrase"))?;
                let (leaf, chain) = in_order(&key.public, self.certificates)?;
                let chain: Vec<&[u8]> = std::iter::once(&leaf).chain(&chain).map(|leaf| leaf.der.as_slice()).collect();
                let name = subject::common_name(&leaf.der).unwrap_or_else(|| "certificate".to_owned());
                Ok(write_pkcs12(&key, &chain, &name, passphrase)?)
            }
            other => Err(Stop::usage(format!("--to {other}: pem, der, pkcs8 or pkcs12"))),
        }
    }
}

/// Through the JDK's own keytool, into a PKCS#12 file that nobody else can read, under a passphrase of the moment.
fn from_jks(path: &Path, passphrase: &str) -> Result<(Bytes, String), String> {
    let secret = to_hex(&random::bytes::<16>());
    let folder = std::env::temp_dir().join(format!("alikms-{}", to_hex(&random::bytes::<8>())));
    let fault = |error: std::io::Error| format!("{}: {error}", folder.display());
    std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&folder).map_err(fault)?;
    let out: PathBuf = folder.join("store.p12");
    let mut command = Command::new("keytool");
    command.args(["-importkeystore", "-noprompt", "-srcstoretype", "JKS", "-deststoretype", "PKCS12"]);
    command.args(["-srcstorepass:env", "ALIKMS_FROM", "-deststorepass:env", "ALIKMS_TO", "-srckeystore"]);
    command.arg(path).arg("-destkeystore").arg(&out).env("ALIKMS_FROM", passphrase).env("ALIKMS_TO", &secret);
    let run = command.stdin(Stdio::null()).output();
    let read = File::open(&out).and_then(|_| std::fs::read(&out));
    let _ = std::fs::remove_dir_all(&folder);
    match (run, read) {
        (Err(error), _) => Err(format!("a Java keystore is read with keytool of a JDK, which does not run: {error}")),
        (Ok(_), Ok(blob)) => Ok((Bytes::new(blob), secret)),
        (Ok(run), Err(_)) => Err(format!("keytool: {}", String::from_utf8_lossy(&run.stdout).trim())),
    }
}
