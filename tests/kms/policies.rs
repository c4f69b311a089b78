//! Key policies beside RAM's, the policy examples of S004 chapter 2, access keys, and what a user's look sets off.

use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;

use super::ram::{NO, allow, arn};
use super::{World, text};

fn statement(effect: &str, who: &str, actions: &str) -> String {
    format!(
        r#"{{"Sid":"a statement","Effect":"{effect}","Principal":{{"RAM":["acs:ram::1000000000000001:{who}"]}},
        "Action":[{actions}],"Resource":["*"]}}"#
    )
}

fn document(statements: &[String]) -> String {
    format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","))
}

impl World {
    fn set_policy(&self, key: &str, statements: &[String]) {
        self.done("SetKeyPolicy", &[("KeyId", key), ("Policy", &document(statements)), ("PolicyName", "default")]);
    }

    fn encrypts_as(&self, caller: &Caller, key: &str) -> &'static str {
        self.code(caller, "Encrypt", &[("KeyId", key), ("Plaintext", "aGVsbG8=")])
    }
}

/// The nine of chapter 2: the five operations of aliases, each with a policy like the document's, and the four that take an
/// alias as KeyId. Each is tried with all of its resources, and with each one missing.
#[test]
fn s004_018_021_026_028_030_032_035_038_the_nine_policies_of_chapter_2() {
    for level in [Level::Software, Level::Hsm] {
        let world = World::new(level);
        let at = ("ProtectionLevel", level.name());
        let (one, two) = (world.key(&[at]), world.key(&[at]));
        let (of_one, of_two) = (arn(&format!("key/{one}")), arn(&format!("key/{two}")));
        let (alias, container) = (arn("alias/example"), arn("alias"));
        let named = ("AliasName", "alias/example");
        let by_alias = ("KeyId", "alias/example");
        type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, Vec<String>, bool);
        let cases: Vec<Case<'_>> = vec![
            ("CreateAlias", vec![("KeyId", &one), named], vec![of_one.clone(), alias.clone()], false),
            ("UpdateAlias", vec![named, ("KeyId", &two)], vec![alias.clone(), of_one.clone(), of_two], true),
            ("DeleteAlias", vec![named], vec![alias, of_one.clone()], true),
            ("ListAliases", vec![], vec![container], true),
            ("ListAliasesByKeyId", vec![("KeyId", &one)], vec![of_one.clone()], true),
            ("DescribeKey", vec![by_alias], vec![of_one.clone()], true),
            ("Encrypt", vec![by_alias, ("Plaintext", "aGVsbG8=")], vec![of_one.clone()], true),
            ("GenerateDataKey", vec![by_alias], vec![of_one.clone()], true),
            ("GenerateDataKeyWithoutPlaintext", vec![by_alias], vec![of_one], true),
        ];
        for (number, (action, parameters, resources, needs_alias)) in cases.into_iter().enumerate() {
            let reset = || {
                let _ = world.run("DeleteAlias", &[named]);
                if needs_alias {
                    world.done("CreateAlias", &[named, ("KeyId", &one)]);
                }
            };
            reset();
            for missing in 0..resources.len() {
                let mut some = resources.clone();
                some.remove(missing);
                // Something else instead, so that the statement names a resource.
                some.push(arn("alias/another"));
                let user = world.user(&format!("u{number}-{missing}"), &allow(action, &some));
                assert_eq!(world.code(&user, action, &parameters), NO, "{action} without {}", resources[missing]);
            }
            let nobody = world.user(&format!("nobody{number}"), &allow("NoSuchAction", &["*".into()]));
            assert_eq!(world.code(&nobody, action, &parameters), NO, "S004-018: {action}");
            let may = world.user(&format!("may{number}"), &allow(action, &resources));
            reset();
            assert_eq!(world.code(&may, action, &parameters), "ok", "{action}");
        }
        // The document's sample for ListAliasesByKeyId names kms:DeleteAlias, by mistake: that does not do.
        let wrong = world.user("wrong", &allow("DeleteAlias", &[arn(&format!("key/{one}"))]));
        assert_eq!(world.code(&wrong, "ListAliasesByKeyId", &[("KeyId", &one)]), NO);
    }
}

