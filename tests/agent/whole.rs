//! An installation whose tokens are the agent's (`[agent] tokens = true`), and what its clients read.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use cryptoki_sys::*;
use serde_json::Value;
use tempfile::TempDir;

use crate::bed::{Pair, listening, within};
use crate::support::*;

/// An installation, its agent, and what its clients read.
pub struct Whole {
    pub installation: Installation,
    pub folder: TempDir,
    agent: Option<Child>,
}

impl Whole {
    /// `more`: further lines for `[agent]` and tables behind it; `deadline` in seconds, of the clients.
    pub fn new(device: bool, deadline: u64, more: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("alikms-w").tempdir_in("/tmp").unwrap();
        let socket = format!("socket = \"{}\"\n", folder.path().join("s").display());
        let by_agent = if device { "device_mode = \"agent\"\n" } else { "" };
        let installation = Installation::new(&Setup {
            device,
            device_lines: by_agent.to_owned(),
            tables: format!("[agent]\ntokens = true\n{socket}{more}"),
            ..Setup::default()
        });
        let mut whole = Self { installation, folder, agent: None };
        fs::write(whole.conf(), format!("[client]\n{socket}deadline = {deadline}\n")).unwrap();
        whole.start();
        whole
    }

    pub fn conf(&self) -> PathBuf {
        self.folder.path().join("client.toml")
    }

    pub fn start(&mut self) {
        let mut agent = self.installation.command(env!("CARGO_BIN_EXE_alikms"));
        self.agent = Some(listening(agent.arg("agent").stdin(Stdio::null()).stdout(Stdio::piped())));
    }

    /// `kill -9` of the whole agent.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    pub fn worker(&self) -> Option<i32> {
        offspring(self.agent.as_ref().unwrap().id() as i32).first().copied()
    }

    pub fn hosts(&self) -> Vec<i32> {
        self.worker().map(offspring).unwrap_or_default()
    }

    pub fn no_host(&self) -> bool {
        within(10, || self.hosts().is_empty())
    }

    pub fn module(&self) -> &'static Module {
        let module = self.installation.load();
        module.initialize(&self.conf());
        module
    }

    /// A session that is logged in, and a key.
    pub fn client(&self) -> (Client, Pair) {
        let client = Client::open(self.module());
        client.login();
        let (public, private) = client.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
        (client, Pair { public, private })
    }

    pub fn audit(&self) -> Vec<Value> {
        let lines = self.installation.print(&["audit"]);
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill();
        }
    }
}

/// The children of a process, whichever of its threads started them.
fn offspring(process: i32) -> Vec<i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let children = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    children.flat_map(|text| text.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

pub fn signal(process: i32, signal: i32) {
    // SAFETY: a descendant of our own.
    unsafe { libc::kill(process, signal) };
}
