//! Refused management actions in the audit trail (issue 4, point 9), and what they may cost.

use alikms_pkcs11::api::{self, Params};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::store::Audit;
use serde_json::Value;
use uuid::Uuid;

use super::World;
use super::ram::{allow, arn};
use crate::common::Home;

fn trail(world: &World) -> Vec<Audit> {
    let mut lines = Vec::new();
    let mut keep = |line: &Audit| {
        lines.push(line.clone());
        Ok(())
    };
    world.kms().audit_trail(&Caller::account(), super::Moment(i64::MIN), &mut keep).unwrap();
    lines
}

/// Each kind of refusal, of each kind of action: a row with the request's number, and no other change.
#[test]
fn a_refused_action_leaves_a_row_that_says_who_what_and_why() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let bob = world.user("bob", &allow("DescribeKey", &[arn("key/*")]));
    let account = Caller::account();
    let nothing = "00000000-0000-0000-0000-000000000000";
    let long = "x".repeat(9000);
    /// Who, action, parameters; outcome and resource of the row.
    type Case<'a> = (&'a Caller, &'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&bob, "DisableKey", &[("KeyId", &key)], "AccessDenied", &arn(&format!("key/{key}"))),
        (&bob, "CreateKey", &[], "AccessDenied", &arn("key")),
        (&bob, "ListKeys", &[], "AccessDenied", &arn("key")),
        (
            &bob,
            "GetPublicKey",
            &[("KeyId", &key), ("KeyVersionId", nothing)],
            "AccessDenied",
            &arn(&format!("key/{key}")),
        ),
        (&bob, "DescribeKey", &[("KeyId", nothing)], "KeyNotFound", nothing),
        (&account, "EnableKey", &[("KeyId", nothing)], "KeyNotFound", nothing),
        (&account, "DescribeKey", &[("KeyId", "alias/nobody")], "AliasNotFound", "alias/nobody"),
        (&account, "CancelKeyDeletion", &[("KeyId", &key)], "StateChange", &key),
        (&account, "DisableKey", &[], "MissingParameter", ""),
        (&account, "DisableKey", &[("KeyId", &key), ("Colour", "red")], "UnknownParameter", &key),
        (&account, "UpdateKeyDescription", &[("KeyId", &key), ("Description", &long)], "InvalidParameter", &key),
        (&account, "CreateAlias", &[("KeyId", &key), ("AliasName", "nonsense")], "InvalidParameter", &key),
        (&account, "DeleteUser", &[("UserName", "nobody")], "EntityNotFound", "nobody"),
        (&account, "DeleteKeyMaterial", &[("KeyId", &key)], "UnsupportedOrigin", &key),
    ];
    for (caller, action, parameters, outcome, resource) in cases {
        let before = trail(&world);
        let mut params = Params::default();
        parameters.iter().for_each(|(name, value)| params.push(*name, *value));
        let request = Uuid::new_v4();
        api::find(action).unwrap().run(world.kms(), caller, &params, request).unwrap_err();
        let after = trail(&world);
        assert_eq!(&after[..before.len()], before, "{action}");
        let [row] = &after[before.len()..] else { panic!("{action}: {:?}", &after[before.len()..]) };
        assert_eq!((row.action.as_str(), row.outcome.as_str(), row.resource.as_str()), (*action, *outcome, *resource));
        assert_eq!((row.caller.clone(), row.request, row.at), (caller.name(), request, super::Moment(super::START)));
        assert!(row.pid == std::process::id() && !row.program.is_empty() && row.count.is_none(), "{row:?}");
    }
    assert_eq!(world.described(&key, "KeyState"), "Enabled");
}

