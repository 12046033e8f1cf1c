//! What commands print: one JSON document, or lines for people; progress on stderr if somebody watches.
//!
//! With `--json` stdout holds one JSON document and nothing else; lists are written as their rows come. Names and
//! contents are foreign: for people control characters in them are escaped, so that they cannot play with a terminal.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use tombolo_store::maintain::Progress;

use crate::error::Error;

/// Stdout of one command.
pub(super) struct Output {
    pub(super) json: bool,
    /// What stands above the first row, until it stands there.
    header: Option<String>,
    rows: u64,
    bar: Option<ProgressBar>,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json, header: None, rows: 0, bar: None }
    }

    /// For a list, with what stands above it for people.
    pub(super) fn table(json: bool, header: String) -> Self {
        Self { json, header: Some(header), rows: 0, bar: None }
    }

    /// A line for people; nothing with `--json`.
    pub(super) fn line(&self, text: impl AsRef<str>) -> io::Result<()> {
        if self.json { Ok(()) } else { writeln!(io::stdout(), "{}", text.as_ref()) }
    }

    /// One row of the list `name`, for JSON as it is and for people as `line` has it.
    pub(super) fn row(
        &mut self,
        name: &str,
        row: &Value,
        line: impl FnOnce(&Value) -> String,
    ) -> io::Result<()> {
        if !self.json {
            self.begin()?;
            return writeln!(io::stdout(), "{}", line(row));
        }
        let before = if self.rows == 0 { format!("{{\"{name}\":[") } else { ",".to_owned() };
        self.rows += 1;
        write!(io::stdout(), "{before}\n{row}")
    }

    /// The end of the list `name`, with what else is to be said.
    pub(super) fn end_of_rows(&mut self, name: &str, rest: &Value) -> io::Result<()> {
        if !self.json {
            return self.begin();
        }
        let open = if self.rows == 0 { format!("{{\"{name}\":[") } else { String::new() };
        let mut out = format!("{open}]");
        for (key, value) in rest.as_object().into_iter().flatten().filter(|(key, _)| *key != "count") {
            // A string takes whatever is written to it.
            let _ = write!(out, ",{}:{value}", Value::from(key.as_str()));
        }
        writeln!(io::stdout(), "{out}}}")
    }

    /// Nothing is written before there is an answer.
    fn begin(&mut self) -> io::Result<()> {
        self.header.take().map_or(Ok(()), |header| writeln!(io::stdout(), "{header}"))
    }

    /// The one answer, for JSON as it is and for people as `line` has it.
    pub(super) fn answer(&self, answer: &Value, line: impl FnOnce(&Value) -> String) -> Result<(), Error> {
        let text = if self.json { answer.to_string() } else { line(answer) };
        writeln!(io::stdout(), "{text}").map_err(Error::Output)
    }

    /// How far it is; shown if stderr is a terminal.
    pub(super) fn progress(&mut self, progress: Progress) {
        let style = "{bar:40} {percent} % {eta}";
        let bar = self.bar.get_or_insert_with(|| {
            let bar = ProgressBar::new(progress.of);
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar
        });
        bar.set_length(progress.of);
        bar.set_position(progress.done);
        if progress.done >= progress.of {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Whether somebody looks at what is printed.
pub(super) fn is_watched() -> bool {
    io::stdout().is_terminal()
}

/// Foreign text on one line.
pub(super) fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, char| {
        if char.is_control() {
            out.extend(char.escape_default());
        } else {
            out.push(char);
        }
        out
    })
}

/// A field of an answer as text for people.
pub(super) fn field(answer: &Value, key: &str) -> String {
    match answer.get(key) {
        Some(Value::String(text)) => plain(text),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

/// Whether a field of an answer is true.
pub(super) fn says(answer: &Value, key: &str) -> bool {
    answer.get(key).and_then(Value::as_bool).unwrap_or_default()
}

/// A field of an answer as a number.
pub(super) fn number(answer: &Value, key: &str) -> u64 {
    answer.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// A point in time, as RFC 3339 has it, of ms since 1970.
pub(super) fn date(ms: u64) -> String {
    let (days, seconds) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days since 0000-03-01, so that the day that comes and goes is the last of its year.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (day, month, year) =
        (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 }, era * 400 + year);
    let year = if month <= 2 { year + 1 } else { year };
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_date_u() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_764_072_000_000, "2025-11-25T12:00:00Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(ms), text);
        }
    }

    #[test]
    fn foreign_text_stays_on_its_line() {
        assert_eq!(plain("a\u{1b}[2J\nß"), "a\\u{1b}[2J\\nß");
    }
}
