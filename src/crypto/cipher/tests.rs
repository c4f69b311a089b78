//! AES against the standards' own vectors, whole and in parts, and what is refused.

use super::*;
use crate::crypto::hex;

fn block(digits: &str) -> [u8; 16] {
    hex(digits).try_into().unwrap()
}

/// Feeds `input` in parts of `step` bytes.
fn in_parts(key: &AesKey, cipher: &Cipher, encrypt: bool, input: &[u8], step: usize) -> Result<Vec<u8>> {
    let mut stream = key.stream(cipher, encrypt)?;
    let mut out = Vec::new();
    for part in input.chunks(step) {
        out.extend_from_slice(&stream.update(part)?);
    }
    out.extend_from_slice(&stream.finish()?);
    Ok(out)
}

/// Both directions, whole and in parts.
fn known(key: &str, cipher: &Cipher, plain: &str, sealed: &str) {
    let (key, plain, sealed) = (AesKey::new(&hex(key)).unwrap(), hex(plain), hex(sealed));
    assert_eq!(key.encrypt(cipher, &plain).unwrap().as_slice(), sealed, "{cipher:?}");
    assert_eq!(key.decrypt(cipher, &sealed).unwrap().as_slice(), plain, "{cipher:?}");
    if !matches!(cipher, Cipher::AesKeyWrap { .. } | Cipher::AesKeyWrapPad) {
        for step in [1, 7, 16, 33] {
            assert_eq!(in_parts(&key, cipher, true, &plain, step).unwrap(), sealed, "{cipher:?} by {step}");
            assert_eq!(in_parts(&key, cipher, false, &sealed, step).unwrap(), plain, "{cipher:?} by {step}");
        }
    }
}

const KEY: &str = "2b7e151628aed2a6abf7158809cf4f3c";
const PLAIN: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51";

#[test]
fn modes_of_sp_800_38a() {
    known(KEY, &Cipher::AesEcb, PLAIN, "3ad77bb40d7a3660a89ecaf32466ef97f5d3d58503b9699de785895a96fdbaaf");
    let iv = block("000102030405060708090a0b0c0d0e0f");
    known(KEY, &Cipher::AesCbc { iv }, PLAIN, "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2");
    let counter = Cipher::AesCtr { block: block("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"), bits: 128 };
    known(KEY, &counter, PLAIN, "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff");
    known(KEY, &counter, &PLAIN[..34], "874d6191b620e3261bef6864990db6ce98");
}

#[test]
fn gcm_of_its_specification() {
    // McGrew and Viega, test cases 4 (IV of 12 bytes) and 5 (8 bytes).
    let key = "feffe9928665731c6d6a8f9467308308";
    let plain = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
    let cipher = |iv: &str, tag| Cipher::AesGcm {
        iv: hex(iv).into(),
        aad: hex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
        tag,
    };
    let four = "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091";
    let five = "61353b4c2806934a777ff51fa22a4755699b2a714fcdc6f83766e5f97b6c742373806900e49f24b22b097544d4896b424989b5e1ebac0f07c23f4598";
    for tag in [4, 8, 12, 13, 14, 15, 16] {
        let tag_of = |whole: &str| whole[..2 * tag].to_string();
        let (iv, whole) = ("cafebabefacedbaddecaf888", "5bc94fbc3221a5db94fae95ae7121a47");
        known(key, &cipher(iv, tag), plain, &(four.to_string() + &tag_of(whole)));
        let (iv, whole) = ("cafebabefacedbad", "3612d2e79e3b0785561be14aaca2fccb");
        known(key, &cipher(iv, tag), plain, &(five.to_string() + &tag_of(whole)));
    }
    let key = AesKey::new(&hex(key)).unwrap();
    for tag in [0, 3, 5, 11, 17] {
        assert!(key.encrypt(&cipher("00", tag), b"").is_err(), "tag of {tag}");
        assert!(key.stream(&cipher("00", tag), false).is_err(), "tag of {tag}");
    }
    for len in [0, 257] {
        assert!(key.encrypt(&cipher(&"00".repeat(len), 16), b"").is_err(), "IV of {len}");
    }
    let long = cipher(&"5a".repeat(256), 16);
    let sealed = key.encrypt(&long, b"secret").unwrap();
    assert_eq!(in_parts(&key, &long, true, b"secret", 4).unwrap(), sealed.as_slice());
    for position in 0..sealed.len() {
        let mut changed = sealed.to_vec();
        changed[position] ^= 1;
        assert_eq!(key.decrypt(&long, &changed), Err(Error::Ciphertext));
        let mut stream = key.stream(&long, false).unwrap();
        assert!(stream.update(&changed).unwrap().is_empty());
        assert_eq!(stream.finish(), Err(Error::Ciphertext));
    }
    assert_eq!(key.decrypt(&long, &sealed[..15]), Err(Error::CiphertextLength));
}

