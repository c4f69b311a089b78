//! A session: whose it is, what is going on in it, and the objects that it looks for.

use std::collections::VecDeque;
use std::sync::Arc;

use cryptoki_sys::*;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::fork::epoch;
use crate::kms::Kms;
use crate::kms::objects::{Search, Seed};
use crate::kms::use_key::Ready;
use crate::model::caller::Caller;
use crate::model::object::Class;
use crate::token::attribute::{check_change, class_of};
use crate::token::ck;
use crate::token::digesting::Digesting;
use crate::token::engine::Settled;
use crate::token::message::Messages;
use crate::token::object::{Item, Source};
use crate::token::operation::Work;
use crate::token::own::Own;
use crate::token::place::Place;
use crate::token::profile;
use crate::token::separation::check_gain;
use crate::token::slot::{Asked, Login, Slot};
use crate::token::template::{EntryValue, Template};

/// Objects are read from the store in pages of this many.
const PAGE: usize = 256;

pub struct Session {
    handle: u64,
    slot: &'static Slot,
    /// Of the thread that opened it.
    home: usize,
    read_write: bool,
    /// Whether it made objects, which go with it.
    makes: bool,
    find: Option<Find>,
    pub(super) digest: Option<Digesting>,
    pub(super) encrypt: Place,
    pub(super) decrypt: Place,
    pub(super) sign: Place,
    pub(super) verify: Place,
    /// With the signature, which came first. Boxed as [`Messages`] are.
    pub(super) verify_signature: Option<Box<(Work, Vec<u8>)>>,
    pub(super) messages: Messages,
    last_used: Option<Used>,
}

/// The object that the session worked with last, and for how long that holds.
struct Used {
    item: Own<Item>,
    ready: Option<Own<Ready>>,
    settled: Option<Settled>,
    generation: (u64, u64),
    epoch: u64,
}

/// A search in progress: what was found and not yet fetched, and how to go on.
struct Find {
    found: VecDeque<u64>,
    rest: Option<Rest>,
}

/// The handle of a session that is closed: of no seat.
const CLOSED: u64 = u64::MAX;

/// What a slot has to know of a session that was closed.
pub struct Closed {
    pub slot: &'static Slot,
    /// Its handle, if it made objects.
    pub session: Option<u64>,
    pub home: usize,
    pub read_write: bool,
}

struct Rest {
    search: Search,
    /// What no index answers.
    filter: Template,
    after: u64,
    /// Keep what is found, if it is found at once, as the answer of this generation of the store.
    keep: Option<(u64, Asked)>,
}

impl Session {
    pub fn new(handle: u64, slot: &'static Slot, home: usize, read_write: bool) -> Self {
        Self {
            handle,
            slot,
            home,
            read_write,
            makes: false,
            find: None,
            digest: None,
            encrypt: Place::default(),
            decrypt: Place::default(),
            sign: Place::default(),
            verify: Place::default(),
            verify_signature: None,
            messages: Messages::default(),
            last_used: None,
        }
    }

    /// Opens a closed session again, in its place: to move one there costs more than all the rest.
    pub fn renew(&mut self, handle: u64, slot: &'static Slot, home: usize, read_write: bool) {
        (self.handle, self.slot, self.home, self.read_write) = (handle, slot, home, read_write);
    }

    /// Ends everything that goes on. What the slot has to know of it stays until [`Session::renew`].
    pub fn close(&mut self) -> Closed {
        let closed = Closed {
            slot: self.slot,
            session: self.makes.then_some(self.handle),
            home: self.home,
            read_write: self.read_write,
        };
        self.logged_out();
        self.digest = None;
        self.makes = false;
        self.handle = CLOSED;
        closed
    }

    pub fn handle(&self) -> u64 {
        self.handle
    }

