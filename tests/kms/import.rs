//! Imported key material (S004 chapter 4.3 and 4.4), wrapped by the documents' openssl commands.

use alikms_pkcs11::model::key::Level;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::common::openssl;
use super::{START, World, text};
use crate::common::Home;

/// The parameters of an import: token and public key.
fn parameters(world: &World, key: &str, algorithm: &str) -> (String, Vec<u8>) {
    let answer = world.done(
        "GetParametersForImport",
        &[("KeyId", key), ("WrappingAlgorithm", algorithm), ("WrappingKeySpec", "RSA_2048")],
    );
    (text(&answer, "/ImportToken"), STANDARD.decode(text(&answer, "/PublicKey")).unwrap())
}

/// Wraps as `algorithm` says.
fn wrap(public: &[u8], algorithm: &str, material: &[u8]) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("PublicKey.bin");
    std::fs::write(&file, public).unwrap();
    let padding = match algorithm {
        "RSAES_PKCS1_V1_5" => "-pkeyopt rsa_padding_mode:pkcs1",
        "RSAES_OAEP_SHA_1" => "-pkeyopt rsa_padding_mode:oaep",
        _ => "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
    };
    let words = format!("pkeyutl -encrypt -pubin -keyform DER -inkey {} {padding}", file.display());
    STANDARD.encode(openssl(&words, material))
}

/// Token and wrapped material.
pub fn wrapped(world: &World, key: &str, algorithm: &str, material: &[u8]) -> (String, String) {
    let (token, public) = parameters(world, key, algorithm);
    (token, wrap(&public, algorithm, material))
}

pub fn import(world: &World, key: &str, algorithm: &str, material: &[u8]) -> Result<(), &'static str> {
    let (token, wrapped) = wrapped(world, key, algorithm, material);
    let given = [("KeyId", key), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
    world.run("ImportKeyMaterial", &given).map(drop).map_err(|fault| fault.code)
}

fn external(world: &World) -> String {
    world.key(&[("Origin", "EXTERNAL")])
}

#[test]
fn s004_089_every_wrapping_brings_the_material_here() {
    let world = World::new(Level::Software);
    for algorithm in ["RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256"] {
        let key = external(&world);
        assert_eq!(world.described(&key, "KeyState"), "PendingImport");
        import(&world, &key, algorithm, &[7; 32]).unwrap();
        assert_eq!(world.described(&key, "KeyState"), "Enabled", "S004-101");
        world.decrypts(&world.encrypt(&key)).unwrap();
    }
}

#[test]
fn s004_091_another_wrapping_than_the_token_says_is_refused() {
    let world = World::new(Level::Software);
    let key = external(&world);
    let (token, public) = parameters(&world, &key, "RSAES_OAEP_SHA_256");
    for other in ["RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_1"] {
        let wrapped = wrap(&public, other, &[7; 32]);
        let given = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        assert_eq!(world.refused("ImportKeyMaterial", &given), "InvalidKeyMaterial");
    }
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
}

#[test]
fn s004_083_and_084_the_same_material_comes_back_and_no_other() {
    let world = World::new(Level::Software);
    let key = external(&world);
    import(&world, &key, "RSAES_OAEP_SHA_256", &[1; 32]).unwrap();
    let blob = world.encrypt(&key);
    world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "KeyState"), "PendingImport", "S004-109");
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"), "S004-107");
    assert_eq!(import(&world, &key, "RSAES_OAEP_SHA_256", &[2; 32]), Err("InvalidKeyMaterial"));
    import(&world, &key, "RSAES_PKCS1_V1_5", &[1; 32]).unwrap();
    world.decrypts(&blob).unwrap();
}

#[test]
fn s004_086_the_same_material_in_another_key_decrypts_nothing_of_the_first() {
    let world = World::new(Level::Software);
    let (one, two) = (external(&world), external(&world));
    import(&world, &one, "RSAES_OAEP_SHA_256", &[1; 32]).unwrap();
    import(&world, &two, "RSAES_OAEP_SHA_256", &[1; 32]).unwrap();
    let ours = STANDARD.decode(world.encrypt(&one)).unwrap();
    let theirs = STANDARD.decode(world.encrypt(&two)).unwrap();
    // The first key's ciphertext under the second key's name.
    let forged = [&theirs[..36], &ours[36..]].concat();
    assert_eq!(world.decrypts(&STANDARD.encode(forged)), Err("InvalidParameter"));
}

#[test]
fn s004_087_material_has_256_bits() {
    let world = World::new(Level::Software);
    let key = external(&world);
    for length in [0, 16, 31, 33, 64] {
        let refused = import(&world, &key, "RSAES_OAEP_SHA_256", &vec![1; length]);
        assert_eq!(refused, Err("InvalidKeyMaterial"), "{length}");
    }
}

#[test]
fn s004_097_to_099_a_token_is_of_one_key_for_a_day() {
    let world = World::new(Level::Software);
    let (one, two) = (external(&world), external(&world));
    let (token, public) = parameters(&world, &one, "RSAES_OAEP_SHA_1");
    let wrapped = wrap(&public, "RSAES_OAEP_SHA_1", &[1; 32]);
    let give = |key: &str, token: &str| {
        let given = [("KeyId", key), ("EncryptedKeyMaterial", wrapped.as_str()), ("ImportToken", token)];
        world.run("ImportKeyMaterial", &given).map(drop).map_err(|fault| fault.code)
    };
    assert_eq!(give(&two, &token), Err("InvalidImportToken"));
    assert_eq!(give(&one, "Zm9yZ2Vk"), Err("InvalidImportToken"));
    give(&one, &token).unwrap();
    give(&one, &token).expect("it is good more than once");
    world.pass_days(1);
    assert_eq!(give(&one, &token), Err("ExpiredImportToken"));
}

