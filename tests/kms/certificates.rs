//! What time does to certificates.

use alikms_pkcs11::kms::certificate::tasks::Quota;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::model::time::Moment;

use super::common::ca::Ca;
use super::{World, text};

/// A world of today, an hour ahead: openssl's certificates are valid already.
pub fn today(level: Level) -> World {
    let world = World::new(level);
    world.now.store(Moment::now().0 + 3600, std::sync::atomic::Ordering::SeqCst);
    world
}

/// An ACTIVE certificate.
pub fn active(world: &World, level: Level) -> String {
    let parameters = [("KeySpec", "EC_P256"), ("Subject", "CN=a,OU=b,O=c,C=CN"), ("ProtectionLevel", level.name())];
    let made = world.done("CreateCertificate", &parameters);
    let id = text(&made, "/CertificateId");
    let leaf = Ca::new().sign(&text(&made, "/Csr"));
    world.done("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf)]);
    id
}

/// S002-036: after the window there is nothing left, on the device neither.
#[test]
fn s002_036_a_deleted_certificate_is_gone_for_good() {
    for level in [Level::Software, Level::Hsm] {
        let world = today(level);
        let kms = world.kms();
        let devices = || kms.device().map_or(0, |device| device.ids().unwrap().len());
        let kept = active(&world, level);
        let before = devices();
        let id = active(&world, level);
        world.done("DeleteCertificate", &[("CertificateId", &id)]);
        world.pass_days(29);
        assert_eq!(kms.maintain(&Caller::account()).unwrap(), [""; 0]);
        world.pass_days(1);
        let said = format!("deleted certificate {id} with its key, whose deletion window ended");
        assert_eq!(kms.maintain(&Caller::account()).unwrap(), [said]);
        assert_eq!(devices(), before);
        assert_eq!(kms.maintain(&Caller::account()).unwrap(), [""; 0]);
        assert_eq!(kms.check(&Caller::account()).unwrap(), []);
        world.done("DescribeCertificate", &[("CertificateId", &kept)]);
    }
}

/// A permission on the certificate is what its key needs, and it is for one action.
#[test]
fn ram_users_use_certificates_by_their_permission() {
    let world = today(Level::Software);
    let (mine, other) = (active(&world, Level::Software), active(&world, Level::Software));
    let resource = format!("acs:kms:cn-hangzhou:{}:certificate/{mine}", super::common::ACCOUNT);
    let document = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"kms:CertificatePrivateKeySign","Resource":"{resource}"}}]}}"#
    );
    world.done("CreateUser", &[("UserName", "alice")]);
    world.done("CreatePolicy", &[("PolicyName", "signs"), ("PolicyDocument", &document)]);
    world.done("AttachPolicyToUser", &[("UserName", "alice"), ("PolicyName", "signs"), ("PolicyType", "Custom")]);
    let alice = world.kms().as_user("alice").unwrap();
    let sign = |id: &str| {
        let all = [("CertificateId", id), ("Algorithm", "ECDSA_SHA_256"), ("Message", "eA==")];
        world.run_as(&alice, "CertificatePrivateKeySign", &all).map(drop).map_err(|fault| fault.status)
    };
    assert_eq!((sign(&mine), sign(&other)), (Ok(()), Err(403)));
    for (action, more) in [("DeleteCertificate", vec![]), ("ExportCertificate", vec![("Passphrase", "x")])] {
        let all = [&[("CertificateId", mine.as_str())][..], &more].concat();
        assert_eq!(world.run_as(&alice, action, &all).unwrap_err().status, 403, "{action}");
    }
    assert_eq!(world.run_as(&alice, "ListCertificates", &[]).unwrap_err().status, 403);
}

/// What `alikms tasks` shows of a certificate.
fn tasks(world: &World, id: &str, all: bool) -> Vec<&'static str> {
    let pending = world.kms().pending_tasks(&Caller::account(), all).unwrap();
    let mine = pending.iter().find(|pending| pending.certificate.id.to_string() == id);
    mine.map(|mine| mine.tasks.iter().map(|task| task.name()).collect()).unwrap_or_default()
}

#[test]
fn s002_050_052_053_055_060_pending_tasks() {
    let world = today(Level::Software);
    let (kms, caller) = (world.kms(), &Caller::account());
    // Valid for 10 days, so that it is to be renewed at once.
    let (id, other) = (active(&world, Level::Software), active(&world, Level::Software));
    assert_eq!(tasks(&world, &id, false), ["ToBeRenewed", "NoDeployment", "NotificationDisabled"]);
    assert_eq!(kms.reminders_due(caller).unwrap().len(), 0, "nobody asked for it");
    // In bulk: all that exist, or those named; a wrong one among them changes none.
    let nobody = uuid::Uuid::new_v4().to_string();
    assert!(kms.set_notification(caller, &[&id, &nobody], true).is_err());
    assert_eq!(kms.set_notification(caller, &[&id], true).unwrap(), 1);
    assert_eq!(tasks(&world, &id, false), ["ToBeRenewed", "NoDeployment"]);
    assert_eq!(kms.set_notification(caller, &[], true).unwrap(), 1);
    kms.record_deployment(caller, id.parse().unwrap(), "/srv/web").unwrap();
    assert_eq!(tasks(&world, &id, false), ["ToBeRenewed"]);
    // Reminders: once, and again after 7 days.
    assert_eq!(kms.reminders_due(caller).unwrap().len(), 2);
    kms.record_reminder(caller, &id).unwrap();
    kms.record_reminder(caller, &other).unwrap();
    assert_eq!(kms.reminders_due(caller).unwrap().len(), 0);
    assert_eq!(kms.snooze_tasks(caller).unwrap(), 2);
    assert_eq!((tasks(&world, &id, false).len(), tasks(&world, &id, true).len()), (0, 1));
    world.pass_days(6);
    assert_eq!(tasks(&world, &id, false).len(), 0);
    let third = active_from(&world, Level::Software);
    assert_eq!(tasks(&world, &third, false).len(), 3, "it was not there when the others were snoozed");
    world.pass_days(1);
    assert_eq!(tasks(&world, &id, false), ["ToBeRenewed"]);
    assert_eq!(kms.reminders_due(caller).unwrap().len(), 2);
    world.pass_days(3);
    assert_eq!(tasks(&world, &id, false), ["Expired"]);
    // INACTIVE ones are nobody's task.
    world.done("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", "INACTIVE")]);
    assert_eq!(tasks(&world, &id, true), [""; 0]);
}

