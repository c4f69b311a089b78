//! Chapter "crypto", second part: data keys, and ciphertexts that change their key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use super::base64::{Base64, encode};
use super::crypto::{By, CiphertextBlob, context};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::data_key::{Recipient, Source, data_key_length};
use crate::model::caller::Caller;

/// Wraps a data key, which was encrypted under a key of the KMS, for the holder of a public key.
///
/// Example: `alikms ExportDataKey --CiphertextBlob-FILE datakey.b64 --PublicKeyBlob-FILE public.b64 --WrappingAlgorithm RSAES_OAEP_SHA_256 --WrappingKeySpec RSA_2048`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ExportDataKey {
    /// The encrypted data key in Base64.
    ciphertext_blob: Base64,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// The context that it was encrypted with: a JSON object of strings, up to 8192 characters.
    encryption_context: Option<String>,
    /// The recipient's public key: Base64 of DER SubjectPublicKeyInfo.
    public_key_blob: Base64,
    /// `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`.
    wrapping_algorithm: String,
    /// `RSA_2048`.
    wrapping_key_spec: String,
}

impl Action for ExportDataKey {
    type Response = Exported;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Exported> {
        let context = context(self.encryption_context.as_deref())?;
        let to = recipient(&self.wrapping_key_spec, &self.wrapping_algorithm, &self.public_key_blob);
        let (done, wrapped) = kms.export_data_key(caller, &self.ciphertext_blob, &context, &to)?;
        Ok(Exported { by: done.into(), exported_data_key: encode(&wrapped) })
    }
}

/// Makes a data key and answers it twice, encrypted under a key of the KMS and wrapped for the holder of a public key.
///
/// Example: `alikms GenerateAndExportDataKey --KeyId alias/data --PublicKeyBlob-FILE public.b64 --WrappingAlgorithm RSAES_OAEP_SHA_256 --WrappingKeySpec RSA_2048`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GenerateAndExportDataKey {
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// A JSON object of strings, up to 8192 characters, which Decrypt will need again.
    encryption_context: Option<String>,
    /// ID, alias or ARN of the symmetric key.
    key_id: String,
    /// `AES_256` (32 bytes, the default) or `AES_128` (16 bytes).
    key_spec: Option<String>,
    /// Length of the data key, 1 to 1024 bytes; goes before `KeySpec`.
    number_of_bytes: Option<i64>,
    /// The recipient's public key: Base64 of DER SubjectPublicKeyInfo.
    public_key_blob: Base64,
    /// `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`.
    wrapping_algorithm: String,
    /// `RSA_2048`.
    wrapping_key_spec: String,
}

impl Action for GenerateAndExportDataKey {
    type Response = GeneratedAndExported;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<GeneratedAndExported> {
        let length = data_key_length(self.key_spec.as_deref(), self.number_of_bytes)?;
        let context = context(self.encryption_context.as_deref())?;
        let to = recipient(&self.wrapping_key_spec, &self.wrapping_algorithm, &self.public_key_blob);
        let (done, blob, wrapped) = kms.generate_and_export_data_key(caller, &self.key_id, length, &context, &to)?;
        Ok(GeneratedAndExported {
            by: done.into(),
            ciphertext_blob: encode(&blob),
            exported_data_key: encode(&wrapped),
        })
    }
}

/// Makes a data key and answers it in plain, and encrypted under a key of the KMS.
///
/// Example: `alikms GenerateDataKey --KeyId alias/data`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GenerateDataKey {
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// A JSON object of strings, up to 8192 characters, which Decrypt will need again.
    encryption_context: Option<String>,
    /// ID, alias or ARN of the symmetric key.
    key_id: String,
    /// `AES_256` (32 bytes, the default) or `AES_128` (16 bytes).
    key_spec: Option<String>,
    /// Length of the data key, 1 to 1024 bytes; goes before `KeySpec`.
    number_of_bytes: Option<i64>,
    /// An enclave of the cloud: not supported here.
    recipient: Option<String>,
}

