//! Certificates, requests and files that are wrong in every way (issue 5, item 8): refused with the reason, in bounded time, and
//! nothing is changed.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bed::{Bed, software, text, to_base64};
use crate::certificates::{SUBJECT, request};
use crate::common::{ca::Ca, openssl, pipe, run};
use crate::files::{EC, Files};

/// No refusal may take longer on a machine that has other things to do as well.
const SOON: Duration = Duration::from_secs(10);

/// What an action that is refused says; InvalidParameter, and soon.
fn refused(bed: &Bed, action: &str, parameters: &[(&str, &str)]) -> String {
    let begun = Instant::now();
    let fault = bed.fault(action, parameters);
    assert!(begun.elapsed() < SOON, "{action}: {:?}", begun.elapsed());
    assert_eq!((fault.status, fault.code), (400, "InvalidParameter"), "{fault:?}");
    fault.message
}

impl Files {
    /// `NAME.pem` and `NAME.key`, signed by itself or by another of these.
    fn certificate(&self, name: &str, issuer: Option<&str>, extensions: &str, days: &str) -> String {
        self.ssl(&format!("genpkey {EC} -out {{{name}.key}}"));
        self.ssl(&format!("req -new -key {{{name}.key}} -subj /CN={name} -out {{{name}.csr}}"));
        self.write("ext", extensions);
        let by = match issuer {
            Some(issuer) => format!("-CA {{{issuer}.pem}} -CAkey {{{issuer}.key}} -set_serial 7"),
            None => format!("-signkey {{{name}.key}}"),
        };
        let how = if extensions.is_empty() { "" } else { "-extfile {ext}" };
        self.ssl(&format!("x509 -req -in {{{name}.csr}} {by} -days {days} {how} -out {{{name}.pem}}"));
        self.read(&format!("{name}.pem"))
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = String::from_utf8(openssl("enc -base64", der)).unwrap();
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

/// Length and header length of the element at the front; None if there is none.
fn element(der: &[u8]) -> Option<(usize, usize)> {
    let first = usize::from(*der.get(1)?);
    let (length, header) = match first {
        0..=0x7f => (first, 2),
        0x81..=0x84 => {
            let bytes = der.get(2..2 + (first - 0x80))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + bytes.len())
        }
        _ => return None,
    };
    (header + length <= der.len()).then_some((length, header))
}

/// The same DER with other integers; what stands in OCTET STRINGs included.
fn with_integers(der: &[u8], change: &mut impl FnMut(&[u8]) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = der;
    while !rest.is_empty() {
        let (length, header) = element(rest)?;
        let (tag, content) = (rest[0], &rest[header..header + length]);
        let content = match tag {
            2 => change(content).unwrap_or_else(|| content.to_vec()),
            4 => with_integers(content, change).unwrap_or_else(|| content.to_vec()),
            _ if tag & 0x20 != 0 => with_integers(content, change)?,
            _ => content.to_vec(),
        };
        out.push(tag);
        match content.len() {
            short @ 0..0x80 => out.push(short as u8),
            long => out.extend([0x83, (long >> 16) as u8, (long >> 8) as u8, long as u8].iter()),
        }
        out.extend(content);
        rest = &rest[header + length..];
    }
    Some(out)
}

/// A PKCS#12 file whose iteration counts are 2^31 - 1, or whatever else is absurd, in one place or in all of them.
#[test]
fn pkcs12_files_that_ask_for_endless_work() {
    let (bed, files) = (software(), Files::new());
    files.certificate("web", None, "", "9");
    for options in ["", "-nomac", "-legacy"] {
        let words = format!("pkcs12 -export -inkey {{web.key}} -in {{web.pem}} -passout pass:secret {options}");
        let blob = files.ssl(&words);
        let mut counts = 0;
        with_integers(&blob, &mut |content| {
            counts += usize::from(content == [8, 0]);
            None
        })
        .unwrap();
        assert!(counts >= 1, "{options}: {counts}");
        let wrong: &[&[u8]] =
            &[&[0x7f, 0xff, 0xff, 0xff], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x80], &[0]];
        for bad in wrong {
            for only in (0..counts).map(Some).chain([None]) {
                let mut at = 0;
                let bomb = with_integers(&blob, &mut |content| {
                    let hit = content == [8, 0] && only.is_none_or(|only| only == at);
                    at += usize::from(content == [8, 0]);
                    hit.then(|| bad.to_vec())
                });
                let blob = to_base64(&bomb.unwrap());
                refused(bed, "ImportCertificate", &[("PKCS12Blob", &blob), ("Passphrase", "secret")]);
            }
        }
    }
    // One part after the other that each ask for as much as is allowed.
    let part = [&[0x06, 0x09][..], &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d]].concat();
    let said = refused(bed, "ImportCertificate", &[("PKCS12Blob", &to_base64(&part.repeat(5))), ("Passphrase", "x")]);
    assert!(said.contains("more than 4 encrypted parts"), "{said}");
    // More certificates than a chain has.
    let many: String = (0..13).map(|at| files.certificate(&format!("c{at}"), None, "", "9")).collect();
    files.write("many.pem", many);
    let words = "pkcs12 -export -inkey {web.key} -in {web.pem} -certfile {many.pem} -passout pass:secret";
    let blob = to_base64(&files.ssl(words));
    let said = refused(bed, "ImportCertificate", &[("PKCS12Blob", &blob), ("Passphrase", "secret")]);
    assert!(said.contains("More than 10 certificates"), "{said}");
}

