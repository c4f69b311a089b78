//! Chapter "certificate", second part: what the key of a certificate does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Action;
use super::base64::{Base64, encode};
use super::crypto::about;
use crate::error::Result;
use crate::kms::Kms;
use crate::kms::certificate::work::Message;
use crate::model::caller::Caller;

/// Decrypts with the private key of a certificate.
///
/// Example: `alikms CertificatePrivateKeyDecrypt --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Algorithm RSAES_OAEP_SHA_256 --CiphertextBlob-FILE ciphertext.b64 --query Plaintext`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CertificatePrivateKeyDecrypt {
    /// `RSAES_OAEP_SHA_1` or `RSAES_OAEP_SHA_256`; for `EC_SM2` `SM2PKE`, whose ciphertext is C1, C3, C2 without ASN.1.
    algorithm: String,
    /// ID of the certificate, which is ACTIVE.
    certificate_id: String,
    /// The ciphertext in Base64.
    ciphertext_blob: Base64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Plaintext {
    certificate_id: Uuid,
    plaintext: String,
}

impl Action for CertificatePrivateKeyDecrypt {
    type Response = Plaintext;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Plaintext> {
        let Self { algorithm, certificate_id, ciphertext_blob } = &self;
        let (certificate_id, plaintext) = kms
            .certificate_decrypt(caller, certificate_id, algorithm, ciphertext_blob)
            .map_err(about("CiphertextBlob"))?;
        Ok(Plaintext { certificate_id, plaintext: encode(&plaintext) })
    }
}

/// Signs with the private key of a certificate. Signatures of elliptic curves are DER.
///
/// Example: `alikms CertificatePrivateKeySign --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Algorithm ECDSA_SHA_256 --Message dGhpcyBpcyBtZXNzYWdlCg== --query SignatureValue`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CertificatePrivateKeySign {
    /// `RSA_PKCS1_SHA_256`, `RSA_PSS_SHA_256`, `ECDSA_SHA_256`, for `EC_SM2` `SM2DSA`.
    algorithm: String,
    /// ID of the certificate, which is ACTIVE.
    certificate_id: String,
    /// The message in Base64, up to 4 KB decoded, or its digest.
    message: Base64,
    /// What Message is: `RAW` (the default), or `DIGEST` for its SHA-256; for `SM2DSA` SM3 of Z_A and the message.
    message_type: Option<MessageType>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
enum MessageType {
    #[serde(rename = "RAW")]
    Raw,
    #[serde(rename = "DIGEST")]
    Digest,
}

fn message(kind: Option<MessageType>, bytes: &[u8]) -> Message<'_> {
    match kind {
        None | Some(MessageType::Raw) => Message::Raw(bytes),
        Some(MessageType::Digest) => Message::Digest(bytes),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Signature {
    certificate_id: Uuid,
    signature_value: String,
}

impl Action for CertificatePrivateKeySign {
    type Response = Signature;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Signature> {
        let Self { algorithm, certificate_id, message: bytes, message_type } = &self;
        let (certificate_id, value) =
            kms.certificate_sign(caller, certificate_id, algorithm, message(*message_type, bytes))?;
        Ok(Signature { certificate_id, signature_value: encode(&value) })
    }
}

/// Encrypts with the public key of a certificate.
///
/// Example: `alikms CertificatePublicKeyEncrypt --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Algorithm RSAES_OAEP_SHA_256 --Plaintext dGhpcyBpcyBwbGFpbnRleHQK --query CiphertextBlob`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CertificatePublicKeyEncrypt {
    /// `RSAES_OAEP_SHA_1` or `RSAES_OAEP_SHA_256`; for `EC_SM2` `SM2PKE`, whose ciphertext is C1, C3, C2 without ASN.1.
    algorithm: String,
    /// ID of the certificate, which is ACTIVE.
    certificate_id: String,
    /// The plaintext in Base64; for `RSA_2048` up to 190 bytes with SHA-256 and 214 bytes with SHA-1, for `EC_SM2` 1 to
    /// 6047 bytes.
    plaintext: Base64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CiphertextBlob {
    certificate_id: Uuid,
    ciphertext_blob: String,
}

impl Action for CertificatePublicKeyEncrypt {
    type Response = CiphertextBlob;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<CiphertextBlob> {
        let Self { algorithm, certificate_id, plaintext } = &self;
        let (certificate_id, blob) = kms.certificate_encrypt(caller, certificate_id, algorithm, plaintext)?;
        Ok(CiphertextBlob { certificate_id, ciphertext_blob: encode(&blob) })
    }
}

/// Verifies a signature with the public key of a certificate. A wrong one is answered with `"SignatureValid": false`.
///
/// Example: `alikms CertificatePublicKeyVerify --CertificateId 9a28de48-8d8b-484d-a766-dec4a6a3b2c1 --Algorithm ECDSA_SHA_256 --Message dGhpcyBpcyBtZXNzYWdlCg== --SignatureValue-FILE signature.b64`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CertificatePublicKeyVerify {
    /// As in CertificatePrivateKeySign.
    algorithm: String,
    /// ID of the certificate, which is ACTIVE or REVOKED.
    certificate_id: String,
    /// As in CertificatePrivateKeySign.
    message: Base64,
    /// As in CertificatePrivateKeySign.
    message_type: Option<MessageType>,
    /// The signature in Base64.
    signature_value: Base64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Verdict {
    certificate_id: Uuid,
    signature_valid: bool,
}

impl Action for CertificatePublicKeyVerify {
    type Response = Verdict;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Verdict> {
        let Self { algorithm, certificate_id, message: bytes, message_type, signature_value } = &self;
        let message = message(*message_type, bytes);
        let (certificate_id, signature_valid) =
            kms.certificate_verify(caller, certificate_id, algorithm, message, signature_value)?;
        Ok(Verdict { certificate_id, signature_valid })
    }
}
