//! Devices that are lost, come back, or are not what they were.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::protection::public::Prepared;
use cryptoki_sys::*;

use crate::bed::*;
use crate::support::{Client, Mech, P256, Setup, b, s};

/// How often each device goes.
const LOSSES: usize = 3;
const THREADS: usize = 4;

/// The module's own point of a public key.
fn prepared(client: &Client, public: CK_OBJECT_HANDLE) -> Prepared {
    let point = client.get(public, CKA_EC_POINT).unwrap();
    // 04 41, then 04 ‖ x ‖ y.
    let curve = alikms_pkcs11::model::curve::Curve::P256;
    Prepared::new(&PublicKey::Ec { curve, point: point[2..].to_vec() }).unwrap()
}

/// Through the module, as a server does it.
#[test]
fn a_device_that_goes_and_comes_back_costs_no_error() {
    let bed = Bed::new(2);
    let client = bed.installation.client();
    let (public, private) = client.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "busy")]).unwrap();
    let secret = client.aes(32, &[b(CKA_TOKEN, true)]);
    let prepared = prepared(&client, public);
    let iv = [3; 16];
    let cbc = || Mech::with(CKM_AES_CBC, iv);
    let right = client.encrypt(cbc(), secret, &[7; 64]).unwrap();
    let (stop, signed, longest) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let own = client.another();
                while !stop.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    let signature = own.sign(CKM_ECDSA, private, &[9; 32]).expect("no error at all");
                    let signing = alikms_pkcs11::model::algorithm::Signing::Ecdsa;
                    prepared.verify(&signing, &[9; 32], &signature).expect("a wrong signature is worse than none");
                    assert_eq!(own.encrypt(cbc(), secret, &[7; 64]).expect("no error at all"), right);
                    signed.fetch_add(1, Ordering::Relaxed);
                    longest.fetch_max(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
                }
            });
        }
        let more = |count: u64| {
            let (before, begun) = (signed.load(Ordering::Relaxed), Instant::now());
            while signed.load(Ordering::Relaxed) < before + count {
                assert!(begun.elapsed() < Duration::from_secs(60), "it stands still");
                std::thread::sleep(Duration::from_millis(5));
            }
        };
        for turn in 0..2 * LOSSES {
            more(200);
            bed.take_away(turn % 2);
            more(400);
            bed.bring_back(turn % 2);
            // Until the one that was away works again: the other is lost next.
            std::thread::sleep(Duration::from_millis(2500));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let (signed, longest) = (signed.into_inner(), longest.into_inner());
    eprintln!("{signed} times, {} losses, no error; the longest took {longest} ms", 2 * LOSSES);
    assert!(bed.check().is_empty() && bed.sync().is_empty());
}

#[test]
fn fewer_devices_than_the_quorum_make_no_key() {
    let bed = Bed::new(2);
    let service = bed.service();
    let kms = token(&service);
    let first = create(kms, "EC_P256").unwrap();
    let before = bed.ids(0);
    bed.take_away(1);
    for spec in ["EC_P256", "Aliyun_AES_256"] {
        assert_eq!(create(kms, spec).unwrap_err().code, "ServiceUnavailableTemporary", "{spec}");
    }
    signs(kms, &first).unwrap();
    assert_eq!(bed.ids(0), before, "nothing is left of it");
    bed.bring_back(1);
    let found = bed.check();
    assert!(found.iter().all(|finding| finding.starts_with("true undid the unfinished creation")), "{found:?}");
    assert_eq!(bed.check(), [""; 0]);
    assert_eq!(bed.ids(1), before);
    create(token(&bed.service()), "EC_P256").unwrap();
}