/// Texts that are too much, or no text at all.
#[test]
fn pem_bombs() {
    let (bed, files) = (software(), Files::new());
    let (id, csr) = request(bed, &[]);
    let ca = Ca::new();
    let leaf = ca.sign(&csr);
    let before = bed.ok("DescribeCertificate", &[("CertificateId", &id)]);
    let begin = "-----BEGIN CERTIFICATE-----\n";
    let deep = pem("CERTIFICATE", &[0x30, 0x80].repeat(60_000));
    let huge = pem("CERTIFICATE", &[&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff][..], &[0; 100_000]].concat());
    let other = files.certificate("other", None, "", "9");
    for (bomb, reason) in [
        (leaf.repeat(1000), "larger than 256 KiB"),
        ("x".repeat(10_000_000), "larger than 256 KiB"),
        (begin.repeat(9000), "format is incorrect"),
        (format!("{begin}{}", "A".repeat(200_000)), "format is incorrect"),
        (deep, "format is incorrect"),
        (huge, "format is incorrect"),
        (leaf.clone() + &other.repeat(11), "ore than 10 certificates"),
        (format!("{begin}\0-----END CERTIFICATE-----\n"), "format is incorrect"),
        (leaf.replace("MII", "MII\u{202e}"), "format is incorrect"),
        ("\u{feff}".to_owned() + &leaf, "format is incorrect"),
    ] {
        let all = [("CertificateId", id.as_str()), ("Certificate", &bomb)];
        let said = refused(bed, "UploadCertificate", &all).to_lowercase();
        assert!(said.contains(&reason.to_lowercase()), "{reason}: {said}");
        let said = refused(bed, "UploadCertificate", &[all[0], ("Certificate", &leaf), ("CertificateChain", &bomb)]);
        assert!(said.contains("\"CertificateChain\""), "{said}");
    }
    let unchanged = bed.ok("DescribeCertificate", &[("CertificateId", &id)]);
    let field = |name: &str| (before[name].clone(), unchanged[name].clone());
    for (was, is) in [field("Status"), field("UpdatedAt"), field("NotAfter")] {
        assert_eq!(was, is);
    }
    bed.ok("UploadCertificate", &[("CertificateId", &id), ("Certificate", &leaf), ("CertificateChain", &ca.chain())]);
}

/// A chain in which something is wrong with one who issued.
#[test]
fn wrong_chains() {
    let (bed, files) = (software(), Files::new());
    let ca = |more: &str| format!("basicConstraints=critical,CA:TRUE{more}\n");
    let root = files.certificate("root", None, &ca(",pathlen:0"), "99");
    let middle = files.certificate("middle", Some("root"), &ca(""), "98");
    files.certificate("under", Some("middle"), "", "9");
    files.certificate("nobody", None, "basicConstraints=CA:FALSE\n", "99");
    let silent = files.certificate("silent", None, "subjectKeyIdentifier=hash\n", "99");
    let mute = files.certificate("mute", None, &(ca("") + "keyUsage=digitalSignature\n"), "99");
    let nobody = files.read("nobody.pem");
    for (issuer, chain, reason) in [
        ("middle", middle.clone() + &root, "path length"),
        ("nobody", nobody, "none of a CA"),
        ("silent", silent, "none of a CA"),
        ("mute", mute, "key usage"),
    ] {
        let leaf = files.certificate("leaf", Some(issuer), "", "9");
        let key = files.read("leaf.key");
        let all = [("Cert", leaf.as_str()), ("Key", &key), ("CertChain", &chain)];
        let said = refused(bed, "UploadUserCertificate", &all);
        assert!(said.contains(reason) && said.contains("\"CertificateChain\""), "{issuer}: {said}");
    }
    // A root of old times, without extensions, and a chain of four.
    let old = files.certificate("old", None, "", "99");
    files.certificate("one", Some("old"), &ca(""), "98");
    files.certificate("two", Some("one"), &ca(",pathlen:0"), "97");
    let leaf = files.certificate("leaf", Some("two"), "", "9");
    let chain = files.read("two.pem") + &files.read("one.pem") + &old;
    let key = files.read("leaf.key");
    bed.ok("UploadUserCertificate", &[("Cert", &leaf), ("Key", &key), ("CertChain", &chain)]);
}

