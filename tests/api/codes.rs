//! Error codes: HTTP status, code and text as the API publishes them (kms-api.md §1.3), and no others.

use std::collections::BTreeMap;

use alikms_pkcs11::api::fault::CODES;
use alikms_pkcs11::api::{ACTIONS, find};

use crate::bed::{Bed, DIGEST, text, to_base64, unique};

at_both_levels! {
    undocumented_cases_are_answered_as_decided
}

const PUBLISHED: &[(u16, &str, &str)] = &[
    (400, "MissingParameter", "The parameter \"< parameter name >\" is needed but not provided."),
    (400, "InvalidParameter", "The specified parameter \"< parameter name >\" is not valid."),
    (400, "ParseRequestParameterException", "Server parse parameters exception. Please check your input params."),
    (400, "IncompleteSignature", "The request signature does not conform to Alibaba Cloud standards."),
    (
        400,
        "IllegalTimestamp",
        "The input parameter \"Timestamp\" that is mandatory for processing this request is not supplied.",
    ),
    (400, "Rejected.LimitExceeded", "The request was rejected because user create resource limit was exceeded."),
    (400, "AliasAlreadyExists", "AliasName Already Exists."),
    (400, "InvalidKeyMaterial", "key material is invalid."),
    (400, "InvalidImportToken", "import token is invalid."),
    (400, "ExpiredImportToken", "import token is expired."),
    (400, "Unsupported.Origin", "This key origin is not valid for this api."),
    (400, "Unsupported.Alias", "Alias is not valid for this api."),
    (400, "Unsupported.ProtectionLevel", "This protection level is not valid for this region"),
    (400, "UnsupportedOperation", "This action is not supported."),
    (400, "Rejected.UnsupportedOperation", "Unsupported operation."),
    (400, "Throttling", "Request was denied due to request throttling."),
    (403, "Forbidden.NoPermission", "This operation is forbidden by permission system."),
    (403, "Forbidden.AccessKey", "This AccessKey is not enabled."),
    (403, "UnsupportedHTTPMethod", "This http method is not supported."),
    (
        403,
        "Forbidden.KmsServiceNotEnabled",
        "Kms service is not Enabled for current user. Please get access permission first.",
    ),
    (403, "Forbidden.UbsmsInvalidUserid", "Userid Invalid For Ubsms."),
    (403, "Forbidden.UbsmsInvalidBid", "Your account partner does not have KMS Service."),
    (403, "Forbidden.ProhibitedByRiskControl", "Current user is Prohibited By Risk Control."),
    (403, "Forbidden.InDebtOverdue", "Current user is indebted Overdue."),
    (403, "Forbidden.InDebt", "Current user is indebted."),
    (404, "InvalidAccessKeyId.NotFound", "The AccessKey ID provided does not exist in our records."),
    (404, "Forbidden.KeyNotFound", "The specified Key is not found."),
    (404, "Forbidden.KeyVersionNotFound", "The specified Key version is not found."),
    (404, "Forbidden.AliasNotFound", "The specified Alias is not found."),
    (404, "Certificate.NotFound", "The specified certificate is not found."),
    (409, "Rejected.Enabled", ""),
    (409, "Rejected.Disabled", "The request was rejected because the key state is Disabled."),
    (409, "Rejected.PendingDeletion", "The request was rejected because the key state is PendingDeletion."),
    (409, "Rejected.PendingImport", "The request was rejected because the key state is PendingImport."),
    (409, "Rejected.Unavailable", "The request was rejected because the key state is Unavailable."),
    (409, "Rejected.StateModifiedFailed", "Keystate modified failed."),
    (429, "Rejected.Throttling", "The QPS upper limit is exceeded."),
    (500, "InternalFailure", "Internal Failure."),
    (503, "ServiceUnavailableTemporary", "Service Unavailable Temporary."),
    // Of single actions.
    (400, "CreateLXOrderFailed", "Create order failed."),
    (400, "Duplicate.TagKey", "The specified tagKey is duplicate."),
    (400, "Forbidden.KeyPolicyUnSupported", "The specified key does not support key policy."),
    (400, "Forbidden.NoRealNameAuthentication", "Real name authentication is needed."),
    (400, "Forbidden.Opened", "Your kms service has been opened."),
    (400, "InvalidParameter.TagKey", "The specified parameter is not valid."),
    (400, "InvalidParameter.TagValue", "The specified parameter is not valid."),
    (400, "Rejected.ShareQuotaExceedLimit", "Instance Share Quota Exceed Limit."),
    (403, "Forbidden.DKMSInstanceNotFound", "The specified DKMS Instance is not found."),
    (403, "Forbidden.DKMSInstanceStateInvalid", "The DKMS instance state is invalid."),
    (404, "Forbidden.ResourceNotFound", "Policy not found."),
    (404, "InvalidResourceId.NotFound", "The specified ResourceId is not found."),
    // Of the gateway.
    (404, "InvalidAction.NotFound", "Specified api is not found, please check your url and method."),
];

