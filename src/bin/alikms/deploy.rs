//! `alikms deploy`: a certificate in files, switched in one step.
//!
//! Each certificate has a directory of its own in DIR, named by what is in it, that is written aside and renamed into
//! place; `current` is a symbolic link to the one in service. The include file in it names the files of its own
//! directory
//! by their full path, so that a server that reads it gets a matching pair, whatever is switched meanwhile.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use alikms_pkcs11::crypto::digest::hash;
use alikms_pkcs11::kms::certificate::deploy::Deployable;
use alikms_pkcs11::kms::x509;
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::names::hex_bytes::to_hex;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{caller, manage, open, uri};

/// So many directories stay beside the one in service: a server may still be reading them, and one can go back.
const KEPT: usize = 3;
/// Length of their names: hexadecimal digits.
const NAME: usize = 16;
const LINK: &str = "current";

pub fn run(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    let caller = caller(line, &kms)?;
    let deploy = ("DeployCertificate", line.option("KeyId").or(line.option("CertificateId")).unwrap_or_default());
    let what = match (line.option("KeyId"), line.option("CertificateId")) {
        (Some(key), None) => manage(line, &kms, deploy, |caller| kms.deployable_of_key(caller, key))?,
        (None, Some(id)) => manage(line, &kms, deploy, |caller| kms.deployable_certificate(caller, id))?,
        _ => return Err(Stop::usage("give --KeyId or --CertificateId")),
    };
    let dir = PathBuf::from(words.first().copied().unwrap_or_default());
    let failed = |error: std::io::Error| Stop::Failed(format!("{}: {error}", dir.display()));
    let dir = std::path::absolute(&dir).map_err(failed)?;
    if let Some(letter) = dir.to_string_lossy().chars().find(|letter| "\"';{}$\\\u{fffd}".contains(*letter)) {
        return Err(Stop::usage(format!("{}: {letter:?} in it would upset the include files", dir.display())));
    }
    let changed = write(&dir, &what, kms.label(), &uri::pin_file(line)).map_err(failed)?;
    kms.record_deployment(&caller, what.certificate.id, &dir.display().to_string())?;
    let id = what.certificate.id;
    output::print(&format!(
        "{} certificate {id} in {}\n",
        if changed { "deployed" } else { "kept" },
        dir.join(LINK).display()
    ))?;
    match line.option("hook") {
        Some(hook) => run_hook(hook, &dir, &what),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Fails as the command does.
fn run_hook(hook: &str, dir: &Path, what: &Deployable) -> Result<ExitCode, Stop> {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", hook]).env("ALIKMS_DIR", dir).env("ALIKMS_CERTIFICATE_ID", what.certificate.id.to_string());
    let not_after = what.certificate.not_after.map(|at| at.to_string()).unwrap_or_default();
    let status = command.env("ALIKMS_NOT_AFTER", not_after).status();
    match status {
        Ok(status) if status.success() => Ok(ExitCode::SUCCESS),
        Ok(status) => Err(Stop::Failed(format!("the certificate is deployed, but the hook failed: {status}"))),
        Err(error) => Err(Stop::Failed(format!("the certificate is deployed, but the hook cannot be run: {error}"))),
    }
}

/// Writes the files and switches to them. True unless they were in service already.
fn write(dir: &Path, what: &Deployable, token: &str, pin: &str) -> std::io::Result<bool> {
    let leaf = x509::to_pem(&what.certificate.leaf);
    let chain: String = what.certificate.chain.iter().map(|der| x509::to_pem(&der.0)).collect();
    let full = format!("{leaf}{chain}");
    let uri = format!("{};type=private?pin-source=file:{pin}", uri::by_id(token, &what.key_id));
    let name = to_hex(&hash(Hash::Sha256, format!("{full}{uri}").as_bytes()));
    let name = &name[..NAME];
    let place = dir.join(name);
    let at = place.display();
    let said = "# Written by alikms deploy; the next one replaces it.\n";
    let files = [
        ("certificate.pem", leaf),
        ("chain.pem", chain),
        ("fullchain.pem", full),
        (
            "nginx.conf",
            format!("{said}ssl_certificate \"{at}/fullchain.pem\";\nssl_certificate_key \"engine:pkcs11:{uri}\";\n"),
        ),
        ("apache.conf", format!("{said}SSLCertificateFile \"{at}/fullchain.pem\"\nSSLCertificateKeyFile \"{uri}\"\n")),
        ("uri", format!("{uri}\n")),
    ];
    fs::create_dir_all(dir)?;
    if !holds(&place, &files) {
        let draft = dir.join(format!(".{name}-{}", std::process::id()));
        remove(&draft)?;
        fs::create_dir(&draft)?;
        for (file, text) in &files {
            let mut out = File::create_new(draft.join(file))?;
            out.write_all(text.as_bytes())?;
            out.set_permissions(fs::Permissions::from_mode(0o644))?;
            out.sync_all()?;
        }
        fs::set_permissions(&draft, fs::Permissions::from_mode(0o755))?;
        File::open(&draft)?.sync_all()?;
        if let Err(error) = fs::rename(&draft, &place) {
            remove(&draft)?;
            // Another one was quicker with the same.
            if !holds(&place, &files) {
                return Err(error);
            }
        }
    }
    let link = dir.join(LINK);
    if fs::read_link(&link).is_ok_and(|target| target == Path::new(name)) {
        return Ok(false);
    }
    let draft = dir.join(format!(".{LINK}-{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => symlink(name, &draft)?,
    }
    fs::rename(&draft, &link)?;
    File::open(dir)?.sync_all()?;
    prune(dir, name)?;
    Ok(true)
}

/// Is everything there as it should be?
fn holds(place: &Path, files: &[(&str, String)]) -> bool {
    files.iter().all(|(file, text)| fs::read(place.join(file)).is_ok_and(|found| found == text.as_bytes()))
}

fn remove(place: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Takes the oldest directories of ours away; nothing else that lies in there.
fn prune(dir: &Path, current: &str) -> std::io::Result<()> {
    let mut old: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let ours = name.len() == NAME && name.bytes().all(|byte| byte.is_ascii_hexdigit()) && name != current;
        if ours && entry.file_type()?.is_dir() {
            old.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    old.sort();
    let extra = old.len().saturating_sub(KEPT);
    old.iter().take(extra).try_for_each(|(_, place)| remove(place))
}
