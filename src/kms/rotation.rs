//! Rotation of symmetric keys: due when somebody looks, done by whoever looks first.

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::authorize::Allowed;
use crate::kms::catalogue::refresh_key;
use crate::kms::lifecycle::{Making, state_at};
use crate::kms::use_key::key_state;
use crate::model::caller::Caller;
use crate::model::key::{Key, KeyState, Origin, Style};
use crate::model::time::{DAY, Moment};
use crate::protection::Usages;
use crate::store::Records;

/// Ruling 5: 7 to 730 days.
const INTERVAL: std::ops::RangeInclusive<i64> = 7 * DAY..=730 * DAY;

/// `365d`, `8760h`, `525600m` or `31536000s`, in seconds (ruling 5).
pub fn parse_interval(text: &str) -> Result<i64> {
    let fault = || Error::invalid("RotationInterval", "a number with the unit d, h, m or s, of 7 to 730 days");
    let unit = match text.chars().last() {
        Some('d') => DAY,
        Some('h') => 3600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(fault()),
    };
    let digits = &text[..text.len() - 1];
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(fault());
    }
    let seconds = digits.parse::<i64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(fault)?;
    if INTERVAL.contains(&seconds) { Ok(seconds) } else { Err(fault()) }
}

impl Kms {
    /// Changes the policy; if the next rotation is then in the past, it happens at once (S004-165).
    pub fn update_rotation_policy(&self, caller: &Caller, name: &str, interval: Option<i64>) -> Result<()> {
        self.change_key(caller, "UpdateRotationPolicy", name, |key, state| {
            if state != KeyState::Enabled {
                return Err(key_state(key, state));
            }
            self.check_rotates(key)?;
            key.rotation_interval = interval;
            Ok(())
        })?;
        self.rotate_if_due(caller, name)
    }

    /// Makes the new version of a key whose rotation is due. When many processes look at the same moment exactly one makes
    /// it: the others find it made when they come to store theirs. Nothing if `name` names no such key.
    pub(super) fn rotate_if_due(&self, caller: &Caller, name: &str) -> Result<()> {
        let due = self.store.read(&self.open()?.realm, |r| match self.find_key(r, name) {
            Ok((key, _)) => Ok(self.is_due(r, &key)?.then_some(key)),
            Err(_) => Ok(None),
        })?;
        let Some(key) = due else { return Ok(()) };
        let allowed = Allowed::by_time();
        let making = Making { usages: Usages::of(key.usage, false), value: None, allowed: &allowed };
        let mut beaten = false;
        let made = self.make_version(
            caller,
            "RotateKey",
            &key,
            making,
            |_| Ok(()),
            |r, version, ()| {
                let mut key = r.key(key.id)?.ok_or_else(|| Error::KeyNotFound(key.id.to_string()))?;
                if !self.is_due(r, &key)? {
                    beaten = true;
                    return Err(Error::Internal("another process was first".to_owned()));
                }
                key.primary = Some(version.id);
                r.update_key(&key)?;
                r.insert_version(version)?;
                refresh_key(r, &key, self.now())
            },
        );
        match made {
            Err(_) if beaten => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// A new version is made only while the key is Enabled (S004-167).
    fn is_due(&self, records: &mut Records<'_>, key: &Key) -> Result<bool> {
        let now = self.now();
        if key.rotation_interval.is_none() || state_at(key, now) != Some(KeyState::Enabled) {
            return Ok(false);
        }
        let Some(primary) = key.primary else { return Ok(false) };
        let last = records.version(primary)?.map_or(now, |version| version.created);
        Ok(key.next_rotation(last).is_some_and(|next: Moment| next <= now))
    }

    /// S004-115, S004-170, S004-171: neither asymmetric keys nor imported material nor keys of services rotate; nor do raw keys.
    fn check_rotates(&self, key: &Key) -> Result<()> {
        let fixed = key.origin == Origin::External || key.style == Style::Raw || self.is_service_key(key);
        if !key.spec.family.rotates() || fixed {
            return Err(Error::RejectedUnsupported("this key does not rotate by itself".to_owned()));
        }
        Ok(())
    }
}
