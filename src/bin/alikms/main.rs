//! `alikms`: the actions of the KMS API and a few verbs of its own, as a command.

mod agent;
mod args;
mod backup;
mod client;
mod convert;
mod deploy;
mod doctor;
mod features;
mod help;
mod host;
mod ids;
mod local;
mod output;
mod status;
mod tasks;
mod upkeep;
mod uri;
mod verb;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use alikms_pkcs11::Error;
use alikms_pkcs11::api::{self, Entry, Fault, Params};
use alikms_pkcs11::config::{Config, Found, PinSource, nearest};
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use uuid::Uuid;

use args::Line;
use output::Stop;

fn main() -> ExitCode {
    alikms_pkcs11::trace::start();
    match Line::parse(std::env::args_os().skip(1)).and_then(|line| run(&line)) {
        Ok(code) => code,
        Err(stop) => stop.report(),
    }
}

fn run(line: &Line) -> Result<ExitCode, Stop> {
    let mut words = line.words.iter().map(String::as_str);
    let (command, rest): (_, Vec<&str>) = (words.next(), words.collect());
    if command == Some("version") || (command.is_none() && line.option("version").is_some()) {
        return output::print(&help::version()).map(|()| ExitCode::SUCCESS);
    }
    let subject = match command {
        Some("help") => Some(rest.first().copied()),
        None => Some(None),
        Some(command) => line.option("help").map(|_| Some(command)),
    };
    if let Some(subject) = subject {
        return output::print(&help::about(subject)?).map(|()| ExitCode::SUCCESS);
    }
    let command = command.unwrap_or_default();
    if let Some(verb) = verb::find(command) {
        return verb.run(line, &rest);
    }
    match api::find(command) {
        Ok(entry) if rest.is_empty() => action(line, entry).map(|()| ExitCode::SUCCESS),
        Ok(entry) => {
            Err(Stop::Tip { message: format!("'{}' is not expected here", rest.join(" ")), tip: help::see(entry.name) })
        }
        Err(_) => Err(help::unknown(command)),
    }
}

/// Runs an action of the API and prints its answer.
fn action(line: &Line, entry: &Entry) -> Result<(), Stop> {
    let parameters = api::help::parameters(entry);
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name.as_str()).collect();
    let needed = parameters.iter().filter(|parameter| parameter.required).map(|parameter| parameter.name.as_str());
    check(line, entry.name, &names, needed)?;

    let own = |name: &str| names.contains(&name.split('.').next().unwrap_or_default());
    let given = line.options.iter().filter(|(name, _)| own(name));
    if let Found::Client(client) = found(line)? {
        return client::action(line, entry.name, given.map(|(name, value)| (name.as_str(), value.as_str())), client);
    }
    let mut params = Params::default();
    given.for_each(|(name, value)| params.push(name, value));
    let kms = open(line)?;
    let request = Uuid::new_v4();
    let answer = entry.run(&kms, &caller(line, &kms)?, &params, request);
    // What this process and others did with keys goes into the audit trail; if that cannot be done now, it waits in files.
    if let Err(error) = kms.harvest(true) {
        output::warn(&format!("the uses of keys could not be carried into the audit trail: {error}"));
    }
    match answer {
        Ok(answer) => output::answer(&answer, line.option("query")),
        Err(error) => Err(Stop::Api { fault: Fault::from(&error), request }),
    }
}

