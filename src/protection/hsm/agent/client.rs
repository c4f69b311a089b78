//! The asking side, in the modules: a few connections a process, a deadline on every call, and one repetition of what is
//! safe to repeat.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use uuid::Uuid;

use super::wire::{Ask, Call, Told, VERSION, Which};
use crate::config::{AgentConfig, DeviceConfig};
use crate::error::{Error, Result};
use crate::fork::PerProcess;
use crate::link::{self, Line, Lost, Wants};
use crate::model::Bytes;
use crate::model::algorithm::Job;
use crate::model::key::Material;
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::hsm::copies::Copies;
use crate::protection::hsm::import::Unwrapping;
use crate::protection::hsm::replication::Under;
use crate::protection::hsm::{DeviceReport, parts};
use crate::protection::{Generated, Key, Stream, Usages};

/// How many connections are kept that nobody uses.
const KEPT: usize = 16;

/// The agent, as one device of it. A forked child makes connections of its own.
pub struct Client {
    device: String,
    agent: AgentConfig,
    pool: PerProcess<Pool>,
}

#[derive(Default)]
struct Pool {
    idle: Mutex<Vec<Line>>,
    /// Nothing listened when it was last waited for: it is not waited for again.
    is_absent: AtomicBool,
    /// What the parent process had is let go.
    is_alone: AtomicBool,
}

