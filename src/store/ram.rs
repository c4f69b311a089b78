//! RAM users and policies.

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};
use crate::model::policy::{Policy, User};

impl Record for User {
    const TABLE: &'static str = "users";
    const COLUMNS: &'static [&'static str] = &["name"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![self.name.as_str().into()])
    }

    fn missing(&self) -> Error {
        Error::EntityNotFound { kind: "User", name: self.name.clone() }
    }
}

impl Record for Policy {
    const TABLE: &'static str = "policies";
    const COLUMNS: &'static [&'static str] = &["name"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![self.name.as_str().into()])
    }

    fn missing(&self) -> Error {
        Error::EntityNotFound { kind: "Policy", name: self.name.clone() }
    }
}

impl Records<'_> {
    pub fn insert_user(&mut self, user: &User) -> Result<()> {
        self.insert(user)
    }

    /// `Error::EntityNotFound` if there is none.
    pub fn update_user(&mut self, user: &User) -> Result<()> {
        self.update(user)
    }

    pub fn delete_user(&mut self, name: &str) -> Result<()> {
        self.delete::<User>(name.into())
    }

    pub fn user(&mut self, name: &str) -> Result<Option<User>> {
        self.one(name.into())
    }

    /// Oldest first.
    pub fn users(&mut self, page: Page) -> Result<Listed<User>> {
        self.page("1 = 1", "position", None, page)
    }

    pub fn insert_policy(&mut self, policy: &Policy) -> Result<()> {
        self.insert(policy)
    }

    pub fn delete_policy(&mut self, name: &str) -> Result<()> {
        self.delete::<Policy>(name.into())
    }

    pub fn policy(&mut self, name: &str) -> Result<Option<Policy>> {
        self.one(name.into())
    }

    /// Oldest first.
    pub fn policies(&mut self, page: Page) -> Result<Listed<Policy>> {
        self.page("1 = 1", "position", None, page)
    }
}
