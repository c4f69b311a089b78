//! Certificates.

use uuid::Uuid;

use super::database::Value;
use super::row::Record;
use super::{Listed, Page, Records};
use crate::error::{Error, Result};
use crate::model::certificate::Certificate;

impl Record for Certificate {
    const TABLE: &'static str = "certificates";
    const COLUMNS: &'static [&'static str] = &["id", "key_id"];

    fn columns(&self) -> Result<Vec<Value<'_>>> {
        Ok(vec![(&self.id).into(), self.key.as_ref().into()])
    }

    fn missing(&self) -> Error {
        Error::CertificateNotFound(self.id.to_string())
    }
}

impl Records<'_> {
    pub fn insert_certificate(&mut self, certificate: &Certificate) -> Result<()> {
        self.insert(certificate)
    }

    /// `Error::CertificateNotFound` if there is none.
    pub fn update_certificate(&mut self, certificate: &Certificate) -> Result<()> {
        self.update(certificate)
    }

    /// No error if there is none.
    pub fn delete_certificate(&mut self, id: Uuid) -> Result<()> {
        self.delete::<Certificate>((&id).into())
    }

    pub fn certificate(&mut self, id: Uuid) -> Result<Option<Certificate>> {
        self.one((&id).into())
    }

    /// Oldest first.
    pub fn certificates(&mut self, page: Page) -> Result<Listed<Certificate>> {
        self.page("position > 0", "position", None, page)
    }

    /// Oldest first.
    pub fn certificates_of_key(&mut self, key: Uuid) -> Result<Vec<Certificate>> {
        self.many("key_id = ?2 ORDER BY position", vec![(&key).into()])
    }
}
