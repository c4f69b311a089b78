//! Keys and points in DER and bare, as templates, imports and peers bring them; whatever is taken must work.

use alikms_pkcs11::crypto::ec::EcKey;
use alikms_pkcs11::crypto::rsa::RsaKey;
use alikms_pkcs11::model::Bytes;
use alikms_pkcs11::model::curve::Curve;
use alikms_pkcs11::model::public::PublicKey;
use alikms_pkcs11::protection::public::Prepared;

const CURVES: &[Curve] = &[Curve::P256, Curve::P384, Curve::P521, Curve::Secp256k1, Curve::Sm2];

pub fn run(data: &[u8]) {
    let [kind, data @ ..] = data else { return };
    match kind % 4 {
        0 => {
            if let Ok(public) = PublicKey::from_spki(data) {
                let _ = public.bits();
                if let Ok(prepared) = Prepared::new(&public) {
                    let _ = prepared.verify(&alikms_pkcs11::model::algorithm::Signing::Ecdsa, &[1; 32], &[1; 64]);
                    assert!(public.to_spki().is_ok(), "a key that works is written");
                }
            }
        }
        1 => {
            if let Ok(key) = EcKey::from_der(&Bytes::new(data.to_vec())) {
                let _ = (key.point(), key.scalar());
            }
        }
        2 => {
            for curve in CURVES {
                let _ = EcKey::from_scalar(*curve, &Bytes::new(data.to_vec()));
                let public = PublicKey::Ec { curve: *curve, point: data.to_vec() };
                let _ = Prepared::new(&public);
            }
        }
        _ => {
            if let Ok(key) = RsaKey::from_der(&Bytes::new(data.to_vec())) {
                let (modulus, _) = key.public();
                assert!(modulus.len() >= 128);
                let _ = key.check();
            }
        }
    }
}
