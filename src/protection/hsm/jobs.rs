//! How a job becomes a device call: the mechanism, its parameter, the input as the device wants it, the length that
//! the answer must have, and what is left to do in process. Hashing was done above; signatures are made raw, which is
//! what most devices can (DESIGN §6).

use std::borrow::Cow;

use cryptoki_sys::*;

use super::calls::Act;
use super::connection::Connection;
use super::mechanism::{Mechanism, Parameter};
use super::pool::Device;
use super::profile::{GcmIv, Profile, hash_numbers, mechanism_name};
use crate::crypto::{ec, implicit_rejection, rsa, sm2};
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Job, Mac, Signing, Sm2Layout};
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};

const BLOCK: usize = 16;
/// What AES key wrapping adds.
const SEMIBLOCK: usize = 8;

/// One job, ready for the device.
#[derive(Debug)]
pub struct Plan<'a> {
    pub act: Act,
    pub mechanism: Mechanism<'a>,
    pub input: Cow<'a, [u8]>,
    /// The longest answer, in bytes.
    pub room: usize,
    finish: Finish<'a>,
}

/// What happens to the answer.
#[derive(Debug)]
enum Finish<'a> {
    /// It may be shorter than the room for it.
    AsIs,
    /// It has exactly this length.
    Exact(usize),
    /// A raw RSA block, unpadded in process.
    Oaep { hash: Hash, mgf: Hash, label: &'a [u8] },
    /// A raw RSA block, unpadded in process with implicit rejection.
    Pkcs1,
    /// A raw RSA block; devices that strip zeros get them back.
    Raw,
    /// r ‖ s that is to be DER.
    ToDer,
    /// DER that is to be r ‖ s.
    FromDer(Curve),
}

/// The key that a plan is for.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub spec: Spec,
    pub public: Option<&'a PublicKey>,
}

impl<'a> Plan<'a> {
    /// `Error::Unsupported` if the job does not fit the family, `Error::DeviceLacks` if the device cannot do it.
    pub fn new(
        device: &Device,
        connection: &Connection,
        subject: Subject<'_>,
        job: &'a Job,
        input: &'a [u8],
    ) -> Result<Self> {
        let plan = match (subject.spec.family, job) {
            (Family::Ec(Curve::Sm2), Job::Sign(signing @ (Signing::Sm2 | Signing::Sm2Der))) => {
                Self::sm2_sign(device, connection, *signing == Signing::Sm2Der, input)
            }
            (Family::Ec(Curve::Sm2), Job::Decrypt(Cipher::Sm2(layout))) => {
                Self::sm2_decrypt(device, connection, *layout, input)
            }
            (Family::Ec(Curve::Sm2), Job::Sign(_)) => {
                Err(Error::Unsupported("a scheme of other keys with an SM2 key".to_owned()))
            }
            (Family::Sm4, Job::Encrypt(cipher)) => Self::sm4(device, cipher, input, true),
            (Family::Sm4, Job::Decrypt(cipher)) => Self::sm4(device, cipher, input, false),
            (Family::Ec(curve), _) if curve.is_25519() => {
                Err(device.lacks(format!("the mechanisms of {}", subject.spec.name)))
            }
            (Family::Ec(curve), Job::Sign(Signing::Ecdsa)) => Self::ecdsa(curve.field_len(), input),
            (Family::Rsa, Job::Sign(signing)) => Self::rsa_sign(subject, signing, input),
            (Family::Rsa, Job::Decrypt(cipher)) => {
                Self::rsa_decrypt(device.profile()?, connection, subject, cipher, input)
            }
            (Family::Aes, Job::Encrypt(cipher)) => Self::aes(device, connection, cipher, input, true),
            (Family::Aes, Job::Decrypt(cipher)) => Self::aes(device, connection, cipher, input, false),
            (Family::Aes, Job::Mac(Mac::AesCmac)) => Ok(Self::mac(CKM_AES_CMAC, BLOCK, input)),
            (Family::Generic, Job::Mac(Mac::Hmac(Hash::Sm3))) => {
                Ok(Self::mac(sm(device, &["CKM_ALIKMS_SM3_HMAC"])?.1, Hash::Sm3.len(), input))
            }
            (Family::Generic, Job::Derive(_)) => Err(device.lacks(mechanism_name(CKM_HKDF_DERIVE))),
            (Family::Generic, Job::Mac(Mac::Hmac(hash))) => Ok(Self::mac(hash_numbers(*hash).2, hash.len(), input)),
            (family, job) => Err(Error::Unsupported(format!("{} with a {family:?} key", kind(job)))),
        }?;
        let flag = match plan.act {
            Act::Decrypt => CKF_DECRYPT,
            Act::Encrypt => CKF_ENCRYPT,
            Act::Sign => CKF_SIGN,
        };
        if !connection.does(plan.mechanism.id, flag) {
            return Err(device.lacks(mechanism_name(plan.mechanism.id)));
        }
        Ok(plan)
    }

