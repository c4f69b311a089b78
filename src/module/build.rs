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
    if let Some(aws_lc) = prefix_of_aws_lc() {
        // A function that RSA_generate_key_ex names and never calls. It alone would bring in what aws-lc knows of other kinds
        // of keys, a twentieth of the file; FIPS_mode, which stands in for it, answers the same "no".
        println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym={aws_lc}_RSA_check_fips={aws_lc}_FIPS_mode");
        // Ed25519's product with the base point comes in two forms, for processors with ADX and BMI2 and for all, each with a
        // table of 48 KB. The second alone takes 7.6 us where the first takes 6.8.
        // So do what verifies by it, X25519, and the doubling of points of P-521, without tables: 16 to 24 % slower.
        for product in
            ["edwards25519_scalarmulbase", "edwards25519_scalarmuldouble", "curve25519_x25519_byte", "p521_jdouble"]
        {
            println!("cargo:rustc-cdylib-link-arg=-Wl,--defsym={aws_lc}_{product}={aws_lc}_{product}_alt");
        }
    }
    if packs_relocations() {
        println!("cargo:rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    }
}

/// What aws-lc-sys puts before the names of aws-lc's functions: `aws_lc_0_47_0`, from its `DEP_AWS_LC_0_47_0_LIBCRYPTO`.
fn prefix_of_aws_lc() -> Option<String> {
    let of = |(name, value): (String, String)| {
        let ours = name.starts_with("DEP_AWS_LC_") && name.ends_with("_LIBCRYPTO");
        ours.then(|| value.strip_suffix("_crypto").map(str::to_owned)).flatten()
    };
    std::env::vars().find_map(of)
}

/// Does the C library here load relocations in their compact form (glibc 2.36 and later)? They are a twentieth of the file.
fn packs_relocations() -> bool {
    let here = std::env::var("HOST").ok() == std::env::var("TARGET").ok();
    let said = std::process::Command::new("getconf").arg("GNU_LIBC_VERSION").output();
    let version = said.ok().and_then(|said| String::from_utf8(said.stdout).ok()).unwrap_or_default();
    let minor = version.trim().strip_prefix("glibc 2.").and_then(|minor| minor.parse::<u32>().ok());
    here && minor.is_some_and(|minor| minor >= 36)
}