/// Refuses options that the command does not know, and misses those that it needs.
fn check<'a>(
    line: &Line,
    command: &str,
    names: &[&'a str],
    needed: impl IntoIterator<Item = &'a str>,
) -> Result<(), Stop> {
    let known: Vec<&str> = names.iter().copied().chain(verb::GLOBAL.iter().map(|option| option.name)).collect();
    // A list may be written one item after the other: --ResourceId.1 …
    let is_known =
        |name: &str| known.contains(&name) || name.split_once('.').is_some_and(|(list, _)| known.contains(&list));
    if let Some((name, _)) = line.options.iter().find(|(name, _)| !is_known(name)) {
        return Err(Stop::Usage {
            message: format!("'--{name}' is not a valid parameter or flag. {}", help::see(command)),
            meant: nearest(name, known).map(|name| format!("--{name}")),
        });
    }
    let missing: Vec<_> = needed.into_iter().filter(|name| !given(line, name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|name| format!("\n  --{name}")).collect();
    Err(Stop::Tip { message: format!("required parameters not assigned: {list}"), tip: help::see(command) })
}

/// Is the option there, or one item of the list that it is?
fn given(line: &Line, name: &str) -> bool {
    line.options.iter().any(|(given, _)| given.split('.').next() == Some(name))
}

/// What a verb does for whoever asks, with a name for it and what it is about: a refusal goes into the audit trail.
fn manage<T>(
    line: &Line,
    kms: &Kms,
    (verb, about): (&str, &str),
    work: impl FnOnce(&Caller) -> alikms_pkcs11::Result<T>,
) -> Result<T, Stop> {
    Ok(kms.manages(&caller(line, kms)?, verb, about, work)?)
}

/// Who asks: the account itself, the RAM user of --as, or the one who has the access key.
fn caller(line: &Line, kms: &Kms) -> Result<Caller, Stop> {
    match (line.option("as"), line.option("access-key-id"), line.option("access-key-secret")) {
        (None, None, None) => Ok(Caller::account()),
        (Some(user), None, None) => Ok(kms.as_user(user)?),
        (None, Some(id), Some(secret)) => Ok(kms.login_with_access_key(id, &PinSource::parse(secret)?.read()?)?),
        _ => Err(Stop::usage("give --as, or --access-key-id and --access-key-secret".to_owned())),
    }
}

/// What the command line or the environment names.
fn found(line: &Line) -> Result<Found, Stop> {
    Ok(match line.option("config") {
        Some(path) => Found::read(Path::new(path))?,
        None => Found::find()?,
    })
}

/// The configuration that the command line or the environment names.
fn config(line: &Line) -> Result<Config, Stop> {
    Ok(match line.option("config") {
        Some(path) => Config::read(Path::new(path))?,
        None => Config::find()?,
    })
}

/// A token that is open, with the others of `alikms.toml`, whose certificates may be shared with it.
struct Open {
    kms: Arc<Kms>,
    _service: Arc<Service>,
}

impl std::ops::Deref for Open {
    type Target = Kms;
    fn deref(&self) -> &Kms {
        &self.kms
    }
}

/// The token that the command line names, or the first one, opened.
fn open(line: &Line) -> Result<Open, Stop> {
    let config = config(line)?;
    let label = line.option("token");
    if let Some(label) = label {
        let labels: Vec<&str> = config.tokens.iter().map(|token| token.label.as_str()).collect();
        if !labels.contains(&label) {
            return Err(Stop::Usage {
                message: format!("{} has no token '{label}', but {}", config.path.display(), labels.join(", ")),
                meant: nearest(label, labels).map(|label| format!("--token {label}")),
            });
        }
    }
    let service = Service::new(config);
    opened(line, &service, service.token(label)?)
}

/// The token that the command line names, or all of them, opened.
fn open_each(line: &Line) -> Result<Vec<Open>, Stop> {
    if line.option("token").is_some() {
        return Ok(vec![open(line)?]);
    }
    let service = Service::new(config(line)?);
    service.tokens().iter().map(|kms| opened(line, &service, kms)).collect()
}

fn opened(line: &Line, service: &Arc<Service>, kms: &Arc<Kms>) -> Result<Open, Stop> {
    match unlock(line, kms) {
        Ok(()) => Ok(Open { kms: Arc::clone(kms), _service: Arc::clone(service) }),
        Err(error @ Error::Locked) => {
            Err(Stop::Tip { message: error.to_string(), tip: "Give the token's PIN: --pin file:PATH".into() })
        }
        Err(error) => Err(error.into()),
    }
}

/// By the PIN of the command line, else as the configuration says.
fn unlock(line: &Line, kms: &Kms) -> alikms_pkcs11::Result<()> {
    match line.option("pin") {
        Some(source) => kms.login_user(&PinSource::parse(source)?.read()?),
        None => kms.unlock(),
    }
}
