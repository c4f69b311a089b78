//! How much slower a signature is through the agent: `cargo test --release --test agent -- --ignored --nocapture speed`.

use std::time::{Duration, Instant};

use cryptoki_sys::*;

use crate::bed::{Bed, children};
use crate::support::*;

/// How long each measurement takes.
const TIME: Duration = Duration::from_secs(3);

/// Signatures a second, by this many processes.
fn measure(c: Client, key: CK_OBJECT_HANDLE, mechanism: CK_MECHANISM_TYPE, processes: u64) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    let path = |number: u64| folder.path().join(number.to_string());
    c.sign(mechanism, key, &[1; 32]).unwrap();
    assert!(children(processes, |number| {
        c.sign(mechanism, key, &[1; 32]).unwrap();
        let (begun, mut count) = (Instant::now(), 0u64);
        while begun.elapsed() < TIME {
            c.sign(mechanism, key, &[2; 32]).unwrap();
            count += 1;
        }
        std::fs::write(path(number), count.to_string()).is_ok()
    }));
    let count = |number| std::fs::read_to_string(path(number)).unwrap().parse::<f64>().unwrap();
    (0..processes).map(count).sum::<f64>() / TIME.as_secs_f64()
}

#[test]
#[ignore = "a measurement, not a test"]
fn speed() {
    let bed = Bed::new(10);
    let alone = Installation::with_device();
    for (name, mechanism, rsa) in [("ECDSA P-256", CKM_ECDSA, false), ("RSA 2048", CKM_RSA_PKCS, true)] {
        let key = |c: Client| {
            let token = [b(CKA_TOKEN, true), s(CKA_LABEL, name)];
            if rsa { c.rsa_pair(2048, &token, &token).unwrap().1 } else { c.ec_pair(P256, &token).unwrap().1 }
        };
        let (here, there) = (alone.client(), bed.installation.client());
        let (key_here, key_there) = (key(here), key(there));
        for processes in [1, 2, 8, 32] {
            let within = measure(here, key_here, mechanism, processes);
            let agent = measure(there, key_there, mechanism, processes);
            let ratio = agent / within;
            println!(
                "{name}, {processes:2} processes: {within:8.0}/s in process, {agent:8.0}/s by the agent: {ratio:.2}"
            );
        }
    }
}
