//! Actions of the API: any of them, with parameters of any name and value, some of which name things that are there.

use alikms_pkcs11::api::{ACTIONS, help};
use arbitrary::Unstructured;

use super::world::world;

/// What would end the world that the others need, or takes its time by design.
const LEFT_OUT: &[&str] = &["CreateRootCACertificate"];
/// So many things make no difference to what is found, but to how long it takes.
const MOST: u32 = 2_000;

pub fn run(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(index) = data.int_in_range(0..=ACTIONS.len() - 1) else { return };
    let entry = &ACTIONS[index];
    // Key pairs of RSA and what makes them grow without end.
    static MADE: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let makes = entry.name.starts_with("Create") || entry.name.starts_with("Generate");
    if LEFT_OUT.contains(&entry.name) || makes && MADE.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > MOST {
        return;
    }
    let world = world();
    let mut all: Vec<(String, String)> = Vec::new();
    for parameter in help::parameters(entry) {
        if data.ratio(1, 4).unwrap_or(true) {
            continue;
        }
        let value = match data.int_in_range(0..=3) {
            Ok(0) => data.choose(&world.names).cloned(),
            Ok(1) => data.arbitrary::<&str>().map(str::to_owned),
            Ok(2) => data.arbitrary::<i64>().map(|number| number.to_string()),
            _ => data.arbitrary::<bool>().map(|switch| switch.to_string()),
        };
        let Ok(value) = value else { break };
        all.push((parameter.name, value));
    }
    if let Ok(Some(name)) = data.arbitrary::<Option<&str>>() {
        all.push((name.to_owned(), "x".to_owned()));
    }
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    // A fault of ours, which nothing in a request may cause.
    if let Err(fault) = world.act(entry.name, &all) {
        assert_ne!(fault.status, 500, "{} {all:?}: {fault:?}", entry.name);
    }
}
