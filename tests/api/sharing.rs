//! Certificates that two accounts of an installation share (S002): who may, once, and what the receiver can do with them.

use alikms_pkcs11::model::caller::Caller;
use serde_json::Value;

use crate::bed::{Bed, text};
use crate::certificate_list::list;
use crate::common::{ca::Ca, pipe};

at_both_levels! {
    s002_004_042_046_047_a_certificate_is_shared_and_marked
    s002_044_048_it_is_shared_once_and_neither_exported_nor_shared_on
    s002_042_043_045_064_what_cannot_be_shared
    what_the_owner_does_acts_on_the_receivers_next_operation
    the_policies_of_both_accounts_count
    both_accounts_have_it_in_their_trails
    a_revocation_reaches_the_certificate_in_service_and_the_crl
}

/// The other account in the same region.
const RECEIVER: &str = "2000000000000002";

fn authority(bed: &Bed, shareable: bool) -> String {
    let all = [
        ("Subject", "CN=Shared Root,O=Example,C=CN"),
        ("Algorithm", "EC_P256"),
        ("Years", "10"),
        ("ProtectionLevel", bed.level.name()),
        ("Shareable", if shareable { "true" } else { "false" }),
    ];
    text(&bed.ok("CreateRootCACertificate", &all)["Identifier"])
}

fn issue(bed: &Bed, authority: &str, csr: &str) -> (String, String) {
    let all = [("ParentIdentifier", authority), ("Csr", csr), ("Days", "90"), ("Domain", "shared.example")];
    let answer = bed.ok("CreateServerCertificateWithCsr", &all);
    (text(&answer["Identifier"]), text(&answer["X509Certificate"]))
}

