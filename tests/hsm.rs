//! Devices: keys at work in one, and what happens when it is lost, refuses, or is shared. Each test makes a SoftHSM
//! token of its own in a directory of its own; `isolate = "copy"` gives each a library of its own.

#[path = "hsm/faults.rs"]
mod faults;
#[path = "hsm/faulty.rs"]
mod faulty;
#[path = "hsm/import.rs"]
mod import;
#[path = "hsm/keys.rs"]
mod keys;
#[path = "hsm/ladder.rs"]
mod ladder;
#[path = "hsm/material.rs"]
mod material;
#[path = "hsm/processes.rs"]
mod processes;
#[path = "hsm/resume.rs"]
mod resume;
#[path = "hsm/storm.rs"]
mod storm;
#[path = "hsm/suite.rs"]
mod suite;
#[path = "hsm/support.rs"]
mod support;
