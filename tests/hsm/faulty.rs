//! The Rust side of `faulty.c`: a device that errs as told or at random, in front of a SoftHSM token of its own. It is used
//! in a forked child, because the SoftHSM behind it is one for the process.

use std::fs::File;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use alikms_pkcs11::config::Isolate;
use alikms_pkcs11::protection::hsm::Hsm;
use cryptoki_sys::CK_RV;
use tempfile::TempDir;

use crate::processes::in_child;
use crate::support::*;

/// As in `faulty.c`.
#[repr(C)]
pub struct Order {
    rv: AtomicU64,
    left: AtomicU64,
    after: AtomicU64,
    pub delay: AtomicU64,
    pub limit: AtomicU64,
    calls: AtomicU64,
}

#[derive(Clone, Copy)]
pub enum Call {
    Initialize,
    Finalize,
    Open,
    Close,
    CloseAll,
    Login,
    FindInit,
    Get,
    GeneratePair,
    SignInit,
    Sign,
    Random,
    Destroy,
    Unwrap = 25,
    Wrap,
    Create,
}

/// As in `faulty.c`: what strikes at random.
#[repr(C)]
pub struct Storm {
    pub seed: AtomicU64,
    pub every: AtomicU64,
    pub kinds: AtomicU64,
    pub calls: AtomicU64,
    refused: AtomicU64,
    pub again: AtomicU64,
    pub strikes: [AtomicU64; FAULTS.len()],
}

/// In the order of `faulty.c`.
pub const FAULTS: [&str; 17] = [
    "fine",
    "before",
    "after",
    "code",
    "slow",
    "hang",
    "sessions",
    "logged out",
    "handles",
    "restart",
    "finalized",
    "shrink",
    "swap",
    "pretend",
    "length",
    "blackout",
    "wrong PIN",
];

pub struct Faulty {
    pub token: Token,
    pub orders: &'static [Order; 28],
    pub storm: &'static Storm,
    /// For each call: how many an order lets pass first.
    pub skips: &'static [AtomicU64; 28],
}

pub fn library() -> String {
    static LIBRARY_FILE: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, path) = LIBRARY_FILE.get_or_init(|| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("libfaulty.so").display().to_string();
        let made = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-fvisibility=hidden", "-o", &path])
            .arg(format!("-DLIBRARY=\"{LIBRARY}\""))
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hsm/faulty.c"))
            .status();
        assert!(made.unwrap().success());
        (directory, path)
    });
    path.clone()
}

impl Faulty {
    pub fn new() -> Self {
        let token = Token::new();
        let path = token.directory.path().join("orders");
        let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
        file.set_len(4096).unwrap();
        // SAFETY: the file is this test's own, and is used by atomic operations only.
        let map = Box::leak(Box::new(unsafe { memmap2::MmapMut::map_mut(&file) }.unwrap()));
        // SAFETY: a page, mapped for ever, is longer than the orders and zeros are valid for them.
        let orders = unsafe { &*map.as_ptr().cast() };
        // SAFETY: as above; the storm lies in the second half of the page.
        let storm = unsafe { &*map.as_ptr().add(2048).cast() };
        // SAFETY: as above; these are the last quarter.
        let skips = unsafe { &*map.as_ptr().add(3072).cast() };
        Self { token, orders, storm, skips }
    }

    pub fn hsm(&self, isolate: Isolate) -> Hsm {
        let mut config = self.token.config();
        config.library = library().into();
        config.init_args = Some(self.token.directory.path().join("orders").display().to_string());
        config.isolate = Some(isolate);
        Hsm::new(config)
    }

    /// Makes the next `times` calls answer `rv` without doing anything.
    pub fn order(&self, call: Call, rv: CK_RV, times: u64) {
        self.order_after(call, rv, times, 0);
    }

    /// `after`: 1 the work is done all the same; 2 the answer is CKR_OK and falsified by `rv`.
    pub fn order_after(&self, call: Call, rv: CK_RV, times: u64, after: u64) {
        let order = &self.orders[call as usize];
        order.rv.store(rv, Ordering::SeqCst);
        order.after.store(after, Ordering::SeqCst);
        order.left.store(times, Ordering::SeqCst);
    }

    pub fn calls(&self, call: Call) -> u64 {
        self.orders[call as usize].calls.load(Ordering::SeqCst)
    }
}

pub fn story(work: impl FnOnce(Faulty)) {
    library();
    let faulty = Faulty::new();
    assert!(in_child(|| {
        work(faulty);
        true
    }));
}
