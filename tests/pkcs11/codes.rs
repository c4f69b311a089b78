//! Return codes that strict clients check (reference: conformance.md, "Codes").

use std::ptr::null_mut as n;

use cryptoki_sys::*;

use crate::call;
use crate::support::{Installation, Mech, b};

#[test]
fn handles_and_mechanisms() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.session_pair();
    let (rsa_public, rsa_private) = c.rsa_pair(2048, &[], &[b(CKA_DECRYPT, true)]).unwrap();
    let aes = c.aes(16, &[]);
    let data = c.create(&[crate::support::u(CKA_CLASS, CKO_DATA)]).unwrap();
    for handle in [0, 999, CK_ULONG::MAX, 1 << 62, 1 << 61, data] {
        assert_eq!(c.sign_init(CKM_ECDSA, handle), Err(CKR_KEY_HANDLE_INVALID), "{handle:#x}");
        assert_eq!(c.verify_init(CKM_ECDSA, handle), Err(CKR_KEY_HANDLE_INVALID), "{handle:#x}");
        assert_eq!(c.encrypt_init(CKM_AES_ECB, handle), Err(CKR_KEY_HANDLE_INVALID), "{handle:#x}");
        assert_eq!(c.decrypt_init(CKM_AES_ECB, handle), Err(CKR_KEY_HANDLE_INVALID), "{handle:#x}");
        let derived = c.derive(&Mech::ecdh(CKM_ECDH1_DERIVE, &[4; 65]), handle, &[]);
        assert_eq!(derived, Err(CKR_KEY_HANDLE_INVALID), "{handle:#x}");
    }
    for mechanism in [CKM_SHA256, CKM_AES_KEY_GEN, CKM_MD5_RSA_PKCS, CKM_XEDDSA, CK_ULONG::MAX] {
        assert_eq!(c.sign_init(mechanism, private), Err(CKR_MECHANISM_INVALID), "{mechanism:#x}");
        assert_eq!(c.encrypt_init(mechanism, aes), Err(CKR_MECHANISM_INVALID), "{mechanism:#x}");
    }
    assert_eq!(c.digest_init(CKM_ECDSA), Err(CKR_MECHANISM_INVALID));
    // Of the wrong type.
    assert_eq!(c.sign_init(CKM_ECDSA, rsa_private), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(CKM_RSA_PKCS, private), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.verify_init(CKM_SHA256_RSA_PKCS, public), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.encrypt_init(CKM_AES_ECB, rsa_public), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(CKM_AES_CMAC, c.secret(CKK_GENERIC_SECRET, &[1; 16])), Err(CKR_KEY_TYPE_INCONSISTENT));
    assert_eq!(c.sign_init(CKM_SHA256_HMAC, aes), Err(CKR_KEY_TYPE_INCONSISTENT));
    // Of the wrong half or use.
    assert!(c.sign_init(CKM_ECDSA, public).is_err());
    assert!(c.verify_init(CKM_ECDSA, private).is_err());
    assert_eq!(c.sign_init(CKM_RSA_PKCS, rsa_private), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    assert_eq!(c.encrypt_init(CKM_AES_ECB, c.aes(16, &[b(CKA_WRAP, false)])), Ok(()));
    let only_decrypts =
        c.generate(CKM_AES_KEY_GEN, &[crate::support::u(CKA_VALUE_LEN, 16), b(CKA_DECRYPT, true)]).unwrap();
    assert_eq!(call!(c.m, C_SessionCancel(c.h, CKF_ENCRYPT)), CKR_OK);
    assert_eq!(c.encrypt_init(CKM_AES_ECB, only_decrypts), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
    // Parameters.
    for parameter in [&[][..], &[0; 15], &[0; 17]] {
        for mechanism in [CKM_AES_CBC, CKM_AES_CBC_PAD] {
            assert_eq!(c.encrypt_init(Mech::with(mechanism, parameter), aes), Err(CKR_MECHANISM_PARAM_INVALID));
        }
        assert_eq!(c.encrypt_init(Mech::with(CKM_AES_CTR, parameter), aes), Err(CKR_MECHANISM_PARAM_INVALID));
        assert_eq!(c.encrypt_init(Mech::with(CKM_AES_GCM, parameter), aes), Err(CKR_MECHANISM_PARAM_INVALID));
        assert_eq!(
            c.decrypt_init(Mech::with(CKM_RSA_PKCS_OAEP, parameter), rsa_private),
            Err(CKR_MECHANISM_PARAM_INVALID)
        );
    }
    for kind in [CKM_AES_ECB, CKM_AES_KEY_WRAP_KWP] {
        assert_eq!(c.encrypt_init(Mech::with(kind, [1; 16]), aes), Err(CKR_MECHANISM_PARAM_INVALID));
    }
    assert_eq!(c.digest_init(Mech::with(CKM_SHA256, [1])), Err(CKR_MECHANISM_PARAM_INVALID));
    assert_eq!(c.generate(Mech::with(CKM_AES_KEY_GEN, [1]), &[]), Err(CKR_MECHANISM_PARAM_INVALID));
    let null = std::ptr::null_mut();
    assert_eq!(call!(c.m, C_GenerateKey(c.h, null, std::ptr::null_mut(), 0, std::ptr::null_mut())), CKR_ARGUMENTS_BAD);
}

/// The session handle is checked before anything else.
#[test]
fn the_session_comes_first() {
    let installation = Installation::software();
    let c = installation.client();
    let (m, h) = (c.m, c.h + (1 << 20));
    let bad = CKR_SESSION_HANDLE_INVALID;
    assert_eq!(call!(m, C_SignInit(h, n(), 0)), bad);
    assert_eq!(call!(m, C_Sign(h, n(), 5, n(), n())), bad);
    assert_eq!(call!(m, C_CreateObject(h, n(), 5, n())), bad);
    assert_eq!(call!(m, C_GetAttributeValue(h, 0, n(), 5)), bad);
    assert_eq!(call!(m, C_FindObjectsInit(h, n(), 5)), bad);
    assert_eq!(call!(m, C_FindObjects(h, n(), 5, n())), bad);
    assert_eq!(call!(m, C_GenerateKey(h, n(), n(), 5, n())), bad);
    assert_eq!(call!(m, C_GenerateKeyPair(h, n(), n(), 5, n(), 5, n(), n())), bad);
    assert_eq!(call!(m, C_DeriveKey(h, n(), 0, n(), 5, n())), bad);
    assert_eq!(call!(m, C_WrapKey(h, n(), 0, 0, n(), n())), bad);
    assert_eq!(call!(m, C_UnwrapKey(h, n(), 0, n(), 5, n(), 5, n())), bad);
    assert_eq!(call!(m, C_GetOperationState(h, n(), n())), bad);
    assert_eq!(call!(m, C_SignRecoverInit(h, n(), 0)), bad);
    assert_eq!(call!(m, C_EncryptMessage(h, n(), 0, n(), 0, n(), 0, n(), n())), bad);
    assert_eq!(call!(m, C_SetPIN(h, n(), 5, n(), 5)), bad);
    assert_eq!(call!(m, C_GetObjectSize(h, 0, n())), bad);
}

/// What is not there says so.
#[test]
fn not_supported() {
    let installation = Installation::software();
    let c = installation.client();
    let (m, h) = (c.m, c.h);
    let no = CKR_FUNCTION_NOT_SUPPORTED;
    assert_eq!(call!(m, C_SignRecoverInit(h, n(), 0)), no);
    assert_eq!(call!(m, C_VerifyRecoverInit(h, n(), 0)), no);
    assert_eq!(call!(m, C_EncapsulateKey(h, n(), 0, n(), 0, n(), n(), n())), no);
    assert_eq!(call!(m, C_GetFunctionStatus(h)), CKR_FUNCTION_NOT_PARALLEL);
    assert_eq!(call!(m, C_CancelFunction(h)), CKR_FUNCTION_NOT_PARALLEL);
}
