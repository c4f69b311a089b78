//! The verbs that keep certificates from expiring unnoticed: tasks, notify, remind.

use std::process::{Command, ExitCode};

use alikms_pkcs11::kms::certificate::tasks::Quota;
use serde_json::{Value, json};

use crate::args::Line;
use crate::output::{self, Stop};
use crate::{caller, manage, open};

/// `alikms tasks`: JSON; with --snooze nothing is said of them for 7 days.
pub fn tasks(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    if line.option("snooze").is_some() {
        let count = manage(line, &kms, ("SnoozeTasks", ""), |caller| kms.snooze_tasks(caller))?;
        return output::print(&format!("nothing is said of {count} certificates for 7 days\n"))
            .map(|()| ExitCode::SUCCESS);
    }
    let pending =
        manage(line, &kms, ("ListCertificates", ""), |caller| kms.pending_tasks(caller, line.option("all").is_some()))?;
    let tasks: Vec<Value> = pending
        .iter()
        .map(|pending| {
            let names: Vec<&str> = pending.tasks.iter().map(|task| task.name()).collect();
            json!({
                "CertificateId": pending.certificate.id,
                "DaysLeft": kms.days_left(&pending.certificate),
                "Name": pending.certificate.name,
                "Subject": pending.certificate.subject,
                "Tasks": names,
            })
        })
        .collect();
    let mut answer = json!({ "PendingTasks": tasks });
    if let Some(Quota { remaining, required }) = kms.notification_quota(&caller(line, &kms)?)? {
        answer["NotificationQuota"] = json!({ "Remaining": remaining, "Required": required });
    }
    output::answer(&answer, line.option("query")).map(|()| ExitCode::SUCCESS)
}

/// `alikms notify on|off`.
pub fn notify(line: &Line, words: &[&str]) -> Result<ExitCode, Stop> {
    let on = match words.first() {
        Some(&"on") => true,
        Some(&"off") => false,
        _ => return Err(Stop::usage("on or off is expected")),
    };
    let ids: Vec<&str> =
        line.option("CertificateId").map(|list| list.split(',').map(str::trim).collect()).unwrap_or_default();
    if ids.is_empty() && line.option("all").is_none() {
        return Err(Stop::usage("give --CertificateId, or --all"));
    }
    let kms = open(line)?;
    let count = manage(line, &kms, ("SetNotification", ""), |caller| kms.set_notification(caller, &ids, on))?;
    let state = if on { "on" } else { "off" };
    output::print(&format!("reminders of {count} certificates are {state} now\n")).map(|()| ExitCode::SUCCESS)
}

/// `alikms remind`: runs the command once for each certificate; what was not delivered is due again.
pub fn remind(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let kms = open(line)?;
    let caller = caller(line, &kms)?;
    let hook = line.option("hook").unwrap_or_default();
    let (mut told, mut failed) = (0, 0);
    for certificate in manage(line, &kms, ("Remind", ""), |caller| kms.reminders_due(caller))? {
        let id = certificate.id.to_string();
        let date = certificate.not_after.map(|at| at.to_string()).unwrap_or_default();
        let days = kms.days_left(&certificate).unwrap_or_default();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", hook]).env("ALIKMS_CERTIFICATE_ID", &id).env("ALIKMS_NOT_AFTER", date);
        command.env("ALIKMS_NAME", &certificate.name).env("ALIKMS_SUBJECT", &certificate.subject);
        match command.env("ALIKMS_DAYS_LEFT", days.to_string()).status() {
            Ok(status) if status.success() => {
                kms.record_reminder(&caller, &id)?;
                told += 1;
            }
            _ => failed += 1,
        }
    }
    output::print(&format!("{told} reminders delivered, {failed} failed\n"))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
