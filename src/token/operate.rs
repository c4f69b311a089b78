//! C_EncryptInit, C_SignInit and their kin: from mechanism and key to a task, and the functions that drive it.

use std::mem::MaybeUninit;

use cryptoki_sys::*;

use crate::error::{Error, Result};
use crate::model::algorithm::{Cipher, Job, Mac, Signing};
use crate::model::context::Context;
use crate::model::hash::Hash;
use crate::model::key::Style;
use crate::model::object::Class;
use crate::token::digesting::{DigestStage, Digesting};
use crate::token::engine::{Engine, Settled};
use crate::token::keys::hmac_type;
use crate::token::mechanism::{Does, MechanismRow, hash_of, mgf_of};
use crate::token::object::{Item, Source};
use crate::token::operation::{Task, Work};
use crate::token::own::Own;
use crate::token::place::{Place, begin, taken};
use crate::token::provider::login_fault;
use crate::token::template::ulong_of;
use crate::token::vendor::CKK_ALIKMS_SM4;
use crate::token::{Answer, Mechanism, Parameter, Room, Session, ck, sm, wrap};

/// A direction of work: which attribute of the key permits it, and what the audit and RAM call it.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub flag: CK_FLAGS,
    pub permits: CK_ATTRIBUTE_TYPE,
    /// With a key of a pair, and with a secret key.
    pub actions: (&'static str, &'static str),
}

impl Kind {
    pub fn action(&self, item: &Item) -> &'static str {
        if item.class == Class::SecretKey { self.actions.1 } else { self.actions.0 }
    }
}

pub(super) const ENCRYPT: Kind =
    Kind { flag: CKF_ENCRYPT, permits: CKA_ENCRYPT, actions: ("AsymmetricEncrypt", "Encrypt") };
pub(super) const DECRYPT: Kind =
    Kind { flag: CKF_DECRYPT, permits: CKA_DECRYPT, actions: ("AsymmetricDecrypt", "Decrypt") };
pub(super) const SIGN: Kind = Kind { flag: CKF_SIGN, permits: CKA_SIGN, actions: ("AsymmetricSign", "GenerateMac") };
pub(super) const VERIFY: Kind =
    Kind { flag: CKF_VERIFY, permits: CKA_VERIFY, actions: ("AsymmetricVerify", "VerifyMac") };

/// Where a session has its operation of one kind: to look at, and to change.
type At = (fn(&Session) -> &Place, fn(&mut Session) -> &mut Place);

pub(super) fn bad_parameter() -> Error {
    ck(CKR_MECHANISM_PARAM_INVALID)
}

impl Session {
    /// Begins an operation in its place. What an Init like this found out about the key before is not found out again; and the
    /// work is put together where it stays, since moving it costs more than most of what is left.
    #[inline(always)]
    fn init(&mut self, mechanism: Option<Mechanism>, key: u64, kind: Kind, place: At) -> Result<()> {
        let Some(mechanism) = mechanism else {
            place.1(self).put(None);
            return Ok(());
        };
        if place.0(self).current().is_some() {
            return Err(ck(CKR_OPERATION_ACTIVE));
        }
        match self.settled(key, mechanism.kind, (kind.permits, kind.flag)) {
            // The last operation with another IV.
            Some((_, settled)) if settled.does == Does::AesGcm && place.0(self).had(&settled.engine) => {
                let cipher = gcm(mechanism.parameter)?;
                let (renewed, locked) = (settled.engine.renewed(self)?, settled.locked);
                place.1(self).again(cipher, locked, renewed);
            }
            Some((item, settled)) => {
                let task = task(settled.does, mechanism.parameter, item, kind.flag)?;
                let (renewed, locked) = (settled.engine.renewed(self)?, settled.locked);
                let engine = renewed.unwrap_or_else(|| settled.engine.clone());
                place.1(self).put(Some(Work::new(engine, task, locked)));
            }
            None => {
                let work = self.prepare_as(mechanism, key, kind, kind.flag)?;
                place.1(self).put(Some(work));
            }
        }
        Ok(())
    }

