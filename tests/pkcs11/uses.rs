//! `[audit] crypto`: what keys were used for stands in the audit trail, whatever becomes of the processes that used them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use cryptoki_sys::*;
use serde_json::Value;

use crate::call;
use crate::fork::in_child;
use crate::support::{Client, Installation, Mech, P256, Setup, agent, b, s};

const SUMMARY: &str = "[audit]\ncrypto = \"summary\"";
const ALL: &str = "[audit]\ncrypto = \"all\"";

struct Field {
    installation: Installation,
    c: Client,
    key: CK_OBJECT_HANDLE,
}

impl Field {
    fn new(device: bool, audit: &'static str) -> Self {
        let installation = Installation::new(&Setup { device, token: audit, ..Setup::default() });
        let c = installation.client();
        let (_, key) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
        Self { installation, c, key }
    }

    fn sign(&self, times: usize) -> bool {
        (0..times).all(|_| self.c.sign(CKM_ECDSA, self.key, &[1; 32]).is_ok())
    }

    /// The lines of the trail that tell of uses, the trail being whole.
    fn uses(&self) -> Vec<Value> {
        let lines: Vec<Value> =
            self.installation.print(&["audit"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let whole = format!("the audit trail is whole: {} lines\n", lines.len());
        assert_eq!(self.installation.print(&["audit", "--verify"]), whole);
        lines.into_iter().filter(|line| line["mechanism"].is_string()).collect()
    }

    /// How many signatures each process made, by its number.
    fn signatures(&self) -> BTreeMap<u64, u64> {
        let mut found = BTreeMap::new();
        for line in self.uses() {
            if line["action"] == "AsymmetricSign" && line["outcome"] == "ok" {
                *found.entry(line["pid"].as_u64().unwrap()).or_default() += line["count"].as_u64().unwrap_or(1);
            }
        }
        found
    }

    fn files(&self) -> Vec<PathBuf> {
        let all = fs::read_dir(self.installation.path("store")).unwrap().map(|entry| entry.unwrap().path());
        all.filter(|path| path.to_str().unwrap().contains("-uses-")).collect()
    }
}

/// Forks, runs `work` in the child, and kills the child from outside when it is done. Answers its number.
fn killed(work: impl FnOnce() -> bool) -> u64 {
    let mut ends = [0; 2];
    // SAFETY: two places for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child calls only the module (what is tested), `write` and `_exit`.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: one byte that is there; then it waits for its death.
        unsafe {
            libc::write(ends[1], [u8::from(good)].as_ptr().cast(), 1);
            libc::sleep(60);
            libc::_exit(1);
        }
    }
    let mut said = [0u8];
    let mut status = 0;
    // SAFETY: one byte of room; our own child.
    unsafe {
        assert_eq!(libc::read(ends[0], said.as_mut_ptr().cast(), 1), 1);
        libc::kill(child, libc::SIGKILL);
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        libc::close(ends[0]);
        libc::close(ends[1]);
    }
    assert_eq!(said, [1], "the child's work");
    u64::try_from(child).unwrap()
}

fn counts_survive(device: bool) {
    let field = Field::new(device, SUMMARY);
    let own = u64::from(std::process::id());
    assert!(field.sign(7));
    assert_eq!(field.signatures(), BTreeMap::from([(own, 7)]));
    // Several threads, several processes, one killed, one that ended in order.
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = field.c.another();
                let key = own.one(CKO_PRIVATE_KEY, "web");
                assert!((0..50).all(|_| own.sign(CKM_ECDSA, key, &[2; 32]).is_ok()));
            });
        }
    });
    let dead = killed(|| field.sign(11));
    assert!(in_child(|| field.sign(13) && field.c.m.finalize() == CKR_OK));
    assert!(field.sign(1));
    let mut found = field.signatures();
    assert_eq!((found.remove(&own), found.remove(&dead)), (Some(208), Some(11)));
    assert_eq!(found.into_values().collect::<Vec<_>>(), [13]);
    // Exactly once, however often it is asked; of the finished processes nothing lies about.
    assert_eq!(field.signatures().into_values().sum::<u64>(), 232);
    assert_eq!(field.files().len(), 1);
    let lines = field.uses();
    let line = lines.iter().find(|line| line["pid"] == own).unwrap();
    assert_eq!((&line["caller"], &line["mechanism"]), (&Value::from("account"), &Value::from("ECDSA")));
    assert_eq!(line["program"], std::env::current_exe().unwrap().to_str().unwrap());
    assert!(line["uid"].is_u64() && line["since"].as_i64() <= line["at"].as_i64(), "{line}");
    let keys = field.installation.alikms(&["ListKeys", "--PageSize=100"])["Keys"]["Key"].to_string();
    assert!(keys.contains(line["resource"].as_str().unwrap()) && line["version"].is_string(), "{line}");
}

