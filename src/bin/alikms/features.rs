//! `alikms features`: what this version can do and what it cannot, made from the tables that do it.

use std::process::ExitCode;

use alikms_pkcs11::api::{self, published};

use crate::args::Line;
use crate::output::{self, Stop};

/// A table of the page. Only tables with rows are printed.
struct Table {
    title: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    state: State,
}

enum State {
    Later,
    Never,
    Yes,
}

impl State {
    fn text(&self) -> &'static str {
        match self {
            Self::Later => "not yet",
            Self::Never => "not planned",
            Self::Yes => "yes",
        }
    }
}

pub fn run(line: &Line, _: &[&str]) -> Result<ExitCode, Stop> {
    let tables = [
        Table { title: "KMS actions", rows: actions() },
        Table { title: "PKCS#11 functions", rows: functions() },
        Table { title: "PKCS#11 mechanisms", rows: mechanisms() },
    ];
    let markdown = line.option("markdown").is_some();
    let text: Vec<_> =
        tables.iter().filter(|table| !table.rows.is_empty()).map(|table| print(table, markdown)).collect();
    output::print(&text.join("\n")).map(|()| ExitCode::SUCCESS)
}

fn print(table: &Table, markdown: bool) -> String {
    let mut out = match markdown {
        true => format!("### {}\n\n| name | state |\n|---|---|\n", table.title),
        false => format!("{}\n", table.title),
    };
    for Row { name, state } in &table.rows {
        out += &match markdown {
            true => format!("| `{name}` | {} |\n", state.text()),
            false => format!("  {name:40} {}\n", state.text()),
        };
    }
    out
}

fn actions() -> Vec<Row> {
    let state = |chapter: &str, name: &str| match api::find(name) {
        Ok(_) => State::Yes,
        Err(_) if published::FOREIGN.contains(&chapter) => State::Never,
        Err(_) => State::Later,
    };
    let rows = published::PUBLISHED
        .iter()
        .flat_map(|(chapter, names)| names.iter().map(move |name| Row { name, state: state(chapter, name) }));
    rows.collect()
}

/// One row for each `C_` function, from the list of `abi`.
fn functions() -> Vec<Row> {
    Vec::new()
}

/// One row for each mechanism, from the table of `token`.
fn mechanisms() -> Vec<Row> {
    Vec::new()
}
