//! ListCertificates, DeleteCertificate, ExportCertificate, ImportCertificate.

use serde_json::Value;

use crate::bed::{Bed, fields, is_guid, text, to_base64};
use crate::certificate_work::active;
use crate::certificates::{create, request};
use crate::common::ca::Ca;
use crate::common::{openssl, pipe};

at_both_levels! {
    s000_034_s002_001_005_035_the_list
    s000_006_a_certificate_belongs_to_its_region
    s002_036_a_deletion_cannot_be_taken_back
    exportable_certificates_leave_with_their_key
    what_may_not_be_exported_stays
    a_pkcs12_file_becomes_a_certificate
    what_is_no_pkcs12_file_of_a_key_is_refused
}

pub fn list(bed: &Bed, parameters: &[(&str, &str)]) -> Vec<Value> {
    let answer = bed.ok("ListCertificates", parameters);
    assert_eq!(
        fields(&answer),
        "CertificateSummaryList Certificates PageNumber PageSize RequestId TotalSize",
        "{answer}"
    );
    let ids = |name: &str| -> Vec<_> {
        answer[name].as_array().unwrap().iter().map(|one| one["CertificateId"].clone()).collect()
    };
    assert_eq!(ids("Certificates"), ids("CertificateSummaryList"));
    answer["CertificateSummaryList"].as_array().unwrap().clone()
}

/// A subject that no other test uses.
fn subject() -> String {
    format!("CN={},OU=kms,O=aliyun,C=CN", uuid::Uuid::new_v4())
}

fn s000_034_s002_001_005_035_the_list(bed: &Bed) {
    let (ca, subject) = (Ca::new(), subject());
    let of_these = ("Subject", subject.as_str());
    let ids: Vec<String> = (0..3).map(|_| request(bed, &[of_these]).0).collect();
    let (last, csr) = request(bed, &[of_these]);
    let leaf = ca.sign(&csr);
    bed.ok("UploadCertificate", &[("CertificateId", &last), ("Certificate", &leaf)]);
    let all = list(bed, &[of_these]);
    let found: Vec<_> = all.iter().map(|one| text(&one["CertificateId"])).collect();
    assert_eq!(found, [&ids[..], std::slice::from_ref(&last)].concat());
    assert_eq!(
        fields(&all[0]),
        "CertificateId Deployments Expiry KeySpec LeakageRisk Name NotAfter NotBefore Notification ResourceGroupId SharedBy \
         SharedWith Source Status Subject SubjectAlternativeNames Tags"
    );
    assert_eq!((&all[0]["Status"], &all[3]["Status"]), (&"PENDING".into(), &"ACTIVE".into()));
    assert_eq!((&all[0]["Source"], &all[0]["NotAfter"]), (&"CREATED".into(), &"".into()));
    assert_eq!(all[3]["NotAfter"], bed.ok("DescribeCertificate", &[("CertificateId", &last)])["NotAfter"]);
    let count = |more: &[(&str, &str)]| list(bed, &[&[of_these][..], more].concat()).len();
    assert_eq!((count(&[("Status", "PENDING")]), count(&[("Status", "ACTIVE")])), (3, 1));
    assert_eq!((count(&[("Status", "REVOKED")]), count(&[("Issuer", "test ca")])), (0, 1));
    assert_eq!((count(&[("Issuer", "Nobody")]), count(&[("PageSize", "3")])), (0, 3));
    assert_eq!((count(&[("PageSize", "3"), ("PageNumber", "2")]), count(&[("PageNumber", "200")])), (1, 0));
    let answer = bed.ok("ListCertificates", &[of_these, ("PageSize", "2")]);
    assert_eq!((&answer["TotalSize"], &answer["PageSize"], &answer["PageNumber"]), (&4.into(), &2.into(), &1.into()));
    for wrong in
        [("PageNumber", "0"), ("PageNumber", "201"), ("PageSize", "0"), ("PageSize", "101"), ("Status", "active")]
    {
        assert_eq!(bed.refused("ListCertificates", &[wrong]), (400, "InvalidParameter"), "{wrong:?}");
    }
}

