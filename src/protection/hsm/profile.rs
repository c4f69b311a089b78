//! Device profiles: what differs between families of devices, as data. A device is added by a file in `profiles/` and
//! a row in [`FILES`]; `profiles/generic.toml` says what each entry means and has what the others do not say.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use cryptoki_sys::*;
use serde::Deserialize;
use toml::Table;

use super::calls::Failed;
use crate::config::Isolate;
use crate::model::hash::Hash;

const GENERIC: &str = include_str!("profiles/generic.toml");

/// Every family that is known, by the name that `alikms.toml` gives.
static FILES: &[(&str, &str)] = &[
    ("alibaba-cloudhsm", include_str!("profiles/alibaba-cloudhsm.toml")),
    ("alikms", include_str!("profiles/alikms.toml")),
    ("cloudhsm", include_str!("profiles/cloudhsm.toml")),
    ("generic", GENERIC),
    ("kryoptic", include_str!("profiles/kryoptic.toml")),
    ("luna", include_str!("profiles/luna.toml")),
    ("nshield", include_str!("profiles/nshield.toml")),
    ("opencryptoki", include_str!("profiles/opencryptoki.toml")),
    ("softhsm2", include_str!("profiles/softhsm2.toml")),
    ("tpm2-pkcs11", include_str!("profiles/tpm2-pkcs11.toml")),
    ("utimaco", include_str!("profiles/utimaco.toml")),
    ("yubihsm2", include_str!("profiles/yubihsm2.toml")),
];

/// In `alikms.toml`: the profile whose `libraries` name the file, else `generic`.
pub const AUTO: &str = "auto";

/// The names that `alikms.toml` may give.
fn names() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(name, _)| *name).chain([AUTO])
}

/// What is particular to a family of devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    #[serde(skip)]
    pub name: &'static str,
    /// What the rest was learnt from.
    pub source: String,
    #[expect(dead_code, reason = "looked at before a profile is chosen")]
    libraries: Vec<String>,
    pub isolate: Isolate,
    /// How many sessions a process keeps at most, the anchor session included.
    pub sessions: usize,
    backoff_ms: u64,
    pub pin: PinForm,
    /// Who logs in: CKU_USER, or a number of the vendor's.
    pub user: CK_USER_TYPE,
    /// In bytes.
    pub label_max: usize,
    /// Attributes that the device refuses in a template, even with their default value.
    pub unsent: Vec<CK_ATTRIBUTE_TYPE>,
    /// Attributes that are left out when a device refuses them.
    pub optional: Vec<CK_ATTRIBUTE_TYPE>,
    /// CK_BBOOLs that it wants besides.
    pub also: Vec<(CK_ATTRIBUTE_TYPE, bool)>,
    /// Names of key specs.
    pub lacks: Vec<String>,
    /// Mechanisms that it lists and does not do, by the standard's name.
    without: Vec<String>,
    pub oaep: Oaep,
    pub gcm_iv: GcmIv,
    pub session_objects: bool,
    /// Objects that one session makes or destroys disturb another that does so or searches: these wait for each other.
    pub shy: bool,
    /// Keys that are made in it come to the other devices of a token by themselves.
    pub replicates: bool,
    /// Codes beyond the standard's that mean that the device, or the way to it, is lost.
    lost: Vec<CK_RV>,
    /// Codes beyond the standard's that mean that it has too much to do.
    busy: Vec<CK_RV>,
    logged_out: Vec<CK_RV>,
    /// Numbers to take where a device does not list the standard's, by the standard's name.
    instead: BTreeMap<String, Vec<CK_MECHANISM_TYPE>>,
    /// Its numbers of SM2, SM3 and SM4 by our names.
    sm: BTreeMap<String, u64>,
}

/// How a PIN is written. One that is not is never sent: a device may count it as wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PinForm {
    #[serde(rename = "any")]
    Any,
    /// The four hex digits of a key's ID, then a password of 8 to 64 characters (YubiHSM).
    #[serde(rename = "key+password")]
    KeyPassword,
    #[serde(rename = "user:password")]
    UserPassword,
}

/// Which OAEP parameters the device's own mechanism takes. For the others the block is decrypted raw in the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oaep {
    All,
    /// SHA-1 for both hashes, and no label.
    Sha1,
}

