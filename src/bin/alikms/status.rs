//! `alikms status`: what is there and what works. It works itself when other things do not, and says which.

use std::process::ExitCode;

use alikms_pkcs11::Error;
use alikms_pkcs11::config::{DeviceConfig, TokenConfig, Unlock};
use alikms_pkcs11::kms::{Kms, Service};
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::protection::hsm::Hsm;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{config, unlock};

pub fn run(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let config = config(line)?;
    output::print(&format!(
        "configuration  {}\nstore          {}\nunlock         {}\n",
        config.path.display(),
        config.store.display(),
        match &config.unlock {
            Unlock::File(path) => format!("file {}", path.display()),
            Unlock::Pin => "PIN".into(),
        }
    ))?;
    let mut sound = true;
    let service = Service::new(config.clone());
    for token in config.tokens.iter().filter(|token| line.option("token").is_none_or(|label| label == token.label)) {
        let (good, text) = match service.token(Some(&token.label)) {
            Ok(kms) => keys(line, kms),
            Err(error) => (false, error.to_string()),
        };
        sound &= good;
        output::print(&format!("\n{}\n  {text}\n", heading(token)))?;
    }
    for device in &config.devices {
        let (good, text) = reach(device);
        sound &= good;
        let DeviceConfig { name, profile, library, .. } = device;
        output::print(&format!("\ndevice {name}: profile {profile}, {}\n  {text}\n", library.display()))?;
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn heading(token: &TokenConfig) -> String {
    let device = match &token.devices[..] {
        [] => "no device".to_owned(),
        [device] => format!("device {device}"),
        several => format!("devices {}", several.join(", ")),
    };
    let TokenConfig { label, account, region, protection_level, .. } = token;
    format!(
        "token {label}: account {account}, region {region}, {device}, generic tools create {} keys",
        protection_level.name()
    )
}

/// Are the keys to be had, how many are there, and does a certificate want attention?
fn keys(line: &Line, kms: &Kms) -> (bool, String) {
    let counted = unlock(line, kms).and_then(|()| {
        let pending = kms.pending_tasks(&Caller::account(), false)?;
        Ok((kms.count_keys()?, pending.len()))
    });
    match counted {
        Ok(((software, hsm), tasks)) => {
            let keys = format!("keys: {hsm} HSM, {software} SOFTWARE");
            // S002-051: who looks at the token is told without asking.
            let tasks = match tasks {
                0 => String::new(),
                _ => format!("\n  certificates that something is to be done about: {tasks}, see `alikms tasks`"),
            };
            (true, keys + &tasks)
        }
        Err(Error::Locked) => (true, "locked: give --pin to see the keys".into()),
        Err(error) => (false, format!("NOT USABLE: {error}")),
    }
}

fn reach(device: &DeviceConfig) -> (bool, String) {
    match Hsm::new(device.clone()).probe() {
        Ok(report) => {
            let text = format!(
                "reachable: token {}, serial {}, {} with firmware {}, {} mechanisms",
                report.token,
                report.serial,
                report.model,
                report.firmware,
                report.mechanisms.len()
            );
            (true, text)
        }
        Err(error) => (false, format!("NOT REACHABLE: {error}")),
    }
}
