//! The private CA: chains that openssl accepts, limits, revocation, the way into the list.

use alikms_pkcs11::model::caller::Caller;
use serde_json::Value;

use crate::bed::{Bed, fields, text};
use crate::certificate_list::list;
use crate::common::{openssl, run};
use crate::files::{EC, Files};

at_both_levels! {
    s002_003_040_chains_verify_with_openssl
    revoked_certificates_are_in_the_crl
    an_authority_keeps_its_limits
    what_is_no_request_gets_no_certificate
    s002_038_039_041_issued_certificates_come_into_the_list
    s002_056_057_only_long_lived_certificates_of_a_private_ca_are_a_risk
}

impl Files {
    fn text(&self, words: &str) -> String {
        String::from_utf8(self.ssl(words)).unwrap()
    }

    /// A CSR of openssl's.
    fn csr(&self, spec: &str, subject: &str, more: &str) -> String {
        self.text(&format!("genpkey {spec} -out {{key}}"));
        self.text(&format!("req -new -key {{key}} -subj {subject} {more}"))
    }

    fn verifies(&self, words: &str) -> bool {
        let words = self.words(words);
        run(std::process::Command::new("openssl").args(words.split_whitespace())).status == 0
    }
}

const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";

fn root(bed: &Bed, algorithm: &str, more: &[(&str, &str)]) -> Value {
    let all = [
        ("Subject", "CN=Example Root,O=Example,C=CN"),
        ("Algorithm", algorithm),
        ("Years", "10"),
        ("ProtectionLevel", bed.level.name()),
    ];
    let answer = bed.ok("CreateRootCACertificate", &[&all, more].concat());
    assert_eq!(fields(&answer), "Arn CertificateChain Identifier RequestId X509Certificate");
    answer
}

fn sub(bed: &Bed, parent: &str, algorithm: &str, more: &[(&str, &str)]) -> Value {
    let all = [
        ("ParentIdentifier", parent),
        ("Subject", "CN=Example Issuer,O=Example,C=CN"),
        ("Algorithm", algorithm),
        ("Years", "5"),
        ("ProtectionLevel", bed.level.name()),
    ];
    bed.ok("CreateSubCACertificate", &[&all, more].concat())
}

fn id(answer: &Value) -> String {
    text(&answer["Identifier"])
}

fn issue(bed: &Bed, parent: &str, csr: &str, more: &[(&str, &str)]) -> Value {
    let all = [("ParentIdentifier", parent), ("Csr", csr), ("Days", "90")];
    bed.ok("CreateServerCertificateWithCsr", &[&all, more].concat())
}

