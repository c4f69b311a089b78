//! Objects as the token shows them: a handle, all its attributes, and what it works with.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use cryptoki_sys::*;
use der::Encode;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::fork::{Lock, epoch};
use crate::kms::objects::ObjectView;
use crate::model::Bytes;
use crate::model::curve::Curve;
use crate::model::key::{Key, KeyUsage, Level, Style, Version};
use crate::model::map::map;
use crate::model::names::Realm;
use crate::model::object::Class;
use crate::model::public::PublicKey;
use crate::model::spec::Family;
use crate::protection::public::Prepared;
use crate::protection::{self, software};
use crate::token::attribute::{AttributeRow, Create, Shape, class_number};
use crate::token::certificate;
use crate::token::ck;
use crate::token::keys;
use crate::token::sm;
use crate::token::template::{EntryValue, Template, Value, ulong_of};
use crate::token::vendor::*;

/// An object with every attribute worked out.
pub struct Item {
    pub handle: u64,
    pub class: Class,
    /// In the order of their numbers.
    attributes: Box<[Attribute]>,
    /// CKA_VALUE and the like may not be read.
    guarded: bool,
    /// CKA_PRIVATE: asked for with every call.
    private: bool,
    pub source: Source,
    prepared: OnceLock<Arc<Prepared>>,
}

struct Attribute {
    kind: CK_ATTRIBUTE_TYPE,
    shown: Shown,
    value: Bytes,
}

/// How C_GetAttributeValue answers it.
enum Shown {
    Hidden,
    Nested,
    Plain,
}

/// What an object works with.
pub enum Source {
    /// A key of the KMS.
    Kms { version: Uuid, public: Option<PublicKey>, style: Style, usable: bool },
    /// Nothing: certificates and data.
    Plain,
    /// A key of this process.
    Session(SessionKey),
}

/// A key that lives in this process only.
pub struct SessionKey {
    pub family: Family,
    pub value: Option<Bytes>,
    pub public: Option<PublicKey>,
    /// Prepared in the process with this epoch; a forked child prepares it anew. It goes with the object, zeroized.
    work: Lock<Option<(u64, Arc<dyn protection::Key>)>>,
}

impl SessionKey {
    pub fn new(family: Family, value: Option<Bytes>, public: Option<PublicKey>) -> Self {
        Self { family, value, public, work: Lock::new(None) }
    }

    pub fn work(&self) -> Result<Arc<dyn protection::Key>> {
        let epoch = epoch();
        if let Some((made_in, work)) = &*self.work.lock()
            && *made_in == epoch
        {
            return Ok(work.clone());
        }
        let value = self.value.as_ref().ok_or(ck(CKR_KEY_FUNCTION_NOT_PERMITTED))?;
        let work = software::key(self.family, value)?;
        let old = self.work.lock().replace((epoch, work.clone()));
        if let Some((made_in, inherited)) = old
            && made_in != epoch
        {
            // Another thread of the parent may have been at work in it: not touched again.
            std::mem::forget(inherited);
        }
        Ok(work)
    }
}

impl Item {
    pub fn new(handle: u64, class: Class, attributes: BTreeMap<u64, Bytes>, guarded: bool, source: Source) -> Self {
        let has = |kind, value: &[u8]| attributes.get(&kind).is_some_and(|bytes| bytes.as_slice() == value);
        let (private, is_rsa) = (has(CKA_PRIVATE, &[1]), has(CKA_KEY_TYPE, &CKK_RSA.to_ne_bytes()));
        let shown = |kind| match AttributeRow::find(kind) {
            Some(row) if guarded && is_secret(row, class, is_rsa) => Shown::Hidden,
            Some(AttributeRow { shape: Shape::Nested, .. }) => Shown::Nested,
            _ => Shown::Plain,
        };
        let attributes =
            attributes.into_iter().map(|(kind, value)| Attribute { kind, shown: shown(kind), value }).collect();
        Self { handle, class, attributes, guarded, private, source, prepared: OnceLock::new() }
    }

