//! Notes from Markdown files and to them, byte for byte.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tombolo_core::limits::UPDATE_BYTES_MAX;
use tombolo_store::maintain::Progress;

use super::doc::replace;
use super::note_args::Files;
use super::output::{Output, field, number, plain};
use crate::error::Error;
use crate::note::{Note, NoteError, Notebook, file_of, name_of};

/// What became of one of many.
#[derive(Clone, Copy)]
enum Outcome {
    New,
    Changed,
    Unchanged,
}

/// Files into notes.
pub(super) fn import(notes: &Notebook, args: &Files) -> Result<(), Error> {
    let mut files = Vec::new();
    let unreadable = |source| NoteError::File { path: args.folder.clone(), source };
    markdown(&args.folder, Path::new(""), &mut files).map_err(unreadable)?;
    files.sort();
    let mut tally = Tally::new(args, "notes");
    for (done, file) in files.iter().enumerate() {
        let name = name_of(file);
        let outcome = match &name {
            Some(name) => bring(notes, name, &args.folder.join(file), args.replace),
            None => Err(NoteError::NotText),
        };
        tally.add(name.as_deref().unwrap_or_default(), file, &outcome)?;
        tally.progress(done + 1, files.len());
    }
    tally.end("imported")
}

fn bring(notes: &Notebook, name: &str, file: &Path, replace: bool) -> Result<Outcome, NoteError> {
    let unreadable = |source| NoteError::File { path: file.to_owned(), source };
    if fs::metadata(file).map_err(unreadable)?.len() > UPDATE_BYTES_MAX as u64 {
        return Err(NoteError::TooLarge { max: UPDATE_BYTES_MAX });
    }
    let text = text_of(fs::read(file).map_err(unreadable)?)?;
    match notes.read(name)? {
        Some(note) if note.text == text => Ok(Outcome::Unchanged),
        Some(_) if !replace => Err(NoteError::Differs { name: name.to_owned() }),
        Some(note) => notes.write(&note, &text).map(|_| Outcome::Changed),
        None if text.is_empty() => Err(NoteError::Empty { name: name.to_owned() }),
        None => notes.write(&Note::new(name), &text).map(|_| Outcome::New),
    }
}

/// A text, if these bytes are one.
pub(super) fn text_of(bytes: Vec<u8>) -> Result<String, NoteError> {
    if bytes.len() > UPDATE_BYTES_MAX {
        return Err(NoteError::TooLarge { max: UPDATE_BYTES_MAX });
    }
    String::from_utf8(bytes).map_err(|_| NoteError::NotText)
}

/// The Markdown files below a folder, relative to it. Hidden ones and links are not followed: what is there is not what a
/// person sees there.
fn markdown(folder: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder.join(below))? {
        let entry = entry?;
        let (path, kind) = (below.join(entry.file_name()), entry.file_type()?);
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let ending = path.extension().map(|ending| ending.to_ascii_lowercase());
        if kind.is_dir() {
            markdown(folder, &path, found)?;
        } else if kind.is_file() && ending.is_some_and(|ending| ending == "md" || ending == "markdown") {
            found.push(path);
        }
    }
    Ok(())
}

/// Notes into files.
pub(super) fn export(notes: &Notebook, args: &Files) -> Result<(), Error> {
    let listed = notes.list()?;
    fs::create_dir_all(&args.folder)
        .map_err(|source| NoteError::File { path: args.folder.clone(), source })?;
    let (count, mut tally) = (listed.len(), Tally::new(args, "files"));
    for (done, listed) in listed.iter().enumerate() {
        let file = file_of(&listed.name);
        let outcome = match notes.read(&listed.name) {
            Ok(None) => None,
            Ok(Some(note)) => Some(put(&note, &args.folder.join(&file), args.replace)),
            Err(error) => Some(Err(error)),
        };
        if let Some(outcome) = outcome {
            tally.add(&listed.name, &file, &outcome)?;
        }
        tally.progress(done + 1, count);
    }
    tally.end("exported")
}

fn put(note: &Note, file: &Path, replaces: bool) -> Result<Outcome, NoteError> {
    let refused = |source| NoteError::File { path: file.to_owned(), source };
    let outcome = match fs::read(file) {
        Ok(bytes) if bytes == note.text.as_bytes() => return Ok(Outcome::Unchanged),
        Ok(_) if !replaces => return Err(NoteError::Differs { name: note.name.clone() }),
        Ok(_) => Outcome::Changed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::New,
        Err(error) => return Err(refused(error)),
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(refused)?;
    }
    replace(file, note.text.as_bytes()).map_err(refused)?;
    Ok(outcome)
}

/// What became of all.
struct Tally<'a> {
    output: Output,
    args: &'a Files,
    rows: &'static str,
    new: usize,
    changed: usize,
    unchanged: usize,
    refused: usize,
}

impl<'a> Tally<'a> {
    fn new(args: &'a Files, rows: &'static str) -> Self {
        let output = Output::new(args.at.json);
        Self { output, args, rows, new: 0, changed: 0, unchanged: 0, refused: 0 }
    }

    /// People see what did not go, programs all.
    fn add(&mut self, name: &str, file: &Path, outcome: &Result<Outcome, NoteError>) -> Result<(), Error> {
        let (count, word) = match outcome {
            Ok(Outcome::New) => (&mut self.new, "new"),
            Ok(Outcome::Changed) => (&mut self.changed, "changed"),
            Ok(Outcome::Unchanged) => (&mut self.unchanged, "unchanged"),
            Err(_) => (&mut self.refused, "refused"),
        };
        *count += 1;
        let file = file.to_string_lossy();
        let mut row = json!({ "name": name, "file": file, "outcome": word });
        if let (Err(error), Some(row)) = (outcome, row.as_object_mut()) {
            row.insert("reason".to_owned(), because(error).into());
        }
        if outcome.is_err() || self.args.at.json {
            let line = |row: &Value| format!("left out {}: {}", field(row, "file"), field(row, "reason"));
            self.output.row(self.rows, &row, line).map_err(Error::Output)?;
        }
        Ok(())
    }

    fn progress(&mut self, done: usize, of: usize) {
        self.output.progress(Progress { done: done as u64, of: of as u64 });
    }

    fn end(mut self, what: &str) -> Result<(), Error> {
        let counts = json!({ "new": self.new, "changed": self.changed, "unchanged": self.unchanged, "refused": self.refused });
        self.output.end_of_rows(self.rows, &counts).map_err(Error::Output)?;
        let told = ["new", "changed", "unchanged"].map(|key| format!("{} {key}", number(&counts, key)));
        self.output.line(format!("{what}: {}", told.join(", "))).map_err(Error::Output)?;
        if self.refused > 0 { Err(NoteError::LeftOut { count: self.refused }.into()) } else { Ok(()) }
    }
}

/// An error on one line, with its causes.
fn because(error: &NoteError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(why) = cause {
        text.push_str(&format!(": {why}"));
        cause = why.source();
    }
    plain(&text)
}
