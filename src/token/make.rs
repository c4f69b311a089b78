//! Making objects: C_GenerateKey, C_GenerateKeyPair, C_CreateObject, C_CopyObject. C_DeriveKey: `derive`.
//!
//! A token object becomes a KMS verb; a session object lives in this process only.

use std::collections::BTreeMap;

use cryptoki_sys::*;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::kms::objects::{NewObjectKey, Seed};
use crate::model::Bytes;
use crate::model::key::{KeyUsage, Level};
use crate::model::object::{Class, Object};
use crate::model::spec::{Family, Spec};
use crate::protection::{Usages, software};
use crate::token::attribute::{Making, check_change, check_new, class_of};
use crate::token::certificate;
use crate::token::keys::{self, Imported};
use crate::token::mechanism::{Does, Keys, MechanismRow};
use crate::token::object::{Builder, Item, SessionKey, Source, kept, level_of};
use crate::token::separation::{check_gain, wraps_only};
use crate::token::sm::SM4_KEY;
use crate::token::vendor::CKA_ALIKMS_WRAPS_ONLY;
use crate::token::{Mechanism, Parameter, Session, Template, ck};

impl Session {
    pub fn generate_key(&mut self, mechanism: &Mechanism, template: &Template) -> Result<u64> {
        let template = &*self.in_our_words(template);
        let row = self.row(mechanism.kind, CKF_GENERATE)?;
        let Does::Generate(keys) = row.does else { return Err(ck(CKR_MECHANISM_INVALID)) };
        no_parameter(mechanism)?;
        expect_class(template, Class::SecretKey)?;
        check_new(template, Class::SecretKey, Making::Generate)?;
        expect_key_type(template, row)?;
        let (family, own_length) = match keys {
            Keys::Aes => (Family::Aes, None),
            Keys::Sm4 => (Family::Sm4, Some(SM4_KEY)),
            _ => (Family::Generic, None),
        };
        let length = template.ulong(CKA_VALUE_LEN)?.or(own_length).ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
        let bits = keys::secret_bits(family, length)?;
        let token = self.check_place(template, Class::SecretKey)?;
        let mut flags = keys::secret_flags(template, family, false)?;
        if keys == Keys::Hkdf {
            flags.insert(CKA_DERIVE, template.bool(CKA_DERIVE)?.unwrap_or(true));
        }
        if token && keys == Keys::Hkdf {
            // It would be stored as a generic secret.
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        if token {
            let spec = spec_of(family, bits)?;
            return self.token_key(spec, template, None, &flags, &Flags::new(), None).map(|(key, _)| key);
        }
        let (value, _) = software::generate_value(family, bits, None)?;
        let key = SessionKey::new(family, Some(value), None);
        self.session_key(Class::SecretKey, key, template, &flags, Birth::Generated(row.kind))
    }

    pub fn generate_key_pair(
        &mut self,
        mechanism: &Mechanism,
        public: &Template,
        private: &Template,
    ) -> Result<(u64, u64)> {
        let (public, private) = (&*self.in_our_words(public), &*self.in_our_words(private));
        let row = self.row(mechanism.kind, CKF_GENERATE_KEY_PAIR)?;
        no_parameter(mechanism)?;
        for (template, class) in [(public, Class::PublicKey), (private, Class::PrivateKey)] {
            expect_class(template, class)?;
            check_new(template, class, Making::Generate)?;
            expect_key_type(template, row)?;
        }
        let (family, bits, exponent) = keys::pair_shape(row, public)?;
        let token = self.check_place(private, Class::PrivateKey)?;
        self.check_place(public, Class::PublicKey)?;
        let (private_flags, public_flags) = keys::pair_flags(public, private, family)?;
        if token {
            if exponent.as_deref().is_some_and(|exponent| exponent != [1, 0, 1]) {
                return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID));
            }
            let spec = spec_of(family, bits)?;
            let (key, public_key) = self.token_key(spec, private, Some(public), &private_flags, &public_flags, None)?;
            return Ok((public_key.ok_or(ck(CKR_GENERAL_ERROR))?, key));
        }
        let (value, made) = software::generate_value(family, bits, exponent.as_deref())?;
        let birth = Birth::Generated(row.kind);
        let outer = SessionKey::new(family, None, made.clone());
        let inner = SessionKey::new(family, Some(value), made);
        let public_handle = self.session_key(Class::PublicKey, outer, public, &public_flags, birth)?;
        let private_handle = self.session_key(Class::PrivateKey, inner, private, &private_flags, birth)?;
        Ok((public_handle, private_handle))
    }

    pub fn create_object(&mut self, template: &Template) -> Result<u64> {
        let template = &*self.in_our_words(template);
        let class = template.ulong(CKA_CLASS)?.ok_or(ck(CKR_TEMPLATE_INCOMPLETE))?;
        let class = class_of(class).ok_or(ck(CKR_ATTRIBUTE_VALUE_INVALID))?;
        check_new(template, class, Making::Create)?;
        let token = self.check_place(template, class)?;
        match class {
            Class::Data => self.create_data(template, token),
            Class::Certificate => self.create_certificate(template, token),
            Class::PublicKey => self.create_public(template, token),
            Class::PrivateKey | Class::SecretKey => self.create_secret(template, class, token),
        }
    }

    fn create_data(&mut self, template: &Template, token: bool) -> Result<u64> {
        let value = template.bytes(CKA_VALUE).unwrap_or_default();
        if token {
            let object =
                self.manages("CreateKey", "", |kms, caller| kms.create_data_object(caller, value, &seed(template)))?;
            return Ok(object.handle);
        }
        let mut all = Builder::default();
        all.common(Class::Data, false, Uuid::new_v4())
            .bytes(CKA_APPLICATION, [])
            .bytes(CKA_OBJECT_ID, [])
            .bytes(CKA_VALUE, [])
            .apply(template);
        Ok(self.add(Class::Data, all.take(), false, Source::Plain))
    }

    fn create_certificate(&mut self, template: &Template, token: bool) -> Result<u64> {
        let der = certificate::check_new(template)?;
        if token {
            let object = self.manages("UploadCertificate", "", |kms, caller| {
                kms.create_certificate_object(caller, der, &seed(template))
            })?;
            return Ok(object.handle);
        }
        let mut all = Builder::default();
        all.common(Class::Certificate, false, Uuid::new_v4());
        certificate::describe_own(&mut all, der, template)?;
        Ok(self.add(Class::Certificate, all.take(), false, Source::Plain))
    }

    fn create_public(&mut self, template: &Template, token: bool) -> Result<u64> {
        let (family, public) = keys::read_public(template)?;
        let flags = keys::public_flags(template, family, true)?;
        if token {
            let mut seed = seed(template);
            seed.attributes.extend(stored(&flags));
            let object =
                self.manages("CreateKey", "", |kms, caller| match kms.adopt_public_key(caller, &public, &seed)? {
                    Some(object) => Ok(object),
                    None => kms.create_public_object(caller, &public, &seed),
                })?;
            return Ok(object.handle);
        }
        let key = SessionKey::new(family, None, Some(public));
        self.session_key(Class::PublicKey, key, template, &flags, Birth::Imported)
    }

    fn create_secret(&mut self, template: &Template, class: Class, token: bool) -> Result<u64> {
        let Imported { family, bits, value } = keys::read_secret(template, class)?;
        let flags = match class {
            Class::SecretKey => keys::secret_flags(template, family, true)?,
            _ => keys::private_flags(template, family, true)?,
        };
        if token {
            let spec = spec_of(family, bits)?;
            let public_flags = keys::mirror(&flags);
            let handles = self.token_key(spec, template, None, &flags, &public_flags, Some(value));
            return handles.map(|(key, _)| key).map_err(|error| match error {
                // The mechanism that the device lacks is not the caller's: the template asks for what cannot be.
                Error::DeviceLacks { .. } => ck(CKR_TEMPLATE_INCONSISTENT),
                other => other,
            });
        }
        let public = software::public_of(family, &value)?;
        let key = SessionKey::new(family, Some(value), public);
        self.session_key(class, key, template, &flags, Birth::Imported)
    }

    pub fn copy_object(&mut self, object: u64, template: &Template) -> Result<u64> {
        let item = self.item(object, CKR_OBJECT_HANDLE_INVALID)?;
        if !item.is(CKA_COPYABLE) {
            return Err(ck(CKR_ACTION_PROHIBITED));
        }
        self.check_write(false, item.is_private() || template.bool(CKA_PRIVATE)? == Some(true))?;
        for entry in &template.0 {
            let now = item.bytes(entry.kind);
            match entry.kind {
                // Those that a copy may differ in beside what could be changed anyway (PKCS#11 3.2 §5.7.2).
                CKA_TOKEN if template.bool(CKA_TOKEN)? == Some(true) => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
                // Whoever is not logged in must not get at it by way of a copy.
                CKA_PRIVATE if item.is_private() && template.bool(CKA_PRIVATE)? == Some(false) => {
                    return Err(ck(CKR_TEMPLATE_INCONSISTENT));
                }
                CKA_TOKEN | CKA_PRIVATE | CKA_MODIFIABLE | CKA_DESTROYABLE => {
                    template.bool(entry.kind)?;
                }
                _ => {
                    check_change(entry, item.class, now, false)?;
                    check_gain(&item, entry)?;
                }
            }
        }
        let mut all = Builder::default();
        for (kind, value) in item.attributes() {
            all.bytes(kind, value.to_vec());
        }
        all.apply(template).bytes(CKA_UNIQUE_ID, Uuid::new_v4().to_string());
        let all = all.take();
        let mut made = Err(ck(CKR_GENERAL_ERROR));
        let copy = self.add_item(|handle| match with_attributes(&item, handle, all) {
            Ok(item) => {
                made = Ok(handle);
                item
            }
            Err(error) => {
                made = Err(error);
                Item::new(handle, item.class, BTreeMap::new(), true, Source::Plain)
            }
        });
        if made.is_err() {
            self.slot().remove(copy);
        }
        made
    }

    /// Token or session? And may this session make it?
    pub(super) fn check_place(&self, template: &Template, class: Class) -> Result<bool> {
        let token = template.bool(CKA_TOKEN)?.unwrap_or(false);
        let private = matches!(class, Class::PrivateKey | Class::SecretKey);
        self.check_write(token, template.bool(CKA_PRIVATE)?.unwrap_or(private))?;
        Ok(token)
    }

    /// A KMS key as the templates describe it. Answers the handles of the private or secret key and of the public key.
    pub(super) fn token_key(
        &mut self,
        spec: Spec,
        template: &Template,
        public: Option<&Template>,
        flags: &Flags,
        public_flags: &Flags,
        value: Option<Bytes>,
    ) -> Result<(u64, Option<u64>)> {
        if template.bool(CKA_EXTRACTABLE)? == Some(true) {
            // A key of the KMS never leaves it: whoever expects to wrap it later must learn it now.
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        let mut inner = seed(template);
        inner.attributes.remove(&CKA_SENSITIVE);
        inner.attributes.remove(&CKA_EXTRACTABLE);
        inner.attributes.extend(stored(flags));
        let mut outer = match public {
            Some(public) => seed(public),
            None => Seed { label: inner.label.clone(), id: inner.id.clone(), ..Seed::default() },
        };
        outer.attributes.extend(stored(public_flags));
        if value.is_none() && wraps_only(flags) {
            inner.attributes.insert(CKA_ALIKMS_WRAPS_ONLY, vec![1]);
            outer.attributes.insert(CKA_ALIKMS_WRAPS_ONLY, vec![1]);
        }
        let on = |kind| flags.get(&kind).copied().unwrap_or(false);
        let usages = Usages {
            decrypt: on(CKA_DECRYPT),
            derive: on(CKA_DERIVE),
            encrypt: on(CKA_ENCRYPT),
            sign: on(CKA_SIGN),
            unwrap: on(CKA_UNWRAP),
            verify: on(CKA_VERIFY),
            wrap: on(CKA_WRAP),
        };
        let signs = usages.sign || !spec.usages.contains(&KeyUsage::EncryptDecrypt);
        let usage = if signs && spec.usages.contains(&KeyUsage::SignVerify) {
            KeyUsage::SignVerify
        } else {
            KeyUsage::EncryptDecrypt
        };
        let level = match (level_of(template)?, public.map(level_of).transpose()?.flatten()) {
            (Some(inner), Some(outer)) if inner != outer => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
            (inner, outer) => inner.or(outer),
        };
        let new = NewObjectKey { spec, usage, usages, level, private: inner, public: outer, value };
        let objects = self.manages("CreateKey", "", |kms, caller| kms.create_object_key(caller, new))?;
        let handle = |public: bool| {
            let wanted = |object: &&Object| (object.class == Class::PublicKey) == public;
            objects.iter().find(wanted).map(|object| object.handle)
        };
        Ok((handle(false).ok_or(ck(CKR_GENERAL_ERROR))?, handle(true)))
    }

    pub(super) fn session_key(
        &mut self,
        class: Class,
        key: SessionKey,
        template: &Template,
        flags: &Flags,
        birth: Birth,
    ) -> Result<u64> {
        if level_of(template)? == Some(Level::Hsm) {
            // Session keys live in this process only.
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
        let mut all = Builder::default();
        all.common(class, false, Uuid::new_v4()).key(class, key.family);
        for (kind, on) in flags {
            all.bool(*kind, *on);
        }
        all.apply(template);
        let local = matches!(birth, Birth::Generated(_));
        all.bool(CKA_LOCAL, local);
        if let Birth::Generated(mechanism) = birth {
            all.ulong(CKA_KEY_GEN_MECHANISM, mechanism);
            // A secret may be of a type that its family does not tell.
            if let Some(kind) = MechanismRow::find(mechanism)?.keys.key_type() {
                all.ulong(CKA_KEY_TYPE, kind);
            }
        }
        if let Some(public) = &key.public {
            all.public(class, public)?;
        }
        let mut guarded = false;
        if class != Class::PublicKey {
            let private = class == Class::PrivateKey;
            let sensitive = template.bool(CKA_SENSITIVE)?.unwrap_or(private);
            let extractable = template.bool(CKA_EXTRACTABLE)?.unwrap_or(!local && !private);
            all.secrecy(sensitive, extractable, local);
            // Nobody can trust the public half of a pair that is not stored, so that such a pair guards nothing.
            if local && !private && sensitive && !extractable && wraps_only(flags) {
                all.bool(CKA_ALIKMS_WRAPS_ONLY, true);
            }
            guarded = sensitive || !extractable;
            if let Some(value) = &key.value {
                keys::describe_value(&mut all, class, key.family, value)?;
            }
        }
        Ok(self.add(class, all.take(), guarded, Source::Session(key)))
    }

    pub(super) fn add(&mut self, class: Class, all: BTreeMap<u64, Bytes>, guarded: bool, source: Source) -> u64 {
        self.add_item(|handle| Item::new(handle, class, all, guarded, source))
    }
}

/// Usage flags by attribute.
pub type Flags = BTreeMap<CK_ATTRIBUTE_TYPE, bool>;

/// How a session key came into being.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    Derived,
    Generated(CK_MECHANISM_TYPE),
    Imported,
    Unwrapped,
}

