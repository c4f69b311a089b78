//! Encrypt and Decrypt of symmetric keys, and the EncryptionContext.

use crate::bed::{Bed, fields, from_base64, text, to_base64};

at_both_levels! {
    s004_005_054_to_057_062_encrypt_and_decrypt
    s004_047_050_no_answer_contains_the_key
    s004_058_065_to_068_context_binds_and_is_not_in_the_ciphertext
    s004_069_context_has_up_to_8192_characters
    s004_070_to_074_what_a_context_may_be
    s004_075_076_equal_contexts_need_not_be_the_same_text
    s004_086_another_key_does_not_decrypt
    re_encrypt_believes_no_other_source_than_the_blob_names
    plaintext_has_up_to_6144_bytes
    a_changed_ciphertext_is_refused
    asymmetric_keys_do_not_encrypt
}

fn s004_005_054_to_057_062_encrypt_and_decrypt(bed: &Bed) {
    let key = bed.secret();
    let version = text(&bed.describe(&key)["PrimaryKeyVersion"]);
    let answer = bed.ok("Encrypt", &[("KeyId", &key), ("Plaintext", "dGhpcyBpcyBwbGFpbnRleHQK")]);
    assert_eq!(fields(&answer), "CiphertextBlob KeyId KeyVersionId RequestId");
    assert_eq!((text(&answer["KeyId"]), text(&answer["KeyVersionId"])), (key.clone(), version.clone()));
    // Ruling 13: version, IV, ciphertext, tag.
    let blob = from_base64(&answer["CiphertextBlob"]);
    assert_eq!((blob.len(), &blob[..36]), (36 + 12 + 18 + 16, version.as_bytes()));
    let opened = bed.ok("Decrypt", &[("CiphertextBlob", &text(&answer["CiphertextBlob"]))]);
    assert_eq!(fields(&opened), "KeyId KeyVersionId Plaintext RequestId");
    assert_eq!((text(&opened["KeyId"]), text(&opened["KeyVersionId"])), (key.clone(), version));
    assert_eq!(opened["Plaintext"], "dGhpcyBpcyBwbGFpbnRleHQK");
    // S004-056: nothing but the key is named, by its ID or an alias; S004-057: to decrypt not even that.
    let alias = crate::bed::unique("named");
    bed.ok("CreateAlias", &[("KeyId", &key), ("AliasName", &alias)]);
    for name in [key.as_str(), &alias] {
        let encrypted = bed.ok("Encrypt", &[("KeyId", name), ("Plaintext", "YQ==")]);
        let source = text(&encrypted["CiphertextBlob"]);
        for answer in [
            encrypted,
            bed.ok("GenerateDataKey", &[("KeyId", name)]),
            bed.ok("GenerateDataKeyWithoutPlaintext", &[("KeyId", name)]),
            bed.ok("ReEncrypt", &[("CiphertextBlob", &source), ("DestinationKeyId", name)]),
        ] {
            assert_eq!(answer["KeyId"], key, "{name}");
            let opened = bed.ok("Decrypt", &[("CiphertextBlob", &text(&answer["CiphertextBlob"]))]);
            assert_eq!((&opened["KeyId"], &opened["KeyVersionId"]), (&answer["KeyId"], &answer["KeyVersionId"]));
            let plaintext = answer.get("Plaintext").unwrap_or(&opened["Plaintext"]);
            assert_eq!(&opened["Plaintext"], plaintext);
        }
    }
    // Another time, another IV.
    assert_ne!(bed.encrypt(&key, b"x"), bed.encrypt(&key, b"x"));
    bed.ok("DisableKey", &[("KeyId", &key)]);
    let refused = bed.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "YQ==")]);
    assert_eq!(refused, (409, "Rejected.Disabled"));
    let refused = bed.refused("Decrypt", &[("CiphertextBlob", &text(&answer["CiphertextBlob"]))]);
    assert_eq!(refused, (409, "Rejected.Disabled"));
}

/// 32 bytes of key would be 44 characters of Base64 or 64 of hex.
fn s004_047_050_no_answer_contains_the_key(bed: &Bed) {
    let key = bed.secret();
    let version = bed.versions(&key).swap_remove(0);
    let answers = [
        bed.ok("DescribeKey", &[("KeyId", &key)]),
        bed.ok("ListKeyVersions", &[("KeyId", &key)]),
        bed.ok("DescribeKeyVersion", &[("KeyId", &key), ("KeyVersionId", &version)]),
    ];
    for answer in answers {
        let said = answer.to_string();
        let longest = said.split('"').map(str::len).max().unwrap();
        let arn = said.split('"').filter(|word| word.starts_with("acs:")).map(str::len).max().unwrap_or(0);
        assert!(longest <= arn.max(36), "{said}");
    }
}

