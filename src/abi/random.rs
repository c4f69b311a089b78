//! Random number generation functions (PKCS#11 3.2 §5.19).

use cryptoki_sys::*;

use crate::abi::args::{In, Out};

cryptoki! {
    fn C_SeedRandom(session: CK_SESSION_HANDLE, seed: In<u8>, seed_len: CK_ULONG) |p| {
        p.session(session, |s| s.seed_random(seed.bytes(seed_len)?))
    }

    fn C_GenerateRandom(session: CK_SESSION_HANDLE, random: Out<u8>, random_len: CK_ULONG) |p| {
        p.session(session, |s| random.stream(random_len, |len| s.generate_random(len)))
    }
}
