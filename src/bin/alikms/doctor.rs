//! `alikms doctor`: looks at everything that has to be right before a server can use a key, and says what is not.

use std::fmt::Write;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use alikms_pkcs11::Error;
use alikms_pkcs11::config::{Config, DeviceConfig, Isolate, PinSource, Unlock};
use alikms_pkcs11::kms::replicate::{MemberKeys, MemberState};
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::spec::Spec;
use alikms_pkcs11::protection::hsm::Hsm;
use alikms_pkcs11::protection::hsm::examine::Examination;
use alikms_pkcs11::store::Page;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{caller, config, unlock, uri};

/// Before this the clock is certainly wrong: 2026-01-01.
const NO_EARLIER: Duration = Duration::from_secs(1_767_225_600);
/// By so much may the clocks of two machines that share files differ.
const SKEW: Duration = Duration::from_secs(60);
/// Fewer open files are too few for a server that has a store and a device open in each worker.
const FILES: u64 = 256;
const KEYS: u64 = 20;

/// What was found, in the order in which it was looked at.
#[derive(Default)]
struct Chart {
    text: String,
    wrong: usize,
}

impl Chart {
    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.text, "{}{text}", if self.text.is_empty() { "" } else { "\n" });
    }

    fn good(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.text, "  ok     {}", text.as_ref());
    }

    /// Worth knowing, and not wrong.
    fn note(&mut self, text: impl AsRef<str>) {
        let _ = writeln!(self.text, "  note   {}", text.as_ref());
    }

    fn wrong(&mut self, text: impl AsRef<str>) {
        self.wrong += 1;
        let _ = writeln!(self.text, "  WRONG  {}", text.as_ref());
    }
}

