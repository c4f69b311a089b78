//! Pages of lists: `PageNumber` from 1, `PageSize` 1 to 100, 10 if not given (kms-api.md §2.3).

use serde::Serialize;

use crate::error::{Error, Result};
use crate::store::{Listed, Page};

/// Which page was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    number: u64,
    size: u64,
}

/// One page of an answer, with its list in the two layers that the API wraps it in.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Paged<L> {
    #[serde(flatten)]
    list: L,
    page_number: u64,
    page_size: u64,
    total_count: u64,
}

impl Paging {
    pub fn new(number: Option<i64>, size: Option<i64>) -> Result<Self> {
        let number = u64::try_from(number.unwrap_or(1)).unwrap_or(0);
        let size = u64::try_from(size.unwrap_or(10)).unwrap_or(0);
        if number == 0 || number.checked_mul(100).is_none_or(|offset| i64::try_from(offset).is_err()) {
            return Err(Error::invalid("PageNumber", "pages count from 1"));
        }
        if !(1..=100).contains(&size) {
            return Err(Error::invalid("PageSize", "1 to 100 is possible"));
        }
        Ok(Self { number, size })
    }

    /// As the store counts.
    pub fn page(self) -> Page {
        Page { offset: (self.number - 1).saturating_mul(self.size), limit: self.size }
    }

    /// The answer made of what was `listed`.
    pub fn answer<T, L>(self, listed: Listed<T>, list: impl FnOnce(Vec<T>) -> L) -> Paged<L> {
        Paged { list: list(listed.items), page_number: self.number, page_size: self.size, total_count: listed.total }
    }
}
