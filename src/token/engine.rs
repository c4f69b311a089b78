//! What does the work of an operation, and what an Init found out about it.

use std::sync::Arc;

use cryptoki_sys::*;

use crate::error::Result;
use crate::kms::usage::PublicUse;
use crate::kms::use_key::Ready;
use crate::model::object::Class;
use crate::protection::Key;
use crate::protection::public::Prepared;
use crate::token::mechanism::Does;
use crate::token::object::{Item, Source};
use crate::token::operate::Kind;
use crate::token::own::Own;
use crate::token::vendor::CKA_ALIKMS_ARN;
use crate::token::{Session, ck};

/// What does the work.
#[derive(Clone)]
pub enum Engine {
    /// A key of the KMS: checked again whenever it is about to work.
    Kms { ready: Own<Ready>, action: &'static str },
    /// A public key; and whose half it is, if that is written down.
    Public(Own<Prepared>, Option<PublicUse>),
    /// A key of this process.
    Session(Own<dyn Key>),
}

impl Engine {
    /// An error if the key may not be used any more; another engine if it was opened anew.
    #[inline(always)]
    pub fn renewed(&self, session: &Session) -> Result<Option<Self>> {
        let Self::Kms { ready, action } = self else { return Ok(None) };
        let renewed = session.slot().kms.refresh(&session.caller(), action, ready)?;
        Ok(renewed.map(|ready| Self::Kms { ready: Own::new(ready), action }))
    }

    /// Is it the same key as it was opened then?
    #[inline(always)]
    pub fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Kms { ready, action }, Self::Kms { ready: other, action: for_other }) => {
                Own::ptr_eq(ready, other) && action == for_other
            }
            (Self::Session(key), Self::Session(other)) => Own::ptr_eq(key, other),
            _ => false,
        }
    }

    /// The private or secret key as it was found: what it does from now on is written down.
    pub fn at_work(&self, session: &Session) -> Result<Arc<dyn Key>> {
        match self {
            Self::Kms { ready, action } => session.slot().kms.work(&session.caller(), action, ready),
            Self::Public(..) => Err(ck(CKR_KEY_TYPE_INCONSISTENT)),
            Self::Session(key) => Ok(key.shared()),
        }
    }
}

/// What the last Init with an object found out. It all follows from the object and the mechanism, so the same Init need not
/// find it out again, as long as the object is the same and the account itself asks.
pub(super) struct Settled {
    pub mechanism: CK_MECHANISM_TYPE,
    /// The attribute that permits it, and the flag that the mechanism has.
    pub asked: (CK_ATTRIBUTE_TYPE, CK_FLAGS),
    pub does: Does,
    pub engine: Engine,
    pub locked: bool,
}

impl Session {
    /// What works with an object in this direction, if whoever is logged in may do it.
    pub(super) fn engine(&mut self, item: &Item, kind: Kind) -> Result<Engine> {
        let action = kind.action(item);
        if item.class == Class::PublicKey {
            if let Some(arn) = item.bytes(CKA_ALIKMS_ARN).and_then(|arn| std::str::from_utf8(arn).ok()) {
                let _allowed = self.slot().kms.authorize_owner(&self.caller(), action, arn)?;
            }
            let used = match &item.source {
                Source::Kms { version, .. } => self.slot().kms.public_use(action, || item.key_id(), *version),
                _ => None,
            };
            return Ok(Engine::Public(Own::new(item.prepared()?), used));
        }
        match &item.source {
            Source::Kms { version, .. } => {
                let ready = self.ready(item, action, *version)?;
                Ok(Engine::Kms { ready, action })
            }
            Source::Session(key) => Ok(Engine::Session(Own::new(key.work()?))),
            Source::Plain => Err(ck(CKR_KEY_HANDLE_INVALID)),
        }
    }
}
