//! SoftHSMv2, measured with 2.6.1 of Debian 12 (`reference/devices.md` §0, §2a).

use std::time::Duration;

use super::{GcmIv, Oaep, Profile};
use crate::config::Isolate;

pub const PROFILE: Profile = Profile {
    name: "softhsm2",
    // Once its directory was away, it recovers by C_Finalize and C_Initialize only.
    isolate: Isolate::Copy,
    sessions: 17,
    backoff: Duration::from_millis(500),
    lost: &[],
    busy: &[],
    lacks_curves: &[],
    oaep: Oaep::Sha1,
    gcm_iv: GcmIv::Caller,
    unsent: &[],
    // C_GenerateKey answers CKR_GENERAL_ERROR when an index is read meanwhile (once in some hundred times).
    shy: true,
};
