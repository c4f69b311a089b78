//! UploadUserCertificate: certificates from elsewhere (S002), with keys of openssl's.

use alikms_pkcs11::model::caller::Caller;
use tempfile::TempDir;

use crate::bed::{Bed, fields, text};
use crate::certificate_list::list;
use crate::certificates::request;
use crate::common::{ca::Ca, openssl};

at_both_levels! {
    s002_007_008_018_062_063_only_pem_is_taken
    s002_009_019_to_021_025_026_chains_in_the_file_or_beside_it
    s002_010_011_012_024_061_the_key_matches_and_bears_no_password
    s002_013_to_015_what_openssl_compares_is_what_we_compare
    s002_016_022_every_form_of_key
    s002_017_027_028_058_059_name_group_and_tags
    s002_023_a_certificate_for_a_csr_or_a_key_that_is_here
    s002_035_an_upload_is_listed_and_never_leaves_again
    what_is_here_already_is_refused
}

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const EC: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

/// A key pair of openssl's with a certificate.
struct Foreign {
    ca: Ca,
    folder: TempDir,
    leaf: String,
    key: String,
}

impl Foreign {
    fn new(spec: &str) -> Self {
        let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
        let mut foreign = Self { ca, folder, leaf: String::new(), key: String::new() };
        foreign.ssl(&format!("genpkey {spec} -out {{key}}"));
        let csr = foreign.ssl("req -new -key {key} -subj /CN=uploaded.example");
        foreign.leaf = foreign.ca.sign(&csr);
        foreign.key = std::fs::read_to_string(foreign.path("key")).unwrap();
        std::fs::write(foreign.path("leaf"), &foreign.leaf).unwrap();
        foreign
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// openssl, with paths in braces.
    fn ssl(&self, words: &str) -> String {
        let words = words.replace('{', &format!("{}/", self.folder.path().display())).replace('}', "");
        String::from_utf8(openssl(&words, b"")).unwrap()
    }
}

fn upload(bed: &Bed, cert: &str, key: &str) -> String {
    let answer = bed.ok("UploadUserCertificate", &[("Cert", cert), ("Key", key)]);
    assert_eq!(fields(&answer), "Arn CertId RequestId");
    text(&answer["CertId"])
}

/// What a refused upload says.
fn refused(bed: &Bed, parameters: &[(&str, &str)]) -> String {
    let fault = bed.fault("UploadUserCertificate", parameters);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{fault:?}");
    fault.message
}

fn s002_007_008_018_062_063_only_pem_is_taken(bed: &Bed) {
    let it = Foreign::new(EC);
    let (leaf, key) = (it.leaf.as_str(), it.key.as_str());
    it.ssl("x509 -in {leaf} -outform DER -out {der}");
    it.ssl("pkcs12 -export -inkey {key} -in {leaf} -passout pass:x -out {p12}");
    let binary = |name: &str| String::from_utf8_lossy(&std::fs::read(it.path(name)).unwrap()).into_owned();
    let second = leaf.find('\n').unwrap() + 65;
    for wrong in [
        binary("der"),
        binary("p12"),
        leaf.replace("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE----"),
        leaf.replace("-----END CERTIFICATE-----", ""),
        leaf.replace("-----BEGIN CERTIFICATE-----\n", ""),
        format!("{}\n{}", &leaf[..=second], &leaf[second + 1..]),
        format!("{} {}", &leaf[..=second], &leaf[second + 1..]),
        format!("subject=CN=x\n{leaf}"),
        format!("{leaf}and so on"),
        key.to_owned(),
        "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned(),
        String::new(),
    ] {
        let said = refused(bed, &[("Cert", &wrong), ("Key", key)]);
        assert!(said.contains("\"Certificate\" is not valid. Certificate format is incorrect"), "{wrong}: {said}");
    }
    upload(bed, leaf, key);
}

fn s002_009_019_to_021_025_026_chains_in_the_file_or_beside_it(bed: &Bed) {
    let chain_of = |id: &str| text(&bed.ok("GetCertificate", &[("CertificateId", id)])["CertificateChain"]);
    let it = Foreign::new(EC);
    let (intermediate, root) = (it.ca.intermediate(), it.ca.root());
    let with = |id: &str, expected: &str| {
        assert_eq!(chain_of(id), expected);
        bed.ok("DeleteCertificate", &[("CertificateId", id)]);
    };
    with(&upload(bed, &(it.leaf.clone() + &intermediate), &it.key), &intermediate);
    with(&upload(bed, &(it.leaf.clone() + &intermediate + &root), &it.key), &(intermediate.clone() + &root));
    for chain in [intermediate.clone(), intermediate.clone() + &root] {
        let all = [("Cert", it.leaf.as_str()), ("Key", &it.key), ("CertChain", &chain)];
        with(&text(&bed.ok("UploadUserCertificate", &all)["CertId"]), &chain);
    }
    // The intermediate in the file, the root beside it.
    let both = it.leaf.clone() + &intermediate;
    let all = [("Cert", both.as_str()), ("Key", &it.key), ("CertChain", &root)];
    with(&text(&bed.ok("UploadUserCertificate", &all)["CertId"]), &(intermediate.clone() + &root));
    for wrong in [it.leaf.clone() + &root + &intermediate, it.leaf.clone() + &Ca::new().chain()] {
        assert!(refused(bed, &[("Cert", &wrong), ("Key", &it.key)]).contains("\"CertificateChain\""));
    }
}

fn s002_010_011_012_024_061_the_key_matches_and_bears_no_password(bed: &Bed) {
    for spec in [RSA, EC] {
        let (it, other) = (Foreign::new(spec), Foreign::new(spec));
        let kind = if spec == RSA { "rsa" } else { "ec" };
        it.ssl("pkey -in {key} -aes256 -passout pass:secret -out {encrypted}");
        it.ssl("pkey -in {key} -aes256 -passout pass:secret -traditional -out {old}");
        let read = |name: &str| std::fs::read_to_string(it.path(name)).unwrap();
        for (key, reason) in [
            (read("encrypted"), "password"),
            (read("old"), "password"),
            (other.key.clone(), "another certificate"),
            (it.leaf.clone(), "not a private key"),
            ("x".to_owned(), "not a private key"),
            (String::new(), "not a private key"),
            (it.key[..it.key.len() / 2].to_owned(), "not a private key"),
        ] {
            let said = refused(bed, &[("Cert", &it.leaf), ("Key", &key)]);
            assert!(said.contains("Certificate and private key do not match") && said.contains(reason), "{said}");
        }
        // The documents' way out.
        it.ssl(&format!("{kind} -in {{encrypted}} -passin pass:secret -out {{decrypted}}"));
        upload(bed, &it.leaf, &read("decrypted"));
    }
}

fn s002_013_to_015_what_openssl_compares_is_what_we_compare(bed: &Bed) {
    for spec in [RSA, EC] {
        let (it, other) = (Foreign::new(spec), Foreign::new(spec));
        let hashes = |it: &Foreign| {
            let certificate = it.ssl("x509 -in {leaf} -pubkey -noout");
            let key = it.ssl("pkey -in {key} -pubout");
            (openssl("md5", certificate.as_bytes()), openssl("md5", key.as_bytes()))
        };
        let ((a, b), (c, d)) = (hashes(&it), hashes(&other));
        assert!(a == b && c == d && a != d);
        if spec == RSA {
            let (a, b) = (it.ssl("x509 -noout -modulus -in {leaf}"), it.ssl("rsa -noout -modulus -in {key}"));
            assert_eq!(a, b);
        }
        refused(bed, &[("Cert", &it.leaf), ("Key", &other.key)]);
        refused(bed, &[("Cert", &other.leaf), ("Key", &it.key)]);
        upload(bed, &it.leaf, &it.key);
        upload(bed, &other.leaf, &other.key);
    }
}

fn s002_016_022_every_form_of_key(bed: &Bed) {
    for (spec, form, begins) in [
        (RSA, "rsa -in {key} -traditional", "-----BEGIN RSA PRIVATE KEY-----"),
        (EC, "ec -in {key}", "-----BEGIN EC PRIVATE KEY-----"),
        (RSA, "pkey -in {key}", "-----BEGIN PRIVATE KEY-----"),
        (EC, "pkey -in {key}", "-----BEGIN PRIVATE KEY-----"),
    ] {
        let it = Foreign::new(spec);
        let key = it.ssl(form);
        assert!(key.starts_with(begins), "{key}");
        let id = upload(bed, &it.leaf, &key);
        let algorithm = if spec == RSA { "RSA_PSS_SHA_256" } else { "ECDSA_SHA_256" };
        let all = [("CertificateId", id.as_str()), ("Algorithm", algorithm), ("Message", "eA==")];
        bed.ok("CertificatePrivateKeySign", &all);
    }
    // As `openssl ecparam -genkey` writes it.
    let it = Foreign::new(EC);
    let key = it.ssl("ecparam -name prime256v1") + &it.ssl("ec -in {key}");
    upload(bed, &it.leaf, &key);
}

fn s002_017_027_028_058_059_name_group_and_tags(bed: &Bed) {
    let it = Foreign::new(EC);
    let name = format!("example.com-2026-{}", uuid::Uuid::new_v4());
    let tags = r#"[{"TagKey":"project","TagValue":"shop"},{"TagKey":"environment","TagValue":"production"}]"#;
    let base = [("Cert", it.leaf.as_str()), ("Key", it.key.as_str())];
    let long = "n".repeat(129);
    for (parameter, wrong) in [
        ("Name", long.as_str()),
        ("Name", "two\nlines"),
        ("ResourceGroupId", &long),
        ("Tags", "project"),
        ("Tags", r#"[{"TagKey":"aliyun","TagValue":"x"}]"#),
    ] {
        assert!(refused(bed, &[base[0], base[1], (parameter, wrong)]).contains(parameter), "{parameter}");
    }
    let all = [base[0], base[1], ("Name", &name), ("ResourceGroupId", "rg-web"), ("Tags", tags)];
    let id = text(&bed.ok("UploadUserCertificate", &all)["CertId"]);
    let listed = list(bed, &[("Subject", "uploaded.example"), ("PageSize", "100")]);
    let mine = listed.iter().find(|one| one["CertificateId"] == id.as_str()).unwrap();
    assert_eq!((&mine["Name"], &mine["ResourceGroupId"]), (&name.as_str().into(), &"rg-web".into()));
    let expected = serde_json::json!({"environment": "production", "project": "shop"});
    assert_eq!(mine["Tags"], expected);
    assert_eq!(bed.ok("DescribeCertificate", &[("CertificateId", &id)])["Tags"], expected);
    // A name is given once.
    let other = Foreign::new(EC);
    let said = refused(bed, &[("Cert", &other.leaf), ("Key", &other.key), ("Name", &name)]);
    assert!(said.contains("another certificate has this name") || said.contains("Another certificate"), "{said}");
    let of = ("CertificateId", id.as_str());
    bed.ok("UntagResource", &[of, ("TagKeys", r#"["project","nothing"]"#)]);
    bed.ok("TagResource", &[of, ("Tags", r#"[{"TagKey":"environment","TagValue":"test"}]"#)]);
    assert_eq!(bed.ok("DescribeCertificate", &[of])["Tags"], serde_json::json!({"environment": "test"}));
    let two = [of, ("KeyId", id.as_str()), ("Tags", "[]")];
    assert_eq!(bed.refused("TagResource", &two), (400, "InvalidParameter"));
}

fn s002_023_a_certificate_for_a_csr_or_a_key_that_is_here(bed: &Bed) {
    let ca = Ca::new();
    // A CSR of CreateCertificate: it goes into that entry.
    let (id, csr) = request(bed, &[]);
    let leaf = ca.sign(&csr);
    let answer = bed.ok("UploadUserCertificate", &[("Cert", &leaf), ("Name", &format!("csr-{id}"))]);
    assert_eq!(answer["CertId"], id.as_str());
    let seen = bed.ok("DescribeCertificate", &[("CertificateId", &id)]);
    assert_eq!((&seen["Status"], &seen["ProtectionLevel"]), (&"ACTIVE".into(), &bed.level.name().into()));
    // A second one goes there with UploadCertificate only.
    assert!(refused(bed, &[("Cert", &ca.sign(&csr))]).contains("UploadCertificate"));
    // A key of ours.
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&Caller::account(), &key, None, "CN=cmk", &[]).unwrap();
    let answer = bed.ok("UploadUserCertificate", &[("Cert", &ca.sign(&csr))]);
    let all =
        [("CertificateId", answer["CertId"].as_str().unwrap()), ("Algorithm", "ECDSA_SHA_256"), ("Message", "eA==")];
    bed.ok("CertificatePrivateKeySign", &all);
    // Nobody's.
    let it = Foreign::new(EC);
    assert!(refused(bed, &[("Cert", &it.leaf)]).contains("Certificate and private key do not match"));
    assert_eq!(bed.refused("UploadUserCertificate", &[("Key", &it.key)]), (400, "MissingParameter"));
}

fn s002_035_an_upload_is_listed_and_never_leaves_again(bed: &Bed) {
    let it = Foreign::new(RSA);
    let id = upload(bed, &it.leaf, &it.key);
    let listed = list(bed, &[("Subject", "uploaded.example"), ("PageSize", "100")]);
    let mine = listed.iter().find(|one| one["CertificateId"] == id.as_str()).unwrap();
    assert_eq!(
        (&mine["Source"], &mine["Status"], &mine["Expiry"]),
        (&"UPLOADED".into(), &"ACTIVE".into(), &"WILLEXPIRED".into())
    );
    assert_eq!((&mine["LeakageRisk"], &mine["Notification"]), (&false.into(), &false.into()));
    let all = [("CertificateId", id.as_str()), ("Passphrase", "x")];
    assert_eq!(bed.refused("ExportCertificate", &all), (400, "UnsupportedOperation"));
}

/// Issue 5, item 8: duplicated, expired, of another key; nothing is changed.
fn what_is_here_already_is_refused(bed: &Bed) {
    let it = Foreign::new(EC);
    upload(bed, &it.leaf, &it.key);
    assert!(refused(bed, &[("Cert", &it.leaf), ("Key", &it.key)]).contains("here already"));
    let csr = it.ssl("req -new -key {key} -subj /CN=again.example");
    assert!(refused(bed, &[("Cert", &it.ca.sign(&csr)), ("Key", &it.key)]).contains("here already"));
    let other = Foreign::new(EC);
    let csr = other.ssl("req -new -key {key} -subj /CN=old.example");
    let expired = other.ca.sign_between(&csr, "20200101000000Z", "20210101000000Z");
    assert!(refused(bed, &[("Cert", &expired), ("Key", &other.key)]).contains("Expired at 2021-01-01T00:00:00Z"));
    for (subject, count) in [("again.example", 0), ("old.example", 0)] {
        assert_eq!(list(bed, &[("Subject", subject)]).len(), count);
    }
}
