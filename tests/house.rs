//! The walls of the house (DESIGN §2): who may use whom, where `unsafe` and which vocabulary may live, what each file looks like.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use alikms_pkcs11::model::algorithm::Algorithm;
use alikms_pkcs11::model::curve::Curve;
use alikms_pkcs11::model::spec::{Family, SPECS};
use alikms_pkcs11::token::mechanism::{Does, Keys, MECHANISMS};

/// Each room, and the rooms below it that it may use. A room may use itself.
const ROOMS: &[(&str, &[&str])] = &[
    // Two halves of the ground: an error names the state of a key.
    ("error", &["model"]),
    ("model", &["error"]),
    ("fork", &["error"]),
    ("trace", &["fork"]),
    ("config", &["error", "fork", "model"]),
    ("crypto", &["error", "fork", "model"]),
    ("link", &["error", "model"]),
    ("seal", &["error", "crypto", "fork", "model"]),
    ("store", &["error", "config", "crypto", "fork", "model", "seal"]),
    ("protection", &["error", "config", "crypto", "fork", "link", "model", "seal"]),
    ("kms", &["error", "config", "crypto", "fork", "model", "protection", "seal", "store"]),
    ("token", &["error", "config", "crypto", "fork", "kms", "model", "protection", "seal", "store"]),
    ("api", &["error", "config", "kms", "model", "store"]),
    ("remote", &["error", "api", "config", "fork", "kms", "link", "model", "token"]),
    ("abi", &["error", "config", "fork", "kms", "model", "remote", "token", "trace"]),
];

/// Where `unsafe` may stand, and what for.
const UNSAFE: &[(&str, &str)] = &[
    ("src/abi/", "pointers of C callers become Rust"),
    ("src/crypto/", "aws-lc by its C functions"),
    ("src/fork.rs", "fork handlers, and the page that a fork wipes"),
    ("src/link/peer.rs", "asks the kernel who is at the other end of a socket"),
    ("src/protection/hsm/calls.rs", "calls into the device's library"),
    ("src/protection/hsm/device.rs", "loads the device's library"),
    ("src/store/counter.rs", "the counter is memory that processes share"),
    ("src/store/uses.rs", "the uses of keys are memory that outlives the process"),
    ("src/store/sqlite.rs", "lets go of a connection after a fork"),
];

/// Where PKCS#11 is spoken.
const CRYPTOKI: &[&str] = &["src/abi/", "src/remote/", "src/token/", "src/protection/hsm/"];

/// Where the product may give up with a panic, which the guard at the door catches: never because of input.
const PANICS: &[(&str, &str)] = &[
    ("src/crypto/ffi.rs", "aws-lc fails where memory is exhausted, as Rust itself does"),
    ("src/seal/mod.rs", "lengths that are constants here, and a generator that never fails"),
];

/// Thread-local values: plain numbers without a destructor, which would run in code that may be unloaded.
const THREAD_LOCALS: &[(&str, &str)] = &[
    ("src/fork.rs", "how often this thread holds the gate"),
    ("src/store/gate.rs", "whether this thread holds the gate"),
];

/// What may be called at exit, and why.
const AT_EXIT: &[(&str, &str)] =
    &[("src/fork.rs", "destructors of devices' libraries run while threads are inside them")];

/// Where JSON is spoken.
const JSON: &[(&str, &str)] = &[
    ("src/api/", "the shapes of the API"),
    ("src/bin/alikms/", "prints what the API answers"),
    ("src/kms/import.rs", "the inside of an import token, which only we read"),
    ("src/model/context.rs", "an EncryptionContext is JSON, through PKCS#11 too"),
    ("src/model/key_policy.rs", "a key policy is JSON"),
    ("src/model/policy.rs", "a RAM policy is JSON"),
    ("src/store/", "the records"),
];

/// A file that is longer is two files.
const LONGEST: usize = 500;

/// A source file.
struct File {
    /// From the top of the package, with slashes.
    path: String,
    text: String,
    /// `text` without comments and without what strings say; lines stay where they are.
    code: String,
}

impl File {
    /// The room that it belongs to; none for the command, the module's package and the list of rooms.
    fn room(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        let room = rest.split('/').next()?.trim_end_matches(".rs");
        (!["bin", "lib", "module"].contains(&room)).then_some(room)
    }

    /// The file without its unit tests.
    fn product(&self) -> &str {
        match self.code.find("#[cfg(test)]\nmod tests {") {
            Some(at) => &self.code[..at],
            None => &self.code,
        }
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs") || self.path.starts_with("tests/")
    }
}