/// An ACTIVE certificate that a CA here issued, with a key of its own. Its ID and that of the CA's record.
fn issued(bed: &Bed, authority: &str) -> (String, String) {
    let subject = format!("CN=shared-{},OU=o,O=o,C=CN", uuid::Uuid::new_v4());
    let (id, csr) = crate::certificates::request(bed, &[("Subject", &subject)]);
    let (record, leaf) = issue(bed, authority, &csr);
    bed.ok("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf)]);
    (id, record)
}

fn share(bed: &Bed, id: &str) -> String {
    bed.kms().share_certificate(&Caller::account(), id, RECEIVER).unwrap().to_string()
}

fn sign(bed: &Bed, caller: &Caller, id: &str) -> Result<Value, (u16, &'static str)> {
    let all = [("CertificateId", id), ("Algorithm", "ECDSA_SHA_256"), ("Message", "eA==")];
    bed.run_as(caller, "CertificatePrivateKeySign", &all).map_err(|fault| (fault.status, fault.code))
}

fn line(bed: &Bed, id: &str) -> Option<Value> {
    let subject = text(&bed.ok("DescribeCertificate", &[("CertificateId", id)])["Subject"]);
    // Other tests of this process make certificates of the same subject.
    (1..).map(|page: u32| page.to_string()).find_map(|page| {
        let listed = list(bed, &[("Subject", &subject), ("PageSize", "100"), ("PageNumber", &page)]);
        let found = listed.iter().find(|one| one["CertificateId"] == id).cloned();
        if listed.is_empty() { Some(None) } else { found.map(Some) }
    })?
}

fn s002_004_042_046_047_a_certificate_is_shared_and_marked(bed: &Bed) {
    let other = bed.token("other");
    let ca = authority(bed, true);
    // A key of the certificate's own, and a CMK.
    let (created, _) = issued(bed, &ca);
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&Caller::account(), &key, None, "CN=cmk", &[]).unwrap();
    let (_, leaf) = issue(bed, &ca, &csr);
    let attached = text(&bed.ok("UploadUserCertificate", &[("Cert", &leaf)])["CertId"]);
    for id in [created, attached] {
        let theirs = share(bed, &id);
        assert_ne!(theirs, id, "a certificate of the receiver's");
        let seen = line(&other, &theirs).unwrap();
        let mark = [&seen["Source"], &seen["SharedBy"], &seen["SharedWith"], &seen["Status"]];
        assert_eq!(mark, ["SHARED", crate::common::ACCOUNT, "", "ACTIVE"]);
        let own = line(bed, &id).unwrap();
        assert_eq!([&own["SharedBy"], &own["SharedWith"]], ["", RECEIVER]);
        let of = [("CertificateId", theirs.as_str())];
        let pem = text(&other.ok("GetCertificate", &of)["Certificate"]);
        assert_eq!(pem, text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Certificate"]));
        assert_eq!(other.ok("DescribeCertificate", &of)["ProtectionLevel"], bed.level.name());
        // The receiver's signature is one of the certificate's key.
        let answer = sign(&other, &Caller::account(), &theirs).unwrap();
        let value = text(&answer["SignatureValue"]);
        let all = [("Algorithm", "ECDSA_SHA_256"), ("Message", "eA=="), ("SignatureValue", value.as_str())];
        for (bed, id) in [(&other, &theirs), (bed, &id)] {
            let verdict = bed.ok("CertificatePublicKeyVerify", &[&[("CertificateId", id.as_str())], &all[..]].concat());
            assert_eq!(verdict["SignatureValid"], true);
        }
        // Not by the owner's name for it, and not in another region.
        assert_eq!(sign(&other, &Caller::account(), &id).unwrap_err(), (404, "Certificate.NotFound"));
        assert_eq!(sign(&bed.token("beijing"), &Caller::account(), &theirs).unwrap_err().0, 404);
    }
}

fn s002_044_048_it_is_shared_once_and_neither_exported_nor_shared_on(bed: &Bed) {
    let other = bed.token("other");
    let (id, _) = issued(bed, &authority(bed, true));
    let theirs = share(bed, &id);
    let account = Caller::account();
    for who in [RECEIVER, "3000000000000003"] {
        let said = bed.kms().share_certificate(&account, &id, who).unwrap_err().to_string();
        assert!(said.contains("only once"), "{said}");
    }
    for who in [crate::common::ACCOUNT, "3000000000000003"] {
        let said = other.kms().share_certificate(&account, &theirs, who).unwrap_err().to_string();
        assert!(said.contains("only its owner"), "{said}");
    }
    let of = ("CertificateId", theirs.as_str());
    assert_eq!(other.refused("ExportCertificate", &[of, ("Passphrase", "x")]), (400, "UnsupportedOperation"));
    for status in ["INACTIVE", "ACTIVE", "REVOKED"] {
        let refused = other.refused("UpdateCertificateStatus", &[of, ("Status", status)]);
        assert_eq!(refused, (409, "Rejected.StateModifiedFailed"), "{status}");
    }
    let pem = text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Certificate"]);
    assert_eq!(other.refused("UploadCertificate", &[of, ("Certificate", &pem)]).0, 409);
    // Another certificate in its place would reach the receiver unasked.
    let csr = text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Csr"]);
    let again = Ca::new().sign(&csr);
    let renew = [("CertificateId", id.as_str()), ("Certificate", &again)];
    assert_eq!(bed.refused("UploadCertificate", &renew), (409, "Rejected.StateModifiedFailed"));
    // What the receiver deletes is the receiver's side.
    other.ok("DeleteCertificate", &[of]);
    assert_eq!(other.refused("DescribeCertificate", &[of]), (404, "Certificate.NotFound"));
    sign(bed, &account, &id).unwrap();
    let said = bed.kms().share_certificate(&account, &id, RECEIVER).unwrap_err().to_string();
    assert!(said.contains("only once"), "{said}");
    bed.kms().withdraw_certificate(&account, &id).unwrap();
    assert!(bed.kms().withdraw_certificate(&account, &id).is_err());
    assert!(bed.kms().share_certificate(&account, &id, RECEIVER).is_err(), "not a second time");
    // Withdrawn, it is renewed as any other; what comes then is another certificate.
    bed.ok("UploadCertificate", &renew);
}

fn s002_042_043_045_064_what_cannot_be_shared(bed: &Bed) {
    let account = Caller::account();
    let (shareable, private) = (authority(bed, true), authority(bed, false));
    let refused = |id: &str, who: &str| bed.kms().share_certificate(&account, id, who).unwrap_err().to_string();
    let (good, record) = issued(bed, &shareable);
    // Accounts: another entity's, one's own, one that has no token in this region ("cross-site").
    for (who, reason) in
        [("4000000000000004", "only accounts of this installation"), (crate::common::ACCOUNT, "has the certificate")]
    {
        assert!(refused(&good, who).contains(reason), "{who}");
    }
    let beijing = bed.token("beijing");
    let (ours, _) = issued(&beijing, &authority(&beijing, true));
    let said = beijing.kms().share_certificate(&account, &ours, RECEIVER).unwrap_err().to_string();
    assert!(said.contains("in this region"), "{said}");
    // Sources: issued by another CA, by one that is not shareable; synchronised; uploaded with its key; PENDING; a CA's own.
    let (foreign, _) = crate::certificate_work::active(bed, "EC_P256");
    let (unshareable, _) = issued(bed, &private);
    for id in [&foreign, &unshareable, &shareable] {
        assert!(refused(id, RECEIVER).contains("no shareable CA"), "{id}");
    }
    bed.ok("UploadPcaCertToCas", &[("Ids", &record)]);
    let key = pipe("openssl", &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"], b"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, &key).unwrap();
    let csr = pipe("openssl", &["req", "-new", "-key", path.to_str().unwrap(), "-subj", "/CN=own"], b"");
    let (_, leaf) = issue(bed, &shareable, &String::from_utf8(csr).unwrap());
    let key = String::from_utf8(key).unwrap();
    let uploaded = text(&bed.ok("UploadUserCertificate", &[("Cert", &leaf), ("Key", &key)])["CertId"]);
    for id in [&record, &uploaded] {
        assert!(refused(id, RECEIVER).contains("uploaded, imported or synchronised"), "{id}");
    }
    let (pending, _) = crate::certificates::request(bed, &[]);
    assert!(refused(&pending, RECEIVER).contains("PENDING"));
    bed.ok("UpdateCertificateStatus", &[("CertificateId", &good), ("Status", "INACTIVE")]);
    assert!(refused(&good, RECEIVER).contains("INACTIVE"));
    for id in [good, record, uploaded, foreign, unshareable] {
        assert_eq!(line(bed, &id).unwrap()["SharedWith"], "", "nothing was changed");
    }
}

fn what_the_owner_does_acts_on_the_receivers_next_operation(bed: &Bed) {
    let other = bed.token("other");
    let account = Caller::account();
    let ca = authority(bed, true);
    let status = |theirs: &str| text(&line(&other, theirs).unwrap()["Status"]);
    let works = |theirs: &str| sign(&other, &account, theirs).map(drop);
    let no = Err((409, "Rejected.StateModifiedFailed"));
    let (id, _) = issued(bed, &ca);
    let theirs = share(bed, &id);
    works(&theirs).unwrap();
    let set = |status: &str| bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", status)]);
    set("INACTIVE");
    assert_eq!((works(&theirs), status(&theirs).as_str()), (no, "INACTIVE"));
    set("ACTIVE");
    assert_eq!((works(&theirs), status(&theirs).as_str()), (Ok(()), "ACTIVE"));
    set("REVOKED");
    assert_eq!((works(&theirs), status(&theirs).as_str()), (no, "REVOKED"));
    // Withdrawn, it leaves the receiver's list.
    let (id, _) = issued(bed, &ca);
    let theirs = share(bed, &id);
    works(&theirs).unwrap();
    bed.kms().withdraw_certificate(&account, &id).unwrap();
    assert_eq!(works(&theirs), Err((404, "Certificate.NotFound")));
    // Deleted: the window of ruling 17 is for what its owner deployed.
    let (id, _) = issued(bed, &ca);
    let theirs = share(bed, &id);
    works(&theirs).unwrap();
    bed.ok("DeleteCertificate", &[("CertificateId", &id)]);
    assert_eq!((works(&theirs), status(&theirs).as_str()), (no, "INACTIVE"));
    // The key of a CMK.
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&account, &key, None, "CN=cmk", &[]).unwrap();
    let (_, leaf) = issue(bed, &ca, &csr);
    let id = text(&bed.ok("UploadUserCertificate", &[("Cert", &leaf)])["CertId"]);
    let theirs = share(bed, &id);
    works(&theirs).unwrap();
    bed.ok("DisableKey", &[("KeyId", &key)]);
    assert_eq!((works(&theirs), status(&theirs).as_str()), (no, "INACTIVE"));
    bed.ok("EnableKey", &[("KeyId", &key)]);
    works(&theirs).unwrap();
    bed.ok("ScheduleKeyDeletion", &[("KeyId", &key), ("PendingWindowInDays", "7")]);
    assert_eq!(works(&theirs), no);
}

