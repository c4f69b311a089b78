//! YubiHSM 2 through yubihsm_pkcs11, from its source and the mock device (`reference/devices.md` §2a, §2b).
//! It has no session objects, no AES-GCM and no AES-CTR.

use std::time::Duration;

use cryptoki_sys::{CKA_SIGN_RECOVER, CKA_VERIFY_RECOVER};

use super::{GcmIv, Oaep, Profile};
use crate::config::Isolate;

pub const PROFILE: Profile = Profile {
    name: "yubihsm2",
    // The connector is dialled in C_Initialize only, and the device has 16 sessions for all processes: one a process,
    // which the library shares among its own.
    isolate: Isolate::Share,
    sessions: 17,
    backoff: Duration::from_millis(500),
    lost: &[],
    busy: &[],
    lacks_curves: &[],
    oaep: Oaep::All,
    gcm_iv: GcmIv::Caller,
    unsent: &[CKA_SIGN_RECOVER, CKA_VERIFY_RECOVER],
    shy: false,
};
