//! What the tests share: a home with alikms.toml, store, PINs and a SoftHSM token, the command, and the module's file.
#![allow(dead_code)] // Each test uses its part.

pub mod ca;
pub mod module;

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use alikms_pkcs11::config::{Config, PinSource};
use alikms_pkcs11::kms::Service;
use alikms_pkcs11::model::key::Level;
use serde_json::Value;
use tempfile::TempDir;

pub const PIN: &str = "user-pin-1";
pub const SO_PIN: &str = "officer-pin-1";
pub const ACCOUNT: &str = "1000000000000001";
pub const REGION: &str = "cn-hangzhou";
const DEVICE_PIN: &str = "device-pin-1";
const DEVICE_TOKEN: &str = "alikms-hsm";

/// Where Debian and others put SoftHSM.
pub fn softhsm() -> &'static str {
    let places = ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so"];
    places.into_iter().find(|path| Path::new(path).exists()).expect("softhsm2 is needed: ci/install.sh test")
}

/// A directory of its own with everything that one installation has. Gone when dropped.
pub struct Home {
    folder: TempDir,
}

/// What a run of a program left.
#[derive(Debug)]
pub struct Run {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    /// An installation with the token `alikms`, and at level HSM with a device of its own; `alikms init` was run.
    pub fn new(level: Level) -> Self {
        let home = Self::bare(level);
        home.init();
        home
    }

    /// The same before `alikms init`.
    pub fn bare(level: Level) -> Self {
        let home = Self { folder: tempfile::tempdir().unwrap() };
        home.write("pin", PIN);
        home.write("so.pin", SO_PIN);
        let mut text = home.config_head();
        if level == Level::Hsm {
            home.make_device();
            text += &home.device_table();
        }
        text += &Self::token_table("alikms", ACCOUNT, REGION, level);
        home.write("alikms.toml", &text);
        home
    }

    pub fn config_head(&self) -> String {
        let folder = self.folder().display();
        format!(
            "[store]\nurl = \"sqlite:{folder}/store/kms.db\"\n[unlock]\nmethod = \"file\"\npath = \"{folder}/unlock.key\"\n"
        )
    }

    pub fn device_table(&self) -> String {
        let folder = self.folder().display();
        format!(
            "[[device]]\nname = \"softhsm\"\nprofile = \"softhsm2\"\nlibrary = \"{}\"\ntoken = \"{DEVICE_TOKEN}\"\n\
             pin = \"file:{folder}/device.pin\"\nenv = {{ SOFTHSM2_CONF = \"{folder}/softhsm2.conf\" }}\n",
            softhsm()
        )
    }

    pub fn token_table(label: &str, account: &str, region: &str, level: Level) -> String {
        let device = if level == Level::Hsm { "device = \"softhsm\"\n" } else { "" };
        format!("[[token]]\nlabel = \"{label}\"\naccount = \"{account}\"\nregion = \"{region}\"\n{device}")
    }

    /// A SoftHSM token in this directory, and the PIN file for it.
    pub fn make_device(&self) {
        std::fs::create_dir(self.path("tokens")).unwrap();
        let conf = format!("directories.tokendir = {}\nlog.level = ERROR\n", self.path("tokens").display());
        self.write("softhsm2.conf", &conf);
        self.write("device.pin", DEVICE_PIN);
        let mut util = Command::new("softhsm2-util");
        util.args(["--init-token", "--free", "--label", DEVICE_TOKEN, "--pin", DEVICE_PIN, "--so-pin", SO_PIN]);
        let made = util.env("SOFTHSM2_CONF", self.path("softhsm2.conf")).output().expect("softhsm2-util is needed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// `alikms init` with the usual PINs.
    pub fn init(&self) {
        let run = self.alikms(self.init_arguments());
        assert_eq!(run.status, 0, "{run:?}");
    }

    pub fn init_arguments(&self) -> [String; 5] {
        let pin = |name| format!("file:{}", self.path(name).display());
        ["init".into(), "--pin".into(), pin("pin"), "--so-pin".into(), pin("so.pin")]
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn config(&self) -> PathBuf {
        self.path("alikms.toml")
    }

    /// `alikms` in this home: nothing of the environment that a test runs in matters to it.
    pub fn command(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_alikms"));
        command.args(arguments).current_dir(self.folder()).env_clear().env("ALIKMS_CONF", self.config());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).stdin(Stdio::null());
        command
    }

    pub fn alikms(&self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        run(&mut self.command(arguments))
    }

    /// The answer of an action that is expected to succeed.
    pub fn answer(&self, arguments: &[&str]) -> Value {
        let run = self.alikms(arguments);
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{arguments:?}: {run:?}");
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// One field of such an answer.
    pub fn query(&self, arguments: &[&str], path: &str) -> String {
        let run = self.alikms(arguments.iter().copied().chain(["--query", path]));
        assert_eq!((run.status, run.stderr.as_str()), (0, ""), "{arguments:?}: {run:?}");
        run.stdout.trim_end().to_owned()
    }

    /// The installation, in this process.
    pub fn service(&self) -> Arc<Service> {
        Service::new(Config::read(&self.config()).unwrap())
    }

    pub fn pin_source(&self) -> PinSource {
        PinSource::File(self.path("pin"))
    }
}

/// Keeps a home until the process ends: a child waits for that and clears it away.
#[expect(clippy::zombie_processes, reason = "it outlives this process on purpose")]
pub fn sweep(home: Home) {
    let folder = home.folder.keep();
    let script = "while [ -d /proc/$1 ]; do sleep 1; done; rm -rf -- \"$2\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", &std::process::id().to_string()]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
}

/// Runs a program to its end.
pub fn run(command: &mut Command) -> Run {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Run {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The output of a program that is expected to succeed, fed with `input`.
pub fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// `openssl` with these words.
pub fn openssl(words: &str, input: &[u8]) -> Vec<u8> {
    pipe("openssl", &words.split_whitespace().collect::<Vec<_>>(), input)
}
