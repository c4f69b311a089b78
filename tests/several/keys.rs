//! Keys that are made, imported, used and destroyed in every device of a token.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use alikms_pkcs11::model::caller::Caller;
use cryptoki_sys::*;
use uuid::Uuid;

use crate::bed::*;
use crate::support::{Attr, P256, Setup, b, u, v};

const SPECS: [&str; 5] = ["RSA_2048", "EC_P256", "EC_P256K", "Aliyun_AES_256", "EC_P256"];

#[test]
fn a_new_key_is_in_every_device_and_can_be_taken_from_none() {
    let bed = Bed::new(3);
    let service = bed.service();
    let kms = token(&service);
    let keys: Vec<String> = SPECS.iter().map(|spec| create(kms, spec).unwrap()).collect();
    // And what replicates them.
    let ids = bed.ids(0);
    assert_eq!(ids.len(), keys.len() + 1);
    for member in 0..3 {
        assert_eq!(bed.ids(member), ids, "each device has the same");
        for kind in ["privkey", "secrkey"] {
            let listed = bed.tool_done(member, &["--list-objects", "--type", kind]);
            let access: Vec<&str> = listed.lines().filter(|line| line.contains("Access:")).collect();
            assert!(!access.is_empty());
            for line in access {
                assert!(line.contains("sensitive") && !line.contains(" extractable"), "{line}");
            }
        }
        let public = bed.tool_done(member, &["--list-objects", "--type", "pubkey"]);
        assert_eq!(public.lines().filter(|line| line.contains("ID:")).count(), 4, "{public}");
    }
    assert_eq!(kms.check(&Caller::account()).unwrap(), []);
    assert_eq!(bed.sync(), [""; 0]);
    // A version is a key like any other.
    done(kms, "CreateKeyVersion", &[("KeyId", &keys[0])]);
    assert!((0..3).all(|member| bed.ids(member).len() == keys.len() + 2));
    // Each device alone will do for each key.
    for member in 0..3 {
        (0..3).filter(|other| *other != member).for_each(|other| bed.take_away(other));
        let service = bed.service();
        signs(token(&service), &keys[1]).unwrap();
        crypts(token(&service), &keys[3]).unwrap();
        (0..3).filter(|other| *other != member).for_each(|other| bed.bring_back(other));
    }
    for key in &keys {
        done(kms, "ScheduleKeyDeletion", &[("KeyId", key), ("PendingWindowInDays", "7")]);
    }
    let later = bed.service_in(8 * 86_400);
    assert_eq!(token(&later).maintain(&Caller::account()).unwrap().len(), keys.len());
    for member in 0..3 {
        assert_eq!(bed.ids(member).len(), 1, "only what replicates is left");
    }
}

/// The wrapped key that the store keeps is of no use to whoever may work with the device: it makes nothing that can be
/// taken out.
#[test]
fn what_replicates_makes_only_keys_that_stay() {
    let bed = Bed::new(2);
    let service = bed.service();
    create(token(&service), "Aliyun_AES_256").unwrap();
    let listed = bed.tool_done(0, &["--list-objects", "--type", "secrkey"]);
    let replication = listed.split("Secret Key Object").find(|one| one.contains("wrap")).unwrap();
    let usage = replication.lines().find(|line| line.contains("Usage:")).unwrap();
    assert!(usage.contains("wrap, unwrap") && !usage.contains("crypt"), "{usage}");
    let id = replication.lines().find_map(|line| line.trim().strip_prefix("ID:")).unwrap().trim();
    // Anything that is wrapped under it will do.
    let wrapped = bed.installation.path("wrapped");
    let file = wrapped.to_str().unwrap();
    bed.tool_done(0, &["--keygen", "--key-type", "AES:32", "--id", "77", "--extractable", "--sensitive"]);
    bed.tool_done(0, &["--wrap", "--mechanism", "0x210A", "--id", id, "--application-id", "77", "-o", file]);
    let unwrap = ["--unwrap", "--mechanism", "0x210A", "--id", id, "--key-type", "AES:", "-i", file];
    let free = bed.tool(0, &[&unwrap[..], &["--application-id", "78", "--extractable"]].concat());
    let said = String::from_utf8_lossy(&free.stderr).into_owned();
    assert!(!free.status.success() && said.contains("CKR_TEMPLATE_INCONSISTENT"), "{said}");
    bed.tool_done(0, &[&unwrap[..], &["--application-id", "79", "--sensitive"]].concat());
}

