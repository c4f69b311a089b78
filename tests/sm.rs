//! SM2, SM3 and SM4 through the API and at the C door, with OpenSSL as the other side.
// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

mod support;

#[path = "sm/alias.rs"]
mod alias;
#[path = "sm/api.rs"]
mod api;
#[path = "sm/certificates.rs"]
mod certificates;
#[path = "sm/device.rs"]
mod device;
#[path = "sm/token.rs"]
mod token;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cryptoki_sys::*;

use support::{Client, Installation, b, openssl, u, v};

pub const SM2_PAIR_GEN: CK_MECHANISM_TYPE = 0xC14C_4901;
pub const SM2: CK_MECHANISM_TYPE = 0xC14C_4902;
pub const SM2_DER: CK_MECHANISM_TYPE = 0xC14C_4903;
pub const SM2_SM3: CK_MECHANISM_TYPE = 0xC14C_4904;
pub const SM2_SM3_DER: CK_MECHANISM_TYPE = 0xC14C_4905;
pub const SM2_ENCRYPT: CK_MECHANISM_TYPE = 0xC14C_4906;
pub const SM2_C1C3C2: CK_MECHANISM_TYPE = 0xC14C_4907;
pub const SM2_C1C2C3: CK_MECHANISM_TYPE = 0xC14C_4908;
pub const SM3: CK_MECHANISM_TYPE = 0xC14C_4910;
pub const SM3_HMAC: CK_MECHANISM_TYPE = 0xC14C_4911;
pub const SM3_HMAC_GENERAL: CK_MECHANISM_TYPE = 0xC14C_4912;
pub const SM4_GEN: CK_MECHANISM_TYPE = 0xC14C_4920;
pub const SM4_ECB: CK_MECHANISM_TYPE = 0xC14C_4921;
pub const SM4_CBC: CK_MECHANISM_TYPE = 0xC14C_4922;
pub const SM4_CBC_PAD: CK_MECHANISM_TYPE = 0xC14C_4923;
pub const SM4_CTR: CK_MECHANISM_TYPE = 0xC14C_4924;
pub const SM4_GCM: CK_MECHANISM_TYPE = 0xC14C_4925;
pub const SM4_ECB_DATA: CK_MECHANISM_TYPE = 0xC14C_4926;
pub const SM4_CBC_DATA: CK_MECHANISM_TYPE = 0xC14C_4927;
pub const CKK_SM4: CK_KEY_TYPE = 0xC14C_4901;

/// DER of 1.2.156.10197.1.301.
pub const SM2_OID: &[u8] = &[0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d];
/// The usual ID, as openssl takes it.
pub const DISTID: &str = "distid:1234567812345678";
pub const MESSAGE: &[u8] = b"this is message\n";

pub fn base64(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

pub fn unbase64(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

/// A file of an installation with this in it.
pub fn file(home: &Installation, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = home.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// `openssl` in the installation's directory, which must succeed.
pub fn ssl(home: &Installation, words: &str) -> Vec<u8> {
    let words: Vec<&str> = words.split_whitespace().collect();
    openssl(&dir(home), &words).unwrap_or_else(|error| panic!("{error}"))
}

pub fn ssl_fails(home: &Installation, words: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    assert!(openssl(&dir(home), &words).is_err(), "openssl {words:?}");
}

fn dir(home: &Installation) -> PathBuf {
    home.path("x").parent().map(Path::to_path_buf).unwrap()
}

/// What an action that must fail says.
pub fn refused(home: &Installation, args: &[&str]) -> String {
    let output = home.command(env!("CARGO_BIN_EXE_alikms")).args(args).output().unwrap();
    assert!(!output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

/// The first version of a key.
pub fn version(home: &Installation, key: &str) -> String {
    let versions = home.alikms(&["ListKeyVersions", "--KeyId", key]);
    versions["KeyVersions"]["KeyVersion"][0]["KeyVersionId"].as_str().unwrap().to_owned()
}

/// A key pair of openssl's: in `name`.pem and `name`.pub; answers scalar and 04 ‖ x ‖ y.
pub fn openssl_pair(home: &Installation, name: &str) -> (Vec<u8>, Vec<u8>) {
    ssl(home, &format!("genpkey -algorithm SM2 -out {name}.pem"));
    ssl(home, &format!("pkey -in {name}.pem -pubout -out {name}.pub"));
    // ECPrivateKey inside PKCS#8: the scalar is the OCTET STRING of 32 bytes after the version.
    let der = ssl(home, &format!("pkey -in {name}.pem -outform DER"));
    let at = der.windows(5).position(|window| window == [2, 1, 1, 4, 32]).expect("a scalar") + 5;
    let public = ssl(home, &format!("pkey -in {name}.pem -pubout -outform DER"));
    (der[at..at + 32].to_vec(), public[public.len() - 65..].to_vec())
}

/// That pair as a private key of the token.
pub fn import(c: &Client, scalar: &[u8], label: &str, uses: &[CK_ATTRIBUTE_TYPE]) -> CK_OBJECT_HANDLE {
    let mut template = vec![
        u(CKA_CLASS, CKO_PRIVATE_KEY),
        u(CKA_KEY_TYPE, CKK_EC),
        b(CKA_TOKEN, true),
        v(CKA_LABEL, label),
        v(CKA_EC_PARAMS, SM2_OID),
        v(CKA_VALUE, scalar),
    ];
    for kind in [CKA_SIGN, CKA_DECRYPT, CKA_DERIVE] {
        template.push(b(kind, uses.contains(&kind)));
    }
    c.create(&template).unwrap()
}

/// SM2Cipher of GM/T 0009 as C1 ‖ C3 ‖ C2, and back: independent of the module's own.
pub fn raw_of(sealed: &[u8]) -> Vec<u8> {
    let (mut parts, mut rest) = (Vec::new(), tlv(sealed).0);
    while !rest.is_empty() {
        let (part, behind) = tlv(rest);
        parts.push(part);
        rest = behind;
    }
    let number = |bytes: &[u8]| {
        let mut out = vec![0; 32];
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out[32 - bytes.len()..].copy_from_slice(bytes);
        out
    };
    [&[4][..], &number(parts[0]), &number(parts[1]), parts[2], parts[3]].concat()
}

fn tlv(der: &[u8]) -> (&[u8], &[u8]) {
    let (len, head) = match der[1] {
        0x81 => (usize::from(der[2]), 3),
        0x82 => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
        len => (usize::from(len), 2),
    };
    (&der[head..head + len], &der[head + len..])
}

pub fn der_of(raw: &[u8]) -> Vec<u8> {
    let put = |tag: u8, body: &[u8]| {
        let len = match body.len() {
            len @ 0..128 => vec![len as u8],
            len @ 128..256 => vec![0x81, len as u8],
            len => vec![0x82, (len >> 8) as u8, len as u8],
        };
        [&[tag][..], &len, body].concat()
    };
    let number = |bytes: &[u8]| {
        let bytes = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let zero: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
        put(2, &[zero, bytes].concat())
    };
    let parts = [number(&raw[1..33]), number(&raw[33..65]), put(4, &raw[65..97]), put(4, &raw[97..])];
    put(0x30, &parts.concat())
}
