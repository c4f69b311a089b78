//! What goes wrong outside: device, store, disk, PINs, configuration. Each with its exact sentence and code, through the
//! command and, where programs meet it, through the module.

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use alikms_pkcs11::model::key::Level;
use common::module::Module;
use common::{Home, PIN, Run, SO_PIN, run, softhsm};
use cryptoki_sys::*;

/// The user and group "nobody" of Debian: somebody who owns nothing here.
const NOBODY: u32 = 65534;

fn replace(home: &Home, from: &str, to: &str) {
    let text = fs::read_to_string(home.config()).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(home.config(), text.replace(from, to)).unwrap();
}

/// An action that failed in these words, HTTP status aside.
fn refused(run: &Run, code: &str, message: &str) {
    let Run { status, stdout, stderr } = run;
    assert_eq!((*status, stdout.as_str()), (1, ""), "{run:?}");
    let mut lines = stderr.lines();
    assert_eq!(lines.next(), Some("ERROR: SDK.ServerError"), "{run:?}");
    assert_eq!(lines.next(), Some(format!("ErrorCode: {code}").as_str()), "{run:?}");
    assert_eq!(lines.nth(2), Some(format!("Message: {message}").as_str()), "{run:?}");
}

/// A failure in one sentence, exit status 1.
fn failed(run: &Run, sentence: &str) {
    assert_eq!(
        (run.status, run.stdout.as_str(), run.stderr.as_str()),
        (1, "", format!("ERROR: {sentence}\n").as_str())
    );
}

const CREATE_HSM: [&str; 5] = ["CreateKey", "--KeySpec", "EC_P256", "--ProtectionLevel", "HSM"];

/// C_GenerateKeyPair of a P-256 key on the token.
fn generate(module: &Module, session: CK_SESSION_HANDLE) -> CK_RV {
    let mechanism =
        CK_MECHANISM { mechanism: CKM_EC_KEY_PAIR_GEN, pParameter: std::ptr::null_mut(), ulParameterLen: 0 };
    let p256 = [0x06u8, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    let yes = CK_TRUE;
    let attribute =
        |kind, value: *const u8, len| CK_ATTRIBUTE { type_: kind, pValue: value.cast_mut().cast(), ulValueLen: len };
    let token = attribute(CKA_TOKEN, &raw const yes, 1);
    let public = [token, attribute(CKA_EC_PARAMS, p256.as_ptr(), p256.len() as CK_ULONG)];
    let mut handles = [0u64; 2];
    let arguments = [
        session,
        (&raw const mechanism) as u64,
        public.as_ptr() as u64,
        2,
        (&raw const token) as u64,
        1,
        (&raw mut handles[0]) as u64,
        (&raw mut handles[1]) as u64,
    ];
    module.call("C_GenerateKeyPair", &arguments)
}

/// Whatever is wrong with the device: the module starts, shows its slot, and its own keys work.
fn device_is_out_of_reach(home: &Home, reason: &str) {
    let reason = &match Command::new("softhsm2-util")
        .arg("--show-slots")
        .env("SOFTHSM2_CONF", home.path("softhsm2.conf"))
        .output()
    {
        // What the test cannot know beforehand.
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let after = |word: &str| said.split(word).nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
            reason.replace("<serial>", &after("Serial number:")).replace("<slot>", &after("Slot "))
        }
        Err(error) => panic!("{error}"),
    };
    let said = format!("Service Unavailable Temporary. Device softhsm cannot be reached: {reason}.");
    refused(&home.alikms(CREATE_HSM), "ServiceUnavailableTemporary", &said);
    home.answer(&["CreateKey", "--KeySpec", "EC_P256"]);
    let status = home.alikms(["status"]);
    assert_eq!((status.status, status.stderr.as_str()), (1, ""));
    let line = format!("  NOT REACHABLE: device softhsm cannot be reached: {reason}\n");
    assert!(status.stdout.ends_with(&line), "{}", status.stdout);

    let module = Module::new(&home.config());
    let session = module.session();
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_OK);
    assert_eq!(generate(&module, session), CKR_DEVICE_ERROR);
    assert_eq!(module.call("C_Finalize", &[0]), CKR_OK);
}

#[test]
fn device_library_missing() {
    let home = Home::new(Level::Hsm);
    replace(&home, softhsm(), "/nowhere/libsofthsm2.so");
    device_is_out_of_reach(&home, "there is no library at /nowhere/libsofthsm2.so");
}

#[test]
fn device_library_is_none() {
    let home = Home::new(Level::Hsm);
    let text = home.write("text.so", "no library");
    replace(&home, softhsm(), text.to_str().unwrap());
    let run = home.alikms(CREATE_HSM);
    assert!(run.stderr.contains("Device softhsm cannot be reached: "), "{run:?}");
    assert!(run.stderr.contains("text.so"), "{run:?}");
}

