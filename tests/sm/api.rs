//! Through `alikms`: SM2DSA, SM2PKE, Aliyun_SM4.

use cryptoki_sys::*;
use serde_json::Value;

use crate::support::Installation;
use crate::{
    DISTID, MESSAGE, base64, der_of, file, import, openssl_pair, raw_of, refused, ssl, ssl_fails, unbase64, version,
};

/// SM3(Z_A ‖ M) for a public key in PEM, ID 1234567812345678, with openssl's SM3 and constants of GB/T 32918.5.
fn digest(home: &Installation, public: &str, message: &[u8]) -> Vec<u8> {
    let der = ssl(home, &format!("pkey -pubin -in {public} -pubout -outform DER"));
    let curve = crate::support::unhex(
        "fffffffeffffffffffffffffffffffffffffffff00000000fffffffffffffffc28e9fa9e9d9f5e344d5a9e4bcf6509a7f39789f515ab8f92ddbcbd414d940e93\
         32c4ae2c1f1981195f9904466a39c9948fe30bbff2660be1715a4589334c74c7bc3736a2f4f6779c59bdcee36b692153d0a9877cc62a474002df32e52139f0a0",
    );
    let identity = [&[0, 128][..], b"1234567812345678", &curve, &der[der.len() - 64..]].concat();
    file(home, "z.in", identity);
    let identity = ssl(home, "dgst -sm3 -binary z.in");
    file(home, "e.in", [&identity, message].concat());
    ssl(home, "dgst -sm3 -binary e.in")
}

struct Key {
    home: Installation,
    id: String,
    version: String,
    public: String,
}

impl Key {
    fn new(usage: &str) -> Self {
        let home = Installation::software();
        let id = home.create_key("sm2", &["--KeySpec=EC_SM2", &format!("--KeyUsage={usage}")]);
        let (version, public) = (version(&home, &id), home.public_pem(&id).display().to_string());
        Self { home, id, version, public }
    }

    fn args<'a>(&'a self, action: &'a str, algorithm: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        let base = [action, "--KeyId", &self.id, "--KeyVersionId", &self.version, "--Algorithm", algorithm];
        [&base, more].concat()
    }

    fn run(&self, action: &str, algorithm: &str, more: &[&str]) -> Value {
        self.home.alikms(&self.args(action, algorithm, more))
    }

    fn refused(&self, action: &str, algorithm: &str, more: &[&str]) -> String {
        refused(&self.home, &self.args(action, algorithm, more))
    }
}

/// S004-044, S004-114, ruling 14: SM2 signs; openssl verifies with the message and the ID.
#[test]
fn s004_114_sm2dsa_is_what_openssl_verifies() {
    let key = Key::new("SIGN/VERIFY");
    file(&key.home, "message", MESSAGE);
    let e = base64(digest(&key.home, &key.public, MESSAGE));
    let answer = key.run("AsymmetricSign", "SM2DSA", &["--Digest", &e]);
    let signature = unbase64(answer["Value"].as_str().unwrap());
    file(&key.home, "signature", &signature);
    let verify =
        |name: &str, id: &str| format!("dgst -sm3 -verify {} -sigopt {id} -signature {name} message", key.public);
    ssl(&key.home, &verify("signature", DISTID));
    ssl_fails(&key.home, &verify("signature", "distid:somebody"));

    let value = base64(&signature);
    let check = |digest: &str, value: &str| {
        key.run("AsymmetricVerify", "SM2DSA", &["--Digest", digest, "--Value", value])["Value"] == Value::Bool(true)
    };
    assert!(check(&e, &value));
    assert!(!check(&base64([7; 32]), &value));
    for len in [1, 8, signature.len() - 1] {
        assert!(!check(&e, &base64(&signature[..len])), "{len} bytes");
    }
    for at in 0..signature.len() {
        if at % 8 == 0 {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert!(!check(&e, &base64(changed)), "byte {at}");
        }
    }
    // r ‖ s is no signature of the API (ruling 15).
    assert!(!check(&e, &base64([1; 64])));
    for digest in [[1; 31].as_slice(), &[1; 33], &[1; 64]] {
        let said = key.refused("AsymmetricSign", "SM2DSA", &["--Digest", &base64(digest)]);
        assert!(said.contains("InvalidParameter"), "{said}");
    }
    for other in ["ECDSA_SHA_256", "RSA_PKCS1_SHA_256", "SM2PKE"] {
        let said = key.refused("AsymmetricSign", other, &["--Digest", &e]);
        assert!(said.contains("Unsupported"), "{other}: {said}");
    }
    let said = key.refused("AsymmetricEncrypt", "SM2PKE", &["--Plaintext", "AA=="]);
    assert!(said.contains("Unsupported"), "{said}");
}

