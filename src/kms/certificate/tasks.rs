//! What is to be done about certificates: those that expire, are deployed nowhere, or of which nobody would be told
//! (S002-050).

use crate::error::{Error, Result};
use crate::kms::Kms;
use crate::kms::catalogue::is_shown;
use crate::model::caller::Caller;
use crate::model::certificate::{Certificate, Source};
use crate::model::time::{DAY, Moment};
use crate::store::Records;

/// Renewal is due so many days before the end (S002-060).
const RENEWAL_DAYS: i64 = 30;
/// "Do not remind me again for 7 days" (S002-052); a reminder is repeated after as many.
const SNOOZE_DAYS: i64 = 7;
/// S002-056: longer than a year, which may have 366 days.
const LONG_DAYS: i64 = 366;

/// How far a certificate is from its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    Expired,
    ToBeRenewed,
    Valid,
}

impl Expiry {
    pub fn of(certificate: &Certificate, now: Moment) -> Option<Self> {
        let end = certificate.not_after?;
        Some(match end {
            end if end <= now => Self::Expired,
            end if end <= now.plus_days(RENEWAL_DAYS) => Self::ToBeRenewed,
            _ => Self::Valid,
        })
    }

    /// As lists show it (kms-api §4).
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "EXPIRED",
            Self::ToBeRenewed => "WILLEXPIRED",
            Self::Valid => "ISSUED",
        }
    }
}

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Expired,
    NoDeployment,
    NotificationDisabled,
    ToBeRenewed,
}

impl Task {
    pub fn name(self) -> &'static str {
        match self {
            Self::Expired => "Expired",
            Self::NoDeployment => "NoDeployment",
            Self::NotificationDisabled => "NotificationDisabled",
            Self::ToBeRenewed => "ToBeRenewed",
        }
    }
}

/// A certificate with what is to be done about it.
#[derive(Debug, Clone)]
pub struct Pending {
    pub certificate: Certificate,
    pub tasks: Vec<Task>,
}

/// How many certificates more may have reminders (S002-050, 054).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub remaining: usize,
    /// As many have none.
    pub required: usize,
}

/// S002-056: a certificate of a private CA that is valid for longer than a year.
pub fn is_leakage_risk(certificate: &Certificate) -> bool {
    let length = certificate.not_after.zip(certificate.not_before).map(|(end, begin)| end.0.saturating_sub(begin.0));
    let private = matches!(certificate.source, Source::PrivateCa | Source::Shared) || certificate.issued_by.is_some();
    private && length.is_some_and(|length| length > LONG_DAYS * DAY)
}

/// Has another certificate, with the same names or key, taken its place (S002-055)?
fn is_renewed(certificate: &Certificate, all: &[Certificate], now: Moment) -> bool {
    all.iter().any(|other| {
        let same_key = other.key.is_some() && other.key == certificate.key;
        let same_names =
            other.subject == certificate.subject && other.alternative_names == certificate.alternative_names;
        other.id != certificate.id
            && is_shown(other)
            && other.beside == certificate.beside
            && (same_key || same_names)
            && Expiry::of(other, now) == Some(Expiry::Valid)
    })
}

fn tasks_of(certificate: &Certificate, all: &[Certificate], now: Moment) -> Vec<Task> {
    let mut tasks = Vec::new();
    if is_renewed(certificate, all, now) {
        return tasks;
    }
    match Expiry::of(certificate, now) {
        Some(Expiry::Expired) => tasks.push(Task::Expired),
        Some(Expiry::ToBeRenewed) => tasks.push(Task::ToBeRenewed),
        Some(Expiry::Valid) | None => {}
    }
    if certificate.key.is_some() && certificate.beside.is_none() && certificate.deployments.is_empty() {
        tasks.push(Task::NoDeployment);
    }
    if !certificate.notify {
        tasks.push(Task::NotificationDisabled);
    }
    tasks
}

impl Kms {
    /// Those that are in use, oldest first; snoozed ones only if they are asked for.
    pub fn pending_tasks(&self, caller: &Caller, with_snoozed: bool) -> Result<Vec<Pending>> {
        let _allowed = self.authorize(caller, "ListCertificates", &self.realm.container("certificate"))?;
        let now = self.now();
        let all = self.store.read(&self.open()?.realm, |r| self.all_certificates(r))?;
        let awake = |it: &&Certificate| with_snoozed || it.snoozed_until.is_none_or(|until| until <= now);
        let pending = all
            .iter()
            .filter(|it| is_shown(it))
            .filter(awake)
            .map(|certificate| Pending { certificate: certificate.clone(), tasks: tasks_of(certificate, &all, now) });
        Ok(pending.filter(|pending| !pending.tasks.is_empty()).collect())
    }

