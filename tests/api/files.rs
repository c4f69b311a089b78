//! A directory of a test's own, in which openssl makes certificates.

use tempfile::TempDir;

use crate::common::openssl;

pub const EC: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";

pub struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Paths stand in braces.
    pub fn words(&self, words: &str) -> String {
        words.replace('{', &self.path("")).replace('}', "")
    }

    /// openssl; what it prints.
    pub fn ssl(&self, words: &str) -> Vec<u8> {
        openssl(&self.words(words), b"")
    }
}