/// S004-044: SM2 encrypts, 1 to 6047 bytes, C1 ‖ C3 ‖ C2.
#[test]
fn s004_044_sm2pke_encrypts_and_decrypts() {
    let key = Key::new("ENCRYPT/DECRYPT");
    for len in [1, 32, 6047] {
        let plain = base64(vec![b'a'; len]);
        let name = file(&key.home, "plain.b64", &plain).display().to_string();
        let answer = key.run("AsymmetricEncrypt", "SM2PKE", &["--Plaintext-FILE", &name]);
        let blob = answer["CiphertextBlob"].as_str().unwrap();
        assert_eq!(unbase64(blob).len(), len + 97);
        let name = file(&key.home, "blob.b64", blob).display().to_string();
        let answer = key.run("AsymmetricDecrypt", "SM2PKE", &["--CiphertextBlob-FILE", &name]);
        assert_eq!(answer["Plaintext"].as_str().unwrap(), plain);
    }
    let long = file(&key.home, "plain.b64", base64(vec![1; 6048])).display().to_string();
    let said = key.refused("AsymmetricEncrypt", "SM2PKE", &["--Plaintext-FILE", &long]);
    assert!(said.contains("InvalidParameter"), "{said}");
    let answer = key.run("AsymmetricEncrypt", "SM2PKE", &["--Plaintext", &base64(MESSAGE)]);
    let blob = unbase64(answer["CiphertextBlob"].as_str().unwrap());
    for at in [0, 1, 40, 64, 65, 96, 97, blob.len() - 1] {
        let mut changed = blob.clone();
        changed[at] ^= 1;
        let said = key.refused("AsymmetricDecrypt", "SM2PKE", &["--CiphertextBlob", &base64(changed)]);
        assert!(said.contains("InvalidParameter"), "byte {at}: {said}");
    }
    for len in [1, 64, 65, 97, blob.len() - 1] {
        key.refused("AsymmetricDecrypt", "SM2PKE", &["--CiphertextBlob", &base64(&blob[..len])]);
    }
    let said = key.refused("AsymmetricSign", "SM2DSA", &["--Digest", &base64([1; 32])]);
    assert!(said.contains("Unsupported"), "{said}");
}

/// SM2PKE and openssl's ciphertexts are the same but for their form, both ways.
#[test]
fn sm2pke_is_what_openssl_has() {
    let home = Installation::software();
    let (scalar, _) = openssl_pair(&home, "pair");
    let c = home.client();
    let handle = import(&c, &scalar, "pair", &[CKA_DECRYPT]);
    let id = String::from_utf8(c.get(handle, crate::support::KEY_ID).unwrap()).unwrap();
    let version = version(&home, &id);
    let key = ["--KeyId", &id, "--KeyVersionId", &version, "--Algorithm", "SM2PKE"];

    file(&home, "plain", MESSAGE);
    let theirs = ssl(&home, "pkeyutl -encrypt -pubin -inkey pair.pub -in plain");
    let blob = base64(raw_of(&theirs));
    let answer = home.alikms(&[&["AsymmetricDecrypt"], &key[..], &["--CiphertextBlob", &blob]].concat());
    assert_eq!(unbase64(answer["Plaintext"].as_str().unwrap()), MESSAGE);

    let answer = home.alikms(&[&["AsymmetricEncrypt"], &key[..], &["--Plaintext", &base64(MESSAGE)]].concat());
    file(&home, "sealed", der_of(&unbase64(answer["CiphertextBlob"].as_str().unwrap())));
    assert_eq!(ssl(&home, "pkeyutl -decrypt -inkey pair.pem -in sealed"), MESSAGE);
}

/// What KeySpec and KeyUsage become (ruling 6: ENCRYPT/DECRYPT by default; ruling 11: SOFTWARE).
#[test]
fn s004_045_superseded_by_ruling_11() {
    let home = Installation::software();
    for (spec, usage, level) in
        [("EC_SM2", "ENCRYPT/DECRYPT", "SOFTWARE"), ("Aliyun_SM4", "ENCRYPT/DECRYPT", "SOFTWARE")]
    {
        let made = home.alikms(&["CreateKey", "--KeySpec", spec]);
        let key = &made["KeyMetadata"];
        assert_eq!((key["KeySpec"].as_str(), key["KeyUsage"].as_str()), (Some(spec), Some(usage)));
        assert_eq!(key["ProtectionLevel"].as_str(), Some(level));
    }
    // S004-041: SM4 does not sign.
    refused(&home, &["CreateKey", "--KeySpec=Aliyun_SM4", "--KeyUsage=SIGN/VERIFY"]);
}

/// No profile names a device's SM mechanisms: level HSM is refused and says so; nothing falls back to SOFTWARE.
#[test]
fn level_hsm_names_what_the_device_lacks() {
    let home = Installation::with_device();
    for spec in ["EC_SM2", "Aliyun_SM4"] {
        let said = refused(&home, &["CreateKey", "--KeySpec", spec, "--ProtectionLevel=HSM"]);
        assert!(said.contains("lacks") && said.contains(spec), "{said}");
    }
    let keys = home.alikms(&["ListKeys"]);
    assert_eq!(keys["TotalCount"].as_u64(), Some(0), "{keys}");
}