    /// The work that a mechanism and a key make together; CKR codes in the order that strict clients expect. `serving`: the
    /// flag that the mechanism must have.
    pub(super) fn prepare_as(&mut self, mechanism: Mechanism, key: u64, kind: Kind, serving: CK_FLAGS) -> Result<Work> {
        let asked = (kind.permits, serving);
        let item = self.item(key, CKR_KEY_HANDLE_INVALID)?;
        let row = self.row(mechanism.kind, serving)?;
        if item.key_type().is_none() {
            return Err(ck(CKR_KEY_HANDLE_INVALID));
        }
        if !fits(row, &item) {
            return Err(ck(CKR_KEY_TYPE_INCONSISTENT));
        }
        wrap::check_use(&item, kind.permits, row).map_err(|error| self.refused(&item, kind, error))?;
        let task = task(row.does, mechanism.parameter, &item, kind.flag)?;
        let engine = match &task.job {
            Job::Encrypt(Cipher::Envelope { .. }) | Job::Decrypt(Cipher::Envelope { .. }) => {
                Engine::Session(Own::new(self.envelope(&item, kind.actions.1)?))
            }
            _ => self.engine(&item, kind)?,
        };
        let locked = item.is(CKA_ALWAYS_AUTHENTICATE);
        let (mechanism, does) = (mechanism.kind, row.does);
        self.settle(&item, Settled { mechanism, asked, does, engine: engine.clone(), locked });
        Ok(Work::new(engine, task, locked))
    }

    /// C_Login with CKU_CONTEXT_SPECIFIC: unlocks the operation that waits for it (PKCS#11 3.2 §5.6.8).
    pub(super) fn authenticate(&mut self, pin: Option<&[u8]>) -> Result<()> {
        let pin = pin.ok_or(ck(CKR_ARGUMENTS_BAD))?;
        let waiting =
            [&self.sign, &self.decrypt].into_iter().any(|work| work.current().is_some_and(|work| work.locked));
        if !waiting {
            return Err(ck(CKR_OPERATION_NOT_INITIALIZED));
        }
        let kms = &self.slot().kms;
        match self.caller().user_name() {
            Some(name) => kms.login_as(name, pin).map(drop),
            None => kms.login_user(pin),
        }
        .map_err(login_fault)?;
        for work in [&mut self.sign, &mut self.decrypt].into_iter().filter_map(Place::current_mut) {
            work.locked = false;
        }
        Ok(())
    }

