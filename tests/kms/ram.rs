//! RAM: the policy examples of S004 chapter 2, allowed and denied, and what a user sees at the token.

use alikms_pkcs11::kms::objects::Search;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;

use super::World;

impl World {
    /// A user who may do what the statements say.
    pub fn user(&self, name: &str, statements: &str) -> Caller {
        self.done("CreateUser", &[("UserName", name)]);
        self.done(
            "CreatePolicy",
            &[("PolicyName", name), ("PolicyDocument", &format!(r#"{{"Version":"1","Statement":[{statements}]}}"#))],
        );
        self.done("AttachPolicyToUser", &[("PolicyName", name), ("PolicyType", "Custom"), ("UserName", name)]);
        self.kms().as_user(name).unwrap()
    }

    pub fn code(&self, caller: &Caller, action: &str, parameters: &[(&str, &str)]) -> &'static str {
        self.run_as(caller, action, parameters).map_or_else(|fault| fault.code, |_| "ok")
    }
}

pub fn allow(action: &str, resources: &[String]) -> String {
    format!(r#"{{"Effect":"Allow","Action":["kms:{action}"],"Resource":{resources:?}}}"#)
}

pub fn arn(rest: &str) -> String {
    format!("acs:kms:cn-hangzhou:1000000000000001:{rest}")
}

pub const NO: &str = "Forbidden.NoPermission";

#[test]
fn s004_026_and_028_create_alias_needs_the_alias_and_the_key() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let both = [arn(&format!("key/{key}")), arn("alias/example")];
    let create = [("KeyId", key.as_str()), ("AliasName", "alias/example")];
    let alias_only = world.user("alias-only", &allow("CreateAlias", &both[1..]));
    let key_only = world.user("key-only", &allow("CreateAlias", &both[..1]));
    let may = world.user("may", &allow("CreateAlias", &both));
    assert_eq!(world.code(&alias_only, "CreateAlias", &create), NO);
    assert_eq!(world.code(&key_only, "CreateAlias", &create), NO);
    assert_eq!(world.code(&may, "CreateAlias", &[create[0], ("AliasName", "alias/other")]), NO);
    assert_eq!(world.code(&may, "CreateAlias", &create), "ok");
}

#[test]
fn s004_030_update_alias_needs_the_alias_and_both_keys() {
    let world = World::new(Level::Software);
    let (one, two) = (world.key(&[]), world.key(&[]));
    world.done("CreateAlias", &[("KeyId", &one), ("AliasName", "alias/example")]);
    let all = [arn(&format!("key/{one}")), arn(&format!("key/{two}")), arn("alias/example")];
    let update = [("KeyId", two.as_str()), ("AliasName", "alias/example")];
    for missing in 0..3 {
        let some: Vec<String> =
            all.iter().enumerate().filter(|(at, _)| *at != missing).map(|(_, arn)| arn.clone()).collect();
        let user = world.user(&format!("lacks{missing}"), &allow("UpdateAlias", &some));
        assert_eq!(world.code(&user, "UpdateAlias", &update), NO, "{missing}");
    }
    let may = world.user("may", &allow("UpdateAlias", &all));
    assert_eq!(world.code(&may, "UpdateAlias", &update), "ok");
}

#[test]
fn s004_032_delete_alias_needs_the_alias_and_its_key() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    world.done("CreateAlias", &[("KeyId", &key), ("AliasName", "alias/example")]);
    let both = [arn(&format!("key/{key}")), arn("alias/example")];
    for (name, some) in [("alias", &both[1..]), ("key", &both[..1])] {
        let user = world.user(name, &allow("DeleteAlias", some));
        assert_eq!(world.code(&user, "DeleteAlias", &[("AliasName", "alias/example")]), NO);
    }
    let may = world.user("may", &allow("DeleteAlias", &both));
    assert_eq!(world.code(&may, "DeleteAlias", &[("AliasName", "alias/example")]), "ok");
}

#[test]
fn s004_035_and_038_listing_aliases_needs_the_container_or_the_key() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let all = world.user("all", &allow("ListAliases", &[arn("alias")]));
    assert_eq!(world.code(&all, "ListAliases", &[]), "ok");
    assert_eq!(world.code(&all, "ListAliasesByKeyId", &[("KeyId", &key)]), NO);
    let one = world.user("one", &allow("ListAliasesByKeyId", &[arn(&format!("key/{key}"))]));
    assert_eq!(world.code(&one, "ListAliasesByKeyId", &[("KeyId", &key)]), "ok");
    assert_eq!(world.code(&one, "ListAliases", &[]), NO);
}

