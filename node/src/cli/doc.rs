//! `tombolo doc`: which documents there are, what is in them, out as files and in again.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;
use serde_json::Value;
use tombolo_core::limits::UPDATE_BYTES_MAX;

use super::counter::Counter;
use super::output::{Output, date, field, is_watched, number, plain, says};
use super::store_args::{Doc, Document, Export, Import, List, Show, Where, as_given};
use crate::admin::{Event, FormatName, Named, Request};
use crate::error::Error;

/// Content that a person is shown, in bytes; the rest is for an export.
const CONTENT_SHOWN: usize = 4096;

impl Doc {
    pub(super) fn at(&self) -> &Where {
        match self {
            Self::List(args) => &args.at,
            Self::Show(args) => &args.at,
            Self::Export(args) => &args.at,
            Self::Import(args) => &args.at,
            Self::Rm(args) | Self::Purge(args) => &args.at,
        }
    }

    pub(super) fn run(&self, counter: &Counter) -> Result<(), Error> {
        match self {
            Self::List(args) if args.deleted => deleted(counter, args),
            Self::List(args) => list(counter, args),
            Self::Show(args) => show(counter, args),
            Self::Export(args) => export(counter, args),
            Self::Import(args) => import(counter, args),
            Self::Rm(args) => {
                let request = Request::Remove { document: args.name.named()? };
                simple(counter, args, &request, "deleted; its name stays refused until `tombolo doc purge`")
            }
            Self::Purge(args) => {
                let request = Request::Purge { document: args.name.named()? };
                simple(counter, args, &request, "may be used again")
            }
        }
    }
}

/// Nothing comes on the way to these answers but progress.
pub(super) fn nothing(_: Event<'_>) -> io::Result<()> {
    Ok(())
}

/// The name of a row as one can give it to a command again.
pub(super) fn name_of(row: &Value) -> String {
    let is_automerge = field(row, "format") == FormatName::Automerge.as_str();
    as_given(if is_automerge { FormatName::Automerge } else { FormatName::Yjs }, &field(row, "name"))
}

fn list(counter: &Counter, args: &List) -> Result<(), Error> {
    let mut output =
        Output::table(args.at.json, format!("{:9} {:>10} {:>12}  NAME", "FORMAT", "OPERATIONS", "BYTES"));
    let request = Request::List { prefix: args.prefix.clone(), limit: args.limit.unwrap_or(u64::MAX) };
    let done = counter.ask(&request, &Bytes::new(), &mut |event| match event {
        Event::Row(row) => output.row("documents", &row, |row| {
            let line = format!(
                "{:9} {:>10} {:>12}  {}",
                field(row, "format"),
                field(row, "operations"),
                field(row, "bytes"),
                name_of(row)
            );
            match (field(row, "error"), field(row, "evicted")) {
                (error, evicted) if error.is_empty() && evicted.is_empty() => line,
                (error, evicted) if error.is_empty() => format!("{line}  (evicted; {evicted} has it)"),
                (error, _) => format!("{line}  ({error})"),
            }
        }),
        _ => Ok(()),
    })?;
    output.end_of_rows("documents", &done).map_err(Error::Output)?;
    if says(&done, "more") {
        output.line("… and more; raise --limit to see them").map_err(Error::Output)?;
    }
    Ok(())
}

fn deleted(counter: &Counter, args: &List) -> Result<(), Error> {
    let mut output = Output::table(args.at.json, format!("{:9} {:20}  NAME", "FORMAT", "DELETED"));
    let done = counter.ask(&Request::Tombstones, &Bytes::new(), &mut |event| match event {
        Event::Row(row) => output.row("deleted", &row, |row| {
            let at = date(number(row, "deleted_ms"));
            format!("{:9} {at}  {}", field(row, "format"), name_of(row))
        }),
        _ => Ok(()),
    })?;
    output.end_of_rows("deleted", &done).map_err(Error::Output)
}

fn show(counter: &Counter, args: &Show) -> Result<(), Error> {
    let output = Output::new(args.at.json);
    let request = Request::Show { document: args.name.named()?, content: !args.no_content };
    let mut content = Vec::new();
    let shown = counter.ask(&request, &Bytes::new(), &mut |event| {
        if let Event::Bytes(bytes) = event {
            content.extend_from_slice(bytes);
        }
        Ok(())
    })?;
    if output.json {
        return whole(&shown, &content).map_err(Error::Output);
    }
    output.answer(&shown, described)?;
    if !content.is_empty() {
        output.line(format!("content:\n{}", shortened(&content))).map_err(Error::Output)?;
    }
    Ok(())
}

