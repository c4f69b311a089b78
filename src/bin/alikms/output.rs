//! What is printed: answers, single fields of answers, and errors with their exit codes.

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use alikms_pkcs11::Error;
use alikms_pkcs11::api::Fault;
use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};
use uuid::Uuid;

/// Why the command ends without having done what was asked.
#[derive(Debug)]
pub enum Stop {
    /// An action refused: exit code 1, in the words of the API.
    Api { fault: Fault, request: Uuid },
    /// Exit code 1.
    Failed(String),
    /// Whoever read our output went away: no fault of ours, exit code 0.
    Pipe,
    /// Exit code 3: something is missing, and where to read what.
    Tip { message: String, tip: String },
    /// Exit code 2: something is wrong with the command line, and what may have been meant.
    Usage { message: String, meant: Option<String> },
}

/// Says on stderr what the user should know although the command goes on.
pub fn warn(text: &str) {
    let _ = std::io::stderr().write_all(format!("WARNING: {text}\n").as_bytes());
}

impl Stop {
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), meant: None }
    }

    /// The sentence, without what else is printed.
    pub fn message(&self) -> String {
        match self {
            Self::Usage { message, .. } | Self::Tip { message, .. } | Self::Failed(message) => message.clone(),
            Self::Api { fault, .. } => fault.message.clone(),
            Self::Pipe => String::new(),
        }
    }

    /// Says it on stderr; answers the exit code.
    pub fn report(&self) -> ExitCode {
        let (text, code) = match self {
            Self::Api { fault, request } => (
                format!(
                    "SDK.ServerError\nErrorCode: {}\nRecommend: \nRequestId: {request}\nMessage: {}\n",
                    fault.code, fault.message
                ),
                1,
            ),
            Self::Failed(message) => (format!("{message}\n"), 1),
            Self::Pipe => return ExitCode::SUCCESS,
            Self::Tip { message, tip } => (format!("{message}\n\n{tip}\n"), 3),
            Self::Usage { message, meant: None } => (format!("{message}\n"), 2),
            Self::Usage { message, meant: Some(meant) } => (format!("{message}\n\nDid you mean:\n  {meant}\n"), 2),
        };
        // If stderr is gone too, the exit code is all that is left to say.
        let _ = std::io::stderr().write_all(format!("ERROR: {text}").as_bytes());
        ExitCode::from(code)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Writes to stdout.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Stop::Pipe),
        Err(error) => Err(Stop::Failed(format!("the answer cannot be written: {error}"))),
    }
}

/// Writes a line to stderr, for a program that goes on.
pub fn complain(text: &str) {
    let _ = std::io::stderr().write_all(format!("{text}\n").as_bytes());
}

/// Prints an answer as JSON, or of it the one field that `query` names, as it is.
pub fn answer(value: &Value, query: Option<&str>) -> Result<(), Stop> {
    let Some(query) = query else { return print(&json(value)) };
    match pick(value, query) {
        Ok(Value::String(text)) if text.ends_with('\n') => print(text),
        Ok(Value::String(text)) => print(&format!("{text}\n")),
        Ok(Value::Null) => print("\n"),
        Ok(found) => print(&json(found)),
        // What the action did is done: its answer must not be lost.
        Err(reason) => {
            Err(Stop::Failed(format!("--query {query}: {reason}. The whole answer:\n{}", json(value).trim_end())))
        }
    }
}

/// The form of the cloud's command: sorted names, tabs, one newline at the end.
fn json(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, PrettyFormatter::with_indent(b"\t"));
    // Writing a Value into memory cannot fail.
    let _ = value.serialize(&mut serializer);
    out.push(b'\n');
    String::from_utf8(out).unwrap_or_default()
}

/// What `path` names: fields by name, items of lists by number, with dots between them.
fn pick<'a>(value: &'a Value, path: &str) -> Result<&'a Value, String> {
    path.split('.').try_fold(value, |value, step| match value {
        Value::Object(fields) => fields.get(step).ok_or_else(|| {
            let known: Vec<_> = fields.keys().map(String::as_str).collect();
            format!("there is no {step}, but {}", known.join(", "))
        }),
        Value::Array(items) => step
            .parse::<usize>()
            .ok()
            .and_then(|at| items.get(at))
            .ok_or_else(|| format!("there is no item {step} in a list of {}", items.len())),
        _ => Err(format!("nothing is inside a single value, so there is no {step}")),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_by_path() {
        let value = json!({"Keys": {"Key": [{"KeyId": "a"}, {"KeyId": "b"}]}, "Value": true});
        assert_eq!(pick(&value, "Keys.Key.1.KeyId"), Ok(&json!("b")));
        assert_eq!(pick(&value, "Value"), Ok(&json!(true)));
        assert_eq!(pick(&value, "KeyId").unwrap_err(), "there is no KeyId, but Keys, Value");
        assert_eq!(pick(&value, "Keys.Key.2").unwrap_err(), "there is no item 2 in a list of 2");
        assert_eq!(pick(&value, "Value.x").unwrap_err(), "nothing is inside a single value, so there is no x");
    }

    #[test]
    fn json_as_the_cloud_prints_it() {
        assert_eq!(json(&json!({"b": "<&>\n", "a": []})), "{\n\t\"a\": [],\n\t\"b\": \"<&>\\n\"\n}\n");
    }
}
