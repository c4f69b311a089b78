//! Mechanisms and attributes in words, for `alikms features`.

use cryptoki_sys::*;

use super::attribute::{AttributeRow, Change, Create, Unnamed};
use super::mechanism::{Does, Keys, MechanismRow};
use crate::model::object::Class;

/// Every flag that a row of `MECHANISMS` may have.
const FLAGS: &[(CK_FLAGS, &str)] = &[
    (CKF_ENCRYPT, "encrypt"),
    (CKF_DECRYPT, "decrypt"),
    (CKF_SIGN, "sign"),
    (CKF_VERIFY, "verify"),
    (CKF_DIGEST, "digest"),
    (CKF_GENERATE, "generate"),
    (CKF_GENERATE_KEY_PAIR, "generate a pair"),
    (CKF_WRAP, "wrap"),
    (CKF_UNWRAP, "unwrap"),
    (CKF_DERIVE, "derive"),
    (CKF_MESSAGE_ENCRYPT, "encrypt by message"),
    (CKF_MESSAGE_DECRYPT, "decrypt by message"),
    (CKF_MESSAGE_SIGN, "sign by message"),
    (CKF_MESSAGE_VERIFY, "verify by message"),
    (CKF_MULTI_MESSAGE, "messages in parts"),
    (CKF_EC_F_P, "prime fields"),
    (CKF_EC_NAMEDCURVE, "named curves"),
    (CKF_EC_CURVENAME, "curves by name"),
    (CKF_EC_UNCOMPRESS, "uncompressed points"),
];

impl MechanismRow {
    /// `ulMinKeySize` and `ulMaxKeySize` with their unit; empty for a mechanism without a key.
    pub fn key_sizes(&self) -> String {
        let info = self.info();
        let unit = match (self.keys, self.does) {
            (Keys::None, _) => return String::new(),
            (Keys::Rsa | Keys::Ec | Keys::Edwards | Keys::Montgomery | Keys::Sm2, _)
            | (Keys::Generic, Does::Generate(_)) => "bits",
            (Keys::Aes | Keys::Envelope | Keys::Generic | Keys::Hkdf | Keys::Sm4, _) => "bytes",
        };
        format!("{} to {} {unit}", info.ulMinKeySize, info.ulMaxKeySize)
    }

    /// What the flags say.
    pub fn flags_in_words(&self) -> Vec<&'static str> {
        FLAGS.iter().filter(|(flag, _)| self.flags & flag != 0).map(|(_, word)| *word).collect()
    }
}

impl AttributeRow {
    /// The classes of objects that have it.
    pub fn on_in_words(&self) -> String {
        let word = |class: &Class| match class {
            Class::Certificate => "certificate",
            Class::Data => "data",
            Class::PrivateKey => "private key",
            Class::PublicKey => "public key",
            Class::SecretKey => "secret key",
        };
        if self.on == Class::ALL { "all".to_owned() } else { self.on.iter().map(word).collect::<Vec<_>>().join(", ") }
    }

    /// Who says what it is at first.
    pub fn create_in_words(&self) -> &'static str {
        match (self.create, self.kind) {
            (_, CKA_TRUSTED) => "the token",
            (Create::Allowed, _) => "any template",
            (Create::Import, _) => "C_CreateObject",
            (Create::Never, _) => "the token",
        }
    }

    /// What it is when no template names it.
    pub fn unnamed_in_words(&self) -> &'static str {
        match self.unnamed {
            Unnamed::Decided => "",
            Unnamed::Empty => "empty",
            Unnamed::False => "FALSE",
            Unnamed::True => "TRUE",
        }
    }

    /// What C_SetAttributeValue may make of it.
    pub fn change_in_words(&self) -> &'static str {
        let free = |class: &Class| self.change_on(*class) == Change::Always;
        match (self.change, self.kind) {
            (_, CKA_TRUSTED) => "to FALSE; to TRUE by the SO",
            (Change::OnlyTo(true), _) => "to TRUE",
            (Change::OnlyTo(false), _) => "to FALSE",
            _ if self.on.iter().all(free) => "yes",
            _ if !self.on.iter().any(free) => "no",
            (Change::Always, _) => "except of certificates",
            (Change::Never, _) => "of data only",
        }
    }

    /// Who may read it.
    pub fn read_in_words(&self) -> &'static str {
        if self.secret { "unless sensitive or unextractable" } else { "whoever sees the object" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::mechanism::MECHANISMS;

    #[test]
    fn no_flag_is_without_a_word() {
        let known = FLAGS.iter().fold(0, |known, (flag, _)| known | flag);
        assert!(MECHANISMS.iter().all(|row| row.flags & !known == 0));
    }
}
