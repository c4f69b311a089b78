//! Encryption: AES in every mode against openssl, in one part and in many; RSA; in place.

use cryptoki_sys::*;

use crate::call;
use crate::support::{Client, Installation, Mech, b, hex, openssl, s, u, unhex, v};

const IV: [u8; 16] = [0x42; 16];

fn message(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 13 + 5) as u8).collect()
}

/// The modes that openssl has on its command line.
fn modes() -> [(Mech, &'static str, bool); 4] {
    [
        (Mech::new(CKM_AES_ECB), "ecb", true),
        (Mech::with(CKM_AES_CBC, IV), "cbc", true),
        (Mech::with(CKM_AES_CBC_PAD, IV), "cbc", false),
        (Mech::ctr(IV, 128), "ctr", false),
    ]
}

#[test]
fn modes_as_openssl_has_them() {
    let installation = Installation::software();
    let c = installation.client();
    for bytes in [16, 24, 32] {
        let value = message(bytes);
        let key = c.secret(CKK_AES, &value);
        for (mechanism, mode, whole_blocks) in modes() {
            for len in [0, 1, 15, 16, 17, 32, 4096, 5000] {
                if whole_blocks && len % 16 != 0 {
                    assert_eq!(c.encrypt(mechanism.clone(), key, &message(len)), Err(CKR_DATA_LEN_RANGE));
                    assert_eq!(c.decrypt(mechanism.clone(), key, &message(len)), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
                    continue;
                }
                let data = message(len);
                std::fs::write(installation.path("data"), &data).unwrap();
                let (cipher, value) = (format!("-aes-{}-{mode}", bytes * 8), hex(&value));
                let iv = hex(&IV);
                let mut words = vec!["enc", &cipher, "-K", &value, "-in", "data"];
                if mode != "ecb" {
                    words.extend(["-iv", &iv]);
                }
                if whole_blocks {
                    words.push("-nopad");
                }
                let expected = openssl(&installation.path("."), &words).unwrap();
                let found = c.encrypt(mechanism.clone(), key, &data).unwrap();
                assert_eq!(found, expected, "{cipher}, {len} bytes");
                assert_eq!(c.decrypt(mechanism.clone(), key, &found).unwrap(), data, "{cipher}, {len} bytes");
                in_parts(&c, &mechanism, key, &data, &found);
            }
        }
    }
}

/// Every split gives the same; what an Update announces is what it puts out.
fn in_parts(c: &Client, mechanism: &Mech, key: CK_OBJECT_HANDLE, data: &[u8], encrypted: &[u8]) {
    for size in [1usize, 15, 16, 17, 1000] {
        if data.len() > 100 * size {
            continue;
        }
        c.encrypt_init(mechanism.clone(), key).unwrap();
        let mut found: Vec<u8> = data.chunks(size).flat_map(|part| c.encrypt_update(part).unwrap()).collect();
        found.extend(c.encrypt_final().unwrap());
        assert_eq!(hex(&found), hex(encrypted), "{:#x} in parts of {size}", mechanism.kind);
        c.decrypt_init(mechanism.clone(), key).unwrap();
        let mut found: Vec<u8> = encrypted.chunks(size).flat_map(|part| c.decrypt_update(part).unwrap()).collect();
        found.extend(c.decrypt_final().unwrap());
        assert_eq!(hex(&found), hex(data), "{:#x} in parts of {size}", mechanism.kind);
    }
}

/// McGrew and Viega, "The Galois/Counter Mode of Operation", test case 4; both forms of the parameter.
/// PyKCS11 makes its buffer as long as it is told, and passes NULL for one of no bytes: which is a question again, and the
/// data never arrives. So the answer to the question is never 0 for something.
#[test]
fn an_update_is_never_told_to_bring_no_buffer() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.secret(CKK_AES, &[7; 32]);
    let like_pykcs11 = |call: &dyn Fn(CK_BYTE_PTR, CK_ULONG_PTR) -> CK_RV| {
        let mut len = 0;
        assert_eq!(call(std::ptr::null_mut(), &raw mut len), CKR_OK);
        let mut buffer = vec![0; len as usize];
        let start = if len == 0 { std::ptr::null_mut() } else { buffer.as_mut_ptr() };
        assert_eq!(call(start, &raw mut len), CKR_OK);
        buffer.truncate(len as usize);
        buffer
    };
    let gcm = Mech::gcm(&[3; 12], b"aad", 128);
    let padded = Mech::with(CKM_AES_CBC_PAD, [3; 16]);
    for (mechanism, step) in [(gcm, 5), (padded, 5), (Mech::ctr([3; 16], 128), 1)] {
        let data = message(21);
        let whole = c.encrypt(mechanism.clone(), key, &data).unwrap();
        c.encrypt_init(mechanism.clone(), key).unwrap();
        let mut made = Vec::new();
        for part in data.chunks(step) {
            let (from, len) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
            made.extend(like_pykcs11(&|out, size| crate::call!(c.m, C_EncryptUpdate(c.h, from, len, out, size))));
        }
        made.extend(like_pykcs11(&|out, size| crate::call!(c.m, C_EncryptFinal(c.h, out, size))));
        assert_eq!(made, whole, "{:#x}", mechanism.kind);
        c.decrypt_init(mechanism.clone(), key).unwrap();
        let mut found = Vec::new();
        for part in whole.chunks(step) {
            let (from, len) = (part.as_ptr().cast_mut(), part.len() as CK_ULONG);
            found.extend(like_pykcs11(&|out, size| crate::call!(c.m, C_DecryptUpdate(c.h, from, len, out, size))));
        }
        found.extend(like_pykcs11(&|out, size| crate::call!(c.m, C_DecryptFinal(c.h, out, size))));
        assert_eq!(found, data, "{:#x}", mechanism.kind);
    }
}

#[test]
fn gcm_known_answer() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.secret(CKK_AES, &unhex("feffe9928665731c6d6a8f9467308308"));
    let iv = unhex("cafebabefacedbaddecaf888");
    let aad = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
    let data = unhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
    );
    let expected = unhex(
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091
         5bc94fbc3221a5db94fae95ae7121a47",
    );
    for mechanism in [Mech::gcm(&iv, &aad, 128), Mech::gcm_40(&iv, &aad, 128)] {
        assert_eq!(hex(&c.encrypt(mechanism.clone(), key, &data).unwrap()), hex(&expected));
        assert_eq!(c.decrypt(mechanism.clone(), key, &expected).unwrap(), data);
        in_parts(&c, &mechanism, key, &data, &expected);
        let mut wrong = expected.clone();
        wrong[3] ^= 1;
        assert_eq!(c.decrypt(mechanism.clone(), key, &wrong), Err(CKR_ENCRYPTED_DATA_INVALID));
        assert_eq!(c.decrypt(mechanism.clone(), key, &wrong[..15]), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
        // Nothing is released before the tag was found right.
        c.decrypt_init(mechanism.clone(), key).unwrap();
        assert_eq!(c.decrypt_update(&wrong).unwrap(), b"");
        assert_eq!(c.decrypt_final(), Err(CKR_ENCRYPTED_DATA_INVALID));
        assert_eq!(c.decrypt(mechanism, key, &expected).unwrap(), data);
    }
    let short = Mech::gcm(&iv, &aad, 96);
    assert_eq!(hex(&c.encrypt(short, key, &data).unwrap()), hex(&expected[..data.len() + 12]));
    for (iv_len, bits) in [(0, 128), (12, 0), (12, 127), (12, 136), (12, CK_ULONG::MAX)] {
        let wrong = Mech::gcm(&iv[..iv_len], b"", bits);
        assert_eq!(c.encrypt_init(wrong, key), Err(CKR_MECHANISM_PARAM_INVALID), "IV of {iv_len}, tag of {bits}");
    }
}

