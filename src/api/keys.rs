//! Chapter "key": creation, description, state and deletion of customer master keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::page::{Paged, Paging};
use super::{Action, later};
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::lifecycle::{KeyView, NewKey};
use crate::model::caller::Caller;
use crate::model::key::{KeyState, KeyUsage, Level, Origin};
use crate::model::key_policy::KeyPolicy;
use crate::model::names::Realm;
use crate::model::spec::{SPECS, Spec};
use crate::model::time::Moment;
use crate::store::{Listed, Page};

/// Takes a key out of the deletion window; it is Enabled again.
///
/// Example: `alikms CancelKeyDeletion --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CancelKeyDeletion {
    /// ID or ARN of the key; no alias.
    key_id: String,
}

impl Action for CancelKeyDeletion {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.cancel_key_deletion(caller, &self.key_id)
    }
}

/// Creates a customer master key.
///
/// Example: `alikms CreateKey --KeySpec=RSA_2048 --KeyUsage=SIGN/VERIFY --ProtectionLevel=HSM`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct CreateKey {
    /// What the key is for, up to 8192 characters.
    description: Option<String>,
    /// The ID of a KMS instance of the cloud: not supported here.
    #[serde(rename = "DKMSInstanceId")]
    dkms_instance_id: Option<String>,
    /// Whether the key rotates by itself every `RotationInterval`; `false` if not given.
    enable_automatic_rotation: Option<bool>,
    /// What kind of key; `Aliyun_AES_256` if not given.
    key_spec: Option<SpecName>,
    /// Where an HSM of the cloud keeps the key: not supported here.
    key_storage_mechanism: Option<String>,
    /// What the key does, for ever; if not given `ENCRYPT/DECRYPT`, or `SIGN/VERIFY` for keys that can only sign.
    key_usage: Option<KeyUsage>,
    /// Where the key material comes from: `Aliyun_KMS` (made here, the default) or `EXTERNAL` (imported).
    origin: Option<Origin>,
    /// Who may do what with the key: JSON as for SetKeyPolicy, up to 32768 bytes; if not given, RAM decides.
    policy: Option<String>,
    /// Where the key works: `SOFTWARE` (the default) or `HSM`.
    protection_level: Option<Level>,
    /// The time between two rotations: a number with the unit d, h, m or s, of 7 to 730 days; with
    /// `EnableAutomaticRotation` only.
    rotation_interval: Option<String>,
    /// Tags to begin with, at most 20: `[{"TagKey":"project","TagValue":"shop"}]`.
    tags: Option<String>,
}

impl Action for CreateKey {
    type Response = Described;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Described> {
        later(&[
            ("DKMSInstanceId", self.dkms_instance_id.is_some()),
            ("KeyStorageMechanism", self.key_storage_mechanism.is_some()),
        ])?;
        let description = self.description.unwrap_or_default();
        let new = NewKey {
            spec: self.key_spec.map(|name| name.spec()).transpose()?,
            usage: self.key_usage,
            level: self.protection_level,
            origin: self.origin,
            description,
            rotation_interval: interval(self.enable_automatic_rotation, self.rotation_interval.as_deref())?,
            policy: self.policy.as_deref().map(KeyPolicy::parse).transpose()?,
            tags: super::tags::parse(self.tags.as_deref().unwrap_or("[]"))?,
        };
        let view = kms.create_key(caller, new)?;
        Ok(Described { key_metadata: metadata(kms.realm(), view, false) })
    }
}

/// Describes a key: what it is, its state and its dates.
///
/// Example: `alikms DescribeKey --KeyId alias/web`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeKey {
    /// ID, alias or ARN of the key.
    key_id: String,
}

impl Action for DescribeKey {
    type Response = Described;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Described> {
        let view = kms.describe_key(caller, &self.key_id)?;
        Ok(Described { key_metadata: metadata(kms.realm(), view, true) })
    }
}

/// Disables a key: it neither signs nor decrypts, and searches do not find it, until it is enabled.
///
/// Example: `alikms DisableKey --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DisableKey {
    /// ID or ARN of the key; no alias.
    key_id: String,
}

impl Action for DisableKey {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.disable_key(caller, &self.key_id)
    }
}

/// Enables a key that was disabled.
///
/// Example: `alikms EnableKey --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct EnableKey {
    /// ID or ARN of the key; no alias.
    key_id: String,
}

impl Action for EnableKey {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.enable_key(caller, &self.key_id)
    }
}

