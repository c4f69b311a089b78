//! C_DeriveKey: key agreement, HKDF, and keys that are made by encrypting data. What is derived lives in this session.

use cryptoki_sys::*;
use uuid::Uuid;

use crate::crypto::x963;
use crate::error::{Error, Result};
use crate::model::Bytes;
use crate::model::algorithm::{Cipher, Derivation, Hkdf, Job};
use crate::model::hash::Hash;
use crate::model::object::Class;
use crate::model::public::PublicKey;
use crate::model::spec::Family;
use crate::token::attribute::{Making, check_new};
use crate::token::keys;
use crate::token::make::{Birth, expect_class};
use crate::token::mechanism::{Does, hash_of};
use crate::token::object::{Builder, Item, SessionKey, Source};
use crate::token::operate::{bad_parameter, check_policy, fits};
use crate::token::separation::with_demands;
use crate::token::{Mechanism, Parameter, Session, Template, ck};

impl Session {
    pub fn derive_key(&mut self, mechanism: &Mechanism, base: u64, template: &Template) -> Result<u64> {
        let template = &*self.in_our_words(template);
        let item = self.item(base, CKR_KEY_HANDLE_INVALID)?;
        let row = self.row(mechanism.kind, CKF_DERIVE)?;
        if item.key_type().is_none() {
            return Err(ck(CKR_KEY_HANDLE_INVALID));
        }
        let class = if matches!(row.does, Does::Ecdh { .. }) { Class::PrivateKey } else { Class::SecretKey };
        if item.class != class || !fits(row, &item) {
            return Err(ck(CKR_KEY_TYPE_INCONSISTENT));
        }
        if !item.is(CKA_DERIVE) {
            return Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED));
        }
        if !item.allows(row.kind) {
            return Err(ck(CKR_MECHANISM_INVALID));
        }
        check_policy(&item, row.does)?;
        let template = &with_demands(&item, CKA_DERIVE_TEMPLATE, template)?;
        if row.does == (Does::Hkdf { data: true }) {
            return self.derive_data(mechanism, &item, template);
        }
        if template.has(CKA_CLASS) {
            expect_class(template, Class::SecretKey)?;
        }
        check_new(template, Class::SecretKey, Making::Generate)?;
        if self.check_place(template, Class::SecretKey)? {
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        let (family, length) = keys::wanted(template)?;
        let value = match row.does {
            Does::EncryptData { cbc } => self.encrypt_data(&mechanism.parameter, &item, cbc, family, length)?,
            Does::Hkdf { .. } => self.hkdf(&mechanism.parameter, &item, length)?,
            _ => self.agree(&mechanism.parameter, &item, family, length)?,
        };
        keys::secret_bits(family, value.len() as u64)?;
        let flags = keys::secret_flags(template, family, true)?;
        let key = SessionKey::new(family, Some(value), None);
        self.session_key(Class::SecretKey, key, template, &flags, Birth::Derived)
    }

    /// ECDH and X25519 (PKCS#11 3.2 §6.3.20): the bare secret loses bytes in front, else X9.63 makes as many as are
    /// wanted.
    fn agree(&mut self, parameter: &Parameter, item: &Item, family: Family, length: Option<usize>) -> Result<Bytes> {
        let Parameter::Ecdh { kdf, shared, public } = parameter else { return Err(bad_parameter()) };
        let hash = kdf_hash(*kdf)?;
        if hash.is_none() && !shared.is_empty() {
            return Err(bad_parameter());
        }
        let Some(PublicKey::Ec { curve, .. }) = item.public() else { return Err(ck(CKR_KEY_TYPE_INCONSISTENT)) };
        let peer = keys::peer_point(*curve, public).ok_or_else(bad_parameter)?;
        let length = match (hash, length) {
            (None, None) if family == Family::Aes => Some(curve.field_len().min(32)),
            (Some(_), None) => return Err(ck(CKR_TEMPLATE_INCOMPLETE)),
            (_, length) => length,
        };
        let secret = self.run_derive(item, "AsymmetricDecrypt", Derivation::Agree { peer })?;
        match (hash, length) {
            (Some(hash), length) => x963::derive(hash, &secret, shared, length.unwrap_or_default()),
            (None, None) => Ok(secret),
            (None, Some(length)) => {
                let front = secret.len().checked_sub(length).ok_or(ck(CKR_KEY_SIZE_RANGE))?;
                Ok(Bytes::new(secret[front..].to_vec()))
            }
        }
    }

    /// PKCS#11 3.2 §6.27: what is left over is cut off behind.
    fn encrypt_data(
        &mut self,
        parameter: &Parameter,
        item: &Item,
        cbc: bool,
        family: Family,
        length: Option<usize>,
    ) -> Result<Bytes> {
        let Parameter::Data { iv, data } = parameter else { return Err(bad_parameter()) };
        if data.is_empty() || !data.len().is_multiple_of(16) {
            return Err(bad_parameter());
        }
        let length = match length {
            Some(length) if length > data.len() => return Err(ck(CKR_DATA_LEN_RANGE)),
            Some(length) => length,
            None if family == Family::Generic => data.len(),
            None => return Err(ck(CKR_TEMPLATE_INCOMPLETE)),
        };
        let is_sm4 = item.key_type() == Some(crate::token::vendor::CKK_ALIKMS_SM4);
        let cipher = match (cbc, iv, is_sm4) {
            (false, None, false) => Cipher::AesEcb,
            (true, Some(iv), false) => Cipher::AesCbc { iv: *iv },
            (false, None, true) => Cipher::Sm4Ecb,
            (true, Some(iv), true) => Cipher::Sm4Cbc { iv: *iv },
            _ => return Err(bad_parameter()),
        };
        let mut value = self.run_derive(item, "Encrypt", Derivation::Encrypt { cipher, data: data.clone() })?;
        value.truncate(length);
        Ok(value)
    }

    /// PKCS#11 3.2 §6.63.
    fn hkdf(&mut self, parameter: &Parameter, item: &Item, length: Option<usize>) -> Result<Bytes> {
        let Parameter::Hkdf { extract, expand, hash, salt_kind, salt, salt_key, info } = parameter else {
            return Err(bad_parameter());
        };
        let hash = hash_of(*hash).ok_or_else(bad_parameter)?;
        let flag = |byte: u8| match byte {
            CK_FALSE => Ok(false),
            CK_TRUE => Ok(true),
            _ => Err(bad_parameter()),
        };
        let (extracts, expands) = (flag(*extract)?, flag(*expand)?);
        let extract = match (extracts, *salt_kind) {
            (false, _) => None,
            (true, CKF_HKDF_SALT_NULL) => Some(Bytes::default()),
            (true, CKF_HKDF_SALT_DATA) => Some(salt.clone()),
            (true, CKF_HKDF_SALT_KEY) => Some(self.salt(*salt_key)?),
            _ => return Err(bad_parameter()),
        };
        let expand = match (expands, length) {
            (false, None) => None,
            (false, Some(length)) if length == hash.len() => None,
            (false, Some(_)) => return Err(ck(CKR_KEY_SIZE_RANGE)),
            (true, None) => return Err(ck(CKR_TEMPLATE_INCOMPLETE)),
            (true, Some(length)) if length > 255 * hash.len() => return Err(ck(CKR_KEY_SIZE_RANGE)),
            (true, Some(length)) => Some((info.clone(), length)),
        };
        if !extracts && !expands {
            return Err(bad_parameter());
        }
        self.run_derive(item, "GenerateMac", Derivation::Hkdf(Hkdf { hash, extract, expand }))
    }

    /// A salt that is the value of a key of this process, which may derive.
    fn salt(&mut self, handle: u64) -> Result<Bytes> {
        let item = self.item(handle, CKR_KEY_HANDLE_INVALID)?;
        match &item.source {
            Source::Session(key) if item.class == Class::SecretKey && item.is(CKA_DERIVE) => {
                key.value.clone().ok_or(ck(CKR_KEY_HANDLE_INVALID))
            }
            Source::Session(_) | Source::Kms { .. } => Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED)),
            Source::Plain => Err(ck(CKR_KEY_HANDLE_INVALID)),
        }
    }

    /// CKM_HKDF_DATA: an object that can be read, as long as CKA_VALUE_LEN of the template says.
    fn derive_data(&mut self, mechanism: &Mechanism, item: &Item, template: &Template) -> Result<u64> {
        if template.has(CKA_CLASS) {
            expect_class(template, Class::Data)?;
        }
        let length = template.ulong(CKA_VALUE_LEN)?;
        let length = length.map(usize::try_from).transpose().map_err(|_| ck(CKR_KEY_SIZE_RANGE))?;
        if length == Some(0) {
            return Err(ck(CKR_KEY_SIZE_RANGE));
        }
        // No attribute of a data object, but how its length is told here.
        let template = Template(template.0.iter().filter(|entry| entry.kind != CKA_VALUE_LEN).cloned().collect());
        check_new(&template, Class::Data, Making::Generate)?;
        if self.check_place(&template, Class::Data)? {
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        let value = self.hkdf(&mechanism.parameter, item, length)?;
        let mut all = Builder::default();
        all.common(Class::Data, false, Uuid::new_v4())
            .bytes(CKA_APPLICATION, [])
            .bytes(CKA_OBJECT_ID, [])
            .apply(&template)
            .bytes(CKA_VALUE, value.to_vec());
        Ok(self.add(Class::Data, all.take(), false, Source::Plain))
    }

    fn run_derive(&mut self, item: &Item, action: &'static str, derivation: Derivation) -> Result<Bytes> {
        let fault = |error| match error {
            Error::InvalidParameter { .. } => bad_parameter(),
            other => other,
        };
        let job = Job::Derive(derivation);
        match &item.source {
            Source::Kms { version, .. } => {
                let ready = self.ready(item, action, *version)?;
                self.slot().kms.work(&self.caller(), action, &ready)?.once(&job, &[]).map_err(fault)
            }
            Source::Session(key) => key.work()?.once(&job, &[]).map_err(fault),
            Source::Plain => Err(ck(CKR_KEY_HANDLE_INVALID)),
        }
    }
}

/// The hash of a key derivation function: none for CKD_NULL.
fn kdf_hash(kdf: CK_EC_KDF_TYPE) -> Result<Option<Hash>> {
    Ok(Some(match kdf {
        CKD_NULL => return Ok(None),
        CKD_SHA1_KDF => Hash::Sha1,
        CKD_SHA224_KDF => Hash::Sha224,
        CKD_SHA256_KDF => Hash::Sha256,
        CKD_SHA384_KDF => Hash::Sha384,
        CKD_SHA512_KDF => Hash::Sha512,
        CKD_SHA3_224_KDF => Hash::Sha3_224,
        CKD_SHA3_256_KDF => Hash::Sha3_256,
        CKD_SHA3_384_KDF => Hash::Sha3_384,
        CKD_SHA3_512_KDF => Hash::Sha3_512,
        _ => return Err(bad_parameter()),
    }))
}
