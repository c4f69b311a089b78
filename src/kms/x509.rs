//! X.509: names, CSRs and certificates, read and checked through `x509-cert`.

use der::asn1::{BitString, ObjectIdentifier, SetOfVec};
use der::pem::LineEnding;
use der::{Any, Decode, Encode, EncodePem};
use spki::AlgorithmIdentifierOwned;
use x509_cert::attr::Attribute;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName, SubjectKeyIdentifier};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, CertReqInfo, ExtensionReq, Version};

use crate::crypto::digest::hash;
use crate::crypto::{ec, sm2};
use crate::error::{Error, Result};
use crate::kms::subject::general_names;
use crate::model::algorithm::Signing;
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::public::PublicKey;
use crate::model::time::Moment;
use crate::protection::public::Prepared;

/// So many certificates stand above another one at most; real chains have up to four.
const LONGEST_CHAIN: usize = 10;
/// A text that is larger holds no certificate with its chain, in bytes.
const LARGEST_TEXT: usize = 256 * 1024;
/// The signature algorithms that are made and understood: OID, hash, name in DescribeCertificate.
/// PKCS#1 v1.5 unless the name begins with another scheme.
static SIGNATURES: &[(&str, Hash, &str)] = &[
    ("1.2.840.113549.1.1.11", Hash::Sha256, "RSA-SHA256"),
    ("1.2.840.113549.1.1.12", Hash::Sha384, "RSA-SHA384"),
    ("1.2.840.113549.1.1.13", Hash::Sha512, "RSA-SHA512"),
    ("1.2.840.10045.4.3.2", Hash::Sha256, "ECDSA-SHA256"),
    ("1.2.840.10045.4.3.3", Hash::Sha384, "ECDSA-SHA384"),
    ("1.2.840.10045.4.3.4", Hash::Sha512, "ECDSA-SHA512"),
    (ED25519, Hash::Sha512, "Ed25519"),
    (SM2_WITH_SM3, Hash::Sm3, "SM2-SM3"),
];

/// RFC 8410.
const ED25519: &str = "1.3.101.112";

/// GM/T 0006; the signer's ID is the default one (RFC 8998 §3.2.1).
const SM2_WITH_SM3: &str = "1.2.156.10197.1.501";

fn bad(name: &str, error: impl std::fmt::Display) -> Error {
    Error::invalid(name, error.to_string())
}

/// A certificate, read.
pub struct Leaf {
    pub der: Vec<u8>,
    pub certificate: x509_cert::Certificate,
}

impl Leaf {
    pub fn from_der(der: &[u8]) -> Result<Self> {
        let certificate = x509_cert::Certificate::from_der(der)
            .map_err(|error| bad("Certificate", format!("not an X.509 certificate: {error}")))?;
        Ok(Self { der: der.to_vec(), certificate })
    }

    pub fn public(&self) -> Result<PublicKey> {
        let info = self.certificate.tbs_certificate().subject_public_key_info();
        PublicKey::from_info(info).map_err(|error| bad("Certificate", error))
    }

    pub fn not_before(&self) -> Moment {
        moment(self.certificate.tbs_certificate().validity().not_before)
    }

    pub fn not_after(&self) -> Moment {
        moment(self.certificate.tbs_certificate().validity().not_after)
    }

    pub fn subject(&self) -> &Name {
        self.certificate.tbs_certificate().subject()
    }

    pub fn issuer(&self) -> &Name {
        self.certificate.tbs_certificate().issuer()
    }

    /// DER of the serial number, an INTEGER.
    pub fn serial_der(&self) -> Result<Vec<u8>> {
        self.certificate.tbs_certificate().serial_number().to_der().map_err(|error| bad("Certificate", error))
    }

    /// Big-endian.
    pub fn serial(&self) -> &[u8] {
        self.certificate.tbs_certificate().serial_number().as_bytes()
    }

    /// May its key sign certificates (basic constraints)?
    pub fn is_authority(&self) -> bool {
        let constraints = self.certificate.tbs_certificate().get_extension::<BasicConstraints>();
        matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
    }