#[test]
fn s004_021_an_alias_as_key_id_needs_the_key_alone() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    world.done("CreateAlias", &[("KeyId", &key), ("AliasName", "alias/example")]);
    let by_key = world.user("key", &allow("Encrypt", &[arn(&format!("key/{key}"))]));
    let by_alias = world.user("alias", &allow("Encrypt", &[arn("alias/example")]));
    let encrypt = [("KeyId", "alias/example"), ("Plaintext", "aGVsbG8=")];
    assert_eq!(world.code(&by_key, "Encrypt", &encrypt), "ok");
    assert_eq!(world.code(&by_alias, "Encrypt", &encrypt), NO);
    assert_eq!(world.code(&by_key, "DescribeKey", &[("KeyId", &key)]), NO, "one action is not another");
}

#[test]
fn a_deny_wins_and_a_system_policy_is_there() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let deny = format!(r#"{{"Effect":"Deny","Action":"kms:Decrypt","Resource":"{}"}}"#, arn(&format!("key/{key}")));
    let user = world.user("alice", &deny);
    assert_eq!(world.code(&user, "Encrypt", &[("KeyId", &key), ("Plaintext", "aGVsbG8=")]), NO, "silence is no");
    world.done("AttachPolicyToUser", &[("PolicyName", "AliyunKMSFullAccess"), ("UserName", "alice")]);
    let user = world.kms().as_user("alice").unwrap();
    assert_eq!(world.code(&user, "Encrypt", &[("KeyId", &key), ("Plaintext", "aGVsbG8=")]), "ok");
    let blob = world.encrypt(&key);
    assert_eq!(world.code(&user, "Decrypt", &[("CiphertextBlob", &blob)]), NO);
    assert_eq!(world.code(&user, "CreateUser", &[("UserName", "mallory")]), NO, "kms:* is not ram:*");
}

#[test]
fn users_and_policies_go_only_when_nothing_holds_them() {
    let world = World::new(Level::Software);
    world.user("alice", &allow("Encrypt", &["*".into()]));
    assert_eq!(world.refused("CreateUser", &[("UserName", "alice")]), "EntityAlreadyExists.User");
    assert_eq!(world.refused("DeleteUser", &[("UserName", "alice")]), "DeleteConflict");
    assert_eq!(world.refused("DeletePolicy", &[("PolicyName", "alice")]), "DeleteConflict");
    let pair = [("PolicyName", "alice"), ("UserName", "alice")];
    world.done("DetachPolicyFromUser", &pair);
    assert_eq!(world.refused("DetachPolicyFromUser", &pair), "EntityNotExist.Policy");
    world.done("DeletePolicy", &[("PolicyName", "alice")]);
    world.done("DeleteUser", &[("UserName", "alice")]);
    assert_eq!(world.refused("GetUser", &[("UserName", "alice")]), "EntityNotExist.User");
    assert_eq!(world.refused("CreateUser", &[("UserName", "no blanks")]), "InvalidParameter");
}

