//! RSA against the `rsa` crate and OpenSSL's vectors, and what is refused.

use std::sync::LazyLock;

use base64::prelude::*;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{Oaep, Pkcs1v15Encrypt, Pkcs1v15Sign, Pss, sha2};

use super::*;
use crate::crypto::hex;

/// OpenSSL's test key RSA-2048-2, PKCS#1 (test/recipes/30-test_evp_data/evppkey_rsa_common.txt).
const DER: &str = "MIIEowIBAAKCAQEAyMyDlxQJjaVsqiNkD5PciZfBY3KWj8Gwxt9RE8HJTosh5IrSKX5lQZARtObY9ec7G3iyV0ADIdHva2AtTsjOjRQclJBetK0wZjmkkgZTS25/JgdCPpff/RM8iNchOZ3vvH6WzNy9fzquH+iScSv7SSmBfVEWZkQKH6y3ogj16hZZEK3Yo/LUlyAjYMy2MgJPDQcWnBkY8xb3lLFDrvVOyHUipMApePlomYC/+/ZJwwfoGBm/+IQJY41IvZS+FStZ/2SfoL1inQ/6GBPDq/S1a9PC6lRl3/oUWJKSqdiiStJr5+4FEHQbY4LUPIPVv6QKRmE9BivkRVF9vK8MtOGnaQIDAQABAoIBABRVAQ4PLVh2Y6Zmpv8czbvw7dgQBkbQKgI5IpCJksStOeVWWSlybvZQjDpxFY7wtv91HTnQdYC7LS8GMhBELQYD/1DbvXs1/iybsZpHoa+FpMJJAeAsqLWLeRmyDt8yqs+/Ua20vEthubfpaMqk1XD3DvGNgGMiiJPkfUOe/KeTJZvPLNEIo9hojN8HjnrHmZafIznSwfUiuWloRimpM7quwmgWJeq4T05W9ER+nYj7mhmc9xAj4OJXsURBszyE07xnyoAx0mEmGBA6egpAhEJi912IkM1hblH5A1SI/W4Jnej/bWWk/xGCVIB8n1jS+7qLoVHcjGi+NJyXeiBOBMECgYEA+PWta6gokxvqRZuKP23AQdI0gkCcJXHpY/MfdIYColY3GziD7UWez5cFJkWe3RbgVSL1pF2UdRsuwtrycsf4gWpSwA0YCAFxY02omdeXMiL1G5N2MFSGlqn32MJKWUl8HvzUVc+5fuhtK200lyszL9owPwSZm062tcwLsz53Yd0CgYEAznouO0mpC5YzChLcaCvfvfuujdbcA7YUeu+9V1dD8PbaTYYjUGG3Gv2crS00Al5WrIaw93Q+s14ay8ojeJVCRGW3Bu0iF15XGMjHC2cD6o9rUQ+UW+SOWja7PDyRcytYnfwF1y2AkDGURSvaITSGR+xylD8RqEbmL66+jrU2sP0CgYB2/hXxiuI5zfHfa0RcpLxruWjXiMIZM6T13NKAAz1nEgYswIpt8gTB+9C+RjB0Q+bdSmRWN1Qp1OA4yiVvrxyb3pHGsXt2+BmV+RxIy768e/DjSUwINZ5OjNalh9e5bWIh/X4PtcVXXwgu5XdpeYBxsru0oyI4FRtHMUu2VHkDEQKBgQCZiEiwVUmaEAnLx9KUs2sf/fICDm5zZAU+lN4aAA3JNAWH9+JydvaM32CNdTtjN3sDtvQITSwCfEs4lgpiM7qe2XOLdvEOp1vkVgeL9wH2fMaz8/3BhuZDNsdrNy6AkQ7ICwrcwj0C+5rhBIaigkgHW06n5W3fzziC5FFWFHGikQKBgGQ790ZCn32DZnoGUwITR++/wF5jUfghqd67YODszeUAWtnp7DHlWPfpLCkyjnRWnXzvfHTKvCs1XtQBoaCRS048uwZITlgZYFEWntFMqi76bqBE4FTSYUTMFinFUBBVigThM/RLfCRNrCW/kTxXuJDuSfVIJZzWNAT+9oWdz5da";

static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::from_der(&BASE64_STANDARD.decode(DER).unwrap()).unwrap());

fn theirs(key: &RsaKey) -> rsa::RsaPrivateKey {
    let [n, e, d, p, q, ..] = key.numbers().map(|number| rsa::BigUint::from_bytes_be(&number));
    rsa::RsaPrivateKey::from_components(n, e, d, vec![p, q]).unwrap()
}

