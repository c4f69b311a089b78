//! SM2, SM3 and SM4, for which PKCS#11 has no numbers: ours stand in `vendor`.
//!
//! An SM2 key is a CKK_EC key like others, so its curve decides which mechanisms fit.

use cryptoki_sys::*;

use crate::crypto::sm2;
use crate::error::{Error, Result};
use crate::model::curve::Curve;
use crate::model::object::Class;
use crate::model::public::PublicKey;
use crate::model::spec::Family;
use crate::token::mechanism::{Keys, MECHANISMS};
use crate::token::object::Item;
use crate::token::{Parameter, ck};

/// The bytes of an SM4 key.
pub const SM4_KEY: u64 = 16;

/// Is the key on a curve that mechanisms for these keys work with? One key in two schemes could give itself away, so
/// SM2 keys do SM2 and nothing else.
pub fn fits_curve(keys: Keys, item: &Item) -> bool {
    let is_sm2 = matches!(item.public(), Some(PublicKey::Ec { curve: Curve::Sm2, .. }));
    match keys {
        Keys::Ec => !is_sm2,
        Keys::Sm2 => is_sm2,
        _ => true,
    }
}

/// CKA_ALLOWED_MECHANISMS of a key of this class, where nobody set another: what generic tools cannot know.
pub fn allowed(class: Class, family: Family) -> Vec<u8> {
    let keys = match family {
        Family::Sm4 => Keys::Sm4,
        Family::Ec(Curve::Sm2) => Keys::Sm2,
        _ => return Vec::new(),
    };
    let uses = match class {
        Class::PublicKey => CKF_VERIFY | CKF_ENCRYPT,
        Class::PrivateKey => CKF_SIGN | CKF_DECRYPT,
        _ => CKF_ENCRYPT | CKF_DECRYPT | CKF_DERIVE,
    };
    let rows = MECHANISMS.iter().filter(|row| row.keys == keys && row.flags & uses != 0);
    rows.flat_map(|row| row.kind.to_ne_bytes()).collect()
}

/// Z_A of the key's holder, which is hashed before the message: the parameter is the ID, the usual one if there is none.
pub fn identity(parameter: &Parameter, item: &Item) -> Result<Vec<u8>> {
    let id = match parameter {
        Parameter::None => sm2::DEFAULT_ID,
        Parameter::Raw(id) => id.as_slice(),
        _ => return Err(ck(CKR_MECHANISM_PARAM_INVALID)),
    };
    let Some(PublicKey::Ec { point, .. }) = item.public() else { return Err(ck(CKR_KEY_TYPE_INCONSISTENT)) };
    sm2::identity(point, id).map_err(|error| match error {
        Error::InvalidParameter { .. } => ck(CKR_MECHANISM_PARAM_INVALID),
        other => other,
    })
}
