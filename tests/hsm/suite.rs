//! The same over every device that can be had here: SoftHSM, kryoptic, tpm2-pkcs11 in front of a simulated TPM, and this
//! module itself as a device. What a device does not have its profile says, and that is all that may be missing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use alikms_pkcs11::Error;
use alikms_pkcs11::config::{DeviceConfig, PinSource};
use alikms_pkcs11::crypto::sm2::{DEFAULT_ID, identity};
use alikms_pkcs11::model::algorithm::{Cipher, Job, Mac, Signing, Sm2Layout};
use alikms_pkcs11::model::curve::Curve;
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::model::spec::{Family, SPECS, Spec};
use alikms_pkcs11::protection::hsm::replication::Under;
use alikms_pkcs11::protection::hsm::{Group, Hsm};
use alikms_pkcs11::protection::public::Prepared;
use alikms_pkcs11::protection::{Protection, Usages};
use tempfile::TempDir;
use uuid::Uuid;

use crate::processes::in_child;
use crate::support::*;

/// A device that was set up for one test.
pub struct Bed {
    pub config: DeviceConfig,
    directory: TempDir,
    /// What runs for it; ended with the test.
    servers: Vec<Child>,
    /// Key specs that it does not have by its profile.
    missing: Vec<String>,
    /// Whether a child may go on with it that was forked when it was in use.
    forks: bool,
}

