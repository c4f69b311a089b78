//! Requests as such: names, types, what is missing or too much; faults on the wire; the audit trail.

use alikms_pkcs11::api::{self, ACTIONS, Fault, Params};
use alikms_pkcs11::error::{Error, StoreFault};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::KeyState;
use uuid::Uuid;

use crate::bed::{Bed, text};

at_both_levels! {
    s004_022_actions_of_the_issue_are_there
    s001_003_unknown_actions_and_parameters
    missing_and_repeated_parameters
    the_answer_bears_the_number_of_the_request
}

/// The list of issue 2.
const ISSUE: &str = "CreateKey DescribeKey ListKeys EnableKey DisableKey ScheduleKeyDeletion CancelKeyDeletion \
                     ListKeyVersions CreateKeyVersion CreateAlias UpdateAlias DeleteAlias ListAliases \
                     ListAliasesByKeyId AsymmetricSign AsymmetricVerify AsymmetricDecrypt AsymmetricEncrypt \
                     GetPublicKey Encrypt Decrypt CreateCertificate UploadCertificate DescribeCertificate \
                     GetCertificate UpdateCertificateStatus";

fn s004_022_actions_of_the_issue_are_there(_: &Bed) {
    for name in ISSUE.split_whitespace() {
        assert!(api::find(name).is_ok(), "{name}");
    }
}

fn s001_003_unknown_actions_and_parameters(bed: &Bed) {
    for action in ["", "createKey", "CreateSecret", "CreateKey ", "createCertificate"] {
        let fault = bed.fault(action, &[]);
        assert_eq!((fault.status, fault.code), (404, "InvalidAction.NotFound"), "{action}");
        assert_eq!(fault.message, "Specified api is not found, please check your url and method.");
    }
    for entry in ACTIONS {
        let fault = bed.fault(entry.name, &[("NoSuchThing", "x")]);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{}", entry.name);
        let said = "The specified parameter \"NoSuchThing\" is not valid. The action has no such parameter.";
        assert_eq!(fault.message, said);
    }
}

/// S001-003 to S001-009 in general: whatever is needed is asked for by its name.
fn missing_and_repeated_parameters(bed: &Bed) {
    for entry in ACTIONS {
        let parameters = api::help::parameters(entry);
        let needed: Vec<_> = parameters.iter().filter(|parameter| parameter.required).collect();
        if needed.is_empty() {
            continue;
        }
        let fault = bed.fault(entry.name, &[]);
        let names: Vec<_> = needed
            .iter()
            .map(|parameter| format!("The parameter \"{}\" is needed but not provided.", parameter.name))
            .collect();
        assert_eq!((fault.status, fault.code), (400, "MissingParameter"), "{}", entry.name);
        assert!(names.contains(&fault.message), "{}: {}", entry.name, fault.message);
        let name = needed[0].name.as_str();
        let fault = bed.fault(entry.name, &[(name, "x"), (name, "x")]);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{} {name}", entry.name);
    }
}

/// S001-019: every answer has a RequestId, and what the action changed is found under it in the audit trail.
fn the_answer_bears_the_number_of_the_request(bed: &Bed) {
    let request = Uuid::new_v4();
    let mut params = Params::default();
    params.push("ProtectionLevel", bed.level.name());
    params.push("KeySpec", "EC_P256");
    let answer = api::find("CreateKey").unwrap().run(bed.kms(), &Caller::account(), &params, request).unwrap();
    assert_eq!(text(&answer["RequestId"]), request.to_string());
    let rows = bed.audit_of(request);
    assert!(rows.iter().any(|row| row.action == "CreateKey"), "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row.caller != "account" || row.pid != std::process::id()).count(), 0);
}

/// kms-api.md §1.3, row by row: code, status and text of what the KMS answers itself.
#[test]
fn faults_as_published() {
    let state = |state| Error::KeyState { key: "k".into(), state };
    for (error, status, code, message) in [
        (
            Error::MissingParameter("KeyId".into()),
            400,
            "MissingParameter",
            "The parameter \"KeyId\" is needed but not provided.",
        ),
        (Error::invalid("KeyId", ""), 400, "InvalidParameter", "The specified parameter \"KeyId\" is not valid."),
        (
            Error::LimitExceeded(String::new()),
            400,
            "Rejected.LimitExceeded",
            "The request was rejected because user create resource limit was exceeded.",
        ),
        (Error::AliasExists("alias/a".into()), 400, "AliasAlreadyExists", "AliasName Already Exists."),
        (Error::UnsupportedOrigin, 400, "Unsupported.Origin", "This key origin is not valid for this api."),
        (Error::UnsupportedAlias, 400, "Unsupported.Alias", "Alias is not valid for this api."),
        (
            Error::UnsupportedProtectionLevel { level: "HSM", reason: String::new() },
            400,
            "Unsupported.ProtectionLevel",
            "This protection level is not valid for this region",
        ),
        (Error::Unsupported(String::new()), 400, "UnsupportedOperation", "This action is not supported."),
        (Error::RejectedUnsupported(String::new()), 400, "Rejected.UnsupportedOperation", "Unsupported operation."),
        (
            Error::AccessDenied { action: "CreateKey", resource: "r".into() },
            403,
            "Forbidden.NoPermission",
            "This operation is forbidden by permission system.",
        ),
        (Error::KeyNotFound("k".into()), 404, "Forbidden.KeyNotFound", "The specified Key is not found."),
        (
            Error::KeyVersionNotFound("v".into()),
            404,
            "Forbidden.KeyVersionNotFound",
            "The specified Key version is not found.",
        ),
        (Error::AliasNotFound("a".into()), 404, "Forbidden.AliasNotFound", "The specified Alias is not found."),
        (
            Error::CertificateNotFound("c".into()),
            404,
            "Certificate.NotFound",
            "The specified certificate is not found.",
        ),
        (
            state(KeyState::Enabled),
            409,
            "Rejected.Enabled",
            "The request was rejected because the key state is Enabled.",
        ),
        (
            state(KeyState::Disabled),
            409,
            "Rejected.Disabled",
            "The request was rejected because the key state is Disabled.",
        ),
        (
            state(KeyState::PendingDeletion),
            409,
            "Rejected.PendingDeletion",
            "The request was rejected because the key state is PendingDeletion.",
        ),
        (
            state(KeyState::PendingImport),
            409,
            "Rejected.PendingImport",
            "The request was rejected because the key state is PendingImport.",
        ),
        (
            Error::StateChange { resource: "k".into(), reason: String::new() },
            409,
            "Rejected.StateModifiedFailed",
            "Keystate modified failed.",
        ),
        (Error::Internal(String::new()), 500, "InternalFailure", "Internal Failure."),
        (
            Error::Store(StoreFault::Busy),
            503,
            "ServiceUnavailableTemporary",
            "Service Unavailable Temporary. The store is busy: another process holds its write lock.",
        ),
    ] {
        assert_eq!(Fault::from(&error), Fault { status, code, message: message.into() });
    }
    let request = Uuid::nil();
    let expected = serde_json::json!({
        "Code": "Unsupported.Alias", "HttpStatus": 400, "Message": "Alias is not valid for this api.",
        "RequestId": "00000000-0000-0000-0000-000000000000",
    });
    assert_eq!(Fault::from(&Error::UnsupportedAlias).to_json(request), expected);
}