/// S004-055, superseded by ruling 11 in its level: 128 bits, GCM, one blob format for AES and SM4.
#[test]
fn s004_055_sm4_encrypts_blobs() {
    let home = Installation::software();
    let key = home.create_key("sm4", &["--KeySpec=Aliyun_SM4"]);
    let context = r#"{"a":"1","b":"2"}"#;
    let encrypt = |plain: &[u8]| {
        let plain = base64(plain);
        let answer = home.alikms(&["Encrypt", "--KeyId", &key, "--Plaintext", &plain, "--EncryptionContext", context]);
        answer["CiphertextBlob"].as_str().unwrap().to_owned()
    };
    let decrypt = |blob: &str, context: &str| {
        let answer = home.alikms(&["Decrypt", "--CiphertextBlob", blob, "--EncryptionContext", context]);
        unbase64(answer["Plaintext"].as_str().unwrap())
    };
    let blob = encrypt(MESSAGE);
    assert_eq!(unbase64(&blob).len(), 36 + 12 + MESSAGE.len() + 16);
    assert_ne!(encrypt(MESSAGE), blob);
    assert_eq!(decrypt(&blob, r#"{"b":"2","a":"1"}"#), MESSAGE);
    refused(&home, &["Decrypt", "--CiphertextBlob", &blob, "--EncryptionContext", r#"{"a":"1"}"#]);
    let bytes = unbase64(&blob);
    for at in [40, 50, bytes.len() - 1] {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        refused(&home, &["Decrypt", "--CiphertextBlob", &base64(changed), "--EncryptionContext", context]);
    }
    // A new version encrypts; the old one decrypts.
    home.alikms(&["CreateKeyVersion", "--KeyId", &key]);
    let newer = encrypt(MESSAGE);
    assert_ne!(unbase64(&newer)[..36], bytes[..36]);
    for blob in [&blob, &newer] {
        assert_eq!(decrypt(blob, context), MESSAGE);
    }
    // Data keys, and from SM4 to AES and back.
    let made = home.alikms(&["GenerateDataKey", "--KeyId", &key, "--NumberOfBytes=16"]);
    let (plain, sealed) = (made["Plaintext"].as_str().unwrap(), made["CiphertextBlob"].as_str().unwrap());
    assert_eq!(home.alikms(&["Decrypt", "--CiphertextBlob", sealed])["Plaintext"].as_str(), Some(plain));
    let aes = home.create_key("aes", &[]);
    let moved = home.alikms(&["ReEncrypt", "--CiphertextBlob", sealed, "--DestinationKeyId", &aes]);
    let moved = moved["CiphertextBlob"].as_str().unwrap();
    let back = home.alikms(&["ReEncrypt", "--CiphertextBlob", moved, "--DestinationKeyId", &key]);
    let back = back["CiphertextBlob"].as_str().unwrap();
    assert_eq!(home.alikms(&["Decrypt", "--CiphertextBlob", back])["Plaintext"].as_str(), Some(plain));
}

/// Aliyun_SM4 takes imported material of 16 bytes, no more and no less.
#[test]
fn s004_087_sm4_material_has_16_bytes() {
    let home = Installation::software();
    let key = home.create_key("external", &["--KeySpec=Aliyun_SM4", "--Origin=EXTERNAL"]);
    let parameters = home.alikms(&[
        "GetParametersForImport",
        "--KeyId",
        &key,
        "--WrappingAlgorithm=RSAES_OAEP_SHA_256",
        "--WrappingKeySpec=RSA_2048",
    ]);
    file(&home, "wrap.der", unbase64(parameters["PublicKey"].as_str().unwrap()));
    let token = parameters["ImportToken"].as_str().unwrap().to_owned();
    let wrapped = |len: usize| {
        file(&home, "material", vec![0x5a; len]);
        let options = "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256";
        base64(ssl(&home, &format!("pkeyutl -encrypt -pubin -keyform DER -inkey wrap.der -in material {options}")))
    };
    let import = |material: &str| {
        ["ImportKeyMaterial", "--KeyId", &key, "--EncryptedKeyMaterial", material, "--ImportToken", &token]
            .map(str::to_owned)
    };
    for len in [15, 17, 32] {
        let args = import(&wrapped(len));
        refused(&home, &args.each_ref().map(String::as_str));
    }
    let args = import(&wrapped(16));
    home.print(&args.each_ref().map(String::as_str));
    let sealed = home.alikms(&["Encrypt", "--KeyId", &key, "--Plaintext", &base64(MESSAGE)]);
    let plain = home.alikms(&["Decrypt", "--CiphertextBlob", sealed["CiphertextBlob"].as_str().unwrap()]);
    assert_eq!(unbase64(plain["Plaintext"].as_str().unwrap()), MESSAGE);
}