fn encrypt(bed: &Bed, key: &str, context: &str) -> String {
    let parameters = [("KeyId", key), ("Plaintext", "YQ=="), ("EncryptionContext", context)];
    text(&bed.ok("Encrypt", &parameters)["CiphertextBlob"])
}

fn s004_058_065_to_068_context_binds_and_is_not_in_the_ciphertext(bed: &Bed) {
    let key = bed.secret();
    let context = "{\"Purpose\":\"payroll-of-may\"}";
    let blob = encrypt(bed, &key, context);
    assert_eq!(bed.ok("Decrypt", &[("CiphertextBlob", &blob), ("EncryptionContext", context)])["Plaintext"], "YQ==");
    for wrong in [None, Some("{}"), Some("{\"Purpose\":\"other\"}"), Some("{\"purpose\":\"payroll-of-may\"}")] {
        let mut parameters = vec![("CiphertextBlob", blob.as_str())];
        parameters.extend(wrong.map(|wrong| ("EncryptionContext", wrong)));
        let fault = bed.fault("Decrypt", &parameters);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{wrong:?}");
        assert!(fault.message.starts_with("The specified parameter \"CiphertextBlob\" is not valid."), "{fault:?}");
    }
    let bytes = from_base64(&serde_json::Value::String(blob));
    assert!(!bytes.windows(7).any(|part| part == b"payroll" || part == b"Purpose"));
    // No context and an empty one are the same.
    assert_eq!(bed.decrypt(&encrypt(bed, &key, "{}")), b"a");
}

fn s004_069_context_has_up_to_8192_characters(bed: &Bed) {
    let key = bed.secret();
    let frame = "{\"Key\":\"\"}".len();
    let longest = format!("{{\"Key\":\"{}\"}}", "ü".repeat(8192 - frame));
    encrypt(bed, &key, &longest);
    let longer = longest.replace("\"}", "x\"}");
    let fault = bed.fault("Encrypt", &[("KeyId", &key), ("Plaintext", "YQ=="), ("EncryptionContext", &longer)]);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
    assert!(fault.message.starts_with("The specified parameter \"EncryptionContext\" is not valid."), "{fault:?}");
}

fn s004_070_to_074_what_a_context_may_be(bed: &Bed) {
    let key = bed.secret();
    for context in ["{\"ValidKey\":\"ValidValue\"}", "{\"Key1\":\"Value1\",\"Key2\":\"Value2\"}"] {
        let blob = encrypt(bed, &key, context);
        bed.ok("Decrypt", &[("CiphertextBlob", &blob), ("EncryptionContext", context)]);
    }
    for context in [
        "[{\"Key\":\"Value\"}]",
        "{\"Key\":12345}",
        "{\"Key\":[\"value1\",\"value2\"]}",
        "{\"Key\":null}",
        "{\"Key\":{\"a\":\"b\"}}",
        "{\"Key\":\"a\",\"Key\":\"b\"}",
        "{Key:\"Value\"}",
        "Key=Value",
        "\"Value\"",
        "",
    ] {
        let parameters = [("KeyId", key.as_str()), ("Plaintext", "YQ=="), ("EncryptionContext", context)];
        let fault = bed.fault("Encrypt", &parameters);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{context}");
        assert!(fault.message.contains("\"EncryptionContext\""), "{context}: {}", fault.message);
    }
}

fn s004_075_076_equal_contexts_need_not_be_the_same_text(bed: &Bed) {
    let key = bed.secret();
    let blob = encrypt(bed, &key, "{\"Key1\":\"Value1\",\"Key2\":\"Zeile\\n\\u00e4\\\"\"}");
    for same in [
        "{\"Key2\":\"Zeile\\nä\\\"\",\"Key1\":\"Value1\"}",
        " { \"Key2\" : \"Zeile\\u000a\\u00E4\\\"\" , \"\\u004bey1\":\"Value1\" } ",
    ] {
        bed.ok("Decrypt", &[("CiphertextBlob", &blob), ("EncryptionContext", same)]);
    }
    for other in ["{\"Key1\":\"Value1\",\"Key2\":\"Zeile\\\\n\\u00e4\\\"\"}", "{\"Key1\":\"Value1\"}"] {
        let refused = bed.refused("Decrypt", &[("CiphertextBlob", &blob), ("EncryptionContext", other)]);
        assert_eq!(refused, (400, "InvalidParameter"));
    }
}

