//! `alikms features` tells the truth, and README.md says what it says.

mod common;

use std::path::Path;

use alikms_pkcs11::abi::{FUNCTIONS, State};
use alikms_pkcs11::api::{self, published};
use alikms_pkcs11::model::key::Level;
use alikms_pkcs11::token::mechanism::MECHANISMS;
use common::Home;
use common::module::Module;
use cryptoki_sys::*;

const BEGIN: &str = "<!-- features:begin -->\n";
const END: &str = "<!-- features:end -->\n";

/// Mend it with `ALIKMS_BLESS=1 cargo test --test features`.
#[test]
fn readme_has_the_tables_of_the_program() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = readme.split_once(BEGIN).expect("README.md lost its marker");
    let (block, tail) = rest.split_once(END).expect("README.md lost its marker");
    let home = Home::bare(Level::Software);
    let run = home.alikms(["features", "--markdown"]);
    assert_eq!(run.status, 0, "{run:?}");
    if std::env::var_os("ALIKMS_BLESS").is_some() {
        std::fs::write(path, format!("{head}{BEGIN}{}{END}{tail}", run.stdout)).unwrap();
    } else {
        assert!(
            block == run.stdout,
            "README.md is not what `alikms features --markdown` says: run with ALIKMS_BLESS=1"
        );
    }
}

/// Actions that need one of several parameters, so that none of them alone is required.
const ALTERNATIVES: &[&str] = &["UploadUserCertificate"];

