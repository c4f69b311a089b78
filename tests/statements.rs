//! docs/statements.md: which test proves which statement of the documents, read off the tests' names.
//!
//! `s003_001_013_to_019_…` proves S003-001 and S003-013 to S003-019. `ALIKMS_BLESS=1 cargo test --test statements` writes it.
//! A statement without a test needs a reason here.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Each document whose statements must all be proven: its number, how many statements it has, and which of them describe the
/// console or the background.
const DOCUMENTS: &[(u32, u32, &[u32])] =
    &[(0, 34, &[]), (1, 22, &[]), (2, 64, &[49]), (3, 27, &[]), (4, 177, &[1, 2, 88, 150, 176, 177])];

/// Statements that have no test yet, and why. Whoever adds one here has looked for a way to test it.
const OPEN: &[((u32, u32), &str)] = &[
    (
        (0, 29),
        "the Java sample is a client of the API over HTTP, which is to come; what it asks for (sign and verify with a \
         certificate, MessageType left out) is proven for `alikms` by S000-025, S000-027 and S000-030 to S000-032",
    ),
    (
        (1, 22),
        "the common parameters of a request (Format, Version, Signature …) belong to the API over HTTP, which is to come; \
         AccessKeyId is proven for `alikms` by S001-021",
    ),
    (
        (4, 51),
        "the root of trust of level SOFTWARE is the unlock key, from a file, a PIN or a systemd credential; a slot that a TPM \
         opens is to come",
    ),
    (
        (4, 105),
        "the Java sample is a client of the API over HTTP, which is to come; what it does to the material (OAEP with SHA-256 \
         and MGF1-SHA-256, expiry in seconds, 0 for never) is proven for `alikms` by S004-089, S004-096 and S004-100",
    ),
    (
        (4, 106),
        "the Go sample is a client of the API over HTTP, which is to come; what it does to the material is proven for `alikms` \
         by S004-089, S004-090 and S004-096",
    ),
];

/// The statements in a test's name.
fn statements(name: &str) -> Vec<(u32, u32)> {
    let (mut document, mut found, mut range) = (None, Vec::new(), false);
    for word in name.split('_') {
        let number = |word: &str| (word.len() == 3).then(|| word.parse::<u32>().ok()).flatten();
        match (word.strip_prefix('s').and_then(number), number(word), document) {
            (Some(new), _, _) => document = Some(new),
            (_, Some(number), Some(document)) => {
                let from = found.last().map_or(number, |(_, last)| last + 1);
                found.extend((if range { from } else { number }..=number).map(|number| (document, number)));
                range = false;
            }
            (_, _, Some(_)) if word == "to" => range = true,
            (_, _, Some(_)) if word == "and" => {}
            _ => break,
        }
    }
    found
}

/// The statements that a comment of a transcript names: `S003-001`, `S003-003 to S003-027`.
fn named(comment: &str) -> Vec<(u32, u32)> {
    let mut found: Vec<(u32, u32)> = Vec::new();
    let mut range = false;
    for word in comment.split(|c: char| !c.is_ascii_alphanumeric() && c != '-') {
        let parts = word.strip_prefix('S').and_then(|word| word.split_once('-'));
        match parts.and_then(|(document, number)| Some((document.parse().ok()?, number.parse().ok()?))) {
            Some((document, number)) => {
                let from = found.last().filter(|_| range).map_or(number, |(_, last)| last + 1);
                found.extend((from..=number).map(|number| (document, number)));
                range = false;
            }
            None => range = word == "to",
        }
    }
    found
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") {
            found.push(path);
        }
    }
}

#[test]
fn the_page_is_what_the_tests_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    for folder in ["src", "tests"] {
        sources(&root.join(folder), &mut paths);
    }
    paths.sort();
    let mut table: BTreeMap<(u32, u32), Vec<String>> = BTreeMap::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let place = path.strip_prefix(root).unwrap().display().to_string();
        if place.ends_with(".txt") {
            for statement in text.lines().filter(|line| line.starts_with('#')).flat_map(named) {
                table.entry(statement).or_default().push(format!("`{place}`"));
            }
            continue;
        }
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.split('(').next());
        for name in names {
            for statement in statements(name) {
                table.entry(statement).or_default().push(format!("`{place}` {name}"));
            }
        }
    }
    let mut page = String::from(
        "# Statements and their tests\n\nWhich test proves which numbered statement of the documents; written by \
         `ALIKMS_BLESS=1 cargo test --test statements`\nfrom the tests' names and the transcripts' comments.\n\n| statement | tests |\n|---|---|\n",
    );
    for ((document, number), tests) in &table {
        page += &format!("| S{document:03}-{number:03} | {} |\n", tests.join("<br>"));
    }
    page += "\n## Open\n\nWithout a test, and why; kept in `tests/statements.rs`, whose test fails if another one is missing. \
             Statements about the web\nconsole and about the background are left out.\n\n| statement | reason |\n|---|---|\n";
    for ((document, number), reason) in OPEN {
        page += &format!("| S{document:03}-{number:03} | {reason} |\n");
    }
    let path = root.join("docs/statements.md");
    if std::env::var_os("ALIKMS_BLESS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap_or_default() == page,
        "docs/statements.md is old: run with ALIKMS_BLESS=1"
    );
    let missing: Vec<String> = DOCUMENTS
        .iter()
        .flat_map(|(document, last, told)| {
            (1..=*last).filter(|number| !told.contains(number)).map(|number| (*document, number))
        })
        .filter(|id| !table.contains_key(id) && !OPEN.iter().any(|(open, _)| open == id))
        .map(|(document, number)| format!("S{document:03}-{number:03}"))
        .collect();
    assert!(missing.is_empty(), "neither a test nor a reason: {}", missing.join(" "));
    for (id, _) in OPEN {
        assert!(!table.contains_key(id), "{id:?} has a test: take it out of OPEN");
    }
    for (document, number) in table.keys() {
        let known = DOCUMENTS.iter().find(|(known, ..)| known == document);
        assert!(known.is_none_or(|(_, last, _)| number <= last), "there is no statement S{document:03}-{number:03}");
    }
}

#[test]
fn names_are_read() {
    assert_eq!(statements("s003_001_013_to_015_x_020"), [(3, 1), (3, 13), (3, 14), (3, 15)]);
    assert_eq!(statements("s000_014_s001_012_names"), [(0, 14), (1, 12)]);
    assert_eq!(statements("something_else"), []);
    assert_eq!(named("# a (S003-003 to S003-005, S004-132)"), [(3, 3), (3, 4), (3, 5), (4, 132)]);
}