/// What could not be told from another key in its place is not made.
#[test]
fn a_key_that_cannot_be_known_again_is_refused() {
    let bed = Bed::new(2);
    let client = bed.installation.client();
    let before = bed.ids(0);
    let template = |more: &[Attr]| [&[b(CKA_TOKEN, true), u(CKA_VALUE_LEN, 32)], more].concat();
    let wraps = template(&[b(CKA_ENCRYPT, false), b(CKA_DECRYPT, false), b(CKA_WRAP, true), b(CKA_UNWRAP, true)]);
    assert_eq!(client.generate(CKM_AES_KEY_GEN, &wraps), Err(CKR_MECHANISM_INVALID));
    let agrees = [b(CKA_TOKEN, true), b(CKA_SIGN, false), b(CKA_DERIVE, true)];
    let public = [b(CKA_TOKEN, true), b(CKA_VERIFY, false), v(CKA_EC_PARAMS, P256)];
    assert_eq!(client.generate_pair(CKM_EC_KEY_PAIR_GEN, &public, &agrees), Err(CKR_MECHANISM_INVALID));
    assert_eq!((bed.ids(0), bed.ids(1)), (before.clone(), before));
    let mac = [b(CKA_TOKEN, true), b(CKA_SIGN, true), b(CKA_VERIFY, true), u(CKA_VALUE_LEN, 32)];
    let mac = client.generate(CKM_GENERIC_SECRET_KEY_GEN, &mac).unwrap();
    let right = client.sign(CKM_SHA256_HMAC, mac, b"this is data").unwrap();
    for _ in 0..4 {
        assert_eq!(client.sign(CKM_SHA256_HMAC, mac, b"this is data").unwrap(), right);
    }
    assert_eq!(bed.check(), [""; 0]);
}

/// The agent has the devices.
#[test]
fn an_agent_has_several_devices() {
    let sockets = tempfile::Builder::new().prefix("alikms-").tempdir_in("/tmp").unwrap();
    let socket = sockets.path().join("agent.sock");
    let bed = Bed::with(&Setup {
        members: 2,
        device_lines: "device_mode = \"agent\"\n".to_owned(),
        tables: format!("[agent]\nsocket = \"{}\"\n", socket.display()),
        token: "quorum = 1\n",
        ..Setup::default()
    });
    let mut agent = bed.installation.command(env!("CARGO_BIN_EXE_alikms"));
    let mut agent = agent.arg("agent").stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut said).unwrap();
    let service = bed.service();
    let kms = token(&service);
    let keys = ["EC_P256", "Aliyun_AES_256"].map(|spec| create(kms, spec).unwrap());
    let use_all = || {
        let kms = token(&service);
        (0..4).for_each(|_| signs(kms, &keys[0]).unwrap());
        crypts(kms, &keys[1]).unwrap();
    };
    use_all();
    bed.take_away(1);
    use_all();
    let late = create(kms, "EC_P256").unwrap();
    bed.bring_back(1);
    // The agent asks a device that was lost again after half a second.
    let end = Instant::now() + Duration::from_secs(20);
    while bed.sync().iter().all(|one| !one.starts_with("true gave")) {
        assert!(Instant::now() < end, "{:?}", bed.sync());
    }
    let given = [("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")];
    let outer = done(kms, "CreateKey", &given)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    import(&bed, kms, &outer, BOTH, &[7; 32]).unwrap();
    bed.take_away(0);
    use_all();
    signs(kms, &late).unwrap();
    crypts(kms, &outer).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();
}

#[test]
fn imported_material_comes_to_every_device() {
    let bed = Bed::new(2);
    let service = bed.service();
    let kms = token(&service);
    let given = [("Origin", "EXTERNAL"), ("ProtectionLevel", "HSM")];
    let key = done(kms, "CreateKey", &given)["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    for algorithm in [OAEP, BOTH] {
        for length in [8, 16, 24, 31, 33, 40, 64] {
            let refused = import(&bed, kms, &key, algorithm, &vec![7; length]).unwrap_err();
            assert!(refused.contains("\"InvalidKeyMaterial\""), "{algorithm}, {length} bytes: {refused}");
        }
    }
    let later = bed.service_in(2 * 86_400);
    assert!(token(&later).check(&Caller::account()).unwrap().iter().all(|finding| finding.repaired));
    assert_eq!((bed.ids(0).len(), bed.ids(1).len()), (1, 1), "what replicates");
    import(&bed, kms, &key, OAEP, &[7; 32]).unwrap();
    let material: Vec<Vec<Uuid>> = (0..2).map(|member| bed.ids(member)).collect();
    assert_eq!(material[0], material[1]);
    assert_eq!(material[0].len(), 3, "the material, what wrapped it, and what replicates");
    crypts(kms, &key).unwrap();
    for member in 0..2 {
        bed.take_away(member);
        crypts(token(&bed.service()), &key).unwrap();
        bed.bring_back(member);
    }
    // S004-084: the same material again, and no other.
    done(kms, "DeleteKeyMaterial", &[("KeyId", &key)]);
    assert!(import(&bed, kms, &key, BOTH, &[8; 32]).is_err());
    import(&bed, kms, &key, BOTH, &[7; 32]).unwrap();
    crypts(kms, &key).unwrap();
    let later = bed.service_in(2 * 86_400);
    assert!(token(&later).check(&Caller::account()).unwrap().iter().all(|finding| finding.repaired));
    for member in 0..2 {
        assert_eq!(bed.ids(member).len(), 2, "the pairs went with their tokens");
    }
}