#[test]
fn key_wrap_of_its_rfcs() {
    // RFC 3394 §4.1, RFC 5649 §6.
    let wrap = Cipher::AesKeyWrap { iv: None };
    let kek = "000102030405060708090a0b0c0d0e0f";
    let wrapped = "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5";
    known(kek, &wrap, "00112233445566778899aabbccddeeff", wrapped);
    known(kek, &Cipher::AesKeyWrap { iv: Some([0xa6; 8]) }, "00112233445566778899aabbccddeeff", wrapped);
    let kek = "5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8";
    let padded = "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a";
    known(kek, &Cipher::AesKeyWrapPad, "c37b7e6492584340bed12207808941155068f738", padded);
    known(kek, &Cipher::AesKeyWrapPad, "466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f");

    let key = AesKey::new(&hex(kek)).unwrap();
    for len in [0, 8, 17, 20] {
        assert_eq!(key.encrypt(&wrap, &vec![1; len]), Err(Error::DataLength), "{len}");
    }
    assert_eq!(key.encrypt(&Cipher::AesKeyWrapPad, b""), Err(Error::DataLength));
    for len in 1..40 {
        let sealed = key.encrypt(&Cipher::AesKeyWrapPad, &vec![9; len]).unwrap();
        assert_eq!(key.decrypt(&Cipher::AesKeyWrapPad, &sealed).unwrap().as_slice(), vec![9; len]);
    }
    for (cipher, sealed) in [(&wrap, hex(wrapped)), (&Cipher::AesKeyWrapPad, hex(wrapped))] {
        assert_eq!(key.decrypt(cipher, &sealed), Err(Error::Ciphertext));
        assert_eq!(key.decrypt(cipher, &sealed[1..]), Err(Error::CiphertextLength));
        assert_eq!(key.decrypt(cipher, &[]), Err(Error::CiphertextLength));
    }
    assert!(matches!(key.stream(&wrap, true), Err(Error::Unsupported(_))));
}

#[test]
fn a_counter_never_overflows() {
    let key = AesKey::new(&[3; 32]).unwrap();
    // Two counting bits that stand at 1: blocks 1, 2 and 3 (PKCS#11 3.2 §6.13.6's own example).
    let mut start = [0xff; 16];
    start[15] = 0xfd;
    for (bits, blocks) in [(2, 3), (1, 1), (8, 3), (128, 3)] {
        let cipher = Cipher::AesCtr { block: start, bits };
        for encrypt in [true, false] {
            assert!(in_parts(&key, &cipher, encrypt, &vec![0; 16 * blocks], 5).is_ok(), "{bits}");
            let error = if encrypt { Error::DataLength } else { Error::CiphertextLength };
            assert_eq!(in_parts(&key, &cipher, encrypt, &vec![0; 16 * blocks + 1], 5), Err(error), "{bits}");
        }
    }
    for bits in [0, 129] {
        assert!(key.encrypt(&Cipher::AesCtr { block: start, bits }, b"").is_err());
    }
}

#[test]
fn padding_and_lengths() {
    let (key, pad) = (AesKey::new(&[3; 24]).unwrap(), Cipher::AesCbcPad { iv: [4; 16] });
    for len in 0..50 {
        let plain = vec![5; len];
        let sealed = key.encrypt(&pad, &plain).unwrap();
        assert_eq!(sealed.len(), (len / 16 + 1) * 16);
        assert_eq!(in_parts(&key, &pad, true, &plain, 3).unwrap(), sealed.as_slice());
        assert_eq!(key.decrypt(&pad, &sealed).unwrap().as_slice(), plain);
        assert_eq!(in_parts(&key, &pad, false, &sealed, 3).unwrap(), plain);
    }
    let unpadded = key.encrypt(&Cipher::AesCbc { iv: [4; 16] }, &[0; 32]).unwrap();
    assert_eq!(key.decrypt(&pad, &unpadded), Err(Error::Ciphertext));
    for len in [0, 15, 17] {
        assert_eq!(key.decrypt(&pad, &vec![0; len]), Err(Error::CiphertextLength));
    }
    for cipher in [Cipher::AesEcb, Cipher::AesCbc { iv: [4; 16] }] {
        assert_eq!(key.encrypt(&cipher, &[0; 17]), Err(Error::DataLength));
        assert_eq!(key.decrypt(&cipher, &[0; 17]), Err(Error::CiphertextLength));
        assert!(key.encrypt(&cipher, &[]).unwrap().is_empty());
    }
    assert!(matches!(key.encrypt(&Cipher::RsaRaw, &[]), Err(Error::Unsupported(_))));
    for len in [0, 15, 17, 33] {
        assert!(AesKey::new(&vec![0; len]).is_err());
    }
    // SAFETY: reads this thread's queue.
    assert_eq!(unsafe { lc::ERR_peek_error() }, 0, "errors were left in aws-lc's queue");
}
