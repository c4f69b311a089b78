//! The command with a client's `alikms.toml`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::support::*;
use crate::tokens::is_root;
use crate::whole::Whole;

/// `alikms ACTION` with a client's configuration: nobody has the account's rights because the agent can open the store.
#[test]
fn actions_by_the_agent_need_a_login() {
    if !is_root() {
        return; // Only root can be somebody else.
    }
    let whole = Whole::new(false, 30, "allow = [65534]\n");
    let print = |args: &[&str]| whole.installation.print(args);
    let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:ListKeys","Resource":"*"}]}"#;
    let (user, policy) = (["--UserName", "bob"], ["--PolicyName", "list"]);
    print(&[&["CreateUser"][..], &user].concat());
    print(&[&["CreatePolicy"][..], &policy, &["--PolicyDocument", document]].concat());
    print(&[&["AttachPolicyToUser"][..], &policy, &user].concat());
    let file = |name: &str, text: &str| {
        let path = whole.folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        format!("file:{}", path.display())
    };
    let (bobs, owners, wrong) = (file("bob", "bobs-pin"), file("owner", PIN), file("wrong", "wrong-pin"));
    print(&[&["set-user-pin"][..], &user, &["--user-pin", &bobs]].concat());
    let made = whole.installation.alikms(&["CreateAccessKey", "--UserName", "bob"]);
    let (id, secret) = (&made["AccessKey"]["AccessKeyId"], &made["AccessKey"]["AccessKeySecret"]);
    let (id, secret) = (id.as_str().unwrap(), file("secret", secret.as_str().unwrap()));
    fs::set_permissions(whole.installation.path(""), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(whole.folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(whole.conf(), Permissions::from_mode(0o644)).unwrap();
    let alikms = whole.folder.path().join("alikms");
    fs::copy(env!("CARGO_BIN_EXE_alikms"), &alikms).unwrap();
    let as_user = |user: u32, args: &[&str]| {
        use std::os::unix::process::CommandExt;
        let said =
            Command::new(&alikms).args(args).arg("--config").arg(whole.conf()).uid(user).gid(user).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (said.status.code().unwrap(), text(&said.stdout), text(&said.stderr))
    };
    let (code, _, said) = as_user(65_534, &["ListKeys"]);
    assert!(code == 3 && said.contains("the token is locked") && said.contains("say who you are: --pin"), "{said}");
    assert_eq!(as_user(65_534, &["ListKeys", "--as", "bob"]).0, 3, "a name is no login");
    let (code, _, said) = as_user(65_534, &["ListKeys", "--pin", &wrong]);
    assert!(code == 3 && said.contains("the PIN is not correct"), "{said}");
    // The owner, by his PIN; his answers are as ever.
    let (code, key, said) =
        as_user(65_534, &["CreateKey", "--KeySpec", "EC_P256", "--pin", &owners, "--query", "KeyMetadata.KeyId"]);
    assert!(code == 0, "{said}");
    let (_, there, _) = as_user(65_534, &["ListKeys", "--pin", &owners]);
    let (here, there): (Value, Value) =
        (whole.installation.alikms(&["ListKeys"]), serde_json::from_str(&there).unwrap());
    assert_eq!((&here["Keys"], here["TotalCount"].as_u64()), (&there["Keys"], Some(1)));
    let (code, _, said) = as_user(65_534, &["DescribeKey", "--KeyId", "alias/nothing", "--pin", &owners]);
    assert!(code == 1 && said.contains("AliasNotFound"), "{said}");
    // A RAM user, by his own PIN or access key, and no further than his policies.
    let by_key = ["--access-key-id", id, "--access-key-secret", &secret];
    for login in [&["--as", "bob", "--pin", &bobs][..], &by_key[..]] {
        assert_eq!(as_user(65_534, &[&["ListKeys"][..], login].concat()).0, 0);
        let (code, _, said) = as_user(65_534, &[&["DisableKey", "--KeyId", key.trim()][..], login].concat());
        assert!(code == 1 && said.contains("ErrorCode: Forbidden.NoPermission"), "{said}");
    }
    // Root is nobody either without a PIN: in a container he may be anybody.
    assert_eq!(as_user(0, &["DisableKey", "--KeyId", key.trim()]).0, 3);
    assert_eq!(as_user(0, &["DisableKey", "--KeyId", key.trim(), "--pin", &owners]).0, 0);
    let audit = whole.audit();
    let told = |action: &str| {
        let line = audit.iter().find(|line| line["action"] == action && line["outcome"] == "ok").unwrap();
        (line["uid"].as_u64().unwrap(), line["caller"].as_str().unwrap().to_owned())
    };
    assert_eq!((told("CreateKey"), told("DisableKey")), ((65_534, "account".into()), (0, "account".into())));
}
