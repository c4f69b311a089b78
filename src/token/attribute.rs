//! The attributes: one row each. Who may set one and when stands here and nowhere else (PKCS#11 3.2 §4).

use cryptoki_sys::*;

use crate::error::Result;
use crate::model::object::Class;
use crate::token::certificate::SAID_BY_ITSELF;
use crate::token::ck;
use crate::token::template::{Entry, EntryValue, Template, ulong_of};
use crate::token::vendor::CKA_ALIKMS_PROTECTION_LEVEL;

/// What an attribute's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Bool,
    Bytes,
    /// Empty or 8 digits YYYYMMDD.
    Date,
    /// An array of CK_MECHANISM_TYPE.
    Mechanisms,
    Nested,
    Ulong,
}

/// May a caller name it when the object is made?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Create {
    /// In any way of making an object.
    Allowed,
    /// Only with C_CreateObject, of which it is the content.
    Import,
    /// The token decides: CKR_ATTRIBUTE_READ_ONLY.
    Never,
}

/// What it is on a new object whose template does not name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unnamed {
    /// By what the object is and how it is made: content, type, usual use, and the like.
    Decided,
    Empty,
    False,
    True,
}

/// May it be changed later?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    Always,
    Never,
    OnlyTo(bool),
}

/// A row of [`ATTRIBUTES`].
#[derive(Debug)]
pub struct AttributeRow {
    pub kind: CK_ATTRIBUTE_TYPE,
    pub name: &'static str,
    pub shape: Shape,
    pub on: &'static [Class],
    pub create: Create,
    pub unnamed: Unnamed,
    pub change: Change,
    /// Hidden while the key is sensitive or not extractable.
    pub secret: bool,
}

const ALL: &[Class] = Class::ALL;
const KEYS: &[Class] = &[Class::PrivateKey, Class::PublicKey, Class::SecretKey];
const PAIR: &[Class] = &[Class::PrivateKey, Class::PublicKey];
const HELD: &[Class] = &[Class::PrivateKey, Class::SecretKey];
const OUTER: &[Class] = &[Class::PublicKey, Class::SecretKey];
const PRIVATE: &[Class] = &[Class::PrivateKey];
const PUBLIC: &[Class] = &[Class::PublicKey];
const SECRET: &[Class] = &[Class::SecretKey];
const CERTIFICATE: &[Class] = &[Class::Certificate];
const DATA: &[Class] = &[Class::Data];
const NAMED: &[Class] = &[Class::Certificate, Class::PrivateKey, Class::PublicKey, Class::SecretKey];
const SUBJECTS: &[Class] = &[Class::Certificate, Class::PrivateKey, Class::PublicKey];
const TRUSTED: &[Class] = &[Class::Certificate, Class::PublicKey, Class::SecretKey];
const VALUES: &[Class] = &[Class::Certificate, Class::Data, Class::PrivateKey, Class::SecretKey];

macro_rules! rows {
    ($($kind:ident $shape:ident $on:ident $create:ident $unnamed:ident $change:expr $(, $secret:ident)?;)*) => {
        &[$(AttributeRow {
            kind: $kind, name: stringify!($kind), shape: Shape::$shape, on: $on, create: Create::$create,
            unnamed: Unnamed::$unnamed, change: $change, secret: rows!(@ $($secret)?),
        }),*]
    };
    (@ secret) => { true };
    (@) => { false };
}

use Change::{Always, Never, OnlyTo};

