//! `CKM_ALIKMS_ENVELOPE`: the token makes and opens the very blobs of `alikms Encrypt` and `alikms Decrypt`, at both
//! levels.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;

use crate::support::{Client, Installation, Mech, number, s, u};

const ENVELOPE: CK_MECHANISM_TYPE = 0xC14C_4930;
const CONTEXT: &str = r#"{"app":"mail","who":"alice"}"#;
/// The same pairs, written otherwise.
const SAME: &str = r#" { "who" : "alice", "app":"m\u0061il" } "#;
/// What a blob is longer than its plaintext.
const OVERHEAD: usize = 36 + 12 + 16;

fn with(context: &str) -> Mech {
    Mech::buffer(ENVELOPE, context.as_bytes())
}

fn encrypt(home: &Installation, key: &str, plaintext: &[u8], context: &[&str]) -> Vec<u8> {
    let text = STANDARD.encode(plaintext);
    let args = [&["Encrypt", "--KeyId", key, "--Plaintext", &text], context].concat();
    STANDARD.decode(home.alikms(&args)["CiphertextBlob"].as_str().unwrap()).unwrap()
}

fn decrypt(home: &Installation, blob: &[u8], context: &[&str]) -> Vec<u8> {
    let text = STANDARD.encode(blob);
    let args = [&["Decrypt", "--CiphertextBlob", &text], context].concat();
    STANDARD.decode(home.alikms(&args)["Plaintext"].as_str().unwrap()).unwrap()
}

fn key(c: &Client, label: &str) -> CK_OBJECT_HANDLE {
    let key = c.one(CKO_SECRET_KEY, label);
    assert_eq!(number(&c.get(key, CKA_ALLOWED_MECHANISMS).unwrap()), ENVELOPE);
    assert!(c.is(key, CKA_ENCRYPT) && c.is(key, CKA_DECRYPT) && !c.is(key, CKA_DERIVE));
    key
}

fn both_ways(level: &str, specs: &[&str]) {
    let home = Installation::at(level);
    for spec in specs {
        let level = format!("--ProtectionLevel={level}");
        let id = home.create_key(spec, &[&format!("--KeySpec={spec}"), &level]);
        let c = home.client();
        let key = key(&c, spec);
        for plaintext in [&b""[..], b"x", &[7; 6144]] {
            for context in [None, Some(CONTEXT)] {
                let mechanism = context.map_or(Mech::new(ENVELOPE), with);
                let words: &[&str] = &context.map_or(vec![], |context| vec!["--EncryptionContext", context]);
                // From the token to the API; the helper checks both calls and the exact length.
                let blob = c.encrypt(mechanism.clone(), key, plaintext).unwrap();
                assert_eq!(blob.len(), plaintext.len() + OVERHEAD);
                assert_eq!(c.decrypt(mechanism.clone(), key, &blob).unwrap(), plaintext);
                if !plaintext.is_empty() {
                    assert_eq!(decrypt(&home, &blob, words), plaintext);
                    let theirs = encrypt(&home, &id, plaintext, words);
                    assert_eq!(c.decrypt(mechanism, key, &theirs).unwrap(), plaintext);
                }
            }
        }
        // In parts: everything comes at the end.
        c.encrypt_init(with(CONTEXT), key).unwrap();
        for part in [&b"this "[..], b"", b"is message"] {
            assert_eq!(c.encrypt_update(part).unwrap(), b"");
        }
        let blob = c.encrypt_final().unwrap();
        c.decrypt_init(with(SAME), key).unwrap();
        blob.chunks(10).for_each(|part| assert_eq!(c.decrypt_update(part).unwrap(), b""));
        assert_eq!(c.decrypt_final().unwrap(), b"this is message");
    }
}

#[test]
fn as_the_api_does() {
    both_ways("SOFTWARE", &["Aliyun_AES_256", "Aliyun_SM4", "Aliyun_AES_128"]);
}

