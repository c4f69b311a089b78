//! Two operations at once, saved digests, and signatures that come before the data.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, two_calls};

type Fed = Result<Vec<u8>, CK_RV>;

/// One of the four, with both calls of the convention: a length query feeds neither operation.
macro_rules! dual {
    ($($name:ident $C_Name:ident;)*) => {
        $(fn $name(c: &Client, part: &[u8]) -> Fed {
            let (start, len) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
            two_calls(true, |out, out_len| call!(c.m, $C_Name(c.h, start, len, out, out_len)))
        })*
    };
}

dual! {
    digest_encrypt C_DigestEncryptUpdate;
    decrypt_digest C_DecryptDigestUpdate;
    sign_encrypt C_SignEncryptUpdate;
    decrypt_verify C_DecryptVerifyUpdate;
}

#[test]
fn two_at_once() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    let (public, private) = c.session_pair();
    assert_ne!(c.m.token_info().flags & CKF_DUAL_CRYPTO_OPERATIONS, 0);
    let cbc = Mech::with(CKM_AES_CBC_PAD, [3; 16]);
    let data = [5u8; 100];
    let (whole, digest) = (c.encrypt(cbc.clone(), key, &data).unwrap(), c.digest(CKM_SHA256, &data).unwrap());

    c.encrypt_init(cbc.clone(), key).unwrap();
    c.digest_init(CKM_SHA256).unwrap();
    let mut out = digest_encrypt(&c, &data[..33]).unwrap();
    out.extend(digest_encrypt(&c, &data[33..]).unwrap());
    out.extend(c.encrypt_final().unwrap());
    assert_eq!((&out, c.digest_final().unwrap()), (&whole, digest.clone()));

    c.decrypt_init(cbc.clone(), key).unwrap();
    c.digest_init(CKM_SHA256).unwrap();
    let mut plain = decrypt_digest(&c, &whole[..32]).unwrap();
    plain.extend(decrypt_digest(&c, &whole[32..]).unwrap());
    let rest = c.decrypt_final().unwrap();
    c.digest_update(&rest).unwrap();
    plain.extend(rest);
    assert_eq!((plain.as_slice(), c.digest_final().unwrap()), (&data[..], digest));

    c.encrypt_init(cbc.clone(), key).unwrap();
    c.sign_init(CKM_ECDSA_SHA256, private).unwrap();
    let mut out = sign_encrypt(&c, &data).unwrap();
    out.extend(c.encrypt_final().unwrap());
    let signature = c.sign_final().unwrap();
    assert_eq!(out, whole);
    c.decrypt_init(cbc.clone(), key).unwrap();
    c.verify_init(CKM_ECDSA_SHA256, public).unwrap();
    decrypt_verify(&c, &whole).unwrap();
    c.verify_update(&c.decrypt_final().unwrap()).unwrap();
    c.verify_final(&signature).unwrap();

    // Neither alone.
    assert_eq!(digest_encrypt(&c, b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
    c.encrypt_init(cbc.clone(), key).unwrap();
    assert_eq!(digest_encrypt(&c, b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
    assert_eq!(c.encrypt_update(b"x"), Err(CKR_OPERATION_NOT_INITIALIZED), "an error ends both");
    c.sign_init(CKM_ECDSA_SHA256, private).unwrap();
    assert_eq!(sign_encrypt(&c, b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
    assert_eq!(c.sign_update(b"x"), Err(CKR_OPERATION_NOT_INITIALIZED));
}

fn state(c: &Client) -> Fed {
    two_calls(true, |out, len| call!(c.m, C_GetOperationState(c.h, out, len)))
}

fn restore(c: &Client, state: &[u8], keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE)) -> CK_RV {
    call!(c.m, C_SetOperationState(c.h, state.as_ptr().cast_mut(), state.len() as CK_ULONG, keys.0, keys.1))
}

#[test]
fn saved_digests() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(16, &[]);
    assert_eq!(state(&c), Err(CKR_OPERATION_NOT_INITIALIZED));
    for mechanism in [CKM_SHA_1, CKM_SHA256, CKM_SHA512, CKM_SHA3_256, 0xC14C_4910] {
        c.digest_init(mechanism).unwrap();
        c.digest_update(b"one ").unwrap();
        let saved = state(&c).unwrap();
        c.digest_update(b"way").unwrap();
        let one = c.digest_final().unwrap();
        assert_eq!(one, c.digest(mechanism, b"one way").unwrap());
        // In another session, as often as one likes, whatever goes on there.
        let other = c.another();
        for _ in 0..2 {
            other.encrypt_init(CKM_AES_ECB, key).unwrap();
            assert_eq!(restore(&other, &saved, (0, 0)), CKR_OK);
            assert_eq!(other.encrypt_update(&[0; 16]), Err(CKR_OPERATION_NOT_INITIALIZED));
            other.digest_update(b"another").unwrap();
            assert_eq!(other.digest_final().unwrap(), c.digest(mechanism, b"one another").unwrap());
        }
        // Forged, cut, longer, of nothing: refused, and nothing is lost by it.
        other.digest_init(CKM_SHA256).unwrap();
        for byte in 0..saved.len() {
            let mut forged = saved.clone();
            forged[byte] ^= 1;
            assert_eq!(restore(&other, &forged, (0, 0)), CKR_SAVED_STATE_INVALID, "byte {byte}");
            assert_eq!(restore(&other, &saved[..byte], (0, 0)), CKR_SAVED_STATE_INVALID, "{byte} bytes");
        }
        assert_eq!(restore(&other, &[&saved[..], &[0]].concat(), (0, 0)), CKR_SAVED_STATE_INVALID);
        assert_eq!(restore(&other, &saved, (key, 0)), CKR_KEY_NOT_NEEDED);
        assert_eq!(restore(&other, &saved, (0, key)), CKR_KEY_NOT_NEEDED);
        assert_eq!(other.digest_data(b"").unwrap().len(), 32);
        other.close();
    }
    // Another process has another key.
    let elsewhere = installation.client();
    c.digest_init(CKM_SHA256).unwrap();
    assert_eq!(restore(&elsewhere, &state(&c).unwrap(), (0, 0)), CKR_SAVED_STATE_INVALID);
    // What cannot be saved.
    c.encrypt_init(CKM_AES_ECB, key).unwrap();
    assert_eq!(state(&c), Err(CKR_STATE_UNSAVEABLE));
    assert_eq!(call!(c.m, C_SessionCancel(c.h, CKF_DIGEST)), CKR_OK);
    assert_eq!(state(&c), Err(CKR_STATE_UNSAVEABLE));
}

/// C_VerifySignature…: the signature first.
#[test]
fn signatures_first() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.session_pair();
    let secret = c.secret(CKK_GENERIC_SECRET, &[1; 32]);
    let m = c.m;
    let data = b"what was signed";
    let (start, len) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
    for (mechanism, inner, outer) in [(CKM_ECDSA_SHA256, private, public), (CKM_SHA256_HMAC, secret, secret)] {
        let signature = c.sign(mechanism, inner, data).unwrap();
        let init = |signature: &[u8]| {
            let mechanism = Mech::new(mechanism);
            let mut raw = mechanism.raw();
            let (place, size) = (signature.as_ptr().cast_mut(), signature.len() as CK_ULONG);
            call!(m, C_VerifySignatureInit(c.h, &raw mut raw, outer, place, size))
        };
        assert_eq!(init(&signature), CKR_OK);
        assert_eq!(init(&signature), CKR_OPERATION_ACTIVE);
        assert_eq!(call!(m, C_VerifySignature(c.h, start, len)), CKR_OK);
        assert_eq!(call!(m, C_VerifySignature(c.h, start, len)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(init(&signature), CKR_OK);
        assert_eq!(call!(m, C_VerifySignatureUpdate(c.h, start, 4)), CKR_OK);
        assert_eq!(call!(m, C_VerifySignatureUpdate(c.h, start.wrapping_add(4), len - 4)), CKR_OK);
        assert_eq!(call!(m, C_VerifySignatureFinal(c.h)), CKR_OK);
        assert_eq!(init(&signature), CKR_OK);
        assert_eq!(call!(m, C_VerifySignature(c.h, start, len - 1)), CKR_SIGNATURE_INVALID);
        assert_eq!(init(&signature[1..]), CKR_SIGNATURE_LEN_RANGE);
        assert_eq!(init(&signature), CKR_OK);
        let null = std::ptr::null_mut();
        assert_eq!(call!(m, C_VerifySignatureUpdate(c.h, null, 4)), CKR_ARGUMENTS_BAD);
        assert_eq!(call!(m, C_VerifySignatureFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(init(&signature), CKR_OK);
        assert_eq!(call!(m, C_VerifySignatureInit(c.h, null.cast(), 0, null, 0)), CKR_OK, "cancelled");
        assert_eq!(call!(m, C_VerifySignatureFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
        assert_eq!(init(&signature), CKR_OK);
        assert_eq!(call!(m, C_SessionCancel(c.h, CKF_VERIFY)), CKR_OK);
        assert_eq!(call!(m, C_VerifySignatureFinal(c.h)), CKR_OPERATION_NOT_INITIALIZED);
    }
}
