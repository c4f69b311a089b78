//! `alikms help`, and what is said to somebody who typed something unknown.

use alikms_pkcs11::api::{self, ACTIONS, help, published};
use alikms_pkcs11::config::nearest;

use crate::output::Stop;
use crate::verb::{self, VERBS};

/// Help about an action or a verb, or about everything.
pub fn about(subject: Option<&str>) -> Result<String, Stop> {
    match subject {
        None => Ok(overview()),
        Some(name) => match (verb::find(name), api::find(name)) {
            (Some(verb), _) => Ok(verb.help()),
            (None, Ok(entry)) => Ok(help::text(entry)),
            (None, Err(_)) => match name {
                "help" => Ok("Explains an action or a verb: alikms help CreateKey\n".into()),
                "version" => Ok("Prints the version: alikms version\n".into()),
                name => Err(unknown(name)),
            },
        },
    }
}

/// Name and versions.
pub fn version() -> String {
    format!("alikms {} (KMS API {}, PKCS#11 3.2)\n", env!("CARGO_PKG_VERSION"), api::VERSION)
}

/// Where to read more.
pub fn see(command: &str) -> String {
    format!("See `alikms help {command}`.")
}

/// The answer to a command that there is not.
pub fn unknown(command: &str) -> Stop {
    if published::find(command).is_some() {
        return Stop::usage(format!("'{command}' is an api that this version does not have. See `alikms features`."));
    }
    let names = ACTIONS.iter().map(|entry| entry.name).chain(VERBS.iter().map(|verb| verb.name));
    Stop::Usage {
        message: format!("'{command}' is not a valid api. See `alikms help`."),
        meant: nearest(command, names.chain(["help", "version"])).map(str::to_owned),
    }
}

fn overview() -> String {
    let mut out = String::from(
        "A self-hosted key management service whose front door is a PKCS#11 module.\n\n\
         Usage:\n  alikms ACTION --Name value …   an action of the KMS API, answered in JSON\n  \
         alikms VERB …                  what the API has no action for\n\n\
         Values: --Name value, --Name=value or --Name:value; --Name-FILE path takes the value from a file.\n",
    );
    let mut chapter = "";
    for entry in ACTIONS {
        if entry.chapter != chapter {
            chapter = entry.chapter;
            out += &format!("\nActions: {chapter}\n");
        }
        out += &format!("  {:32} {}\n", entry.name, help::summary(entry));
    }
    out += "\nVerbs\n";
    for verb in VERBS {
        out += &format!("  {:32} {}.\n", verb.name, verb.summary());
    }
    out += &format!("  {:32} Explains one of them.\n  {:32} Prints the version.\n", "help [ACTION|VERB]", "version");
    out += "\nOptions of every command\n";
    out += &verb::options(verb::GLOBAL);
    out + "\nExit codes: 0 done, 1 refused or failed, 2 or 3 the command line is wrong.\n"
}
