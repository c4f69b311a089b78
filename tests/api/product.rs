//! Every operation in every state of every kind of key, at both levels, against the table of kms-api.md §2.5, which is
//! written down here once more.

use std::collections::BTreeSet;

use crate::bed::{Bed, DIGEST, from_base64, text, to_base64, unique};
use crate::common::openssl;

/// Tests at both levels, one for each spec.
macro_rules! walks {
    ($(fn $name:ident($spec:literal);)*) => {
        const WALKED: &[&str] = &[$($spec),*];
        $(fn $name(bed: &Bed) { every_kind(bed, $spec) })*
        at_both_levels! { s004_019_020_021_by_arn_and_alias $($name)* }
    };
}

walks! {
    fn s004_149_101_109_aes_256_in_every_state("Aliyun_AES_256");
    fn aes_192_in_every_state("Aliyun_AES_192");
    fn aes_128_in_every_state("Aliyun_AES_128");
    fn sm4_in_every_state("Aliyun_SM4");
    fn rsa_2048_in_every_state("RSA_2048");
    fn rsa_3072_in_every_state("RSA_3072");
    fn rsa_4096_in_every_state("RSA_4096");
    fn s004_149_p256_in_every_state("EC_P256");
    fn s004_149_p256k_in_every_state("EC_P256K");
    fn p384_in_every_state("EC_P384");
    fn p521_in_every_state("EC_P521");
    fn ed25519_in_every_state("EC_ED25519");
    fn sm2_in_every_state("EC_SM2");
    fn hmac_sha_256_in_every_state("HMAC_SHA_256");
    fn hmac_sha_384_in_every_state("HMAC_SHA_384");
    fn hmac_sha_512_in_every_state("HMAC_SHA_512");
}

/// Whose material may come from elsewhere (§2.1).
const EXTERNAL: &[&str] = &["Aliyun_AES_256", "Aliyun_SM4"];

/// Every usage and origin of a spec, as far as it exists at this level.
fn every_kind(bed: &Bed, spec: &'static str) {
    let told = bed.ok("DescribeService", &[]);
    let all = told["KeySpecs"]["KeySpec"].as_array().unwrap();
    let own = all.iter().find(|own| own["Name"] == spec).unwrap();
    let levels = own["SupportedProtectionLevels"]["SupportedProtectionLevel"].as_array().unwrap();
    if !levels.iter().any(|level| level == bed.level.name()) {
        assert!(bed.level.name() == "HSM" && ["Aliyun_SM4", "EC_ED25519", "EC_SM2"].contains(&spec), "{spec}");
        return;
    }
    for usage in own["Usages"]["Usage"].as_array().unwrap() {
        walk(bed, spec, &text(usage), AT_KMS);
    }
    let level = ("ProtectionLevel", bed.level.name());
    match EXTERNAL.contains(&spec) {
        true => walk(bed, spec, "ENCRYPT/DECRYPT", ELSEWHERE),
        false => {
            let refused = bed.refused("CreateKey", &[("KeySpec", spec), ("Origin", ELSEWHERE), level]);
            assert_eq!(refused, (400, UNSUPPORTED), "{spec}");
        }
    }
}

#[test]
fn every_spec_is_walked() {
    let told = crate::bed::software().ok("DescribeService", &[]);
    let mut names: Vec<String> =
        told["KeySpecs"]["KeySpec"].as_array().unwrap().iter().map(|own| text(&own["Name"])).collect();
    let mut walked = WALKED.to_vec();
    names.sort();
    walked.sort_unstable();
    assert_eq!(names, walked);
}

/// Ruling 2: where a KeyId is an alias, it is refused by these, and taken by all others; an ARN is taken by all.
const NO_ALIAS: &[&str] = &[
    "CancelKeyDeletion",
    "CreateAlias",
    "DeleteKeyMaterial",
    "DisableKey",
    "EnableKey",
    "GetParametersForImport",
    "ImportKeyMaterial",
    "ScheduleKeyDeletion",
    "UpdateAlias",
];