/// Published, and never answered here.
const UNUSED: &[(&str, &str)] = &[
    ("CreateLXOrderFailed", "nothing is bought"),
    ("Forbidden.DKMSInstanceNotFound", "there are no instances"),
    ("Forbidden.DKMSInstanceStateInvalid", "there are no instances"),
    ("Forbidden.InDebt", "nothing is paid"),
    ("Forbidden.InDebtOverdue", "nothing is paid"),
    ("Forbidden.KeyPolicyUnSupported", "every key has a policy"),
    ("Forbidden.KmsServiceNotEnabled", "the service is open from the beginning"),
    ("Forbidden.NoRealNameAuthentication", "nothing is bought"),
    ("Forbidden.ProhibitedByRiskControl", "there is none"),
    ("Forbidden.UbsmsInvalidBid", "nothing is paid"),
    ("Forbidden.UbsmsInvalidUserid", "nothing is paid"),
    ("IllegalTimestamp", "HTTP only"),
    ("IncompleteSignature", "HTTP only"),
    ("ParseRequestParameterException", "HTTP only"),
    ("Rejected.ShareQuotaExceedLimit", "keys are not shared"),
    ("Rejected.Throttling", "nobody is throttled"),
    ("Rejected.Unavailable", "a state of private key stores only"),
    ("Throttling", "nobody is throttled"),
    ("UnsupportedHTTPMethod", "HTTP only"),
];

/// Answered, and published elsewhere or nowhere.
const OURS: &[(u16, &str, &str)] = &[
    (400, "DryRunOperationError", "the code is published, status and text are not"),
    (400, "ValidationError", "the code is published, status and text are not"),
    (403, "AccessDeniedError", "the code is published, status and text are not"),
    (404, "EntityNotExist.Policy", "RAM"),
    (404, "EntityNotExist.User", "RAM"),
    (404, "EntityNotExist.User.AccessKey", "RAM"),
    (409, "DeleteConflict", "RAM"),
    (409, "EntityAlreadyExists.Policy", "RAM"),
    (409, "EntityAlreadyExists.User", "RAM"),
];

/// Texts that differ: code, ours, and why.
const WORDED: &[(&str, &str, &str)] = &[
    ("InvalidParameter", "The specified parameter is not valid.", "where no parameter is to be named"),
    ("MissingParameter", "The parameter is needed but not provided.", "the name is put in when it is answered"),
    ("Rejected.Enabled", "The request was rejected because the key state is Enabled.", "none is published"),
];

#[test]
fn every_code_has_the_published_status_and_text() {
    let mut own = BTreeMap::new();
    for code in CODES {
        assert!(own.insert(code.1, (code.0, code.2)).is_none(), "{} twice", code.1);
    }
    for (status, code, text) in PUBLISHED {
        let unused = UNUSED.iter().any(|(name, _)| name == code);
        let Some((own_status, own_text)) = own.remove(code) else {
            assert!(unused, "{code} is published and not answered");
            continue;
        };
        assert!(!unused, "{code} is answered");
        let worded = WORDED.iter().find(|(name, ..)| name == code).map_or(*text, |(_, text, _)| text);
        assert_eq!((own_status, own_text), (*status, worded), "{code}");
    }
    for (status, code, _) in OURS {
        assert_eq!(own.remove(code).map(|(status, _)| status), Some(*status), "{code}");
    }
    assert!(own.is_empty(), "not published: {own:?}");
}