/// Whoever is refused over and over has so many rows in an hour and a count; others keep theirs.
#[test]
fn refusals_without_end_fill_no_disk() {
    let world = World::new(Level::Software);
    let key = world.key(&[]);
    let (eve, bob) =
        (world.user("eve", &allow("DescribeKey", &[arn("key/x")])), world.user("bob", &allow("X", &[arn("x")])));
    let before = trail(&world).len();
    let long = "k".repeat(30_000);
    for _ in 0..150 {
        world.run_as(&eve, "DisableKey", &[("KeyId", &long)]).unwrap_err();
    }
    world.run_as(&bob, "DisableKey", &[("KeyId", &key)]).unwrap_err();
    let told = |from: usize| trail(&world)[from..].to_vec();
    let rows = told(before);
    assert_eq!(rows.len(), 100 + 1 + 1, "an auditor sees a hundred of hers, his, and how many there are more");
    assert!(rows.iter().all(|row| row.resource.len() <= 256));
    assert_eq!((rows[100].caller.as_str(), rows[100].outcome.as_str()), ("user/bob", "AccessDenied"));
    let more = &rows[101];
    assert_eq!((more.caller.as_str(), more.action.as_str(), more.count), ("user/eve", "MoreRefusals", Some(50)));
    world.run_as(&eve, "DisableKey", &[("KeyId", &key)]).unwrap_err();
    world.now.fetch_add(3600, std::sync::atomic::Ordering::SeqCst);
    world.run_as(&eve, "EnableKey", &[("KeyId", &key)]).unwrap_err();
    let rest: Vec<_> = told(before + 102).into_iter().map(|row| (row.action, row.count)).collect();
    assert_eq!(rest, [("MoreRefusals".to_owned(), Some(1)), ("EnableKey".to_owned(), None)]);
}

/// By the command: its own verbs, the number that the error bears, and nothing for those who did not prove who they are.
#[test]
fn the_command_writes_refusals_down() {
    let home = Home::new(Level::Software);
    let lines = || -> Vec<Value> {
        let run = home.alikms(["audit"]);
        run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    home.answer(&["CreateUser", "--UserName", "bob"]);
    let before = lines().len();
    let refused = home.alikms(["--as", "bob", "ListAliases"]);
    assert!(home.alikms(["--as", "bob", "audit"]).status == 1 && home.alikms(["--as", "bob", "maintain"]).status == 1);
    assert_eq!(home.alikms(["promote", "--KeyId", "alias/none", "--KeyVersionId", "x"]).status, 1);
    for unknown in [&["--as", "nobody", "ListKeys"][..], &["--pin", "file:/dev/null", "ListKeys"], &["DisableKey"]] {
        assert_ne!(home.alikms(unknown.iter()).status, 0);
    }
    let rows = lines().split_off(before);
    let told: Vec<_> = rows
        .iter()
        .map(|row| ["caller", "action", "outcome"].map(|name| row[name].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            ["user/bob", "ListAliases", "AccessDenied"],
            ["user/bob", "ReadAudit", "AccessDenied"],
            ["user/bob", "Maintain", "AccessDenied"],
            ["account", "Promote", "AliasNotFound"],
        ]
    );
    assert!(refused.stderr.contains(rows[0]["request"].as_str().unwrap()), "{}", refused.stderr);
}

/// A rehearsal hands out nothing, and the trail does not say that it did.
#[test]
fn rehearsals_are_told_apart_from_uses() {
    let home = Home::bare(Level::Software);
    let text = std::fs::read_to_string(home.config()).unwrap();
    home.write("alikms.toml", text + "[audit]\ncrypto = \"all\"\n");
    home.init();
    let key = home.query(&["CreateKey"], "KeyMetadata.KeyId");
    let encrypt = ["Encrypt", "--KeyId", key.as_str(), "--Plaintext", "aGVsbG8="];
    assert_eq!(home.alikms([&encrypt[..], &["--DryRun", "true"]].concat()).status, 1);
    home.answer(&encrypt);
    home.answer(&["DisableKey", "--KeyId", &key]);
    assert_eq!(home.alikms([&encrypt[..], &["--DryRun", "true"]].concat()).status, 1);
    let run = home.alikms(["audit"]);
    let lines = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outcomes: Vec<_> = lines
        .filter(|line| line["action"] == "Encrypt")
        .map(|line| line["outcome"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(outcomes, ["DryRun", "ok", "DryRun KeyState"]);
}