    /// Says nothing of the present tasks for 7 days (S002-052). How many certificates that concerns.
    pub fn snooze_tasks(&self, caller: &Caller) -> Result<usize> {
        const ACTION: &str = "SnoozeTasks";
        let pending = self.pending_tasks(caller, false)?;
        let until = self.now().plus_days(SNOOZE_DAYS);
        let audit = self.audit(caller, ACTION, self.realm.container("certificate"));
        self.store.write(&self.open()?.realm, &audit, |r| {
            let _allowed = self.authorize(caller, ACTION, &self.realm.container("certificate"))?;
            for Pending { certificate, .. } in &pending {
                let Some(mut certificate) = r.certificate(certificate.id)? else { continue };
                certificate.snoozed_until = Some(until);
                r.update_certificate(&certificate)?;
            }
            Ok(())
        })?;
        Ok(pending.len())
    }

    /// `None` if the configuration sets no `notifications`.
    pub fn notification_quota(&self, caller: &Caller) -> Result<Option<Quota>> {
        let _allowed = self.authorize(caller, "ListCertificates", &self.realm.container("certificate"))?;
        let Some(remaining) = self.store.read(&self.open()?.realm, |r| self.notifications_left(r))? else {
            return Ok(None);
        };
        let pending = self.pending_tasks(caller, true)?;
        let required = pending.iter().filter(|pending| pending.tasks.contains(&Task::NotificationDisabled)).count();
        Ok(Some(Quota { remaining, required }))
    }

    /// How many certificates more may have reminders; `None`: as many as there are.
    fn notifications_left(&self, records: &mut Records<'_>) -> Result<Option<usize>> {
        let Some(most) = self.config.notifications else { return Ok(None) };
        let all = self.all_certificates(records)?;
        let notified = all.iter().filter(|it| is_shown(it) && it.notify).count();
        Ok(Some((most as usize).saturating_sub(notified)))
    }

    /// Switches reminders for one or many certificates (S002-053); without any, for all. All or none. How many were
    /// switched.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] if more certificates in use would have reminders than `notifications` allows (S002-054).
    pub fn set_notification(&self, caller: &Caller, ids: &[&str], on: bool) -> Result<usize> {
        const ACTION: &str = "SetCertificateNotification";
        let audit = self.audit(caller, ACTION, ids.join(","));
        self.store.write(&self.open()?.realm, &audit, |r| {
            let chosen: Vec<Certificate> = match ids {
                [] => self.all_certificates(r)?.into_iter().filter(is_shown).collect(),
                ids => ids.iter().map(|id| self.find_certificate(r, id)).collect::<Result<_>>()?,
            };
            let mut switched = 0;
            let needed = chosen.iter().filter(|it| is_shown(it) && !it.notify).count();
            if let Some(left) = self.notifications_left(r)?.filter(|left| on && needed > *left) {
                let most = self.config.notifications.unwrap_or_default();
                return Err(Error::LimitExceeded(format!(
                    "the notification quota is insufficient: {needed} needed, {left} of {most} left"
                )));
            }
            for mut certificate in chosen {
                let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
                if certificate.notify != on {
                    certificate.notify = on;
                    r.update_certificate(&certificate)?;
                    switched += 1;
                }
            }
            Ok(switched)
        })
    }

    /// Of which certificates somebody is to be told now: reminders are on, the end is near, and it was not told within
    /// 7 days.
    pub fn reminders_due(&self, caller: &Caller) -> Result<Vec<Certificate>> {
        let now = self.now();
        let due = |pending: Pending| {
            let near = pending.tasks.iter().any(|task| matches!(task, Task::Expired | Task::ToBeRenewed));
            let quiet = pending.certificate.reminded.is_some_and(|at| now < at.plus_days(SNOOZE_DAYS));
            (near && pending.certificate.notify && !quiet).then_some(pending.certificate)
        };
        Ok(self.pending_tasks(caller, true)?.into_iter().filter_map(due).collect())
    }

    /// Remembers that somebody was told.
    pub fn record_reminder(&self, caller: &Caller, id: &str) -> Result<()> {
        const ACTION: &str = "RemindOfCertificate";
        let audit = self.audit(caller, ACTION, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, ACTION, &self.realm.certificate_arn(certificate.id))?;
            certificate.reminded = Some(self.now());
            r.update_certificate(&certificate)
        })
    }

    /// Whole days until the end; negative when it is past.
    pub fn days_left(&self, certificate: &Certificate) -> Option<i64> {
        certificate.not_after.map(|end| end.0.saturating_sub(self.now().0).div_euclid(DAY))
    }

    /// Adds tags, and takes away those named.
    pub fn tag_certificate(
        &self,
        caller: &Caller,
        action: &'static str,
        id: &str,
        add: &std::collections::BTreeMap<String, String>,
        remove: &[String],
    ) -> Result<()> {
        let audit = self.audit(caller, action, id);
        self.store.write(&self.open()?.realm, &audit, |r| {
            let mut certificate = self.find_certificate(r, id)?;
            let _allowed = self.authorize(caller, action, &self.realm.certificate_arn(certificate.id))?;
            let before = certificate.tags.len();
            certificate.tags.retain(|name, _| !remove.contains(name));
            certificate.tags.extend(add.iter().map(|(name, value)| (name.clone(), value.clone())));
            crate::kms::tags::check_count(certificate.tags.len(), super::carry::MAX_TAGS.max(before))?;
            certificate.updated = self.now();
            r.update_certificate(&certificate)
        })
    }
}