#[test]
fn uses_are_counted_in_every_process_and_survive_its_death() {
    counts_survive(false);
    counts_survive(true);
}

/// More than a file holds: the process carries its own file over when it is full.
#[test]
fn each_use_is_a_record_of_its_own() {
    let field = Field::new(false, ALL);
    let before = field.uses().len();
    assert!(field.sign(2500));
    let dead = killed(|| field.sign(20));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let own = field.c.another();
                let key = own.one(CKO_PRIVATE_KEY, "web");
                assert!((0..400).all(|_| own.sign(CKM_ECDSA, key, &[2; 32]).is_ok()));
            });
        }
    });
    let found = field.signatures();
    assert_eq!(found, BTreeMap::from([(u64::from(std::process::id()), 3700), (dead, 20)]));
    let lines = field.uses();
    assert_eq!(lines.len(), before + 3720);
    let requests: std::collections::BTreeSet<&str> =
        lines.iter().map(|line| line["request"].as_str().unwrap()).collect();
    assert_eq!(requests.len(), lines.len(), "each has a request of its own");
    assert!(lines.iter().all(|line| line["count"].is_null()));
}

/// What an operation in parts puts out is out before its end: it is told of when it begins.
#[test]
fn failures_refusals_and_work_in_parts_count() {
    let field = Field::new(false, SUMMARY);
    let c = field.c;
    let aes = c.aes(32, &[b(CKA_TOKEN, true), s(CKA_LABEL, "aes")]);
    let padded = || Mech::with(CKM_AES_CBC_PAD, [7u8; 16]);
    assert!(c.encrypt(padded(), aes, &[1; 100]).is_ok());
    // A padding that is wrong, in one piece.
    assert!(c.decrypt(padded(), aes, &[1; 32]).is_err());
    // In parts, and never ended.
    let dead = killed(|| c.decrypt_init(padded(), aes).is_ok() && c.decrypt_update(&[1; 64]).is_ok());
    let public = c.one(CKO_PUBLIC_KEY, "web");
    let signature = c.sign(CKM_ECDSA, field.key, &[1; 32]).unwrap();
    c.verify(CKM_ECDSA, public, &[1; 32], &signature).unwrap();
    assert!(c.verify(CKM_ECDSA, public, &[2; 32], &signature).is_err());
    let id = field.installation.alikms(&["ListKeys", "--PageSize=100"]);
    for key in id["Keys"]["Key"].as_array().unwrap() {
        field.installation.alikms(&["DisableKey", "--KeyId", key["KeyId"].as_str().unwrap()]);
    }
    assert!(c.sign(CKM_ECDSA, field.key, &[1; 32]).is_err());
    let told: Vec<[String; 4]> = field
        .installation
        .print(&["audit"])
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["count"].is_u64())
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
            let pid = if line["pid"] == dead { "dead " } else { "" };
            [pid.to_owned() + &text("action"), text("mechanism"), text("outcome"), line["count"].to_string()]
        })
        .collect();
    for expected in [
        ["Encrypt", "AES_CBC_PAD", "ok", "1"],
        ["Decrypt", "AES_CBC_PAD", "Ciphertext", "1"],
        ["dead Decrypt", "AES_CBC_PAD", "started", "1"],
        ["AsymmetricSign", "ECDSA", "ok", "1"],
        ["AsymmetricVerify", "ECDSA", "ok", "1"],
        ["AsymmetricVerify", "ECDSA", "Signature", "1"],
        ["AsymmetricSign", "", "Refused", "1"],
    ] {
        assert!(told.iter().any(|found| found == &expected), "{expected:?} in {told:#?}");
    }
}