fn public(key: &RsaKey) -> RsaPublic {
    let (modulus, exponent) = key.public();
    RsaPublic::new(&modulus, &exponent).unwrap()
}

#[test]
fn the_same_made_up_plaintexts_as_openssl() {
    // The same source. Genuine; not genuine: empty, 11 bytes, a length that is not the last one drawn, a zero in front.
    let known: [(&str, &[u8]); 5] = [
        (
            "8bfe264e85d3bdeaa6b8851b8e3b956ee3d226fd3f69063a86880173a273d9f283b2eebdd1ed35f7e02d91c571981b6737d5320bd8396b0f3ad5b019daec1b0aab3cbbc026395f4fd14f13673f2dfc81f9b660ec26ac381e6db3299b4e460b43fab9955df2b3cfaa20e900e19c856238fd371899c2bf2ce8c868b76754e5db3b036533fd603746be13c10d4e3e6022ebc905d20c2a7f32b215a4cd53b3f44ca1c327d2c2b651145821c08396c89071f665349c25e44d2733cd9305985ceef6430c3cf57af5fa224089221218fa34737c79c446d28a94c41c96e4e92ac53fbcf384dea8419ea089f8784445a492c812eb0d409467f75afd7d4d1078886205a066",
            b"lorem ipsum dolor sit amet",
        ),
        (
            "20aaa8adbbc593a924ba1c5c7990b5c2242ae4b99d0fe636a19a4cf754edbcee774e472fe028160ed42634f8864900cb514006da642cae6ae8c7d087caebcfa6dad1551301e130344989a1d462d4164505f6393933450c67bc6d39d8f5160907cabc251b737925a1cf21e5c6aa5781b7769f6a2a583d97cce008c0f8b6add5f0b2bd80bee60237aa39bb20719fe75749f4bc4e42466ef5a861ae3a92395c7d858d430bfe38040f445ea93fa2958b503539800ffa5ce5f8cf51fa8171a91f36cb4f4575e8de6b4d3f096ee140b938fd2f50ee13f0d050222e2a72b0a3069ff3a6738e82c87090caa5aed4fcbe882c49646aa250b98f12f83c8d528113614a29e7",
            b"",
        ),
        (
            "5f02f4b1f46935c742ebe62b6f05aa0a3286aab91a49b34780adde6410ab46f7386e05748331864ac98e1da63686e4babe3a19ed40a7f5ceefb89179596aab07ab1015e03b8f825084dab028b6731288f2e511a4b314b6ea3997d2e8fe2825cef8897cbbdfb6c939d441d6e04948414bb69e682927ef8576c9a7090d4aad0e74c520d6d5ce63a154720f00b76de8cc550b1aa14f016d63a7b6d6eaa1f7dbe9e50200d3159b3d099c900116bf4eba3b94204f18b1317b07529751abf64a26b0a0bf1c8ce757333b3d673211b67cc0653f2fe2620d57c8b6ee574a0323a167eab1106d9bc7fd90d415be5f1e9891a0e6c709f4fc0404e8226f8477b4e939b36eb2",
            b"\xaf\x9a\xc7\x01\x91\xc9\x24\x13\xcb\x9f\x2d",
        ),
        (
            "1439e08c3f84c1a7fec74ce07614b20e01f6fa4e8c2a6cffdc3520d8889e5d9a950c6425798f85d4be38d300ea5695f13ecd4cb389d1ff5b82484b494d6280ab7fa78e645933981cb934cce8bfcd114cc0e6811eefa47aae20af638a1cd163d2d3366186d0a07df0c81f6c9f3171cf3561472e98a6006bf75ddb457bed036dcce199369de7d94ef2c68e8467ee0604eea2b3009479162a7891ba5c40cab17f49e1c438cb6eaea4f76ce23cce0e483ff0e96fa790ea15be67671814342d0a23f4a20262b6182e72f3a67cd289711503c85516a9ed225422f98b116f1ab080a80abd6f0216df88d8cfd67c139243be8dd78502a7aaf6bc99d7da71bcdf627e7354",
            b"\x0f\x9b",
        ),
        (
            "0096136621faf36d5290b16bd26295de27f895d1faa51c800dafce73d001d60796cd4e2ac3fa2162131d859cd9da5a0c8a42281d9a63e5f353971b72e36b5722e4ac444d77f892a5443deb3dca49fa732fe855727196e23c26eeac55eeced8267a209ebc0f92f4656d64a6c13f7f7ce544ebeb0f668fe3a6c0f189e4bcd5ea12b73cf63e0c8350ee130dd62f01e5c97a1e13f52fde96a9a1bc9936ce734fdd61f27b18216f1d6de87f49cf4f2ea821fb8efd1f92cdad529baf7e31aff9bff4074f2cad2b4243dd15a711adcf7de900851fbd6bcb53dac399d7c880531d06f25f7002e1aaf1722765865d2c2b902c7736acd27bc6cbd3e38b560e2eecf7d4b576",
            b"\xba\x27\xb1\x84\x2e\x7c\x21\xc0\xe7\xef\x6a",
        ),
    ];
    for (ciphertext, plaintext) in known {
        assert_eq!(KEY.decrypt_pkcs1(&hex(ciphertext)).unwrap().as_slice(), plaintext);
    }
    let (modulus, _) = KEY.public();
    let mut highest = modulus.clone();
    highest[255] -= 1;
    for unusual in [vec![0; 256], [vec![0; 255], vec![1]].concat(), highest, modulus, vec![0xff; 256]] {
        assert_eq!(KEY.decrypt_pkcs1(&unusual).unwrap(), KEY.decrypt_pkcs1(&unusual).unwrap());
        assert_eq!(KEY.raw(&unusual), Err(Error::DataLength));
    }
    assert_eq!(KEY.decrypt_pkcs1(&[1; 255]), Err(Error::CiphertextLength));
}

