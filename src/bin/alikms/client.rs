//! Actions with a client's `alikms.toml`: the agent's host does them.

use alikms_pkcs11::api::Fault;
use alikms_pkcs11::config::{ClientConfig, PinSource};
use alikms_pkcs11::model::Bytes;
use alikms_pkcs11::remote::{Act, Acted, Client, Who};
use serde_bytes::Bytes as Raw;
use serde_json::Value;
use uuid::Uuid;

use crate::args::Line;
use crate::output::{self, Stop};

pub fn action<'a>(
    line: &'a Line,
    action: &'a str,
    parameters: impl Iterator<Item = (&'a str, &'a str)>,
    config: ClientConfig,
) -> Result<(), Stop> {
    let secret = |name: &str| line.option(name).map(|source| PinSource::parse(source)?.read()).transpose();
    let (pin, key): (Option<_>, Option<_>) = (secret("pin")?, secret("access-key-secret")?);
    let who = match (line.option("as"), &pin, line.option("access-key-id"), &key) {
        (_, None, None, None) => return Err(unknown("the token is locked".to_owned())),
        (user, Some(pin), None, None) => Who::Pin { user, pin: Raw::new(pin) },
        (None, None, Some(id), Some(secret)) => Who::AccessKey { id, secret: Raw::new(secret) },
        _ => {
            let message = "give --pin, with --as for a RAM user's own PIN, or --access-key-id and --access-key-secret";
            return Err(Stop::usage(message));
        }
    };
    let act = Act { token: line.option("token"), action, parameters: parameters.collect(), who };
    match Client::new(config).act(act)? {
        Acted::Done(answer) => output::answer(&value(&answer)?, line.option("query")),
        Acted::Failed(message) => Err(unknown(message)),
        // The command ends now: what lives for ever does not live long.
        Acted::Refused { status, code, message, request } => {
            Err(Stop::Api { fault: Fault { status, code: code.leak(), message }, request: Uuid::from_u128(request) })
        }
    }
}

/// Nobody is somebody because of the user he runs as: in a container root is root, too.
fn unknown(message: String) -> Stop {
    Stop::Tip {
        message,
        tip:
            "At an agent, say who you are: --pin file:PATH, with --as for a RAM user's own PIN, or --access-key-id and \
              --access-key-secret."
                .into(),
    }
}

fn value(answer: &Bytes) -> Result<Value, Stop> {
    serde_json::from_slice(answer).map_err(|_| Stop::Failed("the agent's answer is not one".to_owned()))
}
