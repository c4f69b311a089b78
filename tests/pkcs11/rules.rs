//! Rules of the KMS at the C door: changes by other processes act at once, envelope keys, what destroys what.

use cryptoki_sys::*;

use crate::support::{Client, Installation, KEY_STATE, Mech, P256, Setup, b, s, u};

const NO: CK_RV = CKR_KEY_FUNCTION_NOT_PERMITTED;

/// `alikms DisableKey` acts on the very next C_Sign of every process; EnableKey brings the key back without a restart.
fn disabled(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let id = installation.create_key("web", &["--KeySpec=EC_P256", &format!("--ProtectionLevel={level}")]);
    let key = c.one(CKO_PRIVATE_KEY, "web");
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
    for _ in 0..2 {
        c.sign_init(CKM_ECDSA, key).unwrap();
        let hashed = c.another();
        hashed.sign_init(CKM_ECDSA_SHA256, key).unwrap();
        hashed.sign_update(b"data").unwrap();
        installation.print(&["DisableKey", "--KeyId", &id]);
        assert_eq!(c.sign_data(&[1; 32]), Err(CKR_FUNCTION_REJECTED));
        assert_eq!(c.sign_data(&[1; 32]), Err(CKR_OPERATION_NOT_INITIALIZED));
        let mut len = 64;
        let rv = crate::call!(hashed.m, C_SignFinal(hashed.h, [0u8; 64].as_mut_ptr(), &raw mut len));
        assert_eq!(rv, CKR_FUNCTION_REJECTED);
        assert_eq!(c.sign_init(CKM_ECDSA, key), Err(NO));
        assert_eq!(c.find(&[s(CKA_LABEL, "web")]).len(), 0);
        assert_eq!(c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), s(CKA_LABEL, "web")]).len(), 0);
        assert_eq!(c.get(key, KEY_STATE).unwrap(), b"Disabled");
        installation.print(&["EnableKey", "--KeyId", &id]);
        c.sign_init(CKM_ECDSA, key).unwrap();
        c.sign_data(&[1; 32]).unwrap();
        assert_eq!(c.one(CKO_PRIVATE_KEY, "web"), key, "the same handle");
        assert_eq!(c.get(key, KEY_STATE).unwrap(), b"Enabled");
        hashed.close();
    }
    installation.print(&["ScheduleKeyDeletion", "--KeyId", &id, "--PendingWindowInDays=7"]);
    assert_eq!(c.sign_init(CKM_ECDSA, key), Err(NO));
    assert_eq!(c.find(&[s(CKA_LABEL, "web")]).len(), 0);
    installation.print(&["CancelKeyDeletion", "--KeyId", &id]);
    installation.print(&["EnableKey", "--KeyId", &id]);
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();
}

#[test]
fn disabled_in_software() {
    disabled("SOFTWARE");
}

#[test]
fn disabled_in_a_device() {
    disabled("HSM");
}

/// A session remembers what an Init found out about a key: only for this mechanism and this use, and only while nothing changes.
#[test]
fn what_an_init_found_out() {
    let installation = Installation::software();
    let c = installation.client();
    let other = c.another();
    let token = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "remembered")]).unwrap();
    for (public, private) in [token, c.session_pair()] {
        for _ in 0..3 {
            let signature = c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();
            c.verify(CKM_ECDSA, public, &[1; 32], &signature).unwrap();
            // The other half, another use, another mechanism.
            assert_eq!(c.sign(CKM_ECDSA, public, &[1; 32]), Err(NO));
            assert_eq!(c.verify(CKM_ECDSA, private, &[1; 32], &signature), Err(NO));
            assert_eq!(c.sign(CKM_RSA_PKCS, private, &[1; 32]), Err(CKR_KEY_TYPE_INCONSISTENT));
            assert_eq!(c.sign(CKM_SHA256, private, &[1; 32]), Err(CKR_MECHANISM_INVALID));
        }
        // A change by another session.
        other.set(private, &[b(CKA_SIGN, false)]).unwrap();
        assert_eq!(c.sign(CKM_ECDSA, private, &[1; 32]), Err(NO));
    }
    let (_, private) = c.session_pair();
    c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();
    other.destroy(private).unwrap();
    assert_eq!(c.sign(CKM_ECDSA, private, &[1; 32]), Err(CKR_KEY_HANDLE_INVALID));
}

