//! `tombolo note`: notes of one's own, without a network and without settings.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tombolo_core::limits::UPDATE_BYTES_MAX;
use tombolo_store::maintain;
use tombolo_store::worker::{ProcessWorker, Worker};

use super::counter::{Found, check_there_is_one};
use super::note_args::{List, New, Note as Command, One, Search, Tags};
use super::output::{Output, field, is_watched, plain};
use super::{merge_process, note_editor, note_files, note_sync};
use crate::config::Settings;
use crate::error::Error;
use crate::note::{Listed, Match, Note, NoteError, Notebook, Tag, load_links, search, tagged, tags, title};
use crate::replica::Replica;

/// Most characters of a title and of tags in a table.
const TITLE_SHOWN: usize = 50;
const NAME_WIDTH_MAX: usize = 40;

/// Runs one command. Blocking, on a tokio runtime.
pub(super) fn run(settings: &Settings, command: &Command) -> Result<(), Error> {
    if command.makes() {
        maintain::finish_apply(&settings.data)?;
    } else {
        check_there_is_one(settings)?;
    }
    let with = |work: &dyn Fn(&Notebook) -> Result<(), Error>| with_notes(settings, work);
    match command {
        // The editor may be open for hours, so they open the folder when they need it.
        Command::New(args) => new(settings, args),
        Command::Edit(args) => edit(settings, args),
        Command::List(args) => with(&|notes| list(notes, args)),
        Command::Show(args) => with(&|notes| show(settings, notes, args)),
        Command::Search(args) => with(&|notes| look(notes, args)),
        Command::Tag(args) => with(&|notes| tag(settings, notes, args)),
        Command::Rm(args) => with(&|notes| remove(settings, notes, args)),
        Command::Import(args) => with(&|notes| note_files::import(notes, args)),
        Command::Export(args) => with(&|notes| note_files::export(notes, args)),
        Command::Link(link) => note_sync::link(settings, link),
        Command::Sync(args) => note_sync::sync(settings, args),
        Command::Explain(args) => note_sync::explain(settings, args),
        Command::Status(args) => with(&|notes| status(settings, notes, args.at.json)),
    }
}

/// Opens the notes, or finds the server that has them open.
pub(super) fn with_notes<T>(
    settings: &Settings,
    work: impl FnOnce(&Notebook) -> Result<T, Error>,
) -> Result<T, Error> {
    let worker: Arc<dyn Worker> = ProcessWorker::start(merge_process()?)?;
    let notes = match Found::open(settings, &worker)? {
        Found::Here(store) => Notebook::Here(Replica::over(store)),
        Found::There => Notebook::There(settings.data.clone()),
    };
    let result = work(&notes);
    let closed = notes.close();
    let value = result?;
    closed?;
    Ok(value)
}

/// The note; one that was evicted is fetched.
fn existing(settings: &Settings, notes: &Notebook, name: &str) -> Result<Note, NoteError> {
    let note = notes.read_or_fetch(name, &load_links(&settings.data)?)?;
    note.ok_or_else(|| NoteError::Missing { name: name.to_owned() })
}

fn new(settings: &Settings, args: &New) -> Result<(), Error> {
    let name = &args.name;
    let check = |notes: &Notebook| match notes.read(name)? {
        Some(_) => Err(NoteError::Exists { name: name.clone() }),
        None => Ok(()),
    };
    let write = |notes: &Notebook, text: &str| {
        if text.is_empty() {
            return Err(NoteError::Empty { name: name.clone() });
        }
        check(notes)?;
        notes.write(&Note::new(name), text)
    };
    let given = match (&args.text, &args.from) {
        (Some(text), _) => Some(text.clone()),
        (None, Some(file)) => Some(read(file)?),
        (None, None) => None,
    };
    match given {
        Some(text) => with_notes(settings, |notes| Ok(write(notes, &text)?))?,
        None => {
            with_notes(settings, |notes| Ok(check(notes)?))?;
            let written = note_editor::edit("")?;
            let text = written.text.clone();
            if text.is_empty() {
                return Err(NoteError::Empty { name: name.clone() }.into());
            }
            saved(written, with_notes(settings, |notes| Ok(write(notes, &text)?)))?
        }
    };
    Output::new(args.at.json)
        .answer(&json!({ "name": name }), |answer| format!("{} is saved", field(answer, "name")))
}

fn edit(settings: &Settings, args: &One) -> Result<(), Error> {
    let note = with_notes(settings, |notes| Ok(existing(settings, notes, &args.name)?))?;
    let written = note_editor::edit(&note.text)?;
    let text = written.text.clone();
    let changed = if text == note.text {
        false
    } else {
        saved(written, with_notes(settings, |notes| Ok(notes.write(&note, &text)?)))?
    };
    Output::new(args.at.json).answer(&json!({ "name": args.name, "changed": changed }), |answer| {
        let what = if changed { "is saved" } else { "is as it was" };
        format!("{} {what}", field(answer, "name"))
    })
}

