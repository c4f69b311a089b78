//! Keys in templates: which flags they get, and how their numbers are read and shown.

use cryptoki_sys::*;
use der::asn1::{ObjectIdentifier, OctetStringRef, PrintableStringRef};
use der::{Decode, Encode};

use crate::crypto::ec::EcKey;
use crate::crypto::rsa::RsaKey;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::map::{map, try_map};
use crate::model::object::Class;
use crate::model::public::PublicKey;
use crate::model::spec::Family;
use crate::token::make::Flags;
use crate::token::mechanism::{Does, Keys, MechanismRow};
use crate::token::object::{Builder, key_type_of};
use crate::token::sm::SM4_KEY;
use crate::token::vendor::CKK_ALIKMS_SM4;
use crate::token::{Template, ck};

/// The largest generic secret in bytes.
const MAX_SECRET: u64 = 512;

/// A private or secret key as a template brought it.
pub struct Imported {
    pub family: Family,
    pub bits: usize,
    /// As `Protection::import` takes it.
    pub value: Bytes,
}

/// Length of a new secret in bits.
pub fn secret_bits(family: Family, length: u64) -> Result<usize> {
    let fits = match family {
        Family::Aes => matches!(length, 16 | 24 | 32),
        Family::Sm4 => length == SM4_KEY,
        _ => (1..=MAX_SECRET).contains(&length),
    };
    if fits { Ok(length as usize * 8) } else { Err(ck(CKR_KEY_SIZE_RANGE)) }
}

/// What is asked for explicitly, else `default`.
fn flags(template: &Template, kinds: &[(CK_ATTRIBUTE_TYPE, bool)]) -> Result<Flags> {
    try_map(kinds.iter().map(|(kind, default)| Ok((*kind, template.bool(*kind)?.unwrap_or(*default)))))
}

