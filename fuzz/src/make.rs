//! C arguments made of the fuzzer's bytes. Every buffer is an allocation of exactly the length that is told, so that
//! AddressSanitizer notices one byte too many.

use alikms_pkcs11::token::attribute::ATTRIBUTES;
use alikms_pkcs11::token::mechanism::MECHANISMS;
use arbitrary::{Result, Unstructured};
use cryptoki_sys::*;

/// Memory that lives as long as the arguments of one run.
#[derive(Default)]
pub struct Arena(Vec<Box<[u8]>>);

impl Arena {
    pub fn put(&mut self, bytes: &[u8]) -> *mut u8 {
        self.0.push(bytes.into());
        self.0.last_mut().map_or(std::ptr::null_mut(), |last| last.as_mut_ptr())
    }

    pub fn room(&mut self, len: usize) -> *mut u8 {
        self.put(&vec![0xa5; len])
    }

    /// Numbers, one after the other; perhaps not aligned, as a `Box<[u8]>` is not.
    pub fn words(&mut self, words: &[u64]) -> (*mut u8, usize) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        (self.put(&bytes), bytes.len())
    }

    /// Bytes of the fuzzer's: at most `most`, now and then null with a length that says more.
    pub fn bytes(&mut self, data: &mut Unstructured<'_>, most: usize) -> Result<(*mut u8, u64)> {
        if data.ratio(1, 24)? {
            return Ok((std::ptr::null_mut(), data.arbitrary()?));
        }
        let len = data.int_in_range(0..=most)?.min(data.len());
        let bytes = data.bytes(len)?;
        Ok((self.put(bytes), len as u64))
    }
}

/// A template of up to eight attributes, those of nested ones included.
pub fn template(data: &mut Unstructured<'_>, arena: &mut Arena, depth: usize) -> Result<(*mut CK_ATTRIBUTE, u64)> {
    let count = data.int_in_range(0..=8)?;
    let mut words = Vec::new();
    for _ in 0..count {
        let row = data.choose(ATTRIBUTES)?;
        let kind = if data.ratio(1, 16)? { data.arbitrary()? } else { row.kind };
        let (start, len) = match data.int_in_range(0..=7)? {
            0 => (arena.put(&[data.arbitrary()?]), 1),
            1 => (arena.put(&[data.arbitrary::<bool>()?.into()]), 1),
            2 => (arena.put(&data.arbitrary::<u64>()?.to_ne_bytes()), 8),
            3 | 4 => (arena.put(&u64::from(data.arbitrary::<u8>()?).to_ne_bytes()), 8),
            5 if depth < 6 => {
                let (list, count) = template(data, arena, depth + 1)?;
                (list.cast(), count * size_of::<CK_ATTRIBUTE>() as u64)
            }
            _ => arena.bytes(data, 300)?,
        };
        words.extend([kind, start as u64, len]);
    }
    let (start, _) = arena.words(&words);
    Ok((start.cast(), count as u64))
}

/// A hash, an MGF or a KDF: numbers that exist, mostly.
fn number(data: &mut Unstructured<'_>) -> Result<u64> {
    const SOME: &[u64] = &[CKM_SHA256, CKM_SHA_1, CKM_SHA384, CKM_SHA512, CKM_SHA3_256, CKM_SHA224, 0xC14C_4910];
    if data.ratio(1, 8)? { data.arbitrary() } else { data.choose(SOME).copied() }
}

fn small(data: &mut Unstructured<'_>) -> Result<u64> {
    if data.ratio(1, 16)? { data.arbitrary() } else { Ok(data.arbitrary::<u8>()?.into()) }
}

/// A mechanism with a parameter: mostly of the shape that it takes.
pub fn mechanism(data: &mut Unstructured<'_>, arena: &mut Arena, keys: &[u64]) -> Result<CK_MECHANISM> {
    let kind = if data.ratio(1, 32)? { data.arbitrary()? } else { data.choose(MECHANISMS)?.kind };
    // No parameter, any bytes where no structure is wanted, or the structure: bytes taken for a structure would be pointers
    // that lead anywhere, which is nothing that the door could notice.
    let shape = match (shape_of(kind), data.int_in_range(0..=7)?) {
        (_, 0) => 0,
        (0, 1..=3) => 12,
        (shape, _) => shape,
    };
    let (start, len) = parameter(data, arena, keys, shape)?;
    let len = if data.ratio(1, 32)? { len.saturating_sub(1) } else { len };
    Ok(CK_MECHANISM { mechanism: kind, pParameter: start.cast(), ulParameterLen: len as CK_ULONG })
}