    pub fn value(&self, kind: CK_ATTRIBUTE_TYPE) -> Value<'_> {
        match self.find(kind) {
            Some(Attribute { shown: Shown::Plain, value, .. }) => Value::Bytes(value),
            Some(Attribute { shown: Shown::Nested, value, .. }) => Value::Nested(Template::shown(value)),
            Some(Attribute { shown: Shown::Hidden, .. }) => Value::Sensitive,
            // Of most keys the secret parts are not even here.
            None if self.guarded && self.hides(kind) => Value::Sensitive,
            None => Value::Unknown,
        }
    }

    fn hides(&self, kind: CK_ATTRIBUTE_TYPE) -> bool {
        AttributeRow::find(kind).is_some_and(|row| is_secret(row, self.class, self.key_type() == Some(CKK_RSA)))
    }

    fn find(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&Attribute> {
        let at = self.attributes.binary_search_by_key(&kind, |attribute| attribute.kind).ok()?;
        self.attributes.get(at)
    }

    pub fn bytes(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.find(kind).map(|attribute| attribute.value.as_slice())
    }

    pub fn is(&self, kind: CK_ATTRIBUTE_TYPE) -> bool {
        self.bytes(kind) == Some(&[1])
    }

    pub fn key_type(&self) -> Option<CK_KEY_TYPE> {
        self.bytes(CKA_KEY_TYPE).and_then(ulong_of)
    }

    /// The KeyId of a key of the KMS.
    pub fn key_id(&self) -> Option<Uuid> {
        let text = std::str::from_utf8(self.bytes(CKA_ALIKMS_KEY_ID)?).ok()?;
        Uuid::try_parse(text).ok()
    }

    pub fn is_private(&self) -> bool {
        self.private
    }

    /// Every attribute, for C_CopyObject.
    pub fn attributes(&self) -> impl Iterator<Item = (CK_ATTRIBUTE_TYPE, &Bytes)> {
        self.attributes.iter().map(|attribute| (attribute.kind, &attribute.value))
    }

    /// May it be used with this mechanism (CKA_ALLOWED_MECHANISMS)?
    pub fn allows(&self, mechanism: CK_MECHANISM_TYPE) -> bool {
        match self.bytes(CKA_ALLOWED_MECHANISMS) {
            None | Some([]) => true,
            Some(list) => list.chunks(size_of::<CK_ULONG>()).any(|kind| ulong_of(kind) == Some(mechanism)),
        }
    }

    pub fn public(&self) -> Option<&PublicKey> {
        match &self.source {
            Source::Kms { public, .. } => public.as_ref(),
            Source::Session(key) => key.public.as_ref(),
            Source::Plain => None,
        }
    }

    /// The public key, ready for work.
    pub fn prepared(&self) -> Result<Arc<Prepared>> {
        if let Some(prepared) = self.prepared.get() {
            return Ok(prepared.clone());
        }
        let public = self.public().ok_or(ck(CKR_KEY_FUNCTION_NOT_PERMITTED))?;
        let prepared = Arc::new(Prepared::new(public)?);
        Ok(self.prepared.get_or_init(|| prepared).clone())
    }

    /// Does it match every attribute of a search template?
    pub fn matches(&self, template: &Template) -> bool {
        template.0.iter().all(|entry| match (&entry.value, self.value(entry.kind)) {
            (EntryValue::Bytes(wanted), Value::Bytes(found)) => wanted.as_slice() == found,
            _ => false,
        })
    }
}

/// Is it a part of the key that only its owner may know? An RSA key has its numbers, every other one its value.
fn is_secret(row: &AttributeRow, class: Class, is_rsa: bool) -> bool {
    row.secret && row.on.contains(&class) && is_rsa == (row.kind != CKA_VALUE)
}

/// Collects attributes.
#[derive(Default)]
pub struct Builder(BTreeMap<u64, Bytes>);

impl Builder {
    pub fn bytes(&mut self, kind: CK_ATTRIBUTE_TYPE, value: impl Into<Vec<u8>>) -> &mut Self {
        self.0.insert(kind, Bytes::new(value.into()));
        self
    }

    pub fn bool(&mut self, kind: CK_ATTRIBUTE_TYPE, value: bool) -> &mut Self {
        self.bytes(kind, [u8::from(value)])
    }

