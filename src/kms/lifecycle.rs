//! Keys and versions: creation, state, deletion.
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::key::*;
use crate::model::names::Realm;
use crate::model::spec::Spec;
use crate::model::time::Moment;
use crate::store::{Listed, Page};
use uuid::Uuid;

/// What CreateKey asks for. None: the rule's default.
#[derive(Debug, Clone, Default)]
pub struct NewKey {
    pub spec: Option<Spec>,
    pub usage: Option<KeyUsage>,
    /// The token's default level is for generic tools only; here None is SOFTWARE.
    pub level: Option<Level>,
    pub origin: Option<Origin>,
    pub description: String,
}

/// A key as seen now, with its aliases' and versions' particulars that DescribeKey answers.
#[derive(Debug, Clone)]
pub struct KeyView {
    pub key: Key,
    /// State at this moment.
    pub state: KeyState,
    /// Creation of the newest version (`LastRotationDate`); symmetric keys.
    pub last_rotation: Option<Moment>,
}

impl Kms {
    /// Account and region, for ARNs.
    pub fn realm(&self) -> &Realm {
        todo!()
    }
    pub fn create_key(&self, _caller: &Caller, _new: NewKey) -> Result<KeyView> {
        todo!()
    }
    pub fn describe_key(&self, _caller: &Caller, _key: &str) -> Result<KeyView> {
        todo!()
    }
    pub fn list_keys(&self, _caller: &Caller, _page: Page) -> Result<Listed<KeyView>> {
        todo!()
    }
    pub fn enable_key(&self, _caller: &Caller, _key: &str) -> Result<()> {
        todo!()
    }
    pub fn disable_key(&self, _caller: &Caller, _key: &str) -> Result<()> {
        todo!()
    }
    /// Days: 7 to 30; None is 30.
    pub fn schedule_key_deletion(&self, _caller: &Caller, _key: &str, _days: Option<i64>) -> Result<()> {
        todo!()
    }
    pub fn cancel_key_deletion(&self, _caller: &Caller, _key: &str) -> Result<()> {
        todo!()
    }
    pub fn create_key_version(&self, _caller: &Caller, _key: &str) -> Result<Version> {
        todo!()
    }
    pub fn list_key_versions(&self, _caller: &Caller, _key: &str, _page: Page) -> Result<Listed<Version>> {
        todo!()
    }
    pub fn describe_key_version(&self, _caller: &Caller, _key: &str, _version: &str) -> Result<Version> {
        todo!()
    }
    /// The version in service of an asymmetric key (DESIGN §3), for `alikms uri`, `csr`.
    pub fn version_in_service(&self, _caller: &Caller, _key: &str) -> Result<(Key, Version)> {
        todo!()
    }
    /// `alikms promote`.
    pub fn promote(&self, _caller: &Caller, _key: &str, _version: &str) -> Result<()> {
        todo!()
    }
    /// `alikms retire`: hides an old version from searches; refused for the version in service.
    pub fn retire(&self, _caller: &Caller, _key: &str, _version: &str) -> Result<()> {
        todo!()
    }
    /// How many keys there are by level, for `alikms status`.
    pub fn count_keys(&self) -> Result<(u64, u64)> {
        todo!()
    }
    /// For a certificate's or key's display: the primary label and CKA_ID of the private (or secret) key object in service.
    pub fn display_name(&self, _caller: &Caller, _key: &str) -> Result<(Vec<u8>, Vec<u8>)> {
        todo!()
    }
    /// Id of a Uuid text parameter.
    pub fn parse_version(_text: &str) -> Result<Uuid> {
        todo!()
    }
}
