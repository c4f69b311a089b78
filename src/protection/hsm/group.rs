//! The devices behind one token: usually one, which works as if this were not here; with several, each has every key.
//! Making and destroying goes to all of them, work to one after the other; one that is lost is passed over, and asked
//! again after a while by one caller.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::copies::Copies;
use super::import::{self, Unwrapping};
use super::replication::{Under, replication_spec};
use super::rota::{Rest, Rota, is_away};
use super::{Hsm, parts};
use crate::error::{Error, Result};
use crate::fork::{Latest, Lock};
use crate::model::Bytes;
use crate::model::algorithm::Job;
use crate::model::hash::Hash;
use crate::model::key::{Level, Material};
use crate::model::public::PublicKey;
use crate::model::spec::Spec;
use crate::protection::{Generated, Key, Protection, Stream, Usages};

/// How long devices that replicate by themselves may take for a new key.
const REPLICATION: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(50);
/// What wraps a replication key on its way to a member.
const WRAPPING_SPEC: &str = "RSA_3072";

/// The devices of one token. Cheap to clone.
#[derive(Clone)]
pub struct Group(Arc<Shared>);

struct Shared {
    rota: Rota,
    /// In so many a new key must be before it is answered.
    quorum: usize,
    /// The replication key for new keys, once the store has told it.
    replication: Latest<Under>,
}

impl Group {
    /// `members`: at least one. `quorum`: of them.
    pub fn new(members: Vec<Arc<Hsm>>, quorum: usize) -> Self {
        Self(Arc::new(Shared { rota: Rota::new(members), quorum, replication: Latest::new() }))
    }

    /// Those of these names; None if there is none.
    pub fn of(names: &[String], quorum: usize, devices: &BTreeMap<String, Arc<Hsm>>) -> Option<Self> {
        let members: Vec<_> = names.iter().filter_map(|name| devices.get(name)).cloned().collect();
        (!members.is_empty()).then(|| Self::new(members, quorum))
    }

    /// The only one, if it is.
    fn only(&self) -> Option<&Hsm> {
        let mut members = self.members();
        let first = members.next();
        first.filter(|_| members.next().is_none())
    }

    pub fn is_several(&self) -> bool {
        self.only().is_none()
    }

    pub fn quorum(&self) -> usize {
        self.0.quorum
    }

    pub fn members(&self) -> impl Iterator<Item = &Hsm> {
        self.0.rota.members()
    }

    /// Of the members, with commas between them.
    pub fn name(&self) -> String {
        self.members().map(Hsm::name).collect::<Vec<_>>().join(", ")
    }

