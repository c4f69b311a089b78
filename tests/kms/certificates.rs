//! What time does to certificates.

use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::model::time::Moment;

use super::common::ca::Ca;
use super::{World, text};

/// A world of today: openssl's certificates are valid from now on.
pub fn today(level: Level) -> World {
    let world = World::new(level);
    world.now.store(Moment::now().0, std::sync::atomic::Ordering::SeqCst);
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
