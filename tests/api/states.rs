//! Every operation in every state of a key: the table of kms-api.md §2.5.

use crate::bed::{Bed, DIGEST, text, unique};

at_both_levels! {
    s004_005_010_011_states_and_operations
    s004_149_operations_of_key_pairs
    cancelled_deletion_enables_even_what_was_disabled
}

const STATES: [&str; 4] = ["Enabled", "Disabled", "PendingDeletion", "PendingImport"];

/// A symmetric key in this state.
fn secret_in(bed: &Bed, state: &str) -> String {
    if state == "PendingImport" {
        return text(&bed.create(&[("Origin", "EXTERNAL")])["KeyId"]);
    }
    let key = bed.secret();
    bring(bed, &key, state);
    key
}

fn bring(bed: &Bed, key: &str, state: &str) {
    match state {
        "Disabled" => drop(bed.ok("DisableKey", &[("KeyId", key)])),
        "PendingDeletion" => drop(bed.ok("ScheduleKeyDeletion", &[("KeyId", key)])),
        _ => {}
    }
    assert_eq!(bed.state(key), state);
}

/// In the order of STATES; "" is ok, else the code behind `Rejected.`.
type Row = (&'static str, [&'static str; 4]);

const FAILED: &str = "StateModifiedFailed";
const USE: [&str; 4] = ["", "Disabled", "PendingDeletion", "PendingImport"];
const SYMMETRIC: &[Row] = &[
    ("Encrypt", USE),
    ("CreateKeyVersion", USE),
    ("DescribeKey", [""; 4]),
    ("ListKeyVersions", [""; 4]),
    ("ListAliasesByKeyId", [""; 4]),
    ("EnableKey", ["", "", FAILED, FAILED]),
    ("DisableKey", ["", "", FAILED, FAILED]),
    ("ScheduleKeyDeletion", ["", "", FAILED, ""]),
    ("CreateAlias", ["", "", FAILED, ""]),
    ("DeleteAlias", [""; 4]),
    ("UpdateAlias", ["", "", "PendingDeletion", ""]),
    ("CancelKeyDeletion", [FAILED, FAILED, "", FAILED]),
];

fn expect(bed: &Bed, action: &str, state: &str, parameters: &[(&str, &str)], code: &str) {
    let answer = bed.run(action, parameters).map(|_| ()).map_err(|fault| (fault.status, fault.code.to_owned()));
    let expected = if code.is_empty() { Ok(()) } else { Err((409, format!("Rejected.{code}"))) };
    assert_eq!(answer, expected, "{action} in state {state}");
}

fn s004_005_010_011_states_and_operations(bed: &Bed) {
    for (action, codes) in SYMMETRIC {
        for (state, code) in STATES.into_iter().zip(codes) {
            let alias = unique("state");
            let key = match *action {
                // An alias that exists: bound before the key comes into its state.
                "DeleteAlias" => {
                    let wait = state == "PendingImport";
                    let key = if wait { secret_in(bed, state) } else { bed.secret() };
                    bed.ok("CreateAlias", &[("AliasName", &alias), ("KeyId", &key)]);
                    bring(bed, &key, state);
                    key
                }
                _ => secret_in(bed, state),
            };
            let parameters: &[(&str, &str)] = match *action {
                "Encrypt" => &[("KeyId", &key), ("Plaintext", "YQ==")],
                "CreateAlias" => &[("KeyId", &key), ("AliasName", &alias)],
                "DeleteAlias" => &[("AliasName", &alias)],
                "UpdateAlias" => {
                    bed.ok("CreateAlias", &[("KeyId", &bed.secret()), ("AliasName", &alias)]);
                    &[("KeyId", &key), ("AliasName", &alias)]
                }
                _ => &[("KeyId", &key)],
            };
            expect(bed, action, state, parameters, code);
            if !code.is_empty() {
                assert_eq!(bed.state(&key), state, "{action} was refused and changed something");
            }
        }
    }
    // Decrypt, with a ciphertext from before.
    for (state, code) in STATES.into_iter().zip(USE).take(3) {
        let key = bed.secret();
        let blob = bed.encrypt(&key, b"x");
        bring(bed, &key, state);
        expect(bed, "Decrypt", state, &[("CiphertextBlob", &blob)], code);
    }
}

/// Not in the published table: like Encrypt (kms-api.md §1.4); the public key is given in every state.
fn s004_149_operations_of_key_pairs(bed: &Bed) {
    for (state, code) in STATES.into_iter().zip(USE).take(3) {
        let (key, version) = bed.pair("EC_P256", "SIGN/VERIFY");
        let of = [("KeyId", key.as_str()), ("KeyVersionId", version.as_str())];
        let sign = [&of[..], &[("Algorithm", "ECDSA_SHA_256"), ("Digest", DIGEST)]].concat();
        let value = text(&bed.ok("AsymmetricSign", &sign)["Value"]);
        bring(bed, &key, state);
        expect(bed, "AsymmetricSign", state, &sign, code);
        expect(bed, "AsymmetricVerify", state, &[&sign[..], &[("Value", &value)]].concat(), code);
        expect(bed, "GetPublicKey", state, &of, "");
        expect(bed, "DescribeKeyVersion", state, &of, "");

        let (key, version) = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
        let of = [("KeyId", key.as_str()), ("KeyVersionId", version.as_str()), ("Algorithm", "RSAES_OAEP_SHA_1")];
        let encrypt = [&of[..], &[("Plaintext", "YQ==")]].concat();
        let blob = text(&bed.ok("AsymmetricEncrypt", &encrypt)["CiphertextBlob"]);
        bring(bed, &key, state);
        expect(bed, "AsymmetricEncrypt", state, &encrypt, code);
        expect(bed, "AsymmetricDecrypt", state, &[&of[..], &[("CiphertextBlob", &blob)]].concat(), code);
    }
}

fn cancelled_deletion_enables_even_what_was_disabled(bed: &Bed) {
    let key = bed.secret();
    for action in ["DisableKey", "DisableKey", "ScheduleKeyDeletion", "CancelKeyDeletion", "EnableKey"] {
        bed.ok(action, &[("KeyId", &key)]);
    }
    assert_eq!(bed.state(&key), "Enabled");
}