/// Envelope keys (CreateKey) refuse raw mechanisms: their ciphertexts are bound to an EncryptionContext.
#[test]
fn envelope_keys() {
    let installation = Installation::software();
    installation.create_key("env", &["--KeySpec=Aliyun_AES_256"]);
    let c = installation.client();
    let key = c.one(CKO_SECRET_KEY, "env");
    let mechanisms = [
        Mech::new(CKM_AES_ECB),
        Mech::with(CKM_AES_CBC, [0; 16]),
        Mech::with(CKM_AES_CBC_PAD, [0; 16]),
        Mech::ctr([0; 16], 128),
        Mech::gcm(&[0; 12], b"", 128),
        Mech::new(CKM_AES_KEY_WRAP),
        Mech::new(CKM_AES_KEY_WRAP_KWP),
    ];
    for mechanism in mechanisms {
        let refused = |rv: Result<(), CK_RV>| assert!(matches!(rv, Err(NO | CKR_MECHANISM_INVALID)), "{rv:?}");
        refused(c.encrypt_init(mechanism.clone(), key));
        refused(c.decrypt_init(mechanism, key));
    }
    assert!(c.sign_init(CKM_AES_CMAC, key).is_err());
    // Not by an attribute either.
    for attr in [b(CKA_SIGN, true), b(CKA_ENCRYPT, true), Attr(CKA_ALLOWED_MECHANISMS, vec![])] {
        let _ = c.set(key, &[attr]);
        assert!(c.encrypt_init(CKM_AES_ECB, key).is_err());
        assert!(c.sign_init(CKM_AES_CMAC, key).is_err());
    }
    // Raw keys the other way round: the API refuses them.
    c.aes(32, &[b(CKA_TOKEN, true), s(CKA_LABEL, "raw")]);
    let output = installation
        .command(env!("CARGO_BIN_EXE_alikms"))
        .args(["Encrypt", "--KeyId", "alias/raw", "--Plaintext", "c2VjcmV0"])
        .output()
        .unwrap();
    assert!(!output.status.success());
}

use crate::support::Attr;

/// Usage of a KMS key is the KMS's to decide: C_SetAttributeValue may take a use away, never give one.
#[test]
fn usage_cannot_be_widened() {
    let installation = Installation::software();
    installation.create_key("web", &["--KeySpec=RSA_2048", "--KeyUsage=SIGN/VERIFY"]);
    let c = installation.client();
    let key = c.one(CKO_PRIVATE_KEY, "web");
    for kind in [CKA_DECRYPT, CKA_UNWRAP, CKA_DERIVE, CKA_SIGN_RECOVER] {
        assert_eq!(c.set(key, &[b(kind, true)]), Err(CKR_ATTRIBUTE_READ_ONLY), "{kind:#x}");
    }
    assert_eq!(c.decrypt_init(CKM_RSA_PKCS, key), Err(NO));
    c.set(key, &[b(CKA_SIGN, true)]).unwrap();
    c.sign(CKM_RSA_PKCS, key, b"x").unwrap();
    c.set(key, &[b(CKA_SIGN, false)]).unwrap();
    assert_eq!(c.sign_init(CKM_RSA_PKCS, key), Err(NO));
}

