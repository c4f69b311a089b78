//! The modules that are compared, each with a token of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use crate::support::{DEVICE_LIBRARY, Installation, PIN, SO_PIN};

/// A module with the configuration that its environment names, as a process of its own is told of it.
#[derive(Clone)]
pub struct Contender {
    pub name: &'static str,
    pub library: PathBuf,
    pin: &'static str,
    environment: (&'static str, PathBuf),
    /// What it is told besides: `--reserved`, `--slot`, `--forks`.
    more: Vec<(&'static str, String)>,
    /// Where `alikms` works, too.
    pub installation: Option<Arc<Installation>>,
    _home: Option<Arc<TempDir>>,
}

impl Contender {
    pub fn ours(library: &Path, installation: &Arc<Installation>) -> Self {
        let new = Self::new("alikms", library, PIN, ("ALIKMS_CONF", installation.conf()));
        Self { installation: Some(Arc::clone(installation)), ..new }
    }

    fn new(name: &'static str, library: &Path, pin: &'static str, environment: (&'static str, PathBuf)) -> Self {
        let library = library.to_owned();
        Self { name, library, pin, environment, more: Vec::new(), installation: None, _home: None }
    }

    pub fn softhsm() -> Self {
        let home = TempDir::new().expect("a directory");
        let conf = home.path().join("softhsm2.conf");
        let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", home.path().display());
        std::fs::write(&conf, text).expect("a file");
        Self::new("softhsm", Path::new(DEVICE_LIBRARY), PIN, ("SOFTHSM2_CONF", conf)).with_token(home)
    }

    /// `ci/devices.sh` builds it.
    pub fn kryoptic() -> Self {
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/target/devices/release/libkryoptic.so");
        let home = TempDir::new().expect("a directory");
        let (conf, database) = (home.path().join("kryoptic.conf"), home.path().join("token.sql"));
        let text = format!("[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n", database.display());
        std::fs::write(&conf, text).expect("a file");
        Self::new("kryoptic", Path::new(library), PIN, ("KRYOPTIC_CONF", conf)).with_token(home)
    }

    /// NSS's softoken has its keys in the second slot, and does not outlive a fork.
    pub fn nss() -> Self {
        let home = TempDir::new().expect("a directory");
        let (directory, pin) = (format!("sql:{}", home.path().display()), home.path().join("pin"));
        std::fs::write(&pin, PIN).expect("a file");
        let mut certutil = Command::new("certutil");
        ended_well(certutil.args(["-N", "-d", &directory, "-f"]).arg(&pin));
        let library = format!("/usr/lib/{}-linux-gnu/libsoftokn3.so", std::env::consts::ARCH);
        let reserved = format!("configdir='{directory}' certPrefix='' keyPrefix='' secmod='secmod.db' flags=");
        let more = vec![("reserved", reserved), ("slot", "1".to_owned()), ("forks", "0".to_owned())];
        // It reads no variable.
        let new = Self::new("nss", Path::new(&library), PIN, ("NSS_DATABASE", home.path().to_owned()));
        Self { more, _home: Some(Arc::new(home)), ..new }
    }

    fn with_token(self, home: TempDir) -> Self {
        let run = |words: &[&str]| {
            let mut tool = Command::new("pkcs11-tool");
            ended_well(
                tool.env(self.environment.0, &self.environment.1).arg("--module").arg(&self.library).args(words),
            );
        };
        run(&["--init-token", "--slot-index", "0", "--label", "keys", "--so-pin", SO_PIN]);
        run(&["--init-pin", "--login", "--so-pin", SO_PIN, "--new-pin", PIN]);
        Self { _home: Some(Arc::new(home)), ..self }
    }

    /// Runs this program on it in a process of its own; what it prints.
    pub fn run(&self, what: &str, more: &[(&str, &str)]) -> String {
        let mut command = self.command(what, more);
        let output = command.output().expect("this program runs");
        let said = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{what} of {}: {}", self.name, String::from_utf8_lossy(&output.stderr));
        said
    }

    pub fn command(&self, what: &str, more: &[(&str, &str)]) -> Command {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg(what).env(self.environment.0, &self.environment.1);
        command.args([Path::new("--library"), &self.library, Path::new("--pin"), Path::new(self.pin)]);
        let own = self.more.iter().map(|(name, value)| (*name, value.as_str()));
        for (name, value) in own.chain(more.iter().copied()) {
            command.arg(format!("--{name}")).arg(value);
        }
        command
    }
}

fn ended_well(command: &mut Command) {
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{command:?}: {output:?}");
}