/// Whose IV AES-GCM uses in the device. Only a device that takes the caller's can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GcmIv {
    Caller,
    /// The device makes its own and appends it to the tag (Luna in FIPS mode).
    DeviceAppends,
    /// The device makes its own and writes it into the caller's buffer (AWS CloudHSM).
    DeviceWrites,
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
    /// The profile of this name, or the one that fits this library, with the changes of `alikms.toml`. On an error, what
    /// is wrong with either.
    pub fn of(name: &str, library: &Path, changes: &Table) -> Result<Self, String> {
        let (name, own) = match name {
            AUTO => Self::for_library(library),
            name => *FILES.iter().find(|(known, _)| *known == name).ok_or_else(|| {
                let known: Vec<_> = names().collect();
                format!("no device profile is called \"{name}\": there are {}", known.join(", "))
            })?,
        };
        let mut table: Table = toml::from_str(GENERIC).map_err(|error| error.message().to_owned())?;
        for changed in [&toml::from_str(own).map_err(|error| error.message().to_owned())?, changes] {
            lay_over(&mut table, changed);
        }
        let mut profile: Self =
            table.try_into().map_err(|error: toml::de::Error| format!("[device.override]: {}", error.message()))?;
        profile.name = name;
        let mut named = profile.instead.keys().chain(&profile.without);
        if let Some(unknown) = named.find(|name| !NAMES.iter().any(|(_, known)| known == name)) {
            return Err(format!("[device.override]: no mechanism of use here is called {unknown}"));
        }
        Ok(profile)
    }

    fn for_library(library: &Path) -> (&'static str, &'static str) {
        let file = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let fits = |text: &str| {
            let table: Option<Table> = toml::from_str(text).ok();
            let list = table.as_ref().and_then(|table| table.get("libraries")?.as_array());
            list.is_some_and(|names| names.iter().any(|name| name.as_str() == Some(file)))
        };
        FILES.iter().find(|(_, text)| fits(text)).copied().unwrap_or(("generic", GENERIC))
    }

    /// The longest time between two attempts to reach a device that is gone.
    pub fn backoff(&self) -> Duration {
        Duration::from_millis(self.backoff_ms)
    }

    /// The numbers that stand for this mechanism where the device does not list it, in the order of preference.
    pub fn alternatives(&self, id: CK_MECHANISM_TYPE) -> &[CK_MECHANISM_TYPE] {
        let name = NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name);
        name.and_then(|name| self.instead.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Whether the device does what it lists under this number.
    pub fn believes(&self, id: CK_MECHANISM_TYPE) -> bool {
        !NAMES.iter().any(|(known, name)| *known == id && self.without.iter().any(|without| without == name))
    }

    /// Whether a mechanism of this number is of use here.
    pub fn knows(&self, id: CK_MECHANISM_TYPE) -> bool {
        NAMES.iter().any(|(known, _)| *known == id)
            || self.instead.values().flatten().any(|known| *known == id)
            || self.sm.values().any(|known| *known == id)
    }

    /// The device's number for one of our names.
    pub fn sm(&self, name: &str) -> Option<u64> {
        self.sm.get(name).copied()
    }

    /// Whether a PIN is written as the device wants it; else how it is.
    pub fn check_pin(&self, pin: &[u8]) -> Result<(), &'static str> {
        let fits = match self.pin {
            PinForm::Any => true,
            PinForm::UserPassword => {
                pin.iter().position(|byte| *byte == b':').is_some_and(|at| at > 0 && at + 1 < pin.len())
            }
            PinForm::KeyPassword => {
                (12..=68).contains(&pin.len()) && pin.iter().take(4).all(u8::is_ascii_hexdigit)
                    || matches!(pin.first(), Some(b'@' | b'#'))
            }
        };
        match self.pin {
            _ if fits => Ok(()),
            PinForm::UserPassword => Err("user:password"),
            _ => Err("four hex digits of the authentication key's ID, then its password of 8 to 64 characters"),
        }
    }

    pub fn class(&self, failed: Failed) -> Class {
        match failed.rv {
            rv if self.lost.contains(&rv) => Class::Lost,
            rv if self.busy.contains(&rv) => Class::Busy,
            rv if self.logged_out.contains(&rv) => Class::Login,
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

/// Entries of `over` take the place of those of `under`; of tables, entry by entry.
fn lay_over(under: &mut Table, over: &Table) {
    for (key, value) in over {
        match (under.get_mut(key).and_then(toml::Value::as_table_mut), value) {
            (Some(under), toml::Value::Table(over)) => lay_over(under, over),
            _ => {
                under.insert(key.clone(), value.clone());
            }
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
    (CKM_RSA_AES_KEY_WRAP, "CKM_RSA_AES_KEY_WRAP"),
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

    fn all() -> Vec<Profile> {
        FILES.iter().map(|(name, _)| Profile::of(name, Path::new("/"), &Table::new()).unwrap()).collect()
    }

    #[test]
    fn tables_are_sorted_and_every_profile_can_be_read() {
        assert!(FILES.is_sorted());
        assert!(NAMES.is_sorted_by_key(|(id, _)| *id), "{:x?}", NAMES);
        for profile in all() {
            assert!(profile.sessions > 1 && profile.backoff() >= Duration::from_millis(500), "{}", profile.name);
            for spec in &profile.lacks {
                assert!(crate::model::spec::Spec::by_name(spec).is_some(), "{}: {spec}", profile.name);
            }
            for name in profile.sm.keys() {
                assert!(name.starts_with("CKM_ALIKMS_SM") || name.starts_with("CKK_ALIKMS_SM"), "{name}");
            }
        }
    }

    #[test]
    fn a_profile_is_found_by_its_library_and_changed_by_the_configuration() {
        let of = |name: &str, library: &str, changes: &str| {
            Profile::of(name, Path::new(library), &toml::from_str(changes).unwrap())
        };
        assert_eq!(of(AUTO, "/usr/lib/softhsm/libsofthsm2.so", "").unwrap().name, "softhsm2");
        assert_eq!(of(AUTO, "/opt/libunheard.so", "").unwrap().name, "generic");
        let changed = of("luna", "/", "sessions = 3\nbusy = [5]\n[instead]\nCKM_AES_GCM = [0x8000011c]").unwrap();
        assert_eq!((changed.sessions, changed.gcm_iv), (3, GcmIv::DeviceAppends));
        assert_eq!(changed.class(Failed { call: "", rv: 5 }), Class::Busy);
        assert_eq!(changed.alternatives(CKM_AES_GCM), [0x8000_011c]);
        assert_eq!(changed.alternatives(CKM_AES_KEY_WRAP), [0x8000_0170]);
        for (changes, said) in [
            ("session = 3", "unknown field `session`"),
            ("sessions = true", "[device.override]: invalid type"),
            ("[instead]\nCKM_AES_GCN = [1]", "CKM_AES_GCN"),
            ("without = [\"CKM_AES_GCM\", \"CKM_AES_GCN\"]", "CKM_AES_GCN"),
            ("gcm_iv = \"mine\"", "unknown variant `mine`"),
        ] {
            let error = of("generic", "/", changes).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(of("unheard of", "/", "").unwrap_err().contains("unheard of"));
    }

    #[test]
    fn a_pin_of_the_wrong_form_is_not_sent() {
        let check = |name: &str, pin: &str| {
            let profile = all().into_iter().find(|profile| profile.name == name).unwrap();
            profile.check_pin(pin.as_bytes()).is_ok()
        };
        assert!(check("cloudhsm", "crypto_user:secret") && !check("cloudhsm", "secret") && !check("cloudhsm", "user:"));
        assert!(check("yubihsm2", "0001password") && !check("yubihsm2", "password1234") && !check("yubihsm2", "0001"));
        assert!(check("softhsm2", ""));
    }

    #[test]
    fn a_wrong_pin_is_never_taken_for_a_lost_device() {
        for profile in all() {
            for rv in [CKR_PIN_INCORRECT, CKR_PIN_LOCKED, CKR_PIN_EXPIRED, CKR_PIN_INVALID, CKR_PIN_LEN_RANGE] {
                assert_eq!(profile.class(Failed { call: "C_Login", rv }), Class::Pin, "{}", profile.name);
            }
        }
    }
}