/// Does the template speak of any of these?
fn asks(template: &Template, kinds: &[CK_ATTRIBUTE_TYPE]) -> Result<bool> {
    for kind in kinds {
        if template.bool(*kind)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Flags of a secret key: those that the template names; without any, what its type is for. `imported` ones default to all.
pub fn secret_flags(template: &Template, family: Family, imported: bool) -> Result<Flags> {
    let named = asks(template, &[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE])?;
    let any = imported || !named;
    let crypts = any && matches!(family, Family::Aes | Family::Sm4);
    let signs = any && family != Family::Sm4 && (imported || family == Family::Generic);
    flags(
        template,
        &[
            (CKA_ENCRYPT, crypts),
            (CKA_DECRYPT, crypts),
            (CKA_SIGN, signs),
            (CKA_VERIFY, signs),
            (CKA_WRAP, false),
            (CKA_UNWRAP, false),
            (CKA_DERIVE, false),
        ],
    )
}

/// Flags of a private key (DESIGN §3): signs unless the template names another use only.
pub fn private_flags(template: &Template, family: Family, imported: bool) -> Result<Flags> {
    let other = asks(template, &[CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE])?;
    let crypts = can_crypt(family);
    let agrees_only = family == Family::Ec(Curve::X25519);
    flags(
        template,
        &[
            (CKA_SIGN, (imported || !other) && !agrees_only),
            (CKA_DECRYPT, imported && crypts),
            (CKA_UNWRAP, false),
            (CKA_DERIVE, agrees_only || (imported && can_agree(family))),
            (CKA_SIGN_RECOVER, false),
        ],
    )
}

/// Does a pair of this family encrypt?
fn can_crypt(family: Family) -> bool {
    matches!(family, Family::Rsa | Family::Ec(Curve::Sm2))
}

/// Does a pair of this family agree on secrets?
fn can_agree(family: Family) -> bool {
    matches!(family, Family::Ec(curve) if !matches!(curve, Curve::Ed25519 | Curve::Sm2))
}

pub fn public_flags(template: &Template, family: Family, imported: bool) -> Result<Flags> {
    let other = asks(template, &[CKA_ENCRYPT, CKA_WRAP, CKA_DERIVE])?;
    flags(
        template,
        &[
            (CKA_VERIFY, (imported || !other) && family != Family::Ec(Curve::X25519)),
            (CKA_ENCRYPT, imported && can_crypt(family)),
            (CKA_WRAP, false),
            (CKA_DERIVE, false),
            (CKA_VERIFY_RECOVER, false),
        ],
    )
}

/// Flags of a new pair: what one half may do and the template of the other half does not speak of, that half may undo.
pub fn pair_flags(public: &Template, private: &Template, family: Family) -> Result<(Flags, Flags)> {
    let inner = private_flags(private, family, false)?;
    let mut outer = mirror(&inner);
    for (kind, on) in &mut outer {
        if let Some(named) = public.bool(*kind)? {
            *on = named;
        }
    }
    Ok((inner, outer))
}

/// The flags of the public half that belong to those of the private one.
pub fn mirror(private: &Flags) -> Flags {
    const PAIRS: &[(CK_ATTRIBUTE_TYPE, CK_ATTRIBUTE_TYPE)] = &[
        (CKA_SIGN, CKA_VERIFY),
        (CKA_DECRYPT, CKA_ENCRYPT),
        (CKA_UNWRAP, CKA_WRAP),
        (CKA_DERIVE, CKA_DERIVE),
        (CKA_SIGN_RECOVER, CKA_VERIFY_RECOVER),
    ];
    map(PAIRS.iter().map(|(inner, outer)| (*outer, private.get(inner).copied().unwrap_or(false))))
}

/// What kind of pair the public template asks for: family, bits, and RSA's public exponent.
pub fn pair_shape(row: &MechanismRow, public: &Template) -> Result<(Family, usize, Option<Vec<u8>>)> {
    match row.does {
        Does::Generate(Keys::Rsa) => {
            let bits = public.ulong(CKA_MODULUS_BITS)?.ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
            let info = row.info();
            if !(info.ulMinKeySize..=info.ulMaxKeySize).contains(&bits) || bits % 128 != 0 {
                return Err(ck(CKR_KEY_SIZE_RANGE));
            }
            let exponent = public.bytes(CKA_PUBLIC_EXPONENT).map(trimmed);
            Ok((Family::Rsa, bits as usize, exponent.map(<[u8]>::to_vec)))
        }
        Does::Generate(Keys::Sm2) => {
            // The mechanism says it already; a template may say it again.
            match public.bytes(CKA_EC_PARAMS).map(curve_of) {
                None | Some(Ok(Curve::Sm2)) => Ok((Family::Ec(Curve::Sm2), Curve::Sm2.bits(), None)),
                Some(Ok(_)) => Err(ck(CKR_CURVE_NOT_SUPPORTED)),
                Some(Err(error)) => Err(error),
            }
        }
        does => {
            let curve = curve_of(public.bytes(CKA_EC_PARAMS).ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?)?;
            let fits = match does {
                Does::Generate(Keys::Edwards) => curve == Curve::Ed25519,
                Does::Generate(Keys::Montgomery) => curve == Curve::X25519,
                _ => !curve.is_25519(),
            };
            if !fits {
                return Err(ck(CKR_CURVE_NOT_SUPPORTED));
            }
            Ok((Family::Ec(curve), curve.bits(), None))
        }
    }
}

/// Names of the curves of RFC 7748, which may stand for their OIDs as a PrintableString (PKCS#11 3.2 §6.3.3).
const CURVE_NAMES: &[(&str, Curve)] = &[("edwards25519", Curve::Ed25519), ("curve25519", Curve::X25519)];

/// OIDs that were in use before RFC 8410.
const OLDER_OIDS: &[(&str, Curve)] =
    &[("1.3.6.1.4.1.11591.15.1", Curve::Ed25519), ("1.3.6.1.4.1.3029.1.5.1", Curve::X25519)];

/// A curve by the DER of its OID or its name.
pub fn curve_of(parameters: &[u8]) -> Result<Curve> {
    if let Ok(name) = PrintableStringRef::from_der(parameters) {
        let curve = CURVE_NAMES.iter().find(|(known, _)| *known == name.as_str()).map(|(_, curve)| *curve);
        return curve.ok_or(ck(CKR_CURVE_NOT_SUPPORTED));
    }
    let oid = ObjectIdentifier::from_der(parameters).map_err(|_| ck(CKR_DOMAIN_PARAMS_INVALID))?;
    let older = || OLDER_OIDS.iter().find(|(known, _)| oid.to_string() == *known).map(|(_, curve)| *curve);
    Curve::by_oid(oid).or_else(older).ok_or(ck(CKR_CURVE_NOT_SUPPORTED))
}

/// CKA_EC_PARAMS of a curve.
pub fn curve_der(curve: Curve) -> Result<Vec<u8>> {
    curve.oid().to_der().map_err(|error| Error::Internal(error.to_string()))
}

/// A number without leading zeros: `00 01 00 01` is 65537 as well.
fn trimmed(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// An uncompressed point, or a key of Ed25519 and X25519, bare or in a DER OCTET STRING.
pub fn peer_point(curve: Curve, bytes: &[u8]) -> Option<Vec<u8>> {
    let bare = |point: &[u8]| point.len() == curve.point_len() && (curve.is_25519() || point.first() == Some(&4));
    match <&OctetStringRef>::from_der(bytes) {
        Ok(inner) if bare(inner.as_bytes()) => Some(inner.as_bytes().to_vec()),
        _ if bare(bytes) => Some(bytes.to_vec()),
        _ => None,
    }
}

fn key_type(template: &Template) -> Result<CK_KEY_TYPE> {
    template.ulong(CKA_KEY_TYPE)?.ok_or(ck(CKR_TEMPLATE_INCOMPLETE))
}

fn needed(template: &Template, kind: CK_ATTRIBUTE_TYPE) -> Result<&[u8]> {
    template.bytes(kind).ok_or(ck(CKR_TEMPLATE_INCOMPLETE))
}

/// A number that does not make a key is the template's fault.
fn value_fault(error: Error) -> Error {
    match error {
        Error::InvalidParameter { .. } | Error::Unsupported(_) => ck(CKR_ATTRIBUTE_VALUE_INVALID),
        other => other,
    }
}

/// The public key of a template for C_CreateObject.
pub fn read_public(template: &Template) -> Result<(Family, PublicKey)> {
    let (family, public) = match key_type(template)? {
        CKK_RSA => {
            let modulus = trimmed(needed(template, CKA_MODULUS)?).to_vec();
            let exponent = trimmed(needed(template, CKA_PUBLIC_EXPONENT)?).to_vec();
            (Family::Rsa, PublicKey::Rsa { modulus, exponent })
        }
        kind @ (CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY) => {
            let curve = curve_of_type(template, kind)?;
            let point = peer_point(curve, needed(template, CKA_EC_POINT)?).ok_or(ck(CKR_ATTRIBUTE_VALUE_INVALID))?;
            (Family::Ec(curve), PublicKey::Ec { curve, point })
        }
        _ => return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
    };
    crate::protection::public::Prepared::new(&public).map_err(value_fault)?;
    Ok((family, public))
}

/// The private or secret key of a template for C_CreateObject.
pub fn read_secret(template: &Template, class: Class) -> Result<Imported> {
    match (class, key_type(template)?) {
        (Class::PrivateKey, CKK_RSA) => {
            let numbers = [CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT];
            let crt: Option<Vec<&[u8]>> = numbers.iter().map(|kind| template.bytes(*kind).map(trimmed)).collect();
            let crt: Option<[&[u8]; 5]> = crt.and_then(|numbers| numbers.try_into().ok());
            let modulus = trimmed(needed(template, CKA_MODULUS)?);
            let private = trimmed(needed(template, CKA_PRIVATE_EXPONENT)?);
            let exponent = trimmed(template.bytes(CKA_PUBLIC_EXPONENT).unwrap_or(&[1, 0, 1]));
            let key = RsaKey::from_numbers(modulus, exponent, private, crt).map_err(value_fault)?;
            let (modulus, exponent) = key.public();
            let bits = PublicKey::Rsa { modulus, exponent }.bits();
            Ok(Imported { family: Family::Rsa, bits, value: key.to_der()? })
        }
        (Class::PrivateKey, kind @ (CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY)) => {
            let curve = curve_of_type(template, kind)?;
            let value = Bytes::new(needed(template, CKA_VALUE)?.to_vec());
            let key = EcKey::from_scalar(curve, &value).map_err(value_fault)?;
            Ok(Imported { family: Family::Ec(curve), bits: curve.bits(), value: key.scalar() })
        }
        (Class::SecretKey, CKK_AES) => secret(template, Family::Aes),
        (Class::SecretKey, CKK_ALIKMS_SM4) => secret(template, Family::Sm4),
        (Class::SecretKey, kind) if is_generic(kind) => secret(template, Family::Generic),
        _ => Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
    }
}

/// Generic secrets, and those whose type says what they are for.
pub fn is_generic(kind: CK_KEY_TYPE) -> bool {
    matches!(kind, CKK_GENERIC_SECRET | CKK_HKDF) || Hash::ALL.iter().any(|hash| hmac_type(*hash) == Some(kind))
}

/// The type of a key for HMAC with this hash only.
pub fn hmac_type(hash: Hash) -> Option<CK_KEY_TYPE> {
    Some(match hash {
        Hash::Sha1 => CKK_SHA_1_HMAC,
        Hash::Sha224 => CKK_SHA224_HMAC,
        Hash::Sha256 => CKK_SHA256_HMAC,
        Hash::Sha384 => CKK_SHA384_HMAC,
        Hash::Sha3_224 => CKK_SHA3_224_HMAC,
        Hash::Sha3_256 => CKK_SHA3_256_HMAC,
        Hash::Sha3_384 => CKK_SHA3_384_HMAC,
        Hash::Sha3_512 => CKK_SHA3_512_HMAC,
        Hash::Sha512 => CKK_SHA512_HMAC,
        Hash::Sha512_224 => CKK_SHA512_224_HMAC,
        Hash::Sha512_256 => CKK_SHA512_256_HMAC,
        Hash::Sm3 => return None,
    })
}

/// The curve of a template's CKA_EC_PARAMS, if keys of this type lie on it.
fn curve_of_type(template: &Template, kind: CK_KEY_TYPE) -> Result<Curve> {
    let curve = curve_of(needed(template, CKA_EC_PARAMS)?)?;
    if key_type_of(Family::Ec(curve)) == kind { Ok(curve) } else { Err(ck(CKR_CURVE_NOT_SUPPORTED)) }
}

fn secret(template: &Template, family: Family) -> Result<Imported> {
    let value = Bytes::new(needed(template, CKA_VALUE)?.to_vec());
    if template.ulong(CKA_VALUE_LEN)?.is_some_and(|length| length != value.len() as u64) {
        return Err(ck(CKR_TEMPLATE_INCONSISTENT));
    }
    let bits = secret_bits(family, value.len() as u64).map_err(|_| ck(CKR_ATTRIBUTE_VALUE_INVALID))?;
    Ok(Imported { family, bits, value })
}

/// The key that a derivation is to make: its family, and its length in bytes where the template or the type tells it.
pub fn wanted(template: &Template) -> Result<(Family, Option<usize>)> {
    let (family, own_length) = match template.ulong(CKA_KEY_TYPE)? {
        Some(CKK_AES) => (Family::Aes, None),
        Some(CKK_ALIKMS_SM4) => (Family::Sm4, Some(SM4_KEY)),
        None => (Family::Generic, None),
        Some(kind) if is_generic(kind) => (Family::Generic, None),
        Some(_) => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
    };
    let Some(length) = template.ulong(CKA_VALUE_LEN)?.or(own_length) else { return Ok((family, None)) };
    secret_bits(family, length)?;
    Ok((family, Some(length as usize)))
}

/// The numbers of a private or secret key; whether they may be read is decided by the object.
pub fn describe_value(all: &mut Builder, class: Class, family: Family, value: &Bytes) -> Result<()> {
    match (class, family) {
        (Class::SecretKey, _) => {
            all.bytes(CKA_VALUE, value.to_vec()).ulong(CKA_VALUE_LEN, value.len() as CK_ULONG);
        }
        (_, Family::Rsa) => {
            let [_, _, private, p, q, dp, dq, qi] = RsaKey::from_der(value)?.numbers();
            let kinds = [
                (CKA_PRIVATE_EXPONENT, private),
                (CKA_PRIME_1, p),
                (CKA_PRIME_2, q),
                (CKA_EXPONENT_1, dp),
                (CKA_EXPONENT_2, dq),
                (CKA_COEFFICIENT, qi),
            ];
            for (kind, number) in kinds {
                all.bytes(kind, number.to_vec());
            }
        }
        _ => {
            all.bytes(CKA_VALUE, value.to_vec());
        }
    }
    Ok(())
}