#[test]
fn device_token_missing() {
    let home = Home::new(Level::Hsm);
    replace(&home, "token = \"alikms-hsm\"", "token = \"elsewhere\"");
    device_is_out_of_reach(
        &home,
        "there is no token with label \"elsewhere\"; present: \"alikms-hsm\" (serial <serial>, slot <slot>)",
    );
}

/// A device that locks after three wrong PINs must never see three of ours.
#[test]
fn device_pin_wrong_is_tried_once() {
    let home = Home::new(Level::Hsm);
    home.write("device.pin", "wrong-pin");
    let (library, count) = (home.path("count_login.so"), home.path("count"));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/count_login.c");
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Werror", "-isystem", "/usr/include/p11-kit-1"]);
    cc.arg(format!("-DCOUNT=\"{}\"", count.display()))
        .arg(format!("-DSOFTHSM=\"{}\"", softhsm()))
        .arg(source)
        .arg("-o")
        .arg(&library)
        .arg("-ldl");
    assert_eq!(run(&mut cc).status, 0, "{cc:?}");
    replace(&home, softhsm(), library.to_str().unwrap());
    let attempts = || fs::read(&count).map_or(0, |bytes| bytes.len());

    let said =
        "Internal Failure. Device softhsm refused the PIN of alikms.toml; it was tried once and is not tried again.";
    refused(&home.alikms(CREATE_HSM), "InternalFailure", said);
    assert_eq!(attempts(), 1);

    // One process, again and again.
    let module = Module::new(&home.config());
    let session = module.session();
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_OK);
    for _ in 0..5 {
        assert_eq!(generate(&module, session), CKR_DEVICE_ERROR);
    }
    assert_eq!(attempts(), 2);
    assert_eq!(module.call("C_Finalize", &[0]), CKR_OK);

    // The configuration mended and read anew.
    home.write("device.pin", "device-pin-1");
    assert_eq!(module.initialize(&home.config()), CKR_OK);
    let session = module.session();
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_OK);
    assert_eq!(generate(&module, session), CKR_OK);
    assert_eq!(attempts(), 3);
}

#[test]
fn device_pin_missing() {
    let home = Home::new(Level::Hsm);
    let path = home.path("device.pin");
    fs::remove_file(&path).unwrap();
    let run = home.alikms(CREATE_HSM);
    assert_eq!(run.status, 1);
    let said = format!("file:{}: it cannot be read: No such file or directory (os error 2)", path.display());
    assert!(run.stderr.contains(&said), "{run:?}");
}

/// Lets everybody read and nobody write.
fn make_read_only(home: &Home) {
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    for entry in fs::read_dir(home.path("store")).unwrap() {
        mode(&entry.unwrap().path(), 0o444);
    }
    mode(&home.path("store"), 0o555);
    mode(home.folder(), 0o755);
    // Who may read the store may read the unlock key; that everybody may is refused.
    // SAFETY: asks only.
    if unsafe { libc::geteuid() } == 0 {
        chown(home.path("unlock.key"), None, Some(NOBODY)).unwrap();
    }
}

/// Somebody who may read the store and not write it.
#[test]
fn store_read_only() {
    let home = Home::new(Level::Software);
    home.answer(&["CreateKey", "--KeySpec", "EC_P256"]);
    make_read_only(&home);
    // Root writes whatever the permissions say. A copy of the program: nobody may not enter every directory above it.
    let program = home.path("alikms");
    fs::copy(env!("CARGO_BIN_EXE_alikms"), &program).unwrap();
    let as_nobody = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().env("ALIKMS_CONF", home.config()).current_dir("/");
        // SAFETY: asks only.
        if unsafe { libc::geteuid() } == 0 {
            command.uid(NOBODY).gid(NOBODY);
        }
        run(&mut command)
    };
    let counter = home.path("store/kms.db-counter");
    let said = "Internal Failure. The store is read-only for this user: its change counter";
    let said = format!("{said} {} cannot be written.", counter.display());
    refused(&as_nobody(&["CreateKey", "--KeySpec", "EC_P256"]), "InternalFailure", &said);
    // Reading goes on.
    let listed = as_nobody(&["ListKeys", "--query", "TotalCount"]);
    assert_eq!((listed.status, listed.stdout.as_str()), (0, "1\n"), "{listed:?}");
    // What a tempdir cannot remove otherwise.
    fs::set_permissions(home.path("store"), Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn store_of_a_newer_schema() {
    let home = Home::new(Level::Software);
    let database = rusqlite::Connection::open(home.path("store/kms.db")).unwrap();
    let known: u32 = database.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    database.execute_batch("PRAGMA user_version = 99").unwrap();
    drop(database);
    let said = format!("the store has schema version 99, this program knows up to {known}: use a newer alikms");
    for arguments in [&["ListKeys"][..], &["CreateKey"], &["uri", "alias/x"]] {
        failed(&home.alikms(arguments), &said);
    }
    failed(&home.alikms(home.init_arguments()), &said);
    let status = home.alikms(["status"]);
    assert!(status.status == 1 && status.stdout.contains(&format!("  NOT USABLE: {said}\n")), "{status:?}");

    let module = Module::new(&home.config());
    let session = module.session();
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_DEVICE_ERROR);
}

