//! An installation: store, unlock key, configuration and perhaps a SoftHSM token, in a directory that goes with the test.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki_sys::*;
use serde_json::Value;
use tempfile::TempDir;

use super::{Client, Module, b, s};

pub const PIN: &str = "user-pin-1234";
pub const SO_PIN: &str = "officer-pin-5678";
pub const DEVICE_LIBRARY: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// SoftHSM finds its tokens by an environment variable, and the environment is one for all tests of a process: devices
/// are connected one at a time.
static CONNECTING: Mutex<()> = Mutex::new(());

/// How an installation differs from the usual one.
#[derive(Default)]
pub struct Setup {
    /// With a SoftHSM token as device; then the default level is HSM.
    pub device: bool,
    /// With so many of them behind the token; one if it is 0.
    pub members: usize,
    /// All of them are one SoftHSM token.
    pub same_token: bool,
    /// More lines for each `[[device]]`; a library there replaces SoftHSM.
    pub device_lines: String,
    /// More tables: `[agent]`.
    pub tables: String,
    /// `[unlock] method = "pin"`.
    pub unlock_by_pin: bool,
    /// More lines for `[[token]]`.
    pub token: &'static str,
    /// No `alikms init`.
    pub bare: bool,
}

pub struct Installation {
    dir: TempDir,
    device: bool,
    modules: AtomicU32,
}

impl Installation {
    pub fn software() -> Self {
        Self::new(&Setup::default())
    }

    pub fn with_device() -> Self {
        Self::new(&Setup { device: true, ..Setup::default() })
    }

    /// At the level `SOFTWARE` or `HSM`.
    pub fn at(level: &str) -> Self {
        if level == "HSM" { Self::with_device() } else { Self::software() }
    }

    pub fn new(setup: &Setup) -> Self {
        let dir = tempfile::Builder::new().prefix("alikms-test-").tempdir().unwrap();
        let made = Self { dir, device: setup.device, modules: AtomicU32::new(0) };
        let unlock = match setup.unlock_by_pin {
            true => "method = \"pin\"".to_owned(),
            false => format!("method = \"file\"\npath = \"{}\"", made.path("unlock.key").display()),
        };
        let url = made.path("store/kms.db");
        let mut conf = format!("[store]\nurl = \"sqlite:{}\"\n[unlock]\n{unlock}\n", url.display());
        if setup.device {
            let library = match setup.device_lines.contains("library = ") {
                true => String::new(),
                false => format!("library = \"{DEVICE_LIBRARY}\"\n"),
            };
            for member in 0..setup.members.max(1) {
                let token = if setup.same_token { 0 } else { member };
                if token == member {
                    made.make_device_token(member);
                }
                conf += &format!(
                    "[[device]]\nname = \"{}\"\nprofile = \"softhsm2\"\n{library}token = \"device\"\n\
                     pin = \"file:{}\"\nenv = {{ SOFTHSM2_CONF = \"{}\" }}\n",
                    device_name(member),
                    made.path("device.pin").display(),
                    made.device_conf(token).display()
                );
                conf += &setup.device_lines;
            }
        }
        conf += &setup.tables;
        conf += "[[token]]\nlabel = \"alikms\"\naccount = \"1000000000000001\"\nregion = \"cn-hangzhou\"\n";
        if setup.device {
            let names: Vec<String> = (0..setup.members).map(device_name).collect();
            conf +=
                &if names.is_empty() { "device = \"softhsm\"\n".to_owned() } else { format!("devices = {names:?}\n") };
            conf += "protection_level = \"HSM\"\n";
        }
        std::fs::write(made.conf(), conf + setup.token + "\n").unwrap();
        for (name, pin) in [("user.pin", PIN), ("so.pin", SO_PIN)] {
            std::fs::write(made.path(name), pin).unwrap();
        }
        if !setup.bare {
            let source = |name: &str| format!("file:{}", made.path(name).display());
            made.text(&["init", "--pin", &source("user.pin"), "--so-pin", &source("so.pin")]);
        }
        made
    }

    /// Where a device keeps its keys: away, it is lost.
    pub fn device_tokens(&self, member: usize) -> PathBuf {
        self.path(&device_name(member).replace("softhsm", "tokens"))
    }

