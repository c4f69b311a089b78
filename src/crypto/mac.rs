//! HMAC and AES-CMAC.
use crate::error::Result;
use crate::model::hash::Hash;
pub struct Hmac;
impl Hmac {
    pub fn new(_hash: Hash, _key: &[u8]) -> Self {
        todo!()
    }
    pub fn update(&mut self, _part: &[u8]) {
        todo!()
    }
    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}
pub struct Cmac;
impl Cmac {
    pub fn new(_key: &[u8]) -> Result<Self> {
        todo!()
    }
    pub fn update(&mut self, _part: &[u8]) {
        todo!()
    }
    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}