const OAEP: &str = "RSAES_OAEP_SHA_1";
/// Two steps in SoftHSM 2.6.
const BOTH: &str = "RSA_AES_KEY_WRAP_SHA_1";

fn import(bed: &Bed, kms: &alikms_pkcs11::kms::Kms, key: &str, algorithm: &str, material: &[u8]) -> Result<(), String> {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let given = [("KeyId", key), ("WrappingAlgorithm", algorithm), ("WrappingKeySpec", "RSA_2048")];
    let asked = done(kms, "GetParametersForImport", &given);
    let directory = bed.installation.path("");
    let public = STANDARD.decode(asked["PublicKey"].as_str().unwrap()).unwrap();
    std::fs::write(directory.join("public.der"), public).unwrap();
    let (key_bytes, inner) = between(&directory, material);
    std::fs::write(directory.join("material"), if algorithm == BOTH { &key_bytes } else { material }).unwrap();
    let words = "pkeyutl -encrypt -pubin -keyform DER -inkey public.der -in material -pkeyopt rsa_padding_mode:oaep";
    let mut wrapped = crate::support::openssl(&directory, &words.split(' ').collect::<Vec<_>>()).unwrap();
    if algorithm == BOTH {
        wrapped.extend(inner);
    }
    let given = [
        ("KeyId", key),
        ("EncryptedKeyMaterial", &STANDARD.encode(wrapped)),
        ("ImportToken", asked["ImportToken"].as_str().unwrap()),
        ("KeyMaterialExpireUnix", "0"),
    ];
    act(kms, "ImportKeyMaterial", &given).map(drop).map_err(|fault| format!("{fault:?}"))
}

/// An AES key, and the material wrapped by it.
fn between(directory: &std::path::Path, material: &[u8]) -> ([u8; 32], Vec<u8>) {
    std::fs::write(directory.join("inside"), material).unwrap();
    let key = format!("enc -e -id-aes256-wrap-pad -iv A65959A6 -in inside -K {}", "06".repeat(32));
    ([6; 32], crate::support::openssl(directory, &key.split(' ').collect::<Vec<_>>()).unwrap())
}

/// As a cluster does it: here both devices are one token.
#[test]
fn devices_that_replicate_by_themselves_are_waited_for() {
    let lines = "override = { replicates = true }\n".to_owned();
    let bed = Bed::with(&Setup { members: 2, same_token: true, device_lines: lines, ..Setup::default() });
    let service = bed.service();
    let kms = token(&service);
    let keys = ["EC_P256", "Aliyun_AES_256"].map(|spec| create(kms, spec).unwrap());
    assert_eq!(bed.ids(0).len(), keys.len(), "nothing else is needed");
    signs(kms, &keys[0]).unwrap();
    crypts(kms, &keys[1]).unwrap();
    assert_eq!(bed.sync(), [""; 0]);
    done(kms, "ScheduleKeyDeletion", &[("KeyId", &keys[0]), ("PendingWindowInDays", "7")]);
    assert_eq!(token(&bed.service_in(8 * 86_400)).maintain(&Caller::account()).unwrap().len(), 1);
    assert_eq!(bed.ids(0).len(), 1);
}

/// And those that only say so are found out.
#[test]
fn a_key_that_is_not_replicated_is_not_answered() {
    let lines = "override = { replicates = true }\n".to_owned();
    let bed = Bed::with(&Setup { members: 2, device_lines: lines, ..Setup::default() });
    let service = bed.service();
    let fault = create(token(&service), "EC_P256").unwrap_err();
    assert_eq!(fault.code, "ServiceUnavailableTemporary");
    assert!(bed.ids(0).is_empty() && bed.ids(1).is_empty());
    assert_eq!(bed.check(), [""; 0]);
}

/// Two names of one token are no two devices.
#[test]
fn one_token_twice_is_refused() {
    let bed = Bed::with(&Setup { members: 2, same_token: true, ..Setup::default() });
    let service = bed.service();
    create(token(&service), "EC_P256").unwrap_err();
    assert!(bed.ids(0).is_empty());
    assert_eq!(bed.check(), [""; 0]);
}