    fn ecdsa(field_len: usize, digest: &'a [u8]) -> Result<Self> {
        if digest.is_empty() {
            return Err(Error::DataLength);
        }
        // Some devices refuse what is longer than the order instead of taking its left part (FIPS 186-5 §6.4.1).
        let digest = digest.get(..field_len).unwrap_or(digest);
        Ok(Self::sign(bare(CKM_ECDSA), digest.into(), 2 * field_len))
    }

    fn rsa_sign(subject: Subject<'_>, signing: &Signing, input: &'a [u8]) -> Result<Self> {
        let size = subject.spec.bits / 8;
        match signing {
            Signing::Ecdsa | Signing::Eddsa { .. } | Signing::Sm2 | Signing::Sm2Der => {
                Err(Error::Unsupported("a signature of elliptic curves with an RSA key".to_owned()))
            }
            // RFC 8017 §8.2.1: three bytes and at least eight of padding.
            Signing::RsaPkcs1 if input.len() + 11 > size => Err(Error::DataLength),
            Signing::RsaPkcs1 => Ok(Self::sign(bare(CKM_RSA_PKCS), input.into(), size)),
            // RFC 8017 §9.1.1: emLen ≥ hLen + sLen + 2.
            Signing::RsaPss { hash, salt, .. } if input.len() != hash.len() || hash.len() + salt + 2 > size => {
                Err(Error::DataLength)
            }
            Signing::RsaPss { hash, mgf, salt } => {
                let parameter = Parameter::Pss { hash: hash_numbers(*hash).0, mgf: hash_numbers(*mgf).1, salt: *salt };
                Ok(Self::sign(Mechanism { id: CKM_RSA_PKCS_PSS, parameter }, input.into(), size))
            }
            Signing::RsaRaw => {
                let block = raw_block(subject, input).ok_or(Error::DataLength)?;
                Ok(Self::sign(bare(CKM_RSA_X_509), block, size))
            }
        }
    }

    fn rsa_decrypt(
        profile: &Profile,
        connection: &Connection,
        subject: Subject<'_>,
        cipher: &'a Cipher,
        input: &'a [u8],
    ) -> Result<Self> {
        let size = subject.spec.bits / 8;
        let is_raw = *cipher == Cipher::RsaRaw;
        if input.len() != size && !(is_raw && input.len() < size) {
            return Err(Error::CiphertextLength);
        }
        let block = raw_block(subject, input).ok_or(Error::Ciphertext)?;
        let raw = |finish| Self { act: Act::Decrypt, mechanism: bare(CKM_RSA_X_509), input: block, room: size, finish };
        match cipher {
            Cipher::RsaOaep { hash, mgf, label } => {
                // A device that cannot decrypt raw is asked all the same.
                let takes = connection.does(CKM_RSA_PKCS_OAEP, CKF_DECRYPT)
                    && (profile.takes_oaep(*hash, *mgf, label) || !connection.does(CKM_RSA_X_509, CKF_DECRYPT));
                if !takes {
                    return Ok(raw(Finish::Oaep { hash: *hash, mgf: *mgf, label }));
                }
                let parameter = Parameter::Oaep { hash: hash_numbers(*hash).0, mgf: hash_numbers(*mgf).1, label };
                Ok(Self {
                    act: Act::Decrypt,
                    mechanism: Mechanism { id: CKM_RSA_PKCS_OAEP, parameter },
                    input: input.into(),
                    room: size,
                    finish: Finish::AsIs,
                })
            }
            Cipher::RsaPkcs1 => Ok(raw(Finish::Pkcs1)),
            Cipher::RsaRaw => Ok(raw(Finish::Raw)),
            _ => Err(Error::Unsupported("an AES mode with an RSA key".to_owned())),
        }
    }

