//! CreateCertificate, UploadCertificate, DescribeCertificate, GetCertificate: from the CSR to what a CA made of it.

use crate::bed::{Bed, fields, is_date, is_guid, text};
use crate::common::{ACCOUNT, ca::Ca, ca::read_csr, pipe};

at_both_levels! {
    s000_001_002_021_023_s001_002_the_path_of_a_certificate
    s000_003_020_s002_002_any_authority_and_a_chain_if_there_is_one
    s000_004_005_019_s001_001_018_the_csr_has_the_new_key_and_the_subject
    s000_007_to_013_several_names_and_e_mail
    s000_014_s001_012_alternative_names
    s000_016_s001_004_key_specs
    s001_005_subjects_as_rfc_2253_writes_them
    s001_006_to_011_what_a_subject_needs
    s001_013_at_most_ten_names
    s000_018_s001_014_015_exportable_or_not
    s001_016_017_019_020_the_answer
    s002_012_024_certificate_and_key_must_match
    what_is_no_certificate_is_refused
    s000_022_the_chain_may_stand_in_the_certificate
    a_chain_out_of_order_or_out_of_time_is_refused
}

pub const SUBJECT: &str = "CN=userName,OU=kms,O=aliyun,C=CN";

/// CreateCertificate at the bed's level. Its answer.
pub fn create(bed: &Bed, parameters: &[(&str, &str)]) -> serde_json::Value {
    let mut all = vec![("ProtectionLevel", bed.level.name())];
    for (name, value) in [("KeySpec", "EC_P256"), ("Subject", SUBJECT)] {
        all.extend((!parameters.iter().any(|(given, _)| *given == name)).then_some((name, value)));
    }
    all.extend(parameters);
    bed.ok("CreateCertificate", &all)
}

/// ID and CSR of a new certificate.
pub fn request(bed: &Bed, parameters: &[(&str, &str)]) -> (String, String) {
    let answer = create(bed, parameters);
    (text(&answer["CertificateId"]), text(&answer["Csr"]))
}

fn upload<'a>(id: &'a str, leaf: &'a str, chain: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut parameters = vec![("CertificateId", id), ("Certificate", leaf)];
    parameters.extend(chain.map(|chain| ("CertificateChain", chain)));
    parameters
}

fn refused_subject(bed: &Bed, subject: &str) -> String {
    let parameters = [("KeySpec", "EC_P256"), ("Subject", subject), ("ProtectionLevel", bed.level.name())];
    let fault = bed.fault("CreateCertificate", &parameters);
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{subject}");
    assert!(fault.message.starts_with("The specified parameter \"Subject\" is not valid."), "{subject}: {fault:?}");
    fault.message
}

