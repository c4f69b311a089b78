//! This module, copied to another file, as the device of this module: SM2 and SM4 keys at level HSM.

use cryptoki_sys::*;

use crate::support::{Installation, Mech, Setup, b, s};
use crate::token::at_most;
use crate::*;

/// The outer one's device is a token of keys of level SOFTWARE, of the inner one.
fn outer(inner: &Installation) -> Installation {
    let outer = Installation::new(&Setup { bare: true, ..Setup::default() });
    let library = outer.path("device.so");
    std::fs::copy(std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so"), &library).unwrap();
    let conf = std::fs::read_to_string(outer.conf()).unwrap();
    let device = format!(
        "[[device]]\nname = \"inner\"\nprofile = \"alikms\"\nlibrary = \"{}\"\ntoken = \"alikms\"\npin = \"file:{}\"\n\
         env = {{ ALIKMS_CONF = \"{}\" }}\n",
        library.display(),
        inner.path("user.pin").display(),
        inner.conf().display()
    );
    std::fs::write(outer.conf(), format!("{conf}device = \"inner\"\nprotection_level = \"HSM\"\n{device}")).unwrap();
    let source = |name: &str| format!("file:{}", outer.path(name).display());
    outer.print(&["init", "--pin", &source("user.pin"), "--so-pin", &source("so.pin")]);
    outer
}

#[test]
fn sm_keys_live_in_another_copy_of_this_module() {
    let inner = Installation::software();
    let home = outer(&inner);
    let c = home.client();
    let on = |kinds: [CK_ATTRIBUTE_TYPE; 2]| {
        let mut template: Vec<_> = kinds.iter().map(|kind| b(*kind, true)).collect();
        template.push(s(CKA_LABEL, "sm"));
        template
    };
    let pair = c.generate_pair(SM2_PAIR_GEN, &on([CKA_TOKEN, CKA_VERIFY]), &on([CKA_TOKEN, CKA_SIGN])).unwrap();
    assert_eq!(c.get(pair.1, 0xC14C_4906).unwrap(), b"HSM");
    file(&home, "spki.der", c.get(pair.0, CKA_PUBLIC_KEY_INFO).unwrap());
    ssl(&home, "pkey -pubin -inform DER -in spki.der -pubout -out key.pub");
    file(&home, "message", MESSAGE);
    let signature = at_most(&c, c.sign_init(Mech::new(SM2_SM3_DER), pair.1), MESSAGE, false).unwrap();
    file(&home, "signature", &signature);
    ssl(&home, &format!("dgst -sm3 -verify key.pub -sigopt {DISTID} -signature signature message"));

    // Through the API: an SM2 key that decrypts, and an SM4 key, whose ciphertext blob is made in the device.
    let sealing = home.create_hsm("EC_SM2", "ENCRYPT/DECRYPT");
    let sealed = home.api(&[
        "AsymmetricEncrypt",
        "--KeyId",
        &sealing,
        "--KeyVersionId",
        &home.version(&sealing),
        "--Algorithm",
        "SM2PKE",
        "--Plaintext",
        "bWVzc2FnZQ==",
        "--query",
        "CiphertextBlob",
    ]);
    let opened = home.api(&[
        "AsymmetricDecrypt",
        "--KeyId",
        &sealing,
        "--KeyVersionId",
        &home.version(&sealing),
        "--Algorithm",
        "SM2PKE",
        "--CiphertextBlob",
        &sealed,
        "--query",
        "Plaintext",
    ]);
    assert_eq!(opened, "bWVzc2FnZQ==");
    let secret = home.create_hsm("Aliyun_SM4", "ENCRYPT/DECRYPT");
    let sealed = home.api(&["Encrypt", "--KeyId", &secret, "--Plaintext", "bWVzc2FnZQ==", "--query", "CiphertextBlob"]);
    assert_eq!(home.api(&["Decrypt", "--CiphertextBlob", &sealed, "--query", "Plaintext"]), "bWVzc2FnZQ==");
    // The service says so.
    let told = home.alikms(&["DescribeService"]);
    for spec in told["KeySpecs"]["KeySpec"].as_array().unwrap() {
        let levels = &spec["SupportedProtectionLevels"]["SupportedProtectionLevel"];
        let is_there = levels.as_array().unwrap().iter().any(|level| level == "HSM");
        assert_eq!(is_there, spec["Name"] != "EC_ED25519", "{spec}");
    }
    // Its keys are really there: without it nothing works.
    let there = inner.client().find(&[b(CKA_TOKEN, true)]).len();
    assert!(there >= 5, "{there}");
    assert_eq!(home.print(&["check"]), "everything is in order\n");
}

/// The device was asked for what AES makes of a block, which no SM4 key does, to know the material again.
#[test]
fn sm4_material_is_imported_into_another_copy_of_this_module() {
    let inner = Installation::software();
    let home = outer(&inner);
    let create = ["CreateKey", "--KeySpec", "Aliyun_SM4", "--Origin", "EXTERNAL", "--ProtectionLevel", "HSM"];
    let key = home.api(&[&create[..], &["--query", "KeyMetadata.KeyId"]].concat());
    let parameters = |algorithm: &str| {
        let ask = ["GetParametersForImport", "--KeyId", &key, "--WrappingKeySpec", "RSA_2048"];
        let answer = home.alikms(&[&ask[..], &["--WrappingAlgorithm", algorithm]].concat());
        file(&home, "public.der", unbase64(answer["PublicKey"].as_str().unwrap()));
        answer["ImportToken"].as_str().unwrap().to_owned()
    };
    let oaep = "pkeyutl -encrypt -pubin -keyform DER -inkey public.der -pkeyopt rsa_padding_mode:oaep \
                -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 -in";
    let import = |token: &str, wrapped: &[u8]| {
        let (wrapped, token) = (base64(wrapped), token.to_owned());
        ["ImportKeyMaterial", "--KeyId", &key, "--EncryptedKeyMaterial", &wrapped, "--ImportToken", &token]
            .map(str::to_owned)
    };
    let run = |words: &[String; 7]| home.print(&words.each_ref().map(String::as_str));
    file(&home, "material", [7; 16]);
    let token = parameters("RSAES_OAEP_SHA_256");
    run(&import(&token, &ssl(&home, &format!("{oaep} material"))));
    let sealed = home.api(&["Encrypt", "--KeyId", &key, "--Plaintext", "bWVzc2FnZQ==", "--query", "CiphertextBlob"]);
    home.print(&["DeleteKeyMaterial", "--KeyId", &key]);
    // In one step: this module has CKM_RSA_AES_KEY_WRAP.
    let token = parameters("RSA_AES_KEY_WRAP_SHA_256");
    file(&home, "between", [6; 32]);
    let wrapped = |length: usize| {
        file(&home, "inside", vec![7; length]);
        let inner = format!("enc -e -id-aes256-wrap-pad -iv A65959A6 -in inside -K {}", "06".repeat(32));
        [ssl(&home, &format!("{oaep} between")), ssl(&home, &inner)].concat()
    };
    for length in [8, 15, 17, 24, 32] {
        let words = import(&token, &wrapped(length));
        let said = refused(&home, &words.each_ref().map(String::as_str));
        assert!(said.contains("InvalidKeyMaterial"), "{length}: {said}");
    }
    run(&import(&token, &wrapped(16)));
    assert_eq!(home.api(&["Decrypt", "--CiphertextBlob", &sealed, "--query", "Plaintext"]), "bWVzc2FnZQ==");
    assert_eq!(home.print(&["check"]), "everything is in order\n");
    // A device that has nothing else: whoever asks for another wrapping is told so.
    let without = "profile = \"alikms\"\noverride = { without = [\"CKM_RSA_PKCS\", \"CKM_RSA_PKCS_OAEP\"] }";
    let conf = std::fs::read_to_string(home.conf()).unwrap().replace("profile = \"alikms\"", without);
    std::fs::write(home.conf(), conf).unwrap();
    let ask = ["GetParametersForImport", "--KeyId", &key, "--WrappingKeySpec", "RSA_2048", "--WrappingAlgorithm"];
    for algorithm in ["RSAES_PKCS1_V1_5", "RSAES_OAEP_SHA_256"] {
        let said = refused(&home, &[&ask[..], &[algorithm]].concat());
        let left = "WrappingAlgorithm RSA_AES_KEY_WRAP_SHA_1 or RSA_AES_KEY_WRAP_SHA_256";
        assert!(said.contains("UnsupportedOperation") && said.contains(left), "{said}");
    }
    let token = parameters("RSA_AES_KEY_WRAP_SHA_256");
    run(&import(&token, &wrapped(16)));
}

impl Installation {
    fn api(&self, args: &[&str]) -> String {
        self.print(args).trim_end().to_owned()
    }

    fn create_hsm(&self, spec: &str, usage: &str) -> String {
        let words = ["CreateKey", "--KeySpec", spec, "--KeyUsage", usage, "--ProtectionLevel", "HSM"];
        self.api(&[&words[..], &["--query", "KeyMetadata.KeyId"]].concat())
    }

    fn version(&self, key: &str) -> String {
        self.api(&["ListKeyVersions", "--KeyId", key, "--query", "KeyVersions.KeyVersion.0.KeyVersionId"])
    }
}
