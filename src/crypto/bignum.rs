//! aws-lc's big numbers, as far as RSA and elliptic-curve keys need them, and the primes of an RSA key from n, e, d.

use std::ffi::c_int;
use std::ptr::null_mut;

use aws_lc_sys as lc;

use super::ffi::{Owned, check, filled, filled_secret};
use crate::error::{Error, Result};
use crate::model::Bytes;

/// A number; wiped when dropped, as all of aws-lc's memory.
pub(super) struct Number(Owned<lc::BIGNUM>);

impl Number {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: makes a new object.
        Ok(Self(unsafe { Owned::new(lc::BN_new(), "BN_new")? }))
    }

    /// From big-endian bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // SAFETY: reads `bytes` within its length, makes a new object.
        Ok(Self(unsafe { Owned::new(lc::BN_bin2bn(bytes.as_ptr(), bytes.len(), null_mut()), "BN_bin2bn")? }))
    }

    pub(super) fn as_ptr(&self) -> *mut lc::BIGNUM {
        self.0.as_ptr()
    }

    /// Gives it away to a C function that takes ownership.
    pub(super) fn into_ptr(self) -> *mut lc::BIGNUM {
        self.0.into_ptr()
    }

    /// A copy of a number that belongs to another object.
    ///
    /// # Safety
    /// `number` is valid (or null, which is an error) and does not change meanwhile.
    pub(super) unsafe fn copy(number: *const lc::BIGNUM) -> Result<Self> {
        if number.is_null() {
            return Err(Error::Internal("a number is missing".into()));
        }
        // SAFETY: the caller's promise; makes a new object.
        Ok(Self(unsafe { Owned::new(lc::BN_dup(number), "BN_dup")? }))
    }
}

/// Big-endian bytes without leading zeros, of a public number.
///
/// # Safety
/// `number` is valid and does not change meanwhile.
pub(super) unsafe fn public_bytes(number: *const lc::BIGNUM) -> Result<Vec<u8>> {
    // SAFETY: the caller's promise; exactly `len` bytes are written.
    unsafe {
        let len = lc::BN_num_bytes(number) as usize;
        filled(len, |out| check(lc::BN_bn2bin_padded(out, len, number), "BN_bn2bin_padded").map(|()| len))
    }
}

/// Big-endian bytes of a secret number, in exactly `len` bytes.
///
/// # Safety
/// `number` is valid and does not change meanwhile.
pub(super) unsafe fn secret_bytes(number: *const lc::BIGNUM, len: usize) -> Result<Bytes> {
    // SAFETY: the caller's promise; exactly `len` bytes are written.
    unsafe { filled_secret(len, |out| check(lc::BN_bn2bin_padded(out, len, number), "BN_bn2bin_padded").map(|()| len)) }
}

/// The primes of an RSA key, and what the Chinese remainder theorem needs: p, q, dp, dq, qi.
pub(super) type Crt = [Number; 5];

/// Arithmetic with scratch memory. A method for each function, all on valid numbers of our own.
struct Arithmetic(Owned<lc::BN_CTX>);

macro_rules! operation {
    ($($name:ident = $function:ident($($operand:ident),+);)*) => {$(
        fn $name(&self, $($operand: &Number),+) -> Result<Number> {
            let out = Number::new()?;
            // SAFETY: all numbers and the scratch memory are valid; only `out` and the scratch memory are written.
            let answer = unsafe { lc::$function(out.as_ptr(), $($operand.as_ptr()),+, self.0.as_ptr()) };
            check(answer, stringify!($function)).map(|()| out)
        }
    )*};
}

impl Arithmetic {
    operation! {
        multiply = BN_mul(a, b);
        square = BN_mod_sqr(a, modulus);
        common = BN_gcd(a, b);
        reduce = BN_nnmod(a, modulus);
    }

    /// In constant time; `base` less than the odd `modulus`.
    fn power(&self, base: &Number, exponent: &Number, modulus: &Number) -> Result<Number> {
        let out = Number::new()?;
        // SAFETY: as in `operation`; without a prepared modulus the function prepares its own.
        let answer = unsafe {
            let (base, exponent, modulus) = (base.as_ptr(), exponent.as_ptr(), modulus.as_ptr());
            lc::BN_mod_exp_mont_consttime(out.as_ptr(), base, exponent, modulus, self.0.as_ptr(), null_mut())
        };
        check(answer, "BN_mod_exp_mont_consttime").map(|()| out)
    }