    pub fn encrypt_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        self.init(mechanism, key, ENCRYPT, (|session| &session.encrypt, |session| &mut session.encrypt))
    }

    pub fn decrypt_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        self.init(mechanism, key, DECRYPT, (|session| &session.decrypt, |session| &mut session.decrypt))
    }

    pub fn sign_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        self.init(mechanism, key, SIGN, (|session| &session.sign, |session| &mut session.sign))
    }

    pub fn verify_init(&mut self, mechanism: Option<Mechanism>, key: u64) -> Result<()> {
        self.init(mechanism, key, VERIFY, (|session| &session.verify, |session| &mut session.verify))
    }

    /// `out`: the room itself, if nothing of the data lies there.
    pub fn encrypt(&mut self, data: &[u8], room: Room, out: Option<&mut [MaybeUninit<u8>]>) -> Result<Answer> {
        if let (Some(work), Some(out)) = (self.encrypt.current(), out)
            && let Some(written) = work.single_to(self, data, out).transpose()
        {
            self.encrypt.end();
            return written.map(Answer::Written);
        }
        let work = taken(self.encrypt.take())?;
        let step = work.single(self, data, room)?;
        Ok(self.encrypt.keep(step))
    }

    pub fn encrypt_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        let work = taken(self.encrypt.take())?;
        let step = work.transform(self, part, room)?;
        Ok(self.encrypt.keep(step))
    }

    pub fn encrypt_final(&mut self, room: Room) -> Result<Answer> {
        let work = taken(self.encrypt.take())?;
        let step = work.last(self, room)?;
        Ok(self.encrypt.keep(step))
    }

    pub fn decrypt(&mut self, data: &[u8], room: Room) -> Result<Answer> {
        let work = taken(self.decrypt.take())?;
        let step = work.single(self, data, room)?;
        Ok(self.decrypt.keep(step))
    }

    pub fn decrypt_update(&mut self, part: &[u8], room: Room) -> Result<Answer> {
        let work = taken(self.decrypt.take())?;
        let step = work.transform(self, part, room)?;
        Ok(self.decrypt.keep(step))
    }

    pub fn decrypt_final(&mut self, room: Room) -> Result<Answer> {
        let work = taken(self.decrypt.take())?;
        let step = work.last(self, room)?;
        Ok(self.decrypt.keep(step))
    }

    pub fn sign(&mut self, data: &[u8], room: Room) -> Result<Answer> {
        let work = taken(self.sign.take())?;
        let step = work.single(self, data, room)?;
        Ok(self.sign.keep(step))
    }

    pub fn sign_update(&mut self, part: &[u8]) -> Result<()> {
        let work = taken(self.sign.take())?;
        let work = work.absorb(self, part)?;
        self.sign.put(Some(work));
        Ok(())
    }

    pub fn sign_final(&mut self, room: Room) -> Result<Answer> {
        let work = taken(self.sign.take())?;
        let step = work.last(self, room)?;
        Ok(self.sign.keep(step))
    }

    pub fn verify(&mut self, data: &[u8], signature: &[u8]) -> Result<()> {
        let work = taken(self.verify.take())?;
        work.verify(self, data, signature)
    }

    pub fn verify_update(&mut self, part: &[u8]) -> Result<()> {
        let work = taken(self.verify.take())?;
        let work = work.absorb(self, part)?;
        self.verify.put(Some(work));
        Ok(())
    }

    pub fn verify_final(&mut self, signature: &[u8]) -> Result<()> {
        let work = taken(self.verify.take())?;
        work.verify_last(self, signature)
    }

    pub fn digest_init(&mut self, mechanism: Option<&Mechanism>) -> Result<()> {
        begin(&mechanism, &mut self.digest)?;
        let Some(mechanism) = mechanism else { return Ok(()) };
        let row = self.row(mechanism.kind, CKF_DIGEST)?;
        let Does::Digest(hash) = row.does else { return Err(ck(CKR_MECHANISM_INVALID)) };
        none(&mechanism.parameter)?;
        self.digest = Some(Digesting { hash, stage: DigestStage::Fresh });
        Ok(())
    }

    pub fn digest(&mut self, data: &[u8], room: Room) -> Result<Answer> {
        let (answer, rest) = taken(self.digest.take())?.single(data, room)?;
        self.digest = rest;
        Ok(answer)
    }

    pub fn digest_update(&mut self, part: &[u8]) -> Result<()> {
        let digest = taken(self.digest.take())?;
        self.digest = Some(digest.update(part)?);
        Ok(())
    }

    /// C_DigestKey: the value of a secret key of this process that may be read anyway.
    pub fn digest_key(&mut self, key: u64) -> Result<()> {
        let digest = taken(self.digest.take())?;
        let item = self.item(key, CKR_KEY_HANDLE_INVALID)?;
        let Source::Session(session_key) = &item.source else { return Err(ck(CKR_KEY_INDIGESTIBLE)) };
        match (&session_key.value, item.class, item.is(CKA_SENSITIVE)) {
            (Some(value), Class::SecretKey, false) => self.digest = Some(digest.update(value)?),
            _ => return Err(ck(CKR_KEY_INDIGESTIBLE)),
        }
        Ok(())
    }

    pub fn digest_final(&mut self, room: Room) -> Result<Answer> {
        let (answer, rest) = taken(self.digest.take())?.last(room)?;
        self.digest = rest;
        Ok(answer)
    }
}