    /// The CKA_IDs of private and secret keys in any of them.
    pub fn ids(&self) -> Result<Vec<Uuid>> {
        let mut ids = Vec::new();
        for member in self.members() {
            ids.extend(member.ids()?);
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// What a device holds, or may hold, under an ID that we gave.
    pub fn material(&self, id: Uuid) -> Material {
        let bytes = id.as_bytes().to_vec();
        match self.only() {
            Some(hsm) => Material::Device { device: hsm.name().to_owned(), serial: String::new(), id: bytes },
            None => Material::Copies { id: bytes, how: Vec::new() },
        }
    }

    /// Whether a replication key is needed for new keys.
    pub fn is_wrapping(&self) -> Result<bool> {
        Ok(self.is_several() && !self.is_replicating()?)
    }

    /// Whether the devices bring new keys to each other by themselves.
    fn is_replicating(&self) -> Result<bool> {
        for member in self.members() {
            if !member.is_replicating()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Which replication key new keys are wrapped under from now on.
    pub fn set_replication(&self, under: Under) {
        if self.0.replication.get() != Some(&under) {
            self.0.replication.set(under);
        }
    }

    fn replication(&self) -> Result<&Under> {
        self.0.replication.get().ok_or_else(|| self.unavailable("they have no replication key yet"))
    }

    fn unavailable(&self, reason: impl Into<String>) -> Error {
        Error::DeviceUnavailable { device: self.name(), reason: reason.into() }
    }

    /// Whether enough of the members agree; one that refuses, refuses for all.
    fn agree(&self, ask: impl Fn(&Hsm) -> Result<()>) -> Result<()> {
        let (mut agreed, mut fault) = (0, None);
        for member in self.members() {
            match ask(member) {
                Ok(()) => agreed += 1,
                Err(error) if is_away(&error) => fault = Some(error),
                Err(error) => return Err(error),
            }
        }
        self.enough(agreed, fault)
    }

    fn enough(&self, good: usize, fault: Option<Error>) -> Result<()> {
        match fault {
            Some(Error::DeviceLacks { device, what }) if good < self.0.quorum => {
                Err(Error::DeviceLacks { device, what })
            }
            Some(fault) if good < self.0.quorum => {
                let (all, quorum) = (self.members().count(), self.0.quorum);
                Err(self.unavailable(format!("{good} of {all} can do it and {quorum} are needed: {fault}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses, naming what is missing, a spec that not enough of them can do.
    pub fn supports(&self, spec: Spec) -> Result<()> {
        self.agree(|hsm| hsm.supports(spec))
    }

    /// Refuses, naming what is missing, an import of this kind.
    pub fn takes_over(&self, spec: Spec, unwrapping: Unwrapping) -> Result<()> {
        self.agree(|hsm| hsm.takes_over(spec, unwrapping))
    }

    /// See [`Hsm::wrapping_pair`].
    pub fn wrapping_pair(&self, id: Uuid, spec: Spec) -> Result<(Material, PublicKey)> {
        import::wrapping_pair(self, id, spec)
    }

    /// See [`Hsm::unwrap`].
    pub fn unwrap(
        &self,
        wrapper: Uuid,
        unwrapping: Unwrapping,
        wrapped: &[u8],
        new: (Uuid, Spec, Usages),
    ) -> Result<Material> {
        if let Some(only) = self.only() {
            return only.unwrap(wrapper, unwrapping, wrapped, new);
        }
        let (id, spec, usages) = new;
        if self.is_replicating()? {
            let first = self.healthy()?;
            first.can_be_known(spec, usages)?;
            let material = first.unwrap(wrapper, unwrapping, wrapped, new)?;
            return self.wait(first, new, Generated { material, public: None }).map(|made| made.material);
        }
        let under = self.replication()?;
        let copies = self.0.rota.first(&[], |_, hsm| hsm.rewrap(wrapper, unwrapping, wrapped, new, under));
        let copies = copies.map_err(|error| self.lacking(under, error))?;
        self.spread(id, spec, copies, None).map(|made| made.material)
    }

    fn healthy(&self) -> Result<&Hsm> {
        self.0
            .rota
            .first(&[], |at, hsm| hsm.probe().map(|_| at))
            .and_then(|at| self.members().nth(at).ok_or_else(|| Error::Internal("a token without devices".to_owned())))
    }

    fn make(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated> {
        self.supports(spec)?;
        if self.is_replicating()? {
            let first = self.healthy()?;
            first.can_be_known(spec, usages)?;
            let made = first.generate(id, spec, usages)?;
            return self.wait(first, (id, spec, usages), made);
        }
        let under = self.replication()?;
        let born = self.0.rota.first(&[], |_, hsm| hsm.make_wrapped(id, spec, usages, under));
        let (copies, public) = born.map_err(|error| self.lacking(under, error))?;
        self.spread(id, spec, copies, public)
    }

    /// It is not the caller's key that was not found.
    fn lacking(&self, under: &Under, error: Error) -> Error {
        match error {
            Error::KeyNotFound(key) if key == under.id().to_string() => {
                self.unavailable("they lack the replication key: run `alikms devices sync`")
            }
            other => other,
        }
    }

    /// Gives every member its copy; on an error none keeps one, as far as they can be reached.
    fn spread(&self, id: Uuid, spec: Spec, copies: Copies, public: Option<PublicKey>) -> Result<Generated> {
        let (mut good, mut fault) = (0, None);
        for member in self.members() {
            match member.take_copy(id, spec, public.as_ref(), &copies) {
                Ok(()) => good += 1,
                Err(error) => {
                    tracing::warn!(device = member.name(), %id, %error, "it has no copy of a new key");
                    fault = Some(error);
                }
            }
        }
        self.settle(id, good, fault, Generated { material: copies.material(id)?, public })
    }

    fn settle(&self, id: Uuid, good: usize, fault: Option<Error>, made: Generated) -> Result<Generated> {
        self.enough(good, fault).inspect_err(|_| {
            if let Err(error) = self.destroy(id, &self.material(id)) {
                tracing::warn!(%id, %error, "a key that was not made everywhere may be left behind");
            }
        })?;
        Ok(made)
    }

    /// Until what was made in one member is in the others.
    fn wait(&self, first: &Hsm, (id, spec, usages): (Uuid, Spec, Usages), made: Generated) -> Result<Generated> {
        let waited = (|| -> Result<Generated> {
            let key = first.open(id, spec, &made.material, made.public.as_ref())?;
            let material = Copies::replicated(id, spec, usages, |job, input| key.once(job, input))?.material(id)?;
            Ok(Generated { material, public: made.public })
        })();
        let made = waited.inspect_err(|_| {
            let _ = self.destroy(id, &self.material(id));
        })?;
        let end = Instant::now() + REPLICATION;
        let (mut good, mut fault) = (0, None);
        for member in self.members() {
            loop {
                match member.open(id, spec, &made.material, made.public.as_ref()) {
                    Ok(_) => good += 1,
                    Err(Error::KeyNotFound(_)) if Instant::now() < end => {
                        std::thread::sleep(LOOK);
                        continue;
                    }
                    Err(error) => fault = Some(error),
                }
                break;
            }
        }
        self.settle(id, good, fault, made)
    }

    /// Makes a replication key in every member, and answers what proves it. `pairs`: an ID for each, for what it is sent
    /// by. The caller sees to what an error leaves behind.
    pub fn plant(&self, id: Uuid, pairs: &[Uuid]) -> Result<Vec<u8>> {
        let spec = Spec::by_name(WRAPPING_SPEC).ok_or_else(|| Error::Internal("no wrapping spec".to_owned()))?;
        let aes = replication_spec()?;
        let takes = |hash| self.members().try_for_each(|hsm| hsm.takes_over(aes, Unwrapping::Oaep(hash)));
        let hash = match takes(Hash::Sha256) {
            Ok(()) => Hash::Sha256,
            Err(_) => takes(Hash::Sha1).map(|()| Hash::Sha1)?,
        };
        let unwrapping = Unwrapping::Oaep(hash);
        let mut publics = Vec::new();
        for (member, pair) in self.members().zip(pairs) {
            publics.push(member.wrapping_pair(*pair, spec)?.1);
        }
        let first = self.members().next().ok_or_else(|| Error::Internal("a token without devices".to_owned()))?;
        let wrapped = first.seed(&publics, unwrapping)?;
        for ((member, pair), wrapped) in self.members().zip(pairs).zip(&wrapped) {
            // By serial numbers they could not be told apart: not every device has one.
            if member.ids()?.contains(&id) {
                return Err(self.unavailable(format!("{} is the same token as another of them", member.name())));
            }
            member.receive(*pair, unwrapping, wrapped, id)?;
        }
        first.proof_of(id)?.encode()
    }

    /// Destroys whatever has this ID in any member. All are tried.
    fn destroy_everywhere(&self, id: Uuid, material: &Material) -> Result<()> {
        let mut outcome = Ok(());
        for member in self.members() {
            if let Err(error) = member.destroy(id, material) {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Whose key it is, if it is in one device only.
    fn owner(&self, material: &Material) -> Result<Option<&Hsm>> {
        match (self.only(), material) {
            (Some(only), _) => Ok(Some(only)),
            (None, Material::Device { device, .. }) => {
                let owner = self.members().find(|member| member.name() == device);
                let missing = || Error::DeviceUnavailable {
                    device: device.clone(),
                    reason: "the key is in it, and it is not among the devices of this token".to_owned(),
                };
                owner.ok_or_else(missing).map(Some)
            }
            (None, _) => Ok(None),
        }
    }
}

impl Protection for Group {
    fn level(&self) -> Level {
        Level::Hsm
    }

    fn generate(&self, id: Uuid, spec: Spec, usages: Usages) -> Result<Generated> {
        match self.only() {
            Some(only) => only.generate(id, spec, usages),
            None => self.make(id, spec, usages),
        }
    }

    fn import(&self, id: Uuid, spec: Spec, usages: Usages, value: &Bytes) -> Result<Generated> {
        self.0.rota.first(&[], |_, hsm| hsm.import(id, spec, usages, value))
    }

    fn open(&self, id: Uuid, spec: Spec, material: &Material, public: Option<&PublicKey>) -> Result<Arc<dyn Key>> {
        if let Some(owner) = self.owner(material)? {
            return owner.open(id, spec, material, public);
        }
        let count = self.members().count();
        let key = GroupKey {
            group: Arc::clone(&self.0),
            id,
            spec,
            material: material.clone(),
            public: public.cloned(),
            found: (0..count).map(|_| Lock::new(None)).collect(),
            rests: (0..count).map(|_| Rest::default()).collect(),
        };
        key.first(|_| Ok(()))?;
        Ok(Arc::new(key))
    }

    fn destroy(&self, id: Uuid, material: &Material) -> Result<()> {
        match self.owner(material)? {
            Some(owner) => owner.destroy(id, material),
            None => self.destroy_everywhere(id, material),
        }
    }
}

/// A key that is in several devices. Each proves that it has the right one before it is asked for work.
struct GroupKey {
    group: Arc<Shared>,
    id: Uuid,
    spec: Spec,
    material: Material,
    public: Option<PublicKey>,
    /// For each member.
    found: Vec<Lock<Option<Arc<dyn Key>>>>,
    /// For each member: what is wrong with this key there.
    rests: Vec<Rest>,
}

impl GroupKey {
    fn first<T>(&self, work: impl Fn(&dyn Key) -> Result<T>) -> Result<T> {
        self.group.rota.first(&self.rests, |at, hsm| work(self.at(at, hsm)?.as_ref()))
    }

    fn at(&self, at: usize, hsm: &Hsm) -> Result<Arc<dyn Key>> {
        let found = self.found.get(at).ok_or_else(|| Error::Internal("a member too many".to_owned()))?;
        if let Some(key) = found.lock().as_ref() {
            return Ok(Arc::clone(key));
        }
        let key = hsm.open(self.id, self.spec, &self.material, self.public.as_ref())?;
        *found.lock() = Some(Arc::clone(&key));
        Ok(key)
    }
}

impl Key for GroupKey {
    fn once(&self, job: &Job, input: &[u8]) -> Result<Bytes> {
        self.first(|key| key.once(job, input))
    }

    fn start(self: Arc<Self>, job: Job) -> Result<Box<dyn Stream>> {
        Ok(parts::start(self, job))
    }
}
