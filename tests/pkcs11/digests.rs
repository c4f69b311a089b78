//! Digests: known answers, in one part and in many, keys digested.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Installation, b, hex, openssl, u, v};

const NAMES: &[(CK_MECHANISM_TYPE, &str)] = &[
    (CKM_SHA_1, "sha1"),
    (CKM_SHA224, "sha224"),
    (CKM_SHA256, "sha256"),
    (CKM_SHA384, "sha384"),
    (CKM_SHA512, "sha512"),
    (CKM_SHA512_224, "sha512-224"),
    (CKM_SHA512_256, "sha512-256"),
    (CKM_SHA3_224, "sha3-224"),
    (CKM_SHA3_256, "sha3-256"),
    (CKM_SHA3_384, "sha3-384"),
    (CKM_SHA3_512, "sha3-512"),
];

#[test]
fn as_openssl_has_them() {
    let installation = Installation::software();
    // Public sessions may digest.
    let c = crate::support::Client::open_read_only(installation.start());
    let data: Vec<u8> = (0..10_000u32).map(|i| (i * 7) as u8).collect();
    std::fs::write(installation.path("data"), &data).unwrap();
    for (kind, name) in NAMES {
        let flag = format!("-{name}");
        let expected = openssl(installation.path(".").as_path(), &["dgst", &flag, "-binary", "data"]).unwrap();
        let found = c.digest(*kind, &data).unwrap();
        assert_eq!(hex(&found), hex(&expected), "{name}");
        for size in [1usize, 63, 64, 65, 4096] {
            c.digest_init(*kind).unwrap();
            for part in data.chunks(size) {
                c.digest_update(part).unwrap();
            }
            assert_eq!(c.digest_final().unwrap(), found, "{name} in parts of {size}");
        }
        c.digest_init(*kind).unwrap();
        assert_eq!(c.digest_final().unwrap(), c.digest(*kind, b"").unwrap());
    }
}

#[test]
fn of_keys() {
    let installation = Installation::software();
    let c = installation.client();
    let plain = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_GENERIC_SECRET), v(CKA_VALUE, b"secret value")];
    let key = c.create(&plain).unwrap();
    let sensitive = c.create(&[&plain[..], &[b(CKA_SENSITIVE, true)]].concat()).unwrap();
    let (public, private) = c.session_pair();
    c.digest_init(CKM_SHA256).unwrap();
    c.digest_update(b"before ").unwrap();
    assert_eq!(call!(c.m, C_DigestKey(c.h, key)), CKR_OK);
    assert_eq!(c.digest_final().unwrap(), c.digest(CKM_SHA256, b"before secret value").unwrap());
    for (object, code) in [
        (sensitive, CKR_KEY_INDIGESTIBLE),
        (public, CKR_KEY_INDIGESTIBLE),
        (private, CKR_KEY_INDIGESTIBLE),
        (12345, CKR_KEY_HANDLE_INVALID),
    ] {
        c.digest_init(CKM_SHA256).unwrap();
        assert_eq!(call!(c.m, C_DigestKey(c.h, object)), code);
        assert_eq!(c.digest_update(b"x"), Err(CKR_OPERATION_NOT_INITIALIZED), "an error ends the operation");
    }
}