    /// `a / b`, if there is no remainder.
    fn divide(&self, a: &Number, b: &Number) -> Result<Option<Number>> {
        let (out, rest) = (Number::new()?, Number::new()?);
        // SAFETY: as in `operation`.
        let answer = unsafe { lc::BN_div(out.as_ptr(), rest.as_ptr(), a.as_ptr(), b.as_ptr(), self.0.as_ptr()) };
        check(answer, "BN_div")?;
        // SAFETY: a valid number.
        Ok((unsafe { lc::BN_is_zero(rest.as_ptr()) } == 1).then_some(out))
    }
}

fn small(value: lc::BN_ULONG) -> Result<Number> {
    let out = Number::new()?;
    // SAFETY: a valid number of our own.
    check(unsafe { lc::BN_set_word(out.as_ptr(), value) }, "BN_set_word").map(|()| out)
}

fn less(number: &Number, by: lc::BN_ULONG) -> Result<Number> {
    // SAFETY: valid numbers of our own.
    let out = unsafe { Number::copy(number.as_ptr())? };
    // SAFETY: as above.
    check(unsafe { lc::BN_sub_word(out.as_ptr(), by) }, "BN_sub_word").map(|()| out)
}

fn halved(number: &Number, times: c_int) -> Result<Number> {
    let out = Number::new()?;
    // SAFETY: valid numbers of our own.
    check(unsafe { lc::BN_rshift(out.as_ptr(), number.as_ptr(), times) }, "BN_rshift").map(|()| out)
}

fn order(a: &Number, b: &Number) -> c_int {
    // SAFETY: valid numbers.
    unsafe { lc::BN_cmp(a.as_ptr(), b.as_ptr()) }
}

fn is_one(number: &Number) -> bool {
    // SAFETY: a valid number.
    unsafe { lc::BN_is_one(number.as_ptr()) == 1 }
}

/// The primes from n, e and d, for keys that come without them (NIST SP 800-56B appendix C.1: a square root of 1 other
/// than ±1 shares a factor with n). Nothing if the numbers do not belong together. `n` is odd.
///
/// Not in constant time: it runs once, when such a key is taken in, and what makes the key usable again is worth it.
pub(super) fn primes(n: &Number, e: &Number, d: &Number) -> Result<Option<Crt>> {
    // SAFETY: makes a new object.
    let bn = Arithmetic(unsafe { Owned::new(lc::BN_CTX_new(), "BN_CTX_new")? });
    let multiple = less(&bn.multiply(d, e)?, 1)?;
    // SAFETY: a valid number.
    let twos = unsafe { lc::BN_count_low_zero_bits(multiple.as_ptr()) };
    if twos < 1 {
        return Ok(None);
    }
    let odd = halved(&multiple, twos)?;
    let minus_one = less(n, 1)?;
    // Each base fails with a chance of at most a half.
    for base in 2..66 {
        let mut root = bn.power(&small(base)?, &odd, n)?;
        for _ in 0..twos {
            if is_one(&root) || order(&root, &minus_one) == 0 {
                break;
            }
            let next = bn.square(&root, n)?;
            if is_one(&next) {
                return remainders(&bn, n, d, bn.common(&less(&root, 1)?, n)?);
            }
            root = next;
        }
    }
    Ok(None)
}

fn remainders(bn: &Arithmetic, n: &Number, d: &Number, p: Number) -> Result<Option<Crt>> {
    let Some(q) = bn.divide(n, &p)? else { return Ok(None) };
    let (p, q) = if order(&p, &q) > 0 { (p, q) } else { (q, p) };
    let dp = bn.reduce(d, &less(&p, 1)?)?;
    let dq = bn.reduce(d, &less(&q, 1)?)?;
    // q^(p-2) is q's inverse, p being prime; that it is one is checked with the whole key.
    let qi = bn.power(&q, &less(&p, 2)?, &p)?;
    Ok(Some([p, q, dp, dq, qi]))
}