/// The description with the content in it, which is JSON already and may be large.
fn whole(shown: &Value, content: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let shown = shown.to_string();
    match shown.strip_suffix('}') {
        Some(open) if !content.is_empty() => {
            write!(stdout, "{open},\"content\":")?;
            stdout.write_all(content)?;
            writeln!(stdout, "}}")
        }
        _ => writeln!(stdout, "{shown}"),
    }
}

fn described(shown: &Value) -> String {
    let mut lines = vec![format!("name:       {}", name_of(shown))];
    for (label, key) in [("operations:", "operations"), ("bytes:", "bytes"), ("quarantine:", "quarantined")] {
        lines.push(format!("{label:11} {}", field(shown, key)));
    }
    lines.push(format!(
        "folded:     {} bytes; behind them {} operations with {} bytes",
        field(shown, "snapshot_bytes"),
        field(shown, "tail_operations"),
        field(shown, "tail_bytes")
    ));
    for (label, key) in [
        ("version:", "version"),
        ("clients:", "state_vector"),
        ("heads:", "heads"),
        ("heads:", "heads_error"),
        ("content:", "content_error"),
        ("evicted to:", "evicted"),
    ] {
        if shown.get(key).is_some() {
            lines.push(format!("{label:11} {}", shortened(field(shown, key).as_bytes())));
        }
    }
    lines.join("\n")
}

/// What a person reads of something long.
fn shortened(text: &[u8]) -> String {
    match text.get(..CONTENT_SHOWN) {
        Some(start) if text.len() > CONTENT_SHOWN => {
            let more = text.len() - CONTENT_SHOWN;
            format!(
                "{}… ({more} bytes more; --json or `tombolo doc export` has them)",
                plain(&String::from_utf8_lossy(start))
            )
        }
        _ => plain(&String::from_utf8_lossy(text)),
    }
}

fn export(counter: &Counter, args: &Export) -> Result<(), Error> {
    let output = Output::new(args.at.json);
    let document = args.name.named()?;
    let form = args.form.of(&args.to, document.format);
    let request = Request::Export { document, form, root: args.form.root.clone() };
    if args.to != Path::new("-") {
        let mut file = Vec::new();
        let done = counter.ask(&request, &Bytes::new(), &mut |event| {
            if let Event::Bytes(bytes) = event {
                file.extend_from_slice(bytes);
            }
            Ok(())
        })?;
        replace(&args.to, &file).map_err(|source| Error::File { path: args.to.clone(), source })?;
        return output.answer(&done, |done| {
            format!("{} bytes of {} written to {}", field(done, "bytes"), name_of(done), args.to.display())
        });
    }
    let refused = |name, expected| Err(Error::Setting { name, value: "-".to_owned(), expected });
    if output.json {
        return refused("to", "stdout cannot hold the file and the answer; give a file");
    }
    if is_watched() && !form.is_text() {
        return refused("to", "the file is not for a terminal; give a file, or --as json");
    }
    counter.ask(&request, &Bytes::new(), &mut |event| match event {
        Event::Bytes(bytes) => io::stdout().write_all(bytes),
        _ => Ok(()),
    })?;
    if is_watched() {
        output.line("").map_err(Error::Output)?;
    }
    io::stdout().flush().map_err(Error::Output)
}

/// Puts the whole file there or leaves what is there as it is.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".partial");
    let mut file = File::create(&draft)?;
    file.write_all(bytes).and_then(|()| file.sync_all())?;
    std::fs::rename(&draft, path)
}

fn import(counter: &Counter, args: &Import) -> Result<(), Error> {
    let output = Output::new(args.at.json);
    let document: Named = args.name.named()?;
    let file = read(&args.file).map_err(|source| Error::File { path: args.file.clone(), source })?;
    let form = args.form.of(&args.file, document.format);
    let request = Request::Import { document, form, root: args.form.root.clone(), bytes: file.len() as u64 };
    let done = counter.ask(&request, &file, &mut nothing)?;
    output.answer(&done, |done| {
        format!(
            "{} bytes are stored in {} as {} new operations; it has {} now",
            field(done, "bytes"),
            name_of(done),
            field(done, "operations"),
            field(done, "total_operations")
        )
    })
}

/// A file, or as much of it as shows that it is too large.
fn read(path: &Path) -> io::Result<Bytes> {
    let most = UPDATE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(most).read_to_end(&mut bytes)?;
    }
    Ok(bytes.into())
}

fn simple(counter: &Counter, args: &Document, request: &Request, what: &str) -> Result<(), Error> {
    let done = counter.ask(request, &Bytes::new(), &mut nothing)?;
    Output::new(args.at.json).answer(&done, |done| format!("{} {what}", name_of(done)))
}
