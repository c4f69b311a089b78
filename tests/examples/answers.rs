//! What the API publishes of its answers (`kms-api.json`), and what ours look like: the same fields of the same types.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// Action, and each field of its answer with its type; `[]` is each item of a list. Every answer has a RequestId.
/// OpenKmsService is not among them: what is open cannot be opened.
const PUBLISHED: &[(&str, &str)] = &[
    ("AsymmetricDecrypt", "KeyId:text KeyVersionId:text Plaintext:text"),
    ("AsymmetricEncrypt", "CiphertextBlob:text KeyId:text KeyVersionId:text"),
    ("AsymmetricSign", "KeyId:text KeyVersionId:text Value:text"),
    ("AsymmetricVerify", "KeyId:text KeyVersionId:text Value:bool"),
    ("CancelKeyDeletion", ""),
    ("CertificatePrivateKeyDecrypt", "CertificateId:text Plaintext:text"),
    ("CertificatePrivateKeySign", "CertificateId:text SignatureValue:text"),
    ("CertificatePublicKeyEncrypt", "CertificateId:text CiphertextBlob:text"),
    ("CertificatePublicKeyVerify", "CertificateId:text SignatureValid:bool"),
    ("CreateAlias", ""),
    ("CreateCertificate", "Arn:text CertificateId:text Csr:text"),
    (
        "CreateKey",
        "KeyMetadata.Arn:text KeyMetadata.AutomaticRotation:text KeyMetadata.CreationDate:text \
         KeyMetadata.Creator:text KeyMetadata.DKMSInstanceId:text KeyMetadata.DeleteDate:text \
         KeyMetadata.Description:text KeyMetadata.KeyId:text KeyMetadata.KeySpec:text KeyMetadata.KeyState:text \
         KeyMetadata.KeyUsage:text KeyMetadata.LastRotationDate:text KeyMetadata.MaterialExpireTime:text \
         KeyMetadata.NextRotationDate:text KeyMetadata.Origin:text KeyMetadata.PrimaryKeyVersion:text \
         KeyMetadata.ProtectionLevel:text KeyMetadata.RotationInterval:text",
    ),
    ("CreateKeyVersion", "KeyVersion.CreationDate:text KeyVersion.KeyId:text KeyVersion.KeyVersionId:text"),
    ("Decrypt", "CiphertextForRecipient:text KeyId:text KeyVersionId:text Plaintext:text"),
    ("DeleteAlias", ""),
    ("DeleteCertificate", ""),
    ("DeleteKeyMaterial", ""),
    ("DescribeAccountKmsStatus", "AccountStatus:text"),
    (
        "DescribeCertificate",
        "Arn:text CertificateId:text CreatedAt:text ExportablePrivateKey:bool Issuer:text KeySpec:text \
         NotAfter:text NotBefore:text ProtectionLevel:text Serial:text SignatureAlgorithm:text Status:text \
         Subject:text SubjectAlternativeNames[]:text SubjectKeyIdentifier:text SubjectPublicKey:text \
         UpdatedAt:text",
    ),
    (
        "DescribeKey",
        "KeyMetadata.Arn:text KeyMetadata.AutomaticRotation:text KeyMetadata.CreationDate:text \
         KeyMetadata.Creator:text KeyMetadata.DKMSInstanceId:text KeyMetadata.DeleteDate:text \
         KeyMetadata.DeletionProtection:text KeyMetadata.DeletionProtectionDescription:text \
         KeyMetadata.Description:text KeyMetadata.KeyId:text KeyMetadata.KeySpec:text KeyMetadata.KeyState:text \
         KeyMetadata.KeyUsage:text KeyMetadata.LastRotationDate:text KeyMetadata.MaterialExpireTime:text \
         KeyMetadata.NextRotationDate:text KeyMetadata.Origin:text KeyMetadata.PrimaryKeyVersion:text \
         KeyMetadata.ProtectionLevel:text KeyMetadata.RotationInterval:text",
    ),
    ("DescribeKeyVersion", "KeyVersion.CreationDate:text KeyVersion.KeyId:text KeyVersion.KeyVersionId:text"),
    ("DescribeRegions", "Regions.Region[].RegionId:text"),
    (
        "DescribeService",
        "KeySpecs.KeySpec[].Name:text \
         KeySpecs.KeySpec[].SupportedProtectionLevels.SupportedProtectionLevel[]:text \
         KeySpecs.KeySpec[].Usages.Usage[]:text ProtectionLevels.ProtectionLevel[].Type:text",
    ),
    ("DisableKey", ""),
    ("EnableKey", ""),
    ("Encrypt", "CiphertextBlob:text KeyId:text KeyVersionId:text"),
    ("ExportCertificate", "Certificate:text CertificateChain:text CertificateId:text PKCS12Blob:text PrivateKey:text"),
    ("ExportDataKey", "ExportedDataKey:text KeyId:text KeyVersionId:text"),
    ("GenerateAndExportDataKey", "CiphertextBlob:text ExportedDataKey:text KeyId:text KeyVersionId:text"),
    ("GenerateDataKey", "CiphertextBlob:text CiphertextForRecipient:text KeyId:text KeyVersionId:text Plaintext:text"),
    ("GenerateDataKeyWithoutPlaintext", "CiphertextBlob:text KeyId:text KeyVersionId:text"),
    ("GenerateMac", "Algorithm:text KeyId:text Mac:text"),
    ("GetCertificate", "Certificate:text CertificateChain:text CertificateId:text Csr:text"),
    ("GetKeyPolicy", "Policy:text"),
    ("GetParametersForImport", "ImportToken:text KeyId:text PublicKey:text TokenExpireTime:text"),
    ("GetPublicKey", "KeyId:text KeyVersionId:text PublicKey:text"),
    ("ImportCertificate", "Arn:text CertificateId:text"),
    ("ImportEncryptionCertificate", "Arn:text CertificateId:text"),
    ("ImportKeyMaterial", ""),
    (
        "ListAliases",
        "Aliases.Alias[].AliasArn:text Aliases.Alias[].AliasName:text Aliases.Alias[].KeyId:text \
         PageNumber:number PageSize:number TotalCount:number",
    ),
    (
        "ListAliasesByKeyId",
        "Aliases.Alias[].AliasArn:text Aliases.Alias[].AliasName:text Aliases.Alias[].KeyId:text \
         PageNumber:number PageSize:number TotalCount:number",
    ),
    (
        "ListCertificates",
        "CertificateSummaryList[].CertificateId:text Certificates[].CertificateId:text PageNumber:number \
         PageSize:number TotalSize:number",
    ),
    (
        "ListKeyVersions",
        "KeyVersions.KeyVersion[].CreationDate:text KeyVersions.KeyVersion[].KeyId:text \
         KeyVersions.KeyVersion[].KeyVersionId:text PageNumber:number PageSize:number TotalCount:number",
    ),
    ("ListKeys", "Keys.Key[].KeyArn:text Keys.Key[].KeyId:text PageNumber:number PageSize:number TotalCount:number"),
    ("ListResourceTags", "Tags.Tag[].KeyId:text Tags.Tag[].TagKey:text Tags.Tag[].TagValue:text"),
    (
        "ListTagResources",
        "NextToken:text TagResources.TagResource[].ResourceId:text TagResources.TagResource[].ResourceType:text \
         TagResources.TagResource[].TagKey:text TagResources.TagResource[].TagValue:text",
    ),
    ("ReEncrypt", "CiphertextBlob:text KeyId:text KeyVersionId:text"),
    ("ScheduleKeyDeletion", ""),
    ("SetDeletionProtection", ""),
    ("SetKeyPolicy", ""),
    ("TagResource", ""),
    ("TagResources", ""),
    ("UntagResource", ""),
    ("UntagResources", ""),
    ("UpdateAlias", ""),
    ("UpdateCertificateStatus", ""),
    ("UpdateKeyDescription", ""),
    ("UpdateRotationPolicy", ""),
    ("UploadCertificate", ""),
    ("VerifyMac", "Algorithm:text KeyId:text Value:bool"),
];

