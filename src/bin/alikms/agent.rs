//! `alikms agent`: two processes. The monitor holds the socket and starts the worker; the worker has the devices. When a
//! device's library takes the worker down or hangs, the monitor starts another one, and callers have lost nothing but time.
//!
//! With `[agent] tokens` the worker starts hosts (`host.rs`), which end with it.
//!
//! A worker finds the listening socket at its standard input, whether the monitor or systemd put it there.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{ExitStatusExt, parent_id};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alikms_pkcs11::config::{Config, User};
use alikms_pkcs11::link::Wants;
use alikms_pkcs11::protection::hsm::Hsm;
use alikms_pkcs11::protection::hsm::agent::{self, Server, Visitor};
use rustix::fs::FlockOperation;
use rustix::net::{AddressFamily, sockopt};
use rustix::process::{Resource, Rlimit, Signal};

use crate::args::Line;
use crate::host::{self, Hosts, WORKER};
use crate::output::{self, Stop};
use crate::{config, ids};

/// Tells the worker its monitor's number, which it must not outlive.
const MONITOR: &str = "ALIKMS_AGENT_MONITOR";
/// The longest pause before a worker that ends at once is started again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a worker may outlive its monitor.
const DYING: Duration = Duration::from_secs(3);
/// How often the worker looks whether a device hangs.
const LOOK: Duration = Duration::from_millis(200);

/// `alikms agent`.
pub fn run(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let config = config(line)?;
    if let Ok(worker) = std::env::var(WORKER) {
        return host::host(config, &worker);
    }
    if !config.agent.tokens && !config.devices.iter().any(|device| device.agent.is_some()) {
        return Err(Stop::Tip {
            message: format!("{} has no device for the agent", config.path.display()),
            tip: "Write device_mode = \"agent\" into a [[device]] table, or tokens = true into [agent].".into(),
        });
    }
    let users = users(&config)?;
    match inherited()? {
        Some(listener) => work(&config, users, &listener),
        None => monitor(&config),
    }
}

/// Who is served: those of `[agent] allow`, else the owner of the store; and root and the agent's own user.
fn users(config: &Config) -> Result<Vec<u32>, Stop> {
    let mut users = vec![0, rustix::process::geteuid().as_raw()];
    match &config.agent.allow {
        Some(allow) => {
            for user in allow {
                users.push(match user {
                    User::Id(id) => *id,
                    User::Name(name) => ids::user(name)?,
                });
            }
        }
        None => users.extend(std::fs::metadata(&config.store).map(|store| store.uid())),
    }
    Ok(users)
}

/// The socket that whoever started this process gave it.
fn inherited() -> Result<Option<UnixListener>, Stop> {
    let stdin = std::io::stdin();
    let listens = sockopt::socket_acceptconn(&stdin).unwrap_or(false)
        && sockopt::socket_domain(&stdin).is_ok_and(|domain| domain == AddressFamily::UNIX);
    if !listens {
        return Ok(None);
    }
    let socket = stdin.as_fd().try_clone_to_owned().map_err(|error| failed("the socket cannot be used", &error))?;
    Ok(Some(socket.into()))
}

fn monitor(config: &Config) -> Result<ExitCode, Stop> {
    let _lock = lock(&config.agent.socket)?;
    let listener = listen(&config.agent.socket)?;
    agent::forget_refused_pins(config);
    output::print(&format!("listening at {}\n", config.agent.socket.display()))?;
    let mut pause = Duration::ZERO;
    loop {
        let begun = Instant::now();
        let end = start(&listener, &config.path)?.wait().map_err(|error| failed("the worker is lost", &error))?;
        output::complain(&format!("the worker {}; another one is started", said(end)));
        // What ends as soon as it begins is not to keep a processor busy.
        pause = if begun.elapsed() > 2 * PAUSE { Duration::ZERO } else { (2 * pause).clamp(PAUSE / 16, PAUSE) };
        std::thread::sleep(pause);
    }
}

fn start(listener: &UnixListener, config: &Path) -> Result<Child, Stop> {
    let cannot = |error| failed("the worker cannot be started", &error);
    let socket: OwnedFd = listener.as_fd().try_clone_to_owned().map_err(cannot)?;
    // The program that runs, even if another one has been installed in its place meanwhile.
    Command::new("/proc/self/exe")
        .arg("agent")
        .arg("--config")
        .arg(config)
        .env(MONITOR, std::process::id().to_string())
        .stdin(Stdio::from(socket))
        .stdout(Stdio::null())
        .spawn()
        .map_err(cannot)
}

fn said(end: ExitStatus) -> String {
    match (end.signal(), end.code()) {
        (Some(signal), _) => format!("was ended by signal {signal}"),
        (None, code) => format!("ended with status {}", code.unwrap_or_default()),
    }
}

