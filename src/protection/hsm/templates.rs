//! Attribute templates of new keys. Nothing is left to a device's defaults, which differ dangerously
//! (`reference/devices.md` §0 item 11); afterwards everything is read back and compared.

use cryptoki_sys::*;
use der::Encode;
use uuid::Uuid;

use super::arguments::{Attribute, Value};
use super::profile::Profile;
use crate::model::Bytes;
use crate::model::curve::Curve;
use crate::model::hash::Hash;
use crate::model::public::PublicKey;
use crate::model::spec::{Family, Spec};
use crate::protection::Usages;

/// 65537.
const EXPONENT: [u8; 3] = [1, 0, 1];

/// The templates of one new key: for a pair those of both halves, for a secret only its own.
#[derive(Debug)]
pub struct New {
    pub mechanism: CK_MECHANISM_TYPE,
    pub public: Option<Vec<Attribute>>,
    pub private: Vec<Attribute>,
}

impl New {
    /// None: the profile has no numbers for this family.
    pub fn key(id: Uuid, spec: Spec, usages: Usages, profile: &Profile) -> Option<Self> {
        let (mechanism, key_type) = generation(spec.family, profile)?;
        let class = if spec.family.is_asymmetric() { CKO_PRIVATE_KEY } else { CKO_SECRET_KEY };
        let mut private = common(id, class, key_type, profile);
        private.extend([
            flag(CKA_PRIVATE, true),
            flag(CKA_SENSITIVE, true),
            flag(CKA_EXTRACTABLE, false),
            flag(CKA_DECRYPT, usages.decrypt),
            flag(CKA_SIGN, usages.sign),
            flag(CKA_UNWRAP, usages.unwrap),
            flag(CKA_DERIVE, usages.derive),
        ]);
        let public = match spec.family {
            Family::Aes | Family::Generic | Family::Sm4 => {
                private.extend([
                    flag(CKA_ENCRYPT, usages.encrypt),
                    flag(CKA_VERIFY, usages.verify),
                    flag(CKA_WRAP, usages.wrap),
                    number(CKA_VALUE_LEN, spec.bits / 8),
                ]);
                None
            }
            Family::Ec(curve) => Some(half(
                id,
                key_type,
                usages,
                profile,
                [bytes(CKA_EC_PARAMS, curve.oid().to_der().unwrap_or_default())],
            )),
            Family::Rsa => {
                let exponent = bytes(CKA_PUBLIC_EXPONENT, EXPONENT.to_vec());
                private.push(flag(CKA_SIGN_RECOVER, false));
                let mut half = half(id, key_type, usages, profile, [number(CKA_MODULUS_BITS, spec.bits), exponent]);
                half.push(flag(CKA_VERIFY_RECOVER, false));
                Some(half)
            }
        };
        private.extend(profile.also.iter().map(|(id, value)| flag(*id, *value)));
        let sent = |template: Vec<Attribute>| {
            template.into_iter().filter(|attribute| !profile.unsent.contains(&attribute.id)).collect()
        };
        Some(Self { mechanism, public: public.map(sent), private: sent(private) })
    }

    /// The same without attributes that a device may refuse to be asked for.
    pub fn without(&self, ids: &[CK_ATTRIBUTE_TYPE]) -> Self {
        let kept = |template: &Vec<Attribute>| {
            template.iter().filter(|attribute| !ids.contains(&attribute.id)).cloned().collect()
        };
        Self { mechanism: self.mechanism, public: self.public.as_ref().map(kept), private: kept(&self.private) }
    }

    /// The same as objects of a session.
    pub fn in_session(self) -> Self {
        self.with(CKA_TOKEN, false)
    }

    /// The same as objects of a session that can be wrapped.
    pub fn passing(self) -> Self {
        self.in_session().with(CKA_EXTRACTABLE, true)
    }

    fn with(mut self, id: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        let attributes = self.public.iter_mut().flatten().chain(&mut self.private);
        attributes.filter(|attribute| attribute.id == id).for_each(|attribute| attribute.value = Value::Bool(value));
        self
    }

    /// The template by which the private or secret key is unwrapped: its length is that of the material.
    pub fn unwrapping(&self) -> Vec<Attribute> {
        self.private.iter().filter(|attribute| attribute.id != CKA_VALUE_LEN).cloned().collect()
    }

