//! IVs that the token makes for GCM (PKCS#11 3.2 §6.13.8, NIST SP 800-38D §8.2): a fixed part that the caller gives, and a
//! part that never comes twice.

use cryptoki_sys::*;

use crate::crypto::random;
use crate::error::Result;
use crate::fork::epoch;
use crate::token::operate::bad_parameter;

/// The part that the token makes has at least so many bits. A counter begins anywhere, so that two operations with one key,
/// here or in another process, meet no sooner than two random numbers do.
const LEAST_MADE: usize = 64;
/// IVs are at most so many bytes.
const LONGEST: usize = 256;

/// Who makes the IV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generator {
    Caller,
    Counter,
    Random,
}

impl Generator {
    pub fn of(number: CK_GENERATOR_FUNCTION) -> Result<Self> {
        Ok(match number {
            CKG_NO_GENERATE => Self::Caller,
            CKG_GENERATE | CKG_GENERATE_RANDOM => Self::Random,
            CKG_GENERATE_COUNTER => Self::Counter,
            _ => return Err(bad_parameter()),
        })
    }
}

/// Makes the IVs of one operation. A forked child begins anew: were it to count on, it would make its parent's IVs.
pub struct IvMaker {
    generator: Generator,
    fixed_bits: usize,
    /// The last one, or what the first one begins with.
    iv: Vec<u8>,
    /// The process that has made one.
    started: Option<u64>,
}

impl IvMaker {
    /// `iv`: a place of the IV's length, whose first `fixed_bits` are kept.
    pub fn new(generator: Generator, fixed_bits: u64, iv: &[u8]) -> Result<Self> {
        let fixed_bits = usize::try_from(fixed_bits).map_err(|_| bad_parameter())?;
        let made = (iv.len() * 8).checked_sub(fixed_bits).ok_or_else(bad_parameter)?;
        if iv.len() > LONGEST || made < LEAST_MADE || generator == Generator::Caller {
            return Err(bad_parameter());
        }
        Ok(Self { generator, fixed_bits, iv: iv.to_vec(), started: None })
    }

    /// Does it go on with these? A counter belongs to one fixed part and one length.
    pub fn goes_on(&self, generator: Generator, fixed_bits: u64, iv: &[u8]) -> bool {
        let (whole, bits) = (self.fixed_bits / 8, self.fixed_bits % 8);
        let mask = !(0xff_u8 >> bits);
        self.generator == generator
            && self.fixed_bits as u64 == fixed_bits
            && self.iv.len() == iv.len()
            && self.iv[..whole] == iv[..whole]
            && (bits == 0 || (self.iv[whole] ^ iv[whole]) & mask == 0)
    }

    /// The next IV.
    pub fn make(&mut self) -> Result<Vec<u8>> {
        let (whole, bits) = (self.fixed_bits / 8, self.fixed_bits % 8);
        let kept = self.iv.get(whole).map_or(0, |byte| byte & !(0xff_u8 >> bits));
        let made = &mut self.iv[whole..];
        let here = Some(epoch());
        if self.generator == Generator::Random || self.started != here {
            random::fill(made);
        } else {
            for byte in made.iter_mut().rev() {
                *byte = byte.wrapping_add(1);
                if *byte != 0 {
                    break;
                }
            }
        }
        if bits > 0 {
            made[0] = kept | (made[0] & (0xff >> bits));
        }
        self.started = here;
        Ok(self.iv.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_counts_and_keeps_what_is_fixed() {
        let mut maker = IvMaker::new(Generator::Counter, 32, &[7; 12]).unwrap();
        let first = maker.make().unwrap();
        let second = maker.make().unwrap();
        let number = |iv: &[u8]| u64::from_be_bytes(iv[4..].try_into().unwrap());
        assert_eq!((&first[..4], &second[..4]), (&[7; 4][..], &[7; 4][..]));
        assert_eq!(number(&second), number(&first).wrapping_add(1));
        assert!(maker.goes_on(Generator::Counter, 32, &[7, 7, 7, 7, 0, 0, 0, 0, 0, 0, 0, 0]));
        assert!(!maker.goes_on(Generator::Counter, 32, &[7, 7, 7, 6, 0, 0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn bits_within_a_byte_and_what_is_too_little() {
        for _ in 0..50 {
            let mut maker = IvMaker::new(Generator::Random, 3, &[0b1010_0000; 12]).unwrap();
            assert_eq!(maker.make().unwrap()[0] >> 5, 0b101);
        }
        assert!(IvMaker::new(Generator::Random, 33, &[0; 12]).is_err());
        assert!(IvMaker::new(Generator::Random, 97, &[0; 12]).is_err());
        assert!(IvMaker::new(Generator::Random, 0, &[]).is_err());
    }
}