/// Is the key of a type and on a curve that the mechanism works with?
pub(super) fn fits(row: &MechanismRow, item: &Item) -> bool {
    let Some(kind) = item.key_type() else { return false };
    let of_type = match row.does {
        Does::Ecdh { cofactor: false } if kind == CKK_EC_MONTGOMERY => true,
        Does::Envelope => matches!(kind, CKK_AES | CKK_ALIKMS_SM4),
        Does::Hkdf { .. } => matches!(kind, CKK_GENERIC_SECRET | CKK_HKDF),
        // A key that says by its type for which HMAC it is.
        Does::Hmac { hash, .. } if hmac_type(hash) == Some(kind) => true,
        _ => row.keys.key_type() == Some(kind),
    };
    of_type && sm::fits_curve(row.keys, item)
}

/// What the KMS does not allow through this door whatever the attributes say (DESIGN §3): raw mechanisms on a key whose
/// ciphertexts are bound to an EncryptionContext, and any work with a key that is out of sight.
pub(super) fn check_policy(item: &Item, does: Does) -> Result<()> {
    let seals = does == Does::Envelope;
    match &item.source {
        Source::Kms { style: Style::Envelope, usable: true, .. } if seals => Ok(()),
        Source::Kms { style: Style::Envelope, .. } | Source::Kms { usable: false, .. } => {
            Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED))
        }
        _ if seals => Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED)),
        _ => Ok(()),
    }
}

fn none(parameter: &Parameter) -> Result<()> {
    if matches!(parameter, Parameter::None) { Ok(()) } else { Err(bad_parameter()) }
}

fn iv(parameter: &Parameter) -> Result<[u8; 16]> {
    match parameter {
        Parameter::Raw(bytes) => <[u8; 16]>::try_from(bytes.as_slice()).map_err(|_| bad_parameter()),
        _ => Err(bad_parameter()),
    }
}

/// The counter block, and how many of its bits count.
fn ctr(parameter: &Parameter) -> Result<([u8; 16], usize)> {
    match parameter {
        Parameter::Ctr { bits: bits @ 1..=128, block } => Ok((*block, *bits as usize)),
        _ => Err(bad_parameter()),
    }
}

/// An EncryptionContext; empty without a parameter.
fn context(parameter: &Parameter) -> Result<Context> {
    match parameter {
        Parameter::None => Ok(Context::default()),
        Parameter::Raw(json) => {
            let text = std::str::from_utf8(json).map_err(|_| bad_parameter())?;
            Context::from_json(text).map_err(|_| bad_parameter())
        }
        _ => Err(bad_parameter()),
    }
}

/// How many bytes of the MAC: a CK_ULONG parameter of 1 to the whole length.
fn mac_length(parameter: &Parameter, whole: usize) -> Result<usize> {
    let Parameter::Raw(bytes) = parameter else { return Err(bad_parameter()) };
    let length = ulong_of(bytes).and_then(|length| usize::try_from(length).ok()).ok_or_else(bad_parameter)?;
    if (1..=whole).contains(&length) { Ok(length) } else { Err(bad_parameter()) }
}

/// Length of the modulus or of a field element in bytes.
fn key_bytes(item: &Item) -> usize {
    item.public().map_or(0, |public| public.bits().div_ceil(8))
}

