//! Where engines panicked on what passed validation. The worker contains that, so the fuzzer goes on; each place is
//! kept with its shortest input in the folder that `TOMBOLO_FUZZ_PANICS` names.

use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Notes panics of merge threads from now on; any other goes its way.
pub(crate) fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if std::thread::current().name().is_some_and(|name| name.starts_with("merge-")) {
                let place = panic.location().map(ToString::to_string).unwrap_or_default();
                *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
            } else {
                before(panic);
            }
        }));
    });
}

/// Keeps the input if an engine has panicked since the last call.
pub(crate) fn keep(input: &[u8]) {
    let Some(place) = LAST.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
    let Some(folder) = std::env::var_os("TOMBOLO_FUZZ_PANICS") else { return };
    let place = place.rsplit_once("/registry/src/").map_or(&*place, |(_, rest)| rest);
    let name: String = place.chars().map(|c| if c.is_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let file = PathBuf::from(folder).join(name);
    let is_shorter = std::fs::metadata(&file).map_or(true, |found| found.len() > input.len() as u64);
    if is_shorter && let Err(error) = std::fs::write(&file, input) {
        eprintln!("{}: {error}", file.display());
    }
}
