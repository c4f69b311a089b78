//! Who asks, and in which request.

use std::sync::Arc;

use uuid::Uuid;

use crate::model::policy::{Document, allows, denies};

/// Who an operation is done for; named in every audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    identity: Identity,
    request: Option<Uuid>,
    /// Nothing of what it asks for is answered (`DryRun`).
    rehearsal: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The account itself: the command line, and a login with the token's PIN.
    Account,
    /// A RAM user, with what it was allowed when it was asked for.
    User(Arc<Permissions>),
}

/// A RAM user's policies.
#[derive(Debug, PartialEq, Eq)]
pub struct Permissions {
    pub user: String,
    pub documents: Vec<Document>,
}

impl Permissions {
    /// Does one of the policies deny it?
    pub fn denies(&self, action: &str, resource: &str) -> bool {
        denies(&self.documents, action, resource)
    }
}

impl Caller {
    /// The account itself. Each change that it makes is a request of its own.
    pub fn account() -> Self {
        Self { identity: Identity::Account, request: None, rehearsal: false }
    }

    /// A RAM user. Only `kms::ram` knows what it may do.
    pub fn user(permissions: Arc<Permissions>) -> Self {
        Self { identity: Identity::User(permissions), request: None, rehearsal: false }
    }

    /// A RAM user that may do nothing.
    pub fn nobody(name: &str) -> Self {
        Self::user(Arc::new(Permissions { user: name.to_owned(), documents: Vec::new() }))
    }

    /// The same caller within this request: all audit rows that it causes bear the number of the answer (`RequestId`).
    pub fn within(&self, request: Uuid) -> Self {
        Self { request: Some(request), ..self.clone() }
    }

    /// The same caller, who only rehearses.
    pub fn rehearsing(&self) -> Self {
        Self { rehearsal: true, ..self.clone() }
    }

    pub fn is_rehearsing(&self) -> bool {
        self.rehearsal
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The name of a RAM user; None for the account.
    pub fn user_name(&self) -> Option<&str> {
        match &self.identity {
            Identity::Account => None,
            Identity::User(permissions) => Some(&permissions.user),
        }
    }

    /// May it do `action` (`kms:Encrypt`) on `resource` (an ARN)? The account may do everything.
    pub fn may(&self, action: &str, resource: &str) -> bool {
        match &self.identity {
            Identity::Account => true,
            Identity::User(permissions) => allows(&permissions.documents, action, resource),
        }
    }

    /// The request that a change belongs to.
    pub fn request(&self) -> Uuid {
        self.request.unwrap_or_else(Uuid::new_v4)
    }

    /// As the audit trail writes it.
    pub fn name(&self) -> String {
        match &self.identity {
            Identity::Account => "account".to_owned(),
            Identity::User(permissions) => format!("user/{}", permissions.user),
        }
    }
}