/// Lists the IDs and ARNs of the keys, oldest first.
///
/// Example: `alikms ListKeys --PageSize 100 --Filters '[{"Key":"KeyState","Values":["Enabled"]}]'`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ListKeys {
    /// JSON list of up to 10 `{"Key":…,"Values":[…]}`. Key is `KeyState`, `KeySpec`, `KeyUsage`, `ProtectionLevel` or
    /// `CreatorType`. Different keys must all fit, one of a key's values is enough.
    filters: Option<String>,
    /// Which page, from 1; 1 if not given.
    page_number: Option<i64>,
    /// How many on a page, 1 to 100; 10 if not given.
    page_size: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Keys {
    keys: KeyList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyList {
    key: Vec<KeyName>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyName {
    key_arn: String,
    key_id: String,
}

impl Action for ListKeys {
    type Response = Paged<Keys>;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Self::Response> {
        let paging = Paging::new(self.page_number, self.page_size)?;
        let filters = self.filters.as_deref().map(Filter::parse).transpose()?.unwrap_or_default();
        let listed = if filters.is_empty() {
            kms.list_keys(caller, paging.page())?
        } else {
            filtered(kms, caller, paging.page(), &filters)?
        };
        let name =
            |view: KeyView| KeyName { key_arn: kms.realm().key_arn(view.key.id), key_id: view.key.id.to_string() };
        Ok(paging.answer(listed, |views| Keys { keys: KeyList { key: views.into_iter().map(name).collect() } }))
    }
}

/// Puts a key into the deletion window: it stops working now and is destroyed, irrecoverably, when the window ends.
///
/// Example: `alikms ScheduleKeyDeletion --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --PendingWindowInDays 7`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct ScheduleKeyDeletion {
    /// ID or ARN of the key; no alias.
    key_id: String,
    /// Length of the window, 7 to 30 days; 30 if not given.
    pending_window_in_days: Option<i64>,
}

impl Action for ScheduleKeyDeletion {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.schedule_key_deletion(caller, &self.key_id, self.pending_window_in_days)
    }
}

/// Turns the protection of a key against deletion on or off.
///
/// Example: `alikms SetDeletionProtection --ProtectedResourceArn acs:kms:cn-hangzhou:1000000000000001:key/08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --EnableDeletionProtection true`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct SetDeletionProtection {
    /// Why, up to 8192 characters; kept while the protection is on.
    deletion_protection_description: Option<String>,
    /// `true` or `false`.
    enable_deletion_protection: bool,
    /// ID of the key, if it is to be named once more.
    key_id: Option<String>,
    /// The ID of a KMS instance of the cloud: not supported here.
    kms_instance_id: Option<String>,
    /// ARN of the key.
    protected_resource_arn: String,
}

impl Action for SetDeletionProtection {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let description = self.deletion_protection_description.unwrap_or_default();
        let arn = &self.protected_resource_arn;
        if !arn.starts_with("acs:kms:") {
            return Err(Error::invalid("ProtectedResourceArn", "it is the ARN of a key, see DescribeKey"));
        }
        later(&[("KmsInstanceId", self.kms_instance_id.is_some())])?;
        if self.key_id.as_deref().is_some_and(|id| !arn.ends_with(&format!(":key/{id}"))) {
            return Err(Error::invalid("KeyId", "it is not the key of ProtectedResourceArn"));
        }
        kms.set_deletion_protection(caller, arn, self.enable_deletion_protection, &description)
    }
}

/// Changes what is said about a key.
///
/// Example: `alikms UpdateKeyDescription --KeyId 08ec3bb9-034f-485b-b1cd-3459baa8c8e1 --Description "signs the shop's releases"`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct UpdateKeyDescription {
    /// Up to 8192 characters.
    description: String,
    /// ID, alias or ARN of the key.
    key_id: String,
}

impl Action for UpdateKeyDescription {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        kms.update_key_description(caller, &self.key_id, &self.description)
    }
}

/// The interval of a key that rotates: needed if it does, refused if it does not.
pub(super) fn interval(on: Option<bool>, text: Option<&str>) -> Result<Option<i64>> {
    match (on.unwrap_or(false), text) {
        (true, Some(text)) => crate::kms::rotation::parse_interval(text).map(Some),
        (true, None) => Err(Error::MissingParameter("RotationInterval".to_owned())),
        (false, Some(_)) => Err(Error::invalid("RotationInterval", "only together with EnableAutomaticRotation=true")),
        (false, None) => Ok(None),
    }
}

/// The answer of CreateKey and DescribeKey.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Described {
    key_metadata: KeyMetadata,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct KeyMetadata {
    arn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    automatic_rotation: Option<&'static str>,
    creation_date: String,
    creator: String,
    delete_date: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_protection: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deletion_protection_description: Option<String>,
    description: String,
    key_id: String,
    key_spec: &'static str,
    key_state: KeyState,
    key_usage: KeyUsage,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_rotation_date: Option<String>,
    material_expire_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_rotation_date: Option<String>,
    origin: Origin,
    #[serde(skip_serializing_if = "Option::is_none")]
    primary_key_version: Option<String>,
    protection_level: Level,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_interval: Option<String>,
}

