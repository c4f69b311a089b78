//! Names in certificates: subjects as RFC 2253 writes them, and alternative names.

use std::str::FromStr;

use der::Encode;
use der::asn1::{Ia5String, ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

use crate::error::{Error, Result};
use crate::kms::x509::{Leaf, ip_text};

/// S001-013.
const MAX_ALTERNATIVE_NAMES: usize = 10;
/// The longest subject, in bytes of its RFC 2253 form.
const LONGEST_SUBJECT: usize = 4096;
/// RFC 5280, appendix A.1: upper bounds, in characters.
static LONGEST_VALUES: &[(ObjectIdentifier, &str, usize)] = &[
    (COMMON_NAME, "CN", 64),
    (ORGANIZATION, "O", 64),
    (ORGANIZATIONAL_UNIT, "OU", 64),
    (LOCALITY, "L", 128),
    (STATE, "ST", 128),
    (EMAIL, "E", 255),
];

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
const COUNTRY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.6");
const EMAIL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.1");
const LOCALITY: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.7");
const ORGANIZATION: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.10");
const ORGANIZATIONAL_UNIT: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.11");
const STATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.8");

fn bad(name: &str, error: impl std::fmt::Display) -> Error {
    Error::invalid(name, error.to_string())
}

/// A subject in RFC 2253 form. `needs` names the attributes that must be there (ruling 12).
pub fn parse_subject(text: &str, certificate_rules: bool) -> Result<Name> {
    if text.len() > LONGEST_SUBJECT {
        return Err(bad("Subject", "longer than 4096 bytes"));
    }
    let name = Name::from_str(&normalise(text)).map_err(|_| {
        bad("Subject", "not a distinguished name of the form CN=userName,OU=kms,O=aliyun,C=CN (RFC 2253)")
    })?;
    check_name("Subject", &name)?;
    let has = |oid| name.iter().any(|part| part.oid == oid && !part.value.value().is_empty());
    let needed: &[(&str, ObjectIdentifier)] = if certificate_rules {
        &[("CN", COMMON_NAME), ("C", COUNTRY), ("O", ORGANIZATION), ("OU", ORGANIZATIONAL_UNIT)]
    } else {
        &[("CN", COMMON_NAME)]
    };
    if let Some((missing, _)) = needed.iter().find(|(_, oid)| !has(*oid)) {
        return Err(bad("Subject", format!("{missing} is required")));
    }
    let countries = name.iter().filter(|part| part.oid == COUNTRY).map(|part| part.value.value());
    if countries.into_iter().any(|country| country.len() != 2 || !country.iter().all(u8::is_ascii_uppercase)) {
        return Err(bad("Subject", "C is a country code of two capital letters (ISO 3166-1)"));
    }
    Ok(name)
}

/// A name that can stand in a certificate: not empty, without control characters, no part of it too long.
pub fn check_name(parameter: &str, name: &Name) -> Result<()> {
    if name.is_empty() {
        return Err(bad(parameter, "the subject is empty"));
    }
    for part in name.iter() {
        let value = part.value.value();
        let text = String::from_utf8_lossy(value);
        if text.chars().any(char::is_control) {
            return Err(bad(parameter, "there are control characters in the subject"));
        }
        let known = LONGEST_VALUES.iter().find(|(oid, ..)| *oid == part.oid);
        if let Some((_, what, most)) = known
            && text.chars().count() > *most
        {
            return Err(bad(parameter, format!("{what} is longer than {most} characters")));
        }
    }
    match name.to_der() {
        Ok(der) if der.len() <= LONGEST_SUBJECT => Ok(()),
        _ => Err(bad(parameter, "the subject is longer than 4096 bytes")),
    }
}

/// Spaces after the separators go, and E is written out: RFC 2253 tolerates both, the parser does not know them.
fn normalise(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut part = String::new();
    let mut escaped = false;
    for letter in text.chars() {
        if letter == ',' && !escaped {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(letter);
        }
        escaped = letter == '\\' && !escaped;
    }
    parts.push(part);
    let email = |part: &str| match part.trim_start().split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("E") => format!("emailAddress={value}"),
        _ => part.trim_start().to_owned(),
    };
    parts.iter().map(|part| email(part)).collect::<Vec<_>>().join(",")
}

/// The common name of a subject in RFC 2253 form.
pub fn common_name_of(subject: &str) -> Option<String> {
    text_of(&Name::from_str(&normalise(subject)).ok()?)
}

/// The common name of a certificate's subject.
pub fn common_name(der: &[u8]) -> Option<String> {
    text_of(Leaf::from_der(der).ok()?.subject())
}

fn text_of(name: &Name) -> Option<String> {
    let value = name.iter().find(|part| part.oid == COMMON_NAME)?.value.value();
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// Is it a domain name, perhaps with a wildcard in front?
fn is_domain(name: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.strip_prefix("*.").unwrap_or(name).split('.').all(label_ok)
}

/// The names that a CSR asks for, if they are such as are issued here: domain names, IP addresses, e-mail addresses.
pub fn check_asked(names: &SubjectAltName) -> Result<()> {
    if names.0.len() > MAX_ALTERNATIVE_NAMES {
        return Err(bad("Csr", "at most 10 subject alternative names"));
    }
    let fits = |name: &GeneralName| match name {
        GeneralName::DnsName(name) => is_domain(name.as_str()),
        GeneralName::IpAddress(octets) => ip_text(octets.as_bytes()).is_some(),
        GeneralName::Rfc822Name(name) => {
            let name = name.as_str();
            name.len() <= 254 && name.bytes().all(|byte| byte.is_ascii_graphic()) && name.split('@').count() == 2
        }
        _ => false,
    };
    match names.0.iter().all(fits) {
        true => Ok(()),
        false => {
            Err(bad("Csr", "its subject alternative names are domain names, IP addresses and e-mail addresses only"))
        }
    }
}

/// Domain names, wildcards included, and IP addresses.
pub fn general_names(names: &[String]) -> Result<SubjectAltName> {
    if names.len() > MAX_ALTERNATIVE_NAMES {
        return Err(bad("SubjectAlternativeNames", "at most 10 names"));
    }
    let one = |name: &String| -> Result<GeneralName> {
        if let Ok(address) = name.parse::<std::net::IpAddr>() {
            return Ok(GeneralName::from(address));
        }
        if !is_domain(name) {
            return Err(bad("SubjectAlternativeNames", format!("{name:?} is not a domain name")));
        }
        Ia5String::new(name).map(GeneralName::DnsName).map_err(|error| bad("SubjectAlternativeNames", error))
    };
    names.iter().map(one).collect::<Result<Vec<_>>>().map(SubjectAltName)
}
