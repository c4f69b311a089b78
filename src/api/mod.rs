//! The KMS actions as the API 2016-01-20 publishes them: names, parameters, answers, error codes. JSON is made and read here only.

mod access_keys;
mod account;
mod aliases;
mod base64;
mod cas;
mod certificate_list;
mod certificate_work;
mod certificates;
mod crypto;
mod data_keys;
pub mod fault;
pub mod help;
mod import;
mod keys;
mod macs;
mod page;
mod params;
mod pca;
mod policies;
pub mod published;
mod ram;
mod tag_resources;
mod tags;
mod versions;

pub use certificates::names as alternative_names;
pub use fault::Fault;
pub use params::Params;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::model::caller::Caller;

/// The version of the API.
pub const VERSION: &str = "2016-01-20";

/// An action of the API. The struct that implements it is the request; its doc comments are the help.
pub trait Action: DeserializeOwned + JsonSchema {
    /// Beside the RequestId, which every answer has.
    type Response: Serialize;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Self::Response>;
    /// Is it a rehearsal (`DryRun`)? Then everything is done as ever, and nothing of it answered.
    fn rehearses(&self) -> bool {
        false
    }
}

/// One row of [`ACTIONS`].
pub struct Entry {
    pub name: &'static str,
    /// The chapter of the API, and the file here.
    pub chapter: &'static str,
    call: fn(&Kms, &Caller, &Params) -> Result<Value>,
    schema: fn() -> Schema,
}

macro_rules! actions {
    ($($chapter:ident: $($name:ident)+;)+) => {
        /// The list: what the command line and HTTP offer. In the order of the chapters, then of the alphabet.
        pub static ACTIONS: &[Entry] = &[$($(Entry {
            name: stringify!($name),
            chapter: stringify!($chapter),
            call: call::<$chapter::$name>,
            schema: schema::<$chapter::$name>,
        },)+)+];
    };
}

actions! {
    keys: CancelKeyDeletion CreateKey DescribeKey DisableKey EnableKey ListKeys ScheduleKeyDeletion
        SetDeletionProtection UpdateKeyDescription;
    policies: GetKeyPolicy SetKeyPolicy;
    versions: CreateKeyVersion DescribeKeyVersion ListKeyVersions UpdateRotationPolicy;
    aliases: CreateAlias DeleteAlias ListAliases ListAliasesByKeyId UpdateAlias;
    crypto: AsymmetricDecrypt AsymmetricEncrypt AsymmetricSign AsymmetricVerify Decrypt Encrypt GetPublicKey;
    data_keys: ExportDataKey GenerateAndExportDataKey GenerateDataKey GenerateDataKeyWithoutPlaintext ReEncrypt;
    macs: GenerateMac VerifyMac;
    import: DeleteKeyMaterial GetParametersForImport ImportKeyMaterial;
    tags: ListResourceTags TagResource UntagResource;
    tag_resources: ListTagResources TagResources UntagResources;
    account: DescribeAccountKmsStatus DescribeRegions DescribeService OpenKmsService;
    ram: AttachPolicyToUser CreatePolicy CreateUser DeletePolicy DeleteUser DetachPolicyFromUser GetPolicy GetUser
        ListPolicies ListPoliciesForUser ListUsers;
    access_keys: CreateAccessKey DeleteAccessKey ListAccessKeys UpdateAccessKey;
    certificates: CertificatePrivateKeyDecrypt CertificatePrivateKeySign CertificatePublicKeyEncrypt
        CertificatePublicKeyVerify CreateCertificate DeleteCertificate DescribeCertificate ExportCertificate
        GetCertificate ImportCertificate ImportEncryptionCertificate ListCertificates UpdateCertificateStatus
        UploadCertificate;
    cas: UploadUserCertificate;
    pca: CreateClientCertificateWithCsr CreateRevokeClientCertificate CreateRootCACertificate
        CreateServerCertificateWithCsr CreateSubCACertificate ListClientCertificate UploadPcaCertToCas;
}

/// The action of this name; capitals count.
pub fn find(name: &str) -> Result<&'static Entry> {
    ACTIONS.iter().find(|entry| entry.name == name).ok_or_else(|| Error::UnknownAction(name.to_owned()))
}

impl Entry {
    /// Runs the action. The answer, good or bad, and every audit row belong to `request`.
    pub fn run(&self, kms: &Kms, caller: &Caller, params: &Params, request: Uuid) -> Result<Value> {
        let caller = caller.within(request);
        let result = (self.call)(kms, &caller, params);
        match &result {
            Ok(_) => tracing::info!(action = self.name, %request, "done"),
            Err(error) => {
                tracing::info!(action = self.name, %request, %error, "refused");
                if !self.uses_keys() {
                    kms.note_refusal(&caller, self.name, params.subject(), error);
                }
            }
        }
        let mut fields = match result? {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        fields.insert("RequestId".into(), request.to_string().into());
        Ok(Value::Object(fields))
    }

    /// Does it use a key? Then `[audit] crypto` says what is written down of it.
    fn uses_keys(&self) -> bool {
        match self.chapter {
            "crypto" => self.name != "GetPublicKey",
            "data_keys" | "macs" => true,
            _ => self.name.starts_with("CertificateP"),
        }
    }

    /// The JSON schema of the request.
    pub fn schema(&self) -> Schema {
        (self.schema)()
    }
}

fn call<A: Action>(kms: &Kms, caller: &Caller, params: &Params) -> Result<Value> {
    let action = params.read::<A>()?;
    let rehearsal = action.rehearses();
    let rehearsing;
    let caller = if rehearsal {
        rehearsing = caller.rehearsing();
        &rehearsing
    } else {
        caller
    };
    match action.run(kms, caller) {
        Ok(_) if rehearsal => Err(Error::DryRun(None)),
        // What is wrong here, and not with the request, is told as it is.
        Err(error) if rehearsal && Fault::from(&error).status < 500 => Err(Error::DryRun(Some(Box::new(error)))),
        Ok(response) => serde_json::to_value(response).map_err(|error| Error::Internal(error.to_string())),
        Err(error) => Err(error),
    }
}

fn schema<A: Action>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<A>()
}

/// Refuses parameters that the API knows and this version does not yet serve.
fn later(parameters: &[(&str, bool)]) -> Result<()> {
    match parameters.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::Unsupported(format!("the parameter {name} is not supported by this version"))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_published_and_described() {
        for entry in ACTIONS {
            assert!(published::find(entry.name).is_some(), "{}", entry.name);
            let parameters = help::parameters(entry);
            assert!(!help::summary(entry).is_empty() && help::example(entry).is_some(), "{}", entry.name);
            assert!(parameters.iter().all(|parameter| !parameter.text.is_empty()), "{}", entry.name);
        }
        let mut names: Vec<_> = ACTIONS.iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ACTIONS.len());
    }
}