/// The same session object with other attributes.
pub(super) fn with_attributes(item: &Item, handle: u64, all: BTreeMap<u64, Bytes>) -> Result<Item> {
    let on = |kind: u64| all.get(&kind).is_some_and(|value| value.as_slice() == [1]);
    let held = matches!(item.class, Class::PrivateKey | Class::SecretKey);
    let guarded = held && (on(CKA_SENSITIVE) || !on(CKA_EXTRACTABLE));
    let source = match &item.source {
        Source::Session(key) => Source::Session(SessionKey::new(key.family, key.value.clone(), key.public.clone())),
        Source::Plain => Source::Plain,
        Source::Kms { .. } => return Err(ck(CKR_ACTION_PROHIBITED)),
    };
    Ok(Item::new(handle, item.class, all, guarded, source))
}

fn stored(flags: &Flags) -> impl Iterator<Item = (u64, Vec<u8>)> {
    flags.iter().map(|(kind, on)| (*kind, vec![u8::from(*on)]))
}

fn seed(template: &Template) -> Seed {
    Seed {
        label: template.bytes(CKA_LABEL).map(<[u8]>::to_vec),
        id: template.bytes(CKA_ID).map(<[u8]>::to_vec),
        value: None,
        attributes: kept(template),
    }
}

fn no_parameter(mechanism: &Mechanism) -> Result<()> {
    match mechanism.parameter {
        Parameter::None => Ok(()),
        _ => Err(ck(CKR_MECHANISM_PARAM_INVALID)),
    }
}

/// The spec of a key that is to be stored; the API lacks some that session objects have.
fn spec_of(family: Family, bits: usize) -> Result<Spec> {
    let missing = if matches!(family, Family::Ec(_)) { CKR_CURVE_NOT_SUPPORTED } else { CKR_KEY_SIZE_RANGE };
    Spec::by_shape(family, bits).ok_or(ck(missing))
}

/// A class in the template must be the one that the function makes.
pub(super) fn expect_class(template: &Template, class: Class) -> Result<()> {
    match template.ulong(CKA_CLASS)? {
        Some(number) if class_of(number) != Some(class) => Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        _ => Ok(()),
    }
}

fn expect_key_type(template: &Template, row: &MechanismRow) -> Result<()> {
    match template.ulong(CKA_KEY_TYPE)? {
        Some(kind) if Some(kind) != row.keys.key_type() => Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        _ => Ok(()),
    }
}
