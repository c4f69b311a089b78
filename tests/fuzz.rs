//! Every input that a fuzzer found worth keeping is run again, without a fuzzer: `fuzz/corpus/TARGET/*` through the targets of
//! `fuzz/src`. What once crashed stays in there (ci/fuzz.sh).
// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]

#[path = "../fuzz/src/lib.rs"]
mod targets;

use std::path::Path;

/// Runs the corpus of a target; says how many inputs there were.
fn replay(name: &str) -> usize {
    let (_, target) = targets::TARGETS.iter().find(|(known, _)| *known == name).expect("a target");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in &files {
        // Seen only if the input fails.
        println!("{}", file.display());
        target(&std::fs::read(file).unwrap());
    }
    files.len()
}

/// All of them, one after the other: they share one world and one door.
#[test]
fn what_the_fuzzers_kept() {
    for (name, target) in targets::TARGETS {
        assert!(replay(name) > 5, "{name} has no corpus");
        target(&[]);
    }
    targets::world::sweep();
}

/// Each target has a program of its own for libFuzzer, and none has none.
#[test]
fn each_target_is_fuzzed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/fuzz_targets");
    let programs = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut programs: Vec<_> = programs.collect();
    programs.sort();
    let names: Vec<_> = targets::TARGETS.iter().map(|(name, _)| format!("{name}.rs")).collect();
    assert_eq!(programs, names);
}
