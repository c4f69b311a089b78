//! `alikms backup` and `alikms restore`.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::process::ExitCode;

use alikms_pkcs11::Error;
use alikms_pkcs11::config::{Config, Unlock};
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::kms::backup::Elsewhere;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{config, ids, unlock};

/// `alikms backup`.
pub fn backup(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let path = words.first().copied().unwrap_or_default();
    let config = config(line)?;
    let (bytes, elsewhere) = Service::new(config.clone()).backup(&|kms| unlock(line, kms))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| {
        file.write_all(&bytes)?;
        file.sync_all()
    });
    written.map_err(|error| at(path, &error))?;
    output::print(&format!("{path}: {} bytes, the whole store\n{}", bytes.len(), missing(&config, &elsewhere)))?;
    Ok(ExitCode::SUCCESS)
}

/// `alikms restore`.
pub fn restore(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let path = words.first().copied().unwrap_or_default();
    let config = config(line)?;
    let group = line.option("group").map(ids::group).transpose()?;
    let bytes = fs::read(path).map_err(|error| at(path, &error))?;
    let elsewhere = Service::restore(&config, &bytes, group, &|kms| unlock(line, kms))?;
    output::print(&format!("{} is restored\n{}", config.store.display(), missing(&config, &elsewhere)))?;
    if !elsewhere.is_empty() {
        output::print("`alikms check` tells which of them the device has not.\n")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What no backup of the store has.
fn missing(config: &Config, elsewhere: &[Elsewhere]) -> String {
    let mut said = match &config.unlock {
        Unlock::File(path) => format!("not in it: the unlock key {}; keep a copy of it apart\n", path.display()),
        Unlock::Pin => "not in it: the PIN, which alone opens it\n".to_owned(),
    };
    for Elsewhere { key, version, device } in elsewhere {
        said += &format!("not in it: the material of key {key}, version {version}: it is in device {device}\n");
    }
    said
}

fn at(path: &str, error: &std::io::Error) -> Error {
    Error::Config { place: path.to_owned(), reason: error.to_string() }
}