fn s000_001_002_021_023_s001_002_the_path_of_a_certificate(bed: &Bed) {
    let ca = Ca::new();
    for spec in ["RSA_2048", "EC_P256"] {
        let (id, csr) = request(bed, &[("KeySpec", spec)]);
        let of = [("CertificateId", id.as_str())];
        let pending = bed.ok("DescribeCertificate", &of);
        assert_eq!(pending["Status"], "PENDING"); // S000-024
        let (leaf, chain) = (ca.sign(&csr), ca.chain());
        assert_eq!(fields(&bed.ok("UploadCertificate", &upload(&id, &leaf, Some(&chain)))), "RequestId");
        let seen = bed.ok("DescribeCertificate", &of);
        let names = "Arn CertificateId CreatedAt ExportablePrivateKey Issuer KeySpec NotAfter NotBefore ProtectionLevel \
                     RequestId Serial SignatureAlgorithm Status Subject SubjectAlternativeNames SubjectKeyIdentifier \
                     SubjectPublicKey Tags UpdatedAt";
        assert_eq!((fields(&seen).as_str(), fields(&pending).as_str()), (names, names));
        let openssl = |option: &str| {
            let words = ["x509", "-noout", "-nameopt", "RFC2253", option];
            let said = String::from_utf8(pipe("openssl", &words, leaf.as_bytes())).unwrap();
            said.trim().split_once('=').map_or(said.clone(), |(_, value)| value.to_owned())
        };
        for (name, value) in [
            ("Status", "ACTIVE"),
            ("KeySpec", spec),
            ("ProtectionLevel", bed.level.name()),
            ("Subject", &openssl("-subject")),
            ("Issuer", &openssl("-issuer")),
            ("SignatureAlgorithm", "ECDSA-SHA256"),
        ] {
            assert_eq!(seen[name], value, "{name}");
        }
        assert_eq!(text(&seen["Serial"]), decimal(&openssl("-serial")));
        let public = pipe("openssl", &["x509", "-noout", "-pubkey"], leaf.as_bytes());
        assert_eq!(text(&seen["SubjectPublicKey"]).as_bytes(), public);
        for date in ["CreatedAt", "UpdatedAt", "NotBefore", "NotAfter"] {
            assert!(is_date(&seen[date]), "{date}: {seen}");
        }
        let got = bed.ok("GetCertificate", &of);
        assert_eq!(fields(&got), "Certificate CertificateChain CertificateId Csr RequestId");
        let (pem, issuers) = (text(&got["Certificate"]), text(&got["CertificateChain"]));
        assert_eq!((pem, issuers, text(&got["Csr"])), (leaf, chain, csr));
    }
}

