//! The files of the library that are modelled take loom's locks and atomics instead of the standard library's.

fn main() {
    println!("cargo:rustc-check-cfg=cfg(loom)");
    println!("cargo:rustc-cfg=loom");
}