#[test]
fn s004_108_material_that_expires_stops_working_at_that_moment() {
    let world = World::new(Level::Software);
    let key = external(&world);
    let (token, public) = parameters(&world, &key, "RSAES_OAEP_SHA_256");
    let wrapped = wrap(&public, "RSAES_OAEP_SHA_256", &[1; 32]);
    let give = |expires: i64| {
        let expires = expires.to_string();
        let given = [
            ("KeyId", key.as_str()),
            ("EncryptedKeyMaterial", &wrapped),
            ("ImportToken", &token),
            ("KeyMaterialExpireUnix", &expires),
        ];
        world.run("ImportKeyMaterial", &given).map(drop).map_err(|fault| fault.code)
    };
    assert_eq!(give(START - 1), Err("InvalidParameter"), "in the past");
    give(START + 3600).unwrap();
    assert_eq!(world.described(&key, "MaterialExpireTime"), "2026-01-01T01:00:00Z");
    let blob = world.encrypt(&key);
    world.now.fetch_add(3599, std::sync::atomic::Ordering::SeqCst);
    world.decrypts(&blob).unwrap();
    world.now.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"));
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
    give(0).expect("S004-096: imported again to reset the expiration");
    world.decrypts(&blob).unwrap();
}

#[test]
fn s004_081_material_made_here_is_not_deleted_alone() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    assert_eq!(world.refused("DeleteKeyMaterial", &[("KeyId", &key)]), "Unsupported.Origin");
    let ask = [("KeyId", key.as_str()), ("WrappingAlgorithm", "RSAES_OAEP_SHA_1"), ("WrappingKeySpec", "RSA_2048")];
    assert_eq!(world.refused("GetParametersForImport", &ask), "Unsupported.Origin");
}

/// SoftHSM 2.6 unwraps with PKCS#1 v1.5 and OAEP with SHA-1.
#[test]
fn s004_147_and_148_material_is_unwrapped_in_the_device() {
    let world = World::new(Level::Hsm);
    let device = || world.kms().device().unwrap().ids().unwrap().len();
    let key = world.key(&[("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")]);
    for algorithm in ["RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_1"] {
        import(&world, &key, algorithm, &[7; 32]).unwrap();
        assert_eq!(world.described(&key, "KeyState"), "Enabled");
        let blob = world.encrypt(&key);
        world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
        assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"));
        let before = device();
        assert_eq!(import(&world, &key, algorithm, &[8; 32]), Err("InvalidKeyMaterial"), "S004-084");
        assert_eq!(import(&world, &key, algorithm, &[7; 16]), Err("InvalidKeyMaterial"), "it is not the same");
        assert_eq!(device(), before + 2, "what was refused is gone, the two wrapping pairs wait for their tokens' end");
        import(&world, &key, algorithm, &[7; 32]).unwrap();
        world.decrypts(&blob).unwrap();
        import(&world, &key, algorithm, &[7; 32]).expect("S004-096: again, while it is there");
        world.decrypts(&blob).unwrap();
    }
    assert!(device() > 1);
    world.pass_days(2);
    world.kms().maintain(&alikms_pkcs11::model::caller::Caller::account()).unwrap();
    assert_eq!(device(), 1, "the wrapping pairs went with their tokens");
    assert_eq!(world.kms().check(&alikms_pkcs11::model::caller::Caller::account()).unwrap(), []);
}

#[test]
fn a_wrapping_that_the_device_cannot_undo_is_refused_at_once() {
    let world = World::new(Level::Hsm);
    let key = world.key(&[("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")]);
    let ask = [("KeyId", key.as_str()), ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"), ("WrappingKeySpec", "RSA_2048")];
    let fault = world.run("GetParametersForImport", &ask).unwrap_err();
    assert_eq!(fault.code, "UnsupportedOperation");
    assert!(fault.message.contains("Device softhsm lacks CKM_RSA_PKCS_OAEP with Sha256"), "{}", fault.message);
}

/// S004-092 to S004-104, word for word.
#[test]
fn s004_102_to_104_the_documents_commands() {
    let home = Home::new(Level::Software);
    let script = r#"
        set -eu
        openssl rand -out KeyMaterial.bin 32
        KEY=$(alikms CreateKey --Origin EXTERNAL --Description "External key" --query KeyMetadata.KeyId)
        alikms GetParametersForImport --KeyId $KEY --WrappingAlgorithm RSAES_OAEP_SHA_1 --WrappingKeySpec RSA_2048 > parameters.json
        sed -n 's/.*"PublicKey": "\(.*\)".*/\1/p' parameters.json > PublicKey_base64.txt
        sed -n 's/.*"ImportToken": "\(.*\)".*/\1/p' parameters.json > token.txt
        openssl enc -d -base64 -A -in PublicKey_base64.txt -out PublicKey.bin
        openssl rsautl -encrypt -in KeyMaterial.bin -oaep -inkey PublicKey.bin -keyform DER -pubin -out EncryptedKeyMaterial.bin 2>/dev/null
        openssl enc -e -base64 -A -in EncryptedKeyMaterial.bin -out EncryptedKeyMaterial_base64.txt
        alikms ImportKeyMaterial --KeyId $KEY --EncryptedKeyMaterial $(cat EncryptedKeyMaterial_base64.txt) --ImportToken $(cat token.txt)
        alikms DescribeKey --KeyId $KEY --query KeyMetadata.KeyState
    "#;
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_alikms")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).current_dir(home.folder()).env("PATH", path).env("ALIKMS_CONF", home.config());
    let output = shell.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(out.lines().last(), Some("Enabled"), "{out}{errors}");
}