fn s002_003_040_chains_verify_with_openssl(bed: &Bed) {
    for (above, below, leaf) in [("RSA_2048", "EC_P256", RSA), ("EC_P384", "RSA_3072", EC)] {
        if bed.level == alikms_pkcs11::model::key::Level::Hsm && below == "RSA_3072" {
            continue; // slow in SoftHSM, and no other code
        }
        let files = Files::new();
        let root = root(bed, above, &[]);
        let issuer = sub(bed, &id(&root), below, &[]);
        assert_eq!(text(&issuer["CertificateChain"]), text(&root["X509Certificate"]));
        let csr = files.csr(leaf, "/CN=www.example.com", "-addext subjectAltName=DNS:www.example.com,IP:10.0.0.1");
        let server = issue(bed, &id(&issuer), &csr, &[]);
        let client_csr = files.csr(EC, "/CN=alice", "");
        let all = [("ParentIdentifier", &*id(&issuer)), ("Csr", &client_csr), ("Days", "30")];
        let client = bed.ok("CreateClientCertificateWithCsr", &all);
        for (name, pem) in [("root", &root), ("issuer", &issuer), ("server", &server), ("client", &client)] {
            files.write(name, text(&pem["X509Certificate"]));
        }
        let chain = "verify -x509_strict -CAfile {root} -untrusted {issuer}";
        assert!(files.verifies(&format!("{chain} -purpose sslserver -verify_hostname www.example.com {{server}}")));
        assert!(files.verifies(&format!("{chain} -purpose sslserver -verify_ip 10.0.0.1 {{server}}")));
        assert!(!files.verifies(&format!("{chain} -purpose sslserver -verify_hostname other.example {{server}}")));
        assert!(!files.verifies(&format!("{chain} -purpose sslclient {{server}}")));
        assert!(files.verifies(&format!("{chain} -purpose sslclient {{client}}")));
        assert!(!files.verifies(&format!("{chain} -purpose sslserver {{client}}")));
        assert!(files.verifies("verify -x509_strict -CAfile {root} {issuer}"));
        let said = files.text("x509 -in {issuer} -noout -text");
        for part in ["CA:TRUE, pathlen:0", "Certificate Sign, CRL Sign", "Basic Constraints: critical"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let said = files.text("x509 -in {server} -noout -text");
        let usage = if leaf == RSA { "Digital Signature, Key Encipherment" } else { "Digital Signature" };
        for part in ["CA:FALSE", usage, "TLS Web Server Authentication", "DNS:www.example.com, IP Address:10.0.0.1"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        // The names of the request are replaced by those that are given.
        let other = issue(bed, &id(&issuer), &csr, &[("Domain", "a.example, *.b.example")]);
        files.write("other", text(&other["X509Certificate"]));
        let said = files.text("x509 -in {other} -noout -ext subjectAltName");
        assert!(said.contains("DNS:a.example, DNS:*.b.example") && !said.contains("www"), "{said}");
    }
}

fn revoked_certificates_are_in_the_crl(bed: &Bed) {
    let files = Files::new();
    let root = root(bed, "EC_P256", &[("CrlDay", "3")]);
    let caller = Caller::account();
    let csr = files.csr(EC, "/CN=a", "");
    let made: Vec<Value> = (0..3).map(|_| issue(bed, &id(&root), &csr, &[("Domain", "a.example")])).collect();
    files.write("root", text(&root["X509Certificate"]));
    for (name, one) in ["0", "1", "2"].iter().zip(&made) {
        files.write(name, text(&one["X509Certificate"]));
    }
    let crl = || {
        files.write("crl", bed.kms().revocation_list(&caller, &id(&root)).unwrap());
        files.text("crl -in {crl} -noout -text -CAfile {root}")
    };
    let check = |name: &str| files.verifies(&format!("verify -CAfile {{root}} -crl_check -CRLfile {{crl}} {{{name}}}"));
    let said = crl();
    assert!(
        said.contains("No Revoked Certificates") && said.contains("X509v3 CRL Number: \n                1"),
        "{said}"
    );
    assert!(check("0") && check("1") && check("2"));
    bed.ok("CreateRevokeClientCertificate", &[("Identifier", &id(&made[1]))]);
    let said = crl();
    assert!(
        said.contains("X509v3 CRL Number: \n                2") && said.matches("Serial Number").count() == 1,
        "{said}"
    );
    assert!(check("0") && !check("1") && check("2"));
    // For ever.
    for (action, name) in
        [("CreateRevokeClientCertificate", "Identifier"), ("UpdateCertificateStatus", "CertificateId")]
    {
        let of = id(&made[1]);
        let mut all = vec![(name, of.as_str())];
        all.extend((name == "CertificateId").then_some(("Status", "ACTIVE")));
        assert_eq!(bed.refused(action, &all), (409, "Rejected.StateModifiedFailed"), "{action}");
    }
    let listed = bed.ok("ListClientCertificate", &[("Identifier", &id(&root))]);
    let states: Vec<_> = listed["CertificateList"].as_array().unwrap().iter().map(|one| text(&one["Status"])).collect();
    assert_eq!(states, ["ISSUE", "REVOKE", "ISSUE"]);
    // Deleting it, before or after, does not make it good again; and there are two ways to revoke.
    bed.ok("DeleteCertificate", &[("CertificateId", &id(&made[1]))]);
    bed.ok("UpdateCertificateStatus", &[("CertificateId", &id(&made[2])), ("Status", "REVOKED")]);
    assert_eq!(crl().matches("Serial Number").count(), 2);
    assert!(check("0") && !check("1") && !check("2"));
    let strange = crate::certificates::request(bed, &[]).0;
    assert_eq!(bed.refused("CreateRevokeClientCertificate", &[("Identifier", &strange)]), (400, "InvalidParameter"));
}

fn an_authority_keeps_its_limits(bed: &Bed) {
    let files = Files::new();
    let csr = files.csr(EC, "/CN=a", "");
    let (root, flat) = (root(bed, "EC_P256", &[]), root(bed, "EC_P256", &[("PathLenConstraint", "0")]));
    let middle = sub(bed, &id(&root), "EC_P256", &[("PathLenConstraint", "1")]);
    let last = sub(bed, &id(&middle), "EC_P256", &[]);
    let below = |parent: &Value, more: &[(&str, &str)]| {
        let parent = id(parent);
        let mut all = vec![("ParentIdentifier", parent.as_str()), ("Subject", "CN=x"), ("Algorithm", "EC_P256")];
        all.extend(more);
        bed.refused("CreateSubCACertificate", &all)
    };
    let invalid = (400, "InvalidParameter");
    assert_eq!(below(&flat, &[("Years", "1")]), invalid, "path length 0");
    assert_eq!(below(&last, &[("Years", "1")]), invalid);
    assert_eq!(below(&middle, &[("Years", "1"), ("PathLenConstraint", "1")]), invalid);
    assert_eq!(below(&root, &[("Years", "11")]), invalid, "longer than the root");
    for more in [[("Years", "0")], [("Years", "31")], [("Years", "x")]] {
        assert_eq!(below(&root, &more), invalid, "{more:?}");
    }
    for more in [("CrlDay", "0"), ("CrlDay", "366"), ("PathLenConstraint", "256"), ("PathLenConstraint", "-1")] {
        assert_eq!(below(&root, &[("Years", "1"), more]), invalid, "{more:?}");
    }
    let parent = id(&root);
    let leaf = |parent: &str, more: &[(&str, &str)]| {
        let mut all = vec![("ParentIdentifier", parent), ("Csr", csr.as_str())];
        all.extend(more);
        bed.refused("CreateServerCertificateWithCsr", &all)
    };
    let name = ("Domain", "a.example");
    assert_eq!(leaf(&parent, &[name, ("Days", "3651")]), invalid, "longer than the CA");
    assert_eq!(leaf(&parent, &[name, ("Days", "0")]), invalid);
    assert_eq!(leaf(&parent, &[]), invalid, "a server without a name");
    assert_eq!(leaf(&parent, &[("Domain", "a b")]), invalid);
    // What is no CA issues nothing, nor does one that is out of use.
    let one = id(&issue(bed, &parent, &csr, &[name]));
    assert_eq!(leaf(&one, &[name]), invalid);
    bed.ok("UpdateCertificateStatus", &[("CertificateId", &parent), ("Status", "INACTIVE")]);
    assert_eq!(leaf(&parent, &[name]), (409, "Rejected.StateModifiedFailed"));
    for algorithm in ["Aliyun_AES_256", "", "RSA_1024", "HMAC_SHA_256"] {
        let all = [("Subject", "CN=x"), ("Algorithm", algorithm), ("Years", "1")];
        assert_eq!(bed.refused("CreateRootCACertificate", &all), invalid, "{algorithm}");
    }
}

fn what_is_no_request_gets_no_certificate(bed: &Bed) {
    let files = Files::new();
    let root = id(&root(bed, "EC_P256", &[]));
    let good = files.csr(EC, "/CN=a", "");
    // A signature by another key: the public key of one in the request of the other.
    let der = openssl("req -outform DER", good.as_bytes());
    let mut forged = der.clone();
    *forged.last_mut().unwrap() ^= 1;
    let forged = String::from_utf8(openssl("enc -base64", &forged)).unwrap();
    let forged = format!("-----BEGIN CERTIFICATE REQUEST-----\n{forged}-----END CERTIFICATE REQUEST-----\n");
    let mut wrong = vec![forged, String::new(), "x".to_owned(), good.replace("REQUEST", "CERT"), good[..99].to_owned()];
    for at in (0..der.len()).step_by(7) {
        let mut damaged = der.clone();
        damaged[at] ^= 0x20;
        let text = String::from_utf8(openssl("enc -base64", &damaged)).unwrap();
        wrong.push(format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"));
    }
    for csr in wrong {
        let all = [("ParentIdentifier", root.as_str()), ("Csr", &csr), ("Domain", "a.example")];
        assert_eq!(bed.refused("CreateServerCertificateWithCsr", &all), (400, "InvalidParameter"), "{csr}");
    }
    let listed = bed.ok("ListClientCertificate", &[("Identifier", &root)]);
    assert_eq!(listed["CertificateList"].as_array().unwrap().len(), 0);
}

fn s002_038_039_041_issued_certificates_come_into_the_list(bed: &Bed) {
    let files = Files::new();
    let root = id(&root(bed, "EC_P256", &[]));
    let name = format!("CN={}", uuid::Uuid::new_v4());
    let csr = files.csr(EC, &format!("/{name}"), "");
    let made: Vec<String> = (0..3).map(|_| id(&issue(bed, &root, &csr, &[("Domain", "a.example")]))).collect();
    let listed = || list(bed, &[("Subject", &name)]);
    assert_eq!(listed().len(), 0);
    let sync = |ids: &[&str]| bed.run("UploadPcaCertToCas", &[("Ids", &ids.join(","))]);
    // All or none.
    let nobody = uuid::Uuid::new_v4().to_string();
    assert_eq!(sync(&[&made[0], &nobody]).unwrap_err().code, "Certificate.NotFound");
    let created = crate::certificates::request(bed, &[]).0;
    assert_eq!(sync(&[&made[0], &created]).unwrap_err().code, "InvalidParameter");
    assert_eq!(listed().len(), 0);
    assert_eq!(sync(&[&made[0], &made[2]]).unwrap()["Count"], 2);
    assert_eq!(sync(&[&made[0]]).unwrap()["Count"], 0);
    let seen = listed();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|one| one["Source"] == "PRIVATE_CA" && one["Status"] == "ACTIVE"), "{seen:?}");
    let issued = bed.ok("ListClientCertificate", &[("Identifier", &root)]);
    let state = |at: usize| text(&issued["CertificateList"][at]["Synchronisation"]);
    assert_eq!([state(0), state(1), state(2)], ["Uploaded", "", "Uploaded"]);
    // One for a key of ours is its certificate from then on.
    let key = bed.key("EC_P256", "SIGN/VERIFY");
    let csr = bed.kms().csr(&Caller::account(), &key, None, "CN=ours", &["ours.example".to_owned()]).unwrap();
    let ours = id(&issue(bed, &root, &csr, &[]));
    sync(&[&ours]).unwrap();
    let all = [("CertificateId", ours.as_str()), ("Algorithm", "ECDSA_SHA_256"), ("Message", "eA==")];
    bed.ok("CertificatePrivateKeySign", &all);
    bed.ok("DeleteCertificate", &[("CertificateId", &ours)]);
    assert_eq!(bed.state(&key), "Enabled");
}

fn s002_056_057_only_long_lived_certificates_of_a_private_ca_are_a_risk(bed: &Bed) {
    let files = Files::new();
    let root = id(&root(bed, "EC_P256", &[]));
    let csr = files.csr(EC, "/CN=a", "");
    let of = |days: &str| {
        let all = [("ParentIdentifier", root.as_str()), ("Csr", &csr), ("Domain", "a.example"), ("Days", days)];
        bed.ok("CreateServerCertificateWithCsr", &all);
        let issued = bed.ok("ListClientCertificate", &[("Identifier", &root)]);
        issued["CertificateList"].as_array().unwrap().last().unwrap()["LeakageRisk"].as_bool().unwrap()
    };
    assert_eq!([of("90"), of("365"), of("366"), of("367"), of("800")], [false, false, false, true, true]);
    // What is recommended is what one gets without a choice: a year.
    let all = [("ParentIdentifier", root.as_str()), ("Csr", &csr), ("Domain", "a.example")];
    files.write("year", text(&bed.ok("CreateServerCertificateWithCsr", &all)["X509Certificate"]));
    let issued = bed.ok("ListClientCertificate", &[("Identifier", &root)]);
    assert_eq!(issued["CertificateList"].as_array().unwrap().last().unwrap()["LeakageRisk"], false);
    assert!(files.verifies("x509 -in {year} -noout -checkend 31000000"));
    assert!(!files.verifies("x509 -in {year} -noout -checkend 31622400"));
}
