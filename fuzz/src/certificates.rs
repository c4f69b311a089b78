//! What `alikms convert`, uploads and the private CA take: PEM, DER, PKCS#8, PKCS#12, requests. (A Java keystore is read by
//! the JDK's keytool, so that no parser of ours sees more of it than four bytes.)

use alikms_pkcs11::kms::container::{Private, in_order, read_pkcs12};
use alikms_pkcs11::kms::subject;
use alikms_pkcs11::kms::x509::{self, Leaf};
use alikms_pkcs11::model::time::Moment;

use super::world::world;

/// What test containers are protected with.
const PASSPHRASE: &str = "secret";

pub fn run(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 8 {
        0 => leaf(data),
        1 => key(data),
        2 => {
            if let Ok((_, leaf, chain)) = read_pkcs12(data, PASSPHRASE) {
                let (_, _) = (leaf.public(), chain.len());
            }
        }
        3 => {
            let _ = Private::from_encrypted(data, PASSPHRASE);
        }
        _ => text(*kind, data),
    }
}

fn leaf(der: &[u8]) {
    let _ = subject::common_name(der);
    let Ok(leaf) = Leaf::from_der(der) else { return };
    let (_, _, _) = (leaf.not_before(), leaf.not_after(), leaf.serial_der());
    let (_, _, _) = (leaf.subject().to_string(), leaf.issuer().to_string(), leaf.serial().len());
    let (_, _, _) = (leaf.is_authority(), leaf.may(true), leaf.may(false));
    let (_, _, _) = (leaf.signature_name(), leaf.key_identifier(), leaf.alternative_names());
    if let Ok(public) = leaf.public() {
        let again = Leaf::from_der(&leaf.der).expect("what was read is read again");
        let _ = in_order(&public, vec![again]);
    }
    let pem = x509::to_pem(&leaf.der);
    assert_eq!(x509::from_pem("Certificate", &pem).map(|found| found.len()), Ok(1), "our own PEM is read");
    let _ = x509::check_chain(&leaf, std::slice::from_ref(&leaf), Moment(1_767_225_600));
}

fn key(der: &[u8]) {
    if let Ok(key) = Private::from_der(der) {
        assert!(Private::from_der(&key.der).is_ok(), "what was taken is taken again");
    }
}

fn text(kind: u8, data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match kind % 8 {
        4 => {
            let (leaf, chain) = text.split_once('\0').unwrap_or((text, ""));
            let chain = (!chain.is_empty()).then_some(chain);
            let _ = x509::check_upload(leaf, chain, Moment(1_767_225_600));
        }
        5 => {
            let (_, _) = (Private::from_pem(text, Some(PASSPHRASE)), Private::from_pem(text, None));
        }
        6 => {
            for rules in [false, true] {
                let _ = subject::parse_subject(text, rules);
            }
            let _ = subject::common_name_of(text);
        }
        _ => {
            let authority = &world().names[8];
            let given = [("ParentIdentifier", authority.as_str()), ("Csr", text)];
            let _ = world().act("CreateServerCertificateWithCsr", &given);
        }
    }
}
