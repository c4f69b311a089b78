//! Device profiles: what differs between families of devices, as data. A device is added by a file in `profiles/` and
//! a row in [`PROFILES`].

use std::time::Duration;

use cryptoki_sys::*;

use super::calls::Failed;
use crate::config::Isolate;
use crate::model::curve::Curve;
use crate::model::hash::Hash;

#[path = "profiles/generic.rs"]
mod generic;
#[path = "profiles/kryoptic.rs"]
mod kryoptic;
#[path = "profiles/luna.rs"]
mod luna;
#[path = "profiles/softhsm2.rs"]
mod softhsm2;
#[path = "profiles/yubihsm2.rs"]
mod yubihsm2;

/// Every family that is known, by the name that `alikms.toml` gives.
pub static PROFILES: &[Profile] =
    &[generic::PROFILE, kryoptic::PROFILE, luna::PROFILE, softhsm2::PROFILE, yubihsm2::PROFILE];

/// What is particular to a family of devices.
#[derive(Debug)]
pub struct Profile {
    pub name: &'static str,
    pub isolate: Isolate,
    /// How many sessions a process keeps at most, the anchor session included.
    pub sessions: usize,
    /// The longest time between two attempts to reach a device that is gone.
    pub backoff: Duration,
    /// Codes beyond the standard's that mean that the device, or the way to it, is lost.
    pub lost: &'static [CK_RV],
    /// Codes beyond the standard's that mean that it has too much to do.
    pub busy: &'static [CK_RV],
    pub lacks_curves: &'static [Curve],
    pub oaep: Oaep,
    pub gcm_iv: GcmIv,
    /// Attributes that the device refuses in a template, even with their default value.
    pub unsent: &'static [CK_ATTRIBUTE_TYPE],
    /// Objects that one session makes or destroys disturb another that does so or searches: these wait for each other.
    pub shy: bool,
}

/// Which OAEP parameters the device's own mechanism takes. For the others the block is decrypted raw in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oaep {
    All,
    /// SHA-1 for both hashes, and no label.
    Sha1,
}

/// Whose IV AES-GCM uses in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcmIv {
    Caller,
    /// The device makes its own and appends it to the tag (Luna in FIPS mode): such a device cannot use the caller's.
    DeviceAppends,
}

/// What an answer means for what follows (`reference/devices.md` §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Too many sessions or too much work at this moment.
    Busy,
    /// Nobody is logged in any more.
    Login,
    /// The device is gone, or its library has forgotten everything.
    Lost,
    /// The handle of the key is no longer good.
    Object,
    /// The answer to this request; trying again would not change it.
    Permanent,
    /// The PIN was refused: never to be tried again.
    Pin,
    /// This session is no longer good.
    Session,
    /// May be any of these: the device must be asked something else to know.
    Suspect,
}

impl Profile {
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    pub fn class(&self, failed: Failed) -> Class {
        match failed.rv {
            rv if self.lost.contains(&rv) => Class::Lost,
            rv if self.busy.contains(&rv) => Class::Busy,
            CKR_CRYPTOKI_NOT_INITIALIZED
            | CKR_DEVICE_REMOVED
            | CKR_TOKEN_NOT_PRESENT
            | CKR_TOKEN_NOT_RECOGNIZED
            | CKR_SLOT_ID_INVALID => Class::Lost,
            CKR_DEVICE_ERROR | CKR_FUNCTION_FAILED | CKR_GENERAL_ERROR => Class::Suspect,
            CKR_OPERATION_ACTIVE
            | CKR_OPERATION_NOT_INITIALIZED
            | CKR_SESSION_CLOSED
            | CKR_SESSION_HANDLE_INVALID
            | CKR_SESSION_READ_ONLY => Class::Session,
            CKR_KEY_HANDLE_INVALID | CKR_OBJECT_HANDLE_INVALID => Class::Object,
            CKR_USER_NOT_LOGGED_IN => Class::Login,
            CKR_DEVICE_MEMORY | CKR_HOST_MEMORY | CKR_SESSION_COUNT | CKR_TOKEN_RESOURCE_EXCEEDED => Class::Busy,
            CKR_PIN_EXPIRED | CKR_PIN_INCORRECT | CKR_PIN_INVALID | CKR_PIN_LEN_RANGE | CKR_PIN_LOCKED => Class::Pin,
            _ => Class::Permanent,
        }
    }

    /// Whether the device's own OAEP mechanism takes these parameters.
    pub fn takes_oaep(&self, hash: Hash, mgf: Hash, label: &[u8]) -> bool {
        match self.oaep {
            Oaep::All => true,
            Oaep::Sha1 => hash == Hash::Sha1 && mgf == Hash::Sha1 && label.is_empty(),
        }
    }
}

