//! `alikms features`: what this version can do and what it cannot, made from the tables that do it.

use std::process::ExitCode;

use alikms_pkcs11::abi::{self, FUNCTIONS};
use alikms_pkcs11::api::{self, published};
use alikms_pkcs11::token::attribute::{ATTRIBUTES, AttributeRow};
use alikms_pkcs11::token::mechanism::MECHANISMS;

use crate::args::Line;
use crate::output::{self, Stop};

/// A table of the page.
struct Table {
    title: &'static str,
    /// What stands above the columns.
    columns: &'static [&'static str],
    rows: Vec<Vec<String>>,
    /// How many rows work.
    working: usize,
}

pub fn run(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let print = if line.option("markdown").is_some() { markdown } else { plain };
    let text: Vec<_> = [actions(), functions(), mechanisms(), attributes()].iter().map(print).collect();
    output::print(&text.join("\n")).map(|()| ExitCode::SUCCESS)
}

/// Folded away until somebody opens it: the tables are long.
fn markdown(table: &Table) -> String {
    let mut out = format!(
        "<details><summary>{}: {} of {}</summary>\n\n| {} |\n{}|\n",
        table.title,
        table.working,
        table.rows.len(),
        table.columns.join(" | "),
        "|---".repeat(table.columns.len())
    );
    for cells in &table.rows {
        let (name, rest) = cells.split_first().map_or(("", [].as_slice()), |(name, rest)| (name.as_str(), rest));
        out += &format!("| `{name}` | {} |\n", rest.join(" | "));
    }
    out + "\n</details>\n"
}

fn plain(table: &Table) -> String {
    let mut out = format!("{}: {} of {}\n", table.title, table.working, table.rows.len());
    for cells in &table.rows {
        let line: String =
            cells.iter().zip([32, 18, 18, 8, 8, 0]).map(|(cell, width)| format!("{cell:width$} ")).collect();
        out += &format!("  {}\n", line.trim_end());
    }
    out
}

fn actions() -> Table {
    let state = |chapter: &str, name: &str| match api::find(name) {
        Ok(_) => "yes",
        Err(_) if published::FOREIGN.contains(&chapter) => "not planned",
        Err(_) => "not yet",
    };
    let names =
        published::PUBLISHED.iter().flat_map(|(chapter, names)| names.iter().map(move |name| (*chapter, *name)));
    Table {
        title: "KMS actions",
        columns: &["action", "state"],
        rows: names.map(|(chapter, name)| vec![name.to_owned(), state(chapter, name).to_owned()]).collect(),
        working: api::ACTIONS.len(),
    }
}

/// One row for each `C_` function, from the list of `abi`.
fn functions() -> Table {
    let state = |state: &abi::State| match state {
        abi::State::Works => "yes".to_owned(),
        abi::State::NotSupported(reason) => format!("no: {reason}"),
    };
    Table {
        title: "PKCS#11 functions",
        columns: &["function", "state"],
        rows: FUNCTIONS.iter().map(|(name, works)| vec![(*name).to_owned(), state(works)]).collect(),
        working: FUNCTIONS.iter().filter(|(_, state)| *state == abi::State::Works).count(),
    }
}

/// One row for each mechanism, from the table of `token`.
fn mechanisms() -> Table {
    let row = |row: &alikms_pkcs11::token::mechanism::MechanismRow| {
        vec![row.name.to_owned(), row.key_sizes(), row.flags_in_words().join(", ")]
    };
    Table {
        title: "PKCS#11 mechanisms",
        columns: &["mechanism", "keys", "does"],
        rows: MECHANISMS.iter().map(row).collect(),
        working: MECHANISMS.len(),
    }
}

/// One row for each attribute that a caller may name, from the table of `token`.
fn attributes() -> Table {
    let row = |row: &AttributeRow| {
        let words = [row.create_in_words(), row.unnamed_in_words(), row.change_in_words(), row.read_in_words()];
        let cells = [row.name.to_owned(), row.on_in_words()].into_iter();
        cells.chain(words.into_iter().map(str::to_owned)).collect()
    };
    Table {
        title: "PKCS#11 attributes",
        columns: &["attribute", "objects", "first said by", "else", "changed", "read by"],
        rows: ATTRIBUTES.iter().map(row).collect(),
        working: ATTRIBUTES.len(),
    }
}
