//! Policies of RAM and of keys: any JSON, and what it says of any action.

use alikms_pkcs11::model::key_policy::KeyPolicy;
use alikms_pkcs11::model::policy::{Document, allows, check_name, denies};

const ACCOUNT: &str = "1000000000000001";

pub fn run(data: &[u8]) {
    // A policy, NUL, what is asked of it.
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (policy, asked) = text.split_once('\0').unwrap_or((text, "kms:Decrypt"));
    let _ = check_name("PolicyName", asked);
    if let Ok(document) = Document::parse(policy) {
        let documents = [document];
        let (_, _) = (allows(&documents, asked, asked), denies(&documents, asked, asked));
    }
    if let Ok(policy) = KeyPolicy::parse(policy) {
        let (_, _) = (policy.says(ACCOUNT, None, asked), policy.says(ACCOUNT, Some(asked), asked));
        assert!(KeyPolicy::parse(policy.text()).is_ok(), "what was taken is taken again");
    }
}
