//! The form of `alikms.toml`, and the sentence for each mistake in it: file, line, what is wrong and how to mend it.

mod agent;
mod client;
mod members;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::sm_alias::{OURS, SM_NAMES, VENDOR_DEFINED, VENDORS};
use super::{AgentConfig, Config, CryptoAudit, DeviceConfig, Found, Isolate, PinSource, TokenConfig, Unlock, nearest};
use crate::error::{Error, Result};
use crate::model::key::Level;

type Text = Option<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    store: Option<Spanned<Store>>,
    unlock: Option<Spanned<UnlockTable>>,
    audit: Option<Spanned<AuditTable>>,
    agent: Option<Spanned<agent::Agent>>,
    client: Option<Spanned<client::Client>>,
    #[serde(default)]
    device: Vec<Spanned<Device>>,
    #[serde(default)]
    token: Vec<Spanned<Token>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Store {
    url: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UnlockTable {
    method: Text,
    path: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditTable {
    crypto: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    name: Text,
    profile: Text,
    library: Text,
    token: Text,
    slot: Option<u64>,
    serial: Text,
    pin: Text,
    init_args: Option<String>,
    #[serde(default)]
    env: BTreeMap<Spanned<String>, String>,
    isolate: Text,
    #[serde(default, rename = "override")]
    changes: toml::Table,
    device_mode: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    label: Text,
    account: Text,
    region: Text,
    device: Text,
    devices: Option<Spanned<Vec<Spanned<String>>>>,
    quorum: Option<Spanned<usize>>,
    protection_level: Text,
    destroy: Text,
    notifications: Option<u32>,
    sm_alias: Option<Spanned<SmAlias>>,
}

/// A vendor's name, or numbers by our names and perhaps `like = "a vendor's name"`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "sm_alias is a vendor's name, or numbers by our names: sm_alias = \"luna\"")]
enum SmAlias {
    Vendor(String),
    Numbers {
        like: Option<String>,
        #[serde(flatten)]
        numbers: BTreeMap<String, u64>,
    },
}

/// How each key is written, for the sentences.
const EXAMPLES: &[(&str, &str)] = &[
    ("store", "[store] with url = \"sqlite:/var/lib/alikms/kms.db\""),
    ("unlock", "[unlock] with method = \"file\" and path = \"/etc/alikms/unlock.key\""),
    ("audit", "[audit] with crypto = \"summary\""),
    ("device", "[[device]], with two brackets on each side"),
    ("token", "token = \"alikms-hsm\""),
    ("url", "url = \"sqlite:/var/lib/alikms/kms.db\""),
    ("method", "method = \"file\" or method = \"pin\""),
    ("path", "path = \"/etc/alikms/unlock.key\""),
    ("crypto", "crypto = \"none\", crypto = \"summary\" or crypto = \"all\""),
    ("name", "name = \"softhsm\""),
    ("profile", "profile = \"softhsm2\""),
    ("library", "library = \"/usr/lib/softhsm/libsofthsm2.so\""),
    ("slot", "slot = 0"),
    ("serial", "serial = \"0123456789abcdef\""),
    ("pin", "pin = \"file:/etc/alikms/device.pin\""),
    ("init_args", "init_args = \"connector=http://127.0.0.1:12345\""),
    ("env", "env = { SOFTHSM2_CONF = \"/etc/alikms/softhsm2.conf\" }"),
    ("isolate", "isolate = \"copy\" or isolate = \"share\""),
    ("device_mode", "device_mode = \"agent\" or device_mode = \"process\""),
    ("agent", "[agent] with socket = \"/run/alikms/agent.sock\""),
    ("socket", "socket = \"/run/alikms/agent.sock\""),
    ("allow", "allow = [\"www-data\", 1000]"),
    ("deadline", "deadline = 10"),
    ("tokens", "tokens = true"),
    ("clients", "clients = 256"),
    ("client", "[client] with socket = \"/run/alikms/agent.sock\""),
    ("label", "label = \"alikms\""),
    ("account", "account = \"1000000000000001\""),
    ("region", "region = \"cn-hangzhou\""),
    ("devices", "devices = [\"first\", \"second\"]"),
    ("quorum", "quorum = 2"),
    ("protection_level", "protection_level = \"HSM\" or protection_level = \"SOFTWARE\""),
    ("destroy", "destroy = \"immediate\""),
    ("notifications", "notifications = 100"),
    ("sm_alias", "sm_alias = \"luna\""),
];

fn example(key: &str) -> &str {
    EXAMPLES.iter().find(|(known, _)| *known == key).map_or("", |(_, example)| example)
}

/// Reads `text`, which was in the file `path`.
pub(super) fn read(path: &Path, text: &str) -> Result<Found> {
    let source = Source { path, text };
    let file: File = toml::from_str(text).map_err(|error| source.syntax(&error))?;
    if file.client.is_some() {
        return source.client(file).map(Found::Client);
    }

    let store = file.store.ok_or_else(|| source.absent("store"))?;
    let unlock = file.unlock.ok_or_else(|| source.absent("unlock"))?;
    let agent = file.agent.map_or(Ok(AgentConfig::default()), |table| source.agent(table))?;
    let mut devices: Vec<DeviceConfig> = Vec::new();
    for device in file.device {
        let span = device.span();
        let device = source.device(device, &agent)?;
        if devices.iter().any(|other| other.name == device.name) {
            return Err(source.fault(span, format!("two devices have the name \"{}\": rename one", device.name)));
        }
        devices.push(device);
    }
    if file.token.is_empty() {
        let example = "[[token]] with label, account and region";
        return Err(source.fault(0..0, format!("there is no token: add {example}")));
    }
    let mut tokens: Vec<TokenConfig> = Vec::new();
    for token in file.token {
        let span = token.span();
        let token = source.token(token, &devices)?;
        if tokens.iter().any(|other| other.label == token.label) {
            return Err(source.fault(span, format!("two tokens have the label \"{}\": rename one", token.label)));
        }
        if tokens.iter().any(|other| (&other.account, &other.region) == (&token.account, &token.region)) {
            let reason = format!(
                "two tokens are account {} in region {}: an account has one token in a region",
                token.account, token.region
            );
            return Err(source.fault(span, reason));
        }
        tokens.push(token);
    }
    Ok(Found::Own(Box::new(Config {
        path: path.to_owned(),
        store: source.store(store)?,
        unlock: source.unlock(unlock)?,
        crypto_audit: source.audit(file.audit)?,
        agent,
        devices,
        tokens,
    })))
}

struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    fn store(&self, table: Spanned<Store>) -> Result<PathBuf> {
        let span = table.span();
        let url = self.needed("url", table.into_inner().url, &span, "[store]")?;
        let fault = |reason: &str| Err(self.fault(url.span(), format!("{reason}: {}", example("url"))));
        match url.get_ref().strip_prefix("sqlite:") {
            None => fault("the store is an SQLite file, written"),
            Some(path) if path.starts_with("//") => fault("one slash follows sqlite:"),
            Some(path) if !path.starts_with('/') => fault("the path must begin with a slash"),
            Some(path) if path.ends_with('/') => fault("the path must name a file, not a directory"),
            Some(path) => Ok(path.into()),
        }
    }

    fn unlock(&self, table: Spanned<UnlockTable>) -> Result<Unlock> {
        let span = table.span();
        let UnlockTable { method, path } = table.into_inner();
        let method = self.needed("method", method, &span, "[unlock]")?;
        let by_file = self.choice("method", &method, &[("file", true), ("pin", false)])?;
        match path {
            path if by_file => {
                let path = self.needed("path", path, &span, "[unlock] with method \"file\"")?;
                Ok(Unlock::File(self.absolute("path", &path)?))
            }
            Some(path) => {
                let reason = "path belongs to method = \"file\": remove it, or change the method".into();
                Err(self.fault(path.span(), reason))
            }
            None => Ok(Unlock::Pin),
        }
    }

    fn audit(&self, table: Option<Spanned<AuditTable>>) -> Result<CryptoAudit> {
        const CHOICES: &[(&str, CryptoAudit)] =
            &[("none", CryptoAudit::None), ("summary", CryptoAudit::Summary), ("all", CryptoAudit::All)];
        let crypto = table.and_then(|table| table.into_inner().crypto);
        crypto.map_or(Ok(CryptoAudit::default()), |crypto| self.choice("crypto", &crypto, CHOICES))
    }

    fn device(&self, table: Spanned<Device>, agent: &AgentConfig) -> Result<DeviceConfig> {
        let span = table.span();
        let table = table.into_inner();
        let name = self.filled("name", self.needed("name", table.name, &span, "[[device]]")?)?;
        let library = self.needed("library", table.library, &span, "[[device]]")?;
        let library = self.absolute("library", &library)?;
        let pin = self.needed("pin", table.pin, &span, "[[device]]")?;
        let token = table.token.map(|text| self.filled("token", text)).transpose()?;
        let serial = table.serial.map(|text| self.filled("serial", text)).transpose()?;
        if token.is_none() && serial.is_none() && table.slot.is_none() {
            let reason = format!(
                "nothing tells which token of the device \"{name}\" to use: add {}, {} or {}",
                example("token"),
                example("serial"),
                example("slot")
            );
            return Err(self.fault(span, reason));
        }
        let isolate = |text| self.choice("isolate", &text, &[("copy", Isolate::Copy), ("share", Isolate::Share)]);
        let by_agent = |text| self.choice("device_mode", &text, &[("agent", true), ("process", false)]);
        let by_agent = table.device_mode.map_or(Ok(false), by_agent)?;
        let mut env = BTreeMap::new();
        for (name, value) in table.env {
            let span = name.span();
            let name = name.into_inner();
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(self.fault(span, format!("\"{name}\" cannot be a variable of the environment")));
            }
            env.insert(name, value);
        }
        Ok(DeviceConfig {
            name,
            profile: table.profile.map_or(Ok("auto".into()), |text| self.filled("profile", text))?,
            library,
            token,
            slot: table.slot,
            serial,
            pin: self.pin(&pin)?,
            init_args: table.init_args,
            env,
            isolate: table.isolate.map(isolate).transpose()?,
            changes: table.changes,
            agent: by_agent.then(|| agent.clone()),
        })
    }

    fn token(&self, table: Spanned<Token>, devices: &[DeviceConfig]) -> Result<TokenConfig> {
        let span = table.span();
        let table = table.into_inner();
        let label = self.needed("label", table.label, &span, "[[token]]")?;
        let account = self.needed("account", table.account, &span, "[[token]]")?;
        let region = self.needed("region", table.region, &span, "[[token]]")?;
        self.check_label(&label)?;
        if !account.get_ref().bytes().all(|byte| byte.is_ascii_digit()) || !(1..=32).contains(&account.get_ref().len())
        {
            let reason = format!("an account is 1 to 32 digits: {}", example("account"));
            return Err(self.fault(account.span(), reason));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !region.get_ref().bytes().all(plain) || !(1..=64).contains(&region.get_ref().len()) {
            let reason = format!("a region is 1 to 64 small letters, digits and hyphens: {}", example("region"));
            return Err(self.fault(region.span(), reason));
        }
        let (members, quorum) = self.members(table.device, table.devices, table.quorum, devices)?;
        let protection_level = match &table.protection_level {
            None if !members.is_empty() => Level::Hsm,
            None => Level::Software,
            Some(text) => {
                let level =
                    self.choice("protection_level", text, &[("HSM", Level::Hsm), ("SOFTWARE", Level::Software)])?;
                if level == Level::Hsm && members.is_empty() {
                    let reason = "protection_level = \"HSM\" needs a device: add device = \"the name of a [[device]]\", \
                                  or write protection_level = \"SOFTWARE\"";
                    return Err(self.fault(text.span(), reason.into()));
                }
                level
            }
        };
        let destroy = table.destroy.map(|text| self.choice("destroy", &text, &[("immediate", true)])).transpose()?;
        Ok(TokenConfig {
            label: label.into_inner(),
            account: account.into_inner(),
            region: region.into_inner(),
            devices: members,
            quorum,
            protection_level,
            destroy_immediate: destroy.unwrap_or(false),
            notifications: table.notifications,
            sm_alias: table.sm_alias.map_or(Ok(Vec::new()), |alias| self.sm_alias(alias))?,
        })
    }

    fn sm_alias(&self, alias: Spanned<SmAlias>) -> Result<Vec<(String, u64)>> {
        let span = alias.span();
        let fault = |reason: String| self.fault(span.clone(), reason);
        let (like, numbers) = match alias.into_inner() {
            SmAlias::Vendor(name) => (Some(name), BTreeMap::new()),
            SmAlias::Numbers { like, numbers } => (like, numbers),
        };
        let mut all: Vec<(String, u64)> = Vec::new();
        if let Some(name) = like {
            let Some((_, known)) = VENDORS.iter().find(|(vendor, _)| *vendor == name) else {
                let vendors: Vec<_> = VENDORS.iter().map(|(vendor, _)| *vendor).collect();
                return Err(fault(format!("sm_alias knows {}, not \"{}\"", vendors.join(", "), name.escape_debug())));
            };
            all.extend(known.iter().map(|(ours, low)| ((*ours).to_owned(), VENDOR_DEFINED + low)));
        }
        for (ours, theirs) in numbers {
            if !SM_NAMES.contains(&ours.as_str()) {
                let near =
                    nearest(&ours, SM_NAMES.iter().copied()).map_or(String::new(), |near| format!(", perhaps {near}"));
                return Err(fault(format!("sm_alias has no {}{near}", ours.escape_debug())));
            }
            if !(VENDOR_DEFINED..1 << 32).contains(&theirs) || OURS.contains(&theirs) {
                let reason =
                    format!("the number of {ours} must be a vendor's: 0x80000000 to 0xffffffff, and not one of ours");
                return Err(fault(reason));
            }
            let kind = |name: &str| name.starts_with("CKK_");
            all.retain(|(name, number)| *number != theirs || kind(name) != kind(&ours));
            all.push((ours, theirs));
        }
        Ok(all)
    }

    /// PKCS#11 pads labels with blanks to 32 bytes, so blanks at the end would be lost.
    fn check_label(&self, label: &Spanned<String>) -> Result<()> {
        let text = label.get_ref();
        let reason = match text.len() {
            0 => "a label cannot be empty".to_owned(),
            len if len > 32 => format!("a label has at most 32 bytes, this one has {len}"),
            _ if text.trim() != text => "a label cannot begin or end with a blank".to_owned(),
            _ if text.chars().any(char::is_control) => "a label cannot contain control characters".to_owned(),
            _ => return Ok(()),
        };
        Err(self.fault(label.span(), format!("{reason}: {}", example("label"))))
    }

    fn pin(&self, text: &Spanned<String>) -> Result<PinSource> {
        let reason = match PinSource::parse(text.get_ref()) {
            Ok(PinSource::File(path)) if !path.is_absolute() => "the path of a PIN file must begin with a slash",
            Ok(source) => return Ok(source),
            Err(_) => {
                "a PIN is not written here but where it is: \"file:/path\", \"env:NAME\" or \"credential:NAME\" (of systemd)"
            }
        };
        Err(self.fault(text.span(), reason.into()))
    }

    fn absolute(&self, key: &str, text: &Spanned<String>) -> Result<PathBuf> {
        let path = PathBuf::from(text.get_ref());
        if path.is_absolute() && !text.get_ref().contains('\0') {
            return Ok(path);
        }
        let reason = format!(
            "{key} must be a path that begins with a slash, not \"{}\": {}",
            text.get_ref().escape_debug(),
            example(key)
        );
        Err(self.fault(text.span(), reason))
    }

    fn filled(&self, key: &str, text: Spanned<String>) -> Result<String> {
        if text.get_ref().is_empty() || text.get_ref().chars().any(char::is_control) {
            let reason = format!("{key} cannot be empty or contain control characters: {}", example(key));
            return Err(self.fault(text.span(), reason));
        }
        Ok(text.into_inner())
    }

    fn needed(&self, key: &str, text: Text, table: &Range<usize>, name: &str) -> Result<Spanned<String>> {
        text.ok_or_else(|| self.fault(table.clone(), format!("{name} lacks {key}: add {}", example(key))))
    }

    fn choice<T: Copy>(&self, key: &str, text: &Spanned<String>, values: &[(&str, T)]) -> Result<T> {
        match values.iter().find(|(name, _)| name == text.get_ref()) {
            Some((_, value)) => Ok(*value),
            None => {
                let said = text.get_ref().escape_debug();
                Err(self.fault(text.span(), format!("{key} cannot be \"{said}\": write {}", example(key))))
            }
        }
    }

    fn absent(&self, table: &str) -> Error {
        self.fault(0..0, format!("[{table}] is missing: add {}", example(table)))
    }

    /// What toml or serde found wrong, in our words where we know its own.
    fn syntax(&self, error: &toml::de::Error) -> Error {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let reason = if message.starts_with("unknown field ") {
            let names = quoted(message);
            let (word, known) = names.split_first().map_or(("", [].as_slice()), |(word, known)| (word.as_str(), known));
            match nearest(word, known.iter().map(String::as_str)) {
                Some(meant) => format!("unknown key {word}: did you mean {meant}?"),
                None => format!("unknown key {word}: known here are {}", known.join(", ")),
            }
        } else if let Some(rest) = message.strip_prefix("invalid type: ").or(message.strip_prefix("invalid value: ")) {
            let found = rest.split(", expected").next().unwrap_or(rest).replace('`', "");
            let key = self.key_before(span.start);
            match example(key) {
                // What stands there may be the PIN itself.
                example if key == "pin" => format!("pin must be text: write {example}"),
                "" => format!("{found} cannot stand here"),
                example => format!("{key} cannot be {found}: write {example}"),
            }
        } else {
            message.lines().collect::<Vec<_>>().join(", ")
        };
        self.fault(span, reason)
    }

    /// The key whose value begins at `offset`, or in whose table header it stands.
    fn key_before(&self, offset: usize) -> &str {
        let before = self.text.get(..offset).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        let key = line.trim_end().trim_end_matches('=').trim_matches(|c: char| c == '[' || c.is_whitespace());
        if key.is_empty() {
            let rest = self.text.get(offset..).unwrap_or_default().lines().next().unwrap_or_default();
            return rest.split('=').next().unwrap_or_default().trim_matches(['[', ']', ' ']);
        }
        key
    }

    fn fault(&self, span: Range<usize>, reason: String) -> Error {
        let line = 1 + self.text.get(..span.start).unwrap_or_default().matches('\n').count();
        Error::Config { place: format!("{}:{line}", self.path.display()), reason }
    }
}

#[cfg(test)]
mod tests;
