//! C_WrapKey: the value of a secret key, or PKCS#8 of a private key, encrypted with a key that may wrap (PKCS#11 3.2 §5.18.3).

use cryptoki_sys::*;

use crate::crypto::ec::EcKey;
use crate::crypto::random;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job};
use crate::model::object::Class;
use crate::model::spec::Family;
use crate::protection::software;
use crate::token::engine::Engine;
use crate::token::iv::{Generator, IvMaker};
use crate::token::mechanism::{Does, MechanismRow};
use crate::token::object::{Item, SessionKey, Source};
use crate::token::operate::{Kind, bad_parameter, check_policy, oaep, task};
use crate::token::separation::{check_mechanism, check_wrap};
use crate::token::uses::settle;
use crate::token::{Answer, Mechanism, Parameter, Room, Session, ck};

const WRAP: Kind = Kind { flag: CKF_WRAP, permits: CKA_WRAP, actions: ("AsymmetricEncrypt", "Encrypt") };
const BLOCK: usize = 16;

/// How a key is wrapped: by one cipher, or RSA around an AES key of so many bytes around the key.
pub(super) enum Scheme {
    One(Cipher),
    RsaAes { outer: Cipher, bytes: usize },
}

/// What C_WrapKey answers, and the IV that the token made for it.
pub type Wrapped = (Answer, Option<Vec<u8>>);

impl Session {
    /// `aad`: of C_WrapKeyAuthenticated, which only mechanisms with associated data do.
    pub fn wrap_key(
        &mut self,
        mechanism: &Mechanism,
        wrapping: u64,
        key: u64,
        aad: Option<&[u8]>,
        room: Room,
    ) -> Result<Wrapped> {
        let wrapper = self.item(wrapping, CKR_WRAPPING_KEY_HANDLE_INVALID)?;
        let row = self.row(mechanism.kind, CKF_WRAP)?;
        check_kind(&wrapper, row, [Class::PublicKey, Class::SecretKey], CKR_WRAPPING_KEY_TYPE_INCONSISTENT)?;
        check_use(&wrapper, WRAP.permits, row).map_err(|error| self.refused(&wrapper, WRAP, error))?;
        let item = self.item(key, CKR_KEY_HANDLE_INVALID)?;
        if item.key_type().is_none() {
            return Err(ck(CKR_KEY_HANDLE_INVALID));
        }
        if item.class == Class::PublicKey {
            return Err(ck(CKR_KEY_NOT_WRAPPABLE));
        }
        let (parameter, made) = gcm_parameter(&mechanism.parameter, aad)?;
        check_mechanism(&wrapper, row.does, made.is_some())?;
        check_wrap(&wrapper, &item, row.does, made.is_some())?;
        let value = value_of(&item)?;
        let scheme = scheme(row.does, &parameter, &wrapper, CKF_ENCRYPT)?;
        let modulus = wrapper.public().map_or(0, |public| public.bits().div_ceil(8));
        let size = size(&scheme, &item, value.len(), modulus)?;
        match room {
            Room::Ask => return Ok((Answer::Size(size), None)),
            Room::Bytes(room) if room < size => return Ok((Answer::TooSmall(size), None)),
            Room::Bytes(_) => {}
        }
        let engine = self.engine(&wrapper, WRAP)?;
        let output = match &scheme {
            Scheme::One(cipher @ Cipher::AesCbc { .. }) => {
                let mut padded = value.clone();
                padded.resize(value.len().next_multiple_of(BLOCK), 0);
                wrap(self, &engine, cipher, &padded)
            }
            Scheme::One(cipher) => wrap(self, &engine, cipher, &value),
            Scheme::RsaAes { outer, bytes } => {
                let mut between = Bytes::new(vec![0; *bytes]);
                random::fill(&mut between);
                let inner = software::key(Family::Aes, &between)?.wrap(&Cipher::AesKeyWrapPad, &value)?;
                wrap(self, &engine, outer, &between).map(|outer| Bytes::new([outer.as_slice(), &inner].concat()))
            }
        };
        let output = output.map_err(|error| match error {
            Error::DataLength => ck(CKR_KEY_SIZE_RANGE),
            other => other,
        })?;
        Ok((Answer::Bytes(output), made))
    }
}

/// Is it a key of a class and type that this mechanism wraps or unwraps with?
pub(super) fn check_kind(item: &Item, row: &MechanismRow, classes: [Class; 2], unfit: CK_RV) -> Result<()> {
    let fits = classes.contains(&item.class) && row.keys.key_type() == item.key_type();
    if fits { Ok(()) } else { Err(ck(unfit)) }
}