#[test]
fn store_that_is_none() {
    let home = Home::new(Level::Software);
    for suffix in ["-wal", "-shm"] {
        let _ = fs::remove_file(home.path(&format!("store/kms.db{suffix}")));
    }
    home.write("store/kms.db", "this is a text of more than sixteen bytes");
    let run = home.alikms(["ListKeys"]);
    assert_eq!(run.status, 1);
    assert!(run.stderr.starts_with("ERROR: the store is damaged or was tampered with: "), "{run:?}");
}

/// A small file system of its own is filled to the brim. What was answered stays; what was refused left nothing behind.
#[test]
fn disk_full_while_writing() {
    // SAFETY: asks only.
    let root = unsafe { libc::geteuid() } == 0;
    let unshare = if root { "unshare -m" } else { "unshare -Urm" };
    let probe = run(Command::new("sh").args(["-c", &format!("{unshare} mount -t tmpfs none /mnt")]));
    if probe.status != 0 {
        println!("skipped: neither root nor user namespaces are to be had: {}", probe.stderr.trim());
        return;
    }
    let home = Home::bare(Level::Software);
    let script = "set -e; mkdir -p store; mount -t tmpfs -o size=1500k none store; A=$1; \
        $A init --pin file:pin --so-pin file:so.pin; $A CreateKey --KeySpec EC_P256 >/dev/null; \
        dd if=/dev/zero of=store/filler bs=1k >/dev/null 2>&1 || true; \
        n=1; while $A CreateKey --KeySpec EC_P256 >/dev/null 2>refused; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; done; \
        cat refused; $A ListKeys --query TotalCount; echo $n; rm store/filler; \
        $A CreateKey --KeySpec EC_P256 >/dev/null; $A ListKeys --query TotalCount; $A check";
    let mut command = home.command([""; 0]);
    let environment: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("sh");
    command.args(["-c", &format!("exec {unshare} sh -c '{}' sh \"$0\"", script.replace('\'', "'\\''"))]);
    command.arg(env!("CARGO_BIN_EXE_alikms")).env_clear().envs(environment).current_dir(home.folder());
    let run = run(command.stdin(Stdio::null()));
    assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{run:?}");
    let lines: Vec<&str> = run.stdout.lines().collect();
    let at = lines.iter().position(|line| *line == "ERROR: SDK.ServerError").unwrap();
    assert_eq!(lines[at + 1], "ErrorCode: ServiceUnavailableTemporary");
    let said = "Message: Service Unavailable Temporary. The disk that holds the store is full.";
    assert_eq!(lines[at + 4], said, "{run:?}");
    let count = |at: usize| lines[at].parse::<u32>().unwrap();
    assert_eq!((count(at + 5), count(at + 7)), (count(at + 6), count(at + 6) + 1), "{run:?}");
    assert_eq!(lines[at + 8..], ["everything is in order"]);
}

