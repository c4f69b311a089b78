//! `device`, `devices` and `quorum` of a `[[token]]`.

use toml::Spanned;

use super::super::{DeviceConfig, nearest};
use super::{Source, Text, example};
use crate::error::Result;

/// More devices than anybody has behind one token.
const MOST: usize = 16;

impl Source<'_> {
    /// The devices of a token, and in how many of them a new key must be.
    pub(super) fn members(
        &self,
        device: Text,
        devices: Option<Spanned<Vec<Spanned<String>>>>,
        quorum: Option<Spanned<usize>>,
        known: &[DeviceConfig],
    ) -> Result<(Vec<String>, usize)> {
        let named = match (device, devices) {
            (Some(_), Some(devices)) => {
                return Err(self.fault(devices.span(), "write device or devices, not both".to_owned()));
            }
            (Some(device), None) => vec![device],
            (None, Some(devices)) if !(1..=MOST).contains(&devices.get_ref().len()) => {
                let reason = format!("devices are 1 to {MOST} names: {}", example("devices"));
                return Err(self.fault(devices.span(), reason));
            }
            (None, Some(devices)) => devices.into_inner(),
            (None, None) => Vec::new(),
        };
        let mut members: Vec<String> = Vec::new();
        for device in named {
            let (span, name) = (device.span(), device.into_inner());
            if !known.iter().any(|known| known.name == name) {
                return Err(self.fault(span, unknown_device(&name, known)));
            }
            if members.contains(&name) {
                return Err(self.fault(span, format!("devices names \"{name}\" twice")));
            }
            members.push(name);
        }
        match quorum {
            Some(quorum) if !(1..=members.len()).contains(quorum.get_ref()) => {
                let reason = match members.len() {
                    0 => "quorum belongs to devices: remove it, or add them".to_owned(),
                    count => format!("quorum is 1 to {count}, the number of devices that must have a new key"),
                };
                Err(self.fault(quorum.span(), reason))
            }
            quorum => {
                let quorum = quorum.map_or(members.len(), Spanned::into_inner);
                Ok((members, quorum))
            }
        }
    }
}

fn unknown_device(name: &str, devices: &[DeviceConfig]) -> String {
    let names = || devices.iter().map(|device| device.name.as_str());
    match nearest(name, names()) {
        Some(meant) => format!("no [[device]] has the name \"{name}\": did you mean \"{meant}\"?"),
        None if devices.is_empty() => format!("no [[device]] has the name \"{name}\": add one, or remove this line"),
        None => format!("no [[device]] has the name \"{name}\": there is {}", names().collect::<Vec<_>>().join(", ")),
    }
}