#[test]
fn a_device_that_missed_keys_is_given_them() {
    let bed = Bed::with(&Setup { members: 3, token: "quorum = 2\n", ..Setup::default() });
    let service = bed.service();
    let kms = token(&service);
    let doomed = create(kms, "EC_P256").unwrap();
    bed.take_away(2);
    let keys = ["EC_P256", "Aliyun_AES_256", "RSA_2048"].map(|spec| create(kms, spec).unwrap());
    let blob_key = &keys[1];
    crypts(kms, blob_key).unwrap();
    // What is destroyed meanwhile is destroyed there later.
    done(kms, "ScheduleKeyDeletion", &[("KeyId", &doomed), ("PendingWindowInDays", "7")]);
    let later = bed.service_in(8 * 86_400);
    let said = token(&later).maintain(&alikms_pkcs11::model::caller::Caller::account()).unwrap();
    assert!(said.iter().any(|line| line.starts_with("deleted key")), "{said:?}");
    // Two of three are too few to lose another one.
    let missing = |found: &[String]| found.iter().filter(|one| one.contains("is not on device softhsm-3")).count();
    assert!(bed.check().iter().any(|one| one.contains("softhsm-3 cannot be asked")));
    bed.bring_back(2);
    assert_eq!(missing(&bed.check()), 3);
    let doctor = bed.installation.command(env!("CARGO_BIN_EXE_alikms")).arg("doctor").output().unwrap();
    let told = String::from_utf8(doctor.stdout).unwrap();
    assert!(told.contains("WRONG  device softhsm-3 lacks 3 of 3 keys: run `alikms devices sync`"), "{told}");
    assert!(told.contains("ok     device softhsm has all of its 3 keys"), "{told}");
    let synced = bed.installation.print(&["devices", "sync"]);
    assert_eq!(synced.lines().filter(|line| line.contains("gave key version")).count(), 3, "{synced}");
    assert_eq!(bed.installation.print(&["devices", "sync"]), "everything is in order\n");
    // The deletion was in a week's time.
    let found =
        token(&bed.service_in(8 * 86_400)).sync_devices(&alikms_pkcs11::model::caller::Caller::account()).unwrap();
    assert!(
        found.len() == 1 && found[0].repaired && found[0].what.starts_with("finished the destruction"),
        "{found:?}"
    );
    assert_eq!(bed.check(), [""; 0]);
    assert_eq!(bed.ids(2), bed.ids(0));
    assert_eq!(bed.ids(2).len(), 4, "three keys, and what replicates them");
    // The one that was away alone.
    bed.take_away(0);
    bed.take_away(1);
    let service = bed.service();
    signs(token(&service), &keys[0]).unwrap();
    crypts(token(&service), &keys[1]).unwrap();
}

/// What stands under a key's ID and is another key is never asked for anything.
#[test]
fn a_key_that_was_swapped_is_not_used() {
    let bed = Bed::new(2);
    let service = bed.service();
    let kms = token(&service);
    let (pair, secret) = (create(kms, "EC_P256").unwrap(), create(kms, "Aliyun_AES_256").unwrap());
    let id = version(kms, &pair).replace('-', "");
    for kind in ["privkey", "pubkey"] {
        bed.tool_done(1, &["--delete-object", "--type", kind, "--id", &id]);
    }
    bed.tool_done(1, &["--keypairgen", "--key-type", "EC:prime256v1", "--id", &id]);
    let known: Vec<String> = bed.ids(1).iter().map(|id| id.simple().to_string()).collect();
    let listed = bed.tool_done(1, &["--list-objects", "--type", "secrkey"]);
    let other = listed.split("Secret Key Object").find(|one| one.contains("encrypt, decrypt")).unwrap();
    let other = known.iter().find(|id| other.contains(id.as_str())).unwrap();
    bed.tool_done(1, &["--delete-object", "--type", "secrkey", "--id", other]);
    bed.tool_done(1, &["--keygen", "--key-type", "AES:32", "--id", other, "--sensitive"]);
    let service = bed.service();
    let kms = token(&service);
    for _ in 0..20 {
        signs(kms, &pair).unwrap();
        crypts(kms, &secret).unwrap();
    }
    let found = bed.sync();
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|one| one.starts_with("false") && one.contains("softhsm-2: ")), "{found:?}");
    // Not even if there is no other.
    bed.take_away(0);
    let service = bed.service();
    let kms = token(&service);
    assert!(signs(kms, &pair).is_err() && crypts(kms, &secret).is_err());
    bed.bring_back(0);
    // Once it is out of the way, the right one takes its place.
    for kind in ["privkey", "pubkey"] {
        bed.tool_done(1, &["--delete-object", "--type", kind, "--id", &id]);
    }
    bed.tool_done(1, &["--delete-object", "--type", "secrkey", "--id", other]);
    assert_eq!(bed.sync().iter().filter(|one| one.starts_with("true gave")).count(), 2);
    bed.take_away(0);
    let service = bed.service();
    signs(token(&service), &pair).unwrap();
    crypts(token(&service), &secret).unwrap();
}