    /// SoftHSM's configuration of a device.
    pub fn device_conf(&self, member: usize) -> PathBuf {
        self.path(&format!("{}.conf", device_name(member).replace("softhsm", "softhsm2")))
    }

    pub fn make_device_token(&self, member: usize) {
        let tokens = self.device_tokens(member);
        std::fs::create_dir(&tokens).unwrap();
        let conf = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        std::fs::write(self.device_conf(member), conf).unwrap();
        std::fs::write(self.path("device.pin"), "device-pin").unwrap();
        let mut command = Command::new("softhsm2-util");
        command.args(["--init-token", "--free", "--label", "device", "--pin", "device-pin", "--so-pin", "device-so"]);
        run(command.env("SOFTHSM2_CONF", self.device_conf(member)));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn conf(&self) -> PathBuf {
        self.path("alikms.toml")
    }

    /// A command that finds this installation.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env("ALIKMS_CONF", self.conf()).env("SOFTHSM2_CONF", self.path("softhsm2.conf"));
        command
    }

    fn text(&self, args: &[&str]) -> String {
        run(self.command(env!("CARGO_BIN_EXE_alikms")).args(args))
    }

    /// What a verb that is no action prints, as it is.
    pub fn print(&self, args: &[&str]) -> String {
        self.text(args)
    }

    /// The answer of an action: `alikms(&["CreateKey", "--KeySpec=RSA_2048"])`.
    pub fn alikms(&self, args: &[&str]) -> Value {
        let text = self.text(args);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("alikms {args:?}: {error}: {text}"))
    }

    /// Creates a key with `CreateKey`, gives it an alias, and answers its KeyId.
    pub fn create_key(&self, alias: &str, args: &[&str]) -> String {
        let answer = self.alikms(&[&["CreateKey"], args].concat());
        let id = answer["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
        self.text(&["CreateAlias", "--KeyId", &id, "--AliasName", &format!("alias/{alias}")]);
        id
    }

    /// The public key of a key's version in service, in a file that `openssl` reads.
    pub fn public_pem(&self, key: &str) -> PathBuf {
        let versions = self.alikms(&["ListKeyVersions", "--KeyId", key]);
        let version = versions["KeyVersions"]["KeyVersion"][0]["KeyVersionId"].as_str().unwrap().to_owned();
        let answer = self.alikms(&["GetPublicKey", "--KeyId", key, "--KeyVersionId", &version]);
        let file = self.path(&format!("{version}.pem"));
        std::fs::write(&file, answer["PublicKey"].as_str().unwrap()).unwrap();
        file
    }

    fn next_copy(&self) -> PathBuf {
        let number = self.modules.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("module-{number}.so"))
    }

    /// A copy of the library, for other programs: one that is built with a sanitizer does not load here.
    pub fn copy(&self) -> String {
        let path = self.next_copy();
        Module::write(&path);
        path.display().to_string()
    }

    /// A copy of the library, loaded: with statics of its own.
    pub fn load(&self) -> &'static Module {
        Module::load(&self.next_copy())
    }

    /// Loaded and initialised.
    pub fn start(&self) -> &'static Module {
        let module = self.load();
        let _one = self.device.then(|| CONNECTING.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        module.initialize(&self.conf());
        if self.device {
            self.connect(module);
        }
        module
    }

    /// Makes the module open its device, and leaves nothing behind but a key.
    fn connect(&self, module: &'static Module) {
        let client = Client::open(module);
        client.login();
        client.ec_pair(super::P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "connected")]).unwrap();
        client.close();
    }

    /// Loaded, initialised, with a read-write session that is logged in.
    pub fn client(&self) -> Client {
        let client = Client::open(self.start());
        client.login();
        client
    }
}

/// The first is "softhsm", the second "softhsm-2".
pub fn device_name(member: usize) -> String {
    if member == 0 { "softhsm".to_owned() } else { format!("softhsm-{}", member + 1) }
}

/// Runs a command that must succeed and answers what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// Does `openssl` with these words succeed?
pub fn openssl(dir: &Path, words: &[&str]) -> Result<Vec<u8>, String> {
    let output = Command::new("openssl").current_dir(dir).args(words).output().expect("openssl is needed");
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(format!("openssl {words:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
