//! Runs a few operations under callgrind, which counts their instructions: `ci/count.sh`. Counts do not suffer from what
//! else a machine does, so they show when a change makes the door dearer.

// What the macros call is C: the arguments are pointers and numbers, made before.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "door/door.rs"]
#[allow(dead_code)]
mod door;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;

use cryptoki_sys::*;

use crate::door::Door;
use crate::support::{Installation, Mech, P256, PIN, v};

/// What is counted is divided by this.
const TIMES: usize = 64;

/// Defines a function under whose name callgrind counts.
macro_rules! counted {
    ($($name:ident($($arg:ident: $ty:ty),*) $body:block)*) => {
        $(
            // SAFETY: no other symbol of the program has this name.
            #[unsafe(no_mangle)]
            #[inline(never)]
            fn $name($($arg: $ty),*) {
                for _ in 0..TIMES $body
            }
        )*
    };
}

counted! {
    counted_sign_p256(door: &Door, mechanism: &Mech, key: CK_OBJECT_HANDLE) {
        black_box(door.sign(mechanism, key, &[7; 32], &mut [0; 64]));
    }
    counted_encrypt_gcm_1024(door: &Door, mechanism: &Mech, key: CK_OBJECT_HANDLE) {
        black_box(door.encrypt(mechanism, key, &[3; 1024], &mut [0; 1040]));
    }
    counted_find_by_label(door: &Door) {
        black_box(door.find(CKO_PRIVATE_KEY, "counted"));
    }
    counted_get_attribute_value(door: &Door, key: CK_OBJECT_HANDLE) {
        door.attributes(key);
    }
    counted_open_close_session(door: &Door) {
        door.close_session(door.open_session());
    }
}

fn main() {
    let installation = Installation::software();
    let library = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
    let conf = format!("conf={}", installation.conf().display());
    let door = Door::open("software", &library, Some(&conf), PIN);
    let pair = door.pair(CKM_EC_KEY_PAIR_GEN, &[v(CKA_EC_PARAMS, P256)], "counted");
    let (ecdsa, gcm, aes) = (Mech::new(CKM_ECDSA), Mech::gcm(&[1; 12], &[], 128), door.aes(&[9; 32]));
    // What is done once is not counted.
    door.sign(&ecdsa, pair.private, &[7; 32], &mut [0; 64]);
    door.encrypt(&gcm, aes, &[3; 1024], &mut [0; 1040]);
    door.find(CKO_PRIVATE_KEY, "counted");
    door.attributes(pair.private);
    counted_sign_p256(&door, &ecdsa, pair.private);
    counted_encrypt_gcm_1024(&door, &gcm, aes);
    counted_find_by_label(&door);
    counted_get_attribute_value(&door, pair.private);
    counted_open_close_session(&door);
}
