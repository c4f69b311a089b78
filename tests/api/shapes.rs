//! The parameters of each action, and what a key's description contains, as the API publishes them (kms-api.md §1.2).

use alikms_pkcs11::api::{self, help};

use crate::bed::{Bed, fields, text};

at_both_levels! {
    the_service_makes_what_it_describes
    a_key_is_described_with_every_published_field
}

/// Action, and its parameters; those with a `!` are needed.
const PUBLISHED: &[(&str, &str)] = &[
    ("CancelKeyDeletion", "KeyId!"),
    (
        "CreateKey",
        "DKMSInstanceId Description EnableAutomaticRotation KeySpec KeyStorageMechanism KeyUsage Origin Policy ProtectionLevel RotationInterval Tags",
    ),
    ("DescribeKey", "KeyId!"),
    ("DisableKey", "KeyId!"),
    ("EnableKey", "KeyId!"),
    ("GetKeyPolicy", "KeyId! PolicyName"),
    ("ListKeys", "Filters PageNumber PageSize"),
    ("ScheduleKeyDeletion", "KeyId! PendingWindowInDays!"),
    (
        "SetDeletionProtection",
        "DeletionProtectionDescription EnableDeletionProtection! KeyId KmsInstanceId ProtectedResourceArn!",
    ),
    ("SetKeyPolicy", "KeyId! Policy! PolicyName"),
    ("UpdateKeyDescription", "Description! KeyId!"),
    ("CreateKeyVersion", "KeyId!"),
    ("DescribeKeyVersion", "KeyId! KeyVersionId!"),
    ("ListKeyVersions", "KeyId! PageNumber PageSize"),
    ("UpdateRotationPolicy", "EnableAutomaticRotation! KeyId! RotationInterval"),
    ("CreateAlias", "AliasName! KeyId!"),
    ("DeleteAlias", "AliasName!"),
    ("ListAliases", "PageNumber PageSize"),
    ("ListAliasesByKeyId", "KeyId! PageNumber PageSize"),
    ("UpdateAlias", "AliasName! KeyId!"),
    ("AsymmetricDecrypt", "Algorithm! CiphertextBlob! DryRun KeyId! KeyVersionId!"),
    ("AsymmetricEncrypt", "Algorithm! DryRun KeyId! KeyVersionId! Plaintext!"),
    ("AsymmetricSign", "Algorithm! Digest! DryRun KeyId! KeyVersionId!"),
    ("AsymmetricVerify", "Algorithm! Digest! DryRun KeyId! KeyVersionId! Value!"),
    ("Decrypt", "CiphertextBlob! DryRun EncryptionContext Recipient"),
    ("Encrypt", "DryRun EncryptionContext KeyId! Plaintext!"),
    ("ExportDataKey", "CiphertextBlob! DryRun EncryptionContext PublicKeyBlob! WrappingAlgorithm! WrappingKeySpec!"),
    (
        "GenerateAndExportDataKey",
        "DryRun EncryptionContext KeyId! KeySpec NumberOfBytes PublicKeyBlob! WrappingAlgorithm! WrappingKeySpec!",
    ),
    ("GenerateDataKey", "DryRun EncryptionContext KeyId! KeySpec NumberOfBytes Recipient"),
    ("GenerateDataKeyWithoutPlaintext", "DryRun EncryptionContext KeyId! KeySpec NumberOfBytes"),
    ("GenerateMac", "Algorithm! DryRun KeyId! Message!"),
    ("VerifyMac", "Algorithm! DryRun KeyId! Mac! Message!"),
    ("GetPublicKey", "DryRun KeyId! KeyVersionId!"),
    (
        "ReEncrypt",
        "CiphertextBlob! DestinationEncryptionContext DestinationKeyId! DryRun SourceEncryptionAlgorithm SourceEncryptionContext SourceKeyId SourceKeyVersionId",
    ),
    ("DeleteKeyMaterial", "KeyId!"),
    ("GetParametersForImport", "KeyId! WrappingAlgorithm! WrappingKeySpec!"),
    ("ImportKeyMaterial", "EncryptedKeyMaterial! ImportToken! KeyId! KeyMaterialExpireUnix"),
    ("ListResourceTags", "KeyId!"),
    ("ListTagResources", "NextToken RegionId! ResourceId ResourceType! Tag"),
    ("TagResource", "CertificateId KeyId SecretName Tags!"),
    ("TagResources", "RegionId! ResourceId! ResourceType! Tag!"),
    ("UntagResource", "CertificateId KeyId SecretName TagKeys!"),
    ("UntagResources", "All RegionId! ResourceId! ResourceType! TagKey"),
    ("DescribeAccountKmsStatus", ""),
    ("DescribeRegions", ""),
    ("DescribeService", ""),
    ("OpenKmsService", ""),
];