fn s004_019_020_021_by_arn_and_alias(bed: &Bed) {
    let kinds = [
        ("Aliyun_AES_256", "ENCRYPT/DECRYPT", AT_KMS),
        ("Aliyun_AES_256", "ENCRYPT/DECRYPT", ELSEWHERE),
        ("EC_P256", "SIGN/VERIFY", AT_KMS),
        ("RSA_2048", "ENCRYPT/DECRYPT", AT_KMS),
    ];
    let mut seen = BTreeSet::new();
    for (spec, usage, origin) in kinds {
        let subject = Subject::new(bed, spec, usage, origin);
        let alias = unique("named");
        bed.ok("CreateAlias", &[("AliasName", &alias), ("KeyId", &subject.id)]);
        let own = format!("acs:kms:{}:{}", crate::common::REGION, crate::common::ACCOUNT);
        let foreign = format!("acs:kms:cn-beijing:{}:key/{}", crate::common::ACCOUNT, subject.id);
        for (action, ..) in TABLE.iter().filter(|row| subject.fits(row.2)) {
            let names = [
                (format!("{own}:key/{}", subject.id), "ok"),
                (format!("{own}:{alias}"), "alias"),
                (alias.clone(), "alias"),
                (foreign.clone(), "Forbidden.KeyNotFound"),
            ];
            for (name, expected) in names {
                let other = unique("named");
                let holder = bed.secret();
                if *action == "UpdateAlias" {
                    bed.ok("CreateAlias", &[("AliasName", &other), ("KeyId", &holder)]);
                }
                subject.bring(if *action == "CancelKeyDeletion" { "PendingDeletion" } else { "Enabled" });
                let mut parameters = subject.parameters(action, &other);
                let mut given = 0;
                for (parameter, value) in &mut parameters {
                    if ["KeyId", "DestinationKeyId"].contains(parameter) {
                        given += 1;
                        value.clone_from(&name);
                    }
                }
                if given == 0 {
                    continue;
                }
                seen.insert(*action);
                let expected = match expected {
                    "alias" if NO_ALIAS.contains(action) => "Unsupported.Alias",
                    "alias" => "ok",
                    code => code,
                };
                let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
                let answer = bed.run(action, &parameters).map_or_else(|fault| fault.code, |_| "ok");
                assert_eq!(answer, expected, "{action} of {name}, {spec} {origin}");
            }
        }
    }
    assert_eq!(seen.len(), 31, "{seen:?}");
}

const AT_KMS: &str = "Aliyun_KMS";
const ELSEWHERE: &str = "EXTERNAL";
const STATES: [&str; 4] = ["Enabled", "Disabled", "PendingDeletion", "PendingImport"];

// What the table answers in the four states: "" is ok, else the code behind `Rejected.` (409).
type Row = [&'static str; 4];
const ANY: Row = [""; 4];
const USE: Row = ["", "Disabled", "PendingDeletion", "PendingImport"];
const DESCRIBE: Row = ["", "", "PendingDeletion", ""];
const SWITCH: Row = ["", "", FAILED, FAILED];
const LIVING: Row = ["", "", FAILED, ""];
const CANCEL: Row = [FAILED, FAILED, "", FAILED];
const FAILED: &str = "StateModifiedFailed";

/// Which keys an operation is for; of others it has the code of §1.4.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    All,
    /// Keys whose material comes from elsewhere.
    Imported,
    /// Of which there can be new versions.
    Versioned,
    /// Keys that authenticate.
    Macs,
    Pairs,
    PairsThatEncrypt,
    PairsThatSign,
    Secrets,
    /// Symmetric keys that were made here.
    SecretsMade,
}

const ORIGIN: &str = "Unsupported.Origin";
const REJECTED: &str = "Rejected.UnsupportedOperation";
const UNSUPPORTED: &str = "UnsupportedOperation";