/// One agent a socket. The lock goes with the process, however it ends; the file stays, because to remove it is a race.
fn lock(socket: &Path) -> Result<File, Stop> {
    if let Some(folder) = socket.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new()
            .mode(0o755)
            .create(folder)
            .map_err(|error| failed(&format!("{} cannot be made", folder.display()), &error))?;
    }
    let path = beside(socket, "lock");
    let mut file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed(&format!("{} cannot be written", path.display()), &error))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = std::fs::read_to_string(&path).unwrap_or_default();
            return Err(Stop::Failed(format!(
                "another agent (process {}) is at work at {}",
                holder.trim(),
                socket.display()
            )));
        }
        Err(error) => return Err(failed(&format!("{} cannot be locked", path.display()), &error.into())),
    }
    let number = format!("{}\n", std::process::id());
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(number.as_bytes()));
    written.map_err(|error| failed(&format!("{} cannot be written", path.display()), &error))?;
    Ok(file)
}

/// Listens in the place of whoever was here before. There is no moment without a socket: the new one takes its name.
fn listen(path: &Path) -> Result<UnixListener, Stop> {
    let cannot = |error| failed(&format!("the agent cannot listen at {}", path.display()), &error);
    let begun = Instant::now();
    // The worker of an agent that was killed may be about to die, too. It is no agent: that would hold the lock.
    while UnixStream::connect(path).is_ok() {
        if begun.elapsed() > DYING {
            return Err(Stop::Failed(format!("somebody listens at {} already", path.display())));
        }
        std::thread::sleep(LOOK / 10);
    }
    let new = beside(path, "new");
    let _ = std::fs::remove_file(&new);
    let listener = UnixListener::bind(&new).map_err(cannot)?;
    // Everybody may connect; who is served is decided by who it is.
    std::fs::set_permissions(&new, Permissions::from_mode(0o666)).map_err(cannot)?;
    std::fs::rename(&new, path).map_err(cannot)?;
    Ok(listener)
}

fn beside(socket: &Path, suffix: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn work(config: &Config, users: Vec<u32>, listener: &UnixListener) -> Result<ExitCode, Stop> {
    let _lock = match std::env::var(MONITOR).ok().and_then(|number| number.parse::<u32>().ok()) {
        Some(monitor) => {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
                .map_err(|error| failed("the worker cannot be tied to its monitor", &error.into()))?;
            if parent_id() != monitor {
                return Ok(ExitCode::FAILURE);
            }
            None
        }
        None => Some(lock(&config.agent.socket)?),
    };
    limit();
    let guard = Arc::new(Server::new(config, users));
    let server = Arc::clone(&guard);
    // Callers are heard at once and not only when the devices have answered.
    thread("devices", move || server.devices().for_each(greet))?;
    let server = Arc::clone(&guard);
    let listener = listener.try_clone().map_err(|error| failed("the socket cannot be used", &error))?;
    let (hosts, path) = (Arc::new(Hosts::new(config)), config.path.clone());
    thread("door", move || accept(&server, &hosts, &path, &listener))?;
    loop {
        std::thread::sleep(LOOK);
        if let Some(reason) = guard.hangs() {
            output::complain(&format!("a device hangs: {reason}"));
            tracing::error!(reason, "a device hangs");
            // Without the library's own farewell, which would hang too.
            let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        }
    }
}

fn greet(device: &Hsm) {
    if let Err(error) = device.probe() {
        tracing::warn!(%error, "not reached when the agent started");
    }
}

/// No memory with secrets in a core file, and as many connections as the system allows.
pub fn limit() {
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    let files = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
}

fn accept(server: &Arc<Server>, hosts: &Arc<Hosts>, config: &Path, listener: &UnixListener) {
    loop {
        let Ok((stream, _)) = listener.accept() else {
            // No more descriptors: they come back when somebody leaves.
            std::thread::sleep(PAUSE / 10);
            continue;
        };
        let Some(visitor) = server.admit(stream.into()) else { continue };
        let (hosts, config) = (Arc::clone(hosts), config.to_owned());
        if let Err(Stop::Failed(error)) = thread("caller", move || attend(visitor, &hosts, &config)) {
            tracing::error!(error, "a connection is closed");
        }
    }
}

fn attend(visitor: Visitor, hosts: &Hosts, config: &Path) {
    let Some(hello) = visitor.hello() else { return };
    match hello.wants() {
        Some(Wants::Devices) => visitor.serve(&hello),
        Some(Wants::Tokens) => hosts.serve(&visitor, &hello, config),
        None => {}
    }
}

pub fn thread(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Stop> {
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    started.map(|_| ()).map_err(|error| failed("no thread can be started", &error))
}

pub fn failed(what: &str, error: &std::io::Error) -> Stop {
    Stop::Failed(format!("{what}: {error}"))
}
