//! The verbs that look after a store: audit, check, maintain.

use std::process::ExitCode;

use alikms_pkcs11::error::Error;
use alikms_pkcs11::kms::maintain::Finding;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::time::Moment;
use alikms_pkcs11::store::LOST_USES;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{manage, open, open_each};

/// The audit trail is printed in pieces of about so many bytes.
const CHUNK: usize = 64 * 1024;

/// `alikms maintain`: of every token unless one is named.
pub fn maintain(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let mut done = Vec::new();
    for kms in open_each(line)? {
        done.extend(manage(line, &kms, ("Maintain", ""), |caller| kms.maintain(caller))?);
    }
    let said = if done.is_empty() { "nothing is due\n".to_owned() } else { lines(&done) };
    output::print(&said).map(|()| ExitCode::SUCCESS)
}

/// `alikms check`: status 1 if something is wrong that was not repaired.
pub fn check(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    let findings = manage(line, &kms, ("Check", ""), |caller| kms.check(caller))?;
    tell(&findings, "repaired")
}

/// `alikms devices sync`: of every token with several devices unless one is named; status 1 if a device is not up to date.
pub fn devices(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    if words != ["sync"] {
        return Err(Stop::usage("what is to be done with the devices? `alikms devices sync`".to_owned()));
    }
    let mut findings = Vec::new();
    for kms in open_each(line)? {
        findings.extend(manage(line, &kms, ("SyncDevices", ""), |caller| kms.sync_devices(caller))?);
    }
    tell(&findings, "done")
}

fn tell(findings: &[Finding], repaired: &str) -> Result<ExitCode, Stop> {
    if findings.is_empty() {
        return output::print("everything is in order\n").map(|()| ExitCode::SUCCESS);
    }
    let said: Vec<String> = findings
        .iter()
        .map(|finding| format!("{}: {}", if finding.repaired { repaired } else { "wrong" }, finding.what))
        .collect();
    output::print(&lines(&said))?;
    Ok(if findings.iter().all(|finding| finding.repaired) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `alikms audit`: one JSON object a line, oldest first; with --verify only how many lines there are, and what they say
/// was lost.
pub fn audit(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let since = match line.option("since") {
        None => Moment(i64::MIN),
        Some(text) => OffsetDateTime::parse(text, &Rfc3339)
            .map(|at| Moment(at.unix_timestamp()))
            .map_err(|_| Stop::usage(format!("--since {text}: write it like 2026-11-21T13:14:15Z")))?,
    };
    let verify = line.option("verify").is_some();
    // Printed as it is read: a trail may be larger than the memory.
    let (mut out, mut stopped, mut lost) = (String::new(), None, 0_u64);
    let kms = open(line)?;
    let read = |caller: &Caller| {
        kms.audit_trail(caller, since, |row| {
            lost += u64::from(row.action == LOST_USES);
            if !verify {
                let row = serde_json::to_string(row).map_err(|error| Error::Internal(error.to_string()))?;
                out.push_str(&row);
                out.push('\n');
            }
            if out.len() < CHUNK {
                return Ok(());
            }
            output::print(&std::mem::take(&mut out)).map_err(|stop| {
                stopped = Some(stop);
                Error::Internal("the reader went away".to_owned())
            })
        })
    };
    let read = manage(line, &kms, ("ReadAudit", ""), read);
    if let Some(stop) = stopped {
        return Err(stop);
    }
    // What was read before a break in the chain is shown all the same.
    output::print(&out)?;
    let count = read?;
    if verify {
        output::print(&format!("the audit trail is whole: {count} lines\n"))?;
        if lost > 0 {
            output::print(&format!("it tells of {lost} files of uses that were lost (CarryUses)\n"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lines(said: &[String]) -> String {
    said.iter().map(|line| format!("{line}\n")).collect()
}
