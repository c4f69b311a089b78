//! No answer has anything of a private key in it, and versions of a key have nothing in common.

use alikms_pkcs11::api::{ACTIONS, help};
use alikms_pkcs11::model::public::PublicKey;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use p256::ecdsa::SigningKey;
use rsa::BigUint;
use serde_json::Value;

use crate::bed::{Bed, DIGEST, from_base64, text, to_base64, unique};

at_both_levels! {
    s004_047_048_050_whatever_is_asked_no_answer_has_the_private_key
    s004_151_versions_have_nothing_in_common
}

/// What is public of a key, as OpenSSL writes it.
fn public(bed: &Bed, key: &str, version: &str) -> PublicKey {
    let pem = text(&bed.ok("GetPublicKey", &[("KeyId", key), ("KeyVersionId", version)])["PublicKey"]);
    PublicKey::from_spki(&unarmoured(&pem)).unwrap()
}

fn unarmoured(pem: &str) -> Vec<u8> {
    let lines: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    STANDARD.decode(lines).unwrap_or_default()
}

/// Is the private half of this key, or what it can be made of, among these bytes?
fn betrays(public: &PublicKey, bytes: &[u8]) -> bool {
    match public {
        // The scalar.
        PublicKey::Ec { point, .. } => bytes.windows(32).any(|window| {
            SigningKey::from_slice(window)
                .is_ok_and(|key| key.verifying_key().to_sec1_point(false).as_bytes() == point.as_slice())
        }),
        // A prime.
        PublicKey::Rsa { modulus, .. } => {
            let modulus = BigUint::from_bytes_be(modulus);
            bytes
                .windows(128)
                .map(BigUint::from_bytes_be)
                .any(|number| number.bits() > 1000 && &modulus % &number == BigUint::from(0u8))
        }
    }
}

/// The same of a text, however it may be written there.
fn tells(public: &PublicKey, said: &Value) -> bool {
    match said {
        Value::String(text) => {
            let hex = (0..text.len() / 2).map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok());
            let forms = [
                STANDARD.decode(text).unwrap_or_default(),
                unarmoured(text),
                hex.collect::<Option<_>>().unwrap_or_default(),
            ];
            forms.iter().any(|bytes| betrays(public, bytes))
        }
        Value::Array(items) => items.iter().any(|item| tells(public, item)),
        Value::Object(fields) => fields.values().any(|field| tells(public, field)),
        _ => false,
    }
}

/// What was found would be found: a key of our own in the forms in which it might slip out.
#[test]
fn a_private_key_in_an_answer_would_be_noticed() {
    let scalar = [0x2a; 32];
    let point = SigningKey::from_slice(&scalar).unwrap().verifying_key().to_sec1_point(false).as_bytes().to_vec();
    let ours = PublicKey::Ec { curve: alikms_pkcs11::model::curve::Curve::P256, point };
    let der = [&[0x30, 0x77, 2, 1, 1, 4, 32][..], &scalar, &[0xa0, 10]].concat();
    let hex: String = der.iter().map(|byte| format!("{byte:02x}")).collect();
    let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n", to_base64(&der));
    for form in [to_base64(&der), hex, pem, to_base64(&scalar)] {
        assert!(tells(&ours, &serde_json::json!({ "A": [{ "B": form }] })), "{form}");
    }
    assert!(!tells(&ours, &serde_json::json!({ "A": to_base64(&[0x2b; 100]) })));
}

