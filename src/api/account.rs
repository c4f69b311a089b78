//! Chapter "region and account".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::key::{KeyUsage, Level};
use crate::model::spec::{KeySpec, SPECS, Spec};

/// Tells whether the service is open for this account: here it is.
///
/// Example: `alikms DescribeAccountKmsStatus`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeAccountKmsStatus {}

impl Action for DescribeAccountKmsStatus {
    type Response = Status;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Status> {
        let _allowed = kms.authorize(caller, "DescribeAccountKmsStatus", &kms.realm().container("account"))?;
        Ok(Status { account_status: "Enabled" })
    }
}

/// Lists the regions: the one of this token.
///
/// Example: `alikms DescribeRegions`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeRegions {}

impl Action for DescribeRegions {
    type Response = Regions;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Regions> {
        let _allowed = kms.authorize(caller, "DescribeRegions", &kms.realm().container("region"))?;
        Ok(Regions { regions: RegionList { region: vec![Region { region_id: kms.realm().region.clone() }] } })
    }
}

/// Tells which protection levels and key specs there are here.
///
/// Example: `alikms DescribeService`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct DescribeService {}

impl Action for DescribeService {
    type Response = Service;
    fn run(self, kms: &Kms, caller: &Caller) -> Result<Service> {
        let _allowed = kms.authorize(caller, "DescribeService", &kms.realm().container("region"))?;
        let described = |spec: &'static KeySpec| {
            Ok(SupportedSpec {
                name: spec.name,
                supported_protection_levels: Levels { supported_protection_level: kms.levels_of(Spec(spec))? },
                usages: Usages { usage: spec.usages.to_vec() },
            })
        };
        let key_spec = SPECS.iter().map(described).collect::<Result<_>>()?;
        let levels: &[Level] = if kms.device().is_some() { &[Level::Hsm, Level::Software] } else { &[Level::Software] };
        Ok(Service {
            key_specs: SupportedSpecs { key_spec },
            protection_levels: LevelTypes {
                protection_level: levels.iter().map(|level| LevelType { r#type: *level }).collect(),
            },
        })
    }
}

/// Opens the service for this account: it is open from the beginning, and says so (Forbidden.Opened).
///
/// Example: `alikms OpenKmsService`
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub struct OpenKmsService {}

impl Action for OpenKmsService {
    type Response = ();
    fn run(self, kms: &Kms, caller: &Caller) -> Result<()> {
        let _allowed = kms.authorize(caller, "OpenKmsService", &kms.realm().container("account"))?;
        Err(Error::ServiceOpen)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    key_specs: SupportedSpecs,
    protection_levels: LevelTypes,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SupportedSpecs {
    key_spec: Vec<SupportedSpec>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SupportedSpec {
    name: &'static str,
    supported_protection_levels: Levels,
    usages: Usages,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Levels {
    supported_protection_level: Vec<Level>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Usages {
    usage: Vec<KeyUsage>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LevelTypes {
    protection_level: Vec<LevelType>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct LevelType {
    r#type: Level,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Status {
    account_status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Regions {
    regions: RegionList,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct RegionList {
    region: Vec<Region>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Region {
    region_id: String,
}
