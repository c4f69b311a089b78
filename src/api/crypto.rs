//! Chapter "crypto": the operations that use a key.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::base64::{Base64, encode};
use super::{Action, later};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::asymmetric::Done;
use crate::model::caller::Caller;
use crate::model::context::Context;

/// Decrypts with the private key of an asymmetric key.
///
/// Example: `alikms AsymmetricDecrypt --KeyId alias/mail --KeyVersionId c0a3d5dc-0b47-4199-a050-b289349a0000 --Algorithm RSAES_OAEP_SHA_256 --CiphertextBlob-FILE ciphertext.b64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AsymmetricDecrypt {
    /// `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`; for `EC_SM2` `SM2PKE`, whose ciphertext is C1, C3, C2 without ASN.1.
    algorithm: String,
    /// The ciphertext in Base64.
    ciphertext_blob: Base64,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
}

impl Action for AsymmetricDecrypt {
    type Response = Plaintext;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Plaintext> {
        let Self { algorithm, ciphertext_blob, key_id, key_version_id, .. } = &self;
        let (done, plaintext) = kms
            .asymmetric_decrypt(caller, key_id, key_version_id, algorithm, ciphertext_blob)
            .map_err(about("CiphertextBlob"))
            .map_err(rejected)?;
        Ok(Plaintext { by: done.into(), plaintext: encode(&plaintext) })
    }
}

/// Encrypts with the public key of an asymmetric key.
///
/// Example: `alikms AsymmetricEncrypt --KeyId alias/mail --KeyVersionId c0a3d5dc-0b47-4199-a050-b289349a0000 --Algorithm RSAES_OAEP_SHA_256 --Plaintext dGhpcyBpcyBwbGFpbnRleHQK`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AsymmetricEncrypt {
    /// `RSAES_OAEP_SHA_256` or `RSAES_OAEP_SHA_1`; for `EC_SM2` `SM2PKE`, whose ciphertext is C1, C3, C2 without ASN.1.
    algorithm: String,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
    /// The plaintext in Base64; for `RSA_2048` up to 190 bytes with SHA-256 and 214 bytes with SHA-1, for
    /// `EC_SM2` 1 to 6047 bytes.
    plaintext: Base64,
}

impl Action for AsymmetricEncrypt {
    type Response = CiphertextBlob;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<CiphertextBlob> {
        let Self { algorithm, key_id, key_version_id, plaintext, .. } = &self;
        let (done, blob) = kms
            .asymmetric_encrypt(caller, key_id, key_version_id, algorithm, plaintext)
            .map_err(about("Plaintext"))
            .map_err(rejected)?;
        Ok(CiphertextBlob { by: done.into(), ciphertext_blob: encode(&blob) })
    }
}

/// Signs a digest with the private key of an asymmetric key. Signatures of elliptic curves are DER.
///
/// Example: `alikms AsymmetricSign --KeyId=alias/web --KeyVersionId=c0a3d5dc-0b47-4199-a050-b289349a0000 --Algorithm=RSA_PSS_SHA_256 --Digest=uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AsymmetricSign {
    /// `RSA_PSS_SHA_256`, `RSA_PKCS1_SHA_256`, `ECDSA_SHA_256`, for `EC_SM2` `SM2DSA`, for `EC_P384`
    /// `ECDSA_SHA_384`, for `EC_P521` `ECDSA_SHA_512`.
    algorithm: String,
    /// The digest of the message in Base64, made with the hash that the algorithm names; for `SM2DSA` SM3 of Z_A and the
    /// message (GB/T 32918.2).
    digest: Base64,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
}

impl Action for AsymmetricSign {
    type Response = Signature;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Signature> {
        let Self { algorithm, digest, key_id, key_version_id, .. } = &self;
        let (done, value) =
            kms.asymmetric_sign(caller, key_id, key_version_id, algorithm, digest).map_err(about("Digest"))?;
        Ok(Signature { by: done.into(), value: encode(&value) })
    }
}

/// Verifies a signature with the public key of an asymmetric key. A wrong signature is answered with `"Value": false`.
///
/// Example: `alikms AsymmetricVerify --KeyId=alias/web --KeyVersionId=c0a3d5dc-0b47-4199-a050-b289349a0000 --Algorithm=RSA_PSS_SHA_256 --Digest=uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos= --Value-FILE signature.b64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct AsymmetricVerify {
    /// As in AsymmetricSign.
    algorithm: String,
    /// The digest of the message in Base64.
    digest: Base64,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
    /// The signature in Base64.
    value: Base64,
}