#[test]
fn signatures_agree_with_another_implementation() {
    let (theirs, public) = (theirs(&KEY), public(&KEY));
    let digest = digest::hash(Hash::Sha256, b"message");
    let block = [Hash::Sha256.digest_info_prefix(), &digest].concat();

    let signature = KEY.sign_pkcs1(&block).unwrap();
    let scheme = Pkcs1v15Sign::new::<sha2::Sha256>;
    assert_eq!(theirs.sign(scheme(), &digest).unwrap(), signature);
    public.verify_pkcs1(&block, &signature).unwrap();
    assert_eq!(public.recover_pkcs1(&signature).unwrap(), block);
    assert_eq!(public.verify_pkcs1(&digest, &signature), Err(Error::SignatureInvalid));
    assert_eq!(public.verify_pkcs1(&block, &[0; 256]), Err(Error::SignatureInvalid));
    assert_eq!(public.verify_pkcs1(&block, &[0xff; 256]), Err(Error::SignatureInvalid));
    assert_eq!(public.verify_pkcs1(&block, &signature[1..]), Err(Error::SignatureLength));
    assert!(KEY.sign_pkcs1(&[1; 245]).is_ok());
    assert_eq!(KEY.sign_pkcs1(&[1; 246]), Err(Error::DataLength));

    for salt in [0, 20, 32, 222] {
        let signature = KEY.sign_pss(Hash::Sha256, Hash::Sha256, salt, &digest).unwrap();
        theirs.to_public_key().verify(Pss::new_with_salt::<sha2::Sha256>(salt), &digest, &signature).unwrap();
        public.verify_pss(Hash::Sha256, Hash::Sha256, salt, &digest, &signature).unwrap();
        let other = public.verify_pss(Hash::Sha256, Hash::Sha256, salt ^ 1, &digest, &signature);
        assert!(other.is_err());
        let other = public.verify_pss(Hash::Sha256, Hash::Sha1, salt, &digest, &signature);
        assert_eq!(other, Err(Error::SignatureInvalid));
    }
    let mixed = KEY.sign_pss(Hash::Sha3_256, Hash::Sha1, 8, &digest).unwrap();
    public.verify_pss(Hash::Sha3_256, Hash::Sha1, 8, &digest, &mixed).unwrap();
    assert!(matches!(KEY.sign_pss(Hash::Sha256, Hash::Sha256, 223, &digest), Err(Error::InvalidParameter { .. })));
    assert_eq!(KEY.sign_pss(Hash::Sha384, Hash::Sha256, 20, &digest), Err(Error::DataLength));

    assert_eq!(public.raw(&KEY.raw(b"some number").unwrap()).unwrap()[245..], *b"some number");
    assert_eq!(KEY.raw(&[1; 257]), Err(Error::DataLength));
}

