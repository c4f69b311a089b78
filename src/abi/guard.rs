//! What every `C_*` function passes: the panic net, the check that the module is initialised, one trace line, and
//! errors turned into `CK_RV`. Also the rule of the specification that an error ends the operation.

use std::panic::{AssertUnwindSafe, catch_unwind};

use cryptoki_sys::{
    CK_FLAGS, CK_RV, CK_SESSION_HANDLE, CK_ULONG, CKR_BUFFER_TOO_SMALL, CKR_FUNCTION_NOT_SUPPORTED, CKR_GENERAL_ERROR,
    CKR_OK,
};
use tracing::level_filters::LevelFilter;

use crate::abi::args::Out;
use crate::abi::run;
use crate::error::{Error, Result};
use crate::remote::{Session, Tokens};
use crate::token::{Answer, Room, ck};

/// Does a function do its work, or does it exist for completeness only? `alikms features` prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Works,
    /// Answers CKR_FUNCTION_NOT_SUPPORTED, for this reason.
    NotSupported(&'static str),
}

/// Runs a function that works without C_Initialize.
pub(super) fn call(name: &'static str, work: impl FnOnce() -> Result<()>) -> CK_RV {
    let (rv, error) = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(())) => (CKR_OK, None),
        Ok(Err(error)) => (error.rv(), Some(error)),
        Err(payload) => {
            // Not dropped: a payload is free to panic again when it is.
            std::mem::forget(payload);
            (CKR_GENERAL_ERROR, None)
        }
    };
    if LevelFilter::current() >= LevelFilter::DEBUG {
        trace(name, rv, error.as_ref());
    }
    rv
}

/// Runs a function of the run in progress; without one it answers CKR_CRYPTOKI_NOT_INITIALIZED.
pub(super) fn with(name: &'static str, work: impl FnOnce(Tokens) -> Result<()>) -> CK_RV {
    call(name, || work(run::current()?))
}

/// The function, its answer, and the error behind it, which names no secret; never an argument.
#[cold]
fn trace(name: &'static str, rv: CK_RV, error: Option<&Error>) {
    // A subscriber that panics must not take the host along.
    let _ = catch_unwind(AssertUnwindSafe(|| match error {
        None => tracing::debug!(target: "alikms::pkcs11", function = name, rv = format_args!("{rv:#x}")),
        Some(error) => tracing::debug!(target: "alikms::pkcs11", function = name, rv = format_args!("{rv:#x}"), %error),
    }));
}

/// Is the session there? For functions that look at it before their other arguments.
pub(super) fn session_exists(p: Tokens, session: CK_SESSION_HANDLE) -> Result<()> {
    p.session(session, |_| Ok(()))
}

/// An error in the arguments counts only if the session handle was good: that is checked first.
pub(super) fn after_session<T>(p: Tokens, session: CK_SESSION_HANDLE, arguments: Result<T>) -> Result<T> {
    arguments.or_else(|error| session_exists(p, session).and(Err(error)))
}

/// What a function without a counterpart in `token` answers.
pub(super) fn not_supported(p: Tokens, session: CK_SESSION_HANDLE) -> Result<()> {
    session_exists(p, session)?;
    Err(ck(CKR_FUNCTION_NOT_SUPPORTED))
}

/// One step of the operation `flag` (CKF_SIGN and the like). Any error but CKR_BUFFER_TOO_SMALL ends the operation, bad
/// arguments included (PKCS#11 3.2 §5.2 and the text of each function); a bad session handle has none to end.
pub(super) fn step<T>(
    p: Tokens,
    session: CK_SESSION_HANDLE,
    flag: CK_FLAGS,
    work: impl FnOnce(&mut Session<'_>) -> Result<T>,
) -> Result<T> {
    p.session(session, |s| {
        let outcome = work(s);
        if outcome.as_ref().is_err_and(|error| *error != Error::Cryptoki(CKR_BUFFER_TOO_SMALL)) {
            s.abort(flag);
        }
        outcome
    })
}

/// A step that has output: the convention of PKCS#11 3.2 §5.2. The output is copied when the inputs are no longer
/// looked at, so they may lie in the same place. Compiled once, and not for each function that calls it.
#[inline(never)]
pub(super) fn output(
    p: Tokens,
    session: CK_SESSION_HANDLE,
    flag: CK_FLAGS,
    out: Out<u8>,
    len: Out<CK_ULONG>,
    work: &mut dyn FnMut(&mut Session<'_>, Room) -> Result<Answer>,
) -> Result<()> {
    let (room, answer) = step(p, session, flag, |s| {
        let room = out.room(len)?;
        Ok((room, work(s, room)?))
    })?;
    out.give(len, room, answer)
}

/// Panics are answered with CKR_GENERAL_ERROR and traced, not printed: the standard error of a host may be anybody's.
/// The hook belongs to this library's own copy of the standard library.
#[cfg(not(test))]
pub fn silence_panics() {
    static ONCE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if ONCE.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        // The place only: a message may quote what was being worked on.
        if let Some(place) = info.location() {
            tracing::error!(target: "alikms::pkcs11", file = place.file(), line = place.line(), "panic");
        }
    }));
}

