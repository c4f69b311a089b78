//! Which key may do what to which other key: the rules that keep a sensitive key inside whatever sequence of calls is made
//! (Clulow 2003; Bortolozzo and others 2010). Conflicting attributes are not refused when keys are made, since generic
//! tools set every flag; they are refused when a key is about to be used.
//!
//! The rule that carries the others: a sensitive key is wrapped only by a key that was made here to wrap and unwrap and has
//! never been able to do anything else ([`CKA_ALIKMS_WRAPS_ONLY`]), or by a public key that the security officer trusts;
//! only by mechanisms whose result cannot be taken apart; and what such a key unwraps is sensitive again.

use cryptoki_sys::*;

use crate::error::Result;
use crate::model::object::Class;
use crate::token::make::Flags;
use crate::token::mechanism::Does;
use crate::token::object::{Item, Source};
use crate::token::template::{Entry, EntryValue};
use crate::token::vendor::CKA_ALIKMS_WRAPS_ONLY;
use crate::token::{Template, ck};

/// The attributes that say what a key may do.
pub const USES: &[CK_ATTRIBUTE_TYPE] = &[
    CKA_DECRYPT,
    CKA_DERIVE,
    CKA_ENCRYPT,
    CKA_SIGN,
    CKA_SIGN_RECOVER,
    CKA_UNWRAP,
    CKA_VERIFY,
    CKA_VERIFY_RECOVER,
    CKA_WRAP,
];

/// The least that an RSA key has to be to wrap a sensitive key, in bits.
const LEAST_RSA: usize = 2048;

/// Is a key that is generated with these uses one that wraps and unwraps and does nothing else? Asked of the private or
/// secret half; its secrecy is the caller's to look at.
pub fn wraps_only(flags: &Flags) -> bool {
    let on = |kind: &CK_ATTRIBUTE_TYPE| flags.get(kind).copied().unwrap_or(false);
    let wraps = on(&CKA_WRAP) || on(&CKA_UNWRAP);
    wraps && !USES.iter().any(|kind| !matches!(*kind, CKA_WRAP | CKA_UNWRAP) && on(kind))
}

/// Refuses to give a key a use that it did not have, where its past counts: a key of the KMS is what it was made for, and a
/// key that only wraps must never have done anything else, nor any copy of it.
pub fn check_gain(item: &Item, entry: &Entry) -> Result<()> {
    let gained = USES.contains(&entry.kind) && entry.is_true() && !item.is(entry.kind);
    let fixed = matches!(item.source, Source::Kms { .. }) || item.is(CKA_ALIKMS_WRAPS_ONLY);
    if gained && fixed { Err(ck(CKR_ATTRIBUTE_READ_ONLY)) } else { Ok(()) }
}

/// Is what this mechanism wraps of one piece? ECB and CBC let parts be exchanged and lengths be changed, and a counter mode
/// whose IV the caller chooses encrypts twice with the same stream. `made`: the token makes the IV.
fn is_of_one_piece(does: Does, made: bool) -> bool {
    match does {
        Does::AesKeyWrap | Does::AesKeyWrapPad | Does::RsaAesKeyWrap | Does::RsaOaep => true,
        Does::AesGcm => made,
        _ => false,
    }
}

/// A secret key that may wrap sensitive keys does nothing by which what it wrapped could be taken apart, in either direction.
/// (What RSA wrapped by OAEP is nothing that PKCS#1 v1.5 could read.) `made`: see [`is_of_one_piece`]; of unwrapping by GCM it is true, since nothing is encrypted there.
pub fn check_mechanism(wrapper: &Item, does: Does, made: bool) -> Result<()> {
    let is_guarded = wrapper.class == Class::SecretKey && wrapper.is(CKA_ALIKMS_WRAPS_ONLY);
    if is_guarded && !is_of_one_piece(does, made) {
        return Err(ck(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    Ok(())
}

/// May `wrapper` wrap `key`, as far as their attributes tell?
pub fn check_wrap(wrapper: &Item, key: &Item, does: Does, made: bool) -> Result<()> {
    if !key.is(CKA_EXTRACTABLE) {
        return Err(ck(CKR_KEY_UNEXTRACTABLE));
    }
    if key.is(CKA_WRAP_WITH_TRUSTED) && !wrapper.is(CKA_TRUSTED) {
        return Err(ck(CKR_KEY_NOT_WRAPPABLE));
    }
    // PKCS#11 3.2 §5.18.3: CKR_KEY_HANDLE_INVALID for a key that does not match.
    if let Some(template) = wrapper.bytes(CKA_WRAP_TEMPLATE)
        && !key.matches(&Template::decode(template))
    {
        return Err(ck(CKR_KEY_HANDLE_INVALID));
    }
    if !key.is(CKA_SENSITIVE) {
        return Ok(());
    }
    let own_pair = wrapper.class == Class::PublicKey && matches!(wrapper.source, Source::Kms { .. });
    let good = match wrapper.class {
        Class::SecretKey => wrapper.is(CKA_ALIKMS_WRAPS_ONLY),
        // Of a pair that is here, the private half must not be one that decrypts.
        _ => wrapper.is(CKA_TRUSTED) && (!own_pair || wrapper.is(CKA_ALIKMS_WRAPS_ONLY)),
    };
    if !good || !is_of_one_piece(does, made) {
        return Err(ck(CKR_KEY_NOT_WRAPPABLE));
    }
    check_strength(wrapper, key)
}

/// A key is not stronger than what it is wrapped with.
fn check_strength(wrapper: &Item, key: &Item) -> Result<()> {
    let length = |item: &Item| item.bytes(CKA_VALUE_LEN).and_then(crate::token::template::ulong_of).unwrap_or(0);
    let weaker = match wrapper.class {
        Class::SecretKey => key.key_type() == Some(CKK_AES) && length(wrapper) < length(key),
        _ => wrapper.public().is_none_or(|public| public.bits() < LEAST_RSA),
    };
    if weaker { Err(ck(CKR_WRAPPING_KEY_SIZE_RANGE)) } else { Ok(()) }
}

/// The template of a key that `parent` unwraps or derives: with what `parent` demands of it (CKA_UNWRAP_TEMPLATE or
/// CKA_DERIVE_TEMPLATE), which the caller's own words must not contradict (PKCS#11 3.2 §5.18.4, §5.18.5).
pub fn with_demands(parent: &Item, kind: CK_ATTRIBUTE_TYPE, template: &Template) -> Result<Template> {
    let mut all = template.clone();
    let Some(demands) = parent.bytes(kind) else { return Ok(all) };
    for demand in Template::decode(demands).0 {
        let EntryValue::Bytes(wanted) = &demand.value else { continue };
        match template.bytes(demand.kind) {
            Some(given) if given != wanted.as_slice() => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
            Some(_) => {}
            None => all.0.push(demand),
        }
    }
    Ok(all)
}

/// What is unwrapped by a key that may have wrapped a sensitive key is sensitive, whatever it was.
pub fn kept_sensitive(wrapper: &Item, template: &mut Template) -> Result<()> {
    if !wrapper.is(CKA_ALIKMS_WRAPS_ONLY) {
        return Ok(());
    }
    match template.bool(CKA_SENSITIVE)? {
        Some(true) => {}
        Some(false) => return Err(ck(CKR_TEMPLATE_INCONSISTENT)),
        None => template.0.push(Entry { kind: CKA_SENSITIVE, value: EntryValue::Bytes(vec![1].into()) }),
    }
    Ok(())
}