fn files(top: &str) -> Vec<File> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    walk(&root.join(top), &mut paths);
    paths.sort();
    let file = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        File { path, code: code_of(&text), text }
    };
    paths.into_iter().map(file).collect()
}

/// Blanks out comments, and the inside of strings and characters.
fn code_of(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let is = |at: usize, word: &str| word.chars().enumerate().all(|(i, c)| letters.get(at + i) == Some(&c));
    let mut out = String::new();
    let mut at = 0;
    // Skips to `end`, keeping line breaks.
    let skip = |out: &mut String, at: &mut usize, end: usize| {
        let end = end.min(letters.len());
        out.extend(letters[*at..end].iter().filter(|c| **c == '\n'));
        *at = end;
    };
    while at < letters.len() {
        let from = |start: usize, word: &str| (start..letters.len()).find(|at| is(*at, word)).unwrap_or(letters.len());
        if is(at, "//") {
            let end = from(at, "\n");
            skip(&mut out, &mut at, end);
        } else if is(at, "/*") {
            let end = from(at, "*/") + 2;
            skip(&mut out, &mut at, end);
        } else if is(at, "r\"") || is(at, "r#\"") {
            let raw = if is(at, "r#") { "\"#" } else { "\"" };
            let end = from(at + raw.len() + 1, raw) + raw.len();
            skip(&mut out, &mut at, end);
        } else if letters[at] == '"' {
            let mut end = at + 1;
            while end < letters.len() && letters[end] != '"' {
                end += if letters[end] == '\\' { 2 } else { 1 };
            }
            skip(&mut out, &mut at, end + 1);
        } else if letters[at] == '\'' && (is(at + 2, "'") || is(at + 1, "\\")) {
            let end = from(at + if is(at + 1, "\\") { 3 } else { 2 }, "'") + 1;
            skip(&mut out, &mut at, end);
        } else {
            out.push(letters[at]);
            at += 1;
        }
    }
    out
}

/// The words of `code`: runs of letters, digits and underscores.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn a_room_uses_only_rooms_below_it() {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in files("src") {
        let Some(room) = file.room() else { continue };
        let Some((_, may)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            found.push(format!("{}: the room {room} is not in ROOMS", file.path));
            continue;
        };
        seen.insert(room.to_owned());
        for (number, line) in file.code.lines().enumerate() {
            for rest in line.split("crate::").skip(1) {
                // `use crate::{a::…, b::…}` names several.
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(group) => group.split(['{', '}', ',']).filter_map(|name| words(name).next()).collect(),
                    None => words(rest).next().into_iter().collect(),
                };
                let rooms = names.into_iter().filter(|name| ROOMS.iter().any(|(room, _)| room == name));
                let above = rooms.filter(|name| *name != room && !may.contains(name));
                found.extend(above.map(|name| format!("{}:{}: {room} uses {name}", file.path, number + 1)));
            }
        }
    }
    none(found);
    assert_eq!(seen, ROOMS.iter().map(|(room, _)| (*room).to_owned()).collect());
}

/// The matrix itself: nobody below uses anybody above, and neighbours do not know each other.
#[test]
fn the_rooms_are_in_order() {
    let order: BTreeMap<_, _> = ROOMS.iter().enumerate().map(|(at, (room, _))| (*room, at)).collect();
    for (room, may) in ROOMS.iter().filter(|(room, _)| *room != "error") {
        assert!(may.iter().all(|below| order[below] < order[room] || *room == "abi"), "{room}");
    }
    for (one, other) in [("store", "protection"), ("token", "api")] {
        for (a, b) in [(one, other), (other, one)] {
            assert!(!ROOMS[order[a]].1.contains(&b), "{a} knows {b}");
        }
    }
}

