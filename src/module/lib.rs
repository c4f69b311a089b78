//! `libalikms_pkcs11.so`: the functions that `alikms::abi` exports, and nothing else.

extern crate alikms;
