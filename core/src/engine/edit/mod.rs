//! A Yjs document that is held open and edited, for a replica: the one door to yrs for edits.
//!
//! A replica has no merge worker between itself and its documents: it edits in the process of its owner, who trusts
//! whoever writes in them, as with a merge worker on threads. Guarantees all the same: nothing reaches yrs before
//! [`crate::update`] has judged it and its ground is there (HAZARDS yrs-2, yrs-3); positions are checked, so that no
//! edit panics inside yrs; a document with subdocuments is refused instead of edited (HAZARDS yrs-10); a document in
//! which work failed or panicked is given up, never used again, and nothing of it was handed out.
//!
//! Each life of a document in memory takes a client id of its own from outside, because an id that two writers use
//! gives different texts (HAZARDS yrs-4), and an edit that was given up may have left the process.

mod array;
mod map;
mod text;

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;

use bytes::Bytes;
use yrs::block::ClientID;
use yrs::types::ToJson;
use yrs::updates::decoder::Decode;
use yrs::{
    Array as _, Doc, GetString, Map as _, OffsetKind, Options, ReadTxn, Transact, TransactionMut, WriteTxn,
};

pub use array::Array;
pub use map::Map;
pub use text::{Splice, Text};
/// A plain value in a shared map: what JSON has, bytes and whole numbers.
pub use yrs::Any;

use super::EngineError;
use crate::limits::CLIENT_ID_MAX;
use crate::update::{Admitted, Coverage, Update, admit};

/// Why an edit cannot be made. Nothing of its transaction is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EditError {
    /// A position behind the end.
    #[error(
        "the text {text:?} has {len} UTF-16 units, so there is no range from {at} to {end}; ask for its length in the \
         same transaction"
    )]
    OutOfRange {
        /// Which text.
        text: String,
        /// Where the range starts, in UTF-16 units.
        at: u32,
        /// Where it ends.
        end: u64,
        /// The length of the text.
        len: u32,
    },
    /// A position behind the end of an array.
    #[error(
        "the array {array:?} has {len} values, so there is no range from {at} to {end}; ask for its length in the same transaction"
    )]
    NoElement {
        /// Which array.
        array: String,
        /// Where the range starts.
        at: u32,
        /// Where it ends.
        end: u64,
        /// The length of the array.
        len: u32,
    },
    /// A position inside a character.
    #[error(
        "position {at} in the text {text:?} is inside a character; count in UTF-16 units and never between two that \
         are one character"
    )]
    InsideCharacter {
        /// Which text.
        text: String,
        /// Where, in UTF-16 units.
        at: u32,
    },
    /// Splices that overlap.
    #[error("the splices of the text {text:?} overlap or are not in order at {at}; give them ascending")]
    OutOfOrder {
        /// Which text.
        text: String,
        /// Where the later one starts, in UTF-16 units.
        at: u32,
    },
    /// What automerge or autosurgeon does not do.
    #[error("automerge does not make the edit: {reason}")]
    Automerge {
        /// What it said.
        reason: String,
    },
    /// Whoever edits changed their mind.
    #[error("the edit was cancelled; nothing of it was made")]
    Cancelled,
    /// The engine made something that cannot be stored.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A document in memory.
#[derive(Debug)]
pub struct Live {
    doc: Doc,
    known: Coverage,
    /// Updates whose ground is missing: stored by whoever stores, shown to nobody yet.
    waiting: Vec<Update>,
}

impl Live {
    /// Hydrates the parts, in any order and with repetitions; `client` is what edits are written under, random and
    /// never used before for this document.
    ///
    /// # Errors
    /// [`EngineError::Malformed`] if a part does not validate or yrs does not take it, [`EngineError::Unfit`] if it
    /// holds what must not be edited here.
    pub fn open(parts: &[Bytes], client: u64) -> Result<Self, EngineError> {
        let options = Options {
            offset_kind: OffsetKind::Utf16, // HAZARDS yrs-6
            cleanup_formatting: false,
            // 0 and 1 are taken by tests and by folds.
            ..Options::with_guid_and_client_id(
                "tombolo".into(),
                ClientID::new((client & CLIENT_ID_MAX).max(2)),
            )
        };
        let doc = Doc::with_options(options);
        let empty = Self { doc, known: Coverage::default(), waiting: Vec::new() };
        let parse = |part: &Bytes| Update::parse(part.clone()).map_err(EngineError::malformed);
        let updates = parts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        empty.take(updates)
    }

    /// Takes an update of somebody else in, as far as its ground is there; the rest of it waits. None if it is known.
    ///
    /// # Errors
    /// As for [`Live::open`]; the document is given up.
    pub fn apply(self, update: &Update) -> Result<(Self, bool), EngineError> {
        let waits = self.waiting.iter().any(|waiting| waiting.bytes() == update.bytes());
        if update.is_empty() || waits || self.known.covers(update) {
            return Ok((self, false));
        }
        Ok((self.take(vec![update.clone()])?, true))
    }

