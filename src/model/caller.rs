//! Who asks.

/// Who an operation is done for; named in every audit row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// The account itself: the command line, and a login with the token's PIN.
    Account,
}

impl Caller {
    /// As the audit trail writes it.
    pub fn name(&self) -> &str {
        match self {
            Self::Account => "account",
        }
    }
}