/// Operation, its row, its keys, and what others answer.
const TABLE: &[(&str, Row, For, &str)] = &[
    ("Encrypt", USE, For::Secrets, UNSUPPORTED),
    ("Decrypt", USE, For::Secrets, ""),
    ("GenerateDataKey", USE, For::Secrets, UNSUPPORTED),
    ("GenerateDataKeyWithoutPlaintext", USE, For::Secrets, UNSUPPORTED),
    ("GenerateAndExportDataKey", USE, For::Secrets, UNSUPPORTED),
    ("ExportDataKey", USE, For::Secrets, ""),
    ("ReEncrypt", USE, For::Secrets, UNSUPPORTED),
    ("GenerateMac", USE, For::Macs, UNSUPPORTED),
    ("VerifyMac", USE, For::Macs, UNSUPPORTED),
    ("CreateKeyVersion", USE, For::Versioned, REJECTED),
    ("UpdateRotationPolicy", USE, For::SecretsMade, REJECTED),
    ("AsymmetricSign", USE, For::PairsThatSign, UNSUPPORTED),
    ("AsymmetricVerify", USE, For::PairsThatSign, UNSUPPORTED),
    ("AsymmetricEncrypt", USE, For::PairsThatEncrypt, REJECTED),
    ("AsymmetricDecrypt", USE, For::PairsThatEncrypt, REJECTED),
    ("GetPublicKey", ANY, For::Pairs, UNSUPPORTED),
    ("DescribeKey", ANY, For::All, ""),
    ("ListKeys", ANY, For::All, ""),
    ("ListKeyVersions", ANY, For::All, ""),
    ("DescribeKeyVersion", ANY, For::All, ""),
    ("ListAliases", ANY, For::All, ""),
    ("ListAliasesByKeyId", ANY, For::All, ""),
    ("ListResourceTags", ANY, For::All, ""),
    ("ListTagResources", ANY, For::All, ""),
    ("GetKeyPolicy", ANY, For::All, ""),
    ("DeleteAlias", ANY, For::All, ""),
    ("GetParametersForImport", ANY, For::Imported, ORIGIN),
    ("DeleteKeyMaterial", ANY, For::Imported, ORIGIN),
    ("ImportKeyMaterial", LIVING, For::Imported, ORIGIN),
    ("UpdateKeyDescription", DESCRIBE, For::All, ""),
    ("TagResource", DESCRIBE, For::All, ""),
    ("UntagResource", DESCRIBE, For::All, ""),
    ("TagResources", DESCRIBE, For::All, ""),
    ("UntagResources", DESCRIBE, For::All, ""),
    ("SetDeletionProtection", DESCRIBE, For::All, ""),
    ("SetKeyPolicy", DESCRIBE, For::All, ""),
    ("UpdateAlias", DESCRIBE, For::All, ""),
    ("EnableKey", SWITCH, For::All, ""),
    ("DisableKey", SWITCH, For::All, ""),
    ("ScheduleKeyDeletion", LIVING, For::All, ""),
    ("CreateAlias", LIVING, For::All, ""),
    ("CancelKeyDeletion", CANCEL, For::All, ""),
];

/// The state after an operation that was done.
fn after<'a>(action: &str, state: &'a str) -> &'a str {
    match (action, state) {
        ("EnableKey" | "CancelKeyDeletion", _) => "Enabled",
        ("DisableKey", _) => "Disabled",
        ("ScheduleKeyDeletion", _) => "PendingDeletion",
        ("DeleteKeyMaterial", "Enabled" | "Disabled") => "PendingImport",
        ("ImportKeyMaterial", "PendingImport") => "Enabled",
        (_, state) => state,
    }
}

/// One key, and what it made while it was Enabled.
struct Subject<'a> {
    bed: &'a Bed,
    id: String,
    version: String,
    symmetric: bool,
    authenticates: bool,
    /// By AsymmetricEncrypt and by AsymmetricSign.
    encrypts: bool,
    signs: bool,
    imported: bool,
    algorithm: &'static str,
    /// Of GenerateMac.
    mac: &'static str,
    blob: String,
    signature: String,
    ciphertext: String,
    token: String,
    material: String,
    /// The public key of somebody who gets data keys.
    recipient: String,
}

fn walk(bed: &Bed, spec: &'static str, usage: &str, origin: &str) {
    let subject = Subject::new(bed, spec, usage, origin);
    let known: BTreeSet<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(known.len(), TABLE.len());
    for (action, row, keys, otherwise) in TABLE {
        let fits = subject.fits(*keys);
        if !fits && otherwise.is_empty() {
            continue;
        }
        for (state, code) in STATES.into_iter().zip(row) {
            // Only imported material can be missing.
            if state == "PendingImport" && !subject.imported {
                continue;
            }
            let alias = unique("product");
            let holder = if *action == "UpdateAlias" { bed.secret() } else { subject.id.clone() };
            if ["DeleteAlias", "UpdateAlias"].contains(action) {
                subject.bring("Enabled");
                bed.ok("CreateAlias", &[("AliasName", &alias), ("KeyId", &holder)]);
            }
            subject.bring(state);
            let parameters = subject.parameters(action, &alias);
            let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let answer = bed.run(action, &parameters).map(drop).map_err(|fault| (fault.status, fault.code));
            let place = format!("{action} of {spec} {usage} {origin} in {state}");
            let by_state = if code.is_empty() { Ok(()) } else { Err((409, format!("Rejected.{code}"))) };
            let answer = answer.map_err(|(status, code)| (status, code.to_owned()));
            if fits {
                assert_eq!(answer, by_state, "{place}");
            } else {
                // Which of two reasons is told is not published; in state Enabled there is only one.
                let unfit = Err((400, (*otherwise).to_owned()));
                assert!(answer == unfit || (answer.is_err() && answer == by_state), "{place}: {answer:?}");
            }
            let expected = if answer.is_ok() { after(action, state) } else { state };
            assert_eq!(bed.state(&subject.id), expected, "{place}: the state afterwards");
        }
    }
}