/// What is in use counts: who turns reminders off, or a certificate inactive, makes room.
#[test]
fn s002_050_054_reminders_have_a_quota() {
    let world = World::with(Level::Software, "notifications = 2\n");
    let (kms, caller) = (world.kms(), &Caller::account());
    world.now.store(Moment::now().0 + 3600, std::sync::atomic::Ordering::SeqCst);
    let ids: Vec<String> = (0..3).map(|_| active(&world, Level::Software)).collect();
    let quota = |remaining, required| {
        assert_eq!(kms.notification_quota(caller).unwrap(), Some(Quota { remaining, required }));
    };
    quota(2, 3);
    let refused = |ids: &[&str]| kms.set_notification(caller, ids, true).unwrap_err().to_string();
    let sentence = "the notification quota is insufficient: 3 needed, 2 of 2 left";
    assert!(refused(&[]).contains(sentence), "{}", refused(&[]));
    quota(2, 3);
    assert_eq!(kms.set_notification(caller, &[&ids[0], &ids[1]], true).unwrap(), 2);
    quota(0, 1);
    assert!(refused(&[&ids[2]]).contains("1 needed, 0 of 2 left"));
    assert_eq!(kms.set_notification(caller, &[&ids[0]], true).unwrap(), 0, "it has them already");
    assert_eq!(kms.set_notification(caller, &[&ids[0]], false).unwrap(), 1);
    world.done("UpdateCertificateStatus", &[("CertificateId", &ids[1]), ("Status", "INACTIVE")]);
    quota(2, 2);
    assert_eq!(kms.set_notification(caller, &[], true).unwrap(), 2);
    assert_eq!(today(Level::Software).kms().notification_quota(caller).unwrap(), None);
}

/// The same as [`active`], with other names.
fn active_from(world: &World, level: Level) -> String {
    let parameters = [("KeySpec", "EC_P256"), ("Subject", "CN=x,OU=b,O=c,C=CN"), ("ProtectionLevel", level.name())];
    let made = world.done("CreateCertificate", &parameters);
    let id = text(&made, "/CertificateId");
    let leaf = Ca::new().sign(&text(&made, "/Csr"));
    world.done("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf)]);
    id
}

/// A CA with as many years as the one above it, made an hour earlier, ends with that one; a day too long is refused.
#[test]
fn an_authority_ends_with_the_one_above_it() {
    let world = today(Level::Software);
    let root = |years: &str| {
        let all = [("Subject", "CN=r"), ("Algorithm", "EC_P256"), ("Years", years)];
        text(&world.done("CreateRootCACertificate", &all), "/Identifier")
    };
    let five = root("5");
    world.now.fetch_add(3600, std::sync::atomic::Ordering::SeqCst);
    let all = [("ParentIdentifier", five.as_str()), ("Subject", "CN=s"), ("Algorithm", "EC_P256"), ("Years", "5")];
    let below = text(&world.done("CreateSubCACertificate", &all), "/Identifier");
    let end = |id: &str| text(&world.done("DescribeCertificate", &[("CertificateId", id)]), "/NotAfter");
    assert_eq!(end(&five), end(&below));
    world.pass_days(1);
    assert_eq!(world.refused("CreateSubCACertificate", &all), "InvalidParameter");
}

/// A longer-lived certificate for the same names takes the task away; a deployment moves to the newer one.
#[test]
fn s002_055_a_renewed_certificate_is_no_task() {
    let world = today(Level::Software);
    let (kms, caller) = (world.kms(), &Caller::account());
    let old = active(&world, Level::Software);
    kms.record_deployment(caller, old.parse().unwrap(), "/srv/web").unwrap();
    assert!(tasks(&world, &old, false).contains(&"ToBeRenewed"));
    let parameters = [("KeySpec", "EC_P256"), ("Subject", "CN=a,OU=b,O=c,C=CN")];
    let made = world.done("CreateCertificate", &parameters);
    let new = text(&made, "/CertificateId");
    let (from, until) = ("20260101000000Z", "20900101000000Z");
    let leaf = Ca::new().sign_between(&text(&made, "/Csr"), from, until);
    world.done("UploadCertificate", &[("CertificateId", &new), ("Certificate", &leaf)]);
    // sign_between keeps the common name only: the list compares what was asked for.
    assert_eq!(tasks(&world, &old, true), [""; 0]);
    kms.record_deployment(caller, new.parse().unwrap(), "/srv/web").unwrap();
    assert_eq!(tasks(&world, &new, true), ["NotificationDisabled"]);
}
