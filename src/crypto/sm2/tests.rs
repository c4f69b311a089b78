//! The examples of GB/T 32918.5 on the recommended curve, every layout, and what is refused without a panic.

use super::*;
use crate::crypto::ec::{EcKey, EcPublic};
use crate::crypto::hex;
use crate::model::curve::Curve;

const SCALAR: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";
const POINT_: &str = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
const LAYOUTS: [Sm2Layout; 3] = [Sm2Layout::C1C2C3, Sm2Layout::C1C3C2, Sm2Layout::Der];

fn key() -> EcKey {
    EcKey::from_scalar(Curve::Sm2, &hex(SCALAR)).unwrap()
}

fn public(key: &EcKey) -> EcPublic {
    EcPublic::new(Curve::Sm2, &key.point()).unwrap()
}

#[test]
fn the_signature_of_the_standard() {
    let key = key();
    assert_eq!(key.point(), hex(POINT_));
    let identity = identity(&key.point(), DEFAULT_ID).unwrap();
    assert_eq!(identity, hex("b2e14c5c79c6df5b85f4fe7ed8db7a262b9da7e07ccb0ea9f4747b8ccda8a4f3"));
    let e = digest::hash(Hash::Sm3, &[&identity[..], b"message digest"].concat());
    assert_eq!(e, hex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640"));
    let theirs = hex(
        "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa",
    );
    let public = public(&key);
    let sm2 = public.sm2().unwrap();
    sm2.verify(&e, &theirs).unwrap();
    for at in 0..64 {
        let mut changed = theirs.clone();
        changed[at] ^= 1;
        assert_eq!(sm2.verify(&e, &changed), Err(Error::SignatureInvalid));
    }
    let (one, two) = (key.sm2().unwrap().sign(&e).unwrap(), key.sm2().unwrap().sign(&e).unwrap());
    assert_ne!(one, two, "the nonce is not random");
    for signature in [one, two] {
        sm2.verify(&e, &signature).unwrap();
        assert_eq!(sm2.verify(&[0; 32], &signature), Err(Error::SignatureInvalid));
    }
    for wrong in [[0; 64], [0xff; 64]] {
        assert_eq!(sm2.verify(&e, &wrong), Err(Error::SignatureInvalid));
    }
    for len in [0, 1, 63, 65] {
        assert_eq!(sm2.verify(&e, &vec![1; len]), Err(Error::SignatureLength));
    }
    for len in [0, 31, 33] {
        assert_eq!(key.sm2().unwrap().sign(&vec![1; len]), Err(Error::DataLength));
        assert_eq!(sm2.verify(&vec![1; len], &theirs), Err(Error::DataLength));
    }
    // r + s = n is refused (GB/T 32918.2 §7.1).
    let sum = hex(
        "0000000000000000000000000000000000000000000000000000000000000001fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d54122",
    );
    assert_eq!(sm2.verify(&e, &sum), Err(Error::SignatureInvalid));
}

#[test]
fn the_ciphertext_of_the_standard() {
    let sealed = hex(
        "0404ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df059983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd876621886ca989ca9c7d58087307ca93092d651efa",
    );
    let found = key().sm2().unwrap().decrypt(Sm2Layout::C1C3C2, &sealed).unwrap();
    assert_eq!(found.as_slice(), b"encryption standard");
}

#[test]
fn every_layout_and_length() {
    let key = EcKey::generate(Curve::Sm2).unwrap();
    let (private, public) = (key.sm2().unwrap(), public(&key));
    for layout in LAYOUTS {
        for len in [1, 2, 31, 32, 33, 6047] {
            let plain = vec![0xa5; len];
            let sealed = public.sm2().unwrap().encrypt(layout, &plain).unwrap();
            if layout != Sm2Layout::Der {
                assert_eq!(sealed.len(), len + SM2_OVERHEAD);
            }
            assert_eq!(private.decrypt(layout, &sealed).unwrap().as_slice(), plain);
            for other in LAYOUTS.into_iter().filter(|other| *other != layout) {
                assert!(private.decrypt(other, &sealed).is_err(), "{layout:?} as {other:?}, {len} bytes");
            }
        }
        assert_eq!(public.sm2().unwrap().encrypt(layout, b""), Err(Error::DataLength));
    }
}

#[test]
fn nothing_malformed_decrypts_or_panics() {
    let key = key();
    let (private, public) = (key.sm2().unwrap(), public(&key));
    let bad = |layout, input: &[u8]| {
        let error = private.decrypt(layout, input).unwrap_err();
        assert!(matches!(error, Error::Ciphertext | Error::CiphertextLength), "{layout:?}: {error:?}");
    };
    for layout in LAYOUTS {
        let sealed = public.sm2().unwrap().encrypt(layout, b"plain").unwrap();
        for len in 0..sealed.len() {
            bad(layout, &sealed[..len]);
        }
        bad(layout, &[&sealed[..], &[0]].concat());
        for at in 0..sealed.len() {
            for bit in [1, 2, 0x80] {
                let mut changed = sealed.clone();
                changed[at] ^= bit;
                bad(layout, &changed);
            }
        }
        // Every form of a point in front: infinity, compressed, hybrid and what is no form at all.
        for form in 0..=255 {
            for len in [1, 33, 34, 66, 97, 98, 200] {
                let mut input = vec![0; len];
                input[0] = form;
                bad(layout, &input);
            }
        }
    }
}

#[test]
fn keys_in_their_range() {
    // The order minus 1 has no inverse of 1 + d; the order minus 2 is the last.
    let last = |digit: &str| hex(&format!("fffffffeffffffffffffffffffffffff7203df6b21c6052b53bbf40939d5412{digit}"));
    for digit in ["2", "3"] {
        assert!(EcKey::from_scalar(Curve::Sm2, &last(digit)).is_err());
    }
    let key = EcKey::from_scalar(Curve::Sm2, &last("1")).unwrap();
    let signature = key.sm2().unwrap().sign(&[7; 32]).unwrap();
    public(&key).sm2().unwrap().verify(&[7; 32], &signature).unwrap();
    let again = EcKey::from_der(&key.to_der().unwrap()).unwrap();
    assert_eq!((again.curve(), again.scalar()), (Curve::Sm2, key.scalar()));
    assert!(matches!(key.sign(&[7; 32]), Err(Error::Unsupported(_))), "ECDSA");
    assert!(matches!(key.derive(&again.point()), Err(Error::Unsupported(_))), "ECDH");
    assert!(matches!(public(&key).verify(&[7; 32], &signature), Err(Error::Unsupported(_))));
    assert!(EcKey::generate(Curve::P256).unwrap().sm2().is_none());
}

#[test]
fn identities() {
    let point = key().point();
    for len in [0, 1, 8191] {
        assert_eq!(identity(&point, &vec![b'a'; len]).unwrap().len(), 32);
    }
    assert!(identity(&point, &[0; 8192]).is_err());
    assert!(identity(&point[1..], b"a").is_err());
    assert_ne!(identity(&point, b"").unwrap(), identity(&point, DEFAULT_ID).unwrap());
}
