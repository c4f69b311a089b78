//! Every mistake that can be made in `alikms.toml`, with its exact sentence.

use std::time::Duration;

use super::*;
use crate::config::User;

/// The form that the README shows, comments included.
const GOOD: &str = r#"[store]
url = "sqlite:/var/lib/alikms/kms.db"
[unlock]
method = "file"                      # or "pin": nothing is opened before C_Login
path   = "/etc/alikms/unlock.key"
[[device]]
name = "softhsm"
profile = "softhsm2"
library = "/usr/lib/softhsm/libsofthsm2.so"
token = "alikms-hsm"
pin = "file:/etc/alikms/device.pin"  # file:, env:, credential:
# also: slot, serial, init_args, env (nginx scrubs the environment), isolate = "copy"
[[token]]
label = "alikms"
account = "1000000000000001"
region = "cn-hangzhou"
device = "softhsm"                   # optional: without it the token has SOFTWARE keys only
protection_level = "HSM"             # default for keys that generic tools create
"#;

/// Of who has a store.
fn read(path: &Path, text: &str) -> Result<Config> {
    super::read(path, text)?.own()
}

fn sentence(text: &str) -> String {
    match read(Path::new("a.toml"), text) {
        Ok(_) => "accepted".into(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_client_needs_no_more_than_a_socket() {
    let found = |text: &str| super::read(Path::new("a.toml"), text).unwrap();
    let Found::Client(client) = found("[client]\n") else { panic!() };
    assert_eq!((client.socket, client.deadline), (AgentConfig::default().socket, AgentConfig::default().deadline));
    let Found::Client(client) = found("[client]\nsocket = \"/run/a/s\"\ndeadline = 3\n") else { panic!() };
    assert_eq!((client.socket, client.deadline), ("/run/a/s".into(), Duration::from_secs(3)));
    assert!(
        sentence("[client]\n").starts_with("a.toml: this alikms.toml is a client's: the store is the agent's at /run/")
    );
    let beside = |name: &str| {
        format!(
            "a.toml:1: {name} cannot stand beside [client]: store, devices, tokens and audit trail are the agent's, and \
             written in its alikms.toml. Remove one of the two"
        )
    };
    for name in ["[store]", "[unlock]", "[audit]", "[agent]", "[[device]]", "[[token]]"] {
        assert_eq!(sentence(&format!("{name}\n[client]\n")), beside(name));
    }
    let said = sentence("[client]\nsocket = \"run/s\"\n");
    assert!(said.contains("socket must be a path that begins with a slash"), "{said}");
    assert!(sentence("[client]\ndeadline = 0\n").contains("deadline is 1 to 600 seconds"));
    assert!(sentence("[client]\nsockets = \"/s\"\n").contains("did you mean socket?"));
    assert!(sentence(&format!("{GOOD}[agent]\nclients = 0\n")).contains("clients is 1 to 1000 processes"));
    assert!(sentence(&format!("{GOOD}[agent]\ntokens = 1\n")).contains("tokens cannot be"));
}

#[test]
fn the_documented_form() {
    let config = read(Path::new("/etc/alikms/alikms.toml"), GOOD).unwrap();
    assert_eq!(config.store, Path::new("/var/lib/alikms/kms.db"));
    assert_eq!(config.unlock, Unlock::File("/etc/alikms/unlock.key".into()));
    assert_eq!(config.crypto_audit, CryptoAudit::None);
    for (word, meant) in [("none", CryptoAudit::None), ("summary", CryptoAudit::Summary), ("all", CryptoAudit::All)] {
        let said = read(Path::new("a"), &format!("{GOOD}[audit]\ncrypto = \"{word}\"\n")).unwrap();
        assert_eq!(said.crypto_audit, meant);
    }
    let device = config.device("softhsm").unwrap();
    assert_eq!((&config.agent, device.agent.as_ref()), (&AgentConfig::default(), None));
    assert_eq!((device.profile.as_str(), device.token.as_deref()), ("softhsm2", Some("alikms-hsm")));
    assert_eq!(device.pin, PinSource::File("/etc/alikms/device.pin".into()));
    let token = &config.tokens[0];
    assert_eq!((token.protection_level, token.destroy_immediate), (Level::Hsm, false));
    assert_eq!((token.label.as_str(), &token.devices[..], token.quorum), ("alikms", &["softhsm".to_owned()][..], 1));
}

#[test]
fn everything_else_that_may_be_said() {
    let text = r#"
        [agent]
        socket = "/run/a/s"
        allow = ["www-data", 33]
        deadline = 3
        tokens = true
        clients = 9
        [store]
        url = "sqlite:/k.db"
        [unlock]
        method = "pin"
        [[device]]
        name = "luna"
        library = "/l.so"
        slot = 4294967295
        serial = "42"
        pin = "credential:luna"
        init_args = "a=b"
        isolate = "share"
        device_mode = "agent"
        [device.env]
        ChrystokiConfigurationPath = "/etc"
        [[token]]
        label = "t"
        account = "1"
        region = "r"
        device = "luna"
        destroy = "immediate"
        [[token]]
        label = "u"
        account = "1"
        region = "s"
    "#;
    let config = read(Path::new("a"), text).unwrap();
    let device = &config.devices[0];
    assert_eq!(
        (device.slot, device.serial.as_deref(), device.isolate),
        (Some(4294967295), Some("42"), Some(Isolate::Share))
    );
    let allow = vec![User::Name("www-data".into()), User::Id(33)];
    let agent = AgentConfig {
        socket: "/run/a/s".into(),
        allow: Some(allow),
        deadline: Duration::from_secs(3),
        tokens: true,
        clients: 9,
    };
    assert_eq!((&config.agent, device.agent.as_ref()), (&agent, Some(&agent)));
    assert_eq!((device.profile.as_str(), device.env["ChrystokiConfigurationPath"].as_str()), ("auto", "/etc"));
    let levels: Vec<_> = config.tokens.iter().map(|token| (token.protection_level, token.destroy_immediate)).collect();
    assert_eq!(levels, [(Level::Hsm, true), (Level::Software, false)]);
}

/// What is replaced in the good form, by what, and the sentence.
const MISTAKES: &[(&str, &str, &str)] = &[
    ("[store]\nurl", "[stor]\nurl", "1: unknown key stor: did you mean store?"),
    ("url =", "urrl =", "2: unknown key urrl: did you mean url?"),
    ("method =", "methods = ", "4: unknown key methods: did you mean method?"),
    ("token = \"alikms-hsm\"", "Token = \"alikms-hsm\"", "10: unknown key Token: did you mean token?"),
    (
        "account =",
        "owner =",
        "15: unknown key owner: known here are label, account, region, device, devices, quorum, protection_level, destroy, notifications, sm_alias",
    ),
    (
        "[store]\n",
        "[limits]\nkeys = 3\n[store]\n",
        "1: unknown key limits: known here are store, unlock, audit, agent, client, device, token",
    ),
    (
        "[store]\n",
        "[audit]\ncrypto = \"some\"\n[store]\n",
        "2: crypto cannot be \"some\": write crypto = \"none\", crypto = \"summary\" or crypto = \"all\"",
    ),
    ("[store]\n", "[audit]\ncrypt = \"all\"\n[store]\n", "2: unknown key crypt: did you mean crypto?"),
    (
        "[store]\n",
        "[policy]\n[store]\n",
        "1: unknown key policy: known here are store, unlock, audit, agent, client, device, token",
    ),
    (
        "[store]\nurl = \"sqlite:/var/lib/alikms/kms.db\"\n",
        "",
        "1: [store] is missing: add [store] with url = \"sqlite:/var/lib/alikms/kms.db\"",
    ),
    (
        "url = \"sqlite:/var/lib/alikms/kms.db\"",
        "",
        "1: [store] lacks url: add url = \"sqlite:/var/lib/alikms/kms.db\"",
    ),
    (
        "\"sqlite:/var/lib/alikms/kms.db\"",
        "5",
        "2: url cannot be integer 5: write url = \"sqlite:/var/lib/alikms/kms.db\"",
    ),
    ("sqlite:/var", "sqlite://var", "2: one slash follows sqlite:: url = \"sqlite:/var/lib/alikms/kms.db\""),
    ("sqlite:/var", "sqlite:var", "2: the path must begin with a slash: url = \"sqlite:/var/lib/alikms/kms.db\""),
    ("kms.db", "", "2: the path must name a file, not a directory: url = \"sqlite:/var/lib/alikms/kms.db\""),
    (
        "sqlite:/var/lib",
        "postgres:/var/lib",
        "2: the store is an SQLite file, written: url = \"sqlite:/var/lib/alikms/kms.db\"",
    ),
    ("\"file\" ", "\"key\" ", "4: method cannot be \"key\": write method = \"file\" or method = \"pin\""),
    ("\"file\" ", "\"pin\" ", "5: path belongs to method = \"file\": remove it, or change the method"),
    (
        "path   = \"/etc/alikms/unlock.key\"",
        "",
        "3: [unlock] with method \"file\" lacks path: add path = \"/etc/alikms/unlock.key\"",
    ),
    (
        "\"/etc/alikms/unlock.key\"",
        "\"unlock.key\"",
        "5: path must be a path that begins with a slash, not \"unlock.key\": path = \"/etc/alikms/unlock.key\"",
    ),
    ("name = \"softhsm\"\n", "\n", "6: [[device]] lacks name: add name = \"softhsm\""),
    (
        "name = \"softhsm\"\n",
        "name = \"\"\n",
        "7: name cannot be empty or contain control characters: name = \"softhsm\"",
    ),
    (
        "library = \"/usr/lib/softhsm/libsofthsm2.so\"\n",
        "\n",
        "6: [[device]] lacks library: add library = \"/usr/lib/softhsm/libsofthsm2.so\"",
    ),
    (
        "\"/usr/lib/softhsm/libsofthsm2.so\"",
        "\"libsofthsm2.so\"",
        "9: library must be a path that begins with a slash, not \"libsofthsm2.so\": library = \"/usr/lib/softhsm/libsofthsm2.so\"",
    ),
    (
        "token = \"alikms-hsm\"\n",
        "\n",
        "6: nothing tells which token of the device \"softhsm\" to use: add token = \"alikms-hsm\", serial = \"0123456789abcdef\" or slot = 0",
    ),
    ("token = \"alikms-hsm\"", "slot = \"0\"", "10: slot cannot be string \"0\": write slot = 0"),
    ("token = \"alikms-hsm\"", "slot = -1", "10: slot cannot be integer -1: write slot = 0"),
    (
        "token = \"alikms-hsm\"",
        "token = \"a\"\nisolate = true",
        "11: isolate cannot be boolean true: write isolate = \"copy\" or isolate = \"share\"",
    ),
    (
        "token = \"alikms-hsm\"",
        "token = \"a\"\nisolate = \"yes\"",
        "11: isolate cannot be \"yes\": write isolate = \"copy\" or isolate = \"share\"",
    ),
    (
        "token = \"alikms-hsm\"",
        "token = \"a\"\nenv = [\"A=B\"]",
        "11: env cannot be sequence: write env = { SOFTHSM2_CONF = \"/etc/alikms/softhsm2.conf\" }",
    ),
    (
        "token = \"alikms-hsm\"",
        "token = \"a\"\nenv = { \"A=B\" = \"c\" }",
        "11: \"A=B\" cannot be a variable of the environment",
    ),
    (
        "pin = \"file:/etc/alikms/device.pin\"",
        "pin = \"1234\"",
        "11: a PIN is not written here but where it is: \"file:/path\", \"env:NAME\" or \"credential:NAME\" (of systemd)",
    ),
    ("\"file:/etc/alikms/device.pin\"", "1234", "11: pin must be text: write pin = \"file:/etc/alikms/device.pin\""),
    ("file:/etc/alikms/device.pin", "file:device.pin", "11: the path of a PIN file must begin with a slash"),
    (
        "token = \"alikms-hsm\"",
        "token = \"a\"\ndevice_mode = \"daemon\"",
        "11: device_mode cannot be \"daemon\": write device_mode = \"agent\" or device_mode = \"process\"",
    ),
    (
        "[store]\n",
        "[agent]\nsocket = \"agent.sock\"\n[store]\n",
        "2: socket must be a path that begins with a slash, not \"agent.sock\": socket = \"/run/alikms/agent.sock\"",
    ),
    (
        "[store]\n",
        "[agent]\nsocket = \"/\"\n[store]\n",
        "2: socket is the path of a file, of at most 100 bytes: socket = \"/run/alikms/agent.sock\"",
    ),
    (
        "[store]\n",
        "[agent]\nallow = []\n[store]\n",
        "2: allow is empty, so that nobody could use the agent: remove it, or name users",
    ),
    ("[store]\n", "[agent]\ndeadline = 0\n[store]\n", "2: deadline is 1 to 600 seconds: deadline = 10"),
    ("[store]\n", "[agent]\ndeadline = \"3\"\n[store]\n", "2: deadline cannot be string \"3\": write deadline = 10"),
    (
        "[store]\n",
        "[agent]\nport = 3\n[store]\n",
        "2: unknown key port: known here are socket, allow, deadline, tokens, clients",
    ),
    ("[[device]]", "[device]", "6: device cannot be map: write [[device]], with two brackets on each side"),
    ("label = \"alikms\"", "label = \"\"", "14: a label cannot be empty: label = \"alikms\""),
    ("label = \"alikms\"", "label = \"alikms \"", "14: a label cannot begin or end with a blank: label = \"alikms\""),
    (
        "label = \"alikms\"",
        "label = \"ééééééééééééééééé\"",
        "14: a label has at most 32 bytes, this one has 34: label = \"alikms\"",
    ),
    ("\"1000000000000001\"", "\"me\"", "15: an account is 1 to 32 digits: account = \"1000000000000001\""),
    (
        "\"1000000000000001\"",
        "1000000000000001",
        "15: account cannot be integer 1000000000000001: write account = \"1000000000000001\"",
    ),
    (
        "\"cn-hangzhou\"",
        "\"CN/hangzhou\"",
        "16: a region is 1 to 64 small letters, digits and hyphens: region = \"cn-hangzhou\"",
    ),
    (
        "device = \"softhsm\"",
        "device = \"softhms\"",
        "17: no [[device]] has the name \"softhms\": did you mean \"softhsm\"?",
    ),
    ("device = \"softhsm\"", "devices = [\"luna\"]", "17: no [[device]] has the name \"luna\": there is softhsm"),
    ("device = \"softhsm\"", "device = \"softhsm\"\ndevices = [\"softhsm\"]", "18: write device or devices, not both"),
    ("device = \"softhsm\"", "devices = []", "17: devices are 1 to 16 names: devices = [\"first\", \"second\"]"),
    ("device = \"softhsm\"", "devices = [\"softhsm\", \"softhsm\"]", "17: devices names \"softhsm\" twice"),
    (
        "device = \"softhsm\"",
        "devices = \"softhsm\"",
        "17: devices cannot be string \"softhsm\": write devices = [\"first\", \"second\"]",
    ),
    (
        "device = \"softhsm\"",
        "device = \"softhsm\"\nquorum = 2",
        "18: quorum is 1 to 1, the number of devices that must have a new key",
    ),
    ("device = \"softhsm\"", "quorum = 1", "17: quorum belongs to devices: remove it, or add them"),
    ("device = \"softhsm\"", "device = \"softhsm\"\nquorum = -1", "18: quorum cannot be integer -1: write quorum = 2"),
    ("device = \"softhsm\"", "device = \"luna\"", "17: no [[device]] has the name \"luna\": there is softhsm"),
    (
        "device = \"softhsm\"",
        "",
        "18: protection_level = \"HSM\" needs a device: add device = \"the name of a [[device]]\", or write protection_level = \"SOFTWARE\"",
    ),
    (
        "= \"HSM\"",
        "= \"hsm\"",
        "18: protection_level cannot be \"hsm\": write protection_level = \"HSM\" or protection_level = \"SOFTWARE\"",
    ),
    ("protection_level = \"HSM\"", "destroy = \"now\"", "18: destroy cannot be \"now\": write destroy = \"immediate\""),
    (
        "protection_level = \"HSM\"",
        "sm_alias = \"thales\"",
        "18: sm_alias knows ibm, itrus, luna, sansec, not \"thales\"",
    ),
    (
        "protection_level = \"HSM\"",
        "sm_alias = { CKM_ALIKMS_SM4_CBCC = 0x80000001 }",
        "18: sm_alias has no CKM_ALIKMS_SM4_CBCC, perhaps CKM_ALIKMS_SM4_CBC",
    ),
    (
        "protection_level = \"HSM\"",
        "sm_alias = { like = \"ibm\", CKM_ALIKMS_SM3 = 0x250 }",
        "18: the number of CKM_ALIKMS_SM3 must be a vendor's: 0x80000000 to 0xffffffff, and not one of ours",
    ),
    (
        "protection_level = \"HSM\"",
        "sm_alias = 7",
        "18: sm_alias is a vendor's name, or numbers by our names: sm_alias = \"luna\"",
    ),
    ("region = ", "region ", "16: key with no value, expected `=`"),
];

#[test]
fn mistakes() {
    for (good, bad, expected) in MISTAKES {
        assert!(GOOD.contains(good), "{good}");
        assert_eq!(sentence(&GOOD.replacen(good, bad, 1)), format!("a.toml:{expected}"), "{bad}");
    }
}

#[test]
fn what_may_not_appear_twice() {
    let again = |more: &str| sentence(&format!("{GOOD}{more}"));
    let token = |label: &str, region: &str| {
        again(&format!("[[token]]\nlabel = \"{label}\"\naccount = \"1000000000000001\"\nregion = \"{region}\"\n"))
    };
    assert_eq!(token("other", "cn-beijing"), "accepted");
    assert_eq!(token("alikms", "cn-beijing"), "a.toml:19: two tokens have the label \"alikms\": rename one");
    assert_eq!(
        token("other", "cn-hangzhou"),
        "a.toml:19: two tokens are account 1000000000000001 in region cn-hangzhou: an account has one token in a region"
    );
    assert_eq!(
        again("[[device]]\nname = \"softhsm\"\nlibrary = \"/x\"\nslot = 1\npin = \"env:PIN\"\n"),
        "a.toml:19: two devices have the name \"softhsm\": rename one"
    );
    let without = GOOD.split("[[token]]").next().unwrap();
    assert_eq!(sentence(without), "a.toml:1: there is no token: add [[token]] with label, account and region");
}

#[test]
fn several_devices_behind_a_token() {
    let second = "[[device]]\nname = \"other\"\nlibrary = \"/x\"\nslot = 1\npin = \"env:PIN\"\n[[token]]";
    let text = GOOD.replacen("[[token]]", second, 1);
    let members = |line: &str| {
        let text = text.replacen("device = \"softhsm\"", line, 1);
        let config = read(Path::new("a.toml"), &text).unwrap();
        (config.tokens[0].devices.join(" "), config.tokens[0].quorum, config.tokens[0].protection_level)
    };
    assert_eq!(members("devices = [\"other\", \"softhsm\"]"), ("other softhsm".to_owned(), 2, Level::Hsm));
    assert_eq!(members("devices = [\"other\", \"softhsm\"]\nquorum = 1").1, 1);
    assert_eq!(members("devices = [\"other\"]"), ("other".to_owned(), 1, Level::Hsm));
}
