//! Runs a few operations under callgrind, which counts their instructions: `ci/count.sh`. Counts do not suffer from what
//! else a machine does, so they show when a change makes the door dearer. The argument is the module, a release build.
//!
//! The operations that count go through the exported `C_*` symbols, by whose names callgrind counts; everything else goes
//! through the function list, whose functions have no names in a stripped library.

// What the macros call is C: the arguments are pointers and numbers, made before.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "door/door.rs"]
#[allow(dead_code)]
mod door;
#[path = "../tests/support/mod.rs"]
mod support;

use std::path::PathBuf;

use cryptoki_sys::*;

use crate::door::Door;
use crate::support::{Installation, Mech, P256, PIN, v};

/// What is counted is divided by this.
const TIMES: usize = 64;

fn main() {
    // `cargo test` and `cargo bench` name no module: there is nothing to do without callgrind.
    let Some(library) = std::env::args().nth(1).filter(|word| !word.starts_with('-')) else { return };
    let installation = Installation::software();
    let conf = format!("conf={}", installation.conf().display());
    let door = Door::open("software", &PathBuf::from(library), Some(&conf), PIN);
    let pair = door.pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], "counted");
    let (ecdsa, gcm, aes) = (Mech::new(CKM_ECDSA), Mech::gcm(&[1; 12], &[], 128), door.aes(&[9; 32]));
    let (mut signature, mut sealed) = ([0; 64], [0; 1040]);
    for (door, times) in [(door, 1), (door.exported(), TIMES)] {
        // The first time goes through the list: what is done once is not counted.
        (0..times).for_each(|_| _ = door.sign(&ecdsa, pair.private, &[7; 32], &mut signature));
        (0..times).for_each(|_| door.verify(&ecdsa, pair.public, &[7; 32], &signature));
        (0..times).for_each(|_| _ = door.encrypt(&gcm, aes, &[3; 1024], &mut sealed));
        (0..times).for_each(|_| _ = door.find(CKO_PRIVATE_KEY, "counted"));
        (0..times).for_each(|_| door.attributes(pair.private));
        (0..times).for_each(|_| door.session_info());
        (0..times).for_each(|_| door.close_session(door.open_session()));
    }
}
