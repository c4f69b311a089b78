//! Certificates as objects (PKCS#11 3.2 §4.6): what an X.509 certificate says of itself, and which of it a caller may say.

use cryptoki_sys::*;
use der::{Decode, Encode};

use crate::crypto::digest::hash;
use crate::error::{Error, Result};
use crate::kms::objects::ObjectView;
use crate::kms::x509::Leaf;
use crate::model::hash::Hash;
use crate::model::names::Realm;
use crate::model::time::Moment;
use crate::token::ck;
use crate::token::object::Builder;
use crate::token::template::Template;
use crate::token::vendor::{CKA_ALIKMS_ARN, CKA_ALIKMS_CERTIFICATE_ID};

const UNSPECIFIED: CK_ULONG = 0;
const TOKEN_USER: CK_ULONG = 1;
const AUTHORITY: CK_ULONG = 2;
const OTHER_ENTITY: CK_ULONG = 3;
/// The last CK_JAVA_MIDP_SECURITY_DOMAIN.
const THIRD_PARTY: CK_ULONG = 3;

/// What the certificate itself says: a caller may repeat it, and nothing else.
pub const SAID_BY_ITSELF: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_VALUE,
    CKA_SUBJECT,
    CKA_ISSUER,
    CKA_SERIAL_NUMBER,
    CKA_CHECK_VALUE,
    CKA_START_DATE,
    CKA_END_DATE,
    CKA_PUBLIC_KEY_INFO,
];

/// A certificate object of the token.
pub fn describe(all: &mut Builder, view: &ObjectView, realm: &Realm) -> Result<()> {
    let leaf = read(&view.object.value)?;
    describe_x509(all, &leaf)?;
    // Its key is here, or one that another account lends us.
    let ours = view.key.is_some() || view.object.version.is_some();
    if !leaf.is_authority() {
        all.ulong(CKA_CERTIFICATE_CATEGORY, if ours { TOKEN_USER } else { OTHER_ENTITY });
    }
    if let Some(certificate) = &view.certificate {
        all.bytes(CKA_ALIKMS_CERTIFICATE_ID, certificate.id.to_string())
            .bytes(CKA_ALIKMS_ARN, realm.certificate_arn(certificate.id));
    }
    Ok(())
}

/// A certificate object of the session.
pub fn describe_own(all: &mut Builder, der: &[u8], template: &Template) -> Result<()> {
    let leaf = read(der)?;
    describe_x509(all, &leaf)?;
    all.apply(template);
    say(all, &leaf)
}

fn read(der: &[u8]) -> Result<Leaf> {
    Leaf::from_der(der).map_err(|_| ck(CKR_ATTRIBUTE_VALUE_INVALID))
}

fn describe_x509(all: &mut Builder, leaf: &Leaf) -> Result<()> {
    all.ulong(CKA_CERTIFICATE_TYPE, CKC_X_509)
        .bool(CKA_TRUSTED, false)
        .ulong(CKA_CERTIFICATE_CATEGORY, if leaf.is_authority() { AUTHORITY } else { UNSPECIFIED })
        .ulong(CKA_JAVA_MIDP_SECURITY_DOMAIN, 0)
        .ulong(CKA_NAME_HASH_ALGORITHM, CKM_SHA_1);
    for kind in [CKA_ID, CKA_URL, CKA_HASH_OF_SUBJECT_PUBLIC_KEY, CKA_HASH_OF_ISSUER_PUBLIC_KEY] {
        all.bytes(kind, []);
    }
    say(all, leaf)
}

fn say(all: &mut Builder, leaf: &Leaf) -> Result<()> {
    for kind in SAID_BY_ITSELF {
        all.bytes(*kind, said(leaf, *kind)?);
    }
    Ok(())
}

fn said(leaf: &Leaf, kind: CK_ATTRIBUTE_TYPE) -> Result<Vec<u8>> {
    let fault = |error: der::Error| Error::Internal(error.to_string());
    let tbs = leaf.certificate.tbs_certificate();
    match kind {
        CKA_VALUE => Ok(leaf.der.clone()),
        CKA_SUBJECT => leaf.subject().to_der().map_err(fault),
        CKA_ISSUER => leaf.issuer().to_der().map_err(fault),
        CKA_SERIAL_NUMBER => leaf.serial_der(),
        CKA_CHECK_VALUE => Ok(hash(Hash::Sha1, &leaf.der)[..3].to_vec()),
        CKA_START_DATE => Ok(date(leaf.not_before())),
        CKA_END_DATE => Ok(date(leaf.not_after())),
        CKA_PUBLIC_KEY_INFO => tbs.subject_public_key_info().to_der().map_err(fault),
        _ => Err(Error::Internal("a certificate does not say that".to_owned())),
    }
}

/// A CK_DATE: eight digits.
fn date(at: Moment) -> Vec<u8> {
    at.to_string().bytes().filter(u8::is_ascii_digit).take(8).collect()
}

/// Does the template say of the certificate what it says itself? Its DER.
pub fn check_new(template: &Template) -> Result<&[u8]> {
    match template.ulong(CKA_CERTIFICATE_TYPE)? {
        Some(CKC_X_509) => {}
        Some(_) => return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
        None => return Err(ck(CKR_TEMPLATE_INCOMPLETE)),
    }
    let der = template.bytes(CKA_VALUE).ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
    let leaf = read(der)?;
    for kind in SAID_BY_ITSELF {
        let Some(given) = template.bytes(*kind).filter(|given| !given.is_empty()) else { continue };
        let said = said(&leaf, *kind)?;
        // Java gives the number alone, without the tag and length that PKCS#11 wants.
        let bare = *kind == CKA_SERIAL_NUMBER && is_number(&leaf, given);
        match *kind {
            _ if bare || given == said => {}
            CKA_CHECK_VALUE => return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
            _ => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        }
    }
    for (kind, last) in [(CKA_CERTIFICATE_CATEGORY, OTHER_ENTITY), (CKA_JAVA_MIDP_SECURITY_DOMAIN, THIRD_PARTY)] {
        if template.ulong(kind)?.is_some_and(|value| value > last) {
            return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID));
        }
    }
    if template.bool(CKA_TRUSTED)? == Some(true) {
        return Err(ck(CKR_ATTRIBUTE_READ_ONLY));
    }
    Ok(der)
}

/// Is this the content of the INTEGER that the serial number is?
fn is_number(leaf: &Leaf, bytes: &[u8]) -> bool {
    let number = leaf.serial_der().ok();
    let content =
        number.as_deref().and_then(|number| der::asn1::AnyRef::from_der(number).ok().map(|any| any.value().to_vec()));
    content.is_some_and(|content| content == bytes)
}
