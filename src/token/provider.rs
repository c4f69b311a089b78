//! One run of the module, from C_Initialize to C_Finalize.

use cryptoki_sys::*;

use crate::config::Config;
use crate::error::{Error, Result, StoreFault};
use crate::kms::{Kms, Service};
use crate::model::Bytes;
use crate::model::caller::Caller;
use crate::token::alias;
use crate::token::mechanism::{MECHANISMS, MechanismRow};
use crate::token::sessions::{Entry, Sessions, home};
use crate::token::slot::{Login, Slot, own_version, padded};
use crate::token::{Session, ck};

pub struct Provider {
    /// Never freed, as the run is not: sessions refer to them and count nothing.
    slots: Vec<&'static Slot>,
    sessions: Sessions,
}

impl Provider {
    /// Touches nothing.
    pub fn new(config: Config) -> Self {
        Self::with_objects_from(config, 0)
    }

    /// For a client that may come from another process like this one: the handles of session objects that it had there are
    /// nobody's here.
    pub fn hosted(config: Config) -> Self {
        Self::with_objects_from(config, uuid::Uuid::new_v4().as_u64_pair().0 >> 8)
    }

    fn with_objects_from(config: Config, first_object: u64) -> Self {
        let service = Service::new(config);
        let mut taken = Vec::new();
        let mut slots: Vec<&'static Slot> = Vec::new();
        for kms in service.tokens() {
            let slot = Slot::new(kms.clone(), &taken, first_object);
            taken.push(slot.id);
            slots.push(&*Box::leak(Box::new(slot)));
        }
        Self { slots, sessions: Sessions::default() }
    }

    /// C_Finalize: every session is closed; what another thread is doing in one is waited for.
    pub fn stop(&self) {
        for handle in self.sessions.handles(|_| true) {
            let _ = self.close_session(handle);
        }
    }

    /// C_Initialize or C_Finalize in a forked child: no sessions, nobody logged in; what was opened stays open.
    pub fn fresh_in_child(&self) {
        self.stop();
        for slot in &self.slots {
            slot.logged_out();
        }
    }

    pub fn info(version: CK_VERSION) -> CK_INFO {
        CK_INFO {
            cryptokiVersion: version,
            manufacturerID: padded("alikms"),
            flags: 0,
            libraryDescription: padded("alikms-pkcs11"),
            libraryVersion: own_version(),
        }
    }

    /// In the order of `alikms.toml`; every token is always present.
    pub fn slots(&self) -> Vec<u64> {
        self.slots.iter().map(|slot| slot.id).collect()
    }

