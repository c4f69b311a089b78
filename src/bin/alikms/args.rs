//! The command line in its parts, by the rules of the cloud's own command (kms-api.md §3.6).

use std::ffi::{OsStr, OsString};

use lexopt::{Arg, Parser};

use crate::output::Stop;

/// Options without a value.
const FLAGS: &[&str] = &["all", "help", "markdown", "snooze", "try", "verify"];
/// `--Name-FILE path` gives the parameter Name the content of a file.
const FROM_FILE: &str = "-FILE";

/// What was typed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub words: Vec<String>,
    /// Without dashes, in their order, no name twice; a flag has an empty value.
    pub options: Vec<(String, String)>,
}

impl Line {
    /// Reads the arguments behind the program's name.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, Stop> {
        let mut parser = Parser::from_args(args);
        let mut line = Self::default();
        while let Some(arg) = parser.next().map_err(|error| Stop::usage(error.to_string()))? {
            match arg {
                Arg::Short('h') => line.add("help".into(), String::new())?,
                Arg::Short('V') => line.add("version".into(), String::new())?,
                Arg::Short(letter) => return Err(Stop::usage(format!("'-{letter}' is not a valid flag"))),
                // Behind a verb it is an option with a value.
                Arg::Long("version") if line.words.is_empty() => line.add("version".into(), String::new())?,
                Arg::Long(name) if FLAGS.contains(&name) => {
                    let name = name.to_owned();
                    line.add(name, String::new())?;
                }
                Arg::Long(name) => {
                    let name = name.to_owned();
                    let (name, value) = option(&name, &mut parser)?;
                    line.add(name, value)?;
                }
                Arg::Value(word) => line.words.push(text(word)?),
            }
        }
        Ok(line)
    }

    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn add(&mut self, name: String, value: String) -> Result<(), Stop> {
        if self.option(&name).is_some() {
            return Err(Stop::usage(format!("--{name} duplicated")));
        }
        self.options.push((name, value));
        Ok(())
    }
}

/// Name and value of an option: `--Name value`, `--Name=value` or `--Name:value`, whichever sign comes first.
fn option(typed: &str, parser: &mut Parser) -> Result<(String, String), Stop> {
    let (name, value) = match (typed.split_once(':'), parser.optional_value()) {
        (Some((name, head)), Some(tail)) => (name, format!("{head}={}", text(tail)?)),
        (Some((name, value)), None) => (name, value.to_owned()),
        (None, Some(value)) => (typed, text(value)?),
        (None, None) => {
            let next = parser.try_raw_args().and_then(|mut args| args.next_if(is_value));
            (typed, next.map(text).transpose()?.unwrap_or_default())
        }
    };
    if value.is_empty() {
        return Err(Stop::usage(format!("--{name} must be assigned with value")));
    }
    match name.strip_suffix(FROM_FILE) {
        Some(name) => {
            let content = std::fs::read_to_string(&value)
                .map_err(|error| Stop::usage(format!("--{name}{FROM_FILE}: {value} cannot be read: {error}")))?;
            Ok((name.to_owned(), content))
        }
        None => Ok((name.to_owned(), value)),
    }
}

/// PEM begins with dashes and is a value all the same.
fn is_value(next: &OsStr) -> bool {
    let bytes = next.as_encoded_bytes();
    !bytes.starts_with(b"--") || bytes.starts_with(b"---")
}

fn text(value: OsString) -> Result<String, Stop> {
    value.into_string().map_err(|value| Stop::usage(format!("'{}' is not UTF-8", value.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Line, String> {
        Line::parse(args.iter().map(OsString::from)).map_err(|stop| stop.message())
    }

    #[test]
    fn three_ways_to_give_a_value() {
        let line =
            parse(&["X", "--A", "1", "--B=CN=a:b", "--C:CN=a:b", "--D:=", "--E", "---PEM", "--F", "-5"]).unwrap();
        let options: Vec<_> = line.options.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [("A", "1"), ("B", "CN=a:b"), ("C", "CN=a:b"), ("D", "="), ("E", "---PEM"), ("F", "-5")];
        assert_eq!((line.words, options), (vec!["X".to_owned()], expected.to_vec()));
    }

    #[test]
    fn mistakes() {
        for (args, expected) in [
            (&["--A", "1", "--A=1"][..], "--A duplicated"),
            (&["--A", "1", "--A-FILE", "/dev/null"], "--A duplicated"),
            (&["--A", "--B", "1"], "--A must be assigned with value"),
            (&["--A="], "--A must be assigned with value"),
            (&["--A:"], "--A must be assigned with value"),
            (&["--A"], "--A must be assigned with value"),
            (&["-x"], "'-x' is not a valid flag"),
        ] {
            assert_eq!(parse(args).unwrap_err(), expected);
        }
    }
}
