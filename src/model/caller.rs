//! Who asks, and in which request.

use uuid::Uuid;

/// Who an operation is done for; named in every audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    request: Option<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself: the command line, and a login with the token's PIN.
    Account,
}

impl Caller {
    /// The account itself. Each change that it makes is a request of its own.
    pub fn account() -> Self {
        Self { identity: Identity::Account, request: None }
    }

    /// The same caller within this request: all audit rows that it causes bear the number of the answer (`RequestId`).
    pub fn within(&self, request: Uuid) -> Self {
        Self { request: Some(request), ..self.clone() }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The request that a change belongs to.
    pub fn request(&self) -> Uuid {
        self.request.unwrap_or_else(Uuid::new_v4)
    }

    /// As the audit trail writes it.
    pub fn name(&self) -> &str {
        match self.identity {
            Identity::Account => "account",
        }
    }
}