    pub fn ulong(&mut self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> &mut Self {
        self.bytes(kind, value.to_ne_bytes())
    }

    fn bools(&mut self, kinds: &[CK_ATTRIBUTE_TYPE], value: bool) -> &mut Self {
        for kind in kinds {
            self.bool(*kind, value);
        }
        self
    }

    fn empty(&mut self, kinds: &[CK_ATTRIBUTE_TYPE]) -> &mut Self {
        for kind in kinds {
            self.bytes(*kind, []);
        }
        self
    }

    pub fn take(self) -> BTreeMap<u64, Bytes> {
        self.0
    }

    pub fn get(&self, kind: CK_ATTRIBUTE_TYPE) -> Option<&[u8]> {
        self.0.get(&kind).map(|bytes| bytes.as_slice())
    }

    /// What the caller said, over the defaults.
    pub fn apply(&mut self, template: &Template) -> &mut Self {
        for entry in &template.0 {
            match &entry.value {
                EntryValue::Bytes(bytes) => self.0.insert(entry.kind, bytes.clone()),
                EntryValue::Nested(inner) => self.0.insert(entry.kind, inner.encode()),
            };
        }
        self
    }

    /// What every object has.
    pub fn common(&mut self, class: Class, token: bool, unique: Uuid) -> &mut Self {
        self.ulong(CKA_CLASS, class_number(class))
            .bool(CKA_TOKEN, token)
            .bool(CKA_PRIVATE, matches!(class, Class::PrivateKey | Class::SecretKey))
            .bools(&[CKA_MODIFIABLE, CKA_DESTROYABLE], true)
            .bool(CKA_COPYABLE, !token)
            .empty(&[CKA_LABEL])
            .bytes(CKA_UNIQUE_ID, unique.to_string())
    }

    /// What a key of this class has before anything is known about it. Usage flags are false.
    pub fn key(&mut self, class: Class, family: Family) -> &mut Self {
        self.ulong(CKA_KEY_TYPE, key_type_of(family))
            .bool(CKA_DERIVE, false)
            .bool(CKA_LOCAL, false)
            .ulong(CKA_KEY_GEN_MECHANISM, CK_UNAVAILABLE_INFORMATION)
            .empty(&[CKA_ID, CKA_START_DATE, CKA_END_DATE])
            .bytes(CKA_ALLOWED_MECHANISMS, sm::allowed(class, family));
        match class {
            Class::PublicKey => self
                .bools(&[CKA_ENCRYPT, CKA_VERIFY, CKA_VERIFY_RECOVER, CKA_WRAP, CKA_TRUSTED], false)
                .empty(&[CKA_SUBJECT]),
            Class::PrivateKey => self
                .bools(&[CKA_DECRYPT, CKA_SIGN, CKA_SIGN_RECOVER, CKA_UNWRAP, CKA_ALWAYS_AUTHENTICATE], false)
                .bools(&[CKA_WRAP_WITH_TRUSTED], false)
                .empty(&[CKA_SUBJECT]),
            _ => self
                .bools(&[CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_TRUSTED], false)
                .bools(&[CKA_WRAP_WITH_TRUSTED], false),
        }
    }

    /// Sensitivity of a private or secret key; the history follows from it for a key that was always so.
    pub fn secrecy(&mut self, sensitive: bool, extractable: bool, local: bool) -> &mut Self {
        self.bool(CKA_SENSITIVE, sensitive)
            .bool(CKA_EXTRACTABLE, extractable)
            .bool(CKA_ALWAYS_SENSITIVE, sensitive && local)
            .bool(CKA_NEVER_EXTRACTABLE, !extractable && local)
            .bool(CKA_LOCAL, local)
    }

    /// The public numbers of a pair, on both halves.
    pub fn public(&mut self, class: Class, public: &PublicKey) -> Result<&mut Self> {
        match public {
            PublicKey::Rsa { modulus, exponent } => {
                self.bytes(CKA_MODULUS, modulus.clone()).bytes(CKA_PUBLIC_EXPONENT, exponent.clone());
                if class == Class::PublicKey {
                    self.ulong(CKA_MODULUS_BITS, public.bits() as CK_ULONG);
                }
            }
            // Of Ed25519 and X25519 too, although PKCS#11 3.2 §6.3.5 has bare bytes there: docs/decisions.md.
            PublicKey::Ec { curve, point } => {
                let fault = |error: der::Error| Error::Internal(error.to_string());
                let point = der::asn1::OctetStringRef::new(point).and_then(|point| point.to_der()).map_err(fault)?;
                self.bytes(CKA_EC_PARAMS, keys::curve_der(*curve)?).bytes(CKA_EC_POINT, point);
            }
        }
        Ok(self.bytes(CKA_PUBLIC_KEY_INFO, public.to_spki()?))
    }
}

pub fn key_type_of(family: Family) -> CK_KEY_TYPE {
    match family {
        Family::Aes => CKK_AES,
        Family::Ec(Curve::Ed25519) => CKK_EC_EDWARDS,
        Family::Ec(Curve::X25519) => CKK_EC_MONTGOMERY,
        Family::Ec(_) => CKK_EC,
        Family::Generic => CKK_GENERIC_SECRET,
        Family::Rsa => CKK_RSA,
        Family::Sm4 => CKK_ALIKMS_SM4,
    }
}

/// The token's object as its records say it is. `label`: another name by which it was asked for.
pub fn token_item(view: &ObjectView, handle: u64, label: Option<&[u8]>, realm: &Realm) -> Result<Item> {
    let object = &view.object;
    let mut all = Builder::default();
    all.common(object.class, true, object.unique);
    let mut guarded = false;
    let source = match (&view.key, &view.version, object.class) {
        (Some(key), Some(version), Class::PrivateKey | Class::PublicKey | Class::SecretKey) => {
            describe_key(&mut all, object.class, key, version, view, realm)?;
            guarded = object.class != Class::PublicKey;
            Source::Kms { version: version.id, public: version.public.clone(), style: key.style, usable: view.usable }
        }
        (None, _, Class::PublicKey) => {
            let public = PublicKey::from_spki(&object.value)?;
            let family = match &public {
                PublicKey::Ec { curve, .. } => Family::Ec(*curve),
                PublicKey::Rsa { .. } => Family::Rsa,
            };
            all.key(Class::PublicKey, family).public(Class::PublicKey, &public)?;
            Source::Session(SessionKey::new(family, None, Some(public)))
        }
        (_, _, Class::Certificate) => {
            certificate::describe(&mut all, view, realm)?;
            Source::Plain
        }
        _ => {
            all.empty(&[CKA_APPLICATION, CKA_OBJECT_ID]).bytes(CKA_VALUE, object.value.clone());
            Source::Plain
        }
    };
    for (kind, value) in &object.attributes {
        all.bytes(*kind, value.clone());
    }
    all.bytes(CKA_LABEL, label.unwrap_or(&object.label).to_vec());
    if object.class != Class::Data {
        all.bytes(CKA_ID, object.id.clone());
    }
    Ok(Item::new(handle, object.class, all.take(), guarded, source))
}

fn describe_key(
    all: &mut Builder,
    class: Class,
    key: &Key,
    version: &Version,
    view: &ObjectView,
    realm: &Realm,
) -> Result<()> {
    let local = key.origin == crate::model::key::Origin::AliyunKms;
    all.key(class, key.spec.family).bool(CKA_LOCAL, local);
    if local {
        all.ulong(CKA_KEY_GEN_MECHANISM, generating(key.spec.family));
    }
    match (key.usage, class) {
        (KeyUsage::SignVerify, Class::PrivateKey) => all.bool(CKA_SIGN, true),
        (KeyUsage::SignVerify, Class::PublicKey) => all.bool(CKA_VERIFY, true),
        (KeyUsage::SignVerify, _) => all.bools(&[CKA_SIGN, CKA_VERIFY], true),
        (KeyUsage::EncryptDecrypt, Class::PrivateKey) => all.bool(CKA_DECRYPT, true),
        (KeyUsage::EncryptDecrypt, Class::PublicKey) => all.bool(CKA_ENCRYPT, true),
        (KeyUsage::EncryptDecrypt, _) => all.bools(&[CKA_ENCRYPT, CKA_DECRYPT], true),
    };
    if class != Class::PublicKey {
        all.secrecy(true, false, local);
    }
    if let Some(public) = &version.public {
        all.public(class, public)?;
    }
    if class == Class::SecretKey {
        all.ulong(CKA_VALUE_LEN, (key.spec.bits / 8) as CK_ULONG);
    }
    if key.style == Style::Envelope {
        all.ulong(CKA_ALLOWED_MECHANISMS, CKM_ALIKMS_ENVELOPE);
    }
    let state = if view.usable { key.state.to_string() } else { "Disabled".to_owned() };
    // The key of a shared certificate belongs to another account: here only the certificate has a name.
    match &view.certificate {
        Some(shared) => all.bytes(CKA_ALIKMS_ARN, realm.certificate_arn(shared.id)),
        None => all.bytes(CKA_ALIKMS_ARN, realm.key_arn(key.id)).bytes(CKA_ALIKMS_KEY_ID, key.id.to_string()),
    };
    all.bytes(CKA_ALIKMS_KEY_VERSION_ID, version.id.to_string())
        .bytes(CKA_ALIKMS_KEY_STATE, state)
        .bytes(CKA_ALIKMS_PROTECTION_LEVEL, key.level.name())
        .bytes(CKA_ALIKMS_ALIASES, view.aliases.join("\n"))
        .bytes(CKA_ALIKMS_CREATION_DATE, key.created.to_string());
    if let Some(certificate) = view.certificate.as_ref().map(|shared| shared.id).or(key.certificate) {
        all.bytes(CKA_ALIKMS_CERTIFICATE_ID, certificate.to_string());
    }
    Ok(())
}

fn generating(family: Family) -> CK_MECHANISM_TYPE {
    match family {
        Family::Aes => CKM_AES_KEY_GEN,
        Family::Ec(Curve::Ed25519) => CKM_EC_EDWARDS_KEY_PAIR_GEN,
        Family::Ec(Curve::Sm2) => CKM_ALIKMS_SM2_KEY_PAIR_GEN,
        Family::Ec(Curve::X25519) => CKM_EC_MONTGOMERY_KEY_PAIR_GEN,
        Family::Ec(_) => CKM_EC_KEY_PAIR_GEN,
        Family::Generic => CKM_GENERIC_SECRET_KEY_GEN,
        Family::Rsa => CKM_RSA_PKCS_KEY_PAIR_GEN,
        Family::Sm4 => CKM_ALIKMS_SM4_KEY_GEN,
    }
}

/// What a caller said about a token object that its record keeps: everything that nothing else determines.
pub fn kept(template: &Template) -> BTreeMap<u64, Vec<u8>> {
    const DERIVED: &[CK_ATTRIBUTE_TYPE] = &[
        CKA_CLASS,
        CKA_TOKEN,
        CKA_KEY_TYPE,
        CKA_LABEL,
        CKA_ID,
        CKA_MODULUS_BITS,
        CKA_PUBLIC_EXPONENT,
        CKA_EC_PARAMS,
        CKA_VALUE_LEN,
        CKA_PUBLIC_KEY_INFO,
        CKA_SERIAL_NUMBER,
        CKA_ISSUER,
        CKA_CERTIFICATE_TYPE,
    ];
    let is_certificate = template.ulong(CKA_CLASS).is_ok_and(|class| class == Some(CKO_CERTIFICATE));
    let keep = |kind: u64| {
        let import = AttributeRow::find(kind).is_none_or(|row| row.create == Create::Import);
        let said = is_certificate && certificate::SAID_BY_ITSELF.contains(&kind);
        !import && !said && !DERIVED.contains(&kind)
    };
    map(template.0.iter().filter(|entry| keep(entry.kind)).map(|entry| match &entry.value {
        EntryValue::Bytes(bytes) => (entry.kind, bytes.to_vec()),
        EntryValue::Nested(inner) => (entry.kind, inner.encode().to_vec()),
    }))
}

/// The level that a template asks for (`CKA_ALIKMS_PROTECTION_LEVEL`).
pub fn level_of(template: &Template) -> Result<Option<Level>> {
    match template.bytes(CKA_ALIKMS_PROTECTION_LEVEL) {
        None => Ok(None),
        Some(b"HSM") => Ok(Some(Level::Hsm)),
        Some(b"SOFTWARE") => Ok(Some(Level::Software)),
        Some(_) => Err(ck(CKR_ATTRIBUTE_VALUE_INVALID)),
    }
}
