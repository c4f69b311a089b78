//! `sm_alias`: other vendors' numbers for what PKCS#11 has no numbers for: SM2, SM3, SM4. The same name has half a
//! dozen
//! numbers, so nothing is known without being asked for. Here is which names there are and what is known of vendors.

/// What may have another number: names of `include/alikms_pkcs11.h`, and CKK_EC for SM2 keys. Not CTR and GCM, whose
/// parameters are read before it is known which token the number is for.
pub const SM_NAMES: &[&str] = &[
    "CKK_ALIKMS_SM4",
    "CKK_EC",
    "CKM_ALIKMS_SM2",
    "CKM_ALIKMS_SM2_DER",
    "CKM_ALIKMS_SM2_ENCRYPT",
    "CKM_ALIKMS_SM2_ENCRYPT_C1C2C3",
    "CKM_ALIKMS_SM2_ENCRYPT_C1C3C2",
    "CKM_ALIKMS_SM2_KEY_PAIR_GEN",
    "CKM_ALIKMS_SM2_SM3",
    "CKM_ALIKMS_SM2_SM3_DER",
    "CKM_ALIKMS_SM3",
    "CKM_ALIKMS_SM3_HMAC",
    "CKM_ALIKMS_SM3_HMAC_GENERAL",
    "CKM_ALIKMS_SM4_CBC",
    "CKM_ALIKMS_SM4_CBC_PAD",
    "CKM_ALIKMS_SM4_ECB",
    "CKM_ALIKMS_SM4_KEY_GEN",
];

/// Where vendors' own numbers begin.
pub const VENDOR_DEFINED: u64 = 0x8000_0000;
/// Ours: 256 of them.
pub const OURS: std::ops::Range<u64> = 0xC14C_4900..0xC14C_4A00;

/// A vendor's numbers, each less [`VENDOR_DEFINED`], by our names.
type Vendor = (&'static str, &'static [(&'static str, u64)]);

/// What headers of these vendors say. What is not certain is left out: an entry of one's own adds it.
pub const VENDORS: &[Vendor] = &[
    (
        "ibm",
        &[
            ("CKK_ALIKMS_SM4", 0x5_0001),
            ("CKK_EC", 0x5_0002),
            ("CKM_ALIKMS_SM4_KEY_GEN", 0x5_0001),
            ("CKM_ALIKMS_SM4_CBC", 0x5_0002),
            ("CKM_ALIKMS_SM4_CBC_PAD", 0x5_0003),
            ("CKM_ALIKMS_SM4_ECB", 0x5_0004),
            ("CKM_ALIKMS_SM2_KEY_PAIR_GEN", 0x5_000a),
            ("CKM_ALIKMS_SM2", 0x5_000b),
            ("CKM_ALIKMS_SM2_SM3", 0x5_000c),
            ("CKM_ALIKMS_SM3", 0x5_000e),
        ],
    ),
    (
        "itrus",
        &[
            ("CKK_EC", 0x4),
            ("CKK_ALIKMS_SM4", 0x6),
            ("CKM_ALIKMS_SM2_KEY_PAIR_GEN", 0x8001),
            ("CKM_ALIKMS_SM2_SM3", 0x8100),
            ("CKM_ALIKMS_SM2_SM3_DER", 0x8101),
            ("CKM_ALIKMS_SM2_SM3", 0x8102),
            ("CKM_ALIKMS_SM2_SM3_DER", 0x8103),
            ("CKM_ALIKMS_SM2_DER", 0x8104),
            ("CKM_ALIKMS_SM2", 0x8105),
            ("CKM_ALIKMS_SM2_ENCRYPT_C1C3C2", 0x8200),
            ("CKM_ALIKMS_SM2_ENCRYPT", 0x8201),
            ("CKM_ALIKMS_SM3", 0x9000),
            ("CKM_ALIKMS_SM3", 0x9001),
            ("CKM_ALIKMS_SM4_KEY_GEN", 0xa001),
            ("CKM_ALIKMS_SM4_ECB", 0xa100),
            ("CKM_ALIKMS_SM4_CBC", 0xa200),
            ("CKM_ALIKMS_SM4_CBC_PAD", 0xa201),
        ],
    ),
    ("luna", &[("CKM_ALIKMS_SM3", 0xb01), ("CKM_ALIKMS_SM3_HMAC", 0xb02), ("CKM_ALIKMS_SM3_HMAC_GENERAL", 0xb03)]),
    (
        "sansec",
        &[
            ("CKK_EC", 0x4),
            ("CKK_ALIKMS_SM4", 0x106),
            ("CKM_ALIKMS_SM2_KEY_PAIR_GEN", 0x8001),
            ("CKM_ALIKMS_SM2_SM3", 0x8100),
            ("CKM_ALIKMS_SM2_SM3_DER", 0x8101),
            ("CKM_ALIKMS_SM2_SM3", 0x8102),
            ("CKM_ALIKMS_SM2_SM3_DER", 0x8103),
            ("CKM_ALIKMS_SM2_DER", 0x8104),
            ("CKM_ALIKMS_SM2", 0x8105),
            ("CKM_ALIKMS_SM2_ENCRYPT_C1C3C2", 0x8200),
            ("CKM_ALIKMS_SM2_ENCRYPT", 0x8201),
            ("CKM_ALIKMS_SM3", 0x9000),
            ("CKM_ALIKMS_SM3", 0x9001),
            ("CKM_ALIKMS_SM4_KEY_GEN", 0x107),
            ("CKM_ALIKMS_SM4_ECB", 0x108),
            ("CKM_ALIKMS_SM4_CBC", 0x109),
            ("CKM_ALIKMS_SM4_CBC_PAD", 0xa201),
        ],
    ),
];
