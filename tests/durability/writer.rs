//! A process that changes things until it is killed: before each change it says what it is about to do, and after the
//! answer that it was answered. Each word is one write to a pipe, which outlives the process.
//!
//! It logs in to the device before that: SoftHSM rewrites `token.object` at every C_Login, truncating it first, and a
//! process killed within leaves a device that no program can use any more.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use alikms_pkcs11::api::{self, Fault, Params};
use alikms_pkcs11::config::Config;
use alikms_pkcs11::crypto::cipher::AesKey;
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::algorithm::{Algorithm, Cipher};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::model::time::{DAY, Moment};
use alikms_pkcs11::protection::public::Prepared;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::support::{Client, Dice, LEVEL, Module, P256, b, hex, s, u, v};

/// Tells a writer what to be: `kind conf module seed`, with newlines between them.
pub const ROLE: &str = "ALIKMS_TEST_WRITER";
/// Before each line that is meant for the ledger; the test harness prints others.
pub const MARK: &str = "\n@";

/// Of what changes nothing that its writer knows.
const NOTHING: &[(String, &str)] = &[];

/// Writes a line for the ledger.
fn say(line: &Value) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{MARK}{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Runs an action of the API.
pub fn act(kms: &Kms, action: &str, given: &[(&str, &str)]) -> Result<Value, Fault> {
    let mut params = Params::default();
    given.iter().for_each(|(name, value)| params.push(*name, *value));
    let entry = api::find(action).unwrap();
    entry.run(kms, &Caller::account(), &params, Uuid::new_v4()).map_err(|error| Fault::from(&error))
}

/// `facts`: what will be true when it is answered, by name; "" is "not there".
fn told<T>(what: &str, facts: &[(String, impl Serialize)], work: impl FnOnce() -> Result<T, String>) -> Option<T> {
    say(&json!({ "begin": what, "facts": facts }));
    match work() {
        Ok(answer) => {
            say(&json!({ "done": what }));
            Some(answer)
        }
        Err(said) => {
            say(&json!({ "refused": what, "said": said }));
            None
        }
    }
}

/// Says what only the answer told: names that the service chose.
fn learned(facts: &[(String, &str)]) {
    say(&json!({ "learned": facts }));
}

/// What the environment asks of this process. Never comes back.
pub fn run(role: &str) -> ! {
    let mut words = role.split('\n');
    let mut word = || words.next().unwrap();
    let (kind, conf, module, seed) = (word(), Path::new(word()), Path::new(word()), word().parse().unwrap());
    let mut dice = Dice::of(seed);
    let name = format!("w{seed:x}");
    match kind {
        "module" => through_module(conf, module, &mut dice, &name),
        "maintain" => maintain(conf),
        kind => through_actions(conf, kind == "hsm", &mut dice, &name),
    }
}

/// In a month, `alikms maintain`, again and again.
fn maintain(conf: &Path) -> ! {
    let clock = Arc::new(|| Moment(Moment::now().0 + 40 * DAY));
    let service = Service::with_clock(Config::read(conf).unwrap(), clock);
    let kms = service.token(None).unwrap();
    kms.device().unwrap().ids().unwrap();
    loop {
        told("maintain", NOTHING, || kms.maintain(&Caller::account()).map_err(|error| error.to_string()));
    }
}

/// A key of this writer.
struct Own {
    id: String,
    spec: &'static str,
}

fn through_actions(conf: &Path, hsm: bool, dice: &mut Dice, name: &str) -> ! {
    let service = Service::new(Config::read(conf).unwrap());
    let kms = service.token(None).unwrap();
    kms.unlock().unwrap();
    let level = if hsm { "HSM" } else { "SOFTWARE" };
    if hsm {
        kms.device().unwrap().ids().unwrap();
    }
    let mut own: Vec<Own> = Vec::new();
    let mut turn = 0;
    let run = |what: &str, given: &[(&str, &str)], facts: &[(String, &str)]| {
        told(what, facts, || {
            act(kms, what, given).map_err(|fault| format!("{} {} {given:?}", fault.code, fault.message))
        })
    };
    loop {
        turn += 1;
        let choice = if own.is_empty() { 0 } else { dice.roll(20) };
        if choice < 4 {
            let spec = *dice.pick(&["EC_P256", "Aliyun_AES_256", "EC_P256", "Aliyun_AES_256", "EC_P256K"]);
            let usage = if spec.starts_with("EC") { "SIGN/VERIFY" } else { "ENCRYPT/DECRYPT" };
            let spec = if hsm && spec == "EC_P256K" { "EC_P256" } else { spec };
            let given = [("KeySpec", spec), ("KeyUsage", usage), ("ProtectionLevel", level)];
            let Some(made) = run("CreateKey", &given, &[]) else { continue };
            let id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
            learned(&[(format!("state {id}"), "Enabled"), (format!("level {id}"), level)]);
            own.push(Own { id, spec });
            continue;
        }
        if choice == 4 {
            import(kms, level, dice);
            continue;
        }
        let Own { id, spec } = dice.pick(&own);
        let key = ("KeyId", id.as_str());
        let state = |state| [(format!("state {id}"), state)];
        let text = format!("{name}-{turn}");
        match choice {
            5 | 6 => {
                let alias = format!("alias/{text}");
                run("CreateAlias", &[key, ("AliasName", &alias)], &[(format!("alias {alias}"), id)]);
                if dice.roll(2) == 0 {
                    run("DeleteAlias", &[("AliasName", &alias)], &[(format!("alias {alias}"), "")]);
                }
            }
            7 | 8 => {
                run("DisableKey", &[key], &state("Disabled"));
                run("EnableKey", &[key], &state("Enabled"));
            }
            9 | 10 => {
                let window = ("PendingWindowInDays", "7");
                run("ScheduleKeyDeletion", &[key, window], &state("PendingDeletion"));
                if dice.roll(4) == 0 {
                    let at = own.iter().position(|one| one.id == *id).unwrap();
                    own.swap_remove(at);
                } else {
                    run("CancelKeyDeletion", &[key], &state("Enabled"));
                }
            }
            11 | 12 => {
                let given = [key, ("Description", &text)];
                run("UpdateKeyDescription", &given, &[(format!("description {id}"), &text)]);
            }
            13 => {
                let tags = json!([{ "TagKey": "turn", "TagValue": text }]).to_string();
                run("TagResource", &[key, ("Tags", &tags)], &[(format!("tag {id}"), &text)]);
            }
            14 => {
                run("CreateUser", &[("UserName", &text)], &[(format!("user {text}"), "there")]);
                let document =
                    r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":["kms:*"],"Resource":["*"]}]}"#;
                let policy = ("PolicyName", text.as_str());
                run("CreatePolicy", &[policy, ("PolicyDocument", document)], &[(format!("policy {text}"), "there")]);
                let given = [policy, ("UserName", &text)];
                run("AttachPolicyToUser", &given, &[(format!("attached {text}"), &text)]);
                if dice.roll(2) == 0 {
                    run("DetachPolicyFromUser", &given, &[(format!("attached {text}"), "")]);
                    run("DeleteUser", &[("UserName", &text)], &[(format!("user {text}"), "")]);
                }
            }
            _ => {
                let Some(made) = run("CreateKeyVersion", &[key], &[]) else { continue };
                let version = made["KeyVersion"]["KeyVersionId"].as_str().unwrap();
                learned(&[(format!("version {id} {version}"), "there")]);
                if spec.starts_with("EC") {
                    continue;
                }
                let plain = STANDARD.encode(&text);
                let Some(sealed) = run("Encrypt", &[key, ("Plaintext", &plain)], &[]) else { continue };
                let blob = sealed["CiphertextBlob"].as_str().unwrap();
                learned(&[(format!("blob {id} {blob}"), &plain)]);
            }
        }
    }
}

/// An imported key through its life: without material, with it, without it.
fn import(kms: &Kms, level: &str, dice: &mut Dice) {
    let run = |what: &str, given: &[(&str, &str)], facts: &[(String, &str)]| {
        told(what, facts, || act(kms, what, given).map_err(|fault| format!("{} {}", fault.code, fault.message)))
    };
    let given = [("Origin", "EXTERNAL"), ("KeySpec", "Aliyun_AES_256"), ("ProtectionLevel", level)];
    let Some(made) = run("CreateKey", &given, &[]) else { return };
    let id = made["KeyMetadata"]["KeyId"].as_str().unwrap();
    let key = ("KeyId", id);
    let state = |state| [(format!("state {id}"), state)];
    learned(&[(format!("state {id}"), "PendingImport"), (format!("level {id}"), level)]);
    // Two steps in SoftHSM.
    let algorithm = ["RSAES_OAEP_SHA_1", "RSA_AES_KEY_WRAP_SHA_1"][dice.roll(2) as usize];
    let given = [key, ("WrappingAlgorithm", algorithm), ("WrappingKeySpec", "RSA_2048")];
    let Some(asked) = run("GetParametersForImport", &given, &[]) else { return };
    let wrapped = wrap(asked["PublicKey"].as_str().unwrap(), algorithm, &[7; 32]);
    for _ in 0..1 + dice.roll(3) {
        let given =
            [key, ("EncryptedKeyMaterial", wrapped.as_str()), ("ImportToken", asked["ImportToken"].as_str().unwrap())];
        run("ImportKeyMaterial", &given, &state("Enabled"));
        run("DeleteKeyMaterial", &[key], &state("PendingImport"));
    }
}

/// Wraps as this WrappingAlgorithm says.
fn wrap(public: &str, algorithm: &str, material: &[u8]) -> String {
    let public = PublicKey::from_spki(&STANDARD.decode(public).unwrap()).unwrap();
    let oaep = Algorithm::RsaesOaepSha1.sealing().unwrap();
    let seal = |bytes: &[u8]| Prepared::new(&public).unwrap().encrypt(&oaep, bytes).unwrap();
    STANDARD.encode(match algorithm {
        "RSAES_OAEP_SHA_1" => seal(material),
        _ => {
            let inner = AesKey::new(&[6; 32]).unwrap().encrypt(&Cipher::AesKeyWrapPad, material).unwrap();
            [seal(&[6; 32]).as_slice(), &inner].concat()
        }
    })
}

/// Through the C door: keys of pairs and secrets at the token's level (HSM) and in software, data objects, labels.
fn through_module(conf: &Path, module: &Path, dice: &mut Dice, name: &str) -> ! {
    let m = Module::open(module);
    m.initialize(conf);
    let c = Client::open(m);
    c.login();
    c.sign(CKM_ECDSA, c.one(CKO_PRIVATE_KEY, "connected"), &[7; 32]).unwrap();
    let mut own: Vec<(Vec<u8>, CK_OBJECT_HANDLE, CK_OBJECT_CLASS)> = Vec::new();
    let mut turn = 0;
    let said = |rv: CK_RV| format!("{rv:#x}");
    loop {
        turn += 1;
        let label = format!("{name}-{turn}");
        let id = Sha256::digest(&label)[..16].to_vec();
        let fact = |id: &[u8], value: &str| [(format!("object {}", hex(id)), value.to_owned())];
        let common = [b(CKA_TOKEN, true), s(CKA_LABEL, &label), v(CKA_ID, &id)];
        let choice = if own.is_empty() { 0 } else { dice.roll(12) };
        match choice {
            0..3 => {
                let level = *dice.pick(&["HSM", "SOFTWARE"]);
                let common = [&common[..], &[s(LEVEL, level)]].concat();
                let made = told("C_GenerateKeyPair", &fact(&id, &label), || c.ec_pair(P256, &common).map_err(said));
                own.extend(made.map(|(_, private)| (id, private, CKO_PRIVATE_KEY)));
            }
            3..5 => {
                let level = *dice.pick(&["HSM", "SOFTWARE"]);
                let template = [&common[..], &[s(LEVEL, level), u(CKA_VALUE_LEN, 32)]].concat();
                let made =
                    told("C_GenerateKey", &fact(&id, &label), || c.generate(CKM_AES_KEY_GEN, &template).map_err(said));
                own.extend(made.map(|key| (id, key, CKO_SECRET_KEY)));
            }
            5..7 => {
                let template = [u(CKA_CLASS, CKO_DATA), common[0].clone(), common[1].clone(), v(CKA_VALUE, &id)];
                let fact = [(format!("data {label}"), hex(&id))];
                let made = told("C_CreateObject", &fact, || c.create(&template).map_err(said));
                if let (Some(made), 0) = (made, dice.roll(2)) {
                    let gone = [(format!("data {label}"), String::new())];
                    told("C_DestroyObject", &gone, || c.destroy(made).map_err(said));
                }
            }
            7..9 => {
                let (id, key, _) = dice.pick(&own);
                let fact = fact(id, &label);
                told("C_SetAttributeValue", &fact, || c.set(*key, &[s(CKA_LABEL, &label)]).map_err(said));
            }
            9 | 10 => {
                let (id, key, _) = own.swap_remove(dice.roll(own.len() as u64) as usize);
                told("C_DestroyObject", &fact(&id, ""), || c.destroy(key).map_err(said));
            }
            _ => {
                let Some((_, key, _)) = own.iter().find(|one| one.2 == CKO_PRIVATE_KEY) else { continue };
                told("C_Sign", NOTHING, || c.sign(CKM_ECDSA, *key, &[turn as u8; 32]).map_err(said));
            }
        }
    }
}
