//! Certificates and CRLs that are issued here (RFC 5280), made with `x509-cert`'s builder, and the CSRs that ask for
//! them.

use std::time::Duration;

use der::asn1::{BitString, GeneralizedTime, OctetString, UtcTime};
use der::oid::AssociatedOid;
use der::pem::LineEnding;
use der::{Decode, Document, Encode, EncodePem};
use signature::Keypair;
use spki::{AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, EncodePublicKey, SubjectPublicKeyInfoRef};
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{Builder, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::crl::{CertificateList, RevokedCert, TbsCertList};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier, BasicConstraints, CrlNumber, ExtendedKeyUsage, KeyUsage, KeyUsages, SubjectAltName,
    SubjectKeyIdentifier,
};
use x509_cert::ext::{Extension, ToExtension};
use x509_cert::name::Name;
use x509_cert::request::{CertReq, ExtensionReq};
use x509_cert::serial_number::SerialNumber;
use x509_cert::time::{Time, Validity};

use crate::crypto::digest::hash;
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::kms::x509::{Leaf, signature_of, signed_digest, verify_signed};
use crate::model::hash::Hash;
use crate::model::public::PublicKey;
use crate::model::time::Moment;

const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
/// RFC 5280 §4.1.2.2 allows 20 bytes; so many random ones are never given twice.
const SERIAL: usize = 16;
/// The largest CSR that is read, in bytes.
const LARGEST_CSR: usize = 64 * 1024;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Signs certificates, through at most so many further authorities.
    Authority {
        path_length: Option<u8>,
    },
    Client,
    Server,
}

/// A certificate that is to be made.
pub struct Draft<'a> {
    /// None: signed by itself.
    pub issuer: Option<&'a Leaf>,
    pub subject: Name,
    pub public: &'a PublicKey,
    pub names: Option<SubjectAltName>,
    pub from: Moment,
    pub until: Moment,
    pub purpose: Purpose,
    /// Its key decrypts and does not sign: the second of two SM2 certificates (GM/T 0024).
    pub encrypts: bool,
}

fn fault(error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("X.509: {error}"))
}

/// RFC 5280 §4.1.2.5: two digits for the year until 2049, four from then on.
fn time(at: Moment) -> Result<Time> {
    let since = Duration::from_secs(u64::try_from(at.0).map_err(fault)?);
    match at.date_time().year() {
        ..2050 => UtcTime::from_unix_duration(since).map(Time::UtcTime).map_err(fault),
        _ => GeneralizedTime::from_unix_duration(since).map(Time::GeneralTime).map_err(fault),
    }
}

/// SHA-1 of the public key bits (RFC 5280 §4.2.1.2).
fn key_identifier(public: &PublicKey) -> Result<Vec<u8>> {
    Ok(hash(Hash::Sha1, public.spki()?.subject_public_key.raw_bytes()))
}

fn octets(bytes: &[u8]) -> Result<OctetString> {
    OctetString::new(bytes).map_err(fault)
}

/// Extensions in the order in which they are usually written.
fn extensions(draft: &Draft<'_>, signer: &PublicKey) -> Result<Vec<Extension>> {
    let mut all: Vec<Extension> = Vec::new();
    let subject = &draft.subject;
    macro_rules! add {
        ($extension:expr) => {
            let made = $extension.to_extension(subject, &all).map_err(fault)?;
            all.push(made);
        };
    }
    let (ca, path_len_constraint) = match draft.purpose {
        Purpose::Authority { path_length } => (true, path_length),
        Purpose::Client | Purpose::Server => (false, None),
    };
    add!(&BasicConstraints { ca, path_len_constraint });
    let usage = match (draft.purpose, draft.public) {
        (Purpose::Authority { .. }, _) => KeyUsages::KeyCertSign | KeyUsages::CRLSign,
        _ if draft.encrypts => KeyUsages::KeyEncipherment | KeyUsages::DataEncipherment | KeyUsages::KeyAgreement,
        // TLS 1.2 without forward secrecy encrypts to an RSA key.
        (Purpose::Server, PublicKey::Rsa { .. }) => KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment,
        _ => KeyUsages::DigitalSignature.into(),
    };
    add!(&KeyUsage(usage));
    let extended = match draft.purpose {
        Purpose::Authority { .. } => None,
        Purpose::Client => Some(CLIENT_AUTH),
        Purpose::Server => Some(SERVER_AUTH),
    };
    if let Some(oid) = extended {
        add!(&ExtendedKeyUsage(vec![der::asn1::ObjectIdentifier::new_unwrap(oid)]));
    }
    if let Some(names) = &draft.names {
        add!(names);
    }
    add!(&SubjectKeyIdentifier(octets(&key_identifier(draft.public)?)?));
    let above = draft.issuer.map_or_else(|| key_identifier(signer), |issuer| Ok(issuer.key_identifier()))?;
    add!(&AuthorityKeyIdentifier { key_identifier: Some(octets(&above)?), ..Default::default() });
    Ok(all)
}

/// What the builder asks a signer for.
struct Signer<'a>(&'a PublicKey);

#[derive(Clone)]
struct Spki(PublicKey);

impl Keypair for Signer<'_> {
    type VerifyingKey = Spki;
    fn verifying_key(&self) -> Spki {
        Spki(self.0.clone())
    }
}

impl DynSignatureAlgorithmIdentifier for Signer<'_> {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(signature_of(self.0).1)
    }
}

impl EncodePublicKey for Spki {
    fn to_public_key_der(&self) -> spki::Result<Document> {
        let der = self.0.to_spki().map_err(|_| spki::Error::KeyMalformed)?;
        Document::try_from(der.as_slice()).map_err(Into::into)
    }
}

