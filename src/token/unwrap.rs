//! C_UnwrapKey: a wrapped key becomes an object (PKCS#11 3.2 §5.18.4). Nothing that is not the key tells why: one code, and
//! where the mechanism has a padding that could be asked about, not even that (`crypto::unwrapping`).

use cryptoki_sys::*;

use crate::crypto::ec::EcKey;
use crate::crypto::rsa::RsaKey;
use crate::crypto::unwrapping;
use crate::error::{Error, Result};
use crate::model::algorithm::Cipher;
use crate::model::key::Level;
use crate::model::object::Class;
use crate::model::spec::{Family, Spec};
use crate::model::{Bytes, Iv};
use crate::protection::software;
use crate::token::attribute::{Making, check_new, class_of};
use crate::token::engine::Engine;
use crate::token::keys;
use crate::token::make::Birth;
use crate::token::object::{Item, SessionKey, key_type_of, level_of};
use crate::token::operate::{Kind, bad_parameter};
use crate::token::separation::{check_mechanism, kept_sensitive, with_demands};
use crate::token::vendor::{CKA_ALIKMS_PROTECTION_LEVEL, CKK_ALIKMS_SM4};
use crate::token::wrap::{Scheme, check_kind, check_use, gcm_parameter, scheme};
use crate::token::{Mechanism, Parameter, Session, Template, ck};

const UNWRAP: Kind = Kind { flag: CKF_UNWRAP, permits: CKA_UNWRAP, actions: ("AsymmetricDecrypt", "Decrypt") };
const BLOCK: usize = 16;
/// The longest wrapped key: several times that of the longest RSA key, in bytes.
const MAX_WRAPPED: usize = 64 * 1024;

impl Session {
    /// `aad`: of C_UnwrapKeyAuthenticated.
    pub fn unwrap_key(
        &mut self,
        mechanism: &Mechanism,
        unwrapping: u64,
        wrapped: &[u8],
        template: &Template,
        aad: Option<&[u8]>,
    ) -> Result<u64> {
        let template = &*self.in_our_words(template);
        let item = self.item(unwrapping, CKR_UNWRAPPING_KEY_HANDLE_INVALID)?;
        let row = self.row(mechanism.kind, CKF_UNWRAP)?;
        check_kind(&item, row, [Class::PrivateKey, Class::SecretKey], CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)?;
        check_use(&item, UNWRAP.permits, row).map_err(|error| self.refused(&item, UNWRAP, error))?;
        if item.is(CKA_ALWAYS_AUTHENTICATE) {
            // There is no call between Init and the work in which to say the PIN again.
            return Err(ck(CKR_USER_NOT_LOGGED_IN));
        }
        check_mechanism(&item, row.does, true)?;
        let (parameter, _) = gcm_parameter(&to_read(&mechanism.parameter)?, aad)?;
        let scheme = scheme(row.does, &parameter, &item, CKF_DECRYPT)?;
        let mut template = with_demands(&item, CKA_UNWRAP_TEMPLATE, template)?;
        let wanted = Wanted::of(&template)?;
        check_new(&template, wanted.class, Making::Generate)?;
        kept_sensitive(&item, &mut template)?;
        let token = self.check_place(&template, wanted.class)?;
        check_level(&item, &template)?;
        if wrapped.len() > MAX_WRAPPED {
            return Err(ck(CKR_WRAPPED_KEY_LEN_RANGE));
        }
        let engine = self.engine(&item, UNWRAP)?;
        let modulus = item.public().map_or(0, |public| public.bits().div_ceil(8));
        let value = open(self, &engine, &scheme, wrapped, &wanted, modulus).map_err(wrapped_fault)?;
        let (family, value) = wanted.read(&template, value)?;
        self.keep_unwrapped(wanted.class, family, value, &template, token)
    }

