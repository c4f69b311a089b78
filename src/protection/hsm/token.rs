//! The tokens that a library shows, and the one that the configuration names.

use cryptoki_sys::*;

use super::calls::Answer;
use super::device::Module;
use super::pool::Device;
use crate::config::DeviceConfig;
use crate::error::Result;

/// What a token says of itself, without the padding.
#[derive(Debug, Clone)]
pub struct Token {
    pub label: String,
    pub serial: String,
    pub model: String,
    pub firmware: String,
    pub flags: CK_FLAGS,
    pub max_sessions: CK_ULONG,
}

fn tokens(module: &Module) -> Answer<Vec<(CK_SLOT_ID, Token)>> {
    let slots = module.slots()?;
    Ok(slots.into_iter().filter_map(|slot| Some((slot, Token::new(&module.token_info(slot).ok()?)))).collect())
}

/// Is it what the configuration names?
fn fits(config: &DeviceConfig, slot: CK_SLOT_ID, token: &Token) -> bool {
    config.slot.is_none_or(|wanted| wanted == slot)
        && config.token.as_ref().is_none_or(|wanted| *wanted == token.label)
        && config.serial.as_ref().is_none_or(|wanted| *wanted == token.serial)
}

/// Whether there are tokens, and none of them is the one that the configuration names.
pub fn is_among_others(device: &Device, module: &Module) -> bool {
    let all = tokens(module).unwrap_or_default();
    let is_one = |token: &Token| token.flags & CKF_TOKEN_INITIALIZED != 0;
    all.iter().any(|(_, token)| is_one(token)) && !all.iter().any(|(slot, token)| fits(&device.config, *slot, token))
}

/// The token that the configuration names: all that is given must agree, and only one may.
pub fn choose(device: &Device, module: &Module) -> Result<(CK_SLOT_ID, Token)> {
    let config = &device.config;
    let tokens = tokens(module).map_err(|failed| device.cannot("list its slots", failed))?;
    let mut chosen = tokens.iter().filter(|(slot, token)| fits(config, *slot, token));
    let wanted = [
        config.token.as_ref().map(|label| format!("label \"{label}\"")),
        config.serial.as_ref().map(|serial| format!("serial \"{serial}\"")),
        config.slot.map(|slot| format!("slot {slot}")),
    ];
    let wanted = wanted.into_iter().flatten().collect::<Vec<_>>().join(", ");
    match (chosen.next(), chosen.next()) {
        (Some(_), Some(_)) => {
            Err(device.unavailable(format!("more than one token has {wanted}: tell them apart by `serial` or `slot`")))
        }
        (Some((_, token)), None) if token.flags & CKF_TOKEN_INITIALIZED == 0 => {
            Err(device.unavailable(format!("the token with {wanted} is not initialised")))
        }
        (Some((slot, token)), None) => Ok((*slot, token.clone())),
        (None, _) => {
            let present: Vec<_> = tokens
                .iter()
                .filter(|(_, token)| token.flags & CKF_TOKEN_INITIALIZED != 0)
                .map(|(slot, token)| format!("\"{}\" (serial {}, slot {slot})", token.label, token.serial))
                .collect();
            let present = if present.is_empty() { "none".to_owned() } else { present.join(", ") };
            Err(device.unavailable(format!("there is no token with {wanted}; present: {present}")))
        }
    }
}

impl Token {
    fn new(info: &CK_TOKEN_INFO) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches([' ', '\0']).to_owned();
        Self {
            label: text(&info.label),
            serial: text(&info.serialNumber),
            model: text(&info.model),
            firmware: format!("{}.{}", info.firmwareVersion.major, info.firmwareVersion.minor),
            flags: info.flags,
            max_sessions: info.ulMaxRwSessionCount,
        }
    }
}