/// The version's name in the blob is exchanged for another key's.
fn s004_086_another_key_does_not_decrypt(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.secret());
    let mut blob = from_base64(&serde_json::Value::String(bed.encrypt(&one, b"secret")));
    blob[..36].copy_from_slice(bed.versions(&two)[0].as_bytes());
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&blob))]), (400, "InvalidParameter"));
    blob[..36].copy_from_slice(uuid::Uuid::new_v4().to_string().as_bytes());
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&blob))]), (404, "Forbidden.KeyNotFound"));
    // Of another token: as if of another cloud.
    let other = bed.token("other");
    let blob = other.encrypt(&other.secret(), b"secret");
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &blob)]), (404, "Forbidden.KeyNotFound"));
}

/// SourceKeyId and SourceKeyVersionId used to be ignored where they are not needed.
fn re_encrypt_believes_no_other_source_than_the_blob_names(bed: &Bed) {
    let (one, two) = (bed.secret(), bed.secret());
    let blob = bed.encrypt(&one, b"secret");
    let (own, other) = (bed.versions(&one).swap_remove(0), bed.versions(&two).swap_remove(0));
    let run = |source: &[(&str, &str)]| {
        let mut parameters = vec![("CiphertextBlob", blob.as_str()), ("DestinationKeyId", two.as_str())];
        parameters.extend(source);
        bed.run("ReEncrypt", &parameters).map_err(|fault| (fault.status, fault.code))
    };
    let arn = text(&bed.describe(&one)["Arn"]);
    for right in [&[("SourceKeyId", one.as_str())][..], &[("SourceKeyId", &arn), ("SourceKeyVersionId", &own)]] {
        assert_eq!(bed.decrypt(&text(&run(right).unwrap()["CiphertextBlob"])), b"secret");
    }
    for wrong in [
        &[("SourceKeyId", two.as_str())][..],
        &[("SourceKeyVersionId", other.as_str())],
        &[("SourceKeyId", &one), ("SourceKeyVersionId", &other)],
        &[("SourceKeyVersionId", "nonsense")],
    ] {
        assert_eq!(run(wrong), Err((400, "InvalidParameter")), "{wrong:?}");
    }
    let none = uuid::Uuid::new_v4().to_string();
    assert_eq!(run(&[("SourceKeyId", &none)]), Err((404, "Forbidden.KeyNotFound")));
}

fn plaintext_has_up_to_6144_bytes(bed: &Bed) {
    let key = bed.secret();
    for length in [0, 1, 6144] {
        let plaintext = vec![0x5a; length];
        assert_eq!(bed.decrypt(&bed.encrypt(&key, &plaintext)), plaintext);
    }
    let fault = bed.fault("Encrypt", &[("KeyId", &key), ("Plaintext", &to_base64(&[0; 6145]))]);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
    assert!(fault.message.starts_with("The specified parameter \"Plaintext\" is not valid."), "{}", fault.message);
}

fn a_changed_ciphertext_is_refused(bed: &Bed) {
    let key = bed.secret();
    let blob = from_base64(&serde_json::Value::String(bed.encrypt(&key, b"some plaintext")));
    for at in [36, 47, 48, 60, blob.len() - 1] {
        let mut changed = blob.clone();
        changed[at] ^= 0x80;
        let refused = bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&changed))]);
        assert_eq!(refused, (400, "InvalidParameter"), "byte {at}");
    }
    for length in [0, 1, 35, 36, 48, 63, blob.len() - 1] {
        let refused = bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&blob[..length]))]);
        assert_eq!(refused, (400, "InvalidParameter"), "{length} bytes");
    }
}

fn asymmetric_keys_do_not_encrypt(bed: &Bed) {
    for (spec, usage) in [("RSA_2048", "ENCRYPT/DECRYPT"), ("EC_P256", "SIGN/VERIFY")] {
        let key = bed.key(spec, usage);
        let refused = bed.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "YQ==")]);
        assert_eq!(refused, (400, "UnsupportedOperation"), "{spec}");
    }
    let version = bed.pair("RSA_2048", "ENCRYPT/DECRYPT").1;
    let blob = [version.as_bytes(), &[0; 40]].concat();
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&blob))]), (400, "InvalidParameter"));
}
