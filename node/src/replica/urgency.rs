//! How one edit is to be treated, beside what holds for its document.

use tombolo_core::schedule::Priority;

/// How an edit is made. The default is as its document has it.
///
/// ```
/// use tombolo::replica::{EditOptions, Priority, Replica};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let replica = Replica::open(folder.path())?;
/// let ward = replica.yjs("ward/3")?;
/// ward.edit_with(EditOptions::priority(Priority::Critical), |edit| {
///     edit.text("alarms").push("bed 7\n");
///     Ok(())
/// })?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EditOptions {
    /// How urgent it is on all links, if not as its document. Edits of one document stay in order: what was edited in it
    /// before and still waits goes as soon as this.
    pub priority: Option<Priority>,
}

impl EditOptions {
    /// So urgent.
    #[must_use]
    pub fn priority(priority: Priority) -> Self {
        Self { priority: Some(priority) }
    }
}
