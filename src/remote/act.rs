//! Actions of the API, asked of a host: `alikms ACTION` with a client's `alikms.toml`. The host can open the store without a
//! person; that is not the client's right, who says a PIN or an access key of his own.

use serde::{Deserialize, Serialize};
use serde_bytes::Bytes as Raw;
use uuid::Uuid;

use crate::api::{self, Fault, Params};
use crate::error::Result;
use crate::kms::Kms;
use crate::model::Bytes;
use crate::model::caller::Caller;

/// One action. All of it is borrowed from memory that is wiped: parameters may be plaintext.
#[derive(Serialize, Deserialize)]
pub struct Act<'a> {
    /// Its label; the first one if None.
    pub token: Option<&'a str>,
    pub action: &'a str,
    pub parameters: Vec<(&'a str, &'a str)>,
    #[serde(borrow)]
    pub who: Who<'a>,
}

/// Who asks.
#[derive(Serialize, Deserialize)]
pub enum Who<'a> {
    AccessKey {
        id: &'a str,
        #[serde(borrow)]
        secret: &'a Raw,
    },
    /// The account itself, or a RAM user, by his own PIN.
    Pin {
        user: Option<&'a str>,
        #[serde(borrow)]
        pin: &'a Raw,
    },
}

/// What became of it.
#[derive(Serialize, Deserialize)]
pub enum Acted {
    /// As JSON, which may hold plaintext.
    Done(#[serde(with = "crate::model::wiped")] Bytes),
    /// Before it was begun.
    Failed(String),
    Refused {
        status: u16,
        code: String,
        message: String,
        request: u128,
    },
}

impl Act<'_> {
    pub(super) fn run(&self, kms: &Kms) -> Acted {
        let (entry, caller) = match api::find(self.action).and_then(|entry| Ok((entry, self.caller(kms)?))) {
            Ok(found) => found,
            Err(error) => return Acted::Failed(error.to_string()),
        };
        let mut params = Params::default();
        self.parameters.iter().for_each(|(name, value)| params.push(*name, *value));
        let request = Uuid::new_v4();
        let answer = entry.run(kms, &caller, &params, request);
        // Not the last of this process, which may go on to use keys.
        if let Err(error) = kms.harvest(false) {
            tracing::warn!(%error, "the uses of keys could not be carried into the audit trail");
        }
        match answer {
            Ok(answer) => Acted::Done(Bytes::new(answer.to_string().into_bytes())),
            Err(error) => {
                let Fault { status, code, message } = Fault::from(&error);
                Acted::Refused { status, code: code.to_owned(), message, request: request.as_u128() }
            }
        }
    }

    fn caller(&self, kms: &Kms) -> Result<Caller> {
        match self.who {
            Who::AccessKey { id, secret } => {
                kms.unlock()?;
                kms.login_with_access_key(id, secret)
            }
            Who::Pin { user: Some(name), pin } => kms.login_as(name, pin),
            Who::Pin { user: None, pin } => kms.login_user(pin).map(|()| Caller::account()),
        }
    }
}
