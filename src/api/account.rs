//! Chapter "region and account".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;
use crate::model::key::{KeyUsage, Level};
use crate::model::spec::{KeySpec, SPECS};

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
        let device = kms.device().is_some();
        let levels: &[Level] = if device { &[Level::Hsm, Level::Software] } else { &[Level::Software] };
        let of = |spec: &KeySpec| if spec.family.is_software_only() { &[Level::Software] } else { levels };
        let key_spec = SPECS
            .iter()
            .map(|spec| SupportedSpec {
                name: spec.name,
                supported_protection_levels: Levels { supported_protection_level: of(spec).to_vec() },
                usages: Usages { usage: spec.usages.to_vec() },
            })
            .collect();
        Ok(Service {
            key_specs: SupportedSpecs { key_spec },
            protection_levels: LevelTypes {
                protection_level: levels.iter().map(|level| LevelType { r#type: *level }).collect(),
            },
        })
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
