//! Curves against independent implementations, and what is refused.

use k256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};

use super::*;
use crate::crypto::hex;

const DIGESTS: [usize; 7] = [1, 20, 31, 32, 33, 48, 70];

/// The order of a curve, as RFC 5480's curves and SEC 2 have it.
fn order(curve: Curve) -> Vec<u8> {
    hex(match curve {
        Curve::P256 => "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        Curve::P384 => {
            "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973"
        }
        Curve::P521 => {
            "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409"
        }
        Curve::Secp256k1 => "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
        Curve::Ed25519 | Curve::X25519 => unreachable!("not a curve of ECDSA"),
        Curve::Sm2 => "fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54123",
    })
}

/// The curves of ECDSA and ECDH.
fn ecdsa() -> impl Iterator<Item = Curve> {
    Curve::ALL.iter().copied().filter(|curve| *curve != Curve::Sm2 && !curve.is_25519())
}

/// `order` - `number`.
fn opposite(curve: Curve, number: &[u8]) -> Vec<u8> {
    let (mut out, mut borrow) = (order(curve), 0);
    for (byte, less) in out.iter_mut().rev().zip(number.iter().rev()) {
        let value = i32::from(*byte) - i32::from(*less) - borrow;
        borrow = i32::from(value < 0);
        *byte = value.rem_euclid(256) as u8;
    }
    out
}

#[test]
fn every_curve_signs_what_it_verifies() {
    for curve in ecdsa() {
        let key = EcKey::generate(curve).unwrap();
        let (public, len) = (EcPublic::new(curve, &key.point()).unwrap(), curve.field_len());
        for digest in DIGESTS.map(|len| vec![0xa5; len]) {
            let signature = key.sign(&digest).unwrap();
            assert_eq!(signature.len(), 2 * len);
            public.verify(&digest, &signature).unwrap();
            // The other s is as valid; the low one of secp256k1 becomes a high one.
            let other = [&signature[..len], opposite(curve, &signature[len..]).as_slice()].concat();
            public.verify(&digest, &other).unwrap();
            assert_eq!(public.verify(&digest, &signature[1..]), Err(Error::SignatureLength));
            for wrong in [vec![0; 2 * len], vec![0xff; 2 * len], [order(curve), order(curve)].concat()] {
                assert_eq!(public.verify(&digest, &wrong), Err(Error::SignatureInvalid));
            }
            let mut changed = digest.clone();
            changed[0] ^= 1;
            assert_eq!(public.verify(&changed, &signature), Err(Error::SignatureInvalid));
            assert_eq!(from_der(curve, &to_der(&signature).unwrap()).unwrap(), signature);
        }
        let again = EcKey::from_der(&key.to_der().unwrap()).unwrap();
        assert_eq!((again.curve(), again.scalar(), again.point()), (curve, key.scalar(), key.point()));
    }
}

/// Both ways between us and a crate of RustCrypto.
macro_rules! against {
    ($curve:expr, $library:ident) => {{
        let ours = EcKey::generate($curve).unwrap();
        let theirs = $library::ecdsa::SigningKey::from_slice(&ours.scalar()).unwrap();
        assert_eq!(theirs.verifying_key().to_sec1_point(false).as_bytes(), ours.point());
        // These crates refuse digests shorter than half the order.
        for digest in DIGESTS.map(|len| vec![0x5a; len]).iter().filter(|digest| digest.len() >= 31) {
            let signature = $library::ecdsa::Signature::from_slice(&ours.sign(digest).unwrap()).unwrap();
            theirs.verifying_key().verify_prehash(digest, &signature).unwrap();
            let signature: $library::ecdsa::Signature = theirs.sign_prehash(digest).unwrap();
            EcPublic::new($curve, &ours.point()).unwrap().verify(digest, &signature.to_bytes()).unwrap();
            assert_eq!(to_der(&signature.to_bytes()).unwrap(), signature.to_der().as_bytes());
        }
    }};
}

#[test]
fn other_implementations_agree() {
    against!(Curve::P256, p256);
    against!(Curve::P384, p384);
    against!(Curve::Secp256k1, k256);
}

#[test]
fn shared_coordinates() {
    // RFC 5903 §8.1.
    let ours = hex("c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433");
    let peer = hex(
        "04d12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf6356fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab",
    );
    let shared = EcKey::from_scalar(Curve::P256, &ours).unwrap().derive(&peer).unwrap();
    assert_eq!(shared.as_slice(), hex("d6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de"));
    for curve in ecdsa() {
        let (a, b) = (EcKey::generate(curve).unwrap(), EcKey::generate(curve).unwrap());
        let shared = a.derive(&b.point()).unwrap();
        assert_eq!(shared, b.derive(&a.point()).unwrap());
        assert_eq!(shared.len(), curve.field_len());
        // With the generator as peer it is the x of our own point.
        let generator = EcKey::from_scalar(curve, &[1]).unwrap().point();
        assert_eq!(a.derive(&generator).unwrap().as_slice(), &a.point()[1..=curve.field_len()]);
    }
}

#[test]
fn wrong_scalars_and_points_are_refused() {
    for curve in ecdsa().chain([Curve::Sm2]) {
        let len = curve.field_len();
        let above = [&[1], order(curve).as_slice()].concat();
        for scalar in [vec![], vec![0], vec![0; len], order(curve), vec![0xff; len], above] {
            assert!(matches!(EcKey::from_scalar(curve, &scalar), Err(Error::InvalidParameter { .. })), "{curve:?}");
        }
        let key = EcKey::from_scalar(curve, &[0, 0, 7]).unwrap();
        assert_eq!(key.scalar().len(), len);
        assert!(EcKey::from_scalar(curve, &[vec![0; 9], key.scalar().to_vec()].concat()).is_ok());

        let point = key.point();
        let mut off = point.clone();
        off[2 * len] ^= 1;
        let compressed = [&[2 + (point[2 * len] & 1)], &point[1..=len]].concat();
        let hybrid = [&[6 + (point[2 * len] & 1)], &point[1..]].concat();
        let zero = [&[4], vec![0; 2 * len].as_slice()].concat();
        let other = EcKey::generate(if curve == Curve::P256 { Curve::Secp256k1 } else { Curve::P256 }).unwrap().point();
        for wrong in [off, compressed, hybrid, zero, other, vec![], vec![0], point[1..].to_vec()] {
            assert!(matches!(EcPublic::new(curve, &wrong), Err(Error::InvalidParameter { .. })), "{curve:?}");
            assert!(
                curve == Curve::Sm2 || matches!(key.derive(&wrong), Err(Error::InvalidParameter { .. })),
                "{curve:?}"
            );
        }
    }
    for wrong in [&b""[..], &[0x30], &[0x30, 0], &[0x30, 6, 2, 1, 0xff, 2, 1, 1]] {
        assert_eq!(from_der(Curve::P256, wrong), Err(Error::SignatureInvalid));
        assert!(EcKey::from_der(wrong).is_err());
    }
}
