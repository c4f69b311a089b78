//! `include/alikms_pkcs11.h` in C: beside Debian's p11-kit header, alone, and in C++; every number is Rust's.

use std::fs;
use std::path::Path;
use std::process::Command;

use alikms_pkcs11::token::vendor::{EnvelopeParams, VENDOR};

/// Of the package libp11-kit-dev: any header of PKCS#11 would do.
const P11_KIT: &str = "/usr/include/p11-kit-1";

fn compile(compiler: &str, language: &str, standard: &str, source: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (code, program) = (folder.path().join("source"), folder.path().join("program"));
    fs::write(&code, source).unwrap();
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let mut command = Command::new(compiler);
    command.args(["-x", language, standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"]).arg(include);
    let output = command.args(["-isystem", P11_KIT]).arg(&code).arg("-o").arg(&program).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder
}

fn run(folder: &tempfile::TempDir) -> String {
    let output = Command::new(folder.path().join("program")).output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_number_is_the_same_in_c_and_rust() {
    assert!(Path::new(P11_KIT).exists(), "libp11-kit-dev is needed: ci/install.sh test");
    // The names come from the header itself: one that Rust does not have must show too.
    let header = include_str!("../include/alikms_pkcs11.h");
    let defined = header.lines().filter_map(|line| line.strip_prefix("#define ")?.split_whitespace().next());
    let names: Vec<&str> = defined.filter(|name| name.starts_with("CK")).collect();
    let prints: String =
        names.iter().map(|name| format!("\tprintf(\"{name} %lx\\n\", (CK_ULONG) {name});\n")).collect();
    let source = format!(
        "#include <stddef.h>\n#include <stdio.h>\n#include <p11-kit/pkcs11.h>\n#include <alikms_pkcs11.h>\n\
         /* The types of the parameter are those of the standard header. */\n\
         static CK_BYTE_PTR context(CK_ALIKMS_ENVELOPE_PARAMS_PTR p) {{ return p->pContext; }}\n\
         static CK_ULONG *length(CK_ALIKMS_ENVELOPE_PARAMS *p) {{ return &p->ulContextLen; }}\n\
         int main(void) {{\n\tCK_ALIKMS_ENVELOPE_PARAMS p = {{ NULL, 0 }};\n\
         \tCK_MECHANISM m = {{ CKM_ALIKMS_ENVELOPE, &p, sizeof p }};\n\
         \tif (context(&p) != NULL || *length(&p) != 0 || m.pParameter != &p) return 1;\n{prints}\
         \tprintf(\"%zu %zu %zu\\n\", sizeof p, offsetof(CK_ALIKMS_ENVELOPE_PARAMS, pContext),\n\
         \t\toffsetof(CK_ALIKMS_ENVELOPE_PARAMS, ulContextLen));\n\treturn 0;\n}}\n"
    );
    let said = run(&compile("cc", "c", "-std=c99", &source));
    let rust: String = VENDOR.iter().map(|(name, number)| format!("{name} {number:x}\n")).collect();
    let size = size_of::<EnvelopeParams>();
    let offset = std::mem::offset_of!(EnvelopeParams, context_len);
    assert_eq!(said, format!("{rust}{size} {} {offset}\n", std::mem::offset_of!(EnvelopeParams, context)));
}

/// All numbers are in our block, and no two of one kind are the same.
#[test]
fn numbers_are_our_own() {
    for (at, (name, number)) in VENDOR.iter().enumerate() {
        assert_eq!(number & 0xFFFF_FF00, 0xC14C_4900, "{name}");
        let same = VENDOR[..at].iter().find(|(other, its)| its == number && other[..4] == name[..4]);
        assert_eq!(same, None, "{name}");
    }
}

#[test]
fn stands_alone_and_in_cpp() {
    let source = "#include <alikms_pkcs11.h>\n#include <alikms_pkcs11.h>\n\
                  int main(void) { return CKM_ALIKMS_ENVELOPE == 0xC14C4930UL ? 0 : 1; }\n";
    run(&compile("cc", "c", "-std=c99", source));
    run(&compile("c++", "c++", "-std=c++11", source));
}