/// The mechanisms that keys of ours may need, with the names that errors give them.
pub static NAMES: &[(CK_MECHANISM_TYPE, &str)] = &[
    (CKM_RSA_PKCS_KEY_PAIR_GEN, "CKM_RSA_PKCS_KEY_PAIR_GEN"),
    (CKM_RSA_PKCS, "CKM_RSA_PKCS"),
    (CKM_RSA_X_509, "CKM_RSA_X_509"),
    (CKM_RSA_PKCS_OAEP, "CKM_RSA_PKCS_OAEP"),
    (CKM_RSA_PKCS_PSS, "CKM_RSA_PKCS_PSS"),
    (CKM_SHA_1_HMAC, "CKM_SHA_1_HMAC"),
    (CKM_SHA256_HMAC, "CKM_SHA256_HMAC"),
    (CKM_SHA224_HMAC, "CKM_SHA224_HMAC"),
    (CKM_SHA384_HMAC, "CKM_SHA384_HMAC"),
    (CKM_SHA512_HMAC, "CKM_SHA512_HMAC"),
    (CKM_SHA3_256_HMAC, "CKM_SHA3_256_HMAC"),
    (CKM_SHA3_224_HMAC, "CKM_SHA3_224_HMAC"),
    (CKM_SHA3_384_HMAC, "CKM_SHA3_384_HMAC"),
    (CKM_SHA3_512_HMAC, "CKM_SHA3_512_HMAC"),
    (CKM_GENERIC_SECRET_KEY_GEN, "CKM_GENERIC_SECRET_KEY_GEN"),
    (CKM_EC_KEY_PAIR_GEN, "CKM_EC_KEY_PAIR_GEN"),
    (CKM_ECDSA, "CKM_ECDSA"),
    (CKM_ECDH1_DERIVE, "CKM_ECDH1_DERIVE"),
    (CKM_AES_KEY_GEN, "CKM_AES_KEY_GEN"),
    (CKM_AES_ECB, "CKM_AES_ECB"),
    (CKM_AES_CBC, "CKM_AES_CBC"),
    (CKM_AES_CBC_PAD, "CKM_AES_CBC_PAD"),
    (CKM_AES_CTR, "CKM_AES_CTR"),
    (CKM_AES_GCM, "CKM_AES_GCM"),
    (CKM_AES_CMAC, "CKM_AES_CMAC"),
    (CKM_AES_ECB_ENCRYPT_DATA, "CKM_AES_ECB_ENCRYPT_DATA"),
    (CKM_AES_CBC_ENCRYPT_DATA, "CKM_AES_CBC_ENCRYPT_DATA"),
    (CKM_AES_KEY_WRAP, "CKM_AES_KEY_WRAP"),
    (CKM_AES_KEY_WRAP_PAD, "CKM_AES_KEY_WRAP_PAD"),
    (CKM_AES_KEY_WRAP_KWP, "CKM_AES_KEY_WRAP_KWP"),
    (CKM_HKDF_DERIVE, "CKM_HKDF_DERIVE"),
];

/// The name of a mechanism, else its number.
pub fn mechanism_name(id: CK_MECHANISM_TYPE) -> String {
    match NAMES.iter().find(|(known, _)| *known == id) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("mechanism 0x{id:08x}"),
    }
}

/// The numbers of a hash: itself, its MGF1, its HMAC. SM3 has none that devices share.
pub fn hash_numbers(hash: Hash) -> (CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE, CK_MECHANISM_TYPE) {
    match hash {
        Hash::Sha1 => (CKM_SHA_1, CKG_MGF1_SHA1, CKM_SHA_1_HMAC),
        Hash::Sha224 => (CKM_SHA224, CKG_MGF1_SHA224, CKM_SHA224_HMAC),
        Hash::Sha256 => (CKM_SHA256, CKG_MGF1_SHA256, CKM_SHA256_HMAC),
        Hash::Sha384 => (CKM_SHA384, CKG_MGF1_SHA384, CKM_SHA384_HMAC),
        Hash::Sha512 => (CKM_SHA512, CKG_MGF1_SHA512, CKM_SHA512_HMAC),
        // PKCS#11 has no MGF1 with these two.
        Hash::Sha512_224 => (CKM_SHA512_224, CK_UNAVAILABLE_INFORMATION, CKM_SHA512_224_HMAC),
        Hash::Sha512_256 => (CKM_SHA512_256, CK_UNAVAILABLE_INFORMATION, CKM_SHA512_256_HMAC),
        Hash::Sha3_224 => (CKM_SHA3_224, CKG_MGF1_SHA3_224, CKM_SHA3_224_HMAC),
        Hash::Sha3_256 => (CKM_SHA3_256, CKG_MGF1_SHA3_256, CKM_SHA3_256_HMAC),
        Hash::Sha3_384 => (CKM_SHA3_384, CKG_MGF1_SHA3_384, CKM_SHA3_384_HMAC),
        Hash::Sha3_512 => (CKM_SHA3_512, CKG_MGF1_SHA3_512, CKM_SHA3_512_HMAC),
        Hash::Sm3 => (CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION, CK_UNAVAILABLE_INFORMATION),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_names_match_numbers() {
        assert!(PROFILES.is_sorted_by_key(|profile| profile.name));
        assert!(NAMES.is_sorted_by_key(|(id, _)| *id), "{:x?}", NAMES);
    }

    #[test]
    fn a_wrong_pin_is_never_taken_for_a_lost_device() {
        for profile in PROFILES {
            for rv in [CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_PIN_EXPIRED, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE] {
                assert_eq!(profile.class(Failed { call: "C_Login", rv }), Class::Pin, "{}", profile.name);
            }
        }
    }
}