pub(super) fn task(does: Does, parameter: Parameter, item: &Item, flag: CK_FLAGS) -> Result<Task> {
    let plain = |job| Task { job, hash: None, prefix: Vec::new(), info: false, size: None, block: 0 };
    let signing = |scheme: Signing, hash: Option<Hash>| Task {
        size: signature_size(&scheme, key_bytes(item)),
        info: hash.is_some() && scheme == Signing::RsaPkcs1,
        job: Job::Sign(scheme),
        prefix: Vec::new(),
        hash,
        block: key_bytes(item),
    };
    let crypting = |cipher, block| {
        let job = if flag == CKF_ENCRYPT { Job::Encrypt(cipher) } else { Job::Decrypt(cipher) };
        Task { block, ..plain(job) }
    };
    let signs = flag == CKF_SIGN || flag == CKF_VERIFY;
    Ok(match does {
        Does::RsaPkcs(hash) => {
            none(&parameter)?;
            if signs { signing(Signing::RsaPkcs1, hash) } else { crypting(Cipher::RsaPkcs1, key_bytes(item)) }
        }
        Does::RsaX509 => {
            none(&parameter)?;
            if signs { signing(Signing::RsaRaw, None) } else { crypting(Cipher::RsaRaw, key_bytes(item)) }
        }
        Does::RsaPss(hash) => signing(pss(&parameter, hash, key_bytes(item))?, hash),
        Does::RsaOaep => crypting(oaep(&parameter)?, key_bytes(item)),
        Does::Ecdsa(hash) => {
            none(&parameter)?;
            signing(Signing::Ecdsa, hash)
        }
        Does::Eddsa => match parameter {
            Parameter::None => signing(Signing::ED25519, None),
            Parameter::Eddsa { prehash: prehash @ (CK_FALSE | CK_TRUE), context } if context.len() <= 255 => {
                signing(Signing::Eddsa { prehash: prehash == CK_TRUE, context }, None)
            }
            _ => return Err(bad_parameter()),
        },
        Does::Envelope => crypting(Cipher::Envelope { context: context(&parameter)? }, 0),
        Does::AesEcb => {
            none(&parameter)?;
            crypting(Cipher::AesEcb, 16)
        }
        Does::AesCbc => crypting(Cipher::AesCbc { iv: iv(&parameter)? }, 16),
        Does::AesCbcPad => crypting(Cipher::AesCbcPad { iv: iv(&parameter)? }, 16),
        Does::AesCtr => {
            let (block, bits) = ctr(&parameter)?;
            crypting(Cipher::AesCtr { block, bits }, 0)
        }
        Does::AesGcm => crypting(gcm(parameter)?, 0),
        Does::AesKeyWrap => match parameter {
            Parameter::None => crypting(Cipher::AesKeyWrap { iv: None }, 0),
            Parameter::Raw(bytes) => {
                let iv = <[u8; 8]>::try_from(bytes.as_slice()).map_err(|_| bad_parameter())?;
                crypting(Cipher::AesKeyWrap { iv: Some(iv) }, 0)
            }
            _ => return Err(bad_parameter()),
        },
        Does::AesKeyWrapPad => {
            none(&parameter)?;
            crypting(Cipher::AesKeyWrapPad, 0)
        }
        Does::AesCmac { general } => {
            let size = if general { mac_length(&parameter, 16)? } else { none(&parameter).map(|()| 16)? };
            Task { size: Some(size), ..plain(Job::Mac(Mac::AesCmac)) }
        }
        Does::Hmac { hash, general } => {
            let whole = hash.len();
            let size = if general { mac_length(&parameter, whole)? } else { none(&parameter).map(|()| whole)? };
            Task { size: Some(size), ..plain(Job::Mac(Mac::Hmac(hash))) }
        }
        Does::Sm2 { hash, der } => {
            let scheme = if der { Signing::Sm2Der } else { Signing::Sm2 };
            let prefix = if hash { sm::identity(&parameter, item)? } else { none(&parameter).map(|()| Vec::new())? };
            Task { prefix, ..signing(scheme, hash.then_some(Hash::Sm3)) }
        }
        Does::Sm2Encrypt(layout) => {
            none(&parameter)?;
            crypting(Cipher::Sm2(layout), 0)
        }
        Does::Sm4Cbc => crypting(Cipher::Sm4Cbc { iv: iv(&parameter)? }, 16),
        Does::Sm4CbcPad => crypting(Cipher::Sm4CbcPad { iv: iv(&parameter)? }, 16),
        Does::Sm4Ctr => {
            let (block, bits) = ctr(&parameter)?;
            crypting(Cipher::Sm4Ctr { block, bits }, 0)
        }
        Does::Sm4Ecb => {
            none(&parameter)?;
            crypting(Cipher::Sm4Ecb, 16)
        }
        Does::Sm4Gcm => match gcm(parameter)? {
            Cipher::AesGcm { iv, aad, tag } if iv.len() <= 16 => crypting(Cipher::Sm4Gcm { iv, aad, tag }, 0),
            _ => return Err(bad_parameter()),
        },
        Does::Digest(_)
        | Does::Ecdh { .. }
        | Does::EncryptData { .. }
        | Does::Generate(_)
        | Does::Hkdf { .. }
        | Does::RsaAesKeyWrap => {
            return Err(ck(CKR_MECHANISM_INVALID));
        }
    })
}