impl Drop for Bed {
    fn drop(&mut self) {
        for server in self.servers.iter_mut().rev() {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

impl Bed {
    /// `profile`: its own, whether the configuration names it or not.
    fn new(profile: &str, is_named: bool, library: &str) -> Self {
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("pin"), PIN).unwrap();
        let config = DeviceConfig {
            name: "soft".to_owned(),
            profile: if is_named { profile.to_owned() } else { "auto".to_owned() },
            library: library.into(),
            token: Some(LABEL.to_owned()),
            slot: None,
            serial: None,
            pin: PinSource::File(directory.path().join("pin")),
            init_args: None,
            env: BTreeMap::new(),
            isolate: None,
            changes: toml::Table::new(),
            agent: None,
        };
        Self { config, directory, servers: Vec::new(), missing: missing(profile), forks: true }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.config.env.insert(name.to_owned(), value.into());
    }

    /// Runs a program with the device's environment; what it printed.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program).args(args).envs(&self.config.env).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn serve(&mut self, program: &str, args: &[&str]) -> &mut Child {
        let mut command = Command::new(program);
        command.args(args).envs(&self.config.env).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        // SAFETY: prctl takes two numbers and is async-signal-safe: the server ends when the test does, whatever ends it.
        unsafe {
            command.pre_exec(|| {
                (libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0)
                    .then_some(())
                    .ok_or_else(std::io::Error::last_os_error)
            })
        };
        self.servers.push(command.spawn().unwrap_or_else(|error| panic!("{program}: {error}")));
        self.servers.last_mut().unwrap()
    }

    fn has(&self, what: &str) -> bool {
        !self.missing.iter().any(|missing| missing == what)
    }
}

/// The key specs that this profile says a device of its family lacks: by name, or because it has no numbers for them. Ed25519
/// is in no device.
fn missing(profile: &str) -> Vec<String> {
    let file = format!("{}/src/protection/hsm/profiles/{profile}.toml", env!("CARGO_MANIFEST_DIR"));
    let profile: toml::Table = toml::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let lacks = profile.get("lacks").and_then(toml::Value::as_array).cloned().unwrap_or_default();
    let lacks = lacks.iter().map(|name| name.as_str().unwrap().to_owned());
    let sm = [("EC_SM2", "CKM_ALIKMS_SM2_KEY_PAIR_GEN"), ("Aliyun_SM4", "CKM_ALIKMS_SM4_KEY_GEN")];
    let has = |number: &str| profile.get("sm").is_some_and(|sm| sm.get(number).is_some());
    let sm = sm.into_iter().filter(|(_, number)| !has(number)).map(|(name, _)| name.to_owned());
    lacks.chain(sm).chain(["EC_ED25519".to_owned()]).collect()
}

pub fn softhsm() -> Bed {
    let token = Token::new();
    let mut bed = Bed::new("softhsm2", false, LIBRARY);
    bed.put("SOFTHSM2_CONF", token.conf().display().to_string());
    bed.config.pin = PinSource::File(token.directory.path().join("pin"));
    bed.directory = token.directory;
    bed
}

/// `ci/devices.sh` builds it.
pub fn kryoptic() -> Bed {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/devices/release/libkryoptic.so");
    if !library.exists() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/devices.sh");
        let built = Command::new(script).output().unwrap();
        assert!(built.status.success(), "{script}: {built:?}");
    }
    let mut bed = Bed::new("kryoptic", false, &library.display().to_string());
    let (conf, database) = (bed.path("kryoptic.conf"), bed.path("token.sql"));
    std::fs::write(&conf, format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", database.display()))
        .unwrap();
    bed.put("KRYOPTIC_CONF", conf.display().to_string());
    let module = library.display().to_string();
    bed.run("pkcs11-tool", &["--module", &module, "--init-token", "--label", LABEL, "--so-pin", "87654321"]);
    bed.run("pkcs11-tool", &["--module", &module, "--init-pin", "--login", "--so-pin", "87654321", "--new-pin", PIN]);
    bed
}

/// A simulated TPM, the resource manager that it needs on a bus of its own, and a store of keys.
pub fn tpm() -> Bed {
    let library = "/usr/lib/x86_64-linux-gnu/libtpm2_pkcs11.so.1".replace("x86_64", std::env::consts::ARCH);
    let mut bed = Bed::new("tpm2-pkcs11", true, &library);
    // The bus between it and its resource manager is GLib's, which does not survive a fork.
    bed.forks = false;
    std::fs::create_dir(bed.path("state")).unwrap();
    std::fs::create_dir(bed.path("store")).unwrap();
    let (state, socket) = (bed.path("state").display().to_string(), bed.path("tpm").display().to_string());
    bed.serve(
        "swtpm",
        &[
            "socket",
            "--tpm2",
            "--tpmstate",
            &format!("dir={state}"),
            "--server",
            &format!("type=unixio,path={socket}"),
            "--ctrl",
            &format!("type=unixio,path={socket}.ctrl"),
            "--flags",
            "not-need-init,startup-clear",
        ],
    );
    assert!(within(60, || bed.path("tpm").exists()));
    let bus = bed.serve("dbus-daemon", &["--session", "--nofork", "--print-address=1"]);
    let mut address = String::new();
    BufReader::new(bus.stdout.as_mut().unwrap()).read_line(&mut address).unwrap();
    bed.put("DBUS_SESSION_BUS_ADDRESS", address.trim());
    for name in ["TPM2_PKCS11_TCTI", "TPM2TOOLS_TCTI"] {
        bed.put(name, "tabrmd:bus_type=session");
    }
    let store = bed.path("store").display().to_string();
    bed.put("TPM2_PKCS11_STORE", &store);
    bed.put("TPM2_PKCS11_LOG_LEVEL", "0");
    bed.put("TSS2_LOG", "all+NONE");
    bed.serve("tpm2-abrmd", &["--session", "--allow-root", &format!("--tcti=swtpm:path={socket}")]);
    let mut init = Command::new("tpm2_ptool");
    init.args(["init", "--path", &store]).envs(&bed.config.env);
    assert!(within(60, || init.output().unwrap().status.success()), "{:?}", init.output());
    bed.run(
        "tpm2_ptool",
        &["addtoken", "--pid", "1", "--label", LABEL, "--userpin", PIN, "--sopin", "87654321", "--path", &store],
    );
    bed
}

/// This module itself, in front of keys of level SOFTWARE: the one device here that has SM2 and SM4.
pub fn alikms() -> Bed {
    let module = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
    let mut bed = Bed::new("alikms", true, "/");
    // From another file than the one that an application may have loaded.
    bed.config.library = bed.path("device.so");
    std::fs::copy(module, &bed.config.library).unwrap();
    let conf = format!(
        "[store]\nurl = \"sqlite:{0}/store/kms.db\"\n[unlock]\nmethod = \"file\"\npath = \"{0}/unlock.key\"\n\
         [[token]]\nlabel = \"{LABEL}\"\naccount = \"1\"\nregion = \"cn-hangzhou\"\ndestroy = \"immediate\"\n",
        bed.directory.path().display()
    );
    std::fs::write(bed.path("alikms.toml"), conf).unwrap();
    let (conf, pin) = (bed.path("alikms.toml").display().to_string(), bed.path("pin").display().to_string());
    bed.put("ALIKMS_CONF", conf);
    let source = format!("file:{pin}");
    bed.run(env!("CARGO_BIN_EXE_alikms"), &["init", "--pin", &source, "--so-pin", &source]);
    bed
}

fn usages(family: Family) -> Usages {
    match family {
        Family::Rsa | Family::Ec(Curve::Sm2) => Usages { decrypt: true, ..SIGN },
        Family::Ec(_) => SIGN,
        Family::Generic => MAC,
        Family::Aes | Family::Sm4 => CRYPT,
    }
}

/// Every spec that the device should have: made, used in every way and compared with software, found again, destroyed.
fn keys_live_there(bed: &Bed) {
    let hsm = Hsm::new(bed.config.clone());
    let report = hsm.probe().unwrap();
    assert_eq!(report.token, LABEL);
    for spec in SPECS.iter().map(Spec) {
        if let Err(error) = hsm.supports(spec) {
            assert!(matches!(error, Error::DeviceLacks { .. }), "{}: {error}", spec.name);
            assert!(!bed.has(spec.name), "{}: {error}", spec.name);
            continue;
        }
        assert!(bed.has(spec.name), "{} is there, and its profile says that it is not", spec.name);
        let made = make(&hsm, spec.name, usages(spec.family));
        use_it(&made);
        // Another process, as it were.
        let again = Hsm::new(bed.config.clone());
        again.open(made.id, spec, &made.material, made.public.as_ref()).unwrap();
        assert!(again.ids().unwrap().contains(&made.id));
        hsm.destroy(made.id, &made.material).unwrap();
        assert_eq!(
            hsm.open(made.id, spec, &made.material, None).map(|_| ()),
            Err(Error::KeyNotFound(made.id.to_string()))
        );
        hsm.destroy(made.id, &made.material).unwrap();
    }
    assert!(hsm.ids().unwrap().is_empty());
}

fn use_it(made: &Made) {
    let name = made.spec.name;
    let once = |job: Job, input: &[u8]| {
        let answer = made.key.once(&job, input);
        answer.unwrap_or_else(|error| panic!("{name} {job:?}: {error}"))
    };
    match made.spec.family {
        Family::Ec(Curve::Sm2) => {
            let Some(PublicKey::Ec { point, .. }) = &made.public else { panic!("{:?}", made.public) };
            assert_eq!(identity(point, DEFAULT_ID).unwrap().len(), 32);
            for signing in [Signing::Sm2, Signing::Sm2Der] {
                let signature = once(Job::Sign(signing.clone()), &digest(Hash::Sm3));
                made.prepared().verify(&signing, &digest(Hash::Sm3), &signature).unwrap();
            }
            for layout in [Sm2Layout::C1C2C3, Sm2Layout::C1C3C2, Sm2Layout::Der] {
                let mut sealed = made.prepared().encrypt(&Cipher::Sm2(layout), b"plain").unwrap();
                assert_eq!(once(Job::Decrypt(Cipher::Sm2(layout)), &sealed).as_slice(), b"plain");
                *sealed.last_mut().unwrap() ^= 1;
                assert!(made.key.once(&Job::Decrypt(Cipher::Sm2(layout)), &sealed).is_err());
            }
            // Never ECDSA on this curve.
            assert!(made.key.once(&Job::Sign(Signing::Ecdsa), &[1; 32]).is_err());
        }
        Family::Ec(_) => [Hash::Sha256, Hash::Sha384].into_iter().for_each(|hash| made.sign(&digest(hash)).unwrap()),
        Family::Rsa => {
            let info = [Hash::Sha256.digest_info_prefix(), &digest(Hash::Sha256)].concat();
            let pss = Signing::RsaPss { hash: Hash::Sha256, mgf: Hash::Sha256, salt: 32 };
            for (signing, input) in [(Signing::RsaPkcs1, &info), (pss, &digest(Hash::Sha256))] {
                let signature = once(Job::Sign(signing.clone()), input);
                made.prepared().verify(&signing, input, &signature).unwrap();
            }
            for hash in [Hash::Sha1, Hash::Sha256] {
                let cipher = Cipher::RsaOaep { hash, mgf: hash, label: vec![] };
                let sealed = made.prepared().encrypt(&cipher, b"plain").unwrap();
                assert_eq!(once(Job::Decrypt(cipher.clone()), &sealed).as_slice(), b"plain", "{hash:?}");
            }
        }
        Family::Generic => {
            let hash = match made.spec.bits {
                256 => Hash::Sha256,
                384 => Hash::Sha384,
                _ => Hash::Sha512,
            };
            assert_eq!(once(Job::Mac(Mac::Hmac(hash)), b"message").len(), hash.len());
        }
        Family::Aes => ciphers(
            &once,
            [
                Cipher::AesGcm { iv: vec![7; 12].into(), aad: b"context".to_vec(), tag: 16 },
                Cipher::AesCbc { iv: [3; 16] },
                Cipher::AesCbcPad { iv: [3; 16] },
                Cipher::AesCtr { block: [3; 16], bits: 128 },
                Cipher::AesEcb,
            ],
        ),
        Family::Sm4 => ciphers(
            &once,
            [
                Cipher::Sm4Gcm { iv: vec![7; 12].into(), aad: b"context".to_vec(), tag: 16 },
                Cipher::Sm4Cbc { iv: [3; 16] },
                Cipher::Sm4CbcPad { iv: [3; 16] },
                Cipher::Sm4Ctr { block: [3; 16], bits: 128 },
                Cipher::Sm4Ecb,
            ],
        ),
    }
}

fn ciphers(once: &dyn Fn(Job, &[u8]) -> alikms_pkcs11::model::Bytes, all: [Cipher; 5]) {
    for cipher in all {
        let sealed = once(Job::Encrypt(cipher.clone()), &[5; 64]);
        assert_ne!(sealed.get(..64).unwrap(), [5; 64]);
        assert_eq!(once(Job::Decrypt(cipher), &sealed).as_slice(), [5; 64]);
    }
}

/// Threads and forks at the same time.
fn processes_share_it(bed: &Bed) {
    let hsm = Arc::new(Hsm::new(bed.config.clone()));
    // Before first use, as nginx does it.
    assert!(in_child(|| {
        let made = make(&hsm, "EC_P256", SIGN);
        let signed = (0..5).all(|_| made.sign(&digest(Hash::Sha256)).is_ok());
        signed && hsm.destroy(made.id, &made.material).is_ok()
    }));
    let made = make(&hsm, "EC_P256", SIGN);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..10).for_each(|_| made.sign(&digest(Hash::Sha256)).unwrap()));
        }
    });
    for _ in 0..2 * usize::from(bed.forks) {
        assert!(in_child(|| (0..5).all(|_| made.sign(&digest(Hash::Sha256)).is_ok())));
        made.sign(&digest(Hash::Sha256)).unwrap();
    }
    hsm.destroy(made.id, &made.material).unwrap();
}

