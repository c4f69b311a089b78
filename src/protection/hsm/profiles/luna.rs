//! Thales Luna Network and PCIe HSM, from its documents and header (`reference/devices.md` §2b); no device was at hand.

use std::time::Duration;

use cryptoki_sys::{CK_RV, CKR_VENDOR_DEFINED};

use super::{GcmIv, Oaep, Profile};
use crate::config::Isolate;

pub const PROFILE: Profile = Profile {
    name: "luna",
    // Its client divides sessions by an application ID made of the process ID: two instances would be one application.
    isolate: Isolate::Share,
    sessions: 17,
    // A partition's client recovers members by itself, at most once a minute; what is asked here is the local client.
    backoff: Duration::from_secs(5),
    lost: &[
        vendor(0x04), // RC_ERROR
        vendor(0x1f), // UNABLE_TO_CONNECT
        vendor(0x20), // PARTITION_DISABLED
        vendor(0x24), // TIMEOUT
        vendor(0x2b), // DEVICE_TIMEOUT
        vendor(0x45), // STC_…, the first of the secure channel's errors
        vendor(0x46),
        vendor(0x47),
        vendor(0x48),
        vendor(0x49),
        vendor(0x66), // …STC, the last
    ],
    busy: &[vendor(0x41)], // AGAIN
    lacks_curves: &[],
    oaep: Oaep::All,
    // In FIPS mode the HSM ignores the caller's IV; the mode is the partition's, so the careful answer is the profile's.
    gcm_iv: GcmIv::DeviceAppends,
    unsent: &[],
    shy: false,
};

const fn vendor(code: CK_RV) -> CK_RV {
    CKR_VENDOR_DEFINED | code
}
