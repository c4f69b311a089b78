//! `sm_alias`: a program compiled with another vendor's header runs, by its numbers for mechanisms and key types.

use cryptoki_sys::*;

use crate::support::{Client, Installation, Mech, Setup, b, number, u, unhex, v};
use crate::token::at_most;
use crate::{CKK_SM4, MESSAGE, SM2_DER, SM2_SM3, SM2_SM3_DER, SM3, SM4_CBC, SM4_ECB, SM4_GEN};

const VENDOR: CK_ULONG = 0x8000_0000;

fn like(token: &'static str) -> Installation {
    Installation::new(&Setup { token, ..Setup::default() })
}

/// A pair by a vendor's mechanism and key type, which says of itself what every SM2 pair says.
fn pair(c: &Client, mechanism: CK_MECHANISM_TYPE, key_type: CK_KEY_TYPE) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
    let kind = [u(CKA_KEY_TYPE, VENDOR + key_type)];
    let (public, private) = c.generate_pair(VENDOR + mechanism, &kind, &kind).unwrap();
    for half in [public, private] {
        assert_eq!(number(&c.get(half, CKA_KEY_TYPE).unwrap()), CKK_EC);
    }
    let found = c.find(&[u(CKA_CLASS, CKO_PRIVATE_KEY), u(CKA_KEY_TYPE, VENDOR + key_type)]);
    assert!(found.contains(&private));
    (public, private)
}

#[test]
fn sansec() {
    let home = like("sm_alias = \"sansec\"");
    let c = home.client();
    let (public, private) = pair(&c, 0x8001, 4);
    // Message and default ID, r‖s and DER; then the digest alone.
    for (theirs, ours) in [(0x8100, SM2_SM3), (0x8102, SM2_SM3), (0x8101, SM2_SM3_DER), (0x8103, SM2_SM3_DER)] {
        let signature = at_most(&c, c.sign_init(VENDOR + theirs, private), MESSAGE, false).unwrap();
        c.verify(ours, public, MESSAGE, &signature).unwrap();
        let signature = at_most(&c, c.sign_init(ours, private), MESSAGE, false).unwrap();
        c.verify(VENDOR + theirs, public, MESSAGE, &signature).unwrap();
    }
    let signature = at_most(&c, c.sign_init(VENDOR + 0x8104, private), &[7; 32], false).unwrap();
    c.verify(SM2_DER, public, &[7; 32], &signature).unwrap();
    assert_eq!(c.digest(VENDOR + 0x9000, b"abc").unwrap(), c.digest(SM3, b"abc").unwrap());
    let key = c.generate(VENDOR + 0x107, &[u(CKA_KEY_TYPE, VENDOR + 0x106)]).unwrap();
    assert_eq!(number(&c.get(key, CKA_KEY_TYPE).unwrap()), CKK_SM4);
    assert_eq!(number(&c.get(key, CKA_KEY_GEN_MECHANISM).unwrap()), SM4_GEN);
    let sealed = c.encrypt(Mech::with(VENDOR + 0x109, [1; 16]), key, &[5; 32]).unwrap();
    assert_eq!(c.decrypt(Mech::with(SM4_CBC, [1; 16]), key, &sealed).unwrap(), [5; 32]);
    // GB/T 32907 A.1, imported under their key type, as a token key too.
    let known = unhex("0123456789abcdeffedcba9876543210");
    for token in [false, true] {
        let template = [u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, VENDOR + 0x106), v(CKA_VALUE, &known)];
        let key = c.create(&[&template[..], &[b(CKA_TOKEN, token)]].concat()).unwrap();
        let sealed = c.encrypt(VENDOR + 0x108, key, &known).unwrap();
        assert_eq!(sealed, unhex("681edf34d206965e86b3e94f536e4246"));
        assert_eq!(c.encrypt(SM4_ECB, key, &known).unwrap(), sealed);
    }
    // Another vendor's stay unknown, and so does a number for another kind of work.
    assert_eq!(c.digest_init(VENDOR + 0xb01), Err(CKR_MECHANISM_INVALID));
    assert_eq!(c.digest_init(VENDOR + 0x108), Err(CKR_MECHANISM_INVALID));
    assert_eq!(c.generate(VENDOR + 0x107, &[u(CKA_KEY_TYPE, VENDOR + 6)]), Err(CKR_TEMPLATE_INCONSISTENT));
}

/// The list has theirs behind ours, each as ours says, and none twice.
#[test]
fn lists() {
    let plain = Installation::software();
    let ours = plain.start().mechanisms();
    for (token, number_of) in [
        ("sm_alias = \"luna\"", 3),
        ("sm_alias = \"ibm\"", 8),
        ("sm_alias = \"itrus\"", 15),
        ("sm_alias = \"sansec\"", 15),
    ] {
        let home = like(token);
        let m = home.start();
        let all = m.mechanisms();
        assert_eq!((&all[..ours.len()], all.len() - ours.len()), (&ours[..], number_of), "{token}");
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len(), "{token}");
        for kind in &all[ours.len()..] {
            assert!(*kind >= VENDOR && m.mechanism_info(*kind).unwrap().flags != 0);
        }
    }
    let m = plain.start();
    assert_eq!(m.mechanism_info(VENDOR + 0xb01).map(|info| info.flags), Err(CKR_MECHANISM_INVALID));
    let luna = like("sm_alias = \"luna\"").start();
    let (theirs, ours) = (luna.mechanism_info(VENDOR + 0xb01).unwrap(), luna.mechanism_info(SM3).unwrap());
    assert_eq!((theirs.flags, theirs.ulMaxKeySize), (ours.flags, ours.ulMaxKeySize));
}

/// What a vendor's header leaves open is said in the configuration.
#[test]
fn numbers_of_ones_own() {
    let home = like(
        "sm_alias = { like = \"ibm\", CKM_ALIKMS_SM2_ENCRYPT_C1C3C2 = 0x8005000d, CKM_ALIKMS_SM4_ECB = 0x80050002 }",
    );
    let c = home.client();
    let crypts = [b(CKA_DECRYPT, true), b(CKA_SIGN, true)];
    let (public, private) = c.generate_pair(VENDOR + 0x5_000a, &[], &crypts).unwrap();
    let sealed = c.encrypt(VENDOR + 0x5_000d, public, MESSAGE).unwrap();
    assert_eq!(c.decrypt(crate::SM2_C1C3C2, private, &sealed).unwrap(), MESSAGE);
    // IBM's parameter is the signer's ID itself.
    let signature = c.sign(Mech::with(VENDOR + 0x5_000c, b"alice"), private, MESSAGE).unwrap();
    c.verify(Mech::buffer(SM2_SM3, b"alice"), public, MESSAGE, &signature).unwrap();
    assert_eq!(c.verify(SM2_SM3, public, MESSAGE, &signature), Err(CKR_SIGNATURE_INVALID));
    // 0x80050002 is a key type still, and another mechanism than with IBM.
    let key = c.generate(VENDOR + 0x5_0001, &[u(CKA_KEY_TYPE, VENDOR + 0x5_0001)]).unwrap();
    assert_eq!(c.encrypt(VENDOR + 0x5_0002, key, &[3; 16]), c.encrypt(SM4_ECB, key, &[3; 16]));
    pair(&c, 0x5_000a, 0x5_0002);
}
