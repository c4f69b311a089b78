//! Who of several devices is asked: each in its turn, and who failed only after a rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Hsm;
use crate::error::{Error, Result};

/// How long a member that failed is passed over; doubles with each failure.
const FIRST_REST: Duration = Duration::from_millis(50);
const LONGEST_REST: Duration = Duration::from_secs(2);

/// The devices of a token, and whose turn it is.
pub struct Rota {
    /// At least one.
    members: Vec<Member>,
    /// Whose turn it is.
    turn: AtomicUsize,
    begun: Instant,
}

struct Member {
    hsm: Arc<Hsm>,
    rest: Rest,
}

/// When somebody who failed is asked again. Without a lock, because a fork copies locks that are held.
#[derive(Default)]
pub struct Rest {
    /// In milliseconds of [`Rota::now`]; 0: at once.
    until: AtomicU64,
    failures: AtomicU32,
}

impl Rest {
    /// True for whoever is well; for one that rested long enough true once, so that one caller tries.
    fn is_over(&self, now: u64) -> bool {
        match self.until.load(Ordering::Relaxed) {
            0 => true,
            until if until > now => false,
            until => self.until.compare_exchange(until, self.next(now), Ordering::Relaxed, Ordering::Relaxed).is_ok(),
        }
    }

    fn next(&self, now: u64) -> u64 {
        let rest = FIRST_REST.saturating_mul(1 << self.failures.load(Ordering::Relaxed).min(16)).min(LONGEST_REST);
        now.saturating_add(rest.as_millis() as u64).max(1)
    }

    fn begin(&self, now: u64) {
        self.until.store(self.next(now), Ordering::Relaxed);
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    fn end(&self) {
        if self.until.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
            self.until.store(0, Ordering::Relaxed);
        }
    }
}

impl Rota {
    pub fn new(members: Vec<Arc<Hsm>>) -> Self {
        let members = members.into_iter().map(|hsm| Member { hsm, rest: Rest::default() }).collect();
        Self { members, turn: AtomicUsize::new(0), begun: Instant::now() }
    }

    pub fn members(&self) -> impl Iterator<Item = &Hsm> {
        self.members.iter().map(|member| member.hsm.as_ref())
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    /// Asks one member after the other, beginning with the one whose turn it is, until one does it. Those that rest are
    /// asked last. `places`: what else of each member may rest.
    pub fn first<T>(&self, places: &[Rest], work: impl Fn(usize, &Hsm) -> Result<T>) -> Result<T> {
        let count = self.members.len();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let (mut resting, mut fault) = (Vec::new(), None);
        let now = self.now();
        for at in (0..count).map(|step| turn.wrapping_add(step) % count) {
            let Some(member) = self.members.get(at) else { continue };
            if !(member.rest.is_over(now) && places.get(at).is_none_or(|place| place.is_over(now))) {
                resting.push(at);
                continue;
            }
            match self.ask(at, places, &work, &mut fault) {
                Some(answer) => return answer,
                None => continue,
            }
        }
        for at in resting {
            if let Some(answer) = self.ask(at, places, &work, &mut fault) {
                return answer;
            }
        }
        Err(fault.unwrap_or_else(|| Error::Internal("a token without devices".to_owned())))
    }

    /// None: another member may do it.
    fn ask<T>(
        &self,
        at: usize,
        places: &[Rest],
        work: &impl Fn(usize, &Hsm) -> Result<T>,
        fault: &mut Option<Error>,
    ) -> Option<Result<T>> {
        let member = self.members.get(at)?;
        let error = match work(at, &member.hsm) {
            Ok(done) => {
                member.rest.end();
                if let Some(place) = places.get(at) {
                    place.end();
                }
                return Some(Ok(done));
            }
            Err(error) if !is_the_members(&error) => return Some(Err(error)),
            Err(error) => error,
        };
        // Is it this key, or everything?
        let now = self.now();
        match places.get(at) {
            Some(place) if !is_away(&error) || member.hsm.probe().is_ok() => place.begin(now),
            _ if is_away(&error) => member.rest.begin(now),
            _ => {}
        }
        tracing::debug!(device = member.hsm.name(), %error, "passed over");
        // That a key is nowhere is said only if everyone says so.
        if fault.as_ref().is_none_or(|fault| matches!(fault, Error::KeyNotFound(_))) {
            *fault = Some(error);
        }
        None
    }
}

/// Whether another member may do what this one did not.
fn is_the_members(error: &Error) -> bool {
    is_away(error) || matches!(error, Error::DeviceLacks { .. } | Error::KeyNotFound(_))
}

/// Whether the device, or the way to it, may be lost.
pub fn is_away(error: &Error) -> bool {
    matches!(
        error,
        Error::Device { .. } | Error::DevicePin { .. } | Error::DeviceUnavailable { .. } | Error::Internal(_)
    )
}
