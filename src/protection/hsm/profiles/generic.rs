//! A device that no profile describes: only what the standard says is taken for granted.

use std::time::Duration;

use super::{GcmIv, Oaep, Profile};
use crate::config::Isolate;

pub const PROFILE: Profile = Profile {
    name: "generic",
    isolate: Isolate::Share,
    sessions: 16,
    backoff: Duration::from_secs(5),
    lost: &[],
    busy: &[],
    lacks_curves: &[],
    oaep: Oaep::All,
    gcm_iv: GcmIv::Caller,
    unsent: &[],
    shy: false,
};