#[test]
fn actions_are_there_or_not_as_it_says() {
    let home = Home::new(Level::Software);
    let text = home.alikms(["features"]).stdout;
    let mut seen = 0;
    for line in text.lines().skip(1).take_while(|line| !line.is_empty()) {
        let (name, state) = line.trim().split_once(' ').unwrap();
        seen += 1;
        let run = home.alikms([name]);
        let foreign = published::FOREIGN.contains(&published::find(name).unwrap());
        match (state.trim(), foreign) {
            // It answers, or it misses its parameters.
            // They ask for a user where the account asks.
            ("yes", _) if ["CreateAccessKey", "ListAccessKeys"].contains(&name) => {
                assert!(run.status == 1 && run.stderr.contains("MissingParameter"), "{name}: {run:?}");
            }
            // What is open cannot be opened.
            ("yes", _) if name == "OpenKmsService" => {
                assert!(run.status == 1 && run.stderr.contains("Forbidden.Opened"), "{run:?}");
            }
            ("yes", _) => {
                let parameters = api::help::parameters(api::find(name).unwrap());
                let missing = parameters.iter().any(|parameter| parameter.required);
                if ALTERNATIVES.contains(&name) {
                    assert!(
                        run.status == 1 && run.stderr.contains("\nErrorCode: MissingParameter\n"),
                        "{name}: {run:?}"
                    );
                    continue;
                }
                assert_eq!(run.status, if missing { 3 } else { 0 }, "{name}: {run:?}");
                let missed = run.stderr.starts_with("ERROR: required parameters not assigned: \n");
                assert_eq!(missed, missing, "{name}: {run:?}");
            }
            ("not yet", false) | ("not planned", true) => {
                let said =
                    format!("ERROR: '{name}' is an api that this version does not have. See `alikms features`.\n");
                assert_eq!((run.status, run.stderr), (2, said));
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(seen, published::PUBLISHED.iter().map(|(_, names)| names.len()).sum::<usize>());
}

/// C_Finalize is called last. Those that look at no session first get none.
const WITHOUT_SESSION: &[&str] = &[
    "C_CloseAllSessions",
    "C_GetFunctionList",
    "C_GetInfo",
    "C_GetInterface",
    "C_GetInterfaceList",
    "C_GetMechanismInfo",
    "C_GetMechanismList",
    "C_GetSlotInfo",
    "C_GetSlotList",
    "C_GetTokenInfo",
    "C_InitToken",
    "C_Initialize",
    "C_OpenSession",
    "C_WaitForSlotEvent",
];

#[test]
fn functions_work_or_not_as_it_says() {
    let home = Home::new(Level::Software);
    let module = Module::new(&home.config());
    for (name, state) in FUNCTIONS.iter().filter(|(name, _)| *name != "C_Finalize") {
        let session = module.session();
        let first = if WITHOUT_SESSION.contains(name) { 0 } else { session };
        let rv = module.call(name, &[first]);
        assert_eq!(rv == CKR_FUNCTION_NOT_SUPPORTED, *state != State::Works, "{name} answered {rv:#x}");
        module.call("C_CloseSession", &[session]);
    }
    assert_eq!(module.call("C_Finalize", &[0]), CKR_OK);
}

/// The whole list and each row of it, at the door.
#[test]
fn mechanisms_are_those_of_the_module() {
    let home = Home::new(Level::Software);
    let module = Module::new(&home.config());
    let slot = module.slots()[0];
    let mut count: CK_ULONG = 0;
    assert_eq!(module.call("C_GetMechanismList", &[slot, 0, (&raw mut count) as u64]), CKR_OK);
    let mut list = vec![0u64; count as usize];
    let arguments = [slot, list.as_mut_ptr() as u64, (&raw mut count) as u64];
    assert_eq!(module.call("C_GetMechanismList", &arguments), CKR_OK);
    assert_eq!(list, MECHANISMS.iter().map(|row| row.kind).collect::<Vec<_>>());

    let text = home.alikms(["features", "--markdown"]).stdout;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("| `CKM_")).collect();
    assert_eq!(lines.len(), MECHANISMS.len());
    for (line, row) in lines.iter().zip(MECHANISMS) {
        let cells: Vec<&str> = line.trim_matches(['|', ' ']).split('|').map(str::trim).collect();
        let [name, sizes, words] = cells[..] else { panic!("{line}") };
        assert_eq!(name.trim_matches('`'), row.name);
        let mut info = CK_MECHANISM_INFO { ulMinKeySize: 0, ulMaxKeySize: 0, flags: 0 };
        assert_eq!(module.call("C_GetMechanismInfo", &[slot, row.kind, (&raw mut info) as u64]), CKR_OK);
        let numbers = format!("{} to {} b", info.ulMinKeySize, info.ulMaxKeySize);
        assert!(if info.ulMaxKeySize == 0 { sizes.is_empty() } else { sizes.starts_with(&numbers) }, "{line}");
        let said = words.split(", ").map(|word| FLAGS.iter().find(|(_, known)| *known == word).unwrap().0);
        assert_eq!(said.fold(0, |all, flag| all | flag), info.flags, "{line}");
    }
}

/// What the words of the table mean.
const FLAGS: &[(CK_FLAGS, &str)] = &[
    (CKF_ENCRYPT, "encrypt"),
    (CKF_DECRYPT, "decrypt"),
    (CKF_SIGN, "sign"),
    (CKF_VERIFY, "verify"),
    (CKF_DIGEST, "digest"),
    (CKF_GENERATE, "generate"),
    (CKF_GENERATE_KEY_PAIR, "generate a pair"),
    (CKF_WRAP, "wrap"),
    (CKF_UNWRAP, "unwrap"),
    (CKF_DERIVE, "derive"),
    (CKF_MESSAGE_ENCRYPT, "encrypt by message"),
    (CKF_MESSAGE_DECRYPT, "decrypt by message"),
    (CKF_MESSAGE_SIGN, "sign by message"),
    (CKF_MESSAGE_VERIFY, "verify by message"),
    (CKF_MULTI_MESSAGE, "messages in parts"),
    (CKF_EC_F_P, "prime fields"),
    (CKF_EC_NAMEDCURVE, "named curves"),
    (CKF_EC_CURVENAME, "curves by name"),
    (CKF_EC_UNCOMPRESS, "uncompressed points"),
];