    /// The template by which the public half is created; None for a secret.
    pub fn public_half(&self, key: &PublicKey) -> Option<Vec<Attribute>> {
        let mut half = self.public.clone()?;
        half.retain(|attribute| !matches!(attribute.id, CKA_MODULUS_BITS | CKA_PUBLIC_EXPONENT));
        match key {
            PublicKey::Ec { point, .. } => {
                half.push(bytes(CKA_EC_POINT, der::asn1::OctetStringRef::new(point).and_then(|it| it.to_der()).ok()?));
            }
            PublicKey::Rsa { modulus, exponent } => {
                half.extend([bytes(CKA_MODULUS, modulus.clone()), bytes(CKA_PUBLIC_EXPONENT, exponent.clone())]);
            }
        }
        Some(half)
    }

    /// What the device must say of the new private or secret key: what was sent, and what follows from it. An
    /// attribute that it does not have is no contradiction.
    pub fn private_facts(&self) -> Vec<Attribute> {
        let mut facts = self.private.clone();
        facts.extend([flag(CKA_ALWAYS_SENSITIVE, true), flag(CKA_NEVER_EXTRACTABLE, true), flag(CKA_LOCAL, true)]);
        facts
    }

    /// The same of the public half, without what only a template has.
    pub fn public_facts(&self) -> Vec<Attribute> {
        self.public.iter().flatten().filter(|attribute| attribute.id != CKA_MODULUS_BITS).cloned().collect()
    }
}

/// The mechanism that makes keys of a family, and their type.
pub fn generation(family: Family, profile: &Profile) -> Option<(CK_MECHANISM_TYPE, CK_KEY_TYPE)> {
    Some(match family {
        Family::Ec(Curve::Sm2) => {
            (profile.sm("CKM_ALIKMS_SM2_KEY_PAIR_GEN")?, profile.sm("CKK_ALIKMS_SM2").unwrap_or(CKK_EC))
        }
        Family::Ec(curve) if curve.is_25519() => return None,
        Family::Aes => (CKM_AES_KEY_GEN, CKK_AES),
        Family::Ec(_) => (CKM_EC_KEY_PAIR_GEN, CKK_EC),
        Family::Generic => (CKM_GENERIC_SECRET_KEY_GEN, CKK_GENERIC_SECRET),
        Family::Rsa => (CKM_RSA_PKCS_KEY_PAIR_GEN, CKK_RSA),
        Family::Sm4 => (profile.sm("CKM_ALIKMS_SM4_KEY_GEN")?, profile.sm("CKK_ALIKMS_SM4")?),
    })
}

fn common(id: Uuid, class: CK_OBJECT_CLASS, key_type: CK_KEY_TYPE, profile: &Profile) -> Vec<Attribute> {
    let label = id.to_string().into_bytes().into_iter().take(profile.label_max).collect();
    vec![
        Attribute { id: CKA_CLASS, value: Value::Ulong(class) },
        Attribute { id: CKA_KEY_TYPE, value: Value::Ulong(key_type) },
        flag(CKA_TOKEN, true),
        bytes(CKA_ID, id.as_bytes().to_vec()),
        bytes(CKA_LABEL, label),
    ]
}

/// A public half does what undoes or proves the work of the private one.
fn half<const N: usize>(
    id: Uuid,
    key_type: CK_KEY_TYPE,
    usages: Usages,
    profile: &Profile,
    own: [Attribute; N],
) -> Vec<Attribute> {
    let mut half = common(id, CKO_PUBLIC_KEY, key_type, profile);
    half.extend([
        flag(CKA_PRIVATE, false),
        flag(CKA_ENCRYPT, usages.decrypt || usages.encrypt),
        flag(CKA_VERIFY, usages.sign || usages.verify),
        flag(CKA_WRAP, usages.unwrap || usages.wrap),
        flag(CKA_DERIVE, false),
    ]);
    half.extend(own);
    half
}

/// Finds objects of this class with this CKA_ID.
pub fn search(class: CK_OBJECT_CLASS, id: &[u8]) -> Vec<Attribute> {
    vec![Attribute { id: CKA_CLASS, value: Value::Ulong(class) }, bytes(CKA_ID, id.to_vec())]
}

/// Finds every object of this class.
pub fn of_class(class: CK_OBJECT_CLASS) -> Vec<Attribute> {
    vec![Attribute { id: CKA_CLASS, value: Value::Ulong(class) }]
}

/// Leaves out what is of a session.
pub fn on_token() -> Attribute {
    flag(CKA_TOKEN, true)
}

/// Is it a key that authenticates and nothing else?
pub fn is_mac(spec: Spec) -> bool {
    spec.family == Family::Generic
}

/// The hash whose HMAC a generic secret of this length is for.
pub fn mac_hash(spec: Spec) -> Hash {
    match spec.bits {
        ..384 => Hash::Sha256,
        384..512 => Hash::Sha384,
        _ => Hash::Sha512,
    }
}