impl Action for AsymmetricVerify {
    type Response = Verdict;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Verdict> {
        let Self { algorithm, digest, key_id, key_version_id, value, .. } = &self;
        let (done, value) =
            kms.asymmetric_verify(caller, key_id, key_version_id, algorithm, digest, value).map_err(about("Digest"))?;
        Ok(Verdict { by: done.into(), value })
    }
}

/// Decrypts a ciphertext of Encrypt. The ciphertext tells which key it needs.
///
/// Example: `alikms Decrypt --CiphertextBlob-FILE secret.b64 --query Plaintext`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Decrypt {
    /// The ciphertext in Base64.
    ciphertext_blob: Base64,
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// The same JSON object of strings that was given to Encrypt; the order of its pairs does not matter.
    encryption_context: Option<String>,
    /// An enclave of the cloud: not supported here.
    recipient: Option<String>,
}

impl Action for Decrypt {
    type Response = Plaintext;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Plaintext> {
        later(&[("Recipient", self.recipient.is_some())])?;
        let context = context(self.encryption_context.as_deref())?;
        let (done, plaintext) =
            kms.decrypt(caller, &self.ciphertext_blob, &context).map_err(about("CiphertextBlob"))?;
        Ok(Plaintext { by: done.into(), plaintext: encode(&plaintext) })
    }
}

/// Encrypts up to 6144 bytes with a symmetric key.
///
/// Example: `alikms Encrypt --KeyId alias/app --Plaintext dGhpcyBpcyBwbGFpbnRleHQK --EncryptionContext '{"Table":"users"}'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct Encrypt {
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// A JSON object of strings, up to 8192 characters. Decrypt must be given the same; it is not part of the ciphertext.
    encryption_context: Option<String>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// The plaintext in Base64, up to 6144 bytes decoded.
    plaintext: Base64,
}

impl Action for Encrypt {
    type Response = CiphertextBlob;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<CiphertextBlob> {
        let context = context(self.encryption_context.as_deref())?;
        let (done, blob) = kms.encrypt(caller, &self.key_id, &self.plaintext, &context).map_err(about("Plaintext"))?;
        Ok(CiphertextBlob { by: done.into(), ciphertext_blob: encode(&blob) })
    }
}

/// Gives the public key of an asymmetric key as PEM.
///
/// Example: `alikms GetPublicKey --KeyId=alias/web --KeyVersionId=c0a3d5dc-0b47-4199-a050-b289349a0000 --query PublicKey`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct GetPublicKey {
    /// `true` only rehearses: the answer is always an error, DryRunOperationError if it would have succeeded.
    dry_run: Option<bool>,
    /// ID, alias or ARN of the key.
    key_id: String,
    /// ID of the version, from ListKeyVersions.
    key_version_id: String,
}

impl Action for GetPublicKey {
    type Response = PublicKey;
    fn rehearses(&self) -> bool {
        self.dry_run == Some(true)
    }
    fn run(self, kms: &Kms, caller: &Caller) -> Result<PublicKey> {
        let (done, public) = kms.public_key(caller, &self.key_id, &self.key_version_id)?;
        Ok(PublicKey { by: done.into(), public_key: public.to_pem()? })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CiphertextBlob {
    #[serde(flatten)]
    pub(super) by: By,
    pub(super) ciphertext_blob: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plaintext {
    #[serde(flatten)]
    by: By,
    plaintext: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct PublicKey {
    #[serde(flatten)]
    by: By,
    public_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signature {
    #[serde(flatten)]
    by: By,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Verdict {
    #[serde(flatten)]
    by: By,
    value: bool,
}

/// Which key and version did it: a part of every answer of this chapter.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct By {
    key_id: String,
    key_version_id: String,
}

impl From<Done> for By {
    fn from(done: Done) -> Self {
        Self { key_id: done.key.to_string(), key_version_id: done.version.to_string() }
    }
}

/// Names the parameter of which `kms` knows only that its length is wrong.
pub(super) fn about(name: &'static str) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::DataLength => Error::invalid(name, error.to_string()),
        other => other,
    }
}

/// Where a key does not fit, these two actions have a code of their own (kms-api.md §1.4).
fn rejected(error: Error) -> Error {
    match error {
        Error::Unsupported(reason) => Error::RejectedUnsupported(reason),
        other => other,
    }
}

pub(super) fn context(text: Option<&str>) -> Result<Context> {
    text.map_or_else(|| Ok(Context::default()), Context::from_json)
}
