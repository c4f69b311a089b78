//! `alikms uri`: the PKCS#11 URI (RFC 7512) of a key, and what each client is to be told.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use alikms_pkcs11::config::PinSource;
use alikms_pkcs11::kms::Kms;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::names::version_name;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{caller, config, open};

const MODULE: &str = "libalikms_pkcs11.so";
/// Where the snippets look for the token's PIN if the command line does not tell.
const PIN_FILE: &str = "/etc/alikms/token.pin";

pub fn run(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    let key = words.first().copied().unwrap_or_default();
    let position = config(line)?.tokens.iter().position(|token| token.label == kms.label());
    let page = snippets(line, &kms, &caller(line, &kms)?, key, position.unwrap_or(0))?;
    output::print(&page).map(|()| ExitCode::SUCCESS)
}

/// Everything about one key. `slot`: position of its token in alikms.toml.
pub fn snippets(line: &Line, kms: &Kms, caller: &Caller, key: &str, slot: usize) -> alikms_pkcs11::Result<String> {
    let named = Named::of(kms, caller, key, line.option("version"))?;
    Ok(page(&named, &Place { module: module(), slot, pin: pin_file(line) }))
}

/// The URI of a key, by its label.
pub fn of(kms: &Kms, caller: &Caller, key: &str) -> alikms_pkcs11::Result<String> {
    let named = Named::of(kms, caller, key, None)?;
    Ok(format!("{};type={}", named.by_label(), named.kind))
}

/// The file with the PIN that programs are told of: that of --pin, or the usual one.
pub fn pin_file(line: &Line) -> String {
    match line.option("pin").map(PinSource::parse) {
        Some(Ok(PinSource::File(path))) => std::path::absolute(&path).unwrap_or(path).display().to_string(),
        _ => PIN_FILE.into(),
    }
}

/// `pkcs11:token=…;id=…` (RFC 7512).
pub fn by_id(token: &str, id: &[u8]) -> String {
    format!("pkcs11:token={};id={}", escape(token.as_bytes()), escape_all(id))
}

/// The names by which clients find a key.
struct Named {
    token: String,
    label: Vec<u8>,
    id: Vec<u8>,
    /// `type` of the URI.
    kind: &'static str,
}

impl Named {
    fn of(kms: &Kms, caller: &Caller, key: &str, version: Option<&str>) -> alikms_pkcs11::Result<Self> {
        let asymmetric = kms.describe_key(caller, key)?.key.spec.family.is_asymmetric();
        let (label, id) = kms.display_name(caller, key)?;
        let mut named =
            Self { token: kms.label().to_owned(), label, id, kind: if asymmetric { "private" } else { "secret-key" } };
        if let Some(version) = version.filter(|_| asymmetric) {
            let version = kms.describe_key_version(caller, key, version)?.id;
            if version != kms.version_in_service(caller, key)?.1.id {
                named.id = version.as_bytes().to_vec();
                named.label = version_name(&String::from_utf8_lossy(&named.label), version).into_bytes();
            }
        }
        Ok(named)
    }

    fn by_id(&self) -> String {
        by_id(&self.token, &self.id)
    }

    fn by_label(&self) -> String {
        format!("pkcs11:token={};object={}", escape(self.token.as_bytes()), escape(&self.label))
    }
}

/// Where things are on this machine.
struct Place {
    module: Option<PathBuf>,
    /// Position of the token in the module's list of slots.
    slot: usize,
    /// A file with the token's PIN.
    pin: String,
}

