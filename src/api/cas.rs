//! Chapter "cas": certificates from elsewhere, as the certificate service takes them (its API is 2020-04-07).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::certificate::carry::{Pair, Particulars};
use crate::model::caller::Caller;

/// Uploads a certificate with its private key, or for a key or CSR that is here. It is ACTIVE at once.
///
/// Example: `alikms UploadUserCertificate --Name example.com-2026-rsa --Cert-FILE fullchain.pem --Key-FILE private.pem`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UploadUserCertificate {
    /// The certificate as PEM, and behind it those above it: intermediate, then root.
    cert: Option<String>,
    /// The certificates above it, if they are not in Cert.
    cert_chain: Option<String>,
    /// The SM2 encryption certificate as PEM; with SignCert.
    encrypt_cert: Option<String>,
    /// Its private key as PEM.
    encrypt_private_key: Option<String>,
    /// The private key as PEM (PKCS#8, or the forms for RSA and EC) without a password; not needed if the key or its
    /// CSR is
    /// here.
    key: Option<String>,
    /// A name of your choice that no other certificate has, up to 128 characters.
    name: Option<String>,
    /// Where it belongs, in words of your own.
    resource_group_id: Option<String>,
    /// The SM2 signing certificate as PEM.
    sign_cert: Option<String>,
    /// Its private key as PEM.
    sign_private_key: Option<String>,
    /// `[{"TagKey":"project","TagValue":"shop"}]`.
    tags: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Uploaded {
    arn: String,
    cert_id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    encrypt_cert_id: Option<Uuid>,
}

impl Action for UploadUserCertificate {
    type Response = Uploaded;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Uploaded> {
        let particulars = Particulars {
            name: self.name.unwrap_or_default(),
            resource_group: self.resource_group_id.unwrap_or_default(),
            tags: self.tags.as_deref().map(super::tags::parse).transpose()?.unwrap_or_default(),
        };
        let [key, sign_key, encrypt_key] =
            [self.key, self.sign_private_key, self.encrypt_private_key].map(|key| key.map(Zeroizing::new));
        if let Some(certificate) = &self.cert {
            let key = key.as_ref().map(|key| key.as_str());
            let pair = Pair { certificate, chain: self.cert_chain.as_deref(), key };
            let certificate = kms.upload_pair(caller, pair, &particulars)?;
            return Ok(Uploaded {
                arn: kms.realm().certificate_arn(certificate.id),
                cert_id: certificate.id,
                encrypt_cert_id: None,
            });
        }
        let needed = |name: &str| Error::MissingParameter(name.to_owned());
        let sign = self.sign_cert.as_deref().ok_or_else(|| needed("Cert"))?;
        let encrypt = self.encrypt_cert.as_deref().ok_or_else(|| needed("EncryptCert"))?;
        let sign_key = sign_key.as_ref().ok_or_else(|| needed("SignPrivateKey"))?;
        let encrypt_key = encrypt_key.as_ref().ok_or_else(|| needed("EncryptPrivateKey"))?;
        let sign = Pair { certificate: sign, chain: self.cert_chain.as_deref(), key: Some(sign_key) };
        let encrypt = Pair { certificate: encrypt, chain: self.cert_chain.as_deref(), key: Some(encrypt_key) };
        let (first, second) = kms.upload_dual(caller, sign, encrypt, &particulars)?;
        Ok(Uploaded { arn: kms.realm().certificate_arn(first.id), cert_id: first.id, encrypt_cert_id: Some(second.id) })
    }
}