    /// Why it cannot have issued what stands below it, with so many authorities in between; None if it can.
    fn cannot_issue(&self, between: usize) -> Option<&'static str> {
        let tbs = self.certificate.tbs_certificate();
        match tbs.get_extension::<BasicConstraints>() {
            // Old roots have no extensions at all.
            Ok(None) if tbs.version() == x509_cert::Version::V1 => {}
            Ok(Some((_, constraints))) if constraints.ca => {
                if constraints.path_len_constraint.is_some_and(|most| usize::from(most) < between) {
                    return Some("a CA in the chain allows fewer CAs below it than there are: its path length");
                }
            }
            _ => return Some("a certificate in the chain is none of a CA, and cannot have issued another"),
        }
        match tbs.get_extension::<KeyUsage>() {
            Ok(None) => None,
            Ok(Some((_, usage))) if usage.key_cert_sign() => None,
            _ => Some("a CA in the chain may not sign certificates: its key usage"),
        }
    }

    /// Does its key usage, if it has one, allow to encrypt, or to sign?
    pub fn may(&self, encrypt: bool) -> bool {
        match self.certificate.tbs_certificate().get_extension::<KeyUsage>() {
            Ok(None) => true,
            Ok(Some((_, usage))) if encrypt => usage.key_encipherment() || usage.data_encipherment(),
            Ok(Some((_, usage))) => usage.digital_signature(),
            Err(_) => false,
        }
    }

    pub fn signature_name(&self) -> String {
        let oid = self.certificate.signature_algorithm().oid.to_string();
        let known = SIGNATURES.iter().find(|(known, _, _)| *known == oid);
        known.map_or(oid, |(_, _, name)| (*name).to_owned())
    }

    /// The subject key identifier of the extension, else SHA-1 of the public key bits (RFC 5280 §4.2.1.2).
    pub fn key_identifier(&self) -> Vec<u8> {
        let tbs = self.certificate.tbs_certificate();
        match tbs.get_extension::<SubjectKeyIdentifier>() {
            Ok(Some((_, identifier))) => identifier.0.as_bytes().to_vec(),
            _ => hash(Hash::Sha1, tbs.subject_public_key_info().subject_public_key.raw_bytes()),
        }
    }

    pub fn alternative_names(&self) -> Vec<String> {
        let Ok(Some((_, names))) = self.certificate.tbs_certificate().get_extension::<SubjectAltName>() else {
            return Vec::new();
        };
        names
            .0
            .iter()
            .filter_map(|name| match name {
                GeneralName::DnsName(name) | GeneralName::Rfc822Name(name) => Some(name.to_string()),
                GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
                GeneralName::IpAddress(octets) => ip_text(octets.as_bytes()),
                _ => None,
            })
            .collect()
    }

    /// Did the holder of `issuer` sign this certificate?
    pub(super) fn is_signed_by(&self, issuer: &Leaf) -> Result<()> {
        let reject = |reason: &str| Err(Error::invalid("CertificateChain", reason));
        if self.issuer() != issuer.subject() {
            return reject("the chain is not in order: each certificate is followed by its issuer");
        }
        let tbs = self.certificate.tbs_certificate().to_der().map_err(|error| bad("CertificateChain", error))?;
        let oid = self.certificate.signature_algorithm().oid.to_string();
        match verify_signed(&issuer.public()?, &oid, &tbs, self.certificate.signature().raw_bytes())? {
            true => Ok(()),
            false => reject("the signature of a certificate was not made by the next one in the chain"),
        }
    }
}