/// How a call failed.
enum Broken {
    /// The agent went away during the call, which may have been done or not.
    Away,
    Failed(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Client {
    pub fn new(device: &DeviceConfig, agent: AgentConfig) -> Self {
        Self { device: device.name.clone(), agent, pool: PerProcess::new(Pool::default) }
    }

    pub fn probe(&self) -> Result<DeviceReport> {
        self.ask(&Ask::Probe, |told| if let Told::Report(report) = told { Some(report) } else { None })
    }

    pub fn supports(&self, spec: Spec) -> Result<()> {
        self.ask(&Ask::Supports(spec), done)
    }

    pub fn does(&self, spec: Spec, job: &Job, len: usize) -> Result<()> {
        self.ask(&Ask::Does(spec, Cow::Borrowed(job), len as u64), done)
    }

    pub fn ids(&self) -> Result<Vec<Uuid>> {
        self.ask(&Ask::Ids, |told| if let Told::Ids(ids) = told { Some(ids) } else { None })
    }

    pub fn takes_over(&self, spec: Spec, unwrapping: Unwrapping) -> Result<()> {
        self.ask(&Ask::TakesOver(spec, unwrapping), done)
    }

    pub fn generate(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated> {
        self.ask(&Ask::Generate(id, spec, usages), |told| match told {
            Told::Generated(material, public) => Some(Generated { material, public }),
            _ => None,
        })
    }

    pub fn unwrap(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        new: (Uuid, Spec, Usages),
    ) -> Result<Material> {
        let ask = Ask::Unwrap { wrapper, unwrapping, wrapped, new };
        self.ask(&ask, |told| if let Told::Material(material) = told { Some(material) } else { None })
    }

    pub fn make_wrapped(
        &self,
        id: Uuid,
        spec: Spec,
        usages: Usages,
        under: &Under,
    ) -> Result<(Copies, Option<PublicKey>)> {
        self.ask(&Ask::MakeWrapped(id, spec, usages, Cow::Borrowed(under)), copies)
    }

    pub fn take_copy(&self, id: Uuid, spec: Spec, public: Option<&PublicKey>, copies: &Copies) -> Result<()> {
        self.ask(&Ask::TakeCopy(id, spec, public.map(Cow::Borrowed), Cow::Borrowed(copies)), done)
    }

    pub fn rewrap(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        new: (Uuid, Spec, Usages),
        under: &Under,
    ) -> Result<Copies> {
        let ask = Ask::Rewrap { wrapper, unwrapping, wrapped, new, under: Cow::Borrowed(under) };
        self.ask(&ask, copies).map(|(copies, _)| copies)
    }

    pub fn seed(&self, publics: &[PublicKey], unwrapping: Unwrapping) -> Result<Vec<Vec<u8>>> {
        let ask = Ask::Seed(Cow::Borrowed(publics), unwrapping);
        self.ask(&ask, |told| if let Told::Blobs(blobs) = told { Some(blobs) } else { None })
    }

    pub fn receive(&self, wrapper: Uuid, unwrapping: Unwrapping, wrapped: &[u8], id: Uuid) -> Result<()> {
        self.ask(&Ask::Receive { wrapper, unwrapping, wrapped, id }, done)
    }

    pub fn open(self: &Arc<Self>, which: Which) -> Result<Arc<dyn Key>> {
        self.ask(&Ask::Open(Cow::Borrowed(&which)), done)?;
        Ok(Arc::new(Remote { agent: Arc::clone(self), which }))
    }

    pub fn destroy(&self, id: Uuid, material: &Material) -> Result<()> {
        self.ask(&Ask::Destroy(id, Cow::Borrowed(material)), done)
    }

    fn ask<T>(&self, ask: &Ask<'_>, take: impl FnOnce(Told) -> Option<T>) -> Result<T> {
        let patience = match ask.is_slow() {
            true => self.agent.deadline * AgentConfig::SLOW,
            false => self.agent.deadline,
        };
        let told =
            self.exchange(ask, Instant::now() + patience, true).or_else(|broken| match (broken, ask.makes()) {
                (Broken::Failed(error), _) => Err(error),
                // Looked for and destroyed before it is made again: never twice (DESIGN §6).
                (Broken::Away, Some(id)) => {
                    self.destroy(id, &self.made(id))?;
                    self.last(ask, Instant::now() + patience)
                }
                (Broken::Away, None) => self.last(ask, Instant::now() + patience),
            })?;
        match told {
            Told::Failed(fault) => Err(fault.into()),
            told => take(told).ok_or_else(|| Error::Internal("the agent answered another question".to_owned())),
        }
    }

    fn last(&self, ask: &Ask<'_>, deadline: Instant) -> Result<Told> {
        self.exchange(ask, deadline, false).map_err(|broken| match broken {
            Broken::Away => self.unavailable("the agent went away during the call, twice"),
            Broken::Failed(error) => error,
        })
    }

    /// What an unfinished call to make this key may have left.
    fn made(&self, id: Uuid) -> Material {
        Material::Device { device: self.device.clone(), serial: String::new(), id: id.as_bytes().to_vec() }
    }

    fn exchange(&self, ask: &Ask<'_>, deadline: Instant, may_be_used: bool) -> Result<Told, Broken> {
        let message = link::encode(&Call { device: &self.device, ask }).ok_or(Error::DataLength)?;
        let line = self.line(deadline, may_be_used)?;
        let outcome = line.send(&message, deadline).and_then(|()| line.receive(Some(deadline)));
        match outcome {
            Ok(body) => match link::decode(&body) {
                Some(told) => {
                    self.keep(line);
                    Ok(told)
                }
                None => Err(Error::Internal("the agent's answer is not one".to_owned()).into()),
            },
            Err(Lost::Late) => Err(self.unavailable("the agent did not answer in time").into()),
            Err(Lost::Garbage) => Err(Error::Internal("the agent's answer is not one".to_owned()).into()),
            Err(Lost::Closed) => {
                // All others are with the same dead worker, though its end may not have reached them yet.
                self.pool().lock().clear();
                Err(Broken::Away)
            }
        }
    }

    fn unavailable(&self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable { device: self.device.clone(), reason: reason.into() }
    }

    /// A connection on which nothing is going on.
    fn line(&self, deadline: Instant, may_be_used: bool) -> Result<Line> {
        let pool = self.pool();
        let kept = || may_be_used.then(|| pool.lock().pop()).flatten();
        while let Some(line) = kept() {
            // The agent was started anew, perhaps long ago.
            if line.is_quiet() {
                return Ok(line);
            }
        }
        let reached = link::reach(&self.agent.socket, Wants::Devices, VERSION, deadline, &pool.is_absent);
        reached.map_err(|reason| self.unavailable(reason))
    }

    fn keep(&self, line: Line) {
        let mut idle = self.pool().lock();
        if idle.len() < KEPT {
            idle.push(line);
        }
    }

    fn pool(&self) -> &Pool {
        let pool = self.pool.get();
        if !pool.is_alone.swap(true, Ordering::Relaxed)
            && let Some(parent) = self.pool.inherited()
            // Another thread of the parent may have held it at the fork, and nobody here ever gives it back.
            && let Ok(mut idle) = parent.idle.try_lock()
        {
            idle.clear();
        }
        pool
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Vec<Line>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.pool().lock().clear();
    }
}

fn done(told: Told) -> Option<()> {
    matches!(told, Told::Done).then_some(())
}

fn copies(told: Told) -> Option<(Copies, Option<PublicKey>)> {
    if let Told::Copies(copies, public) = told { Some((copies, public)) } else { None }
}

/// A key of the agent's device.
struct Remote {
    agent: Arc<Client>,
    which: Which,
}

impl Key for Remote {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        let ask = Ask::Once { which: Cow::Borrowed(&self.which), job: Cow::Borrowed(job), input };
        self.agent.ask(&ask, |told| if let Told::Bytes(bytes) = told { Some(bytes) } else { None })
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        Ok(parts::start(self, job))
    }
}