    fn aes(
        device: &Device,
        connection: &Connection,
        cipher: &'a Cipher,
        input: &'a [u8],
        encrypt: bool,
    ) -> Result<Self> {
        let wrong = || if encrypt { Error::DataLength } else { Error::CiphertextLength };
        let len = input.len();
        // What key wrapping does not take, and never makes.
        let is_odd = !len.is_multiple_of(SEMIBLOCK) || len < 2 * SEMIBLOCK;
        let (id, parameter, room, finish) = match cipher {
            Cipher::AesCbc { .. } | Cipher::AesEcb if !len.is_multiple_of(BLOCK) => return Err(wrong()),
            Cipher::AesCbc { iv } => (CKM_AES_CBC, Parameter::Bytes(iv), len, Finish::Exact(len)),
            Cipher::AesEcb => (CKM_AES_ECB, Parameter::None, len, Finish::Exact(len)),
            Cipher::AesCbcPad { iv } if encrypt => {
                let padded = (len / BLOCK + 1) * BLOCK;
                (CKM_AES_CBC_PAD, Parameter::Bytes(iv), padded, Finish::Exact(padded))
            }
            Cipher::AesCbcPad { .. } if len == 0 || !len.is_multiple_of(BLOCK) => return Err(wrong()),
            Cipher::AesCbcPad { iv } => (CKM_AES_CBC_PAD, Parameter::Bytes(iv), len, Finish::AsIs),
            Cipher::AesCtr { block, bits } => {
                (CKM_AES_CTR, Parameter::Ctr { bits: *bits, block: *block }, len, Finish::Exact(len))
            }
            Cipher::AesGcm { .. } if device.profile()?.gcm_iv != GcmIv::Caller => {
                return Err(device.lacks("CKM_AES_GCM with an IV that it does not make itself"));
            }
            Cipher::AesGcm { iv, aad, tag } => {
                let made = if encrypt { len + tag } else { len.checked_sub(*tag).ok_or_else(wrong)? };
                // SoftHSM wants room for the tag even when it takes it away.
                (CKM_AES_GCM, Parameter::Gcm { iv, aad, tag_bits: tag * 8 }, made.max(len), Finish::Exact(made))
            }
            Cipher::AesKeyWrap { .. } if is_odd => return Err(wrong()),
            Cipher::AesKeyWrapPad if is_odd && !encrypt => return Err(wrong()),
            Cipher::AesKeyWrap { iv } => {
                let parameter = iv.as_ref().map_or(Parameter::None, |iv| Parameter::Bytes(iv));
                let made = if encrypt { len + SEMIBLOCK } else { len - SEMIBLOCK };
                (CKM_AES_KEY_WRAP, parameter, made.max(len), Finish::Exact(made))
            }
            Cipher::AesKeyWrapPad => {
                // Two numbers, the same RFC 5649 in practice.
                let flag = if encrypt { CKF_ENCRYPT } else { CKF_DECRYPT };
                let id = if connection.does(CKM_AES_KEY_WRAP_PAD, flag) {
                    CKM_AES_KEY_WRAP_PAD
                } else {
                    CKM_AES_KEY_WRAP_KWP
                };
                (id, Parameter::None, if encrypt { len + 2 * SEMIBLOCK } else { len }, Finish::AsIs)
            }
            _ => {
                return Err(Error::Unsupported("a scheme of other keys with an AES key".to_owned()));
            }
        };
        let act = if encrypt { Act::Encrypt } else { Act::Decrypt };
        Ok(Self { act, mechanism: Mechanism { id, parameter }, input: input.into(), room, finish })
    }

