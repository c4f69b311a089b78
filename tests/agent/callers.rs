//! What callers do: every kind of work, many processes, forks, and programs that close descriptors behind our back.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use cryptoki_sys::*;

use crate::bed::{Bed, Call, children};
use crate::support::*;

/// The module of this process never loads the device's library and cannot read its PIN.
#[test]
fn every_kind_of_work_is_done_by_the_agent_alone() {
    let bed = Bed::new(10);
    std::fs::remove_file(bed.installation.path("device.pin")).unwrap();
    // The agent reads it before a login; it is logged in as soon as it answers.
    std::fs::write(bed.installation.path("device.pin"), "device-pin").unwrap();
    bed.installation.print(&["status"]);
    std::fs::remove_file(bed.installation.path("device.pin")).unwrap();

    let (c, pair) = bed.client();
    pair.sign(c, 1).unwrap();
    let token = [b(CKA_TOKEN, true), s(CKA_LABEL, "rsa")];
    let sign = [&token[..], &[b(CKA_SIGN, true)]].concat();
    let (public, private) = c.rsa_pair(2048, &[&token[..], &[b(CKA_VERIFY, true)]].concat(), &sign).unwrap();
    let pss = Mech::pss(CKM_SHA256_RSA_PKCS_PSS, CKM_SHA256, CKG_MGF1_SHA256, 32);
    for mechanism in [Mech::new(CKM_SHA256_RSA_PKCS), pss] {
        let signature = c.sign(mechanism.clone(), private, b"message").unwrap();
        c.verify(mechanism, public, b"message", &signature).unwrap();
    }
    let crypt = [b(CKA_TOKEN, true), s(CKA_LABEL, "dec")];
    let encrypt = [&crypt[..], &[b(CKA_ENCRYPT, true)]].concat();
    let (public, private) = c.rsa_pair(2048, &encrypt, &[&crypt[..], &[b(CKA_DECRYPT, true)]].concat()).unwrap();
    let oaep = || Mech::oaep(CKM_SHA256, CKG_MGF1_SHA256, b"");
    let sealed = c.encrypt(oaep(), public, b"secret").unwrap();
    assert_eq!(c.decrypt(oaep(), private, &sealed).unwrap(), b"secret");
    let mut wrong = sealed.clone();
    wrong[9] ^= 1;
    assert_eq!(c.decrypt(oaep(), private, &wrong), Err(CKR_ENCRYPTED_DATA_INVALID));

    // A whole megabyte and more, there and back; in parts, too.
    let aes = c.aes(32, &[b(CKA_TOKEN, true), s(CKA_LABEL, "aes")]);
    let plain: Vec<u8> = (0..3_000_016u32).map(|at| (at % 251) as u8).collect();
    let cbc = || Mech::with(CKM_AES_CBC, [5; 16]);
    let sealed = c.encrypt(cbc(), aes, &plain).unwrap();
    assert_eq!(c.decrypt(cbc(), aes, &sealed).unwrap(), plain);
    c.encrypt_init(cbc(), aes).unwrap();
    let mut parts = Vec::new();
    for part in plain.chunks(100_001) {
        parts.extend(c.encrypt_update(part).unwrap());
    }
    parts.extend(c.encrypt_final().unwrap());
    assert_eq!(parts, sealed);
    let gcm = || Mech::gcm(&[1; 12], b"aad", 128);
    let sealed = c.encrypt(gcm(), aes, &plain[..1000]).unwrap();
    assert_eq!(c.decrypt(gcm(), aes, &sealed).unwrap(), plain[..1000]);

    // By the command, which is a caller, too; what is destroyed is gone.
    let key =
        bed.installation.create_key("api", &["--KeySpec=EC_P384", "--KeyUsage=SIGN/VERIFY", "--ProtectionLevel=HSM"]);
    bed.installation.public_pem(&key);
    c.destroy(aes).unwrap();
    assert!(c.find(&[s(CKA_LABEL, "aes")]).is_empty());
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("libfaulty") && !maps.contains("softhsm"), "the device's library is in this process");
}

/// More processes than the device has sessions.
#[test]
fn processes_share_the_few_sessions_of_a_device() {
    let bed = Bed::without_agent(10);
    bed.limit_sessions(4);
    let mut bed = bed;
    bed.start();
    let (c, pair) = bed.client();
    let opened = bed.calls(Call::Open);
    assert!(children(32, |_| (0..40).all(|number| pair.sign(c, number) == Ok(()))));
    // 32 processes and 1280 signatures: the agent's pool opens what the device has and asks once more for each refusal.
    assert!(bed.calls(Call::Open) - opened < 100, "{}", bed.calls(Call::Open) - opened);
}

#[test]
fn a_forked_child_connects_anew_and_the_parent_goes_on() {
    let bed = Bed::new(10);
    let (c, pair) = bed.client();
    for number in 0..5 {
        pair.sign(c, number).unwrap();
        assert!(children(2, |number| {
            let grandchild = || children(1, |number| pair.sign(c, number).is_ok());
            pair.sign(c, number).is_ok() && grandchild() && pair.sign(c, number).is_ok()
        }));
    }
    std::thread::scope(|scope| {
        let signer = scope.spawn(|| (0..500).for_each(|number| pair.sign(c, number).unwrap()));
        while !signer.is_finished() {
            let own = Client::open(c.m);
            assert!(children(1, |number| pair.sign(own, number).is_ok()));
            own.close();
        }
    });
}

/// Daemons close every descriptor that they do not know. What then has the number of our connection is not ours to write to.
#[test]
fn a_descriptor_that_became_something_else_is_left_alone() {
    let bed = Bed::new(10);
    let (c, pair) = bed.client();
    pair.sign(c, 1).unwrap();
    let folder = bed.installation.path("files");
    std::fs::create_dir(&folder).unwrap();
    assert!(children(1, |_| {
        // The parent's connections first, then the child's own.
        let files: Vec<_> = (0..2)
            .flat_map(|turn| {
                let files = take_sockets(&folder, turn);
                assert!(!files.is_empty() && pair.sign(c, turn).is_ok() && pair.sign(c, turn).is_ok());
                files
            })
            .collect();
        files.iter().all(|file| std::fs::read(file).unwrap() == b"precious")
    }));
    pair.sign(c, 4).unwrap();
}

/// Opens a file in the place of each socket of this process.
fn take_sockets(folder: &Path, turn: u64) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let is_socket = std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"));
        let number: i32 = entry.file_name().to_string_lossy().parse().unwrap();
        if is_socket {
            let path = folder.join(format!("{turn}-{number}"));
            std::fs::write(&path, "precious").unwrap();
            let file = File::options().read(true).write(true).open(&path).unwrap();
            // SAFETY: what a daemon does that closes what it does not know; only the module uses these.
            assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
            files.push(path);
        }
    }
    files
}
