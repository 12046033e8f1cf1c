//! A text in somebody's editor.
//!
//! Guarantee: what was written is in the note or in a file that the error names, whatever goes wrong.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{Builder, TempPath};
use tokio::signal::unix::{SignalKind, signal};

use crate::note::NoteError;

/// What somebody has written.
pub(super) struct Written {
    pub(super) text: String,
    file: TempPath,
}

impl Written {
    /// Leaves the file where it is, because what was written could not be saved.
    pub(super) fn keep(self) -> PathBuf {
        keep(self.file)
    }
}

/// Opens the text in an editor and waits for it. Blocking, on a tokio runtime.
pub(super) fn edit(text: &str) -> Result<Written, NoteError> {
    let set = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    // Editors end a file with a line end; one that was not there is taken away again.
    let is_lent = !text.is_empty() && !text.ends_with('\n');
    let file =
        written(text, is_lent).map_err(|source| NoteError::File { path: std::env::temp_dir(), source })?;
    let lent = std::fs::read(&file).ok();
    if let Err(why) = run(&editor, &file) {
        let failed = NoteError::Editor { editor, why };
        let is_untouched = lent.is_some() && std::fs::read(&file).ok() == lent;
        return Err(if is_untouched {
            failed
        } else {
            NoteError::Kept { kept: keep(file), source: Box::new(failed) }
        });
    }
    let bytes = match std::fs::read(&file) {
        Ok(bytes) => bytes,
        Err(source) => return Err(NoteError::File { path: keep(file), source }),
    };
    let Ok(mut text) = String::from_utf8(bytes) else {
        return Err(NoteError::Kept { kept: keep(file), source: Box::new(NoteError::NotText) });
    };
    if is_lent && text.ends_with('\n') {
        text.pop();
    }
    Ok(Written { text, file })
}

/// A file of its own, which nobody else may read.
fn written(text: &str, with_end: bool) -> std::io::Result<TempPath> {
    let mut file = Builder::new().prefix("note-").suffix(".md").tempfile()?;
    file.write_all(text.as_bytes())?;
    if with_end {
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(file.into_temp_path())
}

fn run(editor: &str, file: &Path) -> Result<(), String> {
    // Ctrl-C is the editor's: it must not end who waits for it.
    let _ignored = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    // Through a shell, because an editor may be given with arguments.
    let status = Command::new("sh").arg("-c").arg(format!("{editor} \"$@\"")).arg("sh").arg(file).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(status.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn keep(file: TempPath) -> PathBuf {
    file.keep().unwrap_or_else(|error| error.path.to_path_buf())
}
