//! Chapter "region and account".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Action;
use crate::error::Result;
use crate::kms::Kms;
use crate::model::caller::Caller;

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