/// Did the holder of this public key sign the DER of a certificate, CSR or CRL by this algorithm?
pub(super) fn verify_signed(public: &PublicKey, oid: &str, signed: &[u8], signature: &[u8]) -> Result<bool> {
    let Some((_, digest, name)) = SIGNATURES.iter().find(|(known, _, _)| *known == oid) else {
        return Err(bad("CertificateChain", format!("unknown signature algorithm {oid}")));
    };
    let digest_value = signed_digest(public, *digest, signed)?;
    let verified = match public {
        PublicKey::Ec { curve: Curve::Sm2, .. } if name.starts_with("SM2") => {
            Prepared::new(public)?.verify(&Signing::Sm2Der, &digest_value, signature)
        }
        PublicKey::Ec { curve: Curve::Sm2, .. } => Err(Error::SignatureInvalid),
        PublicKey::Ec { curve: Curve::Ed25519, .. } if *name == "Ed25519" => {
            Prepared::new(public)?.verify(&Signing::ED25519, &digest_value, signature)
        }
        PublicKey::Ec { curve, .. } if name.starts_with("ECDSA") => ec::from_der(*curve, signature)
            .and_then(|raw| Prepared::new(public)?.verify(&Signing::Ecdsa, &digest_value, &raw)),
        PublicKey::Rsa { .. } if name.starts_with("RSA") => {
            let info = [digest.digest_info_prefix(), &digest_value].concat();
            Prepared::new(public)?.verify(&Signing::RsaPkcs1, &info, signature)
        }
        _ => Err(Error::SignatureInvalid),
    };
    Ok(verified.is_ok())
}

pub(super) fn ip_text(octets: &[u8]) -> Option<String> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(|octets| std::net::Ipv4Addr::from(octets).to_string()),
        16 => <[u8; 16]>::try_from(octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        _ => None,
    }
}

fn moment(time: x509_cert::time::Time) -> Moment {
    Moment(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}

/// The hash that goes with a key in signatures of X.509, and the signature's OID.
pub fn signature_of(public: &PublicKey) -> (Hash, AlgorithmIdentifierOwned) {
    let (hash, oid, parameters) = match public {
        PublicKey::Rsa { .. } => (Hash::Sha256, "1.2.840.113549.1.1.11", Some(Any::null())),
        // Signs the message itself, so no hash counts.
        PublicKey::Ec { curve: Curve::Ed25519, .. } => (Hash::Sha512, ED25519, None),
        PublicKey::Ec { curve: Curve::P384, .. } => (Hash::Sha384, "1.2.840.10045.4.3.3", None),
        PublicKey::Ec { curve: Curve::P521, .. } => (Hash::Sha512, "1.2.840.10045.4.3.4", None),
        PublicKey::Ec { curve: Curve::Sm2, .. } => (Hash::Sm3, SM2_WITH_SM3, None),
        PublicKey::Ec { .. } => (Hash::Sha256, "1.2.840.10045.4.3.2", None),
    };
    (hash, AlgorithmIdentifierOwned { oid: ObjectIdentifier::new_unwrap(oid), parameters })
}

/// What X.509 has a key sign: the digest; with Ed25519 the message; of SM2 that of Z_A, with the default ID, and the
/// message.
pub(super) fn signed_digest(public: &PublicKey, digest: Hash, message: &[u8]) -> Result<Vec<u8>> {
    match public {
        PublicKey::Ec { curve: Curve::Sm2, point } => {
            let identity = sm2::identity(point, sm2::DEFAULT_ID)?;
            Ok(hash(Hash::Sm3, &[&identity, message].concat()))
        }
        PublicKey::Ec { curve: Curve::Ed25519, .. } => Ok(message.to_vec()),
        _ => Ok(hash(digest, message)),
    }
}

/// A CSR in PEM. `sign` signs a digest and answers what X.509 wants: PKCS#1 v1.5, or ECDSA and SM2 in DER.
pub fn csr(
    subject: Name,
    alternative_names: &[String],
    public: &PublicKey,
    sign: impl FnOnce(Hash, &[u8]) -> Result<Vec<u8>>,
) -> Result<String> {
    let fault = |error: der::Error| Error::Internal(format!("CSR: {error}"));
    let mut attributes = SetOfVec::new();
    if !alternative_names.is_empty() {
        let names = general_names(alternative_names)?;
        let extension: Extension =
            (&names).to_extension(&subject, &[]).map_err(|error| bad("SubjectAlternativeNames", error))?;
        let request = Attribute::try_from(ExtensionReq(vec![extension])).map_err(fault)?;
        attributes.insert(request).map_err(fault)?;
    }
    let info = CertReqInfo { version: Version::V1, subject, public_key: public.spki()?, attributes };
    let (digest, algorithm) = signature_of(public);
    let signature = sign(digest, &signed_digest(public, digest, &info.to_der().map_err(fault)?)?)?;
    let request = CertReq { info, algorithm, signature: BitString::from_bytes(&signature).map_err(fault)? };
    request.to_pem(LineEnding::LF).map_err(fault)
}

/// The certificates of a PEM text, which holds nothing else.
pub fn from_pem(parameter: &str, text: &str) -> Result<Vec<Leaf>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    let fault =
        || bad(parameter, "Certificate format is incorrect: give PEM, from BEGIN CERTIFICATE to END CERTIFICATE");
    let mut rest = text.trim();
    if rest.len() > LARGEST_TEXT {
        return Err(bad(parameter, "larger than 256 KiB"));
    }
    let mut found = Vec::new();
    while !rest.is_empty() {
        if found.len() > LONGEST_CHAIN {
            return Err(bad(parameter, "more than 10 certificates above the first"));
        }
        if !rest.starts_with(BEGIN) {
            return Err(fault());
        }
        let end = rest.find(END).ok_or_else(fault)? + END.len();
        let (label, der) = der::pem::decode_vec(&rest.as_bytes()[..end]).map_err(|_| fault())?;
        if label != "CERTIFICATE" {
            return Err(fault());
        }
        found.push(Leaf::from_der(&der).map_err(|_| fault())?);
        rest = rest[end..].trim_start();
    }
    if found.is_empty() { Err(fault()) } else { Ok(found) }
}

