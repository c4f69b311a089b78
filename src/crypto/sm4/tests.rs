//! GB/T 32907 and RFC 8998, whole and in parts, and what is refused. Other modes are compared with OpenSSL in tests/sm.rs.

use super::*;
use crate::crypto::hex;

const KEY: &str = "0123456789abcdeffedcba9876543210";

fn key() -> Sm4Key {
    Sm4Key::new(&hex(KEY)).unwrap()
}

fn in_parts(cipher: &Cipher, encrypt: bool, input: &[u8], step: usize) -> Result<Vec<u8>> {
    let mut stream = key().stream(cipher, encrypt)?;
    let mut out = Vec::new();
    for part in input.chunks(step) {
        out.extend_from_slice(&stream.update(part)?);
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(out)
}

/// Both directions, whole and in parts.
fn known(cipher: &Cipher, plain: &[u8], sealed: &[u8]) {
    assert_eq!(key().encrypt(cipher, plain).unwrap().as_slice(), sealed, "{cipher:?}");
    assert_eq!(key().decrypt(cipher, sealed).unwrap().as_slice(), plain, "{cipher:?}");
    for step in [1, 7, 16, 33] {
        assert_eq!(in_parts(cipher, true, plain, step).unwrap(), sealed, "{cipher:?} by {step}");
        assert_eq!(in_parts(cipher, false, sealed, step).unwrap(), plain, "{cipher:?} by {step}");
    }
}

#[test]
fn the_block_of_the_standard() {
    known(&Cipher::Sm4Ecb, &hex(KEY), &hex("681edf34d206965e86b3e94f536e4246"));
}

#[test]
fn gcm_of_rfc_8998() {
    let plain = hex(
        "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbccccccccccccccccddddddddddddddddeeeeeeeeeeeeeeeeffffffffffffffffeeeeeeeeeeeeeeeeaaaaaaaaaaaaaaaa",
    );
    let sealed = hex(
        "17f399f08c67d5ee19d0dc9969c4bb7d5fd46fd3756489069157b282bb200735d82710ca5c22f0ccfa7cbf93d496ac15a56834cbcf98c397b4024a2691233b8d",
    );
    let tag_of = hex("83de3541e4c2b58177e065a9bf7b62ec");
    for tag in [4, 8, 12, 13, 14, 15, 16] {
        let (iv, aad) = (hex("00001234567800000000abcd"), hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"));
        let cipher = Cipher::Sm4Gcm { iv: iv.into(), aad, tag };
        let whole = [&sealed[..], &tag_of[..tag]].concat();
        known(&cipher, &plain, &whole);
        for at in [0, 1, sealed.len(), whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 0x40;
            assert_eq!(key().decrypt(&cipher, &changed), Err(Error::Ciphertext), "{tag}");
        }
        assert_eq!(key().decrypt(&cipher, &whole[..tag - 1]), Err(Error::CiphertextLength));
        assert!(key().decrypt(&cipher, &whole[..whole.len() - 1]).is_err());
    }
}

#[test]
fn gcm_with_every_iv_that_it_takes() {
    for len in 1..=16 {
        let cipher = |iv: u8| Cipher::Sm4Gcm { iv: vec![iv; len].into(), aad: vec![], tag: 16 };
        let sealed = key().encrypt(&cipher(7), b"").unwrap();
        assert_eq!(key().decrypt(&cipher(7), &sealed).unwrap().as_slice(), b"");
        assert_eq!(key().decrypt(&cipher(8), &sealed), Err(Error::Ciphertext));
    }
    for (len, tag) in [(0, 16), (17, 16), (256, 16), (12, 0), (12, 5), (12, 17)] {
        let cipher = Cipher::Sm4Gcm { iv: vec![7; len].into(), aad: vec![], tag };
        for encrypt in [true, false] {
            assert!(matches!(key().whole(&cipher, &[0; 40], encrypt), Err(Error::InvalidParameter { .. })));
            assert!(key().stream(&cipher, encrypt).is_err());
        }
    }
}

#[test]
fn padding_and_lengths() {
    let (iv, pad) = ([9; 16], Cipher::Sm4CbcPad { iv: [9; 16] });
    for len in 0..50 {
        let plain = vec![0x10; len];
        let sealed = key().encrypt(&pad, &plain).unwrap();
        assert_eq!(sealed.len(), (len / 16 + 1) * 16);
        known(&pad, &plain, &sealed);
        for cipher in [Cipher::Sm4Ecb, Cipher::Sm4Cbc { iv }] {
            let whole = len % 16 == 0;
            assert_eq!(key().encrypt(&cipher, &plain).err(), (!whole).then_some(Error::DataLength));
            assert_eq!(key().decrypt(&cipher, &plain).err(), (!whole).then_some(Error::CiphertextLength));
        }
        if len == 0 || len % 16 != 0 {
            assert_eq!(key().decrypt(&pad, &plain), Err(Error::CiphertextLength));
        }
    }
    for last in [0, 17, 0xff] {
        let sealed = key().encrypt(&Cipher::Sm4Cbc { iv }, &[[1; 15].as_slice(), &[last]].concat()).unwrap();
        assert_eq!(key().decrypt(&pad, &sealed), Err(Error::Ciphertext));
    }
    // Four blocks are left before the low two bits overflow.
    let counter = Cipher::Sm4Ctr { block: [0; 16], bits: 2 };
    assert!(key().encrypt(&counter, &[0; 64]).is_ok());
    assert_eq!(key().encrypt(&counter, &[0; 65]), Err(Error::DataLength));
    let all = Cipher::Sm4Ctr { block: [0xff; 16], bits: 128 };
    assert!(key().encrypt(&all, &[0; 16]).is_ok());
    assert_eq!(key().encrypt(&all, &[0; 17]), Err(Error::DataLength));
    assert!(key().encrypt(&Cipher::AesEcb, &[0; 16]).is_err());
    for len in [0, 15, 17, 24, 32] {
        assert!(Sm4Key::new(&vec![1; len]).is_err());
    }
}