/// Every attribute that a caller may name for an object of ours; those that are only shown stand in `vendor`.
pub static ATTRIBUTES: &[AttributeRow] = rows! {
    CKA_CLASS Ulong ALL Allowed Decided Never;
    CKA_TOKEN Bool ALL Allowed False Never;
    CKA_PRIVATE Bool ALL Allowed Decided Never;
    CKA_LABEL Bytes ALL Allowed Empty Always;
    CKA_UNIQUE_ID Bytes ALL Never Decided Never;
    CKA_APPLICATION Bytes DATA Allowed Empty Always;
    CKA_VALUE Bytes VALUES Import Decided Never, secret;
    CKA_OBJECT_ID Bytes DATA Allowed Empty Always;
    CKA_CERTIFICATE_TYPE Ulong CERTIFICATE Allowed Decided Never;
    CKA_ISSUER Bytes CERTIFICATE Allowed Decided Never;
    CKA_SERIAL_NUMBER Bytes CERTIFICATE Allowed Decided Never;
    CKA_OWNER Bytes CERTIFICATE Allowed Decided Always;
    CKA_TRUSTED Bool TRUSTED Allowed False OnlyTo(false);
    CKA_CERTIFICATE_CATEGORY Ulong CERTIFICATE Allowed Decided Never;
    CKA_JAVA_MIDP_SECURITY_DOMAIN Ulong CERTIFICATE Allowed Decided Never;
    CKA_URL Bytes CERTIFICATE Allowed Decided Never;
    CKA_HASH_OF_SUBJECT_PUBLIC_KEY Bytes CERTIFICATE Allowed Decided Never;
    CKA_HASH_OF_ISSUER_PUBLIC_KEY Bytes CERTIFICATE Allowed Decided Never;
    CKA_NAME_HASH_ALGORITHM Ulong CERTIFICATE Allowed Decided Never;
    CKA_CHECK_VALUE Bytes CERTIFICATE Allowed Decided Never;
    CKA_KEY_TYPE Ulong KEYS Allowed Decided Never;
    CKA_SUBJECT Bytes SUBJECTS Allowed Decided Always;
    CKA_ID Bytes NAMED Allowed Decided Always;
    CKA_SENSITIVE Bool HELD Allowed Decided OnlyTo(true);
    CKA_ENCRYPT Bool OUTER Allowed Decided Always;
    CKA_DECRYPT Bool HELD Allowed Decided Always;
    CKA_WRAP Bool OUTER Allowed False Always;
    CKA_UNWRAP Bool HELD Allowed False Always;
    CKA_SIGN Bool HELD Allowed Decided Always;
    CKA_SIGN_RECOVER Bool PRIVATE Allowed False Always;
    CKA_VERIFY Bool OUTER Allowed Decided Always;
    CKA_VERIFY_RECOVER Bool PUBLIC Allowed False Always;
    CKA_DERIVE Bool KEYS Allowed Decided Always;
    CKA_START_DATE Date NAMED Allowed Decided Always;
    CKA_END_DATE Date NAMED Allowed Decided Always;
    CKA_MODULUS Bytes PAIR Import Decided Never;
    CKA_MODULUS_BITS Ulong PUBLIC Allowed Decided Never;
    CKA_PUBLIC_EXPONENT Bytes PAIR Allowed Decided Never;
    CKA_PRIVATE_EXPONENT Bytes PRIVATE Import Decided Never, secret;
    CKA_PRIME_1 Bytes PRIVATE Import Decided Never, secret;
    CKA_PRIME_2 Bytes PRIVATE Import Decided Never, secret;
    CKA_EXPONENT_1 Bytes PRIVATE Import Decided Never, secret;
    CKA_EXPONENT_2 Bytes PRIVATE Import Decided Never, secret;
    CKA_COEFFICIENT Bytes PRIVATE Import Decided Never, secret;
    CKA_PUBLIC_KEY_INFO Bytes SUBJECTS Allowed Decided Never;
    CKA_VALUE_LEN Ulong SECRET Allowed Decided Never;
    CKA_EXTRACTABLE Bool HELD Allowed Decided OnlyTo(false);
    CKA_LOCAL Bool KEYS Never Decided Never;
    CKA_NEVER_EXTRACTABLE Bool HELD Never Decided Never;
    CKA_ALWAYS_SENSITIVE Bool HELD Never Decided Never;
    CKA_KEY_GEN_MECHANISM Ulong KEYS Never Decided Never;
    CKA_MODIFIABLE Bool ALL Allowed True Never;
    CKA_COPYABLE Bool ALL Allowed Decided OnlyTo(false);
    CKA_DESTROYABLE Bool ALL Allowed True Never;
    CKA_EC_PARAMS Bytes PAIR Allowed Decided Never;
    CKA_EC_POINT Bytes PAIR Import Decided Never;
    CKA_ALWAYS_AUTHENTICATE Bool PRIVATE Allowed False Never;
    CKA_WRAP_WITH_TRUSTED Bool HELD Allowed False OnlyTo(true);
    CKA_WRAP_TEMPLATE Nested OUTER Allowed Decided Never;
    CKA_UNWRAP_TEMPLATE Nested HELD Allowed Decided Never;
    CKA_DERIVE_TEMPLATE Nested HELD Allowed Decided Never;
    CKA_ALLOWED_MECHANISMS Mechanisms KEYS Allowed Decided Never;
    // Ours: the only one of the block `CKA_ALIKMS_*` that a caller may name. The others are worked out.
    CKA_ALIKMS_PROTECTION_LEVEL Bytes KEYS Allowed Decided Never;
};

/// The places of [`ATTRIBUTES`] in the order of their numbers.
static BY_KIND: [usize; ATTRIBUTES.len()] = {
    let mut order = [0; ATTRIBUTES.len()];
    let mut done = 0;
    while done < order.len() {
        let mut at = done;
        while at > 0 && ATTRIBUTES[order[at - 1]].kind > ATTRIBUTES[done].kind {
            order[at] = order[at - 1];
            at -= 1;
        }
        order[at] = done;
        done += 1;
    }
    order
};

