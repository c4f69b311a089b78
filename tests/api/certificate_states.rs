//! UpdateCertificateStatus: PENDING → ACTIVE ↔ INACTIVE → REVOKED, and what each means for the certificate's key.

use crate::bed::{Bed, text};
use crate::certificates::request;
use crate::common::ca::Ca;

at_both_levels! {
    s000_023_024_before_the_upload_nothing_can_be_changed
    active_and_inactive_by_all_their_names
    revoked_is_final
    a_renewed_certificate_takes_the_place_of_the_old_one
    the_key_of_a_certificate_is_no_cmk
}

fn status(bed: &Bed, id: &str) -> String {
    text(&bed.ok("DescribeCertificate", &[("CertificateId", id)])["Status"])
}

/// An ACTIVE certificate.
fn active(bed: &Bed, ca: &Ca) -> String {
    let (id, csr) = request(bed, &[]);
    bed.ok("UploadCertificate", &[("CertificateId", &id), ("Certificate", &ca.sign(&csr))]);
    id
}

fn s000_023_024_before_the_upload_nothing_can_be_changed(bed: &Bed) {
    let (id, _) = request(bed, &[]);
    for to in ["ACTIVE", "INACTIVE", "REVOKED"] {
        let refused = bed.refused("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
        assert_eq!(refused, (409, "Rejected.StateModifiedFailed"), "{to}");
    }
    assert_eq!(status(bed, &id), "PENDING");
}

fn active_and_inactive_by_all_their_names(bed: &Bed) {
    let id = active(bed, &Ca::new());
    assert_eq!(status(bed, &id), "ACTIVE");
    for (to, is) in [
        ("INACTIVE", "INACTIVE"),
        ("ACTIVE", "ACTIVE"),
        ("DISABLE", "INACTIVE"),
        ("ACTIVE", "ACTIVE"),
        ("ACTIVE", "ACTIVE"),
        ("DISABLED", "INACTIVE"),
        ("INACTIVE", "INACTIVE"),
    ] {
        bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
        assert_eq!(status(bed, &id), is, "{to}");
    }
    for to in ["PENDING", "active", "", "DELETED"] {
        let refused = bed.refused("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
        assert_eq!(refused, (400, "InvalidParameter"), "{to}");
    }
    let nobody = uuid::Uuid::new_v4().to_string();
    let refused = bed.refused("UpdateCertificateStatus", &[("CertificateId", &nobody), ("Status", "ACTIVE")]);
    assert_eq!(refused, (404, "Certificate.NotFound"));
}

fn revoked_is_final(bed: &Bed) {
    let ca = Ca::new();
    for from in ["ACTIVE", "INACTIVE"] {
        let (id, csr) = request(bed, &[]);
        let leaf = ca.sign(&csr);
        let upload = [("CertificateId", id.as_str()), ("Certificate", leaf.as_str())];
        bed.ok("UploadCertificate", &upload);
        for to in [from, "REVOKED"] {
            bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
        }
        for to in ["ACTIVE", "INACTIVE", "REVOKED"] {
            let refused = bed.refused("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", to)]);
            assert_eq!(refused, (409, "Rejected.StateModifiedFailed"), "{to}");
        }
        assert_eq!(bed.refused("UploadCertificate", &upload), (409, "Rejected.StateModifiedFailed"));
        assert_eq!(status(bed, &id), "REVOKED");
        // It can still be looked at.
        assert_eq!(text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Certificate"]), leaf);
    }
}

/// S000-021: into the existing entry.
fn a_renewed_certificate_takes_the_place_of_the_old_one(bed: &Bed) {
    let ca = Ca::new();
    let (id, csr) = request(bed, &[]);
    let (old, new) = (ca.sign(&csr), ca.sign(&csr));
    assert_ne!(old, new);
    for leaf in [&old, &new] {
        bed.ok(
            "UploadCertificate",
            &[("CertificateId", &id), ("Certificate", leaf), ("CertificateChain", &ca.chain())],
        );
        assert_eq!(text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Certificate"]), *leaf);
    }
}

fn the_key_of_a_certificate_is_no_cmk(bed: &Bed) {
    let id = active(bed, &Ca::new());
    for action in ["DescribeKey", "ListKeyVersions", "ScheduleKeyDeletion"] {
        assert_eq!(bed.refused(action, &[("KeyId", &id)]), (404, "Forbidden.KeyNotFound"), "{action}");
    }
}
