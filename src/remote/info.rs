//! The structures that tell of slots, tokens, mechanisms and sessions, as messages.

use cryptoki_sys::*;
use serde::{Deserialize, Serialize};

type Version = (u8, u8);

fn version(version: CK_VERSION) -> Version {
    (version.major, version.minor)
}

fn ck_version((major, minor): Version) -> CK_VERSION {
    CK_VERSION { major, minor }
}

#[derive(Serialize, Deserialize)]
pub struct SlotInfo {
    /// In two halves, as longer arrays have no form in messages.
    description: [[u8; 32]; 2],
    manufacturer: [u8; 32],
    flags: u64,
    hardware: Version,
    firmware: Version,
}

impl From<CK_SLOT_INFO> for SlotInfo {
    fn from(info: CK_SLOT_INFO) -> Self {
        let mut description = [[0; 32]; 2];
        description.as_flattened_mut().copy_from_slice(&info.slotDescription);
        Self {
            description,
            manufacturer: info.manufacturerID,
            flags: info.flags,
            hardware: version(info.hardwareVersion),
            firmware: version(info.firmwareVersion),
        }
    }
}

impl From<SlotInfo> for CK_SLOT_INFO {
    fn from(info: SlotInfo) -> Self {
        let mut description = [0; 64];
        description.copy_from_slice(info.description.as_flattened());
        Self {
            slotDescription: description,
            manufacturerID: info.manufacturer,
            flags: info.flags,
            hardwareVersion: ck_version(info.hardware),
            firmwareVersion: ck_version(info.firmware),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub struct TokenInfo {
    label: [u8; 32],
    manufacturer: [u8; 32],
    model: [u8; 16],
    serial: [u8; 16],
    flags: u64,
    /// All the numbers from ulMaxSessionCount to ulFreePrivateMemory, in their order.
    numbers: [u64; 10],
    hardware: Version,
    firmware: Version,
    time: [u8; 16],
}

impl From<CK_TOKEN_INFO> for TokenInfo {
    fn from(info: CK_TOKEN_INFO) -> Self {
        Self {
            label: info.label,
            manufacturer: info.manufacturerID,
            model: info.model,
            serial: info.serialNumber,
            flags: info.flags,
            numbers: [
                info.ulMaxSessionCount,
                info.ulSessionCount,
                info.ulMaxRwSessionCount,
                info.ulRwSessionCount,
                info.ulMaxPinLen,
                info.ulMinPinLen,
                info.ulTotalPublicMemory,
                info.ulFreePublicMemory,
                info.ulTotalPrivateMemory,
                info.ulFreePrivateMemory,
            ],
            hardware: version(info.hardwareVersion),
            firmware: version(info.firmwareVersion),
            time: info.utcTime,
        }
    }
}

impl From<TokenInfo> for CK_TOKEN_INFO {
    fn from(info: TokenInfo) -> Self {
        let [max, now, max_rw, now_rw, max_pin, min_pin, public, free_public, private, free_private] = info.numbers;
        Self {
            label: info.label,
            manufacturerID: info.manufacturer,
            model: info.model,
            serialNumber: info.serial,
            flags: info.flags,
            ulMaxSessionCount: max,
            ulSessionCount: now,
            ulMaxRwSessionCount: max_rw,
            ulRwSessionCount: now_rw,
            ulMaxPinLen: max_pin,
            ulMinPinLen: min_pin,
            ulTotalPublicMemory: public,
            ulFreePublicMemory: free_public,
            ulTotalPrivateMemory: private,
            ulFreePrivateMemory: free_private,
            hardwareVersion: ck_version(info.hardware),
            firmwareVersion: ck_version(info.firmware),
            utcTime: info.time,
        }
    }
}

/// The least and the greatest key size, and the flags.
#[derive(Serialize, Deserialize)]
pub struct MechanismInfo(u64, u64, u64);

impl From<CK_MECHANISM_INFO> for MechanismInfo {
    fn from(info: CK_MECHANISM_INFO) -> Self {
        Self(info.ulMinKeySize, info.ulMaxKeySize, info.flags)
    }
}

impl From<MechanismInfo> for CK_MECHANISM_INFO {
    fn from(MechanismInfo(least, most, flags): MechanismInfo) -> Self {
        Self { ulMinKeySize: least, ulMaxKeySize: most, flags }
    }
}

/// Slot, state, flags and device error.
#[derive(Serialize, Deserialize)]
pub struct SessionInfo(u64, u64, u64, u64);

impl From<CK_SESSION_INFO> for SessionInfo {
    fn from(info: CK_SESSION_INFO) -> Self {
        Self(info.slotID, info.state, info.flags, info.ulDeviceError)
    }
}

impl From<SessionInfo> for CK_SESSION_INFO {
    fn from(SessionInfo(slot, state, flags, error): SessionInfo) -> Self {
        Self { slotID: slot, state, flags, ulDeviceError: error }
    }
}