/// May it be used like this at all?
pub(super) fn check_use(item: &Item, permits: CK_ATTRIBUTE_TYPE, row: &MechanismRow) -> Result<()> {
    if !item.is(permits) {
        return Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    if !item.allows(row.kind) {
        return Err(ck(CKR_MECHANISM_INVALID));
    }
    check_policy(item, row.does)
}

/// CK_GCM_PARAMS, whatever the parameter was: with the IV that the caller gave or that is made now, which is answered then,
/// and with the associated data of the function.
pub(super) fn gcm_parameter(given: &Parameter, aad: Option<&[u8]>) -> Result<(Parameter, Option<Vec<u8>>)> {
    let both = |own: &[u8]| match aad {
        None | Some([]) => Ok(own.to_vec()),
        Some(other) if own.is_empty() || own == other => Ok(Bytes::copy_of(other)?.into_vec()),
        Some(_) => Err(bad_parameter()),
    };
    match given {
        Parameter::GcmWrap { iv, fixed_bits, generator, aad: own, tag_bits } => {
            let made = match Generator::of(*generator)? {
                Generator::Caller => None,
                generator => Some(IvMaker::new(generator, *fixed_bits, iv)?.make()?),
            };
            let iv = made.clone().unwrap_or_else(|| iv.clone());
            let iv_bits = iv.len() as u64 * 8;
            Ok((Parameter::Gcm { iv: iv.into(), iv_bits, aad: both(own)?, tag_bits: *tag_bits }, made))
        }
        Parameter::Gcm { iv, iv_bits, aad: own, tag_bits } => {
            let aad = both(own)?;
            Ok((Parameter::Gcm { iv: iv.clone(), iv_bits: *iv_bits, aad, tag_bits: *tag_bits }, None))
        }
        // C_WrapKeyAuthenticated by a mechanism that knows no associated data.
        _ if aad.is_some() => Err(ck(CKR_MECHANISM_INVALID)),
        other => Ok((other.clone(), None)),
    }
}

/// `flag`: CKF_ENCRYPT to wrap, CKF_DECRYPT to unwrap.
pub(super) fn scheme(does: Does, parameter: &Parameter, item: &Item, flag: CK_FLAGS) -> Result<Scheme> {
    if does == Does::RsaAesKeyWrap {
        let Parameter::RsaAes { bits: bits @ (128 | 192 | 256), oaep: inner } = parameter else {
            return Err(bad_parameter());
        };
        return Ok(Scheme::RsaAes { outer: oaep(inner)?, bytes: *bits as usize / 8 });
    }
    match task(does, parameter.clone(), item, flag)?.job {
        Job::Encrypt(cipher) | Job::Decrypt(cipher) => Ok(Scheme::One(cipher)),
        _ => Err(ck(CKR_MECHANISM_INVALID)),
    }
}

/// How long the wrapped key is, if a key of `length` bytes can be wrapped like this.
fn size(scheme: &Scheme, key: &Item, length: usize, modulus: usize) -> Result<usize> {
    let is_secret = key.class == Class::SecretKey;
    let padded = length.next_multiple_of(8) + 8;
    match scheme {
        Scheme::One(Cipher::AesKeyWrap { .. }) if length < 16 || !length.is_multiple_of(8) => {
            Err(ck(CKR_KEY_SIZE_RANGE))
        }
        Scheme::One(Cipher::AesKeyWrap { .. }) => Ok(length + 8),
        Scheme::One(Cipher::AesKeyWrapPad) => Ok(padded),
        Scheme::One(Cipher::AesCbc { .. }) if is_secret => Ok(length.next_multiple_of(BLOCK)),
        // Without padding nobody could tell where PKCS#8 ends.
        Scheme::One(Cipher::AesCbc { .. }) => Err(ck(CKR_KEY_NOT_WRAPPABLE)),
        Scheme::One(Cipher::AesCbcPad { .. }) => Ok((length / BLOCK + 1) * BLOCK),
        Scheme::One(Cipher::AesGcm { tag, .. }) => Ok(length + tag),
        Scheme::One(Cipher::RsaPkcs1) if length + 11 > modulus => Err(ck(CKR_KEY_SIZE_RANGE)),
        Scheme::One(Cipher::RsaOaep { hash, .. }) if length + 2 * hash.len() + 2 > modulus => {
            Err(ck(CKR_KEY_SIZE_RANGE))
        }
        Scheme::One(_) => Ok(modulus),
        Scheme::RsaAes { .. } => Ok(modulus + padded),
    }
}

/// What is wrapped of a key.
fn value_of(item: &Item) -> Result<Bytes> {
    let Source::Session(SessionKey { family, value: Some(value), .. }) = &item.source else {
        return Err(ck(CKR_KEY_UNEXTRACTABLE));
    };
    match family {
        // RSA keys are kept as PKCS#8.
        Family::Ec(curve) => EcKey::from_scalar(*curve, value)?.to_der(),
        _ => Ok(value.clone()),
    }
}

fn wrap(session: &Session, engine: &Engine, cipher: &Cipher, value: &Bytes) -> Result<Bytes> {
    match engine {
        Engine::Public(key, used) => {
            let job = Job::Encrypt(cipher.clone());
            settle(session, used, &job, key.encrypt(cipher, value)).map(Bytes::new)
        }
        engine => engine.at_work(session)?.wrap(cipher, value),
    }
}