/// What an operation leaves behind for the next one of its kind is nothing that either of them can see.
#[test]
fn one_gcm_after_the_other() {
    let installation = Installation::software();
    let c = installation.client();
    let keys = [c.secret(CKK_AES, &[1; 16]), c.secret(CKK_AES, &[2; 32]), c.aes(32, &[b(CKA_TOKEN, true)])];
    let ivs: Vec<Vec<u8>> = [12, 1, 16, 17, 256].map(message).into();
    for round in 0..120usize {
        let (iv, aad) = (&ivs[round % 5], message([0, 20, 70_000][round % 3]));
        let mechanism = Mech::gcm(iv, &aad, [128, 96, 32][round / 3 % 3]);
        // The same key for some rounds, then another.
        let (key, data) = (keys[round / 7 % 3], message(round * 9));
        let found = c.encrypt(mechanism.clone(), key, &data).unwrap();
        assert_eq!(c.encrypt_data(&data), Err(CKR_OPERATION_NOT_INITIALIZED));
        assert_eq!(c.encrypt_update(&data), Err(CKR_OPERATION_NOT_INITIALIZED));
        if round % 2 == 0 {
            assert_eq!(c.encrypt_init(Mech::gcm(iv, &aad, 127), key), Err(CKR_MECHANISM_PARAM_INVALID));
            assert_eq!(c.encrypt_final(), Err(CKR_OPERATION_NOT_INITIALIZED));
        }
        // In parts nothing of the last operation is used.
        if round % 4 > 0 {
            c.encrypt_init(mechanism.clone(), key).unwrap();
            assert_eq!(c.encrypt_init(mechanism.clone(), key), Err(CKR_OPERATION_ACTIVE));
            let parts = [c.encrypt_update(&data).unwrap(), c.encrypt_final().unwrap()].concat();
            assert_eq!(hex(&found), hex(&parts), "round {round}");
        }
        assert_eq!(c.decrypt(mechanism, key, &found).unwrap(), data, "round {round}");
    }
    // Disabled between two of them, and within one.
    let id = installation.alikms(&["ListKeys"])["Keys"]["Key"][0]["KeyId"].as_str().unwrap().to_owned();
    let gcm = || Mech::gcm(&[1; 12], b"", 128);
    let found = c.encrypt(gcm(), keys[2], b"data").unwrap();
    for begun in [false, true] {
        if begun {
            c.encrypt_init(gcm(), keys[2]).unwrap();
        }
        installation.alikms(&["DisableKey", "--KeyId", &id]);
        if begun {
            assert_eq!(c.encrypt_data(b"data"), Err(CKR_FUNCTION_REJECTED));
        }
        assert_eq!(c.encrypt_init(gcm(), keys[2]), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
        installation.alikms(&["EnableKey", "--KeyId", &id]);
        assert_eq!(c.encrypt(gcm(), keys[2], b"data").unwrap(), found);
    }
    // Logged out, the session has nothing left.
    assert_eq!(c.logout(), CKR_OK);
    assert!(c.encrypt_init(gcm(), keys[2]).is_err());
}

/// The SunJCE way: a second C_EncryptInit after the first was cancelled by C_Encrypt of nothing.
#[test]
fn cancelled_by_nothing() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    for _ in 0..3 {
        c.encrypt_init(Mech::gcm(&[1; 12], b"", 128), key).unwrap();
        assert_eq!(c.encrypt_data(b"").unwrap().len(), 16);
    }
    c.decrypt_init(Mech::gcm(&[1; 12], b"", 128), key).unwrap();
    assert!(c.decrypt_data(b"").is_err());
    c.decrypt_init(Mech::gcm(&[1; 12], b"", 128), key).unwrap();
}

