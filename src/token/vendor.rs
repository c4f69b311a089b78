//! Our vendor numbers, the same as in `include/alikms_pkcs11.h`: one block, `CKM_VENDOR_DEFINED | 0x414C4900` ("ALI").

macro_rules! numbers {
    ($($(#[$doc:meta])+ $name:ident = $low:literal;)+) => {
        $($(#[$doc])+ pub const $name: u64 = BLOCK | $low;)+
        /// Every name and number, as the C header has them.
        pub const VENDOR: &[(&str, u64)] = &[$((stringify!($name), $name),)+];
    };
}

/// Where all of them begin.
const BLOCK: u64 = 0xC14C_4900;

numbers! {
    /// Makes an SM2 key pair: CKK_EC with the curve 1.2.156.10197.1.301.
    CKM_ALIKMS_SM2_KEY_PAIR_GEN = 0x01;
    /// Input: the 32-byte digest e = SM3(Z_A || M). Signature: r || s.
    CKM_ALIKMS_SM2 = 0x02;
    /// The same with the signature in DER (GM/T 0009).
    CKM_ALIKMS_SM2_DER = 0x03;
    /// Input: the message. Parameter: CK_ALIKMS_SM2_PARAMS, none for the usual ID.
    CKM_ALIKMS_SM2_SM3 = 0x04;
    /// The same with the signature in DER (GM/T 0009).
    CKM_ALIKMS_SM2_SM3_DER = 0x05;
    /// Ciphertext in DER (GM/T 0009).
    CKM_ALIKMS_SM2_ENCRYPT = 0x06;
    /// Ciphertext C1 || C3 || C2, as GB/T 32918.4 has it now.
    CKM_ALIKMS_SM2_ENCRYPT_C1C3C2 = 0x07;
    /// Ciphertext C1 || C2 || C3, as older devices have it.
    CKM_ALIKMS_SM2_ENCRYPT_C1C2C3 = 0x08;
    /// Digest of 32 bytes.
    CKM_ALIKMS_SM3 = 0x10;
    /// HMAC with SM3.
    CKM_ALIKMS_SM3_HMAC = 0x11;
    /// The same, cut to the length that a CK_ULONG parameter says.
    CKM_ALIKMS_SM3_HMAC_GENERAL = 0x12;
    /// Makes an SM4 key of 16 bytes.
    CKM_ALIKMS_SM4_KEY_GEN = 0x20;
    /// Block by block.
    CKM_ALIKMS_SM4_ECB = 0x21;
    /// Parameter: an IV of 16 bytes.
    CKM_ALIKMS_SM4_CBC = 0x22;
    /// The same with PKCS#7 padding.
    CKM_ALIKMS_SM4_CBC_PAD = 0x23;
    /// Parameter: CK_AES_CTR_PARAMS.
    CKM_ALIKMS_SM4_CTR = 0x24;
    /// Parameter: CK_GCM_PARAMS with an IV of 1 to 16 bytes.
    CKM_ALIKMS_SM4_GCM = 0x25;
    /// Derives what ECB encrypts to. Parameter: CK_KEY_DERIVATION_STRING_DATA, whole blocks.
    CKM_ALIKMS_SM4_ECB_ENCRYPT_DATA = 0x26;
    /// Derives what CBC encrypts to. Parameter: CK_AES_CBC_ENCRYPT_DATA_PARAMS, whole blocks.
    CKM_ALIKMS_SM4_CBC_ENCRYPT_DATA = 0x27;
    /// Encrypts to and decrypts from the KMS ciphertext blob. Parameter: none or CK_ALIKMS_ENVELOPE_PARAMS.
    CKM_ALIKMS_ENVELOPE = 0x30;
    /// SM4, 16 bytes. SM2 keys are CKK_EC.
    CKK_ALIKMS_SM4 = 0x01;
    /// Text: acs:kms:region:account:key/id.
    CKA_ALIKMS_ARN = 0x01;
    /// Text: GUID of the key.
    CKA_ALIKMS_KEY_ID = 0x02;
    /// Text: GUID of the version.
    CKA_ALIKMS_KEY_VERSION_ID = 0x03;
    /// Text: GUID of the certificate.
    CKA_ALIKMS_CERTIFICATE_ID = 0x04;
    /// Text: Enabled, Disabled, PendingDeletion, PendingImport.
    CKA_ALIKMS_KEY_STATE = 0x05;
    /// Text: SOFTWARE or HSM. May be given when a key is made.
    CKA_ALIKMS_PROTECTION_LEVEL = 0x06;
    /// Text: the aliases with their prefix, one in a line.
    CKA_ALIKMS_ALIASES = 0x07;
    /// Text: 2019-07-04T13:14:15Z.
    CKA_ALIKMS_CREATION_DATE = 0x08;
    /// CK_BBOOL: made here to wrap and unwrap keys and for nothing else, so that it may wrap sensitive ones.
    CKA_ALIKMS_WRAPS_ONLY = 0x09;
}

/// Parameter of `CKM_ALIKMS_ENVELOPE`, `CK_ALIKMS_ENVELOPE_PARAMS` in C: an EncryptionContext as JSON.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct EnvelopeParams {
    pub context: *mut u8,
    /// In bytes.
    pub context_len: std::ffi::c_ulong,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_says_the_same() {
        let header = include_str!("../../include/alikms_pkcs11.h");
        let mut found = Vec::new();
        for line in header.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["#define", name, number] = words[..] {
                let digits = number.strip_prefix("0x").and_then(|digits| digits.strip_suffix("UL")).unwrap();
                found.push((name, u64::from_str_radix(digits, 16).unwrap()));
            }
        }
        assert_eq!(found, VENDOR);
    }
}