/// Whoever puts a replication key of his own in the place of ours would be given every new key.
#[test]
fn a_replication_key_that_was_swapped_wraps_nothing() {
    let bed = Bed::new(2);
    let service = bed.service();
    let pair = create(token(&service), "EC_P256").unwrap();
    let listed = bed.tool_done(0, &["--list-objects", "--type", "secrkey"]);
    let id = listed.lines().find_map(|line| line.trim().strip_prefix("ID:")).unwrap().trim();
    for member in 0..2 {
        bed.tool_done(member, &["--delete-object", "--type", "secrkey", "--id", id]);
        bed.tool_done(member, &["--keygen", "--key-type", "AES:32", "--id", id, "--sensitive", "--usage-wrap"]);
    }
    let service = bed.service();
    let kms = token(&service);
    let before = bed.ids(0);
    let fault = create(kms, "Aliyun_AES_256").unwrap_err();
    assert_eq!(fault.code, "ServiceUnavailableTemporary");
    assert_eq!(bed.ids(0), before);
    signs(kms, &pair).unwrap();
    let found = bed.sync();
    assert_eq!(found.iter().filter(|one| one.contains("is not the recorded one")).count(), 2, "{found:?}");
    // Gone from one of them, another one is made.
    bed.tool_done(1, &["--delete-object", "--type", "secrkey", "--id", id]);
    assert!(bed.sync().iter().any(|one| one.contains("made a new replication key")));
    create(token(&bed.service()), "Aliyun_AES_256").unwrap();
}

/// A device in place of another one: what cannot be brought to it is said, and new keys go to all.
#[test]
fn an_empty_device_in_the_place_of_another_gets_new_keys() {
    let bed = Bed::new(2);
    let service = bed.service();
    let old = create(token(&service), "EC_P256").unwrap();
    bed.take_away(1);
    bed.installation.make_device_token(1);
    let found = bed.sync();
    assert!(found[0].contains("new replication key, because device softhsm-2 lost the former one"), "{found:?}");
    assert!(found[1].starts_with("false") && found[1].contains("lacks the replication key"), "{found:?}");
    let service = bed.service();
    let kms = token(&service);
    signs(kms, &old).unwrap();
    let new = create(kms, "EC_P256").unwrap();
    bed.take_away_to(0, "elsewhere");
    let service = bed.service();
    signs(token(&service), &new).unwrap();
    assert!(signs(token(&service), &old).is_err());
}

/// From one device to two: what is in one only stays usable there.
#[test]
fn a_second_device_is_added() {
    let bed = Bed::new(2);
    let conf = std::fs::read_to_string(bed.installation.conf()).unwrap();
    let one = conf.replace("devices = [\"softhsm\", \"softhsm-2\"]", "device = \"softhsm\"");
    std::fs::write(bed.installation.conf(), one).unwrap();
    let service = bed.service();
    let old = create(token(&service), "EC_P256").unwrap();
    std::fs::write(bed.installation.conf(), conf).unwrap();
    let service = bed.service();
    let kms = token(&service);
    signs(kms, &old).unwrap();
    let new = create(kms, "EC_P256").unwrap();
    assert_eq!(bed.check(), [""; 0]);
    assert_eq!((bed.ids(0).len(), bed.ids(1).len()), (3, 2));
    bed.take_away(0);
    let service = bed.service();
    signs(token(&service), &new).unwrap();
    assert_eq!(signs(token(&service), &old).unwrap_err().code, "ServiceUnavailableTemporary");
}
