//! `alikms`: the actions of the KMS API and a few verbs of its own, as a command.

mod args;
mod convert;
mod deploy;
mod features;
mod help;
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
use alikms_pkcs11::config::{Config, PinSource, nearest};
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

    let mut params = Params::default();
    for (name, value) in line.options.iter().filter(|(name, _)| names.contains(&name.as_str())) {
        params.push(name, value);
    }
    let kms = open(line)?;
    let request = Uuid::new_v4();
    match entry.run(&kms, &caller(line, &kms)?, &params, request) {
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
    if let Some((name, _)) = line.options.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        return Err(Stop::Usage {
            message: format!("'--{name}' is not a valid parameter or flag. {}", help::see(command)),
            meant: nearest(name, known).map(|name| format!("--{name}")),
        });
    }
    let missing: Vec<_> = needed.into_iter().filter(|name| line.option(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let list: String = missing.iter().map(|name| format!("\n  --{name}")).collect();
    Err(Stop::Tip { message: format!("required parameters not assigned: {list}"), tip: help::see(command) })
}

/// Who asks: the account itself, or the RAM user of --as.
fn caller(line: &Line, kms: &Kms) -> Result<Caller, Stop> {
    Ok(match line.option("as") {
        Some(user) => kms.as_user(user)?,
        None => Caller::account(),
    })
}

/// The configuration that the command line or the environment names.
fn config(line: &Line) -> Result<Config, Stop> {
    Ok(match line.option("config") {
        Some(path) => Config::read(Path::new(path))?,
        None => Config::find()?,
    })
}

/// The token that the command line names, or the first one, opened.
fn open(line: &Line) -> Result<Arc<Kms>, Stop> {
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
    let kms = service.token(label)?;
    match unlock(line, kms) {
        Ok(()) => Ok(Arc::clone(kms)),
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
