//! Key policies: what the key itself says of who may do what with it, beside RAM's policies (SetKeyPolicy).

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::policy::{Effect, MAX_DOCUMENT, PolicyVersion, fits, one_or_many};

const MAX_SID: usize = 128;

/// A key's policy, as it was written, and read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyPolicy {
    text: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[allow(dead_code)] // read so that it is checked
    version: PolicyVersion,
    #[serde(deserialize_with = "one_or_many")]
    statement: Vec<Statement>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    #[serde(default)]
    sid: String,
    effect: Effect,
    principal: Principal,
    #[serde(deserialize_with = "one_or_many")]
    action: Vec<String>,
    #[serde(deserialize_with = "one_or_many")]
    resource: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE", deny_unknown_fields)]
struct Principal {
    #[serde(deserialize_with = "one_or_many")]
    ram: Vec<String>,
}

/// What a key's policy says of a caller and an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// A statement denies it.
    Denied,
    /// It is left to the account, that is to RAM's policies.
    LeftToRam,
    /// Nothing allows it: RAM's policies alone do not either.
    Nothing,
    /// The user is named: no RAM policy is needed.
    Granted,
}

impl KeyPolicy {
    /// Refused: what is not understood to the last field, so that no condition is silently ignored.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |reason: String| Error::invalid("Policy", reason);
        if text.len() > MAX_DOCUMENT {
            return Err(fault("longer than 32768 bytes".to_owned()));
        }
        let Document { statement: statements, .. } =
            serde_json::from_str(text).map_err(|error| fault(error.to_string()))?;
        if statements.is_empty() {
            return Err(fault("there is no Statement".to_owned()));
        }
        statements.iter().try_for_each(Statement::check).map_err(|reason| fault(reason.to_owned()))?;
        Ok(Self { text: text.to_owned(), statements })
    }

    /// The policy of a key that was given none: RAM decides.
    pub fn default_text(account: &str) -> String {
        format!(
            r#"{{"Statement":[{{"Action":["kms:*"],"Effect":"Allow","Principal":{{"RAM":["acs:ram::{account}:*"]}},"Resource":["*"],"Sid":"kms default key policy"}}],"Version":"1"}}"#
        )
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// `user`: the name of a RAM user of `account`; None for the account itself. `action`: `kms:Encrypt`.
    pub fn says(&self, account: &str, user: Option<&str>, action: &str) -> Said {
        let everybody = format!("acs:ram::{account}:*");
        let root = format!("acs:ram::{account}:root");
        let named = user.map(|user| format!("acs:ram::{account}:user/{user}"));
        let mut said = Said::Nothing;
        let about = |statement: &&Statement| statement.action.iter().any(|pattern| fits(pattern, action, true));
        for statement in self.statements.iter().filter(about) {
            let is = |name: &str| statement.principal.ram.iter().any(|principal| principal == name);
            let by_name = named.as_deref().is_some_and(is);
            let by_account = is(&everybody) || (user.is_none() && is(&root));
            match (statement.effect, by_name, by_account) {
                (Effect::Deny, true, _) | (Effect::Deny, _, true) => return Said::Denied,
                (Effect::Allow, true, _) => said = Said::Granted,
                (Effect::Allow, false, true) if said == Said::Nothing => said = Said::LeftToRam,
                _ => {}
            }
        }
        said
    }
}

impl Statement {
    fn check(&self) -> Result<(), &'static str> {
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"_/+=.@- ".contains(&byte);
        if self.sid.len() > MAX_SID || !self.sid.bytes().all(letter) {
            return Err("a Sid has up to 128 letters, digits and _ / + = . @ -");
        }
        if self.principal.ram.is_empty() || !self.principal.ram.iter().all(|name| is_principal(name)) {
            return Err("a Principal is acs:ram::ACCOUNT:* or acs:ram::ACCOUNT:user/NAME");
        }
        if self.action.is_empty() || !self.action.iter().all(|action| action.starts_with("kms:")) {
            return Err("an Action begins with kms:");
        }
        if self.resource.is_empty() || self.resource.iter().any(|resource| resource != "*") {
            return Err("the Resource of a key policy is *");
        }
        Ok(())
    }
}

/// `acs:ram::<account>:` and `*`, `root`, `user/<name>` or `role/<name>`; of another account too, which nobody here is.
fn is_principal(text: &str) -> bool {
    let parts = text.strip_prefix("acs:ram::").and_then(|rest| rest.split_once(':'));
    let Some((account, who)) = parts else { return false };
    let name = who.strip_prefix("user/").or_else(|| who.strip_prefix("role/"));
    let known = who == "*" || who == "root" || name.is_some_and(|name| !name.is_empty() && !name.contains('*'));
    known && !account.is_empty() && account.bytes().all(|byte| byte.is_ascii_digit())
}

impl TryFrom<String> for KeyPolicy {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<KeyPolicy> for String {
    fn from(policy: KeyPolicy) -> Self {
        policy.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(statements: &str) -> Result<KeyPolicy> {
        KeyPolicy::parse(&format!(r#"{{"Version":"1","Statement":[{statements}]}}"#))
    }

    fn statement(effect: &str, who: &str, action: &str) -> String {
        format!(
            r#"{{"Effect":"{effect}","Principal":{{"RAM":["acs:ram::1:{who}"]}},"Action":"{action}","Resource":"*"}}"#
        )
    }

    #[test]
    fn what_a_policy_says() {
        let all = statement("Allow", "*", "kms:*");
        let alice = statement("Allow", "user/alice", "kms:Encrypt");
        let no_bob = statement("Deny", "user/bob", "kms:Decrypt");
        let policy = policy(&[all, alice, no_bob].join(",")).unwrap();
        for (user, action, expected) in [
            (None, "kms:Encrypt", Said::LeftToRam),
            (Some("alice"), "kms:Encrypt", Said::Granted),
            (Some("alice"), "kms:Decrypt", Said::LeftToRam),
            (Some("bob"), "kms:Decrypt", Said::Denied),
        ] {
            assert_eq!(policy.says("1", user, action), expected, "{user:?} {action}");
            assert_eq!(policy.says("2", user, action), Said::Nothing, "another account: {user:?} {action}");
        }
        assert!(KeyPolicy::parse(&KeyPolicy::default_text("1")).is_ok());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let whole = statement("Allow", "*", "kms:*");
        policy(&whole).unwrap();
        for (from, to) in [
            ("Allow", "Perhaps"),
            ("\"*\"}", "\"acs:kms:*\"}"),
            ("kms:*", "ram:*"),
            ("acs:ram::1:*", "*"),
            ("acs:ram::1:*", "acs:ram::one:*"),
            ("acs:ram::1:*", "acs:ram::1:user/"),
            ("\"Effect\"", "\"Condition\":{},\"Effect\""),
            ("\"Effect\"", "\"Sid\":\"a:b\",\"Effect\""),
        ] {
            assert!(whole.contains(from), "{from}");
            assert!(policy(&whole.replacen(from, to, 1)).is_err(), "{from} {to}");
        }
        assert!(policy("").is_err());
    }
}
