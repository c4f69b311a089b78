//! What the tests at the C door share: an installation of its own for each test, a copy of the library of its own, and
//! PKCS#11 in short words. Each test binary uses a part of it.
#![allow(dead_code, unused_imports)]

pub mod agent;
mod client;
mod dice;
mod installation;
mod module;
mod words;

pub use client::{Client, two_calls};
pub use dice::Dice;
pub use installation::{DEVICE_LIBRARY, Installation, PIN, SO_PIN, Setup, device_name, openssl};
pub use module::{Module, rv_name};
pub use words::*;

/// Calls a function through the table and answers its CK_RV: `call!(module, C_Sign(session, …))`.
// What is called is C: the arguments are pointers and numbers, made before.
#[allow(clippy::macro_metavars_in_unsafe)]
#[macro_export]
macro_rules! call {
    ($module:expr, $name:ident ( $($arg:expr),* $(,)? )) => {{
        // SAFETY: the table is the module's, which stays loaded; the arguments are the test's.
        unsafe { ($module.table().$name.expect(stringify!($name)))($($arg),*) }
    }};
}