#[test]
fn counters_end_with_their_bits() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.secret(CKK_AES, &[1; 16]);
    let block = |counter: &[u8; 16]| c.encrypt(CKM_AES_ECB, key, counter).unwrap();
    let mut start = [0xabu8; 16];
    start[14..].copy_from_slice(&[0x00, 0xff]);
    let mut next = start;
    next[14..].copy_from_slice(&[0x01, 0x00]);
    let stream = c.encrypt(Mech::ctr(start, 16), key, &[0; 32]).unwrap();
    assert_eq!(stream, [block(&start), block(&next)].concat());
    start[14..].fill(0xff);
    assert_eq!(c.encrypt(Mech::ctr(start, 16), key, &[0; 16]).unwrap(), block(&start));
    assert_eq!(c.encrypt(Mech::ctr(start, 16), key, &[0; 17]), Err(CKR_DATA_LEN_RANGE), "no counter is used twice");
    c.encrypt_init(Mech::ctr(start, 16), key).unwrap();
    c.encrypt_update(&[0; 10]).unwrap();
    assert_eq!(c.encrypt_update(&[0; 7]), Err(CKR_DATA_LEN_RANGE));
    assert_eq!(c.encrypt_final(), Err(CKR_OPERATION_NOT_INITIALIZED));
    for bits in [0, 129, CK_ULONG::MAX] {
        assert_eq!(c.encrypt_init(Mech::ctr(start, bits), key), Err(CKR_MECHANISM_PARAM_INVALID));
    }
}

