#![no_main]

use libfuzzer_sys::fuzz_target;

// The world is made before the clock of the first input runs.
fuzz_target!(init: { alikms_fuzz::door::door(); }, |data: &[u8]| alikms_fuzz::calls::run(data));
