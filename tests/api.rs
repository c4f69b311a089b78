//! Every action of the API at both levels: answers in their exact shape, errors with code and HTTP status (kms-api.md §1.3,
//! §1.4), states (§2.5). A test's name begins with the statement of kms-statements.md that it proves.

mod common;

#[path = "api/files.rs"]
mod files;

#[path = "api/bed.rs"]
mod bed;

/// Makes a test at each level of functions that take a `&Bed`.
macro_rules! at_both_levels {
    ($($(#[$ignore:meta])* $name:ident)*) => {
        mod software {
            $(#[test] fn $name() { super::$name(crate::bed::software()) })*
        }
        mod hsm {
            $(#[test] fn $name() { super::$name(crate::bed::hsm()) })*
        }
    };
}

#[path = "api/aliases.rs"]
mod aliases;
#[path = "api/asymmetric.rs"]
mod asymmetric;
#[path = "api/authorities.rs"]
mod authorities;
#[path = "api/bad_input.rs"]
mod bad_input;
#[path = "api/certificate_list.rs"]
mod certificate_list;
#[path = "api/certificate_states.rs"]
mod certificate_states;
#[path = "api/certificate_work.rs"]
mod certificate_work;
#[path = "api/certificates.rs"]
mod certificates;
#[path = "api/codes.rs"]
mod codes;
#[path = "api/envelope.rs"]
mod envelope;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/lists.rs"]
mod lists;
#[path = "api/macs.rs"]
mod macs;
#[path = "api/product.rs"]
mod product;
#[path = "api/rehearsals.rs"]
mod rehearsals;
#[path = "api/requests.rs"]
mod requests;
#[path = "api/secrecy.rs"]
mod secrecy;
#[path = "api/shapes.rs"]
mod shapes;
#[path = "api/sharing.rs"]
mod sharing;
#[path = "api/states.rs"]
mod states;
#[path = "api/tag_resources.rs"]
mod tag_resources;
#[path = "api/uploads.rs"]
mod uploads;
#[path = "api/versions.rs"]
mod versions;