fn page(named: &Named, place: &Place) -> String {
    let (id, kind) = (named.by_id(), named.kind);
    let uris = format!("by ID     {id};type={kind}\nby label  {};type={kind}\n", named.by_label());
    if kind != "private" {
        return uris;
    }
    let key = format!("{id};type=private");
    let pin = &place.pin;
    let (module, note) = match &place.module {
        Some(path) => (path.display().to_string(), String::new()),
        None => (
            format!("/usr/lib/{MODULE}"),
            format!("\n{MODULE} was not found beside alikms: put its real path where the snippets say /usr/lib.\n"),
        ),
    };
    let slot = place.slot;
    let engine = engine();
    format!(
        "{uris}{note}
{pin} stands for a file with the token's PIN. libp11 up to 0.4.12 wants it without a newline
at its end: printf %s 'the PIN' > {pin}

openssl, engine (libengine-pkcs11-openssl)
  PKCS11_MODULE_PATH={module} openssl dgst -sha256 -engine pkcs11 -keyform engine \\
    -sign '{key}?pin-source=file:{pin}' -out message.sig message

openssl, provider (pkcs11-provider), in openssl.cnf
  openssl_conf = openssl_init
  [openssl_init]
  providers = providers
  [providers]
  default = default_provider
  pkcs11 = pkcs11_provider
  [default_provider]
  activate = 1
  [pkcs11_provider]
  activate = 1
  pkcs11-module-path = {module}
  pkcs11-module-token-pin = file:{pin}
and then
  OPENSSL_CONF=./openssl.cnf openssl dgst -sha256 -sign '{key}' -out message.sig message

nginx, in nginx.conf, outside of http
  env OPENSSL_CONF=/etc/alikms/openssl-engine.cnf;
and in server
  ssl_certificate     /etc/ssl/web.pem;
  ssl_certificate_key \"engine:pkcs11:{key}?pin-source=file:{pin}\";
with /etc/alikms/openssl-engine.cnf, which nginx's service must have in its environment as well
  openssl_conf = openssl_init
  [openssl_init]
  engines = engines
  [engines]
  pkcs11 = pkcs11_engine
  [pkcs11_engine]
  engine_id = pkcs11
  MODULE_PATH = {module}
  init = 1

Apache, in the site; its service has OPENSSL_CONF=/etc/alikms/openssl-engine.cnf in its environment
  SSLCertificateFile    /etc/ssl/web.pem
  SSLCertificateKeyFile \"{key}?pin-source=file:{pin}\"

Java, in alikms.cfg
  name = alikms
  library = {module}
  slotListIndex = {slot}
and then
  keytool -list -keystore NONE -storetype PKCS11 -providerClass sun.security.pkcs11.SunPKCS11 \\
    -providerArg alikms.cfg -storepass:file {pin}

GnuTLS
  p11tool --provider {module} --list-all-privkeys --login --set-pin=\"$(cat {pin})\" '{key}'
  gnutls-serv --provider {module} --x509keyfile '{key}?pin-source=file:{pin}' --x509certfile web.pem

osslsigncode
  osslsigncode sign -pkcs11engine {engine} -pkcs11module {module} \\
    -readpass {pin} -certs web.pem -key '{key}' \\
    -h sha256 -in program.exe -out signed.exe

SSH
  ssh-keygen -D {module}
  ssh -o PKCS11Provider={module} user@host
"
    )
}

/// The module: beside this program, or in the lib directory next to its bin.
fn module() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let folder = program.parent()?;
    [folder.join(MODULE), folder.join("../lib").join(MODULE)].into_iter().find_map(|path| path.canonicalize().ok())
}

/// The engine's file, which osslsigncode wants by its path.
fn engine() -> String {
    let multiarch = format!("/usr/lib/{}-linux-gnu/engines-3/pkcs11.so", std::env::consts::ARCH);
    let places = [multiarch.as_str(), "/usr/lib64/engines-3/pkcs11.so", "/usr/lib/engines-3/pkcs11.so"];
    let found = places.into_iter().find(|path| Path::new(path).exists());
    found.unwrap_or(places[0]).to_owned()
}

/// RFC 7512: everything but RFC 3986's unreserved characters is written as %XX.
fn escape(bytes: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    bytes.iter().map(|byte| if plain(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// RFC 7512 §2.3: of an ID every byte is escaped.
fn escape_all(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02X}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_7512_escapes() {
        let named = Named {
            token: "My token: 1;é".into(),
            label: b"web/a-b._~%?&=".to_vec(),
            id: vec![0x00, 0x41, 0xff],
            kind: "secret-key",
        };
        assert_eq!(named.by_id(), "pkcs11:token=My%20token%3A%201%3B%C3%A9;id=%00%41%FF");
        assert_eq!(named.by_label(), "pkcs11:token=My%20token%3A%201%3B%C3%A9;object=web%2Fa-b._~%25%3F%26%3D");
        let place = Place { module: None, slot: 0, pin: "/p".into() };
        assert_eq!(page(&named, &place).lines().count(), 2);
    }
}
