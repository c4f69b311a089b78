//! RAM: users, and policies in the documents' JSON form, with the one rule that decides: an explicit Deny wins, then an
//! Allow, else no.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::model::time::Moment;

/// A policy document has at most so many bytes.
pub(super) const MAX_DOCUMENT: usize = 32_768;

/// A RAM user: may do what the policies attached to it allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    pub id: Uuid,
    pub comments: String,
    pub created: Moment,
    /// Names of attached policies, in the order in which they were attached.
    pub policies: Vec<String>,
    /// At most two, oldest first.
    #[serde(default)]
    pub access_keys: Vec<AccessKey>,
}

/// What a program of a RAM user shows instead of a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    pub id: String,
    pub created: Moment,
    pub active: bool,
    /// The secret, sealed under the key-encryption key: signatures of requests are checked with it.
    #[serde(with = "crate::model::names::base64_bytes")]
    pub sealed: Vec<u8>,
}

/// A policy by its name, as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub name: String,
    pub description: String,
    pub document: String,
    pub created: Moment,
}

/// `Version`, and statements of which each allows or denies actions on resources.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Document {
    #[allow(dead_code)] // read so that it is checked
    version: PolicyVersion,
    #[serde(deserialize_with = "one_or_many")]
    statement: Vec<Statement>,
}

/// The only one there is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) enum PolicyVersion {
    #[serde(rename = "1")]
    One,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    #[serde(deserialize_with = "one_or_many")]
    action: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    resource: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Effect {
    Allow,
    Deny,
}

/// `"kms:*"` and `["kms:*"]` mean the same.
pub(super) fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        Many(Vec<T>),
        One(T),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::Many(many) => many,
        OneOrMany::One(one) => vec![one],
    })
}

impl Document {
    /// Refused: what is not understood to the last field, so that no condition is silently ignored.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |reason: String| Error::invalid("PolicyDocument", reason);
        if text.len() > MAX_DOCUMENT {
            return Err(fault("longer than 32768 bytes".to_owned()));
        }
        let document: Self = serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        let empty = |statement: &Statement| statement.action.is_empty() || statement.resource.is_empty();
        if document.statement.is_empty() || document.statement.iter().any(empty) {
            return Err(fault("a statement names at least one Action and one Resource".to_owned()));
        }
        Ok(document)
    }

    /// What the document says of an action (`kms:Encrypt`) on a resource (an ARN); None if it is silent.
    fn says(&self, action: &str, resource: &str) -> Option<Effect> {
        let mut said = None;
        for statement in &self.statement {
            let about = statement.action.iter().any(|pattern| fits(pattern, action, true))
                && statement.resource.iter().any(|pattern| fits(pattern, resource, false));
            match (about, statement.effect) {
                (true, Effect::Deny) => return Some(Effect::Deny),
                (true, Effect::Allow) => said = Some(Effect::Allow),
                (false, _) => {}
            }
        }
        said
    }
}

/// Does any document allow it, and none deny it?
pub fn allows(documents: &[Document], action: &str, resource: &str) -> bool {
    let mut allowed = false;
    for document in documents {
        match document.says(action, resource) {
            Some(Effect::Deny) => return false,
            Some(Effect::Allow) => allowed = true,
            None => {}
        }
    }
    allowed
}

/// Does any document deny it?
pub fn denies(documents: &[Document], action: &str, resource: &str) -> bool {
    documents.iter().any(|document| document.says(action, resource) == Some(Effect::Deny))
}

/// `*` stands for any characters, `?` for one. Names of actions are compared without regard to case.
pub(super) fn fits(pattern: &str, text: &str, any_case: bool) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let same = |one: u8, other: u8| one == other || (any_case && one.eq_ignore_ascii_case(&other));
    let (mut at, mut from) = (0, 0);
    // Where the last star stands, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(byte) if *byte == b'?' || same(*byte, text[from]) => {
                at += 1;
                from += 1;
            }
            _ => match star {
                Some((place, taken)) => {
                    star = Some((place, taken + 1));
                    at = place + 1;
                    from = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// Names of users and policies: 1 to 64 letters, digits and `. _ -` (users also `@`).
pub fn check_name(parameter: &str, name: &str) -> Result<()> {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(letter) {
        return Err(Error::invalid(parameter, "1 to 64 letters, digits, dots, underscores, hyphens"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("kms:*", "kms:Encrypt", true),
            ("kms:List*", "kms:ListKeys", true),
            ("kms:list*", "kms:ListKeys", true),
            ("kms:*Key", "kms:EnableKeys", false),
            ("a*b*c", "axxbyybzc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
        ] {
            assert_eq!(fits(pattern, text, true), expected, "{pattern} {text}");
        }
        assert!(!fits("KEY", "key", false));
    }

    #[test]
    fn a_deny_wins_and_silence_is_no() {
        let one = Document::parse(
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*"},
                {"Effect":"Deny","Action":["kms:Decrypt"],"Resource":["acs:kms:*:*:key/x"]}]}"#,
        )
        .unwrap();
        let documents = [one];
        assert!(allows(&documents, "kms:Decrypt", "acs:kms:r:a:key/y"));
        assert!(!allows(&documents, "kms:Decrypt", "acs:kms:r:a:key/x"));
        assert!(!allows(&documents, "ram:CreateUser", "acs:ram::a:user/u"));
        assert!(!allows(&[], "kms:Decrypt", "acs:kms:r:a:key/y"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in [
            "",
            "{}",
            r#"{"Version":"2","Statement":[]}"#,
            r#"{"Version":"1","Statement":[]}"#,
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":[],"Resource":"*"}]}"#,
            r#"{"Version":"1","Statement":[{"Effect":"Maybe","Action":"kms:*","Resource":"*"}]}"#,
            r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:*","Resource":"*","Condition":{}}]}"#,
        ] {
            assert!(Document::parse(text).is_err(), "{text}");
        }
    }
}
