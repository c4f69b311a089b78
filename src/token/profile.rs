//! Profile objects (PKCS#11 3.2 §4.14): which kinds of provider of the PKCS#11 Profiles this is. Only who searches for their
//! class finds them; to all others they would be objects that are no keys, certificates or data.

use cryptoki_sys::*;
use uuid::Uuid;

use crate::model::object::Class;
use crate::token::Template;
use crate::token::object::{Builder, Item, Source};

/// Not CKP_PUBLIC_CERTIFICATES_TOKEN: a certificate may be private here, and a store that opens by a PIN shows none before.
const PROFILES: &[CK_PROFILE_ID] = &[CKP_BASELINE_PROVIDER, CKP_EXTENDED_PROVIDER];

/// The handles of profile objects, of which the last bits say which.
const PROFILE: u64 = 1 << 60;

/// The handles of those that a search is for.
pub fn found(template: &Template) -> impl Iterator<Item = u64> {
    (0..PROFILES.len() as u64)
        .filter_map(|index| item(PROFILE | index))
        .filter(|item| item.matches(template))
        .map(|item| item.handle)
}

/// The profile object of this handle.
pub fn item(handle: u64) -> Option<Item> {
    let index = usize::try_from(handle.checked_sub(PROFILE)?).ok()?;
    let profile = *PROFILES.get(index)?;
    // As data it is: nothing works with it, and nobody makes, changes, copies or destroys it.
    let class = Class::Data;
    let mut all = Builder::default();
    all.common(class, true, Uuid::from_u64_pair(CKO_PROFILE, profile))
        .ulong(CKA_CLASS, CKO_PROFILE)
        .bool(CKA_COPYABLE, false)
        .bool(CKA_DESTROYABLE, false)
        .bool(CKA_MODIFIABLE, false)
        .ulong(CKA_PROFILE_ID, profile);
    Some(Item::new(handle, class, all.take(), false, Source::Plain))
}