    /// The device's signature is r ‖ s or DER, whichever it has; so is ours.
    fn sm2_sign(device: &Device, connection: &Connection, der: bool, digest: &'a [u8]) -> Result<Self> {
        let len = Curve::Sm2.field_len();
        if digest.len() != len {
            return Err(Error::DataLength);
        }
        let (theirs, id) = sm_of(device, connection, CKF_SIGN, &["CKM_ALIKMS_SM2", "CKM_ALIKMS_SM2_DER"])?;
        let finish = match (theirs == 1, der) {
            (false, false) => Finish::Exact(2 * len),
            (false, true) => Finish::ToDer,
            (true, false) => Finish::FromDer(Curve::Sm2),
            (true, true) => Finish::AsIs,
        };
        // Two numbers of up to 33 bytes with two bytes before each, and two before both.
        Ok(Self { act: Act::Sign, mechanism: bare(id), input: digest.into(), room: 2 * len + 8, finish })
    }

    fn sm2_decrypt(device: &Device, connection: &Connection, layout: Sm2Layout, input: &'a [u8]) -> Result<Self> {
        let layouts = [layout, Sm2Layout::C1C3C2, Sm2Layout::C1C2C3, Sm2Layout::Der];
        let names = layouts.map(|layout| match layout {
            Sm2Layout::C1C2C3 => "CKM_ALIKMS_SM2_ENCRYPT_C1C2C3",
            Sm2Layout::C1C3C2 => "CKM_ALIKMS_SM2_ENCRYPT_C1C3C2",
            Sm2Layout::Der => "CKM_ALIKMS_SM2_ENCRYPT",
        });
        let (at, id) = sm_of(device, connection, CKF_DECRYPT, &names)?;
        let theirs = layouts.get(at).copied().unwrap_or(layout);
        let input = sm2::rearrange(layout, theirs, input)?;
        let room = input.len();
        Ok(Self { act: Act::Decrypt, mechanism: bare(id), input: input.into(), room, finish: Finish::AsIs })
    }

    fn sm4(device: &Device, cipher: &'a Cipher, input: &'a [u8], encrypt: bool) -> Result<Self> {
        let len = input.len();
        let wrong = || if encrypt { Error::DataLength } else { Error::CiphertextLength };
        let whole = len.is_multiple_of(BLOCK);
        let (name, parameter, room, finish) = match cipher {
            Cipher::Sm4Cbc { .. } | Cipher::Sm4Ecb if !whole => return Err(wrong()),
            Cipher::Sm4Cbc { iv } => ("CKM_ALIKMS_SM4_CBC", Parameter::Bytes(iv), len, Finish::Exact(len)),
            Cipher::Sm4Ecb => ("CKM_ALIKMS_SM4_ECB", Parameter::None, len, Finish::Exact(len)),
            Cipher::Sm4CbcPad { iv } if encrypt => {
                let padded = (len / BLOCK + 1) * BLOCK;
                ("CKM_ALIKMS_SM4_CBC_PAD", Parameter::Bytes(iv), padded, Finish::Exact(padded))
            }
            Cipher::Sm4CbcPad { .. } if len == 0 || !whole => return Err(wrong()),
            Cipher::Sm4CbcPad { iv } => ("CKM_ALIKMS_SM4_CBC_PAD", Parameter::Bytes(iv), len, Finish::AsIs),
            Cipher::Sm4Ctr { block, bits } => {
                ("CKM_ALIKMS_SM4_CTR", Parameter::Ctr { bits: *bits, block: *block }, len, Finish::Exact(len))
            }
            Cipher::Sm4Gcm { iv, aad, tag } => {
                let made = if encrypt { len + tag } else { len.checked_sub(*tag).ok_or_else(wrong)? };
                (
                    "CKM_ALIKMS_SM4_GCM",
                    Parameter::Gcm { iv, aad, tag_bits: tag * 8 },
                    made.max(len),
                    Finish::Exact(made),
                )
            }
            _ => return Err(Error::Unsupported("a scheme of other keys with an SM4 key".to_owned())),
        };
        let id = sm(device, &[name])?.1;
        let act = if encrypt { Act::Encrypt } else { Act::Decrypt };
        Ok(Self { act, mechanism: Mechanism { id, parameter }, input: input.into(), room, finish })
    }

    fn mac(id: CK_MECHANISM_TYPE, len: usize, input: &'a [u8]) -> Self {
        Self::sign(bare(id), input.into(), len)
    }

