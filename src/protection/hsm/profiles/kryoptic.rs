//! kryoptic, measured with 1.5.4 (`reference/devices.md` §0, §2a). A wrong padding is CKR_DEVICE_ERROR there.

use std::time::Duration;

use super::{GcmIv, Oaep, Profile};
use crate::config::Isolate;
use crate::model::curve::Curve;

pub const PROFILE: Profile = Profile {
    name: "kryoptic",
    isolate: Isolate::Copy,
    sessions: 17,
    backoff: Duration::from_millis(500),
    lost: &[],
    busy: &[],
    lacks_curves: &[Curve::Secp256k1],
    oaep: Oaep::All,
    gcm_iv: GcmIv::Caller,
    unsent: &[],
    shy: false,
};
