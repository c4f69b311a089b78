//! What must be true: everything that was answered, and of each writer's last, unanswered change either all or nothing.

use std::collections::{BTreeMap, BTreeSet};

use alikms_pkcs11::kms::Kms;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use serde_json::Value;

use crate::support::{Client, KEY_ID, hex, s, u, unhex, v};
use crate::writer::act;

/// Facts by their names, `what resource`; "" is "not there".
#[derive(Default)]
pub struct Ledger {
    facts: BTreeMap<String, String>,
    /// What was begun and not answered when its writer died: begun work, each with its facts.
    unanswered: Vec<(String, Facts)>,
    /// CKA_IDs that keys were made with, or were to be made with.
    objects: BTreeSet<String>,
    /// What the service refused, which it should not have.
    pub refused: Vec<String>,
    pub answered: u64,
}

/// What one writer left.
pub type Facts = Vec<(String, String)>;

fn facts_of(line: &Value) -> Facts {
    let pairs = line.as_array().into_iter().flatten();
    pairs.map(|pair| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned())).collect()
}

impl Ledger {
    /// Reads the lines of a writer that is dead. Only whole lines count.
    pub fn read<'a>(&mut self, lines: impl Iterator<Item = &'a str>) {
        let mut begun: Option<(String, Facts)> = None;
        for line in lines {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if let Some(what) = line["begin"].as_str() {
                let facts = facts_of(&line["facts"]);
                let names = facts.iter().filter_map(|(name, _)| name.strip_prefix("object "));
                self.objects.extend(names.map(str::to_owned));
                begun = Some((what.to_owned(), facts));
            } else if line["done"].is_string() {
                self.answered += 1;
                let (_, facts) = begun.take().expect("what is answered was begun");
                self.facts.extend(facts);
            } else if line["refused"].is_string() {
                begun = None;
                self.refused.push(line.to_string());
            } else {
                self.facts.extend(facts_of(&line["learned"]));
            }
        }
        self.unanswered.extend(begun);
    }

    /// How often the unanswered changes of this kind may have happened.
    pub fn open_ends(&self, what: &str) -> usize {
        self.unanswered.iter().filter(|(begun, _)| begun == what).count()
    }

    /// Compares every fact with what there is, and settles what was open.
    pub fn compare(&mut self, eyes: &Eyes<'_>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut open: BTreeMap<&str, &str> = BTreeMap::new();
        for (begun, facts) in &self.unanswered {
            let mut seen = BTreeSet::new();
            for (name, new) in facts {
                let old = self.facts.get(name).map_or_else(|| default(name), String::as_str);
                let now = eyes.look(name);
                open.insert(name, new);
                if now == old || now == *new {
                    seen.insert(now == *new && now != old);
                } else {
                    wrong.push(format!("unanswered {begun}: {name} is '{now}', neither '{old}' nor '{new}'"));
                }
            }
            if seen.len() > 1 {
                wrong.push(format!("unanswered {begun} is half done: {facts:?}"));
            }
        }
        let mut settled = Vec::new();
        for (name, value) in &self.facts {
            let now = eyes.look(name);
            // Its key may not be used at the moment.
            if name.starts_with("blob ") && now == "locked" {
                continue;
            }
            if now != *value && open.get(name.as_str()).is_none_or(|new| now != **new) {
                wrong.push(format!("{name} is '{now}' and was answered to be '{value}'"));
            }
            settled.push((name.clone(), now));
        }
        self.unanswered.retain(|(_, facts)| facts.is_empty());
        self.facts.extend(settled);
        wrong
    }

    /// The deletion windows have ended: those keys are gone, and all that was theirs.
    pub fn let_windows_end(&mut self) {
        let ends: BTreeSet<String> = self
            .facts
            .iter()
            .filter(|(name, value)| name.starts_with("state ") && *value == "PendingDeletion")
            .map(|(name, _)| name.split(' ').nth(1).unwrap().to_owned())
            .collect();
        self.facts.retain(|name, _| name.split(' ').nth(1).is_none_or(|key| !ends.contains(key)));
        self.facts.values_mut().filter(|value| ends.contains(*value)).for_each(String::clear);
        self.facts.extend(ends.into_iter().map(|key| (format!("state {key}"), "Forbidden.KeyNotFound".to_owned())));
    }

    /// The keys that the ledger knows.
    pub fn keys(&self) -> BTreeSet<String> {
        let names = self.facts.keys().filter_map(|name| name.strip_prefix("state "));
        names.map(str::to_owned).collect()
    }
}