impl Action for GenerateDataKey {
    type Response = Generated;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Generated> {
        super::later(&[("Recipient", self.recipient.is_some())])?;
        let length = data_key_length(self.key_spec.as_deref(), self.number_of_bytes)?;
        let context = context(self.encryption_context.as_deref())?;
        let (done, plain, blob) = kms.generate_data_key(caller, "GenerateDataKey", &self.key_id, length, &context)?;
        Ok(Generated { by: done.into(), ciphertext_blob: encode(&blob), plaintext: encode(&plain) })
    }
}

/// Makes a data key and answers it only encrypted.
///
/// Example: `alikms GenerateDataKeyWithoutPlaintext --KeyId alias/data --NumberOfBytes 64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GenerateDataKeyWithoutPlaintext {
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// A JSON object of strings, up to 8192 characters, which Decrypt will need again.
    encryption_context: Option<String>,
    /// ID, alias or ARN of the symmetric key.
    key_id: String,
    /// `AES_256` (32 bytes, the default) or `AES_128` (16 bytes).
    key_spec: Option<String>,
    /// Length of the data key, 1 to 1024 bytes; goes before `KeySpec`.
    number_of_bytes: Option<i64>,
}

impl Action for GenerateDataKeyWithoutPlaintext {
    type Response = CiphertextBlob;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<CiphertextBlob> {
        const ACTION: &str = "GenerateDataKeyWithoutPlaintext";
        let length = data_key_length(self.key_spec.as_deref(), self.number_of_bytes)?;
        let context = context(self.encryption_context.as_deref())?;
        let (done, _, blob) = kms.generate_data_key(caller, ACTION, &self.key_id, length, &context)?;
        Ok(CiphertextBlob { by: done.into(), ciphertext_blob: encode(&blob) })
    }
}

/// Encrypts a ciphertext anew: under the primary version of another key, or of the same one after its rotation.
///
/// Example: `alikms ReEncrypt --CiphertextBlob-FILE old.b64 --DestinationKeyId alias/data`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ReEncrypt {
    /// The ciphertext in Base64: a blob of the KMS, or one made with a public key.
    ciphertext_blob: Base64,
    /// The context of the new ciphertext: a JSON object of strings, up to 8192 characters.
    destination_encryption_context: Option<String>,
    /// ID, alias or ARN of the symmetric key that encrypts.
    destination_key_id: String,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// How a public key encrypted: `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`.
    source_encryption_algorithm: Option<String>,
    /// The context of the old ciphertext.
    source_encryption_context: Option<String>,
    /// ID, alias or ARN of the key that decrypts; not needed for a blob of the KMS, which must be of it if it is given.
    source_key_id: Option<String>,
    /// ID of its version; likewise.
    source_key_version_id: Option<String>,
}

impl Action for ReEncrypt {
    type Response = CiphertextBlob;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<CiphertextBlob> {
        let from = context(self.source_encryption_context.as_deref())?;
        let to = context(self.destination_encryption_context.as_deref())?;
        let missing = |name: &str| Error::MissingParameter(name.to_owned());
        let source = match &self.source_encryption_algorithm {
            None => Source::Blob { key: self.source_key_id.as_deref(), version: self.source_key_version_id.as_deref() },
            Some(algorithm) => Source::Public {
                key: self.source_key_id.as_deref().ok_or_else(|| missing("SourceKeyId"))?,
                version: self.source_key_version_id.as_deref().ok_or_else(|| missing("SourceKeyVersionId"))?,
                algorithm,
            },
        };
        let (done, blob) =
            kms.re_encrypt(caller, &self.ciphertext_blob, source, &from, &self.destination_key_id, &to)?;
        Ok(CiphertextBlob { by: done.into(), ciphertext_blob: encode(&blob) })
    }
}

fn recipient<'a>(key_spec: &'a str, algorithm: &'a str, public_key: &'a [u8]) -> Recipient<'a> {
    Recipient { key_spec, algorithm, public_key }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Exported {
    #[serde(flatten)]
    by: By,
    exported_data_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Generated {
    #[serde(flatten)]
    by: By,
    ciphertext_blob: String,
    plaintext: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GeneratedAndExported {
    #[serde(flatten)]
    by: By,
    ciphertext_blob: String,
    exported_data_key: String,
}