/// What a derivation makes: a secret that can be read, for this session only.
pub fn shared_secret(len: usize) -> Vec<Attribute> {
    let mut all = secret_here(CKK_GENERIC_SECRET, false, true);
    all.push(number(CKA_VALUE_LEN, len));
    all
}

/// Somebody else's RSA key, to wrap with, for this session only.
pub fn wrapping_half(key: &PublicKey) -> Option<Vec<Attribute>> {
    let PublicKey::Rsa { modulus, exponent } = key else { return None };
    Some(vec![
        Attribute { id: CKA_CLASS, value: Value::Ulong(CKO_PUBLIC_KEY) },
        Attribute { id: CKA_KEY_TYPE, value: Value::Ulong(CKK_RSA) },
        flag(CKA_TOKEN, false),
        flag(CKA_PRIVATE, false),
        flag(CKA_ENCRYPT, false),
        flag(CKA_VERIFY, false),
        flag(CKA_WRAP, true),
        bytes(CKA_MODULUS, modulus.clone()),
        bytes(CKA_PUBLIC_EXPONENT, exponent.clone()),
    ])
}

/// Of an unwrapping key: whatever it unwraps never leaves the device (PKCS#11 3.2 §4.10).
pub fn only_sensitive() -> Attribute {
    let flags = vec![(CKA_SENSITIVE, true), (CKA_EXTRACTABLE, false)];
    Attribute { id: CKA_UNWRAP_TEMPLATE, value: Value::Flags(flags) }
}

/// A secret that wraps other secrets for this session and never leaves the device.
pub fn passing_wrapper() -> Vec<Attribute> {
    let mut all = secret_here(CKK_AES, true, false);
    all.extend([flag(CKA_WRAP, true), number(CKA_VALUE_LEN, 32)]);
    all
}

/// A secret that unwraps another one in this session, does nothing else and never leaves the device. `unsent`: attributes
/// that the device refuses.
pub fn passing_unwrapper(unsent: &[CK_ATTRIBUTE_TYPE]) -> Vec<Attribute> {
    let none = [CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_DERIVE];
    let mut all = secret_here(CKK_AES, true, false);
    all.push(flag(CKA_UNWRAP, true));
    all.extend(none.map(|id| flag(id, false)));
    all.retain(|attribute| !unsent.contains(&attribute.id));
    all
}

/// A secret of this process, for this session only, to be wrapped and for nothing else.
pub fn passing_secret(value: &[u8]) -> Vec<Attribute> {
    let mut all = secret_here(CKK_GENERIC_SECRET, true, true);
    all.push(Attribute { id: CKA_VALUE, value: Value::Secret(Bytes::new(value.to_vec())) });
    all
}

/// A secret that comes to this process, for this session only.
pub fn readable_secret() -> Vec<Attribute> {
    secret_here(CKK_GENERIC_SECRET, false, true)
}

/// A secret for one session.
fn secret_here(kind: CK_KEY_TYPE, is_sensitive: bool, is_extractable: bool) -> Vec<Attribute> {
    vec![
        Attribute { id: CKA_CLASS, value: Value::Ulong(CKO_SECRET_KEY) },
        Attribute { id: CKA_KEY_TYPE, value: Value::Ulong(kind) },
        flag(CKA_TOKEN, false),
        flag(CKA_PRIVATE, true),
        flag(CKA_SENSITIVE, is_sensitive),
        flag(CKA_EXTRACTABLE, is_extractable),
    ]
}

/// What this secret is like when it is unwrapped for this session alone, to be wrapped again and for nothing else.
pub fn passing(secret: &[Attribute]) -> Vec<Attribute> {
    let kept = secret.iter().filter(|attribute| matches!(attribute.id, CKA_CLASS | CKA_KEY_TYPE)).cloned();
    let own = [(CKA_TOKEN, false), (CKA_PRIVATE, true), (CKA_SENSITIVE, true), (CKA_EXTRACTABLE, true)];
    kept.chain(own.map(|(id, value)| flag(id, value))).collect()
}

/// The attributes to read for these facts, each with the length that its value should have.
pub fn to_read(facts: &[Attribute]) -> Vec<(CK_ATTRIBUTE_TYPE, usize)> {
    facts.iter().map(|fact| (fact.id, fact.value.bytes().len())).collect()
}