fn the_policies_of_both_accounts_count(bed: &Bed) {
    let other = bed.token("other");
    let account = Caller::account();
    let ca = authority(bed, true);
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&account, &key, None, "CN=cmk", &[]).unwrap();
    let (_, leaf) = issue(bed, &ca, &csr);
    let theirs = share(bed, &text(&bed.ok("UploadUserCertificate", &[("Cert", &leaf)])["CertId"]));
    // A user of the receiver needs the receiver's permission, on the certificate that the receiver has.
    let name = format!("u{}", uuid::Uuid::new_v4().simple());
    let arn = format!("acs:kms:*:{RECEIVER}:certificate/{theirs}");
    let allow = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"kms:CertificatePrivateKeySign","Resource":"{arn}"}}]}}"#
    );
    other.ok("CreateUser", &[("UserName", &name)]);
    let user = || other.kms().as_user(&name).unwrap();
    let denied = Err((403, "Forbidden.NoPermission"));
    assert_eq!(sign(&other, &user(), &theirs).map(drop), denied);
    other.ok("CreatePolicy", &[("PolicyName", &name), ("PolicyDocument", &allow)]);
    other.ok("AttachPolicyToUser", &[("PolicyName", &name), ("UserName", &name)]);
    sign(&other, &user(), &theirs).unwrap();
    // The owner's key policy: a Deny of the receiver, of one of its users, of the owner itself.
    let policy = |who: &str| {
        format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Principal":{{"RAM":["acs:ram::{}:*"]}},"Action":"kms:*","Resource":"*"}},
               {{"Effect":"Deny","Principal":{{"RAM":["acs:ram::{who}"]}},"Action":"kms:CertificatePrivateKeySign","Resource":"*"}}]}}"#,
            crate::common::ACCOUNT
        )
    };
    let set = |who: &str| {
        bed.ok("SetKeyPolicy", &[("KeyId", &key), ("PolicyName", "default"), ("Policy", &policy(who))]);
        let outcome = |caller: &Caller| sign(&other, caller, &theirs).map(drop);
        (outcome(&account), outcome(&user()))
    };
    assert_eq!(set(&format!("{RECEIVER}:*")), (denied, denied));
    assert_eq!(set(&format!("{RECEIVER}:user/{name}")), (Ok(()), denied));
    assert_eq!(set(&format!("{}:*", crate::common::ACCOUNT)), (denied, denied));
    assert_eq!(set("9000000000000009:*"), (Ok(()), Ok(())));
}