fn s000_006_a_certificate_belongs_to_its_region(bed: &Bed) {
    let subject = subject();
    let (id, _) = request(bed, &[("Subject", &subject)]);
    for elsewhere in ["beijing", "other"] {
        let elsewhere = bed.token(elsewhere);
        assert_eq!(list(&elsewhere, &[("Subject", &subject)]).len(), 0);
        let refused = elsewhere.refused("DescribeCertificate", &[("CertificateId", &id)]);
        assert_eq!(refused, (404, "Certificate.NotFound"));
    }
}

fn s002_036_a_deletion_cannot_be_taken_back(bed: &Bed) {
    let (id, leaf) = active(bed, "EC_P256");
    let (pending, _) = request(bed, &[]);
    for id in [&id, &pending] {
        let of = [("CertificateId", id.as_str())];
        assert_eq!(fields(&bed.ok("DeleteCertificate", &of)), "RequestId");
        for action in ["DescribeCertificate", "GetCertificate", "DeleteCertificate"] {
            assert_eq!(bed.refused(action, &of), (404, "Certificate.NotFound"), "{action}");
        }
        for status in ["ACTIVE", "INACTIVE", "REVOKED"] {
            let refused = bed.refused("UpdateCertificateStatus", &[("CertificateId", id), ("Status", status)]);
            assert_eq!(refused, (404, "Certificate.NotFound"));
        }
        let again = bed.refused("UploadCertificate", &[("CertificateId", id), ("Certificate", &leaf)]);
        assert_eq!(again, (404, "Certificate.NotFound"));
    }
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(bed.refused("DeleteCertificate", &[("CertificateId", &nobody)]), (404, "Certificate.NotFound"));
    assert_eq!(bed.refused("DeleteCertificate", &[("CertificateId", "x")]), (400, "InvalidParameter"));
}

