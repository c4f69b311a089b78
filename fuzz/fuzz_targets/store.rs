#![no_main]

use libfuzzer_sys::fuzz_target;

// The world is made before the clock of the first input runs.
fuzz_target!(init: { alikms_fuzz::world::world(); }, |data: &[u8]| alikms_fuzz::store::run(data));
