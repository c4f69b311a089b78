//! One run of the module, from C_Initialize to C_Finalize.
use crate::error::Result;
use crate::token::Session;
use cryptoki_sys::{CK_FLAGS, CK_INFO, CK_MECHANISM_INFO, CK_SESSION_INFO, CK_SLOT_INFO, CK_TOKEN_INFO, CK_VERSION};

pub struct Provider;

impl Provider {
    /// C_Initialize: reads the configuration and nothing else. `conf`: path given through pReserved ("conf=PATH"), our documented form.
    pub fn start(_conf: Option<&str>) -> Result<Self> {
        todo!()
    }
    /// C_Initialize in a forked child, on the provider that it inherited: closes all sessions and forgets the logins, keeps
    /// what was costly to make (opened keys, PIN verifiers). Calls no device and no database.
    pub fn fresh_in_child(&self) {
        todo!()
    }
    /// C_Finalize.
    pub fn stop(&self) {
        todo!()
    }
    pub fn info(&self, _version: CK_VERSION) -> CK_INFO {
        todo!()
    }
    pub fn slots(&self, _token_present: bool) -> Vec<u64> {
        todo!()
    }
    pub fn slot_info(&self, _slot: u64) -> Result<CK_SLOT_INFO> {
        todo!()
    }
    pub fn token_info(&self, _slot: u64) -> Result<CK_TOKEN_INFO> {
        todo!()
    }
    pub fn mechanisms(&self, _slot: u64) -> Result<Vec<u64>> {
        todo!()
    }
    pub fn mechanism_info(&self, _slot: u64, _kind: u64) -> Result<CK_MECHANISM_INFO> {
        todo!()
    }
    /// `pin` None: NULL pointer.
    pub fn init_token(&self, _slot: u64, _pin: Option<&[u8]>, _label: &[u8; 32]) -> Result<()> {
        todo!()
    }
    pub fn init_pin(&self, _session: u64, _pin: Option<&[u8]>) -> Result<()> {
        todo!()
    }
    pub fn set_pin(&self, _session: u64, _old: Option<&[u8]>, _new: Option<&[u8]>) -> Result<()> {
        todo!()
    }
    pub fn open_session(&self, _slot: u64, _flags: CK_FLAGS) -> Result<u64> {
        todo!()
    }
    pub fn close_session(&self, _session: u64) -> Result<()> {
        todo!()
    }
    pub fn close_all_sessions(&self, _slot: u64) -> Result<()> {
        todo!()
    }
    pub fn session_info(&self, _session: u64) -> Result<CK_SESSION_INFO> {
        todo!()
    }
    pub fn login(&self, _session: u64, _user: u64, _pin: Option<&[u8]>, _name: Option<&[u8]>) -> Result<()> {
        todo!()
    }
    pub fn logout(&self, _session: u64) -> Result<()> {
        todo!()
    }
    /// Checks the handle, then runs `work` with the session to itself.
    pub fn session<T>(&self, _session: u64, _work: impl FnOnce(&mut Session) -> Result<T>) -> Result<T> {
        todo!()
    }
}