#[test]
fn as_the_api_does_in_a_device() {
    both_ways("HSM", &["Aliyun_AES_256"]);
}

#[test]
fn what_is_refused() {
    let home = Installation::software();
    let id = home.create_key("one", &[]);
    home.create_key("two", &[]);
    let c = home.client();
    let (one, two) = (key(&c, "one"), key(&c, "two"));
    let blob = c.encrypt(with(CONTEXT), one, b"secret").unwrap();
    // Another context, another key, another blob.
    for (mechanism, key) in [(Mech::new(ENVELOPE), one), (with(r#"{"app":"mail"}"#), one), (with(CONTEXT), two)] {
        assert_eq!(c.decrypt(mechanism, key, &blob), Err(CKR_ENCRYPTED_DATA_INVALID));
    }
    for at in [0, 5, 36, 50, blob.len() - 1] {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        assert_eq!(c.decrypt(with(CONTEXT), one, &changed), Err(CKR_ENCRYPTED_DATA_INVALID), "{at}");
    }
    for length in [0, 1, OVERHEAD - 1] {
        assert_eq!(c.decrypt(with(CONTEXT), one, &blob[..length]), Err(CKR_ENCRYPTED_DATA_INVALID), "{length}");
    }
    assert_eq!(c.encrypt(ENVELOPE, one, &[0; 6145]), Err(CKR_DATA_LEN_RANGE));
    // What is no context.
    let long = format!(r#"{{"a":"{}"}}"#, "b".repeat(8192));
    for wrong in ["", "{", "[]", r#"{"a":1}"#, r#"{"a":"1","a":"1"}"#, "\u{0}", &long] {
        assert_eq!(c.encrypt_init(with(wrong), one), Err(CKR_MECHANISM_PARAM_INVALID), "{wrong}");
    }
    assert_eq!(c.encrypt_init(Mech::buffer(ENVELOPE, b"{\"\xff\":\"\"}"), one), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(c.encrypt_init(Mech::with(ENVELOPE, CONTEXT), one), Err(CKR_MECHANISM_PARAM_INVALID));
    // Keys that make no blobs: of the session, raw ones, and those of another type.
    let raw = c.aes(32, &[crate::support::b(CKA_TOKEN, true)]);
    for other in [c.aes(32, &[]), raw] {
        assert_eq!(c.encrypt_init(ENVELOPE, other), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    }
    let generic = c.secret(CKK_GENERIC_SECRET, &[1; 32]);
    c.set(generic, &[crate::support::b(CKA_ENCRYPT, true)]).unwrap();
    assert_eq!(c.encrypt_init(ENVELOPE, generic), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(ENVELOPE, one), Err(CKR_MECHANISM_INVALID));
    // A key that is disabled meanwhile (DESIGN §3), and one that is again there.
    c.encrypt_init(ENVELOPE, one).unwrap();
    home.print(&["DisableKey", "--KeyId", &id]);
    assert_eq!(c.encrypt_data(b"x"), Err(CKR_FUNCTION_REJECTED));
    assert_eq!(c.encrypt_init(ENVELOPE, one), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert!(c.find(&[u(CKA_CLASS, CKO_SECRET_KEY), s(CKA_LABEL, "one")]).is_empty());
    home.print(&["EnableKey", "--KeyId", &id]);
    assert_eq!(c.decrypt(with(CONTEXT), key(&c, "one"), &blob).unwrap(), b"secret");
    // After a rotation the new version encrypts and the old one still decrypts.
    let rotated = home.alikms(&["CreateKeyVersion", "--KeyId", &id]);
    let version = rotated["KeyVersion"]["KeyVersionId"].as_str().unwrap();
    assert_eq!(c.decrypt(with(CONTEXT), one, &blob).unwrap(), b"secret");
    assert_eq!(c.encrypt(ENVELOPE, one, b"new").unwrap()[..36], *version.as_bytes());
}
