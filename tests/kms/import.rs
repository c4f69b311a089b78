//! Imported key material (S004 chapter 4.3 and 4.4), wrapped by the documents' openssl commands.

use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::protection::Protection;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::common::openssl;
use super::{START, World, text};
use crate::common::Home;

at_both_levels! {
    s004_092_to_096_101_to_104_109_110_the_documents_commands
    the_commands_of_our_page_wrap_by_rsa_and_aes
    s004_089_every_wrapping_brings_the_material_here
    what_rsa_and_aes_wrapped_is_undone_whole_or_not_at_all
    s004_091_another_wrapping_than_the_token_says_is_refused
    s004_083_and_084_the_same_material_comes_back_and_no_other
    s004_086_the_same_material_in_another_key_decrypts_nothing_of_the_first
    s004_054_a_blob_is_made_by_aes_256_in_counter_mode_under_the_material
    s004_087_material_has_256_bits
    the_trail_names_the_key_that_material_came_to
    s004_097_to_099_a_token_is_of_one_key_for_a_day
    s004_108_material_that_expires_stops_working_at_that_moment
    s004_081_material_made_here_is_not_deleted_alone
}

const ALGORITHMS: [&str; 5] = [
    "RSAES_PKCS1_V1_5",
    "RSAES_OAEP_SHA_1",
    "RSA_AES_KEY_WRAP_SHA_1",
    "RSAES_OAEP_SHA_256",
    "RSA_AES_KEY_WRAP_SHA_256",
];

/// The parameters of an import: token and public key.
pub fn parameters(world: &World, key: &str, algorithm: &str) -> (String, Vec<u8>) {
    let answer = world.done(
        "GetParametersForImport",
        &[("KeyId", key), ("WrappingAlgorithm", algorithm), ("WrappingKeySpec", "RSA_2048")],
    );
    (text(&answer, "/ImportToken"), STANDARD.decode(text(&answer, "/PublicKey")).unwrap())
}

/// Wraps as `algorithm` says.
pub fn wrap(public: &[u8], algorithm: &str, material: &[u8]) -> String {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("PublicKey.bin");
    std::fs::write(&file, public).unwrap();
    let padding = match algorithm {
        "RSAES_PKCS1_V1_5" => "-pkeyopt rsa_padding_mode:pkcs1",
        "RSAES_OAEP_SHA_1" | "RSA_AES_KEY_WRAP_SHA_1" => "-pkeyopt rsa_padding_mode:oaep",
        _ => "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256",
    };
    let words = format!("pkeyutl -encrypt -pubin -keyform DER -inkey {} {padding}", file.display());
    if !algorithm.starts_with("RSA_AES") {
        return STANDARD.encode(openssl(&words, material));
    }
    let inner = format!("enc -e -id-aes256-wrap-pad -iv A65959A6 -K {}", "3c".repeat(32));
    STANDARD.encode([openssl(&words, &[0x3c; 32]), openssl(&inner, material)].concat())
}

/// The best wrapping that the level can undo here.
pub fn wrapping(level: Level) -> &'static str {
    if level == Level::Software { "RSAES_OAEP_SHA_256" } else { "RSAES_OAEP_SHA_1" }
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

pub fn external(world: &World) -> String {
    world.key(&[("Origin", "EXTERNAL")])
}

fn s004_089_every_wrapping_brings_the_material_here(level: Level) {
    let world = World::new(level);
    // SoftHSM 2.6 has no OAEP with SHA-256, which is refused at once (below).
    let there = if level == Level::Software { 5 } else { 3 };
    for algorithm in &ALGORITHMS[..there] {
        let key = external(&world);
        assert_eq!(world.described(&key, "KeyState"), "PendingImport");
        import(&world, &key, algorithm, &[7; 32]).unwrap();
        assert_eq!(world.described(&key, "KeyState"), "Enabled", "S004-101");
        world.decrypts(&world.encrypt(&key)).unwrap();
    }
}

