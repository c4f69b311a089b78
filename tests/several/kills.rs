//! Processes that are killed while they make keys in several devices, destroy them there, bring a device up to date, or make
//! what replicates: `alikms check` and `alikms devices sync` leave nothing half done.
//!
//! `ALIKMS_KILLS` (30) says how often, `ALIKMS_SEED` repeats the same dice.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alikms_pkcs11::config::Config;
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::time::Moment;
use uuid::Uuid;

use crate::bed::*;
use crate::support::{Dice, Setup};

/// `what conf`, with a newline between them.
const ROLE: &str = "ALIKMS_TEST_SEVERAL";
const WEEK: i64 = 8 * 86_400;
/// After so many kills everything is looked at.
const PART: u64 = 10;

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The process that is killed. Does nothing unless a test below started it. It logs in to the devices before it says that
/// it is ready: a process that is killed within SoftHSM's C_Login leaves a token that no program can use.
#[test]
fn victim() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (what, conf) = role.split_once('\n').unwrap();
    let config = || Config::read(Path::new(conf)).unwrap();
    let service = Service::new(config());
    let kms = token(&service);
    for member in kms.device().unwrap().members() {
        let _ = member.ids();
    }
    // The same devices, in a week.
    let later = Service::with_clock(config(), Arc::new(|| Moment(Moment::now().0 + WEEK)));
    if what == "destroy" {
        for member in token(&later).device().unwrap().members() {
            let _ = member.ids();
        }
    }
    say("ready");
    match what {
        "sync" => loop {
            kms.sync_devices(&Caller::account()).unwrap();
        },
        "destroy" => loop {
            let key = create(kms, "EC_P256").unwrap();
            say(&format!("doomed {key}"));
            done(kms, "ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
            token(&later).maintain(&Caller::account()).unwrap();
        },
        _ => {
            for spec in ["EC_P256", "Aliyun_AES_256"].iter().cycle() {
                let key = create(kms, spec).unwrap();
                say(&format!("made {key} {spec}"));
            }
        }
    }
}

/// Lets it begin, kills it at most so many microseconds later, and answers what it said.
fn kill(bed: &Bed, what: &str, within: u64, dice: &mut Dice) -> Vec<String> {
    let conf = bed.installation.conf();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "kills::victim", "--nocapture", "--test-threads=1"]);
    command.env(ROLE, format!("{what}\n{}", conf.display())).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut text = String::new();
    while !text.contains("@ready\n") {
        assert_ne!(out.read_line(&mut text).unwrap(), 0, "a victim did not begin");
    }
    std::thread::sleep(Duration::from_micros(dice.roll(within)));
    assert!(child.try_wait().unwrap().is_none(), "a victim ended by itself: {what}");
    child.kill().unwrap();
    out.read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.lines().filter_map(|line| line.strip_prefix('@')).map(str::to_owned).collect()
}

/// The versions of every key in the store.
fn stored(bed: &Bed) -> BTreeSet<Uuid> {
    let service = bed.service();
    let kms = token(&service);
    let mut ids = BTreeSet::new();
    for page in 1.. {
        let number = page.to_string();
        let listed = done(kms, "ListKeys", &[("PageNumber", number.as_str()), ("PageSize", "100")]);
        let keys = listed["Keys"]["Key"].as_array().unwrap().clone();
        if keys.is_empty() {
            return ids;
        }
        for key in &keys {
            let id = key["KeyId"].as_str().unwrap();
            let versions = done(kms, "ListKeyVersions", &[("KeyId", id)]);
            for version in versions["KeyVersions"]["KeyVersion"].as_array().unwrap() {
                ids.insert(version["KeyVersionId"].as_str().unwrap().parse().unwrap());
            }
        }
    }
    unreachable!()
}

/// Nobody is at work: whatever is wrong is found.
fn look(bed: &Bed) {
    let found = token(&bed.service_in(WEEK + 700)).check(&Caller::account()).unwrap();
    let missing = |what: &str| what.contains("is not on device") && what.contains("alikms devices sync");
    let wrong: Vec<_> = found.iter().filter(|one| !one.repaired && !missing(&one.what)).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    let synced = bed.sync();
    assert!(synced.iter().all(|one| one.starts_with("true gave")), "{synced:?}");
    token(&bed.service_in(WEEK + 700)).maintain(&Caller::account()).unwrap();
    assert_eq!(bed.check(), [""; 0]);
    assert_eq!(bed.sync(), [""; 0]);
    let stored = stored(bed);
    for member in 0..2 {
        let there: BTreeSet<Uuid> = bed.ids(member).into_iter().collect();
        let lost: Vec<_> = stored.difference(&there).collect();
        assert!(lost.is_empty(), "not on device {member}: {lost:?}");
        // What replicates is in no key's version.
        let over: Vec<_> = there.difference(&stored).collect();
        assert_eq!(over.len(), 1, "left over on device {member}: {over:?}");
        assert_eq!(there.len(), bed.ids(member).len(), "twice on device {member}");
    }
}

#[test]
fn what_is_killed_leaves_nothing_half_done() {
    let kills: u64 = std::env::var("ALIKMS_KILLS").map_or(30, |text| text.parse().unwrap());
    let mut dice = Dice::thrown();
    let bed = Bed::with(&Setup { members: 2, token: "quorum = 1\n", ..Setup::default() });
    create(token(&bed.service()), "EC_P256").unwrap();
    let (mut made, mut doomed) = (BTreeMap::new(), BTreeSet::new());
    for turn in 1..=kills {
        let what = *dice.pick(&["make", "make", "lame", "destroy", "sync"]);
        // While a device is away keys are made that it lacks: what is to be synchronised.
        if what == "lame" {
            bed.take_away(1);
        }
        // Until it is in the midst of it.
        let within = match what {
            "lame" => 2_000_000,
            "destroy" => 1_000_000,
            _ => 300_000,
        };
        let said = kill(&bed, what, within, &mut dice);
        if what == "lame" {
            bed.bring_back(1);
        }
        for line in said {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["made", key, spec] => drop(made.insert(key.to_owned(), spec.to_owned())),
                ["doomed", key] => drop(doomed.insert(key.to_owned())),
                _ => {}
            }
        }
        if turn % PART == 0 || turn == kills {
            look(&bed);
        }
    }
    println!("{kills} killed, {} keys made, {} doomed", made.len(), doomed.len());
    assert!(!made.is_empty());
    for member in 0..2 {
        bed.take_away(1 - member);
        let service = bed.service();
        for (key, spec) in made.iter().take(40) {
            if spec.contains("AES") { crypts(token(&service), key) } else { signs(token(&service), key) }.unwrap();
        }
        bed.bring_back(1 - member);
    }
}

/// The first key makes what replicates it: killed anywhere within, the next key is made all the same.
#[test]
fn the_first_key_may_be_killed() {
    let mut dice = Dice::thrown();
    for _ in 0..3 {
        let bed = Bed::with(&Setup { members: 2, ..Setup::default() });
        let said = kill(&bed, "make", 3_000_000, &mut dice);
        println!("killed after {} keys", said.iter().filter(|line| line.starts_with("made")).count());
        create(token(&bed.service()), "EC_P256").unwrap();
        let found = bed.check();
        assert!(found.iter().all(|one| one.starts_with("true ")), "{found:?}");
        look(&bed);
    }
}
