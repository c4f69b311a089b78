//! The numbers of users and groups.

use std::process::Command;

use crate::output::Stop;

/// The number of a group: as it stands, from /etc/group, or from whatever else `getent` asks (LDAP and the like).
pub fn group(name: &str) -> Result<u32, Stop> {
    find("group", "/etc/group", name).ok_or_else(|| Stop::usage(format!("there is no group '{name}'")))
}

/// The number of a user, likewise.
pub fn user(name: &str) -> Result<u32, Stop> {
    find("passwd", "/etc/passwd", name).ok_or_else(|| Stop::usage(format!("there is no user '{name}'")))
}

/// In both lists the number is the third field of a line.
fn find(database: &str, file: &str, name: &str) -> Option<u32> {
    if let Ok(number) = name.parse() {
        return Some(number);
    }
    let number = |list: &str| {
        list.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        })
    };
    let local = std::fs::read_to_string(file).ok();
    local.as_deref().and_then(number).or_else(|| {
        let answer = Command::new("getent").args([database, "--", name]).output().ok()?;
        number(&String::from_utf8_lossy(&answer.stdout))
    })
}
