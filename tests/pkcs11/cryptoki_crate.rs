//! The crate `cryptoki`, an independent client, does what programs in Rust do with it.

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass};
use cryptoki::session::{SessionState, UserType};
use cryptoki::types::AuthPin;

use crate::support::{Installation, P256, PIN, openssl};

/// `cryptoki` initialises without naming a configuration; the one of this process is named in its environment. No other
/// test of this binary reads it: they name theirs through `pReserved`.
fn context(installation: &Installation) -> Pkcs11 {
    let module = installation.load();
    // SAFETY: nobody else in this process reads or writes this variable.
    unsafe { std::env::set_var("ALIKMS_CONF", installation.conf()) };
    let pkcs11 = Pkcs11::new(&module.path).unwrap();
    pkcs11.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    pkcs11
}

#[test]
fn a_whole_life() {
    let installation = Installation::software();
    installation.create_key("kms", &["--KeySpec=RSA_2048", "--KeyUsage=SIGN/VERIFY"]);
    let pkcs11 = context(&installation);
    let slot = pkcs11.get_slots_with_initialized_token().unwrap()[0];
    let token = pkcs11.get_token_info(slot).unwrap();
    assert_eq!((token.label(), token.manufacturer_id(), token.model()), ("alikms", "alikms", "alikms-pkcs11"));
    assert!(token.login_required() && token.token_initialized() && token.user_pin_initialized());
    assert!(pkcs11.get_mechanism_list(slot).unwrap().contains(&MechanismType::ECDSA_SHA256));

    let session = pkcs11.open_rw_session(slot).unwrap();
    session.login(UserType::User, Some(&AuthPin::new(PIN.to_owned().into()))).unwrap();
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwUser);

    // A pair of its own.
    let public = [Attribute::Token(true), Attribute::EcParams(P256.to_vec()), Attribute::Label(b"rust".to_vec())];
    let private = [Attribute::Token(true), Attribute::Sign(true), Attribute::Label(b"rust".to_vec())];
    let (public, private) = session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).unwrap();
    let signature = session.sign(&Mechanism::EcdsaSha256, private, b"data").unwrap();
    session.verify(&Mechanism::EcdsaSha256, public, b"data", &signature).unwrap();
    session.sign_init(&Mechanism::EcdsaSha256, private).unwrap();
    session.sign_update(b"da").unwrap();
    session.sign_update(b"ta").unwrap();
    let signature = session.sign_final().unwrap();
    session.verify(&Mechanism::EcdsaSha256, public, b"data", &signature).unwrap();

    // A key of the KMS, found by label and class.
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(b"kms".to_vec())];
    let found = session.find_objects(&wanted).unwrap();
    assert_eq!(found.len(), 1);
    let kinds = [AttributeType::KeyType, AttributeType::Sensitive, AttributeType::Modulus];
    let values = session.get_attributes(found[0], &kinds).unwrap();
    assert_eq!(values[..2], [Attribute::KeyType(KeyType::RSA), Attribute::Sensitive(true)]);
    let signature = session.sign(&Mechanism::Sha256RsaPkcs, found[0], b"data").unwrap();
    std::fs::write(installation.path("sig"), signature).unwrap();
    std::fs::write(installation.path("data"), b"data").unwrap();
    let versions = installation.print(&["ListAliases"]);
    assert!(versions.contains("alias/kms") && versions.contains("alias/rust"));
    let wanted = [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::Label(b"kms".to_vec())];
    let key = session.find_objects(&wanted).unwrap()[0];
    let spki = session.get_attributes(key, &[AttributeType::PublicKeyInfo]).unwrap();
    let Attribute::PublicKeyInfo(spki) = &spki[0] else { panic!("{spki:?}") };
    std::fs::write(installation.path("key.der"), spki).unwrap();
    let words = ["dgst", "-sha256", "-verify", "key.der", "-keyform", "DER", "-signature", "sig", "data"];
    assert_eq!(openssl(&installation.path("."), &words).unwrap(), b"Verified OK\n");

    // AES, digests, random numbers.
    let template = [Attribute::ValueLen(32.into()), Attribute::Encrypt(true), Attribute::Decrypt(true)];
    let aes = session.generate_key(&Mechanism::AesKeyGen, &template).unwrap();
    let text = session.encrypt(&Mechanism::AesCbcPad([1; 16]), aes, b"some plaintext").unwrap();
    assert_eq!(session.decrypt(&Mechanism::AesCbcPad([1; 16]), aes, &text).unwrap(), b"some plaintext");
    assert_eq!(session.digest(&Mechanism::Sha256, b"").unwrap()[..4], [0xe3, 0xb0, 0xc4, 0x42]);
    assert_eq!(session.generate_random_vec(33).unwrap().len(), 33);
    session.destroy_object(private).unwrap();
    session.logout().unwrap();
    assert_eq!(session.get_session_info().unwrap().session_state(), SessionState::RwPublic);
    session.close().unwrap();
    pkcs11.finalize().unwrap();
}
