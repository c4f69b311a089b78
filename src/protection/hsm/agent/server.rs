//! The answering side, in the agent. It starts no threads itself: `alikms agent` gives each connection one.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::wire::{self, Ask, Call, Told, Which};
use crate::config::AgentConfig;
use crate::config::{Config, DeviceConfig, Isolate};
use crate::error::{Error, Result};
use crate::link::{self, Greeting, Hello, LONGEST, Line, Lost, Peer};
use crate::model::Bytes;
use crate::model::key::Material;
use crate::protection::hsm::Hsm;
use crate::protection::{Key, Protection};

/// How many connections there are at most.
const CONNECTIONS: usize = 1024;
/// How many keys are kept open for each device.
const KEYS: usize = 4096;
/// How long before a caller stops waiting a key must be made, to be sure that it hears of it.
const MARGIN: Duration = Duration::from_millis(500);
/// How long a greeting may take.
const GREETING: Duration = Duration::from_secs(10);
/// How late any call may be before the device hangs for certain; the pool of sessions lets nobody wait so long.
const HOPELESS: Duration = Duration::from_secs(60);

/// The devices that the agent owns.
pub struct Server {
    devices: BTreeMap<String, Served>,
    deadline: Duration,
    /// The users who are served.
    users: Vec<u32>,
    work: Mutex<Work>,
}

struct Served {
    hsm: Hsm,
    keys: Mutex<Keys>,
}

/// Those that are open, by CKA_ID, with what the caller knew of them.
type Keys = HashMap<Vec<u8>, (Which, Arc<dyn Key>)>;

#[derive(Default)]
struct Work {
    visitors: usize,
    /// Since when each call has been running, and until when its caller waits.
    running: BTreeMap<u64, (Instant, Instant)>,
    last: u64,
    /// When a call last came to its end.
    ended: Option<Instant>,
}

/// Somebody who is let in; the place is free again when this is dropped.
pub struct Visitor {
    server: Arc<Server>,
    line: Line,
}

impl Server {
    /// Of the devices with `device_mode = "agent"`. Nothing is loaded yet.
    pub fn new(config: &Config, users: Vec<u32>) -> Self {
        let devices = config.devices.iter().zip(notes(config)).filter(|(device, _)| device.agent.is_some());
        let devices = devices.map(|(device, note)| {
            let isolate = Some(isolate(device, config));
            let hsm = Hsm::noting(DeviceConfig { agent: None, isolate, ..device.clone() }, note);
            (device.name.clone(), Served { hsm, keys: Mutex::default() })
        });
        Self { devices: devices.collect(), deadline: config.agent.deadline, users, work: Mutex::default() }
    }

    /// The devices, to be connected before anybody asks.
    pub fn devices(&self) -> impl Iterator<Item = &Hsm> {
        self.devices.values().map(|served| &served.hsm)
    }

    /// Looks who has connected, and counts. None: whoever it was has been sent away.
    pub fn admit(self: &Arc<Self>, socket: OwnedFd) -> Option<Visitor> {
        let line = Line::new(socket)?;
        let user = line.socket().and_then(Peer::of).map(|peer| peer.user);
        let greeting = match user {
            Some(user) if self.users.contains(&user) => {
                let mut work = self.lock();
                if work.visitors < CONNECTIONS {
                    work.visitors += 1;
                    drop(work);
                    return Some(Visitor { server: Arc::clone(self), line });
                }
                Greeting::Busy
            }
            Some(user) => {
                tracing::warn!(user, "a user that the agent does not serve");
                Greeting::Refused(format!("user {user} is not in [agent] allow of its alikms.toml"))
            }
            None => return None,
        };
        line.greet(&greeting);
        None
    }