/// The first fact that the device contradicts, or does not confirm where everything depends on it.
pub fn contradiction(facts: &[Attribute], read: &[Option<Bytes>]) -> Option<CK_ATTRIBUTE_TYPE> {
    facts.iter().zip(read).find_map(|(fact, read)| {
        let Some(read) = read.as_ref() else {
            return matches!(fact.id, CKA_EXTRACTABLE | CKA_ID | CKA_SENSITIVE).then_some(fact.id);
        };
        let same = match &fact.value {
            // Any non-zero byte is CK_TRUE to somebody; only the standard's is accepted for what must be true.
            Value::Bool(value) => read.as_slice() == [u8::from(*value)],
            // Not read back: what it does is tried.
            Value::Flags(_) => true,
            Value::Bytes(value) => read.as_slice() == value.as_slice(),
            Value::Secret(value) => read == value,
            Value::Ulong(value) => read.as_slice() == value.to_ne_bytes(),
        };
        (!same).then_some(fact.id)
    })
}

/// Attributes of which a public key of this family is made, with room for them.
pub fn public_parts(family: Family) -> [(CK_ATTRIBUTE_TYPE, usize); 2] {
    match family {
        Family::Ec(curve) => [(CKA_EC_PARAMS, 16), (CKA_EC_POINT, 2 * curve.field_len() + 4)],
        _ => [(CKA_MODULUS, 1024), (CKA_PUBLIC_EXPONENT, 16)],
    }
}

/// The public key that these attributes make up; None if one is missing, Err if they make none of this family.
pub fn public_key(family: Family, parts: &[Option<Bytes>]) -> Result<Option<PublicKey>, ()> {
    let [Some(first), Some(second)] = parts else { return Ok(None) };
    if first.is_empty() || second.is_empty() {
        return Ok(None);
    }
    match family {
        Family::Ec(curve) => {
            // Only named curves; a device may also answer with the curve's whole description, which is then not ours.
            if first.as_slice() != curve.oid().to_der().unwrap_or_default() {
                return Err(());
            }
            Ok(Some(PublicKey::Ec { curve, point: point(curve, second).ok_or(())? }))
        }
        Family::Rsa => Ok(Some(PublicKey::Rsa { modulus: trimmed(first), exponent: trimmed(second) })),
        Family::Aes | Family::Generic | Family::Sm4 => Err(()),
    }
}

/// 04 ‖ x ‖ y, of the DER OCTET STRING that the standard wants or of the bare point that some devices give.
/// Both begin with 04: the length tells them apart.
fn point(curve: Curve, value: &[u8]) -> Option<Vec<u8>> {
    let len = 1 + 2 * curve.field_len();
    let bare = match value.len().checked_sub(len)? {
        0 => value,
        2 if value.get(..2)? == [4, u8::try_from(len).ok()?] => value.get(2..)?,
        3 if value.get(..3)? == [4, 0x81, u8::try_from(len).ok()?] => value.get(3..)?,
        _ => return None,
    };
    (bare.first() == Some(&4)).then(|| bare.to_vec())
}

fn trimmed(number: &[u8]) -> Vec<u8> {
    number.iter().copied().skip_while(|byte| *byte == 0).collect()
}

fn flag(id: CK_ATTRIBUTE_TYPE, value: bool) -> Attribute {
    Attribute { id, value: Value::Bool(value) }
}

fn bytes(id: CK_ATTRIBUTE_TYPE, value: Vec<u8>) -> Attribute {
    Attribute { id, value: Value::Bytes(value) }
}

fn number(id: CK_ATTRIBUTE_TYPE, value: usize) -> Attribute {
    Attribute { id, value: Value::Ulong(value as CK_ULONG) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_read_in_both_forms() {
        for curve in Curve::ALL.iter().copied().filter(|curve| !curve.is_25519()) {
            let mut bare = vec![4];
            bare.resize(1 + 2 * curve.field_len(), 7);
            let der = der::asn1::OctetStringRef::new(&bare).unwrap().to_der().unwrap();
            assert_eq!(point(curve, &bare).as_ref(), Some(&bare));
            assert_eq!(point(curve, &der).as_ref(), Some(&bare));
            assert_eq!(point(curve, &der[1..]), None);
            assert_eq!(point(curve, &[]), None);
        }
    }

    #[test]
    fn a_contradiction_is_found_and_a_gap_is_one_where_it_matters() {
        let facts = [flag(CKA_SENSITIVE, true), flag(CKA_EXTRACTABLE, false)];
        let value = |byte: u8| Some(Bytes::new(vec![byte]));
        assert_eq!(contradiction(&facts, &[value(1), value(0)]), None);
        assert_eq!(contradiction(&facts, &[None, value(0)]), Some(CKA_SENSITIVE));
        assert_eq!(contradiction(&[flag(CKA_LOCAL, true)], &[None]), None);
        assert_eq!(contradiction(&facts, &[value(1), value(1)]), Some(CKA_EXTRACTABLE));
    }
}
