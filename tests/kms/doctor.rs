//! `alikms doctor`: everything in order, and each thing that is not.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use alikms_pkcs11::model::key::Level;

use super::common::Home;

fn mode(home: &Home, name: &str, mode: u32) {
    fs::set_permissions(home.path(name), Permissions::from_mode(mode)).unwrap();
}

fn healthy(level: Level) -> Home {
    let home = Home::new(level);
    mode(&home, "alikms.toml", 0o644);
    if level == Level::Hsm {
        mode(&home, "device.pin", 0o640);
    }
    home
}

#[test]
fn a_sound_installation_is_told_so_with_what_its_device_can_do() {
    let home = healthy(Level::Hsm);
    let key = home.query(&["CreateKey", "--KeySpec", "EC_P256", "--KeyUsage", "SIGN/VERIFY"], "KeyMetadata.KeyId");
    home.alikms(["CreateAlias", "--KeyId", &key, "--AliasName", "alias/web"]);
    let run = home.alikms(["doctor", "--try"]);
    assert_eq!(run.status, 0, "{}", run.stdout);
    for said in [
        "ok     token alikms-hsm, serial ",
        "note   profile softhsm2, from measured with SoftHSM 2.6.1",
        "EC_P256K",
        "note   not EC_SM2: it lacks the mechanisms of EC_SM2",
        "ok     a key of RSA_4096 was made and destroyed",
        "ok     a key of HMAC_SHA_256 was made and destroyed",
        "ok     key material is imported into it by RSAES_PKCS1_V1_5, RSAES_OAEP_SHA_1, RSA_AES_KEY_WRAP_SHA_1\n",
        "note   no import by RSAES_OAEP_SHA_256: it lacks CKM_RSA_PKCS_OAEP with Sha256",
        "note   it has AES key wrap for keys only",
        "ok     key material was imported by RSA_AES_KEY_WRAP_SHA_1 and destroyed",
        "ok     alias/web  pkcs11:token=alikms;object=web;type=private",
        "alias/web for each client",
        "openssl, provider",
        "nginx",
        "GnuTLS",
        "slotListIndex = 0",
        "nothing is wrong",
    ] {
        assert!(run.stdout.contains(said), "{said}: {}", run.stdout);
    }
    assert!(!run.stdout.contains("WRONG"), "{}", run.stdout);
    assert_eq!(home.alikms(["check"]).stdout, "everything is in order\n");
}

#[test]
fn each_thing_that_is_wrong_is_told() {
    let home = healthy(Level::Hsm);
    let wrong = |home: &Home, said: &str| {
        let run = home.alikms(["doctor"]);
        assert_eq!(run.status, 1, "{}", run.stdout);
        let lines: Vec<_> = run.stdout.lines().filter(|line| line.contains("WRONG")).collect();
        assert!(lines[0].contains(said), "{said}: {}", run.stdout);
    };
    for (name, bad, good, said) in [
        ("unlock.key", 0o644, 0o600, "it opens every key"),
        ("device.pin", 0o644, 0o640, "it is the device's PIN"),
        ("store/kms.db", 0o666, 0o660, "others than its group can reach it"),
        ("store", 0o2777, 0o2770, "everybody can put other files"),
        ("alikms.toml", 0o666, 0o644, "others than its owner can change it"),
    ] {
        mode(&home, name, bad);
        wrong(&home, said);
        mode(&home, name, good);
    }
    assert_eq!(home.alikms(["doctor"]).status, 0);
    // A clock that was set back, as the store sees it.
    let ahead = std::time::SystemTime::now() + std::time::Duration::from_secs(86_400);
    let store = fs::File::options().append(true).open(home.path("store/kms.db-counter")).unwrap();
    store.set_modified(ahead).unwrap();
    wrong(&home, "the clock was set back");
    store.set_modified(std::time::SystemTime::now()).unwrap();
    let text = fs::read_to_string(home.config()).unwrap();
    for (from, to, said) in [
        ("token = \"alikms-hsm\"", "token = \"another\"", "there is no token with label \"another\""),
        ("profile = \"softhsm2\"", "profile = \"softhsm3\"", "no device profile is called \"softhsm3\": there are "),
        ("profile = \"softhsm2\"", "override = { sesions = 4 }", "unknown field `sesions`"),
        ("profile = \"softhsm2\"", "profile = \"cloudhsm\"", "its PIN is not tried: it must be user:password"),
        ("libsofthsm2.so", "libnowhere.so", "No such file"),
    ] {
        home.write("alikms.toml", text.replace(from, to));
        wrong(&home, said);
    }
    // A mistake in the file itself comes with its line, as from every command.
    home.write("alikms.toml", text.replace("label", "labl"));
    let run = home.alikms(["doctor"]);
    assert!(run.status != 0 && run.stderr.contains("did you mean label?"), "{run:?}");
}

#[test]
fn a_profile_is_found_by_the_library_and_changed_in_the_configuration() {
    let home = healthy(Level::Hsm);
    let text = fs::read_to_string(home.config()).unwrap();
    let with = |line: &str| {
        home.write("alikms.toml", text.replace("profile = \"softhsm2\"", line));
        home.alikms(["doctor"]).stdout
    };
    assert!(with("").contains("profile softhsm2, from"));
    let said = with("override = { sessions = 4, lacks = [\"RSA_2048\"] }");
    assert!(said.contains("up to 4 sessions") && said.contains("not RSA_2048: it lacks keys of RSA_2048"), "{said}");
    let run =
        home.alikms(["CreateKey", "--KeySpec", "RSA_2048", "--KeyUsage", "SIGN/VERIFY", "--ProtectionLevel", "HSM"]);
    assert!(run.status == 1 && run.stderr.contains("lacks keys of RSA_2048"), "{run:?}");
    // A device that nobody has described: only what is standard.
    assert!(with("profile = \"generic\"").contains("no profile fits it"));
}
