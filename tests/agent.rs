//! `device_mode = "agent"`, through the loaded module: what the agent survives, and what its callers notice of it. Each
//! test has an installation, a token and an agent of its own; the device is `hsm/faulty.c` over SoftHSM.
// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "agent/actions.rs"]
mod actions;
#[path = "agent/bed.rs"]
mod bed;
#[path = "agent/callers.rs"]
mod callers;
#[path = "agent/door.rs"]
mod door;
#[path = "agent/loss.rs"]
mod loss;
#[path = "agent/speed.rs"]
mod speed;
mod support;
#[path = "agent/tokens.rs"]
mod tokens;
#[path = "agent/whole.rs"]
mod whole;
