//! Chapter "crypto", third part: message authentication codes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::base64::{Base64, encode};
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;

/// Makes the authentication code of a message.
///
/// Example: `alikms GenerateMac --KeyId alias/mac --Algorithm HMAC_SHA_256 --Message dGhpcyBpcyBhIG1lc3NhZ2UK`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GenerateMac {
    /// The key's own: `HMAC_SHA_256`, `HMAC_SHA_384` or `HMAC_SHA_512`.
    algorithm: String,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// The message in Base64.
    message: Base64,
}

impl Action for GenerateMac {
    type Response = Code;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Code> {
        let (key, mac) = kms.generate_mac(caller, &self.key_id, &self.algorithm, &self.message)?;
        Ok(Code { algorithm: self.algorithm, key_id: key.to_string(), mac: encode(&mac) })
    }
}

/// Checks the authentication code of a message. A wrong one is answered with `"Value": false`.
///
/// Example: `alikms VerifyMac --KeyId alias/mac --Algorithm HMAC_SHA_256 --Message dGhpcyBpcyBhIG1lc3NhZ2UK --Mac-FILE mac.b64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct VerifyMac {
    /// As in GenerateMac.
    algorithm: String,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// The code in Base64.
    mac: Base64,
    /// The message in Base64.
    message: Base64,
}

impl Action for VerifyMac {
    type Response = Verdict;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Verdict> {
        let (key, value) = kms.verify_mac(caller, &self.key_id, &self.algorithm, &self.message, &self.mac)?;
        Ok(Verdict { algorithm: self.algorithm, key_id: key.to_string(), value })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Code {
    algorithm: String,
    key_id: String,
    mac: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Verdict {
    algorithm: String,
    key_id: String,
    value: bool,
}