/// Two steps in SoftHSM 2.6. Whatever is wrong, and in whichever part, is answered in the same words.
fn what_rsa_and_aes_wrapped_is_undone_whole_or_not_at_all(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let algorithm = "RSA_AES_KEY_WRAP_SHA_1";
    let (token, public) = parameters(&world, &key, algorithm);
    let good = STANDARD.decode(wrap(&public, algorithm, &[7; 32])).unwrap();
    assert_eq!(good.len(), 256 + 40);
    let give = |wrapped: &[u8]| {
        let wrapped = STANDARD.encode(wrapped);
        let given = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        world.run("ImportKeyMaterial", &given).map(drop).map_err(|fault| (fault.code, fault.message))
    };
    let device = || world.kms().device().map(|device| device.ids().unwrap().len());
    let before = device();
    let mut wrong: Vec<Vec<u8>> = (1..good.len()).step_by(37).map(|length| good[..length].to_vec()).collect();
    wrong.extend([good[..256].to_vec(), good[256..].to_vec(), good[1..].to_vec(), [&good[..], &[0]].concat()]);
    wrong.push([&good[..256], &good[..40]].concat());
    wrong.push([&good[256..], &good[..256]].concat());
    for at in [0, 100, 255, 256, 263, 264, 295] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        wrong.push(flipped);
    }
    for length in [1, 8, 16, 24, 31, 33, 40, 64] {
        wrong.push(STANDARD.decode(wrap(&public, algorithm, &vec![7; length])).unwrap());
    }
    // RSA's part by another hash, and a key of another pair.
    let mixed = STANDARD.decode(wrap(&public, "RSA_AES_KEY_WRAP_SHA_256", &[7; 32])).unwrap();
    let (_, strange) = parameters(&world, &key, algorithm);
    wrong.extend([mixed, STANDARD.decode(wrap(&strange, algorithm, &[7; 32])).unwrap()]);
    let said = give(&[0; 296]).unwrap_err();
    assert_eq!(said.0, "InvalidKeyMaterial");
    for wrong in &wrong {
        assert_eq!(give(wrong), Err(said.clone()), "{} bytes", wrong.len());
    }
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
    assert_eq!(device(), before.map(|before| before + 1), "nothing is left there but the other pair");
    give(&good).unwrap();
    let blob = world.encrypt(&key);
    world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
    world.pass_days(1);
    assert_eq!(give(&good).unwrap_err().0, "ExpiredImportToken");
    import(&world, &key, "RSAES_OAEP_SHA_1", &[7; 32]).expect("it is the same material");
    world.decrypts(&blob).unwrap();
}

fn s004_091_another_wrapping_than_the_token_says_is_refused(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let (token, public) = parameters(&world, &key, wrapping(level));
    for other in ALGORITHMS {
        if other == wrapping(level) {
            continue;
        }
        let wrapped = wrap(&public, other, &[7; 32]);
        let given = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
        assert_eq!(world.refused("ImportKeyMaterial", &given), "InvalidKeyMaterial");
    }
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
}