#[test]
fn many_initialise_at_once() {
    let home = Home::bare(Level::Software);
    let children: Vec<_> = (0..8)
        .map(|_| home.command(home.init_arguments()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
        .collect();
    let outputs: Vec<_> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let mut made = [0; 3];
    for output in outputs {
        let (said, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!((output.status.code(), error.as_ref()), (Some(0), ""), "{said}");
        for (count, what) in made.iter_mut().zip(["unlock key", "store", "token alikms"]) {
            *count += u32::from(said.contains(&format!("made {what}")));
        }
    }
    // Each thing was made by one of them.
    assert_eq!(made, [1; 3]);
    assert_eq!(home.query(&["ListKeys"], "TotalCount"), "0");
    let pin = format!("file:{}", home.path("pin").display());
    assert_eq!(home.query(&["ListKeys", "--pin", &pin], "TotalCount"), "0");
}

fn flags(module: &Module) -> CK_FLAGS {
    // SAFETY: a structure of numbers and bytes.
    let mut info: CK_TOKEN_INFO = unsafe { std::mem::zeroed() };
    assert_eq!(module.call("C_GetTokenInfo", &[module.slots()[0], (&raw mut info) as u64]), CKR_OK);
    info.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED)
}

#[test]
fn pin_wrong_and_locked() {
    let home = Home::new(Level::Software);
    home.write("wrong.pin", "not the PIN");
    let source = |name: &str| format!("file:{}", home.path(name).display());
    failed(&home.alikms(["ListKeys", "--pin", &source("wrong.pin")]), "the PIN is not correct");
    assert_eq!(home.query(&["ListKeys", "--pin", &source("pin")], "TotalCount"), "0");

    let module = Module::new(&home.config());
    let session = module.session();
    assert_eq!(flags(&module), 0);
    for attempt in 1..=10 {
        assert_eq!(module.login(session, CKU_USER, "wrong"), CKR_PIN_INCORRECT, "attempt {attempt}");
        let expected = match attempt {
            9 => CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY,
            10 => CKF_USER_PIN_LOCKED,
            _ => CKF_USER_PIN_COUNT_LOW,
        };
        assert_eq!(flags(&module) & expected, expected, "attempt {attempt}");
    }
    // The right PIN is refused too, here and in every other process.
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_PIN_LOCKED);
    failed(&home.alikms(["ListKeys", "--pin", &source("pin")]), "the PIN is locked after too many wrong attempts");
    // The unlock key is not the PIN.
    assert_eq!(home.query(&["ListKeys"], "TotalCount"), "0");

    assert_eq!(module.login(session, CKU_SO, PIN), CKR_PIN_INCORRECT);
    assert_eq!(module.login(session, CKU_SO, SO_PIN), CKR_OK);
    let new = "another-pin";
    assert_eq!(module.call("C_InitPIN", &[session, new.as_ptr() as u64, new.len() as u64]), CKR_OK);
    assert_eq!(module.call("C_Logout", &[session]), CKR_OK);
    assert_eq!(flags(&module), 0);
    assert_eq!(module.login(session, CKU_USER, PIN), CKR_PIN_INCORRECT);
    assert_eq!(module.login(session, CKU_USER, new), CKR_OK);
    home.write("new.pin", new);
    assert_eq!(home.query(&["ListKeys", "--pin", &source("new.pin")], "TotalCount"), "0");
}

/// File, line and how to mend it; the module answers with an error instead of guessing.
#[test]
fn configuration_unusable() {
    let home = Home::new(Level::Software);
    let good = fs::read_to_string(home.config()).unwrap();
    let path = home.config().display().to_string();
    for (from, to, line, sentence) in [
        ("method =", "metod =", 4, "unknown key metod: did you mean method?"),
        ("\"file\"", "\"magic\"", 4, "method cannot be \"magic\": write method = \"file\" or method = \"pin\""),
        ("\"file\"", "file", 4, ""),
        ("sqlite:", "mysql:", 2, "the store is an SQLite file, written: url = \"sqlite:/var/lib/alikms/kms.db\""),
        ("label = \"alikms\"", "label = 7", 7, "label cannot be integer 7: write label = \"alikms\""),
        ("account = \"1", "account = \"x1", 8, "an account is 1 to 32 digits: account = \"1000000000000001\""),
        ("[unlock]", "[unlok]", 3, "unknown key unlok: did you mean unlock?"),
        ("region", "device = \"hsm\"\nregion", 9, "no [[device]] has the name \"hsm\": add one, or remove this line"),
    ] {
        assert!(good.contains(from), "{from}");
        fs::write(home.config(), good.replacen(from, to, 1)).unwrap();
        let run = home.alikms(["ListKeys"]);
        assert_eq!((run.status, run.stdout.as_str()), (1, ""), "{to}");
        assert!(run.stderr.starts_with(&format!("ERROR: {path}:{line}: {sentence}")), "{to}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 1, "{}", run.stderr);
        assert_eq!(Module::load().initialize(&home.config()), CKR_GENERAL_ERROR, "{to}");
    }
    fs::remove_file(home.config()).unwrap();
    failed(
        &home.alikms(["ListKeys"]),
        &format!("{path}: there is no such file: write it, or point ALIKMS_CONF elsewhere"),
    );
    assert_eq!(Module::load().initialize(&home.config()), CKR_GENERAL_ERROR);
}

/// A PIN that stands in the file by mistake is not repeated.
#[test]
fn configuration_with_a_pin_in_it_does_not_tell_it() {
    let home = Home::new(Level::Hsm);
    replace(&home, &format!("file:{}/device.pin", home.folder().display()), "device-pin-1");
    let run = home.alikms(["ListKeys"]);
    assert!(run.status == 1 && run.stderr.contains("a PIN is not written here"), "{run:?}");
    assert!(!format!("{run:?}").contains("device-pin-1"), "{run:?}");
}