/// RFC 3394 §4.6 and RFC 5649 §6.
#[test]
fn key_wrap_known_answers() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.secret(CKK_AES, &unhex("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"));
    let data = unhex("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
    let wrapped = unhex("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21");
    assert_eq!(hex(&c.encrypt(CKM_AES_KEY_WRAP, key, &data).unwrap()), hex(&wrapped));
    assert_eq!(c.decrypt(CKM_AES_KEY_WRAP, key, &wrapped).unwrap(), data);
    let mut wrong = wrapped.clone();
    wrong[0] ^= 1;
    assert_eq!(c.decrypt(CKM_AES_KEY_WRAP, key, &wrong), Err(CKR_ENCRYPTED_DATA_INVALID));
    assert_eq!(c.encrypt(CKM_AES_KEY_WRAP, key, &data[..31]), Err(CKR_DATA_LEN_RANGE));
    let key = c.secret(CKK_AES, &unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8"));
    for (data, wrapped) in [
        (
            "c37b7e6492584340bed12207808941155068f738",
            "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a",
        ),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ] {
        assert_eq!(hex(&c.encrypt(CKM_AES_KEY_WRAP_KWP, key, &unhex(data)).unwrap()), wrapped);
        assert_eq!(hex(&c.decrypt(CKM_AES_KEY_WRAP_KWP, key, &unhex(wrapped)).unwrap()), data);
    }
}

/// PKCS#11 allows output where the input lies, and overlapping it.
#[test]
fn in_place() {
    let installation = Installation::software();
    let c = installation.client();
    let key = c.aes(32, &[]);
    let data = message(4096);
    let mechanisms = modes().map(|(mechanism, ..)| mechanism).into_iter().chain([Mech::gcm(&[1; 12], b"", 128)]);
    for mechanism in mechanisms {
        let expected = c.encrypt(mechanism.clone(), key, &data).unwrap();
        for (from, to) in [(64, 64), (64, 57), (64, 80)] {
            let mut area = vec![0xa5u8; 4300];
            let at = area.as_mut_ptr();
            let run = |encrypt: bool, input: &[u8], area: &mut Vec<u8>| {
                area[from..from + input.len()].copy_from_slice(input);
                let (mut len, size) = (4200, input.len() as CK_ULONG);
                let (input, output) = (at.wrapping_add(from), at.wrapping_add(to));
                let rv = match encrypt {
                    true => call!(c.m, C_Encrypt(c.h, input, size, output, &raw mut len)),
                    false => call!(c.m, C_Decrypt(c.h, input, size, output, &raw mut len)),
                };
                assert_eq!(rv, CKR_OK);
                area[to..to + len as usize].to_vec()
            };
            c.encrypt_init(mechanism.clone(), key).unwrap();
            assert_eq!(run(true, &data, &mut area), expected, "{:#x}", mechanism.kind);
            c.decrypt_init(mechanism.clone(), key).unwrap();
            assert_eq!(run(false, &expected, &mut area), data, "{:#x}", mechanism.kind);
        }
    }
}

/// What each level must do with RSA decryption: OAEP with every hash and label, v1.5, raw; the plaintexts come from openssl.
fn rsa_decryption(level: &str) {
    let installation = Installation::at(level);
    let c = installation.client();
    let id = installation.create_key(
        "dec",
        &["--KeySpec=RSA_2048", "--KeyUsage=ENCRYPT/DECRYPT", &format!("--ProtectionLevel={level}")],
    );
    let pem = installation.public_pem(&id);
    let pem = pem.to_str().unwrap();
    let (public, private) = (c.one(CKO_PUBLIC_KEY, "dec"), c.one(CKO_PRIVATE_KEY, "dec"));
    let data = message(50);
    std::fs::write(installation.path("data"), &data).unwrap();
    let encrypt = |options: &[&str]| {
        let mut words = vec!["pkeyutl", "-encrypt", "-pubin", "-inkey", pem, "-in", "data"];
        for option in options {
            words.extend(["-pkeyopt", option]);
        }
        openssl(&installation.path("."), &words).unwrap()
    };
    for (hash, mgf, name) in [
        (CKM_SHA_1, CKG_MGF1_SHA1, "sha1"),
        (CKM_SHA224, CKG_MGF1_SHA224, "sha224"),
        (CKM_SHA256, CKG_MGF1_SHA256, "sha256"),
        (CKM_SHA384, CKG_MGF1_SHA384, "sha384"),
        (CKM_SHA512, CKG_MGF1_SHA512, "sha512"),
    ] {
        for label in [&b""[..], b"a label"] {
            let (md, label_hex) = (format!("rsa_oaep_md:{name}"), format!("rsa_oaep_label:{}", hex(label)));
            let mut options = vec!["rsa_padding_mode:oaep", &md];
            if !label.is_empty() {
                options.push(&label_hex);
            }
            let mechanism = Mech::oaep(hash, mgf, label);
            assert_eq!(c.decrypt(mechanism.clone(), private, &encrypt(&options)).unwrap(), data, "{name} {label:?}");
            let own = c.encrypt(mechanism, public, &data).unwrap();
            let other = Mech::oaep(hash, mgf, b"another label");
            assert_eq!(c.decrypt(other, private, &own), Err(CKR_ENCRYPTED_DATA_INVALID));
        }
    }
    // Hash and MGF may differ; pkcs11-provider 1.0 names neither.
    let mixed = encrypt(&["rsa_padding_mode:oaep", "rsa_oaep_md:sha256", "rsa_mgf1_md:sha1"]);
    assert_eq!(c.decrypt(Mech::oaep(CKM_SHA256, CKG_MGF1_SHA1, b""), private, &mixed).unwrap(), data);
    let default = encrypt(&["rsa_padding_mode:oaep"]);
    assert_eq!(c.decrypt(Mech::oaep(0, 0, b""), private, &default).unwrap(), data);
    for (hash, mgf) in [(CKM_SHA256, 0), (CKM_MD5, CKG_MGF1_SHA1), (CKM_RSA_PKCS, CKG_MGF1_SHA1), (CKM_SHA_1, 99)] {
        assert_eq!(c.decrypt_init(Mech::oaep(hash, mgf, b""), private), Err(CKR_MECHANISM_PARAM_INVALID));
    }

    let padded = encrypt(&["rsa_padding_mode:pkcs1"]);
    assert_eq!(c.decrypt(CKM_RSA_PKCS, private, &padded).unwrap(), data);
    assert_eq!(c.decrypt(CKM_RSA_PKCS, private, &c.encrypt(CKM_RSA_PKCS, public, &data).unwrap()).unwrap(), data);
    implicit_rejection(&c, public, private);
    let raw = c.encrypt(CKM_RSA_X_509, public, &data).unwrap();
    assert!(c.decrypt(CKM_RSA_X_509, private, &raw).unwrap().ends_with(&data));

    for mechanism in [Mech::new(CKM_RSA_PKCS), Mech::new(CKM_RSA_X_509), Mech::oaep(CKM_SHA_1, CKG_MGF1_SHA1, b"")] {
        assert_eq!(c.decrypt(mechanism.clone(), private, &padded[1..]), Err(CKR_ENCRYPTED_DATA_LEN_RANGE));
        assert_eq!(c.encrypt(mechanism.clone(), public, &[1; 257]), Err(CKR_DATA_LEN_RANGE));
        c.decrypt_init(mechanism.clone(), private).unwrap();
        assert_eq!(c.decrypt_update(&padded), Err(CKR_FUNCTION_NOT_SUPPORTED), "one part only");
        assert_eq!(c.decrypt_data(&padded), Err(CKR_OPERATION_NOT_INITIALIZED));
    }
    // The key may not sign.
    assert_eq!(c.sign_init(CKM_RSA_PKCS, private), Err(CKR_KEY_FUNCTION_NOT_PERMITTED));
}

/// A ciphertext whose padding is wrong decrypts to something, always to the same (no Bleichenbacher oracle).
fn implicit_rejection(c: &Client, public: CK_OBJECT_HANDLE, private: CK_OBJECT_HANDLE) {
    let mut block = [1u8; 256];
    block[0] = 0;
    block[1] = 1;
    let mut seen = Vec::new();
    for last in 0..6 {
        block[255] = last;
        let garbage = c.encrypt(CKM_RSA_X_509, public, &block).unwrap();
        let found = c.decrypt(CKM_RSA_PKCS, private, &garbage).unwrap();
        assert_eq!(c.decrypt(CKM_RSA_PKCS, private, &garbage).unwrap(), found);
        assert!(found.len() <= 245);
        seen.push(found);
    }
    assert!(seen.windows(2).any(|pair| pair[0].len() != pair[1].len()), "lengths are as random as contents");
}

#[test]
fn rsa_decryption_in_software() {
    rsa_decryption("SOFTWARE");
}

#[test]
fn rsa_decryption_in_a_device() {
    rsa_decryption("HSM");
}

/// Raw AES keys of the token, at both levels: the same text either way.
fn aes_token_keys(level: &str) {
    let installation = Installation::at(level);
    let mut c = installation.client();
    c.exact = level != "HSM";
    let key = c.aes(32, &[b(CKA_TOKEN, true), s(CKA_LABEL, "raw")]);
    assert_eq!(c.get(key, crate::support::LEVEL).unwrap(), level.as_bytes());
    let imported = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, CKK_AES), v(CKA_VALUE, [7; 32]), b(CKA_TOKEN, true)];
    // Key bytes do not go into a device through a template.
    let imported = match level {
        "HSM" => {
            assert_eq!(c.create(&imported), Err(CKR_TEMPLATE_INCONSISTENT));
            c.create(&[&imported[..], &[s(crate::support::LEVEL, "SOFTWARE")]].concat()).unwrap()
        }
        _ => c.create(&imported).unwrap(),
    };
    let same = c.secret(CKK_AES, &[7; 32]);
    let mechanisms = modes().map(|(mechanism, ..)| mechanism).into_iter();
    for mechanism in mechanisms.chain([Mech::gcm(&[1; 12], b"aad", 128), Mech::gcm_40(&[1; 12], b"", 96)]) {
        let data = message(4096);
        let text = c.encrypt(mechanism.clone(), key, &data).unwrap();
        let back = c.decrypt(mechanism.clone(), key, &text);
        assert_eq!(back.as_ref(), Ok(&data), "{:#x} with {:?}", mechanism.kind, mechanism.parameter);
        in_parts(&c, &mechanism, key, &data, &text);
        let text = c.encrypt(mechanism.clone(), same, &data).unwrap();
        assert_eq!(c.encrypt(mechanism.clone(), imported, &data).unwrap(), text, "{:#x}", mechanism.kind);
    }
    for (mechanism, data) in [(CKM_AES_KEY_WRAP, message(32)), (CKM_AES_KEY_WRAP_KWP, message(21))] {
        if level == "HSM" {
            // SoftHSM has it for keys only, and this one may not wrap.
            assert_eq!(c.encrypt(mechanism, key, &data), Err(CKR_MECHANISM_INVALID));
            continue;
        }
        let text = c.encrypt(mechanism, key, &data).unwrap();
        assert_eq!(c.decrypt(mechanism, key, &text).unwrap(), data, "{mechanism:#x}");
        assert_eq!(c.encrypt(mechanism, imported, &data), c.encrypt(mechanism, same, &data), "{mechanism:#x}");
    }
}

#[test]
fn aes_token_keys_in_software() {
    aes_token_keys("SOFTWARE");
}

#[test]
fn aes_token_keys_in_a_device() {
    aes_token_keys("HSM");
}