/// `protection`: tells of deletion protection, as only DescribeKey does.
fn metadata(realm: &Realm, view: KeyView, protection: bool) -> KeyMetadata {
    let KeyView { key, state, last_rotation } = view;
    let rotates = key.spec.family.rotates() && key.origin == Origin::AliyunKms;
    // S004-169: a policy sleeps while the key does.
    let rotation = match (key.rotation_interval, state) {
        (None, _) => "Disabled",
        (Some(_), KeyState::Enabled) => "Enabled",
        (Some(_), _) => "Suspended",
    };
    let next = last_rotation.and_then(|last| key.next_rotation(last)).filter(|_| rotation == "Enabled");
    let date = |moment: Option<Moment>| moment.map(|moment| moment.to_string()).unwrap_or_default();
    KeyMetadata {
        arn: realm.key_arn(key.id),
        automatic_rotation: rotates.then_some(rotation),
        creation_date: key.created.to_string(),
        creator: key.creator,
        delete_date: date(key.delete_at),
        deletion_protection: protection.then_some(if key.deletion_protection { "Enabled" } else { "Disabled" }),
        deletion_protection_description: (protection && key.deletion_protection)
            .then_some(key.deletion_protection_description),
        description: key.description,
        key_id: key.id.to_string(),
        key_spec: key.spec.name,
        key_state: state,
        key_usage: key.usage,
        last_rotation_date: last_rotation.map(|moment| moment.to_string()),
        material_expire_time: date(key.material_expires),
        next_rotation_date: next.map(|moment| moment.to_string()),
        origin: key.origin,
        primary_key_version: key.primary.map(|id| id.to_string()),
        protection_level: key.level,
        rotation_interval: key.rotation_interval.map(|seconds| format!("{seconds}s")),
    }
}

/// `KeySpec` as given.
#[derive(Deserialize)]
struct SpecName(String);

impl SpecName {
    fn spec(&self) -> Result<Spec> {
        let name = self.0.as_str();
        match Spec::by_name(name) {
            Some(spec) => Ok(spec),
            None => {
                let known: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
                Err(Error::invalid("KeySpec", format!("it is one of {}", known.join(", "))))
            }
        }
    }
}

impl JsonSchema for SpecName {
    fn schema_name() -> Cow<'static, str> {
        "KeySpec".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

/// One of the filters of ListKeys.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Filter {
    key: FilterKey,
    values: Vec<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
enum FilterKey {
    CreatorType,
    KeySpec,
    KeyState,
    KeyUsage,
    ProtectionLevel,
}

impl Filter {
    fn parse(text: &str) -> Result<Vec<Self>> {
        let filters: Vec<Self> =
            serde_json::from_str(text).map_err(|error| Error::invalid("Filters", error.to_string()))?;
        if filters.len() > 10 || filters.iter().any(|filter| filter.values.len() > 10) {
            return Err(Error::invalid("Filters", "there are at most 10 of them, each with at most 10 values"));
        }
        Ok(filters)
    }
}

impl FilterKey {
    /// What a key has here, as the API writes it.
    fn of(self, kms: &Kms, view: &KeyView) -> String {
        let written = match self {
            Self::CreatorType => return if kms.is_service_key(&view.key) { "Service" } else { "User" }.into(),
            Self::KeySpec => return view.key.spec.name.into(),
            Self::KeyState => return view.state.to_string(),
            Self::ProtectionLevel => return view.key.level.name().into(),
            Self::KeyUsage => serde_json::to_value(view.key.usage),
        };
        written.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

/// The page of those keys that fit every filter.
fn filtered(kms: &Kms, caller: &Caller, page: Page, filters: &[Filter]) -> Result<Listed<KeyView>> {
    let fits = |view: &KeyView| {
        filters.iter().all(|filter| {
            let found = filter.key.of(kms, view);
            filters.iter().any(|same| same.key == filter.key && same.values.contains(&found))
        })
    };
    let mut answer = Listed { items: Vec::new(), total: 0 };
    let mut offset = 0;
    loop {
        let listed = kms.list_keys(caller, Page { offset, limit: 100 })?;
        if listed.items.is_empty() {
            return Ok(answer);
        }
        offset = offset.saturating_add(listed.items.len() as u64);
        for view in listed.items.into_iter().filter(|view| fits(view)) {
            if answer.total >= page.offset && (answer.items.len() as u64) < page.limit {
                answer.items.push(view);
            }
            answer.total += 1;
        }
    }
}