/// What cannot be written down is not answered: a full disk, a directory that this user may not write.
#[test]
fn no_signature_without_its_line() {
    if agent::is_client() {
        return; // The limits of this process are not those of its host.
    }
    let quiet = Field::new(false, "");
    assert!(quiet.sign(3) && quiet.files().is_empty() && quiet.uses().is_empty(), "by default nothing is written");
    for audit in [SUMMARY, ALL] {
        let field = Field::new(false, audit);
        assert!(field.sign(1));
        let refused = |c: &Client, key| c.sign(CKM_ECDSA, key, &[1; 32]).is_err();
        assert!(
            in_child(|| {
                // SAFETY: limits of this child only.
                unsafe {
                    libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
                    let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
                    assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
                }
                refused(&field.c, field.key)
            }),
            "a full disk"
        );
        let mode =
            |name: &str, mode| fs::set_permissions(field.installation.path(name), fs::Permissions::from_mode(mode));
        mode("", 0o755).unwrap();
        mode("unlock.key", 0o640).unwrap();
        for file in fs::read_dir(field.installation.path("store")).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o666)).unwrap();
        }
        mode("store", 0o555).unwrap();
        assert!(
            in_child(|| {
                // SAFETY: this child only; root may write everywhere.
                unsafe { libc::setuid(65534) };
                refused(&field.c, field.key)
            }),
            "a directory that is not to be written"
        );
        mode("store", 0o770).unwrap();
        assert!(in_child(|| field.sign(2)) && field.sign(1), "and it goes on when it can");
        assert_eq!(field.signatures().into_values().sum::<u64>(), 4);
    }
}

