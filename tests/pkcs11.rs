//! The module at its C door: a copy of the `.so` for each test, with an installation of its own, driven through the
//! function table and by the crate `cryptoki`. Results are checked by `openssl` and by independent crates.
// `call!` names C functions and their arguments.
#![allow(clippy::macro_metavars_in_unsafe)]
// `call!` calls C functions: its arguments are pointers and numbers.

mod support;

#[path = "pkcs11/attacks.rs"]
mod attacks;
#[path = "pkcs11/attributes.rs"]
mod attributes;
#[path = "pkcs11/c_programs.rs"]
mod c_programs;
#[path = "pkcs11/certificate_attributes.rs"]
mod certificate_attributes;
#[path = "pkcs11/certificates.rs"]
mod certificates;
#[path = "pkcs11/ciphers.rs"]
mod ciphers;
#[path = "pkcs11/codes.rs"]
mod codes;
#[path = "pkcs11/creation.rs"]
mod creation;
#[path = "pkcs11/cryptoki_crate.rs"]
mod cryptoki_crate;
#[path = "pkcs11/derivation.rs"]
mod derivation;
#[path = "pkcs11/digests.rs"]
mod digests;
#[path = "pkcs11/dual.rs"]
mod dual;
#[path = "pkcs11/edwards.rs"]
mod edwards;
#[path = "pkcs11/envelope.rs"]
mod envelope;
#[path = "pkcs11/fenced.rs"]
mod fenced;
#[path = "pkcs11/flags.rs"]
mod flags;
#[path = "pkcs11/fork.rs"]
mod fork;
#[path = "pkcs11/general.rs"]
mod general;
#[path = "pkcs11/guard_pages.rs"]
mod guard_pages;
#[path = "pkcs11/initialize.rs"]
mod initialize;
#[path = "pkcs11/lengths.rs"]
mod lengths;
#[path = "pkcs11/login.rs"]
mod login;
#[path = "pkcs11/mechanisms.rs"]
mod mechanisms;
#[path = "pkcs11/messages.rs"]
mod messages;
#[path = "pkcs11/model.rs"]
mod model;
#[path = "pkcs11/names.rs"]
mod names;
#[path = "pkcs11/objects.rs"]
mod objects;
#[path = "pkcs11/overlaps.rs"]
mod overlaps;
#[path = "pkcs11/pins.rs"]
mod pins;
#[path = "pkcs11/robust.rs"]
mod robust;
#[path = "pkcs11/rules.rs"]
mod rules;
#[path = "pkcs11/sharing.rs"]
mod sharing;
#[path = "pkcs11/signatures.rs"]
mod signatures;
#[path = "pkcs11/states.rs"]
mod states;
#[path = "pkcs11/threads.rs"]
mod threads;
#[path = "pkcs11/uses.rs"]
mod uses;
#[path = "pkcs11/wrapping.rs"]
mod wrapping;