fn shape_of(kind: CK_MECHANISM_TYPE) -> u8 {
    match kind {
        CKM_AES_CBC | CKM_AES_CBC_PAD | 0xC14C_4922 | 0xC14C_4923 => 1,
        CKM_AES_GCM | 0xC14C_4925 => 2,
        CKM_AES_CTR | 0xC14C_4924 => 3,
        CKM_RSA_PKCS_OAEP => 4,
        CKM_ECDH1_DERIVE | CKM_ECDH1_COFACTOR_DERIVE => 6,
        CKM_HKDF_DATA | CKM_HKDF_DERIVE => 7,
        CKM_AES_ECB_ENCRYPT_DATA | 0xC14C_4926 | 0xC14C_4904 | 0xC14C_4905 | 0xC14C_4930 => 8,
        CKM_AES_CBC_ENCRYPT_DATA | 0xC14C_4927 => 9,
        CKM_EDDSA => 10,
        CKM_RSA_AES_KEY_WRAP => 11,
        kind if MECHANISMS.iter().any(|row| row.kind == kind && row.name.ends_with("PSS")) => 5,
        _ => 0,
    }
}

fn parameter(data: &mut Unstructured<'_>, arena: &mut Arena, keys: &[u64], shape: u8) -> Result<(*mut u8, usize)> {
    Ok(match shape {
        0 => (std::ptr::null_mut(), 0),
        1 => (arena.put(&data.arbitrary::<[u8; 16]>()?), 16),
        2 => {
            let ((iv, iv_len), (aad, aad_len)) = (arena.bytes(data, 20)?, arena.bytes(data, 40)?);
            let tag = if data.ratio(1, 4)? { small(data)? } else { 128 };
            match data.int_in_range(0..=2)? {
                0 => arena.words(&[iv as u64, iv_len, iv_len.wrapping_mul(8), aad as u64, aad_len, tag]),
                1 => arena.words(&[iv as u64, iv_len, aad as u64, aad_len, tag]),
                _ => {
                    let (fixed, generator) = (small(data)?, data.int_in_range(0..=5)?);
                    arena.words(&[iv as u64, iv_len, fixed, generator, aad as u64, aad_len, tag])
                }
            }
        }
        3 => {
            let mut bytes = small(data)?.to_ne_bytes().to_vec();
            bytes.extend(data.arbitrary::<[u8; 16]>()?);
            (arena.put(&bytes), bytes.len())
        }
        4 => oaep(data, arena)?,
        5 => {
            let words = [number(data)?, data.int_in_range(0..=9)?, small(data)?];
            arena.words(&words)
        }
        6 => {
            let kdf = data.int_in_range(0..=12)?;
            let ((shared, shared_len), (public, public_len)) = (arena.bytes(data, 40)?, arena.bytes(data, 140)?);
            arena.words(&[kdf, shared_len, shared as u64, public_len, public as u64])
        }
        7 => {
            let flags = u64::from(data.arbitrary::<u16>()? & 0x0303);
            let (hash, kind) = (number(data)?, data.int_in_range(0..=5)?);
            let ((salt, salt_len), (info, info_len)) = (arena.bytes(data, 40)?, arena.bytes(data, 40)?);
            let key = data.choose(keys)?;
            arena.words(&[flags, hash, kind, salt as u64, salt_len, *key, info as u64, info_len])
        }
        8 => {
            let (start, len) = arena.bytes(data, 200)?;
            arena.words(&[start as u64, len])
        }
        9 => {
            let (start, len) = arena.bytes(data, 200)?;
            let mut bytes = data.arbitrary::<[u8; 16]>()?.to_vec();
            bytes.extend((start as u64).to_ne_bytes());
            bytes.extend(len.to_ne_bytes());
            (arena.put(&bytes), bytes.len())
        }
        10 => {
            let (start, len) = arena.bytes(data, 300)?;
            let flag = u64::from(data.arbitrary::<u8>()?);
            arena.words(&[flag, len, start as u64])
        }
        11 => {
            let bits = *data.choose(&[256, 128, 192, 0, 8, u64::MAX])?;
            let (inner, _) = oaep(data, arena)?;
            arena.words(&[bits, inner as u64])
        }
        _ => {
            let (start, len) = arena.bytes(data, 100)?;
            (start, usize::try_from(len).unwrap_or(usize::MAX))
        }
    })
}

fn oaep(data: &mut Unstructured<'_>, arena: &mut Arena) -> Result<(*mut u8, usize)> {
    let (label, label_len) = arena.bytes(data, 20)?;
    let words = [number(data)?, data.int_in_range(0..=9)?, data.int_in_range(0..=2)?, label as u64, label_len];
    Ok(arena.words(&words))
}
