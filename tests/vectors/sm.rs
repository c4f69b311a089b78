//! The examples of GB/T 32918.5 (SM2) and GB/T 32907 (SM4). SM3's and RFC 8998's stand in `tests/sm/token.rs`.

use cryptoki_sys::*;

use crate::secret;
use crate::support::{Installation, Mech, b, hex, u, unhex, v};

const SM2_OID: &[u8] = &[0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d];
const SM2: CK_MECHANISM_TYPE = 0xC14C_4902;
const SM2_SM3: CK_MECHANISM_TYPE = 0xC14C_4904;
const SM2_C1C3C2: CK_MECHANISM_TYPE = 0xC14C_4907;
const SM2_C1C2C3: CK_MECHANISM_TYPE = 0xC14C_4908;

/// The key pair of both examples, which share it.
const SCALAR: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";
const POINT: &str = "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020\
                     ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";

#[test]
fn sm2_of_gb_t_32918_5() {
    let home = Installation::software();
    let c = home.client();
    for token in [false, true] {
        let half =
            |class| [u(CKA_CLASS, class), u(CKA_KEY_TYPE, CKK_EC), v(CKA_EC_PARAMS, SM2_OID), b(CKA_TOKEN, token)];
        let inner = [v(CKA_VALUE, unhex(SCALAR)), b(CKA_SIGN, true), b(CKA_DECRYPT, true)];
        let private = c.create(&[&half(CKO_PRIVATE_KEY)[..], &inner].concat()).unwrap();
        assert_eq!(c.get(private, CKA_EC_POINT).unwrap()[2..], unhex(POINT));
        let public = c.create(&[&half(CKO_PUBLIC_KEY)[..], &[v(CKA_EC_POINT, unhex(POINT))]].concat()).unwrap();
        // Part 2, A.2, with the curve of part 5: message and digest.
        let signature = unhex(
            "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3\
             b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa",
        );
        let e = unhex("f0b43e94ba45accaace692ed534382eb17e6ab5a19ce7b31f4486fdfc0d28640");
        c.verify(SM2_SM3, public, b"message digest", &signature).unwrap();
        c.verify(SM2, public, &e, &signature).unwrap();
        for at in 0..64 {
            let mut changed = signature.clone();
            changed[at] ^= 1;
            assert_eq!(c.verify(SM2, public, &e, &changed), Err(CKR_SIGNATURE_INVALID), "{at}");
        }
        let ours = c.sign(SM2_SM3, private, b"message digest").unwrap();
        c.verify(SM2, public, &e, &ours).unwrap();
        // Part 4, A.2.
        let (c1, c3, c2) = (
            "0404ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73\
             e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0",
            "59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766",
            "21886ca989ca9c7d58087307ca93092d651efa",
        );
        let sealed = |parts: [&str; 3]| unhex(&parts.concat());
        assert_eq!(c.decrypt(SM2_C1C3C2, private, &sealed([c1, c3, c2])).unwrap(), b"encryption standard");
        assert_eq!(c.decrypt(SM2_C1C2C3, private, &sealed([c1, c2, c3])).unwrap(), b"encryption standard");
        assert_eq!(c.decrypt(SM2_C1C2C3, private, &sealed([c1, c3, c2])), Err(CKR_ENCRYPTED_DATA_INVALID));
    }
}

#[test]
fn sm4_of_gb_t_32907() {
    let home = Installation::software();
    let c = home.client();
    let block = unhex("0123456789abcdeffedcba9876543210");
    let key = secret(&c, 0xC14C_4901, &block).unwrap();
    assert_eq!(hex(&c.encrypt(0xC14C_4921, key, &block).unwrap()), "681edf34d206965e86b3e94f536e4246");
    // Example 2: encrypted a million times over, each time what came out before.
    c.encrypt_init(Mech::new(0xC14C_4921), key).unwrap();
    let mut data: [u8; 16] = block.try_into().unwrap();
    for _ in 0..1_000_000 {
        let (place, mut len) = (data.as_mut_ptr(), 16);
        assert_eq!(crate::call!(c.m, C_EncryptUpdate(c.h, place, 16, place, &raw mut len)), CKR_OK);
        assert_eq!(len, 16);
    }
    assert_eq!(hex(&data), "595298c7c6fd271f0402f804c33d3f66");
}
