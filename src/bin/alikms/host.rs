//! Hosts: where `[agent] tokens = true`, the agent's worker starts a process of its own for each client of whole tokens. A crash or
//! a leak there concerns this client only, and goes with it.
//!
//! A host finds its client's connection at its standard input.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alikms_pkcs11::abi;
use alikms_pkcs11::config::Config;
use alikms_pkcs11::fork::{self, Actor};
use alikms_pkcs11::link::{Greeting, Hello, Line, Peer};
use alikms_pkcs11::protection::hsm::agent::Visitor;
use alikms_pkcs11::remote::{Host, VERSION};
use rustix::process::{Resource, Rlimit, Signal};

use crate::agent::{failed, limit, thread};
use crate::output::Stop;

/// Tells the host its worker's number, which it must not outlive.
pub const WORKER: &str = "ALIKMS_AGENT_WORKER";
/// The most memory of a host, in bytes.
const MEMORY: u64 = 2 << 30;
/// How long a host whose client is gone may take to end in order.
const FAREWELL: Duration = Duration::from_secs(3);

/// The hosts of a worker.
pub struct Hosts {
    /// By the user whose processes the clients are.
    counts: Mutex<HashMap<u32, usize>>,
    most: usize,
    is_on: bool,
}

impl Hosts {
    pub fn new(config: &Config) -> Self {
        Self { counts: Mutex::default(), most: config.agent.clients, is_on: config.agent.tokens }
    }

    /// Starts a host for this client and waits for its end: the kernel takes the end of the thread that started a process for
    /// its parent's.
    pub fn serve(&self, visitor: &Visitor, hello: &Hello, config: &Path) {
        let line = visitor.line();
        let greeting = match Greeting::of_version(VERSION, hello.version) {
            _ if !self.is_on => {
                Greeting::Refused("it serves devices only: its alikms.toml lacks tokens = true in [agent]".to_owned())
            }
            Greeting::Welcome => match line.socket().and_then(Peer::of).filter(|peer| self.take(peer.user)) {
                Some(peer) => {
                    if let Err(error) = run(line, config) {
                        tracing::error!(%error, "a host cannot be started");
                        line.greet(&Greeting::Busy);
                    }
                    return self.give_back(peer.user);
                }
                None => {
                    tracing::warn!(most = self.most, "too many clients");
                    Greeting::Busy
                }
            },
            other => other,
        };
        line.greet(&greeting);
    }
}

impl Hosts {
    /// A place for a client of this user's. The last quarter is for others than the one who has the most.
    fn take(&self, user: u32) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (all, own) = (counts.values().sum::<usize>(), counts.entry(user).or_default());
        let is_free = all < self.most && *own < (self.most - self.most / 4).max(1);
        *own += usize::from(is_free);
        is_free
    }

    fn give_back(&self, user: u32) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&user) {
            *count -= 1;
        }
    }
}

fn run(line: &Line, config: &Path) -> std::io::Result<()> {
    let closed = || std::io::Error::from(std::io::ErrorKind::NotConnected);
    let socket: OwnedFd = line.socket().ok_or_else(closed)?.try_clone_to_owned()?;
    // The program that runs, even if another one has been installed in its place meanwhile.
    let mut host = Command::new("/proc/self/exe");
    let host = host.arg("agent").arg("--config").arg(config).env(WORKER, std::process::id().to_string());
    let end = host.stdin(Stdio::from(socket)).stdout(Stdio::null()).spawn()?.wait()?;
    if !end.success() {
        tracing::warn!(%end, "a host ended");
    }
    Ok(())
}

/// The host itself.
pub fn host(config: Config, worker: &str) -> Result<ExitCode, Stop> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed("the host cannot be tied to its worker", &error.into()))?;
    if worker.parse() != Ok(parent_id()) {
        return Ok(ExitCode::FAILURE);
    }
    limit();
    // What a client asks for, it has of its own host only.
    let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) });
    abi::silence_panics();
    let stdin = std::io::stdin();
    let socket = stdin.as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| failed("the connection cannot be used", &error))?;
    let Some(control) = Line::new(socket) else { return Ok(ExitCode::FAILURE) };
    let Some(peer) = control.socket().and_then(Peer::of) else { return Ok(ExitCode::FAILURE) };
    fork::work_for(actor(peer));
    let host = Arc::new(Host::new(config));
    if control.greet(&Greeting::Welcome) {
        while let Ok(line) = control.receive_end() {
            if let Some(visitor) = host.admit(line)
                && let Err(Stop::Failed(error)) = thread("line", move || visitor.serve())
            {
                tracing::error!(error, "a line is closed");
            }
        }
    }
    // A device that hangs, or a library that does so when it is left, is not waited for.
    thread("end", || {
        std::thread::sleep(FAREWELL);
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    })?;
    host.stop();
    Ok(ExitCode::SUCCESS)
}

/// What the audit trail says of the client. Its path only a host with the right to trace it is told; its own name for itself
/// says that it is one.
fn actor(peer: Peer) -> Actor {
    let about = |file: &str| format!("/proc/{}/{file}", peer.process);
    let path = std::fs::read_link(about("exe")).map(|path| path.to_string_lossy().into_owned());
    let own = || std::fs::read_to_string(about("comm")).map(|name| format!("comm:{}", name.trim_end()));
    Actor { user: peer.user, process: peer.process, program: path.or_else(|_| own()).unwrap_or_default() }
}