/// Whoever can write the directory can put anything there.
#[test]
fn garbage_is_told_of_and_hurts_nobody() {
    let field = Field::new(false, SUMMARY);
    assert!(field.sign(5));
    let own = field.files().remove(0);
    let content = fs::read(&own).unwrap();
    let stem = own.to_str().unwrap().rsplit_once('-').unwrap().0.to_owned();
    let name = |number: u8| PathBuf::from(format!("{stem}-{}", uuid::Uuid::from_bytes([number; 16]).simple()));
    fs::write(name(1), b"").unwrap();
    fs::write(name(2), vec![0xff; content.len()]).unwrap();
    fs::write(name(3), &content[..content.len() - 1]).unwrap();
    // The right header, and rows of nonsense.
    let mut nonsense = content.clone();
    nonsense[4096..].fill(0x9f);
    fs::write(name(4), nonsense).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", name(5)).unwrap();
    fs::create_dir(name(6)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(name(7)).status().unwrap().success());
    // A copy of ours counts twice: whoever can write the files could count up anything.
    let lines: Vec<Value> =
        field.installation.print(&["audit"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let damaged = lines.iter().filter(|line| line["outcome"] == "damaged").count();
    assert_eq!(damaged, 3);
    assert!((1..4).all(|number| !name(number).exists()) && own.exists());
    assert!(fs::symlink_metadata(name(5)).is_ok() && name(6).is_dir());
    // A file that vanished with what was not yet carried over.
    assert!(field.sign(1));
    fs::remove_file(&own).unwrap();
    let lines = field.installation.print(&["audit"]);
    assert!(lines.contains("\"outcome\":\"missing\""), "{lines}");
    assert!(field.installation.print(&["audit", "--verify"]).starts_with("the audit trail is whole"));
}

/// It used to be missed only if a part of it had been carried over before.
#[test]
fn a_file_that_was_taken_away_is_missed_from_its_first_use_on() {
    let field = Field::new(false, SUMMARY);
    assert!(field.sign(3));
    fs::remove_file(field.files().remove(0)).unwrap();
    let verified = field.installation.print(&["audit", "--verify"]);
    assert!(verified.ends_with("it tells of 1 files of uses that were lost (CarryUses)\n"), "{verified}");
    let lines = field.installation.print(&["audit"]);
    assert_eq!(lines.matches("\"outcome\":\"missing\"").count(), 1, "once: {lines}");
}

/// What a RAM user may not do at the token leaves a row as it does at the command line.
#[test]
fn refused_changes_at_the_token_are_in_the_trail() {
    let field = Field::new(false, "");
    let print = |args: &[&str]| field.installation.print(args);
    let document = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"kms:AsymmetricSign","Resource":"*"}]}"#;
    let (user, policy) = (["--UserName", "bob"], ["--PolicyName", "sign"]);
    print(&[&["CreateUser"][..], &user].concat());
    print(&[&["CreatePolicy"][..], &policy, &["--PolicyDocument", document]].concat());
    print(&[&["AttachPolicyToUser"][..], &policy, &user].concat());
    fs::write(field.installation.path("bob.pin"), "bobs-pin").unwrap();
    let source = format!("file:{}", field.installation.path("bob.pin").display());
    print(&[&["set-user-pin"][..], &user, &["--user-pin", &source]].concat());
    assert_eq!(field.c.logout(), CKR_OK);
    let (pin, name) = ("bobs-pin", "bob");
    let text = |text: &str| text.as_ptr().cast_mut();
    let rv = call!(
        field.c.m,
        C_LoginUser(field.c.h, CKU_USER, text(pin), pin.len() as CK_ULONG, text(name), name.len() as CK_ULONG)
    );
    assert_eq!(rv, CKR_OK);
    let key = field.c.one(CKO_PRIVATE_KEY, "web");
    assert!(field.c.sign(CKM_ECDSA, key, &[1; 32]).is_ok());
    assert!(call!(field.c.m, C_DestroyObject(field.c.h, key)) != CKR_OK);
    assert!(field.c.set(key, &[s(CKA_LABEL, "mine")]).is_err());
    assert!(field.c.ec_pair(P256, &[b(CKA_TOKEN, true)]).is_err());
    let lines: Vec<Value> = print(&["audit"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = lines
        .iter()
        .filter(|line| line["caller"] == "user/bob")
        .map(|line| ["action", "outcome"].map(|name| line[name].as_str().unwrap()))
        .collect();
    let expected = ["ScheduleKeyDeletion", "UpdateKeyDescription", "CreateKey"].map(|action| [action, "AccessDenied"]);
    assert_eq!(told, expected);
    assert!(field.c.sign(CKM_ECDSA, key, &[1; 32]).is_ok(), "it is still there");
}

/// libp11 and others end and begin the module's run many times in one process.
#[test]
fn one_process_has_one_file_however_often_it_initialises() {
    if agent::is_client() {
        return; // The files are those of its hosts.
    }
    let field = Field::new(false, SUMMARY);
    let conf = field.installation.conf();
    for _ in 0..5 {
        assert!(field.c.m.finalize() == CKR_OK && field.c.m.try_initialize(&conf) == CKR_OK);
        let c = Client::open(field.c.m);
        c.login();
        let key = c.one(CKO_PRIVATE_KEY, "web");
        assert!(c.sign(CKM_ECDSA, key, &[1; 32]).is_ok());
        assert_eq!(field.files().len(), 1);
    }
    assert_eq!(field.signatures().into_values().sum::<u64>(), 5);
}

/// A harvest that is killed at any moment loses nothing and counts nothing twice.
#[test]
fn a_killed_harvest_counts_once() {
    let field = Field::new(false, SUMMARY);
    let mut dice = crate::support::Dice::thrown();
    let mut expected = 0;
    for turn in 0..40 {
        let times = 1 + dice.roll(5) as usize;
        assert!(if turn % 4 == 0 { killed(|| field.sign(times)) > 0 } else { field.sign(times) });
        expected += times as u64;
        let mut harvest = field.installation.command(env!("CARGO_BIN_EXE_alikms"));
        let mut harvest = harvest.arg("audit").stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(dice.roll(30_000)));
        let _ = harvest.kill();
        harvest.wait().unwrap();
    }
    assert_eq!(field.signatures().into_values().sum::<u64>(), expected);
    assert_eq!(field.files().len(), 1);
}
