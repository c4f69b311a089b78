//! The same tests with the token in a host of the agent's: with `ALIKMS_TEST_CLIENT` set, each installation gets an agent, and
//! modules are its clients.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The clients' configurations, by the installations'.
static KNOWN: Mutex<Option<HashMap<PathBuf, PathBuf>>> = Mutex::new(None);

pub fn is_client() -> bool {
    std::env::var_os("ALIKMS_TEST_CLIENT").is_some()
}

/// The configuration to initialise a module with: this one, or that of a client of an agent that has it.
pub fn seen_by_clients(conf: &Path) -> PathBuf {
    let text = std::fs::read_to_string(conf).unwrap_or_default();
    if !is_client() || !text.contains("[[token]]") || text.contains("[agent]") {
        return conf.to_owned();
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.get_or_insert_default().entry(conf.to_owned()).or_insert_with(|| start(conf, &text, "")).clone()
}

/// Starts an agent, which ends with this process, and answers its clients' configuration.
pub fn start(conf: &Path, text: &str, more: &str) -> PathBuf {
    let beside = |name: &str| conf.with_file_name(name);
    let socket = format!("socket = \"{}\"\n", beside("agent.sock").display());
    std::fs::write(beside("agent.toml"), format!("{text}\n[agent]\ntokens = true\n{socket}{more}")).unwrap();
    let client = beside("client.toml");
    std::fs::write(&client, format!("[client]\n{socket}")).unwrap();
    let mut agent = Command::new(env!("CARGO_BIN_EXE_alikms"));
    agent.arg("agent").arg("--config").arg(beside("agent.toml")).stdin(Stdio::null()).stdout(Stdio::piped());
    // SAFETY: the function calls prctl and nothing else.
    unsafe {
        agent.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
    let (told, listens) = std::sync::mpsc::channel();
    // The kernel takes the end of the thread that started a process for its parent's: this one ends with the process.
    std::thread::spawn(move || {
        let mut agent = agent.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(agent.stdout.take().unwrap()).read_line(&mut said).unwrap();
        told.send(said).unwrap();
        agent.wait()
    });
    let said = listens.recv().unwrap();
    assert!(said.starts_with("listening at "), "{said}");
    client
}