    fn keep_unwrapped(
        &mut self,
        class: Class,
        family: Family,
        value: Bytes,
        template: &Template,
        token: bool,
    ) -> Result<u64> {
        let flags = match class {
            Class::SecretKey => keys::secret_flags(template, family, true)?,
            _ => keys::private_flags(template, family, true)?,
        };
        let public = software::public_of(family, &value).map_err(|_| ck(CKR_WRAPPED_KEY_INVALID))?;
        if token {
            let bits = public.as_ref().map_or(value.len() * 8, |public| public.bits());
            let spec = Spec::by_shape(family, bits).ok_or(ck(CKR_TEMPLATE_INCONSISTENT))?;
            let made = self.token_key(spec, template, None, &flags, &keys::mirror(&flags), Some(value));
            return made.map(|(key, _)| key).map_err(|error| match error {
                Error::DeviceLacks { .. } => ck(CKR_TEMPLATE_INCONSISTENT),
                other => other,
            });
        }
        self.session_key(class, SessionKey::new(family, Some(value), public), template, &flags, Birth::Unwrapped)
    }
}

/// A key in a device gives nothing to this process unless the template says so: `CKA_ALIKMS_PROTECTION_LEVEL` "SOFTWARE".
fn check_level(item: &Item, template: &Template) -> Result<()> {
    let in_device = item.bytes(CKA_ALIKMS_PROTECTION_LEVEL) == Some(Level::Hsm.name().as_bytes());
    match level_of(template)? {
        Some(Level::Software) => Ok(()),
        // Unwrapping within the device, into the device, is what GetParametersForImport does.
        _ if in_device => Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        _ => Ok(()),
    }
}

/// The parameter for reading: the IV of CK_GCM_WRAP_PARAMS is the caller's then, whoever made it.
fn to_read(parameter: &Parameter) -> Result<Parameter> {
    Ok(match parameter {
        Parameter::GcmWrap { iv, aad, tag_bits, .. } if !iv.is_empty() => {
            let iv_bits = iv.len() as u64 * 8;
            Parameter::Gcm { iv: Iv::from_slice(iv), iv_bits, aad: aad.clone(), tag_bits: *tag_bits }
        }
        Parameter::GcmWrap { .. } => return Err(bad_parameter()),
        other => other.clone(),
    })
}

/// What the template says of the key that is to come out.
struct Wanted {
    class: Class,
    key_type: CK_KEY_TYPE,
    /// CKA_VALUE_LEN of a secret key.
    length: Option<usize>,
}

