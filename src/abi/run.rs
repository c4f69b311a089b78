//! The run in progress: what lies between C_Initialize and C_Finalize, and which process began it. The only state of the door.
//!
//! Every call reads one pointer and takes no lock. A run is therefore never freed: a C_Finalize on one thread cannot pull
//! it from under a C_Sign on another, which ends as the stopped provider lets it. What a stopped provider keeps is small,
//! and a process sees few rounds of C_Initialize and C_Finalize (two or three in the clients that do it at all).

use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

use cryptoki_sys::{CKR_CRYPTOKI_ALREADY_INITIALIZED, CKR_CRYPTOKI_NOT_INITIALIZED, CKR_FUNCTION_FAILED};

use crate::abi::guard;
use crate::error::Result;
use crate::fork::{PerProcess, epoch};
use crate::remote::Tokens;
use crate::token::ck;

struct Run {
    tokens: Tokens,
    /// The configuration that C_Initialize named, if it did.
    conf: Option<String>,
    /// The process that began the run.
    epoch: u64,
}

/// Null: not initialised.
static CURRENT: AtomicPtr<Run> = AtomicPtr::new(std::ptr::null_mut());
/// A run of the parent that a forked child has ended: kept, because C_Initialize will ask for what was costly in it.
static PARKED: AtomicPtr<Run> = AtomicPtr::new(std::ptr::null_mut());
/// One C_Initialize or C_Finalize at a time. A child has its own: a thread of the parent may have held it at the fork.
/// No device is called while it is held, so that a device whose symbols lead back to us cannot wait for itself.
static CHANGING: PerProcess<Mutex<()>> = PerProcess::new(|| Mutex::new(()));
/// The library's finaliser has run: the libraries beneath us (aws-lc) have shut down.
static EXITED: AtomicBool = AtomicBool::new(false);

const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Tokens>();
};

/// The tokens of the run in progress, also in a forked child, which goes on with what it inherited.
pub(super) fn current() -> Result<Tokens> {
    look(&CURRENT).map(|run| run.tokens).ok_or_else(|| ck(CKR_CRYPTOKI_NOT_INITIALIZED))
}

fn look(place: &AtomicPtr<Run>) -> Option<&'static Run> {
    // SAFETY: what is stored in these statics was leaked by `install` and is never freed or changed.
    unsafe { place.load(Ordering::Acquire).as_ref() }
}

/// C_Initialize. In a forked child it succeeds although the parent had initialised, and starts afresh: no sessions.
pub(super) fn start(conf: Option<String>) -> Result<()> {
    guard::silence_panics();
    crate::trace::start();
    let epoch = epoch();
    let _one = CHANGING.get().lock().unwrap_or_else(PoisonError::into_inner);
    if EXITED.load(Ordering::Relaxed) {
        return Err(ck(CKR_FUNCTION_FAILED));
    }
    let found = look(&CURRENT);
    if found.is_some_and(|run| run.epoch == epoch) {
        return Err(ck(CKR_CRYPTOKI_ALREADY_INITIALIZED));
    }
    let tokens = match found.or_else(|| look(&PARKED)) {
        // Argon2id and opened keys are the parent's work: kept, as long as the configuration is the same.
        Some(inherited) if inherited.conf == conf => {
            inherited.tokens.fresh_in_child();
            inherited.tokens
        }
        _ => Tokens::start(conf.as_deref())?,
    };
    let run = Box::leak(Box::new(Run { tokens, conf, epoch }));
    CURRENT.store(run, Ordering::Release);
    PARKED.store(std::ptr::null_mut(), Ordering::Release);
    Ok(())
}

/// C_Finalize.
pub(super) fn stop() -> Result<()> {
    let epoch = epoch();
    let ended = {
        let _one = CHANGING.get().lock().unwrap_or_else(PoisonError::into_inner);
        let run = look(&CURRENT).ok_or_else(|| ck(CKR_CRYPTOKI_NOT_INITIALIZED))?;
        let inherited = run.epoch != epoch;
        if inherited {
            PARKED.store(std::ptr::from_ref(run).cast_mut(), Ordering::Release);
        }
        CURRENT.store(std::ptr::null_mut(), Ordering::Release);
        (!inherited).then_some(run)
    };
    if let Some(run) = ended {
        run.tokens.stop();
    }
    Ok(())
}

/// Runs when the process exits (the library is never unloaded before: `-z nodelete`). Destructors of other libraries may
/// still call us; they are answered CKR_CRYPTOKI_NOT_INITIALIZED, since what we stand on may wait for ever by then.
extern "C" fn leave() {
    EXITED.store(true, Ordering::Relaxed);
    CURRENT.store(std::ptr::null_mut(), Ordering::Release);
}

// SAFETY: the section holds functions without arguments that the dynamic linker calls at exit.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = leave;
