//! Writers are killed with SIGKILL at random moments, hundreds of times: what was answered is there, nothing is half done,
//! store and device agree, and the audit trail is whole (DESIGN §5, §6).
//!
//! `ALIKMS_KILLS` (500) says how often, `ALIKMS_SEED` repeats the same dice; moments of death are never quite the same.

// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "durability/ledger.rs"]
mod ledger;
mod support;
#[path = "durability/synced.rs"]
mod synced;
#[path = "durability/writer.rs"]
mod writer;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use alikms_pkcs11::config::Config;
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Material;
use alikms_pkcs11::model::time::{DAY, Moment};
use alikms_pkcs11::seal::slot::{SlotKind, read_unlock_file};
use alikms_pkcs11::store::{OpenRealm, Page, Store};
use cryptoki_sys::*;
use ledger::{Eyes, Ledger};
use support::{Client, Dice, Installation, P256, Setup, b, s};
use uuid::Uuid;

/// As many writers live at the same moment.
const LANES: u64 = 4;
/// After each of so many parts everything is looked at.
const PARTS: u64 = 5;

/// The process that is killed. Does nothing unless a test below started it.
#[test]
fn writer() {
    if let Ok(role) = std::env::var(writer::ROLE) {
        writer::run(&role);
    }
}

/// Says which configuration [`maker`] works with.
const MAKER: &str = "ALIKMS_TEST_MAKER";
/// So many processes make so many keys each.
const MAKERS: usize = 4;
const KEYS: usize = 3;
const SMALL_KEYS: usize = 60;
/// So many times so many processes begin meanwhile.
const LOOKERS: usize = 3;
const LOOKS: usize = 30;

/// Does in the device what it is told, line by line, and says when it is done: makes keys of a spec, looks at all that are
/// there. Does nothing unless a test below started it.
#[test]
fn maker() {
    let Ok(conf) = std::env::var(MAKER) else { return };
    let service = Service::new(Config::read(Path::new(&conf)).unwrap());
    let kms = service.token(None).unwrap();
    kms.unlock().unwrap();
    let device = kms.device().unwrap();
    let mut seen = device.ids().unwrap().len();
    let say = |word: &str| {
        print!("\n@{word}\n");
        std::io::stdout().flush().unwrap();
    };
    say("ready");
    for told in std::io::stdin().lines() {
        let told = told.unwrap();
        let (what, times) = told.split_once(' ').unwrap();
        for _ in 0..times.parse().unwrap() {
            if what == "look" {
                seen = device.ids().unwrap().len();
            } else {
                let spec = [("ProtectionLevel", "HSM"), ("KeySpec", what), ("KeyUsage", "SIGN/VERIFY")];
                writer::act(kms, "CreateKey", &spec).unwrap();
            }
        }
        say(&format!("sees {seen}"));
    }
}

/// This program, doing one of the tests above as the environment says.
fn this_program(test: &str, role: &str, what: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(role, what).stdout(Stdio::piped());
    command
}

/// A process that is told what to do.
struct Worker {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Worker {
    fn start(conf: &Path) -> Self {
        let mut child = this_program("maker", MAKER, conf).stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut worker = Self { child, lines };
        assert_eq!(worker.said(), "ready");
        worker
    }

    fn said(&mut self) -> String {
        let line = self.lines.find(|line| line.as_ref().unwrap().starts_with('@'));
        line.expect("a worker failed").unwrap()[1..].to_owned()
    }

    fn tell(&mut self, what: &str) {
        self.child.stdin.as_mut().unwrap().write_all(format!("{what}\n").as_bytes()).unwrap();
    }