/// The parameters that are no text.
const NUMBERS: &[&str] = &["KeyMaterialExpireUnix", "NumberOfBytes", "PageNumber", "PageSize", "PendingWindowInDays"];
const SWITCHES: &[&str] = &["All", "DryRun", "EnableAutomaticRotation", "EnableDeletionProtection"];

/// Ruling 1: the window is 30 days if nothing is said.
const OPTIONAL_HERE: &[&str] = &["PendingWindowInDays"];

#[test]
fn every_published_parameter_is_known_and_no_other() {
    for (action, published) in PUBLISHED {
        let parameters = help::parameters(api::find(action).unwrap());
        let mut own: Vec<String> = parameters
            .iter()
            .map(|parameter| {
                let needed = parameter.required || OPTIONAL_HERE.contains(&parameter.name.as_str());
                format!("{}{}", parameter.name, if needed { "!" } else { "" })
            })
            .collect();
        own.sort();
        for parameter in &parameters {
            let name = parameter.name.as_str();
            assert_eq!(parameter.kind == "NUMBER", NUMBERS.contains(&name), "{action} {name}");
            assert_eq!(parameter.kind == "true|false", SWITCHES.contains(&name), "{action} {name}");
        }
        let mut published: Vec<&str> = published.split_whitespace().collect();
        published.sort_unstable();
        assert_eq!(own, published, "{action}");
    }
}

/// What DescribeService promises, CreateKey does: for each spec, usage and level.
fn the_service_makes_what_it_describes(bed: &Bed) {
    let told = bed.ok("DescribeService", &[]);
    let levels = told["ProtectionLevels"]["ProtectionLevel"].as_array().unwrap();
    let levels: Vec<String> = levels.iter().map(|level| text(&level["Type"])).collect();
    assert_eq!(levels.contains(&"HSM".to_owned()), bed.level.name() == "HSM");
    for spec in told["KeySpecs"]["KeySpec"].as_array().unwrap() {
        let name = text(&spec["Name"]);
        // Made by the hundred elsewhere, and slow in a device.
        if ["RSA_3072", "RSA_4096"].contains(&name.as_str()) {
            continue;
        }
        let of = spec["SupportedProtectionLevels"]["SupportedProtectionLevel"].as_array().unwrap();
        for level in ["HSM", "SOFTWARE"] {
            for usage in ["ENCRYPT/DECRYPT", "SIGN/VERIFY"] {
                let has = |list: &[serde_json::Value], item: &str| list.iter().any(|one| one == item);
                let promised = has(of, level) && has(spec["Usages"]["Usage"].as_array().unwrap(), usage);
                let asked = [("KeySpec", name.as_str()), ("KeyUsage", usage), ("ProtectionLevel", level)];
                let made = bed.run("CreateKey", &asked);
                assert_eq!(made.is_ok(), promised, "{name} {usage} {level}: {made:?}");
            }
        }
    }
}

fn a_key_is_described_with_every_published_field(bed: &Bed) {
    let created = bed.create(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "365d")]);
    let key = text(&created["KeyId"]);
    let arn = text(&created["Arn"]);
    let protect = |more: &[(&str, &str)]| {
        let on = [("ProtectedResourceArn", arn.as_str()), ("EnableDeletionProtection", "true")];
        bed.run("SetDeletionProtection", &[&on[..], more].concat()).map(drop).map_err(|fault| fault.code)
    };
    protect(&[("KeyId", &key), ("DeletionProtectionDescription", "in use")]).unwrap();
    assert_eq!(protect(&[("KeyId", "another")]), Err("InvalidParameter"));
    assert_eq!(protect(&[("KmsInstanceId", "kst-1")]), Err("UnsupportedOperation"));
    // All but DKMSInstanceId: there are no instances.
    let published = "Arn AutomaticRotation CreationDate Creator DeleteDate DeletionProtection \
                     DeletionProtectionDescription Description KeyId KeySpec KeyState KeyUsage LastRotationDate \
                     MaterialExpireTime NextRotationDate Origin PrimaryKeyVersion ProtectionLevel RotationInterval";
    assert_eq!(fields(&bed.describe(&key)), published);
    let at_creation = published.replace("DeletionProtection DeletionProtectionDescription ", "");
    assert_eq!(fields(&created), at_creation);
}