#[test]
fn unsafe_has_an_address_and_a_reason() {
    let mut found = Vec::new();
    for file in files("src") {
        if words(&file.code).any(|word| word == "unsafe")
            && !UNSAFE.iter().any(|(place, _)| file.path.starts_with(place))
        {
            found.push(format!("{}: unsafe", file.path));
        }
        // `text` and `code` have the same lines.
        let text: Vec<&str> = file.text.lines().collect();
        for (number, line) in file.code.lines().enumerate() {
            let block = line.contains("unsafe {") || line.contains("unsafe impl") || line.contains("unsafe extern \"");
            let above = text[..number].iter().rev().take_while(|line| {
                let line = line.trim_start();
                // Comments and attributes, the head of the statement that it is in, and other blocks of the same group.
                line.starts_with("//")
                    || line.starts_with("#[")
                    || !line.ends_with([';', '}'])
                    || line.contains("unsafe")
            });
            let told = text[number].contains("SAFETY:") || above.take(12).any(|line| line.contains("SAFETY:"));
            if block && !told && !line.contains("unsafe extern") {
                found.push(format!("{}:{}: unsafe without SAFETY", file.path, number + 1));
            }
        }
    }
    none(found);
    for (place, _) in UNSAFE {
        let used = files("src").iter().any(|file| file.path.starts_with(place) && file.code.contains("unsafe"));
        assert!(used, "{place} needs no unsafe any more");
    }
}

#[test]
fn a_file_is_short_and_says_what_it_is_for() {
    let mut found = Vec::new();
    for file in files("src").into_iter().chain(files("tests")) {
        let lines = file.text.lines().count();
        if lines > LONGEST {
            found.push(format!("{}: {lines} lines", file.path));
        }
        if !file.text.starts_with("//! ") {
            found.push(format!("{}: the first line does not say what it is for", file.path));
        }
        // Unit tests are at most a third of a file (house.md §3.6).
        let product = file.product().lines().count();
        if !file.is_test() && lines > 60 && lines - product > lines / 2 {
            found.push(format!("{}: {} of {lines} lines are tests", file.path, lines - product));
        }
    }
    none(found);
}

#[test]
fn nothing_is_unfinished_or_printed() {
    let mut found = Vec::new();
    for file in files("src") {
        let product = file.product();
        let banned = ["todo!", "unimplemented!", "dbg!"].into_iter();
        let printed = ["println!", "print!", "eprintln!", "eprint!"].into_iter();
        // A build script speaks to cargo so.
        let printed = printed.filter(|_| !file.path.ends_with("/build.rs"));
        for word in banned.chain(printed) {
            found.extend(product.contains(word).then(|| format!("{}: {word}", file.path)));
        }
        if !file.is_test() && !PANICS.iter().any(|(place, _)| file.path == *place) {
            let aborts = ["panic!(", ".unwrap()", ".expect(", "process::exit", "process::abort"];
            let here = product.lines().enumerate().filter(|(_, line)| aborts.iter().any(|word| line.contains(word)));
            found.extend(here.map(|(number, line)| format!("{}:{}: {}", file.path, number + 1, line.trim())));
        }
        for (number, line) in file.text.lines().enumerate() {
            if ["TODO", "FIXME", "XXX"].iter().any(|word| words(line).any(|said| said == *word)) {
                found.push(format!("{}:{}: {}", file.path, number + 1, line.trim()));
            }
        }
    }
    none(found);
}

#[test]
fn each_tongue_stays_in_its_room() {
    let mut found = Vec::new();
    for file in files("src") {
        let speaks = |rooms: &[&str]| rooms.iter().any(|room| file.path.starts_with(room));
        if !speaks(CRYPTOKI) && file.path != "src/lib.rs" {
            let is_number = |word: &&str| {
                let prefixes = ["CK_", "CKA_", "CKC_", "CKF_", "CKG_", "CKK_", "CKM_", "CKO_", "CKR_", "CKU_", "CKZ_"];
                prefixes.iter().any(|prefix| word.starts_with(prefix)) || *word == "cryptoki_sys"
            };
            found.extend(words(&file.code).find(is_number).map(|word| format!("{}: {word}", file.path)));
        }
        if !speaks(&["src/store/"]) {
            let sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "PRAGMA ", "CREATE TABLE", "BEGIN IMMEDIATE"];
            let spoken = sql.iter().any(|word| file.text.contains(word)) || file.code.contains("rusqlite");
            found.extend(spoken.then(|| format!("{}: SQL", file.path)));
        }
        if !JSON.iter().any(|(place, _)| file.path.starts_with(place)) {
            found.extend(file.product().contains("serde_json").then(|| format!("{}: JSON", file.path)));
        }
        if !speaks(&["src/abi/", "src/protection/hsm/", "src/crypto/", "src/store/", "src/fork.rs"]) {
            let pointer = file.product().contains("*mut ") || file.product().contains("*const ");
            let ours = file.path == "src/token/vendor.rs";
            found.extend((pointer && !ours).then(|| format!("{}: a pointer", file.path)));
        }
    }
    none(found);
}