fn s004_083_and_084_the_same_material_comes_back_and_no_other(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    import(&world, &key, wrapping(level), &[1; 32]).unwrap();
    let blob = world.encrypt(&key);
    world.done("DeleteKeyMaterial", &[("KeyId", &key)]);
    assert_eq!(world.described(&key, "KeyState"), "PendingImport", "S004-109");
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"), "S004-107");
    assert_eq!(import(&world, &key, wrapping(level), &[2; 32]), Err("InvalidKeyMaterial"));
    import(&world, &key, "RSAES_PKCS1_V1_5", &[1; 32]).unwrap();
    world.decrypts(&blob).unwrap();
    // Nor after it expired.
    let (token, public) = parameters(&world, &key, wrapping(level));
    let (wrapped, expires) = (wrap(&public, wrapping(level), &[1; 32]), (START + 60).to_string());
    let give = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
    world.done("ImportKeyMaterial", &[&give[..], &[("KeyMaterialExpireUnix", expires.as_str())]].concat());
    world.now.fetch_add(60, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(world.decrypts(&blob), Err("Rejected.PendingImport"));
    assert_eq!(import(&world, &key, wrapping(level), &[2; 32]), Err("InvalidKeyMaterial"));
    world.done("ImportKeyMaterial", &give);
    world.decrypts(&blob).unwrap();
}

fn s004_086_the_same_material_in_another_key_decrypts_nothing_of_the_first(level: Level) {
    let world = World::new(level);
    let (one, two) = (external(&world), external(&world));
    import(&world, &one, wrapping(level), &[1; 32]).unwrap();
    import(&world, &two, wrapping(level), &[1; 32]).unwrap();
    let ours = STANDARD.decode(world.encrypt(&one)).unwrap();
    let theirs = STANDARD.decode(world.encrypt(&two)).unwrap();
    // The first key's ciphertext under the second key's name.
    let forged = [&theirs[..36], &ours[36..]].concat();
    assert_eq!(world.decrypts(&STANDARD.encode(forged)), Err("InvalidParameter"));
}

/// With material that is known here: OpenSSL finds the plaintext by AES-256 and the counter that GCM begins with.
fn s004_054_a_blob_is_made_by_aes_256_in_counter_mode_under_the_material(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    import(&world, &key, wrapping(level), &[0x42; 32]).unwrap();
    let blob = world.done("Encrypt", &[("KeyId", &key), ("Plaintext", &STANDARD.encode("some plaintext"))]);
    let blob = STANDARD.decode(text(&blob, "/CiphertextBlob")).unwrap();
    let (iv, sealed) = (&blob[36..48], &blob[48..blob.len() - 16]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let words = format!("enc -d -aes-256-ctr -K {} -iv {}00000002", hex(&[0x42; 32]), hex(iv));
    assert_eq!(openssl(&words, sealed), b"some plaintext");
}

/// ImportKeyMaterial and DeleteKeyMaterial used to write down the name that the caller gave.
fn the_trail_names_the_key_that_material_came_to(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let arn = world.described(&key, "Arn");
    import(&world, &arn, wrapping(level), &[7; 32]).unwrap();
    world.done("DeleteKeyMaterial", &[("KeyId", &arn)]);
    let mut told = Vec::new();
    let mut keep = |line: &alikms_pkcs11::store::Audit| {
        told.extend((line.action.ends_with("KeyMaterial")).then(|| (line.action.clone(), line.resource.clone())));
        Ok(())
    };
    let all = alikms_pkcs11::model::time::Moment(0);
    world.kms().audit_trail(&alikms_pkcs11::model::caller::Caller::account(), all, &mut keep).unwrap();
    assert_eq!(told, [("ImportKeyMaterial".into(), key.clone()), ("DeleteKeyMaterial".into(), key)]);
}

fn s004_087_material_has_256_bits(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    for length in [0, 8, 16, 24, 31, 33, 40, 64] {
        let refused = import(&world, &key, wrapping(level), &vec![1; length]);
        assert_eq!(refused, Err("InvalidKeyMaterial"), "{length}");
    }
}

fn s004_097_to_099_a_token_is_of_one_key_for_a_day(level: Level) {
    let world = World::new(level);
    let (one, two) = (external(&world), external(&world));
    let (token, public) = parameters(&world, &one, "RSAES_OAEP_SHA_1");
    let wrapped = wrap(&public, "RSAES_OAEP_SHA_1", &[1; 32]);
    let give = |key: &str, token: &str| {
        let given = [("KeyId", key), ("EncryptedKeyMaterial", wrapped.as_str()), ("ImportToken", token)];
        world.run("ImportKeyMaterial", &given).map(drop).map_err(|fault| fault.code)
    };
    assert_eq!(give(&two, &token), Err("InvalidImportToken"));
    assert_eq!(give(&one, "Zm9yZ2Vk"), Err("InvalidImportToken"));
    // Of the same key, but of another public key.
    let (second, _) = parameters(&world, &one, "RSAES_OAEP_SHA_1");
    assert_eq!(give(&one, &second), Err("InvalidKeyMaterial"));
    give(&one, &token).unwrap();
    give(&one, &token).expect("it is good more than once");
    world.now.fetch_add(24 * 3600 - 1, std::sync::atomic::Ordering::SeqCst);
    give(&one, &token).expect("to the last second of its day");
    world.now.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(give(&one, &token), Err("ExpiredImportToken"));
    import(&world, &one, "RSAES_OAEP_SHA_1", &[1; 32]).expect("with a new token and a new public key");
}

fn s004_108_material_that_expires_stops_working_at_that_moment(level: Level) {
    let world = World::new(level);
    let key = external(&world);
    let (token, public) = parameters(&world, &key, wrapping(level));
    let wrapped = wrap(&public, wrapping(level), &[1; 32]);
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

fn s004_081_material_made_here_is_not_deleted_alone(level: Level) {
    let world = World::new(level);
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
    // Without ProtectionLevel HSM at creation the material goes elsewhere.
    let elsewhere = text(&world.done("CreateKey", &[("Origin", "EXTERNAL")]), "/KeyMetadata/KeyId");
    let before = device();
    import(&world, &elsewhere, "RSAES_OAEP_SHA_1", &[7; 32]).unwrap();
    assert_eq!((world.described(&elsewhere, "ProtectionLevel").as_str(), device()), ("SOFTWARE", before));
    world.decrypts(&world.encrypt(&elsewhere)).unwrap();
    world.pass_days(2);
    world.kms().maintain(&alikms_pkcs11::model::caller::Caller::account()).unwrap();
    assert_eq!(device(), 1, "the wrapping pairs went with their tokens");
    assert_eq!(world.kms().check(&alikms_pkcs11::model::caller::Caller::account()).unwrap(), []);
}

/// The pair that a token is of may go before the token does.
#[test]
fn a_token_without_its_pair_is_none() {
    let world = World::new(Level::Hsm);
    let key = external(&world);
    let (token, wrapped) = wrapped(&world, &key, "RSAES_OAEP_SHA_1", &[7; 32]);
    let device = world.kms().device().unwrap();
    let [pair] = device.ids().unwrap()[..] else { panic!("there is one pair") };
    device.destroy(pair, &device.material(pair)).unwrap();
    let give = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
    assert_eq!(world.refused("ImportKeyMaterial", &give), "InvalidImportToken");
    import(&world, &key, "RSAES_OAEP_SHA_1", &[7; 32]).unwrap();
}

/// SoftHSM does not tell the length; without objects of a session it cannot be made to prove it.
#[test]
fn s004_087_a_device_that_cannot_prove_the_length_takes_no_material() {
    let home = Home::bare(Level::Hsm);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let lacking =
        text.replace("profile = \"softhsm2\"", "profile = \"softhsm2\"\noverride = { session_objects = false }");
    assert_ne!(lacking, text);
    home.write("alikms.toml", lacking);
    home.init();
    let world = World::of(home, Level::Hsm);
    let key = external(&world);
    let (token, wrapped) = wrapped(&world, &key, "RSAES_OAEP_SHA_1", &[7; 32]);
    let before = world.kms().device().unwrap().ids().unwrap().len();
    let give = [("KeyId", key.as_str()), ("EncryptedKeyMaterial", &wrapped), ("ImportToken", &token)];
    let fault = world.run("ImportKeyMaterial", &give).unwrap_err();
    assert_eq!((fault.status, fault.code), (400, "UnsupportedOperation"));
    assert!(fault.message.contains("lacks telling how long a secret is"), "{}", fault.message);
    assert_eq!(world.described(&key, "KeyState"), "PendingImport");
    assert_eq!(world.kms().device().unwrap().ids().unwrap().len(), before, "nothing is left there");
}

#[test]
fn a_wrapping_that_the_device_cannot_undo_is_refused_at_once() {
    let world = World::new(Level::Hsm);
    let key = world.key(&[("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")]);
    let ask = [("KeyId", key.as_str()), ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"), ("WrappingKeySpec", "RSA_2048")];
    let fault = world.run("GetParametersForImport", &ask).unwrap_err();
    assert_eq!(fault.code, "UnsupportedOperation");
    assert!(fault.message.contains("Device softhsm lacks CKM_RSA_PKCS_OAEP with Sha256"), "{}", fault.message);
    // And what would do in its place.
    let others = "WrappingAlgorithm RSAES_PKCS1_V1_5, RSAES_OAEP_SHA_1 or RSA_AES_KEY_WRAP_SHA_1";
    assert!(fault.message.contains(others), "{}", fault.message);
    assert_eq!(world.kms().device().unwrap().ids().unwrap().len(), 0, "no pair is made for nothing");
}

/// For each way that is missing the sentence says what is, and which WrappingAlgorithm is left.
#[test]
fn a_device_with_fewer_ways_says_which_are_left() {
    let home = Home::new(Level::Hsm);
    let text = std::fs::read_to_string(home.config()).unwrap();
    let with = |names: &str| {
        let profile = format!("profile = \"softhsm2\"\noverride = {{ without = [{names}] }}");
        home.write("alikms.toml", text.replace("profile = \"softhsm2\"", &profile));
        let create = ["CreateKey", "--Origin", "EXTERNAL", "--ProtectionLevel", "HSM"];
        let key = home.query(&create, "KeyMetadata.KeyId");
        let ask = ["GetParametersForImport", "--KeyId", &key, "--WrappingKeySpec", "RSA_2048"];
        home.alikms([&ask[..], &["--WrappingAlgorithm", "RSA_AES_KEY_WRAP_SHA_1"]].concat()).stderr
    };
    let one = "C_UnwrapKey with CKM_RSA_AES_KEY_WRAP, and for two steps in its place";
    for (names, missing, left) in [
        ("'CKM_AES_KEY_WRAP_PAD'", "CKM_AES_KEY_WRAP_KWP", "RSAES_PKCS1_V1_5 or RSAES_OAEP_SHA_1"),
        ("'CKM_RSA_PKCS_OAEP'", "CKM_RSA_PKCS_OAEP", "RSAES_PKCS1_V1_5"),
    ] {
        let said = with(names);
        let whole = format!("{one} {missing}; it takes over key material with WrappingAlgorithm {left}");
        assert!(said.contains(&whole), "{said}");
    }
    let said = with("'CKM_RSA_PKCS_OAEP', 'CKM_RSA_PKCS'");
    assert!(said.contains("it takes over no key material of any WrappingAlgorithm"), "{said}");
    assert!(with("'CKM_RSA_PKCS_OEAP'").contains("no mechanism of use here is called CKM_RSA_PKCS_OEAP"));
}

/// Word for word, but for the level.
fn s004_092_to_096_101_to_104_109_110_the_documents_commands(level: Level) {
    let home = Home::new(level);
    let script = r#"
        set -eu
        openssl rand -out KeyMaterial.bin 32
        KEY=$(alikms CreateKey --Origin EXTERNAL --Description "External key" LEVEL --query KeyMetadata.KeyId)
        state() { alikms DescribeKey --KeyId $KEY --query KeyMetadata.KeyState; }
        state
        alikms GetParametersForImport --KeyId $KEY --WrappingAlgorithm RSAES_OAEP_SHA_1 --WrappingKeySpec RSA_2048 > parameters.json
        sed -n 's/.*"PublicKey": "\(.*\)".*/\1/p' parameters.json > PublicKey_base64.txt
        sed -n 's/.*"ImportToken": "\(.*\)".*/\1/p' parameters.json > token.txt
        openssl enc -d -base64 -A -in PublicKey_base64.txt -out PublicKey.bin
        openssl rsautl -encrypt -in KeyMaterial.bin -oaep -inkey PublicKey.bin -keyform DER -pubin -out EncryptedKeyMaterial.bin 2>/dev/null
        openssl enc -e -base64 -A -in EncryptedKeyMaterial.bin -out EncryptedKeyMaterial_base64.txt
        wc -c < EncryptedKeyMaterial_base64.txt
        import() { alikms ImportKeyMaterial --KeyId $KEY --EncryptedKeyMaterial $(cat EncryptedKeyMaterial_base64.txt) --ImportToken $(cat token.txt) > /dev/null; }
        import
        state
        alikms DeleteKeyMaterial --KeyId $KEY > /dev/null
        state
        import
        state
    "#;
    let said = shell(&home, &script.replace("LEVEL", &format!("--ProtectionLevel {}", level.name())));
    assert_eq!(said, ["PendingImport", "344", "Enabled", "PendingImport", "Enabled"]);
}

/// `docs/devices.md`.
fn the_commands_of_our_page_wrap_by_rsa_and_aes(level: Level) {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/devices.md")).unwrap();
    let block = page.split("```").find(|block| block.starts_with("sh\nopenssl rand -out between.bin")).unwrap();
    // SoftHSM has OAEP with SHA-1 only: as the page says.
    let hash = if level == Level::Hsm { "1" } else { "256" };
    let wrap = block.trim_start_matches("sh\n").replace("md:sha256", &format!("md:sha{hash}"));
    let home = Home::new(level);
    let said = shell(
        &home,
        &format!(
            "set -eu
            openssl rand -out KeyMaterial.bin 32
            KEY=$(alikms CreateKey --Origin EXTERNAL --ProtectionLevel {} --query KeyMetadata.KeyId)
            alikms GetParametersForImport --KeyId $KEY --WrappingAlgorithm RSA_AES_KEY_WRAP_SHA_{hash} --WrappingKeySpec RSA_2048 > parameters.json
            sed -n 's/.*\"PublicKey\": \"\\(.*\\)\".*/\\1/p' parameters.json | openssl enc -d -base64 -A -out PublicKey.bin
            sed -n 's/.*\"ImportToken\": \"\\(.*\\)\".*/\\1/p' parameters.json > token.txt
            {wrap}
            openssl enc -e -base64 -A -in EncryptedKeyMaterial.bin -out EncryptedKeyMaterial_base64.txt
            alikms ImportKeyMaterial --KeyId $KEY --EncryptedKeyMaterial-FILE EncryptedKeyMaterial_base64.txt --ImportToken-FILE token.txt > /dev/null
            alikms DescribeKey --KeyId $KEY --query KeyMetadata.KeyState
            ",
            level.name()
        ),
    );
    assert_eq!(said, ["Enabled"]);
}

/// What these commands print, in this installation's folder.
fn shell(home: &Home, script: &str) -> Vec<String> {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_alikms")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", script]).current_dir(home.folder()).env("PATH", path).env("ALIKMS_CONF", home.config());
    let output = shell.output().unwrap();
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{errors}");
    out.lines().map(str::to_owned).collect()
}