/// The digest's hash must be the mechanism's, and a salt must fit beside it (RFC 8017 §9.1.1).
fn pss(parameter: &Parameter, hash: Option<Hash>, modulus: usize) -> Result<Signing> {
    let Parameter::Pss { hash: digest, mgf, salt } = parameter else { return Err(bad_parameter()) };
    let digest = hash_of(*digest).ok_or_else(bad_parameter)?;
    let mgf = mgf_of(*mgf).ok_or_else(bad_parameter)?;
    if hash.is_some_and(|hash| hash != digest) {
        return Err(bad_parameter());
    }
    let salt = usize::try_from(*salt).map_err(|_| bad_parameter())?;
    let most = modulus.saturating_sub(digest.len() + 2);
    if salt > most {
        return Err(bad_parameter());
    }
    Ok(Signing::RsaPss { hash: digest, mgf, salt })
}

/// pkcs11-provider 1.0 names neither hash nor MGF for the default OAEP: those zeros stand for SHA-1.
pub(super) fn oaep(parameter: &Parameter) -> Result<Cipher> {
    let Parameter::Oaep { hash, mgf, source, label } = parameter else { return Err(bad_parameter()) };
    let (hash, mgf) = match (hash, mgf) {
        (0, 0) => (Hash::Sha1, Hash::Sha1),
        _ => (hash_of(*hash).ok_or_else(bad_parameter)?, mgf_of(*mgf).ok_or_else(bad_parameter)?),
    };
    if *source != CKZ_DATA_SPECIFIED && !(*source == 0 && label.is_empty()) {
        return Err(bad_parameter());
    }
    Ok(Cipher::RsaOaep { hash, mgf, label: label.clone() })
}

#[inline(always)]
fn gcm(parameter: Parameter) -> Result<Cipher> {
    let Parameter::Gcm { iv, aad, tag_bits, .. } = parameter else { return Err(bad_parameter()) };
    let tag = match tag_bits {
        32 | 64 | 96 | 104 | 112 | 120 | 128 => (tag_bits / 8) as usize,
        _ => return Err(bad_parameter()),
    };
    if iv.is_empty() || iv.len() > 256 {
        return Err(bad_parameter());
    }
    Ok(Cipher::AesGcm { iv, aad, tag })
}

/// The length of a signature with a key of so many bytes (modulus or field); none if it is not always the same.
fn signature_size(scheme: &Signing, key_bytes: usize) -> Option<usize> {
    match scheme {
        Signing::Ecdsa | Signing::Eddsa { .. } | Signing::Sm2 => Some(2 * key_bytes),
        Signing::RsaPkcs1 | Signing::RsaPss { .. } | Signing::RsaRaw => Some(key_bytes),
        Signing::Sm2Der => None,
    }
}