#[test]
fn a_key_policy_and_ram_together() {
    for level in [Level::Software, Level::Hsm] {
        let world = World::new(level);
        let key = world.key(&[("ProtectionLevel", level.name())]);
        let alice = world.user("alice", &allow("Encrypt", &[arn(&format!("key/{key}"))]));
        let bob = world.user("bob", &allow("ListKeys", &["*".into()]));
        let eve = world.user("eve", r#"{"Effect":"Deny","Action":"kms:Encrypt","Resource":"*"}"#);
        let codes = || [&alice, &bob, &eve].map(|user| world.encrypts_as(user, &key));

        // Without a policy RAM decides, and that is what GetKeyPolicy tells.
        assert_eq!(codes(), ["ok", NO, NO]);
        let told = world.done("GetKeyPolicy", &[("KeyId", &key)]);
        let told = text(&told, "/Policy");
        assert!(told.contains(r#""RAM":["acs:ram::1000000000000001:*"]"#) && told.contains("kms:*"), "{told}");
        world.done("SetKeyPolicy", &[("KeyId", &key), ("Policy", &told)]);
        assert_eq!(codes(), ["ok", NO, NO], "the default, set");

        let all = statement("Allow", "*", r#""kms:*""#);
        world.set_policy(&key, &[all.clone(), statement("Allow", "user/bob", r#""kms:Encrypt""#)]);
        assert_eq!(codes(), ["ok", "ok", NO], "bob is named");
        world.set_policy(&key, &[all.clone(), statement("Allow", "user/eve", r#""kms:Encrypt""#)]);
        assert_eq!(codes(), ["ok", NO, NO], "eve is named, and RAM denies it");
        world.set_policy(&key, &[all.clone(), statement("Deny", "user/alice", r#""kms:Enc*""#)]);
        assert_eq!(codes(), [NO, NO, NO], "a Deny of the key wins");
        world.set_policy(&key, &[statement("Allow", "user/bob", r#""kms:Encrypt""#)]);
        assert_eq!(codes(), [NO, "ok", NO], "nothing is left to RAM");
        assert_eq!(world.code(&bob, "DescribeKey", &[("KeyId", &key)]), NO, "one action is not another");
        world.encrypt(&key);

        // The account is bound by a Deny, and can take it back.
        world.set_policy(&key, &[statement("Deny", "*", r#""kms:*""#)]);
        assert_eq!(world.refused("Encrypt", &[("KeyId", &key), ("Plaintext", "aGVsbG8=")]), NO);
        assert_eq!(world.refused("ScheduleKeyDeletion", &[("KeyId", &key)]), NO);
        world.set_policy(&key, &[all]);
        world.encrypt(&key);
        assert_eq!(codes(), ["ok", NO, NO]);
    }
}

#[test]
fn a_key_policy_at_creation_and_what_is_refused() {
    let world = World::new(Level::Software);
    let alice = world.user("alice", &allow("ListKeys", &["*".into()]));
    let policy = document(&[
        statement("Allow", "*", r#""kms:*""#),
        statement("Allow", "user/alice", r#""kms:Encrypt","kms:GetKeyPolicy""#),
    ]);
    let key = world.key(&[("Policy", &policy)]);
    assert_eq!(world.encrypts_as(&alice, &key), "ok");
    assert_eq!(text(&world.done("GetKeyPolicy", &[("KeyId", &key)]), "/Policy"), policy, "word for word");
    assert_eq!(world.code(&alice, "GetKeyPolicy", &[("KeyId", &key)]), "ok");
    assert_eq!(world.code(&alice, "SetKeyPolicy", &[("KeyId", &key), ("Policy", &policy)]), NO);

    let arn = world.described(&key, "Arn");
    let other = ("PolicyName", "other");
    assert_eq!(world.refused("GetKeyPolicy", &[("KeyId", &arn), other]), "Forbidden.ResourceNotFound");
    assert_eq!(
        world.refused("SetKeyPolicy", &[("KeyId", &arn), ("Policy", &policy), other]),
        "Forbidden.ResourceNotFound"
    );
    assert_eq!(world.refused("GetKeyPolicy", &[("KeyId", "alias/x")]), "Forbidden.AliasNotFound");
    let long = document(&[statement("Allow", "*", &format!("\"kms:{}\"", "x".repeat(33_000)))]);
    for wrong in ["", "{}", "[]", &policy.replace("\"1\"", "\"2\""), &policy.replace("Sid", "Condition"), &long] {
        assert_eq!(world.refused("SetKeyPolicy", &[("KeyId", &key), ("Policy", wrong)]), "InvalidParameter");
        assert_eq!(world.refused("CreateKey", &[("Policy", wrong)]), "InvalidParameter");
    }
    world.done("ScheduleKeyDeletion", &[("KeyId", &key)]);
    assert_eq!(world.refused("SetKeyPolicy", &[("KeyId", &key), ("Policy", &policy)]), "Rejected.PendingDeletion");
    world.done("GetKeyPolicy", &[("KeyId", &key)]);
}

/// A policy of the key acts on the very next call of a session at the token, in both directions.
#[test]
fn a_key_policy_holds_at_the_token_at_once() {
    use alikms_pkcs11::Error;
    let world = World::new(Level::Software);
    let key = world.key(&[("KeySpec", "EC_P256")]);
    let versions = world.done("ListKeyVersions", &[("KeyId", &key)]);
    let version = text(&versions, "/KeyVersions/KeyVersion/0/KeyVersionId").parse().unwrap();
    let alice = world.user("alice", &allow("ListKeys", &["*".into()]));
    let seen = || {
        let search = alikms_pkcs11::kms::objects::Search::default();
        world.kms().find_objects(&alice, &search, 0, 100).unwrap().found.len()
    };
    let denied = |answer: Result<(), Error>| matches!(answer, Err(Error::AccessDenied { .. }));
    let open = || world.kms().ready(&alice, "AsymmetricSign", version).map(drop);
    assert!(denied(open()) && seen() == 0);
    let all = statement("Allow", "*", r#""kms:*""#);
    world.set_policy(&key, &[all.clone(), statement("Allow", "user/alice", r#""kms:AsymmetricSign""#)]);
    open().unwrap();
    assert_eq!(seen(), 1, "the private key");
    let ready = world.kms().ready(&alice, "AsymmetricSign", version).unwrap();
    assert!(world.kms().refresh(&alice, "AsymmetricSign", &ready).unwrap().is_none());
    assert!(denied(world.kms().refresh(&alice, "AsymmetricDecrypt", &ready).map(drop)));
    world.set_policy(&key, std::slice::from_ref(&all));
    assert!(denied(world.kms().refresh(&alice, "AsymmetricSign", &ready).map(drop)));
    assert!(denied(open()) && seen() == 0);
    // The account too, where it is denied.
    let account = Caller::account();
    let ready = world.kms().ready(&account, "AsymmetricSign", version).unwrap();
    world.set_policy(&key, &[all, statement("Deny", "root", r#""kms:AsymmetricSign""#)]);
    assert!(denied(world.kms().refresh(&account, "AsymmetricSign", &ready).map(drop)));
}

#[test]
fn s001_021_access_keys_of_a_user() {
    let world = World::new(Level::Software);
    let kms = world.kms();
    world.user("alice", &allow("ListKeys", &["*".into()]));
    let user = ("UserName", "alice");
    let made = world.done("CreateAccessKey", &[user]);
    let (id, secret) = (text(&made, "/AccessKey/AccessKeyId"), text(&made, "/AccessKey/AccessKeySecret"));
    assert_eq!((id.len(), secret.len()), (24, 30));
    assert_eq!(made["AccessKey"]["Status"], "Active");
    let caller = kms.login_with_access_key(&id, secret.as_bytes()).unwrap();
    assert_eq!(world.code(&caller, "ListKeys", &[]), "ok");
    assert_eq!(world.code(&caller, "DescribeRegions", &[]), NO);
    let code = |id: &str, secret: &str| {
        let error = kms.login_with_access_key(id, secret.as_bytes()).map(drop).unwrap_err();
        alikms_pkcs11::api::Fault::from(&error).code
    };
    assert_ne!(code(&id, "wrong"), "ok");
    let fault =
        alikms_pkcs11::api::Fault::from(&kms.login_with_access_key("ALIKMSnobody", secret.as_bytes()).unwrap_err());
    assert_eq!((fault.status, fault.code), (404, "InvalidAccessKeyId.NotFound"));
    assert_eq!(fault.message, "The AccessKey ID provided does not exist in our records.");

    // Two at most; neither list nor audit trail tells a secret.
    let second = text(&world.done("CreateAccessKey", &[user]), "/AccessKey/AccessKeyId");
    assert_ne!(id, second);
    assert_eq!(world.refused("CreateAccessKey", &[user]), "Rejected.LimitExceeded");
    let list = world.done("ListAccessKeys", &[user]);
    assert_eq!(list["AccessKeys"]["AccessKey"].as_array().unwrap().len(), 2);
    let mut audit = String::new();
    kms.audit_trail(&Caller::account(), alikms_pkcs11::model::time::Moment(0), |line| {
        audit += &format!("{line:?}");
        Ok(())
    })
    .unwrap();
    assert!(audit.contains("CreateAccessKey"));
    assert!(!list.to_string().contains(&secret) && !audit.contains(&secret));

    let of = ("UserAccessKeyId", id.as_str());
    world.done("UpdateAccessKey", &[user, of, ("Status", "Inactive")]);
    assert_eq!(code(&id, &secret), "Forbidden.AccessKey");
    world.done("UpdateAccessKey", &[user, of, ("Status", "Active")]);
    kms.login_with_access_key(&id, secret.as_bytes()).unwrap();
    world.done("DetachPolicyFromUser", &[user, ("PolicyName", "alice")]);
    assert_eq!(world.refused("DeleteUser", &[user]), "DeleteConflict");
    world.done("DeleteAccessKey", &[user, of]);
    assert_eq!(world.refused("DeleteAccessKey", &[user, of]), "EntityNotExist.User.AccessKey");
    assert_eq!(code(&id, &secret), "InvalidAccessKeyId.NotFound");
    world.done("DeleteAccessKey", &[user, ("UserAccessKeyId", &second)]);
    world.done("DeleteUser", &[user]);
    assert_eq!(world.refused("ListAccessKeys", &[user]), "EntityNotExist.User");
    assert_eq!(world.refused("CreateAccessKey", &[]), "MissingParameter");
}

/// Who may encrypt is not refused because a rotation is due: that is the key's own policy, not the user's doing.
#[test]
fn s004_158_a_user_who_may_only_encrypt_sets_off_a_rotation_that_is_due() {
    let world = World::new(Level::Software);
    let key = world.key(&[("EnableAutomaticRotation", "true"), ("RotationInterval", "7d")]);
    let alice = world.user("alice", &allow("Encrypt", &["*".into()]));
    let before = world.described(&key, "PrimaryKeyVersion");
    for _ in 0..3 {
        world.pass_days(7);
        assert_eq!(world.encrypts_as(&alice, &key), "ok");
    }
    assert_ne!(world.described(&key, "PrimaryKeyVersion"), before);
    let answer = world.done("ListKeyVersions", &[("KeyId", &key)]);
    assert_eq!(answer["TotalCount"], 4, "one a week, whoever looks");
}

/// S004-053, S004-170.
#[test]
fn s004_053_170_the_key_of_a_service() {
    for level in [Level::Software, Level::Hsm] {
        let world = World::new(level);
        let own = world.key(&[("ProtectionLevel", level.name())]);
        let account = Caller::account();
        let key = world.kms().create_service_key(&account, "OSS", Some(level)).unwrap().key.id.to_string();
        assert_eq!(world.described(&key, "Creator"), "OSS");
        assert_eq!(world.described(&own, "Creator"), "1000000000000001", "S004-052");
        assert_eq!(world.described(&key, "ProtectionLevel"), level.name());
        for name in ["acs/oss", "alias/acs/oss", &arn("alias/acs/oss")] {
            assert_eq!(world.described(name, "KeyId"), key, "{name}");
            world.decrypts(&world.encrypt(name)).unwrap();
        }
        // One version: no new one, no rotation.
        let rotate = [("KeyId", key.as_str()), ("EnableAutomaticRotation", "true"), ("RotationInterval", "30d")];
        assert_eq!(world.refused("CreateKeyVersion", &rotate[..1]), "Rejected.UnsupportedOperation");
        assert_eq!(world.refused("UpdateRotationPolicy", &rotate), "Rejected.UnsupportedOperation");
        world.pass_days(800);
        assert_eq!(world.kms().maintain(&account).unwrap(), [""; 0]);
        // Its alias is reserved: nobody makes, moves or deletes such a one.
        let reserved = ("AliasName", "alias/acs/oss");
        assert_eq!(
            world.refused("CreateAlias", &[("AliasName", "alias/acs/rds"), ("KeyId", &own)]),
            "InvalidParameter"
        );
        assert_eq!(world.refused("UpdateAlias", &[reserved, ("KeyId", &own)]), "InvalidParameter");
        assert_eq!(world.refused("DeleteAlias", &[reserved]), "InvalidParameter");
        let list = |creator: &str| {
            let filter = format!(r#"[{{"Key":"CreatorType","Values":["{creator}"]}}]"#);
            let answer = world.done("ListKeys", &[("Filters", &filter)]);
            answer["Keys"]["Key"].as_array().unwrap().iter().map(|key| text(key, "/KeyId")).collect::<Vec<_>>()
        };
        assert_eq!((list("Service"), list("User")), (vec![key], vec![own]));
        assert!(world.kms().create_service_key(&account, "oss", None).is_err(), "a service has one");
        for wrong in ["", "1x", "a b", "a/b", &"x".repeat(65)] {
            assert!(world.kms().create_service_key(&account, wrong, None).is_err(), "{wrong}");
        }
    }
}

/// S004-120, S004-121: what the public key does can be allowed and denied for itself; and without the two private operations
/// no other one signs or decrypts.
#[test]
fn s004_120_121_public_and_private_operations_are_limited_apart() {
    for level in [Level::Software, Level::Hsm] {
        let world = World::new(level);
        let pair = |usage: &str| {
            let key = world.key(&[("KeySpec", "RSA_2048"), ("KeyUsage", usage)]);
            let versions = world.done("ListKeyVersions", &[("KeyId", &key)]);
            (key, text(&versions, "/KeyVersions/KeyVersion/0/KeyVersionId"))
        };
        let (signer, sv) = pair("SIGN/VERIFY");
        let (reader, rv) = pair("ENCRYPT/DECRYPT");
        let data = world.key(&[]);
        let digest = ("Digest", "uCx5YpLfBrqoYMP8Hf9H7j9/1zT+PPxq1qJRW6uQbos=");
        let sign = [("KeyId", signer.as_str()), ("KeyVersionId", &sv), ("Algorithm", "RSA_PSS_SHA_256"), digest];
        let value = text(&world.done("AsymmetricSign", &sign), "/Value");
        let verify = [&sign[..], &[("Value", value.as_str())]].concat();
        let own = [("KeyId", reader.as_str()), ("KeyVersionId", &rv), ("Algorithm", "RSAES_OAEP_SHA_256")];
        let encrypt = [&own[..], &[("Plaintext", "aGVsbG8=")]].concat();
        let blob = text(&world.done("AsymmetricEncrypt", &encrypt), "/CiphertextBlob");
        let decrypt = [&own[..], &[("CiphertextBlob", blob.as_str())]].concat();
        let again = [
            ("CiphertextBlob", blob.as_str()),
            ("SourceKeyId", &reader),
            ("SourceKeyVersionId", &rv),
            ("SourceEncryptionAlgorithm", "RSAES_OAEP_SHA_256"),
            ("DestinationKeyId", &data),
        ];
        let operations: [(&str, &[(&str, &str)]); 5] = [
            ("AsymmetricVerify", &verify),
            ("AsymmetricEncrypt", &encrypt),
            ("AsymmetricSign", &sign),
            ("AsymmetricDecrypt", &decrypt),
            ("ReEncrypt", &again),
        ];
        let deny = |actions: &str| {
            format!(
                r#"{{"Effect":"Allow","Action":"kms:*","Resource":"*"}},{{"Effect":"Deny","Action":[{actions}],"Resource":"*"}}"#
            )
        };
        let public = world.user("public", &deny(r#""kms:AsymmetricSign","kms:AsymmetricDecrypt""#));
        let private = world.user("private", &deny(r#""kms:AsymmetricVerify","kms:AsymmetricEncrypt""#));
        let codes = |user: &Caller| operations.map(|(action, parameters)| world.code(user, action, parameters));
        assert_eq!(codes(&public), ["ok", "ok", NO, NO, NO]);
        assert_eq!(codes(&private), [NO, NO, "ok", "ok", "ok"]);
    }
}