/// The two texts that name a parameter.
#[test]
fn the_parameter_is_named_in_the_published_way() {
    let bed = crate::bed::software();
    let fault = bed.fault("DescribeKey", &[]);
    let missing = "The parameter \"KeyId\" is needed but not provided.";
    assert_eq!((fault.status, fault.code, fault.message.as_str()), (400, "MissingParameter", missing));
    let fault = bed.fault("ListKeys", &[("PageSize", "0")]);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
    assert!(fault.message.starts_with("The specified parameter \"PageSize\" is not valid."), "{}", fault.message);
    let fault = bed.fault("OpenKmsService", &[]);
    let opened = "Your kms service has been opened.";
    assert_eq!((fault.status, fault.code, fault.message.as_str()), (400, "Forbidden.Opened", opened));
    assert!(find("openKmsService").is_err() && ACTIONS.len() > 80);
}

fn open<'a>(key: &'a str, version: &'a str, blob: &'a str, algorithm: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![("KeyId", key), ("KeyVersionId", version), ("Algorithm", algorithm), ("CiphertextBlob", blob)]
}

/// §1.4, row by row.
fn undocumented_cases_are_answered_as_decided(bed: &Bed) {
    let secret = bed.secret();
    let (signer, signing) = bed.pair("RSA_2048", "SIGN/VERIFY");
    let (opener, opening) = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    let blob = bed.encrypt(&secret, b"secret");
    let mut bytes = crate::bed::from_base64(&blob.clone().into());
    *bytes.last_mut().unwrap() ^= 1;
    let flipped = to_base64(&bytes);
    bytes[0] = if bytes[0] == b'0' { b'1' } else { b'0' };
    let stranger = to_base64(&bytes);
    let long = to_base64(&[1; 6145]);
    let sealed = text(
        &bed.ok(
            "AsymmetricEncrypt",
            &[
                ("KeyId", &opener),
                ("KeyVersionId", &opening),
                ("Algorithm", "RSAES_OAEP_SHA_1"),
                ("Plaintext", "aGVsbG8="),
            ],
        )["CiphertextBlob"],
    );
    let (short, nobody) = (to_base64(&[1; 255]), "00000000-0000-0000-0000-000000000000");
    let sign = |digest, algorithm| {
        vec![("KeyId", signer.as_str()), ("KeyVersionId", &signing), ("Algorithm", algorithm), ("Digest", digest)]
    };
    let arn = text(&bed.describe(&secret)["Arn"]);
    bed.ok("SetDeletionProtection", &[("ProtectedResourceArn", &arn), ("EnableDeletionProtection", "true")]);
    let level = ("ProtectionLevel", bed.level.name());
    let name = unique("x");
    /// Action and parameters; status, code, and the parameter that is named.
    type Row<'a> = (&'a str, Vec<(&'a str, &'a str)>, u16, &'a str, &'a str);
    let rows: &[Row<'_>] = &[
        ("AsymmetricSign", sign("AAAA", "RSA_PSS_SHA_256"), 400, "InvalidParameter", "Digest"),
        ("AsymmetricSign", sign("!!!", "RSA_PSS_SHA_256"), 400, "InvalidParameter", "Digest"),
        (
            "AsymmetricDecrypt",
            open(&opener, &opening, &short, "RSAES_OAEP_SHA_1"),
            400,
            "InvalidParameter",
            "CiphertextBlob",
        ),
        (
            "AsymmetricDecrypt",
            open(&opener, &opening, &sealed, "RSAES_OAEP_SHA_256"),
            400,
            "InvalidParameter",
            "CiphertextBlob",
        ),
        ("Encrypt", vec![("KeyId", &secret), ("Plaintext", &long)], 400, "InvalidParameter", "Plaintext"),
        ("CreateAlias", vec![("KeyId", &secret), ("AliasName", "web")], 400, "InvalidParameter", "AliasName"),
        (
            "UpdateRotationPolicy",
            vec![("KeyId", &secret), ("EnableAutomaticRotation", "true"), ("RotationInterval", "a year")],
            400,
            "InvalidParameter",
            "RotationInterval",
        ),
        ("AsymmetricSign", sign(DIGEST, "ECDSA_SHA_256"), 400, "UnsupportedOperation", ""),
        (
            "AsymmetricSign",
            vec![("KeyId", &opener), ("KeyVersionId", &opening), ("Algorithm", "RSA_PSS_SHA_256"), ("Digest", DIGEST)],
            400,
            "UnsupportedOperation",
            "",
        ),
        ("Encrypt", vec![("KeyId", &signer), ("Plaintext", "aGVsbG8=")], 400, "UnsupportedOperation", ""),
        ("GenerateDataKey", vec![("KeyId", &signer)], 400, "UnsupportedOperation", ""),
        (
            "AsymmetricDecrypt",
            open(&signer, &signing, &sealed, "RSAES_OAEP_SHA_1"),
            400,
            "Rejected.UnsupportedOperation",
            "",
        ),
        (
            "UpdateRotationPolicy",
            vec![("KeyId", &signer), ("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")],
            400,
            "Rejected.UnsupportedOperation",
            "",
        ),
        (
            "CreateKey",
            vec![level, ("KeySpec", "EC_P256"), ("KeyUsage", "ENCRYPT/DECRYPT")],
            400,
            "UnsupportedOperation",
            "",
        ),
        (
            "CreateKey",
            vec![level, ("KeySpec", "Aliyun_AES_256"), ("KeyUsage", "SIGN/VERIFY")],
            400,
            "UnsupportedOperation",
            "",
        ),
        ("CreateKey", vec![level, ("KeySpec", "RSA_2048"), ("Origin", "EXTERNAL")], 400, "UnsupportedOperation", ""),
        ("CreateKey", vec![level, ("KeySpec", "RSA_1024")], 400, "InvalidParameter", "KeySpec"),
        (
            "Decrypt",
            vec![("CiphertextBlob", &blob), ("EncryptionContext", r#"{"a":"b"}"#)],
            400,
            "InvalidParameter",
            "CiphertextBlob",
        ),
        ("Decrypt", vec![("CiphertextBlob", &flipped)], 400, "InvalidParameter", "CiphertextBlob"),
        ("Decrypt", vec![("CiphertextBlob", &stranger)], 404, "Forbidden.KeyNotFound", ""),
        (
            "AsymmetricDecrypt",
            open(&opener, nobody, &sealed, "RSAES_OAEP_SHA_1"),
            404,
            "Forbidden.KeyVersionNotFound",
            "",
        ),
        (
            "DescribeKeyVersion",
            vec![("KeyId", &secret), ("KeyVersionId", nobody)],
            404,
            "Forbidden.KeyVersionNotFound",
            "",
        ),
        (
            "ScheduleKeyDeletion",
            vec![("KeyId", &secret), ("PendingWindowInDays", "7")],
            409,
            "Rejected.StateModifiedFailed",
            "",
        ),
        ("DeleteAlias", vec![("AliasName", &name)], 404, "Forbidden.AliasNotFound", ""),
    ];
    for (action, parameters, status, code, parameter) in rows {
        let fault = bed.fault(action, parameters);
        let place = format!("{action} {parameters:?}: {fault:?}");
        assert_eq!((fault.status, fault.code), (*status, *code), "{place}");
        let named = format!("The specified parameter \"{parameter}\" is not valid.");
        assert!(parameter.is_empty() || fault.message.starts_with(&named), "{place}");
    }
}