struct Made {
    issuer: Name,
    subject: Name,
    extensions: Vec<Extension>,
}

impl BuilderProfile for Made {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.issuer.clone()
    }

    fn get_subject(&self) -> Name {
        self.subject.clone()
    }

    fn build_extensions(
        &self,
        _: SubjectPublicKeyInfoRef<'_>,
        _: SubjectPublicKeyInfoRef<'_>,
        _: &TbsCertificate,
    ) -> x509_cert::builder::Result<Vec<Extension>> {
        Ok(self.extensions.clone())
    }
}

/// The DER of a new certificate. `signer` is the issuer's public key; `sign` as in `x509::csr`.
pub fn certificate(
    draft: &Draft<'_>,
    signer: &PublicKey,
    sign: impl FnOnce(Hash, &[u8]) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    let profile = Made {
        issuer: draft.issuer.map_or_else(|| draft.subject.clone(), |issuer| issuer.subject().clone()),
        subject: draft.subject.clone(),
        extensions: extensions(draft, signer)?,
    };
    let mut serial = random::bytes::<SERIAL>();
    // Positive, and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    let serial = SerialNumber::new(&serial).map_err(fault)?;
    let validity = Validity::new(time(draft.from)?, time(draft.until)?);
    let mut builder = CertificateBuilder::new(profile, serial, validity, draft.public.spki()?).map_err(fault)?;
    let tbs = builder.finalize(&Signer(signer)).map_err(fault)?;
    let (digest, _) = signature_of(signer);
    let signature = BitString::from_bytes(&sign(digest, &signed_digest(signer, digest, &tbs)?)?).map_err(fault)?;
    builder.assemble(signature, &Signer(signer)).map_err(fault)?.to_der().map_err(fault)
}

/// A CRL in PEM: serial numbers (DER content) and when they were revoked. Valid from `now` to `until`.
pub fn revocations(
    issuer: &Leaf,
    number: u64,
    revoked: &[(Vec<u8>, Moment)],
    (now, until): (Moment, Moment),
    sign: impl FnOnce(Hash, &[u8]) -> Result<Vec<u8>>,
) -> Result<String> {
    let public = issuer.public()?;
    let (digest, algorithm) = signature_of(&public);
    let name = issuer.subject().clone();
    let mut extensions = Vec::new();
    let above =
        AuthorityKeyIdentifier { key_identifier: Some(octets(&issuer.key_identifier())?), ..Default::default() };
    extensions.push((&above).to_extension(&name, &extensions).map_err(fault)?);
    let number = CrlNumber::try_from(number).map_err(fault)?;
    extensions.push((&number).to_extension(&name, &extensions).map_err(fault)?);
    let entry = |(serial, at): &(Vec<u8>, Moment)| -> Result<RevokedCert> {
        let serial_number = SerialNumber::new(serial).map_err(fault)?;
        Ok(RevokedCert { serial_number, revocation_date: time(*at)?, crl_entry_extensions: None })
    };
    let entries: Vec<RevokedCert> = revoked.iter().map(entry).collect::<Result<_>>()?;
    let tbs_cert_list: TbsCertList = TbsCertList {
        version: x509_cert::Version::V2,
        signature: algorithm.clone(),
        issuer: name,
        this_update: time(now)?,
        next_update: Some(time(until)?),
        // RFC 5280 §5.1.2.6: absent if there are none.
        revoked_certificates: (!entries.is_empty()).then_some(entries),
        crl_extensions: Some(extensions),
    };
    let tbs = tbs_cert_list.to_der().map_err(fault)?;
    let signature = BitString::from_bytes(&sign(digest, &signed_digest(&public, digest, &tbs)?)?).map_err(fault)?;
    let list = CertificateList { tbs_cert_list, signature_algorithm: algorithm, signature };
    list.to_pem(LineEnding::LF).map_err(fault)
}

/// A CSR that its own key signed.
pub struct Request {
    pub subject: Name,
    pub public: PublicKey,
    /// What it asks for; only these of its extensions count.
    pub names: Option<SubjectAltName>,
}

impl Request {
    pub fn from_pem(text: &str) -> Result<Self> {
        let bad = |reason: &str| Error::invalid("Csr", reason);
        let text = text.trim();
        if text.len() > LARGEST_CSR {
            return Err(bad("larger than 64 KiB"));
        }
        let (label, der) =
            der::pem::decode_vec(text.as_bytes()).map_err(|_| bad("not a certificate signing request in PEM"))?;
        if !["CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"].contains(&label) {
            return Err(bad("not a certificate signing request in PEM"));
        }
        let request = CertReq::from_der(&der).map_err(|_| bad("not a certificate signing request"))?;
        let public = PublicKey::from_info(&request.info.public_key)
            .map_err(|_| bad("its key is of no kind that is known here"))?;
        let signed = request.info.to_der().map_err(|_| bad("not a certificate signing request"))?;
        let genuine =
            verify_signed(&public, &request.algorithm.oid.to_string(), &signed, request.signature.raw_bytes());
        if !genuine.is_ok_and(|genuine| genuine) {
            return Err(bad("it is not signed by its own key"));
        }
        let asked = request.info.attributes.iter().filter(|attribute| attribute.oid == ExtensionReq::OID);
        let asked = asked
            .filter_map(|attribute| attribute.values.get(0))
            .filter_map(|it| it.decode_as::<Vec<Extension>>().ok());
        let names = asked.flatten().find(|extension| extension.extn_id == SubjectAltName::OID);
        let names = names.map(|extension| SubjectAltName::from_der(extension.extn_value.as_bytes()));
        let names = names.transpose().map_err(|_| bad("its subject alternative names cannot be read"))?;
        Ok(Self { subject: request.info.subject, public, names })
    }
}