    fn sign(mechanism: Mechanism<'a>, input: Cow<'a, [u8]>, room: usize) -> Self {
        Self { act: Act::Sign, mechanism, input, room, finish: Finish::Exact(room) }
    }

    /// Whether `finish` needs the secret of implicit rejection.
    pub fn needs_secret(&self) -> bool {
        matches!(self.finish, Finish::Pkcs1)
    }

    /// Makes the result of the device's answer.
    pub fn finish(&self, device: &Device, answer: Bytes, secret: &[u8; 32]) -> Result<Bytes> {
        match &self.finish {
            Finish::AsIs => Ok(answer),
            Finish::Exact(len) if answer.len() == *len => Ok(answer),
            Finish::Exact(len) => {
                tracing::warn!(device = device.config.name, len = answer.len(), wanted = len, "wrong length");
                let call = match self.act {
                    Act::Decrypt => "C_Decrypt, with an answer of the wrong length, or",
                    Act::Encrypt => "C_Encrypt, with an answer of the wrong length, or",
                    Act::Sign => "C_Sign, with an answer of the wrong length, or",
                };
                Err(Error::Device { device: device.config.name.clone(), call, rv: CKR_DEVICE_ERROR })
            }
            Finish::Oaep { hash, mgf, label } => rsa::unpad_oaep(*hash, *mgf, label, &self.padded(answer)),
            Finish::Pkcs1 => implicit_rejection::unpad(secret, &self.input, &self.padded(answer)),
            Finish::Raw => Ok(self.padded(answer)),
            Finish::ToDer => Ok(Bytes::new(ec::to_der(&answer)?)),
            Finish::FromDer(curve) => Ok(Bytes::new(ec::from_der(*curve, &answer)?)),
        }
    }

    fn padded(&self, answer: Bytes) -> Bytes {
        match self.room.checked_sub(answer.len()) {
            None | Some(0) => answer,
            Some(missing) => {
                let mut block = Bytes::new(vec![0; missing]);
                block.reserve_exact(answer.len());
                block.extend_from_slice(&answer);
                block
            }
        }
    }
}

/// The input of a raw RSA operation, as long as the modulus and less than it.
fn raw_block<'a>(subject: Subject<'_>, input: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    let missing = (subject.spec.bits / 8).checked_sub(input.len())?;
    let block =
        if missing == 0 { Cow::Borrowed(input) } else { Cow::Owned([vec![0; missing], input.to_vec()].concat()) };
    match subject.public {
        Some(PublicKey::Rsa { modulus, .. }) if *block >= **modulus => None,
        _ => Some(block),
    }
}

/// The first of these names that the profile has a number for: which one, and the number.
fn sm(device: &Device, names: &[&str]) -> Result<(usize, CK_MECHANISM_TYPE)> {
    let profile = device.profile()?;
    let known = names.iter().enumerate().find_map(|(at, name)| Some((at, profile.sm(name)?)));
    known.ok_or_else(|| lacks_sm(device, names))
}

/// The same, of those that the device lists for this use.
fn sm_of(
    device: &Device,
    connection: &Connection,
    flag: CK_FLAGS,
    names: &[&str],
) -> Result<(usize, CK_MECHANISM_TYPE)> {
    let profile = device.profile()?;
    let listed = |(at, name): (usize, &&str)| Some((at, profile.sm(name).filter(|id| connection.does(*id, flag))?));
    names.iter().enumerate().find_map(listed).ok_or_else(|| lacks_sm(device, names))
}

fn lacks_sm(device: &Device, names: &[&str]) -> Error {
    device.lacks(names.first().copied().unwrap_or_default())
}

fn bare(id: CK_MECHANISM_TYPE) -> Mechanism<'static> {
    Mechanism { id, parameter: Parameter::None }
}

fn kind(job: &Job) -> &'static str {
    match job {
        Job::Decrypt(_) => "this way to decrypt",
        Job::Derive(_) => "key agreement",
        Job::Encrypt(_) => "this way to encrypt",
        Job::Mac(_) => "this MAC",
        Job::Sign(_) => "this signature",
    }
}
