//! The C door: the functions of PKCS#11, one file per chapter of the specification. Pointers become Rust here and nowhere else.