    /// A sentence if a device hangs: a call whose caller has long gone, and since which nothing came to its end, or
    /// that takes longer than any call can.
    pub fn hangs(&self) -> Option<String> {
        let (now, work) = (Instant::now(), self.lock());
        let hopeless = HOPELESS.max(6 * self.deadline);
        // A device that makes a key may have no time for anything else.
        let is_slow = work.running.values().any(|(begun, until)| *until > now && *until - *begun > self.deadline);
        work.running.values().find_map(|(begun, until)| {
            let late = now.checked_duration_since(*until)?;
            let is_stuck = !is_slow && late > self.deadline && work.ended.is_none_or(|ended| ended < *begun);
            (is_stuck || late > hopeless).then(|| format!("a call has taken {} s", (now - *begun).as_secs()))
        })
    }

    fn lock(&self) -> MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to one call; None if it is none.
    fn answer(&self, message: &[u8], line: &Line) -> Option<()> {
        let Call { device, ask } = link::decode::<Call<'_, Ask<'_>>>(message)?;
        let begun = Instant::now();
        let until = begun + if ask.makes().is_some() { self.deadline * AgentConfig::SLOW } else { self.deadline };
        let Some(served) = self.devices.get(device) else {
            let reason = "the agent's alikms.toml has no such device with device_mode = \"agent\"".to_owned();
            return reply(line, Err(Error::DeviceUnavailable { device: device.to_owned(), reason }), until);
        };
        let running = Running::new(self, begun, until);
        let outcome = served.work(&ask);
        drop(running);
        let Some(id) = ask.makes().filter(|_| outcome.is_ok()) else { return reply(line, outcome, until) };
        // A key whose maker does not hear of it must not be.
        let is_heard = Instant::now() + MARGIN < until && reply(line, outcome, until).is_some();
        if is_heard {
            return Some(());
        }
        if let Err(error) = served.undo(device, id) {
            tracing::warn!(device, %id, %error, "a key that nobody waited for may be left behind");
        }
        None
    }
}

/// A call that is being worked on.
struct Running<'a> {
    server: &'a Server,
    number: u64,
}

impl<'a> Running<'a> {
    fn new(server: &'a Server, begun: Instant, until: Instant) -> Self {
        let mut work = server.lock();
        work.last += 1;
        let number = work.last;
        work.running.insert(number, (begun, until));
        Self { server, number }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut work = self.server.lock();
        work.running.remove(&self.number);
        work.ended = Some(Instant::now());
    }
}

impl Visitor {
    /// What it says first; None if that is nothing of ours.
    pub fn hello(&self) -> Option<Hello> {
        link::decode(&self.line.receive(Some(Instant::now() + GREETING)).ok()?)
    }

    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Answers until the other side goes away or talks nonsense.
    pub fn serve(self, hello: &Hello) {
        let greeting = Greeting::of_version(wire::VERSION, hello.version);
        if !self.line.greet(&greeting) || greeting != Greeting::Welcome {
            return;
        }
        loop {
            let message = match self.line.receive(None) {
                Ok(message) => message,
                Err(Lost::Closed) => return,
                Err(lost) => return tracing::debug!(?lost, "a connection is closed"),
            };
            if self.server.answer(&message, &self.line).is_none() {
                return;
            }
        }
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.server.lock().visitors -= 1;
    }
}

