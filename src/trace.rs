//! Where trace events go: nowhere, or as lines to the end of the file that `ALIKMS_TRACE` names.

use std::fmt::{self, Debug, Write as _};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber, dispatcher};

use crate::fork;

static STARTED: AtomicBool = AtomicBool::new(false);

/// Begins to write events if `ALIKMS_TRACE` names a file and nobody in this process took the events before; the level
/// is `ALIKMS_TRACE_LEVEL` (`error`, `warn`, `info`, `debug`, `trace`; `info` if not given). Only the first call does
/// anything; a set-user-ID program writes nowhere. Never fails: without a file there is no trace.
pub fn start() {
    if STARTED.swap(true, Ordering::AcqRel) || dispatcher::has_been_set() || fork::is_elevated() {
        return;
    }
    let Some(path) = std::env::var_os("ALIKMS_TRACE").filter(|path| !path.is_empty()) else { return };
    let level =
        std::env::var("ALIKMS_TRACE_LEVEL").ok().and_then(|text| text.parse().ok()).unwrap_or(LevelFilter::INFO);
    let Ok(file) = OpenOptions::new().append(true).create(true).mode(0o600).open(path) else { return };
    // It fails if a host was quicker: its subscriber stays.
    let _ = dispatcher::set_global_default(dispatcher::Dispatch::new(Lines { file, level, spans: AtomicU64::new(0) }));
}

/// Appends one line for each event, in one write, so that the lines of many processes do not mix.
struct Lines {
    file: File,
    level: LevelFilter,
    /// The last span number given out. Spans are not written.
    spans: AtomicU64,
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && metadata.target().starts_with("alikms")
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let metadata = event.metadata();
        let mut line = Line(format!("{now} {} {} {}", std::process::id(), metadata.level(), metadata.target()));
        event.record(&mut line);
        line.0.push('\n');
        let _ = (&self.file).write_all(line.0.as_bytes());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed).saturating_add(1))
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// One line under construction.
struct Line(String);

impl Line {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let start = self.0.len();
        let _ = match field.name() {
            "message" => write!(self.0, " {value}"),
            name => write!(self.0, " {name}={value}"),
        };
        // What a field contains cannot begin a line of its own.
        if let Some(added) = self.0.get(start..)
            && added.contains(char::is_control)
        {
            let clean = added.replace(char::is_control, "?");
            self.0.replace_range(start.., &clean);
        }
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format_args!("{value:?}"));
    }
}