/// What was written is saved, or its file is kept.
fn saved<T>(written: note_editor::Written, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|error| {
        let source = match error {
            Error::Note(source) => source,
            other => NoteError::Folder(Box::new(other)),
        };
        NoteError::Kept { kept: written.keep(), source: Box::new(source) }.into()
    })
}

/// A file of text, or stdin.
fn read(path: &Path) -> Result<String, NoteError> {
    let most = UPDATE_BYTES_MAX as u64 + 1;
    let mut bytes = Vec::new();
    let got = if path == Path::new("-") {
        io::stdin().lock().take(most).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes))
    };
    got.map_err(|source| NoteError::File { path: path.to_owned(), source })?;
    note_files::text_of(bytes)
}

/// Calls `each` with the notes one after the other, and with why one cannot be read.
fn for_each(
    notes: &Notebook,
    mut each: impl FnMut(&Listed, Result<Note, NoteError>) -> Result<(), Error>,
) -> Result<(), Error> {
    for listed in notes.list()? {
        match notes.read(&listed.name) {
            Ok(None) => {}
            Ok(Some(note)) => each(&listed, Ok(note))?,
            Err(error) => each(&listed, Err(error))?,
        }
    }
    Ok(())
}

/// What a list says of a note.
fn row(listed: &Listed, note: Result<Note, NoteError>) -> Value {
    match note {
        Ok(note) => json!({
            "name": listed.name,
            "title": title(&note.text),
            "tags": tags(&note.text),
            "characters": note.text.chars().count(),
        }),
        Err(_) if listed.evicted.is_some() => json!({ "name": listed.name, "evicted": listed.evicted }),
        Err(error) => json!({ "name": listed.name, "error": error.to_string() }),
    }
}

fn list(notes: &Notebook, args: &List) -> Result<(), Error> {
    let wanted = args.tag.as_deref().map(str::parse::<Tag>).transpose()?;
    let mut rows = Vec::new();
    for_each(notes, |listed, note| {
        let has = |tag: &Tag| note.as_ref().is_ok_and(|note| tags(&note.text).iter().any(|has| tag.is(has)));
        if listed.name.starts_with(&args.prefix) && wanted.as_ref().is_none_or(has) {
            rows.push(row(listed, note));
        }
        Ok(())
    })?;
    let width = |text: fn(&Value) -> String, least: usize| {
        rows.iter()
            .map(|row| text(row).chars().count())
            .max()
            .unwrap_or_default()
            .clamp(least, NAME_WIDTH_MAX)
    };
    let (name, tag) = (width(|row| field(row, "name"), 4), width(tags_of, 4));
    let mut output = Output::table(args.at.json, format!("{:name$}  {:tag$}  TITLE", "NAME", "TAGS"));
    for row in &rows {
        let line = |row: &Value| {
            let title: String = field(row, "title").chars().take(TITLE_SHOWN).collect();
            let line = format!("{:name$}  {:tag$}  {title}", field(row, "name"), tags_of(row));
            match (field(row, "error"), field(row, "evicted")) {
                (error, evicted) if error.is_empty() && evicted.is_empty() => line.trim_end().to_owned(),
                (error, evicted) if error.is_empty() => format!("{line}(evicted; {evicted} has it)"),
                (error, _) => format!("{line}({error})"),
            }
        };
        output.row("notes", row, line).map_err(Error::Output)?;
    }
    output.end_of_rows("notes", &json!({})).map_err(Error::Output)
}

fn tags_of(row: &Value) -> String {
    let tags = row.get("tags").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    plain(&tags.collect::<Vec<_>>().join(", "))
}

fn show(settings: &Settings, notes: &Notebook, args: &One) -> Result<(), Error> {
    let note = existing(settings, notes, &args.name)?;
    if args.at.json {
        let (title, tags) = (title(&note.text), tags(&note.text));
        let answer = json!({ "name": note.name, "title": title, "tags": tags, "text": note.text });
        return Output::new(true).answer(&answer, |_| String::new());
    }
    let mut stdout = io::stdout().lock();
    let shown = if is_watched() {
        let lines = note.text.lines().map(|line| format!("{}\n", plain(line)));
        lines.collect()
    } else {
        // For files and programs byte for byte.
        note.text
    };
    stdout.write_all(shown.as_bytes()).and_then(|()| stdout.flush()).map_err(Error::Output)
}