/// Published, and not answered here: field, and why.
const ABSENT: &[(&str, &str)] = &[
    ("KeyMetadata.DKMSInstanceId", "there are no instances to rent"),
    ("CiphertextForRecipient", "an attested enclave asks with Recipient, which is refused"),
];

/// Answered beyond what is published: action, the beginning of such fields, and why.
const MORE: &[(&str, &str, &str)] =
    &[("ListCertificates", "CertificateSummaryList[].", "the columns of the console's list (S000-034, S002)")];

/// What answers look like, over all of them: some fields are there under a condition only.
#[derive(Default)]
pub struct Seen(BTreeMap<&'static str, BTreeSet<String>>);

impl Seen {
    /// Takes in an answer, if those of its action are published.
    pub fn add(&mut self, action: &str, answer: &Value) {
        if let Some((action, published)) = PUBLISHED.iter().find(|(name, _)| *name == action) {
            flatten("", answer, &of(published), self.0.entry(action).or_default());
        }
    }

    /// Published actions without an answer, and what is wrong with the answers of the others.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for (action, published) in PUBLISHED {
            let (published, own) = (of(published), self.0.get(action));
            let Some(own) = own else {
                faults.push(format!("{action}: no answer"));
                continue;
            };
            let excused = |field: &str| ABSENT.iter().any(|(name, _)| field.split(':').next() == Some(*name));
            let missing = published.difference(own).filter(|field| !excused(field));
            faults.extend(missing.map(|field| format!("{action} lacks {field}")));
            let further = |field: &str| MORE.iter().any(|(of, begins, _)| of == action && field.starts_with(begins));
            let more = own.difference(&published).filter(|field| !further(field));
            faults.extend(more.map(|field| format!("{action} has {field}")));
        }
        faults
    }
}

fn of(published: &str) -> BTreeSet<String> {
    published.split_whitespace().chain(["RequestId:text"]).map(str::to_owned).collect()
}

/// The fields of a value, each with its place and type. What is published as an object of any fields is one.
fn flatten(place: &str, value: &Value, published: &BTreeSet<String>, into: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(items) => {
            return items.iter().for_each(|item| flatten(&format!("{place}[]"), item, published, into));
        }
        Value::Object(_) if published.contains(&format!("{place}:object")) => "object",
        Value::Object(fields) => {
            let dot = if place.is_empty() { "" } else { "." };
            return fields
                .iter()
                .for_each(|(name, value)| flatten(&format!("{place}{dot}{name}"), value, published, into));
        }
    };
    into.insert(format!("{place}:{kind}"));
}

#[test]
fn a_wrong_answer_is_noticed() {
    let faults = |answer: Value| {
        let mut seen = Seen::default();
        seen.add("AsymmetricVerify", &answer);
        seen.faults().into_iter().filter(|fault| fault.starts_with("AsymmetricVerify ")).collect::<Vec<_>>()
    };
    let right = json!({ "KeyId": "a", "KeyVersionId": "b", "Value": true, "RequestId": "c" });
    assert!(faults(right).is_empty());
    let wrong = json!({ "KeyId": "a", "Value": "true", "RequestId": "c", "Code": 200 });
    let expected = ["lacks KeyVersionId:text", "lacks Value:bool", "has Code:number", "has Value:text"];
    assert_eq!(faults(wrong), expected.map(|fault| format!("AsymmetricVerify {fault}")));
}