    fn slot(&self, id: u64) -> Result<&'static Slot> {
        self.slots.iter().copied().find(|slot| slot.id == id).ok_or(ck(CKR_SLOT_ID_INVALID))
    }

    /// The KMS behind the token of this label, or behind the first one.
    pub fn kms(&self, label: Option<&str>) -> Option<&Kms> {
        let slot = self.slots.iter().find(|slot| label.is_none_or(|label| slot.kms.label() == label));
        slot.map(|slot| &*slot.kms)
    }

    pub fn slot_info(&self, slot: u64) -> Result<CK_SLOT_INFO> {
        let slot = self.slot(slot)?;
        Ok(CK_SLOT_INFO {
            slotDescription: padded(&format!("alikms {}", slot.kms.label())),
            manufacturerID: padded("alikms"),
            flags: CKF_TOKEN_PRESENT,
            hardwareVersion: CK_VERSION { major: 0, minor: 0 },
            firmwareVersion: own_version(),
        })
    }

    /// The other names by which objects were found, in the order of their handles.
    pub fn other_names(&self, slot: u64) -> Result<Vec<(u64, Vec<u8>)>> {
        self.slot(slot).map(Slot::other_names)
    }

    /// What another process like this one told to [`Self::other_names`], before anything was looked for here.
    pub fn set_other_names(&self, slot: u64, names: &[(u64, Vec<u8>)]) -> Result<()> {
        let slot = self.slot(slot)?;
        names.iter().for_each(|(object, label)| _ = slot.named(*object, label));
        Ok(())
    }

    pub fn token_info(&self, slot: u64) -> Result<CK_TOKEN_INFO> {
        self.slot(slot).map(|slot| slot.token_info())
    }

    pub fn mechanisms(&self, slot: u64) -> Result<Vec<u64>> {
        let aliases = alias::kinds(self.slot(slot)?.kms.config());
        Ok(MECHANISMS.iter().map(|row| row.kind).chain(aliases).collect())
    }

    pub fn mechanism_info(&self, slot: u64, kind: u64) -> Result<CK_MECHANISM_INFO> {
        alias::row(self.slot(slot)?.kms.config(), kind).map(MechanismRow::info)
    }

    /// `pin` None: NULL pointer. A token with keys is only initialised again where `destroy = "immediate"` allows it.
    pub fn init_token(&self, slot: u64, pin: Option<&[u8]>, label: &[u8]) -> Result<()> {
        let slot = self.slot(slot)?;
        let pin = Bytes::copy_of(pin.ok_or(ck(CKR_ARGUMENTS_BAD))?)?;
        if slot.counts().all > 0 {
            return Err(ck(CKR_SESSION_EXISTS));
        }
        let label = std::str::from_utf8(label).map_err(|_| ck(CKR_ARGUMENTS_BAD))?.trim_end_matches(' ');
        if slot.kms.row()?.is_some() && !slot.kms.config().destroy_immediate && slot.kms.has_keys()? {
            return Err(ck(CKR_TOKEN_WRITE_PROTECTED));
        }
        slot.kms.init_token(&pin, label)
    }

    /// C_InitPIN.
    pub fn init_pin(&self, session: u64, pin: Option<&[u8]>) -> Result<()> {
        let slot = self.session(session, |session| Ok(session.slot()))?;
        if slot.login() != Login::SecurityOfficer {
            return Err(ck(CKR_USER_NOT_LOGGED_IN));
        }
        slot.kms.init_pin(pin.ok_or(ck(CKR_ARGUMENTS_BAD))?).map_err(pin_length)
    }

    /// C_SetPIN: the PIN of whoever is logged in, the user's if nobody is.
    pub fn set_pin(&self, session: u64, old: Option<&[u8]>, new: Option<&[u8]>) -> Result<()> {
        use crate::seal::slot::SlotKind;
        let (slot, read_write) = self.session(session, |session| Ok((session.slot(), session.read_write())))?;
        let (Some(old), Some(new)) = (old, new) else { return Err(ck(CKR_ARGUMENTS_BAD)) };
        if !read_write {
            return Err(ck(CKR_SESSION_READ_ONLY));
        }
        // The old one first, so that what is said of the length is said of the new one; known again, it costs no second time.
        match (slot.login(), slot.caller().user_name()) {
            (Login::SecurityOfficer, _) => {
                slot.kms.login_so(old).map_err(login_fault)?;
                slot.kms.set_pin(SlotKind::SoPin, old, new)
            }
            (_, Some(name)) => {
                slot.kms.login_as(name, old).map_err(login_fault)?;
                slot.kms.change_user_pin(name, old, new)
            }
            (_, None) => {
                slot.kms.login_user(old).map_err(login_fault)?;
                slot.kms.set_pin(SlotKind::UserPin, old, new)
            }
        }
        .map_err(pin_length)
    }

    pub fn open_session(&self, slot: u64, flags: CK_FLAGS) -> Result<u64> {
        let slot = self.slot(slot)?;
        if flags & CKF_SERIAL_SESSION == 0 {
            return Err(ck(CKR_SESSION_PARALLEL_NOT_SUPPORTED));
        }
        let read_write = flags & CKF_RW_SESSION != 0;
        let home = home();
        slot.opened(home, read_write)?;
        let opened = self.sessions.open(slot, home, read_write);
        if opened.is_err() {
            slot.closed(None, home, read_write);
        }
        opened
    }

    pub fn close_session(&self, session: u64) -> Result<()> {
        let closed = self.sessions.close(session)?;
        closed.slot.closed(closed.session, closed.home, closed.read_write);
        Ok(())
    }

    pub fn close_all_sessions(&self, slot: u64) -> Result<()> {
        let slot = self.slot(slot)?;
        for handle in self.sessions.handles(|session| session.slot().id == slot.id) {
            let _ = self.close_session(handle);
        }
        Ok(())
    }

    pub fn session_info(&self, session: u64) -> Result<CK_SESSION_INFO> {
        self.session(session, |session| Ok(session.info()))
    }

    /// `name`: C_LoginUser. With a name, or a PIN of the form `name:pin`, a RAM user logs in; without, the account itself.
    pub fn login(&self, session: u64, user: u64, pin: Option<&[u8]>, name: Option<&[u8]>) -> Result<()> {
        if user == CKU_CONTEXT_SPECIFIC {
            return self.session(session, |session| session.authenticate(pin));
        }
        let slot = self.session(session, |session| Ok(session.slot()))?;
        if !matches!(user, CKU_SO | CKU_USER) {
            return Err(ck(CKR_USER_TYPE_INVALID));
        }
        let pin = pin.ok_or(ck(CKR_ARGUMENTS_BAD))?;
        match (slot.login(), user) {
            (Login::Nobody, _) => {}
            (Login::User, CKU_USER) | (Login::SecurityOfficer, CKU_SO) => {
                return Err(ck(CKR_USER_ALREADY_LOGGED_IN));
            }
            _ => return Err(ck(CKR_USER_ANOTHER_ALREADY_LOGGED_IN)),
        }
        if user == CKU_SO {
            if slot.has_readers() {
                return Err(ck(CKR_SESSION_READ_ONLY_EXISTS));
            }
            slot.kms.login_so(pin).map_err(login_fault)?;
            slot.set_security_officer()?;
        } else {
            slot.set_user(log_in(slot, pin, name.filter(|name| !name.is_empty()))?);
        }
        Ok(())
    }

    pub fn logout(&self, session: u64) -> Result<()> {
        let slot = self.sessions.end(session, |session| Ok(session.slot()))?;
        if slot.login() == Login::Nobody {
            return Err(ck(CKR_USER_NOT_LOGGED_IN));
        }
        for handle in self.sessions.handles(|session| session.slot().id == slot.id) {
            let _ = self.sessions.end(handle, |session| {
                session.logged_out();
                Ok(())
            });
        }
        slot.logged_out();
        Ok(())
    }

    /// Checks the handle; the session to itself, until `entry` is dropped.
    #[inline(always)]
    pub fn enter<'a, 'e>(&'a self, session: u64, entry: &'e mut Entry<'a>) -> Result<&'e mut Session> {
        self.sessions.enter(session, false, entry)
    }

    /// Checks the handle, then runs `work` with the session to itself.
    pub fn session<T>(&self, session: u64, work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        self.sessions.with(session, work)
    }
}