impl AttributeRow {
    pub fn find(kind: CK_ATTRIBUTE_TYPE) -> Option<&'static Self> {
        BY_KIND.binary_search_by_key(&kind, |at| ATTRIBUTES[*at].kind).ok().map(|at| &ATTRIBUTES[BY_KIND[at]])
    }

    /// May it be changed on objects of this class? The value of a data object is content that its owner changes (PKCS#11
    /// 3.2 §4.5); that of anything else is what the object is. What a certificate says itself nobody else can say.
    pub fn change_on(&self, class: Class) -> Change {
        match class {
            Class::Data if self.kind == CKA_VALUE => Always,
            Class::Certificate if SAID_BY_ITSELF.contains(&self.kind) => Never,
            _ => self.change,
        }
    }

    pub fn fits(&self, value: &EntryValue) -> bool {
        match (self.shape, value) {
            (Shape::Nested, EntryValue::Nested(inner)) => inner.0.iter().all(fits_inside),
            (Shape::Nested, EntryValue::Bytes(_)) | (_, EntryValue::Nested(_)) => false,
            (Shape::Bool, EntryValue::Bytes(bytes)) => matches!(bytes.as_slice(), [0 | 1]),
            (Shape::Bytes, EntryValue::Bytes(_)) => true,
            (Shape::Date, EntryValue::Bytes(bytes)) => {
                bytes.is_empty() || (bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit))
            }
            (Shape::Mechanisms, EntryValue::Bytes(bytes)) => bytes.len().is_multiple_of(size_of::<CK_ULONG>()),
            (Shape::Ulong, EntryValue::Bytes(bytes)) => ulong_of(bytes).is_some(),
        }
    }
}

/// May an attribute stand in a template that a key carries for others? Known, of the right shape, and no template itself.
fn fits_inside(entry: &Entry) -> bool {
    AttributeRow::find(entry.kind).is_some_and(|row| row.shape != Shape::Nested && row.fits(&entry.value))
}

/// How an object comes into being, as far as templates differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Making {
    Create,
    Generate,
}

/// Checks a template for a new object of `class`: every attribute known, of the right shape, allowed, and not given twice
/// with different values.
pub fn check_new(template: &Template, class: Class, making: Making) -> Result<()> {
    for (at, entry) in template.0.iter().enumerate() {
        let row = AttributeRow::find(entry.kind).ok_or(ck(CKR_ATTRIBUTE_TYPE_INVALID))?;
        if !row.on.contains(&class) {
            return Err(ck(CKR_ATTRIBUTE_TYPE_INVALID));
        }
        if !row.fits(&entry.value) {
            return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID));
        }
        // Only the security officer says what is trusted, and none of his sessions makes objects.
        let trusts = entry.kind == CKA_TRUSTED && entry.is_true();
        match (row.create, making) {
            _ if trusts => return Err(ck(CKR_ATTRIBUTE_READ_ONLY)),
            (Create::Allowed, _) | (Create::Import, Making::Create) => {}
            (Create::Import, Making::Generate) => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
            (Create::Never, _) => return Err(ck(CKR_ATTRIBUTE_READ_ONLY)),
        }
        if template.0[..at].iter().any(|earlier| earlier.kind == entry.kind && !same(earlier, entry)) {
            return Err(ck(CKR_TEMPLATE_INCONSISTENT));
        }
    }
    Ok(())
}

fn same(one: &Entry, other: &Entry) -> bool {
    match (&one.value, &other.value) {
        (EntryValue::Bytes(one), EntryValue::Bytes(other)) => one == other,
        (EntryValue::Nested(one), EntryValue::Nested(other)) => {
            one.0.len() == other.0.len()
                && one.0.iter().zip(&other.0).all(|(one, other)| one.kind == other.kind && same(one, other))
        }
        _ => false,
    }
}

/// Checks one change by C_SetAttributeValue. `now`: the present value. `trusts`: by the security officer, who alone may say
/// what is trusted (PKCS#11 3.2 §4.7, footnote 10).
pub fn check_change(entry: &Entry, class: Class, now: Option<&[u8]>, trusts: bool) -> Result<()> {
    let row = AttributeRow::find(entry.kind).filter(|row| row.on.contains(&class));
    let row = row.ok_or(ck(CKR_ATTRIBUTE_TYPE_INVALID))?;
    if !row.fits(&entry.value) {
        return Err(ck(CKR_ATTRIBUTE_VALUE_INVALID));
    }
    let EntryValue::Bytes(wanted) = &entry.value else { return Err(ck(CKR_ATTRIBUTE_READ_ONLY)) };
    let unchanged = now == Some(wanted.as_slice());
    match row.change_on(class) {
        _ if trusts && entry.kind == CKA_TRUSTED => Ok(()),
        Always => Ok(()),
        OnlyTo(value) if unchanged || wanted.as_slice() == [u8::from(value)] => Ok(()),
        OnlyTo(_) | Never => Err(ck(CKR_ATTRIBUTE_READ_ONLY)),
    }
}

/// PKCS#11's number of a class.
pub fn class_number(class: Class) -> CK_OBJECT_CLASS {
    match class {
        Class::Certificate => CKO_CERTIFICATE,
        Class::Data => CKO_DATA,
        Class::PrivateKey => CKO_PRIVATE_KEY,
        Class::PublicKey => CKO_PUBLIC_KEY,
        Class::SecretKey => CKO_SECRET_KEY,
    }
}

pub fn class_of(number: CK_OBJECT_CLASS) -> Option<Class> {
    Class::ALL.iter().copied().find(|class| class_number(*class) == number)
}