/// Of a serial number in hex.
fn decimal(hex: &str) -> String {
    let said = pipe("openssl", &["asn1parse", "-genstr", &format!("INTEGER:0x{hex}")], b"");
    let hex = String::from_utf8(said).unwrap().trim().rsplit(':').next().unwrap().to_owned();
    let mut digits = vec![0u32];
    for nibble in hex.chars().map(|c| c.to_digit(16).unwrap()) {
        let mut carry = nibble;
        for digit in &mut digits {
            carry += *digit * 16;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    digits.iter().rev().map(u32::to_string).collect()
}

/// An internal authority, none of ours; with its chain, with a part of it, without.
fn s000_003_020_s002_002_any_authority_and_a_chain_if_there_is_one(bed: &Bed) {
    for _ in 0..2 {
        let ca = Ca::new();
        for chain in [Some(ca.chain()), Some(ca.intermediate()), None, Some(String::new())] {
            let (id, csr) = request(bed, &[]);
            bed.ok("UploadCertificate", &upload(&id, &ca.sign(&csr), chain.as_deref()));
            let got = bed.ok("GetCertificate", &[("CertificateId", &id)]);
            assert_eq!(text(&got["CertificateChain"]), chain.unwrap_or_default());
        }
    }
}

fn s000_004_005_019_s001_001_018_the_csr_has_the_new_key_and_the_subject(bed: &Bed) {
    for (spec, line) in [("RSA_2048", "Public-Key: (2048 bit)"), ("EC_P256", "ASN1 OID: prime256v1")] {
        let (id, csr) = request(bed, &[("KeySpec", spec)]);
        assert!(csr.starts_with("-----BEGIN CERTIFICATE REQUEST-----\n"), "{csr}");
        assert!(csr.ends_with("-----END CERTIFICATE REQUEST-----\n"), "{csr}");
        let text_of = read_csr(&csr);
        assert!(text_of.contains(line) && text_of.contains(&format!("Subject: {SUBJECT}\n")), "{text_of}");
        let seen = bed.ok("DescribeCertificate", &[("CertificateId", &id)]);
        let public = pipe("openssl", &["req", "-noout", "-pubkey"], csr.as_bytes());
        assert_eq!(text(&seen["SubjectPublicKey"]).as_bytes(), public);
        // S000-019: it can be fetched again.
        assert_eq!(text(&bed.ok("GetCertificate", &[("CertificateId", &id)])["Csr"]), csr);
        // Each has a key of its own.
        assert_ne!(csr, request(bed, &[("KeySpec", spec)]).1);
    }
}

fn s000_007_to_013_several_names_and_e_mail(bed: &Bed) {
    let subject =
        "CN=a.example,OU=one,OU=two,O=First,O=Second,L=Hangzhou,ST=Zhejiang,C=CN,emailAddress=admin@a.example";
    let (_, csr) = request(bed, &[("Subject", subject)]);
    let said = read_csr(&csr);
    for part in ["OU=one", "OU=two", "O=First", "O=Second", "L=Hangzhou", "ST=Zhejiang", "emailAddress=admin@a.example"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    // As the console writes it, S000-013.
    let (_, csr) = request(bed, &[("Subject", "CN=a,OU=b,O=c,C=CN,E=admin@a.example")]);
    assert!(read_csr(&csr).contains("emailAddress=admin@a.example"));
}

fn s000_014_s001_012_alternative_names(bed: &Bed) {
    let said = |names: &str| read_csr(&request(bed, &[("SubjectAlternativeNames", names)]).1);
    let text_of = said("[\"example.com\",\"*.example.com\"]");
    assert!(text_of.contains("DNS:example.com, DNS:*.example.com\n"), "{text_of}");
    // As some SDKs send it.
    assert!(said("{\"0\":\"a.example\",\"1\":\"b.example\"}").contains("DNS:a.example, DNS:b.example\n"));
    assert!(!said("[]").contains("Subject Alternative Name"));
    for names in
        ["example.com", "[1]", "\"example.com\"", "[\"\"]", "[\"exa mple.com\"]", "[\"a..b\"]", "[\"a,DNS:b\"]"]
    {
        let parameters = [
            ("KeySpec", "EC_P256"),
            ("Subject", SUBJECT),
            ("SubjectAlternativeNames", names),
            ("ProtectionLevel", bed.level.name()),
        ];
        let fault = bed.fault("CreateCertificate", &parameters);
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{names}");
        assert!(fault.message.contains("\"SubjectAlternativeNames\""), "{names}: {}", fault.message);
    }
}

fn s000_016_s001_004_key_specs(bed: &Bed) {
    for (spec, code) in [
        ("RSA_3072", "InvalidParameter"),
        ("EC_P256K", "InvalidParameter"),
        ("EC_P384", "InvalidParameter"),
        ("Aliyun_AES_256", "InvalidParameter"),
        ("", "InvalidParameter"),
        // Known to the API, and not yet made here.
        ("EC_SM2", "UnsupportedOperation"),
    ] {
        assert_eq!(bed.refused("CreateCertificate", &[("KeySpec", spec), ("Subject", SUBJECT)]), (400, code), "{spec}");
    }
}

fn s001_005_subjects_as_rfc_2253_writes_them(bed: &Bed) {
    for (subject, said) in [
        ("CN=Lu\\, Li,OU=a\\+b,O=\\\"q\\\",C=CN", "CN=Lu\\, Li,OU=a\\+b,O=\\\"q\\\",C=CN"),
        ("CN=a\\=b,OU=c\\\\d,O=e,C=CN", "CN=a=b,OU=c\\\\d,O=e,C=CN"),
        ("CN=userName, OU=kms, O=aliyun, C=CN", SUBJECT),
        ("cn=userName,ou=kms,o=aliyun,c=CN", SUBJECT),
        ("C=CN,O=aliyun,OU=kms,CN=userName", "C=CN,O=aliyun,OU=kms,CN=userName"),
    ] {
        let text_of = read_csr(&request(bed, &[("Subject", subject)]).1);
        assert!(text_of.contains(&format!("Subject: {said}\n")), "{subject}: {text_of}");
    }
    let utf8 = read_csr(&request(bed, &[("Subject", "CN=杭州,OU=kms,O=阿里云,C=CN")]).1);
    assert!(utf8.contains("CN=\\E6\\9D\\AD\\E5\\B7\\9E"), "{utf8}");
    for subject in
        ["", ",", "userName", "CN", "CN=a,,C=CN", "/CN=a/C=CN", "CN=a;OU=b;O=c;C=CN", "1.2.3=#zz,CN=a,OU=b,O=c,C=CN"]
    {
        refused_subject(bed, subject);
    }
}

fn s001_006_to_011_what_a_subject_needs(bed: &Bed) {
    let parts = [("CN", "CN=a"), ("C", "C=CN"), ("O", "O=b"), ("OU", "OU=c")];
    for (missing, _) in parts {
        let subject: Vec<_> = parts.iter().filter(|(name, _)| *name != missing).map(|(_, part)| *part).collect();
        let said = refused_subject(bed, &subject.join(","));
        assert!(said.ends_with(&format!("{missing} is required.")), "{said}");
        let empty = parts.map(|(name, part)| if name == missing { format!("{name}=") } else { part.to_owned() });
        refused_subject(bed, &empty.join(","));
    }
    for country in ["C=CHN", "C=cn", "C=C", "C=12"] {
        refused_subject(bed, &format!("CN=a,OU=c,O=b,{country}"));
    }
    create(bed, &[("Subject", "CN=a,OU=c,O=b,C=CN,ST=Zhejiang,L=Hangzhou")]);
}

fn s001_013_at_most_ten_names(bed: &Bed) {
    let list = |count: usize| serde_json::to_string(&(0..count).map(|at| format!("h{at}.example")).collect::<Vec<_>>());
    assert!(read_csr(&request(bed, &[("SubjectAlternativeNames", &list(10).unwrap())]).1).contains("h9.example"));
    let eleven = list(11).unwrap();
    let parameters = [("KeySpec", "EC_P256"), ("Subject", SUBJECT), ("SubjectAlternativeNames", &eleven)];
    assert_eq!(bed.refused("CreateCertificate", &parameters), (400, "InvalidParameter"));
}

/// S000-018, S001-015. Ruling 7: never exportable at level HSM.
fn s000_018_s001_014_015_exportable_or_not(bed: &Bed) {
    let hsm = bed.level.name() == "HSM";
    let exportable = |answer: serde_json::Value| {
        let id = text(&answer["CertificateId"]);
        bed.ok("DescribeCertificate", &[("CertificateId", &id)])["ExportablePrivateKey"].as_bool().unwrap()
    };
    assert_eq!(exportable(create(bed, &[])), !hsm);
    assert!(!exportable(create(bed, &[("ExportablePrivateKey", "false")])));
    let on = [
        ("KeySpec", "EC_P256"),
        ("Subject", SUBJECT),
        ("ExportablePrivateKey", "true"),
        ("ProtectionLevel", bed.level.name()),
    ];
    if hsm {
        assert_eq!(bed.refused("CreateCertificate", &on), (400, "UnsupportedOperation"));
    } else {
        assert!(exportable(bed.ok("CreateCertificate", &on)));
    }
    let parameters = [("KeySpec", "EC_P256"), ("Subject", SUBJECT), ("ExportablePrivateKey", "maybe")];
    assert_eq!(bed.refused("CreateCertificate", &parameters), (400, "InvalidParameter"));
}

fn s001_016_017_019_020_the_answer(bed: &Bed) {
    let answer = create(bed, &[("KeySpec", "RSA_2048")]);
    assert_eq!(fields(&answer), "Arn CertificateId Csr RequestId");
    assert!(is_guid(&answer["CertificateId"]) && is_guid(&answer["RequestId"]), "{answer}");
    let id = text(&answer["CertificateId"]);
    assert_eq!(answer["Arn"], format!("acs:kms:cn-hangzhou:{ACCOUNT}:certificate/{id}"));
}

fn s002_012_024_certificate_and_key_must_match(bed: &Bed) {
    let ca = Ca::new();
    let (id, _) = request(bed, &[]);
    let (_, other) = request(bed, &[]);
    let foreign = ca.sign(&other);
    let fault = bed.fault("UploadCertificate", &upload(&id, &foreign, None));
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
    let said = "The specified parameter \"Certificate\" is not valid. Certificate and private key do not match.";
    assert_eq!(fault.message, said);
    assert_eq!(bed.ok("DescribeCertificate", &[("CertificateId", &id)])["Status"], "PENDING");
}

/// S002-007: PEM, and nothing else.
fn what_is_no_certificate_is_refused(bed: &Bed) {
    let ca = Ca::new();
    let (id, csr) = request(bed, &[]);
    let leaf = ca.sign(&csr);
    let half = &leaf[..leaf.len() / 2];
    let damaged = leaf.replacen("MI", "!!", 1);
    for bad in [
        "",
        "x",
        csr.as_str(),
        half,
        &damaged,
        &format!("{leaf}rest"),
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
    ] {
        let fault = bed.fault("UploadCertificate", &upload(&id, bad, None));
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{bad}");
        assert!(fault.message.starts_with("The specified parameter \"Certificate\" is not valid."), "{bad}: {fault:?}");
    }
    let fault = bed.fault("UploadCertificate", &upload(&id, &leaf, Some("x")));
    assert!(fault.message.starts_with("The specified parameter \"CertificateChain\" is not valid."), "{fault:?}");
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(bed.refused("UploadCertificate", &upload(&nobody, &leaf, None)), (404, "Certificate.NotFound"));
    for action in ["DescribeCertificate", "GetCertificate"] {
        assert_eq!(bed.refused(action, &[("CertificateId", &nobody)]), (404, "Certificate.NotFound"), "{action}");
        assert_eq!(bed.refused(action, &[("CertificateId", "1")]), (400, "InvalidParameter"), "{action}");
    }
    // Windows line ends and blanks around it are no harm.
    bed.ok("UploadCertificate", &upload(&id, &format!("\n {}\n", leaf.replace('\n', "\r\n")), None));
}

fn s000_022_the_chain_may_stand_in_the_certificate(bed: &Bed) {
    let ca = Ca::new();
    let (id, csr) = request(bed, &[]);
    let leaf = ca.sign(&csr);
    bed.ok("UploadCertificate", &upload(&id, &(leaf.clone() + &ca.chain()), None));
    let got = bed.ok("GetCertificate", &[("CertificateId", &id)]);
    assert_eq!((text(&got["Certificate"]), text(&got["CertificateChain"])), (leaf, ca.chain()));
}

fn a_chain_out_of_order_or_out_of_time_is_refused(bed: &Bed) {
    let (ca, stranger) = (Ca::new(), Ca::new());
    let (id, csr) = request(bed, &[]);
    let leaf = ca.sign(&csr);
    for chain in [ca.root() + &ca.intermediate(), ca.root(), stranger.chain(), ca.intermediate() + &stranger.root()] {
        let fault = bed.fault("UploadCertificate", &upload(&id, &leaf, Some(&chain)));
        assert_eq!((fault.status, fault.code), (400, "InvalidParameter"));
        assert!(fault.message.starts_with("The specified parameter \"CertificateChain\" is not valid."), "{fault:?}");
    }
    let expired = ca.sign_between(&csr, "20200101000000Z", "20210101000000Z");
    let early = ca.sign_between(&csr, "20900101000000Z", "20910101000000Z");
    for (leaf, word) in
        [(expired, "Expired at 2021-01-01T00:00:00Z."), (early, "Not valid before 2090-01-01T00:00:00Z.")]
    {
        let fault = bed.fault("UploadCertificate", &upload(&id, &leaf, None));
        assert!(fault.code == "InvalidParameter" && fault.message.ends_with(word), "{fault:?}");
    }
}
