//! How the module is linked. Names of ours stay ours, and a library that was loaded once stays.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    for option in [
        // Engines and p11-kit unload modules while threads, fork handlers and thread-local values still refer to them.
        "-z,nodelete",
        // A PKCS#11 library that comes first in the global scope must not take the place of our functions.
        "-Bsymbolic-functions",
        "-z,relro,-z,now",
        "-soname,libalikms_pkcs11.so",
    ] {
        println!("cargo:rustc-cdylib-link-arg=-Wl,{option}");
    }
}