/// Subjects that no certificate should have, in what is asked for and in a CSR.
#[test]
fn absurd_names() {
    let (bed, files) = (software(), Files::new());
    let ask = |subject: &str| {
        let said = refused(bed, "CreateCertificate", &[("KeySpec", "EC_P256"), ("Subject", subject)]);
        assert!(said.contains("\"Subject\""), "{said}");
        said
    };
    let long = |count: usize| "x".repeat(count);
    for (subject, reason) in [
        (format!("CN={},OU=a,O=b,C=CN", long(65)), "CN is longer than 64"),
        (format!("CN=a,OU={},O=b,C=CN", "é".repeat(65)), "OU is longer than 64"),
        (format!("CN=a,OU=a,O={},C=CN", long(65)), "O is longer than 64"),
        (format!("CN=a,OU=a,O=b,L={},C=CN", long(129)), "L is longer than 128"),
        (format!("CN=a,OU=a,O=b,E={}@x,C=CN", long(255)), "E is longer than 255"),
        (format!("CN=a,{}O=b,C=CN", "OU=many,".repeat(600)), "longer than 4096"),
        ("CN=a\u{7},OU=a,O=b,C=CN".to_owned(), "control characters"),
        ("CN=a\\0Ab,OU=a,O=b,C=CN".to_owned(), "control characters"),
        ("CN=a\\00b,OU=a,O=b,C=CN".to_owned(), "control characters"),
    ] {
        let said = ask(&subject).to_lowercase();
        assert!(said.contains(&reason.to_lowercase()), "{subject}: {said}");
    }
    request(bed, &[("Subject", &format!("CN={},OU=a,O=b,C=CN", "é".repeat(64)))]);

    let all = [("Subject", "CN=Names,O=o,C=CN"), ("Algorithm", "EC_P256"), ("Years", "2")];
    let authority = text(&bed.ok("CreateRootCACertificate", &all)["Identifier"]);
    files.ssl(&format!("genpkey {EC} -out {{key}}"));
    let key = files.path("key");
    let csr = |subject: &str, names: &str| {
        let extension = format!("subjectAltName={names}");
        let mut words = vec!["req", "-new", "-utf8", "-key", &key, "-subj", subject];
        if !names.is_empty() {
            words.extend(["-addext", extension.as_str()]);
        }
        String::from_utf8(pipe("openssl", &words, b"")).unwrap()
    };
    let issue = |csr: &str| {
        let all = [("ParentIdentifier", authority.as_str()), ("Csr", csr)];
        refused(bed, "CreateClientCertificateWithCsr", &all)
    };
    let many = format!("/CN=a{}", format!("/OU={}", long(64)).repeat(80));
    let eleven: Vec<String> = (0..11).map(|at| format!("DNS:h{at}.example")).collect();
    for (csr, reason) in [
        (csr("/", ""), "empty"),
        (csr("/CN=a\u{1}b", ""), "control characters"),
        (csr(&many, ""), "longer than 4096"),
        (csr("/CN=a", "URI:http://a.example/"), "domain names, IP addresses and e-mail"),
        (csr("/CN=a", "otherName:1.2.3;UTF8:x"), "domain names, IP addresses and e-mail"),
        (csr("/CN=a", "DNS:a b"), "domain names, IP addresses and e-mail"),
        (csr("/CN=a", "DNS:*.*.example"), "domain names, IP addresses and e-mail"),
        (csr("/CN=a", "email:nobody"), "domain names, IP addresses and e-mail"),
        (csr("/CN=a", &eleven.join(",")), "at most 10"),
    ] {
        let said = issue(&csr).to_lowercase();
        assert!(said.contains(&reason.to_lowercase()), "{reason}: {said}");
    }
    let listed = bed.ok("ListClientCertificate", &[("Identifier", &authority)]);
    assert_eq!(listed["CertificateList"], Value::Array(Vec::new()));
    let good = csr("/CN=a", "DNS:*.a.example,IP:::1,email:a@b.example");
    bed.ok("CreateClientCertificateWithCsr", &[("ParentIdentifier", &authority), ("Csr", &good)]);
}