#[test]
fn encryption_agrees_with_another_implementation() {
    let (theirs, public, mut random) = (theirs(&KEY), public(&KEY), rsa::rand_core::OsRng);
    let sealed = theirs.to_public_key().encrypt(&mut random, Pkcs1v15Encrypt, b"secret").unwrap();
    assert_eq!(KEY.decrypt_pkcs1(&sealed).unwrap().as_slice(), b"secret");
    assert_eq!(theirs.decrypt(Pkcs1v15Encrypt, &public.encrypt_pkcs1(b"secret").unwrap()).unwrap(), b"secret");
    assert_eq!(public.encrypt_pkcs1(&[1; 246]), Err(Error::DataLength));

    let scheme = || Oaep::new_with_mgf_hash_and_label::<sha2::Sha384, sha2::Sha256, _>("label");
    let sealed = theirs.to_public_key().encrypt(&mut random, scheme(), b"secret").unwrap();
    let open = |sealed: &[u8]| KEY.decrypt_oaep(Hash::Sha384, Hash::Sha256, b"label", sealed);
    assert_eq!(open(&sealed).unwrap().as_slice(), b"secret");
    let sealed = public.encrypt_oaep(Hash::Sha384, Hash::Sha256, b"label", b"secret").unwrap();
    assert_eq!(theirs.decrypt(scheme(), &sealed).unwrap(), b"secret");
    assert_eq!(open(&[7; 256]), Err(Error::Ciphertext));
    assert_eq!(open(&[0xff; 256]), Err(Error::Ciphertext));
    assert_eq!(open(&sealed[1..]), Err(Error::CiphertextLength));
    for label in [&b""[..], b"Label"] {
        assert_eq!(KEY.decrypt_oaep(Hash::Sha384, Hash::Sha256, label, &sealed), Err(Error::Ciphertext));
    }
    assert!(public.encrypt_oaep(Hash::Sha1, Hash::Sha1, b"", &[1; 214]).is_ok());
    assert_eq!(public.encrypt_oaep(Hash::Sha1, Hash::Sha1, b"", &[1; 215]), Err(Error::DataLength));
}

/// The judge: OAEP decryption by aws-lc's EVP interface with [`KEY`].
fn by_aws_lc(hash: Hash, mgf: Hash, label: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; sealed.len()];
    let mut len = out.len();
    // SAFETY: new objects of ours around a valid key; the label's copy goes to the context; buffers have their lengths.
    let answer = unsafe {
        let key = Owned::new(lc::EVP_PKEY_new(), "EVP_PKEY_new").unwrap();
        assert_eq!(lc::EVP_PKEY_set1_RSA(key.as_ptr(), KEY.rsa.as_ptr()), 1);
        let context = Owned::new(lc::EVP_PKEY_CTX_new(key.as_ptr(), null_mut()), "EVP_PKEY_CTX_new").unwrap();
        let context = context.as_ptr();
        assert_eq!(lc::EVP_PKEY_decrypt_init(context), 1);
        assert_eq!(lc::EVP_PKEY_CTX_set_rsa_padding(context, lc::RSA_PKCS1_OAEP_PADDING), 1);
        assert_eq!(lc::EVP_PKEY_CTX_set_rsa_oaep_md(context, md(hash).unwrap()), 1);
        assert_eq!(lc::EVP_PKEY_CTX_set_rsa_mgf1_md(context, md(mgf).unwrap()), 1);
        if !label.is_empty() {
            let copy = lc::OPENSSL_memdup(label.as_ptr().cast(), label.len());
            assert_eq!(lc::EVP_PKEY_CTX_set0_rsa_oaep_label(context, copy.cast(), label.len()), 1);
        }
        let answer = lc::EVP_PKEY_decrypt(context, out.as_mut_ptr(), &raw mut len, sealed.as_ptr(), sealed.len());
        lc::ERR_clear_error();
        answer
    };
    out.truncate(len);
    (answer == 1).then_some(out)
}