pub fn run(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let mut chart = Chart::default();
    chart.heading("configuration");
    let config = config(line)?;
    chart.good(config.path.display().to_string());
    files(&mut chart, &config);
    machine(&mut chart, &config);
    for device in &config.devices {
        examine(&mut chart, device, line.option("try").is_some());
    }
    let uris = tokens(&mut chart, line, &config);
    let verdict = match chart.wrong {
        0 => "\nnothing is wrong\n".to_owned(),
        1 => "\none thing is WRONG\n".to_owned(),
        many => format!("\n{many} things are WRONG\n"),
    };
    output::print(&(chart.text + &uris + &verdict))?;
    Ok(if chart.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Who may read and change what.
fn files(chart: &mut Chart, config: &Config) {
    permissions(chart, &config.path, 0o022, "others than its owner can change it");
    if let Unlock::File(path) = &config.unlock {
        permissions(chart, path, 0o037, "it opens every key: chmod 0640, and the group only of those who use keys");
    }
    permissions(chart, &config.store, 0o007, "others than its group can reach it: chmod 0660");
    if let Some(directory) = config.store.parent().filter(|directory| directory.exists()) {
        permissions(chart, directory, 0o002, "everybody can put other files in place of the store's: chmod 2770");
    }
    for device in &config.devices {
        if let PinSource::File(path) = &device.pin {
            permissions(chart, path, 0o037, "it is the device's PIN: chmod 0640");
        }
        permissions(chart, &device.library, 0o022, "others than its owner can change the library");
    }
}

fn permissions(chart: &mut Chart, path: &Path, never: u32, why: &str) {
    let named = path.display();
    match fs::metadata(path) {
        Err(error) => chart.wrong(format!("{named}: {error}")),
        Ok(found) if found.permissions().mode() & never != 0 => {
            chart.wrong(format!("{named} has mode {:04o}: {why}", found.permissions().mode() & 0o7777));
        }
        Ok(found) if !found.is_dir() && fs::File::open(path).is_err() => {
            chart.wrong(format!("{named} cannot be read by this user (it is {})", owner(&found)));
        }
        Ok(found) => chart.good(format!("{named}, {}", owner(&found))),
    }
}

fn owner(found: &Metadata) -> String {
    format!("mode {:04o}, user {}, group {}", found.permissions().mode() & 0o7777, found.uid(), found.gid())
}

/// The clock, by which keys expire and requests are dated, and what the system allows a process.
fn machine(chart: &mut Chart, config: &Config) {
    chart.heading("machine");
    let now = SystemTime::now();
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let newest = ["", "-wal", "-counter"].iter().filter_map(|suffix| {
        let mut name = config.store.as_os_str().to_owned();
        name.push(suffix);
        fs::metadata(name).and_then(|found| found.modified()).ok()
    });
    match newest.max().and_then(|newest| newest.duration_since(now).ok()) {
        _ if since < NO_EARLIER => chart.wrong("the clock is years behind: keys would not expire"),
        Some(ahead) if ahead > SKEW => {
            chart.wrong(format!("the store was changed {} s in the future: the clock was set back", ahead.as_secs()));
        }
        _ => chart.good("the clock is not behind the store's"),
    }
    match limit("Max open files") {
        Some(files) if files < FILES => chart.wrong(format!("only {files} open files are allowed (ulimit -n)")),
        Some(files) => chart.good(format!("{files} open files are allowed")),
        None => chart.note("/proc/self/limits cannot be read"),
    }
    if limit("Max locked memory").is_some_and(|bytes| bytes < 64 * 1024) {
        chart.note("little memory may be locked (ulimit -l): keys may be swapped out");
    }
}

fn limit(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.split_whitespace().next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

fn examine(chart: &mut Chart, device: &DeviceConfig, rehearse: bool) {
    chart.heading(&format!("device {}: {}", device.name, device.library.display()));
    if device.agent.is_some() {
        match Hsm::new(device.clone()).probe() {
            Ok(_) => chart.good("the agent answers for it; below is what it is without the agent"),
            Err(error) => chart.wrong(error.to_string()),
        }
    }
    let hsm = Hsm::new(DeviceConfig { agent: None, ..device.clone() });
    let Examination { report, source, isolate, sessions, specs, imports, notes } = match hsm.examine() {
        Ok(found) => found,
        Err(error) => return chart.wrong(error.to_string()),
    };
    chart.good(format!(
        "token {}, serial {}, {} with firmware {}, {} mechanisms; logged in, and it answers",
        report.token,
        report.serial,
        report.model,
        report.firmware,
        report.mechanisms.len()
    ));
    chart.note(format!("profile {}, from {source}", report.profile));
    chart.note(match isolate {
        Isolate::Copy => "isolate = \"copy\": the library is ours alone, and is restarted if the device was lost",
        Isolate::Alone | Isolate::Share => {
            "isolate = \"share\": an application that uses the same library can end it for us"
        }
    });
    chart.note(format!("each process that uses keys opens up to {sessions} sessions, and each web server has many"));
    let can: Vec<&str> = specs.iter().filter(|(_, missing)| missing.is_none()).map(|(name, _)| *name).collect();
    match can[..] {
        [] => chart.wrong("it can make no key of any kind"),
        _ => chart.good(format!("keys: {}", can.join(", "))),
    }
    for (name, missing) in &specs {
        if let Some(missing) = missing {
            chart.note(format!("not {name}: it lacks {missing}"));
        }
    }
    let takes = imports.iter().filter(|(_, _, missing)| missing.is_none());
    let takes: Vec<_> = takes.map(|(unwrapping, name, _)| (*unwrapping, *name)).collect();
    if !takes.is_empty() {
        let names: Vec<&str> = takes.iter().map(|(_, name)| *name).collect();
        chart.good(format!("key material is imported into it by {}", names.join(", ")));
    }
    for (_, name, missing) in &imports {
        if let Some(missing) = missing {
            chart.note(format!("no import by {name}: it lacks {missing}"));
        }
    }
    notes.iter().for_each(|note| chart.note(note));
    for (unwrapping, name) in takes.into_iter().filter(|_| rehearse) {
        match hsm.rehearse_import(unwrapping) {
            Ok(()) => chart.good(format!("key material was imported by {name} and destroyed")),
            Err(error) => chart.wrong(format!("import by {name}: {error}")),
        }
    }
    for name in can.into_iter().filter(|_| rehearse) {
        match Spec::by_name(name).map(|spec| hsm.rehearse(spec)) {
            Some(Ok(())) => chart.good(format!("a key of {name} was made and destroyed")),
            Some(Err(error)) => chart.wrong(format!("{name}: {error}")),
            None => {}
        }
    }
}

/// What each of several devices has of the token's keys.
fn members(chart: &mut Chart, kms: &Kms, caller: &Caller) -> Result<(), Stop> {
    let members = kms.members(caller)?;
    if let (false, Some(group)) = (members.is_empty(), kms.device()) {
        chart.note(format!("a new key must be in {} of {} devices", group.quorum(), members.len()));
    }
    for MemberState { device, found } in members {
        match found {
            Err(error) => chart.wrong(format!("device {device} cannot be reached: {error}")),
            Ok(keys) if keys.missing > 0 => {
                let (missing, wanted) = (keys.missing, keys.wanted);
                chart.wrong(format!("device {device} lacks {missing} of {wanted} keys: run `alikms devices sync`"));
            }
            Ok(MemberKeys { replication: Some(false), .. }) => {
                chart.wrong(format!("device {device} lost the replication key: run `alikms devices sync`"));
            }
            Ok(keys) => chart.good(format!("device {device} has all of its {} keys", keys.wanted)),
        }
    }
    Ok(())
}

/// Each token and its keys' URIs; the snippets for each client, of the key that was named or of the first one.
fn tokens(chart: &mut Chart, line: &Line, config: &Config) -> String {
    let service = Service::new(config.clone());
    let mut uris = String::new();
    for (slot, token) in config.tokens.iter().enumerate() {
        if line.option("token").is_some_and(|label| label != token.label) {
            continue;
        }
        chart.heading(&format!("token {}", token.label));
        let kms = match service.token(Some(&token.label)) {
            Ok(kms) => kms,
            Err(error) => {
                chart.wrong(error.to_string());
                continue;
            }
        };
        match unlock(line, kms).and_then(|()| kms.count_keys()) {
            Ok((software, hsm)) => chart.good(format!("{hsm} keys in a device, {software} in the store")),
            Err(Error::Locked) => {
                chart.note("locked: give --pin to see its keys");
                continue;
            }
            Err(error) => {
                chart.wrong(error.to_string());
                continue;
            }
        }
        let listed = (|| -> Result<(), Stop> {
            let caller = caller(line, kms)?;
            members(chart, kms, &caller)?;
            let aliases = kms.list_aliases(&caller, Page { offset: 0, limit: KEYS })?.items;
            let named = line.option("KeyId").map(str::to_owned).or(aliases.first().map(|(alias, _)| alias.clone()));
            for (alias, _) in &aliases {
                chart.good(format!("{alias}  {}", uri::of(kms, &caller, alias)?));
            }
            if let (Some(key), true) = (named, uris.is_empty()) {
                uris = format!("\n{key} for each client\n\n{}", uri::snippets(line, kms, &caller, &key, slot)?);
            }
            Ok(())
        })();
        if let Err(stop) = listed {
            chart.wrong(stop.message());
        }
    }
    uris
}
