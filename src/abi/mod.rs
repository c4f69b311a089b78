//! The C door: the functions of PKCS#11, one file per chapter of the specification. Pointers become Rust here and nowhere else.
//!
//! Each function passes `guard` (initialised? panic net, trace, error to `CK_RV`); its arguments come through `args`,
//! `template` and `mechanism`, which check every pointer and length; what goes back is built first and copied last.

#[macro_use]
mod guard;

mod args;
mod decrypt;
mod digest;
mod dual;
mod encrypt;
mod general;
mod key_management;
mod list;
mod mechanism;
mod message;
mod object;
mod parallel;
mod random;
mod run;
mod session;
mod sign;
mod slot_token;
mod template;
mod verify;

pub use guard::{State, silence_panics};
pub use list::FUNCTIONS;

/// `token` counts in `u64` and `usize`, C in `unsigned long`: the same on every 64-bit Unix, and only there.
const _: () = assert!(size_of::<cryptoki_sys::CK_ULONG>() == 8 && size_of::<usize>() == 8);