#[test]
fn oaep_blocks_from_a_device() {
    let public = public(&KEY);
    for (hash, mgf, label) in
        [(Hash::Sha1, Hash::Sha1, &b""[..]), (Hash::Sha256, Hash::Sha1, b"l"), (Hash::Sha3_512, Hash::Sha384, b"")]
    {
        for len in [0, 1, 254 - 2 * hash.len()] {
            let plaintext = vec![1; len];
            let block = KEY.raw(&public.encrypt_oaep(hash, mgf, label, &plaintext).unwrap()).unwrap();
            assert_eq!(unpad_oaep(hash, mgf, label, &block).unwrap().as_slice(), plaintext);
            assert_eq!(by_aws_lc(hash, mgf, label, &public.raw(&block).unwrap()), Some(plaintext.clone()));
            assert_eq!(unpad_oaep(hash, mgf, b"x", &block), Err(Error::Ciphertext));
            assert_eq!(unpad_oaep(hash, mgf, label, &block[1..]), Err(Error::Ciphertext));
            for position in (0..256).step_by(15) {
                let mut changed = block.clone();
                changed[position] ^= 0x40;
                assert_eq!(unpad_oaep(hash, mgf, label, &changed), Err(Error::Ciphertext));
                // aws-lc says the same of what such a block was encrypted as.
                if let Ok(sealed) = public.raw(&changed) {
                    assert_eq!(KEY.decrypt_oaep(hash, mgf, label, &sealed), Err(Error::Ciphertext));
                    assert_eq!(by_aws_lc(hash, mgf, label, &sealed), None);
                }
            }
        }
    }
    assert_eq!(unpad_oaep(Hash::Sha1, Hash::Sha1, b"", &[]), Err(Error::Ciphertext));
    assert_eq!(unpad_oaep(Hash::Sha512, Hash::Sha1, b"", &[0; 129]), Err(Error::Ciphertext));
}

#[test]
fn keys_from_numbers_and_back() {
    let whole = KEY.numbers();
    let [n, e, d, p, q, dp, dq, qi] = whole.each_ref().map(|number| number.as_slice());
    let crt = Some([p, q, dp, dq, qi]);
    let signature = KEY.sign_pkcs1(b"block").unwrap();
    // d may be the inverse for (p-1)(q-1) or for their least common multiple; `rsa` makes the former.
    let other = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1088).unwrap();
    let [on, oe, od] = [other.n(), other.e(), other.d()].map(rsa::BigUint::to_bytes_be);
    RsaKey::from_numbers(&on, &oe, &od, None).unwrap().check().unwrap();
    for key in [
        RsaKey::from_numbers(n, e, d, crt).unwrap(),
        RsaKey::from_numbers(n, e, d, None).unwrap(),
        RsaKey::from_der(&KEY.to_der().unwrap()).unwrap(),
    ] {
        assert_eq!(key.numbers(), whole);
        assert_eq!(key.sign_pkcs1(b"block").unwrap(), signature);
        assert_eq!(key.decrypt_pkcs1(&[9; 256]).unwrap(), KEY.decrypt_pkcs1(&[9; 256]).unwrap());
    }
    let mut changed = d.to_vec();
    changed[9] ^= 1;
    let even = [&n[..255], &[n[255] ^ 1]].concat();
    for (n, e, d, crt) in [
        (n, e, changed.as_slice(), crt),
        (n, e, changed.as_slice(), None),
        (n, &[3], d, None),
        (n, &[1], &[1], None),
        (n, &[1], d, crt),
        (n, &[1, 0, 0], d, crt),
        (n, &[], d, None),
        (even.as_slice(), e, d, None),
        (n, e, n, None),
        (n, e, &[], None),
        (p, e, dp, None),
        (n, e, d, Some([p, q, dq, dp, qi])),
        (n, e, d, Some([n, &[1], dp, dq, qi])),
    ] {
        assert!(matches!(RsaKey::from_numbers(n, e, d, crt), Err(Error::InvalidParameter { .. })));
    }
    for der in [&b""[..], b"\x30\x00", &KEY.to_der().unwrap()[1..]] {
        assert!(RsaKey::from_der(der).is_err());
    }
    for (n, e) in [(n, &[1][..]), (n, &[2]), (n, &[]), (even.as_slice(), e), (&n[..100], e), (n, &[3; 5]), (&[], e)] {
        assert!(matches!(RsaPublic::new(n, e), Err(Error::InvalidParameter { .. })));
    }
    // SAFETY: reads this thread's queue.
    assert_eq!(unsafe { lc::ERR_peek_error() }, 0, "errors were left in aws-lc's queue");
}

#[test]
fn new_keys() {
    let key = RsaKey::generate(1152, &[3]).unwrap();
    assert_eq!((key.size(), key.public().1), (144, vec![3]));
    key.check().unwrap();
    for (bits, e) in
        [(512, &[3][..]), (1100, &[3]), (8320, &[3]), (1024, &[1]), (1024, &[4]), (1024, &[]), (1024, &[3; 5])]
    {
        assert!(matches!(RsaKey::generate(bits, e), Err(Error::InvalidParameter { .. })));
    }
}

#[test]
fn one_key_in_many_threads() {
    let signature = KEY.sign_pkcs1(b"block").unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..20).for_each(|_| assert_eq!(KEY.sign_pkcs1(b"block").unwrap(), signature)));
        }
    });
}