/// PEM of one DER certificate.
pub fn to_pem(der: &[u8]) -> String {
    der::pem::encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

/// A leaf with its chain, as uploaded: one leaf, the chain in order and signed link by link, everything within its dates.
/// The chain may stand behind the leaf in the same text.
pub fn check_upload(leaf: &str, chain: Option<&str>, now: Moment) -> Result<(Leaf, Vec<Leaf>)> {
    let mut leaves = from_pem("Certificate", leaf)?;
    let mut issuers = leaves.split_off(1);
    if let Some(chain) = chain.filter(|chain| !chain.trim().is_empty()) {
        issuers.extend(from_pem("CertificateChain", chain)?);
    }
    let leaf = leaves.pop().ok_or_else(|| bad("Certificate", "empty"))?;
    issuers.retain(|issuer| issuer.der != leaf.der);
    check_chain(&leaf, &issuers, now)?;
    Ok((leaf, issuers))
}

/// Are there not too many certificates above another one?
pub(super) fn check_count(issuers: usize) -> Result<()> {
    match issuers <= LONGEST_CHAIN {
        true => Ok(()),
        false => Err(bad("CertificateChain", "more than 10 certificates above the first")),
    }
}

/// Is each certificate signed by the next one, a CA that may, and is it within its dates?
pub fn check_chain(leaf: &Leaf, issuers: &[Leaf], now: Moment) -> Result<()> {
    check_count(issuers.len())?;
    let mut below = leaf;
    for (between, issuer) in issuers.iter().enumerate() {
        below.is_signed_by(issuer)?;
        if let Some(reason) = issuer.cannot_issue(between) {
            return Err(bad("CertificateChain", reason));
        }
        below = issuer;
    }
    for (what, certificate) in
        std::iter::once(("Certificate", leaf)).chain(issuers.iter().map(|it| ("CertificateChain", it)))
    {
        if certificate.not_after() <= now {
            return Err(bad(what, format!("expired at {}", certificate.not_after())));
        }
        if certificate.not_before() > now {
            return Err(bad(what, format!("not valid before {}", certificate.not_before())));
        }
    }
    Ok(())
}
