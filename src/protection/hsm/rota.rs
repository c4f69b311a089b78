//! Who of several devices is asked: each in its turn, who failed only after a rest, and who does not answer last.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::Hsm;
use crate::error::{Error, Result};
use crate::fork::PerProcess;

/// How long a member that failed is passed over; doubles with each failure.
const FIRST_REST: Duration = Duration::from_millis(50);
/// A member that has answered none of its calls for so long is asked last.
const STUCK: Duration = Duration::from_secs(2);
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
    inside: PerProcess<Inside>,
}

/// The calls that a member has not answered yet.
#[derive(Default)]
struct Inside {
    count: AtomicUsize,
    /// When the first of them began or the last one ended, in milliseconds of [`Rota::now`].
    since: AtomicU64,
}

/// One call, as long as it lasts.
struct Visit<'a>(&'a Rota, &'a Inside);

impl<'a> Visit<'a> {
    fn begin(rota: &'a Rota, inside: &'a Inside) -> Self {
        if inside.count.fetch_add(1, Ordering::Relaxed) == 0 {
            inside.since.store(rota.now(), Ordering::Relaxed);
        }
        Self(rota, inside)
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.1.since.store(self.0.now(), Ordering::Relaxed);
        self.1.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inside {
    fn is_stuck(&self, now: u64) -> bool {
        let since = self.since.load(Ordering::Relaxed);
        self.count.load(Ordering::Relaxed) > 0 && now.saturating_sub(since) > STUCK.as_millis() as u64
    }
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
        let members = members
            .into_iter()
            .map(|hsm| Member { hsm, rest: Rest::default(), inside: PerProcess::new(Inside::default) })
            .collect();
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
            let is_stuck = member.inside.get().is_stuck(now);
            if is_stuck || !(member.rest.is_over(now) && places.get(at).is_none_or(|place| place.is_over(now))) {
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
        let visit = Visit::begin(self, member.inside.get());
        let answer = work(at, &member.hsm);
        drop(visit);
        let error = match answer {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::config::{DeviceConfig, PinSource};

    fn rota(count: usize) -> Rota {
        let device = |at: usize| DeviceConfig {
            name: at.to_string(),
            profile: "generic".into(),
            library: "/nowhere/lib.so".into(),
            token: Some("none".into()),
            slot: None,
            serial: None,
            pin: PinSource::Env("NONE".into()),
            init_args: None,
            env: std::collections::BTreeMap::default(),
            isolate: None,
            changes: toml::Table::new(),
            agent: None,
        };
        Rota::new((0..count).map(|at| Arc::new(Hsm::new(device(at)))).collect())
    }

    fn away(hsm: &Hsm) -> Error {
        Error::DeviceUnavailable { device: hsm.name().to_owned(), reason: "away".to_owned() }
    }

    #[test]
    fn each_has_its_turn_and_who_fails_is_passed_over_for_a_while() {
        let rota = rota(3);
        let work = |lost: usize| {
            let mut counts = [0; 3];
            for _ in 0..300 {
                counts[rota.first(&[], |at, hsm| if at == lost { Err(away(hsm)) } else { Ok(at) }).unwrap()] += 1;
            }
            counts
        };
        assert_eq!(work(usize::MAX), [100, 100, 100]);
        let counts = work(1);
        assert!(counts[1] == 0 && counts[0] >= 100 && counts[2] >= 100, "{counts:?}");
        // It rests: nobody asks it now, and one does when it has rested.
        let asked = AtomicBool::new(false);
        let ask = || rota.first(&[], |at, _| Ok(asked.fetch_or(at == 1, Ordering::Relaxed)));
        assert!((0..6).all(|_| ask().is_ok()));
        assert!(!asked.load(Ordering::Relaxed));
        let begun = Instant::now();
        while !asked.load(Ordering::Relaxed) {
            assert!(begun.elapsed() < Duration::from_secs(10));
            ask().unwrap();
        }
        assert_eq!(work(usize::MAX), [100, 100, 100]);
    }

    #[test]
    fn who_rests_is_asked_all_the_same_if_nobody_else_is_left() {
        let rota = rota(2);
        let lost = |at: usize, hsm: &Hsm| if at < 2 { Err(away(hsm)) } else { Ok(()) };
        (0..4).for_each(|_| assert!(rota.first(&[], lost).is_err()));
        assert_eq!(rota.first(&[], |at, _| Ok(at)).map(|_| ()), Ok(()));
    }

    #[test]
    fn who_does_not_answer_holds_up_only_who_asked() {
        let rota = rota(2);
        let (hangs, over) = (AtomicBool::new(true), AtomicBool::new(false));
        let ask = || {
            rota.first(&[], |at, _| {
                while at == 0 && hangs.load(Ordering::Relaxed) && !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(at)
            })
        };
        std::thread::scope(|scope| {
            // Two of them, one of whom has the turn.
            (0..2).for_each(|_| drop(scope.spawn(ask)));
            std::thread::sleep(STUCK + Duration::from_millis(200));
            assert!((0..20).all(|_| ask() == Ok(1)));
            over.store(true, Ordering::Relaxed);
        });
        hangs.store(false, Ordering::Relaxed);
        let answers: Vec<usize> = (0..20).map(|_| ask().unwrap()).collect();
        assert_eq!(answers.iter().filter(|at| **at == 0).count(), 10);
    }

    #[test]
    fn an_answer_is_an_answer_and_a_missing_key_is_missing_everywhere() {
        let rota = rota(2);
        let asked = AtomicUsize::new(0);
        let refuse = |_: usize, _: &Hsm| -> Result<()> {
            asked.fetch_add(1, Ordering::Relaxed);
            Err(Error::Ciphertext)
        };
        assert_eq!(rota.first(&[], refuse), Err(Error::Ciphertext));
        assert_eq!(asked.load(Ordering::Relaxed), 1, "another device would not say otherwise");
        let missing = || Error::KeyNotFound("key".to_owned());
        let half = |at: usize, hsm: &Hsm| -> Result<()> { Err(if at == 0 { missing() } else { away(hsm) }) };
        for _ in 0..4 {
            assert!(matches!(rota.first(&[], half), Err(Error::DeviceUnavailable { .. })));
        }
        assert_eq!(rota.first(&[], |_, _| -> Result<()> { Err(missing()) }), Err(missing()));
    }
}