/// Who holds this PIN. `name:pin` is meant where there is a RAM user of that name with a PIN; else the colon is part of
/// the account's PIN.
fn log_in(slot: &Slot, pin: &[u8], name: Option<&[u8]>) -> Result<Caller> {
    let text = |bytes| std::str::from_utf8(bytes).ok();
    if let Some(name) = name {
        let name = text(name).ok_or(Error::PinIncorrect)?;
        return slot.kms.login_as(name, pin).map_err(login_fault);
    }
    if let Some(colon) = pin.iter().position(|byte| *byte == b':')
        && let Some(name) = text(&pin[..colon])
        && slot.kms.has_user_pin(name)?
    {
        return slot.kms.login_as(name, &pin[colon + 1..]).map_err(login_fault);
    }
    slot.kms.login_user(pin).map_err(login_fault)?;
    Ok(Caller::account())
}

/// A PIN that cannot be one is simply not the right one.
pub(super) fn login_fault(error: Error) -> Error {
    match error {
        Error::PinInvalid(_) => Error::PinIncorrect,
        Error::Store(StoreFault::Missing(_)) | Error::Config { .. } => Error::PinNotSet,
        other => other,
    }
}

fn pin_length(error: Error) -> Error {
    match error {
        Error::PinInvalid(_) => ck(CKR_PIN_LEN_RANGE),
        other => other,
    }
}