/// Every action, asked about a pair with all that can be said of it; what changes it comes last.
fn s004_047_048_050_whatever_is_asked_no_answer_has_the_private_key(bed: &Bed) {
    let last = |name: &str| ["Delete", "Schedule", "Disable", "Untag"].iter().any(|word| name.starts_with(word));
    for (spec, usage, algorithm) in
        [("EC_P256", "SIGN/VERIFY", "ECDSA_SHA_256"), ("RSA_2048", "ENCRYPT/DECRYPT", "RSAES_OAEP_SHA_256")]
    {
        let (key, version) = bed.pair(spec, usage);
        let ours = public(bed, &key, &version);
        let by = [("KeyId", key.as_str()), ("KeyVersionId", &version), ("Algorithm", algorithm)];
        let made = match usage {
            "SIGN/VERIFY" => text(&bed.ok("AsymmetricSign", &[&by[..], &[("Digest", DIGEST)]].concat())["Value"]),
            _ => text(&bed.ok("AsymmetricEncrypt", &[&by[..], &[("Plaintext", "YQ==")]].concat())["CiphertextBlob"]),
        };
        let arn = text(&bed.describe(&key)["Arn"]);
        let list = format!("[\"{key}\"]");
        let alias = unique("secrecy");
        let known = [
            ("KeyId", key.as_str()),
            ("KeyVersionId", &version),
            ("Algorithm", algorithm),
            ("Digest", DIGEST),
            ("Value", &made),
            ("Plaintext", "YQ=="),
            ("CiphertextBlob", &made),
            ("AliasName", &alias),
            ("CertificateId", &key),
            ("ProtectedResourceArn", &arn),
            ("EnableDeletionProtection", "false"),
            ("EnableAutomaticRotation", "false"),
            ("Description", "x"),
            ("Tags", r#"[{"TagKey":"k","TagValue":"v"}]"#),
            ("TagKeys", r#"["k"]"#),
            ("RegionId", crate::common::REGION),
            ("ResourceType", "key"),
            ("ResourceId", &list),
            ("DestinationKeyId", &key),
            ("SourceKeyId", &key),
            ("SourceKeyVersionId", &version),
            ("WrappingAlgorithm", "RSAES_OAEP_SHA_1"),
            ("WrappingKeySpec", "RSA_2048"),
        ];
        let (first, second): (Vec<_>, Vec<_>) = ACTIONS.iter().partition(|entry| !last(entry.name));
        let mut answered = 0;
        for entry in first.into_iter().chain(second) {
            let names = help::parameters(entry);
            let fitting = |(name, _): &&(&str, &str)| names.iter().any(|parameter| parameter.name == *name);
            let given: Vec<_> = known.iter().filter(fitting).copied().collect();
            match bed.run(entry.name, &given) {
                Ok(answer) => {
                    answered += 1;
                    assert!(!tells(&ours, &answer), "{}: {answer}", entry.name);
                }
                Err(fault) => {
                    assert!(!tells(&ours, &Value::String(fault.message.clone())), "{}: {fault:?}", entry.name)
                }
            }
        }
        assert!(answered > 20, "{answered} of {} actions answered", ACTIONS.len());
    }
}

/// Random numbers apart: no prime in common, no point that follows from another; and no version opens what another sealed.
fn s004_151_versions_have_nothing_in_common(bed: &Bed) {
    let versions = |spec, usage| {
        let key = bed.key(spec, usage);
        (0..2).for_each(|_| drop(bed.ok("CreateKeyVersion", &[("KeyId", &key)])));
        let all = bed.versions(&key);
        (key, all)
    };
    let (key, all) = versions("RSA_2048", "SIGN/VERIFY");
    let moduli: Vec<BigUint> = all
        .iter()
        .map(|version| match public(bed, &key, version) {
            PublicKey::Rsa { modulus, .. } => BigUint::from_bytes_be(&modulus),
            other => panic!("{other:?}"),
        })
        .collect();
    for (at, one) in moduli.iter().enumerate() {
        for other in &moduli[at + 1..] {
            let (mut a, mut b) = (one.clone(), other.clone());
            while b != BigUint::from(0u8) {
                (a, b) = (b.clone(), &a % &b);
            }
            assert_eq!(a, BigUint::from(1u8), "a prime in common");
        }
    }
    let (key, all) = versions("EC_P256", "SIGN/VERIFY");
    let points: Vec<p256::ProjectivePoint> = all
        .iter()
        .map(|version| match public(bed, &key, version) {
            PublicKey::Ec { point, .. } => p256::PublicKey::from_sec1_bytes(&point).unwrap().to_projective(),
            other => panic!("{other:?}"),
        })
        .collect();
    let [one, two, three] = points[..] else { panic!("{all:?}") };
    // A counter or a factor would make steps of one kind.
    let (step, next) = (two - one, three - two);
    assert!(step != next && step != -next && two != one + one && three != one + one && two != -one);
    let small: Vec<_> = std::iter::successors(Some(p256::ProjectivePoint::GENERATOR), |sum| {
        Some(*sum + p256::ProjectivePoint::GENERATOR)
    })
    .take(64)
    .collect();
    assert!([step, next, three - one].iter().all(|step| !small.contains(step) && !small.contains(&-step)));

    let key = bed.secret();
    let old = from_base64(&Value::String(bed.encrypt(&key, b"secret")));
    bed.ok("CreateKeyVersion", &[("KeyId", &key)]);
    let [_, newer] = &bed.versions(&key)[..] else { panic!() };
    let moved = [newer.as_bytes(), &old[36..]].concat();
    assert_eq!(bed.refused("Decrypt", &[("CiphertextBlob", &to_base64(&moved))]), (400, "InvalidParameter"));
}
