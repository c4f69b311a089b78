//! Chapter "import": key material from elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::base64::{Base64, encode};
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;

/// Deletes imported key material: the key waits until the same material is imported again.
///
/// Example: `alikms DeleteKeyMaterial --KeyId 1339cb7d-54d3-47e0-b595-c7d3dba8d1e0`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DeleteKeyMaterial {
    /// ID or ARN of the key, whose origin is `EXTERNAL`; no alias.
    key_id: String,
}

impl Action for DeleteKeyMaterial {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.delete_key_material(caller, &self.key_id)
    }
}

/// Makes a wrapping key for an import, and a token that binds it to the key for 24 hours.
///
/// Example: `alikms GetParametersForImport --KeyId 1339cb7d-54d3-47e0-b595-c7d3dba8d1e0 --WrappingAlgorithm RSAES_OAEP_SHA_1 --WrappingKeySpec RSA_2048`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetParametersForImport {
    /// ID or ARN of the key, whose origin is `EXTERNAL`; no alias.
    key_id: String,
    /// `RSAES_PKCS1_V1_5`, `RSAES_OAEP_SHA_1` or `RSAES_OAEP_SHA_256`; beyond the API also `RSA_AES_KEY_WRAP_SHA_1` or
    /// `RSA_AES_KEY_WRAP_SHA_256`: RSAES-OAEP around an AES key of 256 bits, and behind it the material, wrapped by that key
    /// (RFC 5649).
    wrapping_algorithm: String,
    /// `RSA_2048`.
    wrapping_key_spec: String,
}

impl Action for GetParametersForImport {
    type Response = Parameters;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Parameters> {
        let Self { key_id, wrapping_algorithm, wrapping_key_spec } = &self;
        let made = kms.parameters_for_import(caller, key_id, wrapping_algorithm, wrapping_key_spec)?;
        Ok(Parameters {
            import_token: encode(&made.token),
            key_id: made.key.to_string(),
            public_key: encode(&made.public_key),
            token_expire_time: made.expires.to_string(),
        })
    }
}

/// Imports key material that was wrapped as GetParametersForImport said.
///
/// Example: `alikms ImportKeyMaterial --KeyId 1339cb7d-54d3-47e0-b595-c7d3dba8d1e0 --EncryptedKeyMaterial-FILE EncryptedKeyMaterial_base64.txt --ImportToken-FILE token.txt`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ImportKeyMaterial {
    /// The wrapped material in Base64.
    encrypted_key_material: Base64,
    /// The token of GetParametersForImport.
    import_token: Base64,
    /// ID or ARN of the key; no alias.
    key_id: String,
    /// When the material stops working, in seconds since 1970; 0 or not given: never.
    key_material_expire_unix: Option<i64>,
}

impl Action for ImportKeyMaterial {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let Self { encrypted_key_material, import_token, key_id, key_material_expire_unix } = &self;
        kms.import_key_material(caller, key_id, encrypted_key_material, import_token, *key_material_expire_unix)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Parameters {
    import_token: String,
    key_id: String,
    public_key: String,
    token_expire_time: String,
}
