/* The vendor numbers of alikms-pkcs11, for use beside any pkcs11.h (PKCS#11 2.40 or later); it needs none itself.
 * All stand in one block: CKM_VENDOR_DEFINED | 0x414C4900 ("ALI"). src/token/vendor.rs has the same numbers. */
#ifndef ALIKMS_PKCS11_H
#define ALIKMS_PKCS11_H

#ifdef __cplusplus
extern "C" {
#endif

/* Mechanisms */

/* Makes an SM2 key pair: CKK_EC with the curve 1.2.156.10197.1.301. */
#define CKM_ALIKMS_SM2_KEY_PAIR_GEN   0xC14C4901UL
/* Input: the 32-byte digest e = SM3(Z_A || M). Signature: r || s. */
#define CKM_ALIKMS_SM2                0xC14C4902UL
/* The same with the signature in DER (GM/T 0009). */
#define CKM_ALIKMS_SM2_DER            0xC14C4903UL
/* Input: the message. Parameter: CK_ALIKMS_SM2_PARAMS, none for the usual ID. */
#define CKM_ALIKMS_SM2_SM3            0xC14C4904UL
/* The same with the signature in DER (GM/T 0009). */
#define CKM_ALIKMS_SM2_SM3_DER        0xC14C4905UL
/* Ciphertext in DER (GM/T 0009). */
#define CKM_ALIKMS_SM2_ENCRYPT        0xC14C4906UL
/* Ciphertext C1 || C3 || C2, as GB/T 32918.4 has it now. */
#define CKM_ALIKMS_SM2_ENCRYPT_C1C3C2 0xC14C4907UL
/* Ciphertext C1 || C2 || C3, as older devices have it. */
#define CKM_ALIKMS_SM2_ENCRYPT_C1C2C3 0xC14C4908UL
/* Digest of 32 bytes. */
#define CKM_ALIKMS_SM3                0xC14C4910UL
/* HMAC with SM3. */
#define CKM_ALIKMS_SM3_HMAC           0xC14C4911UL
/* The same, cut to the length that a CK_ULONG parameter says. */
#define CKM_ALIKMS_SM3_HMAC_GENERAL   0xC14C4912UL
/* Makes an SM4 key of 16 bytes. */
#define CKM_ALIKMS_SM4_KEY_GEN        0xC14C4920UL
/* Block by block. */
#define CKM_ALIKMS_SM4_ECB            0xC14C4921UL
/* Parameter: an IV of 16 bytes. */
#define CKM_ALIKMS_SM4_CBC            0xC14C4922UL
/* The same with PKCS#7 padding. */
#define CKM_ALIKMS_SM4_CBC_PAD        0xC14C4923UL
/* Parameter: CK_AES_CTR_PARAMS. */
#define CKM_ALIKMS_SM4_CTR            0xC14C4924UL
/* Parameter: CK_GCM_PARAMS with an IV of 1 to 16 bytes. */
#define CKM_ALIKMS_SM4_GCM            0xC14C4925UL
/* Derives what ECB encrypts to. Parameter: CK_KEY_DERIVATION_STRING_DATA, whole blocks. */
#define CKM_ALIKMS_SM4_ECB_ENCRYPT_DATA 0xC14C4926UL
/* Derives what CBC encrypts to. Parameter: CK_AES_CBC_ENCRYPT_DATA_PARAMS, whole blocks. */
#define CKM_ALIKMS_SM4_CBC_ENCRYPT_DATA 0xC14C4927UL
/* Encrypts to and decrypts from the KMS ciphertext blob. Parameter: none or CK_ALIKMS_ENVELOPE_PARAMS. */
#define CKM_ALIKMS_ENVELOPE           0xC14C4930UL

/* Parameter of CKM_ALIKMS_SM2_SM3 and CKM_ALIKMS_SM2_SM3_DER: the signer's ID, up to 8191 bytes. Without a parameter it is
 * 1234567812345678. Not the ID itself in place of this structure. */
typedef struct CK_ALIKMS_SM2_PARAMS {
	unsigned char *pId;
	unsigned long ulIdLen;
} CK_ALIKMS_SM2_PARAMS;
typedef CK_ALIKMS_SM2_PARAMS *CK_ALIKMS_SM2_PARAMS_PTR;

/* Parameter of CKM_ALIKMS_ENVELOPE: an EncryptionContext, a JSON object of strings, up to 8192 characters of UTF-8.
 * Decryption needs the same pairs, in any order. The types are those of CK_BYTE_PTR and CK_ULONG. */
typedef struct CK_ALIKMS_ENVELOPE_PARAMS {
	unsigned char *pContext;
	unsigned long ulContextLen;
} CK_ALIKMS_ENVELOPE_PARAMS;
typedef CK_ALIKMS_ENVELOPE_PARAMS *CK_ALIKMS_ENVELOPE_PARAMS_PTR;

/* Key types */

/* SM4, 16 bytes. SM2 keys are CKK_EC. */
#define CKK_ALIKMS_SM4 0xC14C4901UL

/* Attributes; all can be read, and none changed. Text is UTF-8 without a final zero. */

/* Text: acs:kms:region:account:key/id. */
#define CKA_ALIKMS_ARN              0xC14C4901UL
/* Text: GUID of the key. */
#define CKA_ALIKMS_KEY_ID           0xC14C4902UL
/* Text: GUID of the version. */
#define CKA_ALIKMS_KEY_VERSION_ID   0xC14C4903UL
/* Text: GUID of the certificate. */
#define CKA_ALIKMS_CERTIFICATE_ID   0xC14C4904UL
/* Text: Enabled, Disabled, PendingDeletion, PendingImport. */
#define CKA_ALIKMS_KEY_STATE        0xC14C4905UL
/* Text: SOFTWARE or HSM. May be given when a key is made. */
#define CKA_ALIKMS_PROTECTION_LEVEL 0xC14C4906UL
/* Text: the aliases with their prefix, one in a line. */
#define CKA_ALIKMS_ALIASES          0xC14C4907UL
/* Text: 2019-07-04T13:14:15Z. */
#define CKA_ALIKMS_CREATION_DATE    0xC14C4908UL
/* CK_BBOOL: made here to wrap and unwrap keys and for nothing else, so that it may wrap sensitive ones. */
#define CKA_ALIKMS_WRAPS_ONLY       0xC14C4909UL

#ifdef __cplusplus
}
#endif

#endif