    /// Runs `work` in one transaction and gives back the update that it made; none if it changed nothing. With an
    /// error or a panic the document is given up, and the edit with it.
    ///
    /// # Errors
    /// Those of `work`, and [`EngineError`] if what it made does not validate.
    pub fn edit<T>(
        mut self,
        work: impl FnOnce(&mut Edit<'_, '_>) -> Result<T, EditError>,
    ) -> Result<(Self, T, Option<Update>), EditError> {
        let (made, value, waiting) = {
            // Both are leaked by a panic: their destructors would go over what it left half-done.
            let doc = ManuallyDrop::new(self.doc);
            let mut txn = ManuallyDrop::new(doc.transact_mut());
            let value = work(&mut Edit { txn: &mut txn });
            txn.commit();
            let made = Bytes::from(txn.encode_update_v1());
            drop(ManuallyDrop::into_inner(txn));
            self.doc = ManuallyDrop::into_inner(doc);
            (made, value?, self.waiting)
        };
        self.waiting = waiting;
        let update = Update::parse(made).map_err(EngineError::malformed)?;
        self.known.add(&update);
        let update = (!update.is_empty()).then_some(update);
        Ok((self, value, update))
    }

    /// Shows the document as it is now.
    pub fn read<T>(&self, work: impl FnOnce(&View<'_>) -> T) -> T {
        work(&View { txn: &self.doc.transact() })
    }

    fn take(mut self, news: Vec<Update>) -> Result<Self, EngineError> {
        if news.iter().any(Update::has_legacy_json) {
            return Err(EngineError::unfit(
                "it has legacy JSON items, which yrs 0.28.1 reads differently from Yjs",
            ));
        }
        if news.iter().any(Update::has_subdocuments) {
            return Err(EngineError::unfit("it has subdocuments, which a replica does not edit"));
        }
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(news);
        let Admitted { order, together, part } = admit(&mut self.known, &all);
        let ready = order.iter().filter_map(|index| all.get(*index)).chain(&part);
        // All decoded before the transaction opens, so that a bad part costs no leak.
        let ready = ready.map(|update| yrs::Update::decode_v1(update.bytes()));
        let ready = ready.collect::<Result<Vec<_>, _>>().map_err(EngineError::malformed)?;
        let doc = ManuallyDrop::new(self.doc);
        let mut txn = ManuallyDrop::new(doc.transact_mut());
        for update in ready {
            txn.apply_update(update).map_err(EngineError::malformed)?;
        }
        if txn.has_missing_updates() {
            // Leaked, as by a panic: what is half-done in it is for no destructor.
            return Err(EngineError::diverged("the engine waits for an edit that is there"));
        }
        txn.commit();
        drop(ManuallyDrop::into_inner(txn));
        self.doc = ManuallyDrop::into_inner(doc);
        let known = &self.known;
        let taken = |index: &usize| order.contains(index) || together.contains(index);
        if order.len() + together.len() < all.len() {
            let left =
                all.iter().enumerate().filter(|(index, update)| !taken(index) && !known.covers(update));
            self.waiting = left.map(|(_, update)| update.clone()).collect();
        }
        Ok(self)
    }
}

/// A transaction: everything in it becomes one operation, or nothing does.
pub struct Edit<'e, 'd> {
    txn: &'e mut TransactionMut<'d>,
}

impl<'d> Edit<'_, 'd> {
    /// The shared text of this name at the root; empty if nobody has written in it.
    pub fn text(&mut self, name: &str) -> Text<'_, 'd> {
        Text { name: name.to_owned(), text: self.txn.get_or_insert_text(name), txn: self.txn }
    }

    /// The shared map of this name at the root; empty if nobody has written in it.
    pub fn map(&mut self, name: &str) -> Map<'_, 'd> {
        Map { name: name.to_owned(), map: self.txn.get_or_insert_map(name), txn: self.txn }
    }

    /// The shared array of this name at the root; empty if nobody has written in it.
    pub fn array(&mut self, name: &str) -> Array<'_, 'd> {
        Array { name: name.to_owned(), array: self.txn.get_or_insert_array(name), txn: self.txn }
    }
}

/// A document at one moment.
pub struct View<'v> {
    txn: &'v yrs::Transaction<'v>,
}

impl View<'_> {
    /// The text under this name; none if nobody has ever written in it. Formatting and what is embedded are left out.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        Some(self.txn.get_text(name)?.get_string(self.txn))
    }

    /// The map under this name, shared types in it as plain values; none if nobody has ever written in it.
    #[must_use]
    pub fn map(&self, name: &str) -> Option<BTreeMap<String, Any>> {
        let map = self.txn.get_map(name)?;
        Some(map.iter(self.txn).map(|(key, value)| (key.to_owned(), value.to_json(self.txn))).collect())
    }

    /// The array under this name, shared types in it as plain values; none if nobody has ever written in it.
    #[must_use]
    pub fn array(&self, name: &str) -> Option<Vec<Any>> {
        let array = self.txn.get_array(name)?;
        Some(array.iter(self.txn).map(|value| value.to_json(self.txn)).collect())
    }

    /// The names at the root under which somebody has written, in their order.
    #[must_use]
    pub fn roots(&self) -> Vec<String> {
        let mut names: Vec<_> = self.txn.root_refs().map(|(name, _)| name.to_owned()).collect();
        names.sort_unstable();
        names
    }
}

#[cfg(test)]
mod tests;
