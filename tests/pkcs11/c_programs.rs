//! The programs of `tests/c`, compiled with the system's compiler: linked with the module, forking, in place, loaded and
//! unloaded again and again; keys at level HSM in SoftHSM, whose table must not lead back to us.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{DEVICE_LIBRARY, Installation, PIN};

fn compile(installation: &Installation, name: &str, more: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c").join(format!("{name}.c"));
    let program = installation.path(name);
    let mut command = Command::new("cc");
    command.args(["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-I/usr/include/p11-kit-1", "-o"]);
    command.arg(&program).arg(source).args(more).args(["-ldl", "-lpthread"]);
    // ci/sanitize.sh: the module is built with AddressSanitizer, whose runtime the program brings.
    if std::env::var_os("ALIKMS_TEST_SANITIZE").is_some() {
        command.args(["-fsanitize=address", "-fno-omit-frame-pointer", "-g"]);
    }
    let output = command.output().expect("cc is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    program
}

fn run(installation: &Installation, program: &Path, words: &[&str]) {
    // Killed if it hangs, as a device that calls itself round in circles would.
    let output =
        installation.command("timeout").args(["--kill-after=3", "120"]).arg(program).args(words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {}: {said}", program.display(), output.status);
}

/// Runs a program that takes the module, the token and its PIN.
fn at_both_levels(name: &str) {
    for installation in [Installation::software(), Installation::with_device()] {
        let program = compile(&installation, name, &[]);
        let module = installation.copy();
        run(&installation, &program, &[&module, "alikms", PIN]);
    }
}

#[test]
fn linked() {
    let installation = Installation::with_device();
    let module = installation.copy();
    let library = installation.path("libalikms_pkcs11.so");
    std::fs::copy(&module, &library).unwrap();
    let dir = installation.path(".").display().to_string();
    // Before LD_LIBRARY_PATH, in which cargo puts a directory where an older build of the library may lie.
    let program = compile(
        &installation,
        "linked",
        &["-L", &dir, "-lalikms_pkcs11", &format!("-Wl,--disable-new-dtags,-rpath,{dir}")],
    );
    run(&installation, &program, &["alikms", PIN]);
}

#[test]
fn fork() {
    at_both_levels("fork");
}

#[test]
fn exits() {
    at_both_levels("exits");
}

/// Two copies of the library in one process, and a program that uses SoftHSM itself, on the very token that is our device.
#[test]
fn neighbours() {
    for device in [false, true] {
        let installation = if device { Installation::with_device() } else { Installation::software() };
        let program = compile(&installation, "neighbours", &[]);
        let (module, copy) = (installation.copy(), installation.copy());
        let mut words = vec![module.as_str(), "alikms", PIN, &copy];
        if device {
            words.extend([DEVICE_LIBRARY, "device", "device-pin"]);
        }
        run(&installation, &program, &words);
    }
}

#[test]
fn inplace() {
    at_both_levels("inplace");
}

#[test]
fn dlopen_loop() {
    let installation = Installation::with_device();
    let program = compile(&installation, "dlopen_loop", &[]);
    let module = installation.copy();
    run(&installation, &program, &[&module]);
}