#[test]
fn keys_that_a_user_may_not_use_are_not_visible() {
    let world = World::new(Level::Software);
    let (mine, other) = (world.key(&[("KeySpec", "EC_P256")]), world.key(&[("KeySpec", "EC_P256")]));
    let user = world.user("alice", &allow("AsymmetricSign", &[arn(&format!("key/{mine}"))]));
    let seen = |caller: &Caller| {
        let page = world.kms().find_objects(caller, &Search::default(), 0, 100).unwrap();
        page.found.iter().map(|found| found.object.key.unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(seen(&user), std::slice::from_ref(&mine), "the private key, which it may use; not the public one");
    assert_eq!(seen(&Caller::account()), [mine.clone(), mine, other.clone(), other]);
}

#[test]
fn a_user_logs_in_with_its_own_pin_and_is_counted_by_itself() {
    use alikms_pkcs11::Error;
    let world = World::new(Level::Software);
    let kms = world.kms();
    world.user("alice", &allow("Encrypt", &["*".into()]));
    assert_eq!(kms.login_as("alice", b"alice-pin"), Err(Error::PinIncorrect), "none is set yet");
    assert_eq!(kms.login_as("nobody", b"alice-pin"), Err(Error::PinIncorrect), "and whether there is one is not told");
    kms.set_user_pin(&Caller::account(), "alice", b"alice-pin").unwrap();
    assert_eq!(kms.login_as("alice", b"alice-pin").unwrap().user_name(), Some("alice"));
    for _ in 0..10 {
        assert_eq!(kms.login_as("alice", b"wrong-pin"), Err(Error::PinIncorrect));
    }
    assert_eq!(kms.login_as("alice", b"alice-pin"), Err(Error::PinLocked));
    kms.login_user(super::common::PIN.as_bytes()).expect("the account's PIN is not locked with it");
}

/// At the token: one action is not another, and a policy that is taken away acts on the very next call.
#[test]
fn a_user_at_the_token_is_limited_per_key_and_per_action() {
    use alikms_pkcs11::Error;
    use alikms_pkcs11::token::template::{Entry, EntryValue};
    use alikms_pkcs11::token::{Mechanism, Parameter, Provider, Room, Template};
    use cryptoki_sys::*;

    let world = World::new(Level::Software);
    let key = world.key(&[("KeySpec", "RSA_2048"), ("KeyUsage", "SIGN/VERIFY")]);
    world.key(&[("KeySpec", "RSA_2048"), ("KeyUsage", "SIGN/VERIFY")]);
    world.user("alice", &allow("AsymmetricSign", &[arn(&format!("key/{key}"))]));
    world.kms().set_user_pin(&Caller::account(), "alice", b"alice-pin").unwrap();

    let provider = Provider::new(alikms_pkcs11::config::Config::read(&world._home.config()).unwrap());
    let slot = provider.slots()[0];
    let session = provider.open_session(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION).unwrap();
    provider.login(session, CKU_USER, Some(b"alice:alice-pin"), None).unwrap();
    let mechanism = Mechanism { kind: CKM_SHA256_RSA_PKCS, parameter: Parameter::None };
    let class = |class: CK_OBJECT_CLASS| {
        let value = EntryValue::Bytes(class.to_ne_bytes().to_vec().into());
        Template(vec![Entry { kind: CKA_CLASS, value }])
    };
    let find = |wanted| {
        provider
            .session(session, |session| {
                session.find_init(&class(wanted))?;
                let found = session.find(10);
                session.find_final().and(found)
            })
            .unwrap()
    };
    assert!(find(CKO_PUBLIC_KEY).is_empty(), "it may sign, not verify");
    let private = find(CKO_PRIVATE_KEY);
    assert_eq!(private.len(), 1, "its own key alone");
    let sign = || {
        provider.session(session, |session| {
            session.sign_init(Some(mechanism.clone()), private[0])?;
            session.sign(b"message", Room::Bytes(256)).map(drop)
        })
    };
    sign().unwrap();
    let change = provider.session(session, |session| {
        let label = EntryValue::Bytes(b"mine".to_vec().into());
        session.set_attributes(private[0], &Template(vec![Entry { kind: CKA_LABEL, value: label }]))
    });
    assert!(matches!(change, Err(Error::AccessDenied { .. })), "{change:?}");
    let destroyed = provider.session(session, |session| session.destroy_object(private[0]));
    assert!(matches!(destroyed, Err(Error::AccessDenied { .. })), "{destroyed:?}");

    provider.session(session, |session| session.sign_init(Some(mechanism.clone()), private[0])).unwrap();
    world.done("DetachPolicyFromUser", &[("PolicyName", "alice"), ("UserName", "alice")]);
    let rejected = provider.session(session, |session| session.sign(b"message", Room::Bytes(256)).map(drop));
    assert_eq!(rejected, Err(Error::Cryptoki(CKR_FUNCTION_REJECTED)));
    assert!(sign().is_err());
    assert!(find(CKO_PRIVATE_KEY).is_empty());
}

/// What was looked at before a RAM user logged in, by nobody or by the account, is not for him to see.
#[test]
fn a_user_does_not_see_what_was_looked_at_before() {
    use alikms_pkcs11::token::Provider;
    use cryptoki_sys::*;

    let world = World::new(Level::Software);
    let (mine, other) = (world.key(&[("KeySpec", "EC_P256")]), world.key(&[("KeySpec", "EC_P256")]));
    world.user("alice", &allow("AsymmetricSign", &[arn(&format!("key/{mine}"))]));
    world.kms().set_user_pin(&Caller::account(), "alice", b"alice-pin").unwrap();
    let page = world.kms().find_objects(&Caller::account(), &Search::default(), 0, 100).unwrap();
    let hidden = |found: &&alikms_pkcs11::kms::objects::Found| found.object.key.unwrap().to_string() == other;
    let hidden: Vec<u64> = page.found.iter().filter(hidden).map(|found| found.object.handle).collect();

    let provider = Provider::new(alikms_pkcs11::config::Config::read(&world._home.config()).unwrap());
    let session = provider.open_session(provider.slots()[0], CKF_SERIAL_SESSION).unwrap();
    let seen = || {
        let look = |handle: &&u64| provider.session(session, |session| session.show(**handle, |_| Ok(()))).is_ok();
        hidden.iter().filter(look).count()
    };
    assert_eq!(seen(), 1, "the public key, as long as nobody is logged in");
    for account in [false, true] {
        if account {
            provider.login(session, CKU_USER, Some(super::common::PIN.as_bytes()), None).unwrap();
            assert_eq!(seen(), 2);
            provider.logout(session).unwrap();
        }
        provider.login(session, CKU_USER, Some(b"alice:alice-pin"), None).unwrap();
        assert_eq!(seen(), 0);
        provider.logout(session).unwrap();
    }
    assert_eq!(seen(), 1);
}