/// With its chain beside it, no certificate in which a bit was turned is taken: everything is signed or compared.
#[test]
fn every_turned_bit_is_found() {
    let (bed, ca) = (software(), Ca::new());
    let (id, csr) = request(bed, &[]);
    let leaf = ca.sign(&csr);
    let der = pipe("openssl", &["x509", "-outform", "DER"], leaf.as_bytes());
    let chain = ca.chain();
    for at in 0..der.len() {
        let mut turned = der.clone();
        turned[at] ^= 1 << (at % 8);
        let all = [
            ("CertificateId", id.as_str()),
            ("Certificate", &pem("CERTIFICATE", &turned)),
            ("CertificateChain", &chain),
        ];
        refused(bed, "UploadCertificate", &all);
        let all = [("CertificateId", id.as_str()), ("Certificate", &pem("CERTIFICATE", &der[..at])), all[2]];
        refused(bed, "UploadCertificate", &all);
    }
    assert_eq!(bed.ok("DescribeCertificate", &[("CertificateId", &id)])["Status"], "PENDING");
    let text_of = bed.ok("DescribeCertificate", &[("CertificateId", &id)]);
    assert_eq!(text_of["Subject"], SUBJECT);
}

/// `alikms convert` says what is wrong with a file and writes none.
#[test]
fn files_that_cannot_be_converted() {
    let files = Files::new();
    files.certificate("web", None, "", "9");
    let (key, leaf) = (files.read("web.key"), files.read("web.pem"));
    files.write("pass", "secret");
    let der = files.ssl("x509 -in {web.pem} -outform DER");
    let p12 = files.ssl("pkcs12 -export -inkey {web.key} -in {web.pem} -passout pass:secret");
    let sealed = files.ssl("pkcs8 -topk8 -in {web.key} -passout pass:secret -outform DER -v2 aes-256-cbc -iter 3333");
    let endless =
        with_integers(&sealed, &mut |content| (content == [0x0d, 0x05]).then(|| vec![0x7f, 0xff, 0xff, 0xff]));
    let endless = endless.unwrap();
    assert_ne!(endless, sealed);
    let memory =
        "pkcs8 -topk8 -in {web.key} -passout pass:secret -outform DER -scrypt -scrypt_N 1024 -scrypt_r 8 -scrypt_p 1";
    let memory =
        with_integers(&files.ssl(memory), &mut |content| (content == [4, 0]).then(|| vec![0x40, 0, 0, 0])).unwrap();
    let jks = [&[0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2][..], &[0x7f, 0xff, 0xff, 0xff], &[0; 40]].concat();
    for (name, bytes, reason) in [
        ("empty", Vec::new(), "neither PEM nor"),
        ("cut.der", der[..der.len() - 1].to_vec(), ""),
        ("cut.p12", p12[..p12.len() - 1].to_vec(), ""),
        ("deep", [0x30, 0x80].repeat(100_000), ""),
        ("endless.p8", endless, ""),
        ("memory.p8", memory, ""),
        ("many.jks", jks.clone(), "keytool"),
        ("cut.jks", jks[..9].to_vec(), "keytool"),
        ("huge", vec![0x30; (1 << 20) + 1], "larger than 1 MiB"),
        ("two.pem", (key.clone() + &key).into_bytes(), "more than one private key"),
        ("begin.pem", b"-----BEGIN CERTIFICATE-----\n".to_vec(), "broken PEM"),
        ("junk.pem", (leaf.clone() + "junk\n" + &leaf).into_bytes(), "broken PEM"),
        ("utf8.pem", [leaf.as_bytes(), &[0xff]].concat(), "no text"),
    ] {
        let path = files.write(name, bytes);
        let out = files.path("out");
        let pass = format!("file:{}", files.path("pass"));
        let begun = Instant::now();
        let mut command = Command::new(env!("CARGO_BIN_EXE_alikms"));
        let words = ["convert", &path, "--passphrase", &pass, "--to", "pem", "--out", &out];
        let done = run(command.args(if name == "empty" { &words[..2] } else { &words[..4] }).args(&words[4..]));
        assert!(begun.elapsed() < SOON, "{name}: {:?}", begun.elapsed());
        assert_eq!((done.status, done.stdout.as_str()), (1, ""), "{name}: {done:?}");
        assert!(done.stderr.starts_with("ERROR: ") && done.stderr.contains(reason), "{name}: {done:?}");
        assert!(!std::path::Path::new(&out).exists(), "{name}");
    }
    // A key of another certificate makes no PKCS#12 file.
    files.certificate("other", None, "", "9");
    let pass = format!("file:{}", files.path("pass"));
    let (leaf, key) = (files.path("web.pem"), files.path("other.key"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_alikms"));
    let done = run(command.args(["convert", &leaf, "--key-file", &key, "--new-passphrase", &pass, "--to", "pkcs12"]));
    assert!(done.status == 1 && done.stderr.contains("Certificate and private key do not match"), "{done:?}");
}
