//! The module as a file: what it exports, what it needs, and that no table of it can be led astray by another library.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use alikms_pkcs11::abi::FUNCTIONS;

/// `cargo test` refreshes only the copy in `deps/`, where this test lies too; the one above it may be yesterday's.
fn module() -> PathBuf {
    let path = std::env::current_exe().unwrap().with_file_name("libalikms_pkcs11.so");
    assert!(path.exists(), "no {}: the cdylib was not built", path.display());
    path
}

fn readelf(option: &str, path: &PathBuf) -> Vec<String> {
    let run = Command::new("readelf").args([option, "-W"]).arg(path).env("LC_ALL", "C").output();
    let output = run.expect("readelf (package binutils) is needed");
    assert!(output.status.success(), "readelf {option}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// The names of the dynamic symbols that are defined in the file.
fn exports(path: &PathBuf) -> BTreeSet<String> {
    readelf("--dyn-syms", path)
        .iter()
        // Num: Value Size Type Bind Vis Ndx Name
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|words| words.len() >= 8 && words[0].ends_with(':') && words[0] != "Num:")
        .filter(|words| words[6] != "UND" && words[4] != "LOCAL")
        .map(|words| words[7].split('@').next().unwrap().to_owned())
        .collect()
}

#[test]
fn exports_the_functions_of_the_header_and_nothing_else() {
    let names: BTreeSet<String> = FUNCTIONS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names.len(), FUNCTIONS.len(), "a name stands twice in the list");
    // 68 of PKCS#11 2.40, 24 of 3.0, 12 of 3.2.
    assert_eq!(names.len(), 104);
    assert_eq!(exports(&module()), names);
}

/// An application that is linked with another PKCS#11 library, or with this one, has C_* symbols of its own: a
/// relocation by name would fill our tables with those (devices.md §0.2).
#[test]
fn no_relocation_asks_for_a_function_by_name() {
    let by_name: Vec<_> = readelf("-r", &module())
        .into_iter()
        .filter(|line| line.split_whitespace().any(|word| word.starts_with("C_")))
        .collect();
    assert!(by_name.is_empty(), "{by_name:#?}");
}

#[test]
fn needs_the_c_library_only() {
    const ALLOWED: &[&str] = &["libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2"];
    let dynamic = readelf("-d", &module());
    let of = |tag: &str| -> Vec<String> {
        let lines = dynamic.iter().filter(|line| line.contains(&format!("({tag})")));
        lines.filter_map(|line| Some(line.split('[').nth(1)?.split(']').next()?.to_owned())).collect()
    };
    let strange: Vec<_> =
        of("NEEDED").into_iter().filter(|name| !ALLOWED.contains(&&**name) && !name.starts_with("ld-linux")).collect();
    assert!(strange.is_empty(), "{strange:?}");
    assert_eq!(of("SONAME"), ["libalikms_pkcs11.so"]);
    for path in ["RPATH", "RUNPATH"] {
        assert!(of(path).is_empty(), "{path}: {:?}", of(path));
    }
}

#[test]
fn is_never_unloaded_and_bound_at_once() {
    let dynamic = readelf("-d", &module());
    let flags = |tag: &str| dynamic.iter().find(|line| line.contains(tag)).cloned().unwrap_or_default();
    assert!(flags("(FLAGS_1)").contains("NODELETE"), "{dynamic:#?}");
    assert!(flags("(FLAGS_1)").contains("NOW"), "{dynamic:#?}");
    assert!(!dynamic.iter().any(|line| line.contains("(TEXTREL)")));
    assert!(readelf("-l", &module()).iter().any(|line| line.contains("GNU_RELRO")));
}

/// The command opens devices: were its C_* symbols in the global scope, a device's own table would lead to them.
#[test]
fn the_command_exports_no_function() {
    let names = exports(&PathBuf::from(env!("CARGO_BIN_EXE_alikms")));
    assert!(!names.iter().any(|name| name.starts_with("C_")), "{names:?}");
}