/// C_DestroyObject (DESIGN §3).
#[test]
fn destruction() {
    let installation = Installation::software();
    let c = installation.client();
    let (public, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "gone")]).unwrap();
    let id = String::from_utf8(c.get(private, crate::support::KEY_ID).unwrap()).unwrap();
    // A public key is hidden, the private one goes on.
    c.destroy(public).unwrap();
    assert_eq!(c.find(&[s(CKA_LABEL, "gone")]), [private]);
    c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();
    // The private key of the only version: into the deletion window, recoverable.
    c.destroy(private).unwrap();
    assert_eq!(c.find(&[s(CKA_LABEL, "gone")]).len(), 0);
    assert_eq!(c.sign_init(CKM_ECDSA, private), Err(NO));
    assert_eq!(c.destroy(private), Err(CKR_OBJECT_HANDLE_INVALID));
    let answer = installation.alikms(&["DescribeKey", "--KeyId", &id]);
    assert_eq!(answer["KeyMetadata"]["KeyState"], "PendingDeletion");
    installation.print(&["CancelKeyDeletion", "--KeyId", &id]);
    installation.print(&["EnableKey", "--KeyId", &id]);
    c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();

    // A whole pair in the other order: the public half is there to be destroyed until it has been, and comes back as well.
    let (public, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "both")]).unwrap();
    let id = String::from_utf8(c.get(private, crate::support::KEY_ID).unwrap()).unwrap();
    c.destroy(private).unwrap();
    c.destroy(public).unwrap();
    assert_eq!(c.destroy(public), Err(CKR_OBJECT_HANDLE_INVALID));
    installation.print(&["CancelKeyDeletion", "--KeyId", &id]);
    installation.print(&["EnableKey", "--KeyId", &id]);
    assert_eq!(c.find(&[s(CKA_LABEL, "both")]).len(), 2);
    installation.print(&["DisableKey", "--KeyId", &id]);
    assert_eq!(c.destroy(public), Err(CKR_OBJECT_HANDLE_INVALID), "out of sight, and not by being destroyed");

    // A key with two versions is not one tool's to destroy.
    let many = installation.create_key("many", &["--KeySpec=EC_P256"]);
    installation.print(&["CreateKeyVersion", "--KeyId", &many]);
    let key = c.one(CKO_PRIVATE_KEY, "many");
    assert_eq!(c.destroy(key), Err(CKR_ACTION_PROHIBITED));
    c.sign(CKM_ECDSA, key, &[1; 32]).unwrap();

    let ro = Client::open_read_only(c.m);
    assert_eq!(ro.destroy(key), Err(CKR_SESSION_READ_ONLY));
    assert_eq!(c.destroy(0), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(c.destroy(CK_ULONG::MAX), Err(CKR_OBJECT_HANDLE_INVALID));
}

/// `destroy = "immediate"`: gone at once, in the device too; but only what was made through PKCS#11.
fn destroyed_at_once(device: bool) {
    let installation = Installation::new(&Setup { device, token: "destroy = \"immediate\"", ..Setup::default() });
    let c = installation.client();
    let own = installation.create_key("own", &["--KeySpec=EC_P256"]);
    let (_, private) = c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "tool")]).unwrap();
    let id = String::from_utf8(c.get(private, crate::support::KEY_ID).unwrap()).unwrap();
    c.sign(CKM_ECDSA, private, &[1; 32]).unwrap();
    c.destroy(private).unwrap();
    assert_eq!(c.get(private, CKA_LABEL), Err(CKR_OBJECT_HANDLE_INVALID));
    assert_eq!(c.sign_init(CKM_ECDSA, private), Err(CKR_KEY_HANDLE_INVALID));
    let described = |id: &str| {
        let words = ["DescribeKey", "--KeyId", id, "--query", "KeyMetadata.KeyState"];
        installation.command(env!("CARGO_BIN_EXE_alikms")).args(words).output().unwrap()
    };
    assert!(!described(&id).status.success());
    c.destroy(c.one(CKO_PRIVATE_KEY, "own")).unwrap();
    assert_eq!(described(&own).stdout, b"PendingDeletion\n");
    // The label is free again.
    c.ec_pair(P256, &[b(CKA_TOKEN, true), s(CKA_LABEL, "tool")]).unwrap();
    c.one(CKO_PRIVATE_KEY, "tool");
}

#[test]
fn destroyed_at_once_in_software() {
    destroyed_at_once(false);
}

#[test]
fn destroyed_at_once_in_a_device() {
    destroyed_at_once(true);
}
