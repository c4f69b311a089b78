//! Hosts: where `[agent] tokens = true`, the agent's worker starts a process of its own for each client of whole tokens. A crash or
//! a leak there concerns this client only, and goes with it.
//!
//! A host finds its client's connection at its standard input.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use alikms_pkcs11::config::Config;
use alikms_pkcs11::fork::{self, Actor};
use alikms_pkcs11::link::{Greeting, Hello, Line, Peer};
use alikms_pkcs11::protection::hsm::agent::Visitor;
use alikms_pkcs11::remote::{Host, VERSION};
use rustix::process::Signal;

use crate::agent::{failed, limit, thread};
use crate::output::Stop;

/// Tells the host its worker's number, which it must not outlive.
pub const WORKER: &str = "ALIKMS_AGENT_WORKER";
/// How long a host whose client is gone may take to end in order.
const FAREWELL: Duration = Duration::from_secs(3);

/// The hosts of a worker.
pub struct Hosts {
    count: AtomicUsize,
    most: usize,
    is_on: bool,
}

impl Hosts {
    pub fn new(config: &Config) -> Self {
        Self { count: AtomicUsize::new(0), most: config.agent.clients, is_on: config.agent.tokens }
    }

    /// Starts a host for this client and waits for its end: the kernel takes the end of the thread that started a process for
    /// its parent's.
    pub fn serve(&self, visitor: &Visitor, hello: &Hello, config: &Path) {
        let line = visitor.line();
        let greeting = match Greeting::of_version(VERSION, hello.version) {
            _ if !self.is_on => {
                Greeting::Refused("it serves devices only: its alikms.toml lacks tokens = true in [agent]".to_owned())
            }
            Greeting::Welcome if self.count.fetch_add(1, Ordering::Relaxed) < self.most => {
                if let Err(error) = run(line, config) {
                    tracing::error!(%error, "a host cannot be started");
                    line.greet(&Greeting::Busy);
                }
                self.count.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            Greeting::Welcome => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                tracing::warn!(most = self.most, "too many clients");
                Greeting::Busy
            }
            other => other,
        };
        line.greet(&greeting);
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
    let stdin = std::io::stdin();
    let socket = stdin.as_fd().try_clone_to_owned();
    let socket = socket.map_err(|error| failed("the connection cannot be used", &error))?;
    let Some(control) = Line::new(socket) else { return Ok(ExitCode::FAILURE) };
    let Some(peer) = control.socket().and_then(Peer::of) else { return Ok(ExitCode::FAILURE) };
    fork::work_for(actor(peer));
    let is_trusted = [0, rustix::process::geteuid().as_raw()].contains(&peer.user);
    let host = Arc::new(Host::new(config, is_trusted));
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
