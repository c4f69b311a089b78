//! An installation whose device is behind an agent, the agent itself, and orders for the device to err.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use cryptoki_sys::*;
use tempfile::TempDir;

use crate::support::{Client, Installation, P256, Setup, b, s};

/// The functions that can be told to err, by their place in `faulty.c`.
#[derive(Clone, Copy)]
pub enum Call {
    Open = 2,
    Login = 5,
    GeneratePair = 8,
    Sign = 10,
}

/// What `after` means in `faulty.c`.
pub const CRASH_BEFORE: u64 = 3;
pub const CRASH_AFTER: u64 = 4;

/// The fields of an order.
#[derive(Clone, Copy)]
enum Field {
    Rv,
    Left,
    After,
    Delay,
    Limit,
    Calls,
}

pub struct Bed {
    pub installation: Installation,
    orders: File,
    agent: Option<Child>,
}

/// An agent that was started and listens. The command's standard output is piped.
pub fn listening(command: &mut Command) -> Child {
    let mut agent = command.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(agent.stdout.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("listening at "), "{said}");
    agent
}

impl Bed {
    /// With its agent at work. `deadline` in seconds.
    pub fn new(deadline: u64) -> Self {
        let mut bed = Self::without_agent(deadline);
        bed.start();
        bed
    }

    pub fn without_agent(deadline: u64) -> Self {
        let folder = sockets();
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let orders = folder.join(format!("{unique}.orders"));
        let file = File::options().read(true).write(true).create_new(true).open(&orders).unwrap();
        file.set_len(4096).unwrap();
        let installation = Installation::new(&Setup {
            device: true,
            device_lines: format!(
                "library = \"{}\"\ninit_args = \"{}\"\ndevice_mode = \"agent\"\n",
                library().display(),
                orders.display()
            ),
            tables: format!(
                "[agent]\nsocket = \"{}\"\ndeadline = {deadline}\n",
                folder.join(format!("{unique}.sock")).display()
            ),
            ..Setup::default()
        });
        Self { installation, orders: file, agent: None }
    }

    pub fn socket(&self) -> PathBuf {
        let conf = std::fs::read_to_string(self.installation.conf()).unwrap();
        conf.lines().find_map(|line| line.strip_prefix("socket = \"")?.strip_suffix('"')).unwrap().into()
    }

    pub fn command(&self) -> Command {
        let mut command = self.installation.command(env!("CARGO_BIN_EXE_alikms"));
        command.arg("agent").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Starts the agent and waits until it listens.
    pub fn start(&mut self) {
        self.agent = Some(listening(self.command().stderr(Stdio::null())));
    }

    /// `kill -9` of the whole agent.
    pub fn kill(&mut self) {
        let mut agent = self.agent.take().unwrap();
        agent.kill().unwrap();
        agent.wait().unwrap();
    }

    /// `kill -9` of the worker alone; answers which it was.
    pub fn kill_worker(&self) -> i32 {
        let worker = self.worker().expect("a worker");
        // SAFETY: the child of our own child.
        assert_eq!(unsafe { libc::kill(worker, libc::SIGKILL) }, 0);
        worker
    }

    pub fn worker(&self) -> Option<i32> {
        let monitor = self.agent.as_ref().unwrap().id();
        let children = std::fs::read_to_string(format!("/proc/{monitor}/task/{monitor}/children")).unwrap();
        children.split_whitespace().next()?.parse().ok()
    }

    /// Waits for another worker than this one.
    pub fn replaced(&self, old: i32) {
        assert!(within(20, || self.worker().is_some_and(|worker| worker != old)), "no new worker");
    }

    fn write(&self, call: Call, field: Field, value: u64) {
        self.orders.write_at(&value.to_ne_bytes(), call as u64 * 48 + field as u64 * 8).unwrap();
    }

    /// The next `times` calls answer `rv`, or crash.
    pub fn order(&self, call: Call, rv: CK_RV, times: u64, after: u64) {
        self.write(call, Field::Rv, rv);
        self.write(call, Field::After, after);
        self.write(call, Field::Left, times);
    }

    pub fn delay(&self, call: Call, time: Duration) {
        self.write(call, Field::Delay, time.as_millis() as u64);
    }

    pub fn limit_sessions(&self, most: u64) {
        self.write(Call::Open, Field::Limit, most);
    }

    pub fn calls(&self, call: Call) -> u64 {
        let mut bytes = [0; 8];
        self.orders.read_exact_at(&mut bytes, call as u64 * 48 + Field::Calls as u64 * 8).unwrap();
        u64::from_ne_bytes(bytes)
    }

    /// A logged-in session of a module of its own, and a pair that is in the device.
    pub fn client(&self) -> (Client, Pair) {
        let client = self.installation.client();
        let (public, private) = client.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "web")]).unwrap();
        (client, Pair { public, private })
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.agent.is_some() {
            self.kill();
        }
    }
}

#[derive(Clone, Copy)]
pub struct Pair {
    pub public: CK_OBJECT_HANDLE,
    pub private: CK_OBJECT_HANDLE,
}

impl Pair {
    /// Signs and verifies: a wrong signature is worse than none.
    pub fn sign(&self, client: Client, number: u64) -> Result<(), CK_RV> {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&number.to_ne_bytes());
        let signature = client.sign(CKM_ECDSA, self.private, &digest)?;
        client.verify(CKM_ECDSA, self.public, &digest, &signature).expect("the signature is right");
        Ok(())
    }
}

/// Paths of sockets are short: a directory of its own, for all tests of the process.
fn sockets() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER.get_or_init(|| tempfile::Builder::new().prefix("alikms-a").tempdir_in("/tmp").unwrap()).path().to_owned()
}

fn library() -> PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let path = sockets().join("libfaulty.so");
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-fvisibility=hidden", "-DLIBRARY=\"/usr/lib/softhsm/libsofthsm2.so\""])
            .arg("-o")
            .arg(&path)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hsm/faulty.c"))
            .status();
        assert!(made.unwrap().success());
        path
    };
    PATH.get_or_init(build).clone()
}

/// Processes forked from this one, all at work at once; whether each came to a good end.
pub fn children(count: u64, work: impl Fn(u64) -> bool) -> bool {
    let child = |number| {
        // SAFETY: the child calls only the module (what is tested) and `_exit`.
        match unsafe { libc::fork() } {
            0 => {
                // SAFETY: ends the child if it hangs.
                unsafe { libc::alarm(120) };
                let work = std::panic::AssertUnwindSafe(|| work(number));
                let good = std::panic::catch_unwind(work).unwrap_or(false);
                // SAFETY: nothing of the test harness runs in the child.
                unsafe { libc::_exit(i32::from(!good)) }
            }
            child => child,
        }
    };
    let pids: Vec<i32> = (0..count).map(child).collect();
    let ended = |pid: &i32| {
        let mut status = 0;
        // SAFETY: our own child.
        let waited = unsafe { libc::waitpid(*pid, &raw mut status, 0) };
        waited == *pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    };
    pids.iter().filter(|pid| !ended(pid)).count() == 0
}

/// Whether `done` comes true before `seconds` are over.
pub fn within(seconds: u64, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    done()
}