fn look(notes: &Notebook, args: &Search) -> Result<(), Error> {
    let mut output = Output::new(args.at.json);
    for_each(notes, |listed, note| {
        let name = &listed.name;
        let found = note.map(|note| search(&note.text, &args.wanted));
        let rows: Vec<Value> = match found {
            Err(error) => vec![json!({ "name": name, "error": error.to_string() })],
            // A name is a find of its own only if the text has none.
            Ok(found) if found.is_empty() && search(name, &args.wanted).is_empty() => Vec::new(),
            Ok(found) if found.is_empty() => vec![json!({ "name": name })],
            Ok(found) => {
                let row = |Match { line, snippet }| json!({ "name": name, "line": line, "snippet": snippet });
                found.into_iter().map(row).collect()
            }
        };
        let line = |row: &Value| match (field(row, "error"), field(row, "line")) {
            (error, _) if !error.is_empty() => format!("{}  ({error})", field(row, "name")),
            (_, line) if line.is_empty() => field(row, "name"),
            (_, line) => format!("{}:{line}: {}", field(row, "name"), field(row, "snippet")),
        };
        rows.iter().try_for_each(|row| output.row("matches", row, line)).map_err(Error::Output)
    })?;
    output.end_of_rows("matches", &json!({})).map_err(Error::Output)
}

fn tag(settings: &Settings, notes: &Notebook, args: &Tags) -> Result<(), Error> {
    let parse = |tags: &[String]| tags.iter().map(|tag| tag.parse()).collect::<Result<Vec<Tag>, _>>();
    let (add, remove) = (parse(&args.add)?, parse(&args.remove)?);
    let note = existing(settings, notes, &args.name)?;
    let text = tagged(&note.text, &add, &remove)
        .map_err(|why| NoteError::FrontMatter { name: note.name.clone(), why })?;
    let changed = notes.write(&note, &text)?;
    let answer = json!({ "name": note.name, "tags": tags(&text), "changed": changed });
    Output::new(args.at.json).answer(&answer, |answer| match tags_of(answer) {
        tags if tags.is_empty() => format!("{} has no tags", field(answer, "name")),
        tags => format!("{}: {tags}", field(answer, "name")),
    })
}

fn remove(settings: &Settings, notes: &Notebook, args: &One) -> Result<(), Error> {
    if !notes.remove(&args.name)? {
        return Err(NoteError::Missing { name: args.name.clone() }.into());
    }
    let links: Vec<_> = load_links(&settings.data)?.into_iter().map(|link| link.url).collect();
    Output::new(args.at.json).answer(&json!({ "name": args.name, "stays_at": links }), |answer| {
        let name = field(answer, "name");
        let deleted = format!("{name} is deleted; its name stays refused until `tombolo doc purge`");
        if links.is_empty() {
            return deleted;
        }
        // A deletion is of one store and does not travel.
        format!("{deleted}\nwhere it was synced it stays, until it is deleted there: {}", links.join(", "))
    })
}

fn status(settings: &Settings, notes: &Notebook, json: bool) -> Result<(), Error> {
    let listed = notes.list()?;
    let mut count = 0_usize;
    let mut damaged = 0_usize;
    let evicted = listed.iter().filter(|listed| listed.evicted.is_some()).count();
    for listed in &listed {
        match notes.read(&listed.name) {
            Ok(note) => count += usize::from(note.is_some()),
            Err(_) => damaged += usize::from(listed.evicted.is_none()),
        }
    }
    let sum = |of: fn(&Listed) -> u64| listed.iter().map(of).fold(0_u64, u64::saturating_add);
    let folder = std::fs::canonicalize(&settings.data).unwrap_or_else(|_| settings.data.clone());
    let answer = json!({
        "folder": folder.to_string_lossy(),
        "server": notes.is_there(),
        "notes": count,
        "unreadable": damaged,
        "evicted": evicted,
        "deleted": notes.deleted()?,
        "operations": sum(|listed| listed.operations),
        "bytes": sum(|listed| listed.bytes),
        "links": note_sync::linked(settings, notes)?,
    });
    Output::new(json).answer(&answer, |answer| {
        let by = if notes.is_there() { "a running server" } else { "nobody else" };
        let mut lines =
            vec![format!("{:12} {}", "folder:", field(answer, "folder")), format!("{:12} {by}", "open by:")];
        for key in ["notes", "evicted", "unreadable", "deleted", "operations", "bytes"] {
            lines.push(format!("{:12} {}", format!("{key}:"), field(answer, key)));
        }
        for link in answer.get("links").and_then(Value::as_array).into_iter().flatten() {
            let unsynced = note_sync::unsynced(link);
            lines.push(format!("{:12} {unsynced} with {}", "not synced:", field(link, "url")));
        }
        lines.join("\n")
    })
}