fn both_accounts_have_it_in_their_trails(bed: &Bed) {
    let other = bed.token("other");
    let (id, _) = issued(bed, &authority(bed, true));
    let request = uuid::Uuid::new_v4();
    let caller = Caller::account().within(request);
    let theirs = bed.kms().share_certificate(&caller, &id, RECEIVER).unwrap().to_string();
    bed.kms().withdraw_certificate(&caller, &id).unwrap();
    let rows = |bed: &Bed| -> Vec<(String, String, String)> {
        bed.audit_of(request).into_iter().map(|row| (row.caller, row.action, row.resource)).collect()
    };
    let row = |caller: &str, action: &str, resource: &str| (caller.to_owned(), action.to_owned(), resource.to_owned());
    let (share, withdraw) = ("ShareCertificate", "WithdrawCertificate");
    assert_eq!(rows(bed), [row("account", share, &id), row("account", withdraw, &id)]);
    let owner = format!("{}/account", crate::common::ACCOUNT);
    assert_eq!(rows(&other), [row(&owner, share, &theirs), row(&owner, withdraw, &theirs)]);
}

/// A CA's record of a certificate and the certificate in service are one: what is revoked is revoked in both.
fn a_revocation_reaches_the_certificate_in_service_and_the_crl(bed: &Bed) {
    let ca = authority(bed, false);
    let revoked = || {
        let list = bed.kms().revocation_list(&Caller::account(), &ca).unwrap();
        let said = String::from_utf8(pipe("openssl", &["crl", "-noout", "-text"], list.as_bytes())).unwrap();
        said.matches("Serial Number:").count()
    };
    let (id, record) = issued(bed, &ca);
    bed.ok("CreateRevokeClientCertificate", &[("Identifier", &record)]);
    assert_eq!(bed.ok("DescribeCertificate", &[("CertificateId", &id)])["Status"], "REVOKED");
    assert_eq!(revoked(), 1);
    let (id, record) = issued(bed, &ca);
    bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", "REVOKED")]);
    assert_eq!(bed.ok("DescribeCertificate", &[("CertificateId", &record)])["Status"], "REVOKED");
    assert_eq!(revoked(), 2);
}