impl Served {
    fn work(&self, ask: &Ask<'_>) -> Result<Told> {
        let hsm = &self.hsm;
        if let Ask::Does(_, job, _) | Ask::Once { job, .. } = ask
            && !wire::is_sane(job)
        {
            return Err(Error::Unsupported("a job with such numbers".to_owned()));
        }
        match ask {
            Ask::Destroy(id, material) => {
                if let Material::Copies { id, .. } | Material::Device { id, .. } = material.as_ref() {
                    self.lock().remove(id);
                }
                hsm.destroy(*id, material).map(|()| Told::Done)
            }
            Ask::Does(spec, job, len) => {
                let len = usize::try_from(*len).ok().filter(|len| *len <= LONGEST).ok_or(Error::DataLength)?;
                hsm.does(*spec, job, len).map(|()| Told::Done)
            }
            Ask::Generate(id, spec, usages) => hsm.generate(*id, *spec, *usages).map(Told::from),
            Ask::Ids => hsm.ids().map(Told::Ids),
            Ask::MakeWrapped(id, spec, usages, under) => {
                hsm.make_wrapped(*id, *spec, *usages, under).map(|(copies, public)| Told::Copies(copies, public))
            }
            Ask::Once { which, job, input } => self.key(which)?.once(job, input).map(Told::Bytes),
            Ask::Open(which) => self.open(which).map(|_| Told::Done),
            Ask::Probe => hsm.probe().map(Told::Report),
            Ask::Receive { wrapper, unwrapping, wrapped, id } => {
                hsm.receive(*wrapper, *unwrapping, wrapped, *id).map(|()| Told::Done)
            }
            Ask::Rewrap { wrapper, unwrapping, wrapped, new, under } => {
                hsm.rewrap(*wrapper, *unwrapping, wrapped, *new, under).map(|copies| Told::Copies(copies, None))
            }
            Ask::Seed(publics, unwrapping) => hsm.seed(publics, *unwrapping).map(Told::Blobs),
            Ask::Supports(spec) => hsm.supports(*spec).map(|()| Told::Done),
            Ask::TakeCopy(id, spec, public, copies) => {
                hsm.take_copy(*id, *spec, public.as_deref(), copies).map(|()| Told::Done)
            }
            Ask::TakesOver(spec, unwrapping) => hsm.takes_over(*spec, *unwrapping).map(|()| Told::Done),
            Ask::Unwrap { wrapper, unwrapping, wrapped, new } => {
                hsm.unwrap(*wrapper, *unwrapping, wrapped, *new).map(Told::Material)
            }
        }
    }

    fn undo(&self, device: &str, id: Uuid) -> Result<()> {
        let bytes = id.as_bytes().to_vec();
        self.hsm.destroy(id, &Material::Device { device: device.to_owned(), serial: String::new(), id: bytes })
    }

    fn key(&self, which: &Which) -> Result<Arc<dyn Key>> {
        if let Material::Copies { id, .. } | Material::Device { id, .. } = &which.material
            && let Some((known, key)) = self.lock().get(id)
            && known == which
        {
            return Ok(Arc::clone(key));
        }
        self.open(which)
    }

    fn open(&self, which: &Which) -> Result<Arc<dyn Key>> {
        let key = self.hsm.open(which.id, which.spec, &which.material, which.public.as_ref())?;
        if let Material::Device { id, .. } = &which.material {
            let mut keys = self.lock();
            if keys.len() >= KEYS {
                keys.clear();
            }
            keys.insert(id.clone(), (which.clone(), Arc::clone(&key)));
        }
        Ok(key)
    }

    fn lock(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reply(line: &Line, outcome: Result<Told>, until: Instant) -> Option<()> {
    let told = outcome.unwrap_or_else(|error| Told::Failed(error.into()));
    let bytes: Bytes = link::encode(&told).or_else(|| link::encode(&Told::Failed(Error::DataLength.into())))?;
    // Who gave up waiting has closed the line; who is only slow to read has a moment more.
    line.send(&bytes, until.max(Instant::now() + MARGIN)).ok()
}

/// Beside the socket, for each device: what one worker learned of its PIN and the next one shall know.
fn notes(config: &Config) -> impl Iterator<Item = PathBuf> {
    (0..config.devices.len()).map(|number| {
        let mut path = config.agent.socket.clone().into_os_string();
        path.push(format!(".pin-{number}"));
        path.into()
    })
}

/// To be called before the first worker: a person who starts the agent anew may have mended the device.
pub fn forget_refused_pins(config: &Config) {
    notes(config).for_each(|note| {
        let _ = std::fs::remove_file(note);
    });
}

/// The agent has the library to itself, unless two devices are of the same library.
fn isolate(device: &DeviceConfig, config: &Config) -> Isolate {
    let same = config.devices.iter().filter(|other| other.library == device.library).count();
    match device.isolate {
        Some(Isolate::Copy) => Isolate::Copy,
        _ if same > 1 => Isolate::Copy,
        _ => Isolate::Alone,
    }
}