/// An exportable certificate of level SOFTWARE. ID, leaf and chain.
fn exportable(bed: &Bed, spec: &str) -> (String, String, String) {
    let ca = Ca::new();
    let made = bed.ok(
        "CreateCertificate",
        &[("KeySpec", spec), ("Subject", crate::certificates::SUBJECT), ("ProtectionLevel", "SOFTWARE")],
    );
    let (id, leaf) = (text(&made["CertificateId"]), ca.sign(&text(&made["Csr"])));
    bed.ok("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf), ("CertificateChain", &ca.chain())]);
    (id, leaf, ca.chain())
}

/// S000-018: what a certificate may, openssl sees.
fn exportable_certificates_leave_with_their_key(bed: &Bed) {
    for spec in ["RSA_2048", "EC_P256"] {
        let (id, leaf, chain) = exportable(bed, spec);
        let of = [("CertificateId", id.as_str()), ("Passphrase", "correct horse\n")];
        let answer = bed.ok("ExportCertificate", &of);
        assert_eq!(fields(&answer), "Certificate CertificateChain CertificateId PKCS12Blob PrivateKey RequestId");
        assert_eq!((text(&answer["Certificate"]), text(&answer["CertificateChain"])), (leaf.clone(), chain.clone()));
        assert_eq!(text(&answer["PrivateKey"]), "");
        let blob = crate::bed::from_base64(&answer["PKCS12Blob"]);
        let p12 = |more: &[&str]| {
            let words = [&["pkcs12", "-passin", "pass:correct horse"][..], more].concat();
            pipe("openssl", &words, &blob)
        };
        let public = pipe("openssl", &["pkey", "-pubout"], &p12(&["-nodes", "-nocerts"]));
        assert_eq!(public, pipe("openssl", &["x509", "-noout", "-pubkey"], leaf.as_bytes()));
        let certificates = String::from_utf8(p12(&["-nokeys"])).unwrap();
        assert_eq!(certificates.matches("BEGIN CERTIFICATE").count(), 3, "{certificates}");

        let answer = bed.ok("ExportCertificate", &[of[0], of[1], ("ExportFormat", "PEM")]);
        let pem = text(&answer["PrivateKey"]);
        assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\n"), "{pem}");
        assert_eq!(text(&answer["PKCS12Blob"]), "");
        let words = ["pkey", "-pubout", "-passin", "pass:correct horse"];
        assert_eq!(pipe("openssl", &words, pem.as_bytes()), public);
        for wrong in ["", "\n", "naïve", "a\tb"] {
            let all = [of[0], ("Passphrase", wrong)];
            assert_eq!(bed.refused("ExportCertificate", &all), (400, "InvalidParameter"), "{wrong:?}");
        }
        assert_eq!(
            bed.refused("ExportCertificate", &[of[0], of[1], ("ExportFormat", "JKS")]),
            (400, "InvalidParameter")
        );
    }
}

fn what_may_not_be_exported_stays(bed: &Bed) {
    let ca = Ca::new();
    let made = create(bed, &[("ExportablePrivateKey", "false")]);
    let id = text(&made["CertificateId"]);
    let of = [("CertificateId", id.as_str()), ("Passphrase", "x")];
    assert_eq!(bed.refused("ExportCertificate", &of), (400, "UnsupportedOperation"));
    bed.ok("UploadCertificate", &[of[0], ("Certificate", &ca.sign(&text(&made["Csr"])))]);
    let fault = bed.fault("ExportCertificate", &of);
    assert_eq!((fault.status, fault.code), (400, "UnsupportedOperation"));
    if bed.level == alikms_pkcs11::model::key::Level::Hsm {
        let (id, _) = active(bed, "RSA_2048");
        let all = [("CertificateId", id.as_str()), ("Passphrase", "x")];
        assert_eq!(bed.refused("ExportCertificate", &all), (400, "UnsupportedOperation"));
    }
    let (id, _, _) = exportable(bed, "EC_P256");
    bed.ok("UpdateCertificateStatus", &[("CertificateId", &id), ("Status", "REVOKED")]);
    let all = [("CertificateId", id.as_str()), ("Passphrase", "x")];
    assert_eq!(bed.refused("ExportCertificate", &all), (409, "Rejected.StateModifiedFailed"));
}

/// A PKCS#12 file of openssl's, with `options`, of a fresh pair. The file, its leaf and its chain.
fn pkcs12(spec: &str, options: &str, with_chain: bool) -> (Vec<u8>, String, String) {
    let ca = Ca::new();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    openssl(&format!("genpkey {spec} -out {}", path("key")), b"");
    let csr = openssl(&format!("req -new -key {} -subj /CN=imported", path("key")), b"");
    let leaf = ca.sign(&String::from_utf8(csr).unwrap());
    std::fs::write(path("leaf"), &leaf).unwrap();
    // Root first: order in the file does not matter.
    std::fs::write(path("chain"), ca.root() + &ca.intermediate()).unwrap();
    let more = if with_chain { format!("-certfile {}", path("chain")) } else { String::new() };
    let words =
        format!("pkcs12 -export -inkey {} -in {} {more} -passout pass:secret {options}", path("key"), path("leaf"));
    let chain = if with_chain { ca.chain() } else { String::new() };
    (openssl(&words, b""), leaf, chain)
}

fn a_pkcs12_file_becomes_a_certificate(bed: &Bed) {
    for (spec, options, with_chain, name) in [
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "", true, "RSA_2048"),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:4096", "", false, "RSA_4096"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-legacy", true, "EC_P256"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-384", "-macalg sha512 -iter 5000", true, "EC_P384"),
        ("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "-keypbe NONE -certpbe NONE", true, "EC_P256"),
    ] {
        let (blob, leaf, chain) = pkcs12(spec, options, with_chain);
        let blob = to_base64(&blob);
        let all = [("PKCS12Blob", blob.as_str()), ("Passphrase", "secret")];
        let answer = bed.ok("ImportCertificate", &all);
        assert_eq!(fields(&answer), "Arn CertificateId RequestId");
        assert!(is_guid(&answer["CertificateId"]));
        let id = text(&answer["CertificateId"]);
        let of = [("CertificateId", id.as_str())];
        let seen = bed.ok("DescribeCertificate", &of);
        assert_eq!((&seen["Status"], &seen["KeySpec"]), (&"ACTIVE".into(), &name.into()));
        assert_eq!((&seen["ProtectionLevel"], &seen["ExportablePrivateKey"]), (&"SOFTWARE".into(), &true.into()));
        let got = bed.ok("GetCertificate", &of);
        assert_eq!((text(&got["Certificate"]), text(&got["CertificateChain"])), (leaf, chain));
        // It works, it leaves again, and it is not there twice.
        let algorithm = match name {
            "EC_P256" => "ECDSA_SHA_256",
            "EC_P384" => "ECDSA_SHA_384",
            _ => "RSA_PSS_SHA_256",
        };
        bed.ok("CertificatePrivateKeySign", &[of[0], ("Algorithm", algorithm), ("Message", "eA==")]);
        bed.ok("ExportCertificate", &[of[0], ("Passphrase", "x")]);
        assert_eq!(bed.refused("ImportCertificate", &all), (400, "InvalidParameter"));
        bed.ok("DeleteCertificate", &of);
        bed.ok("ImportCertificate", &all);
    }
}

fn what_is_no_pkcs12_file_of_a_key_is_refused(bed: &Bed) {
    let (blob, leaf, _) = pkcs12("-algorithm EC -pkeyopt ec_paramgen_curve:P-256", "", true);
    let refused = |bytes: &[u8], passphrase: &str, parameter: &str| {
        let all = [("PKCS12Blob", &*to_base64(bytes)), ("Passphrase", passphrase)];
        let fault = bed.fault("ImportCertificate", &all);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
        assert!(fault.message.contains(&format!("\"{parameter}\"")), "{fault:?}");
    };
    for wrong in ["Secret", "", "secre", "secret "] {
        refused(&blob, wrong, "Passphrase");
    }
    refused(b"", "secret", "PKCS12Blob");
    refused(&leaf.into_bytes(), "secret", "PKCS12Blob");
    refused(&vec![0x30; 300_000], "secret", "PKCS12Blob");
    // Cut anywhere, or with a byte changed anywhere, it never becomes a certificate, nor does it harm.
    let before = list(bed, &[("Subject", "CN=imported"), ("PageSize", "100")]).len();
    for at in (0..blob.len()).step_by(97) {
        let mut damaged = blob.clone();
        damaged[at] ^= 0x55;
        for bytes in [&blob[..at], &damaged] {
            let all = [("PKCS12Blob", &*to_base64(bytes)), ("Passphrase", "secret")];
            let fault = bed.run("ImportCertificate", &all);
            assert!(fault.is_err_and(|fault| fault.code == "InvalidParameter"), "{at}");
        }
    }
    assert!(list(bed, &[("Subject", "CN=imported"), ("PageSize", "100")]).len() >= before);
    // Without a key, and expired.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let ca = Ca::new();
    let nokeys = format!("pkcs12 -export -nokeys -in {} -passout pass:secret", ca.path("root.pem").display());
    refused(&openssl(&nokeys, b""), "secret", "PKCS12Blob");
    openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {}", path("key")), b"");
    let csr = String::from_utf8(openssl(&format!("req -new -key {} -subj /CN=old", path("key")), b"")).unwrap();
    std::fs::write(path("leaf"), ca.sign_between(&csr, "20200101000000Z", "20210101000000Z")).unwrap();
    let expired = format!("pkcs12 -export -inkey {} -in {} -passout pass:secret", path("key"), path("leaf"));
    refused(&openssl(&expired, b""), "secret", "Certificate");
}
