//! Key material that comes into each kind of device, and keys that are wrapped in it. The devices are those of `suite`.

use alikms_pkcs11::Error;
use alikms_pkcs11::crypto::cipher::AesKey;
use alikms_pkcs11::model::algorithm::{Cipher, Job};
use alikms_pkcs11::model::hash::Hash;
use alikms_pkcs11::protection::hsm::Hsm;
use alikms_pkcs11::protection::hsm::import::Unwrapping;
use alikms_pkcs11::protection::{Protection, Usages};
use uuid::Uuid;

use crate::suite::{Bed, alikms, kryoptic, softhsm, tpm};
use crate::support::*;

/// Key material that was wrapped for a pair in the device is unwrapped there; what it cannot unwrap it says.
fn material_is_imported_inside(bed: &Bed, kinds: &[Unwrapping]) {
    let hsm = Hsm::new(bed.config.clone());
    let aes = spec("Aliyun_AES_256");
    let value: Vec<u8> = (0..32).collect();
    for (kind, _) in Unwrapping::NAMES {
        let taken = hsm.takes_over(aes, kind);
        if !kinds.contains(&kind) {
            assert!(matches!(&taken, Err(Error::DeviceLacks { .. })), "{kind:?}: {taken:?}");
            continue;
        }
        taken.unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let (wrapper, id) = (Uuid::new_v4(), Uuid::new_v4());
        let (pair, public) = hsm.wrapping_pair(wrapper, spec("RSA_2048")).unwrap();
        let import = |wrapped: &[u8]| hsm.unwrap(wrapper, kind, wrapped, (id, aes, CRYPT));
        let good = wrap(&public, kind, &value);
        let mut wrong = vec![vec![], flipped(&good, 0), flipped(&good, 255), good[1..].to_vec()];
        if matches!(kind, Unwrapping::RsaAes(_)) {
            wrong.extend([flipped(&good, 256), flipped(&good, 295), good[..256].to_vec(), good[256..].to_vec()]);
            wrong.extend([1, 8, 16, 24, 33, 40, 64].map(|length| wrap(&public, kind, &vec![7; length])));
        }
        for wrong in &wrong {
            // What implicit rejection makes up may have the right length: v1.5 has nothing to tell it by.
            if let (Unwrapping::Pkcs1, Ok(made_up)) = (kind, import(wrong)) {
                hsm.destroy(id, &made_up).unwrap();
                continue;
            }
            assert_eq!(import(wrong).map(drop), Err(Error::Ciphertext), "{kind:?}: {} bytes", wrong.len());
        }
        let material = import(&good).unwrap_or_else(|error| panic!("{kind:?}: {error}"));
        let key = hsm.open(id, aes, &material, None).unwrap();
        let inside = key.once(&Job::Encrypt(Cipher::AesEcb), &[9; 16]).unwrap();
        assert_eq!(inside, AesKey::new(&value).unwrap().encrypt(&Cipher::AesEcb, &[9; 16]).unwrap());
        // The pair can do nothing else.
        let opened = hsm.open(wrapper, spec("RSA_2048"), &pair, Some(&public)).unwrap();
        let cipher = match kind {
            Unwrapping::Pkcs1 => Cipher::RsaPkcs1,
            Unwrapping::Oaep(hash) | Unwrapping::RsaAes(hash) => Cipher::RsaOaep { hash, mgf: hash, label: vec![] },
        };
        assert!(opened.once(&Job::Decrypt(cipher), &good[..256]).is_err());
        hsm.destroy(id, &material).unwrap();
        hsm.destroy(wrapper, &pair).unwrap();
    }
    assert!(hsm.ids().unwrap().is_empty());
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// AES key wrap with a key that may do nothing else, of material that is known here: as everybody does it. Where a device has
/// it for keys only (SoftHSM), and where the key may not encrypt (kryoptic).
fn keys_are_wrapped(bed: &Bed) {
    let hsm = Hsm::new(bed.config.clone());
    let (wrapper, id, value) = (Uuid::new_v4(), Uuid::new_v4(), [5; 32]);
    let (pair, public) = hsm.wrapping_pair(wrapper, spec("RSA_2048")).unwrap();
    let kind = Unwrapping::Oaep(Hash::Sha1);
    let usages = Usages { wrap: true, unwrap: true, ..Usages::default() };
    let new = (id, spec("Aliyun_AES_256"), usages);
    let material = hsm.unwrap(wrapper, kind, &wrap(&public, kind, &value), new).unwrap();
    let key = hsm.open(id, spec("Aliyun_AES_256"), &material, None).unwrap();
    let soft = AesKey::new(&value).unwrap();
    for (cipher, lengths) in [
        (Cipher::AesKeyWrap { iv: None }, &[16, 24, 32, 400][..]),
        (Cipher::AesKeyWrapPad, &[1, 8, 9, 31, 32, 400][..]),
    ] {
        for length in lengths {
            let plain = vec![9; *length];
            let right = soft.encrypt(&cipher, &plain).unwrap();
            hsm.does(spec("Aliyun_AES_256"), &Job::Encrypt(cipher.clone()), *length).unwrap();
            match key.once(&Job::Encrypt(cipher.clone()), &plain) {
                Err(Error::DeviceLacks { .. }) if length % 8 != 0 => {}
                wrapped => assert_eq!(wrapped, Ok(right.clone()), "{cipher:?} {length}"),
            }
            let back = key.once(&Job::Decrypt(cipher.clone()), &right);
            assert_eq!(back.unwrap().as_slice(), plain, "{cipher:?} {length}");
            for at in [0, right.len() - 1] {
                let wrong = key.once(&Job::Decrypt(cipher.clone()), &flipped(&right, at));
                assert_eq!(wrong, Err(Error::Ciphertext), "{cipher:?} {length} {at}");
            }
        }
    }
    assert_eq!(key.once(&Job::Encrypt(Cipher::AesKeyWrap { iv: None }), &[1; 13]), Err(Error::DataLength));
    assert_eq!(key.once(&Job::Decrypt(Cipher::AesKeyWrapPad), &[1; 13]), Err(Error::CiphertextLength));
    hsm.destroy(id, &material).unwrap();
    hsm.destroy(wrapper, &pair).unwrap();
}

#[test]
fn keys_wrap_others() {
    keys_are_wrapped(&softhsm());
    keys_are_wrapped(&kryoptic());
}

#[test]
fn imports() {
    let [pkcs1, sha1, sha256, aes_sha1, aes_sha256] = Unwrapping::NAMES.map(|(kind, _)| kind);
    let without = |mut bed: Bed, names: &[&str]| {
        let names: Vec<toml::Value> = names.iter().map(|name| (*name).into()).collect();
        bed.config.changes.insert("without".to_owned(), names.into());
        bed
    };
    // Without CKM_RSA_AES_KEY_WRAP it takes two steps.
    material_is_imported_inside(&softhsm(), &[pkcs1, sha1, aes_sha1]);
    material_is_imported_inside(&without(softhsm(), &["CKM_AES_KEY_WRAP_PAD"]), &[pkcs1, sha1]);
    material_is_imported_inside(&kryoptic(), &[pkcs1, sha1, sha256, aes_sha1, aes_sha256]);
    material_is_imported_inside(&tpm(), &[]);
    // This module has it, and may be all that it has.
    material_is_imported_inside(&alikms(), &[pkcs1, sha1, sha256, aes_sha1, aes_sha256]);
    material_is_imported_inside(&without(alikms(), &["CKM_RSA_PKCS", "CKM_RSA_PKCS_OAEP"]), &[aes_sha1, aes_sha256]);
    let none = ["CKM_RSA_PKCS", "CKM_RSA_PKCS_OAEP", "CKM_RSA_AES_KEY_WRAP"];
    material_is_imported_inside(&without(alikms(), &none), &[]);
}