impl<'a> Subject<'a> {
    fn new(bed: &'a Bed, spec: &'static str, usage: &str, origin: &str) -> Self {
        let made = bed.create(&[("KeySpec", spec), ("KeyUsage", usage), ("Origin", origin)]);
        let is_pair = !spec.starts_with("Aliyun_") && !spec.starts_with("HMAC_");
        let signs = usage == "SIGN/VERIFY" && is_pair && spec != "EC_ED25519";
        let algorithm = match (spec, signs) {
            ("EC_SM2", true) => "SM2DSA",
            ("EC_SM2", false) => "SM2PKE",
            ("EC_P384", true) => "ECDSA_SHA_384",
            ("EC_P521", true) => "ECDSA_SHA_512",
            (spec, true) if spec.starts_with("EC_") => "ECDSA_SHA_256",
            (_, true) => "RSA_PSS_SHA_256",
            (_, false) => "RSAES_OAEP_SHA_1",
        };
        let (holder, version) = bed.pair("RSA_2048", "ENCRYPT/DECRYPT");
        let pem = text(&bed.ok("GetPublicKey", &[("KeyId", &holder), ("KeyVersionId", &version)])["PublicKey"]);
        let mut subject = Self {
            bed,
            id: text(&made["KeyId"]),
            version: String::new(),
            symmetric: spec.starts_with("Aliyun_"),
            authenticates: spec.starts_with("HMAC_"),
            encrypts: is_pair && usage == "ENCRYPT/DECRYPT",
            signs,
            imported: origin == ELSEWHERE,
            algorithm,
            // A key of another kind is asked by the right name for what no key of its kind can do.
            mac: if spec.starts_with("HMAC_") { spec } else { "HMAC_SHA_256" },
            blob: String::new(),
            signature: "AAAA".into(),
            ciphertext: "AAAA".into(),
            token: "AAAA".into(),
            material: "AAAA".into(),
            recipient: pem.lines().filter(|line| !line.starts_with('-')).collect(),
        };
        if subject.imported {
            subject.import(if spec == "Aliyun_SM4" { 16 } else { 32 });
        }
        subject.version = bed.versions(&subject.id).swap_remove(0);
        let run = |action: &str| {
            let parameters = subject.parameters(action, "");
            bed.ok(action, &parameters.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
        };
        if subject.symmetric {
            subject.blob = text(&run("Encrypt")["CiphertextBlob"]);
        } else if signs {
            subject.signature = text(&run("AsymmetricSign")["Value"]);
        } else if subject.encrypts {
            subject.ciphertext = text(&run("AsymmetricEncrypt")["CiphertextBlob"]);
        } else if subject.authenticates {
            subject.signature = text(&run("GenerateMac")["Mac"]);
        }
        subject
    }

    /// The first material, and what is needed to import it again.
    fn import(&mut self, length: usize) {
        let parameters = self.parameters("GetParametersForImport", "");
        let parameters: Vec<_> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = self.bed.ok("GetParametersForImport", &parameters);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("public");
        std::fs::write(&file, from_base64(&answer["PublicKey"])).unwrap();
        let words = "pkeyutl -encrypt -pubin -keyform DER -pkeyopt rsa_padding_mode:oaep -inkey";
        self.material = to_base64(&openssl(&format!("{words} {}", file.display()), &vec![3; length]));
        self.token = text(&answer["ImportToken"]);
        self.bring("Enabled");
    }

    fn fits(&self, keys: For) -> bool {
        match keys {
            For::All => true,
            For::Imported => self.imported,
            For::Versioned => !self.imported && !self.authenticates,
            For::Macs => self.authenticates,
            For::Pairs => !self.symmetric && !self.authenticates,
            For::PairsThatEncrypt => self.encrypts,
            For::PairsThatSign => self.signs,
            For::Secrets => self.symmetric,
            For::SecretsMade => self.symmetric && !self.imported,
        }
    }

    /// By the operations that change the state.
    fn bring(&self, wanted: &str) {
        for _ in 0..5 {
            let state = self.bed.state(&self.id);
            if state == wanted {
                return;
            }
            let action = match (state.as_str(), wanted) {
                ("PendingDeletion", _) => "CancelKeyDeletion",
                (_, "PendingDeletion") => "ScheduleKeyDeletion",
                ("PendingImport", _) => "ImportKeyMaterial",
                (_, "PendingImport") => "DeleteKeyMaterial",
                (_, "Disabled") => "DisableKey",
                _ => "EnableKey",
            };
            let parameters = self.parameters(action, "");
            self.bed.ok(action, &parameters.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>());
        }
        panic!("{} does not become {wanted}", self.id);
    }

    fn parameters(&self, action: &str, alias: &str) -> Vec<(&'static str, String)> {
        let key = ("KeyId", self.id.clone());
        let list = format!("[\"{}\"]", self.id);
        let several = || {
            let region = ("RegionId", crate::common::REGION.to_owned());
            vec![region, ("ResourceType", "key".to_owned()), ("ResourceId", list.clone())]
        };
        let one = |name: &'static str, value: &str| vec![(name, value.to_owned())];
        let of_key = |more: Vec<(&'static str, String)>| [vec![key.clone()], more].concat();
        let of_version = |more: Vec<(&'static str, String)>| {
            let own = vec![key.clone(), ("KeyVersionId", self.version.clone())];
            [own, more].concat()
        };
        let by = |more: Vec<(&'static str, String)>| of_version([one("Algorithm", self.algorithm), more].concat());
        let to = vec![
            ("PublicKeyBlob", self.recipient.clone()),
            ("WrappingAlgorithm", "RSAES_OAEP_SHA_256".to_owned()),
            ("WrappingKeySpec", "RSA_2048".to_owned()),
        ];
        let digest = match self.algorithm {
            "ECDSA_SHA_384" => to_base64(&[7; 48]),
            "ECDSA_SHA_512" => to_base64(&[7; 64]),
            _ => DIGEST.to_owned(),
        };
        let message = || of_key([one("Algorithm", self.mac), one("Message", "YQ==")].concat());
        let policy = format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Principal":{{"RAM":["acs:ram::{}:*"]}},"Action":"kms:*","Resource":"*"}}]}}"#,
            crate::common::ACCOUNT
        );
        match action {
            "ListKeys" | "ListAliases" => Vec::new(),
            "Encrypt" => of_key(one("Plaintext", "YQ==")),
            "Decrypt" => one("CiphertextBlob", &self.blob),
            "ExportDataKey" => [one("CiphertextBlob", &self.blob), to].concat(),
            "GenerateAndExportDataKey" => of_key(to),
            // From another key to this one; that it is the same way back is another test's.
            "ReEncrypt" => {
                let source = self.bed.encrypt(&self.bed.secret(), b"x");
                [one("CiphertextBlob", &source), one("DestinationKeyId", &self.id)].concat()
            }
            "UpdateRotationPolicy" => of_key(one("EnableAutomaticRotation", "false")),
            "AsymmetricSign" => by(one("Digest", &digest)),
            "AsymmetricVerify" => by([one("Digest", &digest), one("Value", &self.signature)].concat()),
            "AsymmetricEncrypt" => by(one("Plaintext", "YQ==")),
            "AsymmetricDecrypt" => by(one("CiphertextBlob", &self.ciphertext)),
            "GenerateMac" => message(),
            "VerifyMac" => [message(), one("Mac", &self.signature)].concat(),
            "GetPublicKey" | "DescribeKeyVersion" => of_version(Vec::new()),
            "GetParametersForImport" => {
                of_key([one("WrappingAlgorithm", "RSAES_OAEP_SHA_1"), one("WrappingKeySpec", "RSA_2048")].concat())
            }
            "ImportKeyMaterial" => {
                of_key([one("EncryptedKeyMaterial", &self.material), one("ImportToken", &self.token)].concat())
            }
            "UpdateKeyDescription" => of_key(one("Description", "x")),
            "TagResource" => of_key(one("Tags", r#"[{"TagKey":"k","TagValue":"v"}]"#)),
            "UntagResource" => of_key(one("TagKeys", r#"["k"]"#)),
            "TagResources" => [several(), one("Tag", r#"[{"Key":"k","Value":"v"}]"#)].concat(),
            "UntagResources" => [several(), one("TagKey", r#"["k"]"#)].concat(),
            "ListTagResources" => several(),
            "SetDeletionProtection" => {
                let arn = text(&self.bed.describe(&self.id)["Arn"]);
                [one("ProtectedResourceArn", &arn), one("EnableDeletionProtection", "false")].concat()
            }
            "SetKeyPolicy" => of_key(one("Policy", &policy)),
            "DeleteAlias" => one("AliasName", alias),
            "CreateAlias" | "UpdateAlias" => of_key(one("AliasName", alias)),
            _ => of_key(Vec::new()),
        }
    }
}
