//! DryRun: always an error, which tells what would have been answered; nothing is answered, nothing is changed.

use alikms_pkcs11::api::{self, ACTIONS};
use alikms_pkcs11::model::caller::Caller;

use crate::bed::{Bed, DIGEST, text};

at_both_levels! {
    rehearsals_answer_what_would_have_been
    every_action_that_uses_a_key_rehearses
}

const DRY: (&str, &str) = ("DryRun", "true");

fn rehearsals_answer_what_would_have_been(bed: &Bed) {
    let key = bed.secret();
    let blob = bed.encrypt(&key, b"x");
    let (signer, sv) = bed.pair("EC_P256", "SIGN/VERIFY");
    let (rsa, rv) = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
    let of_signer = [("KeyId", signer.as_str()), ("KeyVersionId", &sv)];
    let sign = [&of_signer[..], &[("Algorithm", "ECDSA_SHA_256"), ("Digest", DIGEST)]].concat();
    let value = text(&bed.ok("AsymmetricSign", &sign)["Value"]);
    let of_rsa = [("KeyId", rsa.as_str()), ("KeyVersionId", &rv), ("Algorithm", "RSAES_OAEP_SHA_256")];
    let encrypt = [&of_rsa[..], &[("Plaintext", "YQ==")]].concat();
    let cipher = text(&bed.ok("AsymmetricEncrypt", &encrypt)["CiphertextBlob"]);
    let pem = text(&bed.ok("GetPublicKey", &of_rsa[..2])["PublicKey"]);
    let public: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let to = [
        ("PublicKeyBlob", public.as_str()),
        ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"),
        ("WrappingKeySpec", "RSA_2048"),
    ];
    let of_key = [("KeyId", key.as_str())];
    let blob_of = [("CiphertextBlob", blob.as_str())];
    // The action, with what it needs; the key that is disabled below.
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, &'a str);
    let cases: Vec<Case<'_>> = vec![
        ("AsymmetricDecrypt", [&of_rsa[..], &[("CiphertextBlob", &cipher)]].concat(), &rsa),
        ("AsymmetricEncrypt", encrypt, &rsa),
        ("AsymmetricSign", sign.clone(), &signer),
        ("AsymmetricVerify", [&sign[..], &[("Value", &value)]].concat(), &signer),
        ("Decrypt", blob_of.to_vec(), &key),
        ("Encrypt", [&of_key[..], &[("Plaintext", "YQ==")]].concat(), &key),
        ("ExportDataKey", [&blob_of[..], &to].concat(), &key),
        ("GenerateAndExportDataKey", [&of_key[..], &to].concat(), &key),
        ("GenerateDataKey", of_key.to_vec(), &key),
        ("GenerateDataKeyWithoutPlaintext", of_key.to_vec(), &key),
        ("ReEncrypt", [&blob_of[..], &[("DestinationKeyId", &key)]].concat(), &key),
    ];
    let nobody = Caller::nobody("mallory");
    for (action, parameters, of) in cases {
        let dry = [&parameters[..], &[DRY]].concat();
        let fault = bed.fault(action, &dry);
        assert_eq!((fault.status, fault.code), (400, "DryRunOperationError"), "{action}: {fault:?}");
        let fault = bed.run_as(&nobody, action, &dry).unwrap_err();
        assert_eq!((fault.status, fault.code), (403, "AccessDeniedError"), "{action}: {fault:?}");
        bed.ok("DisableKey", &[("KeyId", of)]);
        let fault = bed.fault(action, &dry);
        assert_eq!((fault.status, fault.code), (400, "ValidationError"), "{action}: {fault:?}");
        assert!(fault.message.contains("Rejected.Disabled"), "{action}: {fault:?}");
        bed.ok("EnableKey", &[("KeyId", of)]);
        let not = [&parameters[..], &[("DryRun", "false")]].concat();
        bed.ok(action, &not);
        assert_eq!(bed.refused(action, &[&parameters[..], &[("DryRun", "perhaps")]].concat()).1, "InvalidParameter");
    }
    let dry = [&of_signer[..], &[DRY]].concat();
    assert_eq!(bed.refused("GetPublicKey", &dry), (400, "DryRunOperationError"));
    // A wrong signature is no error of the action.
    let wrong = [&sign[..], &[("Value", "AAAA"), DRY]].concat();
    assert_eq!(bed.refused("AsymmetricVerify", &wrong), (400, "DryRunOperationError"));
}

/// As published (kms-api.md §1.2): those that use a key, and no others.
fn every_action_that_uses_a_key_rehearses(bed: &Bed) {
    let published = "AsymmetricDecrypt AsymmetricEncrypt AsymmetricSign AsymmetricVerify Decrypt Encrypt ExportDataKey \
                     GenerateAndExportDataKey GenerateDataKey GenerateDataKeyWithoutPlaintext GenerateMac GetPublicKey ReEncrypt VerifyMac";
    let mut have: Vec<&str> = ACTIONS
        .iter()
        .filter(|entry| api::help::parameters(entry).iter().any(|parameter| parameter.name == "DryRun"))
        .map(|entry| entry.name)
        .collect();
    have.sort_unstable();
    assert_eq!(have.join(" "), published);
    assert_eq!(bed.refused("CreateKey", &[DRY]), (400, "InvalidParameter"));
}