/// Before anything was said about it.
fn default(name: &str) -> &'static str {
    if name.starts_with("state ") { "Enabled" } else { "" }
}

/// Looks at what there is, through the actions and through a module.
pub struct Eyes<'a> {
    pub kms: &'a Kms,
    pub client: &'a Client,
}

impl Eyes<'_> {
    fn ask(&self, action: &str, given: &[(&str, &str)], pointer: &str) -> String {
        match act(self.kms, action, given) {
            Ok(answer) => answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned(),
            Err(fault) => fault.code.to_owned(),
        }
    }

    /// As `ask`; what is not found is "".
    fn find(&self, action: &str, given: &[(&str, &str)], pointer: &str) -> String {
        let found = self.ask(action, given, pointer);
        if found.contains("NotFound") || found.contains("NotExist") { String::new() } else { found }
    }

    /// The value of a fact now.
    pub fn look(&self, name: &str) -> String {
        let words: Vec<&str> = name.split(' ').collect();
        let key = ("KeyId", words[1]);
        match words[0] {
            "state" => self.ask("DescribeKey", &[key], "/KeyMetadata/KeyState"),
            "level" => self.ask("DescribeKey", &[key], "/KeyMetadata/ProtectionLevel"),
            "description" => self.ask("DescribeKey", &[key], "/KeyMetadata/Description"),
            "tag" => self.ask("ListResourceTags", &[key], "/Tags/Tag/0/TagValue"),
            "alias" => self.find("DescribeKey", &[("KeyId", words[1])], "/KeyMetadata/KeyId"),
            "user" => self.there(self.find("GetUser", &[("UserName", words[1])], "/User/UserName")),
            "policy" => self.there(self.find("GetPolicy", &[("PolicyName", words[1])], "/Policy/PolicyName")),
            "attached" => self.find("ListPoliciesForUser", &[("UserName", words[1])], "/Policies/Policy/0/PolicyName"),
            "version" => {
                let given = [key, ("KeyVersionId", words[2])];
                self.there(self.find("DescribeKeyVersion", &given, "/KeyVersion/KeyVersionId"))
            }
            // A key that may not be used now keeps its secret; when it may, it must give it.
            "blob" => match act(self.kms, "Decrypt", &[("CiphertextBlob", words[2])]) {
                Ok(answer) => answer["Plaintext"].as_str().unwrap().to_owned(),
                Err(fault) if fault.code.starts_with("Rejected.") => "locked".to_owned(),
                Err(fault) => fault.code.to_owned(),
            },
            "data" => self.data(words[1]),
            _ => self.object(&unhex(words[1])),
        }
    }

    fn there(&self, found: String) -> String {
        if found.is_empty() { found } else { "there".to_owned() }
    }

    fn data(&self, label: &str) -> String {
        let found = self.client.find(&[u(CKA_CLASS, CKO_DATA), s(CKA_LABEL, label)]);
        match found[..] {
            [] => String::new(),
            [one] => hex(&self.client.get(one, CKA_VALUE).unwrap()),
            _ => format!("{} of them", found.len()),
        }
    }

    /// The label of a key's objects, when the key works and its halves belong together.
    fn object(&self, id: &[u8]) -> String {
        let of = |class| self.client.find(&[u(CKA_CLASS, class), v(CKA_ID, id)]);
        let label = |key| self.client.label(key);
        match (&of(CKO_PRIVATE_KEY)[..], &of(CKO_PUBLIC_KEY)[..], &of(CKO_SECRET_KEY)[..]) {
            ([], [], []) => String::new(),
            ([private], [public], []) => {
                let signature = self.client.sign(CKM_ECDSA, *private, &[7; 32]);
                match signature.and_then(|signature| self.client.verify(CKM_ECDSA, *public, &[7; 32], &signature)) {
                    Ok(()) => label(*private),
                    Err(rv) => format!("a pair that answers {rv:#x}"),
                }
            }
            ([], [], [secret]) => match self.client.encrypt(CKM_AES_ECB, *secret, &[7; 16]) {
                Ok(_) => label(*secret),
                Err(rv) => format!("a secret that answers {rv:#x}"),
            },
            halves => format!("{halves:?}"),
        }
    }

    /// Keys that are there: each whole, and no more of them than were asked for.
    pub fn strangers(&self, ledger: &Ledger) -> Vec<String> {
        let mut wrong = Vec::new();
        let (known, names) = (ledger.keys(), self.names());
        let mut unknown = 0;
        for page in 1.. {
            let answer = act(self.kms, "ListKeys", &[("PageNumber", &page.to_string()), ("PageSize", "100")]).unwrap();
            let keys = answer["Keys"]["Key"].as_array().unwrap();
            for key in keys {
                let id = key["KeyId"].as_str().unwrap();
                let described = act(self.kms, "DescribeKey", &[("KeyId", id)]).unwrap()["KeyMetadata"].clone();
                wrong.extend(self.flaw(id, &described));
                // Keys made through the module are known by the CKA_ID that their makers gave.
                let named = names.get(id).is_some_and(|ckid| ledger.objects.contains(ckid));
                unknown += usize::from(!known.contains(id) && !named);
            }
            if keys.is_empty() {
                break;
            }
        }
        let may = ledger.open_ends("CreateKey");
        if unknown > may {
            wrong.push(format!("{unknown} keys that nobody was told of, after {may} creations without an answer"));
        }
        wrong
    }

    /// The CKA_ID of every key that can be seen, by its KeyId.
    fn names(&self) -> BTreeMap<String, String> {
        let of = |class| self.client.find(&[u(CKA_CLASS, class)]);
        let keys = [CKO_PRIVATE_KEY, CKO_SECRET_KEY].into_iter().flat_map(of);
        keys.map(|key| {
            let id = String::from_utf8(self.client.get(key, KEY_ID).unwrap()).unwrap();
            (id, hex(&self.client.get(key, CKA_ID).unwrap()))
        })
        .collect()
    }

    /// What is wrong with a key that should work.
    fn flaw(&self, id: &str, described: &Value) -> Option<String> {
        if described["KeyState"] != "Enabled" {
            return None;
        }
        let digest = STANDARD.encode([7; 32]);
        let asymmetric = described["KeyUsage"] == "SIGN/VERIFY" && described["KeySpec"] != "Aliyun_AES_256";
        let worked = if asymmetric {
            let versions = act(self.kms, "ListKeyVersions", &[("KeyId", id), ("PageSize", "100")]).unwrap();
            let versions = versions["KeyVersions"]["KeyVersion"].as_array().unwrap().clone();
            if versions.is_empty() {
                return Some(format!("key {id} has no version"));
            }
            versions.iter().try_for_each(|version| {
                let version = version["KeyVersionId"].as_str().unwrap();
                let given =
                    [("KeyId", id), ("KeyVersionId", version), ("Algorithm", "ECDSA_SHA_256"), ("Digest", &digest)];
                act(self.kms, "AsymmetricSign", &given).map(drop)
            })
        } else {
            act(self.kms, "Encrypt", &[("KeyId", id), ("Plaintext", &digest)]).map(drop)
        };
        match worked {
            Ok(()) => None,
            // A secret key that the module made has no blobs.
            Err(fault) if fault.code == "UnsupportedOperation" => None,
            Err(fault) => Some(format!("key {id} does not work: {} {}", fault.code, fault.message)),
        }
    }
}
