//! Hash functions.

use crate::model::hash::Hash;

/// A hash in progress; Clone copies its state (C_GetOperationState will need it).
#[derive(Clone)]
pub struct Hasher;
impl Hasher {
    pub fn new(_hash: Hash) -> Self {
        todo!()
    }
    pub fn update(&mut self, _part: &[u8]) {
        todo!()
    }
    pub fn finish(self) -> Vec<u8> {
        todo!()
    }
}

pub fn hash(_hash: Hash, _data: &[u8]) -> Vec<u8> {
    todo!()
}
