//! A session: what a C_ function that names one does.
//!
//! Every `…_init` takes `None` for a NULL mechanism, which cancels (PKCS#11 3.x) the operation of that kind.
//! Inputs are slices read before anything is written back; a length that is absurd was refused at the door.
use crate::error::Result;
use crate::token::template::Value;
use crate::token::{Answer, Mechanism, Room, Template};

pub struct Session;

impl Session {
    pub fn create_object(&mut self, _template: &Template) -> Result<u64> {
        todo!()
    }
    pub fn copy_object(&mut self, _object: u64, _template: &Template) -> Result<u64> {
        todo!()
    }
    pub fn destroy_object(&mut self, _object: u64) -> Result<()> {
        todo!()
    }
    pub fn object_size(&mut self, _object: u64) -> Result<u64> {
        todo!()
    }
    /// In the order asked for.
    pub fn attributes(&mut self, _object: u64, _kinds: &[u64]) -> Result<Vec<Value>> {
        todo!()
    }
    pub fn set_attributes(&mut self, _object: u64, _template: &Template) -> Result<()> {
        todo!()
    }
    pub fn find_init(&mut self, _template: &Template) -> Result<()> {
        todo!()
    }
    pub fn find(&mut self, _max: usize) -> Result<Vec<u64>> {
        todo!()
    }
    pub fn find_final(&mut self) -> Result<()> {
        todo!()
    }

    pub fn encrypt_init(&mut self, _mechanism: Option<&Mechanism>, _key: u64) -> Result<()> {
        todo!()
    }
    pub fn encrypt(&mut self, _data: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn encrypt_update(&mut self, _part: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn encrypt_final(&mut self, _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn decrypt_init(&mut self, _mechanism: Option<&Mechanism>, _key: u64) -> Result<()> {
        todo!()
    }
    pub fn decrypt(&mut self, _data: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn decrypt_update(&mut self, _part: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn decrypt_final(&mut self, _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn digest_init(&mut self, _mechanism: Option<&Mechanism>) -> Result<()> {
        todo!()
    }
    pub fn digest(&mut self, _data: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn digest_update(&mut self, _part: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn digest_key(&mut self, _key: u64) -> Result<()> {
        todo!()
    }
    pub fn digest_final(&mut self, _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn sign_init(&mut self, _mechanism: Option<&Mechanism>, _key: u64) -> Result<()> {
        todo!()
    }
    pub fn sign(&mut self, _data: &[u8], _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn sign_update(&mut self, _part: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn sign_final(&mut self, _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn verify_init(&mut self, _mechanism: Option<&Mechanism>, _key: u64) -> Result<()> {
        todo!()
    }
    pub fn verify(&mut self, _data: &[u8], _signature: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn verify_update(&mut self, _part: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn verify_final(&mut self, _signature: &[u8]) -> Result<()> {
        todo!()
    }
    /// C_SessionCancel: CKF_* of the operations to end.
    pub fn cancel(&mut self, _flags: u64) -> Result<()> {
        todo!()
    }
    /// Ends the operation of the kind that the failing function belongs to: the door calls it when an argument is bad
    /// after the handle was good (CKR_ARGUMENTS_BAD ends the operation, reference conformance.md). `flag` is CKF_SIGN and the like.
    pub fn abort(&mut self, _flag: u64) {
        todo!()
    }

    pub fn generate_key(&mut self, _mechanism: &Mechanism, _template: &Template) -> Result<u64> {
        todo!()
    }
    pub fn generate_key_pair(
        &mut self,
        _mechanism: &Mechanism,
        _public: &Template,
        _private: &Template,
    ) -> Result<(u64, u64)> {
        todo!()
    }
    pub fn wrap_key(&mut self, _mechanism: &Mechanism, _wrapping: u64, _key: u64, _room: Room) -> Result<Answer> {
        todo!()
    }
    pub fn unwrap_key(
        &mut self,
        _mechanism: &Mechanism,
        _unwrapping: u64,
        _wrapped: &[u8],
        _template: &Template,
    ) -> Result<u64> {
        todo!()
    }
    pub fn derive_key(&mut self, _mechanism: &Mechanism, _base: u64, _template: &Template) -> Result<u64> {
        todo!()
    }
    pub fn seed_random(&mut self, _seed: &[u8]) -> Result<()> {
        todo!()
    }
    pub fn generate_random(&mut self, _out: usize) -> Result<Vec<u8>> {
        todo!()
    }
}
