//! What of `src/abi/` touches memory of the caller's.

#[path = "../../src/abi/args.rs"]
mod args;
#[cfg(test)]
#[path = "door.rs"]
mod door;
#[path = "../../src/abi/mechanism.rs"]
mod mechanism;
#[path = "../../src/abi/template.rs"]
mod template;