#[cfg(test)]
pub fn silence_panics() {}

/// Defines functions of the header. For each: the implementation, which the function tables point to, and the exported
/// `C_*` symbol, which only calls it. The tables must not name an exported symbol: where another PKCS#11 library comes
/// first in the global scope, the dynamic linker would put *its* function into *our* table.
///
/// `|p|` is the check that the module is initialised; `= not_supported("reason");` stands for a body.
macro_rules! cryptoki {
    () => {};
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) |$p:ident| $body:block $($rest:tt)*) => {
        cryptoki!(@define Works, with, $(#[$doc])* $name($($arg: $ty),*) [$p] $body);
        cryptoki!($($rest)*);
    };
    ($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $body:block $($rest:tt)*) => {
        cryptoki!(@define Works, call, $(#[$doc])* $name($($arg: $ty),*) [] $body);
        cryptoki!($($rest)*);
    };
    ($(#[$doc:meta])* fn $name:ident($session:ident: $handle:ty $(, $arg:ident: $ty:ty)* $(,)?)
        = not_supported($reason:expr); $($rest:tt)*) => {
        cryptoki!(@define NotSupported($reason), with, $(#[$doc])* $name($session: $handle $(, $arg: $ty)*) [p] {
            $(let _ = $arg;)*
            $crate::abi::guard::not_supported(p, $session)
        });
        cryptoki!($($rest)*);
    };
    (@define $state:ident $(($reason:expr))?, $guard:ident, $(#[$doc:meta])*
        $name:ident($($arg:ident: $ty:ty),*) [$($p:ident)?] $body:block) => {
        /// Carries the function's state to `list::FUNCTIONS`.
        #[allow(non_camel_case_types)]
        pub(super) enum $name {}

        impl $name {
            pub(super) const STATE: $crate::abi::State = $crate::abi::State::$state $(($reason))?;
        }

        $(#[$doc])*
        // Not inlined: were the exported symbol's body the same, the compiler might merge the two into that symbol.
        #[inline(never)]
        #[allow(non_snake_case, clippy::too_many_arguments)]
        pub(super) unsafe extern "C" fn $name(
            $($arg: <$ty as $crate::abi::args::Arg>::C),*
        ) -> cryptoki_sys::CK_RV {
            // SAFETY: the arguments are the C caller's, who vouches for them as PKCS#11 says while the call lasts.
            $(let $arg = unsafe { <$ty as $crate::abi::args::Arg>::from_c($arg) };)*
            $crate::abi::guard::$guard(stringify!($name), move |$($p)?| $body)
        }

        const _: () = {
            // SAFETY: no other symbol of this crate or its dependencies has this name.
            #[unsafe(no_mangle)]
            #[allow(non_snake_case, clippy::too_many_arguments)]
            unsafe extern "C" fn $name($($arg: <$ty as $crate::abi::args::Arg>::C),*) -> cryptoki_sys::CK_RV {
                // SAFETY: the caller's promise is passed on.
                unsafe { self::$name($($arg),*) }
            }
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_answer() {
        assert_eq!(call("test", || panic!("on purpose")), CKR_GENERAL_ERROR);
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("twice");
            }
        }
        assert_eq!(call("test", || std::panic::panic_any(Bomb)), CKR_GENERAL_ERROR);
    }

    #[test]
    fn an_error_is_its_number() {
        assert_eq!(call("test", || Ok(())), CKR_OK);
        assert_eq!(call("test", || Err(ck(CKR_BUFFER_TOO_SMALL))), CKR_BUFFER_TOO_SMALL);
        assert_eq!(with("test", |_| Ok(())), cryptoki_sys::CKR_CRYPTOKI_NOT_INITIALIZED);
    }
}