    fn end(mut self) {
        self.child.stdin.take();
        assert!(self.child.wait().unwrap().success());
    }
}

/// Several processes make keys at once, `meanwhile` something else happens, and in the end each sees all of them.
fn all_see_what_all_make(installation: &Installation, spec: &str, keys: usize, meanwhile: impl FnOnce()) {
    let _connected = installation.client();
    let mut makers = Vec::from_iter((0..MAKERS).map(|_| Worker::start(&installation.conf())));
    makers.iter_mut().for_each(|maker| maker.tell(&format!("{spec} {keys}")));
    meanwhile();
    makers.iter_mut().for_each(|maker| drop(maker.said()));
    for mut maker in makers {
        maker.tell("look 1");
        // And the one that connected the device.
        assert_eq!(maker.said(), format!("sees {}", MAKERS * keys + 1));
        maker.end();
    }
}

/// SoftHSM never showed a process the keys that another one made at the same moment (docs/decisions.md).
#[test]
fn keys_that_several_processes_make_at_once_are_seen_by_all() {
    all_see_what_all_make(&Installation::with_device(), "RSA_2048", KEYS, || {});
}

/// SoftHSM writes default values over a key that it is asked about if it has read it while another process made it
/// (docs/decisions.md).
#[test]
fn who_begins_with_a_device_harms_no_key_that_is_made_meanwhile() {
    let installation = Installation::with_device();
    all_see_what_all_make(&installation, "EC_P256", SMALL_KEYS, || {
        std::thread::scope(|scope| {
            for _ in 0..LOOKERS {
                scope.spawn(|| (0..LOOKS).for_each(|_| Worker::start(&installation.conf()).end()));
            }
        });
    });
    assert_eq!(installation.print(&["check"]), "everything is in order\n");
}

/// SoftHSM empties the token's file when somebody logs in, and who begins at that moment finds no token.
#[test]
fn one_process_at_a_time_logs_in() {
    let installation = Installation::with_device();
    let mut command = installation.command(env!("CARGO_BIN_EXE_alikms"));
    command.args(["CreateKey", "--KeySpec=EC_P256", "--KeyUsage=SIGN/VERIFY", "--ProtectionLevel=HSM"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    assert!(command.output().unwrap().status.success());
    let lock = File::options().read(true).write(true).open(installation.path("store/kms.db-logins")).unwrap();
    lock.lock().unwrap();
    let mut child = command.spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(child.try_wait().unwrap().is_none(), "it did not wait");
    lock.unlock().unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
}

/// Through the module and through the actions, whatever the change: rows, counts, lines of the trail. Long enough for a
/// checkpoint or two, after which the log begins anew.
#[test]
fn what_is_answered_is_on_the_disk() {
    let installation = Installation::software();
    let client = installation.client();
    let mut log = synced::Log::of(&installation.path("store/kms.db"));
    for turn in 0..150 {
        let (public, private) = client.ec_pair(P256, &[b(CKA_TOKEN, true)]).unwrap();
        log.is_safe("C_GenerateKeyPair");
        if turn % 30 == 0 {
            client.set(private, &[s(CKA_LABEL, &format!("new-{turn}"))]).unwrap();
            log.is_safe("C_SetAttributeValue");
            client.destroy(public).unwrap();
            log.is_safe("C_DestroyObject");
        }
    }
    client.logout();
    assert_eq!(client.login_as(CKU_USER, "not the PIN"), CKR_PIN_INCORRECT);
    log.is_safe("a wrong PIN");
    let service = Service::new(Config::read(&installation.conf()).unwrap());
    let kms = service.token(None).unwrap();
    kms.unlock().unwrap();
    let spec = [("KeySpec", "Aliyun_AES_256"), ("KeyUsage", "ENCRYPT/DECRYPT")];
    let made = writer::act(kms, "CreateKey", &spec).unwrap();
    log.is_safe("CreateKey");
    let key = [("KeyId", made["KeyMetadata"]["KeyId"].as_str().unwrap())];
    for action in ["DisableKey", "EnableKey"] {
        writer::act(kms, action, &key).unwrap();
        log.is_safe(action);
    }
    assert!(writer::act(kms, "ScheduleKeyDeletion", &[key[0], ("PendingWindowInDays", "1")]).is_err());
    log.is_safe("a refusal");
}

/// An installation whose writers are killed.
struct Field {
    installation: Installation,
    client: Client,
    service: Arc<Service>,
    ledger: Mutex<Ledger>,
}

impl Field {
    fn new() -> Self {
        let installation =
            Installation::new(&Setup { device: true, token: "destroy = \"immediate\"", ..Setup::default() });
        let client = installation.client();
        let service = Service::new(Config::read(&installation.conf()).unwrap());
        service.token(None).unwrap().unlock().unwrap();
        Self { installation, client, service, ledger: Mutex::default() }
    }

    /// With a clock that is ahead.
    fn later(&self, seconds: i64) -> Arc<Service> {
        let clock = Arc::new(move || Moment(Moment::now().0 + seconds));
        Service::with_clock(Config::read(&self.installation.conf()).unwrap(), clock)
    }

    fn eyes(&self) -> Eyes<'_> {
        Eyes { kms: self.service.token(None).unwrap(), client: &self.client }
    }

    fn start(&self, kind: &str, dice: &mut Dice) -> Child {
        let conf = self.installation.conf();
        let role = [kind, conf.to_str().unwrap(), self.client.m.path.to_str().unwrap(), &dice.number().to_string()];
        let mut command = this_program("writer", writer::ROLE, role.join("\n"));
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Lets a writer begin, and kills it some time later. Answers what it wrote.
    fn kill(&self, kind: &str, dice: &mut Dice) -> String {
        let mut child = self.start(kind, dice);
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        // However slow the machine is: some have had answers.
        let lines = if kind == "maintain" { 1 } else { 1 + dice.roll(6) as usize };
        while text.matches("\n@").count() < lines {
            assert_ne!(out.read_line(&mut text).unwrap(), 0, "a {kind} writer did not begin: {}", said(&mut child));
        }
        // Mostly in the first changes, at every step of them.
        let moment = if dice.roll(4) == 0 { dice.roll(200_000) } else { dice.roll(40_000) };
        std::thread::sleep(Duration::from_micros(moment));
        let alive = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        out.read_to_string(&mut text).unwrap();
        assert!(alive, "a {kind} writer ended by itself: {text}\n{}", said(&mut child));
        child.wait().unwrap();
        text
    }

    /// Kills a writer and remembers what it said.
    fn sow(&self, kind: &str, dice: &mut Dice) {
        if kind == "alikms" {
            return self.sow_command(dice);
        }
        let text = self.kill(kind, dice);
        let lines = text.split('\n').filter_map(|line| line.strip_prefix('@'));
        self.ledger.lock().unwrap().read(lines);
    }

    /// The same with the command: its answer is one JSON text, whole or not there.
    fn sow_command(&self, dice: &mut Dice) {
        let mut command = self.installation.command(env!("CARGO_BIN_EXE_alikms"));
        command.args(["CreateKey", "--KeySpec=Aliyun_AES_256"]).stdout(Stdio::piped());
        let mut child = command.stdin(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(dice.roll(25_000)));
        let _ = child.kill();
        let answer = child.wait_with_output().unwrap().stdout;
        let said = match serde_json::from_slice::<serde_json::Value>(&answer) {
            Ok(answer) => {
                let key = answer["KeyMetadata"]["KeyId"].as_str().unwrap();
                serde_json::json!({ "learned": [[format!("state {key}"), "Enabled"]] })
            }
            Err(_) => serde_json::json!({ "begin": "CreateKey", "facts": [] }),
        };
        self.ledger.lock().unwrap().read(std::iter::once(said.to_string().as_str()));
    }

    /// Nobody is at work: whatever is wrong is found.
    fn reap(&self) -> Vec<String> {
        let mut ledger = self.ledger.lock().unwrap();
        let mut wrong = std::mem::take(&mut ledger.refused);
        wrong.extend(ledger.compare(&self.eyes()));
        wrong.extend(self.eyes().strangers(&ledger));
        // What was begun on the device and not finished is nobody's after ten minutes.
        let later = self.later(700);
        let kms = later.token(None).unwrap();
        let found = kms.check(&Caller::account()).unwrap();
        wrong.extend(found.into_iter().filter(|finding| !finding.repaired).map(|finding| finding.what));
        let again = kms.check(&Caller::account()).unwrap();
        wrong.extend(again.into_iter().map(|finding| format!("found by a second check: {}", finding.what)));
        wrong.extend(self.orphans());
        wrong
    }

    /// Keys of the device that are neither in the store nor in an intent.
    fn orphans(&self) -> Vec<String> {
        let config = Config::read(&self.installation.conf()).unwrap();
        let store = Store::new(&config.store);
        let row = store.realms().unwrap().remove(0);
        let slot = store.slot(row.id, SlotKind::File).unwrap().unwrap().slot;
        let secret = read_unlock_file(&self.installation.path("unlock.key")).unwrap();
        let kek = Arc::new(slot.open(&row.uuid.to_string(), &secret).unwrap());
        let realm = OpenRealm { row, kek };
        let known: BTreeSet<Uuid> = store
            .read(&realm, |records| {
                let mut known: BTreeSet<Uuid> = records.intents()?.into_iter().map(|intent| intent.version).collect();
                for key in records.keys(Page { offset: 0, limit: u64::MAX / 4 })?.items {
                    for version in records.versions(key.id)? {
                        if let Some(Material::Device { id, .. }) = version.material {
                            known.insert(Uuid::from_slice(&id).unwrap());
                        }
                    }
                }
                Ok(known)
            })
            .unwrap();
        let there = self.service.token(None).unwrap().device().unwrap().ids().unwrap();
        there.iter().filter(|id| !known.contains(id)).map(|id| format!("{id} on the device is nobody's")).collect()
    }

    /// A month later, killed while it clears up and then done to the end.
    fn let_windows_end(&self, dice: &mut Dice) -> Vec<String> {
        for _ in 0..4 {
            self.kill("maintain", dice);
        }
        let later = self.later(40 * DAY);
        later.token(None).unwrap().maintain(&Caller::account()).unwrap();
        let mut ledger = self.ledger.lock().unwrap();
        ledger.let_windows_end();
        let mut wrong = ledger.compare(&self.eyes());
        wrong.extend(self.orphans());
        wrong
    }
}

/// What a dead writer said last.
fn said(child: &mut Child) -> String {
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    text
}

fn kills() -> u64 {
    std::env::var("ALIKMS_KILLS").map_or(500, |text| text.parse().expect("ALIKMS_KILLS is a number"))
}

#[test]
fn what_was_answered_survives_and_nothing_is_half_done() {
    let began = Instant::now();
    let mut dice = Dice::thrown();
    let field = Field::new();
    let killed = AtomicU64::new(0);
    for part in 1..=PARTS {
        let until = kills() * part / PARTS;
        std::thread::scope(|scope| {
            for lane in 0..LANES {
                let mut dice = Dice::of(dice.number());
                let (field, killed) = (&field, &killed);
                scope.spawn(move || {
                    while killed.fetch_add(1, Ordering::Relaxed) < until {
                        let device = *dice.pick(&["alikms", "hsm", "hsm", "module"]);
                        let kind = if lane < 3 { device } else { "software" };
                        field.sow(kind, &mut dice);
                    }
                });
            }
        });
        killed.store(until, Ordering::Relaxed);
        let wrong = field.reap();
        assert!(wrong.is_empty(), "after {until} kills:\n{}", wrong.join("\n"));
        let wrong = field.let_windows_end(&mut dice);
        assert!(wrong.is_empty(), "a month after {until} kills:\n{}", wrong.join("\n"));
    }
    let answered = field.ledger.lock().unwrap().answered;
    println!("{} kills, {answered} answers, {:?}", kills(), began.elapsed());
    assert!(answered > kills() / 2, "the writers hardly wrote: {answered}");
}