/// DESIGN §7: what a library in other people's processes does not do.
#[test]
fn the_library_leaves_its_host_alone() {
    let mut found = Vec::new();
    for file in files("src").iter().filter(|file| !file.path.starts_with("src/bin/")) {
        let product = file.product();
        if file.is_test() {
            continue;
        }
        let local = product.matches("thread_local!").count();
        let allowed = THREAD_LOCALS.iter().any(|(place, _)| file.path == *place)
            && product.matches("= const { Cell::new(").count() >= local;
        found.extend((local > 0 && !allowed).then(|| format!("{}: thread_local!", file.path)));
        for word in ["thread::spawn", "atexit", "sigaction", "signal(", "parking_lot", "once_cell"] {
            let allowed = word == "atexit" && AT_EXIT.iter().any(|(place, _)| file.path == *place);
            found.extend((product.contains(word) && !allowed).then(|| format!("{}: {word}", file.path)));
        }
    }
    none(found);
}

/// Names that a trait of another crate gives.
const FOREIGN_NAMES: &[(&str, &str)] = &[("src/kms/issue.rs", "issuer"), ("src/kms/issue.rs", "subject")];

#[test]
fn a_function_is_not_called_get() {
    let mut found = Vec::new();
    for file in files("src") {
        let names = file.code.split("fn get_").skip(1).filter_map(|rest| words(rest).next());
        let own = names.filter(|name| !FOREIGN_NAMES.contains(&(file.path.as_str(), *name)));
        found.extend(own.map(|name| format!("{}: get_{name}", file.path)));
    }
    none(found);
}

/// A spec that nothing can use, or an algorithm that no key has, is a row too many.
#[test]
fn every_spec_and_algorithm_is_reachable() {
    for spec in SPECS {
        let keys = match spec.family {
            Family::Aes => Keys::Aes,
            Family::Ec(Curve::Ed25519) => Keys::Edwards,
            Family::Ec(Curve::Sm2) => Keys::Sm2,
            Family::Ec(_) => Keys::Ec,
            Family::Generic => Keys::Generic,
            Family::Rsa => Keys::Rsa,
            Family::Sm4 => Keys::Sm4,
        };
        let made = MECHANISMS.iter().any(|row| row.does == Does::Generate(keys));
        let used = MECHANISMS.iter().any(|row| row.keys == keys && row.does != Does::Generate(keys));
        assert!(made && used, "{}", spec.name);
        // The API signs digests, which Ed25519 does not take.
        let has_algorithms = spec.family.is_asymmetric() && spec.name != "EC_ED25519";
        assert_eq!(has_algorithms, !spec.algorithms.is_empty(), "{}", spec.name);
        assert!(spec.usages.contains(&spec.default_usage), "{}", spec.name);
    }
    for algorithm in Algorithm::ALL {
        assert!(SPECS.iter().any(|spec| spec.algorithms.contains(algorithm)), "{}", algorithm.name());
        assert_eq!(algorithm.signing().is_some(), algorithm.sealing().is_none(), "{}", algorithm.name());
    }
}

/// The tables as they are: a change of one is a change here, on purpose.
#[test]
fn tables_are_exact() {
    let specs: Vec<_> = SPECS.iter().map(|spec| spec.name).collect();
    let expected = "Aliyun_AES_256 RSA_2048 RSA_3072 RSA_4096 EC_P256 EC_P256K EC_SM2 Aliyun_SM4 EC_P384 EC_P521 EC_ED25519 \
                    Aliyun_AES_192 Aliyun_AES_128 HMAC_SHA_256 HMAC_SHA_384 HMAC_SHA_512";
    assert_eq!(specs.join(" "), expected);
    let api: Vec<_> = SPECS.iter().filter(|spec| !spec.extension).map(|spec| spec.name).collect();
    assert_eq!(api.join(" "), "Aliyun_AES_256 RSA_2048 RSA_3072 RSA_4096 EC_P256 EC_P256K EC_SM2 Aliyun_SM4");
    let certificate: Vec<_> = SPECS.iter().filter(|spec| spec.certificate).map(|spec| spec.name).collect();
    assert_eq!(certificate, ["RSA_2048", "EC_P256", "EC_SM2"]); // S001-004
    let kinds: BTreeSet<_> = MECHANISMS.iter().map(|row| row.kind).collect();
    assert_eq!(kinds.len(), MECHANISMS.len(), "a mechanism has two rows");
}