    pub fn slot(&self) -> &'static Slot {
        self.slot
    }

    pub fn read_write(&self) -> bool {
        self.read_write
    }

    pub(super) fn caller(&self) -> Caller {
        self.slot.caller()
    }

    /// What the KMS does for whoever is logged in, and what it is about: a refusal goes into the audit trail.
    pub(super) fn manages<T>(
        &self,
        action: &str,
        about: impl std::fmt::Display,
        work: impl FnOnce(&Kms, &Caller) -> Result<T>,
    ) -> Result<T> {
        let kms = &self.slot.kms;
        kms.manages(&self.caller(), action, about, |caller| work(kms, caller))
    }

    pub fn info(&self) -> CK_SESSION_INFO {
        let state = match (self.slot.login(), self.read_write) {
            (Login::Nobody, false) => CKS_RO_PUBLIC_SESSION,
            (Login::Nobody, true) => CKS_RW_PUBLIC_SESSION,
            (Login::User, false) => CKS_RO_USER_FUNCTIONS,
            (Login::User, true) => CKS_RW_USER_FUNCTIONS,
            (Login::SecurityOfficer, _) => CKS_RW_SO_FUNCTIONS,
        };
        let read_write = if self.read_write { CKF_RW_SESSION } else { 0 };
        CK_SESSION_INFO { slotID: self.slot.id, state, flags: CKF_SERIAL_SESSION | read_write, ulDeviceError: 0 }
    }

    /// Ends what needs the login that has just ended.
    pub(super) fn logged_out(&mut self) {
        self.find = None;
        for place in [&mut self.encrypt, &mut self.decrypt, &mut self.sign, &mut self.verify] {
            place.put(None);
        }
        self.verify_signature = None;
        self.messages = Messages::default();
        self.last_used = None;
    }

    /// C_SessionCancel: CKF_* of the operations to end.
    pub fn cancel(&mut self, flags: u64) -> Result<()> {
        self.abort(flags);
        Ok(())
    }

    /// Ends operations without more ado: the door calls it when an argument is bad after the handle was good.
    pub fn abort(&mut self, flags: u64) {
        if flags & CKF_FIND_OBJECTS != 0 {
            self.find = None;
        }
        if flags & CKF_DIGEST != 0 {
            self.digest = None;
        }
        if flags & CKF_VERIFY != 0 {
            self.verify_signature = None;
        }
        self.messages.abort(flags);
        let slots = [
            (CKF_ENCRYPT, &mut self.encrypt),
            (CKF_DECRYPT, &mut self.decrypt),
            (CKF_SIGN, &mut self.sign),
            (CKF_VERIFY, &mut self.verify),
        ];
        for (flag, work) in slots {
            if flags & flag != 0 {
                work.put(None);
            }
        }
    }

    /// An object that this session may use; `missing` is the code for a handle that leads nowhere.
    pub(super) fn item(&mut self, handle: u64, missing: CK_RV) -> Result<Own<Item>> {
        if let Some(used) = self.used(handle) {
            return Ok(used.item.clone());
        }
        let generation = self.slot.generation();
        let Some(item) = self.slot.item(handle)? else {
            // A private object that is there but out of sight: say what would help.
            let hidden = self.slot.login() != Login::User && handle != 0 && self.is_there(handle);
            return Err(ck(if hidden { CKR_USER_NOT_LOGGED_IN } else { missing }));
        };
        let item = Own::new(item);
        self.last_used = Some(Used { item: item.clone(), ready: None, settled: None, generation, epoch: epoch() });
        Ok(item)
    }

    /// The object used last, if it is this one and nothing has changed.
    fn used(&self, handle: u64) -> Option<&Used> {
        let used = self.last_used.as_ref()?;
        let same = used.item.handle == handle
            && used.generation == self.slot.generation()
            && used.epoch == epoch()
            && self.slot.sees(used.item.is_private());
        same.then_some(used)
    }

    /// An object that this session may use, and what an Init like this found out about it, if that still holds.
    pub(super) fn settled(
        &self,
        handle: u64,
        mechanism: CK_MECHANISM_TYPE,
        asked: (CK_ATTRIBUTE_TYPE, CK_FLAGS),
    ) -> Option<(&Item, &Settled)> {
        let used = self.used(handle)?;
        let settled = used.settled.as_ref()?;
        let same = settled.mechanism == mechanism && settled.asked == asked && !self.slot.is_user();
        same.then_some((&*used.item, settled))
    }

    /// Keeps what an Init found out about an object, if it is the one used last.
    pub(super) fn settle(&mut self, item: &Item, settled: Settled) {
        if let Some(used) = &mut self.last_used
            && used.item.handle == item.handle
        {
            used.settled = Some(settled);
        }
    }

    fn is_there(&self, handle: u64) -> bool {
        !Slot::is_session_object(handle)
            && self.slot.row_of(handle).is_some_and(
                |(row, _)| matches!(self.slot.kms.object(&self.caller(), row), Ok(Some(view)) if view.object.shown),
            )
    }

    /// The key behind an item, opened; what the session used last is found again without a look at anything shared.
    pub(super) fn ready(&mut self, item: &Item, action: &'static str, version: Uuid) -> Result<Own<Ready>> {
        if let Some(Used { item: used, ready: Some(ready), .. }) = &self.last_used
            && used.handle == item.handle
            && ready.version.id == version
        {
            return Ok(match self.slot.kms.refresh(&self.caller(), action, ready)? {
                None => ready.clone(),
                Some(renewed) => Own::new(renewed),
            });
        }
        let ready = Own::new(self.slot.kms.ready(&self.caller(), action, version)?);
        if let Some(used) = &mut self.last_used
            && used.item.handle == item.handle
        {
            used.ready = Some(ready.clone());
        }
        Ok(ready)
    }

    /// Adds a session object; `make` is told its handle.
    pub(super) fn add_item(&mut self, make: impl FnOnce(u64) -> Item) -> u64 {
        self.makes = true;
        self.slot.add(self.handle, make)
    }

    /// May this session make or change such an object?
    pub(super) fn check_write(&self, token: bool, private: bool) -> Result<()> {
        if token && !self.read_write {
            return Err(ck(CKR_SESSION_READ_ONLY));
        }
        if private && !self.slot.sees(true) {
            return Err(ck(CKR_USER_NOT_LOGGED_IN));
        }
        if token && self.slot.login() != Login::User {
            return Err(ck(CKR_USER_NOT_LOGGED_IN));
        }
        Ok(())
    }

    /// Shows an object, for C_GetAttributeValue.
    pub fn show<T>(&mut self, object: u64, look: impl FnOnce(&Item) -> Result<T>) -> Result<T> {
        look(&*self.item(object, CKR_OBJECT_HANDLE_INVALID)?)
    }

    /// A rough size: the bytes of all attributes.
    pub fn object_size(&mut self, object: u64) -> Result<u64> {
        let item = self.item(object, CKR_OBJECT_HANDLE_INVALID)?;
        Ok(item.attributes().map(|(_, value)| value.len() as u64 + 16).sum())
    }

    pub fn set_attributes(&mut self, object: u64, template: &Template) -> Result<()> {
        let item = self.item(object, CKR_OBJECT_HANDLE_INVALID)?;
        let trusts = self.slot.login() == Login::SecurityOfficer && template.trusts_only();
        if !trusts {
            self.check_write(item.is(CKA_TOKEN), item.is_private())?;
        } else if !item.is(CKA_TOKEN) {
            return Err(ck(CKR_ATTRIBUTE_READ_ONLY));
        }
        if !item.is(CKA_MODIFIABLE) {
            return Err(ck(CKR_ACTION_PROHIBITED));
        }
        for entry in &template.0 {
            check_change(entry, item.class, item.bytes(entry.kind), trusts)?;
            check_gain(&item, entry)?;
        }
        if Slot::is_session_object(object) {
            let mut all = crate::model::map::map(item.attributes().map(|(kind, value)| (kind, value.clone())));
            for entry in &template.0 {
                if let EntryValue::Bytes(value) = &entry.value {
                    all.insert(entry.kind, value.clone());
                }
            }
            let changed = crate::token::make::with_attributes(&item, object, all)?;
            self.slot.replace(object, changed);
            return Ok(());
        }
        let (row, _) = self.slot.row_of(object).ok_or(ck(CKR_OBJECT_HANDLE_INVALID))?;
        let mut seed = Seed {
            label: template.bytes(CKA_LABEL).map(<[u8]>::to_vec),
            id: template.bytes(CKA_ID).map(<[u8]>::to_vec),
            value: template.bytes(CKA_VALUE).map(<[u8]>::to_vec),
            ..Seed::default()
        };
        for entry in template.0.iter().filter(|entry| !matches!(entry.kind, CKA_LABEL | CKA_ID | CKA_VALUE)) {
            if let EntryValue::Bytes(value) = &entry.value {
                seed.attributes.insert(entry.kind, value.to_vec());
            }
        }
        self.manages("UpdateKeyDescription", format_args!("object {row}"), |kms, caller| {
            kms.change_object(caller, row, &seed)
        })
    }

    pub fn destroy_object(&mut self, object: u64) -> Result<()> {
        let item = self.item(object, CKR_OBJECT_HANDLE_INVALID)?;
        self.check_write(item.is(CKA_TOKEN), item.is_private())?;
        if !item.is(CKA_DESTROYABLE) {
            return Err(ck(CKR_ACTION_PROHIBITED));
        }
        self.last_used = None;
        if Slot::is_session_object(object) {
            self.slot.remove(object);
            return Ok(());
        }
        match item.source {
            // A public key may be out of sight only because its private half was destroyed just before.
            Source::Kms { usable: false, .. } if item.class != Class::PublicKey => {
                return Err(ck(CKR_OBJECT_HANDLE_INVALID));
            }
            _ => {}
        }
        let (row, _) = self.slot.row_of(object).ok_or(ck(CKR_OBJECT_HANDLE_INVALID))?;
        let destroyed = self.manages("ScheduleKeyDeletion", format_args!("object {row}"), |kms, caller| {
            kms.destroy_object(caller, row)
        });
        destroyed.map_err(|error| match error {
            Error::KeyNotFound(_) => ck(CKR_OBJECT_HANDLE_INVALID),
            other => other,
        })
    }

    pub fn find_init(&mut self, template: &Template) -> Result<()> {
        if self.find.is_some() {
            return Err(ck(CKR_OPERATION_ACTIVE));
        }
        self.find = Some(self.begin_search(&self.in_our_words(template))?);
        Ok(())
    }

    fn begin_search(&self, template: &Template) -> Result<Find> {
        let token = template.bytes(CKA_TOKEN);
        let mut found = VecDeque::new();
        if token != Some(&[1]) {
            let visible = |item: &Arc<Item>| self.slot.sees(item.is_private()) && item.matches(template);
            found.extend(self.slot.session_items().iter().filter(|item| visible(item)).map(|item| item.handle));
        }
        let nothing = Find { found: found.clone(), rest: None };
        if token == Some(&[0]) {
            return Ok(nothing);
        }
        let mut search = Search::default();
        let mut filter = Template::default();
        for entry in &template.0 {
            let EntryValue::Bytes(value) = &entry.value else { return Ok(nothing) };
            match entry.kind {
                CKA_TOKEN => {}
                CKA_CLASS if value.as_slice() == CKO_PROFILE.to_ne_bytes() => {
                    return Ok(Find { found: profile::found(template).collect(), rest: None });
                }
                CKA_CLASS => match crate::token::template::ulong_of(value).and_then(class_of) {
                    Some(class) if search.class.is_none_or(|other| other == class) => search.class = Some(class),
                    _ => return Ok(nothing),
                },
                CKA_LABEL if search.label.is_none() => search.label = Some(value.to_vec()),
                CKA_ID if search.id.is_none() => search.id = Some(value.to_vec()),
                CKA_UNIQUE_ID if search.unique.is_none() => {
                    match std::str::from_utf8(value).ok().and_then(|text| Uuid::try_parse(text).ok()) {
                        Some(unique) => search.unique = Some(unique),
                        None => return Ok(nothing),
                    }
                }
                _ => filter.0.push(entry.clone()),
            }
        }
        let mut keep = None;
        if filter.0.is_empty()
            && let Some(asked) = self.slot.asked(&search, &self.caller())
        {
            if let Some(known) = self.slot.known(&asked) {
                found.extend(known);
                return Ok(Find { found, rest: None });
            }
            keep = Some((self.slot.kms.generation(), asked));
        }
        Ok(Find { found, rest: Some(Rest { search, filter, after: 0, keep }) })
    }

    pub fn find(&mut self, max: usize) -> Result<Vec<u64>> {
        let mut find = self.find.take().ok_or(ck(CKR_OPERATION_NOT_INITIALIZED))?;
        while find.found.len() < max
            && let Some(rest) = find.rest.take()
        {
            find.rest = self.search_on(rest, &mut find.found)?;
        }
        let count = max.min(find.found.len());
        let handles = find.found.drain(..count).collect();
        self.find = Some(find);
        Ok(handles)
    }

    /// Reads one more page; None if it was the last one.
    fn search_on(&self, rest: Rest, found: &mut VecDeque<u64>) -> Result<Option<Rest>> {
        let page = match self.slot.kms.find_objects(&self.caller(), &rest.search, rest.after, PAGE) {
            Err(Error::Locked) => return Ok(None),
            page => page?,
        };
        let before = found.len();
        for hit in &page.found {
            let private = match hit.object.attributes.get(&CKA_PRIVATE) {
                Some(value) => value.as_slice() == [1],
                None => Slot::is_private_class(hit.object.class),
            };
            if !self.slot.sees(private) {
                continue;
            }
            let handle = match &hit.view {
                Some(label) => self.slot.named(hit.object.handle, label),
                None => hit.object.handle,
            };
            if rest.filter.0.is_empty() || self.slot.item(handle)?.is_some_and(|item| item.matches(&rest.filter)) {
                found.push_back(handle);
            }
        }
        // What goes by another name than its own may do so for a time only.
        let lasts = !page.found.is_empty() && page.found.iter().all(|hit| hit.view.is_none());
        if let (Some((generation, asked)), None, true) = (rest.keep, page.next, lasts) {
            self.slot.keep_found(generation, asked, found.iter().skip(before).copied().collect());
        }
        Ok(page.next.map(|after| Rest { search: rest.search, filter: rest.filter, after, keep: None }))
    }

    pub fn find_final(&mut self) -> Result<()> {
        self.find.take().map(|_| ()).ok_or(ck(CKR_OPERATION_NOT_INITIALIZED))
    }

    pub fn seed_random(&mut self, _seed: &[u8]) -> Result<()> {
        Err(ck(CKR_RANDOM_SEED_NOT_SUPPORTED))
    }

    pub fn generate_random(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; length];
        crate::crypto::random::fill(&mut out);
        Ok(out)
    }
}
