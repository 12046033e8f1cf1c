//! Folds that somebody asks for: of every document, or of one that an engine died of.

use std::sync::mpsc::sync_channel;

use tombolo_core::id::DocumentId;

use super::Compactor;
use crate::error::StoreError;
use crate::maintain::Progress;
use crate::store::Store;

/// Documents that are looked up at a time.
const PAGE: usize = 1_000;

impl Store {
    /// Folds every document that has a tail, due or not. One that cannot be folded now stays as it is, and so do
    /// operations that wait for others. Blocking, for as long as the merge worker takes for everything.
    ///
    /// # Errors
    /// [`StoreError`] if the journal or a shelf refuses.
    pub fn fold_all(&self, progress: &mut dyn FnMut(Progress)) -> Result<(), StoreError> {
        self.settle()?;
        let of = self.count_tails()?;
        let (mut done, mut after) = (0, None);
        loop {
            let page = self.inner().shelves.documents(after.as_ref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (id, _) in page.iter().filter(|(_, record)| record.tail_count > 0) {
                self.inner().compactor.fold_now(id);
                done += 1;
                // Documents come while this goes on.
                progress(Progress { done, of: of.max(done) });
            }
        }
    }

    fn count_tails(&self) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.inner().shelves.documents(after.as_ref(), PAGE)?;
            count += page.iter().filter(|(_, record)| record.tail_count > 0).count() as u64;
            match page.last() {
                Some((last, _)) => after = Some(last.clone()),
                None => return Ok(count),
            }
        }
    }

    /// An engine died of what is stored of a document: a fold looks for the operation to blame at once, whether the
    /// document is due or not, and sets it aside. Until that has ended the document [`Store::is_suspect`].
    ///
    /// Waits for nothing: what is still on its way to the shelf is looked at the next time.
    pub fn suspect(&self, id: &DocumentId) {
        self.inner().compactor.suspect(id);
    }

    /// Whether it is still being looked for what killed an engine in this document.
    #[must_use]
    pub fn is_suspect(&self, id: &DocumentId) -> bool {
        self.inner().compactor.lock().suspects.contains(id)
    }
}

impl Compactor {
    /// Looks at a document at once and waits until that is done.
    pub(super) fn fold_now(&self, id: &DocumentId) {
        let (sender, receiver) = sync_channel(0);
        let mut waiting = self.lock();
        if waiting.closing {
            return;
        }
        waiting.asked.push_back((id.clone(), Some(sender)));
        self.changed.notify_all();
        drop(waiting);
        // Nothing is ever sent: it ends when the task is dropped.
        let _ = receiver.recv();
    }

    pub(super) fn suspect(&self, id: &DocumentId) {
        let mut waiting = self.lock();
        if !waiting.closing && waiting.suspects.insert(id.clone()) {
            waiting.asked.push_back((id.clone(), None));
            self.changed.notify_all();
        }
    }
}