impl Wanted {
    fn of(template: &Template) -> Result<Self> {
        let class = template.ulong(CKA_CLASS)?.ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
        let key_type = template.ulong(CKA_KEY_TYPE)?.ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
        let class = class_of(class).ok_or(ck(CKR_ATTRIBUTE_VALUE_INVALID))?;
        let fits = match class {
            Class::PrivateKey => matches!(key_type, CKK_RSA | CKK_EC | CKK_EC_EDWARDS | CKK_EC_MONTGOMERY),
            Class::SecretKey => family_of(key_type).is_some(),
            _ => false,
        };
        if !fits {
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        // What is no length of any secret ends here: so many bytes would be made up for a wrong padding.
        let length = template.ulong(CKA_VALUE_LEN)?;
        if let Some(length) = length {
            keys::secret_bits(Family::Generic, length)?;
        }
        Ok(Self { class, key_type, length: length.map(|length| length as usize) })
    }

    fn is_fit(&self, length: usize) -> bool {
        let family = family_of(self.key_type).unwrap_or(Family::Generic);
        keys::secret_bits(family, length as u64).is_ok()
    }

    /// The length that the key must have where `found` bytes came out; those, unless they make no key of this type.
    fn length_for(&self, found: usize) -> usize {
        match self.length {
            Some(length) => length,
            None if self.is_fit(found) => found,
            None if self.key_type == CKK_ALIKMS_SM4 => BLOCK,
            None => 32,
        }
    }

    /// The key in what came out, in the form that the software level takes.
    fn read(&self, template: &Template, value: Bytes) -> Result<(Family, Bytes)> {
        let invalid = |_| ck(CKR_WRAPPED_KEY_INVALID);
        match (self.class, self.key_type) {
            (Class::SecretKey, key_type) => {
                let family = family_of(key_type).ok_or(ck(CKR_TEMPLATE_INCONSISTENT))?;
                let right = self.length.is_none_or(|length| length == value.len()) && self.is_fit(value.len());
                if right { Ok((family, value)) } else { Err(ck(CKR_WRAPPED_KEY_INVALID)) }
            }
            (_, CKK_RSA) => {
                let key = RsaKey::from_der(&value).map_err(invalid)?;
                key.check().map_err(invalid)?;
                Ok((Family::Rsa, key.to_der()?))
            }
            _ => {
                let key = EcKey::from_der(&value).map_err(invalid)?;
                if key_type_of(Family::Ec(key.curve())) != self.key_type {
                    return Err(ck(CKR_WRAPPED_KEY_INVALID));
                }
                let named = template.bytes(CKA_EC_PARAMS).map(keys::curve_of);
                if named.is_some_and(|named| !matches!(named, Ok(curve) if curve == key.curve())) {
                    return Err(ck(CKR_TEMPLATE_INCONSISTENT));
                }
                Ok((Family::Ec(key.curve()), key.scalar()))
            }
        }
    }
}

/// The family of a secret key type.
fn family_of(key_type: CK_KEY_TYPE) -> Option<Family> {
    match key_type {
        CKK_AES => Some(Family::Aes),
        CKK_ALIKMS_SM4 => Some(Family::Sm4),
        kind if keys::is_generic(kind) => Some(Family::Generic),
        _ => None,
    }
}

/// `modulus`: length of the RSA key in bytes.
fn open(
    session: &Session,
    engine: &Engine,
    scheme: &Scheme,
    wrapped: &[u8],
    wanted: &Wanted,
    modulus: usize,
) -> Result<Bytes> {
    let unwrap = |cipher: &Cipher, wrapped: &[u8]| match engine {
        Engine::Public(..) => Err(ck(CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT)),
        engine => engine.at_work(session)?.unwrap(cipher, wrapped),
    };
    let is_secret = wanted.class == Class::SecretKey;
    match scheme {
        Scheme::RsaAes { outer, bytes } => {
            unwrapping::rsa_aes(wrapped, modulus, *bytes, |outside| unwrap(outer, outside))
        }
        Scheme::One(Cipher::AesCbcPad { iv }) => {
            if wrapped.is_empty() || !wrapped.len().is_multiple_of(BLOCK) {
                return Err(Error::CiphertextLength);
            }
            // Any length fits these, so that it would tell the padding, byte by byte.
            if is_secret && wanted.length.is_none() && !matches!(wanted.key_type, CKK_AES | CKK_ALIKMS_SM4) {
                return Err(ck(CKR_TEMPLATE_INCOMPLETE));
            }
            let padded = unwrap(&Cipher::AesCbc { iv: *iv }, wrapped)?;
            let found = unwrapping::unpad(&padded, BLOCK);
            Ok(if is_secret { unwrapping::fitted(&found, wrapped, wanted.length_for(found.len())) } else { found })
        }
        Scheme::One(cipher @ Cipher::AesCbc { .. }) if is_secret => {
            let mut value = unwrap(cipher, wrapped)?;
            let length = wanted.length.unwrap_or(value.len());
            // No key is cut out of a longer one.
            if length.next_multiple_of(BLOCK) != value.len() {
                return Err(Error::CiphertextLength);
            }
            value.truncate(length);
            Ok(value)
        }
        Scheme::One(Cipher::AesCbc { .. }) => Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        Scheme::One(Cipher::RsaPkcs1) if is_secret => {
            // Implicit rejection made up a message for a wrong padding; a length that cannot be is made up as well.
            let found = unwrap(&Cipher::RsaPkcs1, wrapped)?;
            Ok(unwrapping::fitted(&found, wrapped, wanted.length_for(found.len())))
        }
        Scheme::One(cipher) => unwrap(cipher, wrapped),
    }
}

fn wrapped_fault(error: Error) -> Error {
    match error {
        Error::Ciphertext | Error::InvalidParameter { .. } => ck(CKR_WRAPPED_KEY_INVALID),
        Error::CiphertextLength => ck(CKR_WRAPPED_KEY_LEN_RANGE),
        other => other,
    }
}
