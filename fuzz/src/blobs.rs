//! Ciphertext blobs, EncryptionContexts and names, and what decrypting them answers.

use alikms_pkcs11::model::blob::Blob;
use alikms_pkcs11::model::caller::Caller;
use alikms_pkcs11::model::context::Context;
use alikms_pkcs11::model::names::{check_alias, parse_id};

use super::world::world;

pub fn run(data: &[u8]) {
    // Context, NUL, blob.
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, blob) = data.split_at(at);
    let blob = blob.get(1..).unwrap_or_default();
    if let Ok(parsed) = Blob::from_bytes(blob) {
        assert_eq!(parsed.to_bytes(), blob, "a blob has one form");
    }
    let Ok(text) = std::str::from_utf8(text) else { return };
    let (_, _, _) = (parse_id(text), check_alias(text), world().kms().realm().key_ref(text));
    let context = Context::from_json(text).unwrap_or_default();
    assert_eq!(context.canonical().is_empty(), context == Context::default(), "no two contexts are the same bytes");
    let _ = world().kms().decrypt(&Caller::account(), blob, &context);
}