/// It is tried once, whatever the device says about it; and what the device counts does not lock it.
fn a_wrong_pin_is_tried_once(bed: &Bed) {
    let pin = bed.path("pin");
    std::fs::write(&pin, "9999").unwrap();
    let hsm = Hsm::new(bed.config.clone());
    for _ in 0..8 {
        assert_eq!(hsm.probe().map(|_| ()), Err(Error::DevicePin { device: "soft".to_owned() }));
    }
    std::fs::write(&pin, PIN).unwrap();
    assert!(within(2, || hsm.probe().is_ok()), "{:?}", hsm.probe());
}

/// Two devices behind one token: a key of each family comes to both and works in each, or what is missing is named.
fn two_share_keys(first: &Bed, second: &Bed, lacks: Option<&str>) {
    let named = |bed: &Bed, name: &str| DeviceConfig { name: name.to_owned(), ..bed.config.clone() };
    let hsms = [named(first, "one"), named(second, "two")].map(|config| Arc::new(Hsm::new(config)));
    let group = Group::new(hsms.to_vec(), 2);
    let (under, pairs) = (Uuid::new_v4(), [Uuid::new_v4(), Uuid::new_v4()]);
    let planted = group.plant(under, &pairs);
    pairs.iter().for_each(|pair| group.destroy(*pair, &group.material(*pair)).unwrap());
    if let Some(lacks) = lacks {
        assert!(matches!(&planted, Err(Error::DeviceLacks { what, .. }) if what.contains(lacks)), "{planted:?}");
        return;
    }
    group.set_replication(Under::new(under, &planted.unwrap()).unwrap());
    for spec in ["RSA_2048", "EC_P384", "Aliyun_AES_256", "HMAC_SHA_256"].map(spec) {
        let id = Uuid::new_v4();
        let made =
            group.generate(id, spec, usages(spec.family)).unwrap_or_else(|error| panic!("{}: {error}", spec.name));
        let job = match spec.family {
            Family::Aes => Job::Encrypt(Cipher::AesCbc { iv: [3; 16] }),
            Family::Ec(Curve::Sm2) => Job::Sign(Signing::Sm2),
            Family::Ec(_) => Job::Sign(Signing::Ecdsa),
            Family::Generic => Job::Mac(Mac::Hmac(Hash::Sha256)),
            Family::Rsa => Job::Sign(Signing::RsaPkcs1),
            Family::Sm4 => Job::Encrypt(Cipher::Sm4Cbc { iv: [3; 16] }),
        };
        let answers: Vec<_> = group
            .members()
            .map(|member| {
                let key = member.open(id, spec, &made.material, made.public.as_ref()).unwrap();
                key.once(&job, &[7; 32]).unwrap_or_else(|error| panic!("{}: {error}", spec.name))
            })
            .collect();
        match (&made.public, &job) {
            (Some(public), Job::Sign(signing)) => {
                let prepared = Prepared::new(public).unwrap();
                answers.iter().for_each(|answer| prepared.verify(signing, &[7; 32], answer).unwrap());
            }
            _ => assert_eq!(answers[0], answers[1], "{}", spec.name),
        }
        // By turns, here and in a forked child.
        let shared = group.open(id, spec, &made.material, made.public.as_ref()).unwrap();
        let works = || (0..4).all(|_| shared.once(&job, &[7; 32]).is_ok());
        assert!(works() && in_child(works) && works(), "{}", spec.name);
        group.destroy(id, &made.material).unwrap();
    }
    for hsm in &hsms {
        assert_eq!(hsm.ids().unwrap(), [under]);
    }
}

#[test]
fn devices_of_one_kind_or_another_share_keys() {
    two_share_keys(&softhsm(), &kryoptic(), None);
    // It wraps no key for one that it does not know.
    two_share_keys(&alikms(), &alikms(), Some("C_WrapKey of a sensitive key with CKM_RSA_PKCS_OAEP"));
}

macro_rules! over_each {
    ($($bed:ident)+) => { $(
        mod $bed {
            #[test]
            fn every_key_spec() {
                super::keys_live_there(&super::$bed());
            }

            #[test]
            fn threads_forks_and_a_wrong_pin() {
                let bed = super::$bed();
                super::processes_share_it(&bed);
                super::a_wrong_pin_is_tried_once(&bed);
            }
        }
    )+ };
}

over_each! { softhsm kryoptic tpm alikms }
