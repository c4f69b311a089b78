//! Where a PIN comes from: never from `alikms.toml` or the command line itself.

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::model::Bytes;

/// The longest PIN that is read, in bytes.
const MAX: usize = 4096;

/// `file:PATH`, `env:NAME`, `credential:NAME` (of systemd). Read when needed, never kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinSource {
    Credential(String),
    Env(String),
    File(PathBuf),
}

impl PinSource {
    /// What `text` names; nothing is read yet. The error is `Error::PinInvalid`, and does not repeat the text: it may be the PIN.
    pub fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() && !name.contains(['=', '\0']) => Ok(Self::Env(name.to_owned())),
            Some(("credential", name)) if !name.is_empty() && !name.contains(['/', '\0']) && !name.starts_with('.') => {
                Ok(Self::Credential(name.to_owned()))
            }
            _ => Err(Error::PinInvalid("say where it is: file:PATH, env:NAME or credential:NAME".into())),
        }
    }

    /// The PIN, without the newline at the end of a file. The error names the source.
    pub fn read(&self) -> Result<Bytes> {
        let fault = |reason: String| Error::Config { place: self.to_string(), reason };
        let pin = match self {
            Self::Env(name) => {
                let value: OsString =
                    std::env::var_os(name).ok_or_else(|| fault("the variable is not set in this process".into()))?;
                Bytes::new(value.into_vec())
            }
            Self::File(path) => read_file(path).map_err(fault)?,
            Self::Credential(name) => {
                let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                    fault(
                        "CREDENTIALS_DIRECTORY is not set: give the unit LoadCredential= or SetCredentialEncrypted="
                            .into(),
                    )
                })?;
                read_file(&Path::new(&folder).join(name)).map_err(fault)?
            }
        };
        if pin.is_empty() { Err(fault("it is empty".into())) } else { Ok(pin) }
    }
}

impl fmt::Display for PinSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "credential:{name}"),
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

fn read_file(path: &Path) -> Result<Bytes, String> {
    let cannot = |error: std::io::Error| format!("it cannot be read: {error}");
    let mut file = File::open(path).map_err(cannot)?;
    if let Ok(metadata) = file.metadata()
        && metadata.is_file()
        && metadata.permissions().mode() & 0o004 != 0
    {
        tracing::warn!(path = %path.display(), "everybody on this machine may read this PIN file: chmod o-r");
    }
    // One buffer from the start: a growing one would leave copies of the PIN behind.
    let mut bytes = Zeroizing::new(vec![0; MAX + 1]);
    let mut len = 0;
    loop {
        match file.read(bytes.get_mut(len..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => (),
            Err(error) => return Err(cannot(error)),
        }
    }
    if len > MAX {
        return Err(format!("it is longer than {MAX} bytes"));
    }
    let pin = bytes.get(..len).unwrap_or_default();
    let pin = pin.strip_suffix(b"\n").map_or(pin, |line| line.strip_suffix(b"\r").unwrap_or(line));
    Ok(Bytes::new(pin.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        assert_eq!(PinSource::parse("file:/a:b").unwrap(), PinSource::File("/a:b".into()));
        assert_eq!(PinSource::parse("env:PIN").unwrap(), PinSource::Env("PIN".into()));
        assert_eq!(PinSource::parse("credential:pin").unwrap(), PinSource::Credential("pin".into()));
        for bad in ["1234", "file:", "env:", "env:A=B", "credential:../x", "FILE:/x", ""] {
            let fault = PinSource::parse(bad).unwrap_err().to_string();
            assert!(bad.is_empty() || !fault.contains("1234"), "{fault}");
        }
    }

    #[test]
    fn one_newline_is_no_part_of_the_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pin");
        for (text, expected) in [("12 34\n", "12 34"), ("1234\r\n", "1234"), ("1234", "1234"), ("1234\n\n", "1234\n")] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(PinSource::File(path.clone()).read().unwrap().as_slice(), expected.as_bytes());
        }
        std::fs::write(&path, "\n").unwrap();
        let fault = PinSource::File(path.clone()).read().unwrap_err();
        assert_eq!(fault.to_string(), format!("file:{}: it is empty", path.display()));
    }
}
